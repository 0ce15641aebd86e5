#include "cache_app.h"

#include <netinet/in.h>

#define MS NS_PER_MS

struct cache_item cache_items[CACHE_KEYS];
unsigned cache_ends, cache_reasons;
void (*cache_in_handler)(struct rm_exchange *x);
struct worker *cache_second;
static bool second_gone;

static struct cache_item *item_of(const struct rm_exchange *x) {
    int64_t id = 0;
    assert_true(rm_int(rm_param(x, "id"), &id));
    assert_in_range(id, 0, CACHE_KEYS - 1);
    return &cache_items[id];
}

/* A value of the query, "" when there is none. */
static const char *asked(const struct rm_exchange *x, const char *name, char out[static 32]) {
    struct span value = { "", 0 };
    (void)rm_query_value(x, name, &value);
    snprintf(out, 32, "%.*s", (int)value.len, value.data);
    return out;
}

/* What a handler remembers while it sleeps. */
struct seen {
    unsigned version;
};

static char lent[200000];

static void write_body(struct rm_exchange *x, size_t bytes) {
    char text[64];
    const struct seen *seen = rm_state(x);
    int len = snprintf(text, sizeof text, "%.*s v%u", (int)rm_param(x, "id").len, rm_param(x, "id").data, seen->version);
    rm_write(x, span_of(text, (size_t)len));
    for (size_t at = (size_t)len; at < bytes; at++) {
        rm_write(x, span_of(&"abcdefghij"[at % 10], 1));
    }
}

static enum rm_step answer(struct rm_exchange *x) {
    char as[32], bytes[32], text[64];
    asked(x, "as", as);
    if (asked(x, "etag", text)[0] != '\0') {
        rm_set_header(x, "ETag", SPAN("\"own\""));
    }
    if (strcmp(as, "404") == 0 || strcmp(as, "503") == 0) {
        return rm_text(x, atoi(as), as);
    }
    if (strcmp(as, "500") == 0) {
        rm_begin(x, 200, "text/plain");
        rm_json_object(x, NULL); /* and leaves it open */
        return RM_DONE;
    }
    if (strcmp(as, "cookie") == 0) {
        rm_set_header(x, "Set-Cookie", SPAN("a=b"));
    }
    if (strcmp(as, "private") == 0) {
        rm_set_header(x, "Cache-Control", SPAN("private"));
    }
    if (strcmp(as, "none") == 0) {
        return RM_DONE;
    }
    if (strcmp(as, "lent") == 0) {
        return rm_lend(x, 200, "text/plain", span_of(lent, sizeof lent), NULL, NULL);
    }
    if (strcmp(as, "stream") == 0) {
        rm_stream(x, 200, "text/plain");
    } else {
        rm_begin(x, 200, "text/plain");
    }
    write_body(x, (size_t)atoi(asked(x, "bytes", bytes)));
    return RM_DONE;
}

static enum rm_step on_end(struct rm_exchange *x) {
    cache_ends++;
    cache_reasons = rm_ended(x);
    char stubborn[32], ended[32];
    if (asked(x, "ended", ended)[0] != '\0') {
        return strcmp(ended, "file") == 0 ? rm_file(x, "text/plain", "/etc/passwd") : rm_text(x, 200, "a part");
    }
    if (asked(x, "stubborn", stubborn)[0] != '\0') {
        rm_sleep(x, 60000 * MS);
        rm_then(x, on_end);
        return RM_PARK;
    }
    return rm_text(x, 503, "ended");
}

static enum rm_step item(struct rm_exchange *x) {
    char ms[32];
    struct cache_item *one = item_of(x);
    one->runs++;
    one->worker = rm_worker_index(rm_worker(x));
    struct seen *seen = rm_alloc(x, sizeof *seen);
    assert_non_null(seen);
    seen->version = one->version;
    rm_set_state(x, seen);
    if (cache_in_handler != NULL) {
        cache_in_handler(x);
    }
    int sleep_ms = atoi(asked(x, "ms", ms));
    if (sleep_ms == 0) {
        return answer(x);
    }
    rm_sleep(x, (uint64_t)sleep_ms * MS);
    rm_on_end(x, asked(x, "deaf", ms)[0] != '\0' ? NULL : on_end);
    rm_then(x, answer);
    return RM_PARK;
}

/* ------------------------------------------------------------------------------------------------------ routes ---- */

static bool own_key(const struct rm_exchange *x, struct rm_key *key) {
    int64_t id;
    if (!rm_int(rm_param(x, "id"), &id) || id == 13) {
        return false;
    }
    rm_key_int(key, id);
    return true;
}

static const char *const by_id[] = { "{id}", NULL };
static const struct rm_cache item_cache = { .name = "item", .ttl_ns = 1000 * MS, .parts = by_id };
static const struct rm_cache grace_cache = { .name = "grace", .ttl_ns = 100 * MS, .grace_ns = 10000 * MS, .parts = by_id };
static const struct rm_cache long_cache = { .name = "long", .ttl_ns = 60000 * MS, .parts = by_id, .max_age_s = 7 };
static const struct rm_cache auth_cache = { .name = "auth", .ttl_ns = 1000 * MS, .parts = by_id, .authorized = true };
static const struct rm_cache lang_cache = { .name = "lang", .ttl_ns = 1000 * MS, .parts = RM_PARTS("{id}", "Accept-Language") };
static const struct rm_cache page_cache = { .name = "page", .ttl_ns = 1000 * MS, .parts = RM_PARTS("{id}", "?page") };
static const struct rm_cache own_cache = { .name = "own", .ttl_ns = 1000 * MS, .key = own_key };
static const struct rm_cache whole_cache = { .name = "whole", .ttl_ns = 1000 * MS };

static void purge_of(struct rm_exchange *x, const struct rm_cache *cache) {
    struct rm_key key;
    rm_key_begin(&key, cache);
    rm_key_span(&key, rm_param(x, "id"));
    rm_purge(rm_worker(x), &key);
}

static enum rm_step purge(struct rm_exchange *x) {
    purge_of(x, &item_cache);
    purge_of(x, &grace_cache);
    purge_of(x, &long_cache);
    return rm_status(x, 204);
}

static enum rm_step change(struct rm_exchange *x) {
    char text[16];
    int len = snprintf(text, sizeof text, "%u", ++item_of(x)->version);
    rm_set_header(x, "X-Version", span_of(text, (size_t)len));
    return purge(x);
}

static const struct rm_route routes[] = {
    { "GET", "/item/{id}", item, .cache = &item_cache },
    { "GET", "/grace/{id}", item, .cache = &grace_cache },
    { "GET", "/long/{id}", item, .cache = &long_cache },
    { "GET", "/auth/{id}", item, .cache = &auth_cache },
    { "GET", "/lang/{id}", item, .cache = &lang_cache },
    { "GET", "/page/{id}", item, .cache = &page_cache },
    { "GET", "/own/{id}", item, .cache = &own_cache },
    { "GET", "/whole/{id}", item, .cache = &whole_cache },
    { "GET", "/plain/{id}", item },
    { "GET", "/metrics", rm_metrics },
    { "GET", "/stats", rm_stats },
    { "POST", "/purge/{id}", purge },
    { "POST", "/change/{id}", change },
    { 0 },
};
const struct rm_app cache_app = { .name = "test", .routes = routes };

/* ------------------------------------------------------------------------------------------------- two workers ---- */

static void turn_second(void *arg, uint64_t until_ns) {
    (void)arg, (void)until_ns;
    for (int i = 0; i < 3 && !second_gone; i++) { /* it polls; the last time it only says when its next deadline is */
        ring_wake(cache_second->ring);
        assert_int_equal(worker_turn(cache_second), 0);
        second_gone = worker_done(cache_second);
    }
}

/* The second one listens at an address of its own, which becomes place 1. */
static void open_second(struct rig *rig) {
    char why[CONFIG_WHY_BYTES];
    struct server *server = &rig->server;
    struct listen_place first = server->places[0];
    struct sockaddr_in *address = (struct sockaddr_in *)(void *)&server->places[0].address.storage;
    address->sin_port = htons(8099);
    cache_second = &server->workers[1];
    assert_int_equal(worker_open(cache_second, server, 1, why), EXIT_FINE);
    assert_int_equal(worker_listen(cache_second, why), EXIT_FINE);
    server->places[1] = server->places[0];
    server->places[0] = first;
    rig->turn_others = turn_second;
    second_gone = false;
}

void cache_open_world(struct rig *rig, const char *line, uint64_t seed, const struct sim_options *options) {
    char text[256];
    memset(cache_items, 0, sizeof cache_items);
    for (size_t i = 0; i < sizeof lent; i++) {
        lent[i] = (char)('a' + i % 26);
    }
    cache_ends = cache_reasons = 0;
    cache_in_handler = NULL;
    snprintf(text, sizeof text, "--workers 2 %s", line);
    rig_open_world(rig, &cache_app, text, seed, options);
    open_second(rig);
}

void cache_open(struct rig *rig, const char *line) {
    struct sim_options options = { 0 };
    cache_open_world(rig, line, 1, &options);
}

void cache_close(struct rig *rig) {
    worker_release(cache_second);
    rig->turn_others = NULL;
    rig_close(rig);
}

const char *cache_get(struct rig *rig, uint32_t place, const char *target) {
    char text[1024];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    struct rig_client *client = rig_connect_to(rig, place);
    rig_send(rig, client, text);
    rig_run(rig, 1);
    for (int i = 0; i < 20000 && client->len == 0; i++) {
        rig_run(rig, 1);
    }
    rig_run(rig, 1);
    rig_drop(rig, client, false);
    rig_run(rig, 1);
    return client->text;
}
