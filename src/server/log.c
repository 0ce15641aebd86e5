#include "server/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem/assert.h"

static const char *const names[LOG_LEVELS_COUNT] = { "error", "warn", "info", "debug" };
static enum log_level threshold = LOG_INFO;

const char *log_level_name(enum log_level level) {
    rm_assert(level < LOG_LEVELS_COUNT);
    return names[level];
}

bool log_level_parse(const char *text, enum log_level *out) {
    for (unsigned i = 0; i < LOG_LEVELS_COUNT; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_level(enum log_level level) {
    rm_assert(level < LOG_LEVELS_COUNT);
    threshold = level;
}

bool log_enabled(enum log_level level) {
    return level <= threshold;
}

static size_t clamp(int printed, size_t room) {
    if (printed < 0) {
        return 0;
    }
    return (size_t)printed < room ? (size_t)printed : room - 1;
}

void log_line(enum log_level level, const char *format, ...) {
    if (!log_enabled(level)) {
        return;
    }
    char line[LOG_LINE_BYTES];
    size_t room = sizeof line - 1; /* one byte stays for the line end */
    size_t len = level == LOG_INFO ? clamp(snprintf(line, room, "ringmain: "), room)
                                   : clamp(snprintf(line, room, "ringmain: %s: ", names[level]), room);
    va_list args;
    va_start(args, format);
    len += clamp(vsnprintf(line + len, room - len, format, args), room - len);
    va_end(args);
    line[len++] = '\n';
    (void)!write(STDERR_FILENO, line, len); /* nobody is left to tell when this fails */
}
