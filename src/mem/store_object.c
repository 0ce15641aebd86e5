/* Objects: looked up, filled, published, invalidated. */
#include "mem/store_priv.h"

#define NS_PER_MS UINT64_C(1000000)

/* The latest time that a caller told: for CLOCK, to which nobody tells one. */
static void tell_time(struct store *store, uint64_t now_ms) {
    if (__atomic_load_n(&store->clock_ms, __ATOMIC_RELAXED) < now_ms) {
        __atomic_store_n(&store->clock_ms, now_ms, __ATOMIC_RELAXED);
    }
}

uint64_t store_hash(const struct store *store, struct span key) {
    return hash_keyed(store->key, key);
}

struct store_token store_token(const struct store *store, uint64_t hash) {
    return (struct store_token){ __atomic_load_n(&store_bucket(store, hash)->epoch, __ATOMIC_ACQUIRE) };
}

/* --------------------------------------------------------------------------------------------------- looking up ---- */

/* An object whose grace is over goes when somebody meets it, unless that would mean waiting. `seen` is the word that was met:
 * its record can't be another's, as the caller is online. */
static void expire(struct store *store, uint64_t *word, uint64_t seen, uint64_t now_ms) {
    if (pthread_mutex_trylock(&store->mutex) != 0) {
        return;
    }
    tell_time(store, now_ms);
    if (((__atomic_load_n(word, __ATOMIC_RELAXED) ^ seen) & ~STORE_REF) == 0) {
        store_index_unlink(store, word, &store->expired);
    }
    store_unlock(store);
}

static void note_hit(struct store *store, uint32_t record, uint32_t ticks, uint64_t now_ms) {
    if (ticks > 0) {
        uint16_t hit = (uint16_t)(store_tick(now_ms) | (ticks == 1 ? STORE_AGAIN : 0));
        __atomic_store_n(&store->ticks[record], hit, __ATOMIC_RELAXED);
    }
}

/* Was it left alone for some seconds? If not, notes that it is asked for now. */
static bool is_cold(struct store *store, uint32_t record, uint64_t now_ms) {
    if (store->ticks == NULL) {
        return false;
    }
    uint32_t ticks = store_ticks_since(__atomic_load_n(&store->ticks[record], __ATOMIC_RELAXED), now_ms);
    if (ticks >= __atomic_load_n(&store->cold_ticks, __ATOMIC_RELAXED)) {
        return true;
    }
    note_hit(store, record, ticks, now_ms);
    return false;
}

void store_press(struct store *store, bool pressed) {
    __atomic_store_n(&store->cold_ticks, pressed ? STORE_COLD_TICKS_PRESSED : STORE_COLD_TICKS, __ATOMIC_RELAXED);
}

static void describe(const struct store *store, uint32_t number, uint64_t now_ms, struct store_object *out) {
    const struct store_record *record = &store->records[number];
    const char *at = store_at(store, record->unit);
    *out = (struct store_object){
        .meta = span_of(at + store_meta_at(record->key_len), record->meta_len),
        .body = span_of(at + store_body_at(record->key_len, record->meta_len), record->body_len),
        .age_ms = now_ms > record->stored_ms ? now_ms - record->stored_ms : 0,
        .fresh_ms = record->fresh_until_ms > now_ms ? record->fresh_until_ms - now_ms : 0,
        .record = number,
    };
}

static bool has_key(struct store *store, const struct store_record *record, struct span key) {
    return STORE_BROKEN_BY(STORE_BREAK_KEY) ||
           store_map_equal(&store->map, store_at(store, record->unit), key.data, key.len);
}

/* The word of this key, or NULL: another of the same hash is another key's. One that is cold was not compared. */
static uint64_t *look_up(struct store *store, struct span key, uint64_t hash, uint64_t now_ms, uint64_t *seen, bool *cold) {
    struct store_bucket *bucket = store_bucket(store, hash);
    for (uint32_t i = 0; i < STORE_WAYS; i++) {
        uint64_t word = __atomic_load_n(&bucket->words[i], __ATOMIC_ACQUIRE);
        if (!store_word_matches(word, hash)) {
            continue;
        }
        uint32_t number = store_word_record(word);
        const struct store_record *record = &store->records[number];
        if (record->hash != hash || record->key_len != key.len) {
            continue;
        }
        *cold = is_cold(store, number, now_ms);
        if (*cold || has_key(store, record, key)) {
            *seen = word;
            return &bucket->words[i];
        }
    }
    return NULL;
}

bool store_get(struct store *store, uint32_t reader, struct span key, uint64_t hash, uint64_t now_ns,
               struct store_object *out) {
    rm_assert(reader < store->readers_count);
    rm_assert(__atomic_load_n(&store->readers[reader].epoch, __ATOMIC_RELAXED) != 0); /* online */
    bool cold = false;
    uint64_t now_ms = store_ms(store, now_ns), seen, *word = look_up(store, key, hash, now_ms, &seen, &cold);
    if (word == NULL || store_map_broken(&store->map)) {
        return false;
    }
    uint32_t number = store_word_record(seen);
    if (store->records[number].grace_until_ms <= now_ms) {
        expire(store, word, seen, now_ms);
        return false;
    }
    if ((seen & STORE_REF) == 0) { /* fails when it is another's by now, and then need not succeed */
        (void)__atomic_compare_exchange_n(word, &seen, seen | STORE_REF, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    describe(store, number, now_ms, out);
    out->cold = cold;
    return true;
}

bool store_confirm(struct store *store, const struct store_object *object, struct span key, uint64_t now_ns) {
    const struct store_record *record = &store->records[object->record];
    rm_assert(store->ticks != NULL);
    if (record->key_len != key.len || !has_key(store, record, key)) {
        return false;
    }
    uint64_t now_ms = store_ms(store, now_ns);
    uint16_t hit = __atomic_load_n(&store->ticks[object->record], __ATOMIC_RELAXED);
    note_hit(store, object->record, store_ticks_since(hit, now_ms), now_ms);
    return true;
}

bool store_copy(struct store *store, void *to, const char *from, size_t bytes) {
    return store_map_copy(&store->map, to, from, bytes);
}

bool store_fill_write(struct store *store, char *to, const void *from, size_t bytes) {
    return store_map_copy(&store->map, to, from, bytes);
}

struct span store_place(const struct store *store, const struct store_object *object) {
    const struct store_record *record = &store->records[object->record];
    return span_of(store_at(store, record->unit), (size_t)record->units * STORE_UNIT_BYTES);
}

bool store_resident(struct store *store, const struct store_object *object) {
    struct span place = store_place(store, object);
    return store_map_resident(&store->map, place.data, place.len);
}

bool store_populate(struct store *store, const char *from, size_t bytes) {
    rm_assert(from >= store->data);
    rm_assert(bytes <= store->bytes - (uint64_t)(from - store->data));
    return store_map_populate(&store->map, from, bytes);
}

/* ------------------------------------------------------------------------------------------------------ filling ---- */

/* With the mutex: room, or STORE_NONE. What CLOCK evicts now is there for those who come after its readers. */
static uint32_t make_room(struct store *store, uint32_t units) {
    uint32_t wish = store->wish - (store->wish + 63) / 64;
    store->wish = units > wish ? units : wish;
    store_limbo_reclaim(store);
    uint32_t object = store_space_take(store, units);
    store_clock_evict(store, units);
    if (object == STORE_NONE) {
        store_limbo_reclaim(store);
        object = store_space_take(store, units);
    }
    if (object == STORE_NONE) {
        store->refusals++;
        store->full++;
    } else if (units >= store->wish / 2) {
        store->refusals = 0;
    }
    return object;
}

enum store_result store_reserve(struct store *store, struct span key, uint64_t hash, uint32_t meta_len, uint32_t body_len,
                                struct store_fill *out) {
    if (key.len > STORE_KEY_BYTES_MAX || meta_len > STORE_META_BYTES_MAX ||
        body_len > store->bytes / STORE_OBJECT_PART ||
        store_units((uint32_t)key.len, meta_len, body_len) > store->units / STORE_OBJECT_PART) {
        __atomic_add_fetch(&store->too_large, 1, __ATOMIC_RELAXED);
        return STORE_TOO_LARGE;
    }
    if (store_map_broken(&store->map)) {
        return STORE_BROKEN;
    }
    uint32_t key_len = (uint32_t)key.len, units = (uint32_t)store_units(key_len, meta_len, body_len);
    store_lock(store);
    uint32_t number = make_room(store, units);
    uint32_t unit = number != STORE_NONE ? store->extents[number].unit : 0;
    store_unlock(store);
    if (number == STORE_NONE) {
        return STORE_FULL;
    }
    store->records[number] = (struct store_record){
        .hash = hash, .unit = unit, .units = units, .key_len = key_len, .meta_len = meta_len, .body_len = body_len
    };
    char *at = store_at(store, unit);
    *out = (struct store_fill){
        .record = number,
        .meta = at + store_meta_at(key_len),
        .body = at + store_body_at(key_len, meta_len),
        .meta_len = meta_len,
        .body_len = body_len,
    };
    if (!store_map_copy(&store->map, at, key.data, key_len)) {
        store_abandon(store, out);
        return STORE_BROKEN;
    }
    return STORE_OK;
}

/* Parts of a ms count as one. Ends far away are as good as the end of time. */
static uint64_t ms_up(uint64_t from_ns, uint64_t ns, uint64_t more_ns) {
    uint64_t rest = from_ns % NS_PER_MS + ns % NS_PER_MS + more_ns % NS_PER_MS;
    return ns / NS_PER_MS + more_ns / NS_PER_MS + (rest + NS_PER_MS - 1) / NS_PER_MS;
}

/* With the mutex. */
static void drop_fill(struct store *store, struct store_fill *fill) {
    rm_assert(fill->record < store->objects);
    rm_assert(store->extents[fill->record].state == STORE_FILLING);
    rm_assert(__atomic_load_n(&store->extents[fill->record].pins, __ATOMIC_RELAXED) == 0); /* its memory is another's at once */
    store->filling--;
    store_space_give(store, fill->record);
    fill->record = STORE_NONE;
}

/* With the mutex: who has filled it may still be reading. */
static void retire(struct store *store, struct store_fill *fill) {
    rm_assert(fill->record < store->objects);
    rm_assert(store->extents[fill->record].state == STORE_FILLING);
    store_limbo_put(store, fill->record);
    fill->record = STORE_NONE;
}

struct store_object store_fill_object(const struct store *store, const struct store_fill *fill) {
    rm_assert(fill->record < store->objects);
    return (struct store_object){
        .meta = span_of(fill->meta, fill->meta_len),
        .body = span_of(fill->body, fill->body_len),
        .fresh_ms = 1,
        .record = fill->record,
    };
}

enum store_result store_publish(struct store *store, struct store_fill *fill, struct store_token token, uint64_t ttl_ns,
                                uint64_t grace_ns, uint64_t now_ns) {
    rm_assert(fill->record < store->objects);
    uint32_t number = fill->record;
    struct store_record *record = &store->records[number];
    uint64_t hash = record->hash, now_ms = store_ms(store, now_ns);
    record->stored_ms = now_ms;
    record->fresh_until_ms = now_ms + ms_up(now_ns, ttl_ns, 0);
    record->grace_until_ms = now_ms + ms_up(now_ns, ttl_ns, grace_ns);
    if (store->ticks != NULL) {
        __atomic_store_n(&store->ticks[number], store_tick(now_ms), __ATOMIC_RELAXED);
    }
    enum store_result result = STORE_OK;
    store_lock(store);
    tell_time(store, now_ms);
    if (store_map_broken(&store->map)) {
        result = STORE_BROKEN;
    } else if (store_bucket(store, hash)->epoch != token.epoch && !STORE_BROKEN_BY(STORE_BREAK_EPOCH)) {
        result = STORE_OUTDATED;
        store->outdated++;
    }
    if (result == STORE_OK) {
        store_index_put(store, hash, number);
        store->published++;
        fill->record = STORE_NONE;
    } else {
        retire(store, fill);
    }
    store_unlock(store);
    return result;
}

void store_retire(struct store *store, struct store_fill *fill) {
    store_lock(store);
    retire(store, fill);
    store_unlock(store);
}

void store_abandon(struct store *store, struct store_fill *fill) {
    store_lock(store);
    drop_fill(store, fill);
    store_unlock(store);
}

bool store_invalidate(struct store *store, struct span key, uint64_t hash) {
    (void)key; /* one of another key with the same hash goes as well: nobody is told anything wrong by that */
    struct store_bucket *bucket = store_bucket(store, hash);
    store_lock(store);
    __atomic_add_fetch(&bucket->epoch, 1, __ATOMIC_RELEASE);
    uint64_t *word = store_index_find(store, hash);
    bool found = word != NULL;
    if (found && !STORE_BROKEN_BY(STORE_BREAK_UNLINK)) {
        store_index_unlink(store, word, &store->invalidated);
    }
    store_unlock(store);
    return found;
}
