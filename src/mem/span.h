/* Borrowed bytes: a pointer and a length, by value. A span owns nothing and says nothing about how long its bytes stay
 * valid: the function that hands it out does. The bytes are not terminated by NUL.
 * Depends on nothing. */
#ifndef RM_MEM_SPAN_H
#define RM_MEM_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef RM_SPAN_DEFINED /* the public header has the same three lines, so that applications need no other file */
#define RM_SPAN_DEFINED
struct span {
    const char *data; /* may be NULL only when len is 0 */
    size_t len;       /* bytes */
};
#endif

/* The span of a string literal, without its NUL. */
#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })

static inline struct span span_of(const char *data, size_t len) {
    return (struct span){ data, len };
}

/* The bytes of a NUL-terminated string; borrows `text`. */
static inline struct span span_text(const char *text) {
    return (struct span){ text, strlen(text) };
}

static inline bool span_equal(struct span a, struct span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Equal when ASCII letters are compared without case; other bytes as they are. */
bool span_equal_nocase(struct span a, struct span b);

/* The bytes from `from` to the end; empty when `from` is beyond it. */
static inline struct span span_from(struct span s, size_t from) {
    size_t n = from < s.len ? from : s.len;
    return (struct span){ n == 0 ? s.data : s.data + n, s.len - n };
}

/* At most the first `len` bytes. */
static inline struct span span_first(struct span s, size_t len) {
    return (struct span){ s.data, len < s.len ? len : s.len };
}

/* Decimal digits only (no sign, no blank), whole span, no overflow of 64 bits. False leaves *out alone. */
bool span_u64(struct span s, uint64_t *out);

/* As span_u64 with one optional leading '-' and the range of int64_t. */
bool span_i64(struct span s, int64_t *out);

#endif
