#include <stdio.h>
#include <stdlib.h>

#include "http/http.h"
#include "http/parse.h"
#include "random.h"
#include "rows.h"

#define ROUTE(method, path) { { method, sizeof(method) - 1 }, { path, sizeof(path) - 1 }, HTTP_BODY_NONE, __LINE__ }

static char why[128];

static struct http_router *compile(const struct http_route *routes, uint32_t n) {
    void *memory = malloc(http_router_bytes(n));
    memset(memory, 0xee, http_router_bytes(n));
    why[0] = '\0';
    struct http_router *router = http_router_init(memory, routes, n, why, sizeof why);
    if (router == NULL) {
        free(memory);
    }
    return router;
}

static enum http_found find(const struct http_router *router, const char *method, const char *path,
    struct http_request *request,
                            const struct http_route **route, uint32_t *allow) {
    request->method = (uint8_t)http_method_of(span_text(method));
    request->head = path;
    request->path = (struct http_view){ 0, (uint16_t)strlen(path) };
    *route = NULL;
    *allow = 0;
    return http_router_find(router, request, route, allow);
}

/* ------------------------------------------------------------------------------------------------------------ find ---- */

static const struct http_route routes[] = {
    ROUTE("GET", "/"),
    ROUTE("GET", "/pipeline"),
    ROUTE("POST", "/pipeline"),
    ROUTE("GET", "/json/{count}"),
    ROUTE("GET", "/users/me"),
    ROUTE("GET", "/users/{id}"),
    ROUTE("PUT", "/users/{id}"),
    ROUTE("DELETE", "/users/{user}/posts/{post}"),
    ROUTE("GET", "/users/me/posts/{post}"),
    ROUTE("GET", "/{any}/posts/new"),
    ROUTE("HEAD", "/head"),
    ROUTE("GET", "/head"),
    ROUTE("GET", "/a/"),
    ROUTE("GET", "/long/static/path/with/many/segments/in/it"),
    ROUTE("GET", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}"),
    ROUTE("OPTIONS", "/pipeline"),
    ROUTE("PATCH", "/x"),
    ROUTE("TRACE", "/x"),
    ROUTE("GET", "/x1"),
    ROUTE("GET", "/ab"),
    ROUTE("GET", "/abc"),
    ROUTE("GET", "/abcdefg"),
    ROUTE("GET", "/abcdefgh"),
};

struct find_row {
    const char *name;
    const char *method, *path;
    const char *found;  /* path of the route, "404", or "405 " and the methods that are allowed */
    const char *params; /* "id=7" */
};

static const struct find_row find_rows[] = {
    { "root", "GET", "/", "/", "" },
    { "static", "GET", "/pipeline", "/pipeline", "" },
    { "another method", "POST", "/pipeline", "/pipeline", "" },
    { "HEAD by GET", "HEAD", "/pipeline", "/pipeline", "" },
    { "HEAD of its own", "HEAD", "/head", "/head", "" },
    { "named", "GET", "/json/50", "/json/{count}", "count=50" },
    { "HEAD, named", "HEAD", "/json/50", "/json/{count}", "count=50" },
    { "static wins", "GET", "/users/me", "/users/me", "" },
    { "named beside static", "GET", "/users/men", "/users/{id}", "id=men" },
    { "named beside static, shorter", "GET", "/users/m", "/users/{id}", "id=m" },
    { "static wins even without the method", "PUT", "/users/me", "405 GET,HEAD,OPTIONS", "" },
    { "two names", "DELETE", "/users/7/posts/9", "/users/{user}/posts/{post}", "user=7 post=9" },
    { "static first, at each position", "GET", "/users/me/posts/9", "/users/me/posts/{post}", "post=9" },
    { "back from a dead end", "GET", "/pipeline/posts/new", "/{any}/posts/new", "any=pipeline" },
    { "not back from a longer match", "GET", "/users/posts/new", "/{any}/posts/new", "any=users" },
    { "eight names", "GET", "/1/2/3/4/5/6/7/8", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}", "a=1 b=2 c=3 d=4 e=5 f=6 g=7 h=8" },
    { "a slash at the end is a segment", "GET", "/a/", "/a/", "" },
    { "without it", "GET", "/a", "404", "" },
    { "a slash too many", "GET", "/pipeline/", "404", "" },
    { "an empty name", "GET", "/json/", "404", "" },
    { "an empty name in the middle", "DELETE", "/users//posts/9", "404", "" },
    { "two slashes", "GET", "//", "404", "" },
    { "too long", "GET", "/json/1/2", "404", "" },
    { "too short", "GET", "/json", "404", "" },
    { "a prefix", "GET", "/pipelin", "404", "" },
    { "an extension", "GET", "/pipelines", "404", "" },
    { "case matters", "GET", "/Pipeline", "404", "" },
    { "no percent-decoding", "GET", "/json/%35%30", "/json/{count}", "count=%35%30" },
    { "braces in a request", "GET", "/json/{count}", "/json/{count}", "count={count}" },
    { "a long path", "GET", "/long/static/path/with/many/segments/in/it",
      "/long/static/path/with/many/segments/in/it", "" },
    { "nearly that", "GET", "/long/static/path/with/many/segments/in/at", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}",
      "a=long b=static c=path d=with e=many f=segments g=in h=at" },
    { "two bytes", "GET", "/x", "405 OPTIONS,TRACE,PATCH", "" },
    { "three bytes", "GET", "/ab", "/ab", "" },
    { "four bytes", "GET", "/abc", "/abc", "" },
    { "four other bytes", "GET", "/abd", "404", "" },
    { "eight bytes", "GET", "/abcdefg", "/abcdefg", "" },
    { "nine bytes", "GET", "/abcdefgh", "/abcdefgh", "" },
    { "wrong method", "DELETE", "/pipeline", "405 GET,HEAD,POST,OPTIONS", "" },
    { "wrong method, named", "POST", "/json/1", "405 GET,HEAD,OPTIONS", "" },
    { "unknown method", "BREW", "/pipeline", "405 GET,HEAD,POST,OPTIONS", "" },
    { "OPTIONS without a route", "OPTIONS", "/json/1", "405 GET,HEAD,OPTIONS", "" }, /* 204 then: RFC 9110 §9.3.7 */
    { "OPTIONS with a route", "OPTIONS", "/pipeline", "/pipeline", "" },
    { "OPTIONS of no path", "OPTIONS", "/pipelin", "404", "" },
    { "asterisk", "OPTIONS", "*", "404", "" },
    { "nothing", "GET", "", "404", "" },
};

static const char *const method_names[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE",
    "PATCH" };

static void test_find(void **state) {
    const struct find_row *row = *state;
    struct http_router *router = compile(routes, sizeof routes / sizeof *routes);
    assert_non_null(router);
    static struct http_request request;
    const struct http_route *route;
    uint32_t allow;
    char found[256] = "404", params[256] = "";
    size_t len = 0;
    switch (find(router, row->method, row->path, &request, &route, &allow)) {
    case HTTP_FOUND: sprintf(found, "%.*s", (int)route->path.len, route->path.data); break;
    case HTTP_FOUND_NO_PATH: break;
    case HTTP_FOUND_NO_METHOD:
        len = (size_t)sprintf(found, "405 ");
        for (uint32_t m = 0; m < HTTP_METHODS_COUNT; m++) {
            if ((allow & 1u << m) != 0) {
                len += (size_t)sprintf(found + len, "%s%s", len > 4 ? "," : "", method_names[m]);
            }
        }
    }
    assert_string_equal(found, row->found);
    len = 0;
    for (uint32_t i = 0; route != NULL && i < request.param_count; i++) {
        struct span value = http_span(&request, request.params[i]);
        const char *name = row->params; /* the i-th name of the row */
        for (uint32_t skip = 0; skip < i; skip++) {
            name = strchr(name, ' ') + 1;
        }
        struct span wanted = span_of(name, (size_t)(strchr(name, '=') - name));
        assert_int_equal(http_route_param(route, wanted), (int)i);
        len += (size_t)sprintf(params + len, "%s%.*s=%.*s", len > 0 ? " " : "", (int)wanted.len, wanted.data,
            (int)value.len,
                               value.data);
    }
    assert_string_equal(params, row->params);
    free(router);
}

static void test_param_position(void **state) {
    (void)state;
    static const struct http_route route = ROUTE("GET", "/a/{one}/b/{two}/");
    assert_int_equal(http_route_param(&route, SPAN("one")), 0);
    assert_int_equal(http_route_param(&route, SPAN("two")), 1);
    assert_int_equal(http_route_param(&route, SPAN("a")), -1);
    assert_int_equal(http_route_param(&route, SPAN("on")), -1);
    assert_int_equal(http_route_param(&route, SPAN("")), -1);
}

/* -------------------------------------------------------------------------------------------------------- compile ---- */

struct refused_row {
    const char *name; /* why */
    struct http_route routes[2];
};

#define NONE { { "", 0 }, { "", 0 }, HTTP_BODY_NONE, 0 }

static const struct refused_row refused_rows[] = {
    { "unknown method: BREW /", { ROUTE("BREW", "/"), NONE } },
    { "unknown method: get /", { ROUTE("get", "/"), NONE } },
    { "unknown method:  /", { ROUTE("", "/"), NONE } },
    { "a path begins with '/': GET a", { ROUTE("GET", "a"), NONE } },
    { "a path begins with '/': GET ", { ROUTE("GET", ""), NONE } },
    { "a {name} is a whole segment: GET /{a", { ROUTE("GET", "/{a"), NONE } },
    { "a {name} is a whole segment: GET /a}", { ROUTE("GET", "/a}"), NONE } },
    { "a {name} is a whole segment: GET /x{a}", { ROUTE("GET", "/x{a}"), NONE } },
    { "a {name} is a whole segment: GET /{a}x", { ROUTE("GET", "/{a}x"), NONE } },
    { "a {name} is a whole segment: GET /{}", { ROUTE("GET", "/{}"), NONE } },
    { "a {name} is a whole segment: GET /{a{b}", { ROUTE("GET", "/{a{b}"), NONE } },
    { "a {name} is a whole segment: GET /{a}{b}", { ROUTE("GET", "/{a}{b}"), NONE } },
    { "a {name} is a whole segment: GET /}a{", { ROUTE("GET", "/}a{"), NONE } },
    { "a {name} twice: GET /{a}/{a}", { ROUTE("GET", "/{a}/{a}"), NONE } },
    { "too many {name} segments: GET /{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}",
      { ROUTE("GET", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}"), NONE } },
    { "too many segments: GET /1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17",
      { ROUTE("GET", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17"), NONE } },
    { "matches the same requests as another: GET /a", { ROUTE("GET", "/a"), ROUTE("GET", "/a") } },
    { "matches the same requests as another: GET /a/{y}", { ROUTE("GET", "/a/{x}"), ROUTE("GET", "/a/{y}") } },
};

static void test_refused(void **state) {
    const struct refused_row *row = *state;
    assert_null(compile(row->routes, row->routes[1].method.len > 0 ? 2 : 1));
    assert_string_equal(why, row->name);
}

static void test_why_is_cut(void **state) {
    (void)state;
    static const struct http_route bad[] = { ROUTE("GET", "no-slash") };
    static char memory[100000];
    char small[8] = "#######", none[1] = "#";
    assert_null(http_router_init(memory, bad, 1, small, sizeof small));
    assert_string_equal(small, "a path ");
    assert_null(http_router_init(memory, bad, 1, none, 0));
    assert_int_equal(none[0], '#');
}

static void test_none(void **state) {
    (void)state;
    struct http_router *router = compile(routes, 0);
    assert_non_null(router);
    struct http_request request;
    const struct http_route *route;
    uint32_t allow;
    assert_int_equal(find(router, "GET", "/", &request, &route, &allow), HTTP_FOUND_NO_PATH);
    free(router);
}

/* ------------------------------------------------------------------------------------------------ against a model ---- */

static struct span model_segment(struct span *rest) {
    const char *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    struct span segment = span_first(*rest, slash != NULL ? (size_t)(slash - rest->data) : rest->len);
    *rest = slash != NULL ? span_from(*rest, segment.len + 1) : span_of(NULL, 0);
    return segment;
}

/* Compares a path with a pattern: -1 no match, else a number whose bits say which positions are static,
    the first one highest. */
static int64_t model_rank(struct span pattern, struct span path) {
    struct span a = span_from(pattern, 1), b = span_from(path, 1);
    int64_t rank = 0;
    int64_t bit = 1 << 20;
    while (a.data != NULL && b.data != NULL) {
        struct span p = model_segment(&a), s = model_segment(&b);
        bool named = p.len > 0 && p.data[0] == '{';
        if (named ? s.len == 0 : !span_equal(p, s)) {
            return -1;
        }
        rank |= named ? 0 : bit;
        bit >>= 1;
    }
    return a.data == NULL && b.data == NULL ? rank : -1;
}

static void random_path(struct random *random, char *out, bool names) {
    static const char *const segments[] = { "a", "b", "ab", "abcdefgh", "abcdefghi", "" };
    size_t len = 0;
    for (uint32_t i = 0, n = random_below(random, 4) + 1; i < n; i++) {
        bool name = names && random_below(random, 3) == 0;
        len += (size_t)(name ? sprintf(out + len, "/{n%u}", i) : sprintf(out + len, "/%s",
            segments[random_below(random, 6)]));
    }
}

static void random_table(struct random *random) {
    static char texts[40][64];
    static struct http_route table[40];
    uint32_t n = 0;
    struct http_router *router = NULL;
    for (uint32_t wanted = random_below(random, 40) + 1; n < wanted; n++) {
        random_path(random, texts[n], true);
        table[n] = (struct http_route){ SPAN("GET"), span_text(texts[n]), HTTP_BODY_NONE, n };
        struct http_router *next = compile(table, n + 1);
        if (next == NULL) {
            break; /* the same as another */
        }
        free(router);
        router = next;
    }
    for (int i = 0; router != NULL && i < 200; i++) {
        char path[64];
        struct http_request request;
        const struct http_route *route, *expected = NULL;
        uint32_t allow;
        int64_t best = -1;
        random_path(random, path, false);
        for (uint32_t r = 0; r < n; r++) {
            int64_t rank = model_rank(table[r].path, span_text(path));
            if (rank > best) {
                best = rank;
                expected = &table[r];
            }
        }
        enum http_found found = find(router, "GET", path, &request, &route, &allow);
        assert_int_equal(found, expected != NULL ? HTTP_FOUND : HTTP_FOUND_NO_PATH);
        assert_ptr_equal(route, expected);
    }
    free(router);
}

static void test_random(void **state) {
    (void)state;
    struct random random = random_seeded("router");
    for (int round = 0; round < 1000; round++) {
        random_table(&random);
    }
}

/* As many routes as there may be, as long as they may be. */
static void test_largest(void **state) {
    (void)state;
    static char texts[HTTP_ROUTES_MAX][128];
    static struct http_route table[HTTP_ROUTES_MAX];
    for (uint32_t i = 0; i < HTTP_ROUTES_MAX; i++) {
        size_t len = 0;
        for (uint32_t s = 0; s < HTTP_SEGMENTS_MAX; s++) {
            len += (size_t)(s % 2 == 1 ? sprintf(texts[i] + len, "/{s%u}", s) : sprintf(texts[i] + len, "/%us%u", i,
                s));
        }
        table[i] = (struct http_route){ SPAN("GET"), span_text(texts[i]), HTTP_BODY_NONE, i };
    }
    struct http_router *router = compile(table, HTTP_ROUTES_MAX);
    assert_non_null(router);
    for (uint32_t i = 0; i < HTTP_ROUTES_MAX; i++) {
        struct http_request request;
        const struct http_route *route;
        uint32_t allow;
        assert_int_equal(find(router, "GET", texts[i], &request, &route, &allow), HTTP_FOUND);
        assert_int_equal(route->index, i);
        assert_int_equal(request.param_count, HTTP_SEGMENTS_MAX / 2);
    }
    free(router);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_find, find_rows);
    ROWS_ADD(&rows, test_refused, refused_rows);
    ROWS_TEST(&rows, test_param_position);
    ROWS_TEST(&rows, test_why_is_cut);
    ROWS_TEST(&rows, test_none);
    ROWS_TEST(&rows, test_random);
    ROWS_TEST(&rows, test_largest);
    return rows_run("router", &rows);
}
