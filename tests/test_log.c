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
    static char text[2 * LOG_LINE_BYTES];
    dup2(saved, STDERR_FILENO);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(saved);
    close(ends[0]);
    close(ends[1]);
    return text;
}

static void test_lines(void **state) {
    (void)state;
    log_set_level(LOG_INFO);
    redirect();
    log_line(LOG_INFO, "%d workers", 2);
    log_line(LOG_WARN, "slow");
    log_line(LOG_ERROR, "%s", "bad");
    log_line(LOG_DEBUG, "not shown");
    assert_string_equal(restore(), "ringmain: 2 workers\nringmain: warn: slow\nringmain: error: bad\n");
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
    static char text[LOG_LINE_BYTES + 100];
    memset(text, 'x', sizeof text - 1);
    log_set_level(LOG_INFO);
    redirect();
    log_line(LOG_INFO, "%s", text);
    const char *line = restore();
    assert_true(strlen(line) <= LOG_LINE_BYTES);
    assert_true(strlen(line) > LOG_LINE_BYTES - 10);
    assert_int_equal(line[strlen(line) - 1], '\n');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
