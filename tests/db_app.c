#include "db_app.h"

/* -------------------------------------------------------------------------------------------------- statements ---- */

enum { ITEM, LIST, FAIL, SLOW, WRITE, BIG, TEXT, DEFERRED, LATER, SHAPE };

static const struct rm_statement statements[] = {
    [ITEM] = { .sql = "item $1", .types = RM_TYPES(RM_INT8), .flags = RM_READ_ONLY, .name = "item" },
    [LIST] = { .sql = "list", .flags = RM_READ_ONLY },
    [FAIL] = { .sql = "fail", .name = "fail" },
    [SLOW] = { .sql = "slow $1", .types = RM_TYPES(RM_INT8), .name = "slow" },
    [WRITE] = { .sql = "write $1", .types = RM_TYPES(RM_INT8), .name = "write" },
    [BIG] = { .sql = "big $1 $2", .types = RM_TYPES(RM_INT8, RM_INT8) },
    [TEXT] = { .sql = "text $1", .types = RM_TYPES(RM_TEXT) },
    [DEFERRED] = { .sql = "deferred" },
    [LATER] = { .sql = "later" },
    [SHAPE] = { .sql = "shape $1", .types = RM_TYPES(RM_INT8) },
};

static const uint32_t one_int8[] = { RM_INT8 }, two_int8[] = { RM_INT8, RM_INT8 }, one_text[] = { RM_TEXT };
static const struct pg_server_column item_columns[] = { { "id", RM_INT8 }, { "row", RM_INT4 } };
static const struct pg_server_column row_column[] = { { "row", RM_INT4 } };
static const struct pg_server_column text_column[] = { { "text", RM_TEXT } };

/* $1 rows of $2 bytes. */
static uint64_t answer_big(struct pg_backend *backend, const struct pg_server_statement *statement,
                           const struct pg_server_value *values, uint32_t count) {
    (void)statement, (void)count;
    char *text = malloc((size_t)values[1].integer + 1);
    assert_non_null(text);
    memset(text, 'x', (size_t)values[1].integer);
    for (int64_t i = 0; i < values[0].integer; i++) {
        pg_backend_row_begin(backend);
        pg_backend_row_text(backend, span_of(text, (size_t)values[1].integer));
        pg_backend_row_end(backend);
    }
    free(text);
    return (uint64_t)values[0].integer;
}

static uint64_t answer_text(struct pg_backend *backend, const struct pg_server_statement *statement,
                            const struct pg_server_value *values, uint32_t count) {
    (void)statement, (void)count;
    pg_backend_row_begin(backend);
    pg_backend_row_text(backend, values[0].bytes);
    pg_backend_row_end(backend);
    return 1;
}

struct pg_server_statement db_app_server[DB_APP_SERVER_STATEMENTS] = {
    DB_RIG_OWN,
    { .sql = "item $1", .columns = item_columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = 1 },
    { .sql = "list", .columns = row_column, .column_count = 1, .rows = 3 },
    { .sql = "fail", .what = PG_DO_ERROR, .sqlstate = "23505", .constraint = "things_pkey" },
    { .sql = "slow $1", .columns = item_columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = 1,
      .sleep_ns = 200 * NS_PER_MS },
    { .sql = "write $1", .types = one_int8, .type_count = 1, .tag = "UPDATE", .counted = true, .write = true },
    { .sql = "big $1 $2", .what = PG_DO_ANSWER, .answer = answer_big, .columns = text_column, .column_count = 1,
      .types = two_int8, .type_count = 2 },
    { .sql = "text $1", .what = PG_DO_ANSWER, .answer = answer_text, .columns = text_column, .column_count = 1,
      .types = one_text, .type_count = 1 },
    { .sql = "deferred", .what = PG_DO_DEFERRED, .sqlstate = "23503", .tag = "UPDATE", .counted = true },
    { .sql = "later", .what = PG_DO_ERROR, .sqlstate = "40001" },
    { .sql = "shape $1", .columns = item_columns, .column_count = 2, .types = one_int8, .type_count = 1, .rows = 1 },
};

/* ----------------------------------------------------------------------------------------------------- handlers ---- */

static int64_t number(const struct rm_exchange *x, const char *name) {
    struct span text;
    int64_t value = 0;
    assert_true(rm_query_value(x, name, &text) && rm_int(text, &value));
    return value;
}

/* {"<how>":"<status> <sqlstate> <constraint> <affected> <rows>"} of all that were started. */
static enum rm_step report(struct rm_exchange *x) {
    static const char *const names[] = { "ok", "error", "rolled back", "busy", "down", "lost", "timeout", "too large" };
    char text[256];
    rm_begin(x, 200, "text/plain");
    for (uint32_t i = 0; rm_result(x, i) != NULL; i++) {
        const struct rm_query *query = rm_result(x, i);
        snprintf(text, sizeof text, "%s/%s/%s/%u/%u\n", names[rm_db_status(query)], rm_db_sqlstate(query),
                 rm_db_constraint(query), (unsigned)rm_db_affected(query), (unsigned)rm_db_rows(query));
        rm_write(x, span_of(text, strlen(text)));
    }
    return RM_DONE;
}

static enum rm_step answer_json(struct rm_exchange *x) {
    struct rm_query *query = rm_result(x, 0);
    if (rm_db_status(query) != RM_DB_OK) {
        return rm_db_answer(x, query);
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "before", 1);
    rm_json_row(x, "item", query);
    rm_json_int(x, "after", 2);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step json(struct rm_exchange *x) {
    rm_query_json(x, &statements[ITEM], rm_int_arg(number(x, "id")));
    rm_then(x, answer_json);
    return RM_PARK;
}

static enum rm_step slow(struct rm_exchange *x) {
    rm_query_json(x, &statements[SLOW], rm_int_arg(number(x, "id")));
    rm_then(x, answer_json);
    return RM_PARK;
}

static enum rm_step answer_rows(struct rm_exchange *x) {
    struct rm_query *query = rm_result(x, 0);
    if (rm_db_status(query) != RM_DB_OK) {
        return rm_db_answer(x, query);
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_rows(x, "items", query);
    rm_json_int(x, "count", (int64_t)rm_db_rows(query));
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step rows(struct rm_exchange *x) {
    rm_query_json(x, &statements[LIST]);
    rm_then(x, answer_rows);
    return RM_PARK;
}

static enum rm_step big(struct rm_exchange *x) {
    rm_query_json(x, &statements[BIG], rm_int_arg(number(x, "rows")), rm_int_arg(number(x, "bytes")));
    rm_then(x, answer_rows);
    return RM_PARK;
}

/* The same in a response that leaves while it is written. */
static enum rm_step answer_streamed(struct rm_exchange *x) {
    struct rm_query *query = rm_result(x, 0);
    assert_int_equal(rm_db_status(query), RM_DB_OK);
    rm_stream(x, 200, "application/json");
    rm_json_array(x, NULL);
    rm_json_rows(x, NULL, query);
    rm_json_int(x, NULL, 7);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step streamed(struct rm_exchange *x) {
    rm_query_json(x, &statements[BIG], rm_int_arg(number(x, "rows")), rm_int_arg(number(x, "bytes")));
    rm_then(x, answer_streamed);
    return RM_PARK;
}

static enum rm_step answer_kept(struct rm_exchange *x) {
    struct rm_query *query = rm_result(x, 0);
    const struct rm_row *row;
    rm_begin(x, 200, "text/plain");
    while (rm_next_row(query, &row)) {
        int64_t value = -1;
        assert_int_equal(rm_columns(row), 1);
        assert_false(rm_is_null(row, 0));
        assert_true(rm_is_null(row, 1));
        assert_true(rm_get_int(row, 0, &value));
        rm_write_int(x, value);
        rm_write(x, SPAN(" "));
    }
    return RM_DONE;
}

static enum rm_step kept(struct rm_exchange *x) {
    rm_query(x, &statements[LIST]);
    rm_then(x, answer_kept);
    return RM_PARK;
}

/* How many rows of how many bytes there were, by walking. */
static enum rm_step answer_counted(struct rm_exchange *x) {
    struct rm_query *query = rm_result(x, 0);
    const struct rm_row *row;
    struct span text;
    char line[64];
    size_t count = 0, bytes = 0;
    if (rm_db_status(query) != RM_DB_OK) {
        return rm_db_answer(x, query);
    }
    while (rm_next_row(query, &row)) {
        assert_true(rm_get_text(row, 0, &text));
        count++;
        bytes += text.len;
    }
    snprintf(line, sizeof line, "%zu rows %zu bytes", count, bytes);
    return rm_text(x, 200, line);
}

static enum rm_step counted(struct rm_exchange *x) {
    rm_query(x, &statements[BIG], rm_int_arg(number(x, "rows")), rm_int_arg(number(x, "bytes")));
    rm_then(x, answer_counted);
    return RM_PARK;
}

struct tally {
    int64_t rows, most;
};

static bool count_row(const struct rm_row *row, void *arg) {
    struct tally *tally = arg;
    struct span text;
    assert_true(rm_get_text(row, 0, &text));
    return ++tally->rows <= tally->most;
}

static enum rm_step answer_each(struct rm_exchange *x) {
    const struct tally *tally = rm_state(x);
    char line[64];
    if (rm_db_status(rm_result(x, 0)) != RM_DB_OK) {
        return rm_db_answer(x, rm_result(x, 0));
    }
    snprintf(line, sizeof line, "%d rows", (int)tally->rows);
    return rm_text(x, 200, line);
}

static enum rm_step each(struct rm_exchange *x) {
    struct tally *tally = rm_alloc(x, sizeof *tally);
    tally->most = number(x, "most");
    rm_set_state(x, tally);
    rm_query_each(x, count_row, tally, RM_QUERY_ARGS(&statements[BIG], rm_int_arg(number(x, "rows")), rm_int_arg(5000)));
    rm_then(x, answer_each);
    return RM_PARK;
}

static enum rm_step answer_text_back(struct rm_exchange *x) {
    const struct rm_row *row;
    struct span text;
    if (!rm_next_row(rm_result(x, 0), &row) || !rm_get_text(row, 0, &text)) {
        return rm_db_answer(x, rm_result(x, 0));
    }
    return rm_bytes(x, 200, "text/plain", text);
}

/* A text of so many bytes, there and back. */
static enum rm_step echo(struct rm_exchange *x) {
    size_t bytes = (size_t)number(x, "bytes");
    char *text = malloc(bytes + 1);
    assert_non_null(text);
    memset(text, 'y', bytes);
    rm_query(x, &statements[TEXT], rm_text_arg(span_of(text, bytes)));
    free(text);
    rm_then(x, bytes < 3000 ? answer_text_back : report);
    return RM_PARK;
}

static enum rm_step two(struct rm_exchange *x) {
    rm_query(x, &statements[ITEM], rm_int_arg(1));
    rm_query(x, &statements[FAIL]);
    rm_query(x, &statements[WRITE], rm_int_arg(2));
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step again(struct rm_exchange *x) {
    int64_t *left = rm_state(x);
    const struct rm_row *row;
    int64_t id = 0;
    assert_null(rm_result(x, 1));
    assert_true(rm_next_row(rm_result(x, 0), &row) && rm_get_int(row, 0, &id));
    assert_int_equal(id, *left);
    if (--*left == 0) {
        return rm_text(x, 200, "enough\n");
    }
    rm_query(x, &statements[ITEM], rm_int_arg(*left));
    assert_true(rm_result(x, 0) != NULL && rm_result(x, 1) == NULL); /* that of before still, and not the new one */
    rm_then(x, again);
    return RM_PARK;
}

/* So many queries, one after the other. */
static enum rm_step chain(struct rm_exchange *x) {
    int64_t *left = rm_alloc(x, sizeof *left);
    *left = number(x, "n");
    rm_set_state(x, left);
    rm_query(x, &statements[ITEM], rm_int_arg(*left));
    rm_then(x, again);
    return RM_PARK;
}

static enum rm_step group(struct rm_exchange *x) {
    rm_group(x);
    rm_query(x, &statements[WRITE], rm_int_arg(1));
    rm_query(x, &statements[WRITE], rm_int_arg(2));
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step group_fails(struct rm_exchange *x) {
    rm_group(x);
    rm_query(x, &statements[WRITE], rm_int_arg(3));
    rm_query(x, &statements[FAIL]);
    rm_query(x, &statements[WRITE], rm_int_arg(4));
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step group_is_refused(struct rm_exchange *x) {
    rm_group(x);
    rm_query(x, &statements[WRITE], rm_int_arg(5));
    rm_query(x, &statements[TEXT], rm_text_arg(span_of("a\0b", 3)));
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step group_without_queries(struct rm_exchange *x) {
    rm_group(x);
    return rm_text(x, 200, "nothing to do\n");
}

static enum rm_step finish_commit(struct rm_exchange *x) {
    rm_commit(x);
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step finish_rollback(struct rm_exchange *x) {
    rm_rollback(x);
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step commit(struct rm_exchange *x) {
    rm_transaction(x, RM_SERIALIZABLE);
    rm_query(x, &statements[WRITE], rm_int_arg(10));
    rm_query(x, &statements[WRITE], rm_int_arg(11));
    rm_then(x, finish_commit);
    return RM_PARK;
}

static enum rm_step commit_at_once(struct rm_exchange *x) {
    rm_transaction(x, RM_READ_COMMITTED);
    rm_query(x, &statements[WRITE], rm_int_arg(12));
    rm_commit(x);
    rm_query(x, &statements[WRITE], rm_int_arg(13)); /* no part of it: on any connection, and perhaps before it */
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step rollback(struct rm_exchange *x) {
    rm_transaction(x, RM_REPEATABLE_READ);
    rm_query(x, &statements[WRITE], rm_int_arg(20));
    rm_then(x, finish_rollback);
    return RM_PARK;
}

static enum rm_step commit_fails(struct rm_exchange *x) {
    rm_transaction(x, RM_READ_COMMITTED);
    rm_query(x, &statements[WRITE], rm_int_arg(21));
    rm_query(x, &statements[FAIL]);
    rm_then(x, finish_commit);
    return RM_PARK;
}

static enum rm_step commit_is_refused(struct rm_exchange *x) {
    rm_transaction(x, RM_READ_COMMITTED);
    rm_query(x, &statements[WRITE], rm_int_arg(22));
    rm_query(x, &statements[TEXT], rm_text_arg(span_of("a\0b", 3)));
    rm_then(x, finish_commit);
    return RM_PARK;
}

static enum rm_step deferred(struct rm_exchange *x) {
    rm_transaction(x, RM_READ_COMMITTED);
    rm_query(x, &statements[DEFERRED]);
    rm_then(x, finish_commit);
    return RM_PARK;
}

static enum rm_step forget(struct rm_exchange *x) {
    rm_transaction(x, RM_READ_COMMITTED);
    rm_query(x, &statements[WRITE], rm_int_arg(23));
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step wrong(struct rm_exchange *x) {
    switch (number(x, "what")) {
    case 0: rm_query(x, &statements[ITEM]); break;
    case 1: rm_query(x, &statements[ITEM], rm_text_arg(SPAN("1"))); break;
    case 2: rm_query(x, &(struct rm_statement){ .sql = "not in the table" }); break;
    case 3: rm_commit(x); break;
    case 4: rm_transaction(x, RM_READ_COMMITTED), rm_transaction(x, RM_READ_COMMITTED); break;
    case 5: rm_transaction(x, RM_READ_COMMITTED), rm_group(x); break;
    case 6: rm_group(x), rm_transaction(x, RM_READ_COMMITTED); break;
    default: rm_transaction(x, RM_READ_COMMITTED), rm_rollback(x), rm_commit(x); break;
    }
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step refuse(struct rm_exchange *x) {
    rm_query(x, &statements[TEXT], rm_text_arg(span_of("a\0b", 3)));
    rm_then(x, report);
    return RM_PARK;
}

static enum rm_step answer_any(struct rm_exchange *x) {
    return rm_db_answer(x, rm_result(x, 0));
}

static enum rm_step answered(struct rm_exchange *x) {
    static const uint8_t which[] = { FAIL, LATER, TEXT };
    struct rm_query *query = which[number(x, "what")] == TEXT ? rm_query(x, &statements[TEXT], rm_text_arg(SPAN("\0")))
                                                              : rm_query(x, &statements[which[number(x, "what")]]);
    assert_non_null(query);
    rm_then(x, answer_any);
    return RM_PARK;
}

uint32_t db_app_ends;

static enum rm_step ended(struct rm_exchange *x) {
    db_app_ends++;
    assert_int_equal(rm_db_status(rm_result(x, 0)), RM_DB_LOST);
    return rm_text(x, 200, "ended\n");
}

static enum rm_step cut(struct rm_exchange *x) {
    rm_query_json(x, &statements[SLOW], rm_int_arg(1));
    rm_on_end(x, ended);
    rm_then(x, answer_json);
    return RM_PARK;
}

uint32_t db_app_tries;

/* Asks until it is answered, without a pause; or often. */
static enum rm_step insist(struct rm_exchange *x) {
    if (rm_db_status(rm_result(x, 0)) == RM_DB_OK || db_app_tries == 10000) {
        return rm_text(x, 200, "at last\n");
    }
    db_app_tries++;
    rm_query(x, &statements[ITEM], rm_int_arg(1));
    rm_then(x, insist);
    return RM_PARK;
}

static enum rm_step twice(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    rm_json_array(x, NULL);
    rm_json_rows(x, NULL, rm_result(x, 0));
    rm_json_rows(x, NULL, rm_result(x, 0));
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step moved_twice(struct rm_exchange *x) {
    rm_query_json(x, &statements[LIST]);
    rm_then(x, twice);
    return RM_PARK;
}

static enum rm_step after_sleep(struct rm_exchange *x) {
    const struct rm_row *row;
    bool there = rm_next_row(rm_result(x, 0), &row);
    return there ? rm_text(x, 200, "there\n") : rm_db_answer(x, rm_result(x, 0));
}

/* Its rows are looked at a second later. */
static enum rm_step shape_later(struct rm_exchange *x) {
    rm_query(x, &statements[SHAPE], rm_int_arg(1));
    rm_sleep(x, NS_PER_SECOND / 2);
    rm_then(x, after_sleep);
    return RM_PARK;
}

static enum rm_step shape(struct rm_exchange *x) {
    rm_query(x, &statements[SHAPE], rm_int_arg(1));
    rm_then(x, after_sleep);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { "GET", "/json", json, RM_BODY_NONE, NULL },
    { "GET", "/slow", slow, RM_BODY_NONE, NULL },
    { "GET", "/rows", rows, RM_BODY_NONE, NULL },
    { "GET", "/big", big, RM_BODY_NONE, NULL },
    { "GET", "/streamed", streamed, RM_BODY_NONE, NULL },
    { "GET", "/kept", kept, RM_BODY_NONE, NULL },
    { "GET", "/counted", counted, RM_BODY_NONE, NULL },
    { "GET", "/each", each, RM_BODY_NONE, NULL },
    { "GET", "/echo", echo, RM_BODY_NONE, NULL },
    { "GET", "/two", two, RM_BODY_NONE, NULL },
    { "GET", "/chain", chain, RM_BODY_NONE, NULL },
    { "GET", "/group", group, RM_BODY_NONE, NULL },
    { "GET", "/group/fails", group_fails, RM_BODY_NONE, NULL },
    { "GET", "/group/refused", group_is_refused, RM_BODY_NONE, NULL },
    { "GET", "/group/empty", group_without_queries, RM_BODY_NONE, NULL },
    { "GET", "/commit", commit, RM_BODY_NONE, NULL },
    { "GET", "/commit/at-once", commit_at_once, RM_BODY_NONE, NULL },
    { "GET", "/commit/fails", commit_fails, RM_BODY_NONE, NULL },
    { "GET", "/commit/refused", commit_is_refused, RM_BODY_NONE, NULL },
    { "GET", "/rollback", rollback, RM_BODY_NONE, NULL },
    { "GET", "/deferred", deferred, RM_BODY_NONE, NULL },
    { "GET", "/forget", forget, RM_BODY_NONE, NULL },
    { "GET", "/wrong", wrong, RM_BODY_NONE, NULL },
    { "GET", "/refuse", refuse, RM_BODY_NONE, NULL },
    { "GET", "/answered", answered, RM_BODY_NONE, NULL },
    { "GET", "/cut", cut, RM_BODY_NONE, NULL },
    { "GET", "/insist", insist, RM_BODY_NONE, NULL },
    { "GET", "/moved-twice", moved_twice, RM_BODY_NONE, NULL },
    { "GET", "/shape", shape, RM_BODY_NONE, NULL },
    { "GET", "/shape/later", shape_later, RM_BODY_NONE, NULL },
    { 0 },
};
const struct rm_app db_app = {
    .name = "test", .routes = routes, .statements = statements, .statement_count = sizeof statements / sizeof statements[0]
};
