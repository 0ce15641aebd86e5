/* Server-sent events, written into a streamed response of type text/event-stream. The HTML standard, "Server-sent events",
 * "Parsing an event stream".
 * Depends on: http/http.h. One thread: the connection's. */
#ifndef RM_HTTP_SSE_H
#define RM_HTTP_SSE_H

#include "http/http.h"

/* Writes one event: its type, its id (each left out when its data is NULL), and a data field for each line of `data`, which
 * ends its lines with CRLF, LF or CR. False and nothing written when `event` or `id` hold a line end, or `id` a NUL: they would
 * say something else than what was meant. Copies all. */
[[gnu::warn_unused_result]] bool http_sse_event(struct http_exchange *x, struct span event, struct span id, struct span data);

/* Writes a comment, a line for each line of `text`. A client ignores it. */
void http_sse_comment(struct http_exchange *x, struct span text);

#endif
