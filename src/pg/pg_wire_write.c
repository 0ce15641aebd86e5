#include "pg/pg_wire.h"

static char *put_span(char *p, struct span bytes) {
    if (bytes.len > 0) {
        memcpy(p, bytes.data, bytes.len);
    }
    return p + bytes.len;
}

static char *put_text(char *p, struct span text) {
    p = put_span(p, text);
    *p = '\0';
    return p + 1;
}

static char *put_header(char *p, char type, size_t length) {
    rm_assert(length <= INT32_MAX);
    *p = type;
    return pg_put_u32(p + 1, (uint32_t)length);
}

static bool append_header(struct chain *out, char type, size_t length) {
    char header[PG_HEADER_BYTES];
    put_header(header, type, length);
    return chain_append(out, span_of(header, sizeof header));
}

static bool append_text(struct chain *out, struct span text) {
    return chain_append(out, text) && chain_append(out, span_of("", 1));
}

/* What is appended in several steps: all of it, or nothing. */
static bool all_or_nothing(struct chain *out, struct chain_mark mark, bool whole) {
    if (!whole) {
        chain_rollback(out, mark);
    }
    return whole;
}

/* ------------------------------------------------------------------------------------------------------- startup ---- */

static bool append_pairs(struct chain *out, const struct pg_startup_pair *pairs) {
    for (; pairs->name != NULL; pairs++) {
        if (!append_text(out, span_text(pairs->name)) || !append_text(out, span_text(pairs->value))) {
            return false;
        }
    }
    return chain_append(out, span_of("", 1));
}

bool pg_write_startup(struct chain *out, uint32_t version, const struct pg_startup_pair *pairs) {
    size_t length = 4 + 4 + 1;
    for (const struct pg_startup_pair *pair = pairs; pair->name != NULL; pair++) {
        length += strlen(pair->name) + 1 + strlen(pair->value) + 1;
    }
    rm_assert(length <= INT32_MAX);
    char head[8];
    pg_put_u32(pg_put_u32(head, (uint32_t)length), version);
    struct chain_mark mark = chain_mark(out);
    return all_or_nothing(out, mark, chain_append(out, span_of(head, sizeof head)) && append_pairs(out, pairs));
}

uint32_t pg_put_cancel(char out[static PG_CANCEL_BYTES_MAX], const struct pg_cancel_key *key) {
    rm_assert(key->key_bytes > 0);
    rm_assert(key->key_bytes <= PG_KEY_BYTES_MAX);
    char *p = pg_put_u32(out, 12 + key->key_bytes);
    p = pg_put_u32(p, PG_CANCEL_CODE);
    p = pg_put_u32(p, key->pid);
    p = put_span(p, span_of(key->key, key->key_bytes));
    return (uint32_t)(p - out);
}

bool pg_write_password(struct chain *out, struct span text) {
    struct chain_mark mark = chain_mark(out);
    return all_or_nothing(out, mark, append_header(out, 'p', 4 + text.len + 1) && append_text(out, text));
}

bool pg_write_sasl_initial(struct chain *out, const char *mechanism, struct span data) {
    struct span name = span_text(mechanism);
    char bytes[4];
    rm_assert(data.len <= INT32_MAX);
    pg_put_u32(bytes, (uint32_t)data.len);
    struct chain_mark mark = chain_mark(out);
    return all_or_nothing(out, mark,
                          append_header(out, 'p', 4 + name.len + 1 + 4 + data.len) && append_text(out, name) &&
                              chain_append(out, span_of(bytes, sizeof bytes)) && chain_append(out, data));
}

bool pg_write_sasl_response(struct chain *out, struct span data) {
    struct chain_mark mark = chain_mark(out);
    return all_or_nothing(out, mark, append_header(out, 'p', 4 + data.len) && chain_append(out, data));
}

/* ---------------------------------------------------------------------------------------------- extended queries ---- */

static bool append_types(struct chain *out, const struct pg_statement *statement) {
    char bytes[4];
    pg_put_u16(bytes, (uint16_t)statement->type_count);
    bool whole = chain_append(out, span_of(bytes, 2));
    for (uint32_t i = 0; whole && i < statement->type_count; i++) {
        pg_put_u32(bytes, statement->types[i]);
        whole = chain_append(out, span_of(bytes, 4));
    }
    return whole;
}

bool pg_write_parse(struct chain *out, struct span name, const struct pg_statement *statement) {
    rm_assert(statement->type_count <= PG_PARAMETERS_MAX);
    size_t length = 4 + name.len + 1 + statement->sql.len + 1 + 2 + (size_t)4 * statement->type_count;
    struct chain_mark mark = chain_mark(out);
    return all_or_nothing(out, mark,
                          append_header(out, 'P', length) && append_text(out, name) && append_text(out, statement->sql) &&
                              append_types(out, statement));
}

static bool write_named(struct chain *out, char type, char what, struct span name) {
    rm_assert(name.len < PG_NAME_BYTES);
    char *p = chain_reserve(out, PG_HEADER_BYTES + 1 + PG_NAME_BYTES);
    if (p == NULL) {
        return false;
    }
    char *start = p;
    p = put_header(p, type, 4 + 1 + name.len + 1);
    *p++ = what;
    p = put_text(p, name);
    chain_commit(out, (uint32_t)(p - start));
    return true;
}

bool pg_write_describe(struct chain *out, char what, struct span name) {
    return write_named(out, 'D', what, name);
}

bool pg_write_close(struct chain *out, char what, struct span name) {
    return write_named(out, 'C', what, name);
}

enum { EXECUTE_BYTES = 10, SYNC_BYTES = 5 };

/* Of the unnamed portal, without a limit; and Sync. */
static const char execute_sync[EXECUTE_BYTES + SYNC_BYTES] = "E\0\0\0\x09\0\0\0\0\0" "S\0\0\0\x04";

/* Bind up to the parameters: the unnamed portal, the statement. */
static char *put_bind(char *p, struct span name, size_t length) {
    p = put_header(p, 'B', length);
    *p++ = '\0';
    return put_text(p, name);
}

/* What does not fit into a block. */
static bool execute_long(struct chain *out, struct span name, size_t length, struct span params, struct span formats,
                         struct span rest) {
    char head[PG_HEADER_BYTES + 1 + PG_NAME_BYTES];
    char *end = put_bind(head, name, length);
    struct chain_mark mark = chain_mark(out);
    return all_or_nothing(out, mark,
                          chain_append(out, span_of(head, (size_t)(end - head))) && chain_append(out, params) &&
                              chain_append(out, formats) && chain_append(out, rest));
}

bool pg_write_execute(struct chain *out, struct span name, struct span params, struct span formats, bool sync) {
    rm_assert(name.len < PG_NAME_BYTES);
    size_t length = 4 + 1 + name.len + 1 + params.len + formats.len;
    size_t rest = sync ? EXECUTE_BYTES + SYNC_BYTES : EXECUTE_BYTES;
    if (length > BLOCK_ROOM - 1 - sizeof execute_sync) {
        return execute_long(out, name, length, params, formats, span_of(execute_sync, rest));
    }
    char *p = chain_reserve(out, (uint32_t)(1 + length + sizeof execute_sync));
    if (p == NULL) {
        return false;
    }
    p = put_bind(p, name, length);
    p = put_span(p, params);
    p = put_span(p, formats);
    memcpy(p, execute_sync, sizeof execute_sync); /* all of it: a constant length is two moves */
    chain_commit(out, (uint32_t)(1 + length + rest));
    return true;
}

static bool write_empty(struct chain *out, char type) {
    char *p = chain_reserve(out, PG_HEADER_BYTES);
    if (p == NULL) {
        return false;
    }
    put_header(p, type, 4);
    chain_commit(out, PG_HEADER_BYTES);
    return true;
}

bool pg_write_sync(struct chain *out) {
    return write_empty(out, 'S');
}

bool pg_write_copy_fail(struct chain *out, const char *why) {
    struct span text = span_text(why);
    struct chain_mark mark = chain_mark(out);
    return all_or_nothing(out, mark, append_header(out, 'f', 4 + text.len + 1) && append_text(out, text));
}

bool pg_write_terminate(struct chain *out) {
    return write_empty(out, 'X');
}
