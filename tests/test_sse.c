#include "http/sse.h"

#include <stdio.h>

#include "http_rows.h"

/* The HTML standard, "Server-sent events", "Parsing an event stream" and "Interpreting an event stream". */
struct event_row {
    const char *name;
    struct span event, id, data;
    const char *out; /* NULL: refused */
};

#define NONE { NULL, 0 }
#define TEXT(text) { text, sizeof(text) - 1 }

static const struct event_row event_rows[] = {
    { "data", NONE, NONE, TEXT("hello"), "data: hello\n\n" },
    { "event and id", TEXT("tick"), TEXT("7"), TEXT("x"), "event: tick\nid: 7\ndata: x\n\n" },
    { "an empty id resets the last one", NONE, TEXT(""), TEXT("x"), "id: \ndata: x\n\n" },
    { "no data is still an event", TEXT("tick"), NONE, TEXT(""), "event: tick\ndata: \n\n" },
    { "LF", NONE, NONE, TEXT("a\nb"), "data: a\ndata: b\n\n" },
    { "CR", NONE, NONE, TEXT("a\rb"), "data: a\ndata: b\n\n" },
    { "CRLF is one end", NONE, NONE, TEXT("a\r\nb"), "data: a\ndata: b\n\n" },
    { "LFCR are two", NONE, NONE, TEXT("a\n\rb"), "data: a\ndata: \ndata: b\n\n" },
    { "CRCRLF are two", NONE, NONE, TEXT("a\r\r\nb"), "data: a\ndata: \ndata: b\n\n" },
    { "an end at the end", NONE, NONE, TEXT("a\n"), "data: a\ndata: \n\n" },
    { "CR at the end", NONE, NONE, TEXT("a\r"), "data: a\ndata: \n\n" },
    { "only an end", NONE, NONE, TEXT("\r\n"), "data: \ndata: \n\n" },
    { "a blank at the beginning stays", NONE, NONE, TEXT(" a: b"), "data:  a: b\n\n" },
    { "data that looks like a field", NONE, NONE, TEXT("x\nid: 1\n\nevent: y"),
      "data: x\ndata: id: 1\ndata: \ndata: event: y\n\n" },
    { "LF in event", TEXT("a\nb"), NONE, TEXT("x"), NULL },
    { "CR in event", TEXT("a\r"), NONE, TEXT("x"), NULL },
    { "LF in id", NONE, TEXT("\n1"), TEXT("x"), NULL },
    { "CR in id", NONE, TEXT("1\r"), TEXT("x"), NULL },
    { "NUL in id", NONE, TEXT("1\0002"), TEXT("x"), NULL },
};

static struct rig rig;

static struct http_exchange *begin(void) {
    static char text[] = GET("/ok");
    struct span input = SPAN(GET("/ok")), piece;
    struct http_exchange *x;
    input.data = text;
    rig_open(&rig, &rig_plenty);
    assert_int_equal(http_conn_next(&rig.conn, &input, &x, &piece), HTTP_READY);
    http_response_stream(x, 200, SPAN("text/event-stream"));
    return x;
}

static void end(struct http_exchange *x, const char *out) {
    char expected[256];
    http_exchange_finish(x);
    snprintf(expected, sizeof expected, "200%s%s", out[0] != '\0' ? ":" : "", out);
    assert_string_equal(rig_summary(&rig), expected);
    rig_release(&rig);
    assert_null(rig_leak(&rig));
    rig_close(&rig);
}

static void test_event(void **state) {
    const struct event_row *row = *state;
    struct http_exchange *x = begin();
    bool written = http_sse_event(x, row->event, row->id, row->data);
    assert_int_equal(written, row->out != NULL);
    end(x, row->out != NULL ? row->out : "");
}

static void test_comment(void **state) {
    (void)state;
    struct http_exchange *x = begin();
    http_sse_comment(x, SPAN(""));
    http_sse_comment(x, SPAN("still here"));
    http_sse_comment(x, SPAN("two\r\ndata: lines"));
    end(x, ": \n: still here\n: two\n: data: lines\n");
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_event, event_rows);
    ROWS_TEST(&rows, test_comment);
    return rows_run("server-sent events", &rows);
}
