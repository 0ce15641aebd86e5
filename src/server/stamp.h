/* Times as log lines have them, always UTC. The C library's own ways would look for time zone files.
 * Depends on nothing. Any thread. */
#ifndef RM_SERVER_STAMP_H
#define RM_SERVER_STAMP_H

#include <stdint.h>

enum {
    STAMP_RFC3339_BYTES = 24, /* "2026-11-21T23:43:46.123Z" */
    STAMP_COMMON_BYTES = 26,  /* "21/Nov/2026:23:43:46 +0000" */
};

/* Each writes so many bytes and a NUL. `seconds` since 1970, years 1970 to 9999; RFC 3339 §5.6; Apache's %t. */
void stamp_rfc3339(int64_t seconds, uint32_t ms, char out[static STAMP_RFC3339_BYTES + 1]);
void stamp_common(int64_t seconds, char out[static STAMP_COMMON_BYTES + 1]);

#endif
