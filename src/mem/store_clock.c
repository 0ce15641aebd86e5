/* Eviction. The CLOCK hand goes over the extents in the order of the mapping, so that what goes together lies together:
 * Corbato, "A paging experiment with the Multics system" (1968). It keeps some units and records free, ahead of those who
 * want them, because what is evicted waits for its readers first. Where enough is free, but in pieces, the longest of them
 * is made longer by what lies beside it: to let the hand search for a long one would empty the store. */
#include "mem/store_priv.h"

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

static bool is_pinned(const struct store *store, uint32_t object) {
    return __atomic_load_n(&store->extents[object].pins, __ATOMIC_RELAXED) != 0;
}

static void evict(struct store *store, uint32_t object, uint64_t *word) {
    store_index_unlink(store, word, store_is_over(store, object) ? &store->expired : &store->evicted);
}

/* ------------------------------------------------------------------------------------------------------- the hand ---- */

/* Evicts the object unless it was asked for since the hand came by, or is pinned: that would give no room. */
static bool passes_by(struct store *store, uint32_t object, bool referenced_too) {
    uint64_t *word = word_of(store, object);
    if (is_pinned(store, object)) {
        return false;
    }
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & STORE_REF) != 0 && !referenced_too && !store_is_over(store, object) &&
        !STORE_BROKEN_BY(STORE_BREAK_REF)) {
        __atomic_fetch_and(word, ~STORE_REF, __ATOMIC_RELAXED);
        return false;
    }
    evict(store, object, word);
    return true;
}

/* One extent further. */
static void step(struct store *store, bool referenced_too) {
    uint32_t at = store->hand;
    struct store_extent *extent = &store->extents[at];
    bool wraps = extent->after == STORE_NONE;
    bool empty = extent->state == STORE_FREE || extent->state == STORE_LIMBO ||
                 (extent->state == STORE_LINKED && passes_by(store, at, referenced_too));
    store->hand = wraps ? store->first : extent->after;
    store->run = empty && !wraps ? store->run + extent->units : 0;
}

/* ------------------------------------------------------------------------------------------------------ long pieces ---- */

/* What it costs that an extent goes. */
enum cost { NOTHING, IDLE, REFERENCED, IMPOSSIBLE };

static enum cost cost_of(const struct store *store, uint32_t number) {
    if (number == STORE_NONE) {
        return IMPOSSIBLE;
    }
    uint32_t state = store->extents[number].state;
    if (state == STORE_FREE || state == STORE_LIMBO) {
        return NOTHING;
    }
    if (state != STORE_LINKED || is_pinned(store, number)) {
        return IMPOSSIBLE;
    }
    return (__atomic_load_n(word_of(store, number), __ATOMIC_RELAXED) & STORE_REF) != 0 ? REFERENCED : IDLE;
}

/* Evicts what lies beside the free extent `number`, on the side where that costs less, until so many units are free there or on
 * their way to be. Returns how many extents it looked at. */
static uint32_t lengthen(struct store *store, uint32_t number, uint32_t units, uint32_t steps) {
    uint32_t before = store->extents[number].before, after = store->extents[number].after, i = 0;
    uint64_t have = store->extents[number].units;
    while (have < units && i < steps) {
        enum cost left = cost_of(store, before), right = cost_of(store, after);
        uint32_t next = left < right ? before : after;
        i += 2;
        if (left == IMPOSSIBLE && right == IMPOSSIBLE) {
            break;
        }
        if (store->extents[next].state == STORE_LINKED) {
            evict(store, next, word_of(store, next));
        }
        have += store->extents[next].units;
        if (next == before) {
            before = store->extents[before].before;
        } else {
            after = store->extents[after].after;
        }
    }
    return i;
}

/* ---------------------------------------------------------------------------------------------------------- enough ---- */

static bool enough_is_free(const struct store *store) {
    uint64_t coming = store->limbo_units - store->parked_units;
    uint32_t records = store->records_unused.unused + store->waiting - store->parked;
    return store->free_units + coming >= store->units / STORE_RESERVE_PART + store->wish &&
           records >= store->objects / STORE_RESERVE_PART;
}

/* A piece as long as somebody wanted of late is free, or on its way to be behind the hand. */
static bool enough_in_one_piece(const struct store *store) {
    return store->run >= store->wish || store_space_fits(store, store->wish);
}

void store_clock_evict(struct store *store, uint32_t units) {
    uint32_t steps = STORE_STEPS_BASE + STORE_STEPS_PER_UNIT * units;
    steps = steps < STORE_STEPS_MAX ? steps : STORE_STEPS_MAX;
    bool impatient = store->refusals > STORE_PATIENCE;
    uint32_t i = 0;
    for (; i < steps && !enough_is_free(store); i++) {
        step(store, impatient);
    }
    if (i < steps && !enough_in_one_piece(store)) {
        uint32_t longest = store_space_long(store);
        i += longest != STORE_NONE ? lengthen(store, longest, store->wish, steps - i) : 0;
    }
    for (; impatient && i < steps && !enough_in_one_piece(store); i++) {
        step(store, true); /* what is beside the longest is pinned */
    }
}
