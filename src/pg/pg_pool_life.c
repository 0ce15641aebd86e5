/* Connections from the first attempt to the last byte: connecting with backoff, losses, cancels, replacing, draining. */
#include "pg/pg_pool_priv.h"

enum { NS_PER_S = 1000 * 1000 * 1000 };

void member_ask(struct pg_pool *pool, struct pg_member *m, uint8_t what) {
    m->ask |= what;
    pool->asked |= member_bit(pool, m);
}

/* What was not told yet has no point any more. */
static void ask_close(struct pg_pool *pool, struct pg_member *m) {
    m->cancelling = m->cancelling && (m->ask & ASK_CANCEL) == 0;
    m->ask &= ASK_DOWN;
    member_ask(pool, m, ASK_CLOSE);
}

static uint64_t random_below(struct pg_pool *pool, uint64_t n) { /* splitmix64 */
    uint64_t x = pool->random += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return n == 0 ? 0 : x % n;
}

bool pgp_hopeless(const struct pg_pool *pool) {
    if (pool->figures.up > 0) {
        return false;
    }
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        const struct pg_member *m = &pool->members[i];
        bool ending = m->phase == MEMBER_IDLE || m->phase == MEMBER_CLOSING;
        if (!ending || !(m->failed || pool->draining)) {
            return false;
        }
    }
    return true;
}

/* --------------------------------------------------------------------------------------------------- trying again ---- */

static bool has_class(const char *sqlstate, const char *class) {
    return strncmp(sqlstate, class, strlen(class)) == 0;
}

/* A wrong password, no such database, no right to connect, or nothing that we want to connect to: somebody has to do
 * something first. */
static bool is_refused(const struct pg_conn *conn) {
    const char *sqlstate = conn->sqlstate;
    return conn->refused || has_class(sqlstate, "28") || has_class(sqlstate, "3D000") || has_class(sqlstate, "42501");
}

static uint64_t backoff(struct pg_pool *pool, struct pg_member *m) {
    const struct pg_config *config = &pool->config;
    uint64_t most = m->backoff_ns == 0 ? config->backoff_min_ns : 2 * m->backoff_ns;
    m->backoff_ns = most < config->backoff_max_ns ? most : config->backoff_max_ns;
    uint64_t top = 2 * m->backoff_ns < config->backoff_max_ns ? 2 * m->backoff_ns : config->backoff_max_ns;
    uint64_t least = config->backoff_min_ns < top ? config->backoff_min_ns : top;
    return least + random_below(pool, top - least);
}

/* When to try again. One that served well until now does so at once, but not all of them in the same moment. */
static void plan_retry(struct pg_pool *pool, struct pg_member *m, bool served) {
    uint64_t wait;
    if (is_refused(&m->pg)) {
        wait = pool->config.refused_ns + random_below(pool, pool->config.refused_ns / 8);
    } else if (has_class(m->pg.sqlstate, "53") && !served) {
        wait = NS_PER_S + random_below(pool, NS_PER_S / 8);
    } else if (served && m->backoff_ns == 0) {
        m->backoff_ns = pool->config.backoff_min_ns;
        wait = random_below(pool, pool->config.backoff_min_ns);
    } else {
        wait = backoff(pool, m);
    }
    m->next_try_ns = pool->now_ns + wait;
}

static void set_why(struct pg_member *m, const char *why) {
    size_t len = strlen(why);
    len = len < PG_CONN_WHY_BYTES ? len : PG_CONN_WHY_BYTES - 1;
    memmove(m->why, why, len);
    m->why[len] = '\0';
}

void member_connect(struct pg_pool *pool, struct pg_member *m) {
    m->phase = MEMBER_CONNECTING;
    m->deadline_ns = pool->now_ns + pool->config.settings->connect_timeout_ns;
    pgp_note(pool, m->deadline_ns);
    member_ask(pool, m, ASK_CONNECT);
}

static void attempt_failed(struct pg_pool *pool, struct pg_member *m, const char *why) {
    m->failed = true;
    pool->replacing = false;
    counter_add(&pool->figures.connect_failures, 1);
    set_why(m, why);
    plan_retry(pool, m, false);
    member_ask(pool, m, ASK_DOWN);
    pool->dirty |= member_bit(pool, m);
}

/* -------------------------------------------------------------------------------------------------- up, and down ---- */

void pg_pool_connected(struct pg_pool *pool, uint32_t conn, struct chain *out,
                       const uint8_t random[static PG_NONCE_RANDOM_BYTES]) {
    struct pg_member *m = &pool->members[conn];
    if (m->phase != MEMBER_CONNECTING) {
        return; /* given up meanwhile: CLOSE was told */
    }
    m->phase = MEMBER_STARTING;
    m->dropped = false;
    if (!pg_conn_start(&m->pg, out, random)) {
        member_kill(pool, m, "no memory for the startup");
    }
}

void member_up(struct pg_pool *pool, struct pg_member *m) {
    m->phase = MEMBER_SERVING;
    m->failed = false;
    m->pinged = false;
    pool->replacing = false;
    m->pg.head_since_ns = pool->now_ns;
    pgp_note(pool, pool->config.ping_ns != 0 ? pool->now_ns + pool->config.ping_ns : 0);
    m->counted = 0;
    counter_add(&pool->figures.up, 1);
    counter_add(&pool->figures.connects, 1);
    pool->dirty |= member_bit(pool, m);
    member_ask(pool, m, ASK_UP);
    if (pool->draining) {
        m->retire = true;
    }
}

static void no_longer_up(struct pg_pool *pool, struct pg_member *m) {
    counter_set(&pool->figures.up, pool->figures.up - 1);
    counter_set(&pool->figures.in_flight, pool->figures.in_flight - m->counted);
    m->counted = 0;
    if (pool->figures.up > 0) {
        return;
    }
    pool->down_ns = pool->now_ns;
    if (pool->queue.head != NULL || pool->sessions != NULL) {
        pgp_note(pool, pool->now_ns + pool->config.down_timeout_ns);
    }
}

/* What was in flight stays where it is until it is known what never left. */
void member_broken(struct pg_pool *pool, struct pg_member *m) {
    if (m->phase == MEMBER_SERVING) {
        no_longer_up(pool, m);
        counter_add(&pool->figures.lost, 1);
        set_why(m, m->pg.why);
        plan_retry(pool, m, true);
        member_ask(pool, m, ASK_DOWN);
    } else {
        attempt_failed(pool, m, m->pg.why);
    }
    m->phase = MEMBER_CLOSING;
    ask_close(pool, m);
    pool->dirty |= member_bit(pool, m);
}

void member_kill(struct pg_pool *pool, struct pg_member *m, const char *why) {
    counter_add(&pool->figures.kills, 1);
    if (m->phase == MEMBER_CONNECTING) {
        m->pg.sqlstate[0] = '\0';
        m->dropped = true;
        attempt_failed(pool, m, why);
        m->phase = MEMBER_CLOSING;
        ask_close(pool, m);
        return;
    }
    pg_conn_lost(&m->pg, why);
    member_broken(pool, m);
}

/* ---------------------------------------------------------------------------------------------------------- losses ---- */

static void describes_lost(struct pg_pool *pool, uint32_t conn) {
    for (uint32_t i = 0; i < pool->shared.statement_count; i++) {
        if ((pool->describing[i] & ~DESCRIBE_AGAIN) == (int)(DESCRIBE_BY + conn)) {
            pool->describing[i] = (uint8_t)((pool->describing[i] & DESCRIBE_AGAIN) | DESCRIBE_WANTED);
            pool->describes_wanted++;
        }
    }
}

static bool was_told(const struct pg_query *first) {
    for (const struct pg_query *q = first; q != NULL; q = q->group_next) {
        if (pgp_told(q)) {
            return true;
        }
    }
    return false;
}

static bool may_run_twice(const struct pg_pool *pool, const struct pg_query *first) {
    for (const struct pg_query *q = first; q != NULL; q = q->group_next) {
        if (!pool->config.statements[q->statement].read_only || (q->again & AGAIN_LOST) != 0) {
            return false;
        }
    }
    return true;
}

/* A whole group, whose last one has left or not: without its Sync, which is behind the last one, nothing of it counts. */
static void group_lost(struct pg_pool *pool, struct pg_query *first, bool sent) {
    bool told = was_told(first);
    if (told || (sent && !may_run_twice(pool, first))) {
        pgp_finish_group(pool, first, sent ? PG_LOST : PG_ROLLED_BACK);
        return;
    }
    for (struct pg_query *q = first; q != NULL; q = q->group_next) {
        q->again |= sent ? AGAIN_LOST : 0;
        q->tries = (uint8_t)(q->tries - !sent);
        counter_add(&pool->figures.retried, sent);
        pgp_requeue(pool, q);
    }
}

static void query_lost(struct pg_pool *pool, struct pg_query *q, bool sent) {
    q->place = PLACE_HELD;
    if (q->group_next != NULL) {
        return;
    }
    struct pg_query *first = q;
    while (first->prev != NULL) {
        first = first->prev;
    }
    group_lost(pool, first, sent);
}

/* Nothing of a session can be sent again, but for one whose BEGIN never left. */
static bool session_query_lost(struct pg_pool *pool, struct pg_session *session, struct pg_query *q, bool sent,
                               bool restart) {
    q->place = PLACE_NONE;
    if (q == &session->begin_query) {
        return !sent;
    }
    if (restart) {
        q->tries--;
        pgp_requeue(pool, q);
    } else {
        pgp_finish(pool, q, session->verdict != PG_PENDING ? (enum pg_status)session->verdict : PG_LOST);
    }
    return restart;
}

/* Empties the FIFO of a connection that is BROKEN. */
static void member_drop(struct pg_pool *pool, struct pg_member *m, size_t unsent) {
    struct pg_session *session = m->session;
    bool restart = session != NULL && session->state == SESSION_HELD, sent = true;
    for (struct pg_query *q; (q = pg_conn_drop(&m->pg, unsent, &sent)) != NULL;) {
        if (q == &m->rollback_query) {
            q->place = PLACE_NONE;
        } else if (q->session != NULL) {
            restart = session_query_lost(pool, session, q, sent, restart);
        } else {
            query_lost(pool, q, sent);
        }
    }
    m->dropped = true;
    describes_lost(pool, member_index(pool, m));
    if (member_exclusive(m)) {
        pool->exclusive--;
        m->rollback = ROLLBACK_NONE;
        m->session = NULL;
        if (restart) {
            session_restart(pool, session);
        } else if (session != NULL) {
            session->lost = true;
            session_over(pool, session, session->verdict != PG_PENDING ? (enum pg_status)session->verdict : PG_LOST);
        }
    }
}

void pg_pool_lost(struct pg_pool *pool, uint32_t conn, size_t unsent, const char *why) {
    struct pg_member *m = &pool->members[conn];
    if (m->phase == MEMBER_CONNECTING) {
        m->pg.sqlstate[0] = '\0';
        m->dropped = true;
        attempt_failed(pool, m, why);
        m->phase = MEMBER_CLOSING;
        ask_close(pool, m);
    } else if (m->phase == MEMBER_STARTING || m->phase == MEMBER_SERVING) {
        pg_conn_lost(&m->pg, why);
        member_broken(pool, m);
        member_drop(pool, m, unsent);
    } else if (m->phase == MEMBER_CLOSING && !m->dropped) {
        member_drop(pool, m, unsent);
    }
}

void pg_pool_closed(struct pg_pool *pool, uint32_t conn, const char *why) {
    struct pg_member *m = &pool->members[conn];
    if (m->phase == MEMBER_CONNECTING) {
        m->pg.sqlstate[0] = '\0';
        m->dropped = true;
        attempt_failed(pool, m, why != NULL ? why : "the connection can't be made");
    } else if (m->phase == MEMBER_STARTING || m->phase == MEMBER_SERVING) {
        pg_pool_lost(pool, conn, 0, why != NULL ? why : "the connection was closed");
    } else if (m->phase == MEMBER_CLOSING && !m->dropped) {
        member_drop(pool, m, 0);
    }
    pg_conn_reset(&m->pg);
    m->phase = MEMBER_IDLE;
    m->ask &= ASK_DOWN;
    m->quiescing = m->retire = m->reserved = false;
    pool->dirty |= member_bit(pool, m);
    if (!pool->draining) {
        pgp_note(pool, m->next_try_ns);
    }
}

/* -------------------------------------------------------------------------------------------------------- cancels ---- */

void member_cancel(struct pg_pool *pool, struct pg_member *m) {
    m->quiescing = true;
    m->cancel_ns = pool->now_ns;
    m->cancel_slot = m->pg.head;
    pgp_note(pool, m->cancel_ns + pool->config.grace_ns);
    if (m->pg.key.key_bytes > 0 && !m->cancelling) {
        m->cancelling = true;
        counter_add(&pool->figures.cancels, 1);
        member_ask(pool, m, ASK_CANCEL);
    }
}

void pg_pool_cancelled(struct pg_pool *pool, uint32_t conn) {
    pool->members[conn].cancelling = false;
    pool->dirty |= member_bit(pool, &pool->members[conn]);
}

/* -------------------------------------------------------------------------------------------- the end of the turn ---- */

/* Nothing is in flight: Terminate. That of one that has served says nothing of the server. */
static void member_close(struct pg_pool *pool, struct pg_member *m) {
    no_longer_up(pool, m);
    if (pool->figures.up == 0 && m->backoff_ns == 0 && !pool->draining) {
        pool->replacing = true;
        pgp_note(pool, pool->down_ns + pool->config.down_timeout_ns);
    }
    pg_conn_terminate(&m->pg);
    m->dropped = true;
    m->phase = MEMBER_CLOSING;
    m->next_try_ns = pool->now_ns;
    if (m->backoff_ns != 0) { /* it has answered nothing since the last time */
        m->next_try_ns += backoff(pool, m);
    } else {
        m->backoff_ns = pool->config.backoff_min_ns;
    }
    ask_close(pool, m);
}

static struct pg_query *prepare_rollback(struct pg_pool *pool, struct pg_member *m) {
    struct pg_query *q = &m->rollback_query;
    *q = (struct pg_query){
        .params = span_of("\0\0\0", 4), /* no formats, no values */
        .statement = (uint16_t)(pool->config.statement_count - PG_INTERNAL_COUNT + PG_ROLLBACK),
        .generation = ++pool->generation,
    };
    (void)pgp_known(pool, q);
    return q;
}

/* The session has gone: its transaction goes, too, before anybody else gets the connection. */
static void settle_rollback(struct pg_pool *pool, struct pg_member *m) {
    if (m->rollback == ROLLBACK_HOPED && pg_conn_idle(&m->pg) && m->pg.status != 'I') {
        m->rollback = ROLLBACK_WANTED;
    }
    if (m->rollback == ROLLBACK_WANTED) {
        if (pg_conn_room(&m->pg, 1) && member_give(pool, m, prepare_rollback(pool, m))) {
            m->rollback = ROLLBACK_AWAITED;
        }
    } else if (pg_conn_idle(&m->pg)) {
        if (m->pg.status != 'I') {
            member_kill(pool, m, "a transaction can't be rolled back");
            return;
        }
        m->rollback = ROLLBACK_NONE;
        pool->exclusive--;
    }
}

void member_settle(struct pg_pool *pool, struct pg_member *m) {
    if (!member_serves(m)) {
        return;
    }
    if (m->quiescing && !m->cancelling && is_before(m->cancel_slot, m->pg.head)) {
        m->quiescing = false;
    }
    if (m->session != NULL) {
        session_settle(pool, m);
    }
    if (m->rollback != ROLLBACK_NONE) {
        settle_rollback(pool, m);
    }
    if (m->phase == MEMBER_SERVING && !member_exclusive(m) && pg_conn_idle(&m->pg) && !m->cancelling) {
        bool drained = m->retire && pool->queue.head == NULL && pool->sessions == NULL;
        if (m->pg.tainted || m->pg.status != 'I') {
            counter_add(&pool->figures.quarantined, 1);
            member_close(pool, m);
        } else if (drained) {
            member_close(pool, m);
        }
    }
}

void member_count(struct pg_pool *pool, struct pg_member *m) {
    if (m->phase == MEMBER_SERVING) {
        counter_add(&pool->figures.in_flight, (uint64_t)m->pg.queries - m->counted);
        m->counted = m->pg.queries;
    }
}

void pg_pool_drain(struct pg_pool *pool) {
    pool->draining = true;
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        struct pg_member *m = &pool->members[i];
        m->retire = true;
        pool->dirty |= UINT64_C(1) << i;
        if (m->phase == MEMBER_CONNECTING || m->phase == MEMBER_STARTING) {
            member_kill(pool, m, "the server is stopping");
        }
    }
}
