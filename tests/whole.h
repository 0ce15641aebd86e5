/* The whole server on the simulator, driven by one 64-bit seed: it draws the limits and pools of the server, the faults of the
 * world, the clients, what they send and when, and how they leave. What must come back is said by a plain model that shares no
 * code with src/http (whole_requests.c), and each byte that a client receives is held against it (whole_oracle.c).
 *
 *     whole_app.c       the server's routes; whole_app_streams.c: those that stream, wait for much, lend
 *     whole_requests.c  the grammar of requests, each with its answer; whole_streams.c likewise
 *     whole_db.c        the database: its routes, its requests, what goes wrong with it
 *     whole_bad.c       requests that are refused
 *     whole_clients.c   clients that send, wait, read slowly and leave
 *     whole_oracle.c    the judge
 *     test_whole.c      worlds, the run, the end of it, the command line
 *
 * One thread. A run that goes wrong leaves with whole_fail(), which does not return. */
#ifndef TESTS_WHOLE_H
#define TESTS_WHOLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db_rig.h"
#include "random.h"
#include "ring/sim.h"
#include "ringmain.h"
#include "server/worker.h"

enum {
    WHOLE_CLIENTS_MAX = 40,
    WHOLE_REQUESTS_MAX = 100,   /* of a client */
    WHOLE_BODY_BYTES_MAX = 400 * 1024,
    WHOLE_TEXT_BYTES = 256,
    WHOLE_WHY_BYTES = 2048,
    WHOLE_KEYS = WHOLE_CLIENTS_MAX * WHOLE_REQUESTS_MAX + 1, /* of requests that ask the database: 0 is none */
    WHOLE_STATEMENTS = 4,
};

#define WHOLE_SLACK_NS (20 * NS_PER_MS) /* more than bytes are ever under way */

#define WHOLE_SERVICE_NS (15 * NS_PER_MS) /* what a turn of all others, and quiet sends, may take */
#define WHOLE_NS_PER_BYTE 200 /* on its way, in pieces of a small socket buffer */

/* How an answer's body is made. */
enum whole_body {
    WHOLE_TEXT, /* `text` */
    WHOLE_FILL, /* `len` bytes of whole_fill(salt, i) */
};

/* A request as it is sent, and what must come back. */
struct whole_request {
    const char *kind;            /* for messages; static */
    uint32_t start, head, end;   /* in the client's stream: begins, its head ends, ends */

    int status;
    const char *type;            /* NULL: no Content-Type */
    enum whole_body body;
    uint64_t len;                /* of the body as HEAD would tell it */
    uint32_t salt;
    char text[WHOLE_TEXT_BYTES];
    const char *allow;           /* the methods of Allow, sorted as the model has them; NULL: no such field */
    bool salted;                 /* X-Salt is there */
    bool chunked;                /* the answer is streamed: Transfer-Encoding, or up to the end for HTTP/1.0 */
    bool cut;                    /* the answer ends before its end, and the connection with it */
    bool endless;                /* the answer's body has as many events as there were until it was told to end */
    bool watchful;               /* the answer says what cut its wait short, if anything */
    bool head_only;              /* HEAD */
    bool old;                    /* HTTP/1.0 */
    bool closes;                 /* its answer says Connection: close and is the last */
    bool asked_close;            /* the client said that it is its last: what it sends behind it breaks RFC 9112 §9.6 */
    bool fatal;                  /* refused so that nothing more is read; the answer may come before its end was sent */
    bool early;                  /* answered at its head, or when the piece function refuses: before its end was sent */
    bool interim;                /* 100 (Continue) may come first */
    bool asks;                   /* ... and the client waits for it */
    uint32_t key;                /* by which the database knows it; 0: it is not asked */
    uint32_t writes;             /* of it that are there when it was answered */
    bool forgets;                /* what it writes is rolled back */
    bool decided;                /* `status` stands from the head on: a timeout of the body does not change it */

    uint64_t service_ns;         /* what its handler may take, but for the client; UINT64_MAX: nobody knows */
    uint64_t flushes;            /* how often it may wait for what it wrote to be sent */
    bool interim_seen;
    uint64_t first_ns, head_ns, last_ns; /* when its first byte, the end of its head, its last byte were handed over; 0: not yet */
    uint64_t gap_ns;                     /* the longest time between two pieces of its body */
    uint64_t piece_ns;                   /* when its last piece was handed over */
};

enum whole_end {
    WHOLE_END_CLOSE, /* closes when all is answered */
    WHOLE_END_WAIT,  /* waits for the server to close */
    WHOLE_END_HALF,  /* ends its half when all is sent, and waits */
    WHOLE_END_LEAVE, /* closes when it has sent what it wants to send */
    WHOLE_END_RESET, /* resets then */
};

struct whole;

struct whole_client {
    struct whole *w;
    uint32_t index;
    struct random random;
    struct ring_id id;
    struct whole_request *requests;
    uint32_t count;
    char *out;
    size_t out_len, out_room;

    /* how it behaves */
    enum whole_end end;
    size_t stop_at;           /* it sends no more than that */
    uint32_t piece_max;       /* bytes of a piece at most */
    uint32_t delay_ppm;       /* chance of a delay before a piece */
    uint64_t delay_ns_max;
    uint32_t slow_ppm;        /* chance of a pause after each receive */
    uint64_t pause_ns_max;
    bool lockstep;            /* one request at a time */
    bool stubborn;            /* goes on sending after Connection: close */
    uint64_t start_ns;        /* when it connects */
    uint64_t stay_ns;         /* from its last byte on until it leaves */

    /* where it stands */
    bool started, connecting, connected, closed, gone; /* gone: RING_CLOSED has come, or it never was */
    bool half_closed;
    bool ended;               /* the server's end has come */
    int32_t error;
    bool sending, paused;
    size_t sent;              /* handed over */
    struct iovec segment;
    size_t segment_len;
    uint64_t send_at_ns, resume_at_ns, leave_at_ns;
    uint64_t paused_ns, pause_max_ns; /* in all, the longest */

    /* what it received */
    char *in;
    size_t in_len, in_room, in_head; /* in_head: bytes of the head in front, 0: not known yet */
    uint64_t received;
    bool over;                /* no more will come */
    uint32_t next;            /* the request whose answer comes next */
    bool last_seen;           /* an answer said that it is the last */
    uint64_t body_left;       /* ... and may still bring these bytes: HEAD, when the server has not read so far */
    char body_text[WHOLE_TEXT_BYTES];
};

/* What a mutation spoils, so that we see that the judge is awake. */
enum whole_mutation { WHOLE_SOUND, WHOLE_FLIP, WHOLE_DROP, WHOLE_SWAP, WHOLE_LEAK, WHOLE_MUTATIONS };

struct whole {
    uint64_t seed;
    bool trace;
    enum whole_mutation mutation;
    bool mutated;
    struct random random;
    struct sim_world *world;
    struct sim_options faults;
    struct config config;
    struct server server;
    struct worker *worker;
    struct ring *ring; /* of the clients */
    bool server_open, worker_open;
    bool scarce;       /* some pools are small: 503 may come */
    bool breaking;     /* connections are reset by chance */
    bool jumping;
    uint32_t client_count;
    struct whole_client clients[WHOLE_CLIENTS_MAX];
    uint64_t drain_at_ns, drain_ns; /* planned, and when it was; 0: not yet */
    uint64_t unaccepted;            /* clients that were connected then, and not known to the server */
    uint64_t toggle_at_ns;          /* when a descriptor changes */
    struct random db_random;        /* draws what has to do with the database: worlds without one are as they were */
    bool db_on, db_open;
    bool db_troubled;               /* its routes may answer 503 and 504, */
    bool db_forgetful;              /* and 500, as statements go away, within transactions, too */
    bool db_toggles;                /* it goes and comes back */
    bool db_there;                  /* it listens */
    uint64_t db_toggle_at_ns;
    uint8_t db_written[WHOLE_KEYS]; /* committed */
    struct db_rig db;
    uint64_t turns;
    uint64_t shed;                  /* answers 503 that the model did not want */
    uint64_t statuses[6];           /* answers by class */
    uint64_t answers, requests;     /* judged; sent */
    jmp_buf leave;
    char why[WHOLE_WHY_BYTES];
};

/* The run is over: something is wrong. */
[[gnu::noreturn, gnu::format(printf, 2, 3)]] void whole_fail(struct whole *w, const char *format, ...);

/* A line of the trace. */
[[gnu::format(printf, 2, 3)]] void whole_trace(struct whole *w, const char *format, ...);

/* Byte `i` of the body with that salt. */
static inline char whole_fill(uint32_t salt, uint64_t i) {
    return (char)('!' + (salt * 131u + (uint32_t)i * 7u + (uint32_t)(i / 251u)) % 90u);
}

static inline uint64_t whole_now(const struct whole *w) {
    return sim_now(w->world);
}

/* Time that the clock may have jumped in all, and then some. */
static inline uint64_t whole_slack(const struct whole *w) {
    return WHOLE_SLACK_NS + sim_faults(w->world)->jumps * w->faults.jump_ns_max;
}

static inline bool whole_chance(struct random *random, uint32_t percent) {
    return random_below(random, 100) < percent;
}

/* low .. high */
static inline uint32_t whole_between(struct random *random, uint32_t low, uint32_t high) {
    return low + random_below(random, high - low + 1);
}

/* ---- whole_app.c, whole_app_streams.c ---- */
extern const struct rm_app whole_app;

/* What the application shares with the test. */
enum { WHOLE_FDS = 3, WHOLE_LENT_SALT = 5 };
struct whole_shared {
    int fds[WHOLE_FDS];            /* readable now and then */
    uint64_t lent, released;       /* bodies */
    uint64_t offloaded, jobs_run;
};
extern struct whole_shared whole_shared;

int64_t whole_number(const struct rm_exchange *x, const char *name); /* a {name} of the path */
struct span whole_filled(uint32_t salt, uint64_t from, size_t len);  /* until the next call */
void whole_put_salt(struct rm_exchange *x);
rm_handler_fn whole_told; /* of rm_on_end: says what it was */
rm_handler_fn whole_stream, whole_cut, whole_sse, whole_live, whole_watchful, whole_offload, whole_several, whole_fd, whole_lend,
    whole_lend_pieces;

/* ---- whole_requests.c, whole_streams.c ---- */

/* What is sent as a request, before its answer is known. */
struct whole_shape {
    const char *method;
    char target[200];
    const char *field; /* one more, with its CRLF, or NULL */
    bool has_body;
    bool chunked;
    uint32_t salt; /* of the body */
    uint64_t len;
};

typedef void whole_write_fn(struct whole_client *client, struct whole_request *request);
whole_write_fn whole_write_stream, whole_write_cut, whole_write_sse, whole_write_live, whole_write_watchful, whole_write_offload,
    whole_write_several, whole_write_fd, whole_write_lend;

struct whole_shape whole_get_shape(struct whole_client *client); /* a GET or a HEAD, perhaps with a body */
uint64_t whole_draw_len(struct random *random, uint32_t most);
void whole_put_request(struct whole_client *client, struct whole_request *request, const struct whole_shape *shape);
void whole_expect_text(struct whole_request *request, const char *type, const char *text);
void whole_expect_fill(struct whole_request *request, uint32_t salt, uint64_t len);

/* Draws what a client sends. */
void whole_write_requests(struct whole_client *client);
void whole_put(struct whole_client *client, const char *bytes, size_t len);
[[gnu::format(printf, 2, 3)]] void whole_putf(struct whole_client *client, const char *format, ...);
const char *whole_reason(int status); /* as RFC 9110 has it; NULL: not one that the model knows */

/* What the server answers with by itself: the reason as text. */
void whole_expect_error(struct whole_request *request, int status);

/* ---- whole_db.c ---- */
extern const struct rm_statement whole_statements[WHOLE_STATEMENTS];
rm_handler_fn whole_db_one, whole_db_json, whole_db_two, whole_db_group, whole_db_transact, whole_db_nap, whole_db_forget,
    whole_db_slow;
void whole_write_db(struct whole_client *client, struct whole_request *request);

/* May that be the answer, as the database, or a pool, has failed? */
bool whole_db_failed(const struct whole *w, const struct whole_request *want, int status, bool short_of);

/* What was said to be written is there, once, and all of it. */
void whole_judge_writes(struct whole *w, const struct whole_request *want, int status);

void whole_draw_db(struct whole *w);  /* after the faults of the world */
void whole_open_db(struct whole *w);
void whole_turn_db(struct whole *w);
void whole_close_db(struct whole *w);
void whole_heal_db(struct whole *w);  /* nothing goes wrong any more */
bool whole_db_back(const struct whole *w); /* and the server knows */

/* ---- whole_bad.c ---- */

/* A request that is refused. */
void whole_write_bad(struct whole_client *client, struct whole_request *request);

/* ---- whole_clients.c ---- */
void whole_draw_client(struct whole_client *client);
void whole_turn_clients(struct whole *w);
uint64_t whole_deadline(const struct whole *w); /* of what they, or the test, will do by themselves; RING_NO_DEADLINE */
bool whole_clients_gone(const struct whole *w);

/* ---- test_whole.c ---- */

/* What is due happens: a descriptor changes, the server drains. */
void whole_happen(struct whole *w);

/* ---- whole_oracle.c ---- */

/* More bytes have come: judges every answer that is whole. */
void whole_judge(struct whole_client *client);

/* The server has ended the connection, or it broke: may it? */
void whole_judge_end(struct whole_client *client);

#endif
