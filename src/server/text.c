#include "server/text.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                            "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

size_t text_u64(uint64_t value, char out[static TEXT_INT_BYTES]) {
    char digits[TEXT_INT_BYTES];
    size_t at = sizeof digits;
    while (value >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + value * 2, 2);
    } else {
        digits[--at] = (char)('0' + value);
    }
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t text_i64(int64_t value, char out[static TEXT_INT_BYTES]) {
    if (value >= 0) {
        return text_u64((uint64_t)value, out);
    }
    char digits[TEXT_INT_BYTES]; /* at most 19: the sign fits */
    size_t n = text_u64(-(uint64_t)value, digits);
    out[0] = '-';
    memcpy(out + 1, digits, n);
    return n + 1;
}

/* Prices and scores: a few decimals. value * 1000 is a whole number below 2^53 and dividing gives the value back: then its
 * decimal digits, fewer than 16, are the only ones so short that read back the same, and trailing zeros can go. */
static size_t few_decimals(double value, char out[static TEXT_DOUBLE_BYTES]) {
    double scaled = value * 1000;
    if (!(fabs(scaled) < 1e15)) {
        return 0;
    }
    int64_t thousandths = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    if ((double)thousandths / 1000 != value || (thousandths == 0 && signbit(value))) {
        return 0;
    }
    bool negative = thousandths < 0;
    uint64_t magnitude = negative ? -(uint64_t)thousandths : (uint64_t)thousandths;
    size_t len = 0;
    if (negative) {
        out[len++] = '-';
    }
    len += text_u64(magnitude / 1000, out + len);
    unsigned rest = (unsigned)(magnitude % 1000);
    if (rest > 0) {
        out[len++] = '.';
        for (unsigned place = 100; rest > 0; rest %= place, place /= 10) {
            out[len++] = (char)('0' + rest / place);
        }
    }
    return len;
}

size_t text_double(double value, char out[static TEXT_DOUBLE_BYTES]) {
    if (!isfinite(value)) {
        memcpy(out, "null", 4);
        return 4;
    }
    size_t len = few_decimals(value, out);
    if (len > 0) {
        return len;
    }
    char text[TEXT_DOUBLE_BYTES];
    for (int digits = 15; digits <= 17; digits++) {
        len = (size_t)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    memcpy(out, text, len);
    return len;
}
