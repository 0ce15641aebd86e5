/* Several waits at once, offloaded jobs, and what cuts waits short: the client's end, a lost connection, the drain. */
#include "server_rig.h"

enum { OFFLOADS = 4 };

static struct rig rig;
static int fd;
static int jobs_run;
static int nexts, ends; /* handlers that went on */
static unsigned reasons[8]; /* rm_ended at each end */
static bool gone;
static bool park_again; /* the end handler parks */

static void job(void *arg) {
    jobs_run++;
    *(int *)arg += 1;
}

static enum rm_step next(struct rm_exchange *x) {
    nexts++;
    gone = rm_gone(x);
    int *count = rm_state(x);
    return rm_text(x, 200, count != NULL && *count == 1 ? "job done" : "next");
}

static enum rm_step on_end(struct rm_exchange *x) {
    reasons[ends++ % 8] = rm_ended(x);
    gone = rm_gone(x);
    if (park_again) {
        rm_sleep(x, 50 * NS_PER_MS);
        rm_then(x, next);
        return RM_PARK;
    }
    return rm_text(x, 200, "end");
}

static void offload(struct rm_exchange *x) {
    int *count = rm_alloc(x, sizeof *count);
    rm_set_state(x, count);
    rm_offload(x, job, count);
}

static enum rm_step nap(struct rm_exchange *x) {
    rm_sleep(x, 100 * NS_PER_MS);
    rm_then(x, next);
    return RM_PARK;
}

static enum rm_step offloaded(struct rm_exchange *x) {
    offload(x);
    rm_then(x, next);
    return RM_PARK;
}

/* A timer, a descriptor and a job. */
static enum rm_step all(struct rm_exchange *x) {
    rm_sleep(x, 20 * NS_PER_MS);
    rm_wait_fd(x, fd, RM_READABLE);
    offload(x);
    rm_then(x, next);
    return RM_PARK;
}

static enum rm_step all_with_end(struct rm_exchange *x) {
    rm_on_end(x, on_end);
    return all(x);
}

static enum rm_step nap_with_end(struct rm_exchange *x) {
    rm_on_end(x, on_end);
    return nap(x);
}

static enum rm_step no_end_any_more(struct rm_exchange *x) {
    rm_on_end(x, on_end);
    rm_on_end(x, NULL);
    return nap(x);
}

static enum rm_step flush_and_job(struct rm_exchange *x);

/* A flush that has nothing to wait for, then one and a job, over and over. */
static enum rm_step flush(struct rm_exchange *x) {
    rm_on_end(x, on_end);
    rm_flush(x);
    rm_then(x, flush_and_job);
    return RM_PARK;
}

static enum rm_step flush_and_job(struct rm_exchange *x) {
    rm_flush(x);
    offload(x);
    rm_then(x, flush);
    return RM_PARK;
}

/* A turn later than `flush` alone. */
static enum rm_step flush_twice(struct rm_exchange *x) {
    rm_flush(x);
    rm_then(x, flush);
    return RM_PARK;
}

/* The handler has answered: what it has started is waited for, but nothing is left to be told. */
static enum rm_step answered(struct rm_exchange *x) {
    rm_on_end(x, on_end);
    rm_sleep(x, 100 * NS_PER_MS);
    return rm_text(x, 200, "answered");
}

static enum rm_step quick(struct rm_exchange *x) {
    return rm_text(x, 200, "quick");
}

static bool sleepy_piece(struct rm_exchange *x, struct span piece) {
    (void)piece;
    rm_offload(x, job, NULL);
    return true;
}

static const struct rm_route routes[] = {
    { "GET", "/nap", nap, RM_BODY_NONE, NULL },
    { "GET", "/offload", offloaded, RM_BODY_NONE, NULL },
    { "GET", "/all", all, RM_BODY_NONE, NULL },
    { "GET", "/all-with-end", all_with_end, RM_BODY_NONE, NULL },
    { "GET", "/nap-with-end", nap_with_end, RM_BODY_NONE, NULL },
    { "GET", "/no-end", no_end_any_more, RM_BODY_NONE, NULL },
    { "GET", "/answered", answered, RM_BODY_NONE, NULL },
    { "GET", "/flush", flush, RM_BODY_NONE, NULL },
    { "GET", "/flush-twice", flush_twice, RM_BODY_NONE, NULL },
    { "GET", "/quick", quick, RM_BODY_NONE, NULL },
    { "POST", "/piece", quick, RM_BODY_STREAMED, sleepy_piece },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

/* Jobs take up to `job_ms`. */
static void open_with(uint64_t job_ms) {
    struct sim_options options = { .job_delay_ns_max = job_ms * NS_PER_MS };
    jobs_run = nexts = ends = 0;
    gone = park_again = false;
    memset(reasons, 0, sizeof reasons);
    rig_open_world(&rig, &app, "--offloads 4", 1, &options);
    fd = sim_descriptor(rig.world);
}

static int open_rig(void **state) {
    (void)state;
    open_with(0);
    return 0;
}

static int open_slow_jobs(void **state) {
    (void)state;
    open_with(1000);
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    if (!rig.worker_gone) {
        assert_nothing_taken(&rig);
    }
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

/* ----------------------------------------------------------------------------------------------------- waits ---- */

static void test_all_at_once(void **state) {
    (void)state;
    struct rig_client *client = ask("/all");
    assert_int_equal(jobs_run, 1);
    rig_run(&rig, 50);
    assert_int_equal(client->len, 0);
    sim_set_ready(rig.world, fd, RM_READABLE);
    rig_run(&rig, 5);
    assert_has(client->text, "job done");
    assert_int_equal(nexts, 1);
}

/* Answers leave in the order of the requests, whoever is done first. RFC 9112 §9.3.2 */
static void test_pipelined_behind_a_parked_one(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap") GET("/quick") GET("/offload"));
    rig_run(&rig, 50);
    assert_int_equal(client->len, 0);
    assert_int_equal(jobs_run, 1);
    rig_run(&rig, 100);
    assert_int_equal(count_of(client->text, "HTTP/1.1 200"), 3);
    const char *first = strstr(client->text, "next");
    const char *second = strstr(client->text, "quick");
    assert_non_null(first);
    assert_non_null(second);
    assert_true(first < second);
    assert_true(second < strstr(client->text, "job done"));
}

static void test_jobs_finish_in_any_order(void **state) {
    (void)state;
    struct rig_client *clients[OFFLOADS];
    for (int i = 0; i < OFFLOADS; i++) {
        clients[i] = ask("/offload");
    }
    rig_run(&rig, 5000);
    for (int i = 0; i < OFFLOADS; i++) {
        assert_has(clients[i]->text, "job done");
    }
}

static void test_no_offload_left(void **state) {
    (void)state;
    for (int i = 0; i < OFFLOADS; i++) {
        ask("/offload");
    }
    assert_has(ask("/offload")->text, "HTTP/1.1 503 ");
    rig_run(&rig, 5000);
    assert_int_equal(jobs_run, OFFLOADS);
    struct rig_client *client = ask("/offload");
    rig_run(&rig, 5000);
    assert_has(client->text, "job done");
}

/* What can't be called back is waited for; the rest of it is not, and the handler does not go on. */
static void test_shed_with_a_job_running(void **state) {
    (void)state;
    rig_exhaust(&rig, PLAN_WAITS, 0);
    struct rig_client *client = ask("/all");
    rig_run(&rig, 5000);
    assert_has(client->text, "HTTP/1.1 503 ");
    assert_int_equal(nexts, 0);
    assert_int_equal(jobs_run, 1);
    rig_replenish(&rig);
}

static void test_piece_may_not_wait(void **state) {
    (void)state;
    log_set_level(LOG_ERROR);
    assert_has(rig_ask(&rig, "POST /piece HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"), "HTTP/1.1 500 ");
    log_set_level(LOG_INFO);
    assert_int_equal(jobs_run, 0);
}

/* ------------------------------------------------------------------------------------------------------ ends ---- */

/* A client's end is no lost connection: the answer still reaches it. RFC 9112 §9.6 */
static void test_half_closed(void **state) {
    (void)state;
    struct rig_client *client = ask("/nap-with-end");
    rig_end(&rig, client);
    rig_run(&rig, 5);
    assert_int_equal(ends, 1);
    assert_int_equal(reasons[0], RM_END_HALF);
    assert_false(gone);
    assert_has(client->text, "\r\n\r\nend");
    assert_int_equal(nexts, 0);
}

static void test_half_closed_before(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap") GET("/nap-with-end"));
    rig_end(&rig, client);
    rig_run(&rig, 50);
    assert_int_equal(ends, 1); /* at once, though its turn to answer comes later */
    rig_run(&rig, 100);
    assert_has(client->text, "\r\n\r\nend");
}

static void test_lost(void **state) {
    (void)state;
    struct rig_client *client = ask("/nap-with-end");
    rig_drop(&rig, client, true);
    rig_run(&rig, 5);
    assert_int_equal(ends, 1);
    assert_int_equal(reasons[0], RM_END_GONE);
    assert_true(gone);
    rig_run(&rig, 200);
    assert_int_equal(nexts, 0);
}

/* First the one, then the other: a call for each, and its waits go on between. */
static void test_half_closed_then_lost(void **state) {
    (void)state;
    park_again = true;
    struct rig_client *client = ask("/nap-with-end");
    rig_end(&rig, client);
    rig_run(&rig, 10);
    assert_int_equal(ends, 1);
    server_drain(&rig.server, 1);
    rig_run(&rig, 10);
    assert_int_equal(ends, 2);
    assert_int_equal(reasons[1], RM_END_HALF | RM_END_DRAIN);
    assert_int_equal(nexts, 0);
    rig_run(&rig, 60);
    assert_int_equal(nexts, 1);
    assert_has(client->text, "\r\n\r\nnext");
}

static void test_every_reason_once(void **state) {
    (void)state;
    park_again = true;
    struct rig_client *client = ask("/nap-with-end");
    rig_drop(&rig, client, true);
    rig_run(&rig, 30);
    assert_int_equal(ends, 1);
    assert_int_equal(nexts, 0);
    rig_run(&rig, 60);
    assert_int_equal(ends, 1);
    assert_int_equal(nexts, 1);
    assert_true(gone);
}

/* All is cancelled but the job, which is waited for: its memory is the exchange's. */
static void test_lost_with_a_job_running(void **state) {
    (void)state;
    struct rig_client *client = ask("/all-with-end");
    assert_int_equal(jobs_run, 0);
    rig_drop(&rig, client, true);
    rig_run(&rig, 1);
    assert_int_equal(rig_taken(&rig, PLAN_WAITS), 0);
    assert_int_equal(rig_taken(&rig, PLAN_WATCHES), 0);
    assert_int_equal(rig_taken(&rig, PLAN_OFFLOADS), 1);
    assert_int_equal(ends, 0);
    rig_run(&rig, 2000);
    assert_int_equal(jobs_run, 1);
    assert_int_equal(ends, 1);
    assert_int_equal(nexts, 0);
}

/* Nobody asked to be told: it goes on in its time. */
static void test_lost_without_end(void **state) {
    (void)state;
    struct rig_client *client = ask("/no-end");
    rig_drop(&rig, client, true);
    rig_run(&rig, 50);
    assert_int_equal(nexts, 0);
    rig_run(&rig, 100);
    assert_int_equal(nexts, 1);
    assert_int_equal(ends, 0);
    assert_true(gone);
}

static void test_lost_after_the_answer(void **state) {
    (void)state;
    struct rig_client *client = ask("/answered");
    rig_drop(&rig, client, true);
    rig_run(&rig, 200);
    assert_int_equal(ends, 0);
}

/* ----------------------------------------------------------------------------------------------------- drain ---- */

/* The server has ended its half: so does the client. */
static void leave(struct rig_client *client) {
    assert_true(client->ended);
    rig_drop(&rig, client, false);
}

/* A hundred that would nap on are told, answer, and the worker is done long before they would have been. */
static void test_drain(void **state) {
    (void)state;
    struct rig_client *clients[100];
    for (int i = 0; i < 100; i++) {
        clients[i] = rig_connect(&rig);
        rig_send(&rig, clients[i], GET("/nap-with-end"));
    }
    rig_run(&rig, 5);
    server_drain(&rig.server, 1);
    rig_run(&rig, 20);
    for (int i = 0; i < 100; i++) {
        assert_has(clients[i]->text, "Connection: close\r\n");
        assert_has(clients[i]->text, "\r\n\r\nend");
        leave(clients[i]);
    }
    rig_run(&rig, 5);
    assert_true(rig.worker_gone);
    assert_int_equal(nexts, 0);
}

/* In one turn its flush is over, it is told to end, and its job has run: it goes on once, at the end of that turn. Of the two
 * one is just there. */
static void test_drain_flush_and_job(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/flush") GET("/flush-twice"));
    rig_run(&rig, 5);
    server_drain(&rig.server, 1);
    rig_run(&rig, 20);
    assert_int_equal(ends, 2);
    assert_int_equal(count_of(client->text, "\r\n\r\nend"), 2);
    leave(client);
}

/* Without an end handler they are waited for. */
static void test_drain_without_end(void **state) {
    (void)state;
    struct rig_client *client = ask("/nap");
    server_drain(&rig.server, 1);
    rig_run(&rig, 50);
    assert_false(rig.worker_gone);
    assert_int_equal(client->len, 0);
    rig_run(&rig, 100);
    assert_has(client->text, "\r\n\r\nnext");
    leave(client);
    rig_run(&rig, 5);
    assert_true(rig.worker_gone);
}

/* Parked while the worker drains already: that is a reason that is there. */
static void test_parked_in_a_drain(void **state) {
    (void)state;
    struct rig_client *busy = ask("/nap");
    server_drain(&rig.server, 1);
    rig_send(&rig, busy, GET("/nap-with-end"));
    rig_run(&rig, 20);
    assert_int_equal(ends, 1);
    assert_int_equal(reasons[0], RM_END_DRAIN);
    rig_run(&rig, 200);
    assert_has(busy->text, "\r\n\r\nend");
    leave(busy);
}

/* One whose client has gone is told, too. */
static void test_drain_without_client(void **state) {
    (void)state;
    park_again = true;
    struct rig_client *client = ask("/nap-with-end");
    struct rig_client *other = ask("/nap"); /* keeps the worker up */
    rig_drop(&rig, client, true);
    rig_run(&rig, 5);
    server_drain(&rig.server, 1);
    rig_run(&rig, 5);
    assert_int_equal(ends, 2);
    assert_int_equal(reasons[1], RM_END_GONE | RM_END_DRAIN);
    rig_run(&rig, 200);
    assert_has(other->text, "\r\n\r\nnext");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
#define SLOW(name) cmocka_unit_test_setup_teardown(name, open_slow_jobs, close_rig)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_at_once),
        TEST(test_pipelined_behind_a_parked_one),
        SLOW(test_jobs_finish_in_any_order),
        SLOW(test_no_offload_left),
        SLOW(test_shed_with_a_job_running),
        TEST(test_piece_may_not_wait),
        TEST(test_half_closed),
        TEST(test_half_closed_before),
        TEST(test_lost),
        TEST(test_half_closed_then_lost),
        TEST(test_every_reason_once),
        SLOW(test_lost_with_a_job_running),
        TEST(test_lost_without_end),
        TEST(test_lost_after_the_answer),
        TEST(test_drain),
        TEST(test_drain_flush_and_job),
        TEST(test_drain_without_end),
        TEST(test_parked_in_a_drain),
        TEST(test_drain_without_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
