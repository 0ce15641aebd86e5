/* Clients: each sends its stream in pieces, waits, reads when it likes, and leaves in its own way. */
#include "whole.h"

/* -------------------------------------------------------------------------------------------------------- drawing ---- */

static void draw_pace(struct whole_client *c) {
    struct random *random = &c->random;
    const struct config *config = &c->w->config;
    static const uint32_t pieces[] = { 1u << 20, 1u << 20, 4000, 700, 60, 7, 1 };
    uint32_t all = sizeof pieces / sizeof pieces[0];
    c->piece_max = pieces[random_below(random, c->out_len > 20000 ? 4 : all)];
    static const uint32_t chances[] = { 0, 0, 100000, 20000, 300000 };
    c->delay_ppm = chances[random_below(random, 5)];
    c->delay_ns_max = random_next(random) % (10 * NS_PER_MS) + 1;
    if (whole_chance(random, 15)) { /* near the timeouts, and beyond */
        c->delay_ns_max = config->body_timeout_ns + config->body_timeout_ns / 4;
        c->delay_ppm = 5000;
    }
    c->slow_ppm = whole_chance(random, 25) ? 150000 : 0;
    c->pause_ns_max = random_next(random) % (50 * NS_PER_MS) + 1;
    if (c->slow_ppm > 0 && whole_chance(random, 25)) {
        c->slow_ppm = 10000;
        c->pause_ns_max = config->write_timeout_ns * 2;
    }
}

static void draw_end(struct whole_client *c) {
    struct random *random = &c->random;
    uint32_t drawn = random_below(random, 100);
    c->end = drawn < 45   ? WHOLE_END_CLOSE
             : drawn < 65 ? WHOLE_END_HALF
             : drawn < 80 ? WHOLE_END_WAIT
             : drawn < 90 ? WHOLE_END_LEAVE
                          : WHOLE_END_RESET;
    c->stop_at = c->out_len;
    bool cuts = c->end == WHOLE_END_LEAVE || c->end == WHOLE_END_RESET || (c->end != WHOLE_END_CLOSE && whole_chance(random, 25));
    if (cuts) {
        c->stop_at = random_below(random, (uint32_t)c->out_len + 1);
    }
    bool endless = c->count > 0 && c->requests[c->count - 1].endless;
    if (endless && (c->end == WHOLE_END_CLOSE || c->end == WHOLE_END_WAIT) && c->w->drain_at_ns == 0) {
        c->end = WHOLE_END_HALF; /* else nobody would end it */
    }
    c->stay_ns = whole_chance(random, 50) ? 0 : random_next(random) % (200 * NS_PER_MS);
    c->lockstep = whole_chance(random, 35);
    c->stubborn = whole_chance(random, 50);
}

void whole_draw_client(struct whole_client *c) {
    whole_write_requests(c);
    draw_end(c);
    draw_pace(c);
    c->start_ns = whole_now(c->w) + 1;
    if (whole_chance(&c->random, 70)) {
        c->start_ns += random_next(&c->random) % (300 * NS_PER_MS);
    }
}

/* -------------------------------------------------------------------------------------------------------- leaving ---- */

static void leave(struct whole_client *c, bool hard) {
    if (c->closed) {
        return;
    }
    whole_trace(c->w, "client %u: %s, %u of %u answered", c->index, hard ? "resets" : "closes", c->next, c->count);
    c->closed = true;
    if (hard) {
        ring_reset(c->w->ring, c->id);
    } else {
        ring_close(c->w->ring, c->id);
    }
}

/* All that was asked for is answered; or the last answer has come. */
static bool all_answered(const struct whole_client *c) {
    return c->last_seen || c->next == c->count || c->requests[c->next].end > c->stop_at;
}

/* It has sent all that it wants to send. */
static void finish_sending(struct whole_client *c) {
    if (c->leave_at_ns == 0) {
        c->leave_at_ns = whole_now(c->w) + c->stay_ns;
    }
    if (whole_now(c->w) < c->leave_at_ns) {
        return;
    }
    switch (c->end) {
    case WHOLE_END_LEAVE: leave(c, false); break;
    case WHOLE_END_RESET: leave(c, true); break;
    case WHOLE_END_HALF:
        if (!c->half_closed) {
            whole_trace(c->w, "client %u: ends its half", c->index);
            c->half_closed = true;
            ring_shutdown_write(c->w->ring, c->id);
        }
        break;
    case WHOLE_END_CLOSE:
        if (all_answered(c)) {
            leave(c, false);
        }
        break;
    case WHOLE_END_WAIT: break;
    }
}

/* -------------------------------------------------------------------------------------------------------- sending ---- */

/* The request that the byte at `at` belongs to. */
static struct whole_request *request_at(struct whole_client *c, size_t at) {
    uint32_t i = c->next < c->count ? c->next : c->count - 1;
    while (i > 0 && c->requests[i].start > at) {
        i--;
    }
    while (i + 1 < c->count && c->requests[i].end <= at) {
        i++;
    }
    return &c->requests[i];
}

/* How far it may send for now: to the end of its request when it takes one at a time, and not beyond a head that asks whether
 * to go on (RFC 9110 §10.1.1) before it is told. */
static size_t barrier(struct whole_client *c) {
    if (c->sent >= c->stop_at) {
        return c->stop_at;
    }
    size_t most = c->stop_at;
    const struct whole_request *r = request_at(c, c->sent), *behind = c->requests + c->count;
    if (c->lockstep && r > c->requests + c->next) {
        return c->sent;
    }
    if (c->lockstep && r->end < most) {
        most = r->end;
    }
    for (; r < behind && r->start < most; r++) {
        bool waits = r->asks && !r->interim_seen && r >= c->requests + c->next;
        if (waits && c->sent <= r->head && r->head < most) {
            most = r->head;
        }
    }
    return most;
}

/* Notes when what was handed over. */
static void note_sent(struct whole_client *c, size_t from, size_t to) {
    uint64_t now = whole_now(c->w);
    for (struct whole_request *r = request_at(c, from); r < c->requests + c->count && r->start < to; r++) {
        if (r->first_ns == 0) {
            r->first_ns = now;
            c->w->requests++;
        }
        if (r->head_ns == 0 && to >= r->head) {
            r->head_ns = r->piece_ns = now;
        }
        if (r->head_ns != 0) {
            uint64_t gap = now - r->piece_ns;
            r->gap_ns = gap > r->gap_ns ? gap : r->gap_ns;
            r->piece_ns = now;
        }
        if (r->last_ns == 0 && to >= r->end) {
            r->last_ns = now;
        }
    }
}

static void send_piece(struct whole_client *c, size_t most) {
    size_t len = most - c->sent;
    if (len > c->piece_max) {
        len = 1 + random_below(&c->random, c->piece_max);
    }
    note_sent(c, c->sent, c->sent + len);
    c->segment = (struct iovec){ c->out + c->sent, len };
    c->segment_len = len;
    c->sending = true;
    c->sent += len;
    whole_trace(c->w, "client %u: sends %zu bytes, %zu of %zu", c->index, len, c->sent, c->stop_at);
    ring_send(c->w->ring, c->id, &c->segment, 1, RING_SEND_LOUD);
}

static void resume(struct whole_client *c) {
    if (c->paused && whole_now(c->w) >= c->resume_at_ns) {
        whole_trace(c->w, "client %u: reads again", c->index);
        c->paused = false;
        ring_receive_mode(c->w->ring, c->id, RING_FREE);
    }
}

/* Does what is to be done now. */
static void act(struct whole_client *c) {
    if (!c->connected || c->closed) {
        return;
    }
    resume(c);
    if (c->sending || c->half_closed || whole_now(c->w) < c->send_at_ns) {
        return;
    }
    bool quiet = c->last_seen && !c->stubborn;
    size_t most = barrier(c);
    if (!quiet && c->sent < most) {
        if (random_below(&c->random, SIM_PPM) < c->delay_ppm && c->send_at_ns != whole_now(c->w)) {
            c->send_at_ns = whole_now(c->w) + 1 + random_next(&c->random) % c->delay_ns_max;
            return;
        }
        send_piece(c, most);
    } else if (quiet || c->sent == c->stop_at) {
        finish_sending(c);
    }
}

/* --------------------------------------------------------------------------------------------------------- events ---- */

static void take_connected(struct whole_client *c, int32_t result) {
    whole_trace(c->w, "client %u: connected: %d", c->index, result);
    if (result < 0) {
        c->error = result;
        leave(c, false);
        if (c->w->drain_ns == 0 && sim_faults(c->w->world)->refusals == 0) {
            whole_fail(c->w, "client %u: its connect ended with %d", c->index, result);
        }
        return;
    }
    c->connected = true;
}

static void keep_received(struct whole_client *c, struct span bytes) {
    if (c->in_len + bytes.len > c->in_room) {
        c->in_room = (c->in_len + bytes.len) * 2;
        c->in = realloc(c->in, c->in_room);
        if (c->in == NULL) {
            whole_fail(c->w, "no memory");
        }
    }
    memcpy(c->in + c->in_len, bytes.data, bytes.len);
    c->in_len += bytes.len;
    c->received += bytes.len;
}

/* Stops reading for a while. */
static void maybe_pause(struct whole_client *c) {
    if (c->paused || random_below(&c->random, SIM_PPM) >= c->slow_ppm) {
        return;
    }
    uint64_t ns = 1 + random_next(&c->random) % c->pause_ns_max;
    c->paused = true;
    c->resume_at_ns = whole_now(c->w) + ns;
    c->paused_ns += ns;
    c->pause_max_ns = ns > c->pause_max_ns ? ns : c->pause_max_ns;
    ring_receive_mode(c->w->ring, c->id, RING_METERED);
    whole_trace(c->w, "client %u: reads nothing for %.3f ms", c->index, (double)ns / 1e6);
}

/* One bit of what has come is wrong. */
static void mutate_bytes(struct whole_client *c, size_t len) {
    struct whole *w = c->w;
    if (w->mutation == WHOLE_FLIP && !w->mutated && random_below(&w->random, 8) == 0) {
        w->mutated = true;
        c->in[c->in_len - 1 - random_below(&w->random, (uint32_t)len)] ^= (char)(1 << random_below(&w->random, 7));
    }
}

static void take_received(struct whole_client *c, const struct ring_event *event) {
    if (event->result > 0) {
        whole_trace(c->w, "client %u: receives %d bytes", c->index, event->result);
        keep_received(c, event->bytes);
        mutate_bytes(c, event->bytes.len);
        whole_judge(c);
        maybe_pause(c);
        return;
    }
    whole_trace(c->w, "client %u: its connection ends: %d", c->index, event->result);
    c->ended = event->result == 0;
    c->error = event->result;
    whole_judge_end(c);
    leave(c, false);
}

static void take_sent(struct whole_client *c, int32_t result) {
    c->sending = false;
    if (result < 0) {
        c->end = WHOLE_END_WAIT; /* a RECEIVED will say how it ended */
        c->stop_at = c->sent;
    }
}

static void take_event(struct whole *w, const struct ring_event *event) {
    struct whole_client *c = event->user;
    switch (event->type) {
    case RING_CONNECTED: take_connected(c, event->result); break;
    case RING_RECEIVED: take_received(c, event); break;
    case RING_SENT: take_sent(c, event->result); break;
    case RING_CLOSED: c->gone = true; break;
    case RING_WOKEN:
    case RING_TICK: break;
    case RING_ACCEPTED:
    case RING_READY:
    case RING_READ:
    case RING_FINISHED: whole_fail(w, "a client's ring says %s", ring_event_name(event->type));
    }
}

/* ---------------------------------------------------------------------------------------------------------- turns ---- */

static void start(struct whole_client *c) {
    if (c->started || whole_now(c->w) < c->start_ns) {
        return;
    }
    c->started = true;
    if (ring_connect(c->w->ring, &c->w->server.places[0].address, c, &c->id) != 0) {
        whole_fail(c->w, "client %u cannot connect", c->index);
    }
}

/* When it will do something by itself; UINT64_MAX: not before something happens. */
static uint64_t next_act(const struct whole_client *c) {
    if (!c->started) {
        return c->start_ns;
    }
    uint64_t next = UINT64_MAX;
    if (c->connected && !c->closed && c->send_at_ns > whole_now(c->w)) {
        next = c->send_at_ns;
    }
    if (c->connected && !c->closed && c->leave_at_ns > whole_now(c->w) && c->leave_at_ns < next) {
        next = c->leave_at_ns;
    }
    if (c->paused && !c->closed && c->resume_at_ns < next) {
        next = c->resume_at_ns;
    }
    return next;
}

uint64_t whole_deadline(const struct whole *w) {
    uint64_t next = w->drain_ns == 0 && w->drain_at_ns != 0 ? w->drain_at_ns : UINT64_MAX;
    next = w->toggle_at_ns < next ? w->toggle_at_ns : next;
    next = w->db_toggles && w->db_toggle_at_ns < next ? w->db_toggle_at_ns : next;
    for (uint32_t i = 0; i < w->client_count; i++) {
        uint64_t at = next_act(&w->clients[i]);
        next = at < next ? at : next;
    }
    return next == UINT64_MAX ? RING_NO_DEADLINE : next;
}

static void one_turn(struct whole *w, uint64_t deadline_ns) {
    if (ring_wait(w->ring, deadline_ns) != 0) {
        whole_fail(w, "the clients' ring is broken");
    }
    for (struct ring_event event; ring_next(w->ring, &event);) {
        take_event(w, &event);
    }
    whole_happen(w);
    for (uint32_t i = 0; i < w->client_count; i++) {
        start(&w->clients[i]);
        act(&w->clients[i]);
    }
}

/* While there is a worker only its wait lets time leap: then each side's deadline is the newest. So theirs is told here, in
 * turns that don't sleep, until they have no other plans. */
void whole_turn_clients(struct whole *w) {
    if (!w->worker_open) {
        one_turn(w, whole_deadline(w));
        return;
    }
    uint64_t told_ns;
    do {
        told_ns = whole_deadline(w);
        ring_wake(w->ring);
        one_turn(w, told_ns);
    } while (whole_deadline(w) != told_ns); /* one that has passed has changed */
}

bool whole_clients_gone(const struct whole *w) {
    for (uint32_t i = 0; i < w->client_count; i++) {
        if (!w->clients[i].gone) {
            return false;
        }
    }
    return true;
}
