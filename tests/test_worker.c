/* The worker's life: serving, draining, its clock; and whole servers under faults, the same seed twice. */
#include "server_rig.h"

static struct rig rig;

static enum rm_step ok(struct rm_exchange *x) {
    return rm_text(x, 200, "ok");
}

static enum rm_step echo(struct rm_exchange *x) {
    return rm_bytes(x, 200, "text/plain", rm_body(x));
}

static enum rm_step slept(struct rm_exchange *x) {
    return rm_text(x, 200, "slept");
}

static enum rm_step nap(struct rm_exchange *x) {
    rm_sleep(x, 300 * NS_PER_MS);
    rm_then(x, slept);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { "GET", "/ok", ok, RM_BODY_NONE, NULL },
    { "GET", "/nap", nap, RM_BODY_NONE, NULL },
    { "POST", "/echo", echo, RM_BODY_BUFFERED, NULL },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_plain(void **state) {
    (void)state;
    rig_open(&rig, &app, "--drain-timeout 2s");
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

static void test_drain(void **state) {
    (void)state;
    struct rig_client *idle = rig_connect(&rig), *busy = rig_connect(&rig), *fresh = rig_connect(&rig);
    rig_send(&rig, idle, GET("/ok"));
    rig_send(&rig, busy, GET("/ok") GET("/nap") GET("/nap"));
    rig_run(&rig, 50);
    server_drain(&rig.server, 1);
    rig_run(&rig, 50);
    assert_false(idle->ended); /* a request may be on its way: RFC 9112 §9.6 */
    assert_false(fresh->ended);
    assert_false(busy->ended);
    struct rig_client *late = rig_connect(&rig);
    rig_run(&rig, 50);
    assert_true(late->error < 0); /* refused */
    rig_run(&rig, 300);
    assert_true(idle->ended);
    assert_true(fresh->ended);
    assert_int_equal(idle->error, 0);
    rig_drop(&rig, idle, false);
    rig_drop(&rig, fresh, false);
    assert_has(busy->text, "Connection: close");
    assert_has(busy->text, "slept");
    assert_int_equal(count_of(busy->text, "200 OK"), 3); /* all were asked before the drain */
    assert_int_equal(count_of(busy->text, "Connection: close"), 1);
    assert_true(busy->ended);
    assert_int_equal(busy->error, 0);
    assert_false(rig.worker_gone); /* it may have sent more before it knew */
    rig_drop(&rig, busy, false);
    rig_run(&rig, 10);
    assert_true(rig.worker_gone);
}

/* RFC 9112 §9.6: what an idle client sends while the drain begins is answered, and told to be the last; what crosses our FIN
 * is dropped without a reset, so that the client may repeat it elsewhere. */
static void test_drain_answers_what_is_on_its_way(void **state) {
    (void)state;
    struct rig_client *quick = rig_connect(&rig), *slow = rig_connect(&rig);
    rig_send(&rig, quick, GET("/ok"));
    rig_run(&rig, 50);
    rig_forget(quick);
    server_drain(&rig.server, 1);
    rig_run(&rig, 100);
    rig_send(&rig, quick, GET("/ok"));
    rig_run(&rig, 20);
    assert_has(quick->text, "200 OK");
    assert_has(quick->text, "Connection: close");
    rig_run(&rig, 250);
    assert_true(slow->ended);
    rig_send(&rig, slow, GET("/ok"));
    rig_run(&rig, 20);
    assert_int_equal(slow->len, 0);
    assert_int_equal(slow->error, 0);
    rig_drop(&rig, quick, false);
    rig_drop(&rig, slow, false);
    rig_run(&rig, 10);
    assert_true(rig.worker_gone);
}

/* Each for a time of its own: none ends before CONN_IDLE_DRAINING_MS, and all have ended when the spread is over, too. */
static void test_drain_leaves_idle_clients_their_time(void **state) {
    (void)state;
    struct rig_client *idle[64];
    for (int i = 0; i < 64; i++) {
        idle[i] = rig_connect(&rig);
    }
    rig_run(&rig, 50);
    server_drain(&rig.server, 1);
    rig_run(&rig, CONN_IDLE_DRAINING_MS - 2);
    for (int i = 0; i < 64; i++) {
        assert_false(idle[i]->ended);
    }
    rig_run(&rig, CONN_IDLE_SPREAD_MS + 20);
    for (int i = 0; i < 64; i++) {
        assert_true(idle[i]->ended);
        rig_drop(&rig, idle[i], false);
    }
    rig_run(&rig, 10);
    assert_true(rig.worker_gone);
}

/* A client that never closes its end does not hold up the drain for long. */
static void test_drain_and_a_passive_client(void **state) {
    (void)state;
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/nap"));
    rig_run(&rig, 50);
    server_drain(&rig.server, 1);
    rig_run(&rig, 300);
    assert_has(client->text, "slept");
    rig_run(&rig, 500 + 500); /* and the grid of the timers */
    assert_true(rig.worker_gone);
    assert_int_equal(client->error, 0);
}

static void test_drain_timeout(void **state) {
    (void)state;
    struct rig_client *half = rig_connect(&rig);
    rig_send(&rig, half, "GET /ok HT");
    rig_run(&rig, 50);
    server_drain(&rig.server, 1);
    rig_run(&rig, 1900);
    assert_false(rig.worker_gone); /* it may send the rest */
    rig_run(&rig, 200);
    assert_true(rig.worker_gone);
}

static void test_drain_answers_half_requests(void **state) {
    (void)state;
    struct rig_client *half = rig_connect(&rig);
    rig_send(&rig, half, "GET /ok HT");
    rig_run(&rig, 50);
    server_drain(&rig.server, 1);
    rig_run(&rig, 100);
    rig_send(&rig, half, "TP/1.1\r\nHost: a\r\n\r\n");
    rig_run(&rig, 100);
    assert_has(half->text, "200 OK");
    assert_has(half->text, "Connection: close");
    assert_true(half->ended);
    rig_drop(&rig, half, false);
    rig_run(&rig, 10);
    assert_true(rig.worker_gone);
}

static void test_empty_worker_drains_at_once(void **state) {
    (void)state;
    server_drain(&rig.server, 1);
    rig_run(&rig, 20);
    assert_true(rig.worker_gone);
}

/* The simulator's clocks start in 2026. */
static void test_date(void **state) {
    (void)state;
    const char *first = strstr(rig_ask(&rig, GET("/ok")), "\r\nDate: ");
    assert_non_null(first);
    assert_non_null(strstr(first, " 2026 "));
    rig_run(&rig, 5000);
    const char *second = strstr(rig_ask(&rig, GET("/ok")), "\r\nDate: ");
    assert_non_null(second);
    assert_memory_not_equal(first, second, 8 + HTTP_DATE_BYTES);
}

/* No two workers share a cache line, wherever they are. */
static void test_alignment(void **state) {
    (void)state;
    assert_int_equal(sizeof(struct worker) % WORKER_ALIGN, 0);
    assert_int_equal((uintptr_t)rig.worker % WORKER_ALIGN, 0);
}

static void test_seal(void **state) {
    (void)state;
    assert_true(rig.worker->slab.sealed);
    assert_true(rig.worker->slab.used <= rig.worker->slab.bytes);
    assert_true(rig.worker->slab.bytes - rig.worker->slab.used < 4096);
}

/* ------------------------------------------------------------------------------------------- most recently used ---- */

static const void *ran; /* the exchange that ran last */

static enum rm_step who(struct rm_exchange *x) {
    ran = x;
    return rm_text(x, 200, "ok");
}

static const struct rm_route who_routes[] = { { "GET", "/who", who }, { 0 } };
static const struct rm_app who_app = { .name = "test", .routes = who_routes };

static const struct conn_state *newest(void) {
    return LIST_OWNER(rig.worker->open.prev, struct conn_state, open);
}

/* A client comes, asks, and is told in `*conn` and `*x` what memory served it. */
static struct rig_client *visit(const struct conn_state **conn, const void **x) {
    struct rig_client *client = rig_connect(&rig);
    ran = NULL;
    rig_send(&rig, client, GET("/who"));
    rig_run(&rig, 5);
    assert_has(client->text, "200 OK");
    *conn = newest();
    *x = ran;
    return client;
}

static void leave(struct rig_client *client) {
    rig_drop(&rig, client, false);
    rig_run(&rig, 5);
}

/* Who comes next gets what was used last, which is in the caches still: connections in the reverse order of their closing,
 * exchanges always the same one while one is enough. */
static void test_most_recently_used_first(void **state) {
    (void)state;
    enum { MANY = 4 };
    const struct conn_state *conns[MANY], *again;
    const void *xs[MANY], *x;
    struct rig_client *clients[MANY];
    rig_open(&rig, &who_app, "");
    for (int i = 0; i < MANY; i++) {
        clients[i] = visit(&conns[i], &xs[i]);
        assert_ptr_equal(xs[i], xs[0]);
    }
    static const int order[MANY] = { 2, 0, 3, 1 };
    for (int i = 0; i < MANY; i++) {
        leave(clients[order[i]]);
    }
    for (int i = MANY; i-- > 0;) {
        clients[i] = visit(&again, &x);
        assert_ptr_equal(again, conns[order[i]]);
        assert_ptr_equal(x, xs[0]);
    }
    leave(clients[1]);
    for (int i = 0; i < 100; i++) { /* one that comes and goes has one slot, however many are free */
        leave(visit(&again, &x));
        assert_ptr_equal(again, conns[order[1]]);
        assert_ptr_equal(x, xs[0]);
    }
    assert_int_equal(rig.worker->pools[PLAN_CONNS].fresh, MANY);
    assert_int_equal(rig.worker->pools[PLAN_EXCHANGES].fresh, 1);
    rig_close(&rig);
}

/* ----------------------------------------------------------------------------------------------------- hooks ---- */

static char happened[64]; /* a letter for each call */
static int hook_code;

static void note(char letter) {
    happened[strlen(happened)] = letter;
}

static void beat(struct rm_timer *timer, void *arg) {
    (void)timer, (void)arg;
    if (strchr(happened, 'b') == NULL) {
        note('b');
    }
}

static int hook_start(struct rm_worker *worker) {
    assert_int_equal(rm_worker_index(worker), 0);
    assert_int_equal(rm_workers(worker), 1);
    assert_null(rm_worker_state(worker));
    rm_set_worker_state(worker, happened);
    assert_non_null(rm_every(worker, 10 * NS_PER_MS, beat, NULL));
    assert_int_equal(worker_unwrap(worker)->listener_count, 0); /* nobody can connect yet */
    note('s');
    return hook_code;
}

static void hook_stop(struct rm_worker *worker) {
    assert_ptr_equal(rm_worker_state(worker), happened);
    note('e');
}

static void slow_job(void *arg) {
    (void)arg;
    note('j');
}

static enum rm_step with_job(struct rm_exchange *x) {
    assert_ptr_equal(rm_worker_state(rm_worker(x)), happened);
    note('r');
    rm_offload(x, slow_job, NULL);
    rm_then(x, ok);
    return RM_PARK;
}

static const struct rm_route hook_routes[] = { { "GET", "/job", with_job, RM_BODY_NONE, NULL }, { 0 } };
static const struct rm_app hook_app = {
    .name = "test", .routes = hook_routes, .worker_start = hook_start, .worker_stop = hook_stop
};

/* Start, a beat without a client, a request, its job, and the end, which comes after all of them. */
static void test_hooks(void **state) {
    (void)state;
    memset(happened, 0, sizeof happened);
    hook_code = 0;
    rig_open(&rig, &hook_app, "");
    assert_string_equal(happened, "s");
    rig_run(&rig, 50);
    assert_string_equal(happened, "sb");
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/job"));
    rig_run(&rig, 50);
    assert_has(client->text, "\r\n\r\nok");
    rig_close(&rig);
    assert_string_equal(happened, "sbrje");
}

/* It says no: worker_open fails with its code, nothing is left open, and there is nothing to stop. */
static void test_hook_fails(void **state) {
    (void)state;
    memset(happened, 0, sizeof happened);
    hook_code = 0;
    rig_open(&rig, &hook_app, "");
    char why[CONFIG_WHY_BYTES];
    worker_release(rig.worker);
    assert_string_equal(happened, "se");
    hook_code = EXIT_CONFIG;
    assert_int_equal(worker_open(rig.worker, &rig.server, 0, why), EXIT_CONFIG);
    assert_string_equal(why, "worker_start of worker 0 returned 78");
    assert_string_equal(happened, "ses");
    assert_null(rig.worker->ring);
    hook_code = 0;
    assert_int_equal(worker_open(rig.worker, &rig.server, 0, why), EXIT_FINE);
    rig_close(&rig);
    assert_string_equal(happened, "sesse");
}

/* ---------------------------------------------------------------------------------------------- under faults ---- */

static uint64_t draw(uint64_t *random) {
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

static void send_something(struct rig_client *client, uint64_t *random, unsigned *asked) {
    static char text[9000];
    switch (draw(random) % 4) {
    case 0:
        rig_send(&rig, client, GET("/ok") GET("/ok"));
        *asked += 2;
        break;
    case 1:
        rig_send(&rig, client, GET("/nap"));
        *asked += 1;
        break;
    case 2: {
        int body = (int)(draw(random) % 8000);
        int head = snprintf(text, sizeof text, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", body);
        memset(text + head, 'e', (size_t)body);
        rig_send_bytes(&rig, client, text, (size_t)(head + body));
        *asked += 1;
        break;
    }
    default:
        rig_send(&rig, client, GET("/nowhere"));
        *asked += 1;
        break;
    }
}

/* Clients that send, wait, leave and come; returns the trace of the world. */
static uint64_t storm(uint64_t seed, const struct sim_options *options, bool breaking) {
    rig_open_world(&rig, &app, "--drain-timeout 5s --pipeline 4 --output-bytes 8K", seed, options);
    uint64_t random = seed;
    for (int i = 0; i < 40; i++) {
        struct rig_client *client = rig_connect(&rig);
        unsigned asked = 0;
        for (int n = 0; n < 4; n++) {
            send_something(client, &random, &asked);
            rig_run(&rig, draw(&random) % 40);
        }
        if (breaking) {
            if (draw(&random) % 2 == 0) {
                rig_drop(&rig, client, draw(&random) % 2 == 0);
            }
        } else {
            rig_run(&rig, 5000);
            assert_int_equal(client->error, 0);
            assert_int_equal(count_of(client->text, "HTTP/1.1 "), asked);
        }
    }
    server_drain(&rig.server, 1);
    rig_run(&rig, 20000);
    assert_true(rig.worker_gone);
    return sim_trace(rig.world);
}

/* Delays, splits, short sends, missing buffers: every request is answered. */
static void test_calm_storm(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_options options;
        sim_options_calm(&options);
        storm(seed, &options, false);
        rig_close(&rig);
    }
}

/* Resets, refusals, exhaustion, clock jumps: nothing breaks but what was broken, and a seed repeats. */
static void test_rough_storm(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct sim_options options;
        sim_options_rough(&options);
        uint64_t first = storm(seed, &options, true);
        rig_close(&rig);
        uint64_t second = storm(seed, &options, true);
        rig_close(&rig);
        assert_int_equal(first, second);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_plain, close_rig)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_drain),
        TEST(test_drain_answers_what_is_on_its_way),
        TEST(test_drain_leaves_idle_clients_their_time),
        TEST(test_drain_and_a_passive_client),
        TEST(test_drain_timeout),
        TEST(test_drain_answers_half_requests),
        TEST(test_empty_worker_drains_at_once),
        TEST(test_date),
        TEST(test_alignment),
        TEST(test_seal),
        cmocka_unit_test(test_most_recently_used_first),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_hook_fails),
        cmocka_unit_test(test_calm_storm),
        cmocka_unit_test(test_rough_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
