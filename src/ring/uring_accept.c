/* Accepting: never into a full table, never spinning. io_uring_prep_multishot_accept_direct(3), kernel 5.19. */
#include <errno.h>

#include "ring/uring_priv.h"

enum {
    RETRY_NS = 100 * 1000000,
    MULTI_SLOTS_FREE = 64, /* with fewer free slots accepts are single: starting and stopping a multishot would cost more */
};

static uint32_t slots_free(const struct uring *uring) {
    return uring->base.slots.count - uring->base.slots.in_use;
}

static void arm(struct uring *uring, struct uring_slot *slot) {
    bool multi = uring->tuning.accept_multi && slots_free(uring) > MULTI_SLOTS_FREE;
    bool direct = uring->tuning.files_direct;
    struct io_uring_sqe *sqe = uring_submission(uring);
    if (multi && direct)
        io_uring_prep_multishot_accept_direct(sqe, slot->file, NULL, NULL, 0);
    else if (multi)
        io_uring_prep_multishot_accept(sqe, slot->file, NULL, NULL, SOCK_CLOEXEC);
    else if (direct)
        io_uring_prep_accept_direct(sqe, slot->file, NULL, NULL, 0, IORING_FILE_INDEX_ALLOC);
    else
        io_uring_prep_accept(sqe, slot->file, NULL, NULL, SOCK_CLOEXEC);
    slot->accepting = true;
    slot->accept_cancelled = false;
    slot->accept_multi = multi;
    uring_queue(uring, sqe, OP_ACCEPT, slot);
}

static void disarm(struct uring *uring, struct uring_slot *slot) {
    if (!slot->accepting || slot->accept_cancelled) return;
    slot->accept_cancelled = true;
    uring_cancel(uring, slot, OP_ACCEPT);
}

static struct parked *parked_at(const struct uring *uring, uint32_t i) {
    return &uring->parked[(uring->parked_head + i) % uring->parked_max];
}

/* A listener that was stopped keeps its clients waiting; those of others go before them. The number in the line, or
 * parked_count. */
static uint32_t first_wanted(const struct uring *uring) {
    uint32_t i = 0;
    for (; i < uring->parked_count; i++) {
        struct slot *listener = slots_find(&uring->base.slots, parked_at(uring, i)->listener);
        if (listener == NULL || !uring_slot_of(listener)->accept_off) break;
    }
    return i;
}

static bool none_wanted(const struct uring *uring) {
    return uring->parked_count == 0 || first_wanted(uring) == uring->parked_count;
}

bool uring_accept_pending(const struct uring *uring) {
    return slots_free(uring) > 0 && !none_wanted(uring);
}

static bool may_arm(const struct uring *uring, const struct uring_slot *slot) {
    if (slot->accepting || slot->accept_off || slot->base.closing) return false;
    if (uring->accept_retry_ns != 0) return false;
    return slots_free(uring) > 0 && none_wanted(uring);
}

/* What kind of names its clients have; kept in the listener's own place of the table. */
static void note_family(struct ring *ring, const struct slot *base, int fd) {
    struct ring_address address;
    if (ring->peers == NULL || ring_socket_local(ring, fd, &address) != 0) return;
    ring->peers[slots_index(&ring->slots, base)].sin6_family = address.storage.ss_family;
}

int32_t uring_listen(struct ring *ring, const struct ring_listen *listen, struct ring_id *out) {
    struct uring *uring = uring_of(ring);
    if (uring->listener_count == LISTENERS_MAX) return -ENFILE;
    struct slot *base = slots_take(&ring->slots, SLOT_LISTENER, listen->user);
    if (base == NULL) return -ENFILE;
    int fd = ring_socket_listen(ring, listen);
    if (fd < 0) {
        slots_give(&ring->slots, base);
        return fd;
    }
    struct uring_slot *slot = uring_slot_of(base);
    slot->file = fd;
    slot->fixed = false;
    slot->in_flight = 0;
    slot->accepting = false;
    slot->accept_off = false;
    slot->accept_cancelled = false;
    note_family(ring, base, fd);
    uring->listeners[uring->listener_count++] = slots_index(&ring->slots, base);
    *out = slots_id(&ring->slots, base);
    if (may_arm(uring, slot)) arm(uring, slot);
    return 0;
}

void uring_accept(struct ring *ring, struct slot *base, bool on) {
    struct uring *uring = uring_of(ring);
    struct uring_slot *slot = uring_slot_of(base);
    slot->accept_off = !on;
    if (!on) disarm(uring, slot);
    if (on && may_arm(uring, slot)) arm(uring, slot);
}

void uring_accept_resume(struct uring *uring) {
    bool due = uring->accept_retry_ns != 0 && uring->base.now_ns >= uring->accept_retry_ns;
    if (!due && !uring->accept_check) return;
    uring->accept_check = false;
    uring->accept_retry_ns = 0;
    for (uint32_t i = 0; i < uring->listener_count; i++) {
        struct uring_slot *slot = uring_slot_of(slots_at(&uring->base.slots, uring->listeners[i]));
        if (may_arm(uring, slot)) arm(uring, slot);
    }
}

/* The last slot was taken: what still comes is parked, and accepting goes on when slots return. */
static void pause_all(struct uring *uring) {
    ring_count(&uring->base.counters.accept_pauses, 1);
    for (uint32_t i = 0; i < uring->listener_count; i++)
        disarm(uring, uring_slot_of(slots_at(&uring->base.slots, uring->listeners[i])));
}

/* Who is it? The kernel writes the answer into the table while it reads the submission, before it looks at the socket's
 * receive, so nothing has to be waited for; and a later user of the slot is asked about later. It takes exactly the bytes
 * that the family has. io_uring_cmd of SOCKET_URING_OP_GETSOCKOPT, kernel 6.7; SO_PEERNAME, socket(7). */
static void ask_peer(struct uring *uring, struct uring_slot *slot, const struct slot *listener) {
    struct ring *ring = &uring->base;
    if (ring->peers == NULL) return;
    struct sockaddr_storage family = { .ss_family = AF_UNSPEC };
    if (listener != NULL) family.ss_family = ring->peers[slots_index(&ring->slots, listener)].sin6_family;
    if (family.ss_family == AF_UNIX) {
        ring_peers_set(ring, &slot->base, &family, sizeof family.ss_family); /* hardly ever has a name */
        return;
    }
    ring_peers_set(ring, &slot->base, NULL, 0);
    if (!uring->ask_peers || family.ss_family == AF_UNSPEC) return;
    socklen_t len = family.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    struct sockaddr_in6 *peer = &ring->peers[slots_index(&ring->slots, &slot->base)];
    struct io_uring_sqe *sqe = uring_submission(uring);
    io_uring_prep_cmd_sock(sqe, SOCKET_URING_OP_GETSOCKOPT, slot->file, SOL_SOCKET, SO_PEERNAME, peer, (int)len);
    if (slot->fixed) sqe->flags |= IOSQE_FIXED_FILE;
    uring_queue(uring, sqe, OP_PEER, NULL);
}

/* A client that has gone already has no name; anything else means that this kernel, or its security module, does not do it. */
void uring_peer_failed(struct uring *uring, int32_t error) {
    if (error != -ENOTCONN) uring->ask_peers = false;
}

static bool deliver(struct uring *uring, struct ring_id listener, int32_t file, bool fixed, struct ring_event *out) {
    struct slot *owner = slots_find(&uring->base.slots, listener);
    struct slot *base = slots_take(&uring->base.slots, SLOT_SOCKET, NULL);
    rm_assert(base != NULL);
    struct uring_slot *slot = uring_slot_of(base);
    slot->file = file;
    slot->fixed = fixed;
    slot->in_flight = 0;
    slot->sending = false;
    slot->copy_all = false;
    slot->slow = false;
    ring_count(&uring->base.counters.accepted, 1);
    ask_peer(uring, slot, owner);
    uring_receive_start(uring, slot);
    ring_event_set(out, RING_ACCEPTED, slots_id(&uring->base.slots, base), owner == NULL ? NULL : owner->user, 0);
    out->listener = listener;
    if (slots_free(uring) == 0) pause_all(uring);
    return true;
}

static void park(struct uring *uring, struct ring_id listener, int32_t file, bool fixed) {
    if (uring->parked_count == uring->parked_max) { /* cannot be: see parked_max in uring_setup.c */
        uring_close_file(uring, file, fixed);
        return;
    }
    uint32_t at = (uring->parked_head + uring->parked_count) % uring->parked_max;
    uring->parked[at] = (struct parked){ file, fixed, listener };
    uring->parked_count++;
}

bool uring_accept_parked(struct uring *uring, struct ring_event *out) {
    if (!uring_accept_pending(uring)) return false;
    uint32_t at = first_wanted(uring);
    struct parked parked = *parked_at(uring, at);
    for (; at > 0; at--) *parked_at(uring, at) = *parked_at(uring, at - 1);
    uring->parked_head = (uring->parked_head + 1) % uring->parked_max;
    uring->parked_count--;
    if (none_wanted(uring)) uring->accept_check = true; /* it waited for the last one */
    return deliver(uring, parked.listener, parked.file, parked.fixed, out);
}

/* EMFILE and its like leave the client in the backlog (normal descriptors): try again when something was closed, or soon. So
 * for what we don't know, which may never end (ENOTSOCK). */
static void failed(struct uring *uring, struct uring_slot *slot, int32_t error) {
    ring_count(&uring->base.counters.accept_errors, 1);
    switch (error) {
    case ECONNABORTED: /* that client only */
    case EINTR:
    case EPROTO:
        if (may_arm(uring, slot)) arm(uring, slot);
        return;
    case EINVAL: /* a kernel without multishot accept, or a listener that was shut down */
        if (slot->accept_multi) uring->tuning.accept_multi = false;
        break;
    default: break;
    }
    ring_count(&uring->base.counters.accept_pauses, 1);
    uring->accept_retry_ns = uring->base.now_ns + RETRY_NS;
}

bool uring_accepted(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out) {
    bool ended = (cqe->flags & IORING_CQE_F_MORE) == 0;
    bool stopped = slot->accept_cancelled;
    if (ended) slot->accepting = false;
    if (cqe->res < 0) {
        if (cqe->res == -ECANCELED || slot->base.closing)
            uring->accept_check = true; /* it may have been wanted again meanwhile */
        else
            failed(uring, slot, -cqe->res);
        return false;
    }
    struct ring_id listener = slots_id(&uring->base.slots, &slot->base);
    bool fixed = uring->tuning.files_direct;
    if (slot->base.closing) { /* nothing but CLOSED follows a close: as for a client in the backlog */
        uring_close_file(uring, cqe->res, fixed);
        return false;
    }
    bool told = slots_free(uring) > 0 && !slot->accept_off && none_wanted(uring);
    if (told)
        deliver(uring, listener, cqe->res, fixed, out);
    else
        park(uring, listener, cqe->res, fixed);
    if (!ended) return told;
    if (slot->accept_multi && !stopped) ring_count(&uring->base.counters.rearms_accept, 1);
    if (may_arm(uring, slot)) arm(uring, slot);
    return told;
}

static void drop_parked(struct uring *uring, struct ring_id listener) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < uring->parked_count; i++) {
        struct parked parked = *parked_at(uring, i);
        if (ring_id_equal(parked.listener, listener))
            uring_close_file(uring, parked.file, parked.fixed);
        else
            *parked_at(uring, kept++) = parked;
    }
    uring->parked_count = kept;
}

void uring_accept_stop(struct uring *uring, struct uring_slot *slot) {
    drop_parked(uring, slots_id(&uring->base.slots, &slot->base));
    if (slot->accepting) {
        slot->accept_cancelled = true;
        uring_cancel(uring, slot, OP_ACCEPT);
    }
}

void uring_accept_forget(struct uring *uring, const struct uring_slot *slot) {
    uint32_t index = slots_index(&uring->base.slots, &slot->base);
    drop_parked(uring, slots_id(&uring->base.slots, &slot->base));
    for (uint32_t i = 0; i < uring->listener_count; i++) {
        if (uring->listeners[i] != index) continue;
        uring->listeners[i] = uring->listeners[--uring->listener_count];
        return;
    }
}
