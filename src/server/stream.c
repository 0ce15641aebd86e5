#include "server/stream.h"

#include "mem/assert.h"

void streams_init(struct streams *set, struct ring *ring, struct pool *segments, struct pool *blocks) {
    *set = (struct streams){ .ring = ring, .segments = segments, .blocks = blocks };
    list_init(&set->dirty);
}

void stream_init(struct stream *stream, struct streams *set, struct ring_id id) {
    *stream = (struct stream){ .set = set, .id = id };
    chain_init(&stream->out, set->blocks);
    chain_init(&stream->flight, set->blocks);
    list_init(&stream->dirty);
}

/* The invariant of stream.h. */
static void stream_sane(const struct stream *stream) {
    rm_assert(stream->send_bytes <= stream->flight.bytes);
    rm_assert(stream->segments == NULL || stream_sending(stream));
    rm_assert(list_empty(&stream->dirty) || !stream->closed);
}

void stream_touch(struct stream *stream) {
    rm_assert(!stream->closed);
    if (stream_pending(stream) > 0 && !stream_sending(stream) && list_empty(&stream->dirty)) {
        list_append(&stream->set->dirty, &stream->dirty);
    }
}

/* Describes the front of `flight`; a lone segment needs no array from the pool, and neither does an empty pool. */
static uint32_t describe(struct stream *stream, struct iovec **segments) {
    *segments = &stream->one;
    uint32_t max = 1;
    if (stream->flight.head != stream->flight.tail) {
        stream->segments = pool_take(stream->set->segments);
        if (stream->segments != NULL) {
            *segments = stream->segments;
            max = RING_SEGMENTS_MAX;
        }
    }
    uint32_t n = chain_iov(&stream->flight, *segments, max, &stream->send_bytes);
    while (stream->send_bytes > STREAM_SEND_BYTES_MAX) { /* a lent body may be larger than what a send can tell of */
        struct iovec *last = *segments + n - 1;
        size_t over = stream->send_bytes - STREAM_SEND_BYTES_MAX, less = over < last->iov_len ? over : last->iov_len;
        last->iov_len -= less;
        stream->send_bytes -= less;
        n -= last->iov_len == 0;
    }
    return n;
}

/* Quiet when the ring may deliver the SENT late: little to give back, nothing behind it, nobody waiting. */
static enum ring_send loudness(const struct stream *stream) {
    bool all = stream->send_bytes == stream->flight.bytes;
    bool small = stream->send_bytes <= STREAM_QUIET_BYTES_MAX;
    return all && small && !stream->loud ? RING_SEND_QUIET : RING_SEND_LOUD;
}

static void send_some(struct stream *stream) {
    rm_assert(!stream_sending(stream));
    if (stream->out.bytes > 0) {
        chain_splice(&stream->flight, &stream->out);
    }
    struct iovec *segments;
    uint32_t n = describe(stream, &segments);
    rm_assert(n > 0);
    rm_assert(n <= RING_SEGMENTS_MAX);
    ring_send(stream->set->ring, stream->id, segments, n, loudness(stream));
}

void streams_flush(struct streams *set) {
    while (!list_empty(&set->dirty)) {
        struct stream *stream = LIST_OWNER(set->dirty.next, struct stream, dirty);
        list_remove(&stream->dirty);
        send_some(stream);
    }
}

static void give_segments(struct stream *stream) {
    if (stream->segments != NULL) {
        pool_give(stream->set->segments, stream->segments);
        stream->segments = NULL;
    }
}

void stream_sent(struct stream *stream, int32_t result) {
    rm_assert(result >= 0);
    rm_assert((size_t)result == stream->send_bytes);
    chain_consume(&stream->flight, stream->send_bytes);
    stream->send_bytes = 0;
    give_segments(stream);
    stream_touch(stream);
}

void stream_receive(struct stream *stream, enum stream_receive how) {
    rm_assert(!stream->closed);
    bool metered = how != STREAM_FREE;
    if (metered != stream->metered) {
        stream->metered = metered;
        ring_receive_mode(stream->set->ring, stream->id, metered ? RING_METERED : RING_FREE);
    }
    if (how == STREAM_ONE) {
        ring_receive_more(stream->set->ring, stream->id);
    }
}

void stream_close(struct stream *stream, bool hard) {
    stream_sane(stream);
    rm_assert(!stream->closed);
    stream->closed = true;
    list_remove(&stream->dirty);
    if (hard) {
        ring_reset(stream->set->ring, stream->id);
    } else {
        ring_close(stream->set->ring, stream->id);
    }
}

void stream_release(struct stream *stream) {
    stream_sane(stream);
    rm_assert(stream->closed);
    chain_reset(&stream->out);
    chain_reset(&stream->flight);
    stream->send_bytes = 0;
    give_segments(stream);
}
