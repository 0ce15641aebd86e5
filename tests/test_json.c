/* The JSON writer: commas, nesting, escapes, numbers; RFC 8259. */
#include "server_rig.h"

static struct rig rig;

static struct span text_span(const char *text) {
    return (struct span){ text, strlen(text) };
}

static enum rm_step all(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "int", -7);
    rm_json_double(x, "double", 4.5);
    rm_json_bool(x, "yes", true);
    rm_json_bool(x, "no", false);
    rm_json_array(x, "empty");
    rm_json_close(x);
    rm_json_object(x, "none");
    rm_json_close(x);
    rm_json_array(x, "list");
    rm_json_int(x, NULL, 1);
    rm_json_string(x, NULL, text_span("two"));
    rm_json_array(x, NULL);
    rm_json_int(x, NULL, 3);
    rm_json_close(x);
    rm_json_object(x, NULL);
    rm_json_int(x, "four", 4);
    rm_json_close(x);
    rm_json_close(x);
    rm_json_raw(x, "raw", text_span("[null]"));
    rm_json_string(x, "quo\"te", text_span("end"));
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step lone(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    rm_json_string(x, NULL, text_span("alone"));
    return RM_DONE;
}

/* Every byte, in one string. */
static enum rm_step bytes(struct rm_exchange *x) {
    char text[256];
    for (int i = 0; i < 256; i++) {
        text[i] = (char)i;
    }
    rm_begin(x, 200, "application/json");
    rm_json_string(x, NULL, (struct span){ text, 128 });
    return RM_DONE;
}

/* Longer than any buffer of the writer, with an escape now and then. */
static enum rm_step lengthy(struct rm_exchange *x) {
    static char text[5000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = i % 701 == 700 ? '"' : (char)('a' + i % 26);
    }
    rm_begin(x, 200, "application/json");
    rm_json_array(x, NULL);
    for (size_t len = 0; len < sizeof text; len += 617) {
        rm_json_string(x, NULL, (struct span){ text, len });
    }
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step deep(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    for (int i = 0; i < 64; i++) {
        rm_json_array(x, NULL);
    }
    for (int i = 0; i < 64; i++) {
        rm_json_close(x);
    }
    return RM_DONE;
}

static enum rm_step no_key(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, NULL, 1);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step stray_key(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    rm_json_array(x, NULL);
    rm_json_int(x, "key", 1);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step left_open(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    rm_json_array(x, NULL);
    return RM_DONE;
}

static enum rm_step closed_twice(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    rm_json_array(x, NULL);
    rm_json_close(x);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step too_deep(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    for (int i = 0; i < 65; i++) {
        rm_json_array(x, NULL);
    }
    for (int i = 0; i < 65; i++) {
        rm_json_close(x);
    }
    return RM_DONE;
}

static const struct rm_route routes[] = {
    { "GET", "/all", all, RM_BODY_NONE, NULL },     { "GET", "/lone", lone, RM_BODY_NONE, NULL },
    { "GET", "/bytes", bytes, RM_BODY_NONE, NULL }, { "GET", "/lengthy", lengthy, RM_BODY_NONE, NULL },
    { "GET", "/deep", deep, RM_BODY_NONE, NULL },
    { "GET", "/no-key", no_key, RM_BODY_NONE, NULL },
    { "GET", "/stray-key", stray_key, RM_BODY_NONE, NULL },
    { "GET", "/left-open", left_open, RM_BODY_NONE, NULL },
    { "GET", "/closed-twice", closed_twice, RM_BODY_NONE, NULL },
    { "GET", "/too-deep", too_deep, RM_BODY_NONE, NULL },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_rig(void **state) {
    (void)state;
    rig_open(&rig, &app, "");
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

static void test_shapes(void **state) {
    (void)state;
    assert_string_equal(rig_get(&rig, "/all", 200),
                        "{\"int\":-7,\"double\":4.5,\"yes\":true,\"no\":false,\"empty\":[],\"none\":{},"
                        "\"list\":[1,\"two\",[3],{\"four\":4}],\"raw\":[null],\"quo\\\"te\":\"end\"}");
    assert_string_equal(rig_get(&rig, "/lone", 200), "\"alone\"");
}

/* RFC 8259 §7. */
static void test_escapes(void **state) {
    (void)state;
    char expected[1024] = "\"";
    for (int i = 0; i < 128; i++) {
        char part[8];
        const char *named = i == '"' ? "\\\"" : i == '\\' ? "\\\\" : i == '\b' ? "\\b" : i == '\f' ? "\\f" : i == '\n' ? "\\n"
                          : i == '\r' ? "\\r" : i == '\t' ? "\\t" : NULL;
        if (named != NULL) {
            snprintf(part, sizeof part, "%s", named);
        } else {
            snprintf(part, sizeof part, i < 32 ? "\\u%04x" : "%c", (unsigned)i);
        }
        strncat(expected, part, sizeof expected - strlen(expected) - 1);
    }
    strncat(expected, "\"", sizeof expected - strlen(expected) - 1);
    assert_string_equal(rig_get(&rig, "/bytes", 200), expected);
}

static void test_long_strings(void **state) {
    (void)state;
    const char *body = rig_get(&rig, "/lengthy", 200);
    size_t escaped = 0, plain = 0;
    for (size_t len = 0; len < 5000; len += 617) {
        plain += len;
        escaped += len / 701; /* quotes in it */
    }
    assert_int_equal(strlen(body), plain + escaped + 9 * 2 + 8 + 2);
    assert_int_equal(count_of(body, "\\\""), escaped);
}

static void test_depth(void **state) {
    (void)state;
    const char *body = rig_get(&rig, "/deep", 200);
    assert_int_equal(strlen(body), 128);
    assert_int_equal(count_of(body, "["), 64);
}

/* Broken JSON never leaves the server. */
static void test_mistakes_are_500(void **state) {
    (void)state;
    static const char *const targets[] = { "/no-key", "/stray-key", "/left-open", "/closed-twice", "/too-deep" };
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        rig_get(&rig, targets[i], 500);
    }
    rig_get(&rig, "/all", 200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void) {
    const struct CMUnitTest tests[] = { TEST(test_shapes), TEST(test_escapes), TEST(test_long_strings), TEST(test_depth),
                                       TEST(test_mistakes_are_500) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
