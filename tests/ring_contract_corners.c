/* Corners: turns that end by their bound, tables full at the wrong moment, closes and releases in between. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_contract.h"

enum { TURN_MAX = 1024 };

static struct ring_job jobs[TURN_MAX];

static void run_nothing(struct ring_job *job) {
    (void)job;
}

/* Jobs that are done, so that the next turn has `n` events before anything that a socket says. */
static void finish_jobs(struct rig *rig, uint32_t n) {
    if (rig->world != NULL) sim_world_options(rig->world)->job_delay_ns_max = 0;
    for (uint32_t i = 0; i < n; i++) {
        jobs[i] = (struct ring_job){ .run = run_nothing };
        ring_offload(rig->ring[SERVER], &jobs[i]);
    }
    if (rig->world == NULL) usleep(30000);
}

/* What a full turn had no room for comes with the next one, which does not sleep before. */
static void full_turn_keeps_the_wake(struct rig *rig) {
    rig_open(rig, &(struct rig_options){ .helpers = true });
    finish_jobs(rig, TURN_MAX);
    ring_wake(rig->ring[SERVER]);
    while (rig->finished[SERVER] < TURN_MAX || rig->wokens[SERVER] == 0) {
        rig_wait(rig, SERVER, rig_far(rig, SERVER));
        RIG_CHECK(rig, rig->ticks[SERVER] == 0);
    }
}

static void full_turn_keeps_readiness(struct rig *rig) {
    enum { PAIRS = 8 };
    struct link *clients[PAIRS];
    rig_open_listening(rig, &(struct rig_options){ .helpers = true });
    for (uint32_t i = 0; i < PAIRS; i++) clients[i] = rig_pair(rig);
    rig_pump_ms(rig, 2);
    finish_jobs(rig, TURN_MAX);
    for (uint32_t i = 0; i < PAIRS; i++) link_send(clients[i], 100);
    rig_wait(rig, CLIENT, rig_far(rig, CLIENT));
    uint64_t received = 0, ticks = rig->ticks[SERVER];
    while (received < 100 * PAIRS || rig->finished[SERVER] < TURN_MAX) { /* a busy machine's helpers may be late */
        rig_wait(rig, SERVER, rig_far(rig, SERVER));
        if (rig->world != NULL) rig_wait(rig, CLIENT, 1);
        RIG_CHECK(rig, rig->ticks[SERVER] == ticks);
        received = ring_counters(rig->ring[SERVER])->received_bytes;
    }
    RIG_CHECK(rig, rig->finished[SERVER] == TURN_MAX);
}

static void close_the_listener(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)link;
    if (side == SERVER && event->type == RING_ACCEPTED) link_close(rig->listener);
}

/* Clients accepted with the one at which the owner closes the listener are not told: only CLOSED follows. */
static void close_listener_at_accept(struct rig *rig) {
    enum { CLIENTS = 20 };
    struct link *clients[CLIENTS];
    rig_open_listening(rig, NULL);
    rig_pump_ms(rig, 2);
    for (uint32_t i = 0; i < CLIENTS; i++) clients[i] = link_connect(rig);
    rig_wait(rig, CLIENT, rig_far(rig, CLIENT));
    rig->on_event = close_the_listener;
    RIG_UNTIL(rig, rig->listener->closed);
    RIG_CHECK(rig, rig->listener->accepts == 1);
    uint32_t ended = 0;
    uint64_t limit = rig_limit(rig), rounds = 0;
    while (ended < CLIENTS - 1) { /* and those see that they are refused or dropped */
        rig_turn(rig);
        RIG_CHECK(rig, !rig_late(rig, limit, rounds++));
        ended = 0;
        for (uint32_t i = 0; i < CLIENTS; i++)
            ended += clients[i]->ended || (clients[i]->answered && clients[i]->connect_result != 0) ? 1 : 0;
    }
}

static void stop_at_accept(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)link;
    if (side == SERVER && event->type == RING_ACCEPTED) ring_accept(rig->ring[SERVER], rig->listener->id, false);
}

/* The owner has no room for a second client: those that came with the first wait, and another listener's don't. */
static void accept_off_at_once(struct rig *rig) {
    enum { CLIENTS = 20 };
    rig_open_listening(rig, &(struct rig_options){ .sockets_max = { 200, 200 } });
    struct link *other = rig_listen(rig, SERVER, "127.0.0.1:0", 16);
    rig_pump_ms(rig, 2);
    for (uint32_t i = 0; i < CLIENTS; i++) link_connect(rig);
    rig_wait(rig, CLIENT, rig_far(rig, CLIENT));
    rig->on_event = stop_at_accept;
    RIG_UNTIL(rig, rig->listener->accepts == 1);
    rig_pump_ms(rig, 20);
    RIG_CHECK(rig, rig->listener->accepts == 1);
    RIG_CHECK(rig, ring_local(rig->ring[SERVER], other->id, &rig->address) == 0);
    for (uint32_t i = 1; i <= 3; i++) {
        link_connect(rig);
        RIG_UNTIL(rig, other->accepts == i);
    }
    for (uint32_t i = 2; i <= CLIENTS; i++) { /* one at a time, as slots come free */
        ring_accept(rig->ring[SERVER], rig->listener->id, true);
        RIG_UNTIL(rig, rig->listener->accepts == i);
        RIG_CHECK(rig, rig->listener->accepts == i);
    }
}

static void close_two_at_the_end(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)link;
    if (side != SERVER || event->type != RING_FINISHED || rig->finished[SERVER] != TURN_MAX - 2) return;
    struct link **idle = rig->user;
    for (uint32_t i = 0; i < 2; i++) link_close(idle[i]);
}

/* A connection came when the table had just filled up, and the slot for it comes free at the very end of a full turn: once
 * it is served, accepting goes on. */
static void accepting_goes_on_after_a_full_turn(struct rig *rig) {
    struct link *idle[2];
    rig_open_listening(rig, &(struct rig_options){ .sockets_max = { 4, 16 }, .helpers = true });
    for (uint32_t i = 0; i < 2; i++) {
        idle[i] = rig_pair(rig)->peer;
        link_mode(idle[i], RING_METERED);
    }
    rig_pump_ms(rig, 2);
    struct link *outgoing = link_new(rig, SERVER); /* takes the last slot */
    RIG_CHECK(rig, ring_connect(rig->ring[SERVER], &rig->address, outgoing, &outgoing->id) == 0);
    RIG_UNTIL(rig, outgoing->answered);
    rig_pump_ms(rig, 5);
    finish_jobs(rig, TURN_MAX - 2);
    rig->user = idle;
    rig->on_event = close_two_at_the_end;
    RIG_UNTIL(rig, rig->listener->accepts == 3);
    link_connect(rig);
    RIG_UNTIL(rig, rig->listener->accepts == 4);
}

/* A release closes each descriptor once: what has its number by then is somebody else's. */
static void release_closes_once(struct rig *rig) {
    rig_open_listening(rig, NULL);
    ring_accept(rig->ring[SERVER], rig->listener->id, false);
    rig_pump_ms(rig, 5);
    link_close(rig->listener);
    int others[16];
    for (uint32_t i = 0; i < 16; i++) others[i] = dup(STDERR_FILENO);
    ring_release(rig->ring[SERVER]);
    rig->ring[SERVER] = NULL;
    for (uint32_t i = 0; i < 16; i++) RIG_CHECK(rig, close(others[i]) == 0);
}

/* Opening with fewer descriptors than it takes fails, or falls back, and keeps none. */
static void open_with_few_descriptors(struct rig *rig) {
    struct rlimit limit;
    RIG_CHECK(rig, getrlimit(RLIMIT_NOFILE, &limit) == 0);
    uint32_t before = process_descriptors();
    int lowest = dup(STDERR_FILENO);
    close(lowest);
    bool opened = false;
    for (uint32_t few = 0; few < 16 && process_descriptors() == before; few++) {
        struct ring_config config = { .choice = rig->row->choice, .sockets_max = 4 };
        struct ring_report report;
        struct ring *ring = NULL;
        ring_tuning_default(&config.tuning);
        config.tuning.files_direct = false; /* for a table of files liburing raises the limit */
        struct rlimit low = { .rlim_cur = (rlim_t)lowest + few, .rlim_max = limit.rlim_max };
        RIG_CHECK(rig, setrlimit(RLIMIT_NOFILE, &low) == 0);
        int32_t error = ring_open(&config, &ring, &report);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        opened = error == 0;
        if (opened) ring_release(ring);
        RIG_CHECK(rig, opened || (error == -EMFILE && report.why[0] != 0));
    }
    RIG_CHECK(rig, opened);
    RIG_CHECK(rig, process_descriptors() == before);
}

/* The hard limit is below what may be open: the table of the ring's own sockets would not fit, so they are descriptors. */
static void low_limit_means_normal_files(struct rig *rig) {
    pid_t pid = fork();
    RIG_CHECK(rig, pid >= 0);
    if (pid == 0) {
        if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 128, 128 }) != 0) _exit(2);
        rig_open_listening(rig, NULL);
        struct link *client = rig_pair(rig);
        link_send(client, 10);
        RIG_UNTIL(rig, client->peer->received == 10);
        _exit(strstr(rig->report[SERVER].features, "files=normal") == NULL ? 3 : 0);
    }
    int status = 0;
    RIG_CHECK(rig, waitpid(pid, &status, 0) == pid);
    RIG_CHECK(rig, status == 0);
}

/* What was handed in and cannot accept costs a try now and then, not a processor. */
static void listener_that_cannot_accept(struct rig *rig) {
    int ends[2];
    rig_open(rig, NULL);
    RIG_CHECK(rig, pipe2(ends, O_CLOEXEC) == 0);
    struct link *link = link_new(rig, SERVER);
    struct ring_listen listen = { .fd = ends[0], .user = link };
    int32_t error = ring_listen(rig->ring[SERVER], &listen, &link->id);
    if (error != 0) close(ends[0]);
    uint64_t calls = rig_calls(rig, SERVER), until = wall_ns() + 250 * UINT64_C(1000000);
    while (wall_ns() < until) rig_wait(rig, SERVER, until);
    RIG_CHECK(rig, rig_calls(rig, SERVER) - calls < 40);
    close(ends[1]);
}

/* A call that needs a descriptor for a moment gives it back, also when its answer comes late: here the completion queue
 * is full of sends. */
static void rare_calls_keep_no_descriptor(struct rig *rig) {
    enum { PAIRS = 60 };
    struct link *clients[PAIRS];
    struct ring_address address;
    rig_open_listening(rig, &(struct rig_options){ .tuning = { NULL, "sq=8,cq=16" } });
    for (uint32_t i = 0; i < PAIRS; i++) clients[i] = rig_pair(rig);
    rig_pump_ms(rig, 5);
    uint32_t before = process_descriptors(), asked = 0;
    for (uint32_t i = 0; i < PAIRS; i++) link_send(clients[i], 10);
    for (uint32_t i = 0; i < PAIRS; i++) asked += ring_peer(rig->ring[CLIENT], clients[i]->id, &address) == 0;
    RIG_CHECK(rig, asked <= PAIRS);
    for (uint32_t i = 0; i < PAIRS; i++) link_shutdown(clients[i]->peer);
    for (uint32_t i = 0; i < PAIRS; i++) RIG_UNTIL(rig, clients[i]->ended && clients[i]->peer->received == 10);
    RIG_CHECK(rig, process_descriptors() == before);
}

static void pause_at_once(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    if (side != SERVER || link == NULL || event->type != RING_RECEIVED || event->result <= 0) return;
    if (link->mode == RING_FREE) link_mode(link, RING_METERED);
    if (rig->user != NULL) link_more(link);
}

/* What is in the completion queue when a socket is paused may be more than a little: none of it is lost. */
static void pause_in_a_flood(struct rig *rig) {
    enum { BYTES = 2 * 1024 * 1024 }; /* without DEFER_TASKRUN all of it comes at once */
    rig_open_listening(rig, &(struct rig_options){ .tuning = { "buffers=1024,buffers-max=1024", NULL } });
    struct link *client = rig_pair(rig), *server = client->peer;
    link_send(client, BYTES);
    for (uint32_t i = 0; i < 50; i++) rig_wait(rig, CLIENT, ring_now(rig->ring[CLIENT]) + 1000000);
    rig->on_event = pause_at_once;
    RIG_UNTIL(rig, server->receives > 0);
    rig_pump_ms(rig, 5);
    RIG_CHECK(rig, server->receives == 1);
    rig->user = rig;
    link_more(server);
    RIG_UNTIL(rig, server->received == BYTES || server->ended);
    RIG_CHECK(rig, server->received == BYTES);
    RIG_CHECK(rig, !server->ended);
}

#define NO_DESCRIPTORS "simulated sockets have no descriptors"

const struct contract_scenario contract_corners[] = {
    { .name = "full_turn_keeps_the_wake", .run = full_turn_keeps_the_wake, .threads = true },
    { .name = "full_turn_keeps_readiness", .run = full_turn_keeps_readiness },
    { .name = "accept_off_at_once", .run = accept_off_at_once },
    { .name = "close_listener_at_accept", .run = close_listener_at_accept },
    { .name = "accepting_goes_on_after_a_full_turn", .run = accepting_goes_on_after_a_full_turn },
    { .name = "release_closes_once", .run = release_closes_once, .needs = ROW_REAL, .skip_reason = NO_DESCRIPTORS },
    { .name = "open_with_few_descriptors", .run = open_with_few_descriptors, .needs = ROW_REAL,
      .skip_reason = NO_DESCRIPTORS },
    { .name = "low_limit_means_normal_files", .run = low_limit_means_normal_files, .needs = ROW_URING,
      .skip_reason = "only io_uring has a table of files" },
    { .name = "listener_that_cannot_accept", .run = listener_that_cannot_accept, .needs = ROW_REAL,
      .skip_reason = NO_DESCRIPTORS },
    { .name = "rare_calls_keep_no_descriptor", .run = rare_calls_keep_no_descriptor, .needs = ROW_REAL,
      .skip_reason = NO_DESCRIPTORS },
    { .name = "pause_in_a_flood", .run = pause_in_a_flood },
    { 0 },
};
