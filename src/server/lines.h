/* Whole lines on their way from one worker to the log's thread: a ring of bytes with one writer and one reader, without a
 * lock. A line lies in one piece; the writer that finds no room drops its line.
 *
 *     worker:  lines_reserve, lines_commit (once per line); lines_publish (once per turn)
 *     reader:  lines_peek, lines_take
 *
 * Depends on: mem. Two threads: the writer's calls on one, the reader's on the other. */
#ifndef RM_SERVER_LINES_H
#define RM_SERVER_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "mem/assert.h"
#include "mem/span.h"

/* Invariant: what is to be read lies in [tail, published), or, when published < tail, in [tail, wrap) and [0, published). */
struct lines {
    /* the writer's */
    _Alignas(64) char *memory;
    size_t bytes;
    size_t head;      /* behind the last line */
    size_t tail_seen; /* `tail` as it was read last */
    char pad_1[32];
    /* written by the writer, read by the reader */
    size_t published; /* `head` as the reader may know it */
    size_t wrap;      /* where the lines before the turn to 0 end */
    char pad_2[48];
    /* written by the reader, read by the writer */
    size_t tail;
    char pad_3[56];
};

/* Keeps `memory`. */
void lines_init(struct lines *lines, void *memory, size_t bytes);

/* What lines_reserve does when there is no room behind the last line. */
char *lines_make_room(struct lines *lines, size_t n);

/* `n` writable bytes, n < bytes / 2; NULL when the reader is behind by too much. */
[[gnu::warn_unused_result]] static inline char *lines_reserve(struct lines *lines, size_t n) {
    rm_assert(n < lines->bytes / 2);
    size_t end = lines->head >= lines->tail_seen ? lines->bytes : lines->tail_seen - 1;
    return end - lines->head >= n ? lines->memory + lines->head : lines_make_room(lines, n);
}

/* The first `n` of the bytes that were reserved are a line. */
static inline void lines_commit(struct lines *lines, size_t n) {
    lines->head += n;
}

/* Lets the reader see what was committed. False when that was nothing. */
bool lines_publish(struct lines *lines);

/* The bytes that are next, lines in one piece; empty when there are none. Whole lines only, but for what was taken. */
struct span lines_peek(struct lines *lines);

/* The first `n` of them were dealt with. */
void lines_take(struct lines *lines, size_t n);

#endif
