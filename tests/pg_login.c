/* Logs in to a Postgres server with src/pg over a blocking socket, for tests/database_auth.py: where the server's side is real.
 *
 * usage: pg_login URL      the variables of libpq count, too
 *
 * Prints "in by none|password|md5|scram-sha-256", holds the connection until its standard input ends, and exits with 0. Else
 * "refused SQLSTATE: why" ("-": we refused) and 1, or "settings: why" and 2. */
#include <errno.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pg/pg_conn.h"
#include "pg/pg_crypto.h"

enum { INFLIGHT = 1, MESSAGE_BYTES = 65536, BLOCKS = 8, SECONDS = 60 };

static struct pg_settings settings;
static struct pg_shared shared;
static struct pg_statement statements[PG_INTERNAL_COUNT];
static struct pg_plan plans[PG_INTERNAL_COUNT];
static uint32_t at[PG_COLUMNS_MAX];
static char blocks[BLOCKS * BLOCK_BYTES] __attribute__((aligned(64)));

static const char *variable(const char *name) {
    return getenv(name);
}

static bool read_settings(const char *url, char *why) {
    const struct passwd *me = getpwuid(geteuid());
    pg_settings_default(&settings);
    return pg_settings_read(&settings, span_text(url), why) && pg_settings_environment(&settings, variable, why) &&
           pg_settings_finish(&settings, me != NULL ? me->pw_name : NULL, why);
}

static int open_unix(void) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool fits = pg_settings_socket(&settings, address.sun_path, sizeof address.sun_path);
    return fits && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

static int open_tcp(void) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    const char *host = settings.host_address[0] != '\0' ? settings.host_address : settings.host;
    char port[8];
    snprintf(port, sizeof port, "%u", settings.port);
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *info = found; info != NULL && fd < 0; info = info->ai_next) {
        fd = socket(info->ai_family, info->ai_socktype, 0);
        if (connect(fd, info->ai_addr, info->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static void make_shared(void) {
    pg_statements_internal(statements);
    shared = (struct pg_shared){ .settings = &settings, .statements = statements, .plans = plans,
                                 .statement_count = PG_INTERNAL_COUNT, .inflight = INFLIGHT, .message_bytes = MESSAGE_BYTES,
                                 .prepare = true, .at = at, .application_name = "pg_login" };
}

static bool send_all(int fd, struct chain *out) {
    while (out->bytes > 0) {
        struct iovec iov[BLOCKS];
        size_t bytes;
        uint32_t n = chain_iov(out, iov, BLOCKS, &bytes);
        ssize_t sent = writev(fd, iov, (int)n);
        if (sent <= 0) {
            return false;
        }
        chain_consume(out, (size_t)sent);
    }
    return true;
}

/* Hands the bytes to the connection until it is up or down. */
static enum pg_conn_event_type hand_over(struct pg_conn *conn, struct span input) {
    struct pg_conn_event event;
    for (;;) {
        pg_conn_next(conn, &input, &event);
        if (event.type == PG_CONN_JOB) {
            pg_crypto_run(&conn->auth.job);
            pg_conn_job_done(conn);
        } else if (event.type != PG_CONN_NOTICE) {
            return event.type;
        }
    }
}

static bool log_in(int fd, struct pg_conn *conn, struct chain *out) {
    uint8_t nonce[PG_NONCE_RANDOM_BYTES];
    enum pg_conn_event_type type = PG_CONN_MORE;
    bool fine = getrandom(nonce, sizeof nonce, 0) == sizeof nonce && pg_conn_start(conn, out, nonce);
    while (fine && type == PG_CONN_MORE) {
        char bytes[1000];
        fine = send_all(fd, out);
        ssize_t n = fine ? read(fd, bytes, sizeof bytes) : 0;
        if (n <= 0) {
            pg_conn_lost(conn, "the server has closed the connection");
            return false;
        }
        type = hand_over(conn, span_of(bytes, (size_t)n));
    }
    return type == PG_CONN_UP;
}

static const char *method_of(const struct pg_auth *auth) {
    return auth->method == PG_MAY_SCRAM ? "scram-sha-256"
           : auth->method == PG_MAY_MD5 ? "md5"
           : auth->method == PG_MAY_PASSWORD ? "password" : "none";
}

static int run(int fd) {
    static struct pg_conn conn;
    struct pool pool;
    struct chain out;
    char *carry = malloc(MESSAGE_BYTES);
    struct pg_slot *slots = calloc(pg_conn_slots(INFLIGHT), sizeof *slots);
    pool_init(&pool, "blocks", blocks, BLOCK_BYTES, BLOCKS);
    chain_init(&out, &pool);
    make_shared();
    pg_conn_init(&conn, &shared, slots, carry);
    bool in = log_in(fd, &conn, &out);
    if (in) {
        printf("in by %s\n", method_of(&conn.auth));
        fflush(stdout);
        while (getchar() != EOF) {
        }
    } else {
        printf("refused %s: %s\n", conn.sqlstate[0] != '\0' ? conn.sqlstate : "-", conn.why);
    }
    chain_reset(&out);
    free(slots);
    free(carry);
    return in ? 0 : 1;
}

int main(int argc, char **argv) {
    char why[PG_SETTINGS_WHY_BYTES];
    if (argc != 2) {
        fprintf(stderr, "usage: pg_login URL\n");
        return 64;
    }
    if (!read_settings(argv[1], why)) {
        printf("settings: %s\n", why);
        return 2;
    }
    alarm(SECONDS);
    int fd = pg_settings_is_folder(&settings) ? open_unix() : open_tcp();
    if (fd < 0) {
        printf("refused -: cannot connect: %s\n", strerror(errno));
        return 1;
    }
    int code = run(fd);
    close(fd);
    return code;
}
