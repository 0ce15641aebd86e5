/* The probes of ring/probe.h for io_uring: setup flags and registrations. Those on sockets are in uring_probe_socket.c. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "ring/uring_probe.h"

enum { PROBE_ENTRIES = 8, MEMORY_TRIES = 5, MEMORY_PAUSE_NS = 20 * 1000000 };

/* The kernel takes the memory of a ring that was released back in its own time, and it counts until then. */
int32_t uring_probe_open(struct io_uring *ring, unsigned flags) {
    for (int tries = 0;; tries++) {
        struct io_uring_params params = { .flags = flags, .cq_entries = 4 * PROBE_ENTRIES };
        int32_t error = io_uring_queue_init_params(PROBE_ENTRIES, ring, &params);
        if (error != -ENOMEM || tries == MEMORY_TRIES) return error;
        nanosleep(&(struct timespec){ .tv_nsec = MEMORY_PAUSE_NS }, NULL);
    }
}

/* ----------------------------------------------------------------------------------------------- setup and enter ---- */

static unsigned flags_of(enum ring_feature feature) {
    static const unsigned flags[RING_FEATURES_COUNT] = {
        [RING_FEATURE_CQSIZE] = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        [RING_FEATURE_SUBMIT_ALL] = IORING_SETUP_SUBMIT_ALL,
        [RING_FEATURE_COOP_TASKRUN] = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        [RING_FEATURE_SINGLE_ISSUER] = IORING_SETUP_SINGLE_ISSUER,
        [RING_FEATURE_DEFER_TASKRUN] =
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    };
    return flags[feature];
}

/* That the ring could be opened with its flags is all. */
static struct ring_finding try_open(struct io_uring *ring) {
    (void)ring;
    return (struct ring_finding){ 0 };
}

static struct ring_finding try_no_iowait(struct io_uring *ring) {
    if ((ring->features & IORING_FEAT_NO_IOWAIT) == 0) return (struct ring_finding){ -EOPNOTSUPP, 0 };
    int result = io_uring_enter((unsigned)ring->ring_fd, 0, 0, IORING_ENTER_GETEVENTS | IORING_ENTER_NO_IOWAIT, NULL);
    return (struct ring_finding){ result < 0 ? result : 0, 0 };
}

static struct ring_finding try_opcodes(struct io_uring *ring) {
    static const uint8_t needed[] = {
        IORING_OP_ACCEPT,  IORING_OP_CONNECT,      IORING_OP_RECV,     IORING_OP_SEND,
        IORING_OP_SENDMSG, IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD, IORING_OP_CLOSE,
    };
    struct io_uring_probe *ops = io_uring_get_probe_ring(ring);
    if (ops == NULL) return (struct ring_finding){ -EOPNOTSUPP, 0 };
    struct ring_finding finding = { 0 };
    for (size_t i = 0; i < sizeof needed; i++)
        if (!io_uring_opcode_supported(ops, needed[i])) finding.result = -EOPNOTSUPP;
    for (uint32_t i = 0; i < ops->ops_len; i++) finding.value += (ops->ops[i].flags & IO_URING_OP_SUPPORTED) != 0;
    io_uring_free_probe(ops);
    return finding;
}

/* ------------------------------------------------------------------------------------------------- registrations ---- */

static struct ring_finding try_ring_fd(struct io_uring *ring) {
    int result = io_uring_register_ring_fd(ring);
    if (result == 1) return (struct ring_finding){ 0 };
    return (struct ring_finding){ result < 0 ? result : -EOPNOTSUPP, 0 };
}

static struct ring_finding try_buffers(struct io_uring *ring, unsigned flags) {
    int error = 0;
    struct io_uring_buf_ring *buffers = io_uring_setup_buf_ring(ring, PROBE_ENTRIES, 1, flags, &error);
    if (buffers == NULL) return (struct ring_finding){ error, 0 };
    io_uring_free_buf_ring(ring, buffers, PROBE_ENTRIES, 1);
    return (struct ring_finding){ 0 };
}

static struct ring_finding try_buffer_ring(struct io_uring *ring) {
    return try_buffers(ring, 0);
}

static struct ring_finding try_incremental(struct io_uring *ring) {
    return try_buffers(ring, IOU_PBUF_RING_INC);
}

static struct ring_finding try_napi(struct io_uring *ring) {
    struct io_uring_napi napi = { .busy_poll_to = 10 };
    int error = io_uring_register_napi(ring, &napi);
    if (error == 0) (void)io_uring_unregister_napi(ring, &napi);
    return (struct ring_finding){ error, 0 };
}

/* ------------------------------------------------------------------------------------------------------ min-wait ---- */

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Four events are asked for, one comes after 20 ms, long after the minimum of 2 ms: it must end the wait there and then. */
static struct ring_finding try_min_wait(struct io_uring *ring) {
    enum { LATE_NS = 20 * 1000000, MOST_NS = 300 * 1000000, MIN_US = 2000 };
    if ((ring->features & IORING_FEAT_MIN_TIMEOUT) == 0) return (struct ring_finding){ -EOPNOTSUPP, 0 };
    struct __kernel_timespec late = { .tv_nsec = LATE_NS }, most = { .tv_nsec = MOST_NS };
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_timeout(sqe, &late, 0, 0);
    uint64_t start_ns = clock_ns();
    struct io_uring_cqe *cqe;
    int result = io_uring_submit_and_wait_min_timeout(ring, &cqe, 4, &most, MIN_US, NULL);
    if (result < 0 && result != -ETIME) return (struct ring_finding){ result, 0 };
    bool late_again = clock_ns() - start_ns > MOST_NS / 2;
    return (struct ring_finding){ late_again ? -EOPNOTSUPP : 0, 0 };
}

/* -------------------------------------------------------------------------------------------------------- the table */

struct ring_finding uring_probe(enum ring_feature feature) {
    static struct ring_finding (*const tries[RING_FEATURES_COUNT])(struct io_uring *ring) = {
        [RING_FEATURE_SETUP] = try_open,
        [RING_FEATURE_OPCODES] = try_opcodes,
        [RING_FEATURE_CQSIZE] = try_open,
        [RING_FEATURE_SUBMIT_ALL] = try_open,
        [RING_FEATURE_COOP_TASKRUN] = try_open,
        [RING_FEATURE_SINGLE_ISSUER] = try_open,
        [RING_FEATURE_DEFER_TASKRUN] = try_open,
        [RING_FEATURE_NO_IOWAIT] = try_no_iowait,
        [RING_FEATURE_RING_FD] = try_ring_fd,
        [RING_FEATURE_BUFFER_RING] = try_buffer_ring,
        [RING_FEATURE_INCREMENTAL] = try_incremental,
        [RING_FEATURE_ACCEPT_MULTI] = uring_try_accept,
        [RING_FEATURE_RECEIVE_MULTI] = uring_try_receive,
        [RING_FEATURE_BUNDLES] = uring_try_bundles,
        [RING_FEATURE_DIRECT] = uring_try_direct,
        [RING_FEATURE_SEND_ZC] = uring_try_send_zc,
        [RING_FEATURE_MIN_WAIT] = try_min_wait,
        [RING_FEATURE_NAPI] = try_napi,
        [RING_FEATURE_SOCKET_OPTIONS] = uring_try_socket_options,
    };
    struct io_uring ring;
    int32_t error = uring_probe_open(&ring, flags_of(feature));
    if (error < 0) return (struct ring_finding){ error, 0 };
    struct ring_finding finding = tries[feature](&ring);
    io_uring_queue_exit(&ring);
    return finding;
}
