/* Applications that cannot be served say why before anything starts. */
#include "server_rig.h"

static enum rm_step ok(struct rm_exchange *x) {
    return rm_text(x, 200, "ok");
}

static bool piece(struct rm_exchange *x, struct span bytes) {
    (void)x, (void)bytes;
    return true;
}

static int open_with(const struct rm_route *routes, char *why) {
    static struct config config;
    struct rm_app app = { .name = "test", .routes = routes };
    struct server server;
    config_default(&config);
    config.listen_count = 1;
    assert_int_equal(config_resolve(&config, 2, 4096, why), EXIT_FINE);
    why[0] = '\0';
    int code = server_open(&server, &config, &app, why);
    if (code == EXIT_FINE) {
        assert_int_equal((uintptr_t)server.workers % WORKER_ALIGN, 0);
        server_release(&server);
    }
    return code;
}

static void test_fine(void **state) {
    (void)state;
    static const struct rm_route routes[] = {
        { "GET", "/", ok, RM_BODY_NONE, NULL },
        { "POST", "/up", ok, RM_BODY_STREAMED, piece },
        { 0 },
    };
    char why[CONFIG_WHY_BYTES];
    assert_int_equal(open_with(routes, why), EXIT_FINE);
}

static void test_refused(void **state) {
    (void)state;
    static const struct rm_route rows[][3] = {
        { { "GET", NULL, ok, RM_BODY_NONE, NULL } },
        { { "GET", "/", NULL, RM_BODY_NONE, NULL } },
        { { "POST", "/", ok, RM_BODY_STREAMED, NULL } },
        { { "POST", "/", ok, RM_BODY_BUFFERED, piece } },
        { { "GET", "no-slash", ok, RM_BODY_NONE, NULL } },
        { { "FETCH", "/", ok, RM_BODY_NONE, NULL } },
        { { "GET", "/{a}", ok, RM_BODY_NONE, NULL }, { "GET", "/{b}", ok, RM_BODY_NONE, NULL } },
        { { 0 } },
    };
    char nothing[CONFIG_WHY_BYTES];
    assert_int_equal(open_with(NULL, nothing), EXIT_CONFIG);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char why[CONFIG_WHY_BYTES];
        if (open_with(rows[i], why) != EXIT_CONFIG || why[0] == '\0') {
            fail_msg("row %zu was taken", i);
        }
    }
}

static void test_too_many_routes(void **state) {
    (void)state;
    static struct rm_route routes[SERVER_ROUTES_MAX + 2];
    static char paths[SERVER_ROUTES_MAX + 1][16];
    for (int i = 0; i <= SERVER_ROUTES_MAX; i++) {
        snprintf(paths[i], sizeof paths[i], "/%d", i);
        routes[i] = (struct rm_route){ "GET", paths[i], ok, RM_BODY_NONE, NULL };
    }
    char why[CONFIG_WHY_BYTES];
    assert_int_equal(open_with(routes, why), EXIT_CONFIG);
    routes[SERVER_ROUTES_MAX] = (struct rm_route){ 0 };
    assert_int_equal(open_with(routes, why), EXIT_FINE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fine),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
