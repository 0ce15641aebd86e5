/* Random schedules against what must be true of all of them: each query that is not left ends once, with rows of its own; what
 * ended well was done once, what is said to be undone was not done; groups and transactions are done as a whole or not at
 * all; deadlines are kept; nothing is left behind.
 *
 * usage: test_pg_pool_model [--seeds N] [--from SEED] */
#include <stdio.h>
#include <stdlib.h>

#include "pg_pool_rig.h"
#include "rows.h"

enum { STEPS = 250, STATEMENT_KINDS = 12, SLACK_MS = 6, SETTLE_MS = 4000 };

/* A unit that happens as a whole or not at all: a group, or a session with its queries. */
struct unit {
    bool session, open, ended, ends_known;
    struct rig_query *end; /* commit or rollback */
    bool commits;
    uint32_t count;
    struct rig_query *members[64];
};

static struct rig rig;
static struct unit units[RIG_SESSIONS_MAX + 512];
static uint32_t session_count, unit_count;
static bool acting; /* between two events, too */
static struct { uint8_t statement; uint8_t status; bool single, in_session; uint64_t deadline_ns; } known[RIG_QUERIES_MAX];

static uint32_t chance(uint32_t n) {
    return random_below(&rig.random, n);
}

static enum rig_statement any_statement(void) {
    static const uint8_t weights[STATEMENT_KINDS] = { 30, 20, 15, 3, 5, 2, 1, 2, 6, 3, 1, 1 };
    uint32_t at = chance(89), i = 0;
    for (; i < STATEMENT_KINDS - 1 && at >= weights[i]; i++) {
        at -= weights[i];
    }
    return (enum rig_statement)i;
}

static struct rig_query *any_query(struct pg_session *session) {
    enum rig_statement statement = any_statement();
    struct rig_query *query = rig_query(&rig, statement, (1 + chance(300)) * RIG_MS);
    query->q.session = session;
    query->q.revocable = chance(2) == 0;
    known[query->key].statement = (uint8_t)statement;
    known[query->key].deadline_ns = query->q.deadline_ns;
    known[query->key].in_session = session != NULL;
    return query;
}

static bool full(void) {
    return rig.query_count + 16 > RIG_QUERIES_MAX;
}

static void do_single(void) {
    struct rig_query *query = any_query(NULL);
    known[query->key].single = true;
    rig_send(&rig, query);
}

static void do_group(void) {
    struct unit *unit = &units[RIG_SESSIONS_MAX + unit_count++ % 512];
    *unit = (struct unit){ .count = 2 + chance(4) };
    for (uint32_t i = 0; i < unit->count; i++) {
        unit->members[i] = any_query(NULL);
        if (i > 0) {
            unit->members[i - 1]->q.group_next = &unit->members[i]->q;
            known[unit->members[i]->key].deadline_ns = known[unit->members[0]->key].deadline_ns;
        }
    }
    rig_send(&rig, unit->members[0]);
}

static void do_open(void) {
    if (session_count < RIG_SESSIONS_MAX) {
        struct unit *unit = &units[session_count];
        *unit = (struct unit){ .session = true, .open = true };
        pg_pool_open(&rig.pool, &rig.sessions[session_count++], (enum pg_internal)chance(4),
                     rig.now_ns + (1 + chance(200)) * RIG_MS);
    }
}

static void leave(struct rig_query *query) {
    known[query->key].status = UINT8_MAX;
    rig_leave(&rig, query);
}

static void do_close(uint32_t i) {
    struct unit *unit = &units[i];
    if (!unit->open) {
        return;
    }
    for (uint32_t k = 0; k < unit->count; k++) {
        if (unit->members[k]->pending) {
            leave(unit->members[k]);
        }
    }
    pg_pool_close(&rig.pool, &rig.sessions[i]);
    memset(&rig.sessions[i], 0xa5, sizeof rig.sessions[i]);
    unit->open = false;
}

static void do_session(void) {
    if (session_count == 0) {
        return;
    }
    uint32_t i = chance(session_count);
    struct unit *unit = &units[i];
    if (!unit->open) {
        return;
    }
    uint32_t what = chance(8);
    if (what == 0) {
        do_close(i);
    } else if (what < 3 && unit->end == NULL && unit->count < 60) {
        unit->commits = chance(3) > 0;
        unit->end = rig_end(&rig, &rig.sessions[i], unit->commits ? PG_COMMIT : PG_ROLLBACK, (1 + chance(300)) * RIG_MS);
        known[unit->end->key].statement = RIG_INTERNALS_AT;
        known[unit->end->key].deadline_ns = rig.queries[unit->end->key].q.deadline_ns;
        known[unit->end->key].in_session = true;
        unit->members[unit->count++] = unit->end;
    } else if (unit->count < 60) {
        struct rig_query *query = any_query(&rig.sessions[i]);
        unit->members[unit->count++] = query;
        if (unit->count < 60 && chance(5) == 0) {
            struct rig_query *second = any_query(&rig.sessions[i]);
            known[second->key].deadline_ns = query->q.deadline_ns;
            query->q.group_next = &second->q;
            unit->members[unit->count++] = second;
        }
        rig_send(&rig, query);
    }
}

static void do_leave(void) {
    if (rig.query_count > 0) {
        struct rig_query *query = &rig.queries[rig.query_count - 1 - chance(rig.query_count < 20 ? rig.query_count : 20)];
        if (query->pending) {
            leave(query);
        }
    }
}

static void do_harm(void) {
    uint32_t conn = chance(rig.config.connections);
    struct pg_backend *backend = rig_backend(&rig, conn);
    if (backend == NULL) {
        return;
    }
    switch (chance(13)) {
    case 0: pg_backend_terminate(backend, "57P01"); break;
    case 1: pg_backend_die(backend); break;
    case 2: rig.conns[conn].rude = true; break;
    case 3: pg_backend_stall(backend, true); break;
    case 4: pg_backend_discard(backend); break;
    case 5: rig.table[chance(RIG_INTERNALS_AT)].version += 1 + chance(3); break;
    case 6: rig.unreachable = !rig.unreachable; break;
    case 7: rig.server.refuse_sqlstate = rig.server.refuse_sqlstate != NULL ? NULL : "57P03"; break;
    case 8: rig.deaf_cancels = !rig.deaf_cancels; break;
    case 9: rig.hold_connects = !rig.hold_connects; break;
    case 10:
        if (rig.taken_count == 0) {
            rig_starve(&rig, chance(3));
        } else {
            rig_feed(&rig);
        }
        break;
    case 11: rig.silent_losses = !rig.silent_losses; break;
    default: rig.server.no_run_on = !rig.server.no_run_on; break;
    }
}

static void act(uint32_t harm) {
    if (full()) {
        return;
    }
    uint32_t what = chance(40);
    if (what < 18) {
        do_single();
    } else if (what < 21) {
        do_group();
    } else if (what < 23) {
        do_open();
    } else if (what < 31) {
        do_session();
    } else if (what < 33) {
        do_leave();
    } else if (what == 33 && chance(harm) == 0) {
        do_harm();
    }
}

/* The owner may do anything between two events, also with the query whose row is told. */
static void on_row(struct rig *r, struct rig_query *query) {
    (void)r;
    uint32_t what = chance(30);
    if (what == 0 && !known[query->key].in_session) {
        leave(query);
    } else if (what == 1) {
        pg_query_discard(&query->q);
    } else if (what < 4) {
        act(UINT32_MAX);
    }
}

static void on_done(struct rig *r, struct rig_query *query) {
    (void)r;
    known[query->key].status = query->q.status;
    if (acting && chance(10) == 0) {
        act(UINT32_MAX);
    }
}

/* ---------------------------------------------------------------------------------------------------------- judging ---- */

/* Where a statement is prepared for the query itself, it is known too late that its columns come in other formats: it has run. */
static bool has_run(const struct rig_query *query) {
    return strncmp(query->q.message, "it has run", 10) == 0;
}

static bool is_undone(uint8_t status) {
    return status == PG_ERROR || status == PG_ROLLED_BACK || status == PG_BUSY || status == PG_DOWN;
}

static bool is_done(uint8_t status) {
    return status == PG_OK || status == PG_TOO_LARGE;
}

static bool is_write(const struct rig_query *query) {
    uint8_t statement = known[query->key].statement;
    return statement == RIG_WRITE || statement == RIG_SLOW_WRITE || statement == RIG_DEFERRED;
}

static void judge_query(const struct rig_query *query) {
    uint8_t status = known[query->key].status, statement = known[query->key].statement;
    if (query->committed > 1 || (is_write(query) && known[query->key].single && query->executed > 1)) {
        rig_fault(&rig, "write %d was executed %u times, committed %u times (%s)", query->key, query->executed, query->committed,
                  pg_status_name(status));
    }
    if (query->executed > 5) {
        rig_fault(&rig, "query %d was executed %u times", query->key, query->executed);
    }
    if (known[query->key].in_session || status == UINT8_MAX) {
        return;
    }
    if (is_done(status) && is_write(query) && query->committed != 1) {
        rig_fault(&rig, "write %d ended well and was not committed", query->key);
    }
    if (is_undone(status) && query->committed != 0 && !has_run(query)) {
        rig_fault(&rig, "write %d was committed and ended with %s %s", query->key, pg_status_name(status), query->q.message);
    }
    if (is_done(status) && (query->executed == 0 || statement == RIG_ERROR || statement == RIG_SHARED_BAD ||
                            statement == RIG_UNPARSED || statement == RIG_DEFERRED)) {
        rig_fault(&rig, "query %d (%u) ended well and can't have", query->key, statement);
    }
    if (status == PG_OK && query->told != (statement == RIG_MANY ? 3u : statement < RIG_DEFERRED ? 1u : 0u)) {
        rig_fault(&rig, "query %d (%u) ended well with %u rows", query->key, statement, query->told);
    }
}

static void judge_group(const struct unit *unit) {
    uint32_t done = 0, undone = 0;
    for (uint32_t i = 0; i < unit->count; i++) {
        uint8_t status = known[unit->members[i]->key].status;
        done += is_done(status);
        undone += is_undone(status) && !has_run(unit->members[i]);
    }
    if (done > 0 && undone > 0) {
        rig_fault(&rig, "a group of %u, first %d, is half done", unit->count, unit->members[0]->key);
    }
}

/* Writes of a session that ended well count when its commit did, and not when there was none. */
static void judge_session(const struct unit *unit) {
    uint8_t end = unit->end != NULL ? known[unit->end->key].status : PG_ROLLED_BACK;
    bool committed = unit->commits && end == PG_OK;
    bool unknown = unit->end != NULL && unit->commits && (end == PG_LOST || end == PG_TIMEOUT || end == UINT8_MAX);
    uint32_t done = 0, writes = 0;
    for (uint32_t i = 0; i < unit->count; i++) {
        const struct rig_query *query = unit->members[i];
        if (is_write(query) && is_done(known[query->key].status)) {
            writes++;
            done += query->committed;
        } else if (query->committed > 0 && !committed && !unknown) {
            rig_fault(&rig, "write %d of session %d without a commit was committed: it %u, end %u", query->key,
                      (int)(unit - units), known[query->key].status, end);
        }
    }
    if ((committed && done != writes) || (!committed && !unknown && done != 0) || (unknown && done != 0 && done != writes)) {
        rig_fault(&rig, "a session has %u of %u writes, its end %s", done, writes, pg_status_name(end));
    }
}

static void judge(void) {
    for (uint32_t i = 0; i < rig.query_count; i++) {
        judge_query(&rig.queries[i]);
    }
    for (uint32_t i = 0; i < session_count; i++) {
        judge_session(&units[i]);
    }
    for (uint32_t i = 0; i < unit_count && i < 512; i++) {
        judge_group(&units[RIG_SESSIONS_MAX + i]);
    }
}

static bool all_known(const struct pg_query *first) {
    for (; first != NULL; first = first->group_next) {
        if (!rig.pool.shared.plans[first->statement].known || rig.pool.describing[first->statement] != 0) {
            return false;
        }
    }
    return true;
}

/* Nobody waits when a connection has nothing to do. */
static void check_work(void) {
    const struct pg_query *first = rig.pool.queue.head;
    for (uint32_t i = 0; i < rig.config.connections && rig.taken_count == 0; i++) {
        const struct pg_member *m = &rig.pool.members[i];
        if (m->pg.state != PG_CONN_READY || !pg_conn_idle(&m->pg) || m->quiescing || rig.conns[i].closing) {
            continue;
        }
        bool shared = m->session == NULL && m->rollback == 0 && !m->pg.tainted && rig.pool.sessions == NULL;
        if (shared && first != NULL && all_known(first)) {
            rig_fault(&rig, "connection %u is idle, and query %d waits", i, ((const struct rig_query *)first)->key);
        }
        const struct pg_query *next = m->session != NULL ? m->session->waiting.head : NULL;
        if (next != NULL && all_known(next)) {
            rig_fault(&rig, "connection %u is idle, and query %d of its session waits", i, ((const struct rig_query *)next)->key);
        }
        if (m->rollback != 0) {
            rig_fault(&rig, "connection %u is idle, and its rollback %u waits", i, m->rollback);
        }
    }
}

/* Between turns. */
static void check_now(void) {
    uint32_t waiting = 0;
    check_work();
    for (const struct pg_query *q = rig.pool.queue.head; q != NULL; q = q->next) {
        waiting++;
        if (q->next != NULL && (int32_t)(q->next->generation - q->generation) <= 0) {
            rig_fault(&rig, "the queue is out of order");
        }
    }
    for (uint32_t i = 0; i < session_count; i++) {
        for (const struct pg_query *q = units[i].open ? rig.sessions[i].waiting.head : NULL; q != NULL; q = q->next) {
            waiting++;
        }
    }
    if (waiting != rig.pool.figures.waiting) {
        rig_fault(&rig, "%u wait, the figures have %d", waiting, (int)rig.pool.figures.waiting);
    }
    uint32_t exclusive = 0;
    for (uint32_t i = 0; i < rig.config.connections; i++) {
        exclusive += rig.pool.members[i].session != NULL || rig.pool.members[i].rollback != 0;
    }
    if (exclusive != rig.pool.exclusive || exclusive > (rig.config.connections > 1 ? rig.config.connections - 1 : 1)) {
        rig_fault(&rig, "%u members are exclusive, %u counted", exclusive, rig.pool.exclusive);
    }
    for (uint32_t i = 0; i < rig.query_count; i++) {
        if (rig.queries[i].pending && rig.now_ns > known[i].deadline_ns + SLACK_MS * RIG_MS) {
            rig_fault(&rig, "query %u is pending %d ms behind its deadline, place %u, the bound is at %d ms", i,
                      (int)((rig.now_ns - known[i].deadline_ns) / RIG_MS), rig.queries[i].q.place,
                      (int)((int64_t)(rig.pool.deadline_ns - rig.now_ns) / (int64_t)RIG_MS));
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------- runs ---- */

static uint32_t sometimes(uint32_t one_in) {
    return chance(3) == 0 ? one_in : 0;
}

static void configure(uint64_t seed) {
    rig_init(&rig, 1, 1, seed);
    rig.config.connections = 1 + chance(4);
    rig.config.inflight = 1 + chance(8);
    rig.config.queue = 4 + chance(60);
    rig.config.grace_ns = (5 + chance(60)) * RIG_MS;
    rig.config.down_timeout_ns = (20 + chance(200)) * RIG_MS;
    rig.config.transaction_ns = (50 + chance(300)) * RIG_MS;
    rig.config.backoff_min_ns = 2 * RIG_MS;
    rig.config.backoff_max_ns = 30 * RIG_MS;
    rig.config.refused_ns = 100 * RIG_MS;
    rig.config.send_bytes = chance(2) == 0 ? 100 : 65536;
    rig.config.prepare = chance(4) > 0;
    rig.settings.connect_timeout_ns = 100 * RIG_MS;
    rig.config.ping_ns = chance(2) == 0 ? (1 + chance(50)) * RIG_MS : 0;
    if (chance(4) == 0) {
        strcpy(rig.settings.password, "secret");
        rig.settings.has_password = true;
        rig.server.password = "md56";
        rig.server.md5 = true;
        rig.job_ns = chance(20) * RIG_MS;
    }
    rig.lazy = true;
    rig.server.service_ns_max = chance(2) == 0 ? 0 : (1 + chance(8)) * RIG_MS;
    rig.server.no_key = chance(8) == 0;
    struct pg_server_chances *chances = &rig.server.chances;
    chances->noise = sometimes(10);
    chances->discard = sometimes(100);
    chances->alter = sometimes(100);
    chances->exists = sometimes(10);
    if (chance(2) == 0) {
        rig_alternate(&rig);
        chances->alter = 2 + chance(60);
    }
    chances->error = sometimes(20);
    chances->die = sometimes(3);
    chances->die_bytes = 4000;
    chances->fatal = sometimes(200);
    chances->stall = sometimes(200);
    chances->refuse = sometimes(10);
    rig.on_row = on_row;
    rig.on_done = on_done;
}

/* Without harm, what is asked for is done, and soon. */
static void ask_all(void) {
    static const enum rig_statement asked[] = { RIG_READ, RIG_WRITE, RIG_SHARED, RIG_MANY };
    struct rig_query *queries[8];
    struct pg_session *session = &rig.sessions[0];
    memset(session, 0, sizeof *session);
    pg_pool_open(&rig.pool, session, PG_BEGIN, rig.now_ns + 900 * RIG_MS);
    for (uint32_t i = 0; i < 8; i++) {
        queries[i] = rig_query(&rig, asked[i % 4], 900 * RIG_MS);
        queries[i]->q.session = i < 4 ? NULL : session;
        known[queries[i]->key].in_session = i >= 4;
        known[queries[i]->key].statement = (uint8_t)asked[i % 4];
        known[queries[i]->key].deadline_ns = queries[i]->q.deadline_ns;
        rig_send(&rig, queries[i]);
    }
    for (uint32_t i = 0; i < 600 && rig_pending(&rig) > 0; i++, rig.now_ns += RIG_MS) {
        rig_turn(&rig);
        bool busy = queries[4]->pending || queries[5]->pending || queries[6]->pending || queries[7]->pending;
        if (session != NULL && !busy) {
            pg_pool_close(&rig.pool, session);
            session = NULL;
        }
    }
    for (uint32_t i = 0; i < 8; i++) {
        uint8_t status = known[queries[i]->key].status;
        bool fine = status == PG_OK || (i >= 4 && (status == PG_ERROR || status == PG_ROLLED_BACK)) ||
                    (status == PG_ERROR && asked[i % 4] == RIG_WRITE && has_run(queries[i]));
        if (queries[i]->pending || (!fine && rig.config.queue >= 8)) {
            rig_fault(&rig, "without harm, query %u ended with %s, pending %u", i, pg_status_name(status), queries[i]->pending);
        }
    }
}

/* No harm any more: everything comes to its end, and all connections come up. */
static void settle(void) {
    rig.server.chances = (struct pg_server_chances){ 0 };
    rig.unreachable = rig.deaf_cancels = rig.hold_connects = false;
    rig.server.refuse_sqlstate = NULL;
    rig.pool.config.ping_ns = 0; /* a network as lazy as this costs connections */
    rig.pool.config.transaction_ns = 900 * RIG_MS; /* and transactions */
    rig_feed(&rig);
    rig.on_row = NULL;
    for (uint32_t i = 0; i < rig.config.connections; i++) {
        rig.conns[i].rude = false;
        if (rig_backend(&rig, i) != NULL) {
            pg_backend_terminate(rig_backend(&rig, i), "57P01"); /* those that come now have no end in them */
        }
    }
    for (uint32_t i = 0; i < SETTLE_MS / 4; i++, rig.now_ns += 4 * RIG_MS) {
        rig_turn(&rig);
        check_now();
    }
    for (uint32_t i = 0; i < session_count; i++) {
        do_close(i);
    }
    rig_run(&rig, 300 * RIG_MS);
    rig.pool.config.grace_ns = 100 * RIG_MS; /* a rollback over such a network takes its time, too */
    ask_all();
    rig_run(&rig, 300 * RIG_MS);
    if (rig.pool.figures.up != rig.config.connections || rig.pool.figures.in_flight != 0) {
        rig_fault(&rig, "%d of %u connections are up, %d in flight", (int)rig.pool.figures.up, rig.config.connections,
                  (int)rig.pool.figures.in_flight);
    }
    pg_pool_drain(&rig.pool);
    rig_run(&rig, 100 * RIG_MS);
    for (uint32_t i = 0; i < rig.config.connections; i++) {
        if (rig.pool.members[i].phase != 0) {
            const struct pg_member *m = &rig.pool.members[i];
            rig_fault(&rig, "connection %u is not closed: phase %u, %u in flight, retire %u, cancelling %u, exclusive %u", i,
                      m->phase, m->pg.tail - m->pg.head, m->retire, m->cancelling, m->session != NULL || m->rollback != 0);
        }
    }
}

static bool run(uint64_t seed) {
    session_count = unit_count = 0;
    memset(known, 0, sizeof known);
    configure(seed);
    uint32_t harm = 1 + chance(8);
    rig_start(&rig);
    acting = true;
    for (uint32_t step = 0; step < STEPS && rig.fault[0] == '\0'; step++) {
        for (uint32_t n = chance(6); n > 0; n--) {
            act(harm);
        }
        rig_turn(&rig);
        check_now();
        rig.now_ns += chance(4) * RIG_MS;
    }
    acting = false;
    settle();
    for (uint32_t i = 0; i < session_count; i++) {
        units[i].open = false;
    }
    rig_release(&rig);
    judge();
    if (rig.fault[0] != '\0') {
        printf("seed %" PRIu64 " (turn %d): %s\n", seed, (int)rig.turns, rig.fault);
    }
    return rig.fault[0] == '\0';
}

static uint64_t seeds = 300, from = 0;

static void random_schedules(void **state) {
    (void)state;
    uint64_t first = from != 0 ? from : random_seeded("test_pg_pool_model").state;
    for (uint64_t i = 0; i < seeds; i++) {
        assert_true(run(first + i));
    }
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        *(strcmp(argv[i], "--from") == 0 ? &from : &seeds) = strtoull(argv[i + 1], NULL, 10);
    }
    static struct rows all;
    ROWS_TEST(&all, random_schedules);
    return rows_run("pg_pool_model", &all);
}
