/* false_sharing: what it costs on this machine when two threads count in one cache line, and that the counters of our workers
 * and rings don't pay it. Two pinned threads add to a counter each, as workers do (server/counter.h), in three layouts:
 *
 *   one line   two counters side by side
 *   apart      two counters WORKER_ALIGN bytes from each other: nothing can be better
 *   workers    `requests` of two neighbouring struct worker
 *   rings      `turns` of two open rings
 *
 * Prints nanoseconds per addition, median and range of several rounds, and says which of our counters share a line with
 * another worker's. Exit codes: 0; 1 counters share a line; 77 there is one CPU only, so nothing can be measured. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mem/counter.h"
#include "server/worker.h"

enum { ROUNDS = 9, ADDITIONS = 5 * 1000 * 1000, LINE_BYTES = 64, EXIT_SKIPPED = 77 };

struct side {
    uint64_t *counter;
    int cpu;
    pthread_barrier_t *start;
    double ns;
};

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void *count(void *arg) {
    struct side *side = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)side->cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) {
        fprintf(stderr, "false_sharing: cannot pin to CPU %d: figures would mean nothing\n", side->cpu);
        exit(EXIT_SKIPPED);
    }
    pthread_barrier_wait(side->start);
    uint64_t begin = now_ns();
    for (int i = 0; i < ADDITIONS; i++) {
        counter_add(side->counter, 1);
        __asm__ volatile("" ::: "memory"); /* each addition reaches memory, as it does in a turn */
    }
    side->ns = (double)(now_ns() - begin) / (double)ADDITIONS;
    return NULL;
}

/* The slower side of one round. */
static double round_ns(uint64_t *a, uint64_t *b, const int cpus[2]) {
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 2);
    struct side sides[2] = { { a, cpus[0], &start, 0 }, { b, cpus[1], &start, 0 } };
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, count, &sides[i]) != 0) {
            perror("false_sharing");
            exit(1);
        }
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&start);
    return sides[0].ns > sides[1].ns ? sides[0].ns : sides[1].ns;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double measure(const char *name, uint64_t *a, uint64_t *b, const int cpus[2]) {
    double rounds[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        rounds[i] = round_ns(a, b, cpus);
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare);
    printf("  %-9s %6.2f ns per addition (%.2f to %.2f)\n", name, rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
    return rounds[ROUNDS / 2];
}

/* Do [a, a + a_bytes) and [b, b + b_bytes) touch a common line? */
static bool share_line(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
    uintptr_t a_first = (uintptr_t)a / LINE_BYTES, a_last = ((uintptr_t)a + a_bytes - 1) / LINE_BYTES;
    uintptr_t b_first = (uintptr_t)b / LINE_BYTES, b_last = ((uintptr_t)b + b_bytes - 1) / LINE_BYTES;
    return a_first <= b_last && b_first <= a_last;
}

static bool check_layout(const char *name, const void *a, const void *b, size_t bytes) {
    bool shared = share_line(a, bytes, b, bytes);
    ptrdiff_t apart = (const char *)b - (const char *)a;
    printf("  %-9s %td bytes apart: %s\n", name, apart < 0 ? -apart : apart, shared ? "SHARE A LINE" : "no line in common");
    return !shared;
}

static bool two_cpus(int cpus[2]) {
    cpu_set_t set;
    int found = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return false;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++) {
        if (CPU_ISSET((unsigned)cpu, &set)) {
            cpus[found++] = cpu;
        }
    }
    return found == 2;
}

static struct ring *open_ring(void) {
    struct ring_config config = { .choice = RING_AUTO, .sockets_max = 16 };
    ring_tuning_default(&config.tuning);
    struct ring *ring;
    struct ring_report report;
    if (ring_open(&config, &ring, &report) < 0) {
        fprintf(stderr, "false_sharing: %s\n", report.why);
        exit(EXIT_UNAVAILABLE);
    }
    return ring;
}

static struct worker workers[2]; /* aligned and spaced as the server's array of them */

/* In a ring's own memory, where a turn of its thread writes; the bench writes there in its stead. */
static uint64_t *turns_of(const struct ring *ring) {
    return (uint64_t *)(uintptr_t)&ring_counters(ring)->turns;
}

int main(void) {
    int cpus[2];
    if (!two_cpus(cpus)) {
        printf("false_sharing: needs two CPUs; skipped\n");
        return EXIT_SKIPPED;
    }
    static _Alignas(WORKER_ALIGN) uint64_t counters[2 * WORKER_ALIGN / sizeof(uint64_t)];
    struct ring *rings[2] = { open_ring(), open_ring() };

    printf("two threads on CPUs %d and %d, each adding to a counter of its own:\n", cpus[0], cpus[1]);
    double shared = measure("one line", &counters[0], &counters[1], cpus);
    double apart = measure("apart", &counters[0], &counters[WORKER_ALIGN / sizeof(uint64_t)], cpus);
    measure("workers", &workers[0].figures.requests, &workers[1].figures.requests, cpus);
    measure("rings", turns_of(rings[0]), turns_of(rings[1]), cpus);
    printf("a shared line costs %.2f ns more per addition here: %.1f times\n", shared - apart, shared / apart);

    printf("our layout:\n");
    bool fine = check_layout("workers", &workers[0], &workers[1], sizeof workers[0]);
    fine = check_layout("rings", ring_counters(rings[0]), ring_counters(rings[1]), sizeof(struct ring_counters)) && fine;
    ring_release(rings[0]);
    ring_release(rings[1]);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
