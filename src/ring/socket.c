#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h> /* the C library's struct tcp_info may be older than tcpi_bytes_acked */
#include <netinet/in.h>
#include <unistd.h>

#include "ring/ring_priv.h"

static int set_option(struct ring *ring, int fd, int level, int option) {
    int on = 1;
    ring_count_call(ring, RING_CALL_setsockopt);
    return setsockopt(fd, level, option, &on, sizeof on);
}

static bool is_tcp(const struct ring_address *address) {
    return address->storage.ss_family == AF_INET || address->storage.ss_family == AF_INET6;
}

/* All options that accepted sockets inherit are set here once, not on each of them. */
static int bind_and_listen(struct ring *ring, int fd, const struct ring_listen *listen_on) {
    const struct ring_address *address = &listen_on->address;
    if (is_tcp(address)) {
        if (set_option(ring, fd, SOL_SOCKET, SO_REUSEADDR) < 0) return -errno;
        if (set_option(ring, fd, IPPROTO_TCP, TCP_NODELAY) < 0) return -errno;
        if (listen_on->reuse_port && set_option(ring, fd, SOL_SOCKET, SO_REUSEPORT) < 0) return -errno;
    }
    ring_count_call(ring, RING_CALL_bind);
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0) return -errno;
    ring_count_call(ring, RING_CALL_listen);
    if (listen(fd, (int)listen_on->backlog) < 0) return -errno;
    return 0;
}

/* A listener that somebody else has made. Accepting must not block when a client has left before its turn. */
static int adopt(struct ring *ring, int fd) {
    ring_count_call(ring, RING_CALL_fcntl);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    ring_count_call(ring, RING_CALL_fcntl);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    (void)set_option(ring, fd, IPPROTO_TCP, TCP_NODELAY); /* fails for a Unix socket, which has no need of it */
    return fd;
}

int ring_socket_listen(struct ring *ring, const struct ring_listen *listen_on) {
    if (listen_on->fd >= 0) return adopt(ring, listen_on->fd);
    ring_count_call(ring, RING_CALL_socket);
    int fd = socket(listen_on->address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int error = bind_and_listen(ring, fd, listen_on);
    if (error == 0) return fd;
    ring_socket_close(ring, fd);
    return error;
}

int ring_socket_open(struct ring *ring, const struct ring_address *address, int flags) {
    ring_count_call(ring, RING_CALL_socket);
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) return -errno;
    if (is_tcp(address)) {
        (void)set_option(ring, fd, IPPROTO_TCP, TCP_NODELAY);
        (void)set_option(ring, fd, SOL_SOCKET, SO_KEEPALIVE);
    }
    return fd;
}

void ring_socket_close(struct ring *ring, int fd) {
    ring_count_call(ring, RING_CALL_close);
    close(fd);
}

void ring_socket_linger_zero(struct ring *ring, int fd) {
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    ring_count_call(ring, RING_CALL_setsockopt);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); /* fails only for what is no socket */
}

void ring_socket_shutdown(struct ring *ring, int fd) {
    ring_count_call(ring, RING_CALL_shutdown);
    (void)shutdown(fd, SHUT_WR); /* ENOTCONN: the peer was faster; RECEIVED or SENT says so */
}

int32_t ring_socket_peer(struct ring *ring, int fd, struct ring_address *out) {
    out->len = sizeof out->storage;
    ring_count_call(ring, RING_CALL_getpeername);
    if (getpeername(fd, (struct sockaddr *)&out->storage, &out->len) == 0) return 0;
    out->len = 0;
    return -errno;
}

int32_t ring_socket_local(struct ring *ring, int fd, struct ring_address *out) {
    out->len = sizeof out->storage;
    ring_count_call(ring, RING_CALL_getsockname);
    if (getsockname(fd, (struct sockaddr *)&out->storage, &out->len) == 0) return 0;
    out->len = 0;
    return -errno;
}

uint64_t ring_socket_taken(struct ring *ring, int fd) {
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;
    ring_count_call(ring, RING_CALL_getsockopt);
    bool told = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0;
    return told ? info.tcpi_bytes_acked : 0;
}
