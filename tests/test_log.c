/* Log lines: one write each, cut when too long, dropped below the level. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "server/log.h"

static int saved, ends[2];

/* stderr becomes a pipe. */
static void redirect(void) {
    fflush(stderr);
    saved = dup(STDERR_FILENO);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    dup2(ends[1], STDERR_FILENO);
}

/* What was written to it, and back to the real one. */
static const char *restore(void) {
    static char text[8 * LOG_MESSAGE_BYTES];
    dup2(saved, STDERR_FILENO);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(saved);
    close(ends[0]);
    close(ends[1]);
    return text;
}

/* The stamp's digits become zeroes. */
static const char *stampless(const char *text) {
    static char copy[4 * LOG_MESSAGE_BYTES];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *p = copy; (p = strstr(p, "20")) != NULL; p++) {
        bool stamp = strlen(p) >= 24 && p[4] == '-' && p[10] == 'T' && p[23] == 'Z';
        for (int i = 0; stamp && i < 23; i++) {
            p[i] = p[i] >= '0' && p[i] <= '9' ? '0' : p[i];
        }
    }
    return copy;
}

#define ZERO "0000-00-00T00:00:00.000Z"

static void test_lines(void **state) {
    (void)state;
    log_set_level(LOG_INFO);
    redirect();
    log_line(LOG_INFO, "%d workers", 2);
    log_line(LOG_WARN, "slow");
    log_line(LOG_ERROR, "%s", "a\nforged \x1b[31m line");
    log_line(LOG_DEBUG, "not shown");
    assert_string_equal(stampless(restore()),
                        ZERO " info 2 workers\n" ZERO " warn slow\n" ZERO " error a forged  [31m line\n");
}

static void test_json(void **state) {
    (void)state;
    log_set_format(LOG_JSON);
    redirect();
    log_line(LOG_INFO, "on %s", "a \"b\"\n\xc2\xb7 \xff");
    log_set_format(LOG_TEXT);
    assert_string_equal(stampless(restore()), "{\"ts\":\"" ZERO "\",\"level\":\"info\",\"component\":\"main\","
                                              "\"msg\":\"on a \\\"b\\\"\\u000A\xc2\xb7 \\ufffd\"}\n");
    enum log_format format;
    assert_true(log_format_parse("json", &format) && format == LOG_JSON);
    assert_true(log_format_parse("text", &format) && format == LOG_TEXT);
    assert_false(log_format_parse("xml", &format));
}

static void *log_from_thread(void *arg) {
    pthread_setname_np(pthread_self(), "rm-7");
    log_line(LOG_INFO, "from a worker");
    return arg;
}

static void test_component(void **state) {
    (void)state;
    pthread_t thread;
    log_set_format(LOG_JSON);
    redirect();
    assert_int_equal(pthread_create(&thread, NULL, log_from_thread, NULL), 0);
    pthread_join(thread, NULL);
    log_set_format(LOG_TEXT);
    assert_non_null(strstr(restore(), "\"component\":\"rm-7\""));
}

static void again(int i) {
    log_line(LOG_WARN, "again: %d", i);
}

/* Waits until the second is over. */
static void next_second(time_t second) {
    struct timespec now;
    do {
        usleep(20000);
        clock_gettime(CLOCK_REALTIME, &now);
    } while (now.tv_sec == second);
}

/* What repeats is held back, counted, and told of later; other lines are not. */
static void test_repeats(void **state) {
    (void)state;
    struct timespec now, after;
    const char *text = NULL;
    for (bool first = true;; first = false) { /* all within one second */
        clock_gettime(CLOCK_REALTIME, &now);
        if (!first || now.tv_nsec > 500000000) {
            next_second(now.tv_sec);
            clock_gettime(CLOCK_REALTIME, &now);
        }
        redirect();
        for (int i = 0; i < 3 * LOG_REPEATS_MAX; i++) {
            again(i);
        }
        log_line(LOG_WARN, "something else");
        text = restore();
        clock_gettime(CLOCK_REALTIME, &after);
        if (after.tv_sec == now.tv_sec) {
            break;
        }
    }
    unsigned lines = 0;
    for (const char *p = text; (p = strstr(p, "again: ")) != NULL; p++) {
        lines++;
    }
    assert_int_equal(lines, LOG_REPEATS_MAX);
    assert_non_null(strstr(text, "something else"));
    next_second(now.tv_sec);
    redirect();
    for (int i = 100; i < 102; i++) {
        again(i);
    }
    assert_string_equal(stampless(restore()),
                        ZERO " warn again: 100 (and 20 such lines before it that were not written)\n"
                        ZERO " warn again: 101\n");
}

static void test_levels(void **state) {
    (void)state;
    enum log_level level;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_parse("Debug", &level));
    assert_false(log_level_parse("", &level));
    log_set_level(LOG_ERROR);
    assert_false(log_enabled(LOG_WARN));
    assert_true(log_enabled(LOG_ERROR));
    assert_string_equal(log_level_name(LOG_WARN), "warn");
    log_set_level(LOG_INFO);
}

static void test_too_long(void **state) {
    (void)state;
    static char text[LOG_MESSAGE_BYTES + 100];
    memset(text, 'x', sizeof text - 1);
    log_set_level(LOG_INFO);
    redirect();
    log_line(LOG_INFO, "%s", text);
    const char *line = restore();
    assert_true(strlen(line) <= LOG_MESSAGE_BYTES + 40);
    assert_true(strlen(line) > LOG_MESSAGE_BYTES);
    assert_int_equal(line[strlen(line) - 1], '\n');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_component),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
