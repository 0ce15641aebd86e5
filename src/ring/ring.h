/* The ring: one thread's sockets, watched descriptors, deadlines and helper jobs behind one system call per turn.
 *
 * A turn is: ring_wait() submits everything that was asked for since the last turn and sleeps until something happened or a
 * deadline passed; then ring_next() is called until it says that there is no more. There are no callbacks. Three backends
 * implement this header: io_uring, epoll, and a simulator with a virtual clock (ring/sim.h). Nothing here names them.
 *
 * Identity. A socket, listener or watch is a `struct ring_id`: slot and generation. RING_CLOSED is the last event of an id;
 * it is the only moment at which the owner's memory for it may be reused. A call with an id that has been closed already
 * (ring_close was called or RING_CLOSED was seen) is a mistake of ours and asserts.
 *
 * Threads. A ring belongs to the thread that opened it. Only ring_wake() may be called from another thread.
 *
 * Errors. `int32_t result` fields and returns are 0 or a positive number when all is well, else -errno. What a peer or the
 * kernel does is never asserted. No call blocks but ring_wait; no call allocates from the heap after ring_open.
 *
 * Depends on: mem/span.h. */
#ifndef RM_RING_RING_H
#define RM_RING_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "mem/span.h"

struct ring;
struct ring_helpers;
struct sim_world;

struct ring_id {
    uint32_t slot;
    uint32_t generation; /* 24 bits, never 0: a zeroed ring_id names nothing */
};

enum {
    RING_SEGMENTS_MAX = 64,           /* segments of one ring_send */
    RING_KEPT_BYTES_MAX = 256 * 1024, /* bytes a ring keeps for one paused socket in any case: ring_receive_mode */
    RING_RECEIVE_BYTES_MAX = 16 * 1024, /* bytes of one RING_RECEIVED at most */
    RING_ADDRESS_BYTES = 128,         /* longest address text, with its NUL: "[v6]:port" or "unix:" and 107 bytes of path */
};

static inline bool ring_id_equal(struct ring_id a, struct ring_id b) {
    return a.slot == b.slot && a.generation == b.generation;
}

/* ------------------------------------------------------------------------------------------------------- events ---- */

enum ring_event_type {
    RING_ACCEPTED,  /* id: a new socket, receiving in FREE mode already. listener: who accepted it, `user` is the listener's */
    RING_CONNECTED, /* result: 0, receiving in FREE mode already; or -errno, and the owner must ring_close the id */
    RING_RECEIVED,  /* result > 0: bytes; 0: the peer ended its stream; -errno: the connection is dead. The last two come at
                       most once, as the last RECEIVED of the id; the owner then calls ring_close when it is done */
    RING_SENT,      /* result: all bytes of the ring_send, or -errno: the connection is dead. RECEIVED may say so, too, or 0
                       without all bytes: the kernel tells an error once */
    RING_CLOSED,    /* the last event of an id, always as the answer to ring_close or ring_reset; `user` is as it was set */
    RING_READY,     /* a watched descriptor: result is a set of enum ring_ready */
    RING_WOKEN,     /* ring_wake was called, once or more, since the last RING_WOKEN */
    RING_FINISHED,  /* an offloaded job has run: `job` */
    RING_READ,      /* a ring_read is over: `read`; result: bytes, fewer than asked for when the file ends, or -errno */
    RING_TICK,      /* the deadline given to ring_wait has passed; always the last event of its turn */
};

enum ring_ready {
    RING_READABLE = 1,
    RING_WRITABLE = 2,
    RING_HANGUP = 4, /* EPOLLHUP or EPOLLRDHUP: reported whether or not it was asked for */
    RING_ERROR = 8,  /* EPOLLERR, likewise */
};

struct ring_job;
struct ring_read;

struct ring_event {
    enum ring_event_type type;
    int32_t result;
    struct ring_id id;
    struct ring_id listener; /* ACCEPTED only */
    struct span bytes;       /* RECEIVED with result > 0: borrowed until the next ring_wait */
    void *user;              /* ring_set_user's pointer of `id`; of the listener for ACCEPTED */
    struct ring_job *job;    /* FINISHED only */
    struct ring_read *read;  /* READ only */
};

const char *ring_event_name(enum ring_event_type type);

/* ---------------------------------------------------------------------------------------------------- addresses ---- */

/* An endpoint as text and as bytes for the kernel. */
struct ring_address {
    struct sockaddr_storage storage;
    socklen_t len; /* bytes of storage in use; 0: unknown or unnamed */
};

/* "127.0.0.1:8080", "[::1]:8080", ":8080" (all IPv4 addresses), "unix:/path". Numbers only: names are not looked up. False
 * when it is none of these; *out is not written then. Port 0 asks for a free one (see ring_local). */
[[gnu::warn_unused_result]] bool ring_address_parse(struct span text, struct ring_address *out);

/* Writes the text form with a NUL, at most RING_ADDRESS_BYTES; "unknown" when len is 0. Returns `out`. */
const char *ring_address_text(const struct ring_address *address, char out[static RING_ADDRESS_BYTES]);

/* ---------------------------------------------------------------------------------------------- open and release ---- */

enum ring_choice { RING_AUTO, RING_URING, RING_EPOLL, RING_SIM };

/* What the switches of `--ring` say. Every feature has a fallback; fallback and ablation are one code path. The uring
 * backend reads all of it, the simulator `buffers`, `buffer_bytes`, `send_zc`, `slab_bytes` and `store_registered`, epoll
 * nothing. */
struct ring_tuning {
    enum { RING_TASKRUN_DEFER, RING_TASKRUN_COOP, RING_TASKRUN_NONE } taskrun; /* 6.1, 5.19, any */
    bool accept_multi;     /* multishot accept (5.19) */
    bool receive_multi;    /* multishot receive (6.0) */
    bool files_direct;     /* direct descriptors, for which FIXED_FD_INSTALL is needed (6.8) */
    bool ring_fd;          /* registered ring descriptor (5.18) */
    bool submit_batch;     /* one submission per turn; off: one enter per operation */
    bool wait_quiet;       /* wait for quiet sends and one event more in one enter: ring_send */
    bool single_issuer;    /* 6.0 */
    bool no_iowait;        /* a sleeping ring is not shown as waiting for a disk (6.15) */
    bool store_registered; /* register the object store's mapping, too: ring_register */
    uint32_t send_zc;      /* bytes from which on a send from registered memory is zero-copy (6.0); 0: never */
    uint32_t slab_bytes;   /* of the output blocks, registered when send_zc is not 0: 4 MiB */
    uint32_t sq_entries;   /* 512 */
    uint32_t cq_entries;   /* 2048; halved as often as needed when the locked-memory limit says no */
    uint32_t buffers;      /* receive buffers at start, a power of two: 64 */
    uint32_t buffers_max;  /* and at most, when many sockets wait for one, a power of two: 512 */
    uint32_t buffer_bytes; /* bytes of each: 16384; a page of it costs memory when it was first filled */
    uint32_t kernel;       /* 601, 606, 612: use only what that kernel has (an emulation); 0: all that is there */
};

void ring_tuning_default(struct ring_tuning *out);

/* Reads "key=value,...", left to right, into *out (which holds the defaults). Keys: taskrun=defer|coop|none,
 * accept=multi|single, recv=multi|single, files=direct|normal, ring-fd=on|off, submit=batch|each, wait=quiet|one,
 * issuer=single|any, iowait=off|on, send=copy|zc:BYTES, slab=BYTES, store=plain|registered, sq=N, cq=N, buffers=N,
 * buffers-max=N, buffer-bytes=N (BYTES may end in K or M); and the presets `default`, `naive`
 * (one submission per operation, single-shot, no flags) and `kernel=6.1|6.6|6.12`, which set several of them and come first.
 * False: `why` says which item is wrong and what it may be. */
[[gnu::warn_unused_result]] bool ring_tuning_parse(struct span text, struct ring_tuning *out, char *why, size_t why_bytes);

/* Everything that ring_open needs; borrowed until it returns, but `helpers` and `world`, which must outlive the ring. */
struct ring_config {
    enum ring_choice choice;
    struct ring_tuning tuning;
    uint32_t sockets_max;         /* sockets, listeners and watches at a time: >= 1; slots are planned for as many */
    bool peers;                   /* remember who accepted sockets are: ring_peer; 28 bytes for each socket, for those used */
    struct ring_helpers *helpers; /* who runs offloaded jobs; NULL: ring_offload asserts. Unused by the simulator */
    struct sim_world *world;      /* RING_SIM only */
};

enum { RING_TEXT_BYTES = 512 };

/* What was chosen, and why. All texts are NUL-terminated single lines. */
struct ring_report {
    const char *backend;             /* "uring", "epoll" or "sim"; static */
    bool fallback;                   /* AUTO wanted something better than what it got */
    char why[RING_TEXT_BYTES];       /* on failure or fallback: what failed, errno, and how to fix it; else empty */
    char features[RING_TEXT_BYTES];  /* the bits in effect: "taskrun=defer accept=multi ... sq=512 cq=2048" */
    char registered[RING_TEXT_BYTES]; /* by ring_register: "output 4096K, store 262144K"; empty: nothing */
    char unregistered[RING_TEXT_BYTES]; /* by ring_register: what was refused, why, and how to fix it; else empty */
};

/* Opens a ring for the calling thread, which owns it from then on. AUTO takes uring when a probe by trying succeeds, else
 * epoll, and says so in the report. 0, or -errno with report->why set: -EOPNOTSUPP when the chosen backend was not compiled
 * in, -ENOMEM over a memory limit, what io_uring_setup(2) said otherwise. All memory of the ring is mapped here. */
[[gnu::warn_unused_result]] int32_t ring_open(const struct ring_config *config, struct ring **out,
                                              struct ring_report *report);

/* Closes every socket without further events (listeners first, so that nothing new arrives), waits for the jobs that were
 * offloaded and for the reads (they run, RING_FINISHED and RING_READ do not come) and releases the ring. */
void ring_release(struct ring *ring);

/* Memory from which sends may be done without a copy, and to which files are read. */
enum ring_region {
    RING_REGION_OUTPUT, /* output blocks: wanted with send=zc, the first slab_bytes of them (those are used most) */
    RING_REGION_STORE,  /* the object store's mapping: wanted, all of it, with store=registered */
};

/* The tuning asks for such a region, and this backend has a use for it: epoll has none. */
bool ring_wants(const struct ring *ring, enum ring_region region);

/* Registers memory with the kernel, which locks it: between ring_open and the first ring_wait, each region at most once. The
 * memory stays mapped until ring_release. Returns the bytes that are registered: all that is wanted; or the front of it, when
 * output blocks are over the limit of locked memory; or 0. The ring serves on in any case; report->registered and
 * report->unregistered say what came of it. The simulator remembers the region. io_uring_register_buffers(3); a buffer has at
 * most 1 GiB, so a region becomes several. */
size_t ring_register(struct ring *ring, enum ring_region region, void *base, size_t bytes, struct ring_report *report);

/* True when the backend was compiled in. */
bool ring_has_backend(enum ring_choice choice);

/* Bytes that ring_open maps for this configuration, for the plan: slots, buffers, tables; kernel memory apart. */
size_t ring_memory_bytes(const struct ring_config *config);

/* --------------------------------------------------------------------------------------------------------- turns ---- */

enum { RING_NO_DEADLINE = 0 };

/* Ends the turn before (every span of it is dead), submits all that was asked for, and sleeps until at least one event is
 * there or `deadline_ns` (CLOCK_MONOTONIC as ring_now gives it; RING_NO_DEADLINE for none; a time in the past polls) has
 * passed. The turn before must have been drained with ring_next (asserted). 0, or -errno when the kernel refuses to go on at
 * all (a broken ring): the worker must stop. An interrupted wait is 0 with no events. */
[[gnu::warn_unused_result]] int32_t ring_wait(struct ring *ring, uint64_t deadline_ns);

/* The next event of this turn, false when there is none left. What was closed earlier in the turn gives no more events but
 * its RING_CLOSED, which comes in this turn or a later one. A turn is bounded (1,024 events); what is left over comes with
 * the next turn, whose ring_wait does not sleep. */
[[gnu::warn_unused_result]] bool ring_next(struct ring *ring, struct ring_event *out);

/* Nanoseconds, monotonic: read once per turn, when ring_wait returns. The simulator's is virtual. */
uint64_t ring_now(const struct ring *ring);

/* Seconds since 1970, read once per turn likewise; for Date. */
int64_t ring_wall_seconds(const struct ring *ring);

/* The milliseconds of that second, as coarse as the kernel's tick: 0 .. 999. */
uint32_t ring_wall_ms(const struct ring *ring);

/* 64 random bits: getrandom(2) seeded once; the simulator's come from its seed. Not for secrets. */
uint64_t ring_random(struct ring *ring);

/* Makes the ring's thread leave ring_wait with RING_WOKEN. From any thread while the ring is open; several calls may become
 * one event. One write(2) to an eventfd, and none while one is already on its way. */
void ring_wake(struct ring *ring);

/* ----------------------------------------------------------------------------------------------------- listeners ---- */

struct ring_listen {
    struct ring_address address;
    int fd;           /* >= 0: a listening socket to use instead of `address`; the ring takes it and closes it */
    uint32_t backlog; /* listen(2) */
    bool reuse_port;  /* SO_REUSEPORT: each worker has a listener of its own (TCP) */
    void *user;       /* ring_set_user of the listener */
};

/* Binds, listens and starts to accept. TCP_NODELAY is set on the listener: accepted sockets inherit it. 0 and *out, or
 * -errno: -EADDRINUSE, -EACCES, -ENFILE when no slot is free, ... Blocks no longer than bind(2) does.
 *
 * A connection is never dropped for want of a slot: when all slots are taken, accepting stops by itself and goes on when
 * one is free again; at EMFILE or ENFILE it goes on after a close or 100 ms, without spinning. */
[[gnu::warn_unused_result]] int32_t ring_listen(struct ring *ring, const struct ring_listen *listen, struct ring_id *out);

/* Stops accepting (false) or goes on (true). From the stop on no RING_ACCEPTED comes: clients wait in the kernel's backlog,
 * and in the ring those that the kernel had accepted before the stop took effect. ring_close of a listener ends it: its port
 * refuses from the RING_CLOSED on. */
void ring_accept(struct ring *ring, struct ring_id listener, bool on);

/* ------------------------------------------------------------------------------------------------------- sockets ---- */

/* Starts to connect. 0 and *out: RING_CONNECTED follows. -ENFILE: no slot; or what socket(2) said. `user` as by
 * ring_set_user; `address` is copied. TCP gets TCP_NODELAY and SO_KEEPALIVE: a server that has gone without a word is noticed,
 * if late, even by who has nothing to send. */
[[gnu::warn_unused_result]] int32_t ring_connect(struct ring *ring, const struct ring_address *address, void *user,
                                                 struct ring_id *out);

/* The owner's pointer, which comes back in every event of the id. */
void ring_set_user(struct ring *ring, struct ring_id id, void *user);

enum ring_receive { RING_FREE, RING_METERED };

/* FREE: bytes come as they come. METERED: one RECEIVED (with bytes) per ring_receive_more. What arrives between the change
 * and its effect is kept by the ring and delivered first, in order: only what had left the socket already. Beyond
 * RING_KEPT_BYTES_MAX it may take, with all other paused sockets, three quarters of the receive buffers; then the connection
 * ends with -ENOBUFS. A change to FREE delivers what was kept in the next turn. No-op when the mode is that already.
 * io_uring_prep_recv_multishot(3), kernel 6.0, for FREE. */
void ring_receive_mode(struct ring *ring, struct ring_id id, enum ring_receive mode);

/* METERED only: asks for one more RECEIVED. Asking again before it came changes nothing. */
void ring_receive_more(struct ring *ring, struct ring_id id);

/* How a send is meant. QUIET: small, and nothing waits for its SENT: the ring may deliver it together with the next other
 * event instead of waking the worker for it, which is what lets one system call submit a batch and wait for the next. A
 * quiet SENT is late by at most 12 ms. */
enum ring_send { RING_SEND_LOUD, RING_SEND_QUIET };

/* Sends all bytes of `n` segments (1 <= n <= RING_SEGMENTS_MAX, no empty one, at most INT32_MAX bytes: asserted). One send may
 * be in flight per socket (asserted). The array and the data are kept until RING_SENT: then nobody looks at them any more, not
 * even the kernel. send(2) or sendmsg(2) with MSG_WAITALL | MSG_NOSIGNAL.
 *
 * Zero-copy (send=zc:N): neighbouring segments that lie in one registered region and have N bytes or more together are sent
 * from where they are. SENT then waits until the peer has acknowledged them, and is never quiet. A kernel or socket that will
 * not do it gets copies, and the counters say so. io_uring_prep_send_zc(3), kernel 6.0; several segments: sendmsg_zc, 6.1. */
void ring_send(struct ring *ring, struct ring_id id, const struct iovec *segments, uint32_t n, enum ring_send how);

/* Ends our half of the stream: FIN after what was sent. No send may be in flight (asserted). Rare path: up to three system
 * calls. shutdown(2). */
void ring_shutdown_write(struct ring *ring, struct ring_id id);

/* Closes a socket, listener or watch: cancels what is in flight, drops unsent bytes, RING_CLOSED follows, and nothing else.
 * The peer sees FIN when nothing unread was left, else RST, as close(2) has it; and RST while the kernel still needs the memory
 * of a zero-copy send, which nothing else would end in bounded time when the peer does not read. A watched descriptor stays
 * open: it is the caller's. */
void ring_close(struct ring *ring, struct ring_id id);

/* As ring_close for a socket, but the peer sees RST: SO_LINGER with 0 seconds. Rare path. */
void ring_reset(struct ring *ring, struct ring_id id);

/* The other end. 0 or -errno (*out is unknown then). Rare path: getpeername(2); but with ring_config.peers the ring learns
 * who an accepted socket is while it accepts it, and answers from memory: accept4(2), or SO_PEERNAME asked for through
 * io_uring (SOCKET_URING_OP_GETSOCKOPT, kernel 6.7; on older ones the first question makes the calls). Known from the first
 * RECEIVED on; asked in the turn of its ACCEPTED, it may make the calls. A Unix client without a name has family AF_UNIX and
 * nothing else. */
[[gnu::warn_unused_result]] int32_t ring_peer(struct ring *ring, struct ring_id id, struct ring_address *out);

/* Our end, also of a listener that asked for port 0. Rare path: getsockname(2). */
[[gnu::warn_unused_result]] int32_t ring_local(struct ring *ring, struct ring_id id, struct ring_address *out);

/* Bytes that the other end's kernel has taken so far, for telling a send that is slow from one that is stuck: a large send
 * buffer may be refilled in leaps that are minutes apart. It never goes down; 0 when that is not known (a Unix socket, no
 * descriptor free). Rare path: getsockopt(2), tcpi_bytes_acked of TCP_INFO. */
uint64_t ring_taken(struct ring *ring, struct ring_id id);

/* ------------------------------------------------------------------------------------------- watches and helpers ---- */

/* Watches a descriptor of the caller's (a pipe, a timerfd, a library's socket): RING_READY when one of `interest` (READABLE,
 * WRITABLE) holds, or at hang-up or error. Once: one event; ring_rewatch asks for the next. Persistent: an event for each
 * new edge. At HANGUP or ERROR a watch is spent: only ring_close may follow. A descriptor has one watch at a time. 0 and
 * *out, -ENFILE: no slot; -EPERM: cannot be watched (a plain file). poll(2), epoll_ctl(2). */
[[gnu::warn_unused_result]] int32_t ring_watch(struct ring *ring, int fd, uint32_t interest, bool persistent, void *user,
                                               struct ring_id *out);

/* Arms a once-watch again after its RING_READY. */
void ring_rewatch(struct ring *ring, struct ring_id id, uint32_t interest);

/* Work for a helper thread: anything that may block (file reads, log writes, name look-ups, key derivation). */
struct ring_job {
    void (*run)(struct ring_job *job); /* called on a helper thread; may block; must not touch the ring */
    void *user;                        /* the owner's */
    struct ring_job *next;             /* the ring's, from ring_offload to RING_FINISHED */
    struct ring *home;                 /* likewise */
};

/* Hands a job over; it is the helpers' until RING_FINISHED. Jobs of a ring may finish in any order. */
void ring_offload(struct ring *ring, struct ring_job *job);

/* A read of a plain file. The owner keeps it, and leaves it alone from ring_read to its RING_READ. */
struct ring_read {
    void *user;         /* the owner's */
    struct ring_job job; /* the ring's, like all below */
    int fd;
    uint32_t bytes, done;
    uint64_t offset;
    char *to;
    int32_t error; /* 0 or -errno */
    uint32_t calls; /* pread(2)s of a helper thread */
};

/* Reads `bytes` (> 0, at most INT32_MAX) of a plain file from `offset` on into `to`; short reads go on until all is there or
 * the file ends. `fd` stays open, `to` and *read are the ring's until RING_READ; there is no way to cancel, and ring_release
 * waits (RING_READ does not come then). Reads of a ring may end in any order. uring reads what is in the page cache with the
 * turn's own call, into registered memory without pinning it; a helper thread does what may block, and all of it on epoll: the
 * configuration must name helpers (asserted when there is something for them to do). pread(2), preadv2(2): RWF_NOWAIT. */
void ring_read(struct ring *ring, int fd, uint64_t offset, void *to, uint32_t bytes, struct ring_read *read);

/* The helper pool of a process: `threads` (2) threads, made here, which run jobs for any ring. NULL with errno. */
struct ring_helpers *ring_helpers_start(uint32_t threads);

/* Waits for the jobs that were handed over, then ends the threads. No ring may use it any more. */
void ring_helpers_stop(struct ring_helpers *helpers);

/* ------------------------------------------------------------------------------------------------------ counters ---- */

/* System calls by name, as the kernel's syscalls:sys_enter_* tracepoints name them. */
#define RING_CALLS(X)                                                                                                  \
    X(io_uring_enter) X(io_uring_register) X(epoll_wait) X(epoll_ctl) X(accept4) X(recvfrom) X(sendto) X(sendmsg)      \
    X(close) X(shutdown) X(setsockopt) X(getsockname) X(getpeername) X(socket) X(connect) X(bind) X(listen) \
    X(statx) X(getsockopt) X(fcntl) X(read) X(write) X(pread64)

enum ring_call {
#define RING_CALL_ENUM(name) RING_CALL_##name,
    RING_CALLS(RING_CALL_ENUM)
#undef RING_CALL_ENUM
    RING_CALLS_COUNT
};

const char *ring_call_name(enum ring_call call);

enum { RING_BATCH_BUCKETS = 12 }; /* bucket 0: none; bucket k: 2^(k-1) .. 2^k - 1 completions in a turn; the last: more */

/* Bucket k: turns shorter than 2^(k + RING_BUSY_SHIFT) ns, 16 us the first; the last: the rest. */
enum { RING_BUSY_BUCKETS = 16, RING_BUSY_SHIFT = 14 };

/* What a ring knows about itself. Written by its thread only, with relaxed atomic stores; another thread may read each with
 * a relaxed load. Counted from ring_open on, never reset. */
struct ring_counters {
    uint64_t calls[RING_CALLS_COUNT];
    uint64_t turns;                     /* returns of ring_wait */
    uint64_t sqes;                      /* submissions (0 on epoll) */
    uint64_t completions;               /* completions; on epoll: ready events plus reads, sends and accepts done */
    uint64_t batches[RING_BATCH_BUCKETS]; /* turns by completions */
    uint64_t busy_ns;                   /* from the return of a wait to the next one: what others had to wait for, and */
    uint64_t busy_max_ns;               /* the longest such time. The simulator's are 0: its clock stands still meanwhile */
    uint64_t busy[RING_BUSY_BUCKETS];   /* turns by it */
    uint64_t accepted, connected, closed;
    uint64_t receives, received_bytes;
    uint64_t sends, sent_bytes;
    uint64_t short_sends;       /* sends that needed more than one try */
    uint64_t sends_zc;          /* zero-copy requests that the kernel took (a send may need several), ... */
    uint64_t sends_zc_copied;   /*   those of which it had to copy after all (it always does on loopback), */
    uint64_t sends_zc_fallback; /*   and those that it refused: plain sends then */
    uint64_t registered_bytes;  /* locked by ring_register, whole pages: set once, not counted */
    uint64_t no_buffers;        /* ENOBUFS: the receive buffers ran out */
    uint64_t buffers_grown;     /* receive buffers added after start */
    uint64_t rearms_receive;    /* multishot receives armed again, by cause: */
    uint64_t rearms_no_buffers; /*   after ENOBUFS */
    uint64_t rearms_overflow;   /*   after the kernel ended them (completion queue overflow and the like) */
    uint64_t rearms_accept;
    uint64_t accept_errors;     /* EMFILE and other failures of accept */
    uint64_t accept_pauses;     /* times accepting stopped for want of a slot or a descriptor */
    uint64_t stale;             /* completions for a slot whose generation had moved on */
    uint64_t overflows;         /* turns that found the completion queue overflown */
    uint64_t submit_stalls;     /* times the submission queue was full and had to be flushed */
    uint64_t kept_bytes;        /* received while paused, kept, delivered later */
    uint64_t wakes;             /* RING_WOKEN delivered */
    uint64_t jobs;              /* jobs offloaded */
    uint64_t reads, read_bytes; /* ring_reads that are over, and what they read */
    uint64_t reads_helped;      /* those that a helper thread had to do, or to end */
};

/* Valid as long as the ring. */
const struct ring_counters *ring_counters(const struct ring *ring);

/* Slots in use and slots in all, for shedding. */
uint32_t ring_sockets(const struct ring *ring);
uint32_t ring_sockets_max(const struct ring *ring);

#endif
