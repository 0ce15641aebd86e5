#include "http/http_priv.h"
#include "http/parse.h"
#include "mem/assert.h"

void http_conn_init(struct http_conn *conn, struct http_shared *shared, const struct http_router *router, struct chain *out) {
    *conn = (struct http_conn){ .shared = shared, .router = router, .out = out, .allowance = UINT32_MAX };
}

/* -------------------------------------------------------------------------------------------------------- carry ---- */

static uint32_t carry_room(const struct http_limits *limits) {
    return http_parse_bytes_max(limits) + HTTP_INPUT_BYTES_MAX;
}

size_t http_carry_bytes(const struct http_limits *limits) {
    return sizeof(struct carry) + carry_room(limits);
}

static void carry_give(struct http_conn *conn) {
    if (conn->carry != NULL) {
        pool_give(conn->shared->carries, conn->carry);
        conn->carry = NULL;
        conn->carry_start = conn->carry_len = 0;
    }
}

/* Puts all of the input behind what the carry holds. */
static void carry_fill(struct http_conn *conn, struct span *input) {
    if (input->len == 0) {
        return;
    }
    rm_assert(input->len <= carry_room(&conn->shared->limits) - conn->carry_len);
    memcpy(carry_of(conn)->bytes + conn->carry_len, input->data, input->len);
    conn->carry_len += (uint32_t)input->len;
    *input = span_from(*input, input->len);
}

/* What is unread goes to the beginning of a carry, so that a whole input fits behind it. False when there is none free. */
static bool carry_keep(struct http_conn *conn, struct span *input) {
    if (conn->carry != NULL) {
        struct carry *carry = carry_of(conn);
        conn->carry_len -= conn->carry_start;
        memmove(carry->bytes, carry->bytes + conn->carry_start, conn->carry_len);
        conn->carry_start = 0;
        return true;
    }
    conn->carry = pool_take(conn->shared->carries);
    if (conn->carry == NULL) {
        return false;
    }
    conn->shared->carries_used++;
    carry_fill(conn, input);
    return true;
}

static struct span unread(const struct http_conn *conn, const struct span *input) {
    if (conn->carry == NULL) {
        return *input;
    }
    return span_of(carry_of(conn)->bytes + conn->carry_start, conn->carry_len - conn->carry_start);
}

static void consume(struct http_conn *conn, struct span *input, size_t bytes) {
    if (conn->carry == NULL) {
        *input = span_from(*input, bytes);
    } else {
        conn->carry_start += (uint32_t)bytes;
    }
}

static void forget_head(struct http_conn *conn) {
    conn->scanned = 0;
    conn->line_start = 0;
    conn->head_state = PARSE_START;
}

/* ---------------------------------------------------------------------------------------------------- unhappy ends ---- */

/* Some pool is empty, so nothing more can be read here: 503 behind what is unfinished, or the end without a word. */
static void shed(struct http_conn *conn) {
    if (conn->unfinished == 0) {
        response_shed(conn);
        return;
    }
    struct http_exchange *x = exchange_take(conn);
    conn->closing = true;
    if (x == NULL) {
        return;
    }
    x->request = (struct http_request){ .method = HTTP_METHOD_UNKNOWN, .version_minor = 1 };
    conn->shared->requests++;
    exchange_enqueue(x);
    exchange_refuse(x, 503);
}

static enum http_event ended(struct http_conn *conn, struct span *input) {
    *input = span_from(*input, input->len);
    carry_give(conn);
    forget_head(conn);
    return HTTP_ENDED;
}

/* No further request can begin now. */
static enum http_event full(struct http_conn *conn, struct span *input) {
    if (!carry_keep(conn, input)) {
        shed(conn);
        return ended(conn, input);
    }
    conn->full = true;
    return HTTP_FULL;
}

/* -------------------------------------------------------------------------------------------------------- heads ---- */

/* The head is incomplete: what is known of it, and its bytes, wait in a carry. False when there is none. */
static bool keep_head(struct http_conn *conn, struct span *input, const struct http_request *request, struct parse_at at) {
    if (!carry_keep(conn, input)) {
        return false;
    }
    if (request != &carry_of(conn)->partial) {
        request_copy(&carry_of(conn)->partial, request);
    }
    conn->scanned = at.scanned;
    conn->line_start = at.line_start;
    conn->head_state = at.state;
    return true;
}

/* The route of a request, or what it gets instead. Returns that status, 0 for a route. */
static int find_route(struct http_exchange *x) {
    uint32_t allow = 0;
    const struct http_request *request = &x->request;
    if (request->method == HTTP_METHOD_UNKNOWN) {
        return 501; /* RFC 9110 §9.1 */
    }
    switch (http_router_find(x->conn->router, &x->request, &x->route, &allow)) {
    case HTTP_FOUND: return 0;
    case HTTP_FOUND_NO_METHOD: /* RFC 9110 §15.5.6, §9.3.7 */
        response_allow(x, allow);
        return request->method == HTTP_OPTIONS ? 204 : 405;
    case HTTP_FOUND_NO_PATH: break;
    }
    bool server_wide = request->method == HTTP_OPTIONS && request->path.len == 1 && request->head[request->path.offset] == '*';
    return server_wide ? 204 : 404; /* OPTIONS *: RFC 9110 §9.3.7 */
}

/* What is to be done with a request whose head is complete. */
enum next { NEXT_READY, NEXT_STREAM, NEXT_AGAIN };

static enum next route_request(struct http_conn *conn, struct http_exchange *x, struct span data) {
    const struct http_request *request = &x->request;
    exchange_reserve(x, 0);
    int status = find_route(x);
    if (status >= 400) {
        http_response_fail(x, status);
    }
    bool has_body = request->chunked || request->content_length > 0;
    if (has_body || (status == 0 && x->route->body == HTTP_BODY_STREAMED)) {
        body_begin(conn, x, data);
        bool stream = conn->reading == x && body_is_streamed(x);
        return stream ? NEXT_STREAM : NEXT_AGAIN;
    }
    if (status != 0) {
        http_exchange_finish(x);
        return NEXT_AGAIN;
    }
    return NEXT_READY;
}

/* A head was read, or found bad. */
static enum next take_request(struct http_conn *conn, struct span *input, struct http_exchange *x, int status) {
    conn->shared->requests++;
    conn->allowance--;
    exchange_enqueue(x);
    if (status != PARSE_OK) {
        exchange_refuse(x, status);
        return NEXT_AGAIN;
    }
    consume(conn, input, x->request.head_bytes);
    struct span data = unread(conn, input);
    conn->more_input = data.len > 0;
    if (!x->request.keep_alive) {
        conn->closing = true;
    }
    return route_request(conn, x, data);
}

static enum http_event read_head(struct http_conn *conn, struct span *input, struct http_exchange **out, bool *again) {
    struct span data = unread(conn, input);
    const struct http_limits *limits = &conn->shared->limits;
    if (conn->hold || conn->allowance == 0 || conn->unfinished >= limits->pipeline) {
        return full(conn, input);
    }
    struct http_exchange *x = exchange_take(conn);
    if (x == NULL) {
        if (conn->unfinished > 0) {
            return full(conn, input);
        }
        shed(conn);
        return ended(conn, input);
    }
    struct parse_at at = { conn->line_start, conn->scanned, conn->head_state };
    bool resumed = (at.line_start | at.scanned | at.state) != 0;
    struct http_request *request = resumed ? &carry_of(conn)->partial : &x->request;
    int status = http_parse(request, limits, &conn->shared->known_host, data.data, (uint32_t)data.len, &at);
    if (status == PARSE_MORE) {
        bool kept = keep_head(conn, input, request, at); /* copies from the exchange */
        exchange_give(x);
        if (!kept) {
            shed(conn);
            return ended(conn, input);
        }
        return HTTP_MORE;
    }
    if (resumed) {
        request_copy(&x->request, request);
        forget_head(conn);
    }
    enum next next = take_request(conn, input, x, status);
    *out = x;
    *again = next == NEXT_AGAIN;
    return next == NEXT_STREAM ? HTTP_STREAM : HTTP_READY;
}

/* ------------------------------------------------------------------------------------------------------- bodies ---- */

static enum http_event read_body(struct http_conn *conn, struct span *input, struct http_exchange **out, struct span *piece,
                                 bool *again) {
    struct http_exchange *x = conn->reading;
    struct span data = unread(conn, input);
    size_t used;
    int result = body_take(conn, data, &used, piece);
    *out = x;
    if (result == BODY_MORE) { /* of a dropped or collected body; the head's place may be gone soon */
        consume(conn, input, used);
        exchange_settle(x);
        carry_give(conn);
        exchange_continue(conn);
        return HTTP_MORE;
    }
    consume(conn, input, used);
    if (result == BODY_PIECE) {
        return HTTP_PIECE;
    }
    if (result != BODY_OK) {
        exchange_refuse(x, result);
        *again = true;
        return HTTP_ENDED;
    }
    conn->reading = NULL;
    conn->state = BODY_NONE;
    conn->more_input = unread(conn, input).len > 0;
    if (x->route == NULL || (x->failed && !body_is_streamed(x))) { /* it has its answer already */
        http_exchange_finish(x);
        *again = true;
    }
    return HTTP_READY;
}

enum http_event http_conn_next(struct http_conn *conn, struct span *input, struct http_exchange **x, struct span *piece) {
    rm_assert(input->len <= HTTP_INPUT_BYTES_MAX);
    conn->full = false;
    if (conn->carry != NULL) {
        carry_fill(conn, input);
    }
    for (;;) {
        bool again = false;
        enum http_event event;
        if (conn->reading != NULL) {
            event = read_body(conn, input, x, piece, &again);
        } else if (conn->closing) {
            return ended(conn, input);
        } else if (unread(conn, input).len == 0) {
            carry_give(conn);
            return HTTP_MORE;
        } else {
            event = read_head(conn, input, x, &again);
        }
        if (!again) {
            return event;
        }
    }
}

/* ---------------------------------------------------------------------------------------------------- ends, phases ---- */

/* Takes the exchange whose body is being read, the last in line, out of it. */
static void drop_reading(struct http_conn *conn) {
    struct http_exchange *x = conn->reading, *before = NULL;
    for (struct http_exchange *at = conn->first; at != x; at = at->next) {
        before = at;
    }
    if (before == NULL) {
        conn->first = NULL;
    } else {
        before->next = NULL;
    }
    conn->last = before;
    conn->unfinished--;
    conn->reading = NULL;
    exchange_give_up(x);
}

void http_conn_end(struct http_conn *conn) {
    if (conn->reading != NULL) {
        drop_reading(conn);
    }
    carry_give(conn);
    forget_head(conn);
    conn->closing = true;
    conn->full = false;
}

bool http_conn_done(const struct http_conn *conn) {
    return conn->closing && conn->first == NULL;
}

enum http_phase http_conn_phase(const struct http_conn *conn) {
    if (conn->reading != NULL) {
        return HTTP_PHASE_BODY;
    }
    if (conn->carry != NULL && !conn->full && !conn->closing) {
        return HTTP_PHASE_HEAD;
    }
    return conn->unfinished > 0 || conn->full ? HTTP_PHASE_BUSY : HTTP_PHASE_IDLE;
}

void http_conn_release(struct http_conn *conn) {
    exchanges_drop(conn);
    carry_give(conn);
    forget_head(conn);
    conn->closing = true;
    conn->full = false;
}

/* An answer to the head that never came. */
static void refuse_head(struct http_conn *conn, int status) {
    struct http_exchange *x = exchange_take(conn);
    if (x == NULL) {
        shed(conn);
        return;
    }
    request_copy(&x->request, &carry_of(conn)->partial);
    x->request.head = carry_of(conn)->bytes + conn->carry_start; /* moved since it was looked at */
    conn->shared->requests++;
    exchange_enqueue(x);
    exchange_refuse(x, status);
}

/* A timeout finds a response that was begun and will not be ended: as nothing of it has left while its body came, it is given
 * up. Whoever refuses a piece has ended it. */
static bool is_answered(const struct http_exchange *x, int status) {
    bool open = x->length_at != NULL || x->streamed;
    return x->status != 0 && !(status == 408 && open);
}

void http_conn_refuse(struct http_conn *conn, int status) {
    enum http_phase phase = http_conn_phase(conn);
    if (phase == HTTP_PHASE_BODY) {
        exchange_refuse(conn->reading, is_answered(conn->reading, status) ? 0 : status);
    } else if (phase == HTTP_PHASE_HEAD) {
        refuse_head(conn, status);
    }
    carry_give(conn);
    forget_head(conn);
    conn->closing = true;
    conn->full = false;
}
