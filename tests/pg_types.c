/* Random values of every type, sent as $1 to a real server and read back: pg_types HOST PORT USER DATABASE SEED ROUNDS. For each
 * it prints one line of JSON: {"v": our JSON, "j": the server's to_json, "t": its text, "is_null": ...}; types.py compares them.
 * That the value is the one that was sent is checked here. One blocking Unix socket, no ring. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mem/chain.h"
#include "pg/pg_json.h"
#include "pg/pg_params.h"
#include "pg/pg_pool.h"
#include "random.h"

enum { BLOCKS = 512, PARAMS_BYTES = 128 * 1024, TEXT_BYTES = 100 * 1024 };

struct type {
    const char *name;
    uint32_t oid;
};

static const struct type types[] = {
    { "bool", PG_BOOL }, { "int2", PG_INT2 }, { "int4", PG_INT4 }, { "int8", PG_INT8 }, { "float4", PG_FLOAT4 },
    { "float8", PG_FLOAT8 }, { "numeric", PG_NUMERIC }, { "text", PG_TEXT }, { "varchar", PG_VARCHAR }, { "bytea", PG_BYTEA },
    { "uuid", PG_UUID }, { "date", PG_DATE }, { "timestamp", PG_TIMESTAMP }, { "timestamptz", PG_TIMESTAMPTZ },
    { "json", PG_JSON }, { "jsonb", PG_JSONB },
};
enum { TYPES = sizeof types / sizeof *types, STATEMENTS = TYPES + PG_INTERNAL_COUNT };

static struct pg_statement statements[STATEMENTS];
static char sql[TYPES][200];
static _Alignas(64) char block_memory[BLOCKS * BLOCK_BYTES];
static char params[PARAMS_BYTES], text[TEXT_BYTES];
static struct pool blocks;
static struct pg_pool pool;
static struct chain out, line;
static struct pg_arg sent;
static uint32_t sent_type;
static bool done, up;
static int fd;

static void fail(const char *what) {
    fprintf(stderr, "pg_types: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ------------------------------------------------------------------------------------------------------- values ---- */

static uint64_t some_number(struct random *random) {
    uint64_t number = random_next(random) >> random_below(random, 64);
    return random_below(random, 2) == 0 ? number : 0 - number;
}

/* Characters of every length in UTF-8, and all that JSON escapes. */
static struct span some_text(struct random *random) {
    static const char *const pieces[] = { "a", "Z", " ", "\"", "\\", "/", "\n", "\t", "\x01", "\x1f", "\x7f", "\xc3\xbc",
                                          "\xe2\x82\xac", "\xf0\x9f\x98\x80", "{", "]", "0" };
    uint32_t most = random_below(random, 20) == 0 ? TEXT_BYTES / 4 - 1 : 60, n = random_below(random, most);
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *piece = pieces[random_below(random, sizeof pieces / sizeof *pieces)];
        memcpy(text + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return span_of(text, len);
}

static struct pg_arg of_text(const char *format, int64_t number, uint32_t fraction) {
    snprintf(text, sizeof text, format, (long long)number, fraction);
    return (struct pg_arg){ .kind = PG_ARG_TEXT, .bytes = span_text(text) };
}

static struct pg_arg of_int(int64_t number) {
    return (struct pg_arg){ .kind = PG_ARG_INT, .integer = number };
}

static struct pg_arg some_real(struct random *random, uint32_t oid) {
    double real = (double)(int64_t)some_number(random) / 1000;
    uint64_t bits = random_next(random);
    if (oid == PG_FLOAT8 && random_below(random, 2) == 0) {
        memcpy(&real, &bits, 8);
    }
    return (struct pg_arg){ .kind = PG_ARG_DOUBLE, .real = real };
}

static struct pg_arg some_value(struct random *random, uint32_t oid) {
    int64_t number = (int64_t)some_number(random);
    if (random_below(random, 12) == 0) {
        return (struct pg_arg){ .kind = PG_ARG_NULL };
    }
    switch (oid) {
    case PG_BOOL: return (struct pg_arg){ .kind = PG_ARG_BOOL, .boolean = (number & 1) != 0 };
    case PG_INT2: return of_int((int16_t)number);
    case PG_INT4: return of_int((int32_t)number);
    case PG_INT8: return of_int(number);
    case PG_FLOAT4: case PG_FLOAT8: return some_real(random, oid);
    case PG_NUMERIC: return random_below(random, 2) == 0 ? of_int(number) : of_text("%lld.%04u", number, 1234);
    case PG_DATE:
        number = (int64_t)(random_next(random) % UINT64_C(2147483494)) - 2440588;
        return of_int(random_below(random, 9) == 0 ? (number & 1 ? INT32_MAX : INT32_MIN)
                                                   : random_below(random, 2) == 0 ? number : number % 1500000);
    case PG_TIMESTAMP: case PG_TIMESTAMPTZ:
        number = (int64_t)(random_next(random) % UINT64_C(9434000000000000000) - UINT64_C(210866803200000000));
        return of_int(random_below(random, 9) == 0 ? (number & 1 ? INT64_MAX : INT64_MIN)
                                                   : random_below(random, 2) == 0 ? number : number / 100 % 100000000000000 * 100);
    case PG_UUID: case PG_BYTEA: {
        uint32_t len = oid == PG_UUID ? 16 : random_below(random, 100);
        for (uint32_t i = 0; i < len; i++) {
            text[i] = (char)random_next(random);
        }
        return (struct pg_arg){ .kind = PG_ARG_BYTES, .bytes = { text, len } };
    }
    case PG_JSON: case PG_JSONB: return of_text("{\"a\" : [%lld, null, \"\\u00fc\\n\"], \"b\":%u}", number, 7);
    default: return (struct pg_arg){ .kind = PG_ARG_TEXT, .bytes = some_text(random) };
    }
}

/* What came back is what was sent, as the getters see it. */
static bool same(const struct pg_row *row) {
    bool boolean = false;
    int64_t number = 0;
    int32_t days = 0;
    uint8_t uuid[16];
    struct span span;
    if (sent.kind == PG_ARG_NULL) {
        return pg_row_null(row, 0);
    }
    switch (sent_type) {
    case PG_BOOL: return pg_row_bool(row, 0, &boolean) && boolean == sent.boolean;
    case PG_INT2: case PG_INT4: case PG_INT8: return pg_row_int(row, 0, &number) && number == sent.integer;
    case PG_DATE: return pg_row_date(row, 0, &days) && days == sent.integer;
    case PG_TIMESTAMP: case PG_TIMESTAMPTZ: return pg_row_timestamp(row, 0, &number) && number == sent.integer;
    case PG_UUID: return pg_row_uuid(row, 0, uuid) && memcmp(uuid, sent.bytes.data, 16) == 0;
    case PG_BYTEA: return pg_row_bytes(row, 0, &span) && span_equal(span, sent.bytes);
    case PG_TEXT: case PG_VARCHAR: case PG_JSON: return pg_row_text(row, 0, &span) && span_equal(span, sent.bytes);
    case PG_JSONB: return pg_row_json(row, 0, &span);
    case PG_FLOAT8: return pg_row_text(row, 0, &span) && (strtod(span.data, NULL) == sent.real || sent.real != sent.real);
    case PG_FLOAT4: return pg_row_text(row, 0, &span) && strtof(span.data, NULL) == (float)sent.real;
    default: return pg_row_text(row, 0, &span); /* numeric: the texts are compared */
    }
}

/* ---------------------------------------------------------------------------------------------------- the server ---- */

static void print_line(void) {
    struct iovec iov[BLOCKS];
    size_t sum;
    uint32_t n = chain_iov(&line, iov, BLOCKS, &sum);
    for (uint32_t i = 0; i < n; i++) {
        fwrite(iov[i].iov_base, 1, iov[i].iov_len, stdout);
    }
    putchar('\n');
    chain_reset(&line);
}

static void take(const struct pg_event *event) {
    switch (event->type) {
    case PG_EVENT_ROW:
        if (!same(&event->row)) {
            fail("a value came back as another one");
        }
        if (pg_json_row(&line, &event->row) != PG_JSON_OK) {
            fail("a row can't be written");
        }
        break;
    case PG_EVENT_DONE:
        done = true;
        if (event->query->status != PG_OK) {
            fail(event->query->message);
        }
        break;
    case PG_EVENT_UP: up = true; break;
    case PG_EVENT_CONNECT: {
        static const uint8_t nonce[PG_NONCE_RANDOM_BYTES];
        pg_pool_connected(&pool, event->conn, &out, nonce);
        break;
    }
    case PG_EVENT_NONE: case PG_EVENT_NOTICE: break;
    case PG_EVENT_JOB: case PG_EVENT_CLOSE: case PG_EVENT_CANCEL: case PG_EVENT_DOWN: fail("the connection"); break;
    }
}

static void drain(void) {
    struct pg_event event;
    while (pg_pool_next(&pool, &event)) {
        take(&event);
    }
}

static void send_all(void) {
    struct iovec iov[64];
    size_t sum;
    while (out.bytes > 0) {
        ssize_t n = writev(fd, iov, (int)chain_iov(&out, iov, 64, &sum));
        if (n <= 0) {
            fail("writing");
        }
        chain_consume(&out, (size_t)n);
    }
}

/* One exchange of bytes. */
static void turn(void) {
    static char input[65536];
    pg_pool_flush(&pool);
    drain();
    send_all();
    if (done) {
        return;
    }
    ssize_t n = read(fd, input, sizeof input);
    if (n <= 0) {
        fail("reading");
    }
    pg_pool_input(&pool, 0, span_of(input, (size_t)n));
    drain();
}

static void open_socket(const char *folder, const char *port) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.%s", folder, port);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fail(address.sun_path);
    }
}

static void open_pool(const struct pg_settings *settings) {
    for (uint32_t i = 0; i < TYPES; i++) {
        snprintf(sql[i], sizeof sql[i], "SELECT $1 AS v, to_json($1) AS j, $1::text AS t, '%s' AS \"type.name\"", types[i].name);
        statements[i] = (struct pg_statement){ .label = span_text(types[i].name), .sql = span_text(sql[i]),
                                               .types = &types[i].oid, .type_count = 1, .nested = true };
        pg_statement_make(&statements[i]);
    }
    pg_statements_internal(statements + TYPES);
    struct pg_config config = { .settings = settings, .statements = statements, .statement_count = STATEMENTS, .seed = 1 };
    pg_config_default(&config);
    config.connections = 1;
    size_t bytes = (pg_pool_bytes(&config) + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes);
    if (memory == NULL) {
        fail("memory");
    }
    memset(memory, 0, bytes);
    pg_pool_init(&pool, &config, memory, 1);
    drain();
    while (!up) {
        turn();
    }
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fputs("usage: pg_types HOST PORT USER DATABASE SEED ROUNDS\n", stderr);
        return 2;
    }
    static struct pg_settings settings;
    pg_settings_default(&settings);
    snprintf(settings.user, sizeof settings.user, "%s", argv[3]);
    snprintf(settings.name, sizeof settings.name, "%s", argv[4]);
    snprintf(settings.options, sizeof settings.options, "-c TimeZone=UTC");
    pool_init(&blocks, "blocks", block_memory, BLOCK_BYTES, BLOCKS);
    chain_init(&out, &blocks);
    chain_init(&line, &blocks);
    open_socket(argv[1], argv[2]);
    open_pool(&settings);
    struct random random = { strtoull(argv[5], NULL, 0) };
    for (long round = strtol(argv[6], NULL, 10); round > 0; round--) {
        uint32_t i = random_below(&random, TYPES);
        size_t bytes = 0;
        sent_type = types[i].oid;
        sent = some_value(&random, sent_type);
        if (pg_params_check(&statements[i], &sent, 1, &bytes) != PG_PARAMS_OK || bytes > sizeof params) {
            continue; /* a timestamp may be out of its range */
        }
        pg_params_encode(params, &statements[i], &sent, 1);
        struct pg_query query = { .params = span_of(params, bytes), .deadline_ns = UINT64_MAX, .statement = (uint16_t)i };
        done = false;
        pg_pool_submit(&pool, &query);
        while (!done) {
            turn();
        }
        print_line();
    }
    return 0;
}
