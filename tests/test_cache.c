/* The response cache in a whole server with two workers: what is found, stored, purged, and answered in its grace. */
#include "cache_rig.h"

/* --------------------------------------------------------------------------------------------------- hit, miss ---- */

static void test_miss_and_hit(void **state) {
    (void)state;
    assert_answer(get("/item/1"), "MISS", "1 v0");
    const char *second = get("/item/1");
    assert_answer(second, "HIT", "1 v0");
    assert_has(second, "Age: 0\r\n");
    assert_answer(cache_get(&rig, 1, "/item/1"), "HIT", "1 v0");
    assert_int_equal(cache_items[1].runs, 1);
    assert_answer(get("/item/2"), "MISS", "2 v0");
    assert_int_equal(rig.server.workers[0].figures.cached.hits, 1);
    assert_int_equal(rig.server.workers[1].figures.cached.hits, 1);
    assert_int_equal(FIGURE(misses), 2);
    assert_int_equal(FIGURE(led), 2);
    assert_int_equal(FIGURE(stored), 2);
    assert_int_equal(FIGURE(copied), 2);
}

static void test_ttl(void **state) {
    (void)state;
    get("/item/1");
    rig_run(&rig, 980);
    assert_answer(get("/item/1"), "HIT", "1 v0");
    rig_run(&rig, 20);
    cache_items[1].version = 1;
    assert_answer(get("/item/1"), "MISS", "1 v1");
    get("/long/1");
    rig_run(&rig, 3000);
    const char *text = get("/long/1");
    assert_has(text, "Age: 3\r\n");
    assert_has(text, "Cache-Control: max-age=7\r\n");
}

static const char *ask(const char *request) {
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, request);
    rig_run(&rig, 5);
    return client->text;
}

static void test_head_and_conditions(void **state) {
    (void)state;
    const char *text = ask("HEAD /long/1 HTTP/1.1\r\nHost: a\r\n\r\n"); /* leads, and stores the body */
    assert_has(text, "X-Cache: MISS\r\n");
    assert_has(text, "Content-Length: 4\r\n");
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    text = ask("GET /long/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(text, "HIT", "1 v0");
    text = ask("HEAD /long/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(text, "X-Cache: HIT\r\n");
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    text = ask("GET /long/1 HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n");
    assert_has(text, "HTTP/1.1 304 ");
    assert_int_equal(FIGURE(not_modified), 1);
    get("/long/2?etag=1");
    text = ask("GET /long/2 HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\", \"own\"\r\n\r\n");
    assert_has(text, "HTTP/1.1 304 ");
    assert_has(text, "ETag: \"own\"\r\n");
    assert_int_equal(FIGURE(not_modified), 2);
    assert_int_equal(cache_items[1].runs + cache_items[2].runs, 2);
}

struct keys {
    const char *name;
    const char *first, *second; /* requests: targets, and a field */
    bool same;
};

static const struct keys keys[] = {
    { "same_path", "GET /item/3", "GET /item/3?other=1", true },
    { "spelling_counts", "GET /item/3", "GET /item/03", false },
    { "other_route", "GET /item/3", "GET /long/3", false },
    { "page", "GET /page/3?page=1", "GET /page/3?x=2&page=1", true },
    { "other_page", "GET /page/3?page=1", "GET /page/3?page=2", false },
    { "no_page", "GET /page/3?page=", "GET /page/3", false },
    { "whole_query", "GET /whole/3?a=1", "GET /whole/3?a=2", false },
    { "whole_same", "GET /whole/3?a=1", "GET /whole/3?a=1", true },
    { "own", "GET /own/3", "GET /own/03", true },
    { "own_refuses", "GET /own/13", "GET /own/13", false },
    { "too_long", "GET /page/3?page=%s", "GET /page/3?page=%s", false },
    { "language", "GET /lang/3 HTTP/1.1\r\nAccept-Language: de", "GET /lang/3 HTTP/1.1\r\nAccept-Language: de", true },
    { "other_language", "GET /lang/3 HTTP/1.1\r\nAccept-Language: de", "GET /lang/3 HTTP/1.1\r\nAccept-Language: en", false },
    { "no_language", "GET /lang/3 HTTP/1.1\r\nAccept-Language:", "GET /lang/3", false },
    { "not_for_the_authorized", "GET /item/3", "GET /item/3 HTTP/1.1\r\nAuthorization: x", false },
    { "nor_from_them", "GET /item/3 HTTP/1.1\r\nAuthorization: x", "GET /item/3", false },
    { "but_where_it_says_so", "GET /auth/3 HTTP/1.1\r\nAuthorization: x", "GET /auth/3", true },
    { "with_a_body", "GET /item/3", "GET /item/3 HTTP/1.1\r\nContent-Length: 0", true },
};

static const char *ask_line(const char *line) {
    static char text[2048], long_value[600];
    memset(long_value, 'x', sizeof long_value - 1);
    int len = snprintf(text, sizeof text, "%s", line);
    char *blank = strstr(text, "%s");
    if (blank != NULL) {
        len += snprintf(blank, sizeof text - (size_t)(blank - text), "%s", long_value) - 2;
    }
    snprintf(text + len, sizeof text - (size_t)len, "%s\r\nHost: a\r\n\r\n", strstr(line, " HTTP/1.1") ? "" : " HTTP/1.1");
    return ask(text);
}

static void test_keys(void **state) {
    const struct keys *row = *state;
    assert_has(ask_line(row->first), "HTTP/1.1 200 ");
    assert_has(ask_line(row->second), "HTTP/1.1 200 ");
    assert_int_equal(FIGURE(hits), row->same);
    assert_int_equal(cache_items[3].runs + cache_items[13].runs, row->same ? 1 : 2);
}

/* ----------------------------------------------------------------------------------------------------- storing ---- */

struct answers {
    const char *name;
    const char *query;
    int status;
    const char *cache; /* of the first answer */
    bool stored;
};

static const struct answers answers[] = {
    { "empty_204", "as=none", 204, "", false },
    { "not_found", "as=404", 404, "", false },
    { "unavailable", "as=503", 503, "", false },
    { "mistake", "as=500", 500, "", false },
    { "cookie", "as=cookie", 200, "", false },
    { "private", "as=private", 200, "", false },
    { "stream", "as=stream", 200, "", false },
    { "lent", "as=lent", 200, "MISS", true },
    { "large", "bytes=300000", 200, "MISS", true },
    { "too_large", "bytes=600000", 200, "MISS", false }, /* more than an eighth of the store */
    { "parked", "ms=5", 200, "MISS", true },
    { "parked_not_found", "ms=5&as=404", 404, "", false },
    { "parked_stream", "ms=5&as=stream", 200, "", false },
};

static void test_answers(void **state) {
    const struct answers *row = *state;
    char target[128], status[32];
    snprintf(target, sizeof target, "/item/4?%s", row->query);
    snprintf(status, sizeof status, "HTTP/1.1 %d ", row->status);
    const char *text = get(target);
    assert_has(text, status);
    if (row->cache[0] != '\0') {
        assert_has(text, "X-Cache: MISS\r\n");
    } else {
        assert_null(strstr(text, "X-Cache"));
    }
    assert_int_equal(FIGURE(stored), row->stored);
    assert_int_equal(FIGURE(unstored), !row->stored);
    rig_run(&rig, 100);
    text = cache_get(&rig, 1, target);
    assert_has(text, status);
    assert_int_equal(FIGURE(hits), row->stored);
    assert_int_equal(cache_items[4].runs, row->stored ? 1 : 2);
    struct flights_figures flights;
    flights_figures(rig.server.flights, &flights);
    assert_int_equal(flights.failed, !row->stored);
    assert_int_equal(FIGURE(alone), !row->stored); /* the second within a second of the failure */
}

static void test_large_bodies_are_the_same(void **state) {
    (void)state;
    struct rig_client *first = start(0, "/long/5?bytes=200000"), *second;
    rig_run(&rig, 100);
    assert_has(first->text, "X-Cache: MISS\r\n");
    second = start(1, "/long/5");
    rig_run(&rig, 100);
    assert_has(second->text, "X-Cache: HIT\r\n");
    assert_true(second->len > 200000);
    assert_string_equal(strstr(first->text, "\r\n\r\n"), strstr(second->text, "\r\n\r\n"));
    assert_int_equal(FIGURE(pinned), 1);
    assert_int_equal(FIGURE(copied), 0);
}

/* A client that goes while it is sent a pinned body, and pins that there are none left of. */
static void test_pins_come_back(void **state) {
    (void)state;
    get("/long/5?bytes=400000");
    struct store_figures store;
    struct rig_client *slow = rig_connect_to(&rig, 0);
    slow->slow = true;
    rig_send(&rig, slow, GET("/long/5"));
    rig_run(&rig, 100);
    store_figures(rig.server.store, &store);
    assert_in_range(store.pinned_bytes, 400000, 500000);
    assert_int_equal(rig_taken(&rig, PLAN_PINS), 1);
    post("/purge/5"); /* it is sent to its end all the same */
    rig_drop(&rig, slow, true);
    rig_run(&rig, 100);
    store_figures(rig.server.store, &store);
    assert_int_equal(store.pinned_bytes, 0);
    get("/long/5?bytes=100000");
    rig_exhaust(&rig, PLAN_PINS, 0);
    struct rig_client *copied = start(0, "/long/5");
    rig_run(&rig, 100);
    assert_true(copied->len > 100000);
    assert_int_equal(FIGURE(copied), 1);
    rig_replenish(&rig);
}

static void test_no_blocks(void **state) {
    (void)state;
    get("/long/5?bytes=16000");
    struct rig_client *client = rig_connect(&rig);
    rig_run(&rig, 5);
    rig_exhaust(&rig, PLAN_BLOCKS, 2);
    rig_send(&rig, client, GET("/long/5"));
    rig_run(&rig, 10);
    assert_has(client->text, "HTTP/1.1 503 ");
    rig_replenish(&rig);
}

/* ------------------------------------------------------------------------------------------------------- purge ---- */

static void test_purge(void **state) {
    (void)state;
    get("/item/8");
    post("/change/8");
    assert_answer(get("/item/8"), "MISS", "8 v1");
    assert_int_equal(FIGURE(purges), 3);
    get("/grace/8");
    rig_run(&rig, 200);
    post("/change/8"); /* its grace, too */
    assert_answer(get("/grace/8"), "MISS", "8 v2");
}

/* What was read before the purge is not stored after it, whoever reads it; and nobody joins it. */
static void test_purge_of_a_flight(void **state) {
    (void)state;
    struct rig_client *old = start(0, "/item/8?ms=500"), *waiter = start(1, "/item/8?ms=300");
    post("/change/8");
    struct rig_client *new = start(1, "/item/8?ms=300");
    rig_run(&rig, 350);
    assert_answer(new->text, "MISS", "8 v1");
    rig_run(&rig, 300);
    assert_answer(old->text, "MISS", "8 v0"); /* it was asked before */
    assert_answer(waiter->text, "HIT", "8 v1");
    assert_answer(get("/item/8"), "HIT", "8 v1");
    assert_int_equal(cache_items[8].runs, 2);
}

/* Nobody else comes in between: the token alone says that it is outdated. */
static void test_purge_of_a_lonely_flight(void **state) {
    (void)state;
    struct rig_client *old = start(0, "/item/8?ms=100");
    post("/change/8");
    rig_run(&rig, 200);
    assert_answer(old->text, "MISS", "8 v0");
    assert_answer(get("/item/8"), "MISS", "8 v1");
    assert_int_equal(FIGURE(unstored), 1);
    struct flights_figures flights;
    flights_figures(rig.server.flights, &flights);
    assert_int_equal(flights.doomed, 1);
    assert_int_equal(FIGURE(alone), 0);
}

/* The store's tokens are of many keys: another one's purge outdates a fill, but leaves no hold-off. */
static void test_purge_of_a_neighbour(void **state) {
    (void)state;
    struct rig_client *old = start(0, "/item/8?ms=100"), *waiter = start(1, "/item/8?ms=100"), *too = start(0, "/item/8?ms=100");
    struct rm_key key;
    rm_key_begin(&key, &(struct rm_cache){ .name = "item" });
    rm_key_int(&key, 8);
    struct span bytes = { key.bytes, key.len };
    store_invalidate(rig.server.store, bytes, store_hash(rig.server.store, bytes));
    rig_run(&rig, 250);
    assert_answer(old->text, "MISS", "8 v0");
    assert_int_equal(cache_items[8].runs, 2); /* one of the others leads, */
    assert_int_equal(count_of(waiter->text, "X-Cache: MISS") + count_of(too->text, "X-Cache: MISS"), 1);
    assert_int_equal(count_of(waiter->text, "X-Cache: HIT") + count_of(too->text, "X-Cache: HIT"), 1); /* and one waits */
}

/* The handler itself changes what it has read. */
static void change_in_handler(struct rm_exchange *x) {
    (void)x;
    cache_in_handler = NULL;
    cache_items[8].version++;
    struct rm_key key;
    rm_key_begin(&key, &(struct rm_cache){ .name = "item" });
    rm_key_int(&key, 8);
    rm_purge(rm_worker(x), &key);
}

static void test_purge_within_a_handler(void **state) {
    (void)state;
    cache_in_handler = change_in_handler;
    assert_answer(get("/item/8"), "MISS", "8 v0");
    assert_answer(get("/item/8"), "MISS", "8 v1");
}

/* ------------------------------------------------------------------------------------------------------- grace ---- */

static void test_grace(void **state) {
    (void)state;
    assert_answer(get("/grace/9"), "MISS", "9 v0");
    rig_run(&rig, 150);
    cache_items[9].version = 1;
    const char *text = cache_get(&rig, 1, "/grace/9?ms=100");
    assert_answer(text, "STALE", "9 v0");
    assert_int_equal(cache_items[9].runs, 2);
    assert_answer(get("/grace/9"), "STALE", "9 v0"); /* while it runs, and no second one does */
    rig_run(&rig, 100);
    assert_answer(get("/grace/9"), "HIT", "9 v1");
    assert_int_equal(cache_items[9].runs, 2);
    assert_int_equal(FIGURE(refreshes), 1);
    assert_int_equal(FIGURE(stale), 2);
    rig_run(&rig, 11000);
    assert_answer(get("/grace/9"), "MISS", "9 v1"); /* it has an end */
    assert_int_equal(rig.worker->figures.abandoned + cache_second->figures.abandoned, 0);
}

static void test_grace_without_a_shadow(void **state) {
    (void)state;
    get("/grace/9");
    rig_run(&rig, 150);
    struct rig_client *client = rig_connect(&rig);
    rig_run(&rig, 5);
    rig_exhaust(&rig, PLAN_EXCHANGES, 3);
    rig_send(&rig, client, GET("/grace/9"));
    rig_run(&rig, 20);
    assert_answer(client->text, "STALE", "9 v0");
    assert_int_equal(cache_items[9].runs, 1);
    assert_int_equal(FIGURE(refreshes), 0);
    assert_idle();
    rig_replenish(&rig);
    assert_answer(get("/grace/9"), "STALE", "9 v0");
    rig_run(&rig, 5);
    assert_answer(get("/grace/9"), "HIT", "9 v0");
}

/* It is answered as it is, and tried again after a second. */
static void test_refresh_fails(void **state) {
    (void)state;
    get("/grace/9");
    rig_run(&rig, 150);
    assert_answer(get("/grace/9?as=503"), "STALE", "9 v0");
    assert_int_equal(cache_items[9].runs, 2);
    assert_answer(get("/grace/9"), "STALE", "9 v0");
    assert_int_equal(cache_items[9].runs, 2);
    rig_run(&rig, 1100);
    assert_answer(get("/grace/9"), "STALE", "9 v0");
    assert_int_equal(cache_items[9].runs, 3);
    assert_answer(get("/grace/9"), "HIT", "9 v0");
}

static void test_purge_of_a_refresh(void **state) {
    (void)state;
    get("/grace/9");
    rig_run(&rig, 150);
    get("/grace/9?ms=100");
    post("/change/9");
    assert_answer(get("/grace/9"), "MISS", "9 v1");
    rig_run(&rig, 50);
    rig_run(&rig, 60);
    assert_null(strstr(get("/grace/9"), "v0"));
}

/* -------------------------------------------------------------------------------------------------------- main ---- */

int main(void) {
    static struct rows tests;
    ROWS_TEST(&tests, test_miss_and_hit);
    ROWS_TEST(&tests, test_ttl);
    ROWS_TEST(&tests, test_head_and_conditions);
    ROWS_ADD(&tests, test_keys, keys);
    ROWS_ADD(&tests, test_answers, answers);
    ROWS_TEST(&tests, test_large_bodies_are_the_same);
    ROWS_TEST(&tests, test_pins_come_back);
    ROWS_TEST(&tests, test_no_blocks);
    ROWS_TEST(&tests, test_purge);
    ROWS_TEST(&tests, test_purge_of_a_flight);
    ROWS_TEST(&tests, test_purge_of_a_lonely_flight);
    ROWS_TEST(&tests, test_purge_of_a_neighbour);
    ROWS_TEST(&tests, test_purge_within_a_handler);
    ROWS_TEST(&tests, test_grace);
    ROWS_TEST(&tests, test_grace_without_a_shadow);
    ROWS_TEST(&tests, test_refresh_fails);
    ROWS_TEST(&tests, test_purge_of_a_refresh);
    for (size_t i = 0; i < tests.count; i++) {
        tests.tests[i].setup_func = set_up;
        tests.tests[i].teardown_func = tear_down;
    }
    return rows_run("cache", &tests);
}
