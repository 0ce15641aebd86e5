/* A stream: one connected socket as the server sees it. What is to be sent is collected in a chain; at the end of
 * the turn every dirty stream gets one send for all it has collected. One send is in flight per socket, the next
 * fills meanwhile.
 *
 *     out (filling) --flush--> flight (in the kernel's hands) --SENT--> blocks back to their pool
 *
 * Depends on: mem, ring. One thread: the worker's. */
#ifndef RM_SERVER_STREAM_H
#define RM_SERVER_STREAM_H

#include "mem/chain.h"
#include "mem/pool.h"
#include "ring/ring.h"
#include "server/list.h"

enum {
    STREAM_QUIET_BYTES_MAX = 16 * 1024, /* a larger send is worth a wake-up of its own */
    STREAM_SEND_BYTES_MAX = 1 << 30,    /* of one send: its RING_SENT tells them in 31 bits */
};

/* What the streams of a worker share. */
struct streams {
    struct ring *ring;
    struct pool *segments; /* items: struct iovec[RING_SEGMENTS_MAX], for sends of more than one segment */
    struct pool *blocks;
    struct link dirty; /* streams with something to send and no send in flight */
};

/* Invariant: send_bytes <= flight.bytes; send_bytes == 0 <=> no send is in flight => segments == NULL; dirty =>
 * not closed. */
struct stream {
    struct streams *set;
    struct ring_id id;
    struct chain out;
    struct chain flight;
    struct iovec one;       /* the array of a send of one segment */
    struct iovec *segments; /* of a send of several, from set->segments */
    struct link dirty;      /* on set->dirty, else alone */
    size_t send_bytes;      /* of the send in flight */
    bool metered;           /* how the ring receives: stream_receive */
    bool closed;            /* stream_close was called */
    bool loud;              /* set by the owner: it waits for the last SENT */
};

void streams_init(struct streams *set, struct ring *ring, struct pool *segments, struct pool *blocks);

/* A socket that the ring has just delivered: it receives in FREE mode. */
void stream_init(struct stream *stream, struct streams *set, struct ring_id id);

/* Says that `out` may hold something. */
void stream_touch(struct stream *stream);

/* One send for every dirty stream. Once per turn. */
void streams_flush(struct streams *set);

/* After RING_SENT with result >= 0: gives the blocks back and goes on with what is left. */
void stream_sent(struct stream *stream, int32_t result);

/* Bytes that are not sent yet. */
static inline size_t stream_pending(const struct stream *stream) {
    return stream->out.bytes + stream->flight.bytes;
}

static inline bool stream_sending(const struct stream *stream) {
    return stream->send_bytes > 0;
}

enum stream_receive {
    STREAM_FREE, /* bytes come as they come */
    STREAM_STOP, /* none comes */
    STREAM_ONE,  /* one more RECEIVED comes */
};
void stream_receive(struct stream *stream, enum stream_receive how);

/* ring_close, or ring_reset when `hard`. The blocks stay the kernel's until RING_CLOSED. */
void stream_close(struct stream *stream, bool hard);

/* After RING_CLOSED: gives everything back. */
void stream_release(struct stream *stream);

#endif
