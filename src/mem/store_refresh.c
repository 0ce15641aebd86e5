/* What is hot, told to the kernel: store_refresh. */
#include "mem/store_priv.h"

enum { BATCH = 64 }; /* objects that are looked at while the mutex is held */

struct hot {
    uint32_t object, unit, units;
};

static bool is_hot(const struct store *store, uint32_t object, uint64_t now_ms) {
    uint16_t hit = __atomic_load_n(&store->ticks[object], __ATOMIC_RELAXED);
    return (hit & STORE_AGAIN) != 0 && store_ticks_since(hit, now_ms) < STORE_HOT_TICKS;
}

/* What is there of [first, end) and hot: how many. */
static uint32_t find_hot(struct store *store, uint32_t first, uint32_t end, uint64_t now_ms, struct hot found[static BATCH]) {
    uint32_t count = 0;
    bool any = false;
    for (uint32_t i = first; i < end && !any; i++) {
        any = is_hot(store, i, now_ms);
    }
    if (!any) {
        return 0;
    }
    store_lock(store);
    for (uint32_t i = first; i < end; i++) {
        const struct store_extent *extent = &store->extents[i];
        if (extent->state == STORE_LINKED && is_hot(store, i, now_ms)) {
            found[count++] = (struct hot){ i, extent->unit, extent->units };
        }
    }
    store_unlock(store);
    return count;
}

/* What of a round is left, and what it has done. */
struct round {
    uint64_t left;  /* bytes that may be looked at, in RAM or not */
    uint64_t bytes; /* that were read */
};

/* False: the round is over, in the middle of the object or just before it. */
static bool read_object(struct store *store, const struct hot *hot, struct round *round) {
    uint64_t len = (uint64_t)hot->units * STORE_UNIT_BYTES;
    uint64_t from = hot->object == store->refresh_next && store->refresh_at < len ? store->refresh_at : 0;
    uint64_t part = len - from < round->left ? len - from : round->left;
    store->refresh_next = hot->object;
    store->refresh_at = from + part;
    if (part == 0) {
        return false;
    }
    round->bytes += store_map_refresh(&store->map, store_at(store, hot->unit) + from, part);
    round->left -= part;
    return store->refresh_at == len;
}

uint64_t store_refresh(struct store *store, uint64_t now_ns, uint64_t bytes_max) {
    uint64_t now_ms = store_ms(store, now_ns);
    uint32_t objects = store->ticks != NULL ? store->objects : 0;
    struct round round = { .left = bytes_max };
    struct hot found[BATCH];
    for (uint32_t done = 0; done < objects && round.left > 0;) {
        uint32_t first = store->refresh_next, most = store->objects - first < BATCH ? store->objects - first : BATCH;
        uint32_t end = first + (most < objects - done ? most : objects - done);
        uint32_t count = find_hot(store, first, end, now_ms, found);
        for (uint32_t i = 0; i < count; i++) {
            if (!read_object(store, &found[i], &round)) {
                return round.bytes;
            }
        }
        done += end - first;
        store->refresh_next = end < store->objects ? end : 0;
        store->refresh_at = 0;
    }
    return round.bytes;
}
