/* The contract of ring/ring.h: every scenario on every backend that is compiled in, and on uring with the tunings that change
 * how it works. Ends with the matrix of what was run, what was skipped and why.
 *
 * Arguments: --seed N (default: 1), and names of scenarios or rows, or both as scenario[row], to run only those. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "refused.h"
#include "ring_contract.h"

enum { HANG_S = 120, SLOW_MS = 300 };

static const struct contract_row rows[] = {
    { "uring", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "" },
    { "uring:naive", RING_URING, ROW_REAL | ROW_URING, "naive" },
    { "uring:6.1", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "kernel=6.1" },
    { "uring:6.6", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "kernel=6.6" },
    { "uring:6.12", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "kernel=6.12" },
    { "uring:files", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "files=normal" },
    { "uring:recv", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "recv=single" },
    { "uring:accept", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "accept=single" },
    { "uring:coop", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "taskrun=coop" },
    { "uring:small", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED, "sq=32,cq=64,buffers=4,buffers-max=16,buffer-bytes=1024" },
    { "uring:zc", RING_URING, ROW_REAL | ROW_URING | ROW_BATCHED | ROW_ZC, "send=zc:4096,slab=16M" },
    { "epoll", RING_EPOLL, ROW_REAL, "" },
    { "sim", RING_SIM, 0, "" },
    { "sim:rough", RING_SIM, ROW_ROUGH, "" },
    { "sim:zc", RING_SIM, ROW_ROUGH | ROW_ZC, "send=zc:64,slab=16M" },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static const struct file {
    const struct contract_scenario *scenarios;
    bool zc; /* the rows with ROW_ZC run it, too */
} files[] = {
    { contract_connect, false }, { contract_stream, true },   { contract_close, true }, { contract_limits, false },
    { contract_turns, false },   { contract_process, false }, { contract_life, true },  { contract_corners, false },
    { contract_read, true },     { contract_zc, true },
};

enum outcome { NOT_ASKED, NOT_COMPILED, SKIPPED, RAN, FAILED };

static const char outcome_signs[] = { [NOT_ASKED] = ' ', [NOT_COMPILED] = '-', [SKIPPED] = 's', [RAN] = '+', [FAILED] = 'F' };

struct cell {
    const struct contract_scenario *scenario;
    const struct contract_row *row;
    enum outcome outcome;
    char name[96];
};

static uint64_t seed = 1;
static const struct contract_scenario *scenarios[128];
static bool scenario_zc[128];
static struct cell cells[128][ROWS];
static uint32_t scenarios_count;

static bool refused; /* io_uring, by this machine */

static bool applies(const struct cell *cell) {
    uint32_t bits = cell->row->bits;
    if ((bits & ROW_URING) != 0 && refused) return false;
    return (bits & cell->scenario->needs) == cell->scenario->needs && (bits & cell->scenario->excludes) == 0;
}

/* A call that blocks is a failure of all that follows, too: no time is left for it. */
static const struct cell *running;

static void on_alarm(int number) {
    (void)number;
    dprintf(STDERR_FILENO, "%s hangs in a call that must not block\n", running->name);
    _exit(1);
}

/* Both rings of a rig with registered memory lock all of it, and the kernel frees what they had a little after their end. A limit
 * of 8 MiB is what systems give to ordinary users; root has none. mlock2 has the limit and the exception that io_uring has, and
 * AddressSanitizer does not take its place. */
enum { LOCKED_MIB = 64 };

static bool may_lock(void) {
    static int may = -1;
    size_t bytes = (size_t)LOCKED_MIB << 20;
    if (may == -1) {
        void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(memory != MAP_FAILED);
        may = syscall(SYS_mlock2, memory, bytes, MLOCK_ONFAULT) == 0;
        munmap(memory, bytes);
    }
    return may == 1;
}

static bool locks_too_much(const struct contract_row *row) {
    return (row->bits & ROW_ZC) != 0 && (row->bits & ROW_REAL) != 0 && !may_lock();
}

static void run_cell(void **state) {
    struct cell *cell = *state;
    if (!applies(cell) || locks_too_much(cell->row)) {
        cell->outcome = SKIPPED;
        skip();
    }
    static struct rig rig;
    memset(&rig, 0, sizeof rig); /* what a failed test has left open stays open: its rings are not ours to touch */
    rig.row = cell->row;
    rig.seed = rig.first_seed = seed;
    cell->outcome = FAILED;
    running = cell;
    alarm(HANG_S);
    uint64_t start = wall_ns();
    cell->scenario->run(&rig);
    alarm(0);
    if (rig.links != NULL) rig_close(&rig);
    cell->outcome = RAN;
    double ms = (double)(wall_ns() - start) / 1e6;
    if (ms > (double)SLOW_MS) print_message("           slow: %.0f ms\n", ms);
}

static bool row_asked(uint32_t r) {
    for (uint32_t s = 0; s < scenarios_count; s++)
        if (cells[s][r].outcome != NOT_ASKED) return true;
    return false;
}

static bool line_asked(uint32_t s) {
    for (uint32_t r = 0; r < ROWS; r++)
        if (cells[s][r].outcome > NOT_COMPILED) return true;
    return false;
}

static void print_line(uint32_t s) {
    printf("%-34s", scenarios[s]->name);
    for (uint32_t r = 0; r < ROWS; r++)
        if (row_asked(r)) printf(" %-12c", outcome_signs[cells[s][r].outcome]);
    printf("\n");
}

static void print_matrix(void) {
    printf("\n%-34s", "");
    for (uint32_t r = 0; r < ROWS; r++)
        if (row_asked(r)) printf(" %-12s", rows[r].name);
    printf("\n");
    for (uint32_t s = 0; s < scenarios_count; s++)
        if (line_asked(s)) print_line(s);
    printf("\n+ ran, F failed, s skipped, - not compiled in\n");
    if (refused) printf("s uring: this machine refuses io_uring_setup(2)\n");
    for (uint32_t s = 0; s < scenarios_count; s++)
        if (line_asked(s) && scenarios[s]->skip_reason != NULL)
            printf("s %-32s %s\n", scenarios[s]->name, scenarios[s]->skip_reason);
    for (uint32_t r = 0; r < ROWS; r++)
        if (row_asked(r) && locks_too_much(&rows[r]))
            printf("s %-32s this user may not lock %d MiB (ulimit -l)\n", rows[r].name, LOCKED_MIB);
}

static void collect(void) {
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++)
        for (const struct contract_scenario *s = files[f].scenarios; s->name != NULL; s++) {
            assert_true((s->needs | s->excludes) == 0 || s->skip_reason != NULL);
            scenario_zc[scenarios_count] = files[f].zc;
            scenarios[scenarios_count++] = s;
        }
}

#if defined(__SANITIZE_THREAD__)
#define THREADS_ONLY true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREADS_ONLY true
#endif
#endif
#ifndef THREADS_ONLY
#define THREADS_ONLY false /* ThreadSanitizer is slow, and traced system calls are not only ours then */
#endif

static bool wanted(const struct cell *cell, int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], cell->name) == 0 || strcmp(argv[i], cell->scenario->name) == 0) return true;
        if (strcmp(argv[i], cell->row->name) == 0) return true;
    }
    return argc == 0 && (!THREADS_ONLY || cell->scenario->threads);
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[128 * ROWS];
    size_t count = 0;
    argc--, argv++;
    if (argc >= 2 && strcmp(argv[0], "--seed") == 0) {
        seed = strtoull(argv[1], NULL, 10);
        argc -= 2, argv += 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGALRM, on_alarm);
    collect();
    refused = uring_refused();
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t s = 0; s < scenarios_count; s++) {
            struct cell *cell = &cells[s][r];
            *cell = (struct cell){ .scenario = scenarios[s], .row = &rows[r] };
            snprintf(cell->name, sizeof cell->name, "%s[%s]", scenarios[s]->name, rows[r].name);
            if (!ring_has_backend(rows[r].choice)) cell->outcome = NOT_COMPILED;
            if ((rows[r].bits & ROW_ZC) != 0 && !scenario_zc[s]) continue;
            if (cell->outcome == NOT_COMPILED || !wanted(cell, argc, argv)) continue;
            tests[count++] = (struct CMUnitTest){ .name = cell->name, .test_func = run_cell, .initial_state = cell };
        }
    printf("seed %llu\n", (unsigned long long)seed);
    int failed = _cmocka_run_group_tests("ring contract", tests, count, NULL, NULL);
    print_matrix();
    return failed != 0;
}
