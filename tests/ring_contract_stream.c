/* Bytes on a connection: receiving in both modes, sending, half-closes, resets. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring_contract.h"

enum { MIB = 1024 * 1024 };

/* Every cut of a small message: what is there is delivered, in order, and nothing waits for the rest. */
static void split_receives(struct rig *rig) {
    enum { MESSAGE = 24 };
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig);
    uint64_t total = 0;
    for (uint32_t cut = 1; cut < MESSAGE; cut++) {
        link_send(client, cut);
        total += cut;
        RIG_UNTIL(rig, client->peer->received == total && client->in_flight == 0);
        link_send(client, MESSAGE - cut);
        total += MESSAGE - cut;
        RIG_UNTIL(rig, client->peer->received == total && client->in_flight == 0);
    }
}

static void both_ways_at_once(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    for (uint32_t i = 1; i <= 100; i++) {
        link_send(client, 1000 + i);
        link_send(server, 2000 - i);
        RIG_UNTIL(rig, client->in_flight == 0 && server->in_flight == 0);
    }
    RIG_UNTIL(rig, client->received == server->sent && server->received == client->sent);
}

static void metered_asks_for_each(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(server, RING_METERED);
    rig_pump_ms(rig, 5);
    link_send(client, 50000);
    rig_pump_ms(rig, 10);
    RIG_CHECK(rig, server->receives == 0);
    for (uint32_t i = 1; server->received < 50000; i++) {
        link_more(server);
        link_more(server); /* asking twice is asking once */
        server->asked = true;
        RIG_UNTIL(rig, server->receives == i);
        for (uint32_t turn = 0; turn < 3; turn++) rig_turn(rig);
        RIG_CHECK(rig, server->receives == i);
    }
    RIG_CHECK(rig, client->sents == 1);
}

static void metered_waits_for_bytes(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(server, RING_METERED);
    link_more(server); /* before there is anything */
    rig_pump_ms(rig, 5);
    RIG_CHECK(rig, server->receives == 0);
    link_send(client, 7);
    RIG_UNTIL(rig, server->received > 0);
    if (server->received < 7) link_mode(server, RING_FREE); /* split on the way */
    RIG_UNTIL(rig, server->received == 7);
}

static void metered_sees_the_end(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(server, RING_METERED);
    link_send(client, 1000);
    RIG_UNTIL(rig, client->sents == 1);
    link_shutdown(client);
    while (!server->ended) {
        if (!server->asked) link_more(server);
        uint32_t receives = server->receives;
        RIG_UNTIL(rig, server->receives > receives || server->ended);
    }
    RIG_CHECK(rig, server->received == 1000);
    RIG_CHECK(rig, server->end_result == 0);
}

static void pause_at_first_bytes(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)rig;
    if (side != SERVER || event->type != RING_RECEIVED || event->result <= 0 || link->tag != 0) return;
    link->tag = 1;
    link_mode(link, RING_METERED);
}

/* What had left the socket when METERED took effect is kept, bounded, and comes first. */
static void kept_bytes_come_first(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    rig->on_event = pause_at_first_bytes;
    link_send(client, 12 * MIB);
    RIG_UNTIL(rig, server->tag == 1);
    uint64_t before = server->received;
    rig_pump_ms(rig, 20);
    RIG_CHECK(rig, server->received == before);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->kept_bytes <= 4 * RING_KEPT_BYTES_MAX); /* the buffers at start */
    RIG_CHECK(rig, client->sents == 0); /* so much has no room in any buffer */
    uint32_t receives = server->receives;
    link_more(server);
    RIG_UNTIL(rig, server->receives == receives + 1);
    rig_pump_ms(rig, 5);
    RIG_CHECK(rig, server->receives == receives + 1);
    link_mode(server, RING_FREE);
    RIG_UNTIL(rig, server->received == 12 * MIB && client->sents == 1);
}

/* FREE delivers what was kept without asking the peer for more. */
static void kept_bytes_at_free(struct rig *rig) {
    rig_open_listening(rig, NULL);
    rig->on_event = pause_at_first_bytes;
    for (uint32_t i = 0; i < 20; i++) {
        struct link *client = rig_pair(rig), *server = client->peer;
        for (uint32_t k = 0; k < 4; k++) {
            link_send(client, 3000);
            RIG_UNTIL(rig, client->in_flight == 0);
        }
        RIG_UNTIL(rig, server->tag == 1);
        rig_turn(rig);
        link_mode(server, RING_FREE);
        RIG_UNTIL(rig, server->received == 12000);
    }
}

static void switch_modes_while_data_arrives(struct rig *rig) {
    enum { TOTAL = 2 * MIB };
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (server->received < TOTAL) {
        if (client->in_flight == 0 && client->out_position < TOTAL) {
            uint64_t left = TOTAL - client->out_position;
            uint64_t size = 1 + rig_below(rig, 60000);
            link_send(client, size < left ? size : left);
        }
        switch (rig_below(rig, 4)) {
        case 0: link_mode(server, server->mode == RING_FREE ? RING_METERED : RING_FREE); break;
        case 1:
            link_mode(server, RING_METERED);
            link_mode(server, RING_FREE);
            break;
        default:
            if (server->mode == RING_METERED) link_more(server);
        }
        rig_turn(rig);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
    RIG_CHECK(rig, server->received == TOTAL);
}

/* 8 MiB to a reader that takes its time: byte-exact, one SENT, the sender's memory untouched until then. */
static void slow_reader(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(client, RING_METERED);
    rig_pump_ms(rig, 2);
    link_send(server, 8 * MIB);
    rig_pump_ms(rig, 10);
    RIG_CHECK(rig, server->sents == 0);
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (client->received < 7 * MIB) {
        if (!client->asked) link_more(client);
        rig_turn(rig);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
    link_mode(client, RING_FREE);
    RIG_UNTIL(rig, client->received == 8 * MIB && server->sents == 1);
}

/* What the other end has taken tells a slow reader from one that reads nothing. */
static void taken_by_a_slow_reader(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(client, RING_METERED);
    rig_pump_ms(rig, 2);
    link_send(server, 8 * MIB);
    rig_pump_ms(rig, 50);
    uint64_t stuck = ring_taken(link_ring(server), server->id);
    rig_pump_ms(rig, 50);
    RIG_CHECK(rig, server->sents == 0);
    RIG_CHECK(rig, ring_taken(link_ring(server), server->id) == stuck);
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (ring_taken(link_ring(server), server->id) == stuck) {
        if (!client->asked) link_more(client);
        rig_turn(rig);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
    RIG_CHECK(rig, server->sents == 0); /* and that is before the send is over */
    link_mode(client, RING_FREE);
    RIG_UNTIL(rig, client->received == 8 * MIB && server->sents == 1);
    RIG_UNTIL(rig, ring_taken(link_ring(server), server->id) >= 8 * MIB);
}

static void many_segments(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    static const size_t sizes[] = { 64, 65, 6400, 64 * 4096 + 1, 3 * MIB };
    uint64_t total = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        link_send_segments(server, sizes[i], RING_SEGMENTS_MAX, RING_SEND_LOUD);
        total += sizes[i];
        RIG_UNTIL(rig, client->received == total && server->in_flight == 0);
    }
    for (uint32_t n = 1; n <= RING_SEGMENTS_MAX; n++) {
        link_send_segments(server, 100u * n + n % 7, n, n % 2 == 0 ? RING_SEND_LOUD : RING_SEND_QUIET);
        total += 100u * n + n % 7;
        RIG_UNTIL(rig, client->received == total && server->in_flight == 0);
    }
}

/* The peer ends its half, and still gets its answer. */
static void half_close_by_peer(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_send(client, 500);
    RIG_UNTIL(rig, client->sents == 1);
    link_shutdown(client);
    RIG_UNTIL(rig, server->ended);
    RIG_CHECK(rig, server->end_result == 0);
    RIG_CHECK(rig, server->received == 500);
    link_send(server, 200000);
    RIG_UNTIL(rig, server->sents == 1 && client->received == 200000);
    RIG_CHECK(rig, server->send_error == 0);
    link_close(server);
    RIG_UNTIL(rig, client->ended && server->closed);
    RIG_CHECK(rig, client->end_result == 0);
}

/* We end ours, and still read. */
static void half_close_by_us(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_send(server, 500);
    RIG_UNTIL(rig, server->sents == 1);
    link_shutdown(server);
    RIG_UNTIL(rig, client->ended);
    RIG_CHECK(rig, client->end_result == 0);
    RIG_CHECK(rig, client->received == 500);
    link_send(client, 200000);
    RIG_UNTIL(rig, client->sents == 1 && server->received == 200000);
    RIG_CHECK(rig, !server->ended);
    link_close(client);
    RIG_UNTIL(rig, server->ended && client->closed);
    RIG_CHECK(rig, server->end_result == 0);
}

static void shutdown_then_send(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig);
    link_shutdown(client);
    RIG_UNTIL(rig, client->peer->ended);
    link_send(client, 10);
    RIG_UNTIL(rig, client->sents == 1);
    RIG_CHECK(rig, client->send_error == -EPIPE);
}

static void reset_seen_by_receiver(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_reset(client);
    RIG_UNTIL(rig, server->ended && client->closed);
    RIG_CHECK(rig, server->end_result == -ECONNRESET);
    link_close(server);
    RIG_UNTIL(rig, server->closed);
}

static void reset_by_plain_socket(struct rig *rig) {
    rig_open_listening(rig, NULL);
    int fd = raw_connect(&rig->address);
    RIG_CHECK(rig, fd >= 0);
    RIG_UNTIL(rig, rig->newest != NULL);
    struct link *server = rig->newest;
    RIG_CHECK(rig, setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger)) == 0);
    close(fd);
    RIG_UNTIL(rig, server->ended);
    RIG_CHECK(rig, server->end_result == -ECONNRESET);
}

static void reset_during_send(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(client, RING_METERED);
    rig_pump_ms(rig, 2);
    link_send(server, 8 * MIB);
    rig_pump_ms(rig, 5);
    RIG_CHECK(rig, server->sents == 0);
    link_reset(client);
    RIG_UNTIL(rig, server->sents == 1);
    RIG_CHECK(rig, server->send_error == -ECONNRESET || server->send_error == -EPIPE);
    RIG_UNTIL(rig, server->ended);
    link_close(server);
    RIG_UNTIL(rig, server->closed && client->closed);
}

/* A send into a connection that the peer has closed: an error at last, never silence. */
static void send_to_closed_peer(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_close(client);
    RIG_UNTIL(rig, client->closed && server->ended);
    for (uint32_t i = 1; server->send_error == 0; i++) {
        RIG_CHECK(rig, i < 10);
        link_send(server, 1000);
        RIG_UNTIL(rig, server->sents == i);
        rig_pump_ms(rig, 2);
    }
    RIG_CHECK(rig, server->send_error == -EPIPE || server->send_error == -ECONNRESET);
    link_close(server);
    RIG_UNTIL(rig, server->closed);
}

#define NO_PLAIN_SOCKETS "plain sockets of the kernel don't reach a simulated one"

const struct contract_scenario contract_stream[] = {
    { .name = "split_receives", .run = split_receives },
    { .name = "both_ways_at_once", .run = both_ways_at_once },
    { .name = "metered_asks_for_each", .run = metered_asks_for_each },
    { .name = "metered_waits_for_bytes", .run = metered_waits_for_bytes },
    { .name = "metered_sees_the_end", .run = metered_sees_the_end },
    { .name = "kept_bytes_come_first", .run = kept_bytes_come_first },
    { .name = "kept_bytes_at_free", .run = kept_bytes_at_free },
    { .name = "switch_modes_while_data_arrives", .run = switch_modes_while_data_arrives },
    { .name = "slow_reader", .run = slow_reader },
    { .name = "taken_by_a_slow_reader", .run = taken_by_a_slow_reader },
    { .name = "many_segments", .run = many_segments },
    { .name = "half_close_by_peer", .run = half_close_by_peer },
    { .name = "half_close_by_us", .run = half_close_by_us },
    { .name = "shutdown_then_send", .run = shutdown_then_send },
    { .name = "reset_seen_by_receiver", .run = reset_seen_by_receiver },
    { .name = "reset_by_plain_socket", .run = reset_by_plain_socket, .needs = ROW_REAL, .skip_reason = NO_PLAIN_SOCKETS },
    { .name = "reset_during_send", .run = reset_during_send },
    { .name = "send_to_closed_peer", .run = send_to_closed_peer },
    { 0 },
};
