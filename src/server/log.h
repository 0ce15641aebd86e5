/* Log lines for people: start, drain, trouble; one write(2) to stderr each, no allocation, never on the request path.
 * Depends on libc. Any thread. */
#ifndef RM_SERVER_LOG_H
#define RM_SERVER_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS_COUNT };

enum { LOG_LINE_BYTES = 2048 }; /* what is longer is cut */

/* "error", "warn", "info", "debug". */
const char *log_level_name(enum log_level level);
bool log_level_parse(const char *text, enum log_level *out);

/* Lines below this level are dropped. Set once, before other threads start; LOG_INFO until then. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* "ringmain: LEVEL: " and the text and a line end; LOG_INFO lines go without the level's name. */
[[gnu::format(printf, 2, 3)]] void log_line(enum log_level level, const char *format, ...);

#endif
