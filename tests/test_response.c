#include <stdio.h>

#include "http/http_priv.h"
#include "http_rows.h"

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static struct rig rig;
static struct http_exchange *x; /* whose response the test writes */

static int close_rig(void **state) {
    (void)state;
    rig_release(&rig);
    bool clean = rig_leak(&rig) == NULL;
    rig_close(&rig);
    return clean ? 0 : -1;
}

/* Begins an exchange with this request, which must be complete. */
static void request(const char *text) {
    static char kept[512];
    strcpy(kept, text);
    struct span input = span_text(kept), piece;
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_READY);
    assert_int_equal(input.len, 0);
}

static int open_rig(void **state) {
    (void)state;
    rig_open(&rig, &rig_plenty);
    return 0;
}

static int open_get(void **state) {
    open_rig(state);
    request(GET("/ok"));
    return 0;
}

static void expect(const char *text) {
    http_exchange_finish(x);
    rig_take_output(&rig);
    rig.output[rig.output_len] = '\0';
    assert_string_equal(rig.output, text);
}

/* ---------------------------------------------------------------------------------------------------- exact bytes ---- */

struct bytes_row {
    const char *name;
    const char *request;
    int status;
    const char *type, *body;
    bool begun; /* http_response_begin and _write, else http_response_whole */
    const char *out;
};

#define OK "HTTP/1.1 200 OK\r\n" DATE
#define TEXT "Content-Type: text/plain\r\n"

static const struct bytes_row bytes_rows[] = {
    /* RFC 9112 §4, §6.2; RFC 9110 §6.6.1, §8.3, §8.6 */
    { "whole", GET("/ok"), 200, "text/plain", "ok", false, OK TEXT "Content-Length: 2\r\n\r\nok" },
    { "begun", GET("/ok"), 200, "text/plain", "ok", true, OK TEXT "Content-Length:          2\r\n\r\nok" },
    { "whole, empty", GET("/ok"), 200, "text/plain", "", false, OK TEXT "Content-Length: 0\r\n\r\n" },
    { "begun, empty", GET("/ok"), 200, "text/plain", "", true, OK TEXT "Content-Length:          0\r\n\r\n" },
    { "no type", GET("/ok"), 200, "", "x", false, OK "Content-Length: 1\r\n\r\nx" },
    { "a status without a reason", GET("/ok"), 299, "", "x", false, "HTTP/1.1 299 \r\n"
      DATE "Content-Length: 1\r\n\r\nx" },
    { "the longest reason", GET("/ok"), 511, "", "", false,
      "HTTP/1.1 511 Network Authentication Required\r\n" DATE "Content-Length: 0\r\n\r\n" },
    { "the longest reason and a long type", GET("/ok"), 511, "application/x-0123456789abcdefgh", "", false,
      "HTTP/1.1 511 Network Authentication Required\r\n" DATE
      "Content-Type: application/x-0123456789abcdefgh\r\nContent-Length: 0\r\n\r\n" },
    { "a longer type", GET("/ok"), 200, "application/x-0123456789abcdefghi", "", true,
      OK "Content-Type: application/x-0123456789abcdefghi\r\nContent-Length:          0\r\n\r\n" },
    /* RFC 9110 §9.3.2: as GET, without the content */
    { "HEAD, whole", "HEAD /ok HTTP/1.1\r\n" H "\r\n", 200, "text/plain", "ok", false,
      OK TEXT "Content-Length: 2\r\n\r\n" },
    { "HEAD, begun", "HEAD /ok HTTP/1.1\r\n" H "\r\n", 200, "text/plain", "ok", true,
      OK TEXT "Content-Length:          2\r\n\r\n" },
    /* RFC 9110 §15.3.5, §15.4.5, §8.6: no content, no length */
    { "204, whole", GET("/ok"), 204, "", "no", false, "HTTP/1.1 204 No Content\r\n" DATE "\r\n" },
    { "204, begun", GET("/ok"), 204, "", "no", true, "HTTP/1.1 204 No Content\r\n" DATE "\r\n" },
    { "304", GET("/ok"), 304, "", "no", false, "HTTP/1.1 304 Not Modified\r\n" DATE "\r\n" },
    /* RFC 9110 §15.3.6: no content, but it must be said */
    { "205, whole", GET("/ok"), 205, "", "no", false, "HTTP/1.1 205 Reset Content\r\n" DATE "Content-Length: 0\r\n\r\n" },
    { "205, begun", GET("/ok"), 205, "", "no", true, "HTTP/1.1 205 Reset Content\r\n" DATE "Content-Length: 0\r\n\r\n" },
    /* RFC 9112 §9.3, §9.6 */
    { "close", "GET /ok HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 200, "", "ok", false,
      OK "Connection: close\r\nContent-Length: 2\r\n\r\nok" },
    { "1.0", "GET /ok HTTP/1.0\r\n\r\n", 200, "", "ok", true,
      OK "Connection: close\r\nContent-Length:          2\r\n\r\nok" },
    { "1.0, keep-alive", "GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "", "ok", false,
      OK "Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok" },
    /* mistakes of the application: 500 */
    { "status too small", GET("/ok"), 199, "", "x", false,
      "HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT "Content-Length: 22\r\n\r\nInternal Server Error\n" },
    { "status too great", GET("/ok"), 600, "", "x", true,
      "HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT "Content-Length: 22\r\n\r\nInternal Server Error\n" },
    { "CRLF in the type", GET("/ok"), 200, "text/plain\r\nX: y", "x", false,
      "HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT "Content-Length: 22\r\n\r\nInternal Server Error\n" },
};

static void test_bytes(void **state) {
    const struct bytes_row *row = *state;
    void *nothing = NULL;
    open_rig(&nothing);
    request(row->request);
    if (row->begun) {
        http_response_begin(x, row->status, span_text(row->type));
        http_response_write(x, span_text(row->body));
    } else {
        http_response_whole(x, row->status, span_text(row->type), span_text(row->body));
    }
    expect(row->out);
    assert_int_equal(close_rig(&nothing), 0);
}

/* --------------------------------------------------------------------------------------------------------- fields ---- */

static void test_fields(void **state) {
    (void)state;
    http_response_field(x, SPAN("X-One"), SPAN("1"));
    assert_non_null(arena_take(&x->workspace, 100)); /* the fields move behind it */
    http_response_field(x, SPAN("X-Two"), SPAN(""));
    http_response_field(x, SPAN("X-Three"), SPAN("a\tb \xc3\xa4"));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("ok"));
    expect(OK TEXT "X-One: 1\r\nX-Two: \r\nX-Three: a\tb \xc3\xa4\r\nContent-Length: 2\r\n\r\nok");
}

/* RFC 9110 §5.1, §5.5; and what this module writes itself. */
static void test_bad_fields(void **state) {
    (void)state;
    static const struct {
        struct span name, value;
    } bad[] = {
        { SPAN(""), SPAN("x") },           { SPAN("X Y"), SPAN("x") },          { SPAN("X:"), SPAN("x") },
        { SPAN("X\r\nY"), SPAN("x") },     { SPAN("X"), SPAN("a\r\nb: c") },    { SPAN("X"), SPAN("a\nb") },
        { SPAN("X"), SPAN("a\0b") },       { SPAN("X"), SPAN("\x7f") },         { SPAN("content-length"), SPAN("5") },
        { SPAN("Transfer-Encoding"), SPAN("chunked") }, { SPAN("Connection"), SPAN("close") }, { SPAN("DATE"),
          SPAN("x") },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        request(GET("/ok"));
        http_response_field(x, SPAN("X-Good"), SPAN("1"));
        http_response_field(x, bad[i].name, bad[i].value);
        http_response_whole(x, 200, SPAN("text/plain"), SPAN("ok"));
        rig.output_len = 0;
        expect("HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT "Content-Length: 22\r\n\r\nInternal Server Error\n");
    }
}

/* A field after the head was written comes too late. */
static void test_late_field(void **state) {
    (void)state;
    http_response_begin(x, 200, SPAN("text/plain"));
    http_response_field(x, SPAN("X"), SPAN("1"));
    expect("HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT "Content-Length: 22\r\n\r\nInternal Server Error\n");
}

/* More fields than a block holds, and more than the workspace does. */
static void test_large_fields(void **state) {
    (void)state;
    char value[1000], name[16];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "X-%d", i);
        http_response_field(x, span_text(name), span_of(value, sizeof value));
    }
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("ok"));
    http_exchange_finish(x);
    assert_string_equal(rig_summary(&rig), "200:ok");
    assert_true(rig.output_len > 7000);
    request(GET("/ok"));
    for (int i = 0; i < 60; i++) {
        http_response_field(x, SPAN("X"), span_of(value, sizeof value));
    }
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("ok"));
    http_exchange_finish(x);
    assert_string_equal(rig_summary(&rig), "200:ok 500");
}

/* Large fields and not enough blocks, wherever they run out. */
static void test_large_fields_without_blocks(void **state) {
    (void)state;
    char value[1300];
    memset(value, 'v', sizeof value);
    for (uint32_t blocks = 0; blocks < 4; blocks++) {
        struct rig_sizes sizes = rig_plenty;
        sizes.blocks = blocks;
        rig_close(&rig);
        rig_open(&rig, &sizes);
        request(GET("/ok"));
        for (int i = 0; i < 6; i++) {
            http_response_field(x, SPAN("X"), span_of(value, sizeof value));
        }
        http_response_whole(x, 200, SPAN("text/plain"), SPAN("ok"));
        http_exchange_finish(x);
        static const char *const out[] = { "closed", "503", "503", "200:ok" };
        assert_string_equal(rig_summary(&rig), out[blocks]);
    }
}

/* The templates follow the date. */
static void test_date_changes(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        char expected[256], date[HTTP_DATE_BYTES + 1];
        http_date(1000000000 + i / 2, date);
        memcpy(rig.shared.date, date, sizeof date);
        request(GET("/ok"));
        http_response_whole(x, 200, SPAN("text/plain"), SPAN("ok"));
        snprintf(expected, sizeof expected, "HTTP/1.1 200 OK\r\nDate: %s\r\n" TEXT "Content-Length: 2\r\n\r\nok", date);
        rig.output_len = 0;
        expect(expected);
    }
}

/* Types that share a template's place don't mix. */
static void test_types_share_a_place(void **state) {
    (void)state;
    static const char *const types[] = { "text/plain", "text/plaid", "text/html1", "image/png1", "a/b", "a/c" };
    for (int i = 0; i < 60; i++) {
        char expected[256];
        const char *type = types[i * 7 % 6];
        request(GET("/ok"));
        http_response_whole(x, i % 2 == 0 ? 200 : 404, span_text(type), SPAN("ok"));
        snprintf(expected, sizeof expected, "HTTP/1.1 %s\r\n" DATE "Content-Type: %s\r\nContent-Length: 2\r\n\r\nok",
                 i % 2 == 0 ? "200 OK" : "404 Not Found", type);
        rig.output_len = 0;
        expect(expected);
    }
}

/* ------------------------------------------------------------------------------------------------------ misuse ---- */

static void test_two_responses(void **state) {
    (void)state;
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("one"));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("two"));
    http_exchange_finish(x);
    assert_string_equal(rig_summary(&rig), "500");
}

static void test_write_without_begin(void **state) {
    (void)state;
    http_response_write(x, SPAN("x"));
    assert_null(http_response_reserve(x, 10));
    http_exchange_finish(x);
    assert_string_equal(rig_summary(&rig), "500");
}

static void test_write_after_whole(void **state) {
    (void)state;
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("one"));
    http_response_write(x, SPAN("two"));
    http_exchange_finish(x);
    assert_string_equal(rig_summary(&rig), "500");
}

/* The first failure counts; the calls after it are harmless. RFC 9110 §10.2.3: Retry-After */
static void test_fail(void **state) {
    (void)state;
    http_response_field(x, SPAN("X-Lost"), SPAN("1"));
    http_response_begin(x, 200, SPAN("text/plain"));
    http_response_write(x, SPAN("lost"));
    http_response_fail(x, 503);
    http_response_fail(x, 500);
    http_response_write(x, SPAN("lost"));
    http_response_field(x, SPAN("X-Lost"), SPAN("2"));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("lost"));
    assert_null(http_response_reserve(x, 1));
    expect("HTTP/1.1 503 Service Unavailable\r\n" DATE TEXT
           "Retry-After: 1\r\nContent-Length: 20\r\n\r\nService Unavailable\n");
}

static void test_fail_of_head(void **state) {
    (void)state;
    http_exchange_finish(x);
    rig_take_output(&rig);
    rig.output_len = 0;
    request("HEAD /ok HTTP/1.1\r\n" H "\r\n");
    http_response_fail(x, 500);
    expect("HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT "Content-Length: 22\r\n\r\n");
}

/* RFC 9110 §15.5.6: Allow */
static void test_allow(void **state) {
    (void)state;
    rig_feed(&rig, SPAN("PATCH /ok HTTP/1.1\r\n" H "\r\n"));
    rig_take_output(&rig);
    rig.output[rig.output_len] = '\0';
    assert_string_equal(rig.output, "HTTP/1.1 405 Method Not Allowed\r\n" DATE TEXT
                                    "Allow: GET, HEAD, OPTIONS\r\nContent-Length: 19\r\n\r\nMethod Not Allowed\n");
}

/* RFC 9110 §9.3.7, §10.2.1: what a path can do, its body dropped; a route of the application's own comes first. */
static void test_options(void **state) {
    (void)state;
    rig_feed(&rig, SPAN("OPTIONS /ok HTTP/1.1\r\n" H "\r\n"));
    rig_take_output(&rig);
    rig.output[rig.output_len] = '\0';
    assert_string_equal(rig.output, "HTTP/1.1 204 No Content\r\n" DATE "Allow: GET, HEAD, OPTIONS\r\n\r\n");
    rig.output_len = 0;
    rig_feed(&rig, SPAN("OPTIONS /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc"));
    rig_take_output(&rig);
    rig.output[rig.output_len] = '\0';
    assert_string_equal(rig.output, "HTTP/1.1 204 No Content\r\n" DATE "Allow: POST, OPTIONS\r\n\r\n");
    rig_feed(&rig, SPAN("OPTIONS /own HTTP/1.1\r\n" H "\r\n" "OPTIONS /no HTTP/1.1\r\n" H "\r\n"));
    assert_string_equal(rig_summary(&rig), "204 200:ok 404");
}

/* A body larger than what the worker has: rolled back, and the blocks are free again. */
static void test_outgrows(void **state) {
    (void)state;
    struct rig_sizes sizes = rig_plenty;
    sizes.blocks = 4;
    rig_close(&rig);
    rig_open(&rig, &sizes);
    static char body[20000];
    memset(body, 'b', sizeof body);
    for (int how = 0; how < 3; how++) {
        rig_feed(&rig, SPAN(GET("/ok")));
        request(GET("/ok"));
        if (how == 0) {
            http_response_whole(x, 200, SPAN("text/plain"), span_of(body, sizeof body));
        } else {
            http_response_begin(x, 200, SPAN("text/plain"));
            for (int i = 0; i < 20; i++) {
                char *room = how == 1 ? NULL : http_response_reserve(x, 1000);
                if (room != NULL) {
                    http_response_commit(x, 1000);
                } else if (how == 1) {
                    http_response_write(x, span_of(body, 1000));
                }
            }
        }
        assert_int_equal(rig.blocks.free_count, 3);
        http_exchange_finish(x);
        assert_string_equal(rig_summary(&rig), "200:ok 503");
        rig.output_len = 0;
    }
    assert_int_equal(rig.shared.responses[0], 3);
}

/* Reasons: RFC 9110 §15 */
static void test_reasons(void **state) {
    (void)state;
    assert_true(span_equal(http_reason(200), SPAN("OK")));
    assert_true(span_equal(http_reason(413), SPAN("Content Too Large")));
    assert_true(span_equal(http_reason(505), SPAN("HTTP Version Not Supported")));
    assert_int_equal(http_reason(0).len, 0);
    assert_int_equal(http_reason(100).len, 0);
    assert_int_equal(http_reason(299).len, 0);
    assert_int_equal(http_reason(1000).len, 0);
    assert_int_equal(http_reason(-200).len, 0);
    http_exchange_finish(x);
}

/* A length of more digits than the hole has. */
static void test_too_long(void **state) {
    (void)state;
    http_exchange_finish(x);
    rig_take_output(&rig);
    rig.output_len = 0;
    request("HEAD /ok HTTP/1.1\r\n" H "\r\n");
    http_response_begin(x, 200, SPAN("text/plain"));
    while (x->body_written <= UINT64_C(9999999999)) {
        assert_non_null(http_response_reserve(x, HTTP_RESERVE_BYTES_MAX));
        http_response_commit(x, HTTP_RESERVE_BYTES_MAX);
    }
    http_exchange_finish(x);
    assert_string_equal(rig_summary(&rig), "500(22)");
}

/* HEAD: reserving works and nothing of it is sent. */
static void test_reserve_for_head(void **state) {
    (void)state;
    http_exchange_finish(x);
    rig_take_output(&rig);
    rig.output_len = 0;
    request("HEAD /ok HTTP/1.1\r\n" H "\r\n");
    http_response_begin(x, 200, SPAN("text/plain"));
    for (int i = 0; i < 10; i++) {
        char *room = http_response_reserve(x, HTTP_RESERVE_BYTES_MAX);
        assert_non_null(room);
        memset(room, 'z', HTTP_RESERVE_BYTES_MAX);
        http_response_commit(x, HTTP_RESERVE_BYTES_MAX);
    }
    char expected[512];
    snprintf(expected, sizeof expected, OK TEXT "Content-Length:      %d\r\n\r\n", 10 * HTTP_RESERVE_BYTES_MAX);
    expect(expected);
}

#define WITH_GET(test) { #test, test, open_get, close_rig, NULL }
#define WITH_RIG(test) { #test, test, open_rig, close_rig, NULL }

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_bytes, bytes_rows);
    const struct CMUnitTest tests[] = {
        WITH_GET(test_fields),
        WITH_RIG(test_bad_fields),
        WITH_GET(test_late_field),
        WITH_GET(test_large_fields),
        WITH_RIG(test_large_fields_without_blocks),
        WITH_RIG(test_date_changes),
        WITH_RIG(test_types_share_a_place),
        WITH_GET(test_too_long),
        WITH_GET(test_two_responses),
        WITH_GET(test_write_without_begin),
        WITH_GET(test_write_after_whole),
        WITH_GET(test_fail),
        WITH_GET(test_fail_of_head),
        WITH_RIG(test_allow),
        WITH_RIG(test_options),
        WITH_RIG(test_outgrows),
        WITH_GET(test_reasons),
        WITH_GET(test_reserve_for_head),
    };
    return rows_run("response bytes", &rows) + cmocka_run_group_tests_name("response", tests, NULL, NULL);
}
