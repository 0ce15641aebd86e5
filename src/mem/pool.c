#include "mem/pool.h"

#include <string.h>

#include "mem/assert.h"
#include "mem/poison.h"

enum { CACHE_LINE = 64, SMALL_ALIGN = 16 };

/* What a given item holds in its first bytes. */
struct free_item {
    struct free_item *next;
};

size_t pool_item_bytes(size_t item_bytes) {
    size_t align = item_bytes >= CACHE_LINE ? CACHE_LINE : SMALL_ALIGN;
    if (item_bytes == 0) {
        item_bytes = 1;
    }
    return (item_bytes + align - 1) / align * align;
}

size_t pool_bytes(size_t item_bytes, uint32_t count) {
    return pool_item_bytes(item_bytes) * count;
}

/* The inverse of an odd number modulo 2^64, by Newton's method: each step doubles the bits that are right, starting at 3. */
static uint64_t inverse_of(uint64_t odd) {
    uint64_t x = odd;
    for (int step = 0; step < 5; step++) {
        x *= 2 - odd * x;
    }
    return x;
}

void pool_init(struct pool *pool, const char *name, void *memory, size_t item_bytes, uint32_t count) {
    rm_assert(((uintptr_t)memory & (CACHE_LINE - 1)) == 0);
    size_t bytes = pool_item_bytes(item_bytes);
    uint32_t shift = (uint32_t)__builtin_ctzll(bytes);
    *pool = (struct pool){
        .name = name,
        .memory = memory,
        .item_bytes = bytes,
        .count = count,
        .free_count = count,
        .low_water = count,
        .inverse = inverse_of(bytes >> shift),
        .shift = shift,
    };
    poison_mark(memory, bytes * count);
}

void *pool_take(struct pool *pool) {
    struct free_item *item = pool->free_head;
    if (__builtin_expect(item != NULL, 1)) {
        poison_clear(item, pool->item_bytes);
        pool->free_head = item->next;
    } else if (pool->fresh < pool->count) {
        item = (struct free_item *)(void *)(pool->memory + pool->fresh * pool->item_bytes);
        pool->fresh++;
        poison_clear(item, pool->item_bytes);
    } else {
        pool->refused++;
        return NULL;
    }
    pool->free_count--;
    if (pool->free_count < pool->low_water) {
        pool->low_water = pool->free_count;
    }
    return item;
}

/* An offset is a multiple of item_bytes exactly when its low bits are zero and the rest times the inverse is small. */
uint32_t pool_index(const struct pool *pool, const void *item) {
    uint64_t offset = (uint64_t)((const char *)item - pool->memory);
    uint64_t index = (offset >> pool->shift) * pool->inverse;
    rm_assert((offset & ((UINT64_C(1) << pool->shift) - 1)) == 0);
    rm_assert(index < pool->fresh);
    return (uint32_t)index;
}

void pool_give(struct pool *pool, void *item) {
    uint32_t index = pool_index(pool, item);
    rm_assert(index < pool->count);
    rm_assert(pool->free_count < pool->count);
    struct free_item *freed = item;
    freed->next = pool->free_head;
    pool->free_head = freed;
    pool->free_count++;
    poison_mark((char *)item + sizeof *freed, pool->item_bytes - sizeof *freed);
}

void *pool_at(const struct pool *pool, uint32_t index) {
    rm_assert(index < pool->count);
    return pool->memory + index * pool->item_bytes;
}
