/* The doctor's own request: a whole server with one worker in this process, one client, one answer. */
#include "server/doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "server/crew.h"
#include "server/server.h"
#include "server/sockets.h"

enum { ANSWER_MS = 2000, DRAIN_MS = 300, CONNECTIONS = 16 };

#define NS_PER_MILLISECOND UINT64_C(1000000)

static enum rm_step answer(struct rm_exchange *x) {
    return rm_text(x, 200, "fine\n");
}

static const struct rm_route routes[] = { { .method = "GET", .path = "/", .handler = answer }, { 0 } };
static const struct rm_app app = { .name = "doctor", .routes = routes };

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * NS_PER_MILLISECOND + (uint64_t)now.tv_nsec;
}

/* --------------------------------------------------------------------------------------------------------- client ---- */

/* Reads until the end of the stream or until the answer is whole; false with `why`. */
static bool read_answer(int fd, char *why) {
    static const char whole[] = "\r\n\r\nfine\n";
    char text[1024];
    size_t len = 0;
    while (len < sizeof text - 1) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (n < 0 && errno == EINTR) {
            continue; /* what is left of the rings that were tried interrupts the thread that made them */
        }
        if (n <= 0) {
            snprintf(why, DOCTOR_TEXT_BYTES, "no answer: %s", n == 0 ? "the connection was closed" : strerror(errno));
            return false;
        }
        len += (size_t)n;
        text[len] = '\0';
        if (strncmp(text, "HTTP/1.1 200 ", 13) == 0 && strstr(text, whole) != NULL) {
            return true;
        }
    }
    snprintf(why, DOCTOR_TEXT_BYTES, "a wrong answer: %.40s", text);
    return false;
}

static bool ask(const struct ring_address *address, char *why) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: doctor\r\n\r\n";
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        snprintf(why, DOCTOR_TEXT_BYTES, "socket: %s", strerror(errno));
        return false;
    }
    struct timeval most = { .tv_sec = ANSWER_MS / 1000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    bool fine = connect(fd, (const struct sockaddr *)&address->storage, address->len) == 0 &&
                send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)sizeof request - 1;
    if (fine) {
        fine = read_answer(fd, why);
    } else {
        snprintf(why, DOCTOR_TEXT_BYTES, "cannot connect: %s", strerror(errno));
    }
    close(fd);
    return fine;
}

/* --------------------------------------------------------------------------------------------------------- server ---- */

/* Lets the crew go, asks, and brings it home. */
static void ask_crew(struct server *server, struct doctor_serving *out, uint64_t start_ns) {
    struct crew crew;
    int code = crew_start(&crew, server);
    if (code == EXIT_FINE) {
        crew_go(&crew);
        out->fine = ask(&server->places[0].address, out->why);
        out->first_ns = clock_ns() - start_ns;
        server_drain(server, server->config->workers);
    }
    code = crew_join(&crew);
    if (code != EXIT_FINE) {
        out->fine = false;
        snprintf(out->why, sizeof out->why, "%s", crew.why);
    }
}

static bool serve_at(const struct config *config, const char *address, struct doctor_serving *out) {
    static struct config own;
    static struct server server;
    own = *config;
    own.listen_count = 1;
    if (!ring_address_parse(span_text(address), &own.listen[0])) {
        return false;
    }
    uint64_t start_ns = clock_ns();
    struct sockets_held held;
    char why[CONFIG_WHY_BYTES] = "";
    if (server_open(&server, &own, &app, why) != EXIT_FINE) {
        snprintf(out->why, sizeof out->why, "%s", why);
        return false;
    }
    server.ring.helpers = ring_helpers_start(1);
    bool taken = server.ring.helpers != NULL && sockets_prepare(&server, &held, why) == EXIT_FINE;
    if (taken) {
        ask_crew(&server, out, start_ns);
        sockets_release_held(&held);
        sockets_release(&server);
    } else {
        snprintf(out->why, sizeof out->why, "%s", why);
    }
    if (server.ring.helpers != NULL) {
        ring_helpers_stop(server.ring.helpers);
    }
    server_release(&server);
    return taken;
}

/* Over loopback; where there is none, over a Unix socket. */
void doctor_try_serving(const struct config *config, enum ring_choice io, struct doctor_serving *out) {
    *out = (struct doctor_serving){ .compiled = ring_has_backend(io), .tried = true };
    if (!out->compiled) {
        return;
    }
    struct config small = *config;
    small.io = io;
    small.workers = 1;
    small.max_connections = CONNECTIONS;
    small.drain_timeout_ns = DRAIN_MS * NS_PER_MILLISECOND;
    small.drain_delay_ns = 0;
    small.access_log = NULL; /* it is no request of the application's */
    small.admin.len = 0;
    small.inherited.count = 0;
    small.db_on = false; /* nor are its statements here, of which `statements` is the count */
    small.statements = 0;
    if (serve_at(&small, "127.0.0.1:0", out)) {
        return;
    }
    char path[sizeof ((struct sockaddr_un *)NULL)->sun_path];
    snprintf(path, sizeof path, "unix:/tmp/ringmain-doctor-%d.sock", (int)getpid());
    (void)serve_at(&small, path, out);
}
