/* sd_notify(3) and sd_listen_fds(3) with the tests in the place of systemd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/notify.h"

static struct notify notify;
static int manager = -1; /* the service manager's end */

static int clear(void **state) {
    (void)state;
    static const char *const names[] = {
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
    if (manager >= 0) {
        close(manager);
        manager = -1;
    }
    return 0;
}

static void set_number(const char *name, long value) {
    char text[32];
    snprintf(text, sizeof text, "%ld", value);
    setenv(name, text, 1);
}

/* Listens where NOTIFY_SOCKET says; '@' is an abstract name. */
static void manage(const char *where) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    size_t len = strlen(where);
    memcpy(name.sun_path, where, len);
    if (where[0] == '@') {
        name.sun_path[0] = '\0';
    }
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(manager, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)), 0);
    setenv("NOTIFY_SOCKET", where, 1);
}

static const char *heard(void) {
    static char text[1024];
    ssize_t n = recv(manager, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void check_telling(const char *where) {
    manage(where);
    notify_open(&notify);
    assert_true(notify.fd >= 0);
    assert_null(getenv("NOTIFY_SOCKET")); /* no child may speak for us */
    notify_send(&notify, "READY=1\nMAINPID=%d", 42);
    assert_string_equal(heard(), "READY=1\nMAINPID=42");
    assert_string_equal(heard(), ""); /* one datagram */
    notify_close(&notify);
    notify_send(&notify, "STOPPING=1");
    assert_string_equal(heard(), "");
}

static void test_path(void **state) {
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "/tmp/ringmain-notify.%d", (int)getpid());
    unlink(path);
    check_telling(path);
    unlink(path);
}

static void test_abstract(void **state) {
    (void)state;
    char name[64];
    snprintf(name, sizeof name, "@ringmain-notify.%d", (int)getpid());
    check_telling(name);
}

static void test_nobody(void **state) {
    (void)state;
    static const char *const bad[] = { NULL, "", "/", "relative", "vsock:1:2" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        clear(NULL);
        if (bad[i] != NULL) {
            setenv("NOTIFY_SOCKET", bad[i], 1);
        }
        notify_open(&notify);
        assert_int_equal(notify.fd, -1);
        assert_int_equal(notify.watchdog_ns, 0);
        notify_send(&notify, "READY=1");
    }
}

struct watchdog_row {
    const char *name, *usec, *pid; /* pid "own": this process's */
    uint64_t ns;
};

static const struct watchdog_row watchdog_rows[] = {
    { "none", NULL, NULL, 0 },
    { "half of the time", "3000000", NULL, 1500000000 },
    { "ours", "2", "own", 1000 },
    { "somebody else's", "3000000", "1", 0 },
    { "no number", "3s", NULL, 0 },
    { "zero", "0", NULL, 0 },
    { "too long", "18446744073709551615", NULL, 0 },
};

static void test_watchdog(void **state) {
    const struct watchdog_row *row = *state;
    clear(NULL);
    char name[64];
    snprintf(name, sizeof name, "@ringmain-watchdog.%d", (int)getpid());
    manage(name);
    if (row->usec != NULL) {
        setenv("WATCHDOG_USEC", row->usec, 1);
    }
    if (row->pid != NULL) {
        set_number("WATCHDOG_PID", strcmp(row->pid, "own") == 0 ? (long)getpid() : 1);
    }
    notify_open(&notify);
    assert_int_equal(notify.watchdog_ns, row->ns);
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    notify_close(&notify);
}

/* ------------------------------------------------------------------------------------------------------- sockets ---- */

enum { FIRST = 200 };

static char why[512];
static struct notify_sockets sockets;

/* A TCP socket at a descriptor of our choice, listening or not. */
static void put_socket(int fd, bool listening) {
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (listening) {
        assert_int_equal(listen(made, 1), 0);
    }
    assert_int_equal(dup2(made, fd), fd);
    close(made);
}

static void test_sockets(void **state) {
    (void)state;
    put_socket(FIRST, true);
    put_socket(FIRST + 1, true);
    put_socket(FIRST + 2, true);
    set_number("LISTEN_PID", getpid());
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "web:admin", 1); /* one name less than there are sockets */
    assert_true(notify_take_sockets(&sockets, FIRST, why, sizeof why));
    assert_int_equal(sockets.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sockets.sockets[i].fd, FIRST + i);
        assert_int_equal(sockets.sockets[i].admin, i == 1);
        assert_int_equal(sockets.sockets[i].address.storage.ss_family, AF_INET);
        assert_int_equal(fcntl(FIRST + i, F_GETFD), FD_CLOEXEC);
        close(FIRST + i);
    }
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDNAMES"));
}

static void test_not_ours(void **state) {
    (void)state;
    put_socket(FIRST, true);
    static const char *const pids[] = { NULL, "1", "x" };
    for (size_t i = 0; i < 3; i++) {
        clear(NULL);
        setenv("LISTEN_FDS", "1", 1);
        if (pids[i] != NULL) {
            setenv("LISTEN_PID", pids[i], 1);
        }
        assert_true(notify_take_sockets(&sockets, FIRST, why, sizeof why));
        assert_int_equal(sockets.count, 0);
        assert_null(getenv("LISTEN_FDS"));
    }
    close(FIRST);
}

static void test_bad_sockets(void **state) {
    (void)state;
    set_number("LISTEN_PID", getpid());
    setenv("LISTEN_FDS", "1", 1);
    put_socket(FIRST, false); /* does not listen */
    assert_false(notify_take_sockets(&sockets, FIRST, why, sizeof why));
    assert_non_null(strstr(why, "descriptor 200"));
    close(FIRST);
    set_number("LISTEN_PID", getpid());
    setenv("LISTEN_FDS", "1", 1);
    assert_false(notify_take_sockets(&sockets, FIRST, why, sizeof why)); /* not open */
    set_number("LISTEN_PID", getpid());
    setenv("LISTEN_FDS", "17", 1);
    assert_false(notify_take_sockets(&sockets, FIRST, why, sizeof why));
    assert_non_null(strstr(why, "more than 16"));
}

int main(void) {
    enum { ROWS = sizeof watchdog_rows / sizeof watchdog_rows[0], OTHERS = 6 };
    static struct CMUnitTest tests[ROWS + OTHERS] = {
        cmocka_unit_test_setup(test_path, clear),       cmocka_unit_test_setup(test_abstract, clear),
        cmocka_unit_test_setup(test_nobody, clear),     cmocka_unit_test_setup(test_sockets, clear),
        cmocka_unit_test_setup(test_not_ours, clear),   cmocka_unit_test_setup(test_bad_sockets, clear),
    };
    for (size_t i = 0; i < ROWS; i++) {
        tests[OTHERS + i] = (struct CMUnitTest){
            .name = watchdog_rows[i].name, .test_func = test_watchdog, .initial_state = (void *)(uintptr_t)&watchdog_rows[i]
        };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
