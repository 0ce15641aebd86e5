#include "server/observe.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "mem/assert.h"
#include "server/exchange.h"
#include "server/logger.h"
#include "server/worker.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

/* What OpenTelemetry advises for http.server.request.duration, and finer ones below it. */
const uint64_t observe_bounds_ns[OBSERVE_BUCKETS - 1] = {
    50 * US,  100 * US, 250 * US, 500 * US, 1 * MS,    2500 * US, 5 * MS,    10 * MS,   25 * MS,   50 * MS,
    75 * MS,  100 * MS, 250 * MS, 500 * MS, 750 * MS, 1000 * MS, 2500 * MS, 5000 * MS, 7500 * MS, 10000 * MS,
};

void observe_init(struct observer *observer, const struct config *config, void *const arrays[static PLAN_ARRAYS_COUNT]) {
    void *lines = arrays[PLAN_LINES - PLAN_POOLS_COUNT];
    *observer = (struct observer){
        .rows = arrays[PLAN_ROWS - PLAN_POOLS_COUNT],
        .statuses = arrays[PLAN_STATUSES - PLAN_POOLS_COUNT],
        .clients = arrays[PLAN_CLIENTS - PLAN_POOLS_COUNT],
        .format = config->access_format,
    };
    if (lines != NULL) {
        lines_init(&observer->ring, lines, OBSERVE_LINES_BYTES);
        observer->lines = &observer->ring;
    }
}

/* --------------------------------------------------------------------------------------------------- figures ---- */

void observe_add(struct observe_row *row, uint64_t ns) {
    unsigned i = 0;
    while (i < OBSERVE_BUCKETS - 1 && ns > observe_bounds_ns[i]) {
        i++;
    }
    counter_add(&row->buckets[i], 1);
    counter_add(&row->sum_ns, ns);
}

static inline void add_status(struct worker *worker, int status) {
    counter_add(&worker->observer.statuses[status - OBSERVE_STATUS_MIN], 1);
}

/* ---------------------------------------------------------------------------------------------------- client ---- */

static uint32_t address_text(const struct ring_address *address, char *out, size_t room) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address->storage;
    const char *text = NULL;
    switch (address->storage.ss_family) {
    case AF_INET: text = inet_ntop(AF_INET, &v4->sin_addr, out, (socklen_t)room); break;
    case AF_INET6: text = inet_ntop(AF_INET6, &v6->sin6_addr, out, (socklen_t)room); break;
    case AF_UNIX: text = memcpy(out, "unix:", sizeof "unix:"); break;
    default: break;
    }
    return text == NULL ? 0 : (uint32_t)strlen(text);
}

/* Once per connection. */
[[gnu::noinline]] static void learn_client(struct worker *worker, struct ring_id id) {
    struct observe_client *client = &worker->observer.clients[id.slot];
    struct ring_address address;
    client->generation = id.generation;
    client->len = 0;
    if (ring_peer(worker->ring, id, &address) == 0) {
        client->len = address_text(&address, client->text, sizeof client->text);
    }
}

static const struct observe_client *client_of(struct worker *worker, const struct conn_state *conn) {
    struct ring_id id = conn->stream.id;
    const struct observe_client *client = &worker->observer.clients[id.slot];
    if (client->generation != id.generation && !conn->stream.closed) {
        learn_client(worker, id);
    }
    return client->generation == id.generation ? client : NULL;
}

static struct conn_state *conn_of(const struct http_exchange *x) {
    return LIST_OWNER(x->conn, struct conn_state, http);
}

void observe_park(struct worker *worker, struct rm_exchange *x) {
    if (worker->observer.lines == NULL || x->http.conn == NULL || x->client != NULL) {
        return;
    }
    const struct observe_client *client = client_of(worker, conn_of(&x->http));
    struct observe_client *copy = client != NULL ? arena_take(&x->http.workspace, sizeof *copy) : NULL;
    if (copy != NULL) {
        *copy = *client;
        x->client = copy;
    }
}

/* ------------------------------------------------------------------------------------------------------ line ---- */

enum { STATUS_CLIENT_GONE = 499 }; /* nginx's name for it: no answer was sent */

static struct span stamp_of(struct worker *worker) {
    struct observer *observer = &worker->observer;
    int64_t seconds = ring_wall_seconds(worker->ring);
    if (observer->format == ACCESS_JSON) {
        stamp_rfc3339(seconds, ring_wall_ms(worker->ring), observer->stamp);
        return span_of(observer->stamp, STAMP_RFC3339_BYTES);
    }
    if (seconds != observer->stamp_seconds) {
        observer->stamp_seconds = seconds;
        stamp_common(seconds, observer->stamp);
    }
    return span_of(observer->stamp, STAMP_COMMON_BYTES);
}

static void describe_client(struct worker *worker, const struct http_exchange *x, struct access_entry *entry) {
    const struct observe_client *client = NULL;
    if (x->conn != NULL) {
        const struct conn_state *conn = conn_of(x);
        client = client_of(worker, conn);
        entry->conn_slot = conn->stream.id.slot;
        entry->conn_generation = conn->stream.id.generation;
    } else if (x->parked) {
        client = ((const struct rm_exchange *)(const void *)x)->client;
    }
    if (client != NULL) {
        entry->address = span_of(client->text, client->len);
    }
}

static void describe_request(const struct worker *worker, const struct http_request *request, struct access_entry *entry) {
    if (request->method_text.len == 0 || request->target.len == 0) {
        return;
    }
    entry->method = http_span(request, request->method_text);
    entry->target = http_span(request, request->target);
    entry->path = http_span(request, request->path);
    entry->query = http_span(request, request->query);
    entry->version_minor = request->version_minor;
    if (worker->observer.format != ACCESS_COMMON) {
        (void)http_request_field(request, SPAN("referer"), &entry->referer);
        (void)http_request_field(request, SPAN("user-agent"), &entry->agent);
    }
}

[[gnu::noinline]] static void write_line(struct worker *worker, const struct http_exchange *x) {
    struct observer *observer = &worker->observer;
    struct access_entry entry = {
        .stamp = stamp_of(worker),
        .status = x->conn != NULL ? x->status : STATUS_CLIENT_GONE,
        .bytes_in = x->body_received,
        .bytes_out = x->silent ? 0 : x->body_written,
        .duration_us = (worker->now_ns - x->began_ns) / 1000,
        .worker = worker->index,
    };
    describe_client(worker, x, &entry);
    describe_request(worker, &x->request, &entry);
    if (x->route != NULL) {
        entry.route = x->route->path;
    }
    char *line = lines_reserve(observer->lines, access_bytes_max(&entry, observer->format));
    if (line == NULL) {
        counter_add(&worker->figures.log_dropped, 1);
        return;
    }
    size_t len = (size_t)(access_write(line, &entry, observer->format) - line);
    lines_commit(observer->lines, len);
    counter_add(&worker->figures.log_lines, 1);
    counter_add(&worker->figures.log_bytes, len);
}

/* ----------------------------------------------------------------------------------------------------- hooks ---- */

[[gnu::noinline]] static void observe_any(struct worker *worker, const struct http_exchange *x) {
    if (x->shadow) { /* nobody has asked */
        return;
    }
    if (x->conn != NULL) {
        rm_assert(x->status >= OBSERVE_STATUS_MIN);
        rm_assert(x->status < OBSERVE_STATUS_MIN + OBSERVE_STATUSES);
        observe_add(&worker->observer.rows[observe_row(x)], worker->now_ns - x->began_ns);
        add_status(worker, x->status);
    } else {
        counter_add(&worker->figures.abandoned, 1);
    }
    counter_add(&worker->figures.body_bytes_in, x->body_received);
    if (!x->silent) {
        counter_add(&worker->figures.body_bytes_out, x->body_written);
    }
    if (worker->observer.lines != NULL) {
        write_line(worker, x);
    }
}

/* The case of nearly every request goes without a call: answered in its turn, without a body, and no log. http has seen to it
 * that a status that was sent has three digits. */
void observe_done(struct http_exchange *x) {
    struct worker *worker = worker_of(x->shared);
    bool at_once = ((worker->now_ns - x->began_ns) | x->body_received) == 0;
    if (!at_once || x->conn == NULL || x->route == NULL || x->silent || worker->observer.lines != NULL) {
        observe_any(worker, x);
        return;
    }
    counter_add(&worker->observer.rows[2 * x->route->index].buckets[0], 1);
    add_status(worker, x->status);
    counter_add(&worker->figures.body_bytes_out, x->body_written);
}

void observe_turn(struct worker *worker) {
    struct logger *logger = worker->server->logger;
    if (worker->observer.lines != NULL && lines_publish(worker->observer.lines) && logger != NULL && logger_nudge(logger)) {
        counter_add(&worker->figures.log_wakes, 1);
    }
}
