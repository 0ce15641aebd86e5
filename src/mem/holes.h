/* Touching memory that may be gone: pages of a mapped file that somebody has truncated since (or that cannot be read any more).
 * A plain load from there ends the process with SIGBUS; these come back and say so.
 *
 * A truncation inside a page leaves no hole there: the rest of the page reads as zeros. And a file that is truncated and grown
 * again reads as zeros without any hole. So the last page of such a file is its witness: a word that is not zero, looked at
 * after the bytes. Linux takes the mapped pages behind the new end away, the witness among them, before it clears the rest of
 * a page.
 *
 * Depends on: sigaction(2), sigsetjmp(3). Any thread. */
#ifndef RM_MEM_HOLES_H
#define RM_MEM_HOLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is true of a file as long as it is whole. `word` is in the last page of its mapping. */
struct holes_witness {
    const uint64_t *word;
    uint64_t value;
};

/* From the first begin to the last end of the process the handler of SIGBUS is ours; what is not about bytes that are touched
 * here goes to the handler that was there before, or ends the process as it would have. Before the first touch; they
 * nest. A thread that blocks SIGBUS must not touch: the kernel ends the process then, handler or not. So begin unblocks it on
 * the calling thread, from which those that are started later have it: it may come blocked from whoever started us. */
void holes_begin(void);
void holes_end(void);

/* memcpy; false, with `to` undefined, when there was a hole or the witness is another one. */
[[gnu::warn_unused_result]] bool holes_copy(const struct holes_witness *witness, void *to, const void *from, size_t bytes);

/* The same for memcmp: *equal is set when it is true. */
[[gnu::warn_unused_result]] bool holes_compare(const struct holes_witness *witness, const void *a, const void *b, size_t bytes,
                                               bool *equal);

#endif
