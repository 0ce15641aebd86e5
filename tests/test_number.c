#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "mem/number.h"
#include "random.h"
#include "rows.h"

struct int_row {
    const char *name; /* what must come out */
    int64_t value;
};

static const struct int_row int_rows[] = {
    { "0", 0 },       { "9", 9 },       { "10", 10 },   { "99", 99 },
    { "100", 100 },   { "999", 999 },   { "1000", 1000 }, { "9999", 9999 },
    { "10000", 10000 }, { "-1", -1 },   { "-10", -10 }, { "123456789", 123456789 },
    { "9223372036854775807", INT64_MAX }, { "-9223372036854775808", INT64_MIN },
};

static void test_int(void **state) {
    const struct int_row *row = *state;
    char text[NUMBER_BYTES_MAX];
    *number_put_i64(text, row->value) = '\0';
    assert_string_equal(text, row->name);
}

static void test_unsigned(void **state) {
    (void)state;
    struct random random = random_seeded("number");
    char text[NUMBER_BYTES_MAX], expected[32];
    for (int i = 0; i < 200000; i++) {
        uint64_t value = random_next(&random) >> random_below(&random, 64);
        *number_put_u64(text, value) = '\0';
        snprintf(expected, sizeof expected, "%" PRIu64, value);
        assert_string_equal(text, expected);
    }
}

struct double_row {
    const char *name; /* what must come out */
    double value;
};

static const struct double_row double_rows[] = {
    { "0", 0.0 },
    { "-0", -0.0 },
    { "1", 1.0 },
    { "-1", -1.0 },
    { "0.1", 0.1 },
    { "0.01", 0.01 },
    { "12.5", 12.5 },
    { "19.99", 19.99 },
    { "-4.3", -4.3 },
    { "100.05", 100.05 },
    { "0.000001", 0.000001 },
    { "1e-07", 1e-7 },
    { "0.3333333333333333", 1.0 / 3 },
    { "0.30000000000000004", 0.1 + 0.2 },
    { "123456789.125", 123456789.125 },
    { "999999999.999", 999999999.999 },
    { "1000000000", 1e9 },
    { "9007199254740992", 9007199254740992.0 },
    { "1e+22", 1e22 },
    { "1.7976931348623157e+308", DBL_MAX },
    { "2.2250738585072014e-308", DBL_MIN },
    { "5e-324", 4.9406564584124654e-324 },
    { "null", (double)INFINITY },
    { "null", -(double)INFINITY },
    { "null", (double)NAN },
};

static void test_double(void **state) {
    const struct double_row *row = *state;
    char text[NUMBER_BYTES_MAX];
    *number_put_double(text, row->value) = '\0';
    assert_string_equal(text, row->name);
}

/* The fewest significant digits that read back the same: by trying all. */
static size_t shortest_digits(double value) {
    char text[64];
    for (int digits = 1; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value) {
            return (size_t)digits;
        }
    }
    return 17;
}

/* Significant digits of a decimal. */
static size_t digits_in(const char *text) {
    size_t digits = 0, zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text == '0' && digits == 0) {
            continue;
        }
        if (*text >= '0' && *text <= '9') {
            zeros = *text == '0' ? zeros + 1 : 0;
            digits++;
        }
    }
    return digits - zeros;
}

static void check_double(double value) {
    char text[NUMBER_BYTES_MAX];
    *number_put_double(text, value) = '\0';
    assert_true(strlen(text) < NUMBER_BYTES_MAX);
    if (strtod(text, NULL) != value) {
        fail_msg("%s does not read back as %.17g", text, value);
    }
    if (digits_in(text) > shortest_digits(value)) {
        fail_msg("%s has more digits than %.17g needs", text, value);
    }
}

static void test_round_trip(void **state) {
    (void)state;
    struct random random = random_seeded("number");
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_next(&random);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value)) {
            check_double(value);
        }
        check_double((double)random_below(&random, 10000000) / 100);
        check_double((double)(int64_t)random_next(&random) / 1000);
        check_double((double)random_below(&random, 1000000000) / 1e7);
        check_double(ldexp(1.0, (int)random_below(&random, 2000) - 1000));
        check_double(ldexp((double)random_below(&random, 1000), -1074));
    }
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_int, int_rows);
    ROWS_TEST(&rows, test_unsigned);
    ROWS_ADD(&rows, test_double, double_rows);
    ROWS_TEST(&rows, test_round_trip);
    return rows_run("number", &rows);
}
