/* include/ringmain.h: rows and their fields. struct rm_row is src/pg's struct pg_row by another name. */
#include <stdlib.h>
#include <string.h>

#include "server/db_query.h"
#include "server/exchange.h"

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

/* -------------------------------------------------------------------------------------------------------- kept ---- */

bool rm_next_row(struct rm_query *query, const struct rm_row **row) {
    if (query == NULL || query->kind != RM_KEEP || query->state != QUERY_OVER || query->at == NULL ||
        query_status(query) != RM_DB_OK) {
        return false;
    }
    const struct query_row *kept = (const struct query_row *)(const void *)(query->at->data + query->at_bytes);
    query->at_bytes += (uint32_t)kept->bytes;
    if (query->at_bytes == query->at->len) {
        query->at = query->at->next;
        query->at_bytes = 0;
    }
    *row = (const struct rm_row *)(const void *)&kept->row;
    return true;
}

/* ----------------------------------------------------------------------------------------------------- as JSON ---- */

/* They are there, and for the first time. */
static bool may_move(struct rm_exchange *x, struct rm_query *query) {
    if (query == NULL) {
        return false;
    }
    bool fine = query->kind == RM_AS_JSON && query->state == QUERY_OVER && query_status(query) == RM_DB_OK && !query->moved;
    if (!fine) {
        exchange_mistake(x, "wrote rows as JSON that are none, or twice");
    }
    query->moved = true;
    return fine;
}

void rm_json_rows(struct rm_exchange *x, const char *key, struct rm_query *query) {
    if (!may_move(x, query)) {
        return;
    }
    if (query->rows.bytes == 0) {
        json_raw(&x->json, key, SPAN("[]"));
        return;
    }
    json_raw(&x->json, key, SPAN("["));
    http_response_splice(&x->http, &query->rows);
    http_response_write(&x->http, SPAN("]"));
}

/* By one write, when it is as short as most are. */
void rm_json_row(struct rm_exchange *x, const char *key, struct rm_query *query) {
    if (!may_move(x, query)) {
        return;
    }
    if (query->rows.bytes == 0) {
        json_null(&x->json, key);
        return;
    }
    chain_rollback(&query->rows, query->first);
    const struct block *head = query->rows.head;
    if (head == query->rows.tail) {
        json_raw(&x->json, key, span_of(head->data, head->len));
        return;
    }
    json_raw(&x->json, key, SPAN(""));
    http_response_splice(&x->http, &query->rows);
}
