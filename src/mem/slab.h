/* A slab: the one anonymous mapping of a worker, from which everything that the worker ever uses is carved at start.
 * After slab_seal() a further take is a bug and asserts. Pages are touched by their users only, so what is planned for the
 * worst case costs no memory until the worst case comes.
 * Depends on: mem/assert.h. One thread at a time. */
#ifndef RM_MEM_SLAB_H
#define RM_MEM_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SLAB_ALIGN = 64 }; /* a cache line: no two takes share one */

/* Invariant: used <= bytes; base is page aligned. */
struct slab {
    char *base;
    size_t bytes; /* mapped */
    size_t used;  /* handed out, rounded up to SLAB_ALIGN */
    bool sealed;  /* set by slab_seal */
};

/* Maps `bytes` (rounded up to pages), private, anonymous, not reserved (mmap(2), MAP_NORESERVE). False with errno when the
 * kernel refuses. */
[[gnu::warn_unused_result]] bool slab_map(struct slab *slab, size_t bytes);

/* `bytes` of zeroed memory, aligned to SLAB_ALIGN, valid until slab_release. Asserts that the slab is not sealed and that
 * it fits: the plan is computed from the same sizes, so a slab that is too small is our mistake. */
void *slab_take(struct slab *slab, size_t bytes);

void slab_seal(struct slab *slab);

/* Unmaps. Every pointer that was taken from it is dead. */
void slab_release(struct slab *slab);

/* `bytes` as slab_take rounds it; for plans. */
static inline size_t slab_round(size_t bytes) {
    return (bytes + SLAB_ALIGN - 1) / SLAB_ALIGN * SLAB_ALIGN;
}

#endif
