/* A database under the whole server: routes that ask it, requests with keys of their own, and what goes wrong with it by the
 * seed: it is not there at first, goes and comes back, dies at any byte, answers nothing, forgets statements. What was committed
 * is counted by key. */
#include "whole.h"

#include "server/config_priv.h"
#include "server/db.h"

enum { ITEM, LIST, SLOW, WRITE };
enum { LIST_ROWS = 3, TOGGLE_MS = 400 };

/* --------------------------------------------------------------------------------------------------- statements ---- */

static const enum rm_type key_type[] = { RM_INT8, RM_TYPES_END };

const struct rm_statement whole_statements[WHOLE_STATEMENTS] = {
    [ITEM] = { .sql = "item $1", .types = key_type, .flags = RM_READ_ONLY | RM_SHARED_SYNC },
    [LIST] = { .sql = "list $1", .types = key_type, .flags = RM_READ_ONLY },
    [SLOW] = { .sql = "slow $1", .types = key_type, .flags = RM_READ_ONLY },
    [WRITE] = { .sql = "write $1", .types = key_type },
};

static const uint32_t one_int8[] = { RM_INT8 };
static const struct pg_server_column columns[] = { { "key", RM_INT8 }, { "row", RM_INT4 } };
static struct pg_server_statement server_statements[] = {
    DB_RIG_OWN,
    { .sql = "item $1", .columns = columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = 1 },
    { .sql = "list $1", .columns = columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = LIST_ROWS },
    { .sql = "slow $1", .columns = columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = 1,
      .sleep_ns = 30 * NS_PER_MS },
    { .sql = "write $1", .types = one_int8, .type_count = 1, .tag = "UPDATE", .counted = true, .write = true },
};

/* ----------------------------------------------------------------------------------------------------- handlers ---- */

static struct rm_query *ask(struct rm_exchange *x, unsigned statement) {
    return rm_query(x, &whole_statements[statement], rm_int_arg(whole_number(x, "key")));
}

static enum rm_step park(struct rm_exchange *x, rm_handler_fn *next) {
    rm_then(x, next);
    return RM_PARK;
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

/* The keys of all rows, as the database has them. */
static enum rm_step answer_keys(struct rm_exchange *x) {
    struct rm_query *bad = bad_one(x);
    const struct rm_row *row;
    if (bad != NULL) {
        return rm_db_answer(x, bad);
    }
    rm_begin(x, 200, "text/plain");
    rm_write(x, SPAN("keys"));
    for (uint32_t i = 0; rm_result(x, i) != NULL; i++) {
        while (rm_next_row(rm_result(x, i), &row)) {
            int64_t key = -1;
            (void)rm_get_int(row, 0, &key);
            rm_write(x, SPAN(" "));
            rm_write_int(x, key);
        }
    }
    return RM_DONE;
}

static enum rm_step answer_json(struct rm_exchange *x) {
    if (bad_one(x) != NULL) {
        return rm_db_answer(x, bad_one(x));
    }
    rm_begin(x, 200, "application/json");
    rm_json_rows(x, NULL, rm_result(x, 0));
    return RM_DONE;
}

static enum rm_step answer_written(struct rm_exchange *x) {
    return bad_one(x) != NULL ? rm_db_answer(x, bad_one(x)) : rm_text(x, 200, "written");
}

static enum rm_step commit(struct rm_exchange *x) {
    if (bad_one(x) != NULL) {
        return rm_db_answer(x, bad_one(x)); /* what it has begun is rolled back */
    }
    rm_commit(x);
    return park(x, answer_written);
}

enum rm_step whole_db_one(struct rm_exchange *x) {
    ask(x, ITEM);
    return park(x, answer_keys);
}

enum rm_step whole_db_json(struct rm_exchange *x) {
    rm_query_json(x, &whole_statements[LIST], rm_int_arg(whole_number(x, "key")));
    return park(x, answer_json);
}

enum rm_step whole_db_two(struct rm_exchange *x) {
    ask(x, ITEM);
    ask(x, LIST);
    return park(x, answer_keys);
}

enum rm_step whole_db_group(struct rm_exchange *x) {
    rm_group(x);
    ask(x, WRITE);
    ask(x, WRITE);
    return park(x, answer_written);
}

enum rm_step whole_db_transact(struct rm_exchange *x) {
    rm_transaction(x, RM_SERIALIZABLE);
    ask(x, WRITE);
    ask(x, WRITE);
    return park(x, commit);
}

/* Its transaction is idle for a while. */
enum rm_step whole_db_nap(struct rm_exchange *x) {
    rm_transaction(x, RM_READ_COMMITTED);
    ask(x, WRITE);
    rm_sleep(x, 5 * NS_PER_MS);
    return park(x, commit);
}

enum rm_step whole_db_forget(struct rm_exchange *x) {
    rm_transaction(x, RM_REPEATABLE_READ);
    ask(x, WRITE);
    return park(x, answer_written);
}

enum rm_step whole_db_slow(struct rm_exchange *x) {
    ask(x, SLOW);
    rm_on_end(x, whole_told);
    return park(x, answer_keys);
}

/* ----------------------------------------------------------------------------------------------------- requests ---- */

static const struct {
    const char *name;
    uint32_t writes, rows;
} routes[] = { { "one", 0, 1 }, { "json", 0, 0 }, { "two", 0, 1 + LIST_ROWS }, { "group", 2, 0 }, { "transact", 2, 0 },
               { "nap", 1, 0 }, { "forget", 1, 0 }, { "slow", 0, 1 } };

enum { ONE, JSON, TWO, GROUP, TRANSACT, NAP, FORGET, SLOWLY, ROUTES };

static void expect_json(struct whole_request *r) {
    char text[WHOLE_TEXT_BYTES] = "[";
    size_t len = 1;
    for (int i = 0; i < LIST_ROWS; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s{\"key\":%u,\"row\":%d}", i > 0 ? "," : "", r->key, i);
    }
    snprintf(text + len, sizeof text - len, "]");
    whole_expect_text(r, "application/json", text);
}

static void expect_keys(struct whole_request *r, uint32_t rows) {
    char text[WHOLE_TEXT_BYTES] = "keys";
    size_t len = strlen(text);
    for (uint32_t i = 0; i < rows; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, " %u", r->key);
    }
    whole_expect_text(r, "text/plain", text);
}

void whole_write_db(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint32_t route = random_below(&c->random, ROUTES);
    r->key = 1 + c->index * WHOLE_REQUESTS_MAX + (uint32_t)(r - c->requests);
    r->writes = routes[route].writes;
    r->forgets = route == FORGET;
    snprintf(shape.target, sizeof shape.target, "/db/%s/%u", routes[route].name, r->key);
    whole_put_request(c, r, &shape);
    if (route == JSON) {
        expect_json(r);
    } else if (routes[route].rows > 0) {
        expect_keys(r, routes[route].rows);
    } else {
        whole_expect_text(r, "text/plain", "written");
    }
    r->watchful = route == SLOWLY;
    r->service_ns = UINT64_MAX;
}

bool whole_db_failed(const struct whole *w, const struct whole_request *want, int status, bool short_of) {
    bool later = status == 503 || status == 504;
    return want->key != 0 && ((later && (w->db_troubled || short_of)) || (status == 500 && w->db_forgetful));
}

void whole_judge_writes(struct whole *w, const struct whole_request *want, int status) {
    uint32_t written = w->db_written[want->key], wanted = want->forgets ? 0 : want->writes;
    bool lost = status == 200 && written != wanted;
    if (lost || (written != 0 && written != wanted)) {
        whole_fail(w, "key %u was answered %d and has written %u, and not %u", want->key, status, written, wanted);
    }
}

/* -------------------------------------------------------------------------------------------------------- trouble ---- */

static uint32_t maybe(struct random *random, uint32_t chance) {
    return whole_chance(random, 60) ? 0 : chance;
}

static void draw_limits(struct whole *w) {
    struct random *random = &w->db_random;
    struct config_db *limits = &w->config.db_limits;
    static const uint32_t inflights[] = { 16, 16, 2, 3 }, queues[] = { 1024, 1024, 4, 1 };
    limits->connections = whole_between(random, 1, 4);
    limits->inflight = inflights[random_below(random, 4)];
    limits->timeout_ns = 60 * NS_PER_SECOND;
    limits->prepare = !whole_chance(random, 10);
    if (w->db_troubled) {
        limits->queue = queues[random_below(random, 4)];
        limits->timeout_ns = whole_between(random, 50, 800) * NS_PER_MS;
        limits->grace_ns = whole_between(random, 20, 200) * NS_PER_MS;
        limits->connect_ns = whole_between(random, 50, 500) * NS_PER_MS;
        limits->transaction_ns = whole_between(random, 3, 1000) * NS_PER_MS;
    }
}

void whole_draw_db(struct whole *w) {
    struct random *random = &w->db_random;
    char why[CONFIG_WHY_BYTES];
    random->state = w->seed ^ 0xdbdbdb;
    if (!whole_chance(random, 40)) {
        return;
    }
    bool rough = w->breaking || w->jumping || w->faults.refuse_ppm > 0 || w->faults.emfile_ppm > 0;
    w->db_troubled = whole_chance(random, 60) || rough;
    w->db_on = true;
    w->config.statements = WHOLE_STATEMENTS;
    w->config.db_limits.url = "postgres://me@127.0.0.1:5432/things";
    draw_limits(w);
    if (config_db_read(&w->config, &whole_app, why) != EXIT_FINE || config_db_resolve(&w->config, why) != EXIT_FINE) {
        whole_fail(w, "%s", why);
    }
}

/* Its port is free some time after it went. */
static void start(struct whole *w) {
    if (!w->db.listening) {
        w->db_there = true;
        db_rig_start(&w->db);
    }
}

static void count_write(void *arg, const struct pg_server_statement *statement, int64_t key) {
    struct whole *w = arg;
    (void)statement;
    if (key <= 0 || key >= WHOLE_KEYS) {
        whole_fail(w, "a key that nobody has: %d", (int)key);
    }
    w->db_written[key]++;
}

static void draw_chances(struct whole *w) {
    struct random *random = &w->db_random;
    w->db.server.chances = (struct pg_server_chances){
        .noise = maybe(random, 10), .discard = maybe(random, 40), .alter = maybe(random, 40), .die = maybe(random, 6),
        .die_bytes = 8000,          .fatal = maybe(random, 60),   .stall = maybe(random, 30), .refuse = maybe(random, 4),
    };
    w->db_forgetful = w->db.server.chances.discard > 0 || w->db.server.chances.alter > 0;
    w->db_toggles = whole_chance(random, 50);
}

void whole_open_db(struct whole *w) {
    struct random *random = &w->db_random;
    if (!w->db_on) {
        return;
    }
    db_rig_attach(&w->db, w->world, server_statements, sizeof server_statements / sizeof server_statements[0],
                  random_next(random));
    w->db_open = true;
    w->db.server.arg = w;
    w->db.server.committed = count_write;
    w->db.server.service_ns_max = random_below(random, 2) * NS_PER_MS;
    if (w->db_troubled) {
        draw_chances(w);
    }
    w->db_toggle_at_ns = whole_now(w) + 1;
    if (!w->db_toggles || whole_chance(random, 50)) {
        start(w);
        w->db_toggle_at_ns += random_next(random) % (TOGGLE_MS * NS_PER_MS);
    }
    whole_trace(w, "a database%s%s, %u connections, %u in flight, queue %u", w->db_troubled ? " in trouble" : "",
                w->db_toggles ? ", not always there" : "", w->config.db_limits.connections, w->config.db_limits.inflight,
                w->config.db_limits.queue);
}

static void toggle(struct whole *w) {
    if (!w->db_toggles || whole_now(w) < w->db_toggle_at_ns) {
        return;
    }
    w->db_toggle_at_ns = whole_now(w) + 1 + random_next(&w->db_random) % (TOGGLE_MS * NS_PER_MS);
    whole_trace(w, "the database %s", w->db_there ? "goes" : "comes");
    if (w->db_there) {
        w->db_there = false;
        db_rig_stop(&w->db);
    } else {
        start(w);
    }
}

void whole_turn_db(struct whole *w) {
    if (!w->db_on) {
        return;
    }
    toggle(w);
    if (!w->db_toggles && !w->db_there) {
        start(w);
    }
    db_rig_turn(&w->db);
    if (w->db.server.fault[0] != '\0') {
        whole_fail(w, "the database does not understand: %s", w->db.server.fault);
    }
}

void whole_heal_db(struct whole *w) {
    if (w->db_on) {
        w->db_toggles = false;
        w->db.server.chances = (struct pg_server_chances){ .noise = 0 };
    }
}

bool whole_db_back(const struct whole *w) {
    return pg_pool_up(&w->worker->db->pool);
}

void whole_close_db(struct whole *w) {
    if (w->db_open) {
        db_rig_detach(&w->db);
    }
}
