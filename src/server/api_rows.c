/* include/ringmain.h: the fields of a row. struct rm_row is src/pg's struct pg_row by another name. */
#include <stdlib.h>
#include <string.h>

#include "pg/pg_row.h"
#include "ringmain.h"

enum { NUMBER_TEXT_BYTES = 512 }; /* a longer number has no double that is worth it */

static const struct pg_row *unwrap(const struct rm_row *row) {
    return (const struct pg_row *)(const void *)row;
}

/* False when there is no such column, too. */
static const struct pg_row *at(const struct rm_row *row, uint32_t column) {
    const struct pg_row *inner = unwrap(row);
    return inner != NULL && column < inner->plan->column_count ? inner : NULL;
}

static uint32_t type_of(const struct pg_row *row, uint32_t column) {
    return row->plan->columns[column].oid;
}

uint32_t rm_columns(const struct rm_row *row) {
    return row == NULL ? 0 : unwrap(row)->plan->column_count;
}

bool rm_is_null(const struct rm_row *row, uint32_t column) {
    const struct pg_row *inner = at(row, column);
    return inner == NULL || pg_row_null(inner, column);
}

bool rm_get_bool(const struct rm_row *row, uint32_t column, bool *out) {
    const struct pg_row *inner = at(row, column);
    return inner != NULL && pg_row_bool(inner, column, out);
}

bool rm_get_int(const struct rm_row *row, uint32_t column, int64_t *out) {
    const struct pg_row *inner = at(row, column);
    return inner != NULL && pg_row_int(inner, column, out);
}

/* As the server prints floats and numerics, "NaN" and "Infinity" included, which strtod(3) knows, too. */
static bool read_double(struct span text, double *out) {
    char digits[NUMBER_TEXT_BYTES];
    char *end;
    if (text.len == 0 || text.len >= sizeof digits) {
        return false;
    }
    memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    double value = strtod(digits, &end);
    if (end != digits + text.len) {
        return false;
    }
    *out = value;
    return true;
}

bool rm_get_double(const struct rm_row *row, uint32_t column, double *out) {
    const struct pg_row *inner = at(row, column);
    int64_t integer;
    struct span text;
    if (inner == NULL) {
        return false;
    }
    if (pg_row_int(inner, column, &integer)) {
        *out = (double)integer;
        return true;
    }
    uint32_t type = type_of(inner, column);
    bool number = type == PG_FLOAT4 || type == PG_FLOAT8 || type == PG_NUMERIC;
    return number && pg_row_text(inner, column, &text) && read_double(text, out);
}

bool rm_get_text(const struct rm_row *row, uint32_t column, struct span *out) {
    const struct pg_row *inner = at(row, column);
    return inner != NULL && pg_row_text(inner, column, out);
}

bool rm_get_json(const struct rm_row *row, uint32_t column, struct span *out) {
    const struct pg_row *inner = at(row, column);
    return inner != NULL && pg_row_json(inner, column, out);
}

bool rm_get_bytes(const struct rm_row *row, uint32_t column, struct span *out) {
    const struct pg_row *inner = at(row, column);
    return inner != NULL && pg_row_bytes(inner, column, out);
}

bool rm_get_uuid(const struct rm_row *row, uint32_t column, uint8_t out[16]) {
    const struct pg_row *inner = at(row, column);
    return inner != NULL && pg_row_uuid(inner, column, out);
}

bool rm_get_date(const struct rm_row *row, uint32_t column, int32_t *days) {
    const struct pg_row *inner = at(row, column);
    return inner != NULL && pg_row_date(inner, column, days);
}

bool rm_get_timestamp(const struct rm_row *row, uint32_t column, int64_t *us) {
    const struct pg_row *inner = at(row, column);
    return inner != NULL && pg_row_timestamp(inner, column, us);
}
