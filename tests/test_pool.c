#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "death.h"
#include "mem/pool.h"
#include "random.h"

static _Alignas(64) char memory[64 * 1024];

static void test_item_bytes(void **state) {
    (void)state;
    assert_int_equal(pool_item_bytes(0), 16);
    assert_int_equal(pool_item_bytes(16), 16);
    assert_int_equal(pool_item_bytes(17), 32);
    assert_int_equal(pool_item_bytes(63), 64);
    assert_int_equal(pool_item_bytes(64), 64);
    assert_int_equal(pool_item_bytes(65), 128);
    assert_int_equal(pool_bytes(65, 3), 384);
}

static void test_life(void **state) {
    (void)state;
    struct pool pool;
    pool_init(&pool, "things", memory, 40, 3);
    char *a = pool_take(&pool), *b = pool_take(&pool), *c = pool_take(&pool);
    assert_ptr_equal(a, memory);
    assert_ptr_equal(b, memory + 48);
    assert_null(pool_take(&pool));
    assert_int_equal(pool.refused, 1);
    assert_int_equal(pool.low_water, 0);
    memset(c, 0xee, 40);
    pool_give(&pool, a);
    pool_give(&pool, c);
    assert_int_equal(pool.free_count, 2);
    assert_ptr_equal(pool_take(&pool), c); /* the one given last */
    assert_ptr_equal(pool_take(&pool), a);
    assert_ptr_equal(pool_at(&pool, 2), c);
    assert_int_equal(pool_index(&pool, b), 1);
}

/* Items that were never taken stay untouched: pages of a plan for the worst case cost nothing. */
static void test_untouched(void **state) {
    (void)state;
    enum { COUNT = 1024 };
    char *pages = mmap(NULL, COUNT * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(pages, MAP_FAILED);
    struct pool pool;
    pool_init(&pool, "pages", pages, 4096, COUNT);
    for (int round = 0; round < 1000; round++) {
        char *a = pool_take(&pool), *b = pool_take(&pool);
        a[0] = b[0] = 1;
        pool_give(&pool, b);
        pool_give(&pool, a);
    }
    unsigned char present[COUNT];
    assert_int_equal(mincore(pages, COUNT * 4096, present), 0);
    for (int i = 2; i < COUNT; i++) {
        assert_int_equal(present[i] & 1, 0);
    }
    munmap(pages, COUNT * 4096);
}

/* Every size class: the index that multiplication finds is the one that was divided. */
static void test_index(void **state) {
    (void)state;
    for (size_t bytes = 1; bytes < 3000; bytes += 7) {
        struct pool pool;
        pool_init(&pool, "sizes", memory, bytes, 20);
        for (uint32_t i = 0; i < 20; i++) {
            char *item = pool_take(&pool);
            assert_int_equal(pool_index(&pool, item), i);
            assert_ptr_equal(pool_at(&pool, i), item);
            assert_int_equal((size_t)(item - memory), i * pool_item_bytes(bytes));
        }
    }
}

struct mistake {
    struct pool *pool;
    char *item;
};

static void give(void *arg) {
    struct mistake *mistake = arg;
    pool_give(mistake->pool, mistake->item);
}

static void test_foreign_items(void **state) {
    (void)state;
    struct pool pool;
    pool_init(&pool, "things", memory + 4096, 192, 4);
    char *a = pool_take(&pool);
    assert_non_null(pool_take(&pool));
    assert_true(asserts(give, &(struct mistake){ &pool, a - 192 }));
    assert_true(asserts(give, &(struct mistake){ &pool, a + 64 }));
    assert_true(asserts(give, &(struct mistake){ &pool, a + 1 }));
    assert_true(asserts(give, &(struct mistake){ &pool, a + 2 * 192 })); /* never taken */
    assert_true(asserts(give, &(struct mistake){ &pool, a + 4 * 192 }));
    assert_false(asserts(give, &(struct mistake){ &pool, a + 192 }));
}

/* Against a stack of indices. */
static void test_random(void **state) {
    (void)state;
    enum { COUNT = 50 };
    struct random random = random_seeded("pool");
    struct pool pool;
    pool_init(&pool, "things", memory, 80, COUNT);
    char *taken[COUNT], *given[COUNT];
    uint32_t taken_count = 0, given_count = 0, fresh = 0;
    for (int step = 0; step < 20000; step++) {
        if (random_below(&random, 2) == 0) {
            char *expected = given_count > 0 ? given[--given_count]
                             : fresh < COUNT ? memory + 128 * (size_t)fresh++
                                             : NULL;
            char *item = pool_take(&pool);
            assert_ptr_equal(item, expected);
            if (item != NULL) {
                taken[taken_count++] = memset(item, step & 0xff, 80);
            }
        } else if (taken_count > 0) {
            uint32_t which = random_below(&random, taken_count);
            pool_give(&pool, taken[which]);
            given[given_count++] = taken[which];
            taken[which] = taken[--taken_count];
        }
        assert_int_equal(pool.free_count, COUNT - taken_count);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_item_bytes),    cmocka_unit_test(test_life),   cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_index),         cmocka_unit_test(test_random), cmocka_unit_test(test_foreign_items),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
