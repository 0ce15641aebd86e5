/* Queries by the public interface. */
#include "server_rig.h"

static const struct rm_statement statements[] = { { .sql = "SELECT 1" } };
static struct rm_query *started;

static enum rm_step must_not_run(struct rm_exchange *x) {
    return rm_text(x, 200, "went on\n");
}

static enum rm_step ask(struct rm_exchange *x) {
    started = rm_query(x, &statements[0]);
    rm_then(x, must_not_run);
    return RM_PARK;
}

static const struct rm_route routes[] = { { "GET", "/ask", ask, RM_BODY_NONE, NULL }, { 0 } };
static const struct rm_app app = { .name = "test", .routes = routes, .statements = statements, .statement_count = 1 };

static void without_a_database_it_is_503(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, &app, "");
    started = (struct rm_query *)&rig;
    assert_has(rig_ask(&rig, GET("/ask")), "HTTP/1.1 503 ");
    assert_null(started);
    assert_nothing_taken(&rig);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_database_it_is_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
