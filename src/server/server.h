/* What all workers of a process share: read-only after server_open, but for `draining`.
 * Depends on: config.h, plan.h, http.h, ring.h. */
#ifndef RM_SERVER_SERVER_H
#define RM_SERVER_SERVER_H

#include "http/http.h"
#include "ring/ring.h"
#include "ringmain.h"
#include "server/config.h"
#include "server/plan.h"

struct worker;

struct server {
    const struct config *config;
    const struct rm_app *app;
    struct rm_route *table;    /* the application's routes */
    struct http_route *routes; /* with index: into `table` */
    struct http_router *router;
    struct plan plan;
    struct ring_config ring;                          /* helpers and world are set by the caller of server_open */
    struct ring_address addresses[CONFIG_LISTEN_MAX]; /* with the port that was found when 0 was asked for */
    int sockets[CONFIG_LISTEN_MAX];                   /* a listening Unix socket that the workers share, or -1 */
    struct worker *workers;                           /* config->workers of them */
    bool draining;                                    /* set by server_drain, read by workers and handlers */
};

/* Compiles the routes and makes the plan; the workers are allocated, not opened. Keeps `config` and `app`.
 * EXIT_FINE, or EXIT_CONFIG with `why`. */
[[gnu::warn_unused_result]] int server_open(struct server *server, const struct config *config,
                                            const struct rm_app *app, char why[static CONFIG_WHY_BYTES]);

void server_release(struct server *server);

/* From any thread: every worker that is open (`workers_open` of them, from 0) stops accepting and ends when all is
 * answered. */
void server_drain(struct server *server, uint32_t workers_open);

static inline bool server_draining(const struct server *server) {
    return __atomic_load_n(&server->draining, __ATOMIC_ACQUIRE);
}

#endif
