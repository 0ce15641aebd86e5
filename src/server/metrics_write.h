/* Lines of the Prometheus text format 0.0.4, for those that write figures: metrics.c, db_metrics.c.
 * Depends on: exchange.h, observe.h. The worker's thread. */
#ifndef RM_SERVER_METRICS_WRITE_H
#define RM_SERVER_METRICS_WRITE_H

#include "server/exchange.h"
#include "server/observe.h"

/* Appends to the body of the response. */
[[gnu::format(printf, 2, 3)]] void metrics_line(struct rm_exchange *x, const char *format, ...);

/* HELP and TYPE. */
void metrics_family(struct rm_exchange *x, const char *name, const char *type, const char *help);

void metrics_value(struct rm_exchange *x, const char *name, uint64_t value);

/* With one label; its value may hold anything. */
void metrics_labelled(struct rm_exchange *x, const char *name, const char *label, const char *text, uint64_t value);

/* Nanoseconds as seconds; `labels` with their braces, or "". */
void metrics_seconds(struct rm_exchange *x, const char *name, const char *labels, uint64_t ns);

/* The value of a label as the format wants it: backslash, quote and line end are escaped. Cut to `room`; returns `out`. */
const char *metrics_escape(const char *text, size_t len, char *out, size_t room);

/* A histogram of durations. `labels` without their braces. */
void metrics_row(struct rm_exchange *x, const char *name, const char *labels, const struct observe_row *row);

/* A counter without labels: a 64-bit word at `offset`. Tables end with a NULL name. */
struct metric {
    const char *name;
    const char *help;
    size_t offset;
};
void metrics_table(struct rm_exchange *x, const struct metric *table, const void *counters);

#endif
