/* The crew's workers as they lie in memory: what one of them writes shares no cache line with another's, wherever it came from:
 * the array of workers, their slabs, their rings. Real threads and real rings, whose addresses are looked at. */
#include "refused.h"
#include "ring/ring_priv.h"
#include "server/crew.h"
#include "server/sockets.h"
#include "server_rig.h"

enum { WORKERS = 4, LINE_BYTES = 64, PIECES_MAX = 128, NOBODY = WORKERS };

/* Bytes that one worker writes while it serves. */
struct piece {
    const char *name;
    uintptr_t first, end;
    unsigned writer;
};

static struct piece pieces[PIECES_MAX];
static unsigned piece_count;

static void add(const char *name, const void *memory, size_t bytes, unsigned writer) {
    assert_true(piece_count < PIECES_MAX);
    assert_non_null(memory);
    pieces[piece_count++] = (struct piece){ name, (uintptr_t)memory, (uintptr_t)memory + bytes, writer };
}

static bool share_line(const struct piece *a, const struct piece *b) {
    return a->first / LINE_BYTES <= (b->end - 1) / LINE_BYTES && b->first / LINE_BYTES <= (a->end - 1) / LINE_BYTES;
}

/* How many pairs of different writers share a line; says which. */
static unsigned count_shared(bool quiet) {
    unsigned shared = 0;
    for (unsigned i = 0; i < piece_count; i++) {
        for (unsigned k = 0; k < i; k++) {
            if (pieces[i].writer != pieces[k].writer && share_line(&pieces[i], &pieces[k])) {
                if (!quiet) {
                    print_error("'%s' of %u and '%s' of %u share a line\n", pieces[i].name, pieces[i].writer,
                                pieces[k].name, pieces[k].writer);
                }
                shared++;
            }
        }
    }
    return shared;
}

static enum rm_step ok(struct rm_exchange *x) {
    return rm_text(x, 200, "ok");
}

static const struct rm_route routes[] = { { "GET", "/ok", ok }, { 0 } };
static const struct rm_app app = { .name = "test", .routes = routes };

static struct config config;
static struct server server;
static struct crew crew;
static struct sockets_held held;

static void start(const char *io) {
    if (strcmp(io, "uring") == 0 && uring_refused()) {
        skip();
    }
    char *line[] = { "test",         "--workers", "4",    "--max-connections",  "64", "--listen", "127.0.0.1:0",
                     "--access-log", "/dev/null", "--io", (char *)(uintptr_t)io };
    char why[CONFIG_WHY_BYTES];
    if (config_read(&config, sizeof line / sizeof *line, line, &app, why) != EXIT_FINE ||
        config_resolve(&config, WORKERS, 4096, why) != EXIT_FINE ||
        server_open(&server, &config, &app, why) != EXIT_FINE || sockets_prepare(&server, &held, why) != EXIT_FINE) {
        fail_msg("%s", why);
    }
    if (crew_start(&crew, &server) != EXIT_FINE) {
        fail_msg("%s", crew.why);
    }
}

static void stop(void) {
    sockets_release_held(&held);
    assert_int_equal(crew_join(&crew), EXIT_FINE);
    sockets_release(&server);
    server_release(&server);
}

static void add_worker(unsigned i) {
    const struct worker *worker = &server.workers[i];
    assert_int_equal((uintptr_t)worker % WORKER_ALIGN, 0);
    assert_int_equal((uintptr_t)worker->slab.base % 4096, 0);
    assert_int_equal((uintptr_t)worker->ring % 4096, 0);
    add("worker", worker, sizeof *worker, i);
    add("slab", worker->slab.base, worker->slab.bytes, i);
    add("ring", worker->ring, ring_memory_bytes(&server.ring), i);
    add("ring counters", ring_counters(worker->ring), sizeof(struct ring_counters), i);
    for (unsigned part = 0; part < PLAN_POOLS_COUNT; part++) {
        const struct pool *pool = &worker->pools[part];
        if (pool->count > 0) {
            add(pool->name, pool->memory, pool->item_bytes * pool->count, i);
        }
    }
    add("histograms", worker->observer.rows, sizeof *worker->observer.rows * OBSERVE_ROWS_MAX, i);
    add("statuses", worker->observer.statuses, sizeof *worker->observer.statuses * OBSERVE_STATUSES, i);
}

/* Mappings of the kernel's rings: one for each worker at least, and none of them is in what we have mapped ourselves. */
static void add_kernel_rings(bool expected) {
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    char line[512];
    unsigned found = 0;
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, "[io_uring]") != NULL) {
            char *rest;
            uintptr_t first = strtoull(line, &rest, 16), end = strtoull(rest + 1, NULL, 16);
            add("kernel ring", (const void *)first, end - first, NOBODY + 1 + found++);
        }
    }
    fclose(maps);
    assert_true(expected ? found >= WORKERS : found == 0);
}

static void test_workers_share_no_line(void **state) {
    const char *io = *state;
    start(io);
    piece_count = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        add_worker(i);
    }
    add("connections", &server.connections, sizeof server.connections, NOBODY);
    add_kernel_rings(strcmp(io, "uring") == 0);
    unsigned shared = count_shared(false);
    stop();
    assert_int_equal(shared, 0);
}

/* What others write of a worker's own: a wake-up, a finished job, how far the access log was written. Each has a line without
 * anything that the worker writes in its turns. */
static void test_what_others_write(void **state) {
    const char *io = *state;
    start(io);
    const struct ring *ring = server.workers[0].ring;
    const struct lines *lines = &server.workers[0].observer.ring;
    piece_count = 0;
    add("ring, hot", ring, offsetof(struct ring, wake_fd), 0);
    add("ring, woken", &ring->wake_fd, sizeof(struct ring) - offsetof(struct ring, wake_fd), 1);
    add("lines, written", &lines->memory, offsetof(struct lines, pad_1), 0);
    add("lines, published", &lines->published, sizeof lines->published + sizeof lines->wrap, 2);
    add("lines, taken", &lines->tail, sizeof lines->tail, 1);
    add("server", &server, offsetof(struct server, connections), 0);
    add("connections", &server.connections, sizeof server.connections, 1);
    unsigned shared = count_shared(false);
    size_t left = sizeof(struct ring) % LINE_BYTES + sizeof(struct lines) % LINE_BYTES +
                  sizeof(struct server) % SERVER_ALIGN;
    stop();
    assert_int_equal(shared, 0);
    assert_int_equal(left, 0); /* what lies behind them begins on a line of its own */
}

/* The count itself: it must find what it is there for. */
static void test_lines_that_are_shared(void **state) {
    (void)state;
    static _Alignas(LINE_BYTES) char memory[4 * LINE_BYTES];
    static const struct {
        unsigned first, bytes, other, other_bytes, shared;
    } rows[] = {
        { 0, 8, 8, 8, 1 },    { 0, 64, 64, 64, 0 }, { 0, 65, 64, 8, 1 }, { 60, 8, 120, 8, 1 },
        { 0, 200, 64, 8, 1 }, { 64, 8, 0, 200, 1 }, { 63, 1, 64, 1, 0 }, { 128, 64, 64, 64, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        piece_count = 0;
        add("one", memory + rows[i].first, rows[i].bytes, 0);
        add("other", memory + rows[i].other, rows[i].other_bytes, 1);
        assert_int_equal(count_shared(true), rows[i].shared);
        pieces[1].writer = 0;
        assert_int_equal(count_shared(true), 0);
    }
}

int main(void) {
    struct CMUnitTest tests[5];
    size_t n = 0;
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_lines_that_are_shared);
    static const char *const names[] = { "uring", "epoll" };
    static const enum ring_choice choices[] = { RING_URING, RING_EPOLL };
    for (unsigned i = 0; i < 2; i++) {
        if (ring_has_backend(choices[i])) {
            void *io = (void *)(uintptr_t)names[i];
            tests[n++] = (struct CMUnitTest)cmocka_unit_test_prestate(test_workers_share_no_line, io);
            tests[n++] = (struct CMUnitTest)cmocka_unit_test_prestate(test_what_others_write, io);
        }
    }
    return _cmocka_run_group_tests("crew", tests, n, NULL, NULL);
}
