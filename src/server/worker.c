#include "server/worker.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/db.h"
#include "server/exchange.h"
#include "server/file.h"
#include "server/sockets.h"
#include "server/waits.h"

enum { IN_THE_PAST_NS = 1 }; /* a deadline with which ring_wait does not sleep */

/* ----------------------------------------------------------------------------------------------------- start ---- */

static int open_ring(struct worker *worker, char *why) {
    int32_t result = ring_open(&worker->server->ring, &worker->ring, &worker->report);
    if (result < 0) {
        worker->ring = NULL;
        snprintf(why, CONFIG_WHY_BYTES, "%.500s", worker->report.why);
        return EXIT_UNAVAILABLE;
    }
    return EXIT_FINE;
}

/* The first output blocks are those that are used most: a pool gives what was given back last, and goes on in order. */
static void register_blocks(struct worker *worker) {
    const struct pool *blocks = &worker->pools[PLAN_BLOCKS];
    size_t bytes = pool_bytes(blocks->item_bytes, blocks->count);
    (void)ring_register(worker->ring, RING_REGION_OUTPUT, blocks->memory, bytes, &worker->report);
}

/* Files are read to it: file.c. */
static void register_store(struct worker *worker) {
    if (worker->store != NULL && ring_wants(worker->ring, RING_REGION_STORE)) {
        struct span mapping = store_mapping(worker->store);
        (void)ring_register(worker->ring, RING_REGION_STORE, (void *)(uintptr_t)mapping.data, mapping.len, &worker->report);
    }
}

static int open_listener(struct worker *worker, uint32_t i, char *why) {
    const struct server *server = worker->server;
    const struct listen_place *place = &server->places[i];
    struct listener *listener = &worker->listeners[i];
    *listener = (struct listener){ .owner = { OWNER_LISTENER }, .place = i, .admin = place->admin };
    struct ring_listen listen = {
        .address = place->address,
        .fd = place->socket < 0 ? -1 : fcntl(place->socket, F_DUPFD_CLOEXEC, 0),
        .backlog = SOCKETS_BACKLOG,
        .reuse_port = place->socket < 0,
        .user = listener,
    };
    int32_t result = ring_listen(worker->ring, &listen, &listener->id);
    if (result < 0) {
        char address[RING_ADDRESS_BYTES];
        snprintf(why, CONFIG_WHY_BYTES, "cannot listen on %s: %s", ring_address_text(&listen.address, address),
                 strerror(-result));
        return EXIT_UNAVAILABLE;
    }
    listener->open = true;
    worker->listener_count++;
    return EXIT_FINE;
}

int worker_listen(struct worker *worker, char *why) {
    for (uint32_t i = 0; i < worker->server->place_count; i++) {
        int code = open_listener(worker, i, why);
        if (code != EXIT_FINE) {
            return code;
        }
    }
    return EXIT_FINE;
}

static void init_http(struct worker *worker) {
    const struct plan *plan = &worker->server->plan;
    worker->http = (struct http_shared){
        .limits = worker->server->config->limits,
        .exchanges = &worker->pools[PLAN_EXCHANGES],
        .exchange_bytes = plan->exchange_bytes,
        .workspace_bytes = plan->workspace_bytes,
        .carries = &worker->pools[PLAN_CARRIES],
        .blocks = &worker->pools[PLAN_BLOCKS],
        .bodies = &worker->pools[PLAN_BODIES],
        .lost = exchange_lost,
        .done = observe_done,
    };
}

static void open_db(struct worker *worker) {
    if (worker->server->config->db_on) {
        worker->db = db_open(worker, worker->db_memory[0], worker->db_memory[1], worker->db_memory[2]);
    }
}

static int open_slab(struct worker *worker, char *why) {
    const struct plan *plan = &worker->server->plan;
    if (!slab_map(&worker->slab, plan->slab_bytes)) {
        snprintf(why, CONFIG_WHY_BYTES, "cannot map the %zu bytes of a worker's plan: %m; lower --max-connections",
                 plan->slab_bytes);
        return EXIT_CONFIG;
    }
    void *arrays[PLAN_ARRAYS_COUNT];
    plan_carve(plan, &worker->slab, worker->pools, arrays);
    slab_seal(&worker->slab);
    timers_init(&worker->timers, arrays[0], plan->rows[PLAN_TIMERS].count);
    worker->watches = (struct watch_table){ arrays[PLAN_WATCH_TABLE - PLAN_TIMERS], plan->rows[PLAN_WATCH_TABLE].count };
    observe_init(&worker->observer, worker->server->config, arrays);
    for (unsigned i = 0; i < 3; i++) {
        worker->db_memory[i] = arrays[PLAN_DB + i - PLAN_TIMERS];
    }
    return EXIT_FINE;
}

static void keep_date(struct worker *worker) {
    int64_t seconds = ring_wall_seconds(worker->ring);
    if (seconds != worker->date_seconds) {
        worker->date_seconds = seconds;
        http_date(seconds, worker->http.date);
    }
}

static int start_application(struct worker *worker, char *why) {
    const struct rm_app *app = worker->server->app;
    int code = app->worker_start == NULL ? EXIT_FINE : app->worker_start(worker_wrap(worker));
    worker->started = code == EXIT_FINE;
    if (code != EXIT_FINE) {
        snprintf(why, CONFIG_WHY_BYTES, "worker_start of worker %u returned %d", worker->index, code);
    }
    return code;
}

int worker_open(struct worker *worker, struct server *server, uint32_t index, char *why) {
    rm_assert((uintptr_t)worker % WORKER_ALIGN == 0);
    rm_assert(index < server->config->workers);
    *worker = (struct worker){ .server = server, .index = index, .accepting = true, .life = WORKER_SERVING,
                               .timers_late_ns = TIMERS_GRID_NS };
    list_init(&worker->open);
    list_init(&worker->again);
    list_init(&worker->due);
    list_init(&worker->parked);
    cache_init(worker);
    int code = open_slab(worker, why);
    if (code == EXIT_FINE) {
        code = open_ring(worker, why);
    }
    if (code == EXIT_FINE) {
        register_blocks(worker);
        register_store(worker);
        streams_init(&worker->streams, worker->ring, &worker->pools[PLAN_SEGMENTS], &worker->pools[PLAN_BLOCKS]);
        init_http(worker);
        worker->drain_timer.kind = TIMER_DRAIN;
        worker->now_ns = worker->started_ns = ring_now(worker->ring);
        worker->started_seconds = ring_wall_seconds(worker->ring);
        open_db(worker);
        code = start_application(worker, why);
    }
    if (code != EXIT_FINE) {
        worker_release(worker);
    }
    return code;
}

static void drop_responses(const struct link *exchanges) {
    for (struct link *link = exchanges->next; link != exchanges; link = link->next) {
        chain_reset(&LIST_OWNER(link, struct rm_exchange, parked)->http.own);
    }
}

/* Responses that were not sent give back what they were lent. */
static void drop_output(struct worker *worker) {
    for (struct link *link = worker->open.next; link != &worker->open; link = link->next) {
        struct conn_state *conn = LIST_OWNER(link, struct conn_state, open);
        chain_reset(&conn->stream.out);
        chain_reset(&conn->stream.flight);
        http_conn_release(&conn->http); /* parked exchanges live on */
    }
    drop_responses(&worker->due);
    drop_responses(&worker->parked);
}

void worker_release(struct worker *worker) {
    if (worker->ring != NULL) {
        cache_leave(worker, false); /* the others may be released already */
        if (worker->db != NULL) {
            db_forget(worker->db);
        }
        ring_release(worker->ring);
        file_leave(worker);
        worker->ring = NULL;
        worker->http.lost = NULL; /* nobody goes on any more, */
        worker->http.done = NULL; /* and nobody counts */
        drop_output(worker);
    }
    if (worker->started && worker->server->app->worker_stop != NULL) {
        worker->server->app->worker_stop(worker_wrap(worker));
    }
    worker->started = false;
    if (worker->slab.base != NULL) {
        slab_release(&worker->slab);
        worker->slab.base = NULL;
        worker->db = NULL;
    }
}

/* ------------------------------------------------------------------------------------------------- accepting ---- */

void worker_pace_accept(struct worker *worker) {
    uint32_t left = worker->pools[PLAN_CONNS].free_count;
    bool on = worker->accepting ? left > 0 : left > worker->server->plan.reserve / 2;
    if (on == worker->accepting || worker->life != WORKER_SERVING) {
        return;
    }
    worker->accepting = on;
    for (uint32_t i = 0; i < worker->listener_count; i++) {
        ring_accept(worker->ring, worker->listeners[i].id, on);
    }
}

/* Exchanges that want to know that the worker drains; what is due already is on the other list. */
static void tell_drain(struct link *exchanges) {
    for (struct link *link = exchanges->next, *next; link != exchanges; link = next) {
        next = link->next;
        exchange_notice(LIST_OWNER(link, struct rm_exchange, parked));
    }
}

static void close_listeners(struct worker *worker, bool admin) {
    for (uint32_t i = 0; i < worker->listener_count; i++) {
        if (worker->listeners[i].admin == admin) {
            ring_close(worker->ring, worker->listeners[i].id);
        }
    }
}

static void drain_conns(struct worker *worker) {
    for (struct link *link = worker->open.next, *next; link != &worker->open; link = next) {
        next = link->next;
        conn_drain(LIST_OWNER(link, struct conn_state, open));
    }
}

static bool listening(const struct worker *worker, bool admin) {
    for (uint32_t i = 0; i < worker->listener_count; i++) {
        if (worker->listeners[i].open && worker->listeners[i].admin == admin) {
            return true;
        }
    }
    return false;
}

/* The admin listeners stay until all others have gone: who watches the drain sees it to its end. */
static void end_drain(struct worker *worker) {
    bool others = worker->figures.accepted - worker->figures.closed > worker->admin_conns || listening(worker, false);
    if (worker->life == WORKER_DRAINING && !others) {
        worker->life = WORKER_LEAVING;
        close_listeners(worker, true);
        drain_conns(worker);
        if (worker->db != NULL) {
            db_leave(worker->db);
        }
    }
}

static void start_drain(struct worker *worker) {
    if (worker->life != WORKER_SERVING || !server_draining(worker->server)) {
        return;
    }
    rm_assert(!timer_armed(&worker->drain_timer));
    worker->life = WORKER_DRAINING;
    worker->timers_late_ns = 0;
    worker->http.draining = true;
    close_listeners(worker, false);
    drain_conns(worker);
    tell_drain(&worker->due);
    tell_drain(&worker->parked);
    timers_set(&worker->timers, &worker->drain_timer, worker->now_ns + worker->server->config->drain_timeout_ns);
}

bool worker_done(const struct worker *worker) {
    bool empty = worker->life == WORKER_LEAVING && list_empty(&worker->open) && !listening(worker, true);
    return (empty && (worker->db == NULL || db_left(worker->db))) || worker->drain_over;
}

/* ----------------------------------------------------------------------------------------------------- turns ---- */

static struct conn_state *conn_of(const struct ring_event *event) {
    struct owner *owner = event->user;
    rm_assert(owner->kind == OWNER_CONN);
    return (struct conn_state *)(void *)owner;
}

static bool of_client(const struct ring_event *event) {
    return ((const struct owner *)event->user)->kind == OWNER_CONN;
}

static struct rm_watch *watch_of(const struct ring_event *event) {
    struct owner *owner = event->user;
    rm_assert(owner->kind == OWNER_WATCH);
    return (struct rm_watch *)(void *)owner;
}

static void take_finished(const struct ring_event *event) {
    struct owner *owner = event->job->user;
    if (owner->kind == OWNER_DB) {
        db_conn_event((struct db_conn *)(void *)owner, event);
        return;
    }
    rm_assert(owner->kind == OWNER_OFFLOAD);
    wait_job_finished((struct offload *)(void *)owner);
}

static void take_closed(const struct ring_event *event) {
    struct owner *owner = event->user;
    if (owner == NULL) {
        return; /* a connection that there was no slot for */
    }
    switch (owner->kind) {
    case OWNER_LISTENER:
        rm_assert(((struct listener *)(void *)owner)->open);
        ((struct listener *)(void *)owner)->open = false;
        break;
    case OWNER_CONN: conn_closed((struct conn_state *)(void *)owner); break;
    case OWNER_WATCH: watch_closed((struct rm_watch *)(void *)owner); break;
    case OWNER_DB: db_conn_event((struct db_conn *)(void *)owner, event); break;
    case OWNER_DB_CANCEL: db_cancel_event((struct db_cancel *)(void *)owner, event); break;
    case OWNER_OFFLOAD: rm_assert(owner->kind != OWNER_OFFLOAD); break; /* no socket, nothing to close */
    }
}

/* Of a socket that this end has opened: to the database. */
[[gnu::noinline]] static void take_db_event(struct owner *owner, const struct ring_event *event) {
    rm_assert(owner->kind == OWNER_DB || owner->kind == OWNER_DB_CANCEL);
    if (owner->kind == OWNER_DB) {
        db_conn_event((struct db_conn *)(void *)owner, event);
    } else {
        db_cancel_event((struct db_cancel *)(void *)owner, event);
    }
}

static void take_event(struct worker *worker, const struct ring_event *event) {
    switch (event->type) {
    case RING_RECEIVED:
        if (of_client(event)) {
            conn_received(conn_of(event), event);
        } else {
            take_db_event(event->user, event);
        }
        break;
    case RING_SENT:
        if (of_client(event)) {
            conn_sent(conn_of(event), event->result);
        } else {
            take_db_event(event->user, event);
        }
        break;
    case RING_ACCEPTED: conn_accepted(worker, event); break;
    case RING_CLOSED: take_closed(event); break;
    case RING_WOKEN: start_drain(worker); break;
    case RING_TICK: break; /* run_timers looks at the clock */
    case RING_READY: watch_ready(watch_of(event), (uint32_t)event->result); break;
    case RING_FINISHED: take_finished(event); break;
    case RING_READ: wait_job_finished((struct offload *)event->read->user); break; /* of file.c */
    case RING_CONNECTED: take_db_event(event->user, event); break;
    }
}

static void run_timers(struct worker *worker) {
    for (struct timer *timer; (timer = timers_due(&worker->timers, worker->now_ns)) != NULL;) {
        switch ((enum timer_kind)timer->kind) {
        case TIMER_CONN: conn_timer(LIST_OWNER(timer, struct conn_state, timer)); break;
        case TIMER_WAIT: wait_timer_due(LIST_OWNER(timer, struct wait, timer)); break;
        case TIMER_EVERY: watch_tick(LIST_OWNER(timer, struct rm_timer, timer)); break;
        case TIMER_DRAIN: worker->drain_over = true; break;
        case TIMER_DB: break; /* it has woken the worker: db_turn looks at the clock */
        }
    }
}

/* Those that had more to do than fits into a turn, once each. */
static void run_again(struct link *left) {
    while (!list_empty(left)) {
        conn_again(LIST_OWNER(left->next, struct conn_state, again));
    }
}

int32_t worker_turn(struct worker *worker) {
    bool more = !list_empty(&worker->again) || !list_empty(&worker->due) || (worker->db != NULL && worker->db->more);
    if (worker->store != NULL) {
        more |= cache_woken(&worker->cache);
        cache_before_wait(worker, !more);
    }
    int32_t result = ring_wait(worker->ring, more ? IN_THE_PAST_NS : timers_next(&worker->timers));
    if (result < 0) {
        cache_leave(worker, true);
        return result;
    }
    if (worker->store != NULL) {
        cache_after_wait(worker);
    }
    worker->turn++;
    struct link left;
    list_move(&left, &worker->again);
    worker->now_ns = ring_now(worker->ring);
    worker->http.now_ns = worker->now_ns;
    keep_date(worker);
    if (worker->db != NULL) {
        db_turn(worker->db);
    }
    for (struct ring_event event; ring_next(worker->ring, &event);) {
        take_event(worker, &event);
    }
    run_again(&left);
    run_timers(worker);
    if (cache_woken(&worker->cache)) {
        cache_look(worker);
    }
    if (!list_empty(&worker->due)) {
        exchanges_run_due(worker);
    }
    if (worker->db != NULL) {
        db_flush(worker->db);
    }
    if (worker->life == WORKER_DRAINING) {
        end_drain(worker);
    }
    if (worker->life != WORKER_SERVING && worker_done(worker)) {
        cache_leave(worker, true);
    }
    observe_turn(worker);
    worker_publish(worker); /* before the answers leave: who has one finds it counted */
    streams_flush(&worker->streams);
    return 0;
}

static void publish(uint64_t *figure, uint64_t value) {
    if (*figure != value) { /* an unchanged line stays clean for its readers */
        counter_set(figure, value);
    }
}

void worker_publish(struct worker *worker) {
    struct worker_figures *figures = &worker->figures;
    publish(&figures->requests, worker->http.requests);
    for (size_t i = 0; i < sizeof figures->responses / sizeof figures->responses[0]; i++) {
        publish(&figures->responses[i], worker->http.responses[i]);
    }
    publish(&figures->head_copies, worker->http.head_copies);
    publish(&figures->carries_used, worker->http.carries_used);
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        const struct pool *pool = &worker->pools[i];
        publish(&figures->pools[i].in_use, pool->count - pool->free_count);
        publish(&figures->pools[i].low_water, pool->low_water);
        publish(&figures->pools[i].refused, pool->refused);
    }
}
