#include "server/conn.h"

#include "mem/assert.h"
#include "server/exchange.h"
#include "server/worker.h"

static void settle(struct conn_state *conn);

/* The invariant of conn.h. */
static void conn_sane(const struct conn_state *conn) {
    rm_assert(conn->owner.kind == OWNER_CONN);
    rm_assert(conn->phase <= CONN_CLOSING);
    rm_assert(!conn->full || conn->phase == CONN_OPEN);
    rm_assert(!conn->told_end || conn->peer_ended);
    rm_assert(conn->stream.closed == (conn->phase == CONN_CLOSING));
    rm_assert(conn->linger_left <= CONN_LINGER_BYTES);
}

/* The only place that changes the phase. */
static void enter(struct conn_state *conn, enum conn_phase phase) {
    conn_sane(conn);
    rm_assert(phase > (enum conn_phase)conn->phase); /* there is no way back */
    conn->full = false;
    conn->streaming = false;
    list_remove(&conn->again);
    conn->phase = (uint8_t)phase;
}

static const struct config *config_of(const struct conn_state *conn) {
    return conn->worker->server->config;
}

/* --------------------------------------------------------------------------------------------------- the end ---- */

/* Gives up what http holds and closes the socket. The slot stays taken until RING_CLOSED. */
static void end(struct conn_state *conn, bool hard) {
    enter(conn, CONN_CLOSING);
    timers_cancel(&conn->worker->timers, &conn->timer);
    http_conn_release(&conn->http);
    stream_close(&conn->stream, hard);
    conn_sane(conn);
}

static void arm(struct conn_state *conn);

/* All is sent. A client that may be sending still would get a reset instead of the answer: its bytes are dropped
 * for a while. */
static void leave(struct conn_state *conn) {
    if (!conn->linger || conn->peer_ended) {
        end(conn, false);
        return;
    }
    enter(conn, CONN_LINGER);
    counter_add(&conn->worker->figures.lingered, 1);
    ring_shutdown_write(conn->worker->ring, conn->stream.id);
    stream_receive(&conn->stream, STREAM_FREE);
    uint64_t ms = conn->worker->life != WORKER_SERVING ? CONN_LINGER_DRAINING_MS : CONN_LINGER_MS;
    conn->read_deadline_ns = conn->worker->now_ns + ms * NS_PER_MS;
    conn->send_deadline_ns = 0;
    arm(conn);
}

/* Bytes after the last request that is answered. */
static void drop_input(struct conn_state *conn, size_t bytes) {
    conn->linger = true;
    if (bytes < conn->linger_left) {
        conn->linger_left -= (uint32_t)bytes;
    } else if (conn->phase == CONN_LINGER) {
        end(conn, false);
    } else {
        stream_receive(&conn->stream, STREAM_STOP);
    }
}

/* ------------------------------------------------------------------------------------------------- deadlines ---- */

/* The one in effect, 0 for none: output that the client does not take comes first. */
static uint64_t deadline(const struct conn_state *conn) {
    return conn->send_deadline_ns != 0 ? conn->send_deadline_ns : conn->read_deadline_ns;
}

/* When the timer is to go off for a deadline: on the grid, where many share a turn; a drain is in a hurry. */
static uint64_t alarm_ns(const struct conn_state *conn, uint64_t at_ns) {
    return conn->worker->timers_late_ns > 0 ? timers_coarse(at_ns) : at_ns;
}

/* The timer may be early, never late by more than the grid. */
static void arm(struct conn_state *conn) {
    uint64_t at_ns = deadline(conn);
    if (at_ns == 0) {
        return;
    }
    if (!timer_armed(&conn->timer) || conn->timer.at_ns > at_ns + conn->worker->timers_late_ns) {
        timers_set(&conn->worker->timers, &conn->timer, alarm_ns(conn, at_ns));
    }
}

[[gnu::noinline]] static uint64_t idle_draining_ns(const struct conn_state *conn) {
    uint64_t spread_ns = ring_random(conn->worker->ring) % (CONN_IDLE_SPREAD_MS * NS_PER_MS);
    uint64_t ns = CONN_IDLE_DRAINING_MS * NS_PER_MS + spread_ns;
    uint64_t most_ns = config_of(conn)->drain_timeout_ns / 2;
    return most_ns < ns ? most_ns : ns;
}

/* How long it may be idle from now on. */
static uint64_t idle_ns(const struct conn_state *conn) {
    return conn->worker->life == WORKER_SERVING ? config_of(conn)->idle_timeout_ns : idle_draining_ns(conn);
}

static bool output_high(const struct conn_state *conn) {
    return stream_pending(&conn->stream) + conn->http.waiting > config_of(conn)->output_bytes;
}

static void set_read_deadline(struct conn_state *conn) {
    const struct config *config = config_of(conn);
    uint64_t now_ns = conn->worker->now_ns;
    enum http_phase phase = http_conn_phase(&conn->http);
    if (phase != HTTP_PHASE_IDLE && output_high(conn)) { /* nothing is read: that is not held against it */
        phase = HTTP_PHASE_BUSY;
    }
    switch (phase) {
    case HTTP_PHASE_IDLE: conn->read_deadline_ns = now_ns + idle_ns(conn); break;
    case HTTP_PHASE_HEAD: /* of one head, however many pieces it comes in */
        if (conn->waiting != HTTP_PHASE_HEAD) {
            conn->read_deadline_ns = now_ns + config->header_timeout_ns;
        }
        break;
    case HTTP_PHASE_BODY: conn->read_deadline_ns = now_ns + config->body_timeout_ns; break;
    case HTTP_PHASE_BUSY: conn->read_deadline_ns = 0; break;
    }
    conn->waiting = (uint8_t)phase;
}

/* The first look at a send that takes long is after this part of the write timeout: from then on it is known what the client
 * has taken. Until then there is no need to ask. */
enum { FIRST_LOOK = 4 };

static void set_deadlines(struct conn_state *conn) {
    set_read_deadline(conn);
    if (stream_pending(&conn->stream) == 0) {
        conn->send_deadline_ns = 0;
    } else if (conn->send_deadline_ns == 0) {
        conn->looked = false;
        conn->send_deadline_ns = conn->worker->now_ns + config_of(conn)->write_timeout_ns / FIRST_LOOK;
    }
    arm(conn);
}

enum { TIMEOUT_SEND = 3 }; /* worker_figures.timeouts */

/* A request that crosses our FIN on its way is dropped, not reset: the client sees a clean end and may repeat it. */
static void expire_idle_in_a_drain(struct conn_state *conn) {
    conn->linger = true;
    enter(conn, CONN_FLUSH);
    leave(conn);
}

static void expire_read(struct conn_state *conn) {
    if (conn->waiting == HTTP_PHASE_IDLE && conn->worker->life != WORKER_SERVING) {
        expire_idle_in_a_drain(conn);
        return;
    }
    counter_add(&conn->worker->figures.timeouts[conn->waiting], 1);
    if (conn->waiting == HTTP_PHASE_IDLE) {
        end(conn, false);
        return;
    }
    conn->linger = true;
    http_conn_refuse(&conn->http, 408);
    settle(conn);
}

/* It is progress that counts, not the end of a send: a client that takes its bytes slowly is served on. */
static bool client_takes(struct conn_state *conn) {
    uint64_t before = conn->taken;
    conn->taken = ring_taken(conn->worker->ring, conn->stream.id);
    bool first = !conn->looked;
    conn->looked = true;
    return first || conn->taken != before;
}

static void expire(struct conn_state *conn) {
    if (conn->phase == CONN_LINGER) {
        end(conn, false);
    } else if (conn->send_deadline_ns != 0 && client_takes(conn)) {
        conn->send_deadline_ns = conn->worker->now_ns + config_of(conn)->write_timeout_ns;
        arm(conn);
    } else if (conn->send_deadline_ns != 0) {
        counter_add(&conn->worker->figures.timeouts[TIMEOUT_SEND], 1);
        end(conn, true);
    } else {
        expire_read(conn);
    }
}

void conn_timer(struct conn_state *conn) {
    conn_sane(conn);
    rm_assert(conn->phase != CONN_CLOSING);
    rm_assert(!timer_armed(&conn->timer));
    uint64_t at_ns = deadline(conn);
    if (at_ns == 0) {
        return; /* its handlers are at work; set_deadlines arms it again */
    }
    if (at_ns > conn->worker->now_ns) {
        timers_set(&conn->worker->timers, &conn->timer, alarm_ns(conn, at_ns));
        return;
    }
    expire(conn);
}

/* ----------------------------------------------------------------------------------------------------- input ---- */

/* Reads no faster than the connection can answer. */
static void pace(struct conn_state *conn) {
    bool high = output_high(conn);
    conn->stream.loud = high || conn->flushing;
    if (conn->peer_ended) {
        return;
    }
    if (conn->full || high) {
        stream_receive(&conn->stream, STREAM_STOP);
    } else {
        stream_receive(&conn->stream, conn->greedy ? STREAM_ONE : STREAM_FREE);
    }
}

/* Exchanges whose output has been taken are due. */
static void look_at_flushes(struct conn_state *conn) {
    conn->flushing = false;
    for (struct http_exchange *http = conn->http.first; http != NULL; http = http->next) {
        struct rm_exchange *x = exchange_of(http);
        if (http->finished || !http->parked || !x->flushing) {
            continue;
        }
        if (exchange_flushed(x)) {
            exchange_due(x);
        } else {
            conn->flushing = true;
        }
    }
}

/* After anything has happened to an open connection: what does it wait for? */
static void settle(struct conn_state *conn) {
    rm_assert(conn->phase == CONN_OPEN);
    if (conn->flushing) {
        look_at_flushes(conn);
    }
    if (conn->peer_ended && !conn->told_end && !conn->full) {
        conn->told_end = true;
        conn->streaming = false;
        http_conn_end(&conn->http);
    }
    bool done = http_conn_done(&conn->http);
    conn->linger |= done && conn->http.abrupt;
    if (done && stream_pending(&conn->stream) == 0) {
        enter(conn, CONN_FLUSH);
        leave(conn);
        return;
    }
    if (done) {
        enter(conn, CONN_FLUSH);
        conn->stream.loud = true;
        conn->linger |= conn->worker->life != WORKER_SERVING; /* its next request may be on its way */
    } else {
        pace(conn);
    }
    stream_touch(&conn->stream);
    set_deadlines(conn);
}

static void take_piece(struct conn_state *conn, struct http_exchange *x, struct span piece) {
    if (!exchange_piece(exchange_of(x), piece)) {
        conn->linger = true;
        conn->streaming = false;
        http_conn_refuse(&conn->http, 400);
    }
}

/* A turn runs at most limits.pipeline requests of one connection: what a flood of them costs, all others wait for. The rest
 * comes in the next turn, behind what the others have sent meanwhile; and less of it at a time while there are others. */
static void allow(struct conn_state *conn) {
    if (conn->turn != conn->worker->turn) {
        conn->turn = conn->worker->turn;
        uint32_t most = conn->worker->http.limits.pipeline;
        bool in_the_way = conn->greedy && conn->turn - conn->worker->polite_turn <= CONN_POLITE_TURNS;
        conn->http.allowance = in_the_way ? (most + CONN_GREEDY_PART - 1) / CONN_GREEDY_PART : most;
    }
}

/* http wants no more input before it is called again. */
static void fill_up(struct conn_state *conn) {
    conn->full = true;
    if (conn->http.allowance == 0) {
        conn->greedy = true;
        list_remove(&conn->again);
        list_append(&conn->worker->again, &conn->again);
    }
}

/* There are bytes that http has not looked at: in the input, or kept since it was full. */
static bool has_unread(const struct conn_state *conn, struct span input) {
    return input.len > 0 || conn->http.carry_start < conn->http.carry_len;
}

/* Feeds http and runs handlers until it wants more input, or none. */
static void feed(struct conn_state *conn, struct span input) {
    conn->full = false;
    allow(conn);
    uint32_t allowance = conn->http.allowance;
    for (;;) {
        struct http_exchange *x;
        struct span piece;
        bool had_input = has_unread(conn, input);
        conn->http.hold = output_high(conn);
        switch (http_conn_next(&conn->http, &input, &x, &piece)) {
        case HTTP_READY:
            if (!conn->streaming) {
                exchange_begin(exchange_of(x));
            }
            conn->streaming = false;
            exchange_run(exchange_of(x), exchange_handler(exchange_of(x)));
            break;
        case HTTP_STREAM:
            conn->streaming = true;
            exchange_begin(exchange_of(x));
            break;
        case HTTP_PIECE: take_piece(conn, x, piece); break;
        case HTTP_FULL: fill_up(conn); return;
        case HTTP_MORE:
            if (conn->http.allowance != allowance) { /* a head was complete: the next has a deadline of its own */
                conn->waiting = HTTP_PHASE_BUSY;
            }
            return;
        case HTTP_ENDED:
            conn->linger |= had_input;
            conn->streaming = false;
            return;
        }
    }
}

/* The client has ended its half: handlers that want to know are told. RFC 9112 §9.6 */
static void note_end(struct conn_state *conn) {
    conn->peer_ended = true;
    for (struct http_exchange *x = conn->http.first; x != NULL; x = x->next) {
        if (!x->finished && x->parked) {
            exchange_notice(exchange_of(x));
        }
    }
}

void conn_received(struct conn_state *conn, const struct ring_event *event) {
    rm_assert(conn->phase != CONN_CLOSING);
    rm_assert(!conn->peer_ended);
    if (event->result < 0) {
        counter_add(&conn->worker->figures.dead, 1);
        end(conn, false);
        return;
    }
    if (event->result == 0) {
        note_end(conn);
    }
    if (conn->phase == CONN_OPEN) {
        rm_assert(!conn->full || conn->peer_ended); /* nothing was asked for */
        if (!conn->peer_ended) {
            feed(conn, event->bytes);
            conn->greedy &= conn->full;
            conn->worker->polite_turn = conn->greedy ? conn->worker->polite_turn : conn->worker->turn;
        }
        settle(conn);
    } else if (!conn->peer_ended) {
        drop_input(conn, event->bytes.len);
    } else if (conn->phase == CONN_LINGER) {
        end(conn, false);
    }
}

void conn_again(struct conn_state *conn) {
    list_remove(&conn->again);
    conn_resumed(conn);
}

void conn_resumed(struct conn_state *conn) {
    rm_assert(conn->phase == CONN_OPEN);
    if (conn->full && !output_high(conn)) {
        feed(conn, span_of(NULL, 0));
    }
    settle(conn);
}

/* ---------------------------------------------------------------------------------------------------- output ---- */

/* All is sent and nothing waited for that: the case of nearly every request. */
static bool carefree(const struct conn_state *conn) {
    return stream_pending(&conn->stream) == 0 && !conn->full && !conn->peer_ended && !conn->stream.metered &&
           !conn->flushing && conn->phase == CONN_OPEN && conn->worker->life == WORKER_SERVING;
}

void conn_sent(struct conn_state *conn, int32_t result) {
    rm_assert(conn->phase == CONN_OPEN || conn->phase == CONN_FLUSH);
    if (result < 0) {
        counter_add(&conn->worker->figures.dead, 1);
        end(conn, false);
        return;
    }
    conn->send_deadline_ns = 0; /* the client takes what it is sent */
    stream_sent(&conn->stream, result);
    if (carefree(conn)) {
        if (conn->waiting == HTTP_PHASE_IDLE) {
            conn->read_deadline_ns = conn->worker->now_ns + config_of(conn)->idle_timeout_ns;
        }
        arm(conn);
    } else if (conn->phase == CONN_OPEN) {
        conn_resumed(conn);
    } else if (stream_pending(&conn->stream) == 0) {
        leave(conn);
    } else {
        set_deadlines(conn);
    }
}

void conn_drain(struct conn_state *conn) {
    if (conn->phase == CONN_OPEN && http_conn_phase(&conn->http) == HTTP_PHASE_IDLE) {
        set_deadlines(conn);
    }
}

/* ------------------------------------------------------------------------------------------ coming and going ---- */

/* One of the last slots, or one connection too many: says so and goes. */
static void shed(struct conn_state *conn) {
    counter_add(&conn->worker->figures.shed, 1);
    enter(conn, CONN_FLUSH);
    conn->linger = true;
    conn->stream.loud = true;
    if (!http_answer_busy(&conn->worker->http, &conn->stream.out)) {
        end(conn, true);
        return;
    }
    stream_touch(&conn->stream);
    set_deadlines(conn);
}

static void conn_init(struct conn_state *conn, struct worker *worker, const struct listener *listener, struct ring_id id) {
    const struct server *server = worker->server;
    *conn = (struct conn_state){
        .owner = { OWNER_CONN },
        .phase = CONN_OPEN,
        .waiting = HTTP_PHASE_IDLE,
        .linger_left = CONN_LINGER_BYTES,
        .turn = worker->turn - 1,
        .worker = worker,
        .timer = { .kind = TIMER_CONN },
        .admin = listener->admin,
    };
    stream_init(&conn->stream, &worker->streams, id);
    http_conn_init(&conn->http, &worker->http, conn->admin ? server->admin_router : server->router, &conn->stream.out);
    list_append(&worker->open, &conn->open);
    list_init(&conn->again);
}

void conn_accepted(struct worker *worker, const struct ring_event *event) {
    const struct listener *listener = event->user;
    struct conn_state *conn = pool_take(&worker->pools[PLAN_CONNS]);
    if (conn == NULL) {
        counter_add(&worker->figures.refused, 1);
        ring_set_user(worker->ring, event->id, NULL);
        ring_reset(worker->ring, event->id);
        return;
    }
    counter_add(&worker->figures.accepted, 1);
    counter_add(&worker->figures.accepted_at[listener->place], 1);
    worker->admin_conns += listener->admin;
    conn_init(conn, worker, listener, event->id);
    ring_set_user(worker->ring, event->id, conn);
    worker_pace_accept(worker);
    bool room = worker->pools[PLAN_CONNS].free_count >= worker->server->plan.reserve;
    conn->admitted = room && !conn->admin && server_admit(worker->server);
    if (!conn->admitted && !conn->admin) { /* the admin has a look when all is full, too */
        shed(conn);
    } else {
        set_deadlines(conn);
    }
}

void conn_closed(struct conn_state *conn) {
    conn_sane(conn);
    rm_assert(conn->phase == CONN_CLOSING);
    rm_assert(!timer_armed(&conn->timer));
    struct worker *worker = conn->worker;
    counter_add(&worker->figures.closed, 1);
    worker->admin_conns -= conn->admin;
    if (conn->admitted) {
        server_dismiss(worker->server);
    }
    stream_release(&conn->stream);
    list_remove(&conn->open);
    pool_give(&worker->pools[PLAN_CONNS], conn);
    worker_pace_accept(worker);
}
