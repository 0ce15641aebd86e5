/* The figures of the cache, as text and as JSON. */
#include "cache_app.h"

static struct rig rig;

static int set_up(void **state) {
    (void)state;
    cache_open(&rig, "");
    for (int i = 0; i < 3; i++) { /* a miss, two hits */
        cache_get(&rig, (uint32_t)i % 2, "/item/1");
    }
    rig_ask(&rig, "GET /item/1 HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\n\r\n");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cache_close(&rig);
    return 0;
}

static void test_text(void **state) {
    (void)state;
    const char *text = rig_get(&rig, "/metrics", 200);
    assert_has(text, "# TYPE cache_requests_total counter\n");
    assert_has(text, "\ncache_requests_total{result=\"hit\"} 2\n");
    assert_has(text, "\ncache_requests_total{result=\"stale\"} 0\n");
    assert_has(text, "\ncache_requests_total{result=\"miss\"} 1\n");
    assert_has(text, "\ncache_requests_total{result=\"pass\"} 1\n");
    assert_has(text, "\ncache_stored_total 1\n");
    assert_has(text, "\ncache_copied_total 2\n");
    assert_has(text, "\ncache_waiting_requests 0\n");
}

static void test_json(void **state) {
    (void)state;
    const char *text = rig_get(&rig, "/stats", 200);
    assert_int_equal(count_of(text, "\"cache\":{"), 3); /* in all, and of each worker */
    assert_has(text, "\"cache\":{\"hits\":2,\"stale\":0,\"misses\":1,\"passed\":1,\"not_modified\":0,\"led\":1,");
    assert_has(text, "\"cache\":{\"hits\":1,\"stale\":0,\"misses\":1,\"passed\":1,");
    assert_has(text, "\"cache\":{\"hits\":1,\"stale\":0,\"misses\":0,\"passed\":0,");
    assert_has(text, "\"purges\":0}");
}

static enum rm_step metrics(struct rm_exchange *x) {
    return rm_metrics(x);
}

static void test_none(void **state) {
    (void)state;
    static const struct rm_route routes[] = { { "GET", "/metrics", metrics }, { "GET", "/stats", rm_stats }, { 0 } };
    static const struct rm_app app = { .name = "test", .routes = routes };
    struct rig bare;
    rig_open(&bare, &app, "");
    assert_null(strstr(rig_get(&bare, "/metrics", 200), "\ncache_"));
    assert_null(strstr(rig_get(&bare, "/stats", 200), "\"cache\""));
    rig_close(&bare);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
