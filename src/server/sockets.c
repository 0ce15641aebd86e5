#include "server/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
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

/* After a crash the kernel takes its time to tear an io_uring down, and with it the listener: whoever connects meanwhile is
 * taken by nobody. SO_PEERCRED, unix(7), says who has called listen(2). */
static bool has_died(int fd) {
    struct ucred who = { 0 };
    socklen_t len = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.pid > 0 && kill(who.pid, 0) != 0 && errno == ESRCH;
}

/* True when the path is a socket that nobody listens on any more. */
static bool stale(const struct ring_address *address, const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    bool taken = connect(fd, (const struct sockaddr *)&address->storage, address->len) == 0;
    bool nobody = taken ? has_died(fd) : errno == ECONNREFUSED;
    close(fd);
    return nobody;
}

/* The mode holds from the moment that the name is there: bind(2) gives it what the umask leaves of 0777, unix(7). Not by
 * chmod(2): in a folder that others may write, the name may be a link of theirs by then. */
static int make_unix(int fd, const struct ring_address *address, uint32_t mode) {
    mode_t before = umask(0777u & ~mode);
    int result = bind(fd, (const struct sockaddr *)&address->storage, address->len);
    umask(before);
    return result != 0 ? -1 : listen(fd, SOCKETS_BACKLOG);
}

static int open_unix(struct listen_place *place, uint32_t mode, char *why) {
    const struct sockaddr_un *name = (const struct sockaddr_un *)(const void *)&place->address.storage;
    if (stale(&place->address, name->sun_path)) {
        unlink(name->sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat status;
    if (fd < 0 || make_unix(fd, &place->address, mode) != 0 || lstat(name->sun_path, &status) != 0) {
        int code = unavailable(&place->address, "", why);
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    place->socket = fd;
    place->made = true;
    place->device = status.st_dev;
    place->inode = status.st_ino;
    return EXIT_FINE;
}

/* One TCP socket that all workers share. */
static int open_shared(struct listen_place *place, char *why) {
    int fd = bind_socket(&place->address, SO_REUSEADDR);
    place->address.len = sizeof place->address.storage;
    if (fd < 0 || listen(fd, SOCKETS_BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&place->address.storage, &place->address.len) != 0) {
        int code = unavailable(&place->address, "", why);
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    place->socket = fd;
    return EXIT_FINE;
}

static int prepare(struct listen_place *place, uint32_t unix_mode, struct sockets_held *held, char *why) {
    if (place->socket >= 0) {
        return EXIT_FINE;
    }
    if (place->address.storage.ss_family == AF_UNIX) {
        return open_unix(place, unix_mode, why);
    }
    if (place->admin) {
        return open_shared(place, why);
    }
    return any_port(&place->address) ? find_port(&place->address, held, why) : try_port(&place->address, why);
}

int sockets_prepare(struct server *server, struct sockets_held *held, char *why) {
    *held = (struct sockets_held){ .count = 0 };
    for (uint32_t i = 0; i < server->place_count; i++) {
        int code = prepare(&server->places[i], server->config->unix_mode, held, why);
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

static void remove_unix(const struct listen_place *place) {
    const struct sockaddr_un *name = (const struct sockaddr_un *)(const void *)&place->address.storage;
    struct stat status;
    if (lstat(name->sun_path, &status) == 0 && status.st_dev == place->device && status.st_ino == place->inode) {
        unlink(name->sun_path);
    }
}

void sockets_release(struct server *server) {
    for (uint32_t i = 0; i < server->place_count; i++) {
        struct listen_place *place = &server->places[i];
        if (place->socket < 0) {
            continue;
        }
        if (place->made) {
            remove_unix(place); /* before it is closed: nobody finds a name without a server */
        }
        close(place->socket);
        place->socket = -1;
    }
}
