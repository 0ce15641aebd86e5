/* The memory plan: its sums, its carving, its limits. */
#include <sys/resource.h>
#include <unistd.h>

#include "server_rig.h"

static struct config config;
static struct plan plan;

static void make(const char *workers, const char *connections) {
    static const struct rm_app app = { .name = "test" };
    char *argv[] = {
        "test", "--workers", (char *)(uintptr_t)workers, "--max-connections", (char *)(uintptr_t)connections, NULL
    };
    char why[CONFIG_WHY_BYTES];
    assert_int_equal(config_read(&config, 5, argv, &app, why), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 2, 1 << 20, why), EXIT_FINE);
    config.io = RING_SIM;
    plan_make(&plan, &config);
}

static void test_sums(void **state) {
    (void)state;
    make("2", "1000");
    size_t sum = 0;
    for (unsigned i = 0; i < PLAN_PARTS_COUNT; i++) {
        assert_non_null(plan.rows[i].name);
        assert_non_null(plan.rows[i].holder);
        sum += slab_round(plan_row_bytes(&plan, (enum plan_part)i));
    }
    assert_int_equal(plan.slab_bytes, sum);
    assert_true(plan.ring_bytes > 0);
    /* Slots of its share, two percent more for a 503, one socket each, one listener, and as many watches as there may be. */
    uint32_t share = config_connections_per_worker(&config);
    assert_int_equal(plan.rows[PLAN_CONNS].count, share + share / 50 + 1);
    assert_int_equal(plan.sockets_max, plan.rows[PLAN_CONNS].count + 1 + config.watches);
    /* Enough timers for all who may hold one. */
    assert_true(plan.rows[PLAN_TIMERS].count >
                plan.rows[PLAN_CONNS].count + plan.rows[PLAN_WAITS].count + plan.rows[PLAN_WATCHES].count);
}

static size_t resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long size, resident;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Carving fills the slab exactly and touches next to nothing of it. */
static void test_carve_is_virtual(void **state) {
    (void)state;
    make("1", "16384");
    struct slab slab;
    static struct pool pools[PLAN_POOLS_COUNT];
    assert_true(plan.slab_bytes > 500u << 20);
    size_t before = resident_bytes();
    assert_true(slab_map(&slab, plan.slab_bytes));
    void *arrays[PLAN_ARRAYS_COUNT];
    plan_carve(&plan, &slab, pools, arrays);
    slab_seal(&slab);
    for (unsigned i = 0; i < PLAN_ARRAYS_COUNT; i++) {
        enum plan_part part = (enum plan_part)(i + PLAN_POOLS_COUNT);
        bool absent = part == PLAN_LINES || part == PLAN_CLIENTS || part >= PLAN_DB; /* no log, no database */
        assert_int_equal(arrays[i] == NULL, absent);
    }
    assert_int_equal(slab.used, plan.slab_bytes);
#ifndef __SANITIZE_ADDRESS__ /* its shadow is touched */
    assert_true(resident_bytes() - before < 256 * 1024);
#else
    (void)before;
#endif
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        assert_int_equal(pools[i].count, plan.rows[i].count);
        assert_true(pools[i].item_bytes >= plan.rows[i].item_bytes);
    }
    slab_release(&slab);
}

/* What an idle connection costs in the slab: its slot, its timer. The ring's slot comes on top. */
static void test_idle_connection(void **state) {
    (void)state;
    make("1", "10000");
    assert_true(pool_item_bytes(sizeof(struct conn_state)) + sizeof(struct timer_entry) <= 400);
}

static void test_small_bodies_need_no_slots(void **state) {
    (void)state;
    make("1", "100");
    assert_int_equal(plan.rows[PLAN_BODIES].count, 8);
    config.limits.body_bytes = HTTP_BODY_IN_WORKSPACE_BYTES;
    plan_make(&plan, &config);
    assert_int_equal(plan.rows[PLAN_BODIES].count, 0);
}

static void test_print(void **state) {
    (void)state;
    make("2", "1000");
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    plan_print(&plan, out);
    fclose(out);
    char part[64];
    for (unsigned i = 0; i < PLAN_PARTS_COUNT; i++) {
        assert_has(text, plan.rows[i].name);
        snprintf(part, sizeof part, " %zu  ", plan_row_bytes(&plan, (enum plan_part)i));
        assert_has(text, part);
    }
    snprintf(part, sizeof part, " %zu  ", plan.slab_bytes);
    assert_has(text, part);
    snprintf(part, sizeof part, " %zu  ", 2 * (plan.slab_bytes + plan.ring_bytes + PLAN_STACK_BYTES));
    assert_has(text, part);
    assert_has(text, "2 workers");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_carve_is_virtual),
        cmocka_unit_test(test_idle_connection),
        cmocka_unit_test(test_small_bodies_need_no_slots),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
