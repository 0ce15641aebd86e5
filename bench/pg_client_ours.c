/* Our half of pg_client: a ring, a pool of connections, and nothing else. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem/assert.h"
#include "mem/chain.h"
#include "mem/pool.h"
#include "pg/pg_params.h"
#include "pg/pg_pool.h"
#include "pg_client.h"

enum {
    EXIT_UNAVAILABLE = 69,
    BLOCKS = 4096,
    QUIET_BYTES_MAX = 16 * 1024, /* as the server's */
    PARAMS_BYTES = 32,
    APPLICATION_STATEMENTS = 2,
    LOOK = 0,
    FAIL = 1,
};

/* A query and what it asked for. */
struct ask {
    struct pg_query query;
    uint32_t id;
    bool fails;
    bool right; /* a row came, and it was the right one */
    char params[PARAMS_BYTES];
};

/* The socket of a connection of the pool. */
struct link {
    struct ring_id id;
    uint32_t conn;
    struct chain out;
    size_t sending; /* bytes in flight */
    struct iovec segments[RING_SEGMENTS_MAX];
};

struct ours {
    struct pg_client_run *run;
    struct ring *ring;
    struct ring_address address;
    struct pg_pool pool;
    struct pool blocks;
    struct link links[PG_CLIENT_CONNECTIONS_MAX];
    struct ask *asks;
    struct pg_statement statements[APPLICATION_STATEMENTS + PG_INTERNAL_COUNT];
    uint32_t up;
    bool broken;
};

static uint64_t calls_so_far(void *arg) {
    const struct ring_counters *counters = ring_counters(arg);
    uint64_t sum = 0;
    for (int i = 0; i < RING_CALLS_COUNT; i++) {
        sum += counters->calls[i];
    }
    return sum;
}

/* --------------------------------------------------------------------------------------------------------- queries ---- */

static void submit(struct ours *ours, struct ask *ask) {
    ask->id = pg_client_next_id(ours->run, &ask->fails);
    ask->right = false;
    struct pg_arg arg = { .kind = PG_ARG_INT, .integer = ask->id };
    uint16_t statement = ask->fails ? FAIL : LOOK;
    size_t bytes = 0;
    enum pg_params_result checked = pg_params_check(&ours->statements[statement], &arg, 1, &bytes);
    rm_assert(checked == PG_PARAMS_OK);
    rm_assert(bytes <= sizeof ask->params);
    pg_params_encode(ask->params, &ours->statements[statement], &arg, 1);
    ask->query = (struct pg_query){
        .user = ask,
        .params = span_of(ask->params, bytes),
        .deadline_ns = ring_now(ours->ring) + UINT64_C(5000000000),
        .statement = statement,
    };
    pg_pool_submit(&ours->pool, &ask->query);
}

static void take_row(struct ours *ours, struct ask *ask, const struct pg_row *row) {
    int64_t id = 0;
    ask->right = row->plan->column_count == PG_CLIENT_COLUMNS && pg_row_int(row, 0, &id) && id == (int64_t)ask->id;
    for (uint32_t i = 0; i < row->plan->column_count; i++) {
        struct span field;
        pg_row_field(row, i, &field);
        ours->run->bytes += field.len;
    }
}

static void take_done(struct ours *ours, struct ask *ask) {
    struct pg_client_run *run = ours->run;
    bool right = ask->fails ? ask->query.status == PG_ERROR && strcmp(ask->query.sqlstate, "22012") == 0
                            : ask->query.status == PG_OK && ask->right;
    if (!right && run->wrong == 0) {
        fprintf(stderr, "pg_client: id %" PRIu32 ": %s %s\n", ask->id, pg_status_name(ask->query.status), ask->query.message);
    }
    run->wrong += right ? 0 : 1;
    run->failed += ask->fails ? 1 : 0;
    run->again = ours->pool.figures.skipped;
    if (pg_client_answered(run)) {
        submit(ours, ask);
    }
}

/* All connections are up: the load begins. */
static void begin(struct ours *ours) {
    const struct pg_client_options *o = ours->run->options;
    for (uint32_t i = 0; i < o->connections; i++) {
        ours->run->backends[i] = ours->pool.members[i].pg.key.pid;
    }
    pg_client_pin_backends(ours->run);
    for (uint32_t i = 0; i < o->connections * o->depth; i++) {
        submit(ours, &ours->asks[i]);
    }
}

static void give_up(struct ours *ours, struct span why) {
    fprintf(stderr, "pg_client: %.*s\n", (int)why.len, why.data);
    ours->broken = true;
}

/* ---------------------------------------------------------------------------------------------------------- events ---- */

static void connect_link(struct ours *ours, uint32_t conn) {
    struct link *link = &ours->links[conn];
    link->conn = conn;
    chain_init(&link->out, &ours->blocks);
    if (ring_connect(ours->ring, &ours->address, link, &link->id) < 0) {
        give_up(ours, SPAN("no socket"));
    }
}

static void take_pool_event(struct ours *ours, const struct pg_event *event) {
    switch (event->type) {
    case PG_EVENT_ROW: take_row(ours, event->query->user, &event->row); break;
    case PG_EVENT_DONE: take_done(ours, event->query->user); break;
    case PG_EVENT_CONNECT: connect_link(ours, event->conn); break;
    case PG_EVENT_UP:
        if (++ours->up == ours->run->options->connections) {
            begin(ours);
        }
        break;
    case PG_EVENT_DOWN: give_up(ours, event->text); break;
    case PG_EVENT_JOB: give_up(ours, SPAN("the server asks for a password")); break;
    case PG_EVENT_CLOSE: give_up(ours, SPAN("a connection had to be closed")); break;
    case PG_EVENT_CANCEL: give_up(ours, SPAN("a query did not end")); break;
    case PG_EVENT_NOTICE: case PG_EVENT_NONE: break;
    }
}

static void drain_pool(struct ours *ours) {
    struct pg_event event;
    while (!ours->broken && pg_pool_next(&ours->pool, &event)) {
        take_pool_event(ours, &event);
    }
}

static void take_ring_event(struct ours *ours, const struct ring_event *event) {
    static const uint8_t random[PG_NONCE_RANDOM_BYTES];
    struct link *link = event->user;
    if (event->result < 0) {
        give_up(ours, span_text(strerror(-event->result)));
    } else if (event->type == RING_CONNECTED) {
        pg_pool_connected(&ours->pool, link->conn, &link->out, random);
    } else if (event->type == RING_RECEIVED && event->result == 0) {
        give_up(ours, SPAN("the server has ended the connection"));
    } else if (event->type == RING_RECEIVED) {
        pg_pool_input(&ours->pool, link->conn, event->bytes);
    } else if (event->type == RING_SENT) {
        chain_consume(&link->out, link->sending);
        link->sending = 0;
    }
    drain_pool(ours);
}

static void flush(struct ours *ours) {
    pg_pool_flush(&ours->pool);
    drain_pool(ours);
    for (uint32_t i = 0; i < ours->run->options->connections; i++) {
        struct link *link = &ours->links[i];
        if (link->sending > 0 || link->out.bytes == 0) {
            continue;
        }
        uint32_t n = chain_iov(&link->out, link->segments, RING_SEGMENTS_MAX, &link->sending);
        ring_send(ours->ring, link->id, link->segments, n,
                  link->sending <= QUIET_BYTES_MAX ? RING_SEND_QUIET : RING_SEND_LOUD);
    }
}

static int run_turns(struct ours *ours) {
    drain_pool(ours);
    while (!ours->run->over && !ours->broken) {
        if (ring_wait(ours->ring, pg_pool_deadline(&ours->pool)) < 0) {
            give_up(ours, SPAN("the ring is broken"));
        }
        pg_pool_turn(&ours->pool, ring_now(ours->ring));
        drain_pool(ours);
        struct ring_event event;
        while (ring_next(ours->ring, &event)) {
            take_ring_event(ours, &event);
        }
        flush(ours);
    }
    return ours->broken ? EXIT_UNAVAILABLE : 0;
}

/* ---------------------------------------------------------------------------------------------------------- set-up ---- */

static bool find_address(struct ours *ours, const struct pg_settings *settings) {
    char path[PG_SETTING_BYTES + 32], text[sizeof path + 8];
    if (pg_settings_socket(settings, path, sizeof path)) {
        snprintf(text, sizeof text, "unix:%s", path);
    } else {
        snprintf(text, sizeof text, "%s:%u", settings->host, settings->port);
    }
    return ring_address_parse(span_text(text), &ours->address);
}

static void set_statements(struct ours *ours, bool shared) {
    static const uint32_t types[] = { PG_CLIENT_INT4 };
    static const struct span texts[] = { SPAN(PG_CLIENT_SELECT), SPAN(PG_CLIENT_FAIL) };
    for (uint32_t i = 0; i < APPLICATION_STATEMENTS; i++) {
        ours->statements[i] = (struct pg_statement){
            .label = SPAN("bench"), .sql = texts[i], .types = types, .type_count = 1, .read_only = true, .shared_sync = shared,
        };
        pg_statement_make(&ours->statements[i]);
    }
    pg_statements_internal(ours->statements + APPLICATION_STATEMENTS);
}

static void *zeroed(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fputs("pg_client: no memory\n", stderr);
        exit(EXIT_UNAVAILABLE);
    }
    memset(memory, 0, (bytes + 63) / 64 * 64);
    return memory;
}

static void set_pool(struct ours *ours) {
    const struct pg_client_options *o = ours->run->options;
    set_statements(ours, o->arm == ARM_OURS_SHARED);
    struct pg_config config = {
        .settings = &o->settings,
        .statements = ours->statements,
        .statement_count = APPLICATION_STATEMENTS + PG_INTERNAL_COUNT,
        .seed = 4711,
    };
    pg_config_default(&config);
    config.connections = o->connections;
    config.inflight = o->depth;
    config.queue = o->connections * o->depth;
    config.message_bytes = 64 * 1024;
    ours->asks = zeroed(o->connections * o->depth * sizeof *ours->asks);
    pool_init(&ours->blocks, "blocks", zeroed(BLOCKS * BLOCK_BYTES), BLOCK_BYTES, BLOCKS);
    pg_pool_init(&ours->pool, &config, zeroed(pg_pool_bytes(&config)), ring_now(ours->ring));
}

int pg_client_ours(struct pg_client_run *run) {
    static struct ours ours;
    struct ring_report report;
    struct ring_config config = {
        .choice = run->options->io,
        .tuning = run->options->tuning,
        .sockets_max = PG_CLIENT_CONNECTIONS_MAX,
    };
    ours.run = run;
    if (!find_address(&ours, &run->options->settings)) {
        fputs("pg_client: --url: a folder of a Unix socket or an address is needed\n", stderr);
        return EXIT_UNAVAILABLE;
    }
    if (ring_open(&config, &ours.ring, &report) < 0 || report.fallback) {
        fprintf(stderr, "pg_client: %s\n", report.why);
        return EXIT_UNAVAILABLE;
    }
    run->calls = calls_so_far;
    run->calls_arg = ours.ring;
    set_pool(&ours);
    int failed = run_turns(&ours);
    ring_release(ours.ring);
    return failed;
}
