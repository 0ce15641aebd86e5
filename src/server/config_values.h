/* Values of the command line: durations, sizes, numbers, and the nearest name for a misspelt one.
 * Depends on libc. Any thread. */
#ifndef RM_SERVER_CONFIG_VALUES_H
#define RM_SERVER_CONFIG_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "250us", "5ms", "10s", "2m"; a unit is required but for "0". False: malformed or beyond 64 bits of nanoseconds. */
bool config_duration(const char *text, uint64_t *ns);

/* "4096", "64K", "1M", "2G" (powers of 1024). */
bool config_size(const char *text, uint64_t *bytes);

/* Digits only. */
bool config_number(const char *text, uint64_t *out);

/* Insertions, deletions and substitutions from one word to the other; words longer than 64 bytes are far from all. */
unsigned config_distance(const char *a, const char *b);

#endif
