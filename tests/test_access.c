/* Lines of the access log: the three formats, escaping, and clients that try to forge a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"
#include "server/access.h"

static char out[1 << 20];

static const char *write_entry(const struct access_entry *entry, enum access_format format) {
    size_t bound = access_bytes_max(entry, format);
    assert_true(bound < sizeof out);
    memset(out, 0x7e, bound + 64);
    char *end = access_write(out, entry, format);
    assert_true((size_t)(end - out) <= bound);
    for (size_t i = bound; i < bound + 64; i++) {
        assert_int_equal(out[i], 0x7e); /* nothing is written behind the bound */
    }
    assert_int_equal(end[-1], '\n');
    end[-1] = '\0';
    return out;
}

static struct access_entry plain(void) {
    return (struct access_entry){
        .stamp = SPAN("21/Nov/2026:23:43:46 +0000"), .address = SPAN("192.0.2.7"), .method = SPAN("GET"),
        .target = SPAN("/path?q"), .path = SPAN("/path"), .query = SPAN("q"), .route = SPAN("/{name}"),
        .referer = SPAN("http://a/"), .agent = SPAN("test/1"), .status = 200, .version_minor = 1, .bytes_in = 5,
        .bytes_out = 1234, .duration_us = 77, .worker = 3, .conn_slot = 8, .conn_generation = 2,
    };
}

static void test_formats(void **state) {
    (void)state;
    struct access_entry entry = plain();
    assert_string_equal(write_entry(&entry, ACCESS_COMMON),
                        "192.0.2.7 - - [21/Nov/2026:23:43:46 +0000] \"GET /path?q HTTP/1.1\" 200 1234");
    assert_string_equal(write_entry(&entry, ACCESS_COMBINED),
                        "192.0.2.7 - - [21/Nov/2026:23:43:46 +0000] \"GET /path?q HTTP/1.1\" 200 1234 \"http://a/\" \"test/1\"");
    entry.stamp = SPAN("2026-11-21T23:43:46.123Z");
    assert_string_equal(write_entry(&entry, ACCESS_JSON),
                        "{\"ts\":\"2026-11-21T23:43:46.123Z\",\"remote_addr\":\"192.0.2.7\",\"method\":\"GET\",\"path\":\"/path\","
                        "\"query\":\"q\",\"route\":\"/{name}\",\"proto\":\"HTTP/1.1\",\"referer\":\"http://a/\","
                        "\"user_agent\":\"test/1\",\"status\":200,\"bytes_in\":5,\"bytes_out\":1234,\"dur_us\":77,\"worker\":3,"
                        "\"conn\":\"8.2\"}");
}

static void test_nothing_known(void **state) {
    (void)state;
    struct access_entry entry = { .stamp = SPAN("T"), .status = 400 };
    assert_string_equal(write_entry(&entry, ACCESS_COMMON), "- - - [T] \"-\" 400 0");
    assert_string_equal(write_entry(&entry, ACCESS_COMBINED), "- - - [T] \"-\" 400 0 \"-\" \"-\"");
    assert_string_equal(write_entry(&entry, ACCESS_JSON), "{\"ts\":\"T\",\"status\":400,\"bytes_in\":0,\"bytes_out\":0,"
                        "\"dur_us\":0,\"worker\":0,\"conn\":\"0.0\"}");
}

static void test_names(void **state) {
    (void)state;
    enum access_format format;
    for (unsigned i = 0; i < ACCESS_FORMATS_COUNT; i++) {
        assert_true(access_format_parse(access_format_name((enum access_format)i), &format));
        assert_int_equal(format, i);
    }
    assert_false(access_format_parse("Combined", &format));
    assert_false(access_format_parse("", &format));
}

/* ------------------------------------------------------------------------------------------------------ escaping ---- */

struct row {
    const char *name;
    struct span sent;
    const char *text, *json;
};

static const struct row rows[] = {
    { "clean", SPAN("Mozilla/5.0 (X11; Linux)"), "Mozilla/5.0 (X11; Linux)", "Mozilla/5.0 (X11; Linux)" },
    { "quote", SPAN("a\"b"), "a\\x22b", "a\\\"b" },
    { "backslash", SPAN("a\\b"), "a\\x5Cb", "a\\\\b" },
    { "a quote at the end of eight", SPAN("1234567\""), "1234567\\x22", "1234567\\\"" },
    { "a quote beyond eight", SPAN("12345678\"0"), "12345678\\x220", "12345678\\\"0" },
    { "tab: RFC 8259 7", SPAN("a\tb"), "a\\x09b", "a\\u0009b" },
    { "NUL", SPAN("a\0b"), "a\\x00b", "a\\u0000b" },
    { "line feed", SPAN("a\nb"), "a\\x0Ab", "a\\u000Ab" },
    { "escape sequence of a terminal", SPAN("\x1b[31m"), "\\x1B[31m", "\\u001B[31m" },
    { "DEL", SPAN("\x7f"), "\\x7F", "\\u007F" },
    { "UTF-8", SPAN("gr\xc3\xbc\xc3\x9f"), "gr\\xC3\\xBC\\xC3\\x9F", "gr\xc3\xbc\xc3\x9f" },
    { "three bytes", SPAN("\xe2\x82\xac"), "\\xE2\\x82\\xAC", "\xe2\x82\xac" },
    { "four bytes", SPAN("\xf0\x9f\x98\x80"), "\\xF0\\x9F\\x98\\x80", "\xf0\x9f\x98\x80" },
    { "Latin-1: RFC 8259 8.1", SPAN("gr\xfc"), "gr\\xFC", "gr\\ufffd" },
    { "cut sequence", SPAN("\xe2\x82"), "\\xE2\\x82", "\\ufffd\\ufffd" },
    { "overlong: RFC 3629 3", SPAN("\xc0\xaf"), "\\xC0\\xAF", "\\ufffd\\ufffd" },
    { "overlong of three", SPAN("\xe0\x80\xaf"), "\\xE0\\x80\\xAF", "\\ufffd\\ufffd\\ufffd" },
    { "surrogate: RFC 3629 3", SPAN("\xed\xa0\x80"), "\\xED\\xA0\\x80", "\\ufffd\\ufffd\\ufffd" },
    { "beyond U+10FFFF", SPAN("\xf4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
    { "lone continuation", SPAN("\x80"), "\\x80", "\\ufffd" },
    { "forged line", SPAN("x\" 200 0\r\n10.0.0.1 - - [] \"GET / HTTP/1.1\" 200 1"),
      "x\\x22 200 0\\x0D\\x0A10.0.0.1 - - [] \\x22GET / HTTP/1.1\\x22 200 1",
      "x\\\" 200 0\\u000D\\u000A10.0.0.1 - - [] \\\"GET / HTTP/1.1\\\" 200 1" },
    { "forged member", SPAN("x\",\"status\":200,\"y\":\""), "x\\x22,\\x22status\\x22:200,\\x22y\\x22:\\x22",
      "x\\\",\\\"status\\\":200,\\\"y\\\":\\\"" },
};

static void test_escaping(void **state) {
    const struct row *row = *state;
    struct access_entry entry = { .stamp = SPAN("T"), .status = 200, .agent = row->sent, .method = SPAN("GET"),
                                  .target = row->sent, .path = row->sent, .version_minor = 1 };
    char expected[1024];
    snprintf(expected, sizeof expected, "- - - [T] \"GET %s HTTP/1.1\" 200 0 \"-\" \"%s\"", row->text, row->text);
    assert_string_equal(write_entry(&entry, ACCESS_COMBINED), expected);
    snprintf(expected, sizeof expected, "\"path\":\"%s\",", row->json);
    assert_non_null(strstr(write_entry(&entry, ACCESS_JSON), expected));
    snprintf(expected, sizeof expected, "\"user_agent\":\"%s\",", row->json);
    assert_non_null(strstr(out, expected));
}

/* Whatever bytes come, at whatever length: one line, six quotes, only printable ASCII; and the bound holds. */
static void test_any_bytes(void **state) {
    (void)state;
    static char bytes[200];
    struct random random = { 5 };
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = (size_t)(random_next(&random) % sizeof bytes);
        for (size_t i = 0; i < len; i++) {
            static const char nasty[] = "\"\\az\n\x7f\x80\xc3\xbf";
            bytes[i] = round % 2 == 0 ? (char)random_next(&random) : nasty[random_below(&random, 9)];
        }
        struct span sent = span_of(bytes, len);
        struct access_entry entry = { .stamp = SPAN("T"), .status = 200, .agent = sent, .method = SPAN("GET"), .target = sent,
                                      .referer = sent, .path = sent, .query = sent };
        unsigned quotes = 0;
        for (const char *p = write_entry(&entry, ACCESS_COMBINED); *p != '\0'; p++) {
            assert_true(*p >= 0x20 && *p < 0x7f);
            quotes += *p == '"';
        }
        assert_int_equal(quotes, 6);
        assert_null(strpbrk(write_entry(&entry, ACCESS_JSON), "\n\r\x7f"));
    }
}

/* The longest of everything: as large as a head can be. */
static void test_largest(void **state) {
    (void)state;
    static char bytes[24 * 1024];
    memset(bytes, 1, sizeof bytes);
    struct span all = span_of(bytes, sizeof bytes);
    struct access_entry entry = plain();
    entry.target = entry.path = all;
    entry.bytes_in = entry.bytes_out = entry.duration_us = UINT64_MAX;
    entry.worker = entry.conn_slot = entry.conn_generation = UINT32_MAX;
    for (unsigned i = 0; i < ACCESS_FORMATS_COUNT; i++) {
        write_entry(&entry, (enum access_format)i);
    }
}

int main(void) {
    static struct CMUnitTest tests[sizeof rows / sizeof rows[0] + 5] = {
        cmocka_unit_test(test_formats),   cmocka_unit_test(test_nothing_known), cmocka_unit_test(test_names),
        cmocka_unit_test(test_any_bytes), cmocka_unit_test(test_largest),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tests[i + 5] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = test_escaping, .initial_state = (void *)(uintptr_t)&rows[i]
        };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
