/* The index: from a hash to a record. Changed under the mutex, read without. And the CLOCK hand, which takes objects out. */
#include "mem/store_priv.h"

uint64_t *store_index_find(const struct store *store, uint64_t hash) {
    struct store_bucket *bucket = store_bucket(store, hash);
    for (uint32_t i = 0; i < STORE_WAYS; i++) {
        uint64_t word = __atomic_load_n(&bucket->words[i], __ATOMIC_RELAXED);
        if (store_word_matches(word, hash) && store->records[store_word_record(word)].hash == hash) {
            return &bucket->words[i];
        }
    }
    return NULL;
}

void store_index_unlink(struct store *store, uint64_t *word, uint64_t *counter) {
    uint32_t object = store_word_record(__atomic_load_n(word, __ATOMIC_RELAXED));
    __atomic_store_n(word, 0, __ATOMIC_RELEASE);
    store_limbo_put(store, object);
    ++*counter;
}

static bool is_over(const struct store *store, uint32_t object) {
    return store->records[object].grace_until_ms <= __atomic_load_n(&store->clock_ms, __ATOMIC_RELAXED);
}

/* Room in a full bucket: one that is over, else one that nobody asked for lately, else any. */
static uint64_t *make_way(struct store *store, struct store_bucket *bucket, uint64_t hash) {
    uint32_t start = (uint32_t)(hash >> 32) % STORE_WAYS;
    uint64_t *chosen = &bucket->words[start];
    bool idle = false;
    for (uint32_t i = 0; i < STORE_WAYS; i++) {
        uint64_t *word = &bucket->words[(start + i) % STORE_WAYS];
        uint64_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
        if (is_over(store, store_word_record(value))) {
            store_index_unlink(store, word, &store->expired);
            return word;
        }
        if (!idle && (value & STORE_REF) == 0) {
            chosen = word;
            idle = true;
        }
    }
    store_index_unlink(store, chosen, &store->evicted);
    return chosen;
}

static uint64_t *empty_word(struct store *store, uint64_t hash) {
    struct store_bucket *bucket = store_bucket(store, hash);
    for (uint32_t i = 0; i < STORE_WAYS; i++) {
        if (__atomic_load_n(&bucket->words[i], __ATOMIC_RELAXED) == 0) {
            return &bucket->words[i];
        }
    }
    return make_way(store, bucket, hash);
}

void store_index_put(struct store *store, uint64_t hash, uint32_t object) {
    struct store_extent *extent = &store->extents[object];
    uint64_t *word = store_index_find(store, hash);
    rm_assert(extent->state == STORE_FILLING);
    if (word != NULL) {
        uint32_t older = store_word_record(__atomic_load_n(word, __ATOMIC_RELAXED));
        __atomic_store_n(word, store_word(hash, object), __ATOMIC_RELEASE); /* readers find the one or the other */
        store_limbo_put(store, older);
        store->replaced++;
    } else {
        word = empty_word(store, hash);
        __atomic_store_n(word, store_word(hash, object), __ATOMIC_RELEASE);
    }
    extent->state = STORE_LINKED;
    store->filling--;
    store->linked++;
}

/* ------------------------------------------------------------------------------------------------------- CLOCK ---- */

/* The word of a linked object. */
static uint64_t *word_of(const struct store *store, uint32_t object) {
    struct store_bucket *bucket = store_bucket(store, store->records[object].hash);
    uint32_t i = 0;
    while ((__atomic_load_n(&bucket->words[i], __ATOMIC_RELAXED) & STORE_RECORD_MASK) != object + 1) {
        i++;
        rm_assert(i < STORE_WAYS);
    }
    return &bucket->words[i];
}

/* Evicts the object unless it was asked for since the hand came by, or is pinned: that would give no room. */
static bool evict(struct store *store, uint32_t object, bool referenced_too) {
    uint64_t *word = word_of(store, object);
    uint64_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (is_over(store, object)) {
        store_index_unlink(store, word, &store->expired);
        return true;
    }
    if (__atomic_load_n(&store->extents[object].pins, __ATOMIC_RELAXED) != 0) {
        return false;
    }
    if ((value & STORE_REF) != 0 && !referenced_too && !STORE_BROKEN_BY(STORE_BREAK_REF)) {
        __atomic_fetch_and(word, ~STORE_REF, __ATOMIC_RELAXED);
        return false;
    }
    store_index_unlink(store, word, &store->evicted);
    return true;
}

/* One extent further. */
static void step(struct store *store, bool referenced_too) {
    uint32_t at = store->hand;
    struct store_extent *extent = &store->extents[at];
    bool wraps = extent->after == STORE_NONE;
    bool empty = extent->state == STORE_FREE || extent->state == STORE_LIMBO ||
                 (extent->state == STORE_LINKED && evict(store, at, referenced_too));
    store->hand = wraps ? store->first : extent->after;
    store->run = empty && !wraps ? store->run + extent->units : 0;
}

/* Enough is free, or on its way to be, and so much of it in one piece as somebody wanted of late. */
static bool is_enough(const struct store *store) {
    uint64_t coming = store->limbo_units - store->parked_units;
    uint32_t records = store->records_unused.unused + store->waiting;
    return store->free_units + coming >= store->units / STORE_RESERVE_PART + store->wish &&
           records >= store->objects / STORE_RESERVE_PART &&
           (store->run >= store->wish || store_space_fits(store, store->wish));
}

void store_clock_evict(struct store *store, uint32_t units) {
    uint32_t steps = STORE_STEPS_BASE + STORE_STEPS_PER_UNIT * units;
    steps = steps < STORE_STEPS_MAX ? steps : STORE_STEPS_MAX;
    bool referenced_too = store->refusals > STORE_PATIENCE;
    for (uint32_t i = 0; i < steps && !is_enough(store); i++) {
        step(store, referenced_too);
    }
}
