/* The simulator itself: that a seed replays, that time is virtual, that each fault happens and is counted, and that nothing
 * else does. What it has in common with the other backends is tested by test_ring_contract.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mem/poison.h"
#include "ring/ring.h"
#include "ring/sim.h"

enum { CLIENTS = 8, ROUNDS = 30, MESSAGE = 3000, SECOND_MS = 1000 };

#define NS_PER_MS UINT64_C(1000000)

static struct ring *open_ring(struct sim_world *world, uint32_t sockets_max) {
    struct ring_config config = { .choice = RING_SIM, .sockets_max = sockets_max, .world = world };
    struct ring_report report;
    struct ring *ring;
    ring_tuning_default(&config.tuning);
    assert_int_equal(ring_open(&config, &ring, &report), 0);
    return ring;
}

static struct ring_address address_of(const char *text) {
    struct ring_address address;
    assert_true(ring_address_parse(span_text(text), &address));
    return address;
}

static struct ring_id listen_at(struct ring *ring, const char *text, uint32_t backlog) {
    struct ring_listen listen = { .address = address_of(text), .fd = -1, .backlog = backlog };
    struct ring_id id;
    assert_int_equal(ring_listen(ring, &listen, &id), 0);
    return id;
}

/* The events of one turn, by type. */
struct turn {
    uint32_t count[RING_TICK + 1];
    struct ring_event last[RING_TICK + 1];
    uint32_t all;
};

static struct turn one_turn(struct ring *ring, uint64_t deadline_ns) {
    struct turn turn = { 0 };
    struct ring_event event;
    assert_int_equal(ring_wait(ring, deadline_ns), 0);
    while (ring_next(ring, &event)) {
        turn.count[event.type]++;
        turn.last[event.type] = event;
        turn.all++;
    }
    return turn;
}

/* ------------------------------------------------------------------------------------------------------- traffic ---- */

/* An echo server and its clients, each of which sends ROUNDS messages and waits for each to come back. */
struct client {
    struct ring_id id;
    struct iovec segment;
    uint32_t rounds;
    uint64_t received;
    bool dead, sending, waiting;
};

struct traffic {
    struct sim_world *world;
    struct ring *server, *client;
    struct ring_address address;
    struct client clients[CLIENTS];
    struct server_end {
        struct ring_id id;
        struct iovec segment;
        char bytes[64 * 1024];
        size_t pending; /* of bytes, behind what is being sent */
        size_t sending;
        bool used, over;
    } ends[CLIENTS * 2];
    struct ring_job jobs[CLIENTS];
    uint32_t done, jobs_done;
};

static char message[MESSAGE];
static struct traffic traffic; /* too large for a stack */

static void echo_on(struct traffic *t, struct server_end *end) {
    if (end->sending > 0 || end->pending == 0 || end->over) return;
    end->segment = (struct iovec){ end->bytes, end->pending };
    end->sending = end->pending;
    ring_send(t->server, end->id, &end->segment, 1, RING_SEND_LOUD);
}

static void end_over(struct traffic *t, struct server_end *end) {
    if (end->over) return;
    end->over = true;
    ring_close(t->server, end->id);
}

static void on_server(struct traffic *t, const struct ring_event *event) {
    struct server_end *end = event->user;
    switch (event->type) {
    case RING_ACCEPTED:
        for (end = t->ends; end->used; end++) assert_true(end < t->ends + CLIENTS * 2 - 1);
        *end = (struct server_end){ .id = event->id, .used = true };
        ring_set_user(t->server, event->id, end);
        ring_receive_mode(t->server, event->id, RING_METERED);
        ring_receive_more(t->server, event->id);
        return;
    case RING_RECEIVED:
        if (event->result <= 0) {
            end_over(t, end);
            return;
        }
        assert_true(end->pending + event->bytes.len <= sizeof end->bytes);
        memcpy(end->bytes + end->pending, event->bytes.data, event->bytes.len);
        end->pending += event->bytes.len;
        ring_receive_mode(t->server, event->id, RING_FREE);
        ring_receive_mode(t->server, event->id, RING_METERED);
        ring_receive_more(t->server, event->id);
        echo_on(t, end);
        return;
    case RING_SENT:
        memmove(end->bytes, end->bytes + end->sending, end->pending - end->sending);
        end->pending -= end->sending;
        end->sending = 0;
        if (event->result < 0) end_over(t, end);
        echo_on(t, end);
        return;
    case RING_CLOSED: end->used = false; return;
    case RING_FINISHED: t->jobs_done++; return;
    case RING_CONNECTED:
    case RING_READY:
    case RING_WOKEN:
    case RING_READ:
    case RING_TICK: return;
    }
}

static void client_next(struct traffic *t, struct client *client) {
    if (client->sending || client->dead) return;
    if (client->received < (uint64_t)client->rounds * MESSAGE) return;
    if (client->rounds == ROUNDS) {
        client->dead = true;
        ring_close(t->client, client->id);
        return;
    }
    client->rounds++;
    client->sending = true;
    ring_send(t->client, client->id, &client->segment, 1, client->rounds % 2 == 0 ? RING_SEND_LOUD : RING_SEND_QUIET);
}

static void client_over(struct traffic *t, struct client *client) {
    if (client->dead) return;
    client->dead = true;
    ring_close(t->client, client->id);
}

static void on_client(struct traffic *t, const struct ring_event *event) {
    struct client *client = event->user;
    switch (event->type) {
    case RING_CONNECTED:
        if (event->result < 0) client_over(t, client);
        client_next(t, client);
        return;
    case RING_RECEIVED:
        if (event->result <= 0) {
            client_over(t, client);
            return;
        }
        for (size_t i = 0; i < event->bytes.len; i++)
            assert_int_equal(event->bytes.data[i], message[(client->received + i) % MESSAGE]);
        client->received += event->bytes.len;
        client_next(t, client);
        return;
    case RING_SENT:
        client->sending = false;
        if (event->result < 0) client_over(t, client);
        client_next(t, client);
        return;
    case RING_CLOSED: t->done++; return;
    case RING_ACCEPTED:
    case RING_READY:
    case RING_WOKEN:
    case RING_FINISHED:
    case RING_READ:
    case RING_TICK: return;
    }
}

static bool server_turn(void *arg) {
    struct traffic *t = arg;
    struct ring_event event;
    assert_int_equal(ring_wait(t->server, ring_now(t->server) + 10 * NS_PER_MS), 0);
    while (ring_next(t->server, &event)) on_server(t, &event);
    return t->done == CLIENTS && t->jobs_done == CLIENTS;
}

static bool client_turn(void *arg) {
    struct traffic *t = arg;
    struct ring_event event;
    assert_int_equal(ring_wait(t->client, ring_now(t->client) + 10 * NS_PER_MS), 0);
    while (ring_next(t->client, &event)) on_client(t, &event);
    return t->done == CLIENTS;
}

static void do_nothing(struct ring_job *job) {
    (void)job;
}

static void traffic_start(struct traffic *t, uint64_t seed, const struct sim_options *options) {
    memset(t, 0, sizeof *t);
    for (uint32_t i = 0; i < MESSAGE; i++) message[i] = (char)(i * 7 + (i >> 8));
    t->world = sim_world_new(seed, options);
    assert_non_null(t->world);
    t->server = open_ring(t->world, 64);
    t->client = open_ring(t->world, 64);
    t->address = address_of("127.0.0.1:80");
    listen_at(t->server, "127.0.0.1:80", 64);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client *client = &t->clients[i];
        client->segment = (struct iovec){ message, MESSAGE };
        assert_int_equal(ring_connect(t->client, &t->address, client, &client->id), 0);
        t->jobs[i].run = do_nothing;
        ring_offload(t->server, &t->jobs[i]);
    }
}

static void traffic_run(struct traffic *t) {
    const struct sim_party parties[] = { { server_turn, t }, { client_turn, t } };
    assert_int_equal(sim_drive(t->world, parties, 2, sim_now(t->world) + 600 * SECOND_MS * NS_PER_MS), SIM_REACHED);
}

static void traffic_end(struct traffic *t) {
    ring_release(t->client);
    ring_release(t->server);
    sim_world_free(t->world);
}

static void everything(struct sim_options *options) {
    sim_options_rough(options);
    options->sndbuf_bytes = 2000;
    options->reset_ppm = 500;
    options->refuse_ppm = 100000;
    options->emfile_ppm = 100000;
    options->jump_ppm = 10000;
    options->jump_ns_max = 1000 * NS_PER_MS;
}

static uint64_t trace_of(uint64_t seed, const struct sim_options *options) {
    traffic_start(&traffic, seed, options);
    traffic_run(&traffic);
    uint64_t trace = sim_trace(traffic.world);
    traffic_end(&traffic);
    return trace;
}

/* --------------------------------------------------------------------------------------------------- determinism ---- */

static void test_seed_replays(void **state) {
    (void)state;
    struct sim_options options;
    everything(&options);
    uint64_t last = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t first = trace_of(seed, &options);
        assert_true(trace_of(seed, &options) == first);
        assert_true(first != last);
        last = first;
    }
}

/* With everything at once there is nothing for a seed to decide. */
static void test_calm_world_has_one_course(void **state) {
    (void)state;
    struct sim_options options;
    sim_options_calm(&options);
    assert_true(trace_of(1, &options) == trace_of(2, &options));
}

/* -------------------------------------------------------------------------------------------------------- faults ---- */

static const struct fault_row {
    const char *name;
    struct sim_options options;
    size_t counter; /* offset in struct sim_faults */
    bool breaks;    /* clients may fail because of it */
} fault_rows[] = {
    { "splits", { .split_ppm = 300000 }, offsetof(struct sim_faults, splits), false },
    { "delays", { .latency_ns_max = 1000000 }, offsetof(struct sim_faults, delays), false },
    { "short_sends", { .short_ppm = 300000 }, offsetof(struct sim_faults, short_sends), false },
    { "full", { .sndbuf_bytes = 1000 }, offsetof(struct sim_faults, full), false },
    { "resets", { .reset_ppm = 3000 }, offsetof(struct sim_faults, resets), true },
    { "refusals", { .refuse_ppm = 300000 }, offsetof(struct sim_faults, refusals), true },
    { "emfiles", { .emfile_ppm = 300000 }, offsetof(struct sim_faults, emfiles), false },
    { "no_buffers", { .no_buffer_ppm = 300000 }, offsetof(struct sim_faults, no_buffers), false },
    { "spurious", { .spurious_ppm = 300000 }, offsetof(struct sim_faults, spurious), false },
    { "jumps", { .jump_ppm = 100000, .jump_ns_max = 5000000 }, offsetof(struct sim_faults, jumps), false },
    { "late_sents", { .sent_delay_ns_max = 100000 }, offsetof(struct sim_faults, late_sents), false },
    { "late_closed", { .close_delay_ns_max = 100000 }, offsetof(struct sim_faults, late_sents), false },
    { "late_jobs", { .job_delay_ns_max = 100000 }, offsetof(struct sim_faults, late_sents), false },
    { "kept", { .split_ppm = 300000, .latency_ns_max = 1000 }, offsetof(struct sim_faults, kept), false },
};

static uint64_t finished_clients(const struct traffic *t) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) count += t->clients[i].received == (uint64_t)ROUNDS * MESSAGE;
    return count;
}

static void test_fault(void **state) {
    const struct fault_row *row = *state;
    traffic_start(&traffic, 7, &row->options);
    traffic_run(&traffic);
    uint64_t counter;
    memcpy(&counter, (const char *)sim_faults(traffic.world) + row->counter, sizeof counter);
    assert_true(counter > 0);
    if (row->breaks)
        assert_true(finished_clients(&traffic) < CLIENTS);
    else
        assert_true(finished_clients(&traffic) == CLIENTS);
    traffic_end(&traffic);
}

static void test_no_fault_unasked(void **state) {
    (void)state;
    struct sim_options options;
    static const struct sim_faults none;
    sim_options_calm(&options);
    traffic_start(&traffic, 7, &options);
    traffic_run(&traffic);
    assert_memory_equal(sim_faults(traffic.world), &none, sizeof none);
    assert_true(finished_clients(&traffic) == CLIENTS);
    traffic_end(&traffic);
}

/* ---------------------------------------------------------------------------------------------------------- time ---- */

static struct sim_world *calm_world(void) {
    struct sim_options options;
    sim_options_calm(&options);
    struct sim_world *world = sim_world_new(1, &options);
    assert_non_null(world);
    return world;
}

static void test_an_hour_is_no_time(void **state) {
    (void)state;
    struct sim_world *world = calm_world();
    struct ring *ring = open_ring(world, 4);
    time_t start = time(NULL);
    int64_t wall = ring_wall_seconds(ring);
    uint64_t deadline = ring_now(ring) + 3600 * SECOND_MS * NS_PER_MS;
    struct turn turn = one_turn(ring, deadline);
    assert_int_equal(turn.count[RING_TICK], 1);
    assert_int_equal(turn.all, 1);
    assert_true(ring_now(ring) == deadline);
    assert_int_equal(ring_wall_seconds(ring) - wall, 3600);
    assert_true(time(NULL) - start < 60);
    ring_release(ring);
    sim_world_free(world);
}

/* Another ring's deadline is a moment of the world: time stops there until that ring was driven. */
static void test_time_waits_for_other_rings(void **state) {
    (void)state;
    struct sim_world *world = calm_world();
    struct ring *a = open_ring(world, 4), *b = open_ring(world, 4);
    uint64_t start = sim_now(world);
    assert_int_equal(one_turn(b, 1).count[RING_TICK], 1);
    ring_wake(b);
    assert_int_equal(one_turn(a, start + 1000 * NS_PER_MS).all, 0); /* b has something: nothing moves */
    assert_true(sim_now(world) < start + NS_PER_MS);
    assert_int_equal(one_turn(b, start + 5 * NS_PER_MS).count[RING_WOKEN], 1);
    assert_int_equal(one_turn(a, start + 1000 * NS_PER_MS).all, 0);
    assert_true(sim_now(world) == start + 5 * NS_PER_MS);
    assert_int_equal(one_turn(a, start + 1000 * NS_PER_MS).all, 0); /* and again: b is late, not gone */
    assert_true(sim_now(world) < start + 6 * NS_PER_MS);
    assert_int_equal(one_turn(b, start + 5 * NS_PER_MS).count[RING_TICK], 1);
    assert_int_equal(one_turn(a, start + 1000 * NS_PER_MS).count[RING_TICK], 1);
    assert_true(sim_now(world) == start + 1000 * NS_PER_MS);
    ring_release(b);
    assert_int_equal(one_turn(a, sim_now(world) + NS_PER_MS).count[RING_TICK], 1);
    ring_release(a);
    sim_world_free(world);
}

static void test_stall_is_told(void **state) {
    (void)state;
    struct sim_world *world = calm_world();
    struct ring *ring = open_ring(world, 4);
    assert_int_equal(one_turn(ring, RING_NO_DEADLINE).all, 0);
    assert_true(sim_stalled(world));
    ring_wake(ring);
    assert_int_equal(one_turn(ring, RING_NO_DEADLINE).count[RING_WOKEN], 1);
    assert_false(sim_stalled(world));
    ring_release(ring);
    sim_world_free(world);
}

static bool turn_forever(void *ring) {
    one_turn(ring, RING_NO_DEADLINE);
    return false;
}

static bool turn_with_ticks(void *ring) {
    one_turn(ring, ring_now(ring) + NS_PER_MS);
    return false;
}

static void test_drive_says_why_it_ended(void **state) {
    (void)state;
    struct sim_world *world = calm_world();
    struct ring *a = open_ring(world, 4), *b = open_ring(world, 4);
    const struct sim_party asleep[] = { { turn_forever, a }, { turn_forever, b } };
    assert_int_equal(sim_drive(world, asleep, 2, sim_now(world) + NS_PER_MS), SIM_STALLED);
    const struct sim_party ticking[] = { { turn_with_ticks, a }, { turn_with_ticks, b } };
    assert_int_equal(sim_drive(world, ticking, 2, sim_now(world) + 100 * NS_PER_MS), SIM_TIMED_OUT);
    ring_release(b);
    ring_release(a);
    sim_world_free(world);
}

static void run_clients(void *arg) {
    (void)client_turn(arg);
}

/* A server's own loop runs among its clients without knowing of them. */
static void test_others_get_their_turns(void **state) {
    (void)state;
    struct sim_options options;
    sim_options_rough(&options);
    traffic_start(&traffic, 3, &options);
    sim_set_others(traffic.world, run_clients, &traffic);
    for (uint32_t turns = 0; !server_turn(&traffic); turns++) assert_true(turns < 100000);
    assert_true(finished_clients(&traffic) == CLIENTS);
    traffic_end(&traffic);
}

/* -------------------------------------------------------------------------------------------------------- network ---- */

struct pair {
    struct sim_world *world;
    struct ring *ring[2];
    struct ring_id id[2]; /* 0: the server's */
};

static struct pair open_pair(const struct sim_options *options) {
    struct pair pair = { .world = sim_world_new(5, options) };
    assert_non_null(pair.world);
    pair.ring[0] = open_ring(pair.world, 8);
    pair.ring[1] = open_ring(pair.world, 8);
    listen_at(pair.ring[0], "127.0.0.1:80", 8);
    struct ring_address address = address_of("127.0.0.1:80");
    assert_int_equal(ring_connect(pair.ring[1], &address, NULL, &pair.id[1]), 0);
    assert_int_equal(one_turn(pair.ring[1], ring_now(pair.ring[1]) + NS_PER_MS).count[RING_CONNECTED], 1);
    struct turn turn = one_turn(pair.ring[0], ring_now(pair.ring[0]) + NS_PER_MS);
    assert_int_equal(turn.count[RING_ACCEPTED], 1);
    pair.id[0] = turn.last[RING_ACCEPTED].id;
    return pair;
}

static void close_pair(struct pair *pair) {
    ring_release(pair->ring[1]);
    ring_release(pair->ring[0]);
    sim_world_free(pair->world);
}

/* A reader that does not ask makes the sender wait, for as long as it takes. */
static void test_sender_waits_for_room(void **state) {
    (void)state;
    static char bytes[10000];
    const struct iovec segment = { bytes, sizeof bytes };
    struct pair pair = open_pair(&(struct sim_options){ .sndbuf_bytes = 6000 });
    ring_receive_mode(pair.ring[0], pair.id[0], RING_METERED);
    ring_send(pair.ring[1], pair.id[1], &segment, 1, RING_SEND_LOUD);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(one_turn(pair.ring[0], ring_now(pair.ring[0]) + 1000 * NS_PER_MS).count[RING_RECEIVED], 0);
        assert_int_equal(one_turn(pair.ring[1], ring_now(pair.ring[1]) + 1000 * NS_PER_MS).count[RING_SENT], 0);
    }
    uint64_t received = 0;
    uint32_t sents = 0;
    while (received < sizeof bytes) {
        ring_receive_more(pair.ring[0], pair.id[0]);
        struct turn turn = one_turn(pair.ring[0], ring_now(pair.ring[0]) + NS_PER_MS);
        assert_int_equal(turn.count[RING_RECEIVED], 1);
        received += (uint64_t)turn.last[RING_RECEIVED].result;
        sents += one_turn(pair.ring[1], ring_now(pair.ring[1]) + NS_PER_MS).count[RING_SENT];
        if (received <= 4000) assert_int_equal(sents, 0); /* 6000 in the buffer, so not all has left the sender */
    }
    assert_int_equal(sents, 1);
    assert_int_equal(ring_counters(pair.ring[1])->short_sends, 1);
    close_pair(&pair);
}

/* A span is dead after its turn: the simulator sees to it that this is noticed. */
static void test_spans_die_with_their_turn(void **state) {
    (void)state;
    const struct iovec segment = { (char[]){ "hello" }, 5 };
    struct pair pair = open_pair(&(struct sim_options){ 0 });
    ring_send(pair.ring[1], pair.id[1], &segment, 1, RING_SEND_LOUD);
    struct turn turn = one_turn(pair.ring[0], ring_now(pair.ring[0]) + NS_PER_MS);
    struct span bytes = turn.last[RING_RECEIVED].bytes;
    assert_int_equal(bytes.len, 5);
    assert_memory_equal(bytes.data, "hello", 5);
    one_turn(pair.ring[0], 1);
#ifdef RM_POISON
    assert_true(__asan_address_is_poisoned(bytes.data));
#else
    assert_true(memcmp(bytes.data, "hello", 5) != 0);
#endif
    close_pair(&pair);
}

/* Two rings of one world: who is at which address. */
static void test_addresses(void **state) {
    (void)state;
    struct sim_world *world = calm_world();
    struct ring *ring = open_ring(world, 32);
    struct ring_id first = listen_at(ring, "127.0.0.1:0", 4), second = listen_at(ring, "127.0.0.1:0", 4), id;
    struct ring_address a, b;
    assert_int_equal(ring_local(ring, first, &a), 0);
    assert_int_equal(ring_local(ring, second, &b), 0);
    assert_true(memcmp(&a.storage, &b.storage, a.len) != 0);
    listen_at(ring, ":8000", 4);
    struct ring_listen taken = { .address = address_of("127.0.0.1:8000"), .fd = -1 };
    assert_int_equal(ring_listen(ring, &taken, &id), -EADDRINUSE);
    static const struct {
        const char *target;
        int32_t result;
    } rows[] = {
        { "127.0.0.1:8000", 0 },
        { "10.1.2.3:8000", 0 },
        { "127.0.0.1:8001", -ECONNREFUSED },
        { "[::1]:8000", -ECONNREFUSED },
        { "unix:/nowhere", -ECONNREFUSED },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ring_address target = address_of(rows[i].target);
        assert_int_equal(ring_connect(ring, &target, NULL, &id), 0);
        struct turn turn = { 0 };
        while (turn.count[RING_CONNECTED] == 0) turn = one_turn(ring, ring_now(ring) + NS_PER_MS);
        assert_int_equal(turn.last[RING_CONNECTED].result, rows[i].result);
        ring_close(ring, id);
    }
    struct ring_listen adopted = { .fd = 0 };
    assert_int_equal(ring_listen(ring, &adopted, &id), -EOPNOTSUPP);
    ring_release(ring);
    sim_world_free(world);
}

/* A full backlog makes a connect wait a second, as a lost SYN does. */
static void test_full_backlog(void **state) {
    (void)state;
    struct sim_world *world = calm_world();
    struct ring *server = open_ring(world, 8), *client = open_ring(world, 8);
    struct ring_id listener = listen_at(server, "127.0.0.1:80", 1), id;
    struct ring_address address = address_of("127.0.0.1:80");
    ring_accept(server, listener, false);
    for (int i = 0; i < 3; i++) assert_int_equal(ring_connect(client, &address, NULL, &id), 0);
    uint64_t start = sim_now(world);
    uint32_t connected = 0;
    for (int i = 0; i < 20; i++) connected += one_turn(client, start + 500 * NS_PER_MS).count[RING_CONNECTED];
    assert_int_equal(connected, 2); /* backlog + 1, as Linux counts */
    ring_accept(server, listener, true);
    while (connected < 3) {
        one_turn(server, sim_now(world) + NS_PER_MS);
        connected += one_turn(client, sim_now(world) + NS_PER_MS).count[RING_CONNECTED];
    }
    assert_true(sim_now(world) - start >= 1000 * NS_PER_MS);
    ring_release(client);
    ring_release(server);
    sim_world_free(world);
}

static void test_bounds(void **state) {
    (void)state;
    struct sim_world *world = sim_world_new(1, &(struct sim_options){ .connections_max = 2 });
    struct ring *ring = open_ring(world, 8);
    struct ring_address address = address_of("127.0.0.1:9");
    struct ring_id ids[3];
    assert_int_equal(ring_connect(ring, &address, NULL, &ids[0]), 0);
    assert_int_equal(ring_connect(ring, &address, NULL, &ids[1]), 0);
    assert_int_equal(ring_connect(ring, &address, NULL, &ids[2]), -ENOBUFS);
    assert_int_equal(ring_sockets(ring), 2);
    for (int i = 0; i < SIM_DESCRIPTORS_MAX; i++) assert_true(sim_descriptor(world) >= 0);
    assert_int_equal(sim_descriptor(world), -1);
    ring_release(ring);
    sim_world_free(world);
}

static uint32_t order[CLIENTS], ran;

static void note_order(struct ring_job *job) {
    order[ran++] = (uint32_t)(uintptr_t)job->user;
}

/* Jobs of a ring may finish in any order, and do. */
static void test_jobs_finish_in_any_order(void **state) {
    (void)state;
    bool mixed = false;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim_world *world = sim_world_new(seed, &(struct sim_options){ .job_delay_ns_max = 1000 });
        struct ring *ring = open_ring(world, 4);
        struct ring_job jobs[CLIENTS];
        ran = 0;
        for (uint32_t i = 0; i < CLIENTS; i++) {
            jobs[i] = (struct ring_job){ .run = note_order, .user = (void *)(uintptr_t)i };
            ring_offload(ring, &jobs[i]);
        }
        uint32_t finished = 0;
        while (finished < CLIENTS) finished += one_turn(ring, RING_NO_DEADLINE).count[RING_FINISHED];
        assert_int_equal(ran, CLIENTS);
        for (uint32_t i = 0; i < CLIENTS; i++) mixed |= order[i] != i;
        ring_release(ring);
        sim_world_free(world);
    }
    assert_true(mixed);
}

static void test_nothing_is_allocated(void **state) {
    (void)state;
    struct sim_options options;
    everything(&options);
    traffic_start(&traffic, 11, &options);
    size_t before = mallinfo2().uordblks;
    traffic_run(&traffic);
    assert_true(mallinfo2().uordblks == before);
    traffic_end(&traffic);
}

enum { FAULT_ROWS = sizeof fault_rows / sizeof fault_rows[0] };

int main(void) {
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(test_seed_replays),
        cmocka_unit_test(test_calm_world_has_one_course),
        cmocka_unit_test(test_no_fault_unasked),
        cmocka_unit_test(test_an_hour_is_no_time),
        cmocka_unit_test(test_time_waits_for_other_rings),
        cmocka_unit_test(test_stall_is_told),
        cmocka_unit_test(test_drive_says_why_it_ended),
        cmocka_unit_test(test_others_get_their_turns),
        cmocka_unit_test(test_sender_waits_for_room),
        cmocka_unit_test(test_spans_die_with_their_turn),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_full_backlog),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_jobs_finish_in_any_order),
        cmocka_unit_test(test_nothing_is_allocated),
    };
    enum { PLAIN = sizeof plain / sizeof plain[0] };
    static struct CMUnitTest tests[PLAIN + FAULT_ROWS];
    static char names[FAULT_ROWS][64];
    memcpy(tests, plain, sizeof plain);
    for (size_t i = 0; i < FAULT_ROWS; i++) {
        snprintf(names[i], sizeof names[i], "test_fault[%s]", fault_rows[i].name);
        tests[PLAIN + i] = (struct CMUnitTest){
            .name = names[i],
            .test_func = test_fault,
            .initial_state = (void *)(uintptr_t)&fault_rows[i],
        };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
