/* Between pg_json.c, which writes rows, and pg_json_value.c, which writes values of a bounded length. */
#ifndef RM_PG_JSON_PRIV_H
#define RM_PG_JSON_PRIV_H

#include "mem/number.h"
#include "mem/span.h"

/* How the values of a column are written: pg_column.writer. */
enum pg_writer {
    WRITE_STRING, /* of whatever comes as text */
    WRITE_NUMBER, /* that comes as text */
    WRITE_JSON,
    WRITE_JSONB,
    WRITE_BYTEA,
    WRITE_BOOL,
    WRITE_INT2,
    WRITE_INT4,
    WRITE_INT8,
    WRITE_OID,
    WRITE_UUID,
    WRITE_DATE,
    WRITE_TIMESTAMP,
    WRITE_TIMESTAMPTZ,
};

/* Bytes of a value that pg_json_put_value writes, with the `}`s behind the last one. */
enum { VALUE_BYTES_MAX = 48 };
_Static_assert(NUMBER_BYTES_MAX + 2 <= VALUE_BYTES_MAX, "the longest integer and two braces");

/* Writes a value of one of the types of a bounded length: WRITE_BOOL and what follows it in the enum up to
 * WRITE_TIMESTAMPTZ. Returns what is behind it; NULL: it is none of its type. */
char *pg_json_put_value(char *p, enum pg_writer writer, struct span field);

/* Two digits for each byte. */
char *pg_json_put_hex(char *p, const char *data, size_t len);

/* RFC 8259 §6. */
bool pg_json_is_number(struct span text);

#endif
