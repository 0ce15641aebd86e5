/* The JSON half of include/ringmain.h: an append-only writer on the response. RFC 8259. */
#include "server/exchange.h"
#include "server/text.h"

enum { DEPTH_MAX = 64, SCRATCH_BYTES = 256 };

/* Collects small pieces, so that the response is written to in few calls. */
struct scratch {
    struct rm_exchange *x;
    uint32_t len;
    char bytes[SCRATCH_BYTES];
};

static void flush(struct scratch *s) {
    if (s->len > 0) {
        http_response_write(&s->x->http, span_of(s->bytes, s->len));
        s->len = 0;
    }
}

static void put(struct scratch *s, const char *bytes, size_t len) {
    if (len > SCRATCH_BYTES - s->len) {
        flush(s);
    }
    if (len > SCRATCH_BYTES) {
        http_response_write(&s->x->http, span_of(bytes, len));
        return;
    }
    memcpy(s->bytes + s->len, bytes, len);
    s->len += (uint32_t)len;
}

static void put_byte(struct scratch *s, char byte) {
    put(s, &byte, 1);
}

/* What a byte becomes inside a string; 0: itself. RFC 8259 §7. */
static char escape_of(unsigned char byte) {
    switch (byte) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return byte < 0x20 ? 'u' : '\0';
    }
}

static void put_escape(struct scratch *s, unsigned char byte, char escape) {
    static const char hex[] = "0123456789abcdef";
    if (escape == 'u') {
        char text[] = { '\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15] };
        put(s, text, sizeof text);
    } else {
        char text[] = { '\\', escape };
        put(s, text, sizeof text);
    }
}

static void put_string(struct scratch *s, struct span text) {
    put_byte(s, '"');
    size_t run = 0; /* where the bytes begin that need no escape */
    for (size_t i = 0; i < text.len; i++) {
        char escape = escape_of((unsigned char)text.data[i]);
        if (escape != '\0') {
            put(s, text.data + run, i - run);
            put_escape(s, (unsigned char)text.data[i], escape);
            run = i + 1;
        }
    }
    if (run < text.len) {
        put(s, text.data + run, text.len - run);
    }
    put_byte(s, '"');
}

static uint64_t here(const struct rm_exchange *x) {
    return UINT64_C(1) << (x->json_depth - 1);
}

/* The comma and the key that come before a value. Members have names; elements and lone values have none. */
static void before(struct scratch *s, struct rm_exchange *x, const char *key) {
    s->x = x;
    s->len = 0;
    bool in_object = x->json_depth > 0 && (x->json_objects & here(x)) != 0;
    if (in_object != (key != NULL)) {
        exchange_mistake(x, in_object ? "wrote a JSON member without a key" : "wrote a JSON key outside an object");
        return;
    }
    if (x->json_depth == 0) {
        return;
    }
    if ((x->json_filled & here(x)) != 0) {
        put_byte(s, ',');
    }
    x->json_filled |= here(x);
    if (key != NULL) {
        put_string(s, span_text(key));
        put_byte(s, ':');
    }
}

static void open(struct rm_exchange *x, const char *key, bool object) {
    struct scratch s;
    before(&s, x, key);
    if (x->json_depth == DEPTH_MAX) {
        exchange_mistake(x, "nested JSON too deeply");
        return;
    }
    x->json_depth++;
    x->json_filled &= ~here(x);
    x->json_objects = object ? x->json_objects | here(x) : x->json_objects & ~here(x);
    put_byte(&s, object ? '{' : '[');
    flush(&s);
}

void rm_json_object(struct rm_exchange *x, const char *key) {
    open(x, key, true);
}

void rm_json_array(struct rm_exchange *x, const char *key) {
    open(x, key, false);
}

void rm_json_close(struct rm_exchange *x) {
    if (x->json_depth == 0) {
        exchange_mistake(x, "closed more JSON than it opened");
        return;
    }
    bool object = (x->json_objects & here(x)) != 0;
    x->json_depth--;
    http_response_write(&x->http, object ? SPAN("}") : SPAN("]"));
}

void rm_json_raw(struct rm_exchange *x, const char *key, struct span json) {
    struct scratch s;
    before(&s, x, key);
    put(&s, json.data, json.len);
    flush(&s);
}

void rm_json_int(struct rm_exchange *x, const char *key, int64_t value) {
    char digits[TEXT_INT_BYTES];
    rm_json_raw(x, key, span_of(digits, text_i64(value, digits)));
}

void rm_json_double(struct rm_exchange *x, const char *key, double value) {
    char digits[TEXT_DOUBLE_BYTES];
    rm_json_raw(x, key, span_of(digits, text_double(value, digits)));
}

void rm_json_bool(struct rm_exchange *x, const char *key, bool value) {
    rm_json_raw(x, key, value ? SPAN("true") : SPAN("false"));
}

void rm_json_string(struct rm_exchange *x, const char *key, struct span text) {
    struct scratch s;
    before(&s, x, key);
    put_string(&s, text);
    flush(&s);
}

void rm_write_int(struct rm_exchange *x, int64_t value) {
    char digits[TEXT_INT_BYTES];
    http_response_write(&x->http, span_of(digits, text_i64(value, digits)));
}
