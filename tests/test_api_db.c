/* Queries by the public interface, against a simulated Postgres: what the handlers of db_app.c come to. */
#include "db_app.h"

#include "server/db.h"

static struct db_rig db;
static int64_t committed[64];
static uint32_t committed_count;

static void remember(void *arg, const struct pg_server_statement *statement, int64_t key) {
    (void)arg, (void)statement;
    committed[committed_count++ % 64] = key;
}

static void open_with(const char *line) {
    char all[200];
    snprintf(all, sizeof all, "%s %s", DB_RIG_URL, line);
    committed_count = 0;
    db_rig_open(&db, &db_app, all, db_app_server, DB_APP_SERVER_STATEMENTS, true);
    db.server.committed = remember;
}

/* Everything that was taken has been given back, and the server has seen nothing that it does not understand. */
static void close_db(void) {
    rig_run(&db.rig, 1000);
    assert_nothing_taken(&db.rig);
    db_rig_close(&db);
}

static const char *get(const char *target, int status) {
    return rig_get(&db.rig, target, status);
}

/* -------------------------------------------------------------------------------------------------------- tests ---- */

static void without_a_database_it_is_503(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, &db_app, "");
    assert_has(rig_ask(&rig, GET("/json?id=1")), "HTTP/1.1 503 ");
    assert_has(rig_ask(&rig, GET("/commit")), "HTTP/1.1 503 ");
    assert_has(rig_ask(&rig, GET("/group")), "HTTP/1.1 503 ");
    assert_has(rig_ask(&rig, GET("/readyz")), "HTTP/1.1 200 ");
    assert_nothing_taken(&rig);
    rig_close(&rig);
}

static void rows_become_json(void **state) {
    (void)state;
    open_with("");
    assert_string_equal(get("/json?id=7", 200), "{\"before\":1,\"item\":{\"id\":7,\"row\":0},\"after\":2}");
    assert_string_equal(get("/json?id=-8", 200), "{\"before\":1,\"item\":{\"id\":-8,\"row\":0},\"after\":2}");
    assert_string_equal(get("/rows", 200), "{\"items\":[{\"row\":0},{\"row\":1},{\"row\":2}],\"count\":3}");
    assert_string_equal(get("/big?rows=0&bytes=1", 200), "{\"items\":[],\"count\":0}");
    close_db();
}

static void large_results_are_moved(void **state) {
    (void)state;
    open_with("");
    const char *body = get("/big?rows=90&bytes=1000", 200);
    assert_int_equal(count_of(body, "{\"text\":\"xxxx"), 90);
    assert_has(body, "\"}],\"count\":90}");
    body = get("/streamed?rows=90&bytes=1000", 200);
    assert_int_equal(count_of(body, "{\"text\":\"xxxx"), 90);
    assert_has(body, "7]\r\n0\r\n\r\n");
    body = get("/streamed?rows=1&bytes=10", 200);
    assert_has(body, "[[{\"text\":\"xxxxxxxxxx\"}],7]\r\n0\r\n\r\n");
    assert_has(rig_ask(&db.rig, "HEAD /big?rows=90&bytes=1000 HTTP/1.1\r\nHost: a\r\n\r\n"), "Content-Length:      91102\r\n");
    close_db();
}

static void rows_are_kept(void **state) {
    (void)state;
    open_with("");
    assert_string_equal(get("/kept", 200), "0 1 2 ");
    assert_string_equal(get("/counted?rows=0&bytes=1", 200), "0 rows 0 bytes");
    assert_string_equal(get("/counted?rows=100&bytes=3990", 200), "100 rows 399000 bytes");
    assert_string_equal(get("/counted?rows=3&bytes=0", 200), "3 rows 0 bytes");
    get("/counted?rows=1&bytes=4100", 500);
    close_db();
}

/* The connection is lost behind rows that were kept, or written as JSON: the response has those of the second run alone. */
static void rows_of_a_lost_connection_are_dropped(void **state) {
    (void)state;
    static const char *const bodies[][2] = { { "{\"items\":[],\"count\":0}", "" },
                                             { "{\"items\":[{\"row\":0}],\"count\":1}", "0 " },
                                             { "{\"items\":[{\"row\":0},{\"row\":1},{\"row\":2}],\"count\":3}", "0 1 2 " } };
    static const uint32_t rows[] = { 0, 1, 3 };
    struct pg_server_statement *list = &db_app_server[DB_APP_LIST];
    open_with("--db-connections 1");
    get("/rows", 200);
    for (int i = 0; i < 6; i++) {
        struct rig_client *client = rig_connect(&db.rig);
        *list = (struct pg_server_statement){ .sql = list->sql, .columns = list->columns, .column_count = 1, .rows = 2,
                                              .what = PG_DO_FATAL, .sqlstate = "57P01" };
        rig_send(&db.rig, client, i < 3 ? GET("/rows") : GET("/kept"));
        rig_run(&db.rig, 1);
        list->what = PG_DO_ROWS;
        list->rows = rows[i % 3];
        rig_run(&db.rig, 1000);
        assert_has(client->text, "HTTP/1.1 200 ");
        assert_string_equal(strstr(client->text, "\r\n\r\n") + 4, bodies[i % 3][i / 3]);
    }
    assert_int_equal(list->rows, 3);
    assert_int_equal(db.rig.worker->db->pool.figures.retried, 6);
    close_db();
}

static void rows_are_told_one_by_one(void **state) {
    (void)state;
    open_with("");
    assert_string_equal(get("/each?rows=30&most=100", 200), "30 rows");
    get("/each?rows=30&most=3", 500);
    assert_string_equal(get("/each?rows=5&most=5", 200), "5 rows");
    close_db();
}

static void arguments_of_any_length(void **state) {
    (void)state;
    open_with("");
    assert_int_equal(strlen(get("/echo?bytes=0", 200)), 0);
    assert_int_equal(strlen(get("/echo?bytes=200", 200)), 200);
    assert_int_equal(strlen(get("/echo?bytes=2900", 200)), 2900); /* a block */
    assert_string_equal(get("/echo?bytes=100000", 200), "too large///1/1\n");
    close_db();
}

static void several_queries_at_once(void **state) {
    (void)state;
    open_with("");
    assert_string_equal(get("/two", 200), "ok///1/1\nerror/23505/things_pkey/0/0\nok///1/0\n");
    assert_string_equal(get("/chain?n=50", 200), "enough\n");
    close_db();
}

static void groups_happen_or_not(void **state) {
    (void)state;
    open_with("");
    assert_string_equal(get("/group", 200), "ok///1/0\nok///1/0\n");
    assert_string_equal(get("/group/fails", 200), "rolled back///0/0\nerror/23505/things_pkey/0/0\nrolled back///0/0\n");
    assert_string_equal(get("/group/refused", 200), "rolled back///0/0\nerror/22021//0/0\n");
    assert_string_equal(get("/group/empty", 200), "nothing to do\n");
    assert_string_equal(get("/group", 200), "ok///1/0\nok///1/0\n");
    assert_int_equal(committed_count, 4);
    close_db();
}

static void transactions(void **state) {
    (void)state;
    open_with("--db-connections 2");
    assert_string_equal(get("/commit", 200), "ok///0/0\n");
    assert_int_equal(committed_count, 2);
    assert_has(get("/commit/at-once", 200), "ok///1/0\nok///0/0\nok///1/0\n");
    assert_int_equal(committed_count, 4);
    assert_string_equal(get("/rollback", 200), "ok///0/0\n");
    assert_string_equal(get("/commit/fails", 200), "rolled back///0/0\n");
    assert_string_equal(get("/commit/refused", 200), "rolled back///0/0\n");
    assert_string_equal(get("/deferred", 200), "error/23503//0/0\n");
    assert_string_equal(get("/forget", 200), "ok///1/0\n");
    assert_int_equal(committed_count, 4);
    assert_int_equal(committed[0], 10);
    assert_int_equal(committed[1], 11);
    assert_int_equal(committed[2] * committed[3], 12 * 13); /* on two connections: in any order */
    assert_int_equal(db.rig.worker->db->figures.forgotten, 1);
    assert_has(get("/json?id=1", 200), "\"id\":1,"); /* its connection serves others again */
    assert_int_equal(db.rig.worker->db->pool.figures.up, 2);
    close_db();
}

static void mistakes_are_500(void **state) {
    (void)state;
    open_with("");
    for (int i = 0; i < 8; i++) {
        char target[32];
        snprintf(target, sizeof target, "/wrong?what=%d", i);
        get(target, 500);
        assert_nothing_taken(&db.rig);
    }
    get("/moved-twice", 500);
    close_db();
}

static void what_can_not_be_sent_is_an_error(void **state) {
    (void)state;
    open_with("");
    assert_string_equal(get("/refuse", 200), "error/22021//0/0\n");
    close_db();
}

static void answers_have_the_right_status(void **state) {
    (void)state;
    open_with("");
    get("/answered?what=0", 500);
    assert_has(rig_ask(&db.rig, GET("/answered?what=1")), "Retry-After: 1\r\n");
    get("/answered?what=1", 503);
    get("/answered?what=2", 500);
    close_db();
}

static void who_is_late_gets_504(void **state) {
    (void)state;
    open_with("--db-timeout 100ms");
    get("/slow?id=1", 504);
    rig_run(&db.rig, 2000);
    assert_has(get("/json?id=5", 200), "\"id\":5,");
    close_db();
}

static void a_full_queue_is_503(void **state) {
    (void)state;
    open_with("--db-connections 1 --db-inflight 1 --db-queue 2");
    struct rig_client *clients[8];
    for (int i = 0; i < 8; i++) {
        clients[i] = rig_connect(&db.rig);
        rig_send(&db.rig, clients[i], GET("/slow?id=9"));
    }
    rig_run(&db.rig, 2000);
    int served = 0, shed = 0;
    for (int i = 0; i < 8; i++) {
        served += strstr(clients[i]->text, "\"id\":9,") != NULL;
        shed += strstr(clients[i]->text, "HTTP/1.1 503 ") != NULL && strstr(clients[i]->text, "Retry-After: 1\r\n") != NULL;
    }
    assert_int_equal(served, 3);
    assert_int_equal(shed, 5);
    close_db();
}

static void too_large_results_are_dropped(void **state) {
    (void)state;
    open_with("--db-result-bytes 64K --db-connections 1");
    get("/big?rows=100&bytes=1000", 500);
    get("/counted?rows=100&bytes=1000", 500);
    get("/each?rows=100&most=1000", 500);
    assert_string_equal(get("/counted?rows=1000&bytes=1", 200), "1000 rows 1000 bytes");
    get("/counted?rows=3000&bytes=1", 500); /* 21,000 bytes as they come, and more than 64K as they are kept */
    get("/big?rows=6000&bytes=1", 500);     /* likewise, as JSON */
    assert_has(get("/json?id=5", 200), "\"id\":5,");
    assert_int_equal(db.server.started, 1); /* on the same connection */
    assert_int_equal(db.rig.worker->db->figures.too_large, 5);
    close_db();
}

static void without_blocks_it_is_503(void **state) {
    (void)state;
    open_with("");
    assert_has(get("/json?id=5", 200), "\"id\":5,");
    rig_exhaust(&db.rig, PLAN_BLOCKS, 12);
    get("/big?rows=90&bytes=1000", 503);
    get("/counted?rows=90&bytes=1000", 503);
    rig_replenish(&db.rig);
    assert_int_equal(count_of(get("/big?rows=90&bytes=1000", 200), "{\"text\""), 90);
    close_db();
}

static void without_items_it_is_503(void **state) {
    (void)state;
    open_with("");
    rig_exhaust(&db.rig, PLAN_QUERIES, 1);
    assert_has(get("/json?id=5", 200), "\"id\":5,");
    get("/two", 503);
    rig_replenish(&db.rig);
    rig_exhaust(&db.rig, PLAN_SESSIONS, 0);
    get("/commit", 503);
    get("/forget", 503);
    rig_replenish(&db.rig);
    rig_run(&db.rig, 1000);
    assert_int_equal(committed_count, 0); /* nor outside of a transaction */
    rig_exhaust(&db.rig, PLAN_BODIES, 0);
    assert_string_equal(get("/echo?bytes=100000", 200), "busy///0/0\n");
    rig_replenish(&db.rig);
    assert_int_equal(db.rig.worker->db->figures.exhausted, 3);
    close_db();
}

static void clients_go_at_any_time(void **state) {
    (void)state;
    open_with("--db-connections 1");
    static const char *const targets[] = { "/slow?id=1", "/cut", "/commit", "/forget", "/group", "/two", "/big?rows=90&bytes=900" };
    for (unsigned t = 0; t < sizeof targets / sizeof targets[0]; t++) {
        for (uint64_t us = 0; us < 24; us++) {
            char request[128];
            struct rig_client *client = rig_connect(&db.rig);
            snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", targets[t]);
            rig_send(&db.rig, client, request);
            rig_run_ns(&db.rig, us * 2000);
            rig_drop(&db.rig, client, us % 2 == 0);
            rig_run(&db.rig, t < 2 ? 250 : 10);
        }
        assert_nothing_taken(&db.rig);
        assert_has(get("/json?id=5", 200), "\"id\":5,");
    }
    assert_true(db_app_ends > 0);
    close_db();
}

/* A handler that asks again at once, of whom nothing can be had: others have their turn nevertheless. */
static void insist_without(bool down) {
    struct rig_client *client = rig_connect(&db.rig);
    uint64_t turns = db.rig.worker->turn;
    db_app_tries = 0;
    for (int i = 0; i < 3 && !down; i++) {
        rig_send(&db.rig, rig_connect(&db.rig), GET("/slow?id=9"));
        rig_run(&db.rig, 10);
    }
    rig_send(&db.rig, client, GET("/insist"));
    for (int i = 0; db_app_tries < 20; i++) {
        assert_true(i < 100);
        rig_run_ns(&db.rig, 400000);
    }
    turns = db.rig.worker->turn - turns;
    assert_in_range(db_app_tries, 20, 16 * turns);
    assert_has(get("/healthz", 200), "ok");
}

static void who_insists_does_not_stop_the_others(void **state) {
    (void)state;
    open_with("");
    db_rig_stop(&db);
    rig_run(&db.rig, 2000);
    insist_without(true);
    db_rig_start(&db);
    rig_run(&db.rig, 2000);
    close_db();
    open_with("--db-connections 1 --db-inflight 1 --db-queue 1");
    insist_without(false);
    close_db();
}

static void a_changed_result_is_not_misread(void **state) {
    (void)state;
    open_with("--db-connections 1");
    struct pg_server_statement *statement = &db_app_server[DB_APP_SERVER_STATEMENTS - 1];
    assert_string_equal(get("/shape", 200), "there\n");
    struct rig_client *client = rig_connect(&db.rig);
    rig_send(&db.rig, client, GET("/shape/later"));
    rig_run(&db.rig, 100);
    statement->column_count = 1;
    statement->version++;
    assert_string_equal(get("/shape", 200), "there\n");
    rig_run(&db.rig, 1000);
    assert_has(client->text, "HTTP/1.1 500 ");
    statement->column_count = 2;
    close_db();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_database_it_is_503),
        cmocka_unit_test(rows_become_json),
        cmocka_unit_test(large_results_are_moved),
        cmocka_unit_test(rows_are_kept),
        cmocka_unit_test(rows_of_a_lost_connection_are_dropped),
        cmocka_unit_test(rows_are_told_one_by_one),
        cmocka_unit_test(arguments_of_any_length),
        cmocka_unit_test(several_queries_at_once),
        cmocka_unit_test(groups_happen_or_not),
        cmocka_unit_test(transactions),
        cmocka_unit_test(mistakes_are_500),
        cmocka_unit_test(what_can_not_be_sent_is_an_error),
        cmocka_unit_test(answers_have_the_right_status),
        cmocka_unit_test(who_is_late_gets_504),
        cmocka_unit_test(a_full_queue_is_503),
        cmocka_unit_test(too_large_results_are_dropped),
        cmocka_unit_test(without_blocks_it_is_503),
        cmocka_unit_test(without_items_it_is_503),
        cmocka_unit_test(clients_go_at_any_time),
        cmocka_unit_test(who_insists_does_not_stop_the_others),
        cmocka_unit_test(a_changed_result_is_not_misread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
