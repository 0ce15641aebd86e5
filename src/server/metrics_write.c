#include "server/metrics_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem/assert.h"
#include "server/timers.h"

void metrics_line(struct rm_exchange *x, const char *format, ...) {
    char line[1024]; /* a longer one, and there is none, would be cut */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    rm_assert(n > 0);
    rm_write(x, span_of(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1));
}

void metrics_family(struct rm_exchange *x, const char *name, const char *type, const char *help) {
    metrics_line(x, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_value(struct rm_exchange *x, const char *name, uint64_t value) {
    metrics_line(x, "%s %llu\n", name, (unsigned long long)value);
}

const char *metrics_escape(const char *text, size_t len, char *out, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < len && n + 3 < room; i++) {
        if (text[i] == '"' || text[i] == '\\' || text[i] == '\n') {
            out[n++] = '\\';
        }
        out[n++] = text[i] == '\n' ? 'n' : text[i];
    }
    out[n] = '\0';
    return out;
}

void metrics_labelled(struct rm_exchange *x, const char *name, const char *label, const char *text,
                           uint64_t value) {
    char clean[512];
    metrics_escape(text, strlen(text), clean, sizeof clean);
    metrics_line(x, "%s{%s=\"%s\"} %llu\n", name, label, clean, (unsigned long long)value);
}

void metrics_seconds(struct rm_exchange *x, const char *name, const char *labels, uint64_t ns) {
    metrics_line(x, "%s%s %llu.%09llu\n", name, labels, (unsigned long long)(ns / NS_PER_SECOND),
               (unsigned long long)(ns % NS_PER_SECOND));
}

void metrics_table(struct rm_exchange *x, const struct metric *table, const void *counters) {
    for (const struct metric *metric = table; metric->name != NULL; metric++) {
        uint64_t value;
        memcpy(&value, (const char *)counters + metric->offset, sizeof value);
        metrics_family(x, metric->name, "counter", metric->help);
        metrics_value(x, metric->name, value);
    }
}

static const char *const bound_texts[OBSERVE_BUCKETS - 1] = {
    "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
    "0.075",   "0.1",    "0.25",    "0.5",    "0.75",  "1",      "2.5",   "5",    "7.5",   "10",
};

void metrics_row(struct rm_exchange *x, const char *name, const char *labels, const struct observe_row *row) {
    uint64_t count = 0;
    for (unsigned i = 0; i < OBSERVE_BUCKETS; i++) {
        count += row->buckets[i];
        metrics_line(x, "%s_bucket{%s,le=\"%s\"} %llu\n", name, labels, i < OBSERVE_BUCKETS - 1 ? bound_texts[i] : "+Inf",
                     (unsigned long long)count);
    }
    metrics_line(x, "%s_sum{%s} %llu.%09llu\n", name, labels, (unsigned long long)(row->sum_ns / NS_PER_SECOND),
                 (unsigned long long)(row->sum_ns % NS_PER_SECOND));
    metrics_line(x, "%s_count{%s} %llu\n", name, labels, (unsigned long long)count);
}
