/* The epoll backend's own types. Stays inside src/ring/epoll*.c.
 * Depends on: ring/ring_priv.h. */
#ifndef RM_RING_EPOLL_PRIV_H
#define RM_RING_EPOLL_PRIV_H

#include <sys/epoll.h>

#include "mem/slab.h"
#include "ring/ring_priv.h"

enum {
    EPOLL_EVENTS_MAX = 512,               /* of one epoll_wait */
    EPOLL_RECEIVE_BYTES = 1024 * 1024,    /* received in one turn, all sockets together */
    EPOLL_SOCKET_BYTES_MAX = 64 * 1024,   /* received in one turn from one socket */
    EPOLL_ACCEPTS_MAX = 64,               /* accepted in one turn */
    EPOLL_LISTENERS_MAX = 33,
};

enum { LIST_CLOSED = 1, LIST_READY, LIST_LATER };

/* Invariant: a socket that may have bytes to read and may deliver them is on `ready` or `later`. */
struct epoll_slot {
    struct slot base;
    int fd;
    uint8_t mode;          /* enum ring_receive */
    bool readable : 1;     /* an edge was seen and no short read since */
    bool peer_ended : 1;   /* EPOLLRDHUP, EPOLLHUP or EPOLLERR: read on to the end, short reads or not */
    bool want_more : 1;    /* METERED: one RECEIVED is asked for */
    bool final_told : 1;   /* the end of the stream was delivered */
    bool connecting : 1;
    bool sending : 1;      /* a send is not complete */
    bool sent_due : 1;     /* on the list of RING_SENT to deliver */
    bool accept_off : 1;   /* listener: the owner stopped it */
    bool accept_ready : 1; /* listener: may have clients waiting */
    bool persistent : 1;   /* watch */
    bool spent : 1;        /* watch */
    int32_t result;        /* of the connect or send that is done */
    uint32_t turn;         /* when turn_bytes was counted */
    uint32_t turn_bytes;
    uint32_t send_bytes, sent, send_count;
    const struct iovec *segments; /* borrowed until RING_SENT */
    struct epoll_slot *sent_next;
};
_Static_assert(sizeof(struct epoll_slot) <= 80, "a slot is paid for by every idle connection");

struct epoll {
    struct ring base;
    int epoll_fd;
    struct epoll_event *events; /* EPOLL_EVENTS_MAX */
    uint32_t event_at, event_count;
    char *received;             /* EPOLL_RECEIVE_BYTES: the spans of this turn, packed */
    uint32_t received_used;
    uint32_t turn;
    uint32_t turn_events;
    uint32_t turn_accepts;
    bool local_turn;            /* the last turn made no system call: the next one must */
    struct slot_list closed, ready, later;
    struct epoll_slot *sent_first, *sent_last;
    uint32_t listeners[EPOLL_LISTENERS_MAX];
    uint32_t listener_count;
    uint64_t accept_retry_ns; /* accepting again at this time after EMFILE; 0: not waiting */
    struct slab slab;
};

static inline struct epoll *epoll_of(struct ring *ring) {
    return (struct epoll *)ring;
}
static inline struct epoll_slot *epoll_slot_of(struct slot *slot) {
    return (struct epoll_slot *)slot;
}
static inline struct ring_id epoll_id(const struct epoll *epoll, const struct epoll_slot *slot) {
    return slots_id(&epoll->base.slots, &slot->base);
}

/* ---- epoll.c ---- */
/* epoll_ctl(2) for a slot's descriptor; 0 or -errno. */
int32_t epoll_control(struct epoll *epoll, int operation, struct epoll_slot *slot, uint32_t events);
/* Puts a socket on the ready list when it has something to deliver that is wanted. */
void epoll_ready(struct epoll *epoll, struct epoll_slot *slot);

/* ---- epoll_socket.c ---- */
int32_t epoll_listen(struct ring *ring, const struct ring_listen *listen, struct ring_id *out);
void epoll_accept(struct ring *ring, struct slot *slot, bool on);
/* One more client of any listener; false when there is none, no slot, or enough for this turn. */
bool epoll_accept_next(struct epoll *epoll, struct ring_event *out);
/* Some listener has clients, and a slot for them. */
bool epoll_accept_pending(const struct epoll *epoll);
int32_t epoll_connect(struct ring *ring, const struct ring_address *address, void *user, struct ring_id *out);
void epoll_connected(struct epoll *epoll, struct epoll_slot *slot, struct ring_event *out);
void epoll_receive_mode(struct ring *ring, struct slot *slot, enum ring_receive mode);
void epoll_receive_more(struct ring *ring, struct slot *slot);
/* Reads once; false when there was nothing after all. */
bool epoll_receive(struct epoll *epoll, struct epoll_slot *slot, struct ring_event *out);
void epoll_send(struct ring *ring, struct slot *slot, const struct iovec *segments, uint32_t n, enum ring_send how);
/* Goes on with a send that did not fit before. */
void epoll_send_more(struct epoll *epoll, struct epoll_slot *slot);
void epoll_shutdown_write(struct ring *ring, struct slot *slot);
void epoll_close(struct ring *ring, struct slot *slot, bool reset);
int32_t epoll_peer(struct ring *ring, struct slot *slot, struct ring_address *out);
uint64_t epoll_taken(struct ring *ring, struct slot *slot);
int32_t epoll_local(struct ring *ring, struct slot *slot, struct ring_address *out);
int32_t epoll_watch(struct ring *ring, int fd, uint32_t interest, bool persistent, void *user, struct ring_id *out);
void epoll_rewatch(struct ring *ring, struct slot *slot, uint32_t interest);
void epoll_polled(struct epoll *epoll, struct epoll_slot *slot, uint32_t events, struct ring_event *out);

#endif
