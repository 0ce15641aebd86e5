/* A connection without a socket: pools, routes with tiny handlers, input in pieces, output in one buffer. The unit tests of
 * http and its fuzz target use it. Every input lies flush against a page that can't be read and is overwritten as soon as
 * http_conn_next has said that it may die. */
#ifndef RM_TESTS_HTTP_RIG_H
#define RM_TESTS_HTTP_RIG_H

#include "guard.h"
#include "http/cache.h"

/* What the routes do; http_route.index. */
enum rig_route {
    RIG_HELLO,       /* GET /: "hello" */
    RIG_OK,          /* GET /ok: "ok" */
    RIG_PARAMS,      /* GET /p/{a}/{b}: "a=.. b=.." */
    RIG_ECHO,        /* POST /echo, buffered: the body */
    RIG_COUNT,       /* POST /count, streamed: the bytes that came, and their sum modulo 2^32 */
    RIG_DROP,        /* PUT /drop: the bytes that were dropped */
    RIG_PARK,        /* GET /park/{n}: parks; "parked n" when it is resumed */
    RIG_PARK_BODY,   /* POST /park, buffered: parks; path, X field and body */
    RIG_BEGIN,       /* GET /begin/{n}: n bytes, written piece by piece */
    RIG_BEGIN_PARK,  /* GET /begin-park/{n}: as before, parks in the middle */
    RIG_REFUSE,      /* POST /refuse, streamed: refuses the first piece */
    RIG_ANSWER_EARLY, /* POST /early, streamed: answers at the first piece and refuses the rest */
    RIG_FAIL,        /* GET /fail: fails with 500 in the middle */
    RIG_NOTHING,     /* GET /nothing: finishes without a response */
    RIG_ANSWER,      /* POST /answer, streamed: answers at the first piece and reads the rest */
    RIG_MIRROR,      /* POST /mirror, streamed: writes each piece to a streamed response */
    RIG_HOST,        /* GET /host: the value of Host */
    RIG_STREAM,      /* GET /stream/{n}: n bytes, streamed: written, lent and flushed, parks twice */
    RIG_CUT,         /* GET /cut/{n}: the same, cut at its end */
    RIG_OPTIONS,     /* OPTIONS /own: "ok" */
    RIG_CACHED,      /* GET /cached/{n}: n bytes, answered from the store when the last one that was stored had as many; 404 is
                        not found, and 1000 are streamed. With Authorization and with a body as if there were no store */
    RIG_ROUTES_COUNT,
};

/* Of streamed responses. No body that a client sends is likely to hold it. */
#define RIG_STREAMED_TYPE "text/x-streamed-7f3a9c51"

enum {
    RIG_OUTPUT_MAX = 16 * 1024 * 1024,
    RIG_PARKED_MAX = 128,
    RIG_BEGIN_MAX = 60000, /* the greatest {n} */
};

/* How many of each there are; all of rig_plenty, or fewer. */
struct rig_sizes {
    uint32_t exchanges, carries, blocks, bodies;
    struct http_limits limits;
};

extern const struct rig_sizes rig_plenty;

struct rig_cached {
    uint64_t n;
    uint32_t meta_bytes; /* 0: nothing is stored */
    char meta[HTTP_META_BYTES_MAX];
    char body[RIG_BEGIN_MAX], scratch[RIG_BEGIN_MAX];
};

struct rig {
    struct pool exchanges, carries, blocks, bodies;
    void *memory[4];
    void *router_memory;
    const struct http_router *router;
    struct guard guard;
    struct http_shared shared;
    struct chain out;
    struct http_conn conn;
    struct http_exchange *parked[RIG_PARKED_MAX];
    uint32_t parked_count;
    bool full, ended;  /* what http_conn_next said last */
    uint64_t ready;    /* handlers that ran */
    uint64_t lent, released; /* pieces of bodies */
    uint64_t cuts;     /* responses that a handler has cut */
    uint64_t done;     /* calls of shared.done */
    uint64_t requests; /* shared.requests when the connection began */
    const char *fault; /* set by rig_summary: a head that lacks what each must have, or NULL */
    char *output;      /* everything that came out, taken from `out` */
    size_t output_len;
    bool output_cut; /* set by rig_decode: the last body ended without its end */
    struct rig_cached cached;
};

/* Allocates. Ends the program when it can't. */
void rig_open(struct rig *rig, const struct rig_sizes *sizes);
void rig_close(struct rig *rig);

/* A new connection, no output; parked exchanges of the old one must be gone. */
void rig_reset(struct rig *rig);

/* Feeds the bytes as one input (at most HTTP_INPUT_BYTES_MAX) and runs what comes of it until MORE, FULL or ENDED. With FULL
 * pending, parked exchanges must be resumed first. */
void rig_feed(struct rig *rig, struct span bytes);

/* The same with bytes that stay where they are. */
void rig_go_on(struct rig *rig, struct span input);

/* All bytes, in pieces: the first of `first` bytes, then of `step` each. Resumes parked exchanges, oldest first, whenever the
 * connection is full. */
void rig_feed_pieces(struct rig *rig, struct span bytes, size_t first, size_t step);

/* The parked exchange goes on and finishes; then the connection does, if it was full. */
void rig_resume(struct rig *rig, uint32_t which);
void rig_resume_all(struct rig *rig);

/* Moves what has come out to rig->output. */
void rig_take_output(struct rig *rig);

/* Makes of each chunked body in the output what it stands for, so that outputs can be compared whatever their chunks are; "[CUT]"
 * stands behind one without its last chunk. False when one is malformed. */
bool rig_decode(struct rig *rig);

/* The responses in the output, short: "200:hello 404 100 200:ok closed". Bodies of 2xx only; "closed" when nothing more will
 * come; "GARBAGE" when it is no sequence of responses. A response to HEAD shows its length as "200(5)", or "200(chunked)".
 * Sets rig->fault when a head has no Date (RFC 9110 §6.6.1), or when not just the last one before a close says so (RFC 9112 §9.6).
 * Chunked bodies are decoded; " CUT" stands behind a body that is incomplete. */
const char *rig_summary(struct rig *rig);

/* Everything given back? NULL, or what is missing. Call after rig_release. */
const char *rig_leak(const struct rig *rig);

/* http_conn_release, and the parked ones finish without a client. */
void rig_release(struct rig *rig);

/* The handler of RIG_CACHED: http_rig_cache.c. */
void rig_cached(struct rig *rig, struct http_exchange *x, uint64_t n);

/* Invariants that hold between calls: NULL, or the one that does not. */
const char *rig_insane(const struct rig *rig);

#endif
