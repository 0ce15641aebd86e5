/* What systemd, or whoever speaks its protocols, and the server tell each other: sd_notify(3) and sd_listen_fds(3), without
 * its library. The variables are removed from the environment, so that no child takes them for its own.
 * Depends on: ring.h (addresses), libc. Main thread. */
#ifndef RM_SERVER_NOTIFY_H
#define RM_SERVER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "ring/ring.h"

/* ------------------------------------------------------------------------------------------------ telling ---- */

struct notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un address;
    socklen_t address_len;
    uint64_t watchdog_ns; /* tell at least this often that all is well; 0: no need to */
};

/* Reads NOTIFY_SOCKET ("/path" or "@abstract"), WATCHDOG_USEC and WATCHDOG_PID. A bad value is as none. */
void notify_open(struct notify *notify);

/* One datagram, "NAME=VALUE" lines. Lost when nobody takes it: there is no one to tell. */
[[gnu::format(printf, 2, 3)]] void notify_send(const struct notify *notify, const char *format, ...);

void notify_close(struct notify *notify);

/* ---------------------------------------------------------------------------------------------- sockets ---- */

enum { NOTIFY_SOCKETS_MAX = 16, NOTIFY_FIRST_FD = 3 };

struct notify_sockets {
    uint32_t count;
    struct {
        int fd; /* a listening stream socket */
        bool admin; /* its name is "admin" */
        struct ring_address address;
    } sockets[NOTIFY_SOCKETS_MAX];
};

/* Reads LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES, for descriptors from `first` on (NOTIFY_FIRST_FD). None when they are not
 * for this process. False with `why` when one is no listening stream socket, or there are too many. */
[[gnu::warn_unused_result]] bool notify_take_sockets(struct notify_sockets *out, int first, char *why, size_t why_bytes);

#endif
