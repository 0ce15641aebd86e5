/* Fills a store in a file with objects that say which they are, and asks for them: some often, most of them seldom (Zipf). One
 * thread asks, as a worker does: what is cold and not in RAM is brought there by another one first, or put off. For pressure.py,
 * which gives it less memory than the store has bytes.
 *
 * usage: store_pressure PATH STORE_MIB SECONDS      one line of JSON */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "mem/store.h"

enum {
    BODY_BYTES = 16 * 1024,
    HOT_KEYS = 100,      /* the first ones: 1.6 MiB */
    SAMPLES_MAX = 1 << 20,
    QUEUE = 64,          /* objects on their way to RAM */
    WARM_UP_PART = 2,    /* the first half of the time is not measured: what is hot is known after some seconds */
};

struct job {
    uint32_t key;
    const char *from;
    size_t bytes;
    int state; /* atomic: 0 free, 1 asked for, 2 done */
};

static struct store *store;
static struct job jobs[QUEUE];
static int ending;
static uint32_t keys;
static double *sums; /* of the weights of keys 0 .. i */
static uint32_t *samples; /* ns of gets of hot keys */
static uint32_t sample_count;
static uint64_t helper_faults, refreshed_bytes, refresh_ns; /* the helper's until it has ended */

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t seed = 1;

static uint64_t next_random(void) {
    uint64_t x = seed += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t major_faults(int who) {
    struct rusage usage;
    getrusage(who, &usage);
    return (uint64_t)usage.ru_majflt;
}

static void die(const char *what) {
    fprintf(stderr, "store_pressure: %s\n", what);
    exit(1);
}

/* ------------------------------------------------------------------------------------------------------ objects ---- */

static struct span key_of(uint32_t key, char out[static 16]) {
    return span_of(out, (size_t)snprintf(out, 16, "%u", key));
}

/* Word i of the body of a key. */
static uint64_t word_of(uint32_t key, size_t i) {
    return (key + 1) * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0x2545f4914f6cdd1d);
}

static bool is_right(uint32_t key, const uint64_t *body) {
    uint64_t wrong = 0;
    for (size_t i = 0; i < BODY_BYTES / 8; i++) {
        wrong |= body[i] ^ word_of(key, i);
    }
    return wrong == 0;
}

static void fill(uint32_t key) {
    static uint64_t body[BODY_BYTES / 8];
    char text[16];
    struct span name = key_of(key, text);
    uint64_t hash = store_hash(store, name);
    struct store_token token = store_token(store, hash);
    struct store_fill fill;
    for (size_t i = 0; i < BODY_BYTES / 8; i++) {
        body[i] = word_of(key, i);
    }
    if (store_reserve(store, name, hash, 0, BODY_BYTES, &fill) != STORE_OK || !store_fill_write(store, fill.body, body, BODY_BYTES) ||
        store_publish(store, &fill, token, UINT64_C(1) << 62, 0, clock_ns()) != STORE_OK) {
        die("an object cannot be stored");
    }
}

/* ------------------------------------------------------------------------------------------------------- asking ---- */

static uint64_t resident_bytes(void) {
    uint64_t bytes = 0;
    (void)!store_count_resident(store, UINT64_MAX, &bytes);
    return bytes;
}

static void *help(void *arg) {
    (void)arg;
    uint64_t refreshed_ns = clock_ns();
    while (!__atomic_load_n(&ending, __ATOMIC_ACQUIRE)) {
        bool worked = false;
        for (size_t i = 0; i < QUEUE; i++) {
            if (__atomic_load_n(&jobs[i].state, __ATOMIC_ACQUIRE) == 1) {
                (void)store_populate(store, jobs[i].from, jobs[i].bytes);
                __atomic_store_n(&jobs[i].state, 2, __ATOMIC_RELEASE);
                worked = true;
            }
        }
        if (clock_ns() - refreshed_ns > 250000000) { /* as the server does it */
            struct store_figures figures;
            store_figures(store, &figures);
            bool pressed = resident_bytes() < figures.bytes_used;
            store_press(store, pressed);
            refreshed_ns = clock_ns();
            refreshed_bytes += pressed ? store_refresh(store, refreshed_ns, UINT64_MAX) : 0;
            refresh_ns += clock_ns() - refreshed_ns;
        }
        if (!worked) {
            nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
        }
    }
    __atomic_store_n(&helper_faults, major_faults(RUSAGE_THREAD), __ATOMIC_RELAXED);
    return NULL;
}

/* False: it has enough to do. */
static bool ask_helper(uint32_t key, const struct store_object *object) {
    for (size_t i = 0; i < QUEUE; i++) {
        if (__atomic_load_n(&jobs[i].state, __ATOMIC_ACQUIRE) == 0) {
            jobs[i].key = key;
            jobs[i].from = store_place(store, object).data;
            jobs[i].bytes = store_place(store, object).len;
            __atomic_store_n(&jobs[i].state, 1, __ATOMIC_RELEASE);
            return true;
        }
    }
    return false;
}

struct counts {
    uint64_t gets, misses, wrong, populated, put_off;
};

/* `fetched`: it has been at the helper's. */
static void get(uint32_t key, bool fetched, bool measured, struct counts *counts) {
    static uint64_t body[BODY_BYTES / 8];
    char text[16];
    struct span name = key_of(key, text);
    struct store_object object;
    uint64_t begin_ns = clock_ns();
    counts->gets++;
    if (!store_get(store, 0, name, store_hash(store, name), begin_ns, &object)) {
        counts->misses++;
        return;
    }
    if (!fetched && object.cold && !store_resident(store, &object)) {
        bool asked = ask_helper(key, &object);
        counts->populated += asked;
        counts->put_off += !asked;
        return;
    }
    bool same = !object.cold || store_confirm(store, &object, name, begin_ns);
    if (!same || object.body.len != BODY_BYTES || !store_copy(store, body, object.body.data, BODY_BYTES)) {
        counts->wrong++;
        return;
    }
    uint64_t end_ns = clock_ns();
    if (measured && key < HOT_KEYS && sample_count < SAMPLES_MAX) {
        samples[sample_count++] = (uint32_t)(end_ns - begin_ns);
    }
    counts->wrong += !is_right(key, body);
}

static uint32_t draw(void) {
    double at = (double)(next_random() >> 11) * 0x1p-53 * sums[keys - 1];
    uint32_t low = 0, high = keys - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sums[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct counts ask(uint64_t seconds) {
    struct counts counts = { 0 };
    uint64_t begin_ns = clock_ns(), end_ns = begin_ns + seconds * 1000000000;
    store_online(store, 0);
    for (uint64_t now_ns = begin_ns; now_ns < end_ns; now_ns = clock_ns()) {
        bool measured = now_ns > begin_ns + (end_ns - begin_ns) / WARM_UP_PART;
        for (int i = 0; i < 16; i++) {
            get(draw(), false, measured, &counts);
        }
        for (size_t i = 0; i < QUEUE; i++) {
            if (__atomic_load_n(&jobs[i].state, __ATOMIC_ACQUIRE) == 2) {
                get(jobs[i].key, true, measured, &counts);
                __atomic_store_n(&jobs[i].state, 0, __ATOMIC_RELEASE);
            }
        }
        store_quiet(store, 0);
    }
    store_offline(store, 0);
    return counts;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t quantile(double q) {
    return sample_count == 0 ? 0 : samples[(size_t)((double)(sample_count - 1) * q)];
}

static void open_and_fill(const char *path, uint64_t bytes) {
    struct store_config config = { .path = path, .bytes = bytes, .objects = (uint32_t)(bytes / 4096), .readers = 1,
                                   .now_ns = clock_ns() };
    struct store_report report;
    if (store_open(&config, &store, &report) != 0) {
        die(report.why);
    }
    keys = (uint32_t)(bytes / (BODY_BYTES + 128) / 100 * 92); /* the store keeps some room free */
    sums = malloc(keys * sizeof *sums);
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    if (sums == NULL || samples == NULL) {
        die("no memory");
    }
    double sum = 0;
    for (uint32_t key = 0; key < keys; key++) {
        sums[key] = sum += 1 / pow(key + 1, 0.99);
        fill(key);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        die("usage: store_pressure PATH STORE_MIB SECONDS");
    }
    uint64_t begin_ns = clock_ns();
    open_and_fill(argv[1], strtoull(argv[2], NULL, 10) << 20);
    double filled_seconds = (double)(clock_ns() - begin_ns) / 1e9;
    uint64_t fill_faults = major_faults(RUSAGE_SELF), before = major_faults(RUSAGE_THREAD);
    uint64_t resident_filled = resident_bytes();
    pthread_t helper;
    if (pthread_create(&helper, NULL, help, NULL) != 0) {
        die("no thread");
    }
    struct counts counts = ask(strtoull(argv[3], NULL, 10));
    uint64_t worker_faults = major_faults(RUSAGE_THREAD) - before;
    __atomic_store_n(&ending, 1, __ATOMIC_RELEASE);
    pthread_join(helper, NULL);
    qsort(samples, sample_count, sizeof *samples, by_size);
    uint64_t resident = resident_bytes();
    printf("{\"keys\": %u, \"fill_seconds\": %.2f, \"fill_major_faults\": %lu, \"resident_filled\": %lu, \"resident\": %lu, "
           "\"gets\": %lu, \"misses\": %lu, \"wrong\": %lu, \"populated\": %lu, \"put_off\": %lu, \"worker_major_faults\": %lu, "
           "\"helper_major_faults\": %lu, \"hot_gets\": %u, \"hot_p50_ns\": %u, \"hot_p99_ns\": %u, \"hot_p999_ns\": %u, "
           "\"refreshed_bytes\": %lu, \"refresh_ns\": %lu}\n",
           keys, filled_seconds, (unsigned long)fill_faults, (unsigned long)resident_filled, (unsigned long)resident,
           (unsigned long)counts.gets, (unsigned long)counts.misses, (unsigned long)counts.wrong, (unsigned long)counts.populated,
           (unsigned long)counts.put_off, (unsigned long)worker_faults, (unsigned long)helper_faults, sample_count, quantile(0.5),
           quantile(0.99), quantile(0.999), (unsigned long)refreshed_bytes, (unsigned long)refresh_ns);
    fflush(stdout);
    _exit(0); /* a close would write all of it to the disk */
}
