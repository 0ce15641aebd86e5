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

/* Close, when its name may be in use, and Parse. */
static bool write_parse(struct pg_conn *conn, const struct pg_statement *statement, bool close) {
    struct span name = span_of(statement->name, statement->name_len);
    counter_add(&conn->shared->parses, 1);
    return (!close || pg_write_close(conn->out, 'S', name)) && pg_write_parse(conn->out, name, statement);
}

/* What goes in front of Bind. False: no block is free. */
static bool write_before_bind(struct pg_conn *conn, uint16_t index, unsigned *flags) {
    const struct pg_statement *statement = &conn->shared->statements[index];
    if (!conn->shared->prepare) {
        *flags |= SLOT_PARSE | SLOT_CHECK;
        return write_unnamed(conn, statement);
    }
    bool close = bit_is_set(conn->close, index);
    *flags |= close ? SLOT_PARSE | SLOT_CLOSE : SLOT_PARSE;
    if (!write_parse(conn, statement, close)) {
        return false;
    }
    bit_set(conn->prepared, index);
    bit_clear(conn->close, index);
    return true;
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
    bool named = conn->shared->prepare;
    rm_assert(index < conn->shared->statement_count);
    rm_assert(plan->known);
    if (!named || !bit_is_set(conn->prepared, index)) {
        if (!write_before_bind(conn, index, &flags)) {
            return false;
        }
    }
    struct span name = span_of(statement->name, named ? statement->name_len : 0);
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
    uint64_t prepared[PG_STATEMENTS_MAX / 64], close[PG_STATEMENTS_MAX / 64];
};

static void remember(const struct pg_conn *conn, struct before *before) {
    before->mark = chain_mark(conn->out);
    before->written = conn->written;
    before->tail = conn->tail;
    before->queries = conn->queries;
    memcpy(before->prepared, conn->prepared, sizeof before->prepared);
    memcpy(before->close, conn->close, sizeof before->close);
}

static void undo(struct pg_conn *conn, const struct before *before) {
    chain_rollback(conn->out, before->mark);
    conn->written = before->written;
    conn->tail = before->tail;
    conn->queries = before->queries;
    memcpy(conn->prepared, before->prepared, sizeof before->prepared);
    memcpy(conn->close, before->close, sizeof before->close);
}

static bool append_group(struct pg_conn *conn, struct pg_query *first) {
    struct before before;
    remember(conn, &before);
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
    struct before before;
    remember(conn, &before);
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
    bool prepared = conn->shared->prepare && bit_is_set(conn->prepared, query->statement);
    bool done = prepared ? append_query(conn, query, flags) : append_unprepared(conn, query, flags);
    conn->open_run |= joins && done;
    return done;
}

/* ------------------------------------------------------------------------------------------------------- our own ---- */

static bool write_describe(struct pg_conn *conn, uint16_t index) {
    const struct pg_statement *statement = &conn->shared->statements[index];
    if (!conn->shared->prepare) {
        return write_unnamed(conn, statement) && pg_write_sync(conn->out);
    }
    bit_set(conn->prepared, index);
    bit_clear(conn->close, index);
    return write_parse(conn, statement, true) &&
           pg_write_describe(conn->out, 'S', span_of(statement->name, statement->name_len)) && pg_write_sync(conn->out);
}

bool pg_conn_describe(struct pg_conn *conn, uint16_t statement) {
    rm_assert(conn->state == PG_CONN_READY);
    rm_assert(statement < conn->shared->statement_count);
    if (slots_free(conn) == 0 || (conn->open_run && !end_run(conn))) {
        return false;
    }
    struct before before;
    remember(conn, &before);
    size_t bytes = conn->out->bytes;
    if (!write_describe(conn, statement)) {
        undo(conn, &before);
        return false;
    }
    unsigned flags = SLOT_DESCRIBE | SLOT_PARSE | SLOT_SYNC | (conn->shared->prepare ? SLOT_CLOSE : 0);
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
