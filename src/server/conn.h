/* A client's connection: a stream with HTTP on it. One machine:
 *
 *     OPEN --nothing more will come out--> FLUSH --all sent--> CLOSING --RING_CLOSED--> (back to the pool)
 *                                            \--the client may be sending still--> LINGER --its end, or enough--/
 *
 * LINGER is the close of RFC 9112 §9.6: our half is closed, what comes is dropped, so that the last answer is not
 * lost to a reset. An idle connection owns no buffer.
 *
 * Depends on: http, ring, stream, timers, worker.h. One thread: the worker's. */
#ifndef RM_SERVER_CONN_H
#define RM_SERVER_CONN_H

#include "http/http.h"
#include "ring/ring.h"
#include "server/list.h"
#include "server/owner.h"
#include "server/stream.h"
#include "server/timers.h"

struct worker;

enum conn_phase { CONN_OPEN, CONN_FLUSH, CONN_LINGER, CONN_CLOSING };

enum {
    CONN_GREEDY_PART = 4, /* who has used up a turn's allowance gets this part of it while others are served, too */
    CONN_POLITE_TURNS = 4, /* as they are when one was in the last so many turns: some turns only tell what was sent */
    CONN_LINGER_BYTES = 4 * 1024 * 1024, /* dropped at most while lingering */
    CONN_LINGER_MS = 2000,               /* and for this long at most, */
    CONN_LINGER_DRAINING_MS = 500,       /* or this long when the worker is on its way out */
    CONN_IDLE_DRAINING_MS = 150,         /* an idle client's next request may be on its way when the drain begins */
    CONN_IDLE_SPREAD_MS = 100,           /* and more, by chance: not all are closed in one turn, nor come anew at once */
};

/* Invariant: full => OPEN; streaming => http.reading; told_end => peer_ended. */
struct conn_state {
    struct owner owner;   /* first */
    uint8_t phase;        /* enum conn_phase: changed by enter() only */
    uint8_t waiting;      /* enum http_phase when the deadline was set */
    bool full;            /* http said FULL: it wants no more input before it is called again */
    bool peer_ended;      /* the last RECEIVED has come */
    bool told_end;        /* http knows */
    bool linger;          /* the client may be sending what we don't read */
    bool streaming;       /* the body that is coming is streamed to the application */
    bool looked;          /* `taken` is of the send in flight */
    bool flushing;        /* an exchange of it waits for its output to be taken: exchange_flushed */
    bool admitted;        /* counted by server_admit */
    bool admin;           /* of an admin listener */
    bool greedy;          /* it has used up a turn's allowance: it gets its input piece by piece until it has not */
    uint32_t linger_left; /* bytes */
    struct worker *worker;
    struct link open;  /* on worker->open, from accept to RING_CLOSED */
    struct link again; /* on worker->again, else alone: goes on in the next turn */
    uint32_t turn;     /* of the worker, when http.allowance was filled up */
    struct stream stream;
    struct http_conn http;
    struct timer timer;        /* lazily behind the deadlines: never later than the one in effect */
    uint64_t read_deadline_ns; /* for the next request, head, piece; 0: none */
    uint64_t send_deadline_ns; /* to look at how the output gets on; 0: there is none */
    uint64_t taken;            /* ring_taken when it was looked at last */
};

_Static_assert(sizeof(struct conn_state) <= 384, "an idle connection costs 600 bytes, with its slot in the ring");

/* RING_ACCEPTED. Takes a slot; with few left, or when the process has max_connections, it answers 503 and closes; with none
 * left it resets. */
void conn_accepted(struct worker *worker, const struct ring_event *event);

void conn_received(struct conn_state *conn, const struct ring_event *event);
void conn_sent(struct conn_state *conn, int32_t result);
void conn_closed(struct conn_state *conn);

/* Its timer is due. */
void conn_timer(struct conn_state *conn);

/* An exchange of the connection that was parked has been run. */
void conn_resumed(struct conn_state *conn);

/* It was on worker->again when this turn began. */
void conn_again(struct conn_state *conn);

/* The worker drains: it ends after the answers that it owes. An idle connection gets CONN_IDLE_DRAINING_MS and more for a
 * request that is on its way, which is then answered with Connection: close, before its half is closed (RFC 9112 §9.6): a
 * client that sends often loses no request, and needs to repeat none. */
void conn_drain(struct conn_state *conn);

#endif
