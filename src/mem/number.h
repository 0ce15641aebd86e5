/* Numbers as text, without a terminating NUL.
 * Depends on libc: snprintf and strtod for the doubles that are no short decimal (LC_NUMERIC must be "C"). Any thread. */
#ifndef RM_MEM_NUMBER_H
#define RM_MEM_NUMBER_H

#include <stdint.h>

enum { NUMBER_BYTES_MAX = 40 }; /* of any number here; that many writable bytes are needed, whatever is used of them */

/* Decimal digits. Returns what is behind the last one. */
char *number_put_u64(char *out, uint64_t value);
char *number_put_i64(char *out, int64_t value);

/* The shortest decimal that reads back as the same double, in a form that RFC 8259 §6 allows; "null" for what JSON has no
 * number for (infinities, not-a-number). */
char *number_put_double(char *out, double value);

#endif
