/* Descriptors: lines of exchanges that wait for one, watches and timers without a client. */
#include "server_rig.h"

static struct rig rig;
static int fds[2];
static char order[64]; /* one letter for each handler that went on, as the query named it */
static unsigned readiness[64];
static bool reads_all; /* who goes on leaves nothing to read */

static enum rm_step served(struct rm_exchange *x) {
    size_t n = strlen(order);
    struct span name = rm_query_string(x);
    order[n] = name.len > 0 ? name.data[0] : '?';
    readiness[n] = rm_ready(x);
    if (reads_all) {
        sim_set_ready(rig.world, fds[0], 0);
    }
    char text[32];
    snprintf(text, sizeof text, "ready %u", rm_ready(x));
    return rm_text(x, 200, text);
}

static enum rm_step wait_for(struct rm_exchange *x, int fd, unsigned interest) {
    rm_wait_fd(x, fd, interest);
    rm_then(x, served);
    return RM_PARK;
}

static enum rm_step readable(struct rm_exchange *x) {
    return wait_for(x, fds[0], RM_READABLE);
}

static enum rm_step writable(struct rm_exchange *x) {
    return wait_for(x, fds[0], RM_WRITABLE);
}

static enum rm_step either(struct rm_exchange *x) {
    return wait_for(x, fds[0], RM_READABLE | RM_WRITABLE);
}

static enum rm_step other(struct rm_exchange *x) {
    return wait_for(x, fds[1], RM_READABLE);
}

/* Two descriptors: it goes on when both are ready. */
static enum rm_step both(struct rm_exchange *x) {
    rm_wait_fd(x, fds[1], RM_READABLE);
    return wait_for(x, fds[0], RM_READABLE);
}

static enum rm_step twice(struct rm_exchange *x) {
    rm_wait_fd(x, fds[0], RM_READABLE);
    return wait_for(x, fds[0], RM_WRITABLE);
}

static enum rm_step no_interest(struct rm_exchange *x) {
    return wait_for(x, fds[0], 0);
}

static enum rm_step no_descriptor(struct rm_exchange *x) {
    return wait_for(x, 12345, RM_READABLE);
}

static enum rm_step again(struct rm_exchange *x) {
    int *left = rm_state(x);
    sim_set_ready(rig.world, fds[0], 0);
    if (--*left == 0) {
        return rm_text(x, 200, "done");
    }
    rm_wait_fd(x, fds[0], RM_READABLE);
    rm_then(x, again);
    return RM_PARK;
}

static enum rm_step chain(struct rm_exchange *x) {
    int *left = rm_alloc(x, sizeof *left);
    *left = 3;
    rm_set_state(x, left);
    rm_wait_fd(x, fds[0], RM_READABLE);
    rm_then(x, again);
    return RM_PARK;
}

static enum rm_step dies_twice(struct rm_exchange *x) {
    readiness[0] = rm_ready(x);
    rm_wait_fd(x, fds[0], RM_READABLE); /* dead already: a watch of its own, which says so again */
    rm_then(x, served);
    return RM_PARK;
}

static enum rm_step dead_again(struct rm_exchange *x) {
    rm_wait_fd(x, fds[0], RM_READABLE);
    rm_then(x, dies_twice);
    return RM_PARK;
}

static enum rm_step ended(struct rm_exchange *x) {
    readiness[0] = rm_ready(x);
    order[0] = 'e';
    return rm_text(x, 200, "ended");
}

static enum rm_step with_end(struct rm_exchange *x) {
    rm_on_end(x, ended);
    return wait_for(x, fds[0], RM_READABLE);
}

static bool piece(struct rm_exchange *x, struct span bytes) {
    (void)bytes;
    rm_wait_fd(x, fds[0], RM_READABLE);
    return true;
}

static const struct rm_route routes[] = {
    { "GET", "/readable", readable, RM_BODY_NONE, NULL },
    { "GET", "/writable", writable, RM_BODY_NONE, NULL },
    { "GET", "/either", either, RM_BODY_NONE, NULL },
    { "GET", "/other", other, RM_BODY_NONE, NULL },
    { "GET", "/both", both, RM_BODY_NONE, NULL },
    { "GET", "/twice", twice, RM_BODY_NONE, NULL },
    { "GET", "/chain", chain, RM_BODY_NONE, NULL },
    { "GET", "/no-interest", no_interest, RM_BODY_NONE, NULL },
    { "GET", "/no-descriptor", no_descriptor, RM_BODY_NONE, NULL },
    { "GET", "/dead-again", dead_again, RM_BODY_NONE, NULL },
    { "GET", "/with-end", with_end, RM_BODY_NONE, NULL },
    { "POST", "/piece", served, RM_BODY_STREAMED, piece },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_rig(void **state) {
    (void)state;
    memset(order, 0, sizeof order);
    memset(readiness, 0, sizeof readiness);
    reads_all = false;
    rig_open(&rig, &app, "--watches 4");
    fds[0] = sim_descriptor(rig.world);
    fds[1] = sim_descriptor(rig.world);
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    assert_nothing_taken(&rig);
    rig_close(&rig);
    return 0;
}

static struct rig_client *ask(const char *target) {
    char text[256];
    struct rig_client *client = rig_connect(&rig);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    rig_send(&rig, client, text);
    rig_run(&rig, 5);
    return client;
}

static void set(int i, uint32_t ready) {
    sim_set_ready(rig.world, fds[i], ready);
    rig_run(&rig, 5);
}

/* ------------------------------------------------------------------------------------------------------ line ---- */

static void test_ready(void **state) {
    (void)state;
    struct rig_client *client = ask("/readable");
    assert_int_equal(rig_taken(&rig, PLAN_WATCHES), 1);
    set(0, RM_WRITABLE); /* not what it waits for */
    assert_int_equal(client->len, 0);
    set(0, RM_WRITABLE | RM_READABLE);
    assert_has(client->text, "ready 1");
    assert_int_equal(rig_taken(&rig, PLAN_WATCHES), 0); /* nobody waits: given up */
}

static void test_ready_already(void **state) {
    (void)state;
    sim_set_ready(rig.world, fds[0], RM_READABLE);
    assert_has(ask("/either")->text, "ready 1");
}

/* Three wait for one descriptor: in order, one at a time, each after the one before has had its turn. */
static void test_line_in_order(void **state) {
    (void)state;
    ask("/readable?a");
    ask("/readable?b");
    ask("/readable?c");
    assert_int_equal(rig_taken(&rig, PLAN_WATCHES), 1);
    reads_all = true;
    set(0, RM_READABLE);
    assert_string_equal(order, "a");
    set(0, RM_READABLE);
    assert_string_equal(order, "ab");
    reads_all = false; /* c does not need to: it is the last */
    set(0, RM_READABLE);
    assert_string_equal(order, "abc");
}

/* What the first leaves is the next one's: a once-watch is armed by level. */
static void test_line_of_a_descriptor_that_stays_ready(void **state) {
    (void)state;
    ask("/readable?a");
    ask("/readable?b");
    set(0, RM_READABLE);
    assert_string_equal(order, "ab");
}

/* Readers don't stand in the way of writers: the watch is widened, and each gets what it waits for. */
static void test_line_of_readers_and_writers(void **state) {
    (void)state;
    ask("/readable?r");
    ask("/writable?w");
    ask("/readable?s");
    assert_int_equal(rig_taken(&rig, PLAN_WATCHES), 1);
    set(0, RM_WRITABLE);
    assert_string_equal(order, "w");
    assert_int_equal(readiness[0], RM_WRITABLE);
    set(0, RM_READABLE);
    assert_string_equal(order, "wrs");
}

static void test_one_exchange_for_both(void **state) {
    (void)state;
    struct rig_client *client = ask("/twice");
    set(0, RM_WRITABLE);
    assert_int_equal(client->len, 0);
    set(0, RM_READABLE);
    assert_has(client->text, "ready 1");
}

static void test_two_descriptors(void **state) {
    (void)state;
    struct rig_client *client = ask("/both");
    set(0, RM_READABLE);
    assert_int_equal(client->len, 0);
    set(1, RM_READABLE);
    assert_has(client->text, "ready 1");
}

static void test_chain(void **state) {
    (void)state;
    struct rig_client *client = ask("/chain");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(client->len, 0);
        set(0, RM_READABLE);
    }
    assert_has(client->text, "done");
}

/* ------------------------------------------------------------------------------------------------------ dead ---- */

struct dead_row {
    const char *name;
    uint32_t ready;
};

static const struct dead_row dead_rows[] = {
    { "hang-up", RM_HANGUP },
    { "error", RM_ERROR },
    { "hang-up with the last bytes", RM_HANGUP | RM_READABLE },
    { "both", RM_HANGUP | RM_ERROR },
};

/* All of the line go on and are told what it was; the watch is not armed again. */
static void test_dead(void **state) {
    const struct dead_row *row = *state;
    ask("/readable?a");
    ask("/writable?b");
    ask("/readable?c");
    set(0, row->ready);
    assert_string_equal(order, "abc");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(readiness[i], row->ready);
    }
    assert_int_equal(rig_taken(&rig, PLAN_WATCHES), 0);
}

static void test_wait_for_the_dead(void **state) {
    (void)state;
    struct rig_client *client = ask("/dead-again");
    ask("/readable?z");
    set(0, RM_HANGUP);
    assert_has(client->text, "ready 4");
    assert_int_equal(readiness[0], RM_HANGUP);
}

/* ------------------------------------------------------------------------------------------------- cancelled ---- */

/* Its client goes: it leaves the line, the next one does not notice. */
static void test_cancelled(void **state) {
    (void)state;
    struct rig_client *first = ask("/with-end?a");
    ask("/readable?b");
    rig_drop(&rig, first, true);
    rig_run(&rig, 5);
    assert_string_equal(order, "e");
    assert_int_equal(readiness[0], 0);
    set(0, RM_READABLE);
    assert_string_equal(order, "eb");
}

static void test_last_one_cancelled(void **state) {
    (void)state;
    struct rig_client *client = ask("/with-end?a");
    rig_drop(&rig, client, true);
    rig_run(&rig, 5);
    assert_string_equal(order, "e");
    assert_int_equal(rig_taken(&rig, PLAN_WATCHES), 0);
    assert_int_equal(rig_taken(&rig, PLAN_WAITS), 0);
}

/* The one who wanted to write is gone: what is left waits for reading alone. */
static void test_cancelled_writer(void **state) {
    (void)state;
    ask("/readable?a");
    struct rig_client *writer = ask("/both"); /* without an end it stays */
    rig_drop(&rig, writer, true);
    rig_run(&rig, 5);
    assert_string_equal(order, "");
    set(0, RM_READABLE);
    set(1, RM_READABLE);
    assert_string_equal(order, "a?");
}

/* ---------------------------------------------------------------------------------------- limits and mistakes ---- */

static void test_no_watch_left(void **state) {
    (void)state;
    rig_exhaust(&rig, PLAN_WATCHES, 1);
    ask("/readable?a");
    assert_has(ask("/other")->text, "HTTP/1.1 503 ");
    assert_has(ask("/writable?w")->text, "HTTP/1.1 503 "); /* widening needs one more for a moment */
    struct rig_client *second = ask("/readable?b");        /* the same watch */
    assert_int_equal(second->len, 0);
    set(0, RM_READABLE);
    assert_string_equal(order, "ab");
    rig_replenish(&rig);
}

static void test_no_wait_left(void **state) {
    (void)state;
    rig_exhaust(&rig, PLAN_WAITS, 0);
    assert_has(ask("/readable")->text, "HTTP/1.1 503 ");
    rig_replenish(&rig);
}

/* The second of two can't be had: the first is given up and the handler that was named does not run. */
static void test_half_of_it(void **state) {
    (void)state;
    rig_exhaust(&rig, PLAN_WAITS, 1);
    assert_has(ask("/both")->text, "HTTP/1.1 503 ");
    assert_string_equal(order, "");
    rig_replenish(&rig);
}

static void test_mistakes(void **state) {
    (void)state;
    log_set_level(LOG_ERROR);
    rig_get(&rig, "/no-interest", 500);
    rig_get(&rig, "/no-descriptor", 500);
    assert_has(rig_ask(&rig, "POST /piece HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"), "HTTP/1.1 500 ");
    log_set_level(LOG_INFO);
}

/* ------------------------------------------------------------------------------------------- without a client ---- */

static unsigned calls, last_what;
static bool unwatch_inside;

static void on_ready(struct rm_watch *watch, unsigned what, void *arg) {
    assert_ptr_equal(arg, &calls);
    calls++;
    last_what = what;
    if (unwatch_inside) {
        rm_unwatch(watch);
    }
}

static struct rm_watch *start_watch(void) {
    calls = last_what = 0;
    unwatch_inside = false;
    struct rm_watch *watch = rm_watch(worker_wrap(rig.worker), fds[0], RM_READABLE, on_ready, &calls);
    assert_non_null(watch);
    rig_run(&rig, 1);
    return watch;
}

/* An event for each edge, without being asked again; none for what was not asked for. */
static void test_watch(void **state) {
    (void)state;
    struct rm_watch *watch = start_watch();
    set(0, RM_READABLE);
    assert_int_equal(calls, 1);
    rig_run(&rig, 50);
    assert_int_equal(calls, 1);
    set(0, RM_WRITABLE);
    assert_int_equal(calls, 1);
    set(0, RM_READABLE);
    assert_int_equal(calls, 2);
    assert_int_equal(last_what, RM_READABLE);
    rm_unwatch(watch);
    set(0, 0);
    set(0, RM_READABLE);
    assert_int_equal(calls, 2);
}

static void test_watch_hangs_up(void **state) {
    (void)state;
    start_watch();
    unwatch_inside = true;
    set(0, RM_HANGUP);
    assert_int_equal(calls, 1);
    assert_int_equal(last_what, RM_HANGUP);
    set(0, 0);
    set(0, RM_READABLE);
    assert_int_equal(calls, 1);
}

static void test_watch_refused(void **state) {
    (void)state;
    struct rm_worker *worker = worker_wrap(rig.worker);
    assert_null(rm_watch(worker, 12345, RM_READABLE, on_ready, NULL));
    assert_null(rm_watch(worker, fds[0], 0, on_ready, NULL));
    assert_null(rm_watch(worker, fds[0], RM_HANGUP, on_ready, NULL));
    assert_null(rm_watch(worker, fds[0], RM_READABLE, NULL, NULL));
    struct rm_watch *watch = start_watch();
    assert_null(rm_watch(worker, fds[0], RM_WRITABLE, on_ready, NULL)); /* one watch for a descriptor */
    log_set_level(LOG_ERROR);
    rig_get(&rig, "/readable", 500);
    log_set_level(LOG_INFO);
    rig_exhaust(&rig, PLAN_WATCHES, 0);
    assert_null(rm_watch(worker, fds[1], RM_READABLE, on_ready, NULL));
    assert_null(rm_every(worker, 1, NULL, NULL));
    rig_replenish(&rig);
    rm_unwatch(watch);
    rig_run(&rig, 1);
}

static uint64_t ticks[16];
static unsigned tick_count;

static void tick(struct rm_timer *timer, void *arg) {
    assert_ptr_equal(arg, ticks);
    ticks[tick_count++] = rig.worker->now_ns;
    if (tick_count == 4) {
        rm_end_timer(timer);
    }
}

static void test_every(void **state) {
    (void)state;
    tick_count = 0;
    uint64_t start_ns = rig.worker->now_ns;
    assert_non_null(rm_every(worker_wrap(rig.worker), 10 * NS_PER_MS, tick, ticks));
    rig_run(&rig, 100);
    assert_int_equal(tick_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t due_ns = start_ns + (i + 1) * 10 * NS_PER_MS;
        assert_true(ticks[i] >= due_ns);
        assert_true(ticks[i] < due_ns + NS_PER_MS);
    }
}

/* The clock leaps over many periods: one call, and the beat goes on. */
static void test_every_missed(void **state) {
    (void)state;
    tick_count = 0;
    uint64_t start_ns = rig.worker->now_ns;
    struct rm_timer *timer = rm_every(worker_wrap(rig.worker), 10 * NS_PER_MS, tick, ticks);
    assert_non_null(timer);
    sim_world_options(rig.world)->jump_ns_max = 1;
    struct ring_event event;
    uint64_t until_ns = sim_now(rig.world) + 95 * NS_PER_MS;
    while (sim_now(rig.world) < until_ns) { /* the worker gets no turn meanwhile */
        assert_int_equal(ring_wait(rig.clock, until_ns), 0);
        while (ring_next(rig.clock, &event)) {}
        assert_int_equal(ring_wait(rig.clients_ring, 1), 0);
        while (ring_next(rig.clients_ring, &event)) {}
    }
    rig_run(&rig, 1);
    assert_int_equal(tick_count, 1);
    rig_run(&rig, 10);
    assert_int_equal(tick_count, 2);
    assert_int_equal((ticks[1] - start_ns) / NS_PER_MS, 100);
    rm_end_timer(timer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
#define DEAD(i) { dead_rows[i].name, test_dead, open_rig, close_rig, (void *)(uintptr_t)&dead_rows[i] }

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_ready),
        TEST(test_ready_already),
        TEST(test_line_in_order),
        TEST(test_line_of_a_descriptor_that_stays_ready),
        TEST(test_line_of_readers_and_writers),
        TEST(test_one_exchange_for_both),
        TEST(test_two_descriptors),
        TEST(test_chain),
        DEAD(0),
        DEAD(1),
        DEAD(2),
        DEAD(3),
        TEST(test_wait_for_the_dead),
        TEST(test_cancelled),
        TEST(test_last_one_cancelled),
        TEST(test_cancelled_writer),
        TEST(test_no_watch_left),
        TEST(test_no_wait_left),
        TEST(test_half_of_it),
        TEST(test_mistakes),
        TEST(test_watch),
        TEST(test_watch_hangs_up),
        TEST(test_watch_refused),
        TEST(test_every),
        TEST(test_every_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
