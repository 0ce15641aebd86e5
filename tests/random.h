/* Random numbers for tests that compare with a model: the seed is printed and can be given as RM_SEED. Without it each run is the
 * same, so that a commit passes or fails by what is in it; `./check --long` gives a new one each time. */
#ifndef RM_TESTS_RANDOM_H
#define RM_TESTS_RANDOM_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct random {
    uint64_t state;
};

/* splitmix64 */
static inline uint64_t random_next(struct random *random) {
    uint64_t x = random->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* 0 .. n-1 */
static inline uint32_t random_below(struct random *random, uint32_t n) {
    return (uint32_t)(random_next(random) % n);
}

/* The seed in RM_SEED, or always the same; prints it. */
static inline struct random random_seeded(const char *what) {
    const char *given = getenv("RM_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 1;
    printf("%s: RM_SEED=%" PRIu64 "\n", what, seed);
    return (struct random){ seed };
}

#endif
