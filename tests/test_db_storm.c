/* Everything that can go wrong with a database, by seed, under a whole worker: connections that die at any byte, refuse, stall,
 * forget their statements or fail; a database that stops and starts; a network that cuts and delays. Each request has a key
 * of its own. What must hold whatever happens: every request is answered; an answer of 200 has its own key and no other; what
 * it says was written has been written once, and nothing was ever written twice or in half; in the end every item of every pool
 * is back. `test_db_storm SEED` repeats one. */
#include "db_rig.h"

#include "random.h"
#include "server/db.h"

enum { CLIENTS = 24, REQUESTS = 25, KEYS = CLIENTS * REQUESTS + 1, SEEDS = 4 };

/* -------------------------------------------------------------------------------------------------- application ---- */

enum { ITEM, LIST, WRITE, BIG };

static const struct rm_statement statements[] = {
    [ITEM] = { .sql = "item $1", .types = RM_TYPES(RM_INT8), .flags = RM_READ_ONLY | RM_SHARED_SYNC },
    [LIST] = { .sql = "list $1", .types = RM_TYPES(RM_INT8), .flags = RM_READ_ONLY },
    [WRITE] = { .sql = "write $1", .types = RM_TYPES(RM_INT8) },
    [BIG] = { .sql = "big $1", .types = RM_TYPES(RM_INT8), .flags = RM_READ_ONLY },
};
static const uint32_t one_int8[] = { RM_INT8 };
static const struct pg_server_column columns[] = { { "key", RM_INT8 }, { "row", RM_INT4 } };
static struct pg_server_statement server_statements[] = {
    DB_RIG_OWN,
    { .sql = "item $1", .columns = columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = 1 },
    { .sql = "list $1", .columns = columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = 20 },
    { .sql = "write $1", .types = one_int8, .type_count = 1, .tag = "UPDATE", .counted = true, .write = true },
    { .sql = "big $1", .columns = columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = 600 },
};

static int64_t key_of(const struct rm_exchange *x) {
    int64_t key = 0;
    assert_true(rm_int(rm_param(x, "key"), &key));
    return key;
}

/* The first that did not end well, or NULL. */
static struct rm_query *bad_one(struct rm_exchange *x) {
    for (uint32_t i = 0; rm_result(x, i) != NULL; i++) {
        if (rm_db_status(rm_result(x, i)) != RM_DB_OK) {
            return rm_result(x, i);
        }
    }
    return NULL;
}

static enum rm_step answer_json(struct rm_exchange *x) {
    struct rm_query *bad = bad_one(x);
    if (bad != NULL) {
        return rm_db_answer(x, bad);
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    for (uint32_t i = 0; rm_result(x, i) != NULL; i++) {
        rm_json_rows(x, i == 0 ? "a" : "b", rm_result(x, i));
    }
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step answer_kept(struct rm_exchange *x) {
    struct rm_query *bad = bad_one(x);
    const struct rm_row *row;
    if (bad != NULL) {
        return rm_db_answer(x, bad);
    }
    rm_begin(x, 200, "text/plain");
    for (uint32_t i = 0; rm_result(x, i) != NULL; i++) {
        while (rm_next_row(rm_result(x, i), &row)) {
            int64_t key = 0;
            assert_true(rm_get_int(row, 0, &key));
            rm_write(x, SPAN("\"key\":"));
            rm_write_int(x, key);
            rm_write(x, SPAN(","));
        }
    }
    return RM_DONE;
}

static enum rm_step answer_written(struct rm_exchange *x) {
    struct rm_query *bad = bad_one(x);
    char text[32];
    if (bad != NULL) {
        return rm_db_answer(x, bad);
    }
    snprintf(text, sizeof text, "\"key\":%d,", (int)key_of(x));
    return rm_text(x, 200, text);
}

static enum rm_step item(struct rm_exchange *x) {
    rm_query_json(x, &statements[ITEM], rm_int_arg(key_of(x)));
    rm_then(x, answer_json);
    return RM_PARK;
}

static enum rm_step both(struct rm_exchange *x) {
    rm_query_json(x, &statements[ITEM], rm_int_arg(key_of(x)));
    rm_query_json(x, &statements[LIST], rm_int_arg(key_of(x)));
    rm_then(x, answer_json);
    return RM_PARK;
}

static enum rm_step kept(struct rm_exchange *x) {
    rm_query(x, &statements[LIST], rm_int_arg(key_of(x)));
    rm_query(x, &statements[ITEM], rm_int_arg(key_of(x)));
    rm_then(x, answer_kept);
    return RM_PARK;
}

static enum rm_step big(struct rm_exchange *x) {
    rm_query_json(x, &statements[BIG], rm_int_arg(key_of(x)));
    rm_then(x, answer_json);
    return RM_PARK;
}

static enum rm_step write_one(struct rm_exchange *x) {
    rm_query(x, &statements[WRITE], rm_int_arg(key_of(x)));
    rm_then(x, answer_written);
    return RM_PARK;
}

static enum rm_step write_group(struct rm_exchange *x) {
    rm_group(x);
    rm_query(x, &statements[WRITE], rm_int_arg(key_of(x)));
    rm_query(x, &statements[WRITE], rm_int_arg(key_of(x)));
    rm_then(x, answer_written);
    return RM_PARK;
}

static enum rm_step commit(struct rm_exchange *x) {
    struct rm_query *bad = bad_one(x);
    if (bad != NULL) {
        return rm_db_answer(x, bad); /* what it has begun is rolled back */
    }
    rm_commit(x);
    rm_then(x, answer_written);
    return RM_PARK;
}

static enum rm_step transact(struct rm_exchange *x) {
    rm_transaction(x, RM_SERIALIZABLE);
    rm_query(x, &statements[WRITE], rm_int_arg(key_of(x)));
    rm_query(x, &statements[WRITE], rm_int_arg(key_of(x)));
    rm_then(x, commit);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { "GET", "/item/{key}", item, RM_BODY_NONE, NULL },       { "GET", "/both/{key}", both, RM_BODY_NONE, NULL },
    { "GET", "/kept/{key}", kept, RM_BODY_NONE, NULL },       { "GET", "/big/{key}", big, RM_BODY_NONE, NULL },
    { "GET", "/write/{key}", write_one, RM_BODY_NONE, NULL }, { "GET", "/group/{key}", write_group, RM_BODY_NONE, NULL },
    { "GET", "/transact/{key}", transact, RM_BODY_NONE, NULL }, { 0 },
};
static const struct rm_app app = { .name = "storm", .routes = routes, .statements = statements, .statement_count = 4 };

/* ------------------------------------------------------------------------------------------------------- oracle ---- */

static const struct {
    const char *path;
    uint32_t writes; /* of one that was answered 200 */
} kinds[] = { { "item", 0 }, { "both", 0 }, { "kept", 0 }, { "big", 0 }, { "write", 1 }, { "group", 2 }, { "transact", 2 } };

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static struct db_rig db;
static uint32_t committed[KEYS], kind_of[KEYS];
static int status_of[KEYS];

static void remember(void *arg, const struct pg_server_statement *statement, int64_t key) {
    (void)arg, (void)statement;
    assert_true(key > 0 && key < KEYS);
    committed[key]++;
}

/* Every key of the answer is its own. */
static void check_keys(const char *text, uint32_t key) {
    uint32_t found = 0;
    for (const char *at = text; (at = strstr(at, "\"key\":")) != NULL; found++) {
        at += sizeof "\"key\":" - 1;
        if (strtoul(at, NULL, 10) != key) {
            fail_msg("key %u was asked for, and this is the answer: %s", key, text);
        }
    }
    assert_int_equal(found, kind_of[key] == 1 || kind_of[key] == 2 ? 21 : kind_of[key] == 3 ? 600 : 1);
}

static bool is_whole(const struct rig_client *client) {
    const char *head = strstr(client->text, "\r\n\r\n"), *length = strstr(client->text, "Content-Length:");
    return head != NULL && length != NULL && client->len == (size_t)(head + 4 - client->text) + strtoul(length + 15, NULL, 10);
}

struct asker {
    struct rig_client *client;
    uint32_t key; /* that was asked for; 0: none */
    uint32_t left;
};
static struct asker askers[CLIENTS];
static uint32_t next_key;

static void take_answer(struct asker *asker) {
    int status = atoi(asker->client->text + sizeof "HTTP/1.1 " - 1);
    assert_true(status == 200 || status == 500 || status == 503 || status == 504);
    if (status == 200) {
        check_keys(asker->client->text, asker->key);
    }
    status_of[asker->key] = status;
    asker->key = 0;
}

static void ask(struct asker *asker, struct random *random) {
    char text[128];
    asker->key = next_key++;
    asker->left--;
    kind_of[asker->key] = random_below(random, KINDS);
    rig_forget(asker->client);
    snprintf(text, sizeof text, "GET /%s/%u HTTP/1.1\r\nHost: a\r\n\r\n", kinds[kind_of[asker->key]].path, asker->key);
    rig_send(&db.rig, asker->client, text);
}

/* True when all have their answers. */
static bool serve_all(struct random *random) {
    bool over = true;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct asker *asker = &askers[i];
        assert_int_equal(asker->client->error, 0);
        if (asker->key != 0 && is_whole(asker->client)) {
            take_answer(asker);
        }
        if (asker->key == 0 && asker->left > 0 && random_below(random, 4) == 0) {
            ask(asker, random);
        }
        over &= asker->key == 0 && asker->left == 0;
    }
    return over;
}

static void check_writes(void) {
    uint32_t fine = 0;
    for (uint32_t key = 1; key < next_key; key++) {
        uint32_t writes = kinds[kind_of[key]].writes;
        fine += status_of[key] == 200;
        if (committed[key] != writes && (committed[key] != 0 || status_of[key] == 200)) {
            fail_msg("%s %u was answered %d and has written %u", kinds[kind_of[key]].path, key, status_of[key], committed[key]);
        }
    }
    print_message("%u of %u were answered 200\n", fine, next_key - 1);
    assert_true(fine > 0);
}

/* -------------------------------------------------------------------------------------------------------- storm ---- */

static uint32_t maybe(struct random *random, uint32_t chance) {
    return random_below(random, 2) == 0 ? 0 : chance;
}

static struct pg_server_chances some_chances(struct random *random) {
    return (struct pg_server_chances){
        .noise = maybe(random, 10), .discard = maybe(random, 60), .alter = maybe(random, 60), .exists = maybe(random, 5),
        .error = maybe(random, 30), .die = maybe(random, 8),      .die_bytes = 20000,         .fatal = maybe(random, 200),
        .stall = maybe(random, 300), .refuse = maybe(random, 4),
    };
}

static void open_storm(uint64_t seed, struct random *random) {
    static const char *const lines[] = { "", "--db-connections 1", "--db-inflight 1 --db-connections 3", "--db-queue 4",
                                         "--db-prepare off", "--db-result-bytes 16K" };
    struct sim_options options;
    char line[256];
    sim_options_rough(&options);
    options.turn_ns = 10000; /* quicker: nothing leaps while the server's side polls */
    snprintf(line, sizeof line, "%s --db-timeout 400ms --db-grace 50ms --db-connect-timeout 300ms %s", DB_RIG_URL,
             lines[random_below(random, sizeof lines / sizeof lines[0])]);
    db_rig_open_world(&db, &app, line, server_statements, sizeof server_statements / sizeof server_statements[0], seed, &options);
    db.server.committed = remember;
    db.server.service_ns_max = random_below(random, 2) * 2 * NS_PER_MS;
    db.server.chances = some_chances(random);
    memset(committed, 0, sizeof committed);
    next_key = 1;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        askers[i] = (struct asker){ .client = rig_connect(&db.rig), .left = REQUESTS };
    }
}

static void weather(struct random *random, bool *up) {
    if (!*up && !db.listening && random_below(random, 20) == 0) {
        db_rig_start(&db);
        *up = true;
    } else if (*up && random_below(random, 300) == 0) {
        db_rig_stop(&db);
        *up = false;
    }
}

static void storm(uint64_t seed) {
    struct random random = { seed };
    bool up = false;
    print_message("seed %u\n", (unsigned)seed);
    open_storm(seed, &random);
    for (uint32_t step = 0; !serve_all(&random); step++) {
        assert_true(step < 60000); /* every request is answered */
        weather(&random, &up);
        rig_run(&db.rig, 1 + random_below(&random, 5));
    }
    db.server.chances = (struct pg_server_chances){ 0 };
    for (int i = 0; i < 100 && !up; i++) {
        weather(&random, &up);
        rig_run(&db.rig, 50);
    }
    rig_run(&db.rig, 8000);
    assert_string_equal(rig_get(&db.rig, "/readyz", 200), "ready\n");
    assert_has(rig_get(&db.rig, "/item/0", 200), "\"key\":0,");
    rig_run(&db.rig, 1000);
    assert_nothing_taken(&db.rig);
    assert_int_equal(db.rig.server.db_handshakes, 0);
    assert_int_equal(db.rig.worker->db->pool.figures.in_flight, 0);
    assert_int_equal(db.rig.worker->db->pool.figures.waiting, 0);
    server_drain(&db.rig.server, 1);
    rig_run(&db.rig, 12000);
    assert_true(db.rig.worker_gone);
    db_rig_close(&db);
    check_writes();
}

static uint64_t seeds[2] = { 1, SEEDS };

static void storms(void **state) {
    (void)state;
    for (uint64_t seed = seeds[0]; seed <= seeds[1]; seed++) {
        storm(seed);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(storms) };
    if (argc > 1) {
        seeds[0] = strtoull(argv[1], NULL, 10);
        seeds[1] = argc > 2 ? strtoull(argv[2], NULL, 10) : seeds[0];
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
