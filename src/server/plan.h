/* The memory plan: every pool of a worker is computed from the configuration before anything is mapped, can be
 * printed (--plan), and becomes one slab per worker that is sealed when all is carved. What is planned for the
 * worst case is virtual: a page costs memory when it is first touched, and pools hand out what was used last.
 * Depends on: mem, http.h, config.h. */
#ifndef RM_SERVER_PLAN_H
#define RM_SERVER_PLAN_H

#include <stdio.h>

#include "mem/pool.h"
#include "mem/slab.h"
#include "server/config.h"

enum plan_part {
    PLAN_CONNS,
    PLAN_EXCHANGES,
    PLAN_WAITS,
    PLAN_WATCHES,
    PLAN_OFFLOADS,
    PLAN_QUERIES,
    PLAN_SESSIONS,
    PLAN_PINS,
    PLAN_BLOCKS,
    PLAN_SEGMENTS,
    PLAN_CARRIES,
    PLAN_BODIES,
    PLAN_POOLS_COUNT,
    PLAN_TIMERS = PLAN_POOLS_COUNT, /* from here on arrays, no pools */
    PLAN_WATCH_TABLE,
    PLAN_ROWS,
    PLAN_STATUSES,
    PLAN_LINES,
    PLAN_CLIENTS,
    PLAN_DB,
    PLAN_DB_POOL,
    PLAN_DB_ROWS,
    PLAN_PARTS_COUNT,
    PLAN_ARRAYS_COUNT = PLAN_PARTS_COUNT - PLAN_POOLS_COUNT,
};

struct plan_row {
    const char *name;
    const char *holder; /* who holds one */
    size_t item_bytes;
    uint32_t count;
};

struct plan {
    struct plan_row rows[PLAN_PARTS_COUNT];
    uint32_t workers;
    uint32_t reserve;        /* of PLAN_CONNS: kept to answer 503 */
    uint32_t exchange_bytes; /* where the workspace starts in an item of PLAN_EXCHANGES */
    uint32_t workspace_bytes;
    uint32_t sockets_max; /* of the ring: connections, listeners, watches, and two for each connection to the database */
    size_t slab_bytes;
    size_t ring_bytes; /* what ring_open maps */
    size_t store_bytes;     /* of the process, when a route caches; else 0 */
    size_t store_ram_bytes; /* likewise: its index */
    const char *store;        /* its path, or NULL */
};

enum { PLAN_STACK_BYTES = 1024 * 1024 }; /* of a worker thread */

void plan_make(struct plan *plan, const struct config *config);

/* Bytes of a row as they are carved. */
size_t plan_row_bytes(const struct plan *plan, enum plan_part part);

/* Carves the pools and the arrays, arrays[part - PLAN_POOLS_COUNT] (NULL: of no bytes), out of a fresh slab of
 * plan->slab_bytes. */
void plan_carve(const struct plan *plan, struct slab *slab, struct pool pools[static PLAN_POOLS_COUNT],
                void *arrays[static PLAN_ARRAYS_COUNT]);

void plan_print(const struct plan *plan, FILE *out);

#endif
