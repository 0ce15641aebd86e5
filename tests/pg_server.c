/* What the server of the tests reads, and what it does then. */
#include "pg_server.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_server_priv.h"

void server_complain(struct pg_backend *b, const char *format, ...) {
    struct pg_server *server = b->server;
    if (server->fault[0] == '\0') {
        va_list args;
        va_start(args, format);
        int n = snprintf(server->fault, sizeof server->fault, "backend %u: ", b->pid);
        vsnprintf(server->fault + n, sizeof server->fault - (size_t)n, format, args);
        va_end(args);
    }
    b->phase = BACKEND_ENDED;
}

/* -------------------------------------------------------------------------------------------------------- reading ---- */

struct reader {
    const unsigned char *p, *end;
    bool bad;
};

static const unsigned char *take(struct reader *r, size_t n) {
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    return r->p - n;
}

static uint32_t take_u32(struct reader *r) {
    const unsigned char *p = take(r, 4);
    return p == NULL ? 0 : (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint16_t take_u16(struct reader *r) {
    const unsigned char *p = take(r, 2);
    return (uint16_t)(p == NULL ? 0 : p[0] << 8 | p[1]);
}

static const char *take_text(struct reader *r) {
    const unsigned char *nul = r->bad ? NULL : memchr(r->p, 0, (size_t)(r->end - r->p));
    if (nul == NULL) {
        r->bad = true;
        return "";
    }
    const char *text = (const char *)r->p;
    r->p = nul + 1;
    return text;
}

static bool whole(const struct reader *r) {
    return !r->bad && r->p == r->end;
}

/* --------------------------------------------------------------------------------------------------- transactions ---- */

static void drop_effects(struct pg_backend *b) {
    b->effect_count = 0;
    b->deferred = NULL;
}

static void commit_effects(struct pg_backend *b) {
    for (uint32_t i = 0; i < b->effect_count; i++) {
        if (b->server->committed != NULL) {
            b->server->committed(b->server->arg, b->effects[i].statement, b->effects[i].key);
        }
    }
    drop_effects(b);
}

/* An error of an extended message: all is skipped up to Sync. */
void server_fail(struct pg_backend *b, const char *sqlstate, const char *message, const char *constraint,
                 const char *routine) {
    say_error(b, 'E', "ERROR", sqlstate, message, constraint, routine);
    b->skipping = true;
    b->copying = false;
    b->wake_ns = 0;
    b->status = b->status == 'I' ? 'I' : 'E';
    drop_effects(b);
}

static bool transaction_control(const struct pg_server_statement *statement) {
    return statement->what == PG_DO_COMMIT || statement->what == PG_DO_ROLLBACK;
}

/* In a failed transaction everything but its end is refused. */
static bool refused(struct pg_backend *b, const struct pg_server_statement *statement) {
    if (b->status != 'E' || transaction_control(statement)) {
        return false;
    }
    server_fail(b, "25P02", "current transaction is aborted", NULL, "exec_bind_message");
    return true;
}

static void do_commit(struct pg_backend *b) {
    if (b->status == 'E') {
        drop_effects(b);
        b->status = 'I';
        say_complete(b, "ROLLBACK");
        return;
    }
    if (b->status == 'I') {
        pg_backend_notice(b, "there is no transaction in progress");
    }
    if (b->deferred != NULL) {
        const char *sqlstate = b->deferred;
        b->status = 'I';
        server_fail(b, sqlstate, "deferred", b->deferred_constraint, NULL);
        return;
    }
    commit_effects(b);
    b->status = 'I';
    say_complete(b, "COMMIT");
}

/* ------------------------------------------------------------------------------------------------------- running ---- */

static int64_t key_of(const struct portal *portal) {
    return portal->value_count > 0 ? portal->values[0].integer : 0;
}

static void note_execution(struct pg_backend *b) {
    const struct pg_server_statement *statement = b->portal.statement;
    if (b->server->executed != NULL) {
        b->server->executed(b->server->arg, statement, key_of(&b->portal));
    }
    if (statement->write) {
        assert(b->effect_count < PG_BACKEND_EFFECTS_MAX);
        b->effects[b->effect_count++] = (struct effect){ statement, key_of(&b->portal) };
    }
}

static void complete(struct pg_backend *b, uint64_t rows) {
    const struct pg_server_statement *statement = b->portal.statement;
    const char *tag = statement->tag != NULL ? statement->tag : "SELECT";
    note_execution(b);
    if (statement->counted || statement->tag == NULL) {
        say_complete_count(b, tag, b->portal.shape.count == 0 && statement->what != PG_DO_ANSWER ? 1 : rows);
    } else {
        say_complete(b, tag);
    }
}

static void do_rows(struct pg_backend *b) {
    for (uint32_t i = 0; i < b->portal.statement->rows && b->portal.shape.count > 0; i++) {
        say_plain_row(b, i);
    }
}

static void do_answer(struct pg_backend *b) {
    b->answer_failed = false;
    uint64_t rows = b->portal.statement->answer(b, b->portal.statement, b->portal.values, b->portal.value_count);
    if (!b->answer_failed) {
        complete(b, rows);
    }
}

void pg_backend_error(struct pg_backend *b, const char *sqlstate, const char *message) {
    b->answer_failed = true;
    server_fail(b, sqlstate, message, NULL, NULL);
}

static void do_copy_out(struct pg_backend *b) {
    say_copy(b, 'H');
    size_t at = say_begin(b, 'd');
    say_bytes(b, "1\n", 2);
    say_end(b, at);
    say_empty(b, 'c');
    say_complete(b, "COPY 1");
}

static void do_deferred(struct pg_backend *b) {
    complete(b, 1);
    b->deferred = b->portal.statement->sqlstate;
    b->deferred_constraint = b->portal.statement->constraint;
}

void server_perform(struct pg_backend *b) {
    const struct pg_server_statement *statement = b->portal.statement;
    b->server->executes++;
    switch (statement->what) {
    case PG_DO_ROWS: do_rows(b), complete(b, statement->rows); break;
    case PG_DO_ANSWER: do_answer(b); break;
    case PG_DO_ERROR:
        do_rows(b);
        server_fail(b, statement->sqlstate, "as it was asked for", statement->constraint, statement->routine);
        break;
    case PG_DO_DEFERRED: do_deferred(b); break;
    case PG_DO_BEGIN:
        if (b->status == 'T') {
            pg_backend_notice(b, "there is already a transaction in progress");
        }
        b->status = 'T';
        say_complete(b, "BEGIN");
        break;
    case PG_DO_COMMIT: do_commit(b); break;
    case PG_DO_ROLLBACK:
        drop_effects(b);
        b->status = 'I';
        say_complete(b, "ROLLBACK");
        break;
    case PG_DO_EMPTY: say_empty(b, 'I'); break;
    case PG_DO_COPY_IN: say_copy(b, 'G'), b->copying = true, say_release(b); break;
    case PG_DO_COPY_OUT: do_copy_out(b); break;
    case PG_DO_SUSPEND: do_rows(b), say_empty(b, 's'); break;
    case PG_DO_FATAL: do_rows(b), say_fatal(b, statement->sqlstate, "as it was asked for"); break;
    }
}

/* ------------------------------------------------------------------------------------------------------- messages ---- */

static struct prepared *find_prepared(struct pg_backend *b, const char *name) {
    for (uint32_t i = 0; i < PG_BACKEND_STATEMENTS_MAX; i++) {
        if (b->prepared[i].used && strcmp(b->prepared[i].name, name) == 0) {
            return &b->prepared[i];
        }
    }
    return NULL;
}

static struct prepared *free_prepared(struct pg_backend *b) {
    for (uint32_t i = 0; i < PG_BACKEND_STATEMENTS_MAX; i++) {
        if (!b->prepared[i].used) {
            return &b->prepared[i];
        }
    }
    return NULL;
}

static struct pg_server_statement *find_sql(struct pg_server *server, const char *sql) {
    for (uint32_t i = 0; i < server->statement_count; i++) {
        if (strcmp(server->statements[i].sql, sql) == 0) {
            return &server->statements[i];
        }
    }
    return NULL;
}

struct pg_server_shape server_shape(const struct pg_server_statement *statement, uint32_t version) {
    return statement->shape_count > 0 ? statement->shapes[version % statement->shape_count]
                                      : (struct pg_server_shape){ statement->columns, statement->column_count };
}

/* Its table was altered since it was prepared, and has not become again what it was. */
static bool changed(const struct prepared *prepared) {
    const struct pg_server_statement *statement = prepared->statement;
    if (statement->shape_count == 0) {
        return prepared->version != statement->version;
    }
    return server_shape(statement, prepared->version).columns != server_shape(statement, statement->version).columns;
}

void pg_backend_discard(struct pg_backend *b) {
    for (uint32_t i = 0; i < PG_BACKEND_STATEMENTS_MAX; i++) {
        b->prepared[i].used = false;
    }
}

static void prepare(struct pg_backend *b, const char *name, struct pg_server_statement *statement) {
    struct prepared *to = find_prepared(b, name);
    to = to != NULL ? to : free_prepared(b);
    if (to == NULL || strlen(name) >= NAME_BYTES) {
        server_complain(b, "too many statements, or a name that is too long: %s", name);
        return;
    }
    to->used = true;
    strcpy(to->name, name);
    to->statement = statement;
    to->version = statement->version;
}

static void on_parse(struct pg_backend *b, struct reader *r) {
    const char *name = take_text(r), *sql = take_text(r);
    uint16_t types = take_u16(r);
    take(r, (size_t)types * 4);
    if (!whole(r)) {
        server_complain(b, "a malformed Parse");
        return;
    }
    struct pg_server *server = b->server;
    server->parses++;
    struct pg_server_statement *statement = find_sql(server, sql);
    if (statement != NULL && statement->shape_count > 0 && server_chance(server, server->chances.alter)) {
        statement->version++;
    }
    if (server_chance(server, server->chances.discard)) {
        pg_backend_discard(b);
    }
    if (name[0] != '\0' && statement != NULL && server_chance(server, server->chances.exists)) {
        prepare(b, name, statement);
    }
    if (statement == NULL) {
        server_fail(b, "42601", "syntax error", NULL, "scanner_yyerror");
    } else if (statement->parse_sqlstate != NULL) {
        server_fail(b, statement->parse_sqlstate, "it can't be parsed", NULL, NULL);
    } else if (refused(b, statement)) {
        return;
    } else if (name[0] != '\0' && find_prepared(b, name) != NULL) {
        server_fail(b, "42P05", "prepared statement already exists", NULL, "StorePreparedStatement");
    } else {
        prepare(b, name, statement);
        say_empty(b, '1');
    }
}

void server_portal_drop(struct portal *portal) {
    free(portal->copy);
    free(portal->formats);
    memset(portal, 0, sizeof *portal);
}

static int64_t integer_of(const struct pg_server_value *value) {
    const unsigned char *p = (const unsigned char *)value->bytes.data;
    if (value->format == 0) {
        char text[32] = "";
        memcpy(text, p, value->bytes.len < sizeof text ? value->bytes.len : sizeof text - 1);
        return strtoll(text, NULL, 10);
    }
    uint64_t v = value->bytes.len > 0 && p[0] >= 128 ? UINT64_MAX : 0;
    for (size_t i = 0; i < value->bytes.len && value->bytes.len <= 8; i++) {
        v = v << 8 | p[i];
    }
    return value->bytes.len <= 8 ? (int64_t)v : 0;
}

/* A count of format codes and the codes: none, one for all, or one each. */
static uint32_t take_formats(struct reader *r, uint16_t *formats, uint32_t room) {
    uint16_t n = take_u16(r);
    for (uint32_t i = 0; i < n; i++) {
        uint16_t format = take_u16(r);
        if (format > 1 || i >= room) {
            r->bad = true;
            return 0;
        }
        formats[i] = format;
    }
    return n;
}

static bool bind_values(struct portal *portal, struct reader *r) {
    uint16_t formats[PG_BACKEND_VALUES_MAX] = { 0 };
    uint32_t n = take_formats(r, formats, PG_BACKEND_VALUES_MAX);
    portal->value_count = take_u16(r);
    if (portal->value_count > PG_BACKEND_VALUES_MAX || (n > 1 && n != portal->value_count)) {
        return false;
    }
    for (uint32_t i = 0; i < portal->value_count; i++) {
        struct pg_server_value *value = &portal->values[i];
        uint32_t len = take_u32(r);
        value->format = n == 0 ? 0 : n == 1 ? formats[0] : formats[i];
        value->null = len == UINT32_MAX;
        const unsigned char *p = value->null ? NULL : take(r, len);
        value->bytes = p == NULL ? SPAN("") : span_of((const char *)p, len);
        value->integer = p == NULL ? 0 : integer_of(value);
    }
    return !r->bad;
}

static bool bind_formats(struct portal *portal, struct reader *r) {
    uint32_t columns = portal->shape.count;
    uint16_t formats[2048] = { 0 };
    uint32_t n = take_formats(r, formats, sizeof formats / sizeof *formats);
    portal->formats = calloc(columns + 1, sizeof *portal->formats);
    assert(portal->formats != NULL);
    for (uint32_t i = 0; i < columns; i++) {
        portal->formats[i] = n == 0 ? 0 : n == 1 ? formats[0] : formats[i];
    }
    return n <= 1 || n == columns;
}

static void bind_portal(struct pg_backend *b, const struct prepared *prepared, struct reader *r) {
    struct pg_server_statement *statement = prepared->statement;
    struct portal *portal = &b->portal;
    server_portal_drop(portal);
    size_t len = (size_t)(r->end - r->p);
    portal->copy = malloc(len + 1);
    assert(portal->copy != NULL);
    memcpy(portal->copy, r->p, len);
    struct reader copy = { (unsigned char *)portal->copy, (unsigned char *)portal->copy + len, false };
    portal->statement = statement;
    portal->shape = server_shape(statement, prepared->version);
    bool values = bind_values(portal, &copy), formats = values && bind_formats(portal, &copy);
    if (!values || !whole(&copy) || (!formats && statement->shape_count == 0)) {
        server_complain(b, "a malformed Bind of: %s", statement->sql);
    } else if (!formats) {
        server_fail(b, "08P01", "bind message has too few result formats, or too many", NULL, "PortalSetResultFormat");
    } else if (portal->value_count != statement->type_count) {
        server_complain(b, "Bind with %u parameters instead of %u: %s", portal->value_count, statement->type_count, statement->sql);
    } else {
        portal->open = true;
        say_empty(b, '2');
    }
}

static bool refuse_changed(struct pg_backend *b, const struct prepared *prepared) {
    if (changed(prepared)) {
        server_fail(b, "0A000", "cached plan must not change result type", NULL, "RevalidateCachedQuery");
        return true;
    }
    return false;
}

static void on_bind(struct pg_backend *b, struct reader *r) {
    struct pg_server *server = b->server;
    const char *portal = take_text(r), *name = take_text(r);
    server->binds++;
    if (r->bad || portal[0] != '\0') {
        server_complain(b, "Bind without names, or of a portal with a name");
        return;
    }
    if (name[0] != '\0' && server_chance(server, server->chances.discard)) {
        pg_backend_discard(b);
    }
    struct prepared *prepared = find_prepared(b, name);
    if (prepared == NULL) {
        server_fail(b, "26000", "prepared statement does not exist", NULL, "FetchPreparedStatement");
        return;
    }
    if (name[0] != '\0' && server_chance(server, server->chances.alter)) {
        prepared->statement->version++;
    }
    if (refused(b, prepared->statement)) {
        return;
    }
    if (!refuse_changed(b, prepared)) {
        bind_portal(b, prepared, r);
    }
}

static void on_describe(struct pg_backend *b, struct reader *r) {
    const unsigned char *what = take(r, 1);
    const char *name = take_text(r);
    b->server->describes++;
    if (!whole(r) || (*what != 'S' && *what != 'P')) {
        server_complain(b, "a malformed Describe");
        return;
    }
    if (*what == 'P') {
        if (b->portal.open) {
            say_columns(b, b->portal.shape, b->portal.formats);
        } else {
            server_fail(b, "34000", "portal does not exist", NULL, NULL);
        }
        return;
    }
    struct prepared *prepared = find_prepared(b, name);
    if (prepared == NULL) {
        server_fail(b, "26000", "prepared statement does not exist", NULL, "FetchPreparedStatement");
        return;
    }
    say_parameters(b, prepared->statement);
    if (!refuse_changed(b, prepared)) {
        say_columns(b, server_shape(prepared->statement, prepared->version), NULL);
    }
}

/* FATAL, silence or an error, by chance. */
static bool execute_fault(struct pg_backend *b) {
    struct pg_server *server = b->server;
    if (server_chance(server, server->chances.fatal)) {
        say_fatal(b, "57P01", "terminating connection due to administrator command");
        return true;
    }
    if (server_chance(server, server->chances.stall)) {
        b->stalled = true;
        b->wake_ns = b->server->now_ns; /* it goes on, if ever, with this */
        return true;
    }
    if (!transaction_control(b->portal.statement) && server_chance(server, server->chances.error)) {
        server_fail(b, "XX001", "by chance", NULL, NULL);
        return true;
    }
    return false;
}

static void on_execute(struct pg_backend *b, struct reader *r) {
    const char *name = take_text(r);
    uint32_t most = take_u32(r);
    if (!whole(r) || name[0] != '\0' || most != 0) {
        server_complain(b, "a malformed Execute, of a portal with a name, or with a limit");
        return;
    }
    if (!b->portal.open) {
        server_fail(b, "34000", "portal does not exist", NULL, NULL);
        return;
    }
    if (execute_fault(b)) {
        return;
    }
    uint64_t ns = b->portal.statement->sleep_ns;
    if (b->server->service_ns_max != 0) {
        ns += random_next(&b->server->random) % b->server->service_ns_max;
    }
    if (ns > 0) {
        b->wake_ns = b->server->now_ns + ns;
        return;
    }
    server_perform(b);
}

static void on_close(struct pg_backend *b, struct reader *r) {
    const unsigned char *what = take(r, 1);
    const char *name = take_text(r);
    if (!whole(r) || (*what != 'S' && *what != 'P')) {
        server_complain(b, "a malformed Close");
        return;
    }
    struct prepared *prepared = *what == 'S' ? find_prepared(b, name) : NULL;
    if (prepared != NULL) {
        prepared->used = false;
    }
    say_empty(b, '3');
}

static void on_sync(struct pg_backend *b) {
    b->server->syncs++;
    b->unsynced = false;
    if (!b->skipping && b->status == 'I') {
        if (b->deferred != NULL) {
            say_error(b, 'E', "ERROR", b->deferred, "deferred", b->deferred_constraint, NULL);
            drop_effects(b);
        } else {
            commit_effects(b);
        }
    }
    b->skipping = false;
    if (b->status == 'I') {
        server_portal_drop(&b->portal);
    }
    say_ready(b);
}

static void on_copy(struct pg_backend *b, char type, struct reader *r) {
    if (type == 'S' || type == 'H' || type == 'd') {
        return; /* swallowed */
    }
    if (type == 'f') {
        (void)take_text(r);
        if (!whole(r)) {
            server_complain(b, "a malformed CopyFail");
            return;
        }
        server_fail(b, "57014", "COPY from stdin failed", NULL, NULL);
    } else if (type == 'c') {
        b->copying = false;
        say_complete(b, "COPY 0");
    } else {
        server_fail(b, "08P01", "unexpected message during COPY from stdin", NULL, NULL);
    }
}

void server_message(struct pg_backend *b, char type, const char *body, size_t len) {
    struct reader r = { (const unsigned char *)body, (const unsigned char *)body + len, false };
    if (strchr("PBDECHSXdcf", type) == NULL) {
        server_complain(b, "a message of the type %d", type);
        return;
    }
    if (strchr("HSX", type) != NULL && r.p != r.end) {
        server_complain(b, "a %c with a body", type);
        return;
    }
    if (type == 'X') {
        if (b->in_at != b->in.len) {
            server_complain(b, "bytes behind Terminate");
        }
        b->phase = BACKEND_ENDED;
        return;
    }
    if (type == 'f' || type == 'c' || type == 'd') {
        if (b->copying) {
            on_copy(b, type, &r);
        }
        return; /* after an error they are expected, and dropped */
    }
    b->unsynced = type != 'S' || b->copying;
    if (b->copying) {
        on_copy(b, type, &r);
        return;
    }
    if (b->skipping && type != 'S') {
        return;
    }
    switch (type) {
    case 'P': on_parse(b, &r); break;
    case 'B': on_bind(b, &r); break;
    case 'D': on_describe(b, &r); break;
    case 'E': on_execute(b, &r); break;
    case 'C': on_close(b, &r); break;
    case 'S': on_sync(b); break;
    default: say_release(b); break; /* Flush */
    }
}
