/* What the files of this folder tell each other about connections and exchanges.
 * Depends on: http/http.h. */
#ifndef RM_HTTP_HTTP_PRIV_H
#define RM_HTTP_HTTP_PRIV_H

#include "http/http.h"

/* An item of shared->carries: bytes that wait for more, and what is known of the head that begins them. */
struct carry {
    struct http_request partial;
    char bytes[];
};

static inline struct carry *carry_of(const struct http_conn *conn) {
    return (struct carry *)(void *)conn->carry;
}

/* ------------------------------------------------------------------------------------------------- exchanges ---- */

/* A clean exchange that is not in the line yet; NULL when there is none. */
[[gnu::warn_unused_result]] struct http_exchange *exchange_take(struct http_conn *conn);

/* Back to the pool, with all it holds. It is in no line any more. */
void exchange_give(struct http_exchange *x);

/* Puts it at the end of its connection's line. */
void exchange_enqueue(struct http_exchange *x);

/* Copies the head, and a body that lies in the input, into the workspace. There is room for both: exchange_reserve. */
void exchange_settle(struct http_exchange *x);

/* Keeps room in the workspace for what exchange_settle would copy: the head, and `body_bytes` of the input. */
void exchange_reserve(struct http_exchange *x, size_t body_bytes);

/* Makes `status` its answer and finishes it: nothing is read after it. */
void exchange_refuse(struct http_exchange *x, int status);

/* Takes what is not finished out of the line: parked exchanges live on without a connection. */
void exchanges_drop(struct http_conn *conn);

/* Sends 100 (Continue) when it is time: RFC 9110 §10.1.1, in order with the responses before. */
void exchange_continue(struct http_conn *conn);

/* ------------------------------------------------------------------------------------------------- responses ---- */

/* The response as it will leave: patched, failed or empty ones replaced. */
void response_complete(struct http_exchange *x);

/* An Allow field for a set of methods. RFC 9110 §10.2.1 */
void response_allow(struct http_exchange *x, uint32_t allow);

/* 503 for a client that there is no exchange for, straight to an empty line's output. */
void response_shed(struct http_conn *conn);

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
