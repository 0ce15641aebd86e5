/* include/ringmain.h: queries, from their start to their result. */
#include <string.h>

#include "mem/assert.h"
#include "server/db.h"
#include "server/db_query.h"
#include "server/exchange.h"
#include "server/log.h"
#include "server/worker.h"

/* ---------------------------------------------------------------------------------------------------- arguments ---- */

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

/* -------------------------------------------------------------------------------------------------------- start ---- */

/* May a query be started? Without a database the answer is 503, and the log says so once in a while. Behind something that
 * could not be started nothing is: what was to be part of a transaction must not happen outside of it. */
static bool has_database(struct rm_exchange *x) {
    if (!exchange_may_wait(x, "asked the database from its piece function")) {
        return false;
    }
    if (x->shed) {
        return false;
    }
    if (worker_of(x->http.shared)->db == NULL) {
        log_line(LOG_WARN, "a handler wants a database, and there is none: --db");
        exchange_shed(x);
        return false;
    }
    x->asks = true;
    return true;
}

static struct rm_query *begin(struct rm_exchange *x, uint8_t kind, const struct rm_statement *statement,
                              const struct rm_arg *args, uint32_t count) {
    if (!has_database(x)) {
        return NULL;
    }
    const struct rm_app *app = worker_of(x->http.shared)->server->app;
    uintptr_t first = (uintptr_t)app->statements, offset = (uintptr_t)statement - first;
    if ((uintptr_t)statement < first || offset / sizeof *statement >= app->statement_count) {
        exchange_mistake(x, "asked for a statement that is not in rm_app.statements");
        return NULL;
    }
    return query_begin(x, kind, (uint16_t)(offset / sizeof *statement), args, count);
}

struct rm_query *rm_query_run(struct rm_exchange *x, enum rm_rows rows, const struct rm_statement *statement,
                              const struct rm_arg *args, uint32_t count) {
    return begin(x, (uint8_t)rows, statement, args, count);
}

struct rm_query *rm_query_each(struct rm_exchange *x, rm_row_fn *row, void *arg, const struct rm_statement *statement,
                               const struct rm_arg *args, uint32_t count) {
    struct rm_query *query = begin(x, QUERY_EACH, statement, args, count);
    if (query != NULL) {
        query->row = row;
        query->arg = arg;
    }
    return query;
}

void rm_group(struct rm_exchange *x) {
    if (!has_database(x)) {
        return;
    }
    if (x->session != NULL) {
        exchange_mistake(x, "began a group in a transaction");
        return;
    }
    x->grouping = true;
}

/* ------------------------------------------------------------------------------------------------- transactions ---- */

static enum pg_internal begin_of(enum rm_isolation isolation) {
    switch (isolation) {
    case RM_READ_COMMITTED: break;
    case RM_REPEATABLE_READ: return PG_BEGIN_REPEATABLE;
    case RM_SERIALIZABLE: return PG_BEGIN_SERIALIZABLE;
    case RM_READ_ONLY_TRANSACTION: return PG_BEGIN_READ_ONLY;
    }
    return PG_BEGIN;
}

void rm_transaction(struct rm_exchange *x, enum rm_isolation isolation) {
    struct worker *worker = worker_of(x->http.shared);
    if (!has_database(x)) {
        return;
    }
    if (x->session != NULL || x->grouping) {
        exchange_mistake(x, x->grouping ? "began a transaction in a group" : "began a transaction in another");
        return;
    }
    struct db_session *session = pool_take(&worker->pools[PLAN_SESSIONS]);
    if (session == NULL) {
        counter_add(&worker->db->figures.exhausted, 1);
        exchange_shed(x);
        return;
    }
    *session = (struct db_session){ .pending = 0 };
    x->session = session;
    counter_add(&worker->db->figures.transactions, 1);
    pg_pool_open(&worker->db->pool, &session->pg, begin_of(isolation),
                 worker->now_ns + worker->server->config->db_limits.timeout_ns);
}

static struct rm_query *end_transaction(struct rm_exchange *x, enum pg_internal how) {
    if (!has_database(x)) {
        return NULL;
    }
    if (x->session == NULL || x->session->ending) {
        exchange_mistake(x, "ended a transaction that it had not begun");
        return NULL;
    }
    bool spoiled = x->session->spoiled && how == PG_COMMIT;
    uint32_t first = worker_of(x->http.shared)->server->app->statement_count;
    struct rm_query *query = query_begin(x, RM_KEEP, (uint16_t)(first + (spoiled ? PG_ROLLBACK : how)), NULL, 0);
    if (query != NULL) {
        query->ends = true;
        query->spoiled = spoiled;
        x->session->ending = true;
    }
    return query;
}

struct rm_query *rm_commit(struct rm_exchange *x) {
    return end_transaction(x, PG_COMMIT);
}

struct rm_query *rm_rollback(struct rm_exchange *x) {
    return end_transaction(x, PG_ROLLBACK);
}

/* ------------------------------------------------------------------------------------------------------- result ---- */

struct rm_query *rm_result(struct rm_exchange *x, uint32_t i) {
    struct rm_query *newest = x->queries;
    if (newest == NULL) {
        return NULL;
    }
    struct rm_query *query = newest->next;
    while (!query->fresh && i > 0 && query != newest) {
        query = query->next;
        i--;
    }
    return i == 0 && !query->fresh ? query : NULL;
}

enum rm_db rm_db_status(const struct rm_query *query) {
    return query == NULL ? RM_DB_BUSY : query_status(query);
}

static bool failed(const struct rm_query *query) {
    return query != NULL && query_status(query) == RM_DB_ERROR;
}

const char *rm_db_sqlstate(const struct rm_query *query) {
    if (!failed(query)) {
        return "";
    }
    return query->broken ? "22P03" : query->pg.status == PG_OK ? "0A000" : query->pg.sqlstate;
}

const char *rm_db_message(const struct rm_query *query) {
    if (!failed(query)) {
        return "";
    }
    return query->broken                ? "a value is none of its type"
           : query->pg.status == PG_OK ? "the columns of the result have changed"
                                        : query->pg.message;
}

const char *rm_db_constraint(const struct rm_query *query) {
    return failed(query) ? query->pg.constraint : "";
}

uint64_t rm_db_affected(const struct rm_query *query) {
    enum rm_db status = rm_db_status(query);
    return status == RM_DB_OK || status == RM_DB_TOO_LARGE ? query->pg.affected : 0;
}

uint64_t rm_db_rows(const struct rm_query *query) {
    return query == NULL ? 0 : query->pg.rows;
}

/* ------------------------------------------------------------------------------------------------------- answer ---- */

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static int status_of_error(const char *sqlstate) {
    if (strcmp(sqlstate, "57014") == 0) { /* canceled: statement_timeout, or our own cancel */
        return 504;
    }
    bool later = begins(sqlstate, "53") || begins(sqlstate, "57P") || begins(sqlstate, "40");
    return later ? 503 : 500;
}

static int status_of(const struct rm_query *query) {
    switch (query_status(query)) {
    case RM_DB_BUSY:
    case RM_DB_DOWN:
    case RM_DB_LOST: return 503;
    case RM_DB_TIMEOUT: return 504;
    case RM_DB_ERROR: return status_of_error(rm_db_sqlstate(query));
    case RM_DB_TOO_LARGE: return query->starved ? 503 : 500;
    case RM_DB_OK:
    case RM_DB_ROLLED_BACK: break;
    }
    return 500;
}

static void log_failure(struct rm_exchange *x, const struct rm_query *query) {
    struct span label = worker_of(x->http.shared)->server->statements[query->pg.statement].label;
    log_line(LOG_WARN, "database: statement %.*s: %s %s %s: 500", (int)label.len, label.data,
             pg_status_name((enum pg_status)query->pg.status), rm_db_sqlstate(query), rm_db_message(query));
}

enum rm_step rm_db_answer(struct rm_exchange *x, const struct rm_query *query) {
    if (x->http.failed) { /* it could not be started: the answer is there */
        return RM_DONE;
    }
    int status = query == NULL ? 503 : status_of(query);
    if (status == 500) {
        log_failure(x, query);
    }
    x->shed = true; /* meant, and no mistake */
    http_response_fail(&x->http, status);
    return RM_DONE;
}
