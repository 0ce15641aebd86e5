#include "pg_pool_rig.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rig_fault(struct rig *rig, const char *format, ...) {
    if (rig->fault[0] != '\0') {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(rig->fault, sizeof rig->fault, format, args);
    va_end(args);
}

/* ------------------------------------------------------------------------------------------------------ statements ---- */

static const uint32_t key_types[] = { 23 };
static const struct pg_server_column key_columns[] = { { "id", 23 } };

#define KEYED .types = key_types, .type_count = 1
#define RETURNING .columns = key_columns, .column_count = 1
static const struct pg_server_statement application[RIG_INTERNALS_AT] = {
    [RIG_READ] = { .sql = "read", KEYED, RETURNING, .rows = 1 },
    [RIG_WRITE] = { .sql = "write", KEYED, RETURNING, .rows = 1, .tag = "INSERT 0", .counted = true, .write = true },
    [RIG_SHARED] = { .sql = "shared", KEYED, RETURNING, .rows = 1 },
    [RIG_SHARED_BAD] = { .sql = "shared bad", KEYED, RETURNING, .what = PG_DO_ERROR, .sqlstate = "22012" },
    [RIG_ERROR] = { .sql = "error", KEYED, RETURNING, .what = PG_DO_ERROR, .rows = 1, .sqlstate = "22012" },
    [RIG_SLOW] = { .sql = "slow", KEYED, RETURNING, .rows = 1, .sleep_ns = 400 * RIG_MS },
    [RIG_SLOW_WRITE] = { .sql = "slow write", KEYED, RETURNING, .rows = 1, .tag = "INSERT 0", .counted = true, .write = true,
                         .sleep_ns = 400 * RIG_MS },
    [RIG_UNPARSED] = { .sql = "unparsed", KEYED, RETURNING, .parse_sqlstate = "42601" },
    [RIG_MANY] = { .sql = "many", KEYED, RETURNING, .rows = 3 },
    [RIG_DEFERRED] = { .sql = "deferred", KEYED, .what = PG_DO_DEFERRED, .sqlstate = "23503", .tag = "INSERT 0",
                       .counted = true, .write = true },
    [RIG_LEAK] = { .sql = "leak", KEYED, .what = PG_DO_BEGIN },
    [RIG_SET] = { .sql = "set", KEYED, .tag = "SET" },
};
static const bool read_only[RIG_INTERNALS_AT] = {
    [RIG_READ] = true, [RIG_SHARED] = true, [RIG_SHARED_BAD] = true, [RIG_SLOW] = true, [RIG_MANY] = true,
};

/* Tables that are altered and altered back, so that one who looked at them in between has other columns: of other bytes, in
 * another format, more of them. */
void rig_alternate(struct rig *rig) {
    static const struct pg_server_column wide[] = { { "id", 20 } }, exact[] = { { "id", 1700 } };
    static const struct pg_server_column more[] = { { "id", 23 }, { "more", 1700 } };
    static const struct pg_server_shape shapes[] = { { key_columns, 1 }, { wide, 1 },        { key_columns, 1 },
                                                     { exact, 1 },       { key_columns, 1 }, { more, 2 } };
    for (uint32_t i = 0; i < RIG_INTERNALS_AT; i++) {
        if (rig->table[i].column_count > 0) {
            rig->table[i].shapes = shapes;
            rig->table[i].shape_count = sizeof shapes / sizeof *shapes;
        }
    }
}

static enum pg_server_do internal_does(uint32_t which) {
    return which == PG_COMMIT ? PG_DO_COMMIT : which == PG_ROLLBACK ? PG_DO_ROLLBACK : PG_DO_BEGIN;
}

static void make_statements(struct rig *rig) {
    memcpy(rig->table, application, sizeof application);
    for (uint32_t i = 0; i < RIG_INTERNALS_AT; i++) {
        rig->statements[i] = (struct pg_statement){
            .label = span_text(application[i].sql), .sql = span_text(application[i].sql), .types = key_types, .type_count = 1,
            .read_only = read_only[i], .shared_sync = i == RIG_SHARED || i == RIG_SHARED_BAD,
        };
        pg_statement_make(&rig->statements[i]);
    }
    pg_statements_internal(rig->statements + RIG_INTERNALS_AT);
    for (uint32_t i = RIG_INTERNALS_AT; i < RIG_INTERNALS_AT + PG_INTERNAL_COUNT; i++) {
        struct span sql = rig->statements[i].sql;
        snprintf(rig->sql[i], sizeof rig->sql[i], "%.*s", (int)sql.len, sql.data);
        rig->table[i] = (struct pg_server_statement){ .sql = rig->sql[i], .what = internal_does(i - RIG_INTERNALS_AT) };
    }
}

static void executed(void *arg, const struct pg_server_statement *statement, int64_t key) {
    struct rig *rig = arg;
    if (statement->type_count > 0) {
        assert(key >= 0 && (uint32_t)key < rig->query_count);
        rig->queries[key].executed++;
    }
}

static void committed(void *arg, const struct pg_server_statement *statement, int64_t key) {
    (void)statement;
    ((struct rig *)arg)->queries[key].committed++;
}

/* ------------------------------------------------------------------------------------------------------------ life ---- */

void rig_init(struct rig *rig, uint32_t connections, uint32_t inflight, uint64_t seed) {
    memset(rig, 0, sizeof *rig);
    make_statements(rig);
    pg_server_init(&rig->server, rig->table, RIG_INTERNALS_AT + PG_INTERNAL_COUNT, seed);
    rig->server.arg = rig;
    rig->server.executed = executed;
    rig->server.committed = committed;
    rig->random.state = seed ^ 0x5bd1e995;
    rig->now_ns = 1000 * RIG_MS;
    char why[PG_SETTINGS_WHY_BYTES];
    pg_settings_default(&rig->settings);
    bool read = pg_settings_read(&rig->settings, SPAN("postgres://me@host/name"), why) &&
                pg_settings_finish(&rig->settings, "me", why);
    assert(read);
    rig->config = (struct pg_config){
        .settings = &rig->settings, .statements = rig->statements, .seed = seed,
        .statement_count = RIG_INTERNALS_AT + PG_INTERNAL_COUNT,
    };
    pg_config_default(&rig->config);
    rig->config.connections = connections;
    rig->config.inflight = inflight;
    rig->config.message_bytes = 2048;
}

static void *aligned(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert(memory != NULL);
    memset(memory, 0, bytes);
    return memory;
}

void rig_start(struct rig *rig) {
    rig->block_memory = aligned(pool_bytes(BLOCK_BYTES, RIG_BLOCKS));
    pool_init(&rig->blocks, "blocks", rig->block_memory, BLOCK_BYTES, RIG_BLOCKS);
    rig->pool_memory = aligned(pg_pool_bytes(&rig->config));
    for (uint32_t i = 0; i < rig->config.connections; i++) {
        chain_init(&rig->conns[i].out, &rig->blocks);
    }
    pg_pool_init(&rig->pool, &rig->config, rig->pool_memory, rig->now_ns);
}

static void check_end(struct rig *rig) {
    const struct pg_figures *f = &rig->pool.figures;
    uint64_t done = 0;
    for (uint32_t i = 0; i <= PG_TOO_LARGE; i++) {
        done += f->done[i];
    }
    uint32_t left_early = 0;
    for (uint32_t i = 0; i < rig->query_count; i++) {
        if (rig->queries[i].pending) {
            rig_fault(rig, "query %u was never told", i);
        }
        left_early += rig->queries[i].left;
    }
    if (done > f->submitted || done + left_early < f->submitted || f->waiting != 0) {
        rig_fault(rig, "%d submitted, %d done, %u left, %d waiting", (int)f->submitted, (int)done, left_early,
                  (int)f->waiting);
    }
}

void rig_feed(struct rig *rig) {
    while (rig->taken_count > 0) {
        pool_give(&rig->blocks, rig->taken[--rig->taken_count]);
    }
}

void rig_starve(struct rig *rig, uint32_t left) {
    rig_feed(rig);
    while (rig->blocks.free_count > left) {
        rig->taken[rig->taken_count++] = pool_take(&rig->blocks);
    }
}

void rig_release(struct rig *rig) {
    rig_feed(rig);
    check_end(rig);
    for (uint32_t i = 0; i < rig->config.connections; i++) {
        chain_reset(&rig->conns[i].out);
    }
    if (rig->blocks.free_count != RIG_BLOCKS) {
        rig_fault(rig, "%u blocks are missing", RIG_BLOCKS - rig->blocks.free_count);
    }
    if (rig->server.fault[0] != '\0') {
        rig_fault(rig, "the server: %s", rig->server.fault);
    }
    pg_server_release(&rig->server);
    free(rig->block_memory);
    free(rig->pool_memory);
}

/* ---------------------------------------------------------------------------------------------------------- events ---- */

static void connect_now(struct rig *rig, uint32_t conn) {
    static const uint8_t nonce[PG_NONCE_RANDOM_BYTES] = { 1, 2, 3 };
    struct rig_conn *c = &rig->conns[conn];
    c->closing = false;
    c->wants = rig->hold_connects;
    if (c->wants) {
        return;
    }
    rig->connects++;
    c->backend = rig->unreachable ? NULL : pg_server_accept(&rig->server);
    if (c->backend == NULL) {
        pg_pool_closed(&rig->pool, conn, "nobody listens");
        return;
    }
    c->open = true;
    pg_pool_connected(&rig->pool, conn, &c->out, nonce);
}

static void close_now(struct rig *rig, uint32_t conn) {
    struct rig_conn *c = &rig->conns[conn];
    rig->closes++;
    bool broken = rig->pool.members[conn].pg.state == PG_CONN_BROKEN;
    if (c->open && !broken && !c->rude) { /* Terminate */
        while (c->out.head != NULL) {
            struct block *b = c->out.head;
            pg_backend_input(c->backend, span_of(b->data + b->start, b->len - b->start));
            chain_consume(&c->out, b->len - b->start);
        }
    }
    if (c->open && broken && !rig->silent_losses) {
        pg_pool_lost(&rig->pool, conn, c->out.bytes, "closed");
    }
    if (c->backend != NULL) {
        pg_backend_close(c->backend);
    }
    c->backend = NULL;
    c->open = c->rude = c->wants = false;
    chain_reset(&c->out);
    pg_pool_closed(&rig->pool, conn, NULL);
}

static void cancel_later(struct rig *rig, const struct pg_event *event) {
    assert(rig->cancel_count < PG_CONNS_MAX);
    struct rig_cancel *cancel = &rig->cancels[rig->cancel_count++];
    cancel->conn = event->conn;
    cancel->len = event->cancel.len;
    cancel->at_ns = rig->now_ns + (rig->lazy ? random_below(&rig->random, 20) * RIG_MS : 0);
    memcpy(cancel->bytes, event->cancel.data, event->cancel.len);
}

/* Rows of earlier runs don't count. */
static void look_at_run(struct rig *rig, struct rig_query *query) {
    if (query->run != query->q.run) {
        if (!query->q.revocable || query->told == 0) {
            rig_fault(rig, "query %d takes back its %u rows", query->key, query->told);
        }
        query->run = query->q.run;
        query->told = 0;
    }
}

/* What the first column of a row is, read by its plan. */
static int64_t key_in(const struct pg_row *row) {
    int64_t key = -1;
    struct span text;
    char digits[24] = "";
    if (row->plan->columns[0].oid == PG_NUMERIC && pg_row_text(row, 0, &text) && text.len < sizeof digits) {
        memcpy(digits, text.data, text.len);
        return strtoll(digits, NULL, 10);
    }
    return pg_row_int(row, 0, &key) ? key : -1;
}

static void take_row(struct rig *rig, const struct pg_event *event) {
    struct rig_query *query = (struct rig_query *)event->query;
    int64_t key = key_in(&event->row);
    if (!query->pending || query->left) {
        rig_fault(rig, "a row for a query that is not pending");
    } else if (key != query->key) {
        rig_fault(rig, "query %d has the row of %d", query->key, (int)key);
    }
    look_at_run(rig, query);
    query->told++;
    if (rig->on_row != NULL) {
        rig->on_row(rig, query);
    }
}

static void take_done(struct rig *rig, const struct pg_event *event) {
    struct rig_query *query = (struct rig_query *)event->query;
    if (!query->pending || query->left || query->q.status == PG_PENDING) {
        rig_fault(rig, "query %d is told again, or as pending", query->key);
    }
    query->pending = false;
    look_at_run(rig, query);
    if (query->told != query->q.rows) {
        rig_fault(rig, "query %d has %d rows, %u were told", query->key, (int)query->q.rows, query->told);
    }
    if (rig->on_done != NULL) {
        rig->on_done(rig, query);
    }
}

static void start_job(struct rig *rig, uint32_t conn) {
    struct rig_conn *c = &rig->conns[conn];
    if (c->job || !c->open || rig->pool.members[conn].pg.auth.job.kind != PG_JOB_MD5) {
        rig_fault(rig, "a job where none can be");
    }
    c->job = true;
    c->job_ns = rig->now_ns + rig->job_ns;
}

static bool drain(struct rig *rig);

/* What a helper would compute, but for the hash: that is "md5" and the password's length. */
static void end_job(struct rig *rig, uint32_t conn) {
    struct rig_conn *c = &rig->conns[conn];
    struct pg_auth_job *job = &rig->pool.members[conn].pg.auth.job;
    if (!c->job || c->job_ns > rig->now_ns) {
        return;
    }
    c->job = false;
    job->failed = rig->failed_jobs;
    snprintf(job->md5, sizeof job->md5, "md5%d", (int)strlen(job->password));
    if (!c->closing) {
        pg_pool_job_done(&rig->pool, conn);
        (void)drain(rig);
    }
}

/* True when a query is over: its owner may have asked for something. */
static bool drain(struct rig *rig) {
    struct pg_event event;
    bool over = false;
    while (pg_pool_next(&rig->pool, &event)) {
        switch (event.type) {
        case PG_EVENT_NONE: rig_fault(rig, "an event of no type"); break;
        case PG_EVENT_JOB: start_job(rig, event.conn); break;
        case PG_EVENT_ROW: take_row(rig, &event); break;
        case PG_EVENT_DONE:
            take_done(rig, &event);
            over = true;
            break;
        case PG_EVENT_CONNECT: connect_now(rig, event.conn); break;
        case PG_EVENT_CLOSE: rig->conns[event.conn].closing = true; break;
        case PG_EVENT_CANCEL: cancel_later(rig, &event); break;
        case PG_EVENT_UP: rig->ups++; break;
        case PG_EVENT_DOWN:
            rig->downs++;
            snprintf(rig->down, sizeof rig->down, "%.*s", (int)event.text.len, event.text.data);
            break;
        case PG_EVENT_NOTICE: rig->notices++; break;
        }
    }
    return over;
}

/* --------------------------------------------------------------------------------------------------------- network ---- */

static size_t piece_of(struct rig *rig, size_t n) {
    if (rig->lazy) {
        return 1 + random_below(&rig->random, (uint32_t)(n < 400 ? n : 400));
    }
    return rig->piece == 0 || rig->piece > n ? n : rig->piece;
}

static bool rests(struct rig *rig) {
    return rig->lazy && random_below(&rig->random, 4) == 0;
}

static void from_server(struct rig *rig, uint32_t conn) {
    struct rig_conn *c = &rig->conns[conn];
    char bytes[512];
    while (c->open && !c->closing && !c->rude && !rests(rig)) {
        struct span out = pg_backend_output(c->backend);
        if (out.len == 0) {
            break;
        }
        size_t n = piece_of(rig, out.len);
        n = n < sizeof bytes ? n : sizeof bytes;
        memcpy(bytes, out.data, n);
        pg_backend_sent(c->backend, n);
        pg_pool_input(&rig->pool, conn, span_of(bytes, n));
        (void)drain(rig);
        memset(bytes, 0xa5, sizeof bytes);
    }
    if (c->open && !c->closing && (c->rude || pg_backend_over(c->backend))) {
        pg_pool_lost(&rig->pool, conn, c->out.bytes, c->rude ? "reset" : "the server has closed the connection");
        (void)drain(rig);
    }
}

static void to_server(struct rig *rig, uint32_t conn) {
    struct rig_conn *c = &rig->conns[conn];
    bool all = true;
    while (c->open && !c->closing && c->out.head != NULL) {
        if (rests(rig)) {
            all = false;
            break;
        }
        struct block *b = c->out.head;
        size_t n = piece_of(rig, b->len - b->start);
        pg_backend_input(c->backend, span_of(b->data + b->start, n));
        chain_consume(&c->out, n);
    }
    if (c->open && !c->closing && all && rig->taken_count == 0 && pg_backend_unsynced(c->backend) && !pg_backend_busy(c->backend)) {
        rig_fault(rig, "connection %u waits without a Sync", conn);
    }
}

static void cancels(struct rig *rig) {
    for (uint32_t i = 0; i < rig->cancel_count && !rig->deaf_cancels;) {
        struct rig_cancel cancel = rig->cancels[i];
        if (cancel.at_ns > rig->now_ns) {
            i++;
            continue;
        }
        rig->cancels[i] = rig->cancels[--rig->cancel_count];
        struct pg_backend *backend = pg_server_accept(&rig->server);
        if (backend != NULL) {
            pg_backend_input(backend, span_of(cancel.bytes, cancel.len));
            pg_backend_close(backend);
        }
        pg_pool_cancelled(&rig->pool, cancel.conn);
        (void)drain(rig);
    }
}

void rig_turn(struct rig *rig) {
    rig->turns++;
    pg_pool_turn(&rig->pool, rig->now_ns);
    (void)drain(rig);
    pg_server_turn(&rig->server, rig->now_ns);
    cancels(rig);
    for (uint32_t i = 0; i < rig->config.connections; i++) {
        if (rig->conns[i].wants && !rig->hold_connects && !rig->conns[i].closing) {
            connect_now(rig, i);
            (void)drain(rig);
        }
        end_job(rig, i);
        from_server(rig, i);
        if (rig->conns[i].closing && !rig->conns[i].job && !rests(rig)) {
            rig->conns[i].closing = false;
            close_now(rig, i);
            (void)drain(rig);
        }
    }
    do { /* what is over may have its owner ask for more, or close a session */
        pg_pool_flush(&rig->pool);
    } while (drain(rig));
    for (uint32_t i = 0; i < rig->config.connections; i++) {
        to_server(rig, i);
    }
}

void rig_run(struct rig *rig, uint64_t ns) {
    uint64_t end_ns = rig->now_ns + ns;
    for (; rig->now_ns < end_ns; rig->now_ns += RIG_MS) {
        rig_turn(rig);
    }
    rig_turn(rig);
}

/* --------------------------------------------------------------------------------------------------------- queries ---- */

static struct rig_query *new_query(struct rig *rig, uint16_t statement, uint64_t timeout_ns) {
    assert(rig->query_count < RIG_QUERIES_MAX);
    struct rig_query *query = &rig->queries[rig->query_count];
    query->key = (int32_t)rig->query_count++;
    char *p = pg_put_u16(query->params, 1);
    p = pg_put_u16(p, 1);
    p = pg_put_u16(p, 1);
    p = pg_put_u32(p, 4);
    p = pg_put_u32(p, (uint32_t)query->key);
    query->q.params = span_of(query->params, (size_t)(p - query->params));
    query->q.statement = statement;
    query->q.deadline_ns = timeout_ns != 0 ? rig->now_ns + timeout_ns : 0;
    return query;
}

struct rig_query *rig_query(struct rig *rig, enum rig_statement statement, uint64_t timeout_ns) {
    return new_query(rig, (uint16_t)statement, timeout_ns);
}

void rig_send(struct rig *rig, struct rig_query *first) {
    for (struct pg_query *q = &first->q; q != NULL; q = q->group_next) {
        ((struct rig_query *)q)->pending = true;
    }
    pg_pool_submit(&rig->pool, &first->q);
}

struct rig_query *rig_submit(struct rig *rig, enum rig_statement statement, uint64_t timeout_ns) {
    struct rig_query *query = rig_query(rig, statement, timeout_ns);
    rig_send(rig, query);
    return query;
}

struct rig_query *rig_in(struct rig *rig, struct pg_session *session, enum rig_statement statement, uint64_t timeout_ns) {
    struct rig_query *query = rig_query(rig, statement, timeout_ns);
    query->q.session = session;
    rig_send(rig, query);
    return query;
}

struct rig_query *rig_end(struct rig *rig, struct pg_session *session, enum pg_internal which, uint64_t timeout_ns) {
    struct rig_query *query = new_query(rig, (uint16_t)(RIG_INTERNALS_AT + which), timeout_ns);
    query->q.params = span_of("\0\0\0", 4);
    query->q.session = session;
    rig_send(rig, query);
    return query;
}

/* What leaves is overwritten: nobody may look at it any more. */
void rig_leave(struct rig *rig, struct rig_query *query) {
    pg_pool_leave(&rig->pool, &query->q);
    query->left = true;
    query->pending = false;
    memset(&query->q, 0xa5, sizeof query->q);
}

struct pg_backend *rig_backend(struct rig *rig, uint32_t conn) {
    return rig->conns[conn].open ? rig->conns[conn].backend : NULL;
}

uint32_t rig_pending(const struct rig *rig) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < rig->query_count; i++) {
        n += rig->queries[i].pending;
    }
    return n;
}
