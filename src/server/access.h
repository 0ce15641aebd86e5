/* One line of the access log: bytes in, bytes out. What clients send is escaped, so that no line can be forged:
 * in the text formats a quote, a backslash, a control or a byte that is not ASCII becomes \xHH; in JSON strings are as RFC 8259
 * §7 and §8.1 demand.
 * Depends on: mem. Any thread. */
#ifndef RM_SERVER_ACCESS_H
#define RM_SERVER_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/span.h"

enum access_format { ACCESS_COMMON, ACCESS_COMBINED, ACCESS_JSON, ACCESS_FORMATS_COUNT };

/* "common", "combined", "json". */
const char *access_format_name(enum access_format format);
bool access_format_parse(const char *text, enum access_format *out);

/* One answered request; everything is borrowed. */
struct access_entry {
    struct span stamp;   /* in its format already: stamp.h */
    struct span address; /* the client's; empty: not known */
    struct span method;  /* empty: what came is no request line, and method to query mean nothing */
    struct span target;  /* as sent */
    struct span path, query;
    struct span route;   /* the pattern that matched, or empty */
    struct span referer, agent; /* empty: not sent */
    int status;
    unsigned version_minor; /* HTTP/1.x */
    uint64_t bytes_in, bytes_out; /* of bodies */
    uint64_t duration_us;
    uint32_t worker;
    uint32_t conn_slot, conn_generation; /* together the connection's, in this worker */
};

/* Writes `text` as it stands between the quotes of a JSON string, at most ACCESS_ESCAPED_BYTES_MAX bytes for one. Bytes that
 * are not UTF-8 become U+FFFD. Returns what is behind. */
enum { ACCESS_ESCAPED_BYTES_MAX = 6 };
char *access_escape_json(char *out, struct span text);

/* An upper bound of what access_write writes. */
size_t access_bytes_max(const struct access_entry *entry, enum access_format format);

/* Writes the line with its line end; returns what is behind. */
char *access_write(char *out, const struct access_entry *entry, enum access_format format);

#endif
