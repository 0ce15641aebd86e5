#include "server/lines.h"

_Static_assert(sizeof(struct lines) == 192, "writer, shared and reader have a cache line each");

void lines_init(struct lines *lines, void *memory, size_t bytes) {
    *lines = (struct lines){ .memory = memory, .bytes = bytes };
}

/* The reader's place is looked at, which costs a cache miss, only when the old news does not do. `head` must not reach `tail`
 * from below: equal means empty. */
char *lines_make_room(struct lines *lines, size_t n) {
    lines->tail_seen = __atomic_load_n(&lines->tail, __ATOMIC_ACQUIRE);
    if (lines->head < lines->tail_seen) {
        return lines->tail_seen - 1 - lines->head >= n ? lines->memory + lines->head : NULL;
    }
    if (lines->bytes - lines->head >= n) {
        return lines->memory + lines->head;
    }
    if (lines->tail_seen <= n) {
        return NULL;
    }
    __atomic_store_n(&lines->wrap, lines->head, __ATOMIC_RELAXED);
    lines->head = 0;
    return lines->memory;
}

bool lines_publish(struct lines *lines) {
    if (lines->published == lines->head) {
        return false;
    }
    __atomic_store_n(&lines->published, lines->head, __ATOMIC_SEQ_CST); /* see sleep_long in logger.c */
    return true;
}

struct span lines_peek(struct lines *lines) {
    size_t published = __atomic_load_n(&lines->published, __ATOMIC_SEQ_CST);
    if (published < lines->tail) {
        size_t wrap = __atomic_load_n(&lines->wrap, __ATOMIC_RELAXED);
        if (lines->tail < wrap) {
            return span_of(lines->memory + lines->tail, wrap - lines->tail);
        }
        __atomic_store_n(&lines->tail, 0, __ATOMIC_RELEASE);
    }
    return span_of(lines->memory + lines->tail, published - lines->tail);
}

void lines_take(struct lines *lines, size_t n) {
    __atomic_store_n(&lines->tail, lines->tail + n, __ATOMIC_RELEASE);
}
