#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "death.h"
#include "mem/assert.h"

static void must_be_null(void *arg) {
    rm_assert(arg == NULL);
}

static void test_true_goes_on(void **state) {
    (void)state;
    rm_assert(1 + 1 == 2);
}

static void test_false_aborts(void **state) {
    (void)state;
    int something;
    assert_true(asserts(must_be_null, &something));
    assert_false(asserts(must_be_null, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_true_goes_on),
        cmocka_unit_test(test_false_aborts),
    };
    return cmocka_run_group_tests_name("assert", tests, NULL, NULL);
}
