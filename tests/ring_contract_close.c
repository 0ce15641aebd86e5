/* Closing: CLOSED is last, ids are never confused, nothing leaks. */
#include <errno.h>

#include "ring_contract.h"

/* The receive is armed and idle: the peer sees FIN at once, not when the slot is used again. */
static void close_with_armed_receive(struct rig *rig) {
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        struct link *client = rig_pair(rig), *server = client->peer;
        rig_turn(rig);
        uint64_t start = ring_now(rig->ring[CLIENT]);
        link_close(server);
        RIG_UNTIL(rig, client->ended);
        RIG_CHECK(rig, client->end_result == 0);
        RIG_CHECK(rig, ring_now(rig->ring[CLIENT]) - start < 500 * UINT64_C(1000000));
        RIG_UNTIL(rig, server->closed);
        link_close(client);
        RIG_UNTIL(rig, client->closed);
    }
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == 1);
}

/* The slot of a closed socket goes to the next connection; the record fails if anything of the old id still comes. */
static void close_then_reuse(struct rig *rig) {
    rig_open_listening(rig, &(struct rig_options){ .sockets_max = { 2, 0 } });
    struct ring_id old = { 0, 0 };
    for (uint32_t i = 0; i < 50; i++) {
        struct link *client = rig_pair(rig), *server = client->peer;
        RIG_CHECK(rig, !ring_id_equal(server->id, old));
        RIG_CHECK(rig, server->id.generation != 0);
        if (i > 0) RIG_CHECK(rig, server->id.slot == old.slot);
        old = server->id;
        link_send(client, 5000); /* arrives before, while and after the server closes */
        for (uint32_t turns = i % 4; turns > 0; turns--) rig_turn(rig);
        link_close(server);
        RIG_UNTIL(rig, client->ended && server->closed);
        link_close(client);
        RIG_UNTIL(rig, client->closed);
    }
}

static void close_both_at_first_event(struct rig *rig, enum side side, struct link *link,
                                      const struct ring_event *event) {
    struct link **pair = rig->user;
    if (side != SERVER || event->type != RING_RECEIVED) return;
    if (link != pair[0] && link != pair[1]) return;
    if (!pair[0]->closing) link_close(pair[0]);
    if (!pair[1]->closing) link_close(pair[1]);
}

/* Both sockets have an event in one turn; the first one's handler closes both: the record fails if the other's comes. */
static void closed_earlier_in_the_turn(struct rig *rig) {
    struct link *pair[2];
    rig_open_listening(rig, NULL);
    rig->user = pair;
    for (uint32_t i = 0; i < 50; i++) {
        rig->on_event = NULL;
        struct link *a = rig_pair(rig), *b = rig_pair(rig);
        pair[0] = a->peer;
        pair[1] = b->peer;
        rig->on_event = close_both_at_first_event;
        link_send(a, 100 + i);
        link_send(b, 200 + i);
        while (a->in_flight != 0 || b->in_flight != 0) /* the server's ring stands still meanwhile */
            rig_wait(rig, CLIENT, ring_now(rig->ring[CLIENT]) + 1000000);
        RIG_UNTIL(rig, pair[0]->closed && pair[1]->closed);
        RIG_UNTIL(rig, a->ended && b->ended);
        link_close(a);
        link_close(b);
        RIG_UNTIL(rig, a->closed && b->closed);
    }
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == 1);
}

static void close_at_accept(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)side;
    (void)rig;
    if (event->type == RING_ACCEPTED) link_close(link);
}

static void close_in_the_turn_of_accept(struct rig *rig) {
    enum { MANY = 50 };
    struct link *clients[MANY];
    rig_open_listening(rig, NULL);
    rig->on_event = close_at_accept;
    for (uint32_t i = 0; i < MANY; i++) clients[i] = link_connect(rig);
    for (uint32_t i = 0; i < MANY; i++) RIG_UNTIL(rig, clients[i]->ended);
    RIG_UNTIL(rig, ring_sockets(rig->ring[SERVER]) == 1);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->closed == MANY);
}

enum { DROPPED_BYTES = 10 * 1024 * 1024 }; /* more than the kernel takes from a sender whose peer does not read */

/* What the socket's buffer holds is sent, what is not in it is dropped, and the memory is the owner's at CLOSED. */
static void close_during_send(struct rig *rig) {
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        struct link *client = rig_pair(rig), *server = client->peer;
        link_mode(client, RING_METERED);
        link_send_segments(server, DROPPED_BYTES, 1 + i, RING_SEND_LOUD);
        for (uint32_t turns = i; turns > 0; turns--) rig_turn(rig);
        link_close(server);
        RIG_UNTIL(rig, server->closed);
        memset(server->out, 0xee, server->in_flight);
        link_mode(client, RING_FREE);
        RIG_UNTIL(rig, client->ended);
        RIG_CHECK(rig, client->received < DROPPED_BYTES);
        link_close(client);
        RIG_UNTIL(rig, client->closed);
    }
}

static void close_right_after_send(struct rig *rig) {
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        struct link *client = rig_pair(rig), *server = client->peer;
        link_send(server, 1000);
        link_close(server); /* in the turn of the send: all of it or nothing may go, but CLOSED comes */
        RIG_UNTIL(rig, server->closed && client->ended);
        link_reset(client);
        RIG_UNTIL(rig, client->closed);
    }
}

/* Unread bytes at close are an abort: the peer must not take its request for answered. */
static void close_with_unread_bytes(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(server, RING_METERED);
    rig_pump_ms(rig, 5);
    link_send(client, 50000);
    RIG_UNTIL(rig, client->sents == 1);
    rig_pump_ms(rig, 5);
    link_close(server);
    RIG_UNTIL(rig, client->ended && server->closed);
    RIG_CHECK(rig, client->end_result == -ECONNRESET);
}

static void reset_with_armed_everything(struct rig *rig) {
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        struct link *client = rig_pair(rig), *server = client->peer;
        link_mode(client, RING_METERED);
        if (i % 2 == 0) link_send(server, 4 * 1024 * 1024);
        for (uint32_t turns = i % 5; turns > 0; turns--) rig_turn(rig);
        link_reset(server);
        RIG_UNTIL(rig, server->closed);
        link_mode(client, RING_FREE);
        RIG_UNTIL(rig, client->ended);
        RIG_CHECK(rig, client->end_result == -ECONNRESET);
        link_close(client);
        RIG_UNTIL(rig, client->closed);
    }
}

static void set_user_again(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig);
    struct link *other = link_new(rig, CLIENT);
    other->id = client->id;
    other->connected = true;
    other->in_seed = client->in_seed;
    ring_set_user(rig->ring[CLIENT], client->id, other);
    link_send(client->peer, 100);
    RIG_UNTIL(rig, other->received == 100);
    RIG_CHECK(rig, client->received == 0);
    link_close(other);
    RIG_UNTIL(rig, other->closed); /* CLOSED has the last user, too */
}

/* 1,000 connections, 8 at a time, through tables that have no slot to spare. */
enum { LEAK_FLIGHT = 8, LEAK_TOTAL = 1000 };

static void leak_event(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)rig;
    if (link == NULL || link->closing) return;
    if (side == SERVER && event->type == RING_RECEIVED && event->result > 0 && link->received == 4) link_send(link, 4);
    if (side == SERVER && event->type == RING_SENT && link->id.generation % 2 == 0) link_close(link);
    if (side == SERVER && event->type == RING_RECEIVED && event->result <= 0 && !link->closing) link_close(link);
    if (side == CLIENT && event->type == RING_CONNECTED) link_send(link, 4);
    if (side == CLIENT && event->type == RING_RECEIVED && link->received == 4 && !link->closing && link->in_flight == 0)
        link_close(link);
    if (side == CLIENT && event->type == RING_SENT && link->received == 4 && !link->closing) link_close(link);
}

static void no_slot_leaks(struct rig *rig) {
    rig_open_listening(rig, &(struct rig_options){ .sockets_max = { LEAK_FLIGHT + 1, LEAK_FLIGHT } });
    rig->on_event = leak_event;
    uint32_t started = 0;
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (started < LEAK_TOTAL || ring_sockets(rig->ring[CLIENT]) > 0 || ring_sockets(rig->ring[SERVER]) > 1) {
        while (started < LEAK_TOTAL && ring_sockets(rig->ring[CLIENT]) < LEAK_FLIGHT) {
            link_connect(rig);
            started++;
        }
        rig_turn(rig);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->accepted == LEAK_TOTAL);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->closed == LEAK_TOTAL);
    RIG_CHECK(rig, ring_counters(rig->ring[CLIENT])->received_bytes == 4 * LEAK_TOTAL);
}

const struct contract_scenario contract_close[] = {
    { .name = "close_with_armed_receive", .run = close_with_armed_receive },
    { .name = "close_then_reuse", .run = close_then_reuse },
    { .name = "closed_earlier_in_the_turn", .run = closed_earlier_in_the_turn },
    { .name = "close_in_the_turn_of_accept", .run = close_in_the_turn_of_accept },
    { .name = "close_during_send", .run = close_during_send },
    { .name = "close_right_after_send", .run = close_right_after_send },
    { .name = "close_with_unread_bytes", .run = close_with_unread_bytes },
    { .name = "reset_with_armed_everything", .run = reset_with_armed_everything },
    { .name = "set_user_again", .run = set_user_again },
    { .name = "no_slot_leaks", .run = no_slot_leaks },
    { 0 },
};
