/* The io_uring backend's own types. Stays inside src/ring/uring*.c.
 * Depends on: liburing (>= 2.9), ring/ring_priv.h. */
#ifndef RM_RING_URING_PRIV_H
#define RM_RING_URING_PRIV_H

#include <liburing.h>

#include "mem/slab.h"
#include "ring/ring_priv.h"

/* What newer kernels have and the headers of liburing 2.9 may lack. */
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7) /* 6.15 */
#endif
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17) /* 6.15 */
#endif
#ifndef SO_PEERNAME
#define SO_PEERNAME 28 /* asm-generic/socket.h, which the C library's headers keep to themselves on some machines */
#endif

/* The receive buffers: a ring of `entries` places shared with the kernel, of which `count` buffers are in use so far.
 * A buffer is with the kernel, or lent to the worker for this turn, or kept for a paused socket.
 * Invariant: with_kernel + lent_count + kept == count <= entries. */
struct buffers {
    struct io_uring_buf_ring *ring; /* page aligned, registered as group 0 */
    char *memory;                   /* entries * (bytes + BUFFER_GAP); what lies behind `count` is never touched */
    uint32_t entries;
    uint32_t bytes;                 /* of one buffer; they lie bytes + BUFFER_GAP apart */
    uint32_t count, with_kernel, kept;
    uint32_t lent_count;
    uint16_t *lent;  /* entries: given back at the next wait */
    uint16_t *next;  /* entries: the next kept buffer of the same socket */
    uint32_t *len;   /* entries: bytes in a kept buffer */
};

enum {
    BUFFER_NONE = UINT16_MAX,
    BUFFER_GROUP = 0,
    BUFFER_GAP = 64,      /* between two buffers, so that their first lines don't fall into the same sets of a cache */
    KEPT_BUFFERS_MAX = 64, /* of one paused socket, however small what is in them */
};

enum uring_op {
    OP_ACCEPT = 1,
    OP_RECEIVE,
    OP_SEND,
    OP_SEND_ZC, /* two completions: the result, and the notice that the kernel has let go of the memory */
    OP_CONNECT,
    OP_POLL,
    OP_CANCEL, /* success is silent */
    /* the ring's own, of no slot: */
    OP_CLOSE,  /* success is silent */
    OP_WAKE,
    OP_INSTALL, /* looked for by hand */
    OP_PEER,    /* success is silent */
    OP_READ,    /* tagged with its struct ring_read, which stays until it is over */
};

enum receive_state {
    RECEIVE_NONE,       /* nothing armed */
    RECEIVE_MULTI,      /* a multishot receive is armed */
    RECEIVE_SINGLE,     /* a single-shot receive is armed */
    RECEIVE_CANCELLING, /* a cancel of the multishot is on its way */
};

enum { LIST_CLOSED = 1, LIST_STARVED, LIST_KEPT };

/* Invariant: in_flight counts the completions still owed to this slot, notices included; a closing slot is given back when it
 * is 0. notices <= in_flight; send_over => sending and notices > 0. */
struct uring_slot {
    struct slot base;
    int32_t file;           /* descriptor, or index in the fixed table when `fixed` */
    uint32_t in_flight;     /* completions owed: one for each request that is not silent, and one for each notice */
    uint8_t mode;           /* enum ring_receive */
    uint8_t receive;        /* enum receive_state */
    uint8_t burst;          /* completions since the socket was last drained, up to BURST_MAX: see uring_receive.c */
    bool fixed : 1;         /* `file` is a direct descriptor */
    bool want_more : 1;     /* METERED: one RECEIVED is asked for; set by receive_more, cleared when it is delivered */
    bool final_known : 1;   /* the stream has ended: `final` says how; set by the terminal receive */
    bool final_told : 1;    /* and the owner was told */
    bool connecting : 1;
    bool sending : 1;       /* a ring_send is not over */
    bool quiet : 1;         /* and it is a quiet one */
    bool zero_copy : 1;     /* the request of the send that is in flight, or was last */
    bool copy_rest : 1;     /* what is left of the send is copied: the kernel refused; set anew by each ring_send */
    bool copy_all : 1;      /* and all others of this socket, which can do nothing else */
    bool refused : 1;       /* the notice of a refused request is to come: it says nothing */
    bool send_over : 1;     /* all requests of the send have ended, with send_result; notices are to come */
    bool slow : 1;          /* its last send did not finish at once: the next one is loud */
    bool more_queued : 1;   /* the last receive left bytes in the socket (IORING_CQE_F_SOCK_NONEMPTY) */
    bool accepting : 1;     /* listener: an accept is armed */
    bool accept_off : 1;    /* listener: the owner stopped it */
    bool accept_multi : 1;  /* listener: the armed accept is a multishot */
    bool accept_cancelled : 1; /* listener: and is being cancelled */
    bool persistent : 1;    /* watch */
    bool spent : 1;         /* watch: hang-up or error was delivered */
    uint16_t notices;       /* zero-copy requests whose memory the kernel still needs */
    int32_t final;          /* 0 or -errno */
    uint16_t kept_head, kept_tail; /* buffers kept while METERED, BUFFER_NONE when there are none */
    uint32_t kept_bytes;
    uint32_t kept_buffers;
    union {
        uint32_t interest;         /* watch: poll events */
        uint32_t request_end;      /* bytes of the send up to the end of the request in flight */
    };
    uint32_t send_bytes, sent;     /* of the send in flight */
    uint32_t send_turn;            /* the enter that submitted it */
    uint32_t send_count;           /* segments */
    int32_t send_result;
    const struct iovec *segments;  /* borrowed until RING_SENT */
};
_Static_assert(sizeof(struct uring_slot) <= 96, "a slot is paid for by every idle connection");

/* What one submission needs until the kernel has read it: one for each place of the submission queue. */
union submission {
    struct msghdr message;
    struct sockaddr_storage address;
};

/* A connection that was accepted when no slot was free, or after its listener was stopped. */
struct parked {
    int32_t file;
    bool fixed;
    struct ring_id listener;
};

enum { LISTENERS_MAX = 33 };

/* Registered memory: buffers [buffer, ...) of the ring's table, 1 GiB each but the last. */
struct region {
    const char *base;
    size_t bytes;
    uint32_t buffer;
};

enum { REGIONS_MAX = 2 };

struct uring {
    struct ring base;
    struct io_uring ring;
    struct ring_tuning tuning;
    struct buffers buffers;
    union submission *submissions;
    unsigned enter_flags; /* registered ring, no iowait */
    int enter_fd;
    bool opened;          /* set when uring_open has succeeded */

    uint32_t cq_head;     /* the next completion to look at */
    uint32_t cq_tail;     /* snapshot of this turn */
    uint32_t cq_released; /* what the kernel knows as our head: lags behind cq_head on purpose, see uring.c */
    uint32_t cq_lag_max;
    uint32_t turn_events; /* delivered in this turn */
    uint32_t turn;       /* enters that waited */
    uint32_t quiet;      /* quiet sends queued since the last enter */
    uint32_t installs;   /* descriptors installed so far: tags their completions apart */
    bool wake_armed;
    uint64_t wake_value; /* the kernel writes the eventfd's count here */

    struct slot_list closed;  /* to be delivered as RING_CLOSED */
    struct slot_list starved; /* receives that found no buffer, first come first served */
    struct slot_list kept;    /* kept bytes or a kept end that may be delivered now */

    uint32_t listeners[LISTENERS_MAX]; /* their slots */
    uint32_t listener_count;
    bool accept_check;        /* a slot or descriptor came free: see uring_accept_resume */
    uint64_t accept_retry_ns; /* accepting again at this time after EMFILE; 0: not waiting */
    struct parked *parked;    /* accepted connections that wait for a slot or their listener, FIFO */
    uint32_t parked_head, parked_count, parked_max;
    struct region regions[REGIONS_MAX];
    uint32_t region_count;
    uint32_t buffer_count;    /* of the regions, in the table */
    uint32_t notices;         /* of all slots */
    bool zc_report;           /* the kernel can say that it copied (6.2) */
    bool zc_segments;         /* sendmsg_zc from registered memory (6.15); else its pages are pinned for each */

    bool ask_peers;           /* the kernel tells the peers' names through the ring: uring_accept.c */
    int32_t broken;           /* -errno: the ring cannot go on */
    struct io_uring_sqe scratch; /* what a broken ring writes its submissions to */
    struct slab slab;         /* all of the memory above, this struct included */
};

static inline struct uring *uring_of(struct ring *ring) {
    return (struct uring *)ring;
}
static inline struct uring_slot *uring_slot_of(struct slot *slot) {
    return (struct uring_slot *)slot;
}

/* ---- uring.c ---- */

/* A place in the submission queue, to be filled in by io_uring_prep_*; what is queued is submitted when it is full. */
struct io_uring_sqe *uring_submission(struct uring *uring);
/* The memory that goes with it: the caller's until the submission was read by the kernel. */
union submission *uring_stable(struct uring *uring, const struct io_uring_sqe *sqe);
/* Tags a prepared submission with its operation and slot (NULL: the ring's own) and queues it; submit=each submits it. */
void uring_queue(struct uring *uring, struct io_uring_sqe *sqe, enum uring_op op, struct uring_slot *slot);
/* The same for OP_READ, which is tagged with the read itself. */
void uring_queue_read(struct uring *uring, struct io_uring_sqe *sqe, struct ring_read *read);
/* Cancels one armed request of a slot. */
void uring_cancel(struct uring *uring, struct uring_slot *slot, enum uring_op op);
/* Submits what is queued without waiting. */
void uring_submit(struct uring *uring);
/* The descriptor (or -errno) that the OP_INSTALL with this user data came to; -EAGAIN when its completion is not there: the
 * queue is full, and uring_next closes the descriptor when it comes. */
int32_t uring_take_installed(struct uring *uring, uint64_t user_data);
/* The enter of a turn; `wait_for` completions or `deadline_ns`. Submits. 0, or -errno that ends the ring. */
int32_t uring_enter(struct uring *uring, uint32_t wait_for, uint64_t deadline_ns);
int32_t uring_wait(struct ring *ring, uint64_t deadline_ns);
bool uring_next(struct ring *ring, struct ring_event *out);
void uring_offload(struct ring *ring, struct ring_job *job);

/* ---- uring_buffers.c ---- */
[[gnu::warn_unused_result]] int32_t buffers_register(struct buffers *buffers, struct io_uring *ring, uint32_t count);
/* The bytes of buffer `id`, which the kernel has just filled: lent until buffers_return. */
char *buffers_lend(struct buffers *buffers, uint16_t id);
/* Gives everything lent back to the kernel. */
void buffers_return(struct buffers *buffers);
/* Twice as many, up to `entries`; false when there are no more. */
bool buffers_grow(struct buffers *buffers);
/* Moves the buffer that was lent last to the kept ones of a socket. */
void buffers_keep(struct buffers *buffers, struct uring_slot *slot, uint16_t id, uint32_t len);
/* The first kept buffer of a socket, lent from now on. */
struct span buffers_unkeep(struct buffers *buffers, struct uring_slot *slot);
/* Drops all that was kept for a socket. */
void buffers_forget(struct buffers *buffers, struct uring_slot *slot);

/* ---- uring_receive.c ---- */
void uring_receive_start(struct uring *uring, struct uring_slot *slot);
void uring_receive_mode(struct ring *ring, struct slot *slot, enum ring_receive mode);
void uring_receive_more(struct ring *ring, struct slot *slot);
bool uring_received(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out);
/* An event from what was kept; false when there is none. */
bool uring_receive_kept(struct uring *uring, struct ring_event *out);
/* Arms the receives that found no buffer, as far as there are buffers now. */
void uring_receive_feed(struct uring *uring);
/* Off the lists, and what was kept is dropped; for closing. */
void uring_receive_drop(struct uring *uring, struct uring_slot *slot);

/* ---- uring_accept.c ---- */
int32_t uring_listen(struct ring *ring, const struct ring_listen *listen, struct ring_id *out);
void uring_accept(struct ring *ring, struct slot *slot, bool on);
bool uring_accepted(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out);
/* The kernel would not say who a client is. */
void uring_peer_failed(struct uring *uring, int32_t error);
/* A parked connection may have a slot now. */
bool uring_accept_pending(const struct uring *uring);
/* It gets the slot; false when there is none. */
bool uring_accept_parked(struct uring *uring, struct ring_event *out);
/* Starts to accept again where that stopped for want of slots or descriptors. */
void uring_accept_resume(struct uring *uring);
/* The listener is gone: drops it from the list, with the connections that are parked for it. */
void uring_accept_forget(struct uring *uring, const struct uring_slot *slot);
void uring_accept_stop(struct uring *uring, struct uring_slot *slot);

/* ---- uring_region.c ---- */
bool uring_wants(const struct ring *ring, enum ring_region region);
size_t uring_register(struct ring *ring, enum ring_region region, void *base, size_t bytes, struct ring_report *report);
/* The number of the registered buffer in which all of it lies; -1: in none. */
int32_t uring_region_buffer(const struct uring *uring, const void *data, size_t len);
void uring_read(struct ring *ring, struct ring_read *read);
/* A completion of it; true when it was the last. */
bool uring_read_done(struct uring *uring, const struct io_uring_cqe *cqe, struct ring_event *out);

/* ---- uring_send.c ---- */
void uring_send(struct ring *ring, struct slot *slot, const struct iovec *segments, uint32_t n, enum ring_send how);
bool uring_sent(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out);
/* The same of OP_SEND_ZC, which does its own counting of what is in flight. */
bool uring_sent_zc(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out);
/* Ends the request of a send that is in flight, if there is one. */
void uring_send_cancel(struct uring *uring, struct uring_slot *slot);
/* A completion of OP_SEND_ZC means the end of a notice: its own, or that there will be none. */
static inline bool uring_ends_notice(const struct io_uring_cqe *cqe) {
    return (cqe->flags & IORING_CQE_F_NOTIF) != 0 || (cqe->flags & IORING_CQE_F_MORE) == 0;
}

/* ---- uring_socket.c ---- */
int32_t uring_connect(struct ring *ring, const struct ring_address *address, void *user, struct ring_id *out);
bool uring_connected(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out);
void uring_shutdown_write(struct ring *ring, struct slot *slot);
void uring_close(struct ring *ring, struct slot *slot, bool reset);
/* The end of its connection will be a reset. */
void uring_linger_zero(struct uring *uring, struct uring_slot *slot);
int32_t uring_peer(struct ring *ring, struct slot *slot, struct ring_address *out);
uint64_t uring_taken(struct ring *ring, struct slot *slot);
int32_t uring_local(struct ring *ring, struct slot *slot, struct ring_address *out);
int32_t uring_watch(struct ring *ring, int fd, uint32_t interest, bool persistent, void *user, struct ring_id *out);
void uring_rewatch(struct ring *ring, struct slot *slot, uint32_t interest);
bool uring_polled(struct uring *uring, struct uring_slot *slot, const struct io_uring_cqe *cqe, struct ring_event *out);
/* Cancels everything that is armed for a closing slot; again, when a cancel did not find its request. */
void uring_stop_all(struct uring *uring, struct uring_slot *slot);
/* After a completion of a closing slot: RING_CLOSED when it was the last one. */
void uring_settle(struct uring *uring, struct uring_slot *slot);
/* Closes a descriptor that has no slot. */
void uring_close_file(struct uring *uring, int32_t file, bool fixed);

/* ---- uring_setup.c ---- */
int32_t uring_open(const struct ring_config *config, struct ring **out, struct ring_report *report);
void uring_release(struct ring *ring);
size_t uring_memory_bytes(const struct ring_config *config);
struct ring_finding uring_probe(enum ring_feature feature); /* uring_probe.c */

#endif
