/* A log-linear histogram of durations: 64 buckets per power of two, so a value is off by at most 1/64 of itself; fixed size,
 * no allocation, one thread.
 * Depends on nothing. */
#ifndef RM_BENCH_LOAD_HISTOGRAM_H
#define RM_BENCH_LOAD_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 6,
    HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS,
    HISTOGRAM_OCTAVES = 36, /* up to 2^(36 + 6) ns, over an hour; what is longer counts as that */
    HISTOGRAM_BUCKETS = HISTOGRAM_SUB * (HISTOGRAM_OCTAVES + 1),
};

/* Invariant: count is the sum of the buckets; min <= max when count > 0. All zero is an empty histogram. */
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t sum_ns;
    uint64_t min_ns;
    uint64_t max_ns;
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* The smallest bucket bound such that at least `fraction` (0..1) of the values lie at or below it, at most max_ns. 0 when
 * empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

/* 0 when empty. */
uint64_t histogram_mean(const struct histogram *histogram);

#endif
