/* Makes each row of a table one cmocka test. A row is a struct whose first member is its name. */
#ifndef RM_TESTS_ROWS_H
#define RM_TESTS_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS_MAX = 512 };

struct rows {
    struct CMUnitTest tests[ROWS_MAX];
    size_t count;
};

static inline void rows_add(struct rows *rows, const char *name, CMUnitTestFunction test, const void *row) {
    if (rows->count == ROWS_MAX) {
        __builtin_trap();
    }
    rows->tests[rows->count++] =
        (struct CMUnitTest){ .name = name, .test_func = test, .initial_state = (void *)(uintptr_t)row };
}

static inline void rows_add_table(struct rows *rows, CMUnitTestFunction test, const void *table, size_t row_bytes,
                                  size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *row = (const char *)table + i * row_bytes;
        const char *name;
        memcpy(&name, row, sizeof name);
        rows_add(rows, name, test, row);
    }
}

#define ROWS_ADD(rows, test, table) rows_add_table((rows), (test), (table), sizeof *(table), sizeof(table) / sizeof *(table))
#define ROWS_TEST(rows, test) rows_add((rows), #test, (test), NULL)

/* Runs them; returns how many failed. */
static inline int rows_run(const char *group, struct rows *rows) {
    return _cmocka_run_group_tests(group, rows->tests, rows->count, NULL, NULL);
}

#endif
