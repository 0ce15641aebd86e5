#include "server/resources.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem/counter.h"
#include "mem/store.h"
#include "server/log.h"
#include "server/metrics_write.h"
#include "server/server.h"
#include "server/timers.h"

/* --------------------------------------------------------------------------------------------------- looking ---- */

/* "RssAnon:      116 kB" */
static uint64_t bytes_of(const char *status, const char *name) {
    const char *at = strstr(status, name);
    return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 10) * 1024;
}

static void look_at_status(struct resources *seen) {
    char status[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC); /* no stream: that would allocate */
    if (fd < 0) {
        return;
    }
    ssize_t n = read(fd, status, sizeof status - 1);
    close(fd);
    status[n > 0 ? n : 0] = '\0';
    counter_set(&seen->anonymous_bytes, bytes_of(status, "\nRssAnon:"));
    counter_set(&seen->file_bytes, bytes_of(status, "\nRssFile:"));
    counter_set(&seen->shared_bytes, bytes_of(status, "\nRssShmem:"));
}

static void look_at_process(struct resources *seen) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        counter_set(&seen->minor_faults, (uint64_t)usage.ru_minflt);
        counter_set(&seen->major_faults, (uint64_t)usage.ru_majflt);
    }
    look_at_status(seen);
}

static void judge_store(struct server *server, uint64_t resident) {
    struct resources *seen = &server->resources;
    struct store_figures figures;
    store_figures(server->store, &figures);
    counter_set(&seen->store_bytes, resident);
    if (figures.broken && !seen->store_broken) {
        seen->store_broken = true;
        log_line(LOG_ERROR, "%s: --store: '%s' was truncated: nothing is stored or found any more until the next start",
                 server->app->name, server->config->store);
    }
    counter_set(&seen->pressed, figures.file && !figures.broken && resident < figures.bytes_used);
    store_press(server->store, seen->pressed != 0);
}

/* Nothing of a file goes missing without faults, but what nobody has asked for meanwhile. */
static bool is_to_be_counted(const struct resources *seen, uint64_t now_ns) {
    return seen->counting || seen->pressed != 0 || now_ns >= seen->count_ns || seen->major_faults != seen->faults_counted;
}

/* For how many ms that is good. */
static uint64_t look(struct server *server, uint64_t now_ns) {
    struct resources *seen = &server->resources;
    uint64_t resident;
    look_at_process(seen);
    if (server->store != NULL && is_to_be_counted(seen, now_ns)) {
        seen->faults_counted = seen->major_faults;
        seen->counting = !store_count_resident(server->store, RESOURCES_COUNT_BYTES, &resident);
        if (seen->counting) {
            return RESOURCES_COUNT_MS;
        }
        judge_store(server, resident);
        seen->count_ns = now_ns + RESOURCES_LOOK_MS * NS_PER_MS;
    }
    return server->store != NULL && server->config->store != NULL ? RESOURCES_FILE_MS : RESOURCES_LOOK_MS;
}

static uint64_t ms_until(uint64_t ns, uint64_t now_ns) {
    return ns > now_ns ? (ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
}

uint64_t resources_look(struct server *server, uint64_t now_ns) {
    struct resources *seen = &server->resources;
    if (now_ns >= seen->look_ns) {
        seen->look_ns = now_ns + look(server, now_ns) * NS_PER_MS;
    }
    uint64_t look_ms = ms_until(seen->look_ns, now_ns);
    if (seen->pressed == 0) {
        return look_ms;
    }
    if (now_ns >= seen->refresh_ns) {
        counter_add(&seen->refreshed_bytes, store_refresh(server->store, now_ns, RESOURCES_REFRESH_BYTES));
        seen->refresh_ns = now_ns + RESOURCES_REFRESH_MS * NS_PER_MS;
    }
    uint64_t refresh_ms = ms_until(seen->refresh_ns, now_ns);
    return look_ms < refresh_ms ? look_ms : refresh_ms;
}

/* --------------------------------------------------------------------------------------------------- writing ---- */

#define FIGURE(name, field, help) \
    { name, help, offsetof(struct store_figures, field) }

static const struct metric counters[] = {
    FIGURE("store_published_total", published, "Objects that were stored."),
    FIGURE("store_replaced_total", replaced, "Objects that a newer one of their key took the place of."),
    FIGURE("store_invalidated_total", invalidated, "Objects that were removed because their data changed."),
    FIGURE("store_evicted_total", evicted, "Objects that were removed to make room."),
    FIGURE("store_expired_total", expired, "Objects that were removed because their time was over."),
    { NULL, NULL, 0 },
};

static const struct metric gauges[] = {
    FIGURE("store_objects", objects, "Objects that are there."),
    FIGURE("store_objects_max", objects_max, "Objects that there can be: --store-objects."),
    FIGURE("store_size_bytes", bytes, "Bytes for objects: --store-bytes."),
    FIGURE("store_used_bytes", bytes_used, "Bytes that objects take, those included that wait for their readers."),
    FIGURE("store_waiting_bytes", waiting_bytes, "Bytes of objects that are gone but may still be looked at."),
    FIGURE("store_pinned_bytes", pinned_bytes, "Bytes of objects that are being sent from where they lie."),
    FIGURE("store_largest_free_bytes", largest_free, "The longest run of free bytes."),
    { NULL, NULL, 0 },
};

static uint64_t value_of(const struct metric *metric, const struct store_figures *figures) {
    uint64_t value;
    memcpy(&value, (const char *)figures + metric->offset, sizeof value);
    return value;
}

static void write_gauge(struct rm_exchange *x, const char *name, const char *help, uint64_t value) {
    metrics_family(x, name, "gauge", help);
    metrics_value(x, name, value);
}

static void write_store(struct rm_exchange *x, const struct server *server) {
    struct store_figures figures;
    store_figures(server->store, &figures);
    for (const struct metric *metric = gauges; metric->name != NULL; metric++) {
        write_gauge(x, metric->name, metric->help, value_of(metric, &figures));
    }
    write_gauge(x, "store_resident_bytes", "Bytes of it that are in RAM, seen in the last seconds.",
                counter_read(&server->resources.store_bytes));
    write_gauge(x, "store_pressed", "1: not all that it holds is in RAM, and the kernel is told what is hot.",
                counter_read(&server->resources.pressed));
    metrics_family(x, "store_refreshed_bytes_total", "counter", "Bytes that the kernel was told to be hot, each time anew.");
    metrics_value(x, "store_refreshed_bytes_total", counter_read(&server->resources.refreshed_bytes));
    write_gauge(x, "store_warm_objects", "Objects that the start found in the file.", server->store_warm);
    write_gauge(x, "store_broken", "1: its file was truncated, and it gives and takes nothing any more.", figures.broken);
    metrics_table(x, counters, &figures);
    metrics_family(x, "store_unpublished_total", "counter", "Objects that were not stored, by reason.");
    metrics_labelled(x, "store_unpublished_total", "reason", "outdated", figures.outdated);
    metrics_labelled(x, "store_unpublished_total", "reason", "full", figures.full);
    metrics_labelled(x, "store_unpublished_total", "reason", "too_large", figures.too_large);
}

void resources_metrics(struct rm_exchange *x, const struct server *server) {
    const struct resources *seen = &server->resources;
    metrics_family(x, "process_paging_faults_total", "counter", "Page faults; major: one that waited for the disk.");
    metrics_labelled(x, "process_paging_faults_total", "type", "minor", counter_read(&seen->minor_faults));
    metrics_labelled(x, "process_paging_faults_total", "type", "major", counter_read(&seen->major_faults));
    metrics_family(x, "process_memory_usage_bytes", "gauge", "Resident memory by kind: shared is memfd and tmpfs.");
    metrics_labelled(x, "process_memory_usage_bytes", "type", "anonymous", counter_read(&seen->anonymous_bytes));
    metrics_labelled(x, "process_memory_usage_bytes", "type", "file", counter_read(&seen->file_bytes));
    metrics_labelled(x, "process_memory_usage_bytes", "type", "shared", counter_read(&seen->shared_bytes));
    if (server->store != NULL) {
        write_store(x, server);
    }
}

/* "store_published_total" is "published". */
static void write_entry(struct rm_exchange *x, const struct metric *metric, const struct store_figures *figures) {
    char key[64];
    snprintf(key, sizeof key, "%s", metric->name + sizeof "store_" - 1);
    char *total = strstr(key, "_total");
    if (total != NULL) {
        *total = '\0';
    }
    rm_json_int(x, key, (int64_t)value_of(metric, figures));
}

static void write_store_json(struct rm_exchange *x, const struct server *server) {
    struct store_figures figures;
    store_figures(server->store, &figures);
    rm_json_object(x, "store");
    rm_json_bool(x, "file", figures.file);
    rm_json_bool(x, "broken", figures.broken);
    for (const struct metric *metric = gauges; metric->name != NULL; metric++) {
        write_entry(x, metric, &figures);
    }
    rm_json_int(x, "resident_bytes", (int64_t)counter_read(&server->resources.store_bytes));
    rm_json_bool(x, "pressed", counter_read(&server->resources.pressed) != 0);
    rm_json_int(x, "refreshed_bytes", (int64_t)counter_read(&server->resources.refreshed_bytes));
    rm_json_int(x, "warm_objects", (int64_t)server->store_warm);
    for (const struct metric *metric = counters; metric->name != NULL; metric++) {
        write_entry(x, metric, &figures);
    }
    rm_json_int(x, "outdated", (int64_t)figures.outdated);
    rm_json_int(x, "full", (int64_t)figures.full);
    rm_json_int(x, "too_large", (int64_t)figures.too_large);
    rm_json_close(x);
}

void resources_json(struct rm_exchange *x, const struct server *server) {
    const struct resources *seen = &server->resources;
    rm_json_object(x, "process");
    rm_json_int(x, "minor_faults", (int64_t)counter_read(&seen->minor_faults));
    rm_json_int(x, "major_faults", (int64_t)counter_read(&seen->major_faults));
    rm_json_int(x, "resident_anonymous_bytes", (int64_t)counter_read(&seen->anonymous_bytes));
    rm_json_int(x, "resident_file_bytes", (int64_t)counter_read(&seen->file_bytes));
    rm_json_int(x, "resident_shared_bytes", (int64_t)counter_read(&seen->shared_bytes));
    rm_json_close(x);
    if (server->store != NULL) {
        write_store_json(x, server);
    }
}
