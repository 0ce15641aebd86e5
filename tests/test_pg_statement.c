#include <stdlib.h>

#include "mem/assert.h"
#include "pg/pg_statement.h"
#include "rows.h"

static struct pg_statement named(const char *sql, const uint32_t *types, uint32_t type_count) {
    struct pg_statement statement = { .sql = span_text(sql), .types = types, .type_count = type_count };
    pg_statement_make(&statement);
    return statement;
}

static void test_name_form(void **state) {
    (void)state;
    struct pg_statement statement = named("SELECT 1", NULL, 0);
    assert_int_equal(statement.name_len, 18);
    assert_int_equal(strlen(statement.name), statement.name_len);
    assert_true(statement.name_len < PG_NAME_BYTES);
    assert_memory_equal(statement.name, "rm", 2);
    assert_int_equal(strspn(statement.name + 2, "0123456789abcdef"), 16);
}

/* Other programs behind the same pooler count on it: a name never changes. */
static void test_name_is_fixed(void **state) {
    (void)state;
    static const uint32_t types[] = { 23, 25 };
    assert_string_equal(named("SELECT 1", NULL, 0).name, "rm8ba87ec46e86d351");
    assert_string_equal(named("SELECT $1, $2", types, 2).name, "rm64ba9ba157725455");
}

static void test_names_differ(void **state) {
    (void)state;
    static const uint32_t int4[] = { 23, 23 }, int8[] = { 20, 23 };
    static const struct {
        const char *sql;
        const uint32_t *types;
        uint32_t count;
    } all[] = { { "SELECT $1", int4, 1 }, { "SELECT $1", int8, 1 }, { "SELECT $1", int4, 2 }, { "SELECT $1", NULL, 0 },
                { "SELECT $2", int4, 1 }, { "", NULL, 0 }, { "SELECT $1 ", int4, 1 } };
    enum { COUNT = sizeof all / sizeof *all };
    for (size_t i = 0; i < COUNT; i++) {
        struct pg_statement a = named(all[i].sql, all[i].types, all[i].count);
        assert_string_equal(a.name, named(all[i].sql, all[i].types, all[i].count).name);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(a.name, named(all[j].sql, all[j].types, all[j].count).name);
        }
    }
}

/* PostgreSQL documentation, "SET", "SET TRANSACTION", "SET CONSTRAINTS", "Lexical Structure" (comments nest). */
static const struct local_row {
    const char *name;
    const char *sql;
    bool local;
} local_rows[] = {
    { "local", "SET LOCAL work_mem = '64MB'", true },
    { "local: lower case", "set local work_mem to '64MB'", true },
    { "local: a name in quotes", "SET LOCAL\"work_mem\" = '64MB'", true },
    { "local: white space", " \t\r\n\f\vSET\n\tLOCAL\fx = 1", true },
    { "local: a comment before it", "-- SET x = 1\nSET LOCAL x = 1", true },
    { "local: a comment up to a CR", "-- SET x = 1\rSET LOCAL x = 1", true },
    { "local: comments between", "/* a */ /**/SET/* b -- */LOCAL-- c\n/* d */x = 1", true },
    { "local: comments nest", "/* /* SET x */ SET x */ SET LOCAL x = 1", true },
    { "local: SESSION CHARACTERISTICS", "SET LOCAL SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", true },
    { "local: TRANSACTION", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", true },
    { "local: CONSTRAINTS", "SET CONSTRAINTS ALL DEFERRED", true },
    { "session: SET", "SET work_mem = '64MB'", false },
    { "session: SESSION", "SET SESSION work_mem = '64MB'", false },
    { "session: SESSION CHARACTERISTICS", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", false },
    { "session: SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION joe", false },
    { "session: ROLE", "SET ROLE joe", false },
    { "session: a name that begins so", "SET locality = 1", false },
    { "session: a name of two parts", "SET local.x = 1", false },
    { "session: the same with blanks", "SET transaction /* */ . x = 1", false },
    { "session: a name alone", "SET local = 1", false },
    { "session: likewise with TO", "SET local TO 1", false },
    { "session: in quotes", "SET \"local\" = 1", false },
    { "session: LOCAL in a comment", "SET -- LOCAL\nx = 1", false },
    { "session: LOCAL in a nested comment", "SET /* /* */ LOCAL */ x = 1", false },
    { "session: RESET", "RESET work_mem", false },
    { "no SET: its beginning", "SETLOCAL x", false },
    { "no SET: SELECT", "SELECT 1", false },
    { "no SET: behind something else", "; SET LOCAL x = 1", false },
    { "no SET: all is comment", "/* SET LOCAL x = 1", false },
    { "no SET: within a line's comment", "-- SET LOCAL x = 1", false },
    { "no SET: nothing", "", false },
    { "SET alone", "SET", false },
    { "SET LOCAL alone", "SET LOCAL ", false },
};

/* At the end of the text's memory, too. */
static void test_local(void **state) {
    const struct local_row *row = *state;
    size_t len = strlen(row->sql);
    char *sql = malloc(len + (len == 0));
    assert_non_null(sql);
    memcpy(sql, row->sql, len);
    struct pg_statement statement = { .sql = span_of(sql, len) };
    pg_statement_make(&statement);
    free(sql);
    assert_int_equal(statement.local, row->local);
}

static void test_internal(void **state) {
    (void)state;
    struct pg_statement ours[PG_INTERNAL_COUNT];
    memset(ours, 0xff, sizeof ours);
    pg_statements_internal(ours);
    for (uint32_t i = 0; i < PG_INTERNAL_COUNT; i++) {
        assert_true(ours[i].label.len > 0);
        assert_int_equal(ours[i].type_count, 0);
        assert_false(ours[i].read_only);
        assert_false(ours[i].shared_sync);
        assert_int_equal(ours[i].name_len, 18);
        for (uint32_t j = 0; j < i; j++) {
            assert_string_not_equal(ours[i].name, ours[j].name);
        }
    }
    assert_true(span_equal(ours[PG_COMMIT].sql, SPAN("COMMIT")));
    assert_true(span_equal(ours[PG_ROLLBACK].sql, SPAN("ROLLBACK")));
    assert_memory_equal(ours[PG_BEGIN].sql.data, "BEGIN", 5);
}

static void test_status_names(void **state) {
    (void)state;
    for (int i = PG_PENDING; i <= PG_TOO_LARGE; i++) {
        assert_string_not_equal(pg_status_name((enum pg_status)i), "?");
    }
    assert_string_equal(pg_status_name(PG_OK), "ok");
    assert_string_equal(pg_status_name(PG_ROLLED_BACK), "rolled back");
    assert_string_equal(pg_status_name((enum pg_status)99), "?");
}

static void test_discard(void **state) {
    (void)state;
    struct pg_query query = { 0 };
    pg_query_discard(&query);
    assert_true(query.discard);
}

int main(void) {
    static struct rows rows;
    ROWS_TEST(&rows, test_name_form);
    ROWS_TEST(&rows, test_name_is_fixed);
    ROWS_TEST(&rows, test_names_differ);
    ROWS_ADD(&rows, test_local, local_rows);
    ROWS_TEST(&rows, test_internal);
    ROWS_TEST(&rows, test_status_names);
    ROWS_TEST(&rows, test_discard);
    return rows_run("pg_statement", &rows);
}
