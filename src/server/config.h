/* The command line: one table of flags, each with its environment variable, default, reader and help line.
 * Precedence is default < environment < flag. A usage error names the flag and suggests the nearest one.
 *
 * Depends on: ring.h (addresses, backends, tuning), http.h (limits), pg_settings.h (the database), ringmain.h (the
 * application's own options).
 * Main thread, before any other starts; read-only afterwards. */
#ifndef RM_SERVER_CONFIG_H
#define RM_SERVER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "http/http.h"
#include "pg/pg_settings.h"
#include "ring/ring.h"
#include "ringmain.h"
#include "server/access.h"
#include "server/log.h"
#include "server/notify.h"

/* Exit codes: sysexits.h has the last three. */
enum config_exit { EXIT_FINE = 0, EXIT_USAGE = 2, EXIT_UNAVAILABLE = 69, EXIT_INTERNAL = 70, EXIT_CONFIG = 78 };

enum {
    CONFIG_LISTEN_MAX = 16,
    CONFIG_LISTENERS_MAX = CONFIG_LISTEN_MAX + 1 + NOTIFY_SOCKETS_MAX, /* --listen, --admin, inherited */
    CONFIG_WORKERS_MAX = 256,
    CONFIG_CONNECTIONS_DEFAULT = 16384, /* at most, when NOFILE allows more */
    CONFIG_FILES_BURST = 4608,   /* of a large NOFILE, left for connections that were accepted and wait for a slot */
    CONFIG_FILES_RESERVE = 64,   /* descriptors that are not connections: process */
    CONFIG_FILES_PER_WORKER = 8, /* and per worker */
    CONFIG_DB_CONNECTIONS_DEFAULT = 2, /* to the database, per worker */
    CONFIG_DB_CONNECTIONS_MAX = 64,    /* likewise: as many as a pool can hold */
    CONFIG_STORE_OBJECT_BYTES = 4096,  /* of --store-bytes for each of --store-objects, when that is not given, */
    CONFIG_STORE_OBJECTS_MIN = 1024,   /* and then they are at least so many */
    CONFIG_WHY_BYTES = 512,
};

enum config_action { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION, CONFIG_PLAN };

/* How the database is used. Limits are per query but where they say otherwise. */
struct config_db {
    const char *url;             /* as it was given, a password may be in it; NULL: nobody did */
    uint32_t connections;        /* of the process; 0 until config_resolve: CONFIG_DB_CONNECTIONS_DEFAULT per worker */
    bool at_most;                /* that is DATABASE_MAX_CONN: fewer are fine where a worker can't hold its share */
    uint32_t worker_connections; /* config_resolve's: of each worker; all of them together are at most `connections` */
    uint32_t inflight;           /* queries in flight per connection: 1 .. 256 */
    uint32_t queue;              /* queries that wait, per worker */
    uint32_t row_bytes;          /* longest row that is taken: >= 16K */
    uint64_t result_bytes;       /* of all rows that are kept for one query */
    uint64_t timeout_ns;         /* from the call that starts it to its end */
    uint64_t grace_ns;           /* after the deadline, until the head of a connection is cancelled; again until it is closed */
    uint64_t ping_ns;            /* an idle connection is asked for a sign of life after so long; 0: never */
    uint64_t transaction_ns;     /* from the begin of a transaction to its end */
    uint64_t connect_ns;         /* --db-connect-timeout; 0: not given. What counts is config.db.connect_timeout_ns */
    bool prepare;
};

/* What was asked for. Invariant after config_read: workers >= 1; max_connections >= workers; listen_count >= 1. */
struct config {
    enum config_action action;
    struct ring_address listen[CONFIG_LISTEN_MAX];
    uint32_t listen_count;
    bool listen_default; /* nobody said where: sockets that are handed to the process replace it */
    struct ring_address admin; /* len 0: none */
    struct notify_sockets inherited; /* set by the caller of server_open; none at first */
    uint32_t unix_mode; /* of the Unix sockets that are made */
    uint32_t workers;         /* 0 until config_resolve: one per CPU of the mask */
    uint32_t max_connections; /* of the process; 0 until config_resolve: from NOFILE */
    enum ring_choice io;
    struct ring_tuning tuning;
    struct http_limits limits;
    uint32_t body_buffers; /* per worker */
    uint32_t helpers;      /* threads of the process */
    uint32_t offloads;     /* per worker: jobs under way */
    uint32_t watches;      /* per worker: watched descriptors and periodic timers */
    uint64_t output_bytes; /* per connection: above it nothing more is read from it */
    uint64_t header_timeout_ns, body_timeout_ns, idle_timeout_ns, drain_timeout_ns;
    uint64_t write_timeout_ns; /* without progress of what is sent, as ring_taken knows it; noticed within twice as long */
    uint64_t drain_delay_ns; /* 0: none */
    enum log_level log_level;
    enum log_format log_format;
    uint32_t statements;      /* of the application */
    uint32_t cache_waiters;   /* per worker: requests that wait for the response of another */
    uint64_t cache_wait_ns;   /* for so long at most */
    bool db_on;               /* the application has statements, and somebody said where the database is */
    struct pg_settings db;    /* complete when db_on */
    struct config_db db_limits;
    bool caches;            /* a route of the application does: there is a store */
    const char *store;      /* the path of its file, or NULL: memory */
    uint64_t store_bytes;   /* for objects: 1 MiB .. 64 GiB */
    uint32_t store_objects; /* at most; 0 until config_resolve: from store_bytes */
    const char *access_log; /* a path, "-" for standard output, or NULL: none */
    enum access_format access_format;
};

/* All defaults; workers and max_connections are left to config_resolve. */
void config_default(struct config *config);

/* Reads the environment, then the command line. EXIT_FINE, or EXIT_USAGE with `why` (which names the flag), or
 * EXIT_CONFIG with `why`: the database is to be reached by TLS, which is not there. No password is in `why`. The options
 * of the application are written through their `value` pointers; they keep the texts. */
[[gnu::warn_unused_result]] int config_read(struct config *config, int argc, char **argv, const struct rm_app *app,
                                            char why[static CONFIG_WHY_BYTES]);

/* Fills in what depends on the machine: `cpus` in the affinity mask, `files` descriptors that the process may
 * have. EXIT_FINE or EXIT_CONFIG with `why`: the connections asked for need more descriptors, or the workers more
 * connections to the database. */
[[gnu::warn_unused_result]] int config_resolve(struct config *config, uint32_t cpus, uint64_t files,
                                               char why[static CONFIG_WHY_BYTES]);

/* Listening sockets of a worker. */
uint32_t config_listeners(const struct config *config);

/* Connections that one worker has slots for: its share of the process's and half as much again, because the kernel
 * spreads connections over listeners by hash. All workers together serve no more than max_connections: server_admit. */
uint32_t config_connections_per_worker(const struct config *config);

/* --help and --version, on stdout. */
void config_print_help(const struct rm_app *app);
void config_print_version(void);

#endif
