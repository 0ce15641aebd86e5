/* The messages of the frontend/backend protocol, version 3.0, as bytes: frames, one reader for each message of the server,
 * one writer for each of ours. Integers are big-endian. Readers check every length exactly: what does not fill its body to
 * the last byte, or would reach beyond it, is refused. PostgreSQL documentation, "Message Formats".
 *
 * Depends on: mem (span, chain), pg_statement.h. No state; any thread. */
#ifndef RM_PG_WIRE_H
#define RM_PG_WIRE_H

#include "mem/chain.h"
#include "pg/pg_statement.h"

enum {
    PG_HEADER_BYTES = 5,            /* type, length */
    PG_VERSION_3_0 = 196608,
    PG_CANCEL_CODE = 80877102,
    PG_CANCEL_BYTES_MAX = 12 + 256, /* of a CancelRequest */
    PG_CONTROL_BYTES_MAX = 30000,   /* a message longer than that is believed only of the types that can be */
    PG_KEY_BYTES_MAX = 256,         /* of BackendKeyData's key */
};

/* -------------------------------------------------------------------------------------------------------- frames ---- */

enum pg_framing { PG_FRAME_OK, PG_FRAME_MORE, PG_FRAME_BAD };

struct pg_frame {
    char type;
    uint32_t bytes; /* of the whole message: 1 + its length field */
};

/* Looks at the first bytes of a message. OK: *out is written; its body, bytes - PG_HEADER_BYTES long, may be incomplete
 * yet. MORE: the header is. BAD: an unknown type, or a length that no message of the type can have: less than its fixed
 * fields need; other than exactly that for '1', '2', '3', 'n', 'I', 's', 'c' and 'Z'; more than 1 GiB for T, t, D, d, V, E,
 * N and A, than a key of PG_KEY_BYTES_MAX for K, than PG_CONTROL_BYTES_MAX for all others. */
[[gnu::warn_unused_result]] static inline enum pg_framing pg_frame_read(struct span input, struct pg_frame *out);

/* ------------------------------------------------------------------------------------------------------- readers ---- */

/* All take the body of a message, write *out only when they return true, and hand out views into the body. */

enum pg_auth_kind { PG_AUTH_OK = 0, PG_AUTH_CLEARTEXT = 3, PG_AUTH_MD5 = 5, PG_AUTH_SASL = 10, PG_AUTH_SASL_CONTINUE = 11,
                    PG_AUTH_SASL_FINAL = 12 };

struct pg_authentication {
    int32_t kind;     /* of enum pg_auth_kind, or another that we don't know */
    struct span data; /* the salt, the mechanisms (NUL after each, one more at the end), or the SASL message */
};
[[gnu::warn_unused_result]] bool pg_read_authentication(struct span body, struct pg_authentication *out);

struct pg_cancel_key {
    uint32_t pid;
    uint32_t key_bytes; /* 4 .. PG_KEY_BYTES_MAX; 0: there is none, cancelling is not possible */
    char key[PG_KEY_BYTES_MAX];
};
[[gnu::warn_unused_result]] bool pg_read_key(struct span body, struct pg_cancel_key *out);

[[gnu::warn_unused_result]] bool pg_read_parameter(struct span body, struct span *name, struct span *value);

/* The beginning of one, cut behind any byte: what is there of either. False: it is over before the cut. */
[[gnu::warn_unused_result]] bool pg_read_parameter_cut(struct span body, struct span *name, struct span *value);

struct pg_negotiation {
    uint32_t version; /* as sent: whole (196608), or by old servers the minor part only */
    uint32_t options; /* that the server did not know, each a string behind it */
};
[[gnu::warn_unused_result]] bool pg_read_negotiation(struct span body, struct pg_negotiation *out);

/* 'I', 'T' or 'E'. */
[[gnu::warn_unused_result]] bool pg_read_ready(struct span body, char *status);

/* ParameterDescription: the count of OIDs. */
[[gnu::warn_unused_result]] bool pg_read_parameters(struct span body, uint32_t *count);

struct pg_column_text {
    struct span name;
    uint32_t oid;
    int32_t modifier;
    int16_t bytes;
};
/* RowDescription: its columns one after the other. *cursor is 0 at first; *columns, how many there are, is written by each
 * call (0: the count itself is missing). False: it is over when *cursor is body.len, else it is malformed. */
[[gnu::warn_unused_result]] bool pg_read_column(struct span body, size_t *cursor, uint32_t *columns,
                                                struct pg_column_text *out);

struct pg_complete {
    struct span tag;   /* "INSERT 0 1", without its NUL */
    uint64_t affected; /* its last number; 0 when it has none */
};
[[gnu::warn_unused_result]] bool pg_read_complete(struct span body, struct pg_complete *out);

/* ErrorResponse and NoticeResponse. Every field may be missing: empty then; sqlstate is "XX000" then, and when it is not
 * five characters long. Fields that we don't know are ignored. */
struct pg_error {
    struct span severity; /* V, else S */
    struct span sqlstate; /* C */
    struct span message;  /* M */
    struct span constraint; /* n */
    struct span routine;    /* R */
    bool fatal;             /* FATAL or PANIC: the connection is gone */
};
[[gnu::warn_unused_result]] bool pg_read_error(struct span body, struct pg_error *out);

/* The beginning of one, cut behind any byte: the fields that are whole, and what is there of the message. (The server sends
 * severity, code and message first.) False: it is over before the cut. */
[[gnu::warn_unused_result]] bool pg_read_error_cut(struct span body, struct pg_error *out);

struct pg_notification {
    uint32_t pid;
    struct span channel, payload;
};
[[gnu::warn_unused_result]] bool pg_read_notification(struct span body, struct pg_notification *out);

/* CopyInResponse, CopyOutResponse, CopyBothResponse: the lengths are right. */
[[gnu::warn_unused_result]] bool pg_read_copy(struct span body);

/* At most `n` bytes of a text of UTF-8, and of one that was cut already what is there: without half a character at the end. */
struct span pg_text_cut(struct span text, size_t n);

static inline uint32_t pg_get_u32(const char *p) {
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}
static inline uint16_t pg_get_u16(const char *p) {
    const unsigned char *u = (const unsigned char *)p;
    return (uint16_t)(u[0] << 8 | u[1]);
}
static inline uint64_t pg_get_u64(const char *p) {
    return (uint64_t)pg_get_u32(p) << 32 | pg_get_u32(p + 4);
}
static inline char *pg_put_u32(char *p, uint32_t v) {
    p[0] = (char)(v >> 24), p[1] = (char)(v >> 16), p[2] = (char)(v >> 8), p[3] = (char)v;
    return p + 4;
}
static inline char *pg_put_u16(char *p, uint16_t v) {
    p[0] = (char)(v >> 8), p[1] = (char)v;
    return p + 2;
}
static inline char *pg_put_u64(char *p, uint64_t v) {
    return pg_put_u32(pg_put_u32(p, (uint32_t)(v >> 32)), (uint32_t)v);
}

/* What the length field of each type may say; least == 0: there is no such type. */
struct pg_frame_rule {
    uint32_t least, most;
};
extern const struct pg_frame_rule pg_frame_rules[256];

static inline enum pg_framing pg_frame_read(struct span input, struct pg_frame *out) {
    if (input.len == 0) {
        return PG_FRAME_MORE;
    }
    struct pg_frame_rule rule = pg_frame_rules[(unsigned char)input.data[0]];
    if (rule.least == 0) {
        return PG_FRAME_BAD;
    }
    if (input.len < PG_HEADER_BYTES) {
        return PG_FRAME_MORE;
    }
    uint32_t length = pg_get_u32(input.data + 1);
    if (length < rule.least || length > rule.most) {
        return PG_FRAME_BAD;
    }
    *out = (struct pg_frame){ input.data[0], 1 + length };
    return PG_FRAME_OK;
}

/* ------------------------------------------------------------------------------------------------------- writers ---- */

/* Each appends whole messages to `out`, or nothing: false when no block is free. Arguments are borrowed. */

/* Pairs of name and value; ends with a NULL name. Values hold no NUL (pg_settings has seen to that). */
struct pg_startup_pair {
    const char *name, *value;
};
[[gnu::warn_unused_result]] bool pg_write_startup(struct chain *out, uint32_t version, const struct pg_startup_pair *pairs);

/* CancelRequest, into out[]; returns its bytes. `key` has a key. */
uint32_t pg_put_cancel(char out[static PG_CANCEL_BYTES_MAX], const struct pg_cancel_key *key);

[[gnu::warn_unused_result]] bool pg_write_password(struct chain *out, struct span text);  /* 'p', a string */
[[gnu::warn_unused_result]] bool pg_write_sasl_initial(struct chain *out, const char *mechanism, struct span data);
[[gnu::warn_unused_result]] bool pg_write_sasl_response(struct chain *out, struct span data);

/* An empty name is the unnamed statement or portal. */
[[gnu::warn_unused_result]] bool pg_write_parse(struct chain *out, struct span name, const struct pg_statement *statement);
[[gnu::warn_unused_result]] bool pg_write_describe(struct chain *out, char what /* 'S', 'P' */, struct span name);
[[gnu::warn_unused_result]] bool pg_write_close(struct chain *out, char what, struct span name);

/* Bind to the unnamed portal, Execute without a limit and, when asked, Sync: in one piece when it fits into a block.
 * `params` is the section of Bind from the parameter formats to the last value, `formats` the section of the result
 * formats. */
[[gnu::warn_unused_result]] bool pg_write_execute(struct chain *out, struct span name, struct span params,
                                                  struct span formats, bool sync);
[[gnu::warn_unused_result]] bool pg_write_sync(struct chain *out);
[[gnu::warn_unused_result]] bool pg_write_copy_fail(struct chain *out, const char *why);
[[gnu::warn_unused_result]] bool pg_write_terminate(struct chain *out);

#endif
