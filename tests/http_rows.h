/* Tables of what a client sends and what it gets. Each row runs whole, at every cut,
    and byte by byte: the responses must be
 * the same. Parked exchanges are resumed when all has been sent. */
#ifndef RM_TESTS_HTTP_ROWS_H
#define RM_TESTS_HTTP_ROWS_H

#include "http_rig.h"
#include "rows.h"

struct http_row {
    const char *name;
    struct span in;
    const char *out; /* as rig_summary */
    const struct rig_sizes *sizes; /* NULL: rig_plenty */
};

#define HTTP_ROW(name, in, out) { name, { in, sizeof(in) - 1 }, out, NULL }
#define HTTP_ROW_SIZED(name, in, out, sizes) { name, { in, sizeof(in) - 1 }, out, sizes }

#define H "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" H "\r\n"

static inline void http_row_run(struct rig *rig, const struct http_row *row, size_t first, size_t step) {
    rig_reset(rig);
    rig_feed_pieces(rig, row->in, first, step);
    const char *fault = rig_insane(rig);
    rig_resume_all(rig);
    const char *out = rig_summary(rig);
    fault = fault != NULL ? fault : rig->fault;
    if (fault != NULL || strcmp(out, row->out) != 0) {
        fail_msg("cut at %zu, then by %zu: %s\n  got  \"%.2000s\"\n  want \"%.2000s\"", first, step,
                 fault != NULL ? fault : "", out,
                 row->out);
    }
    rig_release(rig);
    const char *leak = rig_leak(rig);
    if (leak != NULL) {
        fail_msg("cut at %zu, then by %zu: %s are missing", first, step, leak);
    }
}

static inline void http_row_test(void **state) {
    const struct http_row *row = *state;
    struct rig rig;
    rig_open(&rig, row->sizes != NULL ? row->sizes : &rig_plenty);
    http_row_run(&rig, row, row->in.len, 1);
    for (size_t cut = 0; cut < row->in.len; cut++) {
        http_row_run(&rig, row, cut, row->in.len);
    }
    http_row_run(&rig, row, 0, 1);
    http_row_run(&rig, row, 1, 3);
    rig_close(&rig);
}

#endif
