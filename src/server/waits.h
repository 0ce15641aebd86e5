/* What parked exchanges wait for: timers, descriptors (server/watches.h), offloaded jobs, queries (server/db.h), and responses
 * that another exchange computes (server/cache.h). Each is
 * one item of a pool, on the list of its exchange; when it is over its item goes back (a query's stays: it has a result), and
 * the exchange goes on when that was the last one. A flush is one more thing to wait for; it needs no item, see exchange.h.
 * Depends on: exchange.h, ring, timers. One thread: the worker's; only an offloaded function runs on a helper's. */
#ifndef RM_SERVER_WAITS_H
#define RM_SERVER_WAITS_H

#include "ring/ring.h"
#include "server/list.h"
#include "server/owner.h"
#include "server/timers.h"

struct rm_exchange;
struct rm_watch;

enum wait_kind { WAIT_TIMER, WAIT_DESCRIPTOR, WAIT_JOB, WAIT_QUERY, WAIT_FLIGHT, WAIT_FILE };

struct wait {
    struct rm_exchange *x;
    struct wait *next, **back; /* on x->waiting */
    union {
        struct timer timer; /* WAIT_TIMER; WAIT_FLIGHT: its deadline */
        struct {
            struct rm_watch *watch;
            struct link line; /* on watch->line */
        } at; /* WAIT_DESCRIPTOR */
    };
    uint8_t kind;     /* enum wait_kind */
    uint8_t interest; /* WAIT_DESCRIPTOR */
};

_Static_assert(sizeof(struct wait) <= 64, "there are two for each exchange");

/* A job on its way to a helper thread and back. */
struct offload {
    struct owner owner; /* first: OWNER_OFFLOAD, what job.user points at */
    struct wait wait;
    struct ring_job job;
    void (*run)(void *arg);
    void *arg;
};

/* Hands a job over; the exchange waits for it, as for `kind`: WAIT_JOB or WAIT_FILE. */
void wait_offload(struct rm_exchange *x, struct offload *offload, enum wait_kind kind, void (*run)(void *arg), void *arg);

/* Puts a wait on its exchange's list and counts it. */
void wait_begin(struct wait *wait, struct rm_exchange *x, enum wait_kind kind);

/* Takes it off again and gives its item back, but a query's and a file's; it is armed nowhere any more. */
void wait_end(struct wait *wait);

/* Ends every wait of an exchange but its offloaded jobs and reads, which can't be called back. */
void waits_cancel(struct rm_exchange *x);

/* A timer of TIMER_WAIT is due; a job has run, or a read is over (server/file.h). The exchange goes on when it was the last. */
void wait_timer_due(struct wait *wait);
void wait_job_finished(struct offload *offload);

#endif
