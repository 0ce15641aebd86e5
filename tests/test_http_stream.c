/* Streamed responses: src/http/stream.c. What is lent: test_http_lend.c. */
#include <stdio.h>

#include "death.h"
#include "http/http_priv.h"
#include "http/json.h"
#include "http_drive.h"
#include "random.h"

/* ---------------------------------------------------------------------------------------------------- exact bytes ---- */

struct bytes_row {
    const char *name;
    const char *request;
    int status;
    const char *body;
    const char *out;
    bool done; /* the connection has ended */
};

#define HEAD_LINE(path, minor) "HEAD " path " HTTP/1." minor "\r\n" H
#define GET_LINE(path, minor) "GET " path " HTTP/1." minor "\r\n" H

static const struct bytes_row bytes_rows[] = {
    /* RFC 9112 §7.1: chunk-size CRLF chunk-data CRLF, then 0 CRLF CRLF */
    { "chunked", GET("/ok"), 200, "hello", OK TEXT CHUNKED "0005\r\nhello\r\n0\r\n\r\n", false },
    /* RFC 9112 §7.1: a chunk of no bytes would be the last */
    { "empty", GET("/ok"), 200, "", OK TEXT CHUNKED "0\r\n\r\n", false },
    /* RFC 9112 §9.6 */
    { "closed after it", GET_LINE("/ok", "1") "Connection: close\r\n\r\n", 200, "hello",
      OK TEXT "Connection: close\r\n" CHUNKED "0005\r\nhello\r\n0\r\n\r\n", true },
    /* RFC 9112 §6.1: no Transfer-Encoding to HTTP/1.0; §6.3: then the end of the connection ends the body */
    { "1.0", GET_LINE("/ok", "0") "\r\n", 200, "hello", OK TEXT "Connection: close\r\n\r\nhello", true },
    { "1.0, keep-alive", GET_LINE("/ok", "0") "Connection: keep-alive\r\n\r\n", 200, "hello",
      OK TEXT "Connection: close\r\n\r\nhello", true },
    { "1.2 is served as 1.1", GET_LINE("/ok", "2") "\r\n", 200, "hello", OK TEXT CHUNKED "0005\r\nhello\r\n0\r\n\r\n", false },
    /* RFC 9110 §9.3.2, RFC 9112 §6.1: HEAD has the fields and no body */
    { "HEAD", HEAD_LINE("/ok", "1") "\r\n", 200, "hello", OK TEXT CHUNKED, false },
    { "HEAD, 1.0", HEAD_LINE("/ok", "0") "\r\n", 200, "hello", OK TEXT "Connection: close\r\n\r\n", true },
    /* RFC 9112 §6.1, §6.3: 204 and 304 have neither body nor Transfer-Encoding, and need no end of the connection */
    { "204", GET("/ok"), 204, "hello", "HTTP/1.1 204 No Content\r\n" DATE TEXT "\r\n", false },
    { "304", GET("/ok"), 304, "hello", "HTTP/1.1 304 Not Modified\r\n" DATE TEXT "\r\n", false },
    { "205", GET("/ok"), 205, "hello", "HTTP/1.1 205 Reset Content\r\n" DATE TEXT "Content-Length: 0\r\n\r\n", false },
    { "204, 1.0 with keep-alive", GET_LINE("/ok", "0") "Connection: keep-alive\r\n\r\n", 204, "hello",
      "HTTP/1.1 204 No Content\r\n" DATE TEXT "Connection: keep-alive\r\n\r\n", false },
    /* a mistake of the application */
    { "no status", GET("/ok"), 99, "hello",
      "HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT "Content-Length: 22\r\n\r\nInternal Server Error\n", false },
};

static void test_bytes(void **state) {
    const struct bytes_row *row = *state;
    open_with(&rig_plenty);
    struct http_exchange *x = request(row->request);
    http_response_stream(x, row->status, SPAN("text/plain"));
    put(x, row->body);
    finish(x);
    expect(row->out);
    assert_int_equal(http_conn_done(&rig.conn), row->done);
    rig_release(&rig);
    assert_null(rig_leak(&rig));
    rig_close(&rig);
}

/* Each flush ends a chunk; what holds nothing makes none. RFC 9112 §7.1 */
static void test_flush(void **state) {
    (void)state;
    struct http_exchange *x = stream(GET("/ok"));
    http_response_flush(x);
    expect(OK TEXT CHUNKED);
    put(x, "one");
    put(x, "two");
    http_response_flush(x);
    http_response_flush(x);
    put(x, "");
    assert_non_null(http_response_reserve(x, 100));
    http_response_flush(x);
    http_response_commit(x, 0);
    expect("0006\r\nonetwo\r\n");
    char *p = http_response_reserve(x, HTTP_RESERVE_BYTES_MAX);
    p[0] = 'x';
    http_response_commit(x, 1);
    put(x, "y");
    park(x);
    expect("0002\r\nxy\r\n");
    finish(x);
    expect("0\r\n\r\n");
    assert_int_equal(rig.conn.unfinished, 0);
}

/* A field of one's own; and what is written when the body has ended already. */
static void test_fields(void **state) {
    (void)state;
    struct http_exchange *x = request(GET("/ok"));
    http_response_field(x, SPAN("Cache-Control"), SPAN("no-store"));
    http_response_stream(x, 200, SPAN("text/event-stream"));
    finish(x);
    expect(OK "Content-Type: text/event-stream\r\nCache-Control: no-store\r\n" CHUNKED "0\r\n\r\n");
}

static void test_json(void **state) {
    (void)state;
    struct http_exchange *x = stream(GET("/ok"));
    struct json_writer json;
    static char text[9000], expected[20000];
    memset(text, 'a', sizeof text - 1);
    json_begin(&json, x);
    json_object(&json, NULL);
    json_array(&json, "numbers");
    size_t len = (size_t)sprintf(expected, "200:{\"numbers\":[");
    for (int i = 0; i < 2000; i++) {
        json_int(&json, NULL, i);
        len += (size_t)sprintf(expected + len, "%s%d", i > 0 ? "," : "", i);
        if (i % 500 == 0) {
            http_response_flush(x);
        }
    }
    json_close(&json);
    json_string(&json, "text", span_text(text));
    json_close(&json);
    sprintf(expected + len, "],\"text\":\"%s\"}", text);
    finish(x);
    assert_string_equal(rig_summary(&rig), expected);
}

/* ----------------------------------------------------------------------------------------------------------- turns ---- */

/* RFC 9112 §9.3.2: responses leave in the order of the requests. */
static void test_not_its_turn(void **state) {
    (void)state;
    struct http_exchange *first = request(GET("/ok"));
    park(first);
    struct http_exchange *x = stream(GET("/ok"));
    put(x, "one");
    http_response_flush(x);
    put(x, "two");
    park(x);
    expect("");
    size_t waiting = http_exchange_waiting(x);
    assert_int_equal(waiting, sizeof(OK TEXT CHUNKED "0003\r\none\r\n0003\r\ntwo\r\n") - 1);
    assert_int_equal(http_exchange_waiting(first), 0);
    put(x, "six");
    http_response_flush(x);
    assert_int_equal(http_exchange_waiting(x), waiting + 11);
    http_response_whole(first, 200, SPAN("text/plain"), SPAN("ok"));
    finish(first); /* its turn comes while it is parked */
    expect(OK TEXT "Content-Length: 2\r\n\r\nok" OK TEXT CHUNKED "0003\r\none\r\n0003\r\ntwo\r\n0003\r\nsix\r\n");
    assert_int_equal(http_exchange_waiting(x), 0);
    put(x, "end");
    park(x);
    expect("0003\r\nend\r\n");
    finish(x);
    expect("0\r\n\r\n");
}

/* Finished before its turn: all leaves at once. */
static void test_finished_before_its_turn(void **state) {
    (void)state;
    struct http_exchange *first = request(GET("/ok"));
    park(first);
    struct http_exchange *x = stream(GET("/ok"));
    put(x, "one");
    finish(x);
    struct http_exchange *last = stream(GET("/ok"));
    put(last, "two");
    park(last);
    expect("");
    finish(first);
    assert_string_equal(rig_summary(&rig), "204 200:one 200:two CUT");
    finish(last);
    rig.output_len = 0;
    rig_take_output(&rig);
    assert_int_equal(rig.output_len, 5);
}

/* While its own body is coming nothing of it leaves. */
static void test_while_reading(void **state) {
    (void)state;
    struct http_exchange *x;
    struct span piece, input = SPAN("POST /count HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nab");
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_STREAM);
    http_response_stream(x, 200, SPAN("text/plain"));
    put(x, "one");
    http_response_flush(x);
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_PIECE);
    put(x, "two");
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_MORE);
    assert_int_equal(http_exchange_waiting(x), 0); /* for its own body only */
    expect("");
    input = SPAN("cd");
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_PIECE);
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_READY);
    expect("");
    park(x);
    put(x, "end");
    finish(x);
    assert_string_equal(rig_summary(&rig), "200:onetwoend");
}

/* The same, behind one that is not finished; its turn comes while its body does. */
static void test_turn_while_reading(void **state) {
    (void)state;
    struct http_exchange *first = request(GET("/ok")), *x;
    park(first);
    struct span piece, input = SPAN("POST /count HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nab");
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_STREAM);
    http_response_stream(x, 200, SPAN("text/plain"));
    put(x, "one");
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_PIECE);
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_MORE);
    finish(first);
    assert_string_equal(rig_summary(&rig), "204");
    input = SPAN("cd");
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_PIECE);
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_READY);
    finish(x);
    assert_string_equal(rig_summary(&rig), "204 200:one");
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_MORE);
}

/* An answer that was begun while the body came: who refuses a piece has ended it, a timeout has not. RFC 9112 §8 */
static void test_refused_while_reading(void **state) {
    (void)state;
    static const char *const answers[] = { "200:one closed", "408 closed", "200:one closed", "408 closed", "200:one closed",
                                           "200:one closed" };
    for (int i = 0; i < 6; i++) {
        rig_reset(&rig);
        struct http_exchange *x;
        struct span piece, input = SPAN("POST /count HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nab");
        assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_STREAM);
        assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_PIECE);
        if (i < 2) {
            http_response_stream(x, 200, SPAN("text/plain"));
            put(x, "one");
        } else if (i < 4) {
            http_response_begin(x, 200, SPAN("text/plain"));
            put(x, "one");
        } else {
            http_response_whole(x, 200, SPAN("text/plain"), SPAN("one"));
        }
        http_conn_refuse(&rig.conn, i % 2 == 0 ? 422 : 408);
        assert_string_equal(rig_summary(&rig), answers[i]);
        assert_null(rig.fault);
        rig_release(&rig);
    }
}

/* ------------------------------------------------------------------------------------------------------------ cuts ---- */

/* Nothing has left: a failure is a clean answer. */
static void test_fail_before_it_left(void **state) {
    (void)state;
    struct http_exchange *x = stream(GET("/ok"));
    put(x, "one");
    http_response_fail(x, 500);
    assert_false(x->streamed);
    put(x, "two");
    http_response_flush(x);
    finish(x);
    expect(ERROR_500);
    struct http_exchange *first = request(GET("/ok"));
    park(first);
    x = stream(GET("/ok"));
    put(x, "one");
    park(x); /* it waits for its turn: nothing has left yet */
    http_response_fail(x, 500);
    park(x);
    finish(x);
    finish(first);
    expect("HTTP/1.1 204 No Content\r\n" DATE "\r\n" ERROR_500);
    assert_false(http_conn_done(&rig.conn));
}

/* Something has left: the connection ends without the last chunk. RFC 9112 §8 */
static void test_fail_after_it_left(void **state) {
    (void)state;
    struct http_exchange *x = stream(GET("/ok"));
    put(x, "one");
    park(x);
    http_response_fail(x, 503);
    put(x, "two");
    assert_null(http_response_reserve(x, 1));
    assert_false(http_conn_done(&rig.conn));
    assert_int_equal(x->status, 200);
    finish(x);
    assert_true(rig.conn.abrupt);
    assert_string_equal(rig_summary(&rig), "200:one CUT closed");
}

/* RFC 9112 §9.6: who asked for the end sends no more; who did not may have. */
static void test_abrupt(void **state) {
    (void)state;
    static const struct {
        const char *request;
        bool abrupt;
    } ends[] = {
        { "GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false },
        { "GET /ok HTTP/1.0\r\n\r\n", false },
        { "GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true },
    };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        finish(stream(ends[i].request));
        assert_true(http_conn_done(&rig.conn));
        assert_int_equal(rig.conn.abrupt, ends[i].abrupt);
        rig_release(&rig);
        rig_reset(&rig);
    }
}

/* Flushed and not parked is left, too. */
static void test_fail_after_flush(void **state) {
    (void)state;
    struct http_exchange *x = stream(GET("/ok"));
    http_response_flush(x);
    put(x, "one");
    http_response_fail(x, 500);
    finish(x);
    expect(OK TEXT CHUNKED "0003\r\none\r\n");
    assert_true(http_conn_done(&rig.conn));
}

/* A cut leaves in order, what is behind it does not. */
static void test_cut_in_order(void **state) {
    (void)state;
    struct http_exchange *first = request(GET("/ok"));
    park(first);
    struct http_exchange *x = stream(GET("/ok"));
    put(x, "one");
    http_response_cut(x);
    http_response_cut(x);
    put(x, "two");
    finish(x);
    struct span input = SPAN(GET("/ok")), piece;
    struct http_exchange *none;
    assert_int_equal(http_conn_next(&rig.conn, &input, &none, &piece), HTTP_ENDED);
    assert_false(http_conn_done(&rig.conn));
    expect("");
    finish(first);
    assert_string_equal(rig_summary(&rig), "204 200:one CUT closed");
}

/* What has been begun behind it lives on without a client. */
static void test_cut_before_others(void **state) {
    (void)state;
    struct http_exchange *x = stream(GET("/ok"));
    park(x);
    struct http_exchange *behind = stream(GET("/ok"));
    put(behind, "lost");
    park(behind);
    http_response_cut(x);
    finish(x);
    assert_true(http_conn_done(&rig.conn));
    assert_null(behind->conn);
    put(behind, "lost");
    finish(behind);
    expect(OK TEXT CHUNKED);
}

static void test_cut_of_others(void **state) {
    (void)state;
    struct http_exchange *x = request(GET("/ok"));
    http_response_cut(x); /* none was begun */
    finish(x);
    expect(ERROR_500);
    x = request(GET("/ok"));
    http_response_begin(x, 200, SPAN("text/plain"));
    http_response_cut(x); /* not streamed: nothing has left */
    finish(x);
    expect(ERROR_500);
    x = request("GET /ok HTTP/1.0\r\n\r\n");
    http_response_stream(x, 200, SPAN("text/plain"));
    put(x, "one");
    http_response_cut(x);
    finish(x);
    expect(OK TEXT "Connection: close\r\n\r\none");
    assert_true(http_conn_done(&rig.conn));
}

/* No block for the rest, or for the last chunk. */
static void test_without_blocks(void **state) {
    (void)state;
    static char body[20000];
    memset(body, 'b', sizeof body);
    reopen(3);
    struct http_exchange *x = stream(GET("/ok"));
    http_response_write(x, span_of(body, sizeof body)); /* nothing has left */
    finish(x);
    assert_string_equal(rig_summary(&rig), "503");
    x = stream(GET("/ok"));
    park(x);
    http_response_write(x, span_of(body, sizeof body));
    assert_true(x->cut);
    finish(x);
    assert_non_null(strstr(rig_summary(&rig), "bbb CUT closed"));
    reopen(1);
    x = stream(GET("/ok"));
    park(x);
    while (rig.out.tail->len + 6 < BLOCK_ROOM) {
        http_response_write(x, span_of(body, rig.out.tail->len < 4000 ? 20 : 1));
    }
    finish(x);
    assert_non_null(strstr(rig_summary(&rig), "bbb CUT closed"));
}

/* ------------------------------------------------------------------------------------------------------- any order ---- */

enum { LINE_MAX = 6, WRITTEN_MAX = 64 * 1024 };

/* What a response should be. */
struct model {
    struct http_exchange *x;
    char text[WRITTEN_MAX];
    size_t len;
};

static uint32_t released, lent_count;

static void model_add(struct model *model, struct span bytes) {
    memcpy(model->text + model->len, bytes.data, bytes.len);
    model->len += bytes.len;
}

static void random_write(struct random *random, struct model *model) {
    static char letters[10000];
    for (size_t i = 0; i < sizeof letters; i++) {
        letters[i] = (char)('a' + i % 26);
    }
    uint32_t how = random_below(random, 8), most = how == 0 ? 10000 : 200;
    struct span bytes = span_of(letters, random_below(random, most));
    struct http_exchange *x = model->x;
    if (bytes.len > WRITTEN_MAX - model->len) {
        return;
    }
    if (how < 4) {
        http_response_write(x, bytes);
    } else if (how < 6) {
        char *p = http_response_reserve(x, (uint32_t)bytes.len + random_below(random, 100));
        assert_non_null(p);
        memcpy(p, bytes.data, bytes.len);
        http_response_commit(x, (uint32_t)bytes.len);
    } else {
        lent_count++;
        http_response_lend(x, bytes, count_release, &released);
    }
    model_add(model, bytes);
}

static void random_step(struct random *random, struct model *model) {
    switch (random_below(random, 6)) {
    case 0: http_response_flush(model->x); break;
    case 1: http_exchange_park(model->x); break;
    case 2: rig_take_output(&rig); break;
    default: random_write(random, model);
    }
}

/* Several responses are written at once, in any order; each comes out as it was written. */
static void test_any_order(void **state) {
    (void)state;
    static struct model line[LINE_MAX];
    static char expected[LINE_MAX * (WRITTEN_MAX + 16)];
    struct random random = random_seeded("http_stream");
    for (int round = 0; round < 300; round++) {
        uint32_t count = 1 + random_below(&random, LINE_MAX), open = count;
        rig_reset(&rig);
        released = lent_count = 0;
        for (uint32_t i = 0; i < count; i++) {
            line[i] = (struct model){ .x = request(GET("/ok")) };
            if (random_below(&random, 5) == 0) {
                http_response_begin(line[i].x, 200, SPAN("text/plain"));
            } else {
                http_response_stream(line[i].x, 200, SPAN("text/plain"));
            }
            random_write(&random, &line[i]);
            http_exchange_park(line[i].x);
        }
        while (open > 0) {
            struct model *model = &line[random_below(&random, count)];
            if (model->x != NULL && random_below(&random, 12) == 0) {
                http_exchange_finish(model->x);
                model->x = NULL;
                open--;
            } else if (model->x != NULL) {
                random_step(&random, model);
                http_exchange_park(model->x); /* only a handler that runs has an open chunk */
            }
        }
        size_t len = 0;
        for (uint32_t i = 0; i < count; i++) {
            len += (size_t)sprintf(expected + len, "%s200%s", i > 0 ? " " : "", line[i].len > 0 ? ":" : "");
            memcpy(expected + len, line[i].text, line[i].len);
            len += line[i].len;
        }
        expected[len] = '\0';
        assert_string_equal(rig_summary(&rig), expected);
        assert_int_equal(released, lent_count);
        rig_release(&rig);
        assert_null(rig_leak(&rig));
    }
}

static void reserve_too_much(void *x) {
    (void)!http_response_reserve(x, HTTP_RESERVE_BYTES_MAX + 1);
}

static void test_mistakes(void **state) {
    (void)state;
    struct http_exchange *x = stream(GET("/ok"));
    assert_true(asserts(reserve_too_much, x));
    finish(x);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_bytes, bytes_rows);
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_flush),
        WITH_RIG(test_fields),
        WITH_RIG(test_json),
        WITH_RIG(test_not_its_turn),
        WITH_RIG(test_finished_before_its_turn),
        WITH_RIG(test_while_reading),
        WITH_RIG(test_turn_while_reading),
        WITH_RIG(test_refused_while_reading),
        WITH_RIG(test_fail_before_it_left),
        WITH_RIG(test_fail_after_it_left),
        WITH_RIG(test_abrupt),
        WITH_RIG(test_fail_after_flush),
        WITH_RIG(test_cut_in_order),
        WITH_RIG(test_cut_before_others),
        WITH_RIG(test_cut_of_others),
        WITH_RIG(test_without_blocks),
        WITH_RIG(test_any_order),
        WITH_RIG(test_mistakes),
    };
    return rows_run("streamed bytes", &rows) + cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
