/* Keys, and what is compiled of routes. A key is its name and its parts, each with its length in front, so that no two lists
 * of parts have the same bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem/assert.h"
#include "mem/copy.h"
#include "mem/number.h"
#include "server/cache.h"
#include "server/exchange.h"
#include "server/worker.h"

enum { LENGTH_BYTES = 2, NO_PART = 0xffff };

_Static_assert((int)RM_KEY_BYTES_MAX < (int)NO_PART, "no part has this length");
_Static_assert((int)RM_KEY_BYTES_MAX <= (int)STORE_KEY_BYTES_MAX, "the store takes them");

/* Appends a part, its length in front, to the `*len` bytes of a key; false when it does not fit. */
[[gnu::always_inline]] static inline bool put_part(struct rm_key *key, uint32_t *len, struct span value) {
    uint32_t at = *len;
    if (value.len > RM_KEY_BYTES_MAX || at + LENGTH_BYTES + value.len > RM_KEY_BYTES_MAX) {
        return false;
    }
    uint16_t length = (uint16_t)value.len;
    memcpy(key->bytes + at, &length, LENGTH_BYTES);
    copy_put_span(key->bytes + at + LENGTH_BYTES, value);
    *len = at + LENGTH_BYTES + length;
    return true;
}

static inline bool put_none(struct rm_key *key, uint32_t *len) {
    uint16_t none = NO_PART;
    if (*len + LENGTH_BYTES > RM_KEY_BYTES_MAX) {
        return false;
    }
    memcpy(key->bytes + *len, &none, LENGTH_BYTES);
    *len += LENGTH_BYTES;
    return true;
}

void rm_key_span(struct rm_key *key, struct span value) {
    uint32_t len = key->len;
    key->overflow |= !put_part(key, &len, value);
    key->len = (uint16_t)len;
}

void rm_key_none(struct rm_key *key) {
    uint32_t len = key->len;
    key->overflow |= !put_none(key, &len);
    key->len = (uint16_t)len;
}

void rm_key_int(struct rm_key *key, int64_t value) {
    char digits[NUMBER_BYTES_MAX];
    rm_key_span(key, span_of(digits, (size_t)(number_put_i64(digits, value) - digits)));
}

void rm_key_begin(struct rm_key *key, const struct rm_cache *cache) {
    key->len = 0;
    key->overflow = false;
    rm_key_span(key, span_text(cache->name));
}

static inline bool find_part(const struct rm_exchange *x, const struct cache_part *part, struct span *value) {
    switch (part->kind) {
    case CACHE_PARAM: *value = http_span(&x->http.request, x->http.request.params[part->param]); return true;
    case CACHE_QUERY: return rm_query_value(x, part->name, value);
    case CACHE_FIELD: return rm_header(x, part->name, value);
    }
    return false;
}

bool cache_key(const struct rm_exchange *x, const struct cache_route *route, struct rm_key *key) {
    uint32_t len = route->begin.len;
    bool fits = true;
    key->overflow = false;
    memcpy(key->bytes, route->begin.bytes, CACHE_NAME_BYTES_MAX + LENGTH_BYTES);
    if (route->cache->key != NULL) {
        key->len = (uint16_t)len;
        return route->cache->key(x, key) && !key->overflow;
    }
    for (uint32_t i = 0; i < route->part_count; i++) {
        struct span value;
        fits &= find_part(x, &route->parts[i], &value) ? put_part(key, &len, value) : put_none(key, &len);
    }
    if (route->cache->parts == NULL) {
        fits = put_part(key, &len, rm_path(x)) && put_part(key, &len, rm_query_string(x));
    }
    key->len = (uint16_t)len;
    return fits;
}

void rm_purge(struct rm_worker *rm_worker, const struct rm_key *key) {
    struct worker *worker = worker_unwrap(rm_worker);
    rm_assert(!key->overflow);
    rm_assert(key->len <= RM_KEY_BYTES_MAX);
    if (worker->store == NULL) {
        return; /* no route caches */
    }
    struct span bytes = { key->bytes, key->len };
    uint64_t hash = store_hash(worker->store, bytes);
    store_invalidate(worker->store, bytes, hash);
    flights_doom(worker->server->flights, hash); /* behind that: nobody joins one whose data may be older */
    counter_add(&worker->figures.cached.purges, 1);
}

/* ------------------------------------------------------------------------------------------------------ routes ---- */

static int mistake(const struct rm_route *route, const char *what, const char *which, char *why) {
    snprintf(why, CONFIG_WHY_BYTES, "route %s %s: its cache %s%s", route->method, route->path, what, which);
    return EXIT_CONFIG;
}

/* "{id}", "?page", "Accept-Language". */
static int compile_part(const struct http_route *http, const struct rm_route *route, const char *text, struct cache_part *part,
                        char *why) {
    size_t len = strlen(text);
    if (text[0] == '{') {
        bool closed = len > 2 && text[len - 1] == '}';
        int param = closed ? http_route_param(http, span_of(text + 1, len - 2)) : -1;
        *part = (struct cache_part){ CACHE_PARAM, (uint32_t)param, text };
        return param >= 0 ? EXIT_FINE : mistake(route, "has a part that its path has not: ", text, why);
    }
    bool query = text[0] == '?';
    *part = (struct cache_part){ query ? CACHE_QUERY : CACHE_FIELD, 0, text + query };
    return len > query ? EXIT_FINE : mistake(route, "has an empty part", text, why);
}

/* The header fields among the parts: "Accept-Language, X-Plan". */
static bool make_vary(struct cache_route *compiled) {
    size_t bytes = 1;
    for (uint32_t i = 0; i < compiled->part_count; i++) {
        bytes += strlen(compiled->parts[i].name) + 2;
    }
    char *p = compiled->vary = malloc(bytes);
    if (p == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < compiled->part_count; i++) {
        if (compiled->parts[i].kind == CACHE_FIELD) {
            p = copy_put_span(p, p > compiled->vary ? SPAN(", ") : SPAN(""));
            p = copy_put_span(p, span_text(compiled->parts[i].name));
        }
    }
    compiled->rule.vary = span_of(compiled->vary, (size_t)(p - compiled->vary));
    return true;
}

static int compile_parts(const struct http_route *http, const struct rm_route *route, struct cache_route *compiled, char *why) {
    const char *const *parts = route->cache->parts;
    for (uint32_t i = 0; parts != NULL && parts[i] != NULL; i++) {
        if (i == CACHE_PARTS_MAX) {
            return mistake(route, "has too many parts, the first of them too many is ", parts[i], why);
        }
        int code = compile_part(http, route, parts[i], &compiled->parts[i], why);
        if (code != EXIT_FINE) {
            return code;
        }
        compiled->part_count++;
    }
    return make_vary(compiled) ? EXIT_FINE : mistake(route, "finds no memory", "", why);
}

/* What is wrong with it, or NULL. */
static const char *problem_of(const struct rm_route *route) {
    const struct rm_cache *cache = route->cache;
    size_t name_bytes = cache->name == NULL ? 0 : strlen(cache->name);
    uint64_t most_ns = CACHE_TIME_MAX_S * NS_PER_SECOND;
    return strcmp(route->method, "GET") != 0        ? "goes with GET only"
           : route->body != RM_BODY_NONE            ? "goes with RM_BODY_NONE only"
           : name_bytes == 0                        ? "has no name"
           : name_bytes > CACHE_NAME_BYTES_MAX      ? "has a name of more than 64 bytes"
           : cache->ttl_ns == 0                     ? "has a ttl of 0"
           : cache->ttl_ns > most_ns                ? "has a ttl of more than thirty years"
           : cache->grace_ns > most_ns              ? "has a grace of more than thirty years"
           : cache->parts != NULL && cache->key != NULL ? "has parts and a function for its key: one of them"
                                                    : NULL;
}

static int compile_route(struct server *server, uint32_t i, char *why) {
    struct rm_route *route = &server->table[i];
    struct cache_route *compiled = &server->cached[i];
    const char *problem = problem_of(route);
    if (problem != NULL) {
        return mistake(route, problem, "", why);
    }
    *compiled = (struct cache_route){ .cache = route->cache, .handler = route->handler };
    compiled->rule.max_age_s = route->cache->max_age_s;
    compiled->rule.authorized = route->cache->authorized;
    rm_key_begin(&compiled->begin, route->cache);
    route->handler = cache_run;
    return compile_parts(&server->routes[i], route, compiled, why);
}

static bool any_caches(const struct server *server) {
    bool any = false;
    for (uint32_t i = 0; i < server->route_count; i++) {
        any |= server->table[i].cache != NULL;
    }
    return any;
}

int cache_compile(struct server *server, char *why) {
    if (!any_caches(server)) {
        return EXIT_FINE;
    }
    size_t bytes = (flights_bytes(CACHE_FLIGHTS) + SERVER_ALIGN - 1) / SERVER_ALIGN * SERVER_ALIGN;
    void *memory = aligned_alloc(SERVER_ALIGN, bytes);
    server->cached = calloc(server->route_count, sizeof *server->cached);
    if (memory == NULL || server->cached == NULL) {
        free(memory);
        snprintf(why, CONFIG_WHY_BYTES, "no memory for the routes that cache");
        return EXIT_CONFIG;
    }
    memset(memory, 0, bytes);
    server->flights_memory = memory;
    server->flights = flights_init(memory, CACHE_FLIGHTS);
    int code = EXIT_FINE;
    for (uint32_t i = 0; i < server->route_count && code == EXIT_FINE; i++) {
        code = server->table[i].cache != NULL ? compile_route(server, i, why) : EXIT_FINE;
    }
    return code;
}

void cache_free(struct server *server) {
    for (uint32_t i = 0; server->cached != NULL && i < server->route_count; i++) {
        free(server->cached[i].vary);
    }
    free(server->cached);
    free(server->flights_memory);
    server->cached = NULL;
    server->flights = NULL;
    server->flights_memory = NULL;
}
