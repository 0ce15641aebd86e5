/* The pool against a simulated server: exclusive connections, from BEGIN to the last rollback. Each scenario with the
 * network's bytes whole, one by one, and in pieces of seven. */
#include <stdio.h>

#include "pg_pool_scenarios.h"

static void start(void) {
    start_knowing((enum rig_statement[]){ RIG_READ, RIG_WRITE, RIG_ERROR }, 3, 9 * RIG_MS);
}

static void up(uint32_t connections, uint32_t inflight, size_t piece) {
    begin(connections, inflight, piece);
    start();
}

/* A session's statement is described on its own connection: what the others run may wait for a lock that the session holds. */
static void described_at_home(size_t piece) {
    up(2, 8, piece);
    rig_submit(&rig, RIG_SLOW, TIMEOUT);
    rig_run(&rig, 500 * RIG_MS); /* known */
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 2 * RIG_MS);
    assert_status(a, PG_OK);
    struct rig_query *slow = rig_submit(&rig, RIG_SLOW, TIMEOUT);
    rig_run(&rig, 2 * RIG_MS);
    assert_int_not_equal(slow->q.conn, a->q.conn);
    struct rig_query *unknown = rig_in(&rig, s, RIG_MANY, TIMEOUT), *c = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 20 * RIG_MS);
    assert_status(unknown, PG_OK);
    assert_status(c, PG_OK);
    assert_status(slow, PG_PENDING);
    rig_run(&rig, 500 * RIG_MS);
    end();
}

/* BEGIN costs no round trip of its own, and nothing counts before the commit. */
static void commit(size_t piece) {
    up(2, 8, piece);
    uint64_t syncs = rig.server.syncs;
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 2 * RIG_MS);
    assert_status(a, PG_OK);
    assert_int_equal(rig.server.syncs - syncs, 1);
    assert_int_equal(a->committed, 0);
    struct rig_query *b = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *c = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    struct rig_query *behind = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 2 * RIG_MS);
    assert_status(b, PG_OK);
    assert_status(c, PG_OK);
    assert_status(behind, PG_ROLLED_BACK);
    assert_int_equal(behind->executed, 0);
    assert_int_equal(a->committed + b->committed, 2);
    assert_int_equal(rig.pool.exclusive, 0); /* shared again, before it is closed */
    pg_pool_close(&rig.pool, s);
    assert_int_equal(figure(quarantined), 0);
    end();
}

/* Everything is submitted before there is an answer: what is behind BEGIN waits for it. */
static void at_once(size_t piece) {
    up(2, 8, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *q[4];
    for (int i = 0; i < 3; i++) {
        q[i] = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    }
    q[3] = rig_end(&rig, s, PG_ROLLBACK, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    for (int i = 0; i < 4; i++) {
        assert_status(q[i], PG_OK);
        assert_int_equal(q[i]->committed, 0);
    }
    pg_pool_close(&rig.pool, s);
    end();
}

/* Behind an error only the rollback is left: COMMIT is answered with ROLLBACK. */
static void failed(size_t piece) {
    up(2, 8, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *b = rig_in(&rig, s, RIG_ERROR, TIMEOUT);
    struct rig_query *c = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *d = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(b, PG_ERROR);
    assert_status(c, PG_ERROR);
    assert_string_equal(c->q.sqlstate, "25P02");
    assert_status(d, PG_ROLLED_BACK);
    assert_int_equal(a->committed, 0);
    pg_pool_close(&rig.pool, s);
    end();
}

/* Deferred to COMMIT: it fails, and says so. */
static void deferred(size_t piece) {
    up(2, 8, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_DEFERRED, TIMEOUT), *b = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 9 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(b, PG_ERROR);
    assert_string_equal(b->q.sqlstate, "23503");
    pg_pool_close(&rig.pool, s);
    end();
}

/* A first query that fails takes its BEGIN with it into a failed transaction: closed, it is rolled back. */
static void first_fails(size_t piece) {
    up(2, 8, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_ERROR, TIMEOUT);
    rig_run(&rig, 2 * RIG_MS);
    assert_status(a, PG_ERROR);
    pg_pool_close(&rig.pool, s);
    assert_int_equal(rig.pool.exclusive, 1);
    rig_run(&rig, 2 * RIG_MS);
    assert_int_equal(rig.pool.exclusive, 0);
    assert_int_equal(figure(kills), 0);
    end();
}

/* BEGIN itself fails: so does what came with it, nothing runs without a transaction. */
static void begin_fails(size_t piece) {
    begin(2, 8, piece);
    rig.table[RIG_INTERNALS_AT].what = PG_DO_ERROR;
    rig.table[RIG_INTERNALS_AT].sqlstate = "53200";
    start();
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *b = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_ERROR);
    assert_string_equal(a->q.sqlstate, "53200");
    assert_status(b, PG_ERROR);
    assert_int_equal(a->executed + b->executed, 0);
    assert_true(s->lost);
    pg_pool_close(&rig.pool, s);
    assert_int_equal(rig.pool.exclusive, 0);
    end();
}

/* The pooler behind the address has another server process for us: BEGIN is prepared anew. */
static void begin_forgotten(size_t piece) {
    up(1, 8, piece);
    struct pg_session *s = open_session(0);
    (void)rig_in(&rig, s, RIG_READ, TIMEOUT);
    (void)rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    pg_pool_close(&rig.pool, s);
    pg_backend_discard(rig_backend(&rig, 0));
    s = open_session(1);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    /* now the query's own statement is missing: within a transaction that can't be healed */
    assert_status(a, PG_ERROR);
    assert_string_equal(a->q.sqlstate, "26000");
    assert_int_equal(figure(healed), 1);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 5 * RIG_MS);
    end();
}

/* At most all but one are exclusive; who waits has the next one, though others want it, too. */
static void waiting(size_t piece) {
    up(2, 4, piece);
    struct pg_session *s = open_session(0), *t = open_session(1);
    assert_int_equal(rig.pool.exclusive, 1);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *b = rig_in(&rig, t, RIG_WRITE, TIMEOUT);
    struct rig_query *shared = rig_submit(&rig, RIG_READ, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(shared, PG_OK);
    assert_status(b, PG_PENDING);
    struct rig_query *c = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(c, PG_OK);
    assert_status(b, PG_OK);
    pg_pool_close(&rig.pool, s);
    struct rig_query *d = rig_end(&rig, t, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(d, PG_OK);
    pg_pool_close(&rig.pool, t);
    end();
}

/* Both connections are busy all the time: the one that is reserved runs empty. */
static void reserved(size_t piece) {
    up(2, 2, piece);
    rig_submit(&rig, RIG_SLOW, 5000 * RIG_MS);
    rig_run(&rig, 600 * RIG_MS);
    for (int i = 0; i < 12; i++) {
        rig_submit(&rig, RIG_SLOW, 5000 * RIG_MS);
    }
    rig_run(&rig, 2 * RIG_MS);
    pg_pool_open(&rig.pool, &rig.sessions[0], PG_BEGIN, rig.now_ns + 3000 * RIG_MS);
    struct rig_query *a = rig_in(&rig, &rig.sessions[0], RIG_WRITE, 3000 * RIG_MS);
    rig_run(&rig, 900 * RIG_MS);
    assert_status(a, PG_OK);
    struct rig_query *b = rig_end(&rig, &rig.sessions[0], PG_COMMIT, TIMEOUT);
    rig_run(&rig, 10 * RIG_MS);
    assert_status(b, PG_OK);
    pg_pool_close(&rig.pool, &rig.sessions[0]);
    rig_run(&rig, 4000 * RIG_MS);
    assert_int_equal(rig_pending(&rig), 0);
    end();
}

/* A single connection: sessions and queries in the order of their coming. */
static void single(size_t piece) {
    up(1, 4, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    struct rig_query *shared = rig_submit(&rig, RIG_READ, TIMEOUT);
    struct pg_session *t = open_session(1);
    struct rig_query *b = rig_in(&rig, t, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(shared, PG_PENDING);
    struct rig_query *unknown = rig_in(&rig, s, RIG_MANY, TIMEOUT); /* is described on the connection of the session itself */
    rig_run(&rig, 5 * RIG_MS);
    assert_status(unknown, PG_OK);
    (void)rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_turn(&rig);
    rig_turn(&rig);
    pg_pool_close(&rig.pool, s);
    rig_turn(&rig);
    assert_status(shared, PG_OK); /* before the second session, which came later */
    rig_run(&rig, 5 * RIG_MS);
    assert_status(b, PG_OK);
    pg_pool_close(&rig.pool, t);
    rig_run(&rig, 5 * RIG_MS);
    end();
}

/* Waits for longer than it may. */
static void too_late(size_t piece) {
    up(1, 4, piece);
    struct pg_session *s = open_session(0), *t = open_session(1);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *b = rig_in(&rig, t, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 510 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(b, PG_BUSY);
    struct rig_query *c = rig_in(&rig, t, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 0);
    assert_status(c, PG_BUSY);
    pg_pool_close(&rig.pool, t);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 5 * RIG_MS);
    assert_int_equal(a->committed, 0);
    end();
}

/* Closed before it had a connection, before BEGIN, with a query in flight, with a rollback that does not come. */
static void closed(size_t piece) {
    up(1, 4, piece);
    struct pg_session *s = open_session(0), *t = open_session(1);
    struct rig_query *b = rig_in(&rig, t, RIG_WRITE, TIMEOUT);
    rig_leave(&rig, b);
    pg_pool_close(&rig.pool, t);
    pg_pool_close(&rig.pool, s);
    assert_int_equal(rig.pool.exclusive, 0);
    s = open_session(2);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_turn(&rig);
    rig_leave(&rig, a);
    pg_pool_close(&rig.pool, s);
    memset(s, 0xa5, sizeof *s);
    struct rig_query *shared = rig_submit(&rig, RIG_READ, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(shared, PG_OK);
    assert_int_equal(a->executed, 1);
    assert_int_equal(a->committed, 0);
    s = open_session(3);
    a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    pg_backend_stall(rig_backend(&rig, 0), true);
    pg_pool_close(&rig.pool, s);
    shared = rig_submit(&rig, RIG_READ, 3000 * RIG_MS);
    rig.server.no_run_on = true;
    rig_run(&rig, 1900 * RIG_MS);
    assert_status(shared, PG_PENDING);
    rig_run(&rig, 300 * RIG_MS);
    assert_status(shared, PG_OK);
    assert_int_equal(figure(cancels), 1);
    assert_int_equal(figure(kills), 1);
    assert_int_equal(a->committed, 0);
    end();
}

/* It has its connection for too long. */
static void expired(size_t piece) {
    begin(2, 4, piece);
    rig.config.transaction_ns = 300 * RIG_MS;
    start();
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 10 * RIG_MS);
    struct rig_query *b = rig_in(&rig, s, RIG_SLOW, TIMEOUT);
    rig_run(&rig, 310 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(b, PG_TIMEOUT);
    struct rig_query *c = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 0);
    assert_status(c, PG_TIMEOUT);
    assert_true(s->lost);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 10 * RIG_MS); /* the query would have run for 400 */
    assert_int_equal(a->committed, 0);
    assert_int_equal(figure(cancels), 1);
    assert_int_equal(rig.server.cancelled, 1);
    assert_int_equal(rig.pool.exclusive, 0);
    assert_int_equal(figure(kills), 0);
    assert_int_equal(figure(up), 2);
    end();
}

/* Nothing runs: it is rolled back, and the connection stays. */
static void expired_idle(size_t piece) {
    begin(2, 4, piece);
    rig.config.transaction_ns = 300 * RIG_MS;
    start();
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 320 * RIG_MS);
    assert_status(a, PG_OK);
    assert_true(s->lost);
    assert_int_equal(rig.pool.exclusive, 0);
    assert_int_equal(a->committed, 0);
    pg_pool_close(&rig.pool, s);
    assert_int_equal(figure(cancels), 0);
    assert_int_equal(figure(kills), 0);
    end();
}

/* The server answers nothing, not even the cancel: its connection is closed after the grace. */
static void expired_deaf(size_t piece) {
    begin(2, 4, piece);
    rig.config.transaction_ns = 300 * RIG_MS;
    start();
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 10 * RIG_MS);
    pg_backend_stall(rig_backend(&rig, s->conn), true);
    struct rig_query *b = rig_in(&rig, s, RIG_READ, TIMEOUT);
    rig_run(&rig, 310 * RIG_MS);
    assert_status(b, PG_TIMEOUT);
    pg_pool_close(&rig.pool, s);
    assert_int_equal(figure(kills), 0);
    rig_run(&rig, rig.config.grace_ns + 100 * RIG_MS);
    assert_int_equal(figure(cancels), 1);
    assert_int_equal(figure(kills), 1);
    assert_int_equal(rig.pool.exclusive, 0);
    assert_int_equal(a->committed, 0);
    end();
}

/* Its connection is lost: all of it, nothing is sent again. Lost before anything left: it has another one. */
static void lost(size_t piece) {
    up(2, 4, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_READ, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    struct rig_query *b = rig_in(&rig, s, RIG_SLOW, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    pg_backend_die(rig_backend(&rig, s->conn));
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(b, PG_LOST);
    struct rig_query *c = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 0);
    assert_status(c, PG_LOST);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 100 * RIG_MS);
    s = open_session(1);
    a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig.conns[s->conn].rude = true;
    rig_run(&rig, 100 * RIG_MS);
    assert_status(a, PG_OK);
    b = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(b, PG_OK);
    assert_int_equal(a->executed, 1);
    pg_pool_close(&rig.pool, s);
    end();
}

/* One slot only: BEGIN goes alone. */
static void one_slot(size_t piece) {
    up(1, 1, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *b = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(b, PG_OK);
    assert_int_equal(a->committed, 1);
    pg_pool_close(&rig.pool, s);
    end();
}

int main(void) {
    static const struct scenario scenarios[] = {
        { "commit", commit },
        { "described on its own connection", described_at_home },
        { "all at once", at_once },
        { "COMMIT of a failed transaction", failed },
        { "an error deferred to COMMIT", deferred },
        { "the first query fails", first_fails },
        { "BEGIN fails", begin_fails },
        { "BEGIN is forgotten", begin_forgotten },
        { "one connection is left to others", waiting },
        { "a connection is reserved for who waits", reserved },
        { "a single connection", single },
        { "waits for too long", too_late },
        { "closed at any moment", closed },
        { "takes too long", expired },
        { "takes too long, idle", expired_idle },
        { "takes too long, the server is deaf", expired_deaf },
        { "lost", lost },
        { "one slot", one_slot },
    };
    return SCENARIOS_RUN("pg_pool_session", scenarios);
}
