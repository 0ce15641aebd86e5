/* The pool against a simulated server: one scenario after the other, each with the network's bytes whole, one by one, and in
 * pieces of seven. */
#include <stdio.h>

#include "pg_pool_scenarios.h"

static void up(uint32_t connections, uint32_t inflight, size_t piece) {
    begin(connections, inflight, piece);
    start_knowing(NULL, 0, 0);
}

/* ---------------------------------------------------------------------------------------------------------- plain ---- */

static void a_query(size_t piece) {
    up(1, 4, piece);
    struct rig_query *q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    assert_status(q, PG_PENDING);
    rig_run(&rig, 3 * RIG_MS);
    assert_status(q, PG_OK);
    assert_int_equal(q->told, 1);
    assert_int_equal(figure(describes), 1);
    struct rig_query *again = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 3 * RIG_MS);
    assert_status(again, PG_OK);
    assert_int_equal(figure(parses), 1); /* the steady state has no Parse and no Describe */
    assert_int_equal(figure(describes), 1);
    assert_int_equal(figure(done[PG_OK]), 2);
    end();
}

/* A group is one transaction: all of it, or nothing. */
static void groups(size_t piece) {
    up(2, 4, piece);
    struct rig_query *a = rig_query(&rig, RIG_WRITE, 1000 * RIG_MS), *b = rig_query(&rig, RIG_ERROR, 0);
    struct rig_query *c = rig_query(&rig, RIG_WRITE, 1000 * RIG_MS), *d = rig_query(&rig, RIG_WRITE, 0);
    a->q.group_next = &b->q;
    c->q.group_next = &d->q;
    rig_send(&rig, a);
    rig_send(&rig, c);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_ROLLED_BACK);
    assert_status(b, PG_ERROR);
    assert_string_equal(b->q.sqlstate, "22012");
    assert_int_equal(a->committed, 0);
    assert_status(c, PG_OK);
    assert_status(d, PG_OK);
    assert_int_equal(c->committed + d->committed, 2);
    struct rig_query *five[5];
    for (int i = 0; i < 5; i++) {
        five[i] = rig_query(&rig, RIG_READ, 1000 * RIG_MS);
        if (i > 0) {
            five[i - 1]->q.group_next = &five[i]->q;
        }
    }
    rig_send(&rig, five[0]);
    rig_run(&rig, 1 * RIG_MS);
    assert_status(five[4], PG_ERROR);
    assert_string_equal(five[0]->q.sqlstate, "54000");
    end();
}

/* One of eight fails: nobody else notices. */
static void isolation(size_t piece) {
    up(1, 8, piece);
    struct rig_query *q[8];
    for (int i = 0; i < 8; i++) {
        q[i] = rig_submit(&rig, i == 2 ? RIG_ERROR : i == 5 ? RIG_DEFERRED : RIG_WRITE, 1000 * RIG_MS);
    }
    rig_run(&rig, 6 * RIG_MS);
    for (int i = 0; i < 8; i++) {
        assert_status(q[i], i == 2 || i == 5 ? PG_ERROR : PG_OK);
    }
    assert_string_equal(q[5]->q.sqlstate, "23503");
    end();
}

/* Others of the run of the one that fails are sent again, with a Sync of their own; a good run has one Sync. */
static void shared_sync(size_t piece) {
    up(1, 8, piece);
    rig_submit(&rig, RIG_SHARED, 1000 * RIG_MS);
    rig_submit(&rig, RIG_SHARED_BAD, 1000 * RIG_MS);
    rig_run(&rig, 6 * RIG_MS);
    uint64_t syncs = rig.server.syncs;
    struct rig_query *q[5];
    for (int i = 0; i < 5; i++) {
        q[i] = rig_submit(&rig, RIG_SHARED, 1000 * RIG_MS);
    }
    rig_run(&rig, 3 * RIG_MS);
    assert_int_equal(rig.server.syncs - syncs, 1);
    assert_status(q[4], PG_OK);
    for (int i = 0; i < 5; i++) {
        q[i] = rig_submit(&rig, i == 1 ? RIG_SHARED_BAD : RIG_SHARED, 1000 * RIG_MS);
    }
    rig_run(&rig, 5 * RIG_MS);
    for (int i = 0; i < 5; i++) {
        assert_status(q[i], i == 1 ? PG_ERROR : PG_OK);
    }
    assert_int_equal(figure(skipped), 3);
    assert_int_equal(rig.server.syncs - syncs, 1 + 1 + 3);
    end();
}

/* -------------------------------------------------------------------------------------------------- the choice, the queue ---- */

/* The least work first; with equal work the connection that was used last. */
static void least_work(size_t piece) {
    up(3, 4, piece);
    rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_submit(&rig, RIG_SLOW, 2000 * RIG_MS);
    rig_run(&rig, 4 * RIG_MS);
    uint32_t slow = 0;
    while (rig.pool.members[slow].pg.queries == 0) {
        slow++;
    }
    for (int i = 0; i < 4; i++) { /* alone each time: one of the others, and always the same */
        struct rig_query *q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
        assert_true(q->q.conn != slow);
        uint16_t conn = q->q.conn;
        rig_run(&rig, 3 * RIG_MS);
        assert_status(q, PG_OK);
        struct rig_query *next = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
        assert_int_equal(next->q.conn, conn);
        rig_run(&rig, 3 * RIG_MS);
    }
    rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig.pool.members[i].pg.queries, 1);
    }
    rig_run(&rig, 600 * RIG_MS);
    end();
}

/* A stuck head is passed by, though it has the least to do. */
static void stuck_head(size_t piece) {
    up(2, 4, piece);
    struct rig_query *slow = rig_submit(&rig, RIG_SLOW, 2000 * RIG_MS);
    rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 100 * RIG_MS);
    for (int i = 0; i < 4; i++) {
        struct rig_query *q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
        assert_true(q->q.conn != slow->q.conn);
    }
    assert_int_equal(rig_submit(&rig, RIG_READ, 1000 * RIG_MS)->q.conn, slow->q.conn); /* no room elsewhere */
    rig_run(&rig, 500 * RIG_MS);
    end();
}

static uint32_t order[64], ordered;

static void note_order(struct rig *r, struct rig_query *query) {
    (void)r;
    order[ordered++ % 64] = (uint32_t)query->key;
}

/* First in, first out; above its bound the queue refuses at once. */
static void queue(size_t piece) {
    begin(1, 1, piece);
    rig.config.queue = 8;
    rig_start(&rig);
    rig_run(&rig, 2 * RIG_MS);
    rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 4 * RIG_MS);
    ordered = 0;
    rig.on_done = note_order;
    for (int i = 0; i < 11; i++) {
        rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    }
    assert_int_equal(figure(waiting), 8);
    rig_run(&rig, 0);
    assert_int_equal(figure(done[PG_BUSY]), 2);
    rig_run(&rig, 30 * RIG_MS);
    for (uint32_t i = 2; i < 11; i++) {
        assert_int_equal(order[i], i - 1); /* behind the two that were refused */
    }
    end();
}

/* A statement that is not known yet does not hold up those behind it; one that can't be parsed fails all that wait for it. */
static void describing(size_t piece) {
    up(1, 8, piece);
    rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 4 * RIG_MS);
    struct rig_query *q[8];
    for (int i = 0; i < 8; i++) {
        q[i] = rig_submit(&rig, i % 2 == 0 ? RIG_UNPARSED : RIG_READ, 1000 * RIG_MS);
    }
    rig_turn(&rig); /* what is known leaves, what is not is asked for */
    rig_turn(&rig);
    for (int i = 0; i < 8; i++) {
        assert_status(q[i], i % 2 == 0 ? PG_ERROR : PG_OK);
    }
    assert_string_equal(q[0]->q.sqlstate, "42601");
    assert_string_equal(q[6]->q.message, "it can't be parsed");
    assert_int_equal(figure(describes), 2);
    end();
}

/* The connection that describes is lost: another one does. */
static void describing_lost(size_t piece) {
    up(2, 8, piece);
    struct rig_query *q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    pg_pool_flush(&rig.pool);
    for (uint32_t i = 0; i < 2; i++) {
        if (!pg_conn_idle(&rig.pool.members[i].pg)) {
            pg_backend_die(rig_backend(&rig, i));
        }
    }
    rig_run(&rig, 10 * RIG_MS);
    assert_status(q, PG_OK);
    assert_int_equal(figure(describes), 2);
    end();
}

/* ----------------------------------------------------------------------------------------------------------- healing ---- */

static void healing(size_t piece) {
    up(1, 8, piece);
    struct rig_query *q = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    pg_backend_discard(rig_backend(&rig, 0)); /* 26000 */
    q = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_OK);
    assert_int_equal(figure(healed), 1);
    rig.table[RIG_WRITE].version++; /* 0A000, RevalidateCachedQuery */
    q = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_OK);
    assert_int_equal(figure(healed), 2);
    rig.server.chances.exists = 1; /* 42P05, when it parses again */
    pg_backend_discard(rig_backend(&rig, 0));
    q = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    rig_run(&rig, 9 * RIG_MS);
    assert_status(q, PG_ERROR); /* once, never in circles */
    rig.server.chances.exists = 0;
    q = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    rig_run(&rig, 9 * RIG_MS);
    assert_status(q, PG_OK);
    end();
}

/* A table has changed. What was healed on one connection goes on to another, which must not run it with the old plan. */
static void healing_elsewhere(size_t piece) {
    up(2, 4, piece);
    rig_submit(&rig, RIG_SLOW, 1000 * RIG_MS);
    rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    rig_run(&rig, 600 * RIG_MS);
    struct rig_query *one, *other;
    do { /* both have the plan, and the first, which will describe, was used last */
        one = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
        other = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
        rig_run(&rig, 5 * RIG_MS);
        assert_int_not_equal(one->q.conn, other->q.conn);
    } while (other->q.conn != 0);
    rig.table[RIG_WRITE].version++;
    struct rig_query *q = rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    for (; figure(waiting) == 0; rig.now_ns += RIG_MS) {
        rig_turn(&rig);
    }
    struct rig_query *slow = rig_submit(&rig, RIG_SLOW, 1000 * RIG_MS);
    pg_pool_flush(&rig.pool); /* busy now: the one that describes */
    rig_run(&rig, 600 * RIG_MS);
    assert_status(q, PG_OK);
    assert_status(slow, PG_OK);
    assert_int_equal(slow->q.conn, 0);
    assert_int_equal(q->q.conn, 1);
    assert_int_equal(figure(healed), 1);
    end();
}

/* 0A000 that means what it says: the error, and the statement stays. */
static void unsupported(size_t piece) {
    up(1, 8, piece);
    rig.table[RIG_ERROR].sqlstate = "0A000";
    struct rig_query *q = rig_submit(&rig, RIG_ERROR, 1000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_ERROR);
    assert_int_equal(figure(healed), 0);
    assert_int_equal(figure(parses), 1);
    end();
}

/* ------------------------------------------------------------------------------------------------------------ losses ---- */

/* FATAL while idle: nobody sees an error, the connection is back soon. */
static void fatal_idle(size_t piece) {
    up(1, 8, piece);
    struct rig_query *q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    pg_backend_terminate(rig_backend(&rig, 0), "57P01");
    rig_run(&rig, 2 * RIG_MS);
    assert_int_equal(rig.downs, 1);
    q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 60 * RIG_MS);
    assert_status(q, PG_OK);
    assert_int_equal(figure(up), 1);
    assert_int_equal(rig.ups, 2);
    end();
}

/* FATAL with queries in flight: reads run once more, writes are lost, what never left is sent, in the old order. */
static void fatal_busy(size_t piece) {
    up(1, 8, piece);
    rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_submit(&rig, RIG_WRITE, 1000 * RIG_MS);
    rig_submit(&rig, RIG_SLOW, 1000 * RIG_MS);
    rig_run(&rig, 500 * RIG_MS);
    ordered = 0;
    rig.on_done = note_order;
    struct rig_query *slow = rig_submit(&rig, RIG_SLOW, 2000 * RIG_MS), *write = rig_submit(&rig, RIG_WRITE, 2000 * RIG_MS);
    struct rig_query *read = rig_submit(&rig, RIG_READ, 2000 * RIG_MS);
    rig.server.no_run_on = true;
    rig_turn(&rig);
    struct rig_query *unsent = rig_submit(&rig, RIG_WRITE, 2000 * RIG_MS);
    pg_backend_terminate(rig_backend(&rig, 0), "57P01");
    rig_run(&rig, 700 * RIG_MS);
    assert_status(slow, PG_OK);
    assert_status(write, PG_LOST);
    assert_status(read, PG_OK);
    assert_status(unsent, PG_OK);
    assert_int_equal(unsent->committed, 1);
    assert_int_equal(slow->q.tries, 2);
    assert_int_equal(unsent->q.tries, 1);
    assert_int_equal(figure(retried), 2);
    assert_int_equal(order[0], write->key);
    assert_int_equal(order[1], slow->key);
    assert_int_equal(order[3], unsent->key);
    end();
}

/* A read is sent again once: the second loss is told. */
static void lost_twice(size_t piece) {
    up(1, 8, piece);
    struct rig_query *q = rig_submit(&rig, RIG_SLOW, 3000 * RIG_MS);
    for (int i = 0; i < 2; i++) {
        rig_run(&rig, 100 * RIG_MS);
        assert_status(q, PG_PENDING);
        rig.conns[0].rude = true;
    }
    rig_run(&rig, 10 * RIG_MS);
    assert_status(q, PG_LOST);
    end();
}

/* Rows were told: they can't be taken back by running it again. */
static void lost_behind_rows(size_t piece) {
    up(1, 8, piece);
    rig.table[RIG_READ] = (struct pg_server_statement){
        .sql = "read", .what = PG_DO_FATAL, .rows = 1, .sqlstate = "57P01", .columns = rig.table[RIG_READ].columns,
        .column_count = 1, .types = rig.table[RIG_READ].types, .type_count = 1,
    };
    struct rig_query *q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 20 * RIG_MS);
    assert_status(q, PG_LOST);
    assert_int_equal(q->told, 1);
    end();
}

static void discard_it(struct rig *r, struct rig_query *query) {
    (void)r;
    pg_query_discard(&query->q);
}

static struct pg_server_statement fatal_read(uint32_t rows) {
    struct pg_server_statement read = rig.table[RIG_READ];
    read.what = PG_DO_FATAL;
    read.rows = rows;
    read.sqlstate = "57P01";
    return read;
}

static void until_taken_back(const struct rig_query *query) {
    for (int ms = 0; query->q.run == 0 && ms < 50; ms++) {
        rig_run(&rig, RIG_MS);
    }
    assert_int_equal(query->q.run, 1);
    assert_status(query, PG_PENDING);
}

/* Rows that can be taken back, of a single one and of a group: the second run's count. */
static void lost_behind_revocable_rows(size_t piece) {
    static const uint32_t second[] = { 0, 1, 3 };
    up(1, 8, piece);
    const struct pg_server_statement usual = rig.table[RIG_READ];
    for (size_t i = 0; i < sizeof second / sizeof *second; i++) {
        rig.table[RIG_READ] = fatal_read(2);
        struct rig_query *q[3];
        for (int k = 0; k < 3; k++) {
            q[k] = rig_query(&rig, k == 1 ? RIG_MANY : RIG_READ, 2000 * RIG_MS);
            q[k]->q.revocable = true;
        }
        q[1]->q.group_next = &q[2]->q;
        rig_send(&rig, q[0]);
        until_taken_back(q[0]);
        rig.table[RIG_READ] = usual;
        rig.table[RIG_READ].rows = second[i];
        rig_run(&rig, 500 * RIG_MS);
        assert_status(q[0], PG_OK);
        assert_int_equal(q[0]->told, second[i]);
        rig.table[RIG_READ] = fatal_read(1);
        rig_send(&rig, q[1]);
        until_taken_back(q[1]);
        until_taken_back(q[2]);
        rig.table[RIG_READ] = usual;
        rig_run(&rig, 500 * RIG_MS);
        assert_status(q[1], PG_OK);
        assert_status(q[2], PG_OK);
        assert_int_equal(q[1]->told + q[2]->told, 3 + 1);
    }
    assert_int_equal(figure(retried), 9);
    end();
}

/* Twice; of a write; when its owner has had enough; in a group with one whose rows were told for good. */
static void not_behind_these_rows(size_t piece) {
    up(1, 8, piece);
    rig.table[RIG_READ] = fatal_read(2);
    struct rig_query *q = rig_query(&rig, RIG_READ, 2000 * RIG_MS);
    q->q.revocable = true;
    rig_send(&rig, q);
    rig_run(&rig, 500 * RIG_MS);
    assert_status(q, PG_LOST);
    assert_int_equal(q->told, 2);
    rig.table[RIG_WRITE].what = PG_DO_FATAL;
    rig.table[RIG_WRITE].sqlstate = "57P01";
    q = rig_query(&rig, RIG_WRITE, 2000 * RIG_MS);
    q->q.revocable = true;
    rig_send(&rig, q);
    rig_run(&rig, 500 * RIG_MS);
    assert_status(q, PG_LOST);
    rig.on_row = discard_it;
    q = rig_query(&rig, RIG_READ, 2000 * RIG_MS);
    q->q.revocable = true;
    rig_send(&rig, q);
    rig_run(&rig, 500 * RIG_MS);
    assert_status(q, PG_LOST);
    assert_int_equal(q->told, 1);
    rig.on_row = NULL;
    q = rig_query(&rig, RIG_MANY, 2000 * RIG_MS);
    struct rig_query *last = rig_query(&rig, RIG_READ, 2000 * RIG_MS);
    last->q.revocable = true;
    q->q.group_next = &last->q;
    rig_send(&rig, q);
    rig_run(&rig, 500 * RIG_MS);
    assert_status(q, PG_LOST);
    assert_status(last, PG_LOST);
    end();
}

/* --------------------------------------------------------------------------------------------------- down and up ---- */

static void never_up(size_t piece) {
    begin(2, 8, piece);
    rig.hold_connects = true;
    rig_start(&rig);
    struct rig_query *q = rig_submit(&rig, RIG_READ, 5000 * RIG_MS);
    rig_run(&rig, 990 * RIG_MS);
    assert_status(q, PG_PENDING); /* it may still come up */
    rig_run(&rig, 20 * RIG_MS);
    assert_status(q, PG_DOWN);
    rig.unreachable = true;
    rig.hold_connects = false;
    rig_run(&rig, 2 * RIG_MS);
    q = rig_submit(&rig, RIG_READ, 5000 * RIG_MS); /* all have tried in vain, and nobody tries now */
    rig_run(&rig, 0);
    assert_status(q, PG_DOWN);
    assert_string_equal(rig.down, "nobody listens");
    assert_int_equal(rig.downs, 1);
    uint32_t connects = rig.connects;
    rig_run(&rig, 5000 * RIG_MS);
    assert_true(rig.connects - connects > 2 * 5000 / 500 && rig.connects - connects < 2 * 5000 / 100);
    assert_int_equal(rig.downs, 1); /* once for each reason in a row */
    rig.unreachable = false;
    rig_run(&rig, 510 * RIG_MS);
    assert_int_equal(figure(up), 2);
    q = rig_submit(&rig, RIG_READ, 5000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_OK);
    end();
}

/* A wrong password is tried slowly; what is up stays. 57P03 is tried soon; 53300 after a second. */
static void refused(size_t piece) {
    begin(2, 8, piece);
    rig.server.connections_max = 1;
    rig_start(&rig);
    rig_run(&rig, 900 * RIG_MS);
    assert_int_equal(figure(up), 1);
    assert_int_equal(rig.server.refused, 1);
    rig_run(&rig, 4000 * RIG_MS);
    assert_true(rig.server.refused <= 5);
    rig.server.connections_max = 0;
    rig_run(&rig, 1200 * RIG_MS);
    assert_int_equal(figure(up), 2);
    rig.server.refuse_sqlstate = "28P01";
    uint64_t refusals = rig.server.refused;
    pg_backend_terminate(rig_backend(&rig, 0), "57P01");
    rig_run(&rig, 4500 * RIG_MS);
    assert_int_equal(rig.server.refused - refusals, 1);
    assert_int_equal(figure(up), 1);
    struct rig_query *q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_OK);
    rig.server.refuse_sqlstate = "57P03";
    rig_run(&rig, 3000 * RIG_MS);
    assert_true(rig.server.refused - refusals > 4);
    rig.server.refuse_sqlstate = NULL;
    rig_run(&rig, 510 * RIG_MS);
    assert_int_equal(figure(up), 2);
    end();
}

/* What the server wants is not allowed: tried slowly, told once. */
static void refused_by_us(size_t piece) {
    begin(2, 4, piece);
    rig.server.password = "secret"; /* in clear text, which is not allowed */
    rig_start(&rig);
    rig_run(&rig, 4000 * RIG_MS);
    assert_non_null(strstr(rig.down, "clear text"));
    assert_int_equal(rig.downs, 1);
    assert_int_equal(rig.connects, 2);
    rig.server.password = NULL;
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(rig.connects, 4);
    assert_int_equal(figure(up), 2);
    end();
}

/* Accepted, and then silence: given up at the connect timeout. */
static void silent_startup(size_t piece) {
    begin(1, 8, piece);
    rig.settings.connect_timeout_ns = 300 * RIG_MS;
    rig.hold_connects = true;
    rig_start(&rig);
    rig_turn(&rig);
    rig_run(&rig, 290 * RIG_MS);
    assert_int_equal(rig.closes, 0);
    rig_run(&rig, 20 * RIG_MS);
    assert_int_equal(rig.closes, 1);
    assert_int_equal(figure(connect_failures), 1);
    rig.hold_connects = false;
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(figure(up), 1);
    end();
}

/* The server restarts while many wait: all are answered, everything is up again. */
static void restart(size_t piece) {
    begin(2, 4, piece);
    rig.config.queue = 400;
    rig_start(&rig);
    rig_run(&rig, 2 * RIG_MS);
    for (int i = 0; i < 300; i++) {
        rig_submit(&rig, i % 3 == 0 ? RIG_WRITE : RIG_READ, 3000 * RIG_MS);
    }
    rig_run(&rig, 5 * RIG_MS);
    rig.unreachable = true;
    for (uint32_t i = 0; i < 2; i++) {
        pg_backend_die(rig_backend(&rig, i));
    }
    rig_run(&rig, 400 * RIG_MS);
    assert_int_equal(rig_pending(&rig), 0);
    rig.unreachable = false;
    rig_run(&rig, 600 * RIG_MS);
    assert_int_equal(figure(up), 2);
    struct rig_query *q = rig_submit(&rig, RIG_READ, 1000 * RIG_MS);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_OK);
    end();
}

int main(void) {
    static const struct scenario scenarios[] = {
        { "a query", a_query },
        { "a group is done as a whole or not at all", groups },
        { "an error is its own query's", isolation },
        { "a run shares its Sync, and its error is not the others'", shared_sync },
        { "the least work, the connection used last", least_work },
        { "a stuck head is passed by", stuck_head },
        { "the queue: in order, bounded", queue },
        { "describing holds nobody else up", describing },
        { "describing goes on elsewhere", describing_lost },
        { "26000, 0A000, 42P05 are healed once", healing },
        { "0A000, then another connection with the old plan", healing_elsewhere },
        { "0A000 without a reason to heal", unsupported },
        { "FATAL while idle", fatal_idle },
        { "FATAL with queries in flight", fatal_busy },
        { "lost twice", lost_twice },
        { "lost behind rows", lost_behind_rows },
        { "lost behind rows that can be taken back", lost_behind_revocable_rows },
        { "lost behind rows, and not sent again", not_behind_these_rows },
        { "never up, and then", never_up },
        { "refused", refused },
        { "refused by us", refused_by_us },
        { "silence at startup", silent_startup },
        { "a restart with many waiting", restart },
    };
    return SCENARIOS_RUN("pg_pool", scenarios);
}
