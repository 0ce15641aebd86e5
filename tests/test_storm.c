/* Everything that an exchange can wait for, at once and at random, under faults: clients leave, descriptors come and go, jobs
 * are late, pools are small. Nothing crashes, nothing is lost, all is given back, and a seed repeats.
 *
 * usage: test_storm [FIRST_SEED [SEEDS]] */
#include "server_rig.h"

enum { DESCRIPTORS = 6, CLIENTS = 30, STEPS_MAX = 5 };

static struct rig rig;
static uint64_t random_state;
static int fds[DESCRIPTORS];
static unsigned finished, cut_short; /* exchanges that came to their end; ends that they were told */
static unsigned lent, returned;     /* things that responses were lent */

static uint64_t draw(uint64_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % n;
}

static void job(void *arg) {
    *(int *)arg += 1;
}

struct course {
    int steps_left;
    int jobs_begun, jobs_done;
    bool streaming;
};

static enum rm_step go_on(struct rm_exchange *x);

static char text[3000];

static void take_back(void *arg) {
    assert_ptr_equal(arg, text);
    returned++;
}

static enum rm_step finish(struct rm_exchange *x, struct course *course) {
    assert_int_equal(course->jobs_begun, course->jobs_done);
    finished++;
    if (!course->streaming && draw(2) == 0) {
        lent++;
        return rm_lend(x, 200, "text/plain", (struct span){ text, draw(sizeof text) }, take_back, text);
    }
    if (!course->streaming) {
        return rm_text(x, 200, "fine");
    }
    if (draw(8) == 0) {
        rm_abort(x);
    }
    return RM_DONE;
}

/* What was begun may not be there: then it is 503, and the handler does not go on. */
static void start_something(struct rm_exchange *x, struct course *course) {
    switch (draw(5)) {
    case 0: rm_sleep(x, draw(20) * NS_PER_MS); break;
    case 1: rm_wait_fd(x, fds[draw(DESCRIPTORS)], 1 + (unsigned)draw(3)); break;
    case 2: rm_flush(x); break;
    case 3:
        course->jobs_begun += rig.worker->pools[PLAN_OFFLOADS].free_count > 0;
        rm_offload(x, job, &course->jobs_done);
        break;
    default: rm_sleep(x, 0); break;
    }
}

static enum rm_step ended(struct rm_exchange *x) {
    struct course *course = rm_state(x);
    assert_true(rm_ended(x) != 0);
    cut_short++;
    return draw(3) == 0 ? go_on(x) : finish(x, course);
}

static void write_something(struct rm_exchange *x, const struct course *course) {
    struct span part = { text, draw(sizeof text) };
    if (course->streaming && draw(3) == 0) {
        lent++;
        rm_write_lent(x, part, take_back, text);
    } else if (course->streaming) {
        rm_write(x, part);
    }
}

static enum rm_step go_on(struct rm_exchange *x) {
    struct course *course = rm_state(x);
    assert_int_equal(course->jobs_begun, course->jobs_done);
    write_something(x, course);
    if (course->steps_left-- == 0) {
        return finish(x, course);
    }
    for (uint64_t n = 1 + draw(3); n > 0; n--) {
        start_something(x, course);
    }
    rm_then(x, go_on);
    if (draw(2) == 0) {
        rm_on_end(x, draw(4) == 0 ? NULL : ended);
    }
    return RM_PARK;
}

static enum rm_step any(struct rm_exchange *x) {
    struct course *course = rm_alloc(x, sizeof *course);
    assert_non_null(course);
    course->steps_left = (int)draw(STEPS_MAX);
    rm_set_state(x, course);
    if (draw(2) == 0) {
        course->streaming = true;
        rm_stream(x, 200, "text/plain");
    }
    return go_on(x);
}

static const struct rm_route routes[] = { { "GET", "/any", any, RM_BODY_NONE, NULL }, { 0 } };
static const struct rm_app app = { .name = "test", .routes = routes };

/* Dead for good is none: it comes back, as a new file with the same number would. */
static void change_descriptors(void) {
    static const uint32_t states[] = { 0, RM_READABLE, RM_WRITABLE, RM_READABLE | RM_WRITABLE, RM_HANGUP, RM_ERROR };
    for (int i = 0; i < DESCRIPTORS; i++) {
        sim_set_ready(rig.world, fds[i], states[draw(sizeof states / sizeof states[0])]);
    }
}

static const char *const requests[] = {
    GET("/any"),
    GET("/any") GET("/any") GET("/any"),
    "HEAD /any HTTP/1.1\r\nHost: a\r\n\r\n" GET("/any"),
    GET("/any") "GET /any HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET("/any"),
};

static void act(struct rig_client *client) {
    switch (draw(8)) {
    case 0: rig_drop(&rig, client, true); break;
    case 1: rig_drop(&rig, client, false); break;
    case 2:
        if (!client->closed && client->connected && !client->sending && !client->error) {
            rig_end(&rig, client);
            client->closed = true; /* nothing more is sent by it */
        }
        break;
    default:
        if (!client->closed) {
            rig_send(&rig, client, requests[draw(sizeof requests / sizeof requests[0])]);
        }
        break;
    }
}

/* All clients leave; what is parked comes to its end, because descriptors change and time passes. */
static void calm_down(void) {
    for (uint32_t i = 0; i < rig.client_count; i++) {
        rig.clients[i].closed ? (void)0 : rig_drop(&rig, &rig.clients[i], true);
    }
    for (int i = 0; i < 2000 && !(list_empty(&rig.worker->parked) && list_empty(&rig.worker->due)); i++) {
        change_descriptors();
        rig_run(&rig, 10);
    }
    rig_run(&rig, 20000);
    assert_nothing_taken(&rig);
    server_drain(&rig.server, 1);
    rig_run(&rig, 5000);
    assert_true(rig.worker_gone);
}

static uint64_t storm(uint64_t seed) {
    struct sim_options options;
    sim_options_rough(&options);
    random_state = seed;
    options.job_delay_ns_max = draw(2) * 5 * NS_PER_MS;
    lent = returned = 0;
    memset(text, 's', sizeof text);
    rig_open_world(&rig, &app, "--watches 5 --offloads 4 --output-bytes 8K --write-timeout 2s --drain-timeout 60s", seed,
                   &options);
    for (int i = 0; i < DESCRIPTORS; i++) {
        fds[i] = sim_descriptor(rig.world);
    }
    for (int i = 0; i < CLIENTS; i++) {
        struct rig_client *client = rig_connect(&rig);
        client->slow = draw(6) == 0;
        for (int n = 0; n < 4; n++) {
            act(&rig.clients[draw(rig.client_count)]);
            change_descriptors();
            rig_run(&rig, draw(10));
        }
    }
    if (draw(3) == 0) {
        server_drain(&rig.server, 1); /* the worker has parked exchanges when it ends, or not */
        rig_run(&rig, draw(3000));
    } else {
        calm_down();
    }
    return sim_trace(rig.world);
}

static void close_rig(void) {
    rig_close(&rig);
    assert_int_equal(lent, returned);
}

static uint64_t first_seed = 1, seeds = 60;

static void test_storm(void **state) {
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        uint64_t first = storm(seed);
        close_rig();
        uint64_t second = storm(seed);
        close_rig();
        if (first != second) {
            fail_msg("seed %lu does not repeat", (unsigned long)seed);
        }
    }
    assert_true(finished > 10 * seeds); /* it was a storm */
    assert_true(cut_short > seeds);
}

int main(int argc, char **argv) {
    first_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : first_seed;
    seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : seeds;
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_storm) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
