/* The response cache in a whole server with two workers: each way of the picture at the head of server/cache.h. */
#include "cache_app.h"
#include "rows.h"

static struct rig rig;

static int set_up(void **state) {
    (void)state;
    cache_open(&rig, "");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cache_in_handler = NULL;
    rig_run(&rig, 100);
    assert_nothing_taken(&rig);
    cache_close(&rig);
    return 0;
}

static struct cache_figures figures(uint32_t worker) {
    return rig.server.workers[worker].figures.cached;
}

static void test_miss_and_hit(void **state) {
    (void)state;
    const char *first = cache_get(&rig, 0, "/item/1");
    assert_has(first, "HTTP/1.1 200 OK\r\n");
    assert_has(first, "X-Cache: MISS\r\n");
    assert_has(first, "\r\n\r\n1 v0");
    const char *second = cache_get(&rig, 0, "/item/1");
    assert_has(second, "HTTP/1.1 200 OK\r\n");
    assert_has(second, "X-Cache: HIT\r\n");
    assert_has(second, "Age: 0\r\n");
    assert_has(second, "\r\n\r\n1 v0");
    assert_has(cache_get(&rig, 1, "/item/1"), "X-Cache: HIT\r\n"); /* another worker */
    assert_int_equal(cache_items[1].runs, 1);
    assert_int_equal(figures(0).hits, 1);
    assert_int_equal(figures(0).misses, 1);
    assert_int_equal(figures(0).stored, 1);
    assert_int_equal(figures(1).hits, 1);
}

int main(void) {
    static struct rows tests;
    (void)rows_add_table;
    ROWS_TEST(&tests, test_miss_and_hit);
    for (size_t i = 0; i < tests.count; i++) {
        tests.tests[i].setup_func = set_up;
        tests.tests[i].teardown_func = tear_down;
    }
    return rows_run("cache", &tests);
}
