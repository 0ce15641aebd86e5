/* Helper threads: every job runs once and comes home once, whatever the order. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "refused.h"
#include "ring/ring.h"

enum { JOBS = 2000 };

struct work {
    struct ring_job job;
    atomic_uint ran;
    uint32_t finished;
};

static void run(struct ring_job *job) {
    struct work *work = job->user;
    atomic_fetch_add(&work->ran, 1);
}

static struct ring *open_ring(enum ring_choice choice, struct ring_helpers *helpers) {
    struct ring_config config = { .choice = choice, .sockets_max = 4, .helpers = helpers };
    struct ring *ring = NULL;
    struct ring_report report;
    ring_tuning_default(&config.tuning);
    if (ring_open(&config, &ring, &report) != 0) fail_msg("%s", report.why);
    return ring;
}

static void jobs_come_home(enum ring_choice choice) {
    struct ring_helpers *helpers = ring_helpers_start(2);
    assert_non_null(helpers);
    struct ring *ring = open_ring(choice, helpers);
    struct work *works = calloc(JOBS, sizeof *works);
    for (uint32_t i = 0; i < JOBS; i++) {
        works[i].job = (struct ring_job){ .run = run, .user = &works[i] };
        ring_offload(ring, &works[i].job);
    }
    uint64_t give_up = ring_now(ring) + 20000000000u;
    for (uint32_t home = 0; home < JOBS;) {
        struct ring_event event;
        assert_int_equal(ring_wait(ring, give_up), 0);
        assert_true(ring_now(ring) < give_up);
        while (ring_next(ring, &event)) {
            if (event.type != RING_FINISHED) continue;
            struct work *work = event.job->user;
            assert_int_equal(atomic_load(&work->ran), 1);
            assert_int_equal(work->finished++, 0);
            home++;
        }
    }
    assert_int_equal(ring_counters(ring)->jobs, JOBS);
    ring_helpers_stop(helpers);
    ring_release(ring);
    free(works);
}

static void test_jobs_come_home_uring(void **state) {
    (void)state;
    if (!ring_has_backend(RING_URING) || uring_refused()) skip();
    jobs_come_home(RING_URING);
}

static void test_jobs_come_home_epoll(void **state) {
    (void)state;
    if (!ring_has_backend(RING_EPOLL)) skip();
    jobs_come_home(RING_EPOLL);
}

/* What was handed over before the stop still runs. */
static void test_stop_finishes_what_was_handed_over(void **state) {
    (void)state;
    struct ring_helpers *helpers = ring_helpers_start(1);
    struct ring *ring = open_ring(RING_AUTO, helpers);
    struct work work = { .job = { .run = run } };
    work.job.user = &work;
    ring_offload(ring, &work.job);
    ring_helpers_stop(helpers);
    assert_int_equal(atomic_load(&work.ran), 1);
    ring_release(ring);
}

/* A blocked SIGBUS would end the process: mem/holes.h. Other signals are the main thread's. */
static void look_at_signals(struct ring_job *job) {
    sigset_t mask;
    int *right = job->user;
    *right = pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && !sigismember(&mask, SIGBUS) && sigismember(&mask, SIGTERM) &&
             sigismember(&mask, SIGINT) && sigismember(&mask, SIGUSR1);
}

static void test_signals(void **state) {
    (void)state;
    struct ring_helpers *helpers = ring_helpers_start(1);
    struct ring *ring = open_ring(RING_AUTO, helpers);
    int right = 0;
    struct ring_job job = { .run = look_at_signals, .user = &right };
    ring_offload(ring, &job);
    ring_helpers_stop(helpers);
    ring_release(ring);
    assert_true(right);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_come_home_uring),
        cmocka_unit_test(test_jobs_come_home_epoll),
        cmocka_unit_test(test_stop_finishes_what_was_handed_over),
        cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
