/* Strings of JSON: RFC 8259 §7. Text is taken as UTF-8, unchecked: bytes from 0x80 on stay as they are.
 * Depends on: mem/span.h. Any thread. */
#ifndef RM_MEM_ESCAPE_H
#define RM_MEM_ESCAPE_H

#include "mem/span.h"

enum { ESCAPE_BYTES_MAX = 6 }; /* that one byte becomes: \u0000 */

/* True for the bytes that a string may hold as they are: all but '"', '\' and 0x00-0x1f. */
static inline bool escape_is_clean(char byte) {
    return (uint8_t)byte >= 0x20 && byte != '"' && byte != '\\';
}

/* Writes the escape of a byte that is not clean (ESCAPE_BYTES_MAX of room). Returns what is behind it. */
char *escape_put(char *out, char byte);

/* Writes the text with its escapes, without quotes: room for text.len * ESCAPE_BYTES_MAX. Returns what is behind it. */
char *escape_put_text(char *out, struct span text);

#endif
