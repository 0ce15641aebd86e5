/* Inside of the store. One mutex for all who change anything; readers take none. What they read:
 *
 *   bucket   one cache line: the epoch of its keys, and 7 words of {tag, CLOCK bit, record}; they change under the mutex, but
 *            for the CLOCK bit, which a reader sets
 *   record   one cache line, immutable from publish until nobody can have it any more
 *
 * Extents lie side by side and fill the mapping; each is an object's (number = its record) or free. They are known by their
 * numbers, are written under the mutex, and lie apart from the records: readers' lines are not written.
 *
 *   (free) --reserve--> FILLING --publish--> LINKED --unlink--> LIMBO --readers are quiet--> (free)
 *               ^-----------+ abandon                 ^            \--it is pinned--> PARKED --last unpin--> (free)
 *                           \---retire, or outdated---/
 *
 * Depends on: mem, pthread mutexes. */
#ifndef RM_MEM_STORE_PRIV_H
#define RM_MEM_STORE_PRIV_H

#include <pthread.h>

#include "mem/hash.h"
#include "mem/slab.h"
#include "mem/store.h"
#include "mem/store_map.h"

/* Limits of the work that one call does while it has the mutex. */
enum {
    STORE_STEPS_BASE = 64,   /* extents that CLOCK looks at in one store_reserve: so many, */
    STORE_STEPS_PER_UNIT = 2, /* more for each unit that is wanted, */
    STORE_STEPS_MAX = 1024,  /* and at most these */
    STORE_RECLAIM_MAX = 512, /* objects whose memory becomes free in one call */
    STORE_PATIENCE = 4,      /* so often large objects find no room before ones that are asked for must go, too */
    STORE_FIT_MAX = 8,       /* free extents that are looked at where some may be too small */
};

enum {
    STORE_WAYS = 7,            /* words of a bucket */
    STORE_BUCKET_OBJECTS = 4,  /* planned for each */
    STORE_RESERVE_PART = 16,   /* so much is kept free, or on its way to be: with 32 twice as many fills find no room */
    STORE_TICK_MS = 1024,      /* of `cold`, and of what is hot */
    STORE_COLD_TICKS = 8,
    STORE_COLD_TICKS_PRESSED = 1, /* while the kernel takes pages */
    STORE_HOT_TICKS = 2,
    STORE_CLASS_BITS = 4,      /* size classes: 2^4 for each power of two */
    STORE_CLASSES = 28 << STORE_CLASS_BITS,
    STORE_OBJECTS_MIN = 64,
    STORE_OBJECTS_MAX = 1 << 26,
};

/* The time of a hit, in ticks; bit 0 is free: STORE_AGAIN says that there was one in the tick before, too. */
enum { STORE_AGAIN = 1 };
static inline uint16_t store_tick(uint64_t ms) {
    return (uint16_t)(ms / STORE_TICK_MS << 1);
}

/* Ticks from a hit until now. */
static inline uint32_t store_ticks_since(uint16_t hit, uint64_t now_ms) {
    return (uint16_t)(store_tick(now_ms) - (hit & ~STORE_AGAIN)) >> 1;
}

#define STORE_NONE UINT32_MAX         /* no extent */
#define STORE_NOTHING_WAITS UINT64_MAX /* `oldest` when limbo is empty */

/* Index words: record + 1, CLOCK bit, the highest bits of the hash. 0: empty. */
enum { STORE_RECORD_BITS = 27, STORE_TAG_SHIFT = STORE_RECORD_BITS + 1 };
#define STORE_RECORD_MASK ((UINT64_C(1) << STORE_RECORD_BITS) - 1)
#define STORE_REF (UINT64_C(1) << STORE_RECORD_BITS)

struct store_bucket {
    uint32_t epoch; /* atomic: invalidations of its keys */
    uint32_t unused;
    uint64_t words[STORE_WAYS]; /* atomic */
};
_Static_assert(sizeof(struct store_bucket) == 64, "one cache line");

struct store_record {
    uint64_t hash;
    uint64_t stored_ms, fresh_until_ms, grace_until_ms; /* the store's clock */
    uint32_t unit, units;
    uint32_t key_len, meta_len, body_len;
    uint32_t unused[3];
};
_Static_assert(sizeof(struct store_record) == 64, "one cache line");

enum store_state {
    STORE_FREE,
    STORE_FILLING,
    STORE_LINKED,
    STORE_LIMBO,
    STORE_PARKED,
};

/* Invariant: unit + units is the unit of `after`, or all units; no two neighbours are FREE. */
struct store_extent {
    uint32_t unit, units;
    uint32_t before, after; /* neighbours in the mapping */
    uint32_t prev, next;    /* FREE: in the list of its class. LIMBO: `next` in limbo. Unused numbers: `next` */
    uint32_t state;         /* enum store_state */
    uint32_t pins;          /* atomic: how many, and STORE_PIN_PARKED */
};
_Static_assert(sizeof(struct store_extent) == 32, "two in a cache line");

#define STORE_PIN_PARKED (UINT32_C(1) << 31) /* set under the mutex: who unpins last makes it free */

/* Numbers that nobody uses, those used last first. */
struct store_numbers {
    uint32_t head;  /* given back; STORE_NONE when there are none */
    uint32_t fresh; /* from here to `end` never used */
    uint32_t end;
    uint32_t unused; /* how many, both kinds */
};

struct store_reader {
    _Alignas(128) uint64_t epoch; /* atomic: 0 when offline, else the store's when it was last quiet */
};

/* Invariant: free_units + units of all objects' extents == units. */
struct store {
    /* What readers need: written at open only. */
    struct store_bucket *buckets;
    struct store_record *records;
    struct store_extent *extents;
    uint64_t *stamps;   /* of extents in limbo: the epoch that all readers must have seen */
    uint16_t *ticks;    /* atomic: of each object's last hit (store_tick); NULL without a path */
    char *data;
    uint64_t mask;      /* of buckets */
    uint64_t offset_ms; /* the store's clock = the callers' + offset, modulo 2^64 */
    uint64_t key[2];
    uint64_t bytes;
    uint32_t units, objects, readers_count;
    uint64_t generation;
    struct store_map map; /* its `broken` changes once */
    struct slab slab;     /* all of this */

    /* Read by all, written when something is unlinked. */
    _Alignas(128) uint64_t epoch; /* atomic; never 0 */
    uint64_t oldest;              /* atomic: the least stamp in limbo, or STORE_NOTHING_WAITS */
    uint32_t laggard;             /* atomic: the reader that was waited for when somebody last looked */
    uint64_t pinned_units;        /* atomic */
    uint64_t too_large;           /* atomic */
    uint64_t clock_ms;            /* atomic: the latest time that a caller told */
    uint32_t cold_ticks;          /* atomic: from so many without a hit on an object's pages may have been taken */
    uint32_t refresh_next;        /* store_refresh goes on with this object, */
    uint64_t refresh_at;          /* behind so many bytes of it: its one thread's */
    uint64_t count_at, counted;   /* store_count_resident: how far it is, and what it has found; likewise */

    /* Under the mutex. */
    _Alignas(128) pthread_mutex_t mutex;
    uint64_t classes_used[STORE_CLASSES / 64]; /* bit: the list is not empty */
    uint32_t class_heads[STORE_CLASSES];
    struct store_numbers records_unused, frees_unused;
    uint32_t first;                   /* extent at unit 0 */
    uint32_t hand;                    /* extent that CLOCK looks at next */
    uint32_t run;                     /* units before the hand that are free, or on their way to be */
    uint32_t wish;                    /* units: the largest that was asked for of late */
    uint32_t refusals;                /* such that found no room, in a row */
    uint32_t limbo_head, limbo_tail;
    uint64_t free_units, limbo_units; /* limbo_units: parked ones, too */
    uint64_t parked_units;
    uint32_t linked, filling, waiting, parked; /* objects: in the index, fills, in limbo or parked, those parked */
    uint64_t published, replaced, invalidated, evicted, expired, outdated, full;

    _Alignas(128) struct store_reader readers[];
};

/* ---------------------------------------------------------------------------------------------- test switches ---- */

/* Tests break one mechanism at a time and see what notices. Nothing of this is in the library. */
enum store_break {
    STORE_BREAK_NONE,
    STORE_BREAK_QUIESCENCE, /* what is unlinked is free at once */
    STORE_BREAK_EPOCH,      /* publish doesn't look at the token */
    STORE_BREAK_PINS,       /* pins are not looked at */
    STORE_BREAK_REF,        /* CLOCK bits are not looked at */
    STORE_BREAK_UNLINK,     /* invalidation outdates fills only */
    STORE_BREAK_KEY,        /* the hash alone decides */
};
#ifdef STORE_BREAKABLE
extern enum store_break store_break;
#define STORE_BROKEN_BY(what) __builtin_expect(store_break == (what), 0)
#else
#define STORE_BROKEN_BY(what) false
#endif

/* ----------------------------------------------------------------------------------------------------- helpers ---- */

static inline void store_lock(struct store *store) {
    int failed = pthread_mutex_lock(&store->mutex);
    rm_assert(failed == 0);
}

static inline void store_unlock(struct store *store) {
    int failed = pthread_mutex_unlock(&store->mutex);
    rm_assert(failed == 0);
}

static inline uint64_t store_ms(const struct store *store, uint64_t now_ns) {
    return now_ns / 1000000 + store->offset_ms;
}

/* Is its grace over, as far as callers have told the time? */
static inline bool store_is_over(const struct store *store, uint32_t object) {
    return store->records[object].grace_until_ms <= __atomic_load_n(&store->clock_ms, __ATOMIC_RELAXED);
}

/* Where things lie in an object: key, meta, body. */
static inline uint32_t store_meta_at(uint32_t key_len) {
    return (key_len + 7) & ~UINT32_C(7);
}

static inline uint32_t store_body_at(uint32_t key_len, uint32_t meta_len) {
    return (store_meta_at(key_len) + meta_len + STORE_UNIT_BYTES - 1) & ~(uint32_t)(STORE_UNIT_BYTES - 1);
}

/* At least one unit. */
static inline uint64_t store_units(uint32_t key_len, uint32_t meta_len, uint32_t body_len) {
    uint64_t bytes = (uint64_t)store_body_at(key_len, meta_len) + body_len;
    return bytes == 0 ? 1 : (bytes + STORE_UNIT_BYTES - 1) / STORE_UNIT_BYTES;
}

static inline char *store_at(const struct store *store, uint32_t unit) {
    return store->data + (uint64_t)unit * STORE_UNIT_BYTES;
}

static inline struct store_bucket *store_bucket(const struct store *store, uint64_t hash) {
    return &store->buckets[hash & store->mask];
}

static inline uint64_t store_word(uint64_t hash, uint32_t record) {
    return hash >> STORE_TAG_SHIFT << STORE_TAG_SHIFT | (record + 1);
}

/* True when the word is that of some object with this tag. */
static inline bool store_word_matches(uint64_t word, uint64_t hash) {
    return ((word ^ hash) >> STORE_TAG_SHIFT) == 0 && (word & STORE_RECORD_MASK) != 0;
}

static inline uint32_t store_word_record(uint64_t word) {
    return (uint32_t)(word & STORE_RECORD_MASK) - 1;
}

/* ------------------------------------------------------------------------------------------- parts; under the mutex ---- */

/* store_space.c */
void store_space_init(struct store *store);
/* A number for an object and room for it, in state FILLING; STORE_NONE when either is missing. */
uint32_t store_space_take(struct store *store, uint32_t units);
/* The same at a given place, behind all that was taken before: for a warm start. */
uint32_t store_space_take_at(struct store *store, uint32_t unit, uint32_t units);
/* Whatever it was, its memory and its number are free. */
void store_space_give(struct store *store, uint32_t object);
/* An object that the hand may have counted, as it was on its way to be free, stays for longer. */
void store_space_stays(struct store *store, uint32_t object);
/* True when a free extent is surely so long. */
bool store_space_fits(const struct store *store, uint32_t units);
uint32_t store_space_largest(const struct store *store);
/* One of the longest free extents, or STORE_NONE. */
uint32_t store_space_long(const struct store *store);

/* store_limbo.c */
/* A linked object that left the index, or a fill that will not be in it: free when its readers are quiet. */
void store_limbo_put(struct store *store, uint32_t object);
/* What can become free does, up to STORE_RECLAIM_MAX objects. */
void store_limbo_reclaim(struct store *store);

/* store_index.c */
/* The word of the object with this hash, or NULL. */
uint64_t *store_index_find(const struct store *store, uint64_t hash);
/* Links a new object, in the place of one with the same hash; from a full bucket one goes. */
void store_index_put(struct store *store, uint64_t hash, uint32_t object);
/* Takes an object out of the index and puts it to limbo. `counter`: which figure that is. */
void store_index_unlink(struct store *store, uint64_t *word, uint64_t *counter);

/* store_clock.c */
/* The CLOCK hand goes on until enough is free or on its way to be, or the steps for an object of `units` are used up. */
void store_clock_evict(struct store *store, uint32_t units);

/* store_warm.c */
/* Takes over what a clean close left. False with why when an entry makes no sense: nothing is taken over then. */
bool store_warm_adopt(struct store *store, const struct store_image *image, char why[static STORE_WHY_BYTES]);
/* Entries of all objects whose grace is not over, in the order of the mapping; returns how many. */
uint64_t store_warm_entries(const struct store *store, uint64_t now_ms, struct store_image_entry *entries);

#endif
