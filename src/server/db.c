#include "server/db.h"

#include <stdio.h>

#include "mem/assert.h"
#include "mem/slab.h"
#include "server/db_query.h"
#include "server/exchange.h"
#include "server/log.h"
#include "server/worker.h"

enum { FLUSHES_MAX = 4 }; /* in a turn: who goes on asking from each answer is served again in the next one */

/* ---------------------------------------------------------------------------------------------------- opening ---- */

void db_pool_config(struct pg_config *out, const struct config *config, const struct pg_statement *statements,
                    uint64_t seed) {
    const struct config_db *limits = &config->db_limits;
    pg_config_default(out);
    out->settings = &config->db;
    out->statements = statements;
    out->statement_count = config->statements + PG_INTERNAL_COUNT;
    out->connections = limits->worker_connections;
    out->inflight = limits->inflight;
    out->queue = limits->queue;
    out->message_bytes = limits->row_bytes;
    out->prepare = limits->prepare;
    out->grace_ns = limits->grace_ns;
    out->ping_ns = limits->ping_ns;
    out->transaction_ns = limits->transaction_ns;
    out->seed = seed;
}

size_t db_bytes(const struct config *config) {
    return slab_round(sizeof(struct db)) + config->db_limits.worker_connections * sizeof(struct db_conn);
}

struct db *db_open(struct worker *worker, void *memory, void *pool_memory, void *rows) {
    const struct server *server = worker->server;
    struct db *db = memory;
    *db = (struct db){
        .worker = worker,
        .conns = (struct db_conn *)(void *)((char *)memory + slab_round(sizeof *db)),
        .timer = { .kind = TIMER_DB },
        .rows = rows,
    };
    list_init(&db->over);
    snprintf(db->application_name, sizeof db->application_name, "%.40s/rm-%u", server->app->name, worker->index);
    struct pg_config config;
    db_pool_config(&config, server->config, server->statements, ring_random(worker->ring));
    config.application_name = db->application_name;
    pg_pool_init(&db->pool, &config, pool_memory, worker->now_ns);
    for (uint32_t i = 0; i < config.connections; i++) {
        struct db_conn *conn = &db->conns[i];
        conn->owner.kind = OWNER_DB;
        conn->cancel.owner.kind = OWNER_DB_CANCEL;
        conn->index = i;
        conn->db = db;
    }
    server_miss_database(worker->server, true);
    db->more = true;
    return db;
}

/* ----------------------------------------------------------------------------------------------------- events ---- */

static void notice_up(struct db *db) {
    bool up = pg_pool_ready(&db->pool);
    if (up != db->up) {
        db->up = up;
        server_miss_database(db->worker->server, !up);
        if (up) {
            log_line(LOG_INFO, "database: connected as %s", db->application_name);
        }
    }
}

static void take_up(struct db *db, uint32_t conn) {
    db_conn_up(&db->conns[conn]);
    log_line(LOG_DEBUG, "database: connection %u of %s serves", conn, db->application_name);
}

/* True when it is the end of a query. */
static bool take_event(struct db *db, const struct pg_event *event) {
    switch (event->type) {
    case PG_EVENT_NONE: break;
    case PG_EVENT_ROW: query_take_row(db, event->query->user, &event->row); break;
    case PG_EVENT_DONE: query_ended(db, event->query->user); return true;
    case PG_EVENT_CONNECT: db_conn_connect(&db->conns[event->conn]); break;
    case PG_EVENT_JOB: db_conn_run_job(&db->conns[event->conn]); break;
    case PG_EVENT_CLOSE: db_conn_close(&db->conns[event->conn]); break;
    case PG_EVENT_CANCEL: db_conn_cancel(&db->conns[event->conn], event->cancel); break;
    case PG_EVENT_UP: take_up(db, event->conn); break;
    case PG_EVENT_DOWN:
        log_line(LOG_WARN, "database: connection %u of %s: %.*s", event->conn, db->application_name, (int)event->text.len,
                 event->text.data);
        break;
    case PG_EVENT_NOTICE: log_line(LOG_INFO, "database: %.*s", (int)event->text.len, event->text.data); break;
    }
    return false;
}

bool db_take_events(struct db *db) {
    bool over = false;
    db->pass++;
    for (struct pg_event event; pg_pool_next(&db->pool, &event);) {
        over |= take_event(db, &event);
    }
    notice_up(db);
    return over;
}

/* Queries that the pool has never seen. */
static bool take_over(struct db *db) {
    struct link now;
    list_move(&now, &db->over);
    bool any = !list_empty(&now);
    while (!list_empty(&now)) {
        struct rm_query *query = LIST_OWNER(now.next, struct rm_query, line);
        list_remove(&query->line);
        query_over(query);
    }
    return any;
}

/* ------------------------------------------------------------------------------------------------------ turns ---- */

void db_turn(struct db *db) {
    db->more = false;
    pg_pool_turn(&db->pool, db->worker->now_ns);
    if (db->attention > 0) {
        db_conns_attend(db);
    }
    (void)db_take_events(db);
}

static void touch_streams(struct db *db) {
    for (uint32_t i = 0; i < db->pool.config.connections; i++) {
        struct db_conn *conn = &db->conns[i];
        if (conn->phase == DB_OPEN && !conn->dead && conn->stream.out.bytes > 0) {
            stream_touch(&conn->stream);
        }
    }
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The timer may be early: a deadline that moves back does not move it. */
static void set_timer(struct db *db) {
    uint64_t at_ns = pg_pool_deadline(&db->pool);
    if (db->attention > 0) {
        at_ns = sooner(at_ns, db_conns_deadline(db));
    }
    at_ns = sooner(at_ns, db->left_by_ns);
    bool early_enough = timer_armed(&db->timer) && db->timer.at_ns <= at_ns;
    if (at_ns != 0 && !early_enough) {
        timers_set(&db->worker->timers, &db->timer, at_ns);
    }
}

void db_flush(struct db *db) {
    bool over = true;
    for (unsigned i = 0; over && i < FLUSHES_MAX; i++) {
        over = take_over(db);
        over |= db_take_events(db);
        pg_pool_flush(&db->pool);
        over |= db_take_events(db);
    }
    db->more = over || !list_empty(&db->over);
    touch_streams(db);
    set_timer(db);
}

/* ------------------------------------------------------------------------------------------------------ leaving ---- */

void db_leave(struct db *db) {
    if (db->left_by_ns == 0) {
        db->left_by_ns = db->worker->now_ns + DB_LEAVING_MS * NS_PER_MS;
        pg_pool_drain(&db->pool);
        db->more = true; /* it has something to say */
    }
}

void db_forget(struct db *db) {
    for (uint32_t i = 0; i < db->pool.config.connections; i++) {
        if (db->conns[i].phase == DB_RESOLVING) {
            resolver_leave(db->worker->server->resolver, &db->conns[i].ask);
        }
    }
}

bool db_left(const struct db *db) {
    if (db->worker->now_ns >= db->left_by_ns) {
        return true;
    }
    for (uint32_t i = 0; i < db->pool.config.connections; i++) {
        enum db_phase phase = (enum db_phase)db->conns[i].phase;
        if (phase == DB_OPEN || phase == DB_ENDING || phase == DB_CLOSING) {
            return false;
        }
    }
    return true;
}
