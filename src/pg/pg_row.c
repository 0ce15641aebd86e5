#include "pg/pg_row.h"

#include "mem/assert.h"
#include "pg/pg_wire.h"

static const uint32_t NULL_LENGTH = UINT32_MAX;

/* The lengths of `count` fields fill the body from 2 on exactly; at[] gets their places unless it is NULL. */
static bool read_fields(struct span body, uint32_t count, uint32_t *at) {
    size_t place = 2;
    for (uint32_t i = 0; i < count; i++) {
        if (body.len - place < 4) {
            return false;
        }
        uint32_t len = pg_get_u32(body.data + place);
        if (at != NULL) {
            at[i] = (uint32_t)place;
        }
        place += 4;
        if (len == NULL_LENGTH) {
            continue;
        }
        if (len > body.len - place) {
            return false;
        }
        place += len;
    }
    return place == body.len;
}

enum pg_row_result pg_row_read(struct pg_row *row, const struct pg_plan *plan, struct span body, uint32_t *at) {
    if (body.len < 2 || body.len > UINT32_MAX) {
        return PG_ROW_MALFORMED;
    }
    uint32_t count = pg_get_u16(body.data);
    bool same = count == plan->column_count;
    if (!read_fields(body, count, same ? at : NULL)) {
        return PG_ROW_MALFORMED;
    }
    *row = (struct pg_row){ plan, body.data, at };
    return same ? PG_ROW_OK : PG_ROW_OTHER;
}

bool pg_row_field(const struct pg_row *row, uint32_t column, struct span *out) {
    rm_assert(column < row->plan->column_count);
    const char *at = row->body + row->at[column];
    uint32_t len = pg_get_u32(at);
    *out = len == NULL_LENGTH ? (struct span){ NULL, 0 } : span_of(at + 4, len);
    return len != NULL_LENGTH;
}

bool pg_row_null(const struct pg_row *row, uint32_t column) {
    struct span field;
    return !pg_row_field(row, column, &field);
}

static uint32_t type_of(const struct pg_row *row, uint32_t column) {
    return row->plan->columns[column].oid;
}

/* The field, when it is not NULL, is of this type, and has `bytes`. */
static bool fixed_field(const struct pg_row *row, uint32_t column, uint32_t oid, size_t bytes, struct span *out) {
    return pg_row_field(row, column, out) && type_of(row, column) == oid && out->len == bytes;
}

bool pg_row_bool(const struct pg_row *row, uint32_t column, bool *out) {
    struct span field;
    if (!fixed_field(row, column, PG_BOOL, 1, &field) || (uint8_t)field.data[0] > 1) {
        return false;
    }
    *out = field.data[0] != 0;
    return true;
}

bool pg_row_int(const struct pg_row *row, uint32_t column, int64_t *out) {
    struct span field;
    if (fixed_field(row, column, PG_INT4, 4, &field)) {
        *out = (int32_t)pg_get_u32(field.data);
    } else if (fixed_field(row, column, PG_INT8, 8, &field)) {
        *out = (int64_t)pg_get_u64(field.data);
    } else if (fixed_field(row, column, PG_INT2, 2, &field)) {
        *out = (int16_t)pg_get_u16(field.data);
    } else if (fixed_field(row, column, PG_OID, 4, &field)) {
        *out = pg_get_u32(field.data);
    } else {
        return false;
    }
    return true;
}

/* jsonb, version 1: a byte, then the text. */
static bool jsonb_text(struct span *field) {
    if (field->len == 0 || field->data[0] != 1) {
        return false;
    }
    *field = span_from(*field, 1);
    return true;
}

bool pg_row_json(const struct pg_row *row, uint32_t column, struct span *out) {
    struct span field;
    uint32_t oid = type_of(row, column);
    if (!pg_row_field(row, column, &field) || (oid != PG_JSON && oid != PG_JSONB) || (oid == PG_JSONB && !jsonb_text(&field))) {
        return false;
    }
    *out = field;
    return true;
}

static bool is_text(const struct pg_column *column) {
    return column->format == 0 || column->oid == PG_TEXT || column->oid == PG_VARCHAR || column->oid == PG_BPCHAR
           || column->oid == PG_NAME;
}

bool pg_row_text(const struct pg_row *row, uint32_t column, struct span *out) {
    struct span field;
    if (!pg_row_field(row, column, &field)) {
        return false;
    }
    if (!is_text(&row->plan->columns[column])) {
        return pg_row_json(row, column, out);
    }
    *out = field;
    return true;
}

bool pg_row_bytes(const struct pg_row *row, uint32_t column, struct span *out) {
    struct span field;
    if (!pg_row_field(row, column, &field) || type_of(row, column) != PG_BYTEA) {
        return false;
    }
    *out = field;
    return true;
}

bool pg_row_uuid(const struct pg_row *row, uint32_t column, uint8_t out[static 16]) {
    struct span field;
    if (!fixed_field(row, column, PG_UUID, 16, &field)) {
        return false;
    }
    memcpy(out, field.data, 16);
    return true;
}

bool pg_row_date(const struct pg_row *row, uint32_t column, int32_t *out) {
    struct span field;
    if (!fixed_field(row, column, PG_DATE, 4, &field)) {
        return false;
    }
    int32_t days = (int32_t)pg_get_u32(field.data);
    bool infinite = days == INT32_MIN || days == INT32_MAX;
    if (!infinite && !pg_date_is_valid(days)) {
        return false;
    }
    *out = infinite ? days : (int32_t)(days + PG_EPOCH_DAYS);
    return true;
}

bool pg_row_timestamp(const struct pg_row *row, uint32_t column, int64_t *out) {
    struct span field;
    if (!fixed_field(row, column, PG_TIMESTAMP, 8, &field) && !fixed_field(row, column, PG_TIMESTAMPTZ, 8, &field)) {
        return false;
    }
    int64_t us = (int64_t)pg_get_u64(field.data);
    bool infinite = us == INT64_MIN || us == INT64_MAX;
    if (!infinite && (!pg_timestamp_is_valid(us) || us >= INT64_MAX - PG_EPOCH_US)) {
        return false;
    }
    *out = infinite ? us : us + PG_EPOCH_US;
    return true;
}
