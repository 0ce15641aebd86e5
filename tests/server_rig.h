/* A whole worker on the simulator with clients written on the same world: one thread, virtual time, no network.
 * For the tests of src/server. */
#ifndef TESTS_SERVER_RIG_H
#define TESTS_SERVER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ring/sim.h"
#include "ringmain.h"
#include "server/worker.h"

enum { RIG_CLIENTS_MAX = 300, RIG_TEXT_BYTES = 1 << 20 };

struct rig_client {
    struct ring_id id;
    bool connected, sending, closed;
    bool ended;    /* the server ended its stream */
    int32_t error; /* -errno, when the connection died */
    bool slow;     /* set by the test: reads nothing */
    char *text;    /* what came, with a NUL; begins anew after RIG_TEXT_BYTES */
    size_t len;
    char *unsent; /* what rig_send could not send yet */
    size_t unsent_len, sending_len;
    struct iovec segment; /* of the send in flight */
};

struct rig {
    struct sim_world *world;
    struct config config;
    struct server server;
    struct worker *worker;
    struct ring *clients_ring;
    struct ring *clock; /* see rig_run */
    struct rig_client clients[RIG_CLIENTS_MAX];
    uint32_t client_count;
    void (*turn_others)(void *arg, uint64_t until_ns); /* set by the test: other rings of the world get a turn; `until_ns`
                                                          is when to wake without a worker, 1: at once */
    void *others;
    bool worker_gone; /* the worker is done and released */
    enum plan_part exhausted;
    void **hoard; /* items of that pool */
    uint32_t hoard_count;
};

/* A world without faults with one worker that serves `app` with the flags of `line` ("--pipeline 2"). */
void rig_open(struct rig *rig, const struct rm_app *app, const char *line);

/* The same with a seed and faults. */
void rig_open_world(struct rig *rig, const struct rm_app *app, const char *line, uint64_t seed,
                    const struct sim_options *options);
void rig_close(struct rig *rig);

struct rig_client *rig_connect(struct rig *rig);
struct rig_client *rig_connect_to(struct rig *rig, uint32_t place); /* of server.places */
void rig_send(struct rig *rig, struct rig_client *client, const char *text);
void rig_send_bytes(struct rig *rig, struct rig_client *client, const char *bytes, size_t len);

/* Ends the client's half; closes or resets the connection. */
void rig_end(struct rig *rig, struct rig_client *client);
void rig_drop(struct rig *rig, struct rig_client *client, bool hard);

/* Lets `ms` of virtual time pass. */
void rig_run(struct rig *rig, uint64_t ms);
void rig_run_ns(struct rig *rig, uint64_t ns);

/* Forgets what a client has received. */
void rig_forget(struct rig_client *client);

/* A connection of its own, one request, and what comes back in a second. */
const char *rig_ask(struct rig *rig, const char *request);

/* A GET with nothing but Host; the body of its answer, which must have this status. */
const char *rig_get(struct rig *rig, const char *target, int status);

/* Items of a pool that are taken; of all pools but the connections'. */
uint32_t rig_taken(const struct rig *rig, enum plan_part part);
void assert_nothing_taken(const struct rig *rig);

/* Takes all but `left` items of a pool, and gives them back. */
void rig_exhaust(struct rig *rig, enum plan_part part, uint32_t left);
void rig_replenish(struct rig *rig);

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

void assert_has(const char *text, const char *part);
unsigned count_of(const char *text, const char *part);

#endif
