/* Turns: deadlines, wakes, watches, jobs, quiet sends, fairness. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring_contract.h"

#define NS_PER_MS UINT64_C(1000000)
#define LONG_NS (30000 * NS_PER_MS)

/* Bounds on how long something takes are for the best of so many: the machine may have something else to do meanwhile. */
enum { TRIES = 20 };

/* ----------------------------------------------------------------------------------------------------- deadlines ---- */

/* How late it was. */
static uint64_t tick_once(struct rig *rig, uint64_t ns) {
    rig_wait(rig, SERVER, 1);
    uint64_t deadline = ring_now(rig->ring[SERVER]) + ns, ticks = rig->ticks[SERVER];
    while (rig->ticks[SERVER] == ticks) {
        rig_wait(rig, SERVER, deadline);
        RIG_CHECK(rig, rig->ticks[SERVER] == ticks || ring_now(rig->ring[SERVER]) >= deadline);
    }
    return ring_now(rig->ring[SERVER]) - deadline;
}

static void tick_is_not_early(struct rig *rig) {
    rig_open_listening(rig, NULL);
    static const uint64_t waits_us[] = { 1, 50, 300, 1000, 1001, 7000, 20000 };
    for (size_t i = 0; i < sizeof waits_us / sizeof waits_us[0]; i++) {
        uint64_t late = UINT64_MAX;
        for (uint32_t tries = 0; tries < TRIES && late >= 200 * NS_PER_MS; tries++) late = tick_once(rig, waits_us[i] * 1000);
        RIG_CHECK(rig, late < 200 * NS_PER_MS);
    }
}

static void poll_does_not_sleep(struct rig *rig) {
    rig_open_listening(rig, NULL);
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < 20; i++) {
        uint64_t start = wall_ns(), ticks = rig->ticks[SERVER];
        rig_wait(rig, SERVER, 1);
        RIG_CHECK(rig, rig->ticks[SERVER] == ticks + 1);
        uint64_t spent = wall_ns() - start;
        if (spent < best) best = spent;
    }
    RIG_CHECK(rig, best < NS_PER_MS);
}

static void clocks_go_forward(struct rig *rig) {
    rig_open_listening(rig, NULL);
    uint64_t before = ring_now(rig->ring[SERVER]);
    int64_t wall = ring_wall_seconds(rig->ring[SERVER]);
    RIG_CHECK(rig, before != RING_NO_DEADLINE);
    uint32_t ms = rig->world != NULL ? 1100 : 20;
    rig_pump_ms(rig, ms);
    RIG_CHECK(rig, ring_now(rig->ring[SERVER]) >= before + (ms - 2) * NS_PER_MS);
    RIG_CHECK(rig, ring_wall_seconds(rig->ring[SERVER]) >= wall + ms / 1000);
    RIG_CHECK(rig, ring_wall_seconds(rig->ring[SERVER]) <= wall + 5);
    if (rig->world == NULL) RIG_CHECK(rig, labs(ring_wall_seconds(rig->ring[SERVER]) - time(NULL)) <= 1);
    RIG_CHECK(rig, ring_random(rig->ring[SERVER]) != ring_random(rig->ring[SERVER]));
}

/* False when the machine had something else to do, so that other turns took long, too. */
static bool busy_time_shows(struct rig *rig) {
    rig_open_listening(rig, NULL);
    const struct ring_counters *counters = ring_counters(rig->ring[SERVER]);
    rig_wait(rig, SERVER, ring_now(rig->ring[SERVER]) + 30 * NS_PER_MS);
    uint64_t ns = counters->busy_ns;
    if (counters->busy_max_ns >= 25 * NS_PER_MS) return false;
    usleep(30000);
    rig_wait(rig, SERVER, ring_now(rig->ring[SERVER]) + NS_PER_MS);
    RIG_CHECK(rig, counters->busy_ns >= ns + 30 * NS_PER_MS);
    RIG_CHECK(rig, counters->busy_max_ns >= 30 * NS_PER_MS && counters->busy_max_ns <= counters->busy_ns);
    uint64_t turns = 0, long_ones = 0;
    for (uint32_t i = 0; i < RING_BUSY_BUCKETS; i++) {
        turns += counters->busy[i];
        if (i >= 11) long_ones += counters->busy[i]; /* 2^(10 + 14) ns is 17 ms */
    }
    RIG_CHECK(rig, long_ones >= 1);
    RIG_CHECK(rig, turns <= counters->turns);
    return long_ones == 1;
}

/* What happens between two waits is counted as the turn's; the sleep is not. */
static void busy_time_is_counted(struct rig *rig) {
    for (uint32_t tries = 1; !busy_time_shows(rig); tries++) {
        RIG_CHECK(rig, tries < TRIES);
        rig_reopen(rig);
    }
}

/* --------------------------------------------------------------------------------------------------------- wakes ---- */

static void wakes_become_one(struct rig *rig) {
    rig_open_listening(rig, NULL);
    rig_pump_ms(rig, 2);
    uint64_t calls = ring_counters(rig->ring[SERVER])->calls[RING_CALL_write];
    for (uint32_t i = 0; i < 1000; i++) ring_wake(rig->ring[SERVER]);
    rig_wait(rig, SERVER, rig_far(rig, SERVER));
    while (rig->wokens[SERVER] == 0) rig_wait(rig, SERVER, rig_far(rig, SERVER));
    rig_pump_ms(rig, 5);
    RIG_CHECK(rig, rig->wokens[SERVER] == 1);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->wakes == 1);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->calls[RING_CALL_write] <= calls + 1);
    ring_wake(rig->ring[SERVER]);
    RIG_UNTIL(rig, rig->wokens[SERVER] == 2);
}

struct waker {
    struct ring *ring;
    atomic_uint asked, seen;
    uint32_t count;
    bool in_step; /* the next wake only when the last one was seen */
    atomic_bool stop;
};

static void *wake_many(void *arg) {
    struct waker *waker = arg;
    for (uint32_t i = 1; i <= waker->count && !atomic_load(&waker->stop); i++) {
        atomic_store(&waker->asked, i);
        ring_wake(waker->ring);
        while (waker->in_step && atomic_load(&waker->seen) != i && !atomic_load(&waker->stop)) sched_yield();
    }
    return NULL;
}

static void count_wakes(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)side;
    (void)link;
    struct waker *waker = rig->user;
    if (event->type == RING_WOKEN) atomic_store(&waker->seen, atomic_load(&waker->asked));
}

/* Never lost: what was asked for before a wake is seen at its WOKEN. A lost one makes the sleep end by its deadline. */
static bool hammer(struct rig *rig, bool in_step, uint32_t count) {
    struct waker waker = { .ring = rig->ring[SERVER], .count = count, .in_step = in_step };
    pthread_t thread;
    rig->user = &waker;
    rig->on_event = count_wakes;
    RIG_CHECK(rig, pthread_create(&thread, NULL, wake_many, &waker) == 0);
    uint64_t until = wall_ns() + LONG_NS, ticks = rig->ticks[SERVER];
    bool lost = false;
    while (atomic_load(&waker.seen) != count && !lost) {
        rig_wait(rig, SERVER, rig_far(rig, SERVER));
        if (rig->world != NULL) sched_yield(); /* it has not slept: on one processor the other thread waits for this one */
        lost = wall_ns() > until || (rig->world == NULL && rig->ticks[SERVER] != ticks);
    }
    atomic_store(&waker.stop, true);
    pthread_join(thread, NULL);
    rig->on_event = NULL;
    return !lost;
}

static void wakes_are_never_lost(struct rig *rig) {
    uint32_t many = rig->world != NULL ? 40 : 3000; /* the simulator spins where the others sleep */
    rig_open_listening(rig, NULL);
    RIG_CHECK(rig, hammer(rig, true, many));
    RIG_CHECK(rig, hammer(rig, false, 50000));
    RIG_CHECK(rig, hammer(rig, true, many));
}

static void *wake_later(void *arg) {
    usleep(20000);
    ring_wake(arg);
    return NULL;
}

static void wake_ends_a_sleep(struct rig *rig) {
    rig_open_listening(rig, NULL);
    rig_wait(rig, SERVER, 1);
    pthread_t thread;
    uint64_t start = wall_ns();
    RIG_CHECK(rig, pthread_create(&thread, NULL, wake_later, rig->ring[SERVER]) == 0);
    while (rig->wokens[SERVER] == 0 && wall_ns() < start + LONG_NS) rig_wait(rig, SERVER, RING_NO_DEADLINE);
    pthread_join(thread, NULL);
    RIG_CHECK(rig, rig->wokens[SERVER] == 1);
    RIG_CHECK(rig, wall_ns() - start < LONG_NS);
}

/* ------------------------------------------------------------------------------------------------------- watches ---- */

/* A pipe whose read end is watched; in the simulator a fake descriptor that is said to be one. */
struct pipework {
    int read_fd, write_fd;
};

static void pipe_open(struct rig *rig, struct pipework *pipework) {
    int fds[2] = { -1, -1 };
    if (rig->world != NULL) {
        fds[0] = fds[1] = sim_descriptor(rig->world);
        RIG_CHECK(rig, fds[0] >= 0);
    } else {
        RIG_CHECK(rig, pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    }
    *pipework = (struct pipework){ fds[0], fds[1] };
}

static void pipe_write(struct rig *rig, const struct pipework *pipework) {
    if (rig->world != NULL)
        sim_set_ready(rig->world, pipework->read_fd, RING_READABLE);
    else
        RIG_CHECK(rig, write(pipework->write_fd, "x", 1) == 1);
}

static void pipe_read(struct rig *rig, const struct pipework *pipework) {
    char bytes[16];
    if (rig->world != NULL)
        sim_set_ready(rig->world, pipework->read_fd, 0);
    else
        RIG_CHECK(rig, read(pipework->read_fd, bytes, sizeof bytes) > 0);
}

static void pipe_hang_up(struct rig *rig, struct pipework *pipework) {
    if (rig->world != NULL)
        sim_set_ready(rig->world, pipework->read_fd, RING_HANGUP);
    else
        close(pipework->write_fd);
    pipework->write_fd = -1;
}

static void pipe_close(struct rig *rig, struct pipework *pipework) {
    if (rig->world != NULL) return;
    RIG_CHECK(rig, fcntl(pipework->read_fd, F_GETFD) >= 0); /* the ring has left it open */
    close(pipework->read_fd);
    if (pipework->write_fd >= 0) close(pipework->write_fd);
}

static struct link *watch(struct rig *rig, int fd, uint32_t interest, bool persistent) {
    struct link *link = link_new(rig, SERVER);
    RIG_CHECK(rig, ring_watch(rig->ring[SERVER], fd, interest, persistent, link, &link->id) == 0);
    return link;
}

static void end_watch(struct rig *rig, struct link *link, struct pipework *pipework) {
    link_close(link);
    RIG_UNTIL(rig, link->closed);
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == 0);
    pipe_close(rig, pipework);
}

static void watch_once(struct rig *rig) {
    struct pipework pipework;
    rig_open(rig, NULL);
    pipe_open(rig, &pipework);
    struct link *link = watch(rig, pipework.read_fd, RING_READABLE, false);
    rig_pump_ms(rig, 5);
    RIG_CHECK(rig, link->readies == 0);
    pipe_write(rig, &pipework);
    RIG_UNTIL(rig, link->readies == 1);
    RIG_CHECK(rig, link->ready == RING_READABLE);
    pipe_read(rig, &pipework);
    pipe_write(rig, &pipework);
    rig_pump_ms(rig, 10);
    RIG_CHECK(rig, link->readies == 1); /* nobody has asked again */
    ring_rewatch(rig->ring[SERVER], link->id, RING_READABLE);
    RIG_UNTIL(rig, link->readies == 2); /* it was ready already */
    pipe_read(rig, &pipework);
    ring_rewatch(rig->ring[SERVER], link->id, RING_READABLE);
    rig_pump_ms(rig, 10);
    RIG_CHECK(rig, link->readies == 2);
    pipe_write(rig, &pipework);
    RIG_UNTIL(rig, link->readies == 3);
    end_watch(rig, link, &pipework);
}

static void watch_persistent(struct rig *rig) {
    struct pipework pipework;
    rig_open(rig, NULL);
    pipe_open(rig, &pipework);
    struct link *link = watch(rig, pipework.read_fd, RING_READABLE, true);
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t readies = link->readies;
        pipe_write(rig, &pipework);
        RIG_UNTIL(rig, link->readies > readies);
        RIG_CHECK(rig, link->ready == RING_READABLE);
        pipe_read(rig, &pipework);
        rig_turn(rig);
    }
    uint32_t readies = link->readies;
    rig_pump_ms(rig, 10);
    RIG_CHECK(rig, link->readies == readies);
    end_watch(rig, link, &pipework);
}

static void watch_hang_up(struct rig *rig, bool persistent) {
    struct pipework pipework;
    rig_open(rig, NULL);
    pipe_open(rig, &pipework);
    struct link *link = watch(rig, pipework.read_fd, RING_READABLE, persistent);
    rig_pump_ms(rig, 2);
    pipe_hang_up(rig, &pipework);
    RIG_UNTIL(rig, link->readies > 0);
    RIG_CHECK(rig, (link->ready & RING_HANGUP) != 0);
    rig_pump_ms(rig, 10);
    RIG_CHECK(rig, link->readies == 1); /* spent: no storm of events */
    end_watch(rig, link, &pipework);
}

static void watch_hang_up_once(struct rig *rig) {
    watch_hang_up(rig, false);
}

static void watch_hang_up_persistent(struct rig *rig) {
    watch_hang_up(rig, true);
}

static void watch_writable(struct rig *rig) {
    struct pipework pipework;
    rig_open(rig, NULL);
    pipe_open(rig, &pipework);
    if (rig->world != NULL) sim_set_ready(rig->world, pipework.write_fd, RING_WRITABLE);
    struct link *link = watch(rig, pipework.write_fd, RING_WRITABLE, false);
    RIG_UNTIL(rig, link->readies == 1);
    RIG_CHECK(rig, link->ready == RING_WRITABLE);
    end_watch(rig, link, &pipework);
}

/* Its READY may be on its way already. */
static void watch_close_while_ready(struct rig *rig) {
    rig_open(rig, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        struct pipework pipework;
        pipe_open(rig, &pipework);
        struct link *link = watch(rig, pipework.read_fd, RING_READABLE, i % 2 == 0);
        if (i % 4 < 2) rig_turn(rig);
        pipe_write(rig, &pipework);
        end_watch(rig, link, &pipework);
    }
}

static void watch_plain_file(struct rig *rig) {
    rig_open(rig, NULL);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct ring_id id;
    RIG_CHECK(rig, fd >= 0);
    RIG_CHECK(rig, ring_watch(rig->ring[SERVER], fd, RING_READABLE, false, NULL, &id) == -EPERM);
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == 0);
    close(fd);
}

/* ---------------------------------------------------------------------------------------------------------- jobs ---- */

enum { JOBS = 100 };

struct numbered_job {
    struct ring_job job; /* first */
    atomic_uint runs;
    uint32_t finishes;
};

static void run_numbered(struct ring_job *job) {
    atomic_fetch_add(&((struct numbered_job *)(void *)job)->runs, 1);
}

static void finish_numbered(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)link;
    if (event->type != RING_FINISHED) return;
    RIG_CHECK(rig, side == SERVER);
    RIG_CHECK(rig, event->job->user == rig);
    struct numbered_job *job = (struct numbered_job *)(void *)event->job;
    RIG_CHECK(rig, atomic_load(&job->runs) == job->finishes + 1);
    job->finishes++;
}

static void offloaded_jobs(struct rig *rig) {
    static struct numbered_job jobs[JOBS];
    rig_open(rig, &(struct rig_options){ .helpers = true });
    rig->on_event = finish_numbered;
    memset(jobs, 0, sizeof jobs);
    for (uint32_t i = 0; i < JOBS; i++) {
        jobs[i].job = (struct ring_job){ .run = run_numbered, .user = rig };
        ring_offload(rig->ring[SERVER], &jobs[i].job);
        if (i % 10 == 9) rig_turn(rig);
    }
    RIG_UNTIL(rig, rig->finished[SERVER] == JOBS);
    rig_pump_ms(rig, 5);
    for (uint32_t i = 0; i < JOBS; i++) {
        RIG_CHECK(rig, atomic_load(&jobs[i].runs) == 1);
        RIG_CHECK(rig, jobs[i].finishes == 1);
    }
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->jobs == JOBS);
    RIG_CHECK(rig, rig->wokens[SERVER] == 0); /* a finished job is no ring_wake */
    jobs[0].finishes = 0;
    atomic_store(&jobs[0].runs, 0);
    ring_offload(rig->ring[SERVER], &jobs[0].job); /* again, with the same memory */
    RIG_UNTIL(rig, rig->finished[SERVER] == JOBS + 1);
}

static void run_slowly(struct ring_job *job) {
    usleep(2000);
    atomic_fetch_add((atomic_uint *)job->user, 1);
}

/* A helper must be done with a ring before its memory goes; that the jobs run is what their owners count on. */
static void release_with_jobs_under_way(struct rig *rig) {
    static struct ring_job jobs[10];
    atomic_uint runs = 0;
    rig_open(rig, &(struct rig_options){ .helpers = true });
    for (uint32_t i = 0; i < 10; i++) {
        jobs[i] = (struct ring_job){ .run = run_slowly, .user = &runs };
        ring_offload(rig->ring[SERVER], &jobs[i]);
    }
    rig_wait(rig, SERVER, 1);
    ring_release(rig->ring[SERVER]);
    rig->ring[SERVER] = NULL;
    RIG_CHECK(rig, atomic_load(&runs) == 10);
}

/* --------------------------------------------------------------------------------------------------- quiet sends ---- */

/* Nothing else happens: SENT comes all the same, and long before the deadline. */
static void quiet_send_alone(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig);
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 1; i <= 20; i++) {
        rig_wait(rig, CLIENT, 1);
        uint64_t start = ring_now(rig->ring[CLIENT]);
        link_send_segments(client, 100, 1, RING_SEND_QUIET);
        while (client->sents < i) rig_wait(rig, CLIENT, rig_far(rig, CLIENT));
        uint64_t spent = ring_now(rig->ring[CLIENT]) - start;
        if (spent < best) best = spent;
        RIG_UNTIL(rig, client->peer->received == 100 * (uint64_t)i);
    }
    RIG_CHECK(rig, best <= 13 * NS_PER_MS);
}

/* Sends quietly until the socket takes no more, each time with a byte on its way to us over another connection. Returns how
 * long the byte took whose send got stuck. */
static uint64_t stick(struct rig *rig, struct link *client, struct link *other) {
    link_mode(client->peer, RING_METERED);
    rig_pump_ms(rig, 2);
    for (uint32_t i = 1; i <= 2000; i++) {
        uint64_t wanted = other->received + 1;
        RIG_UNTIL(rig, other->peer->in_flight == 0);
        rig_wait(rig, CLIENT, 1);
        uint64_t start = ring_now(rig->ring[CLIENT]);
        link_send(other->peer, 1);
        rig_wait(rig, SERVER, 1);
        link_send_segments(client, 16384, 1, RING_SEND_QUIET);
        while (other->received < wanted) rig_wait(rig, CLIENT, rig_far(rig, CLIENT));
        if (client->in_flight > 0) return ring_now(rig->ring[CLIENT]) - start;
    }
    return UINT64_MAX;
}

/* A quiet send that does not complete at once keeps nothing else waiting. */
static void stuck_quiet_send(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *other = rig_pair(rig);
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < TRIES && best >= 8 * NS_PER_MS; i++) {
        uint64_t spent = stick(rig, rig_pair(rig), other);
        if (spent < best) best = spent;
    }
    RIG_CHECK(rig, best < 8 * NS_PER_MS);
}

static void answer_quietly(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    (void)rig;
    if (event->type != RING_RECEIVED && event->type != RING_SENT) return;
    bool ours = link->received >= link->out_position + (side == SERVER ? 100 : 0);
    if (link->in_flight == 0 && ours)
        link_send_segments(link, 100, 1, RING_SEND_QUIET);
}

/* Ping-pong on a few connections: the server never needs more than one system call per turn. */
static void one_call_per_turn(struct rig *rig) {
    enum { CLIENTS = 8, BYTES = 100 * 100 };
    struct link *clients[CLIENTS];
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < CLIENTS; i++) clients[i] = rig_pair(rig);
    rig_pump_ms(rig, 2);
    rig->on_event = answer_quietly;
    const struct ring_counters *counters = ring_counters(rig->ring[SERVER]);
    uint64_t calls = rig_calls(rig, SERVER), turns = counters->turns;
    for (uint32_t i = 0; i < CLIENTS; i++) link_send(clients[i], 100);
    for (uint32_t i = 0; i < CLIENTS; i++) RIG_UNTIL(rig, clients[i]->received >= BYTES);
    calls = rig_calls(rig, SERVER) - calls;
    turns = counters->turns - turns;
    RIG_CHECK(rig, turns >= 100);
    RIG_CHECK(rig, calls <= turns + turns / 50);
}

/* ------------------------------------------------------------------------------------------------------ fairness ---- */

enum { POLITE = 10, EXCHANGES = 50, FLOOD_BYTES = 64 * 1024 };

static void flood_and_ping(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    if (link == NULL) return;
    bool floods = link == rig->user || link->peer == rig->user;
    if (floods) {
        if (side == CLIENT && event->type == RING_SENT) link_send(link, FLOOD_BYTES);
        return;
    }
    if (event->type != RING_RECEIVED && event->type != RING_SENT) return;
    bool answered = side == CLIENT ? link->received == link->out_position : link->received > link->out_position;
    if (link->in_flight == 0 && answered) link_send(link, 16);
}

static void flooder_and_polite(struct rig *rig) {
    struct link *polite[POLITE];
    rig_open_listening(rig, NULL);
    struct link *flooder = rig_pair(rig);
    for (uint32_t i = 0; i < POLITE; i++) polite[i] = rig_pair(rig);
    rig->user = flooder;
    rig->on_event = flood_and_ping;
    for (uint32_t i = 0; i < POLITE; i++) link_send(polite[i], 16);
    link_send(flooder, FLOOD_BYTES);
    uint64_t turns = ring_counters(rig->ring[SERVER])->turns;
    for (uint32_t i = 0; i < POLITE; i++) RIG_UNTIL(rig, polite[i]->received >= 16 * EXCHANGES);
    turns = ring_counters(rig->ring[SERVER])->turns - turns;
    RIG_CHECK(rig, flooder->peer->received > FLOOD_BYTES); /* it has flooded */
    if (rig_is(rig, ROW_ROUGH)) return;                    /* there every byte is late, the polite ones' too */
    RIG_CHECK(rig, turns < 20 * EXCHANGES);
}


const struct contract_scenario contract_turns[] = {
    { .name = "tick_is_not_early", .run = tick_is_not_early },
    { .name = "poll_does_not_sleep", .run = poll_does_not_sleep },
    { .name = "clocks_go_forward", .run = clocks_go_forward },
    { .name = "busy_time_is_counted", .run = busy_time_is_counted, .needs = ROW_REAL,
      .skip_reason = "the simulator's clock stands still while a turn works" },
    { .name = "wakes_become_one", .run = wakes_become_one, .threads = true },
    { .name = "wakes_are_never_lost", .run = wakes_are_never_lost, .threads = true },
    { .name = "wake_ends_a_sleep", .run = wake_ends_a_sleep, .threads = true },
    { .name = "watch_once", .run = watch_once },
    { .name = "watch_persistent", .run = watch_persistent },
    { .name = "watch_hang_up_once", .run = watch_hang_up_once },
    { .name = "watch_hang_up_persistent", .run = watch_hang_up_persistent },
    { .name = "watch_writable", .run = watch_writable },
    { .name = "watch_close_while_ready", .run = watch_close_while_ready },
    { .name = "watch_plain_file", .run = watch_plain_file },
    { .name = "offloaded_jobs", .run = offloaded_jobs, .threads = true },
    { .name = "release_with_jobs_under_way", .run = release_with_jobs_under_way, .threads = true },
    { .name = "quiet_send_alone", .run = quiet_send_alone },
    { .name = "stuck_quiet_send", .run = stuck_quiet_send, .needs = ROW_URING | ROW_BATCHED,
      .skip_reason = "only a ring that batches waits for quiet sends" },
    { .name = "one_call_per_turn", .run = one_call_per_turn, .needs = ROW_URING | ROW_BATCHED,
      .skip_reason = "only a ring that batches can do a turn in one system call" },
    { .name = "flooder_and_polite", .run = flooder_and_polite },
    { 0 },
};
