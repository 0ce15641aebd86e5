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

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_read, read_rows);
    ROWS_TEST(&rows, test_cuts);
    ROWS_TEST(&rows, test_no_room);
    return rows_run("pg_row", &rows);
}
