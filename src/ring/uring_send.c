/* Sending. A ring_send becomes one request after the other, each for a run of its segments: zero-copy for those that lie in one
 * registered buffer and are large enough, plain for what is between them. RING_SENT comes when all bytes were taken and every
 * notice is there, in whatever order. */
#include <errno.h>

#include "ring/uring_priv.h"

enum { QUIET_BYTES_MAX = 16 * 1024 };

/* What one request sends: segments [first, end) without the first `skip` bytes. */
struct run {
    uint32_t first, end;
    size_t skip, bytes;
    int32_t buffer; /* registered; -1: a plain send */
};

static bool zero_copy(const struct uring *uring) {
    return uring->region_count > 0 && uring->tuning.send_zc > 0;
}

/* All that lies in the same registered buffer as segment `first`. Too little, or nothing registered: buffer is -1. */
static struct run registered_run(const struct uring *uring, const struct uring_slot *slot, uint32_t first, size_t skip) {
    const struct iovec *segment = &slot->segments[first];
    struct run run = { .first = first, .end = first + 1, .skip = skip, .bytes = segment->iov_len - skip };
    run.buffer = uring_region_buffer(uring, (const char *)segment->iov_base + skip, run.bytes);
    if (run.buffer < 0) return run;
    for (; skip == 0 && run.end < slot->send_count; run.end++) {
        segment = &slot->segments[run.end];
        if (uring_region_buffer(uring, segment->iov_base, segment->iov_len) != run.buffer) break;
        run.bytes += segment->iov_len;
    }
    if (run.bytes < uring->tuning.send_zc) run.buffer = -1;
    return run;
}

/* From segment `first` on to the next run that goes without a copy. */
static struct run plain_run(const struct uring *uring, const struct uring_slot *slot, uint32_t first) {
    struct run run = { .first = first, .end = first, .buffer = -1 };
    while (run.end < slot->send_count) {
        struct run next = registered_run(uring, slot, run.end, 0);
        if (next.buffer >= 0) break;
        run.end = next.end;
        run.bytes += next.bytes;
    }
    return run;
}

/* What is sent next. A segment that was sent in part goes alone: the array is the caller's. */
static struct run next_run(const struct uring *uring, const struct uring_slot *slot) {
    uint32_t first = 0;
    size_t skip = slot->sent;
    while (skip >= slot->segments[first].iov_len) skip -= slot->segments[first++].iov_len;
    rm_assert(first < slot->send_count);
    bool copy = !zero_copy(uring) || slot->copy_rest || slot->copy_all;
    if (copy && skip == 0) return (struct run){ first, slot->send_count, 0, slot->send_bytes - slot->sent, -1 };
    struct run run = registered_run(uring, slot, first, skip);
    if (copy) run.buffer = -1;
    if (run.buffer >= 0 || skip > 0) return run;
    return plain_run(uring, slot, first);
}

/* A quiet send completes inside of the enter that submits it, with what the socket takes at once: uring_wait counts on it.
 * io_uring_prep_send(3): MSG_DONTWAIT ends a request where it would have to wait. With MSG_MORE the head of a response waits
 * for its body, which is the next request. */
static int send_flags(const struct uring_slot *slot, const struct run *run) {
    int flags = MSG_NOSIGNAL | (slot->quiet ? MSG_DONTWAIT : MSG_WAITALL);
    bool more = run->end < slot->send_count && slot->sent + run->bytes < slot->send_bytes;
    return more ? flags | MSG_MORE : flags;
}

static void prepare_message(struct uring *uring, struct io_uring_sqe *sqe, const struct uring_slot *slot,
                            const struct run *run) {
    struct msghdr *message = &uring_stable(uring, sqe)->message;
    *message = (struct msghdr){
        .msg_iov = (struct iovec *)(uintptr_t)(slot->segments + run->first), /* the kernel does not write through it */
        .msg_iovlen = run->end - run->first,
    };
    io_uring_prep_sendmsg(sqe, slot->file, message, (unsigned)send_flags(slot, run));
}

/* Of several segments the buffer is named since 6.15; before, and always when it is not named, the kernel pins the pages for
 * this send alone. The switches of both opcodes are in the same field. */
static void make_zero_copy(const struct uring *uring, struct io_uring_sqe *sqe, const struct run *run) {
    bool one = run->end - run->first == 1;
    sqe->opcode = one ? IORING_OP_SEND_ZC : IORING_OP_SENDMSG_ZC;
    if (uring->zc_report) sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
    if (!one && !uring->zc_segments) return;
    sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
    sqe->buf_index = (uint16_t)run->buffer;
}

static void queue_send(struct uring *uring, struct uring_slot *slot) {
    struct run run = next_run(uring, slot);
    struct io_uring_sqe *sqe = uring_submission(uring);
    const struct iovec *segment = &slot->segments[run.first];
    if (run.end - run.first == 1)
        io_uring_prep_send(sqe, slot->file, (char *)segment->iov_base + run.skip, run.bytes, send_flags(slot, &run));
    else
        prepare_message(uring, sqe, slot, &run);
    if (slot->fixed) sqe->flags |= IOSQE_FIXED_FILE;
    slot->send_turn = uring->turn;
    slot->request_end = slot->sent + (uint32_t)run.bytes;
    slot->zero_copy = run.buffer >= 0;
    if (!slot->zero_copy) {
        uring_queue(uring, sqe, OP_SEND, slot);
        return;
    }
    make_zero_copy(uring, sqe, &run);
    slot->notices++;
    uring->notices++;
    uring_queue(uring, sqe, OP_SEND_ZC, slot);
}

/* One run of it goes without a copy. */
static bool any_zero_copy(const struct uring *uring, const struct uring_slot *slot) {
    if (!zero_copy(uring) || slot->copy_all || slot->send_bytes < uring->tuning.send_zc) return false;
    struct run run = { 0 };
    for (uint32_t first = 0; first < slot->send_count; first = run.end) {
        run = registered_run(uring, slot, first, 0);
        if (run.buffer >= 0) return true;
    }
    return false;
}

void uring_send(struct ring *ring, struct slot *base, const struct iovec *segments, uint32_t n, enum ring_send how) {
    struct uring *uring = uring_of(ring);
    struct uring_slot *slot = uring_slot_of(base);
    rm_assert(!slot->sending);
    rm_assert(slot->notices == 0);
    slot->segments = segments;
    slot->send_count = n;
    slot->send_bytes = ring_send_bytes(segments, n);
    slot->sent = 0;
    slot->sending = true;
    slot->send_over = false;
    slot->copy_rest = !any_zero_copy(uring, slot);
    slot->quiet = how == RING_SEND_QUIET && slot->send_bytes <= QUIET_BYTES_MAX && !slot->slow && uring->tuning.wait_quiet;
    slot->quiet = slot->quiet && slot->copy_rest;
    if (slot->quiet) uring->quiet++;
    ring_count(&ring->counters.sends, 1);
    queue_send(uring, slot);
}

void uring_send_cancel(struct uring *uring, struct uring_slot *slot) {
    if (slot->sending && !slot->send_over) uring_cancel(uring, slot, slot->zero_copy ? OP_SEND_ZC : OP_SEND);
}

/* -------------------------------------------------------------------------------------------------- completions ---- */

/* The kernel will not send it without a copy: not from this socket (a Unix one), not with so much memory locked, or not with
 * what it has not learned yet: then the ring asks for less from now on. False: the error is another one. */
static bool refused(struct uring *uring, struct uring_slot *slot, int32_t error) {
    switch (-error) {
    case EOPNOTSUPP: slot->copy_all = true; break;
    case EINVAL:
        if (uring->zc_segments)
            uring->zc_segments = false;
        else if (uring->zc_report)
            uring->zc_report = false;
        else
            uring->tuning.send_zc = 0;
        break;
    case ENOMEM:
    case ENOBUFS:
    case EFAULT: break;
    default: return false;
    }
    slot->copy_rest = true;
    slot->refused = true;
    ring_count(&uring->base.counters.sends_zc_fallback, 1);
    return true;
}

/* After a request that ended with `result`: there is more to send. */
static bool goes_on(struct uring *uring, struct uring_slot *slot, int32_t result) {
    if (result < 0 && slot->zero_copy && refused(uring, slot, result)) return true;
    bool again = result == -EAGAIN || result == -EINTR;
    if (!again && (result <= 0 || slot->sent == slot->send_bytes)) return false;
    if (again || slot->sent < slot->request_end) {
        ring_count(&uring->base.counters.short_sends, 1);
        slot->slow = true;
        slot->quiet = false;
    }
    return true;
}

static bool send_over(struct uring *uring, struct uring_slot *slot, struct ring_event *out) {
    slot->send_over = slot->notices > 0;
    slot->sending = slot->send_over;
    if (slot->sending) return false;
    slot->slow = slot->slow && uring->turn - slot->send_turn > 1;
    ring_event_set(out, RING_SENT, slots_id(&uring->base.slots, &slot->base), slot->base.user, slot->send_result);
    return true;
}

bool uring_sent(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out) {
    if (cqe->res > 0) ring_count(&uring->base.counters.sent_bytes, (uint64_t)cqe->res);
    if (slot->base.closing) {
        slot->sending = false;
        return false;
    }
    if (cqe->res > 0) slot->sent += (uint32_t)cqe->res;
    rm_assert(slot->sent <= slot->request_end);
    if (goes_on(uring, slot, cqe->res)) {
        queue_send(uring, slot);
        return false;
    }
    slot->send_result = cqe->res < 0 ? cqe->res : (int32_t)slot->sent;
    return send_over(uring, slot, out);
}

/* The kernel has let go of the memory of a request, and says whether it had to copy it; of one that it refused it says that,
 * too. */
static bool noticed(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out) {
    bool copied = ((uint32_t)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
    if (copied && !slot->refused) ring_count(&uring->base.counters.sends_zc_copied, 1);
    slot->refused = false;
    return !slot->base.closing && slot->send_over && send_over(uring, slot, out);
}

bool uring_sent_zc(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out) {
    bool notice = (cqe->flags & IORING_CQE_F_NOTIF) != 0, alone = !notice && uring_ends_notice(cqe);
    rm_assert(slot->in_flight >= (alone ? 2u : 1u));
    slot->in_flight -= alone ? 2 : 1;
    if (uring_ends_notice(cqe)) {
        rm_assert(slot->notices > 0);
        slot->notices--;
        uring->notices--;
    }
    if (notice) return noticed(uring, slot, cqe, out);
    if (cqe->res > 0) ring_count(&uring->base.counters.sends_zc, 1);
    bool told = uring_sent(uring, slot, cqe, out);
    if (alone) slot->refused = false; /* there is no notice to come */
    return told;
}
