/* include/ringmain.h: queries, from their start to their result. */
#include "server/exchange.h"
#include "server/log.h"
#include "server/worker.h"

struct rm_arg rm_null(void) {
    return (struct rm_arg){ .kind = RM_ARG_NULL };
}

struct rm_arg rm_bool_arg(bool value) {
    return (struct rm_arg){ .kind = RM_ARG_BOOL, .value.boolean = value };
}

struct rm_arg rm_int_arg(int64_t value) {
    return (struct rm_arg){ .kind = RM_ARG_INT, .value.integer = value };
}

struct rm_arg rm_double_arg(double value) {
    return (struct rm_arg){ .kind = RM_ARG_DOUBLE, .value.real = value };
}

struct rm_arg rm_text_arg(struct span value) {
    return (struct rm_arg){ .kind = RM_ARG_TEXT, .value.bytes = value };
}

struct rm_arg rm_bytes_arg(struct span value) {
    return (struct rm_arg){ .kind = RM_ARG_BYTES, .value.bytes = value };
}

static struct rm_query *without_database(struct rm_exchange *x) {
    if (exchange_may_wait(x, "called rm_query from its piece function")) {
        log_line(LOG_WARN, "a handler wants a database, and there is none: --db");
        exchange_shed(x);
    }
    return NULL;
}

struct rm_query *rm_query_run(struct rm_exchange *x, enum rm_rows rows, const struct rm_statement *statement,
                              const struct rm_arg *args, uint32_t count) {
    (void)rows, (void)statement, (void)args, (void)count;
    return without_database(x);
}

struct rm_query *rm_query_each(struct rm_exchange *x, rm_row_fn *row, void *arg, const struct rm_statement *statement,
                               const struct rm_arg *args, uint32_t count) {
    (void)row, (void)arg, (void)statement, (void)args, (void)count;
    return without_database(x);
}

struct rm_query *rm_result(struct rm_exchange *x, uint32_t i) {
    (void)x, (void)i;
    return NULL;
}

enum rm_db rm_db_status(const struct rm_query *query) {
    (void)query;
    return RM_DB_BUSY;
}

const char *rm_db_sqlstate(const struct rm_query *query) {
    (void)query;
    return "";
}

const char *rm_db_message(const struct rm_query *query) {
    (void)query;
    return "";
}

const char *rm_db_constraint(const struct rm_query *query) {
    (void)query;
    return "";
}

uint64_t rm_db_affected(const struct rm_query *query) {
    (void)query;
    return 0;
}

uint64_t rm_db_rows(const struct rm_query *query) {
    (void)query;
    return 0;
}

enum rm_step rm_db_answer(struct rm_exchange *x, const struct rm_query *query) {
    (void)query;
    exchange_shed(x);
    return RM_DONE;
}

void rm_group(struct rm_exchange *x) {
    (void)without_database(x);
}

void rm_transaction(struct rm_exchange *x, enum rm_isolation isolation) {
    (void)isolation;
    (void)without_database(x);
}

struct rm_query *rm_commit(struct rm_exchange *x) {
    return without_database(x);
}

struct rm_query *rm_rollback(struct rm_exchange *x) {
    return without_database(x);
}

void rm_json_rows(struct rm_exchange *x, const char *key, struct rm_query *query) {
    (void)x, (void)key, (void)query;
}

void rm_json_row(struct rm_exchange *x, const char *key, struct rm_query *query) {
    (void)x, (void)key, (void)query;
}

bool rm_next_row(struct rm_query *query, const struct rm_row **row) {
    (void)query, (void)row;
    return false;
}
