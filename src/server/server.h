/* What all workers of a process share: read-only after server_open, but for `draining` and counts.
 * Depends on: config.h, plan.h, http.h, ring.h. */
#ifndef RM_SERVER_SERVER_H
#define RM_SERVER_SERVER_H

#include "http/http.h"
#include "ring/ring.h"
#include "ringmain.h"
#include "server/config.h"
#include "server/plan.h"
#include "server/resources.h"

struct cache_route;
struct flights;
struct logger;
struct pg_statement;
struct store;
struct worker;

enum { SERVER_ROUTES_MAX = 256 }; /* of an application */
enum { SERVER_HANDSHAKES_MAX = 8 }; /* of the process with its database: a crowd at its door only slows it down */
enum { SERVER_ALIGN = 128 }; /* two cache lines: processors fetch neighbours in pairs */

/* Where workers listen. Each makes a socket of its own for a TCP address (SO_REUSEPORT), but for those that there can be
 * only one of. */
struct listen_place {
    struct ring_address address; /* with the port that was found when 0 was asked for */
    bool admin;
    int socket;    /* one that the workers share: Unix, admin or inherited; -1: none */
    bool made;     /* a Unix socket that sockets_prepare has made: */
    uint64_t device, inode;
};

struct server {
    const struct config *config;
    const struct rm_app *app;
    struct rm_route *table;    /* the application's routes, then ours */
    struct http_route *routes; /* likewise; with index: into `table` */
    uint32_t route_count;
    struct http_router *router;
    struct http_router *admin_router; /* of the admin listeners; NULL: there is none */
    struct pg_statement *statements;  /* the application's, then those of src/pg */
    uint32_t statement_count;
    struct cache_route *cached;       /* by route: of those that cache; NULL: none does, */
    struct flights *flights;          /* and this is NULL, too */
    void *flights_memory;
    struct plan plan;
    struct resolver *resolver;                        /* of the database's host, or NULL: it needs none, or there is no thread;
                                                         set by the caller of server_open */
    struct ring_config ring;                          /* helpers and world are set by the caller of server_open */
    struct listen_place places[CONFIG_LISTENERS_MAX]; /* where to listen */
    uint32_t place_count;
    struct logger *logger;                            /* the access log's, or NULL: lines are not written */
    struct store *store;                              /* of what routes cache, or NULL: storage.h */
    uint64_t store_warm;                              /* objects that it began with */
    struct worker *workers;                           /* config->workers of them */
    uint32_t db_missing;    /* workers whose database is not ready: struct db.up */
    uint32_t db_handshakes; /* connections to it that are being made */
    bool leaving;                                     /* set by server_leave and server_drain, read by /readyz */
    bool draining;                                    /* set by server_drain, read by workers and handlers */
    __attribute__((aligned(SERVER_ALIGN))) uint32_t connections; /* that are served: server_admit. Alone on its lines */
    __attribute__((aligned(SERVER_ALIGN))) struct resources resources; /* likewise: written by the main thread now and then */
};

/* Compiles the routes and makes the plan; the workers are allocated, not opened. Keeps `config` and `app`.
 * EXIT_FINE, or EXIT_CONFIG with `why`. */
[[gnu::warn_unused_result]] int server_open(struct server *server, const struct config *config,
                                            const struct rm_app *app, char why[static CONFIG_WHY_BYTES]);

void server_release(struct server *server);

/* From any thread: /readyz says 503 from now on, all else goes on. */
void server_leave(struct server *server);

/* From any thread: every worker that is open (`workers_open` of them, from 0) stops accepting and ends when all is
 * answered. */
void server_drain(struct server *server, uint32_t workers_open);

/* Counts one more connection of the process (the admin's are not counted); false when there are max_connections already. Any
 * worker's thread. */
static inline bool server_admit(struct server *server) {
    uint32_t n = __atomic_load_n(&server->connections, __ATOMIC_RELAXED);
    while (n < server->config->max_connections) {
        if (__atomic_compare_exchange_n(&server->connections, &n, n + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}

/* One that was admitted has closed. */
static inline void server_dismiss(struct server *server) {
    __atomic_fetch_sub(&server->connections, 1, __ATOMIC_RELAXED);
}

/* False while a worker of a server with a database has no connection to it. */
static inline bool server_has_database(const struct server *server) {
    return __atomic_load_n(&server->db_missing, __ATOMIC_RELAXED) == 0;
}

/* A worker has lost its last connection to the database (or has none yet), or has one again. */
static inline void server_miss_database(struct server *server, bool missing) {
    __atomic_fetch_add(&server->db_missing, missing ? 1 : UINT32_MAX, __ATOMIC_RELAXED);
}

/* One more connection to the database is being made; false when SERVER_HANDSHAKES_MAX are. Any worker's thread. */
static inline bool server_begin_handshake(struct server *server) {
    uint32_t n = __atomic_load_n(&server->db_handshakes, __ATOMIC_RELAXED);
    while (n < SERVER_HANDSHAKES_MAX) {
        if (__atomic_compare_exchange_n(&server->db_handshakes, &n, n + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}

static inline void server_end_handshake(struct server *server) {
    __atomic_fetch_sub(&server->db_handshakes, 1, __ATOMIC_RELAXED);
}

static inline bool server_leaving(const struct server *server) {
    return __atomic_load_n(&server->leaving, __ATOMIC_ACQUIRE);
}

static inline bool server_draining(const struct server *server) {
    return __atomic_load_n(&server->draining, __ATOMIC_ACQUIRE);
}

#endif
