/* The simulator behind `RING_SIM`: a world with a virtual clock, a seed and a network, in which several rings live in one
 * thread. Servers and clients are both written on ring/ring.h: a simulated client is one more ring of the same world. The
 * same seed and the same calls give the same events, to the byte (sim_trace tells). For tests and benches only.
 *
 * Time. Only ring_wait moves the clock: by `turn_ns` for the turn itself and, when no ring of the world has anything ready,
 * straight to the next thing that happens in the world or to the nearest deadline that any of its rings was given last. When
 * another ring has something ready (events, or its deadline has passed), ring_wait returns 0 with no events, at once: the
 * test must drive that ring before time goes on, or release it. When nothing is ready, nothing will happen and no ring has a
 * deadline, ring_wait returns with no events and sim_stalled() is true. sim_drive() does the turns; sim_set_others() lets a
 * loop that knows nothing of other rings (a whole server) run among them.
 *
 * Zero-copy. A send from registered memory with send=zc:N is told late, and the simulator asserts at its SENT or CLOSED that
 * not one byte of it has changed since: whoever uses a buffer again too early is found there.
 *
 * Differences from real sockets: ring_listen with a descriptor is -EOPNOTSUPP; ring_watch takes sim_descriptor()s only and
 * says -EPERM for others; ring_read reads a real file, at a virtual moment. Everything else that ring.h promises holds here,
 * too.
 *
 * Threads: one; ring_wake() alone may be called from another, and is then the one thing that a seed does not repeat.
 * Memory: sim_world_new allocates all of the network; nothing is allocated after it but by ring_open.
 *
 * Depends on: ring/ring.h. */
#ifndef RM_RING_SIM_H
#define RM_RING_SIM_H

#include "ring/ring.h"

struct sim_world;

enum { SIM_PPM = 1000000, SIM_DESCRIPTORS_MAX = 64 };

/* Durations are virtual nanoseconds; "0..max" is drawn anew each time. Chances are parts per million. All zeroes but for the
 * sizes: a world in which everything works at once. */
struct sim_options {
    uint32_t connections_max;     /* of the world, both ends counted once; 0: 1024 */
    uint32_t sndbuf_bytes;        /* bytes on their way or unread, per direction, before a sender waits; 0: 64 KiB */
    uint64_t turn_ns;             /* what each ring_wait costs at least; 0: 1 µs */
    uint64_t latency_ns_max;      /* bytes, FIN, RST and connects travel 0..max */
    uint64_t sent_delay_ns_max;   /* from the last byte taken to SENT */
    uint64_t notice_delay_ns_max; /* the same of a zero-copy send: until the kernel lets go of its memory */
    uint64_t close_delay_ns_max;  /* from ring_close to CLOSED */
    uint64_t job_delay_ns_max;    /* from one offloaded job to the next */
    uint64_t jump_ns_max;         /* a clock jump */
    uint64_t emfile_ns;           /* how long accepting fails with EMFILE when it does; 0: 100 ms */
    uint32_t split_ppm;           /* bytes arrive or are delivered in part, cut at any byte */
    uint32_t short_ppm;           /* a send takes only some of its bytes now */
    uint32_t reset_ppm;           /* per arrival: the connection is reset, for both ends */
    uint32_t refuse_ppm;          /* per connect */
    uint32_t emfile_ppm;          /* per accept */
    uint32_t no_buffer_ppm;       /* per receive: as if the receive buffers had run out */
    uint32_t read_fail_ppm;       /* per ring_read: -EIO */
    uint32_t spurious_ppm;        /* per ring_wait: it returns with no events */
    uint32_t jump_ppm;            /* per ring_wait: the clock jumps forward */
};

/* What happened because of the options, so that a test can see that it did. */
struct sim_faults {
    uint64_t splits;      /* arrivals and receives cut short */
    uint64_t delays;      /* things that travelled for more than 0 ns */
    uint64_t short_sends; /* sends cut by short_ppm */
    uint64_t full;        /* sends that found the other end's buffer full */
    uint64_t resets, refusals, emfiles, no_buffers, spurious, jumps;
    uint64_t failed_reads; /* by read_fail_ppm */
    uint64_t late_sents;  /* SENT, CLOSED or FINISHED that came later than at once */
    uint64_t kept;        /* changes to METERED that kept bytes */
};

/* Everything at once / delays, splits, short sends, lateness, spurious wakes and missing buffers, but no connection breaks,
 * none is refused, and the clock does not jump. */
void sim_options_calm(struct sim_options *out);
void sim_options_rough(struct sim_options *out);

/* A world; `options` is copied. NULL with errno when there is no memory. */
[[gnu::warn_unused_result]] struct sim_world *sim_world_new(uint64_t seed, const struct sim_options *options);

/* All rings of the world were released before (asserted). */
void sim_world_free(struct sim_world *world);

uint64_t sim_now(const struct sim_world *world);
const struct sim_faults *sim_faults(const struct sim_world *world);

/* The options may change while the world runs (faults from a point on), but not the sizes. */
struct sim_options *sim_world_options(struct sim_world *world);

/* Random bits of the world's own stream, for tests that want one seed for all. */
uint64_t sim_random(struct sim_world *world);

/* A hash over every event that any ring of the world delivered so far, with its bytes and its time. */
uint64_t sim_trace(const struct sim_world *world);

/* The last ring_wait found that nothing would ever happen again. */
bool sim_stalled(const struct sim_world *world);

/* A fake descriptor for ring_watch, not ready; -1 when SIM_DESCRIPTORS_MAX are in use. Lives as long as the world. */
[[gnu::warn_unused_result]] int sim_descriptor(struct sim_world *world);

/* Says what holds for the descriptor from now on: a set of enum ring_ready. A bit that was not set before is an edge. */
void sim_set_ready(struct sim_world *world, int fd, uint32_t ready);

/* `others(arg)` is called by a ring_wait that has nothing ready, once, before time moves: it gives the other parties of the
 * world a turn (ring_waits inside it don't call it again). NULL: none. */
typedef void sim_others_fn(void *arg);
void sim_set_others(struct sim_world *world, sim_others_fn *others, void *arg);

/* One party of a simulation: `turn` does one ring_wait with a deadline of its own choice and handles all of its events.
 * True: it has reached its goal. */
struct sim_party {
    bool (*turn)(void *arg);
    void *arg;
};

enum sim_result { SIM_REACHED, SIM_TIMED_OUT, SIM_STALLED };

/* Gives the parties turns, round and round, until the first of them has reached its goal, `until_ns` is there, or the world
 * has stalled. Borrows the array. */
enum sim_result sim_drive(struct sim_world *world, const struct sim_party *parties, uint32_t n, uint64_t until_ns);

#endif
