#include "http/cache.h"

#include "http/cache_priv.h"
#include "http/http_priv.h"
#include "http/parse.h"
#include "mem/copy.h"
#include "mem/number.h"

bool http_cache_serves(const struct http_exchange *x, const struct http_cache_rule *rule) {
    const struct http_request *request = &x->request;
    bool reads = request->method == HTTP_GET || request->method == HTTP_HEAD;
    bool known = (request->seen & SEEN_AUTHORIZATION) == 0 || rule->authorized;
    return reads && known && !request->chunked && request->content_length == 0;
}

/* --------------------------------------------------------------------------------------------------------- capture ---- */

/* Nothing was begun. Not for what `own` holds. */
static void forget_response(struct http_exchange *x) {
    x->barred = 0;
    x->status = 0;
    x->silent = false;
    x->body_written = 0;
    x->length_at = NULL;
    x->connection_at = NULL;
    x->out = NULL;
    x->start = (struct chain_mark){ NULL, 0, 0 };
}

void http_response_capture(struct http_exchange *x) {
    rm_assert(x->kept == HTTP_PLAIN);
    if (x->failed) {
        return;
    }
    rm_assert(x->status == 0);
    rm_assert(x->own.head == NULL);
    x->kept = HTTP_CAPTURED;
}

bool http_type_fits(struct span type) {
    return type.len <= RESPONSE_TYPE_BYTES_MAX && response_clean(type);
}

void capture_open(struct http_exchange *x, int status, struct span type, bool later, struct span body) {
    char *copy = http_type_fits(type) ? arena_take(&x->workspace, type.len + 1) : NULL;
    if (copy == NULL) {
        http_response_fail(x, 500);
        return;
    }
    *copy_put_span(copy, type) = '\0';
    x->captured_type = copy;
    x->length_at = later ? copy : NULL; /* a body may follow; nobody patches it while it is captured */
    x->status = status;
    x->silent = response_bodiless(status);
    x->out = &x->own;
    x->start = (struct chain_mark){ NULL, 0, 0 };
    if (!x->silent && body.len > 0 && !chain_append(x->out, body)) {
        http_response_fail(x, 503);
    }
}

bool http_captured(const struct http_exchange *x, const struct http_cache_rule *rule, struct http_captured *out) {
    if (x->kept != HTTP_CAPTURED || x->failed || x->status != 200) {
        return false;
    }
    rm_assert(x->body_written == x->own.bytes);
    *out = (struct http_captured){
        .status = x->status,
        .type = span_text(x->captured_type),
        .fields = x->extra_fields,
        .body = &x->own,
        .body_bytes = x->own.bytes,
    };
    return cache_fields_storable(out->fields, rule->vary);
}

bool http_captured_elsewhere(const struct http_exchange *x, const struct http_cache_rule *rule, struct span type,
                             uint64_t body_bytes, struct http_captured *out) {
    rm_assert(x->status == 0);
    rm_assert(!x->failed);
    *out = (struct http_captured){ .status = 200, .type = type, .fields = x->extra_fields, .body_bytes = body_bytes };
    out->as_it_is = !cache_fields_storable(out->fields, rule->vary);
    return !out->as_it_is;
}

static struct span state_line(enum http_cache_state state) {
    switch (state) {
    case HTTP_CACHE_HIT: return SPAN("X-Cache: HIT\r\n");
    case HTTP_CACHE_MISS: return SPAN("X-Cache: MISS\r\n");
    case HTTP_CACHE_STALE: return SPAN("X-Cache: STALE\r\n");
    case HTTP_CACHE_NONE: break;
    }
    return span_of(NULL, 0);
}

/* X-Cache, if the workspace has the room: for want of that a response is not given up. */
static void add_state(struct http_exchange *x, enum http_cache_state state) {
    struct span line = state_line(state);
    char *fields = line.len > 0 ? arena_take(&x->workspace, x->extra_fields.len + line.len) : NULL;
    if (fields != NULL) {
        char *end = copy_put_span(cache_fields_put_without_state(fields, x->extra_fields), line);
        x->extra_fields = span_of(fields, (size_t)(end - fields));
    }
}

/* As the handler has written it. */
static void send_as_it_is(struct http_exchange *x, int status, struct span type, uint64_t bytes, struct chain *body) {
    if (response_open_whole(x, status, type, bytes)) {
        x->kept = HTTP_KNOWN_LENGTH;
        x->body_expected = bytes;
        x->body_written = 0;
        http_response_splice(x, body);
    }
}

/* As it will be answered from the store: by the same bytes. */
static void send_as_stored(struct http_exchange *x, struct span meta, enum http_cache_state state, struct chain *body) {
    struct http_stored stored;
    bool good = http_meta_read(meta, &stored);
    rm_assert(good);
    stored.state = state;
    x->extra_fields = span_of(NULL, 0); /* they are in the lines */
    if (http_stored_begin(x, &stored) == HTTP_STORED_FOLLOWS) {
        http_response_splice(x, body);
    }
}

static void send_captured(struct http_exchange *x, enum http_cache_state state, const struct http_cache_rule *rule,
                          struct span etag) {
    char meta[HTTP_META_BYTES_MAX];
    struct http_captured captured;
    bool storable = state == HTTP_CACHE_MISS && http_captured(x, rule, &captured);
    uint32_t meta_bytes = storable ? http_meta_bytes(&captured, rule, etag) : 0;
    if (meta_bytes > 0) {
        http_meta_put(&captured, rule, etag, meta);
    }
    int status = x->status;
    struct span type = span_text(x->captured_type);
    uint64_t bytes = x->body_written;
    struct chain body = x->own;
    chain_init(&x->own, x->own.blocks);
    forget_response(x);
    if (meta_bytes > 0) {
        send_as_stored(x, span_of(meta, meta_bytes), state, &body);
    } else {
        add_state(x, state);
        send_as_it_is(x, status, type, bytes, &body);
    }
    chain_reset(&body);
}

/* Nobody is there to get it; what is known of it stays. */
static void drop_captured(struct http_exchange *x) {
    x->kept = HTTP_PLAIN;
    x->length_at = NULL;
    response_orphan(x);
}

void http_response_uncapture(struct http_exchange *x, enum http_cache_state state, const struct http_cache_rule *rule,
                             struct span etag) {
    if (x->kept != HTTP_CAPTURED) {
        return;
    }
    if (x->conn == NULL) {
        drop_captured(x);
    } else if (x->failed) {
        x->kept = HTTP_PLAIN;
    } else if (x->status == 0) {
        x->kept = HTTP_PLAIN;
        add_state(x, state);
    } else {
        send_captured(x, state, rule, etag);
    }
}

/* ---------------------------------------------------------------------------------------------------------- stored ---- */

/* The end of its head. RFC 9111 §5.1: Age is in whole seconds. */
static char *put_state(char *p, const struct http_stored *stored) {
    switch (stored->state) {
    case HTTP_CACHE_HIT: p = COPY_PUT(p, "X-Cache: HIT\r\nAge: "); break;
    case HTTP_CACHE_STALE: p = COPY_PUT(p, "X-Cache: STALE\r\nAge: "); break;
    case HTTP_CACHE_MISS:
        if (stored->age_before_s == 0) {
            return COPY_PUT(p, "X-Cache: MISS\r\n\r\n");
        }
        p = COPY_PUT(p, "X-Cache: MISS\r\nAge: ");
        break;
    case HTTP_CACHE_NONE: return COPY_PUT(p, "\r\n");
    }
    p = number_put_u64(p, stored->age_before_s + stored->age_ms / 1000);
    return COPY_PUT(p, "\r\n\r\n");
}

static enum http_stored_body begin_stored(struct http_exchange *x, const struct http_stored *stored, int status,
                                          struct span lines) {
    char *start, *p = response_open_rendered(x, status, lines, stored->body_bytes, &start);
    if (p == NULL) {
        return HTTP_STORED_FAILED;
    }
    chain_commit(x->out, (uint32_t)(put_state(p, stored) - start));
    if (x->silent || stored->body_bytes == 0) {
        x->body_written = status == 304 ? 0 : stored->body_bytes;
        return HTTP_STORED_NONE;
    }
    x->kept = HTTP_KNOWN_LENGTH;
    x->body_expected = stored->body_bytes;
    return HTTP_STORED_FOLLOWS;
}

[[gnu::noinline]] static enum http_stored_body begin_conditional(struct http_exchange *x, const struct http_stored *stored) {
    switch (cache_condition(&x->request, stored->etag)) {
    case CACHE_NOT_MODIFIED: return begin_stored(x, stored, 304, stored->lines_304);
    case CACHE_PRECONDITION_FAILED: http_response_fail(x, 412); return HTTP_STORED_FAILED;
    case CACHE_PERFORM: break;
    }
    return begin_stored(x, stored, stored->status, stored->lines);
}

enum http_stored_body http_stored_begin(struct http_exchange *x, const struct http_stored *stored) {
    if (x->failed) {
        return HTTP_STORED_FAILED;
    }
    rm_assert(x->kept == HTTP_PLAIN);
    rm_assert(x->status == 0);
    rm_assert(x->extra_fields.len == 0);
    if ((x->request.seen & SEEN_CONDITION) != 0) {
        return begin_conditional(x, stored);
    }
    return begin_stored(x, stored, stored->status, stored->lines);
}

void http_stored_undo(struct http_exchange *x) {
    rm_assert(!x->left);
    rm_assert(!x->finished);
    rm_assert(x->kept != HTTP_CAPTURED);
    if (x->out != NULL) {
        chain_rollback(x->out, x->start);
    }
    forget_response(x);
}

/* --------------------------------------------------------------------------------------------------------- shadows ---- */

enum { CLIENTS_PART = 4 }; /* of the pool that shadows leave to clients */

struct http_exchange *http_exchange_shadow(struct http_exchange *x) {
    struct http_shared *shared = x->shared;
    if (shared->exchanges->free_count < shared->exchanges->count / CLIENTS_PART) {
        return NULL;
    }
    struct http_exchange *shadow = exchange_take_for(shared, NULL);
    if (shadow == NULL) {
        return NULL;
    }
    request_copy(&shadow->request, &x->request);
    struct span head = arena_copy(&shadow->workspace, span_of(x->request.head, x->request.head_bytes));
    rm_assert(head.data != NULL); /* http_workspace_bytes counts it */
    shadow->request.head = head.data;
    shadow->request.settled = true;
    shadow->route = x->route;
    shadow->shadow = true;
    return shadow;
}
