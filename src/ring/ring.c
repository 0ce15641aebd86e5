#include "ring/ring.h"

#include <errno.h>
#include <stdio.h>

#include "ring/ring_priv.h"

/* The one place that knows which backends were compiled in. */
static const struct ring_backend *const compiled[] = {
#if RM_URING
    [RING_URING] = &ring_uring_backend,
#endif
#if RM_EPOLL
    [RING_EPOLL] = &ring_epoll_backend,
#endif
    [RING_SIM] = NULL, /* linked or not: see backend_of */
};

static const char *const rebuild_flag[] = {
    [RING_AUTO] = "",
    [RING_URING] = "-During=true",
    [RING_EPOLL] = "-Depoll=true",
    [RING_SIM] = "the simulator, which is linked into tests only",
};

static const struct ring_backend *backend_of(enum ring_choice choice) {
    if (choice == RING_SIM) return &ring_sim_backend;
    return compiled[choice];
}

bool ring_has_backend(enum ring_choice choice) {
    if (choice == RING_AUTO) return ring_has_backend(RING_URING) || ring_has_backend(RING_EPOLL);
    return backend_of(choice) != NULL;
}

static int32_t open_as(enum ring_choice choice, const struct ring_config *config, struct ring **out,
                       struct ring_report *report) {
    const struct ring_backend *backend = backend_of(choice);
    if (backend == NULL) {
        snprintf(report->why, sizeof report->why, "not compiled in; rebuild with %s", rebuild_flag[choice]);
        return -EOPNOTSUPP;
    }
    report->backend = backend->name;
    return backend->open(config, out, report);
}

static int32_t open_auto(const struct ring_config *config, struct ring **out, struct ring_report *report) {
    int32_t uring_error = open_as(RING_URING, config, out, report);
    if (uring_error == 0 || !ring_has_backend(RING_EPOLL)) return uring_error;
    struct ring_report fallback = { .fallback = true };
    int32_t error = open_as(RING_EPOLL, config, out, &fallback);
    if (error == 0) snprintf(fallback.why, sizeof fallback.why, "%s", report->why);
    *report = fallback;
    return error;
}

int32_t ring_open(const struct ring_config *config, struct ring **out, struct ring_report *report) {
    rm_assert(config->sockets_max > 0);
    rm_assert(config->sockets_max < SLOT_NONE);
    *report = (struct ring_report){ 0 };
    if (config->choice == RING_AUTO) return open_auto(config, out, report);
    return open_as(config->choice, config, out, report);
}

void ring_release(struct ring *ring) {
    ring->backend->release(ring);
}

bool ring_wants(const struct ring *ring, enum ring_region region) {
    return ring->backend->wants != NULL && ring->backend->wants(ring, region);
}

size_t ring_register(struct ring *ring, enum ring_region region, void *base, size_t bytes, struct ring_report *report) {
    rm_assert(bytes > 0);
    rm_assert(ring->counters.turns == 0);
    if (!ring_wants(ring, region)) return 0;
    return ring->backend->register_region(ring, region, base, bytes, report);
}

const char *ring_region_name(enum ring_region region) {
    return region == RING_REGION_OUTPUT ? "output" : "store";
}

struct ring_finding ring_probe(enum ring_choice choice, enum ring_feature feature) {
    rm_assert(feature < RING_FEATURES_COUNT);
    const struct ring_backend *backend = choice == RING_AUTO ? NULL : backend_of(choice);
    if (backend == NULL || backend->probe == NULL) return (struct ring_finding){ -EOPNOTSUPP, 0 };
    return backend->probe(feature);
}

const char *ring_feature_name(enum ring_feature feature) {
    static const char *const names[] = {
#define RING_FEATURE_NAME(name, shown, kernel) [RING_FEATURE_##name] = shown,
        RING_FEATURES(RING_FEATURE_NAME)
#undef RING_FEATURE_NAME
    };
    rm_assert(feature < RING_FEATURES_COUNT);
    return names[feature];
}

const char *ring_feature_kernel(enum ring_feature feature) {
    static const char *const kernels[] = {
#define RING_FEATURE_KERNEL(name, shown, kernel) [RING_FEATURE_##name] = kernel,
        RING_FEATURES(RING_FEATURE_KERNEL)
#undef RING_FEATURE_KERNEL
    };
    rm_assert(feature < RING_FEATURES_COUNT);
    return kernels[feature];
}

size_t ring_memory_bytes(const struct ring_config *config) {
    enum ring_choice choice = config->choice;
    if (choice == RING_AUTO) choice = ring_has_backend(RING_URING) ? RING_URING : RING_EPOLL;
    const struct ring_backend *backend = backend_of(choice);
    return backend == NULL ? 0 : backend->memory_bytes(config);
}

int32_t ring_wait(struct ring *ring, uint64_t deadline_ns) {
    rm_assert(ring->drained);
    ring->drained = false;
    ring->tick = false;
    int32_t error = ring->backend->wait(ring, deadline_ns);
    if (deadline_ns != RING_NO_DEADLINE) ring->tick = ring->now_ns >= deadline_ns;
    return error;
}

/* Once a turn is over it stays over: what the backend could deliver by now belongs to the next one, as TICK is the last. */
bool ring_next(struct ring *ring, struct ring_event *out) {
    if (ring->drained) return false;
    if (ring->backend->next(ring, out)) return true;
    ring->drained = true;
    if (!ring->tick) return false;
    ring->tick = false;
    ring_event_set(out, RING_TICK, (struct ring_id){ 0 }, NULL, 0);
    return true;
}

uint64_t ring_now(const struct ring *ring) {
    return ring->now_ns;
}

int64_t ring_wall_seconds(const struct ring *ring) {
    return ring->wall_seconds;
}

uint32_t ring_wall_ms(const struct ring *ring) {
    return ring->wall_ms;
}

/* splitmix64: one addition and a mixing of the bits; passes BigCrush, and needs no state but a counter. */
uint64_t ring_random(struct ring *ring) {
    ring->random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = ring->random_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void ring_wake(struct ring *ring) {
    ring->backend->wake(ring);
}

int32_t ring_listen(struct ring *ring, const struct ring_listen *listen, struct ring_id *out) {
    return ring->backend->listen(ring, listen, out);
}

static struct slot *get(struct ring *ring, struct ring_id id, enum slot_kind kind) {
    struct slot *slot = slots_get(&ring->slots, id);
    rm_assert(slot->kind == kind);
    return slot;
}

void ring_accept(struct ring *ring, struct ring_id listener, bool on) {
    ring->backend->accept(ring, get(ring, listener, SLOT_LISTENER), on);
}

int32_t ring_connect(struct ring *ring, const struct ring_address *address, void *user, struct ring_id *out) {
    return ring->backend->connect(ring, address, user, out);
}

void ring_set_user(struct ring *ring, struct ring_id id, void *user) {
    slots_get(&ring->slots, id)->user = user;
}

uint64_t ring_taken(struct ring *ring, struct ring_id id) {
    return ring->backend->taken(ring, get(ring, id, SLOT_SOCKET));
}

void ring_receive_mode(struct ring *ring, struct ring_id id, enum ring_receive mode) {
    ring->backend->receive_mode(ring, get(ring, id, SLOT_SOCKET), mode);
}

void ring_receive_more(struct ring *ring, struct ring_id id) {
    ring->backend->receive_more(ring, get(ring, id, SLOT_SOCKET));
}

void ring_send(struct ring *ring, struct ring_id id, const struct iovec *segments, uint32_t n, enum ring_send how) {
    rm_assert(n >= 1);
    rm_assert(n <= RING_SEGMENTS_MAX);
    ring->backend->send(ring, get(ring, id, SLOT_SOCKET), segments, n, how);
}

void ring_shutdown_write(struct ring *ring, struct ring_id id) {
    ring->backend->shutdown_write(ring, get(ring, id, SLOT_SOCKET));
}

static void close_slot(struct ring *ring, struct slot *slot, bool reset) {
    slot->closing = true;
    ring->backend->close(ring, slot, reset);
}

void ring_close(struct ring *ring, struct ring_id id) {
    close_slot(ring, slots_get(&ring->slots, id), false);
}

void ring_reset(struct ring *ring, struct ring_id id) {
    close_slot(ring, get(ring, id, SLOT_SOCKET), true);
}

int32_t ring_peer(struct ring *ring, struct ring_id id, struct ring_address *out) {
    struct slot *slot = get(ring, id, SLOT_SOCKET);
    *out = (struct ring_address){ 0 };
    if (ring_peers_get(ring, slot, out)) return 0;
    int32_t result = ring->backend->peer(ring, slot, out);
    if (result == 0) ring_peers_set(ring, slot, &out->storage, out->len);
    return result;
}

int32_t ring_local(struct ring *ring, struct ring_id id, struct ring_address *out) {
    *out = (struct ring_address){ 0 };
    return ring->backend->local(ring, slots_get(&ring->slots, id), out);
}

int32_t ring_watch(struct ring *ring, int fd, uint32_t interest, bool persistent, void *user, struct ring_id *out) {
    rm_assert((interest & ~(uint32_t)(RING_READABLE | RING_WRITABLE)) == 0);
    return ring->backend->watch(ring, fd, interest, persistent, user, out);
}

void ring_rewatch(struct ring *ring, struct ring_id id, uint32_t interest) {
    ring->backend->rewatch(ring, get(ring, id, SLOT_WATCH), interest);
}

void ring_offload(struct ring *ring, struct ring_job *job) {
    job->home = ring;
    job->next = NULL;
    ring_count(&ring->counters.jobs, 1);
    ring->backend->offload(ring, job);
}

void ring_read(struct ring *ring, int fd, uint64_t offset, void *to, uint32_t bytes, struct ring_read *read) {
    rm_assert(bytes > 0);
    rm_assert(bytes <= INT32_MAX);
    *read = (struct ring_read){
        .user = read->user,
        .job = { .run = ring_read_run, .home = ring },
        .fd = fd,
        .bytes = bytes,
        .offset = offset,
        .to = to,
    };
    ring->backend->read(ring, read);
}

const struct ring_counters *ring_counters(const struct ring *ring) {
    return &ring->counters;
}

uint32_t ring_sockets(const struct ring *ring) {
    return ring->slots.in_use;
}

uint32_t ring_sockets_max(const struct ring *ring) {
    return ring->slots.count;
}

const char *ring_call_name(enum ring_call call) {
    static const char *const names[] = {
#define RING_CALL_NAME(name) [RING_CALL_##name] = #name,
        RING_CALLS(RING_CALL_NAME)
#undef RING_CALL_NAME
    };
    rm_assert(call < RING_CALLS_COUNT);
    return names[call];
}

const char *ring_event_name(enum ring_event_type type) {
    switch (type) {
    case RING_ACCEPTED: return "ACCEPTED";
    case RING_CONNECTED: return "CONNECTED";
    case RING_RECEIVED: return "RECEIVED";
    case RING_SENT: return "SENT";
    case RING_CLOSED: return "CLOSED";
    case RING_READY: return "READY";
    case RING_WOKEN: return "WOKEN";
    case RING_FINISHED: return "FINISHED";
    case RING_READ: return "READ";
    case RING_TICK: return "TICK";
    }
    return "?";
}
