/* What a worker keeps of each request that it has answered: a place in the histogram of its route, its status, its bytes, and a
 * line of the access log. Called by http when a response is complete. No system call, no allocation, nothing shared but what
 * others may read.
 *
 * Times are those of turns: a request that is answered in the turn that it came in has taken 0. The clock is not read for
 * each request; what turns take is in the ring's own figures.
 *
 * Depends on: http.h, ring.h, access.h, lines.h, stamp.h, worker.h. One thread: the worker's; counters may be read by any. */
#ifndef RM_SERVER_OBSERVE_H
#define RM_SERVER_OBSERVE_H

#include "http/http.h"
#include "ring/ring.h"
#include "server/access.h"
#include "server/config.h"
#include "server/lines.h"
#include "server/plan.h"
#include "server/stamp.h"

struct worker;
struct rm_exchange;

enum {
    OBSERVE_BUCKETS = 21,                                                 /* of durations; the last: longer than all bounds */
    OBSERVE_ROWS_MAX = 2 * HTTP_ROUTES_MAX + HTTP_METHODS_COUNT + 1,      /* see observe_row */
    OBSERVE_STATUS_MIN = 100,
    OBSERVE_STATUSES = 500,
    OBSERVE_LINES_BYTES = 1024 * 1024, /* lines of a worker that are not written yet */
};

/* The upper bounds of the buckets but the last, in nanoseconds, ascending. */
extern const uint64_t observe_bounds_ns[OBSERVE_BUCKETS - 1];

/* The requests of one route and method. */
struct observe_row {
    uint64_t buckets[OBSERVE_BUCKETS];
    uint64_t sum_ns;
    uint64_t spare[2];
};
_Static_assert(sizeof(struct observe_row) == 192, "three cache lines");

/* Counts one more. */
void observe_add(struct observe_row *row, uint64_t ns);

/* The row of a request: two for each route (HEAD has the second), behind them one for each method without a route. */
static inline uint32_t observe_row(const struct http_exchange *x) {
    bool head = x->request.method == HTTP_HEAD;
    return x->route != NULL ? 2 * x->route->index + head : (uint32_t)(2 * HTTP_ROUTES_MAX + x->request.method);
}

/* A client's address as text, by slot of the ring; right when the generation is. */
struct observe_client {
    uint32_t generation;
    uint32_t len;
    char text[56];
};
_Static_assert(sizeof(struct observe_client) == 64, "one cache line");

/* Memory is the plan's. */
struct observer {
    struct observe_row *rows;       /* OBSERVE_ROWS_MAX */
    uint64_t *statuses;             /* OBSERVE_STATUSES: responses, by status */
    struct lines *lines;            /* &ring, or NULL: there is no access log */
    struct observe_client *clients; /* by slot; with lines only */
    enum access_format format;
    struct lines ring;
    int64_t stamp_seconds; /* of `stamp` */
    char stamp[STAMP_COMMON_BYTES + 1 > STAMP_RFC3339_BYTES + 1 ? STAMP_COMMON_BYTES + 1 : STAMP_RFC3339_BYTES + 1];
};

/* `arrays` are those of plan_carve. */
void observe_init(struct observer *observer, const struct config *config, void *const arrays[static PLAN_ARRAYS_COUNT]);

/* http_shared.done of a worker. */
void observe_done(struct http_exchange *x);

/* An exchange that parks may outlive its connection: keeps who asked in its workspace. */
void observe_park(struct worker *worker, struct rm_exchange *x);

/* The end of a turn, before its answers leave: the lines may be written now. */
void observe_turn(struct worker *worker);

#endif
