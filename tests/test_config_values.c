/* Values of the command line: what is read, what is refused, and how far two words are apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/config_values.h"

static const uint64_t refused = UINT64_MAX;

struct row {
    const char *text;
    uint64_t value; /* or `refused` */
};

static void check(bool (*read)(const char *, uint64_t *), const struct row *rows) {
    for (const struct row *row = rows; row->text != NULL; row++) {
        uint64_t value = 77;
        bool fine = read(row->text, &value);
        if (fine != (row->value != refused) || value != (fine ? row->value : 77)) {
            fail_msg("'%s': %s %lu", row->text, fine ? "read as" : "refused,", (unsigned long)value);
        }
    }
}

static void test_durations(void **state) {
    (void)state;
    static const struct row rows[] = {
        { "0", 0 },
        { "1us", 1000 },
        { "20ms", 20000000 },
        { "10s", 10000000000 },
        { "2m", 120000000000 },
        { "0s", 0 },
        { "", refused },
        { "s", refused },
        { "10", refused },
        { "-1s", refused },
        { "1h", refused },
        { "1 s", refused },
        { "1.5s", refused },
        { "1S", refused },
        { "18446744073709551615s", refused },
        { "18446744074s", refused },
        { NULL, 0 },
    };
    check(config_duration, rows);
}

static void test_sizes(void **state) {
    (void)state;
    static const struct row rows[] = {
        { "0", 0 },
        { "4096", 4096 },
        { "16K", 16384 },
        { "1M", 1048576 },
        { "2G", UINT64_C(2) << 30 },
        { "", refused },
        { "K", refused },
        { "1k", refused },
        { "1KB", refused },
        { "-1", refused },
        { "+1", refused },
        { "0x10", refused },
        { "17179869184G", refused },
        { NULL, 0 },
    };
    check(config_size, rows);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct row rows[] = {
        { "0", 0 },
        { "65535", 65535 },
        { "007", 7 },
        { "", refused },
        { "1 ", refused },
        { "1K", refused },
        { "99999999999999999999", refused },
        { NULL, 0 },
    };
    check(config_number, rows);
}

static void test_distances(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned distance;
    } rows[] = {
        { "", "", 0 },
        { "a", "", 1 },
        { "", "abc", 3 },
        { "workers", "workers", 0 },
        { "worker", "workers", 1 },
        { "wrokers", "workers", 2 },
        { "io", "idle", 3 },
        { "kitten", "sitting", 3 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(config_distance(rows[i].a, rows[i].b), rows[i].distance);
        assert_int_equal(config_distance(rows[i].b, rows[i].a), rows[i].distance);
    }
    char word[66];
    memset(word, 'x', 65);
    word[65] = '\0';
    assert_int_equal(config_distance(word, "x"), 64); /* too long to be compared: far */
    assert_int_equal(config_distance("x", word), 64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
