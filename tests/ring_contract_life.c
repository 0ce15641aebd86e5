/* Random lives of sockets against the plainest model: bytes come in order, an end of stream means that all came, CLOSED comes
 * once and last (the record checks that), and nothing is left when all is closed. */
#include <errno.h>
#include <stdlib.h>

#include "ring_contract.h"

enum { PAIRS_MAX = 50, STEPS = 500, SEEDS_SIM = 100, SEEDS_REAL = 3 };

struct life {
    struct link *pending; /* the one connect under way: so the next that is accepted is its other end */
    uint32_t accepts;     /* of the listener when it started */
    struct link *live[2 * PAIRS_MAX];
    uint32_t count;
};

static void forget_closed(struct life *life) {
    for (uint32_t i = 0; i < life->count;)
        if (life->live[i]->closed)
            life->live[i] = life->live[--life->count];
        else
            i++;
}

static void settle_pending(struct rig *rig, struct life *life) {
    struct link *client = life->pending;
    if (client == NULL || !client->answered) return;
    bool refused = client->connect_result != 0;
    if (!refused && rig->listener->accepts == life->accepts) return;
    if (refused) {
        RIG_CHECK(rig, client->connect_result == -ECONNREFUSED && rig->world != NULL);
        link_close(client);
    } else {
        client->peer = rig->newest;
        rig->newest->peer = client;
        life->live[life->count++] = rig->newest;
    }
    life->live[life->count++] = client;
    life->pending = NULL;
}

static void begin(struct rig *rig, struct life *life) {
    if (life->pending != NULL || life->count + 2 > 2 * PAIRS_MAX) return;
    life->accepts = rig->listener->accepts;
    life->pending = link_connect(rig);
}

static void send_some(struct rig *rig, struct link *link) {
    if (link->in_flight != 0 || link->tag != 0 || link->send_error != 0) return;
    uint32_t max = rig_below(rig, 20) == 0 ? 300000 : 5000;
    uint32_t bytes = 64 + rig_below(rig, max);
    link_send_segments(link, bytes, 1 + rig_below(rig, 8), rig_below(rig, 2) == 0 ? RING_SEND_LOUD : RING_SEND_QUIET);
}

/* tag: 1 when our half ended in order, 2 when bytes may have been dropped. */
static void end_life(struct rig *rig, struct link *link) {
    bool reset = rig_below(rig, 3) == 0;
    if (link->tag == 0) link->tag = reset || link->in_flight != 0 ? 2 : 1;
    if (reset && link->tag == 1) link->tag = 2;
    if (reset)
        link_reset(link);
    else
        link_close(link);
}

static void act(struct rig *rig, struct life *life) {
    uint32_t what = rig_below(rig, 100);
    if (what < 10) begin(rig, life);
    if (what < 10 || life->count == 0) return;
    struct link *link = life->live[rig_below(rig, life->count)];
    if (link->closing) return;
    if (what < 60) {
        send_some(rig, link);
    } else if (what < 75) {
        link_mode(link, link->mode == RING_FREE ? RING_METERED : RING_FREE);
    } else if (what < 90) {
        if (link->mode == RING_METERED) link_more(link);
    } else if (what < 93) {
        if (link->in_flight != 0 || link->tag != 0) return;
        link->tag = 1;
        link_shutdown(link);
    } else if (what < 97) {
        end_life(rig, link);
    } else {
        ring_accept(rig->ring[SERVER], rig->listener->id, what % 2 == 0);
    }
}

static void check_direction(struct rig *rig, const struct link *from, const struct link *to) {
    RIG_CHECK(rig, to->received <= from->out_position);
    if (to->received > 0) RIG_CHECK(rig, to->in_seed == from->out_seed);
    bool clean = to->ended && to->end_result == 0 && to->send_error == 0; /* else a send has taken the error */
    if (clean) RIG_CHECK(rig, from->tag != 0);
    bool all = to->received == from->out_position;
    if (!clean || from->tag != 1 || all) return;
    print_error("%llu of %llu bytes before the end of the stream\n", (unsigned long long)to->received,
                (unsigned long long)from->out_position);
    RIG_CHECK(rig, all);
}

static void check_model(struct rig *rig) {
    uint64_t received[SIDES] = { 0, 0 }, sent[SIDES] = { 0, 0 };
    for (uint32_t i = 0; i < rig->links_used; i++) {
        const struct link *link = &rig->links[i];
        RIG_CHECK(rig, link->closed);
        received[link->side] += link->received;
        sent[link->side] += link->sent;
        if (link->peer != NULL) check_direction(rig, link, link->peer);
    }
    for (enum side side = SERVER; side < SIDES; side++) {
        const struct ring_counters *counters = ring_counters(rig->ring[side]);
        RIG_CHECK(rig, ring_sockets(rig->ring[side]) == 0);
        RIG_CHECK(rig, counters->sent_bytes >= sent[side]);         /* the SENT of a closed id is not delivered */
        RIG_CHECK(rig, counters->received_bytes >= received[side]); /* nor are bytes that it had received */
    }
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->closed + ring_counters(rig->ring[CLIENT])->closed ==
                       rig->links_used);
}

static void live_and_die(struct rig *rig) {
    struct life life = { 0 };
    for (uint32_t step = 0; step < STEPS; step++) {
        settle_pending(rig, &life);
        forget_closed(&life);
        act(rig, &life);
        if (rig_below(rig, 4) == 0) rig_turn(rig);
    }
    ring_accept(rig->ring[SERVER], rig->listener->id, true);
    while (life.pending != NULL) {
        RIG_UNTIL(rig, life.pending->answered);
        if (life.pending->connect_result == 0) RIG_UNTIL(rig, rig->listener->accepts > life.accepts);
        settle_pending(rig, &life);
    }
    forget_closed(&life);
    for (uint32_t i = 0; i < life.count; i++)
        if (!life.live[i]->closing) end_life(rig, life.live[i]);
    link_close(rig->listener);
    for (uint32_t i = 0; i < rig->links_used; i++) RIG_UNTIL(rig, rig->links[i].closed);
    check_model(rig);
}

static void break_things(struct sim_options *options) {
    options->reset_ppm = 500;
    options->refuse_ppm = 50000;
    options->emfile_ppm = 20000;
    options->jump_ppm = 1000;
    options->jump_ns_max = 50 * UINT64_C(1000000);
}

static void random_lives(struct rig *rig) {
    const struct rig saved = *rig;
    uint32_t seeds = saved.row->choice == RING_SIM ? SEEDS_SIM : SEEDS_REAL;
    for (uint32_t i = 0; i < seeds; i++) {
        *rig = saved;
        rig->seed = rig->first_seed = saved.seed + i;
        rig_open_listening(rig, NULL);
        if (rig_is(rig, ROW_ROUGH)) break_things(sim_world_options(rig->world));
        live_and_die(rig);
        rig_close(rig);
    }
    *rig = saved;
}

const struct contract_scenario contract_life[] = {
    { .name = "random_lives", .run = random_lives },
    { 0 },
};
