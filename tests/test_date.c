#include <time.h>

#include "http/http.h"
#include "random.h"
#include "rows.h"

struct date_row {
    const char *name; /* what must come out */
    int64_t seconds;
};

static const struct date_row date_rows[] = {
    { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 }, /* RFC 9110 §5.6.7 */
    { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
    { "Thu, 01 Jan 1970 23:59:59 GMT", 86399 },
    { "Fri, 02 Jan 1970 00:00:00 GMT", 86400 },
    { "Tue, 29 Feb 2000 12:00:00 GMT", 951825600 },
    { "Wed, 01 Mar 2000 00:00:00 GMT", 951868800 },
    { "Sun, 28 Feb 2100 23:59:59 GMT", 4107542399 },
    { "Mon, 01 Mar 2100 00:00:00 GMT", 4107542400 },
    { "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 },
};

static void test_date(void **state) {
    const struct date_row *row = *state;
    char text[HTTP_DATE_BYTES + 1];
    http_date(row->seconds, text);
    assert_string_equal(text, row->name);
}

/* What four digits of year can't say is cut. */
static void test_outside(void **state) {
    (void)state;
    char text[HTTP_DATE_BYTES + 1];
    http_date(-1, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    http_date(INT64_MIN, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    http_date(INT64_MAX, text);
    assert_string_equal(text, "Fri, 31 Dec 9999 23:59:59 GMT");
}

/* Against the C library: every day for 500 years, and random seconds. */
static void check(time_t seconds) {
    char text[HTTP_DATE_BYTES + 1], expected[64];
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    http_date(seconds, text);
    assert_string_equal(text, expected);
}

static void test_libc(void **state) {
    (void)state;
    struct random random = random_seeded("date");
    for (int64_t day = 0; day < 500 * 366; day++) {
        check(day * 86400 + random_below(&random, 86400));
    }
    for (int i = 0; i < 20000; i++) {
        check((time_t)(random_next(&random) % 253402300800));
    }
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_date, date_rows);
    ROWS_TEST(&rows, test_outside);
    ROWS_TEST(&rows, test_libc);
    return rows_run("date", &rows);
}
