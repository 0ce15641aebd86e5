/* The simulator's sockets as a ring has them: listeners, connects, receiving, sending. */
#include <errno.h>

#include "mem/poison.h"
#include "ring/sim_priv.h"

enum { DEAD_BYTE = 0xdd }; /* what a span of an earlier turn reads, at best */

#define QUIET_NS_MAX UINT64_C(1000000)

/* ---------------------------------------------------------------------------------------- listeners and connects ---- */

int32_t sim_listen(struct ring *common, const struct ring_listen *listen, struct ring_id *out) {
    struct sim_ring *ring = sim_of(common);
    struct ring_address address = listen->address;
    if (listen->fd >= 0) return -EOPNOTSUPP;
    sim_net_bind_free_port(ring->world, &address);
    if (sim_net_address_in_use(ring->world, &address, listen->reuse_port)) return -EADDRINUSE;
    struct sim_slot *slot = sim_take_slot(ring, SLOT_LISTENER, listen->user);
    if (slot == NULL) return -ENFILE;
    slot->address = address;
    slot->reuse_port = listen->reuse_port;
    slot->backlog_max = listen->backlog + 1; /* as Linux counts */
    slot->accept_on = true;
    slot->next_listener = ring->world->listeners;
    ring->world->listeners = slot;
    *out = sim_id_of(slot);
    return 0;
}

void sim_accept(struct ring *ring, struct slot *head, bool on) {
    (void)ring;
    struct sim_slot *listener = sim_slot_of(head);
    listener->accept_on = on;
    sim_slot_refresh(listener);
}

static bool accept_fails(struct sim_ring *ring, struct sim_slot *listener) {
    struct sim_world *world = ring->world;
    if (!sim_chance(world, world->options.emfile_ppm)) return false;
    world->faults.emfiles++;
    ring_count(&ring->common.counters.accept_errors, 1);
    ring_count(&ring->common.counters.accept_pauses, 1);
    listener->accept_failing = true;
    sim_timer_arm(world, &listener->timer, world->now_ns + world->options.emfile_ns);
    return true;
}

bool sim_accept_event(struct sim_ring *ring, struct sim_slot *listener, struct ring_event *out) {
    if (accept_fails(ring, listener)) return false;
    struct sim_slot *slot = sim_take_slot(ring, SLOT_SOCKET, NULL);
    if (slot == NULL) {
        listener->accept_starved = true;
        ring_count(&ring->common.counters.accept_pauses, 1);
        return false;
    }
    slot->end = sim_net_accept(listener);
    slot->end->slot = slot;
    slot->connected = true;
    ring_event_set(out, RING_ACCEPTED, sim_id_of(slot), listener->head.user, 0);
    out->listener = sim_id_of(listener);
    ring_count(&ring->common.counters.accepted, 1);
    sim_slot_refresh(slot);
    return true;
}

int32_t sim_connect(struct ring *common, const struct ring_address *address, void *user, struct ring_id *out) {
    struct sim_ring *ring = sim_of(common);
    struct sim_slot *slot = sim_take_slot(ring, SLOT_SOCKET, user);
    if (slot == NULL) return -ENFILE;
    slot->end = sim_net_connect(ring->world, slot, address);
    if (slot->end == NULL) {
        slots_give(&common->slots, &slot->head);
        return -ENOBUFS;
    }
    *out = sim_id_of(slot);
    return 0;
}

void sim_slot_connected(struct sim_slot *slot, int32_t result) {
    slot->connected = result == 0;
    slot->connect_result = result;
    slot->connect_due = true;
    sim_slot_refresh(slot);
}

bool sim_connected_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out) {
    slot->connect_due = false;
    if (slot->connected) ring_count(&ring->common.counters.connected, 1);
    ring_event_set(out, RING_CONNECTED, sim_id_of(slot), slot->head.user, slot->connect_result);
    return true;
}

/* ----------------------------------------------------------------------------------------------------- receiving ---- */

void sim_receive_mode(struct ring *common, struct slot *head, enum ring_receive mode) {
    struct sim_ring *ring = sim_of(common);
    struct sim_slot *slot = sim_slot_of(head);
    if (slot->mode == mode) return;
    slot->mode = mode;
    slot->asked = false;
    sim_slot_refresh(slot);
    if (mode == RING_FREE || slot->end == NULL || ring->world->options.split_ppm == 0) return;
    /* Some bytes had left the socket when the change took effect. */
    struct sim_inbox *in = &slot->end->in;
    uint32_t most = in->arrived < RING_RECEIVE_BYTES_MAX ? in->arrived : RING_RECEIVE_BYTES_MAX;
    uint32_t keep = (uint32_t)sim_delay(ring->world, most);
    if (keep <= in->kept) return;
    ring->world->faults.kept++;
    ring_count(&common->counters.kept_bytes, keep - in->kept);
    in->kept = keep;
    sim_net_room(ring->world, slot->end);
}

void sim_receive_more(struct ring *ring, struct slot *head) {
    (void)ring;
    struct sim_slot *slot = sim_slot_of(head);
    rm_assert(slot->mode == RING_METERED);
    slot->asked = true;
    sim_slot_refresh(slot);
}

static bool no_buffer(struct sim_ring *ring) {
    bool by_chance = sim_chance(ring->world, ring->world->options.no_buffer_ppm);
    if (by_chance) ring->world->faults.no_buffers++;
    if (!by_chance && ring->buffers_used < ring->buffers_count) return false;
    ring_count(&ring->common.counters.no_buffers, 1);
    ring_count(&ring->common.counters.rearms_no_buffers, 1);
    return true;
}

static uint32_t receive_size(struct sim_ring *ring, const struct sim_inbox *in) {
    uint32_t n = in->arrived < ring->buffer_bytes ? in->arrived : ring->buffer_bytes;
    if (n == 1 || !sim_chance(ring->world, ring->world->options.split_ppm)) return n;
    ring->world->faults.splits++;
    return 1 + (uint32_t)sim_below(ring->world, n - 1);
}

static bool bytes_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out) {
    if (no_buffer(ring)) return false;
    char *buffer = ring->buffers + (size_t)ring->buffers_used++ * ring->buffer_bytes;
    poison_clear(buffer, ring->buffer_bytes);
    uint32_t n = sim_net_read(ring->world, slot->end, buffer, receive_size(ring, &slot->end->in));
    ring_event_set(out, RING_RECEIVED, sim_id_of(slot), slot->head.user, (int32_t)n);
    out->bytes = span_of(buffer, n);
    ring_count(&ring->common.counters.receives, 1);
    ring_count(&ring->common.counters.received_bytes, n);
    slot->asked = false;
    sim_net_room(ring->world, slot->end);
    return true;
}

bool sim_received_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out) {
    const struct sim_inbox *in = &slot->end->in;
    if (in->arrived > 0) return bytes_event(ring, slot, out);
    slot->ended = true;
    slot->asked = false;
    bool told = slot->send_broke && ring->world->options.split_ppm > 0 && sim_below(ring->world, 2) == 0;
    ring_event_set(out, RING_RECEIVED, sim_id_of(slot), slot->head.user, in->fin || told ? 0 : -ECONNRESET);
    return true;
}

void sim_reclaim_buffers(struct sim_ring *ring) {
    size_t bytes = (size_t)ring->buffers_used * ring->buffer_bytes;
    if (bytes == 0) return;
    memset(ring->buffers, DEAD_BYTE, bytes);
    poison_mark(ring->buffers, bytes);
    ring->buffers_used = 0;
}

/* ------------------------------------------------------------------------------------------------------- sending ---- */

static const void *region_of(const struct sim_ring *ring, const struct iovec *segment) {
    for (uint32_t i = 0; i < ring->region_count; i++) {
        size_t offset = (size_t)((uintptr_t)segment->iov_base - (uintptr_t)ring->regions[i].base);
        size_t bytes = ring->regions[i].bytes;
        if (offset < bytes && segment->iov_len <= bytes - offset) return ring->regions[i].base;
    }
    return NULL;
}

/* Some neighbours that lie in one region have send_zc bytes together. */
static bool goes_without_copy(const struct sim_ring *ring, const struct iovec *segments, uint32_t n) {
    if (ring->tuning.send_zc == 0) return false;
    const void *last = NULL;
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        const void *region = region_of(ring, &segments[i]);
        bytes = (region == last ? bytes : 0) + segments[i].iov_len;
        if (region != NULL && bytes >= ring->tuning.send_zc) return true;
        last = region;
    }
    return false;
}

/* FNV-1a, eight bytes at a time. */
static uint64_t hash_of(const struct iovec *segments, uint32_t n) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < n; i++) {
        const char *bytes = segments[i].iov_base;
        for (size_t at = 0; at < segments[i].iov_len; at += sizeof(uint64_t)) {
            uint64_t word = 0;
            size_t left = segments[i].iov_len - at;
            memcpy(&word, bytes + at, left < sizeof word ? left : sizeof word);
            hash = (hash ^ word) * 0x100000001b3u;
        }
    }
    return hash;
}

void sim_send_release(struct sim_slot *slot) {
    if (slot->head.kind != SLOT_SOCKET || !slot->send_zc) return;
    rm_assert(hash_of(slot->zc_segments, slot->zc_count) == slot->send_hash);
    slot->send_zc = false;
}

void sim_send(struct ring *common, struct slot *head, const struct iovec *segments, uint32_t n, enum ring_send how) {
    struct sim_slot *slot = sim_slot_of(head);
    rm_assert(slot->send_state == SIM_IDLE);
    slot->segments = segments;
    slot->segments_left = n;
    slot->segment_offset = 0;
    slot->send_total = 0;
    slot->send_again = false;
    slot->send_quiet = how == RING_SEND_QUIET;
    slot->send_state = SIM_MOVING;
    for (uint32_t i = 0; i < n; i++) {
        rm_assert(segments[i].iov_len > 0);
        slot->send_total += segments[i].iov_len;
    }
    rm_assert(slot->send_total <= INT32_MAX);
    ring_count(&common->counters.sends, 1);
    slot->send_zc = goes_without_copy(sim_of(common), segments, n);
    slot->zc_segments = segments;
    slot->zc_count = n;
    if (slot->send_zc) slot->send_hash = hash_of(segments, n);
    if (slot->end == NULL) { /* its connect failed */
        sim_slot_send_failed(slot, -EPIPE);
        return;
    }
    struct sim_world *world = slot->ring->world;
    uint64_t delay = sim_delay(world, world->options.sent_delay_ns_max);
    if (delay == 0)
        sim_slot_send_step(slot);
    else
        sim_timer_arm(world, &slot->end->send, world->now_ns + delay);
}

void sim_slot_send_failed(struct sim_slot *slot, int32_t result) {
    if (slot->send_state != SIM_MOVING) return;
    slot->send_state = SIM_DUE;
    slot->send_result = result;
    slot->send_broke = true;
    slot->send_blocked = false;
    if (slot->end != NULL) sim_timer_disarm(slot->ring->world, &slot->end->send);
    sim_slot_refresh(slot);
}

static void send_moved(struct sim_slot *slot) {
    struct sim_world *world = slot->ring->world;
    slot->send_state = SIM_MOVED;
    if (slot->send_again) ring_count(&slot->ring->common.counters.short_sends, 1);
    uint64_t max = world->options.sent_delay_ns_max;
    if (slot->send_quiet && max > 0) max = QUIET_NS_MAX;
    if (slot->send_zc) max = world->options.notice_delay_ns_max;
    uint64_t delay = sim_delay(world, max);
    if (delay == 0) {
        sim_slot_send_step(slot);
        return;
    }
    world->faults.late_sents++;
    sim_timer_arm(world, &slot->end->send, world->now_ns + delay);
}

/* Writes what is left of the first segment, or some of it. False: the send has to wait, or is over. */
static bool send_piece(struct sim_slot *slot) {
    struct sim_world *world = slot->ring->world;
    size_t left = slot->segments->iov_len - slot->segment_offset;
    bool cut = left > 1 && sim_chance(world, world->options.short_ppm);
    size_t wanted = cut ? 1 + sim_below(world, left - 1) : left;
    int32_t broken;
    const char *from = (const char *)slot->segments->iov_base + slot->segment_offset;
    size_t moved = sim_net_write(world, slot->end, from, wanted, &broken);
    if (broken != 0) sim_slot_send_failed(slot, broken);
    if (slot->send_state != SIM_MOVING) return false; /* also when the connection broke on the way */
    slot->segment_offset += moved;
    if (moved == left) {
        slot->segments++;
        slot->segments_left--;
        slot->segment_offset = 0;
        return true;
    }
    slot->send_again = true;
    if (moved < wanted) {
        slot->send_blocked = true;
        world->faults.full++;
        return false;
    }
    world->faults.short_sends++;
    sim_timer_arm(world, &slot->end->send, world->now_ns + sim_delay(world, world->options.sent_delay_ns_max));
    return false;
}

void sim_slot_send_step(struct sim_slot *slot) {
    if (slot->send_state == SIM_MOVED) {
        slot->send_state = SIM_DUE;
        slot->send_result = (int32_t)slot->send_total;
        sim_slot_refresh(slot);
        return;
    }
    rm_assert(slot->send_state == SIM_MOVING);
    while (slot->segments_left > 0)
        if (!send_piece(slot)) return;
    send_moved(slot);
}

bool sim_sent_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out) {
    slot->send_state = SIM_IDLE;
    slot->segments = NULL;
    if (slot->send_zc && slot->send_result > 0) ring_count(&ring->common.counters.sends_zc, 1);
    sim_send_release(slot);
    ring_event_set(out, RING_SENT, sim_id_of(slot), slot->head.user, slot->send_result);
    if (slot->send_result > 0) ring_count(&ring->common.counters.sent_bytes, (uint64_t)slot->send_result);
    return true;
}

void sim_shutdown_write(struct ring *ring, struct slot *head) {
    struct sim_slot *slot = sim_slot_of(head);
    rm_assert(slot->send_state == SIM_IDLE);
    if (slot->end != NULL) sim_net_finish(sim_of(ring)->world, slot->end);
}

int32_t sim_peer(struct ring *ring, struct slot *head, struct ring_address *out) {
    (void)ring;
    const struct sim_slot *slot = sim_slot_of(head);
    if (slot->end == NULL || !slot->connected || slot->end->in.reset) return -ENOTCONN;
    *out = slot->end->remote;
    return 0;
}

int32_t sim_local(struct ring *ring, struct slot *head, struct ring_address *out) {
    (void)ring;
    const struct sim_slot *slot = sim_slot_of(head);
    if (head->kind == SLOT_WATCH) return -ENOTSOCK;
    if (head->kind == SLOT_LISTENER)
        *out = slot->address;
    else if (slot->end != NULL)
        *out = slot->end->local;
    return 0;
}

/* The other end's kernel has no buffer here but what its owner has not received yet. */
uint64_t sim_taken(struct ring *ring, struct slot *head) {
    const struct sim_slot *slot = sim_slot_of(head);
    return slot->end == NULL ? 0 : sim_end_peer(sim_of(ring)->world, slot->end)->in.read;
}
