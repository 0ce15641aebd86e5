/* What is hot, told to the kernel: store_refresh. */
#include "mem/store_priv.h"

enum { BATCH = 64 }; /* objects that are looked at while the mutex is held */

static bool is_hot(const struct store *store, uint32_t object, uint64_t now_ms) {
    uint16_t hit = __atomic_load_n(&store->ticks[object], __ATOMIC_RELAXED);
    return (hit & STORE_AGAIN) != 0 && store_ticks_since(hit, now_ms) < STORE_HOT_TICKS;
}

/* What is there of [first, end) and hot: how many. */
static uint32_t find_hot(struct store *store, uint32_t first, uint32_t end, uint64_t now_ms,
                         struct store_extent found[static BATCH]) {
    uint32_t count = 0;
    store_lock(store);
    for (uint32_t i = first; i < end; i++) {
        if (store->extents[i].state == STORE_LINKED && is_hot(store, i, now_ms)) {
            found[count].unit = store->extents[i].unit;
            found[count++].units = store->extents[i].units;
        }
    }
    store_unlock(store);
    return count;
}

uint64_t store_refresh(struct store *store, uint64_t now_ns) {
    uint64_t now_ms = store_ms(store, now_ns), bytes = 0;
    struct store_extent found[BATCH];
    for (uint32_t first = 0; store->ticks != NULL && first < store->objects; first += BATCH) {
        uint32_t end = store->objects - first < BATCH ? store->objects : first + BATCH;
        bool any = false;
        for (uint32_t i = first; i < end && !any; i++) {
            any = is_hot(store, i, now_ms);
        }
        uint32_t count = any ? find_hot(store, first, end, now_ms, found) : 0;
        for (uint32_t i = 0; i < count; i++) {
            bytes += store_map_refresh(&store->map, store_at(store, found[i].unit), (size_t)found[i].units * STORE_UNIT_BYTES);
        }
    }
    return bytes;
}
