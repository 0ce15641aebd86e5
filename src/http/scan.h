/* Finds the first byte that is not of a class. Never reads outside [p, end). On x86-64 by 16 bytes (SSE2) and, from the
 * third step on, by 32 where the CPU has AVX2; elsewhere by a table. All ways give the same answer: tests/test_scan.c.
 * Depends on nothing. Any thread. */
#ifndef RM_HTTP_SCAN_H
#define RM_HTTP_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#define RM_SCAN_SSE2 1
#endif

enum scan_class {
    SCAN_TOKEN = 1, /* tchar: RFC 9110 §5.6.2 */
    SCAN_PATH = 2,  /* of a request target: 0x21-0x7e, but not '?' and '#' */
    SCAN_TEXT = 4,  /* of a field value: HTAB, SP, 0x21-0x7e, 0x80-0xff. RFC 9110 §5.5 */
    SCAN_HOST = 8,  /* of a reg-name, '%' included: RFC 3986 §3.2.2 */
    SCAN_DIGIT = 16,
    SCAN_HEX = 32,
};

/* A set of enum scan_class for each byte. */
extern const uint8_t scan_classes[256];

static inline bool scan_is(char byte, enum scan_class class) {
    return (scan_classes[(uint8_t)byte] & class) != 0;
}

static inline const char *scan_while(const char *p, const char *end, enum scan_class class) {
    while (p < end && scan_is(*p, class)) {
        p++;
    }
    return p;
}

typedef const char *scan_fn(const char *p, const char *end);

/* One way to scan, for the tests. `works`: this CPU can do it. */
struct scan_way {
    const char *name;
    bool works;
    scan_fn *path, *text;
};

enum { SCAN_WAYS_MAX = 3 };

/* Fills `ways`, the table-driven one first; returns how many there are. */
uint32_t scan_ways(struct scan_way ways[static SCAN_WAYS_MAX]);

/* The best way for long runs, chosen once before main(). */
extern struct scan_way scan_long;

#ifdef RM_SCAN_SSE2

/* A bit for each of 16 bytes that is not of the class. */

static inline uint32_t scan_stops_path(__m128i bytes) {
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x20)), bytes);
    __m128i high = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x7f)), bytes);
    __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('?')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#')));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(low, high), marks));
}

static inline uint32_t scan_stops_text(__m128i bytes) {
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    low = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), low);
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f))));
}

static inline __m128i scan_load(const char *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Letters, digits and '-': nearly all that names of fields are made of. */
static inline uint32_t scan_stops_name(__m128i bytes) {
    __m128i letters = _mm_sub_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i digits = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    __m128i good = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(letters, _mm_set1_epi8(25)), letters),
                                _mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits));
    good = _mm_or_si128(good, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')));
    return (uint32_t)_mm_movemask_epi8(good) ^ 0xffffu;
}

/* The first bytes of a name in one step; the table knows the rest, and the other bytes of a token. */
static inline const char *scan_token(const char *p, const char *end) {
    if (end - p >= 16) {
        uint32_t stops = scan_stops_name(scan_load(p));
        p += stops != 0 ? __builtin_ctz(stops) : 16;
    }
    return scan_while(p, end, SCAN_TOKEN);
}

/* Two steps here, the rest by the long way; less than 16 bytes by the table. */
#define SCAN_INLINE(name, class)                                                                                       \
    static inline const char *scan_##name(const char *p, const char *end) {                                            \
        for (int step = 0; step < 2; step++) {                                                                         \
            if (end - p < 16) {                                                                                        \
                return scan_while(p, end, class);                                                                      \
            }                                                                                                          \
            uint32_t stops = scan_stops_##name(scan_load(p));                                                          \
            if (stops != 0) {                                                                                          \
                return p + __builtin_ctz(stops);                                                                       \
            }                                                                                                          \
            p += 16;                                                                                                   \
        }                                                                                                              \
        return scan_long.name(p, end);                                                                                 \
    }

#else

static inline const char *scan_token(const char *p, const char *end) {
    return scan_while(p, end, SCAN_TOKEN);
}

#define SCAN_INLINE(name, class)                                                                                       \
    static inline const char *scan_##name(const char *p, const char *end) {                                            \
        return scan_while(p, end, class);                                                                              \
    }

#endif

SCAN_INLINE(path, SCAN_PATH)
SCAN_INLINE(text, SCAN_TEXT)

#endif
