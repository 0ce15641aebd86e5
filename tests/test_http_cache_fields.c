/* What may be stored, and what is stored beside a body. src/http/cache_fields.c */
#include <stdio.h>

#include "http_cache_drive.h"
#include "random.h"

static const struct http_cache_rule rule_minute = { .max_age_s = 60, .vary = SPAN("Accept-Language, X-Plan") };

/* A handler that sets these fields, "Name: value\r\n"... */
static void set_fields(struct http_exchange *x, const char *fields) {
    for (const char *line = fields; *line != '\0';) {
        const char *colon = strchr(line, ':'), *end = strstr(line, "\r\n");
        http_response_field(x, span_of(line, (size_t)(colon - line)), span_of(colon + 2, (size_t)(end - colon - 2)));
        line = end + 2;
    }
}

/* ----------------------------------------------------------------------------------------------- what is storable ---- */

struct storable_row {
    const char *name;
    int status;
    const char *fields;
    bool storable;
};

static const struct storable_row storable_rows[] = {
    { "nothing special", 200, "", true },
    /* only 200 */
    { "201", 201, "", false },
    { "203", 203, "", false },
    { "204", 204, "", false },
    { "206", 206, "Content-Range: bytes 0-1/5\r\n", false },
    { "301", 301, "Location: /\r\n", false },
    { "304", 304, "", false },
    { "404", 404, "", false },
    { "500", 500, "", false },
    { "503", 503, "", false },
    { "a cookie", 200, "Set-Cookie: a=b\r\n", false },
    { "a cookie behind others", 200, "X: y\r\nSET-COOKIE: a=b\r\n", false },
    /* RFC 9111 §3, §5.2.2 */
    { "no-store", 200, "Cache-Control: no-store\r\n", false },
    { "private", 200, "Cache-Control: private\r\n", false },
    { "in capitals", 200, "CACHE-CONTROL: No-Store\r\n", false },
    { "in a list", 200, "Cache-Control: max-age=5 ,\tprivate\r\n", false },
    { "in the second line", 200, "Cache-Control: max-age=5\r\nCache-Control: no-store\r\n", false },
    { "private with an argument", 200, "Cache-Control: private=\"x-a, x-b\"\r\n", false },
    { "quoted: rather not", 200, "Cache-Control: x=\"a, no-store, b\"\r\n", false },
    { "no-cache is about clients", 200, "Cache-Control: no-cache\r\n", true },
    { "longer names", 200, "Cache-Control: no-stores, privately, xno-store\r\n", true },
    { "an empty one", 200, "Cache-Control: \r\n", true },
    { "only commas", 200, "Cache-Control: ,,\r\n", true },
    { "max-age=0 is about clients", 200, "Cache-Control: max-age=0, must-revalidate\r\n", true },
    /* RFC 9111 §4.1, RFC 9110 §12.5.5 */
    { "vary, in the key", 200, "Vary: X-Plan\r\n", true },
    { "vary, all of the key", 200, "Vary: x-plan,accept-language\r\n", true },
    { "vary, two lines", 200, "Vary: X-Plan\r\nVary: Accept-Language\r\n", true },
    { "vary, empty elements", 200, "Vary: ,X-Plan,,\r\n", true },
    { "vary, not in the key", 200, "Vary: Accept-Encoding\r\n", false },
    { "vary, one not in the key", 200, "Vary: X-Plan, Cookie\r\n", false },
    { "vary, one line not in the key", 200, "Vary: X-Plan\r\nVary: Cookie\r\n", false },
    { "vary, part of a name", 200, "Vary: X-Pla\r\n", false },
    { "vary, anything", 200, "Vary: *\r\n", false },
    /* RFC 9111 §3.1, RFC 9110 §7.6.1 */
    { "Keep-Alive", 200, "Keep-Alive: timeout=5\r\n", false },
    { "Proxy-Connection", 200, "Proxy-Connection: close\r\n", false },
    { "TE", 200, "TE: trailers\r\n", false },
    { "Upgrade", 200, "Upgrade: h2c\r\n", false },
    { "Proxy-Authenticate", 200, "Proxy-Authenticate: Basic\r\n", false },
    { "Proxy-Authentication-Info", 200, "Proxy-Authentication-Info: a=b\r\n", false },
    { "Proxy-Authorization", 200, "Proxy-Authorization: a\r\n", false },
    /* what is ours, or no matter */
    { "Age", 200, "Age: 5\r\n", true },
    { "X-Cache", 200, "X-Cache: no\r\n", true },
    { "an ETag that is none", 200, "ETag: abc\r\n", true },
    { "Expires in the past", 200, "Expires: 0\r\n", true },
};

/* Begun and whole. */
static void test_storable(void **state) {
    const struct storable_row *row = *state;
    void *nothing = NULL;
    open_rig(&nothing);
    for (int how = 0; how < 2; how++) {
        struct http_exchange *x = capture(GET("/ok"));
        struct http_captured captured;
        set_fields(x, row->fields);
        assert_false(http_captured(x, &rule_minute, &captured)); /* not begun */
        if (how == 0) {
            http_response_whole(x, row->status, SPAN("text/plain"), SPAN("hello"));
        } else {
            http_response_begin(x, row->status, SPAN("text/plain"));
            put(x, "hello");
        }
        assert_int_equal(http_captured(x, &rule_minute, &captured), row->storable);
        http_response_uncapture(x, HTTP_CACHE_MISS, &rule_minute, SPAN(""));
        finish(x);
    }
    assert_int_equal(close_rig(&nothing), 0);
}

/* ----------------------------------------------------------------------------------------------------- what is stored ---- */

struct meta_row {
    const char *name;
    const char *type, *fields;
    const struct http_cache_rule *rule;
    const char *metadata, *others; /* of the lines, behind the length: what a 304 leaves out, and the rest */
    const char *etag;
    uint32_t age_s;
};

#define MADE "ETag: " TAG_OF_HELLO "\r\n"
#define ASK "Cache-Control: no-cache\r\n"
#define MINUTE "Cache-Control: max-age=60\r\nVary: Accept-Language, X-Plan\r\n"

static const struct meta_row meta_rows[] = {
    { "nothing", "", "", &rule_plain, "", MADE ASK, TAG_OF_HELLO },
    { "a type", "text/plain", "", &rule_plain, "", MADE ASK, TAG_OF_HELLO },
    { "a rule", "text/plain", "", &rule_minute, "", MADE MINUTE, TAG_OF_HELLO },
    /* RFC 9110 §15.4.5: a 304 repeats Content-Location, ETag, Vary, Cache-Control, Expires, and no other metadata */
    { "metadata and others", "text/plain",
      "X-A: 1\r\nContent-Language: de\r\nContent-Location: /x\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-B: 2\r\n"
      "Expires: 0\r\nContent-Encoding: gzip\r\nContent-Security-Policy: x\r\nContent-Disposition: inline\r\n",
      &rule_plain,
      "Content-Language: de\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Encoding: gzip\r\n"
      "Content-Disposition: inline\r\n",
      "X-A: 1\r\nContent-Location: /x\r\nX-B: 2\r\nExpires: 0\r\nContent-Security-Policy: x\r\n" MADE ASK, TAG_OF_HELLO },
    { "digests", "", "Content-Digest: a\r\nRepr-Digest: b\r\nWant-Repr-Digest: c\r\n", &rule_plain,
      "Content-Digest: a\r\nRepr-Digest: b\r\n", "Want-Repr-Digest: c\r\n" MADE ASK, TAG_OF_HELLO },
    /* RFC 9110 §8.8.3: the handler knows better */
    { "a tag", "", "X: y\r\nETag: \"v1\"\r\nY: z\r\n", &rule_plain, "", "X: y\r\nETag: \"v1\"\r\nY: z\r\n" ASK, "\"v1\"" },
    { "a weak tag", "", "etag: W/\"v1\"\r\n", &rule_plain, "", "etag: W/\"v1\"\r\n" ASK, "W/\"v1\"" },
    { "a tag that is none", "", "ETag: v1\r\n", &rule_plain, "", "ETag: v1\r\n" ASK, "" },
    { "two tags", "", "ETag: \"a\"\r\nETag: \"b\"\r\n", &rule_plain, "", "ETag: \"a\"\r\nETag: \"b\"\r\n" ASK, "" },
    { "its own control", "", "Cache-Control: max-age=5\r\n", &rule_minute, "",
      "Cache-Control: max-age=5\r\n" MADE "Vary: Accept-Language, X-Plan\r\n", TAG_OF_HELLO },
    { "its own vary becomes all of the key", "", "Vary: x-plan\r\n", &rule_minute, "", MADE MINUTE, TAG_OF_HELLO },
    /* RFC 9111 §5.1, §1.2.2: it goes on from there */
    { "an age", "", "Age: 30\r\n", &rule_plain, "", MADE ASK, TAG_OF_HELLO, 30 },
    { "an age beyond", "", "Age: 99999999999\r\n", &rule_plain, "", MADE ASK, TAG_OF_HELLO, UINT32_C(1) << 31 },
    { "an age that is none", "", "Age: soon\r\n", &rule_plain, "", MADE ASK, TAG_OF_HELLO, 0 },
    { "a state", "", "X-Cache: mine\r\nX-Cache-Key: k\r\n", &rule_plain, "", "X-Cache-Key: k\r\n" MADE ASK, TAG_OF_HELLO },
};

static void test_meta(void **state) {
    const struct meta_row *row = *state;
    void *nothing = NULL;
    char want[1024];
    open_rig(&nothing);
    struct http_exchange *x = capture(GET("/ok"));
    set_fields(x, row->fields);
    http_response_whole(x, 200, span_text(row->type), SPAN("hello"));
    assert_true(keep_and_finish(x, row->rule));
    struct http_stored stored;
    assert_true(http_meta_read(span_of(kept.meta, kept.meta_bytes), &stored));
    snprintf(want, sizeof want, "%s%s%sContent-Length: 5\r\n%s%s", row->type[0] != '\0' ? "Content-Type: " : "", row->type,
             row->type[0] != '\0' ? "\r\n" : "", row->metadata, row->others);
    assert_int_equal(stored.lines.len, strlen(want));
    assert_memory_equal(stored.lines.data, want, stored.lines.len);
    assert_int_equal(stored.lines_304.len, strlen(row->others));
    assert_ptr_equal(stored.lines_304.data + stored.lines_304.len, stored.lines.data + stored.lines.len);
    assert_true(span_equal(stored.etag, span_text(row->etag)));
    assert_int_equal(stored.age_before_s, row->age_s);
    assert_int_equal(stored.status, 200);
    assert_int_equal(stored.body_bytes, 5);
    assert_int_equal(stored.state, HTTP_CACHE_NONE);
    assert_int_equal(stored.age_ms, 0);
    assert_int_equal(close_rig(&nothing), 0);
}

/* A response of which only the body's length is known, and its date; what may not be stored is sent with all that was set. */
struct elsewhere_row {
    const char *name;
    const char *fields;
    const struct http_cache_rule *rule;
    bool storable;
    const char *metadata, *others;
};

#define WHEN "Sun, 06 Nov 1994 08:49:37 GMT"
#define MODIFIED "Last-Modified: " WHEN "\r\n"
#define TAGGED "ETag: \"t\"\r\n"

static const struct elsewhere_row elsewhere_rows[] = {
    { "nothing", "", &rule_plain, true, MODIFIED, TAGGED ASK },
    { "a rule", "X: y\r\n", &rule_minute, true, MODIFIED, "X: y\r\n" TAGGED MINUTE },
    { "its own date", "Last-Modified: today\r\n", &rule_plain, true, "Last-Modified: today\r\n", TAGGED ASK },
    { "its own date and tag", "ETag: \"e\"\r\nLAST-MODIFIED: x\r\n", &rule_plain, true, "LAST-MODIFIED: x\r\n",
      "ETag: \"e\"\r\n" ASK },
    { "what the cache says itself", "X-Cache: x\r\nVary: x-plan\r\nAge: 3\r\n", &rule_minute, true, MODIFIED, TAGGED MINUTE },
    /* not stored */
    { "a cookie", "Set-Cookie: a=b\r\nContent-Language: de\r\n", &rule_plain, false, "Content-Language: de\r\n" MODIFIED,
      "Set-Cookie: a=b\r\n" TAGGED ASK },
    { "private", "Cache-Control: private\r\n", &rule_minute, false, MODIFIED,
      "Cache-Control: private\r\n" TAGGED "Vary: Accept-Language, X-Plan\r\n" },
    { "its own vary", "Vary: Cookie\r\n", &rule_minute, false, MODIFIED,
      "Vary: Cookie\r\n" TAGGED "Cache-Control: max-age=60\r\n" },
    { "the rest of it", "Vary: *\r\nAge: 3\r\nX-Cache: x\r\n", &rule_plain, false, MODIFIED,
      "Vary: *\r\nAge: 3\r\nX-Cache: x\r\n" TAGGED ASK },
};

static void test_elsewhere(void **state) {
    const struct elsewhere_row *row = *state;
    void *nothing = NULL;
    char want[1024], room[HTTP_META_BYTES_MAX];
    open_rig(&nothing);
    struct http_exchange *x = request(GET("/ok"));
    struct http_captured captured;
    set_fields(x, row->fields);
    assert_int_equal(http_captured_elsewhere(x, row->rule, SPAN("a/b"), 70000, &captured), row->storable);
    assert_int_equal(captured.as_it_is, !row->storable);
    captured.modified = SPAN(WHEN);
    uint32_t bytes = http_meta_bytes(&captured, row->rule, SPAN("\"t\""));
    http_meta_put(&captured, row->rule, SPAN("\"t\""), room);
    struct http_stored stored;
    assert_true(http_meta_read(span_of(room, bytes), &stored));
    snprintf(want, sizeof want, "Content-Type: a/b\r\nContent-Length: 70000\r\n%s%s", row->metadata, row->others);
    assert_int_equal(stored.lines.len, strlen(want));
    assert_memory_equal(stored.lines.data, want, stored.lines.len);
    assert_int_equal(stored.lines_304.len, strlen(row->others));
    assert_int_equal(stored.body_bytes, 70000);
    assert_int_equal(stored.age_before_s, row->storable && strstr(row->fields, "Age: 3") != NULL ? 3 : 0);
    finish(x);
    assert_int_equal(close_rig(&nothing), 0);
}

static void test_type_fits(void **state) {
    (void)state;
    static char type[64 * 1024];
    memset(type, 't', sizeof type);
    assert_true(http_type_fits(SPAN("")));
    assert_true(http_type_fits(SPAN("text/plain; charset=utf-8")));
    assert_false(http_type_fits(SPAN("text/plain\r\nX: y")));
    assert_false(http_type_fits(span_of(type, sizeof type)));
}

/* One byte more than is stored. */
static void test_meta_limits(void **state) {
    (void)state;
    static char value[HTTP_META_BYTES_MAX];
    memset(value, 'v', sizeof value);
    struct chain none = { 0 };
    static char fields[HTTP_META_BYTES_MAX + 64], room[HTTP_META_BYTES_MAX];
    struct http_captured captured = { .status = 200, .fields = { fields, 0 }, .body = &none };
    uint32_t without = http_meta_bytes(&captured, &rule_plain, SPAN("\"a\""));
    size_t most = HTTP_META_BYTES_MAX - without - sizeof "X: \r\n" + 1;
    for (size_t more = 0; more < 2; more++) {
        captured.fields.len = (size_t)sprintf(fields, "X: %.*s\r\n", (int)(most + more), value);
        assert_int_equal(http_meta_bytes(&captured, &rule_plain, SPAN("\"a\"")), more == 0 ? HTTP_META_BYTES_MAX : 0);
    }
    captured.fields.len = (size_t)sprintf(fields, "X: %.*s\r\n", (int)most, value);
    http_meta_put(&captured, &rule_plain, SPAN("\"a\""), room);
    struct http_stored stored;
    assert_true(http_meta_read(span_of(room, sizeof room), &stored));
    assert_true(span_equal(stored.etag, SPAN("\"a\"")));
    /* a tag that is too long to be compared is sent all the same */
    for (size_t len = HTTP_ETAG_BYTES_MAX; len < HTTP_ETAG_BYTES_MAX + 2; len++) {
        captured.fields.len = (size_t)sprintf(fields, "ETag: \"%.*s\"\r\n", (int)(len - 2), value);
        uint32_t bytes = http_meta_bytes(&captured, &rule_plain, SPAN(""));
        http_meta_put(&captured, &rule_plain, SPAN(""), room);
        assert_true(http_meta_read(span_of(room, bytes), &stored));
        assert_int_equal(stored.etag.len, len <= HTTP_ETAG_BYTES_MAX ? len : 0);
        assert_non_null(memmem(stored.lines.data, stored.lines.len, fields, captured.fields.len));
    }
}

/* --------------------------------------------------------------------------------------------------- any bytes ---- */

static bool inside(struct span outer, struct span inner) {
    return inner.len <= outer.len && inner.data >= outer.data && inner.data <= outer.data + (outer.len - inner.len);
}

/* Whatever the bytes are, and wherever they end: nothing behind them is read, and what it gives lies in them. */
static void expect_inside(struct guard *guard, const char *bytes, size_t len) {
    struct http_stored stored;
    struct span meta = span_of(guard_copy(guard, bytes, len), len);
    if (http_meta_read(meta, &stored)) {
        assert_true(inside(meta, stored.lines) && inside(meta, stored.lines_304) && inside(meta, stored.etag));
        assert_true(inside(stored.lines, stored.lines_304) && inside(stored.lines, stored.etag));
        assert_int_equal(stored.status, 200);
    }
}

static void test_any_bytes(void **state) {
    (void)state;
    struct guard guard = guard_open(HTTP_META_BYTES_MAX + 64);
    struct http_stored stored;
    struct random random = random_seeded("meta");
    keep_hello();
    static char bytes[HTTP_META_BYTES_MAX + 64];
    for (size_t len = 0; len < kept.meta_bytes; len++) { /* cut, and one byte too long */
        assert_false(http_meta_read(span_of(guard_copy(&guard, kept.meta, len), len), &stored));
    }
    memcpy(bytes, kept.meta, kept.meta_bytes);
    assert_false(http_meta_read(span_of(bytes, kept.meta_bytes + 1), &stored));
    for (size_t at = 0; at < 32; at++) { /* each byte of what is no text, each value */
        for (int value = 0; value < 256; value++) {
            bytes[at] = (char)value;
            expect_inside(&guard, bytes, kept.meta_bytes);
        }
        bytes[at] = kept.meta[at];
    }
    for (int i = 0; i < 20000; i++) { /* several at once */
        memcpy(bytes, kept.meta, kept.meta_bytes);
        for (uint32_t n = random_below(&random, 6); n > 0; n--) {
            bytes[4 + random_below(&random, 28)] = (char)random_below(&random, 256);
        }
        expect_inside(&guard, bytes, random_below(&random, 8) > 0 ? kept.meta_bytes : random_below(&random, sizeof bytes));
    }
    guard_close(&guard);
}

/* ----------------------------------------------------------------------------------------------------------- tags ---- */

/* However the body lies in blocks; another body has another one. */
static void test_tag_made(void **state) {
    (void)state;
    char whole[HTTP_ETAG_MADE_BYTES], tag[HTTP_ETAG_MADE_BYTES];
    struct chain chain;
    chain_init(&chain, &rig.blocks);
    assert_true(chain_append(&chain, SPAN("hello")));
    http_etag_make(&chain, whole);
    assert_memory_equal(whole, TAG_OF_HELLO, sizeof whole);
    chain_reset(&chain);
    assert_true(chain_append(&chain, SPAN("xxh")));
    chain_consume(&chain, 2);
    assert_true(chain_append_foreign(&chain, SPAN("el"), NULL, NULL));
    assert_true(chain_append(&chain, SPAN("lo")));
    http_etag_make(&chain, tag);
    assert_memory_equal(tag, whole, sizeof tag);
    assert_true(chain_append(&chain, SPAN(" ")));
    http_etag_make(&chain, tag);
    assert_memory_not_equal(tag, whole, sizeof tag);
    chain_reset(&chain);
    http_etag_make(&chain, tag);
    assert_int_equal(tag[0], '"');
    assert_int_equal(tag[17], '"');
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_storable, storable_rows);
    ROWS_ADD(&rows, test_meta, meta_rows);
    ROWS_ADD(&rows, test_elsewhere, elsewhere_rows);
    ROWS_TEST(&rows, test_type_fits);
    ROWS_TEST(&rows, test_meta_limits);
    int failed = rows_run("cache fields", &rows);
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_any_bytes),
        WITH_RIG(test_tag_made),
    };
    return failed + cmocka_run_group_tests_name("cache fields, with a connection", tests, NULL, NULL);
}
