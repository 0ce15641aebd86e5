/* What the backends of the ring share: the table each of them fills in, the common head of `struct ring`, and the parts that
 * don't differ (waking, finished jobs, counting). Stays inside src/ring.
 * Depends on: ring/ring.h, ring/slots.h. */
#ifndef RM_RING_RING_PRIV_H
#define RM_RING_RING_PRIV_H

#include <netinet/in.h>
#include <stdatomic.h>

#include "ring/probe.h"
#include "ring/ring.h"
#include "ring/slots.h"

/* One backend: ring.h says what each function means; ring.c has checked the ids (live, not closing, right kind), so they come
 * as slots. */
struct ring_backend {
    const char *name;
    int32_t (*open)(const struct ring_config *config, struct ring **out, struct ring_report *report);
    void (*release)(struct ring *ring);
    size_t (*memory_bytes)(const struct ring_config *config);
    int32_t (*wait)(struct ring *ring, uint64_t deadline_ns); /* must set ring->now_ns and ring->wall_* */
    bool (*next)(struct ring *ring, struct ring_event *out);
    int32_t (*listen)(struct ring *ring, const struct ring_listen *listen, struct ring_id *out);
    void (*accept)(struct ring *ring, struct slot *listener, bool on);
    int32_t (*connect)(struct ring *ring, const struct ring_address *address, void *user, struct ring_id *out);
    void (*receive_mode)(struct ring *ring, struct slot *slot, enum ring_receive mode);
    void (*receive_more)(struct ring *ring, struct slot *slot);
    void (*send)(struct ring *ring, struct slot *slot, const struct iovec *segments, uint32_t n, enum ring_send how);
    bool (*wants)(const struct ring *ring, enum ring_region region); /* NULL: never any */
    size_t (*register_region)(struct ring *ring, enum ring_region region, void *base, size_t bytes,
                              struct ring_report *report); /* wanted ones only */
    void (*shutdown_write)(struct ring *ring, struct slot *slot);
    void (*close)(struct ring *ring, struct slot *slot, bool reset); /* slot->closing is set already */
    int32_t (*peer)(struct ring *ring, struct slot *slot, struct ring_address *out);
    int32_t (*local)(struct ring *ring, struct slot *slot, struct ring_address *out);
    uint64_t (*taken)(struct ring *ring, struct slot *slot);
    int32_t (*watch)(struct ring *ring, int fd, uint32_t interest, bool persistent, void *user, struct ring_id *out);
    void (*rewatch)(struct ring *ring, struct slot *slot, uint32_t interest);
    void (*offload)(struct ring *ring, struct ring_job *job);
    void (*read)(struct ring *ring, struct ring_read *read); /* filled in; `job` is ready for `offload` */
    void (*wake)(struct ring *ring); /* from any thread */
    struct ring_finding (*probe)(enum ring_feature feature); /* NULL: has no such features */
};

extern const struct ring_backend ring_uring_backend; /* with -During=true */
extern const struct ring_backend ring_epoll_backend; /* with -Depoll=true */
extern const struct ring_backend ring_sim_backend __attribute__((weak)); /* linked into tests and benches only, as a whole */

/* The bytes of a send: some, and no more than its result can tell. */
static inline uint32_t ring_send_bytes(const struct iovec *segments, uint32_t n) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) bytes += segments[i].iov_len;
    rm_assert(bytes > 0);
    rm_assert(bytes <= INT32_MAX);
    return (uint32_t)bytes;
}

/* The head of each backend's own struct. The first line is the owner's hot data; `woken` and `finished` are written by other
 * threads and have a line of their own. */
struct ring {
    const struct ring_backend *backend;
    uint64_t now_ns;
    int64_t wall_seconds;
    uint32_t wall_ms;
    uint64_t random_state;
    struct slots slots;
    struct ring_helpers *helpers;
    bool drained; /* ring_next has said false since the last ring_wait */
    bool tick;    /* RING_TICK is due at the end of this turn */
    struct ring_job *finished_now; /* taken from `finished`, in order, not delivered yet */
    struct sockaddr_in6 *peers; /* by slot, with ring_config.peers, else NULL; sockaddr_in as well; family 0: not known */
    struct ring_counters counters;

    _Alignas(64) int wake_fd;               /* eventfd; -1: the backend has none (sim) */
    atomic_bool woken;                      /* ring_wake was called and RING_WOKEN not delivered */
    atomic_bool signalled;                  /* the eventfd was written and not read yet */
    _Atomic(struct ring_job *) finished;    /* LIFO of jobs that helpers are done with */
    atomic_uint jobs_out;                   /* handed to helpers that may still touch this ring: release waits for 0 */
    atomic_uint_fast64_t wake_writes;       /* write(2)s by other threads; folded into counters by ring_wait */
};

/* ---- common.c: shared by the real backends ---- */

/* Fills in the common head: clock, seed, wake_fd. 0 or -errno. `slots_memory` holds sockets_max zeroed items. */
[[gnu::warn_unused_result]] int32_t ring_common_open(struct ring *ring, const struct ring_backend *backend,
                                                     const struct ring_config *config, void *slots_memory,
                                                     size_t slot_bytes);
/* Waits until no helper touches the ring any more. */
void ring_common_release(struct ring *ring);

/* Reads both clocks (vDSO: no system call) and folds other threads' counts in. */
void ring_common_turn(struct ring *ring);

/* Before a sleep: counts what the turn has taken, and brings ring->now_ns up to date for the deadline. */
void ring_common_pause(struct ring *ring);

/* The eventfd was read: collects what finished. Then ring_common_next yields WOKEN and FINISHED until false. */
void ring_common_woken(struct ring *ring);
bool ring_common_next(struct ring *ring, struct ring_event *out);
/* ring_common_next has something; before a turn: what the one before had no room for. */
static inline bool ring_common_pending(const struct ring *ring) {
    if (ring->finished_now != NULL) return true;
    if (!atomic_load_explicit(&ring->woken, memory_order_relaxed)) return false;
    return !atomic_load_explicit(&ring->signalled, memory_order_relaxed); /* else its eventfd event is to come */
}

/* Writes the eventfd unless it is signalled already. From any thread. */
void ring_common_signal(struct ring *ring);
void ring_common_wake(struct ring *ring);

/* Bytes of ring->peers for the backend's slab; 0 without. */
size_t ring_peers_bytes(const struct ring_config *config);
/* What is known of the other end of a slot's socket: nothing (len 0), or this. Does nothing without ring->peers. */
void ring_peers_set(struct ring *ring, const struct slot *slot, const struct sockaddr_storage *address, socklen_t len);
/* False when it is not known. */
bool ring_peers_get(const struct ring *ring, const struct slot *slot, struct ring_address *out);

/* Called by a helper thread: `job` has run. The job and (once jobs_out is down) the ring are not the helper's any more. */
void ring_job_finished(struct ring_job *job);

/* The event of a job that has run: RING_FINISHED, or RING_READ for one that is a read. */
void ring_job_event(struct ring *ring, struct ring_job *job, struct ring_event *out);

/* ---- read.c ---- */

/* What a helper thread does: the rest of a read, with as many pread(2)s as it takes. */
void ring_read_run(struct ring_job *job);
/* The read that a job belongs to; NULL: it is no read. */
struct ring_read *ring_read_of(struct ring_job *job);
/* Has a helper do (the rest of) it. */
void ring_read_help(struct ring *ring, struct ring_read *read);
/* It is over: counts it, and fills in its event. */
void ring_read_event(struct ring *ring, struct ring_read *read, struct ring_event *out);

/* ---- helpers.c ---- */
void ring_helpers_submit(struct ring_helpers *helpers, struct ring_job *job);

/* ---- socket.c: the cold system calls, the same for both real backends; each counts itself ---- */

/* socket, options, bind, listen; the descriptor or -errno. Takes listen->fd over when that is >= 0. */
int ring_socket_listen(struct ring *ring, const struct ring_listen *listen);
/* A stream socket for `address`, TCP_NODELAY set; `flags` as for socket(2). The descriptor or -errno. */
int ring_socket_open(struct ring *ring, const struct ring_address *address, int flags);
void ring_socket_close(struct ring *ring, int fd);
void ring_socket_linger_zero(struct ring *ring, int fd);
void ring_socket_shutdown(struct ring *ring, int fd);
int32_t ring_socket_peer(struct ring *ring, int fd, struct ring_address *out);
int32_t ring_socket_local(struct ring *ring, int fd, struct ring_address *out);
/* 0 when the kernel does not say. */
uint64_t ring_socket_taken(struct ring *ring, int fd);

/* ---- counting: single writer, relaxed, so that another thread may read ---- */
static inline void ring_count(uint64_t *counter, uint64_t n) {
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}
static inline void ring_count_call(struct ring *ring, enum ring_call call) {
    ring_count(&ring->counters.calls[call], 1);
}

const char *ring_region_name(enum ring_region region); /* as reports have it */
bool ring_tuning_wants(const struct ring_tuning *tuning, enum ring_region region);
/* Appends to a text of a report, behind a comma. */
__attribute__((format(printf, 2, 3))) void ring_report_add(char text[static RING_TEXT_BYTES], const char *format, ...);

/* One turn with `completions`. */
void ring_count_turn(struct ring *ring, uint32_t completions);

/* Sets *event to zeroes with a type and an id. */
static inline void ring_event_set(struct ring_event *event, enum ring_event_type type, struct ring_id id, void *user,
                                  int32_t result) {
    *event = (struct ring_event){ .type = type, .result = result, .id = id, .user = user };
}

#endif
