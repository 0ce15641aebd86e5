/* Everything that can run out: buffers, queues, slots, descriptors. Nothing is lost, nobody waits for a timer. */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ring_contract.h"

enum { MANY = 100, MANY_MORE = 200 };

static void connect_many(struct rig *rig, struct link **clients, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) clients[i] = rig_pair(rig);
}

static bool all_sent(struct link *const *clients, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (clients[i]->in_flight != 0) return false;
    return true;
}

static bool all_received(struct link *const *clients, uint32_t n, uint64_t bytes) {
    for (uint32_t i = 0; i < n; i++)
        if (clients[i]->peer->received != bytes) return false;
    return true;
}

/* The clients' side only: what they send piles up before the server looks. */
static void send_all(struct rig *rig, struct link **clients, uint32_t n, size_t bytes) {
    for (uint32_t i = 0; i < n; i++) link_send(clients[i], bytes);
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (!all_sent(clients, n)) {
        rig_wait(rig, CLIENT, ring_now(rig->ring[CLIENT]) + 1000000);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
}

/* Waits with a deadline so far away that nothing may depend on it. */
static void serve_without_ticks(struct rig *rig, struct link **clients, uint32_t n, uint64_t bytes) {
    uint64_t ticks = rig->ticks[SERVER];
    while (!all_received(clients, n, bytes)) {
        rig_wait(rig, SERVER, rig_far(rig, SERVER));
        if (rig->world != NULL) rig_wait(rig, CLIENT, 1); /* there the clients' deadlines hold up time */
        RIG_CHECK(rig, rig->ticks[SERVER] == ticks);
    }
}

/* Two buffers, a hundred connections, all with bytes. */
static void buffers_run_out(struct rig *rig) {
    struct link *clients[MANY];
    rig_open_listening(rig, &(struct rig_options){ .tuning = { "buffers=2,buffers-max=2", NULL } });
    connect_many(rig, clients, MANY);
    for (uint32_t round = 1; round <= 10; round++) {
        send_all(rig, clients, MANY, 6000);
        serve_without_ticks(rig, clients, MANY, 6000 * round);
    }
    const struct ring_counters *counters = ring_counters(rig->ring[SERVER]);
    RIG_CHECK(rig, counters->received_bytes == 6000 * 10 * MANY);
    if (rig->row->choice != RING_EPOLL) RIG_CHECK(rig, counters->no_buffers > 0);
    if (rig->row->choice != RING_EPOLL) RIG_CHECK(rig, counters->rearms_no_buffers > 0);
    RIG_CHECK(rig, counters->buffers_grown == 0);
}

/* While buffers are short, everybody gets a share: when the first has all of its bytes, the last has some of its own. */
static void buffers_run_out_fairly(struct rig *rig) {
    enum { EACH = 256 * 1024 };
    struct link *clients[20];
    rig_open_listening(rig, &(struct rig_options){ .tuning = { "buffers=2,buffers-max=2", NULL } });
    connect_many(rig, clients, 20);
    for (uint32_t i = 0; i < 20; i++) link_send(clients[i], EACH);
    bool first_done = false;
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (!first_done) {
        rig_turn(rig);
        for (uint32_t i = 0; i < 20; i++) first_done |= clients[i]->peer->received == EACH;
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
    for (uint32_t i = 0; i < 20; i++) RIG_CHECK(rig, clients[i]->peer->received > 0);
    RIG_UNTIL(rig, all_received(clients, 20, EACH));
}

static void buffers_grow(struct rig *rig) {
    struct link *clients[MANY];
    rig_open_listening(rig, &(struct rig_options){ .tuning = { "buffers=2,buffers-max=64", NULL } });
    connect_many(rig, clients, MANY);
    for (uint32_t round = 1; round <= 20; round++) {
        send_all(rig, clients, MANY, 6000);
        serve_without_ticks(rig, clients, MANY, 6000 * round);
    }
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->buffers_grown <= 62);
}

static void echo_four(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)rig;
    if (side != SERVER || link == NULL || link->closing) return;
    bool may = event->type == RING_RECEIVED || event->type == RING_SENT;
    if (may && link->in_flight == 0 && link->received > link->out_position)
        link_send(link, link->received - link->out_position);
}

/* Bursts of a hundred completions for a queue of sixteen. */
static void tiny_completion_queue(struct rig *rig) {
    struct link *clients[MANY];
    rig_open_listening(rig, &(struct rig_options){ .tuning = { "sq=8,cq=16", NULL } });
    connect_many(rig, clients, MANY);
    rig->on_event = echo_four;
    for (uint32_t round = 1; round <= 20; round++) {
        send_all(rig, clients, MANY, 100);
        for (uint32_t i = 0; i < MANY; i++) RIG_UNTIL(rig, clients[i]->received == 100 * round);
    }
    RIG_CHECK(rig, all_received(clients, MANY, 2000));
}

/* The kernel says that the queue overflowed, and ends multishots without saying more: both must have been seen. */
static void tiny_completion_queue_is_counted(struct rig *rig) {
    tiny_completion_queue(rig);
    const struct ring_counters *counters = ring_counters(rig->ring[SERVER]);
    RIG_CHECK(rig, counters->overflows > 0);
}

static void connect_burst_at_tiny_queue(struct rig *rig) {
    struct link *clients[MANY];
    rig_open_listening(rig, &(struct rig_options){ .tuning = { "sq=8,cq=16", NULL } });
    rig->on_event = echo_four;
    for (uint32_t i = 0; i < MANY; i++) clients[i] = link_connect(rig);
    for (uint32_t i = 0; i < MANY; i++) RIG_UNTIL(rig, clients[i]->answered);
    for (uint32_t i = 0; i < MANY; i++) link_send(clients[i], 4);
    for (uint32_t i = 0; i < MANY; i++) RIG_UNTIL(rig, clients[i]->received == 4);
    RIG_CHECK(rig, rig->listener->accepts == MANY);
}

static void full_submission_queue(struct rig *rig) {
    struct link *clients[MANY];
    rig_open_listening(rig, &(struct rig_options){ .tuning = { "sq=8", "sq=8" } });
    connect_many(rig, clients, MANY);
    for (uint32_t round = 1; round <= 5; round++) {
        for (uint32_t i = 0; i < MANY; i++) link_send_segments(clients[i], 1000, 1 + i % 8, RING_SEND_LOUD);
        RIG_UNTIL(rig, all_received(clients, MANY, 1000 * round) && all_sent(clients, MANY));
    }
    if (rig_is(rig, ROW_URING | ROW_BATCHED)) RIG_CHECK(rig, ring_counters(rig->ring[CLIENT])->submit_stalls > 0);
    for (uint32_t i = 0; i < MANY; i++) { /* closing takes more than one entry each */
        link_close(clients[i]);
        link_close(clients[i]->peer);
    }
    for (uint32_t i = 0; i < MANY; i++) RIG_UNTIL(rig, clients[i]->closed && clients[i]->peer->closed);
}

static void close_served_clients(struct rig *rig, struct link **clients, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        RIG_CHECK(rig, !clients[i]->ended || clients[i]->received == 4); /* nobody is dropped before it was served */
        if (clients[i]->received == 4 && !clients[i]->closing && clients[i]->in_flight == 0) link_close(clients[i]);
    }
}

static void close_ended_servers(struct rig *rig) {
    for (uint32_t i = 0; i < rig->links_used; i++) {
        struct link *link = &rig->links[i];
        if (link->side == SERVER && link->ended && !link->closing && link->in_flight == 0) link_close(link);
    }
}

/* More clients than slots: they wait, none is dropped, closes let the next ones in. */
static void serve_more_than_slots(struct rig *rig, uint32_t slots, uint32_t n) {
    struct link *clients[MANY_MORE];
    rig_open_listening(rig, &(struct rig_options){ .sockets_max = { slots + 1, MANY_MORE } });
    rig->on_event = echo_four;
    for (uint32_t i = 0; i < n; i++) clients[i] = link_connect(rig);
    uint64_t limit = rig_limit(rig), rounds = 0;
    for (uint32_t i = 0; i < n; i++) {
        while (!clients[i]->answered) { /* the backlog takes them all before the server looks */
            rig_wait(rig, CLIENT, ring_now(rig->ring[CLIENT]) + 1000000);
            RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
        }
        RIG_CHECK(rig, clients[i]->connect_result == 0);
        link_send(clients[i], 4);
    }
    RIG_UNTIL(rig, ring_counters(rig->ring[CLIENT])->received_bytes == slots * 4);
    rig_pump_ms(rig, 20);
    RIG_CHECK(rig, rig->listener->accepts == slots);
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == slots + 1);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->accept_pauses > 0);
    while (ring_sockets(rig->ring[CLIENT]) > 0) {
        close_served_clients(rig, clients, n);
        close_ended_servers(rig);
        rig_turn(rig);
        RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) <= slots + 1);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
    RIG_CHECK(rig, rig->listener->accepts == n);
}

static void full_slot_table(struct rig *rig) {
    serve_more_than_slots(rig, 4, 30);
}

/* So many at once that a backend may have accepted more than it has slots for by the time it notices. */
static void full_slot_table_at_once(struct rig *rig) {
    serve_more_than_slots(rig, 80, MANY_MORE);
}

/* No descriptor is left: clients wait, the ring does not spin, and goes on when there is one again. An accept that io_uring
 * had armed before takes one client still, as it remembers the limit; a multishot, or a ring whose sockets are no descriptors
 * of the process, takes them all at once, which is as good. */
static void no_descriptors(struct rig *rig) {
    enum { CLIENTS = 12 };
    int clients[CLIENTS];
    struct rlimit limit;
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < CLIENTS; i++) clients[i] = socket(AF_INET, SOCK_STREAM, 0);
    RIG_CHECK(rig, getrlimit(RLIMIT_NOFILE, &limit) == 0);
    struct rlimit low = { .rlim_cur = 3, .rlim_max = limit.rlim_max };
    RIG_CHECK(rig, setrlimit(RLIMIT_NOFILE, &low) == 0);
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (connect(clients[i], (struct sockaddr *)&rig->address.storage, rig->address.len) != 0) rig->seed = 0;
    uint64_t calls = rig_calls(rig, SERVER), until = wall_ns() + 250 * UINT64_C(1000000);
    while (wall_ns() < until) rig_wait(rig, SERVER, until);
    uint64_t spent = rig_calls(rig, SERVER) - calls;
    bool waited = rig->listener->accepts <= 1, took_all = rig->listener->accepts == CLIENTS;
    RIG_CHECK(rig, setrlimit(RLIMIT_NOFILE, &limit) == 0); /* before anything may fail */
    RIG_CHECK(rig, rig->seed != 0);
    RIG_CHECK(rig, waited || took_all);
    RIG_CHECK(rig, spent < 40);
    if (waited) RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->accept_errors > 0);
    if (waited) RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->accept_pauses > 0);
    RIG_UNTIL(rig, rig->listener->accepts == CLIENTS);
    for (uint32_t i = 0; i < CLIENTS; i++) close(clients[i]);
}

/* The simulator's kind of the same: accepting fails for 100 ms now and then. */
static void accept_fails_for_a_while(struct rig *rig) {
    rig_open_listening(rig, NULL);
    sim_world_options(rig->world)->emfile_ppm = 200000;
    for (uint32_t i = 0; i < MANY; i++) link_connect(rig);
    RIG_UNTIL(rig, rig->listener->accepts == MANY);
    RIG_CHECK(rig, sim_faults(rig->world)->emfiles > 0);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->accept_errors == sim_faults(rig->world)->emfiles);
}

/* Offloaded jobs are events without a socket: three turns' worth of them. */
static void run_nothing(struct ring_job *job) {
    (void)job;
}

static void turns_are_bounded(struct rig *rig) {
    enum { JOBS = 3000, TURN_MAX = 1024 };
    static struct ring_job jobs[JOBS];
    rig_open(rig, &(struct rig_options){ .helpers = true });
    if (rig->world != NULL) sim_world_options(rig->world)->job_delay_ns_max = 0;
    for (uint32_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct ring_job){ .run = run_nothing };
        ring_offload(rig->ring[SERVER], &jobs[i]);
    }
    if (rig->world == NULL) usleep(50000); /* they are done, and none was collected */
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (rig->finished[SERVER] < JOBS) {
        RIG_CHECK(rig, rig_wait(rig, SERVER, rig_far(rig, SERVER)) <= TURN_MAX);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
    }
    RIG_CHECK(rig, rig->ticks[SERVER] == 0);
}

#define ONE_QUEUE "only io_uring has a completion queue"

const struct contract_scenario contract_limits[] = {
    { .name = "buffers_run_out", .run = buffers_run_out },
    { .name = "buffers_run_out_fairly", .run = buffers_run_out_fairly },
    { .name = "buffers_grow", .run = buffers_grow },
    { .name = "tiny_completion_queue", .run = tiny_completion_queue, .needs = ROW_URING, .skip_reason = ONE_QUEUE },
    { .name = "tiny_completion_queue_is_counted", .run = tiny_completion_queue_is_counted, .needs = ROW_URING,
      .skip_reason = ONE_QUEUE },
    { .name = "connect_burst_at_tiny_queue", .run = connect_burst_at_tiny_queue, .needs = ROW_URING,
      .skip_reason = ONE_QUEUE },
    { .name = "full_submission_queue", .run = full_submission_queue },
    { .name = "full_slot_table", .run = full_slot_table },
    { .name = "full_slot_table_at_once", .run = full_slot_table_at_once },
    { .name = "no_descriptors", .run = no_descriptors, .needs = ROW_REAL,
      .skip_reason = "simulated sockets have no descriptors" },
    { .name = "accept_fails_for_a_while", .run = accept_fails_for_a_while, .excludes = ROW_REAL,
      .skip_reason = "only the simulator fails on demand" },
    { .name = "turns_are_bounded", .run = turns_are_bounded, .threads = true },
    { 0 },
};
