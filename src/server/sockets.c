#include "server/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mem/assert.h"

static int unavailable(const struct ring_address *address, const char *what, char *why) {
    char text[RING_ADDRESS_BYTES];
    int error = errno;
    const char *advice = error == EADDRINUSE      ? "; another process listens there, choose another --listen"
                         : error == EACCES        ? "; ports below 1024 need CAP_NET_BIND_SERVICE"
                         : error == EADDRNOTAVAIL ? "; this machine has no such address"
                                                  : "";
    snprintf(why, CONFIG_WHY_BYTES, "cannot listen on %s: %s%s%s%s", ring_address_text(address, text), what,
             *what != '\0' ? ": " : "", strerror(error), advice);
    return EXIT_UNAVAILABLE;
}

static bool any_port(const struct ring_address *address) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address->storage;
    return address->storage.ss_family == AF_INET    ? v4->sin_port == 0
           : address->storage.ss_family == AF_INET6 ? v6->sin6_port == 0
                                                    : false;
}

static int bind_socket(const struct ring_address *address, int option) {
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, option, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address->storage, address->len) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Is anybody there? SO_REUSEADDR forgives connections of a former process that linger in TIME_WAIT. */
static int try_port(const struct ring_address *address, char *why) {
    int fd = bind_socket(address, SO_REUSEADDR);
    if (fd < 0) {
        return unavailable(address, "", why);
    }
    close(fd);
    return EXIT_FINE;
}

/* Takes a free port and keeps it: bound but not listening, it gets no connections. */
static int find_port(struct ring_address *address, struct sockets_held *held, char *why) {
    int fd = bind_socket(address, SO_REUSEPORT);
    if (fd < 0) {
        return unavailable(address, "", why);
    }
    held->fds[held->count++] = fd;
    address->len = sizeof address->storage;
    if (getsockname(fd, (struct sockaddr *)&address->storage, &address->len) != 0) {
        return unavailable(address, "getsockname", why);
    }
    return EXIT_FINE;
}

/* True when the path is a socket that nobody listens on any more. */
static bool stale(const struct ring_address *address, const char *path) {
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    bool refused = connect(fd, (const struct sockaddr *)&address->storage, address->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int open_unix(const struct ring_address *address, int *out, char *why) {
    const struct sockaddr_un *name = (const struct sockaddr_un *)(const void *)&address->storage;
    if (stale(address, name->sun_path)) {
        unlink(name->sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return unavailable(address, "", why);
    }
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) != 0 || listen(fd, 4096) != 0) {
        int code = unavailable(address, "", why);
        close(fd);
        return code;
    }
    *out = fd;
    return EXIT_FINE;
}

int sockets_prepare(struct server *server, struct sockets_held *held, char *why) {
    *held = (struct sockets_held){ .count = 0 };
    for (uint32_t i = 0; i < server->config->listen_count; i++) {
        struct ring_address *address = &server->addresses[i];
        int code = address->storage.ss_family == AF_UNIX ? open_unix(address, &server->sockets[i], why)
                   : any_port(address)                   ? find_port(address, held, why)
                                                         : try_port(address, why);
        if (code != EXIT_FINE) {
            sockets_release_held(held);
            sockets_release(server);
            return code;
        }
    }
    return EXIT_FINE;
}

void sockets_release_held(struct sockets_held *held) {
    for (uint32_t i = 0; i < held->count; i++) {
        close(held->fds[i]);
    }
    held->count = 0;
}

void sockets_release(struct server *server) {
    for (uint32_t i = 0; i < server->config->listen_count; i++) {
        if (server->sockets[i] >= 0) {
            const struct sockaddr_un *name = (const struct sockaddr_un *)(const void *)&server->addresses[i].storage;
            close(server->sockets[i]);
            unlink(name->sun_path);
            server->sockets[i] = -1;
        }
    }
}
