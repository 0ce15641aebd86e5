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
 * RM_DONE. What writes to it or lets it wait is for its own handlers, while they run: who has news for a parked one (a watch, a
 * timer, another handler) leaves them where its handler finds them when it goes on. */
struct rm_exchange;

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
 * is over. When the rest never comes, or is refused, the handler does not run: what pieces need is best taken with rm_alloc. */
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
 * the kernel but for at most half of --output-bytes. Call it, then rm_then(), then return RM_PARK. Completes at the end of the
 * turn, once in a turn at most, when there is nothing to wait for, and when the client has gone; a client that takes nothing
 * for --write-timeout has. */
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
