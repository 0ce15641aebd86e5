/* The store of a process: opened before the workers when a route caches, closed when they have ended.
 * Depends on: mem/store.h, config.h, log.h. Main thread. */
#ifndef RM_SERVER_STORAGE_H
#define RM_SERVER_STORAGE_H

#include "mem/store.h"
#include "server/config.h"

struct server;

/* What --store, --store-bytes and --store-objects come to; the workers are its readers. Times are 0. */
struct store_config storage_config(const struct config *config);

/* Sets server->store; nothing when no route caches. How it starts is logged: with what was kept (info), or empty although
 * there was a file (warn). EXIT_FINE; with `why` EXIT_UNAVAILABLE when another process has the file, else EXIT_CONFIG. */
[[gnu::warn_unused_result]] int storage_open(struct server *server, char why[static CONFIG_WHY_BYTES]);

/* No worker and no helper looks at it any more. With a file it takes as long as the disk needs for what was not written yet. */
void storage_close(struct server *server);

#endif
