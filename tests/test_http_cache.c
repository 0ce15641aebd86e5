/* Responses on their way into the store: captured, kept, and answered as what is kept will be. src/http/cache.c */
#include <stdio.h>

#include "death.h"
#include "http/http_priv.h"
#include "http/json.h"
#include "http_cache_drive.h"

#define MADE "ETag: " TAG_OF_HELLO "\r\n"
#define ASK "Cache-Control: no-cache\r\n"
#define MISS "X-Cache: MISS\r\n"
#define HELLO_LINES TEXT "Content-Length: 5\r\n" MADE ASK
#define NOT_MODIFIED "HTTP/1.1 304 Not Modified\r\n" DATE
#define ERROR_503 \
    "HTTP/1.1 503 Service Unavailable\r\n" DATE TEXT "Retry-After: 1\r\nContent-Length: 20\r\n\r\nService Unavailable\n"

/* ------------------------------------------------------------------------------------------------ whole and cut ---- */

#define C(n) "GET /cached/" n " HTTP/1.1\r\n" H
#define END "\r\n"

/* Of "01234". */
#define TAG_5 "\"30ce5660b5b0cf0b\""

static const struct http_row rows_cut[] = {
    HTTP_ROW("miss and hit", C("5") END C("5") END C("5") END, "200:01234 200:01234 200:01234"),
    HTTP_ROW("another key", C("5") END C("3") END C("5") END, "200:01234 200:012 200:01234"),
    HTTP_ROW("empty", C("0") END C("0") END, "200 200"),
    /* RFC 9110 §9.3.2 */
    HTTP_ROW("HEAD first", "HEAD /cached/5 HTTP/1.1\r\n" H END C("5") END "HEAD /cached/5 HTTP/1.1\r\n" H END,
             "200(5) 200:01234 200(5)"),
    HTTP_ROW("a large one", "HEAD /cached/40000 HTTP/1.1\r\n" H END "HEAD /cached/40000 HTTP/1.1\r\n" H END,
             "200(40000) 200(40000)"),
    /* RFC 9110 §13.1.2, the same before and after it is stored */
    HTTP_ROW("any", C("5") "If-None-Match: *\r\n" END C("5") "If-None-Match: *\r\n" END C("5") END, "304 304 200:01234"),
    HTTP_ROW("its tag", C("5") "If-None-Match: \"x\", W/" TAG_5 "\r\n" END C("5") "if-none-match: " TAG_5 "\r\n" END, "304 304"),
    HTTP_ROW("the handler's tag", C("4") END C("4") "If-None-Match: \"mine,really\"\r\n" END, "200:0123 304"),
    HTTP_ROW("another tag", C("5") "If-None-Match: \"x\"\r\n" END C("5") "If-None-Match: \"x\"\r\n" END, "200:01234 200:01234"),
    HTTP_ROW("a malformed one", C("5") "If-None-Match: x\r\n" END C("5") "If-None-Match: x\r\n" END, "200:01234 200:01234"),
    HTTP_ROW("several lines", C("5") "If-None-Match: \"x\"\r\nA: b\r\nIf-None-Match: " TAG_5 "\r\n" END, "304"),
    HTTP_ROW("HEAD and its tag", "HEAD /cached/5 HTTP/1.1\r\n" H "If-None-Match: " TAG_5 "\r\n" END C("5") END, "304 200:01234"),
    HTTP_ROW("a condition and no 200", C("404") "If-None-Match: *\r\n" END C("404") "If-Match: \"x\"\r\n" END, "404 404"),
    /* RFC 9110 §13.1.1 */
    HTTP_ROW("match", C("5") "If-Match: \"x\"\r\n" END C("5") "If-Match: \"x\"\r\n" END C("5") "If-Match: *\r\n" END,
             "412 412 200:01234"),
    /* RFC 9112 §9.3 */
    HTTP_ROW("1.0", C("5") END "GET /cached/5 HTTP/1.0\r\n\r\n", "200:01234 200:01234 closed"),
    HTTP_ROW("1.0 goes on", "GET /cached/5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" C("5") END, "200:01234 200:01234"),
    HTTP_ROW("close", C("5") END C("5") "Connection: close\r\n" END C("5") END, "200:01234 200:01234 closed"),
    HTTP_ROW("close at 304", C("5") END C("5") "Connection: close\r\nIf-None-Match: *\r\n" END, "200:01234 304 closed"),
    /* not at the head of the line */
    HTTP_ROW("behind another", GET("/park/1") C("5") END C("5") END GET("/ok") C("5") "If-None-Match: *\r\n" END,
             "200:parked 1 200:01234 200:01234 200:ok 304"),
    HTTP_ROW("between streams", GET("/stream/5") C("5") END C("5") END GET("/stream/4"),
             "200:01234 200:01234 200:01234 200:0123"),
    /* not stored */
    HTTP_ROW("404", C("404") END C("404") END, "404 404"),
    HTTP_ROW("streamed", "HEAD /cached/1000 HTTP/1.1\r\n" H END C("5") END, "200(chunked) 200:01234"),
    HTTP_ROW("Authorization", C("5") "Authorization: Basic eDp5\r\n" END C("5") "If-None-Match: *\r\n" END, "200:01234 304"),
    HTTP_ROW("with a body", C("5") "Content-Length: 3\r\n" END "abc" C("5") "Content-Length: 0\r\n" END, "200:01234 200:01234"),
    HTTP_ROW("with chunks", C("5") "Transfer-Encoding: chunked\r\n" END "0\r\n\r\n" C("5") "If-None-Match: *\r\n" END,
             "200:01234 304"),
};

/* ------------------------------------------------------------------------------------------------ who is served ---- */

struct serves_row {
    const char *name, *request;
    bool serves, authorized; /* the latter: when the rule allows it */
};

static const struct serves_row serves_rows[] = {
    { "GET", GET("/ok"), true, true },
    { "HEAD", HEAD("/ok"), true, true },
    { "no-cache and its kin are the client's wish, not ours",
      GET_WITH("/ok", "Cache-Control: no-cache, no-store\r\nPragma: no-cache\r\n"), true, true },
    { "an empty body", GET_WITH("/ok", "Content-Length: 0\r\n"), true, true },
    { "OPTIONS", "OPTIONS /own HTTP/1.1\r\n" H "\r\n", false, false },
    /* RFC 9111 §3.5 */
    { "Authorization", GET_WITH("/ok", "Authorization: Basic eDp5\r\n"), false, true },
    { "in capitals, behind others", GET_WITH("/ok", "A: b\r\nAUTHORIZATION: x\r\nC: d\r\n"), false, true },
    { "an empty one", GET_WITH("/ok", "Authorization:\r\n"), false, true },
    { "another of that length", GET_WITH("/ok", "Authorisation: x\r\nAuthorizatiom: x\r\n"), true, true },
};

static void test_serves(void **state) {
    const struct serves_row *row = *state;
    const struct http_cache_rule authorized = { .authorized = true };
    void *nothing = NULL;
    open_rig(&nothing);
    struct http_exchange *x = request(row->request);
    assert_int_equal(http_cache_serves(x, &rule_plain), row->serves);
    assert_int_equal(http_cache_serves(x, &authorized), row->authorized);
    finish(x);
    assert_int_equal(close_rig(&nothing), 0);
}

/* ------------------------------------------------------------------------------------------------ exact answers ---- */

enum how { WHOLE, BEGUN, LENT, PARKED, HOWS_COUNT };

static uint32_t released;

/* The same response, written in another way. */
static void write_how(struct http_exchange *x, enum how how, int status, const char *type, const char *body) {
    char soon_gone[300];
    released = 0;
    strcpy(soon_gone, type);
    if (how == WHOLE) {
        http_response_whole(x, status, span_text(soon_gone), span_text(body));
    } else if (how == LENT) {
        http_response_whole_lent(x, status, span_text(soon_gone), span_text(body), count_release, &released);
    } else {
        http_response_begin(x, status, span_text(soon_gone));
        memset(soon_gone, '#', sizeof soon_gone);
        for (const char *p = body; *p != '\0'; p++) {
            if (how == PARKED && p == body + 2) {
                park(x);
            }
            char *room = (p - body) % 2 == 0 ? http_response_reserve(x, 100) : NULL;
            if (room != NULL) {
                *room = *p;
                http_response_commit(x, 1);
            } else {
                http_response_write(x, span_of(p, 1));
            }
        }
    }
    memset(soon_gone, '#', sizeof soon_gone);
}

struct answer_row {
    const char *name, *request;
    int status; /* 0: nothing is written */
    const char *type, *body, *out;
    bool stored;
};

static const struct answer_row answer_rows[] = {
    { "200", GET("/ok"), 200, "text/plain", "hello", OK HELLO_LINES MISS "\r\nhello", true },
    { "no type", GET("/ok"), 200, "", "hello", OK "Content-Length: 5\r\n" MADE ASK MISS "\r\nhello", true },
    { "HEAD", HEAD("/ok"), 200, "text/plain", "hello", OK HELLO_LINES MISS "\r\n", true },
    { "not modified", GET_WITH("/ok", "If-None-Match: " TAG_OF_HELLO "\r\n"), 200, "text/plain", "hello",
      NOT_MODIFIED MADE ASK MISS "\r\n", true },
    { "match fails", GET_WITH("/ok", "If-Match: \"x\"\r\n"), 200, "text/plain", "hello",
      "HTTP/1.1 412 Precondition Failed\r\n" DATE TEXT "Content-Length: 20\r\n\r\nPrecondition Failed\n", true },
    { "close", GET_WITH("/ok", "Connection: close\r\n"), 200, "text/plain", "hello",
      OK "Connection: close\r\n" HELLO_LINES MISS "\r\nhello", true },
    { "1.0", "GET /ok HTTP/1.0\r\n\r\n", 200, "text/plain", "hello",
      OK "Connection: close\r\n" HELLO_LINES MISS "\r\nhello", true },
    { "1.0 goes on", "GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "text/plain", "hello",
      OK "Connection: keep-alive\r\n" HELLO_LINES MISS "\r\nhello", true },
    /* RFC 9110 §13.2.1: conditions are for what would be 200 */
    { "404", GET_WITH("/ok", "If-None-Match: *\r\nIf-Match: \"x\"\r\n"), 404, "text/plain", "hello",
      "HTTP/1.1 404 Not Found\r\n" DATE TEXT MISS "Content-Length: 5\r\n\r\nhello", false },
    { "404 to HEAD", HEAD("/ok"), 404, "text/plain", "hello", "HTTP/1.1 404 Not Found\r\n" DATE TEXT MISS "Content-Length: 5\r\n\r\n",
      false },
    { "404 and close", GET_WITH("/ok", "Connection: close\r\n"), 404, "", "hello",
      "HTTP/1.1 404 Not Found\r\n" DATE "Connection: close\r\n" MISS "Content-Length: 5\r\n\r\nhello", false },
    { "204", GET("/ok"), 204, "", "hello", "HTTP/1.1 204 No Content\r\n" DATE MISS "\r\n", false },
    { "205", GET("/ok"), 205, "", "hello", "HTTP/1.1 205 Reset Content\r\n" DATE MISS "Content-Length: 0\r\n\r\n", false },
    { "304", GET("/ok"), 304, "", "hello", NOT_MODIFIED MISS "\r\n", false },
    { "500", GET("/ok"), 500, "text/plain", "hello",
      "HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT MISS "Content-Length: 5\r\n\r\nhello", false },
    { "an empty body", GET("/ok"), 404, "", "", "HTTP/1.1 404 Not Found\r\n" DATE MISS "Content-Length: 0\r\n\r\n", false },
    { "nothing", GET("/ok"), 0, "", "", "HTTP/1.1 204 No Content\r\n" DATE MISS "\r\n", false },
    /* mistakes of the application */
    { "status too small", GET("/ok"), 199, "", "hello", ERROR_500, false },
    { "status too great", GET("/ok"), 600, "", "hello", ERROR_500, false },
    { "CRLF in the type", GET("/ok"), 200, "text/plain\r\nX: y", "hello", ERROR_500, false },
};

/* In each way to write it, and nothing leaves before it is given free. */
static void test_answer(void **state) {
    const struct answer_row *row = *state;
    for (enum how how = WHOLE; how < HOWS_COUNT; how++) {
        void *nothing = NULL;
        open_rig(&nothing);
        struct http_exchange *x = capture(row->request);
        if (row->status != 0) {
            write_how(x, how, row->status, row->type, row->body);
        }
        assert_int_equal(rig.out.bytes, 0);
        assert_int_equal(keep_and_finish(x, &rule_plain), row->stored);
        expect(row->out);
        assert_int_equal(released, how == LENT && row->status != 0 ? 1 : 0);
        assert_int_equal(close_rig(&nothing), 0);
    }
}

/* Without X-Cache and all of it. RFC 9111 is for whoever stores. */
static void test_no_state(void **state) {
    (void)state;
    struct http_exchange *x = capture(GET_WITH("/ok", "If-None-Match: *\r\n"));
    http_response_field(x, SPAN("X-Cache"), SPAN("mine"));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
    http_response_uncapture(x, HTTP_CACHE_NONE, NULL, SPAN(""));
    finish(x);
    expect(OK TEXT "X-Cache: mine\r\nContent-Length: 5\r\n\r\nhello");
}

/* Fields that the handler has set. What is not stored goes as it is, but for our own. */
static void test_fields(void **state) {
    (void)state;
    const struct http_cache_rule rule = { .max_age_s = 60, .vary = SPAN("X-Plan") };
    for (int how = 0; how < 2; how++) {
        struct http_exchange *x = capture(GET("/ok"));
        http_response_field(x, SPAN("X-Cache"), SPAN("mine"));
        http_response_field(x, SPAN("Age"), SPAN("7"));
        http_response_field(x, SPAN("Last-Modified"), SPAN("then"));
        http_response_field(x, how == 0 ? SPAN("X-A") : SPAN("Set-Cookie"), SPAN("a=b"));
        http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
        assert_int_equal(keep_and_finish(x, &rule), how == 0);
        expect(how == 0 ? OK TEXT "Content-Length: 5\r\nLast-Modified: then\r\nX-A: a=b\r\n" MADE
                                  "Cache-Control: max-age=60\r\nVary: X-Plan\r\nX-Cache: MISS\r\nAge: 7\r\n\r\nhello"
                        : OK TEXT "Age: 7\r\nLast-Modified: then\r\nSet-Cookie: a=b\r\n" MISS "Content-Length: 5\r\n\r\nhello");
    }
}

/* The fields don't fit beside a body: it is answered, and not stored. */
static void test_fields_too_large(void **state) {
    (void)state;
    static char value[HTTP_META_BYTES_MAX];
    memset(value, 'v', sizeof value);
    for (size_t len = 3400; len <= sizeof value; len += sizeof value - 3400) {
        struct http_exchange *x = capture(GET("/ok"));
        http_response_field(x, SPAN("X"), span_of(value, len));
        http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
        assert_int_equal(keep_and_finish(x, &rule_plain), len == 3400);
        rig_take_output(&rig);
        assert_int_equal(rig.output_len, len + strlen(OK TEXT MISS "X: \r\nContent-Length: 5\r\n\r\nhello")
                                             + (len == 3400 ? strlen(MADE ASK) : 0));
        rig.output_len = 0;
    }
}

/* For want of room in the workspace a response has no X-Cache, or no content type: that is 500. */
static void test_workspace_full(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct http_exchange *x = capture(GET("/ok"));
        http_response_field(x, SPAN("X-A"), SPAN("b"));
        if (how == 0) {
            http_response_whole(x, 404, SPAN("text/plain"), SPAN("hello"));
        }
        while (arena_take(&x->workspace, 16) != NULL) {
        }
        if (how > 0) {
            http_response_whole(x, how == 1 ? 404 : 200, SPAN("text/plain"), SPAN("hello"));
        }
        assert_false(keep_and_finish(x, &rule_plain));
        expect(how == 0 ? "HTTP/1.1 404 Not Found\r\n" DATE TEXT "X-A: b\r\nContent-Length: 5\r\n\r\nhello" : ERROR_500);
    }
}

/* RFC 9110 §8.3: as long as it may be without a capture. */
static void test_long_type(void **state) {
    (void)state;
    static char type[RESPONSE_TYPE_BYTES_MAX + 1];
    memset(type, 't', sizeof type);
    for (size_t more = 0; more < 2; more++) {
        struct http_exchange *x = capture(GET("/ok"));
        http_response_whole(x, 200, span_of(type, RESPONSE_TYPE_BYTES_MAX + more), SPAN("hello"));
        assert_int_equal(keep_and_finish(x, &rule_plain), more == 0);
    }
    assert_string_equal(rig_summary(&rig), "200:hello 500");
}

/* ----------------------------------------------------------------------------------------------------- mistakes ---- */

static void test_mistakes(void **state) {
    (void)state;
    for (int how = 0; how < 7; how++) {
        struct http_exchange *x = capture(GET("/ok"));
        switch (how) {
        case 0: put(x, "nothing was begun"); break;
        case 1: http_response_lend(x, SPAN("lent"), count_release, &released); break;
        case 2:
            http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
            put(x, "more");
            break;
        case 3:
            http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
            http_response_whole(x, 200, SPAN("text/plain"), SPAN("again"));
            break;
        case 4:
            http_response_begin(x, 200, SPAN("text/plain"));
            http_response_stream(x, 200, SPAN("text/plain"));
            break;
        case 5:
            http_response_begin(x, 200, SPAN("text/plain"));
            http_response_field(x, SPAN("X-Late"), SPAN("x"));
            break;
        default:
            http_response_begin(x, 200, SPAN("text/plain"));
            http_response_cut(x);
        }
        assert_false(keep_and_finish(x, &rule_plain));
        expect(ERROR_500);
    }
}

/* What it has failed with is the answer; fields and body are gone. */
static void test_failed(void **state) {
    (void)state;
    released = 0;
    for (int how = 0; how < 2; how++) {
        struct http_exchange *x = capture(GET("/ok"));
        http_response_field(x, SPAN("X-A"), SPAN("b"));
        http_response_begin(x, 200, SPAN("text/plain"));
        http_response_lend(x, SPAN("lent"), count_release, &released);
        http_response_fail(x, how == 0 ? 500 : 503);
        http_response_write(x, SPAN("more"));
        assert_int_equal(released, how + 1);
        assert_false(keep_and_finish(x, &rule_plain));
        expect(how == 0 ? ERROR_500 : ERROR_503);
    }
    struct http_exchange *x = request(GET("/ok")); /* it had failed before */
    http_response_fail(x, 503);
    http_response_capture(x);
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
    assert_false(keep_and_finish(x, &rule_plain));
    expect(ERROR_503);
}

/* It leaves as it would have without. */
static void test_stream_ends_it(void **state) {
    (void)state;
    struct http_exchange *x = capture(GET("/ok"));
    http_response_field(x, SPAN("X-A"), SPAN("b"));
    http_response_stream(x, 200, SPAN("text/plain"));
    put(x, "one");
    park(x);
    expect(OK TEXT "X-A: b\r\n" CHUNKED "0003\r\none\r\n");
    put(x, "two");
    assert_false(keep_and_finish(x, &rule_plain));
    expect("0003\r\ntwo\r\n0\r\n\r\n");
}

static void test_json(void **state) {
    (void)state;
    struct http_exchange *x = capture(GET("/ok"));
    struct json_writer json;
    http_response_begin(x, 200, SPAN("application/json"));
    json_begin(&json, x);
    json_object(&json, NULL);
    json_int(&json, "n", 17);
    json_string(&json, "text", SPAN("a \"quoted\" one"));
    json_close(&json);
    assert_true(keep_and_finish(x, &rule_plain));
    assert_string_equal(rig_summary(&rig), "200:{\"n\":17,\"text\":\"a \\\"quoted\\\" one\"}");
    assert_int_equal(kept.body_bytes, 34);
}

/* ------------------------------------------------------------------------------------------------------ large ones ---- */

enum { LARGE = 50000 };
static char large[LARGE];

static void fill_large(void) {
    for (int i = 0; i < LARGE; i++) {
        large[i] = (char)('a' + i % 23);
    }
}

/* Over many blocks, from the store and on the way into it, whether it is its turn or not. */
static void test_large(void **state) {
    (void)state;
    fill_large();
    for (int how = 0; how < 4; how++) {
        struct http_exchange *first = how % 2 == 1 ? request(GET("/ok")) : NULL;
        if (first != NULL) {
            park(first);
        }
        struct http_exchange *x = capture(GET("/ok"));
        if (how < 2) {
            http_response_whole(x, 200, SPAN(""), span_of(large, LARGE));
        } else {
            http_response_begin(x, 200, SPAN(""));
            for (int i = 0; i < LARGE; i += 1000) {
                http_response_write(x, span_of(large + i, 1000));
            }
        }
        assert_true(keep_and_finish(x, &rule_plain));
        assert_memory_equal(kept.body, large, LARGE);
        hit(GET("/ok"), 0);
        if (first != NULL) {
            assert_int_equal(rig.out.bytes, 0);
            http_response_whole(first, 200, SPAN(""), SPAN("first"));
            finish(first);
        }
        const char *summary = rig_summary(&rig);
        summary += first != NULL ? strlen("200:first ") : 0;
        for (int i = 0; i < 2; i++) {
            assert_memory_equal(summary, "200:", 4);
            assert_memory_equal(summary + 4, large, LARGE);
            summary += 4 + LARGE + 1;
        }
        rig_reset(&rig);
    }
}

/* Lent bytes go to the client from where they are. */
static void test_lent(void **state) {
    (void)state;
    fill_large();
    released = 0;
    struct http_exchange *x = capture(GET("/ok"));
    http_response_begin(x, 200, SPAN(""));
    put(x, "one");
    http_response_lend(x, span_of(large, LARGE), count_release, &released);
    put(x, "two");
    assert_true(keep_and_finish(x, &rule_plain));
    assert_int_equal(kept.body_bytes, LARGE + 6);
    assert_int_equal(released, 0);
    struct iovec iov[8];
    size_t bytes;
    assert_int_equal(chain_iov(&rig.out, iov, 8, &bytes), 4);
    assert_ptr_equal(iov[2].iov_base, large);
    rig_take_output(&rig);
    assert_int_equal(released, 1);
    static const char *const requests[] = { HEAD("/ok"), GET_WITH("/ok", "If-None-Match: *\r\n"),
                                            GET_WITH("/ok", "If-Match: \"x\"\r\n") };
    for (uint32_t i = 0; i < 3; i++) { /* nobody needs them, but the store */
        x = capture(requests[i]);
        http_response_whole_lent(x, 200, SPAN(""), span_of(large, LARGE), count_release, &released);
        assert_int_equal(released, 1 + i);
        assert_true(keep_and_finish(x, &rule_plain));
        assert_int_equal(released, 2 + i);
    }
}

/* ------------------------------------------------------------------------------------------------ the client goes ---- */

/* What the handler writes is for the store, whoever has asked; it goes nowhere then, and ends once. */
static void test_client_gone(void **state) {
    (void)state;
    for (int how = 0; how < 6; how++) {
        released = 0;
        struct http_exchange *x = capture(how % 2 == 0 ? GET("/ok") : HEAD("/ok"));
        if (how >= 2) {
            http_response_field(x, SPAN("X-A"), SPAN("b"));
            http_response_begin(x, 200, SPAN("text/plain"));
            put(x, "he");
        }
        park(x);
        if (how >= 4) {
            http_response_lend(x, SPAN("llo"), count_release, &released);
        }
        http_conn_release(&rig.conn);
        assert_null(x->conn);
        if (how < 2) {
            http_response_field(x, SPAN("X-A"), SPAN("b"));
            http_response_begin(x, 200, SPAN("text/plain"));
            put(x, "he");
        }
        if (how < 4) {
            put(x, "llo");
        }
        assert_true(keep(x, HTTP_CACHE_MISS, &rule_plain));
        assert_int_equal(kept.body_bytes, 5);
        assert_memory_equal(kept.body, "hello", 5);
        assert_int_equal(released, how >= 4 ? 1 : 0);
        assert_int_equal(x->status, 200);
        rig.done = 0;
        forget(x);
        http_exchange_finish(x);
        assert_int_equal(rig.done, 1);
        assert_int_equal(rig.out.bytes, 0);
        assert_null(rig_leak(&rig));
        rig_reset(&rig);
    }
}

/* Also when it is not kept: failed, streamed, not 200, nothing written. */
static void test_client_gone_unkept(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct http_exchange *x = capture(GET("/ok"));
        park(x);
        http_conn_release(&rig.conn);
        if (how == 0) {
            http_response_fail(x, 500);
        } else if (how == 1) {
            http_response_stream(x, 200, SPAN("text/plain"));
            put(x, "hello");
        } else if (how == 2) {
            http_response_whole(x, 404, SPAN("text/plain"), SPAN("hello"));
        }
        assert_false(keep(x, HTTP_CACHE_MISS, &rule_plain));
        forget(x);
        http_exchange_finish(x);
        assert_null(rig_leak(&rig));
        rig_reset(&rig);
    }
}

/* A response before it closes the connection: those behind it go on for the store. */
static void test_line_cut(void **state) {
    (void)state;
    struct http_exchange *first = stream(GET("/ok"));
    put(first, "one");
    park(first);
    struct http_exchange *x = capture(GET("/ok"));
    http_response_begin(x, 200, SPAN("text/plain"));
    put(x, "hel");
    park(x);
    http_response_cut(first);
    finish(first);
    assert_null(x->conn);
    put(x, "lo");
    assert_true(keep(x, HTTP_CACHE_MISS, &rule_plain));
    assert_memory_equal(kept.body, "hello", 5);
    forget(x);
    http_exchange_finish(x);
    assert_string_equal(rig_summary(&rig), "200:one CUT closed");
}

/* ----------------------------------------------------------------------------------------------------- no blocks ---- */

/* However many there are: 200 or 503, and what was lent is released once. */
static void test_without_blocks(void **state) {
    (void)state;
    fill_large();
    for (uint32_t blocks = 0; blocks < 6; blocks++) {
        for (int how = 0; how < 5; how++) {
            reopen(blocks);
            released = 0;
            struct http_exchange *x = capture(GET("/ok"));
            if (how == 0) {
                http_response_whole(x, 200, SPAN("text/plain"), span_of(large, 9000));
            } else if (how == 1) {
                http_response_whole_lent(x, 200, SPAN("text/plain"), span_of(large, 9000), count_release, &released);
            } else {
                http_response_begin(x, how == 4 ? 404 : 200, SPAN("text/plain"));
                http_response_write(x, span_of(large, 5000));
                char *p = how == 2 ? NULL : http_response_reserve(x, 4000);
                if (p != NULL) {
                    memcpy(p, large + 5000, 4000);
                    http_response_commit(x, 4000);
                } else {
                    http_response_lend(x, span_of(large + 5000, 4000), count_release, &released);
                }
            }
            uint32_t needed = how == 1 ? 1 : 3;
            assert_int_equal(keep(x, HTTP_CACHE_MISS, &rule_plain), blocks >= needed && how < 4);
            finish(x);
            const char *summary = rig_summary(&rig);
            if (blocks > needed) {
                assert_memory_equal(summary, how == 4 ? "404" : "200:", 3);
            } else {
                assert_string_equal(summary, blocks == 0 ? "closed" : "503");
            }
            assert_int_equal(released, how == 1 || how == 2 || (how > 2 && blocks < needed) ? 1 : 0);
            rig_release(&rig);
            assert_null(rig_leak(&rig));
            rig_reset(&rig);
        }
    }
}

/* ------------------------------------------------------------------------------------------------- our own mistakes ---- */

static void finish_captured(void *x) {
    http_response_begin(x, 200, SPAN("text/plain"));
    http_exchange_finish(x);
}

static void finish_failed(void *x) {
    http_response_fail(x, 500);
    http_exchange_finish(x);
}

static void capture_twice(void *x) {
    http_response_capture(x);
}

static void test_asserts(void **state) {
    (void)state;
    struct http_exchange *x = capture(GET("/ok"));
    assert_true(asserts(finish_captured, x));
    assert_true(asserts(finish_failed, x));
    assert_true(asserts(capture_twice, x));
    assert_false(keep_and_finish(x, &rule_plain));
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, http_row_test, rows_cut);
    ROWS_ADD(&rows, test_serves, serves_rows);
    ROWS_ADD(&rows, test_answer, answer_rows);
    int failed = rows_run("cache", &rows);
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_no_state),    WITH_RIG(test_fields),      WITH_RIG(test_fields_too_large),
        WITH_RIG(test_workspace_full), WITH_RIG(test_long_type), WITH_RIG(test_mistakes),
        WITH_RIG(test_failed),      WITH_RIG(test_stream_ends_it), WITH_RIG(test_json),
        WITH_RIG(test_large),       WITH_RIG(test_lent),        WITH_RIG(test_client_gone),
        WITH_RIG(test_client_gone_unkept), WITH_RIG(test_line_cut), WITH_RIG(test_without_blocks),
        WITH_RIG(test_asserts),
    };
    return failed + cmocka_run_group_tests_name("cache, step by step", tests, NULL, NULL);
}
