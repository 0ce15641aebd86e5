/* Connections from accept to close: a whole worker on the simulator. */
#include "server_rig.h"

static struct rig rig;

/* ----------------------------------------------------------------------------------------------- application ---- */

static enum rm_step ok(struct rm_exchange *x) {
    return rm_text(x, 200, "ok");
}

static enum rm_step echo(struct rm_exchange *x) {
    return rm_bytes(x, 200, "text/plain", rm_body(x));
}

static bool take_piece(struct rm_exchange *x, struct span piece) {
    (void)x;
    return memchr(piece.data, '!', piece.len) == NULL; /* an exclamation mark is refused */
}

/* Refuses with an answer of its own. */
static bool refuse_piece(struct rm_exchange *x, struct span piece) {
    (void)piece;
    rm_text(x, 422, "not like this");
    return false;
}

static enum rm_step count(struct rm_exchange *x) {
    rm_begin(x, 200, "text/plain");
    rm_write_int(x, (int64_t)rm_body_received(x));
    return RM_DONE;
}

static enum rm_step slept(struct rm_exchange *x) {
    return rm_bytes(x, 200, "text/plain", rm_param(x, "ms"));
}

static enum rm_step nap(struct rm_exchange *x) {
    int64_t ms;
    if (!rm_int(rm_param(x, "ms"), &ms)) {
        return rm_status(x, 400);
    }
    rm_sleep(x, (uint64_t)ms * NS_PER_MS);
    rm_then(x, slept);
    return RM_PARK;
}

/* A large answer. */
static enum rm_step large(struct rm_exchange *x) {
    static char text[64 * 1024];
    memset(text, 'L', sizeof text);
    return rm_bytes(x, 200, "text/plain", (struct span){ text, sizeof text });
}

static enum rm_step late_large(struct rm_exchange *x) {
    rm_sleep(x, 100 * NS_PER_MS);
    rm_then(x, large);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { "GET", "/ok", ok, RM_BODY_NONE, NULL },
    { "POST", "/echo", echo, RM_BODY_BUFFERED, NULL },
    { "POST", "/count", count, RM_BODY_STREAMED, take_piece },
    { "POST", "/refuse", count, RM_BODY_STREAMED, refuse_piece },
    { "GET", "/nap/{ms}", nap, RM_BODY_NONE, NULL },
    { "GET", "/large", large, RM_BODY_NONE, NULL },
    { "GET", "/late-large", late_large, RM_BODY_NONE, NULL },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_plain(void **state) {
    (void)state;
    rig_open(&rig, &app, "");
    return 0;
}

/* Everything is given back in the end. */
static int close_checked(void **state) {
    (void)state;
    if (!rig.worker_gone) {
        for (uint32_t i = 0; i < rig.client_count; i++) {
            rig_drop(&rig, &rig.clients[i], false);
        }
        rig_run(&rig, 100000);
        for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
            const struct pool *pool = &rig.worker->pools[i];
            if (pool->free_count != pool->count) {
                fail_msg("%u of pool %s were not given back", pool->count - pool->free_count, pool->name);
            }
        }
        assert_int_equal(rig.worker->figures.accepted, rig.worker->figures.closed);
    }
    rig_close(&rig);
    return 0;
}

/* ----------------------------------------------------------------------------------------------------- tests ---- */

static void test_keep_alive(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    for (int i = 0; i < 3; i++) {
        rig_forget(client);
        rig_send(&rig, client, GET("/ok"));
        rig_run(&rig, 10);
        assert_has(client->text, "HTTP/1.1 200 OK\r\n");
        assert_has(client->text, "Content-Length: 2\r\n");
        assert_has(client->text, "\r\n\r\nok");
        assert_false(client->ended);
    }
    assert_int_equal(rig.worker->figures.requests, 3);
    assert_int_equal(rig.worker->pools[PLAN_BLOCKS].free_count, rig.worker->pools[PLAN_BLOCKS].count);
    assert_int_equal(rig.worker->pools[PLAN_CARRIES].low_water,
                     rig.worker->pools[PLAN_CARRIES].count); /* never needed */
}

static void test_pipeline_is_one_send(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_run(&rig, 10);
    uint64_t sends = ring_counters(rig.worker->ring)->sends;
    rig_send(&rig, client, GET("/ok") GET("/ok") GET("/ok") GET("/ok") GET("/ok"));
    rig_run(&rig, 10);
    assert_int_equal(count_of(client->text, "HTTP/1.1 200 OK\r\n"), 5);
    assert_int_equal(ring_counters(rig.worker->ring)->sends - sends, 1);
}

static void test_byte_by_byte(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    const char *text = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET("/ok");
    for (const char *byte = text; *byte != '\0'; byte++) {
        rig_send_bytes(&rig, client, byte, 1);
        rig_run(&rig, 1);
    }
    rig_run(&rig, 10);
    assert_has(client->text, "\r\n\r\nhelloHTTP/1.1 200 OK");
    assert_int_equal(count_of(client->text, "200 OK"), 2);
}

static void test_parked_answers_in_order(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/50") GET("/nap/10") GET("/ok"));
    rig_run(&rig, 40);
    assert_int_equal(client->len, 0); /* the first is not done */
    rig_run(&rig, 20);
    assert_int_equal(count_of(client->text, "200 OK"), 3);
    const char *first = strstr(client->text, "\r\n\r\n50"), *second = strstr(client->text, "\r\n\r\n10");
    assert_non_null(first);
    assert_non_null(second);
    assert_true(first < second);
    assert_true(second < strstr(client->text, "\r\n\r\nok"));
    assert_int_equal(rig.worker->figures.parked, 2);
    assert_int_equal(rig.worker->figures.resumed, 2);
}

static void test_client_leaves_while_parked(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/500"));
    rig_run(&rig, 10);
    rig_drop(&rig, client, true);
    rig_run(&rig, 10);
    assert_int_equal(rig.worker->figures.closed, 1);
    assert_int_equal(rig.worker->pools[PLAN_EXCHANGES].free_count, rig.worker->pools[PLAN_EXCHANGES].count - 1);
    rig_run(&rig, 600);
    assert_int_equal(rig.worker->figures.resumed, 1);
    assert_int_equal(rig.worker->pools[PLAN_EXCHANGES].free_count, rig.worker->pools[PLAN_EXCHANGES].count);
}

/* RFC 9112 §9.6: what was asked before the half-close is answered. */
static void test_half_close(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/20") GET("/ok"));
    rig_end(&rig, client);
    rig_run(&rig, 10);
    assert_false(client->ended);
    rig_run(&rig, 100);
    assert_int_equal(count_of(client->text, "200 OK"), 2);
    assert_true(client->ended);
    assert_int_equal(client->error, 0);
    assert_int_equal(rig.worker->figures.closed, 1);
}

static void test_connection_close(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, "GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    rig_run(&rig, 10);
    assert_has(client->text, "Connection: close\r\n");
    assert_has(client->text, "\r\n\r\nok");
    assert_true(client->ended);
    assert_int_equal(rig.worker->figures.lingered, 0); /* there was nothing left to read */
}

/* The answer to a request that cannot be read must not be lost to a reset: our half is closed, the rest is dropped. */
static void test_error_lingers(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/ok") "NONSENSE\r\n\r\n");
    rig_run(&rig, 10);
    assert_has(client->text, "200 OK");
    assert_has(client->text, "HTTP/1.1 400 Bad Request");
    assert_true(client->ended);
    assert_int_equal(client->error, 0);
    assert_int_equal(rig.worker->figures.lingered, 1);
    assert_int_equal(rig.worker->figures.closed, 0);
    rig_send(&rig, client, "more of it");
    rig_run(&rig, 10);
    assert_int_equal(client->error, 0);
    rig_drop(&rig, client, false);
    rig_run(&rig, 10);
    assert_int_equal(rig.worker->figures.closed, 1);
}

static void test_linger_is_bounded_in_time(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, "NONSENSE\r\n\r\n");
    rig_run(&rig, CONN_LINGER_MS + 1000);
    assert_int_equal(rig.worker->figures.closed, 1);
    assert_true(client->ended);
}

static void test_linger_is_bounded_in_bytes(void **state) {
    (void)state;
    static char junk[256 * 1024];
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, "NONSENSE\r\n\r\n");
    rig_run(&rig, 10);
    for (int i = 0; i < 16 && !client->error; i++) {
        assert_int_equal(rig.worker->figures.closed, 0);
        rig_send_bytes(&rig, client, junk, sizeof junk);
        rig_run(&rig, 20);
    }
    assert_int_equal(rig.worker->figures.closed, 1);
}

static void test_streamed_body(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    static char piece[5000];
    memset(piece, 'x', sizeof piece);
    rig_send(&rig, client, "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        rig_send_bytes(&rig, client, piece, sizeof piece);
        rig_run(&rig, 1);
    }
    rig_send(&rig, client, GET("/ok"));
    rig_run(&rig, 100);
    assert_has(client->text, "\r\n\r\n500000HTTP/1.1 200 OK");
    assert_has(client->text, "\r\n\r\nok");
}

static void test_refused_piece(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nfine so far");
    rig_run(&rig, 10);
    rig_send(&rig, client, "but this is not!");
    rig_run(&rig, 10);
    assert_has(client->text, "HTTP/1.1 400 Bad Request");
    assert_has(client->text, "Connection: close");
    assert_true(client->ended);
    assert_int_equal(client->error, 0);
    assert_int_equal(rig.worker->figures.lingered, 1);
}

static void test_refused_with_an_answer(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/ok") "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfirst");
    rig_run(&rig, 10);
    assert_has(client->text, "\r\n\r\nokHTTP/1.1 422 Unprocessable Content\r\n");
    assert_has(client->text, "\r\n\r\nnot like this");
    assert_has(client->text, "Connection:      close\r\n"); /* RFC 9112 §9.6 */
    assert_true(client->ended);
}

static int open_short_pipeline(void **state) {
    (void)state;
    rig_open(&rig, &app, "--pipeline 2");
    return 0;
}

/* With two in flight nothing more is read, and nothing is lost. */
static void test_full_pipeline(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/20") GET("/nap/20") GET("/nap/20") GET("/nap/20") GET("/ok"));
    rig_run(&rig, 10);
    assert_int_equal(rig.worker->pools[PLAN_EXCHANGES].low_water, rig.worker->pools[PLAN_EXCHANGES].count - 2);
    rig_send(&rig, client, GET("/ok"));
    rig_run(&rig, 100);
    assert_int_equal(count_of(client->text, "200 OK"), 6);
    assert_int_equal(rig.worker->pools[PLAN_EXCHANGES].low_water, rig.worker->pools[PLAN_EXCHANGES].count - 2);
}

/* The end of the client's half that comes behind requests which don't fit yet. */
static void test_full_pipeline_and_half_close(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/20") GET("/nap/20") GET("/nap/20") GET("/nap/20") GET("/ok"));
    rig_end(&rig, client);
    rig_run(&rig, 200);
    assert_int_equal(count_of(client->text, "200 OK"), 5);
    assert_true(client->ended);
    assert_int_equal(client->error, 0);
}

static int open_small_output(void **state) {
    (void)state;
    rig_open(&rig, &app, "--output-bytes 100K --write-timeout 3s");
    return 0;
}

/* A client that reads nothing: no more than the mark and one answer are ever waiting, whatever it asks for. */
static void test_output_is_bounded(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    for (int i = 0; i < 100; i++) {
        rig_send(&rig, client, GET("/large"));
    }
    rig_run(&rig, 100);
    const struct pool *blocks = &rig.worker->pools[PLAN_BLOCKS];
    uint32_t most = (100 * 1024 + 2 * 65 * 1024) / BLOCK_ROOM + 4;
    assert_true(blocks->count - blocks->low_water <= most);
    assert_true(blocks->count - blocks->free_count > 20); /* they do wait */
    ring_receive_mode(rig.clients_ring, client->id, RING_FREE);
    for (int i = 0; i < 200; i++) {
        rig_forget(client);
        rig_run(&rig, 1);
    }
    assert_int_equal(rig.worker->figures.responses[2], 100);
    assert_true(blocks->count - blocks->low_water <= most);
}

/* The same behind one that takes its time: answers that wait for their turn are output, too. */
static void test_output_in_line_is_bounded(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/20000"));
    for (int i = 0; i < 50; i++) {
        rig_send(&rig, client, GET("/large"));
    }
    rig_send(&rig, client, "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    rig_run(&rig, 100);
    const struct pool *blocks = &rig.worker->pools[PLAN_BLOCKS];
    uint32_t most = (100 * 1024 + 2 * 65 * 1024) / BLOCK_ROOM + 4;
    assert_true(blocks->count - blocks->low_water <= most);
    assert_true(blocks->count - blocks->free_count > 20); /* they do wait */
    rig_run(&rig, 20000);
    assert_int_equal(rig.worker->figures.responses[2], 52);
    assert_true(blocks->count - blocks->low_water <= most + 100 * 1024 / BLOCK_ROOM);
}

/* A body that is not read because such answers wait has no timeout. */
static void test_body_behind_output_in_line(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/20000") GET("/late-large") GET("/late-large"));
    rig_send(&rig, client, "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    rig_run(&rig, 200);
    rig_send(&rig, client, "bc");
    rig_run(&rig, 21000);
    assert_int_equal(count_of(client->text, "200 OK"), 4);
    assert_int_equal(count_of(client->text, " 408 "), 0);
}

static void test_write_timeout(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    rig_send(&rig, client, GET("/large") GET("/large") GET("/large") GET("/large"));
    rig_run(&rig, 3000);
    assert_int_equal(rig.worker->figures.closed, 0);
    rig_run(&rig, 1750); /* a first look after a quarter of it, and the grid */
    assert_int_equal(rig.worker->figures.timeouts[3], 1);
    assert_int_equal(rig.worker->figures.closed, 1);
}

static int open_short_timeouts(void **state) {
    (void)state;
    rig_open(&rig, &app, "--header-timeout 2s --body-timeout 3s --idle-timeout 5s");
    return 0;
}

static void test_idle_timeout(void **state) {
    (void)state;
    struct rig_client *silent = rig_connect(&rig), *client = rig_connect(&rig);
    rig_run(&rig, 4000);
    rig_send(&rig, client, GET("/ok"));
    rig_run(&rig, 2000);
    assert_true(silent->ended);
    assert_int_equal(silent->len, 0);
    assert_false(client->ended);
    rig_run(&rig, 4000);
    assert_true(client->ended);
    assert_int_equal(rig.worker->figures.timeouts[HTTP_PHASE_IDLE], 2);
}

/* From the first byte of the head, however slowly the others come: each gives no new time. */
static void test_header_timeout(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    const char *text = "GET /ok HTTP/1.1\r\nHost: a";
    for (int i = 0; i < 5; i++) {
        rig_send_bytes(&rig, client, text + i, 1);
        rig_run(&rig, 600);
    }
    assert_has(client->text, "HTTP/1.1 408 Request Timeout");
    assert_true(client->ended);
    assert_int_equal(rig.worker->figures.timeouts[HTTP_PHASE_HEAD], 1);
}

/* From one piece to the next. */
static void test_body_timeout(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        rig_run(&rig, 2000);
        rig_send(&rig, client, "piece");
    }
    assert_int_equal(client->len, 0);
    rig_run(&rig, 4000);
    assert_has(client->text, "HTTP/1.1 408 Request Timeout");
    assert_int_equal(rig.worker->figures.timeouts[HTTP_PHASE_BODY], 1);
}

/* A handler may take longer than any timeout. */
static void test_no_timeout_while_busy(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap/60000"));
    rig_run(&rig, 59000);
    assert_int_equal(client->len, 0);
    rig_run(&rig, 2000);
    assert_has(client->text, "200 OK");
    assert_false(client->ended);
    rig_run(&rig, 7000);
    assert_true(client->ended);
}

/* A pipelined head that is half there when its predecessor's is complete has a deadline of its own. */
static void test_each_head_has_its_time(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    for (int i = 0; i < 6; i++) {
        rig_send(&rig, client, i == 0 ? "GET /ok HTTP/1.1\r\n" : "Host: a\r\n\r\nGET /ok HTTP/1.1\r\n");
        rig_run(&rig, 1000);
    }
    assert_int_equal(count_of(client->text, "200 OK"), 5);
    assert_int_equal(count_of(client->text, "408"), 0);
}

static int open_few_slots(void **state) {
    (void)state;
    rig_open(&rig, &app, "--max-connections 3");
    return 0;
}

static void test_shed(void **state) {
    (void)state;
    struct rig_client *clients[3];
    for (int i = 0; i < 3; i++) {
        clients[i] = rig_connect(&rig);
    }
    rig_run(&rig, 10);
    struct rig_client *fourth = rig_connect(&rig);
    rig_send(&rig, fourth, GET("/ok"));
    rig_run(&rig, 10);
    assert_has(fourth->text, "HTTP/1.1 503 Service Unavailable\r\nDate: ");
    assert_has(fourth->text, "Retry-After: 1");
    assert_true(fourth->ended);
    assert_int_equal(fourth->error, 0);
    assert_int_equal(rig.worker->figures.shed, 1);
    /* All slots are taken now, the fourth lingers: the fifth waits in the backlog until one is free. */
    struct rig_client *fifth = rig_connect(&rig);
    rig_send(&rig, fifth, GET("/ok"));
    rig_run(&rig, 10);
    assert_int_equal(fifth->len, 0);
    assert_false(fifth->ended);
    rig_drop(&rig, fourth, false);
    rig_drop(&rig, clients[0], false);
    rig_run(&rig, 10);
    assert_has(fifth->text, "200 OK");
    assert_int_equal(rig.worker->figures.refused, 0);
}

/* The process has as many as it may have, though this worker has slots: another worker has them. */
static void test_process_is_full(void **state) {
    (void)state;
    rig.server.connections = rig.config.max_connections - 1;
    struct rig_client *last = rig_connect(&rig);
    rig_send(&rig, last, GET("/ok"));
    rig_run(&rig, 10);
    assert_has(last->text, "200 OK");
    struct rig_client *other = rig_connect(&rig);
    rig_run(&rig, 1100);
    assert_has(other->text, "HTTP/1.1 503 Service Unavailable\r\nDate: ");
    assert_has(other->text, "GMT\r\nConnection: close\r\nRetry-After: 1\r\n");
    assert_true(other->ended);
    rig_drop(&rig, last, false); /* who was turned away does not count, though it lingers */
    rig_run(&rig, 10);
    other = rig_connect(&rig);
    rig_send(&rig, other, GET("/ok"));
    rig_run(&rig, 10);
    assert_has(other->text, "200 OK");
    rig_drop(&rig, other, false);
    rig_run(&rig, 10);
    assert_int_equal(rig.server.connections, rig.config.max_connections - 1);
}

static void test_404_and_405_keep_the_connection(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/none") "POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" GET("/ok"));
    rig_run(&rig, 10);
    assert_has(client->text, "404 Not Found");
    assert_has(client->text, "405 Method Not Allowed");
    assert_has(client->text, "Allow: GET, HEAD");
    assert_has(client->text, "\r\n\r\nok");
    assert_false(client->ended);
}

static void test_large_body(void **state) {
    (void)state;
    static char body[600 * 1024];
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (char)('a' + i % 23);
    }
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 614400\r\n\r\n");
    rig_send_bytes(&rig, client, body, sizeof body);
    rig_run(&rig, 1000);
    const char *back = strstr(client->text, "\r\n\r\n");
    assert_non_null(back);
    assert_int_equal(client->len - (size_t)(back + 4 - client->text), sizeof body);
    assert_memory_equal(back + 4, body, sizeof body);
    assert_int_equal(rig.worker->pools[PLAN_BODIES].low_water, rig.worker->pools[PLAN_BODIES].count - 1);
}

/* An idle connection owns a slot and nothing else, and a thousand of them don't wake the worker. */
static void test_idle_costs_nothing(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        rig_send(&rig, rig_connect(&rig), GET("/ok"));
    }
    rig_run(&rig, 100);
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        const struct pool *pool = &rig.worker->pools[i];
        assert_int_equal(pool->count - pool->free_count, i == PLAN_CONNS ? 200 : 0);
    }
    uint64_t turns = ring_counters(rig.worker->ring)->turns;
    rig_run(&rig, 60000);
    assert_int_equal(rig.worker->figures.closed, 0);
    assert_true(ring_counters(rig.worker->ring)->turns - turns < 60 * 5);
}

#define TEST(name, open) cmocka_unit_test_setup_teardown(name, open, close_checked)

/* Each head has its own time, also behind a request that is answered without a handler. */
static void test_header_timeout_is_of_one_head(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, "GET /nowhere HT");
    rig_run(&rig, 1500);
    rig_send(&rig, client, "TP/1.1\r\nHost: a\r\n\r\nGET /ok HT");
    rig_run(&rig, 1500);
    rig_send(&rig, client, "TP/1.1\r\nHost: a\r\n\r\n");
    rig_run(&rig, 100);
    assert_has(client->text, "404 Not Found");
    assert_has(client->text, "200 OK");
}

static int open_short_output(void **state) {
    (void)state;
    rig_open(&rig, &app, "--header-timeout 1s --output-bytes 4K");
    return 0;
}

/* While output waits for a client that reads slowly nothing is read from it: a head that has begun has its time afterwards. */
static void test_header_timeout_behind_output(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    client->slow = true;
    rig_send(&rig, client, GET("/late-large") "GET /ok HT");
    rig_run(&rig, 2500);
    ring_receive_mode(rig.clients_ring, client->id, RING_FREE);
    rig_run(&rig, 800);
    rig_send(&rig, client, "TP/1.1\r\nHost: a\r\n\r\n");
    rig_run(&rig, 100);
    assert_int_equal(count_of(client->text, "200 OK"), 2);
    assert_int_equal(count_of(client->text, "408"), 0);
}

/* RFC 9112 §9.6: a refused request that waited for its turn, whose client is sending still, gets its answer, too. */
static void test_linger_behind_output(void **state) {
    (void)state;
    static char body[200000];
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/large") GET("/large") "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
    rig_run(&rig, 10);
    assert_has(client->text, "413 Content Too Large");
    assert_true(client->ended);
    assert_int_equal(rig.worker->figures.lingered, 1);
    rig_send_bytes(&rig, client, body, sizeof body);
    rig_run(&rig, 10);
    assert_int_equal(client->error, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive, open_plain),
        TEST(test_pipeline_is_one_send, open_plain),
        TEST(test_byte_by_byte, open_plain),
        TEST(test_parked_answers_in_order, open_plain),
        TEST(test_client_leaves_while_parked, open_plain),
        TEST(test_half_close, open_plain),
        TEST(test_connection_close, open_plain),
        TEST(test_error_lingers, open_plain),
        TEST(test_linger_is_bounded_in_time, open_plain),
        TEST(test_linger_is_bounded_in_bytes, open_plain),
        TEST(test_streamed_body, open_plain),
        TEST(test_refused_piece, open_plain),
        TEST(test_refused_with_an_answer, open_plain),
        TEST(test_full_pipeline, open_short_pipeline),
        TEST(test_full_pipeline_and_half_close, open_short_pipeline),
        TEST(test_output_is_bounded, open_small_output),
        TEST(test_output_in_line_is_bounded, open_small_output),
        TEST(test_body_behind_output_in_line, open_small_output),
        TEST(test_write_timeout, open_small_output),
        TEST(test_idle_timeout, open_short_timeouts),
        TEST(test_header_timeout, open_short_timeouts),
        TEST(test_body_timeout, open_short_timeouts),
        TEST(test_no_timeout_while_busy, open_short_timeouts),
        TEST(test_each_head_has_its_time, open_short_timeouts),
        TEST(test_header_timeout_is_of_one_head, open_short_timeouts),
        TEST(test_linger_behind_output, open_small_output),
        TEST(test_header_timeout_behind_output, open_short_output),
        TEST(test_shed, open_few_slots),
        TEST(test_process_is_full, open_plain),
        TEST(test_404_and_405_keep_the_connection, open_plain),
        TEST(test_large_body, open_plain),
        TEST(test_idle_costs_nothing, open_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
