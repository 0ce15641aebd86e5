/* store_get: what a hit of the object store costs on 1 and 2 threads, each pinned to a CPU of its own: looking up a key (hashed
 * before) and copying its 1 KiB out, with a quiescent state after each 32. Readers take no lock and write nothing that is
 * shared, so two must not be slower than one, be it on the same key or on different ones.
 *
 *   same       all threads ask for one key
 *   different  each goes through keys of its own, 512 of them
 *   apart      each asks for one key of a store of its own: what two CPUs lose by themselves (siblings of one core do), as they
 *              have nothing in common
 *   counted    one key, and each hit adds to a shared counter and takes away again, as a reference count would: for comparison
 *
 * usage: store_get [ROUNDS [FOLDER]]      15; with a folder also of a file there, whose bytes are touched with more care
 *
 * The arms run in turn, forth and back (A B B A). Prints nanoseconds of CPU time per hit (the threads' mean), median
 * and range of the rounds, and the median of the rounds' ratios, two threads over one. CPU time, because it leaves out what
 * others do on these CPUs, and has in it what a line costs that the other thread has.
 * Exit codes: 0; 2 usage; 69 no memory, no file or no threads; 77 there are not two CPUs to pin to. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mem/store.h"

enum {
    ROUNDS = 15,
    ROUNDS_MAX = 101,
    HITS = 200 * 1000,
    KEYS = 512, /* of each thread, power of two */
    BODY_BYTES = 1024,
    TURN = 32,
    THREADS = 2,
    ARMS = 8,
    EXIT_OF_USAGE = 2,
    EXIT_WITHOUT = 69,
    EXIT_SKIPPED = 77,
};

struct key {
    struct span text;
    uint64_t hash;
};

struct side {
    _Alignas(128) struct store *store;
    uint32_t reader;
    int cpu;
    uint32_t keys; /* that it goes through, power of two */
    const struct key *first;
    uint64_t *counter; /* or NULL */
    pthread_barrier_t *start;
    double ns;
};

struct arm {
    const char *name;
    uint32_t threads, keys;
    bool counted, apart;
    double rounds[ROUNDS_MAX];
};

static char texts[THREADS * KEYS][32];
static struct key keys[THREADS][THREADS * KEYS]; /* of each store: hashes are keyed */
static _Alignas(128) uint64_t counter[16];

static uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

_Noreturn static void give_up(const char *what, int code) {
    fprintf(stderr, "store_get: %s\n", what);
    exit(code);
}

static void *run_side(void *arg) {
    struct side *side = arg;
    static _Thread_local char copy[BODY_BYTES];
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)side->cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) {
        give_up("a thread can't be pinned: figures would mean nothing", EXIT_SKIPPED);
    }
    store_online(side->store, side->reader);
    pthread_barrier_wait(side->start);
    uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID), now = clock_ns(CLOCK_MONOTONIC), misses = 0;
    for (uint32_t i = 0; i < HITS; i++) {
        const struct key *key = &side->first[i * 7 & (side->keys - 1)];
        struct store_object object;
        bool hit = store_get(side->store, side->reader, key->text, key->hash, now, &object) &&
                   store_copy(side->store, copy, object.body.data, object.body.len);
        misses += !hit;
        if (side->counter != NULL) {
            __atomic_add_fetch(side->counter, 1, __ATOMIC_RELAXED);
            __atomic_sub_fetch(side->counter, 1, __ATOMIC_ACQ_REL);
        }
        __asm__ volatile("" : : "r"(copy) : "memory");
        if (i % TURN == 0) {
            store_quiet(side->store, side->reader);
        }
    }
    side->ns = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / (double)HITS;
    store_offline(side->store, side->reader);
    if (misses > 0) {
        give_up("a key was not found", EXIT_WITHOUT);
    }
    return NULL;
}

/* The mean of the threads'. One thread alone takes turns on the CPUs. */
static double run_round(struct store *const stores[static THREADS], const struct arm *arm, const int cpus[static THREADS],
                        uint32_t round) {
    static struct side sides[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t start;
    double sum = 0;
    pthread_barrier_init(&start, NULL, arm->threads);
    for (uint32_t i = 0; i < arm->threads; i++) {
        sides[i] = (struct side){
            .store = stores[arm->apart ? i : 0],
            .reader = i,
            .cpu = cpus[(i + round) % THREADS],
            .keys = arm->keys,
            .first = arm->apart ? keys[i] : arm->keys == 1 ? keys[0] : &keys[0][i * KEYS],
            .counter = arm->counted ? counter : NULL,
            .start = &start,
        };
        if (pthread_create(&threads[i], NULL, run_side, &sides[i]) != 0) {
            give_up("no thread", EXIT_WITHOUT);
        }
    }
    for (uint32_t i = 0; i < arm->threads; i++) {
        pthread_join(threads[i], NULL);
        sum += sides[i].ns;
    }
    pthread_barrier_destroy(&start);
    return sum / arm->threads;
}

static void fill(struct store *store, struct key *into) {
    static char body[BODY_BYTES];
    memset(body, 'b', sizeof body);
    for (uint32_t i = 0; i < THREADS * KEYS; i++) {
        int len = snprintf(texts[i], sizeof texts[i], "/crud/items/%u", i);
        into[i].text = span_of(texts[i], (size_t)len);
        into[i].hash = store_hash(store, into[i].text);
        struct store_token token = store_token(store, into[i].hash);
        struct store_fill fill;
        bool done = store_reserve(store, into[i].text, into[i].hash, 0, BODY_BYTES, &fill) == STORE_OK &&
                    store_fill_write(store, fill.body, body, BODY_BYTES) &&
                    store_publish(store, &fill, token, UINT64_MAX, 0, clock_ns(CLOCK_MONOTONIC)) == STORE_OK;
        if (!done) {
            give_up("an object could not be stored", EXIT_WITHOUT);
        }
    }
}

static struct store *open_store(const char *path, struct key *into) {
    struct store_config config = { path, 8 << 20, 4096, THREADS, clock_ns(CLOCK_MONOTONIC), 0 };
    struct store *store;
    struct store_report report;
    if (store_open(&config, &store, &report) != 0) {
        give_up(report.why, EXIT_WITHOUT);
    }
    fill(store, into);
    return store;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t count) {
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static void print_ratio(const char *what, const struct arm *one, const struct arm *two, uint32_t rounds) {
    double ratios[ROUNDS_MAX];
    for (uint32_t i = 0; i < rounds; i++) {
        ratios[i] = two->rounds[i] / one->rounds[i];
    }
    double middle = median(ratios, rounds);
    printf("  %-9s two threads take %.3f of the time of one (%.3f to %.3f)\n", what, middle, ratios[0], ratios[rounds - 1]);
}

/* `paths` NULL: anonymous memory. */
static void measure(const char *const paths[static THREADS], uint32_t rounds, const int cpus[static THREADS]) {
    static struct arm arms[ARMS] = {
        { .name = "same", .threads = 1, .keys = 1 },
        { .name = "same", .threads = 2, .keys = 1 },
        { .name = "different", .threads = 1, .keys = KEYS },
        { .name = "different", .threads = 2, .keys = KEYS },
        { .name = "apart", .threads = 1, .keys = 1, .apart = true },
        { .name = "apart", .threads = 2, .keys = 1, .apart = true },
        { .name = "counted", .threads = 1, .keys = 1, .counted = true },
        { .name = "counted", .threads = 2, .keys = 1, .counted = true },
    };
    struct store *stores[THREADS] = { open_store(paths[0], keys[0]), open_store(paths[1], keys[1]) };
    for (uint32_t round = 0; round < rounds + 1; round++) { /* the first one warms up */
        for (uint32_t i = 0; i < ARMS; i++) {
            struct arm *arm = &arms[round % 2 == 0 ? i : ARMS - 1 - i];
            arm->rounds[round > 0 ? round - 1 : 0] = run_round(stores, arm, cpus, round / 2);
        }
    }
    store_close(stores[0], clock_ns(CLOCK_MONOTONIC), 0);
    store_close(stores[1], clock_ns(CLOCK_MONOTONIC), 0);
    printf("%s:\n", paths[0] == NULL ? "anonymous memory" : "a file");
    for (uint32_t i = 0; i < ARMS; i += 2) {
        print_ratio(arms[i].name, &arms[i], &arms[i + 1], rounds);
    }
    for (uint32_t i = 0; i < ARMS; i++) {
        double middle = median(arms[i].rounds, rounds);
        printf("  %-9s %u thread%s %7.1f ns per hit (%.1f to %.1f)\n", arms[i].name, arms[i].threads,
               arms[i].threads > 1 ? "s" : " ", middle, arms[i].rounds[0], arms[i].rounds[rounds - 1]);
    }
}

static bool find_cpus(int cpus[static THREADS]) {
    cpu_set_t set;
    uint32_t found = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return false;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && found < THREADS; cpu++) {
        if (CPU_ISSET((unsigned)cpu, &set)) {
            cpus[found++] = cpu;
        }
    }
    return found == THREADS;
}

int main(int argc, char **argv) {
    int cpus[THREADS];
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : ROUNDS;
    if (argc > 3 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: store_get [ROUNDS [FOLDER]]\n");
        return EXIT_OF_USAGE;
    }
    if (!find_cpus(cpus)) {
        printf("store_get: needs two CPUs; skipped\n");
        return EXIT_SKIPPED;
    }
    printf("a key is looked up and its %d bytes are copied; %ld rounds of %d hits\n", BODY_BYTES, rounds, HITS);
    measure((const char *const[THREADS]){ NULL, NULL }, (uint32_t)rounds, cpus);
    if (argc > 2) {
        char one[4096], two[4096];
        snprintf(one, sizeof one, "%s/store_get.%d.1", argv[2], (int)getpid());
        snprintf(two, sizeof two, "%s/store_get.%d.2", argv[2], (int)getpid());
        measure((const char *const[THREADS]){ one, two }, (uint32_t)rounds, cpus);
        unlink(one);
        unlink(two);
    }
    return EXIT_SUCCESS;
}
