#include "server/figures.h"

/* Both structs are nothing but 64-bit counters: adding them up needs no names, and none can be forgotten. */
_Static_assert(sizeof(struct ring_counters) % sizeof(uint64_t) == 0, "counters only");
_Static_assert(sizeof(struct worker_figures) % sizeof(uint64_t) == 0, "counters only");

static void add_words(uint64_t *sum, const uint64_t *words, size_t bytes) {
    for (size_t i = 0; i < bytes / sizeof *words; i++) {
        sum[i] += counter_read(&words[i]);
    }
}

void figures_add(struct worker_figures *sum, struct ring_counters *ring_sum, const struct worker *worker) {
    struct worker_figures before = *sum;
    uint64_t busy_max_ns = ring_sum->busy_max_ns;
    add_words((uint64_t *)(void *)sum, (const uint64_t *)(const void *)&worker->figures, sizeof *sum);
    add_words((uint64_t *)(void *)ring_sum, (const uint64_t *)(const void *)ring_counters(worker->ring),
              sizeof *ring_sum);
    uint64_t own_max_ns = counter_read(&ring_counters(worker->ring)->busy_max_ns);
    ring_sum->busy_max_ns = own_max_ns > busy_max_ns ? own_max_ns : busy_max_ns;
    ring_sum->calls[RING_CALL_write] += counter_read(&worker->figures.log_wakes); /* not the ring's, but the worker's */
    bool first = worker == worker->server->workers;
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        uint64_t low = counter_read(&worker->figures.pools[i].low_water);
        uint64_t least = before.pools[i].low_water;
        sum->pools[i].low_water = first || low < least ? low : least;
    }
}

uint64_t figures_calls(const struct ring_counters *counters) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < RING_CALLS_COUNT; i++) {
        sum += counters->calls[i];
    }
    return sum;
}

double figures_ratio(uint64_t a, uint64_t b) {
    return b == 0 ? 0 : (double)a / (double)b;
}
