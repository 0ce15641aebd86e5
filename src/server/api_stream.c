/* include/ringmain.h: responses that leave while they are written, and bytes that are lent. */
#include "http/sse.h"
#include "server/cache.h"
#include "server/exchange.h"
#include "server/worker.h"

void rm_stream(struct rm_exchange *x, int status, const char *content_type) {
    http_response_stream(&x->http, status, span_text(content_type));
    json_begin(&x->json, &x->http);
    x->streaming = true;
    if (x->caching != NULL) {
        cache_stream(x);
    }
}

void rm_flush(struct rm_exchange *x) {
    if (!exchange_may_wait(x, "called rm_flush from its piece function") || x->flushing) {
        return;
    }
    x->flushing = true;
    x->waits++;
}

void rm_abort(struct rm_exchange *x) {
    x->shed = true; /* meant, and no mistake */
    http_response_cut(&x->http);
}

enum rm_step rm_lend(struct rm_exchange *x, int status, const char *content_type, struct span body, rm_release_fn *release,
                     void *arg) {
    http_response_whole_lent(&x->http, status, span_text(content_type), body, release, arg);
    return RM_DONE;
}

void rm_write_lent(struct rm_exchange *x, struct span bytes, rm_release_fn *release, void *arg) {
    http_response_lend(&x->http, bytes, release, arg);
}

void rm_sse(struct rm_exchange *x) {
    http_response_field(&x->http, SPAN("Cache-Control"), SPAN("no-store"));
    rm_stream(x, 200, "text/event-stream");
}

static struct span optional(const char *text) {
    return text == NULL ? span_of(NULL, 0) : span_text(text);
}

void rm_sse_event(struct rm_exchange *x, const char *event, const char *id, struct span data) {
    if (!http_sse_event(&x->http, optional(event), optional(id), data)) {
        exchange_mistake(x, "wrote an event whose type or id has a line end");
    }
}

void rm_sse_comment(struct rm_exchange *x, struct span text) {
    http_sse_comment(&x->http, text);
}
