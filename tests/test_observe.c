/* What is kept of requests: a line each, histograms by route and method, statuses, bytes; on a worker in the simulator. */
#include "server_rig.h"

static struct rig rig;

static enum rm_step ok(struct rm_exchange *x) {
    return rm_text(x, 200, "hello");
}

static enum rm_step echo(struct rm_exchange *x) {
    return rm_bytes(x, 201, "text/plain", rm_body(x));
}

static enum rm_step nap(struct rm_exchange *x) {
    rm_sleep(x, 300 * NS_PER_MS);
    rm_then(x, ok);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { "GET", "/ok", ok, RM_BODY_NONE, NULL },
    { "GET", "/nap/{who}", nap, RM_BODY_NONE, NULL },
    { "POST", "/echo", echo, RM_BODY_BUFFERED, NULL },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_logged(void **state) {
    (void)state;
    rig_open(&rig, &app, "--access-log /nowhere --access-format json");
    return 0;
}

static int open_plain(void **state) {
    (void)state;
    rig_open(&rig, &app, "");
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

/* All lines so far, which are taken. */
static const char *lines(void) {
    static char text[1 << 16];
    struct span bytes = lines_peek(rig.worker->observer.lines);
    assert_true(bytes.len < sizeof text);
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    lines_take(rig.worker->observer.lines, bytes.len);
    return text;
}

static void test_line(void **state) {
    (void)state;
    rig_ask(&rig, "GET /ok?a=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: t\r\nReferer: r\r\n\r\n");
    const char *text = lines();
    assert_int_equal(count_of(text, "\n"), 1);
    assert_has(text, "\"remote_addr\":\"127.0.0.1\",\"method\":\"GET\",\"path\":\"/ok\",\"query\":\"a=1\",\"route\":\"/ok\","
                     "\"proto\":\"HTTP/1.1\",\"referer\":\"r\",\"user_agent\":\"t\",\"status\":200,\"bytes_in\":0,"
                     "\"bytes_out\":5,\"dur_us\":0,\"worker\":0,");
    rig_ask(&rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_has(lines(), "\"status\":201,\"bytes_in\":3,\"bytes_out\":3,");
    rig_ask(&rig, "HEAD /ok HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(lines(), "\"method\":\"HEAD\",\"path\":\"/ok\",\"query\":\"\",\"route\":\"/ok\",\"proto\":\"HTTP/1.1\",\"status\":"
                        "200,\"bytes_in\":0,\"bytes_out\":0,");
}

/* Errors have a line, too; a request line that is none says nothing about itself. */
static void test_errors(void **state) {
    (void)state;
    rig_ask(&rig, GET("/none"));
    assert_has(lines(), "\"path\":\"/none\",\"query\":\"\",\"proto\":\"HTTP/1.1\",\"status\":404,");
    rig_ask(&rig, "GET /ok HTTP/1.1\r\n\r\n"); /* no Host */
    assert_has(lines(), "\"path\":\"/ok\",\"query\":\"\",\"proto\":\"HTTP/1.1\",\"status\":400,");
    rig_ask(&rig, "\x16\x03\x01 nonsense\r\n\r\n");
    const char *text = lines();
    assert_has(text, "\"status\":400,");
    assert_null(strstr(text, "\"method\""));
}

/* One line each, in the order of the answers. */
static void test_pipeline(void **state) {
    (void)state;
    rig_ask(&rig, GET("/ok?1") GET("/nap/a?2") GET("/ok?3"));
    const char *text = lines();
    assert_int_equal(count_of(text, "\n"), 3);
    assert_has(text, "\"query\":\"2\",\"route\":\"/nap/{who}\"");
    assert_has(text, "\"dur_us\":300");
}

/* Who left before the answer is named, although the connection is another's by then. */
static void test_client_gone(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/x"));
    rig_run(&rig, 10);
    rig_drop(&rig, client, true);
    rig_run(&rig, 10);
    rig_ask(&rig, GET("/ok"));
    rig_run(&rig, 1000);
    const char *text = lines();
    assert_int_equal(count_of(text, "\n"), 2);
    const char *gone = strstr(text, "/nap/x");
    assert_non_null(gone);
    assert_has(gone, "\"status\":499,");
    assert_int_equal(count_of(text, "\"remote_addr\":\"127.0.0.1\""), 2);
    assert_int_equal(rig.worker->figures.abandoned, 1);
}

/* Nobody takes the lines: whole ones are dropped and counted, answers go on. */
static void test_dropped(void **state) {
    (void)state;
    static char request[8192];
    int n = snprintf(request, sizeof request, "GET /ok?");
    memset(request + n, 'x', 6000);
    snprintf(request + n + 6000, sizeof request - 6100, " HTTP/1.1\r\nHost: a\r\n\r\n");
    struct rig_client *client = rig_connect(&rig);
    for (int i = 0; i < 300; i++) {
        rig_send(&rig, client, request);
        rig_run(&rig, 1);
    }
    const struct worker_figures *figures = &rig.worker->figures;
    assert_int_equal(figures->log_lines + figures->log_dropped, 300);
    assert_true(figures->log_dropped > 50);
    assert_int_equal(count_of(client->text, "200 OK"), 300);
    size_t bytes = lines_peek(rig.worker->observer.lines).len;
    assert_int_equal(bytes, figures->log_bytes);
    lines_take(rig.worker->observer.lines, bytes);
    rig_send(&rig, client, GET("/ok"));
    rig_run(&rig, 10);
    assert_has(lines(), "\"path\":\"/ok\",\"query\":\"\"");
}

/* ------------------------------------------------------------------------------------------------------- figures ---- */

static uint64_t total(const struct observe_row *row) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < OBSERVE_BUCKETS; i++) {
        sum += row->buckets[i];
    }
    return sum;
}

static void test_histogram(void **state) {
    (void)state;
    const struct observe_row *rows = rig.worker->observer.rows;
    rig_ask(&rig, GET("/ok") GET("/ok") "HEAD /ok HTTP/1.1\r\nHost: a\r\n\r\n" GET("/nap/x"));
    assert_int_equal(rows[0].buckets[0], 2);
    assert_int_equal(total(&rows[0]), 2);
    assert_int_equal(rows[0].sum_ns, 0);
    assert_int_equal(total(&rows[1]), 1); /* HEAD */
    assert_int_equal(total(&rows[2]), 1);
    assert_int_equal(rows[2].buckets[13], 1); /* 250 to 500 ms */
    assert_true(rows[2].sum_ns >= 300 * NS_PER_MS && rows[2].sum_ns < 310 * NS_PER_MS);
    rig_ask(&rig, "DELETE /none HTTP/1.1\r\nHost: a\r\n\r\n" "BREW /ok HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(total(&rows[2 * HTTP_ROUTES_MAX + HTTP_DELETE]), 1);
    assert_int_equal(total(&rows[2 * HTTP_ROUTES_MAX + HTTP_METHOD_UNKNOWN]), 1);
    const uint64_t *statuses = rig.worker->observer.statuses;
    assert_int_equal(statuses[200 - OBSERVE_STATUS_MIN], 4);
    assert_int_equal(statuses[404 - OBSERVE_STATUS_MIN], 1);
    assert_int_equal(statuses[501 - OBSERVE_STATUS_MIN], 1);
}

static void test_bounds_ascend(void **state) {
    (void)state;
    for (unsigned i = 1; i < OBSERVE_BUCKETS - 1; i++) {
        assert_true(observe_bounds_ns[i] > observe_bounds_ns[i - 1]);
    }
    assert_int_equal(observe_bounds_ns[OBSERVE_BUCKETS - 2], 10 * NS_PER_SECOND);
}

static void test_bytes(void **state) {
    (void)state;
    rig_ask(&rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n1234567" GET("/ok"));
    rig_ask(&rig, "HEAD /ok HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(rig.worker->figures.body_bytes_in, 7);
    assert_int_equal(rig.worker->figures.body_bytes_out, 12);
    assert_null(rig.worker->observer.lines); /* no log, no lines */
    assert_int_equal(rig.worker->figures.log_lines, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, open_logged, close_rig),
        cmocka_unit_test_setup_teardown(test_errors, open_logged, close_rig),
        cmocka_unit_test_setup_teardown(test_pipeline, open_logged, close_rig),
        cmocka_unit_test_setup_teardown(test_client_gone, open_logged, close_rig),
        cmocka_unit_test_setup_teardown(test_dropped, open_logged, close_rig),
        cmocka_unit_test_setup_teardown(test_histogram, open_plain, close_rig),
        cmocka_unit_test(test_bounds_ascend),
        cmocka_unit_test_setup_teardown(test_bytes, open_plain, close_rig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
