/* What bench/instructions runs under callgrind: a whole worker of arena and the whole load generator on two rings of one
 * simulated world, in one thread, for a given number of requests. The world has no randomness and no real clock, so every
 * run executes the same instructions.
 *
 * usage: instructions_target DATASET TEMPLATE REQUEST CONNECTIONS DEPTH REQUESTS
 *     REQUEST: its number in the template, from 1     --compiler: prints what it was built with, for the baseline
 *
 * Exit codes as load's. */
#include <stdio.h>
#include <stdlib.h>

#include "load_run.h"
#include "mem/store.h"
#include "ring/sim.h"
#include "server/storage.h"
#include "server/worker.h"

enum { EXIT_WRONG = 1, ARGUMENTS = 7 };

/* examples/arena.c, compiled with its main and its rm_main renamed to these. */
int arena_main(int argc, char **argv);
int arena_rm_main(int argc, char **argv, const struct rm_app *app);

static struct rm_app app;

int arena_rm_main(int argc, char **argv, const struct rm_app *given) {
    (void)argc, (void)argv;
    app = *given;
    return 0;
}

#if defined __clang__
#define COMPILER "clang-" RM_TEXT(__clang_major__)
#else
#define COMPILER "gcc-" RM_TEXT(__GNUC__)
#endif
#define RM_TEXT(x) RM_TEXT_OF(x)
#define RM_TEXT_OF(x) #x

static _Noreturn void die(const char *why) {
    fprintf(stderr, "instructions_target: %s\n", why);
    exit(EXIT_UNAVAILABLE);
}

/* ---------------------------------------------------------------------------------------------------- the server ---- */

static struct config config;
static struct server server;

/* What arena keeps, by the world's clock: it does not move while a request is served. */
static void open_store(void) {
    struct store_config store = storage_config(&config);
    struct store_report report;
    if (store_open(&store, &server.store, &report) != 0) {
        die(report.why);
    }
}

static struct worker *open_worker(struct sim_world *world, const char *dataset) {
    static char *line[] = { "arena", "--workers", "1", "--max-connections", "1000", "--store-bytes", "16M" };
    char why[CONFIG_WHY_BYTES];
    if (arena_main(1, line) != 0) {
        die("arena did not hand over its routes");
    }
    *app.options[0].value = dataset;
    config_default(&config);
    if (config_read(&config, sizeof line / sizeof *line, line, &app, why) != EXIT_FINE ||
        config_resolve(&config, 1, 1 << 20, why) != EXIT_FINE) {
        die(why);
    }
    config.io = RING_SIM;
    if (app.start() != 0 || server_open(&server, &config, &app, why) != EXIT_FINE) {
        die("arena does not start");
    }
    open_store();
    server.ring.world = world;
    if (worker_open(&server.workers[0], &server, 0, why) != EXIT_FINE ||
        worker_listen(&server.workers[0], why) != EXIT_FINE) {
        die(why);
    }
    return &server.workers[0];
}

/* The worker's turn, whenever the generator has nothing to do. */
static void serve(void *arg) {
    if (worker_turn(arg) != 0) {
        die("the worker's ring is broken");
    }
}

/* ------------------------------------------------------------------------------------------------- the generator ---- */

static uint32_t number(const char *text) {
    uint64_t value = 0;
    if (!span_u64(span_text(text), &value) || value == 0 || value > UINT32_MAX) {
        die("the last four arguments are numbers from 1 on");
    }
    return (uint32_t)value;
}

static void read_request(const char *path, uint32_t which, uint32_t depth, struct load_template *template,
                         struct load_tape *tape) {
    char why[LOAD_WHY_BYTES];
    if (!load_template_read(path, template, why)) {
        die(why);
    }
    if (which > template->count) {
        die("the template has no request of that number");
    }
    template->requests[0] = template->requests[which - 1];
    template->requests[0].times = 1;
    template->count = 1;
    if (!load_tape_make(template, depth, 0, tape, why)) {
        die(why);
    }
}

static struct load_result result;

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--compiler") == 0) {
        puts(COMPILER " " BENCH_TARGET);
        return 0;
    }
    if (argc != ARGUMENTS) {
        fprintf(stderr, "usage: instructions_target DATASET TEMPLATE REQUEST CONNECTIONS DEPTH REQUESTS\n");
        return EXIT_USAGE;
    }
    struct sim_options world_options;
    sim_options_calm(&world_options);
    struct sim_world *world = sim_world_new(1, &world_options);
    if (world == NULL) {
        die("no memory");
    }
    struct worker *worker = open_worker(world, argv[1]);
    struct load_options options = {
        .connect = "simulated", .address = server.places[0].address, .connections = number(argv[4]), .depth = number(argv[5]),
        .requests = number(argv[6]), .io = RING_SIM, .world = world, .cpu = -1,
    };
    ring_tuning_default(&options.tuning);
    struct load_template template;
    struct load_tape tape;
    read_request(argv[2], number(argv[3]), options.depth, &template, &tape);

    sim_set_others(world, serve, worker);
    int failed = load_run(&options, &template, &tape, &result);
    if (failed == 0 && (load_result_errors(&result) > 0 || result.responses != options.requests)) {
        fprintf(stderr, "instructions_target: %s\n", result.sample);
        failed = EXIT_WRONG;
    }
    return failed;
}
