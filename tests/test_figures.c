/* Sums over workers, and the two ways to show them: JSON (stats.c) and Prometheus text (metrics.c). */
#include "server/figures.h"
#include "server_rig.h"

static struct rig rig;

static enum rm_step ok(struct rm_exchange *x) {
    return rm_text(x, 200, "ok");
}

static const struct rm_route routes[] = {
    { "GET", "/ok", ok, RM_BODY_NONE, NULL },
    { "GET", "/stats", rm_stats, RM_BODY_NONE, NULL },
    { "GET", "/metrics", rm_metrics, RM_BODY_NONE, NULL },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_rig(void **state) {
    (void)state;
    rig_open(&rig, &app, "");
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

/* The number behind `"key":` or `name `. */
static uint64_t number_after(const char *text, const char *key) {
    const char *at = strstr(text, key);
    if (at == NULL) {
        fail_msg("'%s' is not in:\n%s", key, text);
    }
    return strtoull(at + strlen(key), NULL, 10);
}

static void test_sum(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        rig_get(&rig, "/ok", 200);
    }
    struct worker_figures figures = { 0 };
    struct ring_counters ring = { 0 };
    figures_add(&figures, &ring, rig.worker);
    assert_int_equal(figures.requests, 3);
    assert_int_equal(figures.accepted, 3);
    assert_int_equal(figures.pools[PLAN_CONNS].low_water, rig.worker->pools[PLAN_CONNS].count - 1);
    uint64_t turns = ring.turns;
    assert_true(turns > 0);
    figures_add(&figures, &ring, rig.worker);
    assert_int_equal(figures.requests, 6);
    assert_int_equal(ring.turns, 2 * turns);
    assert_int_equal(figures.pools[PLAN_CONNS].low_water,
                     rig.worker->pools[PLAN_CONNS].count - 1); /* the least, no sum */
    struct ring_counters calls = { .calls = { 1, 2, 3 } };
    assert_int_equal(figures_calls(&calls), 6);
    assert_true(figures_ratio(3, 2) == 1.5);
    assert_true(figures_ratio(3, 0) == 0);
}

static void test_stats(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        rig_get(&rig, "/ok", 200);
    }
    rig_get(&rig, "/nowhere", 404);
    const char *body = rig_get(&rig, "/stats", 200);
    const char *total = strstr(body, "\"total\":");
    const char *workers = strstr(body, "\"workers\":");
    assert_non_null(total);
    assert_non_null(workers);
    assert_has(body, "\"backend\":{\"name\":\"sim\",\"fallback\":false");
    uint64_t requests = number_after(total, "\"requests\":");
    assert_int_equal(requests, 7); /* this one, too */
    assert_int_equal(number_after(workers, "\"requests\":"), requests);
    assert_int_equal(number_after(total, "\"2xx\":") + number_after(total, "\"4xx\":"),
                     requests - 1); /* it has no answer yet */
    assert_int_equal(number_after(total, "\"4xx\":"), 1);
    assert_int_equal(number_after(total, "\"now\":"), 1);
    assert_int_equal(number_after(total, "\"accepted\":"), 7);
    assert_true(number_after(total, "\"received_bytes\":") > 7 * 30);
    static const char *const keys[] = {
        "system_calls",
        "system_calls_per_request",
        "system_calls_by_name",
        "completions_per_turn",
        "turns",
        "sqes",
        "completions",
        "sends",
        "sent_bytes",
        "completions_in_a_turn",
        "pools",
        "low_water",
        "in_use",
        "timeouts",
        "uptime_seconds",
        "features",
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char key[64];
        snprintf(key, sizeof key, "\"%s\":", keys[i]);
        assert_has(body, key);
    }
    assert_int_equal(count_of(body, "{"), count_of(body, "}"));
    assert_int_equal(count_of(body, "["), count_of(body, "]"));
}

/* Prometheus text format 0.0.4: each family has HELP and TYPE before its values; buckets are cumulative. */
static void test_metrics(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        rig_get(&rig, "/ok", 200);
    }
    const char *body = rig_get(&rig, "/metrics", 200);
    assert_has(body, "ringmain_build_info{version=\"");
    assert_has(body, "backend=\"sim\"");
    uint64_t requests = number_after(body, "\nhttp_server_requests_total ");
    assert_int_equal(requests, 6);
    assert_int_equal(number_after(body, "\nhttp_server_responses_total{http_response_status_code=\"200\"} "), requests - 1);
    assert_int_equal(number_after(body, "\nhttp_server_open_connections "), 1);
    assert_int_equal(number_after(body, "\nring_completions_per_turn_bucket{le=\"+Inf\"} "),
                     number_after(body, "\nring_completions_per_turn_count "));
    assert_int_equal(count_of(body, "# HELP "), count_of(body, "# TYPE "));
    char copy[RIG_TEXT_BYTES / 16], family[128] = "";
    snprintf(copy, sizeof copy, "%s", body);
    char *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(sscanf(line, "# TYPE %127s", family), 1);
        } else if (line[0] != '#') {
            assert_memory_equal(line, family, strlen(family)); /* a value belongs to the family above it */
        }
    }
}

/* The time of the start is that of the start, not of the first client's. */
static void test_start(void **state) {
    (void)state;
    int64_t start = ring_wall_seconds(rig.worker->ring);
    assert_true(start > 0);
    rig_run(&rig, 5000);
    assert_int_equal(number_after(rig_get(&rig, "/metrics", 200), "\nprocess_start_time_seconds "), start);
    const char *body = rig_get(&rig, "/stats", 200);
    assert_int_equal(number_after(body, "\"started_seconds\":"), start);
    assert_true(number_after(body, "\"uptime_seconds\":") >= 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void) {
    const struct CMUnitTest tests[] = { TEST(test_sum), TEST(test_stats), TEST(test_metrics), TEST(test_start) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
