#include "load_histogram.h"

#include <math.h>

/* Below HISTOGRAM_SUB a bucket is one nanosecond wide; from there on each power of two has HISTOGRAM_SUB buckets. */
static uint32_t bucket_of(uint64_t ns) {
    if (ns < HISTOGRAM_SUB) {
        return (uint32_t)ns;
    }
    uint32_t top = 63u - (uint32_t)__builtin_clzll(ns);
    uint32_t octave = top - HISTOGRAM_SUB_BITS;
    if (octave >= HISTOGRAM_OCTAVES) {
        return HISTOGRAM_BUCKETS - 1;
    }
    return HISTOGRAM_SUB * (octave + 1) + (uint32_t)((ns >> octave) & (HISTOGRAM_SUB - 1));
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_bound(uint32_t bucket) {
    if (bucket < HISTOGRAM_SUB) {
        return bucket;
    }
    uint32_t octave = bucket / HISTOGRAM_SUB - 1;
    uint64_t mantissa = HISTOGRAM_SUB + bucket % HISTOGRAM_SUB;
    return ((mantissa + 1) << octave) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns) {
    histogram->buckets[bucket_of(ns)]++;
    if (histogram->count == 0 || ns < histogram->min_ns) {
        histogram->min_ns = ns;
    }
    if (ns > histogram->max_ns) {
        histogram->max_ns = ns;
    }
    histogram->count++;
    histogram->sum_ns += ns;
}

uint64_t histogram_quantile(const struct histogram *histogram, double fraction) {
    uint64_t wanted = (uint64_t)ceil(fraction * (double)histogram->count);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0) {
            uint64_t bound = bucket_bound(i);
            return bound < histogram->max_ns ? bound : histogram->max_ns;
        }
    }
    return histogram->max_ns;
}

uint64_t histogram_mean(const struct histogram *histogram) {
    return histogram->count == 0 ? 0 : histogram->sum_ns / histogram->count;
}
