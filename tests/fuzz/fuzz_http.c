/* Any bytes, cut anywhere, must give the same responses as the same bytes in one piece, whatever chunks they leave in; every
 * invariant holds between inputs; nothing leaks, what was lent is released once, and each request ends once, with plenty of
 * memory and with hardly any.
 *
 * An input is: a byte of flags, a byte that says how many cuts there are (n = its lower 4 bits), n bytes of piece lengths,
 * and the bytes that the client sends. */
#include <stdio.h>
#include <stdlib.h>

#include "http_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { IN_BYTES_MAX = 4096, CUTS_MAX = 15 };

enum {
    FLAG_SMALL_LIMITS = 1,
    FLAG_RESUME = 2, /* resume a parked exchange after each piece */
    FLAG_HOLD = 4,   /* hold the connection while a piece comes */
    FLAG_END = 8,    /* the client ends its stream before the parked ones go on */
    FLAG_REFUSE = 16, /* a timeout of the caller's at the end */
    FLAG_GONE = 32,   /* with hardly any memory: the client goes before the parked ones go on */
};

struct plan {
    uint8_t flags;
    uint32_t cuts;
    const uint8_t *lengths;
    struct span in;
};

/* Blocks for the largest output that an input of IN_BYTES_MAX asks for: /begin/60000 a hundred times. */
static const struct rig_sizes plenty = { 128, 4, 4096, 4, { 8192, 16384, 100, 64, 2048 } };
static const struct rig_sizes small = { 128, 4, 4096, 4, { 40, 64, 4, 3, 16 } };
static const struct rig_sizes hardly = { 2, 1, 4, 1, { 8192, 16384, 100, 64, 20000 } };

static void demand(const char *fault, const char *where) {
    if (fault != NULL) {
        fprintf(stderr, "%s: %s\n", where, fault);
        abort();
    }
}

static struct plan plan_of(const uint8_t *data, size_t len) {
    uint32_t cuts = data[1] & CUTS_MAX;
    cuts = cuts < len - 2 ? cuts : (uint32_t)(len - 2);
    size_t start = 2 + (size_t)cuts;
    size_t bytes = len - start < IN_BYTES_MAX ? len - start : IN_BYTES_MAX;
    return (struct plan){ data[0], cuts, data + 2, span_of((const char *)data + start, bytes) };
}

static void feed_piece(struct rig *rig, const struct plan *plan, struct span piece, uint32_t number) {
    rig->conn.hold = (plan->flags & FLAG_HOLD) != 0;
    rig_feed(rig, piece);
    demand(rig_insane(rig), "after a piece");
    rig->conn.hold = false;
    while (rig->full) {
        if (rig->parked_count > 0) {
            rig_resume(rig, 0);
        } else {
            rig_go_on(rig, span_of(NULL, 0));
        }
    }
    if ((plan->flags & FLAG_RESUME) != 0 && rig->parked_count > 0) {
        rig_resume(rig, number % rig->parked_count);
    }
    demand(rig_insane(rig), "after a resumption");
    rig_take_output(rig);
}

static void feed_cut(struct rig *rig, const struct plan *plan) {
    struct span rest = plan->in;
    for (uint32_t i = 0; i < plan->cuts && rest.len > 0; i++) {
        struct span piece = span_first(rest, plan->lengths[i]);
        feed_piece(rig, plan, piece, i);
        rest = span_from(rest, piece.len);
    }
    feed_piece(rig, plan, rest, plan->cuts);
}

static void finish(struct rig *rig, const struct plan *plan) {
    if ((plan->flags & FLAG_REFUSE) != 0) {
        http_conn_refuse(&rig->conn, 408);
    } else if ((plan->flags & FLAG_END) != 0) {
        http_conn_end(&rig->conn);
    }
    demand(rig_insane(rig), "at the end");
    rig_resume_all(rig);
    rig_take_output(rig);
}

/* Chunked bodies are well-formed, and none is cut but by its handler. */
static void decode(struct rig *rig, bool plenty_of_memory) {
    if (!rig_decode(rig)) {
        demand("a chunk that is none", "in the output");
    }
    if (rig->output_cut && plenty_of_memory && rig->cuts == 0) {
        demand("a body that nobody has cut is", "in the output");
    }
}

/* What may differ with the cuts: an interim response, and which response knew that it is the last. */
static void strip(struct rig *rig, const char *what) {
    size_t bytes = strlen(what);
    char *at = rig->output, *end = rig->output + rig->output_len;
    for (char *found; (found = memmem(at, (size_t)(end - at), what, bytes)) != NULL; at = found) {
        memmove(found, found + bytes, (size_t)(end - found) - bytes);
        end -= bytes;
    }
    rig->output_len = (size_t)(end - rig->output);
}

static void strip_all(struct rig *rig) {
    strip(rig, "HTTP/1.1 100 Continue\r\n\r\n");
    strip(rig, "Connection: close\r\n");
    strip(rig, "Connection:      close\r\n");
}

static void settle(struct rig *rig) {
    rig_release(rig);
    demand(rig_leak(rig), "missing");
}

static void compare(struct rig *whole, struct rig *cut, const struct plan *plan) {
    struct plan uncut = *plan;
    uncut.cuts = 0;
    uncut.flags &= (uint8_t) ~(FLAG_HOLD | FLAG_RESUME);
    rig_reset(whole);
    rig_reset(cut);
    feed_cut(whole, &uncut);
    feed_cut(cut, plan);
    finish(whole, plan);
    finish(cut, plan);
    bool done = http_conn_done(&whole->conn), cut_done = http_conn_done(&cut->conn);
    decode(whole, true);
    decode(cut, true);
    strip_all(whole);
    strip_all(cut);
    bool same = whole->output_len == cut->output_len && memcmp(whole->output, cut->output, whole->output_len) == 0;
    if (!same || done != cut_done) {
        fprintf(stderr, "whole (%d):\n%.*s\n\ncut (%d):\n%.*s\n", done, (int)whole->output_len, whole->output, cut_done,
                (int)cut->output_len, cut->output);
        abort();
    }
    settle(whole);
    settle(cut);
    demand(whole->done == whole->shared.requests - whole->requests ? NULL : "ends", "missing or too many");
    demand(cut->done == cut->shared.requests - cut->requests ? NULL : "ends", "missing or too many");
}

static void starve(struct rig *rig, const struct plan *plan) {
    rig_reset(rig);
    feed_cut(rig, plan);
    if ((plan->flags & FLAG_GONE) != 0) {
        rig_take_output(rig);
    } else {
        finish(rig, plan);
        decode(rig, false);
    }
    settle(rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static struct rig rigs[5];
    if (rigs[0].output == NULL) {
        rig_open(&rigs[0], &plenty);
        rig_open(&rigs[1], &plenty);
        rig_open(&rigs[2], &small);
        rig_open(&rigs[3], &small);
        rig_open(&rigs[4], &hardly);
    }
    if (len < 2) {
        return 0;
    }
    struct plan plan = plan_of(data, len);
    bool limited = (plan.flags & FLAG_SMALL_LIMITS) != 0;
    compare(&rigs[limited ? 2 : 0], &rigs[limited ? 3 : 1], &plan);
    starve(&rigs[4], &plan);
    return 0;
}
