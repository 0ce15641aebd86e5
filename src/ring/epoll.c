/* The epoll backend: edge-triggered, one epoll_ctl per connection, receives packed into one buffer per turn. It is the rival
 * that the ring is compared with, so it is as good as we can make it. See epoll(7). */
#include "ring/epoll_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TURN_EVENTS_MAX = 1024 };

static const uint64_t wake_tag = UINT64_MAX;

/* -------------------------------------------------------------------------------------------------------- turn ---- */

int32_t epoll_control(struct epoll *epoll, int operation, struct epoll_slot *slot, uint32_t events) {
    struct ring_id id = epoll_id(epoll, slot);
    struct epoll_event event = { .events = events, .data.u64 = (uint64_t)id.generation << 32 | id.slot };
    ring_count_call(&epoll->base, RING_CALL_epoll_ctl);
    return epoll_ctl(epoll->epoll_fd, operation, slot->fd, &event) < 0 ? -errno : 0;
}

void epoll_ready(struct epoll *epoll, struct epoll_slot *slot) {
    if (slot->base.on_list != 0 || slot->base.closing) return;
    bool wanted = slot->mode == RING_FREE || slot->want_more;
    bool something = slot->readable || slot->peer_ended;
    if (!slot->connecting && (!wanted || !something || slot->final_told)) return;
    bool enough = slot->turn == epoll->turn && slot->turn_bytes >= EPOLL_SOCKET_BYTES_MAX;
    slot_list_append(&epoll->base.slots, enough ? &epoll->later : &epoll->ready, &slot->base,
                     enough ? LIST_LATER : LIST_READY);
}

/* What was left for later is first in line now. */
static void begin_turn(struct epoll *epoll) {
    epoll->turn++;
    epoll->turn_accepts = 0;
    epoll->received_used = 0;
    for (struct slot *slot; (slot = slot_list_pop(&epoll->base.slots, &epoll->later)) != NULL;)
        slot_list_append(&epoll->base.slots, &epoll->ready, slot, LIST_READY);
}

static int timeout_ms(const struct epoll *epoll, uint64_t deadline_ns) {
    if (epoll->accept_retry_ns != 0 && (deadline_ns == RING_NO_DEADLINE || epoll->accept_retry_ns < deadline_ns))
        deadline_ns = epoll->accept_retry_ns;
    if (deadline_ns == RING_NO_DEADLINE) return -1;
    if (deadline_ns <= epoll->base.now_ns) return 0;
    uint64_t ms = (deadline_ns - epoll->base.now_ns + 999999) / 1000000; /* never early */
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static bool anything_pending(const struct epoll *epoll) {
    if (epoll->closed.count > 0 || epoll->ready.count > 0 || epoll->sent_first != NULL) return true;
    return ring_common_pending(&epoll->base) || epoll_accept_pending(epoll);
}

/* Sends that are done, and nothing else: their turn needs no system call. */
static bool only_local(const struct epoll *epoll) {
    if (epoll->local_turn || epoll->ready.count > 0) return false;
    return epoll->sent_first != NULL || epoll->closed.count > 0;
}

static int32_t fetch(struct epoll *epoll, int timeout) {
    ring_count_call(&epoll->base, RING_CALL_epoll_wait);
    int n = epoll_wait(epoll->epoll_fd, epoll->events, EPOLL_EVENTS_MAX, timeout);
    int32_t error = n < 0 && errno != EINTR ? -errno : 0;
    epoll->event_at = 0;
    epoll->event_count = n < 0 ? 0 : (uint32_t)n;
    return error;
}

static int32_t epoll_turn(struct ring *ring, uint64_t deadline_ns) {
    struct epoll *epoll = epoll_of(ring);
    if (!epoll->local_turn) ring_count_turn(ring, epoll->turn_events);
    epoll->turn_events = 0;
    begin_turn(epoll);
    /* An edge is told once: what a full turn has left of the last call is looked at before there is another one. */
    bool left = epoll->event_at < epoll->event_count;
    bool poll = deadline_ns != RING_NO_DEADLINE && deadline_ns <= ring->now_ns; /* others may have sent something */
    epoll->local_turn = !left && !poll && only_local(epoll);
    if (epoll->local_turn) return 0;
    ring_common_pause(ring);
    int32_t error = 0;
    if (!left) error = fetch(epoll, anything_pending(epoll) ? 0 : timeout_ms(epoll, deadline_ns));
    ring_common_turn(ring);
    if (epoll->accept_retry_ns != 0 && ring->now_ns >= epoll->accept_retry_ns) epoll->accept_retry_ns = 0;
    return error;
}

/* ------------------------------------------------------------------------------------------------------ events ---- */

static void socket_polled(struct epoll *epoll, struct epoll_slot *slot, uint32_t events) {
    if (events & EPOLLIN) slot->readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) slot->peer_ended = true;
    if (slot->sending && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))) epoll_send_more(epoll, slot);
    epoll_ready(epoll, slot);
}

/* One readiness event; true when it is an event of the ring by itself. */
static bool polled(struct epoll *epoll, const struct epoll_event *event, struct ring_event *out) {
    if (event->data.u64 == wake_tag) { /* edge-triggered: it need not be read */
        ring_common_woken(&epoll->base);
        return ring_common_next(&epoll->base, out);
    }
    struct ring_id id = { (uint32_t)event->data.u64, (uint32_t)(event->data.u64 >> 32) };
    struct slot *base = slots_find(&epoll->base.slots, id);
    if (base == NULL) {
        ring_count(&epoll->base.counters.stale, 1);
        return false;
    }
    if (base->closing) return false;
    struct epoll_slot *slot = epoll_slot_of(base);
    if (base->kind == SLOT_LISTENER) {
        slot->accept_ready = true;
        return false;
    }
    if (base->kind == SLOT_WATCH) {
        if (slot->spent) return false;
        epoll_polled(epoll, slot, event->events, out);
        return true;
    }
    if (slot->connecting) {
        epoll_connected(epoll, slot, out);
        if (out->result == 0) socket_polled(epoll, slot, event->events);
        return true;
    }
    socket_polled(epoll, slot, event->events);
    return false;
}

static bool next_closed(struct epoll *epoll, struct ring_event *out) {
    struct slot *slot = slot_list_pop(&epoll->base.slots, &epoll->closed);
    if (slot == NULL) return false;
    ring_event_set(out, RING_CLOSED, slots_id(&epoll->base.slots, slot), slot->user, 0);
    slots_give(&epoll->base.slots, slot);
    ring_count(&epoll->base.counters.closed, 1);
    return true;
}

static bool next_sent(struct epoll *epoll, struct ring_event *out) {
    while (epoll->sent_first != NULL) {
        struct epoll_slot *slot = epoll->sent_first;
        epoll->sent_first = slot->sent_next;
        slot->sent_due = false;
        if (slot->base.closing) { /* closed before it was told: RING_CLOSED waited for this */
            slot_list_append(&epoll->base.slots, &epoll->closed, &slot->base, LIST_CLOSED);
            continue;
        }
        ring_event_set(out, RING_SENT, epoll_id(epoll, slot), slot->base.user, slot->result);
        return true;
    }
    return false;
}

static bool next_polled(struct epoll *epoll, struct ring_event *out) {
    while (epoll->event_at < epoll->event_count)
        if (polled(epoll, &epoll->events[epoll->event_at++], out)) return true;
    return false;
}

static bool next_ready(struct epoll *epoll, struct ring_event *out) {
    while (epoll->received_used + RING_RECEIVE_BYTES_MAX <= EPOLL_RECEIVE_BYTES) {
        struct slot *base = slot_list_pop(&epoll->base.slots, &epoll->ready);
        if (base == NULL) return false;
        struct epoll_slot *slot = epoll_slot_of(base);
        if (slot->connecting) {
            epoll_connected(epoll, slot, out);
            return true;
        }
        if (epoll_receive(epoll, slot, out)) return true;
    }
    return false;
}

static bool epoll_next(struct ring *ring, struct ring_event *out) {
    struct epoll *epoll = epoll_of(ring);
    if (epoll->turn_events >= TURN_EVENTS_MAX) return false;
    bool some = next_sent(epoll, out) || next_closed(epoll, out) || ring_common_next(ring, out) ||
                next_polled(epoll, out) || epoll_accept_next(epoll, out) || next_ready(epoll, out) ||
                next_closed(epoll, out);
    if (some) epoll->turn_events++;
    return some;
}

/* --------------------------------------------------------------------------------------------- open and release ---- */

static size_t plan(const struct ring_config *config) {
    size_t bytes = slab_round(sizeof(struct epoll));
    bytes += slab_round(config->sockets_max * sizeof(struct epoll_slot));
    bytes += slab_round(EPOLL_EVENTS_MAX * sizeof(struct epoll_event));
    bytes += ring_peers_bytes(config);
    return bytes + slab_round(EPOLL_RECEIVE_BYTES);
}

static size_t epoll_memory_bytes(const struct ring_config *config) {
    return plan(config);
}

static struct epoll *carve(const struct ring_config *config, void **slots) {
    struct slab slab;
    if (!slab_map(&slab, plan(config))) return NULL;
    struct epoll *epoll = slab_take(&slab, sizeof *epoll);
    *slots = slab_take(&slab, config->sockets_max * sizeof(struct epoll_slot));
    epoll->events = slab_take(&slab, EPOLL_EVENTS_MAX * sizeof(struct epoll_event));
    epoll->received = slab_take(&slab, EPOLL_RECEIVE_BYTES);
    if (config->peers) epoll->base.peers = slab_take(&slab, ring_peers_bytes(config));
    slab_seal(&slab);
    epoll->slab = slab;
    epoll->epoll_fd = -1;
    slot_list_init(&epoll->closed);
    slot_list_init(&epoll->ready);
    slot_list_init(&epoll->later);
    return epoll;
}

static void epoll_release(struct ring *ring) {
    struct epoll *epoll = epoll_of(ring);
    for (uint32_t i = 0; i < ring->slots.fresh; i++) {
        struct epoll_slot *slot = epoll_slot_of(slots_at(&ring->slots, i));
        bool ours = slot->base.kind == SLOT_LISTENER || slot->base.kind == SLOT_SOCKET;
        if (ours && !slot->base.closing) close(slot->fd);
    }
    if (epoll->epoll_fd >= 0) close(epoll->epoll_fd);
    ring_common_release(ring);
    struct slab slab = epoll->slab;
    slab_release(&slab);
}

static int32_t build(struct epoll *epoll) {
    epoll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll->epoll_fd < 0) return -errno;
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = wake_tag };
    ring_count_call(&epoll->base, RING_CALL_epoll_ctl);
    return epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, epoll->base.wake_fd, &event) < 0 ? -errno : 0;
}

static int32_t epoll_open(const struct ring_config *config, struct ring **out, struct ring_report *report) {
    void *slots;
    struct epoll *epoll = carve(config, &slots);
    if (epoll == NULL) {
        snprintf(report->why, sizeof report->why, "cannot map %zu bytes for the ring", plan(config));
        return -ENOMEM;
    }
    int32_t error = ring_common_open(&epoll->base, &ring_epoll_backend, config, slots, sizeof(struct epoll_slot));
    if (error == 0) error = build(epoll);
    if (error != 0) {
        snprintf(report->why, sizeof report->why, "epoll: %s", strerror(-error));
        epoll_release(&epoll->base);
        return error;
    }
    snprintf(report->features, sizeof report->features, "edge-triggered events=%d receive=%dK", EPOLL_EVENTS_MAX,
             EPOLL_RECEIVE_BYTES / 1024);
    *out = &epoll->base;
    return 0;
}

static void epoll_offload(struct ring *ring, struct ring_job *job) {
    ring_helpers_submit(ring->helpers, job);
}

const struct ring_backend ring_epoll_backend = {
    .name = "epoll",
    .open = epoll_open,
    .release = epoll_release,
    .memory_bytes = epoll_memory_bytes,
    .wait = epoll_turn,
    .next = epoll_next,
    .listen = epoll_listen,
    .accept = epoll_accept,
    .connect = epoll_connect,
    .receive_mode = epoll_receive_mode,
    .receive_more = epoll_receive_more,
    .send = epoll_send,
    .shutdown_write = epoll_shutdown_write,
    .close = epoll_close,
    .peer = epoll_peer,
    .local = epoll_local,
    .taken = epoll_taken,
    .watch = epoll_watch,
    .rewatch = epoll_rewatch,
    .offload = epoll_offload,
    .read = ring_read_help,
    .wake = ring_common_wake,
};
