#include "mem/arena.h"

#include "mem/assert.h"
#include "mem/poison.h"

enum { ARENA_ALIGN = 16 };

static size_t rounded(size_t bytes) {
    return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

void arena_init(struct arena *arena, void *memory, uint32_t bytes) {
    rm_assert(((uintptr_t)memory & (ARENA_ALIGN - 1)) == 0);
    *arena = (struct arena){ .base = memory, .size = bytes };
    poison_mark(memory, bytes);
}

/* Room for `bytes` behind `start`: the end of the take, or 0 when it does not fit. */
static uint32_t end_of(const struct arena *arena, uint32_t start, size_t bytes) {
    if (bytes > arena->size || rounded(bytes) > arena->size - start) {
        return 0;
    }
    return start + (uint32_t)rounded(bytes);
}

void *arena_take(struct arena *arena, size_t bytes) {
    rm_assert(arena->used <= arena->size);
    uint32_t start = arena->used;
    uint32_t end = end_of(arena, start, bytes);
    if (end == 0 && bytes != 0) {
        arena->overflowed = true;
        return NULL;
    }
    if (end != 0) {
        arena->used = end;
    }
    poison_clear(arena->base + start, bytes);
    return arena->base + start;
}

struct span arena_copy(struct arena *arena, struct span bytes) {
    char *copy = arena_take(arena, bytes.len);
    if (copy == NULL) {
        return span_of(NULL, 0);
    }
    if (bytes.len > 0) {
        memcpy(copy, bytes.data, bytes.len);
    }
    return span_of(copy, bytes.len);
}

bool arena_extend(struct arena *arena, const void *last, size_t bytes) {
    size_t start = (size_t)((const char *)last - arena->base);
    rm_assert(start <= arena->used);
    uint32_t end = end_of(arena, (uint32_t)start, bytes);
    if (end == 0 && bytes != 0) {
        arena->overflowed = true;
        return false;
    }
    arena->used = end != 0 ? end : (uint32_t)start;
    poison_mark(arena->base + start, arena->size - start);
    poison_clear(arena->base + start, bytes);
    return true;
}

void arena_rollback(struct arena *arena, uint32_t mark) {
    rm_assert(mark <= arena->used);
    poison_mark(arena->base + mark, arena->used - mark);
    arena->used = mark;
}

void arena_reset(struct arena *arena) {
    arena_rollback(arena, 0);
    arena->overflowed = false;
}
