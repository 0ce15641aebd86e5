/* A pool: a fixed number of equal items in memory that the caller planned, recycled most recently used first, so that the
 * next take meets cache lines that are still warm. An empty pool gives NULL: that is load shedding, a branch and a counter.
 * Items that were never taken are never touched. Under ASan a given item is poisoned, but for its first bytes, which hold
 * the list.
 * Depends on: mem/assert.h. One thread: the owner of the pool. */
#ifndef RM_MEM_POOL_H
#define RM_MEM_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/assert.h"
#include "mem/poison.h"

/* Invariant: free_count + in use == count; fresh <= count; low_water <= free_count. */
struct pool {
    const char *name; /* for the plan and the metrics; static storage */
    char *memory;     /* count * item_bytes; borrowed until the pool is dropped */
    void *free_head;  /* LIFO of given items */
    size_t item_bytes;
    uint32_t count;
    uint32_t fresh;      /* items [fresh, count) were never taken */
    uint32_t free_count; /* given + never taken */
    uint32_t low_water;  /* the least free_count there ever was */
    uint64_t refused;    /* takes that found it empty */
    uint64_t inverse;    /* item_bytes >> shift is odd; this is its inverse modulo 2^64: division without dividing */
    uint32_t shift;
};

/* Bytes that pool_init needs for `count` items of `item_bytes` (each rounded up to `pool_item_bytes`). */
size_t pool_bytes(size_t item_bytes, uint32_t count);

/* `item_bytes` rounded up to a cache line when it is at least one, else to 16 bytes. */
size_t pool_item_bytes(size_t item_bytes);

/* Keeps `memory` (pool_bytes() of it, aligned to 64) for the life of the pool. Touches none of it. */
void pool_init(struct pool *pool, const char *name, void *memory, size_t item_bytes, uint32_t count);

/* The item given last, else one never used; NULL when all are taken. Its bytes are whatever its last user left. */
[[gnu::warn_unused_result]] static inline void *pool_take(struct pool *pool);

/* Takes back an item of this pool (asserted: inside the memory, on an item boundary). */
static inline void pool_give(struct pool *pool, void *item);

/* The index of an item, 0..count-1. */
static inline uint32_t pool_index(const struct pool *pool, const void *item);

/* The item at an index, taken or not. */
void *pool_at(const struct pool *pool, uint32_t index);

/* ------------------------------------------------------------------------------------------------ inline parts ---- */

/* What a given item holds in its first bytes. */
struct pool_item {
    struct pool_item *next;
};

/* pool_take when nothing was given back: an item that was never taken, or NULL. */
void *pool_take_fresh(struct pool *pool);

static inline void *pool_take(struct pool *pool) {
    struct pool_item *item = pool->free_head;
    if (__builtin_expect(item == NULL, 0)) {
        return pool_take_fresh(pool);
    }
    poison_clear(item, pool->item_bytes);
    pool->free_head = item->next;
    pool->free_count--;
    if (pool->free_count < pool->low_water) {
        pool->low_water = pool->free_count;
    }
    return item;
}

/* An offset is a multiple of item_bytes exactly when its low bits are zero and the rest times the inverse is small. */
static inline uint32_t pool_index(const struct pool *pool, const void *item) {
    uint64_t offset = (uint64_t)((const char *)item - pool->memory);
    uint64_t index = (offset >> pool->shift) * pool->inverse;
    rm_assert((offset & ((UINT64_C(1) << pool->shift) - 1)) == 0);
    rm_assert(index < pool->fresh);
    return (uint32_t)index;
}

static inline void pool_give(struct pool *pool, void *item) {
    uint32_t index = pool_index(pool, item);
    rm_assert(index < pool->count);
    rm_assert(pool->free_count < pool->count);
    struct pool_item *given = item;
    given->next = pool->free_head;
    pool->free_head = given;
    pool->free_count++;
    poison_mark((char *)item + sizeof *given, pool->item_bytes - sizeof *given);
}

#endif
