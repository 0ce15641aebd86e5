/* rm_stats: what the server knows about itself, as JSON. Each worker and the sum have the same shape. */
#include <unistd.h>

#include "mem/assert.h"
#include "server/cache_metrics.h"
#include "server/db_metrics.h"
#include "server/exchange.h"
#include "server/figures.h"

/* A counter by name: `from` 0 is struct worker_figures, 1 is struct ring_counters. */
struct entry {
    const char *key;
    size_t offset;
};

#define FIGURE(name) \
    { #name, offsetof(struct worker_figures, name) }
#define RING(name) \
    { #name, offsetof(struct ring_counters, name) }

static const struct entry connection_entries[] = {
    FIGURE(accepted), FIGURE(closed), FIGURE(shed), FIGURE(refused), FIGURE(dead), FIGURE(lingered), { NULL, 0 },
};
static const struct entry exchange_entries[] = {
    FIGURE(parked), FIGURE(resumed), FIGURE(abandoned), FIGURE(head_copies), FIGURE(carries_used), { NULL, 0 },
};
static const struct entry ring_entries[] = {
    RING(turns),           RING(sqes),          RING(completions),    RING(accepted),       RING(connected),
    RING(closed),          RING(receives),      RING(received_bytes), RING(sends),          RING(sent_bytes),
    RING(sends_zc),        RING(sends_zc_copied), RING(sends_zc_fallback), RING(registered_bytes),
    RING(reads),           RING(read_bytes),    RING(reads_helped),
    RING(short_sends),    RING(no_buffers),    RING(buffers_grown),  RING(rearms_receive), RING(rearms_no_buffers),
    RING(rearms_overflow), RING(rearms_accept), RING(accept_errors),  RING(accept_pauses),  RING(stale),
    RING(overflows),       RING(submit_stalls), RING(kept_bytes),     RING(wakes),          RING(jobs),
    RING(busy_ns),         RING(busy_max_ns),   { NULL, 0 },
};

static void write_count(struct rm_exchange *x, const char *key, uint64_t value) {
    rm_json_int(x, key, (int64_t)value);
}

static void write_entries(struct rm_exchange *x, const void *counters, const struct entry *entries) {
    for (const struct entry *entry = entries; entry->key != NULL; entry++) {
        uint64_t value;
        memcpy(&value, (const char *)counters + entry->offset, sizeof value);
        write_count(x, entry->key, value);
    }
}

static void write_text(struct rm_exchange *x, const char *key, const char *text) {
    rm_json_string(x, key, span_text(text));
}

static void write_responses(struct rm_exchange *x, const struct worker_figures *figures) {
    static const char *const classes[] = { "shed", "1xx", "2xx", "3xx", "4xx", "5xx" };
    rm_json_object(x, "responses");
    for (size_t i = 1; i < sizeof classes / sizeof classes[0]; i++) {
        write_count(x, classes[i], figures->responses[i]);
    }
    write_count(x, classes[0], figures->responses[0]);
    rm_json_close(x);
}

static void write_connections(struct rm_exchange *x, const struct worker_figures *figures) {
    static const char *const timeouts[] = { "idle", "head", "body", "send" };
    rm_json_object(x, "connections");
    write_count(x, "now", figures->accepted - figures->closed);
    write_entries(x, figures, connection_entries);
    rm_json_object(x, "timeouts");
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        write_count(x, timeouts[i], figures->timeouts[i]);
    }
    rm_json_close(x);
    rm_json_close(x);
}

static void write_calls(struct rm_exchange *x, const struct worker_figures *figures, const struct ring_counters *ring) {
    uint64_t calls = figures_calls(ring);
    write_count(x, "system_calls", calls);
    rm_json_double(x, "system_calls_per_request", figures_ratio(calls, figures->requests));
    rm_json_object(x, "system_calls_by_name");
    for (unsigned i = 0; i < RING_CALLS_COUNT; i++) {
        if (ring->calls[i] > 0) {
            write_count(x, ring_call_name((enum ring_call)i), ring->calls[i]);
        }
    }
    rm_json_close(x);
}

static void write_ring(struct rm_exchange *x, const struct ring_counters *ring) {
    rm_json_double(x, "completions_per_turn", figures_ratio(ring->completions, ring->turns));
    rm_json_object(x, "ring");
    write_entries(x, ring, ring_entries);
    rm_json_array(x, "completions_in_a_turn"); /* 0, 1, 2-3, 4-7, ... */
    for (unsigned i = 0; i < RING_BATCH_BUCKETS; i++) {
        write_count(x, NULL, ring->batches[i]);
    }
    rm_json_close(x);
    rm_json_close(x);
}

static void write_pools(struct rm_exchange *x, const struct plan *plan, uint32_t workers,
                        const struct worker_figures *figures) {
    rm_json_object(x, "pools");
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        rm_json_object(x, plan->rows[i].name);
        write_count(x, "item_bytes", plan->rows[i].item_bytes);
        write_count(x, "count", (uint64_t)plan->rows[i].count * workers);
        write_count(x, "in_use", figures->pools[i].in_use);
        write_count(x, "low_water", figures->pools[i].low_water);
        write_count(x, "refused", figures->pools[i].refused);
        rm_json_close(x);
    }
    rm_json_close(x);
}

/* One worker, or the sum of `workers`. */
static void write_figures(struct rm_exchange *x, const struct plan *plan, uint32_t workers,
                          const struct worker_figures *figures, const struct ring_counters *ring) {
    write_count(x, "requests", figures->requests);
    write_responses(x, figures);
    write_calls(x, figures, ring);
    write_ring(x, ring);
    rm_json_object(x, "exchanges");
    write_entries(x, figures, exchange_entries);
    rm_json_close(x);
    write_connections(x, figures);
    write_pools(x, plan, workers, figures);
}

static void write_database(struct rm_exchange *x, const struct server *server, uint32_t first, uint32_t end) {
    if (server->config->db_on) {
        rm_json_object(x, "database");
        db_metrics_json(x, server, first, end);
        rm_json_close(x);
    }
}

static void write_server(struct rm_exchange *x, const struct worker *worker) {
    const struct server *server = worker->server;
    rm_json_object(x, "server");
    write_text(x, "name", server->app->name);
    write_text(x, "version", rm_version());
    rm_json_int(x, "pid", getpid());
    rm_json_int(x, "worker", worker->index);
    rm_json_int(x, "started_seconds", worker->started_seconds);
    rm_json_double(x, "uptime_seconds", (double)((worker->now_ns - worker->started_ns) / NS_PER_MS) / 1000);
    rm_json_bool(x, "draining", server_draining(server));
    rm_json_close(x);
    rm_json_object(x, "backend");
    write_text(x, "name", worker->report.backend);
    rm_json_bool(x, "fallback", worker->report.fallback);
    write_text(x, "why", worker->report.why);
    write_text(x, "features", worker->report.features);
    write_text(x, "registered", worker->report.registered);
    write_text(x, "not_registered", worker->report.unregistered);
    rm_json_close(x);
}

static void write_total(struct rm_exchange *x, const struct server *server) {
    struct worker_figures figures = { 0 };
    struct ring_counters ring = { 0 };
    for (uint32_t i = 0; i < server->config->workers; i++) {
        figures_add(&figures, &ring, &server->workers[i]);
    }
    rm_json_object(x, "total");
    write_figures(x, &server->plan, server->config->workers, &figures, &ring);
    cache_json(x, server, &figures.cached);
    write_database(x, server, 0, server->config->workers);
    rm_json_close(x);
}

static void write_workers(struct rm_exchange *x, const struct server *server) {
    rm_json_array(x, "workers");
    for (uint32_t i = 0; i < server->config->workers; i++) {
        struct worker_figures figures = { 0 };
        struct ring_counters ring = { 0 };
        figures_add(&figures, &ring, &server->workers[i]);
        rm_json_object(x, NULL);
        rm_json_int(x, "worker", i);
        write_figures(x, &server->plan, 1, &figures, &ring);
        cache_json(x, server, &figures.cached);
        write_database(x, server, i, i + 1);
        rm_json_close(x);
    }
    rm_json_close(x);
}

enum rm_step rm_stats(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    worker_publish(worker);
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    write_server(x, worker);
    resources_json(x, worker->server);
    write_total(x, worker->server);
    write_workers(x, worker->server);
    rm_json_close(x);
    return RM_DONE;
}
