/* The object store as a whole: its plan, its beginning and end, its figures. */
#include "mem/store_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#ifdef STORE_BREAKABLE
enum store_break store_break;
#endif

enum { MIB = 1 << 20 };

/* Each part of the one anonymous mapping, in bytes. */
struct plan {
    uint64_t store, buckets, records, extents, stamps, ticks;
    uint64_t buckets_count;
    uint64_t sum;
};

static struct plan plan_of(const struct store_config *config) {
    uint64_t buckets = 1;
    while (buckets * STORE_BUCKET_OBJECTS < config->objects) {
        buckets *= 2;
    }
    struct plan plan = {
        .store = slab_round(sizeof(struct store) + config->readers * sizeof(struct store_reader)),
        .buckets = buckets * sizeof(struct store_bucket),
        .records = config->objects * sizeof(struct store_record),
        .extents = slab_round((2 * (size_t)config->objects + 1) * sizeof(struct store_extent)),
        .stamps = slab_round(config->objects * sizeof(uint64_t)),
        .ticks = config->path != NULL ? slab_round(config->objects * sizeof(uint16_t)) : 0,
        .buckets_count = buckets,
    };
    plan.sum = plan.store + plan.buckets + plan.records + plan.extents + plan.stamps + plan.ticks;
    return plan;
}

static void check_config(const struct store_config *config) {
    rm_assert(config->bytes >= MIB);
    rm_assert(config->bytes <= UINT64_C(64) << 30);
    rm_assert(config->objects >= STORE_OBJECTS_MIN);
    rm_assert(config->objects <= STORE_OBJECTS_MAX);
    rm_assert(config->readers >= 1);
    rm_assert(config->readers <= STORE_READERS_MAX);
}

uint64_t store_ram_bytes(const struct store_config *config) {
    check_config(config);
    return plan_of(config).sum;
}

/* Carves the parts; the mapping is zeroed, and what nobody uses is never touched. */
static struct store *carve(struct slab *slab, const struct plan *plan, const struct store_config *config) {
    struct store *store = slab_take(slab, plan->store);
    store->buckets = slab_take(slab, plan->buckets);
    store->records = slab_take(slab, plan->records);
    store->extents = slab_take(slab, plan->extents);
    store->stamps = slab_take(slab, plan->stamps);
    store->ticks = plan->ticks > 0 ? slab_take(slab, plan->ticks) : NULL;
    slab_seal(slab);
    store->slab = *slab;
    store->mask = plan->buckets_count - 1;
    store->bytes = config->bytes / MIB * MIB;
    store->units = (uint32_t)(store->bytes / STORE_UNIT_BYTES);
    store->objects = config->objects;
    store->readers_count = config->readers;
    store->epoch = 1;
    store->oldest = STORE_NOTHING_WAITS;
    store->limbo_head = store->limbo_tail = STORE_NONE;
    return store;
}

static void init_mutex(struct store *store) {
    pthread_mutexattr_t attributes;
    int failed = pthread_mutexattr_init(&attributes);
    rm_assert(failed == 0);
    failed = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP); /* it is never had for long */
    rm_assert(failed == 0);
    failed = pthread_mutex_init(&store->mutex, &attributes);
    rm_assert(failed == 0);
    failed = pthread_mutexattr_destroy(&attributes);
    rm_assert(failed == 0);
}

/* The store's milliseconds go on where they were at the close, plus the time that it was closed, as far as wall clocks tell. */
static void set_clock(struct store *store, const struct store_image *image, const struct store_config *config,
                      bool warm) {
    store_press(store, false);
    if (warm) {
        uint64_t closed = config->wall_ms > image->wall_ms ? (uint64_t)config->wall_ms - (uint64_t)image->wall_ms : 0;
        store->clock_ms = image->now_ms + closed;
        store->offset_ms = store->clock_ms - config->now_ns / 1000000;
    } else {
        store->clock_ms = config->now_ns / 1000000;
    }
}

/* What a warm start brings, or a key of its own for one that starts empty. */
static int32_t start(struct store *store, const struct store_image *image, const struct store_config *config,
                     struct store_report *report) {
    bool warm = report->start == STORE_WARM;
    store->generation = image->generation;
    store_space_init(store);
    if (warm) {
        set_clock(store, image, config, true);
        warm = store_warm_adopt(store, image, report->why);
        store_map_image_done(&store->map);
    }
    if (warm) {
        store->key[0] = image->key[0];
        store->key[1] = image->key[1];
        report->objects = store->linked;
        return 0;
    }
    if (report->start == STORE_WARM) {
        report->start = STORE_LOST;
        store->offset_ms = 0;
    }
    set_clock(store, image, config, false);
    if (getrandom(store->key, sizeof store->key, 0) != (ssize_t)sizeof store->key) {
        int32_t error = -errno;
        snprintf(report->why, sizeof report->why, "no random bytes for the store's hash: getrandom(2): %s",
                 strerror(-error));
        return error;
    }
    return 0;
}

int32_t store_open(const struct store_config *config, struct store **out, struct store_report *report) {
    check_config(config);
    *report = (struct store_report){ .start = STORE_EMPTY };
    struct plan plan = plan_of(config);
    struct slab slab;
    if (!slab_map(&slab, plan.sum)) {
        int32_t error = -errno;
        snprintf(report->why, sizeof report->why,
                 "no memory for the index of %u objects (%llu bytes): mmap(2): %s; give the store fewer objects",
                 config->objects, (unsigned long long)plan.sum, strerror(-error));
        return error;
    }
    struct store *store = carve(&slab, &plan, config);
    struct store_image image = { 0 };
    int32_t error = store_map_open(&store->map, config->path, store->bytes, store->objects, &image, report);
    if (error != 0) {
        slab_release(&slab);
        return error;
    }
    store->data = store->map.data;
    init_mutex(store);
    error = start(store, &image, config, report);
    if (error != 0) {
        store_map_close(&store->map, NULL);
        slab_release(&slab);
        return error;
    }
    *out = store;
    return 0;
}

void store_close(struct store *store, uint64_t now_ns, int64_t wall_ms) {
    for (uint32_t i = 0; i < store->readers_count; i++) {
        rm_assert(__atomic_load_n(&store->readers[i].epoch, __ATOMIC_SEQ_CST) == 0);
    }
    rm_assert(store->filling == 0);
    rm_assert(store->pinned_units == 0);
    struct store_image image = {
        .key = { store->key[0], store->key[1] },
        .generation = store->generation,
        .now_ms = store_ms(store, now_ns),
        .wall_ms = wall_ms,
    };
    /* For entries there is memory only now. Without it the next start is empty, but a clean one. */
    struct slab entries = { 0 };
    if (store->map.file && slab_map(&entries, (store->linked + 1) * sizeof(struct store_image_entry))) {
        struct store_image_entry *list = (struct store_image_entry *)entries.base;
        image.count = store_warm_entries(store, image.now_ms, list);
        image.entries = list;
    }
    store_map_close(&store->map, &image);
    slab_release(&entries);
    int failed = pthread_mutex_destroy(&store->mutex);
    rm_assert(failed == 0);
    struct slab slab = store->slab; /* the store lies in it */
    slab_release(&slab);
}

void store_figures(struct store *store, struct store_figures *out) {
    store_lock(store);
    *out = (struct store_figures){
        .objects = store->linked,
        .objects_max = store->objects,
        .bytes = store->bytes,
        .bytes_used = (store->units - store->free_units) * STORE_UNIT_BYTES,
        .waiting_bytes = store->limbo_units * STORE_UNIT_BYTES,
        .pinned_bytes = __atomic_load_n(&store->pinned_units, __ATOMIC_RELAXED) * STORE_UNIT_BYTES,
        .largest_free = (uint64_t)store_space_largest(store) * STORE_UNIT_BYTES,
        .published = store->published,
        .replaced = store->replaced,
        .invalidated = store->invalidated,
        .evicted = store->evicted,
        .expired = store->expired,
        .outdated = store->outdated,
        .full = store->full,
        .too_large = __atomic_load_n(&store->too_large, __ATOMIC_RELAXED),
        .broken = store_map_broken(&store->map),
        .file = store->map.file,
    };
    store_unlock(store);
}

struct span store_mapping(const struct store *store) {
    return span_of(store->data, store->bytes);
}

bool store_count_resident(struct store *store, uint64_t bytes_max, uint64_t *resident) {
    uint64_t left = store->bytes - store->count_at, bytes = bytes_max < MIB ? MIB : bytes_max / MIB * MIB;
    bytes = bytes < left ? bytes : left;
    store->counted += store_map_resident_bytes(&store->map, store->count_at, bytes);
    store->count_at += bytes;
    if (store->count_at < store->bytes) {
        return false;
    }
    *resident = store->counted;
    store->count_at = store->counted = 0;
    return true;
}

const char *store_result_name(enum store_result result) {
    switch (result) {
    case STORE_OK: return "ok";
    case STORE_TOO_LARGE: return "too large";
    case STORE_FULL: return "full";
    case STORE_OUTDATED: return "outdated";
    case STORE_BROKEN: return "broken";
    }
    return "unknown";
}
