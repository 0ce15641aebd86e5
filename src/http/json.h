/* A JSON writer on a response: append-only, commas set by itself, nothing kept but the nesting. RFC 8259.
 * A value goes into the response at once, so the writer may be left and used again between other writes. What can't be right
 * (a member without a name, an element with one, a second value at the top, more than JSON_DEPTH_MAX open containers, a close
 * too many) is the application's mistake: the response fails with 500. So does nothing else here; a response that has failed
 * takes no more, and the calls are harmless.
 * Depends on: mem (number, escape), http/http.h. One thread per exchange. */
#ifndef RM_HTTP_JSON_H
#define RM_HTTP_JSON_H

#include "http/http.h"

enum { JSON_DEPTH_MAX = 16 };

/* Lives in the owner of the exchange. Invariant: depth <= JSON_DEPTH_MAX. Bit d is about the container at depth d + 1. */
struct json_writer {
    struct http_exchange *x;
    uint32_t depth;   /* open containers */
    uint32_t objects; /* bit set: an object, else an array */
    uint32_t filled;  /* bit set: it has a member; bit 31: the value at the top was written */
};

/* After http_response_begin. */
void json_begin(struct json_writer *json, struct http_exchange *x);

/* `key` is NUL-terminated; NULL in an array and at the top. */
void json_object(struct json_writer *json, const char *key);
void json_array(struct json_writer *json, const char *key);
void json_close(struct json_writer *json); /* the innermost open object or array */

void json_int(struct json_writer *json, const char *key, int64_t value);
void json_double(struct json_writer *json, const char *key, double value); /* number_put_double; null when not finite */
void json_bool(struct json_writer *json, const char *key, bool value);
void json_null(struct json_writer *json, const char *key);

/* `text` is taken as UTF-8, unchecked: bytes from 0x80 on stay as they are. RFC 8259 §7, §8.1 */
void json_string(struct json_writer *json, const char *key, struct span text);

/* A value that is JSON already. */
void json_raw(struct json_writer *json, const char *key, struct span value);

#endif
