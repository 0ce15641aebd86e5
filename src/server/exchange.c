#include "server/exchange.h"

#include "mem/assert.h"
#include "server/cache.h"
#include "server/db_query.h"
#include "server/log.h"
#include "server/waits.h"
#include "server/worker.h"

void exchange_begin(struct rm_exchange *x) {
    json_begin(&x->json, &x->http);
    size_t start = offsetof(struct rm_exchange, next);
    memset((char *)x + start, 0, offsetof(struct rm_exchange, parked) - start);
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
    x->shed = true;
    http_response_fail(&x->http, 500);
}

void exchange_shed(struct rm_exchange *x) {
    x->shed = true;
    http_response_fail(&x->http, 503);
}

bool exchange_may_wait(struct rm_exchange *x, const char *what) {
    if (!x->running) {
        exchange_mistake(x, what);
    }
    return x->running;
}

/* ------------------------------------------------------------------------------------------------------ ends ---- */

static struct conn_state *conn_of(const struct rm_exchange *x) {
    return LIST_OWNER(x->http.conn, struct conn_state, http);
}

/* A stream whose client is there, but gets no more of it: it has failed, or all of it was its head (HEAD, 204). */
static bool is_vain(const struct rm_exchange *x) {
    return x->streaming && x->http.conn != NULL && (x->http.failed || x->http.silent);
}

/* Others wait for what it answers, and so it goes on whether its client is there or not. */
static bool leads(const struct rm_exchange *x) {
    return x->caching != NULL && x->caching->leads && !x->http.failed;
}

unsigned rm_ended(const struct rm_exchange *x) {
    unsigned ended = x->ended;
    if (worker_of(x->http.shared)->life != WORKER_SERVING) {
        ended |= RM_END_DRAIN;
    }
    if (x->http.conn == NULL || is_vain(x)) {
        ended |= RM_END_GONE;
    }
    if (x->http.conn != NULL && conn_of(x)->peer_ended) {
        ended |= RM_END_HALF;
    }
    return leads(x) ? ended & RM_END_DRAIN : ended;
}

bool rm_gone(const struct rm_exchange *x) {
    return !leads(x) && (x->http.conn == NULL || is_vain(x));
}

void rm_on_end(struct rm_exchange *x, rm_handler_fn *end) {
    x->end = end;
}

static bool is_parked(const struct rm_exchange *x) {
    return (x->waits > 0 || x->cut) && !x->running;
}

void exchange_due(struct rm_exchange *x) {
    if (x->running || x->due) { /* running: it will find out when it parks */
        return;
    }
    x->due = true;
    list_remove(&x->parked);
    list_append(&worker_of(x->http.shared)->due, &x->parked);
}

void exchange_begin_due(struct rm_exchange *x, rm_handler_fn *handler) {
    counter_add(&worker_of(x->http.shared)->figures.parked, 1);
    list_init(&x->parked);
    rm_then(x, handler);
    exchange_due(x);
}

/* `reasons`: all that there are. */
static void notice(struct rm_exchange *x, unsigned reasons) {
    if (x->end == NULL || !is_parked(x) || (reasons & ~(unsigned)x->told) == 0) {
        return;
    }
    x->told |= (uint8_t)reasons;
    if (x->cut) {
        return; /* and it has not run yet */
    }
    x->cut = true;
    waits_cancel(x);
    if (x->waits == 0) {
        exchange_due(x);
    }
}

void exchange_notice(struct rm_exchange *x) {
    notice(x, rm_ended(x));
}

void exchange_lost(struct http_exchange *http) {
    struct rm_exchange *x = exchange_of(http);
    x->ended = (conn_of(x)->peer_ended ? RM_END_HALF : 0) | RM_END_GONE;
    notice(x, rm_ended(x));
    if (x->flushing) {
        exchange_due(x);
    }
}

/* ----------------------------------------------------------------------------------------------------- flush ---- */

bool exchange_flushed(const struct rm_exchange *x) {
    if (x->http.conn == NULL || x->http.kept == HTTP_CAPTURED) { /* nobody gets it, or not before its end */
        return true;
    }
    const struct conn_state *conn = conn_of(x);
    return http_exchange_waiting(&x->http) == 0 &&
           stream_pending(&conn->stream) <= conn->worker->server->config->output_bytes / 2;
}

/* A flush that has just begun: it completes at the end of this turn at the earliest. */
static void begin_flush(struct rm_exchange *x) {
    if (exchange_flushed(x)) {
        exchange_due(x);
    } else {
        conn_of(x)->flushing = true;
    }
}

/* ------------------------------------------------------------------------------------------------------- run ---- */

/* Goes on in the place of a handler that has answered, but whose waits are not over. */
static enum rm_step do_nothing(struct rm_exchange *x) {
    (void)x;
    return RM_DONE;
}

[[gnu::noinline]] static void park(struct rm_exchange *x, enum rm_step step) {
    struct worker *worker = worker_of(x->http.shared);
    if (step == RM_PARK && x->next == NULL) {
        exchange_mistake(x, "parked without rm_then");
    }
    if (step == RM_DONE || x->shed) {
        x->next = do_nothing;
        x->end = NULL;
    }
    counter_add(&worker->figures.parked, 1);
    observe_park(worker, x);
    http_exchange_park(&x->http);
    list_append(&worker->parked, &x->parked);
    exchange_notice(x);
    if (x->flushing) {
        begin_flush(x);
    }
}

/* Waiting on would be for nothing: a wait could not be started, or nobody gets what a stream would still write and nobody
 * wants to be told. It does not go on; only what can't be called back is waited for. */
static void give_up_waits(struct rm_exchange *x) {
    if (x->shed || (is_vain(x) && x->end == NULL)) {
        x->shed = true;
        waits_cancel(x);
    }
}

void exchange_run(struct rm_exchange *x, rm_handler_fn *handler) {
    rm_assert(handler != NULL);
    rm_assert(!x->running);
    x->running = true;
    enum rm_step step = handler(x);
    x->running = false;
    if (x->asks) {
        queries_returned(x);
    }
    if (x->waits > 0) {
        give_up_waits(x);
    }
    if (x->waits > 0) {
        park(x, step);
        return;
    }
    if (step == RM_PARK && !x->shed) { /* when a wait could not be started, it is 503 and no mistake */
        exchange_mistake(x, "parked without starting anything that completes later");
    }
    if (x->json.depth > 0 && !x->http.failed) {
        exchange_mistake(x, "left a JSON object or array open");
    } else if (x->http.failed && x->http.status == 500 && !x->shed) {
        exchange_mistake(x, "built a response that cannot be sent");
    }
    if (x->asks) {
        queries_end(x);
    }
    if (x->caching != NULL) {
        cache_finish(x);
    }
    http_exchange_finish(&x->http);
}

static void go_on(struct rm_exchange *x) {
    rm_assert(x->waits == 0);
    rm_assert(x->waiting == NULL);
    rm_assert(!x->due);
    rm_handler_fn *handler = x->cut ? x->end : x->next;
    rm_assert(handler != NULL); /* park() has seen to that */
    if (x->cut) {
        x->cut = false;
        x->ready = 0;
    }
    x->next = NULL;
    list_remove(&x->parked);
    counter_add(&worker_of(x->http.shared)->figures.resumed, 1);
    struct http_conn *http = x->http.conn;
    exchange_run(x, handler);
    if (http != NULL) {
        conn_resumed(LIST_OWNER(http, struct conn_state, http));
    }
}

void exchange_waited(struct rm_exchange *x) {
    rm_assert(!x->running);
    if (x->waits == 0 && !x->due) { /* due: at the end of this turn, then */
        go_on(x);
    }
}

void exchanges_run_due(struct worker *worker) {
    struct link now;
    list_move(&now, &worker->due);
    while (!list_empty(&now)) {
        struct rm_exchange *x = LIST_OWNER(now.next, struct rm_exchange, parked);
        list_remove(&x->parked);
        list_append(&worker->parked, &x->parked);
        x->due = false;
        if (x->flushing) {
            x->flushing = false;
            x->waits--;
        }
        exchange_waited(x);
    }
}
