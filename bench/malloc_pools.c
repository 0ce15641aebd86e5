/* malloc_pools: what malloc and free cost beside the pools and workspaces that a worker has instead, on 1 to N threads, each
 * pinned to a CPU of its own. Three patterns, each in both ways, in turn (A B B A):
 *
 *   pairs    one connection's memory is taken, its first line written, and given back
 *   server   a request takes what one takes: an exchange, some small pieces, a block of output; 32 others are in flight,
 *            and the pieces are freed in another order. Ours: two pools, and the small pieces from the exchange's workspace,
 *            which is reset by putting a pointer back
 *   crossed  what one thread has taken the next one is done with. malloc: that one frees it. Ours: it goes back to the thread
 *            whose it is, as a job comes back from a helper thread, and that one gives it to its pool
 *
 * usage: malloc_pools [THREADS_MAX [ROUNDS]]      as many as there are CPUs, 15
 *
 * Prints nanoseconds per operation (a pair, a request, an item) of the slowest thread, the median of the rounds; and the median
 * and range of the rounds' ratios, ours over malloc's.
 * Exit codes: 0; 2 usage; 69 no memory or no threads; 77 threads can't be pinned. */
#include <gnu/libc-version.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mem/arena.h"
#include "mem/pool.h"

enum {
    THREADS_MAX = 64,
    ROUNDS_MAX = 101,
    EXIT_OF_USAGE = 2,
    EXIT_WITHOUT = 69,
    EXIT_SKIPPED = 77,
    IN_FLIGHT = 32,       /* requests of a thread, power of two */
    PIECES = 5,           /* small ones of a request */
    EXCHANGE_BYTES = 640, /* and behind it the workspace */
    WORKSPACE_BYTES = 4096,
    CONN_BYTES = 384,
    BLOCK_BYTES = 4096,
    QUEUE_PLACES = 256, /* between two threads, power of two */
    LINE_BYTES = 64,
};
static const uint16_t piece_bytes[PIECES] = { 32, 200, 64, 24, 520 };
static const uint8_t free_order[PIECES] = { 3, 0, 4, 1, 2 }; /* another one than that of the takes */

/* From one thread to the next, in order. */
struct queue {
    _Alignas(2 * LINE_BYTES) atomic_uint head; /* written by who puts */
    _Alignas(2 * LINE_BYTES) atomic_uint tail; /* by who takes */
    _Alignas(2 * LINE_BYTES) void *items[QUEUE_PLACES];
};

struct request {
    void *exchange, *block;
    void *pieces[PIECES];
};

/* One thread's own. */
struct side {
    _Alignas(2 * LINE_BYTES) struct pool conns;
    struct pool exchanges, blocks;
    struct request requests[IN_FLIGHT];
    struct queue out;  /* what the next thread is to be done with */
    struct queue back; /* what it was done with */
    struct side *from; /* the thread before */
    int cpu;
    unsigned operations;
    void (*run)(struct side *side);
    pthread_barrier_t *start;
    double ns; /* per operation */
};

static struct side sides[THREADS_MAX];

static _Noreturn void die(int code, const char *why) {
    fprintf(stderr, "malloc_pools: %s\n", why);
    exit(code);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* What is taken is used: its first line is written, and the compiler can't leave it out. */
static void *use(void *memory) {
    if (memory == NULL) {
        die(EXIT_WITHOUT, "no memory");
    }
    *(volatile uint64_t *)memory = 1;
    __asm__ volatile("" : : "r"(memory) : "memory");
    return memory;
}

/* ---------------------------------------------------------------------------------------------------- patterns ---- */

static void pairs_malloc(struct side *side) {
    for (unsigned i = 0; i < side->operations; i++) {
        free(use(malloc(CONN_BYTES)));
    }
}

static void pairs_ours(struct side *side) {
    for (unsigned i = 0; i < side->operations; i++) {
        pool_give(&side->conns, use(pool_take(&side->conns)));
    }
}

static void server_malloc(struct side *side) {
    for (unsigned i = 0; i < side->operations; i++) {
        struct request *request = &side->requests[i % IN_FLIGHT];
        if (request->exchange != NULL) {
            for (unsigned p = 0; p < PIECES; p++) {
                free(request->pieces[free_order[p]]);
            }
            free(request->block);
            free(request->exchange);
        }
        request->exchange = use(malloc(EXCHANGE_BYTES));
        for (unsigned p = 0; p < PIECES; p++) {
            request->pieces[p] = use(malloc(piece_bytes[p]));
        }
        request->block = use(malloc(BLOCK_BYTES));
    }
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        for (unsigned p = 0; p < PIECES; p++) {
            free(side->requests[i].pieces[p]);
        }
        free(side->requests[i].block);
        free(side->requests[i].exchange);
    }
    memset(side->requests, 0, sizeof side->requests);
}

static void server_ours(struct side *side) {
    for (unsigned i = 0; i < side->operations; i++) {
        struct request *request = &side->requests[i % IN_FLIGHT];
        if (request->exchange != NULL) {
            pool_give(&side->blocks, request->block);
            pool_give(&side->exchanges, request->exchange);
        }
        struct arena workspace;
        request->exchange = use(pool_take(&side->exchanges));
        arena_init(&workspace, (char *)request->exchange + EXCHANGE_BYTES, WORKSPACE_BYTES);
        for (unsigned p = 0; p < PIECES; p++) {
            use(arena_take(&workspace, piece_bytes[p]));
        }
        arena_reset(&workspace);
        request->block = use(pool_take(&side->blocks));
    }
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        pool_give(&side->blocks, side->requests[i].block);
        pool_give(&side->exchanges, side->requests[i].exchange);
    }
    memset(side->requests, 0, sizeof side->requests);
}

static bool queue_put(struct queue *queue, void *item) {
    unsigned head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&queue->tail, memory_order_acquire) == QUEUE_PLACES) {
        return false;
    }
    queue->items[head % QUEUE_PLACES] = item;
    atomic_store_explicit(&queue->head, head + 1, memory_order_release);
    return true;
}

static void *queue_take(struct queue *queue) {
    unsigned tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    if (tail == atomic_load_explicit(&queue->head, memory_order_acquire)) {
        return NULL;
    }
    void *item = queue->items[tail % QUEUE_PLACES];
    atomic_store_explicit(&queue->tail, tail + 1, memory_order_release);
    return item;
}

/* Each thread sends `operations` items on and is done with as many. */
static void crossed_malloc(struct side *side) {
    unsigned sent = 0, done = 0;
    void *item = NULL;
    while (sent < side->operations || done < side->operations) {
        if (sent < side->operations) {
            item = item == NULL ? use(malloc(CONN_BYTES)) : item;
            if (queue_put(&side->out, item)) {
                item = NULL;
                sent++;
            }
        }
        void *theirs = queue_take(&side->from->out);
        if (theirs != NULL) {
            free(theirs);
            done++;
        }
    }
}

static void crossed_ours(struct side *side) {
    unsigned sent = 0, done = 0, home = 0;
    void *item = NULL, *theirs = NULL;
    while (home < side->operations || done < side->operations) {
        if (sent < side->operations && sent - home < QUEUE_PLACES) {
            item = item == NULL ? use(pool_take(&side->conns)) : item;
            if (queue_put(&side->out, item)) {
                item = NULL;
                sent++;
            }
        }
        theirs = theirs == NULL ? queue_take(&side->from->out) : theirs;
        if (theirs != NULL && queue_put(&side->from->back, theirs)) {
            theirs = NULL;
            done++;
        }
        void *own = queue_take(&side->back);
        if (own != NULL) {
            pool_give(&side->conns, own);
            home++;
        }
    }
}

static const struct pattern {
    const char *name;
    void (*run[2])(struct side *side); /* malloc, ours */
    unsigned operations;               /* of a round, on each thread */
    unsigned threads_min;
} patterns[] = {
    { "pairs", { pairs_malloc, pairs_ours }, 1000000, 1 },
    { "server", { server_malloc, server_ours }, 60000, 1 },
    { "crossed", { crossed_malloc, crossed_ours }, 200000, 2 },
};

/* ----------------------------------------------------------------------------------------------------- threads ---- */

static void *on_thread(void *arg) {
    struct side *side = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)side->cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) {
        die(EXIT_SKIPPED, "cannot pin a thread: figures would mean nothing");
    }
    side->run(side); /* until all is warm, and malloc's cache of this thread as full as it gets */
    pthread_barrier_wait(side->start);
    uint64_t begin = now_ns();
    side->run(side);
    side->ns = (double)(now_ns() - begin) / (double)side->operations;
    return NULL;
}

/* One way of one pattern on n threads: ns per operation of the slowest. */
static double measure(const struct pattern *pattern, unsigned way, unsigned n) {
    pthread_barrier_t start;
    pthread_t threads[THREADS_MAX];
    pthread_barrier_init(&start, NULL, n);
    for (unsigned i = 0; i < n; i++) {
        sides[i].run = pattern->run[way];
        sides[i].operations = pattern->operations;
        sides[i].start = &start;
        sides[i].from = &sides[(i + n - 1) % n];
        if (pthread_create(&threads[i], NULL, on_thread, &sides[i]) != 0) {
            die(EXIT_WITHOUT, "cannot start a thread");
        }
    }
    double slowest = 0;
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        slowest = sides[i].ns > slowest ? sides[i].ns : slowest;
    }
    pthread_barrier_destroy(&start);
    return slowest;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void compare_ways(const struct pattern *pattern, unsigned n, unsigned rounds) {
    double ns[2][ROUNDS_MAX], ratios[ROUNDS_MAX];
    for (unsigned round = 0; round < rounds; round++) {
        double first = measure(pattern, 0, n);
        double ours = measure(pattern, 1, n) + measure(pattern, 1, n);
        ns[0][round] = (first + measure(pattern, 0, n)) / 2;
        ns[1][round] = ours / 2;
        ratios[round] = ns[1][round] / ns[0][round];
    }
    qsort(ns[0], rounds, sizeof(double), compare);
    qsort(ns[1], rounds, sizeof(double), compare);
    qsort(ratios, rounds, sizeof(double), compare);
    printf("%-8s %7u %10.2f %10.2f %9.3f  (%.3f to %.3f)\n", pattern->name, n, ns[0][rounds / 2], ns[1][rounds / 2],
           ratios[rounds / 2], ratios[0], ratios[rounds - 1]);
}

static void make_pool(struct pool *pool, const char *name, size_t item_bytes, uint32_t count) {
    size_t bytes = (pool_bytes(item_bytes, count) + 4095) / 4096 * 4096;
    void *memory = aligned_alloc(4096, bytes);
    if (memory == NULL) {
        die(EXIT_WITHOUT, "no memory");
    }
    pool_init(pool, name, memory, item_bytes, count);
}

/* As many sides as there are CPUs, `most` at most. */
static unsigned make_sides(unsigned most) {
    cpu_set_t set;
    unsigned n = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        die(EXIT_SKIPPED, "cannot ask for the CPUs of this process");
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && n < most; cpu++) {
        if (CPU_ISSET((unsigned)cpu, &set)) {
            struct side *side = &sides[n++];
            side->cpu = cpu;
            make_pool(&side->conns, "connections", CONN_BYTES, 2 * QUEUE_PLACES);
            make_pool(&side->exchanges, "exchanges", EXCHANGE_BYTES + WORKSPACE_BYTES, IN_FLIGHT + 1);
            make_pool(&side->blocks, "blocks", BLOCK_BYTES, IN_FLIGHT + 1);
        }
    }
    return n;
}

int main(int argc, char **argv) {
    unsigned most = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : THREADS_MAX;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 15;
    if (argc > 3 || most == 0 || most > THREADS_MAX || rounds == 0 || rounds > ROUNDS_MAX) {
        die(EXIT_OF_USAGE, "usage: malloc_pools [THREADS_MAX [ROUNDS]]");
    }
    unsigned cpus = make_sides(most);
    printf("glibc %s against pools and workspaces, %u rounds; ns per operation of the slowest thread\n",
           gnu_get_libc_version(), rounds);
    printf("%-8s %7s %10s %10s %9s\n", "pattern", "threads", "malloc", "ours", "ratio");
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        for (unsigned n = patterns[i].threads_min; n <= cpus; n *= 2) {
            compare_ways(&patterns[i], n, rounds);
        }
    }
    for (unsigned i = 0; i < cpus; i++) {
        free(sides[i].conns.memory);
        free(sides[i].exchanges.memory);
        free(sides[i].blocks.memory);
    }
    return EXIT_SUCCESS;
}
