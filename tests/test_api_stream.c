/* Responses that leave while they are written: framing, backpressure, ends, server-sent events, lent bytes. */
#include "server_rig.h"

enum { CHUNK_BYTES = 1000, OUTPUT_BYTES = 16 * 1024 };

static struct rig rig;
static char chunk[CHUNK_BYTES];
static unsigned written;     /* chunks */
static unsigned ends, resumed_gone;
static unsigned released;    /* times that a lent thing came back */
static int chunks_wanted;
static unsigned max_blocks; /* taken at a time, seen by handlers */

static void look(void) {
    uint32_t taken = rig_taken(&rig, PLAN_BLOCKS) - rig.hoard_count;
    max_blocks = taken > max_blocks ? taken : max_blocks;
}

static void put_chunk(struct rm_exchange *x) {
    memset(chunk, 'a' + (int)(written % 26), sizeof chunk);
    rm_write(x, (struct span){ chunk, sizeof chunk });
    written++;
    look();
}

/* A chunk, then the next one when this one is on its way. */
static enum rm_step more(struct rm_exchange *x) {
    if (rm_gone(x)) {
        resumed_gone++;
        return RM_DONE;
    }
    if ((int)written == chunks_wanted) {
        return RM_DONE;
    }
    put_chunk(x);
    rm_flush(x);
    rm_then(x, more);
    return RM_PARK;
}

static enum rm_step flood(struct rm_exchange *x) {
    rm_stream(x, 200, "text/plain");
    return more(x);
}

/* As fast, without looking at what the client takes. */
static enum rm_step heedless(struct rm_exchange *x) {
    if (rm_state(x) == NULL) {
        rm_stream(x, 200, "text/plain");
    }
    rm_set_state(x, &rig);
    put_chunk(x);
    rm_sleep(x, NS_PER_MS);
    rm_then(x, heedless);
    return RM_PARK;
}

static enum rm_step plain(struct rm_exchange *x) {
    rm_stream(x, 200, "text/plain");
    rm_write(x, (struct span){ "one", 3 });
    rm_write_int(x, 23);
    return RM_DONE;
}

static enum rm_step second_part(struct rm_exchange *x) {
    rm_json_int(x, "b", 2);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step json(struct rm_exchange *x) {
    rm_stream(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "a", 1);
    rm_sleep(x, 20 * NS_PER_MS);
    rm_then(x, second_part);
    return RM_PARK;
}

static enum rm_step abort_before(struct rm_exchange *x) {
    rm_abort(x);
    return RM_DONE;
}

static enum rm_step abort_now(struct rm_exchange *x) {
    rm_write(x, (struct span){ "half", 4 });
    rm_abort(x);
    return RM_DONE;
}

static enum rm_step abort_after(struct rm_exchange *x) {
    rm_stream(x, 200, "text/plain");
    rm_write(x, (struct span){ "first ", 6 });
    rm_flush(x);
    rm_then(x, abort_now);
    return RM_PARK;
}

/* A flush of a response that is no stream has nothing to wait for. */
static enum rm_step answer(struct rm_exchange *x) {
    return rm_text(x, 200, "flushed");
}

static enum rm_step flush_nothing(struct rm_exchange *x) {
    rm_flush(x);
    rm_flush(x); /* twice is once */
    rm_then(x, answer);
    return RM_PARK;
}

static enum rm_step flush_begun(struct rm_exchange *x) {
    rm_begin(x, 200, "text/plain");
    rm_write(x, (struct span){ "begun", 5 });
    rm_flush(x);
    rm_then(x, second_part);
    return RM_PARK;
}

/* ------------------------------------------------------------------------------------- server-sent events ---- */

static enum rm_step bye(struct rm_exchange *x) {
    ends++;
    rm_sse_event(x, "bye", NULL, (struct span){ "see you", 7 });
    return RM_DONE;
}

static enum rm_step tick(struct rm_exchange *x) {
    if (rm_gone(x)) {
        resumed_gone++;
        return RM_DONE;
    }
    written++;
    rm_sse_event(x, "tick", NULL, (struct span){ "a\nb", 3 });
    rm_sleep(x, NS_PER_SECOND);
    rm_then(x, tick);
    return RM_PARK;
}

static enum rm_step events(struct rm_exchange *x) {
    rm_sse(x);
    rm_on_end(x, bye);
    return tick(x);
}

static enum rm_step events_without_end(struct rm_exchange *x) {
    rm_sse(x);
    return tick(x);
}

static enum rm_step quiet_without_end(struct rm_exchange *x) {
    rm_sse(x);
    rm_sleep(x, 3600 * NS_PER_SECOND);
    rm_then(x, bye);
    return RM_PARK;
}

static enum rm_step quiet(struct rm_exchange *x) {
    rm_on_end(x, bye);
    return quiet_without_end(x);
}

/* Its end has to wait for something, too. */
static enum rm_step bye_later(struct rm_exchange *x) {
    rm_sleep(x, NS_PER_MS);
    rm_then(x, bye);
    return RM_PARK;
}

static enum rm_step quiet_at_length(struct rm_exchange *x) {
    rm_on_end(x, bye_later);
    return quiet_without_end(x);
}

static enum rm_step bad_event(struct rm_exchange *x) {
    rm_sse(x);
    rm_sse_event(x, "two\nlines", NULL, (struct span){ "x", 1 });
    return RM_DONE;
}

static enum rm_step comment(struct rm_exchange *x) {
    rm_sse(x);
    rm_sse_comment(x, (struct span){ "still here", 10 });
    rm_sse_event(x, NULL, "7", (struct span){ "x", 1 });
    return RM_DONE;
}

/* ---------------------------------------------------------------------------------------------------- lent ---- */

static char treasure[400000];

static void take_back(void *arg) {
    assert_ptr_equal(arg, treasure);
    released++;
}

static enum rm_step lend(struct rm_exchange *x) {
    return rm_lend(x, 200, "text/plain", (struct span){ treasure, sizeof treasure }, take_back, treasure);
}

static enum rm_step lend_and_nap(struct rm_exchange *x) {
    rm_stream(x, 200, "text/plain");
    rm_write_lent(x, (struct span){ treasure, sizeof treasure }, take_back, treasure);
    rm_sleep(x, NS_PER_SECOND);
    rm_then(x, answer);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { "GET", "/flood", flood, RM_BODY_NONE, NULL },
    { "GET", "/heedless", heedless, RM_BODY_NONE, NULL },
    { "GET", "/plain", plain, RM_BODY_NONE, NULL },
    { "GET", "/json", json, RM_BODY_NONE, NULL },
    { "GET", "/abort-before", abort_before, RM_BODY_NONE, NULL },
    { "GET", "/abort-after", abort_after, RM_BODY_NONE, NULL },
    { "GET", "/flush-nothing", flush_nothing, RM_BODY_NONE, NULL },
    { "GET", "/flush-begun", flush_begun, RM_BODY_NONE, NULL },
    { "GET", "/events", events, RM_BODY_NONE, NULL },
    { "GET", "/events-without-end", events_without_end, RM_BODY_NONE, NULL },
    { "GET", "/quiet", quiet, RM_BODY_NONE, NULL },
    { "GET", "/quiet-at-length", quiet_at_length, RM_BODY_NONE, NULL },
    { "GET", "/quiet-without-end", quiet_without_end, RM_BODY_NONE, NULL },
    { "GET", "/bad-event", bad_event, RM_BODY_NONE, NULL },
    { "GET", "/comment", comment, RM_BODY_NONE, NULL },
    { "GET", "/lend", lend, RM_BODY_NONE, NULL },
    { "GET", "/lend-and-nap", lend_and_nap, RM_BODY_NONE, NULL },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_rig(void **state) {
    (void)state;
    written = ends = resumed_gone = released = max_blocks = 0;
    chunks_wanted = 100;
    memset(treasure, 't', sizeof treasure);
    rig_open(&rig, &app, "--output-bytes 16K --write-timeout 2s");
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    if (!rig.worker_gone) {
        for (uint32_t i = 0; i < rig.client_count; i++) {
            rig_drop(&rig, &rig.clients[i], true);
        }
        rig_run(&rig, 5000);
        assert_nothing_taken(&rig);
    }
    rig_close(&rig);
    return 0;
}

static struct rig_client *ask(const char *method, const char *target, const char *version) {
    char text[256];
    struct rig_client *client = rig_connect(&rig);
    snprintf(text, sizeof text, "%s %s HTTP/%s\r\nHost: a\r\n\r\n", method, target, version);
    rig_send(&rig, client, text);
    return client;
}

static struct rig_client *get(const char *target) {
    struct rig_client *client = ask("GET", target, "1.1");
    rig_run(&rig, 10);
    return client;
}

/* -------------------------------------------------------------------------------------------------- framing ---- */

/* RFC 9112 §7.1 */
static void test_chunked(void **state) {
    (void)state;
    struct rig_client *client = get("/plain");
    assert_has(client->text, "Transfer-Encoding: chunked\r\n");
    assert_has(client->text, "\r\n\r\n0005\r\none23\r\n0\r\n\r\n");
    assert_false(client->ended);
}

/* RFC 9112 §6.3: to an old client the end of the connection is the end of the body. */
static void test_old_client(void **state) {
    (void)state;
    struct rig_client *client = ask("GET", "/plain", "1.0");
    rig_run(&rig, 10);
    assert_null(strstr(client->text, "chunked"));
    assert_has(client->text, "\r\n\r\none23");
    assert_true(client->ended);
}

static void test_parts_leave_at_once(void **state) {
    (void)state;
    struct rig_client *client = get("/json");
    assert_has(client->text, "{\"a\":1");
    assert_null(strstr(client->text, "\"b\""));
    rig_run(&rig, 30);
    assert_has(client->text, "\"b\":2}\r\n0\r\n\r\n");
}

static void test_abort(void **state) {
    (void)state;
    assert_has(get("/abort-before")->text, "HTTP/1.1 500 ");
    struct rig_client *client = get("/abort-after");
    assert_has(client->text, "0006\r\nfirst \r\n");
    assert_has(client->text, "0004\r\nhalf\r\n");
    assert_null(strstr(client->text, "\r\n0\r\n\r\n")); /* it can tell that this is not all */
    assert_true(client->ended);
}

/* RFC 9110 §9.3.2: all of it was the head; the handler does not go on for nothing. */
static void test_head(void **state) {
    (void)state;
    struct rig_client *client = ask("HEAD", "/events-without-end", "1.1");
    rig_run(&rig, 10);
    assert_has(client->text, "Content-Type: text/event-stream\r\n");
    assert_int_equal(written, 0);
    assert_int_equal(resumed_gone, 1); /* it looked */
    rig_send(&rig, client, GET("/plain"));
    rig_run(&rig, 10);
    assert_int_equal(count_of(client->text, "HTTP/1.1 200"), 2);
}

/* One that does not look: it is told, or else it just does not go on. */
static void test_head_parked(void **state) {
    (void)state;
    struct rig_client *client = ask("HEAD", "/quiet", "1.1");
    rig_send(&rig, client, "HEAD /quiet-without-end HTTP/1.1\r\nHost: a\r\n\r\n" GET("/plain"));
    rig_run(&rig, 10);
    assert_int_equal(ends, 1);
    assert_int_equal(count_of(client->text, "HTTP/1.1 200"), 3);
    assert_null(strstr(client->text, "see you"));
}

/* An end handler may park again, and is gone on with. */
static void test_head_ends_later(void **state) {
    (void)state;
    struct rig_client *client = ask("HEAD", "/quiet-at-length", "1.1");
    rig_run(&rig, 10);
    assert_int_equal(ends, 1);
    rig_send(&rig, client, GET("/plain"));
    rig_run(&rig, 10);
    assert_int_equal(count_of(client->text, "HTTP/1.1 200"), 2);
}

/* ---------------------------------------------------------------------------------------------------- flush ---- */

static void test_flush_completes(void **state) {
    (void)state;
    assert_has(get("/flush-nothing")->text, "\r\n\r\nflushed");
    assert_has(get("/flush-begun")->text, "HTTP/1.1 500 "); /* of its second handler, which writes JSON without a top */
}

/* Many chunks through few blocks, and each one in its turn. */
static void test_ten_thousand_chunks(void **state) {
    (void)state;
    chunks_wanted = 10000;
    rig_exhaust(&rig, PLAN_BLOCKS, 16);
    struct rig_client *client = ask("GET", "/flood", "1.1");
    rig_run(&rig, 2000);
    assert_int_equal(written, 10000);
    assert_has(client->text + client->len - 7, "\r\n0\r\n\r\n");
    assert_true(max_blocks <= 8);
    assert_int_equal(client->error, 0);
    rig_replenish(&rig);
}

/* A client that reads nothing holds half of --output-bytes, a chunk, and what the kernel took; no more, for ever. */
static void test_slow_reader(void **state) {
    (void)state;
    chunks_wanted = 1000;
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    rig_send(&rig, client, GET("/flood"));
    rig_run(&rig, 1500);
    unsigned stuck = written;
    assert_true(stuck < 200);
    assert_true(max_blocks <= (OUTPUT_BYTES / 2 + 64 * 1024) / BLOCK_ROOM + 4);
    rig_run(&rig, 100);
    assert_int_equal(written, stuck);
    ring_receive_mode(rig.clients_ring, client->id, RING_FREE); /* it reads after all */
    rig_run(&rig, 1000);
    assert_int_equal(written, 1000);
    assert_has(client->text + client->len - 7, "\r\n0\r\n\r\n");
}

/* It reads nothing for --write-timeout: the connection is reset, and the handler finds out. */
static void test_slow_reader_is_cut(void **state) {
    (void)state;
    chunks_wanted = 1000;
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    rig_send(&rig, client, GET("/flood"));
    rig_run(&rig, 5000);
    assert_int_equal(resumed_gone, 1);
    assert_true(written < 200);
    assert_int_equal(rig.worker->figures.timeouts[3], 1);
}

/* One send that takes far longer than --write-timeout, to a client that reads on; then it stops. */
static void test_slow_but_steady(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    rig_send(&rig, client, GET("/lend"));
    for (int i = 0; i < 12; i++) {
        rig_run(&rig, 1500);
        ring_receive_more(rig.clients_ring, client->id);
    }
    assert_true(client->len > 0);
    assert_int_equal(released, 0);
    assert_int_equal(client->error, 0);
    assert_int_equal(rig.worker->figures.timeouts[3], 0);
    rig_run(&rig, 5000);
    assert_int_equal(rig.worker->figures.timeouts[3], 1);
    assert_int_equal(released, 1);
}

static void test_stream_waits_without_timeout(void **state) {
    (void)state;
    struct rig_client *client = get("/events");
    rig_run(&rig, 200 * 1000); /* longer than any timeout */
    assert_true(written > 190);
    assert_int_equal(ends, 0);
    assert_false(client->ended);
}

static void test_client_disappears(void **state) {
    (void)state;
    chunks_wanted = 1000;
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    rig_send(&rig, client, GET("/flood"));
    rig_run(&rig, 100);
    rig_drop(&rig, client, true);
    rig_run(&rig, 10);
    assert_int_equal(resumed_gone, 1);
    assert_int_equal(rig_taken(&rig, PLAN_BLOCKS), 0);
}

/* Two streams of one connection: the second has its turn, and its flush, behind the first. */
static void test_stream_behind_a_stream(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/json") GET("/abort-after"));
    rig_run(&rig, 10);
    assert_null(strstr(client->text, "first"));
    rig_run(&rig, 30);
    const char *first = strstr(client->text, "\"b\":2}\r\n0\r\n\r\n");
    assert_non_null(first);
    assert_has(first, "HTTP/1.1 200 OK\r\n");
    assert_has(first, "first ");
    assert_has(first, "half");
}

/* No block is left: the stream is cut, visibly, and its handler does not go on for nothing. */
static void test_no_block_left(void **state) {
    (void)state;
    rig_exhaust(&rig, PLAN_BLOCKS, 40);
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    rig_send(&rig, client, GET("/heedless"));
    rig_run(&rig, 1000);
    unsigned stuck = written;
    assert_true(stuck > 40);
    rig_run(&rig, 500);
    assert_int_equal(written, stuck);
    ring_receive_mode(rig.clients_ring, client->id, RING_FREE);
    rig_run(&rig, 100);
    assert_true(client->ended);
    assert_null(strstr(client->text, "\r\n0\r\n\r\n"));
    rig_replenish(&rig);
}

/* ------------------------------------------------------------------------------------------------------- SSE ---- */

static void test_events(void **state) {
    (void)state;
    struct rig_client *client = get("/events");
    assert_has(client->text, "Content-Type: text/event-stream\r\n");
    assert_has(client->text, "Cache-Control: no-store\r\n");
    assert_has(client->text, "event: tick\ndata: a\ndata: b\n\n");
    client = get("/comment");
    assert_has(client->text, ": still here\n");
    assert_has(client->text, "id: 7\ndata: x\n\n");
    log_set_level(LOG_ERROR);
    assert_has(get("/bad-event")->text, "HTTP/1.1 500 ");
    log_set_level(LOG_INFO);
}

static void test_events_client_leaves(void **state) {
    (void)state;
    struct rig_client *client = get("/events");
    struct rig_client *other = get("/events-without-end");
    rig_drop(&rig, client, true);
    rig_drop(&rig, other, true);
    rig_run(&rig, 10);
    assert_int_equal(ends, 1);
    rig_run(&rig, 1000);
    assert_int_equal(resumed_gone, 1);
}

/* A hundred open streams: each gets its last event and its last chunk, and the drain takes no time. */
static void test_events_drain(void **state) {
    (void)state;
    struct rig_client *clients[100];
    for (int i = 0; i < 100; i++) {
        clients[i] = ask("GET", "/events", "1.1");
    }
    rig_run(&rig, 2500);
    server_drain(&rig.server, 1);
    rig_run(&rig, 5);
    assert_int_equal(ends, 100);
    rig_run(&rig, 2 * CONN_IDLE_DRAINING_MS); /* their heads did not say that it would be the end */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(count_of(clients[i]->text, "event: tick\n"), 3);
        assert_has(clients[i]->text, "event: bye\ndata: see you\n\n\r\n0\r\n\r\n");
        assert_true(clients[i]->ended);
        rig_drop(&rig, clients[i], false);
    }
    rig_run(&rig, 5);
    assert_true(rig.worker_gone);
}

/* ----------------------------------------------------------------------------------------------------- lent ---- */

static void test_lent(void **state) {
    (void)state;
    struct rig_client *client = get("/lend");
    assert_has(client->text, "Content-Length: 400000\r\n");
    assert_int_equal(count_of(client->text, "tttttttttt"), 40000);
    assert_int_equal(released, 1);
    ask("HEAD", "/lend", "1.1");
    rig_run(&rig, 10);
    assert_int_equal(released, 2);
    client = get("/lend-and-nap");
    assert_int_equal(released, 3);
}

static void test_lent_client_leaves(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    rig_send(&rig, client, GET("/lend"));
    rig_run(&rig, 100);
    assert_int_equal(released, 0);
    rig_drop(&rig, client, true);
    rig_run(&rig, 10);
    assert_int_equal(released, 1);
}

static int open_short_drain(void **state) {
    (void)state;
    released = 0;
    rig_open(&rig, &app, "--drain-timeout 50ms");
    return 0;
}

/* The drain's time is up with lent bytes on their way, and in a line: with a parked one, and with one that has finished. */
static void test_lent_at_the_end(void **state) {
    (void)state;
    struct rig_client *slow = rig_connect(&rig);
    slow->slow = true;
    rig_send(&rig, slow, GET("/lend"));
    struct rig_client *line = rig_connect(&rig);
    rig_send(&rig, line, GET("/quiet-without-end") GET("/lend-and-nap") GET("/lend"));
    rig_run(&rig, 100);
    assert_int_equal(released, 0);
    server_drain(&rig.server, 1);
    rig_run(&rig, 100);
    assert_true(rig.worker_gone);
    assert_int_equal(released, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_chunked),
        TEST(test_old_client),
        TEST(test_parts_leave_at_once),
        TEST(test_abort),
        TEST(test_head),
        TEST(test_head_parked),
        TEST(test_head_ends_later),
        TEST(test_flush_completes),
        TEST(test_ten_thousand_chunks),
        TEST(test_slow_reader),
        TEST(test_slow_reader_is_cut),
        TEST(test_slow_but_steady),
        TEST(test_stream_waits_without_timeout),
        TEST(test_client_disappears),
        TEST(test_stream_behind_a_stream),
        TEST(test_no_block_left),
        TEST(test_events),
        TEST(test_events_client_leaves),
        TEST(test_events_drain),
        TEST(test_lent),
        TEST(test_lent_client_leaves),
        cmocka_unit_test_setup_teardown(test_lent_at_the_end, open_short_drain, close_rig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
