/* The connections of a worker to its database: made, lost, made again; drains; figures. */
#include "db_rig.h"

#include "server/db.h"
#include "server/exchange.h"

static const struct rm_statement statements[] = {
    { .sql = "item $1", .types = RM_TYPES(RM_INT8), .flags = RM_READ_ONLY, .name = "item" },
    { .sql = "slow $1", .types = RM_TYPES(RM_INT8), .flags = RM_READ_ONLY, .name = "slow \"one\"" },
    { .sql = "write $1", .types = RM_TYPES(RM_INT8) },
    { .sql = "set $1", .types = RM_TYPES(RM_INT8) },
};
static const uint32_t one_int8[] = { RM_INT8 };
static const struct pg_server_column columns[] = { { "id", RM_INT8 } };
static struct pg_server_statement server_statements[] = {
    DB_RIG_OWN,
    { .sql = "item $1", .columns = columns, .column_count = 1, .types = one_int8, .type_count = 1, .rows = 1 },
    { .sql = "slow $1", .columns = columns, .column_count = 1, .types = one_int8, .type_count = 1, .rows = 1,
      .sleep_ns = 300 * NS_PER_MS },
    { .sql = "write $1", .types = one_int8, .type_count = 1, .tag = "UPDATE", .counted = true, .write = true,
      .sleep_ns = 300 * NS_PER_MS },
    { .sql = "set $1", .types = one_int8, .type_count = 1, .tag = "SET" },
};

static enum rm_step answer(struct rm_exchange *x) {
    struct rm_query *query = rm_result(x, 0);
    const struct rm_row *row;
    int64_t id = -1;
    char text[32];
    if (rm_db_status(query) != RM_DB_OK) {
        return rm_db_answer(x, query);
    }
    if (rm_next_row(query, &row)) {
        assert_true(rm_get_int(row, 0, &id));
    }
    snprintf(text, sizeof text, "key %d\n", (int)id);
    return rm_text(x, 200, text);
}

static enum rm_step ask(struct rm_exchange *x) {
    int64_t which = 0, id = 0;
    assert_true(rm_int(rm_param(x, "which"), &which) && rm_int(rm_param(x, "id"), &id));
    rm_query(x, &statements[which], rm_int_arg(id));
    rm_then(x, answer);
    return RM_PARK;
}

static const struct rm_route routes[] = { { "GET", "/ask/{which}/{id}", ask, RM_BODY_NONE, NULL },
                                          { "GET", "/stats", rm_stats, RM_BODY_NONE, NULL },
                                          { 0 } };
static const struct rm_app app = { .name = "test", .routes = routes, .statements = statements, .statement_count = 4 };

static struct db_rig db;

static void open_with(const char *line, bool up) {
    char all[200];
    snprintf(all, sizeof all, "%s %s", DB_RIG_URL, line);
    db_rig_open(&db, &app, all, server_statements, sizeof server_statements / sizeof server_statements[0], up);
}

static void close_db(void) {
    rig_run(&db.rig, 1000);
    assert_nothing_taken(&db.rig);
    db_rig_close(&db);
}

static const char *get(const char *target, int status) {
    return rig_get(&db.rig, target, status);
}

static void it_serves_without_a_database_and_finds_it(void **state) {
    (void)state;
    open_with("", false);
    assert_string_equal(get("/readyz", 503), "database unreachable\n");
    get("/healthz", 200);
    get("/ask/0/1", 503);
    db_rig_start(&db);
    rig_run(&db.rig, 2000);
    assert_string_equal(get("/readyz", 200), "ready\n");
    assert_string_equal(get("/ask/0/1", 200), "key 1\n");
    assert_int_equal(db_rig_sessions(&db), 2);
    close_db();
}

static void it_comes_back(void **state) {
    (void)state;
    open_with("", true);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(get("/ask/0/4", 200), "key 4\n");
        db_rig_stop(&db);
        rig_run(&db.rig, 700);
        assert_string_equal(get("/readyz", 503), "database unreachable\n");
        get("/ask/0/4", 503);
        db_rig_start(&db);
        rig_run(&db.rig, 2000); /* no longer than that */
        get("/readyz", 200);
    }
    assert_string_equal(get("/ask/0/4", 200), "key 4\n");
    close_db();
}

/* The only connection of the worker is replaced: who looks has not to send its clients elsewhere; but when it is lost. */
static void it_is_ready_while_a_connection_is_replaced(void **state) {
    (void)state;
    open_with("--db-connections 1", true);
    struct pg_pool *pool = &db.rig.worker->db->pool;
    sim_world_options(db.rig.world)->latency_ns_max = 5 * NS_PER_MS;
    for (int i = 0; i < 3; i++) {
        int down = 0;
        struct rig_client *client = rig_connect(&db.rig);
        rig_send(&db.rig, client, GET("/ask/3/1"));
        for (int ms = 0; ms < 200; ms++, rig_run(&db.rig, 1)) {
            down += !pg_pool_up(pool);
            assert_true(server_has_database(&db.rig.server)); /* what /readyz looks at */
        }
        assert_has(client->text, "key -1\n");
        assert_in_range(down, 1, 50);
        assert_string_equal(get("/ask/0/1", 200), "key 1\n");
    }
    assert_int_equal(pool->figures.connects, 4);
    db_rig_stop(&db);
    rig_run(&db.rig, 50);
    get("/readyz", 503);
    close_db();
}

/* What was under way is repeated when it only reads, and else said to be lost. */
static void who_is_in_flight_when_it_goes(void **state) {
    (void)state;
    open_with("", true);
    get("/ask/2/1", 200);
    struct rig_client *reads = rig_connect(&db.rig), *writes = rig_connect(&db.rig);
    rig_send(&db.rig, reads, GET("/ask/1/5"));
    rig_send(&db.rig, writes, GET("/ask/2/6"));
    rig_run(&db.rig, 100);
    db_rig_stop(&db);
    rig_run(&db.rig, 1);
    db_rig_start(&db);
    rig_run(&db.rig, 3000);
    assert_has(reads->text, "key 5\n");
    assert_has(writes->text, "HTTP/1.1 503 ");
    assert_has(writes->text, "Retry-After: 1\r\n");
    assert_int_equal(db.rig.worker->db->pool.figures.retried, 1);
    close_db();
}

static void a_name_is_looked_up(void **state) {
    (void)state;
    db_rig_open(&db, &app, "--db postgres://me@localhost:5432/things", server_statements,
                sizeof server_statements / sizeof server_statements[0], true);
    rig_run(&db.rig, 2000);
    get("/readyz", 200);
    assert_string_equal(get("/ask/0/1", 200), "key 1\n");
    close_db();
}

static void a_name_that_nobody_knows(void **state) {
    (void)state;
    db_rig_open(&db, &app, "--db postgres://me@no.such.host.invalid:5432/things", server_statements,
                sizeof server_statements / sizeof server_statements[0], true);
    get("/readyz", 503);
    get("/ask/0/1", 503);
    close_db();
}

static void few_connect_at_a_time(void **state) {
    (void)state;
    open_with("--db-connections 40", false);
    db.server.service_ns_max = NS_PER_MS;
    db_rig_start(&db);
    uint32_t most = 0;
    for (int i = 0; i < 4000 && db_rig_sessions(&db) < 40; i++) {
        rig_run(&db.rig, 1);
        most = db.rig.server.db_handshakes > most ? db.rig.server.db_handshakes : most;
    }
    assert_int_equal(db_rig_sessions(&db), 40);
    rig_run(&db.rig, 100);
    assert_int_equal(db.rig.server.db_handshakes, 0);
    assert_true(most <= SERVER_HANDSHAKES_MAX);
    close_db();
}

static void a_refused_login_is_tried_again(void **state) {
    (void)state;
    open_with("", false);
    db.server.refuse_sqlstate = "57P03";
    db_rig_start(&db);
    rig_run(&db.rig, 500);
    get("/readyz", 503);
    db.server.refuse_sqlstate = NULL;
    rig_run(&db.rig, 6000);
    get("/readyz", 200);
    assert_int_equal(db.rig.server.db_handshakes, 0);
    close_db();
}

static void a_drain_ends_what_is_in_flight(void **state) {
    (void)state;
    open_with("", true);
    struct rig_client *client = rig_connect(&db.rig);
    rig_send(&db.rig, client, GET("/ask/1/5"));
    rig_run(&db.rig, 100);
    server_drain(&db.rig.server, 1);
    rig_run(&db.rig, 3000);
    assert_has(client->text, "key 5\n");
    assert_true(db.rig.worker_gone);
    assert_int_equal(db.server.terminated, 2); /* both said goodbye */
    assert_int_equal(db_rig_sessions(&db), 0);
    db_rig_close(&db);
}

static void a_drain_of_idle_connections_is_quick(void **state) {
    (void)state;
    open_with("", true);
    server_drain(&db.rig.server, 1);
    for (int i = 0; db.rig.worker->life != WORKER_LEAVING; i++) {
        assert_true(i < 100);
        assert_int_equal(worker_turn(db.rig.worker), 0);
    }
    assert_true(db.rig.worker->db->more); /* it does not sleep on what it has to say */
    rig_run(&db.rig, 20);
    assert_true(db.rig.worker_gone);
    assert_int_equal(db.server.terminated, 2);
    db_rig_close(&db);
}

static void a_drain_without_a_database(void **state) {
    (void)state;
    open_with("", false);
    rig_run(&db.rig, 100);
    server_drain(&db.rig.server, 1);
    rig_run(&db.rig, 2000);
    assert_true(db.rig.worker_gone);
    db_rig_close(&db);
}

/* A server that is stuck is cancelled, over another connection, and in the end given up. */
static void a_stuck_server_is_cancelled_and_left(void **state) {
    (void)state;
    open_with("--db-connections 1 --db-timeout 200ms --db-grace 100ms", true);
    get("/ask/0/1", 200);
    get("/ask/0/1", 200);
    for (int i = 0; i < PG_BACKENDS_MAX; i++) {
        if (db.conns[i].backend != NULL) {
            pg_backend_stall(db.conns[i].backend, true);
        }
    }
    get("/ask/0/2", 504);
    rig_run(&db.rig, 1000);
    assert_int_equal(db.server.cancels, 1);
    assert_int_equal(db.rig.worker->db->pool.figures.cancels, 1);
    assert_int_equal(db.rig.worker->db->pool.figures.kills, 1);
    assert_string_equal(get("/ask/0/3", 200), "key 3\n");
    assert_int_equal(db.rig.worker->db->attention, 0);
    close_db();
}

static void figures_are_shown(void **state) {
    (void)state;
    open_with("", true);
    get("/ask/0/1", 200);
    get("/ask/1/1", 200);
    const char *text = get("/metrics", 200);
    assert_has(text, "\ndb_client_queries_total 2\n");
    assert_has(text, "db_client_connection_count{state=\"up\"} 2\n");
    assert_has(text, "db_client_queries_ended_total{outcome=\"ok\"} 2\n");
    assert_has(text, "db_client_operation_duration_seconds_count{db_system_name=\"postgresql\",db_query_summary=\"item\"} 1\n");
    assert_has(text, "db_query_summary=\"slow \\\"one\\\"\",le=\"0.25\"} 0\n");
    assert_has(text, "db_query_summary=\"slow \\\"one\\\"\",le=\"0.5\"} 1\n");
    assert_has(text, "db_client_pipeline_depth_count 2\n");
    text = get("/stats", 200);
    assert_has(text, "\"database\":{\"up\":2,");
    assert_has(text, "\"queries\":2,");
    close_db();
}

static void without_a_database_nothing_is_shown(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, &app, "");
    assert_null(strstr(rig_get(&rig, "/metrics", 200), "db_client"));
    assert_null(strstr(rig_get(&rig, "/stats", 200), "database\":{\"up"));
    assert_null(rig.worker->db);
    rig_close(&rig);
}

static void statements_are_checked(void **state) {
    (void)state;
    static const struct rm_statement bad[] = { { .sql = "a" }, { .sql = "b", .flags = RM_SHARED_SYNC }, { .sql = "" } };
    struct config config;
    struct server server;
    char why[CONFIG_WHY_BYTES];
    char *argv[] = { "test" };
    for (uint32_t n = 1; n <= 3; n++) {
        struct rm_app wrong = { .name = "test", .routes = routes, .statements = n == 3 ? bad + 2 : bad,
                                .statement_count = n == 3 ? 1 : n };
        assert_int_equal(config_read(&config, 1, argv, &wrong, why), EXIT_FINE);
        assert_int_equal(config_resolve(&config, 1, 1 << 20, why), EXIT_FINE);
        assert_int_equal(server_open(&server, &config, &wrong, why), n == 1 ? EXIT_FINE : EXIT_CONFIG);
        if (n == 1) {
            assert_int_equal(server.statement_count, 1 + PG_INTERNAL_COUNT);
            assert_memory_equal(server.statements[0].label.data, "#0", 2);
            server_release(&server);
        } else {
            assert_has(why, n == 2 ? "statement 1 has RM_SHARED_SYNC" : "statement 0 has no SQL");
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_serves_without_a_database_and_finds_it),
        cmocka_unit_test(it_comes_back),
        cmocka_unit_test(it_is_ready_while_a_connection_is_replaced),
        cmocka_unit_test(who_is_in_flight_when_it_goes),
        cmocka_unit_test(a_name_is_looked_up),
        cmocka_unit_test(a_name_that_nobody_knows),
        cmocka_unit_test(few_connect_at_a_time),
        cmocka_unit_test(a_refused_login_is_tried_again),
        cmocka_unit_test(a_drain_ends_what_is_in_flight),
        cmocka_unit_test(a_drain_of_idle_connections_is_quick),
        cmocka_unit_test(a_drain_without_a_database),
        cmocka_unit_test(a_stuck_server_is_cancelled_and_left),
        cmocka_unit_test(figures_are_shown),
        cmocka_unit_test(without_a_database_nothing_is_shown),
        cmocka_unit_test(statements_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
