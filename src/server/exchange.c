#include "server/exchange.h"

#include "mem/assert.h"
#include "server/log.h"
#include "server/worker.h"

void exchange_begin(struct rm_exchange *x) {
    x->next = NULL;
    x->state = NULL;
    json_begin(&x->json, &x->http);
    x->waits = 0;
    x->shed = false;
    x->running = false;
}

static const struct rm_route *route_of(const struct rm_exchange *x) {
    return &worker_of(x->http.shared)->server->table[x->http.route->index];
}

rm_handler_fn *exchange_handler(const struct rm_exchange *x) {
    return route_of(x)->handler;
}

bool exchange_piece(struct rm_exchange *x, struct span piece) {
    return route_of(x)->piece(x, piece);
}

void exchange_mistake(struct rm_exchange *x, const char *what) {
    struct worker *worker = worker_of(x->http.shared);
    if (worker->mistake_ns == 0 || worker->now_ns - worker->mistake_ns >= NS_PER_SECOND) {
        worker->mistake_ns = worker->now_ns;
        const struct rm_route *route = route_of(x);
        log_line(LOG_ERROR, "%s %s: the handler %s: 500", route->method, route->path, what);
    }
    http_response_fail(&x->http, 500);
}

/* Goes on in the place of a handler that has answered, but whose timers are still running. */
static enum rm_step do_nothing(struct rm_exchange *x) {
    (void)x;
    return RM_DONE;
}

static void park(struct rm_exchange *x, enum rm_step step) {
    if (step == RM_PARK && x->next == NULL) {
        exchange_mistake(x, "parked without rm_then");
    }
    if (step == RM_DONE || x->next == NULL) {
        x->next = do_nothing;
    }
    counter_add(&worker_of(x->http.shared)->figures.parked, 1);
    http_exchange_park(&x->http);
}

void exchange_run(struct rm_exchange *x, rm_handler_fn *handler) {
    rm_assert(handler != NULL);
    rm_assert(!x->running);
    x->running = true;
    enum rm_step step = handler(x);
    x->running = false;
    if (x->waits > 0) {
        park(x, step);
        return;
    }
    if (step == RM_PARK && !x->shed) { /* when a wait could not be started, it is 503 and no mistake */
        exchange_mistake(x, "parked without starting anything that completes later");
    }
    if (x->json.depth > 0 && !x->http.failed) {
        exchange_mistake(x, "left a JSON object or array open");
    } else if (x->http.failed && x->http.status == 500) {
        exchange_mistake(x, "built a response that cannot be sent");
    }
    http_exchange_finish(&x->http);
}

void exchange_waited(struct wait *wait) {
    struct rm_exchange *x = wait->x;
    rm_assert(!timer_armed(&wait->timer));
    rm_assert(!x->running);
    struct worker *worker = worker_of(x->http.shared);
    pool_give(&worker->pools[PLAN_WAITS], wait);
    rm_assert(x->waits > 0);
    if (--x->waits > 0) {
        return;
    }
    counter_add(&worker->figures.resumed, 1);
    struct http_conn *http = x->http.conn;
    rm_handler_fn *next = x->next;
    rm_assert(next != NULL); /* park() has seen to that */
    x->next = NULL;
    exchange_run(x, next);
    if (http != NULL) {
        conn_resumed(LIST_OWNER(http, struct conn_state, http));
    }
}
