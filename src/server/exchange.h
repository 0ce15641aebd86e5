/* struct rm_exchange: what the public header promises, on top of http's exchange. Runs handlers, parks and resumes.
 *
 *     running --RM_PARK--> parked (on worker->parked) --all waits are over--> running --RM_DONE--> (back to the pool)
 *                            \--a reason to end, a flush is done--> due (on worker->due) --end of the turn--/
 *
 * What makes an exchange go on while another handler runs, or inside http's loops, only makes it due: handlers never nest.
 *
 * Depends on: http, ringmain.h, worker.h, waits.h, db_query.h. One thread: the worker's. */
#ifndef RM_SERVER_EXCHANGE_H
#define RM_SERVER_EXCHANGE_H

#include "http/http.h"
#include "http/json.h"
#include "ringmain.h"
#include "server/list.h"

struct caching;
struct db_session;
struct wait;
struct worker;

/* Invariant: waits == length of `waiting` + flushing; waits > 0 only while parked, due or in a handler; told is a part of the
 * reasons that there are. */
struct rm_exchange {
    struct http_exchange http; /* first: http's pool holds these */
    struct json_writer json;   /* on the response, from rm_begin on */
    /* from here to `parked` all is zero at first */
    rm_handler_fn *next;  /* set by rm_then, cleared when it runs */
    rm_handler_fn *end;   /* set by rm_on_end */
    void *state;          /* the application's */
    const struct observe_client *client; /* who asked, kept by observe_park; in the workspace */
    struct rm_query *queries;   /* all that are not given back yet, in order, a ring: the last one; NULL: none */
    struct db_session *session; /* of the transaction that was begun */
    struct caching *caching;    /* it was not answered from the store at once: cache.c has to be told when it is */
    struct wait *waiting; /* what was started and has not completed, but a flush */
    uint32_t waits;       /* what was started and has not completed */
    uint8_t ready;        /* of the last descriptor: enum RM_READABLE ... */
    uint8_t ended;        /* reasons to end that can't be seen any more: the connection is lost */
    uint8_t told;         /* reasons for which `end` has run, or is about to */
    bool cut;             /* `end` goes on instead of `next`: set by exchange_notice, cleared when it runs */
    bool flushing;        /* one of `waits` is a flush */
    bool due;             /* on worker->due, or about to be run from there */
    bool streaming;       /* rm_stream was called */
    bool shed;            /* a wait could not be started, or a mistake was made: the answer is 503 or 500 already */
    bool asks;            /* it has used the database: db_query.c has to be told when a handler returns */
    bool grouping;        /* rm_group was called by the handler that runs */
    bool running;         /* a handler is running: it may start waits, a piece function may not */
    struct link parked;   /* on worker->parked or worker->due while it waits; else nowhere, and not to be read */
};

static inline struct rm_exchange *exchange_of(struct http_exchange *http) {
    return (struct rm_exchange *)(void *)http;
}

/* The application has broken the contract of ringmain.h: the exchange answers 500, and a log line (one per second)
 * says why. */
void exchange_mistake(struct rm_exchange *x, const char *what);

/* There is no room for what a handler wants to wait for: 503. */
void exchange_shed(struct rm_exchange *x);

/* False when waits can't be started now: that is a mistake, `what`. */
bool exchange_may_wait(struct rm_exchange *x, const char *what);

/* Clears what http does not know, at the first event of an exchange. */
void exchange_begin(struct rm_exchange *x);

/* Runs a handler. Afterwards the exchange is parked, or finished: then it may be another's already. */
void exchange_run(struct rm_exchange *x, rm_handler_fn *handler);

/* The route's handler. */
rm_handler_fn *exchange_handler(const struct rm_exchange *x);

/* Hands a piece of the body to the application; false: it refuses the rest. */
bool exchange_piece(struct rm_exchange *x, struct span piece);

/* A wait of a parked exchange is over: it goes on when that was the last. Not from inside a handler. */
void exchange_waited(struct rm_exchange *x);

/* The exchange is looked at at the end of this turn; nothing when it isn't parked. */
void exchange_due(struct rm_exchange *x);

/* An exchange that has not run yet: `handler` runs at the end of this turn. */
void exchange_begin_due(struct rm_exchange *x, rm_handler_fn *handler);

/* True when an exchange that flushes has nothing to wait for any more. */
bool exchange_flushed(const struct rm_exchange *x);

/* A reason to end may have come about: when the exchange is parked and wants to know, its waits are cancelled and it is due
 * to run `end`. From anywhere. */
void exchange_notice(struct rm_exchange *x);

/* http's hook: the client of an unfinished exchange has gone; http->conn is still there. */
void exchange_lost(struct http_exchange *http);

/* Runs the exchanges that are due, once each: who is due again by then waits for the next turn. */
void exchanges_run_due(struct worker *worker);

#endif
