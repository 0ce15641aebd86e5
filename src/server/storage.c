#include "server/storage.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "server/log.h"
#include "server/server.h"
#include "server/timers.h"

struct store_config storage_config(const struct config *config) {
    return (struct store_config){
        .path = config->store,
        .bytes = config->store_bytes,
        .objects = config->store_objects,
        .readers = config->workers,
    };
}

/* The clock that the rings of the workers have, too. */
static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static int64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + (int64_t)((uint64_t)now.tv_nsec / NS_PER_MS);
}

static int refuse(const struct config *config, int32_t result, const struct store_report *report, char *why) {
    snprintf(why, CONFIG_WHY_BYTES, "%s: %.480s", config->store != NULL ? "--store" : "--store-bytes", report->why);
    return result == -EWOULDBLOCK ? EXIT_UNAVAILABLE : EXIT_CONFIG;
}

int storage_open(struct server *server, char why[static CONFIG_WHY_BYTES]) {
    const struct config *config = server->config;
    if (!config->caches) {
        return EXIT_FINE;
    }
    struct store_config store = storage_config(config);
    struct store_report report;
    store.now_ns = clock_ns();
    store.wall_ms = wall_ms();
    int32_t result = store_open(&store, &server->store, &report);
    if (result != 0) {
        server->store = NULL;
        return refuse(config, result, &report, why);
    }
    if (report.start == STORE_LOST) {
        log_line(LOG_WARN, "%s: --store: %s", server->app->name, report.why);
    } else if (report.start == STORE_WARM) {
        log_line(LOG_INFO, "%s: --store: '%s' brings %lu objects", server->app->name, config->store,
                 (unsigned long)report.objects);
    }
    server->store_warm = report.start == STORE_WARM ? report.objects : 0;
    return EXIT_FINE;
}

void storage_close(struct server *server) {
    if (server->store != NULL) {
        store_close(server->store, clock_ns(), wall_ms());
        server->store = NULL;
    }
}
