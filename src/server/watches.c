#include "server/watches.h"

#include <errno.h>

#include "mem/assert.h"
#include "server/exchange.h"
#include "server/waits.h"
#include "server/worker.h"

_Static_assert((int)RM_READABLE == (int)RING_READABLE, "one set");
_Static_assert((int)RM_WRITABLE == (int)RING_WRITABLE, "one set");
_Static_assert((int)RM_HANGUP == (int)RING_HANGUP, "one set");
_Static_assert((int)RM_ERROR == (int)RING_ERROR, "one set");

enum { INTERESTS = RM_READABLE | RM_WRITABLE, DEAD = RM_HANGUP | RM_ERROR };

/* ----------------------------------------------------------------------------------------------------- table ---- */

uint32_t watch_table_buckets(uint32_t count) {
    uint32_t buckets = 1;
    while (buckets < count) {
        buckets *= 2;
    }
    return buckets;
}

static struct rm_watch **bucket(struct worker *worker, int fd) {
    return &worker->watches.heads[(uint32_t)fd & (worker->watches.buckets - 1)];
}

static struct rm_watch *find(struct worker *worker, int fd) {
    struct rm_watch *watch = *bucket(worker, fd);
    while (watch != NULL && watch->fd != fd) {
        watch = watch->next;
    }
    return watch;
}

/* Gives the watch up: RING_CLOSED follows, and no RING_READY. */
static void shut(struct rm_watch *watch) {
    rm_assert(watch->open);
    watch->open = false;
    struct rm_watch **link = bucket(watch->worker, watch->fd);
    while (*link != watch) {
        link = &(*link)->next;
    }
    *link = watch->next;
    ring_close(watch->worker->ring, watch->id);
}

/* A watch that the ring knows; NULL with -errno in *error, -ENFILE when none is free. */
static struct rm_watch *start(struct worker *worker, int fd, uint32_t interest, rm_watch_fn *ready, int32_t *error) {
    struct rm_watch *watch = pool_take(&worker->pools[PLAN_WATCHES]);
    if (watch == NULL) {
        *error = -ENFILE;
        return NULL;
    }
    *watch = (struct rm_watch){ .owner = { OWNER_WATCH }, .fd = fd, .worker = worker, .ready = ready };
    list_init(&watch->line);
    *error = ring_watch(worker->ring, fd, interest, ready != NULL, watch, &watch->id);
    if (*error < 0) {
        pool_give(&worker->pools[PLAN_WATCHES], watch);
        return NULL;
    }
    watch->armed = (uint8_t)interest;
    watch->open = true;
    watch->next = *bucket(worker, fd);
    *bucket(worker, fd) = watch;
    return watch;
}

void watch_closed(struct rm_watch *watch) {
    rm_assert(!watch->open);
    rm_assert(list_empty(&watch->line));
    pool_give(&watch->worker->pools[PLAN_WATCHES], watch);
}

/* ------------------------------------------------------------------------------------------------------ line ---- */

static void count_wanted(struct rm_watch *watch, uint32_t interest, int by) {
    watch->wanted[0] += (interest & RM_READABLE) != 0 ? (uint32_t)by : 0;
    watch->wanted[1] += (interest & RM_WRITABLE) != 0 ? (uint32_t)by : 0;
}

static void join(struct rm_watch *watch, struct wait *wait) {
    wait->at.watch = watch;
    list_append(&watch->line, &wait->at.line);
    count_wanted(watch, wait->interest, 1);
}

static void leave(struct wait *wait) {
    list_remove(&wait->at.line);
    count_wanted(wait->at.watch, wait->interest, -1);
}

void watch_leave(struct wait *wait) {
    struct rm_watch *watch = wait->at.watch;
    leave(wait);
    if (watch->open && !watch->busy && list_empty(&watch->line)) {
        shut(watch);
    }
}

static void arm(struct rm_watch *watch) {
    uint32_t interest = (watch->wanted[0] > 0 ? RM_READABLE : 0u) | (watch->wanted[1] > 0 ? RM_WRITABLE : 0u);
    watch->armed = (uint8_t)interest;
    ring_rewatch(watch->worker->ring, watch->id, interest);
}

/* The first who wants one of `what`. */
static struct wait *first_for(struct rm_watch *watch, uint32_t what) {
    for (struct link *link = watch->line.next; link != &watch->line; link = link->next) {
        struct wait *wait = LIST_OWNER(link, struct wait, at.line);
        if ((wait->interest & what) != 0) {
            return wait;
        }
    }
    return NULL;
}

/* A member that has left the line goes on. */
static void serve(struct wait *wait, uint32_t what) {
    struct rm_exchange *x = wait->x;
    x->ready = (uint8_t)what;
    wait_end(wait);
    exchange_waited(x);
}

/* All of them go on; those that come meanwhile get a watch of their own. */
static void serve_all(struct rm_watch *watch, uint32_t what) {
    shut(watch);
    while (!list_empty(&watch->line)) {
        struct wait *wait = LIST_OWNER(watch->line.next, struct wait, at.line);
        leave(wait);
        serve(wait, what);
    }
}

static void serve_one(struct rm_watch *watch, uint32_t what) {
    struct wait *wait = first_for(watch, what);
    if (wait == NULL) { /* who wanted that has been cancelled */
        arm(watch);
        return;
    }
    leave(wait);
    if (list_empty(&watch->line)) {
        shut(watch);
        serve(wait, what);
        return;
    }
    watch->busy = true;
    watch->armed = 0;
    serve(wait, what);
    watch->busy = false;
    if (list_empty(&watch->line)) { /* the others have been cancelled meanwhile */
        shut(watch);
    } else {
        arm(watch);
    }
}

void watch_ready(struct rm_watch *watch, uint32_t what) {
    rm_assert(watch->open);
    if (watch->ready != NULL) {
        watch->ready(watch, what, watch->arg);
    } else if ((what & DEAD) != 0) {
        serve_all(watch, what);
    } else {
        serve_one(watch, what);
    }
}

/* The ring can't be asked for more any more: the line goes on with an error, in a safe place. */
static void fail_line(struct link *line) {
    while (!list_empty(line)) {
        struct wait *wait = LIST_OWNER(line->next, struct wait, at.line);
        struct rm_exchange *x = wait->x;
        list_remove(&wait->at.line);
        x->ready = RM_ERROR;
        wait_end(wait);
        if (x->waits == 0) {
            exchange_due(x);
        }
    }
}

/* A once-watch can't be changed while it is armed: another one takes its place. */
static struct rm_watch *widen(struct rm_watch *old, uint32_t interest, int32_t *error) {
    struct worker *worker = old->worker;
    if (worker->pools[PLAN_WATCHES].free_count == 0) {
        *error = -ENFILE;
        return NULL;
    }
    shut(old);
    struct rm_watch *watch = start(worker, old->fd, old->armed | interest, NULL, error);
    if (watch == NULL) {
        fail_line(&old->line);
        return NULL;
    }
    while (!list_empty(&old->line)) {
        struct wait *wait = LIST_OWNER(old->line.next, struct wait, at.line);
        leave(wait);
        join(watch, wait);
    }
    return watch;
}

/* The open watch of a descriptor, armed for `interest` or to be armed soon. */
static struct rm_watch *line_for(struct worker *worker, int fd, uint32_t interest, int32_t *error) {
    struct rm_watch *watch = find(worker, fd);
    if (watch == NULL) {
        return start(worker, fd, interest, NULL, error);
    }
    if (watch->ready != NULL) {
        *error = -EEXIST;
        return NULL;
    }
    bool enough = watch->busy || (interest & ~(uint32_t)watch->armed) == 0;
    return enough ? watch : widen(watch, interest, error);
}

static bool scarce(int32_t error) {
    return error == -ENFILE || error == -ENOMEM || error == -ENOSPC;
}

void rm_wait_fd(struct rm_exchange *x, int fd, unsigned interest) {
    struct worker *worker = worker_of(x->http.shared);
    if (!exchange_may_wait(x, "called rm_wait_fd from its piece function")) {
        return;
    }
    if (interest == 0 || (interest & ~(unsigned)INTERESTS) != 0) {
        exchange_mistake(x, "called rm_wait_fd for something else than RM_READABLE and RM_WRITABLE");
        return;
    }
    struct wait *wait = pool_take(&worker->pools[PLAN_WAITS]);
    int32_t error = -ENFILE;
    struct rm_watch *watch = wait == NULL ? NULL : line_for(worker, fd, interest, &error);
    if (watch != NULL) {
        wait->interest = (uint8_t)interest;
        join(watch, wait);
        wait_begin(wait, x, WAIT_DESCRIPTOR);
        return;
    }
    if (wait != NULL) {
        pool_give(&worker->pools[PLAN_WAITS], wait);
    }
    if (scarce(error)) {
        exchange_shed(x);
    } else {
        exchange_mistake(x, "called rm_wait_fd for a descriptor that cannot be watched");
    }
}

/* ------------------------------------------------------------------------------------------ without a client ---- */

struct rm_watch *rm_watch(struct rm_worker *rm_worker, int fd, unsigned interest, rm_watch_fn *ready, void *arg) {
    struct worker *worker = worker_unwrap(rm_worker);
    if (ready == NULL || interest == 0 || (interest & ~(unsigned)INTERESTS) != 0 || find(worker, fd) != NULL) {
        return NULL;
    }
    int32_t error;
    struct rm_watch *watch = start(worker, fd, interest, ready, &error);
    if (watch != NULL) {
        watch->arg = arg;
    }
    return watch;
}

void rm_unwatch(struct rm_watch *watch) {
    rm_assert(watch->ready != NULL);
    shut(watch);
}

struct rm_timer *rm_every(struct rm_worker *rm_worker, uint64_t ns, rm_timer_fn *tick, void *arg) {
    struct worker *worker = worker_unwrap(rm_worker);
    uint64_t at_ns;
    if (ns == 0 || tick == NULL || __builtin_add_overflow(worker->now_ns, ns, &at_ns)) {
        return NULL;
    }
    struct rm_timer *timer = pool_take(&worker->pools[PLAN_WATCHES]);
    if (timer == NULL) {
        return NULL;
    }
    *timer = (struct rm_timer){
        .timer = { .kind = TIMER_EVERY }, .worker = worker, .every_ns = ns, .tick = tick, .arg = arg
    };
    timers_set(&worker->timers, &timer->timer, at_ns);
    return timer;
}

/* Armed before the call, which may end it. Periods that have passed already are left out, the rest keep their beat. */
void watch_tick(struct rm_timer *timer) {
    struct worker *worker = timer->worker;
    uint64_t late_ns = worker->now_ns - timer->timer.at_ns;
    uint64_t next_ns = timer->timer.at_ns + (late_ns / timer->every_ns + 1) * timer->every_ns;
    timers_set(&worker->timers, &timer->timer, next_ns);
    timer->tick(timer, timer->arg);
}

void rm_end_timer(struct rm_timer *timer) {
    rm_assert(timer_armed(&timer->timer));
    timers_cancel(&timer->worker->timers, &timer->timer);
    pool_give(&timer->worker->pools[PLAN_WATCHES], timer);
}
