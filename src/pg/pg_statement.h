/* Statements, as the application registers them at start, and queries, as they are submitted. Everything in src/pg speaks
 * of statements by their index in one table that all workers share.
 *
 * Depends on: mem/span.h. Statements are read-only once serving; a query belongs to one worker. */
#ifndef RM_PG_STATEMENT_H
#define RM_PG_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/span.h"

enum {
    PG_STATEMENTS_MAX = 256,    /* of an application and ours together */
    PG_PARAMETERS_MAX = 65535,  /* Bind (F): a count of 16 bits, unsigned */
    PG_COLUMNS_MAX = 1664,      /* MaxTupleAttributeNumber: no result has more */
    PG_NAME_BYTES = 24,         /* of a prepared statement, with its NUL */
    PG_SQLSTATE_BYTES = 6,      /* "23505" and its NUL */
    PG_MESSAGE_BYTES = 160,     /* what is kept of an error's message, with its NUL */
    PG_CONSTRAINT_BYTES = 64,   /* NAMEDATALEN */
};

/* Invariant: name[] is "rm" and 16 hexadecimal digits that depend on the SQL and the types, so that a server-side name that
 * another program of the same pooler uses means the same statement; types[] has type_count OIDs (0: the server infers). */
struct pg_statement {
    struct span label;     /* for people: logs, metrics */
    struct span sql;       /* no NUL inside */
    const uint32_t *types; /* OIDs of the parameters */
    uint32_t type_count;
    bool read_only;   /* it may run twice: retried when its connection is lost */
    bool shared_sync; /* with read_only: may share its Sync with queries of other requests */
    bool local;       /* SET LOCAL, SET TRANSACTION, SET CONSTRAINTS: what it sets ends with the transaction, which the answer
                         does not tell */
    bool nested;      /* JSON rows: columns "a.b", "a.c" beside each other become an object "a" */
    uint8_t name_len; /* without the NUL */
    char name[PG_NAME_BYTES];
};

/* Ours, behind the application's in the table: index = count of the application's + one of these. */
enum pg_internal {
    PG_BEGIN,
    PG_BEGIN_READ_ONLY,
    PG_BEGIN_REPEATABLE,
    PG_BEGIN_SERIALIZABLE,
    PG_COMMIT,
    PG_ROLLBACK,
    PG_INTERNAL_COUNT,
};

/* Fills in a statement's name, and `local`, from what is set already: its SQL and its types. */
void pg_statement_make(struct pg_statement *statement);

/* Writes the PG_INTERNAL_COUNT statements of ours, with their names, to out[]. None returns rows, so that an empty
 * pg_plan_make is all that is to be known of them. */
void pg_statements_internal(struct pg_statement *out);

/* How a query ended. */
enum pg_status {
    PG_PENDING,     /* it has not */
    PG_OK,          /* ReadyForQuery has come */
    PG_ERROR,       /* the server said so: sqlstate, message */
    PG_ROLLED_BACK, /* another of its Sync group failed, or COMMIT was answered with ROLLBACK: nothing of it remains */
    PG_BUSY,        /* never sent: the queue is full, or its deadline passed while it waited there */
    PG_DOWN,        /* never sent: there is no connection */
    PG_LOST,        /* sent, and the connection was lost: whether it ran is unknown */
    PG_TIMEOUT,     /* sent, and its deadline passed: likewise */
    PG_TOO_LARGE,   /* its result outgrew a limit: what the statement does has been done */
};

/* "ok", "error", "rolled back" ...: static. */
const char *pg_status_name(enum pg_status status);

struct pg_session;

/* One execution of a statement. The owner's memory from pg_pool_submit to its PG_EVENT_DONE or pg_pool_leave. */
struct pg_query {
    /* set by the owner, not to be changed while it is pending */
    void *user;
    struct span params;          /* the section of Bind that pg_params_encode writes; stays valid and unchanged until
                                    it is over */
    struct pg_query *group_next; /* the next of its Sync group, which runs as one transaction; NULL: the last, or no group */
    struct pg_session *session;  /* the exclusive connection that it goes to, or NULL */
    uint64_t deadline_ns;        /* from its submission on; a group has the first's */
    uint16_t statement;          /* index */
    bool revocable;              /* rows that were told can be taken back: it may be sent again behind them, see `run` */

    /* the result: right when it is over */
    uint8_t status;              /* enum pg_status */
    bool discard;                /* no row is handed out any more: pg_query_discard, or it was left */
    uint8_t run;                 /* counts on when it is sent again behind rows: those that were told before don't count */
    uint64_t rows;               /* handed out, of this run */
    uint64_t affected;           /* of CommandComplete: INSERT, UPDATE, DELETE, MERGE, SELECT ... */
    char sqlstate[PG_SQLSTATE_BYTES];
    char message[PG_MESSAGE_BYTES];
    char constraint[PG_CONSTRAINT_BYTES];

    /* pg's own, from submission on; `link` and `place` say where it is, see pg_pool.c */
    uint32_t generation;
    uint8_t place;
    uint8_t tries;     /* times it was sent */
    uint8_t again;     /* what it was sent again for already: pg_pool.c's bits */
    bool skipped;      /* the server skipped it, because another of its run failed */
    bool heal;         /* the error says that its prepared statement has to be made anew: try again */
    uint16_t conn;     /* of the pool, while it is in its FIFO */
    uint64_t sent_ns;  /* when it was given to a connection */
    uint64_t queued_ns; /* when it was submitted */
    struct pg_query *next, *prev;
};

/* The owner wants no more rows of it: it ends with PG_TOO_LARGE (unless it fails otherwise) when the server is done. */
static inline void pg_query_discard(struct pg_query *query) {
    query->discard = true;
}

#endif
