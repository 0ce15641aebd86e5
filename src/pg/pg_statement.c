#include "pg/pg_statement.h"

/* ----------------------------------------------------------------------------------------------------------- text ---- */

/* Behind white space and comments; those of the second kind nest. PostgreSQL documentation, "Lexical Structure". */
static struct span skip_blank(struct span sql) {
    uint32_t depth = 0;
    bool line = false;
    for (; sql.len > 0; sql = span_from(sql, 1)) {
        struct span two = span_first(sql, 2);
        if (line) {
            line = *sql.data != '\n' && *sql.data != '\r';
        } else if (span_equal(two, SPAN("/*"))) {
            depth++;
            sql = span_from(sql, 1);
        } else if (depth > 0 && span_equal(two, SPAN("*/"))) {
            depth--;
            sql = span_from(sql, 1);
        } else if (depth == 0 && span_equal(two, SPAN("--"))) {
            line = true;
        } else if (depth == 0 && memchr(" \t\n\r\f\v", *sql.data, 6) == NULL) {
            break;
        }
    }
    return sql;
}

static bool is_word(char c) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80) != 0;
    return letter || (c >= '0' && c <= '9') || c == '_' || c == '$';
}

/* The next word, which may be empty; *sql is where the one behind it begins. */
static struct span take_word(struct span *sql) {
    size_t n = 0;
    while (n < sql->len && is_word(sql->data[n])) {
        n++;
    }
    struct span word = span_first(*sql, n);
    *sql = skip_blank(span_from(*sql, n));
    return word;
}

/* "local", "transaction" and "constraints" may be the first part of a setting's name, too, which a dot follows. */
static bool is_local(struct span sql) {
    sql = skip_blank(sql);
    if (!span_equal_nocase(take_word(&sql), SPAN("SET"))) {
        return false;
    }
    struct span word = take_word(&sql);
    bool local = span_equal_nocase(word, SPAN("LOCAL")) || span_equal_nocase(word, SPAN("TRANSACTION")) ||
                 span_equal_nocase(word, SPAN("CONSTRAINTS"));
    bool more = sql.len > 0 && (is_word(*sql.data) || *sql.data == '"');
    return local && more && !span_equal_nocase(take_word(&sql), SPAN("TO"));
}

/* ----------------------------------------------------------------------------------------------------------- name ---- */

/* FNV-1a of 64 bits: a name is made once, at start. */
static const uint64_t HASH_START = 0xcbf29ce484222325u;

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

/* So that every digit depends on every byte: the finalizer of MurmurHash3. */
static uint64_t hash_mix(uint64_t hash) {
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 33;
}

void pg_statement_make(struct pg_statement *statement) {
    statement->local = is_local(statement->sql);
    uint64_t hash = hash_bytes(HASH_START, statement->sql.data, statement->sql.len);
    hash = hash_bytes(hash, "", 1); /* the NUL that no SQL holds: where the types begin */
    for (uint32_t i = 0; i < statement->type_count; i++) {
        for (uint32_t shift = 0; shift < 32; shift += 8) {
            unsigned char byte = (unsigned char)(statement->types[i] >> shift);
            hash = hash_bytes(hash, &byte, 1);
        }
    }
    hash = hash_mix(hash);
    memset(statement->name, 0, sizeof statement->name);
    statement->name[0] = 'r';
    statement->name[1] = 'm';
    for (uint32_t i = 0; i < 16; i++) {
        statement->name[2 + i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    }
    statement->name_len = 2 + 16;
}

void pg_statements_internal(struct pg_statement *out) {
    /* READ COMMITTED by name: default_transaction_isolation may say otherwise. */
    static const struct {
        struct span label, sql;
    } table[PG_INTERNAL_COUNT] = {
        [PG_BEGIN] = { SPAN("begin"), SPAN("BEGIN ISOLATION LEVEL READ COMMITTED") },
        [PG_BEGIN_READ_ONLY] = { SPAN("begin read only"), SPAN("BEGIN READ ONLY") },
        [PG_BEGIN_REPEATABLE] = { SPAN("begin repeatable read"), SPAN("BEGIN ISOLATION LEVEL REPEATABLE READ") },
        [PG_BEGIN_SERIALIZABLE] = { SPAN("begin serializable"), SPAN("BEGIN ISOLATION LEVEL SERIALIZABLE") },
        [PG_COMMIT] = { SPAN("commit"), SPAN("COMMIT") },
        [PG_ROLLBACK] = { SPAN("rollback"), SPAN("ROLLBACK") },
    };
    for (uint32_t i = 0; i < PG_INTERNAL_COUNT; i++) {
        out[i] = (struct pg_statement){ .label = table[i].label, .sql = table[i].sql };
        pg_statement_make(&out[i]);
    }
}

const char *pg_status_name(enum pg_status status) {
    switch (status) {
    case PG_PENDING: return "pending";
    case PG_OK: return "ok";
    case PG_ERROR: return "error";
    case PG_ROLLED_BACK: return "rolled back";
    case PG_BUSY: return "busy";
    case PG_DOWN: return "down";
    case PG_LOST: return "lost";
    case PG_TIMEOUT: return "timeout";
    case PG_TOO_LARGE: return "too large";
    }
    return "?";
}
