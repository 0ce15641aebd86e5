#include "server_rig.h"

#include "server/storage.h"

enum { STORE_BYTES_MAX = 8 << 20 }; /* of memory that is there at once */

#define MS UINT64_C(1000000)

static void set_up_worker(struct rig *rig, const struct rm_app *app, const char *line) {
    static char copy[256];
    char *argv[32];
    int argc = 0;
    char why[CONFIG_WHY_BYTES];
    snprintf(copy, sizeof copy, "test --max-connections 1000 %s", line);
    char *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    if (config_read(&rig->config, argc, argv, app, why) != EXIT_FINE ||
        config_resolve(&rig->config, 1, 1 << 20, why) != EXIT_FINE) {
        fail_msg("%s", why);
    }
    rig->config.io = RING_SIM;
    if (server_open(&rig->server, &rig->config, app, why) != EXIT_FINE) {
        fail_msg("%s", why);
    }
    if (rig->server.cached != NULL && rig->server.store == NULL) {
        struct store_config store = storage_config(&rig->config);
        store.bytes = store.bytes < STORE_BYTES_MAX ? store.bytes : STORE_BYTES_MAX;
        struct store_report report;
        assert_int_equal(store_open(&store, &rig->server.store, &report), 0);
    }
    rig->server.ring.world = rig->world;
    rig->worker = &rig->server.workers[0];
    if (worker_open(rig->worker, &rig->server, 0, why) != EXIT_FINE || worker_listen(rig->worker, why) != EXIT_FINE) {
        fail_msg("%s", why);
    }
}

void rig_open_world(struct rig *rig, const struct rm_app *app, const char *line, uint64_t seed,
                    const struct sim_options *options) {
    memset(rig, 0, sizeof *rig);
    rig->world = sim_world_new(seed, options);
    assert_non_null(rig->world);
    set_up_worker(rig, app, line);
    struct ring_config config = { .choice = RING_SIM, .sockets_max = RIG_CLIENTS_MAX, .world = rig->world };
    ring_tuning_default(&config.tuning);
    struct ring_report report;
    assert_int_equal(ring_open(&config, &rig->clients_ring, &report), 0);
    assert_int_equal(ring_open(&config, &rig->clock, &report), 0);
}

void rig_open(struct rig *rig, const struct rm_app *app, const char *line) {
    struct sim_options options = { 0 }; /* everything works at once */
    rig_open_world(rig, app, line, 1, &options);
}

static void release_worker(struct rig *rig) {
    if (!rig->worker_gone) {
        rig->worker_gone = true;
        worker_release(rig->worker);
    }
}

void rig_close(struct rig *rig) {
    if (!rig->worker_gone) {
        rig_replenish(rig);
    }
    free(rig->hoard);
    release_worker(rig);
    if (rig->server.store != NULL) {
        store_close(rig->server.store, 1, 1);
    }
    server_release(&rig->server);
    ring_release(rig->clients_ring);
    ring_release(rig->clock);
    sim_world_free(rig->world);
    for (uint32_t i = 0; i < rig->client_count; i++) {
        free(rig->clients[i].text);
        free(rig->clients[i].unsent);
    }
}

/* --------------------------------------------------------------------------------------------------- clients ---- */

struct rig_client *rig_connect(struct rig *rig) {
    return rig_connect_to(rig, 0);
}

struct rig_client *rig_connect_to(struct rig *rig, uint32_t place) {
    assert_true(rig->client_count < RIG_CLIENTS_MAX);
    struct rig_client *client = &rig->clients[rig->client_count++];
    client->text = calloc(1, RIG_TEXT_BYTES);
    assert_non_null(client->text);
    assert_int_equal(ring_connect(rig->clients_ring, &rig->server.places[place].address, client, &client->id), 0);
    return client;
}

static void send_rest(struct rig *rig, struct rig_client *client) {
    if (client->sending || client->closed || !client->connected || client->unsent_len == 0) {
        return;
    }
    client->segment = (struct iovec){ client->unsent, client->unsent_len };
    client->sending = true;
    client->sending_len = client->unsent_len;
    ring_send(rig->clients_ring, client->id, &client->segment, 1, RING_SEND_LOUD);
}

void rig_send_bytes(struct rig *rig, struct rig_client *client, const char *bytes, size_t len) {
    for (int ms = 0; client->sending && !client->error; ms++) {
        assert_true(ms < 60000);
        rig_run(rig, 1); /* the bytes of a send must stay where they are */
    }
    if (client->error) {
        return;
    }
    client->unsent = realloc(client->unsent, client->unsent_len + len);
    assert_non_null(client->unsent);
    memcpy(client->unsent + client->unsent_len, bytes, len);
    client->unsent_len += len;
    send_rest(rig, client);
}

void rig_send(struct rig *rig, struct rig_client *client, const char *text) {
    rig_send_bytes(rig, client, text, strlen(text));
}

void rig_end(struct rig *rig, struct rig_client *client) {
    while (client->sending || !client->connected) {
        rig_run(rig, 1);
    }
    ring_shutdown_write(rig->clients_ring, client->id);
}

void rig_drop(struct rig *rig, struct rig_client *client, bool hard) {
    if (client->closed) {
        return;
    }
    client->closed = true;
    if (hard) {
        ring_reset(rig->clients_ring, client->id);
    } else {
        ring_close(rig->clients_ring, client->id);
    }
}

void rig_forget(struct rig_client *client) {
    client->len = 0;
    client->text[0] = '\0';
}

static void take_sent(struct rig *rig, struct rig_client *client, int32_t result) {
    client->sending = false;
    if (result < 0) {
        client->error = result;
        return;
    }
    assert_int_equal(result, client->sending_len);
    memmove(client->unsent, client->unsent + result, client->unsent_len - (size_t)result);
    client->unsent_len -= (size_t)result;
    send_rest(rig, client);
}

static void take_received(struct rig_client *client, const struct ring_event *event) {
    if (event->result < 0) {
        client->error = event->result;
    } else if (event->result == 0) {
        client->ended = true;
    } else {
        if (client->len + event->bytes.len >= RIG_TEXT_BYTES) {
            client->len = 0; /* the test wants no more than the newest */
        }
        memcpy(client->text + client->len, event->bytes.data, event->bytes.len);
        client->len += event->bytes.len;
        client->text[client->len] = '\0';
    }
}

static void take_connected(struct rig *rig, struct rig_client *client, int32_t result) {
    if (result < 0) {
        client->error = result;
        rig_drop(rig, client, false);
        return;
    }
    client->connected = true;
    if (client->slow) {
        ring_receive_mode(rig->clients_ring, client->id, RING_METERED);
    }
    send_rest(rig, client);
}

/* They poll while there is a worker: only it, whose deadline is always the newest, lets time leap. */
static void turn_clients(struct rig *rig, uint64_t until_ns) {
    assert_int_equal(ring_wait(rig->clients_ring, rig->worker_gone ? until_ns : 1), 0);
    for (struct ring_event event; ring_next(rig->clients_ring, &event);) {
        struct rig_client *client = event.user;
        if (event.type == RING_CONNECTED) {
            take_connected(rig, client, event.result);
        } else if (event.type == RING_RECEIVED) {
            take_received(client, &event);
        } else if (event.type == RING_SENT) {
            take_sent(rig, client, event.result);
        }
    }
}

static void turn_worker(struct rig *rig) {
    if (!rig->worker_gone) {
        assert_int_equal(worker_turn(rig->worker), 0);
        if (worker_done(rig->worker)) {
            release_worker(rig);
        }
    }
}

/* A ring with nothing but a deadline, beyond which time does not leap. Its own wait must not let it leap either:
 * it does not while another ring has an event. */
static void set_clock(struct rig *rig, uint64_t until_ns) {
    struct ring_event event;
    ring_wake(rig->clients_ring);
    assert_int_equal(ring_wait(rig->clock, until_ns), 0);
    while (ring_next(rig->clock, &event)) {}
}

void rig_run(struct rig *rig, uint64_t ms) {
    rig_run_ns(rig, ms * MS);
}

void rig_run_ns(struct rig *rig, uint64_t ns) {
    uint64_t until_ns = sim_now(rig->world) + ns;
    set_clock(rig, until_ns);
    while (sim_now(rig->world) < until_ns) {
        turn_clients(rig, until_ns);
        if (rig->turn_others != NULL) {
            rig->turn_others(rig->others, rig->worker_gone ? until_ns : 1);
        }
        turn_worker(rig);
    }
}

/* ----------------------------------------------------------------------------------------------- one request ---- */

const char *rig_ask(struct rig *rig, const char *request) {
    struct rig_client *client = rig_connect(rig);
    rig_send(rig, client, request);
    rig_run(rig, 1000);
    rig_drop(rig, client, false);
    rig_run(rig, 1);
    return client->text;
}

const char *rig_get(struct rig *rig, const char *target, int status) {
    char text[1024];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    const char *answer = rig_ask(rig, text);
    snprintf(text, sizeof text, "HTTP/1.1 %d ", status);
    assert_has(answer, text);
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    return body + 4;
}

/* ----------------------------------------------------------------------------------------------------- pools ---- */

uint32_t rig_taken(const struct rig *rig, enum plan_part part) {
    return rig->worker->pools[part].count - rig->worker->pools[part].free_count;
}

void assert_nothing_taken(const struct rig *rig) {
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        if (i != PLAN_CONNS && rig_taken(rig, (enum plan_part)i) != 0) {
            fail_msg("%u of %s are taken", rig_taken(rig, (enum plan_part)i), rig->worker->pools[i].name);
        }
    }
}

void rig_exhaust(struct rig *rig, enum plan_part part, uint32_t left) {
    struct pool *pool = &rig->worker->pools[part];
    assert_null(rig->hoard);
    rig->exhausted = part;
    rig->hoard = calloc(pool->count + 1, sizeof *rig->hoard);
    assert_non_null(rig->hoard);
    for (rig->hoard_count = 0; pool->free_count > left; rig->hoard_count++) {
        rig->hoard[rig->hoard_count] = pool_take(pool);
    }
}

void rig_replenish(struct rig *rig) {
    while (rig->hoard_count > 0) {
        pool_give(&rig->worker->pools[rig->exhausted], rig->hoard[--rig->hoard_count]);
    }
    free(rig->hoard);
    rig->hoard = NULL;
}

void assert_has(const char *text, const char *part) {
    assert_non_null(text);
    if (strstr(text, part) == NULL) {
        print_error("'%s' is not in:\n%s\n", part, text);
        fail();
    }
}

unsigned count_of(const char *text, const char *part) {
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        n++;
    }
    return n;
}
