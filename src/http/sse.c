#include "http/sse.h"

#include <string.h>

static bool is_line_end(char byte) {
    return byte == '\r' || byte == '\n';
}

static bool one_line(struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        if (is_line_end(text.data[i])) {
            return false;
        }
    }
    return true;
}

/* Takes the first line off *rest; rest->data is NULL after the last one. */
static struct span line_take(struct span *rest) {
    size_t len = 0;
    while (len < rest->len && !is_line_end(rest->data[len])) {
        len++;
    }
    struct span line = span_first(*rest, len);
    if (len == rest->len) {
        *rest = span_of(NULL, 0);
        return line;
    }
    bool pair = rest->data[len] == '\r' && len + 1 < rest->len && rest->data[len + 1] == '\n';
    *rest = span_from(*rest, len + (pair ? 2 : 1));
    return line;
}

/* A client drops one blank behind the colon, so there is always one. */
static void put_line(struct http_exchange *x, struct span field, struct span value) {
    http_response_write(x, field);
    http_response_write(x, SPAN(": "));
    http_response_write(x, value);
    http_response_write(x, SPAN("\n"));
}

static void put_lines(struct http_exchange *x, struct span field, struct span text) {
    struct span rest = text;
    do {
        put_line(x, field, line_take(&rest));
    } while (rest.data != NULL);
}

bool http_sse_event(struct http_exchange *x, struct span event, struct span id, struct span data) {
    if (!one_line(event) || !one_line(id) || (id.len > 0 && memchr(id.data, '\0', id.len) != NULL)) {
        return false;
    }
    if (event.data != NULL) {
        put_line(x, SPAN("event"), event);
    }
    if (id.data != NULL) {
        put_line(x, SPAN("id"), id);
    }
    put_lines(x, SPAN("data"), data);
    http_response_write(x, SPAN("\n"));
    return true;
}

void http_sse_comment(struct http_exchange *x, struct span text) {
    put_lines(x, SPAN(""), text);
}
