#include "http/http_priv.h"
#include "http/parse.h"
#include "http/scan.h"
#include "mem/assert.h"
#include "mem/copy.h"
#include "mem/number.h"

/* Every status of RFC 9110 §15 that a server may answer with at the end, and those of RFC 6585. */
#define STATUSES(X)                                                                                                    \
    X(200, "OK") X(201, "Created") X(202, "Accepted") X(203, "Non-Authoritative Information") X(204, "No Content")     \
    X(205, "Reset Content") X(206, "Partial Content") X(300, "Multiple Choices") X(301, "Moved Permanently")           \
    X(302, "Found") X(303, "See Other") X(304, "Not Modified") X(305, "Use Proxy") X(307, "Temporary Redirect")        \
    X(308, "Permanent Redirect") X(400, "Bad Request") X(401, "Unauthorized") X(402, "Payment Required")               \
    X(403, "Forbidden") X(404, "Not Found") X(405, "Method Not Allowed") X(406, "Not Acceptable")                      \
    X(407, "Proxy Authentication Required") X(408, "Request Timeout") X(409, "Conflict") X(410, "Gone")                \
    X(411, "Length Required") X(412, "Precondition Failed") X(413, "Content Too Large") X(414, "URI Too Long")         \
    X(415, "Unsupported Media Type") X(416, "Range Not Satisfiable") X(417, "Expectation Failed")                      \
    X(421, "Misdirected Request") X(422, "Unprocessable Content") X(426, "Upgrade Required")                           \
    X(428, "Precondition Required") X(429, "Too Many Requests") X(431, "Request Header Fields Too Large")              \
    X(500, "Internal Server Error") X(501, "Not Implemented") X(502, "Bad Gateway") X(503, "Service Unavailable")      \
    X(504, "Gateway Timeout") X(505, "HTTP Version Not Supported") X(511, "Network Authentication Required")

enum { LINE_BYTES = 56, STATUS_MIN = 200, STATUS_MAX = 599 };

/* The first bytes of a response, copied as a whole LINE_BYTES: then there is no call and no loop. */
struct line {
    char text[LINE_BYTES]; /* "HTTP/1.1 200 OK\r\nDate: " */
    uint32_t len;
};

#define LINE(code, reason)                                                                                             \
    { "HTTP/1.1 " #code " " reason "\r\nDate: ", sizeof("HTTP/1.1 " #code " " reason "\r\nDate: ") - 1 },
#define PLACE(code, reason) PLACE_##code,
#define INDEX(code, reason) [code - STATUS_MIN] = PLACE_##code + 1,

enum { STATUSES(PLACE) };
static const struct line lines[] = { STATUSES(LINE) };
static const uint8_t places[STATUS_MAX - STATUS_MIN + 1] = { STATUSES(INDEX) }; /* in `lines`, plus 1 */

enum { BEFORE_REASON = sizeof "HTTP/1.1 200 " - 1, BEHIND_REASON = sizeof "\r\nDate: " - 1 };

static const struct line *line_of(int status) {
    uint32_t place = status < STATUS_MIN || status > STATUS_MAX ? 0 : places[status - STATUS_MIN];
    return place == 0 ? NULL : &lines[place - 1];
}

struct span http_reason(int status) {
    const struct line *line = line_of(status);
    return line == NULL ? span_of(NULL, 0) : span_of(line->text + BEFORE_REASON, line->len - BEFORE_REASON - BEHIND_REASON);
}

/* ------------------------------------------------------------------------------------------------------ state ---- */

void http_response_fail(struct http_exchange *x, int status) {
    rm_assert(status >= 400);
    rm_assert(status <= STATUS_MAX);
    if (x->failed) {
        return;
    }
    if (x->left) {
        http_response_cut(x);
        return;
    }
    if (x->out != NULL) {
        chain_rollback(x->out, x->start);
    }
    x->failed = true;
    x->streamed = false;
    x->status = status;
    x->length_at = NULL;
    x->chunk_at = NULL;
    x->connection_at = NULL;
    x->out = NULL;
}

void response_orphan(struct http_exchange *x) {
    if (x->kept == HTTP_CAPTURED) { /* the cache wants it, whoever has asked */
        return;
    }
    chain_reset(&x->own);
    x->out = x->out != NULL ? &x->own : NULL;
    x->start = (struct chain_mark){ NULL, 0, 0 };
    x->chunk_at = NULL;
    x->connection_at = NULL;
    x->silent = true;
}

/* Straight to the connection when nothing can come between, else to a chain that waits for its turn. */
static struct chain *choose_out(struct http_exchange *x) {
    struct http_conn *conn = x->conn;
    bool direct = conn != NULL && conn->first == x && conn->reading != x;
    return direct ? conn->out : &x->own;
}

/* What its head says about the connection. */
enum persistence {
    GOES_ON,
    ENDS,
    OPEN, /* how its own body ends will decide */
};

/* RFC 9112 §9.3, §9.6: the last response says that it is the last. While draining that is the one behind which nothing
 * waits yet. `endless`: only the end of the connection ends its body (§6.3). */
[[gnu::always_inline]] static inline enum persistence decide_close(struct http_exchange *x, bool endless) {
    struct http_conn *conn = x->conn;
    if (conn == NULL) {
        return GOES_ON;
    }
    bool last = conn->closing || (x->shared->draining && !conn->more_input);
    if (!x->request.keep_alive || endless || (last && x->next == NULL)) {
        x->close_after = true;
        conn->closing = true;
    }
    return x->close_after ? ENDS : conn->reading == x ? OPEN : GOES_ON;
}

void response_end_connection(struct http_exchange *x) {
    if (x->connection_at != NULL) {
        rm_assert(x->kept == HTTP_PLAIN);
        memcpy(x->connection_at, "     close", sizeof "keep-alive" - 1); /* blanks before a value are no part of it */
    }
}

/* ------------------------------------------------------------------------------------------------------- head ---- */

enum {
    HOLE_BYTES = 10, /* for a length that is not known yet */
    /* An upper bound of all but type, extra fields and body, with what fixed-size copies write beyond. */
    HEAD_BYTES = 2 * LINE_BYTES + HTTP_DATE_BYTES + 2 + 16 + 32 + 20 + NUMBER_BYTES_MAX + 8,
};

/* What a head is made of. */
struct head {
    int status;
    struct span type;
    enum {
        LENGTH_KNOWN,
        LENGTH_LATER, /* is patched in */
        LENGTH_NONE,  /* streamed */
    } framing;
    uint64_t length; /* KNOWN */
};

static char *put_line(char *p, int status) {
    const struct line *line = line_of(status);
    if (line != NULL) {
        memcpy(p, line->text, LINE_BYTES);
        return p + line->len;
    }
    p = number_put_u64(COPY_PUT(p, "HTTP/1.1 "), (uint64_t)status);
    return COPY_PUT(p, " \r\nDate: "); /* RFC 9112 §4: the reason may be empty, its blank may not */
}

/* Up to the type, and the end of its line. */
static char *put_upper(char *p, const struct http_shared *shared, int status, struct span type) {
    p = put_line(p, status);
    memcpy(p, shared->date, HTTP_DATE_BYTES);
    p += HTTP_DATE_BYTES;
    if (type.len > 0) {
        p = copy_put_span(COPY_PUT(p, "\r\nContent-Type: "), type);
    }
    return COPY_PUT(p, "\r\n");
}

static char *put_connection(char *p, struct http_exchange *x, enum persistence persistence) {
    if (persistence == ENDS) {
        return COPY_PUT(p, "Connection: close\r\n");
    }
    if (persistence == OPEN) { /* nothing of it leaves before that is decided: choose_out, stream_pause */
        x->connection_at = p + sizeof "Connection: " - 1;
        return COPY_PUT(p, "Connection: keep-alive\r\n");
    }
    return x->request.version_minor == 0 ? COPY_PUT(p, "Connection: keep-alive\r\n") : p;
}

/* Behind "Content-Length: ". */
static char *put_length(char *p, struct http_exchange *x, const struct head *head) {
    if (head->framing == LENGTH_KNOWN) {
        p = number_put_u64(p, head->length);
    } else {
        x->length_at = p;
        memset(p, ' ', HOLE_BYTES);
        p += HOLE_BYTES;
    }
    return COPY_PUT(p, "\r\n\r\n");
}

static char *put_lower(char *p, struct http_exchange *x, const struct head *head) {
    if (response_bodiless(head->status)) { /* only a 205 would have one if it did not say otherwise */
        return head->status == 205 ? COPY_PUT(p, "Content-Length: 0\r\n\r\n") : COPY_PUT(p, "\r\n");
    }
    if (head->framing == LENGTH_NONE) { /* RFC 9112 §6.1: no Transfer-Encoding to HTTP/1.0 */
        return x->request.version_minor == 0 ? COPY_PUT(p, "\r\n") : COPY_PUT(p, "Transfer-Encoding: chunked\r\n\r\n");
    }
    return put_length(COPY_PUT(p, "Content-Length: "), x, head);
}

bool response_clean(struct span text) {
    return copy_surely_clean(text.data, text.len) || scan_text(text.data, text.data + text.len) == text.data + text.len;
}

/* ------------------------------------------------------------------------------------------------------- templates ---- */

static struct http_template *template_at(struct http_shared *shared, const struct head *head) {
    return &shared->templates[((uint32_t)head->status ^ head->type.len) % HTTP_TEMPLATES];
}

static inline bool template_fits(const struct http_template *template, const struct http_shared *shared,
                                 const struct head *head) {
    return template->status == head->status && template->type_len == head->type.len
           && copy_same(template->type, head->type.data, head->type.len)
           && memcmp(template->date, shared->date, HTTP_DATE_BYTES) == 0;
}

/* Makes the one of such a head; false when it does not fit. */
[[gnu::noinline]] static bool template_make(struct http_template *template, const struct http_shared *shared,
                                            const struct head *head) {
    char text[HEAD_BYTES + HTTP_TEMPLATE_TYPE_BYTES];
    if (head->type.len > HTTP_TEMPLATE_TYPE_BYTES || response_bodiless(head->status)) {
        return false;
    }
    char *p = COPY_PUT(put_upper(text, shared, head->status, head->type), "Content-Length: ");
    if (p - text > HTTP_TEMPLATE_BYTES) {
        return false;
    }
    template->status = head->status;
    template->type_len = (uint32_t)head->type.len;
    template->len = (uint32_t)(p - text);
    memcpy(template->date, shared->date, HTTP_DATE_BYTES);
    memcpy(template->text, text, template->len);
    copy_put_span(template->type, head->type);
    return true;
}

/* ------------------------------------------------------------------------------------------------------ write heads ---- */

/* A head whose own fields fill more than a block. */
static bool write_large_head(struct http_exchange *x, const struct head *head, enum persistence persistence) {
    char *p = chain_reserve(x->out, HEAD_BYTES + RESPONSE_TYPE_BYTES_MAX);
    if (p == NULL) {
        return false;
    }
    char *end = put_connection(put_upper(p, x->shared, head->status, head->type), x, persistence);
    chain_commit(x->out, (uint32_t)(end - p));
    if (!chain_append(x->out, x->extra_fields)) {
        return false;
    }
    p = chain_reserve(x->out, HEAD_BYTES);
    if (p == NULL) {
        return false;
    }
    chain_commit(x->out, (uint32_t)(put_lower(p, x, head) - p));
    return true;
}

/* Any head. `room` is what the body needs in the same block. Returns what is behind the head, to be committed from *start. */
static char *write_any_head(struct http_exchange *x, const struct head *head, enum persistence persistence, size_t room,
                            char **start) {
    size_t bytes = HEAD_BYTES + head->type.len + x->extra_fields.len;
    if (bytes + room > BLOCK_ROOM) {
        if (!write_large_head(x, head, persistence)) {
            return NULL;
        }
        *start = chain_reserve(x->out, (uint32_t)room);
        return *start;
    }
    *start = chain_reserve(x->out, (uint32_t)(bytes + room));
    if (*start == NULL) {
        return NULL;
    }
    char *p = put_connection(put_upper(*start, x->shared, head->status, head->type), x, persistence);
    return put_lower(copy_put_span(p, x->extra_fields), x, head);
}

/* A body up to this goes into the block of its head. */
enum { BODY_WITH_HEAD_BYTES_MAX = 2048 };

/* Head and body, as far as there is one already. `template`: of the usual head, or NULL. */
[[gnu::always_inline]] static inline bool write_response(struct http_exchange *x, const struct head *head,
                                                         const struct http_template *template,
                                                         enum persistence persistence, struct span body) {
    size_t room = body.len <= BODY_WITH_HEAD_BYTES_MAX ? body.len : 0;
    char *start, *p;
    if (template != NULL) {
        start = chain_reserve(x->out, (uint32_t)(HTTP_TEMPLATE_BYTES + NUMBER_BYTES_MAX + 4 + room));
        if (start == NULL) {
            return false;
        }
        memcpy(start, template->text, HTTP_TEMPLATE_BYTES);
        p = put_length(start + template->len, x, head);
    } else {
        p = write_any_head(x, head, persistence, room, &start);
        if (p == NULL) {
            return false;
        }
    }
    if (room > 0) {
        p = copy_put(p, body.data, room);
    }
    chain_commit(x->out, (uint32_t)(p - start));
    return room == body.len || chain_append(x->out, body);
}

/* Heads that no template can be for. */
[[gnu::noinline]] static bool write_unusual(struct http_exchange *x, const struct head *head, enum persistence persistence,
                                            struct span body) {
    if (head->type.len > RESPONSE_TYPE_BYTES_MAX || !response_clean(head->type)) {
        http_response_fail(x, 500);
        return true;
    }
    return write_response(x, head, NULL, persistence, body);
}

static void open_without_body(struct http_exchange *x, const struct head *head);

static inline bool is_mistake(const struct http_exchange *x, const struct head *head) {
    return x->status != 0 || head->status < STATUS_MIN || head->status > STATUS_MAX;
}

/* A response that goes nowhere, because it has failed, or not at once. What is streamed can't be kept. */
[[gnu::noinline]] static void open_barred(struct http_exchange *x, const struct head *head, struct span body) {
    if (x->failed) {
        return;
    }
    if (is_mistake(x, head)) {
        http_response_fail(x, 500);
        return;
    }
    rm_assert(x->kept == HTTP_CAPTURED); /* else it has a status */
    if (head->framing == LENGTH_NONE) {
        x->kept = HTTP_PLAIN;
        open_without_body(x, head);
        return;
    }
    capture_open(x, head->status, head->type, head->framing == LENGTH_LATER, body);
}

/* Begins the response: what can't be right is a mistake of the application, 500; without a block it becomes 503. */
[[gnu::always_inline]] static inline void open_response(struct http_exchange *x, const struct head *head, struct span body) {
    if (x->barred != 0) {
        open_barred(x, head, body);
        return;
    }
    if (is_mistake(x, head)) {
        http_response_fail(x, 500);
        return;
    }
    x->status = head->status;
    x->silent = x->request.method == HTTP_HEAD || response_bodiless(head->status) /* RFC 9110 §9.3.2 */
                || x->conn == NULL;
    if (head->framing == LENGTH_NONE) {
        x->streamed = true;
        x->chunked = x->request.version_minor > 0;
    }
    x->out = choose_out(x);
    x->start = chain_mark(x->out);
    if (x->silent) {
        body = span_of(NULL, 0);
    }
    enum persistence persistence =
        decide_close(x, head->framing == LENGTH_NONE && !x->chunked && !response_bodiless(head->status));
    struct http_template *template = template_at(x->shared, head);
    bool plain = head->framing != LENGTH_NONE && x->extra_fields.len == 0 && x->request.version_minor > 0;
    bool usual = persistence == GOES_ON && plain
                 && (template_fits(template, x->shared, head)
                     || (response_clean(head->type) && template_make(template, x->shared, head)));
    bool written = usual ? write_response(x, head, template, persistence, body)
                         : write_unusual(x, head, persistence, body);
    if (!written) {
        http_response_fail(x, 503);
    }
}

char *response_open_rendered(struct http_exchange *x, int status, struct span fields, uint64_t body_bytes, char **start) {
    _Static_assert(HEAD_BYTES + RESPONSE_LINES_BYTES_MAX + RESPONSE_REST_BYTES <= BLOCK_ROOM, "it fits into a block");
    rm_assert(fields.len <= RESPONSE_LINES_BYTES_MAX);
    x->status = status;
    x->silent = x->request.method == HTTP_HEAD || response_bodiless(status) || x->conn == NULL;
    x->out = choose_out(x);
    x->start = chain_mark(x->out);
    enum persistence persistence = decide_close(x, false);
    size_t room = HEAD_BYTES + fields.len + RESPONSE_REST_BYTES;
    if (body_bytes <= BODY_WITH_HEAD_BYTES_MAX && !x->silent && body_bytes <= BLOCK_ROOM - room) {
        room += body_bytes;
    }
    *start = chain_reserve(x->out, (uint32_t)room);
    if (*start == NULL) {
        http_response_fail(x, 503);
        return NULL;
    }
    char *p = put_connection(put_upper(*start, x->shared, status, span_of(NULL, 0)), x, persistence);
    return copy_put_span(p, fields);
}

/* -------------------------------------------------------------------------------------------------------- API ---- */

void http_response_whole(struct http_exchange *x, int status, struct span content_type, struct span body) {
    struct head head = { status, content_type, LENGTH_KNOWN, body.len };
    open_response(x, &head, body);
    x->body_written = body.len;
}

/* Whose body follows. */
[[gnu::noinline]] static void open_without_body(struct http_exchange *x, const struct head *head) {
    open_response(x, head, span_of(NULL, 0));
}

bool response_open_whole(struct http_exchange *x, int status, struct span content_type, uint64_t len) {
    struct head head = { status, content_type, LENGTH_KNOWN, len };
    open_without_body(x, &head);
    x->body_written = len;
    return !x->failed && !x->silent && len > 0;
}

void response_open_stream(struct http_exchange *x, int status, struct span content_type) {
    struct head head = { status, content_type, LENGTH_NONE, 0 };
    open_without_body(x, &head);
}

void http_response_begin(struct http_exchange *x, int status, struct span content_type) {
    struct head head = { status, content_type, LENGTH_LATER, 0 };
    open_without_body(x, &head);
}

bool response_writable_rare(struct http_exchange *x) {
    if (x->streamed || response_bodiless(x->status) || x->kept == HTTP_KNOWN_LENGTH) {
        return true;
    }
    http_response_fail(x, 500); /* none was begun, or it is whole already */
    return false;
}

void http_response_write(struct http_exchange *x, struct span bytes) {
    if (!response_writable(x)) {
        return;
    }
    x->body_written += bytes.len;
    if (x->silent) {
        return;
    }
    if (x->streamed) {
        stream_write(x, bytes);
    } else if (!chain_append(x->out, bytes)) {
        http_response_fail(x, 503); /* no block for the rest */
    }
}

char *http_response_reserve(struct http_exchange *x, uint32_t n) {
    rm_assert(n <= HTTP_RESERVE_BYTES_MAX);
    if (!response_writable(x)) {
        return NULL;
    }
    char *room = x->streamed && !x->silent ? stream_reserve(x, n) : chain_reserve(x->out, n);
    if (room == NULL) {
        http_response_fail(x, 503); /* no block for the rest */
    }
    return room;
}

void http_response_commit(struct http_exchange *x, uint32_t n) {
    x->body_written += n;
    if (x->silent) {
        return;
    }
    if (x->streamed) {
        stream_commit(x, n);
    } else {
        chain_commit(x->out, n);
    }
}

/* Fields that are written here: a second one would contradict it. */
static bool reserved(struct span name) {
    return span_equal_nocase(name, SPAN("content-length")) || span_equal_nocase(name, SPAN("transfer-encoding"))
           || span_equal_nocase(name, SPAN("connection")) || span_equal_nocase(name, SPAN("date"));
}

/* `bytes` more at the end of the extra fields; NULL when the workspace is full. */
static char *grow_fields(struct http_exchange *x, size_t bytes) {
    struct arena *arena = &x->workspace;
    size_t len = x->extra_fields.len;
    bool newest = len > 0 && x->extra_fields.data + (len + 15) / 16 * 16 == arena->base + arena->used;
    if (newest) {
        char *old = arena->base + (x->extra_fields.data - arena->base);
        return arena_extend(arena, old, len + bytes) ? old + len : NULL;
    }
    char *moved = arena_take(arena, len + bytes);
    if (moved == NULL) {
        return NULL;
    }
    copy_put_span(moved, x->extra_fields);
    x->extra_fields.data = moved;
    return moved + len;
}

void http_response_field(struct http_exchange *x, struct span name, struct span value) {
    if (x->failed) {
        return;
    }
    const char *name_end = name.data + name.len;
    bool token = name.len > 0 && scan_token(name.data, name_end) == name_end;
    size_t bytes = name.len + 2 + value.len + 2;
    char *p = token && x->status == 0 && response_clean(value) && !reserved(name) ? grow_fields(x, bytes) : NULL;
    if (p == NULL) {
        http_response_fail(x, 500);
        return;
    }
    x->extra_fields.len += bytes;
    p = copy_put_span(COPY_PUT(copy_put_span(p, name), ": "), value);
    (void)COPY_PUT(p, "\r\n");
}

/* ------------------------------------------------------------------------------------------------------ errors ---- */

void response_allow(struct http_exchange *x, uint32_t allow) {
    static const char *const names[HTTP_METHODS_COUNT] = { "GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                                           "CONNECT", "OPTIONS", "TRACE", "PATCH" };
    char list[128];
    char *p = list;
    for (uint32_t method = 0; method < HTTP_METHODS_COUNT; method++) {
        if ((allow & 1u << method) != 0) {
            p = copy_put_span(p, p > list ? SPAN(", ") : SPAN(""));
            p = copy_put_span(p, span_text(names[method]));
        }
    }
    http_response_field(x, SPAN("Allow"), span_of(list, (size_t)(p - list)));
}

/* What a failed response becomes: "Not Found" as text. */
static void write_failure(struct http_exchange *x) {
    int status = x->status;
    x->barred = 0;
    x->status = 0;
    x->body_written = 0;
    if (status == 503) {
        x->extra_fields = SPAN("Retry-After: 1\r\n"); /* RFC 9110 §10.2.3 */
    } else if (status != 405) {                       /* a 405 has its Allow; the rest may be what was wrong */
        x->extra_fields = span_of(NULL, 0);
    }
    char text[64];
    char *p = COPY_PUT(copy_put_span(text, http_reason(status)), "\n");
    http_response_whole(x, status, SPAN("text/plain"), span_of(text, (size_t)(p - text)));
}

/* Writes the length into its hole, to the right. RFC 9110 §5.5: blanks before a value are no part of it. */
static void patch_length(struct http_exchange *x) {
    char digits[NUMBER_BYTES_MAX];
    size_t len = (size_t)(number_put_u64(digits, x->body_written) - digits);
    if (len > HOLE_BYTES) {
        http_response_fail(x, 500);
        return;
    }
    memcpy(x->length_at + HOLE_BYTES - len, digits, len);
}

void response_complete(struct http_exchange *x) {
    rm_assert(x->kept != HTTP_CAPTURED);
    rm_assert(x->kept == HTTP_PLAIN || x->failed || x->body_written == x->body_expected);
    if (!x->failed && x->status == 0) {
        http_response_whole(x, 204, span_of(NULL, 0), span_of(NULL, 0));
    }
    if (x->length_at != NULL) {
        patch_length(x);
    }
    if (x->streamed) {
        stream_end(x);
    }
    if (x->failed && !x->cut) {
        x->shared->responses[0] += x->status == 503 ? 1 : 0;
        write_failure(x);
    }
    if (x->failed) { /* it is cut, or there is not even a block for that */
        x->close_after = true;
        x->conn->closing = true;
    }
}

bool http_answer_busy(const struct http_shared *shared, struct chain *out) {
    char text[256];
    char *p = put_connection(put_upper(text, shared, 503, span_of(NULL, 0)), NULL, ENDS);
    p = COPY_PUT(p, "Retry-After: 1\r\nContent-Length: 0\r\n\r\n");
    return chain_append(out, span_of(text, (size_t)(p - text)));
}

void response_shed(struct http_conn *conn) {
    conn->closing = true;
    conn->shared->requests++;
    conn->shared->responses[0]++;
    conn->shared->responses[5]++;
    bool written = http_answer_busy(conn->shared, conn->out);
    (void)written; /* without a block the connection ends in silence */
}
