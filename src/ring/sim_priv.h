/* Inside the simulator: the world (sim_world.c), its network (sim_net.c) and the ring on top (sim.c).
 * Depends on: ring/sim.h, ring/ring_priv.h. */
#ifndef RM_RING_SIM_PRIV_H
#define RM_RING_SIM_PRIV_H

#include "mem/slab.h"
#include "ring/ring_priv.h"
#include "ring/sim.h"

struct sim_ring;
struct sim_slot;
struct sim_end;

/* ------------------------------------------------------------------------------------------------------- timers ---- */

enum sim_timer_kind {
    SIM_ARRIVE, /* end: something that travels towards it is there */
    SIM_SEND,   /* end: its send goes on, or is done */
    SIM_ANSWER, /* client's end: its connect is answered */
    SIM_JOB,    /* ring: a job runs */
    SIM_SLOT,   /* slot: its CLOSED is due, or (a listener) accepting may be tried again */
};

/* Embedded in its owner. Invariant: position == 0 <=> not armed; else world->heap[position] is this timer. */
struct sim_timer {
    uint64_t at_ns;
    uint64_t order; /* of arming: equal times fire in this order */
    void *owner;
    uint32_t position;
    enum sim_timer_kind kind;
};

void sim_timer_init(struct sim_timer *timer, enum sim_timer_kind kind, void *owner);
/* Not armed already (asserted). The heap has room for every timer that exists. */
void sim_timer_arm(struct sim_world *world, struct sim_timer *timer, uint64_t at_ns);
void sim_timer_disarm(struct sim_world *world, struct sim_timer *timer);

/* ------------------------------------------------------------------------------------------------------ network ---- */

/* What travels towards one end. Invariant: kept <= arrived <= len <= storage. */
struct sim_inbox {
    char *bytes; /* a ring of world->inbox_bytes */
    uint32_t head;
    uint32_t len;     /* bytes in all */
    uint32_t arrived; /* may be received */
    uint32_t kept;    /* have left the socket: they take no room in its buffer */
    uint64_t read;    /* bytes that have been received, in all */
    bool fin_travels, fin;     /* the peer's FIN: sent, and arrived behind all bytes */
    bool reset_travels, reset; /* likewise its RST */
};

enum sim_end_state {
    SIM_END_FREE,
    SIM_END_CONNECTING, /* the client's end, before its answer; the server's end is unused yet */
    SIM_END_BACKLOG,    /* the server's end in a listener's backlog */
    SIM_END_OPEN,       /* has a slot */
    SIM_END_GONE,       /* closed by its owner: swallows what is sent to it */
};

/* Ends come in pairs: 2i is the client's, 2i + 1 the server's. */
struct sim_end {
    enum sim_end_state state;
    bool fin_sent; /* our half was ended, by ring_shutdown_write or close */
    struct sim_slot *slot;
    struct sim_end *next; /* in a backlog, or in the list of free pairs (client's end) */
    struct sim_inbox in;
    struct ring_address local, remote;
    struct sim_timer arrive, send, answer;
};

/* The end at the other side. */
struct sim_end *sim_end_peer(struct sim_world *world, struct sim_end *end);

/* A free pair's client end, SIM_END_CONNECTING; NULL: connections_max are in use. */
struct sim_end *sim_net_connect(struct sim_world *world, struct sim_slot *slot, const struct ring_address *address);

/* Bytes of `n` that found room at the other end; *broken is 0 or the -errno of a send that cannot go on. */
uint32_t sim_net_write(struct sim_world *world, struct sim_end *end, const char *bytes, size_t n, int32_t *broken);

/* Takes up to `max` arrived bytes out of the inbox. */
uint32_t sim_net_read(struct sim_world *world, struct sim_end *end, char *out, uint32_t max);

/* FIN behind what was written. */
void sim_net_finish(struct sim_world *world, struct sim_end *end);

/* The owner is gone: RST when `reset` or unread bytes are left, else FIN. The end is not the caller's any more. */
void sim_net_close(struct sim_world *world, struct sim_end *end, bool reset);

/* Some room was made in `end`'s inbox (or it is gone): a sender that waits for it goes on. */
void sim_net_room(struct sim_world *world, struct sim_end *end);

/* A timer of kind ARRIVE or ANSWER of `end` has fired. */
void sim_net_arrived(struct sim_world *world, struct sim_end *end);
void sim_net_answer(struct sim_world *world, struct sim_end *end);

/* The first of a listener's backlog, SIM_END_OPEN; the backlog is not empty. */
struct sim_end *sim_net_accept(struct sim_slot *listener);

/* The listener is on the world's list no longer; who waited in its backlog is reset. */
void sim_net_unlisten(struct sim_world *world, struct sim_slot *listener);

bool sim_net_address_in_use(const struct sim_world *world, const struct ring_address *address, bool reuse_port);
void sim_net_bind_free_port(struct sim_world *world, struct ring_address *address);

/* -------------------------------------------------------------------------------------------------------- slots ---- */

enum { SIM_LIST_NONE, SIM_LIST_READY };

enum sim_send_state {
    SIM_IDLE,
    SIM_MOVING, /* bytes are left to write */
    SIM_MOVED,  /* all written; SENT is late */
    SIM_DUE,    /* SENT is an event now */
};

/* A slot of a ring. Which part is in use: head.kind. */
struct sim_slot {
    struct slot head;
    struct sim_ring *ring;
    bool closed_due; /* CLOSED is the next event */

    /* socket */
    struct sim_end *end; /* NULL once closed, or when its connect was refused */
    bool connected;
    bool connect_due;
    int32_t connect_result;
    enum ring_receive mode;
    bool asked; /* METERED: one receive is due */
    bool ended; /* RECEIVED with 0 or an error was delivered */
    enum sim_send_state send_state;
    bool send_blocked; /* waits for room at the other end */
    bool send_again;   /* needed more than one try */
    bool send_quiet;
    bool send_broke; /* a send has told of the reset, so that a receive need not */
    int32_t send_result;
    bool send_zc;          /* zero-copy: its SENT is a notice, and until then nothing may change: */
    uint64_t send_hash;    /* of all its bytes */
    const struct iovec *zc_segments;
    uint32_t zc_count;
    const struct iovec *segments;
    uint32_t segments_left;
    size_t segment_offset;
    size_t send_total;

    /* listener: on the world's list while open */
    struct sim_slot *next_listener;
    struct ring_address address;
    struct sim_end *backlog_head, *backlog_tail;
    uint32_t backlog, backlog_max;
    bool reuse_port;
    bool accept_on;
    bool accept_failing; /* EMFILE: until the timer or a close */
    bool accept_starved; /* no slot: until one is given back */
    struct sim_timer timer;

    /* watch: on the world's list while open */
    struct sim_slot *next_watch;
    int fd;
    uint32_t interest;
    uint32_t ready_due;
    bool persistent, armed, spent;
};

/* Puts the slot on its ring's list when an event of it is due and it is not there yet. */
void sim_slot_refresh(struct sim_slot *slot);

/* The slot's send makes a step: some bytes move, or SENT is due. Also what its SIM_SEND timer does. */
void sim_slot_send_step(struct sim_slot *slot);

/* The connection is dead: a send that has bytes left ends with `result`. */
void sim_slot_send_failed(struct sim_slot *slot, int32_t result);

void sim_slot_connected(struct sim_slot *slot, int32_t result);

/* A timer of kind SIM_SLOT has fired. */
void sim_slot_timer(struct sim_slot *slot);

/* Bits of enum ring_ready that have just become true for a watch's descriptor. */
void sim_slot_edge(struct sim_slot *watch, uint32_t edges);

/* -------------------------------------------------------------------------------------------------------- world ---- */

enum { SIM_REGIONS_MAX = 2 };

struct sim_ring {
    struct ring common;
    struct ring_tuning tuning;
    struct {
        const char *base;
        size_t bytes;
    } regions[SIM_REGIONS_MAX]; /* ring_register */
    uint32_t region_count;
    struct sim_world *world;
    struct sim_ring *next; /* in world->rings */
    struct slab slab;
    struct slot_list ready;
    uint32_t turn_left;   /* slots of `ready` that belong to this turn */
    uint32_t turn_events; /* delivered in this turn */
    bool woken_now;       /* WOKEN is due in this turn */
    uint64_t deadline_ns; /* as given last; RING_NO_DEADLINE: none, or answered */
    char *buffers;
    uint32_t buffer_bytes, buffers_count;
    uint32_t buffers_used;       /* in this turn */
    struct ring_job *jobs;       /* handed over, not run: oldest first */
    uint32_t jobs_count;
    struct sim_timer job_timer;
    uint32_t number; /* in the order of opening, for the trace */
};

struct sim_world {
    struct sim_options options;
    struct sim_faults faults;
    uint64_t now_ns;
    uint64_t random_state;
    uint64_t trace;
    uint64_t timer_orders;
    struct sim_timer **heap; /* [1 .. heap_count] */
    uint32_t heap_count, heap_max;
    struct sim_end *ends; /* 2 * connections_max */
    struct sim_end *free_pairs;
    struct slab inboxes;
    uint32_t inbox_bytes; /* of one: sndbuf_bytes and RING_RECEIVE_BYTES_MAX for kept ones */
    struct sim_ring *rings;
    uint32_t rings_opened;
    struct sim_slot *listeners;
    struct sim_slot *watches;
    uint32_t ready[SIM_DESCRIPTORS_MAX]; /* of fake descriptors */
    uint32_t descriptors;
    uint16_t port; /* given to the last who asked for a free one */
    bool stalled;
    sim_others_fn *others;
    void *others_arg;
    bool in_others;
};

static inline struct sim_ring *sim_of(struct ring *ring) {
    return (struct sim_ring *)(void *)ring;
}
static inline struct sim_slot *sim_slot_of(struct slot *slot) {
    return (struct sim_slot *)(void *)slot;
}
static inline struct ring_id sim_id_of(const struct sim_slot *slot) {
    return slots_id(&slot->ring->common.slots, &slot->head);
}

/* NULL: all are taken. */
struct sim_slot *sim_take_slot(struct sim_ring *ring, enum slot_kind kind, void *user);

/* ---- sim_socket.c: the backend's functions, and one event of a slot that has it due; false: not now ---- */
int32_t sim_listen(struct ring *common, const struct ring_listen *listen, struct ring_id *out);
void sim_accept(struct ring *ring, struct slot *head, bool on);
int32_t sim_connect(struct ring *common, const struct ring_address *address, void *user, struct ring_id *out);
void sim_receive_mode(struct ring *common, struct slot *head, enum ring_receive mode);
void sim_receive_more(struct ring *ring, struct slot *head);
void sim_send(struct ring *common, struct slot *head, const struct iovec *segments, uint32_t n, enum ring_send how);
/* The data of a zero-copy send is as it was when it was asked for (asserted); then it is the owner's again. */
void sim_send_release(struct sim_slot *slot);
void sim_shutdown_write(struct ring *ring, struct slot *head);
int32_t sim_peer(struct ring *ring, struct slot *head, struct ring_address *out);
uint64_t sim_taken(struct ring *ring, struct slot *head);
int32_t sim_local(struct ring *ring, struct slot *head, struct ring_address *out);
bool sim_accept_event(struct sim_ring *ring, struct sim_slot *listener, struct ring_event *out);
bool sim_connected_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out);
bool sim_received_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out);
bool sim_sent_event(struct sim_ring *ring, struct sim_slot *slot, struct ring_event *out);

/* The borrowed bytes of the turn before are dead. */
void sim_reclaim_buffers(struct sim_ring *ring);

/* ---- sim_world.c ---- */

/* Timers that a ring brings with it: heap room for `more`. False: no memory. */
[[gnu::warn_unused_result]] bool sim_world_reserve(struct sim_world *world, uint32_t more);

/* Fires all timers that are due. */
void sim_world_run(struct sim_world *world);

/* The next timer's time; UINT64_MAX: none. */
uint64_t sim_world_next(const struct sim_world *world);

/* True `ppm` times in a million. Draws nothing when ppm is 0. */
bool sim_chance(struct sim_world *world, uint32_t ppm);
/* 0 .. n - 1 (n > 0). */
uint64_t sim_below(struct sim_world *world, uint64_t n);
/* 0 .. max; draws nothing when max is 0. */
uint64_t sim_delay(struct sim_world *world, uint64_t max);

/* What holds for a fake descriptor; NULL when `fd` is none of this world. */
uint32_t *sim_ready_of(struct sim_world *world, int fd);

void sim_trace_event(struct sim_ring *ring, const struct ring_event *event);

/* A job timer has fired: one job runs. */
void sim_ring_run_job(struct sim_ring *ring);

#endif
