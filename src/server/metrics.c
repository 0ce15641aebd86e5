/* rm_metrics: Prometheus text format 0.0.4. Names follow OpenTelemetry where it has them (http.server.*); workers
 * are summed, because one series per worker and counter is what overloads a Prometheus. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/builtin.h"
#include "server/cache_metrics.h"
#include "server/db_metrics.h"
#include "server/exchange.h"
#include "server/figures.h"
#include "server/logger.h"
#include "server/metrics_write.h"

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
    FIGURE("http_server_abandoned_requests_total", abandoned, "Requests whose client had gone before they were answered."),
    FIGURE("http_server_request_body_bytes_total", body_bytes_in, "Bytes of request bodies."),
    FIGURE("http_server_response_body_bytes_total", body_bytes_out, "Bytes of response bodies."),
    FIGURE("access_log_lines_total", log_lines, "Lines that were handed to the access log."),
    FIGURE("access_log_bytes_total", log_bytes, "Bytes of these lines."),
    FIGURE("access_log_dropped_total", log_dropped, "Lines that were dropped: the log was not written fast enough."),
    FIGURE("access_log_wakes_total", log_wakes, "Times a worker had to wake the log's thread, with a system call."),
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
    RING("ring_zero_copy_sends_total", sends_zc, "Zero-copy requests that the kernel took."),
    RING("ring_zero_copy_copied_total", sends_zc_copied, "Those that it had to copy after all."),
    RING("ring_zero_copy_refused_total", sends_zc_fallback, "Those that it refused: copied by a plain send."),
    RING("ring_reads_total", reads, "Reads of files."),
    RING("ring_read_bytes_total", read_bytes, "Bytes that they read."),
    RING("ring_reads_helped_total", reads_helped, "Those that a helper thread did."),
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

static void write_build(struct rm_exchange *x, const struct worker *worker) {
    metrics_family(x, "ringmain_build_info", "gauge", "What is running.");
    metrics_line(x, "ringmain_build_info{version=\"%s\",backend=\"%s\",fallback=\"%s\"} 1\n", rm_version(),
               worker->report.backend, worker->report.fallback ? "true" : "false");
    metrics_family(x, "process_start_time_seconds", "gauge", "Start of the process, in seconds since 1970.");
    metrics_value(x, "process_start_time_seconds", (uint64_t)worker->server->workers[0].started_seconds);
}

static void write_http(struct rm_exchange *x, const struct worker_figures *figures) {
    static const char *const timeouts[] = { "idle", "head", "body", "send" };
    metrics_family(x, "http_server_requests_total", "counter", "Requests that were answered, errors included.");
    metrics_value(x, "http_server_requests_total", figures->requests);
    metrics_family(x, "shed_total", "counter", "Requests that got 503 because a pool was empty.");
    metrics_value(x, "shed_total", figures->responses[0]);
    metrics_family(x, "http_server_open_connections", "gauge", "Connections that are open now.");
    metrics_value(x, "http_server_open_connections", figures->accepted - figures->closed);
    metrics_family(x, "http_server_timeouts_total", "counter",
                 "Connections that ran into a timeout, by what was waited for.");
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        metrics_labelled(x, "http_server_timeouts_total", "waiting_for", timeouts[i], figures->timeouts[i]);
    }
}

static void write_gauges(struct rm_exchange *x, const struct server *server, const struct worker_figures *figures) {
    metrics_family(x, "http_server_active_requests", "gauge", "Requests that are not answered yet.");
    metrics_value(x, "http_server_active_requests", figures->pools[PLAN_EXCHANGES].in_use);
    metrics_family(x, "http_server_draining", "gauge", "1 from the first signal to end on: /readyz says 503.");
    metrics_value(x, "http_server_draining", server_leaving(server));
    metrics_family(x, "ringmain_workers", "gauge", "Worker threads.");
    metrics_value(x, "ringmain_workers", server->config->workers);
}

static void write_listeners(struct rm_exchange *x, const struct server *server, const struct worker_figures *figures) {
    char text[RING_ADDRESS_BYTES];
    metrics_family(x, "http_server_listener_connections_total", "counter", "Connections that were accepted, by listener.");
    for (uint32_t i = 0; i < server->place_count; i++) {
        metrics_labelled(x, "http_server_listener_connections_total", "listener",
                       ring_address_text(&server->places[i].address, text), figures->accepted_at[i]);
    }
}

/* ------------------------------------------------------------------------------------------------- responses ---- */

static void write_statuses(struct rm_exchange *x, const struct server *server) {
    metrics_family(x, "http_server_responses_total", "counter", "Responses by status.");
    for (uint32_t i = 0; i < OBSERVE_STATUSES; i++) {
        char text[8];
        uint64_t sum = 0;
        for (uint32_t w = 0; w < server->config->workers; w++) {
            sum += counter_read(&server->workers[w].observer.statuses[i]);
        }
        if (sum > 0) {
            snprintf(text, sizeof text, "%u", i + OBSERVE_STATUS_MIN);
            metrics_labelled(x, "http_server_responses_total", "http_response_status_code", text, sum);
        }
    }
}

static void write_row(struct rm_exchange *x, const char *method, const char *route, const struct observe_row *row) {
    char clean[512], labels[640];
    metrics_escape(route, strlen(route), clean, sizeof clean);
    snprintf(labels, sizeof labels, "http_request_method=\"%s\",http_route=\"%s\"", method, clean);
    metrics_row(x, "http_server_request_duration_seconds", labels, row);
}

/* Adds a row of all workers to the sum; false when nothing was counted in it. */
static bool sum_row(const struct server *server, uint32_t index, struct observe_row *sum) {
    uint64_t count = 0;
    for (uint32_t w = 0; w < server->config->workers; w++) {
        const struct observe_row *row = &server->workers[w].observer.rows[index];
        for (unsigned i = 0; i < OBSERVE_BUCKETS; i++) {
            uint64_t n = counter_read(&row->buckets[i]);
            sum->buckets[i] += n;
            count += n;
        }
        sum->sum_ns += counter_read(&row->sum_ns);
    }
    return count > 0;
}

static const char *method_of(const struct server *server, uint32_t row) {
    return row % 2 == 0 ? server->table[row / 2].method : "HEAD";
}

static bool same_series(const struct server *server, uint32_t a, uint32_t b) {
    return strcmp(method_of(server, a), method_of(server, b)) == 0 &&
           strcmp(server->table[a / 2].path, server->table[b / 2].path) == 0;
}

/* Routes that nobody has asked for have no rows: that keeps the answer short. A route of the admin's may have the name of one
 * of the application's: they are one series, because a Prometheus takes none twice. */
static void write_routes(struct rm_exchange *x, const struct server *server) {
    uint32_t end = 2 * server->route_count, own = server->admin_router != NULL ? end - 2 * BUILTIN_ADMIN_COUNT : end;
    bool written[2 * BUILTIN_ADMIN_COUNT] = { false };
    for (uint32_t i = 0; i < end; i++) {
        struct observe_row sum = { 0 };
        if ((i >= own && written[i - own]) || !sum_row(server, i, &sum)) {
            continue;
        }
        for (uint32_t k = i < own ? own : end; k < end; k++) {
            if (!written[k - own] && same_series(server, i, k)) {
                (void)sum_row(server, k, &sum);
                written[k - own] = true;
            }
        }
        write_row(x, method_of(server, i), server->table[i / 2].path, &sum);
    }
}

static void write_durations(struct rm_exchange *x, const struct server *server) {
    static const char *const methods[HTTP_METHODS_COUNT + 1] = {
        [HTTP_GET] = "GET",         [HTTP_HEAD] = "HEAD",       [HTTP_POST] = "POST",   [HTTP_PUT] = "PUT",
        [HTTP_DELETE] = "DELETE",   [HTTP_CONNECT] = "CONNECT", [HTTP_OPTIONS] = "OPTIONS",
        [HTTP_TRACE] = "TRACE",     [HTTP_PATCH] = "PATCH",     [HTTP_METHOD_UNKNOWN] = "_OTHER",
    };
    metrics_family(x, "http_server_request_duration_seconds", "histogram",
                 "Time from the head of a request to the end of its handlers, in turns: 0 when that was one.");
    write_routes(x, server);
    for (uint32_t i = 0; i <= HTTP_METHODS_COUNT; i++) {
        struct observe_row sum = { 0 };
        if (sum_row(server, 2 * HTTP_ROUTES_MAX + i, &sum)) {
            write_row(x, methods[i], "_OTHER", &sum);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------ loop ---- */

/* Bucket k has turns shorter than 2^(k + RING_BUSY_SHIFT) ns. */
static void write_lag(struct rm_exchange *x, const struct ring_counters *ring) {
    metrics_family(x, "loop_lag_seconds", "histogram", "Time from the return of one wait of a worker to the next.");
    uint64_t turns = 0;
    for (unsigned i = 0; i < RING_BUSY_BUCKETS; i++) {
        turns += ring->busy[i];
        if (i + 1 < RING_BUSY_BUCKETS) {
            metrics_line(x, "loop_lag_seconds_bucket{le=\"%.9f\"} %llu\n", (double)(UINT64_C(1) << (i + RING_BUSY_SHIFT)) / 1e9,
                       (unsigned long long)turns);
        }
    }
    metrics_labelled(x, "loop_lag_seconds_bucket", "le", "+Inf", turns);
    metrics_seconds(x, "loop_lag_seconds_sum", "", ring->busy_ns);
    metrics_value(x, "loop_lag_seconds_count", turns);
    metrics_family(x, "loop_lag_max_seconds", "gauge", "The longest such time since the start.");
    metrics_seconds(x, "loop_lag_max_seconds", "", ring->busy_max_ns);
}

static void write_logger(struct rm_exchange *x, const struct logger *logger) {
    if (logger == NULL) {
        return;
    }
    metrics_family(x, "access_log_written_bytes_total", "counter", "Bytes that are in the file.");
    metrics_value(x, "access_log_written_bytes_total", counter_read(&logger->written_bytes));
    metrics_family(x, "access_log_write_errors_total", "counter", "Failures to write or to reopen the file.");
    metrics_value(x, "access_log_write_errors_total", counter_read(&logger->write_errors));
    metrics_family(x, "access_log_reopens_total", "counter", "Times the file was opened anew.");
    metrics_value(x, "access_log_reopens_total", counter_read(&logger->reopens));
}

static void write_calls(struct rm_exchange *x, const struct ring_counters *ring) {
    metrics_family(x, "syscalls_total", "counter", "System calls of the workers by name.");
    for (unsigned i = 0; i < RING_CALLS_COUNT; i++) {
        metrics_labelled(x, "syscalls_total", "name", ring_call_name((enum ring_call)i), ring->calls[i]);
    }
}

/* Bucket k of the ring holds turns with up to 2^k - 1 completions: cumulative, these are a Prometheus histogram. */
static void write_batches(struct rm_exchange *x, const struct ring_counters *ring) {
    metrics_family(x, "ring_completions_per_turn", "histogram", "Completions of a turn.");
    uint64_t turns = 0;
    for (unsigned i = 0; i < RING_BATCH_BUCKETS; i++) {
        turns += ring->batches[i];
        if (i + 1 < RING_BATCH_BUCKETS) {
            metrics_line(x, "ring_completions_per_turn_bucket{le=\"%u\"} %llu\n", (1u << i) - 1,
                       (unsigned long long)turns);
        }
    }
    metrics_labelled(x, "ring_completions_per_turn_bucket", "le", "+Inf", turns);
    metrics_value(x, "ring_completions_per_turn_sum", ring->completions);
    metrics_value(x, "ring_completions_per_turn_count", turns);
}

static void write_pools(struct rm_exchange *x, const struct server *server, const struct worker_figures *figures) {
    const struct plan_row *rows = server->plan.rows;
    metrics_family(x, "pool_items", "gauge", "Items that the plan has, all workers together.");
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        metrics_labelled(x, "pool_items", "pool", rows[i].name, (uint64_t)rows[i].count * server->config->workers);
    }
    metrics_family(x, "pool_items_in_use", "gauge", "Items that are taken.");
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        metrics_labelled(x, "pool_items_in_use", "pool", rows[i].name, figures->pools[i].in_use);
    }
    metrics_family(x, "pool_refused_total", "counter", "Takes that found a pool empty.");
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        metrics_labelled(x, "pool_refused_total", "pool", rows[i].name, figures->pools[i].refused);
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
    rm_begin(x, 200, "text/plain; version=0.0.4; charset=utf-8");
    write_build(x, worker);
    write_http(x, &figures);
    write_gauges(x, worker->server, &figures);
    write_listeners(x, worker->server, &figures);
    write_statuses(x, worker->server);
    write_durations(x, worker->server);
    write_lag(x, &ring);
    write_logger(x, worker->server->logger);
    resources_metrics(x, worker->server);
    cache_metrics(x, worker->server, &figures.cached);
    db_metrics_write(x, worker->server);
    metrics_table(x, figure_metrics, &figures);
    write_calls(x, &ring);
    metrics_table(x, ring_metrics, &ring);
    metrics_family(x, "ring_registered_bytes", "gauge", "Memory registered with the kernel, which locks it.");
    metrics_value(x, "ring_registered_bytes", ring.registered_bytes);
    write_batches(x, &ring);
    write_pools(x, worker->server, &figures);
    return RM_DONE;
}
