#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "death.h"
#include "mem/arena.h"

static _Alignas(16) char memory[1024];

static void test_takes(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, memory, 64);
    char *a = arena_take(&arena, 1);
    char *b = arena_take(&arena, 17);
    assert_ptr_equal(a, memory);
    assert_ptr_equal(b, memory + 16);
    assert_int_equal(arena.used, 48);
    assert_null(arena_take(&arena, 17));
    assert_true(arena.overflowed);
    assert_int_equal(arena.used, 48);
    assert_ptr_equal(arena_take(&arena, 16), memory + 48);
    assert_non_null(arena_take(&arena, 0)); /* full, but nothing was asked for */
    arena_reset(&arena);
    assert_false(arena.overflowed);
    assert_ptr_equal(arena_take(&arena, 64), memory);
    assert_null(arena_take(&arena, 1));
}

static void test_huge(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, memory, 64);
    assert_null(arena_take(&arena, SIZE_MAX));
    assert_null(arena_take(&arena, SIZE_MAX - 15));
    assert_null(arena_take(&arena, (size_t)UINT32_MAX + 1));
    assert_non_null(arena_take(&arena, 64));
}

/* A size that is no multiple of the alignment: the last bytes are not handed out. */
static void test_odd_size(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, memory, 40);
    assert_non_null(arena_take(&arena, 32));
    assert_null(arena_take(&arena, 8));
}

static void test_copy(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, memory, 32);
    struct span copy = arena_copy(&arena, SPAN("seventeen letters"));
    assert_true(span_equal(copy, SPAN("seventeen letters")));
    struct span none = arena_copy(&arena, SPAN("x"));
    assert_null(none.data);
    assert_int_equal(none.len, 0);
    assert_true(arena.overflowed);
}

static void test_extend(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, memory, 64);
    assert_non_null(arena_take(&arena, 16));
    char *last = arena_take(&arena, 4);
    memcpy(last, "abcd", 4);
    assert_true(arena_extend(&arena, last, 40));
    assert_int_equal(arena.used, 64);
    assert_memory_equal(last, "abcd", 4);
    last[39] = 'z';
    assert_false(arena_extend(&arena, last, 49));
    assert_true(arena.overflowed);
    assert_int_equal(arena.used, 64);
    assert_true(arena_extend(&arena, last, 2)); /* and back */
    assert_int_equal(arena.used, 32);
}

static void test_rollback(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, memory, 64);
    assert_non_null(arena_take(&arena, 20));
    uint32_t mark = arena_mark(&arena);
    char *a = arena_take(&arena, 10);
    arena_rollback(&arena, mark);
    assert_ptr_equal(arena_take(&arena, 30), a);
}

static void misaligned(void *arg) {
    struct arena arena;
    arena_init(&arena, (char *)arg + 8, 64);
}

static void test_mistakes(void **state) {
    (void)state;
    assert_true(asserts(misaligned, memory));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes),  cmocka_unit_test(test_huge),     cmocka_unit_test(test_odd_size),
        cmocka_unit_test(test_copy),   cmocka_unit_test(test_extend),   cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
