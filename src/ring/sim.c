/* The backend on top of the simulated network. A slot with an event due is on its ring's `ready` list; what the event is gets
 * decided in next(), so that whatever the owner did since is heeded. */
#include "ring/sim.h"

#include <errno.h>
#include <stdio.h>

#include "mem/poison.h"
#include "ring/sim_priv.h"

enum {
    TURN_EVENTS_MAX = 1024,
    WALL_EPOCH_S = 1767225600, /* 2026-01-01: what the clocks of a world start from */
};

/* ---------------------------------------------------------------------------------------------------- readiness ---- */

static bool receive_due(const struct sim_slot *slot) {
    if (slot->end == NULL || !slot->connected || slot->connect_due || slot->ended) return false;
    if (slot->mode == RING_METERED && !slot->asked) return false;
    const struct sim_inbox *in = &slot->end->in;
    return in->arrived > 0 || in->fin || in->reset;
}

static bool accept_due(const struct sim_slot *slot) {
    return slot->backlog > 0 && slot->accept_on && !slot->accept_failing && !slot->accept_starved;
}

static bool slot_due(const struct sim_slot *slot) {
    if (slot->head.closing) return slot->closed_due;
    switch ((enum slot_kind)slot->head.kind) {
    case SLOT_FREE: return false;
    case SLOT_LISTENER: return accept_due(slot);
    case SLOT_SOCKET: return slot->connect_due || slot->send_state == SIM_DUE || receive_due(slot);
    case SLOT_WATCH: return slot->ready_due != 0;
    }
    return false;
}

void sim_slot_refresh(struct sim_slot *slot) {
    if (slot->head.on_list != SIM_LIST_NONE || !slot_due(slot)) return;
    slot_list_append(&slot->ring->common.slots, &slot->ring->ready, &slot->head, SIM_LIST_READY);
}

/* -------------------------------------------------------------------------------------------------------- slots ---- */

struct sim_slot *sim_take_slot(struct sim_ring *ring, enum slot_kind kind, void *user) {
    struct slot *taken = slots_take(&ring->common.slots, kind, user);
    if (taken == NULL) return NULL;
    struct sim_slot *slot = sim_slot_of(taken);
    *slot = (struct sim_slot){ .head = slot->head, .ring = ring };
    sim_timer_init(&slot->timer, SIM_SLOT, slot);
    return slot;
}

/* A slot or a descriptor is free again: listeners of the ring go on accepting. */
static void resume_accepting(struct sim_ring *ring) {
    for (struct sim_slot *l = ring->world->listeners; l != NULL; l = l->next_listener) {
        if (l->ring != ring) continue;
        l->accept_starved = false;
        if (l->accept_failing) sim_timer_disarm(ring->world, &l->timer);
        l->accept_failing = false;
        sim_slot_refresh(l);
    }
}

void sim_slot_timer(struct sim_slot *slot) {
    if (slot->head.closing)
        slot->closed_due = true;
    else
        slot->accept_failing = false;
    sim_slot_refresh(slot);
}

static void detach(struct sim_slot *slot, bool reset) {
    struct sim_world *world = slot->ring->world;
    sim_timer_disarm(world, &slot->timer);
    if (slot->head.kind == SLOT_LISTENER) sim_net_unlisten(world, slot);
    if (slot->head.kind == SLOT_SOCKET && slot->end != NULL) sim_net_close(world, slot->end, reset);
    slot->end = NULL;
    if (slot->head.kind != SLOT_WATCH) return;
    struct sim_slot **link = &world->watches;
    while (*link != slot) link = &(*link)->next_watch;
    *link = slot->next_watch;
}

static void sim_close(struct ring *ring, struct slot *head, bool reset) {
    struct sim_slot *slot = sim_slot_of(head);
    struct sim_world *world = sim_of(ring)->world;
    detach(slot, reset || slot->send_zc);
    uint64_t delay = sim_delay(world, world->options.close_delay_ns_max);
    if (delay > 0) {
        world->faults.late_sents++;
        sim_timer_arm(world, &slot->timer, world->now_ns + delay);
        return;
    }
    slot->closed_due = true;
    sim_slot_refresh(slot);
}

static bool closed_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out) {
    sim_send_release(slot);
    ring_event_set(out, RING_CLOSED, sim_id_of(slot), slot->head.user, 0);
    ring_count(&ring->common.counters.closed, 1);
    slots_give(&ring->common.slots, &slot->head);
    resume_accepting(ring);
    return true;
}

/* ---------------------------------------------------------------------------------------- watches, jobs and wakes ---- */

static void arm_watch(struct sim_slot *slot, uint32_t interest) {
    rm_assert(!slot->spent);
    slot->interest = interest;
    slot->armed = true;
    sim_slot_edge(slot, *sim_ready_of(slot->ring->world, slot->fd));
}

static int32_t sim_watch(struct ring *common, int fd, uint32_t interest, bool persistent, void *user,
                         struct ring_id *out) {
    struct sim_ring *ring = sim_of(common);
    if (sim_ready_of(ring->world, fd) == NULL) return -EPERM;
    struct sim_slot *slot = sim_take_slot(ring, SLOT_WATCH, user);
    if (slot == NULL) return -ENFILE;
    slot->fd = fd;
    slot->persistent = persistent;
    slot->next_watch = ring->world->watches;
    ring->world->watches = slot;
    arm_watch(slot, interest);
    *out = sim_id_of(slot);
    return 0;
}

static void sim_rewatch(struct ring *ring, struct slot *head, uint32_t interest) {
    (void)ring;
    struct sim_slot *slot = sim_slot_of(head);
    rm_assert(!slot->persistent);
    rm_assert(!slot->armed);
    arm_watch(slot, interest);
}

void sim_slot_edge(struct sim_slot *slot, uint32_t edges) {
    uint32_t wanted = edges & (slot->interest | RING_HANGUP | RING_ERROR);
    if (!slot->armed || wanted == 0) return;
    slot->ready_due |= wanted;
    if (!slot->persistent) slot->armed = false;
    sim_slot_refresh(slot);
}

static bool ready_event(struct sim_slot *slot, struct ring_event *out) {
    ring_event_set(out, RING_READY, sim_id_of(slot), slot->head.user, (int32_t)slot->ready_due);
    if ((slot->ready_due & (RING_HANGUP | RING_ERROR)) != 0) {
        slot->spent = true;
        slot->armed = false;
    }
    slot->ready_due = 0;
    return true;
}

static void schedule_job(struct sim_ring *ring) {
    if (ring->jobs == NULL || ring->job_timer.position != 0) return;
    uint64_t delay = sim_delay(ring->world, ring->world->options.job_delay_ns_max);
    if (delay > 0) ring->world->faults.late_sents++;
    sim_timer_arm(ring->world, &ring->job_timer, ring->world->now_ns + delay);
}

static void sim_offload(struct ring *common, struct ring_job *job) {
    struct sim_ring *ring = sim_of(common);
    struct ring_job **link = &ring->jobs;
    while (*link != NULL) link = &(*link)->next;
    *link = job;
    ring->jobs_count++;
    schedule_job(ring);
}

/* A disk may fail, and then it may have given some of the bytes before. */
static void run_job(struct sim_world *world, struct ring_job *job) {
    struct ring_read *read = ring_read_of(job);
    if (read == NULL || !sim_chance(world, world->options.read_fail_ppm)) {
        job->run(job);
        return;
    }
    world->faults.failed_reads++;
    read->error = -EIO;
}

/* Helpers finish in any order: a random one runs. */
void sim_ring_run_job(struct sim_ring *ring) {
    uint64_t index = ring->world->options.job_delay_ns_max == 0 ? 0 : sim_below(ring->world, ring->jobs_count);
    struct ring_job **link = &ring->jobs;
    while (index-- > 0) link = &(*link)->next;
    struct ring_job *job = *link;
    *link = job->next;
    ring->jobs_count--;
    run_job(ring->world, job);
    job->next = NULL;
    struct ring_job **done = &ring->common.finished_now;
    while (*done != NULL) done = &(*done)->next;
    *done = job;
    schedule_job(ring);
}

static bool sim_wants(const struct ring *ring, enum ring_region region) {
    return ring_tuning_wants(&((const struct sim_ring *)(const void *)ring)->tuning, region);
}

static size_t sim_register(struct ring *common, enum ring_region region, void *base, size_t bytes, struct ring_report *report) {
    struct sim_ring *ring = sim_of(common);
    rm_assert(ring->region_count < SIM_REGIONS_MAX);
    if (region == RING_REGION_OUTPUT && bytes > ring->tuning.slab_bytes) bytes = ring->tuning.slab_bytes;
    ring->regions[ring->region_count].base = base;
    ring->regions[ring->region_count++].bytes = bytes;
    ring_report_add(report->registered, "%s %zuK", ring_region_name(region), bytes / 1024);
    return bytes;
}

static void sim_wake(struct ring *ring) {
    atomic_store(&ring->woken, true);
}

/* --------------------------------------------------------------------------------------------------------- turns ---- */

static bool has_events(const struct sim_ring *ring) {
    if (ring->ready.count > 0 || ring->common.finished_now != NULL) return true;
    return ring->woken_now || atomic_load(&ring->common.woken);
}

static bool deadline_passed(const struct sim_ring *ring) {
    return ring->deadline_ns != RING_NO_DEADLINE && ring->deadline_ns <= ring->world->now_ns;
}

static bool others_have_work(const struct sim_ring *ring) {
    for (const struct sim_ring *other = ring->world->rings; other != NULL; other = other->next)
        if (other != ring && (has_events(other) || deadline_passed(other))) return true;
    return false;
}

/* When time may go on to; UINT64_MAX: nothing will ever happen. */
static uint64_t next_moment(const struct sim_world *world) {
    uint64_t next = sim_world_next(world);
    for (const struct sim_ring *ring = world->rings; ring != NULL; ring = ring->next)
        if (ring->deadline_ns != RING_NO_DEADLINE && ring->deadline_ns < next) next = ring->deadline_ns;
    return next;
}

static void run_others(struct sim_world *world) {
    if (world->others == NULL || world->in_others) return;
    world->in_others = true;
    world->others(world->others_arg);
    world->in_others = false;
    sim_world_run(world);
}

static void sleep_until_something(struct sim_ring *ring) {
    struct sim_world *world = ring->world;
    if (has_events(ring) || deadline_passed(ring)) return;
    run_others(world);
    while (!has_events(ring) && !deadline_passed(ring) && !others_have_work(ring)) {
        uint64_t next = next_moment(world);
        world->stalled = next == UINT64_MAX;
        if (world->stalled) return;
        if (next > world->now_ns) world->now_ns = next;
        sim_world_run(world);
    }
}

static void start_turn(struct sim_world *world) {
    world->now_ns += world->options.turn_ns;
    world->stalled = false;
    if (sim_chance(world, world->options.jump_ppm)) {
        world->faults.jumps++;
        world->now_ns += sim_delay(world, world->options.jump_ns_max);
    }
    sim_world_run(world);
}

static int32_t sim_wait(struct ring *common, uint64_t deadline_ns) {
    struct sim_ring *ring = sim_of(common);
    struct sim_world *world = ring->world;
    sim_reclaim_buffers(ring);
    ring->deadline_ns = deadline_ns;
    start_turn(world);
    bool spurious = sim_chance(world, world->options.spurious_ppm);
    if (spurious)
        world->faults.spurious++;
    else
        sleep_until_something(ring);
    ring->turn_left = spurious ? 0 : ring->ready.count;
    ring->turn_events = 0;
    if (atomic_exchange(&common->woken, false)) ring->woken_now = true;
    if (deadline_passed(ring)) ring->deadline_ns = RING_NO_DEADLINE;
    common->now_ns = world->now_ns;
    common->wall_seconds = WALL_EPOCH_S + (int64_t)(world->now_ns / 1000000000u);
    common->wall_ms = (uint32_t)(world->now_ns / 1000000u % 1000u);
    ring_count_turn(common, ring->turn_left);
    return 0;
}

static bool slot_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out) {
    if (!slot_due(slot)) return false;
    if (slot->head.closing) return closed_event(ring, slot, out);
    switch ((enum slot_kind)slot->head.kind) {
    case SLOT_FREE: return false;
    case SLOT_LISTENER: return sim_accept_event(ring, slot, out);
    case SLOT_WATCH: return ready_event(slot, out);
    case SLOT_SOCKET:
        if (slot->connect_due) return sim_connected_event(ring, slot, out);
        if (slot->send_state == SIM_DUE) return sim_sent_event(ring, slot, out);
        return sim_received_event(ring, slot, out);
    }
    return false;
}

/* What is due next for the slot comes in this turn, too, or (in a rough world) in a later one. */
static void requeue(struct sim_ring *ring, struct sim_slot *slot, bool delivered) {
    if (slot->head.kind == SLOT_FREE) return;
    sim_slot_refresh(slot);
    if (slot->head.on_list == SIM_LIST_NONE || !delivered) return;
    if (ring->world->options.split_ppm == 0 || sim_below(ring->world, 2) == 0) ring->turn_left++;
}

static bool common_event(struct sim_ring *ring, struct ring_event *out) {
    struct ring *common = &ring->common;
    if (ring->woken_now) {
        ring->woken_now = false;
        ring_count(&common->counters.wakes, 1);
        ring_event_set(out, RING_WOKEN, (struct ring_id){ 0 }, NULL, 0);
        return true;
    }
    struct ring_job *job = common->finished_now;
    if (job == NULL) return false;
    common->finished_now = job->next;
    ring_job_event(common, job, out);
    return true;
}

static bool next_event(struct sim_ring *ring, struct ring_event *out) {
    if (ring->turn_events == TURN_EVENTS_MAX) return false;
    if (common_event(ring, out)) return true;
    while (ring->turn_left > 0) {
        struct slot *head = slot_list_pop(&ring->common.slots, &ring->ready);
        if (head == NULL) break; /* some were closed and are off the list */
        ring->turn_left--;
        bool delivered = slot_event(ring, sim_slot_of(head), out);
        requeue(ring, sim_slot_of(head), delivered);
        if (delivered) return true;
    }
    return false;
}

static bool sim_next(struct ring *common, struct ring_event *out) {
    struct sim_ring *ring = sim_of(common);
    if (!next_event(ring, out)) return false;
    ring->turn_events++;
    sim_trace_event(ring, out);
    return true;
}

/* ---------------------------------------------------------------------------------------------- open and release ---- */

static size_t buffers_bytes(const struct ring_config *config, uint32_t *each) {
    *each = config->tuning.buffer_bytes < RING_RECEIVE_BYTES_MAX ? config->tuning.buffer_bytes : RING_RECEIVE_BYTES_MAX;
    return (size_t)config->tuning.buffers * *each;
}

static size_t sim_memory_bytes(const struct ring_config *config) {
    uint32_t each;
    return slab_round(sizeof(struct sim_ring)) + slab_round(config->sockets_max * sizeof(struct sim_slot)) +
           slab_round(buffers_bytes(config, &each));
}

static int32_t sim_open(const struct ring_config *config, struct ring **out, struct ring_report *report) {
    struct sim_world *world = config->world;
    rm_assert(world != NULL);
    struct slab slab;
    if (!slab_map(&slab, sim_memory_bytes(config)) || !sim_world_reserve(world, config->sockets_max + 1)) {
        snprintf(report->why, sizeof report->why, "no memory for a simulated ring");
        return -ENOMEM;
    }
    struct sim_ring *ring = slab_take(&slab, sizeof *ring);
    ring->common.backend = &ring_sim_backend;
    ring->common.drained = true;
    ring->tuning = config->tuning;
    ring->common.wake_fd = -1;
    ring->common.now_ns = world->now_ns;
    ring->common.wall_seconds = WALL_EPOCH_S + (int64_t)(world->now_ns / 1000000000u);
    ring->common.random_state = sim_random(world);
    void *slots = slab_take(&slab, config->sockets_max * sizeof(struct sim_slot));
    slots_init(&ring->common.slots, slots, sizeof(struct sim_slot), config->sockets_max);
    size_t bytes = buffers_bytes(config, &ring->buffer_bytes);
    ring->buffers = slab_take(&slab, bytes);
    ring->buffers_count = config->tuning.buffers;
    poison_mark(ring->buffers, bytes);
    slab_seal(&slab);
    slot_list_init(&ring->ready);
    sim_timer_init(&ring->job_timer, SIM_JOB, ring);
    ring->slab = slab;
    ring->world = world;
    ring->number = world->rings_opened++;
    ring->next = world->rings;
    world->rings = ring;
    snprintf(report->features, sizeof report->features, "buffers=%u", ring->buffers_count);
    *out = &ring->common;
    return 0;
}

static void sim_release(struct ring *common) {
    struct sim_ring *ring = sim_of(common);
    struct sim_world *world = ring->world;
    for (uint32_t kind = SLOT_LISTENER; kind <= SLOT_WATCH; kind++)
        for (uint32_t i = 0; i < common->slots.fresh; i++) {
            struct sim_slot *slot = sim_slot_of(slots_at(&common->slots, i));
            if (slot->head.kind == kind && !slot->head.closing) detach(slot, false);
            if (slot->head.kind == kind) sim_timer_disarm(world, &slot->timer);
        }
    while (ring->jobs != NULL) sim_ring_run_job(ring);
    sim_timer_disarm(world, &ring->job_timer);
    struct sim_ring **link = &world->rings;
    while (*link != ring) link = &(*link)->next;
    *link = ring->next;
    poison_clear(ring->buffers, (size_t)ring->buffers_count * ring->buffer_bytes);
    struct slab slab = ring->slab;
    slab_release(&slab);
}

const struct ring_backend ring_sim_backend = {
    .name = "sim",
    .open = sim_open,
    .release = sim_release,
    .memory_bytes = sim_memory_bytes,
    .wait = sim_wait,
    .next = sim_next,
    .listen = sim_listen,
    .accept = sim_accept,
    .connect = sim_connect,
    .receive_mode = sim_receive_mode,
    .receive_more = sim_receive_more,
    .send = sim_send,
    .wants = sim_wants,
    .register_region = sim_register,
    .shutdown_write = sim_shutdown_write,
    .close = sim_close,
    .peer = sim_peer,
    .local = sim_local,
    .taken = sim_taken,
    .watch = sim_watch,
    .rewatch = sim_rewatch,
    .offload = sim_offload,
    .read = ring_read_help,
    .wake = sim_wake,
};
