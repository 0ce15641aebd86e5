/* Reads HTTP/1.1 responses off a connection and compares each with what its request expects: status, exact body length and,
 * if given, the body's bytes. Bytes in, verdicts out; allocates nothing.
 *
 * The same request gets the same head again and again, but for Date. So each expectation remembers the last head that was
 * read the long way and found right; a later head that has the same bytes around the 29 of the date needs no parsing. Any
 * other head is parsed: nothing goes unchecked.
 *
 * Framing is Content-Length (blanks around the value are allowed, RFC 9110 §5.5); 204 and 304 have no body (RFC 9112 §6.3).
 * A response with Transfer-Encoding, or without a length, is malformed to this reader.
 * Depends on: mem/span.h. One thread. */
#ifndef RM_BENCH_LOAD_REPLY_H
#define RM_BENCH_LOAD_REPLY_H

#include "mem/span.h"

enum {
    REPLY_HEAD_BYTES_MAX = 4096, /* longest head of a response */
    REPLY_KNOWN_BYTES_MAX = 512, /* longer heads are parsed each time */
    REPLY_DATE_BYTES = 29,       /* IMF-fixdate, RFC 9110 §5.6.7 */
    REPLY_NO_DATE = UINT32_MAX,
};

/* A head that was found right. Invariant: bytes == 0 (nothing known) or date + REPLY_DATE_BYTES <= bytes or date is
 * REPLY_NO_DATE. */
struct reply_known {
    char head[REPLY_KNOWN_BYTES_MAX];
    uint32_t bytes;
    uint32_t date; /* offset of the value of Date */
    uint64_t body_bytes;
};

/* What a request's response must be. */
struct reply_expect {
    uint32_t status;
    bool length_known; /* `length` is demanded; else the first response's length is, from then on */
    bool has_body;     /* `body` is demanded as well: length == body.len then */
    uint64_t length;   /* bytes of body */
    struct span body;  /* borrowed */
    struct reply_known known;
};

/* One per connection. Starts zeroed but for `carry` (REPLY_HEAD_BYTES_MAX bytes, borrowed). */
struct reply_reader {
    char *carry; /* an incomplete head */
    uint32_t carry_len;
    bool in_body;
    bool wrong_body; /* a byte of the current body differs */
    uint32_t status; /* of the current (or, after a verdict, the last) response */
    uint64_t body_bytes;
    uint64_t body_seen;
};

enum reply_verdict {
    REPLY_MORE,      /* the input is used up within a response */
    REPLY_RIGHT,     /* a whole response, as expected */
    REPLY_STATUS,    /* a whole response, another status */
    REPLY_LENGTH,    /* a whole response, another body length */
    REPLY_BODY,      /* a whole response, other bytes in the body */
    REPLY_MALFORMED, /* cannot be framed: the connection is of no use any more */
    REPLY_VERDICTS_COUNT
};

const char *reply_verdict_name(enum reply_verdict verdict);

/* Forgets a half-read response: for a new connection. */
void reply_reset(struct reply_reader *reader);

/* Takes what belongs to the next response from *input, advancing it. `expect` must be the same until a verdict other than
 * REPLY_MORE; it learns (see above). */
[[gnu::warn_unused_result]] enum reply_verdict reply_next(struct reply_reader *reader, struct span *input,
                                                          struct reply_expect *expect);

#endif
