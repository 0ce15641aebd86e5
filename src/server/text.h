/* Numbers as text, into the caller's buffer; no locale, no allocation.
 * Depends on libc. Any thread. */
#ifndef RM_SERVER_TEXT_H
#define RM_SERVER_TEXT_H

#include <stddef.h>
#include <stdint.h>

enum { TEXT_INT_BYTES = 20, TEXT_DOUBLE_BYTES = 32 };

/* Decimal digits with a '-' when negative, no NUL; returns how many bytes. */
size_t text_u64(uint64_t value, char out[static TEXT_INT_BYTES]);
size_t text_i64(int64_t value, char out[static TEXT_INT_BYTES]);

/* The shortest of at most 17 significant digits that reads back the same; "null" for what JSON cannot say (RFC 8259 §6). */
size_t text_double(double value, char out[static TEXT_DOUBLE_BYTES]);

#endif
