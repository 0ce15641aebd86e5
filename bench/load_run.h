/* The load itself: connections, what is in flight, and what came of it. One thread, one ring; allocates in load_run_init
 * only.
 * Depends on: ring/ring.h, load_*.h. */
#ifndef RM_BENCH_LOAD_RUN_H
#define RM_BENCH_LOAD_RUN_H

#include "load_histogram.h"
#include "load_options.h"
#include "load_template.h"

/* What can go wrong with a response or a connection. The first kinds are verdicts on responses. */
enum load_error {
    LOAD_ERROR_STATUS,
    LOAD_ERROR_LENGTH,
    LOAD_ERROR_BODY,
    LOAD_ERROR_MALFORMED,
    LOAD_ERROR_UNASKED,    /* bytes with no request in flight */
    LOAD_ERROR_CLOSED,     /* the server ended a connection with requests in flight: one per connection */
    LOAD_ERROR_RESET,      /* ... or the kernel did: likewise */
    LOAD_ERROR_CONNECT,    /* one per try */
    LOAD_ERROR_UNANSWERED, /* requests without a response, for any of these reasons or at the end of the wait */
    LOAD_ERRORS_COUNT
};

const char *load_error_name(enum load_error error);

enum { LOAD_SAMPLE_BYTES = 600, LOAD_STATUS_MAX = 600 };

struct load_result {
    uint64_t requests;  /* sent */
    uint64_t responses; /* whole ones, right or wrong */
    uint64_t statuses[LOAD_STATUS_MAX];
    uint64_t errors[LOAD_ERRORS_COUNT];
    uint64_t connects; /* that succeeded */
    uint64_t closed_idle; /* the server ended a connection with nothing in flight: no error */
    uint64_t sent_bytes, received_bytes;
    uint64_t begin_ns, end_ns; /* first connect to last response */
    uint64_t responses_min, responses_max; /* per connection slot, over all its reconnects */
    double user_us, system_us; /* CPU of this process between the two */
    char sample[LOAD_SAMPLE_BYTES]; /* the first error, in words; "" when there was none */
    struct histogram latency;
    struct ring_counters counters; /* of the ring, opening it apart */
    struct ring_report report;
};

/* Sum of the errors. */
uint64_t load_result_errors(const struct load_result *result);

/* 0, or an exit code after saying why on stderr. `template` and `tape` are borrowed. */
[[gnu::warn_unused_result]] int load_run(const struct load_options *options, struct load_template *template,
                                         const struct load_tape *tape, struct load_result *out);

#endif
