#include "pg/pg_json.h"

#include "mem/assert.h"
#include "mem/copy.h"
#include "mem/escape.h"
#include "pg/pg_json_priv.h"

static uint8_t writer_of(uint32_t oid) {
    switch (oid) {
    case PG_BOOL: return WRITE_BOOL;
    case PG_INT2: return WRITE_INT2;
    case PG_INT4: return WRITE_INT4;
    case PG_INT8: return WRITE_INT8;
    case PG_OID: return WRITE_OID;
    case PG_FLOAT4: case PG_FLOAT8: case PG_NUMERIC: return WRITE_NUMBER;
    case PG_JSON: return WRITE_JSON;
    case PG_JSONB: return WRITE_JSONB;
    case PG_BYTEA: return WRITE_BYTEA;
    case PG_UUID: return WRITE_UUID;
    case PG_DATE: return WRITE_DATE;
    case PG_TIMESTAMP: return WRITE_TIMESTAMP;
    case PG_TIMESTAMPTZ: return WRITE_TIMESTAMPTZ;
    default: return WRITE_STRING;
    }
}

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
        column->writer = writer_of(column->oid);
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

/* ---------------------------------------------------------------------------------------------------------- rows ---- */

static bool is_no_number(struct span text) {
    return span_equal(text, SPAN("NaN")) || span_equal(text, SPAN("Infinity")) || span_equal(text, SPAN("-Infinity"));
}

enum how {
    HOW_VALUE,    /* by put_value */
    HOW_VERBATIM, /* as it is */
    HOW_QUOTED,   /* as it is, between quotes */
    HOW_ESCAPED,  /* likewise, with escapes */
    HOW_HEX,
};

/* How a field is written. *field becomes what is to be written; *bad: it is none of its type. */
static enum how how_to_write(const struct pg_column *column, bool null, struct span *field, bool *bad) {
    if (null) {
        *field = SPAN("null");
        return HOW_VERBATIM;
    }
    switch ((enum pg_writer)column->writer) {
    case WRITE_NUMBER:
        if (is_no_number(*field)) {
            *field = SPAN("null");
        } else {
            *bad = !pg_json_is_number(*field);
        }
        return HOW_VERBATIM;
    case WRITE_JSONB:
        *bad = field->len == 0 || field->data[0] != 1; /* the version of its form */
        *field = span_from(*field, 1);
        return HOW_VERBATIM;
    case WRITE_JSON: return HOW_VERBATIM;
    case WRITE_STRING: return escape_is_clean_text(*field) ? HOW_QUOTED : HOW_ESCAPED;
    case WRITE_BYTEA: return HOW_HEX;
    case WRITE_BOOL: case WRITE_INT2: case WRITE_INT4: case WRITE_INT8: case WRITE_OID: case WRITE_UUID: case WRITE_DATE:
    case WRITE_TIMESTAMP: case WRITE_TIMESTAMPTZ: break;
    }
    return HOW_VALUE;
}

/* Bytes are written from p on into the chain's last block, and become part of it when the block is left. */
struct pen {
    struct chain *chain;
    char *start, *p, *end; /* start <= p <= end */
};

static void pen_up(struct pen *pen) {
    chain_commit(pen->chain, (uint32_t)(pen->p - pen->start));
    pen->start = pen->p;
}

/* At least `n` more bytes of room, n <= BLOCK_ROOM. False: no block is free; what was written before is in the chain. */
static bool pen_down(struct pen *pen, uint32_t n) {
    char *at = chain_reserve(pen->chain, n);
    if (at == NULL) {
        return false;
    }
    pen->start = pen->p = at;
    pen->end = pen->chain->tail->room + BLOCK_ROOM;
    return true;
}

/* Room behind the pen. */
static inline size_t pen_room(const struct pen *pen) {
    return (size_t)(pen->end - pen->p);
}

static inline bool pen_need(struct pen *pen, uint32_t n) {
    if (pen_room(pen) >= n) {
        return true;
    }
    pen_up(pen);
    return pen_down(pen, n);
}

/* Any length. */
static bool pen_write(struct pen *pen, struct span bytes) {
    while (bytes.len > 0) {
        if (!pen_need(pen, 1)) {
            return false;
        }
        struct span now = span_first(bytes, pen_room(pen));
        memcpy(pen->p, now.data, now.len);
        pen->p += now.len;
        bytes = span_from(bytes, now.len);
    }
    return true;
}

static bool write_escaped(struct pen *pen, struct span text) {
    const char *p = text.data, *end = p + text.len;
    while (p < end) {
        const char *stop = escape_scan(p, end);
        if (!pen_write(pen, span_of(p, (size_t)(stop - p)))) {
            return false;
        }
        if (stop < end) {
            if (!pen_need(pen, ESCAPE_BYTES_MAX)) {
                return false;
            }
            pen->p = escape_put(pen->p, *stop++);
        }
        p = stop;
    }
    return true;
}

static bool write_hex(struct pen *pen, struct span bytes) {
    while (bytes.len > 0) {
        if (!pen_need(pen, 2)) {
            return false;
        }
        struct span now = span_first(bytes, pen_room(pen) / 2);
        pen->p = pg_json_put_hex(pen->p, now.data, now.len);
        bytes = span_from(bytes, now.len);
    }
    return true;
}

/* A field that fits: pen_room is at least bytes_at_most. NULL: it is none of its type. */
static inline char *put_field(char *p, const struct pg_column *column, enum how how, struct span field) {
    p = copy_put(p, column->before, column->before_len);
    switch (how) {
    case HOW_VALUE: return pg_json_put_value(p, (enum pg_writer)column->writer, field);
    case HOW_VERBATIM: return copy_put_span(p, field);
    case HOW_QUOTED: p = copy_put_span(COPY_PUT(p, "\""), field); break;
    case HOW_ESCAPED: p = escape_put_text(COPY_PUT(p, "\""), field); break;
    case HOW_HEX: p = pg_json_put_hex(COPY_PUT(p, "\"\\\\x"), field.data, field.len); break;
    }
    return COPY_PUT(p, "\"");
}

/* The `}`s behind it, too. */
static inline size_t bytes_at_most(const struct pg_column *column, enum how how, struct span field) {
    static const uint8_t times[] = {
        [HOW_VALUE] = 0, [HOW_VERBATIM] = 1, [HOW_QUOTED] = 1, [HOW_ESCAPED] = ESCAPE_BYTES_MAX, [HOW_HEX] = 2,
    };
    return column->before_len + VALUE_BYTES_MAX + field.len * times[how];
}

/* A field that is long: piece by piece, so that every block is filled. */
static enum pg_json_result write_pieces(struct pen *pen, const struct pg_column *column, enum how how, struct span field) {
    struct span around = how == HOW_VALUE || how == HOW_VERBATIM ? SPAN("") : SPAN("\"");
    if (!pen_write(pen, span_of(column->before, column->before_len)) || !pen_write(pen, around)) {
        return PG_JSON_FULL;
    }
    bool done = false;
    switch (how) {
    case HOW_VALUE: {
        if (!pen_need(pen, VALUE_BYTES_MAX)) {
            return PG_JSON_FULL;
        }
        char *p = pg_json_put_value(pen->p, (enum pg_writer)column->writer, field);
        if (p == NULL) {
            return PG_JSON_BAD;
        }
        pen->p = p;
        done = true;
        break;
    }
    case HOW_VERBATIM: case HOW_QUOTED: done = pen_write(pen, field); break;
    case HOW_ESCAPED: done = write_escaped(pen, field); break;
    case HOW_HEX: done = pen_write(pen, SPAN("\\\\x")) && write_hex(pen, field); break;
    }
    return done && pen_write(pen, around) && pen_need(pen, 2) ? PG_JSON_OK : PG_JSON_FULL;
}

enum { PIECES_BYTES = 512 }; /* a field that may be longer is written piece by piece when it does not fit */

static inline enum pg_json_result write_field(struct pen *pen, const struct pg_row *row, uint32_t i) {
    const struct pg_column *column = &row->plan->columns[i];
    struct span field;
    bool bad = false;
    bool null = !pg_row_field(row, i, &field);
    enum how how = how_to_write(column, null, &field, &bad);
    if (bad) {
        return PG_JSON_BAD;
    }
    size_t most = bytes_at_most(column, how, field);
    if (pen_room(pen) < most) {
        if (most > PIECES_BYTES) {
            return write_pieces(pen, column, how, field);
        }
        if (!pen_need(pen, (uint32_t)most)) {
            return PG_JSON_FULL;
        }
    }
    char *p = put_field(pen->p, column, how, field);
    if (p == NULL) {
        return PG_JSON_BAD;
    }
    pen->p = p;
    return PG_JSON_OK;
}

enum pg_json_result pg_json_row(struct chain *out, const struct pg_row *row) {
    const struct pg_plan *plan = row->plan;
    struct pen pen = { .chain = out };
    if (!pen_down(&pen, 2)) {
        return PG_JSON_FULL;
    }
    if (plan->column_count == 0) {
        pen.p = COPY_PUT(pen.p, "{}");
        pen_up(&pen);
        return PG_JSON_OK;
    }
    for (uint32_t i = 0; i < plan->column_count; i++) {
        enum pg_json_result result = write_field(&pen, row, i);
        if (result != PG_JSON_OK) {
            return result;
        }
    }
    for (uint32_t i = plan->columns[plan->column_count - 1].after_len; i > 0; i--) {
        *pen.p++ = '}';
    }
    pen_up(&pen);
    return PG_JSON_OK;
}
