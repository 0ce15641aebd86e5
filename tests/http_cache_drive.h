/* What the server's cache does with http's part of it, without a store: the next response is the one that was kept last. */
#ifndef RM_TESTS_HTTP_CACHE_DRIVE_H
#define RM_TESTS_HTTP_CACHE_DRIVE_H

#include "http/cache.h"
#include "http_drive.h"

#define HEAD(path) "HEAD " path " HTTP/1.1\r\n" H "\r\n"
#define GET_WITH(path, fields) "GET " path " HTTP/1.1\r\n" H fields "\r\n"
#define TAG_OF_HELLO "\"d5cfea1d50c20a7f\""

static const struct http_cache_rule rule_plain = { .max_age_s = 0 };

/* A response beside its body. */
struct kept {
    uint32_t meta_bytes;
    char meta[HTTP_META_BYTES_MAX];
    char body[64 * 1024];
    size_t body_bytes;
};
static struct kept kept;

static inline struct http_exchange *capture(const char *text) {
    struct http_exchange *x = request(text);
    http_response_capture(x);
    return x;
}

static inline void copy_body(const struct chain *chain) {
    kept.body_bytes = 0;
    for (const struct block *block = chain->head; block != NULL; block = block->next) {
        size_t len = block->len - block->start;
        assert_true(kept.body_bytes + len <= sizeof kept.body);
        memcpy(kept.body + kept.body_bytes, block->data + block->start, len);
        kept.body_bytes += len;
    }
}

/* What the server does when the handlers have answered. True when it was kept. */
static inline bool keep(struct http_exchange *x, enum http_cache_state state, const struct http_cache_rule *rule) {
    struct http_captured captured;
    char tag[HTTP_ETAG_MADE_BYTES] = "";
    bool storable = http_captured(x, rule, &captured);
    kept.meta_bytes = 0;
    if (storable) {
        assert_int_equal(captured.body->bytes, captured.body_bytes);
        http_etag_make(captured.body, tag);
        kept.meta_bytes = http_meta_bytes(&captured, rule, span_of(tag, sizeof tag));
        copy_body(captured.body);
    }
    if (kept.meta_bytes > 0) {
        http_meta_put(&captured, rule, span_of(tag, sizeof tag), kept.meta);
    }
    http_response_uncapture(x, state, rule, span_of(tag, sizeof tag));
    return kept.meta_bytes > 0;
}

static inline bool keep_and_finish(struct http_exchange *x, const struct http_cache_rule *rule) {
    bool storable = keep(x, HTTP_CACHE_MISS, rule);
    finish(x);
    return storable;
}

/* The body that follows, in pieces. */
static inline void put_kept(struct http_exchange *x) {
    for (size_t at = 0; at < kept.body_bytes;) {
        size_t n = kept.body_bytes - at < HTTP_RESERVE_BYTES_MAX ? kept.body_bytes - at : HTTP_RESERVE_BYTES_MAX;
        char *p = http_response_reserve(x, (uint32_t)n);
        if (p == NULL) {
            return;
        }
        memcpy(p, kept.body + at, n);
        http_response_commit(x, (uint32_t)n);
        at += n;
    }
}

static inline enum http_stored_body begin_kept(struct http_exchange *x, enum http_cache_state state, uint64_t age_ms) {
    struct http_stored stored;
    assert_true(http_meta_read(span_of(kept.meta, kept.meta_bytes), &stored));
    assert_int_equal(stored.body_bytes, kept.body_bytes);
    stored.state = state;
    stored.age_ms = age_ms;
    return http_stored_begin(x, &stored);
}

/* The kept response to this request. */
static inline void hit(const char *text, uint64_t age_ms) {
    struct http_exchange *x = request(text);
    if (begin_kept(x, HTTP_CACHE_HIT, age_ms) == HTTP_STORED_FOLLOWS) {
        put_kept(x);
    }
    finish(x);
}

/* Keeps "hello" as text. */
static inline void keep_hello(void) {
    struct http_exchange *x = capture(GET("/ok"));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
    assert_true(keep_and_finish(x, &rule_plain));
    rig_take_output(&rig);
}

#endif
