/* The response cache: what rm_cache of the public header promises, made of the store (mem/store.h), the flights (mem/flights.h)
 * and http's rules (http/cache.h).
 *
 *     request --key--> store --fresh--> answer (copied, or pinned and lent)
 *                        |----in its grace--> answer as it is; who leads the flight runs the handler in a shadow exchange
 *                        |----cold--> its pages are fetched by a helper, then again
 *                        \----miss--> flight: LEAD (look again, token, capture, handler, publish, land) | WAIT (parked; then
 *                                     again) | ALONE (the handler, as if nothing were cached, but stored when it may be)
 *
 * Depends on: exchange.h, waits.h, worker.h, mem, http. One thread: the worker's; store and flights are shared. */
#ifndef RM_SERVER_CACHE_H
#define RM_SERVER_CACHE_H

#include "http/cache.h"
#include "mem/flights.h"
#include "mem/store.h"
#include "ringmain.h"
#include "server/list.h"

struct filing;
struct rm_exchange;
struct server;
struct wait;
struct worker;

enum {
    CACHE_HOLD_MS = 1000,  /* a key whose response could not be shared is not waited for */
    CACHE_FLIGHTS = 4096,  /* of the process, at a time */
    CACHE_PARTS_MAX = 16,  /* of a key */
    CACHE_NAME_BYTES_MAX = 64,
    CACHE_TIME_MAX_S = 30 * 366 * 86400, /* ttl and grace: thirty years */
};

/* ------------------------------------------------------------------------------------------------------ routes ---- */

enum cache_part_kind { CACHE_PARAM, CACHE_QUERY, CACHE_FIELD };

struct cache_part {
    enum cache_part_kind kind;
    uint32_t param; /* CACHE_PARAM: the segment's place among the path's */
    const char *name;
};

/* What is known of a route that caches. Made at start, read-only afterwards. */
struct cache_route {
    const struct rm_cache *cache; /* NULL: it caches nothing */
    rm_handler_fn *handler;       /* the application's: that of the table is cache_run */
    struct http_cache_rule rule;
    char *vary;                   /* what rule.vary points at, or NULL */
    uint32_t part_count;
    struct cache_part parts[CACHE_PARTS_MAX];
    struct rm_key begin; /* with the name in it */
};

/* Looks for routes that cache among server->table, makes server->cached and server->flights of them, and puts cache_run in the
 * place of their handlers. Nothing when there is none. EXIT_FINE, or EXIT_CONFIG with `why`: what is wrong with which route. */
[[gnu::warn_unused_result]] int cache_compile(struct server *server, char *why);
void cache_free(struct server *server);

/* The key of a request. False: it has none, by the word of the application or because it is too long. */
[[gnu::warn_unused_result]] bool cache_key(const struct rm_exchange *x, const struct cache_route *route, struct rm_key *key);

/* ------------------------------------------------------------------------------------------------------ workers ---- */

/* Of one worker. */
struct cache_worker {
    struct link waiting; /* exchanges that wait for a flight: struct caching.line */
    uint64_t waiters;    /* how many: counter_set */
    bool online;         /* as a reader of the store */
    /* Atomic: set by the leader of a flight that one of them waits for, before ring_wake. What others write has lines of
     * its own. */
    __attribute__((aligned(128))) bool woken;
};

/* A body that is being sent from where it lies: an item of PLAN_PINS. */
struct cache_pin {
    struct worker *worker;
    uint32_t record;
};

/* What an exchange keeps that was not answered at once, or whose response is a file, whatever its route; in its workspace. */
struct caching {
    struct rm_exchange *x;
    struct link line;     /* on worker->cache.waiting, while it waits */
    struct wait *wait;    /* likewise */
    struct filing *filing; /* the file that it answers with, from rm_file to the end: file.h */
    struct span key;
    uint64_t hash;
    uint64_t deadline_ns; /* of all its waiting; 0: it has not waited yet */
    struct flight flight; /* that it leads or waits for */
    struct store_token token;
    bool leads;           /* `flight` is its to end: set by flights_join, cleared by whoever ends it */
    bool captures;        /* its handler runs: what it answers may be stored */
    bool fetched;         /* its object was brought into RAM, once */
    struct {
        struct store *store;
        const char *from;
        size_t bytes;
    } fetch;
};

/* What a worker counts, besides the store's own figures: counter_add by the worker. */
struct cache_figures {
    uint64_t hits, stale, misses, passed; /* requests to cached routes; passed: that the cache may not answer, or has no key */
    uint64_t not_modified;                /* of hits and stale: 304 */
    uint64_t led, waited, wait_timeouts, alone;
    uint64_t refused;                     /* 503: too many wait already */
    uint64_t refreshes;                   /* shadows */
    uint64_t stored, unstored;            /* responses of handlers; unstored: not 200, too large, outdated ... */
    uint64_t pinned, copied;              /* bodies of hits, by how they were served */
    uint64_t fetched;                     /* cold objects that a helper brought into RAM first */
    uint64_t purges;
};

void cache_init(struct worker *worker);

/* Around the wait of a turn. `sleeps`: it may take long. */
void cache_before_wait(struct worker *worker, bool sleeps);
void cache_after_wait(struct worker *worker);

/* At the end of a turn: exchanges whose flight has ended are due. */
void cache_look(struct worker *worker);

/* True when a flight that somebody here waits for has ended since. */
static inline bool cache_woken(const struct cache_worker *cache) {
    return __atomic_load_n(&cache->woken, __ATOMIC_RELAXED);
}

/* The worker runs no handler any more: what its exchanges lead ends, and the store does not wait for it. `wakes`: the other
 * workers can be told. */
void cache_leave(struct worker *worker, bool wakes);

/* ---------------------------------------------------------------------------------------------------- exchanges ---- */

/* The first thing that happens to a request of a route that caches, in the place of its handler. Answers, parks, or runs the
 * handler in the end. */
enum rm_step cache_run(struct rm_exchange *x);

/* The exchange's handlers have answered: what was captured is stored, who waits is told. Just before http_exchange_finish, for
 * exchanges with x->caching only. */
void cache_finish(struct rm_exchange *x);

/* The response is streamed: it can't be stored, and nobody needs to wait for its end. */
void cache_stream(struct rm_exchange *x);

/* ------------------------------------------------------------------------------------------------------ fills ---- */

/* Sets x->caching. NULL when the workspace is full. */
[[gnu::warn_unused_result]] struct caching *cache_remember(struct rm_exchange *x, struct span key, uint64_t hash);

/* What a response that lies in a fill is to say: the rule of its route; clients of one that is not captured are to ask each
 * time. */
struct http_cache_rule cache_fill_rule(const struct rm_exchange *x);

/* The exchange's response lies in this fill, with what http_meta_put has written. When it was captured until now, and
 * `storable`, it is published; in any case its client gets it, if there is one. The fill is used up; its flight has ended. */
void cache_answer_fill(struct rm_exchange *x, struct store_fill *fill, bool storable);

/* A WAIT_FLIGHT ends: it leaves the line. */
void cache_wait_ends(struct rm_exchange *x);

#endif
