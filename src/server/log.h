/* Log lines for people and their tools: start, drain, trouble; one write(2) to stderr each, no allocation, never on the request
 * path. Lines that repeat are held back: of one format and level LOG_REPEATS_MAX a second are written, and the first one
 * after that says how many were not.
 *
 *     text:  2026-11-21T23:43:46.123Z info message
 *     json:  {"ts":"2026-11-21T23:43:46.123Z","level":"info","component":"main","msg":"message"}
 *
 * Depends on: stamp.h, libc. Any thread. */
#ifndef RM_SERVER_LOG_H
#define RM_SERVER_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS_COUNT };
enum log_format { LOG_TEXT, LOG_JSON, LOG_FORMATS_COUNT };

enum {
    LOG_MESSAGE_BYTES = 1600, /* what is longer is cut */
    LOG_REPEATS_MAX = 10,
};

/* "error", "warn", "info", "debug". */
const char *log_level_name(enum log_level level);
bool log_level_parse(const char *text, enum log_level *out);

/* "text", "json". */
bool log_format_parse(const char *text, enum log_format *out);

/* Lines below this level are dropped. Set once, before other threads start; LOG_INFO and LOG_TEXT until then. */
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
bool log_enabled(enum log_level level);

/* Writes a line. `format` names what repeats: it must be a literal. Control characters of the message become blanks in text
 * and escapes in JSON. The component is the name of the thread: "main", "rm-0" ... */
[[gnu::format(printf, 2, 3)]] void log_line(enum log_level level, const char *format, ...);

#endif
