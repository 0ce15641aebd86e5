/* pg_client: what the queries of one thread cost, for our client and for libpq. Between the parts of the program. */
#ifndef RM_BENCH_PG_CLIENT_H
#define RM_BENCH_PG_CLIENT_H

#include "pg/pg_settings.h"
#include "ring/ring.h"

enum { PG_CLIENT_CONNECTIONS_MAX = 16, PG_CLIENT_DEPTH_MAX = 256 };

enum pg_client_arm {
    ARM_OURS,        /* a Sync for each query */
    ARM_OURS_SHARED, /* queries of a turn share one */
    ARM_LIBPQ,       /* one query at a time */
    ARM_LIBPQ_EACH,  /* pipeline mode, a Sync for each query */
    ARM_LIBPQ_BATCH, /* pipeline mode, batches of `depth` queries with one Sync */
    ARMS_COUNT
};

struct pg_client_options {
    const char *url;
    struct pg_settings settings; /* the same */
    enum pg_client_arm arm;
    enum ring_choice io;
    struct ring_tuning tuning;
    uint32_t connections;
    uint32_t depth;       /* queries in flight per connection */
    uint64_t warm, queries; /* not measured, measured */
    uint32_t rows;        /* of items: ids are 1 .. rows */
    uint32_t fail;        /* of 1000 queries so many fail */
    int cpu, backend_cpu; /* -1: not pinned */
};

/* One thread's run. */
struct pg_client_run {
    const struct pg_client_options *options;
    uint64_t random;
    uint64_t asked, answered; /* queries that have an outcome count once, however often they were sent */
    uint64_t wrong;           /* answers that are not what was asked for */
    uint64_t failed;          /* that were to fail, and did */
    uint64_t again;           /* sent again because another one failed */
    uint64_t bytes;           /* of all fields, so that each is looked at */
    uint32_t backends[PG_CLIENT_CONNECTIONS_MAX];
    uint64_t (*calls)(void *arg); /* system calls so far */
    void *calls_arg;
    bool over;

    /* the measured part */
    uint64_t begin_ns, end_ns;
    uint64_t user_us, system_us;
    uint64_t backend_ns;
    uint64_t calls_made, again_made;
};

/* The id that the next query asks for, and whether it is one that fails. */
uint32_t pg_client_next_id(struct pg_client_run *run, bool *fails);

/* After each outcome: begins to measure after `warm` of them, ends after `queries` more. False: no more is to be asked. */
bool pg_client_answered(struct pg_client_run *run);

/* All backends are known: pins them. */
void pg_client_pin_backends(struct pg_client_run *run);

/* Both return 0, or an exit code after saying why. */
int pg_client_ours(struct pg_client_run *run);
int pg_client_libpq(struct pg_client_run *run);

#define PG_CLIENT_SELECT \
    "SELECT id, name, category, price, quantity, active, tags, rating_score, rating_count FROM items WHERE id = $1"
#define PG_CLIENT_FAIL "SELECT 1 / ($1::int4 - $1::int4)"

enum { PG_CLIENT_COLUMNS = 9, PG_CLIENT_INT4 = 23 };

#endif
