/* The connections of a worker and the queries that want one. Sans-I/O: the owner connects, sends, closes, and tells what
 * came.
 *
 * A query goes to the connection with the least outstanding work that has room, else into a bounded queue, first in, first
 * out; when that is full it is over at once (PG_BUSY). A statement that this worker does not know yet is described first;
 * its queries wait meanwhile, those of others pass them. What is submitted in a turn leaves in one send, at the end of it.
 *
 *     trouble                                   what becomes of a query
 *     never sent, connection lost               sent over another one, within its deadline
 *     sent, connection lost                     a read-only statement outside of a session of which no row was told, or
 *                                               whose rows can be taken back (revocable): once more; else PG_LOST
 *     sent, deadline passed                     PG_TIMEOUT; when it is the head of its FIFO for `grace` longer it is cancelled,
 *                                               after another `grace` its connection is closed
 *     its session was closed                    rolled back; when that takes `grace`: cancelled and closed, likewise
 *     waiting, deadline passed                  PG_BUSY (PG_TIMEOUT when it was sent before); with no connection up PG_DOWN,
 *                                               at the latest after `down_timeout`, at once when every connection has tried
 *                                               and failed
 *     26000, 42P05, 0A000 (RevalidateCachedQuery)  prepared and described anew and sent again, once, outside of sessions
 *     a row came, its columns are not the plan's   read-only, outside of sessions and groups: likewise; else PG_ERROR, 0A000
 *     skipped, because another of its run failed   sent again with a Sync of its own
 *     57014 while a cancel was meant for another   read-only: sent again, once; else the error
 *     its connection had died while it was idle    seen before: one that nobody used for `ping` has to answer a Sync within
 *                                               `grace`, else it is replaced
 *     it leaves a transaction open                 PG_ERROR, 25001, and its connection is closed when it is idle
 *
 * What is sent again goes where it was in the queue: before everything that was submitted after it.
 *
 * Depends on: pg_conn.h. One thread. */
#ifndef RM_PG_POOL_H
#define RM_PG_POOL_H

#include "pg/pg_conn.h"

enum {
    PG_CONNS_MAX = 64,  /* of a worker */
    PG_DEPTHS = 12,     /* buckets of the depth in flight: 0, 1, 2-3, 4-7, ... */
};

struct pg_config {
    const struct pg_settings *settings;
    const struct pg_statement *statements; /* ours last */
    uint32_t statement_count;
    uint32_t connections;    /* of this worker: 1 .. PG_CONNS_MAX */
    uint32_t inflight;       /* queries in flight per connection */
    uint32_t queue;          /* queries that wait */
    uint32_t message_bytes;  /* longest row */
    size_t send_bytes;       /* that may wait to be sent on a connection: above it, and not empty, nothing more is
                                given to it */
    bool prepare;
    uint64_t grace_ns;       /* see above */
    uint64_t down_timeout_ns;    /* how long a query waits when no connection is up */
    uint64_t transaction_ns;     /* an exclusive connection is given up after so long */
    uint64_t backoff_min_ns, backoff_max_ns; /* between attempts to connect; with jitter */
    uint64_t refused_ns;     /* likewise, when the server refuses us (a wrong password, no such database) or we refuse it
                                (require_auth, its signature, its encoding) */
    uint64_t ping_ns;        /* a connection that was idle for so long is asked for a sign of life; 0: never */
    uint64_t seed;           /* of the jitter */
    const char *application_name;
};

void pg_config_default(struct pg_config *config); /* all but settings, statements and seed */

enum pg_event_type {
    PG_EVENT_NONE,
    PG_EVENT_ROW,     /* query, row: borrowed until the next pg_pool_next */
    PG_EVENT_DONE,    /* query: it is over and the owner's again */
    PG_EVENT_CONNECT, /* conn: make a socket for it, then pg_pool_connected, or pg_pool_closed */
    PG_EVENT_JOB,     /* conn: run pool->conns[conn].pg.auth.job, then pg_pool_job_done */
    PG_EVENT_CLOSE,   /* conn: close its socket (or give up making one), then pg_pool_closed. When its pg.state is BROKEN
                         nothing more is to be sent, and pg_pool_lost may be called before pg_pool_closed to tell what
                         never left; without it everything counts as sent. Else its chain ends with Terminate: to be sent
                         if it goes at once */
    PG_EVENT_CANCEL,  /* conn, cancel: send these bytes over a connection of their own to the same address, wait for
                         its end (not
                         longer than the connect timeout), then pg_pool_cancelled */
    PG_EVENT_UP,      /* conn: it serves */
    PG_EVENT_DOWN,    /* conn: it does not any more, or could not begin to: text says why. Once for each reason in a row */
    PG_EVENT_NOTICE,  /* conn, text: what the server wants people to know */
};

struct pg_event {
    enum pg_event_type type;
    uint32_t conn;
    struct pg_query *query;
    struct pg_row row;
    struct span text;   /* borrowed until the next call */
    struct span cancel; /* likewise */
};

/* Queries, linked both ways. Invariant: head == NULL <=> tail == NULL. */
struct pg_list {
    struct pg_query *head, *tail;
};

/* An exclusive connection, from pg_pool_open to the end of what was said last. The owner's memory; pg's to write. */
struct pg_session {
    uint8_t state;   /* pg_pool.c's */
    bool lost;       /* its connection has gone, or its time was up: its queries end with PG_LOST or PG_TIMEOUT, at once */
    uint8_t verdict; /* enum pg_status: what its queries end with from now on; PG_PENDING: they are sent */
    bool ending;     /* its commit or rollback was submitted */
    bool healed;     /* its BEGIN was prepared anew once */
    uint16_t begin;  /* index of the statement that begins the transaction: it goes in front of the first query */
    uint16_t conn;
    uint32_t generation; /* its place among the queries that wait */
    uint64_t deadline_ns; /* for getting a connection */
    uint64_t since_ns;    /* when it began to wait for one */
    uint64_t until_ns;    /* for keeping it */
    struct pg_query begin_query;
    struct pg_list waiting; /* queries, until it has a connection with room */
    struct pg_session *next, *prev; /* of those that wait for a connection */
};

struct pg_member {
    struct pg_conn pg;
    uint8_t phase;   /* pg_pool.c's: idle, connecting, starting, serving, closing */
    uint8_t ask;     /* bits of what the owner is to be told */
    bool quiescing;  /* a cancel is under way: nothing new */
    bool cancelling; /* its connection has not ended yet */
    bool retire;     /* to be closed when it is idle and nothing waits */
    bool reserved;   /* a session waits for it to be idle: nothing new */
    bool failed;     /* its last attempt to connect was in vain */
    bool dropped;    /* its FIFO was emptied */
    uint8_t rollback; /* pg_pool.c's: none, hoped, wanted, sent: the session went, its transaction has to go, too */
    struct pg_session *session; /* whose it is */
    struct pg_query rollback_query;
    uint64_t next_try_ns; /* idle: when to connect */
    uint64_t deadline_ns; /* connecting, starting: until when; rollback: likewise */
    uint64_t backoff_ns;  /* of the last failure; 0: it has answered a query since */
    uint64_t cancel_ns;   /* quiescing: when the cancel was sent */
    uint32_t cancel_slot; /* likewise: for what was the head then */
    uint32_t ping_slot;   /* pinged: the slot of the ping */
    bool pinged;          /* it may not be answered yet */
    uint32_t counted;     /* of figures.in_flight */
    uint64_t used;        /* when something was given to it last: counts on */
    uint64_t *late;       /* by slot: its deadline; 0: none */
    char why[PG_CONN_WHY_BYTES]; /* why it went down */
};

/* Written by the worker, read by others with relaxed loads. */
struct pg_figures {
    uint64_t submitted, done[PG_TOO_LARGE + 1]; /* queries, by how they ended */
    uint64_t rows;
    uint64_t sent;        /* executions sent */
    uint64_t syncs;       /* Syncs sent */
    uint64_t retried;     /* sent again: connection lost, */
    uint64_t healed;      /* prepared anew, */
    uint64_t skipped;     /* skipped by the error of another of the run */
    uint64_t parses;      /* Parse messages */
    uint64_t describes;   /* statements, ahead of their queries: what rides with a Parse does not count */
    uint64_t connects, connect_failures, lost; /* connections */
    uint64_t cancels, kills, quarantined, left; /* left: queries whose owner went */
    uint64_t notices, notifications;
    uint64_t up;          /* connections that serve now */
    uint64_t in_flight;   /* queries now */
    uint64_t waiting;     /* queries in the queue now */
    uint64_t depths[PG_DEPTHS]; /* in flight on the connection, itself included, when one was given to it */
    uint64_t wait_ns;     /* time in the queue, of all */
};

struct pg_pool {
    struct pg_config config;
    struct pg_shared shared;
    struct pg_member *members; /* config.connections */
    struct pg_figures figures;
    uint64_t now_ns;
    uint64_t random;
    /* pg_pool.c's */
    struct pg_list queue; /* waiting: sorted by generation */
    struct pg_list done;  /* over, to be told */
    struct pg_session *sessions; /* waiting for a connection: sorted by generation */
    uint8_t *describing;  /* by statement: whether and where it is being described: see pg_pool.c */
    uint32_t describes_wanted; /* statements of which it is wanted */
    uint32_t waiting_sessions, exclusive; /* sessions without, and members with one or with a rollback */
    uint32_t generation;  /* of what was submitted last */
    uint64_t used;        /* counts what was given */
    uint32_t input_conn;  /* whose input is being read */
    bool reading;
    struct span input;
    uint64_t asked;       /* members that want something to be told */
    uint64_t dirty;       /* members that were given or told something since the last flush */
    uint64_t starved;     /* members that found no block for what they have to send: dirty again in the next turn */
    uint64_t deadline_ns; /* nothing has to be looked at before; 0: never */
    uint64_t down_ns;     /* since when no connection is up */
    bool replacing;       /* none is, because we closed the last one, and to open another has not failed since */
    bool draining;
    bool down_told;       /* `down` was told, and nothing has come up since */
    char down[PG_CONN_WHY_BYTES];
    char text[PG_CONN_WHY_BYTES];
    char cancel[PG_CANCEL_BYTES_MAX];
};

/* Memory that a pool of this configuration needs: members, slots, carries, plans; touched as it is used. */
size_t pg_pool_bytes(const struct pg_config *config);

/* Keeps `memory` (64-byte aligned, zeroed) and what the configuration points at. Wants to connect: pg_pool_next says so. */
void pg_pool_init(struct pg_pool *pool, const struct pg_config *config, void *memory, uint64_t now_ns);

/* What happened, or is to be done: call until NONE, after each of the calls below and before the input's bytes die. */
[[gnu::warn_unused_result]] bool pg_pool_next(struct pg_pool *pool, struct pg_event *event);

/* ------------------------------------------------------------------------------------------------------- queries ---- */

/* From here on the query (and its group) is pending, until PG_EVENT_DONE; never told inside of this call. A group goes to one
 * connection as a whole; one of more than config.inflight queries ends with PG_ERROR, 54000. A deadline of 0 is none. A query
 * of a session that is over (its commit or rollback was submitted before it) ends with PG_ROLLED_BACK. */
void pg_pool_submit(struct pg_pool *pool, struct pg_query *query);

/* The owner does not want it any more (of a group: this one): no event of it follows, its memory and its parameters are the
 * owner's again at once. What was sent runs on; what was not is not sent any more. Nothing happens to one that is over. */
void pg_pool_leave(struct pg_pool *pool, struct pg_query *query);

/* Takes a connection for a session as soon as one is free, by `deadline_ns` (0: no limit), else its queries end with PG_BUSY
 * or PG_DOWN; queries with query->session set may be submitted at once. At most all connections but one are exclusive at a
 * time, or the only one. */
void pg_pool_open(struct pg_pool *pool, struct pg_session *session, enum pg_internal begin, uint64_t deadline_ns);

/* The session is over: queries of it that are pending must have been left. A transaction that is open is rolled back. The
 * memory is the owner's again at once. */
void pg_pool_close(struct pg_pool *pool, struct pg_session *session);

/* ------------------------------------------------------------------------------------------------ what came about ---- */

/* The socket of a CONNECT is connected; what is to be sent is appended to `out`, which is kept until pg_pool_closed. */
void pg_pool_connected(struct pg_pool *pool, uint32_t conn, struct chain *out,
                       const uint8_t random[static PG_NONCE_RANDOM_BYTES]);

/* Bytes came: borrowed until pg_pool_next says NONE. */
void pg_pool_input(struct pg_pool *pool, uint32_t conn, struct span bytes);

void pg_pool_job_done(struct pg_pool *pool, uint32_t conn);

/* The stream has ended or has an error; `unsent` bytes of what was appended last were never handed to the kernel. CLOSE
 * follows, unless it was told already. */
void pg_pool_lost(struct pg_pool *pool, uint32_t conn, size_t unsent, const char *why);

/* The socket is closed, or could not be connected (`why`, else NULL). */
void pg_pool_closed(struct pg_pool *pool, uint32_t conn, const char *why);

/* The connection that carried a cancel has ended. */
void pg_pool_cancelled(struct pg_pool *pool, uint32_t conn);

/* The time has come to `now_ns`: once per turn, before everything else of the turn. */
void pg_pool_turn(struct pg_pool *pool, uint64_t now_ns);

/* The end of the turn: gives what waits to connections that have room, ends open runs with their Sync. Every chain that is
 * not empty is to be sent then. The owner of a query that is told as over behind it may have submitted, left or closed
 * something: call it again, in this turn or in one that follows at once. */
void pg_pool_flush(struct pg_pool *pool);

/* When pg_pool_turn has something to look at; 0: never. */
static inline uint64_t pg_pool_deadline(const struct pg_pool *pool) {
    return pool->deadline_ns;
}

/* No connection is made any more; each is closed with Terminate when it is idle. */
void pg_pool_drain(struct pg_pool *pool);

static inline bool pg_pool_up(const struct pg_pool *pool) {
    return pool->figures.up > 0;
}

/* Who submits now can hope: a connection is up; or the last one is being replaced in order (its session was changed), so that
 * another will be up soon, and not for longer than `down_timeout` already. Changes in pg_pool_turn and by what came about. */
static inline bool pg_pool_ready(const struct pg_pool *pool) {
    return pg_pool_up(pool) || (pool->replacing && pool->now_ns < pool->down_ns + pool->config.down_timeout_ns);
}

#endif
