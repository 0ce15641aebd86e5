/* The heap of deadlines, against a plain array that is searched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/timers.h"

enum { TIMERS_MAX = 300 };

static struct timer_entry memory[TIMERS_MAX];
static struct timer items[TIMERS_MAX];

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void check_heap(const struct timers *timers) {
    for (uint32_t i = 0; i < timers->count; i++) {
        assert_int_equal(timers->entries[i].timer->place, i + 1);
        assert_int_equal(timers->entries[i].timer->at_ns, timers->entries[i].at_ns);
        if (i > 0) {
            assert_true(timers->entries[(i - 1) / 4].at_ns <= timers->entries[i].at_ns);
        }
    }
}

/* The model: armed timers are those with an entry that is not 0. */
static uint64_t earliest(const uint64_t *model) {
    uint64_t best = 0;
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        if (model[i] != 0 && (best == 0 || model[i] < best)) {
            best = model[i];
        }
    }
    return best;
}

static void step(struct timers *timers, uint64_t *model, uint64_t *random) {
    uint32_t i = (uint32_t)(next_random(random) % TIMERS_MAX);
    uint64_t at_ns = 1 + next_random(random) % 1000;
    switch (next_random(random) % 4) {
    case 0:
        timers_cancel(timers, &items[i]);
        model[i] = 0;
        break;
    case 1: {
        uint64_t now_ns = earliest(model);
        struct timer *due = timers_due(timers, now_ns);
        if (now_ns == 0) {
            assert_null(due);
            break;
        }
        assert_non_null(due);
        assert_false(timer_armed(due));
        assert_int_equal(due->at_ns, now_ns);
        assert_int_equal(model[due - items], now_ns);
        model[due - items] = 0;
        break;
    }
    default: timers_set(timers, &items[i], at_ns); model[i] = at_ns;
    }
}

static void test_against_model(void **state) {
    (void)state;
    static uint64_t model[TIMERS_MAX];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t random = seed;
        struct timers timers;
        timers_init(&timers, memory, TIMERS_MAX);
        memset(items, 0, sizeof items);
        memset(model, 0, sizeof model);
        for (int i = 0; i < 5000; i++) {
            step(&timers, model, &random);
            assert_int_equal(timers_next(&timers), earliest(model));
        }
        check_heap(&timers);
    }
}

static void test_order_of_equals_and_full(void **state) {
    (void)state;
    struct timers timers;
    timers_init(&timers, memory, TIMERS_MAX);
    memset(items, 0, sizeof items);
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        timers_set(&timers, &items[i], 7);
    }
    assert_null(timers_due(&timers, 6));
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        assert_non_null(timers_due(&timers, 7));
    }
    assert_null(timers_due(&timers, UINT64_MAX));
    assert_int_equal(timers_next(&timers), 0);
}

static void test_coarse(void **state) {
    (void)state;
    assert_int_equal(timers_coarse(0), 0);
    assert_int_equal(timers_coarse(1), TIMERS_GRID_NS);
    assert_int_equal(timers_coarse(TIMERS_GRID_NS), TIMERS_GRID_NS);
    assert_int_equal(timers_coarse(TIMERS_GRID_NS + 1), 2 * TIMERS_GRID_NS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_order_of_equals_and_full),
        cmocka_unit_test(test_coarse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
