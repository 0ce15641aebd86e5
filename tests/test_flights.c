/* Fills in flight: the rows of their header, a model, and threads that compute the same keys at once. */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

#include "mem/flights.h"
#include "random.h"
#include "rows.h"

enum { PLACES = 64, SHARD_PLACES = 4, HOLD_NS = 1000 };

static struct flights *flights;
static void *memory;

static int set_up(void **state) {
    (void)state;
    size_t bytes = (flights_bytes(PLACES) + 63) / 64 * 64;
    memory = aligned_alloc(64, bytes);
    assert_non_null(memory);
    memset(memory, 0, bytes);
    flights = flights_init(memory, PLACES);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(memory);
    return 0;
}

static bool has(const struct flight_workers *set, uint32_t worker) {
    return (set->bits[worker / 64] >> worker % 64 & 1) != 0;
}

static uint32_t count(const struct flight_workers *set) {
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof set->bits / sizeof set->bits[0]; i++) {
        n += (uint32_t)__builtin_popcountll(set->bits[i]);
    }
    return n;
}

static struct flight leads(uint64_t hash, uint64_t now_ns) {
    struct flight flight;
    assert_int_equal(flights_join(flights, hash, 0, now_ns, &flight), FLIGHT_LEAD);
    assert_int_not_equal(flight.generation, 0);
    assert_true(flights_running(flights, flight));
    return flight;
}

static void lands(struct flight flight, struct flight_workers *wake) {
    flights_land(flights, flight, wake);
    assert_false(flights_running(flights, flight));
}

static void fails(struct flight flight, uint64_t now_ns) {
    struct flight_workers wake;
    flights_fail(flights, flight, now_ns, HOLD_NS, &wake);
    assert_false(flights_running(flights, flight));
}

/* ------------------------------------------------------------------------------------------------------- rows ---- */

static void test_land_tells_who_waits(void **state) {
    (void)state;
    static const uint32_t workers[] = { 0, 1, 63, 64, 128, 255 };
    struct flight flight = leads(7, 0), other;
    struct flight_workers wake;
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        for (int twice = 0; twice < 2; twice++) {
            assert_int_equal(flights_join(flights, 7, workers[i], 0, &other), FLIGHT_WAIT);
            assert_int_equal(other.place, flight.place);
            assert_int_equal(other.generation, flight.generation);
        }
    }
    lands(flight, &wake);
    assert_int_equal(count(&wake), 6);
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        assert_true(has(&wake, workers[i]));
    }
    lands(leads(7, 0), &wake); /* who waited for the first does not wait for the second */
    assert_int_equal(count(&wake), 0);
}

static void test_generations(void **state) {
    (void)state;
    struct flight_workers wake;
    struct flight first = leads(7, 0);
    lands(first, &wake);
    struct flight second = leads(7, 0);
    assert_int_equal(second.place, first.place);
    assert_int_not_equal(second.generation, first.generation);
    assert_false(flights_running(flights, first)); /* whose place is used again */
    lands(second, &wake);
}

static void test_hold_off(void **state) {
    (void)state;
    struct flight flight = leads(7, 5000), other;
    struct flight_workers wake;
    assert_int_equal(flights_join(flights, 7, 3, 5000, &other), FLIGHT_WAIT);
    flights_fail(flights, flight, 5000, HOLD_NS, &wake);
    assert_true(has(&wake, 3));
    assert_int_equal(flights_join(flights, 7, 3, 5000, &other), FLIGHT_ALONE);
    assert_int_equal(flights_join(flights, 7, 3, 5000 + HOLD_NS - 1, &other), FLIGHT_ALONE);
    lands(leads(7, 5000 + HOLD_NS), &wake);
    lands(leads(7, 0), &wake); /* and nothing is left of it */
}

static void test_doom_ends_a_hold_off(void **state) {
    (void)state;
    struct flight_workers wake;
    fails(leads(7, 0), 0);
    flights_doom(flights, 7);
    lands(leads(7, 0), &wake);
}

static void test_doomed_flights_are_not_joined(void **state) {
    (void)state;
    struct flight old = leads(7, 0), waits;
    struct flight_workers wake;
    assert_int_equal(flights_join(flights, 7, 1, 0, &waits), FLIGHT_WAIT);
    flights_doom(flights, 7);
    assert_true(flights_running(flights, waits));
    struct flight new = leads(7, 0);
    assert_int_not_equal(new.place, old.place);
    assert_int_equal(flights_join(flights, 7, 2, 0, &waits), FLIGHT_WAIT);
    assert_int_equal(waits.place, new.place);
    lands(old, &wake);
    assert_true(has(&wake, 1));
    assert_false(has(&wake, 2));
    assert_true(flights_running(flights, new));
    lands(new, &wake);
    assert_true(has(&wake, 2));
}

static void test_doomed_flights_leave_no_hold_off(void **state) {
    (void)state;
    struct flight old = leads(7, 0), other;
    struct flight_workers wake;
    flights_doom(flights, 7);
    struct flight new = leads(7, 0);
    fails(old, 0);
    assert_int_equal(flights_join(flights, 7, 1, 0, &other), FLIGHT_WAIT); /* of the new one */
    lands(new, &wake);
    old = leads(7, 0);
    flights_doom(flights, 7);
    fails(old, 0);
    lands(leads(7, 0), &wake);
}

static void test_doom_of_nothing(void **state) {
    (void)state;
    struct flight_workers wake;
    flights_doom(flights, 7);
    struct flight flight = leads(8, 0);
    flights_doom(flights, 7 + (UINT64_C(1) << 32)); /* in the bucket of 7 */
    flights_doom(flights, 8);
    flights_doom(flights, 8);
    lands(flight, &wake);
}

static void test_full(void **state) {
    (void)state;
    struct flight running[SHARD_PLACES], other;
    struct flight_workers wake;
    for (uint32_t i = 0; i < SHARD_PLACES; i++) {
        running[i] = leads(i, 0);
    }
    assert_int_equal(flights_join(flights, 99, 0, 0, &other), FLIGHT_ALONE);
    lands(leads(UINT64_C(1) << 60 | 99, 0), &wake); /* another shard */
    assert_int_equal(flights_join(flights, 2, 5, 0, &other), FLIGHT_WAIT);
    flights_doom(flights, 1); /* it has its place until it ends */
    assert_int_equal(flights_join(flights, 99, 0, 0, &other), FLIGHT_ALONE);
    for (uint32_t i = 0; i < SHARD_PLACES; i++) {
        lands(running[i], &wake);
    }
    lands(leads(99, 0), &wake);
}

static void test_hold_offs_make_room(void **state) {
    (void)state;
    struct flight other, flight[SHARD_PLACES];
    struct flight_workers wake;
    for (uint32_t i = 0; i < SHARD_PLACES; i++) {
        fails(leads(i, i), i);
    }
    flight[0] = leads(99, 10);
    assert_int_equal(flights_join(flights, 1, 0, 10, &other), FLIGHT_ALONE);
    flight[1] = leads(0, 10); /* the oldest was forgotten; now 1 is, too */
    flight[2] = leads(1, 10);
    flight[3] = leads(2, 10);
    assert_int_equal(flights_join(flights, 3, 0, 10, &other), FLIGHT_ALONE);
    for (uint32_t i = 0; i < SHARD_PLACES; i++) {
        lands(flight[i], &wake);
    }
}

static void test_figures(void **state) {
    (void)state;
    struct flights_figures figures;
    struct flight_workers wake;
    struct flight flight = leads(7, 0), other;
    assert_int_equal(flights_join(flights, 7, 1, 0, &other), FLIGHT_WAIT);
    struct flight second = leads(UINT64_MAX, 0);
    flights_doom(flights, 7);
    flights_figures(flights, &figures);
    assert_int_equal(figures.running, 2);
    fails(second, 0);
    assert_int_equal(flights_join(flights, UINT64_MAX, 1, 0, &other), FLIGHT_ALONE);
    lands(flight, &wake);
    flights_figures(flights, &figures);
    assert_int_equal(figures.running, 0);
    assert_int_equal(figures.led, 2);
    assert_int_equal(figures.waited, 1);
    assert_int_equal(figures.alone, 1);
    assert_int_equal(figures.failed, 1);
    assert_int_equal(figures.doomed, 1);
}

/* ------------------------------------------------------------------------------------------------------ model ---- */

enum { KEYS = 9, FLIGHTS_MAX = SHARD_PLACES };

/* One shard: what runs, doomed or not, and who is held off, in order. */
static struct {
    struct {
        bool runs, doomed;
        uint32_t key;
        struct flight flight;
        struct flight_workers waiting;
    } flights[FLIGHTS_MAX];
    struct {
        uint32_t key;
        uint64_t until_ns;
    } held[FLIGHTS_MAX];
    uint32_t running, held_count;
} model;

/* All in one shard; some in one bucket. */
static uint64_t hash_of(uint32_t key) {
    return UINT64_C(5) << 60 | (uint64_t)(key / 2) << 20 | key % 2;
}

static uint32_t joinable(uint32_t key) {
    for (uint32_t i = 0; i < FLIGHTS_MAX; i++) {
        if (model.flights[i].runs && !model.flights[i].doomed && model.flights[i].key == key) {
            return i;
        }
    }
    return FLIGHTS_MAX;
}

static uint32_t held(uint32_t key) {
    uint32_t i = 0;
    while (i < model.held_count && model.held[i].key != key) {
        i++;
    }
    return i;
}

static void unhold(uint32_t at) {
    for (model.held_count--; at < model.held_count; at++) {
        model.held[at] = model.held[at + 1];
    }
}

static enum flight_role expected(uint32_t key, uint64_t now_ns) {
    uint32_t at = held(key);
    if (at < model.held_count && now_ns < model.held[at].until_ns) {
        return FLIGHT_ALONE;
    }
    if (at < model.held_count) {
        unhold(at);
    }
    if (joinable(key) < FLIGHTS_MAX) {
        return FLIGHT_WAIT;
    }
    if (model.running + model.held_count == FLIGHTS_MAX) {
        if (model.held_count == 0) {
            return FLIGHT_ALONE;
        }
        unhold(0);
    }
    return FLIGHT_LEAD;
}

static void do_join(uint32_t key, uint32_t worker, uint64_t now_ns) {
    struct flight flight;
    enum flight_role role = expected(key, now_ns);
    assert_int_equal(flights_join(flights, hash_of(key), worker, now_ns, &flight), role);
    if (role == FLIGHT_WAIT) {
        uint32_t at = joinable(key);
        assert_memory_equal(&flight, &model.flights[at].flight, sizeof flight);
        model.flights[at].waiting.bits[worker / 64] |= UINT64_C(1) << worker % 64;
    } else if (role == FLIGHT_LEAD) {
        uint32_t at = 0;
        while (model.flights[at].runs) {
            at++;
        }
        memset(&model.flights[at], 0, sizeof model.flights[at]);
        model.flights[at].runs = true;
        model.flights[at].key = key;
        model.flights[at].flight = flight;
        model.running++;
    }
}

static void do_end(uint32_t at, bool well, uint64_t now_ns) {
    struct flight_workers wake;
    if (!model.flights[at].runs) {
        return;
    }
    assert_true(flights_running(flights, model.flights[at].flight));
    if (well) {
        flights_land(flights, model.flights[at].flight, &wake);
    } else {
        flights_fail(flights, model.flights[at].flight, now_ns, HOLD_NS, &wake);
        if (!model.flights[at].doomed) {
            model.held[model.held_count].key = model.flights[at].key;
            model.held[model.held_count++].until_ns = now_ns + HOLD_NS;
        }
    }
    assert_memory_equal(&wake, &model.flights[at].waiting, sizeof wake);
    assert_false(flights_running(flights, model.flights[at].flight));
    model.flights[at].runs = false;
    model.running--;
}

static void do_doom(uint32_t key) {
    uint32_t at = joinable(key);
    flights_doom(flights, hash_of(key));
    if (at < FLIGHTS_MAX) {
        model.flights[at].doomed = true;
    }
    if (held(key) < model.held_count) {
        unhold(held(key));
    }
}

static void test_model(void **state) {
    (void)state;
    struct random random = random_seeded("flights");
    struct flights_figures figures;
    uint64_t now_ns = 0;
    memset(&model, 0, sizeof model);
    for (int step = 0; step < 200000; step++) {
        now_ns += random_below(&random, HOLD_NS / 2);
        switch (random_below(&random, 8)) {
        case 0:
        case 1: do_end(random_below(&random, FLIGHTS_MAX), true, now_ns); break;
        case 2: do_end(random_below(&random, FLIGHTS_MAX), false, now_ns); break;
        case 3: do_doom(random_below(&random, KEYS)); break;
        default: do_join(random_below(&random, KEYS), random_below(&random, FLIGHTS_WORKERS_MAX), now_ns); break;
        }
    }
    flights_figures(flights, &figures);
    assert_int_equal(figures.running, model.running);
    assert_true(figures.alone > 1000 && figures.led > 1000 && figures.waited > 1000 && figures.doomed > 1000);
}

/* ---------------------------------------------------------------------------------------------------- threads ---- */

enum { THREADS = 4, ROUNDS = 20000, SHARED_KEYS = 3, GENERATIONS = 2 * THREADS * ROUNDS + 2 };

/* What a flight has computed: a plain word that its leader writes and all who waited read. Key 0 is doomed now and then: two may
 * lead it at a time. */
static uint32_t results[SHARD_PLACES][GENERATIONS];
static uint32_t leaders[SHARED_KEYS]; /* atomic */
static uint32_t woken[THREADS];       /* atomic */

static void wake_all(const struct flight_workers *wake) {
    for (uint32_t i = 0; i < THREADS; i++) {
        if (has(wake, i)) {
            __atomic_store_n(&woken[i], 1, __ATOMIC_RELEASE);
        }
    }
}

static bool led(uint32_t key, struct flight flight, bool slow, bool well) {
    struct flight_workers wake;
    bool only = __atomic_fetch_add(&leaders[key], 1, __ATOMIC_RELAXED) == 0;
    for (int i = 0; slow && i < 4; i++) {
        sched_yield();
    }
    results[flight.place][flight.generation] = flight.generation;
    __atomic_fetch_sub(&leaders[key], 1, __ATOMIC_RELAXED);
    if (well) {
        flights_land(flights, flight, &wake);
    } else {
        flights_fail(flights, flight, 0, 0, &wake);
    }
    wake_all(&wake);
    return only || key == 0;
}

/* Until the flight has ended: a wake that does not come would hang here. Or without its wake, as who looks by chance. */
static bool waited(uint32_t me, struct flight flight, bool asks) {
    while (flights_running(flights, flight)) {
        do {
            sched_yield();
        } while (!asks && __atomic_exchange_n(&woken[me], 0, __ATOMIC_ACQUIRE) == 0);
    }
    return results[flight.place][flight.generation] == flight.generation;
}

static void *fly(void *arg) {
    uint32_t me = *(uint32_t *)arg;
    struct random random = { me };
    bool fine = true;
    for (int i = 0; i < ROUNDS && fine; i++) {
        uint32_t key = random_below(&random, SHARED_KEYS);
        struct flight flight;
        switch (flights_join(flights, key, me, 0, &flight)) {
        case FLIGHT_LEAD: fine = led(key, flight, random_below(&random, 8) == 0, random_below(&random, 4) > 0); break;
        case FLIGHT_WAIT: fine = waited(me, flight, random_below(&random, 2) == 0); break;
        case FLIGHT_ALONE: break; /* what is doomed takes places, too */
        }
        if (key == 0 && random_below(&random, 3) == 0) {
            flights_doom(flights, key);
        }
    }
    return fine ? arg : NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    struct flights_figures figures;
    static uint32_t numbers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, fly, &numbers[i]), 0);
    }
    bool fine = true;
    for (uint32_t i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        fine &= result != NULL;
    }
    assert_true(fine);
    flights_figures(flights, &figures);
    assert_int_equal(figures.running, 0);
    assert_true(figures.led > 0);
    printf("%" PRIu64 " led, %" PRIu64 " waited, %" PRIu64 " doomed\n", figures.led, figures.waited, figures.doomed);
}

int main(void) {
    static struct rows tests;
    ROWS_TEST(&tests, test_land_tells_who_waits);
    ROWS_TEST(&tests, test_generations);
    ROWS_TEST(&tests, test_hold_off);
    ROWS_TEST(&tests, test_doom_ends_a_hold_off);
    ROWS_TEST(&tests, test_doomed_flights_are_not_joined);
    ROWS_TEST(&tests, test_doomed_flights_leave_no_hold_off);
    ROWS_TEST(&tests, test_doom_of_nothing);
    ROWS_TEST(&tests, test_full);
    ROWS_TEST(&tests, test_hold_offs_make_room);
    ROWS_TEST(&tests, test_figures);
    ROWS_TEST(&tests, test_model);
    ROWS_TEST(&tests, test_threads);
    for (size_t i = 0; i < tests.count; i++) {
        tests.tests[i].setup_func = set_up;
        tests.tests[i].teardown_func = tear_down;
    }
    return rows_run("flights", &tests);
}
