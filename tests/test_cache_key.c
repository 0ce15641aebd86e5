/* Keys: no two lists of parts have the same bytes; and what server_open refuses of routes that cache. */
#include "rows.h"
#include "server/cache.h"
#include "server_rig.h"

static enum rm_step ok(struct rm_exchange *x) {
    return rm_text(x, 200, "ok");
}

static bool no_key(const struct rm_exchange *x, struct rm_key *key) {
    (void)x, (void)key;
    return false;
}

static bool piece(struct rm_exchange *x, struct span bytes) {
    (void)x, (void)bytes;
    return true;
}

static struct span bytes_of(const struct rm_key *key) {
    return span_of(key->bytes, key->len);
}

/* ------------------------------------------------------------------------------------------------------- keys ---- */

static struct rm_key begun(const char *name) {
    struct rm_key key;
    struct rm_cache cache = { .name = name };
    rm_key_begin(&key, &cache);
    assert_false(key.overflow);
    return key;
}

/* Each of these is another key than all the others. */
static void test_distinct(void **state) {
    (void)state;
    struct rm_key keys[8] = { begun("a"), begun("a"), begun("a"),  begun("a"),
                              begun("a"), begun("a"), begun("ab"), begun("") };
    rm_key_span(&keys[1], SPAN("b"));
    rm_key_span(&keys[2], SPAN(""));
    rm_key_none(&keys[3]);
    rm_key_span(&keys[4], SPAN("b"));
    rm_key_span(&keys[4], SPAN("c"));
    rm_key_span(&keys[5], SPAN("bc"));
    rm_key_span(&keys[7], SPAN("a"));
    for (int i = 0; i < 8; i++) {
        assert_false(keys[i].overflow);
        for (int k = 0; k < i; k++) {
            assert_false(span_equal(bytes_of(&keys[i]), bytes_of(&keys[k])));
        }
    }
}

static void test_integers_are_their_digits(void **state) {
    (void)state;
    static const struct {
        int64_t value;
        const char *digits;
    } rows[] = { { 0, "0" }, { -1, "-1" }, { INT64_MAX, "9223372036854775807" }, { INT64_MIN, "-9223372036854775808" } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rm_key a = begun("n"), b = begun("n");
        rm_key_int(&a, rows[i].value);
        rm_key_span(&b, span_text(rows[i].digits));
        assert_true(span_equal(bytes_of(&a), bytes_of(&b)));
    }
}

static void test_overflow(void **state) {
    (void)state;
    char text[RM_KEY_BYTES_MAX];
    memset(text, 'x', sizeof text);
    struct rm_key key = begun("a");
    size_t left = RM_KEY_BYTES_MAX - (size_t)key.len - 2;
    rm_key_span(&key, span_of(text, left + 1));
    assert_true(key.overflow);
    rm_key_span(&key, SPAN("b")); /* it stays so */
    assert_true(key.overflow);
    key = begun("a");
    rm_key_span(&key, span_of(text, left));
    assert_false(key.overflow);
    assert_int_equal(key.len, RM_KEY_BYTES_MAX);
    rm_key_none(&key);
    assert_true(key.overflow);
    assert_int_equal(key.len, RM_KEY_BYTES_MAX);
    for (size_t less = 0; less < 4; less++) { /* the last bytes of it, one by one */
        key = begun("a");
        rm_key_span(&key, span_of(text, left - less));
        rm_key_span(&key, SPAN(""));
        assert_int_equal(key.overflow, less < 2);
        assert_in_range(key.len, 0, RM_KEY_BYTES_MAX);
    }
}

/* ------------------------------------------------------------------------------------------------------ routes ---- */

static int open_with(const struct rm_route *route, char *why, char *vary) {
    static struct config config;
    const struct rm_route routes[] = { { "GET", "/other", ok }, *route, { 0 } };
    struct rm_app app = { .name = "test", .routes = routes };
    struct server server;
    config_default(&config);
    config.listen_count = 1;
    assert_int_equal(config_resolve(&config, 2, 4096, why), EXIT_FINE);
    why[0] = '\0';
    int code = server_open(&server, &config, &app, why);
    if (code == EXIT_FINE) {
        struct span names = server.cached[1].rule.vary;
        snprintf(vary, 128, "%.*s", (int)names.len, names.data);
        assert_ptr_equal(server.cached[1].handler, ok);
        assert_ptr_equal(server.table[1].handler, cache_run);
        assert_ptr_equal(server.table[0].handler, ok); /* what does not cache has no detour */
        server_release(&server);
    }
    return code;
}

struct row {
    const char *name;
    const char *why; /* a part of it */
    struct rm_cache cache;
    struct rm_route route;
};

#define LONG_NAME "0123456789012345678901234567890123456789012345678901234567890123"
#define SEVENTEEN \
    RM_PARTS("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "too-many")

static const struct row refused[] = {
    { "post", "GET only", { "a", 1 }, { "POST", "/x", ok } },
    { "head", "GET only", { "a", 1 }, { "HEAD", "/x", ok } },
    { "buffered", "RM_BODY_NONE", { "a", 1 }, { "GET", "/x", ok, RM_BODY_BUFFERED } },
    { "streamed", "RM_BODY_NONE", { "a", 1 }, { "GET", "/x", ok, RM_BODY_STREAMED, piece } },
    { "no_name", "has no name", { NULL, 1 }, { "GET", "/x", ok } },
    { "empty_name", "has no name", { "", 1 }, { "GET", "/x", ok } },
    { "long_name", "64 bytes", { LONG_NAME "x", 1 }, { "GET", "/x", ok } },
    { "no_ttl", "ttl of 0", { "a", 0 }, { "GET", "/x", ok } },
    { "long_ttl", "ttl of more", { "a", UINT64_MAX }, { "GET", "/x", ok } },
    { "long_grace", "grace of more", { "a", 1, UINT64_MAX }, { "GET", "/x", ok } },
    { "parts_and_function", "one of them", { "a", 1, 0, RM_PARTS("{id}"), no_key }, { "GET", "/x/{id}", ok } },
    { "unknown_segment", "path has not: {it}", { "a", 1, 0, RM_PARTS("{it}") }, { "GET", "/x/{id}", ok } },
    { "open_brace", "path has not: {id", { "a", 1, 0, RM_PARTS("{id") }, { "GET", "/x/{id}", ok } },
    { "empty_braces", "path has not: {}", { "a", 1, 0, RM_PARTS("{}") }, { "GET", "/x/{id}", ok } },
    { "empty_part", "empty part", { "a", 1, 0, RM_PARTS("") }, { "GET", "/x/{id}", ok } },
    { "empty_query", "empty part", { "a", 1, 0, RM_PARTS("?") }, { "GET", "/x/{id}", ok } },
    { "too_many", "first of them too many is too-many", { "a", 1, 0, SEVENTEEN }, { "GET", "/x/{id}", ok } },
};

static void test_refused(void **state) {
    const struct row *row = *state;
    char why[CONFIG_WHY_BYTES], vary[128];
    struct rm_route route = row->route;
    route.cache = &row->cache;
    assert_int_equal(open_with(&route, why, vary), EXIT_CONFIG);
    assert_has(why, row->why);
    assert_has(why, route.path);
}

static const struct row taken[] = {
    { "whole", "", { "a", 1 }, { "GET", "/x", ok } },
    { "longest_name", "", { LONG_NAME, 1 }, { "GET", "/x", ok } },
    { "all_kinds", "Accept-Language, X-Plan", { "a", 1, 0, RM_PARTS("Accept-Language", "{id}", "?page", "X-Plan") },
      { "GET", "/x/{id}", ok } },
    { "own", "", { "a", 1, 0, NULL, no_key }, { "GET", "/x/{id}", ok } },
};

static void test_taken(void **state) {
    const struct row *row = *state;
    char why[CONFIG_WHY_BYTES], vary[128];
    struct rm_route route = row->route;
    route.cache = &row->cache;
    if (open_with(&route, why, vary) != EXIT_FINE) {
        fail_msg("%s", why);
    }
    assert_string_equal(vary, row->why);
}

int main(void) {
    static struct rows tests;
    ROWS_TEST(&tests, test_distinct);
    ROWS_TEST(&tests, test_integers_are_their_digits);
    ROWS_TEST(&tests, test_overflow);
    ROWS_ADD(&tests, test_refused, refused);
    ROWS_ADD(&tests, test_taken, taken);
    return rows_run("cache_key", &tests);
}
