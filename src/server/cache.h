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

#include "mem/flights.h"
#include "mem/store.h"
#include "ringmain.h"
#include "server/list.h"

struct rm_exchange;
struct worker;

enum {
    CACHE_HOLD_MS = 1000, /* a key whose response could not be shared is not waited for */
};

/* What all workers share: made at start when a route caches. */
struct cache {
    struct store *store;
    struct flights *flights;
};

/* Of one worker. */
struct cache_worker {
    struct link waiting;  /* exchanges that wait for a flight */
    bool woken;           /* atomic: set by the leader of a flight that one of them waits for, before ring_wake */
};

/* What a worker counts, besides the store's own figures: counter_add by the worker. */
struct cache_figures {
    uint64_t hits, stale, misses, passed; /* requests to cached routes; passed: that the cache may not answer, or has no key */
    uint64_t not_modified;                /* of hits and stale: 304 */
    uint64_t led, waited, wait_timeouts, alone;
    uint64_t refreshes;                   /* shadows */
    uint64_t stored, unstored;            /* responses of handlers; unstored: not 200, too large, outdated ... */
    uint64_t pinned, copied;              /* bodies of hits, by how they were served */
    uint64_t fetched;                     /* cold objects that a helper brought into RAM first */
    uint64_t purges;
};

/* The first thing that happens to a request of a route that caches, in the place of its handler. Answers, parks, or runs the
 * handler in the end. */
enum rm_step cache_run(struct rm_exchange *x);

/* The exchange's handlers have answered: what was captured is stored, who waits is told, and the response goes its way. Just
 * before http_exchange_finish, for exchanges with x->caching only. */
void cache_finish(struct rm_exchange *x);

/* After RING_WOKEN, and at the end of a turn: exchanges whose flight has ended are due. */
void cache_look(struct worker *worker);

#endif
