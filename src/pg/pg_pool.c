/* The pool from outside: what it is made of, what it is asked for, what it tells. */
#include "pg/pg_pool.h"

#include "pg/pg_pool_priv.h"

enum { NS_PER_MS = 1000 * 1000 };

void pg_config_default(struct pg_config *config) {
    const struct pg_settings *settings = config->settings;
    const struct pg_statement *statements = config->statements;
    uint32_t statement_count = config->statement_count;
    uint64_t seed = config->seed;
    *config = (struct pg_config){
        .settings = settings,
        .statements = statements,
        .statement_count = statement_count,
        .seed = seed,
        .connections = 2,
        .inflight = 16,
        .queue = 1024,
        .message_bytes = 1024 * 1024,
        .send_bytes = 64 * 1024,
        .prepare = true,
        .grace_ns = UINT64_C(1000) * NS_PER_MS,
        .down_timeout_ns = UINT64_C(1000) * NS_PER_MS,
        .transaction_ns = UINT64_C(30000) * NS_PER_MS,
        .backoff_min_ns = UINT64_C(50) * NS_PER_MS,
        .backoff_max_ns = UINT64_C(500) * NS_PER_MS,
        .refused_ns = UINT64_C(5000) * NS_PER_MS,
        .ping_ns = UINT64_C(30000) * NS_PER_MS,
        .application_name = "ringmain",
    };
}

/* --------------------------------------------------------------------------------------------------------- memory ---- */

/* Hands out parts of one piece, each at a cache line. With base NULL it only counts. */
struct carve {
    char *base;
    size_t used;
};

static void *carve(struct carve *from, size_t bytes) {
    char *p = from->base != NULL ? from->base + from->used : NULL;
    from->used += (bytes + 63) / 64 * 64;
    return p;
}

static void carve_members(struct pg_pool *pool, const struct pg_config *config, struct carve *memory) {
    uint32_t slots = pg_conn_slots(config->inflight);
    struct pg_member *members = carve(memory, config->connections * sizeof *members);
    for (uint32_t i = 0; i < config->connections; i++) {
        struct pg_slot *slot = carve(memory, slots * sizeof *slot);
        uint64_t *late = carve(memory, slots * sizeof *late);
        char *bytes = carve(memory, config->message_bytes);
        if (pool != NULL) {
            members[i] = (struct pg_member){ .late = late };
            pg_conn_init(&members[i].pg, &pool->shared, slot, bytes);
        }
    }
    if (pool != NULL) {
        pool->members = members;
    }
}

static void carve_statements(struct pg_pool *pool, const struct pg_config *config, struct carve *memory) {
    struct pg_plan *plans = carve(memory, config->statement_count * sizeof *plans);
    uint8_t *describing = carve(memory, config->statement_count);
    uint32_t *at = carve(memory, PG_COLUMNS_MAX * sizeof *at);
    for (uint32_t i = 0; i < config->statement_count; i++) {
        char *bytes = carve(memory, PG_PLAN_BYTES);
        if (pool != NULL) {
            pg_plan_init(&plans[i], config->statements[i].nested, bytes);
        }
    }
    if (pool != NULL) {
        pool->shared.plans = plans;
        pool->shared.at = at;
        pool->describing = describing;
    }
}

size_t pg_pool_bytes(const struct pg_config *config) {
    struct carve memory = { NULL, 0 };
    carve_members(NULL, config, &memory);
    carve_statements(NULL, config, &memory);
    return memory.used;
}

void pg_pool_init(struct pg_pool *pool, const struct pg_config *config, void *memory, uint64_t now_ns) {
    rm_assert(config->connections > 0 && config->connections <= PG_CONNS_MAX);
    rm_assert(config->inflight > 0);
    rm_assert(config->statement_count >= PG_INTERNAL_COUNT && config->statement_count <= PG_STATEMENTS_MAX);
    *pool = (struct pg_pool){ .config = *config, .now_ns = now_ns, .down_ns = now_ns, .random = config->seed };
    pool->shared = (struct pg_shared){
        .settings = config->settings,
        .statements = config->statements,
        .statement_count = config->statement_count,
        .inflight = config->inflight,
        .message_bytes = config->message_bytes,
        .prepare = config->prepare,
        .application_name = config->application_name,
        .now_ns = now_ns,
    };
    struct carve from = { memory, 0 };
    carve_members(pool, config, &from);
    carve_statements(pool, config, &from);
    for (uint32_t i = 0; i < config->connections; i++) {
        member_connect(pool, &pool->members[i]);
    }
}

/* -------------------------------------------------------------------------------------------------------- queries ---- */

void pg_pool_submit(struct pg_pool *pool, struct pg_query *first) {
    uint32_t n = 0;
    for (struct pg_query *q = first; q != NULL; q = q->group_next) {
        q->status = PG_PENDING;
        q->discard = q->skipped = q->heal = false;
        q->rows = q->affected = 0;
        q->sqlstate[0] = q->message[0] = q->constraint[0] = '\0';
        q->generation = ++pool->generation;
        q->place = PLACE_NONE;
        q->tries = q->again = q->run = 0;
        q->deadline_ns = first->deadline_ns;
        q->queued_ns = pool->now_ns;
        n++;
    }
    counter_add(&pool->figures.submitted, n);
    if (n > pool->config.inflight) {
        pgp_finish_error(pool, first, "54000", "the group has more queries than a connection takes at once");
        return;
    }
    pgp_note(pool, first->deadline_ns);
    if (first->session != NULL) {
        session_submit(pool, first, n);
    } else if (pool->queue.head != NULL || !pgp_known(pool, first) || !pgp_give(pool, first, n)) {
        pgp_wait(pool, first, n);
    }
}

void pg_pool_leave(struct pg_pool *pool, struct pg_query *q) {
    struct pg_query *before = q->prev;
    switch (q->place) {
    case PLACE_NONE: return;
    case PLACE_DONE: pgp_list_remove(&pool->done, q); break;
    case PLACE_QUEUE:
    case PLACE_SESSION:
        pgp_ungroup(q);
        pgp_list_remove(q->place == PLACE_QUEUE ? &pool->queue : &q->session->waiting, q);
        counter_set(&pool->figures.waiting, pool->figures.waiting - 1);
        if (q->place == PLACE_SESSION && q->session->conn != CONN_NONE) { /* who is next may be another now */
            pool->dirty |= UINT64_C(1) << q->session->conn;
        }
        break;
    case PLACE_SENT:
        pg_conn_leave(&pool->members[q->conn].pg, q);
        pgp_ungroup(q);
        if (before != NULL && before->place == PLACE_HELD && before->group_next == NULL) {
            pgp_group_answered(pool, before);
        }
        break;
    default: pgp_ungroup(q); break; /* held */
    }
    q->place = PLACE_NONE;
    counter_add(&pool->figures.left, 1);
}

/* -------------------------------------------------------------------------------------------------------- answers ---- */

/* A cancel that was meant for another has hit it. */
static bool is_collateral(const struct pg_member *m, const struct pg_query *q) {
    return q->status == PG_ERROR && m->quiescing && memcmp(q->sqlstate, "57014", PG_SQLSTATE_BYTES) == 0;
}

/* What it can be sent again for: a bit of pg_query.again; 0: nothing. */
static uint8_t again_for(const struct pg_pool *pool, const struct pg_query *q) {
    uint8_t why = 0;
    if (q->skipped) {
        why = AGAIN_SKIPPED;
    } else if (q->heal) {
        why = AGAIN_HEALED;
    } else if (is_collateral(&pool->members[q->conn], q) && pool->config.statements[q->statement].read_only) {
        why = AGAIN_CANCELLED;
    }
    return pgp_told(q) ? 0 : why & (uint8_t)~q->again;
}

static void send_again(struct pg_pool *pool, struct pg_query *q, uint8_t why) {
    q->again |= why;
    counter_add(&pool->figures.retried, (why & AGAIN_CANCELLED) != 0);
    counter_add(&pool->figures.healed, (why & AGAIN_HEALED) != 0);
    counter_add(&pool->figures.skipped, (why & AGAIN_SKIPPED) != 0);
    pgp_requeue(pool, q);
}

/* Of a group: all are sent again, or none. */
void pgp_group_answered(struct pg_pool *pool, struct pg_query *last) {
    uint8_t why = 0;
    bool possible = true;
    struct pg_query *first = last;
    for (struct pg_query *q = last; q != NULL; q = q->prev) {
        why |= again_for(pool, q);
        possible = possible && !pgp_told(q);
        first = q;
    }
    for (struct pg_query *q = first, *next; q != NULL; q = next) {
        next = q->group_next;
        if (why != 0 && possible) {
            send_again(pool, q, why);
        } else {
            pgp_finish(pool, q, q->skipped ? PG_ROLLED_BACK : (enum pg_status)q->status);
        }
    }
}

static void answered(struct pg_pool *pool, struct pg_member *m, struct pg_query *q) {
    m->backoff_ns = 0;
    if (q == &m->rollback_query) {
        q->place = PLACE_NONE;
    } else if (q->session != NULL) {
        session_answer(pool, m, q);
    } else {
        q->place = PLACE_HELD;
        if (q->group_next == NULL) {
            pgp_group_answered(pool, q);
        }
    }
}

/* --------------------------------------------------------------------------------------------------------- telling ---- */

void pg_pool_input(struct pg_pool *pool, uint32_t conn, struct span bytes) {
    pool->input_conn = conn;
    pool->input = bytes;
    pool->reading = true;
}

void pg_pool_job_done(struct pg_pool *pool, uint32_t conn) {
    if (pool->members[conn].phase == MEMBER_STARTING) {
        pg_conn_job_done(&pool->members[conn].pg);
        pg_pool_input(pool, conn, span_of(NULL, 0));
    }
}

/* Reads on. True: it is told. */
static bool read_on(struct pg_pool *pool, struct pg_event *event) {
    struct pg_member *m = &pool->members[pool->input_conn];
    if (m->phase != MEMBER_STARTING && m->phase != MEMBER_SERVING) {
        pool->reading = false;
        return false;
    }
    struct pg_conn_event came;
    pg_conn_next(&m->pg, &pool->input, &came);
    event->conn = pool->input_conn;
    switch (came.type) {
    case PG_CONN_ROW:
        counter_add(&pool->figures.rows, 1);
        event->type = PG_EVENT_ROW;
        event->query = came.query;
        event->row = came.row;
        return true;
    case PG_CONN_QUERY: answered(pool, m, came.query); return false;
    case PG_CONN_NOTICE:
        event->type = PG_EVENT_NOTICE;
        event->text = came.error.message;
        return true;
    case PG_CONN_MORE: pool->reading = false; break;
    case PG_CONN_JOB:
        pool->reading = false;
        member_ask(pool, m, ASK_JOB);
        break;
    case PG_CONN_UP: member_up(pool, m); return false;
    case PG_CONN_DESCRIBED: pgp_described(pool, m, &came); return false;
    case PG_CONN_DOWNED:
        pool->reading = false;
        member_broken(pool, m);
        break;
    }
    pool->dirty |= member_bit(pool, m);
    return false;
}

/* Why a connection went: each reason once, until something comes up. */
static bool tell_down(struct pg_pool *pool, const struct pg_member *m, struct pg_event *event) {
    size_t len = strlen(m->why);
    if (pool->down_told && memcmp(pool->down, m->why, len + 1) == 0) {
        return false;
    }
    memcpy(pool->down, m->why, len + 1);
    pool->down_told = true;
    event->type = PG_EVENT_DOWN;
    event->text = span_of(pool->down, len);
    return true;
}

static bool tell_asked(struct pg_pool *pool, struct pg_event *event) {
    uint32_t conn = (uint32_t)__builtin_ctzll(pool->asked);
    struct pg_member *m = &pool->members[conn];
    uint8_t what = m->ask & (uint8_t)-m->ask;
    m->ask &= (uint8_t)~what;
    if (m->ask == 0) {
        pool->asked &= ~(UINT64_C(1) << conn);
    }
    event->conn = conn;
    switch (what) {
    case ASK_UP:
        pool->down_told = false;
        event->type = PG_EVENT_UP;
        return true;
    case ASK_DOWN: return tell_down(pool, m, event);
    case ASK_CONNECT: event->type = PG_EVENT_CONNECT; return true;
    case ASK_JOB: event->type = PG_EVENT_JOB; return true;
    case ASK_CANCEL:
        event->type = PG_EVENT_CANCEL;
        event->cancel = span_of(pool->cancel, pg_put_cancel(pool->cancel, &m->pg.key));
        return true;
    case ASK_CLOSE: event->type = PG_EVENT_CLOSE; return true;
    default: return false;
    }
}

bool pg_pool_next(struct pg_pool *pool, struct pg_event *event) {
    for (;;) {
        struct pg_query *q = pool->done.head;
        if (q != NULL) {
            pgp_list_remove(&pool->done, q);
            q->place = PLACE_NONE;
            event->type = PG_EVENT_DONE;
            event->query = q;
            return true;
        }
        if (pool->asked != 0) {
            if (tell_asked(pool, event)) {
                return true;
            }
        } else if (!pool->reading) {
            event->type = PG_EVENT_NONE;
            return false;
        } else if (read_on(pool, event)) {
            return true;
        }
    }
}

/* ------------------------------------------------------------------------------------------------------- the turn ---- */

/* Nothing is up and nothing will be soon. */
static void give_up_waiting(struct pg_pool *pool) {
    for (struct pg_query *q; (q = pool->queue.head) != NULL;) {
        pgp_ungroup(q);
        pgp_list_remove(&pool->queue, q);
        q->place = PLACE_NONE;
        counter_set(&pool->figures.waiting, pool->figures.waiting - 1);
        pgp_finish(pool, q, (q->again & AGAIN_LOST) != 0 ? PG_LOST : PG_DOWN);
    }
    while (pool->sessions != NULL) {
        session_give_up(pool, pool->sessions, PG_DOWN);
    }
}

static void count(struct pg_pool *pool) {
    const struct pg_shared *shared = &pool->shared;
    struct pg_figures *figures = &pool->figures;
    counter_set(&figures->parses, shared->parses);
    counter_set(&figures->describes, shared->describes);
    counter_set(&figures->syncs, shared->syncs);
    counter_set(&figures->notices, shared->notices);
    counter_set(&figures->notifications, shared->notifications);
}

void pg_pool_flush(struct pg_pool *pool) {
    uint64_t looked = 0;
    pool->dirty |= pool->starved;
    pool->starved = 0;
    for (uint64_t dirty; (dirty = pool->dirty & ~looked) != 0;) { /* who was given something meanwhile is looked at, too */
        struct pg_member *m = &pool->members[__builtin_ctzll(dirty)];
        looked |= member_bit(pool, m);
        member_settle(pool, m);
    }
    if (pool->waiting_sessions > 0) {
        session_assign(pool);
    }
    if (pool->queue.head != NULL || pool->describes_wanted > 0) {
        pgp_pump(pool);
    }
    for (uint64_t dirty = pool->dirty; dirty != 0; dirty &= dirty - 1) {
        struct pg_member *m = &pool->members[__builtin_ctzll(dirty)];
        if (member_serves(m) && !pg_conn_flush(&m->pg)) {
            pool->starved |= member_bit(pool, m);
        }
        member_count(pool, m);
    }
    pool->dirty = 0;
    if (pool->figures.up == 0 && (pool->queue.head != NULL || pool->sessions != NULL) && pgp_hopeless(pool)) {
        give_up_waiting(pool);
    }
    count(pool);
}
