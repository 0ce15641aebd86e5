#include <math.h>
#include <stdio.h>

#include "http/json.h"
#include "http_rows.h"
#include "random.h"

static struct rig rig;
static struct http_exchange *x;
static struct json_writer json;

static int open_rig(void **state) {
    (void)state;
    rig_open(&rig, &rig_plenty);
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_release(&rig);
    bool clean = rig_leak(&rig) == NULL;
    rig_close(&rig);
    return clean ? 0 : -1;
}

static void begin(const char *method) {
    static char text[64];
    snprintf(text, sizeof text, "%s /ok HTTP/1.1\r\n" H "\r\n", method);
    struct span input = span_text(text), piece;
    rig.output_len = 0;
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_READY);
    http_response_begin(x, 200, SPAN("application/json"));
    json_begin(&json, x);
}

/* The body, NUL-terminated; NULL when the response is not 200. */
static const char *end(void) {
    http_exchange_finish(x);
    rig_take_output(&rig);
    rig.output[rig.output_len] = '\0';
    char *blank = strstr(rig.output, "\r\n\r\n");
    return strncmp(rig.output, "HTTP/1.1 200", 12) == 0 && blank != NULL ? blank + 4 : NULL;
}

static void test_shapes(void **state) {
    (void)state;
    begin("GET");
    json_object(&json, NULL);
    json_array(&json, "items");
    json_object(&json, NULL);
    json_int(&json, "id", -1);
    json_string(&json, "name", SPAN("x"));
    json_close(&json);
    json_object(&json, NULL);
    json_close(&json);
    json_array(&json, NULL);
    json_int(&json, NULL, 1);
    json_double(&json, NULL, 0.5);
    json_bool(&json, NULL, true);
    json_bool(&json, NULL, false);
    json_null(&json, NULL);
    json_string(&json, NULL, SPAN(""));
    json_raw(&json, NULL, SPAN("{\"raw\":1}"));
    json_double(&json, NULL, (double)NAN);
    json_close(&json);
    json_close(&json);
    json_int(&json, "count", INT64_MIN);
    json_raw(&json, "r", SPAN("[]"));
    json_close(&json);
    assert_string_equal(end(),
                        "{\"items\":[{\"id\":-1,\"name\":\"x\"},{},[1,0.5,true,false,null,\"\",{\"raw\":1},null]],"
                               "\"count\":-9223372036854775808,\"r\":[]}");
}

static void test_lone_values(void **state) {
    (void)state;
    begin("GET");
    json_int(&json, NULL, 7);
    assert_string_equal(end(), "7");
    begin("GET");
    json_string(&json, NULL, SPAN("a\"b"));
    assert_string_equal(end(), "\"a\\\"b\"");
}

struct escape_row {
    const char *name;
    struct span in;
    const char *out;
};

#define ESCAPE(name, in, out) { name, { in, sizeof(in) - 1 }, out }

static const struct escape_row escape_rows[] = {
    ESCAPE("nothing", "", ""),
    ESCAPE("clean", "hello, world", "hello, world"),
    ESCAPE("quote", "\"", "\\\""),
    ESCAPE("backslash", "\\", "\\\\"),
    ESCAPE("slash stays", "/", "/"),
    ESCAPE("short escapes", "\b\f\n\r\t", "\\b\\f\\n\\r\\t"),
    ESCAPE("controls", "\x01\x02\x0b\x0e\x1f", "\\u0001\\u0002\\u000b\\u000e\\u001f"),
    ESCAPE("NUL", "a\0b", "a\\u0000b"),
    ESCAPE("DEL stays", "\x7f", "\x7f"),
    ESCAPE("UTF-8 stays", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
    ESCAPE("in the middle", "0123456789abcdef\"0123456789abcdef0123456789abcdef\n.",
           "0123456789abcdef\\\"0123456789abcdef0123456789abcdef\\n."),
};

static void test_escape(void **state) {
    const struct escape_row *row = *state;
    void *nothing = NULL;
    char expected[256], key[64];
    open_rig(&nothing);
    begin("GET");
    json_array(&json, NULL);
    json_string(&json, NULL, row->in);
    json_close(&json);
    snprintf(expected, sizeof expected, "[\"%s\"]", row->out);
    assert_string_equal(end(), expected);
    if (memchr(row->in.data, '\0', row->in.len) == NULL) { /* names are escaped as well */
        snprintf(key, sizeof key, "%.*s", (int)row->in.len, row->in.data);
        begin("GET");
        json_object(&json, NULL);
        json_int(&json, key, 1);
        json_bool(&json, key, true);
        json_close(&json);
        snprintf(expected, sizeof expected, "{\"%s\":1,\"%s\":true}", row->out, row->out);
        assert_string_equal(end(), expected);
    }
    close_rig(&nothing);
}

/* Longer than one write, longer than a block, clean and not. */
static void test_long(void **state) {
    (void)state;
    static char text[20000], expected[45000];
    static const size_t lens[] = { 400, 500, 510, 520, 4000, 4056, 4100, 20000 };
    for (size_t i = 0; i < 2 * sizeof lens / sizeof *lens; i++) {
        size_t len = lens[i / 2];
        memset(text, i % 2 == 0 ? 'a' : '"', len);
        begin("GET");
        json_array(&json, NULL);
        json_string(&json, NULL, span_of(text, len));
        json_raw(&json, NULL, SPAN("1"));
        json_close(&json);
        size_t at = (size_t)sprintf(expected, "[\"");
        for (size_t k = 0; k < len; k++) {
            at += (size_t)sprintf(expected + at, i % 2 == 0 ? "a" : "\\\"");
        }
        sprintf(expected + at, "\",1]");
        assert_string_equal(end(), expected);
    }
    memset(text, 'k', 600); /* a long name */
    text[600] = '\0';
    begin("GET");
    json_object(&json, NULL);
    json_int(&json, text, 5);
    json_double(&json, text, 0.5);
    json_object(&json, text);
    json_close(&json);
    json_close(&json);
    snprintf(expected, sizeof expected, "{\"%.600s\":5,\"%.600s\":0.5,\"%.600s\":{}}", text, text, text);
    assert_string_equal(end(), expected);
}

/* HEAD: the length of what GET would send. */
static void test_head(void **state) {
    (void)state;
    begin("HEAD");
    json_array(&json, NULL);
    for (int i = 0; i < 1000; i++) {
        json_string(&json, NULL, SPAN("0123456789"));
    }
    json_close(&json);
    assert_string_equal(end(), "");
    assert_non_null(strstr(rig.output, "Content-Length:      13001\r\n"));
}

/* ------------------------------------------------------------------------------------------------------ mistakes ---- */

static void name_in_an_array(void) {
    json_array(&json, NULL);
    json_int(&json, "x", 1);
}

static void no_name_in_an_object(void) {
    json_object(&json, NULL);
    json_string(&json, NULL, SPAN("x"));
}

static void name_at_the_top(void) {
    json_int(&json, "x", 1);
}

static void two_at_the_top(void) {
    json_int(&json, NULL, 1);
    json_int(&json, NULL, 2);
}

static void two_containers_at_the_top(void) {
    json_array(&json, NULL);
    json_close(&json);
    json_array(&json, NULL);
}

static void close_too_many(void) {
    json_array(&json, NULL);
    json_close(&json);
    json_close(&json);
}

static void too_deep(void) {
    for (int i = 0; i <= JSON_DEPTH_MAX; i++) {
        json_array(&json, NULL);
    }
}

static void (*const mistakes[])(void) = { name_in_an_array, no_name_in_an_object,      name_at_the_top, two_at_the_top,
                                          close_too_many,   two_containers_at_the_top, too_deep };

/* 500, and all that comes after it is harmless. */
static void test_mistakes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        begin("GET");
        mistakes[i]();
        json_object(&json, NULL);
        json_int(&json, "x", 1);
        json_string(&json, "x", SPAN("\""));
        json_raw(&json, NULL, SPAN("1"));
        json_close(&json);
        json_close(&json);
        assert_null(end());
        assert_int_equal(strncmp(rig.output, "HTTP/1.1 500", 12), 0);
    }
}

static void test_deepest(void **state) {
    (void)state;
    begin("GET");
    for (int i = 0; i < JSON_DEPTH_MAX; i++) {
        json_array(&json, NULL);
    }
    for (int i = 0; i < JSON_DEPTH_MAX; i++) {
        json_close(&json);
    }
    assert_string_equal(end(), "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]");
}

/* Blocks run out: 503, and the writer goes on without harm. */
static void test_starved(void **state) {
    (void)state;
    struct rig_sizes sizes = rig_plenty;
    sizes.blocks = 3;
    rig_close(&rig);
    rig_open(&rig, &sizes);
    begin("GET");
    json_array(&json, NULL);
    for (int i = 0; i < 3000; i++) {
        json_object(&json, NULL);
        json_string(&json, "name", SPAN("value"));
        json_close(&json);
    }
    json_close(&json);
    assert_null(end());
    assert_int_equal(strncmp(rig.output, "HTTP/1.1 503", 12), 0);
}

/* --------------------------------------------------------------------------------------------------------- random ---- */

/* A random tree, written twice: by the writer and by sprintf. */
static size_t random_value(struct random *random, const char *key, char *out, int depth) {
    size_t len = key != NULL ? (size_t)sprintf(out, "\"%s\":", key) : 0;
    uint32_t kind = random_below(random, depth < 6 ? 6 : 4);
    int64_t number = (int64_t)(random_next(random) >> random_below(random, 64));
    switch (kind) {
    case 0:
        json_int(&json, key, number);
        return len + (size_t)sprintf(out + len, "%" PRId64, number);
    case 1:
        json_bool(&json, key, (number & 1) != 0);
        return len + (size_t)sprintf(out + len, "%s", (number & 1) != 0 ? "true" : "false");
    case 2: {
        char text[101];
        memset(text, 'a' + (int)random_below(random, 26), sizeof text);
        text[random_below(random, 101)] = '\0';
        json_string(&json, key, span_text(text));
        return len + (size_t)sprintf(out + len, "\"%s\"", text);
    }
    case 3:
        json_double(&json, key, (double)(number & 0xffff) / 4);
        return len + (size_t)sprintf(out + len, "%.17g", (double)(number & 0xffff) / 4);
    default: break;
    }
    bool object = kind == 4;
    if (object) {
        json_object(&json, key);
    } else {
        json_array(&json, key);
    }
    out[len++] = object ? '{' : '[';
    for (uint32_t i = 0, n = random_below(random, 5); i < n; i++) {
        if (i > 0) {
            out[len++] = ',';
        }
        len += random_value(random, object ? "key" : NULL, out + len, depth + 1);
    }
    json_close(&json);
    out[len++] = object ? '}' : ']';
    return len;
}

static void test_random(void **state) {
    (void)state;
    static char expected[1 << 20];
    struct random random = random_seeded("json");
    for (int round = 0; round < 3000; round++) {
        begin("GET");
        expected[random_value(&random, NULL, expected, 0)] = '\0';
        assert_string_equal(end(), expected);
    }
}

#define WITH_RIG(test) { #test, test, open_rig, close_rig, NULL }

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_escape, escape_rows);
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_shapes),   WITH_RIG(test_lone_values), WITH_RIG(test_long),    WITH_RIG(test_head),
        WITH_RIG(test_mistakes), WITH_RIG(test_deepest),     WITH_RIG(test_starved), WITH_RIG(test_random),
    };
    return rows_run("json escapes", &rows) + cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
