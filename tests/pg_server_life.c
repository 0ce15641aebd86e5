/* The connections of the server of the tests, from accept to close. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pg_server_priv.h"

enum {
    VERSION_3_0 = 196608,
    CANCEL_CODE = 80877102,
    STARTUP_BYTES_MAX = 10000,
    MESSAGE_BYTES_MAX = 64 << 20,
    COMPACT_BYTES = 16384,
};

static uint32_t get_u32(const char *text) {
    const unsigned char *p = (const unsigned char *)text;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* -------------------------------------------------------------------------------------------------------- startup ---- */

static uint32_t sessions(const struct pg_server *server) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        const struct pg_backend *b = server->backends[i];
        n += b != NULL && b->phase != BACKEND_NEW && b->phase != BACKEND_ENDED;
    }
    return n;
}

static void refuse(struct pg_backend *b, const char *sqlstate) {
    b->server->refused++;
    say_fatal(b, sqlstate, "refused");
}

/* Pairs of texts, `user` among them, and a NUL at the very end. */
static bool startup_is_right(const char *p, const char *end) {
    bool user = false;
    while (p < end && *p != '\0') {
        const char *value = memchr(p, 0, (size_t)(end - p));
        const char *next = value == NULL ? NULL : memchr(value + 1, 0, (size_t)(end - value - 1));
        if (next == NULL) {
            return false;
        }
        user = user || (strcmp(p, "user") == 0 && next > value + 1);
        p = next + 1;
    }
    return user && p + 1 == end;
}

static void startup(struct pg_backend *b, const char *body, size_t len) {
    struct pg_server *server = b->server;
    if (!startup_is_right(body, body + len)) {
        server_complain(b, "a malformed StartupMessage");
        return;
    }
    uint32_t most = server->connections_max != 0 ? server->connections_max : PG_BACKENDS_MAX;
    if (server->refuse_sqlstate != NULL) {
        refuse(b, server->refuse_sqlstate);
    } else if (sessions(server) >= most) {
        refuse(b, "53300");
    } else if (server_chance(server, server->chances.refuse)) {
        refuse(b, "57P03");
    } else if (server->password != NULL) {
        size_t at = say_begin(b, 'R');
        say_u32(b, server->md5 ? 5 : 3);
        if (server->md5) {
            say_u32(b, 0x73616c74);
        }
        say_end(b, at);
        say_release(b);
        b->phase = BACKEND_PASSWORD;
    } else {
        b->phase = BACKEND_SERVING;
        say_startup(b);
    }
}

static void cancel(struct pg_backend *b, const char *body, size_t len) {
    struct pg_server *server = b->server;
    if (len != 8) {
        server_complain(b, "a CancelRequest of %zu bytes", len);
        return;
    }
    server->cancels++;
    b->phase = BACKEND_ENDED;
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        struct pg_backend *victim = server->backends[i];
        if (victim == NULL || victim->pid != get_u32(body) || memcmp(victim->key, body + 4, sizeof victim->key) != 0) {
            continue;
        }
        if (victim->wake_ns != 0 && victim->phase == BACKEND_SERVING) {
            server->cancelled++;
            server_fail(victim, "57014", "canceling statement due to user request", NULL, "ProcessInterrupts");
            pg_backend_input(victim, SPAN(""));
        }
        return;
    }
}

/* A packet without a type. False: it is not whole yet. */
static bool first_packet(struct pg_backend *b, const char *p, size_t n) {
    if (n < 8) {
        return false;
    }
    uint32_t len = get_u32(p), code = get_u32(p + 4);
    if (len < 8 || len > STARTUP_BYTES_MAX) {
        server_complain(b, "a first packet of %u bytes", len);
        return false;
    }
    if (n < len) {
        return false;
    }
    b->in_at += len;
    if (code == CANCEL_CODE) {
        cancel(b, p + 8, len - 8);
    } else if (code == VERSION_3_0) {
        startup(b, p + 8, len - 8);
    } else {
        server_complain(b, "a first packet with the code %u", code);
    }
    return true;
}

static void password(struct pg_backend *b, const char *body, size_t len) {
    if (len == 0 || body[len - 1] != '\0') {
        server_complain(b, "a malformed password");
    } else if (strcmp(body, b->server->password) != 0) {
        refuse(b, "28P01");
    } else {
        b->phase = BACKEND_SERVING;
        say_startup(b);
    }
}

/* --------------------------------------------------------------------------------------------------------- input ---- */

/* One packet. False: it is not whole yet. */
static bool step(struct pg_backend *b) {
    const char *p = b->in.data + b->in_at;
    size_t n = b->in.len - b->in_at;
    if (b->phase == BACKEND_NEW) {
        return first_packet(b, p, n);
    }
    if (n < 5) {
        return false;
    }
    uint32_t len = get_u32(p + 1);
    if (len < 4 || len > MESSAGE_BYTES_MAX) {
        server_complain(b, "a message of %u bytes", len);
        return false;
    }
    if (n < (size_t)len + 1) {
        return false;
    }
    b->in_at += (size_t)len + 1;
    if (b->phase == BACKEND_SERVING) {
        server_message(b, *p, p + 5, len - 4);
    } else if (*p == 'p') {
        password(b, p + 5, len - 4);
    } else if (*p == 'X') {
        b->phase = BACKEND_ENDED;
    } else {
        server_complain(b, "a message of the type %d instead of a password", *p);
    }
    return true;
}

static void run(struct pg_backend *b) {
    while (b->phase != BACKEND_ENDED && !b->stalled && b->wake_ns == 0 && b->in_at < b->in.len && step(b)) {
    }
    if (b->in_at == b->in.len) {
        b->in_at = b->in.len = 0;
    }
}

void pg_backend_input(struct pg_backend *b, struct span bytes) {
    if (b->phase == BACKEND_ENDED) {
        return;
    }
    if (b->in_at > COMPACT_BYTES) {
        memmove(b->in.data, b->in.data + b->in_at, b->in.len - b->in_at);
        b->in.len -= b->in_at;
        b->in_at = 0;
    }
    bytes_add(&b->in, bytes.data, bytes.len);
    run(b);
}

static void wake(struct pg_backend *b) {
    b->wake_ns = 0;
    server_perform(b);
    run(b);
}

void pg_server_turn(struct pg_server *server, uint64_t now_ns) {
    server->now_ns = now_ns;
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        struct pg_backend *b = server->backends[i];
        while (b != NULL && b->phase != BACKEND_ENDED && !b->stalled && b->wake_ns != 0 && b->wake_ns <= now_ns) {
            wake(b);
        }
    }
}

uint64_t pg_server_deadline(const struct pg_server *server) {
    uint64_t first = 0;
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        const struct pg_backend *b = server->backends[i];
        if (b != NULL && b->phase != BACKEND_ENDED && !b->stalled && b->wake_ns != 0 && (first == 0 || b->wake_ns < first)) {
            first = b->wake_ns;
        }
    }
    return first;
}

/* -------------------------------------------------------------------------------------------------------- output ---- */

struct span pg_backend_output(struct pg_backend *b) {
    return b->released == 0 ? SPAN("") : span_of(b->out.data, b->released);
}

void pg_backend_sent(struct pg_backend *b, size_t n) {
    assert(n <= b->released);
    if (n == 0) {
        return;
    }
    memmove(b->out.data, b->out.data + n, b->out.len - n);
    b->out.len -= n;
    b->released -= n;
    b->said += n;
}

bool pg_backend_over(const struct pg_backend *b) {
    return b->phase == BACKEND_ENDED && b->released == 0;
}

/* --------------------------------------------------------------------------------------------------------- by hand ---- */

void pg_backend_terminate(struct pg_backend *b, const char *sqlstate) {
    if (b->phase != BACKEND_ENDED) {
        say_fatal(b, sqlstate, "terminating connection");
    }
}

void pg_backend_die(struct pg_backend *b) {
    b->phase = BACKEND_ENDED;
    b->out.len = b->released;
}

void pg_backend_stall(struct pg_backend *b, bool stalled) {
    b->stalled = stalled;
    if (!stalled) {
        run(b);
    }
}

bool pg_backend_busy(const struct pg_backend *b) {
    return b->phase != BACKEND_ENDED && (b->wake_ns != 0 || b->in_at < b->in.len);
}

bool pg_backend_unsynced(const struct pg_backend *b) {
    return b->phase == BACKEND_SERVING && !b->stalled && b->wake_ns == 0 && b->unsynced;
}

uint32_t pg_backend_pid(const struct pg_backend *b) {
    return b->pid;
}

char pg_backend_status(const struct pg_backend *b) {
    return b->status;
}

bool pg_backend_started(const struct pg_backend *b) {
    return b->started;
}

/* ------------------------------------------------------------------------------------------------- life and death ---- */

void pg_server_init(struct pg_server *server, struct pg_server_statement *statements, uint32_t count, uint64_t seed) {
    *server = (struct pg_server){
        .statements = statements, .statement_count = count, .random = { seed }, .next_pid = 1000,
    };
}

struct pg_backend *pg_server_accept(struct pg_server *server) {
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        if (server->backends[i] != NULL) {
            continue;
        }
        struct pg_backend *b = calloc(1, sizeof *b);
        assert(b != NULL);
        b->server = server;
        b->pid = server->next_pid++;
        b->status = 'I';
        uint64_t key = random_next(&server->random);
        memcpy(b->key, &key, sizeof b->key);
        if (server_chance(server, server->chances.die)) {
            b->die_at = 1 + random_below(&server->random, server->chances.die_bytes);
        }
        server->backends[i] = b;
        return b;
    }
    return NULL;
}

/* A server notices that its client has gone when it reads or writes: what had arrived is run before that. */
static void run_on(struct pg_backend *b) {
    b->stalled = false;
    run(b);
    while (b->phase == BACKEND_SERVING && b->wake_ns != 0) {
        wake(b);
    }
}

void pg_backend_close(struct pg_backend *b) {
    struct pg_server *server = b->server;
    if (!server->no_run_on && b->phase == BACKEND_SERVING) {
        run_on(b);
    }
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        if (server->backends[i] == b) {
            server->backends[i] = NULL;
        }
    }
    server->terminated++;
    server_portal_drop(&b->portal);
    free(b->in.data);
    free(b->out.data);
    free(b);
}

void pg_server_release(struct pg_server *server) {
    for (uint32_t i = 0; i < PG_BACKENDS_MAX; i++) {
        if (server->backends[i] != NULL) {
            pg_backend_close(server->backends[i]);
        }
    }
}
