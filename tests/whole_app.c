/* The server of test_whole.c: a route for each thing that a handler can do. */
#include "whole.h"

static char fill_bytes[WHOLE_BODY_BYTES_MAX];

int64_t whole_number(const struct rm_exchange *x, const char *name) {
    int64_t value = 0;
    (void)!rm_int(rm_param(x, name), &value);
    return value;
}

struct span whole_filled(uint32_t salt, uint64_t from, size_t len) {
    for (size_t i = 0; i < len; i++) {
        fill_bytes[i] = whole_fill(salt, from + i);
    }
    return span_of(fill_bytes, len);
}

void whole_put_salt(struct rm_exchange *x) {
    if (whole_number(x, "salt") % 3 == 0) {
        rm_set_header(x, "X-Salt", rm_param(x, "salt"));
    }
}

/* Whole, or piece by piece with a length that is patched in. */
static enum rm_step answer_fill(struct rm_exchange *x, uint32_t salt, size_t len) {
    struct span bytes = whole_filled(salt, 0, len);
    whole_put_salt(x);
    if (salt % 2 == 0) {
        return rm_bytes(x, 200, "text/plain", bytes);
    }
    rm_begin(x, 200, "text/plain");
    for (size_t step = salt % 997 + 300; bytes.len > 0; bytes = span_from(bytes, step)) {
        rm_write(x, span_first(bytes, step));
    }
    return RM_DONE;
}

static enum rm_step filled(struct rm_exchange *x) {
    return answer_fill(x, (uint32_t)whole_number(x, "salt"), (size_t)whole_number(x, "len"));
}

static enum rm_step nap(struct rm_exchange *x) {
    rm_sleep(x, (uint64_t)whole_number(x, "ms") * NS_PER_MS);
    rm_then(x, filled);
    return RM_PARK;
}

/* Several timers at once, some times over; the head is looked at again each time. */
struct naps {
    int64_t left;
};

static enum rm_step nap_again(struct rm_exchange *x) {
    struct naps *naps = rm_state(x);
    if (naps->left-- == 0) {
        return filled(x);
    }
    for (int64_t i = 0; i < whole_number(x, "timers"); i++) {
        rm_sleep(x, (uint64_t)(whole_number(x, "ms") + i) * NS_PER_MS);
    }
    rm_then(x, nap_again);
    return RM_PARK;
}

static enum rm_step naps(struct rm_exchange *x) {
    struct naps *state = rm_alloc(x, sizeof *state);
    if (state == NULL) {
        return RM_DONE;
    }
    state->left = whole_number(x, "times");
    rm_set_state(x, state);
    return nap_again(x);
}

/* What the request said, told after a park. */
static enum rm_step viewed(struct rm_exchange *x) {
    struct span value = span_of(NULL, 0);
    rm_header(x, "X-View", &value);
    rm_begin(x, 200, "text/plain");
    rm_write(x, rm_param(x, "a"));
    rm_write(x, SPAN(" "));
    rm_write(x, rm_param(x, "b"));
    rm_write(x, SPAN(" "));
    rm_write(x, rm_query_string(x));
    rm_write(x, SPAN(" "));
    rm_write(x, value);
    return RM_DONE;
}

static enum rm_step view(struct rm_exchange *x) {
    rm_sleep(x, NS_PER_MS);
    rm_then(x, viewed);
    return RM_PARK;
}

static enum rm_step json(struct rm_exchange *x) {
    int64_t n = whole_number(x, "n");
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "n", n);
    rm_json_array(x, "list");
    for (int64_t i = 0; i < n; i++) {
        rm_json_int(x, NULL, i);
    }
    rm_json_close(x);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step status(struct rm_exchange *x) {
    return rm_status(x, (int)whole_number(x, "code"));
}

static enum rm_step mistake(struct rm_exchange *x) {
    switch (whole_number(x, "which")) {
    case 0:
        rm_begin(x, 200, "text/plain");
        rm_json_object(x, NULL);
        return RM_DONE;
    case 1: rm_set_header(x, "X-Bad", SPAN("a\r\nb")); return rm_text(x, 200, "never");
    case 2: rm_then(x, filled); return RM_PARK;
    case 3: rm_sleep(x, NS_PER_MS); return RM_PARK;
    default: (void)!rm_alloc(x, 1u << 30); return rm_text(x, 200, "never");
    }
}

static enum rm_step echo(struct rm_exchange *x) {
    return rm_bytes(x, 200, "application/octet-stream", rm_body(x));
}

static enum rm_step late_echo(struct rm_exchange *x) {
    rm_sleep(x, 2 * NS_PER_MS);
    rm_then(x, echo);
    return RM_PARK;
}

static enum rm_step drop(struct rm_exchange *x) {
    rm_begin(x, 200, "text/plain");
    rm_write_int(x, (int64_t)rm_body_received(x));
    return RM_DONE;
}

/* How many bytes of a streamed body came, and how many were wrong. */
struct sum {
    int64_t count, wrong;
};

static struct sum *sum_of(struct rm_exchange *x) {
    struct sum *sum = rm_state(x);
    if (sum == NULL) {
        sum = rm_alloc(x, sizeof *sum);
        rm_set_state(x, sum);
    }
    return sum;
}

static bool sum_piece(struct rm_exchange *x, struct span piece) {
    struct sum *sum = sum_of(x);
    uint32_t salt = (uint32_t)whole_number(x, "salt");
    for (size_t i = 0; i < piece.len; i++) {
        sum->wrong += piece.data[i] != whole_fill(salt, (uint64_t)sum->count);
        sum->count++;
    }
    return true;
}

static enum rm_step summed(struct rm_exchange *x) {
    struct sum *sum = sum_of(x);
    rm_begin(x, 200, "text/plain");
    rm_write_int(x, sum->count);
    rm_write(x, SPAN(" "));
    rm_write_int(x, sum->wrong);
    return RM_DONE;
}

static enum rm_step sum_late(struct rm_exchange *x) {
    rm_sleep(x, 3 * NS_PER_MS);
    rm_then(x, summed);
    return RM_PARK;
}

/* Refuses the rest of a body from a byte on. */
static bool stop_piece(struct rm_exchange *x, struct span piece) {
    (void)piece;
    if (rm_body_received(x) <= (uint64_t)whole_number(x, "at")) {
        return true;
    }
    if (whole_number(x, "own") == 1) {
        rm_text(x, 422, "no more\n");
    }
    return false;
}

static const struct rm_route routes[] = {
    { "GET", "/", drop, RM_BODY_NONE, NULL },
    { "GET", "/fill/{len}/{salt}", filled, RM_BODY_NONE, NULL },
    { "GET", "/nap/{ms}/{len}/{salt}", nap, RM_BODY_NONE, NULL },
    { "GET", "/naps/{ms}/{timers}/{times}/{len}/{salt}", naps, RM_BODY_NONE, NULL },
    { "GET", "/view/{a}/{b}", view, RM_BODY_NONE, NULL },
    { "GET", "/json/{n}", json, RM_BODY_NONE, NULL },
    { "GET", "/status/{code}", status, RM_BODY_NONE, NULL },
    { "GET", "/mistake/{which}", mistake, RM_BODY_NONE, NULL },
    { "POST", "/echo", echo, RM_BODY_BUFFERED, NULL },
    { "PUT", "/echo", late_echo, RM_BODY_BUFFERED, NULL },
    { "POST", "/drop", drop, RM_BODY_NONE, NULL },
    { "DELETE", "/drop", drop, RM_BODY_NONE, NULL },
    { "POST", "/sum/{salt}", summed, RM_BODY_STREAMED, sum_piece },
    { "PUT", "/sum/{salt}", sum_late, RM_BODY_STREAMED, sum_piece },
    { "POST", "/stop/{at}/{own}", drop, RM_BODY_STREAMED, stop_piece },
    { "GET", "/stream/{len}/{piece}/{ms}/{salt}", whole_stream, RM_BODY_NONE, NULL },
    { "GET", "/cut/{len}/{ms}/{salt}", whole_cut, RM_BODY_NONE, NULL },
    { "GET", "/sse/{n}/{ms}", whole_sse, RM_BODY_NONE, NULL },
    { "GET", "/live/{ms}", whole_live, RM_BODY_NONE, NULL },
    { "GET", "/watchful/{ms}", whole_watchful, RM_BODY_NONE, NULL },
    { "GET", "/offload/{n}", whole_offload, RM_BODY_NONE, NULL },
    { "GET", "/several/{ms}/{n}", whole_several, RM_BODY_NONE, NULL },
    { "GET", "/fd/{i}", whole_fd, RM_BODY_NONE, NULL },
    { "GET", "/lend/{len}", whole_lend, RM_BODY_NONE, NULL },
    { "GET", "/lend-pieces/{len}/{piece}", whole_lend_pieces, RM_BODY_NONE, NULL },
    { "GET", "/db/one/{key}", whole_db_one, RM_BODY_NONE, NULL },
    { "GET", "/db/json/{key}", whole_db_json, RM_BODY_NONE, NULL },
    { "GET", "/db/two/{key}", whole_db_two, RM_BODY_NONE, NULL },
    { "GET", "/db/group/{key}", whole_db_group, RM_BODY_NONE, NULL },
    { "GET", "/db/transact/{key}", whole_db_transact, RM_BODY_NONE, NULL },
    { "GET", "/db/nap/{key}", whole_db_nap, RM_BODY_NONE, NULL },
    { "GET", "/db/forget/{key}", whole_db_forget, RM_BODY_NONE, NULL },
    { "GET", "/db/slow/{key}", whole_db_slow, RM_BODY_NONE, NULL },
    { 0 },
};

const struct rm_app whole_app = {
    .name = "whole", .routes = routes, .statements = whole_statements, .statement_count = WHOLE_STATEMENTS
};
