#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/builtin.h"
#include "server/cache.h"
#include "server/db.h"
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

_Static_assert(SERVER_ROUTES_MAX + BUILTIN_ADMIN_COUNT <= HTTP_ROUTES_MAX, "ours have room behind them");

static void add_route(struct server *server, const struct rm_route *route) {
    uint32_t i = server->route_count++;
    server->table[i] = *route;
    server->routes[i] = (struct http_route){
        .method = span_text(route->method),
        .path = span_text(route->path),
        .body = (enum http_body)route->body,
        .index = i,
    };
}

/* The routes from `first` on. */
static int compile(struct server *server, uint32_t first, struct http_router **out, char *why) {
    uint32_t n = server->route_count - first;
    void *memory = malloc(http_router_bytes(n));
    if (memory == NULL) {
        return bad(why, "no memory for the routes");
    }
    free(*out);
    *out = http_router_init(memory, server->routes + first, n, why, CONFIG_WHY_BYTES);
    if (*out == NULL) {
        free(memory);
        return EXIT_CONFIG;
    }
    return EXIT_FINE;
}

static bool has_path(const struct server *server, const char *path) {
    struct http_request request = { .head = path, .path = { 0, (uint16_t)strlen(path) }, .method = HTTP_GET };
    const struct http_route *route;
    uint32_t allow;
    return http_router_find(server->router, &request, &route, &allow) != HTTP_FOUND_NO_PATH;
}

/* Ours are added where the application's leave room: to its listeners, or to those of their own. */
static int add_builtin(struct server *server, bool admin, char *why) {
    uint32_t first = server->route_count;
    for (uint32_t i = 0; i < (admin ? BUILTIN_ADMIN_COUNT : BUILTIN_MAIN_COUNT); i++) {
        if (admin || !has_path(server, builtin_routes[i].path)) {
            add_route(server, &builtin_routes[i]);
        }
    }
    return admin ? compile(server, first, &server->admin_router, why) : compile(server, 0, &server->router, why);
}

static bool wants_admin(const struct config *config) {
    bool wanted = config->admin.len > 0;
    for (uint32_t i = 0; i < config->inherited.count; i++) {
        wanted |= config->inherited.sockets[i].admin;
    }
    return wanted;
}

static int compile_routes(struct server *server, const struct rm_route *table, char *why) {
    uint32_t n = 0;
    while (table != NULL && table[n].method != NULL) {
        if (check_route(&table[n++], why) != EXIT_FINE) {
            return EXIT_CONFIG;
        }
    }
    if (n == 0 || n > SERVER_ROUTES_MAX) {
        snprintf(why, CONFIG_WHY_BYTES, "an application has 1 to %d routes", SERVER_ROUTES_MAX);
        return EXIT_CONFIG;
    }
    server->table = calloc(n + BUILTIN_ADMIN_COUNT, sizeof *server->table);
    server->routes = calloc(n + BUILTIN_ADMIN_COUNT, sizeof *server->routes);
    if (server->table == NULL || server->routes == NULL) {
        return bad(why, "no memory for the routes");
    }
    for (uint32_t i = 0; i < n; i++) {
        add_route(server, &table[i]);
    }
    int code = compile(server, 0, &server->router, why);
    return code == EXIT_FINE ? add_builtin(server, wants_admin(server->config), why) : code;
}

static void add_place(struct server *server, const struct ring_address *address, bool admin, int socket) {
    server->places[server->place_count++] = (struct listen_place){ .address = *address, .admin = admin, .socket = socket };
}

static void add_places(struct server *server, const struct config *config) {
    for (uint32_t i = 0; i < config->inherited.count; i++) {
        add_place(server, &config->inherited.sockets[i].address, config->inherited.sockets[i].admin,
                  config->inherited.sockets[i].fd);
    }
    for (uint32_t i = 0; i < config->listen_count; i++) {
        add_place(server, &config->listen[i], false, -1);
    }
    if (config->admin.len > 0) {
        add_place(server, &config->admin, true, -1);
    }
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
    add_places(server, config);
    int code = compile_routes(server, app->routes, why);
    if (code == EXIT_FINE) {
        code = cache_compile(server, why);
    }
    if (code == EXIT_FINE) {
        code = db_statements_make(server, why);
    }
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
    cache_free(server);
    free(server->table);
    free(server->routes);
    free(server->router);
    free(server->admin_router);
    free(server->workers);
    db_statements_free(server);
    server->table = NULL;
    server->routes = NULL;
    server->router = NULL;
    server->admin_router = NULL;
    server->workers = NULL;
}

void server_leave(struct server *server) {
    __atomic_store_n(&server->leaving, true, __ATOMIC_RELEASE);
}

void server_drain(struct server *server, uint32_t workers_open) {
    server_leave(server);
    __atomic_store_n(&server->draining, true, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < workers_open; i++) {
        ring_wake(server->workers[i].ring);
    }
}
