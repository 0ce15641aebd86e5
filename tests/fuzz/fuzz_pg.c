/* Any bytes of a server, cut anywhere, between any queries: no crash; every query is over exactly once, and none that has
 * left is heard of again; rows come for pending queries only; every invariant holds; what the client sends is whole
 * messages; no block leaks, with plenty of them and with hardly any.
 *
 * An input is: a byte of flags; a byte whose lower 5 bits say how many steps there are; a step is a byte that says what the
 * client does, and a byte that says how many bytes of the server's come then; and the bytes that the server says. */
#include <stdio.h>
#include <stdlib.h>

#include "mem/assert.h"
#include "pg_conn_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { STEPS_MAX = 31, PENDING = 32 /* queries, used round and round */ };

enum {
    FLAG_STARTING = 1, /* the server's bytes begin with its startup; else everything is up */
    FLAG_UNNAMED = 2,  /* prepare=off */
    FLAG_SMALL = 4,    /* a short carry */
    FLAG_HARDLY = 8,   /* hardly any blocks */
    FLAG_SLOW = 16,    /* what is sent stays in the chain until the end of a piece */
};

static struct pg_rig rig;
static bool pending[PENDING];
static uint32_t next_query;

/* What was sent, which is whole messages when somebody looks. */
static void take_output(void) {
    char head[5];
    size_t have = 0, skip = 0;
    static bool started;
    if (rig.conn.written == rig.out.bytes) {
        started = false; /* the first packet has no type */
    }
    for (const struct block *block = rig.out.head; block != NULL; block = block->next) {
        for (size_t at = block->start; at < block->len;) {
            if (skip > 0) {
                size_t n = block->len - at < skip ? block->len - at : skip;
                at += n;
                skip -= n;
                continue;
            }
            head[have++] = block->data[at++];
            size_t wanted = started ? 5 : 4;
            if (have == wanted) {
                uint32_t length = pg_get_u32(head + wanted - 4);
                rm_assert(length >= 4);
                skip = length - 4;
                started = true;
                have = 0;
            }
        }
    }
    rm_assert(skip == 0);
    rm_assert(have == 0);
    chain_consume(&rig.out, rig.out.bytes);
}

static uint32_t index_of(const struct pg_query *query) {
    rm_assert(query >= rig.queries);
    rm_assert(query < rig.queries + PENDING);
    uint32_t i = (uint32_t)(query - rig.queries);
    rm_assert(pending[i]);
    return i;
}

static void take_event(const struct pg_conn_event *event) {
    struct span field;
    switch (event->type) {
    case PG_CONN_ROW:
        (void)index_of(event->query);
        rm_assert(!event->query->discard);
        for (uint32_t i = 0; i < event->row.plan->column_count; i++) {
            volatile char last = 0;
            if (pg_row_field(&event->row, i, &field) && field.len > 0) {
                last = field.data[field.len - 1]; /* the sanitizer looks at it */
            }
            (void)last;
        }
        break;
    case PG_CONN_QUERY:
        pending[index_of(event->query)] = false;
        rm_assert(event->query->skipped || event->query->status != PG_PENDING);
        break;
    case PG_CONN_JOB:
        memset(rig.conn.auth.job.md5, 'x', sizeof rig.conn.auth.job.md5 - 1);
        pg_conn_job_done(&rig.conn);
        break;
    case PG_CONN_UP:
        for (uint32_t i = 0; i < RIG_STATEMENTS; i++) {
            pg_rig_know(&rig, i);
        }
        break;
    case PG_CONN_DESCRIBED: rm_assert(event->statement < RIG_STATEMENTS); break;
    case PG_CONN_NOTICE: rm_assert(event->error.sqlstate.len == 5); break;
    case PG_CONN_MORE:
    case PG_CONN_DOWNED: break;
    }
}

static void feed(const uint8_t *bytes, size_t len, unsigned flags) {
    char *copy = malloc(len + 1); /* of its own: a view that is kept too long is seen */
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, bytes, len);
    struct span input = span_of(copy, len);
    struct pg_conn_event event;
    do {
        pg_conn_next(&rig.conn, &input, &event);
        take_event(&event);
        pg_rig_check(&rig);
    } while (event.type != PG_CONN_MORE && event.type != PG_CONN_DOWNED);
    rm_assert(input.len == 0);
    free(copy);
    if ((flags & FLAG_SLOW) == 0) {
        take_output();
    }
}

static struct pg_query *prepare(uint32_t what) {
    struct pg_query *query = &rig.queries[next_query++ % PENDING];
    if (pending[query - rig.queries]) {
        return NULL;
    }
    *query = (struct pg_query){ .statement = (uint16_t)(what % RIG_STATEMENTS),
                                .params = SPAN("\0\0\0\0"),
                                .generation = query->generation + 1 };
    return rig.plans[query->statement].known ? query : NULL;
}

static void submit(struct pg_query *first) {
    uint32_t n = 0;
    for (struct pg_query *query = first; query != NULL; query = query->group_next) {
        n++;
    }
    if (n == 0 || !pg_conn_room(&rig.conn, n) || !pg_conn_query(&rig.conn, first)) {
        return;
    }
    for (struct pg_query *query = first; query != NULL; query = query->group_next) {
        pending[query - rig.queries] = true;
    }
}

static void submit_group(uint32_t what) {
    struct pg_query *first = prepare(what), *second = prepare(what / 2), *third = prepare(what / 3);
    if (first != NULL && second != NULL) {
        first->group_next = second;
        second->group_next = third;
        submit(first);
    }
}

/* The upper 5 bits say which, the lower 3 what. */
static void act(uint8_t step) {
    uint32_t which = step >> 3;
    struct pg_query *query = NULL;
    if (rig.conn.state != PG_CONN_READY) {
        return;
    }
    bool enough = true;
    switch (step & 7) {
    case 0:
    case 1: submit(prepare(which)); break;
    case 2: submit_group(which); break;
    case 3:
        query = prepare(which);
        if (query != NULL) {
            query->session = rig.session;
            submit(query);
        }
        break;
    case 4: enough = pg_conn_flush(&rig.conn); break;
    case 5:
        pg_conn_leave(&rig.conn, &rig.queries[which]);
        pending[which] = false;
        break;
    case 6: pg_query_discard(&rig.queries[which]); break;
    default: /* what has no room is not asked for */
        (void)(which == 31 ? pg_conn_ping(&rig.conn) : pg_conn_describe(&rig.conn, (uint16_t)(which % RIG_STATEMENTS)));
        break;
    }
    if (!enough) {
        pg_conn_lost(&rig.conn, "no block is free");
    }
    pg_rig_check(&rig);
}

static void finish(void) {
    bool sent;
    pg_conn_lost(&rig.conn, "over");
    feed((const uint8_t *)"", 0, 0);
    for (struct pg_query *query; (query = pg_conn_drop(&rig.conn, 10, &sent)) != NULL;) {
        pending[index_of(query)] = false;
    }
    for (uint32_t i = 0; i < PENDING; i++) {
        rm_assert(!pending[i]);
    }
    rm_assert(pg_conn_idle(&rig.conn));
    pg_rig_close(&rig);
    rm_assert(rig.pool.free_count == rig.pool.count);
}

static void begin(unsigned flags) {
    static const uint8_t random[PG_NONCE_RANDOM_BYTES];
    bool small = (flags & FLAG_SMALL) != 0, hardly = (flags & FLAG_HARDLY) != 0;
    pg_rig_open(&rig, 16, small ? PG_CONN_MESSAGE_BYTES : 16384, hardly ? 1 : 16, (flags & FLAG_UNNAMED) == 0);
    strcpy(rig.settings.password, "secret");
    rig.settings.has_password = true;
    if ((flags & FLAG_STARTING) == 0) {
        pg_rig_up(&rig);
        take_output();
        return;
    }
    bool started = pg_conn_start(&rig.conn, &rig.out, random);
    rm_assert(started);
    take_output();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static bool made;
    if (!made) {
        pg_rig_make(&rig);
        made = true;
    }
    if (len < 2) {
        return 0;
    }
    unsigned flags = data[0];
    size_t steps = data[1] & STEPS_MAX, at = 2 + 2 * steps;
    if (at > len) {
        return 0;
    }
    begin(flags);
    next_query = 0;
    memset(pending, 0, sizeof pending);
    for (size_t i = 0; i < steps; i++) {
        act(data[2 + 2 * i]);
        size_t n = data[3 + 2 * i] < len - at ? data[3 + 2 * i] : len - at;
        feed(data + at, n, flags);
        at += n;
    }
    feed(data + at, len - at, flags);
    finish();
    return 0;
}
