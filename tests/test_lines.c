/* Lines between two threads: order, wholeness, full and empty rings, the turn to the beginning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "random.h"
#include "mem/counter.h"
#include "server/lines.h"

enum { BYTES = 256 };

static char memory[BYTES];
static struct lines lines;

static int set_up(void **state) {
    (void)state;
    lines_init(&lines, memory, BYTES);
    return 0;
}

/* False when there is no room. */
static bool put(const char *text) {
    size_t len = strlen(text);
    char *room = lines_reserve(&lines, len + 10); /* as an upper bound is: more than it needs */
    if (room == NULL) {
        return false;
    }
    memcpy(room, text, len);
    lines_commit(&lines, len);
    return true;
}

static const char *get(void) {
    static char text[BYTES + 1];
    struct span bytes = lines_peek(&lines);
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    lines_take(&lines, bytes.len);
    return text;
}

static void test_seen_when_published(void **state) {
    (void)state;
    assert_false(lines_publish(&lines));
    assert_true(put("one\n"));
    assert_true(put("two\n"));
    assert_int_equal(lines_peek(&lines).len, 0);
    assert_true(lines_publish(&lines));
    assert_false(lines_publish(&lines));
    assert_string_equal(get(), "one\ntwo\n");
    assert_int_equal(lines_peek(&lines).len, 0);
}

static void test_taken_in_part(void **state) {
    (void)state;
    assert_true(put("one\n") && put("two\n") && lines_publish(&lines));
    lines_take(&lines, 4);
    assert_string_equal(get(), "two\n");
}

/* Full: the line is refused, what is there stays; when it was read there is room again, from the beginning. */
static void test_full(void **state) {
    (void)state;
    char text[64];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    unsigned n = 0;
    while (put(text)) {
        n++;
    }
    assert_int_equal(n, 3); /* 3 * 63, and 73 more do not fit into 256 */
    assert_true(lines_publish(&lines));
    assert_false(put(text));
    assert_int_equal(strlen(get()), 3 * 63);
    assert_true(put(text)); /* at the beginning: the end is too short */
    assert_ptr_equal(lines_reserve(&lines, 10), memory + 63);
    assert_true(lines_publish(&lines));
    assert_string_equal(get(), text);
}

/* The writer never catches up with the reader from behind: that would look empty. */
static void test_never_equal_when_full(void **state) {
    (void)state;
    assert_non_null(lines_reserve(&lines, 100));
    lines_commit(&lines, 100);
    assert_non_null(lines_reserve(&lines, 120));
    lines_commit(&lines, 120);
    assert_true(lines_publish(&lines));
    lines_take(&lines, 100);
    assert_null(lines_reserve(&lines, 100)); /* [0, 100) would end at the reader's place */
    assert_non_null(lines_reserve(&lines, 99));
    lines_commit(&lines, 99);
    assert_true(lines_publish(&lines));
    assert_int_equal(lines_peek(&lines).len, 120);
    lines_take(&lines, 120);
    assert_int_equal(lines_peek(&lines).len, 99);
}

/* Two threads, lines of all lengths with a number each: none is lost but those that were refused, none is torn. */
enum { LINES = 200000, LARGE = 4096 };

static char large[LARGE];
static uint64_t refused;

static void *write_lines(void *arg) {
    (void)arg;
    struct random random = { 1 };
    for (unsigned i = 0; i < LINES; i++) {
        unsigned pad = (unsigned)(random_next(&random) % 300);
        char *room = lines_reserve(&lines, 320);
        if (room == NULL) {
            counter_add(&refused, 1);
            lines_publish(&lines);
            sched_yield();
            continue;
        }
        int n = sprintf(room, "%u ", i);
        memset(room + n, 'x', pad);
        room[n + (int)pad] = '\n';
        lines_commit(&lines, (size_t)n + pad + 1);
        if (i % 7 == 0) {
            lines_publish(&lines);
        }
    }
    lines_publish(&lines);
    return NULL;
}

static void check_lines(struct span bytes, uint64_t *seen, long *last) {
    while (bytes.len > 0) {
        const char *end = memchr(bytes.data, '\n', bytes.len);
        assert_non_null(end); /* whole lines only */
        char *behind;
        long number = strtol(bytes.data, &behind, 10);
        assert_true(number > *last);
        assert_int_equal(*behind, ' ');
        assert_int_equal(strspn(behind + 1, "x"), end - behind - 1);
        *last = number;
        (*seen)++;
        bytes = span_from(bytes, (size_t)(end - bytes.data) + 1);
    }
}

static void test_two_threads(void **state) {
    (void)state;
    pthread_t writer;
    uint64_t seen = 0;
    long last = -1;
    lines_init(&lines, large, LARGE);
    refused = 0;
    assert_int_equal(pthread_create(&writer, NULL, write_lines, NULL), 0);
    while (last < 0 || seen + counter_read(&refused) < LINES) {
        struct span bytes = lines_peek(&lines);
        if (bytes.len == 0) {
            sched_yield();
            if (pthread_tryjoin_np(writer, NULL) == 0) {
                writer = 0;
                break;
            }
            continue;
        }
        check_lines(bytes, &seen, &last);
        lines_take(&lines, bytes.len);
    }
    if (writer != 0) {
        pthread_join(writer, NULL);
    }
    for (struct span bytes; (bytes = lines_peek(&lines)).len > 0; lines_take(&lines, bytes.len)) {
        check_lines(bytes, &seen, &last);
    }
    assert_int_equal(seen + refused, LINES);
    assert_true(seen > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_seen_when_published, set_up),
        cmocka_unit_test_setup(test_taken_in_part, set_up),
        cmocka_unit_test_setup(test_full, set_up),
        cmocka_unit_test_setup(test_never_equal_when_full, set_up),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
