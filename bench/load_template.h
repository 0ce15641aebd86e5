/* Template files: the requests a load is made of, each with what its response must be.
 *
 * A file is text. Lines before the first marker are comments. A marker line begins a request:
 *
 *     === STATUS [times=N] [fill=N] [length=N|length=same] [body=TEXT]
 *
 *   times=N      the request comes N times in the mix (1)
 *   fill=N       N bytes 'x' are sent behind the request's last line, for bodies too large to write down
 *   length=N     the response body must have exactly N bytes
 *   length=same  ... as many as the first response had (for bodies that depend on a data set); also the default
 *   body=TEXT    the response body must be exactly TEXT; last on the line, may contain blanks
 *
 * The lines behind it, up to the next marker, are the request. Each line end is sent as CR LF, whatever the file has, but
 * that of a last line that is not empty is not sent at all: so a head ends with an empty line, a chunked body with the empty
 * line of its last chunk, and a plain body with its last byte.
 * Depends on: mem/span.h, load_reply.h. */
#ifndef RM_BENCH_LOAD_TEMPLATE_H
#define RM_BENCH_LOAD_TEMPLATE_H

#include "load_reply.h"

enum { LOAD_REQUESTS_MAX = 4096, LOAD_WHY_BYTES = 256, LOAD_TAPE_BYTES_MAX = 256 * 1024 * 1024 };

struct load_request {
    char *bytes; /* as sent; owned by the template */
    size_t len;
    uint32_t times;
    struct reply_expect expect;
};

struct load_template {
    struct load_request *requests;
    uint32_t count; /* >= 1 */
    char *text;     /* the file; expectations point into it */
};

/* Reads and checks a file. False: `why` names the line and what is wrong with it. load_template_release follows in both
 * cases. */
[[gnu::warn_unused_result]] bool load_template_read(const char *path, struct load_template *out, char why[LOAD_WHY_BYTES]);

/* The same, of `len` bytes at `text`, which the template takes (malloc); `name` is for messages. */
[[gnu::warn_unused_result]] bool load_template_parse(char *text, size_t len, const char *name, struct load_template *out,
                                                     char why[LOAD_WHY_BYTES]);

void load_template_release(struct load_template *template);

/* A tape: requests one behind the other in the order in which they are sent, so that any `depth` of them in a row are
 * one piece of memory. Position p is request which[p]; the tape repeats after `period`.
 * Invariant: offsets has period + depth + 1 entries, ascending. */
struct load_tape {
    char *bytes;
    size_t *offsets;
    uint16_t *which;
    uint32_t period;
    uint32_t depth;
};

/* In turn (seed 0): every request `times` times, evenly spread. Else 1,024 requests drawn at random with `times` as weights.
 * False: `why` (too large). load_tape_release follows in both cases. */
[[gnu::warn_unused_result]] bool load_tape_make(const struct load_template *template, uint32_t depth, uint64_t seed,
                                                struct load_tape *out, char why[LOAD_WHY_BYTES]);

void load_tape_release(struct load_tape *tape);

/* The bytes of `n` <= depth requests from position `at` < period on. */
static inline struct span load_tape_span(const struct load_tape *tape, uint32_t at, uint32_t n) {
    return span_of(tape->bytes + tape->offsets[at], tape->offsets[at + n] - tape->offsets[at]);
}

/* splitmix64: the next number of a seeded sequence. */
uint64_t load_random(uint64_t *state);

#endif
