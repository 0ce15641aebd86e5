/* The grammar: requests of every kind with the answers that they must get, written down beside them. */
#include "whole.h"

enum { STREAM_BYTES_MAX = 600 * 1024, EXTRAS_BYTES_MAX = 300 };

const char *whole_reason(int status) {
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 299: return "";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return NULL;
    }
}

void whole_expect_error(struct whole_request *r, int status) {
    r->status = status;
    r->type = "text/plain";
    r->body = WHOLE_TEXT;
    r->salted = r->chunked = r->cut = r->endless = r->watchful = false;
    r->len = (uint64_t)snprintf(r->text, sizeof r->text, "%s\n", whole_reason(status));
}

void whole_expect_text(struct whole_request *r, const char *type, const char *text) {
    r->status = 200;
    r->type = type;
    r->body = WHOLE_TEXT;
    r->len = (uint64_t)snprintf(r->text, sizeof r->text, "%s", text);
}

void whole_expect_fill(struct whole_request *r, uint32_t salt, uint64_t len) {
    r->status = 200;
    r->type = "text/plain";
    r->body = WHOLE_FILL;
    r->salt = salt;
    r->len = len;
}

/* ------------------------------------------------------------------------------------------------------- bytes ---- */

void whole_put(struct whole_client *c, const char *bytes, size_t len) {
    if (c->out_len + len > c->out_room) {
        c->out_room = (c->out_len + len) * 2 + 4096;
        c->out = realloc(c->out, c->out_room);
        if (c->out == NULL) {
            whole_fail(c->w, "no memory");
        }
    }
    memcpy(c->out + c->out_len, bytes, len);
    c->out_len += len;
}

void whole_putf(struct whole_client *c, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    whole_put(c, text, (size_t)len);
}

static void put_fill(struct whole_client *c, uint32_t salt, uint64_t from, uint64_t len) {
    for (uint64_t i = 0; i < len; i++) {
        char byte = whole_fill(salt, from + i);
        whole_put(c, &byte, 1);
    }
}

/* One of several texts. */
#define ONE_OF(random, ...) one_of((random), (const char *[]){ __VA_ARGS__ }, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *))

static const char *one_of(struct random *random, const char *const *texts, size_t n) {
    return texts[random_below(random, (uint32_t)n)];
}

/* -------------------------------------------------------------------------------------------------------- heads ---- */

/* RFC 9112 §9.3: who closes. */
static void put_connection(struct whole_client *c, struct whole_request *r) {
    struct random *random = &c->random;
    if (r->old) {
        r->closes = !whole_chance(random, 60);
        if (!r->closes) {
            whole_putf(c, "Connection: %s\r\n", ONE_OF(random, "keep-alive", "Keep-Alive", "x, keep-alive"));
        } else if (whole_chance(random, 20)) {
            whole_putf(c, "Connection: keep-alive, close\r\n");
        }
        return;
    }
    r->closes = whole_chance(random, 3);
    if (r->closes) {
        whole_putf(c, "%s\r\n", ONE_OF(random, "Connection: close", "connection:CLOSE", "Connection: te ,\tclose"));
    } else if (whole_chance(random, 6)) {
        whole_putf(c, "Connection: %s\r\n", ONE_OF(random, "keep-alive", "closed", ""));
    }
}

/* RFC 9110 §5.5, §5.6.3: fields that mean nothing to the server. */
static void put_fields(struct whole_client *c, const struct whole_shape *shape) {
    struct random *random = &c->random;
    for (uint32_t n = random_below(random, 5); n > 0; n--) {
        whole_putf(c, "X-%u:%s%.*s%s\r\n", random_below(random, 100), ONE_OF(random, "", " ", "\t", "  \t "),
                   (int)random_below(random, 40), "value, \"with\" (marks) \x80\xff and \t a tab in it",
                   ONE_OF(random, "", " ", "\t "));
    }
    if (shape->field != NULL) {
        whole_putf(c, "%s", shape->field);
    }
}

/* RFC 9110 §10.1.1: 100 (Continue) is for bodies, and not for HTTP/1.0. */
static void put_expect(struct whole_client *c, struct whole_request *r, const struct whole_shape *shape) {
    if (!whole_chance(&c->random, shape->has_body ? 15 : 1)) {
        return;
    }
    whole_putf(c, "Expect: %s\r\n", ONE_OF(&c->random, "100-continue", "100-Continue"));
    r->interim = !r->old && (shape->chunked || shape->len > 0);
    r->asks = r->interim && whole_chance(&c->random, 60);
}

static void put_framing(struct whole_client *c, const struct whole_shape *shape) {
    if (shape->chunked) {
        whole_putf(c, "%s\r\n", ONE_OF(&c->random, "Transfer-Encoding: chunked", "transfer-encoding:\tCHUNKED "));
    } else if (shape->has_body) {
        whole_putf(c, "Content-Length: %s%llu\r\n", ONE_OF(&c->random, "", "", "00"), (unsigned long long)shape->len);
    }
}

static void put_head(struct whole_client *c, struct whole_request *r, const struct whole_shape *shape) {
    struct random *random = &c->random;
    r->start = (uint32_t)c->out_len;
    r->old = !shape->chunked && whole_chance(random, 8);
    r->head_only = strcmp(shape->method, "HEAD") == 0;
    if (whole_chance(random, 2)) {
        whole_putf(c, "\r\n"); /* RFC 9112 §2.2 */
    }
    unsigned minor = r->old ? 0 : whole_chance(random, 3) ? whole_between(random, 2, 9) : 1; /* RFC 9110 §2.5 */
    bool absolute = shape->target[0] == '/' && whole_chance(random, 3); /* RFC 9112 §3.2.2 */
    whole_putf(c, "%s %s%s HTTP/1.%u\r\n", shape->method, absolute ? "http://some.example:80" : "", shape->target, minor);
    if (!r->old || whole_chance(random, 50)) {
        whole_putf(c, "%s\r\n", ONE_OF(random, "Host: a", "host:a.example:8080", "HOST: [::1]:80 ", "Host:"));
    }
    put_connection(c, r);
    r->asked_close = r->closes;
    put_expect(c, r, shape);
    put_fields(c, shape);
    put_framing(c, shape);
    whole_putf(c, "\r\n");
    r->head = (uint32_t)c->out_len;
}

/* ------------------------------------------------------------------------------------------------------- bodies ---- */

/* RFC 9112 §7.1: sizes with zeros and either case, extensions (§7.1.1), trailers (§7.1.2). */
static void put_chunks(struct whole_client *c, const struct whole_shape *shape) {
    struct random *random = &c->random;
    size_t extras = 0;
    uint64_t most = shape->len / 50 + 1 + random_below(random, 3000);
    for (uint64_t at = 0, n; at < shape->len; at += n) {
        n = 1 + random_next(random) % most;
        n = n < shape->len - at ? n : shape->len - at;
        const char *extension = "";
        if (extras < EXTRAS_BYTES_MAX && whole_chance(random, 10)) {
            extension = ONE_OF(random, ";a", " ; a = b", ";a=\"q\\\"z \"", ";a=b;c");
            extras += strlen(extension);
        }
        whole_putf(c, whole_chance(random, 50) ? "%s%llx%s\r\n" : "%s%llX%s\r\n", whole_chance(random, 5) ? "000" : "",
                   (unsigned long long)n, extension);
        put_fill(c, shape->salt, at, n);
        whole_putf(c, "\r\n");
    }
    whole_putf(c, "%s\r\n", ONE_OF(random, "0", "0", "00000", "0;last"));
    for (uint32_t n = whole_chance(random, 20) ? 3 : 0; n > 0; n--) {
        whole_putf(c, "X-Trailer-%u: %s\r\n", n, ONE_OF(random, "", "v", "Content-Length: 7"));
    }
    whole_putf(c, "\r\n");
}

void whole_put_request(struct whole_client *c, struct whole_request *r, const struct whole_shape *shape) {
    put_head(c, r, shape);
    if (shape->chunked) {
        put_chunks(c, shape);
    } else if (shape->has_body) {
        put_fill(c, shape->salt, 0, shape->len);
    }
    r->end = (uint32_t)c->out_len;
}

/* Sizes that cross the borders: nothing, small, of a block, of several sends. */
uint64_t whole_draw_len(struct random *random, uint32_t most) {
    uint32_t len;
    switch (random_below(random, 16)) {
    case 0: len = 0; break;
    case 1: case 2: len = random_below(random, 9000); break;
    case 3: len = random_below(random, 70000); break;
    default: len = random_below(random, 300); break;
    }
    return len < most ? len : most;
}

static struct whole_shape with_body(struct whole_client *c, const char *method, uint32_t most) {
    struct whole_shape shape = { .method = method, .has_body = true };
    shape.chunked = whole_chance(&c->random, 40);
    shape.salt = random_below(&c->random, 1000);
    shape.len = whole_draw_len(&c->random, most);
    return shape;
}

static uint32_t body_limit(const struct whole_client *c) {
    return (uint32_t)c->w->config.limits.body_bytes;
}

/* A body beyond the limit of what is kept or dropped: RFC 9110 §15.5.14. With a length it is refused at the head. */
static void expect_too_large(struct whole_client *c, struct whole_request *r, const struct whole_shape *shape) {
    if (shape->len <= body_limit(c)) {
        return;
    }
    if (!r->decided) {
        whole_expect_error(r, 413);
    }
    r->closes = r->fatal = r->early = true;
    r->interim = r->interim && shape->chunked;
}

/* Refused by its head: the body is dropped, or, when the client asked whether to send it, never read. RFC 9110 §10.1.1 */
static void expect_refused(struct whole_client *c, struct whole_request *r, const struct whole_shape *shape, int status) {
    whole_expect_error(r, status);
    r->decided = true;
    if (r->interim) {
        r->closes = r->fatal = r->early = true;
        r->interim = false;
    }
    expect_too_large(c, r, shape);
}

/* -------------------------------------------------------------------------------------------------------- kinds ---- */

static const char *get_or_head(struct whole_client *c) {
    return whole_chance(&c->random, 10) ? "HEAD" : "GET"; /* RFC 9110 §9.3.2 */
}

/* A GET may have a body: it is dropped. */
struct whole_shape whole_get_shape(struct whole_client *c) {
    const char *method = get_or_head(c);
    struct whole_shape shape = { .method = method };
    if (whole_chance(&c->random, 5)) {
        shape = with_body(c, method, body_limit(c));
    }
    return shape;
}

static void write_fill(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint32_t salt = random_below(&c->random, 1000);
    uint64_t len = whole_chance(&c->random, 2) ? random_below(&c->random, WHOLE_BODY_BYTES_MAX) : whole_draw_len(&c->random, 70000);
    snprintf(shape.target, sizeof shape.target, "/fill/%u/%u%s", (unsigned)len, salt, ONE_OF(&c->random, "", "?", "?a=/b?c"));
    whole_put_request(c, r, &shape);
    whole_expect_fill(r, salt, len);
    r->salted = salt % 3 == 0;
}

static void write_nap(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint32_t salt = random_below(&c->random, 1000);
    uint32_t ms = whole_chance(&c->random, 10) ? random_below(&c->random, 2000) : random_below(&c->random, 30);
    uint64_t len = whole_draw_len(&c->random, 70000);
    snprintf(shape.target, sizeof shape.target, "/nap/%u/%u/%u", ms, (unsigned)len, salt);
    r->service_ns = ms * NS_PER_MS;
    whole_put_request(c, r, &shape);
    whole_expect_fill(r, salt, len);
    r->salted = salt % 3 == 0;
}

static void write_naps(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint32_t salt = random_below(&c->random, 1000);
    uint64_t len = whole_draw_len(&c->random, 5000);
    uint32_t ms = random_below(&c->random, 20), timers = whole_between(&c->random, 1, 4), times = whole_between(&c->random, 1, 3);
    snprintf(shape.target, sizeof shape.target, "/naps/%u/%u/%u/%u/%u", ms, timers, times, (unsigned)len, salt);
    r->service_ns = times * (ms + timers) * NS_PER_MS;
    whole_put_request(c, r, &shape);
    whole_expect_fill(r, salt, len);
    r->salted = salt % 3 == 0;
}

static void write_view(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = { .method = get_or_head(c), .field = "x-view: \t one two \t\r\n" };
    uint32_t a = random_below(&c->random, 1000000), b = random_below(&c->random, 1000000);
    snprintf(shape.target, sizeof shape.target, "/view/%u/%%2f%u?q=%u", a, b, a + b);
    whole_put_request(c, r, &shape);
    char text[WHOLE_TEXT_BYTES];
    snprintf(text, sizeof text, "%u %%2f%u q=%u one two", a, b, a + b);
    whole_expect_text(r, "text/plain", text);
}

static void write_json(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = { .method = get_or_head(c) };
    unsigned n = random_below(&c->random, 40);
    snprintf(shape.target, sizeof shape.target, "/json/%u", n);
    whole_put_request(c, r, &shape);
    char text[WHOLE_TEXT_BYTES];
    size_t len = (size_t)snprintf(text, sizeof text, "{\"n\":%u,\"list\":[", n);
    for (unsigned i = 0; i < n; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%u", i > 0 ? "," : "", i);
    }
    snprintf(text + len, sizeof text - len, "]}");
    whole_expect_text(r, "application/json", text);
}

static void write_status(struct whole_client *c, struct whole_request *r) {
    static const int codes[] = { 200, 201, 204, 299, 304, 403, 404, 500, 501 };
    struct whole_shape shape = whole_get_shape(c);
    int code = codes[random_below(&c->random, sizeof codes / sizeof codes[0])];
    snprintf(shape.target, sizeof shape.target, "/status/%d", code);
    whole_put_request(c, r, &shape);
    whole_expect_text(r, NULL, "");
    r->status = code;
}

static void write_mistake(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = { .method = get_or_head(c) };
    snprintf(shape.target, sizeof shape.target, "/mistake/%u", random_below(&c->random, 5));
    whole_put_request(c, r, &shape);
    whole_expect_error(r, 500);
}

static void write_echo(struct whole_client *c, struct whole_request *r) {
    uint32_t limit = body_limit(c);
    struct whole_shape shape = with_body(c, whole_chance(&c->random, 30) ? "PUT" : "POST", limit);
    if (whole_chance(&c->random, 3)) {
        shape.len = limit + 1 + random_below(&c->random, 50000);
    }
    snprintf(shape.target, sizeof shape.target, "/echo");
    whole_put_request(c, r, &shape);
    whole_expect_fill(r, shape.salt, shape.len);
    r->type = "application/octet-stream";
    expect_too_large(c, r, &shape);
}

static void write_drop(struct whole_client *c, struct whole_request *r) {
    uint32_t limit = body_limit(c);
    struct whole_shape shape = with_body(c, whole_chance(&c->random, 30) ? "DELETE" : "POST", limit);
    if (whole_chance(&c->random, 3)) {
        shape.len = limit + 1 + random_below(&c->random, 50000);
    }
    snprintf(shape.target, sizeof shape.target, "/drop");
    whole_put_request(c, r, &shape);
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)shape.len);
    whole_expect_text(r, "text/plain", text);
    expect_too_large(c, r, &shape);
}

/* Streamed: of any length. */
static void write_sum(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = with_body(c, whole_chance(&c->random, 30) ? "PUT" : "POST", 70000);
    if (whole_chance(&c->random, 10)) {
        shape.len = random_below(&c->random, 200000);
    }
    snprintf(shape.target, sizeof shape.target, "/sum/%u", shape.salt);
    whole_put_request(c, r, &shape);
    char text[32];
    snprintf(text, sizeof text, "%llu 0", (unsigned long long)shape.len);
    whole_expect_text(r, "text/plain", text);
}

static void write_stop(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = with_body(c, "POST", 70000);
    uint64_t at = whole_draw_len(&c->random, 20000);
    bool own = whole_chance(&c->random, 50);
    snprintf(shape.target, sizeof shape.target, "/stop/%u/%d", (unsigned)at, own);
    whole_put_request(c, r, &shape);
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)shape.len);
    whole_expect_text(r, "text/plain", text);
    if (shape.len > at) {
        whole_expect_error(r, 400);
        r->fatal = r->early = r->closes = true;
        if (own) {
            whole_expect_text(r, "text/plain", "no more\n");
            r->status = 422;
        }
    }
}

/* RFC 9110 §15.5.5 */
static void write_not_found(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_chance(&c->random, 50) ? with_body(c, ONE_OF(&c->random, "POST", "PUT", "GET"), 70000)
                                                      : whole_get_shape(c);
    snprintf(shape.target, sizeof shape.target, "%s", ONE_OF(&c->random, "/nowhere", "//", "/fill/1", "/fill/1/2/3", "/Echo"));
    whole_put_request(c, r, &shape);
    expect_refused(c, r, &shape, 404);
}

/* RFC 9110 §15.5.6, §10.2.1: Allow */
static void write_not_allowed(struct whole_client *c, struct whole_request *r) {
    static const struct {
        const char *target, *method, *allow;
    } rows[] = {
        { "/fill/1/2", "POST", "GET HEAD OPTIONS" },   { "/json/3", "DELETE", "GET HEAD OPTIONS" },
        { "/echo", "GET", "OPTIONS POST PUT" },        { "/drop", "PATCH", "DELETE OPTIONS POST" },
        { "/sum/4", "HEAD", "OPTIONS POST PUT" },      { "/stop/1/0", "TRACE", "OPTIONS POST" },
    };
    uint32_t i = random_below(&c->random, sizeof rows / sizeof rows[0]);
    struct whole_shape shape = { .method = rows[i].method };
    if (whole_chance(&c->random, 40)) {
        shape = with_body(c, rows[i].method, 70000);
    }
    snprintf(shape.target, sizeof shape.target, "%s", rows[i].target);
    whole_put_request(c, r, &shape);
    expect_refused(c, r, &shape, 405);
    r->allow = rows[i].allow;
}

/* RFC 9110 §9.1: a method that nobody knows, and methods have case. */
static void write_unknown_method(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = { .method = ONE_OF(&c->random, "BREW", "get", "X-Y") };
    if (whole_chance(&c->random, 40)) {
        shape = with_body(c, shape.method, 70000);
    }
    snprintf(shape.target, sizeof shape.target, "%s", ONE_OF(&c->random, "/fill/1/2", "/nowhere"));
    whole_put_request(c, r, &shape);
    expect_refused(c, r, &shape, 501);
}

/* RFC 9110 §9.3.7: of the server, or of a path */
static void write_options(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = { .method = "OPTIONS", .target = "*" };
    bool path = whole_chance(&c->random, 50);
    if (path) {
        snprintf(shape.target, sizeof shape.target, "/drop");
    }
    whole_put_request(c, r, &shape);
    whole_expect_text(r, NULL, "");
    r->status = 204;
    r->allow = path ? "DELETE OPTIONS POST" : NULL;
}

/* ------------------------------------------------------------------------------------------------------ streams ---- */

#define KIND(name, weight) { #name, write_##name, weight }
#define STREAM(name, weight) { #name, whole_write_##name, weight }

static const struct kind {
    const char *name;
    whole_write_fn *write;
    uint32_t weight;
} kinds[] = {
    KIND(fill, 30), KIND(nap, 9),      KIND(naps, 4),        KIND(view, 5),           KIND(json, 4),    KIND(status, 5),
    KIND(mistake, 1), KIND(echo, 12),  KIND(drop, 5),        KIND(sum, 8),            KIND(stop, 1),    KIND(not_found, 4),
    KIND(not_allowed, 3),              KIND(unknown_method, 2),                       KIND(options, 2),
    STREAM(stream, 8), STREAM(cut, 1), STREAM(sse, 3), STREAM(live, 1), STREAM(watchful, 3), STREAM(offload, 3),
    STREAM(several, 3), STREAM(fd, 3), STREAM(lend, 5),
};
enum { KINDS_COUNT = sizeof kinds / sizeof kinds[0] };

static const struct kind *draw_kind(struct random *random) {
    uint32_t all = 0;
    for (uint32_t i = 0; i < KINDS_COUNT; i++) {
        all += kinds[i].weight;
    }
    uint32_t drawn = random_below(random, all), i = 0;
    while (drawn >= kinds[i].weight) {
        drawn -= kinds[i++].weight;
    }
    return &kinds[i];
}

void whole_write_requests(struct whole_client *c) {
    uint32_t want = whole_chance(&c->random, 8) ? WHOLE_REQUESTS_MAX : whole_between(&c->random, 1, 12);
    c->requests = calloc(want, sizeof *c->requests);
    if (c->requests == NULL) {
        whole_fail(c->w, "no memory");
    }
    while (c->count < want && c->out_len < STREAM_BYTES_MAX) {
        struct whole_request *r = &c->requests[c->count++];
        if (whole_chance(&c->random, 3)) {
            r->kind = "bad";
            whole_write_bad(c, r);
        } else if (c->w->db_on && whole_chance(&c->random, 50)) {
            r->kind = "db";
            whole_write_db(c, r);
        } else {
            const struct kind *kind = draw_kind(&c->random);
            r->kind = kind->name;
            kind->write(c, r);
            if (r->endless) {
                return; /* it ends when the client does, or the server */
            }
        }
    }
}
