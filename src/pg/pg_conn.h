/* One connection to the server: bytes in, events out; queries in, bytes out. No socket, no clock.
 *
 *     DOWN --pg_conn_start--> STARTING --ReadyForQuery--> READY --anything that can't be right--> BROKEN
 * --pg_conn_reset--> DOWN
 *
 * Queries are matched with answers by order alone: each that is sent has one slot in a FIFO. A slot is popped when the
 * ReadyForQuery of its Sync has come, never before: only that means success. Several slots may share a Sync: a group (all
 * of them or none), or a run of queries of different requests (pg_statement.shared_sync), which ends at pg_conn_flush.
 *
 *     slot: SENT -[3]-[1]-[t]-[T|n]- 2 - D* - (C|I) - ... - Z        E at any place: skip to Z
 *
 * Anything else breaks the connection.
 *
 * Plans are the worker's, prepared statements the connection's: its table may have changed since the plan was made, or the
 * plan was made anew since. So columns are looked at whenever a statement is prepared: each Parse has its Describe behind
 * it, and when what comes is not the plan, the plan is made anew (pg_conn_read.c). A row is read by the plan whose columns
 * its statement was seen to have, or not at all.
 *
 * NoticeResponse, ParameterStatus, NotificationResponse and a FATAL ErrorResponse are taken at any moment, idle included.
 *
 * Depends on: mem, pg_wire.h, pg_auth.h, pg_plan.h, pg_row.h. One thread. */
#ifndef RM_PG_CONN_H
#define RM_PG_CONN_H

#include "mem/chain.h"
#include "pg/pg_auth.h"
#include "pg/pg_plan.h"
#include "pg/pg_row.h"

/* What the connections of a worker share. */
struct pg_shared {
    const struct pg_settings *settings;
    const struct pg_statement *statements; /* statement_count of them, ours last */
    struct pg_plan *plans;                 /* likewise; the worker's */
    uint32_t statement_count;
    uint32_t inflight;      /* slots of a connection */
    uint32_t message_bytes; /* of the carry: a larger DataRow fails its query, and is drained; of a larger ErrorResponse,
                               NoticeResponse or ParameterStatus the beginning is read */
    bool prepare;           /* false: for transaction poolers, each query brings its unnamed Parse, and Describe */
    uint32_t *at;           /* PG_COLUMNS_MAX: of the row that is being read */
    const char *application_name; /* when the settings have none */
    uint64_t now_ns;        /* kept current by the pool */
    /* counters, single writer */
    uint64_t parses, describes, notices, notifications, syncs; /* syncs: of queries */
};

enum pg_conn_state { PG_CONN_DOWN, PG_CONN_STARTING, PG_CONN_READY, PG_CONN_BROKEN };

enum { PG_CONN_WHY_BYTES = 200 };

/* One query, Describe or ping that was sent. */
struct pg_slot {
    struct pg_query *query; /* NULL: a Describe of the pool's, a ping, or somebody who left */
    uint64_t start;         /* conn->written when it was appended: what begins behind what was handed over never left */
    uint32_t generation;    /* of the query, asserted at delivery */
    uint32_t plan_version;  /* by which its rows are read; 0: by none, as its columns are not known to be those of any */
    uint16_t statement;
    uint16_t flags;         /* enum slot_flag of pg_conn_priv.h: what was sent before Bind, whether its Sync follows ... */
    uint8_t state;          /* enum slot_state: what is awaited next */
    uint8_t fate;           /* enum slot_fate: what has become of it */
};
_Static_assert(sizeof(struct pg_slot) == 32, "two in a cache line");

/* What the server said when a Parse or a Describe failed. */
struct pg_failure {
    uint32_t until;     /* slots before this one were sent without knowing */
    uint16_t statement; /* UINT16_MAX: none */
    char sqlstate[PG_SQLSTATE_BYTES];
    char message[PG_MESSAGE_BYTES];
};

/* Invariants: head <= ending <= cursor <= tail (as differences); tail - head <= slots <= slot_mask + 1; carry_start <=
 * carry_len <= message_bytes; drain_left > 0 => carry_len == 0; open_run => the last slot has no Sync. */
enum {
    PG_CONN_SPARE = 4,            /* slots of our own: Describe, ROLLBACK, ping */
    PG_CONN_MESSAGE_BYTES = 1024, /* the least that message_bytes may be */
};

struct pg_conn {
    struct pg_shared *shared;
    struct chain *out;        /* of the socket; set by pg_conn_start */
    struct pg_slot *slots;    /* a power of two of them */
    uint32_t slot_mask;
    uint32_t head, tail;      /* of the FIFO, counting on */
    uint32_t ending;          /* slots before this one are over: they are told, one at a time, and popped */
    uint32_t cursor;          /* the slot that the server answers now; == tail: none */
    uint32_t queries;         /* slots with or without an owner that are queries */
    uint8_t state;            /* enum pg_conn_state */
    bool open_run;            /* the last slot has no Sync yet */
    bool skipping;            /* an error was seen: up to the next Z */
    bool job;                 /* of authentication: is out */
    bool passed;              /* authentication is over */
    char status;              /* of the last Z: 'I', 'T', 'E' */
    bool refused;             /* BROKEN by us, for what will not be different soon: the proof that is asked for, the encoding */
    bool foreign;             /* the server speaks another encoding than UTF-8 */
    bool tainted;             /* something was run that changes the session (SET but for SET LOCAL, LISTEN, PREPARE ...), or a
                                 transaction was left open: to be replaced when it is idle */
    uint64_t written;         /* bytes ever appended to out */
    uint64_t drain_left;      /* bytes of a message that is too large, to be dropped */
    char *carry;              /* message_bytes; an incomplete message, or what waits for the job */
    uint32_t carry_start, carry_len;
    uint32_t planned[PG_STATEMENTS_MAX];    /* the plan's version that has the columns with which this server process prepared
                                               a statement; 0: it did not. When it is not the newest, it is prepared anew */
    uint64_t close[PG_STATEMENTS_MAX / 64];    /* whose names may be in use there: Close goes in front of Parse */
    uint64_t head_since_ns;   /* when the head of the FIFO became it */
    struct pg_cancel_key key;
    struct pg_auth auth;
    struct pg_failure failure;
    int server_version;       /* 150004; 0: not told */
    char why[PG_CONN_WHY_BYTES];        /* BROKEN: what happened, for people */
    char sqlstate[PG_SQLSTATE_BYTES];   /* BROKEN by an error of the server's: its code; else empty */
};

/* Slots and carry are borrowed for the life of the connection: pg_conn_slots(inflight) of struct pg_slot,
 * shared->message_bytes (at least PG_CONN_MESSAGE_BYTES). */
uint32_t pg_conn_slots(uint32_t inflight);
void pg_conn_init(struct pg_conn *conn, struct pg_shared *shared, struct pg_slot *slots, char *carry);

/* The socket is connected: writes StartupMessage (user, database, application_name, client_encoding UTF8, options) to
 * `out`, which is kept. False: no block is free. */
[[gnu::warn_unused_result]] bool pg_conn_start(struct pg_conn *conn, struct chain *out,
                                               const uint8_t random[static PG_NONCE_RANDOM_BYTES]);

/* Back to DOWN; the FIFO is empty (pg_conn_drop). */
void pg_conn_reset(struct pg_conn *conn);

enum pg_conn_event_type {
    PG_CONN_MORE,      /* the input is used up */
    PG_CONN_JOB,       /* conn->auth.job is to be run, then pg_conn_job_done; the input waits until then in the carry */
    PG_CONN_UP,        /* startup is over: READY */
    PG_CONN_ROW,       /* query, row: borrowed until the next call */
    PG_CONN_QUERY,     /* query: it is over; its result is set (PG_OK, PG_ERROR, PG_ROLLED_BACK, PG_TOO_LARGE), or
                          skipped is */
    PG_CONN_DESCRIBED, /* statement: its plan is known now; or, with failed, why is in `error` (as a query's result) */
    PG_CONN_NOTICE,    /* error: a NoticeResponse, borrowed until the next call */
    PG_CONN_DOWNED,    /* BROKEN: conn->why. No more input is taken: pg_conn_drop for what was in flight, then close */
};

struct pg_conn_event {
    enum pg_conn_event_type type;
    struct pg_query *query;
    struct pg_row row;
    uint16_t statement;
    bool failed;
    struct pg_error error;
};

/* Takes what it can from *input (advancing it) and says what happened. Call until MORE, JOB or DOWNED: *input is used up
 * then. What is incomplete at MORE is copied into the carry. */
void pg_conn_next(struct pg_conn *conn, struct span *input, struct pg_conn_event *event);

/* The job has been run. Afterwards pg_conn_next with an empty input. */
void pg_conn_job_done(struct pg_conn *conn);

/* The server has ended the stream, or the socket has an error: BROKEN with `why`. */
void pg_conn_lost(struct pg_conn *conn, const char *why);

/* ------------------------------------------------------------------------------------------------------- sending ---- */

/* True when `n` more queries have room. */
bool pg_conn_room(const struct pg_conn *conn, uint32_t n);

/* Appends a query, or a whole group by its first: Parse and Describe inline when this server process does not know the
 * statement yet, or not with the columns of the plan, Bind, Execute, Sync (a shared_sync statement outside of a group and a
 * session gets its Sync at pg_conn_flush, unless it was `skipped` before; a query that is not of the run ends the run
 * first). Resets the query's result, `skipped` and `heal`, but not `discard`. READY, room for it and known plans are
 * asserted. False: no block is free; nothing of it was appended. */
[[gnu::warn_unused_result]] bool pg_conn_query(struct pg_conn *conn, struct pg_query *query);

/* Close (in case that its name is in use), Parse, Describe, Sync: PG_CONN_DESCRIBED follows. False: no block or no
 * slot is free. */
[[gnu::warn_unused_result]] bool pg_conn_describe(struct pg_conn *conn, uint16_t statement);

/* A Sync alone: the cheapest sign of life. False: no block or no slot is free. */
[[gnu::warn_unused_result]] bool pg_conn_ping(struct pg_conn *conn);

/* The end of the turn: the open run gets its Sync. False: no block is free; to be tried again. */
[[gnu::warn_unused_result]] bool pg_conn_flush(struct pg_conn *conn);

/* Nothing will be sent any more: Terminate. */
void pg_conn_terminate(struct pg_conn *conn);

/* The owner of a query in the FIFO has left: its answer will be dropped. */
void pg_conn_leave(struct pg_conn *conn, struct pg_query *query);

/* BROKEN: takes the queries out of the FIFO, first to last; NULL: it is empty. *sent tells whether any byte of it can have
 * reached the server: `unsent` is how many of the bytes that were appended to out last were never handed to the kernel. */
struct pg_query *pg_conn_drop(struct pg_conn *conn, size_t unsent, bool *sent);

/* The query at the head of the FIFO; NULL: nobody's, or none. */
struct pg_query *pg_conn_head(const struct pg_conn *conn);

static inline bool pg_conn_idle(const struct pg_conn *conn) {
    return conn->head == conn->tail;
}

#endif
