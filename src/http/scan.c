#include "http/scan.h"

#ifdef RM_SCAN_SSE2
#include <immintrin.h>
#endif

/* Classes by name, so that the table below can be read. */
enum {
    C_ = 0,                                  /* control */
    T_ = SCAN_TEXT,                          /* HTAB, SP, '?', obs-text */
    V_ = SCAN_PATH | SCAN_TEXT,              /* visible, no tchar */
    K_ = V_ | SCAN_TOKEN,                    /* tchar */
    H_ = V_ | SCAN_HOST,                     /* sub-delims that are no tchar */
    N_ = K_ | SCAN_HOST,                     /* tchar and in a reg-name */
    D_ = N_ | SCAN_DIGIT | SCAN_HEX,         /* 0-9 */
    X_ = N_ | SCAN_HEX,                      /* a-f */
    P_ = SCAN_TEXT | SCAN_TOKEN,             /* '#' */
};

const uint8_t scan_classes[256] = {
    /* 00 */ C_, C_, C_, C_, C_, C_, C_, C_, C_, T_, C_, C_, C_, C_, C_, C_,
    /* 10 */ C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_,
    /*       SP  !   "   #   $   %   &   '   (   )   *   +   ,   -   .   / */
    /* 20 */ T_, N_, V_, P_, N_, N_, N_, N_, H_, H_, N_, N_, H_, N_, N_, V_,
    /*       0   1   2   3   4   5   6   7   8   9   :   ;   <   =   >   ? */
    /* 30 */ D_, D_, D_, D_, D_, D_, D_, D_, D_, D_, V_, H_, V_, H_, V_, T_,
    /*       @   A   B   C   D   E   F   G   H   I   J   K   L   M   N   O */
    /* 40 */ V_, X_, X_, X_, X_, X_, X_, N_, N_, N_, N_, N_, N_, N_, N_, N_,
    /*       P   Q   R   S   T   U   V   W   X   Y   Z   [   \   ]   ^   _ */
    /* 50 */ N_, N_, N_, N_, N_, N_, N_, N_, N_, N_, N_, V_, V_, V_, K_, N_,
    /*       `   a   b   c   d   e   f   g   h   i   j   k   l   m   n   o */
    /* 60 */ K_, X_, X_, X_, X_, X_, X_, N_, N_, N_, N_, N_, N_, N_, N_, N_,
    /*       p   q   r   s   t   u   v   w   x   y   z   {   |   }   ~  DEL */
    /* 70 */ N_, N_, N_, N_, N_, N_, N_, N_, N_, N_, N_, V_, K_, V_, N_, C_,
    /* 80 */ T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_,
    /* 90 */ T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_,
    /* a0 */ T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_,
    /* b0 */ T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_,
    /* c0 */ T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_,
    /* d0 */ T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_,
    /* e0 */ T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_,
    /* f0 */ T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_, T_,
};

#define SCAN_TABLE(name, class)                                                                                        \
    static const char *table_##name(const char *p, const char *end) {                                                  \
        return scan_while(p, end, class);                                                                              \
    }

SCAN_TABLE(path, SCAN_PATH)
SCAN_TABLE(text, SCAN_TEXT)

static const struct scan_way table_way = { "table", true, table_path, table_text };

#ifdef RM_SCAN_SSE2

#define SCAN_SSE2(name, class)                                                                                         \
    static const char *sse2_##name(const char *p, const char *end) {                                                   \
        for (; end - p >= 16; p += 16) {                                                                               \
            uint32_t stops = scan_stops_##name(scan_load(p));                                                          \
            if (stops != 0) {                                                                                          \
                return p + __builtin_ctz(stops);                                                                       \
            }                                                                                                          \
        }                                                                                                              \
        return scan_while(p, end, class);                                                                              \
    }

SCAN_SSE2(path, SCAN_PATH)
SCAN_SSE2(text, SCAN_TEXT)

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline uint32_t wide_stops_path(__m256i bytes) {
    __m256i low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x20)), bytes);
    __m256i high = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, _mm256_set1_epi8(0x7f)), bytes);
    __m256i marks = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('?')),
                                    _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('#')));
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(low, high), marks));
}

AVX2 static inline uint32_t wide_stops_text(__m256i bytes) {
    __m256i low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
    low = _mm256_andnot_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\t')), low);
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(low, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f))));
}

AVX2 static inline __m256i wide_load(const char *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

#define SCAN_AVX2(name)                                                                                                \
    AVX2 static const char *avx2_##name(const char *p, const char *end) {                                              \
        for (; end - p >= 32; p += 32) {                                                                               \
            uint32_t stops = wide_stops_##name(wide_load(p));                                                          \
            if (stops != 0) {                                                                                          \
                return p + __builtin_ctz(stops);                                                                       \
            }                                                                                                          \
        }                                                                                                              \
        return sse2_##name(p, end);                                                                                    \
    }

SCAN_AVX2(path)
SCAN_AVX2(text)

static const struct scan_way sse2_way = { "sse2", true, sse2_path, sse2_text };
static const struct scan_way avx2_way = { "avx2", true, avx2_path, avx2_text };

struct scan_way scan_long = { "sse2", true, sse2_path, sse2_text };

__attribute__((constructor)) static void choose(void) {
    if (__builtin_cpu_supports("avx2")) {
        scan_long = avx2_way;
    }
}

uint32_t scan_ways(struct scan_way ways[static SCAN_WAYS_MAX]) {
    ways[0] = table_way;
    ways[1] = sse2_way;
    ways[2] = avx2_way;
    ways[2].works = __builtin_cpu_supports("avx2");
    return 3;
}

#else

struct scan_way scan_long = { "table", true, table_path, table_text };

uint32_t scan_ways(struct scan_way ways[static SCAN_WAYS_MAX]) {
    ways[0] = table_way;
    return 1;
}

#endif
