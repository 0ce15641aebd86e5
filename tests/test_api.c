/* What a handler sees of its request, and what it can say. */
#include "server_rig.h"

static struct rig rig;

static void write_span(struct rm_exchange *x, const char *name, struct span value) {
    rm_write(x, (struct span){ name, strlen(name) });
    rm_write(x, (struct span){ "=[", 2 });
    rm_write(x, value);
    rm_write(x, (struct span){ "]\n", 2 });
}

/* Shows all that there is. */
static enum rm_step show(struct rm_exchange *x) {
    struct span value = { NULL, 0 }, name;
    rm_begin(x, 200, "text/plain");
    write_span(x, "method", rm_method(x));
    write_span(x, "path", rm_path(x));
    write_span(x, "query", rm_query_string(x));
    write_span(x, "a", rm_param(x, "a"));
    write_span(x, "b", rm_param(x, "b"));
    write_span(x, "none", rm_param(x, "none"));
    write_span(x, "body", rm_body(x));
    if (rm_header(x, "x-test", &value)) {
        write_span(x, "header", value);
    }
    if (rm_query_value(x, "q", &value)) {
        write_span(x, "q", value);
    }
    for (size_t cursor = 0; rm_query_next(x, &cursor, &name, &value);) {
        write_span(x, "pair", name);
        write_span(x, "is", value);
    }
    return RM_DONE;
}

static enum rm_step with_headers(struct rm_exchange *x) {
    rm_set_header(x, "X-One", (struct span){ "1", 1 });
    rm_set_header(x, "X-Two", (struct span){ "2", 1 });
    return rm_text(x, 200, "ok");
}

static enum rm_step bad_header(struct rm_exchange *x) {
    rm_set_header(x, "X-Bad", (struct span){ "a\r\nSet-Cookie: b", 16 });
    return rm_text(x, 200, "ok");
}

static enum rm_step status(struct rm_exchange *x) {
    int64_t code = 0;
    rm_int(rm_param(x, "code"), &code);
    return rm_status(x, (int)code);
}

static enum rm_step greedy(struct rm_exchange *x) {
    while (rm_alloc(x, 1000) != NULL) {}
    return rm_text(x, 200, "not this");
}

static enum rm_step zeroed(struct rm_exchange *x) {
    char *memory = rm_alloc(x, 3000);
    if (memory == NULL || (uintptr_t)memory % 16 != 0) {
        return rm_text(x, 200, "unaligned");
    }
    for (int i = 0; i < 3000; i++) {
        if (memory[i] != 0) {
            return rm_text(x, 200, "dirty");
        }
    }
    memset(memory, 'x', 3000);
    return rm_text(x, 200, "clean");
}

static struct span text_span(const char *text) {
    return (struct span){ text, strlen(text) };
}

static enum rm_step json(struct rm_exchange *x) {
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
    for (int i = 0; i < 17; i++) {
        rm_json_array(x, NULL);
    }
    for (int i = 0; i < 17; i++) {
        rm_json_close(x);
    }
    return RM_DONE;
}

static const struct rm_route routes[] = {
    { "GET", "/json", json, RM_BODY_NONE, NULL },
    { "GET", "/no-key", no_key, RM_BODY_NONE, NULL },
    { "GET", "/stray-key", stray_key, RM_BODY_NONE, NULL },
    { "GET", "/left-open", left_open, RM_BODY_NONE, NULL },
    { "GET", "/closed-twice", closed_twice, RM_BODY_NONE, NULL },
    { "GET", "/too-deep", too_deep, RM_BODY_NONE, NULL },
    { "GET", "/show/{a}/{b}", show, RM_BODY_NONE, NULL },
    { "POST", "/show/{a}/{b}", show, RM_BODY_BUFFERED, NULL },
    { "GET", "/headers", with_headers, RM_BODY_NONE, NULL },
    { "GET", "/bad-header", bad_header, RM_BODY_NONE, NULL },
    { "GET", "/status/{code}", status, RM_BODY_NONE, NULL },
    { "GET", "/greedy", greedy, RM_BODY_NONE, NULL },
    { "GET", "/zeroed", zeroed, RM_BODY_NONE, NULL },
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

static void test_request(void **state) {
    (void)state;
    const char *text = rig_ask(
        &rig, "POST /show/one/t%20wo?q=5&empty&q=6&&x=a=b HTTP/1.1\r\nHost: a\r\nX-TEST:  some text \r\n"
              "x-test: second\r\nContent-Length: 4\r\n\r\nbody");
    static const char *const parts[] = {
        "method=[POST]\n",
        "path=[/show/one/t%20wo]\n",
        "query=[q=5&empty&q=6&&x=a=b]\n",
        "a=[one]\n",
        "b=[t%20wo]\n",
        "none=[]\n",
        "body=[body]\n",
        "header=[some text]\n",
        "q=[5]\n",
        "pair=[q]\nis=[5]\npair=[empty]\nis=[]\npair=[q]\nis=[6]\npair=[x]\nis=[a=b]\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        assert_has(text, parts[i]);
    }
}

static void test_nothing_there(void **state) {
    (void)state;
    const char *body = rig_get(&rig, "/show/1/2", 200);
    assert_string_equal(body, "method=[GET]\npath=[/show/1/2]\nquery=[]\na=[1]\nb=[2]\nnone=[]\nbody=[]\n");
}

static void test_headers(void **state) {
    (void)state;
    const char *text = rig_ask(&rig, GET("/headers"));
    assert_has(text, "\r\nX-One: 1\r\n");
    assert_has(text, "\r\nX-Two: 2\r\n");
}

/* RFC 9110 §5.5: no way to smuggle a field in. */
static void test_bad_header(void **state) {
    (void)state;
    const char *text = rig_ask(&rig, GET("/bad-header"));
    assert_has(text, "HTTP/1.1 500 ");
    assert_null(strstr(text, "Set-Cookie"));
}

static void test_status(void **state) {
    (void)state;
    assert_string_equal(rig_get(&rig, "/status/204", 204), "");
    assert_has(rig_ask(&rig, GET("/status/404")), "Content-Length: 0\r\n");
}

static void test_workspace(void **state) {
    (void)state;
    rig_get(&rig, "/greedy", 500);
    assert_string_equal(rig_get(&rig, "/zeroed", 200), "clean");
    assert_string_equal(rig_get(&rig, "/zeroed", 200), "clean"); /* the memory that was filled before */
}

static void test_int(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool fine;
        int64_t value;
    } rows[] = {
        { "0", true, 0 },
        { "-5", true, -5 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "", false, 0 },
        { "-", false, 0 },
        { "+1", false, 0 },
        { "1 ", false, 0 },
        { "9223372036854775808", false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = 0;
        assert_int_equal(rm_int((struct span){ rows[i].text, strlen(rows[i].text) }, &value), rows[i].fine);
        assert_int_equal(value, rows[i].value);
    }
}

static void test_json(void **state) {
    (void)state;
    assert_string_equal(rig_get(&rig, "/json", 200),
                        "{\"int\":-7,\"double\":4.5,\"yes\":true,\"no\":false,\"empty\":[],\"none\":{},"
                        "\"list\":[1,\"two\",[3],{\"four\":4}],\"raw\":[null],\"quo\\\"te\":\"end\"}");
}

/* Broken JSON never leaves the server. */
static void test_json_mistakes(void **state) {
    (void)state;
    static const char *const targets[] = { "/no-key", "/stray-key", "/left-open", "/closed-twice", "/too-deep" };
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        rig_get(&rig, targets[i], 500);
    }
    rig_get(&rig, "/json", 200);
}

static void test_version(void **state) {
    (void)state;
    int major, minor, patch;
    assert_int_equal(sscanf(rm_version(), "%d.%d.%d", &major, &minor, &patch), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_request),         TEST(test_nothing_there),       TEST(test_headers), TEST(test_bad_header),
        TEST(test_status),          TEST(test_workspace),           TEST(test_json),    TEST(test_json_mistakes),
        cmocka_unit_test(test_int), cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
