#include "server/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/access.h"
#include "server/stamp.h"

static const char *const names[LOG_LEVELS_COUNT] = { "error", "warn", "info", "debug" };
static const char *const format_names[LOG_FORMATS_COUNT] = { "text", "json" };
static enum log_level threshold = LOG_INFO;
static enum log_format layout = LOG_TEXT;

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

bool log_format_parse(const char *text, enum log_format *out) {
    for (unsigned i = 0; i < LOG_FORMATS_COUNT; i++) {
        if (strcmp(text, format_names[i]) == 0) {
            *out = (enum log_format)i;
            return true;
        }
    }
    return false;
}

void log_set_level(enum log_level level) {
    rm_assert(level < LOG_LEVELS_COUNT);
    threshold = level;
}

void log_set_format(enum log_format format) {
    rm_assert(format < LOG_FORMATS_COUNT);
    layout = format;
}

bool log_enabled(enum log_level level) {
    return level <= threshold;
}

/* ------------------------------------------------------------------------------------------------ repeats ---- */

enum { SITES = 32 };

/* What was written of one format in one second. Sites that fall into one place push each other out. */
struct site {
    const char *format;
    int64_t second;
    uint32_t written, held;
};

static struct site sites[SITES];
static pthread_mutex_t sites_lock = PTHREAD_MUTEX_INITIALIZER;

/* False: hold it back. *held: how many were before it. */
static bool allow(const char *format, int64_t second, uint32_t *held) {
    pthread_mutex_lock(&sites_lock);
    struct site *site = &sites[((uintptr_t)format >> 3) % SITES];
    *held = 0;
    if (site->format != format || site->second != second) {
        *held = site->format == format ? site->held : 0;
        *site = (struct site){ .format = format, .second = second };
    }
    bool fine = site->written < LOG_REPEATS_MAX;
    site->written += fine;
    site->held += !fine;
    pthread_mutex_unlock(&sites_lock);
    return fine;
}

/* --------------------------------------------------------------------------------------------------- line ---- */

enum { LINE_BYTES = 256 + ACCESS_ESCAPED_BYTES_MAX * LOG_MESSAGE_BYTES };

static char *put(char *p, const char *text) {
    size_t len = strlen(text);
    memcpy(p, text, len);
    return p + len;
}

static char *put_clean(char *p, const char *message) {
    for (; *message != '\0'; message++) {
        bool control = (uint8_t)*message < 0x20 || *message == 0x7f;
        *p++ = control ? ' ' : *message;
    }
    return p;
}

static const char *component(char name[static 16]) {
    if (getpid() == gettid() || pthread_getname_np(pthread_self(), name, 16) != 0) {
        return "main";
    }
    return name;
}

static char *put_json(char *p, const char *stamp, enum log_level level, const char *message) {
    char name[16];
    p = put(put(p, "{\"ts\":\""), stamp);
    p = put(put(p, "\",\"level\":\""), names[level]);
    p = access_escape_json(put(p, "\",\"component\":\""), span_text(component(name)));
    p = access_escape_json(put(p, "\",\"msg\":\""), span_text(message));
    return put(p, "\"}");
}

static char *put_text(char *p, const char *stamp, enum log_level level, const char *message) {
    p = put(put(p, stamp), " ");
    p = put(put(p, names[level]), " ");
    return put_clean(p, message);
}

void log_line(enum log_level level, const char *format, ...) {
    struct timespec now;
    uint32_t held;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!log_enabled(level) || !allow(format, now.tv_sec, &held)) {
        return;
    }
    char message[LOG_MESSAGE_BYTES], stamp[STAMP_RFC3339_BYTES + 1], line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (held > 0 && n >= 0 && (size_t)n < sizeof message) {
        snprintf(message + n, sizeof message - (size_t)n, " (and %u such lines before it that were not written)", held);
    }
    stamp_rfc3339(now.tv_sec, (uint32_t)(now.tv_nsec / 1000000), stamp);
    char *end = layout == LOG_JSON ? put_json(line, stamp, level, message) : put_text(line, stamp, level, message);
    *end++ = '\n';
    (void)!write(STDERR_FILENO, line, (size_t)(end - line)); /* nobody is left to tell when this fails */
}
