/* What rm_stats and rm_metrics show: the figures of workers, summed.
 * Depends on: worker.h. Any worker's thread, while the server runs. */
#ifndef RM_SERVER_FIGURES_H
#define RM_SERVER_FIGURES_H

#include "ring/ring.h"
#include "server/worker.h"

/* Adds one worker's figures, read as they are now, to the sums. Zero both first. Calls that the worker makes
 * for the access log are added to the ring's. Of pools, the least low-water
 * mark is kept, of busy_max_ns the largest. */
void figures_add(struct worker_figures *sum, struct ring_counters *ring_sum, const struct worker *worker);

/* System calls of all names. */
uint64_t figures_calls(const struct ring_counters *counters);

/* a / b, 0 when b is 0. */
double figures_ratio(uint64_t a, uint64_t b);

#endif
