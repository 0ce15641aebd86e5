#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "death.h"
#include "mem/slab.h"

static void test_takes(void **state) {
    (void)state;
    struct slab slab;
    assert_true(slab_map(&slab, 10000));
    assert_int_equal(slab.bytes, 12288);
    char *a = slab_take(&slab, 1);
    char *b = slab_take(&slab, 65);
    char *c = slab_take(&slab, 0);
    char *d = slab_take(&slab, 64);
    assert_int_equal((uintptr_t)a % 4096, 0);
    assert_ptr_equal(b, a + 64);
    assert_ptr_equal(c, b + 128);
    assert_ptr_equal(d, c);
    for (size_t i = 0; i < 65; i++) {
        assert_int_equal(b[i], 0);
    }
    memset(b, 1, 65);
    assert_int_equal(slab.used, 256);
    slab_release(&slab);
    assert_null(slab.base);
    slab_release(&slab);
}

static void test_round(void **state) {
    (void)state;
    assert_int_equal(slab_round(0), 0);
    assert_int_equal(slab_round(1), 64);
    assert_int_equal(slab_round(64), 64);
    assert_int_equal(slab_round(65), 128);
}

static void test_whole(void **state) {
    (void)state;
    struct slab slab;
    assert_true(slab_map(&slab, 1));
    char *all = slab_take(&slab, 4096);
    all[4095] = 1;
    assert_int_equal(slab.used, slab.bytes);
    slab_release(&slab);
}

static void test_refused(void **state) {
    (void)state;
    struct slab slab;
    assert_false(slab_map(&slab, (size_t)1 << 62));
}

static void take_after_seal(void *arg) {
    slab_seal(arg);
    slab_take(arg, 1);
}

static void take_too_much(void *arg) {
    slab_take(arg, 4097);
}

static void test_mistakes(void **state) {
    (void)state;
    struct slab slab;
    assert_true(slab_map(&slab, 4096));
    assert_true(asserts(take_after_seal, &slab));
    assert_true(asserts(take_too_much, &slab));
    slab_release(&slab);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes),   cmocka_unit_test(test_round),    cmocka_unit_test(test_whole),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
