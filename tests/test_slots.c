/* The slot table against the plainest model: an array of flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring/slots.h"

enum { COUNT = 37 };

struct item {
    struct slot base;
    uint32_t payload;
};

static void init(struct slots *slots, struct item items[COUNT]) {
    memset(items, 0, COUNT * sizeof items[0]);
    slots_init(slots, items, sizeof items[0], COUNT);
}

static void test_last_given_is_taken_first(void **state) {
    (void)state;
    struct item items[COUNT];
    struct slots slots;
    init(&slots, items);
    struct slot *a = slots_take(&slots, SLOT_SOCKET, NULL);
    struct slot *b = slots_take(&slots, SLOT_SOCKET, NULL);
    slots_give(&slots, a);
    slots_give(&slots, b);
    assert_ptr_equal(slots_take(&slots, SLOT_SOCKET, NULL), b);
    assert_ptr_equal(slots_take(&slots, SLOT_SOCKET, NULL), a);
}

static void test_a_given_slot_makes_its_ids_stale(void **state) {
    (void)state;
    struct item items[COUNT];
    struct slots slots;
    init(&slots, items);
    struct slot *slot = slots_take(&slots, SLOT_SOCKET, &slots);
    struct ring_id old = slots_id(&slots, slot);
    assert_ptr_equal(slots_find(&slots, old), slot);
    assert_ptr_equal(slot->user, &slots);
    slots_give(&slots, slot);
    assert_null(slots_find(&slots, old));
    struct slot *again = slots_take(&slots, SLOT_WATCH, NULL);
    assert_ptr_equal(again, slot);
    assert_null(slots_find(&slots, old));
    assert_ptr_equal(slots_find(&slots, slots_id(&slots, again)), again);
}

static void test_a_zeroed_id_names_nothing(void **state) {
    (void)state;
    struct item items[COUNT];
    struct slots slots;
    init(&slots, items);
    assert_null(slots_find(&slots, (struct ring_id){ 0 }));
    assert_non_null(slots_take(&slots, SLOT_SOCKET, NULL));
    assert_null(slots_find(&slots, (struct ring_id){ 0 }));
    assert_null(slots_find(&slots, (struct ring_id){ COUNT + 5, 1 }));
}

static void test_generations_wrap_past_zero(void **state) {
    (void)state;
    struct item items[COUNT];
    struct slots slots;
    init(&slots, items);
    struct slot *slot = slots_take(&slots, SLOT_SOCKET, NULL);
    slot->generation = SLOT_GENERATION_MAX;
    slots_give(&slots, slot);
    assert_int_equal(slot->generation, 1);
}

static void test_the_table_ends(void **state) {
    (void)state;
    struct item items[COUNT];
    struct slots slots;
    init(&slots, items);
    for (int i = 0; i < COUNT; i++) assert_non_null(slots_take(&slots, SLOT_SOCKET, NULL));
    assert_null(slots_take(&slots, SLOT_SOCKET, NULL));
    assert_int_equal(slots.in_use, COUNT);
}

/* Random appends, removals and pops of two lists against arrays of indexes. */
static void test_lists_keep_order(void **state) {
    (void)state;
    unsigned seed = (unsigned)getpid();
    print_message("seed %u\n", seed);
    srand(seed);
    struct item items[COUNT];
    struct slots slots;
    init(&slots, items);
    for (int i = 0; i < COUNT; i++) assert_non_null(slots_take(&slots, SLOT_SOCKET, NULL));
    struct slot_list list;
    slot_list_init(&list);
    uint32_t model[COUNT];
    uint32_t n = 0;
    for (int step = 0; step < 100000; step++) {
        uint32_t pick = (uint32_t)rand() % COUNT;
        struct slot *slot = slots_at(&slots, pick);
        if (rand() % 5 == 0) {
            struct slot *popped = slot_list_pop(&slots, &list);
            assert_true((popped == NULL) == (n == 0));
            if (popped == NULL) continue;
            assert_int_equal(slots_index(&slots, popped), model[0]);
            memmove(model, model + 1, --n * sizeof model[0]);
        } else if (slot->on_list == 0) {
            slot_list_append(&slots, &list, slot, 3);
            model[n++] = pick;
        } else {
            slot_list_remove(&slots, &list, slot);
            uint32_t at = 0;
            while (model[at] != pick) at++;
            memmove(model + at, model + at + 1, (--n - at) * sizeof model[0]);
        }
        assert_int_equal(list.count, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_given_is_taken_first), cmocka_unit_test(test_a_given_slot_makes_its_ids_stale),
        cmocka_unit_test(test_a_zeroed_id_names_nothing), cmocka_unit_test(test_generations_wrap_past_zero),
        cmocka_unit_test(test_the_table_ends),            cmocka_unit_test(test_lists_keep_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
