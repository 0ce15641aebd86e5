#include "pg/pg_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "guard.h"
#include "pg_rows.h"
#include "random.h"
#include "rows.h"

enum { BLOCKS = 400 };

static _Alignas(64) char memory[BLOCKS * BLOCK_BYTES];
static _Alignas(16) char plan_memory[PG_PLAN_BYTES];
static uint32_t at[PG_COLUMNS_MAX];
static struct pool pool;

static struct chain chain_fresh(void) {
    struct chain chain;
    pool_init(&pool, "blocks", memory, BLOCK_BYTES, BLOCKS);
    chain_init(&chain, &pool);
    return chain;
}

/* All bytes of a chain behind the first `skip`; to be freed. */
static struct pg_body flatten(const struct chain *chain, size_t skip) {
    static struct iovec iov[BLOCKS];
    struct pg_body out = { 0 }, rest = { 0 };
    size_t sum;
    uint32_t n = chain_iov(chain, iov, BLOCKS, &sum);
    for (uint32_t i = 0; i < n; i++) {
        pg_body_bytes(&out, iov[i].iov_base, iov[i].iov_len);
    }
    assert_int_equal(out.len, chain->bytes);
    pg_body_bytes(&rest, out.data + skip, out.len - skip);
    pg_body_free(&out);
    return rest;
}

/* `room` bytes of the chain's last block are left. */
static void fill_block(struct chain *chain, uint32_t room) {
    char *p = chain_reserve(chain, BLOCK_ROOM);
    assert_non_null(p);
    memset(p, '#', BLOCK_ROOM - room);
    chain_commit(chain, BLOCK_ROOM - room);
}

static void make_plan(struct pg_plan *plan, bool nested, const struct pg_body *description) {
    bool malformed;
    pg_plan_init(plan, nested, plan_memory);
    assert_true(pg_plan_make(plan, pg_body_span(description), &malformed));
}

static struct pg_row read_row(const struct pg_plan *plan, struct span body) {
    struct pg_row row;
    assert_int_equal(pg_row_read(&row, plan, body, at), PG_ROW_OK);
    return row;
}

static void check_json(const struct pg_row *row, uint32_t room, const char *expected, size_t len) {
    struct chain chain = chain_fresh();
    fill_block(&chain, room);
    size_t before = chain.bytes;
    assert_int_equal(pg_json_row(&chain, row), PG_JSON_OK);
    struct pg_body got = flatten(&chain, before);
    if (got.len != len || (len > 0 && memcmp(got.data, expected, len) != 0)) {
        fail_msg("with room for %u: got %.*s, not %.*s", room, (int)got.len, got.data, (int)len, expected);
    }
    pg_body_free(&got);
}

/* ------------------------------------------------------------------------------------------------- one by one ---- */

struct value_row {
    const char *name;
    uint32_t oid;
    const char *expected; /* NULL: it is none of its type */
    size_t len;
    const char *bytes;
};

#define BYTES(bytes) sizeof(bytes) - 1, (bytes)

enum { AN_ENUM = 16500, INET = 869, INT4_ARRAY = 1007 };

static const struct value_row value_rows[] = {
    { "bool true", PG_BOOL, "true", BYTES("\1") },
    { "bool false", PG_BOOL, "false", BYTES("\0") },
    { "bool 2", PG_BOOL, NULL, BYTES("\2") },
    { "bool of two bytes", PG_BOOL, NULL, BYTES("\0\1") },
    { "bool of none", PG_BOOL, NULL, BYTES("") },
    { "int2", PG_INT2, "258", BYTES("\1\2") },
    { "int2 min", PG_INT2, "-32768", BYTES("\x80\0") },
    { "int2 of four bytes", PG_INT2, NULL, BYTES("\0\0\0\1") },
    { "int4", PG_INT4, "16909060", BYTES("\1\2\3\4") },
    { "int4 zero", PG_INT4, "0", BYTES("\0\0\0\0") },
    { "int4 min", PG_INT4, "-2147483648", BYTES("\x80\0\0\0") },
    { "int4 of three bytes", PG_INT4, NULL, BYTES("\0\0\0") },
    { "int8", PG_INT8, "72623859790382856", BYTES("\1\2\3\4\5\6\7\x08") },
    { "int8 min", PG_INT8, "-9223372036854775808", BYTES("\x80\0\0\0\0\0\0\0") },
    { "int8 of four bytes", PG_INT8, NULL, BYTES("\0\0\0\1") },
    { "oid", PG_OID, "4294967295", BYTES("\xff\xff\xff\xff") },
    { "oid of two bytes", PG_OID, NULL, BYTES("\xff\xff") },
    { "float8", PG_FLOAT8, "0.1", BYTES("0.1") },
    { "float8 with an exponent", PG_FLOAT8, "1e+22", BYTES("1e+22") },
    { "float8 -0", PG_FLOAT8, "-0", BYTES("-0") },
    { "float8 NaN", PG_FLOAT8, "null", BYTES("NaN") },
    { "float8 infinity", PG_FLOAT8, "null", BYTES("Infinity") },
    { "float4 -infinity", PG_FLOAT4, "null", BYTES("-Infinity") },
    { "float4", PG_FLOAT4, "3.4028235e+38", BYTES("3.4028235e+38") },
    { "numeric keeps its scale", PG_NUMERIC, "1.10", BYTES("1.10") },
    { "numeric of many digits", PG_NUMERIC, "-123456789012345678901234567890.000000000000000000001",
      BYTES("-123456789012345678901234567890.000000000000000000001") },
    { "numeric NaN", PG_NUMERIC, "null", BYTES("NaN") },
    { "numeric, empty", PG_NUMERIC, NULL, BYTES("") },
    { "numeric, a sign", PG_NUMERIC, NULL, BYTES("-") },
    { "numeric, no digit in front", PG_NUMERIC, NULL, BYTES(".5") },
    { "numeric, no digit behind", PG_NUMERIC, NULL, BYTES("5.") },
    { "numeric, a zero in front", PG_NUMERIC, NULL, BYTES("05") },
    { "numeric, no exponent", PG_NUMERIC, NULL, BYTES("5e") },
    { "numeric, no exponent but a sign", PG_NUMERIC, NULL, BYTES("5e+") },
    { "numeric, a plus", PG_NUMERIC, NULL, BYTES("+5") },
    { "numeric, more behind", PG_NUMERIC, NULL, BYTES("5,\"a\":1") },
    { "numeric, NaN and more", PG_NUMERIC, NULL, BYTES("NaNs") },
    { "text", PG_TEXT, "\"hello\"", BYTES("hello") },
    { "text, empty", PG_TEXT, "\"\"", BYTES("") },
    { "text, escapes", PG_TEXT, "\"a\\\"b\\\\c\\nd\\u0001\\u001f\x7f\"", BYTES("a\"b\\c\nd\x01\x1f\x7f") },
    { "text, UTF-8", PG_TEXT, "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"", BYTES("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80") },
    { "varchar", PG_VARCHAR, "\"a/b\"", BYTES("a/b") },
    { "bpchar keeps its blanks", PG_BPCHAR, "\"ab  \"", BYTES("ab  ") },
    { "name", PG_NAME, "\"pg_class\"", BYTES("pg_class") },
    { "an enum", AN_ENUM, "\"sad\"", BYTES("sad") },
    { "inet", INET, "\"127.0.0.1\"", BYTES("127.0.0.1") },
    { "an array", INT4_ARRAY, "\"{1,2}\"", BYTES("{1,2}") },
    { "json", PG_JSON, "{\"a\" : [1, 2]\n}", BYTES("{\"a\" : [1, 2]\n}") },
    { "jsonb", PG_JSONB, "[\"fast\", \"new\"]", BYTES("\1[\"fast\", \"new\"]") },
    { "jsonb of another version", PG_JSONB, NULL, BYTES("\2[]") },
    { "jsonb without a version", PG_JSONB, NULL, BYTES("") },
    { "bytea", PG_BYTEA, "\"\\\\x00ff7f\"", BYTES("\x00\xff\x7f") },
    { "bytea, empty", PG_BYTEA, "\"\\\\x\"", BYTES("") },
    { "uuid", PG_UUID, "\"01234567-89ab-cdef-fedc-ba9876543210\"",
      BYTES("\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10") },
    { "uuid of 15 bytes", PG_UUID, NULL, BYTES("\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32") },
    { "date", PG_DATE, "\"2026-01-02\"", BYTES("\0\0\x25\x1a") },
    { "date 2000-01-01", PG_DATE, "\"2000-01-01\"", BYTES("\0\0\0\0") },
    { "date 1999-12-31", PG_DATE, "\"1999-12-31\"", BYTES("\xff\xff\xff\xff") },
    { "date, a leap day", PG_DATE, "\"2000-02-29\"", BYTES("\0\0\0\x3b") },
    { "date 0001-01-01", PG_DATE, "\"0001-01-01\"", BYTES("\xff\xf4\xdb\xf9") },
    { "date 0001-12-31 BC", PG_DATE, "\"0001-12-31 BC\"", BYTES("\xff\xf4\xdb\xf8") },
    { "date, the first", PG_DATE, "\"4714-11-24 BC\"", BYTES("\xff\xda\x97\xa7") },
    { "date before the first", PG_DATE, NULL, BYTES("\xff\xda\x97\xa6") },
    { "date, the last", PG_DATE, "\"5874897-12-31\"", BYTES("\x7f\xda\x97\x0c") },
    { "date behind the last", PG_DATE, NULL, BYTES("\x7f\xda\x97\x0d") },
    { "date infinity", PG_DATE, "\"infinity\"", BYTES("\x7f\xff\xff\xff") },
    { "date -infinity", PG_DATE, "\"-infinity\"", BYTES("\x80\0\0\0") },
    { "date of eight bytes", PG_DATE, NULL, BYTES("\0\0\0\0\0\0\0\0") },
    { "timestamp", PG_TIMESTAMP, "\"2026-01-02T03:04:05.678901\"", BYTES("\0\x02\xea\x5d\xbb\x1f\x6f\x35") },
    { "timestamptz", PG_TIMESTAMPTZ, "\"2026-01-02T03:04:05.678901Z\"", BYTES("\0\x02\xea\x5d\xbb\x1f\x6f\x35") },
    { "timestamp without a fraction", PG_TIMESTAMP, "\"2000-01-01T00:00:00\"", BYTES("\0\0\0\0\0\0\0\0") },
    { "timestamp, half a second", PG_TIMESTAMP, "\"2000-01-01T00:00:00.5\"", BYTES("\0\0\0\0\0\x07\xa1\x20") },
    { "timestamp, a microsecond", PG_TIMESTAMP, "\"2000-01-01T00:00:00.000001\"", BYTES("\0\0\0\0\0\0\0\1") },
    { "timestamp, a microsecond before", PG_TIMESTAMP, "\"1999-12-31T23:59:59.999999\"",
      BYTES("\xff\xff\xff\xff\xff\xff\xff\xff") },
    { "timestamp, the first", PG_TIMESTAMPTZ, "\"4714-11-24T00:00:00Z BC\"", BYTES("\xfd\x0f\x7c\xc1\x41\x1f\xa0\x00") },
    { "timestamp before the first", PG_TIMESTAMPTZ, NULL, BYTES("\xfd\x0f\x7c\xc1\x41\x1f\x9f\xff") },
    { "timestamp, the last", PG_TIMESTAMPTZ, "\"294276-12-31T23:59:59.999999Z\"",
      BYTES("\x7f\xff\xff\x5b\xb3\xb2\x9f\xff") },
    { "timestamp behind the last", PG_TIMESTAMPTZ, NULL, BYTES("\x7f\xff\xff\x5b\xb3\xb2\xa0\x00") },
    { "timestamp infinity", PG_TIMESTAMP, "\"infinity\"", BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff") },
    { "timestamp -infinity", PG_TIMESTAMPTZ, "\"-infinity\"", BYTES("\x80\0\0\0\0\0\0\0") },
    { "timestamp of four bytes", PG_TIMESTAMP, NULL, BYTES("\0\0\0\0") },
};

static void check_value(const struct value_row *row, const struct pg_row *fields, uint32_t room) {
    char expected[256];
    snprintf(expected, sizeof expected, "{\"v\":%s}", row->expected != NULL ? row->expected : "");
    if (row->expected != NULL) {
        check_json(fields, room, expected, strlen(expected));
        return;
    }
    struct chain chain = chain_fresh();
    fill_block(&chain, room);
    struct chain_mark mark = chain_mark(&chain);
    assert_int_equal(pg_json_row(&chain, fields), PG_JSON_BAD);
    chain_rollback(&chain, mark);
    assert_int_equal(chain.bytes, BLOCK_ROOM - room);
}

/* With every amount of room in the block that is begun. */
static void test_value(void **state) {
    const struct value_row *row = *state;
    struct pg_body description = { 0 }, body = { 0 };
    struct pg_plan plan;
    struct guard guard = guard_open(4096);
    pg_body_u16(&description, 1);
    pg_body_column(&description, "v", row->oid);
    make_plan(&plan, false, &description);
    pg_body_u16(&body, 1);
    pg_body_field(&body, row->bytes, row->len);
    struct pg_row fields = read_row(&plan, span_of(guard_copy(&guard, body.data, body.len), body.len));
    for (uint32_t room = 0; room < 200; room++) {
        check_value(row, &fields, room);
    }
    guard_close(&guard);
    pg_body_free(&description);
    pg_body_free(&body);
}

static const struct value_row null_rows[] = {
    { .name = "NULL integer", .oid = PG_INT4 },
    { .name = "NULL text", .oid = PG_TEXT },
    { .name = "NULL jsonb", .oid = PG_JSONB },
    { .name = "NULL timestamp", .oid = PG_TIMESTAMP },
};

static void test_null(void **state) {
    const struct value_row *row = *state;
    struct pg_body description = { 0 };
    struct pg_plan plan;
    pg_body_u16(&description, 1);
    pg_body_column(&description, "v", row->oid);
    make_plan(&plan, false, &description);
    struct pg_row fields = read_row(&plan, span_of("\0\1\xff\xff\xff\xff", 6));
    check_json(&fields, 5, "{\"v\":null}", 10);
    pg_body_free(&description);
}

static void test_no_columns(void **state) {
    (void)state;
    struct pg_body description = { 0 };
    struct pg_plan plan;
    pg_body_u16(&description, 0);
    make_plan(&plan, false, &description);
    struct pg_row fields = read_row(&plan, span_of("\0\0", 2));
    for (uint32_t room = 0; room < 4; room++) {
        check_json(&fields, room, "{}", 2);
    }
    pg_body_free(&description);
}

/* --------------------------------------------------------------------------------------------- against a model ---- */

/* The plainest way to write the same. */

static void model_text(struct pg_body *out, const char *text) {
    pg_body_bytes(out, text, strlen(text));
}

static void model_string(struct pg_body *out, const char *data, size_t len) {
    model_text(out, "\"");
    for (size_t i = 0; i < len; i++) {
        char text[8];
        switch (data[i]) {
        case '"': model_text(out, "\\\""); break;
        case '\\': model_text(out, "\\\\"); break;
        case '\b': model_text(out, "\\b"); break;
        case '\f': model_text(out, "\\f"); break;
        case '\n': model_text(out, "\\n"); break;
        case '\r': model_text(out, "\\r"); break;
        case '\t': model_text(out, "\\t"); break;
        default:
            if ((unsigned char)data[i] < 0x20) {
                snprintf(text, sizeof text, "\\u%04x", (unsigned)(unsigned char)data[i]);
                model_text(out, text);
            } else {
                pg_body_bytes(out, data + i, 1);
            }
        }
    }
    model_text(out, "\"");
}

static void model_day(char text[static 32], const struct tm *tm) {
    long year = tm->tm_year + 1900L;
    snprintf(text, 32, "%04ld-%02d-%02d", year > 0 ? year : 1 - year, tm->tm_mon + 1, tm->tm_mday);
}

static void model_date(struct pg_body *out, int32_t days) {
    char text[32], quoted[64];
    struct tm tm;
    time_t seconds = ((time_t)days + 10957) * 86400;
    assert_non_null(gmtime_r(&seconds, &tm));
    model_day(text, &tm);
    snprintf(quoted, sizeof quoted, "\"%s%s\"", text, tm.tm_year + 1900L > 0 ? "" : " BC");
    model_text(out, quoted);
}

static void model_timestamp(struct pg_body *out, int64_t us, bool zone) {
    char day[32], fraction[16] = "", text[96];
    struct tm tm;
    int64_t rest = us % 1000000;
    rest += rest < 0 ? 1000000 : 0;
    time_t seconds = (time_t)((us - rest) / 1000000 + 946684800);
    assert_non_null(gmtime_r(&seconds, &tm));
    model_day(day, &tm);
    if (rest != 0) {
        snprintf(fraction, sizeof fraction, ".%06d", (int)rest);
        for (size_t n = 6; n > 1 && fraction[n] == '0'; n--) {
            fraction[n] = '\0';
        }
    }
    snprintf(text, sizeof text, "\"%sT%02d:%02d:%02d%s%s%s\"", day, tm.tm_hour, tm.tm_min, tm.tm_sec, fraction,
             zone ? "Z" : "", tm.tm_year + 1900L > 0 ? "" : " BC");
    model_text(out, text);
}

/* A number in one of the lengths that numbers have. */
static uint64_t some_number(struct random *random) {
    return random_next(random) >> random_below(random, 64);
}

static void random_text(struct random *random, struct pg_body *text) {
    uint32_t len = random_below(random, 8) == 0 ? random_below(random, 9000) : random_below(random, 40);
    uint32_t one_in = random_below(random, 3) == 0 ? 2 : 1000;
    for (uint32_t i = 0; i < len; i++) {
        char byte = (char)(random_below(random, one_in) == 1 ? random_below(random, 256) : 'a' + random_below(random, 26));
        pg_body_bytes(text, &byte, 1);
    }
}

static void put_text_value(struct random *random, uint32_t oid, struct pg_body *body, struct pg_body *out) {
    struct pg_body text = { 0 };
    if (oid == PG_JSONB) {
        pg_body_bytes(&text, "\1", 1);
    }
    random_text(random, &text);
    pg_body_field(body, text.data, text.len);
    if (oid == PG_JSONB || oid == PG_JSON) {
        size_t skip = oid == PG_JSONB ? 1 : 0;
        pg_body_bytes(out, text.len > 0 ? text.data + skip : NULL, text.len - skip);
    } else if (oid == PG_BYTEA) {
        model_text(out, "\"\\\\x");
        for (size_t i = 0; i < text.len; i++) {
            char hex[3];
            snprintf(hex, sizeof hex, "%02x", (unsigned)(unsigned char)text.data[i]);
            model_text(out, hex);
        }
        model_text(out, "\"");
    } else {
        model_string(out, text.data, text.len);
    }
    pg_body_free(&text);
}

/* A random value of a type, as a field and as JSON. */
static void put_random(struct random *random, uint32_t oid, struct pg_body *body, struct pg_body *out) {
    char wire[16], text[64];
    uint64_t number = random_below(random, 2) == 0 ? some_number(random) : 0 - some_number(random);
    switch (oid) {
    case PG_BOOL:
        wire[0] = (char)(number & 1);
        pg_body_field(body, wire, 1);
        model_text(out, (number & 1) != 0 ? "true" : "false");
        return;
    case PG_INT2:
        pg_put_u16(wire, (uint16_t)number);
        pg_body_field(body, wire, 2);
        snprintf(text, sizeof text, "%d", (int16_t)number);
        break;
    case PG_INT4: case PG_OID:
        pg_put_u32(wire, (uint32_t)number);
        pg_body_field(body, wire, 4);
        snprintf(text, sizeof text, "%" PRId64, oid == PG_OID ? (int64_t)(uint32_t)number : (int64_t)(int32_t)number);
        break;
    case PG_INT8:
        pg_put_u64(wire, number);
        pg_body_field(body, wire, 8);
        snprintf(text, sizeof text, "%" PRId64, (int64_t)number);
        break;
    case PG_FLOAT8: case PG_NUMERIC:
        snprintf(text, sizeof text, "%.*g", 1 + (int)random_below(random, 17), (double)(int64_t)number / 1000);
        pg_body_field(body, text, strlen(text));
        break;
    case PG_DATE: {
        int32_t days = (int32_t)((int64_t)(random_next(random) % UINT64_C(2147483494)) - 2451545);
        days = random_below(random, 2) == 0 ? days : (int32_t)random_below(random, 2000000) - 1000000;
        pg_put_u32(wire, (uint32_t)days);
        pg_body_field(body, wire, 4);
        model_date(out, days);
        return;
    }
    case PG_TIMESTAMP: case PG_TIMESTAMPTZ: {
        int64_t us = (int64_t)(random_next(random) % UINT64_C(9435184819200000000) - UINT64_C(211813488000000000));
        us = random_below(random, 2) == 0 ? us : us / 1000000 * 1000000;
        pg_put_u64(wire, (uint64_t)us);
        pg_body_field(body, wire, 8);
        model_timestamp(out, us, oid == PG_TIMESTAMPTZ);
        return;
    }
    default: put_text_value(random, oid, body, out); return;
    }
    model_text(out, text);
}

static const uint32_t types[] = { PG_BOOL, PG_INT2, PG_INT4, PG_INT8, PG_OID, PG_FLOAT8, PG_NUMERIC, PG_DATE, PG_TIMESTAMP,
                                  PG_TIMESTAMPTZ, PG_TEXT, PG_JSON, PG_JSONB, PG_BYTEA, AN_ENUM };

/* Names with and without a group; NESTED says what JSON makes of them. */
static const char *const names[] = { "id", "name", "a.x", "a.y", "b.x", "na\"me" };

static void model_name(struct pg_body *out, const char *name, size_t len) {
    model_string(out, name, len);
    model_text(out, ":");
}

static size_t group_of(const char *name) {
    const char *dot = strchr(name, '.');
    return dot == NULL ? 0 : (size_t)(dot - name);
}

static void random_row(struct random *random, bool nested, struct pg_body *description, struct pg_body *body,
                       struct pg_body *out) {
    uint32_t count = 1 + random_below(random, 8);
    const char *open = NULL; /* the name whose group is open */
    pg_body_u16(description, count);
    pg_body_u16(body, count);
    for (uint32_t i = 0; i < count; i++) {
        const char *name = names[random_below(random, sizeof names / sizeof *names)];
        uint32_t oid = types[random_below(random, sizeof types / sizeof *types)];
        pg_body_column(description, name, oid);
        size_t group = nested ? group_of(name) : 0;
        bool same = open != NULL && group > 0 && open[0] == name[0];
        model_text(out, open != NULL && !same ? "}" : "");
        model_text(out, i == 0 ? "{" : ",");
        if (group > 0 && !same) {
            model_name(out, name, group);
            model_text(out, "{");
        }
        size_t from = group > 0 ? group + 1 : 0;
        model_name(out, name + from, strlen(name) - from);
        open = group > 0 ? name : NULL;
        if (random_below(random, 6) == 0) {
            pg_body_null(body);
            model_text(out, "null");
        } else {
            put_random(random, oid, body, out);
        }
    }
    model_text(out, open != NULL ? "}}" : "}");
}

static void test_model(void **state) {
    (void)state;
    struct random random = random_seeded("pg_json");
    for (int round = 0; round < 4000; round++) {
        struct pg_body description = { 0 }, body = { 0 }, expected = { 0 };
        struct pg_plan plan;
        bool nested = random_below(&random, 2) == 0;
        random_row(&random, nested, &description, &body, &expected);
        make_plan(&plan, nested, &description);
        struct pg_row row = read_row(&plan, pg_body_span(&body));
        check_json(&row, random_below(&random, BLOCK_ROOM), expected.data, expected.len);
        check_json(&row, random_below(&random, 64), expected.data, expected.len);
        pg_body_free(&description);
        pg_body_free(&body);
        pg_body_free(&expected);
    }
}

/* ------------------------------------------------------------------------------------------------ sizes and ends ---- */

/* 200 KB in a field, clean and not. */
static void test_large(void **state) {
    (void)state;
    static char text[200000];
    static const uint32_t oids[] = { PG_TEXT, PG_JSON, PG_BYTEA };
    for (size_t i = 0; i < sizeof oids / sizeof *oids; i++) {
        for (int dirty = 0; dirty < 2; dirty++) {
            struct pg_body description = { 0 }, body = { 0 }, expected = { 0 };
            struct pg_plan plan;
            memset(text, dirty ? '\n' : 'x', sizeof text);
            pg_body_u16(&description, 1);
            pg_body_column(&description, "v", oids[i]);
            make_plan(&plan, false, &description);
            pg_body_u16(&body, 1);
            pg_body_field(&body, text, sizeof text);
            model_text(&expected, "{\"v\":");
            if (oids[i] == PG_TEXT) {
                model_string(&expected, text, sizeof text);
            } else if (oids[i] == PG_JSON) {
                pg_body_bytes(&expected, text, sizeof text);
            } else {
                model_text(&expected, "\"\\\\x");
                for (size_t n = 0; n < sizeof text; n++) {
                    model_text(&expected, dirty ? "0a" : "78");
                }
                model_text(&expected, "\"");
            }
            model_text(&expected, "}");
            struct pg_row row = read_row(&plan, pg_body_span(&body));
            check_json(&row, 17, expected.data, expected.len);
            pg_body_free(&description);
            pg_body_free(&body);
            pg_body_free(&expected);
        }
    }
}

/* A name that is longer than a block, in front of each kind of value. */
static void test_long_name(void **state) {
    (void)state;
    static char name[6001];
    memset(name, 'n', sizeof name - 1);
    struct pg_body description = { 0 }, body = { 0 }, expected = { 0 };
    struct pg_plan plan;
    pg_body_u16(&description, 3);
    pg_body_column(&description, name, PG_INT4);
    pg_body_column(&description, name, PG_TEXT);
    pg_body_column(&description, name, PG_JSON);
    make_plan(&plan, false, &description);
    pg_body_u16(&body, 3);
    pg_body_field(&body, "\0\0\0\7", 4);
    pg_body_field(&body, "a\nb", 3);
    pg_body_field(&body, "[]", 2);
    const char *const values[] = { "7", "\"a\\nb\"", "[]" };
    for (size_t i = 0; i < 3; i++) {
        model_text(&expected, i == 0 ? "{" : ",");
        model_name(&expected, name, sizeof name - 1);
        model_text(&expected, values[i]);
    }
    model_text(&expected, "}");
    struct pg_row row = read_row(&plan, pg_body_span(&body));
    for (uint32_t room = 0; room < 100; room++) {
        check_json(&row, room, expected.data, expected.len);
    }
    pg_body_free(&description);
    pg_body_free(&body);
    pg_body_free(&expected);
}

/* No block is free, at any place of a row that needs several: FULL, and all blocks come back by a rollback. */
static void test_full(void **state) {
    (void)state;
    static char text[9000];
    memset(text, 'x', sizeof text);
    struct pg_body description = { 0 }, body = { 0 };
    struct pg_plan plan;
    static const uint32_t oids[] = { PG_TEXT, PG_INT4, PG_BYTEA, PG_JSON, PG_TEXT };
    pg_body_u16(&description, 5);
    pg_body_u16(&body, 5);
    for (size_t i = 0; i < 5; i++) {
        pg_body_column(&description, "v", oids[i]);
        if (oids[i] == PG_INT4) {
            pg_body_field(&body, "\0\0\0\1", 4);
        } else {
            memset(text, i == 4 ? '\1' : 'x', sizeof text);
            pg_body_field(&body, text, sizeof text);
        }
    }
    make_plan(&plan, false, &description);
    struct pg_row row = read_row(&plan, pg_body_span(&body));
    bool done = false;
    uint32_t blocks = 1;
    for (; !done && blocks < 100; blocks++) {
        struct chain chain;
        pool_init(&pool, "blocks", memory, BLOCK_BYTES, blocks);
        chain_init(&chain, &pool);
        fill_block(&chain, 3);
        struct chain_mark mark = chain_mark(&chain);
        enum pg_json_result result = pg_json_row(&chain, &row);
        done = result == PG_JSON_OK;
        assert_true(done || result == PG_JSON_FULL);
        chain_rollback(&chain, mark);
        assert_int_equal(chain.bytes, BLOCK_ROOM - 3);
        chain_reset(&chain);
        assert_int_equal(pool.free_count, blocks);
    }
    assert_true(done);
    assert_true(blocks > 20);
    pg_body_free(&description);
    pg_body_free(&body);
}

/* Rows that fill several blocks after each other, as a result does. */
static void test_many_rows(void **state) {
    (void)state;
    struct pg_body description = { 0 }, body = { 0 }, expected = { 0 };
    struct pg_plan plan;
    pg_body_u16(&description, 2);
    pg_body_column(&description, "id", PG_INT4);
    pg_body_column(&description, "name", PG_TEXT);
    make_plan(&plan, false, &description);
    struct chain chain = chain_fresh();
    for (uint32_t i = 0; i < 2000; i++) {
        char id[4], name[32], json[96];
        snprintf(name, sizeof name, "item %u", i);
        snprintf(json, sizeof json, "{\"id\":%u,\"name\":\"item %u\"}", i, i);
        pg_put_u32(id, i);
        pg_body_reset(&body);
        pg_body_u16(&body, 2);
        pg_body_field(&body, id, 4);
        pg_body_field(&body, name, strlen(name));
        struct pg_row row = read_row(&plan, pg_body_span(&body));
        assert_int_equal(pg_json_row(&chain, &row), PG_JSON_OK);
        model_text(&expected, json);
    }
    struct pg_body got = flatten(&chain, 0);
    assert_int_equal(got.len, expected.len);
    assert_memory_equal(got.data, expected.data, got.len);
    pg_body_free(&got);
    pg_body_free(&description);
    pg_body_free(&body);
    pg_body_free(&expected);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_value, value_rows);
    ROWS_ADD(&rows, test_null, null_rows);
    ROWS_TEST(&rows, test_no_columns);
    ROWS_TEST(&rows, test_model);
    ROWS_TEST(&rows, test_large);
    ROWS_TEST(&rows, test_long_name);
    ROWS_TEST(&rows, test_full);
    ROWS_TEST(&rows, test_many_rows);
    return rows_run("pg_json", &rows);
}
