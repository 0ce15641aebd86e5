/* Writes rows as JSON objects, by a program that was compiled when the plan was made: for each column the bytes before its
 * value and a writer for its type. RFC 8259; strings are escaped as §7 demands.
 *
 *     bool true/false · integers as they are · float and numeric as the server prints them, NaN and infinities null ·
 * json and
 *     jsonb verbatim · text, varchar, uuid, date, timestamps (ISO 8601, timestamptz in UTC with Z; infinity as a
 * string), bytea
 *     ("\\x" and hexadecimal digits), and every type that comes as text: a string · NULL null
 *
 * Depends on: mem (chain, text), pg_row.h. One thread. */
#ifndef RM_PG_JSON_H
#define RM_PG_JSON_H

#include "mem/chain.h"
#include "pg/pg_row.h"

/* Compiles the program of a plan whose columns are set: called by pg_plan_make. With plan->nested, columns that are beside each
 * other and have the same text in front of their first '.' become one object of that name; where nothing is in front of the
 * '.' or behind it, the name is taken as it is. *used of the memory is kept. False: it does not suffice. */
[[gnu::warn_unused_result]] bool pg_json_compile(struct pg_plan *plan, char *memory, size_t bytes, size_t *used);

enum pg_json_result {
    PG_JSON_OK,
    PG_JSON_FULL, /* no block is free */
    PG_JSON_BAD,  /* a value is none of its type (jsonb of another version, a wrong length): the query fails */
};

/* Appends the row as an object. After FULL and BAD a part of it may be in the chain: the caller drops the whole of it. */
[[gnu::warn_unused_result]] enum pg_json_result pg_json_row(struct chain *out, const struct pg_row *row);

#endif
