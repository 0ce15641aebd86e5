#include <stdlib.h>

#include "pg/pg_wire.h"
#include "rows.h"

enum { BLOCKS = 40, OUT_BYTES = BLOCKS * BLOCK_BYTES };

static _Alignas(64) char memory[BLOCKS * BLOCK_BYTES];
static struct pool pool;
static struct chain out;
static char bytes[OUT_BYTES];

static void open_chain(uint32_t blocks) {
    pool_init(&pool, "blocks", memory, BLOCK_BYTES, blocks);
    chain_init(&out, &pool);
}

static size_t flatten(void) {
    struct iovec iov[BLOCKS];
    size_t sum, len = 0;
    uint32_t n = chain_iov(&out, iov, BLOCKS, &sum);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(bytes + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    assert_int_equal(len, out.bytes);
    return len;
}

#define CHECK(literal)                                        \
    do {                                                      \
        assert_int_equal(flatten(), sizeof(literal) - 1);     \
        assert_memory_equal(bytes, literal, sizeof(literal) - 1); \
        chain_reset(&out);                                    \
        assert_int_equal(pool.free_count, pool.count);        \
    } while (0)

static const uint32_t types[] = { 23, 0x01020304 };
static const struct pg_statement statement = { .sql = SPAN("SELECT $1"), .types = types, .type_count = 2 };

static void test_startup(void **state) {
    (void)state;
    open_chain(BLOCKS);
    static const struct pg_startup_pair pairs[] = { { "user", "me" }, { "database", "d" }, { NULL, NULL } };
    assert_true(pg_write_startup(&out, PG_VERSION_3_0, pairs));
    CHECK("\0\0\0\x1c" "\0\3\0\0" "user\0me\0" "database\0d\0" "\0");
}

static void test_cancel(void **state) {
    (void)state;
    struct pg_cancel_key key = { 0x01020304, 4, "abcd" };
    char text[PG_CANCEL_BYTES_MAX];
    assert_int_equal(pg_put_cancel(text, &key), 16);
    assert_memory_equal(text, "\0\0\0\x10" "\x04\xd2\x16\x2e" "\1\2\3\4" "abcd", 16);
    key.key_bytes = PG_KEY_BYTES_MAX;
    assert_int_equal(pg_put_cancel(text, &key), PG_CANCEL_BYTES_MAX);
}

static void test_authentication(void **state) {
    (void)state;
    open_chain(BLOCKS);
    assert_true(pg_write_password(&out, SPAN("secret")));
    CHECK("p\0\0\0\x0bsecret\0");
    assert_true(pg_write_sasl_initial(&out, "SCRAM-SHA-256", SPAN("n,,n=,r=x")));
    CHECK("p\0\0\0\x1fSCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x");
    assert_true(pg_write_sasl_response(&out, SPAN("c=biws")));
    CHECK("p\0\0\0\x0a" "c=biws");
}

static void test_small_ones(void **state) {
    (void)state;
    open_chain(BLOCKS);
    assert_true(pg_write_parse(&out, SPAN("s1"), &statement));
    CHECK("P\0\0\0\x1bs1\0SELECT $1\0\0\2\0\0\0\x17\1\2\3\4");
    assert_true(pg_write_parse(&out, SPAN(""), &(struct pg_statement){ .sql = SPAN("") }));
    CHECK("P\0\0\0\x08\0\0\0\0");
    assert_true(pg_write_describe(&out, 'S', SPAN("s1")));
    CHECK("D\0\0\0\x08Ss1\0");
    assert_true(pg_write_describe(&out, 'P', SPAN("")));
    CHECK("D\0\0\0\x06P\0");
    assert_true(pg_write_close(&out, 'S', SPAN("s1")));
    CHECK("C\0\0\0\x08Ss1\0");
    assert_true(pg_write_sync(&out));
    CHECK("S\0\0\0\4");
    assert_true(pg_write_terminate(&out));
    CHECK("X\0\0\0\4");
    assert_true(pg_write_copy_fail(&out, "no"));
    CHECK("f\0\0\0\7no\0");
}

/* The names of statements, parameters and formats of a query of three int4. */
#define PARAMS "\0\1\0\1" "\0\3" "\0\0\0\4\0\0\0\1" "\0\0\0\4\0\0\0\2" "\0\0\0\4\0\0\0\3"
#define FORMATS "\0\1\0\1"

static void test_execute(void **state) {
    (void)state;
    open_chain(BLOCKS);
    assert_true(pg_write_execute(&out, SPAN("s1"), SPAN(PARAMS), SPAN(FORMATS), true));
    CHECK("B\0\0\0\x2a\0s1\0" PARAMS FORMATS "E\0\0\0\x09\0\0\0\0\0S\0\0\0\4");
    assert_true(pg_write_execute(&out, SPAN(""), SPAN(PARAMS), SPAN(FORMATS), false));
    CHECK("B\0\0\0\x28\0\0" PARAMS FORMATS "E\0\0\0\x09\0\0\0\0\0");
}

/* Around the end of a block: the same bytes, wherever they are cut. */
static void test_execute_sizes(void **state) {
    (void)state;
    static char params[4 * BLOCK_BYTES];
    for (size_t i = 0; i < sizeof params; i++) {
        params[i] = (char)(i * 7);
    }
    for (size_t len = BLOCK_ROOM - 60; len < BLOCK_ROOM + 10; len++) {
        for (int sync = 0; sync < 2; sync++) {
            open_chain(BLOCKS);
            assert_true(pg_write_execute(&out, SPAN("s1"), span_of(params, len), SPAN(FORMATS), sync != 0));
            size_t n = flatten();
            assert_int_equal(n, 9 + len + 4 + 10 + (sync != 0 ? 5 : 0));
            assert_int_equal(pg_get_u32(bytes + 1), 8 + len + 4);
            assert_memory_equal(bytes + 9, params, len);
            assert_memory_equal(bytes + 9 + len, FORMATS "E\0\0\0\x09\0\0\0\0\0S\0\0\0\4", n - 9 - len);
        }
    }
}

/* With too few blocks nothing is appended, and nothing is kept. */
static void test_no_blocks(void **state) {
    (void)state;
    static char params[3 * BLOCK_BYTES];
    static struct pg_startup_pair pairs[] = { { "user", params }, { NULL, NULL } };
    memset(params, 'x', sizeof params - 1);
    struct span long_text = span_of(params, sizeof params);
    struct pg_statement long_one = { .sql = long_text };
    for (uint32_t blocks = 0; blocks < 4; blocks++) {
        open_chain(blocks);
        bool started = blocks > 0 && chain_append(&out, SPAN("before"));
        assert_int_equal(started, blocks > 0);
        assert_false(pg_write_execute(&out, SPAN("s1"), long_text, SPAN(FORMATS), true));
        assert_false(pg_write_parse(&out, SPAN("s1"), &long_one));
        assert_false(pg_write_password(&out, long_text));
        assert_false(pg_write_sasl_initial(&out, "X", long_text));
        assert_false(pg_write_sasl_response(&out, long_text));
        assert_false(pg_write_startup(&out, PG_VERSION_3_0, pairs));
        assert_false(pg_write_copy_fail(&out, params));
        assert_int_equal(out.bytes, started ? 6 : 0);
        assert_int_equal(pool.free_count, started ? blocks - 1 : blocks);
        if (!started) {
            assert_false(pg_write_sync(&out));
            assert_false(pg_write_terminate(&out));
            assert_false(pg_write_close(&out, 'S', SPAN("s1")));
            assert_false(pg_write_describe(&out, 'S', SPAN("s1")));
            assert_false(pg_write_execute(&out, SPAN("s1"), SPAN(PARAMS), SPAN(FORMATS), true));
        }
    }
}

static void test_integers(void **state) {
    (void)state;
    char text[8];
    assert_ptr_equal(pg_put_u64(text, 0x0102030405060708u), text + 8);
    assert_memory_equal(text, "\1\2\3\4\5\6\7\x08", 8);
    assert_int_equal(pg_get_u64(text), 0x0102030405060708u);
    assert_int_equal(pg_get_u32(text), 0x01020304);
    assert_int_equal(pg_get_u16("\xff\xfe"), 0xfffe);
    assert_ptr_equal(pg_put_u16(text, 0xfffe), text + 2);
    assert_memory_equal(text, "\xff\xfe", 2);
}

int main(void) {
    static struct rows rows;
    ROWS_TEST(&rows, test_startup);
    ROWS_TEST(&rows, test_cancel);
    ROWS_TEST(&rows, test_authentication);
    ROWS_TEST(&rows, test_small_ones);
    ROWS_TEST(&rows, test_execute);
    ROWS_TEST(&rows, test_execute_sizes);
    ROWS_TEST(&rows, test_no_blocks);
    ROWS_TEST(&rows, test_integers);
    return rows_run("pg_wire_write", &rows);
}
