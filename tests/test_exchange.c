/* Handlers: park and resume, several timers, and what happens when the contract is broken. */
#include "server_rig.h"

static struct rig rig;
static int runs;
static bool gone;

static enum rm_step after(struct rm_exchange *x) {
    runs++;
    gone = rm_gone(x);
    return rm_text(x, 200, "after");
}

/* Two timers: the exchange goes on when both are done. */
static enum rm_step two(struct rm_exchange *x) {
    rm_sleep(x, 30 * NS_PER_MS);
    rm_sleep(x, 10 * NS_PER_MS);
    rm_then(x, after);
    return RM_PARK;
}

static enum rm_step again(struct rm_exchange *x) {
    int *left = rm_state(x);
    runs++;
    if (--*left == 0) {
        return rm_text(x, 200, "done");
    }
    rm_sleep(x, NS_PER_MS);
    rm_then(x, again);
    return RM_PARK;
}

/* Parks three times; its state lives in the workspace. */
static enum rm_step chain(struct rm_exchange *x) {
    int *left = rm_alloc(x, sizeof *left);
    if (left == NULL) {
        return RM_DONE;
    }
    *left = 3;
    rm_set_state(x, left);
    rm_sleep(x, 0);
    rm_then(x, again);
    return RM_PARK;
}

static enum rm_step nothing_started(struct rm_exchange *x) {
    rm_then(x, after);
    return RM_PARK;
}

static enum rm_step nothing_named(struct rm_exchange *x) {
    rm_sleep(x, NS_PER_MS);
    return RM_PARK;
}

/* Answers, but has started a timer: the answer goes out when that is done. */
static enum rm_step done_too_early(struct rm_exchange *x) {
    rm_sleep(x, 20 * NS_PER_MS);
    return rm_text(x, 200, "early");
}

static enum rm_step begun_before_park(struct rm_exchange *x) {
    rm_begin(x, 200, "text/plain");
    rm_write(x, (struct span){ "first, ", 7 });
    rm_sleep(x, NS_PER_MS);
    rm_then(x, after);
    return RM_PARK;
}

static enum rm_step second_half(struct rm_exchange *x) {
    rm_write(x, (struct span){ "second", 6 });
    return RM_DONE;
}

static enum rm_step halves(struct rm_exchange *x) {
    rm_begin(x, 200, "text/plain");
    rm_write(x, (struct span){ "first, ", 7 });
    rm_sleep(x, NS_PER_MS);
    rm_then(x, second_half);
    return RM_PARK;
}

static enum rm_step forever(struct rm_exchange *x) {
    rm_sleep(x, UINT64_MAX);
    rm_then(x, after);
    return RM_PARK;
}

static enum rm_step silent(struct rm_exchange *x) {
    (void)x;
    return RM_DONE;
}

static bool sleepy_piece(struct rm_exchange *x, struct span piece) {
    (void)piece;
    rm_sleep(x, NS_PER_MS);
    return true;
}

static const struct rm_route routes[] = {
    { "POST", "/sleepy", silent, RM_BODY_STREAMED, sleepy_piece },
    { "GET", "/two", two, RM_BODY_NONE, NULL },
    { "GET", "/chain", chain, RM_BODY_NONE, NULL },
    { "GET", "/nothing-started", nothing_started, RM_BODY_NONE, NULL },
    { "GET", "/nothing-named", nothing_named, RM_BODY_NONE, NULL },
    { "GET", "/early", done_too_early, RM_BODY_NONE, NULL },
    { "GET", "/begun", begun_before_park, RM_BODY_NONE, NULL },
    { "GET", "/halves", halves, RM_BODY_NONE, NULL },
    { "GET", "/forever", forever, RM_BODY_NONE, NULL },
    { "GET", "/silent", silent, RM_BODY_NONE, NULL },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_rig(void **state) {
    (void)state;
    runs = 0;
    gone = false;
    rig_open(&rig, &app, "");
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

static void test_all_timers_must_be_done(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/two"));
    rig_run(&rig, 20);
    assert_int_equal(runs, 0);
    rig_run(&rig, 20);
    assert_int_equal(runs, 1);
    assert_has(client->text, "\r\n\r\nafter");
    assert_int_equal(rig.worker->pools[PLAN_WAITS].free_count, rig.worker->pools[PLAN_WAITS].count);
}

static void test_parks_again(void **state) {
    (void)state;
    assert_string_equal(rig_get(&rig, "/chain", 200), "done");
    assert_int_equal(runs, 3);
    assert_int_equal(rig.worker->figures.parked, 3);
}

static void test_mistakes_are_500(void **state) {
    (void)state;
    log_set_level(LOG_ERROR);
    rig_get(&rig, "/nothing-started", 500);
    rig_get(&rig, "/nothing-named", 500);
    assert_has(rig_ask(&rig, "POST /sleepy HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"), "HTTP/1.1 500 ");
    log_set_level(LOG_INFO);
    assert_int_equal(runs, 0);
}

static void test_done_with_a_timer_running(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/early"));
    rig_run(&rig, 10);
    assert_int_equal(client->len, 0);
    rig_run(&rig, 20);
    assert_has(client->text, "\r\n\r\nearly");
}

static void test_response_across_a_park(void **state) {
    (void)state;
    assert_string_equal(rig_get(&rig, "/halves", 200), "first, second");
}

/* A second whole response is refused by http: the first stays, or it fails; never both. */
static void test_two_responses(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/begun"));
    rig_run(&rig, 100);
    assert_int_equal(count_of(client->text, "HTTP/1.1 "), 1);
}

static void test_gone(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/two"));
    rig_run(&rig, 5);
    rig_drop(&rig, client, true); /* a mere end of its stream might be a half-close: then it is still there */
    rig_run(&rig, 100);
    assert_int_equal(runs, 1);
    assert_true(gone);
}

static void test_silence_is_204(void **state) {
    (void)state;
    rig_get(&rig, "/silent", 204);
}

/* No wait is left: 503, and no mistake of the application's. */
static void test_no_wait_left(void **state) {
    (void)state;
    struct pool *waits = &rig.worker->pools[PLAN_WAITS];
    static void *taken[1 << 16];
    uint32_t n = 0;
    while (waits->free_count > 0) {
        taken[n++] = pool_take(waits);
    }
    assert_has(rig_ask(&rig, GET("/two")), "HTTP/1.1 503 Service Unavailable");
    assert_int_equal(runs, 0);
    while (n > 0) {
        pool_give(waits, taken[--n]);
    }
    rig_get(&rig, "/two", 200);
}

/* The end of time does not wrap around. */
static void test_endless_sleep(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/forever"));
    rig_run(&rig, 100000);
    assert_int_equal(runs, 0);
    assert_int_equal(client->len, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_timers_must_be_done),
        TEST(test_parks_again),
        TEST(test_mistakes_are_500),
        TEST(test_done_with_a_timer_running),
        TEST(test_response_across_a_park),
        TEST(test_two_responses),
        TEST(test_gone),
        TEST(test_silence_is_204),
        TEST(test_no_wait_left),
        TEST(test_endless_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
