/* ringmain: an HTTP/1.1 server framework in which every core owns one ring.
 *
 * This is the whole public interface; applications include nothing else. A program describes its routes in a table
 * and calls rm_main(), which gives it the command line, the workers, the drain and the metrics.
 *
 * Threads. A handler runs on the worker thread that owns the connection and must not block: it answers, or it
 * parks. Data that handlers of several workers share is the application's to protect; data that is read-only after
 * `start` needs nothing.
 *
 * Memory. Every span that a handler is given points into the request or its workspace and is valid until the
 * exchange is over: after a park, too. Nothing that a handler is given needs to be freed. */
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
 * RM_DONE. */
struct rm_exchange;

/* What a handler returns. */
enum rm_step {
    RM_DONE, /* the response is complete (none written: 204) */
    RM_PARK, /* rm_then() was called and something that completes later was started; at least one of these, else 500 */
};

typedef enum rm_step rm_handler_fn(struct rm_exchange *x);

/* A piece of a streamed body, in order; borrowed during the call. Return false to refuse the rest: the handler's
 * answer, if it wrote one, else 400, is sent and the connection is closed. */
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
};

/* Runs a program: reads environment and command line, opens the workers, serves until TERM or INT, drains. Returns
 * the exit code: 0; 2 usage; 69 backend or address unavailable; 70 internal; 78 configuration. */
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

/* A header field for the response; before rm_begin or a whole response. Values with control characters are
 * refused: the exchange answers 500. */
void rm_set_header(struct rm_exchange *x, const char *name, struct span value);

/* A response written piece by piece, complete with Content-Length when it is sent: rm_begin, then rm_write and the
 * JSON calls, then return RM_DONE. When the worker's output blocks run out, what was written is rolled back
 * and the exchange answers 503; the calls are harmless then. */
void rm_begin(struct rm_exchange *x, int status, const char *content_type);
void rm_write(struct rm_exchange *x, struct span bytes);
void rm_write_int(struct rm_exchange *x, int64_t value);

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

/* ------------------------------------------------------------------------------------------------ park and resume ---- */

/* Names the handler that goes on when everything that the exchange waits for is done. It runs once; it may park
 * again. */
void rm_then(struct rm_exchange *x, rm_handler_fn *next);

/* Waits for `ns` nanoseconds. Several waits may be started: the exchange goes on when all are done. */
void rm_sleep(struct rm_exchange *x, uint64_t ns);

/* True when the client has gone while the exchange was parked: what is written will not be sent. */
bool rm_gone(const struct rm_exchange *x);

/* ------------------------------------------------------------------------------------------------------ observing ---- */

/* Writes the server's own figures as JSON (rm_stats) or as Prometheus text (rm_metrics): complete responses. */
enum rm_step rm_stats(struct rm_exchange *x);
enum rm_step rm_metrics(struct rm_exchange *x);

#ifdef __cplusplus
}
#endif
#endif
