/* Eviction from the store: what goes when room is wanted, and what stays. One thread. */
#include "store_reader.h"

/* One of 20 keys is asked for at each turn, and stays, while thousands come and go. */
static void test_what_is_asked_for_stays(void **state) {
    (void)state;
    uint32_t misses = 0;
    for (int i = 0; i < 5000; i++) {
        char key[24];
        snprintf(key, sizeof key, "hot%d", i % 20);
        if (!store_rig_has(&rig, key)) {
            misses++;
            assert_int_equal(store_rig_put(&rig, key, body_of(2000, 'h')), STORE_OK);
        }
        snprintf(key, sizeof key, "cold%d", i);
        assert_int_equal(store_rig_put(&rig, key, body_of(2000, 'c')), STORE_OK);
        store_quiet(rig.store, 0);
    }
    assert_true(misses < 100);
    assert_true(figures().evicted > 4000);
}

/* Records run out before room does. */
static void test_no_more_objects_than_planned(void **state) {
    (void)state;
    for (int i = 0; i < 10000; i++) {
        char key[24];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(store_rig_put(&rig, key, SPAN("")), STORE_OK);
        store_quiet(rig.store, 0);
    }
    assert_true(figures().objects <= figures().objects_max);
    assert_true(figures().objects > figures().objects_max / 10 * 8);
    assert_int_equal(figures().objects + figures().evicted, 10000);
}

/* What is over goes first, asked for or not, when nobody meets it. */
static void test_clock_takes_what_is_over(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        char key[24];
        snprintf(key, sizeof key, "old%d", i);
        assert_int_equal(store_rig_put_for(&rig, key, body_of(4000, 'o'), MS, 0), STORE_OK);
        assert_true(store_rig_has(&rig, key));
    }
    rig.now_ns += MS;
    for (int i = 0; i < 100; i++) {
        char key[24];
        snprintf(key, sizeof key, "new%d", i);
        assert_int_equal(store_rig_put(&rig, key, body_of(4000, 'n')), STORE_OK);
        store_quiet(rig.store, 0);
    }
    assert_true(figures().expired > 40);
    assert_int_equal(figures().evicted, 0);
}

/* Large ones find room among small ones that are all asked for, if with patience: what is asked for goes then, too. */
static void test_large_among_small(void **state) {
    (void)state;
    char key[24];
    for (int i = 0; figures().bytes_used < STORE_MIB / 10 * 9 && i < 4000; i++) {
        snprintf(key, sizeof key, "small%d", i);
        (void)store_rig_put(&rig, key, body_of(300, 's'));
        assert_true(store_rig_has(&rig, key));
        store_quiet(rig.store, 0);
    }
    enum store_result result = STORE_FULL;
    for (int tries = 0; tries < 40 && result != STORE_OK; tries++) {
        for (int i = 0; i < 4000; i++) {
            snprintf(key, sizeof key, "small%d", i);
            (void)store_rig_has(&rig, key);
        }
        result = store_rig_put(&rig, "large", body_of(100000, 'l'));
        store_quiet(rig.store, 0);
    }
    assert_int_equal(result, STORE_OK);
    assert_true(store_rig_has(&rig, "large"));
    assert_true(figures().objects > 1000);
}

/* The longest free piece has pinned neighbours on both sides: another place is found. */
static void test_large_beside_pinned(void **state) {
    (void)state;
    struct store_object walls[2];
    char key[24];
    assert_int_equal(store_rig_put(&rig, "wall0", body_of(1000, 'w')), STORE_OK);
    assert_int_equal(store_rig_put(&rig, "gone", body_of(120000, 'g')), STORE_OK);
    assert_int_equal(store_rig_put(&rig, "wall1", body_of(1000, 'w')), STORE_OK);
    assert_true(store_rig_get(&rig, "wall0", &walls[0]));
    assert_true(store_rig_get(&rig, "wall1", &walls[1]));
    assert_true(walls[0].body.data < walls[1].body.data);
    assert_true(store_pin(rig.store, &walls[0]));
    assert_true(store_pin(rig.store, &walls[1]));
    for (int i = 0; figures().evicted < 300; i++) {
        snprintf(key, sizeof key, "small%d", i);
        (void)store_rig_put(&rig, key, body_of(300, 's'));
        assert_true(store_rig_has(&rig, "gone"));
        store_quiet(rig.store, 0);
    }
    assert_true(store_rig_drop(&rig, "gone"));
    store_quiet(rig.store, 0);
    assert_int_equal(figures().largest_free, 64 + 120000); /* between the walls */
    enum store_result result = STORE_FULL;
    for (int tries = 0; tries < 20 && result != STORE_OK; tries++) {
        result = store_rig_put(&rig, "large", body_of(130000, 'l'));
        store_quiet(rig.store, 0);
    }
    assert_int_equal(result, STORE_OK);
    assert_int_equal(rig.store->refusals, 0); /* the next one is to be patient again */
    assert_body(&walls[0], 1000, 'w');
    assert_body(&walls[1], 1000, 'w');
    store_unpin(rig.store, walls[0].record);
    store_unpin(rig.store, walls[1].record);
}

/* What is parked holds its record, too: as many others as are left come and go. */
static void test_parked_records_are_not_free(void **state) {
    (void)state;
    enum { FEW = 64 }; /* the least */
    struct store_config config = store_rig_config(NULL);
    struct store_object objects[FEW / 4];
    uint32_t parked = FEW / 4, full = 0;
    char key[16];
    store_offline(rig.store, 0);
    store_rig_close(&rig);
    config.objects = FEW;
    store_rig_open(&rig, &config);
    store_rig_fix(&rig);
    store_online(rig.store, 0);
    for (uint32_t i = 0; i < parked; i++) {
        snprintf(key, sizeof key, "p%u", i);
        assert_int_equal(store_rig_put(&rig, key, SPAN("pinned")), STORE_OK);
        assert_true(store_rig_get(&rig, key, &objects[i]));
        assert_true(store_pin(rig.store, &objects[i]));
        assert_true(store_rig_drop(&rig, key));
    }
    for (uint32_t i = 0; i < 5 * FEW; i++) {
        store_quiet(rig.store, 0);
        snprintf(key, sizeof key, "k%u", i);
        full += store_rig_put(&rig, key, SPAN("")) == STORE_FULL;
    }
    for (uint32_t i = 0; i < parked; i++) {
        store_unpin(rig.store, objects[i].record);
    }
    assert_int_equal(full, 0);
}

/* The CLOCK hand passes objects that are on their way to be free, and then some of them turn out to be pinned. */
static void test_parked_in_the_run(void **state) {
    (void)state;
    enum { UNITS = 256, COUNT = STORE_MIB / STORE_UNIT_BYTES / UNITS, GONE = 16 };
    struct store_object objects[2];
    char key[16];
    store_online(rig.store, 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "k%02u", i);
        assert_int_equal(store_rig_put(&rig, key, body_of(UNITS * STORE_UNIT_BYTES - 64, 'x')), STORE_OK);
    }
    assert_int_equal(figures().bytes_used, STORE_MIB);
    for (uint32_t i = 0; i < GONE; i++) {
        snprintf(key, sizeof key, "k%02u", i);
        if (i == 7 || i == 11) {
            assert_true(store_rig_get(&rig, key, &objects[i / 8]));
            assert_true(store_pin(rig.store, &objects[i / 8]));
        }
        (void)store_rig_drop(&rig, key); /* the first ones were evicted */
    }
    struct span large = body_of(STORE_MIB / STORE_OBJECT_PART - 64, 'l');
    for (uint32_t i = 0; i < 2 * STORE_PATIENCE; i++) {
        assert_int_equal(store_rig_put(&rig, "large", large), STORE_FULL); /* the readers are not quiet */
    }
    enum store_result result = STORE_FULL;
    for (uint32_t tries = 0; tries < 20 && result != STORE_OK; tries++) {
        store_quiet(rig.store, 0);
        store_quiet(rig.store, 1);
        result = store_rig_put(&rig, "large", large);
    }
    store_unpin(rig.store, objects[0].record);
    store_unpin(rig.store, objects[1].record);
    assert_int_equal(result, STORE_OK);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_what_is_asked_for_stays),
        CASE(test_no_more_objects_than_planned),
        CASE(test_clock_takes_what_is_over),
        CASE(test_large_among_small),
        CASE(test_large_beside_pinned),
        CASE(test_parked_records_are_not_free),
        CASE(test_parked_in_the_run),
    };
    return cmocka_run_group_tests_name("store_clock", tests, NULL, NULL);
}
