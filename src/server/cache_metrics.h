/* The figures of the cache, of one worker or of all. Nothing when no route caches.
 * Depends on: cache.h, metrics_write.h. Any worker's thread. */
#ifndef RM_SERVER_CACHE_METRICS_H
#define RM_SERVER_CACHE_METRICS_H

#include "server/worker.h"

/* Into the response of rm_metrics; an object into the open one of rm_stats. */
void cache_metrics(struct rm_exchange *x, const struct server *server, const struct cache_figures *figures);
void cache_json(struct rm_exchange *x, const struct server *server, const struct cache_figures *figures);

#endif
