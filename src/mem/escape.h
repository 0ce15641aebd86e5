/* Strings of JSON: RFC 8259 §7. Text is taken as UTF-8, unchecked: bytes from 0x80 on stay as they are. What needs no escape
 * is found by 16 bytes (SSE2) on x86-64 and, in long texts, by 32 where the CPU has AVX2; elsewhere by a table. All ways give
 * the same answer: tests/test_escape.c. Never reads outside of the text.
 * Depends on: mem/span.h. Any thread. */
#ifndef RM_MEM_ESCAPE_H
#define RM_MEM_ESCAPE_H

#include "mem/span.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#define RM_ESCAPE_SSE2 1
#endif

enum { ESCAPE_BYTES_MAX = 6 }; /* that one byte becomes: \u0000 */

/* For each byte: 0 when a string may hold it as it is, 'u' when it becomes \u00XX, else what follows the '\'. */
extern const char escape_letters[256];

/* True for the bytes that a string may hold as they are: all but '"', '\' and 0x00-0x1f. */
static inline bool escape_is_clean(char byte) {
    return escape_letters[(uint8_t)byte] == 0;
}

/* Writes the escape of a byte that is not clean (ESCAPE_BYTES_MAX of room). Returns what is behind it. */
char *escape_put(char *out, char byte);

/* Writes the text with its escapes, without quotes: room for text.len * ESCAPE_BYTES_MAX. Returns what is behind it. */
char *escape_put_text(char *out, struct span text);

/* One way to find the first byte in [p, end) that is not clean, for the tests. `works`: this CPU can do it. */
typedef const char *escape_scan_fn(const char *p, const char *end);
struct escape_way {
    const char *name;
    bool works;
    escape_scan_fn *scan;
};

enum { ESCAPE_WAYS_MAX = 3 };

/* Fills `ways`, the table-driven one first; returns how many there are. */
uint32_t escape_ways(struct escape_way ways[static ESCAPE_WAYS_MAX]);

/* The best way for long texts, chosen once before main(). */
extern escape_scan_fn *escape_scan_long;

static inline const char *escape_scan_bytes(const char *p, const char *end) {
    while (p < end && escape_is_clean(*p)) {
        p++;
    }
    return p;
}

#ifdef RM_ESCAPE_SSE2

/* A bit for each of 16 bytes that is not clean. */
static inline uint32_t escape_stops(const char *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(low, marks));
}

/* The first byte that is not clean, or end. Two steps here, the rest by the long way; less than 16 bytes by the table. */
static inline const char *escape_scan(const char *p, const char *end) {
    for (int step = 0; step < 2; step++) {
        if (end - p < 16) {
            return escape_scan_bytes(p, end);
        }
        uint32_t stops = escape_stops(p);
        if (stops != 0) {
            return p + __builtin_ctz(stops);
        }
        p += 16;
    }
    return escape_scan_long(p, end);
}

#else

static inline const char *escape_scan(const char *p, const char *end) {
    return escape_scan_bytes(p, end);
}

#endif

/* Not zero when one of 8 bytes is not clean. */
static inline uint64_t escape_found(uint64_t bytes) {
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t quote = bytes ^ (ones * '"'), backslash = bytes ^ (ones * '\\');
    return (((bytes - ones * 0x20) & ~bytes) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & tops;
}

/* True when no byte needs an escape. By words that overlap for the usual lengths. */
static inline bool escape_is_clean_text(struct span text) {
    if (text.len < 8 || text.len > 32) {
        return text.len == 0 || escape_scan(text.data, text.data + text.len) == text.data + text.len;
    }
    uint64_t bytes, found;
    memcpy(&bytes, text.data + text.len - 8, 8);
    found = escape_found(bytes);
    for (size_t i = 0; i + 8 < text.len; i += 8) {
        memcpy(&bytes, text.data + i, 8);
        found |= escape_found(bytes);
    }
    return found == 0;
}

#endif
