#include "server/waits.h"

#include "mem/assert.h"
#include "server/cache.h"
#include "server/db_query.h"
#include "server/exchange.h"
#include "server/watches.h"
#include "server/worker.h"

void wait_begin(struct wait *wait, struct rm_exchange *x, enum wait_kind kind) {
    wait->kind = (uint8_t)kind;
    wait->x = x;
    wait->next = x->waiting;
    wait->back = &x->waiting;
    if (wait->next != NULL) {
        wait->next->back = &wait->next;
    }
    x->waiting = wait;
    x->waits++;
}

void wait_end(struct wait *wait) {
    struct rm_exchange *x = wait->x;
    struct pool *pools = worker_of(x->http.shared)->pools;
    rm_assert(x->waits > 0);
    rm_assert(*wait->back == wait);
    x->waits--;
    *wait->back = wait->next;
    if (wait->next != NULL) {
        wait->next->back = wait->back;
    }
    switch ((enum wait_kind)wait->kind) {
    case WAIT_FLIGHT:
        cache_wait_ends(x);
        pool_give(&pools[PLAN_WAITS], wait);
        break;
    case WAIT_TIMER:
    case WAIT_DESCRIPTOR: pool_give(&pools[PLAN_WAITS], wait); break;
    case WAIT_JOB: pool_give(&pools[PLAN_OFFLOADS], LIST_OWNER(wait, struct offload, wait)); break;
    case WAIT_QUERY: break; /* its exchange holds it until it has been looked at */
    case WAIT_FILE: break;  /* and this one as long as it has a file */
    }
}

void waits_cancel(struct rm_exchange *x) {
    struct worker *worker = worker_of(x->http.shared);
    for (struct wait *wait = x->waiting, *next; wait != NULL; wait = next) {
        next = wait->next;
        switch ((enum wait_kind)wait->kind) {
        case WAIT_FLIGHT:
        case WAIT_TIMER: timers_cancel(&worker->timers, &wait->timer); break;
        case WAIT_DESCRIPTOR: watch_leave(wait); break;
        case WAIT_QUERY: query_leave(LIST_OWNER(wait, struct rm_query, wait)); break;
        case WAIT_FILE:
        case WAIT_JOB: continue;
        }
        wait_end(wait);
    }
    if (x->flushing) {
        x->flushing = false;
        x->waits--;
    }
}

static void over(struct wait *wait) {
    struct rm_exchange *x = wait->x;
    wait_end(wait);
    exchange_waited(x);
}

/* ---------------------------------------------------------------------------------------------------- timers ---- */

void rm_sleep(struct rm_exchange *x, uint64_t ns) {
    struct worker *worker = worker_of(x->http.shared);
    if (!exchange_may_wait(x, "called rm_sleep from its piece function")) {
        return;
    }
    struct wait *wait = pool_take(&worker->pools[PLAN_WAITS]);
    if (wait == NULL) {
        exchange_shed(x);
        return;
    }
    uint64_t at_ns;
    if (__builtin_add_overflow(worker->now_ns + 1, ns, &at_ns)) { /* + 1: not within the turn that it is asked for */
        at_ns = UINT64_MAX;
    }
    wait->timer = (struct timer){ .kind = TIMER_WAIT };
    timers_set(&worker->timers, &wait->timer, at_ns);
    wait_begin(wait, x, WAIT_TIMER);
}

void wait_timer_due(struct wait *wait) {
    rm_assert(!timer_armed(&wait->timer));
    over(wait);
}

/* ------------------------------------------------------------------------------------------------------ jobs ---- */

/* On a helper thread. */
static void run_job(struct ring_job *job) {
    struct offload *offload = LIST_OWNER(job, struct offload, job);
    offload->run(offload->arg);
}

void wait_offload(struct rm_exchange *x, struct offload *offload, enum wait_kind kind, void (*run)(void *arg), void *arg) {
    offload->owner.kind = OWNER_OFFLOAD;
    offload->run = run;
    offload->arg = arg;
    offload->job = (struct ring_job){ .run = run_job, .user = &offload->owner };
    wait_begin(&offload->wait, x, kind);
    ring_offload(worker_of(x->http.shared)->ring, &offload->job);
}

void rm_offload(struct rm_exchange *x, void (*run)(void *arg), void *arg) {
    struct worker *worker = worker_of(x->http.shared);
    if (!exchange_may_wait(x, "called rm_offload from its piece function")) {
        return;
    }
    struct offload *offload = pool_take(&worker->pools[PLAN_OFFLOADS]);
    if (offload == NULL) {
        exchange_shed(x);
        return;
    }
    wait_offload(x, offload, WAIT_JOB, run, arg);
}

void wait_job_finished(struct offload *offload) {
    over(&offload->wait);
}
