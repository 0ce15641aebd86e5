/* The pool against a simulated server: deadlines, cancels, queries that were left, connections that are given up. Each
 * scenario with the network's bytes whole, one by one, and in pieces of seven. */
#include <stdio.h>

#include "pg_pool_scenarios.h"

static void start(void) {
    start_knowing((enum rig_statement[]){ RIG_READ, RIG_SLOW, RIG_WRITE, RIG_SLOW_WRITE }, 4, 1000 * RIG_MS);
}

static void up(uint32_t connections, uint32_t inflight, size_t piece, uint64_t grace_ns) {
    rig_init(&rig, connections, inflight, 1);
    rig.piece = piece;
    rig.config.grace_ns = grace_ns;
    start();
}

/* The fifth in the pipeline has no more time, the head is slow: an end for the fifth alone, its answer goes nowhere. */
static void behind_a_slow_head(size_t piece) {
    up(1, 8, piece, 1000 * RIG_MS);
    struct rig_query *q[6];
    for (int i = 0; i < 6; i++) {
        q[i] = rig_submit(&rig, i == 0 ? RIG_SLOW : RIG_WRITE, (i == 4 ? 100 : 2000) * RIG_MS);
    }
    rig_run(&rig, 99 * RIG_MS);
    assert_status(q[4], PG_PENDING);
    rig_run(&rig, 2 * RIG_MS);
    assert_status(q[4], PG_TIMEOUT);
    rig_run(&rig, 400 * RIG_MS);
    for (int i = 0; i < 6; i++) {
        assert_status(q[i], i == 4 ? PG_TIMEOUT : PG_OK);
    }
    assert_int_equal(q[4]->committed, 1);
    assert_int_equal(q[4]->told, 0);
    assert_int_equal(figure(cancels), 0);
    end();
}

/* The owner was busy for an hour before it looked at what the pool wants. */
static void late_first_turn(size_t piece) {
    rig_init(&rig, 2, 8, 1);
    rig.piece = piece;
    rig_start(&rig);
    rig.now_ns += UINT64_C(3600000) * RIG_MS;
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(rig.ups, 2);
    assert_int_equal(rig.closes, 0);
    assert_int_equal(figure(connect_failures), 0);
    end();
}

/* Waits in the queue for longer than it may: never sent. */
static void in_the_queue(size_t piece) {
    up(1, 1, piece, 1000 * RIG_MS);
    struct rig_query *slow = rig_submit(&rig, RIG_SLOW, 2000 * RIG_MS), *q = rig_submit(&rig, RIG_WRITE, 100 * RIG_MS);
    rig_run(&rig, 110 * RIG_MS);
    assert_status(q, PG_BUSY);
    rig_run(&rig, 400 * RIG_MS);
    assert_status(slow, PG_OK);
    assert_int_equal(q->executed, 0);
    end();
}

/* The head is past its deadline for the grace: cancelled. Nothing new is sent until the cancel is over. */
static void cancelled(size_t piece) {
    up(2, 2, piece, 100 * RIG_MS);
    struct rig_query *q = rig_submit(&rig, RIG_SLOW_WRITE, 100 * RIG_MS);
    uint16_t conn = q->q.conn;
    rig_run(&rig, 110 * RIG_MS);
    assert_status(q, PG_TIMEOUT);
    rig_run(&rig, 80 * RIG_MS);
    assert_int_equal(figure(cancels), 0);
    rig.deaf_cancels = true;
    rig_run(&rig, 20 * RIG_MS);
    assert_int_equal(figure(cancels), 1);
    assert_true(rig.pool.members[conn].quiescing);
    for (int i = 0; i < 4; i++) {
        (void)rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    }
    assert_int_equal(rig.pool.members[conn].pg.queries, 1);
    assert_int_equal(figure(waiting), 2); /* though there is room for one */
    rig.deaf_cancels = false;
    rig_run(&rig, 5 * RIG_MS);
    assert_false(rig.pool.members[conn].quiescing);
    assert_int_equal(rig.server.cancelled, 1);
    assert_int_equal(q->committed, 0);
    assert_int_equal(figure(kills), 0);
    assert_int_equal(figure(up), 2);
    end();
}

/* The cancel comes when its query has just ended, and hits the next: that one is sent again when it only reads. */
static void collateral(size_t piece) {
    up(1, 8, piece, 300 * RIG_MS);
    rig.deaf_cancels = true;
    rig_submit(&rig, RIG_SLOW, 50 * RIG_MS);
    struct rig_query *victim = rig_submit(&rig, RIG_SLOW, 5000 * RIG_MS);
    struct rig_query *behind = rig_submit(&rig, RIG_SLOW_WRITE, 5000 * RIG_MS);
    rig_run(&rig, 420 * RIG_MS);
    assert_int_equal(figure(cancels), 1);
    rig.deaf_cancels = false;
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(rig.server.cancelled, 1);
    assert_status(victim, PG_OK);
    assert_int_equal(victim->q.tries, 2);
    assert_status(behind, PG_OK);
    assert_int_equal(figure(kills), 0);
    end();
}

/* Likewise, but what it hits writes: the error, as the server gave it. */
static void collateral_write(size_t piece) {
    up(1, 8, piece, 300 * RIG_MS);
    rig.deaf_cancels = true;
    rig_submit(&rig, RIG_SLOW, 50 * RIG_MS);
    struct rig_query *victim = rig_submit(&rig, RIG_SLOW_WRITE, 5000 * RIG_MS);
    rig_run(&rig, 420 * RIG_MS);
    rig.deaf_cancels = false;
    rig_run(&rig, 500 * RIG_MS);
    assert_status(victim, PG_ERROR);
    assert_string_equal(victim->q.sqlstate, "57014");
    end();
}

/* The cancel is not answered, or not possible: the connection is closed after another grace, others are sent again. */
static void killed(size_t piece, bool no_key) {
    rig_init(&rig, 1, 8, 1);
    rig.piece = piece;
    rig.config.grace_ns = 100 * RIG_MS;
    rig.server.no_key = no_key;
    start();
    pg_backend_stall(rig_backend(&rig, 0), true);
    struct rig_query *q = rig_submit(&rig, RIG_WRITE, 100 * RIG_MS), *read = rig_submit(&rig, RIG_READ, 5000 * RIG_MS);
    struct rig_query *write = rig_submit(&rig, RIG_WRITE, 5000 * RIG_MS);
    rig_run(&rig, 110 * RIG_MS);
    assert_status(q, PG_TIMEOUT);
    rig.deaf_cancels = true;
    rig.server.no_run_on = true;
    rig_run(&rig, 180 * RIG_MS);
    assert_int_equal(figure(kills), 0);
    assert_int_equal(figure(cancels), !no_key);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(figure(kills), 1);
    assert_status(read, PG_OK);
    assert_status(write, PG_LOST);
    rig.deaf_cancels = false;
    rig_run(&rig, 5 * RIG_MS);
    assert_false(rig.pool.members[0].cancelling);
    assert_int_equal(figure(up), 1);
    end();
}

static void cancel_not_heard(size_t piece) {
    killed(piece, false);
}

static void no_cancel_key(size_t piece) {
    killed(piece, true);
}

/* Left before it is sent, in flight, between its rows, when it is over and not told. */
static void left(size_t piece) {
    up(1, 4, piece, 1000 * RIG_MS);
    struct rig_query *q[8];
    for (int i = 0; i < 8; i++) {
        q[i] = rig_submit(&rig, i == 0 ? RIG_SLOW : RIG_WRITE, 2000 * RIG_MS);
    }
    rig_turn(&rig);
    rig_leave(&rig, q[0]);
    rig_leave(&rig, q[2]);
    rig_leave(&rig, q[5]); /* waits */
    memset(q[2]->params, 0xa5, sizeof q[2]->params);
    rig_run(&rig, 500 * RIG_MS);
    for (int i = 0; i < 8; i++) {
        if (i != 0 && i != 2 && i != 5) {
            assert_status(q[i], PG_OK);
        }
    }
    assert_int_equal(q[2]->committed, 1);
    assert_int_equal(q[5]->executed, 0);
    assert_int_equal(figure(left), 3);
    struct rig_query *group = rig_query(&rig, RIG_WRITE, 1000 * RIG_MS), *second = rig_query(&rig, RIG_WRITE, 0);
    struct rig_query *third = rig_query(&rig, RIG_WRITE, 0);
    group->q.group_next = &second->q;
    second->q.group_next = &third->q;
    rig_send(&rig, group);
    rig_leave(&rig, second);
    rig_leave(&rig, group);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(third, PG_OK);
    assert_int_equal(group->committed + second->committed, 2); /* they were sent */
    struct rig_query *over = rig_query(&rig, RIG_READ, 1000 * RIG_MS);
    over->q.session = NULL;
    pg_pool_drain(&rig.pool);
    rig_run(&rig, 5 * RIG_MS);
    rig_send(&rig, over); /* down: over at once, and not told yet */
    rig_leave(&rig, over);
    rig_run(&rig, 5 * RIG_MS);
    end();
}

static void leave_it(struct rig *r, struct rig_query *query) {
    rig_leave(r, query);
}

/* While its row is told. */
static void left_at_its_row(size_t piece) {
    up(1, 4, piece, 1000 * RIG_MS);
    rig.on_row = leave_it;
    struct rig_query *q = rig_submit(&rig, RIG_MANY, 2000 * RIG_MS), *next = rig_submit(&rig, RIG_WRITE, 2000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_int_equal(q->told, 1);
    assert_true(next->left);
    rig.on_row = NULL;
    next = rig_submit(&rig, RIG_READ, 2000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(next, PG_OK);
    end();
}

static void discard_it(struct rig *r, struct rig_query *query) {
    (void)r;
    pg_query_discard(&query->q);
}

static void discarded(size_t piece) {
    up(1, 4, piece, 1000 * RIG_MS);
    rig.on_row = discard_it;
    struct rig_query *q = rig_submit(&rig, RIG_MANY, 2000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_TOO_LARGE);
    assert_int_equal(q->told, 1);
    end();
}

/* A transaction is left open on a shared connection: an error for who did it, another connection for the others. */
static void leaked(size_t piece) {
    up(1, 4, piece, 1000 * RIG_MS);
    struct rig_query *q = rig_submit(&rig, RIG_LEAK, 2000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_ERROR);
    assert_string_equal(q->q.sqlstate, "25001");
    assert_int_equal(figure(quarantined), 1);
    struct rig_query *write = rig_submit(&rig, RIG_WRITE, 2000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(write, PG_OK);
    assert_int_equal(write->committed, 1);
    assert_int_equal(rig.downs, 0);
    end();
}

/* SET changes the session for all that come behind it. */
static void tainted(size_t piece) {
    up(1, 4, piece, 1000 * RIG_MS);
    struct rig_query *q = rig_submit(&rig, RIG_SET, 2000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_OK);
    assert_int_equal(figure(quarantined), 1);
    assert_int_equal(figure(connects), 2);
    end();
}

/* Turns from now on in which the pool was not ready, and in which nothing was up. */
static void count_turns(uint64_t turns, int *unready, int *down) {
    *unready = *down = 0;
    for (uint64_t end_ns = rig.now_ns + turns * RIG_MS; rig.now_ns < end_ns;) {
        rig_run(&rig, RIG_MS);
        *unready += !pg_pool_ready(&rig.pool);
        *down += !pg_pool_up(&rig.pool);
    }
}

/* The only connection is replaced: who asks meanwhile waits a moment, and is served. */
static void replaced(size_t piece) {
    int unready, down;
    up(1, 4, piece, 1000 * RIG_MS);
    for (int i = 0; i < 3; i++) {
        struct rig_query *set = rig_submit(&rig, RIG_SET, 2000 * RIG_MS), *read;
        rig.hold_connects = true;
        count_turns(50, &unready, &down);
        assert_status(set, PG_OK);
        assert_in_range(down, 40, 50);
        read = rig_submit(&rig, RIG_READ, 2000 * RIG_MS);
        rig.hold_connects = false;
        unready += !pg_pool_ready(&rig.pool);
        rig_run(&rig, 30 * RIG_MS);
        assert_int_equal(unready, 0);
        assert_status(read, PG_OK);
    }
    assert_int_equal(rig.downs, 0);
    end();
}

/* Its successor does not come. */
static void replaced_in_vain(size_t piece) {
    int unready, down;
    up(1, 4, piece, 1000 * RIG_MS);
    (void)rig_submit(&rig, RIG_SET, 2000 * RIG_MS);
    rig.hold_connects = true;
    rig_run(&rig, 10 * RIG_MS);
    assert_false(pg_pool_up(&rig.pool));
    count_turns(980, &unready, &down);
    assert_int_equal(unready, 0);
    count_turns(100, &unready, &down);
    assert_in_range(unready, 80, 99); /* as a query has no hope then */
    rig.hold_connects = false;
    rig_run(&rig, 10 * RIG_MS);
    assert_true(pg_pool_ready(&rig.pool));
    end();
}

/* The database has gone meanwhile: that is known when its successor is refused. */
static void replaced_and_refused(size_t piece) {
    int unready, down;
    up(1, 4, piece, 1000 * RIG_MS);
    (void)rig_submit(&rig, RIG_SET, 2000 * RIG_MS);
    rig.unreachable = true;
    count_turns(100, &unready, &down);
    assert_in_range(down - unready, 0, 3);
    assert_true(unready > 50);
    rig.unreachable = false;
    rig_run(&rig, 1000 * RIG_MS);
    assert_true(pg_pool_ready(&rig.pool));
    end();
}

/* A connection that ends by itself tells of nothing good. */
static void lost_at_rest(size_t piece) {
    up(1, 4, piece, 1000 * RIG_MS);
    pg_pool_lost(&rig.pool, 0, 0, "gone");
    assert_false(pg_pool_ready(&rig.pool));
    rig_turn(&rig);
    assert_false(pg_pool_ready(&rig.pool));
    rig_run(&rig, 1000 * RIG_MS);
    assert_true(pg_pool_ready(&rig.pool));
    end();
}

/* One of two: what is left decides. */
static void replaced_of_two(size_t piece) {
    int unready, down;
    up(2, 4, piece, 1000 * RIG_MS);
    (void)rig_submit(&rig, RIG_SET, 2000 * RIG_MS);
    rig.hold_connects = true;
    rig_run(&rig, 20 * RIG_MS);
    assert_int_equal(figure(up), 1);
    pg_pool_lost(&rig.pool, rig.pool.members[0].pg.state == PG_CONN_READY ? 0 : 1, 0, "gone");
    assert_false(pg_pool_ready(&rig.pool));
    count_turns(20, &unready, &down);
    assert_int_equal(unready, 20);
    rig.hold_connects = false;
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(figure(up), 2);
    end();
}

/* A server that makes a session useless each time, without having been asked for anything. */
static void tainted_at_once(size_t piece) {
    static const char parameter[] = "S\0\0\0\x1b" "client_encoding\0" "LATIN1";
    rig_init(&rig, 1, 4, 1);
    rig.piece = piece;
    rig_start(&rig);
    for (uint32_t turn = 0; turn < 3000; turn++, rig.now_ns += RIG_MS) {
        rig_turn(&rig);
        if (rig.pool.members[0].pg.state == PG_CONN_READY && !rig.conns[0].closing) {
            pg_pool_input(&rig.pool, 0, span_of(parameter, sizeof parameter));
        }
    }
    assert_in_range(rig.connects, 8, 20);
    rig_run(&rig, 600 * RIG_MS);
    assert_int_equal(figure(up), 1);
    end();
}

/* The end: what is in flight and what waits is finished, then every connection says Terminate. */
static void drained(size_t piece) {
    up(2, 4, piece, 1000 * RIG_MS);
    struct rig_query *q[50];
    for (int i = 0; i < 50; i++) {
        q[i] = rig_submit(&rig, i % 10 == 0 ? RIG_SLOW : RIG_WRITE, 9000 * RIG_MS);
    }
    rig_turn(&rig);
    pg_pool_drain(&rig.pool);
    rig_run(&rig, 3000 * RIG_MS);
    for (int i = 0; i < 50; i++) {
        assert_status(q[i], PG_OK);
    }
    assert_int_equal(figure(up), 0);
    assert_int_equal(figure(lost), 0);
    assert_int_equal(rig.closes, 2);
    struct rig_query *late = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 0);
    assert_status(late, PG_DOWN);
    end();
}

/* Nothing to do: a turn and a flush look at no member; the bound stays. */
static void idle(size_t piece) {
    up(2, 4, piece, 1000 * RIG_MS);
    rig_run(&rig, 10000 * RIG_MS);
    assert_int_equal(rig.pool.dirty, 0);
    uint64_t bound = pg_pool_deadline(&rig.pool);
    struct rig_query *q = rig_submit(&rig, RIG_READ, 5000 * RIG_MS);
    assert_true(bound == 0 || bound >= rig.now_ns);
    assert_true(pg_pool_deadline(&rig.pool) <= q->q.deadline_ns);
    rig_run(&rig, 5 * RIG_MS);
    assert_int_equal(rig.pool.dirty, 0);
    end();
}

static void start_to_ping(uint32_t connections, size_t piece) {
    rig_init(&rig, connections, 4, 1);
    rig.piece = piece;
    rig.config.grace_ns = 50 * RIG_MS;
    rig.config.ping_ns = 200 * RIG_MS;
    start();
}

/* A sign of life of who has nothing to do, and of nobody else. */
static void pings(size_t piece) {
    start_to_ping(2, piece);
    uint64_t syncs = rig.server.syncs;
    rig_run(&rig, 2000 * RIG_MS);
    assert_in_range(rig.server.syncs - syncs, 18, 20);
    struct rig_query *q = NULL;
    struct pg_session *session = &rig.sessions[0];
    pg_pool_open(&rig.pool, session, PG_BEGIN, 0);
    rig_run(&rig, 300 * RIG_MS);
    syncs = rig.server.syncs;
    for (int i = 0; i < 20; i++) {
        q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
        rig_run(&rig, 99 * RIG_MS);
        assert_status(q, PG_OK);
    }
    assert_int_equal(rig.server.syncs - syncs, 20);
    pg_pool_close(&rig.pool, session);
    assert_int_equal(figure(kills), 0);
    assert_int_equal(figure(in_flight), 0);
    end();
}

/* It went without a word: replaced before anybody needs it, without a cancel. */
static void silent_death(size_t piece) {
    start_to_ping(1, piece);
    pg_backend_stall(rig_backend(&rig, 0), true);
    rig_run(&rig, 260 * RIG_MS);
    assert_int_equal(figure(kills), 1);
    assert_int_equal(figure(cancels), 0);
    assert_string_equal(rig.down, "an idle connection gives no sign of life");
    rig_run(&rig, 60 * RIG_MS);
    assert_int_equal(figure(up), 1);
    pg_backend_stall(rig_backend(&rig, 0), true);
    rig.server.no_run_on = true;
    for (int i = 0; i < 210 && !rig.pool.members[0].pinged; i++) {
        rig_run(&rig, 0);
        rig.now_ns += RIG_MS;
    }
    struct rig_query *read = rig_submit(&rig, RIG_READ, 1000 * RIG_MS), *write = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    rig_run(&rig, 400 * RIG_MS);
    assert_int_equal(figure(kills), 2);
    assert_int_equal(figure(cancels), 0);
    assert_status(read, PG_OK);
    assert_status(write, PG_LOST);
    end();
}

/* No memory for a ping: later. Not wanted: never. */
static void no_ping(size_t piece) {
    start_to_ping(1, piece);
    rig_starve(&rig, 0);
    rig_run(&rig, 500 * RIG_MS);
    uint64_t syncs = rig.server.syncs;
    rig_feed(&rig);
    rig_run(&rig, 60 * RIG_MS);
    assert_int_equal(rig.server.syncs - syncs, 1);
    assert_int_equal(figure(kills), 0);
    end();
    rig_init(&rig, 1, 4, 1);
    rig.config.ping_ns = 0;
    start();
    syncs = rig.server.syncs;
    rig_run(&rig, 40000 * RIG_MS);
    assert_int_equal(rig.server.syncs - syncs, 0);
    end();
}

int main(void) {
    static const struct scenario scenarios[] = {
        { "a deadline behind a slow head", behind_a_slow_head },
        { "a late first turn", late_first_turn },
        { "a deadline in the queue", in_the_queue },
        { "a cancel", cancelled },
        { "a cancel that hits another", collateral },
        { "a cancel that hits another, which writes", collateral_write },
        { "a cancel that is not heard", cancel_not_heard },
        { "no cancel without a key", no_cancel_key },
        { "left anywhere", left },
        { "left at its row", left_at_its_row },
        { "discarded", discarded },
        { "a transaction is left open", leaked },
        { "SET", tainted },
        { "replaced, and served meanwhile", replaced },
        { "replaced in vain", replaced_in_vain },
        { "replaced, and refused", replaced_and_refused },
        { "lost at rest", lost_at_rest },
        { "one of two replaced, the other lost", replaced_of_two },
        { "a session that is useless each time", tainted_at_once },
        { "drained", drained },
        { "idle", idle },
        { "a sign of life", pings },
        { "died while idle", silent_death },
        { "no sign of life is asked for", no_ping },
    };
    return SCENARIOS_RUN("pg_pool_time", scenarios);
}
