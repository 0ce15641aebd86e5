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

uint64_t store_refresh(struct store *store, uint64_t now_ns, uint64_t bytes_max) {
    uint64_t now_ms = store_ms(store, now_ns), bytes = 0;
    uint32_t left = store->ticks != NULL ? store->objects : 0;
    struct hot found[BATCH];
    while (left > 0 && bytes < bytes_max) {
        uint32_t first = store->refresh_next, most = store->objects - first;
        most = most < left ? most : left;
        uint32_t end = first + (most < BATCH ? most : BATCH);
        uint32_t count = find_hot(store, first, end, now_ms, found), i = 0;
        for (; i < count && bytes < bytes_max; i++) {
            size_t len = (size_t)found[i].units * STORE_UNIT_BYTES;
            bytes += store_map_refresh(&store->map, store_at(store, found[i].unit), len);
        }
        uint32_t next = i < count ? found[i].object : end;
        left -= next - first;
        store->refresh_next = next < store->objects ? next : 0;
    }
    return bytes;
}
