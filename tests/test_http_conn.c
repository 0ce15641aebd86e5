#include <stdio.h>

#include "http_rows.h"
#include "random.h"

#define GET10(path, fields) "GET " path " HTTP/1.0\r\n" fields "\r\n"
#define GETC(path, options) "GET " path " HTTP/1.1\r\n" H "Connection: " options "\r\n\r\n"

static const struct rig_sizes narrow = { 8, 4, 64, 1, { 32, 48, 3, 64, 1024 } };

static const struct http_row conn_rows[] = {
    HTTP_ROW("one request", GET("/"), "200:hello"),
    HTTP_ROW("nothing", "", ""),
    HTTP_ROW("half a request", "GET / HTTP/1.1\r\nHost: a\r\n", ""),
    HTTP_ROW("three in a pipeline", GET("/") GET("/ok") GET("/p/x/yz"), "200:hello 200:ok 200:a=x b=yz"),
    HTTP_ROW("and a half", GET("/") "GET /ok HT", "200:hello"),
    HTTP_ROW("query", GET("/ok?a=1&b=2"), "200:ok"),
    HTTP_ROW("absolute target", GET("http://a/ok?x"), "200:ok"),
    HTTP_ROW("absolute target without a path", GET("http://a"), "200:hello"),
    HTTP_ROW("an empty line between requests", GET("/ok") "\r\n" GET("/ok"), "200:ok 200:ok"),
    HTTP_ROW("no response is 204", GET("/nothing") GET("/ok"), "204 200:ok"),
    HTTP_ROW("a handler that fails", GET("/fail") GET("/ok"), "500 200:ok"),
    HTTP_ROW("a length patched in", GET("/begin/12") GET("/begin/0") GET("/ok"), "200:012345678901 200 200:ok"),
    HTTP_ROW("HEAD", "HEAD / HTTP/1.1\r\n" H "\r\n" GET("/ok"), "200(5) 200:ok"), /* RFC 9110 §9.3.2 */
    HTTP_ROW("HEAD, a length patched in", "HEAD /begin/3000 HTTP/1.1\r\n" H "\r\n" GET("/ok"), "200(3000) 200:ok"),
    HTTP_ROW("HEAD of nothing there", "HEAD /none HTTP/1.1\r\n" H "\r\n" GET("/ok"), "404(10) 200:ok"),
    HTTP_ROW("HEAD, parked", "HEAD /park/1 HTTP/1.1\r\n" H "\r\n" GET("/ok"), "200(8) 200:ok"),
    /* what is not there */
    HTTP_ROW("404", GET("/none") GET("/ok"), "404 200:ok"),
    HTTP_ROW("404, empty segment", GET("/p//b") GET("/p/a/"), "404 404"),
    HTTP_ROW("405", "POST /ok HTTP/1.1\r\n" H "\r\n" GET("/ok"), "405 200:ok"),
    HTTP_ROW("501 for an unknown method", "BREW /ok HTTP/1.1\r\n" H "\r\n" GET("/ok"), "501 200:ok"),
    HTTP_ROW("OPTIONS *", "OPTIONS * HTTP/1.1\r\n" H "\r\n" GET("/ok"), "204 200:ok"), /* RFC 9110 §9.3.7 */
    HTTP_ROW("OPTIONS of a path", "OPTIONS /ok HTTP/1.1\r\n" H "\r\n", "204"),
    HTTP_ROW("CONNECT", "CONNECT a:80 HTTP/1.1\r\n" H "\r\n" GET("/ok"), "501 closed"),
    HTTP_ROW("TRACE", "TRACE / HTTP/1.1\r\n" H "\r\n" GET("/ok"), "405 200:ok"),
    /* RFC 9112 §9.3, §9.6: persistence */
    HTTP_ROW("close", GETC("/ok", "close") GET("/ok"), "200:ok closed"),
    HTTP_ROW("close in a list", GETC("/ok", "keep-alive, close") GET("/ok"), "200:ok closed"),
    HTTP_ROW("keep-alive", GETC("/ok", "keep-alive") GET("/ok"), "200:ok 200:ok"),
    HTTP_ROW("1.0", GET10("/ok", "") GET("/ok"), "200:ok closed"),
    HTTP_ROW("1.0 and keep-alive", GET10("/ok", "Connection: keep-alive\r\n") GET("/ok"), "200:ok 200:ok"),
    HTTP_ROW("close behind parked ones", GET("/park/1") GETC("/ok", "close") GET("/ok"), "200:parked 1 200:ok closed"),
    HTTP_ROW("close with a body", "POST /echo HTTP/1.1\r\n" H "Connection: close\r\nContent-Length: 2\r\n\r\nhi"
             GET("/ok"),
             "200:hi closed"),
    HTTP_ROW("close with a streamed body", "POST /count HTTP/1.1\r\n"
             H "Connection: close\r\nContent-Length: 2\r\n\r\nhi" GET("/ok"),
             "200:2/209 closed"),
    HTTP_ROW("close and 404", GETC("/none", "close") GET("/ok"), "404 closed"),
    /* errors come in order, behind what is owed, and nothing after them */
    HTTP_ROW("400 first", "GET  / HTTP/1.1\r\n" H "\r\n" GET("/ok"), "400 closed"),
    HTTP_ROW("400 behind two", GET("/ok") GET("/") "x\r\n" GET("/ok"), "200:ok 200:hello 400 closed"),
    HTTP_ROW("400 behind parked ones", GET("/park/1") GET("/ok") GET("/park/2") "x\r\n" GET("/ok"),
             "200:parked 1 200:ok 200:parked 2 400 closed"),
    HTTP_ROW("505", "GET / HTTP/2.0\r\n" H "\r\n", "505 closed"),
    HTTP_ROW("417", "GET / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n", "417 closed"),
    HTTP_ROW("a TLS client", "\x16\x03\x01\x02", "400 closed"),
    HTTP_ROW_SIZED("414", GET("/ok") "GET /0123456789012345678901234567890123456789", "200:ok 414 closed", &narrow),
    HTTP_ROW_SIZED("431", GET("/ok") "GET / HTTP/1.1\r\n" H "X: 01234567890123456789012345678901234567890",
                   "200:ok 431 closed", &narrow),
    HTTP_ROW_SIZED("431, too many", "GET / HTTP/1.1\r\n" H "X: 1\r\nX: 1\r\nX: 1\r\n\r\n", "431 closed", &narrow),
    /* request smuggling: whoever is in front of us must not have seen another end of the message (RFC 9112 §11.2) */
    HTTP_ROW("CL.TE", "POST /echo HTTP/1.1\r\n" H "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"
             GET("/ok"), "400 closed"),
    HTTP_ROW("TE.CL", "POST /echo HTTP/1.1\r\n"
             H "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n", "400 closed"),
    HTTP_ROW("TE.TE, hidden by a blank", "POST /echo HTTP/1.1\r\n"
             H "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n", "400 closed"),
    HTTP_ROW("TE.TE, twice", "POST /echo HTTP/1.1\r\n"
             H "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n", "400 closed"),
    HTTP_ROW("TE.TE, unknown", "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
             "400 closed"),
    HTTP_ROW("TE.TE, folded", "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n", "400 closed"),
    HTTP_ROW("TE behind LF", "POST /echo HTTP/1.1\r\n" H "X: y\nTransfer-Encoding: chunked\r\n\r\n", "400 closed"),
    HTTP_ROW("CL.CL", "POST /echo HTTP/1.1\r\n" H "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello", "400 closed"),
    HTTP_ROW("CL of plus", "POST /echo HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nhello", "400 closed"),
    HTTP_ROW("TE in 1.0",
             "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 closed"),
    HTTP_ROW("chunk size and blank", "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n"
             GET("/ok"), "400 closed"),
    HTTP_ROW("chunk ended by LF", "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n"
             GET("/ok"), "400 closed"),
    HTTP_ROW("a GET with a body hides nothing", "GET /ok HTTP/1.1\r\n" H "Content-Length: 31\r\n\r\n"
             GET("/none")  GET("/ok"), "200:ok 200:ok"),
    HTTP_ROW("two Hosts", "GET / HTTP/1.1\r\n" H "Host: b\r\n\r\n", "400 closed"),
    HTTP_ROW("NUL in a field", "GET / HTTP/1.1\r\n" H "X: \0\r\n\r\n", "400 closed"),
};

static struct rig rig;
static struct rig_sizes sizes;

static int open_rig(void **state) {
    (void)state;
    sizes = rig_plenty;
    rig_open(&rig, &sizes);
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_release(&rig);
    const char *leak = rig_leak(&rig);
    rig_close(&rig);
    if (leak != NULL) {
        print_error("%s are missing\n", leak);
    }
    return leak == NULL ? 0 : -1;
}

/* The same rig with other sizes. */
static void reopen(void) {
    rig_close(&rig);
    rig_open(&rig, &sizes);
}

static void feed(const char *text) {
    rig_feed(&rig, span_text(text));
    const char *fault = rig_insane(&rig);
    if (fault != NULL) {
        fail_msg("%s", fault);
    }
}

/* ---------------------------------------------------------------------------------------------------- pipelining ---- */

static void test_thousand_in_a_pipeline(void **state) {
    (void)state;
    struct random random = random_seeded("http_conn");
    static char in[128 * 1024], expected[64 * 1024];
    size_t len = 0, out = 0;
    for (int i = 0; i < 1000; i++) {
        len += (size_t)sprintf(in + len, "GET /p/%d/x HTTP/1.1\r\n" H "\r\n", i);
        out += (size_t)sprintf(expected + out, "%s200:a=%d b=x", i > 0 ? " " : "", i);
    }
    static const size_t steps[] = { 16384, 4096, 1460, 1 };
    for (size_t i = 0; i < 4; i++) {
        rig_feed_pieces(&rig, span_of(in, len), steps[i], steps[i]);
        assert_string_equal(rig_summary(&rig), expected);
        assert_null(rig_insane(&rig));
        rig_release(&rig);
        rig_reset(&rig);
    }
    for (int round = 0; round < 20; round++) {
        rig_feed_pieces(&rig, span_of(in, len), random_below(&random, 16384), 1 + random_below(&random, 9000));
        assert_string_equal(rig_summary(&rig), expected);
        rig_release(&rig);
        rig_reset(&rig);
    }
}

/* limits.pipeline: the rest waits in the carry and is read when an exchange has finished. */
static void test_full(void **state) {
    (void)state;
    sizes.limits.pipeline = 3;
    reopen();
    feed(GET("/park/1") GET("/park/2") GET("/park/3") GET("/park/4") GET("/ok") GET("/park/5") "GET /o");
    assert_true(rig.full);
    assert_int_equal(rig.parked_count, 3);
    assert_int_equal(rig.conn.unfinished, 3);
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_BUSY);
    rig_resume(&rig, 1);
    assert_true(rig.full); /* still three: the first one holds the line */
    assert_int_equal(rig.parked_count, 2);
    rig_resume(&rig, 0);
    assert_string_equal(rig_summary(&rig), "200:parked 1 200:parked 2");
    assert_int_equal(rig.conn.unfinished, 3); /* 3, 4 and /ok behind it */
    rig_resume_all(&rig);
    assert_false(rig.full);
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_HEAD);
    feed("k HTTP/1.1\r\n" H "\r\n");
    assert_string_equal(rig_summary(&rig),
                        "200:parked 1 200:parked 2 200:parked 3 200:parked 4 200:ok 200:parked 5 200:ok");
}

/* No exchange free, but some unfinished here: wait. */
static void test_no_exchange_but_own(void **state) {
    (void)state;
    sizes.exchanges = 2;
    reopen();
    feed(GET("/park/1") GET("/park/2") GET("/ok") GET("/park/3") GET("/ok"));
    assert_true(rig.full);
    rig_resume(&rig, 0);
    assert_true(rig.full); /* 2 and 3 */
    rig_resume_all(&rig);
    assert_string_equal(rig_summary(&rig), "200:parked 1 200:parked 2 200:ok 200:parked 3 200:ok");
}

/* No exchange free and none here: 503 and the end. */
static void test_no_exchange(void **state) {
    (void)state;
    sizes.exchanges = 1;
    reopen();
    void *taken = pool_take(&rig.exchanges);
    feed(GET("/ok") GET("/ok"));
    assert_true(rig.ended);
    rig_take_output(&rig);
    assert_non_null(memmem(rig.output, rig.output_len, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 39)); /* RFC 9110 §6.6.1 */
    assert_string_equal(rig_summary(&rig), "503 closed");
    assert_null(rig.fault);
    assert_int_equal(rig.shared.responses[0], 1);
    assert_int_equal(rig.shared.responses[5], 1);
    assert_int_equal(rig.shared.requests, 1);
    pool_give(&rig.exchanges, taken);
}

/* No carry for half a head: 503, behind what is owed. */
static void test_no_carry(void **state) {
    (void)state;
    sizes.carries = 1;
    reopen();
    void *taken = pool_take(&rig.carries);
    feed(GET("/ok") GET("/park/1") "GET /o");
    assert_true(rig.ended);
    rig_resume_all(&rig);
    assert_string_equal(rig_summary(&rig), "200:ok 200:parked 1 503 closed");
    rig_release(&rig);
    rig_reset(&rig);
    feed("GET /o");
    assert_string_equal(rig_summary(&rig), "503 closed");
    pool_give(&rig.carries, taken);
}

/* Neither: what is owed is answered, then the end. */
static void test_no_carry_no_exchange(void **state) {
    (void)state;
    sizes.carries = 1;
    sizes.exchanges = 1;
    reopen();
    void *taken = pool_take(&rig.carries);
    feed(GET("/park/1") GET("/ok"));
    assert_true(rig.ended);
    rig_resume_all(&rig);
    assert_string_equal(rig_summary(&rig), "200:parked 1 closed");
    pool_give(&rig.carries, taken);
}

/* No block for an answer: the connection ends without one. */
static void test_no_block(void **state) {
    (void)state;
    sizes.blocks = 2;
    reopen();
    void *a = pool_take(&rig.blocks), *b = pool_take(&rig.blocks);
    feed(GET("/ok") GET("/ok"));
    assert_string_equal(rig_summary(&rig), "closed");
    assert_int_equal(rig.shared.responses[0], 1);
    rig_release(&rig);
    rig_reset(&rig);
    pool_give(&rig.blocks, a);
    feed(GET("/begin/9000") GET("/ok")); /* one block, and more is needed: rolled back to 503 */
    assert_string_equal(rig_summary(&rig), "503 200:ok");
    pool_give(&rig.blocks, b);
}

/* A caller may hold a connection: no further request begins; what was read of one goes on. */
static void test_hold(void **state) {
    (void)state;
    rig.conn.hold = true;
    feed("");
    assert_false(rig.full); /* there is nothing to hold */
    feed(GET("/ok") GET("/"));
    assert_true(rig.full);
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_BUSY);
    assert_string_equal(rig_summary(&rig), "");
    rig.conn.hold = false;
    feed("");
    assert_string_equal(rig_summary(&rig), "200:ok 200:hello");
    feed("POST /count HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n12");
    rig.conn.hold = true;
    feed("34");
    assert_string_equal(rig_summary(&rig), "200:ok 200:hello 200:4/202");
}

/* ------------------------------------------------------------------------------------------------- memory, phases ---- */

/* An idle connection holds nothing, however its requests arrived. */
static void test_idle_holds_nothing(void **state) {
    (void)state;
    feed("GET /ok HTTP/1.1\r\nHo");
    assert_int_equal(rig.carries.free_count, rig.carries.count - 1);
    assert_int_equal(rig.exchanges.free_count, rig.exchanges.count); /* half a head costs no exchange */
    feed("st: a\r\n\r\n" GET("/ok"));
    assert_string_equal(rig_summary(&rig), "200:ok 200:ok");
    assert_null(rig.conn.carry);
    assert_null(rig_leak(&rig));
    feed("POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n12");
    assert_null(rig.conn.carry); /* a body needs none */
    feed("34");
    assert_string_equal(rig_summary(&rig), "200:ok 200:ok 200:1234");
    assert_null(rig_leak(&rig));
}

static void test_phases(void **state) {
    (void)state;
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_IDLE);
    feed("G");
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_HEAD);
    feed("ET /park/1 HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_BUSY);
    feed("POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n");
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_BODY);
    feed("hi");
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_BUSY);
    rig_resume_all(&rig);
    assert_int_equal(http_conn_phase(&rig.conn), HTTP_PHASE_IDLE);
    assert_false(http_conn_done(&rig.conn));
    assert_string_equal(rig_summary(&rig), "200:parked 1 200:hi");
}

/* The peer's end: what is incomplete is dropped, what is owed is answered. RFC 9112 §9.6, §8 */
static void test_end(void **state) {
    (void)state;
    static const char *const halves[] = { "", "GET /", "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n12",
                                          "POST /count HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\n12",
                                          "POST /echo HTTP/1.1\r\n" H "Content-Length: 40000\r\n\r\n12" };
    for (int parked = 0; parked < 3; parked++) {
        for (int i = 0; i < 5; i++) {
            rig_reset(&rig);
            feed(GET("/ok"));
            for (int n = 0; n < parked; n++) {
                feed(GET("/park/7"));
            }
            feed(halves[i]);
            http_conn_end(&rig.conn);
            assert_int_equal(http_conn_done(&rig.conn), parked == 0);
            rig_resume_all(&rig);
            assert_true(http_conn_done(&rig.conn));
            static const char *const answers[] = { "200:ok closed", "200:ok 200:parked 7 closed",
                                                   "200:ok 200:parked 7 200:parked 7 closed" };
            assert_string_equal(rig_summary(&rig), answers[parked]);
            assert_int_equal(rig.bodies.free_count, rig.bodies.count);
            rig_release(&rig);
        }
    }
}

/* The last response of a connection says that it is the last. */
static void test_end_says_close(void **state) {
    (void)state;
    feed(GET("/park/1") GET("/park/2"));
    http_conn_end(&rig.conn);
    rig_resume_all(&rig);
    rig_take_output(&rig);
    const char *close = memmem(rig.output, rig.output_len, "Connection: close", 17);
    const char *second = memmem(rig.output + 1, rig.output_len - 1, "HTTP/1.1", 8);
    assert_true(close != NULL && second != NULL && close > second);
}

/* While draining the last request that is here is the last one. */
static void test_draining(void **state) {
    (void)state;
    rig.shared.draining = true;
    feed(GET("/ok") GET("/") GET("/ok") "GET /");
    assert_false(rig.ended); /* the half request is waited for */
    feed("ok HTTP/1.1\r\n" H "\r\n");
    assert_string_equal(rig_summary(&rig), "200:ok 200:hello 200:ok 200:ok closed");
    rig_release(&rig);
    rig_reset(&rig);
    feed(GET("/park/1") GET("/park/2"));
    rig_resume_all(&rig);
    assert_string_equal(rig_summary(&rig), "200:parked 1 200:parked 2 closed");
    feed(GET("/ok"));
    assert_true(rig.ended);
    assert_string_equal(rig_summary(&rig), "200:parked 1 200:parked 2 closed");
}

/* A caller's timeout: an answer for what was begun and not finished, in order, then the end. */
static void test_refuse(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        { "", "closed" }, /* idle: nothing to answer */
        { "GET /", "408 closed" },
        { "HEAD / HTTP/1.1\r\n", "408(16) closed" },
        { "HEAD / HTTP/1.1\r", "408 closed" }, /* no request yet, so not one without a body */
        { GET("/ok") "GET /", "200:ok 408 closed" },
        { GET("/park/1") "GET /", "200:parked 1 408 closed" },
        { "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n12", "408 closed" },
        { GET("/park/1") "POST /count HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n12", "200:parked 1 408 closed" },
        { "POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n", "100 408 closed" },
        { GET("/park/1"), "200:parked 1 closed" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_reset(&rig);
        feed(rows[i].in);
        http_conn_refuse(&rig.conn, 408);
        rig_resume_all(&rig);
        assert_string_equal(rig_summary(&rig), rows[i].out);
        rig_release(&rig);
        assert_null(rig_leak(&rig));
    }
}

/* No exchange for the timeout's answer. */
static void test_refuse_without_exchange(void **state) {
    (void)state;
    sizes.exchanges = 1;
    reopen();
    feed("GET /");
    void *taken = pool_take(&rig.exchanges);
    http_conn_refuse(&rig.conn, 408);
    assert_string_equal(rig_summary(&rig), "503 closed");
    pool_give(&rig.exchanges, taken);
    assert_int_equal(rig.carries.free_count, rig.carries.count);
}

static void test_nothing_after_the_end(void **state) {
    (void)state;
    feed(GETC("/ok", "close"));
    feed(GET("/ok"));
    assert_true(rig.ended);
    feed("garbage");
    assert_string_equal(rig_summary(&rig), "200:ok closed");
    assert_int_equal(rig.shared.requests, 1);
}

static void test_counters(void **state) {
    (void)state;
    feed(GET("/ok") GET("/none") GET("/fail") GET("/nothing") "GET /ok HT");
    feed("TP/1.1\r\n" H "\r\nx\r\n");
    assert_string_equal(rig_summary(&rig), "200:ok 404 500 204 200:ok 400 closed");
    assert_int_equal(rig.shared.requests, 6);
    assert_int_equal(rig.shared.responses[2], 3);
    assert_int_equal(rig.shared.responses[4], 2);
    assert_int_equal(rig.shared.responses[5], 1);
    assert_int_equal(rig.shared.responses[0], 0);
    assert_int_equal(rig.shared.carries_used, 1);
    assert_int_equal(rig.shared.head_copies, 0);
}

#define WITH_RIG(test) { #test, test, open_rig, close_rig, NULL }

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, http_row_test, conn_rows);
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_thousand_in_a_pipeline),
        WITH_RIG(test_full),
        WITH_RIG(test_no_exchange_but_own),
        WITH_RIG(test_no_exchange),
        WITH_RIG(test_no_carry),
        WITH_RIG(test_no_carry_no_exchange),
        WITH_RIG(test_no_block),
        WITH_RIG(test_hold),
        WITH_RIG(test_idle_holds_nothing),
        WITH_RIG(test_phases),
        WITH_RIG(test_end),
        WITH_RIG(test_end_says_close),
        WITH_RIG(test_draining),
        WITH_RIG(test_refuse),
        WITH_RIG(test_refuse_without_exchange),
        WITH_RIG(test_nothing_after_the_end),
        WITH_RIG(test_counters),
    };
    return rows_run("conn rows", &rows) + cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
