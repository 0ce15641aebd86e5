/* Fills in flight: which keys somebody is computing just now, for all workers, so that the others wait instead of computing the
 * same. A key is known by its hash only: two keys with one hash wait for each other in vain and then look for themselves.
 *
 *     (none) --flights_join: LEAD--> running --flights_land--> (none)
 *                                       |  \--flights_fail--> held off --hold-off over--> (none): nobody waits meanwhile
 *                                       \--flights_doom--> doomed: nobody joins it; those who wait stay until it ends. The next
 *                                                          who comes leads a flight of its own
 * A doomed flight that fails leaves no hold-off. Bounded: a hold-off gives its place up to a flight that needs one, the oldest
 * first; with no place left everybody computes for himself. Under a lock of the hash's shard; only at misses.
 * Depends on: mem, pthread mutexes. Any thread. */
#ifndef RM_MEM_FLIGHTS_H
#define RM_MEM_FLIGHTS_H

#include <stdbool.h>
#include <stdint.h>

struct flights;

enum { FLIGHTS_WORKERS_MAX = 256 };

/* A flight as its leader and those who wait know it. */
struct flight {
    uint32_t place;      /* 0 .. places - 1 */
    uint32_t generation; /* never 0 */
};

/* Workers, as a set. */
struct flight_workers {
    uint64_t bits[FLIGHTS_WORKERS_MAX / 64];
};

enum flight_role {
    FLIGHT_LEAD,  /* compute, then flights_land or flights_fail, in any case */
    FLIGHT_WAIT,  /* somebody does: `worker` is told when it has ended */
    FLIGHT_ALONE, /* compute for yourself, with nothing to land: held off, or no place is free */
};

uint64_t flights_bytes(uint32_t places);

/* In `memory` of flights_bytes(), zeroed, 64-byte aligned, kept; `places` a power of two >= 64. The upper bits of a hash choose
 * its shard, which has a sixteenth of the places. */
struct flights *flights_init(void *memory, uint32_t places);

/* `now_ns` is for the hold-off. WAIT and LEAD: *out. */
enum flight_role flights_join(struct flights *flights, uint64_t hash, uint32_t worker, uint64_t now_ns, struct flight *out);

/* For who would compute, but will not wait: true is LEAD, false all else. */
bool flights_lead(struct flights *flights, uint64_t hash, uint64_t now_ns, struct flight *out);

/* Its leader's: what was computed is in the store, or need not be. *wake: the workers that wait for it (the leader's own, too,
 * when it does). The place is free. */
void flights_land(struct flights *flights, struct flight flight, struct flight_workers *wake);

/* Its leader's: what was computed can't be shared. Nobody waits for this key until now_ns + hold_ns. */
void flights_fail(struct flights *flights, struct flight flight, uint64_t now_ns, uint64_t hold_ns,
                  struct flight_workers *wake);

/* The key was invalidated: see above. Nothing when nobody computes it. Ends a hold-off, too. */
void flights_doom(struct flights *flights, uint64_t hash);

/* True when it is running still, doomed or not. Takes no lock. Wakes may be for another flight: who waits asks. */
bool flights_running(const struct flights *flights, struct flight flight);

struct flights_figures {
    uint64_t running, led, waited, alone, failed, doomed;
};
void flights_figures(struct flights *flights, struct flights_figures *out);

#endif
