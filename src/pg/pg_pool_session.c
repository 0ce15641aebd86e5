/* Exclusive connections: a session waits for an idle one, has it until its transaction is over, and leaves none open. */
#include "pg/pg_pool_priv.h"

static uint32_t exclusive_max(const struct pg_pool *pool) {
    return pool->config.connections > 1 ? pool->config.connections - 1 : 1;
}

static uint16_t internal_statement(const struct pg_pool *pool, enum pg_internal which) {
    return (uint16_t)(pool->config.statement_count - PG_INTERNAL_COUNT + (uint32_t)which);
}

/* ------------------------------------------------------------------------------------- those without a connection ---- */

static void waiting_insert(struct pg_pool *pool, struct pg_session *session) {
    struct pg_session *prev = NULL, *next = pool->sessions;
    while (next != NULL && is_before(next->generation, session->generation)) {
        prev = next;
        next = next->next;
    }
    session->prev = prev;
    session->next = next;
    *(prev != NULL ? &prev->next : &pool->sessions) = session;
    if (next != NULL) {
        next->prev = session;
    }
    session->state = SESSION_WAITING;
    session->conn = CONN_NONE;
    session->since_ns = pool->now_ns;
    pool->waiting_sessions++;
    pgp_note(pool, session->deadline_ns);
    if (pool->figures.up == 0) {
        pgp_note(pool, pool->now_ns + pool->config.down_timeout_ns);
    }
}

static void release_reserved(struct pg_pool *pool) {
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        pool->members[i].reserved = false;
    }
}

static void waiting_remove(struct pg_pool *pool, struct pg_session *session) {
    *(session->prev != NULL ? &session->prev->next : &pool->sessions) = session->next;
    if (session->next != NULL) {
        session->next->prev = session->prev;
    }
    session->next = session->prev = NULL;
    pool->waiting_sessions--;
    if (pool->sessions == NULL) { /* nobody comes for what was kept free */
        release_reserved(pool);
    }
}

static void take_member(struct pg_pool *pool, struct pg_session *session, struct pg_member *m) {
    waiting_remove(pool, session);
    session->state = SESSION_HELD;
    session->conn = (uint16_t)member_index(pool, m);
    session->until_ns = pool->now_ns + pool->config.transaction_ns;
    pgp_note(pool, session->until_ns);
    m->session = session;
    m->reserved = false;
    pool->exclusive++;
    pool->dirty |= member_bit(pool, m);
    session_pump(pool, m);
}

/* An idle connection, or else the one that will soonest be, which is reserved. */
static struct pg_member *candidate(struct pg_pool *pool) {
    struct pg_member *best = NULL;
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        struct pg_member *m = &pool->members[i];
        if (!member_serves(m) || member_exclusive(m) || m->quiescing || m->pg.tainted || m->reserved) {
            continue;
        }
        if (best == NULL || m->pg.tail - m->pg.head < best->pg.tail - best->pg.head) {
            best = m;
        }
    }
    return best;
}

/* With a single connection, sessions and queries have it in the order of their coming. */
static bool has_to_wait(const struct pg_pool *pool, const struct pg_session *session) {
    return pool->config.connections == 1 && pool->queue.head != NULL &&
           is_before(pool->queue.head->generation, session->generation);
}

void session_assign(struct pg_pool *pool) {
    release_reserved(pool);
    uint32_t taken = pool->exclusive;
    for (struct pg_session *s = pool->sessions, *next; s != NULL && taken < exclusive_max(pool); s = next) {
        next = s->next;
        if (has_to_wait(pool, s)) {
            break;
        }
        struct pg_member *m = candidate(pool);
        if (m == NULL) {
            break;
        }
        taken++;
        if (pg_conn_idle(&m->pg)) {
            take_member(pool, s, m);
        } else {
            m->reserved = true;
        }
    }
}

void pg_pool_open(struct pg_pool *pool, struct pg_session *session, enum pg_internal begin, uint64_t deadline_ns) {
    *session = (struct pg_session){
        .begin = internal_statement(pool, begin), .generation = ++pool->generation, .deadline_ns = deadline_ns,
    };
    waiting_insert(pool, session);
    if (pgp_hopeless(pool)) {
        session_give_up(pool, session, PG_DOWN);
        return;
    }
    session_assign(pool);
}

/* --------------------------------------------------------------------------------------------------------- queries ---- */

/* BEGIN and the first query, one Sync: when BEGIN fails, the query does not run. What is behind them waits until BEGIN has been
 * answered: it has a Sync of its own, and would run without a transaction. When both don't fit, BEGIN goes alone. */
static bool give_first(struct pg_pool *pool, struct pg_member *m, struct pg_query *first, uint32_t n) {
    struct pg_session *session = m->session;
    bool alone = n + 1 > pool->config.inflight;
    struct pg_query *begin = &session->begin_query;
    *begin = (struct pg_query){
        .params = span_of("\0\0\0", 4), /* no formats, no values */
        .statement = session->begin, .session = session, .generation = ++pool->generation,
        .deadline_ns = first->deadline_ns, .group_next = alone ? NULL : first,
    };
    if (!pgp_known(pool, begin) || !pg_conn_room(&m->pg, alone ? 1 : n + 1) || !member_give(pool, m, begin)) {
        return false;
    }
    first->prev = alone ? first->prev : NULL;
    session->state = SESSION_BEGINNING;
    return true;
}

static void unlist(struct pg_pool *pool, struct pg_session *session, struct pg_query *first) {
    for (struct pg_query *q = first; q != NULL; q = q->group_next) {
        pgp_list_remove(&session->waiting, q);
        q->place = PLACE_NONE;
        counter_set(&pool->figures.waiting, pool->figures.waiting - 1);
    }
}

static void list_again(struct pg_pool *pool, struct pg_query *first) {
    for (struct pg_query *q = first; q != NULL; q = q->group_next) {
        pgp_requeue(pool, q);
    }
}

/* What waits, in order, while there is room. */
void session_pump(struct pg_pool *pool, struct pg_member *m) {
    struct pg_session *session = m->session;
    while (session->waiting.head != NULL && session->state != SESSION_BEGINNING && !m->quiescing && member_serves(m)) {
        struct pg_query *first = session->waiting.head;
        uint32_t n = pgp_group_count(first);
        if (!pgp_known(pool, first)) {
            return;
        }
        bool begun = session->state == SESSION_OPEN;
        if (!begun && n + 1 > pool->config.inflight) {
            if (!give_first(pool, m, first, n)) {
                return;
            }
            continue;
        }
        if (!pg_conn_room(&m->pg, n + !begun)) {
            return;
        }
        unlist(pool, session, first);
        if (!(begun ? member_give(pool, m, first) : give_first(pool, m, first, n))) {
            list_again(pool, first);
            return;
        }
    }
}

static bool ends_it(const struct pg_pool *pool, const struct pg_query *first) {
    for (const struct pg_query *q = first; q != NULL; q = q->group_next) {
        if (q->statement == internal_statement(pool, PG_COMMIT) || q->statement == internal_statement(pool, PG_ROLLBACK)) {
            return true;
        }
    }
    return false;
}

void session_submit(struct pg_pool *pool, struct pg_query *first, uint32_t n) {
    struct pg_session *session = first->session;
    if (session->verdict != PG_PENDING || session->ending) {
        pgp_finish_group(pool, first, session->verdict != PG_PENDING ? (enum pg_status)session->verdict : PG_ROLLED_BACK);
        return;
    }
    bool next = session->conn != CONN_NONE && session->waiting.head == NULL; /* of its own connection: not in line */
    if (!next && pool->figures.waiting + n > pool->config.queue) {
        pgp_finish_group(pool, first, PG_BUSY);
        return;
    }
    session->ending = ends_it(pool, first);
    for (struct pg_query *q = first; q != NULL; q = q->group_next) {
        q->place = PLACE_SESSION;
        pgp_list_append(&session->waiting, q);
    }
    counter_add(&pool->figures.waiting, n);
    (void)pgp_known(pool, first);
    if (session->conn != CONN_NONE) {
        session_pump(pool, &pool->members[session->conn]);
    }
}

/* --------------------------------------------------------------------------------------------------------- answers ---- */

/* The server does not know BEGIN any more, or knows it already. */
static bool is_forgotten(const char *sqlstate) {
    return memcmp(sqlstate, "26000", PG_SQLSTATE_BYTES) == 0 || memcmp(sqlstate, "42P05", PG_SQLSTATE_BYTES) == 0;
}

static void begin_answered(struct pg_pool *pool, struct pg_session *session, struct pg_query *begin) {
    begin->place = PLACE_NONE;
    if (begin->status != PG_ERROR) { /* or what was sent with it has failed: the transaction is there */
        session->state = SESSION_OPEN;
        return;
    }
    if (is_forgotten(begin->sqlstate) && !session->healed) { /* nothing has happened yet */
        session->healed = true;
        session->state = SESSION_HELD;
        counter_add(&pool->figures.healed, 1);
        return;
    }
    session->lost = true;
    session->verdict = PG_ERROR;
}

static void copy_error(struct pg_query *to, const struct pg_query *from) {
    memcpy(to->sqlstate, from->sqlstate, sizeof to->sqlstate);
    memcpy(to->message, from->message, sizeof to->message);
    memcpy(to->constraint, from->constraint, sizeof to->constraint);
}

void session_answer(struct pg_pool *pool, struct pg_member *m, struct pg_query *q) {
    struct pg_session *session = q->session;
    rm_assert(m->session == session);
    if (q == &session->begin_query) {
        begin_answered(pool, session, q);
        return;
    }
    q->place = PLACE_NONE;
    if (session->verdict == PG_ERROR) {
        copy_error(q, &session->begin_query);
        pgp_finish(pool, q, PG_ERROR);
    } else if (session->state == SESSION_HELD) { /* its BEGIN is sent again */
        pgp_requeue(pool, q);
    } else {
        q->place = PLACE_SENT;
        pgp_ungroup(q);
        pgp_finish(pool, q, (enum pg_status)q->status);
    }
}

/* ------------------------------------------------------------------------------------------------------------ ends ---- */

void session_over(struct pg_pool *pool, struct pg_session *session, enum pg_status verdict) {
    session->state = SESSION_OVER;
    session->conn = CONN_NONE;
    session->verdict = (uint8_t)verdict;
    for (struct pg_query *q; (q = session->waiting.head) != NULL;) {
        pgp_list_remove(&session->waiting, q);
        q->place = PLACE_NONE;
        counter_set(&pool->figures.waiting, pool->figures.waiting - 1);
        if (verdict == PG_ERROR) {
            copy_error(q, &session->begin_query);
        }
        pgp_finish(pool, q, verdict);
    }
}

void session_give_up(struct pg_pool *pool, struct pg_session *session, enum pg_status verdict) {
    waiting_remove(pool, session);
    session_over(pool, session, verdict);
}

void session_restart(struct pg_pool *pool, struct pg_session *session) {
    waiting_insert(pool, session);
}

static void release(struct pg_pool *pool, struct pg_member *m) {
    m->session = NULL;
    pool->exclusive--;
    pool->dirty |= member_bit(pool, m);
}

void session_settle(struct pg_pool *pool, struct pg_member *m) {
    struct pg_session *session = m->session;
    bool begun = session->state == SESSION_OPEN, failed = session->verdict == PG_ERROR;
    if ((begun || failed) && pg_conn_idle(&m->pg) && m->pg.status == 'I') {
        session_over(pool, session, failed ? PG_ERROR : PG_ROLLED_BACK);
        release(pool, m);
        return;
    }
    session_pump(pool, m);
}

/* What is in flight was left by its owner, BEGIN is ours to leave. Whether its end was sent, and did not fail, will be seen. */
static void abandon(struct pg_pool *pool, struct pg_session *session, struct pg_member *m) {
    if (session->begin_query.place == PLACE_SENT) {
        pg_conn_leave(&m->pg, &session->begin_query);
    }
    m->session = NULL;
    m->rollback = session->ending ? ROLLBACK_HOPED : ROLLBACK_WANTED;
    m->deadline_ns = pool->now_ns + pool->config.grace_ns;
    pgp_note(pool, m->deadline_ns);
}

static void let_go(struct pg_pool *pool, struct pg_session *session, struct pg_member *m) {
    pool->dirty |= member_bit(pool, m);
    bool clean = member_serves(m) && pg_conn_idle(&m->pg) && m->pg.status == 'I';
    if (session->state == SESSION_HELD || clean) {
        release(pool, m);
    } else {
        abandon(pool, session, m);
    }
}

/* What runs is cancelled at once: its time is over, and it may hold locks. A close alone would not end it. */
void session_expire(struct pg_pool *pool, struct pg_member *m) {
    struct pg_session *session = m->session;
    session->lost = true;
    session->verdict = PG_TIMEOUT;
    let_go(pool, session, m);
    for (uint32_t at = m->pg.head; at != m->pg.tail; at++) {
        struct pg_query *q = m->pg.slots[at & m->pg.slot_mask].query;
        if (q != NULL) {
            pg_conn_leave(&m->pg, q);
            pgp_ungroup(q);
            pgp_finish(pool, q, PG_TIMEOUT);
        }
    }
    session_over(pool, session, PG_TIMEOUT);
    if (!pg_conn_idle(&m->pg) && !m->quiescing) {
        member_cancel(pool, m);
    }
}

void pg_pool_close(struct pg_pool *pool, struct pg_session *session) {
    rm_assert(session->waiting.head == NULL);
    if (session->state == SESSION_WAITING) {
        waiting_remove(pool, session);
    }
    struct pg_member *m = session->conn != CONN_NONE ? &pool->members[session->conn] : NULL;
    if (m != NULL && m->session == session) {
        let_go(pool, session, m);
    }
    session->state = SESSION_OVER;
    session->conn = CONN_NONE;
}
