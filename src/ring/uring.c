/* The io_uring backend: submissions, the one enter of a turn, and completions told apart. See io_uring_enter(2). */
#include "ring/uring_priv.h"

#include <errno.h>
#include <signal.h>

enum { TURN_EVENTS_MAX = 1024, QUIET_LATE_NS = 12000000, SUBMIT_TRIES = 1000 };

const struct ring_backend ring_uring_backend = {
    .name = "uring",
    .open = uring_open,
    .release = uring_release,
    .memory_bytes = uring_memory_bytes,
    .wait = uring_wait,
    .next = uring_next,
    .listen = uring_listen,
    .accept = uring_accept,
    .connect = uring_connect,
    .receive_mode = uring_receive_mode,
    .receive_more = uring_receive_more,
    .send = uring_send,
    .wants = uring_wants,
    .register_region = uring_register,
    .shutdown_write = uring_shutdown_write,
    .close = uring_close,
    .peer = uring_peer,
    .local = uring_local,
    .taken = uring_taken,
    .watch = uring_watch,
    .rewatch = uring_rewatch,
    .offload = uring_offload,
    .read = uring_read,
    .wake = ring_common_wake,
    .probe = uring_probe,
};

void uring_offload(struct ring *ring, struct ring_job *job) {
    ring_helpers_submit(ring->helpers, job);
}

/* ------------------------------------------------------------------------------------------------- submissions ---- */

/* Publishes the queued submissions and says how many the kernel has not read yet. */
static uint32_t publish(struct uring *uring) {
    struct io_uring_sq *sq = &uring->ring.sq;
    sq->sqe_head = sq->sqe_tail;
    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    return sq->sqe_tail - io_uring_smp_load_acquire(sq->khead);
}

/* One io_uring_enter(2), counted. What it may say is in the manual page: these are passing, anything else ends the ring. */
static int32_t enter(struct uring *uring, uint32_t wait_for, unsigned flags, struct io_uring_getevents_arg *arg) {
    uint32_t to_submit = publish(uring);
    ring_count_call(&uring->base, RING_CALL_io_uring_enter);
    int result = io_uring_enter2((unsigned)uring->enter_fd, to_submit, wait_for, flags | uring->enter_flags,
                                 (sigset_t *)(void *)arg, arg == NULL ? _NSIG / 8 : sizeof *arg);
    if (result >= 0) return 0;
    switch (-result) {
    case ETIME:  /* the deadline passed */
    case EINTR:  /* a signal */
    case EAGAIN: /* no memory for a request just now */
    case EBUSY:  /* completions have to be read first */
        return 0;
    default: return result;
    }
}

void uring_submit(struct uring *uring) {
    int32_t error = enter(uring, 0, 0, NULL);
    if (error != 0 && uring->broken == 0) uring->broken = error;
}

struct io_uring_sqe *uring_submission(struct uring *uring) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    if (sqe != NULL) return sqe;
    ring_count(&uring->base.counters.submit_stalls, 1);
    for (int i = 0; i < SUBMIT_TRIES && uring->broken == 0; i++) {
        uring_submit(uring);
        sqe = io_uring_get_sqe(&uring->ring);
        if (sqe != NULL) return sqe;
    }
    if (uring->broken == 0) uring->broken = -EBUSY;
    return &uring->scratch;
}

union submission *uring_stable(struct uring *uring, const struct io_uring_sqe *sqe) {
    if (sqe == &uring->scratch) return &uring->submissions[0];
    return &uring->submissions[(size_t)(sqe - uring->ring.sq.sqes)];
}

static uint64_t user_data(const struct uring *uring, enum uring_op op, const struct uring_slot *slot) {
    uint64_t tag = (uint64_t)op << 56;
    if (slot == NULL) return tag;
    return tag | (uint64_t)slot->base.generation << 32 | slots_index(&uring->base.slots, &slot->base);
}

static void queued(struct uring *uring) {
    ring_count(&uring->base.counters.sqes, 1);
    if (!uring->tuning.submit_batch) uring_submit(uring);
}

void uring_queue(struct uring *uring, struct io_uring_sqe *sqe, enum uring_op op, struct uring_slot *slot) {
    sqe->user_data = user_data(uring, op, slot);
    bool silent = op == OP_CANCEL || op == OP_CLOSE || op == OP_PEER;
    if (silent) sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    if (slot != NULL && !silent) slot->in_flight += op == OP_SEND_ZC ? 2 : 1;
    queued(uring);
}

void uring_queue_read(struct uring *uring, struct io_uring_sqe *sqe, struct ring_read *read) {
    sqe->user_data = user_data(uring, OP_READ, NULL) | (uint64_t)(uintptr_t)read;
    queued(uring);
}

void uring_cancel(struct uring *uring, struct uring_slot *slot, enum uring_op op) {
    struct io_uring_sqe *sqe = uring_submission(uring);
    io_uring_prep_cancel64(sqe, user_data(uring, op, slot), 0);
    uring_queue(uring, sqe, OP_CANCEL, slot);
}

void uring_close_file(struct uring *uring, int32_t file, bool fixed) {
    struct io_uring_sqe *sqe = uring_submission(uring);
    if (fixed)
        io_uring_prep_close_direct(sqe, (unsigned)file);
    else
        io_uring_prep_close(sqe, file);
    uring_queue(uring, sqe, OP_CLOSE, NULL);
}

/* ------------------------------------------------------------------------------------------------------- a turn ---- */

/* With DEFER_TASKRUN one enter runs the work of at most max(20, wait_for) ready requests, and what counts towards wait_for
 * are all completions in the queue that we have not released. So we release late: the last `cq_lag_max` completions, read
 * long ago, stay in the queue, and waiting for `lag + 1` means waiting for one more, but lets the kernel run hundreds. */
static uint32_t release_completions(struct uring *uring, bool overflown) {
    uint32_t lag = overflown ? 0 : uring->cq_lag_max;
    if (uring->cq_head - uring->cq_released > lag) uring->cq_released = uring->cq_head - lag;
    io_uring_smp_store_release(uring->ring.cq.khead, uring->cq_released);
    return uring->cq_head - uring->cq_released;
}

static bool overflown(const struct uring *uring) {
    return (IO_URING_READ_ONCE(*uring->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

static void arm_wake(struct uring *uring) {
    if (uring->wake_armed) return;
    struct io_uring_sqe *sqe = uring_submission(uring);
    io_uring_prep_read(sqe, uring->base.wake_fd, &uring->wake_value, sizeof uring->wake_value, 0);
    uring_queue(uring, sqe, OP_WAKE, NULL);
    uring->wake_armed = true;
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    if (a == RING_NO_DEADLINE) return b;
    if (b == RING_NO_DEADLINE) return a;
    return a < b ? a : b;
}

int32_t uring_enter(struct uring *uring, uint32_t wait_for, uint64_t deadline_ns) {
    struct __kernel_timespec timeout = { 0 };
    struct io_uring_getevents_arg arg = { .sigmask_sz = _NSIG / 8 };
    if (deadline_ns != RING_NO_DEADLINE) {
        uint64_t left = deadline_ns > uring->base.now_ns ? deadline_ns - uring->base.now_ns : 0;
        timeout.tv_sec = (long long)(left / 1000000000u);
        timeout.tv_nsec = (long long)(left % 1000000000u);
        arg.ts = (uint64_t)(uintptr_t)&timeout;
    }
    return enter(uring, wait_for, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg);
}

/* Something of ours is to be delivered whether or not the kernel has anything. */
static bool anything_pending(const struct uring *uring) {
    if (uring->closed.count > 0 || uring->kept.count > 0) return true;
    if (uring->cq_head != io_uring_smp_load_acquire(uring->ring.cq.ktail)) return true;
    if (ring_common_pending(&uring->base)) return true;
    /* Those that were armed may have no bytes to take the buffers with; others in the line have. */
    if (uring->starved.count > 0 && uring->buffers.with_kernel > 0) return true;
    return uring_accept_pending(uring);
}

/* Quiet sends complete inside the enter that submits them, whatever the socket takes of them (uring_socket.c), and nobody waits
 * for that: they are not what ends the sleep. It ends after a while all the same, so that what they hold is given back. Not
 * sooner than any kernel's next tick: a timer that is the first one of its CPU has to be set in hardware, twice for each
 * sleep, and on a virtual machine that costs more than the rest of the turn. */
static int32_t sleep_for_events(struct uring *uring, uint64_t deadline_ns, uint32_t lag) {
    uint32_t quiet = uring->quiet;
    if (quiet > uring->ring.cq.ring_entries / 2) quiet = 0;
    if (quiet > 0) deadline_ns = earlier(deadline_ns, uring->base.now_ns + QUIET_LATE_NS);
    return uring_enter(uring, lag + quiet + 1, deadline_ns);
}

int32_t uring_wait(struct ring *ring, uint64_t deadline_ns) {
    struct uring *uring = uring_of(ring);
    ring_common_pause(ring);
    buffers_return(&uring->buffers);
    uring_receive_feed(uring);
    uring_accept_resume(uring);
    arm_wake(uring);
    bool overflow = overflown(uring);
    if (overflow) ring_count(&ring->counters.overflows, 1);
    bool poll = anything_pending(uring);
    uint32_t lag = release_completions(uring, overflow);
    deadline_ns = earlier(deadline_ns, uring->accept_retry_ns);
    int32_t error = poll ? enter(uring, lag, IORING_ENTER_GETEVENTS, NULL) : sleep_for_events(uring, deadline_ns, lag);
    if (error == 0) error = uring->broken;
    uring->quiet = 0;
    ring_common_turn(ring);
    uring->turn++;
    uring->turn_events = 0;
    uring->cq_tail = io_uring_smp_load_acquire(uring->ring.cq.ktail);
    ring_count_turn(ring, uring->cq_tail - uring->cq_head);
    return error;
}

/* ------------------------------------------------------------------------------------------------- completions ---- */

int32_t uring_take_installed(struct uring *uring, uint64_t tag) {
    uint32_t tail = io_uring_smp_load_acquire(uring->ring.cq.ktail);
    for (uint32_t i = uring->cq_head; i != tail; i++) {
        struct io_uring_cqe *cqe = &uring->ring.cq.cqes[i & uring->ring.cq.ring_mask];
        if (cqe->user_data != tag) continue;
        cqe->user_data = user_data(uring, OP_CLOSE, NULL); /* ours until released: uring_next passes over it */
        return cqe->res;
    }
    return -EAGAIN;
}

/* A cancel that did not find its request: it was between two tries (the kernel queues it again after a bound of receives), or
 * it has ended and its completion came before this one. In the first case the cancel has to be repeated. */
static void cancel_failed(struct uring *uring, struct uring_slot *slot) {
    if (slot->base.closing) {
        uring_stop_all(uring, slot);
        return;
    }
    if (slot->receive == RECEIVE_CANCELLING) uring_cancel(uring, slot, OP_RECEIVE);
    if (slot->accepting && slot->accept_cancelled) uring_cancel(uring, slot, OP_ACCEPT);
}

/* What came for a slot that is someone else's now: only what it carries must not leak. */
static void stale(struct uring *uring, enum uring_op op, const struct io_uring_cqe *cqe) {
    if (op == OP_CANCEL) return;
    ring_count(&uring->base.counters.stale, 1);
    if (cqe->flags & IORING_CQE_F_BUFFER)
        (void)buffers_lend(&uring->buffers, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
    if (op == OP_ACCEPT && cqe->res >= 0) uring_close_file(uring, cqe->res, uring->tuning.files_direct);
}

static bool for_slot(struct uring *uring, enum uring_op op, struct uring_slot *slot, const struct io_uring_cqe *cqe,
                     struct ring_event *out) {
    if (op == OP_CANCEL) {
        cancel_failed(uring, slot);
        return false;
    }
    if (op == OP_SEND_ZC) return uring_sent_zc(uring, slot, cqe, out);
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        rm_assert(slot->in_flight > 0);
        slot->in_flight--;
    }
    switch (op) {
    case OP_ACCEPT: return uring_accepted(uring, slot, cqe, out);
    case OP_RECEIVE: return uring_received(uring, slot, cqe, out);
    case OP_SEND: return uring_sent(uring, slot, cqe, out);
    case OP_CONNECT: return uring_connected(uring, slot, cqe, out);
    case OP_POLL: return uring_polled(uring, slot, cqe, out);
    case OP_SEND_ZC:
    case OP_CANCEL:
    case OP_CLOSE:
    case OP_WAKE:
    case OP_INSTALL:
    case OP_PEER:
    case OP_READ: break;
    }
    return false;
}

static bool for_ring(struct uring *uring, enum uring_op op, const struct io_uring_cqe *cqe, struct ring_event *out) {
    int32_t result = cqe->res;
    if (op == OP_READ) return uring_read_done(uring, cqe, out);
    if (op == OP_PEER && result < 0) uring_peer_failed(uring, result);
    if (op == OP_INSTALL && result >= 0) uring_close_file(uring, result, false); /* too late for who asked */
    if (op != OP_WAKE) return false; /* OP_CLOSE failed: the descriptor is gone either way */
    uring->wake_armed = false;
    ring_common_woken(&uring->base);
    return false;
}

static bool completed(struct uring *uring, const struct io_uring_cqe *cqe, struct ring_event *out) {
    enum uring_op op = (enum uring_op)(cqe->user_data >> 56);
    if (op >= OP_CLOSE) return for_ring(uring, op, cqe, out);
    struct ring_id id = { (uint32_t)cqe->user_data, (uint32_t)(cqe->user_data >> 32) & SLOT_GENERATION_MAX };
    struct slot *slot = slots_find(&uring->base.slots, id);
    if (slot == NULL) {
        stale(uring, op, cqe);
        return false;
    }
    bool told = for_slot(uring, op, uring_slot_of(slot), cqe, out);
    if (slot->closing) uring_settle(uring, uring_slot_of(slot));
    return told;
}

static bool next_closed(struct uring *uring, struct ring_event *out) {
    struct slot *slot = slot_list_pop(&uring->base.slots, &uring->closed);
    if (slot == NULL) return false;
    ring_event_set(out, RING_CLOSED, slots_id(&uring->base.slots, slot), slot->user, 0);
    slots_give(&uring->base.slots, slot);
    ring_count(&uring->base.counters.closed, 1);
    uring->accept_check = true;
    return true;
}

/* What needs no completion: rare, and looked at first. */
static bool next_pending(struct uring *uring, struct ring_event *out) {
    if (next_closed(uring, out)) return true;
    if (uring->kept.count > 0 && uring_receive_kept(uring, out)) return true;
    if (uring->parked_count > 0 && uring_accept_parked(uring, out)) return true;
    return ring_common_next(&uring->base, out);
}

bool uring_next(struct ring *ring, struct ring_event *out) {
    struct uring *uring = uring_of(ring);
    if (uring->turn_events++ >= TURN_EVENTS_MAX) return false;
    if (next_pending(uring, out)) return true;
    while (uring->cq_head != uring->cq_tail) {
        const struct io_uring_cqe *cqe = &uring->ring.cq.cqes[uring->cq_head & uring->ring.cq.ring_mask];
        uring->cq_head++;
        if (completed(uring, cqe, out)) return true;
    }
    return next_pending(uring, out);
}
