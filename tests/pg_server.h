/* A Postgres server without a socket: bytes in, bytes out, virtual time. It reads what a client sends strictly, says in
 * `fault` what was not well-formed, and answers as PostgreSQL does: implicit transactions between two Syncs, skipping after
 * an error, output that leaves at Sync, Flush, an error, or when 8 KiB are full. What statements do is a table of the
 * test's. Faults come by a seed or by hand.
 *
 * One pg_server is what the connections share; one pg_backend is a connection. One thread. */
#ifndef RM_TESTS_PG_SERVER_H
#define RM_TESTS_PG_SERVER_H

#include <stdbool.h>

#include "mem/span.h"
#include "random.h"

enum {
    PG_BACKENDS_MAX = 256,
    PG_BACKEND_STATEMENTS_MAX = 128,
    PG_BACKEND_VALUES_MAX = 32,
    PG_BACKEND_EFFECTS_MAX = 256,
    PG_SERVER_FAULT_BYTES = 256,
};

struct pg_backend;
struct pg_server_statement;

/* A parameter. */
struct pg_server_value {
    bool null;
    uint16_t format;
    struct span bytes;
    int64_t integer; /* of binary integers and of text that is one; else 0 */
};

/* Writes rows with pg_backend_row.. and the like; returns the number behind the tag. */
typedef uint64_t pg_server_answer_fn(struct pg_backend *backend, const struct pg_server_statement *statement,
                                     const struct pg_server_value *values, uint32_t count);

enum pg_server_do {
    PG_DO_ROWS,     /* `rows` rows: column i is parameter i + 1, or, when there is none, the number of the row */
    PG_DO_ANSWER,   /* `answer` */
    PG_DO_ERROR,    /* `rows` rows as above, then an error with `sqlstate` */
    PG_DO_DEFERRED, /* CommandComplete; `sqlstate` when its transaction commits */
    PG_DO_BEGIN,
    PG_DO_COMMIT,
    PG_DO_ROLLBACK,
    PG_DO_EMPTY,    /* EmptyQueryResponse */
    PG_DO_COPY_IN,
    PG_DO_COPY_OUT,
    PG_DO_SUSPEND,  /* PortalSuspended, which nobody asked for */
    PG_DO_FATAL,    /* a row, then FATAL `sqlstate` and the end */
};

struct pg_server_column {
    const char *name;
    uint32_t oid;
};

/* Columns of a result. */
struct pg_server_shape {
    const struct pg_server_column *columns;
    uint32_t count;
};

/* One SQL text. Unused members are 0. */
struct pg_server_statement {
    const char *sql;                        /* exactly */
    enum pg_server_do what;
    const struct pg_server_column *columns; /* of the result; none: NoData */
    uint32_t column_count;
    const uint32_t *types;                  /* of the parameters */
    uint32_t type_count;
    uint32_t rows;
    const char *sqlstate, *routine, *constraint;
    const char *tag;                        /* "SELECT", "INSERT 0", "UPDATE", "SET" ...; NULL: SELECT */
    bool counted;                           /* the tag has a number behind it: the rows, or 1 when there are no columns */
    bool write;                             /* an effect: executed, committed */
    uint64_t sleep_ns;                      /* before the first row */
    pg_server_answer_fn *answer;
    const char *parse_sqlstate;             /* Parse fails with it */
    uint32_t version;                       /* the test counts it up: those who have it prepared get 0A000, */
    const struct pg_server_shape *shapes;   /* unless the columns are those that they know: version % shape_count, instead of
                                               `columns`, which count in the other cases */
    uint32_t shape_count;
};

/* Chances: 1 in so many; 0: never. */
struct pg_server_chances {
    uint32_t noise;    /* before a message: a notice, a parameter or a notification */
    uint32_t discard;  /* before a Parse or Bind: all prepared statements are forgotten (26000 follows) */
    uint32_t alter;    /* before a Bind of a name: the statement's version counts up (0A000 follows); before a Parse, too,
                          when it has shapes */
    uint32_t exists;   /* before a Parse with a name: somebody has prepared it already (42P05 follows) */
    uint32_t error;    /* an Execute fails with XX001 */
    uint32_t die;      /* a connection ends at some byte of its output, below die_bytes */
    uint32_t die_bytes;
    uint32_t fatal;    /* before an Execute: FATAL 57P01 */
    uint32_t stall;    /* before an Execute: nothing is answered any more */
    uint32_t refuse;   /* a startup is refused with 57P03 */
};

struct pg_server {
    struct pg_server_statement *statements;
    uint32_t statement_count;
    struct pg_server_chances chances;
    struct random random;
    uint64_t now_ns;
    uint64_t service_ns_max;      /* each Execute takes some time below it */
    uint32_t connections_max;     /* FATAL 53300 above; 0: PG_BACKENDS_MAX */
    const char *refuse_sqlstate;  /* every startup is refused with it; NULL: none */
    const char *password;         /* cleartext is asked for; NULL: trust */
    bool md5;                     /* ... as md5: `password` is what the client answers then */
    bool no_key;                  /* no BackendKeyData */
    bool no_run_on;               /* when a client goes, what it has sent is not run any more */
    void *arg;                    /* of the hooks, which may be NULL: a statement was executed; its transaction committed */
    void (*executed)(void *arg, const struct pg_server_statement *statement, int64_t key);
    void (*committed)(void *arg, const struct pg_server_statement *statement, int64_t key);
    struct pg_backend *backends[PG_BACKENDS_MAX];
    uint32_t next_pid;
    /* counters */
    uint64_t started, refused, parses, describes, binds, executes, syncs, cancels, cancelled, terminated;
    char fault[PG_SERVER_FAULT_BYTES]; /* the first thing that a client did wrong; empty: none */
};

void pg_server_init(struct pg_server *server, struct pg_server_statement *statements, uint32_t count, uint64_t seed);
void pg_server_release(struct pg_server *server); /* and all that is left of its backends */

/* A connection, for a session or for a CancelRequest: it becomes what its first packet says. NULL: too many. */
struct pg_backend *pg_server_accept(struct pg_server *server);

/* The time has come to now_ns: who slept goes on. */
void pg_server_turn(struct pg_server *server, uint64_t now_ns);
uint64_t pg_server_deadline(const struct pg_server *server); /* when somebody wakes; 0: nobody sleeps */

/* Bytes from the client, in any pieces. */
void pg_backend_input(struct pg_backend *backend, struct span bytes);

/* What can be sent now: borrowed until the next call. pg_backend_sent drops the first n bytes of it. */
struct span pg_backend_output(struct pg_backend *backend);
void pg_backend_sent(struct pg_backend *backend, size_t n);

/* Its output has been taken, and the server closes the connection. */
bool pg_backend_over(const struct pg_backend *backend);

/* The client has closed, or the connection was reset: what has arrived whole is run to its end unless no_run_on; what is not
 * committed is rolled back. The memory is freed. */
void pg_backend_close(struct pg_backend *backend);

/* ------------------------------------------------------------------------------------------------------ by hand ---- */

void pg_backend_terminate(struct pg_backend *backend, const char *sqlstate); /* FATAL, idle or busy, and the end */
void pg_backend_die(struct pg_backend *backend);                 /* the end, without a word */
void pg_backend_stall(struct pg_backend *backend, bool stalled); /* reads on, answers nothing */
void pg_backend_discard(struct pg_backend *backend);             /* DISCARD ALL by somebody else */
void pg_backend_notice(struct pg_backend *backend, const char *message);
void pg_backend_parameter(struct pg_backend *backend, const char *name, const char *value);
void pg_backend_notification(struct pg_backend *backend, const char *channel);

/* A statement of it sleeps, or waits for its turn. */
bool pg_backend_busy(const struct pg_backend *backend);

/* Messages came that no Sync follows: a client that waits for an answer now waits forever. */
bool pg_backend_unsynced(const struct pg_backend *backend);

uint32_t pg_backend_pid(const struct pg_backend *backend);
char pg_backend_status(const struct pg_backend *backend); /* 'I', 'T', 'E' */
bool pg_backend_started(const struct pg_backend *backend); /* it has said ReadyForQuery */

/* ------------------------------------------------------------------------------------------------ rows of answers ---- */

/* A row, its fields in the formats that were asked for: begin, one call per column, end. */
void pg_backend_row_begin(struct pg_backend *backend);
void pg_backend_row_int(struct pg_backend *backend, int64_t value);       /* bool, int2, int4, int8; others: as text */
void pg_backend_row_text(struct pg_backend *backend, struct span value);  /* as it is; jsonb gets its version */
void pg_backend_row_null(struct pg_backend *backend);
void pg_backend_row_end(struct pg_backend *backend);
/* Instead of the rest: the statement fails. */
void pg_backend_error(struct pg_backend *backend, const char *sqlstate, const char *message);

#endif
