#include <stdio.h>

#include "http/http_priv.h"
#include "http_rows.h"
#include "random.h"

#define LENGTH(method, path, n, body) method " " path " HTTP/1.1\r\n" H "Content-Length: " #n "\r\n\r\n" body
#define CHUNKED(method, path, body) method " " path " HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n" body
#define ECHO(body) CHUNKED("POST", "/echo", body)
#define EXPECT(path, framing) "POST " path " HTTP/1.1\r\n" H "Expect: 100-continue\r\n" framing "\r\n\r\n"

static const struct rig_sizes few_bytes = { 8, 4, 64, 1, { 8192, 40, 100, 64, 10 } };

static const struct http_row body_rows[] = {
    /* RFC 9112 §6.2: Content-Length */
    HTTP_ROW("length, buffered", LENGTH("POST", "/echo", 5, "hello"), "200:hello"),
    HTTP_ROW("length, streamed", LENGTH("POST", "/count", 5, "hello"), "200:5/532"),
    HTTP_ROW("length, dropped", LENGTH("PUT", "/drop", 5, "hello"), "200:5/0"),
    HTTP_ROW("length 0, buffered", LENGTH("POST", "/echo", 0, ""), "200"),
    HTTP_ROW("length 0, streamed", LENGTH("POST", "/count", 0, ""), "200:0/0"),
    HTTP_ROW("no body, buffered", "POST /echo HTTP/1.1\r\n" H "\r\n", "200"),
    HTTP_ROW("no body, streamed", "POST /count HTTP/1.1\r\n" H "\r\n", "200:0/0"),
    HTTP_ROW("a body for GET", LENGTH("GET", "/ok", 5, "hello") GET("/"), "200:ok 200:hello"),
    HTTP_ROW("one byte too many is a request", LENGTH("POST", "/echo", 4, "hello"), "200:hell"),
    HTTP_ROW("two in a row", LENGTH("POST", "/echo", 3, "one") LENGTH("POST", "/echo", 3, "two"), "200:one 200:two"),
    HTTP_ROW("then a GET", LENGTH("POST", "/count", 3, "one") GET("/ok"), "200:3/322 200:ok"),
    HTTP_ROW("incomplete, buffered", LENGTH("POST", "/echo", 6, "hello"), ""),
    HTTP_ROW("incomplete, streamed", LENGTH("POST", "/count", 6, "hello"), ""),
    HTTP_ROW("all bytes", LENGTH("POST", "/echo", 6, "\r\n\0\xff\r\n"), "200:\r\n"),
    /* RFC 9112 §7.1: chunked */
    HTTP_ROW("one chunk", ECHO("5\r\nhello\r\n0\r\n\r\n"), "200:hello"),
    HTTP_ROW("three chunks", ECHO("1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n") GET("/ok"), "200:abcdef 200:ok"),
    HTTP_ROW("chunked, streamed", CHUNKED("POST", "/count", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n") GET("/ok"),
             "200:5/532 200:ok"),
    HTTP_ROW("chunked, dropped", CHUNKED("PUT", "/drop", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n") GET("/ok"),
             "200:5/0 200:ok"),
    HTTP_ROW("no chunk", ECHO("0\r\n\r\n") GET("/ok"), "200 200:ok"),
    HTTP_ROW("no chunk, streamed", CHUNKED("POST", "/count", "0\r\n\r\n") GET("/ok"), "200:0/0 200:ok"),
    HTTP_ROW("hex digits", ECHO("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"), "200:01234567890123456789a"),
    HTTP_ROW("leading zeros", ECHO("0000000000000005\r\nhello\r\n000\r\n\r\n"), "200:hello"),
    HTTP_ROW("incomplete chunk", ECHO("5\r\nhell"), ""),
    HTTP_ROW("no last chunk", ECHO("5\r\nhello\r\n"), ""),
    HTTP_ROW("no last line", ECHO("5\r\nhello\r\n0\r\n"), ""),
    HTTP_ROW("CRLF in the data", ECHO("4\r\n\r\n\r\n\r\n0\r\n\r\n"), "200:\r\n\r\n"),
    /* §7.1.1: extensions are ignored, but must be sound */
    HTTP_ROW("extension", ECHO("5;a\r\nhello\r\n0;b=c\r\n\r\n"), "200:hello"),
    HTTP_ROW("extensions with blanks", ECHO("5 ; a = b\t;c=\"d\\\"e;\\\\\" ;f\r\nhello\r\n0\r\n\r\n"), "200:hello"),
    HTTP_ROW("extension without name", ECHO("5;\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("extension without value", ECHO("5;a=\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("extension with an open quote", ECHO("5;a=\"\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("extension with two words", ECHO("5;a b\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("extension with a word behind quotes", ECHO("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("extension with CR", ECHO("5;a\rb\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("extension with LF", ECHO("5;a\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("extension with NUL", ECHO("5;a\0\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("extension with a blank before CRLF", ECHO("5;a \r\nhello\r\n0\r\n\r\n"), "400 closed"),
    /* what is no size */
    HTTP_ROW("no size", ECHO("\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size with sign", ECHO("+5\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("negative size", ECHO("-5\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size with 0x", ECHO("0x5\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size with a letter", ECHO("5g\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size behind a blank", ECHO(" 5\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size before a blank", ECHO("5 \r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size before a tab", ECHO("5\t\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size and a word", ECHO("5 x\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size with a comma", ECHO("5,\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size with a point", ECHO("5.0\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size of 17 digits", ECHO("00000000000000005\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("size beyond 64 bits", ECHO("10000000000000000\r\n"), "400 closed"),
    HTTP_ROW("greatest size, streamed", CHUNKED("POST", "/count", "ffffffffffffffff\r\nhello"), ""),
    HTTP_ROW("greatest size, buffered", ECHO("ffffffffffffffff\r\nhello"), ""),
    /* line ends */
    HTTP_ROW("LF behind the size", ECHO("5\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("CR behind the size", ECHO("5\rhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("LF behind the data", ECHO("5\r\nhello\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("CR behind the data", ECHO("5\r\nhello\r0\r\n\r\n"), "400 closed"),
    HTTP_ROW("nothing behind the data", ECHO("5\r\nhello0\r\n\r\n"), "400 closed"),
    HTTP_ROW("data longer than its size", ECHO("4\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("data shorter than its size", ECHO("6\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("LF at the end", ECHO("5\r\nhello\r\n0\r\n\n"), "400 closed"),
    HTTP_ROW("CR and a word at the end", ECHO("5\r\nhello\r\n0\r\n\rx"), "400 closed"),
    HTTP_ROW("the next request without the last line", ECHO("5\r\nhello\r\n0\r\n") GET("/ok"), "400 closed"),
    /* §7.1.2: trailers are read and dropped */
    HTTP_ROW("trailers", ECHO("5\r\nhello\r\n0\r\nA: b\r\nC:\td \"e\\;=\xff\r\n\r\n") GET("/ok"), "200:hello 200:ok"),
    HTTP_ROW("empty trailer value", ECHO("0\r\nA:\r\n\r\n") GET("/ok"), "200 200:ok"),
    HTTP_ROW("a length in a trailer", ECHO("5\r\nhello\r\n0\r\nContent-Length: 100\r\n\r\n") GET("/ok"),
             "200:hello 200:ok"),
    HTTP_ROW("trailer without colon", ECHO("0\r\nA\r\n\r\n"), "400 closed"),
    HTTP_ROW("trailer without name", ECHO("0\r\n: b\r\n\r\n"), "400 closed"),
    HTTP_ROW("trailer with a blank before the colon", ECHO("0\r\nA : b\r\n\r\n"), "400 closed"),
    HTTP_ROW("folded trailer", ECHO("0\r\nA: b\r\n c\r\n\r\n"), "400 closed"),
    HTTP_ROW("trailer ended by LF", ECHO("0\r\nA: b\n\r\n"), "400 closed"),
    HTTP_ROW("trailer with CR", ECHO("0\r\nA: b\rc\r\n\r\n"), "400 closed"),
    HTTP_ROW("trailer with NUL", ECHO("0\r\nA: \0\r\n\r\n"), "400 closed"),
    HTTP_ROW("NUL as a trailer", ECHO("0\r\n\0\r\n\r\n"), "400 closed"),
    /* a body in trouble, by what the route does with it */
    HTTP_ROW("bad chunk, streamed", CHUNKED("POST", "/count", "5\r\nhello\r\nx"), "400 closed"),
    HTTP_ROW("bad chunk, dropped", CHUNKED("PUT", "/drop", "5\r\nhello\r\nx"), "400 closed"),
    HTTP_ROW("bad chunk behind good requests", GET("/ok") GET("/park/1") ECHO("x") GET("/ok"),
             "200:ok 200:parked 1 400 closed"),
    HTTP_ROW("streamed and refused", LENGTH("POST", "/refuse", 5, "hello") GET("/ok"), "400 closed"),
    HTTP_ROW("streamed, chunked and refused", CHUNKED("POST", "/refuse", "5\r\nhello\r\n0\r\n\r\n"), "400 closed"),
    HTTP_ROW("streamed and answered early", LENGTH("POST", "/early", 5, "hello") GET("/ok"), "200:early closed"),
    HTTP_ROW("streamed and nothing to refuse", LENGTH("POST", "/refuse", 0, "") GET("/ok"), "200:0/0 200:ok"),
    /* limits: RFC 9110 §15.5.14 */
    HTTP_ROW_SIZED("buffered at the limit", LENGTH("POST", "/echo", 10, "0123456789"), "200:0123456789", &few_bytes),
    HTTP_ROW_SIZED("buffered beyond it", LENGTH("POST", "/echo", 11, "0123456789a") GET("/ok"), "413 closed",
                   &few_bytes),
    HTTP_ROW_SIZED("dropped at the limit", LENGTH("PUT", "/drop", 10, "0123456789") GET("/ok"), "200:10/0 200:ok",
                   &few_bytes),
    HTTP_ROW_SIZED("dropped beyond it", LENGTH("PUT", "/drop", 11, "0123456789a"), "413 closed", &few_bytes),
    HTTP_ROW_SIZED("chunked at the limit", ECHO("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"), "200:0123456789", &few_bytes),
    HTTP_ROW_SIZED("chunked beyond it", ECHO("5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n"), "413 closed", &few_bytes),
    HTTP_ROW_SIZED("chunked and dropped beyond it", CHUNKED("PUT", "/drop", "b\r\n0123456789a\r\n"), "413 closed",
                   &few_bytes),
    HTTP_ROW_SIZED("streamed has no limit", LENGTH("POST", "/count", 11, "0123456789a"), "200:11/622", &few_bytes),
    HTTP_ROW_SIZED("extensions beyond the limit",
                   ECHO("1;aaaaaaaaaaaaaaaaaaa\r\nx\r\n1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"), "400 closed",
                   &few_bytes),
    HTTP_ROW_SIZED("trailers beyond the limit",
                   ECHO("0\r\nA: b\r\nA: 0123456789012345678901234567890123456789\r\n\r\n"), "431 closed",
                   &few_bytes),
    /* what has its answer already drops its body, if it is not too long */
    HTTP_ROW("404 with a body", LENGTH("POST", "/none", 5, "hello") GET("/ok"), "404 200:ok"),
    HTTP_ROW("404 with chunks", CHUNKED("POST", "/none", "5\r\nhello\r\n0\r\n\r\n") GET("/ok"), "404 200:ok"),
    HTTP_ROW("405 with a body", LENGTH("POST", "/ok", 5, "hello") GET("/ok"), "405 200:ok"),
    HTTP_ROW("501 with a body", LENGTH("BREW", "/ok", 5, "hello") GET("/ok"), "501 200:ok"),
    HTTP_ROW("404 with bad chunks", CHUNKED("POST", "/none", "5\r\nhello\r\nx"), "404 closed"),
    HTTP_ROW_SIZED("404 with a long body", LENGTH("POST", "/none", 11, "01234567890") GET("/ok"), "404 closed",
                   &few_bytes),
    HTTP_ROW("OPTIONS * with a body", LENGTH("OPTIONS", "*", 5, "hello") GET("/ok"), "204 200:ok"),
};

/* ------------------------------------------------------------------------------------------ Expect: 100-continue ---- */

static struct rig rig;

static int open_rig(void **state) {
    (void)state;
    rig_open(&rig, &rig_plenty);
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_release(&rig);
    bool clean = rig_leak(&rig) == NULL;
    rig_close(&rig);
    return clean ? 0 : -1;
}

/* RFC 9110 §10.1.1: the interim response comes when the client waits, and then the body. */
static void test_continue(void **state) {
    (void)state;
    static const char *const framings[] = { "Content-Length: 5", "Transfer-Encoding: chunked" };
    static const char *const bodies[] = { "hello", "5\r\nhello\r\n0\r\n\r\n" };
    static const char *const paths[] = { "/echo", "/count", "/park" };
    static const char *const answers[] = { "100 200:hello", "100 200:5/532", "100 200:/park-hello" };
    for (int p = 0; p < 3; p++) {
        for (int f = 0; f < 2; f++) {
            char head[256];
            snprintf(head, sizeof head, "POST %s HTTP/1.1\r\n" H "Expect: 100-continue\r\n%s\r\n\r\n", paths[p],
                     framings[f]);
            rig_reset(&rig);
            rig_feed(&rig, span_text(head));
            assert_string_equal(rig_summary(&rig), "100");
            rig_feed(&rig, SPAN(""));
            assert_string_equal(rig_summary(&rig), "100"); /* once */
            rig_feed(&rig, span_text(bodies[f]));
            rig_resume_all(&rig);
            assert_string_equal(rig_summary(&rig), answers[p]);
            rig_release(&rig);
        }
    }
}

/* A client that did not wait needs no interim response. */
static void test_no_continue(void **state) {
    (void)state;
    rig_feed(&rig, SPAN(EXPECT("/echo", "Content-Length: 5") "h"));
    assert_string_equal(rig_summary(&rig), "");
    rig_feed(&rig, SPAN("ello"));
    assert_string_equal(rig_summary(&rig), "200:hello");
}

static void test_no_continue_for_chunks(void **state) {
    (void)state;
    rig_feed(&rig, SPAN(EXPECT("/echo", "Transfer-Encoding: chunked") "5"));
    assert_string_equal(rig_summary(&rig), "");
    rig_feed(&rig, SPAN("\r\nhello\r\n0\r\n\r\n"));
    assert_string_equal(rig_summary(&rig), "200:hello");
}

static void test_no_continue_without_body(void **state) {
    (void)state;
    rig_feed(&rig, SPAN(EXPECT("/count", "Content-Length: 0")));
    assert_string_equal(rig_summary(&rig), "200:0/0");
}

/* It leaves in order: behind the responses before. */
static void test_continue_waits_for_its_turn(void **state) {
    (void)state;
    rig_feed(&rig, SPAN(GET("/park/1") GET("/park/2") EXPECT("/echo", "Content-Length: 5")));
    assert_string_equal(rig_summary(&rig), "");
    rig_resume(&rig, 1);
    assert_string_equal(rig_summary(&rig), "");
    rig_resume(&rig, 0);
    assert_string_equal(rig_summary(&rig), "200:parked 1 200:parked 2 100");
    rig_feed(&rig, SPAN("hello"));
    assert_string_equal(rig_summary(&rig), "200:parked 1 200:parked 2 100 200:hello");
}

/* The final answer at once, and nothing is read any more: the body may come or not. */
static void test_no_continue_but_an_error(void **state) {
    (void)state;
    static const char *const paths[] = { "/none", "/ok", "/echo" };
    static const char *const lengths[] = { "5", "5", "1048577" };
    static const char *const answers[] = { "404 closed", "405 closed", "413 closed" };
    for (int i = 0; i < 3; i++) {
        char head[256];
        snprintf(head, sizeof head, "POST %s HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: %s\r\n\r\n",
                 paths[i],
                 lengths[i]);
        rig_reset(&rig);
        rig_feed(&rig, span_text(head));
        assert_string_equal(rig_summary(&rig), answers[i]);
        rig_release(&rig);
    }
}

/* ------------------------------------------------------------------------------------------------- large bodies ---- */

static char large[1 << 20];

/* Sends `len` bytes to the echo and checks what comes back. Chunks of `chunk` bytes, or Content-Length when it is 0. */
static void echo_large(size_t len, size_t chunk, size_t step) {
    static char request[3 << 20];
    size_t at = (size_t)sprintf(request, "POST /echo HTTP/1.1\r\n" H);
    if (chunk == 0) {
        at += (size_t)sprintf(request + at, "Content-Length: %zu\r\n\r\n", len);
        memcpy(request + at, large, len);
        at += len;
    } else {
        at += (size_t)sprintf(request + at, "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t done = 0; done < len;) {
            size_t n = len - done < chunk ? len - done : chunk;
            at += (size_t)sprintf(request + at, "%zx\r\n", n);
            memcpy(request + at, large + done, n);
            at += n;
            at += (size_t)sprintf(request + at, "\r\n");
            done += n;
        }
        at += (size_t)sprintf(request + at, "0\r\n\r\n");
    }
    rig_reset(&rig);
    rig_feed_pieces(&rig, span_of(request, at), step, step);
    rig_take_output(&rig);
    if (rig.output_len < len || memcmp(rig.output + rig.output_len - len, large, len) != 0) {
        fail_msg("%zu bytes, chunks of %zu, fed by %zu: %zu came out", len, chunk, step, rig.output_len);
    }
    rig_release(&rig);
    assert_null(rig_leak(&rig));
}

/* Around the border of the workspace, and up to the limit. */
static void test_large_bodies(void **state) {
    (void)state;
    struct random random = random_seeded("body");
    for (size_t i = 0; i < sizeof large; i++) {
        large[i] = (char)random_next(&random);
    }
    static const size_t lens[] = { 4000, 16383, 16384, 16385, 32768, 100000, sizeof large };
    static const size_t chunks[] = { 0, 1000, 16384, 70000 };
    static const size_t steps[] = { 100, 1460, 4096, 16384 };
    for (size_t l = 0; l < sizeof lens / sizeof *lens; l++) {
        for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
            for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
                echo_large(lens[l], chunks[c], steps[s]);
            }
        }
    }
}

/* No slot is free: 503 behind the dropped body, and the connection goes on. */
static void test_no_slot(void **state) {
    (void)state;
    struct rig_sizes sizes = rig_plenty;
    sizes.bodies = 1;
    rig_close(&rig);
    rig_open(&rig, &sizes);
    void *slot = pool_take(&rig.bodies);
    static char request[40000];
    size_t len = (size_t)sprintf(request, "POST /echo HTTP/1.1\r\n" H "Content-Length: 20000\r\n\r\n");
    memset(request + len, 'x', 20000);
    rig_feed_pieces(&rig, span_of(request, len + 20000), 4096, 4096);
    len = (size_t)sprintf(request, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n4e20\r\n");
    memset(request + len, 'x', 20000);
    len += 20000;
    len += (size_t)sprintf(request + len, "\r\n0\r\n\r\n" GET("/ok"));
    rig_feed_pieces(&rig, span_of(request, len), 4096, 4096);
    assert_string_equal(rig_summary(&rig), "503 503 200:ok");
    assert_non_null(memmem(rig.output, rig.output_len, "\r\nRetry-After: 1\r\n", 18));
    assert_int_equal(rig.shared.responses[0], 2);
    assert_int_equal(rig.shared.responses[5], 2);
    len = (size_t)sprintf(request, "POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 20000\r\n\r\n");
    rig_feed(&rig, span_of(request, len));
    assert_string_equal(rig_summary(&rig),
                        "503 503 200:ok 503 closed"); /* does not ask for a body that it can't take */
    pool_give(&rig.bodies, slot);
}

/* A streamed body of any length costs nothing: no slot, no workspace. */
static void test_endless_stream(void **state) {
    (void)state;
    rig_feed(&rig, SPAN("POST /count HTTP/1.1\r\n" H "Content-Length: 1073741824\r\n\r\n"));
    memset(large, 1, HTTP_INPUT_BYTES_MAX);
    for (int i = 0; i < (1 << 30) / HTTP_INPUT_BYTES_MAX; i++) {
        struct span input = span_of(large, HTTP_INPUT_BYTES_MAX), piece;
        struct http_exchange *x;
        enum http_event event = http_conn_next(&rig.conn, &input, &x, &piece);
        assert_int_equal(event, HTTP_PIECE);
        assert_ptr_equal(piece.data, large); /* no copy */
        if (i + 1 < (1 << 30) / HTTP_INPUT_BYTES_MAX) {
            assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_MORE);
        }
    }
    assert_int_equal(rig.bodies.free_count, rig.bodies.count);
    rig_feed(&rig, SPAN(""));
    assert_int_equal(rig.ready, 1);
    assert_memory_equal(rig_summary(&rig), "200:1073741824/", 15);
}

/* -------------------------------------------------------------------------------------------------------- tables ---- */

/* The plainest model of chunked coding, for random bytes near the grammar. Returns the content's length,
    -1 when it is bad,
 * -2 when it is not complete, -3 when trailers come. Extensions: none. */
static int model_chunked(struct span in) {
    int content = 0;
    for (size_t at = 0;;) {
        size_t size = 0, digits = 0;
        for (; at < in.len && strchr("0123456789abcdef", in.data[at]) != NULL && in.data[at] != '\0'; at++, digits++) {
            size = size * 16 + (size_t)(in.data[at] <= '9' ? in.data[at] - '0' : in.data[at] - 'a' + 10);
        }
        if (at == in.len) {
            return digits > 16 ? -1 : -2;
        }
        if (digits == 0 || digits > 16 || in.data[at] != '\r') {
            return -1;
        }
        if (at + 1 == in.len) {
            return -2;
        }
        if (in.data[at + 1] != '\n') {
            return -1;
        }
        at += 2;
        size_t left = in.len - at, need = size == 0 ? 0 : size;
        if (left < need) {
            return -2;
        }
        at += need;
        content += (int)need;
        if (at < in.len && in.data[at] != '\r') {
            return size == 0 ? -3 : -1;
        }
        if (at + 1 < in.len && in.data[at + 1] != '\n') {
            return -1;
        }
        if (at + 1 >= in.len) {
            return -2;
        }
        at += 2;
        if (size == 0) {
            return content;
        }
    }
}

static void test_random_chunks(void **state) {
    (void)state;
    static const char *const pieces[] = { "0", "1", "3", "5", "a", "\r\n", "\r\n", "\r\n", "\r", "\n", "x", "yz",
        "hello", "0\r\n\r\n" };
    struct random random = random_seeded("body");
    for (int round = 0; round < 30000; round++) {
        char text[512];
        size_t start = (size_t)sprintf(text, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"),
            len = start;
        for (uint32_t n = random_below(&random, 9); n > 0; n--) {
            len += (size_t)sprintf(text + len, "%s", pieces[random_below(&random, sizeof pieces / sizeof *pieces)]);
        }
        int expected = model_chunked(span_of(text + start, len - start));
        rig_reset(&rig);
        rig_feed_pieces(&rig, span_of(text, len), random_below(&random, (uint32_t)len + 1), random_below(&random,
                        20) + 1);
        const char *out = rig_summary(&rig);
        const char *start_of_answer = expected == -2 ? "" : expected == -1 ? "400" : "200";
        bool good = expected == -2 ? out[0] == '\0' : strncmp(out, start_of_answer, 3) == 0;
        if (!good && expected != -3) {
            fail_msg("model says %d, came out \"%s\": %s", expected, out, text + start);
        }
        if (expected >= 0) {
            assert_int_equal(rig.ready > 0, true);
        }
        rig_release(&rig);
    }
}

#define WITH_RIG(test) { #test, test, open_rig, close_rig, NULL }

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, http_row_test, body_rows);
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_continue),
        WITH_RIG(test_no_continue),
        WITH_RIG(test_no_continue_for_chunks),
        WITH_RIG(test_no_continue_without_body),
        WITH_RIG(test_continue_waits_for_its_turn),
        WITH_RIG(test_no_continue_but_an_error),
        WITH_RIG(test_large_bodies),
        WITH_RIG(test_no_slot),
        WITH_RIG(test_endless_stream),
        WITH_RIG(test_random_chunks),
    };
    return rows_run("body rows", &rows) + cmocka_run_group_tests_name("body", tests, NULL, NULL);
}
