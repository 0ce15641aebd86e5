/* HTTP/1.1 for a server: bytes in, exchanges out; responses in, bytes out. No socket, no clock, no allocation: memory comes
 * from pools that the caller planned, time is an argument. RFC 9110 (semantics) and RFC 9112 (HTTP/1.1).
 *
 * A connection (struct http_conn) is fed with http_conn_next() until it says HTTP_MORE. Each request becomes an exchange
 * (struct http_exchange): request, response, workspace. Several exchanges of a connection may be unfinished at once;
 * responses leave in request order: the first unfinished one (the head of the line) writes straight into the connection's
 * output chain, the others into chains of their own, which are spliced behind when their turn comes.
 *
 * Bad input is answered here (400, 404, 405, 413, 414, 417, 431, 501, 505), in order, behind the valid requests before it;
 * what cannot be framed any more ends the connection after the answer.
 *
 * Depends on: mem. One thread per connection. */
#ifndef RM_HTTP_HTTP_H
#define RM_HTTP_HTTP_H

#include "mem/arena.h"
#include "mem/chain.h"
#include "mem/pool.h"
#include "mem/span.h"

struct http_router;
struct http_exchange;

enum {
    HTTP_FIELDS_MAX = 100,   /* the compiled-in ceiling of limits.fields */
    HTTP_PARAMS_MAX = 8,     /* {name} segments of one route */
    HTTP_SEGMENTS_MAX = 16,  /* segments of a route's path */
    HTTP_ROUTES_MAX = 260,   /* of one router */
    HTTP_HEAD_BYTES_MAX = 60 * 1024,         /* limits.request_line_bytes + limits.header_bytes: views have 16 bits */
    HTTP_INPUT_BYTES_MAX = 16 * 1024,        /* longest span that http_conn_next takes */
    HTTP_BODY_IN_WORKSPACE_BYTES = 16 * 1024, /* a buffered body up to this needs no body slot */
    HTTP_DATE_BYTES = 29,                    /* "Sun, 06 Nov 1994 08:49:37 GMT" */
};

enum http_method {
    HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_CONNECT, HTTP_OPTIONS, HTTP_TRACE, HTTP_PATCH,
    HTTP_METHODS_COUNT,
    HTTP_METHOD_UNKNOWN = HTTP_METHODS_COUNT, /* a valid token that we don't know: 501 */
};

/* ------------------------------------------------------------------------------------------------------ requests ---- */

/* A view: offset and length from the start of the head, so that it survives a move of the head. */
struct http_view {
    uint16_t offset, len; /* bytes */
};

struct http_field {
    struct http_view name;  /* a token, as sent */
    struct http_view value; /* without the blanks around it */
};

/* A parsed head. Invariant: every view lies inside head[0, head_bytes). */
struct http_request {
    const char *head; /* the first byte of the request line: in the caller's input, the carry, or (settled) the workspace */
    uint32_t head_bytes;
    uint8_t method;        /* enum http_method */
    uint8_t version_minor; /* HTTP/1.x */
    bool keep_alive;       /* the connection may go on after this exchange: RFC 9112 §9.3 */
    bool chunked;          /* Transfer-Encoding: chunked */
    bool has_length;       /* Content-Length is there */
    bool expect_continue;  /* Expect: 100-continue, RFC 9110 §10.1.1 */
    bool settled;          /* the head was copied into the workspace */
    uint8_t param_count;
    uint16_t field_count;
    uint16_t seen; /* which fields were there: parse.h */
    struct http_view method_text, target, path, query; /* path: "/" for an absolute-form target without one */
    struct http_view params[HTTP_PARAMS_MAX]; /* in the order of the route's {name} segments */
    uint64_t content_length;
    struct http_field fields[HTTP_FIELDS_MAX];
};

static inline struct span http_span(const struct http_request *request, struct http_view view) {
    return span_of(request->head + view.offset, view.len);
}

/* The first field of that name (ASCII case ignored). False when there is none. */
bool http_request_field(const struct http_request *request, struct span name, struct span *value);

/* ---------------------------------------------------------------------------------------------------------- routes ---- */

enum http_body { HTTP_BODY_NONE, HTTP_BODY_BUFFERED, HTTP_BODY_STREAMED };

struct http_route {
    struct span method; /* "GET" */
    struct span path;   /* "/json/{count}" */
    enum http_body body;
    uint32_t index; /* the caller's: what the route means to it */
};

/* Compiles routes into `memory` of http_router_bytes(n). Keeps `routes` and the bytes of their spans. NULL and `why` when a
 * path is malformed (no leading '/', unbalanced braces, a name twice, more than HTTP_PARAMS_MAX names or HTTP_SEGMENTS_MAX
 * segments), a method is unknown, or two routes match the same requests. A GET route answers HEAD as well. OPTIONS
 * is answered by itself (204 with Allow: RFC 9110 §9.3.7) for every path that has a route and none for OPTIONS. */
size_t http_router_bytes(uint32_t n);
[[gnu::warn_unused_result]] struct http_router *http_router_init(void *memory, const struct http_route *routes, uint32_t n,
                                                                 char *why, size_t why_bytes);

enum http_found { HTTP_FOUND, HTTP_FOUND_NO_PATH, HTTP_FOUND_NO_METHOD };

/* Finds the route of a request by method and path; static segments win over named ones at each position. FOUND: *route, and
 * request->params are set. NO_METHOD: *allow has a bit for each method (1 << enum http_method) that the path knows. */
enum http_found http_router_find(const struct http_router *router, struct http_request *request,
                                 const struct http_route **route, uint32_t *allow);

/* The position of a {name} in a route's params, or -1. */
int http_route_param(const struct http_route *route, struct span name);

/* ----------------------------------------------------------------------------------------------------- connections ---- */

struct http_limits {
    uint32_t request_line_bytes; /* 8192: longer is 414 */
    uint32_t header_bytes;       /* 16384: all fields together; more is 431. The trailers of a body count anew */
    uint32_t fields;             /* 100: more is 431; likewise */
    uint32_t pipeline;           /* 64: exchanges of one connection that are unfinished */
    uint64_t body_bytes;         /* 1048576: buffered (and dropped) bodies; more is 413 */
};

enum { HTTP_TEMPLATES = 4, HTTP_TEMPLATE_TYPE_BYTES = 32, HTTP_TEMPLATE_BYTES = 144 };

/* The beginning of a head that was written before, up to the digits of its length. Right for the same status and type as long
 * as the date is the same. */
struct http_template {
    int status;        /* 0: free */
    uint32_t len;      /* of text */
    uint32_t type_len; /* of type */
    char date[HTTP_DATE_BYTES];
    char type[HTTP_TEMPLATE_TYPE_BYTES];
    char text[HTTP_TEMPLATE_BYTES];
};

enum { HTTP_KNOWN_HOST_BYTES = 60 };

/* The Host that was found good last: nearly every request names the same. */
struct http_known_host {
    uint32_t len; /* 0: none */
    char text[HTTP_KNOWN_HOST_BYTES];
};

/* What all connections of a worker share. Zeroed by the caller, but for what it sets: everything up to `draining`. Sizes: see
 * http_carry_bytes and http_workspace_bytes. */
struct http_shared {
    struct http_limits limits;
    struct pool *exchanges;  /* items: at least sizeof(struct http_exchange) + workspace_bytes, laid out as
                                [struct http_exchange ... user part][workspace]; see exchange_bytes */
    uint32_t exchange_bytes; /* where the workspace starts in an item: >= sizeof(struct http_exchange), multiple of 16 */
    uint32_t workspace_bytes;
    struct pool *carries;    /* items of http_carry_bytes(): incomplete heads */
    struct pool *blocks;     /* items of BLOCK_BYTES: response chains */
    struct pool *bodies;     /* items of limits.body_bytes: large buffered bodies */
    char date[HTTP_DATE_BYTES + 1]; /* kept current by the caller: http_date */
    bool draining;           /* set by the caller: the last response of each connection says Connection: close */
    uint64_t now_ns;         /* kept current by the caller: its clock, for http_exchange.began_ns */
    /* Called once for each exchange when its response is complete, or is given up because its client has gone (x->conn is NULL
     * then), and before anything of it is given back: head, status (0: none was begun), body_received and body_written are
     * right. Not for what was answered without an exchange. NULL: nobody wants to know. */
    void (*done)(struct http_exchange *x);
    /* Called for each exchange that is still with its handlers when its client goes: x->conn is there yet, and NULL afterwards.
     * May touch no exchange and no connection of this module. NULL: nobody wants to know. */
    void (*lost)(struct http_exchange *x);
    /* http's own: */
    struct http_known_host known_host;
    struct http_template templates[HTTP_TEMPLATES];
    /* counters, single writer: */
    uint64_t requests;       /* heads that were answered, errors included */
    uint64_t responses[6];   /* by status class; [0]: those of class 5 that failed with 503: shed */
    uint64_t head_copies;    /* heads copied to a workspace */
    uint64_t carries_used;   /* incomplete tails that were copied */
};

size_t http_carry_bytes(const struct http_limits *limits);     /* a whole head and one input more */
uint32_t http_workspace_bytes(const struct http_limits *limits); /* a whole head, a small body, response fields, the rest */

/* IMF-fixdate, RFC 9110 §5.6.7. Writes HTTP_DATE_BYTES and a NUL. */
void http_date(int64_t seconds_since_1970, char out[static HTTP_DATE_BYTES + 1]);

/* What the cache does with a response: cache.h. */
enum http_kept {
    HTTP_PLAIN,
    HTTP_CAPTURED,     /* it is collected in x->own, without a head */
    HTTP_KNOWN_LENGTH, /* its head is written, with the length of the body that follows */
};

struct http_exchange {
    struct http_exchange *next; /* the one behind it on its connection */
    struct http_conn *conn;     /* NULL: the client has gone, or there was none */
    struct http_shared *shared;
    const struct http_route *route;
    struct arena workspace;
    struct chain_mark start; /* of the response in *out */
    /* from here to `request` all is zero at first, but own.blocks */
    uint64_t began_ns;      /* shared->now_ns when its head was complete */
    struct span body;       /* BUFFERED: the whole body, once READY */
    uint64_t body_received; /* bytes of body so far, of any kind */
    char *body_slot;        /* from shared->bodies, or NULL */

    /* the response */
    struct chain own;         /* used while not at the head of the line, or after a park */
    struct chain *out;        /* conn->out or &own */
    char *length_at;          /* where Content-Length is patched in, or NULL */
    union {
        char *connection_at;       /* where the head, which is still here, says keep-alive; NULL: that is settled */
        const char *captured_type; /* HTTP_CAPTURED, once it was begun: its content type, with a NUL; in the workspace */
        uint64_t body_expected;    /* HTTP_KNOWN_LENGTH: what body_written must be at the end */
    };
    char *chunk_at;           /* the size of the open chunk, to be patched in; NULL: none is open. See stream.c */
    struct span extra_fields; /* "Name: value\r\n"... in the workspace */
    uint64_t body_written;    /* bytes of response body so far */
    int status;               /* 0: nothing written yet */
    union {
        struct {
            bool failed;  /* the response could not be built: it becomes 503 or 500 at the end; or it is cut */
            uint8_t kept; /* enum http_kept: set by cache.c */
        };
        uint16_t barred; /* both at once; 0: a response may begin as ever */
    };
    union {
        struct {
            bool silent;   /* the body is counted, but not sent: HEAD, 204, 304, and when the client has gone. Set when the
                              response begins, and when the connection is released */
            bool streamed; /* begun by http_response_stream: it leaves while it is written */
        };
        uint16_t aside; /* both at once; 0: the body goes straight to *out */
    };
    bool finished;            /* the response is complete; waiting for its turn */
    bool close_after;         /* the connection ends after this response */
    bool continue_owed;       /* the client waits for 100 (Continue) before it sends the body */
    bool chunked;             /* its body is sent in chunks; else it ends with the connection */
    bool left;                /* something of it may have left: it can't be rolled back any more */
    bool cut;                 /* it ends here, incomplete (then it has failed, too) */
    bool parked;              /* set by http_exchange_park */
    bool shadow;              /* it never had a client: http_exchange_shadow */

    struct http_request request; /* last: its tail is rarely touched */
};

/* The workspace is sized so that this much is left for the application after the worst head and body. */
enum { HTTP_WORKSPACE_FREE_BYTES = 8 * 1024 };

struct http_conn {
    struct http_shared *shared;
    const struct http_router *router;
    struct chain *out;           /* bytes for the socket: the caller's, flushed by it */
    struct http_exchange *first; /* unfinished exchanges in order; the head of the line */
    struct http_exchange *last;
    struct http_exchange *reading; /* whose head is complete and whose body is not; always == last then */
    char *carry;                   /* from shared->carries; NULL when nothing is incomplete */
    uint32_t carry_start, carry_len; /* unread bytes are carry[carry_start, carry_len) */
    uint32_t scanned;              /* of the incomplete head: bytes that were looked at already */
    uint32_t line_start;           /* of the incomplete head: where its current line begins */
    uint32_t unfinished;           /* exchanges */
    size_t waiting;                /* bytes of finished responses that wait for their turn */
    uint64_t body_left;            /* Content-Length or current chunk: bytes to come */
    uint32_t chunk_extra;          /* bytes of chunk extensions and trailers so far (bounded) */
    uint8_t trailers;              /* of the current body so far (bounded) */
    uint8_t chunk_digits;          /* of the current chunk size */
    uint8_t state;                 /* of the body: enum body_state in http_priv.h */
    uint8_t head_state;            /* where the resumable parser stands */
    bool full;                     /* HTTP_FULL was said last */
    bool more_input;               /* bytes behind the newest request are here already */
    bool closing;                  /* no more requests will be read; output ends the connection */
    bool abrupt;                   /* it ends, but its client has not asked for that and may be sending: RFC 9112 §9.6 */
    bool hold;                     /* the caller's, false at first: begin no further request, say FULL instead (its output,
                                      `waiting` included, is above its mark); http only reads it */
    uint32_t allowance;            /* the caller's, UINT32_MAX at first: requests that may begin before http says FULL; http
                                      counts it down */
};

enum http_event {
    HTTP_MORE,   /* the input is used up */
    HTTP_READY,  /* *x: run its handler, then http_exchange_finish or http_exchange_park */
    HTTP_STREAM, /* *x: the head of a request whose body is streamed: pieces follow, then READY, however short the body. An
                    exchange whose body goes wrong is answered and given back here: ENDED comes instead of READY */
    HTTP_PIECE,  /* *x, *piece: the next bytes of its body, borrowed as the input is */
    HTTP_FULL,   /* limits.pipeline reached, conn->hold is set, conn->allowance used up, or no exchange free while some are
                    unfinished: the rest of the input was taken into the carry; call again, with an empty input, when that
                    has changed. Don't feed before */
    HTTP_ENDED,  /* no more is read from this connection: the rest of the input is dropped */
};

/* `router` and `out` are kept for the life of the connection. */
void http_conn_init(struct http_conn *conn, struct http_shared *shared, const struct http_router *router, struct chain *out);

/* Takes what it can from *input (advancing it; at most HTTP_INPUT_BYTES_MAX bytes, all of it before MORE, FULL and ENDED)
 * and says what to do next. Call until MORE, FULL or ENDED. Whatever is incomplete at MORE was copied (carry or workspace),
 * so the input may die. Responses to bad requests appear in *conn->out by themselves. */
[[gnu::warn_unused_result]] enum http_event http_conn_next(struct http_conn *conn, struct span *input,
                                                           struct http_exchange **x, struct span *piece);

/* The peer has ended its stream: an incomplete request is dropped, finished ones are still answered. */
void http_conn_end(struct http_conn *conn);

/* True when nothing more will come out: closing (or ended), no unfinished exchange. The caller closes when its output is
 * sent. */
bool http_conn_done(const struct http_conn *conn);

enum http_phase { HTTP_PHASE_IDLE, HTTP_PHASE_HEAD, HTTP_PHASE_BODY, HTTP_PHASE_BUSY };

/* What the connection waits for, for timeouts: the next request, the rest of a head, the rest of a body, or its handlers. */
enum http_phase http_conn_phase(const struct http_conn *conn);

/* The connection is gone: gives its memory back. Parked exchanges get conn == NULL and live on until they finish. */
void http_conn_release(struct http_conn *conn);

/* 503 with Connection: close, for a client that there is no room for; behind it nothing may follow. False when there is no
 * block. RFC 9110 §15.6.4 */
[[gnu::warn_unused_result]] bool http_answer_busy(const struct http_shared *shared, struct chain *out);

/* Answers a refused piece (see rm_piece_fn) or a caller's timeout (408): `status` if nothing was written yet, or, at a timeout,
 * nothing whole; then the end of the connection. */
void http_conn_refuse(struct http_conn *conn, int status);

/* ------------------------------------------------------------------------------------------------------- exchanges ---- */

/* The handler goes on later: copies the head into the workspace when it is not there yet, and what was written of the
 * response away from the connection's output. What was written of a streamed response leaves if it is its turn, else it
 * waits in its own chain until it is; from then on it is written straight to the connection's output. */
void http_exchange_park(struct http_exchange *x);

/* The response is complete (none was begun: 204). Everything that can leave in order moves to the connection's output; the
 * exchange goes back to its pool, at once or when its turn comes. With conn == NULL it just goes back. */
void http_exchange_finish(struct http_exchange *x);

/* ------------------------------------------------------------------------------------------------------- responses ---- */

struct span http_reason(int status); /* "Not Found"; empty when unknown. RFC 9110 §15 */

/* A field for the head; before http_response_begin or http_response_whole. Name must be a token, none of those that are
 * written here (Content-Length, Transfer-Encoding, Connection, Date), and value free of controls: otherwise the response fails
 * (500). RFC 9110 §5.5 */
void http_response_field(struct http_exchange *x, struct span name, struct span value);

/* A whole response; HEAD requests get the same head without the body. 204 and 304 have no body and no length. */
void http_response_whole(struct http_exchange *x, int status, struct span content_type, struct span body);

/* Begins a response whose length is not known yet; it is patched in by http_exchange_finish. */
void http_response_begin(struct http_exchange *x, int status, struct span content_type);
void http_response_write(struct http_exchange *x, struct span bytes);

/* At least `n` (<= HTTP_RESERVE_BYTES_MAX) writable bytes of the body, committed by http_response_commit; NULL when the
 * response failed. What a response to HEAD, a 204 or a 304 commits is counted, but not sent. */
enum { HTTP_RESERVE_BYTES_MAX = BLOCK_ROOM - 8 }; /* a block, less the framing of a chunk */
[[gnu::warn_unused_result]] char *http_response_reserve(struct http_exchange *x, uint32_t n);
void http_response_commit(struct http_exchange *x, uint32_t n);

/* Marks the response as failed: rolled back, `status` (500, 503 with Retry-After: 1) instead. A streamed response of which
 * something may have left is cut instead: http_response_cut. */
void http_response_fail(struct http_exchange *x, int status);

/* Begins a response that may leave while it is written: chunked, or for HTTP/1.0 up to the end of the connection. RFC 9112
 * §6.1, §6.3, §7.1. Written with http_response_write, _reserve and _commit, _lend; what is there leaves with
 * http_exchange_park or http_response_flush, as far as it is this exchange's turn, and http_exchange_finish writes the last
 * chunk. While its own request body is still coming nothing of it leaves. */
void http_response_stream(struct http_exchange *x, int status, struct span content_type);

/* What was written so far of a streamed response may leave: the open chunk is closed. */
void http_response_flush(struct http_exchange *x);

/* The response ends here, visibly incomplete (but for HTTP/1.0, which cannot tell): what was written leaves, then the
 * connection ends. One that is not streamed becomes 500. Then http_exchange_finish, as ever. */
void http_response_cut(struct http_exchange *x);

/* Appends to a begun or streamed body without a copy: the bytes must stay as they are until `release(arg)` is called (with
 * release NULL: for the life of the process). It is called once in any case: when the last byte was sent or dropped, and at
 * once, inside of this call, when they are not needed (HEAD, a failed response, a client that has gone). */
void http_response_lend(struct http_exchange *x, struct span bytes, block_release_fn *release, void *arg);

/* Moves all of `from`, whose blocks are shared->blocks', to the end of a begun or streamed body: by pointer, or by copy when it
 * is short. `from` is empty afterwards, whatever becomes of the response. */
void http_response_splice(struct http_exchange *x, struct chain *from);

/* http_response_whole with a body that is lent likewise. */
void http_response_whole_lent(struct http_exchange *x, int status, struct span content_type, struct span body,
                              block_release_fn *release, void *arg);

/* Bytes of the response that wait for their turn: 0 when it is this exchange's turn. */
size_t http_exchange_waiting(const struct http_exchange *x);

#endif
