/* Short copies and checks without a call: for the few bytes that response heads and JSON are made of.
 * Depends on: mem/span.h. Any thread. */
#ifndef RM_MEM_COPY_H
#define RM_MEM_COPY_H

#include "mem/span.h"

/* Copies; returns what is behind. Up to 32 bytes go by two moves that overlap. */
static inline char *copy_put(char *p, const char *data, size_t len) {
    if (len > 32) {
        memcpy(p, data, len);
    } else if (len >= 16) {
        char low[16], high[16];
        memcpy(low, data, 16);
        memcpy(high, data + len - 16, 16);
        memcpy(p, low, 16);
        memcpy(p + len - 16, high, 16);
    } else if (len >= 8) {
        uint64_t low, high;
        memcpy(&low, data, 8);
        memcpy(&high, data + len - 8, 8);
        memcpy(p, &low, 8);
        memcpy(p + len - 8, &high, 8);
    } else {
        for (size_t i = 0; i < len; i++) {
            p[i] = data[i];
        }
    }
    return p + len;
}

static inline char *copy_put_span(char *p, struct span bytes) {
    return copy_put(p, bytes.data, bytes.len);
}

/* Equality of `len` bytes, up to 32 without a call. */
static inline bool copy_same(const char *a, const char *b, size_t len) {
    uint64_t a_low, a_high, b_low, b_high;
    if (len < 8 || len > 16) {
        return len == 0 || memcmp(a, b, len) == 0; /* no bytes are nowhere: NULL */
    }
    memcpy(&a_low, a, 8);
    memcpy(&b_low, b, 8);
    memcpy(&a_high, a + len - 8, 8);
    memcpy(&b_high, b + len - 8, 8);
    return ((a_low ^ b_low) | (a_high ^ b_high)) == 0;
}

[[gnu::always_inline]] static inline char *copy_put_constant(char *p, const char *data, size_t len) {
    memcpy(p, data, len);
    return p + len;
}

/* Literals: the compiler turns these into moves. */
#define COPY_PUT(p, literal) copy_put_constant((p), "" literal, sizeof(literal) - 1)

/* Not zero when one of 8 bytes is below 0x20 or is 0x7f. */
static inline uint64_t copy_controls(uint64_t bytes) {
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t del = bytes ^ (ones * 0x7f);
    return (((bytes - ones * 0x20) & ~bytes) | ((del - ones) & ~del)) & tops;
}

/* True when there is no control character, HTAB included. False may be wrong only for less than 8 bytes. */
static inline bool copy_surely_clean(const char *data, size_t len) {
    if (len < 8) {
        return len == 0;
    }
    uint64_t bytes, found;
    memcpy(&bytes, data + len - 8, 8);
    found = copy_controls(bytes);
    for (size_t i = 0; i + 8 < len; i += 8) {
        memcpy(&bytes, data + i, 8);
        found |= copy_controls(bytes);
    }
    return found == 0;
}

#endif
