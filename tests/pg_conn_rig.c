#include "pg_conn_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "mem/assert.h"

/* ---------------------------------------------------------------------------------------------------------- memory ---- */

static const char ID_AND_NAME[] = "\0\2id\0\0\0\0\0\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\0name\0\0\0\0\0\0\2\0\0\0\x19\xff\xff"
                                  "\xff\xff\xff\xff\0\0";
static const char ID[] = "\0\1id\0\0\0\0\0\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\0";

#define OWN(name, ...) { .label = SPAN(name), .sql = SPAN("SELECT '" name "'"), __VA_ARGS__ }

static const struct pg_statement own[RIG_OWN_COUNT] = {
    [RIG_ITEMS] = OWN("items", .read_only = true),
    [RIG_MORE] = OWN("more", .read_only = true),
    [RIG_SHARED] = OWN("shared", .read_only = true, .shared_sync = true),
    [RIG_TWIN] = OWN("twin", .read_only = true, .shared_sync = true),
    [RIG_UPDATE] = OWN("update", .read_only = false),
    [RIG_RETURNING] = OWN("returning", .read_only = false),
    [RIG_NEW] = OWN("new", .read_only = true),
    [RIG_LOCAL] = { .label = SPAN("local"), .sql = SPAN("SET LOCAL work_mem = '64MB'") },
};

static void *take(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

void pg_rig_make(struct pg_rig *rig) {
    memset(rig, 0, sizeof *rig);
    memcpy(rig->statements, own, sizeof own);
    for (uint32_t i = 0; i < RIG_OWN_COUNT; i++) {
        pg_statement_make(&rig->statements[i]);
    }
    pg_statements_internal(rig->statements + RIG_OWN_COUNT);
    rig->plan_memory = take((size_t)RIG_STATEMENTS * PG_PLAN_BYTES);
    rig->block_memory = take(pool_bytes(BLOCK_BYTES, RIG_BLOCKS));
}

void pg_rig_release(struct pg_rig *rig) {
    free(rig->plan_memory);
    free(rig->block_memory);
}

void pg_rig_open(struct pg_rig *rig, uint32_t inflight, uint32_t message_bytes, uint32_t blocks, bool prepare) {
    rm_assert(pg_conn_slots(inflight) <= RIG_SLOTS);
    rm_assert(blocks <= RIG_BLOCKS);
    pool_init(&rig->pool, "blocks", rig->block_memory, BLOCK_BYTES, blocks);
    chain_init(&rig->out, &rig->pool);
    memset(&rig->settings, 0, sizeof rig->settings);
    pg_settings_default(&rig->settings);
    strcpy(rig->settings.user, "me");
    strcpy(rig->settings.name, "db");
    for (uint32_t i = 0; i < RIG_STATEMENTS; i++) {
        pg_plan_init(&rig->plans[i], false, (char *)rig->plan_memory + (size_t)i * PG_PLAN_BYTES);
    }
    rig->shared = (struct pg_shared){ .settings = &rig->settings,
                                      .statements = rig->statements,
                                      .plans = rig->plans,
                                      .statement_count = RIG_STATEMENTS,
                                      .inflight = inflight,
                                      .message_bytes = message_bytes,
                                      .prepare = prepare,
                                      .at = rig->at,
                                      .now_ns = 1 };
    rig->carry = take(message_bytes);
    pg_conn_init(&rig->conn, &rig->shared, rig->slots, rig->carry);
    memset(rig->queries, 0, sizeof rig->queries);
    rig->session = (struct pg_session *)(void *)rig->queries; /* not looked into by a connection */
    rig->down = false;
}

void pg_rig_close(struct pg_rig *rig) {
    chain_reset(&rig->out);
    free(rig->carry);
}

void pg_rig_know(struct pg_rig *rig, uint32_t statement) {
    bool malformed, has_rows = statement < RIG_UPDATE || statement == RIG_RETURNING;
    bool two = statement == RIG_ITEMS;
    struct span columns = two ? span_of(ID_AND_NAME, sizeof ID_AND_NAME - 1) : span_of(ID, sizeof ID - 1);
    bool made = pg_plan_make(&rig->plans[statement], has_rows ? columns : span_of(NULL, 0), &malformed);
    rm_assert(made);
}

void pg_rig_up(struct pg_rig *rig) {
    static const char answer[] = "R\0\0\0\x08\0\0\0\0" "K\0\0\0\x0c\0\0\0\7abcd" "Z\0\0\0\5I";
    static const uint8_t random[PG_NONCE_RANDOM_BYTES];
    bool started = pg_conn_start(&rig->conn, &rig->out, random);
    rm_assert(started);
    struct span input = span_of(answer, sizeof answer - 1);
    struct pg_conn_event event;
    pg_conn_next(&rig->conn, &input, &event);
    rm_assert(event.type == PG_CONN_UP);
    for (uint32_t i = 0; i < RIG_STATEMENTS; i++) {
        if (i != RIG_NEW) {
            pg_rig_know(rig, i);
        }
    }
}

uint32_t pg_rig_find(const struct pg_rig *rig, const char *label) {
    uint32_t i = 0;
    while (i < RIG_STATEMENTS && !span_equal(rig->statements[i].label, span_text(label))) {
        i++;
    }
    return i;
}

/* ---------------------------------------------------------------------------------------------------------- events ---- */

static int number_of(const struct pg_rig *rig, const struct pg_query *query) {
    return (int)(query - rig->queries);
}

static int put_field(char *out, size_t room, const struct pg_row *row, uint32_t column) {
    struct span field;
    if (!pg_row_field(row, column, &field)) {
        return snprintf(out, room, " null");
    }
    const struct pg_column *info = &row->plan->columns[column];
    if (info->format == 1 && info->oid == PG_INT4 && field.len == 4) {
        const unsigned char *u = (const unsigned char *)field.data;
        return snprintf(out, room, " %d", u[0] << 24 | u[1] << 16 | u[2] << 8 | u[3]);
    }
    if (field.len > 40) {
        return snprintf(out, room, " <%zu bytes>", field.len);
    }
    return snprintf(out, room, " %.*s", (int)field.len, field.data);
}

static void log_row(struct fake_run *run, const struct pg_rig *rig, const struct pg_conn_event *event) {
    char text[1024] = "";
    size_t len = 0;
    uint32_t count = event->row.plan->column_count;
    if (count > 10) {
        fake_event(run, "row %d of %u columns", number_of(rig, event->query), count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        len += (size_t)put_field(text + len, sizeof text - len, &event->row, i);
    }
    fake_event(run, "row %d%s", number_of(rig, event->query), text);
}

static void log_query(struct fake_run *run, const struct pg_rig *rig, const struct pg_query *query) {
    int number = number_of(rig, query);
    const char *heal = query->heal ? " (heal)" : "";
    if (query->skipped) {
        fake_event(run, "skipped %d", number);
    } else if (query->status == PG_ERROR) {
        fake_event(run, "error %d %s %s%s%s%s", number, query->sqlstate, query->message, query->constraint[0] != '\0' ? " on " : "",
                   query->constraint, heal);
    } else if (query->status == PG_OK) {
        fake_event(run, "ok %d rows %d affected %d%s", number, (int)query->rows, (int)query->affected, heal);
    } else {
        fake_event(run, "%s %d%s%s", pg_status_name((enum pg_status)query->status), number,
                   query->sqlstate[0] != '\0' || query->message[0] != '\0' || query->constraint[0] != '\0' ? " with an error" : "", heal);
    }
}

#define TEXT(s) (int)(s).len, (s).data

static void log_event(struct fake_run *run, struct pg_rig *rig, const struct pg_conn_event *event) {
    const struct pg_error *error = &event->error;
    struct span label = { 0 };
    switch (event->type) {
    case PG_CONN_MORE: break;
    case PG_CONN_JOB: fake_event(run, "job"); break;
    case PG_CONN_UP: fake_event(run, "up"); break;
    case PG_CONN_ROW: log_row(run, rig, event); break;
    case PG_CONN_QUERY: log_query(run, rig, event->query); break;
    case PG_CONN_DESCRIBED:
        label = rig->statements[event->statement].label;
        if (event->failed) {
            fake_event(run, "described %.*s: %.*s %.*s", TEXT(label), TEXT(error->sqlstate), TEXT(error->message));
        } else {
            fake_event(run, "described %.*s: %u columns", TEXT(label), rig->plans[event->statement].column_count);
        }
        break;
    case PG_CONN_NOTICE:
        fake_event(run, "notice %.*s %.*s %.*s", TEXT(error->severity), TEXT(error->sqlstate), TEXT(error->message));
        break;
    case PG_CONN_DOWNED: fake_event(run, "down %s", rig->conn.why); break;
    }
}

void pg_rig_check(const struct pg_rig *rig) {
    const struct pg_conn *conn = &rig->conn;
    uint32_t used = conn->tail - conn->head;
    rm_assert(used <= conn->slot_mask + 1);
    rm_assert(conn->ending - conn->head <= used);
    rm_assert(conn->cursor - conn->head <= used);
    rm_assert(conn->cursor - conn->head >= conn->ending - conn->head);
    rm_assert(conn->carry_start <= conn->carry_len);
    rm_assert(conn->carry_len <= rig->shared.message_bytes);
    rm_assert(conn->drain_left == 0 || conn->carry_len == 0);
    rm_assert(conn->queries <= used);
}

static void read_input(struct fake_run *run, struct pg_rig *rig, struct span input) {
    struct pg_conn_event event;
    do {
        event.type = PG_CONN_MORE;
        pg_conn_next(&rig->conn, &input, &event);
        if (event.type != PG_CONN_DOWNED || !rig->down) {
            log_event(run, rig, &event);
        }
        rig->down |= event.type == PG_CONN_DOWNED;
        pg_rig_check(rig);
    } while (event.type != PG_CONN_MORE && event.type != PG_CONN_JOB && event.type != PG_CONN_DOWNED);
    rm_assert(input.len == 0);
}

static void on_input(struct fake_run *run, void *arg, struct span bytes) {
    struct pg_rig *rig = arg;
    read_input(run, rig, bytes);
    fake_output(run, &rig->out);
}

/* --------------------------------------------------------------------------------------------------------- actions ---- */

static bool is(const char *word, const char *other) {
    return strcmp(word, other) == 0;
}

static void act_set(struct pg_rig *rig, const char *name, const char *value) {
    struct pg_shared was = rig->shared;
    uint32_t number = (uint32_t)strtoul(value, NULL, 10), blocks = rig->pool.count;
    if (is(name, "name")) {
        rig->shared.application_name = is(value, "mine") ? "mine" : "";
        return;
    }
    if (is(name, "password")) {
        strcpy(rig->settings.password, value);
        rig->settings.has_password = true;
        return;
    }
    if (is(name, "options")) {
        strcpy(rig->settings.options, value);
        return;
    }
    pg_rig_close(rig);
    pg_rig_open(rig, is(name, "inflight") ? number : was.inflight, is(name, "message") ? number : was.message_bytes,
                is(name, "blocks") ? number : blocks, is(name, "prepare") ? is(value, "on") : was.prepare);
}

static void act_up(struct fake_run *run, struct pg_rig *rig, char **words, uint32_t count) {
    pg_rig_up(rig);
    fake_ignore_output(run, &rig->out);
    for (uint32_t i = 1; i < count; i++) {
        uint32_t statement = pg_rig_find(rig, words[i]);
        rm_assert(statement < RIG_STATEMENTS);
        rig->conn.planned[statement] = rig->plans[statement].version;
    }
}

/* No parameters, or one text of so many bytes. */
static struct span params_of(size_t bytes) {
    static char memory[1 << 16];
    if (bytes == 0) {
        return SPAN("\0\0\0\0");
    }
    memcpy(memory, "\0\0\0\1", 4);
    pg_put_u32(memory + 4, (uint32_t)bytes);
    memset(memory + 8, 'p', bytes);
    return span_of(memory, 8 + bytes);
}

static struct pg_query *make_query(struct pg_rig *rig, const char *number, char *label) {
    char *colon = strchr(label, ':');
    size_t bytes = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;
    if (colon != NULL) {
        *colon = '\0';
    }
    uint32_t statement = pg_rig_find(rig, label);
    struct pg_query *query = &rig->queries[strtoul(number, NULL, 10) % RIG_QUERIES];
    rm_assert(statement < RIG_STATEMENTS);
    query->statement = (uint16_t)statement;
    query->params = params_of(bytes);
    query->generation++;
    query->session = NULL;
    query->group_next = NULL;
    return query;
}

static bool act_query(struct fake_run *run, struct pg_rig *rig, char **words, uint32_t count) {
    struct pg_query *query = make_query(rig, words[1], words[2]);
    for (uint32_t i = 3; i < count; i++) {
        query->session = is(words[i], "session") ? rig->session : query->session;
        query->skipped = is(words[i], "skipped") || query->skipped;
    }
    if (!pg_conn_query(&rig->conn, query)) {
        fake_event(run, "full %d", number_of(rig, query));
    }
    return true;
}

static bool act_group(struct fake_run *run, struct pg_rig *rig, char **words, uint32_t count) {
    struct pg_query *first = NULL, **next = &first;
    bool session = is(words[1], "session");
    for (uint32_t i = session ? 2 : 1; i + 1 < count; i += 2) {
        words[i + 1][strcspn(words[i + 1], ",")] = '\0';
        *next = make_query(rig, words[i], words[i + 1]);
        (*next)->session = session ? rig->session : NULL;
        next = &(*next)->group_next;
    }
    if (!pg_conn_query(&rig->conn, first)) {
        fake_event(run, "full %d", number_of(rig, first));
    }
    return true;
}

/* Stands for the thread that hashes. */
/* What is computed is the same each time: the signature is 0, 1, 2 ... 31. */
static void act_job(struct fake_run *run, struct pg_rig *rig, bool failed) {
    struct pg_auth_job *job = &rig->conn.auth.job;
    strcpy(job->md5, "md5of-it");
    for (unsigned i = 0; i < PG_SHA256_BYTES; i++) {
        job->signature[i] = (uint8_t)i;
        job->proof[i] = 0x11;
    }
    job->failed = failed;
    pg_conn_job_done(&rig->conn);
    read_input(run, rig, span_of(NULL, 0));
}

static void act_drop(struct fake_run *run, struct pg_rig *rig, size_t unsent) {
    bool sent = false;
    for (struct pg_query *query; (query = pg_conn_drop(&rig->conn, unsent, &sent)) != NULL;) {
        fake_event(run, "dropped %d %s", number_of(rig, query), sent ? "sent" : "unsent");
    }
}

static bool act_show(struct fake_run *run, struct pg_rig *rig, const char *what, const char *which) {
    struct pg_conn *conn = &rig->conn;
    const struct pg_query *head = pg_conn_head(conn);
    uint32_t i = which != NULL ? pg_rig_find(rig, which) : 0;
    if (is(what, "tainted")) {
        fake_event(run, "tainted %s", conn->tainted ? "yes" : "no");
    } else if (is(what, "prepared") && i < RIG_STATEMENTS) {
        fake_event(run, "prepared %s", conn->planned[i] != 0 && conn->planned[i] == rig->plans[i].version ? "yes" : "no");
    } else if (is(what, "version") && which != NULL && i < RIG_STATEMENTS) {
        fake_event(run, "version %u", rig->plans[i].version);
    } else if (is(what, "version")) {
        fake_event(run, "version %d", conn->server_version);
    } else if (is(what, "why")) {
        fake_event(run, "why %s %s", conn->sqlstate[0] != '\0' ? conn->sqlstate : conn->refused ? "refused" : "-", conn->why);
    } else if (is(what, "idle")) {
        fake_event(run, "idle %s", pg_conn_idle(conn) ? "yes" : "no");
    } else if (is(what, "key")) {
        fake_event(run, "key %u %.*s", conn->key.pid, (int)conn->key.key_bytes, conn->key.key);
    } else if (is(what, "head")) {
        fake_event(run, "head %d", head != NULL ? number_of(rig, head) : -1);
    } else if (is(what, "room") && which != NULL) {
        fake_event(run, "room %s", pg_conn_room(conn, (uint32_t)strtoul(which, NULL, 10)) ? "yes" : "no");
    } else if (is(what, "since")) {
        fake_event(run, "since %d", (int)conn->head_since_ns);
    } else if (is(what, "status")) {
        fake_event(run, "status %c", conn->status);
    } else if (is(what, "counts")) {
        fake_event(run, "parses %d describes %d notices %d notifications %d", (int)rig->shared.parses, (int)rig->shared.describes,
                   (int)rig->shared.notices, (int)rig->shared.notifications);
    } else {
        return false;
    }
    return true;
}

static bool act_on_conn(struct fake_run *run, struct pg_rig *rig, const char *what, const char *which) {
    uint32_t statement = pg_rig_find(rig, which);
    bool enough = true;
    if (is(what, "describe") && statement < RIG_STATEMENTS) {
        enough = pg_conn_describe(&rig->conn, (uint16_t)statement);
    } else if (is(what, "ping")) {
        enough = pg_conn_ping(&rig->conn);
    } else if (is(what, "flush")) {
        enough = pg_conn_flush(&rig->conn);
    } else if (is(what, "leave")) {
        pg_conn_leave(&rig->conn, &rig->queries[strtoul(which, NULL, 10)]);
    } else if (is(what, "discard")) {
        pg_query_discard(&rig->queries[strtoul(which, NULL, 10)]);
    } else if (is(what, "forget") && statement < RIG_STATEMENTS) {
        pg_plan_forget(&rig->plans[statement]);
    } else if (is(what, "known") && statement < RIG_STATEMENTS) {
        pg_rig_know(rig, statement);
    } else if (is(what, "terminate")) {
        pg_conn_terminate(&rig->conn);
    } else {
        return false;
    }
    if (!enough) {
        fake_event(run, "full");
    }
    return true;
}

static bool act_life(struct fake_run *run, struct pg_rig *rig, char **words, uint32_t count) {
    static const uint8_t random[PG_NONCE_RANDOM_BYTES];
    if (is(words[0], "start")) {
        if (!pg_conn_start(&rig->conn, &rig->out, random)) {
            fake_event(run, "full");
        }
    } else if (is(words[0], "up")) {
        act_up(run, rig, words, count);
    } else if (is(words[0], "job")) {
        act_job(run, rig, count > 1 && is(words[1], "fails"));
    } else if (is(words[0], "lost") && count > 1) {
        pg_conn_lost(&rig->conn, words[1]);
        read_input(run, rig, span_of(NULL, 0));
    } else if (is(words[0], "drop") && count > 1) {
        act_drop(run, rig, strtoul(words[1], NULL, 10));
    } else if (is(words[0], "reset")) {
        pg_conn_reset(&rig->conn);
        rig->down = false;
    } else if (is(words[0], "time") && count > 1) {
        rig->shared.now_ns = strtoull(words[1], NULL, 10);
    } else if (is(words[0], "set") && count > 2) {
        act_set(rig, words[1], words[2]);
    } else {
        return false;
    }
    return true;
}

static bool on_act(struct fake_run *run, void *arg, char **words, uint32_t count) {
    struct pg_rig *rig = arg;
    bool known = false;
    if (is(words[0], "query") && count > 2) {
        known = act_query(run, rig, words, count);
    } else if (is(words[0], "group") && count > 2) {
        known = act_group(run, rig, words, count);
    } else if (is(words[0], "show") && count > 1) {
        known = act_show(run, rig, words[1], count > 2 ? words[2] : NULL);
    } else {
        known = act_life(run, rig, words, count) || act_on_conn(run, rig, words[0], count > 1 ? words[1] : "");
    }
    pg_rig_check(rig);
    fake_output(run, &rig->out);
    return known;
}

static void on_open(struct fake_run *run, void *arg) {
    (void)run;
    pg_rig_open(arg, 16, 4096, RIG_BLOCKS, true);
}

static const char *on_close(struct fake_run *run, void *arg) {
    struct pg_rig *rig = arg;
    (void)run;
    pg_rig_close(rig);
    return rig->pool.free_count == rig->pool.count ? NULL : "a block has leaked";
}

static const char *on_statement(void *arg, struct span name) {
    const struct pg_rig *rig = arg;
    for (uint32_t i = 0; i < RIG_STATEMENTS; i++) {
        if (span_equal(span_text(rig->statements[i].name), name)) {
            static char label[40];
            snprintf(label, sizeof label, "%.*s", TEXT(rig->statements[i].label));
            return label;
        }
    }
    return NULL;
}

struct fake_client pg_rig_client(struct pg_rig *rig) {
    return (struct fake_client){ on_open, on_act, on_input, on_close, on_statement, rig };
}
