#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mem/span.h"

struct number_row {
    const char *name; /* of the test, and the text before the '|' when there is one */
    const char *text;
    bool u64_ok, i64_ok;
    uint64_t u64;
    int64_t i64;
};

static const struct number_row number_rows[] = {
    { "zero", "0", true, true, 0, 0 },
    { "one digit", "7", true, true, 7, 7 },
    { "leading zeros", "007", true, true, 7, 7 },
    { "negative", "-12", false, true, 0, -12 },
    { "negative zero", "-0", false, true, 0, 0 },
    { "int64 max", "9223372036854775807", true, true, INT64_MAX, INT64_MAX },
    { "int64 max + 1", "9223372036854775808", true, false, UINT64_C(9223372036854775808), 0 },
    { "int64 min", "-9223372036854775808", false, true, 0, INT64_MIN },
    { "int64 min - 1", "-9223372036854775809", false, false, 0, 0 },
    { "uint64 max", "18446744073709551615", true, false, UINT64_MAX, 0 },
    { "uint64 max + 1", "18446744073709551616", false, false, 0, 0 },
    { "overflow by a digit", "184467440737095516150", false, false, 0, 0 },
    { "empty", "", false, false, 0, 0 },
    { "lone sign", "-", false, false, 0, 0 },
    { "two signs", "--1", false, false, 0, 0 },
    { "plus", "+1", false, false, 0, 0 },
    { "blank before", " 1", false, false, 0, 0 },
    { "blank behind", "1 ", false, false, 0, 0 },
    { "byte above the digits", "1:", false, false, 0, 0 },
    { "byte below the digits", "1/", false, false, 0, 0 },
    { "high byte", "1\xb1", false, false, 0, 0 },
};

static void test_number(void **state) {
    const struct number_row *row = *state;
    uint64_t u64 = 4711;
    int64_t i64 = 4711;
    assert_int_equal(span_u64(span_text(row->text), &u64), row->u64_ok);
    assert_int_equal(span_i64(span_text(row->text), &i64), row->i64_ok);
    assert_true(u64 == (row->u64_ok ? row->u64 : 4711));
    assert_true(i64 == (row->i64_ok ? row->i64 : 4711));
}

static void test_equal(void **state) {
    (void)state;
    assert_true(span_equal(SPAN("abc"), span_text("abc")));
    assert_true(span_equal(span_of(NULL, 0), SPAN("")));
    assert_false(span_equal(SPAN("abc"), SPAN("abC")));
    assert_false(span_equal(SPAN("abc"), SPAN("ab")));
    assert_true(span_equal_nocase(SPAN("Content-LENGTH"), SPAN("cONTENT-length")));
    assert_false(span_equal_nocase(SPAN("a"), SPAN("ab")));
    assert_true(span_equal_nocase(span_of(NULL, 0), span_of(NULL, 0)));
}

/* Only A-Z has a small twin: '@' and '`', '[' and '{' differ by the same bit. */
static void test_nocase_every_byte(void **state) {
    (void)state;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            bool letters = (a | 0x20) >= 'a' && (a | 0x20) <= 'z' && (a | 0x20) == (b | 0x20) && a < 128 && b < 128;
            char x = (char)a, y = (char)b;
            assert_int_equal(span_equal_nocase(span_of(&x, 1), span_of(&y, 1)), a == b || letters);
        }
    }
}

static void test_parts(void **state) {
    (void)state;
    assert_true(span_equal(span_from(SPAN("hello"), 2), SPAN("llo")));
    assert_int_equal(span_from(SPAN("hello"), 5).len, 0);
    assert_int_equal(span_from(SPAN("hello"), 6).len, 0);
    assert_true(span_equal(span_first(SPAN("hello"), 2), SPAN("he")));
    assert_true(span_equal(span_first(SPAN("hello"), 9), SPAN("hello")));
}

int main(void) {
    enum { ROWS = sizeof number_rows / sizeof *number_rows };
    struct CMUnitTest tests[ROWS + 3] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_nocase_every_byte),
        cmocka_unit_test(test_parts),
    };
    for (size_t i = 0; i < ROWS; i++) {
        tests[3 + i] = (struct CMUnitTest){ .name = number_rows[i].name,
                                            .test_func = test_number,
                                            .initial_state = (void *)(uintptr_t)&number_rows[i] };
    }
    return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}
