/* struct http_shared.done: called once for each exchange. */
#include <stdio.h>

#include "http/http_priv.h"
#include "http_drive.h"

static char done_text[512];

static void note_done(struct http_exchange *x) {
    struct span path = http_span(&x->request, x->request.path);
    size_t len = strlen(done_text);
    snprintf(done_text + len, sizeof done_text - len, "%.*s %d %u/%u%s%s ", (int)path.len, path.data, x->status,
             (unsigned)x->body_received, (unsigned)x->body_written, x->conn == NULL ? " gone" : "", x->cut ? " cut" : "");
}

/* Once for each exchange, when its answer is complete or its client has gone. */
static void test_done(void **state) {
    (void)state;
    rig.shared.done = note_done;
    struct http_exchange *first = request(GET("/ok"));
    park(first);
    done_text[0] = '\0';
    struct http_exchange *x = stream(GET("/ok?streamed"));
    put(x, "12345");
    finish(x);
    assert_string_equal(done_text, "/ok 200 0/5 "); /* before it leaves */
    done_text[0] = '\0';
    http_response_whole(first, 200, SPAN("text/plain"), SPAN("ok"));
    finish(first);
    rig_feed(&rig, SPAN("PUT /drop HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc" GET("/fail") GET("/nothing") GET("/no")));
    assert_string_equal(done_text, "/ok 200 0/2 /drop 200 3/3 /fail 500 0/22 /nothing 204 0/0 /no 404 0/10 ");
    done_text[0] = '\0';
    x = stream(GET("/ok"));
    put(x, "123");
    park(x);
    first = request(GET("/p/a/b"));
    park(first);
    struct span input = SPAN("PUT /drop HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\na"), piece;
    struct http_exchange *none;
    assert_int_equal(http_conn_next(&rig.conn, &input, &none, &piece), HTTP_MORE);
    http_response_cut(x);
    finish(x); /* the two behind it are given up */
    assert_string_equal(done_text, "/ok 200 0/3 cut /drop 0 1/0 gone ");
    finish(first);
    assert_string_equal(done_text, "/ok 200 0/3 cut /drop 0 1/0 gone /p/a/b 0 0/0 gone ");
}

/* A body that the client did not finish, and a connection that is lost. */
static void test_done_without_client(void **state) {
    (void)state;
    rig.shared.done = note_done;
    done_text[0] = '\0';
    rig_feed(&rig, SPAN("POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\na"));
    http_conn_end(&rig.conn);
    assert_string_equal(done_text, "/echo 0 1/0 gone ");
    rig_reset(&rig);
    rig_feed(&rig, SPAN(GET("/park/1") "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab"));
    done_text[0] = '\0';
    http_conn_release(&rig.conn);
    assert_string_equal(done_text, "/echo 0 2/0 gone ");
    rig_resume_all(&rig);
    assert_string_equal(done_text, "/echo 0 2/0 gone /park/1 200 0/8 gone ");
}

/* A head that never came as a whole: what is known of it is told, from where its bytes are now. */
static void test_done_without_head(void **state) {
    (void)state;
    rig.shared.done = note_done;
    done_text[0] = '\0';
    rig_feed(&rig, SPAN("GET /slow HTTP/1.1\r\nHo"));
    http_conn_refuse(&rig.conn, 408);
    assert_string_equal(done_text, "/slow 408 0/16 ");
    rig_take_output(&rig);
    rig_reset(&rig);
    done_text[0] = '\0';
    rig_feed(&rig, SPAN("G"));
    http_conn_refuse(&rig.conn, 408);
    assert_string_equal(done_text, " 408 0/16 ");
}

/* No room to keep what may not begin yet: the answer is to a request of which nothing is known. */
static void test_done_shed(void **state) {
    (void)state;
    struct rig_sizes sizes = rig_plenty;
    sizes.carries = 1;
    sizes.limits.pipeline = 2;
    rig_close(&rig);
    open_with(&sizes);
    struct http_exchange *first = request(GET("/ok")); /* both exchanges have seen a request before */
    park(first);
    rig_feed(&rig, SPAN(GET("/ok")));
    http_response_whole(first, 200, SPAN("text/plain"), SPAN("ok"));
    finish(first);
    void *carry = pool_take(&rig.carries);
    rig.shared.limits.pipeline = 1;
    rig.shared.done = note_done;
    park(request(GET("/park/1")));
    done_text[0] = '\0';
    rig_feed(&rig, SPAN(GET("/ok")));
    assert_string_equal(done_text, " 503 0/20 ");
    pool_give(&rig.carries, carry);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_done),
        WITH_RIG(test_done_without_client),
        WITH_RIG(test_done_without_head),
        WITH_RIG(test_done_shed),
    };
    return cmocka_run_group_tests_name("done", tests, NULL, NULL);
}
