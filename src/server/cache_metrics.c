#include "server/cache_metrics.h"

#include "server/figures.h"
#include "server/metrics_write.h"

#define FIGURE(name, field, help) \
    { name, help, offsetof(struct cache_figures, field) }

static const struct metric counters[] = {
    FIGURE("cache_not_modified_total", not_modified, "Of hits and stale answers: 304, the client had it."),
    FIGURE("cache_led_total", led, "Handlers that ran for all who waited for the same key."),
    FIGURE("cache_waited_total", waited, "Times a request waited for the response of another."),
    FIGURE("cache_wait_timeouts_total", wait_timeouts, "Waits that were over after --cache-wait, in vain."),
    FIGURE("cache_waits_refused_total", refused, "Requests that got 503 because --cache-waiters waited already."),
    FIGURE("cache_alone_total", alone, "Handlers that ran for one request only, as what came last could not be kept."),
    FIGURE("cache_refreshes_total", refreshes, "Handlers that ran without a client, to replace what was in its grace."),
    FIGURE("cache_stored_total", stored, "Responses that were stored."),
    FIGURE("cache_unstored_total", unstored, "Responses that could not be stored."),
    FIGURE("cache_pinned_total", pinned, "Bodies that were sent from where they lie."),
    FIGURE("cache_copied_total", copied, "Bodies that were copied from the store."),
    FIGURE("cache_fetched_total", fetched, "Times a helper brought the pages of an object into RAM first."),
    FIGURE("cache_purges_total", purges, "Calls of rm_purge."),
    { NULL, NULL, 0 },
};

void cache_metrics(struct rm_exchange *x, const struct server *server, const struct cache_figures *figures) {
    if (server->store == NULL) {
        return;
    }
    metrics_family(x, "cache_requests_total", "counter", "Requests to routes that cache, by what became of them.");
    metrics_labelled(x, "cache_requests_total", "result", "hit", figures->hits);
    metrics_labelled(x, "cache_requests_total", "result", "stale", figures->stale);
    metrics_labelled(x, "cache_requests_total", "result", "miss", figures->misses);
    metrics_labelled(x, "cache_requests_total", "result", "pass", figures->passed);
    metrics_table(x, counters, figures);
    uint64_t waiting = 0;
    for (uint32_t i = 0; i < server->config->workers; i++) {
        waiting += counter_read(&server->workers[i].cache.waiters);
    }
    metrics_family(x, "cache_waiting_requests", "gauge", "Requests that wait for the response of another.");
    metrics_value(x, "cache_waiting_requests", waiting);
}

void cache_json(struct rm_exchange *x, const struct server *server, const struct cache_figures *figures) {
    if (server->store == NULL) {
        return;
    }
    rm_json_object(x, "cache");
    rm_json_int(x, "hits", (int64_t)figures->hits);
    rm_json_int(x, "stale", (int64_t)figures->stale);
    rm_json_int(x, "misses", (int64_t)figures->misses);
    rm_json_int(x, "passed", (int64_t)figures->passed);
    for (const struct metric *metric = counters; metric->name != NULL; metric++) {
        char key[64];
        size_t len = strlen(metric->name) - (sizeof "cache_" - 1) - (sizeof "_total" - 1); /* "cache_led_total" is "led" */
        memcpy(key, metric->name + sizeof "cache_" - 1, len);
        key[len] = '\0';
        rm_json_int(x, key, (int64_t) * (const uint64_t *)(const void *)((const char *)figures + metric->offset));
    }
    rm_json_close(x);
}
