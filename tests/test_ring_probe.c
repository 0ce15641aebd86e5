/* ring/probe.h on this machine: what a probe says agrees with what a ring gets, and refusals are told as the kernel put them. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ring/probe.h"
#include "rows.h"

static bool open_uring(struct ring_report *report) {
    struct ring_config config = { .choice = RING_URING, .sockets_max = 8 };
    ring_tuning_default(&config.tuning);
    struct ring *ring;
    if (ring_open(&config, &ring, report) != 0) {
        return false;
    }
    ring_release(ring);
    return true;
}

/* What ring_open has switched on must have been found, too. */
static void test_agrees_with_a_ring(void **state) {
    (void)state;
    static const struct {
        const char *shown; /* in the report's features */
        enum ring_feature feature;
    } rows[] = {
        { "taskrun=defer", RING_FEATURE_DEFER_TASKRUN }, { "issuer=single", RING_FEATURE_SINGLE_ISSUER },
        { "recv=multi", RING_FEATURE_RECEIVE_MULTI },    { "accept=multi", RING_FEATURE_ACCEPT_MULTI },
        { "files=direct", RING_FEATURE_DIRECT },         { "ring-fd=on", RING_FEATURE_RING_FD },
        { "iowait=off", RING_FEATURE_NO_IOWAIT },        { "sq=", RING_FEATURE_SETUP },
        { "sq=", RING_FEATURE_OPCODES },                 { "buffers=", RING_FEATURE_BUFFER_RING },
    };
    struct ring_report report;
    if (!ring_has_backend(RING_URING) || !open_uring(&report)) {
        skip();
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strstr(report.features, rows[i].shown) == NULL) {
            continue;
        }
        struct ring_finding finding = ring_probe(RING_URING, rows[i].feature);
        if (finding.result != 0) {
            fail_msg("%s: %d, but the ring says %s", ring_feature_name(rows[i].feature), finding.result, report.features);
        }
    }
}

/* Whatever a kernel says, a probe ends in time with 0 or -errno. */
static void test_bounded(void **state) {
    (void)state;
    for (unsigned i = 0; i < RING_FEATURES_COUNT; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        struct ring_finding finding = ring_probe(RING_URING, (enum ring_feature)i);
        clock_gettime(CLOCK_MONOTONIC, &to);
        int64_t ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
        assert_true(finding.result <= 0 && finding.result > -4096);
        assert_true(ms < 30 * RING_PROBE_MS); /* sanitizers, a busy machine: but an end */
    }
}

/* Twice the same: a probe leaves no descriptor behind. */
static void test_leaves_nothing(void **state) {
    (void)state;
    int before = dup(0);
    close(before);
    for (unsigned i = 0; i < RING_FEATURES_COUNT; i++) {
        (void)ring_probe(RING_URING, (enum ring_feature)i).result;
        int after = dup(0);
        close(after);
        if (after != before) {
            fail_msg("%s left a descriptor open", ring_feature_name((enum ring_feature)i));
        }
    }
}

static void test_other_backends_have_none(void **state) {
    (void)state;
    for (unsigned i = 0; i < RING_FEATURES_COUNT; i++) {
        assert_int_equal(ring_probe(RING_EPOLL, (enum ring_feature)i).result, -EOPNOTSUPP);
        assert_int_equal(ring_probe(RING_AUTO, (enum ring_feature)i).result, -EOPNOTSUPP);
        if (!ring_has_backend(RING_URING)) {
            assert_int_equal(ring_probe(RING_URING, (enum ring_feature)i).result, -EOPNOTSUPP);
        }
    }
}

static void test_names(void **state) {
    (void)state;
    for (unsigned i = 0; i < RING_FEATURES_COUNT; i++) {
        assert_true(strlen(ring_feature_name((enum ring_feature)i)) > 0);
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(ring_feature_name((enum ring_feature)i), ring_feature_name((enum ring_feature)j));
        }
        assert_true(strtod(ring_feature_kernel((enum ring_feature)i), NULL) >= 5.0);
    }
}

/* In a child: refuses one system call with `error`, and exits with what the probe then says, as a positive errno. */
static int probe_refused(long call, int error, enum ring_feature feature) {
    pid_t child = fork();
    if (child == 0) {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = sizeof filter / sizeof filter[0], .filter = filter };
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
            _exit(255);
        }
        _exit(-ring_probe(RING_URING, feature).result);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_refusals(void **state) {
    (void)state;
    if (!ring_has_backend(RING_URING) || ring_probe(RING_URING, RING_FEATURE_SETUP).result != 0) {
        skip();
    }
    assert_int_equal(probe_refused(SYS_io_uring_setup, EPERM, RING_FEATURE_SETUP), EPERM);
    assert_int_equal(probe_refused(SYS_io_uring_setup, ENOSYS, RING_FEATURE_DEFER_TASKRUN), ENOSYS);
    assert_int_equal(probe_refused(SYS_io_uring_register, EPERM, RING_FEATURE_BUFFER_RING), EPERM);
    assert_int_equal(probe_refused(SYS_socket, EMFILE, RING_FEATURE_ACCEPT_MULTI), EIO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_a_ring),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_leaves_nothing),
        cmocka_unit_test(test_other_backends_have_none),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
