/* What the files of this folder tell each other about connections and exchanges.
 * Depends on: http/http.h. */
#ifndef RM_HTTP_HTTP_PRIV_H
#define RM_HTTP_HTTP_PRIV_H

#include "http/http.h"
#include "mem/assert.h"
#include "mem/poison.h"

/* An item of shared->carries: bytes that wait for more, and what is known of the head that begins them. */
struct carry {
    struct http_request partial;
    char bytes[];
};

static inline struct carry *carry_of(const struct http_conn *conn) {
    return (struct carry *)(void *)conn->carry;
}

/* ------------------------------------------------------------------------------------------------- exchanges ---- */

/* A clean exchange that is in no line; NULL when there is none. */
[[gnu::warn_unused_result]] static inline struct http_exchange *exchange_take_for(struct http_shared *shared,
                                                                                  struct http_conn *conn) {
    struct http_exchange *x = pool_take(shared->exchanges);
    if (x == NULL) {
        return NULL;
    }
    size_t start = offsetof(struct http_exchange, body);
    memset((char *)x + start, 0, offsetof(struct http_exchange, request) - start);
    x->next = NULL;
    x->conn = conn;
    x->shared = shared;
    x->route = NULL;
    x->workspace = (struct arena){ .base = (char *)x + shared->exchange_bytes, .size = shared->workspace_bytes };
    poison_mark(x->workspace.base, x->workspace.size);
    x->own.blocks = shared->blocks;
    x->began_ns = shared->now_ns;
    return x;
}

/* One of a connection's, not in its line yet. */
[[gnu::warn_unused_result]] static inline struct http_exchange *exchange_take(struct http_conn *conn) {
    return exchange_take_for(conn->shared, conn);
}

/* As far as it has fields. */
static inline void request_copy(struct http_request *to, const struct http_request *from) {
    memcpy(to, from, offsetof(struct http_request, fields) + from->field_count * sizeof *from->fields);
}

/* Back to the pool, with all it holds. It is in no line any more. */
[[gnu::always_inline]] static inline void exchange_give(struct http_exchange *x) {
    if (x->own.head != NULL) {
        chain_reset(&x->own);
    }
    if (x->body_slot != NULL) {
        pool_give(x->shared->bodies, x->body_slot);
    }
    pool_give(x->shared->exchanges, x);
}

/* Puts it at the end of its connection's line. */
static inline void exchange_enqueue(struct http_exchange *x) {
    struct http_conn *conn = x->conn;
    if (conn->last == NULL) {
        conn->first = x;
    } else {
        conn->last->next = x;
    }
    conn->last = x;
    conn->unfinished++;
}

/* Copies the head, and a body that lies in the input, into the workspace. There is room for both: exchange_reserve. */
void exchange_settle(struct http_exchange *x);

static inline uint32_t exchange_rounded(size_t bytes) {
    return (uint32_t)((bytes + 15) / 16 * 16);
}

/* Keeps room in the workspace for what exchange_settle would copy: the head, and `body_bytes` of the input. */
static inline void exchange_reserve(struct http_exchange *x, size_t body_bytes) {
    uint32_t reserved = exchange_rounded(x->request.head_bytes) + exchange_rounded(body_bytes);
    rm_assert(reserved <= x->shared->workspace_bytes - x->workspace.used);
    x->workspace.size = x->shared->workspace_bytes - reserved;
}

/* Makes `status` its answer and finishes it: nothing is read after it. */
void exchange_refuse(struct http_exchange *x, int status);

/* Its client has gone before it was answered: back to the pool. It is in no line any more. */
void exchange_give_up(struct http_exchange *x);

/* Takes what is not finished out of the line: parked exchanges live on without a connection. */
void exchanges_drop(struct http_conn *conn);

/* Sends 100 (Continue) when it is time: RFC 9110 §10.1.1, in order with the responses before. */
void exchange_continue(struct http_conn *conn);

/* ------------------------------------------------------------------------------------------------- responses ---- */

/* The response as it will leave: patched; failed or empty ones replaced. Others are complete without it. */
void response_complete(struct http_exchange *x);

/* Begins the head and framing of a streamed response. */
void response_open_stream(struct http_exchange *x, int status, struct span content_type);

/* Begins a whole response of `len` bytes that follow. False when nothing of them is to be sent. */
[[gnu::warn_unused_result]] bool response_open_whole(struct http_exchange *x, int status, struct span content_type,
                                                     uint64_t len);

/* Begins a response whose fields are rendered, Content-Length included: `lines`, up to RESPONSE_LINES_BYTES_MAX. Returns where
 * the rest of its head goes, up to RESPONSE_REST_BYTES, and the empty line; a short body of `body_bytes` has room
 * in the same block. Sets *start: from there it is to be committed. NULL: it has failed, 503. */
enum { RESPONSE_LINES_BYTES_MAX = 3600, RESPONSE_REST_BYTES = 96 };
[[gnu::warn_unused_result]] char *response_open_rendered(struct http_exchange *x, int status, struct span lines,
                                                         uint64_t body_bytes, char **start);

/* Begins a response that is captured: cache.c. `later`: its body follows. */
void capture_open(struct http_exchange *x, int status, struct span type, bool later, struct span body);

enum { RESPONSE_TYPE_BYTES_MAX = 256 };

/* Has no body, whatever the handler writes: RFC 9110 §15.3.5, §15.3.6, §15.4.5. */
static inline bool response_bodiless(int status) {
    return status == 204 || status == 205 || status == 304;
}

/* May a field have this value? */
bool response_clean(struct span text);

/* May a body be written? Fails the response when none was begun. */
[[gnu::warn_unused_result]] bool response_writable_rare(struct http_exchange *x);
[[gnu::warn_unused_result]] static inline bool response_writable(struct http_exchange *x) {
    return x->failed ? false : x->length_at != NULL || response_writable_rare(x);
}

/* The connection ends after this response, whose head is written already: it says so if it can still be changed. */
void response_end_connection(struct http_exchange *x);

/* The client has gone: what was written is given back, and what comes is only counted. */
void response_orphan(struct http_exchange *x);

/* http_response_reserve and _commit, inline for those who call often. */
[[gnu::warn_unused_result]] static inline char *response_reserve(struct http_exchange *x, uint32_t n) {
    char *room = !x->failed && x->length_at != NULL ? chain_reserve(x->out, n) : NULL;
    return room != NULL ? room : http_response_reserve(x, n);
}

static inline void response_commit(struct http_exchange *x, uint32_t n) {
    if (__builtin_expect(x->aside != 0, 0)) {
        http_response_commit(x, n);
        return;
    }
    x->body_written += n;
    chain_commit(x->out, n);
}

/* An Allow field for a set of methods. RFC 9110 §10.2.1 */
void response_allow(struct http_exchange *x, uint32_t allow);

/* 503 for a client that there is no exchange for, straight to an empty line's output. */
void response_shed(struct http_conn *conn);

/* ---------------------------------------------------------------------------------------------------- streams ---- */

/* http_response_write, _reserve and _commit of a streamed response that has not failed and is not silent. */
void stream_write(struct http_exchange *x, struct span bytes);
[[gnu::warn_unused_result]] char *stream_reserve(struct http_exchange *x, uint32_t n);
void stream_commit(struct http_exchange *x, uint32_t n);

/* It is its turn: what it has moves to the connection's output, where it goes on. */
void stream_turn(struct http_exchange *x);

/* The handler pauses: http_exchange_park. */
void stream_pause(struct http_exchange *x);

/* The last chunk. */
void stream_end(struct http_exchange *x);

/* Moves a response of its own to the connection's output. */
void exchange_move_out(struct http_exchange *x);

/* ---------------------------------------------------------------------------------------------------- bodies ---- */

/* conn->state: what comes next while conn->reading is set. */
enum body_state {
    BODY_NONE,
    BODY_LENGTH, /* body_left bytes, then the end */
    BODY_DATA,   /* body_left bytes of a chunk */
    /* one byte each, RFC 9112 §7.1: */
    BODY_SIZE,           /* the first digit of a size */
    BODY_DIGITS,
    BODY_SIZE_BLANK,     /* a blank behind the size: only an extension may follow */
    BODY_EXTENSION,      /* behind ';' */
    BODY_NAME,
    BODY_NAME_BLANK,
    BODY_VALUE,          /* behind '=' */
    BODY_VALUE_TOKEN,
    BODY_VALUE_QUOTED,
    BODY_VALUE_ESCAPE,
    BODY_VALUE_END,      /* behind the closing '"' */
    BODY_VALUE_BLANK,
    BODY_SIZE_LF,
    BODY_DATA_CR,
    BODY_DATA_LF,
    BODY_TRAILER,        /* the first byte of a trailer line, or the last CR */
    BODY_TRAILER_NAME,
    BODY_TRAILER_VALUE,
    BODY_TRAILER_LF,
    BODY_END_LF,
    BODY_END,
    BODY_STATES_COUNT,
};

static inline bool body_is_streamed(const struct http_exchange *x) {
    return x->route != NULL && x->route->body == HTTP_BODY_STREAMED;
}

/* Begins the body of `x`, whose head was just read and which has a route or has failed already (then the body is dropped).
 * `data` is what has arrived behind the head. Sets conn->reading, or refuses the request, and then nothing more is read. */
void body_begin(struct http_conn *conn, struct http_exchange *x, struct span data);

enum {
    BODY_OK = 0,    /* whole */
    BODY_MORE = 1,  /* all of `data` was taken */
    BODY_PIECE = 2, /* *piece is the next of a streamed body */
    /* else a status: 400, 413, 431 */
};

/* Takes from `data` (sets *used) for conn->reading. */
[[gnu::warn_unused_result]] int body_take(struct http_conn *conn, struct span data, size_t *used, struct span *piece);

#endif
