/* The store against a plain model, with hashes of their own for all keys, and with one for two: random fills, invalidations, pins,
 * readers that are quiet or not, time. The store may forget whatever it likes; the model says what must not be found, and what the
 * bytes are of what is: those of what was got stay as long as they may be looked at. */
#include <stdlib.h>

#include "random.h"
#include "store_rig.h"

enum { KEYS = 300, READERS = 3, FILLS = 6, PINS = 6, HELD = 12, STEPS = 60 * 1000, BODY_MAX = 60000 };

/* What the store was last told about a key. */
struct known {
    uint32_t version;       /* of what was published last; 0: there must be nothing */
    uint64_t fresh_until_ns, grace_until_ns, stored_ns;
};

struct open_fill {
    bool open;
    uint32_t key, version;
    struct store_fill fill;
    struct store_token token;
    uint32_t invalidations; /* of its key when the token was taken */
};

/* An object that somebody holds: by his turn or by a pin. */
struct held {
    bool is;
    uint32_t key, version;
    struct store_object object;
};

/* What two keys of the same length share. */
enum sharing { OWN_HASH, SHARED_TAG, SHARED_HASH }; /* tag: and bucket, but not all of the hash */

static enum sharing sharing;
static struct store_rig rig;
static struct random rng;
static struct known known[KEYS];
static uint32_t invalidations[KEYS], versions;
static bool online[READERS];
static struct held held[READERS][HELD], pins[PINS];
static struct open_fill fills[FILLS];
static uint64_t hits, misses, fulls, outdated, pinned, over;

static struct span key_of(uint32_t key) {
    static char text[40];
    int len = snprintf(text, sizeof text, "%0*u", (int)(4 + key % 30), key);
    return span_of(text, (size_t)len);
}

static uint64_t hash_of(uint32_t key) {
    uint32_t half = KEYS / 2, second = key / half; /* lengths repeat every 30 keys */
    if (sharing == OWN_HASH) {
        return store_hash(rig.store, key_of(key));
    }
    uint64_t hash = store_hash(rig.store, key_of(key % half));
    return sharing == SHARED_TAG ? hash ^ (uint64_t)second << (STORE_TAG_SHIFT - 1) : hash;
}

/* Lengths and bytes of a version are made of its number. */
static uint32_t body_len(uint32_t version) {
    return version % 3 == 0 ? version * 7919 % BODY_MAX : version * 7919 % 700;
}

static const char *bytes_of(uint32_t key, uint32_t version, uint32_t len) {
    static char bytes[BODY_MAX];
    struct random pattern = { (uint64_t)key << 32 | version };
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t word = random_next(&pattern);
        memcpy(bytes + i, &word, 8);
    }
    return bytes;
}

static void assert_held(const struct held *it) {
    static char copy[BODY_MAX];
    assert_int_equal(it->object.meta.len, sizeof it->version);
    assert_int_equal(it->object.body.len, body_len(it->version));
    assert_true(store_copy(rig.store, copy, it->object.meta.data, sizeof it->version));
    assert_memory_equal(copy, &it->version, sizeof it->version);
    assert_true(store_copy(rig.store, copy, it->object.body.data, it->object.body.len));
    assert_memory_equal(copy, bytes_of(it->key, it->version, body_len(it->version)), it->object.body.len);
}

static void assert_all_held(uint32_t reader) {
    for (uint32_t i = 0; i < HELD; i++) {
        if (held[reader][i].is) assert_held(&held[reader][i]);
    }
}

static void hold(struct held *slots, uint32_t count, struct held it) {
    for (uint32_t i = 0; i < count; i++) {
        if (!slots[i].is) {
            slots[i] = it;
            return;
        }
    }
    slots[random_below(&rng, count)] = it;
}

static void do_begin_fill(void) {
    struct open_fill *it = &fills[random_below(&rng, FILLS)];
    if (it->open) return;
    it->key = random_below(&rng, KEYS);
    it->version = ++versions;
    it->token = store_token(rig.store, hash_of(it->key));
    it->invalidations = invalidations[it->key];
    enum store_result result =
        store_reserve(rig.store, key_of(it->key), hash_of(it->key), sizeof it->version, body_len(it->version), &it->fill);
    it->open = result == STORE_OK;
    fulls += result == STORE_FULL;
    assert_true(result == STORE_OK || result == STORE_FULL);
    if (it->open) {
        assert_true(store_fill_write(rig.store, it->fill.meta, &it->version, sizeof it->version));
        const char *bytes = bytes_of(it->key, it->version, it->fill.body_len);
        assert_true(store_fill_write(rig.store, it->fill.body, bytes, it->fill.body_len));
    }
}

/* An invalidation since the token must outdate it; without any in this bucket it must not, but the model knows keys only. */
static void do_end_fill(void) {
    struct open_fill *it = &fills[random_below(&rng, FILLS)];
    if (!it->open) return;
    it->open = false;
    if (random_below(&rng, 10) == 0) {
        store_abandon(rig.store, &it->fill);
        return;
    }
    uint64_t ttl = random_below(&rng, 1500) * MS, grace = random_below(&rng, 2) * random_below(&rng, 1500) * MS;
    enum store_result result = store_publish(rig.store, &it->fill, it->token, ttl, grace, rig.now_ns);
    bool must_fail = it->invalidations != invalidations[it->key];
    outdated += result == STORE_OUTDATED;
    assert_true(result == STORE_OK || result == STORE_OUTDATED);
    assert_false(must_fail && result == STORE_OK);
    if (result == STORE_OK) {
        known[it->key] = (struct known){ it->version, rig.now_ns + ttl, rig.now_ns + ttl + grace, rig.now_ns };
    }
}

static void do_get(void) {
    uint32_t reader = random_below(&rng, READERS), key = random_below(&rng, KEYS);
    struct held it = { .is = true, .key = key, .version = known[key].version };
    if (!online[reader]) return;
    bool found = store_get(rig.store, reader, key_of(key), hash_of(key), rig.now_ns, &it.object);
    if (known[key].version == 0 || known[key].grace_until_ns <= rig.now_ns) {
        over += known[key].version != 0;
        assert_false(found);
    }
    hits += found;
    misses += !found;
    if (found) {
        uint64_t fresh = known[key].fresh_until_ns > rig.now_ns ? known[key].fresh_until_ns - rig.now_ns : 0;
        assert_int_equal(it.object.fresh_ms, fresh / MS);
        assert_int_equal(it.object.age_ms, (rig.now_ns - known[key].stored_ns) / MS);
        assert_held(&it);
        hold(held[reader], HELD, it);
    } else {
        known[key].version = 0; /* what is gone comes back by a fill only */
    }
}

static void do_invalidate(void) {
    uint32_t key = random_below(&rng, KEYS);
    bool found = store_invalidate(rig.store, key_of(key), hash_of(key));
    bool other = sharing == SHARED_HASH; /* what was found may be that of the other key, which is missed from now on */
    assert_false(found && known[key].version == 0 && !other);
    known[key].version = 0;
    invalidations[key]++;
}

static void do_pin(void) {
    uint32_t reader = random_below(&rng, READERS), which = random_below(&rng, 3), slot = random_below(&rng, PINS);
    if (!online[reader] || !held[reader][which].is || pins[slot].is) return;
    if (store_pin(rig.store, &held[reader][which].object)) {
        pins[slot] = held[reader][which];
        pinned++;
    }
}

static void do_unpin(void) {
    struct held *it = &pins[random_below(&rng, PINS)];
    if (it->is) {
        assert_held(it);
        store_unpin(rig.store, it->object.record);
        it->is = false;
    }
}

static void do_turn(void) {
    uint32_t reader = random_below(&rng, READERS);
    if (!online[reader]) {
        store_online(rig.store, reader);
        online[reader] = true;
        return;
    }
    assert_all_held(reader);
    memset(held[reader], 0, sizeof held[reader]);
    if (random_below(&rng, 4) == 0) {
        store_offline(rig.store, reader);
        online[reader] = false;
    } else {
        store_quiet(rig.store, reader);
    }
}

static void do_time(void) {
    rig.now_ns += random_below(&rng, 3) * MS;
}

static void (*const operations[])(void) = {
    do_begin_fill, do_begin_fill, do_begin_fill, do_end_fill, do_end_fill, do_end_fill, do_get, do_get, do_get,
    do_get,        do_get,        do_invalidate, do_pin,      do_unpin,    do_turn,     do_turn, do_turn, do_time,
};

static void end_all(void) {
    for (uint32_t i = 0; i < FILLS; i++) {
        if (fills[i].open) store_abandon(rig.store, &fills[i].fill);
    }
    for (uint32_t i = 0; i < PINS; i++) {
        if (pins[i].is) store_unpin(rig.store, pins[i].object.record);
    }
    for (uint32_t i = 0; i < READERS; i++) {
        assert_all_held(i);
        store_offline(rig.store, i);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        (void)store_invalidate(rig.store, key_of(i), hash_of(i));
    }
    store_online(rig.store, 0);
    struct store_fill fill; /* makes free what waited */
    assert_int_equal(store_reserve(rig.store, SPAN("last"), 1, 0, 1, &fill), STORE_OK);
    store_abandon(rig.store, &fill);
    struct store_figures figures = store_rig_figures(&rig);
    assert_int_equal(figures.objects, 0);
    assert_int_equal(figures.bytes_used, 0);
    assert_int_equal(figures.waiting_bytes, 0);
    assert_int_equal(figures.pinned_bytes, 0);
    assert_int_equal(figures.largest_free, STORE_MIB);
    assert_int_equal(rig.store->parked_units, 0);
    store_offline(rig.store, 0);
}

static void start_anew(void) {
    memset(known, 0, sizeof known);
    memset(invalidations, 0, sizeof invalidations);
    memset(online, 0, sizeof online);
    memset(held, 0, sizeof held);
    memset(pins, 0, sizeof pins);
    memset(fills, 0, sizeof fills);
    versions = 0;
    hits = misses = fulls = outdated = pinned = over = 0;
}

static void run_model(enum sharing share, uint32_t steps) {
    sharing = share;
    start_anew();
    struct store_config config = store_rig_config(NULL);
    config.readers = READERS;
    config.objects = 256;
    rng = random_seeded("store_model");
    store_rig_open(&rig, &config);
    store_rig_fix(&rig);
    for (uint32_t i = 0; i < steps; i++) {
        operations[random_below(&rng, sizeof operations / sizeof *operations)]();
    }
    struct store_figures figures = store_rig_figures(&rig);
    printf("%llu hits, %llu misses, %llu over, %llu found no room, %llu outdated, %llu pins, %llu evicted\n",
           (unsigned long long)hits, (unsigned long long)misses, (unsigned long long)over, (unsigned long long)fulls,
           (unsigned long long)outdated, (unsigned long long)pinned, (unsigned long long)figures.evicted);
    assert_true(hits > steps / 50);
    assert_true(misses > steps / 50);
    assert_true(over > steps / 3000);
    assert_true(outdated > steps / 1200);
    assert_true(pinned > steps / 1200);
    assert_true(figures.evicted > steps / 1200);
    end_all();
    store_rig_close(&rig);
}

static void test_model(void **state) {
    (void)state;
    run_model(OWN_HASH, STEPS);
}

static void test_keys_share_a_tag(void **state) {
    (void)state;
    run_model(SHARED_TAG, STEPS / 2);
}

/* A get compares the whole key: it never finds the other one's object. An invalidation may cost the other one's, and nothing of
 * its own key is left behind, whichever has the place. */
static void test_keys_share_a_hash(void **state) {
    (void)state;
    run_model(SHARED_HASH, STEPS / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_model), cmocka_unit_test(test_keys_share_a_tag),
                                        cmocka_unit_test(test_keys_share_a_hash) };
    return cmocka_run_group_tests_name("store_model", tests, NULL, NULL);
}
