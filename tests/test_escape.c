#include "mem/escape.h"

#include <stdio.h>

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

static void test_bytes(void **state) {
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        char expected[8], text[8] = { 0 }, raw = (char)byte;
        model(byte, expected);
        assert_int_equal(escape_is_clean(raw), expected[1] == '\0');
        *escape_put_text(text, span_of(&raw, 1)) = '\0';
        assert_string_equal(text, expected);
        if (!escape_is_clean(raw)) {
            *escape_put(text, raw) = '\0';
            assert_string_equal(text, expected);
            assert_true(strlen(text) <= ESCAPE_BYTES_MAX);
        }
    }
}

int main(void) {
    static struct rows rows;
    ROWS_TEST(&rows, test_bytes);
    return rows_run("escape", &rows);
}
