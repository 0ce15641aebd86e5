/* What the server of the tests says. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_server_priv.h"

enum { OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_NUMERIC = 1700, OID_JSONB = 3802 };

void bytes_add(struct bytes *bytes, const void *data, size_t len) {
    if (bytes->len + len > bytes->room) {
        bytes->room = (bytes->len + len) * 2 + 256;
        bytes->data = realloc(bytes->data, bytes->room);
        assert(bytes->data != NULL);
    }
    if (len > 0) {
        memcpy(bytes->data + bytes->len, data, len);
    }
    bytes->len += len;
}

bool server_chance(struct pg_server *server, uint32_t one_in) {
    return one_in != 0 && random_below(&server->random, one_in) == 0;
}

/* ------------------------------------------------------------------------------------------------------- messages ---- */

void say_bytes(struct pg_backend *b, const void *data, size_t len) {
    bytes_add(&b->out, data, len);
}

void say_text(struct pg_backend *b, const char *text) {
    say_bytes(b, text, strlen(text) + 1);
}

void say_u32(struct pg_backend *b, uint32_t v) {
    unsigned char p[4] = { (unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v };
    say_bytes(b, p, sizeof p);
}

void say_u16(struct pg_backend *b, uint16_t v) {
    unsigned char p[2] = { (unsigned char)(v >> 8), (unsigned char)v };
    say_bytes(b, p, sizeof p);
}

static size_t say_start(struct pg_backend *b, char type) {
    size_t at = b->out.len;
    say_bytes(b, &type, 1);
    say_u32(b, 0);
    return at;
}

size_t say_begin(struct pg_backend *b, char type) {
    say_noise(b);
    return say_start(b, type);
}

void say_end(struct pg_backend *b, size_t at) {
    uint32_t len = (uint32_t)(b->out.len - at - 1);
    unsigned char p[4] = { (unsigned char)(len >> 24), (unsigned char)(len >> 16), (unsigned char)(len >> 8),
                           (unsigned char)len };
    memcpy(b->out.data + at + 1, p, sizeof p);
    if (b->out.len - b->released > SAY_BUFFER_BYTES) {
        say_release(b);
    }
}

/* A connection that is to die does so at its byte: what is behind it is never seen. */
void say_release(struct pg_backend *b) {
    b->released = b->out.len;
    if (b->die_at != 0 && b->said + b->released >= b->die_at) {
        b->released = b->die_at > b->said ? b->die_at - b->said : 0;
        b->out.len = b->released;
        b->phase = BACKEND_ENDED;
    }
}

void say_empty(struct pg_backend *b, char type) {
    say_end(b, say_begin(b, type));
}

static void say_field(struct pg_backend *b, char field, const char *text) {
    if (text != NULL) {
        say_bytes(b, &field, 1);
        say_text(b, text);
    }
}

/* As PostgreSQL does, an error or a notice leaves at once. */
void say_error(struct pg_backend *b, char type, const char *severity, const char *sqlstate, const char *message,
               const char *constraint, const char *routine) {
    size_t at = say_start(b, type);
    say_field(b, 'S', severity);
    say_field(b, 'V', severity);
    say_field(b, 'C', sqlstate);
    say_field(b, 'M', message);
    say_field(b, 'n', constraint);
    say_field(b, 'R', routine);
    say_bytes(b, "", 1);
    say_end(b, at);
    say_release(b);
}

void say_fatal(struct pg_backend *b, const char *sqlstate, const char *message) {
    say_error(b, 'E', "FATAL", sqlstate, message, NULL, "ProcessInterrupts");
    b->phase = BACKEND_ENDED;
}

void say_complete(struct pg_backend *b, const char *tag) {
    size_t at = say_begin(b, 'C');
    say_text(b, tag);
    say_end(b, at);
}

void say_complete_count(struct pg_backend *b, const char *tag, uint64_t count) {
    char text[64];
    snprintf(text, sizeof text, "%s %" PRIu64, tag, count);
    say_complete(b, text);
}

void say_ready(struct pg_backend *b) {
    size_t at = say_begin(b, 'Z');
    say_bytes(b, &b->status, 1);
    say_end(b, at);
    say_release(b);
}

void say_copy(struct pg_backend *b, char type) {
    size_t at = say_begin(b, type);
    say_bytes(b, "", 1);
    say_u16(b, 1);
    say_u16(b, 0);
    say_end(b, at);
}

void say_parameters(struct pg_backend *b, const struct pg_server_statement *statement) {
    size_t at = say_begin(b, 't');
    say_u16(b, (uint16_t)statement->type_count);
    for (uint32_t i = 0; i < statement->type_count; i++) {
        say_u32(b, statement->types[i]);
    }
    say_end(b, at);
}

/* formats NULL: of a statement, which has none yet. */
void say_columns(struct pg_backend *b, struct pg_server_shape shape, const uint16_t *formats) {
    if (shape.count == 0) {
        say_empty(b, 'n');
        return;
    }
    size_t at = say_begin(b, 'T');
    say_u16(b, (uint16_t)shape.count);
    for (uint32_t i = 0; i < shape.count; i++) {
        say_text(b, shape.columns[i].name);
        say_u32(b, 0);
        say_u16(b, 0);
        say_u32(b, shape.columns[i].oid);
        say_u16(b, 4);
        say_u32(b, UINT32_MAX);
        say_u16(b, formats != NULL ? formats[i] : 0);
    }
    say_end(b, at);
}

void say_startup(struct pg_backend *b) {
    size_t at = say_begin(b, 'R');
    say_u32(b, 0);
    say_end(b, at);
    pg_backend_parameter(b, "server_version", "15.4");
    pg_backend_parameter(b, "client_encoding", "UTF8");
    pg_backend_parameter(b, "in_hot_standby", "off");
    if (!b->server->no_key) {
        at = say_begin(b, 'K');
        say_u32(b, b->pid);
        say_bytes(b, b->key, sizeof b->key);
        say_end(b, at);
    }
    say_ready(b);
    b->started = true;
    b->server->started++;
}

/* ----------------------------------------------------------------------------------------------- at any moment ---- */

void pg_backend_notice(struct pg_backend *b, const char *message) {
    say_error(b, 'N', "NOTICE", "00000", message, NULL, NULL);
}

void pg_backend_parameter(struct pg_backend *b, const char *name, const char *value) {
    size_t at = say_start(b, 'S');
    say_text(b, name);
    say_text(b, value);
    say_end(b, at);
}

void pg_backend_notification(struct pg_backend *b, const char *channel) {
    size_t at = say_start(b, 'A');
    say_u32(b, b->pid);
    say_text(b, channel);
    say_text(b, "payload");
    say_end(b, at);
}

void say_noise(struct pg_backend *b) {
    if (!server_chance(b->server, b->server->chances.noise)) {
        return;
    }
    switch (random_below(&b->server->random, 3)) {
    case 0: pg_backend_notice(b, "by the way"); break;
    case 1: pg_backend_parameter(b, "TimeZone", "UTC"); break;
    default: pg_backend_notification(b, "channel"); break;
    }
}

/* ----------------------------------------------------------------------------------------------------------- rows ---- */

static const struct pg_server_column *row_column(const struct pg_backend *b) {
    assert(b->row_fields < b->portal.shape.count);
    return &b->portal.shape.columns[b->row_fields];
}

void pg_backend_row_begin(struct pg_backend *b) {
    b->row_at = say_begin(b, 'D');
    b->row_fields = 0;
    say_u16(b, (uint16_t)b->portal.shape.count);
}

void pg_backend_row_null(struct pg_backend *b) {
    (void)row_column(b);
    b->row_fields++;
    say_u32(b, UINT32_MAX);
}

static void field_of(struct pg_backend *b, const void *data, size_t len) {
    b->row_fields++;
    say_u32(b, (uint32_t)len);
    say_bytes(b, data, len);
}

static size_t binary_bytes(uint32_t oid) {
    return oid == OID_BOOL ? 1 : oid == OID_INT2 ? 2 : oid == OID_INT4 ? 4 : oid == OID_INT8 ? 8 : 0;
}

void pg_backend_row_int(struct pg_backend *b, int64_t value) {
    uint32_t oid = row_column(b)->oid;
    size_t bytes = binary_bytes(oid);
    if (b->portal.formats[b->row_fields] == 1 && bytes > 0) {
        unsigned char p[8];
        for (size_t i = 0; i < bytes; i++) {
            p[i] = (unsigned char)((uint64_t)value >> 8 * (bytes - 1 - i));
        }
        field_of(b, p, bytes);
        return;
    }
    char text[32];
    int n = oid == OID_BOOL ? snprintf(text, sizeof text, "%s", value != 0 ? "t" : "f")
                            : snprintf(text, sizeof text, "%" PRId64, value);
    pg_backend_row_text(b, span_of(text, (size_t)n));
}

void pg_backend_row_text(struct pg_backend *b, struct span value) {
    if (row_column(b)->oid == OID_JSONB && b->portal.formats[b->row_fields] == 1) {
        say_u32(b, (uint32_t)value.len + 1);
        say_bytes(b, "\1", 1);
        say_bytes(b, value.data, value.len);
        b->row_fields++;
        return;
    }
    field_of(b, value.data, value.len);
}

void pg_backend_row_end(struct pg_backend *b) {
    assert(b->row_fields == b->portal.shape.count);
    say_end(b, b->row_at);
}

/* Column i is parameter i + 1, else the row's number. */
void say_plain_row(struct pg_backend *b, uint32_t number) {
    const struct portal *portal = &b->portal;
    pg_backend_row_begin(b);
    for (uint32_t i = 0; i < portal->shape.count; i++) {
        uint32_t oid = portal->shape.columns[i].oid;
        if (i >= portal->value_count) {
            pg_backend_row_int(b, number);
        } else if (portal->values[i].null) {
            pg_backend_row_null(b);
        } else if (binary_bytes(oid) > 0 || oid == OID_NUMERIC) {
            pg_backend_row_int(b, portal->values[i].integer);
        } else {
            pg_backend_row_text(b, portal->values[i].bytes);
        }
    }
    pg_backend_row_end(b);
}
