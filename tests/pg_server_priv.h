/* What pg_server.c (reads messages and does what they say), pg_server_life.c (connections, from accept to close) and
 * pg_server_say.c (writes) share. */
#ifndef RM_TESTS_PG_SERVER_PRIV_H
#define RM_TESTS_PG_SERVER_PRIV_H

#include "pg_server.h"

enum {
    SAY_BUFFER_BYTES = 8192, /* of output, before it leaves by itself */
    NAME_BYTES = 64,
};

struct prepared {
    char name[NAME_BYTES];
    struct pg_server_statement *statement;
    uint32_t version;
    bool used;
};

struct portal {
    bool open;
    struct pg_server_statement *statement;
    struct pg_server_shape shape;
    char *copy; /* of the Bind that values point into */
    struct pg_server_value values[PG_BACKEND_VALUES_MAX];
    uint32_t value_count;
    uint16_t *formats; /* of the columns, one each */
};

struct effect {
    const struct pg_server_statement *statement;
    int64_t key;
};

enum backend_phase { BACKEND_NEW, BACKEND_PASSWORD, BACKEND_SERVING, BACKEND_ENDED };

struct bytes {
    char *data;
    size_t len, room;
};

struct pg_backend {
    struct pg_server *server;
    enum backend_phase phase;
    uint32_t pid;
    char key[4];
    struct bytes in, out;
    size_t in_at;       /* taken from in */
    size_t released;    /* of out: may be sent */
    size_t said;        /* bytes ever taken from out */
    size_t die_at;      /* of all bytes of output; 0: never */
    bool stalled, unsynced, skipping, copying, failed, started;
    char status;        /* 'I', 'T', 'E' */
    uint64_t wake_ns;   /* sleeps until then; 0: it does not */
    const char *deferred; /* sqlstate that the commit fails with */
    const char *deferred_constraint;
    struct prepared prepared[PG_BACKEND_STATEMENTS_MAX];
    struct portal portal;
    struct effect effects[PG_BACKEND_EFFECTS_MAX];
    uint32_t effect_count;
    size_t row_at;      /* of out: the row that is being written */
    uint16_t row_fields;
    bool answer_failed;
};

/* pg_server.c */
[[gnu::format(printf, 2, 3)]] void server_complain(struct pg_backend *b, const char *format, ...);
void server_message(struct pg_backend *b, char type, const char *body, size_t len);
void server_perform(struct pg_backend *b); /* the portal, when its time has come */
void server_fail(struct pg_backend *b, const char *sqlstate, const char *message, const char *constraint,
                 const char *routine);
void server_portal_drop(struct portal *portal);
struct pg_server_shape server_shape(const struct pg_server_statement *statement, uint32_t version);

/* pg_server_say.c */
void bytes_add(struct bytes *bytes, const void *data, size_t len);
bool server_chance(struct pg_server *server, uint32_t one_in);

size_t say_begin(struct pg_backend *b, char type); /* returns where the message begins, for say_end */
void say_end(struct pg_backend *b, size_t at);
void say_bytes(struct pg_backend *b, const void *data, size_t len);
void say_text(struct pg_backend *b, const char *text); /* with its NUL */
void say_u32(struct pg_backend *b, uint32_t v);
void say_u16(struct pg_backend *b, uint16_t v);
void say_empty(struct pg_backend *b, char type);
void say_error(struct pg_backend *b, char type, const char *severity, const char *sqlstate, const char *message,
               const char *constraint, const char *routine);
void say_complete(struct pg_backend *b, const char *tag);
void say_complete_count(struct pg_backend *b, const char *tag, uint64_t count);
void say_ready(struct pg_backend *b);
void say_startup(struct pg_backend *b);
void say_columns(struct pg_backend *b, struct pg_server_shape shape, const uint16_t *formats);
void say_parameters(struct pg_backend *b, const struct pg_server_statement *statement);
void say_copy(struct pg_backend *b, char type);
void say_plain_row(struct pg_backend *b, uint32_t number);
void say_release(struct pg_backend *b); /* what was said may leave */
void say_noise(struct pg_backend *b);
void say_fatal(struct pg_backend *b, const char *sqlstate, const char *message);

#endif
