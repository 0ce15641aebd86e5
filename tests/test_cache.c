/* The response cache in a whole server with two workers: each way of the picture at the head of server/cache.h. */
#include "cache_app.h"
#include "rows.h"

static struct rig rig;

static int set_up(void **state) {
    (void)state;
    cache_open(&rig, "--cache-waiters 8 --cache-wait 2s --store-bytes 4M");
    return 0;
}

static uint64_t both(size_t offset) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 2; i++) {
        sum += *(const uint64_t *)(const void *)((const char *)&rig.server.workers[i].figures.cached + offset);
    }
    return sum;
}
#define FIGURE(name) both(offsetof(struct cache_figures, name))

static void assert_idle(void) {
    struct flights_figures flights;
    flights_figures(rig.server.flights, &flights);
    assert_int_equal(flights.running, 0);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(rig.server.workers[i].cache.waiters, 0);
        assert_true(list_empty(&rig.server.workers[i].cache.waiting));
    }
}

static int tear_down(void **state) {
    (void)state;
    cache_in_handler = NULL;
    rig_run(&rig, 10000);
    if (!rig.worker_gone) {
        assert_nothing_taken(&rig);
        assert_idle();
    }
    cache_close(&rig);
    return 0;
}

static const char *get(const char *target) {
    return cache_get(&rig, 0, target);
}

/* A GET that is under way. */
static struct rig_client *start(uint32_t place, const char *target) {
    char text[1024];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    struct rig_client *client = rig_connect_to(&rig, place);
    rig_send(&rig, client, text);
    rig_run(&rig, 2);
    return client;
}

static const char *post(const char *target) {
    char text[1024];
    snprintf(text, sizeof text, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", target);
    struct rig_client *client = rig_connect_to(&rig, 1); /* by the other worker */
    rig_send(&rig, client, text);
    rig_run(&rig, 5);
    assert_has(client->text, "HTTP/1.1 204 ");
    return client->text;
}

static void assert_answer(const char *text, const char *cache, const char *body) {
    char end[256];
    assert_has(text, "HTTP/1.1 200 OK\r\n");
    snprintf(end, sizeof end, "X-Cache: %s\r\n", cache);
    if (*cache != '\0') {
        assert_has(text, end);
    } else {
        assert_null(strstr(text, "X-Cache"));
    }
    snprintf(end, sizeof end, "\r\n\r\n%s", body);
    assert_has(text, end);
}

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

static void test_alone_is_told_that_its_client_has_gone(void **state) {
    (void)state;
    get("/item/6?as=404");
    struct rig_client *client = start(0, "/item/6?ms=500");
    rig_drop(&rig, client, true);
    rig_run(&rig, 100);
    assert_int_equal(cache_ends, 1);
    assert_true((cache_reasons & RM_END_GONE) != 0);
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

static void test_leader_is_dropped_at_the_end_of_a_drain(void **state) {
    (void)state;
    struct rig_client *leader = start(0, "/long/6?ms=60000&stubborn=1"), *waiter = start(1, "/long/6");
    server_drain(&rig.server, 1);
    rig_drop(&rig, leader, true); /* the first worker has nobody left, and ends */
    rig_run(&rig, 200);
    assert_true(rig.worker_gone);
    assert_answer(waiter->text, "MISS", "6 v0");
    struct flights_figures flights;
    flights_figures(rig.server.flights, &flights);
    assert_int_equal(flights.running, 0);
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
    ROWS_TEST(&tests, test_one_runs_for_all);
    ROWS_TEST(&tests, test_failure_is_not_shared);
    ROWS_TEST(&tests, test_hold_off_ends);
    ROWS_TEST(&tests, test_stream_lets_go_at_once);
    ROWS_TEST(&tests, test_deadline);
    ROWS_TEST(&tests, test_deadline_is_of_all_waits);
    ROWS_TEST(&tests, test_waiters_are_bounded);
    ROWS_TEST(&tests, test_leader_goes_on_without_its_client);
    ROWS_TEST(&tests, test_alone_is_told_that_its_client_has_gone);
    ROWS_TEST(&tests, test_waiter_goes);
    ROWS_TEST(&tests, test_waiter_ends_its_half);
    ROWS_TEST(&tests, test_leader_fails);
    ROWS_TEST(&tests, test_pipelined_behind_a_parked_one);
    ROWS_TEST(&tests, test_purge);
    ROWS_TEST(&tests, test_purge_of_a_flight);
    ROWS_TEST(&tests, test_purge_of_a_lonely_flight);
    ROWS_TEST(&tests, test_purge_within_a_handler);
    ROWS_TEST(&tests, test_grace);
    ROWS_TEST(&tests, test_grace_without_a_shadow);
    ROWS_TEST(&tests, test_refresh_fails);
    ROWS_TEST(&tests, test_purge_of_a_refresh);
    ROWS_TEST(&tests, test_drain_while_waiting);
    ROWS_TEST(&tests, test_leader_is_dropped_at_the_end_of_a_drain);
    for (size_t i = 0; i < tests.count; i++) {
        tests.tests[i].setup_func = set_up;
        tests.tests[i].teardown_func = tear_down;
    }
    return rows_run("cache", &tests);
}
