/* An application whose routes cache, and that counts what its handlers do; two workers of it on the simulator. */
#ifndef TESTS_CACHE_APP_H
#define TESTS_CACHE_APP_H

#include "server_rig.h"

enum { CACHE_KEYS = 64 };

/* By the number in the path. */
extern struct cache_item {
    unsigned runs;    /* of its handler, begun */
    unsigned version; /* what it answers */
    uint32_t worker;  /* of its last run */
} cache_items[CACHE_KEYS];

extern unsigned cache_ends;   /* calls of rm_on_end's handler */
extern unsigned cache_reasons; /* of the last */
extern void (*cache_in_handler)(struct rm_exchange *x); /* called by a handler between reading its version and its answer */

/* Routes, all with a number {id} that makes the key:
 *   /item/{id}   ttl 1 s                 /grace/{id}  ttl 100 ms, grace 10 s
 *   /long/{id}   ttl 60 s                /auth/{id}   requests with Authorization, too
 *   /lang/{id}   and Accept-Language     /page/{id}   and ?page
 *   /own/{id}    key by a function       /whole/{id}  no parts: path and query
 *   /plain/{id}  not cached
 *   POST /purge/{id}                     purges the key of /item, /grace, /long; POST /change/{id} makes a new version first: X-Version
 * What the query asks for: ms=N sleeps, as=404|500|503|cookie|private|large|stream|abort|lent|none, bytes=N of body,
 * etag=1, at rm_on_end stubborn=1: sleeps on for a minute, ended=1: answers 200, ended=file: a file,
 * else 503; deaf=1: has no rm_on_end. */
extern const struct rm_app cache_app;

/* Two workers: clients of place 0 are the first's, of place 1 the second's. */
void cache_open(struct rig *rig, const char *line);
void cache_open_world(struct rig *rig, const char *line, uint64_t seed, const struct sim_options *options);
void cache_close(struct rig *rig);
extern struct worker *cache_second;

/* One GET and its whole answer. */
const char *cache_get(struct rig *rig, uint32_t place, const char *target);

#endif
