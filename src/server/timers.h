/* One heap of deadlines per worker: intrusive, 4-ary. The ring only ever knows the nearest one.
 *
 * Deadlines of connections move with every request. They are re-armed lazily: activity only stores a new deadline
 * with the connection, the timer stays where it is, and when it is due its owner looks whether the deadline has
 * passed or arms it again. They are rounded up to a coarse grid, so that thousands of idle connections wake a
 * worker at most twice a second.
 *
 * Depends on: mem/assert.h. One thread. */
#ifndef RM_SERVER_TIMERS_H
#define RM_SERVER_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum timer_kind { TIMER_CONN, TIMER_WAIT, TIMER_EVERY, TIMER_DRAIN, TIMER_DB };

/* Embedded in what it belongs to. Zeroed: not armed. */
struct timer {
    uint64_t at_ns;
    uint32_t place; /* 1 + index in the heap; 0: not armed */
    uint32_t kind;  /* enum timer_kind: what it is embedded in */
};

struct timer_entry {
    uint64_t at_ns; /* a copy: comparing does not touch the owners */
    struct timer *timer;
};

/* Invariant: count <= max; entries[i].timer->place == i + 1; entries[(i - 1) / 4].at_ns <= entries[i].at_ns. */
struct timers {
    struct timer_entry *entries;
    uint32_t count, max;
};

#define TIMERS_GRID_NS UINT64_C(500000000)
#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

size_t timers_bytes(uint32_t max);

/* Keeps `memory` (timers_bytes() of it). At most `max` timers are ever armed at a time (asserted). */
void timers_init(struct timers *timers, void *memory, uint32_t max);

/* Arms, or moves when it is armed. */
void timers_set(struct timers *timers, struct timer *timer, uint64_t at_ns);

/* Nothing when it is not armed. */
void timers_cancel(struct timers *timers, struct timer *timer);

static inline bool timer_armed(const struct timer *timer) {
    return timer->place != 0;
}

/* The earliest deadline, 0 (the ring's "none") when there is none. */
static inline uint64_t timers_next(const struct timers *timers) {
    return timers->count == 0 ? 0 : timers->entries[0].at_ns;
}

/* Takes the earliest timer out when it is due, else NULL. */
struct timer *timers_due(struct timers *timers, uint64_t now_ns);

/* The next point of the grid at or after `at_ns`. */
static inline uint64_t timers_coarse(uint64_t at_ns) {
    return (at_ns + TIMERS_GRID_NS - 1) / TIMERS_GRID_NS * TIMERS_GRID_NS;
}

#endif
