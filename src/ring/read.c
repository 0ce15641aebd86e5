/* Reads of plain files: what is the same for all backends. */
#include <errno.h>
#include <unistd.h>

#include "ring/ring_priv.h"

struct ring_read *ring_read_of(struct ring_job *job) {
    if (job->run != ring_read_run) return NULL;
    return (struct ring_read *)(void *)((char *)job - offsetof(struct ring_read, job));
}

void ring_read_run(struct ring_job *job) {
    struct ring_read *read = ring_read_of(job);
    while (read->done < read->bytes) {
        read->calls++;
        ssize_t n = pread(read->fd, read->to + read->done, read->bytes - read->done, (off_t)(read->offset + read->done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) read->error = -errno;
        if (n <= 0) return;
        read->done += (uint32_t)n;
    }
}

void ring_read_help(struct ring *ring, struct ring_read *read) {
    ring_count(&ring->counters.reads_helped, 1);
    ring->backend->offload(ring, &read->job);
}

void ring_read_event(struct ring *ring, struct ring_read *read, struct ring_event *out) {
    rm_assert(read->done <= read->bytes);
    ring_count(&ring->counters.reads, 1);
    ring_count(&ring->counters.read_bytes, read->done);
    if (read->calls > 0) ring_count(&ring->counters.calls[RING_CALL_pread64], read->calls);
    ring_event_set(out, RING_READ, (struct ring_id){ 0 }, NULL, read->error != 0 ? read->error : (int32_t)read->done);
    out->read = read;
}

void ring_job_event(struct ring *ring, struct ring_job *job, struct ring_event *out) {
    struct ring_read *read = ring_read_of(job);
    if (read != NULL) {
        ring_read_event(ring, read, out);
        return;
    }
    ring_event_set(out, RING_FINISHED, (struct ring_id){ 0 }, NULL, 0);
    out->job = job;
}
