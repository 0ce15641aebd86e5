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

/* The same within bounds; false: `why`, of CONFIG_WHY_BYTES, says what it must be. Durations: 1us to one day. */
bool config_number_in(const char *text, uint64_t min, uint64_t max, uint32_t *out, char *why);
bool config_size_in(const char *text, uint64_t min, uint64_t max, uint64_t *out, char *why);
bool config_size32_in(const char *text, uint64_t min, uint64_t max, uint32_t *out, char *why);
bool config_duration_in(const char *text, uint64_t *out, char *why);

/* Insertions, deletions and substitutions from one word to the other; words longer than 64 bytes are far from all. */
unsigned config_distance(const char *a, const char *b);

#endif
