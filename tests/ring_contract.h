/* What the scenarios of the ring contract share: two rings of one backend in one thread (a server's and a client's side), a
 * pump that drives both in turns and is bounded in time, and a record of every socket that checks the rules of ring/ring.h
 * at each event: CLOSED is last and comes once, nothing but CLOSED comes after ring_close, METERED delivers nothing unasked,
 * bytes arrive in order, a SENT means all bytes.
 *
 * A scenario is a function of one rig. It fails through cmocka's assertions or through rig_fail().
 * Depends on: ring/ring.h, ring/sim.h, cmocka. */
#ifndef RM_TESTS_RING_CONTRACT_H
#define RM_TESTS_RING_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ring/ring.h"
#include "ring/sim.h"

/* ------------------------------------------------------------------------------------------------ rows and cells ---- */

enum row_bits {
    ROW_REAL = 1,    /* sockets of the kernel */
    ROW_URING = 2,   /* has submission and completion queues */
    ROW_BATCHED = 4, /* one submission per turn */
    ROW_ROUGH = 8,   /* the simulator delays and splits */
    ROW_ZC = 16,     /* sends of ZONE_PIECE_BYTES at most are from registered memory; such a row runs some files only */
};

/* One backend with one tuning: a column of the matrix. */
struct contract_row {
    const char *name;
    enum ring_choice choice;
    uint32_t bits;
    const char *tuning; /* for ring_tuning_parse */
};

struct rig;

/* One scenario: a line of the matrix. */
struct contract_scenario {
    const char *name;
    void (*run)(struct rig *rig);
    uint32_t needs;          /* row bits that it cannot do without ... */
    uint32_t excludes;       /* ... and those it has no meaning with: */
    bool threads;            /* has more than one: what ThreadSanitizer is to see */
    const char *skip_reason; /* why, for the matrix; not NULL when needs or excludes is not 0 */
};

/* The scenarios by file; each array ends with a name of NULL. */
extern const struct contract_scenario contract_connect[];
extern const struct contract_scenario contract_stream[];
extern const struct contract_scenario contract_close[];
extern const struct contract_scenario contract_limits[];
extern const struct contract_scenario contract_turns[];
extern const struct contract_scenario contract_process[];
extern const struct contract_scenario contract_life[];
extern const struct contract_scenario contract_corners[];
extern const struct contract_scenario contract_read[];
extern const struct contract_scenario contract_zc[];

/* --------------------------------------------------------------------------------------------------------- links ---- */

enum side { SERVER, CLIENT, SIDES };

enum { LINK_LEARNS = -1 }; /* in_seed: the first byte that arrives is the seed */

/* One id as its owner sees it: socket, listener or watch. */
struct link {
    struct rig *rig;
    enum side side;
    struct ring_id id;
    struct link *peer; /* set by rig_pair */
    bool used;

    bool connected; /* CONNECTED with 0, or accepted */
    bool answered;  /* CONNECTED came */
    int32_t connect_result;

    enum ring_receive mode;
    bool asked;         /* METERED: one RECEIVED is due */
    int32_t in_seed;    /* of the pattern that must arrive */
    uint64_t received;  /* bytes */
    uint32_t receives;  /* events with bytes */
    bool ended;         /* RECEIVED with 0 or less came */
    int32_t end_result; /* and this is what it said */

    uint8_t out_seed;
    uint64_t out_position; /* bytes handed to ring_send so far */
    size_t in_flight;      /* bytes of the send in flight */
    char *out;             /* their memory: `own`, or a piece of the zone */
    char *own;
    struct iovec iov[RING_SEGMENTS_MAX];
    uint64_t sent;
    uint32_t sents; /* SENT events */
    int32_t send_error;

    uint32_t ready;     /* READY: the last set */
    uint32_t readies;   /* READY events */
    uint32_t accepts;   /* of a listener */
    bool closing;
    bool closed;
    uint64_t tag; /* the scenario's */
};

/* Byte `position` of the stream with `seed`; position 0 is the seed itself. */
static inline uint8_t pattern_byte(uint8_t seed, uint64_t position) {
    return (uint8_t)(seed + position * 31 + (position >> 8) * 17 + (position >> 16) * 101);
}

/* ----------------------------------------------------------------------------------------------------------- rig ---- */

enum {
    RIG_LINKS_MAX = 4096,
    RIG_TEXT_BYTES = 256,
    ZONE_PIECES = 48, /* registered memory of both rings: a piece is taken for a send, and used again after its SENT */
    ZONE_PIECE_BYTES = 320 * 1024,
};

struct rig_options {
    uint32_t sockets_max[SIDES]; /* 0: 256 */
    const char *tuning[SIDES];   /* behind the row's own; NULL: nothing */
    bool helpers;                /* open with a helper pool */
    bool peers;                  /* ring_config.peers on the server's side */
};

struct rig {
    const struct contract_row *row;
    struct sim_world *world; /* simulator only */
    struct ring_helpers *helpers;
    struct ring *ring[SIDES];
    struct ring_report report[SIDES];
    struct link *links; /* RIG_LINKS_MAX of them */
    uint32_t links_used;
    struct link *listener;
    struct ring_address address; /* of the listener */
    struct link *newest;         /* the last socket that was accepted */
    char *zone;                  /* ROW_ZC: ZONE_PIECES * ZONE_PIECE_BYTES */
    bool zone_used[ZONE_PIECES];
    bool zone_off;               /* sends are from other memory */

    /* Called after the record was brought up to date; may be NULL. `link` is NULL for WOKEN, TICK, FINISHED and READ. */
    void (*on_event)(struct rig *rig, enum side side, struct link *link, const struct ring_event *event);
    void *user; /* the scenario's */
    int pipe_fd;

    uint64_t ticks[SIDES], wokens[SIDES], finished[SIDES], reads[SIDES];
    uint64_t seed;       /* the state of rig_random ... */
    uint64_t first_seed; /* ... and what it started from: printed by failures */
    char violation[RIG_TEXT_BYTES]; /* the first rule that was broken */
};

/* What a row is opened with: the rings, no listener. */
void rig_open(struct rig *rig, const struct rig_options *options);
/* Releases rings, world, helpers and links, in the state they are in. */
void rig_close(struct rig *rig);
/* The same, and the rig is as it was before rig_open. */
void rig_reopen(struct rig *rig);

/* Opens, and listens on a free port of 127.0.0.1 on the server's side. */
void rig_open_listening(struct rig *rig, const struct rig_options *options);
struct link *rig_listen(struct rig *rig, enum side side, const char *address, uint32_t backlog);

/* Ends the test now, with the row's seed. */
_Noreturn void rig_fail(struct rig *rig, const char *file, int line, const char *text);
#define RIG_CHECK(rig, cond) ((cond) ? (void)0 : rig_fail(rig, __FILE__, __LINE__, #cond))

/* One ring_wait and all its events. Returns how many they were, TICK not counted. */
uint32_t rig_wait(struct rig *rig, enum side side, uint64_t deadline_ns);

/* One round: both rings are polled; when neither had anything, each waits a moment. */
void rig_turn(struct rig *rig);

/* Rounds until `cond`; fails after 10 s. A macro so that the condition is text in the failure. */
#define RIG_UNTIL(rig, cond)                                                                                           \
    do {                                                                                                               \
        const uint64_t until_limit_ = rig_limit(rig);                                                                  \
        uint64_t until_rounds_ = 0;                                                                                    \
        while (!(cond)) {                                                                                              \
            if (rig_late(rig, until_limit_, until_rounds_++))                                                          \
                rig_fail(rig, __FILE__, __LINE__, "never: " #cond);                                                    \
            rig_turn(rig);                                                                                             \
        }                                                                                                              \
    } while (0)

void rig_fail_unless_link(struct rig *rig, const struct link *link);
uint64_t rig_limit(const struct rig *rig);

/* A deadline that no turn is to meet: what it waits for comes long before, also on a busy machine. */
uint64_t rig_far(const struct rig *rig, enum side side);
bool rig_late(const struct rig *rig, uint64_t limit, uint64_t rounds);

/* Rounds for `ms` milliseconds of the ring's time, whatever happens. */
void rig_pump_ms(struct rig *rig, uint32_t ms);

static inline bool rig_is(const struct rig *rig, uint32_t bits) {
    return (rig->row->bits & bits) == bits;
}

/* Random numbers of the scenario, from the rig's seed. */
uint64_t rig_random(struct rig *rig);
/* 0 .. n-1. */
uint32_t rig_below(struct rig *rig, uint32_t n);

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t wall_ns(void);

/* ---------------------------------------------------------------------------------------------- acting on a link ---- */

struct link *link_new(struct rig *rig, enum side side);

/* Connects from the client's side to the rig's listener; does not wait. */
struct link *link_connect(struct rig *rig);

/* A connected pair: the client's end, ->peer is the server's. */
struct link *rig_pair(struct rig *rig);

/* Sends the next `bytes` of the link's pattern in `segments` pieces. */
void link_prepare(struct link *link, size_t bytes, uint32_t segments); /* the same, and the caller sends link->iov */
void link_send_segments(struct link *link, size_t bytes, uint32_t segments, enum ring_send how);
static inline void link_send(struct link *link, size_t bytes) {
    link_send_segments(link, bytes, 1, RING_SEND_LOUD);
}
void link_mode(struct link *link, enum ring_receive mode);
void link_more(struct link *link);
void link_shutdown(struct link *link);
void link_close(struct link *link);
void link_reset(struct link *link);

static inline struct ring *link_ring(const struct link *link) {
    return link->rig->ring[link->side];
}

/* Descriptors of this process, from /proc/self/fd. */
uint32_t process_descriptors(void);

/* The kernel's io-wq threads of this process. */
uint32_t process_kernel_workers(void);

/* System calls that a ring has counted, all names together. */
uint64_t rig_calls(const struct rig *rig, enum side side);

/* A connected or listening TCP socket of the kernel; for the points that a ring cannot make. -1 with errno. */
int raw_connect(const struct ring_address *address);
int raw_listen(struct ring_address *address);

#endif
