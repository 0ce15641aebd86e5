/* Handlers of test_whole.c that stream their answers, wait for more than timers, or lend their bodies. */
#include "whole.h"

struct whole_shared whole_shared;

/* ------------------------------------------------------------------------------------------------------- streams ---- */

/* Of a handler that goes on more than once. */
struct progress {
    uint64_t at, len, piece;
};

static struct progress *begin_progress(struct rm_exchange *x, uint64_t len, uint64_t piece) {
    struct progress *progress = rm_alloc(x, sizeof *progress);
    if (progress != NULL) {
        *progress = (struct progress){ .len = len, .piece = piece };
    }
    rm_set_state(x, progress);
    return progress;
}

/* Waits for the client to take what there is, for time to pass, or for both. */
static enum rm_step go_on(struct rm_exchange *x, uint64_t kind, rm_handler_fn *next) {
    if (kind % 3 != 1) {
        rm_flush(x);
    }
    if (kind % 3 != 0) {
        rm_sleep(x, (uint64_t)whole_number(x, "ms") * NS_PER_MS);
    }
    rm_then(x, next);
    return RM_PARK;
}

static enum rm_step stream_more(struct rm_exchange *x) {
    struct progress *progress = rm_state(x);
    uint32_t salt = (uint32_t)whole_number(x, "salt");
    if (progress->at == progress->len || (salt % 5 == 0 && rm_gone(x))) {
        return RM_DONE;
    }
    uint64_t left = progress->len - progress->at;
    size_t len = (size_t)(progress->piece < left ? progress->piece : left);
    rm_write(x, whole_filled(salt, progress->at, len));
    progress->at += len;
    return go_on(x, salt, stream_more);
}

enum rm_step whole_stream(struct rm_exchange *x) {
    if (begin_progress(x, (uint64_t)whole_number(x, "len"), (uint64_t)whole_number(x, "piece")) == NULL) {
        return RM_DONE;
    }
    whole_put_salt(x);
    rm_stream(x, 200, "text/plain");
    return stream_more(x);
}

static enum rm_step abort_now(struct rm_exchange *x) {
    rm_abort(x);
    return RM_DONE;
}

enum rm_step whole_cut(struct rm_exchange *x) {
    uint32_t salt = (uint32_t)whole_number(x, "salt");
    rm_stream(x, 200, "text/plain");
    rm_write(x, whole_filled(salt, 0, (size_t)whole_number(x, "len")));
    return salt % 2 == 0 ? abort_now(x) : go_on(x, salt, abort_now);
}

/* -------------------------------------------------------------------------------------------------------- events ---- */

static struct span digits(uint64_t n, char out[static 24]) {
    return span_of(out, (size_t)snprintf(out, 24, "%llu", (unsigned long long)n));
}

static enum rm_step sse_more(struct rm_exchange *x) {
    char text[24];
    struct progress *progress = rm_state(x);
    if (progress->at == progress->len) {
        return RM_DONE;
    }
    rm_sse_event(x, "tick", NULL, digits(progress->at++, text));
    return go_on(x, 2, sse_more);
}

enum rm_step whole_sse(struct rm_exchange *x) {
    if (begin_progress(x, (uint64_t)whole_number(x, "n"), 0) == NULL) {
        return RM_DONE;
    }
    rm_sse(x);
    return sse_more(x);
}

static enum rm_step live_end(struct rm_exchange *x) {
    char text[24];
    const struct progress *progress = rm_state(x);
    rm_sse_event(x, "bye", NULL, digits(progress->at, text));
    return RM_DONE;
}

static enum rm_step live_more(struct rm_exchange *x) {
    char text[24];
    struct progress *progress = rm_state(x);
    rm_sse_event(x, NULL, NULL, digits(progress->at++, text));
    return go_on(x, 2, live_more);
}

/* Events without an end, until there is a reason for one. */
enum rm_step whole_live(struct rm_exchange *x) {
    if (begin_progress(x, 0, 0) == NULL) {
        return RM_DONE;
    }
    rm_on_end(x, live_end);
    rm_sse(x);
    return live_more(x);
}

/* --------------------------------------------------------------------------------------------------------- waits ---- */

enum rm_step whole_told(struct rm_exchange *x) {
    rm_begin(x, 200, "text/plain");
    rm_write(x, SPAN("end "));
    rm_write_int(x, (int64_t)(rm_ended(x) & (RM_END_DRAIN | RM_END_HALF)));
    return RM_DONE;
}

static enum rm_step not_told(struct rm_exchange *x) {
    return rm_text(x, 200, "time");
}

enum rm_step whole_watchful(struct rm_exchange *x) {
    rm_on_end(x, whole_told);
    return go_on(x, 1, not_told);
}

static void square(void *arg) {
    int64_t *n = arg;
    *n *= *n;
    whole_shared.jobs_run++; /* the simulator has one thread */
}

static enum rm_step squared(struct rm_exchange *x) {
    const int64_t *n = rm_state(x);
    rm_begin(x, 200, "text/plain");
    rm_write_int(x, *n);
    return RM_DONE;
}

/* Refused ones don't run: the pool counts them. */
enum rm_step whole_offload(struct rm_exchange *x) {
    int64_t *n = rm_alloc(x, sizeof *n);
    if (n == NULL) {
        return RM_DONE;
    }
    *n = whole_number(x, "n");
    rm_set_state(x, n);
    whole_shared.offloaded++;
    rm_offload(x, square, n);
    rm_then(x, squared);
    return RM_PARK;
}

enum rm_step whole_several(struct rm_exchange *x) {
    rm_sleep(x, (uint64_t)whole_number(x, "ms") * NS_PER_MS);
    rm_wait_fd(x, whole_shared.fds[0], RM_READABLE);
    rm_sleep(x, 0);
    return whole_offload(x);
}

static enum rm_step readable(struct rm_exchange *x) {
    return rm_text(x, 200, rm_ready(x) == RM_READABLE ? "readable" : "not readable");
}

enum rm_step whole_fd(struct rm_exchange *x) {
    rm_wait_fd(x, whole_shared.fds[whole_number(x, "i") % WHOLE_FDS], RM_READABLE);
    rm_then(x, readable);
    return RM_PARK;
}

/* ------------------------------------------------------------------------------------------------------- lending ---- */

static char lent_bytes[WHOLE_BODY_BYTES_MAX];

/* The same for all, and never changed: who sends it late sends it right. */
static struct span lent(uint64_t from, size_t len) {
    if (lent_bytes[0] == 0) {
        for (size_t i = 0; i < sizeof lent_bytes; i++) {
            lent_bytes[i] = whole_fill(WHOLE_LENT_SALT, i);
        }
    }
    whole_shared.lent++;
    return span_of(lent_bytes + from, len);
}

static void release(void *arg) {
    uint64_t *released = arg;
    (*released)++;
}

enum rm_step whole_lend(struct rm_exchange *x) {
    return rm_lend(x, 200, "text/plain", lent(0, (size_t)whole_number(x, "len")), release, &whole_shared.released);
}

static enum rm_step lend_more(struct rm_exchange *x) {
    struct progress *progress = rm_state(x);
    uint64_t left = progress->len - progress->at;
    size_t len = (size_t)(progress->piece < left ? progress->piece : left);
    if (len == 0) {
        return RM_DONE;
    }
    rm_write_lent(x, lent(progress->at, len), release, &whole_shared.released);
    progress->at += len;
    return go_on(x, 0, lend_more);
}

enum rm_step whole_lend_pieces(struct rm_exchange *x) {
    if (begin_progress(x, (uint64_t)whole_number(x, "len"), (uint64_t)whole_number(x, "piece")) == NULL) {
        return RM_DONE;
    }
    rm_stream(x, 200, "text/plain");
    return lend_more(x);
}
