#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "mem/slab.h"
#include "ring/ring_priv.h"

enum { RELEASE_POLL_US = 100 };

static uint64_t random_seed(void) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed) return seed;
    return (uint64_t)(uintptr_t)&seed ^ (uint64_t)getpid() << 32; /* not for secrets: see ring_random */
}

int32_t ring_common_open(struct ring *ring, const struct ring_backend *backend, const struct ring_config *config,
                         void *slots_memory, size_t slot_bytes) {
    ring->backend = backend;
    ring->helpers = config->helpers;
    ring->drained = true;
    ring->random_state = random_seed();
    slots_init(&ring->slots, slots_memory, slot_bytes, config->sockets_max);
    /* Blocking on purpose: a read of a non-blocking one through io_uring would say EAGAIN instead of waiting. */
    ring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (ring->wake_fd < 0) return -errno;
    ring_common_turn(ring);
    return 0;
}

void ring_common_release(struct ring *ring) {
    while (atomic_load_explicit(&ring->jobs_out, memory_order_acquire) != 0) usleep(RELEASE_POLL_US);
    if (ring->wake_fd >= 0) close(ring->wake_fd);
    ring->wake_fd = -1;
}

static void count_busy(struct ring_counters *counters, uint64_t ns) {
    uint64_t units = ns >> RING_BUSY_SHIFT;
    uint32_t bucket = units == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(units);
    ring_count(&counters->busy[bucket < RING_BUSY_BUCKETS ? bucket : RING_BUSY_BUCKETS - 1], 1);
    ring_count(&counters->busy_ns, ns);
    if (ns > counters->busy_max_ns) ring_count(&counters->busy_max_ns, ns - counters->busy_max_ns);
}

void ring_common_pause(struct ring *ring) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t began_ns = ring->now_ns;
    ring->now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (ring->counters.turns > 0) count_busy(&ring->counters, ring->now_ns - began_ns);
}

void ring_common_turn(struct ring *ring) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ring->now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    ring->wall_seconds = now.tv_sec;
    ring->wall_ms = (uint32_t)(now.tv_nsec / 1000000);
    if (atomic_load_explicit(&ring->wake_writes, memory_order_relaxed) != 0)
        ring_count(&ring->counters.calls[RING_CALL_write], atomic_exchange(&ring->wake_writes, 0));
}

size_t ring_peers_bytes(const struct ring_config *config) {
    return config->peers ? slab_round(config->sockets_max * sizeof(struct sockaddr_in6)) : 0;
}

static socklen_t peer_bytes(sa_family_t family) {
    switch (family) {
    case AF_INET: return sizeof(struct sockaddr_in);
    case AF_INET6: return sizeof(struct sockaddr_in6);
    case AF_UNIX: return sizeof(sa_family_t); /* one with a name is not remembered: it is too long, and rare */
    default: return 0;
    }
}

void ring_peers_set(struct ring *ring, const struct slot *slot, const struct sockaddr_storage *address, socklen_t len) {
    if (ring->peers == NULL) return;
    struct sockaddr_in6 *peer = &ring->peers[slots_index(&ring->slots, slot)];
    peer->sin6_family = AF_UNSPEC;
    if (len > 0 && len == peer_bytes(address->ss_family)) memcpy(peer, address, len);
}

bool ring_peers_get(const struct ring *ring, const struct slot *slot, struct ring_address *out) {
    if (ring->peers == NULL) return false;
    const struct sockaddr_in6 *peer = &ring->peers[slots_index(&ring->slots, slot)];
    out->len = peer_bytes(peer->sin6_family);
    memcpy(&out->storage, peer, out->len);
    return out->len > 0;
}

void ring_common_signal(struct ring *ring) {
    if (atomic_exchange(&ring->signalled, true)) return;
    uint64_t one = 1;
    atomic_fetch_add_explicit(&ring->wake_writes, 1, memory_order_relaxed);
    ssize_t n;
    do
        n = write(ring->wake_fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}

void ring_common_wake(struct ring *ring) {
    atomic_store(&ring->woken, true);
    ring_common_signal(ring);
}

void ring_job_finished(struct ring_job *job) {
    struct ring *ring = job->home;
    struct ring_job *head = atomic_load(&ring->finished);
    do
        job->next = head;
    while (!atomic_compare_exchange_weak(&ring->finished, &head, job));
    ring_common_signal(ring);
    atomic_fetch_sub_explicit(&ring->jobs_out, 1, memory_order_release);
}

/* `signalled` goes down before anything is collected: whoever comes later writes the eventfd again, so nothing is lost. An
 * exchange, not a store: what a thread did before it found `signalled` up is seen by the relaxed look at `woken`, too. */
void ring_common_woken(struct ring *ring) {
    (void)atomic_exchange(&ring->signalled, false);
    struct ring_job *job = atomic_exchange(&ring->finished, NULL);
    struct ring_job *in_order = NULL;
    while (job != NULL) {
        struct ring_job *older = job->next;
        job->next = in_order;
        in_order = job;
        job = older;
    }
    if (ring->finished_now == NULL) {
        ring->finished_now = in_order;
        return;
    }
    struct ring_job *last = ring->finished_now;
    while (last->next != NULL) last = last->next;
    last->next = in_order;
}

bool ring_common_next(struct ring *ring, struct ring_event *out) {
    if (ring->finished_now != NULL) {
        struct ring_job *job = ring->finished_now;
        ring->finished_now = job->next;
        ring_job_event(ring, job, out);
        return true;
    }
    if (!ring_common_pending(ring) || !atomic_exchange(&ring->woken, false)) return false;
    ring_count(&ring->counters.wakes, 1);
    ring_event_set(out, RING_WOKEN, (struct ring_id){ 0 }, NULL, 0);
    return true;
}

void ring_report_add(char text[static RING_TEXT_BYTES], const char *format, ...) {
    size_t used = strlen(text);
    if (used > 0) used += (size_t)snprintf(text + used, RING_TEXT_BYTES - used, ", ");
    if (used >= RING_TEXT_BYTES) return;
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, RING_TEXT_BYTES - used, format, args);
    va_end(args);
}

bool ring_tuning_wants(const struct ring_tuning *tuning, enum ring_region region) {
    return region == RING_REGION_OUTPUT ? tuning->send_zc > 0 : tuning->store_registered;
}

void ring_count_turn(struct ring *ring, uint32_t completions) {
    uint32_t bucket = completions == 0 ? 0 : 32 - (uint32_t)__builtin_clz(completions);
    if (bucket >= RING_BATCH_BUCKETS) bucket = RING_BATCH_BUCKETS - 1;
    ring_count(&ring->counters.turns, 1);
    ring_count(&ring->counters.completions, completions);
    ring_count(&ring->counters.batches[bucket], 1);
}
