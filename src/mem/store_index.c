/* The index: from a hash to a record. Changed under the mutex, read without. */
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

/* Room in a full bucket: one that is over, else one that nobody asked for lately, else any. */
static uint64_t *make_way(struct store *store, struct store_bucket *bucket, uint64_t hash) {
    uint32_t start = (uint32_t)(hash >> 32) % STORE_WAYS;
    uint64_t *chosen = &bucket->words[start];
    bool idle = false;
    for (uint32_t i = 0; i < STORE_WAYS; i++) {
        uint64_t *word = &bucket->words[(start + i) % STORE_WAYS];
        uint64_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
        if (store_is_over(store, store_word_record(value))) {
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
