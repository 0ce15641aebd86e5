#include "ring/sim.h"

#include <errno.h>
#include <stdlib.h>

#include "ring/sim_priv.h"

enum {
    DEFAULT_CONNECTIONS = 1024,
    DEFAULT_SNDBUF_BYTES = 64 * 1024,
    DEFAULT_TURN_NS = 1000,
    FIRST_NOW_S = 1000, /* not 0, which is RING_NO_DEADLINE */
    FIRST_PORT = 32768,
    TIMERS_OF_AN_END = 3,
};

#define DEFAULT_EMFILE_NS (100 * UINT64_C(1000000))

/* ------------------------------------------------------------------------------------------------------- chance ---- */

/* splitmix64, as ring_random. */
uint64_t sim_random(struct sim_world *world) {
    world->random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = world->random_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_below(struct sim_world *world, uint64_t n) {
    rm_assert(n > 0);
    return sim_random(world) % n;
}

bool sim_chance(struct sim_world *world, uint32_t ppm) {
    if (ppm == 0) return false;
    return sim_below(world, SIM_PPM) < ppm;
}

uint64_t sim_delay(struct sim_world *world, uint64_t max) {
    if (max == 0) return 0;
    return sim_below(world, max + 1);
}

/* ------------------------------------------------------------------------------------------------------- timers ---- */

void sim_timer_init(struct sim_timer *timer, enum sim_timer_kind kind, void *owner) {
    *timer = (struct sim_timer){ .kind = kind, .owner = owner };
}

static bool earlier(const struct sim_timer *a, const struct sim_timer *b) {
    if (a->at_ns != b->at_ns) return a->at_ns < b->at_ns;
    return a->order < b->order;
}

static void heap_put(struct sim_world *world, uint32_t position, struct sim_timer *timer) {
    world->heap[position] = timer;
    timer->position = position;
}

static void heap_up(struct sim_world *world, uint32_t position) {
    struct sim_timer *timer = world->heap[position];
    for (; position > 1 && earlier(timer, world->heap[position / 2]); position /= 2)
        heap_put(world, position, world->heap[position / 2]);
    heap_put(world, position, timer);
}

static void heap_down(struct sim_world *world, uint32_t position) {
    struct sim_timer *timer = world->heap[position];
    for (;;) {
        uint32_t child = position * 2;
        if (child > world->heap_count) break;
        if (child < world->heap_count && earlier(world->heap[child + 1], world->heap[child])) child++;
        if (!earlier(world->heap[child], timer)) break;
        heap_put(world, position, world->heap[child]);
        position = child;
    }
    heap_put(world, position, timer);
}

void sim_timer_arm(struct sim_world *world, struct sim_timer *timer, uint64_t at_ns) {
    rm_assert(timer->position == 0);
    rm_assert(world->heap_count < world->heap_max);
    timer->at_ns = at_ns;
    timer->order = world->timer_orders++;
    world->heap[++world->heap_count] = timer;
    heap_up(world, world->heap_count);
}

void sim_timer_disarm(struct sim_world *world, struct sim_timer *timer) {
    uint32_t position = timer->position;
    if (position == 0) return;
    rm_assert(world->heap[position] == timer);
    struct sim_timer *last = world->heap[world->heap_count--];
    timer->position = 0;
    if (last == timer) return;
    heap_put(world, position, last);
    heap_up(world, position);
    heap_down(world, last->position);
}

bool sim_world_reserve(struct sim_world *world, uint32_t more) {
    uint32_t max = world->heap_max + more;
    struct sim_timer **heap = realloc(world->heap, ((size_t)max + 1) * sizeof *heap);
    if (heap == NULL) return false;
    world->heap = heap;
    world->heap_max = max;
    return true;
}

static void fire(struct sim_world *world, struct sim_timer *timer) {
    switch (timer->kind) {
    case SIM_ARRIVE: sim_net_arrived(world, timer->owner); return;
    case SIM_SEND: sim_slot_send_step(((struct sim_end *)timer->owner)->slot); return;
    case SIM_ANSWER: sim_net_answer(world, timer->owner); return;
    case SIM_JOB: sim_ring_run_job(timer->owner); return;
    case SIM_SLOT: sim_slot_timer(timer->owner); return;
    }
}

uint64_t sim_world_next(const struct sim_world *world) {
    return world->heap_count == 0 ? UINT64_MAX : world->heap[1]->at_ns;
}

void sim_world_run(struct sim_world *world) {
    while (sim_world_next(world) <= world->now_ns) {
        struct sim_timer *timer = world->heap[1];
        sim_timer_disarm(world, timer);
        fire(world, timer);
    }
}

/* -------------------------------------------------------------------------------------------------------- world ---- */

void sim_options_calm(struct sim_options *out) {
    *out = (struct sim_options){ 0 };
}

void sim_options_rough(struct sim_options *out) {
    *out = (struct sim_options){
        .latency_ns_max = 50000,
        .sent_delay_ns_max = 50000,
        .notice_delay_ns_max = 200000,
        .close_delay_ns_max = 50000,
        .job_delay_ns_max = 200000,
        .split_ppm = 300000,
        .short_ppm = 100000,
        .no_buffer_ppm = 50000,
        .spurious_ppm = 50000,
    };
}

static void complete_options(struct sim_options *options) {
    if (options->connections_max == 0) options->connections_max = DEFAULT_CONNECTIONS;
    if (options->sndbuf_bytes == 0) options->sndbuf_bytes = DEFAULT_SNDBUF_BYTES;
    if (options->turn_ns == 0) options->turn_ns = DEFAULT_TURN_NS;
    if (options->emfile_ns == 0) options->emfile_ns = DEFAULT_EMFILE_NS;
}

static void init_ends(struct sim_world *world, char *inboxes) {
    uint32_t count = 2 * world->options.connections_max;
    for (uint32_t i = count; i-- > 0;) {
        struct sim_end *end = &world->ends[i];
        sim_timer_init(&end->arrive, SIM_ARRIVE, end);
        sim_timer_init(&end->send, SIM_SEND, end);
        sim_timer_init(&end->answer, SIM_ANSWER, end);
        end->in.bytes = inboxes + (size_t)i * world->inbox_bytes;
        if (i % 2 != 0) continue;
        end->next = world->free_pairs;
        world->free_pairs = end;
    }
}

static bool allocate_network(struct sim_world *world) {
    uint32_t ends = 2 * world->options.connections_max;
    world->inbox_bytes = world->options.sndbuf_bytes + RING_RECEIVE_BYTES_MAX;
    world->ends = calloc(ends, sizeof *world->ends);
    if (world->ends == NULL) return false;
    if (!sim_world_reserve(world, ends * TIMERS_OF_AN_END)) return false;
    size_t bytes = (size_t)ends * world->inbox_bytes;
    if (!slab_map(&world->inboxes, bytes)) return false;
    init_ends(world, slab_take(&world->inboxes, bytes));
    return true;
}

struct sim_world *sim_world_new(uint64_t seed, const struct sim_options *options) {
    struct sim_world *world = calloc(1, sizeof *world);
    if (world == NULL) return NULL;
    world->options = *options;
    complete_options(&world->options);
    world->random_state = seed;
    world->now_ns = FIRST_NOW_S * UINT64_C(1000000000);
    world->port = FIRST_PORT;
    world->trace = 0xcbf29ce484222325u;
    if (allocate_network(world)) return world;
    int error = errno;
    sim_world_free(world);
    errno = error;
    return NULL;
}

void sim_world_free(struct sim_world *world) {
    rm_assert(world->rings == NULL);
    if (world->inboxes.base != NULL) slab_release(&world->inboxes);
    free(world->ends);
    free(world->heap);
    free(world);
}

uint64_t sim_now(const struct sim_world *world) {
    return world->now_ns;
}

const struct sim_faults *sim_faults(const struct sim_world *world) {
    return &world->faults;
}

struct sim_options *sim_world_options(struct sim_world *world) {
    return &world->options;
}

bool sim_stalled(const struct sim_world *world) {
    return world->stalled;
}

void sim_set_others(struct sim_world *world, sim_others_fn *others, void *arg) {
    world->others = others;
    world->others_arg = arg;
}

enum sim_result sim_drive(struct sim_world *world, const struct sim_party *parties, uint32_t n, uint64_t until_ns) {
    rm_assert(n > 0);
    while (world->now_ns < until_ns) {
        uint32_t stalled = 0;
        for (uint32_t i = 0; i < n; i++) {
            bool reached = parties[i].turn(parties[i].arg);
            if (i == 0 && reached) return SIM_REACHED;
            if (world->stalled) stalled++;
        }
        if (stalled == n) return SIM_STALLED;
    }
    return SIM_TIMED_OUT;
}

/* -------------------------------------------------------------------------------------------------- descriptors ---- */

enum { FIRST_DESCRIPTOR = 1 << 28 }; /* far from any real one */

int sim_descriptor(struct sim_world *world) {
    if (world->descriptors == SIM_DESCRIPTORS_MAX) return -1;
    return (int)(FIRST_DESCRIPTOR + world->descriptors++);
}

uint32_t *sim_ready_of(struct sim_world *world, int fd) {
    uint32_t index = (uint32_t)fd - FIRST_DESCRIPTOR;
    return index < world->descriptors ? &world->ready[index] : NULL;
}

void sim_set_ready(struct sim_world *world, int fd, uint32_t ready) {
    uint32_t *state = sim_ready_of(world, fd);
    rm_assert(state != NULL);
    uint32_t edges = ready & ~*state;
    *state = ready;
    for (struct sim_slot *watch = world->watches; watch != NULL; watch = watch->next_watch)
        if (watch->fd == fd) sim_slot_edge(watch, edges);
}

/* -------------------------------------------------------------------------------------------------------- trace ---- */

/* FNV-1a. */
static void trace(struct sim_world *world, const void *data, size_t len) {
    const unsigned char *bytes = data;
    uint64_t hash = world->trace;
    for (size_t i = 0; i < len; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    world->trace = hash;
}

uint64_t sim_trace(const struct sim_world *world) {
    return world->trace;
}

void sim_trace_event(struct sim_ring *ring, const struct ring_event *event) {
    uint64_t words[] = {
        ring->number, ring->world->now_ns, event->type, (uint64_t)event->result, event->id.slot, event->id.generation,
    };
    trace(ring->world, words, sizeof words);
    trace(ring->world, event->bytes.data, event->bytes.len);
}
