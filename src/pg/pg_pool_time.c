/* Deadlines. pool->deadline_ns is a lower bound of all of them, so that a query costs a comparison; when it has passed,
 * everything is looked at, and the bound is found anew. */
#include "pg/pg_pool_priv.h"

/* ------------------------------------------------------------------------------------------------------ in flight ---- */

/* Its owner is told; the slot waits for an answer that nobody wants. */
static void slot_expired(struct pg_pool *pool, struct pg_member *m, struct pg_query *q) {
    bool ours = q == &m->rollback_query || (m->session != NULL && q == &m->session->begin_query);
    if (ours) {
        return;
    }
    pg_conn_leave(&m->pg, q);
    pgp_ungroup(q);
    pgp_finish(pool, q, PG_TIMEOUT);
}

/* When the slot has to be looked at again: its deadline, or, behind that, the end of its grace as a head. 0: never. */
static uint64_t slot_at(const struct pg_pool *pool, const struct pg_member *m, uint32_t at) {
    uint64_t late_ns = m->late[at & m->pg.slot_mask];
    if (late_ns == 0 || late_ns > pool->now_ns) {
        return late_ns;
    }
    uint64_t from_ns = at == m->pg.head ? m->pg.head_since_ns : pool->now_ns;
    return (from_ns > late_ns ? from_ns : late_ns) + pool->config.grace_ns;
}

/* Also of a connection that is being closed, which may take its time. */
static void look_at_slots(struct pg_pool *pool, struct pg_member *m) {
    for (uint32_t at = m->pg.head; at != m->pg.tail; at++) {
        uint64_t late_ns = m->late[at & m->pg.slot_mask];
        struct pg_query *q = m->pg.slots[at & m->pg.slot_mask].query;
        if (q != NULL && late_ns != 0 && late_ns <= pool->now_ns) {
            slot_expired(pool, m, q);
        }
        uint64_t at_ns = slot_at(pool, m, at);
        if (at_ns > pool->now_ns) {
            pgp_note(pool, at_ns);
        } else if (at_ns != 0 && !m->quiescing && m->phase == MEMBER_SERVING) {
            member_cancel(pool, m);
        }
    }
}

/* A connection that died while it was idle says nothing of it: the next query would wait for it until its deadline. Since
 * when it is idle its FIFO knows. False: it is dead. */
static bool look_for_life(struct pg_pool *pool, struct pg_member *m) {
    const struct pg_config *config = &pool->config;
    bool idle = pg_conn_idle(&m->pg);
    uint64_t since_ns = m->pg.head_since_ns;
    m->pinged = m->pinged && !idle && m->pg.head == m->ping_slot;
    if (m->pinged && since_ns + config->grace_ns <= pool->now_ns) {
        member_kill(pool, m, "an idle connection gives no sign of life");
        return false;
    }
    if (config->ping_ns == 0 || member_exclusive(m) || m->quiescing) {
        return true;
    }
    if (idle && since_ns + config->ping_ns <= pool->now_ns && pg_conn_ping(&m->pg)) {
        m->pinged = true;
        m->ping_slot = m->pg.tail - 1;
        m->late[m->ping_slot & m->pg.slot_mask] = 0;
        pool->dirty |= member_bit(pool, m);
        since_ns = pool->now_ns;
    }
    uint64_t next_ns = m->pinged ? since_ns + config->grace_ns : (idle ? since_ns : pool->now_ns) + config->ping_ns;
    pgp_note(pool, next_ns > pool->now_ns ? next_ns : pool->now_ns + config->grace_ns); /* the latter: no block was free */
    return true;
}

static void look_at_serving(struct pg_pool *pool, struct pg_member *m) {
    if (!look_for_life(pool, m)) {
        return;
    }
    look_at_slots(pool, m);
    if (m->session != NULL) {
        if (m->session->until_ns <= pool->now_ns) {
            session_expire(pool, m);
        } else {
            pgp_note(pool, m->session->until_ns);
        }
    }
    uint64_t kill_ns = m->quiescing ? m->cancel_ns + pool->config.grace_ns : 0;
    if (kill_ns != 0 && kill_ns <= pool->now_ns) {
        member_kill(pool, m, "the server does not answer, not even a cancel");
        return;
    }
    pgp_note(pool, kill_ns);
    if (m->rollback != ROLLBACK_NONE) {
        if (m->deadline_ns <= pool->now_ns && !m->quiescing) {
            member_cancel(pool, m);
            m->deadline_ns = pool->now_ns + 2 * pool->config.grace_ns;
        }
        pgp_note(pool, m->deadline_ns > pool->now_ns ? m->deadline_ns : 0);
    }
}

static void look_at_member(struct pg_pool *pool, struct pg_member *m) {
    switch (m->phase) {
    case MEMBER_IDLE:
        if (pool->draining) {
            return;
        }
        if (m->next_try_ns <= pool->now_ns) {
            member_connect(pool, m);
        } else {
            pgp_note(pool, m->next_try_ns);
        }
        return;
    case MEMBER_CONNECTING:
    case MEMBER_STARTING:
        if ((m->ask & ASK_CONNECT) != 0) { /* nobody has been told: its time has not begun */
            m->deadline_ns = pool->now_ns + pool->config.settings->connect_timeout_ns;
        }
        if (m->deadline_ns <= pool->now_ns) {
            member_kill(pool, m, "the server does not answer in time");
        } else {
            pgp_note(pool, m->deadline_ns);
        }
        return;
    case MEMBER_SERVING: look_at_serving(pool, m); return;
    default:
        if (!m->dropped) {
            look_at_slots(pool, m);
        }
        return; /* closing */
    }
}

/* -------------------------------------------------------------------------------------------------------- waiting ---- */

/* When who waits since `since_ns` has waited too long, because nothing is up; 0: something is. */
static uint64_t down_at(const struct pg_pool *pool, uint64_t since_ns) {
    if (pool->figures.up > 0) {
        return 0;
    }
    return (since_ns > pool->down_ns ? since_ns : pool->down_ns) + pool->config.down_timeout_ns;
}

static enum pg_status waiting_verdict(const struct pg_pool *pool, const struct pg_query *q) {
    if ((q->again & (AGAIN_LOST | AGAIN_CANCELLED)) != 0) {
        return pool->figures.up > 0 ? PG_TIMEOUT : PG_LOST; /* it was sent */
    }
    return pool->figures.up > 0 ? PG_BUSY : PG_DOWN;
}

static bool has_passed(const struct pg_pool *pool, uint64_t at_ns) {
    return at_ns != 0 && at_ns <= pool->now_ns;
}

static void look_at_list(struct pg_pool *pool, struct pg_list *list) {
    for (struct pg_query *q = list->head, *next; q != NULL; q = next) {
        next = q->next;
        uint64_t down_ns = down_at(pool, q->queued_ns);
        if (!has_passed(pool, q->deadline_ns) && !has_passed(pool, down_ns)) {
            pgp_note(pool, q->deadline_ns);
            pgp_note(pool, down_ns);
            continue;
        }
        pgp_ungroup(q); /* the others have the same times */
        pgp_list_remove(list, q);
        q->place = PLACE_NONE;
        counter_set(&pool->figures.waiting, pool->figures.waiting - 1);
        pgp_finish(pool, q, waiting_verdict(pool, q));
    }
}

static void look_at_sessions(struct pg_pool *pool) {
    for (struct pg_session *s = pool->sessions, *next; s != NULL; s = next) {
        next = s->next;
        uint64_t down_ns = down_at(pool, s->since_ns);
        if (has_passed(pool, s->deadline_ns) || has_passed(pool, down_ns)) {
            session_give_up(pool, s, pool->figures.up > 0 ? PG_BUSY : PG_DOWN);
            continue;
        }
        pgp_note(pool, s->deadline_ns);
        pgp_note(pool, down_ns);
        look_at_list(pool, &s->waiting);
    }
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        if (pool->members[i].session != NULL) {
            look_at_list(pool, &pool->members[i].session->waiting);
            pool->dirty |= UINT64_C(1) << i; /* who is next may be another now */
        }
    }
}

void pg_pool_turn(struct pg_pool *pool, uint64_t now_ns) {
    pool->now_ns = now_ns;
    pool->shared.now_ns = now_ns;
    if (pool->deadline_ns == 0 || now_ns < pool->deadline_ns) {
        return;
    }
    pool->deadline_ns = 0;
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        look_at_member(pool, &pool->members[i]);
    }
    if (pool->replacing) {
        uint64_t until_ns = pool->down_ns + pool->config.down_timeout_ns;
        pgp_note(pool, until_ns > now_ns ? until_ns : 0);
    }
    look_at_list(pool, &pool->queue);
    look_at_sessions(pool);
}
