#include "pg/pg_row.h"

#include <stdio.h>

#include "guard.h"
#include "pg_rows.h"
#include "random.h"
#include "rows.h"

static uint32_t at[PG_COLUMNS_MAX];

/* A plan as pg_plan_make would make it; what reading a row needs of it. */
static void plan_of(struct pg_plan *plan, struct pg_column *columns, uint32_t count, uint32_t oid, uint8_t format) {
    for (uint32_t i = 0; i < count; i++) {
        columns[i] = (struct pg_column){ .oid = oid, .format = format };
    }
    *plan = (struct pg_plan){ .known = true, .column_count = count, .columns = columns };
}

struct read_row {
    const char *name;
    uint32_t columns; /* of the plan */
    enum pg_row_result result;
    size_t len;
    const char *body;
};

#define BODY(bytes) sizeof(bytes) - 1, (bytes)

static const struct read_row read_rows[] = {
    { "no columns", 0, PG_ROW_OK, BODY("\0\0") },
    { "one field", 1, PG_ROW_OK, BODY("\0\1\0\0\0\2ab") },
    { "an empty field", 1, PG_ROW_OK, BODY("\0\1\0\0\0\0") },
    { "NULL", 1, PG_ROW_OK, BODY("\0\1\xff\xff\xff\xff") },
    { "two fields", 2, PG_ROW_OK, BODY("\0\2\0\0\0\1a\xff\xff\xff\xff") },
    { "empty body", 0, PG_ROW_MALFORMED, BODY("") },
    { "half a count", 0, PG_ROW_MALFORMED, BODY("\0") },
    { "no length", 1, PG_ROW_MALFORMED, BODY("\0\1") },
    { "half a length", 1, PG_ROW_MALFORMED, BODY("\0\1\0\0\0") },
    { "a field too long", 1, PG_ROW_MALFORMED, BODY("\0\1\0\0\0\3ab") },
    { "a field much too long", 1, PG_ROW_MALFORMED, BODY("\0\1\x7f\xff\xff\xff" "ab") },
    { "length -2", 1, PG_ROW_MALFORMED, BODY("\0\1\xff\xff\xff\xfe") },
    { "the smallest length", 1, PG_ROW_MALFORMED, BODY("\0\1\x80\0\0\0") },
    { "bytes left over", 1, PG_ROW_MALFORMED, BODY("\0\1\0\0\0\1ab") },
    { "bytes behind no column", 0, PG_ROW_MALFORMED, BODY("\0\0a") },
    { "fewer columns", 2, PG_ROW_OTHER, BODY("\0\1\0\0\0\1a") },
    { "more columns", 1, PG_ROW_OTHER, BODY("\0\2\0\0\0\1a\0\0\0\0") },
    { "more columns than are there", 1, PG_ROW_MALFORMED, BODY("\xff\xff\0\0\0\1a") },
    { "fewer columns, and bytes left", 2, PG_ROW_MALFORMED, BODY("\0\1\0\0\0\1ab") },
};

static void test_read(void **state) {
    const struct read_row *row = *state;
    struct guard guard = guard_open(4096);
    struct pg_plan plan;
    struct pg_column columns[4];
    struct pg_row out;
    plan_of(&plan, columns, row->columns, PG_TEXT, 1);
    struct span body = { guard_copy(&guard, row->body, row->len), row->len };
    assert_int_equal(pg_row_read(&out, &plan, body, at), row->result);
    guard_close(&guard);
}

/* Any count of fields of any length, cut at any byte. */
static void test_cuts(void **state) {
    (void)state;
    struct random random = random_seeded("pg_row");
    struct guard guard = guard_open(8192);
    for (int round = 0; round < 200; round++) {
        struct pg_body body = { 0 };
        struct pg_plan plan;
        struct pg_column columns[16];
        struct pg_row row;
        uint32_t count = random_below(&random, 16);
        plan_of(&plan, columns, count, PG_TEXT, 1);
        pg_body_u16(&body, count);
        uint32_t places[16];
        for (uint32_t i = 0; i < count; i++) {
            places[i] = (uint32_t)body.len;
            if (random_below(&random, 4) == 0) {
                pg_body_null(&body);
            } else {
                char text[32] = "abcdefghijklmnopqrstuvwxyz";
                pg_body_field(&body, text, random_below(&random, 26));
            }
        }
        for (size_t len = 0; len < body.len; len++) {
            struct span cut = { guard_copy(&guard, body.data, len), len };
            assert_int_equal(pg_row_read(&row, &plan, cut, at), PG_ROW_MALFORMED);
        }
        assert_int_equal(pg_row_read(&row, &plan, pg_body_span(&body), at), PG_ROW_OK);
        assert_ptr_equal(row.body, body.data);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(row.at[i], places[i]);
        }
        pg_body_free(&body);
    }
    guard_close(&guard);
}

/* A count that the plan does not have writes to no at[]: it may be larger than there is room. */
static void test_no_room(void **state) {
    (void)state;
    struct pg_body body = { 0 };
    struct pg_plan plan;
    struct pg_column column;
    struct pg_row row;
    plan_of(&plan, &column, 1, PG_TEXT, 1);
    pg_body_u16(&body, 65535);
    for (int i = 0; i < 65535; i++) {
        pg_body_null(&body);
    }
    uint32_t one[1] = { 4711 };
    assert_int_equal(pg_row_read(&row, &plan, pg_body_span(&body), one), PG_ROW_OTHER);
    assert_int_equal(one[0], 4711);
    pg_body_free(&body);
}

/* ------------------------------------------------------------------------------------------------------- getters ---- */

/* Which getters take a field: the text of what they gave, or nothing. */
enum getter { GET_BOOL = 1, GET_INT = 2, GET_TEXT = 4, GET_JSON = 8, GET_BYTES = 16, GET_UUID = 32, GET_DATE = 64,
              GET_TIMESTAMP = 128 };

struct get_row {
    const char *name;
    uint32_t oid;
    uint8_t format;
    unsigned getters; /* that succeed */
    int64_t number;   /* that those of numbers give */
    const char *text; /* that those of spans give; NULL: the field */
    size_t len;
    const char *bytes;
};

enum { AN_ENUM = 16500 };

static const struct get_row get_rows[] = {
    { "true", PG_BOOL, 1, GET_BOOL, 1, NULL, BODY("\1") },
    { "false", PG_BOOL, 1, GET_BOOL, 0, NULL, BODY("\0") },
    { "bool 2", PG_BOOL, 1, 0, 0, NULL, BODY("\2") },
    { "bool 255", PG_BOOL, 1, 0, 0, NULL, BODY("\xff") },
    { "bool, empty", PG_BOOL, 1, 0, 0, NULL, BODY("") },
    { "bool, long", PG_BOOL, 1, 0, 0, NULL, BODY("\0\1") },
    { "int2", PG_INT2, 1, GET_INT, -2, NULL, BODY("\xff\xfe") },
    { "int2, long", PG_INT2, 1, 0, 0, NULL, BODY("\xff\xff\xff\xfe") },
    { "int4", PG_INT4, 1, GET_INT, INT32_MIN, NULL, BODY("\x80\0\0\0") },
    { "int4, short", PG_INT4, 1, 0, 0, NULL, BODY("\0\0\0") },
    { "int4, long", PG_INT4, 1, 0, 0, NULL, BODY("\0\0\0\0\0\0\0\1") },
    { "int8", PG_INT8, 1, GET_INT, INT64_MIN, NULL, BODY("\x80\0\0\0\0\0\0\0") },
    { "int8, short", PG_INT8, 1, 0, 0, NULL, BODY("\x80\0\0\0") },
    { "oid", PG_OID, 1, GET_INT, UINT32_MAX, NULL, BODY("\xff\xff\xff\xff") },
    { "text", PG_TEXT, 1, GET_TEXT, 0, NULL, BODY("abc") },
    { "text, empty", PG_TEXT, 1, GET_TEXT, 0, NULL, BODY("") },
    { "varchar", PG_VARCHAR, 1, GET_TEXT, 0, NULL, BODY("abcd") },
    { "bpchar", PG_BPCHAR, 1, GET_TEXT, 0, NULL, BODY("ab  ") },
    { "name", PG_NAME, 1, GET_TEXT, 0, NULL, BODY("ab") },
    { "numeric", PG_NUMERIC, 0, GET_TEXT, 0, NULL, BODY("1.10") },
    { "float8", PG_FLOAT8, 0, GET_TEXT, 0, NULL, BODY("1e+22") },
    { "an enum", AN_ENUM, 0, GET_TEXT, 0, NULL, BODY("sad") },
    { "a type that came binary", AN_ENUM, 1, 0, 0, NULL, BODY("\1\2") },
    { "json", PG_JSON, 1, GET_TEXT | GET_JSON, 0, NULL, BODY("[1]") },
    { "jsonb", PG_JSONB, 1, GET_TEXT | GET_JSON, 0, "[1]", BODY("\1[1]") },
    { "jsonb of another version", PG_JSONB, 1, 0, 0, NULL, BODY("\2[1]") },
    { "jsonb, empty", PG_JSONB, 1, 0, 0, NULL, BODY("") },
    { "bytea", PG_BYTEA, 1, GET_BYTES, 0, NULL, BODY("\0\xff") },
    { "uuid", PG_UUID, 1, GET_UUID, 0, NULL, BODY("0123456789abcdef") },
    { "uuid, short", PG_UUID, 1, 0, 0, NULL, BODY("0123456789abcde") },
    { "uuid, long", PG_UUID, 1, 0, 0, NULL, BODY("0123456789abcdefg") },
    { "date", PG_DATE, 1, GET_DATE, 20455, NULL, BODY("\0\0\x25\x1a") }, /* 2026-01-02 */
    { "date 1970-01-01", PG_DATE, 1, GET_DATE, 0, NULL, BODY("\xff\xff\xd5\x33") },
    { "date infinity", PG_DATE, 1, GET_DATE, INT32_MAX, NULL, BODY("\x7f\xff\xff\xff") },
    { "date -infinity", PG_DATE, 1, GET_DATE, INT32_MIN, NULL, BODY("\x80\0\0\0") },
    { "the first date", PG_DATE, 1, GET_DATE, -2440588, NULL, BODY("\xff\xda\x97\xa7") },
    { "a date before it", PG_DATE, 1, 0, 0, NULL, BODY("\xff\xda\x97\xa6") },
    { "the last date", PG_DATE, 1, GET_DATE, 2145042905, NULL, BODY("\x7f\xda\x97\x0c") },
    { "a date behind it", PG_DATE, 1, 0, 0, NULL, BODY("\x7f\xda\x97\x0d") },
    { "date, long", PG_DATE, 1, 0, 0, NULL, BODY("\0\0\0\0\0\0\x25\x1a") },
    { "timestamp", PG_TIMESTAMP, 1, GET_TIMESTAMP, 1767323045678901, NULL, BODY("\0\x02\xea\x5d\xbb\x1f\x6f\x35") },
    { "timestamptz", PG_TIMESTAMPTZ, 1, GET_TIMESTAMP, 946684800000000, NULL, BODY("\0\0\0\0\0\0\0\0") },
    { "timestamp infinity", PG_TIMESTAMP, 1, GET_TIMESTAMP, INT64_MAX, NULL, BODY("\x7f\xff\xff\xff\xff\xff\xff\xff") },
    { "timestamp -infinity", PG_TIMESTAMP, 1, GET_TIMESTAMP, INT64_MIN, NULL, BODY("\x80\0\0\0\0\0\0\0") },
    { "the first timestamp", PG_TIMESTAMP, 1, GET_TIMESTAMP, -210866803200000000, NULL, BODY("\xfd\x0f\x7c\xc1\x41\x1f\xa0\x00") },
    { "a timestamp before it", PG_TIMESTAMP, 1, 0, 0, NULL, BODY("\xfd\x0f\x7c\xc1\x41\x1f\x9f\xff") },
    { "the last that fits", PG_TIMESTAMPTZ, 1, GET_TIMESTAMP, INT64_MAX - 1, NULL, BODY("\x7f\xfc\xa2\xfe\xc4\xc8\x1f\xfe") },
    { "one that does not fit", PG_TIMESTAMPTZ, 1, 0, 0, NULL, BODY("\x7f\xfc\xa2\xfe\xc4\xc8\x1f\xff") },
    { "a timestamp behind the last", PG_TIMESTAMPTZ, 1, 0, 0, NULL, BODY("\x7f\xff\xff\x5b\xb3\xb2\xa0\x00") },
    { "timestamp, short", PG_TIMESTAMP, 1, 0, 0, NULL, BODY("\0\0\0\0") },
};

static void check_span(bool got, struct span span, const struct get_row *row, enum getter getter) {
    struct span expected = row->text != NULL ? span_text(row->text) : span_of(row->bytes, row->len);
    assert_int_equal(got, (row->getters & getter) != 0);
    assert_true(got ? span_equal(span, expected) : span_equal(span, SPAN("untouched")));
}

static void check_number(bool got, int64_t number, const struct get_row *row, enum getter getter) {
    assert_int_equal(got, (row->getters & getter) != 0);
    assert_true(number == (got ? row->number : 4711));
}

/* Each getter: those that take the field give it, the others leave *out alone. */
static void check_getters(const struct pg_row *fields, const struct get_row *row) {
    bool yes = true, no = false;
    assert_int_equal(pg_row_bool(fields, 0, &yes), (row->getters & GET_BOOL) != 0);
    assert_int_equal(pg_row_bool(fields, 0, &no), (row->getters & GET_BOOL) != 0);
    assert_int_equal(yes, (row->getters & GET_BOOL) != 0 ? row->number != 0 : true);
    assert_int_equal(no, (row->getters & GET_BOOL) != 0 ? row->number != 0 : false);
    int64_t number = 4711;
    bool got = pg_row_int(fields, 0, &number);
    check_number(got, number, row, GET_INT);
    number = 4711;
    got = pg_row_timestamp(fields, 0, &number);
    check_number(got, number, row, GET_TIMESTAMP);
    int32_t days = 4711;
    got = pg_row_date(fields, 0, &days);
    check_number(got, days, row, GET_DATE);
    struct span span = SPAN("untouched");
    got = pg_row_text(fields, 0, &span);
    check_span(got, span, row, GET_TEXT);
    span = SPAN("untouched");
    got = pg_row_json(fields, 0, &span);
    check_span(got, span, row, GET_JSON);
    span = SPAN("untouched");
    got = pg_row_bytes(fields, 0, &span);
    check_span(got, span, row, GET_BYTES);
    uint8_t uuid[16] = "xxxxxxxxxxxxxxx";
    assert_int_equal(pg_row_uuid(fields, 0, uuid), (row->getters & GET_UUID) != 0);
    assert_memory_equal(uuid, (row->getters & GET_UUID) != 0 ? row->bytes : "xxxxxxxxxxxxxxx", 16);
}

static void test_getters(void **state) {
    const struct get_row *row = *state;
    struct pg_body body = { 0 };
    struct guard guard = guard_open(4096);
    struct pg_plan plan;
    struct pg_column column;
    struct pg_row fields;
    struct span field;
    plan_of(&plan, &column, 1, row->oid, row->format);
    pg_body_u16(&body, 1);
    pg_body_field(&body, row->bytes, row->len);
    assert_int_equal(pg_row_read(&fields, &plan, span_of(guard_copy(&guard, body.data, body.len), body.len), at), PG_ROW_OK);
    assert_false(pg_row_null(&fields, 0));
    assert_true(pg_row_field(&fields, 0, &field));
    assert_true(span_equal(field, span_of(row->bytes, row->len)));
    check_getters(&fields, row);

    struct get_row null = { .oid = row->oid };
    assert_int_equal(pg_row_read(&fields, &plan, span_of("\0\1\xff\xff\xff\xff", 6), at), PG_ROW_OK);
    assert_true(pg_row_null(&fields, 0));
    assert_false(pg_row_field(&fields, 0, &field));
    assert_int_equal(field.len, 0);
    check_getters(&fields, &null);
    guard_close(&guard);
    pg_body_free(&body);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_read, read_rows);
    ROWS_TEST(&rows, test_cuts);
    ROWS_TEST(&rows, test_no_room);
    ROWS_ADD(&rows, test_getters, get_rows);
    return rows_run("pg_row", &rows);
}
