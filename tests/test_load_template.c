/* Template files, tapes and the histogram of the generator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "load_histogram.h"
#include "load_template.h"

static bool parse(const char *text, struct load_template *out, char why[LOAD_WHY_BYTES]) {
    why[0] = 0;
    return load_template_parse(strdup(text), strlen(text), "file", out, why);
}

static void must_parse(const char *text, struct load_template *out) {
    char why[LOAD_WHY_BYTES];
    if (!parse(text, out, why)) {
        fail_msg("%s", why);
    }
}

static void assert_bytes(const struct load_request *request, const char *expected) {
    assert_int_equal(request->len, strlen(expected));
    assert_memory_equal(request->bytes, expected, request->len);
}

static void test_requests_and_expectations(void **state) {
    (void)state;
    struct load_template template;
    must_parse("a comment\n"
               "=== 200 body=ok go\n"
               "GET / HTTP/1.1\nHost: a\n\n"
               "=== 404 times=3 length=7\r\n"
               "POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\n20\r\n"
               "=== 200 fill=3 length=same\n"
               "POST /c HTTP/1.1\nContent-Length: 3\n\n"
               "=== 200\n"
               "POST /d HTTP/1.1\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n",
               &template);
    assert_int_equal(template.count, 4);
    const struct load_request *r = template.requests;
    assert_bytes(&r[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_bytes(&r[1], "POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\n20");
    assert_bytes(&r[2], "POST /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nxxx");
    assert_bytes(&r[3], "POST /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    assert_true(r[0].expect.has_body);
    assert_true(span_equal(r[0].expect.body, SPAN("ok go")));
    assert_int_equal(r[0].expect.length, 5);
    assert_int_equal(r[1].expect.status, 404);
    assert_int_equal(r[1].expect.length, 7);
    assert_true(r[1].expect.length_known);
    assert_int_equal(r[1].times, 3);
    assert_false(r[2].expect.length_known);
    assert_false(r[3].expect.length_known);
    load_template_release(&template);
}

static const struct bad {
    const char *name, *text, *why;
} bad[] = {
    { "empty", "", "file:0: no request" },
    { "only comments", "hello\n", "file:1: no request" },
    { "no status", "=== \nGET / HTTP/1.1\n\n", "file:1: a marker" },
    { "a status that is none", "=== 1000\nGET / HTTP/1.1\n\n", "file:1: a marker" },
    { "an interim status", "=== 100\nGET / HTTP/1.1\n\n", "file:1: a marker" },
    { "an unknown word", "=== 200 lenght=4\nGET / HTTP/1.1\n\n", "file:1: after the status" },
    { "a length that is none", "=== 200 length=x\nGET / HTTP/1.1\n\n", "file:1: after the status" },
    { "no times", "=== 200 times=0\nGET / HTTP/1.1\n\n", "file:1: after the status" },
    { "no end of the head", "=== 200\nGET / HTTP/1.1\n", "has no empty line" },
    { "no request", "=== 200\n=== 200\nGET / HTTP/1.1\n\n", "has no empty line" },
};

static void test_bad(void **state) {
    const struct bad *row = *state;
    struct load_template template;
    char why[LOAD_WHY_BYTES];
    assert_false(parse(row->text, &template, why));
    if (strstr(why, row->why) == NULL) {
        fail_msg("'%s' does not say '%s'", why, row->why);
    }
    load_template_release(&template);
}

/* Any `depth` requests in a row are one piece, also across the end of the period. */
static void test_tape(void **state) {
    (void)state;
    struct load_template template;
    char why[LOAD_WHY_BYTES];
    must_parse("=== 200\nA\n\n=== 200 times=2\nBB\n\n", &template);
    for (uint64_t seed = 0; seed < 3; seed++) {
        struct load_tape tape;
        enum { DEPTH = 5 };
        assert_true(load_tape_make(&template, DEPTH, seed, &tape, why));
        assert_int_equal(tape.period, seed == 0 ? 3 : 1024);
        uint32_t counts[2] = { 0 };
        for (uint32_t at = 0; at < tape.period; at++) {
            char expected[64] = "";
            for (uint32_t i = 0; i < DEPTH; i++) {
                strncat(expected, tape.which[(at + i) % tape.period] == 0 ? "A\r\n\r\n" : "BB\r\n\r\n", 10);
            }
            assert_true(span_equal(load_tape_span(&tape, at, DEPTH), span_text(expected)));
            counts[tape.which[at]]++;
        }
        if (seed == 0) {
            assert_int_equal(counts[1], 2);
        } else {
            assert_in_range(counts[1], 600, 760);
        }
        load_tape_release(&tape);
    }
    load_template_release(&template);
}

static void test_histogram_error_is_below_two_percent(void **state) {
    (void)state;
    static struct histogram histogram;
    for (uint64_t value = 1; value < UINT64_C(1) << 40; value = value * 3 / 2 + 1) {
        memset(&histogram, 0, sizeof histogram);
        histogram_add(&histogram, value);
        histogram_add(&histogram, value * 4);
        uint64_t got = histogram_quantile(&histogram, 0.5);
        assert_true(got >= value);
        assert_true((double)(got - value) <= (double)value / 64);
        assert_int_equal(histogram_quantile(&histogram, 1), value * 4);
        assert_int_equal(histogram.min_ns, value);
    }
}

static void test_histogram_quantiles(void **state) {
    (void)state;
    static struct histogram histogram;
    memset(&histogram, 0, sizeof histogram);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    for (uint64_t value = 1; value <= 50; value++) {
        histogram_add(&histogram, value);
    }
    assert_int_equal(histogram_quantile(&histogram, 0), 1);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 25);
    assert_int_equal(histogram_quantile(&histogram, 0.9), 45);
    assert_int_equal(histogram_quantile(&histogram, 1), 50);
    assert_int_equal(histogram_mean(&histogram), 25);
    histogram_add(&histogram, UINT64_MAX);
    assert_int_equal(histogram_quantile(&histogram, 0.9), 46);
}

int main(void) {
    enum { BAD = sizeof bad / sizeof *bad };
    struct CMUnitTest tests[BAD + 4];
    size_t n = 0;
    for (size_t i = 0; i < BAD; i++) {
        tests[n++] = (struct CMUnitTest){ bad[i].name, test_bad, NULL, NULL, (void *)(uintptr_t)&bad[i] };
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_requests_and_expectations);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_tape);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_histogram_error_is_below_two_percent);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_histogram_quantiles);
    return _cmocka_run_group_tests("load_template", tests, n, NULL, NULL);
}
