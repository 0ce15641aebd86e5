/* Objects of the store: what a reader finds, when it is gone, and whose memory is used again when. One thread. */
#include <stdlib.h>

#include "death.h"
#include "store_reader.h"

static void test_put_and_get(void **state) {
    (void)state;
    struct store_object object;
    assert_false(store_rig_has(&rig, "a"));
    assert_int_equal(store_rig_put(&rig, "a", SPAN("hello")), STORE_OK);
    assert_true(store_rig_get(&rig, "a", &object));
    assert_true(span_equal(object.body, SPAN("hello")));
    assert_true(span_equal(object.meta, SPAN("meta")));
    assert_int_equal((uintptr_t)object.body.data % 64, 0);
    assert_int_equal((uintptr_t)object.meta.data % 8, 0);
    assert_false(object.cold);
    assert_false(store_rig_has(&rig, "b"));
    assert_int_equal(figures().objects, 1);
    assert_int_equal(figures().bytes_used, 128);
    assert_int_equal(figures().published, 1);
}

struct lengths {
    const char *name;
    uint32_t key, meta, body;
    enum store_result result;
    uint32_t units;
};

static const struct lengths lengths[] = {
    { "no_body", 1, 0, 0, STORE_OK, 1 },
    { "nothing_but_a_body", 0, 0, 1, STORE_OK, 1 },
    { "nothing", 0, 0, 0, STORE_OK, 1 },
    { "key_and_meta_share_a_unit", 9, 48, 64, STORE_OK, 2 },
    { "meta_needs_another", 9, 49, 64, STORE_OK, 3 },
    { "one_more_byte", 9, 48, 65, STORE_OK, 3 },
    { "longest_key", STORE_KEY_BYTES_MAX, 0, 1, STORE_OK, 17 },
    { "key_too_long", STORE_KEY_BYTES_MAX + 1, 0, 1, STORE_TOO_LARGE, 0 },
    { "longest_meta", 8, STORE_META_BYTES_MAX, 1, STORE_OK, 258 },
    { "meta_too_long", 8, STORE_META_BYTES_MAX + 1, 1, STORE_TOO_LARGE, 0 },
    { "largest", 8, 8, STORE_MIB / STORE_OBJECT_PART - 64, STORE_OK, 2048 },
    { "too_large", 8, 8, STORE_MIB / STORE_OBJECT_PART - 63, STORE_TOO_LARGE, 0 },
    { "body_beyond_all", 8, 8, UINT32_MAX, STORE_TOO_LARGE, 0 },
};

static void test_lengths(void **state) {
    const struct lengths *row = *state;
    (void)setup(NULL);
    struct span key = body_of(row->key, 'k');
    uint64_t hash = store_hash(rig.store, key);
    struct store_token token = store_token(rig.store, hash);
    struct store_fill fill;
    struct store_object object;
    assert_int_equal(store_reserve(rig.store, key, hash, row->meta, row->body, &fill), row->result);
    if (row->result == STORE_OK) {
        assert_int_equal(fill.meta_len, row->meta);
        assert_int_equal(fill.body_len, row->body);
        assert_int_equal(figures().bytes_used, (uint64_t)row->units * STORE_UNIT_BYTES);
        memset(fill.meta, 'm', row->meta);
        memset(fill.body, 'b', row->body);
        assert_int_equal(store_publish(rig.store, &fill, token, SECOND, 0, rig.now_ns), STORE_OK);
        assert_true(store_get(rig.store, 0, body_of(row->key, 'k'), hash, rig.now_ns, &object));
        assert_int_equal(object.meta.len, row->meta);
        assert_body(&object, row->body, 'b');
    }
    assert_int_equal(figures().too_large, row->result == STORE_TOO_LARGE);
    (void)teardown(NULL);
}

/* The hash finds the place; the key decides. */
static void test_keys_of_one_hash(void **state) {
    (void)state;
    struct store_object object;
    struct store_fill fill;
    assert_int_equal(store_reserve(rig.store, SPAN("one"), 7, 0, 3, &fill), STORE_OK);
    assert_true(store_fill_write(rig.store, fill.body, "ONE", 3));
    assert_int_equal(store_publish(rig.store, &fill, store_token(rig.store, 7), SECOND, 0, rig.now_ns), STORE_OK);
    assert_true(store_get(rig.store, 0, SPAN("one"), 7, rig.now_ns, &object));
    assert_false(store_get(rig.store, 0, SPAN("two"), 7, rig.now_ns, &object));
    assert_false(store_get(rig.store, 0, SPAN("one "), 7, rig.now_ns, &object));
    assert_false(store_get(rig.store, 0, SPAN("on"), 7, rig.now_ns, &object));
    assert_false(store_get(rig.store, 0, SPAN("one"), 7 ^ UINT64_C(1) << 63, rig.now_ns, &object));
    /* the other one takes its place */
    assert_int_equal(store_reserve(rig.store, SPAN("two"), 7, 0, 3, &fill), STORE_OK);
    assert_int_equal(store_publish(rig.store, &fill, store_token(rig.store, 7), SECOND, 0, rig.now_ns), STORE_OK);
    assert_false(store_get(rig.store, 0, SPAN("one"), 7, rig.now_ns, &object));
    assert_true(store_get(rig.store, 0, SPAN("two"), 7, rig.now_ns, &object));
    assert_int_equal(figures().replaced, 1);
    /* a hash whose tag and bucket are all zeros is not an empty word */
    assert_false(store_get(rig.store, 0, SPAN("zero"), 0, rig.now_ns, &object));
}

struct life {
    const char *name;
    uint64_t published_ns, ttl_ns, grace_ns; /* published: after the full ms that the rig starts with */
    uint64_t asked_ns;
    bool found;
    uint64_t age_ms, fresh_ms;
};

static const struct life lives[] = {
    { "fresh_at_once", 0, 5 * MS, 0, 0, true, 0, 5 },
    { "fresh_to_the_end", 0, 5 * MS, 0, 5 * MS - 1, true, 4, 1 },
    { "over", 0, 5 * MS, 0, 5 * MS, false, 0, 0 },
    { "grace", 0, 5 * MS, 2 * MS, 5 * MS, true, 5, 0 },
    { "grace_to_the_end", 0, 5 * MS, 2 * MS, 7 * MS - 1, true, 6, 0 },
    { "grace_over", 0, 5 * MS, 2 * MS, 7 * MS, false, 0, 0 },
    { "part_of_a_ms_counts_as_one", 0, 5 * MS + 1, 0, 6 * MS - 1, true, 5, 1 },
    { "but_not_as_two", 0, 5 * MS + 1, 0, 6 * MS, false, 0, 0 },
    { "parts_make_one_ms", 0, MS / 2, MS / 2, MS - 1, true, 0, 1 },
    { "parts_make_no_two", 0, MS / 2, MS / 2, MS, false, 0, 0 },
    { "never_shorter_than_was_asked", MS / 2, MS, 0, MS + MS / 2 - 1, true, 1, 1 },
    { "no_time_at_all", 0, 0, 0, 0, false, 0, 0 },
    { "only_grace", 0, 0, MS, 0, true, 0, 0 },
    { "for_ever", 0, UINT64_MAX, UINT64_MAX, UINT64_C(1) << 62, true, (UINT64_C(1) << 62) / MS,
      UINT64_MAX / MS + 1 - (UINT64_C(1) << 62) / MS },
};

static void test_lives(void **state) {
    const struct life *row = *state;
    (void)setup(NULL);
    struct store_object object;
    uint64_t start = rig.now_ns;
    rig.now_ns = start + row->published_ns;
    assert_int_equal(store_rig_put_for(&rig, "k", SPAN("v"), row->ttl_ns, row->grace_ns), STORE_OK);
    rig.now_ns = start + row->asked_ns;
    assert_int_equal(store_rig_get(&rig, "k", &object), row->found);
    if (row->found) {
        assert_int_equal(object.age_ms, row->age_ms);
        assert_int_equal(object.fresh_ms, row->fresh_ms);
    }
    assert_int_equal(figures().expired, row->found ? 0 : 1);
    assert_int_equal(figures().objects, row->found ? 1 : 0);
    (void)teardown(NULL);
}

/* A reader whose clock was read a little before the writer's. */
static void test_age_is_not_negative(void **state) {
    (void)state;
    struct store_object object;
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    rig.now_ns -= 3 * MS;
    assert_true(store_rig_get(&rig, "k", &object));
    assert_int_equal(object.age_ms, 0);
}

static void test_replace(void **state) {
    (void)state;
    struct store_object old, new;
    assert_int_equal(store_rig_put(&rig, "k", body_of(100, 'a')), STORE_OK);
    assert_true(store_rig_get(&rig, "k", &old));
    assert_int_equal(store_rig_put(&rig, "k", body_of(200, 'b')), STORE_OK);
    assert_true(store_rig_get(&rig, "k", &new));
    assert_body(&new, 200, 'b');
    assert_body(&old, 100, 'a'); /* until this reader is quiet */
    assert_int_equal(figures().replaced, 1);
    assert_int_equal(figures().objects, 1);
    assert_int_equal(figures().waiting_bytes, 192);
    store_quiet(rig.store, 0);
    assert_int_equal(figures().waiting_bytes, 0);
    assert_int_equal(figures().bytes_used, 64 + 256);
}

static void test_invalidate(void **state) {
    (void)state;
    assert_false(store_rig_drop(&rig, "k"));
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    assert_true(store_rig_drop(&rig, "k"));
    assert_false(store_rig_has(&rig, "k"));
    assert_false(store_rig_drop(&rig, "k"));
    assert_int_equal(figures().invalidated, 1);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    assert_true(store_rig_has(&rig, "k"));
}

/* A fill shows the token that was taken before its data was read. */
static void test_outdated(void **state) {
    (void)state;
    struct store_fill before, after;
    uint64_t hash = store_hash(rig.store, SPAN("k"));
    struct store_token token = store_token(rig.store, hash);
    assert_int_equal(store_rig_fill(&rig, SPAN("k"), SPAN(""), SPAN("old"), &before), STORE_OK);
    assert_false(store_rig_drop(&rig, "k"));
    assert_int_equal(store_rig_fill(&rig, SPAN("k"), SPAN(""), SPAN("old"), &after), STORE_OK);
    assert_int_equal(store_publish(rig.store, &before, token, SECOND, 0, rig.now_ns), STORE_OUTDATED);
    assert_int_equal(store_publish(rig.store, &after, token, SECOND, 0, rig.now_ns), STORE_OUTDATED);
    assert_false(store_rig_has(&rig, "k"));
    assert_int_equal(figures().outdated, 2);
    assert_int_equal(figures().waiting_bytes, 2 * 128); /* who has filled them may go on to read them */
    store_quiet(rig.store, 0);
    assert_int_equal(figures().bytes_used, 0);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("new")), STORE_OK);
    assert_true(store_rig_has(&rig, "k"));
}

static void test_abandon(void **state) {
    (void)state;
    struct store_fill fill;
    assert_int_equal(store_rig_fill(&rig, SPAN("k"), SPAN(""), body_of(5000, 'x'), &fill), STORE_OK);
    assert_false(store_rig_has(&rig, "k"));
    assert_true(figures().bytes_used > 0);
    store_abandon(rig.store, &fill);
    assert_int_equal(figures().bytes_used, 0);
    assert_int_equal(figures().largest_free, STORE_MIB);
}

/* How a fill ends, that its writer reads before: invalidated meanwhile, or nobody else's from the beginning. */
struct ending {
    const char *name;
    bool publish, invalidate;
    enum store_result result;
};

static const struct ending endings[] = {
    { "published", true, false, STORE_OK },
    { "outdated", true, true, STORE_OUTDATED },
    { "retired", false, false, STORE_OK },
    { "retired_and_invalidated", false, true, STORE_OK },
};

/* It is its writer's to the end of the turn, and beyond when it is pinned, whoever may find it. */
static void test_filled_and_read(void **state) {
    const struct ending *row = *state;
    (void)setup(NULL);
    uint64_t hash = store_hash(rig.store, SPAN("k"));
    struct store_token token = store_token(rig.store, hash);
    struct store_fill fill;
    assert_int_equal(store_rig_fill(&rig, SPAN("k"), SPAN("meta"), body_of(5000, 'x'), &fill), STORE_OK);
    if (row->invalidate) {
        (void)store_rig_drop(&rig, "k");
    }
    struct store_object object = store_fill_object(rig.store, &fill);
    if (row->publish) {
        assert_int_equal(store_publish(rig.store, &fill, token, SECOND, 0, rig.now_ns), row->result);
    } else {
        store_retire(rig.store, &fill);
    }
    bool found = row->publish && !row->invalidate;
    assert_int_equal(store_rig_has(&rig, "k"), found);
    (void)store_rig_drop(&rig, "k");
    assert_int_equal(store_rig_put(&rig, "another", body_of(5000, 'y')), STORE_OK); /* not where it lies */
    assert_true(span_equal(object.meta, SPAN("meta")));
    assert_body(&object, 5000, 'x');
    assert_true(store_pin(rig.store, &object));
    store_quiet(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "a_third", body_of(5000, 'z')), STORE_OK);
    assert_body(&object, 5000, 'x');
    assert_int_equal(figures().objects, 2);
    store_unpin(rig.store, object.record);
    store_quiet(rig.store, 0);
    assert_int_equal(figures().waiting_bytes, 0);
    (void)teardown(NULL);
}

/* ------------------------------------------------------------------------------------------------------ readers ---- */

/* Each of the readers must have been quiet since. */
static void test_all_readers_are_waited_for(void **state) {
    (void)state;
    store_online(rig.store, 1);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    assert_true(store_rig_drop(&rig, "k"));
    store_quiet(rig.store, 0);
    store_quiet(rig.store, 0);
    assert_int_equal(figures().waiting_bytes, 128);
    store_quiet(rig.store, 1);
    assert_int_equal(figures().waiting_bytes, 0);
    assert_int_equal(figures().bytes_used, 0);
}

static void test_who_sleeps_is_not_waited_for(void **state) {
    (void)state;
    store_online(rig.store, 1);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    assert_true(store_rig_drop(&rig, "k"));
    store_quiet(rig.store, 0);
    store_offline(rig.store, 1);
    assert_int_equal(figures().waiting_bytes, 0);
    store_offline(rig.store, 1); /* once more is nothing */
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    assert_true(store_rig_drop(&rig, "k"));
    store_offline(rig.store, 0);
    assert_int_equal(figures().waiting_bytes, 0);
    store_online(rig.store, 0);
}

/* Who comes online later can't have it. */
static void test_who_comes_later_is_not_waited_for(void **state) {
    (void)state;
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    assert_true(store_rig_drop(&rig, "k"));
    store_online(rig.store, 1);
    store_quiet(rig.store, 0);
    assert_int_equal(figures().waiting_bytes, 0);
}

/* Memory of what a reader may look at is not written, however much is stored meanwhile. */
static void test_what_was_got_stays(void **state) {
    (void)state;
    struct store_object object;
    assert_int_equal(store_rig_put(&rig, "kept", body_of(3000, 'k')), STORE_OK);
    store_online(rig.store, 1);
    assert_true(store_rig_get(&rig, "kept", &object));
    assert_true(store_rig_drop(&rig, "kept"));
    for (int i = 0; i < 3000; i++) {
        char key[24];
        snprintf(key, sizeof key, "k%d", i);
        enum store_result result = store_rig_put(&rig, key, body_of(3000, 'x'));
        assert_true(result == STORE_OK || result == STORE_FULL);
        store_quiet(rig.store, 1);
    }
    assert_body(&object, 3000, 'k');
    assert_true(figures().full > 0);
    store_quiet(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "more", body_of(3000, 'x')), STORE_OK);
}

/* --------------------------------------------------------------------------------------------------------- pins ---- */

static void test_pinned_outlives_all(void **state) {
    (void)state;
    struct store_object object;
    assert_int_equal(store_rig_put(&rig, "k", body_of(50000, 'p')), STORE_OK);
    assert_true(store_rig_get(&rig, "k", &object));
    assert_true(store_pin(rig.store, &object));
    assert_true(store_pin(rig.store, &object));
    assert_int_equal(figures().pinned_bytes, 64 + 50048); /* once */
    assert_true(store_rig_drop(&rig, "k"));
    store_quiet(rig.store, 0);
    store_offline(rig.store, 0);
    assert_int_equal(figures().waiting_bytes, 64 + 50048);
    store_unpin(rig.store, object.record);
    for (int i = 0; i < 100; i++) {
        (void)store_rig_put(&rig, "other", body_of(50000, 'x'));
    }
    assert_body(&object, 50000, 'p');
    assert_true(store_pin(rig.store, &object)); /* who has pinned it may do so again */
    store_unpin(rig.store, object.record);
    uint64_t waiting = figures().waiting_bytes;
    store_unpin(rig.store, object.record);
    assert_int_equal(figures().pinned_bytes, 0);
    assert_int_equal(figures().waiting_bytes, waiting - (64 + 50048));
    store_online(rig.store, 0);
}

/* Unpinned before its readers are quiet, it waits for them. */
static void test_unpinned_waits_for_readers(void **state) {
    (void)state;
    struct store_object object;
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    assert_true(store_rig_get(&rig, "k", &object));
    assert_true(store_pin(rig.store, &object));
    assert_true(store_rig_drop(&rig, "k"));
    store_unpin(rig.store, object.record);
    assert_int_equal(figures().waiting_bytes, 128);
    store_quiet(rig.store, 0);
    assert_int_equal(figures().waiting_bytes, 0);
}

/* A quarter of the store is the most; an object that is pinned already needs nothing more. */
static void test_pins_have_a_limit(void **state) {
    (void)state;
    struct store_object objects[9];
    uint32_t pinned = 0;
    for (int i = 0; i < 9; i++) {
        char key[24];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(store_rig_put(&rig, key, body_of(30000, 'p')), STORE_OK);
        assert_true(store_rig_get(&rig, key, &objects[i]));
        pinned += store_pin(rig.store, &objects[i]);
    }
    assert_int_equal(pinned, STORE_MIB / STORE_PINNED_PART / (64 + 30016));
    assert_int_equal(figures().pinned_bytes, 8 * (64 + 30016));
    assert_false(store_pin(rig.store, &objects[8]));
    assert_true(store_pin(rig.store, &objects[0]));
    store_unpin(rig.store, objects[0].record);
    store_unpin(rig.store, objects[0].record);
    assert_true(store_pin(rig.store, &objects[8]));
    for (int i = 1; i < 9; i++) {
        store_unpin(rig.store, objects[i].record);
    }
    assert_int_equal(figures().pinned_bytes, 0);
}

/* CLOCK goes round what is pinned. */
static void test_pinned_is_not_evicted(void **state) {
    (void)state;
    struct store_object object;
    assert_int_equal(store_rig_put(&rig, "pinned", body_of(30000, 'p')), STORE_OK);
    assert_true(store_rig_get(&rig, "pinned", &object));
    assert_true(store_pin(rig.store, &object));
    for (int i = 0; i < 500; i++) {
        char key[24];
        snprintf(key, sizeof key, "k%d", i);
        (void)store_rig_put(&rig, key, body_of(30000, 'x'));
        store_quiet(rig.store, 0);
    }
    assert_true(figures().evicted > 100);
    assert_true(store_rig_has(&rig, "pinned"));
    assert_body(&object, 30000, 'p');
    store_unpin(rig.store, object.record);
}

static void put_hashed(uint64_t hash, uint64_t ttl_ns) {
    struct store_fill fill;
    struct store_token token = store_token(rig.store, hash);
    assert_int_equal(store_reserve(rig.store, SPAN("k"), hash, 0, 1, &fill), STORE_OK);
    assert_int_equal(store_publish(rig.store, &fill, token, ttl_ns, 0, rig.now_ns), STORE_OK);
}

static bool has_hashed(uint64_t hash) {
    struct store_object object;
    return store_get(rig.store, 0, SPAN("k"), hash, rig.now_ns, &object);
}

/* Eight for the seven places of a bucket: what is over goes, else what nobody asked for, else any. */
static void test_full_bucket(void **state) {
    (void)state;
    for (uint64_t i = 1; i <= STORE_WAYS; i++) {
        put_hashed(i << 40, i == 4 ? MS : SECOND);
        assert_true(i == 6 || has_hashed(i << 40)); /* the sixth is not asked for */
    }
    rig.now_ns += MS;
    put_hashed(8ull << 40, SECOND);
    assert_int_equal(figures().expired, 1);
    assert_int_equal(figures().evicted, 0);
    assert_true(has_hashed(8ull << 40));
    put_hashed(9ull << 40, SECOND);
    assert_int_equal(figures().evicted, 1);
    assert_false(has_hashed(6ull << 40));
    assert_true(has_hashed(9ull << 40));
    put_hashed(10ull << 40, SECOND);
    uint32_t left = 0;
    for (uint64_t i = 1; i <= 10; i++) {
        left += has_hashed(i << 40);
    }
    assert_int_equal(left, STORE_WAYS);
    assert_true(has_hashed(10ull << 40));
    assert_int_equal(figures().evicted, 2);
    assert_int_equal(figures().objects, STORE_WAYS);
}

/* ------------------------------------------------------------------------------------------------------ mistakes ---- */

static volatile uint32_t ignored;

static void get_offline(void *arg) {
    (void)arg;
    struct store_object object;
    ignored = store_get(rig.store, 1, SPAN("k"), 1, rig.now_ns, &object);
}

static void quiet_offline(void *arg) {
    (void)arg;
    store_quiet(rig.store, 1);
}

static void online_twice(void *arg) {
    (void)arg;
    store_online(rig.store, 0);
}

static void unknown_reader(void *arg) {
    (void)arg;
    store_online(rig.store, 2);
}

static void close_online(void *arg) {
    (void)arg;
    store_rig_close(&rig);
}

static void close_filling(void *arg) {
    (void)arg;
    struct store_fill fill;
    store_offline(rig.store, 0);
    (void)store_rig_fill(&rig, SPAN("k"), SPAN(""), SPAN(""), &fill);
    store_rig_close(&rig);
}

static void close_pinned(void *arg) {
    (void)arg;
    struct store_object object;
    (void)store_rig_put(&rig, "k", SPAN("v"));
    (void)store_rig_get(&rig, "k", &object);
    ignored = store_pin(rig.store, &object);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

static void unpin_twice(void *arg) {
    (void)arg;
    struct store_object object;
    (void)store_rig_put(&rig, "k", SPAN("v"));
    (void)store_rig_get(&rig, "k", &object);
    ignored = store_pin(rig.store, &object);
    store_unpin(rig.store, object.record);
    store_unpin(rig.store, object.record);
}

static void abandon_pinned(void *arg) {
    (void)arg;
    struct store_fill fill;
    (void)store_rig_fill(&rig, SPAN("k"), SPAN(""), SPAN("v"), &fill);
    struct store_object object = store_fill_object(rig.store, &fill);
    ignored = store_pin(rig.store, &object);
    store_abandon(rig.store, &fill);
}

static void publish_twice(void *arg) {
    (void)arg;
    struct store_fill fill;
    (void)store_rig_fill(&rig, SPAN("k"), SPAN(""), SPAN(""), &fill);
    ignored = store_publish(rig.store, &fill, store_token(rig.store, 1), SECOND, 0, rig.now_ns);
    ignored = store_publish(rig.store, &fill, store_token(rig.store, 1), SECOND, 0, rig.now_ns);
}

static void nothing_wrong(void *arg) {
    (void)arg;
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

static void test_mistakes(void **state) {
    (void)state;
    static void (*const mistakes[])(void *) = { get_offline,   quiet_offline, online_twice, unknown_reader, close_online,
                                                close_filling, close_pinned,  unpin_twice,  publish_twice, abandon_pinned };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        assert_true(asserts(mistakes[i], NULL));
    }
    assert_false(asserts(nothing_wrong, NULL));
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(store_result_name(STORE_OK), "ok");
    assert_string_equal(store_result_name(STORE_TOO_LARGE), "too large");
    assert_string_equal(store_result_name(STORE_FULL), "full");
    assert_string_equal(store_result_name(STORE_OUTDATED), "outdated");
    assert_string_equal(store_result_name(STORE_BROKEN), "broken");
}

int main(void) {
    static struct rows tests;
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest cases[] = {
        CASE(test_put_and_get), CASE(test_keys_of_one_hash), CASE(test_age_is_not_negative), CASE(test_replace),
        CASE(test_invalidate), CASE(test_outdated), CASE(test_abandon), CASE(test_all_readers_are_waited_for),
        CASE(test_who_sleeps_is_not_waited_for), CASE(test_who_comes_later_is_not_waited_for), CASE(test_what_was_got_stays),
        CASE(test_pinned_outlives_all), CASE(test_unpinned_waits_for_readers), CASE(test_pins_have_a_limit),
        CASE(test_pinned_is_not_evicted), CASE(test_full_bucket), CASE(test_mistakes),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tests.tests[tests.count++] = cases[i];
    }
    ROWS_ADD(&tests, test_lengths, lengths);
    ROWS_ADD(&tests, test_lives, lives);
    ROWS_ADD(&tests, test_filled_and_read, endings);
    ROWS_TEST(&tests, test_names);
    return rows_run("store_object", &tests);
}
