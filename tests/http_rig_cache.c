/* GET /cached/{n} of http_rig.c: a store for one response. */
#include "http/cache.h"
#include "http_rig.h"

enum { NOT_FOUND = 404, STREAMED = 1000 }; /* {n} that are not stored */

static const struct http_cache_rule rule = { .max_age_s = 5, .vary = SPAN("X-Plan") };

static void put_bytes(struct http_exchange *x, const char *bytes, uint64_t n) {
    for (uint64_t at = 0; at < n;) {
        uint32_t len = n - at < HTTP_RESERVE_BYTES_MAX ? (uint32_t)(n - at) : HTTP_RESERVE_BYTES_MAX;
        char *p = http_response_reserve(x, len);
        if (p == NULL) {
            return;
        }
        memcpy(p, bytes + at, len);
        http_response_commit(x, len);
        at += len;
    }
}

static void handle(struct rig *rig, struct http_exchange *x, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        rig->cached.scratch[i] = (char)('0' + i % 10);
    }
    if (n % 3 == 1) {
        http_response_field(x, SPAN("ETag"), SPAN("W/\"mine,really\""));
    }
    if (n == STREAMED) {
        http_response_stream(x, 200, SPAN(RIG_STREAMED_TYPE));
    } else {
        http_response_begin(x, n == NOT_FOUND ? 404 : 200, SPAN("text/plain"));
    }
    put_bytes(x, rig->cached.scratch, n);
}

static void store(struct rig *rig, struct http_exchange *x, uint64_t n) {
    struct http_captured captured;
    char tag[HTTP_ETAG_MADE_BYTES] = "";
    struct span etag = span_of(tag, sizeof tag);
    rig->cached.meta_bytes = 0;
    if (http_captured(x, &rule, &captured)) {
        http_etag_make(captured.body, tag);
        rig->cached.n = n;
        rig->cached.meta_bytes = http_meta_bytes(&captured, &rule, etag);
        http_meta_put(&captured, &rule, etag, rig->cached.meta);
        char *p = rig->cached.body;
        for (const struct block *block = captured.body->head; block != NULL; block = block->next) {
            memcpy(p, block->data + block->start, block->len - block->start);
            p += block->len - block->start;
        }
    }
    http_response_uncapture(x, HTTP_CACHE_MISS, &rule, etag);
}

void rig_cached(struct rig *rig, struct http_exchange *x, uint64_t n) {
    struct http_stored stored;
    if (!http_cache_serves(x, &rule)) {
        handle(rig, x, n);
    } else if (rig->cached.n == n && http_meta_read(span_of(rig->cached.meta, rig->cached.meta_bytes), &stored)) {
        stored.state = HTTP_CACHE_HIT;
        stored.age_ms = 2500;
        if (http_stored_begin(x, &stored) == HTTP_STORED_FOLLOWS) {
            put_bytes(x, rig->cached.body, n);
        }
    } else {
        http_response_capture(x);
        handle(rig, x, n);
        store(rig, x, n);
    }
}
