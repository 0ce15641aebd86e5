#include "server/db_metrics.h"

#include <stdio.h>
#include <string.h>

#include "server/db.h"
#include "server/metrics_write.h"
#include "server/worker.h"

/* Both structs are nothing but 64-bit counters. */
struct figures {
    struct pg_figures pg;
    struct db_figures db;
};
_Static_assert(sizeof(struct figures) % sizeof(uint64_t) == 0, "counters only");

static void add_words(void *sum, const void *words, size_t bytes) {
    uint64_t *to = sum;
    const uint64_t *from = words;
    for (size_t i = 0; i < bytes / sizeof *from; i++) {
        to[i] += counter_read(&from[i]);
    }
}

static struct figures sum_of(const struct server *server, uint32_t first, uint32_t end) {
    struct figures sum = { 0 };
    for (uint32_t i = first; i < end; i++) {
        const struct db *db = server->workers[i].db;
        if (db != NULL) { /* else it is not open yet */
            add_words(&sum.pg, &db->pool.figures, sizeof sum.pg);
            add_words(&sum.db, &db->figures, sizeof sum.db);
        }
    }
    return sum;
}

#define PG(field, name, help) \
    { name, help, offsetof(struct figures, pg.field) }
#define DB(field, name, help) \
    { name, help, offsetof(struct figures, db.field) }

static const struct metric counters[] = {
    PG(submitted, "db_client_queries_total", "Queries that were submitted."),
    PG(rows, "db_client_rows_total", "Rows that came."),
    PG(sent, "db_client_executions_total", "Executions that were sent, repeated ones included."),
    PG(syncs, "db_client_syncs_total", "Syncs that were sent: the server answers and commits at each."),
    PG(retried, "db_client_retries_total", "Queries that were sent again because their connection was lost."),
    PG(healed, "db_client_reprepares_total", "Queries whose statement had to be prepared anew."),
    PG(skipped, "db_client_skipped_total", "Queries that were sent again because another one of their Sync failed."),
    PG(parses, "db_client_parses_total", "Statements that were prepared."),
    PG(describes, "db_client_describes_total", "Statements that were described before queries of them were sent."),
    PG(connects, "db_client_connections_created_total", "Connections that came up."),
    PG(connect_failures, "db_client_connection_failures_total", "Attempts to connect that failed."),
    PG(lost, "db_client_connections_lost_total", "Connections that were lost while they served."),
    PG(cancels, "db_client_cancels_total", "Queries that were cancelled because their time was up."),
    PG(kills, "db_client_connections_killed_total", "Connections that were closed because a cancel did not help."),
    PG(quarantined, "db_client_connections_quarantined_total", "Connections that were replaced: a session was left changed."),
    PG(left, "db_client_abandoned_total", "Queries whose request did not wait for them any longer."),
    PG(notices, "db_client_notices_total", "Notices of the server."),
    PG(notifications, "db_client_notifications_total", "Notifications of the server."),
    DB(transactions, "db_client_transactions_total", "Transactions that were begun."),
    DB(forgotten, "db_client_transactions_forgotten_total", "Transactions that their handlers left open: rolled back."),
    DB(too_large, "db_client_results_too_large_total", "Results that were dropped: --db-result-bytes, or a row too long."),
    { NULL, NULL, 0 },
};

static const char *const outcomes[PG_TOO_LARGE + 1] = {
    [PG_OK] = "ok",         [PG_ERROR] = "error", [PG_ROLLED_BACK] = "rolled_back", [PG_BUSY] = "busy", [PG_DOWN] = "down",
    [PG_LOST] = "lost",     [PG_TIMEOUT] = "timeout", [PG_TOO_LARGE] = "too_large",
};

static void write_outcomes(struct rm_exchange *x, const struct figures *sum) {
    metrics_family(x, "db_client_queries_ended_total", "counter", "Queries by how they ended.");
    for (unsigned i = PG_OK; i <= PG_TOO_LARGE; i++) {
        metrics_labelled(x, "db_client_queries_ended_total", "outcome", outcomes[i], sum->pg.done[i]);
    }
    metrics_family(x, "db_client_shed_total", "counter", "Queries that were not sent, by reason.");
    metrics_labelled(x, "db_client_shed_total", "reason", "busy", sum->pg.done[PG_BUSY]);
    metrics_labelled(x, "db_client_shed_total", "reason", "down", sum->pg.done[PG_DOWN]);
    metrics_labelled(x, "db_client_shed_total", "reason", "exhausted", sum->db.exhausted);
    metrics_labelled(x, "db_client_shed_total", "reason", "memory", sum->db.starved);
    metrics_labelled(x, "db_client_shed_total", "reason", "arguments", sum->db.refused);
}

static void write_gauge(struct rm_exchange *x, const char *name, const char *help, uint64_t value) {
    metrics_family(x, name, "gauge", help);
    metrics_value(x, name, value);
}

static void write_gauges(struct rm_exchange *x, const struct server *server, const struct figures *sum) {
    uint64_t all = (uint64_t)server->config->workers * server->config->db_limits.worker_connections;
    metrics_family(x, "db_client_connection_count", "gauge", "Connections by state.");
    metrics_labelled(x, "db_client_connection_count", "state", "up", sum->pg.up);
    metrics_labelled(x, "db_client_connection_count", "state", "down", all - sum->pg.up);
    write_gauge(x, "db_client_connection_max", "Connections that are wanted.", all);
    write_gauge(x, "db_client_connection_pending_requests", "Queries that wait for a connection.", sum->pg.waiting);
    write_gauge(x, "db_client_in_flight", "Queries that were sent and are not answered yet.", sum->pg.in_flight);
    metrics_family(x, "db_client_connection_wait_time_seconds", "summary", "Time from a query's start until it was sent.");
    metrics_seconds(x, "db_client_connection_wait_time_seconds_sum", "", sum->pg.wait_ns);
    metrics_value(x, "db_client_connection_wait_time_seconds_count", sum->pg.sent);
}

/* Bucket k of the pool: up to 2^k - 1. */
static void write_depths(struct rm_exchange *x, const struct figures *sum) {
    static const char name[] = "db_client_pipeline_depth";
    metrics_family(x, name, "histogram", "Queries in flight on a connection when one more was given to it, that one included.");
    uint64_t count = 0, weight = 0;
    for (unsigned i = 0; i < PG_DEPTHS; i++) {
        count += sum->pg.depths[i];
        weight += i == 0 ? 0 : sum->pg.depths[i] << (i - 1);
        if (i + 1 < PG_DEPTHS) {
            metrics_line(x, "%s_bucket{le=\"%u\"} %llu\n", name, (1u << i) - 1, (unsigned long long)count);
        }
    }
    metrics_line(x, "%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long)count);
    metrics_line(x, "%s_sum %llu\n%s_count %llu\n", name, (unsigned long long)weight, name, (unsigned long long)count);
}

static bool sum_statement(const struct server *server, uint32_t statement, struct observe_row *sum) {
    uint64_t count = 0;
    for (uint32_t w = 0; w < server->config->workers; w++) {
        const struct db *db = server->workers[w].db;
        if (db != NULL) {
            add_words(sum, &db->rows[statement], sizeof *sum);
        }
    }
    for (unsigned i = 0; i < OBSERVE_BUCKETS; i++) {
        count += sum->buckets[i];
    }
    return count > 0;
}

static void write_statements(struct rm_exchange *x, const struct server *server) {
    static const char name[] = "db_client_operation_duration_seconds";
    metrics_family(x, name, "histogram", "Time from a query's start to its end, by statement, in turns.");
    for (uint32_t i = 0; i < server->statement_count; i++) {
        struct observe_row sum = { 0 };
        char clean[256], labels[320];
        if (sum_statement(server, i, &sum)) {
            struct span label = server->statements[i].label;
            metrics_escape(label.data, label.len, clean, sizeof clean);
            snprintf(labels, sizeof labels, "db_system_name=\"postgresql\",db_query_summary=\"%s\"", clean);
            metrics_row(x, name, labels, &sum);
        }
    }
}

void db_metrics_write(struct rm_exchange *x, const struct server *server) {
    if (!server->config->db_on) {
        return;
    }
    struct figures sum = sum_of(server, 0, server->config->workers);
    write_gauges(x, server, &sum);
    write_outcomes(x, &sum);
    metrics_table(x, counters, &sum);
    write_depths(x, &sum);
    write_statements(x, server);
}

/* "db_client_queries_total" is "queries". */
static const char *key_of(const char *name, char out[static 64]) {
    size_t before = sizeof "db_client_" - 1, behind = sizeof "_total" - 1, len = strlen(name) - before - behind;
    memcpy(out, name + before, len);
    out[len] = '\0';
    return out;
}

void db_metrics_json(struct rm_exchange *x, const struct server *server, uint32_t first, uint32_t end) {
    struct figures sum = sum_of(server, first, end);
    char key[64];
    rm_json_int(x, "up", (int64_t)sum.pg.up);
    rm_json_int(x, "in_flight", (int64_t)sum.pg.in_flight);
    rm_json_int(x, "waiting", (int64_t)sum.pg.waiting);
    for (const struct metric *metric = counters; metric->name != NULL; metric++) {
        uint64_t value;
        memcpy(&value, (const char *)&sum + metric->offset, sizeof value);
        rm_json_int(x, key_of(metric->name, key), (int64_t)value);
    }
    rm_json_object(x, "ended");
    for (unsigned i = PG_OK; i <= PG_TOO_LARGE; i++) {
        rm_json_int(x, outcomes[i], (int64_t)sum.pg.done[i]);
    }
    rm_json_close(x);
    rm_json_array(x, "depths"); /* 0, 1, 2-3, 4-7, ... */
    for (unsigned i = 0; i < PG_DEPTHS; i++) {
        rm_json_int(x, NULL, (int64_t)sum.pg.depths[i]);
    }
    rm_json_close(x);
}
