/* The grammar, part two: answers that are streamed, lent, or wait for more than timers. */
#include "whole.h"

/* RFC 9112 §7.1; for HTTP/1.0 the end of the connection is the end of the body: §6.3 */
static void expect_stream(struct whole_request *r) {
    r->chunked = true;
    r->closes = r->closes || r->old;
}

void whole_write_stream(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint32_t salt = random_below(&c->random, 1000);
    uint64_t len = whole_draw_len(&c->random, 30000);
    uint64_t piece = len / 40 + 1 + random_below(&c->random, 6000);
    uint32_t ms = random_below(&c->random, 10);
    snprintf(shape.target, sizeof shape.target, "/stream/%u/%u/%u/%u", (unsigned)len, (unsigned)piece, ms, salt);
    r->flushes = len / piece + 1;
    r->service_ns = r->flushes * (ms + 2) * NS_PER_MS;
    whole_put_request(c, r, &shape);
    whole_expect_fill(r, salt, len);
    r->salted = salt % 3 == 0;
    expect_stream(r);
}

/* What was written comes, its end does not. */
void whole_write_cut(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = { .method = "GET" };
    uint32_t salt = random_below(&c->random, 1000);
    uint64_t len = whole_draw_len(&c->random, 9000);
    snprintf(shape.target, sizeof shape.target, "/cut/%u/%u/%u", (unsigned)len, random_below(&c->random, 10), salt);
    whole_put_request(c, r, &shape);
    whole_expect_fill(r, salt, len);
    expect_stream(r);
    r->cut = true;
}

void whole_write_sse(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    unsigned n = random_below(&c->random, 10), ms = random_below(&c->random, 10);
    snprintf(shape.target, sizeof shape.target, "/sse/%u/%u", n, ms);
    r->flushes = n;
    r->service_ns = n * (ms + 2) * NS_PER_MS;
    whole_put_request(c, r, &shape);
    char text[WHOLE_TEXT_BYTES] = "";
    for (unsigned i = 0, len = 0; i < n; i++) {
        len += (unsigned)snprintf(text + len, sizeof text - len, "event: tick\ndata: %u\n\n", i);
    }
    whole_expect_text(r, "text/event-stream", text);
    expect_stream(r);
}

void whole_write_live(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = { .method = "GET" };
    snprintf(shape.target, sizeof shape.target, "/live/%u", 1 + random_below(&c->random, 40));
    whole_put_request(c, r, &shape);
    whole_expect_text(r, "text/event-stream", "");
    expect_stream(r);
    r->endless = true;
    r->service_ns = UINT64_MAX;
}

void whole_write_watchful(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint32_t ms = random_below(&c->random, 400);
    snprintf(shape.target, sizeof shape.target, "/watchful/%u", ms);
    r->service_ns = ms * NS_PER_MS;
    whole_put_request(c, r, &shape);
    whole_expect_text(r, "text/plain", "time");
    r->watchful = true;
}

static void expect_square(struct whole_request *r, uint32_t n) {
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)n * n);
    whole_expect_text(r, "text/plain", text);
}

void whole_write_offload(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint32_t n = random_below(&c->random, 100000);
    snprintf(shape.target, sizeof shape.target, "/offload/%u", n);
    whole_put_request(c, r, &shape);
    expect_square(r, n);
}

void whole_write_several(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint32_t n = random_below(&c->random, 100000);
    snprintf(shape.target, sizeof shape.target, "/several/%u/%u", random_below(&c->random, 20), n);
    whole_put_request(c, r, &shape);
    expect_square(r, n);
    r->service_ns = UINT64_MAX;
}

void whole_write_fd(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    snprintf(shape.target, sizeof shape.target, "/fd/%u", random_below(&c->random, 100));
    whole_put_request(c, r, &shape);
    whole_expect_text(r, "text/plain", "readable");
    r->service_ns = UINT64_MAX;
}

void whole_write_lend(struct whole_client *c, struct whole_request *r) {
    struct whole_shape shape = whole_get_shape(c);
    uint64_t len = whole_draw_len(&c->random, 70000);
    bool pieces = whole_chance(&c->random, 50);
    if (pieces) {
        snprintf(shape.target, sizeof shape.target, "/lend-pieces/%u/%u", (unsigned)len,
                 (unsigned)len / 20 + 1 + random_below(&c->random, 3000));
        r->flushes = 20; /* a piece waits for the one before */
        r->service_ns = r->flushes * 2 * NS_PER_MS;
    } else {
        snprintf(shape.target, sizeof shape.target, "/lend/%u", (unsigned)len);
    }
    whole_put_request(c, r, &shape);
    whole_expect_fill(r, WHOLE_LENT_SALT, len);
    if (pieces) {
        expect_stream(r);
    }
}
