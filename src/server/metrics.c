/* rm_metrics: Prometheus text format 0.0.4. Names follow OpenTelemetry where it has them (http.server.*); workers
 * are summed, because one series per worker and counter is what overloads a Prometheus. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/exchange.h"
#include "server/figures.h"

[[gnu::format(printf, 2, 3)]] static void write_line(struct rm_exchange *x, const char *format, ...) {
    char line[1024]; /* a longer one, and there is none, would be cut */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    rm_assert(n > 0);
    rm_write(x, span_of(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1));
}

static void write_family(struct rm_exchange *x, const char *name, const char *type, const char *help) {
    write_line(x, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_value(struct rm_exchange *x, const char *name, uint64_t value) {
    write_line(x, "%s %llu\n", name, (unsigned long long)value);
}

static void write_labelled(struct rm_exchange *x, const char *name, const char *label, const char *text,
                           uint64_t value) {
    write_line(x, "%s{%s=\"%s\"} %llu\n", name, label, text, (unsigned long long)value);
}

/* A counter without labels. */
struct metric {
    const char *name;
    const char *help;
    size_t offset;
};

#define FIGURE(name, field, help) \
    { name, help, offsetof(struct worker_figures, field) }
#define RING(name, field, help) \
    { name, help, offsetof(struct ring_counters, field) }

static const struct metric figure_metrics[] = {
    FIGURE("http_server_connections_accepted_total", accepted, "Connections that were accepted."),
    FIGURE("http_server_connections_shed_total", shed, "Connections that got 503 because few slots were left."),
    FIGURE("http_server_connections_refused_total", refused, "Connections that were reset because no slot was left."),
    FIGURE("http_server_connections_dead_total", dead, "Connections that ended with an error."),
    FIGURE("http_server_connections_lingered_total", lingered,
           "Connections that were closed while the client was still sending."),
    FIGURE("http_server_exchanges_parked_total", parked, "Handlers that waited for something."),
    { NULL, NULL, 0 },
};

static const struct metric ring_metrics[] = {
    RING("ring_turns_total", turns, "Returns from the one blocking call."),
    RING("ring_sqes_total", sqes, "Submissions to io_uring."),
    RING("ring_completions_total", completions, "Completions; on epoll, operations done and events."),
    RING("ring_receives_total", receives, "Receives with bytes."),
    RING("ring_received_bytes_total", received_bytes, "Bytes received."),
    RING("ring_sends_total", sends, "Sends."),
    RING("ring_sent_bytes_total", sent_bytes, "Bytes sent."),
    RING("ring_short_sends_total", short_sends, "Sends that needed more than one try."),
    RING("ring_enobufs_total", no_buffers, "Times the receive buffers ran out."),
    RING("ring_buffers_grown_total", buffers_grown, "Receive buffers added after start."),
    RING("ring_receive_rearms_total", rearms_receive, "Multishot receives that were armed again."),
    RING("ring_accept_errors_total", accept_errors, "Failures of accept."),
    RING("ring_accept_pauses_total", accept_pauses, "Times accepting stopped for want of a slot or a descriptor."),
    RING("ring_stale_completions_total", stale, "Completions for a slot that had moved on."),
    RING("ring_cq_overflow_total", overflows, "Turns that found the completion queue overflown."),
    RING("ring_submit_stalls_total", submit_stalls, "Times the submission queue was full."),
    RING("ring_kept_bytes_total", kept_bytes, "Bytes received while paused and delivered later."),
    { NULL, NULL, 0 },
};

static void write_table(struct rm_exchange *x, const struct metric *table, const void *counters) {
    for (const struct metric *metric = table; metric->name != NULL; metric++) {
        uint64_t value;
        memcpy(&value, (const char *)counters + metric->offset, sizeof value);
        write_family(x, metric->name, "counter", metric->help);
        write_value(x, metric->name, value);
    }
}

static void write_build(struct rm_exchange *x, const struct worker *worker) {
    write_family(x, "ringmain_build_info", "gauge", "What is running.");
    write_line(x, "ringmain_build_info{version=\"%s\",backend=\"%s\",fallback=\"%s\"} 1\n", rm_version(),
               worker->report.backend, worker->report.fallback ? "true" : "false");
    write_family(x, "process_start_time_seconds", "gauge", "Start of the process, in seconds since 1970.");
    write_value(x, "process_start_time_seconds", (uint64_t)worker->started_seconds);
}

static void write_http(struct rm_exchange *x, const struct worker_figures *figures) {
    static const char *const classes[] = { "1xx", "2xx", "3xx", "4xx", "5xx" };
    static const char *const timeouts[] = { "idle", "head", "body", "send" };
    write_family(x, "http_server_requests_total", "counter", "Requests that were answered, errors included.");
    write_value(x, "http_server_requests_total", figures->requests);
    write_family(x, "http_server_responses_total", "counter", "Responses by class of status.");
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        write_labelled(x, "http_server_responses_total", "class", classes[i], figures->responses[i + 1]);
    }
    write_family(x, "shed_total", "counter", "Requests that got 503 because a pool was empty.");
    write_value(x, "shed_total", figures->responses[0]);
    write_family(x, "http_server_open_connections", "gauge", "Connections that are open now.");
    write_value(x, "http_server_open_connections", figures->accepted - figures->closed);
    write_family(x, "http_server_timeouts_total", "counter",
                 "Connections that ran into a timeout, by what was waited for.");
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        write_labelled(x, "http_server_timeouts_total", "waiting_for", timeouts[i], figures->timeouts[i]);
    }
}

static void write_calls(struct rm_exchange *x, const struct ring_counters *ring) {
    write_family(x, "syscalls_total", "counter", "System calls of the workers by name.");
    for (unsigned i = 0; i < RING_CALLS_COUNT; i++) {
        write_labelled(x, "syscalls_total", "name", ring_call_name((enum ring_call)i), ring->calls[i]);
    }
}

/* Bucket k of the ring holds turns with up to 2^k - 1 completions: cumulative, these are a Prometheus histogram. */
static void write_batches(struct rm_exchange *x, const struct ring_counters *ring) {
    write_family(x, "ring_completions_per_turn", "histogram", "Completions of a turn.");
    uint64_t turns = 0;
    for (unsigned i = 0; i < RING_BATCH_BUCKETS; i++) {
        turns += ring->batches[i];
        if (i + 1 < RING_BATCH_BUCKETS) {
            write_line(x, "ring_completions_per_turn_bucket{le=\"%u\"} %llu\n", (1u << i) - 1,
                       (unsigned long long)turns);
        }
    }
    write_labelled(x, "ring_completions_per_turn_bucket", "le", "+Inf", turns);
    write_value(x, "ring_completions_per_turn_sum", ring->completions);
    write_value(x, "ring_completions_per_turn_count", turns);
}

static void write_pools(struct rm_exchange *x, const struct server *server, const struct worker_figures *figures) {
    const struct plan_row *rows = server->plan.rows;
    write_family(x, "pool_items", "gauge", "Items that the plan has, all workers together.");
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        write_labelled(x, "pool_items", "pool", rows[i].name, (uint64_t)rows[i].count * server->config->workers);
    }
    write_family(x, "pool_items_in_use", "gauge", "Items that are taken.");
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        write_labelled(x, "pool_items_in_use", "pool", rows[i].name, figures->pools[i].in_use);
    }
    write_family(x, "pool_refused_total", "counter", "Takes that found a pool empty.");
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        write_labelled(x, "pool_refused_total", "pool", rows[i].name, figures->pools[i].refused);
    }
}

enum rm_step rm_metrics(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    worker_publish(worker);
    struct worker_figures figures = { 0 };
    struct ring_counters ring = { 0 };
    for (uint32_t i = 0; i < worker->server->config->workers; i++) {
        figures_add(&figures, &ring, &worker->server->workers[i]);
    }
    rm_begin(x, 200, "text/plain; version=0.0.4");
    write_build(x, worker);
    write_http(x, &figures);
    write_table(x, figure_metrics, &figures);
    write_calls(x, &ring);
    write_table(x, ring_metrics, &ring);
    write_batches(x, &ring);
    write_pools(x, worker->server, &figures);
    return RM_DONE;
}
