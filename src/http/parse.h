/* The parser of a request head: in place, one pass, resumable, no allocation. RFC 9112 §2-§6, strict.
 * A line is judged when its end is there, or its first control character, or more bytes than the limit allows: so the answer
 * does not depend on how the bytes were cut. A line that is incomplete is not looked at again from its beginning until its end
 * has come: each byte is looked at three times at most, however it arrives.
 * Depends on: http/http.h, http/scan.h. */
#ifndef RM_HTTP_PARSE_H
#define RM_HTTP_PARSE_H

#include "http/http.h"

enum parse_state {
    PARSE_START, /* nothing was seen: one empty line may come before the request line. RFC 9112 §2.2 */
    PARSE_LINE,  /* the request line */
    PARSE_FIELDS,
};

/* request->seen. The parser's own, and what others want to know without a look at all fields. */
enum {
    SEEN_HOST = 1,
    SEEN_LENGTH = 2,
    SEEN_CODING = 4,
    SEEN_CLOSE = 8,
    SEEN_KEEP_ALIVE = 16,
    SEEN_AUTHORITY = 32,     /* in an absolute target */
    SEEN_AUTHORIZATION = 64,
    SEEN_CONDITION = 128,    /* If-Match, If-None-Match */
};

/* Where the parser stands in a head; zeroed at its beginning. Invariant: line_start <= scanned <= bytes that were given. */
struct parse_at {
    uint32_t line_start; /* where the first line that is not complete begins */
    uint32_t scanned;    /* before this there is no end of that line */
    uint8_t state;       /* enum parse_state */
};

enum {
    PARSE_OK = 0,   /* request->head_bytes is set */
    PARSE_MORE = 1, /* not complete: call again with the same bytes and more behind them; *at and *request say what is known */
    /* else a status: 400, 414, 417, 431, 501, 505 */
};

/* Looks at the `len` bytes of `head`. Sets request->head, so the bytes may have moved since the last call. On an error,
 * what is set of the request is right as far as it goes. `host` remembers the last good Host, from call to call. */
[[gnu::warn_unused_result]] int http_parse(struct http_request *request, const struct http_limits *limits,
                                           struct http_known_host *host, const char *head, uint32_t len, struct parse_at *at);

/* The bytes of a whole head within the limits. */
uint32_t http_parse_bytes_max(const struct http_limits *limits);

/* Takes the first element off a comma-separated list, without the blanks around it; list->data is NULL after the last. Knows no
 * quotes. RFC 9110 §5.6.1 */
struct span http_list_next(struct span *list);

/* The method of that name, or HTTP_METHOD_UNKNOWN. */
enum http_method http_method_of(struct span name);

#endif
