#include "mem/number.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

static uint32_t digits_of(uint64_t value) {
    uint32_t digits = 1;
    for (; value >= 10000; value /= 10000) {
        digits += 4;
    }
    return digits + (value >= 1000 ? 3 : value >= 100 ? 2 : value >= 10 ? 1 : 0);
}

/* The last `digits` digits, leading zeros included, two at a time from the right. */
static char *put_digits(char *out, uint64_t value, uint32_t digits) {
    char *p = out + digits;
    for (; p - out >= 2; value /= 100) {
        p -= 2;
        memcpy(p, pairs + value % 100 * 2, 2);
    }
    if (p > out) {
        *out = (char)('0' + value % 10);
    }
    return out + digits;
}

char *number_put_u64(char *out, uint64_t value) {
    if (value < 10) {
        *out = (char)('0' + value);
        return out + 1;
    }
    return put_digits(out, value, digits_of(value));
}

char *number_put_i64(char *out, int64_t value) {
    if (value < 0) {
        *out++ = '-';
        return number_put_u64(out, 0 - (uint64_t)value);
    }
    return number_put_u64(out, (uint64_t)value);
}

/* n / 10^k, without zeros at the end. */
static char *put_decimal(char *out, uint64_t n, uint32_t k, uint64_t power) {
    out = number_put_u64(out, n / power);
    uint64_t fraction = n % power;
    for (; k > 0 && fraction % 10 == 0; k--) {
        fraction /= 10;
    }
    if (k == 0) {
        return out;
    }
    *out++ = '.';
    return put_digits(out, fraction, k);
}

/* Prices and ratings: a positive number that is n / 10^k for small n and k. Both are exact as doubles and the quotient is
 * rounded right, so the text n / 10^k reads back as `value` when they are equal. NULL when it is no such number. */
static char *put_short_decimal(char *out, double value) {
    if (!(value < 1e9)) {
        return NULL;
    }
    uint64_t n = (uint64_t)(value * 100 + 0.5);
    if ((double)n / 100 == value) {
        return put_decimal(out, n, 2, 100);
    }
    n = (uint64_t)(value * 1000000 + 0.5);
    return (double)n / 1000000 == value ? put_decimal(out, n, 6, 1000000) : NULL;
}

static bool reads_back(const char *text, double value) {
    return strtod(text, NULL) == value;
}

/* A decimal of 15 digits survives the way through a double, so fewer than 15 need no search, but for the denormals, which
 * have less precision. */
static char *put_searched(char *out, double value) {
    bool denormal = value < 2.3e-308;
    int digits = denormal ? 0 : 14, len;
    do {
        len = snprintf(out, NUMBER_BYTES_MAX - 1, "%.*g", ++digits, value);
    } while (digits < 17 && !reads_back(out, value));
    return out + len;
}

char *number_put_double(char *out, double value) {
    if (!__builtin_isfinite(value)) {
        memcpy(out, "null", 4);
        return out + 4;
    }
    if (__builtin_signbit(value)) {
        *out++ = '-';
        value = -value;
    }
    char *end = put_short_decimal(out, value);
    return end != NULL ? end : put_searched(out, value);
}
