#include "server/db_query.h"

#include <string.h>

#include "mem/assert.h"
#include "pg/pg_json.h"
#include "pg/pg_params.h"
#include "pg/pg_wire.h"
#include "server/db.h"
#include "server/exchange.h"
#include "server/log.h"
#include "server/worker.h"

_Static_assert(sizeof(struct rm_arg) == sizeof(struct pg_arg), "one shape");
_Static_assert(offsetof(struct rm_arg, value) == offsetof(struct pg_arg, integer), "one shape");
_Static_assert((int)RM_ARG_NULL == (int)PG_ARG_NULL && (int)RM_ARG_BYTES == (int)PG_ARG_BYTES, "one order");
_Static_assert((int)RM_ARG_BOOL == (int)PG_ARG_BOOL && (int)RM_ARG_INT == (int)PG_ARG_INT, "one order");
_Static_assert((int)RM_ARG_DOUBLE == (int)PG_ARG_DOUBLE && (int)RM_ARG_TEXT == (int)PG_ARG_TEXT, "one order");

static struct worker *worker_of_query(const struct rm_query *query) {
    return worker_of(query->wait.x->http.shared);
}

/* ------------------------------------------------------------------------------------------------------ memory ---- */

static void give_params(struct rm_query *query) {
    if (query->params_pool != NULL) {
        pool_give(query->params_pool, query->params);
        query->params_pool = NULL;
    }
}

static void give_query(struct worker *worker, struct rm_query *query) {
    rm_assert(query->state == QUERY_OVER);
    rm_assert(query->params_pool == NULL);
    if (query->rows.head != NULL) {
        chain_reset(&query->rows);
    }
    pool_give(&worker->pools[PLAN_QUERIES], query);
}

/* Room for its arguments, where it is as small as it can be. */
static char *take_params(struct worker *worker, struct rm_query *query, size_t bytes) {
    if (bytes <= QUERY_ROOM_BYTES) {
        return query->room;
    }
    struct pool *pool = &worker->pools[bytes <= BLOCK_BYTES ? PLAN_BLOCKS : PLAN_BODIES];
    query->params = pool_take(pool);
    query->params_pool = query->params != NULL ? pool : NULL;
    return query->params;
}

/* ------------------------------------------------------------------------------------------------------- start ---- */

/* Behind the newest. */
static void enlist(struct rm_exchange *x, struct rm_query *query) {
    struct rm_query *newest = x->queries;
    query->next = newest != NULL ? newest->next : query;
    if (newest != NULL) {
        newest->next = query;
    }
    x->queries = query;
}

static struct rm_query *take_query(struct rm_exchange *x, uint8_t kind, uint16_t statement) {
    struct worker *worker = worker_of(x->http.shared);
    struct rm_query *query = pool_take(&worker->pools[PLAN_QUERIES]);
    if (query == NULL) {
        counter_add(&worker->db->figures.exhausted, 1);
        exchange_shed(x);
        return NULL;
    }
    memset(query, 0, offsetof(struct rm_query, room));
    query->pg.user = query;
    query->pg.statement = statement;
    query->pg.deadline_ns = worker->now_ns + worker->server->config->db_limits.timeout_ns;
    query->pg.revocable = kind != QUERY_EACH; /* nobody has seen them before the end */
    query->kind = kind;
    query->fresh = true;
    chain_init(&query->rows, &worker->pools[PLAN_BLOCKS]);
    list_init(&query->line);
    wait_begin(&query->wait, x, WAIT_QUERY);
    enlist(x, query);
    return query;
}

void query_refuse(struct rm_query *query, enum pg_status status, const char *sqlstate, const char *message) {
    struct db *db = worker_of_query(query)->db;
    rm_assert(query->state == QUERY_HELD);
    rm_assert(strlen(sqlstate) < sizeof query->pg.sqlstate && strlen(message) < sizeof query->pg.message);
    if (query->wait.x->session != NULL) {
        query->wait.x->session->spoiled = true;
    }
    query->pg.status = (uint8_t)status;
    memcpy(query->pg.sqlstate, sqlstate, strlen(sqlstate) + 1);
    memcpy(query->pg.message, message, strlen(message) + 1);
    query->state = QUERY_TOLD;
    list_append(&db->over, &query->line);
}

/* What the server would say of them; or there is no room. False: the query is over. */
static bool set_params(struct worker *worker, struct rm_query *query, const struct pg_arg *args, uint32_t count,
                       enum pg_params_result result, size_t bytes) {
    const struct pg_statement *statement = &worker->server->statements[query->pg.statement];
    struct db_figures *figures = &worker->db->figures;
    if (result == PG_PARAMS_RANGE || result == PG_PARAMS_TEXT) {
        counter_add(&figures->refused, 1);
        bool range = result == PG_PARAMS_RANGE;
        query_refuse(query, PG_ERROR, range ? "22003" : "22021",
                     range ? "an argument is out of range" : "an argument holds a NUL");
        return false;
    }
    if (result == PG_PARAMS_LARGE || (bytes > BLOCK_BYTES && bytes > worker->server->config->limits.body_bytes)) {
        counter_add(&figures->refused, 1);
        query_refuse(query, PG_ERROR, "54000", "the arguments are longer than --body-bytes");
        return false;
    }
    char *room = take_params(worker, query, bytes);
    if (room == NULL) {
        counter_add(&figures->starved, 1);
        query_refuse(query, PG_BUSY, "", "");
        return false;
    }
    query->pg.params = span_of(room, bytes);
    char *end = pg_params_encode(room, statement, args, count);
    rm_assert(end == room + bytes);
    return true;
}

static void submit(struct db *db, struct rm_query *query) {
    query->state = QUERY_PENDING;
    query->pass = db->pass;
    pg_pool_submit(&db->pool, &query->pg);
}

/* On its way, or to the others of its group. */
static void start(struct rm_exchange *x, struct rm_query *query) {
    struct db_session *session = x->session;
    if (session != NULL && !session->ending) {
        query->session = session;
        query->pg.session = &session->pg;
        session->pending++;
    }
    if (x->grouping) {
        query->grouped = true;
        return;
    }
    submit(worker_of(x->http.shared)->db, query);
}

struct rm_query *query_begin(struct rm_exchange *x, uint8_t kind, uint16_t statement, const struct rm_arg *args,
                             uint32_t count) {
    struct worker *worker = worker_of(x->http.shared);
    const struct pg_arg *arguments = (const struct pg_arg *)(const void *)args;
    size_t bytes = 0;
    enum pg_params_result result = pg_params_check(&worker->server->statements[statement], arguments, count, &bytes);
    if (result == PG_PARAMS_COUNT || result == PG_PARAMS_TYPE) {
        exchange_mistake(x, result == PG_PARAMS_COUNT ? "gave a statement too few or too many arguments"
                                                      : "gave a statement an argument that its type does not take");
        return NULL;
    }
    struct rm_query *query = take_query(x, kind, statement);
    if (query == NULL) {
        return NULL;
    }
    query->grouped = x->grouping;
    if (set_params(worker, query, arguments, count, result, bytes)) {
        start(x, query);
    }
    return query;
}

/* -------------------------------------------------------------------------------------------------------- rows ---- */

/* No more of them: what came is of no use. */
static void drop_rows(struct rm_query *query) {
    pg_query_discard(&query->pg);
    chain_reset(&query->rows);
}

static void too_large(struct db *db, struct rm_query *query) {
    counter_add(&db->figures.too_large, 1);
    drop_rows(query);
}

static void starve(struct db *db, struct rm_query *query) {
    counter_add(&db->figures.starved, 1);
    query->starved = true;
    drop_rows(query);
}

/* Bytes of a row's body: its last field ends it. */
static size_t body_bytes(const struct pg_row *row) {
    uint32_t columns = row->plan->column_count;
    if (columns == 0) {
        return sizeof(uint16_t);
    }
    size_t at = row->at[columns - 1];
    uint32_t len = pg_get_u32(row->body + at);
    return at + sizeof len + (len != UINT32_MAX ? len : 0); /* -1: NULL */
}

/* In one piece, with its offsets. */
static void keep_row(struct db *db, struct rm_query *query, const struct pg_row *row, size_t bytes) {
    size_t at_bytes = row->plan->column_count * sizeof *row->at;
    size_t all = (sizeof(struct query_row) + at_bytes + bytes + 7) / 8 * 8;
    if (all > BLOCK_ROOM) {
        too_large(db, query);
        return;
    }
    char *p = chain_reserve(&query->rows, (uint32_t)all);
    if (p == NULL) {
        starve(db, query);
        return;
    }
    struct query_row *kept = (struct query_row *)(void *)p;
    char *at = p + sizeof *kept;
    *kept = (struct query_row){ { row->plan, at + at_bytes, (const uint32_t *)(const void *)at }, all };
    memcpy(at, row->at, at_bytes);
    memcpy(at + at_bytes, row->body, bytes);
    chain_commit(&query->rows, (uint32_t)all);
}

/* Behind the one before. */
static enum pg_json_result append_json(struct chain *rows, const struct pg_row *row) {
    if (rows->bytes > 0) {
        char *comma = chain_reserve(rows, 1);
        if (comma == NULL) {
            return PG_JSON_FULL;
        }
        *comma = ',';
        chain_commit(rows, 1);
    }
    return pg_json_row(rows, row);
}

static void write_row(struct db *db, struct rm_query *query, const struct pg_row *row) {
    bool first = query->rows.bytes == 0;
    switch (append_json(&query->rows, row)) {
    case PG_JSON_OK: break;
    case PG_JSON_FULL: starve(db, query); return;
    case PG_JSON_BAD:
        query->broken = true;
        drop_rows(query);
        return;
    }
    if (first) {
        query->first = chain_mark(&query->rows);
    }
}

/* It was sent again behind rows of which nobody knows but us. */
static void forget_runs(struct rm_query *query) {
    if (query->run != query->pg.run) {
        query->run = query->pg.run;
        query->bytes = 0;
        chain_reset(&query->rows);
    }
}

void query_take_row(struct db *db, struct rm_query *query, const struct pg_row *row) {
    rm_assert(query->state == QUERY_PENDING);
    forget_runs(query);
    if (query->pg.discard) {
        return;
    }
    uint64_t most = db->worker->server->config->db_limits.result_bytes;
    size_t bytes = body_bytes(row);
    query->bytes += bytes;
    query->plan_version = row->plan->version;
    if (query->bytes > most) {
        too_large(db, query);
    } else if (query->kind == RM_KEEP) {
        keep_row(db, query, row, bytes);
    } else if (query->kind == RM_AS_JSON) {
        write_row(db, query, row);
    } else if (!query->row((const struct rm_row *)(const void *)row, query->arg)) {
        drop_rows(query);
    }
    if (query->rows.bytes > most) { /* small rows take many times their size */
        too_large(db, query);
    }
}

/* --------------------------------------------------------------------------------------------------------- end ---- */

/* What it holds and is not a result. */
static void settle(struct rm_query *query) {
    struct db_session *session = query->session;
    query->state = QUERY_OVER;
    give_params(query);
    if (query->pg.status != PG_OK) {
        chain_reset(&query->rows);
    }
    if (query->rows.head != NULL) {
        query->at = query->rows.head;
    }
    if (session != NULL) {
        rm_assert(session->pending > 0);
        session->pending--;
        query->session = NULL;
    }
}

void query_over(struct rm_query *query) {
    struct rm_exchange *x = query->wait.x;
    rm_assert(query->pg.status != PG_PENDING);
    if (query->spoiled && query->pg.status == PG_OK) {
        query->pg.status = PG_ROLLED_BACK;
    }
    settle(query);
    session_end(x);
    wait_end(&query->wait);
    exchange_waited(x);
}

void query_ended(struct db *db, struct rm_query *query) {
    rm_assert(query->state == QUERY_PENDING);
    forget_runs(query);
    observe_add(&db->rows[query->pg.statement], db->worker->now_ns - query->pg.queued_ns);
    if (query->pass == db->pass) {
        query->state = QUERY_TOLD;
        list_append(&db->over, &query->line);
        return;
    }
    query_over(query);
}

void query_leave(struct rm_query *query) {
    switch ((enum query_state)query->state) {
    case QUERY_HELD: break;
    case QUERY_PENDING: pg_pool_leave(&worker_of_query(query)->db->pool, &query->pg); break;
    case QUERY_TOLD: list_remove(&query->line); break;
    case QUERY_OVER: rm_assert(query->state != QUERY_OVER); break; /* nobody waits for it any more */
    }
    query->pg.status = PG_LOST;
    if (query->ends && query->session != NULL) {
        query->session->ending = false;
    }
    settle(query);
}

/* Errors of one are those of all: nothing of a group happens. */
static void refuse_group(struct rm_exchange *x) {
    struct rm_query *query = x->queries;
    do {
        query = query->next;
        if (query->fresh && query->grouped && query->state == QUERY_HELD) {
            query_refuse(query, PG_ROLLED_BACK, "", "");
        }
    } while (query != x->queries);
}

/* Links what the handler has collected; the first one, or NULL: one of them can't be sent. */
static struct rm_query *link_group(struct rm_exchange *x) {
    struct rm_query *query = x->queries, *first = NULL, *last = NULL;
    do {
        query = query->next;
        if (!query->fresh || !query->grouped) {
            continue;
        }
        if (query->state != QUERY_HELD) {
            return NULL;
        }
        if (last != NULL) {
            last->pg.group_next = &query->pg;
        } else {
            first = query;
        }
        last = query;
    } while (query != x->queries);
    return first;
}

static void send_group(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    struct rm_query *first = link_group(x);
    if (first == NULL) {
        refuse_group(x);
        return;
    }
    for (struct pg_query *pg = &first->pg; pg != NULL; pg = pg->group_next) {
        struct rm_query *query = pg->user;
        query->state = QUERY_PENDING;
        query->pass = worker->db->pass;
    }
    pg_pool_submit(&worker->db->pool, &first->pg);
}

/* Gives back those that are not fresh, or all. */
static void give_back(struct rm_exchange *x, bool all) {
    struct worker *worker = worker_of(x->http.shared);
    struct rm_query *newest = x->queries, *query = newest->next;
    x->queries = NULL;
    for (bool last = false; !last;) {
        struct rm_query *next = query->next;
        last = query == newest;
        if (query->fresh && !all) {
            query->fresh = false;
            enlist(x, query);
        } else {
            give_query(worker, query);
        }
        query = next;
    }
}

void queries_returned(struct rm_exchange *x) {
    bool group = x->grouping;
    x->grouping = false;
    if (x->queries == NULL) {
        return;
    }
    if (group && !x->shed) {
        send_group(x);
    }
    give_back(x, false);
}

void queries_end(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    if (x->queries != NULL) {
        give_back(x, true);
    }
    if (x->session != NULL) {
        counter_add(&worker->db->figures.forgotten, 1);
        log_line(LOG_DEBUG, "database: a handler has left a transaction open: rolled back");
        x->session->ending = true;
        session_end(x);
    }
}

void session_end(struct rm_exchange *x) {
    struct db_session *session = x->session;
    if (session == NULL || !session->ending || session->pending > 0) {
        return;
    }
    struct worker *worker = worker_of(x->http.shared);
    pg_pool_close(&worker->db->pool, &session->pg);
    pool_give(&worker->pools[PLAN_SESSIONS], session);
    x->session = NULL;
}

/* ------------------------------------------------------------------------------------------------------ status ---- */

/* The rows that were kept are read by their plan, which is made anew when the table has changed meanwhile. */
static bool is_readable(const struct rm_query *query) {
    const struct block *head = query->rows.head;
    if (query->kind != RM_KEEP || head == NULL) {
        return true;
    }
    const struct query_row *first = (const struct query_row *)(const void *)head->data;
    return first->row.plan->version == query->plan_version;
}

enum rm_db query_status(const struct rm_query *query) {
    if (query->broken) {
        return RM_DB_ERROR;
    }
    switch ((enum pg_status)query->pg.status) {
    case PG_OK: return is_readable(query) ? RM_DB_OK : RM_DB_ERROR;
    case PG_ERROR: return RM_DB_ERROR;
    case PG_ROLLED_BACK: return RM_DB_ROLLED_BACK;
    case PG_DOWN: return RM_DB_DOWN;
    case PG_LOST: return RM_DB_LOST;
    case PG_TIMEOUT: return RM_DB_TIMEOUT;
    case PG_TOO_LARGE: return RM_DB_TOO_LARGE;
    case PG_BUSY:
    case PG_PENDING: break;
    }
    return RM_DB_BUSY;
}
