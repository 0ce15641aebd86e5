#include "load_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "mem/assert.h"

enum {
    CONNECTING_MAX = 256,              /* connects in flight: more would overflow a listener's backlog */
    CONNECT_FAILURES_MAX = 2000,       /* in a row: nobody is there */
    QUIET_BYTES_MAX = 16 * 1024,       /* sends up to this need no wake-up of their own */
    SOCKETS_SPARE = 1024,              /* slots beyond one per connection: those that are being closed */
};
static const uint64_t drain_ns = 2000ull * 1000 * 1000;  /* how long the last responses are waited for */
static const uint64_t stall_ns = 10000ull * 1000 * 1000; /* without any response: give up */
static const uint64_t rest_ns = 5ull * 1000 * 1000;      /* before a failed connect is tried again */

enum life {
    LIFE_RESTING,    /* no socket; on the resting list */
    LIFE_CONNECTING,
    LIFE_OPEN,
    LIFE_CLOSING, /* broken: waits for its CLOSED, because a send may still hold its memory */
};

struct connection {
    struct connection *next; /* on the dirty or the resting list */
    struct ring_id id;
    enum life life;
    bool dirty;   /* on the dirty list: set by mark, cleared by flush_all */
    bool sending; /* set by ring_send, cleared by SENT */
    uint32_t in_flight;
    uint32_t sent_at;      /* tape position of the next request to send */
    uint32_t expected_at;  /* ... of the next response */
    uint32_t life_sent;    /* since it was connected */
    uint32_t life_answers; /* likewise */
    uint64_t sent_count;   /* in all; with in_flight: where in `times` the next answer's time is */
    uint64_t answers;      /* in all */
    uint64_t *times;       /* when each request in flight was sent: a ring of times_mask + 1 */
    struct reply_reader reader;
    struct iovec segment;
};

struct run {
    const struct load_options *options;
    struct load_template *template;
    const struct load_tape *tape;
    struct load_result *result;
    struct ring *ring;
    struct connection *connections;
    struct connection *dirty;
    struct connection *resting;
    struct connection **resting_end;
    uint64_t now_ns;
    uint64_t stop_ns;     /* no request is sent from then on; UINT64_MAX: no such time */
    uint64_t progress_ns; /* the last response */
    uint64_t in_flight;
    uint64_t paced_ns; /* open loop: when the first request was due; 0: not all connections are there yet */
    uint64_t released; /* open loop: requests that are due; number k is of connection k % connections */
    uint32_t times_mask;
    uint32_t connecting;
    uint32_t failures; /* of connects, in a row */
    bool stopping;     /* nothing is sent any more */
};

static const char *const error_names[LOAD_ERRORS_COUNT] = {
    [LOAD_ERROR_STATUS] = "status",   [LOAD_ERROR_LENGTH] = "length",   [LOAD_ERROR_BODY] = "body",
    [LOAD_ERROR_MALFORMED] = "malformed", [LOAD_ERROR_UNASKED] = "unasked", [LOAD_ERROR_CLOSED] = "closed",
    [LOAD_ERROR_RESET] = "reset",     [LOAD_ERROR_CONNECT] = "connect", [LOAD_ERROR_UNANSWERED] = "unanswered",
};

const char *load_error_name(enum load_error error) {
    rm_assert(error < LOAD_ERRORS_COUNT);
    return error_names[error];
}

uint64_t load_result_errors(const struct load_result *result) {
    uint64_t sum = 0;
    for (int i = 0; i < LOAD_ERRORS_COUNT; i++) {
        sum += result->errors[i];
    }
    return sum;
}

/* ---------------------------------------------------------------------------------------------------- errors ---- */

static void note_error(struct run *run, enum load_error error, uint64_t n) {
    run->result->errors[error] += n;
}

/* Keeps the first wrong response in words. `bytes` is the input it came in: its start may belong to an earlier response. */
static void keep_sample(struct run *run, const struct connection *connection, enum load_error error, struct span bytes) {
    char *sample = run->result->sample;
    if (sample[0] != 0) {
        return;
    }
    const struct load_request *request = &run->template->requests[run->tape->which[connection->expected_at]];
    const char *line_end = memchr(request->bytes, '\r', request->len);
    int line = line_end == NULL ? 0 : (int)(line_end - request->bytes);
    snprintf(sample, LOAD_SAMPLE_BYTES,
             "%s: '%.*s' wants status %" PRIu32 " and %" PRIu64 " bytes, got status %" PRIu32 " and %" PRIu64
             " bytes; received: %.*s",
             load_error_name(error), line < 120 ? line : 120, request->bytes, request->expect.status,
             request->expect.length, connection->reader.status, connection->reader.body_bytes,
             (int)(bytes.len < 300 ? bytes.len : 300), bytes.data);
}

static void keep_sample_text(struct run *run, enum load_error error, const char *text) {
    if (run->result->sample[0] == 0) {
        snprintf(run->result->sample, LOAD_SAMPLE_BYTES, "%s: %s", load_error_name(error), text);
    }
}

/* ----------------------------------------------------------------------------------------------- connections ---- */

static void mark(struct run *run, struct connection *connection) {
    if (connection->dirty) {
        return;
    }
    connection->dirty = true;
    connection->next = run->dirty;
    run->dirty = connection;
}

static void rest(struct run *run, struct connection *connection) {
    connection->life = LIFE_RESTING;
    connection->next = NULL;
    *run->resting_end = connection;
    run->resting_end = &connection->next;
}

static void start_connect(struct run *run, struct connection *connection) {
    reply_reset(&connection->reader);
    connection->life_sent = connection->life_answers = 0;
    int32_t started = run->connecting >= CONNECTING_MAX
                          ? -EAGAIN
                          : ring_connect(run->ring, &run->options->address, connection, &connection->id);
    if (started < 0) {
        if (started != -EAGAIN && started != -ENFILE) {
            note_error(run, LOAD_ERROR_CONNECT, 1);
            keep_sample_text(run, LOAD_ERROR_CONNECT, strerror(-started));
            run->failures++;
        }
        rest(run, connection);
        return;
    }
    connection->life = LIFE_CONNECTING;
    run->connecting++;
}

/* Tries the resting ones that were there before the call. */
static void wake_resting(struct run *run) {
    struct connection *list = run->resting;
    run->resting = NULL;
    run->resting_end = &run->resting;
    while (list != NULL) {
        struct connection *connection = list;
        list = connection->next;
        start_connect(run, connection);
    }
}

/* A new socket in place of one that was used up in good order. Nothing is in flight and no send holds our memory, so the old
 * one may close on its own. */
static void replace_socket(struct run *run, struct connection *connection) {
    rm_assert(!connection->sending);
    rm_assert(connection->in_flight == 0);
    ring_set_user(run->ring, connection->id, NULL);
    ring_close(run->ring, connection->id);
    start_connect(run, connection);
}

/* The connection is of no use any more: what was in flight is lost. */
static void break_off(struct run *run, struct connection *connection) {
    note_error(run, LOAD_ERROR_UNANSWERED, connection->in_flight);
    run->in_flight -= connection->in_flight;
    connection->expected_at = (connection->expected_at + connection->in_flight) % run->tape->period;
    connection->in_flight = 0;
    connection->life = LIFE_CLOSING;
    ring_close(run->ring, connection->id);
}

/* ----------------------------------------------------------------------------------------------------- pacing ---- */

/* When request number `k` of an open loop is due. */
static uint64_t due_ns(const struct run *run, uint64_t k) {
    return run->paced_ns + (uint64_t)((unsigned __int128)k * 1000000000 / run->options->rate);
}

/* Requests of one connection that are due but not sent; no limit in a closed loop. */
static uint64_t owed(const struct run *run, const struct connection *connection) {
    if (run->options->rate == 0) {
        return UINT64_MAX;
    }
    uint64_t i = (uint64_t)(connection - run->connections);
    uint64_t n = run->options->connections;
    return (run->released + n - 1 - i) / n - connection->sent_count;
}

/* Marks the connections whose next request has become due. */
static void release(struct run *run) {
    if (run->options->rate == 0 || run->stopping) {
        return;
    }
    if (run->paced_ns == 0) {
        if (run->result->connects < run->options->connections) {
            return;
        }
        run->paced_ns = run->now_ns;
    }
    for (; due_ns(run, run->released) <= run->now_ns; run->released++) {
        mark(run, &run->connections[run->released % run->options->connections]);
    }
}

/* When the next request of the connection, to be sent now, was due; that is now in a closed loop. */
static uint64_t asked_ns(const struct run *run, const struct connection *connection) {
    if (run->options->rate == 0) {
        return run->now_ns;
    }
    uint64_t i = (uint64_t)(connection - run->connections);
    return due_ns(run, i + connection->sent_count * run->options->connections);
}

/* --------------------------------------------------------------------------------------------------- sending ---- */

static uint32_t due(const struct run *run, const struct connection *connection) {
    uint64_t n = run->options->depth - connection->in_flight;
    if (n > owed(run, connection)) {
        n = owed(run, connection);
    }
    if (run->options->reconnect > 0 && n > run->options->reconnect - connection->life_sent) {
        n = run->options->reconnect - connection->life_sent;
    }
    if (run->options->requests > 0 && n > run->options->requests - run->result->requests) {
        n = run->options->requests - run->result->requests;
    }
    return run->stopping ? 0 : (uint32_t)n;
}

static void send_due(struct run *run, struct connection *connection, uint32_t n) {
    struct span bytes = load_tape_span(run->tape, connection->sent_at, n);
    connection->segment = (struct iovec){ (void *)(uintptr_t)bytes.data, bytes.len };
    for (uint32_t i = 0; i < n; i++) {
        connection->times[connection->sent_count & run->times_mask] = asked_ns(run, connection);
        connection->sent_count++;
    }
    connection->sent_at = (connection->sent_at + n) % run->tape->period;
    connection->in_flight += n;
    connection->life_sent += n;
    connection->sending = true;
    run->in_flight += n;
    run->result->requests += n;
    run->result->sent_bytes += bytes.len;
    ring_send(run->ring, connection->id, &connection->segment, 1,
              bytes.len <= QUIET_BYTES_MAX ? RING_SEND_QUIET : RING_SEND_LOUD);
}

static void flush(struct run *run, struct connection *connection) {
    if (connection->life != LIFE_OPEN || connection->sending) {
        return; /* SENT marks it again */
    }
    bool used_up = run->options->reconnect > 0 && connection->life_answers == run->options->reconnect;
    if (used_up && !run->stopping) {
        replace_socket(run, connection);
        return;
    }
    uint32_t n = due(run, connection);
    if (n > 0) {
        send_due(run, connection, n);
    }
}

static void flush_all(struct run *run) {
    run->stopping = run->stopping || run->now_ns >= run->stop_ns;
    while (run->dirty != NULL) {
        struct connection *connection = run->dirty;
        run->dirty = connection->next;
        connection->dirty = false;
        flush(run, connection);
    }
    run->stopping = run->stopping || (run->options->requests > 0 && run->result->requests == run->options->requests);
}

/* -------------------------------------------------------------------------------------------------- receiving ---- */

static void count_answer(struct run *run, struct connection *connection, enum reply_verdict verdict, struct span bytes) {
    static const enum load_error errors[REPLY_VERDICTS_COUNT] = {
        [REPLY_STATUS] = LOAD_ERROR_STATUS,
        [REPLY_LENGTH] = LOAD_ERROR_LENGTH,
        [REPLY_BODY] = LOAD_ERROR_BODY,
    };
    uint64_t sent_ns = connection->times[(connection->sent_count - connection->in_flight) & run->times_mask];
    histogram_add(&run->result->latency, run->now_ns - sent_ns);
    run->result->statuses[connection->reader.status]++;
    run->result->responses++;
    if (verdict != REPLY_RIGHT) {
        note_error(run, errors[verdict], 1);
        keep_sample(run, connection, errors[verdict], bytes);
    }
    connection->expected_at = connection->expected_at + 1 == run->tape->period ? 0 : connection->expected_at + 1;
    connection->in_flight--;
    connection->life_answers++;
    connection->answers++;
    run->in_flight--;
}

static void take_bytes(struct run *run, struct connection *connection, struct span bytes) {
    struct span input = bytes;
    run->result->received_bytes += bytes.len;
    run->progress_ns = run->now_ns;
    while (input.len > 0) {
        if (connection->in_flight == 0) {
            note_error(run, LOAD_ERROR_UNASKED, 1);
            keep_sample(run, connection, LOAD_ERROR_UNASKED, input);
            break_off(run, connection);
            return;
        }
        struct load_request *request = &run->template->requests[run->tape->which[connection->expected_at]];
        enum reply_verdict verdict = reply_next(&connection->reader, &input, &request->expect);
        if (verdict == REPLY_MALFORMED) {
            note_error(run, LOAD_ERROR_MALFORMED, 1);
            keep_sample(run, connection, LOAD_ERROR_MALFORMED, bytes);
            break_off(run, connection);
            return;
        }
        if (verdict != REPLY_MORE) {
            count_answer(run, connection, verdict, bytes);
        }
    }
    mark(run, connection);
}

static void on_end(struct run *run, struct connection *connection, int32_t result) {
    if (connection->in_flight == 0) {
        run->result->closed_idle++;
    } else {
        enum load_error error = result == 0 ? LOAD_ERROR_CLOSED : LOAD_ERROR_RESET;
        note_error(run, error, 1);
        keep_sample_text(run, error, result == 0 ? "the server ended a connection with requests in flight" : strerror(-result));
    }
    break_off(run, connection);
}

/* ----------------------------------------------------------------------------------------------------- events ---- */

static void on_connected(struct run *run, struct connection *connection, int32_t result) {
    run->connecting--;
    if (result < 0) {
        run->failures++;
        note_error(run, LOAD_ERROR_CONNECT, 1);
        keep_sample_text(run, LOAD_ERROR_CONNECT, strerror(-result));
        break_off(run, connection);
        return;
    }
    run->failures = 0;
    run->result->connects++;
    connection->life = LIFE_OPEN;
    mark(run, connection);
}

static void on_closed(struct run *run, struct connection *connection) {
    rm_assert(connection->life == LIFE_CLOSING);
    connection->sending = false;
    rest(run, connection);
}

static void on_event(struct run *run, const struct ring_event *event) {
    struct connection *connection = event->user;
    if (connection == NULL) {
        return; /* a socket that was replaced */
    }
    switch (event->type) {
    case RING_CONNECTED: on_connected(run, connection, event->result); break;
    case RING_RECEIVED:
        if (event->result > 0) {
            take_bytes(run, connection, event->bytes);
        } else {
            on_end(run, connection, event->result);
        }
        break;
    case RING_SENT:
        connection->sending = false;
        if (event->result < 0) {
            on_end(run, connection, event->result);
        } else if (connection->in_flight < run->options->depth) {
            mark(run, connection);
        }
        break;
    case RING_CLOSED: on_closed(run, connection); break;
    case RING_TICK: break;
    case RING_ACCEPTED:
    case RING_READY:
    case RING_WOKEN:
    case RING_FINISHED:
    case RING_READ:
    default: rm_assert(event->type == RING_TICK); /* load asks for no other */
    }
}

/* When ring_wait must come back even if nothing happens. */
static uint64_t deadline(const struct run *run) {
    uint64_t at = run->stopping ? run->now_ns + drain_ns : run->progress_ns + stall_ns;
    if (!run->stopping && run->stop_ns < at) {
        at = run->stop_ns;
    }
    if (run->paced_ns != 0 && !run->stopping && due_ns(run, run->released) < at) {
        at = due_ns(run, run->released);
    }
    return run->resting != NULL && !run->stopping && run->now_ns + rest_ns < at ? run->now_ns + rest_ns : at;
}

/* One turn. False: the ring is broken. */
static bool turn(struct run *run) {
    if (ring_wait(run->ring, deadline(run)) < 0) {
        return false;
    }
    run->now_ns = ring_now(run->ring);
    struct ring_event event;
    bool tick = false;
    while (ring_next(run->ring, &event)) {
        if (event.type == RING_TICK) {
            tick = true;
            continue;
        }
        on_event(run, &event);
    }
    release(run);
    flush_all(run);
    bool may_connect = tick || (run->failures == 0 && run->connecting < CONNECTING_MAX / 2);
    if (run->resting != NULL && may_connect && !run->stopping) {
        wake_resting(run);
    }
    return true;
}

/* --------------------------------------------------------------------------------------------- begin and end ---- */

static void *must_allocate(size_t count, size_t bytes) {
    void *memory = calloc(count, bytes);
    if (memory == NULL) {
        fprintf(stderr, "load: out of memory\n");
        exit(70);
    }
    return memory;
}

static void make_connections(struct run *run) {
    uint32_t n = run->options->connections;
    uint32_t times = 1;
    while (times < run->options->depth) {
        times *= 2;
    }
    run->times_mask = times - 1;
    run->connections = must_allocate(n, sizeof *run->connections);
    uint64_t *all_times = must_allocate((size_t)n * times, sizeof *all_times);
    char *carries = must_allocate(n, REPLY_HEAD_BYTES_MAX);
    uint64_t seed = run->options->seed;
    for (uint32_t i = 0; i < n; i++) {
        struct connection *connection = &run->connections[i];
        connection->times = all_times + (size_t)i * times;
        connection->reader.carry = carries + (size_t)i * REPLY_HEAD_BYTES_MAX;
        connection->sent_at = (uint32_t)((seed == 0 ? i : load_random(&seed)) % run->tape->period);
        connection->expected_at = connection->sent_at;
    }
}

/* The first connection holds the start of what all share. */
static void release_connections(struct run *run) {
    free(run->connections[0].times);
    free(run->connections[0].reader.carry);
    free(run->connections);
}

static int open_ring(struct run *run) {
    struct ring_config config = {
        .choice = run->options->io,
        .tuning = run->options->tuning,
        .sockets_max = run->options->connections + SOCKETS_SPARE,
        .world = run->options->world,
    };
    int32_t opened = ring_open(&config, &run->ring, &run->result->report);
    if (opened < 0) {
        fprintf(stderr, "load: %s\n", run->result->report.why);
        return 69;
    }
    if (run->result->report.fallback) {
        fprintf(stderr, "load: falls back to %s: %s\n", run->result->report.backend, run->result->report.why);
    }
    return 0;
}

static double cpu_us(const struct timeval *time) {
    return (double)time->tv_sec * 1e6 + (double)time->tv_usec;
}

/* Counters since `before`: all fields of struct ring_counters are uint64_t. */
static void counters_since(struct ring_counters *out, const struct ring_counters *now, const struct ring_counters *before) {
    const uint64_t *a = (const uint64_t *)now;
    const uint64_t *b = (const uint64_t *)before;
    uint64_t *to = (uint64_t *)out;
    for (size_t i = 0; i < sizeof *out / sizeof *to; i++) {
        to[i] = a[i] - b[i];
    }
}

static void count_fairness(const struct run *run) {
    struct load_result *result = run->result;
    result->responses_min = UINT64_MAX;
    for (uint32_t i = 0; i < run->options->connections; i++) {
        uint64_t answers = run->connections[i].answers;
        result->responses_min = answers < result->responses_min ? answers : result->responses_min;
        result->responses_max = answers > result->responses_max ? answers : result->responses_max;
    }
}

static int loop(struct run *run) {
    for (uint32_t i = 0; i < run->options->connections; i++) {
        start_connect(run, &run->connections[i]);
    }
    uint64_t stopped_ns = 0;
    for (;;) {
        if (!turn(run)) {
            fprintf(stderr, "load: the ring is broken\n");
            return 69;
        }
        if (run->failures > CONNECT_FAILURES_MAX || (run->result->connects == 0 && run->failures >= 64)) {
            fprintf(stderr, "load: cannot connect to %s (%s)\n", run->options->connect, run->result->sample);
            return 69;
        }
        if (run->stopping && stopped_ns == 0) {
            stopped_ns = run->now_ns;
        }
        bool waited = stopped_ns != 0 && run->now_ns >= stopped_ns + drain_ns;
        bool stalled = run->now_ns >= run->progress_ns + stall_ns;
        if ((run->stopping && run->in_flight == 0) || waited || stalled) {
            note_error(run, LOAD_ERROR_UNANSWERED, run->in_flight);
            return 0;
        }
    }
}

int load_run(const struct load_options *options, struct load_template *template, const struct load_tape *tape,
             struct load_result *out) {
    struct run run = { .options = options, .template = template, .tape = tape, .result = out };
    run.resting_end = &run.resting;
    make_connections(&run);
    int failed = open_ring(&run);
    if (failed != 0) {
        release_connections(&run);
        return failed;
    }
    struct ring_counters before = *ring_counters(run.ring);
    struct rusage begin, end;
    getrusage(RUSAGE_SELF, &begin);
    run.now_ns = run.progress_ns = out->begin_ns = ring_now(run.ring);
    run.stop_ns = options->duration_ns == 0 ? UINT64_MAX : run.now_ns + options->duration_ns;

    failed = loop(&run);
    getrusage(RUSAGE_SELF, &end);
    out->user_us = cpu_us(&end.ru_utime) - cpu_us(&begin.ru_utime);
    out->system_us = cpu_us(&end.ru_stime) - cpu_us(&begin.ru_stime);
    out->end_ns = run.progress_ns;
    counters_since(&out->counters, ring_counters(run.ring), &before);
    count_fairness(&run);
    ring_release(run.ring);
    release_connections(&run);
    return failed;
}
