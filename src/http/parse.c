#include "http/parse.h"

#include "http/host.h"
#include "http/scan.h"
#include "mem/assert.h"
#include "mem/copy.h"

/* A line that failed in the quick way and has its end: only the careful way knows what is wrong, if anything. */
enum { LINE_ENDS = 2 };

uint32_t http_parse_bytes_max(const struct http_limits *limits) {
    rm_assert(limits->request_line_bytes <= HTTP_HEAD_BYTES_MAX);
    rm_assert(limits->header_bytes <= HTTP_HEAD_BYTES_MAX - limits->request_line_bytes);
    return 2 + limits->request_line_bytes + 2 + limits->header_bytes + 2;
}

/* ----------------------------------------------------------------------------------------------------- names ---- */

static uint16_t load2(const char *p) {
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static uint32_t load4(const char *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static uint64_t load8(const char *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* Equality without case for 2, 4, 8 bytes of a token and a word in small letters. In a token 0x20 is set by nothing but
 * small letters, digits and marks that are no letter with it cleared; so "or 0x20" makes no two different names equal. */
static bool same2(const char *p, const char *word) {
    return (load2(p) | 0x2020) == load2(word);
}

static bool same4(const char *p, const char *word) {
    return (load4(p) | 0x20202020u) == load4(word);
}

static bool same8(const char *p, const char *word) {
    return (load8(p) | UINT64_C(0x2020202020202020)) == load8(word);
}

static const struct {
    const char *name;
    size_t len;
    enum http_method method;
} methods[] = {
    { "GET", 3, HTTP_GET },         { "HEAD", 4, HTTP_HEAD },       { "POST", 4, HTTP_POST },
    { "PUT", 3, HTTP_PUT },         { "DELETE", 6, HTTP_DELETE },   { "CONNECT", 7, HTTP_CONNECT },
    { "OPTIONS", 7, HTTP_OPTIONS }, { "TRACE", 5, HTTP_TRACE },     { "PATCH", 5, HTTP_PATCH },
};

enum http_method http_method_of(struct span name) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (span_equal(name, span_of(methods[i].name, methods[i].len))) {
            return methods[i].method;
        }
    }
    return HTTP_METHOD_UNKNOWN;
}

static bool is_digit(char byte) {
    return scan_is(byte, SCAN_DIGIT);
}

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

/* ---------------------------------------------------------------------------------------------- request line ---- */

static struct http_view view(const struct http_request *request, const char *from, const char *to) {
    return (struct http_view){ (uint16_t)(from - request->head), (uint16_t)(to - from) };
}

static const char *scan_query(const char *p, const char *end) {
    p = scan_path(p, end);
    while (p < end && *p == '?') {
        p = scan_path(p + 1, end);
    }
    return p;
}

/* Splits the target's [from, to) at its first '?'. */
static void set_path(struct http_request *request, const char *from, const char *mark, const char *to) {
    request->path = view(request, from, mark);
    request->query = mark < to ? view(request, mark + 1, to) : view(request, to, to);
}

/* The usual request line: origin-form, HTTP/1.1 or 1.0. Returns what is behind it, or NULL: not usual, or wrong, or
 * incomplete. */
static const char *quick_line(struct http_request *request, const char *p, const char *end) {
    const char *target;
    if (end - p < 16) { /* "GET / HTTP/1.1" and CRLF */
        return NULL;
    }
    if (load4(p) == load4("GET ")) {
        request->method = HTTP_GET;
        target = p + 4;
    } else if (load4(p) == load4("POST") && p[4] == ' ') {
        request->method = HTTP_POST;
        target = p + 5;
    } else {
        target = scan_token(p, end);
        request->method = (uint8_t)http_method_of(span_of(p, (size_t)(target - p)));
        if (target == p || request->method == HTTP_CONNECT || end - target < 2 || *target++ != ' ') {
            return NULL;
        }
    }
    if (*target != '/') {
        return NULL;
    }
    const char *mark = scan_path(target + 1, end);
    const char *stop = mark < end && *mark == '?' ? scan_query(mark + 1, end) : mark;
    if (end - stop < 11 || load4(stop) != load4(" HTT")) {
        return NULL;
    }
    uint64_t version = load8(stop + 3);
    if (version != load8("TP/1.1\r\n") && version != load8("TP/1.0\r\n")) {
        return NULL; /* 1.2 to 1.9 are rare enough for the careful way */
    }
    request->version_minor = version == load8("TP/1.1\r\n") ? 1 : 0;
    request->method_text = view(request, p, target - 1);
    request->target = view(request, target, stop);
    set_path(request, target, mark, stop);
    return stop + 11;
}

/* What is behind "scheme://", up to the path. Its data is NULL when there is no such thing. */
static struct span authority_of(struct span target) {
    const char *to = target.data + target.len, *colon = memchr(target.data, ':', target.len);
    if (colon == NULL || to - colon < 4 || colon[1] != '/' || colon[2] != '/') {
        return span_of(NULL, 0);
    }
    const char *from = colon + 3, *stop = from;
    while (stop < to && *stop != '/' && *stop != '?') {
        stop++;
    }
    return span_of(from, (size_t)(stop - from));
}

/* "http://authority[/path][?query]": RFC 9112 §3.2.2. An empty path is "/": the second slash of "//" lends itself. */
static int absolute_target(struct http_request *request, const char *from, const char *to) {
    struct span authority = authority_of(span_of(from, (size_t)(to - from)));
    if (authority.len == 0 || !http_host_valid(authority)) {
        return 400;
    }
    struct span scheme = span_of(from, (size_t)(authority.data - 3 - from));
    if (!span_equal_nocase(scheme, SPAN("http")) && !span_equal_nocase(scheme, SPAN("https"))) {
        return 400;
    }
    const char *stop = authority.data + authority.len, *mark = scan_path(stop, to);
    request->seen |= SEEN_AUTHORITY;
    set_path(request, stop, mark, to);
    if (mark == stop) {
        request->path = view(request, authority.data - 1, authority.data);
    }
    return PARSE_OK;
}

/* "host:port" of CONNECT: RFC 9112 §3.2.3. We are no proxy. */
static int connect_target(const char *from, const char *to) {
    struct span authority = span_of(from, (size_t)(to - from));
    return *from != '/' && http_host_valid(authority) && is_digit(to[-1]) ? 501 : 400;
}

/* The target's form by its first byte and the method: RFC 9112 §3.2. */
static int set_target(struct http_request *request, const char *from, const char *to) {
    if (scan_query(from, to) != to) {
        return 400;
    }
    request->target = view(request, from, to);
    if (request->method == HTTP_CONNECT) {
        return connect_target(from, to);
    }
    if (*from == '/') {
        set_path(request, from, scan_path(from, to), to);
        return PARSE_OK;
    }
    if (*from == '*' && to - from == 1) {
        set_path(request, from, to, to);
        return request->method == HTTP_OPTIONS ? PARSE_OK : 400;
    }
    return absolute_target(request, from, to);
}

/* Any request line: [p, end) without its CRLF. RFC 9112 §3 */
static int careful_line(struct http_request *request, const char *p, const char *end) {
    const char *space = scan_token(p, end);
    if (space == p || end - space < 11 || *space != ' ') { /* SP, a target of one byte, SP, version */
        return 400;
    }
    const char *version = end - 8;
    if (version[-1] != ' ' || memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) || version[6] != '.'
        || !is_digit(version[7])) {
        return 400;
    }
    request->method = (uint8_t)http_method_of(span_of(p, (size_t)(space - p)));
    request->method_text = view(request, p, space);
    request->version_minor = (uint8_t)(version[7] - '0');
    int status = set_target(request, space + 1, version - 1);
    if (status != PARSE_OK && status != 501) {
        return status;
    }
    return version[5] != '1' ? 505 : status;
}

/* ---------------------------------------------------------------------------------------------- known fields ---- */

static bool once(struct http_request *request, uint16_t bit) {
    bool first = (request->seen & bit) == 0;
    request->seen |= bit;
    return first;
}

/* Valid, and known as such from now on. */
[[gnu::noinline]] static bool host_new(struct http_known_host *known, struct span value) {
    if (!http_host_valid(value)) {
        return false;
    }
    if (value.len > 0 && value.len <= HTTP_KNOWN_HOST_BYTES) {
        memcpy(known->text, value.data, value.len);
        known->len = (uint32_t)value.len;
    }
    return true;
}

static int host_field(struct http_request *request, struct http_known_host *known, struct span value) {
    if (!once(request, SEEN_HOST)) {
        return 400;
    }
    bool same = value.len > 0 && value.len == known->len && copy_same(value.data, known->text, value.len);
    return same || host_new(known, value) ? PARSE_OK : 400;
}

/* RFC 9112 §6.2: digits. Two fields or a list are refused even when they agree (§6.3 would allow it). */
static int length_field(struct http_request *request, struct span value) {
    if (!once(request, SEEN_LENGTH) || (request->seen & SEEN_CODING) != 0) {
        return 400;
    }
    request->has_length = true;
    return span_u64(value, &request->content_length) ? PARSE_OK : 400;
}

struct span http_list_next(struct span *list) {
    const char *comma = memchr(list->data, ',', list->len);
    size_t len = comma != NULL ? (size_t)(comma - list->data) : list->len;
    struct span element = span_first(*list, len);
    *list = comma != NULL ? span_from(*list, len + 1) : span_of(NULL, 0);
    while (element.len > 0 && is_blank(element.data[0])) {
        element = span_from(element, 1);
    }
    while (element.len > 0 && is_blank(element.data[element.len - 1])) {
        element.len--;
    }
    return element;
}

/* What is not exactly "chunked". RFC 9112 §6.3: 400 when chunked is not there once, at the end, since nobody knows where such a
 * body ends; §6.1: 501 for the codings before it. */
static int refused_coding(struct span value) {
    bool chunked = false;
    for (struct span rest = value; rest.data != NULL;) {
        struct span coding = http_list_next(&rest);
        const char *end = coding.data + coding.len;
        if (chunked || coding.len == 0 || scan_token(coding.data, end) != end) {
            return 400;
        }
        chunked = span_equal_nocase(coding, SPAN("chunked"));
    }
    return chunked ? 501 : 400;
}

/* RFC 9112 §6.1: not in HTTP/1.0, not with Content-Length. */
static int coding_field(struct http_request *request, struct span value) {
    if (!once(request, SEEN_CODING) || (request->seen & SEEN_LENGTH) != 0 || request->version_minor == 0) {
        return 400;
    }
    if (!span_equal_nocase(value, SPAN("chunked"))) {
        return refused_coding(value);
    }
    request->chunked = true;
    return PARSE_OK;
}

/* RFC 9110 §7.6.1. Options that we don't know mean nothing to us. */
static int connection_field(struct http_request *request, struct span value) {
    for (struct span rest = value; rest.data != NULL;) {
        struct span option = http_list_next(&rest);
        if (span_equal_nocase(option, SPAN("close"))) {
            request->seen |= SEEN_CLOSE;
        } else if (span_equal_nocase(option, SPAN("keep-alive"))) {
            request->seen |= SEEN_KEEP_ALIVE;
        }
    }
    return PARSE_OK;
}

/* RFC 9110 §10.1.1: 417 for what we don't know; nothing in HTTP/1.0. */
static int expect_field(struct http_request *request, struct span value) {
    if (request->version_minor == 0) {
        return PARSE_OK;
    }
    request->expect_continue = span_equal_nocase(value, SPAN("100-continue"));
    return request->expect_continue ? PARSE_OK : 417;
}

/* Fields that others ask for: whether they are there. */
static void note_field(struct http_request *request, const char *name, size_t len) {
    if (len == 8) {
        request->seen |= same8(name, "if-match") ? SEEN_CONDITION : 0;
    } else if (same8(name, "if-none-") && same8(name + 5, "ne-match")) {
        request->seen |= SEEN_CONDITION;
    } else if (same8(name, "authoriz") && same8(name + 5, "rization")) {
        request->seen |= SEEN_AUTHORIZATION;
    }
}

/* The fields that framing depends on, found by length first. */
static inline int known_field(struct http_request *request, struct http_known_host *host, const char *name, size_t len,
                              struct span value) {
    switch (len) {
    case 4: return same4(name, "host") ? host_field(request, host, value) : PARSE_OK;
    case 6: return same4(name, "expect") && same2(name + 4, "ct") ? expect_field(request, value) : PARSE_OK;
    case 8:
    case 13: note_field(request, name, len); return PARSE_OK;
    case 10:
        return same8(name, "connection") && same2(name + 8, "on") ? connection_field(request, value) : PARSE_OK;
    case 14:
        return same8(name, "content-length") && same8(name + 6, "t-length") ? length_field(request, value) : PARSE_OK;
    case 17:
        return same8(name, "transfer-encoding") && same8(name + 8, "-encoding") && (name[16] | 0x20) == 'g'
                   ? coding_field(request, value)
                   : PARSE_OK;
    default: return PARSE_OK;
    }
}

/* ---------------------------------------------------------------------------------------------------- fields ---- */

static uint32_t fields_start(const struct http_request *request) {
    return (uint32_t)request->target.offset + request->target.len + 11; /* " HTTP/1.x" and CRLF */
}

/* A field line. Returns what is behind it and sets *status; or NULL: wrong, incomplete, or beyond the limit. RFC 9112 §5 */
static inline const char *field_line(struct http_request *request, const struct http_limits *limits,
                                     struct http_known_host *host, const char *p, const char *end, int *status) {
    const char *colon = scan_token(p, end);
    if (colon == p || colon == end || *colon != ':') {
        return NULL;
    }
    const char *value = colon + 1;
    while (value < end && is_blank(*value)) {
        value++;
    }
    const char *stop = scan_text(value, end);
    if (end - stop < 2 || load2(stop) != load2("\r\n")) {
        return NULL;
    }
    const char *behind = stop + 2;
    if (request->field_count >= limits->fields) {
        *status = 431;
        return behind;
    }
    while (stop > value && is_blank(stop[-1])) {
        stop--;
    }
    request->fields[request->field_count++] = (struct http_field){ view(request, p, colon), view(request, value, stop) };
    *status = known_field(request, host, p, (size_t)(colon - p), span_of(value, (size_t)(stop - value)));
    return behind;
}

/* A request line beyond the limit. RFC 9112 §3: 501 when that is the method's fault, which is longer than any that we know. */
static int too_long(const char *line, uint32_t limit) {
    return scan_while(line, line + limit, SCAN_TOKEN) == line + limit ? 501 : 414;
}

/* Looks for the end of the line at `line`, from `from` on, after the quick way did not find it good. */
static int end_of_line(const struct http_request *request, const struct http_limits *limits, const char *line,
                       const char *from, const char *end, struct parse_at *at) {
    bool fields = at->state == PARSE_FIELDS;
    const char *start = fields ? request->head + fields_start(request) : line;
    uint32_t limit = fields ? limits->header_bytes : limits->request_line_bytes;
    const char *stop = scan_text(from, end);
    if ((uint32_t)(stop - start) > limit) {
        return fields ? 431 : too_long(line, limit);
    }
    if (stop == end || (*stop == '\r' && end - stop == 1)) {
        at->line_start = (uint32_t)(line - request->head);
        at->scanned = (uint32_t)(stop - request->head);
        return PARSE_MORE;
    }
    return *stop == '\r' && stop[1] == '\n' ? LINE_ENDS : 400;
}

/* Host is missing, or an absolute target has its own: RFC 9112 §3.2, §3.2.2. The target's takes the place of the field's. */
[[gnu::noinline]] static int unusual_host(struct http_request *request) {
    if ((request->seen & SEEN_HOST) == 0) {
        return request->version_minor == 0 ? PARSE_OK : 400;
    }
    struct span target = http_span(request, request->target), authority = authority_of(target);
    for (uint32_t i = 0; i < request->field_count; i++) {
        struct http_field *field = &request->fields[i];
        if (span_equal_nocase(http_span(request, field->name), SPAN("host"))) {
            field->value = view(request, authority.data, authority.data + authority.len);
        }
    }
    return PARSE_OK;
}

/* RFC 9112 §3.2 (Host), §9.3 (persistence) */
static int end_of_head(struct http_request *request, const char *behind) {
    request->head_bytes = (uint32_t)(behind - request->head);
    if ((request->seen & (SEEN_HOST | SEEN_AUTHORITY)) != SEEN_HOST && unusual_host(request) != PARSE_OK) {
        return 400;
    }
    bool wanted = request->version_minor > 0 || (request->seen & SEEN_KEEP_ALIVE) != 0;
    request->keep_alive = wanted && (request->seen & SEEN_CLOSE) == 0;
    return PARSE_OK;
}

static inline int parse_fields(struct http_request *request, const struct http_limits *limits,
                               struct http_known_host *host, const char *p, const char *end, struct parse_at *at) {
    size_t most = fields_start(request) + limits->header_bytes + 2; /* of the head: any line that ends here is in the limit */
    const char *near_end = most < (size_t)(end - request->head) ? request->head + most : end;
    for (;;) {
        if (p < near_end && *p == '\r' && near_end - p >= 2 && p[1] == '\n') {
            return end_of_head(request, p + 2);
        }
        int status = PARSE_OK;
        const char *behind = field_line(request, limits, host, p, near_end, &status);
        if (behind == NULL) {
            status = end_of_line(request, limits, p, p, end, at);
            return status == LINE_ENDS ? 400 : status;
        }
        if (status != PARSE_OK) {
            return status;
        }
        p = behind;
    }
}

/* The request line at *p, in the quick or the careful way; moves *p behind it. */
static int parse_line(struct http_request *request, const struct http_limits *limits, const char **p, const char *end,
                      struct parse_at *at) {
    const char *line = *p;
    const char *behind = quick_line(request, line, end);
    if (behind != NULL) {
        *p = behind;
        uint32_t limit = limits->request_line_bytes;
        return (uint32_t)(behind - 2 - line) > limit ? too_long(line, limit) : PARSE_OK;
    }
    int status = end_of_line(request, limits, line, line, end, at);
    if (status != LINE_ENDS) {
        return status;
    }
    const char *stop = scan_text(line, end);
    *p = stop + 2;
    if (stop == line && at->state == PARSE_START) {
        at->state = PARSE_LINE;
        return parse_line(request, limits, p, end, at);
    }
    return careful_line(request, line, stop);
}

/* All but the head's place and the fields: a few wide stores. */
static void begin(struct http_request *request) {
    size_t start = offsetof(struct http_request, head_bytes);
    memset(&request->head_bytes, 0, offsetof(struct http_request, fields) - start);
    request->method = HTTP_METHOD_UNKNOWN;
    request->version_minor = 1;
}

/* A line that is no request line, or not yet, says nothing, whatever its first bytes look like. */
static int bad_line(struct http_request *request, int status) {
    if (status == PARSE_MORE || status == 400 || status == 414) {
        request->method = HTTP_METHOD_UNKNOWN;
        request->version_minor = 1;
    }
    return status;
}

int http_parse(struct http_request *request, const struct http_limits *limits, struct http_known_host *host, const char *head,
               uint32_t len, struct parse_at *at) {
    const char *p = head + at->line_start, *end = head + len;
    rm_assert(at->scanned <= len);
    request->head = head;
    if (at->scanned > at->line_start) { /* nothing of this line is looked at again before its end is there */
        int status = end_of_line(request, limits, p, head + at->scanned, end, at);
        if (status != LINE_ENDS) {
            return at->state == PARSE_FIELDS ? status : bad_line(request, status);
        }
    }
    if (at->state == PARSE_START && at->line_start == 0) {
        begin(request);
    }
    if (at->state != PARSE_FIELDS) {
        int status = parse_line(request, limits, &p, end, at);
        if (status != PARSE_OK) {
            return bad_line(request, status);
        }
        at->state = PARSE_FIELDS;
    }
    return parse_fields(request, limits, host, p, end, at);
}

bool http_request_field(const struct http_request *request, struct span name, struct span *value) {
    for (uint32_t i = 0; i < request->field_count; i++) {
        if (request->fields[i].name.len == name.len
            && span_equal_nocase(http_span(request, request->fields[i].name), name)) {
            *value = http_span(request, request->fields[i].value);
            return true;
        }
    }
    return false;
}
