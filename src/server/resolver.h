/* Looks up the name of the database's host, on a thread of its own: getaddrinfo(3) takes half a minute when no name server
 * answers, and can't be called off. Neither a helper, of which there are few, nor the end of the process waits for it.
 *
 * All who ask while a lookup is under way have its answer. An answer is not kept: who asks later wants a new one.
 *
 * Depends on: ring.h (addresses, ring_wake), pg_settings.h, list.h. Who asks does so on the thread of its ring; any number of
 * them may. */
#ifndef RM_SERVER_RESOLVER_H
#define RM_SERVER_RESOLVER_H

#include <stdatomic.h>

#include "pg/pg_settings.h"
#include "ring/ring.h"
#include "server/list.h"

enum {
    RESOLVED_MAX = 8,         /* addresses of a name; more are not tried */
    RESOLVED_WHY_BYTES = 200,
};

/* Where a host is. */
struct resolved {
    uint32_t count;
    struct ring_address addresses[RESOLVED_MAX];
    char why[RESOLVED_WHY_BYTES]; /* none: why not */
};

/* Appends an address, if there is room. */
void resolved_add(struct resolved *resolved, const void *address, size_t len);

/* A question. Zeroed, it is none. From resolver_ask on it stays where it is until it is answered or left. */
struct resolver_ask {
    struct link line;
    struct ring *ring;
    struct resolved *out;
    atomic_bool answered; /* set with the lock, so that who has it knows that the ring has been woken */
};

struct resolver;

/* Looks up where settings->host is, here and now: who has no threads. Writes *out: addresses, or why there are none. */
void resolver_look_up(const struct pg_settings *settings, struct resolved *out);

/* Starts the thread; copies the host's name and port. NULL with errno: there is no memory, or no thread. */
[[gnu::warn_unused_result]] struct resolver *resolver_start(const struct pg_settings *settings);

/* Nobody asks any more: all questions are answered or were left. A lookup that is under way is left alone; its thread ends, and
 * releases what it has, when it is over. NULL: nothing happens. */
void resolver_stop(struct resolver *resolver);

/* Keeps `ask` and `out` until it is answered or left. When it is answered the ring is woken: *out is written then, and
 * resolver_answered says true; neither is touched any more. */
void resolver_ask(struct resolver *resolver, struct resolver_ask *ask, struct ring *ring, struct resolved *out);

[[gnu::warn_unused_result]] bool resolver_answered(struct resolver *resolver, struct resolver_ask *ask);

/* The answer is not wanted any more, whether it is there or not. Afterwards neither the ring nor the memory is touched. */
void resolver_leave(struct resolver *resolver, struct resolver_ask *ask);

#endif
