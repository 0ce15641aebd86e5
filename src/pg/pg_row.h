/* A row: fields are views into a DataRow. Reading checks every length; getters check the type that was asked for. Depends
 * on: pg_plan.h. One thread. */
#ifndef RM_PG_ROW_H
#define RM_PG_ROW_H

#include "pg/pg_plan.h"

/* Valid as long as `body` and `at`. */
struct pg_row {
    const struct pg_plan *plan;
    const char *body;   /* of the DataRow */
    const uint32_t *at; /* of each column: where its length word lies in the body */
};

enum pg_row_result {
    PG_ROW_OK,
    PG_ROW_MALFORMED, /* a length is wrong, or bytes are left over: the connection is out of step */
    PG_ROW_OTHER,     /* well-formed, but its count of columns is not the plan's */
};

/* Reads the body of a DataRow in one pass. at[]: room for PG_COLUMNS_MAX, kept by the row. */
[[gnu::warn_unused_result]] enum pg_row_result pg_row_read(struct pg_row *row, const struct pg_plan *plan, struct span body,
                                                           uint32_t *at);

/* The bytes of a field, as its format has them; false: NULL (*out is empty then). `column` < plan->column_count. */
bool pg_row_field(const struct pg_row *row, uint32_t column, struct span *out);
bool pg_row_null(const struct pg_row *row, uint32_t column);

/* The server counts days and microseconds from 2000-01-01, we from 1970-01-01. */
#define PG_EPOCH_DAYS INT64_C(10957)
#define PG_EPOCH_US INT64_C(946684800000000)

/* What a date and a timestamp can be, as they are on the wire: days and microseconds since 2000-01-01, from 4714-11-24 BC to
 * 5874897-12-31 and 294276-12-31. The infinities are none of these. */
static inline bool pg_date_is_valid(int32_t days) {
    return days >= -2451545 && days <= 2145031948;
}
static inline bool pg_timestamp_is_valid(int64_t us) {
    return us >= -INT64_C(211813488000000000) && us < INT64_C(9223371331200000000);
}

/* All: false when the field is NULL, is of another type, or has a value that is none of its type; *out is as it was then. */
[[gnu::warn_unused_result]] bool pg_row_bool(const struct pg_row *row, uint32_t column, bool *out);
[[gnu::warn_unused_result]] bool pg_row_int(const struct pg_row *row, uint32_t column, int64_t *out); /* int2, int4,
                                                                                                         int8, oid */
/* text, varchar, bpchar, name, json, jsonb (without its version byte), numeric, float4, float8 and every type that comes as
 * text. */
[[gnu::warn_unused_result]] bool pg_row_text(const struct pg_row *row, uint32_t column, struct span *out);
[[gnu::warn_unused_result]] bool pg_row_json(const struct pg_row *row, uint32_t column, struct span *out); /* json, jsonb */
[[gnu::warn_unused_result]] bool pg_row_bytes(const struct pg_row *row, uint32_t column, struct span *out); /* bytea */
[[gnu::warn_unused_result]] bool pg_row_uuid(const struct pg_row *row, uint32_t column, uint8_t out[static 16]);
/* Days since 1970-01-01; INT32_MIN and INT32_MAX are -infinity and infinity. */
[[gnu::warn_unused_result]] bool pg_row_date(const struct pg_row *row, uint32_t column, int32_t *out);
/* Microseconds since 1970-01-01 00:00 (of timestamptz: UTC); INT64_MIN and INT64_MAX are -infinity and infinity. False, too,
 * for the end of the type's range that does not fit: from 294247-01-10 04:00:54.775807 on. */
[[gnu::warn_unused_result]] bool pg_row_timestamp(const struct pg_row *row, uint32_t column, int64_t *out);

#endif
