/* The routes of arena that show what a cache of responses does, without a database:
 *
 *     GET /cached/{n}?bytes=1024      as many bytes that depend on n alone; kept for --cached-ttl
 *     GET /slow/{key}?ms=100          waits, then answers with how often it has done so for this key; kept for 1 s
 *     GET /slow-grace/{key}?ms=100    the same, kept for 1 s and used for 30 s more while another one is made
 *     GET /slow-count/{key}           how often those two have run for a key; not kept
 *
 * Their answers are kept by {n} or {key} alone: what `bytes`, `ms` and these say counts for the first who asks.
 *
 *     bytes=N      the answer is filled up to so many bytes, 4 MiB at most
 *     status=N     the answer's status, 200 to 599
 *     no-store=1   with Cache-Control: no-store */
#ifndef ARENA_CACHE_H
#define ARENA_CACHE_H

#include <ringmain.h>

/* `cache` of these routes. */
extern struct rm_cache cached_cache;
extern const struct rm_cache slow_cache, slow_grace_cache;

enum rm_step cached(struct rm_exchange *x);
enum rm_step slow(struct rm_exchange *x);
enum rm_step slow_count(struct rm_exchange *x);

/* For options: "250ms", "2s", "1m" (at least 1 ms, at most a day; "0" when `zero`). False: it is something else. */
bool cache_read_time(const char *text, bool zero, uint64_t *ns);

/* What the bodies are filled with; before the first request. */
void cache_start(void);

#endif
