#include "server/timers.h"

#include "mem/assert.h"

enum { WAYS = 4 };

size_t timers_bytes(uint32_t max) {
    return (size_t)max * sizeof(struct timer_entry);
}

void timers_init(struct timers *timers, void *memory, uint32_t max) {
    *timers = (struct timers){ .entries = memory, .max = max };
}

static void put(struct timers *timers, uint32_t i, struct timer_entry entry) {
    timers->entries[i] = entry;
    entry.timer->place = i + 1;
}

/* Moves `entry`, whose place is the hole at `i`, towards the root. */
static void rise(struct timers *timers, uint32_t i, struct timer_entry entry) {
    while (i > 0) {
        uint32_t parent = (i - 1) / WAYS;
        if (timers->entries[parent].at_ns <= entry.at_ns) {
            break;
        }
        put(timers, i, timers->entries[parent]);
        i = parent;
    }
    put(timers, i, entry);
}

static uint32_t earliest_child(const struct timers *timers, uint32_t first) {
    uint32_t end = first + WAYS < timers->count ? first + WAYS : timers->count;
    uint32_t best = first;
    for (uint32_t i = first + 1; i < end; i++) {
        if (timers->entries[i].at_ns < timers->entries[best].at_ns) {
            best = i;
        }
    }
    return best;
}

/* Moves `entry`, whose place is the hole at `i`, towards the leaves. */
static void sink(struct timers *timers, uint32_t i, struct timer_entry entry) {
    for (uint32_t first = i * WAYS + 1; first < timers->count; first = i * WAYS + 1) {
        uint32_t child = earliest_child(timers, first);
        if (timers->entries[child].at_ns >= entry.at_ns) {
            break;
        }
        put(timers, i, timers->entries[child]);
        i = child;
    }
    put(timers, i, entry);
}

static void settle(struct timers *timers, uint32_t i, struct timer_entry entry) {
    if (i > 0 && timers->entries[(i - 1) / WAYS].at_ns > entry.at_ns) {
        rise(timers, i, entry);
    } else {
        sink(timers, i, entry);
    }
}

void timers_set(struct timers *timers, struct timer *timer, uint64_t at_ns) {
    timer->at_ns = at_ns;
    struct timer_entry entry = { at_ns, timer };
    if (timer_armed(timer)) {
        rm_assert(timers->entries[timer->place - 1].timer == timer);
        settle(timers, timer->place - 1, entry);
        return;
    }
    rm_assert(timers->count < timers->max);
    rise(timers, timers->count++, entry);
}

void timers_cancel(struct timers *timers, struct timer *timer) {
    if (!timer_armed(timer)) {
        return;
    }
    uint32_t hole = timer->place - 1;
    rm_assert(hole < timers->count);
    rm_assert(timers->entries[hole].timer == timer);
    timer->place = 0;
    struct timer_entry last = timers->entries[--timers->count];
    if (hole != timers->count) {
        settle(timers, hole, last);
    }
}

struct timer *timers_due(struct timers *timers, uint64_t now_ns) {
    if (timers->count == 0 || timers->entries[0].at_ns > now_ns) {
        return NULL;
    }
    struct timer *timer = timers->entries[0].timer;
    rm_assert(timer->place == 1);
    rm_assert(timer->at_ns == timers->entries[0].at_ns);
    timers_cancel(timers, timer);
    return timer;
}
