/* A pool and a simulated server with the network between them: virtual time, bytes in pieces of any size. The owner's part is
 * done here as the server's worker does it. Tests submit queries, let time pass, and look at what became of them. */
#ifndef RM_TESTS_PG_POOL_RIG_H
#define RM_TESTS_PG_POOL_RIG_H

#include "pg/pg_pool.h"
#include "pg_server.h"

enum { RIG_QUERIES_MAX = 4096, RIG_SESSIONS_MAX = 64, RIG_BLOCKS = 4096, RIG_INTERNALS_AT = 12 };
#define RIG_MS UINT64_C(1000000)

/* The statements of the application, and the server's table, in this order. Each takes an int4, its key, and returns it, but
 * for those that return nothing. */
enum rig_statement {
    RIG_READ,       /* read-only */
    RIG_WRITE,
    RIG_SHARED,     /* read-only, shared Sync */
    RIG_SHARED_BAD, /* likewise; it fails with 22012 */
    RIG_ERROR,      /* fails with 22012 behind a row */
    RIG_SLOW,       /* read-only, 400 ms */
    RIG_SLOW_WRITE, /* 400 ms */
    RIG_UNPARSED,   /* 42601 */
    RIG_MANY,       /* read-only, three rows */
    RIG_DEFERRED,   /* a write, 23503 at its commit */
    RIG_LEAK,       /* BEGIN, without a session */
    RIG_SET,        /* SET: the session is another then */
};

struct rig_query {
    struct pg_query q; /* first */
    int32_t key;
    bool pending, left;
    uint32_t told;     /* rows, of `run` */
    uint8_t run;
    uint32_t executed, committed; /* by the server, with its key */
    char params[20];
};

struct rig_conn {
    bool open, closing, wants; /* wants: rig->hold_connects */
    bool rude;             /* its end comes as a reset: what was not read is lost */
    bool job;              /* is out, */
    uint64_t job_ns;       /* and done then; nothing is closed before */
    struct chain out;
    struct pg_backend *backend;
};

struct rig_cancel {
    uint32_t conn;
    uint64_t at_ns;        /* when it arrives */
    char bytes[PG_CANCEL_BYTES_MAX];
    size_t len;
};

struct rig {
    struct pg_server server;
    struct pg_pool pool;
    struct pg_config config;
    struct pg_settings settings;
    struct pg_statement statements[RIG_INTERNALS_AT + PG_INTERNAL_COUNT];
    struct pg_server_statement table[RIG_INTERNALS_AT + PG_INTERNAL_COUNT];
    char sql[RIG_INTERNALS_AT + PG_INTERNAL_COUNT][64];
    struct pool blocks;
    void *block_memory, *pool_memory, *taken[RIG_BLOCKS];
    uint32_t taken_count;
    struct rig_conn conns[PG_CONNS_MAX];
    struct rig_cancel cancels[PG_CONNS_MAX];
    uint32_t cancel_count;
    struct rig_query queries[RIG_QUERIES_MAX];
    uint32_t query_count;
    struct pg_session sessions[RIG_SESSIONS_MAX];
    uint64_t now_ns;
    struct random random;
    /* what is to be */
    size_t piece;               /* bytes at once; 0: as many as there are */
    bool lazy;                  /* only some pieces each turn, by chance */
    bool unreachable;           /* connects fail */
    bool hold_connects;         /* connects wait */
    bool deaf_cancels;          /* cancels wait */
    uint64_t job_ns;            /* that a job takes */
    bool failed_jobs;
    bool silent_losses;         /* pg_pool_lost is not called behind a CLOSE */
    void *arg;
    void (*on_row)(struct rig *rig, struct rig_query *query);
    void (*on_done)(struct rig *rig, struct rig_query *query);
    /* what was */
    uint32_t ups, downs, connects, closes, notices;
    char down[PG_CONN_WHY_BYTES];
    uint64_t turns;
    char fault[256]; /* what can't be; empty: nothing */
};

/* With the configuration's defaults but connections, inflight and what the caller changes in rig->config before rig_start. */
void rig_init(struct rig *rig, uint32_t connections, uint32_t inflight, uint64_t seed);
void rig_alternate(struct rig *rig); /* results change with their statement's version: int4, int8, int4, numeric, int4 ... */
void rig_start(struct rig *rig);
void rig_release(struct rig *rig); /* checks that nothing is left: blocks, queries, slots; see rig->fault */

[[gnu::format(printf, 2, 3)]] void rig_fault(struct rig *rig, const char *format, ...);

/* A turn at rig->now_ns; all turns, a millisecond apart, until time has passed. */
void rig_turn(struct rig *rig);
void rig_run(struct rig *rig, uint64_t ns);

/* The next query, with a key of its own; not submitted. */
struct rig_query *rig_query(struct rig *rig, enum rig_statement statement, uint64_t timeout_ns);
struct rig_query *rig_submit(struct rig *rig, enum rig_statement statement, uint64_t timeout_ns);
/* PG_COMMIT, PG_ROLLBACK. */
struct rig_query *rig_end(struct rig *rig, struct pg_session *session, enum pg_internal which, uint64_t timeout_ns);
struct rig_query *rig_in(struct rig *rig, struct pg_session *session, enum rig_statement statement, uint64_t timeout_ns);
void rig_send(struct rig *rig, struct rig_query *first); /* submits it, and its group */
void rig_leave(struct rig *rig, struct rig_query *query);

/* Takes all blocks that are free but `left` of them; gives back what was taken before. */
void rig_starve(struct rig *rig, uint32_t left);
void rig_feed(struct rig *rig);

/* The backend of a connection; NULL: none. */
struct pg_backend *rig_backend(struct rig *rig, uint32_t conn);
uint32_t rig_pending(const struct rig *rig);

#endif
