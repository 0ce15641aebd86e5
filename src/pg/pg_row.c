#include "pg/pg_row.h"

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
