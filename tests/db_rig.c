#include "db_rig.h"

/* ------------------------------------------------------------------------------------------------------ sockets ---- */

static void let_go(struct db_rig *db, struct db_rig_conn *conn, bool hard) {
    if (conn->backend != NULL) {
        pg_backend_close(conn->backend);
        conn->backend = NULL;
    }
    if (!conn->closing) {
        conn->closing = true;
        if (hard) {
            ring_reset(db->ring, conn->id);
        } else {
            ring_close(db->ring, conn->id);
        }
    }
}

static void accept_conn(struct db_rig *db, struct ring_id id) {
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        struct db_rig_conn *conn = &db->conns[i];
        if (conn->id.generation == 0) {
            *conn = (struct db_rig_conn){ .id = id, .backend = pg_server_accept(&db->server) };
            assert_non_null(conn->backend);
            ring_set_user(db->ring, id, conn);
            return;
        }
    }
    fail_msg("more than %d connections", PG_BACKENDS_MAX);
}

static void push(struct db_rig *db, struct db_rig_conn *conn) {
    if (conn->backend == NULL || conn->sending || conn->closing) {
        return;
    }
    struct span out = pg_backend_output(conn->backend);
    if (out.len == 0) {
        if (pg_backend_over(conn->backend)) {
            let_go(db, conn, false);
        }
        return;
    }
    char *copy = malloc(out.len);
    assert_non_null(copy);
    memcpy(copy, out.data, out.len);
    conn->segment = (struct iovec){ copy, out.len };
    conn->sending = true;
    db->pushed += out.len;
    ring_send(db->ring, conn->id, &conn->segment, 1, RING_SEND_LOUD);
}

static void take_sent(struct db_rig *db, struct db_rig_conn *conn, int32_t result) {
    conn->sending = false;
    free(conn->segment.iov_base);
    conn->segment.iov_base = NULL;
    if (result < 0) {
        let_go(db, conn, false);
    } else if (conn->backend != NULL) {
        pg_backend_sent(conn->backend, (size_t)result);
    }
}

static void take_event(struct db_rig *db, const struct ring_event *event) {
    struct db_rig_conn *conn = event->user;
    if (event->type == RING_ACCEPTED) {
        accept_conn(db, event->id);
    } else if (event->type == RING_CLOSED && conn == NULL) {
        db->listening = false;
    } else if (event->type == RING_CLOSED) {
        free(conn->segment.iov_base);
        *conn = (struct db_rig_conn){ .sending = false };
    } else if (event->type == RING_SENT) {
        take_sent(db, conn, event->result);
    } else if (event->type == RING_RECEIVED && event->result <= 0) {
        let_go(db, conn, false);
    } else if (event->type == RING_RECEIVED && conn->backend != NULL) {
        pg_backend_input(conn->backend, event->bytes);
    }
}

/* Time must not leap over what the server wants to do next: a ring that has nothing but this deadline says so. */
static void set_clock(struct db_rig *db) {
    struct ring_event event;
    uint64_t at_ns = pg_server_deadline(&db->server);
    ring_wake(db->ring);
    assert_int_equal(ring_wait(db->clock, at_ns), 0);
    while (ring_next(db->clock, &event)) {}
}

static void one_turn(struct db_rig *db, uint64_t until_ns) {
    assert_int_equal(ring_wait(db->ring, until_ns), 0);
    pg_server_turn(&db->server, sim_now(db->rig.world));
    for (struct ring_event event; ring_next(db->ring, &event);) {
        take_event(db, &event);
    }
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        push(db, &db->conns[i]);
    }
}

/* Its deadline is told in turns that don't sleep, until it has no other plans: then only others let time leap. */
void db_rig_turn(struct db_rig *db) {
    uint64_t told_ns;
    do {
        told_ns = pg_server_deadline(&db->server);
        ring_wake(db->ring);
        one_turn(db, told_ns);
    } while (pg_server_deadline(&db->server) != told_ns);
}

static void turn(void *arg, uint64_t until_ns) {
    struct db_rig *db = arg;
    one_turn(db, until_ns);
    set_clock(db);
    if (db->server.fault[0] != '\0') {
        fail_msg("the client is wrong: %s", db->server.fault);
    }
}

/* ------------------------------------------------------------------------------------------------------ its life ---- */

void db_rig_start(struct db_rig *db) {
    struct ring_listen listen = { .fd = -1, .backlog = 128 };
    assert_true(ring_address_parse(SPAN("127.0.0.1:5432"), &listen.address));
    assert_false(db->listening);
    assert_int_equal(ring_listen(db->ring, &listen, &db->listener), 0);
    db->listening = true;
}

void db_rig_stop(struct db_rig *db) {
    ring_close(db->ring, db->listener);
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        if (db->conns[i].id.generation != 0) {
            let_go(db, &db->conns[i], true);
        }
    }
}

void db_rig_attach(struct db_rig *db, struct sim_world *world, struct pg_server_statement *statements, uint32_t count,
                   uint64_t seed) {
    db->rig.world = world;
    pg_server_init(&db->server, statements, count, seed);
    struct ring_config config = { .choice = RING_SIM, .sockets_max = 2 * PG_BACKENDS_MAX, .world = world };
    ring_tuning_default(&config.tuning);
    struct ring_report report;
    assert_int_equal(ring_open(&config, &db->ring, &report), 0);
    assert_int_equal(ring_open(&config, &db->clock, &report), 0);
}

void db_rig_open_world(struct db_rig *db, const struct rm_app *app, const char *line, struct pg_server_statement *statements,
                       uint32_t count, uint64_t seed, const struct sim_options *options) {
    memset(db, 0, sizeof *db);
    rig_open_world(&db->rig, app, line, seed, options);
    db_rig_attach(db, db->rig.world, statements, count, seed);
    db->rig.turn_others = turn;
    db->rig.others = db;
}

/* Nothing leaps while the server's side polls: the fewer turns a second has, the quicker it is over. */
enum { TURN_NS = 20 * 1000 };

void db_rig_open(struct db_rig *db, const struct rm_app *app, const char *line, struct pg_server_statement *statements,
                 uint32_t count, bool up) {
    struct sim_options options = { .turn_ns = TURN_NS };
    db_rig_open_world(db, app, line, statements, count, 1, &options);
    if (up) {
        db_rig_start(db);
        rig_run(&db->rig, 50);
    }
}

void db_rig_detach(struct db_rig *db) {
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        free(db->conns[i].segment.iov_base);
    }
    ring_release(db->ring);
    ring_release(db->clock);
    pg_server_release(&db->server);
}

void db_rig_close(struct db_rig *db) {
    db_rig_detach(db);
    rig_close(&db->rig);
}

uint32_t db_rig_sessions(const struct db_rig *db) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        n += db->conns[i].backend != NULL && pg_backend_started(db->conns[i].backend);
    }
    return n;
}
