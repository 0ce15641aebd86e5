/* mmap(2): "SIGBUS: attempted access to a page of the buffer that lies beyond the end of the mapped file". */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/holes.h"
#include "rows.h"

enum { PAGE = 4096, PAGES = 8, BYTES = PAGE * PAGES, WITNESS = BYTES - PAGE };

static int fd;
static char *bytes;
static struct holes_witness witness;

static int setup(void **state) {
    (void)state;
    char path[] = "/tmp/ringmain-holes-XXXXXX";
    fd = mkstemp(path);
    unlink(path);
    bytes = fd < 0 || ftruncate(fd, BYTES) != 0 ? MAP_FAILED : mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) {
        return -1;
    }
    memset(bytes, 'b', BYTES);
    witness.word = (const uint64_t *)(const void *)(bytes + WITNESS);
    memcpy(&witness.value, bytes + WITNESS, sizeof witness.value);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    munmap(bytes, BYTES);
    close(fd);
    return 0;
}

struct cut {
    const char *name;
    off_t sizes[3]; /* of the file, one after the other; -1: no more */
    bool copies;
};

static const struct cut cuts[] = {
    { "whole", { -1 }, true },
    { "cut to nothing", { 0, -1 }, false },
    { "cut behind the bytes", { 4 * PAGE, -1 }, false }, /* they are right still, but nobody can tell */
    { "cut inside their page", { PAGE + 100, -1 }, false },
    { "cut and grown again", { 0, BYTES, -1 }, false },
    { "cut inside their page and grown again", { PAGE + 100, BYTES, -1 }, false },
    { "grown", { BYTES + 1, -1 }, true },
};

static void test_cut(void **state) {
    const struct cut *row = *state;
    char out[PAGE + 10], same[PAGE + 10];
    bool equal = false;
    holes_begin(); /* in the test: cmocka has handlers of its own */
    memset(same, 'b', sizeof same);
    for (unsigned i = 0; row->sizes[i] >= 0; i++) {
        assert_int_equal(ftruncate(fd, row->sizes[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) { /* the signal is not blocked afterwards */
        memset(out, 'x', sizeof out);
        assert_int_equal(holes_copy(&witness, out, bytes + PAGE + 8, sizeof out), row->copies);
        assert_int_equal(holes_compare(&witness, bytes + PAGE + 8, same, sizeof same, &equal), row->copies);
        assert_int_equal(holes_copy(&witness, bytes + PAGE + 8, same, sizeof same), row->copies); /* into the mapping */
        assert_int_equal(holes_copy(&witness, NULL, NULL, 0), row->copies);
        if (row->copies) {
            assert_memory_equal(out, same, sizeof out);
            assert_true(equal);
        }
    }
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&mask, SIGBUS));
    holes_end();
}

/* Whoever started us has blocked it: exec(2) hands the mask on. */
static void test_blocked(void **state) {
    (void)state;
    char out[PAGE];
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGBUS);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &mask, NULL), 0);
    holes_begin();
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_false(holes_copy(&witness, out, bytes, sizeof out));
    holes_end();
}

static void test_differs(void **state) {
    (void)state;
    bool equal = true;
    holes_begin();
    assert_true(holes_compare(&witness, bytes, "bbbc", 4, &equal));
    assert_false(equal);
    holes_end();
}

/* ---------------------------------------------------------------------------------------------- other handlers ---- */

static void exit_plain(int number) {
    _exit(number == SIGBUS ? 42 : 1);
}

static void exit_info(int number, siginfo_t *info, void *context) {
    (void)context;
    _exit(number == SIGBUS && (info->si_code <= 0 || info->si_addr == bytes + PAGE) ? 43 : 1);
}

enum { PLAIN, INFO, DEFAULT, IGNORED };

struct handler {
    const char *name;
    int before; /* what was there before us */
    bool sent;  /* with kill(2), else by a load from a hole */
    int code;   /* of the exit; 0: by the signal; -1: it goes on */
};

static const struct handler handlers[] = {
    { "a handler", PLAIN, false, 42 },
    { "a handler, sent", PLAIN, true, 42 },
    { "a handler with information", INFO, false, 43 },
    { "a handler with information, sent", INFO, true, 43 },
    { "none", DEFAULT, false, 0 },
    { "none, sent", DEFAULT, true, 0 },
    { "ignored: a load cannot be", IGNORED, false, 0 },
    { "ignored, sent", IGNORED, true, -1 },
};

static void be_hit(const struct handler *row) {
    struct sigaction action = { .sa_handler = row->before == DEFAULT ? SIG_DFL : row->before == IGNORED ? SIG_IGN : exit_plain };
    if (row->before == INFO) {
        action.sa_sigaction = exit_info;
        action.sa_flags = SA_SIGINFO;
    }
    sigaction(SIGBUS, &action, NULL);
    holes_begin();
    holes_begin();
    holes_end();
    (void)!holes_copy(&witness, bytes, "a", 1); /* what was touched before does not matter */
    if (row->sent) {
        kill(getpid(), SIGBUS);
    } else {
        (void)!ftruncate(fd, 0);
        (void)!*(volatile char *)(bytes + PAGE);
    }
    _exit(7);
}

static void test_handler(void **state) {
    const struct handler *row = *state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        be_hit(row);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (row->code == 0) {
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGBUS);
    } else {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), row->code < 0 ? 7 : row->code);
    }
}

static void test_restores(void **state) {
    (void)state;
    struct sigaction before, during, after;
    sigaction(SIGBUS, NULL, &before);
    holes_begin();
    sigaction(SIGBUS, NULL, &during);
    assert_true(during.sa_sigaction != before.sa_sigaction);
    holes_end();
    sigaction(SIGBUS, NULL, &after);
    assert_true(after.sa_handler == before.sa_handler);
    holes_begin();
    /* Who came after us stays, and we stay behind. */
    struct sigaction third = { .sa_handler = exit_plain }, now;
    sigaction(SIGBUS, &third, &during);
    holes_end();
    sigaction(SIGBUS, NULL, &now);
    assert_true(now.sa_handler == exit_plain);
    sigaction(SIGBUS, &during, NULL);
    holes_begin();
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_false(holes_copy(&witness, NULL, NULL, 0));
    holes_end();
}

/* ------------------------------------------------------------------------------------------------------ threads ---- */

static void *copy_until_false(void *arg) {
    uint64_t *copies = arg;
    char out[3 * PAGE];
    while (holes_copy(&witness, out, bytes + 100, sizeof out)) {
        for (size_t i = 0; i < sizeof out; i++) {
            if (out[i] != 'b') {
                return "a wrong byte";
            }
        }
        ++*copies;
    }
    return holes_copy(&witness, out, bytes, 1) ? "it is whole again" : NULL;
}

/* Every copy is right or says that it is not: also that of the page that is cut. */
static void test_threads(void **state) {
    (void)state;
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    uint64_t copies[THREADS] = { 0 };
    holes_begin();
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, copy_until_false, &copies[i]), 0);
    }
    usleep(2000);
    assert_int_equal(ftruncate(fd, PAGE + 1000), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *problem;
        pthread_join(threads[i], &problem);
        assert_null(problem);
    }
    holes_end();
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_cut, cuts);
    ROWS_TEST(&rows, test_blocked);
    ROWS_TEST(&rows, test_differs);
    ROWS_ADD(&rows, test_handler, handlers);
    ROWS_TEST(&rows, test_restores);
    for (unsigned i = 0; i < 20; i++) {
        ROWS_TEST(&rows, test_threads);
    }
    for (size_t i = 0; i < rows.count; i++) {
        rows.tests[i].setup_func = setup;
        rows.tests[i].teardown_func = teardown;
    }
    return rows_run("holes", &rows);
}
