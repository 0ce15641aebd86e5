/* Whole servers on the simulator, one for each seed: see whole.h.
 *
 *     test_whole                      500 seeds, then whether the judge sees what is spoiled, and whether a seed repeats
 *     test_whole --seeds N [--from S] N seeds from S on, and what they came to
 *     test_whole --seed S [--trace]   one of them, with what happens
 *     test_whole --mutate NAME ...    spoils one thing in each run: flip, drop, swap, leak */
#include "whole.h"

#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/slab.h"
#include "server/db.h"
#include "server/log.h"

enum { SEEDS = 500, REPEATED_SEEDS = 20, TURNS_MAX = 3000000 };

#define FIRST_SEED UINT64_C(0x5eed0000)
#define RUN_NS_MAX (600 * NS_PER_SECOND)   /* of virtual time, until all clients have gone */
#define QUIET_NS_MAX (30 * NS_PER_SECOND)  /* and from then on until nothing is left */
#define DRAIN_SLACK_NS (600 * NS_PER_MS)

static struct whole whole;

/* ------------------------------------------------------------------------------------------------------- leaving ---- */

void whole_fail(struct whole *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(w->why, sizeof w->why, format, args);
    va_end(args);
    longjmp(w->leave, 1);
}

void whole_trace(struct whole *w, const char *format, ...) {
    if (!w->trace) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%12.6f ", (double)(whole_now(w) - 1000 * NS_PER_SECOND) / 1e9);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

static const char *const mutations[WHOLE_MUTATIONS] = { "", "flip", "drop", "swap", "leak" };

static void print_replay(const struct whole *w, int fd) {
    char line[160];
    int len = snprintf(line, sizeof line, "to see it again: tests/test_whole --seed 0x%" PRIx64 "%s%s --trace\n", w->seed,
                       w->mutation != WHOLE_SOUND ? " --mutate " : "", mutations[w->mutation]);
    (void)!write(fd, line, (size_t)len);
}

/* An assertion has failed. */
static void on_abort(int number) {
    print_replay(&whole, STDERR_FILENO);
    signal(number, SIG_DFL);
    raise(number);
}

/* A sanitizer has found something; there is none in most builds. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void on_finding(void) {
    print_replay(&whole, STDERR_FILENO);
}

/* --------------------------------------------------------------------------------------------------------- worlds ---- */

static uint32_t one_of(struct random *random, const uint32_t *values, uint32_t n) {
    return values[random_below(random, n)];
}
#define DRAW(random, ...) \
    one_of((random), (const uint32_t[]){ __VA_ARGS__ }, sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static uint64_t draw_ns(struct random *random, uint32_t low_ms, uint32_t high_ms) {
    return whole_between(random, low_ms, high_ms) * NS_PER_MS;
}

static void draw_config(struct whole *w) {
    struct random *random = &w->random;
    struct config *config = &w->config;
    config_default(config);
    config->io = RING_SIM;
    config->workers = 1;
    config->listen_count = 1;
    if (!ring_address_parse(SPAN("127.0.0.1:8080"), &config->listen[0])) {
        whole_fail(w, "no address");
    }
    config->max_connections = DRAW(random, 64, 64, 40, 10, 3);
    config->limits.request_line_bytes = DRAW(random, 8192, 8192, 300, 1000);
    config->limits.header_bytes = DRAW(random, 16384, 16384, 1200, 4000);
    config->limits.fields = DRAW(random, 100, 100, 14, 30);
    config->limits.pipeline = DRAW(random, 64, 64, 16, 4, 2, 1);
    config->limits.body_bytes = DRAW(random, 100000, 100000, 20000, 3000);
    config->body_buffers = DRAW(random, 8, 8, 1);
    config->output_bytes = DRAW(random, 256 * 1024, 256 * 1024, 20000, 4096);
    config->header_timeout_ns = draw_ns(random, 200, 3000);
    config->body_timeout_ns = draw_ns(random, 200, 3000);
    config->write_timeout_ns = draw_ns(random, 500, 3000);
    config->idle_timeout_ns = draw_ns(random, 500, 4000);
    config->drain_timeout_ns = draw_ns(random, 300, 5000);
    config->watches = DRAW(random, 16, 16, 2, 1);
    config->offloads = DRAW(random, 64, 64, 3);
    config->tuning.buffers = DRAW(random, 64, 64, 4, 1);
    config->tuning.buffer_bytes = DRAW(random, 4096, 4096, 512, 16384, 64);
}

/* One seed in four sends without a copy: the simulator asserts that no block is used again before its SENT. These draws are by
 * themselves, so that the others stay as they are. */
static void draw_zero_copy(struct whole *w) {
    struct random random = { w->seed ^ UINT64_C(0x2e20c097) };
    if (random_below(&random, 4) != 0) {
        return;
    }
    w->config.tuning.send_zc = DRAW(&random, 1, 64, 1000, 4096, 16384);
    w->config.tuning.slab_bytes = DRAW(&random, 4096, 65536, 4 << 20);
    w->faults.notice_delay_ns_max = DRAW(&random, 0, 200000, 5000000, 40000000);
}

static void draw_faults(struct whole *w) {
    struct random *random = &w->random;
    struct sim_options *faults = &w->faults;
    sim_options_calm(faults);
    if (!whole_chance(random, 25)) {
        sim_options_rough(faults);
    }
    faults->connections_max = 2 * WHOLE_CLIENTS_MAX + 2 * PG_CONNS_MAX;
    faults->sndbuf_bytes = DRAW(random, 64 * 1024, 64 * 1024, 9000, 700);
    if (whole_chance(random, 15)) {
        faults->emfile_ppm = 200000;
        faults->emfile_ns = 30 * NS_PER_MS;
    }
    if (whole_chance(random, 15)) {
        faults->refuse_ppm = 100000;
    }
    w->breaking = whole_chance(random, 15);
    faults->reset_ppm = w->breaking ? 3000 : 0;
    w->jumping = whole_chance(random, 15);
    if (w->jumping) {
        faults->jump_ppm = DRAW(random, 100, 1000, 5000);
        faults->jump_ns_max = draw_ns(random, 1, 2000);
    }
}

/* Fewer items in some pools than the plan would have. */
static void shrink_plan(struct whole *w) {
    static const struct {
        enum plan_part part;
        uint32_t low, high;
    } rows[] = {
        { PLAN_EXCHANGES, 1, 20 }, { PLAN_WAITS, 1, 10 },  { PLAN_BLOCKS, 4, 100 },
        { PLAN_SEGMENTS, 1, 3 },   { PLAN_CARRIES, 1, 5 }, { PLAN_BODIES, 1, 2 },
        { PLAN_OFFLOADS, 1, 2 },
    };
    struct plan *plan = &w->server.plan;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t count = whole_between(&w->random, rows[i].low, rows[i].high);
        if (whole_chance(&w->random, 40) && plan->rows[rows[i].part].count > count) {
            plan->rows[rows[i].part].count = count;
        }
    }
    static const enum plan_part queries[] = { PLAN_QUERIES, PLAN_SESSIONS };
    for (size_t i = 0; i < 2 && w->db_on; i++) {
        if (whole_chance(&w->db_random, 40)) {
            plan->rows[queries[i]].count = whole_between(&w->db_random, 1, 6);
        }
    }
    plan->slab_bytes = 0;
    for (unsigned i = 0; i < PLAN_PARTS_COUNT; i++) {
        plan->slab_bytes += slab_round(plan_row_bytes(plan, (enum plan_part)i));
    }
}

static void trace_world(struct whole *w) {
    const struct config *config = &w->config;
    whole_trace(w, "line %u, fields %u and %u bytes, body %" PRIu64 ", pipeline %u, output %" PRIu64 " bytes",
                config->limits.request_line_bytes, config->limits.fields, config->limits.header_bytes, config->limits.body_bytes,
                config->limits.pipeline, config->output_bytes);
    whole_trace(w, "timeouts in ms: header %" PRIu64 ", body %" PRIu64 ", write %" PRIu64 ", idle %" PRIu64 ", drain %" PRIu64,
                config->header_timeout_ns / NS_PER_MS, config->body_timeout_ns / NS_PER_MS, config->write_timeout_ns / NS_PER_MS,
                config->idle_timeout_ns / NS_PER_MS, config->drain_timeout_ns / NS_PER_MS);
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        whole_trace(w, "%u %s", w->server.plan.rows[i].count, w->server.plan.rows[i].name);
    }
    whole_trace(w, "%u receive buffers of %u bytes, %u bytes of a socket, jumps of %" PRIu64 " ms, %u resets in a million",
                config->tuning.buffers, config->tuning.buffer_bytes, w->faults.sndbuf_bytes, w->faults.jump_ns_max / NS_PER_MS,
                w->faults.reset_ppm);
}

static void open_world(struct whole *w) {
    char why[CONFIG_WHY_BYTES];
    struct ring_report report;
    w->world = sim_world_new(random_next(&w->random), &w->faults);
    if (w->world == NULL) {
        whole_fail(w, "no memory for a world");
    }
    if (server_open(&w->server, &w->config, &whole_app, why) != EXIT_FINE) {
        whole_fail(w, "%s", why);
    }
    w->server_open = true;
    w->server.ring.world = w->world;
    whole_open_db(w);
    w->scarce = whole_chance(&w->random, 35);
    if (w->scarce) {
        shrink_plan(w);
    }
    w->worker = &w->server.workers[0];
    if (worker_open(w->worker, &w->server, 0, why) != EXIT_FINE) {
        whole_fail(w, "%s", why);
    }
    w->worker_open = true;
    if (worker_listen(w->worker, why) != EXIT_FINE) {
        whole_fail(w, "%s", why);
    }
    struct ring_config clients = { .choice = RING_SIM, .sockets_max = WHOLE_CLIENTS_MAX, .world = w->world };
    ring_tuning_default(&clients.tuning);
    if (ring_open(&clients, &w->ring, &report) != 0) {
        whole_fail(w, "%s", report.why);
    }
}

/* Descriptors that the application waits for, which are ready for a moment now and then. */
static void open_descriptors(struct whole *w) {
    whole_shared = (struct whole_shared){ 0 };
    for (int i = 0; i < WHOLE_FDS; i++) {
        whole_shared.fds[i] = sim_descriptor(w->world);
    }
    w->toggle_at_ns = whole_now(w) + 1;
}

static void toggle(struct whole *w) {
    if (whole_now(w) < w->toggle_at_ns) {
        return;
    }
    w->toggle_at_ns = whole_now(w) + 1 + random_next(&w->random) % (10 * NS_PER_MS);
    for (int i = 0; i < WHOLE_FDS; i++) {
        sim_set_ready(w->world, whole_shared.fds[i], whole_chance(&w->random, 50) ? RING_READABLE : 0);
    }
}

static void close_world(struct whole *w) {
    if (w->worker_open) {
        worker_release(w->worker);
    }
    if (w->server_open) {
        server_release(&w->server);
    }
    if (w->ring != NULL) {
        ring_release(w->ring);
    }
    whole_close_db(w);
    if (w->world != NULL) {
        sim_world_free(w->world);
    }
    for (uint32_t i = 0; i < w->client_count; i++) {
        free(w->clients[i].requests);
        free(w->clients[i].out);
        free(w->clients[i].in);
    }
}

static void draw_clients(struct whole *w) {
    uint32_t n = whole_chance(&w->random, 20) ? whole_between(&w->random, 1, WHOLE_CLIENTS_MAX) : whole_between(&w->random, 1, 8);
    if (whole_chance(&w->random, 35)) {
        w->drain_at_ns = whole_now(w) + draw_ns(&w->random, 0, whole_chance(&w->random, 50) ? 50 : 1500);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct whole_client *c = &w->clients[i];
        *c = (struct whole_client){ .w = w, .index = i, .random = { random_next(&w->random) } };
        w->client_count = i + 1;
        whole_draw_client(c);
    }
}

/* ------------------------------------------------------------------------------------------------------ the end ---- */

static bool pool_full(const struct worker *worker, unsigned i) {
    return worker->pools[i].free_count == worker->pools[i].count;
}

static bool pools_full(const struct worker *worker) {
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        if (!pool_full(worker, i)) {
            return false;
        }
    }
    return true;
}

/* Nothing is left of what the clients did. */
static bool quiet(const struct worker *worker) {
    uint32_t timers = timer_armed(&worker->drain_timer) ? 1 : 0;
    timers += worker->db != NULL && timer_armed(&worker->db->timer);
    bool parked = !list_empty(&worker->parked) || !list_empty(&worker->due);
    return worker->timers.count == timers && list_empty(&worker->open) && !parked && pools_full(worker);
}

static void demand_quiet(struct whole *w) {
    const struct worker *worker = w->worker;
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        if (!pool_full(worker, i)) {
            whole_fail(w, "%u of %u %s are missing", worker->pools[i].count - worker->pools[i].free_count,
                       worker->pools[i].count, worker->pools[i].name);
        }
    }
    if (!quiet(worker)) {
        whole_fail(w, "%u timers are armed, or connections are open, or requests are parked", worker->timers.count);
    }
}

static void demand_equal(struct whole *w, const char *what, uint64_t got, uint64_t want) {
    if (got != want) {
        whole_fail(w, "%s: %" PRIu64 " and not %" PRIu64, what, got, want);
    }
}

/* What the server and its ring say about themselves, when all is over. */
static void demand_figures(struct whole *w) {
    const struct worker_figures *figures = &w->worker->figures;
    const struct ring_counters *counters = ring_counters(w->worker->ring);
    uint64_t sent = 0;
    for (uint32_t i = 0; i < w->client_count; i++) {
        sent += w->clients[i].sent;
    }
    demand_equal(w, "connections closed, of those accepted", figures->closed, figures->accepted);
    demand_equal(w, "sockets accepted", counters->accepted, figures->accepted + figures->refused);
    demand_equal(w, "exchanges resumed, of those parked", figures->resumed, figures->parked);
    sent += w->db.pushed;
    if (counters->received_bytes > sent) {
        whole_fail(w, "%" PRIu64 " bytes received, %" PRIu64 " sent", counters->received_bytes, sent);
    }
    uint64_t answers = figures->shed;
    for (int class = 1; class < 6; class++) {
        answers += figures->responses[class];
    }
    if (answers < w->answers) {
        whole_fail(w, "%" PRIu64 " answers counted, %" PRIu64 " seen", answers, w->answers);
    }
}

/* ------------------------------------------------------------------------------------------------------- the run ---- */

static void drain(struct whole *w) {
    const struct worker_figures *figures = &w->worker->figures;
    uint64_t connected = 0;
    for (uint32_t i = 0; i < w->client_count; i++) {
        connected += w->clients[i].connected;
    }
    uint64_t known = figures->accepted + figures->refused;
    w->unaccepted = connected > known ? connected - known : 0;
    whole_trace(w, "drain");
    w->drain_ns = whole_now(w);
    server_drain(&w->server, 1);
}

void whole_happen(struct whole *w) {
    toggle(w);
    if (w->drain_ns == 0 && w->drain_at_ns != 0 && whole_now(w) >= w->drain_at_ns) {
        drain(w);
    }
}

static void finish_worker(struct whole *w) {
    uint64_t took = whole_now(w) - w->drain_ns, most = w->config.drain_timeout_ns + DRAIN_SLACK_NS + whole_slack(w);
    whole_trace(w, "the worker is done%s", w->worker->drain_over ? ": the drain's time is up" : "");
    if (took > most) {
        whole_fail(w, "the drain took %.3f s", (double)took / 1e9);
    }
    bool orphans = !list_empty(&w->worker->parked) || !list_empty(&w->worker->due); /* whose clients have gone */
    orphans |= ring_sockets(w->worker->ring) > 0; /* or their watches, which close */
    if (!w->worker->drain_over && !orphans) {
        demand_quiet(w);
        demand_figures(w);
    }
    w->worker_open = false;
    worker_release(w->worker);
    demand_equal(w, "bodies given back, of those lent", whole_shared.released, whole_shared.lent);
}

static void turn_worker(struct whole *w) {
    if (worker_turn(w->worker) != 0) {
        whole_fail(w, "the worker's ring is broken");
    }
    if (w->mutation == WHOLE_LEAK && !w->mutated && random_below(&w->random, 50) == 0) {
        w->mutated = pool_take(&w->worker->pools[PLAN_EXCHANGES]) != NULL;
    }
    if (worker_done(w->worker)) {
        finish_worker(w);
    }
}

static void say_who_waits(struct whole *w) {
    for (uint32_t i = 0; i < w->client_count; i++) {
        const struct whole_client *c = &w->clients[i];
        if (!c->gone) {
            whole_fail(w, "client %u waits for ever: %u of %u answered, %zu of %zu bytes sent%s", i, c->next, c->count, c->sent,
                       c->stop_at, c->half_closed ? ", half-closed" : "");
        }
    }
}

static void turn(struct whole *w, uint64_t until_ns) {
    whole_turn_clients(w);
    whole_turn_db(w);
    if (w->worker_open) {
        turn_worker(w);
    }
    bool stalled = sim_stalled(w->world) && whole_deadline(w) == RING_NO_DEADLINE;
    if (++w->turns > TURNS_MAX || whole_now(w) > until_ns || stalled) {
        say_who_waits(w);
        if (w->worker_open && !quiet(w->worker)) {
            demand_quiet(w);
        }
    }
    if (w->turns > TURNS_MAX) {
        whole_fail(w, "there is no end");
    }
}

/* When nothing goes wrong any more it serves again, without being asked. */
static void demand_database(struct whole *w) {
    uint64_t until_ns = whole_now(w) + QUIET_NS_MAX;
    whole_heal_db(w);
    w->drain_at_ns = 0;
    while (w->db_on && !whole_db_back(w)) {
        turn(w, until_ns + 1);
        if (whole_now(w) > until_ns) {
            whole_fail(w, "the database is back, and nobody has noticed");
        }
    }
}

static void run(struct whole *w) {
    uint64_t until_ns = whole_now(w) + RUN_NS_MAX;
    while (!whole_clients_gone(w)) {
        turn(w, until_ns);
    }
    until_ns = whole_now(w) + QUIET_NS_MAX;
    while (w->worker_open && w->drain_ns == 0 && !quiet(w->worker)) {
        turn(w, until_ns);
    }
    if (w->drain_ns == 0) {
        demand_figures(w);
        demand_database(w);
        drain(w);
    }
    while (w->worker_open) {
        turn(w, until_ns + RUN_NS_MAX);
    }
}

/* NULL, or what is wrong. */
static const char *run_seed(uint64_t seed, enum whole_mutation mutation, bool trace) {
    struct whole *w = &whole;
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->mutation = mutation;
    w->trace = trace;
    w->random.state = seed;
    bool failed = setjmp(w->leave) != 0;
    if (!failed) {
        draw_config(w);
        draw_faults(w);
        draw_zero_copy(w);
        whole_draw_db(w);
        open_world(w);
        open_descriptors(w);
        trace_world(w);
        draw_clients(w);
        run(w);
    }
    uint64_t hash = w->world != NULL ? sim_trace(w->world) : 0;
    close_world(w);
    if (trace) {
        printf("%u clients, %" PRIu64 " requests, %" PRIu64 " answers, %" PRIu64 " of them shed; trace 0x%016" PRIx64 "\n",
               w->client_count, w->requests, w->answers, w->shed, hash);
    }
    w->world = (void *)(uintptr_t)hash; /* for those who compare */
    return failed ? w->why : NULL;
}

/* ------------------------------------------------------------------------------------------------------- the tests ---- */

static void test_seeds(void **state) {
    (void)state;
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
        const char *why = run_seed(seed, WHOLE_SOUND, false);
        if (why != NULL) {
            print_replay(&whole, STDOUT_FILENO);
            fail_msg("%s", why);
        }
    }
}

/* Each thing that is spoiled is seen soon. */
static void test_mutations(void **state) {
    (void)state;
    for (enum whole_mutation mutation = WHOLE_SOUND + 1; mutation < WHOLE_MUTATIONS; mutation++) {
        uint64_t seed = FIRST_SEED;
        while (seed < FIRST_SEED + SEEDS && run_seed(seed, mutation, false) == NULL) {
            seed++;
        }
        if (seed == FIRST_SEED + SEEDS) {
            fail_msg("nobody saw: %s", mutations[mutation]);
        }
        printf("%s: seen at seed %" PRIu64 "\n", mutations[mutation], seed - FIRST_SEED);
    }
}

static void test_repeats(void **state) {
    (void)state;
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + REPEATED_SEEDS; seed++) {
        assert_null(run_seed(seed, WHOLE_SOUND, false));
        const void *first = whole.world;
        assert_null(run_seed(seed, WHOLE_SOUND, false));
        assert_ptr_equal(whole.world, first);
    }
}

/* --------------------------------------------------------------------------------------------------- command line ---- */

struct options {
    uint64_t from, seeds;
    enum whole_mutation mutation;
    bool trace, one;
};

static bool read_options(int argc, char **argv, struct options *out) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) {
            out->trace = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0) {
            out->one = true;
            out->from = strtoull(value, NULL, 0);
            out->seeds = 1;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            out->seeds = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--from") == 0) {
            out->from = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--mutate") == 0) {
            out->mutation = WHOLE_MUTATIONS;
            for (enum whole_mutation m = WHOLE_SOUND; m < WHOLE_MUTATIONS; m++) {
                out->mutation = strcmp(value, mutations[m]) == 0 ? m : out->mutation;
            }
        } else {
            return false;
        }
        i++;
    }
    return out->seeds > 0 && out->mutation < WHOLE_MUTATIONS;
}

/* Runs what was asked for; prints what went wrong and what it all came to. */
static int run_options(const struct options *options) {
    uint64_t failed = 0, answers = 0, shed = 0, mutated = 0, turns_max = 0;
    for (uint64_t seed = options->from; seed < options->from + options->seeds; seed++) {
        const char *why = run_seed(seed, options->mutation, options->trace);
        if (why != NULL) {
            failed++;
            if (!whole.mutated || options->one) {
                printf("seed 0x%" PRIx64 ": %s\n", seed, why);
                print_replay(&whole, STDOUT_FILENO);
            }
        }
        answers += whole.answers;
        shed += whole.shed;
        mutated += whole.mutated;
        turns_max = whole.turns > turns_max ? whole.turns : turns_max;
        fflush(stdout);
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " spoiled; %" PRIu64 " answers, %" PRIu64
           " of them shed; at most %" PRIu64 " turns\n",
           options->seeds, failed, mutated, answers, shed, turns_max);
    return failed == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    struct options options = { .from = FIRST_SEED };
    log_set_level(LOG_ERROR);
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(on_finding);
    }
    if (argc > 1) {
        if (!read_options(argc, argv, &options)) {
            fprintf(stderr, "usage: test_whole [--seed S | --seeds N [--from S]] [--trace] [--mutate flip|drop|swap|leak]\n");
            return 2;
        }
        return run_options(&options);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
