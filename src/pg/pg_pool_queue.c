/* Queries on their way to a connection: the queue, the choice, describing what is not known yet. */
#include "pg/pg_pool_priv.h"

enum {
    DESCRIBES_PER_MEMBER = 2, /* at once: they use the spare slots */
    STUCK_NS = 50 * 1000 * 1000, /* a head that old: others are preferred */
    DESCRIBE_NS_MAX = 1000 * 1000 * 1000,
};

/* ---------------------------------------------------------------------------------------------------------- lists ---- */

void pgp_list_append(struct pg_list *list, struct pg_query *q) {
    q->next = NULL;
    q->prev = list->tail;
    *(list->tail != NULL ? &list->tail->next : &list->head) = q;
    list->tail = q;
}

/* What comes back is mostly older than everything that waits: looked for from the front. */
void pgp_list_insert(struct pg_list *list, struct pg_query *q) {
    struct pg_query *behind = list->head;
    while (behind != NULL && is_before(behind->generation, q->generation)) {
        behind = behind->next;
    }
    if (behind == NULL) {
        pgp_list_append(list, q);
        return;
    }
    q->next = behind;
    q->prev = behind->prev;
    *(q->prev != NULL ? &q->prev->next : &list->head) = q;
    behind->prev = q;
}

void pgp_list_remove(struct pg_list *list, struct pg_query *q) {
    *(q->prev != NULL ? &q->prev->next : &list->head) = q->next;
    *(q->next != NULL ? &q->next->prev : &list->tail) = q->prev;
    q->next = q->prev = NULL;
}

uint32_t pgp_group_count(const struct pg_query *first) {
    uint32_t n = 0;
    for (; first != NULL; first = first->group_next) {
        n++;
    }
    return n;
}

/* The neighbours in a list are those of the group, too, as generations follow each other. */
void pgp_ungroup(struct pg_query *q) {
    if (q->prev != NULL && q->prev->group_next == q) {
        q->prev->group_next = q->group_next;
    }
    if ((q->place == PLACE_SENT || q->place == PLACE_HELD) && q->group_next != NULL) {
        q->group_next->prev = q->prev;
    }
    q->group_next = NULL;
}

/* ------------------------------------------------------------------------------------------------------- their end ---- */

void pgp_finish(struct pg_pool *pool, struct pg_query *q, enum pg_status status) {
    rm_assert(q->place != PLACE_DONE);
    rm_assert(q->place != PLACE_QUEUE && q->place != PLACE_SESSION);
    q->status = (uint8_t)status;
    q->place = PLACE_DONE;
    counter_add(&pool->figures.done[status], 1);
    pgp_list_append(&pool->done, q);
}

void pgp_finish_group(struct pg_pool *pool, struct pg_query *first, enum pg_status status) {
    for (struct pg_query *q = first, *next; q != NULL; q = next) {
        next = q->group_next;
        pgp_finish(pool, q, status);
    }
}

static void set_error(struct pg_query *q, const char *sqlstate, const char *message) {
    size_t len = strlen(message);
    len = len < PG_MESSAGE_BYTES ? len : PG_MESSAGE_BYTES - 1;
    memcpy(q->sqlstate, sqlstate, PG_SQLSTATE_BYTES);
    memcpy(q->message, message, len);
    q->message[len] = '\0';
}

void pgp_finish_error(struct pg_pool *pool, struct pg_query *first, const char *sqlstate, const char *message) {
    for (struct pg_query *q = first, *next; q != NULL; q = next) {
        next = q->group_next;
        set_error(q, sqlstate, message);
        pgp_finish(pool, q, PG_ERROR);
    }
}

/* ---------------------------------------------------------------------------------------------------------- queue ---- */

void pgp_requeue(struct pg_pool *pool, struct pg_query *q) {
    rm_assert(!pgp_told(q));
    q->run = (uint8_t)(q->run + (q->rows > 0));
    q->rows = 0;
    q->status = PG_PENDING;
    q->sqlstate[0] = q->message[0] = q->constraint[0] = '\0';
    q->affected = 0;
    q->heal = false;
    struct pg_session *session = q->session;
    q->place = session != NULL ? PLACE_SESSION : PLACE_QUEUE;
    pgp_list_insert(session != NULL ? &session->waiting : &pool->queue, q);
    counter_add(&pool->figures.waiting, 1);
    pgp_note(pool, q->deadline_ns);
    if (pool->figures.up == 0) {
        pgp_note(pool, pool->now_ns + pool->config.down_timeout_ns);
    }
}

/* For the first time: bounded. */
void pgp_wait(struct pg_pool *pool, struct pg_query *first, uint32_t n) {
    if (pgp_hopeless(pool)) {
        pgp_finish_group(pool, first, PG_DOWN);
        return;
    }
    if (pool->figures.waiting + n > pool->config.queue) {
        pgp_finish_group(pool, first, PG_BUSY);
        return;
    }
    for (struct pg_query *q = first; q != NULL; q = q->group_next) {
        q->place = PLACE_QUEUE;
        pgp_list_append(&pool->queue, q);
    }
    counter_add(&pool->figures.waiting, n);
    if (pool->figures.up == 0) {
        pgp_note(pool, pool->now_ns + pool->config.down_timeout_ns);
    }
}

/* ------------------------------------------------------------------------------------------------------ the choice ---- */

static bool is_open(const struct pg_member *m) {
    return member_serves(m) && !member_exclusive(m) && !m->quiescing && !m->reserved &&
           !m->pg.tainted;
}

static bool has_room(const struct pg_pool *pool, const struct pg_member *m, uint32_t n) {
    size_t unsent = m->pg.out->bytes;
    return pg_conn_room(&m->pg, n) && (unsent == 0 || unsent <= pool->config.send_bytes);
}

static bool is_stuck(const struct pg_pool *pool, const struct pg_member *m) {
    return !pg_conn_idle(&m->pg) && pool->now_ns > m->pg.head_since_ns + STUCK_NS;
}

/* The least work; of equals the one used last: its process is awake. One with a stuck head when there is no other. */
static bool is_better(const struct pg_pool *pool, const struct pg_member *a, const struct pg_member *b) {
    bool a_stuck = is_stuck(pool, a), b_stuck = is_stuck(pool, b);
    if (a_stuck != b_stuck) {
        return b_stuck;
    }
    return a->pg.queries != b->pg.queries ? a->pg.queries < b->pg.queries : a->used > b->used;
}

static struct pg_member *choose(struct pg_pool *pool, uint32_t n) {
    struct pg_member *best = NULL;
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        struct pg_member *m = &pool->members[i];
        if (is_open(m) && has_room(pool, m, n) && (best == NULL || is_better(pool, m, best))) {
            best = m;
        }
    }
    return best;
}

static uint32_t depth_bucket(uint32_t depth) {
    uint32_t bucket = depth == 0 ? 0 : 32 - (uint32_t)__builtin_clz(depth);
    return bucket < PG_DEPTHS ? bucket : PG_DEPTHS - 1;
}

/* What was appended, from slot `from` on, is due by then. */
static void member_gave(struct pg_pool *pool, struct pg_member *m, uint32_t from, uint64_t deadline_ns) {
    for (; from != m->pg.tail; from++) {
        m->late[from & m->pg.slot_mask] = deadline_ns;
    }
    pgp_note(pool, deadline_ns);
    m->used = ++pool->used;
    pool->dirty |= member_bit(pool, m);
}

bool member_give(struct pg_pool *pool, struct pg_member *m, struct pg_query *first) {
    uint32_t from = m->pg.tail;
    if (!pg_conn_query(&m->pg, first)) {
        pool->starved |= member_bit(pool, m);
        return false;
    }
    struct pg_query *prev = NULL;
    for (struct pg_query *q = first; q != NULL; prev = q, q = q->group_next) {
        q->place = PLACE_SENT;
        q->conn = (uint16_t)member_index(pool, m);
        q->sent_ns = pool->now_ns;
        q->tries++;
        q->prev = prev;
        counter_add(&pool->figures.sent, 1);
    }
    counter_add(&pool->figures.depths[depth_bucket(m->pg.queries)], 1);
    member_gave(pool, m, from, first->deadline_ns);
    return true;
}

bool pgp_give(struct pg_pool *pool, struct pg_query *first, uint32_t n) {
    struct pg_member *m = choose(pool, n);
    return m != NULL && member_give(pool, m, first);
}

/* ------------------------------------------------------------------------------------------------------ describing ---- */

/* Of BEGIN and its like nothing has to be asked, whatever a server says of their results. */
static bool know_internal(struct pg_pool *pool, uint16_t statement) {
    if (statement < pool->config.statement_count - PG_INTERNAL_COUNT) {
        return false;
    }
    bool malformed;
    bool made = pg_plan_make(&pool->shared.plans[statement], span_of(NULL, 0), &malformed);
    rm_assert(made);
    return true;
}

bool pgp_known(struct pg_pool *pool, const struct pg_query *first) {
    bool known = true;
    for (const struct pg_query *q = first; q != NULL; q = q->group_next) {
        if (pool->shared.plans[q->statement].known || know_internal(pool, q->statement)) {
            continue;
        }
        known = false;
        if ((pool->describing[q->statement] & ~DESCRIBE_AGAIN) == DESCRIBE_NO) {
            pool->describing[q->statement] |= DESCRIBE_WANTED;
            pool->describes_wanted++;
        }
    }
    return known;
}

static uint32_t describes_of(const struct pg_pool *pool, uint32_t conn) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->shared.statement_count; i++) {
        n += (pool->describing[i] & ~DESCRIBE_AGAIN) == (int)(DESCRIBE_BY + conn);
    }
    return n;
}

/* The session of an exclusive connection needs it for what it sends next. */
static bool session_waits_for(const struct pg_member *m, uint16_t statement) {
    const struct pg_query *q = m->session != NULL ? m->session->waiting.head : NULL;
    for (; q != NULL; q = q->group_next) {
        if (q->statement == statement) {
            return true;
        }
    }
    return false;
}

/* The connection of a session that waits for the statement: on another one it would stand behind a query that waits for a lock
 * of this very session. Else a shared one. */
static struct pg_member *describer(struct pg_pool *pool, uint16_t statement) {
    struct pg_member *best = NULL;
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        struct pg_member *m = &pool->members[i];
        bool own = member_exclusive(m);
        bool able = !own ? is_open(m) || (m->reserved && member_serves(m))
                         : member_serves(m) && session_waits_for(m, statement);
        if (!able || m->quiescing || !has_room(pool, m, 1) || describes_of(pool, i) >= DESCRIBES_PER_MEMBER) {
            continue;
        }
        if (best == NULL || (own && !member_exclusive(best))) {
            best = m;
        }
    }
    return best;
}

static void describe(struct pg_pool *pool) {
    for (uint32_t i = 0; i < pool->shared.statement_count && pool->describes_wanted > 0; i++) {
        if ((pool->describing[i] & ~DESCRIBE_AGAIN) != DESCRIBE_WANTED) {
            continue;
        }
        struct pg_member *m = describer(pool, (uint16_t)i);
        if (m == NULL) {
            continue;
        }
        uint32_t from = m->pg.tail;
        if (!pg_conn_describe(&m->pg, (uint16_t)i)) {
            return;
        }
        member_gave(pool, m, from, pool->now_ns + DESCRIBE_NS_MAX);
        pool->describing[i] = (uint8_t)((pool->describing[i] & DESCRIBE_AGAIN) | (DESCRIBE_BY + (int)member_index(pool, m)));
        pool->describes_wanted--;
    }
}

/* The first of the group that q, which is in a list, is in. */
static struct pg_query *first_of(struct pg_query *q) {
    while (q->prev != NULL && q->prev->group_next == q) {
        q = q->prev;
    }
    return q;
}

/* Takes a group out of its list. Returns what was behind it. */
static struct pg_query *take_group(struct pg_pool *pool, struct pg_list *list, struct pg_query *first) {
    struct pg_query *next = first;
    for (struct pg_query *q = first; q != NULL; q = q->group_next) {
        next = q->next;
        pgp_list_remove(list, q);
        q->place = PLACE_NONE;
        counter_set(&pool->figures.waiting, pool->figures.waiting - 1);
    }
    return next;
}

/* Those who wait for a statement that can't be described have its error, the rest of their groups with them. */
static void fail_waiting(struct pg_pool *pool, struct pg_list *list, uint16_t statement, const struct pg_error *error) {
    for (struct pg_query *q = list->head, *next; q != NULL; q = next) {
        next = q->next;
        if (q->statement != statement) {
            continue;
        }
        struct pg_query *first = first_of(q);
        next = take_group(pool, list, first);
        for (struct pg_query *one = first, *other; one != NULL; one = other) {
            other = one->group_next;
            if (one->statement != statement) {
                pgp_finish(pool, one, PG_ROLLED_BACK);
                continue;
            }
            char text[PG_MESSAGE_BYTES] = "";
            char sqlstate[PG_SQLSTATE_BYTES] = "XX000";
            size_t len = error->message.len < sizeof text ? error->message.len : sizeof text - 1;
            memcpy(text, len > 0 ? error->message.data : text, len);
            if (error->sqlstate.len == sizeof sqlstate - 1) {
                memcpy(sqlstate, error->sqlstate.data, sizeof sqlstate - 1);
            }
            set_error(one, sqlstate, text);
            pgp_finish(pool, one, PG_ERROR);
        }
    }
}

/* Codes after which preparing anew helps. */
static bool is_healed_by_parse(const struct pg_error *error) {
    return span_equal(error->sqlstate, SPAN("26000")) || span_equal(error->sqlstate, SPAN("42P05")) ||
           (span_equal(error->sqlstate, SPAN("0A000")) && span_equal(error->routine, SPAN("RevalidateCachedQuery")));
}

/* Sessions look again at what they wait with. */
static void stir_sessions(struct pg_pool *pool) {
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        if (pool->members[i].session != NULL) {
            pool->dirty |= UINT64_C(1) << i;
        }
    }
}

void pgp_described(struct pg_pool *pool, struct pg_member *m, const struct pg_conn_event *event) {
    stir_sessions(pool);
    uint8_t *state = &pool->describing[event->statement];
    bool again = (*state & DESCRIBE_AGAIN) != 0;
    *state = DESCRIBE_NO;
    if (!event->failed) {
        return;
    }
    if (is_healed_by_parse(&event->error) && !again) {
        *state = DESCRIBE_AGAIN | DESCRIBE_WANTED;
        pool->describes_wanted++;
        return;
    }
    if (m->session != NULL) { /* what failed may be its transaction: nobody else's */
        fail_waiting(pool, &m->session->waiting, event->statement, &event->error);
        return;
    }
    fail_waiting(pool, &pool->queue, event->statement, &event->error);
    for (uint32_t i = 0; i < pool->config.connections; i++) {
        if (pool->members[i].session != NULL) {
            fail_waiting(pool, &pool->members[i].session->waiting, event->statement, &event->error);
        }
    }
    for (struct pg_session *s = pool->sessions; s != NULL; s = s->next) {
        fail_waiting(pool, &s->waiting, event->statement, &event->error);
    }
}

/* ------------------------------------------------------------------------------------------------------ the turn ---- */

/* In order; those whose statement is not known let others pass, the first that finds no room does not. */
void pgp_pump(struct pg_pool *pool) {
    for (struct pg_query *q = pool->queue.head, *next; q != NULL; q = next) {
        uint32_t n = pgp_group_count(q);
        if (!pgp_known(pool, q)) {
            for (next = q; n > 0; n--) {
                next = next->next;
            }
            continue;
        }
        struct pg_member *m = choose(pool, n);
        if (m == NULL) {
            break;
        }
        next = take_group(pool, &pool->queue, q);
        if (!member_give(pool, m, q)) {
            for (struct pg_query *back = q; back != NULL; back = back->group_next) {
                pgp_requeue(pool, back);
            }
            break;
        }
        counter_add(&pool->figures.wait_ns, n * (pool->now_ns - q->queued_ns));
    }
    if (pool->describes_wanted > 0) {
        describe(pool);
    }
}
