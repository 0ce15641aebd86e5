/* Answers from the store, taken back or not, and exchanges without clients. src/http/cache.c */
#include "death.h"
#include "http/http_priv.h"
#include "http_cache_drive.h"

#define LINES_304 "ETag: " TAG_OF_HELLO "\r\nCache-Control: no-cache\r\n"
#define LINES TEXT "Content-Length: 5\r\n" LINES_304
#define HIT "X-Cache: HIT\r\nAge: 0\r\n\r\n"
#define NOT_MODIFIED "HTTP/1.1 304 Not Modified\r\n" DATE
#define ERROR_503 \
    "HTTP/1.1 503 Service Unavailable\r\n" DATE TEXT "Retry-After: 1\r\nContent-Length: 20\r\n\r\nService Unavailable\n"

static uint32_t released;

/* ---------------------------------------------------------------------------------------------------- exact answers ---- */

struct stored_row {
    const char *name, *request;
    enum http_cache_state state;
    uint64_t age_ms;
    const char *out;
};

static const struct stored_row stored_rows[] = {
    { "hit", GET("/ok"), HTTP_CACHE_HIT, 0, OK LINES HIT "hello" },
    /* RFC 9111 §5.1: whole seconds */
    { "just not a second", GET("/ok"), HTTP_CACHE_HIT, 999, OK LINES HIT "hello" },
    { "a second", GET("/ok"), HTTP_CACHE_HIT, 1000, OK LINES "X-Cache: HIT\r\nAge: 1\r\n\r\nhello" },
    { "50 days", GET("/ok"), HTTP_CACHE_HIT, UINT64_C(4320000999), OK LINES "X-Cache: HIT\r\nAge: 4320000\r\n\r\nhello" },
    { "as old as can be", GET("/ok"), HTTP_CACHE_HIT, UINT64_MAX,
      OK LINES "X-Cache: HIT\r\nAge: 18446744073709551\r\n\r\nhello" },
    { "stale", GET("/ok"), HTTP_CACHE_STALE, 61500, OK LINES "X-Cache: STALE\r\nAge: 61\r\n\r\nhello" },
    { "miss", GET("/ok"), HTTP_CACHE_MISS, 0, OK LINES "X-Cache: MISS\r\n\r\nhello" },
    { "none", GET("/ok"), HTTP_CACHE_NONE, 0, OK LINES "\r\nhello" },
    /* RFC 9110 §9.3.2 */
    { "HEAD", HEAD("/ok"), HTTP_CACHE_HIT, 0, OK LINES HIT },
    /* RFC 9110 §15.4.5 */
    { "304", GET_WITH("/ok", "If-None-Match: *\r\n"), HTTP_CACHE_HIT, 0, NOT_MODIFIED LINES_304 HIT },
    { "304, stale", GET_WITH("/ok", "If-None-Match: " TAG_OF_HELLO "\r\n"), HTTP_CACHE_STALE, 5000,
      NOT_MODIFIED LINES_304 "X-Cache: STALE\r\nAge: 5\r\n\r\n" },
    { "304 to HEAD", "HEAD /ok HTTP/1.1\r\n" H "If-None-Match: *\r\n\r\n", HTTP_CACHE_HIT, 0, NOT_MODIFIED LINES_304 HIT },
    { "304 and close", GET_WITH("/ok", "If-None-Match: *\r\nConnection: close\r\n"), HTTP_CACHE_HIT, 0,
      NOT_MODIFIED "Connection: close\r\n" LINES_304 HIT },
    { "another tag", GET_WITH("/ok", "If-None-Match: \"x\"\r\n"), HTTP_CACHE_HIT, 0, OK LINES HIT "hello" },
    /* RFC 9110 §13.1.1, §15.5.13 */
    { "412", GET_WITH("/ok", "If-Match: \"x\"\r\n"), HTTP_CACHE_HIT, 0,
      "HTTP/1.1 412 Precondition Failed\r\n" DATE TEXT "Content-Length: 20\r\n\r\nPrecondition Failed\n" },
    /* RFC 9112 §9.3 */
    { "close", GET_WITH("/ok", "Connection: close\r\n"), HTTP_CACHE_HIT, 0, OK "Connection: close\r\n" LINES HIT "hello" },
    { "1.0", "GET /ok HTTP/1.0\r\n\r\n", HTTP_CACHE_HIT, 0, OK "Connection: close\r\n" LINES HIT "hello" },
    { "1.0 goes on", "GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", HTTP_CACHE_HIT, 0,
      OK "Connection: keep-alive\r\n" LINES HIT "hello" },
    /* RFC 9110 §14.2: a range may be ignored */
    { "a range", GET_WITH("/ok", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n"), HTTP_CACHE_HIT, 0, OK LINES HIT "hello" },
};

/* At the head of the line, behind another one, and after a wait. */
static void test_stored(void **state) {
    const struct stored_row *row = *state;
    void *nothing = NULL;
    for (int how = 0; how < 3; how++) {
        open_rig(&nothing);
        keep_hello();
        struct http_exchange *first = how == 1 ? request(GET("/ok")) : NULL;
        if (first != NULL) {
            park(first);
        }
        struct http_exchange *x = request(row->request);
        if (how == 2) {
            park(x);
        }
        if (begin_kept(x, row->state, row->age_ms) == HTTP_STORED_FOLLOWS) {
            put_kept(x);
        }
        finish(x);
        if (first != NULL) {
            assert_int_equal(rig.out.bytes, 0);
            http_response_whole(first, 200, SPAN(""), SPAN("1"));
            finish(first);
            rig_take_output(&rig);
            size_t len = strlen(OK "Content-Length: 1\r\n\r\n1");
            assert_memory_equal(rig.output + rig.output_len - strlen(row->out), row->out, strlen(row->out));
            assert_memory_equal(rig.output + rig.output_len - strlen(row->out) - len, OK "Content-Length: 1\r\n\r\n1", len);
        } else {
            expect(row->out);
        }
        assert_int_equal(close_rig(&nothing), 0);
    }
}

/* RFC 9111 §5.1: what the handler has said counts from the start. */
static void test_age_before(void **state) {
    (void)state;
    struct http_exchange *x = capture(GET("/ok"));
    http_response_field(x, SPAN("Age"), SPAN("30"));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
    assert_true(keep_and_finish(x, &rule_plain));
    expect(OK LINES "X-Cache: MISS\r\nAge: 30\r\n\r\nhello");
    hit(GET("/ok"), 2500);
    expect(OK LINES "X-Cache: HIT\r\nAge: 32\r\n\r\nhello");
}

/* RFC 9112 §9.6: the last one says so. */
static void test_draining(void **state) {
    (void)state;
    keep_hello();
    rig.output_len = 0;
    rig.shared.draining = true;
    hit(GET("/ok"), 0);
    expect(OK "Connection: close\r\n" LINES HIT "hello");
    assert_true(http_conn_done(&rig.conn));
}

/* No body: nothing follows. */
static void test_empty(void **state) {
    (void)state;
    struct http_exchange *x = capture(GET("/ok"));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN(""));
    assert_true(keep_and_finish(x, &rule_plain));
    x = request(GET("/ok"));
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_NONE);
    finish(x);
    assert_string_equal(rig_summary(&rig), "200 200");
}

/* A short body shares the block of its head, when both fit into one. */
static void test_one_segment(void **state) {
    (void)state;
    static char body[2048];
    memset(body, 'b', sizeof body);
    struct http_exchange *x = capture(GET("/ok"));
    http_response_whole(x, 200, SPAN("text/plain"), span_of(body, sizeof body));
    assert_true(keep_and_finish(x, &rule_plain));
    rig_take_output(&rig);
    struct iovec iov[8];
    size_t bytes;
    for (uint32_t i = 1; i < 4; i++) {
        hit(GET("/ok"), 0);
        assert_int_equal(chain_iov(&rig.out, iov, 8, &bytes), i); /* one of them fills half of a block */
    }
}

/* As large as fields may be: the head is in one block, whatever was there before. */
static void test_large_head(void **state) {
    (void)state;
    static char value[3400];
    memset(value, 'v', sizeof value);
    struct http_exchange *x = capture(GET("/ok"));
    http_response_field(x, SPAN("X-V"), span_of(value, sizeof value));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
    assert_true(keep_and_finish(x, &rule_plain));
    for (int i = 0; i < 5; i++) {
        hit(GET("/ok"), 0);
        hit(GET_WITH("/ok", "If-None-Match: *\r\n"), 0);
    }
    assert_string_equal(rig_summary(&rig), "200:hello 200:hello 304 200:hello 304 200:hello 304 200:hello 304 200:hello 304");
}

/* What the observer is told: RFC 9110 §6.4.1, a response to HEAD counts as ever. */
static void test_counts(void **state) {
    (void)state;
    keep_hello();
    struct http_exchange *x = request(GET("/ok"));
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_FOLLOWS);
    put_kept(x);
    assert_int_equal(x->body_written, 5);
    finish(x);
    x = request(HEAD("/ok"));
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_NONE);
    assert_true(x->silent);
    assert_int_equal(x->body_written, 5);
    finish(x);
    uint64_t before = rig.shared.responses[3];
    x = request(GET_WITH("/ok", "If-None-Match: *\r\n"));
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_NONE);
    assert_int_equal(x->status, 304);
    assert_int_equal(x->body_written, 0);
    finish(x);
    assert_int_equal(rig.shared.responses[3], before + 1);
}

/* ------------------------------------------------------------------------------------------------------------ lent ---- */

/* The body is lent, in parts, as a pinned object is. */
static void test_lent(void **state) {
    (void)state;
    keep_hello();
    released = 0;
    struct http_exchange *x = request(GET("/ok"));
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_FOLLOWS);
    http_response_lend(x, span_of(kept.body, 2), count_release, &released);
    http_response_lend(x, span_of(kept.body + 2, 3), count_release, &released);
    finish(x);
    assert_int_equal(released, 0);
    expect(OK LINES HIT "hello");
    assert_int_equal(released, 2);
}

/* A hit behind another whose client goes; and one that is taken back. */
static void test_lent_in_vain(void **state) {
    (void)state;
    keep_hello();
    released = 0;
    park(request(GET("/ok")));
    struct http_exchange *x = request(GET("/ok"));
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_FOLLOWS);
    http_response_lend(x, span_of(kept.body, 5), count_release, &released);
    http_stored_undo(x);
    assert_int_equal(released, 1);
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_FOLLOWS);
    http_response_lend(x, span_of(kept.body, 5), count_release, &released);
    finish(x);
    assert_int_equal(released, 1);
    http_conn_release(&rig.conn);
    assert_int_equal(released, 2);
}

/* It went while the request waited: nothing is to be written. */
static void test_client_gone(void **state) {
    (void)state;
    keep_hello();
    struct http_exchange *x = request(GET("/ok"));
    park(x);
    http_conn_release(&rig.conn);
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_NONE);
    forget(x);
    http_exchange_finish(x);
    assert_null(rig_leak(&rig));
}

/* ------------------------------------------------------------------------------------------------------------ undo ---- */

struct undo_row {
    const char *name, *request;
    bool parked; /* before */
    int part;    /* of the body that is there already */
    const char *out;
};

static const struct undo_row undo_rows[] = {
    { "head only", GET("/ok"), false, 0, OK TEXT "Content-Length: 2\r\n\r\nok" },
    { "a part of the body", GET("/ok"), false, 3, OK TEXT "Content-Length: 2\r\n\r\nok" },
    { "all of the body", GET("/ok"), false, 5, OK TEXT "Content-Length: 2\r\n\r\nok" },
    { "after a wait", GET("/ok"), true, 3, OK TEXT "Content-Length: 2\r\n\r\nok" },
    { "HEAD", HEAD("/ok"), false, 0, OK TEXT "Content-Length: 2\r\n\r\n" },
    { "304", GET_WITH("/ok", "If-None-Match: *\r\n"), false, 0, OK TEXT "Content-Length: 2\r\n\r\nok" },
    { "412", GET_WITH("/ok", "If-Match: \"x\"\r\n"), false, 0, OK TEXT "Content-Length: 2\r\n\r\nok" },
    { "close", GET_WITH("/ok", "Connection: close\r\n"), false, 2,
      OK TEXT "Connection: close\r\nContent-Length: 2\r\n\r\nok" },
};

/* What was answered before in the same turn stays; the handler answers, sets fields, captured or not, begun or whole. */
static void test_undo(void **state) {
    const struct undo_row *row = *state;
    for (int how = 0; how < 6; how++) {
        void *nothing = NULL;
        open_rig(&nothing);
        keep_hello();
        rig.output_len = 0;
        hit(GET("/ok"), 0);
        size_t before = rig.out.bytes;
        struct http_exchange *x = request(row->request);
        if (row->parked) {
            park(x);
        }
        if (begin_kept(x, HTTP_CACHE_HIT, 0) == HTTP_STORED_FOLLOWS) {
            http_response_write(x, span_of(kept.body, (size_t)row->part));
        }
        if (how == 1) {
            http_response_fail(x, 503);
        }
        http_stored_undo(x);
        assert_int_equal(rig.out.bytes, before);
        if (how == 2) {
            http_response_capture(x);
        }
        if (how < 3) {
            http_response_whole(x, 200, SPAN("text/plain"), SPAN("ok"));
            http_response_uncapture(x, HTTP_CACHE_NONE, &rule_plain, SPAN(""));
        } else if (how == 3) {
            http_response_field(x, SPAN("X-A"), SPAN("b"));
            http_response_begin(x, 200, SPAN("text/plain"));
            put(x, "ok");
        } else if (how == 4) {
            http_response_fail(x, 503);
        }
        finish(x);
        rig_take_output(&rig);
        rig.output[rig.output_len] = '\0';
        if (how < 3) {
            assert_string_equal(rig.output + before, row->out);
        } else {
            rig.output[before + 12] = '\0';
            assert_string_equal(rig.output + before, how == 3 ? "HTTP/1.1 200" : how == 4 ? "HTTP/1.1 503" : "HTTP/1.1 204");
        }
        assert_int_equal(close_rig(&nothing), 0);
    }
}

/* ------------------------------------------------------------------------------------------------------- no blocks ---- */

/* 503, or taken back for a handler that gets 503 for itself. */
static void test_without_blocks(void **state) {
    (void)state;
    for (uint32_t blocks = 0; blocks < 6; blocks++) { /* the head has one, each piece of the body another */
        for (int undo = 0; undo < 2; undo++) {
            reopen(16);
            struct http_exchange *x = capture(GET("/ok"));
            static char body[9000];
            memset(body, 'b', sizeof body);
            http_response_whole(x, 200, SPAN("text/plain"), span_of(body, sizeof body));
            assert_true(keep_and_finish(x, &rule_plain));
            reopen(blocks);
            x = request(GET("/ok"));
            enum http_stored_body follows = begin_kept(x, HTTP_CACHE_HIT, 0);
            assert_int_equal(follows, blocks == 0 ? HTTP_STORED_FAILED : HTTP_STORED_FOLLOWS);
            if (follows == HTTP_STORED_FOLLOWS) {
                put_kept(x);
            }
            assert_int_equal(x->failed, blocks < 4);
            if (undo == 1) {
                http_stored_undo(x);
                http_response_whole(x, 200, SPAN("text/plain"), SPAN("ok"));
            }
            finish(x);
            const char *summary = rig_summary(&rig);
            if (blocks == 0) {
                assert_string_equal(summary, "closed");
            } else if (undo == 1) {
                assert_string_equal(summary, "200:ok");
            } else if (blocks < 4) {
                assert_string_equal(summary, "503");
            }
            rig_release(&rig);
            assert_null(rig_leak(&rig));
            rig_reset(&rig);
        }
    }
}

/* It had failed before: nothing is begun. */
static void test_failed_before(void **state) {
    (void)state;
    keep_hello();
    struct http_exchange *x = request(GET("/ok"));
    http_response_fail(x, 503);
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_FAILED);
    finish(x);
    expect(ERROR_503);
}

/* --------------------------------------------------------------------------------------------------------- shadows ---- */

/* Its own copy of the head: the one it was made of may be another's by the time it runs. */
static void test_shadow(void **state) {
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct http_exchange *x = request("GET /p/one/two?q=3 HTTP/1.1\r\n" H "X-Field: value\r\nAuthorization: me\r\n\r\n");
        x->began_ns = 5;
        rig.shared.now_ns = 7;
        if (how == 1) {
            park(x);
        }
        struct http_exchange *shadow = http_exchange_shadow(x);
        assert_non_null(shadow);
        assert_null(shadow->conn);
        assert_true(shadow->shadow);
        assert_true(shadow->request.settled);
        assert_false(x->shadow);
        assert_ptr_equal(shadow->route, x->route);
        assert_int_equal(shadow->began_ns, 7);
        http_response_whole(x, 200, SPAN("text/plain"), SPAN("stale"));
        finish(x);
        expect(OK TEXT "Content-Length: 5\r\n\r\nstale");
        park(request("GET /p/three/four HTTP/1.1\r\n" H "X-Field: other\r\n\r\n")); /* in the place of x, its head as well */
        const struct http_request *request = &shadow->request;
        struct span value;
        assert_true(span_equal(http_span(request, request->path), SPAN("/p/one/two")));
        assert_true(span_equal(http_span(request, request->query), SPAN("q=3")));
        assert_int_equal(request->param_count, 2);
        assert_true(span_equal(http_span(request, request->params[1]), SPAN("two")));
        assert_true(http_request_field(request, SPAN("x-field"), &value));
        assert_true(span_equal(value, SPAN("value")));
        assert_false(http_cache_serves(shadow, &rule_plain)); /* as x */
        http_response_capture(shadow);
        http_response_begin(shadow, 200, SPAN("text/plain"));
        put(shadow, "he");
        http_exchange_park(shadow);
        put(shadow, "llo");
        assert_true(keep(shadow, HTTP_CACHE_MISS, &rule_plain));
        assert_memory_equal(kept.body, "hello", 5);
        rig.done = 0;
        http_exchange_finish(shadow);
        assert_int_equal(rig.done, 1);
        assert_int_equal(rig.out.bytes, 0);
        http_response_whole(rig.parked[0], 200, SPAN(""), SPAN(""));
        finish(rig.parked[0]);
        rig_take_output(&rig);
    }
}

/* Of a request whose client has gone meanwhile. */
static void test_shadow_of_nobody(void **state) {
    (void)state;
    struct http_exchange *x = request(GET("/p/one/two"));
    park(x);
    http_conn_release(&rig.conn);
    struct http_exchange *shadow = http_exchange_shadow(x);
    assert_non_null(shadow);
    forget(x);
    http_exchange_finish(x);
    assert_true(span_equal(http_span(&shadow->request, shadow->request.params[0]), SPAN("one")));
    http_exchange_finish(shadow);
    assert_null(rig_leak(&rig));
}

/* A quarter of the exchanges is for clients. */
static void test_shadow_refused(void **state) {
    (void)state;
    static struct http_exchange *taken[64];
    struct rig_sizes sizes = rig_plenty;
    sizes.exchanges = 8;
    rig_close(&rig);
    open_with(&sizes);
    struct http_exchange *x = request(GET("/ok"));
    uint32_t count = 0;
    while ((taken[count] = http_exchange_shadow(x)) != NULL) {
        count++;
    }
    assert_int_equal(count, 6);
    assert_int_equal(rig.exchanges.free_count, 1);
    while (count > 0) {
        http_exchange_finish(taken[--count]);
    }
    finish(x);
    rig_take_output(&rig);
    sizes.exchanges = 1;
    rig_close(&rig);
    open_with(&sizes);
    x = request(GET("/ok"));
    assert_null(http_exchange_shadow(x));
    finish(x);
}

/* ------------------------------------------------------------------------------------------------- our own mistakes ---- */

static void finish_early(void *x) {
    http_response_write(x, SPAN("hell"));
    http_exchange_finish(x);
}

static void finish_late(void *x) {
    http_response_write(x, SPAN("hello!"));
    http_exchange_finish(x);
}

static void begin_twice(void *x) {
    (void)begin_kept(x, HTTP_CACHE_HIT, 0);
}

static void capture_begun(void *x) {
    http_response_capture(x);
}

static void undo_late(void *x) {
    http_response_stream(x, 200, SPAN("text/plain"));
    http_response_write(x, SPAN("x"));
    http_response_flush(x);
    http_stored_undo(x);
}

static void test_asserts(void **state) {
    (void)state;
    keep_hello();
    struct http_exchange *x = request(GET("/ok"));
    assert_true(asserts(undo_late, x));
    assert_int_equal(begin_kept(x, HTTP_CACHE_HIT, 0), HTTP_STORED_FOLLOWS);
    assert_true(asserts(finish_early, x));
    assert_true(asserts(finish_late, x));
    assert_true(asserts(begin_twice, x));
    assert_true(asserts(capture_begun, x));
    put_kept(x);
    finish(x);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_stored, stored_rows);
    ROWS_ADD(&rows, test_undo, undo_rows);
    int failed = rows_run("stored", &rows);
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_age_before),    WITH_RIG(test_draining),       WITH_RIG(test_empty),
        WITH_RIG(test_one_segment),   WITH_RIG(test_large_head),     WITH_RIG(test_counts),
        WITH_RIG(test_lent),          WITH_RIG(test_lent_in_vain),   WITH_RIG(test_client_gone),
        WITH_RIG(test_without_blocks), WITH_RIG(test_failed_before), WITH_RIG(test_shadow),
        WITH_RIG(test_shadow_of_nobody), WITH_RIG(test_shadow_refused), WITH_RIG(test_asserts),
    };
    return failed + cmocka_run_group_tests_name("stored, step by step", tests, NULL, NULL);
}
