/* Watched descriptors. Two kinds: one that exchanges wait for in a line (rm_wait_fd), and the application's own (rm_watch).
 * Each is one item of a pool and one slot of the ring, from the first wait to RING_CLOSED; a table by descriptor finds those
 * that are open. Periodic timers without a client (rm_every) come from the same pool.
 *
 * A line is armed for what its members want together. Who is served leaves it first; when the line is empty then, the watch
 * is closed before that handler runs, which may close the descriptor. At hang-up or error the watch is closed at once and
 * all of the line go on.
 *
 * Depends on: ring, waits.h. One thread: the worker's. */
#ifndef RM_SERVER_WATCHES_H
#define RM_SERVER_WATCHES_H

#include "ring/ring.h"
#include "ringmain.h"
#include "server/list.h"
#include "server/owner.h"
#include "server/timers.h"

struct wait;
struct worker;

/* Invariant: open <=> in the table; not open => closing, RING_CLOSED follows. Of a line: armed == 0 <=> busy, while open;
 * wanted[i] is the number of members that want bit i. */
struct rm_watch {
    struct owner owner; /* first: OWNER_WATCH */
    int fd;
    struct ring_id id;
    struct worker *worker;
    struct rm_watch *next; /* in the table */
    rm_watch_fn *ready;    /* the application's; NULL: a line of exchanges */
    void *arg;
    struct link line;   /* struct wait.at.line, in the order in which they came */
    uint32_t wanted[2]; /* members that want to read, to write */
    uint8_t armed;      /* what the ring was asked for last */
    bool open;
    bool busy; /* a member has its turn: the line is armed again after it */
};

/* A timer of TIMER_EVERY. */
struct rm_timer {
    struct timer timer;
    struct worker *worker;
    uint64_t every_ns;
    rm_timer_fn *tick;
    void *arg;
};

/* An item of PLAN_WATCHES. */
union watch_item {
    struct rm_watch watch;
    struct rm_timer timer;
};

/* The descriptors that are watched, by number. Invariant: buckets is a power of two. */
struct watch_table {
    struct rm_watch **heads; /* zeroed at first */
    uint32_t buckets;
};

/* Buckets for `count` watches. */
uint32_t watch_table_buckets(uint32_t count);

/* RING_READY with a set of enum ring_ready; RING_CLOSED. */
void watch_ready(struct rm_watch *watch, uint32_t what);
void watch_closed(struct rm_watch *watch);

/* A cancelled wait leaves its line; when nobody waits any more the watch is given up. The wait itself is the caller's. */
void watch_leave(struct wait *wait);

/* A timer of TIMER_EVERY is due. */
void watch_tick(struct rm_timer *timer);

#endif
