#include "server/exchange.h"

#include "mem/assert.h"
#include "server/log.h"
#include "server/worker.h"

void exchange_begin(struct rm_exchange *x) {
    x->next = NULL;
    x->state = NULL;
    x->json_depth = 0;
    x->json_filled = 0;
    x->waits = 0;
    x->shed = false;
}

static const struct rm_route *route_of(const struct rm_exchange *x) {
    return &worker_of(x->http.shared)->server->app->routes[x->http.route->index];
}

rm_handler_fn *exchange_handler(const struct rm_exchange *x) {
    return route_of(x)->handler;
}

bool exchange_piece(struct rm_exchange *x, struct span piece) {
    return route_of(x)->piece(x, piece);
}

/* A handler that returned RM_PARK without starting anything, or without saying what comes next. */
static void answer_mistake(struct rm_exchange *x, const char *mistake) {
    if (x->shed) {
        return; /* the wait could not be started: 503, and no mistake of the application's */
    }
    const struct rm_route *route = route_of(x);
    log_line(LOG_ERROR, "the handler of %s %s parked %s: 500", route->method, route->path, mistake);
    http_response_fail(&x->http, 500);
}

/* Goes on in the place of a handler that has answered, but whose timers are still running. */
static enum rm_step do_nothing(struct rm_exchange *x) {
    (void)x;
    return RM_DONE;
}

static void park(struct rm_exchange *x, enum rm_step step) {
    if (step == RM_PARK && x->next == NULL) {
        answer_mistake(x, "without rm_then");
    }
    if (step == RM_DONE || x->next == NULL) {
        x->next = do_nothing;
    }
    counter_add(&worker_of(x->http.shared)->figures.parked, 1);
    http_exchange_park(&x->http);
}

void exchange_run(struct rm_exchange *x, rm_handler_fn *handler) {
    enum rm_step step = handler(x);
    if (x->waits > 0) {
        park(x, step);
        return;
    }
    if (step == RM_PARK) {
        answer_mistake(x, "without starting anything that completes later");
    }
    http_exchange_finish(&x->http);
}

void exchange_waited(struct wait *wait) {
    struct rm_exchange *x = wait->x;
    struct worker *worker = worker_of(x->http.shared);
    pool_give(&worker->pools[PLAN_WAITS], wait);
    rm_assert(x->waits > 0);
    if (--x->waits > 0) {
        return;
    }
    counter_add(&worker->figures.resumed, 1);
    struct http_conn *http = x->http.conn;
    rm_handler_fn *next = x->next;
    x->next = NULL;
    exchange_run(x, next);
    if (http != NULL) {
        conn_resumed(LIST_OWNER(http, struct conn_state, http));
    }
}
