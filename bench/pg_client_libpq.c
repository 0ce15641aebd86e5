/* libpq's half of pg_client: one query at a time, and its pipeline mode. What it calls of the kernel is counted here, because
 * the dynamic linker finds these functions before libc's. */
#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pg_client.h"

enum { EXIT_UNAVAILABLE = 69 };

static uint64_t calls_made;

ssize_t recv(int fd, void *buffer, size_t n, int flags) {
    calls_made++;
    return syscall(SYS_recvfrom, fd, buffer, n, flags, NULL, NULL);
}

ssize_t send(int fd, const void *buffer, size_t n, int flags) {
    calls_made++;
    return syscall(SYS_sendto, fd, buffer, n, flags, NULL, 0);
}

int poll(struct pollfd *fds, nfds_t n, int timeout) {
    calls_made++;
    return (int)syscall(SYS_poll, fds, n, timeout);
}

static uint64_t calls_so_far(void *arg) {
    (void)arg;
    return calls_made;
}

/* A query in flight. */
struct ask {
    uint32_t id;
    bool fails;
};

/* A connection, and what is in flight on it: first in, first out. */
struct link {
    PGconn *conn;
    struct ask asks[PG_CLIENT_DEPTH_MAX];
    uint32_t head, count; /* of asks */
    uint32_t again;       /* of them, at the end: to be sent once more */
    bool synced;          /* batches: the Sync was sent and its answer did not come yet */
};

struct lib {
    struct pg_client_run *run;
    struct link links[PG_CLIENT_CONNECTIONS_MAX];
    bool broken;
};

static int give_up(const char *what, const PGconn *conn) {
    fprintf(stderr, "pg_client: %s: %s", what, PQerrorMessage(conn));
    return EXIT_UNAVAILABLE;
}

static bool prepare(PGconn *conn, const char *name, const char *sql) {
    static const Oid types[] = { PG_CLIENT_INT4 };
    PGresult *result = PQprepare(conn, name, sql, 1, types);
    bool fine = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    return fine;
}

static int connect_all(struct lib *lib) {
    const struct pg_client_options *o = lib->run->options;
    for (uint32_t i = 0; i < o->connections; i++) {
        PGconn *conn = lib->links[i].conn = PQconnectdb(o->url);
        if (PQstatus(conn) != CONNECTION_OK || !prepare(conn, "look", PG_CLIENT_SELECT) ||
            !prepare(conn, "fail", PG_CLIENT_FAIL)) {
            return give_up("connecting", conn);
        }
        lib->run->backends[i] = (uint32_t)PQbackendPID(conn);
        if (o->arm != ARM_LIBPQ && (PQsetnonblocking(conn, 1) != 0 || PQenterPipelineMode(conn) != 1)) {
            return give_up("pipeline mode", conn);
        }
    }
    pg_client_pin_backends(lib->run);
    return 0;
}

/* -------------------------------------------------------------------------------------------------------- answers ---- */

static void look_at(struct pg_client_run *run, const struct ask *ask, const PGresult *result) {
    if (ask->fails) {
        run->failed++;
        run->wrong += PQresultStatus(result) == PGRES_FATAL_ERROR ? 0 : 1;
        return;
    }
    uint32_t id = 0;
    bool right = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
                 PQnfields(result) == PG_CLIENT_COLUMNS && PQgetlength(result, 0, 0) == 4;
    if (right) {
        memcpy(&id, PQgetvalue(result, 0, 0), 4);
        for (int i = 0; i < PG_CLIENT_COLUMNS; i++) {
            run->bytes += (uint64_t)PQgetlength(result, 0, i);
        }
    }
    run->wrong += right && ntohl(id) == ask->id ? 0 : 1;
}

static const char *name_of(const struct ask *ask) {
    return ask->fails ? "fail" : "look";
}

static struct ask next_ask(struct pg_client_run *run) {
    struct ask ask;
    ask.id = pg_client_next_id(run, &ask.fails);
    return ask;
}

static int one_at_a_time(struct lib *lib) {
    static const int lengths[] = { 4 }, binary[] = { 1 };
    struct pg_client_run *run = lib->run;
    do {
        struct ask ask = next_ask(run);
        uint32_t wire = htonl(ask.id);
        const char *values[] = { (const char *)&wire };
        PGresult *result = PQexecPrepared(lib->links[0].conn, name_of(&ask), 1, values, lengths, binary, 1);
        look_at(run, &ask, result);
        PQclear(result);
    } while (pg_client_answered(run) && PQstatus(lib->links[0].conn) == CONNECTION_OK);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------- pipelines ---- */

static struct ask *ask_at(struct link *link, uint32_t i) {
    return &link->asks[(link->head + i) % PG_CLIENT_DEPTH_MAX];
}

static void send_ask(struct lib *lib, struct link *link, const struct ask *ask) {
    static const int lengths[] = { 4 }, binary[] = { 1 };
    uint32_t wire = htonl(ask->id);
    const char *values[] = { (const char *)&wire };
    lib->broken |= PQsendQueryPrepared(link->conn, name_of(ask), 1, values, lengths, binary, 1) != 1;
}

/* As many as the depth has room for: each with its Sync, or when all of the last batch are answered, with one for all. */
static void fill(struct lib *lib, struct link *link) {
    const struct pg_client_options *o = lib->run->options;
    bool each = o->arm == ARM_LIBPQ_EACH;
    if (lib->run->over || (!each && link->synced)) {
        return;
    }
    for (uint32_t i = link->count - link->again; i < link->count; i++) {
        send_ask(lib, link, ask_at(link, i));
    }
    link->again = 0;
    while (link->count < o->depth) {
        struct ask *ask = ask_at(link, link->count++);
        *ask = next_ask(lib->run);
        send_ask(lib, link, ask);
        if (each) {
            lib->broken |= PQpipelineSync(link->conn) != 1;
        }
    }
    if (!each) {
        lib->broken |= PQpipelineSync(link->conn) != 1;
        link->synced = true;
    }
}

static void answered(struct lib *lib, struct link *link, PGresult *result) {
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) {
        link->synced = false;
    } else if (link->count == link->again) {
        lib->broken = true; /* an answer to nothing */
    } else {
        struct ask ask = *ask_at(link, 0);
        link->head++;
        link->count--;
        if (status == PGRES_PIPELINE_ABORTED) {
            *ask_at(link, link->count++) = ask;
            link->again++;
            lib->run->again++;
        } else {
            look_at(lib->run, &ask, result);
            pg_client_answered(lib->run);
        }
    }
    PQclear(result);
}

static void take(struct lib *lib, struct link *link) {
    lib->broken |= PQconsumeInput(link->conn) != 1;
    uint32_t nothing = 0; /* a NULL ends each query's results; two in a row: there is none in flight */
    while (!lib->broken && nothing < 2 && !PQisBusy(link->conn)) {
        PGresult *result = PQgetResult(link->conn);
        nothing = result == NULL ? nothing + 1 : 0;
        if (result != NULL) {
            answered(lib, link, result);
        }
    }
}

static int pipelines(struct lib *lib) {
    uint32_t n = lib->run->options->connections;
    struct pollfd fds[PG_CLIENT_CONNECTIONS_MAX];
    while (!lib->run->over && !lib->broken) {
        for (uint32_t i = 0; i < n; i++) {
            fill(lib, &lib->links[i]);
            int unsent = PQflush(lib->links[i].conn);
            lib->broken |= unsent < 0;
            fds[i] = (struct pollfd){ PQsocket(lib->links[i].conn), (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN), 0 };
        }
        if (poll(fds, n, 10000) == 0) {
            fputs("pg_client: no answer for 10 s\n", stderr);
            return EXIT_UNAVAILABLE;
        }
        for (uint32_t i = 0; i < n; i++) {
            if (fds[i].revents != 0) {
                take(lib, &lib->links[i]);
            }
        }
    }
    return lib->broken ? give_up("pipeline", lib->links[0].conn) : 0;
}

int pg_client_libpq(struct pg_client_run *run) {
    static struct lib lib;
    lib.run = run;
    run->calls = calls_so_far;
    int failed = connect_all(&lib);
    if (failed == 0) {
        failed = run->options->arm == ARM_LIBPQ ? one_at_a_time(&lib) : pipelines(&lib);
    }
    for (uint32_t i = 0; i < run->options->connections; i++) {
        PQfinish(lib.links[i].conn);
    }
    return failed;
}
