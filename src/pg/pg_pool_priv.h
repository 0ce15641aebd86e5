/* What the files of the pool share: pg_pool.c takes queries, reads answers and tells; pg_pool_queue.c gives queries to
 * connections; pg_pool_life.c connects and closes; pg_pool_session.c has the exclusive ones; pg_pool_time.c looks at
 * deadlines. Nothing here is called from outside. */
#ifndef RM_PG_POOL_PRIV_H
#define RM_PG_POOL_PRIV_H

#include "mem/assert.h"
#include "mem/counter.h"
#include "pg/pg_pool.h"

/* Where a query is: pg_query.place. Its links: SENT and HELD have in `prev` the one before it in its group; the others are
 * in the list of their place. */
enum {
    PLACE_NONE,
    PLACE_QUEUE,   /* pool->queue */
    PLACE_SESSION, /* session->waiting */
    PLACE_SENT,    /* in the FIFO of member q->conn */
    PLACE_HELD,    /* answered; the answers of the rest of its group are awaited */
    PLACE_DONE,    /* pool->done */
};

/* What a query was sent again for: pg_query.again. Each once. */
enum { AGAIN_LOST = 1, AGAIN_HEALED = 2, AGAIN_SKIPPED = 4, AGAIN_CANCELLED = 8 };

/* pg_member.phase.
 *
 *     IDLE --CONNECT told--> CONNECTING --connected--> STARTING --ReadyForQuery--> SERVING
 *     any of them but IDLE --CLOSE told--> CLOSING --closed--> IDLE */
enum { MEMBER_IDLE, MEMBER_CONNECTING, MEMBER_STARTING, MEMBER_SERVING, MEMBER_CLOSING };

/* pg_member.ask, in the order in which they are told. */
enum { ASK_UP = 1, ASK_DOWN = 2, ASK_CONNECT = 4, ASK_JOB = 8, ASK_CANCEL = 16, ASK_CLOSE = 32 };

/* pg_member.rollback. HOPED: what is in the FIFO may end the transaction, else it is WANTED; AWAITED: ROLLBACK is in the
 * FIFO. */
enum { ROLLBACK_NONE, ROLLBACK_HOPED, ROLLBACK_WANTED, ROLLBACK_AWAITED };

/* pg_session.state. HELD: it has a connection, BEGIN was not sent; BEGINNING: BEGIN was sent; OPEN: it
 * was answered. */
enum { SESSION_WAITING, SESSION_HELD, SESSION_BEGINNING, SESSION_OPEN, SESSION_OVER };

/* pool->describing[]: no, wanted, or under way on the member that is added; and whether it is the second attempt. */
enum { DESCRIBE_NO = 0, DESCRIBE_WANTED = 1, DESCRIBE_BY = 2, DESCRIBE_AGAIN = 128 };
_Static_assert(DESCRIBE_BY + PG_CONNS_MAX <= DESCRIBE_AGAIN, "a member's number fits beside the bit");

enum { CONN_NONE = UINT16_MAX };

static inline uint32_t member_index(const struct pg_pool *pool, const struct pg_member *m) {
    return (uint32_t)(m - pool->members);
}

static inline uint64_t member_bit(const struct pg_pool *pool, const struct pg_member *m) {
    return UINT64_C(1) << member_index(pool, m);
}

/* It takes queries. */
static inline bool member_serves(const struct pg_member *m) {
    return m->phase == MEMBER_SERVING && m->pg.state == PG_CONN_READY;
}

static inline bool member_exclusive(const struct pg_member *m) {
    return m->session != NULL || m->rollback != ROLLBACK_NONE;
}

/* Something has to be looked at, at that time. */
static inline void pgp_note(struct pg_pool *pool, uint64_t at_ns) {
    if (at_ns != 0 && (pool->deadline_ns == 0 || at_ns < pool->deadline_ns)) {
        pool->deadline_ns = at_ns;
    }
}

static inline bool is_before(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) < 0;
}

/* Its owner has rows of it that can't be taken back, or that were more than it wants: it is not sent again. */
static inline bool pgp_told(const struct pg_query *q) {
    return q->rows > 0 && (!q->revocable || q->discard);
}

/* ------------------------------------------------------------------------------------------------ pg_pool_queue.c ---- */

void pgp_list_append(struct pg_list *list, struct pg_query *q);
void pgp_list_insert(struct pg_list *list, struct pg_query *q); /* by its generation */
void pgp_list_remove(struct pg_list *list, struct pg_query *q);

uint32_t pgp_group_count(const struct pg_query *first);

/* It is over: told by pg_pool_next. */
void pgp_finish(struct pg_pool *pool, struct pg_query *q, enum pg_status status);
void pgp_finish_group(struct pg_pool *pool, struct pg_query *first, enum pg_status status);
/* Likewise, with an error that does not come from the server. */
void pgp_finish_error(struct pg_pool *pool, struct pg_query *first, const char *sqlstate, const char *message);

/* Back to where it was in the queue, to be sent again. */
void pgp_requeue(struct pg_pool *pool, struct pg_query *q);

/* Takes it out of its group, wherever it is. */
void pgp_ungroup(struct pg_query *q);

/* All statements of the group are known; those that are not are wanted from now on. */
bool pgp_known(struct pg_pool *pool, const struct pg_query *first);

/* To the best connection, or to this one, which has room. False: none has room; no block is free. */
bool pgp_give(struct pg_pool *pool, struct pg_query *first, uint32_t n);
bool member_give(struct pg_pool *pool, struct pg_member *m, struct pg_query *first);

void pgp_wait(struct pg_pool *pool, struct pg_query *first, uint32_t n);
void pgp_pump(struct pg_pool *pool); /* what waits, to connections that have room */
void pgp_described(struct pg_pool *pool, struct pg_member *m, const struct pg_conn_event *event);

/* ------------------------------------------------------------------------------------------------- pg_pool_life.c ---- */

void member_ask(struct pg_pool *pool, struct pg_member *m, uint8_t what);
void member_connect(struct pg_pool *pool, struct pg_member *m);
void member_up(struct pg_pool *pool, struct pg_member *m);
void member_broken(struct pg_pool *pool, struct pg_member *m); /* pg.state is BROKEN */
void member_kill(struct pg_pool *pool, struct pg_member *m, const char *why);
void member_settle(struct pg_pool *pool, struct pg_member *m); /* at the end of the turn */
void member_count(struct pg_pool *pool, struct pg_member *m);  /* what is in flight, into the figures */
void member_cancel(struct pg_pool *pool, struct pg_member *m);

/* No connection is up, all have tried and failed, and none is trying. */
bool pgp_hopeless(const struct pg_pool *pool);

/* The group whose last answer has come: told, or sent again. */
void pgp_group_answered(struct pg_pool *pool, struct pg_query *last);

/* ---------------------------------------------------------------------------------------------- pg_pool_session.c ---- */

void session_submit(struct pg_pool *pool, struct pg_query *first, uint32_t n);
void session_answer(struct pg_pool *pool, struct pg_member *m, struct pg_query *q);
void session_pump(struct pg_pool *pool, struct pg_member *m);
void session_settle(struct pg_pool *pool, struct pg_member *m); /* what is over gives its connection back */
void session_assign(struct pg_pool *pool);
void session_over(struct pg_pool *pool, struct pg_session *session, enum pg_status verdict);
void session_give_up(struct pg_pool *pool, struct pg_session *session, enum pg_status verdict); /* it waits in vain */
void session_restart(struct pg_pool *pool, struct pg_session *session);
/* Nothing of it can end well any more: it is over, its connection is closed. */
void session_expire(struct pg_pool *pool, struct pg_member *m);

#endif
