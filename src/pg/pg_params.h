/* Arguments of a query as the section of Bind that holds them: formats, count, values. Binary for bool, int2/4/8, float4/8,
 * bytea, uuid (of 16 bytes), date and timestamps (of integers); text for everything else.
 *
 *     type                    takes
 *     bool                    PG_ARG_BOOL
 *     int2 int4 int8          PG_ARG_INT, in range
 *     float4 float8           PG_ARG_DOUBLE, PG_ARG_INT
 *     numeric                 PG_ARG_TEXT, PG_ARG_INT
 *     bytea                   PG_ARG_BYTES
 *     uuid                    PG_ARG_TEXT, PG_ARG_BYTES of 16
 *     date                    PG_ARG_TEXT, PG_ARG_INT: days since 1970-01-01; INT32_MIN and INT32_MAX: the infinities
 *     timestamp timestamptz   PG_ARG_TEXT, PG_ARG_INT: microseconds since 1970; INT64_MIN and INT64_MAX: the infinities
 *     all others              PG_ARG_TEXT
 *     any                     PG_ARG_NULL
 *
 * The formats are written as short as they can be: none when all are text, one when all are binary, else one for each. A
 * NULL is of either.
 *
 * Depends on: mem (number), pg_row.h (types and their ranges), pg_wire.h. No state; any thread. */
#ifndef RM_PG_PARAMS_H
#define RM_PG_PARAMS_H

#include "pg/pg_statement.h"

enum pg_arg_kind { PG_ARG_NULL, PG_ARG_BOOL, PG_ARG_INT, PG_ARG_DOUBLE, PG_ARG_TEXT, PG_ARG_BYTES };

struct pg_arg {
    enum pg_arg_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct span bytes; /* TEXT, BYTES; borrowed */
    };
};

enum pg_params_result {
    PG_PARAMS_OK,
    PG_PARAMS_COUNT, /* not as many as the statement has: a mistake of the application's */
    PG_PARAMS_TYPE,  /* a kind that the type does not take: likewise */
    PG_PARAMS_RANGE, /* a number that the type can't hold: 22003 as the server would say, or 22008 of dates */
    PG_PARAMS_TEXT,  /* a NUL in a text: 22021 */
    PG_PARAMS_LARGE, /* more than 1 GiB */
};

/* Bytes that pg_params_encode will write, or what is wrong (then *bytes is not written). */
[[gnu::warn_unused_result]] enum pg_params_result pg_params_check(const struct pg_statement *statement, const struct
    pg_arg *args,
                                                                  uint32_t count, size_t *bytes);

/* Writes them; only after pg_params_check has said OK of the same arguments. Returns what is behind the last byte. */
char *pg_params_encode(char *out, const struct pg_statement *statement, const struct pg_arg *args, uint32_t count);

#endif
