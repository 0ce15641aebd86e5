#include "pg/pg_plan.h"

#include <stdio.h>

#include "guard.h"
#include "pg_rows.h"
#include "random.h"
#include "rows.h"

static _Alignas(16) char memory[PG_PLAN_BYTES];

enum { NAMES_MAX = 8 };

/* Columns by name and type, and what becomes of them. */
struct plan_row {
    const char *name;
    bool nested;
    const char *names[NAMES_MAX];
    const char *before[NAMES_MAX];
    uint32_t after;
};

static const struct plan_row plan_rows[] = {
    { "one column", false, { "id" }, { "{\"id\":" }, 1 },
    { "three columns", false, { "id", "name", "x" }, { "{\"id\":", ",\"name\":", ",\"x\":" }, 1 },
    { "a name is escaped", false, { "a\"b\\c\n\x01\x1f" }, { "{\"a\\\"b\\\\c\\n\\u0001\\u001f\":" }, 1 },
    { "a name in UTF-8", false, { "gr\xc3\xb6\xc3\x9f" "e" }, { "{\"gr\xc3\xb6\xc3\x9f" "e\":" }, 1 },
    { "an empty name", false, { "" }, { "{\"\":" }, 1 },
    { "the same name twice", false, { "a", "a" }, { "{\"a\":", ",\"a\":" }, 1 },
    { "dots, not nested", false, { "a.b", "a.c" }, { "{\"a.b\":", ",\"a.c\":" }, 1 },
    { "a group alone", true, { "a.b", "a.c" }, { "{\"a\":{\"b\":", ",\"c\":" }, 2 },
    { "a group at the end", true, { "id", "a.b", "a.c" }, { "{\"id\":", ",\"a\":{\"b\":", ",\"c\":" }, 2 },
    { "a group in the middle", true, { "i", "a.b", "a.c", "z" },
      { "{\"i\":", ",\"a\":{\"b\":", ",\"c\":", "},\"z\":" }, 1 },
    { "two groups beside each other", true, { "a.b", "c.b" }, { "{\"a\":{\"b\":", "},\"c\":{\"b\":" }, 2 },
    { "a group twice, not beside itself", true, { "a.b", "z", "a.c" },
      { "{\"a\":{\"b\":", "},\"z\":", ",\"a\":{\"c\":" }, 2 },
    { "a group of another length", true, { "a.b", "aa.b" }, { "{\"a\":{\"b\":", "},\"aa\":{\"b\":" }, 2 },
    { "one level", true, { "a.b.c", "a.d" }, { "{\"a\":{\"b.c\":", ",\"d\":" }, 2 },
    { "dots at the ends are names", true, { ".a", "a.", "." }, { "{\".a\":", ",\"a.\":", ",\".\":" }, 1 },
    { "a group is escaped", true, { "a\".b" }, { "{\"a\\\"\":{\"b\":" }, 2 },
};

static void test_plan(void **state) {
    const struct plan_row *row = *state;
    struct pg_body body = { 0 };
    uint32_t count = 0;
    while (count < NAMES_MAX && row->names[count] != NULL) {
        count++;
    }
    pg_body_u16(&body, count);
    for (uint32_t i = 0; i < count; i++) {
        pg_body_column(&body, row->names[i], PG_INT4);
    }
    struct pg_plan plan;
    bool malformed = true;
    pg_plan_init(&plan, row->nested, memory);
    assert_false(plan.known);
    assert_true(pg_plan_make(&plan, pg_body_span(&body), &malformed));
    memset(body.data, '#', body.len); /* nothing is borrowed */
    assert_false(malformed);
    assert_true(plan.known);
    assert_int_equal(plan.version, 1);
    assert_int_equal(plan.column_count, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct pg_column *column = &plan.columns[i];
        assert_int_equal(column->name_len, strlen(row->names[i]));
        assert_memory_equal(column->name, row->names[i], column->name_len);
        assert_int_equal(column->before_len, strlen(row->before[i]));
        assert_memory_equal(column->before, row->before[i], column->before_len);
        assert_int_equal(column->after_len, i + 1 == count ? row->after : 0);
    }
    pg_body_free(&body);
}

struct format_row {
    const char *name;
    uint32_t oid;
    uint32_t format;
};

static const struct format_row format_rows[] = {
    { "bool", 16, 1 },        { "bytea", 17, 1 },  { "name", 19, 1 },      { "int8", 20, 1 },    { "int2", 21, 1 },
    { "int4", 23, 1 },        { "text", 25, 1 },   { "oid", 26, 1 },       { "json", 114, 1 },   { "bpchar", 1042, 1 },
    { "varchar", 1043, 1 },   { "date", 1082, 1 }, { "timestamp", 1114, 1 }, { "uuid", 2950, 1 }, { "jsonb", 3802, 1 },
    { "timestamptz", 1184, 1 }, { "float4", 700, 0 }, { "float8", 701, 0 }, { "numeric", 1700, 0 }, { "inet", 869, 0 },
    { "int4[]", 1007, 0 },    { "an enum", 16500, 0 }, { "0", 0, 0 },      { "highest", UINT32_MAX, 0 },
};

static void test_format(void **state) {
    const struct format_row *row = *state;
    struct pg_body body = { 0 };
    struct pg_plan plan;
    bool malformed;
    pg_body_u16(&body, 1);
    pg_body_column(&body, "x", row->oid);
    pg_plan_init(&plan, false, memory);
    assert_true(pg_plan_make(&plan, pg_body_span(&body), &malformed));
    const char expected[] = { 0, 1, 0, (char)row->format };
    assert_int_equal(plan.columns[0].oid, row->oid);
    assert_int_equal(plan.columns[0].format, row->format);
    assert_int_equal(plan.formats.len, 4);
    assert_memory_equal(plan.formats.data, expected, 4);
    pg_body_free(&body);
}

/* The formats are one code when all columns have it, else one for each. */
static void test_formats(void **state) {
    (void)state;
    static const uint32_t types[] = { PG_INT4, PG_INT8, PG_NUMERIC };
    struct pg_plan plan;
    pg_plan_init(&plan, false, memory);
    for (uint32_t n = 1; n <= 3; n++) {
        struct pg_body body = { 0 };
        bool malformed;
        pg_body_u16(&body, n);
        for (uint32_t i = 0; i < n; i++) {
            pg_body_column(&body, "x", types[i]);
        }
        assert_true(pg_plan_make(&plan, pg_body_span(&body), &malformed));
        assert_int_equal(plan.version, n);
        assert_int_equal(plan.formats.len, n < 3 ? 4 : 8);
        assert_memory_equal(plan.formats.data, n < 3 ? "\0\1\0\1" : "\0\3\0\1\0\1\0\0", plan.formats.len);
        pg_body_free(&body);
    }
}

static void check_no_columns(struct span description) {
    struct pg_plan plan;
    bool malformed = true;
    pg_plan_init(&plan, true, memory);
    assert_true(pg_plan_make(&plan, description, &malformed));
    assert_false(malformed);
    assert_true(plan.known);
    assert_int_equal(plan.column_count, 0);
    assert_int_equal(plan.formats.len, 2);
    assert_memory_equal(plan.formats.data, "\0", 2);
    pg_plan_forget(&plan);
    assert_false(plan.known);
}

static void test_no_columns(void **state) {
    (void)state;
    check_no_columns(span_of(NULL, 0));     /* NoData */
    check_no_columns(span_of("\0", 2)); /* SELECT FROM t */
}

/* Cut short at any byte, or longer than it says: malformed, and nothing behind its end is read. */
static void test_malformed(void **state) {
    (void)state;
    struct pg_body body = { 0 };
    struct guard guard = guard_open(4096);
    pg_body_u16(&body, 2);
    pg_body_column(&body, "id", PG_INT4);
    pg_body_column(&body, "name", PG_TEXT);
    for (size_t len = 0; len <= body.len + 1; len++) {
        struct pg_plan plan;
        bool malformed = false;
        char text[256] = { 0 };
        memcpy(text, body.data, body.len);
        pg_plan_init(&plan, false, memory);
        bool made = pg_plan_make(&plan, span_of(guard_copy(&guard, text, len), len), &malformed);
        assert_int_equal(made, len == body.len);
        assert_int_equal(malformed, len != body.len);
        assert_int_equal(plan.known, made);
        assert_int_equal(plan.column_count, made ? 2 : 0);
    }
    guard_close(&guard);
    pg_body_free(&body);
}

static bool make_many(uint32_t columns, const char *name, bool *malformed) {
    struct pg_body body = { 0 };
    struct pg_plan plan;
    pg_body_u16(&body, columns);
    for (uint32_t i = 0; i < columns; i++) {
        pg_body_column(&body, name, i % 2 == 0 ? PG_INT4 : PG_NUMERIC);
    }
    pg_plan_init(&plan, true, memory);
    bool made = pg_plan_make(&plan, pg_body_span(&body), malformed);
    assert_int_equal(plan.known, made);
    pg_body_free(&body);
    return made;
}

/* As many columns as the server can have, with names as long as it has them; beyond that too large, not malformed; more
 * columns than there can be. */
static void test_many(void **state) {
    (void)state;
    bool malformed = true;
    char name[64], dirty[64], dotted[64];
    memset(name, 'n', 63), name[63] = '\0';
    memset(dirty, '"', 63), dirty[63] = '\0';
    snprintf(dotted, sizeof dotted, "a.%.40s", name);
    assert_true(make_many(PG_COLUMNS_MAX, name, &malformed));
    assert_false(malformed);
    assert_false(make_many(PG_COLUMNS_MAX, dirty, &malformed));
    assert_false(malformed);
    assert_true(make_many(400, dirty, &malformed));
    assert_true(make_many(1000, dotted, &malformed));
    assert_false(make_many(PG_COLUMNS_MAX + 1, "n", &malformed));
    assert_true(malformed);
    assert_false(make_many(65535, "n", &malformed));
    assert_true(malformed);
}

/* Random bytes: made or refused, never more. */
static void test_random(void **state) {
    (void)state;
    struct random random = random_seeded("pg_plan");
    struct guard guard = guard_open(4096);
    struct pg_plan plan;
    pg_plan_init(&plan, true, memory);
    for (int i = 0; i < 20000; i++) {
        struct pg_body body = { 0 };
        uint32_t count = random_below(&random, 5);
        pg_body_u16(&body, count);
        for (uint32_t c = 0; c < count; c++) {
            pg_body_column(&body, random_below(&random, 2) == 0 ? "a.b" : "c", random_below(&random, 4000));
        }
        for (uint32_t n = random_below(&random, 3); n > 0; n--) {
            body.data[random_below(&random, (uint32_t)body.len)] = (char)random_below(&random, 256);
        }
        bool malformed = false;
        bool made = pg_plan_make(&plan, span_of(guard_copy(&guard, body.data, body.len), body.len), &malformed);
        assert_int_equal(made, !malformed);
        pg_body_free(&body);
    }
    guard_close(&guard);
}

/* What was bound by an older version asked for the same formats. */
static void test_formats_since(void **state) {
    static const struct { uint32_t types[3], since; } makes[] = {
        { { PG_INT4 }, 1 },           { { PG_INT8 }, 1 },    { { PG_NUMERIC }, 3 }, { { PG_INT4, PG_NUMERIC }, 4 },
        { { PG_INT8, PG_FLOAT8 }, 4 }, { { 0 }, 6 },          { { 0 }, 6 },          { { PG_INT4, PG_INT4 }, 8 },
        { { PG_TEXT }, 8 },
    };
    struct pg_plan plan;
    (void)state;
    pg_plan_init(&plan, false, memory);
    for (uint32_t i = 0; i < sizeof makes / sizeof *makes; i++) {
        struct pg_body body = { 0 };
        uint32_t count = 0;
        bool malformed;
        while (makes[i].types[count] != 0) {
            count++;
        }
        pg_body_u16(&body, count);
        for (uint32_t c = 0; c < count; c++) {
            pg_body_column(&body, "name", makes[i].types[c]);
        }
        assert_true(pg_plan_make(&plan, count > 0 ? pg_body_span(&body) : span_of(NULL, 0), &malformed));
        assert_int_equal(plan.version, i + 1);
        assert_int_equal(plan.formats_since, makes[i].since);
        pg_body_free(&body);
    }
    bool malformed;
    assert_false(pg_plan_make(&plan, SPAN("\0"), &malformed));
    assert_int_equal(plan.formats_since, plan.version);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_plan, plan_rows);
    ROWS_ADD(&rows, test_format, format_rows);
    ROWS_TEST(&rows, test_formats);
    ROWS_TEST(&rows, test_no_columns);
    ROWS_TEST(&rows, test_malformed);
    ROWS_TEST(&rows, test_many);
    ROWS_TEST(&rows, test_formats_since);
    ROWS_TEST(&rows, test_random);
    return rows_run("pg_plan", &rows);
}
