/* The generator's view of responses: each row whole, at every cut and byte by byte, with and without a known head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "load_reply.h"

struct row {
    const char *name;
    const char *bytes;
    uint32_t status; /* expected */
    int64_t length;  /* expected, -1: any */
    const char *body; /* expected, or NULL */
    enum reply_verdict verdict;
};

#define DATE "Date: Sat, 21 Nov 2026 20:00:00 GMT\r\n"

static const struct row rows[] = {
    { "a body of the right length", "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 2\r\n\r\nok", 200, 2, NULL, REPLY_RIGHT },
    { "the right body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" DATE "\r\nok", 200, 2, "ok", REPLY_RIGHT },
    { "blanks before the length", "HTTP/1.1 200 OK\r\nContent-Length:   \t 2 \r\n\r\nok", 200, 2, "ok", REPLY_RIGHT },
    { "no blank before the length", "HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok", 200, 2, "ok", REPLY_RIGHT },
    { "no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, 0, NULL, REPLY_RIGHT },
    { "any length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", 200, -1, NULL, REPLY_RIGHT },
    { "204 has no body: RFC 9112 §6.3", "HTTP/1.1 204 No Content\r\n" DATE "\r\n", 204, 0, NULL, REPLY_RIGHT },
    { "304 has a length and no body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, 0, NULL, REPLY_RIGHT },
    { "another status", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno", 200, 2, NULL, REPLY_STATUS },
    { "one byte more", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok!", 200, 2, "ok", REPLY_LENGTH },
    { "one byte less", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\no", 200, 2, "ok", REPLY_LENGTH },
    { "no body at all", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 2, NULL, REPLY_LENGTH },
    { "another body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 200, 2, "ok", REPLY_BODY },
    { "a body that differs at its end", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcX", 200, 4, "abcd", REPLY_BODY },
    { "no length", "HTTP/1.1 200 OK\r\n" DATE "\r\n", 200, -1, NULL, REPLY_MALFORMED },
    { "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", 200, 2, NULL, REPLY_MALFORMED },
    { "a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\n", 200, 2, NULL, REPLY_MALFORMED },
    { "a length that is empty", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", 200, 2, NULL, REPLY_MALFORMED },
    { "chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, 2, NULL, REPLY_MALFORMED },
    { "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, NULL, REPLY_MALFORMED },
    { "no status", "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, NULL, REPLY_MALFORMED },
    { "a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, NULL, REPLY_MALFORMED },
    { "an interim response", "HTTP/1.1 100 Continue\r\n\r\n", 200, 0, NULL, REPLY_MALFORMED },
    { "a field without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", 200, 0, NULL, REPLY_MALFORMED },
    { "a field without a name", "HTTP/1.1 200 OK\r\n: 5\r\n\r\n", 200, 0, NULL, REPLY_MALFORMED },
};

struct rig {
    char carry[REPLY_HEAD_BYTES_MAX];
    struct reply_reader reader;
    struct reply_expect expect;
};

static void rig_init(struct rig *rig, const struct row *row) {
    memset(rig, 0, sizeof *rig);
    rig->reader.carry = rig->carry;
    rig->expect.status = row->status;
    rig->expect.length_known = row->length >= 0;
    rig->expect.length = row->length >= 0 ? (uint64_t)row->length : 0;
    rig->expect.has_body = row->body != NULL;
    rig->expect.body = row->body == NULL ? (struct span){ 0 } : span_text(row->body);
}

/* Feeds a piece from memory that ends with it; what is left of it goes to *left. */
static enum reply_verdict feed(struct rig *rig, const char *bytes, size_t len, size_t *left) {
    char *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    struct span input = span_of(copy, len);
    enum reply_verdict verdict = reply_next(&rig->reader, &input, &rig->expect);
    *left = input.len;
    free(copy);
    return verdict;
}

static void feed_cut(struct rig *rig, const struct row *row, size_t cut) {
    size_t len = strlen(row->bytes), left;
    enum reply_verdict first = feed(rig, row->bytes, cut, &left);
    if (first != REPLY_MORE) {
        assert_int_equal(first, REPLY_MALFORMED);
        assert_int_equal(row->verdict, REPLY_MALFORMED);
        return;
    }
    assert_int_equal(left, 0);
    assert_int_equal(feed(rig, row->bytes + cut, len - cut, &left), row->verdict);
    assert_true(row->verdict == REPLY_MALFORMED || left == 0);
}

static void test_row(void **state) {
    const struct row *row = *state;
    size_t len = strlen(row->bytes);
    struct rig rig;
    for (size_t cut = 0; cut < len; cut++) {
        rig_init(&rig, row);
        feed_cut(&rig, row, cut);
    }
    rig_init(&rig, row);
    enum reply_verdict verdict = REPLY_MORE;
    size_t at = 0, left;
    while (at < len && verdict == REPLY_MORE) {
        verdict = feed(&rig, row->bytes + at++, 1, &left);
    }
    assert_int_equal(verdict, row->verdict);
    assert_true(row->verdict == REPLY_MALFORMED || at == len);
}

/* The same rows behind a response that taught the reader its head. */
static void test_row_with_known_head(void **state) {
    const struct row *row = *state;
    static const char good[] = "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 2\r\n\r\nok";
    if (row->status != 200 || row->length != 2) {
        return;
    }
    size_t left;
    for (size_t cut = 0; cut < strlen(row->bytes); cut++) {
        struct rig rig;
        rig_init(&rig, row);
        assert_int_equal(feed(&rig, good, sizeof good - 1, &left), REPLY_RIGHT);
        assert_int_equal(rig.expect.known.bytes, sizeof good - 3);
        feed_cut(&rig, row, cut);
    }
}

static void test_known_head_with_another_date(void **state) {
    (void)state;
    const struct row row = { .status = 200, .length = 2, .body = "ok" };
    static const char *const dates[] = { "Sat, 21 Nov 2026 20:00:00 GMT", "Sun, 22 Nov 2026 00:00:01 GMT" };
    struct rig rig;
    rig_init(&rig, &row);
    for (size_t i = 0; i < 4; i++) {
        char bytes[128];
        size_t left;
        int len = snprintf(bytes, sizeof bytes, "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 2\r\n\r\n%s", dates[i % 2],
                           i == 3 ? "no" : "ok");
        assert_int_equal(feed(&rig, bytes, (size_t)len, &left), i == 3 ? REPLY_BODY : REPLY_RIGHT);
        assert_int_equal(rig.reader.status, 200);
    }
}

static void test_several_in_one_piece(void **state) {
    (void)state;
    const struct row row = { .status = 200, .length = 2, .body = "ok" };
    static const char bytes[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                                "HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\n.HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    static const enum reply_verdict verdicts[] = { REPLY_RIGHT, REPLY_RIGHT, REPLY_STATUS, REPLY_RIGHT, REPLY_MORE };
    struct rig rig;
    rig_init(&rig, &row);
    struct span input = span_of(bytes, sizeof bytes - 1);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(reply_next(&rig.reader, &input, &rig.expect), verdicts[i]);
    }
    assert_int_equal(input.len, 0);
}

static void test_length_same_demands_the_first_length(void **state) {
    (void)state;
    const struct row row = { .status = 200, .length = -1 };
    struct rig rig;
    rig_init(&rig, &row);
    size_t left;
    static const char three[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    static const char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
    assert_int_equal(feed(&rig, three, sizeof three - 1, &left), REPLY_RIGHT);
    assert_int_equal(feed(&rig, two, sizeof two - 1, &left), REPLY_LENGTH);
    assert_int_equal(feed(&rig, three, sizeof three - 1, &left), REPLY_RIGHT);
}

static void test_a_head_too_long_is_malformed(void **state) {
    (void)state;
    const struct row row = { .status = 200, .length = 2 };
    struct rig rig;
    rig_init(&rig, &row);
    char *bytes = malloc(REPLY_HEAD_BYTES_MAX + 1);
    assert_non_null(bytes);
    memset(bytes, 'a', REPLY_HEAD_BYTES_MAX + 1);
    size_t left;
    assert_int_equal(feed(&rig, bytes, REPLY_HEAD_BYTES_MAX - 1, &left), REPLY_MORE);
    assert_int_equal(feed(&rig, bytes, 2, &left), REPLY_MALFORMED);
    free(bytes);
}

int main(void) {
    enum { ROWS = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[2 * ROWS + 4];
    size_t n = 0;
    for (size_t i = 0; i < ROWS; i++) {
        tests[n++] = (struct CMUnitTest){ rows[i].name, test_row, NULL, NULL, (void *)(uintptr_t)&rows[i] };
        tests[n++] = (struct CMUnitTest){ rows[i].name, test_row_with_known_head, NULL, NULL, (void *)(uintptr_t)&rows[i] };
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_known_head_with_another_date);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_several_in_one_piece);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_length_same_demands_the_first_length);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_a_head_too_long_is_malformed);
    return _cmocka_run_group_tests("load_reply", tests, n, NULL, NULL);
}
