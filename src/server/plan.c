#include "server/plan.h"

#include "mem/assert.h"
#include "mem/chain.h"
#include "server/cache.h"
#include "server/conn.h"
#include "server/db.h"
#include "server/db_query.h"
#include "server/exchange.h"
#include "server/observe.h"
#include "server/storage.h"
#include "server/timers.h"
#include "server/waits.h"
#include "server/watches.h"

enum {
    CONNS_PER_RESERVE = 50, /* 2 % */
    BLOCKS_PER_CONN = 4,
    BLOCKS_SHARED = 4096,
    SEGMENTS_COUNT = 256,
    QUERIES_SPARE = 64, /* whose results are being looked at */
    BURST_CONNS = 4, /* connections whose pipelines may be full while every other one has an exchange */
};

static struct plan_row row(const char *name, const char *holder, size_t item_bytes, uint32_t count) {
    return (struct plan_row){ name, holder, item_bytes, count };
}

static uint32_t db_conns(const struct config *config) {
    return config->db_on ? config->db_limits.worker_connections : 0;
}

/* Those that are in flight or wait, and one result for each exchange. */
static void make_query_rows(struct plan *plan, const struct config *config, uint32_t exchanges) {
    uint32_t queries = db_conns(config) * config->db_limits.inflight + config->db_limits.queue;
    uint32_t sessions = db_conns(config) + config->db_limits.queue;
    plan->rows[PLAN_QUERIES] = row("queries", "a query, from its start until its result was looked at", sizeof(struct rm_query),
                                   config->db_on ? queries + exchanges + QUERIES_SPARE : 0);
    plan->rows[PLAN_SESSIONS] = row("transactions", "a transaction, and who waits for a connection of its own",
                                    sizeof(struct db_session), config->db_on ? sessions : 0);
}

static void make_db_rows(struct plan *plan, const struct config *config) {
    size_t pool_bytes = 0;
    if (config->db_on) {
        struct pg_config pool;
        db_pool_config(&pool, config, NULL, 0);
        pool_bytes = pg_pool_bytes(&pool);
    }
    plan->rows[PLAN_DB] = row("database", "its sockets", db_bytes(config), config->db_on);
    plan->rows[PLAN_DB_POOL] = row("connections", "to the database: what is in flight, and what is known of statements",
                                   pool_bytes, config->db_on);
    plan->rows[PLAN_DB_ROWS] = row("statements", "the times of a statement", sizeof(struct observe_row),
                                   config->db_on ? config->statements + PG_INTERNAL_COUNT : 0);
}

static void make_rows(struct plan *plan, const struct config *config, uint32_t conns) {
    uint32_t exchanges = conns + BURST_CONNS * config->limits.pipeline;
    uint32_t waits = 2 * exchanges;
    /* Small bodies live in the workspace. */
    uint32_t bodies = config->limits.body_bytes > HTTP_BODY_IN_WORKSPACE_BYTES ? config->body_buffers : 0;
    struct plan_row *rows = plan->rows;
    rows[PLAN_CONNS] = row("connections", "a client, from accept to close", sizeof(struct conn_state), conns);
    rows[PLAN_EXCHANGES] = row("exchanges", "a request, from its head to its answer; with its workspace",
                               plan->exchange_bytes + plan->workspace_bytes, exchanges);
    rows[PLAN_WAITS] = row("waits", "a timer or a descriptor that a parked request waits for", sizeof(struct wait), waits);
    rows[PLAN_WATCHES] = row("watches", "a watched descriptor, a periodic timer", sizeof(union watch_item), config->watches);
    rows[PLAN_OFFLOADS] = row("offloads", "a job for a helper thread", sizeof(struct offload), config->offloads);
    make_query_rows(plan, config, exchanges);
    rows[PLAN_PINS] = row("pins", "a body that is sent from the store", sizeof(struct cache_pin),
                          config->caches ? exchanges : 0);
    rows[PLAN_BLOCKS] = row("blocks", "output, from its writing to its send", BLOCK_BYTES,
                            conns * BLOCKS_PER_CONN + BLOCKS_SHARED + db_conns(config) * DB_BLOCKS_PER_CONNECTION);
    rows[PLAN_SEGMENTS] = row("segments", "a send of several blocks", sizeof(struct iovec) * RING_SEGMENTS_MAX,
                              SEGMENTS_COUNT);
    rows[PLAN_CARRIES] = row("carries", "a connection with half a head", http_carry_bytes(&config->limits), conns);
    rows[PLAN_BODIES] = row("bodies", "a buffered body over 16K", (size_t)config->limits.body_bytes, bodies);
    rows[PLAN_TIMERS] = row("timers", "a deadline", sizeof(struct timer_entry), conns + waits + config->watches + 2);
    rows[PLAN_WATCH_TABLE] = row("watch table", "descriptors by number", sizeof(struct rm_watch *),
                                 watch_table_buckets(config->watches));
}

/* What is kept of requests: observe.h. */
static void make_observer_rows(struct plan *plan, const struct config *config) {
    bool log = config->access_log != NULL;
    plan->rows[PLAN_ROWS] = row("histograms", "the times of a route and method", sizeof(struct observe_row), OBSERVE_ROWS_MAX);
    plan->rows[PLAN_STATUSES] = row("statuses", "a status, to be counted", sizeof(uint64_t), OBSERVE_STATUSES);
    plan->rows[PLAN_LINES] = row("log lines", "the access log, until they are written", OBSERVE_LINES_BYTES, log);
    plan->rows[PLAN_CLIENTS] = row("addresses", "a socket, for the access log", sizeof(struct observe_client),
                                   log ? plan->sockets_max : 0);
}

void plan_make(struct plan *plan, const struct config *config) {
    uint32_t served = config_connections_per_worker(config);
    rm_assert(served > 0);
    rm_assert(config_listeners(config) <= CONFIG_LISTENERS_MAX);
    *plan = (struct plan){ .workers = config->workers };
    plan->reserve = served / CONNS_PER_RESERVE + 1;
    plan->exchange_bytes = (uint32_t)slab_round(sizeof(struct rm_exchange));
    plan->workspace_bytes = http_workspace_bytes(&config->limits);
    make_rows(plan, config, served + plan->reserve);
    plan->sockets_max = plan->rows[PLAN_CONNS].count + config_listeners(config) + config->watches +
                        2 * db_conns(config);
    make_observer_rows(plan, config);
    make_db_rows(plan, config);
    for (unsigned i = 0; i < PLAN_PARTS_COUNT; i++) {
        plan->slab_bytes += slab_round(plan_row_bytes(plan, (enum plan_part)i));
    }
    struct ring_config ring = { .choice = config->io, .tuning = config->tuning, .sockets_max = plan->sockets_max,
                                .peers = config->access_log != NULL };
    plan->ring_bytes = ring_memory_bytes(&ring);
    if (config->caches) {
        struct store_config store = storage_config(config);
        plan->store_bytes = store.bytes;
        plan->store_ram_bytes = store_ram_bytes(&store);
        plan->store = store.path;
    }
}

size_t plan_row_bytes(const struct plan *plan, enum plan_part part) {
    rm_assert(part < PLAN_PARTS_COUNT);
    const struct plan_row *r = &plan->rows[part];
    return part < PLAN_POOLS_COUNT ? pool_bytes(r->item_bytes, r->count) : r->item_bytes * r->count;
}

void plan_carve(const struct plan *plan, struct slab *slab, struct pool pools[static PLAN_POOLS_COUNT],
                void *arrays[static PLAN_ARRAYS_COUNT]) {
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        const struct plan_row *r = &plan->rows[i];
        pool_init(&pools[i], r->name, slab_take(slab, plan_row_bytes(plan, (enum plan_part)i)), r->item_bytes,
                  r->count);
    }
    for (unsigned i = PLAN_POOLS_COUNT; i < PLAN_PARTS_COUNT; i++) {
        size_t bytes = plan_row_bytes(plan, (enum plan_part)i);
        arrays[i - PLAN_POOLS_COUNT] = bytes > 0 ? slab_take(slab, bytes) : NULL;
    }
    rm_assert(slab->used == plan->slab_bytes); /* nothing is left and nothing was forgotten */
}

static double mib(size_t bytes) {
    return (double)bytes / (1024.0 * 1024.0);
}

void plan_print(const struct plan *plan, FILE *out) {
    fprintf(out, "memory plan of one worker; it is virtual: a page costs memory when it is first used\n\n");
    fprintf(out, "%-12s %11s %9s %13s  %s\n", "pool", "bytes each", "count", "bytes", "who holds one");
    for (unsigned i = 0; i < PLAN_PARTS_COUNT; i++) {
        const struct plan_row *r = &plan->rows[i];
        fprintf(out, "%-12s %11zu %9u %13zu  %s\n", r->name, r->item_bytes, r->count,
                plan_row_bytes(plan, (enum plan_part)i), r->holder);
    }
    size_t worker = plan->slab_bytes + plan->ring_bytes + PLAN_STACK_BYTES;
    fprintf(out, "\n%-22s %13zu  %.1f MiB, one mapping, sealed at start\n", "slab", plan->slab_bytes,
            mib(plan->slab_bytes));
    fprintf(out, "%-22s %13zu  %.1f MiB\n", "ring", plan->ring_bytes, mib(plan->ring_bytes));
    fprintf(out, "%-22s %13d  %.1f MiB\n", "stack", PLAN_STACK_BYTES, mib(PLAN_STACK_BYTES));
    fprintf(out, "%-22s %13zu  %.1f MiB\n", "one worker", worker, mib(worker));
    fprintf(out, "%-22s %13zu  %.1f MiB, %u worker%s, %u connections each (%u of them for a 503)\n", "process",
            worker * plan->workers, mib(worker * plan->workers), plan->workers, plan->workers == 1 ? "" : "s",
            plan->rows[PLAN_CONNS].count, plan->reserve);
    if (plan->store_bytes > 0) {
        fprintf(out, "%-22s %13zu  %.1f MiB, of the process: which objects there are\n", "store's index", plan->store_ram_bytes,
                mib(plan->store_ram_bytes));
        fprintf(out, "%-22s %13zu  %.1f MiB, in %s: how much of it is in RAM is the kernel's to decide\n", "store",
                plan->store_bytes, mib(plan->store_bytes), plan->store != NULL ? plan->store : "memory");
    }
}
