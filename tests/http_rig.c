#include "http_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "http/http_priv.h"

const struct rig_sizes rig_plenty = { 128, 4, 512, 4, { 8192, 16384, 100, 64, 1 << 20 } };

#define ROUTE(method, path, body, index) { { method, sizeof(method) - 1 }, { path, sizeof(path) - 1 }, body, index }

static const struct http_route routes[RIG_ROUTES_COUNT] = {
    ROUTE("GET", "/", HTTP_BODY_NONE, RIG_HELLO),
    ROUTE("GET", "/ok", HTTP_BODY_NONE, RIG_OK),
    ROUTE("GET", "/p/{a}/{b}", HTTP_BODY_NONE, RIG_PARAMS),
    ROUTE("POST", "/echo", HTTP_BODY_BUFFERED, RIG_ECHO),
    ROUTE("POST", "/count", HTTP_BODY_STREAMED, RIG_COUNT),
    ROUTE("PUT", "/drop", HTTP_BODY_NONE, RIG_DROP),
    ROUTE("GET", "/park/{n}", HTTP_BODY_NONE, RIG_PARK),
    ROUTE("POST", "/park", HTTP_BODY_BUFFERED, RIG_PARK_BODY),
    ROUTE("GET", "/begin/{n}", HTTP_BODY_NONE, RIG_BEGIN),
    ROUTE("GET", "/begin-park/{n}", HTTP_BODY_NONE, RIG_BEGIN_PARK),
    ROUTE("POST", "/refuse", HTTP_BODY_STREAMED, RIG_REFUSE),
    ROUTE("POST", "/early", HTTP_BODY_STREAMED, RIG_ANSWER_EARLY),
    ROUTE("GET", "/fail", HTTP_BODY_NONE, RIG_FAIL),
    ROUTE("GET", "/nothing", HTTP_BODY_NONE, RIG_NOTHING),
    ROUTE("POST", "/answer", HTTP_BODY_STREAMED, RIG_ANSWER),
    ROUTE("POST", "/mirror", HTTP_BODY_STREAMED, RIG_MIRROR),
    ROUTE("GET", "/host", HTTP_BODY_NONE, RIG_HOST),
    ROUTE("GET", "/stream/{n}", HTTP_BODY_NONE, RIG_STREAM),
    ROUTE("GET", "/cut/{n}", HTTP_BODY_NONE, RIG_CUT),
    ROUTE("OPTIONS", "/own", HTTP_BODY_NONE, RIG_OPTIONS),
    ROUTE("GET", "/cached/{n}", HTTP_BODY_NONE, RIG_CACHED),
};

/* The user part of an exchange. */
struct rig_exchange {
    struct http_exchange http;
    uint64_t written;
    uint32_t sum;
    uint64_t resumed;
};

static struct rig_exchange *mine(struct http_exchange *x) {
    return (struct rig_exchange *)(void *)x;
}

static void *take_memory(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void open_pool(struct pool *pool, void **memory, const char *name, size_t item_bytes, uint32_t count) {
    *memory = take_memory(pool_bytes(item_bytes, count) + 64);
    pool_init(pool, name, *memory, item_bytes, count);
}

static void count_done(struct http_exchange *x) {
    char *shared = (char *)x->shared;
    ((struct rig *)(void *)(shared - offsetof(struct rig, shared)))->done++;
}

void rig_open(struct rig *rig, const struct rig_sizes *sizes) {
    memset(rig, 0, sizeof *rig);
    char why[128];
    rig->router_memory = take_memory(http_router_bytes(RIG_ROUTES_COUNT));
    rig->router = http_router_init(rig->router_memory, routes, RIG_ROUTES_COUNT, why, sizeof why);
    if (rig->router == NULL) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    rig->shared.limits = sizes->limits;
    rig->shared.exchange_bytes = (sizeof(struct rig_exchange) + 15) / 16 * 16;
    rig->shared.workspace_bytes = http_workspace_bytes(&sizes->limits);
    open_pool(&rig->exchanges, &rig->memory[0], "exchanges", rig->shared.exchange_bytes + rig->shared.workspace_bytes,
              sizes->exchanges);
    open_pool(&rig->carries, &rig->memory[1], "carries", http_carry_bytes(&sizes->limits), sizes->carries);
    open_pool(&rig->blocks, &rig->memory[2], "blocks", BLOCK_BYTES, sizes->blocks);
    open_pool(&rig->bodies, &rig->memory[3], "bodies", (size_t)sizes->limits.body_bytes, sizes->bodies);
    rig->shared.exchanges = &rig->exchanges;
    rig->shared.carries = &rig->carries;
    rig->shared.blocks = &rig->blocks;
    rig->shared.bodies = &rig->bodies;
    rig->shared.done = count_done;
    http_date(784111777, rig->shared.date);
    rig->guard = guard_open(HTTP_INPUT_BYTES_MAX);
    rig->output = take_memory(RIG_OUTPUT_MAX);
    rig_reset(rig);
}

void rig_close(struct rig *rig) {
    guard_close(&rig->guard);
    for (int i = 0; i < 4; i++) {
        free(rig->memory[i]);
    }
    free(rig->router_memory);
    free(rig->output);
}

void rig_reset(struct rig *rig) {
    chain_init(&rig->out, &rig->blocks);
    http_conn_init(&rig->conn, &rig->shared, rig->router, &rig->out);
    rig->parked_count = 0;
    rig->full = rig->ended = false;
    rig->lent = rig->released = rig->cuts = rig->done = 0;
    rig->requests = rig->shared.requests;
    rig->output_len = 0;
    rig->cached.meta_bytes = 0;
}

/* ------------------------------------------------------------------------------------------------------ handlers ---- */

static void answer(struct http_exchange *x, const char *text) {
    http_response_whole(x, 200, SPAN("text/plain"), span_text(text));
}

static struct span param(const struct http_exchange *x, const char *name) {
    int i = http_route_param(x->route, span_text(name));
    return i < 0 ? SPAN("?") : http_span(&x->request, x->request.params[i]);
}

static uint64_t number(struct span text) {
    uint64_t value = 0;
    return span_u64(text, &value) ? value : 0;
}

/* The {n} of a route with a length. */
static uint64_t count_of(const struct http_exchange *x) {
    uint64_t n = number(param(x, "n"));
    return n < RIG_BEGIN_MAX ? n : RIG_BEGIN_MAX;
}

static void answer_params(struct http_exchange *x) {
    char text[256];
    struct span a = param(x, "a"), b = param(x, "b");
    snprintf(text, sizeof text, "a=%.*s b=%.*s", (int)a.len, a.data, (int)b.len, b.data);
    answer(x, text);
}

static void answer_host(struct http_exchange *x) {
    struct span host = SPAN("");
    (void)http_request_field(&x->request, SPAN("host"), &host);
    http_response_whole(x, 200, SPAN("text/plain"), host);
}

static void answer_count(struct http_exchange *x) {
    char text[64];
    snprintf(text, sizeof text, "%llu/%u", (unsigned long long)x->body_received, mine(x)->sum);
    answer(x, text);
}

/* `n` bytes "0123456789012...", from the `from`-th on, in pieces and reservations of different lengths. */
static void write_bytes(struct http_exchange *x, uint64_t from, uint64_t n) {
    for (uint64_t i = from; i < n;) {
        char piece[100];
        uint32_t len = (uint32_t)(1 + i % sizeof piece);
        len = len < n - i ? len : (uint32_t)(n - i);
        char *out = i % 2 == 0 ? piece : http_response_reserve(x, len);
        if (out == NULL) {
            return;
        }
        for (uint32_t k = 0; k < len; k++) {
            out[k] = (char)('0' + (i + k) % 10);
        }
        if (out == piece) {
            http_response_write(x, span_of(piece, len));
        } else {
            http_response_commit(x, len);
        }
        i += len;
    }
}

static void fail_midway(struct http_exchange *x) {
    http_response_field(x, SPAN("X-Lost"), SPAN("1"));
    http_response_begin(x, 200, SPAN("text/plain"));
    write_bytes(x, 0, 5000);
    http_response_fail(x, 500);
    write_bytes(x, 0, 10);
}

static void park(struct rig *rig, struct http_exchange *x) {
    if (rig->parked_count == RIG_PARKED_MAX) {
        abort();
    }
    http_exchange_park(x);
    rig->parked[rig->parked_count++] = x;
}

static void begin_and_park(struct rig *rig, struct http_exchange *x) {
    http_response_begin(x, 200, SPAN("text/plain"));
    write_bytes(x, 0, count_of(x) / 2);
    park(rig, x);
}

static void release_lent(void *arg) {
    ((struct rig *)arg)->released++;
}

static void lend_bytes(struct rig *rig, struct http_exchange *x, uint64_t from, uint64_t n) {
    static char digits[RIG_BEGIN_MAX + 10];
    for (size_t i = 0; digits[0] == '\0' || (i > 0 && i < sizeof digits); i++) {
        digits[i] = (char)('0' + i % 10);
    }
    rig->lent++;
    http_response_lend(x, span_of(digits + from % 10, (size_t)(n - from)), release_lent, rig);
}

/* A third of a streamed body, in some way that depends on how long it is; then it parks, or ends. */
static void stream_on(struct rig *rig, struct http_exchange *x) {
    uint64_t n = count_of(x), from = mine(x)->written, third = n / 3 + 1;
    uint64_t to = n - from > third ? from + third : n, middle = from + (to - from) / 2;
    write_bytes(x, from, middle);
    if (n % 2 == 0) {
        http_response_flush(x);
    }
    lend_bytes(rig, x, middle, to);
    mine(x)->written = to;
    if (to < n) {
        park(rig, x);
        return;
    }
    if (x->route->index == RIG_CUT) {
        rig->cuts++;
        http_response_cut(x);
    }
    http_exchange_finish(x);
}

static void begin_stream(struct rig *rig, struct http_exchange *x) {
    mine(x)->written = 0;
    http_response_stream(x, 200, SPAN(RIG_STREAMED_TYPE));
    stream_on(rig, x);
}

static void run(struct rig *rig, struct http_exchange *x) {
    rig->ready++;
    switch ((enum rig_route)x->route->index) {
    case RIG_HELLO: answer(x, "hello"); break;
    case RIG_OPTIONS:
    case RIG_OK: answer(x, "ok"); break;
    case RIG_PARAMS: answer_params(x); break;
    case RIG_ECHO: http_response_whole(x, 200, SPAN("application/octet-stream"), x->body); break;
    case RIG_DROP: mine(x)->sum = 0; answer_count(x); break;
    case RIG_STREAM:
    case RIG_CUT: begin_stream(rig, x); return;
    case RIG_HOST: answer_host(x); break;
    case RIG_CACHED: rig_cached(rig, x, count_of(x)); break;
    case RIG_MIRROR:
    case RIG_ANSWER: break;
    case RIG_ANSWER_EARLY:
    case RIG_REFUSE:
    case RIG_COUNT: answer_count(x); break;
    case RIG_PARK:
    case RIG_PARK_BODY: park(rig, x); return;
    case RIG_BEGIN:
        http_response_begin(x, 200, SPAN("text/plain"));
        write_bytes(x, 0, count_of(x));
        break;
    case RIG_BEGIN_PARK: begin_and_park(rig, x); return;
    case RIG_FAIL: fail_midway(x); break;
    case RIG_NOTHING: break;
    case RIG_ROUTES_COUNT: abort();
    }
    http_exchange_finish(x);
}

static void go_on(struct rig *rig, struct http_exchange *x) {
    struct http_request *request = &x->request;
    char text[128];
    if (x->route->index == RIG_STREAM || x->route->index == RIG_CUT) {
        stream_on(rig, x);
        return;
    }
    struct span n = x->route->index == RIG_PARK_BODY ? SPAN("") : param(x, "n"), field = SPAN("-");
    switch ((int)x->route->index) {
    case RIG_PARK:
        snprintf(text, sizeof text, "parked %.*s", (int)n.len, n.data);
        answer(x, text);
        break;
    case RIG_PARK_BODY:
        (void)http_request_field(request, SPAN("x"), &field);
        http_response_begin(x, 200, SPAN("text/plain"));
        http_response_write(x, http_span(request, request->path));
        http_response_write(x, field);
        http_response_write(x, x->body);
        break;
    default: /* RIG_BEGIN_PARK */
        write_bytes(x, count_of(x) / 2, count_of(x));
    }
    http_exchange_finish(x);
}

static void piece_came(struct rig *rig, struct http_exchange *x, struct span piece) {
    for (size_t i = 0; i < piece.len; i++) {
        mine(x)->sum += (uint8_t)piece.data[i];
    }
    if (x->route->index == RIG_MIRROR) {
        http_response_write(x, piece);
        http_response_flush(x);
    } else if (x->route->index == RIG_REFUSE) {
        http_conn_refuse(&rig->conn, 400);
    } else if (x->route->index == RIG_ANSWER && x->status == 0) {
        answer(x, "early");
    } else if (x->route->index == RIG_ANSWER_EARLY) {
        answer(x, "early");
        http_conn_refuse(&rig->conn, 400);
    }
}

/* ---------------------------------------------------------------------------------------------------------- feed ---- */

void rig_go_on(struct rig *rig, struct span input) {
    struct http_exchange *x = NULL, *streaming = NULL;
    struct span piece;
    rig->full = false;
    for (;;) {
        switch (http_conn_next(&rig->conn, &input, &x, &piece)) {
        case HTTP_READY:
            streaming = NULL;
            run(rig, x);
            break;
        case HTTP_STREAM:
            streaming = x;
            mine(x)->sum = 0;
            if (x->route->index == RIG_MIRROR) {
                http_response_stream(x, 200, SPAN(RIG_STREAMED_TYPE));
            }
            break;
        case HTTP_PIECE: piece_came(rig, x, piece); break;
        case HTTP_FULL: rig->full = true; return;
        case HTTP_ENDED: rig->ended = true; return;
        case HTTP_MORE:
            if (input.len > 0 || (streaming != NULL && rig->conn.reading != streaming)) {
                abort();
            }
            return;
        }
    }
}

void rig_feed(struct rig *rig, struct span bytes) {
    char *copy = guard_copy(&rig->guard, bytes.data, bytes.len);
    rig_go_on(rig, span_of(copy, bytes.len));
    memset(copy, '#', bytes.len); /* it may die now */
}

void rig_resume(struct rig *rig, uint32_t which) {
    struct http_exchange *x = rig->parked[which];
    rig->parked_count--;
    memmove(&rig->parked[which], &rig->parked[which + 1], (rig->parked_count - which) * sizeof x);
    go_on(rig, x);
    if (rig->full) {
        rig_go_on(rig, span_of(NULL, 0));
    }
}

void rig_resume_all(struct rig *rig) {
    while (rig->parked_count > 0) {
        rig_resume(rig, 0);
    }
}

void rig_feed_pieces(struct rig *rig, struct span bytes, size_t first, size_t step) {
    size_t at = 0, len = first;
    do {
        struct span piece = span_first(span_from(bytes, at), len < HTTP_INPUT_BYTES_MAX ? len : HTTP_INPUT_BYTES_MAX);
        rig_feed(rig, piece);
        while (rig->full) {
            rig_resume(rig, 0);
        }
        rig_take_output(rig);
        at += piece.len;
        len = step;
    } while (at < bytes.len);
}

void rig_take_output(struct rig *rig) {
    while (rig->out.bytes > 0) {
        struct iovec iov[16];
        size_t bytes;
        uint32_t n = chain_iov(&rig->out, iov, 16, &bytes);
        if (rig->output_len + bytes > RIG_OUTPUT_MAX) {
            abort();
        }
        for (uint32_t i = 0; i < n; i++) {
            memcpy(rig->output + rig->output_len, iov[i].iov_base, iov[i].iov_len);
            rig->output_len += iov[i].iov_len;
        }
        chain_consume(&rig->out, bytes);
    }
}

/* ------------------------------------------------------------------------------------------------------- summary ---- */

static struct span line_of(struct span *rest) {
    const char *end = rest->len > 1 ? memmem(rest->data, rest->len, "\r\n", 2) : NULL;
    if (end == NULL) {
        return span_of(NULL, 0);
    }
    struct span line = span_of(rest->data, (size_t)(end - rest->data));
    *rest = span_from(*rest, line.len + 2);
    return line;
}

static bool starts(struct span text, const char *with) {
    return text.len >= strlen(with) && memcmp(text.data, with, strlen(with)) == 0;
}

static struct span trimmed(struct span text) {
    while (text.len > 0 && text.data[0] == ' ') {
        text = span_from(text, 1);
    }
    return text;
}

/* How the body of a response ends. */
enum framing { BY_LENGTH, BY_CHUNKS, BY_CLOSE, BY_HEAD };

struct reply {
    int status; /* 0: it is none */
    enum framing framing;
    uint64_t length; /* BY_LENGTH */
    bool dated, closes;
};

static enum framing framing_of(int status, bool closes) {
    bool bodiless = status < 200 || status == 204 || status == 304;
    return closes && !bodiless ? BY_CLOSE : BY_HEAD;
}

/* The head of one response off *rest. RFC 9112 §6.3 */
static struct reply head_of(struct span *rest) {
    struct span line = line_of(rest);
    struct reply reply = { .framing = BY_HEAD }, none = reply;
    bool length = false, chunks = false;
    if (!starts(line, "HTTP/1.1 ") || line.len < 13) {
        return none;
    }
    reply.status = (int)number(span_of(line.data + 9, 3));
    while ((line = line_of(rest)).len > 0) {
        bool is_length = starts(line, "Content-Length:");
        if (is_length && (length || !span_u64(trimmed(span_from(line, 15)), &reply.length))) {
            return none;
        }
        length |= is_length;
        chunks |= starts(line, "Transfer-Encoding: chunked");
        reply.closes |= starts(line, "Connection:") && span_equal(trimmed(span_from(line, 11)), SPAN("close"));
        reply.dated |= starts(line, "Date: Sun, 06 Nov 1994 08:49:37 GMT");
    }
    reply.framing = chunks ? BY_CHUNKS : length ? BY_LENGTH : framing_of(reply.status, reply.closes);
    return line.data == NULL || (chunks && length) ? none : reply;
}

/* The next chunk off *rest: its bytes; false when it is malformed or cut. RFC 9112 §7.1 */
static bool chunk_of(struct span *rest, struct span *bytes) {
    static const char hex[] = "0123456789abcdef";
    struct span line = line_of(rest);
    uint64_t size = 0;
    for (size_t i = 0; i < line.len; i++) {
        const char *digit = memchr(hex, line.data[i], 16);
        if (digit == NULL || i >= 16) {
            return false;
        }
        size = size << 4 | (uint64_t)(digit - hex);
    }
    if (line.len == 0 || rest->len < 2 || size > rest->len - 2 || memcmp(rest->data + size, "\r\n", 2) != 0) {
        return false;
    }
    *bytes = span_first(*rest, (size_t)size);
    *rest = span_from(*rest, (size_t)size + 2);
    return true;
}

/* Copies the content of a chunked body to `out`, as far as it is sound; sets *whole when its last chunk is there. */
static size_t decode(struct span *rest, char *out, bool *whole) {
    struct span bytes;
    size_t len = 0;
    *whole = false;
    while (!*whole && chunk_of(rest, &bytes)) {
        *whole = bytes.len == 0;
        memmove(out + len, bytes.data, bytes.len);
        len += bytes.len;
    }
    return len;
}

/* Behind the status: a body, or what is known of one that did not come. */
static size_t summarise_body(struct span *rest, const struct reply *reply, char *out, size_t room) {
    bool next = rest->len == 0 || starts(*rest, "HTTP/1.1 "), whole = true;
    size_t len = 1;
    out[0] = ':';
    if (next && reply->framing == BY_CHUNKS) {
        return (size_t)snprintf(out, room, "(chunked)");
    }
    if (reply->framing == BY_CHUNKS) {
        len += decode(rest, out + 1, &whole);
        *rest = whole ? *rest : span_from(*rest, rest->len);
    } else if (reply->framing == BY_CLOSE) {
        memcpy(out + 1, rest->data, rest->len);
        len += rest->len;
        *rest = span_from(*rest, rest->len);
    } else if (reply->framing == BY_LENGTH && next && reply->length > 0) {
        return (size_t)snprintf(out, room, "(%llu)", (unsigned long long)reply->length);
    } else if (reply->framing == BY_LENGTH) {
        whole = reply->length <= rest->len;
        struct span body = span_first(*rest, reply->length);
        memcpy(out + 1, body.data, body.len);
        len += body.len;
        *rest = span_from(*rest, body.len);
    }
    len = len == 1 || reply->status >= 300 ? 0 : len;
    return len + (size_t)snprintf(out + len, room - len, "%s", whole ? "" : " CUT");
}

static size_t summarise(struct rig *rig, struct span rest, char *out, size_t room) {
    size_t len = 0;
    bool close = false;
    rig->fault = NULL;
    out[0] = '\0';
    while (rest.len > 0) {
        struct reply reply = head_of(&rest);
        if (reply.status == 0) {
            return len + (size_t)snprintf(out + len, room - len, "GARBAGE");
        }
        rig->fault = close ? "a response behind one that says close" : rig->fault;
        rig->fault = reply.status >= 200 && !reply.dated ? "a response without Date" : rig->fault;
        len += (size_t)snprintf(out + len, room - len, "%d", reply.status);
        len += summarise_body(&rest, &reply, out + len, room - len);
        close = reply.closes || out[len - 1] == 'T'; /* what is cut had not planned to be */
        len += (size_t)snprintf(out + len, room - len, " ");
    }
    if (len > 0 && close != http_conn_done(&rig->conn)) {
        rig->fault = close ? "a close that does not come" : "a close that nobody was told of";
    }
    return len;
}

const char *rig_summary(struct rig *rig) {
    enum { ROOM = RIG_OUTPUT_MAX + 1024 };
    static char text[ROOM];
    rig_take_output(rig);
    size_t len = summarise(rig, span_of(rig->output, rig->output_len), text, ROOM);
    if (http_conn_done(&rig->conn)) {
        snprintf(text + len, ROOM - len, "closed");
    } else if (len > 0 && text[len - 1] == ' ') {
        text[len - 1] = '\0';
    }
    return text;
}

/* The bytes up to the next chunked body; all when there is none. */
static size_t up_to_chunks(struct span rest) {
    static const char type[] = RIG_STREAMED_TYPE "\r\n", coding[] = "Transfer-Encoding: chunked\r\n\r\n";
    const char *at = rest.data, *end = rest.data + rest.len;
    while ((at = memmem(at, (size_t)(end - at), type, sizeof type - 1)) != NULL) {
        const char *found = memmem(at, (size_t)(end - at), coding, sizeof coding - 1);
        const char *empty = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
        if (found != NULL && found + sizeof coding - 1 == empty + 4) {
            return (size_t)(empty + 4 - rest.data);
        }
        at += sizeof type - 1;
    }
    return rest.len;
}

bool rig_decode(struct rig *rig) {
    static const char cut[] = "[CUT]";
    char *out = rig->output;
    struct span rest = span_of(rig->output, rig->output_len);
    rig->output_cut = false;
    while (rest.len > 0) {
        size_t head = up_to_chunks(rest);
        memmove(out, rest.data, head);
        out += head;
        rest = span_from(rest, head);
        if (rest.len == 0 || starts(rest, "HTTP/1.1 ")) {
            continue; /* of HEAD, or cut before its first chunk */
        }
        bool whole;
        out += decode(&rest, out, &whole);
        if (!whole && rest.len > 0) {
            return false;
        }
        rig->output_cut = !whole;
        if (!whole) {
            memcpy(out, cut, sizeof cut - 1); /* there is room: a chunk has lost its framing */
            out += sizeof cut - 1;
        }
    }
    rig->output_len = (size_t)(out - rig->output);
    return true;
}

/* ---------------------------------------------------------------------------------------------------- invariants ---- */

void rig_release(struct rig *rig) {
    http_conn_release(&rig->conn);
    while (rig->parked_count > 0) {
        rig->full = false;
        rig_resume(rig, 0);
    }
    rig_take_output(rig);
    chain_reset(&rig->out);
}

const char *rig_leak(const struct rig *rig) {
    const struct pool *pools[] = { &rig->exchanges, &rig->carries, &rig->blocks, &rig->bodies };
    for (int i = 0; i < 4; i++) {
        if (pools[i]->free_count != pools[i]->count) {
            return pools[i]->name;
        }
    }
    if (rig->lent != rig->released) {
        return "releases of what was lent";
    }
    return NULL;
}

const char *rig_insane(const struct rig *rig) {
    const struct http_conn *conn = &rig->conn;
    uint32_t count = 0, parked = 0;
    size_t waiting = 0;
    const struct http_exchange *last = NULL;
    for (const struct http_exchange *x = conn->first; x != NULL; x = x->next) {
        count++;
        last = x;
        parked += x->parked ? 1 : 0;
        waiting += x->finished ? x->own.bytes : 0;
        if (x->conn != conn) {
            return "an exchange of another connection";
        }
        if (x != conn->reading && !x->parked && !x->finished) {
            return "an exchange that nobody works on";
        }
        if (!x->finished && !x->request.settled) {
            return "an unfinished head that points into the input";
        }
        if (x->out == conn->out && !x->left) {
            return "a response that is not complete in the output";
        }
    }
    if (count != conn->unfinished || last != conn->last || count > rig->shared.limits.pipeline + 1) {
        return "a line that is not counted right";
    }
    if (waiting != conn->waiting) {
        return "bytes in line that are not counted right";
    }
    if (conn->first != NULL && conn->first->finished) {
        return "a finished exchange at the head of the line";
    }
    if (conn->reading != NULL && conn->reading != conn->last) {
        return "a body is read that is not the last one's";
    }
    if (conn->carry == NULL && (conn->carry_len | conn->carry_start | conn->scanned) != 0) {
        return "bytes in no carry";
    }
    if (conn->closing && conn->carry != NULL && rig->ended) {
        return "a carry that nobody will read";
    }
    for (uint32_t i = 0; i < rig->parked_count; i++) {
        parked -= rig->parked[i]->conn == conn ? 1 : 0; /* the others' connection ended before their turn */
    }
    return parked == 0 ? NULL : "a parked exchange too few or too many";
}
