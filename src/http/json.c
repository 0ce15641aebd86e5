#include "http/json.h"

#include "http/http_priv.h"
#include "mem/copy.h"
#include "mem/escape.h"
#include "mem/number.h"

/* A key and a short value are written into one reservation. Longer ones go piece by piece. */
enum {
    KEY_BYTES_MAX = 56,
    QUICK_BYTES_MAX = 448,
    AROUND_BYTES = 8, /* a comma, the quotes of key and value, a colon */
};

static const uint32_t TOP_WRITTEN = UINT32_C(1) << 31;

void json_begin(struct json_writer *json, struct http_exchange *x) {
    *json = (struct json_writer){ .x = x };
}

static uint32_t here(const struct json_writer *json) {
    return json->depth == 0 ? TOP_WRITTEN : UINT32_C(1) << (json->depth - 1);
}

static void mistake(struct json_writer *json) {
    http_response_fail(json->x, 500);
}

/* May a value with or without a name come here? Marks that one did. */
static inline bool admit(struct json_writer *json, const char *key, bool *comma) {
    uint32_t bit = here(json);
    bool in_object = json->depth > 0 && (json->objects & bit) != 0;
    *comma = (json->filled & bit) != 0;
    if (json->x->failed) {
        return false;
    }
    if ((key != NULL) != in_object || (json->depth == 0 && *comma)) {
        mistake(json);
        return false;
    }
    json->filled |= bit;
    return true;
}

/* -------------------------------------------------------------------------------------------------------- strings ---- */

static void write_byte(struct json_writer *json, char byte) {
    http_response_write(json->x, span_of(&byte, 1));
}

static void write_string(struct json_writer *json, struct span text) {
    const char *p = text.data, *end = p + text.len;
    write_byte(json, '"');
    while (p < end) {
        const char *stop = escape_scan(p, end);
        http_response_write(json->x, span_of(p, (size_t)(stop - p)));
        if (stop < end) {
            char escape[ESCAPE_BYTES_MAX];
            http_response_write(json->x, span_of(escape, (size_t)(escape_put(escape, *stop++) - escape)));
        }
        p = stop;
    }
    write_byte(json, '"');
}

/* ------------------------------------------------------------------------------------------------------ one write ---- */

static inline char *put_quoted(char *p, struct span text) {
    *p++ = '"';
    p = copy_put_span(p, text);
    *p++ = '"';
    return p;
}

/* The comma and the key, piece by piece. */
static void write_key(struct json_writer *json, const char *key, bool comma) {
    if (comma) {
        write_byte(json, ',');
    }
    if (key != NULL) {
        write_string(json, span_text(key));
        write_byte(json, ':');
    }
}

/* Copies a key with its quotes and the colon; NULL when it is too long or needs an escape. */
static inline char *put_key(char *p, const char *key) {
    char *out = p + 1;
    *p = '"';
    while (out <= p + KEY_BYTES_MAX && escape_is_clean(*key)) {
        *out++ = *key++;
    }
    if (*key != '\0') {
        return NULL;
    }
    out[0] = '"';
    out[1] = ':';
    return out + 2;
}

/* Begins a write of comma, key and up to `bytes` of value: returns where the value goes and sets *start to where the write
 * began. NULL: it is too large or unclean for one write (the comma and the key were written then) or the response has
 * failed. */
static inline char *open_write(struct json_writer *json, const char *key, size_t bytes, char **start) {
    bool comma;
    if (!admit(json, key, &comma)) {
        return NULL;
    }
    char *p = NULL;
    if (bytes <= QUICK_BYTES_MAX) {
        p = response_reserve(json->x, (uint32_t)bytes + KEY_BYTES_MAX + AROUND_BYTES);
        *start = p;
        if (p == NULL) {
            return NULL;
        }
        *p = ',';
        p += comma ? 1 : 0;
        p = key != NULL ? put_key(p, key) : p;
    }
    if (p == NULL) {
        write_key(json, key, comma);
    }
    return p;
}

static void close_write(struct json_writer *json, const char *start, const char *end) {
    response_commit(json->x, (uint32_t)(end - start));
}

/* ------------------------------------------------------------------------------------------------------------ API ---- */

static void open_container(struct json_writer *json, const char *key, bool object) {
    if (json->depth == JSON_DEPTH_MAX) {
        mistake(json);
        return;
    }
    json_raw(json, key, object ? SPAN("{") : SPAN("["));
    if (json->x->failed) {
        return;
    }
    json->depth++;
    json->filled &= ~here(json);
    json->objects = object ? json->objects | here(json) : json->objects & ~here(json);
}

void json_object(struct json_writer *json, const char *key) {
    open_container(json, key, true);
}

void json_array(struct json_writer *json, const char *key) {
    open_container(json, key, false);
}

void json_close(struct json_writer *json) {
    if (json->x->failed) {
        return;
    }
    if (json->depth == 0) {
        mistake(json);
        return;
    }
    write_byte(json, (json->objects & here(json)) != 0 ? '}' : ']');
    json->depth--;
}

void json_raw(struct json_writer *json, const char *key, struct span value) {
    char *start;
    char *p = open_write(json, key, value.len, &start);
    if (p != NULL) {
        close_write(json, start, copy_put_span(p, value));
    } else if (!json->x->failed) {
        http_response_write(json->x, value);
    }
}

void json_int(struct json_writer *json, const char *key, int64_t value) {
    char *start;
    char *p = open_write(json, key, NUMBER_BYTES_MAX, &start);
    if (p != NULL) {
        close_write(json, start, number_put_i64(p, value));
    } else if (!json->x->failed) {
        char text[NUMBER_BYTES_MAX];
        http_response_write(json->x, span_of(text, (size_t)(number_put_i64(text, value) - text)));
    }
}

void json_double(struct json_writer *json, const char *key, double value) {
    char *start;
    char *p = open_write(json, key, NUMBER_BYTES_MAX, &start);
    if (p != NULL) {
        close_write(json, start, number_put_double(p, value));
    } else if (!json->x->failed) {
        char text[NUMBER_BYTES_MAX];
        http_response_write(json->x, span_of(text, (size_t)(number_put_double(text, value) - text)));
    }
}

void json_bool(struct json_writer *json, const char *key, bool value) {
    json_raw(json, key, value ? SPAN("true") : SPAN("false"));
}

void json_null(struct json_writer *json, const char *key) {
    json_raw(json, key, SPAN("null"));
}

void json_string(struct json_writer *json, const char *key, struct span text) {
    char *start;
    size_t bytes = escape_is_clean_text(text) ? text.len : SIZE_MAX;
    char *p = open_write(json, key, bytes, &start);
    if (p != NULL) {
        close_write(json, start, put_quoted(p, text));
    } else if (!json->x->failed) {
        write_string(json, text);
    }
}
