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
[[gnu::warn_unused_result]] void *pool_take(struct pool *pool);

/* Takes back an item of this pool (asserted: inside the memory, on an item boundary). */
void pool_give(struct pool *pool, void *item);

/* The index of an item, 0..count-1. */
uint32_t pool_index(const struct pool *pool, const void *item);

/* The item at an index, taken or not. */
void *pool_at(const struct pool *pool, uint32_t index);

#endif
