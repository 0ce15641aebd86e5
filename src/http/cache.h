/* What RFC 9110 and RFC 9111 say about stored responses, for a cache that belongs to the origin server: it decides by the
 * server's own rules (TTL, grace, purges), which are declared with a route, and tells clients what they may do themselves.
 *
 * The way of a response into the store:
 *     http_response_capture(x); the handler runs, nothing leaves; http_captured(x): what it wrote, if it may be stored;
 *     http_meta_bytes, http_meta_put and the body into the store; http_response_uncapture(x): and to the client
 * and out of it:
 *     http_meta_read; http_stored_begin(x), the body, http_exchange_finish; or http_stored_undo(x), as if nothing had been
 *
 * Depends on: http.h, mem. One thread per connection. */
#ifndef RM_HTTP_CACHE_H
#define RM_HTTP_CACHE_H

#include "http/http.h"

enum {
    HTTP_META_BYTES_MAX = 3584, /* of a stored response: status, entity tag, fields; so that a head fits into a block */
    HTTP_ETAG_BYTES_MAX = 128,  /* longer tags are sent, but no condition is found true by them */
};

/* How a response came about: the value of X-Cache. */
enum http_cache_state { HTTP_CACHE_NONE, HTTP_CACHE_HIT, HTTP_CACHE_MISS, HTTP_CACHE_STALE };

/* What clients are told, and who is served from the store. */
struct http_cache_rule {
    uint32_t max_age_s;   /* Cache-Control: max-age for clients; 0: "no-cache": they may keep it, and ask each time (RFC 9111
                             §5.2.2.4), which costs a 304 */
    bool authorized;      /* requests with Authorization are served from the store like all others, RFC 9111 §3.5 */
    struct span vary;     /* names of the fields that are in the key, "Accept-Language, X-Plan"; empty: none */
};

/* May the store answer this request, and keep what the handler answers? GET and HEAD; no Authorization unless the rule says so;
 * no body that came with it. A client's Cache-Control does not count: it is ours to say how old an answer may be. */
bool http_cache_serves(const struct http_exchange *x, const struct http_cache_rule *rule);

/* ------------------------------------------------------------------------------------------------------ into ---- */

/* Before the handler runs, and nothing was written yet: what it writes is kept in x->own, bodies of HEAD requests too, whether
 * the client is there or not, and no head is written. A streamed response ends the capture (it is written as ever, and knows
 * no X-Cache). The exchange may park, and its client may go; http_response_uncapture comes before http_exchange_finish. */
void http_response_capture(struct http_exchange *x);

/* A response as the handler has written it. Borrows x and is valid until http_response_uncapture. */
struct http_captured {
    int status;
    struct span type;
    struct span fields;        /* "Name: value\r\n"... that the handler has set */
    const struct chain *body;
    uint64_t body_bytes;
    struct span modified;      /* a date for Last-Modified, unless the handler has set one; empty: none */
    bool as_it_is;             /* it is not stored: all that the handler has set is sent */
};

/* True when it may be stored: captured to the end, not failed, status 200, no Set-Cookie, no Cache-Control with no-store or
 * private, no Vary beyond the rule's, no fields that are about a connection or a proxy (RFC 9111 §3, §3.1). */
bool http_captured(const struct http_exchange *x, const struct http_cache_rule *rule, struct http_captured *out);

/* The same of a response that was not begun, nor has failed, but will be answered with 200, `type`, the fields that the
 * handler has set, and a body that lies elsewhere: out->body is NULL. False when it may not be stored: as_it_is is set then.
 * Whether the type can be sent is the caller's to know: http_type_fits. */
bool http_captured_elsewhere(const struct http_exchange *x, const struct http_cache_rule *rule, struct span type,
                             uint64_t body_bytes, struct http_captured *out);

/* May it be a content type: no controls, not too long for a head. */
bool http_type_fits(struct span type);

/* The response goes its way, in any case: with the captured head, and X-Cache as `state` says (NONE: no such field and
 * nothing below). MISS of what was storable: it is answered as http_stored_begin would, ETag (`etag`, unless the handler has
 * set one), Cache-Control (unless it has) and Vary as the rule says, conditions included: as the next one will see it. A
 * response that has failed has no X-Cache; without a client it is dropped. Nothing when there was no capture, or it has ended.
 * Then http_exchange_finish. */
void http_response_uncapture(struct http_exchange *x, enum http_cache_state state, const struct http_cache_rule *rule,
                             struct span etag);

/* The strong entity tag of a body that has none: 64 bits of a hash over it, quoted: "\"0123456789abcdef\"". RFC 9110 §8.8.3 */
enum { HTTP_ETAG_MADE_BYTES = 18 };
void http_etag_make(const struct chain *body, char out[static HTTP_ETAG_MADE_BYTES]);

/* What is stored beside the body: status, entity tag (the handler's, else `etag`), content type and fields as they will be
 * sent. Bytes that it takes, 0: more than HTTP_META_BYTES_MAX, it is not stored. */
uint32_t http_meta_bytes(const struct http_captured *captured, const struct http_cache_rule *rule, struct span etag);
void http_meta_put(const struct http_captured *captured, const struct http_cache_rule *rule, struct span etag, char *out);

/* ------------------------------------------------------------------------------------------------------- out ---- */

struct http_stored {
    /* of http_meta_read: */
    int status;
    struct span etag;      /* with its quotes; empty: none that a condition could name */
    struct span lines;     /* of the head: "Content-Type: ...\r\nContent-Length: ...\r\n" ... "ETag: ...\r\n" ... */
    struct span lines_304; /* the part of them that a 304 repeats (RFC 9110 §15.4.5): the end of `lines` */
    uint64_t body_bytes;   /* as the lines say: not those that the store has is a miss */
    uint32_t age_before_s; /* the handler's own Age */
    /* the caller's, zeroed by http_meta_read: */
    enum http_cache_state state;
    uint64_t age_ms;       /* since it was stored */
};

/* Reads what http_meta_put has written (copied from the store); borrows it. Looks at none but its own bytes, whatever they are.
 * False: it makes no sense. */
[[gnu::warn_unused_result]] bool http_meta_read(struct span meta, struct http_stored *out);

enum http_stored_body {
    HTTP_STORED_NONE,   /* HEAD, 304: nothing more is to be written */
    HTTP_STORED_FOLLOWS, /* exactly body_bytes follow: http_response_reserve and _commit, http_response_lend */
    HTTP_STORED_FAILED, /* no block: 503, as ever; or If-Match does not match: 412 */
};

/* Begins the answer from the store, before anything was written: status line, Date, lines, X-Cache, Age (seconds, RFC 9111
 * §5.1). If-Match (strong comparison) comes first, then If-None-Match (weak comparison), each a list or "*": RFC 9110 §13.1.1,
 * §13.1.2, §13.2.2. What is neither is malformed and matches nothing. Other conditions are not looked at. A body that follows
 * must be whole at http_exchange_finish (asserted), unless the response has failed. */
enum http_stored_body http_stored_begin(struct http_exchange *x, const struct http_stored *stored);

/* http_response_reserve and _commit behind FOLLOWS, inline: a hit is all that happens to its request. */
[[gnu::warn_unused_result]] static inline char *http_stored_reserve(struct http_exchange *x, uint32_t n) {
    rm_assert(n <= HTTP_RESERVE_BYTES_MAX);
    char *room = chain_reserve(x->out, n);
    if (room == NULL) {
        http_response_fail(x, 503);
    }
    return room;
}

static inline void http_stored_commit(struct http_exchange *x, uint32_t n) {
    x->body_written += n;
    chain_commit(x->out, n);
    if (x->body_written == x->body_expected) { /* nothing is left to be seen to at its end */
        x->kept = HTTP_PLAIN;
        x->connection_at = NULL; /* in the place of body_expected */
    }
}

/* Takes back all of it, also when it has failed: a handler may answer. Nothing of it may have left (asserted). */
void http_stored_undo(struct http_exchange *x);

/* ------------------------------------------------------------------------------------------------ without clients ---- */

/* An exchange like `x` (its head, its route; no body) without a client, for a refresh in the background: what it answers goes
 * nowhere but into the store. NULL: no exchange is free, or the pool is below a quarter of its size: clients come first. */
[[gnu::warn_unused_result]] struct http_exchange *http_exchange_shadow(struct http_exchange *x);

#endif
