/* Accepting, connecting, receiving, sending, closing and watching with epoll. */
#include <errno.h>
#include <unistd.h>

#include "ring/epoll_priv.h"

enum { RETRY_NS = 100 * 1000000 };

static const uint32_t socket_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

/* ------------------------------------------------------------------------------------------------------ accept ---- */

int32_t epoll_listen(struct ring *ring, const struct ring_listen *listen, struct ring_id *out) {
    struct epoll *epoll = epoll_of(ring);
    if (epoll->listener_count == EPOLL_LISTENERS_MAX) return -ENFILE;
    struct slot *base = slots_take(&ring->slots, SLOT_LISTENER, listen->user);
    if (base == NULL) return -ENFILE;
    struct epoll_slot *slot = epoll_slot_of(base);
    slot->fd = ring_socket_listen(ring, listen);
    int32_t error = slot->fd < 0 ? slot->fd : 0;
    /* A listener that was handed in may be shared with other rings: only one of them is to be woken for a client. */
    uint32_t shared = listen->fd >= 0 ? EPOLLEXCLUSIVE : 0;
    if (error == 0) error = epoll_control(epoll, EPOLL_CTL_ADD, slot, EPOLLIN | EPOLLET | shared);
    if (error != 0) {
        if (slot->fd >= 0) ring_socket_close(ring, slot->fd);
        slots_give(&ring->slots, base);
        return error;
    }
    slot->accept_off = false;
    slot->accept_ready = true;
    epoll->listeners[epoll->listener_count++] = slots_index(&ring->slots, base);
    *out = epoll_id(epoll, slot);
    return 0;
}

void epoll_accept(struct ring *ring, struct slot *base, bool on) {
    (void)ring;
    struct epoll_slot *slot = epoll_slot_of(base);
    slot->accept_off = !on;
    if (on) slot->accept_ready = true; /* an edge may have passed meanwhile */
}

static bool may_accept(const struct epoll *epoll) {
    return epoll->accept_retry_ns == 0 && epoll->base.slots.in_use < epoll->base.slots.count;
}

static struct epoll_slot *ready_listener(const struct epoll *epoll) {
    for (uint32_t i = 0; i < epoll->listener_count; i++) {
        struct epoll_slot *slot = epoll_slot_of(slots_at(&epoll->base.slots, epoll->listeners[i]));
        if (slot->accept_ready && !slot->accept_off) return slot;
    }
    return NULL;
}

bool epoll_accept_pending(const struct epoll *epoll) {
    return may_accept(epoll) && ready_listener(epoll) != NULL;
}

static void accept_failed(struct epoll *epoll, struct epoll_slot *listener, int error) {
    if (error == EAGAIN) {
        listener->accept_ready = false;
        return;
    }
    ring_count(&epoll->base.counters.accept_errors, 1);
    if (error == ECONNABORTED || error == EINTR || error == EPROTO) return; /* that client only */
    ring_count(&epoll->base.counters.accept_pauses, 1);
    epoll->accept_retry_ns = epoll->base.now_ns + RETRY_NS;
}

static void start(struct epoll_slot *slot) {
    slot->mode = RING_FREE;
    slot->readable = false;
    slot->peer_ended = false;
    slot->want_more = false;
    slot->final_told = false;
    slot->connecting = false;
    slot->sending = false;
    slot->sent_due = false;
    slot->turn_bytes = 0;
}

static bool accepted(struct epoll *epoll, struct epoll_slot *listener, int fd, const struct ring_address *peer,
                     struct ring_event *out) {
    struct slot *base = slots_take(&epoll->base.slots, SLOT_SOCKET, NULL);
    rm_assert(base != NULL);
    struct epoll_slot *slot = epoll_slot_of(base);
    slot->fd = fd;
    start(slot);
    ring_peers_set(&epoll->base, base, &peer->storage, peer->len);
    if (epoll_control(epoll, EPOLL_CTL_ADD, slot, socket_events) != 0) { /* ENOMEM, ENOSPC: a limit of the kernel's */
        ring_count(&epoll->base.counters.accept_errors, 1);
        ring_socket_close(&epoll->base, fd);
        slots_give(&epoll->base.slots, base);
        return false;
    }
    ring_count(&epoll->base.counters.accepted, 1);
    ring_event_set(out, RING_ACCEPTED, epoll_id(epoll, slot), listener->base.user, 0);
    out->listener = epoll_id(epoll, listener);
    if (epoll->base.slots.in_use == epoll->base.slots.count) ring_count(&epoll->base.counters.accept_pauses, 1);
    return true;
}

bool epoll_accept_next(struct epoll *epoll, struct ring_event *out) {
    while (epoll->turn_accepts < EPOLL_ACCEPTS_MAX && may_accept(epoll)) {
        struct epoll_slot *listener = ready_listener(epoll);
        if (listener == NULL) return false;
        epoll->turn_accepts++;
        ring_count_call(&epoll->base, RING_CALL_accept4);
        struct ring_address peer;
        peer.len = sizeof peer.storage;
        bool ask = epoll->base.peers != NULL;
        int fd = accept4(listener->fd, ask ? (struct sockaddr *)&peer.storage : NULL, ask ? &peer.len : NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            accept_failed(epoll, listener, errno);
        else if (accepted(epoll, listener, fd, &peer, out))
            return true;
    }
    return false;
}

/* ----------------------------------------------------------------------------------------------------- connect ---- */

int32_t epoll_connect(struct ring *ring, const struct ring_address *address, void *user, struct ring_id *out) {
    struct epoll *epoll = epoll_of(ring);
    struct slot *base = slots_take(&ring->slots, SLOT_SOCKET, user);
    if (base == NULL) return -ENFILE;
    struct epoll_slot *slot = epoll_slot_of(base);
    slot->fd = ring_socket_open(ring, address, SOCK_NONBLOCK);
    if (slot->fd < 0) {
        slots_give(&ring->slots, base);
        return slot->fd;
    }
    start(slot);
    ring_peers_set(ring, base, &address->storage, address->len);
    slot->connecting = true;
    slot->result = 0;
    ring_count_call(ring, RING_CALL_connect);
    if (connect(slot->fd, (const struct sockaddr *)&address->storage, address->len) < 0 && errno != EINPROGRESS)
        slot->result = -errno;
    if (slot->result == 0) slot->result = epoll_control(epoll, EPOLL_CTL_ADD, slot, socket_events);
    if (slot->result != 0) epoll_ready(epoll, slot); /* told as an event, like any other refusal */
    *out = epoll_id(epoll, slot);
    return 0;
}

void epoll_connected(struct epoll *epoll, struct epoll_slot *slot, struct ring_event *out) {
    int error = -slot->result;
    if (error == 0) {
        socklen_t len = sizeof error;
        ring_count_call(&epoll->base, RING_CALL_getsockopt);
        if (getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) error = errno;
    }
    slot->connecting = false;
    slot->final_told = error != 0; /* a refused socket has nothing to read */
    if (error == 0) ring_count(&epoll->base.counters.connected, 1);
    ring_event_set(out, RING_CONNECTED, epoll_id(epoll, slot), slot->base.user, -error);
}

/* ----------------------------------------------------------------------------------------------------- receive ---- */

static void unlist(struct epoll *epoll, struct epoll_slot *slot) {
    if (slot->base.on_list == LIST_READY) slot_list_remove(&epoll->base.slots, &epoll->ready, &slot->base);
    if (slot->base.on_list == LIST_LATER) slot_list_remove(&epoll->base.slots, &epoll->later, &slot->base);
}

void epoll_receive_mode(struct ring *ring, struct slot *base, enum ring_receive mode) {
    struct epoll *epoll = epoll_of(ring);
    struct epoll_slot *slot = epoll_slot_of(base);
    if (slot->mode == mode) return;
    slot->mode = (uint8_t)mode;
    slot->want_more = false;
    if (mode == RING_METERED)
        unlist(epoll, slot);
    else
        epoll_ready(epoll, slot);
}

void epoll_receive_more(struct ring *ring, struct slot *base) {
    struct epoll_slot *slot = epoll_slot_of(base);
    rm_assert(slot->mode == RING_METERED);
    slot->want_more = true;
    epoll_ready(epoll_of(ring), slot);
}

static void count_bytes(struct epoll *epoll, struct epoll_slot *slot, uint32_t n) {
    ring_count(&epoll->base.counters.receives, 1);
    ring_count(&epoll->base.counters.received_bytes, n);
    if (slot->turn != epoll->turn) slot->turn_bytes = 0;
    slot->turn = epoll->turn;
    slot->turn_bytes += n;
    epoll->received_used += (uint32_t)slab_round(n);
}

/* Reads until a short read, which says that the socket is drained as well as EAGAIN would and costs no call; but the end of a
 * stream comes without an edge of its own once EPOLLRDHUP was seen, so then on to the end. */
bool epoll_receive(struct epoll *epoll, struct epoll_slot *slot, struct ring_event *out) {
    char *room = epoll->received + epoll->received_used;
    ring_count_call(&epoll->base, RING_CALL_recvfrom);
    ssize_t n = recv(slot->fd, room, RING_RECEIVE_BYTES_MAX, 0);
    int error = errno;
    if (n < 0 && error == EAGAIN) {
        slot->readable = false;
        slot->peer_ended = false; /* it was a hang-up of our own half */
        return false;
    }
    if (n < 0 && error == EINTR) {
        epoll_ready(epoll, slot);
        return false;
    }
    slot->want_more = false;
    slot->readable = n == RING_RECEIVE_BYTES_MAX;
    slot->final_told = n <= 0;
    if (n > 0) count_bytes(epoll, slot, (uint32_t)n);
    ring_event_set(out, RING_RECEIVED, epoll_id(epoll, slot), slot->base.user, n < 0 ? -error : (int32_t)n);
    if (n > 0) out->bytes = span_of(room, (size_t)n);
    epoll_ready(epoll, slot);
    return true;
}

/* -------------------------------------------------------------------------------------------------------- send ---- */

static void sent(struct epoll *epoll, struct epoll_slot *slot, int32_t result) {
    slot->sending = false;
    slot->result = result;
    slot->sent_due = true;
    slot->sent_next = NULL;
    if (epoll->sent_first == NULL)
        epoll->sent_first = slot;
    else
        epoll->sent_last->sent_next = slot;
    epoll->sent_last = slot;
}

/* One system call for what is left; a segment that was sent in part goes alone. */
static ssize_t send_once(struct epoll *epoll, const struct epoll_slot *slot) {
    uint32_t first = 0;
    size_t skip = slot->sent;
    while (skip >= slot->segments[first].iov_len) skip -= slot->segments[first++].iov_len;
    rm_assert(first < slot->send_count);
    const struct iovec *segment = &slot->segments[first];
    if (skip > 0 || first + 1 == slot->send_count) {
        ring_count_call(&epoll->base, RING_CALL_sendto);
        return send(slot->fd, (const char *)segment->iov_base + skip, segment->iov_len - skip, MSG_NOSIGNAL);
    }
    struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)segment, /* not written through */
        .msg_iovlen = slot->send_count - first,
    };
    ring_count_call(&epoll->base, RING_CALL_sendmsg);
    return sendmsg(slot->fd, &message, MSG_NOSIGNAL);
}

/* Sends until all is gone or the socket is full; then the edge of EPOLLOUT goes on. */
void epoll_send_more(struct epoll *epoll, struct epoll_slot *slot) {
    while (slot->sent < slot->send_bytes) {
        ssize_t n = send_once(epoll, slot);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) {
            sent(epoll, slot, -errno);
            return;
        }
        slot->sent += (uint32_t)n;
        ring_count(&epoll->base.counters.sent_bytes, (uint64_t)n);
        if (slot->sent < slot->send_bytes) ring_count(&epoll->base.counters.short_sends, 1);
    }
    sent(epoll, slot, (int32_t)slot->sent);
}

void epoll_send(struct ring *ring, struct slot *base, const struct iovec *segments, uint32_t n, enum ring_send how) {
    (void)how; /* a send that is done is told without a wake either way */
    struct epoll_slot *slot = epoll_slot_of(base);
    rm_assert(!slot->sending);
    rm_assert(!slot->sent_due);
    slot->segments = segments;
    slot->send_count = n;
    slot->send_bytes = ring_send_bytes(segments, n);
    slot->sent = 0;
    slot->sending = true;
    ring_count(&ring->counters.sends, 1);
    epoll_send_more(epoll_of(ring), slot);
}

void epoll_shutdown_write(struct ring *ring, struct slot *slot) {
    rm_assert(!epoll_slot_of(slot)->sending);
    ring_socket_shutdown(ring, epoll_slot_of(slot)->fd);
}

/* ------------------------------------------------------------------------------------------------------- close ---- */

static void forget_listener(struct epoll *epoll, const struct epoll_slot *slot) {
    uint32_t index = slots_index(&epoll->base.slots, &slot->base);
    for (uint32_t i = 0; i < epoll->listener_count; i++)
        if (epoll->listeners[i] == index) epoll->listeners[i--] = epoll->listeners[--epoll->listener_count];
}

void epoll_close(struct ring *ring, struct slot *base, bool reset) {
    struct epoll *epoll = epoll_of(ring);
    struct epoll_slot *slot = epoll_slot_of(base);
    if (base->kind == SLOT_LISTENER) forget_listener(epoll, slot);
    if (base->kind == SLOT_SOCKET) unlist(epoll, slot);
    /* A close takes a descriptor out of the set by itself only when it is the last one of its file. */
    if (base->kind != SLOT_SOCKET) (void)epoll_control(epoll, EPOLL_CTL_DEL, slot, 0);
    if (reset) ring_socket_linger_zero(ring, slot->fd);
    if (base->kind != SLOT_WATCH) ring_socket_close(ring, slot->fd);
    epoll->accept_retry_ns = 0; /* a descriptor is free: try again */
    bool due = base->kind == SLOT_SOCKET && slot->sent_due;
    if (!due) slot_list_append(&ring->slots, &epoll->closed, base, LIST_CLOSED);
}

int32_t epoll_peer(struct ring *ring, struct slot *slot, struct ring_address *out) {
    return ring_socket_peer(ring, epoll_slot_of(slot)->fd, out);
}

int32_t epoll_local(struct ring *ring, struct slot *slot, struct ring_address *out) {
    return ring_socket_local(ring, epoll_slot_of(slot)->fd, out);
}

uint64_t epoll_taken(struct ring *ring, struct slot *slot) {
    return ring_socket_taken(ring, epoll_slot_of(slot)->fd);
}

/* ------------------------------------------------------------------------------------------------------- watch ---- */

static uint32_t watch_events(uint32_t interest, bool persistent) {
    uint32_t events = EPOLLRDHUP | (persistent ? (uint32_t)EPOLLET : (uint32_t)EPOLLONESHOT);
    if (interest & RING_READABLE) events |= EPOLLIN;
    if (interest & RING_WRITABLE) events |= EPOLLOUT;
    return events;
}

int32_t epoll_watch(struct ring *ring, int fd, uint32_t interest, bool persistent, void *user, struct ring_id *out) {
    struct epoll *epoll = epoll_of(ring);
    struct slot *base = slots_take(&ring->slots, SLOT_WATCH, user);
    if (base == NULL) return -ENFILE;
    struct epoll_slot *slot = epoll_slot_of(base);
    slot->fd = fd;
    slot->persistent = persistent;
    slot->spent = false;
    int32_t error = epoll_control(epoll, EPOLL_CTL_ADD, slot, watch_events(interest, persistent));
    if (error != 0) {
        slots_give(&ring->slots, base);
        return error;
    }
    *out = epoll_id(epoll, slot);
    return 0;
}

void epoll_rewatch(struct ring *ring, struct slot *base, uint32_t interest) {
    struct epoll_slot *slot = epoll_slot_of(base);
    rm_assert(!slot->persistent);
    rm_assert(!slot->spent);
    int32_t error = epoll_control(epoll_of(ring), EPOLL_CTL_MOD, slot, watch_events(interest, false));
    rm_assert(error != -EINVAL);
}

void epoll_polled(struct epoll *epoll, struct epoll_slot *slot, uint32_t events, struct ring_event *out) {
    int32_t ready = 0;
    if (events & EPOLLIN) ready |= RING_READABLE;
    if (events & EPOLLOUT) ready |= RING_WRITABLE;
    if (events & (EPOLLHUP | EPOLLRDHUP)) ready |= RING_HANGUP;
    if (events & EPOLLERR) ready |= RING_ERROR;
    slot->spent = (ready & (RING_HANGUP | RING_ERROR)) != 0;
    ring_event_set(out, RING_READY, epoll_id(epoll, slot), slot->base.user, ready);
}
