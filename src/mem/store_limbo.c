/* Readers, and what waits for them. The store's epoch goes up by one with each object that is unlinked; a reader that is
 * quiet writes the epoch it sees into its own line. An object whose stamp all readers have written, or passed, is nobody's:
 * McKenney and Slingwine, "Read-copy update: using execution history to solve concurrency problems" (1998), with quiescent
 * states that the readers tell.
 *
 * Why a reader that comes online is not missed: it writes its line, then reads the epoch, both sequentially consistent. Who
 * makes memory free has unlinked, then added to the epoch, then reads that line, as consistent. Either he sees the reader,
 * or the reader sees his epoch, and with it that the object is unlinked. */
#include "mem/store_priv.h"

/* True when no reader can have what was unlinked at `stamp`. */
static bool passed_by_all(struct store *store, uint64_t stamp) {
    uint32_t first = __atomic_load_n(&store->laggard, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < store->readers_count; i++) {
        uint32_t reader = first + i < store->readers_count ? first + i : first + i - store->readers_count;
        uint64_t epoch = __atomic_load_n(&store->readers[reader].epoch, __ATOMIC_SEQ_CST);
        if (epoch != 0 && epoch < stamp) {
            if (reader != first) {
                __atomic_store_n(&store->laggard, reader, __ATOMIC_RELAXED); /* whoever asks next asks there first */
            }
            return false;
        }
    }
    return true;
}

/* The least epoch that an online reader has written. */
static uint64_t least_epoch(struct store *store) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < store->readers_count; i++) {
        uint64_t epoch = __atomic_load_n(&store->readers[i].epoch, __ATOMIC_SEQ_CST);
        if (epoch != 0 && epoch < least) {
            least = epoch;
        }
    }
    return least;
}

void store_limbo_put(struct store *store, uint32_t object) {
    struct store_extent *extent = &store->extents[object];
    rm_assert(extent->state == STORE_LINKED || extent->state == STORE_FILLING);
    if (extent->state == STORE_LINKED) {
        store->linked--;
    } else {
        store->filling--;
    }
    extent->state = STORE_LIMBO;
    uint64_t stamp = __atomic_add_fetch(&store->epoch, 1, __ATOMIC_SEQ_CST);
    store->stamps[object] = stamp;
    extent->next = STORE_NONE;
    if (store->limbo_tail == STORE_NONE) {
        store->limbo_head = object;
        __atomic_store_n(&store->oldest, stamp, __ATOMIC_RELAXED);
    } else {
        store->extents[store->limbo_tail].next = object;
    }
    store->limbo_tail = object;
    store->limbo_units += extent->units;
    store->waiting++;
}

static void waits_no_more(struct store *store, uint32_t object) {
    store->limbo_units -= store->extents[object].units;
    store->waiting--;
    store_space_give(store, object);
}

/* No reader has it but those who pinned it: the last of them makes it free, unless there is none. */
static void leave_limbo(struct store *store, uint32_t object) {
    struct store_extent *extent = &store->extents[object];
    uint32_t pins = __atomic_load_n(&extent->pins, __ATOMIC_ACQUIRE);
    if (STORE_BROKEN_BY(STORE_BREAK_PINS)) {
        pins = 0;
    }
    while (pins != 0) {
        if (__atomic_compare_exchange_n(&extent->pins, &pins, pins | STORE_PIN_PARKED, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            extent->state = STORE_PARKED;
            store->parked_units += extent->units;
            store->parked++;
            store_space_stays(store, object);
            return;
        }
    }
    waits_no_more(store, object);
}

void store_limbo_reclaim(struct store *store) {
    uint64_t least = 0;
    for (uint32_t i = 0; i < STORE_RECLAIM_MAX && store->limbo_head != STORE_NONE; i++) {
        uint32_t object = store->limbo_head;
        if (i == 0) {
            least = STORE_BROKEN_BY(STORE_BREAK_QUIESCENCE) ? UINT64_MAX : least_epoch(store);
        }
        if (store->stamps[object] > least) {
            break;
        }
        store->limbo_head = store->extents[object].next;
        if (store->limbo_head == STORE_NONE) {
            store->limbo_tail = STORE_NONE;
        }
        leave_limbo(store, object);
    }
    uint64_t oldest = store->limbo_head == STORE_NONE ? STORE_NOTHING_WAITS : store->stamps[store->limbo_head];
    __atomic_store_n(&store->oldest, oldest, __ATOMIC_RELAXED);
}

/* ----------------------------------------------------------------------------------------------------- readers ---- */

static struct store_reader *reader_of(struct store *store, uint32_t reader) {
    rm_assert(reader < store->readers_count);
    return &store->readers[reader];
}

void store_online(struct store *store, uint32_t reader) {
    struct store_reader *self = reader_of(store, reader);
    rm_assert(__atomic_load_n(&self->epoch, __ATOMIC_RELAXED) == 0);
    uint64_t epoch = __atomic_load_n(&store->epoch, __ATOMIC_ACQUIRE);
    (void)__atomic_exchange_n(&self->epoch, epoch, __ATOMIC_SEQ_CST);
    (void)__atomic_load_n(&store->epoch, __ATOMIC_SEQ_CST); /* see above: what is read next comes after this */
}

/* This reader has gone from `before` to `now`. Only when that can make something free does it ask the others. Of two who
 * pass at the same time one at least sees the other: both write, then read, sequentially consistent. A mutex that is taken
 * is not waited for: the next store_reserve looks, too. */
static void pass(struct store *store, uint64_t before, uint64_t now) {
    uint64_t oldest = __atomic_load_n(&store->oldest, __ATOMIC_RELAXED);
    if (oldest <= before || oldest > now) {
        return;
    }
    if (passed_by_all(store, oldest) && pthread_mutex_trylock(&store->mutex) == 0) {
        store_limbo_reclaim(store);
        store_unlock(store);
    }
}

void store_quiet(struct store *store, uint32_t reader) {
    struct store_reader *self = reader_of(store, reader);
    uint64_t before = __atomic_load_n(&self->epoch, __ATOMIC_RELAXED);
    uint64_t now = __atomic_load_n(&store->epoch, __ATOMIC_ACQUIRE);
    rm_assert(before != 0);
    if (before != now) {
        __atomic_store_n(&self->epoch, now, __ATOMIC_SEQ_CST);
        pass(store, before, now);
    }
}

void store_offline(struct store *store, uint32_t reader) {
    struct store_reader *self = reader_of(store, reader);
    uint64_t before = __atomic_load_n(&self->epoch, __ATOMIC_RELAXED);
    if (before != 0) {
        __atomic_store_n(&self->epoch, 0, __ATOMIC_SEQ_CST);
        pass(store, before, UINT64_MAX - 1);
    }
}

/* -------------------------------------------------------------------------------------------------------- pins ---- */

bool store_pin(struct store *store, const struct store_object *object) {
    rm_assert(object->record < store->objects);
    struct store_extent *extent = &store->extents[object->record];
    uint64_t units = store->records[object->record].units;
    uint32_t pins = __atomic_load_n(&extent->pins, __ATOMIC_RELAXED);
    for (;;) {
        bool first = pins == 0;
        uint64_t sum = first ? __atomic_add_fetch(&store->pinned_units, units, __ATOMIC_RELAXED) : 0;
        if (sum > store->units / STORE_PINNED_PART) {
            __atomic_sub_fetch(&store->pinned_units, units, __ATOMIC_RELAXED);
            return false;
        }
        rm_assert(pins != STORE_PIN_PARKED); /* nobody has it any more */
        rm_assert((pins & ~STORE_PIN_PARKED) < STORE_PIN_PARKED - 1);
        if (__atomic_compare_exchange_n(&extent->pins, &pins, pins + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            return true;
        }
        if (first) {
            __atomic_sub_fetch(&store->pinned_units, units, __ATOMIC_RELAXED);
        }
    }
}

void store_unpin(struct store *store, uint32_t record) {
    rm_assert(record < store->objects);
    uint64_t units = store->records[record].units;
    uint32_t pins = __atomic_sub_fetch(&store->extents[record].pins, 1, __ATOMIC_ACQ_REL);
    rm_assert((pins | STORE_PIN_PARKED) != UINT32_MAX); /* it was not pinned */
    if ((pins & ~STORE_PIN_PARKED) != 0) {
        return;
    }
    __atomic_sub_fetch(&store->pinned_units, units, __ATOMIC_RELAXED);
    if (pins == STORE_PIN_PARKED) {
        store_lock(store);
        rm_assert(store->extents[record].state == STORE_PARKED);
        store->parked_units -= units;
        store->parked--;
        waits_no_more(store, record);
        store_unlock(store);
    }
}
