/* Connecting, closing, watching. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "ring/uring_priv.h"

static struct ring_id id_of(const struct uring *uring, const struct uring_slot *slot) {
    return slots_id(&uring->base.slots, &slot->base);
}

/* ----------------------------------------------------------------------------------------------------- connect ---- */

int32_t uring_connect(struct ring *ring, const struct ring_address *address, void *user, struct ring_id *out) {
    struct uring *uring = uring_of(ring);
    struct slot *base = slots_take(&ring->slots, SLOT_SOCKET, user);
    if (base == NULL) return -ENFILE;
    int fd = ring_socket_open(ring, address, 0);
    if (fd < 0) {
        slots_give(&ring->slots, base);
        return fd;
    }
    ring_peers_set(ring, base, &address->storage, address->len);
    struct uring_slot *slot = uring_slot_of(base);
    slot->file = fd;
    slot->fixed = false;
    slot->in_flight = 0;
    slot->sending = false;
    slot->copy_all = false;
    slot->slow = false;
    slot->receive = RECEIVE_NONE;
    slot->connecting = true;
    slot->kept_head = BUFFER_NONE;
    slot->kept_bytes = 0;
    slot->kept_buffers = 0;
    struct io_uring_sqe *sqe = uring_submission(uring);
    union submission *stable = uring_stable(uring, sqe);
    stable->address = address->storage;
    io_uring_prep_connect(sqe, fd, (struct sockaddr *)&stable->address, address->len);
    *out = id_of(uring, slot);
    uring_queue(uring, sqe, OP_CONNECT, slot);
    return 0;
}

bool uring_connected(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out) {
    slot->connecting = false;
    if (slot->base.closing) return false;
    if (cqe->res == 0) {
        ring_count(&uring->base.counters.connected, 1);
        uring_receive_start(uring, slot);
    }
    ring_event_set(out, RING_CONNECTED, id_of(uring, slot), slot->base.user, cqe->res);
    return true;
}

/* --------------------------------------------------------------------------------------- real descriptors, rarely ---- */

/* A normal descriptor for a direct one, for the calls that io_uring has not (or has only on helper threads of the kernel:
 * IORING_OP_SHUTDOWN is one). Completes inside the submission; -errno. io_uring_prep_fixed_fd_install(3), kernel 6.8. */
static int32_t install(struct uring *uring, const struct uring_slot *slot) {
    struct io_uring_sqe *sqe = uring_submission(uring);
    io_uring_prep_fixed_fd_install(sqe, slot->file, 0);
    sqe->user_data = (uint64_t)OP_INSTALL << 56 | ++uring->installs;
    uint64_t tag = sqe->user_data;
    ring_count(&uring->base.counters.sqes, 1);
    uring_submit(uring);
    return uring_take_installed(uring, tag);
}

typedef int32_t with_fd_fn(struct ring *ring, int fd, void *out);

static int32_t with_descriptor(struct uring *uring, struct uring_slot *slot, with_fd_fn *call, void *out) {
    if (!slot->fixed) return call(&uring->base, slot->file, out);
    int32_t fd = install(uring, slot);
    if (fd < 0) return fd;
    int32_t result = call(&uring->base, fd, out);
    ring_socket_close(&uring->base, fd);
    return result;
}

static int32_t call_shutdown(struct ring *ring, int fd, void *out) {
    (void)out;
    ring_socket_shutdown(ring, fd);
    return 0;
}

static int32_t call_linger(struct ring *ring, int fd, void *out) {
    (void)out;
    ring_socket_linger_zero(ring, fd);
    return 0;
}

/* Where no descriptor can be had (EMFILE), the ring ends our half the other way: a thread of the kernel's. */
void uring_shutdown_write(struct ring *ring, struct slot *base) {
    struct uring *uring = uring_of(ring);
    struct uring_slot *slot = uring_slot_of(base);
    rm_assert(!slot->sending);
    if (with_descriptor(uring, slot, call_shutdown, NULL) >= 0) return;
    struct io_uring_sqe *sqe = uring_submission(uring);
    io_uring_prep_shutdown(sqe, slot->file, SHUT_WR);
    if (slot->fixed) sqe->flags |= IOSQE_FIXED_FILE;
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    uring_queue(uring, sqe, OP_CLOSE, NULL);
}

static int32_t call_peer(struct ring *ring, int fd, void *out) {
    return ring_socket_peer(ring, fd, out);
}

int32_t uring_peer(struct ring *ring, struct slot *slot, struct ring_address *out) {
    return with_descriptor(uring_of(ring), uring_slot_of(slot), call_peer, out);
}

static int32_t call_local(struct ring *ring, int fd, void *out) {
    return ring_socket_local(ring, fd, out);
}

int32_t uring_local(struct ring *ring, struct slot *slot, struct ring_address *out) {
    return with_descriptor(uring_of(ring), uring_slot_of(slot), call_local, out);
}

static int32_t call_taken(struct ring *ring, int fd, void *out) {
    *(uint64_t *)out = ring_socket_taken(ring, fd);
    return 0;
}

uint64_t uring_taken(struct ring *ring, struct slot *slot) {
    uint64_t taken = 0;
    (void)with_descriptor(uring_of(ring), uring_slot_of(slot), call_taken, &taken); /* without a descriptor: not known */
    return taken;
}

/* ------------------------------------------------------------------------------------------------------- close ---- */

void uring_stop_all(struct uring *uring, struct uring_slot *slot) {
    if (slot->in_flight == 0) return;
    if (slot->base.kind == SLOT_LISTENER) {
        uring_accept_stop(uring, slot);
        return;
    }
    if (slot->base.kind == SLOT_WATCH) {
        uring_cancel(uring, slot, OP_POLL);
        return;
    }
    if (slot->connecting) uring_cancel(uring, slot, OP_CONNECT);
    uring_send_cancel(uring, slot);
    if (slot->receive != RECEIVE_NONE) uring_cancel(uring, slot, OP_RECEIVE);
}

void uring_settle(struct uring *uring, struct uring_slot *slot) {
    if (slot->in_flight > 0 || slot->base.on_list == LIST_CLOSED) return;
    if (slot->base.kind == SLOT_LISTENER) {
        uring_accept_forget(uring, slot);
        ring_socket_close(&uring->base, slot->file);
    }
    slot_list_append(&uring->base.slots, &uring->closed, &slot->base, LIST_CLOSED);
}

/* Without a descriptor to be had the ring sets the option: SOCKET_URING_OP_SETSOCKOPT has been there for longer than direct
 * descriptors (6.7). */
void uring_linger_zero(struct uring *uring, struct uring_slot *slot) {
    static struct linger now = { .l_onoff = 1, .l_linger = 0 };
    if (with_descriptor(uring, slot, call_linger, NULL) >= 0) return;
    struct io_uring_sqe *sqe = uring_submission(uring);
    io_uring_prep_cmd_sock(sqe, SOCKET_URING_OP_SETSOCKOPT, slot->file, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    if (slot->fixed) sqe->flags |= IOSQE_FIXED_FILE;
    uring_queue(uring, sqe, OP_CLOSE, NULL);
}

/* Of a zero-copy send the socket holds pages, not bytes: one whose peer does not read would hold them for minutes after its
 * close. A reset lets go of them at once. */
void uring_close(struct ring *ring, struct slot *base, bool reset) {
    struct uring *uring = uring_of(ring);
    struct uring_slot *slot = uring_slot_of(base);
    bool held = base->kind == SLOT_SOCKET && slot->notices > 0;
    if (reset || held) uring_linger_zero(uring, slot);
    if (base->kind == SLOT_SOCKET) uring_receive_drop(uring, slot);
    uring_stop_all(uring, slot);
    /* A close lets go of the name only: the cancelled requests, which run before it or with it, hold the socket. */
    if (base->kind == SLOT_SOCKET) uring_close_file(uring, slot->file, slot->fixed);
    uring_settle(uring, slot);
}

/* ------------------------------------------------------------------------------------------------------- watch ---- */

static void arm_poll(struct uring *uring, struct uring_slot *slot) {
    struct io_uring_sqe *sqe = uring_submission(uring);
    if (slot->persistent)
        io_uring_prep_poll_multishot(sqe, slot->file, slot->interest);
    else
        io_uring_prep_poll_add(sqe, slot->file, slot->interest);
    uring_queue(uring, sqe, OP_POLL, slot);
}

static uint32_t poll_events(uint32_t interest) {
    return POLLRDHUP | ((interest & RING_READABLE) ? POLLIN : 0u) | ((interest & RING_WRITABLE) ? POLLOUT : 0u);
}

/* A plain file is always ready, so watching it means nothing: epoll refuses it, and so do we. statx(2) by name, because what
 * fstat(3) calls differs from one C library to the next, and calls are counted by name. */
static bool can_be_watched(struct ring *ring, int fd) {
    struct statx status;
    ring_count_call(ring, RING_CALL_statx);
    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &status) < 0) return false;
    return !S_ISREG(status.stx_mode) && !S_ISDIR(status.stx_mode);
}

int32_t uring_watch(struct ring *ring, int fd, uint32_t interest, bool persistent, void *user, struct ring_id *out) {
    struct uring *uring = uring_of(ring);
    if (!can_be_watched(ring, fd)) return -EPERM;
    struct slot *base = slots_take(&ring->slots, SLOT_WATCH, user);
    if (base == NULL) return -ENFILE;
    struct uring_slot *slot = uring_slot_of(base);
    slot->file = fd;
    slot->fixed = false;
    slot->in_flight = 0;
    slot->persistent = persistent;
    slot->spent = false;
    slot->interest = poll_events(interest);
    *out = id_of(uring, slot);
    arm_poll(uring, slot);
    return 0;
}

void uring_rewatch(struct ring *ring, struct slot *base, uint32_t interest) {
    struct uring_slot *slot = uring_slot_of(base);
    rm_assert(!slot->persistent);
    rm_assert(!slot->spent);
    rm_assert(slot->in_flight == 0);
    slot->interest = poll_events(interest);
    arm_poll(uring_of(ring), slot);
}

bool uring_polled(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out) {
    if (slot->base.closing || slot->spent) return false;
    int32_t ready = 0;
    if (cqe->res < 0 || (cqe->res & (POLLERR | POLLNVAL))) ready |= RING_ERROR;
    if (cqe->res > 0 && (cqe->res & POLLIN)) ready |= RING_READABLE;
    if (cqe->res > 0 && (cqe->res & POLLOUT)) ready |= RING_WRITABLE;
    if (cqe->res > 0 && (cqe->res & (POLLHUP | POLLRDHUP))) ready |= RING_HANGUP;
    slot->spent = (ready & (RING_ERROR | RING_HANGUP)) != 0;
    if (slot->persistent && !slot->spent && slot->in_flight == 0) arm_poll(uring, slot);
    ring_event_set(out, RING_READY, id_of(uring, slot), slot->base.user, ready);
    return true;
}
