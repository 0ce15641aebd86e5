#include "mem/escape.h"

#include <stdio.h>

#include "guard.h"
#include "random.h"
#include "rows.h"

/* RFC 8259 §7: the short escapes where there are any, \u00XX for other control characters, nothing else is escaped. */
static void model(unsigned byte, char out[8]) {
    switch (byte) {
    case '"': snprintf(out, 8, "\\\""); break;
    case '\\': snprintf(out, 8, "\\\\"); break;
    case '\b': snprintf(out, 8, "\\b"); break;
    case '\f': snprintf(out, 8, "\\f"); break;
    case '\n': snprintf(out, 8, "\\n"); break;
    case '\r': snprintf(out, 8, "\\r"); break;
    case '\t': snprintf(out, 8, "\\t"); break;
    default: snprintf(out, 8, byte < 0x20 ? "\\u%04x" : "%c", byte); break;
    }
}

static bool is_clean(char byte) {
    return (uint8_t)byte >= 0x20 && byte != '"' && byte != '\\';
}

static void test_bytes(void **state) {
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        char expected[8], text[8] = { 0 }, raw = (char)byte;
        model(byte, expected);
        assert_int_equal(escape_is_clean(raw), is_clean(raw));
        *escape_put_text(text, span_of(&raw, 1)) = '\0';
        assert_string_equal(text, expected);
        if (!escape_is_clean(raw)) {
            *escape_put(text, raw) = '\0';
            assert_string_equal(text, expected);
            assert_true(strlen(text) <= ESCAPE_BYTES_MAX);
        }
    }
}

static const char *inline_scan(const char *p, const char *end) {
    return escape_scan(p, end);
}

static size_t all_ways(struct escape_way ways[static ESCAPE_WAYS_MAX + 1]) {
    uint32_t count = escape_ways(ways);
    ways[count] = (struct escape_way){ "inline", true, inline_scan };
    return count + 1;
}

/* All ways, and what is built on them, agree with a loop. `p` may be just in front of a page that can't be read. */
static void check(const char *p, size_t len) {
    static struct escape_way ways[ESCAPE_WAYS_MAX + 1];
    static size_t count;
    count = count == 0 ? all_ways(ways) : count;
    size_t clean = 0;
    while (clean < len && is_clean(p[clean])) {
        clean++;
    }
    for (size_t w = 0; w < count; w++) {
        if (ways[w].works && (size_t)(ways[w].scan(p, p + len) - p) != clean) {
            fail_msg("%s differs at length %zu", ways[w].name, len);
        }
    }
    assert_int_equal(escape_is_clean_text(span_of(p, len)), clean == len);
}

/* Each byte at each place of each length. */
static void test_every_byte(void **state) {
    (void)state;
    struct guard guard = guard_open(4096);
    static const size_t lengths[] = { 0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32, 33, 47, 63, 64, 65, 100 };
    char text[128];
    memset(text, 'a', sizeof text);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        size_t len = lengths[l];
        char *p = guard_copy(&guard, text, len);
        check(p, len);
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                p[at] = (char)c;
                check(p, len);
            }
            p[at] = 'a';
        }
    }
    guard_close(&guard);
}

static void test_random(void **state) {
    (void)state;
    struct random random = random_seeded("escape");
    struct guard guard = guard_open(4096);
    char text[300], out[sizeof text * ESCAPE_BYTES_MAX], expected[sizeof out + 8];
    for (int round = 0; round < 20000; round++) {
        size_t len = random_below(&random, sizeof text), at = 0;
        uint32_t one_in = 1 + random_below(&random, 64);
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)(random_below(&random, one_in) == 0 ? random_next(&random) : 'a' + random_below(&random, 26));
            model((unsigned char)text[i], expected + at);
            at += strlen(expected + at);
        }
        const char *p = guard_copy(&guard, text, len);
        check(p, len);
        assert_int_equal(escape_put_text(out, span_of(p, len)) - out, at);
        assert_memory_equal(out, expected, at);
    }
    guard_close(&guard);
}

int main(void) {
    static struct rows rows;
    ROWS_TEST(&rows, test_bytes);
    ROWS_TEST(&rows, test_every_byte);
    ROWS_TEST(&rows, test_random);
    return rows_run("escape", &rows);
}
