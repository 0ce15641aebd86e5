/* Listeners, connects, addresses. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ring_contract.h"

static void accept_one(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig);
    RIG_CHECK(rig, client->peer->connected);
    RIG_CHECK(rig, rig->listener->accepts == 1);
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == 2);
    RIG_CHECK(rig, ring_sockets(rig->ring[CLIENT]) == 1);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->accepted == 1);
    RIG_CHECK(rig, ring_counters(rig->ring[CLIENT])->connected == 1);
}

static uint32_t answered(struct link *const *links, uint32_t n) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) count += links[i]->answered && links[i]->connect_result == 0;
    return count;
}

static void accept_many(struct rig *rig) {
    enum { MANY = 200 };
    struct link *clients[MANY];
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < MANY; i++) clients[i] = link_connect(rig);
    RIG_UNTIL(rig, answered(clients, MANY) == MANY && rig->listener->accepts == MANY);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->accepted == MANY);
}

/* They all wait in the backlog before the server looks, and nobody comes after them: the backlog is taken in as many turns as
 * the backend likes, but none of these turns sleeps. */
static void accept_a_full_backlog(struct rig *rig) {
    enum { MANY = 200 };
    struct link *clients[MANY];
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < MANY; i++) clients[i] = link_connect(rig);
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (answered(clients, MANY) < MANY) {
        rig_wait(rig, CLIENT, ring_now(rig->ring[CLIENT]) + 1000000);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
    rig_wait(rig, SERVER, 1);
    uint64_t ticks = rig->ticks[SERVER];
    while (rig->listener->accepts < MANY) {
        rig_wait(rig, SERVER, ring_now(rig->ring[SERVER]) + UINT64_C(3000000000));
        RIG_CHECK(rig, rig->ticks[SERVER] == ticks);
    }
}

static void connect_refused(struct rig *rig) {
    rig_open_listening(rig, NULL);
    link_close(rig->listener);
    RIG_UNTIL(rig, rig->listener->closed);
    struct link *client = link_connect(rig);
    RIG_UNTIL(rig, client->answered);
    RIG_CHECK(rig, client->connect_result == -ECONNREFUSED);
    link_close(client);
    RIG_UNTIL(rig, client->closed);
    RIG_CHECK(rig, ring_sockets(rig->ring[CLIENT]) == 0);
    RIG_CHECK(rig, ring_counters(rig->ring[CLIENT])->connected == 0);
}

static void connect_no_slot(struct rig *rig) {
    rig_open_listening(rig, &(struct rig_options){ .sockets_max = { 0, 2 } });
    struct link *first = link_connect(rig);
    link_connect(rig);
    struct link *third = link_new(rig, CLIENT);
    RIG_CHECK(rig, ring_connect(rig->ring[CLIENT], &rig->address, third, &third->id) == -ENFILE);
    RIG_UNTIL(rig, first->answered);
    link_close(first);
    RIG_UNTIL(rig, first->closed);
    RIG_CHECK(rig, ring_connect(rig->ring[CLIENT], &rig->address, third, &third->id) == 0);
    RIG_UNTIL(rig, third->answered);
    RIG_CHECK(rig, third->connect_result == 0);
}

/* The descriptor of the socket whose other end is the listener's address; -1: there is none. */
static int descriptor_of_client(struct rig *rig) {
    struct rlimit limit;
    RIG_CHECK(rig, getrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int fd = 3; (rlim_t)fd < limit.rlim_cur && fd < 1 << 16; fd++) {
        struct ring_address peer = { .len = sizeof peer.storage };
        if (getpeername(fd, (struct sockaddr *)&peer.storage, &peer.len) == 0 && peer.len == rig->address.len &&
            memcmp(&peer.storage, &rig->address.storage, peer.len) == 0) {
            return fd;
        }
    }
    return -1;
}

static int option_of(struct rig *rig, int fd, int level, int name) {
    int value = 0;
    socklen_t len = sizeof value;
    RIG_CHECK(rig, getsockopt(fd, level, name, &value, &len) == 0);
    return value;
}

/* What we have connected sends at once, and asks now and then whether the other end is still there. */
static void connect_options(struct rig *rig) {
    rig_open_listening(rig, NULL);
    rig_pair(rig);
    int fd = descriptor_of_client(rig);
    RIG_CHECK(rig, fd >= 0);
    RIG_CHECK(rig, option_of(rig, fd, IPPROTO_TCP, TCP_NODELAY) != 0);
    RIG_CHECK(rig, option_of(rig, fd, SOL_SOCKET, SO_KEEPALIVE) != 0);
}

/* The connect may be answered already or never: the id says CLOSED and nothing else. */
static void connect_then_close(struct rig *rig) {
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < 50; i++) {
        struct link *client = link_connect(rig);
        for (uint32_t turns = i % 3; turns > 0; turns--) rig_turn(rig);
        link_close(client);
        RIG_UNTIL(rig, client->closed);
    }
    RIG_CHECK(rig, ring_sockets(rig->ring[CLIENT]) == 0);
}

static uint16_t port_of(const struct ring_address *address) {
    return ntohs(((const struct sockaddr_in *)(const void *)&address->storage)->sin_port);
}

static bool same_address(const struct ring_address *a, const struct ring_address *b) {
    char text_a[RING_ADDRESS_BYTES], text_b[RING_ADDRESS_BYTES];
    return strcmp(ring_address_text(a, text_a), ring_address_text(b, text_b)) == 0;
}

static void peer_and_local(struct rig *rig) {
    struct ring_address server_local, server_peer, client_local, client_peer;
    rig_open_listening(rig, NULL);
    RIG_CHECK(rig, port_of(&rig->address) != 0);
    struct link *client = rig_pair(rig);
    RIG_CHECK(rig, ring_peer(rig->ring[CLIENT], client->id, &client_peer) == 0);
    RIG_CHECK(rig, ring_local(rig->ring[CLIENT], client->id, &client_local) == 0);
    RIG_CHECK(rig, ring_peer(rig->ring[SERVER], client->peer->id, &server_peer) == 0);
    RIG_CHECK(rig, ring_local(rig->ring[SERVER], client->peer->id, &server_local) == 0);
    RIG_CHECK(rig, same_address(&client_peer, &rig->address));
    RIG_CHECK(rig, same_address(&server_local, &rig->address));
    RIG_CHECK(rig, same_address(&server_peer, &client_local));
    RIG_CHECK(rig, port_of(&client_local) != port_of(&rig->address));
    link_send(client, 10); /* asking for names has not disturbed the socket */
    RIG_UNTIL(rig, client->peer->received == 10);
}

enum { PEERS = 40 };

/* With ring_config.peers the names of clients come without a call for each, also when slots are used again. */
static void peers_are_known(struct rig *rig) {
    struct rig_options options = { .peers = true };
    struct ring_address seen, real;
    rig_open_listening(rig, &options);
    for (int i = 0; i < PEERS; i++) {
        struct link *client = rig_pair(rig);
        link_send(client, 10);
        RIG_UNTIL(rig, client->peer->received == 10);
        uint64_t calls = rig_calls(rig, SERVER);
        RIG_CHECK(rig, ring_peer(rig->ring[SERVER], client->peer->id, &seen) == 0);
        bool old = strcmp(rig->row->tuning, "kernel=6.1") == 0 || strcmp(rig->row->tuning, "kernel=6.6") == 0;
        RIG_CHECK(rig, old == (rig_calls(rig, SERVER) != calls)); /* 6.7 has it */
        calls = rig_calls(rig, SERVER);
        RIG_CHECK(rig, ring_peer(rig->ring[SERVER], client->peer->id, &seen) == 0);
        RIG_CHECK(rig, rig_calls(rig, SERVER) == calls);
        RIG_CHECK(rig, ring_local(rig->ring[CLIENT], client->id, &real) == 0);
        RIG_CHECK(rig, same_address(&seen, &real));
        link_close(client->peer);
        link_close(client);
        RIG_UNTIL(rig, client->closed && client->peer->closed);
    }
}

/* A client that is gone before anybody looks has no name, and the next one's is not spoiled by that. */
static void peers_of_resets(struct rig *rig) {
    struct rig_options options = { .peers = true };
    struct ring_address seen, real;
    rig_open_listening(rig, &options);
    int gone[8];
    for (int i = 0; i < 8; i++) {
        gone[i] = raw_connect(&rig->address);
        struct linger now = { 1, 0 };
        RIG_CHECK(rig, setsockopt(gone[i], SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
        close(gone[i]);
    }
    rig_pump_ms(rig, 20);
    struct link *client = rig_pair(rig);
    link_send(client, 10);
    RIG_UNTIL(rig, client->peer->received == 10);
    RIG_CHECK(rig, ring_peer(rig->ring[SERVER], client->peer->id, &seen) == 0);
    RIG_CHECK(rig, ring_local(rig->ring[CLIENT], client->id, &real) == 0);
    RIG_CHECK(rig, same_address(&seen, &real));
}

static bool has_ipv6(void) {
    const struct sockaddr_in6 name = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (const struct sockaddr *)&name, sizeof name) == 0;
    if (fd >= 0) close(fd);
    return has;
}

static void peers_over_ipv6_and_unix(struct rig *rig) {
    struct rig_options options = { .peers = true };
    struct ring_address seen, real;
    char path[64], text[80];
    rig_open(rig, &options);
    rig->listener = rig_listen(rig, SERVER, rig->world != NULL || has_ipv6() ? "[::1]:0" : "127.0.0.1:0", 16);
    RIG_CHECK(rig, ring_local(rig->ring[SERVER], rig->listener->id, &rig->address) == 0);
    struct link *client = rig_pair(rig);
    link_send(client, 10);
    RIG_UNTIL(rig, client->peer->received == 10);
    RIG_CHECK(rig, ring_peer(rig->ring[SERVER], client->peer->id, &seen) == 0);
    RIG_CHECK(rig, ring_local(rig->ring[CLIENT], client->id, &real) == 0);
    RIG_CHECK(rig, same_address(&seen, &real));
    snprintf(path, sizeof path, "/tmp/ring-contract-peers-%d.sock", (int)getpid());
    snprintf(text, sizeof text, "unix:%s", path);
    unlink(path);
    rig->listener = rig_listen(rig, SERVER, text, 16);
    RIG_CHECK(rig, ring_address_parse(span_text(text), &rig->address));
    client = rig_pair(rig);
    uint64_t calls = rig_calls(rig, SERVER);
    RIG_CHECK(rig, ring_peer(rig->ring[SERVER], client->peer->id, &seen) == 0);
    RIG_CHECK(rig, seen.storage.ss_family == AF_UNIX || rig->world != NULL);
    RIG_CHECK(rig, rig_calls(rig, SERVER) == calls);
    unlink(path);
}

static void listen_address_in_use(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct ring_listen again = { .address = rig->address, .fd = -1, .backlog = 8 };
    struct ring_id id = { 0, 0 };
    uint32_t before = ring_sockets(rig->ring[SERVER]);
    RIG_CHECK(rig, ring_listen(rig->ring[SERVER], &again, &id) == -EADDRINUSE);
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == before);
}

/* Each worker has a listener of its own on one port: here both sides of the rig have one. */
static void listen_reuse_port(struct rig *rig) {
    enum { MANY = 64 };
    rig_open(rig, NULL);
    struct link *listeners[SIDES];
    struct ring_listen listen = { .fd = -1, .backlog = 128, .reuse_port = true };
    RIG_CHECK(rig, ring_address_parse(SPAN("127.0.0.1:0"), &listen.address));
    for (enum side side = SERVER; side < SIDES; side++) {
        listeners[side] = link_new(rig, side);
        listen.user = listeners[side];
        RIG_CHECK(rig, ring_listen(rig->ring[side], &listen, &listeners[side]->id) == 0);
        RIG_CHECK(rig, ring_local(rig->ring[side], listeners[side]->id, &listen.address) == 0);
    }
    rig->address = listen.address;
    for (uint32_t i = 0; i < MANY; i++) link_connect(rig);
    RIG_UNTIL(rig, listeners[SERVER]->accepts + listeners[CLIENT]->accepts == MANY);
    RIG_CHECK(rig, listeners[SERVER]->accepts > 0);
    RIG_CHECK(rig, listeners[CLIENT]->accepts > 0);
}

/* A socket that was made by somebody else: systemd, or a process before us. */
static void listen_on_descriptor(struct rig *rig) {
    rig_open(rig, NULL);
    RIG_CHECK(rig, ring_address_parse(SPAN("127.0.0.1:0"), &rig->address));
    int fd = raw_listen(&rig->address);
    RIG_CHECK(rig, fd >= 0);
    rig->listener = link_new(rig, SERVER);
    struct ring_listen listen = { .fd = fd, .user = rig->listener };
    RIG_CHECK(rig, ring_listen(rig->ring[SERVER], &listen, &rig->listener->id) == 0);
    struct link *client = rig_pair(rig);
    link_send(client, 100);
    RIG_UNTIL(rig, client->peer->received == 100);
    link_close(rig->listener);
    RIG_UNTIL(rig, rig->listener->closed);
    fd = raw_connect(&rig->address); /* the ring has closed its descriptor, so the port refuses */
    RIG_CHECK(rig, fd < 0);
    RIG_CHECK(rig, errno == ECONNREFUSED);
}

static void accept_off_and_on(struct rig *rig) {
    rig_open_listening(rig, NULL);
    ring_accept(rig->ring[SERVER], rig->listener->id, false);
    rig_pump_ms(rig, 5); /* the change takes effect */
    struct link *client = link_connect(rig);
    RIG_UNTIL(rig, client->answered);
    RIG_CHECK(rig, client->connect_result == 0); /* the backlog took it */
    rig_pump_ms(rig, 20);
    RIG_CHECK(rig, rig->listener->accepts == 0);
    ring_accept(rig->ring[SERVER], rig->listener->id, true);
    RIG_UNTIL(rig, rig->listener->accepts == 1);
    for (uint32_t i = 0; i < 6; i++) ring_accept(rig->ring[SERVER], rig->listener->id, i % 2 == 1);
    link_connect(rig);
    RIG_UNTIL(rig, rig->listener->accepts == 2);
}

/* Accepting that is armed when its listener closes may neither keep the port nor take a connection later. */
static void close_listener_armed(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *old = rig->listener;
    rig_pair(rig);
    for (uint32_t i = 0; i < 20; i++) {
        link_close(rig->listener);
        RIG_UNTIL(rig, rig->listener->closed);
        uint32_t accepted = rig->listener->accepts;
        char text[RING_ADDRESS_BYTES];
        struct link *next = rig_listen(rig, SERVER, ring_address_text(&rig->address, text), 16);
        link_connect(rig);
        RIG_UNTIL(rig, next->accepts == 1);
        RIG_CHECK(rig, rig->listener->accepts == accepted);
        rig->listener = next;
    }
    RIG_CHECK(rig, old->accepts == 1);
}

static void close_listener_with_backlog(struct rig *rig) {
    rig_open_listening(rig, NULL);
    ring_accept(rig->ring[SERVER], rig->listener->id, false);
    rig_pump_ms(rig, 5);
    struct link *client = link_connect(rig);
    RIG_UNTIL(rig, client->answered);
    link_close(rig->listener);
    RIG_UNTIL(rig, client->ended); /* who waited in the backlog learns of it */
    RIG_UNTIL(rig, rig->listener->closed);
    RIG_CHECK(rig, rig->listener->accepts == 0);
}

static void unix_sockets(struct rig *rig) {
    char path[64], text[80];
    struct ring_address address;
    rig_open(rig, NULL);
    snprintf(path, sizeof path, "/tmp/ring-contract-%d.sock", (int)getpid());
    snprintf(text, sizeof text, "unix:%s", path);
    unlink(path);
    rig->listener = rig_listen(rig, SERVER, text, 16);
    RIG_CHECK(rig, ring_address_parse(span_text(text), &rig->address));
    struct link *client = rig_pair(rig);
    RIG_CHECK(rig, ring_peer(rig->ring[CLIENT], client->id, &address) == 0);
    RIG_CHECK(rig, same_address(&address, &rig->address));
    RIG_CHECK(rig, ring_peer(rig->ring[SERVER], client->peer->id, &address) == 0); /* a client has no name */
    link_send(client, 300000);
    link_send_segments(client->peer, 300000, 10, RING_SEND_LOUD);
    RIG_UNTIL(rig, client->received == 300000 && client->peer->received == 300000);
    RIG_UNTIL(rig, client->sents == 1);
    link_shutdown(client);
    RIG_UNTIL(rig, client->peer->ended);
    RIG_CHECK(rig, client->peer->end_result == 0);
    link_close(client->peer);
    RIG_UNTIL(rig, client->ended && client->peer->closed);
    unlink(path);
}

#define NO_DESCRIPTORS "simulated sockets have no descriptors"

const struct contract_scenario contract_connect[] = {
    { .name = "accept", .run = accept_one },
    { .name = "accept_many", .run = accept_many },
    { .name = "accept_a_full_backlog", .run = accept_a_full_backlog },
    { .name = "connect_refused", .run = connect_refused },
    { .name = "connect_no_slot", .run = connect_no_slot },
    { .name = "connect_options", .run = connect_options, .needs = ROW_REAL, .skip_reason = NO_DESCRIPTORS },
    { .name = "connect_then_close", .run = connect_then_close },
    { .name = "peer_and_local", .run = peer_and_local },
    { .name = "peers_are_known", .run = peers_are_known },
    { .name = "peers_of_resets", .run = peers_of_resets, .needs = ROW_REAL, .skip_reason = NO_DESCRIPTORS },
    { .name = "peers_over_ipv6_and_unix", .run = peers_over_ipv6_and_unix },
    { .name = "listen_address_in_use", .run = listen_address_in_use },
    { .name = "listen_reuse_port", .run = listen_reuse_port },
    { .name = "listen_on_descriptor", .run = listen_on_descriptor, .needs = ROW_REAL, .skip_reason = NO_DESCRIPTORS },
    { .name = "accept_off_and_on", .run = accept_off_and_on },
    { .name = "close_listener_armed", .run = close_listener_armed },
    { .name = "close_listener_with_backlog", .run = close_listener_with_backlog },
    { .name = "unix_sockets", .run = unix_sockets },
    { 0 },
};
