#include "pg/pg_plan.h"

#include "mem/assert.h"
#include "pg/pg_json.h"
#include "pg/pg_wire.h"

_Static_assert(sizeof(struct pg_column) <= 40, "PG_COLUMNS_MAX of them, and their names, fit into PG_PLAN_BYTES");

static bool comes_binary(uint32_t oid) {
    switch (oid) {
    case PG_BOOL: case PG_INT2: case PG_INT4: case PG_INT8: case PG_OID: case PG_TEXT: case PG_VARCHAR: case PG_BPCHAR:
    case PG_NAME: case PG_JSON: case PG_JSONB: case PG_BYTEA: case PG_UUID: case PG_DATE: case PG_TIMESTAMP:
    case PG_TIMESTAMPTZ:
        return true;
    default:
        return false;
    }
}

void pg_plan_init(struct pg_plan *plan, bool nested, char *memory) {
    *plan = (struct pg_plan){ .nested = nested, .memory = memory };
}

/* What is left of the plan's memory. */
struct room {
    char *at, *end;
};

static char *take(struct room *room, size_t bytes) {
    if (bytes > (size_t)(room->end - room->at)) {
        return NULL;
    }
    char *taken = room->at;
    room->at += bytes;
    return taken;
}

/* Columns with names that borrow the description. */
static bool read_columns(struct pg_plan *plan, struct span description, struct room *room, bool *malformed) {
    size_t cursor = 0;
    uint32_t columns = 0, read = 0;
    struct pg_column_text text;
    *malformed = true;
    plan->columns = (struct pg_column *)(void *)room->at;
    while (pg_read_column(description, &cursor, &columns, &text)) {
        if (read == PG_COLUMNS_MAX) {
            return false;
        }
        struct pg_column *column = (struct pg_column *)(void *)take(room, sizeof *column);
        if (column == NULL) {
            *malformed = false;
            return false;
        }
        *column = (struct pg_column){
            .oid = text.oid,
            .format = comes_binary(text.oid) ? 1 : 0,
            .name_len = (uint32_t)text.name.len,
            .name = text.name.data,
        };
        read++;
    }
    plan->column_count = read;
    *malformed = cursor != description.len || read != columns;
    return !*malformed;
}

/* One code for all columns when they are alike: shorter, and less for the server to read. */
static bool put_formats(struct pg_plan *plan, struct room *room) {
    uint32_t count = plan->column_count;
    bool alike = true;
    for (uint32_t i = 1; i < count; i++) {
        alike &= plan->columns[i].format == plan->columns[0].format;
    }
    count = alike && count > 0 ? 1 : count;
    char *at = take(room, 2 + 2 * (size_t)count);
    if (at == NULL) {
        return false;
    }
    plan->formats = span_of(at, 2 + 2 * (size_t)count);
    at = pg_put_u16(at, (uint16_t)count);
    for (uint32_t i = 0; i < count; i++) {
        at = pg_put_u16(at, plan->columns[i].format);
    }
    return true;
}

/* Names move into the plan's memory. Most are there already, as they are in front of a JSON value: `"name":`. */
static bool keep_names(struct pg_plan *plan, struct room *room) {
    for (uint32_t i = 0; i < plan->column_count; i++) {
        struct pg_column *column = &plan->columns[i];
        const char *there = column->before + column->before_len - 2 - column->name_len;
        if (there < column->before || memcmp(there, column->name, column->name_len) != 0) {
            char *copy = take(room, column->name_len);
            if (copy == NULL) {
                return false;
            }
            memcpy(copy, column->name, column->name_len);
            there = copy;
        }
        column->name = there;
    }
    return true;
}

static bool make(struct pg_plan *plan, struct span description, bool *malformed) {
    struct room room = { plan->memory, plan->memory + PG_PLAN_BYTES };
    plan->known = false;
    plan->version++;
    plan->column_count = 0;
    plan->columns = NULL;
    plan->formats = span_of(NULL, 0);
    *malformed = false;
    if (description.data == NULL) {
        plan->known = put_formats(plan, &room);
        return plan->known;
    }
    if (description.len == 0) {
        *malformed = true;
        return false;
    }
    if (!read_columns(plan, description, &room, malformed) || !put_formats(plan, &room)) {
        plan->column_count = 0;
        return false;
    }
    size_t used = 0;
    plan->known = pg_json_compile(plan, room.at, (size_t)(room.end - room.at), &used);
    room.at += used;
    plan->known = plan->known && keep_names(plan, &room);
    plan->column_count = plan->known ? plan->column_count : 0;
    return plan->known;
}

bool pg_plan_make(struct pg_plan *plan, struct span description, bool *malformed) {
    char before[2 + 2 * PG_COLUMNS_MAX];
    size_t len = plan->formats.len;
    rm_assert(plan->memory != NULL);
    rm_assert((uintptr_t)plan->memory % _Alignof(struct pg_column) == 0);
    rm_assert(len <= sizeof before);
    if (len > 0) {
        memcpy(before, plan->formats.data, len);
    }
    bool made = make(plan, description, malformed);
    if (!made || !span_equal(plan->formats, span_of(before, len))) {
        plan->formats_since = plan->version;
    }
    return made;
}
