/* Entity tags and conditions: RFC 9110 §8.8.3, §13.1.1, §13.1.2, §13.2.2. src/http/cache_tags.c */
#include <stdio.h>
#include <strings.h>

#include "http/cache_priv.h"
#include "http/parse.h"
#include "http_drive.h"

/* ------------------------------------------------------------------------------------------------------ one tag ---- */

struct tag_row {
    const char *name, *text;
    bool valid;
};

static const struct tag_row tag_rows[] = {
    /* RFC 9110 §8.8.3: entity-tag = [ weak ] opaque-tag */
    { "strong", "\"xyzzy\"", true },
    { "weak", "W/\"xyzzy\"", true },
    { "empty", "\"\"", true },
    { "weak and empty", "W/\"\"", true },
    { "a comma inside", "\"a,b\"", true },
    { "a backslash is no escape", "\"a\\\"", true },
    { "every edge of etagc", "\"!#~\x80\xff\"", true },
    { "nothing", "", false },
    { "no quotes", "xyzzy", false },
    { "one quote", "\"", false },
    { "no end", "\"xyzzy", false },
    { "a small w", "w/\"xyzzy\"", false },
    { "weak without a tag", "W/", false },
    { "weak, not quoted", "W/xyzzy", false },
    { "a blank inside", "\"a b\"", false },
    { "a tab inside", "\"a\tb\"", false },
    { "DEL inside", "\"a\x7f\"", false },
    { "a control inside", "\"a\x01\"", false },
    { "a quote inside", "\"a\"b\"", false },
    { "a blank before", " \"a\"", false },
    { "something behind", "\"a\" ", false },
    { "two", "\"a\",\"b\"", false },
    { "a star", "*", false },
};

static void test_tag(void **state) {
    const struct tag_row *row = *state;
    struct guard guard = guard_open(64);
    size_t len = strlen(row->text);
    const char *text = guard_copy(&guard, row->text, len);
    assert_int_equal(cache_tag_valid(span_of(text, len)), row->valid);
    guard_close(&guard);
}

/* --------------------------------------------------------------------------------------------------- conditions ---- */

struct condition_row {
    const char *name;
    const char *etag;
    const char *fields;
    enum cache_condition condition;
};

#define NONE_MATCH(list) "If-None-Match: " list "\r\n"
#define MATCH(list) "If-Match: " list "\r\n"

static const struct condition_row condition_rows[] = {
    { "no condition", "\"a\"", "", CACHE_PERFORM },
    /* RFC 9110 §13.1.2 */
    { "the tag", "\"a\"", NONE_MATCH("\"a\""), CACHE_NOT_MODIFIED },
    { "another", "\"a\"", NONE_MATCH("\"b\""), CACHE_PERFORM },
    { "case counts", "\"a\"", NONE_MATCH("\"A\""), CACHE_PERFORM },
    { "longer", "\"a\"", NONE_MATCH("\"aa\""), CACHE_PERFORM },
    { "the empty tag", "\"\"", NONE_MATCH("\"\""), CACHE_NOT_MODIFIED },
    { "the name in capitals", "\"a\"", "IF-NONE-MATCH: \"a\"\r\n", CACHE_NOT_MODIFIED },
    { "any", "\"a\"", NONE_MATCH("*"), CACHE_NOT_MODIFIED },
    { "any, without a tag", "", NONE_MATCH("*"), CACHE_NOT_MODIFIED },
    { "a tag, without a tag", "", NONE_MATCH("\"a\""), CACHE_PERFORM },
    { "the empty tag, without a tag", "", NONE_MATCH("\"\""), CACHE_PERFORM },
    { "a star that is a tag", "\"a\"", NONE_MATCH("\"*\""), CACHE_PERFORM },
    /* RFC 9110 §8.8.3.2: weak comparison */
    { "theirs is weak", "\"a\"", NONE_MATCH("W/\"a\""), CACHE_NOT_MODIFIED },
    { "ours is weak", "W/\"a\"", NONE_MATCH("\"a\""), CACHE_NOT_MODIFIED },
    { "both are weak", "W/\"a\"", NONE_MATCH("W/\"a\""), CACHE_NOT_MODIFIED },
    { "both are weak, and not the same", "W/\"a\"", NONE_MATCH("W/\"b\""), CACHE_PERFORM },
    /* RFC 9110 §5.6.1 */
    { "the first of a list", "\"a\"", NONE_MATCH("\"a\", \"b\", \"c\""), CACHE_NOT_MODIFIED },
    { "the last of a list", "\"c\"", NONE_MATCH("\"a\", \"b\",W/\"c\""), CACHE_NOT_MODIFIED },
    { "not in a list", "\"d\"", NONE_MATCH("\"a\", \"b\", \"c\""), CACHE_PERFORM },
    { "blanks and tabs", "\"b\"", NONE_MATCH("\"a\" \t ,\t \"b\" \t"), CACHE_NOT_MODIFIED },
    { "no blanks", "\"b\"", NONE_MATCH("\"a\",\"b\""), CACHE_NOT_MODIFIED },
    { "a comma in a tag", "\"b\"", NONE_MATCH("\"a,\"b\""), CACHE_PERFORM },
    { "the tag with a comma", "\"a,b\"", NONE_MATCH("\"x\", \"a,b\""), CACHE_NOT_MODIFIED },
    { "empty elements", "\"a\"", NONE_MATCH(", ,\t,\"a\",, "), CACHE_NOT_MODIFIED },
    { "nothing but commas", "\"a\"", NONE_MATCH(",,"), CACHE_PERFORM },
    { "empty", "\"a\"", NONE_MATCH(""), CACHE_PERFORM },
    /* RFC 9110 §5.3: several lines are one list */
    { "in the second line", "\"b\"", NONE_MATCH("\"a\"") "X: y\r\n" NONE_MATCH("\"b\""), CACHE_NOT_MODIFIED },
    { "in the first line", "\"a\"", NONE_MATCH("\"a\"") NONE_MATCH("\"b\""), CACHE_NOT_MODIFIED },
    { "in no line", "\"c\"", NONE_MATCH("\"a\"") NONE_MATCH("\"b\""), CACHE_PERFORM },
    { "a line that is empty", "\"a\"", NONE_MATCH("") NONE_MATCH("\"a\""), CACHE_NOT_MODIFIED },
    { "a line that is malformed", "\"a\"", NONE_MATCH("\"a\"") NONE_MATCH("b"), CACHE_PERFORM },
    { "any, and a tag in another line", "\"a\"", NONE_MATCH("*") NONE_MATCH("\"a\""), CACHE_PERFORM },
    { "any, twice", "\"a\"", NONE_MATCH("*") NONE_MATCH("*"), CACHE_PERFORM },
    { "any, and an empty line", "\"a\"", NONE_MATCH("*") NONE_MATCH(""), CACHE_NOT_MODIFIED },
    /* malformed: neither "*" nor a list, so the condition is true */
    { "any in a list", "\"a\"", NONE_MATCH("\"a\", *"), CACHE_PERFORM },
    { "any before a list", "\"a\"", NONE_MATCH("*, \"a\""), CACHE_PERFORM },
    { "two stars", "\"a\"", NONE_MATCH("**"), CACHE_PERFORM },
    { "no quotes", "\"a\"", NONE_MATCH("a"), CACHE_PERFORM },
    { "the tag, then no quotes", "\"a\"", NONE_MATCH("\"a\", b"), CACHE_PERFORM },
    { "no quotes, then the tag", "\"a\"", NONE_MATCH("b, \"a\""), CACHE_PERFORM },
    { "no comma", "\"a\"", NONE_MATCH("\"a\" \"b\""), CACHE_PERFORM },
    { "no comma and no blank", "\"a\"", NONE_MATCH("\"a\"\"b\""), CACHE_PERFORM },
    { "no end", "\"a\"", NONE_MATCH("\"a"), CACHE_PERFORM },
    { "a small w", "\"a\"", NONE_MATCH("w/\"a\""), CACHE_PERFORM },
    { "a blank inside of weak", "\"a\"", NONE_MATCH("W/ \"a\""), CACHE_PERFORM },
    { "a blank in a tag", "\"a\"", NONE_MATCH("\"a\", \"b c\""), CACHE_PERFORM },
    { "a semicolon", "\"a\"", NONE_MATCH("\"a\"; \"b\""), CACHE_PERFORM },
    { "another field of that length", "\"a\"", "If-None-Watch: \"a\"\r\n", CACHE_PERFORM },
    /* RFC 9110 §13.1.1: strong comparison; malformed: false */
    { "match", "\"a\"", MATCH("\"a\""), CACHE_PERFORM },
    { "match, not", "\"a\"", MATCH("\"b\""), CACHE_PRECONDITION_FAILED },
    { "match in a list", "\"b\"", MATCH("\"a\"") MATCH("\"c\", \"b\""), CACHE_PERFORM },
    { "match any", "\"a\"", MATCH("*"), CACHE_PERFORM },
    { "match any, without a tag", "", MATCH("*"), CACHE_PERFORM },
    { "match, without a tag", "", MATCH("\"a\""), CACHE_PRECONDITION_FAILED },
    { "match: theirs is weak", "\"a\"", MATCH("W/\"a\""), CACHE_PRECONDITION_FAILED },
    { "match: ours is weak", "W/\"a\"", MATCH("\"a\""), CACHE_PRECONDITION_FAILED },
    { "match: both are weak", "W/\"a\"", MATCH("W/\"a\""), CACHE_PRECONDITION_FAILED },
    { "match: malformed", "\"a\"", MATCH("a"), CACHE_PRECONDITION_FAILED },
    { "match: empty", "\"a\"", MATCH(""), CACHE_PRECONDITION_FAILED },
    /* RFC 9110 §13.2.2: If-Match first */
    { "both are true", "\"a\"", MATCH("\"a\"") NONE_MATCH("\"b\""), CACHE_PERFORM },
    { "the second is false", "\"a\"", NONE_MATCH("\"a\"") MATCH("\"a\""), CACHE_NOT_MODIFIED },
    { "both are false", "\"a\"", NONE_MATCH("\"a\"") MATCH("\"b\""), CACHE_PRECONDITION_FAILED },
    /* what is not looked at */
    { "a date", "\"a\"", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", CACHE_PERFORM },
};

/* The request's first look at its fields has said whether there is a condition: a row without one must say so. */
static void test_condition(void **state) {
    const struct condition_row *row = *state;
    void *nothing = NULL;
    char text[512];
    snprintf(text, sizeof text, "GET /ok HTTP/1.1\r\n" H "%s\r\n", row->fields);
    open_rig(&nothing);
    struct http_exchange *x = request(text);
    bool has = strncasecmp(row->fields, "If-M", 4) == 0 || strncasecmp(row->fields, "If-None-M", 9) == 0;
    bool date = strncasecmp(row->fields, "If-Mod", 6) == 0;
    assert_int_equal((x->request.seen & SEEN_CONDITION) != 0, has && !date);
    assert_int_equal(cache_condition(&x->request, span_text(row->etag)), row->condition);
    finish(x);
    assert_int_equal(close_rig(&nothing), 0);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_tag, tag_rows);
    ROWS_ADD(&rows, test_condition, condition_rows);
    return rows_run("cache tags", &rows);
}
