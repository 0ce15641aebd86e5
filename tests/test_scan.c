#include "guard.h"
#include "http/scan.h"
#include "random.h"
#include "rows.h"

/* ABNF, written as code that can be compared with the RFC. */
static bool in_class(int c, enum scan_class class) {
    bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
    switch (class) {
    case SCAN_TOKEN: return alpha || digit || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL); /* RFC 9110 §5.6.2 */
    case SCAN_PATH: return c > 0x20 && c < 0x7f && c != '?' && c != '#';
    case SCAN_TEXT: return c == '\t' || (c >= 0x20 && c != 0x7f);       /* RFC 9110 §5.5 */
    case SCAN_HOST:                                                     /* RFC 3986 §3.2.2 */
        return alpha || digit || (c != 0 && strchr("-._~!$&'()*+,;=%", c) != NULL);
    case SCAN_DIGIT: return digit;
    case SCAN_HEX: return digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    }
    return false;
}

static void test_classes(void **state) {
    (void)state;
    static const enum scan_class all[] = { SCAN_TOKEN, SCAN_PATH, SCAN_TEXT, SCAN_HOST, SCAN_DIGIT, SCAN_HEX };
    for (int c = 0; c < 256; c++) {
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            if (scan_is((char)c, all[i]) != in_class(c, all[i])) {
                fail_msg("byte 0x%02x, class %d", (unsigned)c, (int)all[i]);
            }
        }
    }
}

/* The inline ways, as functions. */
static const char *inline_path(const char *p, const char *end) {
    return scan_path(p, end);
}

static const char *inline_text(const char *p, const char *end) {
    return scan_text(p, end);
}

static size_t all_ways(struct scan_way ways[static SCAN_WAYS_MAX + 1]) {
    uint32_t count = scan_ways(ways);
    ways[count] = (struct scan_way){ "inline", true, inline_path, inline_text };
    return count + 1;
}

static size_t model(const char *p, size_t len, enum scan_class class) {
    size_t i = 0;
    while (i < len && in_class((unsigned char)p[i], class)) {
        i++;
    }
    return i;
}

static void check(const struct scan_way *way, const char *p, size_t len) {
    const char *end = p + len;
    if ((size_t)(way->path(p, end) - p) != model(p, len, SCAN_PATH)
        || (size_t)(way->text(p, end) - p) != model(p, len, SCAN_TEXT)
        || (size_t)(scan_token(p, end) - p) != model(p, len, SCAN_TOKEN)) {
        fail_msg("%s differs at length %zu", way->name, len);
    }
}

/* Each byte at each place of each length, before a page that can't be read. */
static void test_every_byte(void **state) {
    (void)state;
    struct scan_way ways[SCAN_WAYS_MAX + 1];
    size_t count = all_ways(ways);
    struct guard guard = guard_open(4096);
    static const size_t lengths[] = { 0, 1, 7, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100 };
    char text[128];
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        size_t len = lengths[l];
        memset(text, 'a', sizeof text);
        char *p = guard_copy(&guard, text, len);
        for (size_t at = 0; at < len || at == 0; at++) {
            for (int c = 0; c < 256; c++) {
                if (len > 0) {
                    p[at] = (char)c;
                }
                for (size_t w = 0; w < count; w++) {
                    if (ways[w].works) {
                        check(&ways[w], p, len);
                    }
                }
            }
            if (len > 0) {
                p[at] = 'a';
            }
        }
    }
    guard_close(&guard);
}

static void test_random(void **state) {
    (void)state;
    struct random random = random_seeded("scan");
    struct scan_way ways[SCAN_WAYS_MAX + 1];
    size_t count = all_ways(ways);
    struct guard guard = guard_open(4096);
    char text[300];
    for (int round = 0; round < 20000; round++) {
        size_t len = random_below(&random, sizeof text);
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)(random_below(&random, 64) == 0 ? random_next(&random) : 'a' + random_below(&random, 26));
        }
        const char *p = guard_copy(&guard, text, len);
        for (size_t w = 0; w < count; w++) {
            if (ways[w].works) {
                check(&ways[w], p, len);
            }
        }
    }
    guard_close(&guard);
}

int main(void) {
    static struct rows rows;
    ROWS_TEST(&rows, test_classes);
    ROWS_TEST(&rows, test_every_byte);
    ROWS_TEST(&rows, test_random);
    return rows_run("scan", &rows);
}
