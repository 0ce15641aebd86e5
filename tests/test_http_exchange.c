#include <stdio.h>

#include "death.h"
#include "http/http_priv.h"
#include "http_rows.h"
#include "random.h"

static struct rig rig;

static int open_rig(void **state) {
    (void)state;
    rig_open(&rig, &rig_plenty);
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_release(&rig);
    bool clean = rig_leak(&rig) == NULL;
    rig_close(&rig);
    return clean ? 0 : -1;
}

static void feed(const char *text) {
    rig_feed(&rig, span_text(text));
    const char *fault = rig_insane(&rig);
    if (fault != NULL) {
        fail_msg("%s", fault);
    }
}

/* --------------------------------------------------------------------------------------------------------- order ---- */

/* The model: a response leaves when all before it are finished. */
struct expected {
    char text[64];
    bool finished;
};

static void check_order(const struct expected *line, size_t count) {
    static char text[64 * 1024];
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && line[i].finished; i++) {
        len += (size_t)sprintf(text + len, "%s%s", len > 0 ? " " : "", line[i].text);
    }
    assert_string_equal(rig_summary(&rig), text);
}

/* A pipeline of parked and quick requests; they are resumed in any order, between more input. */
static void order_round(struct random *random) {
    struct expected line[64] = { 0 };
    size_t of_parked[64]; /* which in the line is rig.parked[i] */
    size_t count = 0;
    rig_reset(&rig);
    for (int step = 0; step < 120; step++) {
        uint32_t what = random_below(random, 3);
        if (what < 2 && count < 64 && rig.conn.unfinished < 60) {
            char in[128];
            if (what == 0) {
                sprintf(in, "GET /park/%zu HTTP/1.1\r\n" H "\r\n", count);
                sprintf(line[count].text, "200:parked %zu", count);
                of_parked[rig.parked_count] = count;
            } else {
                sprintf(in, "GET /p/%zu/b HTTP/1.1\r\n" H "\r\n", count);
                sprintf(line[count].text, "200:a=%zu b=b", count);
                line[count].finished = true;
            }
            count++;
            feed(in);
        } else if (rig.parked_count > 0) {
            uint32_t which = random_below(random, rig.parked_count);
            line[of_parked[which]].finished = true;
            memmove(&of_parked[which], &of_parked[which + 1], (rig.parked_count - which - 1) * sizeof *of_parked);
            rig_resume(&rig, which);
            assert_null(rig_insane(&rig));
        }
        check_order(line, count);
    }
    rig_release(&rig);
    assert_null(rig_leak(&rig));
}

static void test_any_order(void **state) {
    (void)state;
    struct random random = random_seeded("http_exchange");
    for (int round = 0; round < 300; round++) {
        order_round(&random);
    }
}

/* ---------------------------------------------------------------------------------------------------------- park ---- */

/* What a parked handler reads later is what was sent, although the input is gone. */
static void test_head_and_body_survive(void **state) {
    (void)state;
    feed("POST /park?q HTTP/1.1\r\n" H "X: field\r\nContent-Length: 4\r\n\r\nbody" GET("/ok"));
    assert_int_equal(rig.shared.head_copies, 1);
    rig_resume_all(&rig);
    assert_string_equal(rig_summary(&rig), "200:/parkfieldbody 200:ok");
    feed("POST /park HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nX: f\r\n\r\n2\r\nbo\r\n");
    feed("2\r\ndy\r\n0\r\n\r\n");
    rig_resume_all(&rig);
    assert_string_equal(rig_summary(&rig), "200:/parkfieldbody 200:ok 200:/parkfbody");
}

/* The same with a body in a slot, and one that fills the part of the workspace that is kept for it. */
static void test_large_body_survives(void **state) {
    (void)state;
    static const size_t lens[] = { 16000, 16384, 16385, 40000 };
    static char in[50000];
    for (size_t i = 0; i < 4; i++) {
        size_t len = (size_t)sprintf(in, "POST /park HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n", lens[i]);
        memset(in + len, 'a' + (int)i, lens[i]);
        rig_reset(&rig);
        rig_feed_pieces(&rig, span_of(in, len + lens[i]), 16384, 16384);
        rig_resume_all(&rig);
        rig_take_output(&rig);
        assert_true(rig.output_len > lens[i]);
        for (size_t k = 0; k < lens[i]; k++) {
            assert_int_equal(rig.output[rig.output_len - 1 - k], 'a' + (int)i);
        }
        rig_release(&rig);
        assert_null(rig_leak(&rig));
    }
}

/* An application that takes all of its workspace leaves room for what a park copies. */
static void test_room_is_kept(void **state) {
    (void)state;
    char head[2048];
    size_t len = (size_t)sprintf(head, "POST /echo HTTP/1.1\r\n" H "X: %01000d\r\nContent-Length: 5\r\n\r\nhello", 7);
    struct span input = span_of(head, len), piece;
    struct http_exchange *x;
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_READY);
    size_t taken = 0;
    while (arena_take(&x->workspace, 16) != NULL) {
        taken += 16;
    }
    assert_true(taken >= HTTP_WORKSPACE_FREE_BYTES);
    http_exchange_park(x);
    memset(head, '#', sizeof head);
    assert_true(span_equal(x->body, SPAN("hello")));
    assert_true(span_equal(http_span(&x->request, x->request.path), SPAN("/echo")));
    http_exchange_park(x); /* again is nothing new */
    http_response_whole(x, 200, SPAN("text/plain"), x->body);
    http_exchange_finish(x);
    assert_string_equal(rig_summary(&rig), "200:hello");
}

/* The application's part is there with the longest head and the longest body in the workspace. */
static void test_worst_case_leaves_room(void **state) {
    (void)state;
    static char in[64 * 1024];
    size_t len = (size_t)sprintf(in, "POST /park?%07000d HTTP/1.1\r\n" H, 1);
    for (int i = 0; i < 15; i++) {
        len += (size_t)sprintf(in + len, "X%d: %01000d\r\n", i, 2);
    }
    len += (size_t)sprintf(in + len, "Content-Length: 16384\r\n\r\n");
    memset(in + len, 'b', 16384);
    rig_feed_pieces(&rig, span_of(in, len + 16384), 10000, 10000);
    assert_int_equal(rig.parked_count, 1);
    struct http_exchange *x = rig.parked[0];
    assert_null(x->body_slot);
    assert_non_null(arena_take(&x->workspace, HTTP_WORKSPACE_FREE_BYTES));
    rig_resume_all(&rig);
    rig_take_output(&rig);
    assert_int_equal(rig.output[rig.output_len - 1], 'b');
}

/* A response that was begun before the park leaves the connection's output and comes back, length and all. */
static void test_park_in_the_middle(void **state) {
    (void)state;
    static const int sizes[] = { 0, 1, 10, 1000, 7900, 8200, 20000, 60000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int behind = 0; behind < 2; behind++) {
            char in[256];
            rig_reset(&rig);
            feed(GET("/ok"));
            sprintf(in, "GET /begin-park/%d HTTP/1.1\r\n" H "\r\n%s", sizes[i], behind == 1 ? GET("/ok") : "");
            feed(in);
            assert_string_equal(rig_summary(&rig), "200:ok");
            rig_resume_all(&rig);
            static char expected[70000];
            size_t len = (size_t)sprintf(expected, "200:ok 200%s", sizes[i] > 0 ? ":" : "");
            for (int k = 0; k < sizes[i]; k++) {
                expected[len++] = (char)('0' + k % 10);
            }
            strcpy(&expected[len], behind == 1 ? " 200:ok" : "");
            assert_string_equal(rig_summary(&rig), expected);
            rig_release(&rig);
            assert_null(rig_leak(&rig));
        }
    }
}

/* The same, in any order, with a head that shares its block with what is in the output already. */
static void test_park_in_the_middle_in_any_order(void **state) {
    (void)state;
    struct random random = random_seeded("http_exchange");
    for (int round = 0; round < 200; round++) {
        static char expected[128 * 1024];
        size_t len = 0;
        rig_reset(&rig);
        for (int i = 0; i < 10; i++) {
            char in[128];
            uint32_t n = random_below(&random, 6000);
            sprintf(in, "GET /%s/%u HTTP/1.1\r\n" H "\r\n", random_below(&random, 2) == 0 ? "begin" : "begin-park", n);
            feed(in);
            len += (size_t)sprintf(expected + len, "%s200%s", i > 0 ? " " : "", n > 0 ? ":" : "");
            for (uint32_t k = 0; k < n; k++) {
                expected[len++] = (char)('0' + k % 10);
            }
            expected[len] = '\0';
            if (random_below(&random, 2) == 0 && rig.parked_count > 0) {
                rig_resume(&rig, random_below(&random, rig.parked_count));
            }
        }
        while (rig.parked_count > 0) {
            rig_resume(&rig, random_below(&random, rig.parked_count));
        }
        assert_string_equal(rig_summary(&rig), expected);
        rig_release(&rig);
        assert_null(rig_leak(&rig));
    }
}

/* No block to move the begun response to: 503. */
static void test_park_without_blocks(void **state) {
    (void)state;
    struct rig_sizes sizes = rig_plenty;
    sizes.blocks = 1;
    rig_close(&rig);
    rig_open(&rig, &sizes);
    rig_feed(&rig, SPAN(GET("/ok") GET("/begin-park/10")));
    rig_resume_all(&rig);
    assert_string_equal(rig_summary(&rig), "200:ok 503");
}

/* ------------------------------------------------------------------------------------------------------- the end ---- */

/* The client has gone: parked exchanges live on without it and give everything back in the end. */
static void test_client_gone(void **state) {
    (void)state;
    feed(GET("/park/1") GET("/begin-park/9000") GET("/ok") "POST /park HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi");
    feed("POST /echo HTTP/1.1\r\n" H "Content-Length: 40000\r\n\r\nhi");
    assert_int_equal(rig.parked_count, 3);
    http_conn_release(&rig.conn);
    for (uint32_t i = 0; i < 3; i++) {
        assert_null(rig.parked[i]->conn);
    }
    assert_int_equal(rig.exchanges.free_count, rig.exchanges.count - 3); /* /ok and /echo are gone */
    assert_int_equal(rig.bodies.free_count, rig.bodies.count);
    rig_resume(&rig, 1);
    http_exchange_park(rig.parked[0]); /* may park again */
    rig_resume(&rig, 1);
    rig_resume(&rig, 0);
    rig_take_output(&rig);
    assert_int_equal(rig.output_len, 0);
    assert_null(rig_leak(&rig));
}

/* LIFO: the next request meets the memory of the last. */
static void test_recycled(void **state) {
    (void)state;
    feed(GET("/ok"));
    void *last = rig.exchanges.free_head;
    feed(GET("/park/1"));
    assert_ptr_equal(rig.parked[0], last);
    rig_resume_all(&rig);
    assert_int_equal(rig.exchanges.fresh, 1);
}

/* Small responses share a block, however they came. */
static void test_small_responses_share(void **state) {
    (void)state;
    feed(GET("/park/1") GET("/ok") GET("/park/2") GET("/ok") GET("/ok"));
    rig_resume(&rig, 1);
    rig_resume(&rig, 0);
    struct iovec iov[8];
    size_t bytes;
    assert_int_equal(chain_iov(&rig.out, iov, 8, &bytes), 1);
    assert_string_equal(rig_summary(&rig), "200:parked 1 200:ok 200:parked 2 200:ok 200:ok");
}

static void finish_twice(void *arg) {
    http_exchange_finish(arg);
    http_exchange_finish(arg);
}

static void park_finished(void *arg) {
    http_exchange_finish(arg);
    http_exchange_park(arg);
}

static void test_mistakes(void **state) {
    (void)state;
    feed(GET("/park/1") GET("/park/2"));
    assert_true(asserts(finish_twice, rig.parked[1]));
    assert_true(asserts(park_finished, rig.parked[1]));
    rig_resume_all(&rig);
}

#define WITH_RIG(test) { #test, test, open_rig, close_rig, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_any_order),
        WITH_RIG(test_head_and_body_survive),
        WITH_RIG(test_large_body_survives),
        WITH_RIG(test_room_is_kept),
        WITH_RIG(test_worst_case_leaves_room),
        WITH_RIG(test_park_in_the_middle),
        WITH_RIG(test_park_in_the_middle_in_any_order),
        WITH_RIG(test_park_without_blocks),
        WITH_RIG(test_client_gone),
        WITH_RIG(test_recycled),
        WITH_RIG(test_small_responses_share),
        WITH_RIG(test_mistakes),
    };
    return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
