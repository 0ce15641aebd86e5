/* The pool against a simulated server: nobody waits while a connection is free, and none is given up without need. Each
 * scenario with the network's bytes whole, one by one, and in pieces of seven. */
#include <stdio.h>

#include "pg_pool_scenarios.h"

static void start(void) {
    start_knowing((enum rig_statement[]){ RIG_READ, RIG_WRITE, RIG_ERROR, RIG_SLOW }, 4, 500 * RIG_MS);
}

static void up(uint32_t connections, uint32_t inflight, size_t piece) {
    begin(connections, inflight, piece);
    start();
}

static void group(struct rig_query *a, struct rig_query *b) {
    a->q.group_next = &b->q;
    rig_send(&rig, a);
}

/* -------------------------------------------------------------------------------------------------------- sessions ---- */

/* A connection was kept free for a session that does not come any more: closed, or out of time. */
static void not_reserved_for_ever(size_t piece, bool close) {
    up(1, 8, piece);
    struct rig_query *slow = rig_submit(&rig, RIG_SLOW, TIMEOUT);
    pg_pool_open(&rig.pool, &rig.sessions[0], PG_BEGIN, rig.now_ns + 100 * RIG_MS);
    rig_run(&rig, 50 * RIG_MS);
    assert_true(rig.pool.members[0].reserved);
    if (close) {
        pg_pool_close(&rig.pool, &rig.sessions[0]);
    }
    rig_run(&rig, 500 * RIG_MS);
    assert_status(slow, PG_OK);
    struct rig_query *q = rig_submit(&rig, RIG_READ, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_OK);
    if (!close) {
        pg_pool_close(&rig.pool, &rig.sessions[0]);
    }
    end();
}

static void closed_while_reserved(size_t piece) {
    not_reserved_for_ever(piece, true);
}

static void late_while_reserved(size_t piece) {
    not_reserved_for_ever(piece, false);
}

/* The only connection is a session's, and what it does not know is the second of a group. */
static void unknown_in_a_group(size_t piece) {
    up(1, 8, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_query(&rig, RIG_WRITE, TIMEOUT), *b = rig_query(&rig, RIG_MANY, 0);
    a->q.session = b->q.session = s;
    group(a, b);
    rig_run(&rig, 10 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(b, PG_OK);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 5 * RIG_MS);
    end();
}

/* Its owner goes, with a COMMIT that was never sent: rolled back, the connection stays. */
static void unsent_commit(size_t piece) {
    up(2, 8, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_SLOW, TIMEOUT), *c = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    rig_leave(&rig, a);
    rig_leave(&rig, c);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(figure(kills), 0);
    assert_int_equal(figure(up), 2);
    assert_int_equal(rig.pool.exclusive, 0);
    end();
}

/* Likewise, with a COMMIT that the server skips, because what is before it in its group fails. */
static void skipped_commit(size_t piece) {
    up(2, 8, piece);
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    struct rig_query *b = rig_query(&rig, RIG_ERROR, TIMEOUT), *c = rig_query(&rig, RIG_WRITE, 0);
    c->q.statement = RIG_INTERNALS_AT + PG_COMMIT;
    c->q.params = span_of("\0\0\0", 4);
    b->q.session = c->q.session = s;
    group(b, c);
    rig_leave(&rig, b);
    rig_leave(&rig, c);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 10 * RIG_MS);
    assert_int_equal(a->committed, 0);
    assert_int_equal(figure(kills), 0);
    assert_int_equal(figure(up), 2);
    assert_int_equal(rig.pool.exclusive, 0);
    end();
}

/* What runs there takes longer than the rollback may: cancelled, so that the server does not run it to its end. */
static void slow_rollback(size_t piece) {
    begin(2, 8, piece);
    rig.config.grace_ns = 100 * RIG_MS;
    start();
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_SLOW, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    rig_leave(&rig, a);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 150 * RIG_MS);
    assert_int_equal(figure(cancels), 1);
    assert_int_equal(rig.server.cancelled, 1);
    assert_int_equal(figure(kills), 0);
    assert_int_equal(rig.pool.exclusive, 0);
    assert_int_equal(figure(up), 2);
    end();
}

/* Likewise, on a server that answers nothing: closed. */
static void no_rollback(size_t piece) {
    begin(2, 8, piece);
    rig.config.grace_ns = 100 * RIG_MS;
    start();
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    pg_backend_stall(rig_backend(&rig, s->conn), true);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 180 * RIG_MS);
    assert_int_equal(figure(kills), 0);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(figure(kills), 1);
    assert_int_equal(rig.pool.exclusive, 0);
    end();
}

/* The queue is full of others: who has a connection for himself does not have to wait there. */
static void full_queue(size_t piece) {
    begin(2, 2, piece);
    rig.config.queue = 4;
    start();
    struct pg_session *s = open_session(0);
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *slow[2], *waiting[5];
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    for (int i = 0; i < 2; i++) {
        slow[i] = rig_submit(&rig, RIG_SLOW, TIMEOUT);
    }
    for (int i = 0; i < 5; i++) {
        waiting[i] = rig_submit(&rig, RIG_READ, 3 * TIMEOUT);
    }
    struct rig_query *c = rig_end(&rig, s, PG_COMMIT, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(c, PG_OK);
    assert_int_equal(a->committed, 1);
    assert_status(waiting[4], PG_BUSY);
    rig_run(&rig, 1000 * RIG_MS);
    assert_status(slow[1], PG_OK);
    assert_status(waiting[3], PG_OK);
    pg_pool_close(&rig.pool, s);
    end();
}

/* The first in line is not known, and will not be soon: when it goes, the next has its turn. */
static void next_in_line(size_t piece, bool leave) {
    up(2, 8, piece);
    struct pg_session *s = open_session(0);
    rig_run(&rig, RIG_MS);
    pg_backend_stall(rig_backend(&rig, 1 - s->conn), true);
    struct rig_query *other = rig_submit(&rig, RIG_MANY, TIMEOUT); /* it is described for somebody else, there */
    rig_run(&rig, RIG_MS);
    struct rig_query *a = rig_in(&rig, s, RIG_MANY, 20 * RIG_MS), *b = rig_in(&rig, s, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 10 * RIG_MS);
    assert_status(b, PG_PENDING);
    if (leave) {
        rig_leave(&rig, a);
    }
    rig_run(&rig, 15 * RIG_MS);
    assert_status(b, PG_OK);
    rig_leave(&rig, other);
    pg_backend_stall(rig_backend(&rig, 1 - s->conn), false);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 5 * RIG_MS);
    end();
}

static void next_of_who_left(size_t piece) {
    next_in_line(piece, true);
}

static void next_of_who_was_late(size_t piece) {
    next_in_line(piece, false);
}

/* ------------------------------------------------------------------------------------------------------- no memory ---- */

/* What finds no block goes when there is one again, with nothing else happening. */
static void no_block(size_t piece) {
    up(3, 8, piece);
    struct pg_session *s = open_session(0), *t = open_session(1);
    struct rig_query *b = rig_in(&rig, t, RIG_WRITE, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(b, PG_OK);
    rig_starve(&rig, 0);
    pg_pool_close(&rig.pool, t); /* with a rollback */
    struct rig_query *a = rig_in(&rig, s, RIG_WRITE, TIMEOUT), *q = rig_submit(&rig, RIG_WRITE, TIMEOUT);
    struct rig_query *unknown = rig_submit(&rig, RIG_MANY, TIMEOUT), *late = rig_submit(&rig, RIG_READ, 20 * RIG_MS);
    rig_run(&rig, 50 * RIG_MS);
    assert_status(late, PG_BUSY);
    assert_int_equal(a->executed + q->executed, 0);
    assert_int_equal(rig.pool.exclusive, 2);
    rig_feed(&rig);
    rig_run(&rig, 10 * RIG_MS);
    assert_status(a, PG_OK);
    assert_status(q, PG_OK);
    assert_status(unknown, PG_OK);
    assert_int_equal(rig.pool.exclusive, 1);
    assert_int_equal(figure(kills), 0);
    pg_pool_close(&rig.pool, s);
    rig_run(&rig, 5 * RIG_MS);
    end();
}

/* A block for the first of a group, none for the second: nothing of it is sent. */
static void half_a_block(size_t piece) {
    up(1, 8, piece);
    struct rig_query *a = rig_query(&rig, RIG_WRITE, TIMEOUT), *b = rig_query(&rig, RIG_WRITE, 0);
    static char large[BLOCK_BYTES];
    memcpy(large, b->params, b->q.params.len);
    pg_put_u32(large + 6, BLOCK_ROOM - 100);
    b->q.params = span_of(large, BLOCK_ROOM - 100 + 10);
    rig_starve(&rig, 1);
    group(a, b);
    rig_run(&rig, 5 * RIG_MS);
    assert_int_equal(a->executed, 0);
    assert_int_equal(figure(in_flight), 0);
    rig_leave(&rig, b);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(a, PG_OK);
    end();
}

/* A run whose bytes have left, and no block for its Sync. */
static void no_block_for_a_sync(size_t piece) {
    up(1, 8, piece);
    struct rig_query *known = rig_submit(&rig, RIG_SHARED, TIMEOUT);
    rig_run(&rig, 5 * RIG_MS);
    struct rig_query *write = rig_submit(&rig, RIG_WRITE, TIMEOUT), *q = rig_submit(&rig, RIG_SHARED, TIMEOUT);
    struct block *block = rig.conns[0].out.head;
    pg_backend_input(rig_backend(&rig, 0), span_of(block->data + block->start, block->len - block->start));
    chain_consume(&rig.conns[0].out, rig.conns[0].out.bytes);
    rig_starve(&rig, 0);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(known, PG_OK);
    assert_status(write, PG_OK);
    assert_status(q, PG_PENDING);
    rig_feed(&rig);
    rig_run(&rig, 5 * RIG_MS);
    assert_status(q, PG_OK);
    assert_int_equal(figure(kills), 0);
    end();
}

/* None when a connection is made: it is tried again. */
static void no_block_to_start(size_t piece) {
    begin(2, 8, piece);
    rig_start(&rig);
    rig_starve(&rig, 0);
    rig_run(&rig, 5 * RIG_MS);
    assert_int_equal(figure(up), 0);
    assert_string_equal(rig.down, "no memory for the startup");
    rig_feed(&rig);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(figure(up), 2);
    end();
}

/* ------------------------------------------------------------------------------------------------------------ jobs ---- */

static void begin_with_job(size_t piece) {
    begin(2, 8, piece);
    strcpy(rig.settings.password, "secret");
    rig.settings.has_password = true;
    rig.settings.connect_timeout_ns = 100 * RIG_MS;
    rig.server.password = "md56";
    rig.server.md5 = true;
    rig.job_ns = 20 * RIG_MS;
}

/* Hashing takes its time; nobody waits for it but who needs it. */
static void a_job(size_t piece) {
    begin_with_job(piece);
    rig_start(&rig);
    rig_run(&rig, 18 * RIG_MS);
    assert_true(rig.conns[0].job && rig.conns[1].job);
    assert_int_equal(figure(up), 0);
    struct rig_query *q = rig_submit(&rig, RIG_READ, TIMEOUT);
    rig_run(&rig, 15 * RIG_MS);
    assert_int_equal(figure(up), 2);
    assert_status(q, PG_OK);
    rig.server.password = "other";
    pg_backend_die(rig_backend(&rig, 0));
    rig_run(&rig, 150 * RIG_MS);
    assert_non_null(strstr(rig.down, "28P01"));
    assert_int_equal(figure(up), 1);
    end();
}

/* The server goes, our time is up, we stop: the memory is the job's until it is done, and it has no consequence. */
static void a_job_for_nothing(size_t piece) {
    begin_with_job(piece);
    rig_start(&rig);
    rig_run(&rig, 5 * RIG_MS);
    for (uint32_t i = 0; i < 2; i++) {
        pg_backend_die(rig_backend(&rig, i));
    }
    rig_run(&rig, 2 * RIG_MS);
    assert_true(rig.conns[0].closing && rig.conns[0].job);
    rig_run(&rig, 600 * RIG_MS);
    assert_int_equal(figure(up), 2);
    rig.job_ns = 150 * RIG_MS;
    pg_backend_die(rig_backend(&rig, 0));
    while (!rig.conns[0].job) {
        rig_run(&rig, RIG_MS);
    }
    rig_run(&rig, 110 * RIG_MS);
    assert_true(rig.conns[0].closing && rig.conns[0].job); /* given up at 100 ms */
    rig.job_ns = 20 * RIG_MS;
    rig_run(&rig, 600 * RIG_MS);
    assert_int_equal(figure(up), 2);
    pg_backend_die(rig_backend(&rig, 0));
    while (!rig.conns[0].job) {
        rig_run(&rig, RIG_MS);
    }
    pg_pool_drain(&rig.pool);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(figure(up), 0);
    assert_int_equal(rig.pool.members[0].phase, 0);
    end();
}

static void a_job_fails(size_t piece) {
    begin_with_job(piece);
    rig.failed_jobs = true;
    rig_start(&rig);
    rig_run(&rig, 3000 * RIG_MS);
    assert_string_equal(rig.down, "hashing for authentication failed");
    assert_int_equal(rig.connects, 2);
    rig.failed_jobs = false;
    rig_run(&rig, 4000 * RIG_MS);
    assert_int_equal(figure(up), 2);
    end();
}

int main(void) {
    static const struct scenario scenarios[] = {
        { "reserved for a session that was closed", closed_while_reserved },
        { "reserved for a session that is too late", late_while_reserved },
        { "a statement that is not known, within a group of a session", unknown_in_a_group },
        { "a COMMIT that was not sent", unsent_commit },
        { "a COMMIT that is skipped", skipped_commit },
        { "a rollback behind a slow query", slow_rollback },
        { "a rollback that is not answered", no_rollback },
        { "a session beside a full queue", full_queue },
        { "next in line: the first has left", next_of_who_left },
        { "next in line: the first was late", next_of_who_was_late },
        { "no block is free", no_block },
        { "no block for half of a group", half_a_block },
        { "no block for a Sync", no_block_for_a_sync },
        { "no block for a startup", no_block_to_start },
        { "a job of authentication", a_job },
        { "a job for nothing", a_job_for_nothing },
        { "a job that fails", a_job_fails },
    };
    return SCENARIOS_RUN("pg_pool_waits", scenarios);
}
