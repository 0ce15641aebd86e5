/* Memory whose last byte is the last of a page, with a page behind it that nobody may touch: reading one byte too far is a
 * crash, in every build. */
#ifndef RM_TESTS_GUARD_H
#define RM_TESTS_GUARD_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct guard {
    char *base;
    size_t bytes; /* that can be used, whole pages */
};

static inline struct guard guard_open(size_t bytes) {
    enum { PAGE = 4096 };
    size_t usable = (bytes + PAGE - 1) / PAGE * PAGE;
    char *base = mmap(NULL, usable + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + usable, PAGE, PROT_NONE) != 0) {
        abort();
    }
    return (struct guard){ base, usable };
}

static inline void guard_close(struct guard *guard) {
    munmap(guard->base, guard->bytes + 4096);
}

/* A copy of the bytes, flush against the page. What an earlier copy left is overwritten with '#'. */
static inline char *guard_copy(struct guard *guard, const char *data, size_t len) {
    if (len > guard->bytes) {
        abort();
    }
    char *copy = guard->base + guard->bytes - len;
    if (len > 0) {
        memmove(copy, data, len);
    }
    memset(guard->base, '#', guard->bytes - len);
    return copy;
}

#endif
