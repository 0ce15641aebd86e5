#include "arena_cache.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BYTES_DEFAULT = 1024,
    BYTES_MAX = 4 * 1024 * 1024,
    LETTERS = 26,
    PIECE_BYTES = LETTERS * 2520, /* lent at a time: each piece ends with the letter before its first */
    MS_DEFAULT = 100,
    MS_MAX = 60000,
    PLACES = 1 << 16, /* of keys that are counted */
    NUMBER_BYTES = 24,
};

#define NS_PER_MS UINT64_C(1000000)

/* A body is "N " and then the alphabet again and again, from a letter on that depends on N: whoever asks can tell every byte.
 * Lent from here, however large. */
static char letters[PIECE_BYTES + LETTERS];

struct rm_cache cached_cache = { .name = "cached", .ttl_ns = 60000 * NS_PER_MS, .parts = RM_PARTS("{n}") };
const struct rm_cache slow_cache = { .name = "slow", .ttl_ns = 1000 * NS_PER_MS, .parts = RM_PARTS("{key}") };
const struct rm_cache slow_grace_cache = {
    .name = "slow-grace", .ttl_ns = 1000 * NS_PER_MS, .grace_ns = 30000 * NS_PER_MS, .parts = RM_PARTS("{key}")
};

void cache_start(void) {
    for (size_t i = 0; i < sizeof letters; i++) {
        letters[i] = (char)('a' + i % LETTERS);
    }
}

bool cache_read_time(const char *text, bool zero, uint64_t *ns) {
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 } };
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 8) {
        return false;
    }
    uint64_t value = strtoull(text, NULL, 10);
    if (value == 0) {
        *ns = 0;
        return zero;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text + digits, units[i].name) == 0 && value <= 24 * 3600 * 1000 / units[i].ms) {
            *ns = value * units[i].ms * NS_PER_MS;
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------------- counting ---- */

/* Executions by key, for all workers: places are taken once and never given back. A key is known by its hash of 64 bits. */
static struct {
    atomic_uint_fast64_t hash; /* 0: free */
    atomic_uint_fast64_t count;
} places[PLACES];

/* FNV-1a, never 0. */
static uint64_t hash_of(struct span key) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key.len; i++) {
        hash = (hash ^ (unsigned char)key.data[i]) * 0x100000001b3u;
    }
    return hash | 1;
}

/* NULL: there is none, and no more can be had. */
static atomic_uint_fast64_t *count_of(struct span key) {
    uint64_t hash = hash_of(key);
    for (size_t i = 0; i < PLACES; i++) {
        size_t at = (hash / 2 + i) % PLACES;
        uint64_t there = atomic_load_explicit(&places[at].hash, memory_order_relaxed);
        if (there == hash || (there == 0 && atomic_compare_exchange_strong(&places[at].hash, &there, hash)) ||
            there == hash) {
            return &places[at].count;
        }
    }
    return NULL;
}

/* ----------------------------------------------------------------------------------------------------- answers ---- */

/* A number from the query. False: it is answered. */
static bool read_number(struct rm_exchange *x, const char *name, int64_t min, int64_t max, int64_t missing,
                        int64_t *out) {
    struct span text;
    char why[100];
    *out = missing;
    if (rm_query_value(x, name, &text) && (!rm_int(text, out) || *out < min || *out > max)) {
        snprintf(why, sizeof why, "%s must be a number from %lld to %lld\n", name, (long long)min, (long long)max);
        rm_text(x, 400, why);
        return false;
    }
    return true;
}

/* "NUMBER " and letters up to `bytes`; the number alone when it is as long. */
static enum rm_step answer(struct rm_exchange *x, int status, int64_t number, int64_t bytes) {
    rm_begin(x, status, "text/plain");
    char text[NUMBER_BYTES];
    int len = snprintf(text, sizeof text, "%lld ", (long long)number);
    bool filled = bytes >= len;
    rm_write(x, (struct span){ text, (size_t)(filled ? len : len - 1) });
    const char *from = letters + (uint64_t)number % LETTERS;
    for (size_t left = filled ? (size_t)(bytes - len) : 0, n; left > 0; left -= n) {
        n = left < PIECE_BYTES ? left : PIECE_BYTES;
        rm_write_lent(x, (struct span){ from, n }, NULL, NULL);
    }
    return RM_DONE;
}

enum rm_step cached(struct rm_exchange *x) {
    int64_t n, bytes;
    if (!rm_int(rm_param(x, "n"), &n)) {
        return rm_text(x, 400, "n must be an integer\n");
    }
    if (!read_number(x, "bytes", 1, BYTES_MAX, BYTES_DEFAULT, &bytes)) {
        return RM_DONE;
    }
    return answer(x, 200, n, bytes);
}

struct waited {
    int64_t count, bytes, status;
};

static enum rm_step slept(struct rm_exchange *x) {
    struct span value;
    const struct waited *waited = rm_state(x);
    if (rm_query_value(x, "no-store", &value)) {
        rm_set_header(x, "Cache-Control", (struct span){ "no-store", 8 });
    }
    return answer(x, (int)waited->status, waited->count, waited->bytes);
}

enum rm_step slow(struct rm_exchange *x) {
    int64_t ms;
    struct waited *waited = rm_alloc(x, sizeof *waited);
    if (waited == NULL || !read_number(x, "ms", 0, MS_MAX, MS_DEFAULT, &ms) ||
        !read_number(x, "bytes", 0, BYTES_MAX, 0, &waited->bytes) ||
        !read_number(x, "status", 200, 599, 200, &waited->status)) {
        return RM_DONE;
    }
    atomic_uint_fast64_t *count = count_of(rm_param(x, "key"));
    if (count == NULL) {
        return rm_text(x, 503, "too many keys are counted\n");
    }
    waited->count = (int64_t)atomic_fetch_add(count, 1) + 1;
    rm_set_state(x, waited);
    rm_sleep(x, (uint64_t)ms * NS_PER_MS);
    rm_then(x, slept);
    return RM_PARK;
}

enum rm_step slow_count(struct rm_exchange *x) {
    const atomic_uint_fast64_t *count = count_of(rm_param(x, "key"));
    rm_begin(x, 200, "text/plain");
    rm_write_int(x, count == NULL ? 0 : (int64_t)atomic_load(count));
    return RM_DONE;
}
