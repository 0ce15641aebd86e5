/* include/ringmain.h, but for the figures: a thin layer over http. */
#include "mem/assert.h"
#include "mem/number.h"
#include "server/exchange.h"
#include "server/worker.h"

const char *rm_version(void) {
    return RM_VERSION;
}

/* ----------------------------------------------------------------------------------------------- the request ---- */

struct span rm_method(const struct rm_exchange *x) {
    return http_span(&x->http.request, x->http.request.method_text);
}

struct span rm_path(const struct rm_exchange *x) {
    return http_span(&x->http.request, x->http.request.path);
}

struct span rm_query_string(const struct rm_exchange *x) {
    return http_span(&x->http.request, x->http.request.query);
}

bool rm_header(const struct rm_exchange *x, const char *name, struct span *value) {
    return http_request_field(&x->http.request, span_text(name), value);
}

struct span rm_param(const struct rm_exchange *x, const char *name) {
    int i = http_route_param(x->http.route, span_text(name));
    if (i < 0 || i >= x->http.request.param_count) {
        return span_of(NULL, 0);
    }
    return http_span(&x->http.request, x->http.request.params[i]);
}

/* The bytes of `text` up to `end` or its own end. */
static struct span until(struct span text, char end) {
    const char *found = text.len == 0 ? NULL : memchr(text.data, end, text.len);
    return found == NULL ? text : span_first(text, (size_t)(found - text.data));
}

bool rm_query_next(const struct rm_exchange *x, size_t *cursor, struct span *name, struct span *value) {
    struct span query = rm_query_string(x);
    while (*cursor < query.len) {
        struct span pair = until(span_from(query, *cursor), '&');
        *cursor += pair.len + 1;
        if (pair.len > 0) {
            *name = until(pair, '=');
            *value = span_from(pair, name->len + 1);
            return true;
        }
    }
    return false;
}

bool rm_query_value(const struct rm_exchange *x, const char *name, struct span *value) {
    struct span wanted = span_text(name);
    struct span key, text;
    for (size_t cursor = 0; rm_query_next(x, &cursor, &key, &text);) {
        if (span_equal(key, wanted)) {
            *value = text;
            return true;
        }
    }
    return false;
}

bool rm_int(struct span text, int64_t *out) {
    return span_i64(text, out);
}

struct span rm_body(const struct rm_exchange *x) {
    return x->http.body;
}

uint64_t rm_body_received(const struct rm_exchange *x) {
    return x->http.body_received;
}

void *rm_alloc(struct rm_exchange *x, size_t bytes) {
    void *memory = arena_take(&x->http.workspace, bytes);
    if (memory == NULL) {
        http_response_fail(&x->http, 500);
        return NULL;
    }
    return memset(memory, 0, bytes);
}

void rm_set_state(struct rm_exchange *x, void *state) {
    x->state = state;
}

void *rm_state(const struct rm_exchange *x) {
    return x->state;
}

/* ---------------------------------------------------------------------------------------------- the response ---- */

enum rm_step rm_bytes(struct rm_exchange *x, int status, const char *content_type, struct span body) {
    http_response_whole(&x->http, status, span_text(content_type), body);
    return RM_DONE;
}

enum rm_step rm_text(struct rm_exchange *x, int status, const char *text) {
    http_response_whole(&x->http, status, SPAN("text/plain"), span_text(text));
    return RM_DONE;
}

enum rm_step rm_status(struct rm_exchange *x, int status) {
    http_response_whole(&x->http, status, span_of(NULL, 0), span_of(NULL, 0));
    return RM_DONE;
}

void rm_set_header(struct rm_exchange *x, const char *name, struct span value) {
    http_response_field(&x->http, span_text(name), value);
}

void rm_begin(struct rm_exchange *x, int status, const char *content_type) {
    http_response_begin(&x->http, status, span_text(content_type));
    json_begin(&x->json, &x->http);
}

void rm_write(struct rm_exchange *x, struct span bytes) {
    http_response_write(&x->http, bytes);
}

void rm_write_int(struct rm_exchange *x, int64_t value) {
    char digits[NUMBER_BYTES_MAX];
    http_response_write(&x->http, span_of(digits, (size_t)(number_put_i64(digits, value) - digits)));
}

void rm_json_object(struct rm_exchange *x, const char *key) {
    json_object(&x->json, key);
}

void rm_json_array(struct rm_exchange *x, const char *key) {
    json_array(&x->json, key);
}

void rm_json_close(struct rm_exchange *x) {
    json_close(&x->json);
}

void rm_json_int(struct rm_exchange *x, const char *key, int64_t value) {
    json_int(&x->json, key, value);
}

void rm_json_double(struct rm_exchange *x, const char *key, double value) {
    json_double(&x->json, key, value);
}

void rm_json_bool(struct rm_exchange *x, const char *key, bool value) {
    json_bool(&x->json, key, value);
}

void rm_json_string(struct rm_exchange *x, const char *key, struct span text) {
    json_string(&x->json, key, text);
}

void rm_json_raw(struct rm_exchange *x, const char *key, struct span json) {
    json_raw(&x->json, key, json);
}

/* ------------------------------------------------------------------------------------------- park and resume ---- */

void rm_then(struct rm_exchange *x, rm_handler_fn *next) {
    x->next = next;
}

unsigned rm_ready(const struct rm_exchange *x) {
    return x->ready;
}

/* ---------------------------------------------------------------------------------------------------- worker ---- */

struct rm_worker *rm_worker(const struct rm_exchange *x) {
    return worker_wrap(worker_of(x->http.shared));
}

uint32_t rm_worker_index(const struct rm_worker *worker) {
    return worker_unwrap(worker)->index;
}

uint32_t rm_workers(const struct rm_worker *worker) {
    return worker_unwrap(worker)->server->config->workers;
}

void rm_set_worker_state(struct rm_worker *worker, void *state) {
    worker_unwrap(worker)->state = state;
}

void *rm_worker_state(const struct rm_worker *worker) {
    return worker_unwrap(worker)->state;
}
