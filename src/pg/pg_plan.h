/* What is known of a statement's result: its columns, the formats that they are asked for in, and the program that writes
 * its rows as JSON. Made from the RowDescription that Describe brings, once per worker; made anew when a connection that
 * prepares the statement sees other columns, or the server says that they have changed.
 *
 * Formats: binary for bool, int2, int4, int8, oid, text, varchar, bpchar, name, json, jsonb, bytea, uuid, date, timestamp
 * and timestamptz; text for float4, float8, numeric and everything that we don't know (the server prints these right).
 *
 * Depends on: mem, pg_wire.h. One thread: a worker has plans of its own. */
#ifndef RM_PG_PLAN_H
#define RM_PG_PLAN_H

#include "pg/pg_statement.h"

enum { PG_PLAN_BYTES = 192 * 1024 }; /* of one plan, virtual: touched as far as it is used */

/* OIDs of the catalog pg_type. */
enum pg_type {
    PG_BOOL = 16, PG_BYTEA = 17, PG_NAME = 19, PG_INT8 = 20, PG_INT2 = 21, PG_INT4 = 23, PG_TEXT = 25, PG_OID = 26,
        PG_JSON = 114,
    PG_FLOAT4 = 700, PG_FLOAT8 = 701, PG_BPCHAR = 1042, PG_VARCHAR = 1043, PG_DATE = 1082, PG_TIMESTAMP = 1114,
    PG_TIMESTAMPTZ = 1184, PG_NUMERIC = 1700, PG_UUID = 2950, PG_JSONB = 3802,
};

struct pg_column {
    uint32_t oid;
    uint8_t format;      /* 0 text, 1 binary */
    uint8_t writer;      /* pg_json.c's */
    uint8_t after_len;   /* `}`s behind the last one */
    uint32_t name_len;   /* bytes */
    uint32_t before_len;
    const char *name;    /* in the plan's memory */
    const char *before;  /* what JSON has before its value: `{"name":`, `,"name":`, `},"a":{"b":` ... ; in the plan's memory */
};

/* Invariant: known <=> what follows is right. */
struct pg_plan {
    bool known;
    bool nested;            /* of the statement */
    uint32_t version;       /* counts pg_plan_make: a query remembers with which it was bound; 0: it was not made yet */
    uint32_t formats_since; /* the version from which on `formats` are what they are */
    uint32_t column_count;  /* 0: the statement returns no rows, or rows without columns */
    struct pg_column *columns;
    struct span formats;    /* the section of Bind with the result formats, ready to be sent; one format for all when they
                               are alike */
    char *memory;           /* PG_PLAN_BYTES; borrowed */
};

/* `memory` is aligned as malloc's would be. */
void pg_plan_init(struct pg_plan *plan, bool nested, char *memory);

/* From the body of a RowDescription; data == NULL: NoData. False: malformed, or too large for PG_PLAN_BYTES (*malformed tells);
 * the plan is not known then. The version counts in any case. */
[[gnu::warn_unused_result]] bool pg_plan_make(struct pg_plan *plan, struct span description, bool *malformed);

/* The server has said that it is not so any more. */
static inline void pg_plan_forget(struct pg_plan *plan) {
    plan->known = false;
}

#endif
