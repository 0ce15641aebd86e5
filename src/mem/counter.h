/* Counters with one writer: the thread that owns them adds, any other may read a figure that is whole, if a moment
 * old. Relaxed atomics cost what plain loads and stores cost on the machines we build for.
 * Depends on nothing. */
#ifndef RM_MEM_COUNTER_H
#define RM_MEM_COUNTER_H

#include <stdint.h>

static inline uint64_t counter_read(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* By the owner only. */
static inline void counter_set(uint64_t *counter, uint64_t value) {
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

/* By the owner only: not an atomic addition. */
static inline void counter_add(uint64_t *counter, uint64_t n) {
    counter_set(counter, *counter + n);
}

#endif
