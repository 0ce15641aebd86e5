#include "mem/assert.h"
#include "pg/pg_conn_priv.h"

void conn_copy_text(char *out, uint32_t room, struct span text) {
    struct span first = text.len < room ? text : pg_text_cut(text, room - 1);
    if (first.len > 0) {
        memcpy(out, first.data, first.len);
    }
    out[first.len] = '\0';
}

/* --------------------------------------------------------------------------------------------------------- errors ---- */

/* What goes wrong with a slot that is no query's is kept for its end. */
static void set_error(struct pg_conn *conn, struct pg_slot *slot, const struct pg_error *error) {
    slot->fate = FATE_FAILED;
    if ((slot->flags & SLOT_DESCRIBE) != 0) {
        conn->failure.statement = UINT16_MAX; /* what was there is of another */
        conn_copy_text(conn->failure.sqlstate, PG_SQLSTATE_BYTES, error->sqlstate);
        conn_copy_text(conn->failure.message, PG_MESSAGE_BYTES, error->message);
        return;
    }
    struct pg_query *query = slot->query;
    if (query != NULL) {
        conn_copy_text(query->sqlstate, PG_SQLSTATE_BYTES, error->sqlstate);
        conn_copy_text(query->message, PG_MESSAGE_BYTES, error->message);
        conn_copy_text(query->constraint, PG_CONSTRAINT_BYTES, error->constraint);
    }
}

void conn_fail(struct pg_conn *conn, struct pg_slot *slot, const char *sqlstate, const char *message) {
    struct pg_error error = { .sqlstate = span_text(sqlstate), .message = span_text(message) };
    set_error(conn, slot, &error);
}

static bool parses(const struct pg_slot *slot) {
    return (slot->flags & SLOT_PARSE) != 0 && slot->state <= AWAIT_PARSE;
}

bool conn_parses_behind(const struct pg_conn *conn, uint32_t index) {
    uint16_t statement = conn_slot(conn, index)->statement;
    for (uint32_t i = index + 1; i != conn->tail; i++) {
        const struct pg_slot *slot = conn_slot(conn, i);
        if (slot->statement == statement && (slot->flags & SLOT_PARSE) != 0) {
            return true;
        }
    }
    return false;
}

void conn_unprepare(struct pg_conn *conn, uint32_t index, bool close) {
    if (!conn_parses_behind(conn, index)) {
        conn_forget(conn, conn_slot(conn, index)->statement, close);
    }
}

void conn_rebind(struct pg_conn *conn, uint32_t index, uint32_t version) {
    uint16_t statement = conn_slot(conn, index)->statement;
    for (uint32_t i = index; i != conn->tail; i++) {
        struct pg_slot *slot = conn_slot(conn, i);
        if (slot->statement != statement || (slot->flags & SLOT_PING) != 0) {
            continue;
        }
        if (i != index && (slot->flags & SLOT_PARSE) != 0) {
            return;
        }
        slot->plan_version = version;
    }
}

/* The slot at `index` has not prepared its statement, or it is not known with which columns. Those behind it find nothing, or
 * something else than they count on. */
static void miss_parse(struct pg_conn *conn, uint32_t index, bool close) {
    conn_unprepare(conn, index, close);
    conn_rebind(conn, index, 0);
}

static void heal(struct pg_slot *slot) {
    if (slot->query != NULL && (slot->flags & SLOT_SESSION) == 0) {
        slot->query->heal = true;
    }
}

/* The statement itself is wrong: it will be so when it is tried again. */
static bool is_hopeless(struct span sqlstate) {
    return sqlstate.data[0] == '4' && sqlstate.data[1] == '2' && !span_equal(sqlstate, SPAN("42P05"));
}

/* A Parse failed: those who were sent behind it, counting on it, will hear that there is no such statement. */
static void take_parse_error(struct pg_conn *conn, struct pg_slot *slot, const struct pg_error *error) {
    bool exists = span_equal(error->sqlstate, SPAN("42P05"));
    miss_parse(conn, conn->cursor, exists || slot->state == AWAIT_CLOSE);
    if (exists) {
        heal(slot);
    } else if (is_hopeless(error->sqlstate)) {
        conn->failure.until = conn->tail;
        conn->failure.statement = slot->statement;
        conn_copy_text(conn->failure.sqlstate, PG_SQLSTATE_BYTES, error->sqlstate);
        conn_copy_text(conn->failure.message, PG_MESSAGE_BYTES, error->message);
    }
}

/* It is told why there is none. */
static void take_missing_statement(struct pg_conn *conn, struct pg_slot *slot) {
    const struct pg_failure *failure = &conn->failure;
    bool known = failure->statement == slot->statement && (int32_t)(failure->until - conn->cursor) > 0;
    conn_unprepare(conn, conn->cursor, false);
    if (known) {
        conn_fail(conn, slot, failure->sqlstate, failure->message);
    } else {
        heal(slot);
    }
}

static void take_changed_result(struct pg_conn *conn, struct pg_slot *slot, bool named) {
    struct pg_plan *plan = &conn->shared->plans[slot->statement];
    if (named) {
        conn_unprepare(conn, conn->cursor, true);
    }
    if (slot->plan_version == plan->version) {
        pg_plan_forget(plan);
    }
    heal(slot);
}

/* The formats that were asked for may not be for its columns. It has not run, or may run again. */
static bool is_bound_wrong(const struct pg_conn *conn, const struct pg_slot *slot) {
    bool read_only = conn->shared->statements[slot->statement].read_only;
    bool harmless = slot->state == AWAIT_BIND || (slot->state > AWAIT_BIND && read_only);
    return harmless && slot->plan_version != conn->shared->plans[slot->statement].version;
}

/* What the error says about prepared statements. */
static void learn(struct pg_conn *conn, struct pg_slot *slot, const struct pg_error *error) {
    bool named = conn->shared->prepare, missing = span_equal(error->sqlstate, SPAN("26000"));
    if ((slot->flags & SLOT_PING) != 0 || slot->state == AWAIT_READY) {
        return;
    }
    if (!parses(slot) && slot->state < AWAIT_BIND) {
        miss_parse(conn, conn->cursor, true);
    }
    if (parses(slot)) {
        take_parse_error(conn, slot, error);
    } else if (missing && slot->state <= AWAIT_BIND && (slot->flags & SLOT_DESCRIBE) == 0) {
        take_missing_statement(conn, slot);
    } else if (span_equal(error->sqlstate, SPAN("0A000")) && span_equal(error->routine, SPAN("RevalidateCachedQuery"))) {
        take_changed_result(conn, slot, named);
    } else if (is_bound_wrong(conn, slot)) {
        heal(slot);
    }
}

/* Parses of slots that are skipped are so, too. */
static void unprepare_skipped(struct pg_conn *conn) {
    for (uint32_t i = conn->cursor; i != conn->tail; i++) {
        const struct pg_slot *slot = conn_slot(conn, i);
        if (parses(slot) && i != conn->cursor) {
            miss_parse(conn, i, (slot->flags & SLOT_CLOSE) != 0);
        }
        if ((slot->flags & SLOT_SYNC) != 0) {
            return;
        }
    }
}

void conn_take_error(struct pg_conn *conn, struct span body) {
    struct pg_error error;
    if (!conn_read_error(conn, body, &error)) {
        conn_break_at(conn, 'E', "is malformed");
        return;
    }
    if (error.fatal) {
        conn_break_error(conn, &error);
        return;
    }
    struct pg_slot *slot = conn_current(conn);
    if (slot == NULL || conn->skipping || (slot->state == AWAIT_READY && (slot->flags & SLOT_SYNC) == 0)) {
        conn_break_at(conn, 'E', conn->skipping ? "came behind another" : "came when nothing was asked for");
        return;
    }
    bool ended = error.sqlstate.data[0] == '4' && error.sqlstate.data[1] == '0'; /* the transaction: deadlocks and the like */
    if (slot->state == AWAIT_READY || ended) {
        slot->flags |= SLOT_UNDOES;
    }
    if (slot->state != AWAIT_ERROR) {
        set_error(conn, slot, &error);
    }
    learn(conn, slot, &error);
    unprepare_skipped(conn);
    conn->skipping = true;
}

/* ------------------------------------------------------------------------------------------------------------ ends ---- */

/* The fate of the slot at `i`, when that at the cursor has failed under the same Sync. */
static enum slot_fate fate_beside(const struct pg_conn *conn, uint32_t i) {
    const struct pg_slot *failed = conn_slot(conn, conn->cursor), *slot = conn_slot(conn, i);
    if ((slot->flags & (SLOT_GROUP | SLOT_SESSION)) != 0) {
        return FATE_ROLLED_BACK;
    }
    bool before = (int32_t)(i - conn->cursor) < 0;
    return before && (failed->flags & SLOT_UNDOES) == 0 ? (enum slot_fate)slot->fate : FATE_SKIPPED;
}

/* A transaction was left open by somebody who has no session: what was done in it will be rolled back. */
static void left_open(struct pg_conn *conn, struct pg_slot *slot) {
    if ((slot->flags & (SLOT_SESSION | SLOT_PING | SLOT_DESCRIBE)) != 0) {
        return;
    }
    conn->tainted = true;
    if (slot->fate == FATE_OK) {
        conn_fail(conn, slot, "25001", "a transaction was left open on a connection that is shared");
    }
}

void conn_settle(struct pg_conn *conn, uint32_t end, char status) {
    for (uint32_t i = conn->head; i != end + 1; i++) {
        struct pg_slot *slot = conn_slot(conn, i);
        if (conn->skipping && i != conn->cursor) {
            slot->fate = (uint8_t)fate_beside(conn, i);
        }
        if (status != 'I') {
            left_open(conn, slot);
        }
    }
}

/* It has run, and its rows are lost. */
static void end_misread(const struct pg_conn *conn, const struct pg_slot *slot, struct pg_query *query) {
    query->status = PG_ERROR;
    query->heal = conn->shared->statements[slot->statement].read_only && (slot->flags & (SLOT_SESSION | SLOT_GROUP)) == 0;
    conn_copy_text(query->sqlstate, PG_SQLSTATE_BYTES, SPAN("0A000"));
    conn_copy_text(query->message, PG_MESSAGE_BYTES, SPAN("it has run, but the columns of its result have changed meanwhile"));
}

static void end_query(const struct pg_conn *conn, const struct pg_slot *slot, struct pg_query *query) {
    switch ((enum slot_fate)slot->fate) {
    case FATE_OK:
        if ((slot->flags & SLOT_MISREAD) != 0) {
            end_misread(conn, slot, query);
        } else {
            query->status = query->discard ? PG_TOO_LARGE : PG_OK;
        }
        break;
    case FATE_FAILED: query->status = PG_ERROR; break;
    case FATE_ROLLED_BACK:
        query->status = PG_ROLLED_BACK;
        query->sqlstate[0] = query->message[0] = query->constraint[0] = '\0';
        break;
    case FATE_SKIPPED: query->skipped = true; break;
    }
}

static bool deliver_description(const struct pg_conn *conn, const struct pg_slot *slot, struct pg_conn_event *event) {
    const struct pg_failure *failure = &conn->failure;
    event->type = PG_CONN_DESCRIBED;
    event->query = NULL;
    event->statement = slot->statement;
    event->failed = slot->fate != FATE_OK;
    event->error = (struct pg_error){ 0 };
    if (slot->fate == FATE_FAILED) {
        event->error.sqlstate = span_text(failure->sqlstate);
        event->error.message = span_text(failure->message);
    } else if (event->failed) {
        event->error.sqlstate = SPAN("XX000");
        event->error.message = SPAN("the server has skipped it");
    }
    return true;
}

bool conn_deliver(struct pg_conn *conn, struct pg_conn_event *event) {
    const struct pg_slot *slot = conn_slot(conn, conn->head);
    rm_assert(conn->head != conn->ending);
    conn->head++;
    conn->head_since_ns = conn->shared->now_ns;
    if ((slot->flags & (SLOT_DESCRIBE | SLOT_PING)) != 0) {
        return (slot->flags & SLOT_DESCRIBE) != 0 && deliver_description(conn, slot, event);
    }
    conn->queries--;
    struct pg_query *query = slot->query;
    if (query == NULL) {
        return false;
    }
    rm_assert(query->generation == slot->generation);
    end_query(conn, slot, query);
    event->type = PG_CONN_QUERY;
    event->query = query;
    return true;
}
