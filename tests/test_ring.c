/* Choosing a backend: what was compiled in, what the kernel allows, and what is said about it. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "refused.h"
#include "ring/ring.h"

static int32_t try_open(enum ring_choice choice, struct ring_report *report) {
    struct ring_config config = { .choice = choice, .sockets_max = 8 };
    struct ring *ring = NULL;
    ring_tuning_default(&config.tuning);
    int32_t error = ring_open(&config, &ring, report);
    if (error == 0) ring_release(ring);
    return error;
}

static void test_backends_compiled_in(void **state) {
    (void)state;
    struct ring_report report;
    const struct {
        enum ring_choice choice;
        const char *flag;
    } rows[] = { { RING_URING, "-During=true" }, { RING_EPOLL, "-Depoll=true" } };
    for (size_t i = uring_refused() && ring_has_backend(RING_URING) ? 1 : 0; i < 2; i++) {
        int32_t error = try_open(rows[i].choice, &report);
        if (ring_has_backend(rows[i].choice)) {
            assert_int_equal(error, 0);
            assert_string_not_equal(report.features, "");
            continue;
        }
        assert_int_equal(error, -EOPNOTSUPP);
        assert_non_null(strstr(report.why, rows[i].flag));
    }
    assert_true(ring_has_backend(RING_AUTO));
}

static void test_auto_takes_the_best_there_is(void **state) {
    (void)state;
    struct ring_report report;
    assert_int_equal(try_open(RING_AUTO, &report), 0);
    bool best = ring_has_backend(RING_URING) && !uring_refused();
    assert_string_equal(report.backend, best ? "uring" : "epoll");
    assert_int_equal(report.fallback, !best);
}

/* From here on io_uring_setup(2) says EPERM, as a container's seccomp profile does. */
static void deny_io_uring(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof code / sizeof code[0], .filter = code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(77);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(77);
}

static int denied_child(void) {
    deny_io_uring();
    struct ring_report report;
    if (try_open(RING_URING, &report) != -EPERM) return 1;
    if (strstr(report.why, "seccomp") == NULL) return 2;
    int32_t error = try_open(RING_AUTO, &report);
    if (!ring_has_backend(RING_EPOLL)) return error == -EPERM ? 0 : 3;
    if (error != 0) return 4;
    if (!report.fallback) return 5;
    if (strcmp(report.backend, "epoll") != 0) return 6;
    return strstr(report.why, "EPERM") == NULL ? 7 : 0;
}

static void test_fallback_is_loud(void **state) {
    (void)state;
    if (!ring_has_backend(RING_URING)) skip();
    pid_t child = fork();
    if (child == 0) _exit(denied_child());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(ring_call_name(RING_CALL_io_uring_enter), "io_uring_enter");
    assert_string_equal(ring_call_name(RING_CALL_write), "write");
    assert_string_equal(ring_event_name(RING_ACCEPTED), "ACCEPTED");
    assert_string_equal(ring_event_name(RING_TICK), "TICK");
}

static void test_random_numbers_differ(void **state) {
    (void)state;
    struct ring_config config = { .choice = RING_AUTO, .sockets_max = 8 };
    struct ring *ring = NULL;
    struct ring_report report;
    ring_tuning_default(&config.tuning);
    assert_int_equal(ring_open(&config, &ring, &report), 0);
    uint64_t all = 0, any = 0;
    all = ~all;
    for (int i = 0; i < 64; i++) {
        uint64_t x = ring_random(ring);
        all &= x;
        any |= x;
    }
    assert_true(all == 0);
    assert_true(any == ~(uint64_t)0);
    ring_release(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backends_compiled_in), cmocka_unit_test(test_auto_takes_the_best_there_is),
        cmocka_unit_test(test_fallback_is_loud),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_random_numbers_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
