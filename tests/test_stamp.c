/* Time stamps against the C library's own, and known ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

#include "server/stamp.h"

struct row {
    const char *name;
    int64_t seconds;
    uint32_t ms;
    const char *rfc3339, *common;
};

static const struct row rows[] = {
    { "the epoch", 0, 0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000" },
    { "the example of RFC 9110", 784111777, 7, "1994-11-06T08:49:37.007Z", "06/Nov/1994:08:49:37 +0000" },
    { "a leap day", 951782400, 999, "2000-02-29T00:00:00.999Z", "29/Feb/2000:00:00:00 +0000" },
    { "no leap day", 4107542399, 0, "2100-02-28T23:59:59.000Z", "28/Feb/2100:23:59:59 +0000" },
    { "the day after it", 4107542400, 0, "2100-03-01T00:00:00.000Z", "01/Mar/2100:00:00:00 +0000" },
    { "the last year", 253402300799, 0, "9999-12-31T23:59:59.000Z", "31/Dec/9999:23:59:59 +0000" },
};

static void test_known(void **state) {
    const struct row *row = *state;
    char text[64];
    stamp_rfc3339(row->seconds, row->ms, text);
    assert_string_equal(text, row->rfc3339);
    assert_int_equal(strlen(text), STAMP_RFC3339_BYTES);
    stamp_common(row->seconds, text);
    assert_string_equal(text, row->common);
    assert_int_equal(strlen(text), STAMP_COMMON_BYTES);
}

/* A stride that is no divisor of a day meets every month and time of day. */
static void test_like_the_library(void **state) {
    (void)state;
    for (int64_t seconds = 0; seconds < 5000000000; seconds += 777777) {
        time_t at = (time_t)seconds;
        struct tm parts;
        char text[64], expected[64];
        gmtime_r(&at, &parts);
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
        stamp_rfc3339(seconds, 0, text);
        assert_string_equal(text, expected);
        strftime(expected, sizeof expected, "%d/%b/%Y:%H:%M:%S +0000", &parts);
        stamp_common(seconds, text);
        assert_string_equal(text, expected);
    }
}

int main(void) {
    struct CMUnitTest tests[sizeof rows / sizeof rows[0] + 1] = { cmocka_unit_test(test_like_the_library) };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tests[i + 1] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = test_known, .initial_state = (void *)(uintptr_t)&rows[i]
        };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
