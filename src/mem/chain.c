#include "mem/chain.h"

#include <string.h>

void chain_init(struct chain *chain, struct pool *blocks) {
    *chain = (struct chain){ .blocks = blocks };
}

/* A block that holds nothing yet, at the end of the chain; NULL when the pool is empty. */
static struct block *block_add(struct chain *chain) {
    struct block *block = pool_take(chain->blocks);
    if (block == NULL) {
        return NULL;
    }
    block->next = NULL;
    block->data = block->room;
    block->release = NULL;
    block->arg = NULL;
    block->start = 0;
    block->len = 0;
    if (chain->tail != NULL) {
        chain->tail->next = block;
    } else {
        chain->head = block;
    }
    chain->tail = block;
    return block;
}

static void block_give(struct chain *chain, struct block *block) {
    if (block->release != NULL) {
        block->release(block->arg);
    }
    pool_give(chain->blocks, block);
}

/* Gives back `block` and all behind it. */
static void blocks_give(struct chain *chain, struct block *block) {
    while (block != NULL) {
        struct block *next = block->next;
        block_give(chain, block);
        block = next;
    }
}

char *chain_reserve_block(struct chain *chain, uint32_t n) {
    rm_assert(n <= BLOCK_ROOM);
    struct block *block = block_add(chain);
    return block != NULL ? block->room : NULL;
}

/* Copies what fits into the tail block; returns how much. */
static size_t fill_tail(struct chain *chain, struct span bytes) {
    struct block *tail = chain->tail;
    if (tail == NULL || tail->data != tail->room) {
        return 0;
    }
    size_t room = BLOCK_ROOM - tail->len;
    size_t n = bytes.len < room ? bytes.len : room;
    if (n > 0) {
        memcpy(tail->room + tail->len, bytes.data, n);
    }
    chain_commit(chain, (uint32_t)n);
    return n;
}

bool chain_append(struct chain *chain, struct span bytes) {
    if (bytes.len == 0) {
        return true;
    }
    struct chain_mark mark = chain_mark(chain);
    size_t done = fill_tail(chain, bytes);
    while (done < bytes.len) {
        if (block_add(chain) == NULL) {
            chain_rollback(chain, mark);
            return false;
        }
        done += fill_tail(chain, span_from(bytes, done));
    }
    return true;
}

bool chain_append_foreign(struct chain *chain, struct span bytes, block_release_fn *release, void *arg) {
    rm_assert(bytes.len <= UINT32_MAX);
    struct block *block = block_add(chain);
    if (block == NULL) {
        return false;
    }
    block->data = bytes.data;
    block->release = release;
    block->arg = arg;
    block->len = (uint32_t)bytes.len;
    chain->bytes += bytes.len;
    return true;
}

void chain_rollback(struct chain *chain, struct chain_mark mark) {
    if (mark.tail == NULL) {
        chain_reset(chain);
        return;
    }
    rm_assert(mark.bytes <= chain->bytes);
    rm_assert(mark.len <= mark.tail->len);
    blocks_give(chain, mark.tail->next);
    mark.tail->next = NULL;
    mark.tail->len = mark.len;
    chain->tail = mark.tail;
    chain->bytes = mark.bytes;
}

bool chain_cut(struct chain *chain, struct chain_mark mark, struct chain *to, const char **moved_from, char **moved_to) {
    rm_assert(to->head == NULL);
    *moved_from = NULL;
    *moved_to = NULL;
    if (mark.tail == NULL) {
        chain_splice(to, chain);
        return true;
    }
    uint32_t shared = mark.tail->len - mark.len;
    if (shared > 0) {
        char *copy = chain_reserve(to, shared);
        if (copy == NULL) {
            return false;
        }
        memcpy(copy, mark.tail->room + mark.len, shared);
        chain_commit(to, shared);
        *moved_from = mark.tail->room + mark.len;
        *moved_to = copy;
    }
    struct chain rest = { mark.tail->next, mark.tail->next != NULL ? chain->tail : NULL, chain->bytes - mark.bytes - shared,
                          chain->blocks };
    mark.tail->next = NULL;
    mark.tail->len = mark.len;
    chain->tail = mark.tail;
    chain->bytes = mark.bytes;
    chain_splice(to, &rest);
    return true;
}

void chain_splice(struct chain *to, struct chain *from) {
    rm_assert(to->blocks == from->blocks);
    if (from->head == NULL) {
        return;
    }
    if (to->tail != NULL) {
        to->tail->next = from->head;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    to->bytes += from->bytes;
    chain_init(from, from->blocks);
}

uint32_t chain_iov(const struct chain *chain, struct iovec *iov, uint32_t max, size_t *bytes) {
    uint32_t count = 0;
    size_t sum = 0;
    for (const struct block *block = chain->head; block != NULL && count < max; block = block->next) {
        size_t len = block->len - block->start;
        if (len == 0) {
            continue;
        }
        union {
            const char *in;
            void *out;
        } base = { .in = block->data + block->start }; /* struct iovec has no const; a send only reads */
        iov[count++] = (struct iovec){ .iov_base = base.out, .iov_len = len };
        sum += len;
    }
    *bytes = sum;
    return count;
}

void chain_consume(struct chain *chain, size_t bytes) {
    rm_assert(bytes <= chain->bytes);
    chain->bytes -= bytes;
    struct block *block = chain->head;
    while (block != NULL && bytes >= block->len - block->start) {
        struct block *next = block->next;
        bytes -= block->len - block->start;
        block_give(chain, block);
        block = next;
    }
    chain->head = block;
    if (block == NULL) {
        chain->tail = NULL;
    } else {
        block->start += (uint32_t)bytes;
    }
}

void chain_reset(struct chain *chain) {
    blocks_give(chain, chain->head);
    chain->head = NULL;
    chain->tail = NULL;
    chain->bytes = 0;
}
