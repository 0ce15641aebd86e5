/* The routes of every server: there unless the application has them, or only for the admin; and a drain seen from there. */
#include "server_rig.h"

static struct rig rig;

static enum rm_step ok(struct rm_exchange *x) {
    return rm_text(x, 200, "ours");
}

static enum rm_step nap(struct rm_exchange *x) {
    rm_sleep(x, 2000 * NS_PER_MS);
    rm_then(x, ok);
    return RM_PARK;
}

static const struct rm_route plain[] = { { "GET", "/", ok, RM_BODY_NONE, NULL }, { "GET", "/nap", nap, RM_BODY_NONE, NULL }, { 0 } };
static const struct rm_route own[] = { { "GET", "/healthz", ok, RM_BODY_NONE, NULL },
                                       { "POST", "/readyz", ok, RM_BODY_NONE, NULL }, { 0 } };
static const struct rm_route any[] = { { "GET", "/{name}", ok, RM_BODY_NONE, NULL }, { 0 } };
static const struct rm_app plain_app = { .name = "test", .routes = plain };
static const struct rm_app own_app = { .name = "test", .routes = own };
static const struct rm_app any_app = { .name = "test", .routes = any };

static int close_rig(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

static void test_there(void **state) {
    (void)state;
    rig_open(&rig, &plain_app, "");
    assert_string_equal(rig_get(&rig, "/healthz", 200), "ok\n");
    assert_string_equal(rig_get(&rig, "/readyz", 200), "ready\n");
    assert_has(rig_get(&rig, "/metrics", 200), "http_server_requests_total");
    rig_get(&rig, "/stats", 404); /* for the admin only */
    assert_string_equal(rig_get(&rig, "/", 200), "ours");
}

/* The application's win, whatever their method. */
static void test_not_there(void **state) {
    (void)state;
    rig_open(&rig, &own_app, "");
    assert_string_equal(rig_get(&rig, "/healthz", 200), "ours");
    rig_get(&rig, "/readyz", 405);
    assert_has(rig_get(&rig, "/metrics", 200), "http_server_requests_total");
}

static void test_any_path_is_taken(void **state) {
    (void)state;
    rig_open(&rig, &any_app, "");
    assert_string_equal(rig_get(&rig, "/healthz", 200), "ours");
    assert_string_equal(rig_get(&rig, "/metrics", 200), "ours");
}

/* One request to the admin listener, whose address is the second one. */
static const char *ask_admin(const char *request) {
    struct rig_client *client = rig_connect_to(&rig, 1);
    rig_send(&rig, client, request);
    rig_run(&rig, 100);
    rig_drop(&rig, client, false);
    rig_run(&rig, 1);
    return client->text;
}

#define ADMIN "--listen 127.0.0.1:81 --admin 127.0.0.1:82 --drain-timeout 5s"

static void test_admin(void **state) {
    (void)state;
    rig_open(&rig, &plain_app, ADMIN);
    rig_get(&rig, "/healthz", 404);
    rig_get(&rig, "/metrics", 404);
    assert_string_equal(rig_get(&rig, "/", 200), "ours");
    assert_has(ask_admin(GET("/healthz")), "200 OK");
    assert_has(ask_admin(GET("/metrics")), "http_server_listener_connections_total{listener=\"127.0.0.1:82\"}");
    assert_has(ask_admin(GET("/stats")), "\"requests\"");
    assert_has(ask_admin(GET("/")), "404 Not Found");
}

/* A route of the application's has the name of one of the admin's: one series for both, no other comes twice. */
static void test_admin_and_own(void **state) {
    (void)state;
    static const char series[] = "duration_seconds_count{http_request_method=\"GET\",http_route=\"/healthz\"} ";
    rig_open(&rig, &own_app, ADMIN);
    assert_string_equal(rig_get(&rig, "/healthz", 200), "ours");
    assert_has(ask_admin(GET("/healthz")), "200 OK");
    assert_has(ask_admin(GET("/readyz")), "200 OK");
    const char *text = ask_admin(GET("/metrics"));
    const char *at = strstr(text, series);
    assert_non_null(at);
    assert_int_equal(at[sizeof series - 1], '2');
    assert_null(strstr(at + 1, series));
    assert_has(text, "count{http_request_method=\"GET\",http_route=\"/readyz\"} 1");
}

/* All that may be served are: the admin is served nevertheless. */
static void test_admin_when_full(void **state) {
    (void)state;
    rig_open(&rig, &plain_app, ADMIN);
    rig.server.connections = rig.config.max_connections;
    struct rig_client *client = rig_connect(&rig);
    rig_run(&rig, 10);
    assert_has(client->text, "503 Service Unavailable");
    assert_has(ask_admin(GET("/metrics")), "200 OK");
    assert_int_equal(rig.server.connections, rig.config.max_connections);
}

/* The admin sees the drain to its end: it is served, on connections that are closed behind each answer. */
static void test_admin_while_draining(void **state) {
    (void)state;
    rig_open(&rig, &plain_app, ADMIN);
    struct rig_client *busy = rig_connect(&rig);
    rig_send(&rig, busy, GET("/nap"));
    rig_run(&rig, 10);
    server_drain(&rig.server, 1);
    rig_run(&rig, 10);
    struct rig_client *late = rig_connect(&rig);
    rig_run(&rig, 10);
    assert_true(late->error < 0);
    const char *text = ask_admin(GET("/readyz"));
    assert_has(text, "503 Service Unavailable");
    assert_has(text, "Retry-After: 1");
    assert_has(text, "Connection: close");
    assert_has(ask_admin(GET("/healthz")), "200 OK");
    struct rig_client *idle = rig_connect_to(&rig, 1); /* one that asks nothing does not hold it up */
    rig_run(&rig, 1500);
    assert_false(rig.worker_gone);
    rig_run(&rig, 2000);
    assert_has(busy->text, "ours");
    assert_true(rig.worker_gone);
    rig_run(&rig, 10);
    assert_true(idle->ended || idle->error < 0);
}

/* Leaving: not ready, but everything is served and accepted. */
static void test_leaving(void **state) {
    (void)state;
    rig_open(&rig, &plain_app, "");
    server_leave(&rig.server);
    assert_has(rig_get(&rig, "/readyz", 503), "draining");
    assert_string_equal(rig_get(&rig, "/", 200), "ours");
    assert_string_equal(rig_get(&rig, "/healthz", 200), "ok\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_there, close_rig),
        cmocka_unit_test_teardown(test_not_there, close_rig),
        cmocka_unit_test_teardown(test_any_path_is_taken, close_rig),
        cmocka_unit_test_teardown(test_admin, close_rig),
        cmocka_unit_test_teardown(test_admin_and_own, close_rig),
        cmocka_unit_test_teardown(test_admin_when_full, close_rig),
        cmocka_unit_test_teardown(test_admin_while_draining, close_rig),
        cmocka_unit_test_teardown(test_leaving, close_rig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
