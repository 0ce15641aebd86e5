#include "mem/pool.h"

#include "mem/assert.h"

enum { CACHE_LINE = 64, SMALL_ALIGN = 16 };

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

void *pool_take_fresh(struct pool *pool) {
    if (pool->fresh == pool->count) {
        pool->refused++;
        return NULL;
    }
    char *item = pool->memory + pool->fresh * pool->item_bytes;
    pool->fresh++;
    poison_clear(item, pool->item_bytes);
    pool->free_count--;
    if (pool->free_count < pool->low_water) {
        pool->low_water = pool->free_count;
    }
    return item;
}

void *pool_at(const struct pool *pool, uint32_t index) {
    rm_assert(index < pool->count);
    return pool->memory + index * pool->item_bytes;
}
