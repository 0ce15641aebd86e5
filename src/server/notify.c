#include "server/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/span.h"

/* A variable as a number; false when it is not there, or none. */
static bool number(const char *name, uint64_t *out) {
    const char *text = getenv(name);
    return text != NULL && span_u64(span_text(text), out);
}

/* True when the variable names this process, or nobody asks for it to be named. */
static bool is_for_us(const char *name, bool needed) {
    uint64_t pid;
    if (getenv(name) == NULL) {
        return !needed;
    }
    return number(name, &pid) && pid == (uint64_t)getpid();
}

/* ------------------------------------------------------------------------------------------------ telling ---- */

/* A path, or '@' and a name without a file. */
static bool set_address(struct notify *notify, const char *text) {
    size_t len = text == NULL ? 0 : strlen(text);
    if (len < 2 || len >= sizeof notify->address.sun_path || (text[0] != '/' && text[0] != '@')) {
        return false;
    }
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, text, len);
    bool is_path = text[0] == '/';
    if (!is_path) {
        notify->address.sun_path[0] = '\0';
    }
    notify->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + is_path);
    return true;
}

void notify_open(struct notify *notify) {
    *notify = (struct notify){ .fd = -1 };
    uint64_t watchdog_us;
    if (set_address(notify, getenv("NOTIFY_SOCKET"))) {
        notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    bool watched = notify->fd >= 0 && is_for_us("WATCHDOG_PID", false) && number("WATCHDOG_USEC", &watchdog_us);
    if (watched && watchdog_us > 0 && watchdog_us < UINT64_MAX / 1000) {
        notify->watchdog_ns = watchdog_us * 1000 / 2; /* sd_watchdog_enabled(3): every half of the time */
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_send(const struct notify *notify, const char *format, ...) {
    char text[512];
    if (notify->fd < 0) {
        return;
    }
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof text) {
        (void)!sendto(notify->fd, text, (size_t)n, MSG_NOSIGNAL, (const struct sockaddr *)&notify->address,
                      notify->address_len);
    }
}

void notify_close(struct notify *notify) {
    if (notify->fd >= 0) {
        close(notify->fd);
        notify->fd = -1;
    }
}

/* ---------------------------------------------------------------------------------------------- sockets ---- */

static bool is_listening_stream(int fd) {
    int type = 0, listening = 0;
    socklen_t len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM) {
        return false;
    }
    len = sizeof listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0;
}

static bool take(struct notify_sockets *out, int fd, struct span name, char *why, size_t why_bytes) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || !is_listening_stream(fd)) {
        snprintf(why, why_bytes, "LISTEN_FDS: descriptor %d is no listening stream socket: see ListenStream= of its unit", fd);
        return false;
    }
    struct ring_address address = { .len = sizeof address.storage };
    if (getsockname(fd, (struct sockaddr *)&address.storage, &address.len) != 0) {
        snprintf(why, why_bytes, "LISTEN_FDS: descriptor %d: %s", fd, strerror(errno));
        return false;
    }
    out->sockets[out->count].fd = fd;
    out->sockets[out->count].admin = span_equal(name, SPAN("admin"));
    out->sockets[out->count].address = address;
    out->count++;
    return true;
}

/* The next name of "one:two"; moves *names behind it. */
static struct span next_name(const char **names) {
    size_t len = strcspn(*names, ":");
    struct span name = span_of(*names, len);
    *names += len + ((*names)[len] == ':');
    return name;
}

static bool take_all(struct notify_sockets *out, int first, uint64_t count, char *why, size_t why_bytes) {
    const char *names = getenv("LISTEN_FDNAMES");
    if (count > NOTIFY_SOCKETS_MAX) {
        snprintf(why, why_bytes, "LISTEN_FDS: more than %d sockets", NOTIFY_SOCKETS_MAX);
        return false;
    }
    if (names == NULL) {
        names = "";
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!take(out, first + (int)i, next_name(&names), why, why_bytes)) {
            return false;
        }
    }
    return true;
}

bool notify_take_sockets(struct notify_sockets *out, int first, char *why, size_t why_bytes) {
    uint64_t count;
    bool fine = true;
    *out = (struct notify_sockets){ .count = 0 };
    if (is_for_us("LISTEN_PID", true) && number("LISTEN_FDS", &count)) {
        fine = take_all(out, first, count, why, why_bytes);
    }
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    return fine;
}
