/* struct rm_exchange: what the public header promises, on top of http's exchange. Runs handlers, parks and resumes.
 * Depends on: http, ringmain.h, worker.h. One thread: the worker's. */
#ifndef RM_SERVER_EXCHANGE_H
#define RM_SERVER_EXCHANGE_H

#include "http/http.h"
#include "http/json.h"
#include "ringmain.h"
#include "server/timers.h"

/* Invariant: waits > 0 only while parked or in a handler. */
struct rm_exchange {
    struct http_exchange http; /* first: http's pool holds these */
    rm_handler_fn *next;       /* set by rm_then, cleared when it runs */
    void *state;               /* the application's */
    struct json_writer json;   /* on the response, from rm_begin on */
    uint32_t waits;            /* what was started and has not completed */
    bool shed;                 /* a wait could not be started: the answer is 503 already */
    bool running;              /* a handler is running: it may start waits, a piece function may not */
};

/* A timer that an exchange waits for. */
struct wait {
    struct timer timer;
    struct rm_exchange *x;
};

static inline struct rm_exchange *exchange_of(struct http_exchange *http) {
    return (struct rm_exchange *)(void *)http;
}

/* The application has broken the contract of ringmain.h: the exchange answers 500, and a log line (one per second)
 * says why. */
void exchange_mistake(struct rm_exchange *x, const char *what);

/* Clears what http does not know, at the first event of an exchange. */
void exchange_begin(struct rm_exchange *x);

/* Runs a handler. Afterwards the exchange is parked, or finished: then it may be another's already. */
void exchange_run(struct rm_exchange *x, rm_handler_fn *handler);

/* The route's handler. */
rm_handler_fn *exchange_handler(const struct rm_exchange *x);

/* Hands a piece of the body to the application; false: it refuses the rest. */
bool exchange_piece(struct rm_exchange *x, struct span piece);

/* A timer of TIMER_WAIT is due: the exchange goes on when it was the last. */
void exchange_waited(struct wait *wait);

#endif
