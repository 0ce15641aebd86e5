#include "server/cache.h"

#include <string.h>

#include "mem/assert.h"
#include "server/exchange.h"
#include "server/file.h"
#include "server/waits.h"
#include "server/worker.h"

static const struct cache_route *route_of(const struct rm_exchange *x) {
    return &worker_of(x->http.shared)->server->cached[x->http.route->index];
}

/* -------------------------------------------------------------------------------------------- out of the store ---- */

static void unpin(void *arg) {
    struct cache_pin *pin = arg;
    struct worker *worker = pin->worker;
    store_unpin(worker->store, pin->record);
    pool_give(&worker->pools[PLAN_PINS], pin);
}

/* The body as it lies there. False when it can't be pinned. */
static bool lend_body(struct rm_exchange *x, const struct store_object *object) {
    struct worker *worker = worker_of(x->http.shared);
    struct cache_pin *pin = pool_take(&worker->pools[PLAN_PINS]);
    if (pin == NULL) {
        return false;
    }
    if (!store_pin(worker->store, object)) {
        pool_give(&worker->pools[PLAN_PINS], pin);
        return false;
    }
    *pin = (struct cache_pin){ worker, object->record };
    counter_add(&worker->figures.cached.pinned, 1);
    http_response_lend(&x->http, object->body, unpin, pin);
    return true;
}

/* False when the mapping has a hole. Without a block for all of it the response has failed: 503. */
static bool copy_body(struct rm_exchange *x, const struct store_object *object) {
    struct worker *worker = worker_of(x->http.shared);
    const char *from = object->body.data;
    uint32_t n;
    for (size_t left = object->body.len; left > 0; from += n, left -= n) {
        n = left < HTTP_RESERVE_BYTES_MAX ? (uint32_t)left : (uint32_t)HTTP_RESERVE_BYTES_MAX;
        char *room = http_stored_reserve(&x->http, n);
        if (room == NULL) {
            return true;
        }
        if (!store_copy(worker->store, room, from, n)) {
            return false;
        }
        http_stored_commit(&x->http, n);
    }
    counter_add(&worker->figures.cached.copied, 1);
    return true;
}

static bool put_body(struct rm_exchange *x, const struct store_object *object) {
    return (object->body.len > STORE_COPY_BYTES_MAX && lend_body(x, object)) || copy_body(x, object);
}

static void count_answer(struct rm_exchange *x, enum http_cache_state state) {
    struct cache_figures *figures = &worker_of(x->http.shared)->figures.cached;
    if (state == HTTP_CACHE_HIT) {
        counter_add(&figures->hits, 1);
    } else if (state == HTTP_CACHE_STALE) {
        counter_add(&figures->stale, 1);
    } else {
        return;
    }
    if (x->http.status == 304) {
        counter_add(&figures->not_modified, 1);
    }
}

/* False when it can't be read: then nothing was written. */
static bool answer_as(struct rm_exchange *x, const struct store_object *object, enum http_cache_state state) {
    struct worker *worker = worker_of(x->http.shared);
    char meta[HTTP_META_BYTES_MAX];
    struct http_stored stored;
    if (object->meta.len > sizeof meta || !store_copy(worker->store, meta, object->meta.data, object->meta.len) ||
        !http_meta_read(span_of(meta, object->meta.len), &stored) || stored.body_bytes != object->body.len) {
        return false;
    }
    stored.age_ms = object->age_ms;
    stored.state = state;
    if (http_stored_begin(&x->http, &stored) == HTTP_STORED_FOLLOWS && !put_body(x, object)) {
        http_stored_undo(&x->http);
        return false;
    }
    count_answer(x, state);
    return true;
}

/* Not of one that is cold: it may be another key's. */
static bool answer(struct rm_exchange *x, const struct store_object *object) {
    rm_assert(!object->cold);
    return answer_as(x, object, object->fresh_ms > 0 ? HTTP_CACHE_HIT : HTTP_CACHE_STALE);
}

/* ------------------------------------------------------------------------------------------------------ flights ---- */

static void wake(struct worker *worker, uint32_t index) {
    struct worker *other = &worker->server->workers[index];
    bool told = __atomic_exchange_n(&other->cache.woken, true, __ATOMIC_ACQ_REL);
    if (!told && other != worker) {
        ring_wake(other->ring);
    }
}

static void wake_all(struct worker *worker, const struct flight_workers *set) {
    for (uint32_t i = 0; i < FLIGHTS_WORKERS_MAX / 64; i++) {
        for (uint64_t bits = set->bits[i]; bits != 0; bits &= bits - 1) {
            wake(worker, 64 * i + (uint32_t)__builtin_ctzll(bits));
        }
    }
}

/* The only way to end a flight. */
static void end_flight(struct rm_exchange *x, bool well, bool wakes) {
    struct worker *worker = worker_of(x->http.shared);
    struct flights *flights = worker->server->flights;
    struct flight_workers set;
    rm_assert(x->caching->leads);
    x->caching->leads = false;
    if (well) {
        flights_land(flights, x->caching->flight, &set);
    } else {
        flights_fail(flights, x->caching->flight, worker->now_ns, CACHE_HOLD_MS * NS_PER_MS, &set);
    }
    if (wakes) {
        wake_all(worker, &set);
    }
}

/* ------------------------------------------------------------------------------------------------ the slow ways ---- */

/* What is needed of the request later. */
struct caching *cache_remember(struct rm_exchange *x, struct span key, uint64_t hash) {
    struct caching *caching = arena_take(&x->http.workspace, sizeof *caching);
    struct span copy = caching == NULL ? span_of(NULL, 0) : arena_copy(&x->http.workspace, key);
    if (copy.data == NULL) {
        return NULL;
    }
    *caching = (struct caching){ .x = x, .key = copy, .hash = hash };
    list_init(&caching->line);
    x->caching = caching;
    return caching;
}

static enum rm_step pass(struct rm_exchange *x) {
    counter_add(&worker_of(x->http.shared)->figures.cached.passed, 1);
    return route_of(x)->handler(x);
}

/* What the handler answers may be stored. The token is older than all that it will read. */
static enum rm_step run_handler(struct rm_exchange *x) {
    struct caching *caching = x->caching;
    caching->token = store_token(worker_of(x->http.shared)->store, caching->hash);
    caching->captures = true;
    x->end = NULL;
    x->told = 0; /* it has not asked yet */
    http_response_capture(&x->http);
    return route_of(x)->handler(x);
}

static bool look_up(const struct rm_exchange *x, struct store_object *object) {
    struct worker *worker = worker_of(x->http.shared);
    return store_get(worker->store, worker->index, x->caching->key, x->caching->hash, worker->now_ns, object);
}

static enum rm_step again(struct rm_exchange *x);

/* On a helper thread. */
static void fetch(void *arg) {
    const struct caching *caching = arg;
    (void)store_populate(caching->fetch.store, caching->fetch.from, caching->fetch.bytes);
}

/* True when its pages are not in RAM, and a helper brings them. */
static bool begin_fetch(struct rm_exchange *x, const struct store_object *object) {
    struct worker *worker = worker_of(x->http.shared);
    struct caching *caching = x->caching;
    if (!object->cold || caching->fetched || worker->pools[PLAN_OFFLOADS].free_count == 0 ||
        store_resident(worker->store, object)) {
        return false;
    }
    caching->fetched = true;
    struct span place = store_place(worker->store, object);
    caching->fetch.store = worker->store;
    caching->fetch.from = place.data;
    caching->fetch.bytes = place.len;
    counter_add(&worker->figures.cached.fetched, 1);
    rm_offload(x, fetch, caching);
    rm_then(x, again);
    return true;
}

/* Runs in a shadow: it has no client. */
static enum rm_step refresh(struct rm_exchange *x) {
    struct store_object object;
    if (look_up(x, &object) && !object.cold && object.fresh_ms > 0) { /* somebody has landed meanwhile */
        end_flight(x, true, true);
        return RM_DONE;
    }
    return run_handler(x);
}

/* Its handler runs at the end of the turn: not within another one. */
static void begin_shadow(struct rm_exchange *x, struct flight flight) {
    struct worker *worker = worker_of(x->http.shared);
    struct http_exchange *http = http_exchange_shadow(&x->http);
    struct rm_exchange *shadow = http == NULL ? NULL : exchange_of(http);
    if (shadow != NULL) {
        exchange_begin(shadow);
        if (cache_remember(shadow, x->caching->key, x->caching->hash) == NULL) {
            http_exchange_finish(http);
            shadow = NULL;
        }
    }
    x->caching->flight = flight;
    x->caching->leads = true;
    if (shadow == NULL) {
        end_flight(x, true, true);
        return;
    }
    shadow->caching->flight = flight;
    shadow->caching->leads = true;
    x->caching->leads = false;
    counter_add(&worker->figures.cached.refreshes, 1);
    exchange_begin_due(shadow, refresh);
}

/* Somebody has to replace what was just answered. */
static void begin_refresh(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    struct flight flight;
    if (flights_lead(worker->server->flights, x->caching->hash, worker->now_ns, &flight)) {
        counter_add(&worker->figures.cached.led, 1);
        begin_shadow(x, flight);
    }
}

static enum rm_step begin_wait(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    struct caching *caching = x->caching;
    const struct config *config = worker->server->config;
    struct wait *wait = worker->cache.waiters < config->cache_waiters ? pool_take(&worker->pools[PLAN_WAITS]) : NULL;
    if (wait == NULL) {
        counter_add(&worker->figures.cached.refused, 1);
        exchange_shed(x);
        return RM_DONE;
    }
    if (caching->deadline_ns == 0) {
        caching->deadline_ns = worker->now_ns + config->cache_wait_ns;
    }
    counter_add(&worker->figures.cached.waited, 1);
    wait->timer = (struct timer){ .kind = TIMER_WAIT };
    timers_set(&worker->timers, &wait->timer, caching->deadline_ns);
    wait_begin(wait, x, WAIT_FLIGHT);
    caching->wait = wait;
    list_append(&worker->cache.waiting, &caching->line);
    counter_add(&worker->cache.waiters, 1);
    x->end = again; /* a client that leaves waits no more */
    rm_then(x, again);
    return RM_PARK;
}

void cache_wait_ends(struct rm_exchange *x) {
    list_remove(&x->caching->line);
    uint64_t *waiters = &worker_of(x->http.shared)->cache.waiters;
    counter_set(waiters, *waiters - 1);
    x->caching->wait = NULL;
}

static enum rm_step lead(struct rm_exchange *x) {
    struct store_object object;
    x->caching->leads = true;
    counter_add(&worker_of(x->http.shared)->figures.cached.led, 1);
    if (look_up(x, &object) && !object.cold && object.fresh_ms > 0 && answer(x, &object)) { /* somebody has landed since */
        end_flight(x, true, true);
        return RM_DONE;
    }
    counter_add(&worker_of(x->http.shared)->figures.cached.misses, 1);
    return run_handler(x);
}

static enum rm_step miss(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    struct caching *caching = x->caching;
    bool late = caching->deadline_ns != 0 && worker->now_ns >= caching->deadline_ns;
    enum flight_role role = FLIGHT_ALONE;
    if (late) {
        counter_add(&worker->figures.cached.wait_timeouts, 1);
    } else {
        role = flights_join(worker->server->flights, caching->hash, worker->index, worker->now_ns, &caching->flight);
    }
    switch (role) {
    case FLIGHT_LEAD: return lead(x);
    case FLIGHT_WAIT: return begin_wait(x);
    case FLIGHT_ALONE: break;
    }
    counter_add(&worker->figures.cached.misses, 1);
    counter_add(&worker->figures.cached.alone, 1);
    return run_handler(x);
}

/* What is cold is not known to be the key's yet, and it is not looked at before its pages are there, if that can be helped. */
static bool confirm(const struct rm_exchange *x, struct store_object *object) {
    struct worker *worker = worker_of(x->http.shared);
    object->cold = object->cold && !store_confirm(worker->store, object, x->caching->key, worker->now_ns);
    return !object->cold;
}

/* With what was found at first, or once more from the start. */
static enum rm_step serve(struct rm_exchange *x, struct store_object *object) {
    if (object == NULL) {
        return miss(x);
    }
    if (begin_fetch(x, object)) {
        return RM_PARK;
    }
    bool fresh = object->fresh_ms > 0;
    if (!confirm(x, object) || !answer(x, object)) {
        return miss(x);
    }
    if (!fresh) {
        begin_refresh(x);
    }
    return RM_DONE;
}

/* Its flight has ended, or its time is up, or there is a reason to end. */
static enum rm_step again(struct rm_exchange *x) {
    struct store_object object;
    x->end = NULL;
    if (x->http.conn == NULL) {
        return RM_DONE;
    }
    return serve(x, look_up(x, &object) ? &object : NULL);
}

[[gnu::noinline]] static enum rm_step run_slowly(struct rm_exchange *x, struct span key, uint64_t hash,
                                                 struct store_object *object) {
    return cache_remember(x, key, hash) == NULL ? pass(x) : serve(x, object);
}

enum rm_step cache_run(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    const struct cache_route *route = route_of(x);
    struct rm_key key;
    if (!http_cache_serves(&x->http, &route->rule) || !cache_key(x, route, &key)) {
        return pass(x);
    }
    struct span bytes = { key.bytes, key.len };
    uint64_t hash = store_hash(worker->store, bytes);
    struct store_object object;
    bool found = store_get(worker->store, worker->index, bytes, hash, worker->now_ns, &object);
    if (found && !object.cold && object.fresh_ms > 0 && answer(x, &object)) {
        return RM_DONE;
    }
    return run_slowly(x, bytes, hash, found ? &object : NULL);
}

/* -------------------------------------------------------------------------------------------- into the store ---- */

static bool fill_body(struct store *store, const struct store_fill *fill, const struct chain *body) {
    char *to = fill->body;
    for (const struct block *block = body->head; block != NULL; block = block->next) {
        uint32_t n = block->len - block->start;
        if (!store_fill_write(store, to, block->data + block->start, n)) {
            return false;
        }
        to += n;
    }
    rm_assert(to == fill->body + fill->body_len);
    return true;
}

static enum store_result keep(struct rm_exchange *x, const struct http_captured *captured, struct span etag) {
    const struct cache_route *route = route_of(x);
    struct caching *caching = x->caching;
    struct worker *worker = worker_of(x->http.shared);
    struct store *store = worker->store;
    uint32_t meta_bytes = http_meta_bytes(captured, &route->rule, etag);
    char meta[HTTP_META_BYTES_MAX];
    struct store_fill fill;
    if (meta_bytes == 0 || captured->body_bytes > UINT32_MAX) {
        return STORE_TOO_LARGE;
    }
    http_meta_put(captured, &route->rule, etag, meta);
    enum store_result result =
        store_reserve(store, caching->key, caching->hash, meta_bytes, (uint32_t)captured->body_bytes, &fill);
    if (result != STORE_OK) {
        return result;
    }
    if (!store_fill_write(store, fill.meta, meta, meta_bytes) || !fill_body(store, &fill, captured->body)) {
        store_abandon(store, &fill);
        return STORE_BROKEN;
    }
    return store_publish(store, &fill, caching->token, route->cache->ttl_ns, route->cache->grace_ns, worker->now_ns);
}

/* What was outdated by a purge is not worth keeping, but the next one who computes it is worth waiting for. */
static bool can_be_shared(enum store_result result) {
    return result == STORE_OK || result == STORE_OUTDATED;
}

/* What was captured is stored or not: nobody needs to wait any longer. */
static void end_capture(struct rm_exchange *x, enum store_result result) {
    struct caching *caching = x->caching;
    struct cache_figures *figures = &worker_of(x->http.shared)->figures.cached;
    counter_add(result == STORE_OK ? &figures->stored : &figures->unstored, 1);
    caching->captures = false;
    if (caching->leads) {
        end_flight(x, can_be_shared(result), true);
    }
}

/* Else it may have been told that its end has come before its time, and have answered with what there was. */
static bool is_whole(const struct rm_exchange *x) {
    return x->told == 0 && (rm_ended(x) & (RM_END_GONE | RM_END_HALF)) == 0;
}

void cache_finish(struct rm_exchange *x) {
    struct caching *caching = x->caching;
    if (caching->filing != NULL) {
        file_finish(x);
    }
    if (!caching->captures) {
        rm_assert(!caching->leads);
        return;
    }
    const struct cache_route *route = route_of(x);
    char made[HTTP_ETAG_MADE_BYTES];
    struct span etag = { made, sizeof made };
    struct http_captured captured;
    bool storable = is_whole(x) && http_captured(&x->http, &route->rule, &captured);
    enum store_result result = STORE_TOO_LARGE;
    if (storable) {
        http_etag_make(captured.body, made);
        result = keep(x, &captured, etag);
    }
    end_capture(x, result);
    http_response_uncapture(&x->http, storable ? HTTP_CACHE_MISS : HTTP_CACHE_NONE, &route->rule, etag);
}

void cache_stream(struct rm_exchange *x) {
    if (x->caching->captures && !x->http.failed) { /* what has failed may be captured still: cache_finish lets it go */
        end_capture(x, STORE_TOO_LARGE);
    }
}

struct http_cache_rule cache_fill_rule(const struct rm_exchange *x) {
    const struct cache_route *route = route_of(x);
    if (x->caching->captures) {
        return route->rule;
    }
    return (struct http_cache_rule){ .vary = route->rule.vary };
}

void cache_answer_fill(struct rm_exchange *x, struct store_fill *fill, bool storable) {
    struct worker *worker = worker_of(x->http.shared);
    const struct rm_cache *cache = route_of(x)->cache;
    struct caching *caching = x->caching;
    struct store_object object = store_fill_object(worker->store, fill);
    bool captured = caching->captures;
    enum store_result result = STORE_TOO_LARGE;
    storable &= captured && is_whole(x);
    if (storable) {
        result = store_publish(worker->store, fill, caching->token, cache->ttl_ns, cache->grace_ns, worker->now_ns);
    } else {
        store_retire(worker->store, fill);
    }
    if (captured) {
        end_capture(x, result);
        http_response_uncapture(&x->http, HTTP_CACHE_NONE, NULL, span_of(NULL, 0));
    }
    x->http.extra_fields = span_of(NULL, 0); /* they are in the meta */
    if (x->http.conn != NULL && !answer_as(x, &object, storable ? HTTP_CACHE_MISS : HTTP_CACHE_NONE)) {
        http_response_fail(&x->http, 500); /* the mapping has a hole */
    }
}

/* ------------------------------------------------------------------------------------------------------ workers ---- */

void cache_init(struct worker *worker) {
    list_init(&worker->cache.waiting);
    worker->store = worker->server->store;
}

void cache_before_wait(struct worker *worker, bool sleeps) {
    if (!worker->cache.online) {
        return;
    }
    if (sleeps) {
        worker->cache.online = false;
        store_offline(worker->store, worker->index);
    } else {
        store_quiet(worker->store, worker->index);
    }
}

void cache_after_wait(struct worker *worker) {
    if (!worker->cache.online) {
        worker->cache.online = true;
        store_online(worker->store, worker->index);
    }
}

void cache_look(struct worker *worker) {
    struct link *waiting = &worker->cache.waiting;
    if (!__atomic_exchange_n(&worker->cache.woken, false, __ATOMIC_ACQ_REL)) {
        return;
    }
    for (struct link *link = waiting->next, *next; link != waiting; link = next) {
        struct caching *caching = LIST_OWNER(link, struct caching, line);
        next = link->next;
        if (!flights_running(worker->server->flights, caching->flight)) {
            timers_cancel(&worker->timers, &caching->wait->timer);
            wait_end(caching->wait);
            exchange_due(caching->x);
        }
    }
}

static void leave_all(const struct link *exchanges, bool wakes) {
    for (struct link *link = exchanges->next; link != exchanges; link = link->next) {
        struct rm_exchange *x = LIST_OWNER(link, struct rm_exchange, parked);
        if (x->caching != NULL && x->caching->leads) {
            end_flight(x, false, wakes);
        }
    }
}

void cache_leave(struct worker *worker, bool wakes) {
    cache_before_wait(worker, true);
    leave_all(&worker->due, wakes);
    leave_all(&worker->parked, wakes);
}
