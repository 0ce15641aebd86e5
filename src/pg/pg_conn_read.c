#include "mem/assert.h"
#include "pg/pg_conn_priv.h"

/* The statement's name behind what is out of order. */
[[gnu::cold]] static void break_in(struct pg_conn *conn, const struct pg_slot *slot, char type, const char *why) {
    conn_break_at(conn, type, why);
    if (slot != NULL && (slot->flags & SLOT_PING) == 0) {
        struct words words = { conn->why, sizeof conn->why, (uint32_t)strlen(conn->why) };
        words_text(&words, ", statement ");
        words_span(&words, conn->shared->statements[slot->statement].label);
    }
}

[[gnu::cold]] static void out_of_order(struct pg_conn *conn, const struct pg_slot *slot, char type) {
    static const char *const awaited[] = {
        [AWAIT_CLOSE] = "came where CloseComplete was due",
        [AWAIT_PARSE] = "came where ParseComplete was due",
        [AWAIT_PARAMETERS] = "came where ParameterDescription was due",
        [AWAIT_DESCRIPTION] = "came where RowDescription or NoData was due",
        [AWAIT_BIND] = "came where BindComplete was due",
        [AWAIT_ROWS] = "came where rows or CommandComplete were due",
        [AWAIT_COPY] = "came where CopyData or CopyDone was due",
        [AWAIT_COMPLETE] = "came where CommandComplete was due",
        [AWAIT_ERROR] = "came where the error was due that ends a copy",
        [AWAIT_READY] = "came where ReadyForQuery was due",
    };
    const char *why = slot == NULL ? "came when nothing was asked for" : awaited[slot->state];
    if (slot != NULL && type == 'Z' && (conn->skipping || slot->state == AWAIT_READY)) {
        why = "came before Sync was sent";
    } else if (slot != NULL && conn->skipping) {
        why = "came between an error and ReadyForQuery";
    }
    break_in(conn, slot, type, why);
}

/* The slot that is answered, when it awaits `state`; else NULL, and the connection is BROKEN. */
static inline struct pg_slot *expect(struct pg_conn *conn, char type, enum slot_state state) {
    struct pg_slot *slot = conn_current(conn);
    if (slot == NULL || slot->state != state || conn->skipping) {
        out_of_order(conn, slot, type);
        return NULL;
    }
    return slot;
}

/* -------------------------------------------------------------------------------------------- Close, Parse, Describe ---- */

[[gnu::noinline]] static void take_parsed(struct pg_conn *conn) {
    struct pg_slot *slot = expect(conn, '1', AWAIT_PARSE);
    if (slot != NULL) {
        slot->state = (slot->flags & (SLOT_DESCRIBE | SLOT_CHECK)) != 0 ? AWAIT_PARAMETERS : AWAIT_BIND;
    }
}

[[gnu::noinline]] static void take_parameters(struct pg_conn *conn, struct span body) {
    uint32_t count;
    struct pg_slot *slot = expect(conn, 't', AWAIT_PARAMETERS);
    if (slot == NULL) {
        return;
    }
    if (!pg_read_parameters(body, &count)) {
        break_in(conn, slot, 't', "is malformed");
        return;
    }
    slot->state = AWAIT_DESCRIPTION;
}

static bool same_column(const struct pg_column *column, const struct pg_column_text *text) {
    return column->oid == text->oid && span_equal(span_of(column->name, column->name_len), text->name);
}

/* The plan is that of these columns; NULL: of none. */
static bool same_columns(const struct pg_plan *plan, struct span body, bool *malformed) {
    size_t cursor = 0;
    uint32_t columns = 0, count = 0;
    bool same = true;
    struct pg_column_text column;
    if (body.data == NULL) {
        return plan->column_count == 0;
    }
    for (; pg_read_column(body, &cursor, &columns, &column); count++) {
        same = same && count < plan->column_count && same_column(&plan->columns[count], &column);
    }
    *malformed = body.len == 0 || cursor != body.len || count != columns;
    return same && count == plan->column_count;
}

/* By which the rows of a query are read that shows the columns of the plan. It was bound before they were known, maybe by an
 * older plan: what matters is that it asked for the formats of this one. */
static uint32_t version_for(const struct pg_slot *slot, const struct pg_plan *plan) {
    bool fits = plan->known && (int32_t)(slot->plan_version - plan->formats_since) >= 0;
    return fits ? plan->version : 0;
}

/* Of a statement that was described, or prepared for a query: its table may have changed since the plan was made, which is made
 * anew then. But a query that was bound before it was made does not know better. False: they are malformed. */
static bool take_columns(struct pg_conn *conn, struct pg_slot *slot, struct span body) {
    struct pg_plan *plan = &conn->shared->plans[slot->statement];
    bool checks = (slot->flags & SLOT_CHECK) != 0, malformed = false;
    bool same = same_columns(plan, body, &malformed) && plan->known;
    if (!malformed && !same && checks && slot->plan_version != plan->version) {
        conn_rebind(conn, conn->cursor, 0);
        conn_unprepare(conn, conn->cursor, true);
        return true;
    }
    if (!malformed && !same && !pg_plan_make(plan, body, &malformed) && !malformed && !checks) {
        conn_fail(conn, slot, "54000", "the columns of its result need more memory than a plan has");
    }
    if (checks) {
        conn_rebind(conn, conn->cursor, version_for(slot, plan));
    }
    if (conn->shared->prepare && !conn_parses_behind(conn, conn->cursor)) {
        conn->planned[slot->statement] = plan->version;
    }
    return !malformed;
}

/* RowDescription, or NoData: its body is NULL. */
[[gnu::noinline]] static void take_description(struct pg_conn *conn, char type, struct span body) {
    struct pg_slot *slot = expect(conn, type, AWAIT_DESCRIPTION);
    if (slot == NULL) {
        return;
    }
    if (!take_columns(conn, slot, body)) {
        break_in(conn, slot, type, "is malformed");
        return;
    }
    slot->state = (slot->flags & SLOT_CHECK) != 0 ? AWAIT_BIND : AWAIT_READY;
}

/* ----------------------------------------------------------------------------------------------------------- rows ---- */

/* True: event has a row. */
static bool take_row(struct pg_conn *conn, struct span body, struct pg_conn_event *event) {
    struct pg_slot *slot = expect(conn, 'D', AWAIT_ROWS);
    if (slot == NULL) {
        return false;
    }
    const struct pg_plan *plan = &conn->shared->plans[slot->statement];
    if (slot->plan_version != plan->version) {
        slot->flags |= SLOT_MISREAD;
        return false;
    }
    enum pg_row_result result = pg_row_read(&event->row, plan, body, conn->shared->at);
    if (result != PG_ROW_OK) {
        break_in(conn, slot, 'D', result == PG_ROW_MALFORMED ? "is malformed" : "has other columns than were described");
        return false;
    }
    struct pg_query *query = slot->query;
    if (query == NULL || query->discard) {
        return false;
    }
    rm_assert(query->generation == slot->generation);
    query->rows++;
    event->type = PG_CONN_ROW;
    event->query = query;
    return true;
}

/* Of a RowDescription: nobody will read a row that is described so. It may be one that has changed: it is asked for again. */
static bool take_large_columns(struct pg_conn *conn) {
    struct pg_slot *slot = expect(conn, 'T', AWAIT_DESCRIPTION);
    if (slot == NULL) {
        return false;
    }
    struct pg_plan *plan = &conn->shared->plans[slot->statement];
    if ((slot->flags & SLOT_CHECK) == 0) {
        conn_fail(conn, slot, "54000", "the description of its columns is larger than what is taken");
        slot->state = AWAIT_READY;
        return true;
    }
    if (slot->plan_version == plan->version) {
        pg_plan_forget(plan);
    }
    conn_rebind(conn, conn->cursor, 0);
    conn_unprepare(conn, conn->cursor, true);
    slot->state = AWAIT_BIND;
    return true;
}

static bool take_large_row(struct pg_conn *conn) {
    struct pg_slot *slot = expect(conn, 'D', AWAIT_ROWS);
    if (slot != NULL && slot->query != NULL) {
        pg_query_discard(slot->query);
    }
    return slot != NULL;
}

bool conn_take_large(struct pg_conn *conn, char type) {
    struct pg_slot *slot;
    switch (type) {
    case 'A': return true;
    case 'D': return take_large_row(conn);
    case 'T': return take_large_columns(conn);
    case 'd': return expect(conn, 'd', AWAIT_COPY) != NULL;
    case 't':
        if ((slot = expect(conn, 't', AWAIT_PARAMETERS)) != NULL) {
            slot->state = AWAIT_DESCRIPTION;
        }
        return slot != NULL;
    default: conn_break_at(conn, type, "is larger than what is taken"); return false;
    }
}

/* ------------------------------------------------------------------------------------------------------------ tags ---- */

static bool first_word(struct span tag, struct span word) {
    return span_equal(span_first(tag, word.len), word) && (tag.len == word.len || tag.data[word.len] == ' ');
}

/* Prepared statements are gone: which ones, the tag does not say. Closing what is not there is no mistake. */
static void forget_prepared(struct pg_conn *conn) {
    for (uint32_t i = 0; i < conn->shared->statement_count; i++) {
        conn_forget(conn, (uint16_t)i, conn->planned[i] != 0);
    }
}

/* A command that has counted no rows: it may have changed the session for all that come behind it. */
[[gnu::noinline]] static void take_tag(struct pg_conn *conn, struct pg_slot *slot, struct span tag) {
    static const struct span words[] = { SPAN("SET"),     SPAN("RESET"),      SPAN("LISTEN"),  SPAN("UNLISTEN"),
                                         SPAN("PREPARE"), SPAN("DEALLOCATE"), SPAN("DISCARD"), SPAN("LOAD") };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        conn->tainted |= first_word(tag, words[i]) && !conn->shared->statements[slot->statement].local;
    }
    if (first_word(tag, SPAN("DEALLOCATE")) || first_word(tag, SPAN("DISCARD"))) {
        forget_prepared(conn);
    }
    if ((slot->flags & SLOT_SESSION) == 0) {
        conn->tainted |= first_word(tag, SPAN("BEGIN")) || first_word(tag, SPAN("START"));
    }
    uint32_t commit = conn->shared->statement_count - PG_INTERNAL_COUNT + PG_COMMIT;
    if (slot->statement == commit && span_equal(tag, SPAN("ROLLBACK"))) {
        slot->fate = FATE_ROLLED_BACK;
    }
}

static void take_complete(struct pg_conn *conn, struct span body) {
    struct pg_complete complete;
    struct pg_slot *slot = conn_current(conn);
    if (slot != NULL && slot->state == AWAIT_COMPLETE) {
        slot->state = AWAIT_ROWS;
    }
    slot = expect(conn, 'C', AWAIT_ROWS);
    if (slot == NULL) {
        return;
    }
    if (!pg_read_complete(body, &complete)) {
        break_in(conn, slot, 'C', "is malformed");
        return;
    }
    if (slot->query != NULL) {
        slot->query->affected = complete.affected;
    }
    slot->state = AWAIT_READY;
    char last = complete.tag.len > 0 ? complete.tag.data[complete.tag.len - 1] : '\0';
    if (last < '0' || last > '9') {
        take_tag(conn, slot, complete.tag);
    }
}

[[gnu::noinline]] static void take_empty(struct pg_conn *conn) {
    struct pg_slot *slot = expect(conn, 'I', AWAIT_ROWS);
    if (slot != NULL) {
        conn_fail(conn, slot, "42601", "the statement is empty");
        slot->state = AWAIT_READY;
    }
}

/* ----------------------------------------------------------------------------------------------------------- COPY ---- */

[[gnu::noinline]] static void take_copy(struct pg_conn *conn, char type, struct span body) {
    struct pg_slot *slot = expect(conn, type, AWAIT_ROWS);
    if (slot == NULL) {
        return;
    }
    if (!pg_read_copy(body)) {
        break_in(conn, slot, type, "is malformed");
        return;
    }
    bool in = type == 'G';
    conn_fail(conn, slot, "0A000", in ? "COPY FROM STDIN is not possible here" : "COPY TO STDOUT is not possible here");
    slot->state = in ? AWAIT_ERROR : AWAIT_COPY;
    if (in && !conn_refuse_copy(conn)) {
        conn_break(conn, "no memory is free to refuse a COPY");
    }
}

/* ---------------------------------------------------------------------------------------------------------- ready ---- */

/* True: event tells of the first that is over. */
static bool take_ready(struct pg_conn *conn, struct span body, struct pg_conn_event *event) {
    char status;
    struct pg_slot *slot = conn_current(conn);
    if (!pg_read_ready(body, &status)) {
        conn_break_at(conn, 'Z', "is malformed");
        return false;
    }
    uint32_t end = conn->cursor;
    if (conn->skipping) {
        while (end != conn->tail && (conn_slot(conn, end)->flags & SLOT_SYNC) == 0) {
            end++;
        }
        slot = end != conn->tail ? conn_slot(conn, end) : NULL;
    }
    if (slot == NULL || (slot->flags & SLOT_SYNC) == 0 || (!conn->skipping && slot->state != AWAIT_READY)) {
        out_of_order(conn, conn_current(conn), 'Z');
        return false;
    }
    if (conn->skipping || status != 'I') {
        conn_settle(conn, end, status);
    }
    conn->status = status;
    conn->skipping = false;
    conn->cursor = conn->ending = end + 1;
    return conn_deliver(conn, event);
}

bool conn_take(struct pg_conn *conn, char type, struct span body, struct pg_conn_event *event) {
    struct pg_slot *slot;
    switch (type) {
    case '2':
        if ((slot = expect(conn, '2', AWAIT_BIND)) != NULL) {
            slot->state = AWAIT_ROWS;
        }
        return false;
    case 'D': return take_row(conn, body, event);
    case 'C': take_complete(conn, body); return false;
    case 'Z': return take_ready(conn, body, event);
    case 'E': conn_take_error(conn, body); return false;
    case 'N': return conn_take_notice(conn, body, event);
    case 'S': conn_take_parameter(conn, body); return false;
    case 'A': conn_take_notification(conn, body); return false;
    case '1': take_parsed(conn); return false;
    case '3':
        if ((slot = expect(conn, '3', AWAIT_CLOSE)) != NULL) {
            slot->state = AWAIT_PARSE;
        }
        return false;
    case 't': take_parameters(conn, body); return false;
    case 'T': take_description(conn, 'T', body); return false;
    case 'n': take_description(conn, 'n', span_of(NULL, 0)); return false;
    case 'I': take_empty(conn); return false;
    case 'G':
    case 'H': take_copy(conn, type, body); return false;
    case 'd': (void)expect(conn, 'd', AWAIT_COPY); return false;
    case 'c':
        if ((slot = expect(conn, 'c', AWAIT_COPY)) != NULL) {
            slot->state = AWAIT_COMPLETE;
        }
        return false;
    default: out_of_order(conn, conn_current(conn), type); return false;
    }
}
