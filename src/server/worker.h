/* A worker: one thread's whole server. It owns a ring, listeners, pools and counters; nothing on its path is
 * shared, and no two workers share a cache line. The same code runs on any backend: a thread of a server, the
 * simulator, a bench.
 *
 *     worker_open(); worker_listen(); while (worker_turn() == 0 && !worker_done()) {}; worker_release();
 *
 * Depends on: all of src/server but main and crew. One thread; worker_drain and worker_wake from any. */
#ifndef RM_SERVER_WORKER_H
#define RM_SERVER_WORKER_H

#include "http/http.h"
#include "ring/ring.h"
#include "mem/counter.h"
#include "server/cache.h"
#include "server/conn.h"
#include "server/observe.h"
#include "server/plan.h"
#include "server/server.h"
#include "server/stream.h"
#include "server/timers.h"
#include "server/watches.h"

enum { WORKER_ALIGN = 128 }; /* two cache lines: processors fetch neighbours in pairs */

struct db;

struct listener {
    struct owner owner; /* first */
    struct ring_id id;
    bool open;      /* until its RING_CLOSED */
    bool admin;     /* its connections are served our own routes only */
    uint32_t place; /* in server->places */
};

/* What a worker says about itself, apart from its ring's counters. Written by the worker with counter_add and
 * counter_set, read by any with counter_read. */
struct worker_figures {
    /* counted as it happens */
    uint64_t accepted;    /* connections */
    uint64_t closed;      /* connections */
    uint64_t shed;        /* connections that got 503: few slots were left, or the process had max_connections */
    uint64_t accepted_at[CONFIG_LISTENERS_MAX]; /* connections by place */
    uint64_t refused;     /* connections that were reset: no slot was left */
    uint64_t dead;        /* connections that ended with an error */
    uint64_t timeouts[4]; /* connections by enum http_phase: idle, head, body; [3]: a send that is not taken */
    uint64_t lingered;    /* connections that were closed the slow way */
    uint64_t parked;      /* exchanges, each time */
    uint64_t resumed;
    uint64_t abandoned;   /* exchanges whose client had gone when they ended */
    uint64_t body_bytes_in, body_bytes_out;
    uint64_t log_lines, log_bytes; /* handed to the access log */
    uint64_t log_dropped;          /* lines that there was no room for */
    uint64_t log_wakes;            /* times its thread had to be woken: a write(2) each */
    struct cache_figures cached;
    /* copied from their owners at the end of each turn */
    uint64_t requests;
    uint64_t responses[6]; /* http_shared */
    uint64_t head_copies;
    uint64_t carries_used;
    struct {
        uint64_t in_use, low_water, refused;
    } pools[PLAN_POOLS_COUNT];
};

enum worker_life { WORKER_SERVING, WORKER_DRAINING, WORKER_LEAVING }; /* LEAVING: only admin connections are left */

struct worker {
    /* every turn */
    struct ring *ring;
    uint64_t now_ns; /* ring_now of this turn */
    struct server *server;
    struct streams streams;
    struct timers timers;
    struct http_shared http;
    struct observer observer;
    struct link open;   /* connections: struct conn_state.open */
    struct link again;  /* those with requests left over from this turn: struct conn_state.again */
    struct link due;    /* exchanges that are run at the end of this turn: struct rm_exchange.parked */
    struct link parked; /* those that wait, likewise */
    uint32_t turn;      /* counts worker_turn */
    uint32_t polite_turn; /* the last one in which somebody was served who is not greedy */
    struct watch_table watches;
    struct pool pools[PLAN_POOLS_COUNT];
    int64_t date_seconds; /* of http.date */
    bool accepting;       /* false: ring_accept(off) until slots return */
    uint8_t life;         /* enum worker_life */
    struct db *db;        /* NULL: there is none */
    struct store *store;  /* the server's; NULL: no route caches */
    uint64_t timers_late_ns; /* how late a connection's timer may be: TIMERS_GRID_NS, 0 while draining */
    struct worker_figures figures;
    struct cache_worker cache;

    /* start and end */
    uint32_t index;
    uint64_t started_ns;     /* ring_now and */
    int64_t started_seconds; /* ring_wall_seconds of worker_open: its first turn may be much later */
    uint32_t listener_count;
    struct listener listeners[CONFIG_LISTENERS_MAX];
    uint32_t admin_conns; /* open connections of admin listeners */
    void *state; /* the application's */
    struct timer drain_timer;
    bool drain_over;     /* the drain's time is up */
    bool started;        /* the application's worker_start was called and is fine, or there is none */
    uint64_t mistake_ns; /* when a mistake of the application was logged last */
    struct slab slab;
    void *db_memory[3]; /* of the plan: PLAN_DB and behind it */
    struct ring_report report;
} __attribute__((aligned(WORKER_ALIGN)));

_Static_assert(sizeof(struct worker) % WORKER_ALIGN == 0, "no two workers share a cache line");

/* Maps the slab, opens the ring for the calling thread, and calls the application's worker_start. EXIT_FINE, or an exit code
 * with `why` (CONFIG_WHY_BYTES); then nothing is left open. */
[[gnu::warn_unused_result]] int worker_open(struct worker *worker, struct server *server, uint32_t index, char *why);

/* Listens on every address: from now on clients can connect; they are accepted in turns. EXIT_FINE, or an exit code with
 * `why`; worker_release must follow in any case. */
[[gnu::warn_unused_result]] int worker_listen(struct worker *worker, char *why);

/* One turn: waits, handles all events, runs timers, sends. 0, or what ring_wait says when the ring is broken. */
[[gnu::warn_unused_result]] int32_t worker_turn(struct worker *worker);

/* After server_drain: all connections and listeners are closed, or the drain's time is up. */
bool worker_done(const struct worker *worker);

/* Closes what is open, waits for offloaded jobs, gives back what responses were lent, calls the application's worker_stop when
 * its worker_start was fine, and releases the slab. No other thread may look at the worker any more. */
void worker_release(struct worker *worker);

/* Accepts no more, or again, by the free slots. */
void worker_pace_accept(struct worker *worker);

/* Brings the copied figures up to date. */
void worker_publish(struct worker *worker);

/* A worker as the application knows it. */
static inline struct rm_worker *worker_wrap(struct worker *worker) {
    return (struct rm_worker *)(void *)worker;
}

static inline struct worker *worker_unwrap(const struct rm_worker *worker) {
    return (struct worker *)(uintptr_t)worker;
}

/* The worker of an exchange. */
static inline struct worker *worker_of(const struct http_shared *shared) {
    return (struct worker *)(void *)((char *)(uintptr_t)shared - offsetof(struct worker, http));
}

#endif
