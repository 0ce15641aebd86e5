/* A connection whose responses the test writes itself, step by step, as handlers would. */
#ifndef RM_TESTS_HTTP_DRIVE_H
#define RM_TESTS_HTTP_DRIVE_H

#include "http_rows.h"

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define OK "HTTP/1.1 200 OK\r\n" DATE
#define TEXT "Content-Type: text/plain\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"
#define ERROR_500 "HTTP/1.1 500 Internal Server Error\r\n" DATE TEXT "Content-Length: 22\r\n\r\nInternal Server Error\n"

static struct rig rig;

static inline void open_with(const struct rig_sizes *sizes) {
    rig_open(&rig, sizes);
}

static inline int open_rig(void **state) {
    (void)state;
    open_with(&rig_plenty);
    return 0;
}

static inline int close_rig(void **state) {
    (void)state;
    rig_release(&rig);
    bool clean = rig_leak(&rig) == NULL;
    rig_close(&rig);
    return clean ? 0 : -1;
}

static inline void reopen(uint32_t blocks) {
    struct rig_sizes sizes = rig_plenty;
    sizes.blocks = blocks;
    rig_close(&rig);
    open_with(&sizes);
}

/* Begins an exchange with this request, which must be complete. The test writes its response. */
static inline struct http_exchange *request(const char *text) {
    static char kept[4096];
    struct http_exchange *x;
    strcpy(kept, text);
    struct span input = span_text(kept), piece;
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_READY);
    assert_int_equal(input.len, 0);
    return x;
}

/* The same, streamed. */
static inline struct http_exchange *stream(const char *text) {
    struct http_exchange *x = request(text);
    http_response_stream(x, 200, SPAN("text/plain"));
    return x;
}

static inline void put(struct http_exchange *x, const char *text) {
    http_response_write(x, span_text(text));
}

static inline void expect_sane(void) {
    const char *fault = rig_insane(&rig);
    if (fault != NULL) {
        fail_msg("%s", fault);
    }
}

static inline void forget(const struct http_exchange *x) {
    for (uint32_t i = 0; i < rig.parked_count; i++) {
        if (rig.parked[i] == x) {
            rig.parked[i] = rig.parked[--rig.parked_count];
        }
    }
}

static inline void park(struct http_exchange *x) {
    forget(x);
    http_exchange_park(x);
    rig.parked[rig.parked_count++] = x;
    expect_sane();
}

static inline void finish(struct http_exchange *x) {
    forget(x);
    http_exchange_finish(x);
    expect_sane();
}

/* What has come out since the last call. */
static inline void expect(const char *text) {
    rig.output_len = 0;
    rig_take_output(&rig);
    rig.output[rig.output_len] = '\0';
    assert_string_equal(rig.output, text);
}

/* A release hook that counts. */
static inline void count_release(void *arg) {
    *(uint32_t *)arg += 1;
}

#define WITH_RIG(test) { #test, test, open_rig, close_rig, NULL }

#endif
