#include "pg/pg_json.h"

#include "mem/assert.h"
#include "mem/escape.h"

/* ------------------------------------------------------------------------------------------------------ compiling ---- */

/* What is in front of a value and goes on behind it. */
struct place {
    struct span group; /* the object that the column is in; empty: none */
    struct span name;
};

static struct place place_of(const struct pg_plan *plan, uint32_t i) {
    const struct pg_column *column = &plan->columns[i];
    struct span name = span_of(column->name, column->name_len);
    const char *dot = plan->nested && name.len > 0 ? memchr(name.data, '.', name.len) : NULL;
    if (dot == NULL || dot == name.data || dot == name.data + name.len - 1) {
        return (struct place){ { NULL, 0 }, name };
    }
    size_t group = (size_t)(dot - name.data);
    return (struct place){ span_of(name.data, group), span_from(name, group + 1) };
}

static char *put_name(char *p, struct span name) {
    *p++ = '"';
    p = escape_put_text(p, name);
    *p++ = '"';
    *p++ = ':';
    return p;
}

enum { AROUND_BYTES = 12 }; /* of names: `},"":{"":` and a little */

bool pg_json_compile(struct pg_plan *plan, char *memory, size_t bytes, size_t *used) {
    char *p = memory, *end = memory + bytes;
    struct span group = { NULL, 0 };
    for (uint32_t i = 0; i < plan->column_count; i++) {
        struct pg_column *column = &plan->columns[i];
        struct place place = place_of(plan, i);
        if ((uint64_t)column->name_len * ESCAPE_BYTES_MAX + AROUND_BYTES > (uint64_t)(end - p)) {
            return false;
        }
        column->before = p;
        bool same = span_equal(place.group, group);
        if (!same && group.len > 0) {
            *p++ = '}';
        }
        *p++ = i == 0 ? '{' : ',';
        if (!same && place.group.len > 0) {
            p = put_name(p, place.group);
            *p++ = '{';
        }
        p = put_name(p, place.name);
        column->before_len = (uint32_t)(p - column->before);
        column->after_len = i + 1 == plan->column_count ? (place.group.len > 0 ? 2 : 1) : 0;
        group = place.group;
    }
    *used = (size_t)(p - memory);
    return true;
}
