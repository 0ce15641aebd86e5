/* Assertions for our own mistakes: always compiled in, never used for what comes from a peer or the kernel.
 * Depends on nothing. Safe from any thread. */
#ifndef RM_MEM_ASSERT_H
#define RM_MEM_ASSERT_H

/* Prints "FILE:LINE: FUNCTION: assertion failed: TEXT" on stderr with write(2) and aborts. Never returns. */
_Noreturn void rm_assert_failed(const char *file, int line, const char *function, const char *text);

/* COND must have no side effect. One condition each: split `a && b` into two. */
#define rm_assert(cond) \
    (__builtin_expect(!!(cond), 1) ? (void)0 : rm_assert_failed(__FILE__, __LINE__, __func__, #cond))

#endif
