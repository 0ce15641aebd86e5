/* The command line of load.
 * Depends on: ring/ring.h. */
#ifndef RM_BENCH_LOAD_OPTIONS_H
#define RM_BENCH_LOAD_OPTIONS_H

#include "ring/ring.h"

enum { LOAD_CONNECTIONS_MAX = 60000, LOAD_DEPTH_MAX = 1024 };

struct load_options {
    struct ring_address address;
    const char *connect; /* its text */
    const char *template_path;
    uint32_t connections;
    uint32_t depth;       /* requests in flight per connection */
    uint32_t reconnect;   /* responses per connection before it is closed and made anew; 0: never */
    uint64_t duration_ns; /* how long requests are sent; 0: until `requests` were */
    uint64_t requests;    /* 0: no limit */
    uint64_t rate;        /* requests per second, all connections together, whatever comes back; 0: closed loop */
    uint64_t seed;        /* 0: in turn; else a random mix */
    enum ring_choice io;
    struct sim_world *world; /* RING_SIM only, which no flag gives */
    struct ring_tuning tuning;
    int cpu;          /* pinned to it; -1: not pinned */
    const char *json; /* file, "-" for stdout, NULL: none */
};

enum load_parsed { LOAD_RUN, LOAD_HELPED, LOAD_WRONG };

/* Says on stderr what is wrong. Keeps argv's strings. */
[[gnu::warn_unused_result]] enum load_parsed load_options_parse(int argc, char **argv, struct load_options *out);

#endif
