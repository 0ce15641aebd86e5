/* The sockets of a worker's connections to its database. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>

#include "mem/assert.h"
#include "pg/pg_crypto.h"
#include "server/db.h"
#include "server/worker.h"

static const struct pg_settings *settings_of(const struct db_conn *conn) {
    return conn->db->pool.config.settings;
}

static struct ring *ring_of(const struct db_conn *conn) {
    return conn->db->worker->ring;
}

static bool wants_attention(enum db_phase phase) {
    return phase == DB_WAITING || phase == DB_RESOLVING || phase == DB_ENDING;
}

/* The only place that changes the phase. */
static void enter(struct db_conn *conn, enum db_phase phase) {
    conn->db->attention -= wants_attention((enum db_phase)conn->phase);
    conn->db->attention += wants_attention(phase);
    conn->phase = (uint8_t)phase;
}

static void end_handshake(struct db_conn *conn) {
    if (conn->handshaking) {
        conn->handshaking = false;
        server_end_handshake(conn->db->worker->server);
    }
}

/* Nothing of it is left: the pool may want it anew. */
static void finish(struct db_conn *conn, const char *why) {
    rm_assert(!conn->streaming);
    rm_assert(!conn->job_out);
    end_handshake(conn);
    conn->dead = false;
    enter(conn, DB_IDLE);
    pg_pool_closed(&conn->db->pool, conn->index, why);
}

/* ------------------------------------------------------------------------------------------------- addresses ---- */

static bool add_unix(const struct pg_settings *settings, struct resolved *out) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char path[sizeof address.sun_path];
    if (!pg_settings_socket(settings, path, sizeof path)) {
        return false;
    }
    size_t len = strlen(path);
    memcpy(address.sun_path, path, len);
    bool named = path[0] == '@'; /* in the abstract name space, without a file: unix(7) */
    if (named) {
        address.sun_path[0] = '\0';
    }
    resolved_add(out, &address, offsetof(struct sockaddr_un, sun_path) + len + !named);
    return true;
}

static bool add_number(const struct pg_settings *settings, struct resolved *out) {
    const char *text = settings->host_address[0] != '\0' ? settings->host_address : settings->host;
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(settings->port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(settings->port) };
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        resolved_add(out, &v4, sizeof v4);
    } else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        resolved_add(out, &v6, sizeof v6);
    }
    return out->count > 0;
}

/* False: it is a name. */
static bool add_known(const struct pg_settings *settings, struct resolved *out) {
    out->count = 0;
    out->why[0] = '\0';
    return add_unix(settings, out) || add_number(settings, out);
}

bool db_host_is_name(const struct pg_settings *settings) {
    struct resolved resolved;
    return !add_known(settings, &resolved);
}

/* ------------------------------------------------------------------------------------------------ connecting ---- */

static void note_refusal(struct db_conn *conn, int32_t result) {
    char text[RING_ADDRESS_BYTES];
    snprintf(conn->host.why, sizeof conn->host.why, "cannot connect to %s: %s",
             ring_address_text(&conn->host.addresses[conn->address_next - 1], text), strerror(-result));
}

/* One address after the other. */
static void connect_next(struct db_conn *conn) {
    while (conn->address_next < conn->host.count) {
        const struct ring_address *address = &conn->host.addresses[conn->address_next++];
        int32_t result = ring_connect(ring_of(conn), address, &conn->owner, &conn->id);
        if (result == 0) {
            enter(conn, DB_CONNECTING);
            return;
        }
        note_refusal(conn, result);
    }
    finish(conn, conn->host.why);
}

static void offload(struct db_conn *conn, void (*run)(struct ring_job *job)) {
    rm_assert(!conn->job_out);
    conn->job_out = true;
    conn->job = (struct ring_job){ .run = run, .user = &conn->owner };
    ring_offload(ring_of(conn), &conn->job);
}

/* Its place among those that connect, or a later try. */
static void begin(struct db_conn *conn) {
    struct worker *worker = conn->db->worker;
    if (!server_begin_handshake(worker->server)) {
        conn->until_ns = worker->now_ns + (DB_WAITING_MS + ring_random(worker->ring) % DB_WAITING_MS) * NS_PER_MS;
        return;
    }
    struct resolver *resolver = worker->server->resolver;
    conn->handshaking = true;
    conn->address_next = 0;
    if (add_known(settings_of(conn), &conn->host)) {
        connect_next(conn);
    } else if (resolver != NULL) {
        conn->until_ns = UINT64_MAX;
        enter(conn, DB_RESOLVING);
        resolver_ask(resolver, &conn->ask, ring_of(conn), &conn->host);
    } else { /* in a simulated world, which has no threads */
        resolver_look_up(settings_of(conn), &conn->host);
        connect_next(conn);
    }
}

void db_conn_connect(struct db_conn *conn) {
    rm_assert(conn->phase == DB_IDLE);
    enter(conn, DB_WAITING);
    begin(conn);
}

/* 18 bytes that nobody can guess. A simulated world repeats itself by its seed. */
static bool make_nonce(struct worker *worker, uint8_t out[static PG_NONCE_RANDOM_BYTES]) {
    if (worker->server->ring.world == NULL) {
        return getrandom(out, PG_NONCE_RANDOM_BYTES, 0) == PG_NONCE_RANDOM_BYTES;
    }
    for (uint32_t i = 0; i < PG_NONCE_RANDOM_BYTES; i++) {
        out[i] = (uint8_t)ring_random(worker->ring);
    }
    return true;
}

static void connected(struct db_conn *conn, int32_t result) {
    struct worker *worker = conn->db->worker;
    uint8_t nonce[PG_NONCE_RANDOM_BYTES];
    if (result == 0 && !make_nonce(worker, nonce)) {
        result = -errno;
    }
    if (result < 0) {
        note_refusal(conn, result);
        enter(conn, DB_REFUSED);
        ring_close(worker->ring, conn->id);
        return;
    }
    stream_init(&conn->stream, &worker->streams, conn->id);
    conn->streaming = true;
    enter(conn, DB_OPEN);
    pg_pool_connected(&conn->db->pool, conn->index, &conn->stream.out, nonce);
}

void db_conn_up(struct db_conn *conn) {
    end_handshake(conn);
}

/* --------------------------------------------------------------------------------------------------- its life ---- */

/* Bytes that the kernel has not seen. */
static size_t unsent(const struct db_conn *conn) {
    return stream_pending(&conn->stream) - conn->stream.send_bytes;
}

/* Nothing more will come or go. */
static void lose(struct db_conn *conn, const char *why) {
    if (conn->dead) {
        return;
    }
    conn->dead = true;
    if (conn->phase == DB_OPEN) {
        pg_pool_lost(&conn->db->pool, conn->index, unsent(conn), why);
    } else if (conn->phase == DB_ENDING) {
        enter(conn, DB_CLOSING);
        stream_close(&conn->stream, false);
    }
}

static void received(struct db_conn *conn, const struct ring_event *event) {
    if (event->result <= 0) {
        lose(conn, event->result == 0 ? "the server has closed the connection" : strerror(-event->result));
    } else if (conn->phase == DB_OPEN && !conn->dead) {
        pg_pool_input(&conn->db->pool, conn->index, event->bytes);
    }
}

static void sent(struct db_conn *conn, int32_t result) {
    if (result < 0) {
        lose(conn, strerror(-result));
        return;
    }
    stream_sent(&conn->stream, result);
    if (conn->phase == DB_ENDING && stream_pending(&conn->stream) == 0) {
        enter(conn, DB_CLOSING);
        stream_close(&conn->stream, false);
    }
}

static void closed(struct db_conn *conn) {
    bool refused = conn->phase == DB_REFUSED;
    if (conn->streaming) {
        stream_release(&conn->stream);
        conn->streaming = false;
    }
    conn->id = (struct ring_id){ 0, 0 };
    if (refused) {
        connect_next(conn);
    } else if (!conn->job_out) { /* else when that is done: it works on the pool's memory */
        finish(conn, NULL);
    }
}

static void job_finished(struct db_conn *conn) {
    conn->job_out = false;
    if (conn->phase == DB_OPEN) {
        pg_pool_job_done(&conn->db->pool, conn->index);
    } else if (conn->phase == DB_CLOSING && conn->id.generation == 0) {
        finish(conn, NULL);
    }
}

void db_conn_event(struct db_conn *conn, const struct ring_event *event) {
    switch (event->type) {
    case RING_CONNECTED: connected(conn, event->result); break;
    case RING_RECEIVED: received(conn, event); break;
    case RING_SENT: sent(conn, event->result); break;
    case RING_CLOSED: closed(conn); break;
    case RING_FINISHED: job_finished(conn); break;
    case RING_ACCEPTED:
    case RING_READY:
    case RING_WOKEN:
    case RING_READ:
    case RING_TICK: rm_assert(event->type == RING_CONNECTED); break; /* none of a connected socket */
    }
    (void)db_take_events(conn->db);
}

/* What is to be sent last may go, but it is not waited for long. */
static void close_open(struct db_conn *conn) {
    struct pg_pool *pool = &conn->db->pool;
    bool broken = pool->members[conn->index].pg.state == PG_CONN_BROKEN;
    if (broken && !conn->dead) {
        pg_pool_lost(pool, conn->index, unsent(conn), ""); /* it knows why; but not what has never left */
    }
    if (broken || conn->dead || stream_pending(&conn->stream) == 0) {
        enter(conn, DB_CLOSING);
        stream_close(&conn->stream, false);
        return;
    }
    enter(conn, DB_ENDING);
    conn->until_ns = conn->db->worker->now_ns + DB_ENDING_MS * NS_PER_MS;
    conn->stream.loud = true;
    stream_touch(&conn->stream);
}

void db_conn_close(struct db_conn *conn) {
    switch ((enum db_phase)conn->phase) {
    case DB_WAITING: finish(conn, NULL); break;
    case DB_RESOLVING:
        resolver_leave(conn->db->worker->server->resolver, &conn->ask);
        finish(conn, NULL);
        break;
    case DB_CONNECTING:
        enter(conn, DB_CLOSING);
        ring_close(ring_of(conn), conn->id);
        break;
    case DB_REFUSED: enter(conn, DB_CLOSING); break; /* it is on its way */
    case DB_OPEN: close_open(conn); break;
    case DB_IDLE:
    case DB_ENDING:
    case DB_CLOSING: rm_assert(conn->phase == DB_OPEN); break; /* the pool says it once */
    }
}

static void run_crypto(struct ring_job *job) {
    struct db_conn *conn = LIST_OWNER(job, struct db_conn, job);
    pg_crypto_run(&conn->db->pool.members[conn->index].pg.auth.job);
}

void db_conn_run_job(struct db_conn *conn) {
    offload(conn, run_crypto);
}

/* ---------------------------------------------------------------------------------------------------- cancels ---- */

static struct db_conn *conn_of(struct db_cancel *cancel) {
    return LIST_OWNER(cancel, struct db_conn, cancel);
}

static void cancel_close(struct db_cancel *cancel) {
    if (!cancel->closing) {
        cancel->closing = true;
        ring_close(ring_of(conn_of(cancel)), cancel->id);
    }
}

void db_conn_cancel(struct db_conn *conn, struct span bytes) {
    struct db_cancel *cancel = &conn->cancel;
    rm_assert(!cancel->open);
    rm_assert(bytes.len <= sizeof cancel->bytes);
    rm_assert(conn->address_next > 0);
    memcpy(cancel->bytes, bytes.data, bytes.len);
    cancel->segment = (struct iovec){ cancel->bytes, bytes.len };
    cancel->closing = false;
    if (ring_connect(ring_of(conn), &conn->host.addresses[conn->address_next - 1], &cancel->owner, &cancel->id) < 0) {
        pg_pool_cancelled(&conn->db->pool, conn->index);
        return;
    }
    cancel->open = true;
    cancel->until_ns = conn->db->worker->now_ns + settings_of(conn)->connect_timeout_ns;
    conn->db->attention++;
}

static void cancel_closed(struct db_cancel *cancel) {
    struct db_conn *conn = conn_of(cancel);
    cancel->open = false;
    conn->db->attention--;
    pg_pool_cancelled(&conn->db->pool, conn->index);
}

/* The server says nothing: its end is the answer. */
void db_cancel_event(struct db_cancel *cancel, const struct ring_event *event) {
    struct db *db = conn_of(cancel)->db;
    if (event->type == RING_CLOSED) {
        cancel_closed(cancel);
        (void)db_take_events(db);
    } else if (event->type == RING_CONNECTED && event->result == 0) {
        ring_send(db->worker->ring, cancel->id, &cancel->segment, 1, RING_SEND_LOUD);
    } else if (event->result < 0 || (event->type == RING_RECEIVED && event->result == 0)) {
        cancel_close(cancel);
    }
}

/* ------------------------------------------------------------------------------------------------------- time ---- */

static void attend(struct db_conn *conn, uint64_t now_ns) {
    if (conn->cancel.open && !conn->cancel.closing && conn->cancel.until_ns <= now_ns) {
        cancel_close(&conn->cancel);
    }
    if (conn->phase == DB_WAITING && conn->until_ns <= now_ns) {
        begin(conn);
    } else if (conn->phase == DB_RESOLVING && resolver_answered(conn->db->worker->server->resolver, &conn->ask)) {
        connect_next(conn);
    } else if (conn->phase == DB_ENDING && conn->until_ns <= now_ns) {
        enter(conn, DB_CLOSING);
        stream_close(&conn->stream, false);
    }
}

void db_conns_attend(struct db *db) {
    for (uint32_t i = 0; i < db->pool.config.connections; i++) {
        attend(&db->conns[i], db->worker->now_ns);
    }
}

uint64_t db_conns_deadline(const struct db *db) {
    uint64_t soonest_ns = UINT64_MAX;
    for (uint32_t i = 0; i < db->pool.config.connections; i++) {
        const struct db_conn *conn = &db->conns[i];
        if (wants_attention((enum db_phase)conn->phase) && conn->until_ns < soonest_ns) {
            soonest_ns = conn->until_ns;
        }
        if (conn->cancel.open && !conn->cancel.closing && conn->cancel.until_ns < soonest_ns) {
            soonest_ns = conn->cancel.until_ns;
        }
    }
    return soonest_ns == UINT64_MAX ? 0 : soonest_ns;
}
