/* Requests that wait for each other, on two workers; objects whose pages a helper fetches; drains. */
#include <unistd.h>

#include "cache_rig.h"

static char store_path[64];

/* ----------------------------------------------------------------------------------------------------- between ---- */

/* The linker puts these in the place of the functions that they are named after: what another thread would do just then. */
static void (*before_join)(void);
static bool not_resident, of_another_key;
static unsigned residence_asked;

enum flight_role __real_flights_join(struct flights *all, uint64_t hash, uint32_t worker, uint64_t now_ns, struct flight *out);
enum flight_role __wrap_flights_join(struct flights *all, uint64_t hash, uint32_t worker, uint64_t now_ns, struct flight *out);
enum flight_role __wrap_flights_join(struct flights *all, uint64_t hash, uint32_t worker, uint64_t now_ns, struct flight *out) {
    if (before_join != NULL) {
        before_join();
    }
    return __real_flights_join(all, hash, worker, now_ns, out);
}

bool __real_store_resident(struct store *store, const struct store_object *object);
bool __wrap_store_resident(struct store *store, const struct store_object *object);
bool __wrap_store_resident(struct store *store, const struct store_object *object) {
    residence_asked++;
    return !not_resident && __real_store_resident(store, object);
}

bool __real_store_confirm(struct store *store, const struct store_object *object, struct span key, uint64_t now_ns);
bool __wrap_store_confirm(struct store *store, const struct store_object *object, struct span key, uint64_t now_ns);
bool __wrap_store_confirm(struct store *store, const struct store_object *object, struct span key, uint64_t now_ns) {
    return !of_another_key && __real_store_confirm(store, object, key, now_ns);
}

/* ------------------------------------------------------------------------------------------------------ flights ---- */

static void test_one_runs_for_all(void **state) {
    (void)state;
    struct rig_client *clients[12];
    for (uint32_t i = 0; i < 12; i++) {
        clients[i] = start(i % 2, "/item/6?ms=500");
    }
    assert_int_equal(rig.server.workers[0].cache.waiters + rig.server.workers[1].cache.waiters, 11);
    rig_run(&rig, 600);
    for (uint32_t i = 0; i < 12; i++) {
        assert_answer(clients[i]->text, i == 0 ? "MISS" : "HIT", "6 v0");
    }
    assert_int_equal(cache_items[6].runs, 1);
    assert_int_equal(FIGURE(waited), 11);
    assert_int_equal(FIGURE(hits), 11);
    assert_int_equal(FIGURE(misses), 1);
}

static void test_failure_is_not_shared(void **state) {
    (void)state;
    struct rig_client *clients[6];
    for (uint32_t i = 0; i < 6; i++) {
        clients[i] = start(i % 2, "/item/6?ms=300&as=404");
    }
    rig_run(&rig, 1000);
    for (uint32_t i = 0; i < 6; i++) {
        assert_has(clients[i]->text, "HTTP/1.1 404 ");
    }
    assert_int_equal(cache_items[6].runs, 6);
    assert_int_equal(FIGURE(alone), 5);
    struct rig_client *alone = start(0, "/item/6?ms=100"), *too = start(1, "/item/6?ms=100"); /* held off still */
    rig_run(&rig, 200);
    assert_answer(alone->text, "MISS", "6 v0");
    assert_answer(too->text, "MISS", "6 v0"); /* and it may be stored */
    assert_int_equal(cache_items[6].runs, 8);
    assert_answer(get("/item/6"), "HIT", "6 v0");
}

static void test_hold_off_ends(void **state) {
    (void)state;
    get("/item/6?as=404");
    rig_run(&rig, 1100);
    struct rig_client *first = start(0, "/item/6?ms=100"), *second = start(1, "/item/6?ms=100");
    rig_run(&rig, 200);
    assert_answer(first->text, "MISS", "6 v0");
    assert_answer(second->text, "HIT", "6 v0");
    assert_int_equal(cache_items[6].runs, 2);
}

/* A stream can't be kept: who waits need not wait for its end. */
static void test_stream_lets_go_at_once(void **state) {
    (void)state;
    struct rig_client *first = start(0, "/item/6?ms=100&as=stream");
    struct rig_client *second = start(1, "/item/6?ms=1");
    rig_run(&rig, 120);
    assert_answer(first->text, "", "");
    assert_answer(second->text, "MISS", "6 v0");
}

/* A stream that fails when it begins has never left the capture. */
static void fail_first(struct rm_exchange *x) {
    rm_set_header(x, "Name", SPAN("a line\nand another"));
}

static void begin_first(struct rm_exchange *x) {
    rm_begin(x, 200, "text/plain");
}

static void test_stream_fails(void **state) {
    (void)state;
    cache_in_handler = fail_first;
    assert_has(get("/item/6?as=stream"), "HTTP/1.1 500 ");
    assert_idle();
    cache_in_handler = begin_first;
    assert_has(get("/item/7?as=stream"), "HTTP/1.1 500 ");
    assert_has(get("/item/8?as=stream&ms=10"), "HTTP/1.1 500 ");
    assert_int_equal(FIGURE(unstored), 3);
    assert_int_equal(FIGURE(stored), 0);
}

static void test_deadline(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/item/6?ms=5000"), *waiter = start(1, "/item/6?ms=10");
    rig_run(&rig, 1900);
    assert_int_equal(waiter->len, 0);
    rig_run(&rig, 200);
    assert_answer(waiter->text, "MISS", "6 v0");
    assert_int_equal(FIGURE(wait_timeouts), 1);
    assert_answer(get("/item/6"), "HIT", "6 v0"); /* what it has stored */
    rig_run(&rig, 4000);
    assert_answer(leader->text, "MISS", "6 v0");
    assert_int_equal(cache_items[6].runs, 2);
}

/* The first deadline counts, however many flights are waited for. */
static void test_deadline_is_of_all_waits(void **state) {
    (void)state;
    start(0, "/item/6?ms=1200");
    struct rig_client *waiter = start(1, "/item/6?ms=1");
    for (int i = 0; i < 4; i++) {
        post("/purge/6"); /* dooms: whoever comes next leads */
        start(0, "/item/6?ms=1200");
        rig_run(&rig, 600);
    }
    assert_answer(waiter->text, "MISS", "6 v0");
}

static void test_waiters_are_bounded(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/item/6?ms=500"), *clients[10];
    for (uint32_t i = 0; i < 10; i++) {
        clients[i] = start(0, "/item/6");
    }
    for (uint32_t i = 8; i < 10; i++) {
        assert_has(clients[i]->text, "HTTP/1.1 503 ");
        assert_has(clients[i]->text, "Retry-After: 1\r\n");
    }
    assert_int_equal(FIGURE(refused), 2);
    rig_run(&rig, 600);
    assert_answer(leader->text, "MISS", "6 v0");
    for (uint32_t i = 0; i < 8; i++) {
        assert_answer(clients[i]->text, "HIT", "6 v0");
    }
}

static void test_leader_goes_on_without_its_client(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/item/6?ms=500"), *waiter = start(1, "/item/6?ms=500");
    rig_drop(&rig, leader, true);
    rig_run(&rig, 600);
    assert_answer(waiter->text, "HIT", "6 v0");
    assert_int_equal(cache_items[6].runs, 1);
    assert_int_equal(cache_ends, 0); /* it was not told */
}

/* It may answer with what there is by then, as nobody gets it: that is not stored. */
static void test_alone_is_told_that_its_client_has_gone(void **state) {
    (void)state;
    get("/item/6?as=404");
    struct rig_client *gone = start(0, "/item/6?ms=500&ended=1"), *half = start(1, "/item/6?ms=500&ended=1");
    struct rig_client *deaf = start(1, "/item/6?ms=150&deaf=1"); /* it may ask rm_gone instead */
    rig_drop(&rig, gone, true);
    rig_drop(&rig, deaf, true);
    rig_run(&rig, 100);
    assert_int_equal(cache_ends, 1);
    assert_true((cache_reasons & RM_END_GONE) != 0);
    rig_end(&rig, half);
    rig_run(&rig, 100);
    assert_has(half->text, "\r\n\r\na part");
    assert_int_equal(FIGURE(stored), 0);
}

/* On one connection: the first waits for another's flight, which is doomed, and then for the second's, which leads behind it. */
static void test_waiter_before_its_leader(void **state) {
    (void)state;
    start(0, "/item/6?ms=200");
    struct rig_client *client = rig_connect_to(&rig, 1);
    rig_send(&rig, client, GET("/item/6?ms=1"));
    rig_run(&rig, 5);
    post("/change/6");
    rig_send(&rig, client, "HEAD /item/6?ms=400 HTTP/1.1\r\nHost: a\r\n\r\n");
    rig_run(&rig, 300);
    assert_int_equal(client->len, 0);
    rig_run(&rig, 200);
    assert_answer(client->text, "HIT", "6 v1HTTP/1.1 200 OK\r\n");
    assert_has(strstr(client->text, "6 v1"), "X-Cache: MISS\r\n");
    assert_int_equal(cache_items[6].runs, 2);
}

static void write_and_flush(struct rm_exchange *x) {
    cache_in_handler = NULL;
    rm_begin(x, 200, "text/plain");
    rm_write(x, SPAN("written"));
    rm_flush(x);
}

/* What is collected does not leave before its end: there is nothing to wait for, nor anything before it on the connection. */
static void test_leader_flushes_behind_another(void **state) {
    (void)state;
    struct rig_client *both_of_them = rig_connect(&rig);
    rig_send(&rig, both_of_them, GET("/plain/5?ms=3000"));
    rig_run(&rig, 5);
    cache_in_handler = write_and_flush;
    rig_send(&rig, both_of_them, GET("/item/6?ms=10&as=none"));
    rig_run(&rig, 5);
    struct rig_client *waiter = start(1, "/item/6");
    rig_run(&rig, 100);
    assert_answer(waiter->text, "HIT", "written");
    rig_run(&rig, 3000);
    assert_has(both_of_them->text, "X-Cache: MISS\r\n\r\nwritten");
}

static void test_waiter_goes(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/item/6?ms=500"), *waiter = start(1, "/item/6?ms=500");
    assert_int_equal(cache_second->cache.waiters, 1);
    rig_drop(&rig, waiter, true);
    rig_run(&rig, 10);
    assert_int_equal(cache_second->cache.waiters, 0);
    rig_run(&rig, 600);
    assert_answer(leader->text, "MISS", "6 v0");
    assert_int_equal(cache_items[6].runs, 1);
}

/* It waits for its answer, and gets it. RFC 9112 §9.6 */
static void test_waiter_ends_its_half(void **state) {
    (void)state;
    start(0, "/item/6?ms=500");
    struct rig_client *waiter = start(1, "/item/6?ms=500");
    rig_end(&rig, waiter);
    rig_run(&rig, 600);
    assert_answer(waiter->text, "HIT", "6 v0");
}

static void test_leader_fails(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/item/6?ms=300&as=500"), *waiter = start(1, "/item/6?ms=1");
    rig_run(&rig, 400);
    assert_has(leader->text, "HTTP/1.1 500 ");
    assert_answer(waiter->text, "MISS", "6 v0");
}

static void test_pipelined_behind_a_parked_one(void **state) {
    (void)state;
    get("/item/7");
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/item/6?ms=300") GET("/item/7") GET("/item/6") GET("/item/7"));
    rig_run(&rig, 100);
    assert_int_equal(client->len, 0);
    rig_run(&rig, 300);
    const char *text = client->text;
    assert_int_equal(count_of(text, "HTTP/1.1 200 OK\r\n"), 4);
    assert_int_equal(count_of(text, "X-Cache: HIT\r\n"), 3);
    assert_true(strstr(text, "6 v0") < strstr(text, "7 v0"));
    assert_int_equal(cache_items[6].runs, 1);
}

/* The first worker has found nothing, and before it joins the second one has stored it and landed. */
static void (*turn_second)(void *arg, uint64_t until_ns);

static void land_meanwhile(void) {
    before_join = NULL;
    turn_second(NULL, 1);
}

static void test_landed_meanwhile(void **state) {
    (void)state;
    struct rig_client *late = rig_connect_to(&rig, 0), *early = rig_connect_to(&rig, 1);
    rig_run(&rig, 5);
    turn_second = rig.turn_others;
    rig.turn_others = NULL; /* it has no turn but that one */
    rig_send(&rig, late, GET("/item/6"));
    rig_send(&rig, early, GET("/item/6"));
    before_join = land_meanwhile;
    rig_run(&rig, 5);
    rig.turn_others = turn_second;
    rig_run(&rig, 5);
    assert_answer(early->text, "MISS", "6 v0");
    assert_answer(late->text, "HIT", "6 v0");
    assert_int_equal(cache_items[6].runs, 1);
}

/* A stale one that was refreshed between the look and the lead. */
static void test_refreshed_meanwhile(void **state) {
    (void)state;
    get("/grace/6");
    rig_run(&rig, 150);
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/grace/6") GET("/grace/6"));
    rig_run(&rig, 5);
    assert_int_equal(count_of(client->text, "X-Cache: STALE\r\n"), 2);
    assert_int_equal(cache_items[6].runs, 2);
}

/* -------------------------------------------------------------------------------------------------------- cold ---- */

static int set_up_file(void **state) {
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "--store-bytes 4M --offloads 1 --store %s", store_path);
    (void)unlink(store_path);
    cache_open(&rig, line);
    not_resident = of_another_key = false;
    residence_asked = 0;
    return 0;
}

static int tear_down_file(void **state) {
    not_resident = false;
    int result = tear_down(state);
    (void)unlink(store_path);
    return result;
}

static void test_cold(void **state) {
    (void)state;
    get("/long/10");
    get("/long/10");
    assert_int_equal(residence_asked, 0);
    rig_run(&rig, 15000);
    get("/long/10"); /* asked, and there */
    assert_int_equal(residence_asked, 1);
    assert_int_equal(FIGURE(fetched), 0);
    rig_run(&rig, 15000);
    not_resident = true;
    assert_answer(get("/long/10"), "HIT", "10 v0");
    assert_int_equal(residence_asked, 2); /* once for a request */
    assert_int_equal(FIGURE(fetched), 1);
    rig_run(&rig, 15000);
    rig_exhaust(&rig, PLAN_OFFLOADS, 0);
    assert_answer(get("/long/10"), "HIT", "10 v0"); /* no helper has time for it */
    assert_int_equal(FIGURE(fetched), 1);
    rig_replenish(&rig);
}

/* A hash of 64 bits is not a key: what has the same is seen when its pages are there. */
static void test_cold_one_of_another_key(void **state) {
    (void)state;
    get("/long/10");
    rig_run(&rig, 15000);
    of_another_key = true;
    assert_answer(get("/long/10"), "MISS", "10 v0");
    assert_int_equal(cache_items[10].runs, 2);
    assert_answer(get("/long/10"), "HIT", "10 v0");
    rig_run(&rig, 15000);
    not_resident = true;
    assert_answer(get("/long/10"), "MISS", "10 v0");
    assert_int_equal(FIGURE(fetched), 1);
    assert_idle();
}

/* ------------------------------------------------------------------------------------------------------- drain ---- */

static void test_drain_while_waiting(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/long/6?ms=500"), *waiter = start(1, "/long/6?ms=500");
    server_drain(&rig.server, 2);
    rig_run(&rig, 300);
    assert_has(leader->text, "HTTP/1.1 503 "); /* a leader is told of the drain; its answer is no 200: */
    assert_has(waiter->text, "HTTP/1.1 503 "); /* who has waited runs its own, which is told at once */
    assert_int_equal(cache_ends, 2);
    assert_int_equal(cache_reasons, RM_END_DRAIN);
}

/* It was cut short by the drain: good enough for its client, not for the next start. */
static void test_what_the_drain_cuts_short_is_not_stored(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/long/6?ms=500&ended=1"), *file = start(0, "/long/7?ms=500&ended=file");
    server_drain(&rig.server, 2);
    rig_run(&rig, 300);
    assert_has(leader->text, "\r\n\r\na part");
    assert_has(file->text, "HTTP/1.1 200 OK\r\n");
    assert_int_equal(cache_ends, 2);
    assert_int_equal(FIGURE(stored), 0);
}

static void test_leader_is_dropped_at_the_end_of_a_drain(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/long/6?ms=60000&stubborn=1"), *waiter = start(1, "/long/6");
    server_drain(&rig.server, 1);
    rig_drop(&rig, leader, true); /* the first worker has nobody left, and ends */
    rig_run(&rig, 200);
    assert_true(rig.worker_gone);
    assert_false(rig.server.workers[0].cache.online); /* what it got holds up nobody's memory while others drain */
    assert_answer(waiter->text, "MISS", "6 v0");
    struct flights_figures flights;
    flights_figures(rig.server.flights, &flights);
    assert_int_equal(flights.running, 0);
}

/* -------------------------------------------------------------------------------------------------------- main ---- */

int main(void) {
    static struct rows tests;
    ROWS_TEST(&tests, test_one_runs_for_all);
    ROWS_TEST(&tests, test_failure_is_not_shared);
    ROWS_TEST(&tests, test_hold_off_ends);
    ROWS_TEST(&tests, test_stream_lets_go_at_once);
    ROWS_TEST(&tests, test_stream_fails);
    ROWS_TEST(&tests, test_deadline);
    ROWS_TEST(&tests, test_deadline_is_of_all_waits);
    ROWS_TEST(&tests, test_waiters_are_bounded);
    ROWS_TEST(&tests, test_leader_goes_on_without_its_client);
    ROWS_TEST(&tests, test_alone_is_told_that_its_client_has_gone);
    ROWS_TEST(&tests, test_waiter_before_its_leader);
    ROWS_TEST(&tests, test_leader_flushes_behind_another);
    ROWS_TEST(&tests, test_waiter_goes);
    ROWS_TEST(&tests, test_waiter_ends_its_half);
    ROWS_TEST(&tests, test_leader_fails);
    ROWS_TEST(&tests, test_landed_meanwhile);
    ROWS_TEST(&tests, test_refreshed_meanwhile);
    ROWS_TEST(&tests, test_pipelined_behind_a_parked_one);
    ROWS_TEST(&tests, test_drain_while_waiting);
    ROWS_TEST(&tests, test_what_the_drain_cuts_short_is_not_stored);
    ROWS_TEST(&tests, test_leader_is_dropped_at_the_end_of_a_drain);
    for (size_t i = 0; i < tests.count; i++) {
        tests.tests[i].setup_func = set_up;
        tests.tests[i].teardown_func = tear_down;
    }
    snprintf(store_path, sizeof store_path, "/tmp/test_cache.%d", (int)getpid());
    void (*cold[])(void **) = { test_cold, test_cold_one_of_another_key };
    for (size_t i = 0; i < sizeof cold / sizeof *cold; i++) {
        rows_add(&tests, i == 0 ? "cold" : "cold_one_of_another_key", cold[i], NULL);
        tests.tests[tests.count - 1].setup_func = set_up_file;
        tests.tests[tests.count - 1].teardown_func = tear_down_file;
    }
    return rows_run("cache_flights", &tests);
}
