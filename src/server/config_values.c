#include "server/config_values.h"

#include <string.h>

#include "mem/span.h"
#include "server/config_priv.h"

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit durations[] = {
    { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 }, { "m", 60000000000 }, { NULL, 0 },
};
static const struct unit sizes[] = { { "", 1 }, { "K", 1024 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 } };

static bool scaled(const char *text, const struct unit *units, uint64_t *out) {
    size_t digits = strspn(text, "0123456789");
    uint64_t number, product;
    if (!span_u64(span_of(text, digits), &number)) {
        return false;
    }
    for (const struct unit *unit = units; unit->suffix != NULL; unit++) {
        if (strcmp(text + digits, unit->suffix) == 0 && !__builtin_mul_overflow(number, unit->factor, &product)) {
            *out = product;
            return true;
        }
    }
    return false;
}

bool config_duration(const char *text, uint64_t *ns) {
    if (strcmp(text, "0") == 0) {
        *ns = 0;
        return true;
    }
    return scaled(text, durations, ns);
}

bool config_size(const char *text, uint64_t *bytes) {
    return scaled(text, sizes, bytes);
}

bool config_number(const char *text, uint64_t *out) {
    return span_u64(span_text(text), out);
}

bool config_number_in(const char *text, uint64_t min, uint64_t max, uint32_t *out, char *why) {
    uint64_t number;
    if (!config_number(text, &number) || number < min || number > max) {
        return WHY("must be a number from %lu to %lu", (unsigned long)min, (unsigned long)max);
    }
    *out = (uint32_t)number;
    return true;
}

bool config_size_in(const char *text, uint64_t min, uint64_t max, uint64_t *out, char *why) {
    uint64_t bytes;
    if (!config_size(text, &bytes) || bytes < min || bytes > max) {
        return WHY("must be a size from %lu to %lu bytes, as 512, 16K, 1M or 1G", (unsigned long)min,
                   (unsigned long)max);
    }
    *out = bytes;
    return true;
}

bool config_size32_in(const char *text, uint64_t min, uint64_t max, uint32_t *out, char *why) {
    uint64_t bytes;
    if (!config_size_in(text, min, max, &bytes, why)) {
        return false;
    }
    *out = (uint32_t)bytes;
    return true;
}

bool config_duration_in(const char *text, uint64_t *out, char *why) {
    uint64_t ns;
    if (!config_duration(text, &ns) || ns == 0 || ns > UINT64_C(86400) * 1000000000) {
        return WHY("must be a duration from 1us to 1440m, as 500us, 20ms, 10s or 2m");
    }
    *out = ns;
    return true;
}

enum { WORD_BYTES = 64 };

static unsigned least(unsigned a, unsigned b, unsigned c) {
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

unsigned config_distance(const char *a, const char *b) {
    size_t n = strlen(b);
    if (strlen(a) > WORD_BYTES || n > WORD_BYTES) {
        return WORD_BYTES;
    }
    unsigned row[WORD_BYTES + 1];
    for (unsigned j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; a[i - 1] != '\0'; i++) {
        unsigned corner = row[0]; /* the row above, one to the left */
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1]));
            corner = above;
        }
    }
    return row[n];
}
