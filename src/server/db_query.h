/* Queries of exchanges, from rm_query to their end. A query is an item of the plan's; it stays with its exchange, as a result,
 * until the handler that runs when it is over has returned.
 *
 *     HELD (its group is not complete) --the handler returns--> PENDING --its end, or it is left--> OVER --> (back to the pool)
 *       \--it can't be sent--> TOLD (over, but its handler may not know yet) --the end of the turn--------/
 *                               and from PENDING, when the pool has refused it at once
 *
 * Depends on: pg_pool.h, mem, waits.h, ringmain.h. One thread: the worker's. */
#ifndef RM_SERVER_DB_QUERY_H
#define RM_SERVER_DB_QUERY_H

#include "mem/chain.h"
#include "pg/pg_pool.h"
#include "ringmain.h"
#include "server/list.h"
#include "server/waits.h"

struct db;

enum {
    QUERY_ROOM_BYTES = 256, /* arguments up to this lie in the query itself; up to a block in one; longer ones in a body */
    QUERY_EACH = RM_AS_JSON + 1, /* behind enum rm_rows: rows go to a function */
};

enum query_state { QUERY_HELD, QUERY_PENDING, QUERY_TOLD, QUERY_OVER };

/* What rm_next_row finds, one behind the other in the blocks of `rows`: then the row's at[], then its body. */
struct query_row {
    struct pg_row row;
    uint64_t bytes; /* of all of it: a multiple of 8 */
};

/* Invariant: wait is on the exchange's list <=> state != OVER; rows is empty in the end unless it ended well. */
struct rm_query {
    struct pg_query pg;    /* first */
    struct wait wait;      /* WAIT_QUERY */
    struct rm_query *next; /* the one that its exchange started next; of the newest: the oldest */
    struct link line;      /* TOLD: on db->over */
    struct db_session *session; /* whose connection it goes to, or NULL */
    struct chain rows;     /* kept, or written */
    struct chain_mark first; /* RM_AS_JSON: behind the first row */
    uint64_t bytes;        /* of rows that came */
    rm_row_fn *row;        /* QUERY_EACH */
    void *arg;
    struct block *at;      /* rm_next_row: the block with the next row, */
    uint32_t at_bytes;     /* and where in it */
    uint32_t plan_version; /* of the rows */
    uint8_t run;           /* whose rows they are: pg.run */
    uint32_t pass;         /* PENDING: db->pass when it was submitted */
    struct pool *params_pool; /* where `params` goes back to; NULL: they are in `room` */
    char *params;
    uint8_t kind;          /* enum rm_rows, or QUERY_EACH */
    uint8_t state;         /* enum query_state */
    bool fresh;            /* the handler that runs has started it */
    bool grouped;
    bool ends;             /* it ends its session: commit, rollback */
    bool spoiled;          /* it was to commit, and is a rollback: struct db_session.spoiled */
    bool starved;          /* its rows found no block */
    bool broken;           /* a value was none of its type: no server does that, as rows are read by the columns they have */
    bool moved;            /* its rows are in a response already */
    char room[QUERY_ROOM_BYTES];
};

/* A transaction. */
struct db_session {
    struct pg_session pg; /* first */
    uint32_t pending;     /* queries of it that are not over */
    bool spoiled;         /* a query of it could not even be sent: it can't be committed as if that had not been asked for */
    bool ending;          /* commit or rollback was asked for: what is started now does not belong to it */
};

/* Begins a query by its statement's index. NULL: no item is left, and the exchange answers 503; or the arguments are a
 * mistake: 500. Otherwise it is submitted, or held for its group, or over. `row` and `arg` for QUERY_EACH. */
struct rm_query *query_begin(struct rm_exchange *x, uint8_t kind, uint16_t statement, const struct rm_arg *args,
                             uint32_t count);

/* Says how it ends without having been sent, before the handler returns or after: `sqlstate` and `message` for PG_ERROR. */
void query_refuse(struct rm_query *query, enum pg_status status, const char *sqlstate, const char *message);

/* The pool's: a row has come. */
void query_take_row(struct db *db, struct rm_query *query, const struct pg_row *row);

/* The pool's: it has ended. One that was submitted while the pool was telling what it had to say, and has ended already, is
 * only put on db->over: else who asks again from each answer would never let it finish. */
void query_ended(struct db *db, struct rm_query *query);

/* It is over. The exchange goes on when that was its last wait. */
void query_over(struct rm_query *query);

/* Its exchange does not wait any longer: it is over as PG_LOST, and its memory is free of the pool. */
void query_leave(struct rm_query *query);

/* A handler has returned: its group goes off; what it was shown is given back. */
void queries_returned(struct rm_exchange *x);

/* The exchange ends: gives back all its queries, and rolls back a transaction that was forgotten. */
void queries_end(struct rm_exchange *x);

/* How it stands, as the public interface says it. */
enum rm_db query_status(const struct rm_query *query);

/* A session that ends itself gives its item back when nothing of it is pending. */
void session_end(struct rm_exchange *x);

#endif
