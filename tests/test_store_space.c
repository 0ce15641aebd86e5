/* Room in the store: free extents against a map of units, and what mixed sizes leave of it after many operations.
 * usage: test_store_space [OPERATIONS]      of the churn; 300,000 without */
#include <stdio.h>
#include <stdlib.h>

#include "random.h"
#include "store_rig.h"

static uint64_t churn_operations = 300 * 1000;

/* What the hand counted is free behind it, or waits. */
static void assert_run(const struct store *store) {
    uint32_t at = store->extents[store->hand].before, units = 0;
    for (; at != STORE_NONE && units < store->run; at = store->extents[at].before) {
        const struct store_extent *extent = &store->extents[at];
        assert_true(extent->state != STORE_LINKED);
        assert_true(extent->state != STORE_FILLING);
        assert_true(extent->state != STORE_PARKED);
        units += extent->units;
    }
    assert_true(units >= store->run);
}

/* Extents fill the mapping side by side, neighbours are never both free, each free one is in the list of its class, and the
 * sums are right. */
static void assert_sane(const struct store *store) {
    uint64_t free = 0, limbo = 0, listed = 0;
    uint32_t unit = 0, before = STORE_NONE, hands = 0, linked = 0, count = 0, objects = 0;
    bool was_free = false;
    for (uint32_t at = store->first; at != STORE_NONE; before = at, at = store->extents[at].after, count++) {
        const struct store_extent *extent = &store->extents[at];
        bool is_free = extent->state == STORE_FREE;
        assert_int_equal(extent->unit, unit);
        assert_int_equal(extent->before, before);
        assert_true(extent->units > 0);
        assert_false(is_free && was_free);
        assert_int_equal(at >= store->objects, is_free);
        hands += at == store->hand;
        linked += extent->state == STORE_LINKED;
        objects += !is_free;
        free += is_free ? extent->units : 0;
        limbo += extent->state == STORE_LIMBO || extent->state == STORE_PARKED ? extent->units : 0;
        unit += extent->units;
        was_free = is_free;
    }
    assert_int_equal(unit, store->units);
    assert_int_equal(hands, 1);
    assert_int_equal(free, store->free_units);
    assert_int_equal(limbo, store->limbo_units);
    assert_int_equal(linked, store->linked);
    assert_int_equal(objects, store->objects - store->records_unused.unused);
    assert_int_equal(objects, store->linked + store->filling + store->waiting);
    assert_int_equal(count - objects, store->objects + 1 - store->frees_unused.unused);
    for (uint32_t class = 0; class < STORE_CLASSES; class++) {
        uint32_t prev = STORE_NONE;
        assert_int_equal(store->class_heads[class] != STORE_NONE, store->classes_used[class / 64] >> class % 64 & 1);
        for (uint32_t at = store->class_heads[class]; at != STORE_NONE; prev = at, at = store->extents[at].next) {
            assert_int_equal(store->extents[at].prev, prev);
            listed += store->extents[at].units;
        }
    }
    assert_int_equal(listed, free);
    assert_run(store);
}

/* --------------------------------------------------------------------------------------------- against a map of units ---- */

enum { MAP_UNITS = STORE_MIB / STORE_UNIT_BYTES, TAKEN_MAX = 4096 };

struct taken {
    uint32_t number, unit, units;
};

static uint32_t longest_free(const bool *used) {
    uint32_t longest = 0, run = 0;
    for (uint32_t unit = 0; unit < MAP_UNITS; unit++) {
        run = used[unit] ? 0 : run + 1;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void mark(bool *used, const struct taken *taken, bool value) {
    for (uint32_t unit = taken->unit; unit < taken->unit + taken->units; unit++) {
        assert_int_equal(used[unit], !value);
        used[unit] = value;
    }
}

static uint32_t random_units(struct random *random) {
    return 1 + random_below(random, 1u << random_below(random, 11));
}

static void give(struct store *store, uint32_t number) {
    assert_true(number != STORE_NONE);
    store->filling--;
    store_space_give(store, number);
}

/* What is taken is nobody else's; and when nothing is found, no run that is longer than the next class is there. */
static void test_units(void **state) {
    (void)state;
    static bool used[MAP_UNITS];
    static struct taken taken[TAKEN_MAX];
    struct random random = random_seeded("store_space");
    struct store_rig rig;
    struct store_config config = store_rig_config(NULL);
    uint32_t count = 0, refused = 0;
    store_rig_open(&rig, &config);
    for (int step = 0; step < 30000; step++) {
        struct taken *next = &taken[count];
        next->units = random_units(&random);
        if (count < TAKEN_MAX && random_below(&random, 100) < 55) {
            next->number = store_space_take(rig.store, next->units);
            if (next->number != STORE_NONE) {
                next->unit = rig.store->extents[next->number].unit;
                mark(used, next, true);
                count++;
            } else {
                refused++;
                assert_true(longest_free(used) < next->units + next->units / 16 + 1);
            }
        } else if (count > 0) {
            uint32_t which = random_below(&random, count);
            mark(used, &taken[which], false);
            give(rig.store, taken[which].number);
            taken[which] = taken[--count];
        }
        if (step % 500 == 0) {
            assert_sane(rig.store);
            assert_int_equal(store_space_largest(rig.store), longest_free(used));
        }
    }
    assert_true(refused > 100);
    while (count > 0) {
        give(rig.store, taken[--count].number);
    }
    assert_sane(rig.store);
    assert_int_equal(store_space_largest(rig.store), MAP_UNITS);
    store_rig_close(&rig);
}

static void test_every_size_fits_what_was_given_back(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_config config = store_rig_config(NULL);
    store_rig_open(&rig, &config);
    for (uint32_t units = MAP_UNITS - 1; units > 0; units -= 1 + units / 50) {
        uint32_t others = store_space_take(rig.store, MAP_UNITS - units);
        assert_true(store_space_fits(rig.store, units));
        assert_false(store_space_fits(rig.store, units + 1));
        uint32_t rest = store_space_take(rig.store, units);
        assert_false(store_space_fits(rig.store, 1));
        give(rig.store, units % 2 == 0 ? rest : others);
        assert_true(store_space_fits(rig.store, units % 2 == 0 ? units : MAP_UNITS - units));
        give(rig.store, units % 2 == 0 ? others : rest);
        assert_sane(rig.store);
    }
    store_rig_close(&rig);
}

/* ----------------------------------------------------------------------------------------------------------- churn ---- */

enum { CHURN_BYTES = 16 * STORE_MIB, CHURN_KEYS = 1 << 17, SAMPLES_EVERY = 1000 };

/* Bodies of the mixes: 64 B to 64 KiB. */
static uint32_t body_bytes(struct random *random, uint32_t mix) {
    switch (mix) {
    case 0: return 64 + random_below(random, 1000);
    case 1: return 64u << random_below(random, 11);
    case 2: return 64 + random_below(random, 65536 - 63);
    case 3: return random_below(random, 50) == 0 ? 65536 : 64 + random_below(random, 200);
    case 4: return 64u + (64u << random_below(random, 10)) / 64 * random_below(random, 64);
    default: return random_below(random, 2) == 0 ? 64 : 30000;
    }
}

struct churn {
    struct store_rig rig;
    struct random random;
    uint64_t puts, full, longest_full, row;
    double least, sum;
    uint64_t samples;
    uint64_t bounded_by; /* most evictions in one call */
};

static struct span churn_key(char text[static 16], uint32_t number) {
    return span_of(text, (size_t)snprintf(text, 16, "key-%u", number));
}

static void churn_put(struct churn *churn, struct span key, uint64_t hash, uint32_t mix) {
    struct store_token token = store_token(churn->rig.store, hash);
    struct store_fill fill;
    uint64_t before = churn->rig.store->evicted;
    enum store_result result = store_reserve(churn->rig.store, key, hash, 20, body_bytes(&churn->random, mix), &fill);
    uint64_t gone = churn->rig.store->evicted - before;
    churn->bounded_by = gone > churn->bounded_by ? gone : churn->bounded_by;
    churn->puts++;
    if (result == STORE_OK) {
        assert_int_equal(store_publish(churn->rig.store, &fill, token, SECOND, 0, churn->rig.now_ns), STORE_OK);
        churn->row = 0;
    } else {
        assert_int_equal(result, STORE_FULL);
        churn->full++;
        churn->row++;
        churn->longest_full = churn->row > churn->longest_full ? churn->row : churn->longest_full;
    }
}

/* Most keys are asked for seldom, a few often: the square of a random number. */
static void churn_operation(struct churn *churn, uint32_t mix) {
    char text[16];
    struct store_object object;
    uint32_t number = (uint32_t)((uint64_t)random_below(&churn->random, CHURN_KEYS) * random_below(&churn->random, CHURN_KEYS) /
                                 CHURN_KEYS);
    struct span key = churn_key(text, number);
    uint64_t hash = store_hash(churn->rig.store, key);
    uint32_t what = random_below(&churn->random, 100);
    if (what < 3) {
        (void)store_invalidate(churn->rig.store, key, hash);
    } else if (what < 5 || !store_get(churn->rig.store, 0, key, hash, churn->rig.now_ns, &object)) {
        churn_put(churn, key, hash, mix);
    }
}

static void churn_sample(struct churn *churn) {
    const struct store *store = churn->rig.store;
    double part = (double)(store->units - store->free_units - store->limbo_units) / (double)store->units;
    churn->least = part < churn->least ? part : churn->least;
    churn->sum += part;
    churn->samples++;
}

/* Once full, four fifths of the bytes and more are live objects', whatever sizes come and go; few fills find no room. */
static void test_churn(void **state) {
    (void)state;
    struct churn churn = { .random = random_seeded("churn"), .least = 1 };
    struct store_config config = store_rig_config(NULL);
    config.bytes = CHURN_BYTES;
    config.objects = 65536;
    store_rig_open(&churn.rig, &config);
    store_rig_fix(&churn.rig);
    store_online(churn.rig.store, 0);
    bool full = false;
    uint32_t mix = 1;
    for (uint64_t i = 0; i < churn_operations; i++) {
        mix = i % 20000 == 0 ? random_below(&churn.random, 6) : mix;
        churn_operation(&churn, mix);
        if (random_below(&churn.random, 8) == 0) {
            store_quiet(churn.rig.store, 0);
            churn.rig.now_ns += random_below(&churn.random, 20) == 0 ? MS : 0;
        }
        full = full || churn.rig.store->evicted > 0;
        if (full && i % SAMPLES_EVERY == 0) {
            churn_sample(&churn);
        }
        if (i % 20000 == 0) {
            assert_sane(churn.rig.store);
        }
    }
    printf("churn: %llu operations, %llu fills, %llu found no room (%llu in a row), most evicted at a time %llu; "
           "live bytes: least %.1f %%, mean %.1f %%\n",
           (unsigned long long)churn_operations, (unsigned long long)churn.puts, (unsigned long long)churn.full,
           (unsigned long long)churn.longest_full, (unsigned long long)churn.bounded_by, 100 * churn.least,
           100 * churn.sum / (double)churn.samples);
    assert_true(churn.samples > 10);
    assert_true(churn.least >= 0.80);
    assert_true(churn.full * 100 < churn.puts * 5);
    assert_sane(churn.rig.store);
    store_offline(churn.rig.store, 0);
    store_rig_close(&churn.rig);
}

/* ---------------------------------------------------------------------------------------------------- bounded work ---- */

/* The worst neighbours: thousands of the smallest where the largest is wanted. */
static void test_work_is_bounded(void **state) {
    (void)state;
    struct store_rig rig;
    char text[16];
    struct store_config config = store_rig_config(NULL);
    config.objects = 20000;
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    for (uint32_t i = 0; i < 16000; i++) {
        struct span key = churn_key(text, i);
        struct store_fill fill;
        uint64_t hash = store_hash(rig.store, key);
        assert_int_equal(store_reserve(rig.store, key, hash, 0, 0, &fill), STORE_OK);
        assert_int_equal(store_publish(rig.store, &fill, store_token(rig.store, hash), SECOND, 0, rig.now_ns), STORE_OK);
    }
    uint32_t calls = 0;
    enum store_result result = STORE_FULL;
    struct store_fill fill;
    for (; result == STORE_FULL && calls < 50; calls++) {
        uint64_t evicted = rig.store->evicted;
        uint32_t records = rig.store->records_unused.unused;
        result = store_reserve(rig.store, SPAN("large"), 1, 0, STORE_MIB / STORE_OBJECT_PART - 64, &fill);
        assert_true(rig.store->evicted - evicted <= STORE_STEPS_MAX);
        assert_true(rig.store->records_unused.unused <= records + 2 * STORE_RECLAIM_MAX);
        records = rig.store->records_unused.unused;
        store_quiet(rig.store, 0);
        assert_true(rig.store->records_unused.unused <= records + STORE_RECLAIM_MAX);
        if (result == STORE_OK) store_abandon(rig.store, &fill);
    }
    assert_int_equal(result, STORE_OK);
    assert_in_range(calls, 2, 8);
    assert_true(rig.store->linked > 10000); /* an eighth, and not much more, had to go */
    assert_sane(rig.store);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

/* Half is free, in pieces of 17 units; somebody wants 64: what lies beside one piece goes, once, and no more than that. */
static void test_pieces_are_joined(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_fill fill;
    char text[16];
    struct store_config config = store_rig_config(NULL);
    store_rig_open(&rig, &config);
    store_rig_fix(&rig);
    store_online(rig.store, 0);
    for (uint32_t i = 0; i < 800; i++) {
        snprintf(text, sizeof text, "k%u", i);
        assert_int_equal(store_rig_put(&rig, text, span_of((char[1000]){ 0 }, 1000)), STORE_OK);
    }
    uint32_t rest = store_space_take(rig.store, store_space_largest(rig.store));
    for (uint32_t i = 0; i < 800; i += 2) {
        snprintf(text, sizeof text, "k%u", i);
        (void)store_rig_drop(&rig, text);
    }
    store_quiet(rig.store, 0);
    uint64_t before = rig.store->evicted;
    assert_int_equal(store_space_largest(rig.store), 17);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_reserve(rig.store, SPAN("k"), 1, 0, 63 * 64, &fill), STORE_FULL);
        assert_in_range(rig.store->evicted, before + 1, before + 3);
    }
    store_quiet(rig.store, 0);
    assert_int_equal(store_reserve(rig.store, SPAN("k"), 1, 0, 63 * 64, &fill), STORE_OK);
    store_abandon(rig.store, &fill);
    give(rig.store, rest);
    assert_sane(rig.store);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_every_size_fits_what_was_given_back),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_work_is_bounded),
        cmocka_unit_test(test_pieces_are_joined),
    };
    if (argc > 1) {
        churn_operations = strtoull(argv[1], NULL, 10);
    }
    return cmocka_run_group_tests_name("store_space", tests, NULL, NULL);
}
