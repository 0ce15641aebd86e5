#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker.h"

_Static_assert((int)RM_BODY_NONE == (int)HTTP_BODY_NONE, "one order");
_Static_assert((int)RM_BODY_BUFFERED == (int)HTTP_BODY_BUFFERED, "one order");
_Static_assert((int)RM_BODY_STREAMED == (int)HTTP_BODY_STREAMED, "one order");

static int bad(char *why, const char *text) {
    snprintf(why, CONFIG_WHY_BYTES, "%s", text);
    return EXIT_CONFIG;
}

static int check_route(const struct rm_route *route, char *why) {
    const char *problem = route->path == NULL      ? "no path"
                          : route->handler == NULL ? "no handler"
                          : (route->body == RM_BODY_STREAMED) != (route->piece != NULL)
                              ? "a piece function goes with RM_BODY_STREAMED, and with nothing else"
                              : NULL;
    if (problem != NULL) {
        snprintf(why, CONFIG_WHY_BYTES, "route %s %s: %s", route->method, route->path != NULL ? route->path : "?",
                 problem);
        return EXIT_CONFIG;
    }
    return EXIT_FINE;
}

static int compile_routes(struct server *server, const struct rm_route *table, char *why) {
    uint32_t n = 0;
    while (table != NULL && table[n].method != NULL) {
        if (check_route(&table[n++], why) != EXIT_FINE) {
            return EXIT_CONFIG;
        }
    }
    if (n == 0 || n > HTTP_ROUTES_MAX) {
        return bad(why, "an application has 1 to 256 routes");
    }
    server->table = calloc(n, sizeof *server->table);
    server->routes = calloc(n, sizeof *server->routes);
    void *memory = malloc(http_router_bytes(n));
    if (server->table == NULL || server->routes == NULL || memory == NULL) {
        free(memory);
        return bad(why, "no memory for the routes");
    }
    memcpy(server->table, table, n * sizeof *table);
    for (uint32_t i = 0; i < n; i++) {
        server->routes[i] = (struct http_route){
            .method = span_text(table[i].method),
            .path = span_text(table[i].path),
            .body = (enum http_body)table[i].body,
            .index = i,
        };
    }
    server->router = http_router_init(memory, server->routes, n, why, CONFIG_WHY_BYTES);
    if (server->router == NULL) {
        free(memory);
        return EXIT_CONFIG;
    }
    return EXIT_FINE;
}

static struct worker *allocate_workers(uint32_t n) {
    struct worker *workers = aligned_alloc(WORKER_ALIGN, n * sizeof(struct worker));
    if (workers != NULL) {
        memset(workers, 0, n * sizeof(struct worker));
    }
    return workers;
}

int server_open(struct server *server, const struct config *config, const struct rm_app *app,
                char why[static CONFIG_WHY_BYTES]) {
    *server = (struct server){ .config = config, .app = app };
    plan_make(&server->plan, config);
    server->ring = (struct ring_config){
        .choice = config->io,
        .tuning = config->tuning,
        .sockets_max = server->plan.sockets_max,
        .peers = config->access_log != NULL,
    };
    for (uint32_t i = 0; i < config->listen_count; i++) {
        server->addresses[i] = config->listen[i];
        server->sockets[i] = -1;
    }
    int code = compile_routes(server, app->routes, why);
    if (code == EXIT_FINE) {
        server->workers = allocate_workers(config->workers);
        code = server->workers != NULL ? EXIT_FINE : bad(why, "no memory for the workers");
    }
    if (code != EXIT_FINE) {
        server_release(server);
        return code;
    }
    return EXIT_FINE;
}

void server_release(struct server *server) {
    free(server->table);
    free(server->routes);
    free(server->router);
    free(server->workers);
    server->table = NULL;
    server->routes = NULL;
    server->router = NULL;
    server->workers = NULL;
}

void server_drain(struct server *server, uint32_t workers_open) {
    __atomic_store_n(&server->draining, true, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < workers_open; i++) {
        ring_wake(server->workers[i].ring);
    }
}
