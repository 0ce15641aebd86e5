/* Builds the bodies of RowDescription and DataRow for tests. */
#ifndef RM_TESTS_PG_ROWS_H
#define RM_TESTS_PG_ROWS_H

#include <stdlib.h>
#include <string.h>

#include "pg/pg_wire.h"

struct pg_body {
    char *data;
    size_t len, room;
};

static inline char *pg_body_more(struct pg_body *body, size_t n) {
    if (body->len + n > body->room) {
        body->room = (body->len + n) * 2;
        body->data = realloc(body->data, body->room);
        if (body->data == NULL) {
            abort();
        }
    }
    body->len += n;
    return body->data + body->len - n;
}

static inline void pg_body_u16(struct pg_body *body, uint32_t v) {
    pg_put_u16(pg_body_more(body, 2), (uint16_t)v);
}

static inline void pg_body_u32(struct pg_body *body, uint32_t v) {
    pg_put_u32(pg_body_more(body, 4), v);
}

static inline void pg_body_bytes(struct pg_body *body, const void *data, size_t n) {
    char *at = pg_body_more(body, n);
    if (n > 0) {
        memcpy(at, data, n);
    }
}

/* A column of a RowDescription. */
static inline void pg_body_column(struct pg_body *body, const char *name, uint32_t oid) {
    pg_body_bytes(body, name, strlen(name) + 1);
    pg_body_u32(body, 16384); /* table */
    pg_body_u16(body, 1);     /* attribute */
    pg_body_u32(body, oid);
    pg_body_u16(body, 0xffff);     /* typlen */
    pg_body_u32(body, UINT32_MAX); /* typmod */
    pg_body_u16(body, 0);          /* format */
}

/* A field of a DataRow. */
static inline void pg_body_field(struct pg_body *body, const void *data, size_t n) {
    pg_body_u32(body, (uint32_t)n);
    pg_body_bytes(body, data, n);
}

static inline void pg_body_null(struct pg_body *body) {
    pg_body_u32(body, UINT32_MAX);
}

static inline struct span pg_body_span(const struct pg_body *body) {
    return (struct span){ body->data, body->len };
}

static inline void pg_body_reset(struct pg_body *body) {
    body->len = 0;
}

static inline void pg_body_free(struct pg_body *body) {
    free(body->data);
    *body = (struct pg_body){ 0 };
}

#endif
