/* ringmain: an HTTP/1.1 server framework in which every core owns one ring.
 *
 * This is the whole public interface; applications include nothing else. A program describes its routes in a table
 * and calls rm_main(), which gives it the command line, the workers, the drain and the metrics.
 *
 * Threads. A handler runs on the worker thread that owns the connection and must not block: it answers, or it
 * parks. Data that handlers of several workers share is the application's to protect; data that is read-only after
 * `start` needs nothing.
 *
 * Memory. Every span that a handler is given points into the request and is valid until the handler returns. A handler that
 * goes on after a park asks again: the same bytes are in another place then (those of the receive buffer have been copied).
 * Memory of rm_alloc stays where it is until the exchange is over. Nothing that a handler is given needs to be freed. */
#ifndef RINGMAIN_H
#define RINGMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed bytes, not terminated by NUL. */
#ifndef RM_SPAN_DEFINED
#define RM_SPAN_DEFINED
struct span {
    const char *data;
    size_t len;
};
#endif

/* One request and its response. Belongs to the worker; valid from the call of the handler until a handler returns
 * RM_DONE. What writes to it or lets it wait is for its own handlers, while they run: who has news for a parked one (a
 * watch, a
 * timer, another handler) leaves them where its handler finds them when it goes on. */
struct rm_exchange;
struct rm_cache;

/* One thread of the server, with the ring that it owns. Valid from rm_app.worker_start to the return of rm_app.worker_stop;
 * to be used on its own thread only. */
struct rm_worker;

/* What a handler returns. */
enum rm_step {
    RM_DONE, /* the response is complete (none written: 204); it leaves when what was started to wait for is done */
    RM_PARK, /* rm_then() was called and something that completes later was started; at least one of these, else 500 */
};

typedef enum rm_step rm_handler_fn(struct rm_exchange *x);

/* A piece of a streamed body, in order; borrowed during the call. Return false to refuse the rest: the handler's
 * answer, if it wrote one, else 400, is sent and the connection is closed. What is written here leaves when the body
 * is over. When the rest never comes, or is refused, the handler does not run: what pieces need is best taken with
 * rm_alloc. */
typedef bool rm_piece_fn(struct rm_exchange *x, struct span piece);

enum rm_body {
    RM_BODY_NONE,     /* a body is read and dropped, up to the limit for buffered ones, before the handler runs */
    RM_BODY_BUFFERED, /* the handler runs when the body is there, whole and contiguous; larger than the limit: 413 */
    RM_BODY_STREAMED, /* `piece` is called for each piece, then the handler; memory use does not depend on the length */
};

/* A route. Paths are made of static segments and {name} segments, each matching one non-empty segment. Static
 * segments win over named ones. HEAD is answered by the GET route. The table ends with a zeroed entry; strings
 * must stay valid. */
struct rm_route {
    const char *method;
    const char *path;
    rm_handler_fn *handler;
    enum rm_body body;
    rm_piece_fn *piece; /* RM_BODY_STREAMED only */
    const struct rm_cache *cache; /* GET only, without a body; NULL: its responses are not kept. See rm_cache */
};

/* An option of the application's own, `--name VALUE`, listed by --help. The table ends with a zeroed entry. */
struct rm_option {
    const char *name;     /* "dataset": without the dashes */
    const char *argument; /* "FILE": what --help shows */
    const char *help;     /* one line */
    const char **value;   /* where the text goes; what is there before is the default (may be NULL) */
};

struct rm_app {
    const char *name; /* of the program, for --help and logs */
    const struct rm_route *routes;
    const struct rm_option *options; /* may be NULL */
    const struct rm_statement *statements; /* may be NULL; else `statement_count` of them, what rm_query takes points
                                              into it */
    uint32_t statement_count;

    /* Called once on the main thread, after the command line was read and before a socket is opened; may allocate. Returns 0,
     * or an exit code (78: bad configuration) after it said why on stderr. May be NULL. */
    int (*start)(void);

    /* Called once on each worker's thread, when its ring is open and before it accepts; may allocate and may start watches
     * and timers. Returns 0, or an exit code after it said why; no worker serves then. May be NULL. */
    int (*worker_start)(struct rm_worker *worker);

    /* Called once on each worker's thread for which worker_start returned 0, when it has served its last request. Its watches
     * and timers have ended without a call, its offloaded jobs have run; exchanges that are parked still, because the drain's
     * time is up or their clients have all gone, do not go on. May be NULL. */
    void (*worker_stop)(struct rm_worker *worker);

    /* Called once on the main thread, when every worker accepts. May be NULL. */
    void (*ready)(void);
};

/* Runs a program: reads environment and command line, opens the workers, serves until TERM or INT, drains. Returns
 * the exit code: 0; 2 usage; 69 backend or address unavailable; 70 internal; 78 configuration.
 *
 * Besides the application's routes there are GET /healthz (200 while the process lives), /readyz (200; 503 while draining)
 * and /metrics (rm_metrics), each unless the application has a route that matches the same path. With --admin ADDR they are
 * answered there and not at --listen. `NAME doctor [--json]` looks at the machine instead of serving. */
int rm_main(int argc, char **argv, const struct rm_app *app);

/* The version of the library, "MAJOR.MINOR.PATCH"; static. */
const char *rm_version(void);

/* --------------------------------------------------------------------------------------------------- the request ---- */

/* The method as sent, "GET". */
struct span rm_method(const struct rm_exchange *x);

/* The path as sent: no percent-decoding, no query. */
struct span rm_path(const struct rm_exchange *x);

/* The query as sent, without the '?'; empty when there is none. */
struct span rm_query_string(const struct rm_exchange *x);

/* The value of a header field, without the blanks around it; the first one when there are several. `name` in any case.
 * False when there is none. RFC 9110 §5. */
bool rm_header(const struct rm_exchange *x, const char *name, struct span *value);

/* The value of a {name} segment of the route's path, as sent. Empty when the route has no such segment. */
struct span rm_param(const struct rm_exchange *x, const char *name);

/* The first `name=value` of the query, as sent (no decoding). False when there is none. */
bool rm_query_value(const struct rm_exchange *x, const char *name, struct span *value);

/* Walks the query: *cursor starts at 0; false at the end. A pair without '=' has an empty value. */
bool rm_query_next(const struct rm_exchange *x, size_t *cursor, struct span *name, struct span *value);

/* A span as a decimal integer: optional '-', digits, nothing else. False on anything else or on overflow. */
bool rm_int(struct span text, int64_t *out);

/* The buffered body; empty when there is none or the route does not buffer. */
struct span rm_body(const struct rm_exchange *x);

/* Bytes of body that have arrived so far. */
uint64_t rm_body_received(const struct rm_exchange *x);

/* `bytes` of zeroed memory, 16-byte aligned, that live as long as the exchange; NULL when the workspace is full,
 * and the exchange answers 500 then, whatever the handler does. */
void *rm_alloc(struct rm_exchange *x, size_t bytes);

/* A word of the application's on the exchange, NULL at first; for handlers that go on after a park. */
void rm_set_state(struct rm_exchange *x, void *state);
void *rm_state(const struct rm_exchange *x);

/* -------------------------------------------------------------------------------------------------- the response ---- */

/* Whole responses: status, type, Content-Length, body; copied. Return RM_DONE for `return rm_text(...)`. */
enum rm_step rm_text(struct rm_exchange *x, int status, const char *text);
enum rm_step rm_bytes(struct rm_exchange *x, int status, const char *content_type, struct span body);

/* A response without a body. */
enum rm_step rm_status(struct rm_exchange *x, int status);

/* A whole response whose body is not copied: it must stay valid and unchanged until `release(arg)` is called, on the
 * worker's thread, once and in any case: when the last byte was sent, when the client went before that, or at once when it
 * is not to be sent at all (HEAD, a failed response). With `release` NULL it must stay valid for the life of the process. */
typedef void rm_release_fn(void *arg);
enum rm_step rm_lend(struct rm_exchange *x, int status, const char *content_type, struct span body, rm_release_fn *release,
                     void *arg);

/* A header field for the response; before rm_begin, rm_stream or a whole response. Values with control characters are
 * refused: the exchange answers 500. */
void rm_set_header(struct rm_exchange *x, const char *name, struct span value);

/* A response written piece by piece, complete with Content-Length when it is sent: rm_begin, then rm_write and the
 * JSON calls, then return RM_DONE. When the worker's output blocks run out, what was written is rolled back
 * and the exchange answers 503; the calls are harmless then. */
void rm_begin(struct rm_exchange *x, int status, const char *content_type);
void rm_write(struct rm_exchange *x, struct span bytes);
void rm_write_int(struct rm_exchange *x, int64_t value);

/* As rm_write, but the bytes are not copied: see rm_lend. */
void rm_write_lent(struct rm_exchange *x, struct span bytes, rm_release_fn *release, void *arg);

/* JSON, appended to the response with commas set by themselves. Members of an object have a key, elements of an
 * array have NULL. Strings are escaped as RFC 8259 §7 demands. Doubles are written with up to 17 significant
 * digits, the shortest form that reads back the same. A key in the wrong place, or a container left open at the
 * end, answers 500. */
void rm_json_object(struct rm_exchange *x, const char *key);
void rm_json_array(struct rm_exchange *x, const char *key);
void rm_json_close(struct rm_exchange *x); /* the innermost open object or array */
void rm_json_int(struct rm_exchange *x, const char *key, int64_t value);
void rm_json_double(struct rm_exchange *x, const char *key, double value);
void rm_json_bool(struct rm_exchange *x, const char *key, bool value);
void rm_json_string(struct rm_exchange *x, const char *key, struct span text);
/* A value that is JSON already. */
void rm_json_raw(struct rm_exchange *x, const char *key, struct span json);

/* -------------------------------------------------------------------------------------------- streamed responses ---- */

/* Begins a response that leaves while it is written: rm_stream, then rm_write (and the JSON calls) as above, parking as
 * often as needed, then RM_DONE. It is sent with Transfer-Encoding: chunked, to HTTP/1.0 clients up to the end of the
 * connection (RFC 9112 §7.1, §6.3). What was written leaves when the handler returns, and before that the memory that it
 * takes is the writer's to bound: rm_flush. When it fails after its head has left (no block is free, rm_abort), the
 * connection is closed without the last chunk, so that the client sees that the body is cut. A stream that has failed, and
 * one that nobody gets more of than its head (HEAD, 204), counts as RM_END_GONE when the handler parks: without rm_on_end it
 * does not go on then. */
void rm_stream(struct rm_exchange *x, int status, const char *content_type);

/* Backpressure: one more thing that the exchange waits for, as rm_sleep is: until what was written so far has been given to
 * the kernel but for at most half of --output-bytes. Call it, then rm_then(), then return RM_PARK. Completes at the
 * end of the
 * turn, once in a turn at most, when there is nothing to wait for (as with a response that is collected for the cache), and
 * when the client has gone; a client that takes nothing for --write-timeout has. */
void rm_flush(struct rm_exchange *x);

/* Ends the response here: not begun, it becomes 500; begun, the connection is closed after what has been written, without
 * the end that would make it look whole. The handler then returns RM_DONE. */
void rm_abort(struct rm_exchange *x);

/* Server-sent events (the HTML standard, "Server-sent events"). rm_sse begins the stream: 200, text/event-stream,
 * Cache-Control: no-store. rm_sse_event writes one event: `event` and `id` may be NULL; data of several lines is
 * written as several data fields. A line end in `event` or `id` is a mistake: 500, or, when something has left already, as
 * rm_abort. rm_sse_comment writes a comment, which keeps connections alive that see no events. */
void rm_sse(struct rm_exchange *x);
void rm_sse_event(struct rm_exchange *x, const char *event, const char *id, struct span data);
void rm_sse_comment(struct rm_exchange *x, struct span text);

/* ------------------------------------------------------------------------------------------------ park and resume ---- */

/* Names the handler that goes on when everything that the exchange waits for is done. It runs once; it may park
 * again. It does not run when one of the waits could not be started: the others are given up then, and the answer is 503
 * (something is used up) or 500 (a mistake, which is logged). */
void rm_then(struct rm_exchange *x, rm_handler_fn *next);

/* Waits for `ns` nanoseconds. Several waits may be started: the exchange goes on when all are done. */
void rm_sleep(struct rm_exchange *x, uint64_t ns);

/* Waits until `fd` (a pipe, a socket, a timerfd: anything that poll(2) takes, but no plain file) is ready for one of
 * `interest`, or was hung up, or has an error. It stays the application's: who closes it makes sure that nobody waits
 * for it; a handler that goes on may, when it was the only one. Several exchanges of a worker may wait for one descriptor:
 * they are told one at a time, in the order in which they began to wait (of those that want what it is ready for), each
 * after the handler of the one before has run, unless that one waits for something else as well; at hang-up or error all
 * of them go on. Two workers may not wait for the same open file at a time. 503 when --watches is used up; 500 when it can't
 * be watched. */
enum { RM_READABLE = 1, RM_WRITABLE = 2, RM_HANGUP = 4, RM_ERROR = 8 };
void rm_wait_fd(struct rm_exchange *x, int fd, unsigned interest);

/* What the last descriptor that was waited for was ready for: a set of the above, 0 before and when the wait was cut short
 * (rm_on_end). */
unsigned rm_ready(const struct rm_exchange *x);

/* Waits for work on a helper thread: `run(arg)` is called there, may block and may allocate, and must not touch the exchange
 * or the worker; `arg` may point into memory of rm_alloc, which lives until the exchange goes on; spans of the request must
 * be copied there. A client that goes meanwhile changes nothing of that. 503 when --offloads jobs of this worker are under
 * way already. */
void rm_offload(struct rm_exchange *x, void (*run)(void *arg), void *arg);

/* Why a parked exchange may want to go on before its time. */
enum rm_end {
    RM_END_DRAIN = 1, /* the server drains: what never ends by itself must end now */
    RM_END_HALF = 2,  /* the client ended its half of the connection: gone, or waiting for the answer. RFC 9112 §9.6 */
    RM_END_GONE = 4,  /* what is written will not be sent: the connection is lost, or see rm_stream */
};

/* Names the handler that goes on instead of the next one when one of these comes about while the exchange is parked: its
 * timers and descriptors are no longer waited for, and when the offloaded jobs that are under way have ended, `end`
 * runs, never inside another handler. It may park again; it is called once for each reason, or for
 * several that came about before it ran. NULL, as at first: nothing is cut short, and the exchange goes on in its time. A
 * reason that is there already when the exchange parks counts as one that comes about then. */
void rm_on_end(struct rm_exchange *x, rm_handler_fn *end);

/* The reasons that there are by now, a set of enum rm_end. A client that has gone without a word is noticed when something is
 * sent to it. */
unsigned rm_ended(const struct rm_exchange *x);

/* True when RM_END_GONE is one of them: what is written will not be sent. Noticed while parked, too. */
bool rm_gone(const struct rm_exchange *x);

/* ------------------------------------------------------------------------------------------------------- Postgres ---- */

/* The types of parameters: their OIDs in pg_type. */
enum rm_type {
    RM_TYPES_END = 0,
    RM_BOOL = 16, RM_BYTEA = 17, RM_INT8 = 20, RM_INT2 = 21, RM_INT4 = 23, RM_TEXT = 25, RM_JSON = 114, RM_FLOAT4 = 700,
    RM_FLOAT8 = 701, RM_VARCHAR = 1043, RM_DATE = 1082, RM_TIMESTAMP = 1114, RM_TIMESTAMPTZ = 1184, RM_NUMERIC = 1700,
    RM_UUID = 2950, RM_JSONB = 3802,
};

/* What may be done with a statement. */
enum {
    RM_READ_ONLY = 1,   /* it only reads: when its connection is lost it is run once more */
    RM_SHARED_SYNC = 2, /* with RM_READ_ONLY: it may share its Sync, and so its implicit transaction, with queries of other
                           requests that are sent in the same turn. Cheaper for the server; the price: docs/postgres.md */
    RM_NESTED = 4,      /* as JSON, columns "a.b", "a.c" beside each other are an object "a" with the members "b" and "c" */
};

/* A statement of the application's: one SQL statement with parameters $1, $2, ... A static table of them is
 * rm_app.statements. Each is prepared once per connection, at its first use. */
struct rm_statement {
    const char *sql;
    const enum rm_type *types; /* of the parameters, ended by RM_TYPES_END: RM_TYPES(RM_INT4, RM_TEXT); NULL: none */
    unsigned flags;
    const char *name;          /* in logs and metrics; NULL: its number in the table */
};
#define RM_TYPES(...) ((const enum rm_type[]){ __VA_ARGS__, RM_TYPES_END })

/* An argument. Texts and bytes are copied by rm_query. */
struct rm_arg {
    enum { RM_ARG_NULL, RM_ARG_BOOL, RM_ARG_INT, RM_ARG_DOUBLE, RM_ARG_TEXT, RM_ARG_BYTES } kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct span bytes;
    } value;
};
struct rm_arg rm_null(void);
struct rm_arg rm_bool_arg(bool value);     /* bool */
struct rm_arg rm_int_arg(int64_t value);   /* integers, floats, numeric; date: days, timestamps: microseconds since 1970 */
struct rm_arg rm_double_arg(double value); /* float4, float8 */
struct rm_arg rm_text_arg(struct span value);  /* every type but bool, integers, floats and bytea: as the server reads it */
struct rm_arg rm_bytes_arg(struct span value); /* bytea; uuid: 16 bytes */

/* One execution of a statement, and its result. Valid until the handler returns that runs when it is over; NULL where it
 * could not be started (then the exchange answers 503 or 500): every call here takes NULL and does nothing. */
struct rm_query;

/* Runs a statement: one more thing that the exchange waits for. Queries of one exchange run beside each other, on any
 * connections, in any order. `rm_query`: its rows are kept for rm_next_row, in order; one of them, as it comes from the
 * server, has to fit into 4,000 bytes, with 4 bytes more for each column. `rm_query_json`: its rows are written as JSON while
 * they arrive, for rm_json_rows and rm_json_row. All rows of a result together are bounded by
 * --db-result-bytes, as they come and as they are kept or written. Wrong arguments are a mistake: 500.
 *
 *     rm_query(x, &statements[ITEM], rm_int_arg(id));
 *     rm_then(x, answer);
 *     return RM_PARK; */
#define rm_query(x, ...) rm_query_run((x), RM_KEEP, RM_QUERY_ARGS(__VA_ARGS__))
#define rm_query_json(x, ...) rm_query_run((x), RM_AS_JSON, RM_QUERY_ARGS(__VA_ARGS__))
enum rm_rows { RM_KEEP, RM_AS_JSON };
struct rm_query *rm_query_run(struct rm_exchange *x, enum rm_rows rows, const struct rm_statement *statement,
                              const struct rm_arg *args, uint32_t count);

/* As rm_query, but `row(row, arg)` is called for each row while they arrive, whatever their size. It must not touch the
 * exchange; what it has seen counts only when the query ends well. Return false to drop the rest: RM_DB_TOO_LARGE. */
struct rm_row;
typedef bool rm_row_fn(const struct rm_row *row, void *arg);
struct rm_query *rm_query_each(struct rm_exchange *x, rm_row_fn *row, void *arg, const struct rm_statement *statement,
                               const struct rm_arg *args, uint32_t count);

#define RM_QUERY_LIST(...) ((const struct rm_arg[]){ { RM_ARG_NULL, { 0 } } __VA_OPT__(, ) __VA_ARGS__ })
#define RM_QUERY_ARGS(statement, ...)           \
    (statement), RM_QUERY_LIST(__VA_ARGS__) + 1, \
        (uint32_t)(sizeof(RM_QUERY_LIST(__VA_ARGS__)) / sizeof(struct rm_arg) - 1)

/* In the handler that goes on: the i-th query (from 0) that the exchange started since it ran last; NULL: there is none. */
struct rm_query *rm_result(struct rm_exchange *x, uint32_t i);

enum rm_db {
    RM_DB_OK,
    RM_DB_ERROR,       /* the server said so: rm_db_sqlstate, rm_db_message */
    RM_DB_ROLLED_BACK, /* another query of its group or its transaction failed: nothing of it remains */
    RM_DB_BUSY,        /* never sent: too many wait, or it has waited for --db-timeout */
    RM_DB_DOWN,        /* never sent: there is no database */
    RM_DB_LOST,        /* sent, and the connection was lost, or its wait was cut short (rm_on_end): whether it ran is unknown */
    RM_DB_TIMEOUT,     /* sent, and not answered within --db-timeout: likewise */
    RM_DB_TOO_LARGE,   /* its rows were more than --db-result-bytes, or one too large to be kept, or there was no memory for
                          them (rm_db_answer says 503 then): what the statement does has been done */
};
enum rm_db rm_db_status(const struct rm_query *query);
const char *rm_db_sqlstate(const struct rm_query *query);   /* "23505"; "" when there was no error of the server's */
const char *rm_db_message(const struct rm_query *query);    /* of the server's error, cut to 159 bytes; "" */
const char *rm_db_constraint(const struct rm_query *query); /* that was violated; "" */
uint64_t rm_db_affected(const struct rm_query *query);      /* rows that an INSERT, UPDATE, DELETE, MERGE has changed */
uint64_t rm_db_rows(const struct rm_query *query);          /* rows that came */

/* Answers for a query that did not end well, and for NULL: 503 with Retry-After (BUSY, DOWN, LOST, and errors of the
 * classes 53, 57P and 40), 504 (TIMEOUT, and the error 57014), else 500. */
enum rm_step rm_db_answer(struct rm_exchange *x, const struct rm_query *query);

/* Rows that were kept, first to last; false: there is none left, or the query did not end well. Valid as the query is. */
bool rm_next_row(struct rm_query *query, const struct rm_row **row);

/* Fields, by column from 0. False: the field is NULL, of another type, or has no such value; *out is as it was then. Spans
 * borrow the row. */
uint32_t rm_columns(const struct rm_row *row);
bool rm_is_null(const struct rm_row *row, uint32_t column);
bool rm_get_bool(const struct rm_row *row, uint32_t column, bool *out);
bool rm_get_int(const struct rm_row *row, uint32_t column, int64_t *out);    /* int2, int4, int8 */
bool rm_get_double(const struct rm_row *row, uint32_t column, double *out);  /* float4, float8, numeric, integers */
bool rm_get_text(const struct rm_row *row, uint32_t column, struct span *out); /* texts, json, numeric, and types not
                                                                                  named here */
bool rm_get_json(const struct rm_row *row, uint32_t column, struct span *out); /* json, jsonb */
bool rm_get_bytes(const struct rm_row *row, uint32_t column, struct span *out); /* bytea */
bool rm_get_uuid(const struct rm_row *row, uint32_t column, uint8_t out[16]);
bool rm_get_date(const struct rm_row *row, uint32_t column, int32_t *days);       /* since 1970; INT32_MIN, MAX: infinities */
bool rm_get_timestamp(const struct rm_row *row, uint32_t column, int64_t *us);    /* since 1970; INT64_MIN, MAX: infinities */

/* Writes the rows of rm_query_json that ended well as a JSON array of objects, or the first one as an object (null when
 * there is none): into the response, with a key in an object and NULL elsewhere, as the other JSON calls. Once for a query:
 * they are moved, not copied. Of a query that did not end well, or twice: a mistake, 500. */
void rm_json_rows(struct rm_exchange *x, const char *key, struct rm_query *query);
void rm_json_row(struct rm_exchange *x, const char *key, struct rm_query *query);

/* From here on until it returns, the queries that the handler starts are one group: they are sent together, with one Sync,
 * run in order as one transaction, and cost one round trip. When one fails, none of them has happened. */
void rm_group(struct rm_exchange *x);

/* A transaction on a connection of its own. rm_transaction: from here on the queries of the exchange run in it, one after
 * the other; BEGIN goes with the first of them, without a round trip. It ends with rm_commit or rm_rollback, which are
 * queries to wait for; when the exchange ends without them, it is rolled back. Committed means that rm_db_status of
 * rm_commit's result is RM_DB_OK. After an error only rm_rollback makes sense: RM_DB_ROLLED_BACK is what commit says then.
 * One at a time (else 500); no group in it. Up to --db-transaction-timeout, then it is rolled back: RM_DB_TIMEOUT. */
enum rm_isolation { RM_READ_COMMITTED, RM_REPEATABLE_READ, RM_SERIALIZABLE, RM_READ_ONLY_TRANSACTION };
void rm_transaction(struct rm_exchange *x, enum rm_isolation isolation);
struct rm_query *rm_commit(struct rm_exchange *x);
struct rm_query *rm_rollback(struct rm_exchange *x);

/* ---------------------------------------------------------------------------------------------------------- cache ---- */

/* What a cached response is found by. Built in place; too long, or refused by the function that builds it: not cached. */
enum { RM_KEY_BYTES_MAX = 504 };
struct rm_key {
    uint16_t len;
    bool overflow;
    char bytes[RM_KEY_BYTES_MAX];
};
void rm_key_begin(struct rm_key *key, const struct rm_cache *cache); /* `cache->name` */
void rm_key_int(struct rm_key *key, int64_t value); /* a part; the same as its decimal digits as a span */
void rm_key_span(struct rm_key *key, struct span value);
void rm_key_none(struct rm_key *key); /* a part that is missing: another one than an empty one */

/* How the responses of a route are kept, in the store that all workers share (--store). Only status 200, without Set-Cookie,
 * without Cache-Control: no-store or private, and not streamed; not for requests with Authorization. What is fresh is
 * answered without the handler, to GET and HEAD, with ETag, Age and X-Cache: HIT; If-None-Match with 304. Of several
 * requests for what is not there, on any workers, one runs the handler (X-Cache: MISS) and the others wait for its response;
 * when that can't be kept, each runs it for itself. When it is no longer fresh, but in its grace, it is answered as it is
 * (X-Cache: STALE) while one handler runs without a client to replace it. A handler that others may wait for is not
 * told that its client has gone or ended its half (rm_gone, rm_ended, rm_on_end). One that runs for itself is, and then its
 * response is not kept. The drain is told to all: what comes of that is not kept when rm_on_end's handler was called, and what
 * else is cut short for that reason must be no 200. */
struct rm_cache {
    const char *name;   /* of these responses, in keys and figures; routes with one name share them */
    uint64_t ttl_ns;    /* they are fresh for so long; > 0 */
    uint64_t grace_ns;  /* and may be used for so much longer */
    /* The key: parts in this order: "{id}": the path's segment, "?page": the first such value of the query, "Accept-Language":
     * a header field. As they are sent: "1", "01" and "%31" are three keys, and a purge of one leaves the others. NULL and no
     * `key`: two parts, rm_path and rm_query_string. */
    const char *const *parts;
    /* Instead: writes the parts, which is the way to have one key for all spellings. False: not cached, the handler runs. */
    bool (*key)(const struct rm_exchange *x, struct rm_key *key);
    uint32_t max_age_s; /* for how long clients may use it without asking; 0: they ask each time (Cache-Control: no-cache) */
    bool authorized;    /* requests with Authorization are answered like all others */
};
#define RM_PARTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Removes what is kept under a key, grace and all. When it returns no request that comes from now on, to whatever worker, is
 * answered with what was kept or with what a handler that has been running until now will answer: called behind the change of
 * the data and before the response that tells of it, nobody who has seen that response sees the old data. Also right when
 * it is not known whether the data was changed. A change whose handler does not go on (its client was told 503, as another wait
 * could not be started; the drain's time is up) is seen when the TTL is over, after a warm start, too. A key that is too long:
 * a mistake, it asserts. */
void rm_purge(struct rm_worker *worker, const struct rm_key *key);

/* The response is the bytes of this plain file: `return rm_file(...)`, before anything else was written; the fields that were
 * set are its own. `path` as open(2) takes it: which files clients may name is the handler's to say. Helper threads open and
 * look at it, the ring reads it straight to its place in the store (docs/memory.md, "Files"), and it is answered from there: on
 * a route that caches as its responses are kept (X-Cache: MISS, then HIT without a look at the file until it is no longer
 * fresh), elsewhere for this one request. With ETag (of size and time of the last change) and Last-Modified, unless they were
 * set. The exchange goes on when its client has gone as long as others wait for its response; rm_on_end does not count. 404:
 * no such file, not a plain one, not to be read. 503: it was changed while it was read, and again at the second try; the store
 * has no room now; --offloads jobs and files are under way already; no descriptor is free. 500, with a log line: it is larger
 * than the store takes (an eighth of --store-bytes, less than 4 GiB); it can't be read; a mistake: no route of the application
 * caches, so that there is no store; a response was begun. */
enum rm_step rm_file(struct rm_exchange *x, const char *content_type, const char *path);

/* ---------------------------------------------------------------------------------------------- without a client ---- */

/* The worker of an exchange, its number (0 .. workers - 1), and a word of the application's on it, NULL at first. */
struct rm_worker *rm_worker(const struct rm_exchange *x);
uint32_t rm_worker_index(const struct rm_worker *worker);
uint32_t rm_workers(const struct rm_worker *worker);
void rm_set_worker_state(struct rm_worker *worker, void *state);
void *rm_worker_state(const struct rm_worker *worker);

/* A watch that belongs to no exchange: `ready(watch, what, arg)` is called on the worker's thread for each new edge of
 * `interest` (read until EAGAIN, as for EPOLLET), and at hang-up or error, after which the watch is spent and must be
 * ended. It ends with rm_unwatch, which may be called from `ready`, or with the worker; the descriptor stays open. NULL
 * when --watches is used up or it can't be watched. */
struct rm_watch;
typedef void rm_watch_fn(struct rm_watch *watch, unsigned what, void *arg);
struct rm_watch *rm_watch(struct rm_worker *worker, int fd, unsigned interest, rm_watch_fn *ready, void *arg);
void rm_unwatch(struct rm_watch *watch);

/* Calls `tick(timer, arg)` on the worker's thread every `ns` nanoseconds (> 0), first after `ns`; a period that was
 * missed is not made up for. It ends with rm_end_timer, which may be called from `tick`, or with the worker. NULL when
 * --watches is used up. */
struct rm_timer;
typedef void rm_timer_fn(struct rm_timer *timer, void *arg);
struct rm_timer *rm_every(struct rm_worker *worker, uint64_t ns, rm_timer_fn *tick, void *arg);
void rm_end_timer(struct rm_timer *timer);

/* ------------------------------------------------------------------------------------------------------ observing ---- */

/* Writes the server's own figures as JSON (rm_stats) or as Prometheus text (rm_metrics): complete responses. */
enum rm_step rm_stats(struct rm_exchange *x);
enum rm_step rm_metrics(struct rm_exchange *x);

#ifdef __cplusplus
}
#endif
#endif
