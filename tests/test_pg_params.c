#include "pg/pg_params.h"

#include <math.h>
#include <stdio.h>

#include "guard.h"
#include "pg/pg_plan.h"
#include "pg/pg_wire.h"
#include "random.h"
#include "rows.h"

#define NONE { .kind = PG_ARG_NULL }
#define BOOL(v) { .kind = PG_ARG_BOOL, .boolean = (v) }
#define INT(v) { .kind = PG_ARG_INT, .integer = (v) }
#define REAL(v) { .kind = PG_ARG_DOUBLE, .real = (v) }
#define TEXT(v) { .kind = PG_ARG_TEXT, .bytes = { (v), sizeof(v) - 1 } }
#define BYTES(v) { .kind = PG_ARG_BYTES, .bytes = { (v), sizeof(v) - 1 } }

enum { INET = 869 };

/* One argument: what it becomes, or what is wrong. */
struct arg_row {
    const char *name;
    uint32_t type;
    enum pg_params_result result;
    struct pg_arg arg;
    bool binary;
    size_t len;
    const char *value;
};

#define BINARY(v) true, sizeof(v) - 1, (v)
#define AS_TEXT(v) false, sizeof(v) - 1, (v)
#define NOTHING false, 0, NULL

static const struct arg_row arg_rows[] = {
    { "true", PG_BOOL, PG_PARAMS_OK, BOOL(true), BINARY("\1") },
    { "false", PG_BOOL, PG_PARAMS_OK, BOOL(false), BINARY("\0") },
    { "bool of an integer", PG_BOOL, PG_PARAMS_TYPE, INT(1), NOTHING },
    { "bool of a text", PG_BOOL, PG_PARAMS_TYPE, TEXT("t"), NOTHING },
    { "int2", PG_INT2, PG_PARAMS_OK, INT(-2), BINARY("\xff\xfe") },
    { "int2 max", PG_INT2, PG_PARAMS_OK, INT(32767), BINARY("\x7f\xff") },
    { "int2 max + 1", PG_INT2, PG_PARAMS_RANGE, INT(32768), NOTHING },
    { "int2 min - 1", PG_INT2, PG_PARAMS_RANGE, INT(-32769), NOTHING },
    { "int4", PG_INT4, PG_PARAMS_OK, INT(0x01020304), BINARY("\1\2\3\4") },
    { "int4 min", PG_INT4, PG_PARAMS_OK, INT(INT32_MIN), BINARY("\x80\0\0\0") },
    { "int4 max + 1", PG_INT4, PG_PARAMS_RANGE, INT(INT64_C(1) << 31), NOTHING },
    { "int4 min - 1", PG_INT4, PG_PARAMS_RANGE, INT(-(INT64_C(1) << 31) - 1), NOTHING },
    { "int4 of a text", PG_INT4, PG_PARAMS_TYPE, TEXT("4"), NOTHING },
    { "int4 of a double", PG_INT4, PG_PARAMS_TYPE, REAL(4), NOTHING },
    { "int4 of bytes", PG_INT4, PG_PARAMS_TYPE, BYTES("\0\0\0\4"), NOTHING },
    { "int8", PG_INT8, PG_PARAMS_OK, INT(INT64_MIN), BINARY("\x80\0\0\0\0\0\0\0") },
    { "float8", PG_FLOAT8, PG_PARAMS_OK, REAL(1.5), BINARY("\x3f\xf8\0\0\0\0\0\0") },
    { "float8 of an integer", PG_FLOAT8, PG_PARAMS_OK, INT(-2), BINARY("\xc0\0\0\0\0\0\0\0") },
    { "float8 infinity", PG_FLOAT8, PG_PARAMS_OK, REAL((double)INFINITY), BINARY("\x7f\xf0\0\0\0\0\0\0") },
    { "float8 of a text", PG_FLOAT8, PG_PARAMS_TYPE, TEXT("1.5"), NOTHING },
    { "float4", PG_FLOAT4, PG_PARAMS_OK, REAL(1.5), BINARY("\x3f\xc0\0\0") },
    { "float4 of an integer", PG_FLOAT4, PG_PARAMS_OK, INT(1), BINARY("\x3f\x80\0\0") },
    { "float4 -infinity", PG_FLOAT4, PG_PARAMS_OK, REAL(-(double)INFINITY), BINARY("\xff\x80\0\0") },
    { "float4, too large", PG_FLOAT4, PG_PARAMS_RANGE, REAL(1e39), NOTHING },
    { "numeric of a text", PG_NUMERIC, PG_PARAMS_OK, TEXT("1.10"), AS_TEXT("1.10") },
    { "numeric of an integer", PG_NUMERIC, PG_PARAMS_OK, INT(-1234), AS_TEXT("-1234") },
    { "numeric of a double", PG_NUMERIC, PG_PARAMS_TYPE, REAL(1.5), NOTHING },
    { "text", PG_TEXT, PG_PARAMS_OK, TEXT("abc"), AS_TEXT("abc") },
    { "text, empty", PG_TEXT, PG_PARAMS_OK, TEXT(""), AS_TEXT("") },
    { "text, from nowhere", PG_TEXT, PG_PARAMS_OK, { .kind = PG_ARG_TEXT, .bytes = { NULL, 0 } }, AS_TEXT("") },
    { "text with NUL", PG_TEXT, PG_PARAMS_TEXT, TEXT("a\0b"), NOTHING },
    { "text of bytes", PG_TEXT, PG_PARAMS_TYPE, BYTES("abc"), NOTHING },
    { "text of an integer", PG_TEXT, PG_PARAMS_TYPE, INT(1), NOTHING },
    { "varchar", PG_VARCHAR, PG_PARAMS_OK, TEXT("x"), AS_TEXT("x") },
    { "json", PG_JSON, PG_PARAMS_OK, TEXT("[1]"), AS_TEXT("[1]") },
    { "jsonb", PG_JSONB, PG_PARAMS_OK, TEXT("[1]"), AS_TEXT("[1]") },
    { "bytea", PG_BYTEA, PG_PARAMS_OK, BYTES("a\0\xff"), BINARY("a\0\xff") },
    { "bytea, empty", PG_BYTEA, PG_PARAMS_OK, BYTES(""), BINARY("") },
    { "bytea of a text", PG_BYTEA, PG_PARAMS_TYPE, TEXT("\\x00"), NOTHING },
    { "uuid of bytes", PG_UUID, PG_PARAMS_OK, BYTES("0123456789abcdef"), BINARY("0123456789abcdef") },
    { "uuid of 15 bytes", PG_UUID, PG_PARAMS_TYPE, BYTES("0123456789abcde"), NOTHING },
    { "uuid of a text", PG_UUID, PG_PARAMS_OK, TEXT("01234567-89ab-cdef-0123-456789abcdef"),
      AS_TEXT("01234567-89ab-cdef-0123-456789abcdef") },
    { "date of a text", PG_DATE, PG_PARAMS_OK, TEXT("2026-01-02"), AS_TEXT("2026-01-02") },
    { "date of days", PG_DATE, PG_PARAMS_OK, INT(20455), BINARY("\0\0\x25\x1a") },
    { "date infinity", PG_DATE, PG_PARAMS_OK, INT(INT32_MAX), BINARY("\x7f\xff\xff\xff") },
    { "date -infinity", PG_DATE, PG_PARAMS_OK, INT(INT32_MIN), BINARY("\x80\0\0\0") },
    { "the first date", PG_DATE, PG_PARAMS_OK, INT(-2440588), BINARY("\xff\xda\x97\xa7") },
    { "a date before it", PG_DATE, PG_PARAMS_RANGE, INT(-2440589), NOTHING },
    { "the last date", PG_DATE, PG_PARAMS_OK, INT(2145042905), BINARY("\x7f\xda\x97\x0c") },
    { "a date behind it", PG_DATE, PG_PARAMS_RANGE, INT(2145042906), NOTHING },
    { "a date that would be the infinity", PG_DATE, PG_PARAMS_RANGE, INT(INT32_MAX - 1), NOTHING },
    { "a date that would overflow", PG_DATE, PG_PARAMS_RANGE, INT(INT32_MIN + 1), NOTHING },
    { "a date of 33 bits", PG_DATE, PG_PARAMS_RANGE, INT((INT64_C(1) << 32) + 20455), NOTHING },
    { "a date far below", PG_DATE, PG_PARAMS_RANGE, INT(INT64_MIN), NOTHING },
    { "timestamp of a text", PG_TIMESTAMP, PG_PARAMS_OK, TEXT("now"), AS_TEXT("now") },
    { "timestamp", PG_TIMESTAMP, PG_PARAMS_OK, INT(1767323045678901), BINARY("\0\x02\xea\x5d\xbb\x1f\x6f\x35") },
    { "timestamptz", PG_TIMESTAMPTZ, PG_PARAMS_OK, INT(946684800000000), BINARY("\0\0\0\0\0\0\0\0") },
    { "timestamp infinity", PG_TIMESTAMP, PG_PARAMS_OK, INT(INT64_MAX), BINARY("\x7f\xff\xff\xff\xff\xff\xff\xff") },
    { "timestamp -infinity", PG_TIMESTAMP, PG_PARAMS_OK, INT(INT64_MIN), BINARY("\x80\0\0\0\0\0\0\0") },
    { "the first timestamp", PG_TIMESTAMP, PG_PARAMS_OK, INT(-210866803200000000),
      BINARY("\xfd\x0f\x7c\xc1\x41\x1f\xa0\x00") },
    { "a timestamp before it", PG_TIMESTAMP, PG_PARAMS_RANGE, INT(-210866803200000001), NOTHING },
    { "a timestamp that overflows", PG_TIMESTAMP, PG_PARAMS_RANGE, INT(INT64_MIN + 1), NOTHING },
    { "the last that an integer holds", PG_TIMESTAMP, PG_PARAMS_OK, INT(INT64_MAX - 1), BINARY("\x7f\xfc\xa2\xfe\xc4\xc8\x1f\xfe") },
    { "inet", INET, PG_PARAMS_OK, TEXT("::1"), AS_TEXT("::1") },
    { "inet of an integer", INET, PG_PARAMS_TYPE, INT(1), NOTHING },
    { "a type that the server infers", 0, PG_PARAMS_OK, TEXT("5"), AS_TEXT("5") },
    { "a type that the server infers, of an integer", 0, PG_PARAMS_TYPE, INT(5), NOTHING },
    { "no such kind", PG_TEXT, PG_PARAMS_TYPE, { .kind = (enum pg_arg_kind)77 }, NOTHING },
};

/* What Bind has for one argument. */
static size_t model_one(const struct arg_row *row, char *out) {
    char *p = pg_put_u16(out, row->binary ? 1 : 0);
    p = row->binary ? pg_put_u16(p, 1) : p;
    p = pg_put_u16(p, 1);
    p = pg_put_u32(p, (uint32_t)row->len);
    memcpy(p, row->value, row->len);
    return (size_t)(p - out) + row->len;
}

static void test_arg(void **state) {
    const struct arg_row *row = *state;
    struct pg_statement statement = { .types = &row->type, .type_count = 1 };
    struct guard guard = guard_open(4096);
    char expected[128];
    size_t bytes = 4711;
    assert_int_equal(pg_params_check(&statement, &row->arg, 1, &bytes), row->result);
    if (row->result != PG_PARAMS_OK) {
        assert_int_equal(bytes, 4711);
        guard_close(&guard);
        return;
    }
    size_t len = model_one(row, expected);
    assert_int_equal(bytes, len);
    char *out = guard.base + guard.bytes - len;
    assert_ptr_equal(pg_params_encode(out, &statement, &row->arg, 1), out + len);
    assert_memory_equal(out, expected, len);
    guard_close(&guard);
}

/* How many format codes are written. */
static void test_formats(void **state) {
    (void)state;
    static const uint32_t types[] = { PG_INT4, PG_TEXT, PG_INT2 };
    static const struct {
        struct pg_arg args[3];
        size_t len;
        const char *bytes;
    } cases[] = {
        { { NONE, NONE, NONE }, 16, "\0\0\0\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" },
        { { NONE, TEXT("a"), NONE }, 17, "\0\0\0\3\xff\xff\xff\xff\0\0\0\1a\xff\xff\xff\xff" },
        { { INT(1), NONE, INT(2) }, 24, "\0\1\0\1\0\3\0\0\0\4\0\0\0\1\xff\xff\xff\xff\0\0\0\2\0\2" },
        { { INT(1), TEXT("a"), NONE }, 27, "\0\3\0\1\0\0\0\0\0\3\0\0\0\4\0\0\0\1\0\0\0\1a\xff\xff\xff\xff" },
    };
    struct pg_statement statement = { .types = types, .type_count = 3 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        size_t bytes = 0;
        assert_int_equal(pg_params_check(&statement, cases[i].args, 3, &bytes), PG_PARAMS_OK);
        assert_int_equal(bytes, cases[i].len);
        assert_ptr_equal(pg_params_encode(out, &statement, cases[i].args, 3), out + bytes);
        assert_memory_equal(out, cases[i].bytes, bytes);
    }
}

static void test_count(void **state) {
    (void)state;
    static const uint32_t types[] = { PG_INT4, PG_INT4 };
    static const struct pg_arg args[] = { INT(1), INT(2), INT(3) };
    struct pg_statement none = { .types = NULL, .type_count = 0 }, two = { .types = types, .type_count = 2 };
    char out[4];
    size_t bytes = 0;
    assert_int_equal(pg_params_check(&two, args, 1, &bytes), PG_PARAMS_COUNT);
    assert_int_equal(pg_params_check(&two, args, 3, &bytes), PG_PARAMS_COUNT);
    assert_int_equal(pg_params_check(&none, args, 1, &bytes), PG_PARAMS_COUNT);
    assert_int_equal(pg_params_check(&none, NULL, 0, &bytes), PG_PARAMS_OK);
    assert_int_equal(bytes, 4);
    assert_ptr_equal(pg_params_encode(out, &none, NULL, 0), out + 4);
    assert_memory_equal(out, "\0\0\0\0", 4);
}

/* As many as the protocol has, and one more. */
static void test_many(void **state) {
    (void)state;
    enum { MANY = PG_PARAMETERS_MAX };
    uint32_t *types = malloc((MANY + 1) * sizeof *types);
    struct pg_arg *args = malloc((MANY + 1) * sizeof *args);
    for (int i = 0; i <= MANY; i++) {
        types[i] = PG_INT4;
        args[i] = (struct pg_arg)INT(i);
    }
    struct pg_statement statement = { .types = types, .type_count = MANY };
    size_t bytes = 0;
    assert_int_equal(pg_params_check(&statement, args, MANY, &bytes), PG_PARAMS_OK);
    assert_int_equal(bytes, 6 + 8 * MANY);
    char *out = malloc(bytes);
    assert_ptr_equal(pg_params_encode(out, &statement, args, MANY), out + bytes);
    assert_int_equal(pg_get_u16(out + 4), MANY);
    assert_int_equal(pg_get_u32(out + bytes - 4), MANY - 1);
    statement.type_count = MANY + 1;
    assert_int_equal(pg_params_check(&statement, args, MANY + 1, &bytes), PG_PARAMS_COUNT);
    free(out);
    free(types);
    free(args);
}

/* 1 GiB of memory that is never read: bytea has nothing to look for. */
static void test_large(void **state) {
    (void)state;
    static const uint32_t types[] = { PG_BYTEA, PG_BYTEA };
    struct pg_arg args[2] = { BYTES(""), NONE };
    struct pg_statement statement = { .types = types, .type_count = 2 };
    size_t bytes = 0;
    args[0].bytes.len = ((size_t)1 << 30) - 14;
    assert_int_equal(pg_params_check(&statement, args, 2, &bytes), PG_PARAMS_OK);
    assert_int_equal(bytes, (size_t)1 << 30);
    args[0].bytes.len++;
    assert_int_equal(pg_params_check(&statement, args, 2, &bytes), PG_PARAMS_LARGE);
    args[0].bytes.len = SIZE_MAX;
    args[1] = args[0];
    assert_int_equal(pg_params_check(&statement, args, 2, &bytes), PG_PARAMS_LARGE);
}

/* What is encoded reads back: lengths, formats and values, whatever the mix. */
static void test_random(void **state) {
    (void)state;
    struct random random = random_seeded("pg_params");
    struct guard guard = guard_open(4096);
    for (int round = 0; round < 20000; round++) {
        const struct arg_row *rows[12];
        struct pg_arg args[12];
        uint32_t types[12], count = random_below(&random, 12);
        for (uint32_t i = 0; i < count; i++) {
            do {
                rows[i] = &arg_rows[random_below(&random, sizeof arg_rows / sizeof *arg_rows)];
            } while (rows[i]->result != PG_PARAMS_OK);
            types[i] = rows[i]->type;
            args[i] = rows[i]->arg;
            if (random_below(&random, 4) == 0) {
                args[i].kind = PG_ARG_NULL;
            }
        }
        struct pg_statement statement = { .types = types, .type_count = count };
        size_t bytes = 0;
        assert_int_equal(pg_params_check(&statement, args, count, &bytes), PG_PARAMS_OK);
        char *out = guard.base + guard.bytes - bytes, *end = out + bytes;
        assert_ptr_equal(pg_params_encode(out, &statement, args, count), end);
        uint32_t codes = pg_get_u16(out);
        assert_true(codes <= 1 || codes == count);
        const char *formats = out + 2, *p = formats + 2 * codes;
        assert_int_equal(pg_get_u16(p), count);
        p += 2;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t len = pg_get_u32(p);
            p += 4;
            if (args[i].kind == PG_ARG_NULL) {
                assert_int_equal(len, UINT32_MAX);
                continue;
            }
            bool binary = codes > 0 && pg_get_u16(formats + (codes == 1 ? 0 : 2 * i)) == 1;
            assert_int_equal(binary, rows[i]->binary);
            assert_int_equal(len, rows[i]->len);
            assert_memory_equal(p, rows[i]->value, len);
            p += len;
        }
        assert_ptr_equal(p, end);
    }
    guard_close(&guard);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_arg, arg_rows);
    ROWS_TEST(&rows, test_formats);
    ROWS_TEST(&rows, test_count);
    ROWS_TEST(&rows, test_many);
    ROWS_TEST(&rows, test_large);
    ROWS_TEST(&rows, test_random);
    return rows_run("pg_params", &rows);
}
