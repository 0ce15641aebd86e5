/* The simulator's network: pairs of ends, what travels between them, listeners and their backlogs. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "ring/sim_priv.h"

#define BACKLOG_RETRY_NS UINT64_C(1000000000) /* a SYN that found the backlog full is sent again after a second */

struct sim_end *sim_end_peer(struct sim_world *world, struct sim_end *end) {
    size_t index = (size_t)(end - world->ends);
    return &world->ends[index ^ 1];
}

/* ---------------------------------------------------------------------------------------------------- addresses ---- */

static uint16_t *port_of(struct ring_address *address) {
    switch (address->storage.ss_family) {
    case AF_INET: return &((struct sockaddr_in *)(void *)&address->storage)->sin_port;
    case AF_INET6: return &((struct sockaddr_in6 *)(void *)&address->storage)->sin6_port;
    default: return NULL;
    }
}

void sim_net_bind_free_port(struct sim_world *world, struct ring_address *address) {
    uint16_t *port = port_of(address);
    if (port == NULL || *port != 0) return;
    world->port = world->port == UINT16_MAX ? 1024 : (uint16_t)(world->port + 1);
    *port = htons(world->port);
}

static bool is_any(const struct ring_address *address) {
    static const struct in6_addr any6 = IN6ADDR_ANY_INIT;
    if (address->storage.ss_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)&address->storage)->sin_addr.s_addr == INADDR_ANY;
    if (address->storage.ss_family != AF_INET6) return false;
    return memcmp(&((const struct sockaddr_in6 *)(const void *)&address->storage)->sin6_addr, &any6, sizeof any6) == 0;
}

/* Who connects to `target` reaches who listens at `listener`. */
static bool reaches(const struct ring_address *listener, const struct ring_address *target) {
    struct ring_address a = *listener, b = *target;
    if (a.storage.ss_family != b.storage.ss_family) return false;
    const uint16_t *port_a = port_of(&a), *port_b = port_of(&b);
    if (port_a != NULL && is_any(&a)) return *port_a == *port_b;
    return a.len == b.len && memcmp(&a.storage, &b.storage, a.len) == 0;
}

bool sim_net_address_in_use(const struct sim_world *world, const struct ring_address *address, bool reuse_port) {
    for (const struct sim_slot *l = world->listeners; l != NULL; l = l->next_listener) {
        if (l->reuse_port && reuse_port) continue;
        if (reaches(&l->address, address) || reaches(address, &l->address)) return true;
    }
    return false;
}

/* A client's own address: a free port of its target's family, or unnamed. */
static void name_client(struct sim_world *world, struct sim_end *end) {
    end->local = (struct ring_address){ 0 };
    if (port_of(&end->remote) == NULL) return;
    end->local = end->remote;
    *port_of(&end->local) = 0;
    sim_net_bind_free_port(world, &end->local);
}

/* -------------------------------------------------------------------------------------------------------- pairs ---- */

static void init_end(struct sim_end *end, enum sim_end_state state, struct sim_slot *slot) {
    rm_assert(end->state == SIM_END_FREE);
    end->state = state;
    end->slot = slot;
    end->fin_sent = false;
    end->next = NULL;
    end->in = (struct sim_inbox){ .bytes = end->in.bytes };
}

static void free_pair(struct sim_world *world, struct sim_end *end) {
    struct sim_end *peer = sim_end_peer(world, end);
    end->state = SIM_END_FREE;
    peer->state = SIM_END_FREE;
    struct sim_end *client = end < peer ? end : peer;
    client->next = world->free_pairs;
    world->free_pairs = client;
}

static void disarm_end(struct sim_world *world, struct sim_end *end) {
    sim_timer_disarm(world, &end->arrive);
    sim_timer_disarm(world, &end->send);
    sim_timer_disarm(world, &end->answer);
}

/* ------------------------------------------------------------------------------------------------------- travel ---- */

static bool something_travels(const struct sim_inbox *in) {
    if (in->len > in->arrived) return true;
    if (in->fin_travels && !in->fin) return true;
    return in->reset_travels && !in->reset;
}

static void travel(struct sim_world *world, struct sim_end *end) {
    const struct sim_options *options = &world->options;
    if (end->arrive.position != 0) return;
    if (options->latency_ns_max == 0 && options->split_ppm == 0) {
        while (something_travels(&end->in)) sim_net_arrived(world, end);
        return;
    }
    if (!something_travels(&end->in)) return;
    uint64_t delay = sim_delay(world, options->latency_ns_max);
    if (delay > 0) world->faults.delays++;
    sim_timer_arm(world, &end->arrive, world->now_ns + delay);
}

/* The connection is dead for this end: what has not arrived never will. */
static void break_end(struct sim_world *world, struct sim_end *end) {
    end->in.reset_travels = true;
    end->in.reset = true;
    end->in.len = end->in.arrived;
    sim_timer_disarm(world, &end->arrive);
    if (end->slot == NULL) return;
    sim_slot_send_failed(end->slot, -ECONNRESET);
    sim_slot_refresh(end->slot);
}

static void break_both(struct sim_world *world, struct sim_end *end) {
    struct sim_end *peer = sim_end_peer(world, end);
    world->faults.resets++;
    break_end(world, end);
    if (peer->state == SIM_END_OPEN) break_end(world, peer);
}

static void bytes_arrive(struct sim_world *world, struct sim_inbox *in) {
    uint32_t transit = in->len - in->arrived;
    if (transit > 1 && sim_chance(world, world->options.split_ppm)) {
        transit = 1 + (uint32_t)sim_below(world, transit - 1);
        world->faults.splits++;
    }
    in->arrived += transit;
}

/* One thing at a time, in order: bytes, FIN, RST. */
void sim_net_arrived(struct sim_world *world, struct sim_end *end) {
    struct sim_inbox *in = &end->in;
    if (end->state == SIM_END_OPEN && sim_chance(world, world->options.reset_ppm)) {
        break_both(world, end);
        return;
    }
    if (in->len > in->arrived)
        bytes_arrive(world, in);
    else if (in->fin_travels && !in->fin)
        in->fin = true;
    else if (in->reset_travels)
        break_end(world, end);
    if (end->slot != NULL) sim_slot_refresh(end->slot);
    if (something_travels(in)) travel(world, end);
}

/* -------------------------------------------------------------------------------------------------------- bytes ---- */

static void copy_in(const struct sim_world *world, struct sim_inbox *in, const char *bytes, uint32_t n) {
    uint32_t tail = (uint32_t)(((uint64_t)in->head + in->len) % world->inbox_bytes);
    uint32_t first = world->inbox_bytes - tail < n ? world->inbox_bytes - tail : n;
    memcpy(in->bytes + tail, bytes, first);
    memcpy(in->bytes, bytes + first, n - first);
    in->len += n;
    rm_assert(in->len <= world->inbox_bytes);
}

/* The peer is gone: what fits into the sender's own buffer vanishes, and the peer's RST is the answer. */
static uint32_t swallow(struct sim_world *world, struct sim_end *end, size_t n) {
    end->in.reset_travels = true;
    if (end->arrive.position == 0)
        sim_timer_arm(world, &end->arrive, world->now_ns + sim_delay(world, world->options.latency_ns_max));
    return n > world->options.sndbuf_bytes ? world->options.sndbuf_bytes : (uint32_t)n;
}

uint32_t sim_net_write(struct sim_world *world, struct sim_end *end, const char *bytes, size_t n, int32_t *broken) {
    struct sim_end *peer = sim_end_peer(world, end);
    *broken = end->in.reset || end->fin_sent ? -EPIPE : 0;
    if (*broken != 0) return 0;
    if (peer->state == SIM_END_GONE) return swallow(world, end, n);
    struct sim_inbox *in = &peer->in;
    uint32_t used = in->len - in->kept;
    uint32_t room = used < world->options.sndbuf_bytes ? world->options.sndbuf_bytes - used : 0;
    uint32_t moved = n < room ? (uint32_t)n : room;
    if (moved == 0) return 0;
    copy_in(world, in, bytes, moved);
    travel(world, peer);
    return moved;
}

uint32_t sim_net_read(struct sim_world *world, struct sim_end *end, char *out, uint32_t max) {
    struct sim_inbox *in = &end->in;
    uint32_t n = in->arrived < max ? in->arrived : max;
    uint32_t first = world->inbox_bytes - in->head < n ? world->inbox_bytes - in->head : n;
    memcpy(out, in->bytes + in->head, first);
    memcpy(out + first, in->bytes, n - first);
    in->head = (uint32_t)(((uint64_t)in->head + n) % world->inbox_bytes);
    in->len -= n;
    in->arrived -= n;
    in->kept -= in->kept < n ? in->kept : n;
    in->read += n;
    return n;
}

void sim_net_room(struct sim_world *world, struct sim_end *end) {
    struct sim_end *peer = sim_end_peer(world, end);
    if (peer->slot == NULL || !peer->slot->send_blocked) return;
    peer->slot->send_blocked = false;
    sim_slot_send_step(peer->slot);
}

void sim_net_finish(struct sim_world *world, struct sim_end *end) {
    struct sim_end *peer = sim_end_peer(world, end);
    if (end->fin_sent) return;
    end->fin_sent = true;
    if (end->in.reset || peer->state == SIM_END_GONE) return;
    peer->in.fin_travels = true;
    travel(world, peer);
}

/* An abort drops what the sender's side still held: any part of what has not arrived yet. */
static void abort_peer(struct sim_world *world, struct sim_end *peer) {
    struct sim_inbox *in = &peer->in;
    if (in->reset) return;
    if (in->len > in->arrived) in->len = in->arrived + (uint32_t)sim_below(world, in->len - in->arrived + 1);
    in->fin_travels = in->fin; /* one that has not arrived is dropped, too: it would say that all bytes came */
    in->reset_travels = true;
    travel(world, peer);
}

static bool lives(const struct sim_end *end) {
    return end->state == SIM_END_OPEN || end->state == SIM_END_BACKLOG;
}

void sim_net_close(struct sim_world *world, struct sim_end *end, bool reset) {
    struct sim_end *peer = sim_end_peer(world, end);
    bool unread = end->in.len > end->in.kept;
    disarm_end(world, end);
    end->slot = NULL;
    if (lives(peer) && (reset || unread))
        abort_peer(world, peer);
    else if (lives(peer))
        sim_net_finish(world, end);
    end->state = SIM_END_GONE;
    end->in.len = end->in.arrived = end->in.kept = 0;
    if (!lives(peer)) free_pair(world, end); /* a send that waits for room ends when the RST arrives */
}

/* ---------------------------------------------------------------------------------------- connects and backlogs ---- */

struct sim_end *sim_net_connect(struct sim_world *world, struct sim_slot *slot, const struct ring_address *address) {
    struct sim_end *end = world->free_pairs;
    if (end == NULL) return NULL;
    world->free_pairs = end->next;
    init_end(end, SIM_END_CONNECTING, slot);
    end->remote = *address;
    name_client(world, end);
    uint64_t delay = sim_delay(world, world->options.latency_ns_max);
    if (delay > 0) world->faults.delays++;
    sim_timer_arm(world, &end->answer, world->now_ns + delay);
    return end;
}

/* One of those that listen there: any, as SO_REUSEPORT has it. */
static struct sim_slot *find_listener(struct sim_world *world, const struct ring_address *target) {
    uint32_t count = 0;
    for (struct sim_slot *l = world->listeners; l != NULL; l = l->next_listener)
        if (reaches(&l->address, target)) count++;
    if (count == 0) return NULL;
    uint64_t chosen = count == 1 ? 0 : sim_below(world, count);
    struct sim_slot *listener = world->listeners;
    for (;; listener = listener->next_listener)
        if (reaches(&listener->address, target) && chosen-- == 0) return listener;
}

static void refuse(struct sim_world *world, struct sim_end *end) {
    struct sim_slot *slot = end->slot;
    slot->end = NULL;
    free_pair(world, end);
    sim_slot_connected(slot, -ECONNREFUSED);
}

static void enqueue(struct sim_slot *listener, struct sim_end *end) {
    if (listener->backlog_tail == NULL)
        listener->backlog_head = end;
    else
        listener->backlog_tail->next = end;
    listener->backlog_tail = end;
    listener->backlog++;
    sim_slot_refresh(listener);
}

void sim_net_answer(struct sim_world *world, struct sim_end *end) {
    struct sim_slot *listener = find_listener(world, &end->remote);
    bool refused_by_chance = listener != NULL && sim_chance(world, world->options.refuse_ppm);
    if (refused_by_chance) world->faults.refusals++;
    if (listener == NULL || refused_by_chance) {
        refuse(world, end);
        return;
    }
    if (listener->backlog >= listener->backlog_max) {
        sim_timer_arm(world, &end->answer, world->now_ns + BACKLOG_RETRY_NS);
        return;
    }
    struct sim_end *server = sim_end_peer(world, end);
    init_end(server, SIM_END_BACKLOG, NULL);
    server->local = end->remote;
    server->remote = end->local;
    end->state = SIM_END_OPEN;
    enqueue(listener, server);
    sim_slot_connected(end->slot, 0);
}

struct sim_end *sim_net_accept(struct sim_slot *listener) {
    struct sim_end *end = listener->backlog_head;
    rm_assert(end != NULL);
    rm_assert(end->state == SIM_END_BACKLOG);
    listener->backlog_head = end->next;
    if (end->next == NULL) listener->backlog_tail = NULL;
    listener->backlog--;
    end->next = NULL;
    end->state = SIM_END_OPEN;
    return end;
}

void sim_net_unlisten(struct sim_world *world, struct sim_slot *listener) {
    struct sim_slot **link = &world->listeners;
    while (*link != listener) link = &(*link)->next_listener;
    *link = listener->next_listener;
    while (listener->backlog > 0) sim_net_close(world, sim_net_accept(listener), true);
}
