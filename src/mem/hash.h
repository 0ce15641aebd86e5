/* SipHash-1-3: a keyed hash of short texts, for tables whose keys come from outside. Aumasson and Bernstein, "SipHash: a fast
 * short-input PRF" (2012). Not for authentication.
 * Depends on: mem/span.h. */
#ifndef RM_MEM_HASH_H
#define RM_MEM_HASH_H

#include "mem/span.h"

uint64_t hash_keyed(const uint64_t key[static 2], struct span bytes);

/* The same in pieces: begin, any number of adds (cut anywhere), end. */
struct hash {
    uint64_t v[4];
    uint64_t tail;  /* bytes that don't make a word yet */
    uint64_t len;   /* so far */
};
void hash_begin(struct hash *hash, const uint64_t key[static 2]);
void hash_add(struct hash *hash, struct span bytes);
[[gnu::warn_unused_result]] uint64_t hash_end(struct hash *hash);

#endif
