#include "mem/escape.h"

#ifdef RM_ESCAPE_SSE2
#include <immintrin.h>
#endif

#define U_ 'u'
#define EIGHT_U U_, U_, U_, U_, U_, U_, U_, U_

const char escape_letters[256] = {
    EIGHT_U,
    'b', 't', 'n', U_, 'f', 'r', U_, U_,
    EIGHT_U, EIGHT_U,
    ['"'] = '"',
    ['\\'] = '\\',
};

char *escape_put(char *out, char byte) {
    static const char hex[] = "0123456789abcdef";
    uint8_t code = (uint8_t)byte;
    out[0] = '\\';
    out[1] = escape_letters[code];
    if (out[1] != 'u') {
        return out + 2;
    }
    out[2] = '0';
    out[3] = '0';
    out[4] = hex[code >> 4];
    out[5] = hex[code & 15];
    return out + 6;
}

char *escape_put_text(char *out, struct span text) {
    const char *p = text.data, *end = p + text.len;
    while (p < end) {
        const char *stop = escape_scan(p, end);
        memcpy(out, p, (size_t)(stop - p));
        out += stop - p;
        if (stop < end) {
            out = escape_put(out, *stop++);
        }
        p = stop;
    }
    return out;
}

static const char *scan_table(const char *p, const char *end) {
    return escape_scan_bytes(p, end);
}

#ifdef RM_ESCAPE_SSE2

static const char *scan_sse2(const char *p, const char *end) {
    for (; end - p >= 16; p += 16) {
        uint32_t stops = escape_stops(p);
        if (stops != 0) {
            return p + __builtin_ctz(stops);
        }
    }
    return escape_scan_bytes(p, end);
}

__attribute__((target("avx2"))) static const char *scan_avx2(const char *p, const char *end) {
    for (; end - p >= 32; p += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
        __m256i marks = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')),
                                        _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\')));
        uint32_t stops = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(low, marks));
        if (stops != 0) {
            return p + __builtin_ctz(stops);
        }
    }
    return scan_sse2(p, end);
}

escape_scan_fn *escape_scan_long = scan_sse2;

__attribute__((constructor)) static void choose(void) {
    if (__builtin_cpu_supports("avx2")) {
        escape_scan_long = scan_avx2;
    }
}

uint32_t escape_ways(struct escape_way ways[static ESCAPE_WAYS_MAX]) {
    ways[0] = (struct escape_way){ "table", true, scan_table };
    ways[1] = (struct escape_way){ "sse2", true, scan_sse2 };
    ways[2] = (struct escape_way){ "avx2", __builtin_cpu_supports("avx2"), scan_avx2 };
    return 3;
}

#else

escape_scan_fn *escape_scan_long = scan_table;

uint32_t escape_ways(struct escape_way ways[static ESCAPE_WAYS_MAX]) {
    ways[0] = (struct escape_way){ "table", true, scan_table };
    return 1;
}

#endif
