/* Numbers as text, against printf and strtod. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "server/text.h"

static void check_int(int64_t value) {
    char expected[32], text[TEXT_INT_BYTES];
    int len = snprintf(expected, sizeof expected, "%lld", (long long)value);
    assert_int_equal(text_i64(value, text), len);
    assert_memory_equal(text, expected, (size_t)len);
}

static void test_integers(void **state) {
    (void)state;
    check_int(0);
    check_int(INT64_MIN);
    check_int(INT64_MAX);
    for (int64_t power = 1; power < INT64_MAX / 10; power *= 10) {
        for (int64_t near = power - 1; near <= power + 1; near++) {
            check_int(near);
            check_int(-near);
        }
    }
    char text[TEXT_INT_BYTES];
    assert_int_equal(text_u64(UINT64_MAX, text), 20);
    assert_memory_equal(text, "18446744073709551615", 20);
}

/* Reads back the same, and none shorter does. */
static void check_double(double value) {
    char text[TEXT_DOUBLE_BYTES + 1], shorter[400];
    size_t len = text_double(value, text);
    assert_true(len <= TEXT_DOUBLE_BYTES);
    text[len] = '\0';
    double back = strtod(text, NULL);
    if (memcmp(&back, &value, sizeof value) != 0) {
        fail_msg("%.17g became %s", value, text);
    }
    int digits = 0;
    for (const char *c = text; *c != '\0' && *c != 'e'; c++) {
        digits += *c >= '0' && *c <= '9' && (digits > 0 || *c != '0');
    }
    snprintf(shorter, sizeof shorter, "%.*g", digits > 1 ? digits - 1 : 1, value);
    if (digits > 15 && strtod(shorter, NULL) == value) {
        fail_msg("%s has digits too many: %s", text, shorter);
    }
}

static void test_doubles(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        { 0, "0" }, { -0.0, "-0" }, { 1, "1" }, { 4.5, "4.5" }, { -4.25, "-4.25" }, { 0.125, "0.125" }, { 0.1, "0.1" },
        { 100, "100" }, { 1.001, "1.001" }, { 99999.999, "99999.999" }, { -0.007, "-0.007" }, { 1e15, "1e+15" },
        { 0.30000000000000004, "0.30000000000000004" }, { NAN, "null" }, { INFINITY, "null" }, { -INFINITY, "null" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[TEXT_DOUBLE_BYTES + 1];
        text[text_double(rows[i].value, text)] = '\0';
        assert_string_equal(text, rows[i].text);
    }
    static const double odd[] = { DBL_MAX, -DBL_MAX, DBL_MIN, DBL_TRUE_MIN, 1e22, 123456789012345.678, 5e-324, 0.0005, 1e14 };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        check_double(odd[i]);
    }
}

static void test_random_doubles(void **state) {
    (void)state;
    uint64_t random = 42;
    for (int i = 0; i < 100000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = random ^ (random >> 29);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value)) {
            check_double(value);
        }
        check_double((double)(int64_t)(bits >> 40) / 1000);
        check_double((double)(int64_t)(bits >> 44) / 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_random_doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
