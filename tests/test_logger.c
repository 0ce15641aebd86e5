/* The access log's thread: order, rotation, what cannot be written, sleeping and waking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/counter.h"
#include "server/log.h"
#include "server/logger.h"

enum { RING_BYTES = 1 << 16, RINGS = 2, PATIENCE_MS = 60000 };

static char memory[RINGS][RING_BYTES];
static struct lines rings[RINGS];
static struct lines *ring_list[RINGS] = { &rings[0], &rings[1] };
static struct logger logger;
static char folder[64], path[96], old_path[96];

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ringmain-logger-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/access.log", folder);
    snprintf(old_path, sizeof old_path, "%s/access.log.1", folder);
    for (unsigned i = 0; i < RINGS; i++) {
        lines_init(&rings[i], memory[i], RING_BYTES);
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    unlink(old_path);
    return rmdir(folder);
}

static void start(const char *where) {
    assert_true(logger_open(&logger, where));
    assert_true(logger_start(&logger, ring_list, RINGS));
}

static bool put(unsigned ring, const char *text) {
    size_t len = strlen(text);
    char *room = lines_reserve(&rings[ring], len);
    if (room == NULL) {
        return false;
    }
    memcpy(room, text, len);
    lines_commit(&rings[ring], len);
    lines_publish(&rings[ring]);
    logger_nudge(&logger);
    return true;
}

static const char *contents(const char *file) {
    static char text[1 << 20];
    FILE *in = fopen(file, "r");
    size_t n = in == NULL ? 0 : fread(text, 1, sizeof text - 1, in);
    text[n] = '\0';
    if (in != NULL) {
        fclose(in);
    }
    return text;
}

#define EVENTUALLY(condition)                                    \
    do {                                                         \
        for (int ms_ = 0; !(condition); ms_++) {                 \
            assert_true(ms_ < PATIENCE_MS);                      \
            usleep(1000);                                        \
        }                                                        \
    } while (0)

static void test_written(void **state) {
    (void)state;
    start(path);
    assert_true(put(0, "a1\n") && put(0, "a2\n") && put(1, "b1\n"));
    EVENTUALLY(strlen(contents(path)) == 9);
    assert_non_null(strstr(contents(path), "a1\na2\n"));
    assert_true(put(1, "last\n"));
    logger_stop(&logger); /* nothing that was published is missing */
    assert_non_null(strstr(contents(path), "b1\nlast\n"));
    assert_int_equal(logger.written_bytes, strlen(contents(path)));
    logger_stop(&logger);
}

static void test_appends(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        start(path);
        assert_true(put(0, "x\n"));
        logger_stop(&logger);
    }
    assert_string_equal(contents(path), "x\nx\n");
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777 & ~0644u, 0);
}

static void test_cannot_open(void **state) {
    (void)state;
    assert_false(logger_open(&logger, "/nonexistent/folder/access.log"));
    assert_false(logger_open(&logger, folder)); /* a folder */
}

/* After a rotation what comes goes to the new file, and nothing is lost or twice. */
static void test_reopen(void **state) {
    (void)state;
    start(path);
    assert_true(put(0, "before\n"));
    EVENTUALLY(strlen(contents(path)) == 7);
    assert_int_equal(rename(path, old_path), 0);
    assert_true(put(0, "between\n"));
    EVENTUALLY(strlen(contents(old_path)) == 15);
    logger_reopen(&logger);
    EVENTUALLY(counter_read(&logger.reopens) == 1);
    assert_true(put(0, "after\n"));
    logger_stop(&logger);
    assert_string_equal(contents(old_path), "before\nbetween\n");
    assert_string_equal(contents(path), "after\n");
}

static int quiet_stderr(void) {
    fflush(stderr);
    int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    close(null);
    return saved;
}

static void loud_stderr(int saved) {
    dup2(saved, STDERR_FILENO);
    close(saved);
}

/* The new file cannot be opened: the old one goes on. */
static void test_reopen_fails(void **state) {
    (void)state;
    start(path);
    assert_int_equal(rename(path, old_path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    int saved = quiet_stderr();
    logger_reopen(&logger);
    EVENTUALLY(counter_read(&logger.write_errors) == 1);
    loud_stderr(saved);
    assert_true(put(0, "still\n"));
    logger_stop(&logger);
    assert_string_equal(contents(old_path), "still\n");
    assert_int_equal(logger.reopens, 0);
    assert_int_equal(rmdir(path), 0);
}

/* A full disk: errors are counted, lines stay until the ring is full, and then the file is another one. */
static void test_full_disk(void **state) {
    (void)state;
    char link[128];
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(symlink("/dev/full", link), 0);
    int saved = quiet_stderr();
    start(link);
    assert_true(put(0, "kept\n"));
    EVENTUALLY(counter_read(&logger.write_errors) > 0);
    unlink(link);
    assert_int_equal(symlink(path, link), 0);
    logger_reopen(&logger);
    EVENTUALLY(strcmp(contents(path), "kept\n") == 0);
    logger_stop(&logger);
    loud_stderr(saved);
    unlink(link);
}

/* Nobody reads the pipe: the thread waits, the worker finds its ring full; then somebody reads, and no line is torn. */
static void test_full_pipe(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    start(path);
    unsigned put_lines = 0, refused = 0;
    char line[32];
    for (unsigned i = 0; refused == 0; i++) {
        assert_true(i < 100000);
        snprintf(line, sizeof line, "line %08u\n", i);
        bool fits = put(0, line);
        put_lines += fits;
        refused += !fits;
    }
    assert_true(put_lines * 14 >= RING_BYTES - 28);
    char text[4096];
    size_t kept = 0;
    unsigned next = 0;
    for (int ms = 0; next < put_lines; ms++) {
        assert_true(ms < PATIENCE_MS);
        ssize_t n = read(reader, text + kept, sizeof text - kept);
        if (n <= 0) {
            usleep(1000);
            continue;
        }
        kept += (size_t)n;
        size_t at = 0;
        for (; kept - at >= 14; at += 14) {
            snprintf(line, sizeof line, "line %08u\n", next++);
            assert_memory_equal(text + at, line, 14);
        }
        memmove(text, text + at, kept - at);
        kept -= at;
    }
    assert_int_equal(kept, 0);
    logger_stop(&logger);
    close(reader);
}

/* What has been written of a line to a pipe is not written again when it is the same pipe that was opened anew. */
static void test_reopen_the_same_pipe(void **state) {
    (void)state;
    static const char line[] = "0123456789 0123456789 0123456789\n";
    enum { LINE_BYTES = sizeof line - 1, PIPE_BYTES = 4096 };
    _Static_assert(PIPE_BYTES % LINE_BYTES != 0, "a full pipe ends within a line");
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(fcntl(reader, F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
    size_t put_bytes = 0;
    while (put(0, line)) {
        put_bytes += LINE_BYTES;
    }
    start(path);
    EVENTUALLY(counter_read(&logger.written_bytes) == PIPE_BYTES);
    logger_reopen(&logger);
    EVENTUALLY(counter_read(&logger.reopens) == 1);
    static char text[RING_BYTES];
    size_t got = 0;
    for (int ms = 0; got < put_bytes; ms++) {
        assert_true(ms < PATIENCE_MS);
        ssize_t n = read(reader, text, sizeof text);
        for (ssize_t i = 0; i < n; i++) {
            assert_int_equal(text[i], line[got++ % LINE_BYTES]);
        }
        usleep(n <= 0 ? 1000 : 0);
    }
    logger_stop(&logger);
    close(reader);
}

/* A worker that is faster than the file does not keep the others' lines out of it. */
static void test_takes_turns(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(fcntl(reader, F_SETPIPE_SZ, RING_BYTES / 2), RING_BYTES / 2);
    while (put(0, "one more of the fast worker's\n")) {
    }
    assert_true(put(1, "other\n"));
    start(path);
    char text[4096 + 1];
    bool found = false;
    for (size_t got = 0; !found && got < 3 << 20;) {
        ssize_t n = read(reader, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        found = strstr(text, "other") != NULL;
        got += n > 0 ? (size_t)n : 0;
        usleep(n > 0 ? 0 : 1000);
        while (put(0, "one more of the fast worker's\n")) { /* it is never without a line */
        }
    }
    assert_true(found);
    int saved = quiet_stderr();
    logger_stop(&logger);
    loud_stderr(saved);
    close(reader);
}

/* A turn that ends just then does not keep the last lines out of the file. */
static void test_last_turn(void **state) {
    (void)state;
    size_t lines = 0;
    while (put(0, "0123456789abcde\n")) {
        lines++;
    }
    size_t taken = lines / 2;
    lines_take(&rings[0], 16 * taken); /* so that what follows is in two pieces */
    while (put(0, "0123456789abcde\n")) {
        lines++;
    }
    assert_true(logger_open(&logger, path));
    logger.in_turn = (1 << 20) - 1;
    logger.stop = true; /* it finds this when it starts */
    assert_true(logger_start(&logger, ring_list, RINGS));
    logger_stop(&logger);
    assert_int_equal(lines_peek(&rings[0]).len, 0);
    assert_int_equal(strlen(contents(path)), 16 * (lines - taken));
}

/* A pipe that stays full does not keep the server from ending. */
static void test_stop_with_a_full_pipe(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    start(path);
    for (unsigned n = 0; n < 5 * 4096; n++) {
        if (!put(0, "0123456789012345678901234567890\n")) {
            usleep(100);
        }
    }
    int saved = quiet_stderr();
    logger_stop(&logger);
    loud_stderr(saved);
    close(reader);
}

/* Without lines it sleeps; the first line after that costs a wake, the next ones none. */
static void test_sleeps(void **state) {
    (void)state;
    start(path);
    EVENTUALLY(__atomic_load_n(&logger.asleep, __ATOMIC_RELAXED));
    char *room = lines_reserve(&rings[1], 2);
    memcpy(room, "x\n", 2);
    lines_commit(&rings[1], 2);
    assert_true(lines_publish(&rings[1]));
    assert_true(logger_nudge(&logger));
    assert_false(logger_nudge(&logger));
    EVENTUALLY(strlen(contents(path)) == 2);
    assert_true(put(0, "y\n"));
    assert_false(logger_nudge(&logger));
    EVENTUALLY(__atomic_load_n(&logger.asleep, __ATOMIC_RELAXED));
    assert_int_equal(rename(path, old_path), 0);
    logger_reopen(&logger); /* also asleep */
    EVENTUALLY(access(path, F_OK) == 0);
    logger_stop(&logger);
    assert_string_equal(contents(old_path), "x\ny\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_appends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cannot_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reopen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reopen_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_pipe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reopen_the_same_pipe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_takes_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_last_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_with_a_full_pipe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sleeps, set_up, tear_down),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
