/* Registered memory, and reads of files into it or any other. See io_uring_register(2), IORING_REGISTER_BUFFERS2. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "ring/uring_priv.h"

enum { BUFFER_SHIFT = 30, BUFFERS_MAX = 1024, OUTPUT_MIN = 64 * 1024, PAGE_BYTES = 4096, RELEASE_NS = 20 * 1000000 };

/* ----------------------------------------------------------------------------------------------------- registering */

bool uring_wants(const struct ring *ring, enum ring_region region) {
    return ring_tuning_wants(&((const struct uring *)ring)->tuning, region);
}

static int32_t fill_table(struct uring *uring, uint32_t first, const struct iovec *parts, uint32_t n) {
    ring_count_call(&uring->base, RING_CALL_io_uring_register);
    int done = io_uring_register_buffers_update_tag(&uring->ring, first, parts, NULL, n);
    if (done < 0) return done;
    return (uint32_t)done == n ? 0 : -ENOMEM; /* those behind the first that fails were not looked at */
}

/* All of it in parts of 1 GiB, or nothing. */
static int32_t register_parts(struct uring *uring, char *base, size_t bytes, uint32_t *count) {
    uint32_t first = uring->buffer_count, n = 0;
    int32_t error = 0;
    for (size_t at = 0; at < bytes && error == 0; at += (size_t)1 << BUFFER_SHIFT) {
        size_t left = bytes - at, len = left >> BUFFER_SHIFT != 0 ? (size_t)1 << BUFFER_SHIFT : left;
        struct iovec part = { base + at, len };
        error = first + n == BUFFERS_MAX ? -ENOSPC : fill_table(uring, first + n, &part, 1);
        n += error == 0;
    }
    for (; error != 0 && n > 0; n--) (void)fill_table(uring, first + n - 1, &(struct iovec){ 0 }, 1);
    *count = n;
    return error;
}

static int32_t make_table(struct uring *uring) {
    if (uring->region_count > 0) return 0;
    ring_count_call(&uring->base, RING_CALL_io_uring_register);
    int32_t error = io_uring_register_buffers_sparse(&uring->ring, BUFFERS_MAX);
    return error == -EBUSY ? 0 : error; /* it is there: what was to be the first region was refused */
}

/* Of output blocks, which are used from the front, less is better than nothing. */
static int32_t register_most(struct uring *uring, enum ring_region region, char *base, size_t *bytes, uint32_t *count) {
    int32_t error = make_table(uring);
    for (bool waited = false; error == 0;) {
        error = register_parts(uring, base, *bytes, count);
        if (error == 0) return 0;
        if (error != -ENOMEM) break;
        error = 0;
        if (!waited) {
            nanosleep(&(struct timespec){ .tv_nsec = RELEASE_NS }, NULL); /* a ring before us may still be charged for */
            waited = true;
            continue;
        }
        if (region != RING_REGION_OUTPUT || *bytes / 2 < OUTPUT_MIN) return -ENOMEM;
        *bytes /= 2;
    }
    return error;
}

/* ------------------------------------------------------------------------------------------------------- reporting */

static void tell_refused(enum ring_region region, int32_t error, size_t bytes, size_t wanted, struct ring_report *report) {
    const char *name = ring_region_name(region), *what = strerrorname_np(-error);
    if (error == -ENOMEM) {
        struct rlimit locked;
        getrlimit(RLIMIT_MEMLOCK, &locked);
        ring_report_add(report->unregistered,
                 "%s: %s: %zuK of %zuK registered, the locked-memory limit of %lluK is used up; raise it (ulimit -l, "
                 "LimitMEMLOCK=), lower slab= or start fewer workers",
                 name, what, bytes / 1024, wanted / 1024, (unsigned long long)locked.rlim_cur / 1024);
        return;
    }
    if (region == RING_REGION_STORE && (error == -EFAULT || error == -EOPNOTSUPP)) {
        ring_report_add(report->unregistered,
                 "%s: %s: this file system lets nobody lock pages of a mapped file; keep the store in memory (no --store), "
                 "on tmpfs or on hugetlbfs, or say store=plain",
                 name, what);
        return;
    }
    ring_report_add(report->unregistered, "%s: %s (%s); sends from it are copied", name, what == NULL ? "?" : what,
                    strerror(-error));
}

size_t uring_register(struct ring *ring, enum ring_region region, void *base, size_t bytes, struct ring_report *report) {
    struct uring *uring = uring_of(ring);
    rm_assert(uring->region_count < REGIONS_MAX);
    size_t wanted = bytes;
    if (region == RING_REGION_OUTPUT && wanted > uring->tuning.slab_bytes) wanted = uring->tuning.slab_bytes;
    bytes = wanted;
    uint32_t count = 0;
    int32_t error = register_most(uring, region, base, &bytes, &count);
    if (error != 0) bytes = 0;
    if (bytes < wanted) tell_refused(region, error != 0 ? error : -ENOMEM, bytes, wanted, report);
    if (bytes == 0) return 0;
    uring->regions[uring->region_count++] = (struct region){ base, bytes, uring->buffer_count };
    uring->buffer_count += count;
    uintptr_t start = (uintptr_t)base / PAGE_BYTES * PAGE_BYTES;
    uintptr_t end = ((uintptr_t)base + bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    ring_count(&ring->counters.registered_bytes, end - start);
    ring_report_add(report->registered, "%s %zuK", ring_region_name(region), bytes / 1024);
    return bytes;
}

int32_t uring_region_buffer(const struct uring *uring, const void *data, size_t len) {
    for (uint32_t i = 0; i < uring->region_count; i++) {
        const struct region *region = &uring->regions[i];
        size_t offset = (size_t)((uintptr_t)data - (uintptr_t)region->base);
        if (offset >= region->bytes || len > region->bytes - offset) continue;
        if (offset >> BUFFER_SHIFT != (offset + len - 1) >> BUFFER_SHIFT) return -1; /* in two of its buffers */
        return (int32_t)(region->buffer + (uint32_t)(offset >> BUFFER_SHIFT));
    }
    return -1;
}

/* --------------------------------------------------------------------------------------------------------- reading */

/* RWF_NOWAIT: what is not in the page cache ends with EAGAIN inside of the enter, instead of on a thread of the kernel's. */
static void queue_read(struct uring *uring, struct ring_read *read) {
    struct io_uring_sqe *sqe = uring_submission(uring);
    char *to = read->to + read->done;
    uint32_t bytes = read->bytes - read->done;
    int32_t buffer = uring_region_buffer(uring, to, bytes);
    if (buffer >= 0)
        io_uring_prep_read_fixed(sqe, read->fd, to, bytes, read->offset + read->done, buffer);
    else
        io_uring_prep_read(sqe, read->fd, to, bytes, read->offset + read->done);
    sqe->rw_flags = RWF_NOWAIT;
    uring_queue_read(uring, sqe, read);
}

void uring_read(struct ring *ring, struct ring_read *read) {
    queue_read(uring_of(ring), read);
}

/* Whatever the ring could not do, for whatever reason, a helper tries again: pread(2) has the last word. */
bool uring_read_done(struct uring *uring, const struct io_uring_cqe *cqe, struct ring_event *out) {
    struct ring_read *read = (struct ring_read *)(uintptr_t)(cqe->user_data & UINT64_C(0xffffffffffffff));
    if (cqe->res < 0) {
        ring_read_help(&uring->base, read);
        return false;
    }
    read->done += (uint32_t)cqe->res;
    if (cqe->res > 0 && read->done < read->bytes) {
        queue_read(uring, read);
        return false;
    }
    ring_read_event(&uring->base, read, out);
    return true;
}
