/* Receiving: multishot in FREE mode, one at a time in METERED mode, and what lies between the two. */
#include <errno.h>

#include "ring/uring_priv.h"

enum { BURST_MAX = 32 };

/* While buffers are short, whoever has a turn gets one buffer and goes to the end of the line. */
static bool buffers_short(const struct uring *uring) {
    return uring->starved.count > 0;
}

static bool wants_multi(const struct uring *uring, const struct uring_slot *slot) {
    return slot->mode == RING_FREE && uring->tuning.receive_multi && !buffers_short(uring);
}

static void arm(struct uring *uring, struct uring_slot *slot, bool multi, bool poll_first) {
    struct io_uring_sqe *sqe = uring_submission(uring);
    if (multi)
        io_uring_prep_recv_multishot(sqe, slot->file, NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, slot->file, NULL, uring->buffers.bytes, 0);
    sqe->buf_group = BUFFER_GROUP;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    if (slot->fixed) sqe->flags |= IOSQE_FIXED_FILE;
    if (poll_first) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    slot->receive = multi ? RECEIVE_MULTI : RECEIVE_SINGLE;
    uring_queue(uring, sqe, OP_RECEIVE, slot);
}

/* A multishot receive that reads its last bytes in the kernel's poll loop does not look again whether a reset came with them
 * (a FIN is seen): the connection would hang until somebody sends. So a multishot is armed on a drained socket only, where
 * the first try sees whatever there is; and one that has read as much as the kernel reads before it queues itself again
 * (32 receives) is armed anew once the socket is drained.
 *
 * A single-shot receive on a drained socket would fail once before it waits, so it is told to wait at once. */
static void rearm(struct uring *uring, struct uring_slot *slot) {
    if (buffers_short(uring)) {
        slot_list_append(&uring->base.slots, &uring->starved, &slot->base, LIST_STARVED);
        return;
    }
    bool multi = wants_multi(uring, slot);
    arm(uring, slot, multi && !slot->more_queued, !multi && !slot->more_queued);
}

static void cancel_multishot(struct uring *uring, struct uring_slot *slot) {
    if (slot->receive != RECEIVE_MULTI) return;
    slot->receive = RECEIVE_CANCELLING;
    uring_cancel(uring, slot, OP_RECEIVE);
}

void uring_receive_start(struct uring *uring, struct uring_slot *slot) {
    slot->mode = RING_FREE;
    slot->want_more = false;
    slot->final_known = false;
    slot->final_told = false;
    slot->more_queued = true;
    slot->burst = 0;
    slot->kept_head = BUFFER_NONE;
    slot->kept_tail = BUFFER_NONE;
    slot->kept_bytes = 0;
    slot->kept_buffers = 0;
    arm(uring, slot, uring->tuning.receive_multi, false);
}

static bool has_kept(const struct uring_slot *slot) {
    return slot->kept_head != BUFFER_NONE || (slot->final_known && !slot->final_told);
}

static bool may_deliver(const struct uring_slot *slot) {
    return slot->mode == RING_FREE || slot->want_more;
}

static void list_kept(struct uring *uring, struct uring_slot *slot) {
    if (slot->base.on_list == LIST_KEPT) return;
    if (has_kept(slot) && may_deliver(slot)) slot_list_append(&uring->base.slots, &uring->kept, &slot->base, LIST_KEPT);
}

static void unlist(struct uring *uring, struct uring_slot *slot) {
    if (slot->base.on_list == LIST_KEPT) slot_list_remove(&uring->base.slots, &uring->kept, &slot->base);
    if (slot->base.on_list == LIST_STARVED) slot_list_remove(&uring->base.slots, &uring->starved, &slot->base);
}

/* Nothing is armed: arms what the mode asks for. */
static void arm_if_wanted(struct uring *uring, struct uring_slot *slot) {
    if (slot->receive != RECEIVE_NONE || slot->final_known || slot->base.on_list == LIST_STARVED) return;
    if (slot->base.on_list == LIST_KEPT) return; /* looked at again when that is delivered */
    if (slot->mode == RING_METERED && (!slot->want_more || slot->kept_head != BUFFER_NONE)) return;
    rearm(uring, slot);
}

void uring_receive_mode(struct ring *ring, struct slot *base, enum ring_receive mode) {
    struct uring *uring = uring_of(ring);
    struct uring_slot *slot = uring_slot_of(base);
    if (slot->mode == mode) return;
    slot->mode = (uint8_t)mode;
    slot->want_more = false;
    if (mode == RING_METERED) {
        unlist(uring, slot);
        cancel_multishot(uring, slot);
        return;
    }
    list_kept(uring, slot);
    arm_if_wanted(uring, slot);
}

void uring_receive_more(struct ring *ring, struct slot *base) {
    struct uring *uring = uring_of(ring);
    struct uring_slot *slot = uring_slot_of(base);
    rm_assert(slot->mode == RING_METERED);
    slot->want_more = true;
    list_kept(uring, slot);
    arm_if_wanted(uring, slot);
}

static void tell(struct uring *uring, struct uring_slot *slot, int32_t result, struct span bytes,
                 struct ring_event *out) {
    ring_event_set(out, RING_RECEIVED, slots_id(&uring->base.slots, &slot->base), slot->base.user, result);
    out->bytes = bytes;
    slot->want_more = false;
    if (result <= 0) slot->final_told = true;
}

bool uring_receive_kept(struct uring *uring, struct ring_event *out) {
    struct slot *base = slot_list_pop(&uring->base.slots, &uring->kept);
    if (base == NULL) return false;
    struct uring_slot *slot = uring_slot_of(base);
    if (slot->kept_head != BUFFER_NONE) {
        struct span bytes = buffers_unkeep(&uring->buffers, slot);
        tell(uring, slot, (int32_t)bytes.len, bytes, out);
    } else {
        tell(uring, slot, slot->final, (struct span){ 0 }, out);
    }
    list_kept(uring, slot);
    arm_if_wanted(uring, slot);
    return true;
}

static void starve(struct uring *uring, struct uring_slot *slot) {
    ring_count(&uring->base.counters.no_buffers, 1);
    if (slot->mode == RING_METERED && !slot->want_more) return;
    unlist(uring, slot);
    slot_list_append(&uring->base.slots, &uring->starved, &slot->base, LIST_STARVED);
}

/* Buffers that run out are too few when many sockets wait for one, or when paused sockets hold them. When a few senders are
 * faster than we are, more buffers would not make us faster: only the memory that we go through larger than the caches. */
static bool too_few(const struct uring *uring) {
    return uring->starved.count > uring->buffers.count / 4 || uring->buffers.kept > uring->buffers.count / 2;
}

void uring_receive_feed(struct uring *uring) {
    if (uring->starved.count == 0) return;
    uint32_t before = uring->buffers.count;
    if (too_few(uring) && buffers_grow(&uring->buffers))
        ring_count(&uring->base.counters.buffers_grown, uring->buffers.count - before);
    for (uint32_t n = uring->buffers.with_kernel; n > 0; n--) {
        struct slot *slot = slot_list_pop(&uring->base.slots, &uring->starved);
        if (slot == NULL) return;
        ring_count(&uring->base.counters.rearms_no_buffers, 1);
        ring_count(&uring->base.counters.rearms_receive, 1);
        arm(uring, uring_slot_of(slot), wants_multi(uring, uring_slot_of(slot)), true);
    }
}

void uring_receive_drop(struct uring *uring, struct uring_slot *slot) {
    unlist(uring, slot);
    buffers_forget(&uring->buffers, slot);
}

/* The stream is over, or the ring gives up on it. */
static bool ended(struct uring *uring, struct uring_slot *slot, int32_t result, struct ring_event *out) {
    if (slot->final_known) return false;
    slot->final_known = true;
    slot->final = result;
    if (slot->kept_head == BUFFER_NONE && may_deliver(slot)) {
        unlist(uring, slot);
        tell(uring, slot, result, (struct span){ 0 }, out);
        return true;
    }
    list_kept(uring, slot);
    return false;
}

/* A paused socket may keep its share, and beyond that what all of them together leave free: one enter can bring a flooder's
 * hundreds, and giving up on a connection that did no wrong is for when others would have no buffers. */
static bool may_keep(const struct uring *uring, const struct uring_slot *slot, uint32_t len) {
    if (uring->buffers.kept < uring->buffers.entries / 4 * 3) return true;
    return slot->kept_bytes + len <= RING_KEPT_BYTES_MAX && slot->kept_buffers < KEPT_BUFFERS_MAX;
}

/* Bytes that nobody asked for, or that have older ones before them. */
static bool keep(struct uring *uring, struct uring_slot *slot, uint16_t id, uint32_t len, struct ring_event *out) {
    if (!may_keep(uring, slot, len)) {
        cancel_multishot(uring, slot);
        return ended(uring, slot, -ENOBUFS, out);
    }
    ring_count(&uring->base.counters.kept_bytes, len);
    buffers_keep(&uring->buffers, slot, id, len);
    list_kept(uring, slot);
    return false;
}

static void watch_burst(struct uring *uring, struct uring_slot *slot) {
    if (slot->burst < BURST_MAX) slot->burst++;
    if (slot->more_queued) return;
    if (slot->burst == BURST_MAX) cancel_multishot(uring, slot);
    slot->burst = 0;
}

static bool got_bytes(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, const char *data,
                      struct ring_event *out) {
    uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    ring_count(&uring->base.counters.receives, 1);
    ring_count(&uring->base.counters.received_bytes, (uint64_t)cqe->res);
    slot->more_queued = (cqe->flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
    watch_burst(uring, slot);
    bool told = slot->kept_head == BUFFER_NONE && may_deliver(slot);
    if (told)
        tell(uring, slot, cqe->res, span_of(data, (size_t)cqe->res), out);
    else
        told = keep(uring, slot, id, (uint32_t)cqe->res, out);
    if (slot->receive == RECEIVE_NONE && slot->mode == RING_FREE) {
        ring_count(&uring->base.counters.rearms_receive, 1);
        if (uring->tuning.receive_multi) ring_count(&uring->base.counters.rearms_overflow, 1);
    }
    if (buffers_short(uring)) cancel_multishot(uring, slot);
    arm_if_wanted(uring, slot);
    return told;
}

bool uring_received(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out) {
    const char *data = NULL;
    if (cqe->flags & IORING_CQE_F_BUFFER)
        data = buffers_lend(&uring->buffers, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) slot->receive = RECEIVE_NONE;
    if (slot->base.closing || slot->final_known) return false;
    if (cqe->res > 0) return got_bytes(uring, slot, cqe, data, out);
    switch (-cqe->res) {
    case ENOBUFS: starve(uring, slot); return false;
    case ECANCELED: /* our own cancel */
    case EINTR:
    case EAGAIN: arm_if_wanted(uring, slot); return false;
    default: return ended(uring, slot, cqe->res, out);
    }
}
