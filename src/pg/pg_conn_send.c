#include "mem/assert.h"
#include "mem/counter.h"
#include "pg/pg_conn_priv.h"

static uint32_t slots_free(const struct pg_conn *conn) {
    return conn->slot_mask + 1 - (conn->tail - conn->head);
}

bool pg_conn_room(const struct pg_conn *conn, uint32_t n) {
    return conn->queries + n <= conn->shared->inflight && n <= slots_free(conn);
}

/* A slot at the end of the FIFO, for what begins at `start` of all bytes. */
static void push(struct pg_conn *conn, struct pg_slot slot) {
    rm_assert(slots_free(conn) > 0);
    if (conn->head == conn->tail) {
        conn->head_since_ns = conn->shared->now_ns;
    }
    *conn_slot(conn, conn->tail++) = slot;
}

/* ----------------------------------------------------------------------------------------------------------- runs ---- */

static bool end_run(struct pg_conn *conn) {
    if (!pg_write_sync(conn->out)) {
        return false;
    }
    conn->written += PG_HEADER_BYTES;
    conn_slot(conn, conn->tail - 1)->flags |= SLOT_SYNC;
    counter_add(&conn->shared->syncs, 1);
    conn->open_run = false;
    return true;
}

bool pg_conn_flush(struct pg_conn *conn) {
    return !conn->open_run || conn->state != PG_CONN_READY || end_run(conn);
}

/* ---------------------------------------------------------------------------------------------------------- queries ---- */

/* The unnamed statement: Parse and Describe each time. */
static bool write_unnamed(struct pg_conn *conn, const struct pg_statement *statement) {
    counter_add(&conn->shared->parses, 1);
    return pg_write_parse(conn->out, SPAN(""), statement) && pg_write_describe(conn->out, 'S', SPAN(""));
}

/* Close, when its name may be in use, Parse, and Describe. */
static bool write_parse(struct pg_conn *conn, const struct pg_statement *statement, unsigned flags) {
    struct span name = span_of(statement->name, statement->name_len);
    counter_add(&conn->shared->parses, 1);
    return ((flags & SLOT_CLOSE) == 0 || pg_write_close(conn->out, 'S', name)) && pg_write_parse(conn->out, name, statement) &&
           ((flags & (SLOT_CHECK | SLOT_DESCRIBE)) == 0 || pg_write_describe(conn->out, 'S', name));
}

static bool is_prepared(const struct pg_conn *conn, uint16_t index) {
    return conn->shared->prepare && conn->planned[index] == conn->shared->plans[index].version;
}

/* What goes in front of Bind. Its table may have changed since the plan was made: the columns are looked at, but for those of
 * BEGIN and its like, which have none. */
static unsigned flags_before_bind(const struct pg_conn *conn, uint16_t index) {
    if (!conn->shared->prepare) {
        return SLOT_PARSE | SLOT_CHECK;
    }
    bool close = conn->planned[index] != 0 || bit_is_set(conn->close, index);
    bool internal = index >= conn->shared->statement_count - PG_INTERNAL_COUNT;
    return SLOT_PARSE | (close ? SLOT_CLOSE : 0) | (internal ? 0 : SLOT_CHECK);
}

static bool write_before_bind(struct pg_conn *conn, uint16_t index, unsigned flags) {
    const struct pg_statement *statement = &conn->shared->statements[index];
    return conn->shared->prepare ? write_parse(conn, statement, flags) : write_unnamed(conn, statement);
}

static enum slot_state first_state(unsigned flags) {
    if ((flags & SLOT_CLOSE) != 0) {
        return AWAIT_CLOSE;
    }
    return (flags & SLOT_PARSE) != 0 ? AWAIT_PARSE : AWAIT_BIND;
}

static void reset_result(struct pg_query *query) {
    query->status = PG_PENDING;
    query->rows = 0;
    query->affected = 0;
    query->sqlstate[0] = query->message[0] = query->constraint[0] = '\0';
    query->skipped = false;
    query->heal = false;
}

/* Appends one query and its slot. False: no block is free; what was appended of it is still there. */
static bool append_query(struct pg_conn *conn, struct pg_query *query, unsigned flags) {
    uint16_t index = query->statement;
    const struct pg_statement *statement = &conn->shared->statements[index];
    const struct pg_plan *plan = &conn->shared->plans[index];
    size_t before = conn->out->bytes;
    rm_assert(index < conn->shared->statement_count);
    rm_assert(plan->known);
    if (!is_prepared(conn, index)) {
        flags |= flags_before_bind(conn, index);
        if (!write_before_bind(conn, index, flags)) {
            return false;
        }
    }
    struct span name = span_of(statement->name, conn->shared->prepare ? statement->name_len : 0);
    if (!pg_write_execute(conn->out, name, query->params, plan->formats, (flags & SLOT_SYNC) != 0)) {
        return false;
    }
    counter_add(&conn->shared->syncs, (flags & SLOT_SYNC) != 0);
    push(conn, (struct pg_slot){ .query = query,
                                 .start = conn->written,
                                 .generation = query->generation,
                                 .plan_version = plan->version,
                                 .statement = index,
                                 .flags = (uint16_t)flags,
                                 .state = (uint8_t)first_state(flags) });
    if ((flags & SLOT_PARSE) != 0) {
        conn->planned[index] = conn->shared->prepare ? plan->version : 0;
        bit_clear(conn->close, index);
    }
    conn->written += conn->out->bytes - before;
    conn->queries++;
    reset_result(query);
    return true;
}

/* What an append that failed half-way has changed. */
struct before {
    struct chain_mark mark;
    uint64_t written;
    uint32_t tail, queries;
};

static struct before remember(const struct pg_conn *conn) {
    return (struct before){ chain_mark(conn->out), conn->written, conn->tail, conn->queries };
}

static void undo(struct pg_conn *conn, const struct before *before) {
    for (uint32_t i = before->tail; i != conn->tail; i++) {
        const struct pg_slot *slot = conn_slot(conn, i);
        if ((slot->flags & SLOT_PARSE) != 0) {
            conn_forget(conn, slot->statement, (slot->flags & SLOT_CLOSE) != 0);
        }
    }
    chain_rollback(conn->out, before->mark);
    conn->written = before->written;
    conn->tail = before->tail;
    conn->queries = before->queries;
}

static bool append_group(struct pg_conn *conn, struct pg_query *first) {
    struct before before = remember(conn);
    for (struct pg_query *query = first; query != NULL; query = query->group_next) {
        unsigned flags = SLOT_GROUP | (query->session != NULL ? SLOT_SESSION : 0);
        if (!append_query(conn, query, query->group_next != NULL ? flags : flags | SLOT_SYNC)) {
            undo(conn, &before);
            return false;
        }
    }
    return true;
}

/* One whose statement is not prepared yet. */
static bool append_unprepared(struct pg_conn *conn, struct pg_query *query, unsigned flags) {
    struct before before = remember(conn);
    if (!append_query(conn, query, flags)) {
        undo(conn, &before);
        return false;
    }
    return true;
}

bool pg_conn_query(struct pg_conn *conn, struct pg_query *query) {
    rm_assert(conn->state == PG_CONN_READY);
    rm_assert(pg_conn_room(conn, 1));
    bool single = query->group_next == NULL;
    bool joins = conn->shared->statements[query->statement].shared_sync && single && query->session == NULL && !query->skipped;
    if (conn->open_run && (!joins || conn->skipping) && !end_run(conn)) {
        return false;
    }
    if (!single) {
        return append_group(conn, query);
    }
    unsigned flags = (joins ? 0 : SLOT_SYNC) | (query->session != NULL ? SLOT_SESSION : 0);
    bool done = is_prepared(conn, query->statement) ? append_query(conn, query, flags) : append_unprepared(conn, query, flags);
    conn->open_run |= joins && done;
    return done;
}

/* ------------------------------------------------------------------------------------------------------- our own ---- */

bool pg_conn_describe(struct pg_conn *conn, uint16_t statement) {
    rm_assert(conn->state == PG_CONN_READY);
    rm_assert(statement < conn->shared->statement_count);
    if (slots_free(conn) == 0 || (conn->open_run && !end_run(conn))) {
        return false;
    }
    struct before before = remember(conn);
    size_t bytes = conn->out->bytes;
    unsigned flags = SLOT_DESCRIBE | SLOT_PARSE | SLOT_SYNC | (conn->shared->prepare ? SLOT_CLOSE : 0);
    if (!write_before_bind(conn, statement, flags) || !pg_write_sync(conn->out)) {
        undo(conn, &before);
        return false;
    }
    conn_forget(conn, statement, true);
    push(conn, (struct pg_slot){ .start = conn->written,
                                 .statement = statement,
                                 .flags = (uint16_t)flags,
                                 .state = (uint8_t)first_state(flags) });
    conn->written += conn->out->bytes - bytes;
    counter_add(&conn->shared->describes, 1);
    return true;
}

bool pg_conn_ping(struct pg_conn *conn) {
    rm_assert(conn->state == PG_CONN_READY);
    if (slots_free(conn) == 0 || (conn->open_run && !end_run(conn)) || !pg_write_sync(conn->out)) {
        return false;
    }
    push(conn, (struct pg_slot){ .start = conn->written, .flags = SLOT_PING | SLOT_SYNC, .state = AWAIT_READY });
    conn->written += PG_HEADER_BYTES;
    return true;
}

void pg_conn_terminate(struct pg_conn *conn) {
    if (conn->out != NULL && pg_write_terminate(conn->out)) {
        conn->written += PG_HEADER_BYTES;
    }
}

/* ------------------------------------------------------------------------------------------------------------ COPY ---- */

/* A server that waits for the data of a copy ignores Sync, and takes every other message for a mistake that ends the copy;
 * then it skips to the next Sync. (Since PostgreSQL 14 it ends the connection then.) So what was sent behind the COPY
 * decides which Sync is answered: the slots up to that one have it in common. When there is nothing but Syncs, CopyFail ends
 * the copy, and a Sync more is needed. */
bool conn_refuse_copy(struct pg_conn *conn) {
    uint32_t last = conn->cursor;
    for (uint32_t i = conn->cursor; i != conn->tail; i++) {
        struct pg_slot *slot = conn_slot(conn, i);
        if (i != conn->cursor && (slot->flags & SLOT_PING) == 0) {
            return true;
        }
        slot->flags &= (uint16_t)~SLOT_SYNC;
        last = i;
    }
    size_t before = conn->out->bytes;
    if (!pg_write_copy_fail(conn->out, "COPY FROM STDIN is not possible here") || !pg_write_sync(conn->out)) {
        return false;
    }
    conn->written += conn->out->bytes - before;
    conn_slot(conn, last)->flags |= SLOT_SYNC;
    conn->open_run = false;
    return true;
}

/* ---------------------------------------------------------------------------------------------------------- leaving ---- */

void pg_conn_leave(struct pg_conn *conn, struct pg_query *query) {
    for (uint32_t i = conn->head; i != conn->tail; i++) {
        struct pg_slot *slot = conn_slot(conn, i);
        if (slot->query == query) {
            slot->query = NULL;
            return;
        }
    }
}

struct pg_query *pg_conn_drop(struct pg_conn *conn, size_t unsent, bool *sent) {
    rm_assert(conn->state == PG_CONN_BROKEN);
    while (conn->head != conn->tail) {
        struct pg_slot *slot = conn_slot(conn, conn->head++);
        if (slot->query != NULL) {
            rm_assert(slot->query->generation == slot->generation);
            *sent = slot->start + unsent < conn->written;
            return slot->query;
        }
    }
    conn->ending = conn->cursor = conn->tail;
    conn->queries = 0;
    conn->open_run = false;
    return NULL;
}

struct pg_query *pg_conn_head(const struct pg_conn *conn) {
    return conn->head != conn->tail ? conn_slot(conn, conn->head)->query : NULL;
}
