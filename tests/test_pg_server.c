/* The server that other tests rely on: what it says to what it is sent, and that it notices what is not well-formed. */
#include <stdio.h>

#include "pg_server.h"
#include "rows.h"

static const struct pg_server_column columns[] = { { "id", 23 }, { "name", 25 } };
static const struct pg_server_column wide[] = { { "id", 20 } };
static const struct pg_server_shape shapes[] = { { columns, 1 }, { wide, 1 } };
static const uint32_t types[] = { 23 };
static struct pg_server_statement statements[] = {
    { .sql = "one", .columns = columns, .column_count = 2, .types = types, .type_count = 1, .rows = 1, .write = true },
    { .sql = "error", .what = PG_DO_ERROR, .sqlstate = "22012" },
    { .sql = "late", .what = PG_DO_DEFERRED, .sqlstate = "23503", .tag = "INSERT 0", .counted = true, .write = true },
    { .sql = "sleep", .sleep_ns = 1000 },
    { .sql = "begin", .what = PG_DO_BEGIN },
    { .sql = "commit", .what = PG_DO_COMMIT },
    { .sql = "rollback", .what = PG_DO_ROLLBACK },
    { .sql = "copy", .what = PG_DO_COPY_IN },
    { .sql = "shape", .shapes = shapes, .shape_count = 2, .types = types, .type_count = 1, .rows = 1 },
};

/* Input: words. "P:sql" is Parse of the statement "sql" with that name, "B:sql" Bind without parameters, "B1:sql" with the
 * int4 7, binary, and binary results, "D:sql", "C:sql", "E", "S", "H", "X", "f"; "U" is StartupMessage. '!' ends the sleep,
 * '?' is a DISCARD ALL, 'A' an ALTER TABLE; 'x' is a message of another type, 'y' a Sync with a body. "+7" in the output: 7
 * was committed, and what is behind it came out then. */
struct row {
    const char *name, *sends, *says;
    bool faulty;
};

static const struct row rows[] = {
    { .name = "startup", .sends = "U", .says = "R SSS K Z(I)" },
    { .name = "a query", .sends = "U P:one B1:one E S", .says = "R SSS K Z(I) +7 1 2 D C(SELECT 1) Z(I)" },
    { .name = "describe", .sends = "U P:one D:one S P:begin D:begin S", .says = "R SSS K Z(I) 1 t T Z(I) 1 t n Z(I)" },
    { .name = "nothing leaves before Sync", .sends = "U P:one B1:one E", .says = "R SSS K Z(I)" },
    { .name = "Flush lets it leave", .sends = "U P:one H", .says = "R SSS K Z(I) 1" },
    { .name = "an error skips to Sync", .sends = "U P:error B:error E P:one B1:one E S P:one B1:one E S",
      .says = "R SSS K Z(I) 1 2 E(22012) Z(I) +7 1 2 D C(SELECT 1) Z(I)" },
    { .name = "an error rolls its Sync back", .sends = "U P:one B1:one E P:error B:error E S",
      .says = "R SSS K Z(I) 1 2 D C(SELECT 1) 1 2 E(22012) Z(I)" },
    { .name = "deferred, at Sync", .sends = "U P:late B:late E S", .says = "R SSS K Z(I) 1 2 C(INSERT 0 1) E(23503) Z(I)" },
    { .name = "a transaction", .sends = "U P:begin B:begin E P:one B1:one E S P:commit B:commit E S",
      .says = "R SSS K Z(I) 1 2 C(BEGIN) 1 2 D C(SELECT 1) Z(T) +7 1 2 C(COMMIT) Z(I)" },
    { .name = "a failed transaction", .sends = "U P:begin B:begin E S P:one S P:error B:error E S B1:one E S P:commit S B:commit S",
      .says = "R SSS K Z(I) 1 2 C(BEGIN) Z(T) 1 Z(T) 1 2 E(22012) Z(E) E(25P02) Z(E) 1 Z(E) 2 Z(E)" },
    { .name = "commit of a failed one", .sends = "U P:begin B:begin E S P:error B:error E S P:commit B:commit E S",
      .says = "R SSS K Z(I) 1 2 C(BEGIN) Z(T) 1 2 E(22012) Z(E) 1 2 C(ROLLBACK) Z(I)" },
    { .name = "a rollback", .sends = "U P:begin B:begin E P:one B1:one E S P:rollback B:rollback E S",
      .says = "R SSS K Z(I) 1 2 C(BEGIN) 1 2 D C(SELECT 1) Z(T) 1 2 C(ROLLBACK) Z(I)" },
    { .name = "deferred, at COMMIT", .sends = "U P:begin B:begin E P:late B:late E S P:commit B:commit E S",
      .says = "R SSS K Z(I) 1 2 C(BEGIN) 1 2 C(INSERT 0 1) Z(T) 1 2 E(23503) Z(I)" },
    { .name = "sleep", .sends = "U P:sleep B:sleep E S P:one S", .says = "R SSS K Z(I)" },
    { .name = "awake", .sends = "U P:sleep B:sleep E S P:one S !", .says = "R SSS K Z(I) 1 2 C(SELECT 1) Z(I) 1 Z(I)" },
    { .name = "prepared twice", .sends = "U P:one P:one S", .says = "R SSS K Z(I) 1 E(42P05) Z(I)" },
    { .name = "never prepared", .sends = "U B1:one S", .says = "R SSS K Z(I) E(26000) Z(I)" },
    { .name = "forgotten", .sends = "U P:one S ? B1:one S", .says = "R SSS K Z(I) 1 Z(I) E(26000) Z(I)" },
    { .name = "altered", .sends = "U P:one S A B1:one S", .says = "R SSS K Z(I) 1 Z(I) E(0A000) Z(I)" },
    { .name = "altered, and described", .sends = "U P:shape S A D:shape S", .says = "R SSS K Z(I) 1 Z(I) t E(0A000) Z(I)" },
    { .name = "altered, and altered back", .sends = "U P:shape S A A D:shape B1:shape E S",
      .says = "R SSS K Z(I) 1 Z(I) t T 2 D C(SELECT 1) Z(I)" },
    { .name = "closed and prepared anew", .sends = "U P:one C:one P:one S", .says = "R SSS K Z(I) 1 3 1 Z(I)" },
    { .name = "copy swallows Sync", .sends = "U P:copy B:copy E S", .says = "R SSS K Z(I) 1 2 G" },
    { .name = "copy fails", .sends = "U P:copy B:copy E S f S", .says = "R SSS K Z(I) 1 2 G E(57014) Z(I)" },
    { .name = "unknown", .sends = "U P:what S", .says = "R SSS K Z(I) E(42601) Z(I)" },
    { .name = "the end", .sends = "U X", .says = "R SSS K Z(I) ." },
    { .name = "an unknown type", .sends = "U x", .says = "R SSS K Z(I) .", .faulty = true },
    { .name = "Sync with a body", .sends = "U y", .says = "R SSS K Z(I) .", .faulty = true },
    { .name = "too few parameters", .sends = "U P:one B:one", .says = "R SSS K Z(I) .", .faulty = true },
    { .name = "no startup", .sends = "S S", .says = ".", .faulty = true },
};

struct drive {
    struct pg_server server;
    struct pg_backend *backend;
    char said[512];
    size_t len;
};

static void note(struct drive *d, const char *what) {
    d->len += (size_t)snprintf(d->said + d->len, sizeof d->said - d->len, "%s%s", d->len > 0 ? " " : "", what);
}

static void committed(void *arg, const struct pg_server_statement *statement, int64_t key) {
    struct drive *d = arg;
    char text[32];
    (void)statement;
    snprintf(text, sizeof text, "+%d", (int)key);
    note(d, text);
}

static void packet(struct drive *d, char type, const char *body, size_t len, size_t piece) {
    char bytes[256] = { type, 0, 0, 0, (char)(len + 4) };
    memcpy(bytes + 5, body, len);
    for (size_t at = 0; at < len + 5; at += piece) {
        size_t n = len + 5 - at < piece ? len + 5 - at : piece;
        pg_backend_input(d->backend, span_of(bytes + at, n));
    }
}

static void word(struct drive *d, const char *w, size_t piece) {
    static const char start[] = "\0\0\0\x11\0\3\0\0user\0me\0";
    char body[128] = "";
    const char *name = strchr(w, ':') != NULL ? strchr(w, ':') + 1 : "";
    size_t n = strlen(name);
    switch (w[0]) {
    case 'U': pg_backend_input(d->backend, span_of(start, 17)); break;
    case 'P':
        memcpy(body, name, n), memcpy(body + n + 1, name, n);
        packet(d, 'P', body, 2 * n + 4, piece);
        break;
    case 'B':
        memcpy(body + 1, name, n);
        if (w[1] == '1') {
            memcpy(body + n + 2, "\0\1\0\1\0\1\0\0\0\4\0\0\0\7\0\1\0\1", 18);
        }
        packet(d, 'B', body, n + 2 + (w[1] == '1' ? 18 : 6), piece);
        break;
    case 'D':
    case 'C':
        body[0] = 'S', memcpy(body + 1, name, n);
        packet(d, w[0], body, n + 2, piece);
        break;
    case 'E': packet(d, 'E', body, 5, piece); break;
    case 'f': packet(d, 'f', body, 1, piece); break;
    case 'y': packet(d, 'S', body, 1, piece); break;
    case '!': pg_server_turn(&d->server, 2000); break;
    case '?': pg_backend_discard(d->backend); break;
    case 'A':
        for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
            statements[i].version++;
        }
        break;
    default: packet(d, w[0], body, 0, piece); break;
    }
}

/* One letter for each message; what is told of it in parentheses. */
static void listen(struct drive *d) {
    struct span out = pg_backend_output(d->backend);
    size_t at = 0;
    while (at < out.len) {
        const unsigned char *p = (const unsigned char *)out.data + at;
        uint32_t len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
        assert_true(at + len + 1 <= out.len);
        char text[64];
        const char *code = memchr(p + 5, 'C', len - 4);
        snprintf(text, sizeof text, p[0] == 'Z' || p[0] == 'C' || p[0] == 'E' ? "%c(%s)" : "%c", p[0],
                 p[0] == 'Z' ? (char[]){ (char)p[5], 0 } : p[0] == 'E' ? code + 1 : (const char *)p + 5);
        if (p[0] == 'S' && d->len > 0 && d->said[d->len - 1] == 'S') {
            d->len += (size_t)snprintf(d->said + d->len, sizeof d->said - d->len, "S");
        } else {
            note(d, text);
        }
        at += len + 1;
    }
    pg_backend_sent(d->backend, out.len);
    if (pg_backend_over(d->backend)) {
        note(d, ".");
    }
}

static void check_pieces(const struct row *row, size_t piece) {
    static struct drive d;
    d = (struct drive){ 0 };
    pg_server_init(&d.server, statements, sizeof statements / sizeof *statements, 1);
    d.server.arg = &d, d.server.committed = committed, d.server.no_run_on = true;
    d.backend = pg_server_accept(&d.server);
    for (const char *at = row->sends; *at != '\0';) {
        char w[32];
        size_t n = strcspn(at, " ");
        snprintf(w, sizeof w, "%.*s", (int)n, at);
        word(&d, w, piece);
        listen(&d);
        at += n + (at[n] == ' ');
    }
    assert_string_equal(d.said, row->says);
    assert_int_equal(d.server.fault[0] != '\0', row->faulty);
    pg_server_release(&d.server);
}

static void check(void **state) {
    check_pieces(*state, SIZE_MAX / 2);
    check_pieces(*state, 1);
}

/* A CancelRequest hits who runs, and nobody else. */
static void cancel(void **state) {
    static struct drive d;
    (void)state;
    d = (struct drive){ 0 };
    pg_server_init(&d.server, statements, sizeof statements / sizeof *statements, 1);
    d.backend = pg_server_accept(&d.server);
    word(&d, "U", 100);
    struct span out = pg_backend_output(d.backend);
    const char *key = memmem(out.data, out.len, "K\0\0\0\14", 5);
    assert_non_null(key);
    char request[16] = "\0\0\0\x10\x04\xd2\x16\x2e";
    memcpy(request + 8, key + 5, 8);
    listen(&d);
    for (int i = 0; i < 2; i++) { /* idle, and busy */
        struct pg_backend *other = pg_server_accept(&d.server);
        pg_backend_input(other, span_of(request, sizeof request));
        assert_true(pg_backend_over(other));
        pg_backend_close(other);
        if (i == 0) {
            word(&d, "P:sleep", 100), word(&d, "B:sleep", 100), word(&d, "E", 100), word(&d, "S", 100);
        }
    }
    listen(&d);
    assert_string_equal(d.said, "R SSS K Z(I) 1 2 E(57014) Z(I)");
    assert_int_equal(d.server.cancels, 2);
    assert_int_equal(d.server.cancelled, 1);
    pg_server_release(&d.server);
}

/* The connection ends at a byte of its output; 57P01 comes while it is idle. */
static void ends(void **state) {
    static struct drive d;
    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        d = (struct drive){ 0 };
        pg_server_init(&d.server, statements, sizeof statements / sizeof *statements, i);
        d.server.chances.die = 1, d.server.chances.die_bytes = 100;
        d.backend = pg_server_accept(&d.server);
        word(&d, "U", 100);
        assert_true(pg_backend_output(d.backend).len < 101);
        pg_backend_sent(d.backend, pg_backend_output(d.backend).len);
        assert_true(pg_backend_over(d.backend));
        pg_server_release(&d.server);
    }
    d = (struct drive){ 0 };
    pg_server_init(&d.server, statements, sizeof statements / sizeof *statements, 1);
    d.backend = pg_server_accept(&d.server);
    word(&d, "U", 100);
    pg_backend_terminate(d.backend, "57P01");
    listen(&d);
    assert_string_equal(d.said, "R SSS K Z(I) E(57P01) .");
    pg_server_release(&d.server);
}

int main(void) {
    static struct rows all;
    ROWS_ADD(&all, check, rows);
    ROWS_TEST(&all, cancel);
    ROWS_TEST(&all, ends);
    return rows_run("pg_server", &all);
}
