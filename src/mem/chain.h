/* Output chains: bytes on their way to a socket, in blocks of one fixed size from the worker's pool. A block either holds
 * its own bytes or points into foreign memory (a constant, a cached object) and calls a release hook when it is done with
 * it. Chains are spliced by pointer, sent with an iovec array, and consumed when the ring says SENT.
 * Depends on: mem/span.h, mem/pool.h. One thread. */
#ifndef RM_MEM_CHAIN_H
#define RM_MEM_CHAIN_H

#include <sys/uio.h>

#include "mem/assert.h"
#include "mem/pool.h"
#include "mem/span.h"

enum { BLOCK_BYTES = 4096 }; /* a whole block with its header: what the pool is made of */

/* Called once when the last byte of a foreign segment was sent or dropped. Must not touch the chain. */
typedef void block_release_fn(void *arg);

/* Invariant: start + len <= BLOCK_ROOM for an own block (data == room). */
struct block {
    struct block *next;
    const char *data;          /* `room` below, or foreign memory */
    block_release_fn *release; /* NULL for own bytes and for constants */
    void *arg;
    uint32_t start; /* bytes of `data` that were sent and consumed already */
    uint32_t len;   /* bytes in `data`, the consumed ones included: start <= len */
    char room[];
};

enum { BLOCK_ROOM = BLOCK_BYTES - sizeof(struct block) };

/* Invariant: head == NULL <=> tail == NULL <=> no block is held; bytes is the sum of (len - start). */
struct chain {
    struct block *head;
    struct block *tail;
    size_t bytes;
    struct pool *blocks; /* of BLOCK_BYTES items; where blocks come from and go back to */
};

void chain_init(struct chain *chain, struct pool *blocks);

/* At least `n` contiguous writable bytes (n <= BLOCK_ROOM) at the end, in the tail block when it has the room, else in a new
 * one. They are not part of the chain before chain_commit. NULL when the pool is empty. */
[[gnu::warn_unused_result]] static inline char *chain_reserve(struct chain *chain, uint32_t n);

/* Makes the first `n` bytes of what chain_reserve returned last part of the chain. */
static inline void chain_commit(struct chain *chain, uint32_t n);

/* Copies `bytes` to the end, across blocks. False when the pool is empty: nothing of it was appended then. */
[[gnu::warn_unused_result]] bool chain_append(struct chain *chain, struct span bytes);

/* Appends foreign bytes without a copy. They must stay valid until `release(arg)` is called (or, with release NULL, for the
 * life of the process). Costs one block as a holder. False when the pool is empty: release is not called then. */
[[gnu::warn_unused_result]] bool chain_append_foreign(struct chain *chain, struct span bytes, block_release_fn *release,
                                                      void *arg);

/* A place in a chain to come back to. Valid until something before it is consumed or spliced away. */
struct chain_mark {
    struct block *tail; /* NULL: the chain held no block */
    uint32_t len;
    size_t bytes;
};
static inline struct chain_mark chain_mark(const struct chain *chain);

/* Drops all that was appended since the mark; releases its blocks. */
void chain_rollback(struct chain *chain, struct chain_mark mark);

/* Moves all that was appended since the mark to `to`, which is empty and uses the same pool. Bytes that share the mark's block
 * with older ones are copied into a block of their own; then *moved_from is where they were and *moved_to where they are now
 * (else both are NULL), so that pointers into them can follow. False when the pool is empty: nothing has changed then. */
[[gnu::warn_unused_result]] bool chain_cut(struct chain *chain, struct chain_mark mark, struct chain *to,
                                           const char **moved_from, char **moved_to);

/* Moves all of `from` behind `to` by pointer; `from` is empty then. Both use the same pool. */
void chain_splice(struct chain *to, struct chain *from);

/* Fills `iov` with the first segments, at most `max`; returns how many and sets *bytes to their sum. Borrows the chain: the
 * array is right until the chain is consumed or rolled back. Empty segments are left out. */
uint32_t chain_iov(const struct chain *chain, struct iovec *iov, uint32_t max, size_t *bytes);

/* Drops the first `bytes` (<= chain->bytes) and gives back every block that is used up. */
void chain_consume(struct chain *chain, size_t bytes);

/* Gives back every block. */
void chain_reset(struct chain *chain);

/* ------------------------------------------------------------------------------------------------ inline parts ---- */

/* chain_reserve when the tail block has no room: takes a block. */
char *chain_reserve_block(struct chain *chain, uint32_t n);

static inline char *chain_reserve(struct chain *chain, uint32_t n) {
    struct block *tail = chain->tail;
    if (tail != NULL && tail->data == tail->room && n <= BLOCK_ROOM - tail->len) {
        return tail->room + tail->len;
    }
    return chain_reserve_block(chain, n);
}

static inline void chain_commit(struct chain *chain, uint32_t n) {
    struct block *tail = chain->tail;
    rm_assert(tail != NULL);
    rm_assert(n <= BLOCK_ROOM - tail->len);
    tail->len += n;
    chain->bytes += n;
}

static inline struct chain_mark chain_mark(const struct chain *chain) {
    struct block *tail = chain->tail;
    return (struct chain_mark){ tail, tail != NULL ? tail->len : 0, chain->bytes };
}

#endif
