/* A workspace: a bump arena for one exchange. Taking moves a pointer, reset puts it back, nothing is ever freed alone.
 * Overflow is a flag and a NULL, not a crash: the owner turns it into one clean 500 or 431. Under ASan what lies behind
 * `used` is poisoned.
 * Depends on: mem/assert.h. One thread. */
#ifndef RM_MEM_ARENA_H
#define RM_MEM_ARENA_H

#include "mem/span.h"

/* Invariant: used <= size. */
struct arena {
    char *base;
    uint32_t size; /* bytes */
    uint32_t used;
    bool overflowed; /* set by a take that did not fit, cleared by arena_reset */
};

/* Keeps `memory` (`bytes` of it, at least 16-byte aligned). */
void arena_init(struct arena *arena, void *memory, uint32_t bytes);

/* `bytes`, aligned to 16, valid until arena_reset or a rollback to a mark before it; NULL sets `overflowed`. */
[[gnu::warn_unused_result]] void *arena_take(struct arena *arena, size_t bytes);

/* A copy of `bytes` in the arena; a span with data NULL and len 0 on overflow (and `overflowed` set). */
[[gnu::warn_unused_result]] struct span arena_copy(struct arena *arena, struct span bytes);

/* Makes the newest take `bytes` long in place (its start is `last`); false and `overflowed` when it does not fit. */
[[gnu::warn_unused_result]] bool arena_extend(struct arena *arena, const void *last, size_t bytes);

static inline uint32_t arena_mark(const struct arena *arena) {
    return arena->used;
}
void arena_rollback(struct arena *arena, uint32_t mark);
void arena_reset(struct arena *arena);

#endif
