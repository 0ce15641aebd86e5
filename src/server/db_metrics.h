/* The figures of the database: of its connections and queries, as the pools of the workers count them, and of its statements.
 * Depends on: db.h, metrics_write.h. Any worker's thread, while the server runs. */
#ifndef RM_SERVER_DB_METRICS_H
#define RM_SERVER_DB_METRICS_H

#include "ringmain.h"

struct server;

/* Into the response of rm_metrics, summed over all workers; nothing without a database. Names follow OpenTelemetry where it
 * has them (db.client.*). */
void db_metrics_write(struct rm_exchange *x, const struct server *server);

/* Into the open object of rm_stats: the sum of the workers [first, end). There is a database. */
void db_metrics_json(struct rm_exchange *x, const struct server *server, uint32_t first, uint32_t end);

#endif
