/* A worker's database: the pool of src/pg with its sockets, on the worker's ring.
 *
 * A turn: db_turn tells the pool the time; what RING_RECEIVED brings is handed to the pool, and what the pool says is acted on
 * at once, so a handler whose queries are over goes on then; db_flush, at the end of the turn, gives what was submitted to the
 * connections, and their streams are flushed with all the others. Handlers never nest: rm_query only submits.
 *
 *     connection: IDLE --CONNECT--> WAITING (for its place among those that connect) --> RESOLVING --> CONNECTING --> OPEN
 *                   ^-------------------- RING_CLOSED --- CLOSING <-- ENDING (what is to be sent last) <--CLOSE--/
 *                 CONNECTING --refused--> REFUSED --RING_CLOSED--> CONNECTING (the next address), or IDLE
 *
 * Depends on: pg_pool.h, ring.h, stream.h, timers.h, resolver.h, worker.h. One thread: the worker's; passwords are hashed by
 * helpers, names looked up by the resolver. */
#ifndef RM_SERVER_DB_H
#define RM_SERVER_DB_H

#include "pg/pg_pool.h"
#include "ring/ring.h"
#include "server/list.h"
#include "server/observe.h"
#include "server/owner.h"
#include "server/resolver.h"
#include "server/stream.h"
#include "server/timers.h"

struct config;
struct server;
struct worker;

enum {
    DB_WAITING_MS = 5,           /* before who found SERVER_HANDSHAKES_MAX under way asks again */
    DB_ENDING_MS = 200,          /* for what is to be sent before a close */
    DB_LEAVING_MS = 500,         /* for all connections to end, at the end of a worker */
    DB_BLOCKS_PER_CONNECTION = 32, /* of output, in the plan */
};

enum db_phase { DB_IDLE, DB_WAITING, DB_RESOLVING, DB_CONNECTING, DB_REFUSED, DB_OPEN, DB_ENDING, DB_CLOSING };

/* A CancelRequest on its way, on a socket of its own. */
struct db_cancel {
    struct owner owner;   /* first: OWNER_DB_CANCEL */
    bool open;            /* from ring_connect to RING_CLOSED */
    bool closing;         /* ring_close was called */
    struct ring_id id;    /* while open */
    struct iovec segment; /* of `bytes` */
    uint64_t until_ns;
    char bytes[PG_CANCEL_BYTES_MAX];
};

/* A connection of the pool. Invariant: streaming <=> `stream` is set up (OPEN, ENDING, CLOSING from there); job_out => its
 * place in the pool is not told to be closed. */
struct db_conn {
    struct owner owner; /* first: OWNER_DB */
    uint8_t phase;      /* enum db_phase */
    bool handshaking;   /* it has one of SERVER_HANDSHAKES_MAX */
    bool streaming;
    bool dead;          /* nothing can be sent or will come any more */
    bool job_out;       /* a helper has `job` */
    uint32_t index;     /* in the pool */
    struct db *db;
    struct ring_id id;  /* of the socket, from CONNECTING on */
    struct stream stream;
    struct ring_job job;
    uint64_t until_ns;  /* of WAITING, ENDING */
    struct db_cancel cancel;
    struct resolver_ask ask; /* RESOLVING */
    uint32_t address_next;   /* the one in use is the one before */
    struct resolved host;    /* its addresses; why the last one did not do, or there is none */
};

/* Counted by the worker, apart from what the pool counts. */
struct db_figures {
    uint64_t refused;    /* queries that were over at once: an argument that can't be */
    uint64_t starved;    /* there was no memory for arguments or rows */
    uint64_t too_large;  /* rows were dropped: --db-result-bytes */
    uint64_t exhausted;  /* no item was left: 503 */
    uint64_t transactions, forgotten; /* forgotten: neither committed nor rolled back by their handler */
};

struct db {
    struct worker *worker;
    struct pg_pool pool;
    struct db_conn *conns;
    struct link over;        /* queries that are over without the pool: struct rm_query.line */
    struct timer timer;      /* wakes the worker */
    struct observe_row *rows; /* the times of statements, by their index */
    uint32_t attention;      /* connections and cancels whose until_ns counts */
    uint32_t pass;           /* counts db_take_events: see query_ended */
    bool up;                 /* pg_pool_ready: what server->db_missing knows */
    bool more;               /* the next turn must not sleep */
    uint64_t left_by_ns;     /* the end of db_leave; 0: not called */
    struct db_figures figures;
    char application_name[64];
};

/* The application's statements and those of src/pg, for server->statements. EXIT_FINE, or EXIT_CONFIG with `why`; to be freed
 * by db_statements_free in any case. */
[[gnu::warn_unused_result]] int db_statements_make(struct server *server, char *why);
void db_statements_free(struct server *server);

/* What a worker's pool is made with; `statements` and `seed` may be unknown (NULL, 0) where only sizes matter. */
void db_pool_config(struct pg_config *out, const struct config *config, const struct pg_statement *statements,
                    uint64_t seed);

/* Bytes of struct db with its connections, for the plan. */
size_t db_bytes(const struct config *config);

/* Sets up a worker's database in zeroed memory of the plan (db_bytes, pg_pool_bytes, rows of statements); it begins to
 * connect in the worker's first turn. */
struct db *db_open(struct worker *worker, void *memory, void *pool_memory, void *rows);

/* The beginning and the end of a turn. */
void db_turn(struct db *db);
void db_flush(struct db *db);

/* Takes what the pool has to say. True when a query is over: its handler may have submitted others. */
bool db_take_events(struct db *db);

/* No query will come any more: connections end when they are idle. */
void db_leave(struct db *db);

/* The worker ends, its ring is still there: whoever answers later finds nothing of it. */
void db_forget(struct db *db);

/* After db_leave: they have, or their time is up. */
bool db_left(const struct db *db);

/* ------------------------------------------------------------------------------------- sockets: db_connect.c ---- */

/* The pool wants a connection, wants it closed, wants a job run, wants a query cancelled. */
void db_conn_connect(struct db_conn *conn);
void db_conn_close(struct db_conn *conn);
void db_conn_run_job(struct db_conn *conn);
void db_conn_cancel(struct db_conn *conn, struct span bytes);

/* It serves. */
void db_conn_up(struct db_conn *conn);

/* The host has a name that has to be looked up. */
bool db_host_is_name(const struct pg_settings *settings);

/* RING_CONNECTED, RING_RECEIVED, RING_SENT, RING_CLOSED, RING_FINISHED of a connection; the first four of a cancel. */
void db_conn_event(struct db_conn *conn, const struct ring_event *event);
void db_cancel_event(struct db_cancel *cancel, const struct ring_event *event);

/* Looks at those whose time has come; the nearest time of one that waits for its own, 0: none does. */
void db_conns_attend(struct db *db);
uint64_t db_conns_deadline(const struct db *db);

#endif
