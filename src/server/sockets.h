/* What must be known of the addresses before workers listen on them: is one free, which port was meant by 0, who
 * has the Unix socket. Plain system calls on the main thread, before any worker starts.
 * Depends on: server.h, ring.h (addresses). */
#ifndef RM_SERVER_SOCKETS_H
#define RM_SERVER_SOCKETS_H

#include "server/server.h"

enum { SOCKETS_BACKLOG = 4096 }; /* the kernel takes less when net.core.somaxconn is less */

/* Prepares all places of the server. With SO_REUSEPORT a second process of the same user could listen on the
 * same port and take a share of its clients, so each TCP address is bound once without it, to see that nobody is
 * there. Unix sockets are made here, with config->unix_mode, and shared by the workers: a stale one is removed, never
 * one that somebody listens on, or what is no socket. So is the admin listener: a worker that has ended must
 * not keep its share of the connections. Inherited sockets are left as they are. `held` keeps the ports found for 0
 * taken until sockets_release_held. EXIT_FINE or EXIT_UNAVAILABLE with `why`. */
struct sockets_held {
    int fds[CONFIG_LISTENERS_MAX];
    uint32_t count;
};
[[gnu::warn_unused_result]] int sockets_prepare(struct server *server, struct sockets_held *held, char *why);

/* When the workers listen. */
void sockets_release_held(struct sockets_held *held);

/* Closes the shared sockets and removes those Unix sockets that are still the ones that were made here. */
void sockets_release(struct server *server);

#endif
