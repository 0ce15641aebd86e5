/* Lent bytes: each is released once, whatever becomes of the response. src/http/stream.c */
#include "http/http_priv.h"
#include "http_drive.h"

static uint32_t released;

/* ------------------------------------------------------------------------------------------------------------ lent ---- */

static const char lent_text[] = "lent";

static void lend(struct http_exchange *x) {
    http_response_lend(x, SPAN("lent"), count_release, &released);
}

/* RFC 9112 §7.1: a chunk of its own, from where the bytes are. */
static void test_lend_streamed(void **state) {
    (void)state;
    released = 0;
    struct http_exchange *x = stream(GET("/ok"));
    put(x, "one");
    http_response_lend(x, span_of(lent_text, 4), count_release, &released);
    http_response_lend(x, span_of(lent_text, 0), count_release, &released);
    assert_int_equal(released, 1); /* the empty one is not needed */
    put(x, "two");
    finish(x);
    struct iovec iov[8];
    size_t bytes;
    assert_int_equal(chain_iov(&rig.out, iov, 8, &bytes), 3);
    assert_ptr_equal(iov[1].iov_base, lent_text);
    assert_int_equal(released, 1);
    expect(OK TEXT CHUNKED "0003\r\none\r\n4\r\nlent\r\n0003\r\ntwo\r\n0\r\n\r\n");
    assert_int_equal(released, 2);
    assert_int_equal(rig.conn.unfinished, 0);
}

static void test_lend_begun(void **state) {
    (void)state;
    released = 0;
    struct http_exchange *x = request(GET("/ok"));
    http_response_begin(x, 200, SPAN("text/plain"));
    put(x, "one");
    lend(x);
    park(x); /* it leaves the output and comes back */
    put(x, "two");
    assert_int_equal(released, 0);
    finish(x);
    expect(OK TEXT "Content-Length:         10\r\n\r\nonelenttwo");
    assert_int_equal(released, 1);
}

static void test_lend_whole(void **state) {
    (void)state;
    released = 0;
    struct http_exchange *x = request(GET("/ok"));
    http_response_whole_lent(x, 200, SPAN("text/plain"), SPAN("lent"), count_release, &released);
    assert_int_equal(x->body_written, 4);
    finish(x);
    assert_int_equal(released, 0);
    expect(OK TEXT "Content-Length: 4\r\n\r\nlent");
    assert_int_equal(released, 1);
    x = request(GET("/ok"));
    http_response_whole_lent(x, 200, SPAN("text/plain"), SPAN(""), count_release, &released);
    assert_int_equal(released, 2);
    finish(x);
    expect(OK TEXT "Content-Length: 0\r\n\r\n");
    x = request(GET("/ok"));
    http_response_whole_lent(x, 200, SPAN("text/plain"), SPAN("constant"), NULL, NULL);
    finish(x);
    expect(OK TEXT "Content-Length: 8\r\n\r\nconstant");
}

/* More than 32 bits count. The bytes are never looked at. */
static void test_lend_huge(void **state) {
    (void)state;
    released = 0;
    size_t huge = ((size_t)5 << 30) + 7;
    struct http_exchange *x = stream(GET("/ok"));
    http_response_lend(x, span_of(lent_text, huge), count_release, &released);
    finish(x);
    struct iovec iov[16];
    size_t bytes, all = 0, head = sizeof(OK TEXT CHUNKED "140000007\r\n") - 1;
    uint32_t n = chain_iov(&rig.out, iov, 16, &bytes);
    assert_int_equal(bytes, head + huge + sizeof("\r\n0\r\n\r\n") - 1);
    assert_memory_equal((const char *)iov[0].iov_base + iov[0].iov_len - 11, "140000007\r\n", 11);
    for (uint32_t i = 1; i < n - 1; i++) {
        assert_ptr_equal(iov[i].iov_base, lent_text + all);
        all += iov[i].iov_len;
    }
    assert_int_equal(all, huge);
    chain_consume(&rig.out, bytes - 8);
    assert_int_equal(released, 0);
    chain_reset(&rig.out);
    assert_int_equal(released, 1);
}

/* Not needed: released at once. */
static void test_lend_silent(void **state) {
    (void)state;
    static const char *const requests[] = { "HEAD /ok HTTP/1.1\r\n" H "\r\n", GET("/ok"), GET("/ok") };
    static const int statuses[] = { 200, 204, 304 };
    for (int i = 0; i < 3; i++) {
        for (int how = 0; how < 3; how++) {
            released = 0;
            struct http_exchange *x = request(requests[i]);
            if (how == 0) {
                http_response_whole_lent(x, statuses[i], SPAN("text/plain"), SPAN("lent"), count_release, &released);
            } else if (how == 1) {
                http_response_begin(x, statuses[i], SPAN("text/plain"));
                lend(x);
            } else {
                http_response_stream(x, statuses[i], SPAN("text/plain"));
                lend(x);
            }
            assert_int_equal(released, 1);
            assert_int_equal(x->body_written, 4);
            finish(x);
            rig_take_output(&rig);
            assert_int_equal(released, 1);
        }
    }
    assert_null(strstr(rig_summary(&rig), "lent"));
}

/* Rolled back, refused, cut before and after it was lent. */
static void test_lend_failed(void **state) {
    (void)state;
    released = 0;
    struct http_exchange *x = stream(GET("/ok"));
    lend(x);
    http_response_fail(x, 500);
    assert_int_equal(released, 1);
    lend(x);
    assert_int_equal(released, 2);
    http_response_whole_lent(x, 200, SPAN("text/plain"), SPAN("lent"), count_release, &released);
    assert_int_equal(released, 3);
    finish(x);
    x = request(GET("/ok"));
    lend(x); /* nothing was begun: a mistake */
    assert_int_equal(released, 4);
    finish(x);
    x = request(GET("/ok"));
    http_response_whole_lent(x, 200, SPAN("text/plain"), SPAN("lent"), count_release, &released);
    http_response_whole_lent(x, 200, SPAN("text/plain"), SPAN("lent"), count_release, &released); /* two: a mistake */
    assert_int_equal(released, 6);
    finish(x);
    x = request(GET("/ok"));
    http_response_whole_lent(x, 1, SPAN("text/plain"), SPAN("lent"), count_release, &released);
    assert_int_equal(released, 7);
    finish(x);
    x = stream(GET("/ok"));
    lend(x);
    http_response_cut(x);
    lend(x);
    assert_int_equal(released, 8);
    finish(x);
    assert_string_equal(rig_summary(&rig), "500 500 500 500 200:lent CUT closed");
    assert_int_equal(released, 9);
}

/* No block for one of its parts: what is lent is given back, at every place that can run out. */
static void test_lend_without_blocks(void **state) {
    (void)state;
    for (uint32_t blocks = 0; blocks < 4; blocks++) {
        for (int how = 0; how < 4; how++) { /* 3: a part of it may have left */
            reopen(blocks);
            released = 0;
            struct http_exchange *x = request(GET("/ok"));
            if (how == 0) {
                http_response_whole_lent(x, 200, SPAN("text/plain"), SPAN("lent"), count_release, &released);
            } else if (how == 1) {
                http_response_begin(x, 200, SPAN("text/plain"));
                lend(x);
            } else {
                http_response_stream(x, 200, SPAN("text/plain"));
                if (how == 3) {
                    park(x);
                }
                lend(x);
            }
            uint32_t needed = how < 2 ? 2 : 3;
            assert_int_equal(released, blocks < needed ? 1 : 0);
            finish(x);
            const char *failed = blocks == 0 ? "closed" : how < 3 ? "503" : "200(chunked) closed";
            assert_string_equal(rig_summary(&rig), blocks < needed ? failed : "200:lent");
            assert_int_equal(released, 1);
            rig_release(&rig);
            assert_null(rig_leak(&rig));
            rig_reset(&rig);
        }
    }
}

/* A part of a huge one is in the chain when there is no block for the rest: nothing of it may stay. */
static void test_lend_huge_without_blocks(void **state) {
    (void)state;
    reopen(4);
    released = 0;
    struct http_exchange *x = stream(GET("/ok"));
    park(x);
    http_response_lend(x, span_of(lent_text, (size_t)5 << 30), count_release, &released);
    assert_int_equal(released, 1);
    assert_true(x->cut);
    finish(x);
    expect(OK TEXT CHUNKED);
    assert_int_equal(released, 1);
}

/* ---------------------------------------------------------------------------------------------------------- splice ---- */

static struct chain chain_with(const char *text, uint32_t times) {
    struct chain chain;
    chain_init(&chain, &rig.blocks);
    for (uint32_t i = 0; i < times; i++) {
        assert_true(chain_append(&chain, span_text(text)));
    }
    return chain;
}

static uint32_t taken(void) {
    return rig.blocks.count - rig.blocks.free_count;
}

/* A short one shares the block of what was written before; its own block is free again. */
static void test_splice_short(void **state) {
    (void)state;
    struct http_exchange *x = request(GET("/ok"));
    http_response_begin(x, 200, SPAN("text/plain"));
    struct chain chain = chain_with("0123456789", 5), empty = chain_with("", 0);
    http_response_splice(x, &chain);
    http_response_splice(x, &empty);
    assert_null(chain.head);
    assert_int_equal(taken(), 1);
    put(x, "z");
    finish(x);
    expect(OK TEXT "Content-Length:         51\r\n\r\n01234567890123456789012345678901234567890123456789z");
}

/* A long one is moved: the same bytes, in the same place. */
static void test_splice_long(void **state) {
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct http_exchange *x = how == 0 ? request(GET("/ok")) : stream(GET("/ok"));
        if (how == 0) {
            http_response_begin(x, 200, SPAN("text/plain"));
        }
        put(x, "a");
        struct chain chain = chain_with("0123456789", 1000);
        const char *where = chain.head->data;
        http_response_splice(x, &chain);
        assert_int_equal(chain.bytes, 0);
        put(x, "z");
        assert_int_equal(x->body_written, 10002);
        finish(x);
        struct iovec iov[16];
        size_t bytes;
        uint32_t n = chain_iov(&rig.out, iov, 16, &bytes);
        bool found = false;
        for (uint32_t i = 0; i < n; i++) {
            found |= iov[i].iov_base == where;
        }
        assert_true(found);
        rig.output_len = 0;
        rig_take_output(&rig);
        rig.output[rig.output_len] = '\0';
        const char *expected = how == 0 ? "Content-Length:      10002\r\n\r\na0123" : "0001\r\na\r\n2710\r\n0123";
        assert_non_null(strstr(rig.output, expected));
        assert_non_null(strstr(rig.output, how == 0 ? "789z" : "789\r\n0001\r\nz\r\n0\r\n\r\n"));
        assert_int_equal(taken(), 0);
    }
}

/* Nobody gets it, or it can't be: the blocks are given back. */
static void test_splice_in_vain(void **state) {
    (void)state;
    struct http_exchange *x = request("HEAD /ok HTTP/1.1\r\n" H "\r\n");
    http_response_begin(x, 200, SPAN("text/plain"));
    for (uint32_t times = 1; times <= 1000; times += 999) {
        uint32_t before = taken();
        struct chain chain = chain_with("0123456789", times);
        http_response_splice(x, &chain);
        assert_int_equal(taken(), before);
    }
    assert_int_equal(x->body_written, 10010);
    finish(x);
    x = request(GET("/ok")); /* none was begun: a mistake */
    struct chain chain = chain_with("0123456789", 1000);
    http_response_splice(x, &chain);
    assert_null(chain.head);
    finish(x);
    assert_string_equal(rig_summary(&rig), "200(10010) 500");
}

static void test_splice_without_blocks(void **state) {
    (void)state;
    for (uint32_t blocks = 4; blocks <= 5; blocks++) {
        reopen(blocks); /* one for the head, three for the chain, one for what is behind it */
        struct http_exchange *x = stream(GET("/ok"));
        struct chain chain = chain_with("0123456789", 1000);
        http_response_splice(x, &chain);
        assert_int_equal(x->failed, blocks == 4);
        assert_null(chain.head);
        finish(x);
        rig_release(&rig);
        assert_null(rig_leak(&rig));
        rig_reset(&rig);
    }
}

/* ------------------------------------------------------------------------------------------------------------ gone ---- */

/* The client has gone: what was lent is released, what is written takes no memory. */
static void test_gone(void **state) {
    (void)state;
    released = 0;
    struct http_exchange *x[3] = { stream(GET("/ok")), NULL, NULL };
    lend(x[0]);
    park(x[0]);
    x[1] = stream(GET("/ok")); /* waits for its turn */
    lend(x[1]);
    park(x[1]);
    x[2] = request(GET("/ok"));
    http_response_begin(x[2], 200, SPAN("text/plain"));
    lend(x[2]);
    park(x[2]);
    assert_int_equal(released, 0);
    http_conn_release(&rig.conn);
    assert_int_equal(released, 2); /* the third is in the output, which is the caller's */
    for (int i = 0; i < 3; i++) {
        assert_null(x[i]->conn);
        assert_int_equal(http_exchange_waiting(x[i]), 0);
        lend(x[i]);
        put(x[i], "more");
        char *p = http_response_reserve(x[i], 100);
        memset(p, 'x', 100);
        http_response_commit(x[i], 100);
        http_response_flush(x[i]);
        assert_int_equal(x[i]->body_written, 4 + 4 + 4 + 100);
        assert_int_equal(x[i]->own.bytes, 0);
        park(x[i]);
    }
    assert_int_equal(released, 5);
    http_response_fail(x[0], 500);
    http_response_cut(x[1]);
    for (int i = 0; i < 3; i++) {
        finish(x[i]);
    }
    assert_int_equal(rig.exchanges.free_count, rig.exchanges.count);
    chain_reset(&rig.out);
    assert_int_equal(released, 6);
    assert_null(rig_leak(&rig));
}

/* Begun after the client has gone. */
static void test_begun_when_gone(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        rig_reset(&rig);
        released = 0;
        struct http_exchange *x = request(GET("/ok"));
        park(x);
        http_conn_release(&rig.conn);
        if (how == 0) {
            http_response_whole_lent(x, 200, SPAN("text/plain"), SPAN("lent"), count_release, &released);
        } else if (how == 1) {
            http_response_begin(x, 200, SPAN("text/plain"));
            lend(x);
        } else {
            http_response_stream(x, 200, SPAN("text/plain"));
            lend(x);
        }
        assert_int_equal(released, 1);
        finish(x);
        assert_null(rig_leak(&rig));
        assert_int_equal(released, 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_lend_streamed),
        WITH_RIG(test_lend_begun),
        WITH_RIG(test_lend_whole),
        WITH_RIG(test_lend_huge),
        WITH_RIG(test_lend_silent),
        WITH_RIG(test_lend_failed),
        WITH_RIG(test_lend_without_blocks),
        WITH_RIG(test_lend_huge_without_blocks),
        WITH_RIG(test_splice_short),
        WITH_RIG(test_splice_long),
        WITH_RIG(test_splice_in_vain),
        WITH_RIG(test_splice_without_blocks),
        WITH_RIG(test_gone),
        WITH_RIG(test_begun_when_gone),
    };
    return cmocka_run_group_tests_name("lent bytes", tests, NULL, NULL);
}
