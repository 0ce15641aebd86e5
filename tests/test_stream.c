/* Streams on a ring that only writes down what it is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "mem/slab.h"
#include "server/stream.h"

/* --------------------------------------------------------------------------------------- the ring that notes ---- */

static struct {
    int sends, closes, resets, mores, modes;
    uint32_t n;
    size_t bytes;
    enum ring_send how;
    enum ring_receive mode;
    char first; /* the first byte of the last send */
} noted;

void ring_send(struct ring *ring, struct ring_id id, const struct iovec *segments, uint32_t n, enum ring_send how) {
    (void)ring, (void)id;
    noted.sends++;
    noted.n = n;
    noted.how = how;
    noted.bytes = 0;
    noted.first = *(const char *)segments[0].iov_base;
    for (uint32_t i = 0; i < n; i++) {
        assert_true(segments[i].iov_len > 0);
        noted.bytes += segments[i].iov_len;
    }
}

void ring_receive_mode(struct ring *ring, struct ring_id id, enum ring_receive mode) {
    (void)ring, (void)id;
    noted.modes++;
    noted.mode = mode;
}

void ring_receive_more(struct ring *ring, struct ring_id id) {
    (void)ring, (void)id;
    noted.mores++;
}

void ring_close(struct ring *ring, struct ring_id id) {
    (void)ring, (void)id;
    noted.closes++;
}

void ring_reset(struct ring *ring, struct ring_id id) {
    (void)ring, (void)id;
    noted.resets++;
}

/* --------------------------------------------------------------------------------------------------- the rig ---- */

enum { BLOCKS_COUNT = 200, SEGMENTS_COUNT = 1 };

static struct {
    struct slab slab;
    struct pool blocks, segments;
    struct streams set;
    struct stream stream;
} rig;

static int open_rig(void **state) {
    (void)state;
    memset(&noted, 0, sizeof noted);
    size_t blocks = pool_bytes(BLOCK_BYTES, BLOCKS_COUNT),
           arrays = pool_bytes(sizeof(struct iovec) * RING_SEGMENTS_MAX, SEGMENTS_COUNT);
    assert_true(slab_map(&rig.slab, slab_round(blocks) + slab_round(arrays)));
    pool_init(&rig.blocks, "blocks", slab_take(&rig.slab, blocks), BLOCK_BYTES, BLOCKS_COUNT);
    pool_init(&rig.segments, "segments", slab_take(&rig.slab, arrays), sizeof(struct iovec) * RING_SEGMENTS_MAX,
              SEGMENTS_COUNT);
    streams_init(&rig.set, NULL, &rig.segments, &rig.blocks);
    stream_init(&rig.stream, &rig.set, (struct ring_id){ 1, 1 });
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    if (!rig.stream.closed) {
        stream_close(&rig.stream, false);
    }
    stream_release(&rig.stream);
    assert_int_equal(rig.blocks.free_count, BLOCKS_COUNT);
    assert_int_equal(rig.segments.free_count, SEGMENTS_COUNT);
    slab_release(&rig.slab);
    return 0;
}

static void queue(struct stream *stream, char fill, size_t bytes) {
    static char memory[1 << 20];
    memset(memory, fill, bytes);
    assert_true(chain_append(&stream->out, span_of(memory, bytes)));
    stream_touch(stream);
}

static void sent_all(void) {
    stream_sent(&rig.stream, (int32_t)noted.bytes);
}

/* ----------------------------------------------------------------------------------------------------- tests ---- */

static void test_one_send_per_turn(void **state) {
    (void)state;
    queue(&rig.stream, 'a', 10);
    queue(&rig.stream, 'b', 20);
    assert_int_equal(noted.sends, 0);
    streams_flush(&rig.set);
    assert_int_equal(noted.sends, 1);
    assert_int_equal(noted.bytes, 30);
    assert_int_equal(noted.n, 1);
    assert_int_equal(noted.how, RING_SEND_QUIET);
    assert_int_equal(rig.segments.free_count, SEGMENTS_COUNT); /* one segment needs no array */
    streams_flush(&rig.set);
    assert_int_equal(noted.sends, 1);
    sent_all();
    assert_int_equal(stream_pending(&rig.stream), 0);
    assert_int_equal(rig.blocks.free_count, BLOCKS_COUNT);
}

static void test_fills_while_sending(void **state) {
    (void)state;
    queue(&rig.stream, 'a', 10);
    streams_flush(&rig.set);
    queue(&rig.stream, 'b', 20);
    streams_flush(&rig.set);
    assert_int_equal(noted.sends, 1); /* one in flight */
    assert_int_equal(stream_pending(&rig.stream), 30);
    sent_all();
    assert_int_equal(noted.sends, 1); /* with the turn's flush, not before */
    streams_flush(&rig.set);
    assert_int_equal(noted.sends, 2);
    assert_int_equal(noted.first, 'b');
    assert_int_equal(noted.bytes, 20);
    sent_all();
}

static void test_many_segments(void **state) {
    (void)state;
    size_t all = (size_t)BLOCK_ROOM * (RING_SEGMENTS_MAX + 6);
    queue(&rig.stream, 'x', all);
    streams_flush(&rig.set);
    assert_int_equal(noted.n, RING_SEGMENTS_MAX);
    assert_int_equal(noted.how, RING_SEND_LOUD);
    assert_int_equal(rig.segments.free_count, 0);
    sent_all();
    assert_int_equal(rig.segments.free_count, 1);
    streams_flush(&rig.set);
    assert_int_equal(noted.n, 6);
    assert_int_equal(noted.how, RING_SEND_LOUD); /* more than STREAM_QUIET_BYTES_MAX */
    sent_all();
    assert_int_equal(stream_pending(&rig.stream), 0);
}

static void test_no_array_left(void **state) {
    (void)state;
    void *array = pool_take(&rig.segments);
    queue(&rig.stream, 'x', BLOCK_ROOM * 2 + 5);
    size_t sizes[] = { BLOCK_ROOM, BLOCK_ROOM, 5 };
    for (int i = 0; i < 3; i++) {
        streams_flush(&rig.set);
        assert_int_equal(noted.n, 1);
        assert_int_equal(noted.bytes, sizes[i]);
        assert_int_equal(noted.how, i < 2 ? RING_SEND_LOUD : RING_SEND_QUIET); /* loud while something is behind */
        sent_all();
    }
    assert_int_equal(stream_pending(&rig.stream), 0);
    pool_give(&rig.segments, array);
}

/* Of a body that is lent more may be there than one send can tell of. */
static void test_huge(void **state) {
    (void)state;
    const size_t bytes = (size_t)5 << 29; /* 2.5 GiB, of which one page is looked at */
    char *lent = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(lent != MAP_FAILED);
    queue(&rig.stream, 'h', 100);
    assert_true(chain_append_foreign(&rig.stream.out, span_of(lent, bytes), NULL, NULL));
    queue(&rig.stream, 't', 10);
    size_t left = bytes + 110;
    for (int sends = 1; left > 0; sends++) {
        size_t most = left < STREAM_SEND_BYTES_MAX ? left : STREAM_SEND_BYTES_MAX;
        streams_flush(&rig.set);
        assert_int_equal(noted.sends, sends);
        assert_int_equal(noted.bytes, most);
        left -= most;
        sent_all();
    }
    assert_int_equal(stream_pending(&rig.stream), 0);
    munmap(lent, bytes);
}

static void test_loudness(void **state) {
    (void)state;
    static const struct {
        size_t bytes;
        bool loud;
        enum ring_send how;
    } rows[] = {
        { 1, false, RING_SEND_QUIET },
        { STREAM_QUIET_BYTES_MAX, false, RING_SEND_QUIET },
        { STREAM_QUIET_BYTES_MAX + 1, false, RING_SEND_LOUD },
        { 1, true, RING_SEND_LOUD },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig.stream.loud = rows[i].loud;
        queue(&rig.stream, 'x', rows[i].bytes);
        streams_flush(&rig.set);
        assert_int_equal(noted.how, rows[i].how);
        sent_all();
    }
}

static void test_receive(void **state) {
    (void)state;
    stream_receive(&rig.stream, STREAM_FREE);
    assert_int_equal(noted.modes, 0); /* it is FREE already */
    stream_receive(&rig.stream, STREAM_ONE);
    stream_receive(&rig.stream, STREAM_ONE);
    assert_int_equal(noted.modes, 1);
    assert_int_equal(noted.mode, RING_METERED);
    assert_int_equal(noted.mores, 2);
    stream_receive(&rig.stream, STREAM_STOP);
    assert_int_equal(noted.modes, 1);
    assert_int_equal(noted.mores, 2);
    stream_receive(&rig.stream, STREAM_FREE);
    assert_int_equal(noted.mode, RING_FREE);
}

static void test_close_while_dirty(void **state) {
    (void)state;
    queue(&rig.stream, 'x', 10);
    stream_close(&rig.stream, true);
    streams_flush(&rig.set);
    assert_int_equal(noted.sends, 0);
    assert_int_equal(noted.resets, 1);
    assert_int_equal(noted.closes, 0);
}

/* The blocks are the kernel's until RING_CLOSED. */
static void test_close_while_sending(void **state) {
    (void)state;
    queue(&rig.stream, 'x', BLOCK_ROOM * 3);
    streams_flush(&rig.set);
    stream_close(&rig.stream, false);
    assert_int_equal(rig.blocks.free_count, BLOCKS_COUNT - 3);
    assert_int_equal(rig.segments.free_count, 0);
    stream_release(&rig.stream);
    assert_int_equal(rig.blocks.free_count, BLOCKS_COUNT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_one_send_per_turn),
        TEST(test_fills_while_sending),
        TEST(test_many_segments),
        TEST(test_no_array_left),
        TEST(test_huge),
        TEST(test_loudness),
        TEST(test_receive),
        TEST(test_close_while_dirty),
        TEST(test_close_while_sending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
