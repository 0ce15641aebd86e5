/* The probes of ring/probe.h for io_uring that need sockets: real ones, on the loopback interface where there is one. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "ring/uring_probe.h"

enum { WAIT_MS = 200, BUFFERS = 4, BUFFER_BYTES = 16, GROUP = 1 };

static struct ring_finding found(int32_t result) {
    return (struct ring_finding){ result, 0 };
}

/* ------------------------------------------------------------------------------------------------------- sockets ---- */

/* A listener on 127.0.0.1, or -1: there may be no loopback interface. */
static int listen_loopback(struct sockaddr_in *address, socklen_t *len) {
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    *len = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct sockaddr *generic = (struct sockaddr *)address;
    if (bind(fd, generic, *len) == 0 && listen(fd, 8) == 0 && getsockname(fd, generic, len) == 0) return fd;
    close(fd);
    return -1;
}

static int connect_to(const struct sockaddr_in *address, socklen_t len) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, len) == 0) return fd;
    close(fd);
    return -1;
}

/* Two ends of a connection: over TCP, or a socket pair when there is no loopback interface. */
static bool open_pair(int ends[2]) {
    struct sockaddr_in address;
    socklen_t len;
    int listener = listen_loopback(&address, &len);
    if (listener < 0) return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
    ends[1] = connect_to(&address, len);
    ends[0] = ends[1] < 0 ? -1 : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
    if (ends[0] >= 0) return true;
    if (ends[1] >= 0) close(ends[1]);
    return false;
}

static void close_pair(int ends[2]) {
    close(ends[0]);
    close(ends[1]);
}

/* Submits and waits for one completion: true, and a copy of it. */
static bool complete(struct io_uring *ring, struct io_uring_cqe *out) {
    struct __kernel_timespec most = { .tv_nsec = WAIT_MS * 1000000 };
    struct io_uring_cqe *cqe;
    if (io_uring_submit_and_wait_timeout(ring, &cqe, 1, &most, NULL) < 0 && io_uring_peek_cqe(ring, &cqe) < 0) return false;
    if (io_uring_peek_cqe(ring, &cqe) < 0) return false;
    out->user_data = cqe->user_data;
    out->res = cqe->res;
    out->flags = cqe->flags;
    io_uring_cqe_seen(ring, cqe);
    return true;
}

/* -------------------------------------------------------------------------------------------------------- accept ---- */

static int32_t accept_two(struct io_uring *ring, const struct sockaddr_in *address, socklen_t len) {
    int32_t result = 0;
    for (int i = 0; i < 2 && result == 0; i++) {
        struct io_uring_cqe cqe;
        int client = connect_to(address, len);
        if (client < 0) return -EIO;
        if (!complete(ring, &cqe)) result = -EOPNOTSUPP;
        else if (cqe.res < 0) result = cqe.res;
        else if ((cqe.flags & IORING_CQE_F_MORE) == 0) result = -EOPNOTSUPP;
        if (result == 0) close(cqe.res);
        close(client);
    }
    return result;
}

struct ring_finding uring_try_accept(struct io_uring *ring) {
    struct sockaddr_in address;
    socklen_t len;
    int listener = listen_loopback(&address, &len);
    if (listener < 0) return found(-EIO);
    io_uring_prep_multishot_accept(io_uring_get_sqe(ring), listener, NULL, NULL, SOCK_CLOEXEC);
    int32_t result = accept_two(ring, &address, len);
    close(listener);
    return found(result);
}

/* ------------------------------------------------------------------------------------------------------- receive ---- */

struct lent {
    struct io_uring_buf_ring *ring;
    char memory[BUFFERS][BUFFER_BYTES];
};

static int32_t lend(struct io_uring *ring, struct lent *lent) {
    int error = 0;
    lent->ring = io_uring_setup_buf_ring(ring, BUFFERS, GROUP, 0, &error);
    if (lent->ring == NULL) return error;
    int mask = io_uring_buf_ring_mask(BUFFERS);
    for (unsigned short i = 0; i < BUFFERS; i++)
        io_uring_buf_ring_add(lent->ring, lent->memory[i], BUFFER_BYTES, i, mask, i);
    io_uring_buf_ring_advance(lent->ring, BUFFERS);
    return 0;
}

static void prepare_receive(struct io_uring *ring, int fd, uint16_t how) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->ioprio |= how;
    sqe->buf_group = GROUP;
    sqe->flags |= IOSQE_BUFFER_SELECT;
}

static int32_t receive_piece(struct io_uring *ring, int peer, const char *text) {
    struct io_uring_cqe cqe;
    if (send(peer, text, strlen(text), MSG_NOSIGNAL) < 0) return -EIO;
    if (!complete(ring, &cqe)) return -EOPNOTSUPP;
    if (cqe.res < 0) return cqe.res;
    bool lives = (cqe.flags & IORING_CQE_F_MORE) != 0 && (cqe.flags & IORING_CQE_F_BUFFER) != 0;
    return lives && cqe.res == (int)strlen(text) ? 0 : -EOPNOTSUPP;
}

static int32_t receive_two(struct io_uring *ring, const int ends[2]) {
    prepare_receive(ring, ends[0], 0);
    int32_t result = receive_piece(ring, ends[1], "one");
    return result != 0 ? result : receive_piece(ring, ends[1], "more");
}

/* Two buffers' worth of bytes are there before anything is asked for: one completion must cover both. */
static int32_t receive_bundle(struct io_uring *ring, const int ends[2]) {
    if ((ring->features & IORING_FEAT_RECVSEND_BUNDLE) == 0) return -EOPNOTSUPP;
    static const char text[2 * BUFFER_BYTES];
    if (send(ends[1], text, sizeof text, MSG_NOSIGNAL) != (ssize_t)sizeof text) return -EIO;
    prepare_receive(ring, ends[0], IORING_RECVSEND_BUNDLE);
    struct io_uring_cqe cqe;
    if (!complete(ring, &cqe)) return -EOPNOTSUPP;
    if (cqe.res < 0) return cqe.res;
    return cqe.res > BUFFER_BYTES ? 0 : -EOPNOTSUPP;
}

/* Runs a trial on a pair of sockets with buffers lent to the ring. */
static struct ring_finding with_buffers(struct io_uring *ring, int32_t (*trial)(struct io_uring *, const int[2])) {
    int ends[2];
    if (!open_pair(ends)) return found(-EIO);
    struct lent lent;
    int32_t result = lend(ring, &lent);
    if (result == 0) {
        result = trial(ring, ends);
        struct io_uring_cqe cqe;
        io_uring_prep_cancel64(io_uring_get_sqe(ring), 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
        (void)complete(ring, &cqe); /* nothing may write into `lent` any more */
        io_uring_free_buf_ring(ring, lent.ring, BUFFERS, GROUP);
    }
    close_pair(ends);
    return found(result);
}

struct ring_finding uring_try_receive(struct io_uring *ring) {
    return with_buffers(ring, receive_two);
}

struct ring_finding uring_try_bundles(struct io_uring *ring) {
    return with_buffers(ring, receive_bundle);
}

/* ------------------------------------------------------------------------------- descriptors, zero copy, options ---- */

static int32_t install(struct io_uring *ring) {
    struct io_uring_cqe cqe;
    io_uring_prep_fixed_fd_install(io_uring_get_sqe(ring), 0, 0);
    if (!complete(ring, &cqe)) return -EOPNOTSUPP;
    if (cqe.res < 0) return cqe.res;
    close(cqe.res);
    return 0;
}

struct ring_finding uring_try_direct(struct io_uring *ring) {
    int ends[2];
    int error = io_uring_register_files_sparse(ring, BUFFERS);
    if (error < 0) return found(error);
    if (!open_pair(ends)) return found(-EIO);
    error = io_uring_register_files_update(ring, 0, ends, 1);
    if (error >= 0) error = install(ring);
    close_pair(ends);
    return found(error);
}

/* The first completion says how many bytes were sent, the second that their memory is free again, and whether they were
 * copied on their way. io_uring_prep_send_zc(3). */
static struct ring_finding send_without_copy(struct io_uring *ring, const int ends[2], const char *text, size_t len) {
    struct io_uring_cqe sent, notice;
    io_uring_prep_send_zc(io_uring_get_sqe(ring), ends[0], text, len, MSG_NOSIGNAL, IORING_SEND_ZC_REPORT_USAGE);
    if (!complete(ring, &sent)) return found(-EOPNOTSUPP);
    if (sent.res < 0) return found(sent.res);
    char got[256];
    while (len > 0) {
        ssize_t n = recv(ends[1], got, sizeof got, 0);
        if (n <= 0) return found(-EIO);
        len -= (size_t)n;
    }
    if ((sent.flags & IORING_CQE_F_MORE) == 0 || !complete(ring, &notice)) return found(-EOPNOTSUPP);
    return (struct ring_finding){ 0, ((uint32_t)notice.res & IORING_NOTIF_USAGE_ZC_COPIED) != 0 };
}

struct ring_finding uring_try_send_zc(struct io_uring *ring) {
    static const char text[2048];
    int ends[2];
    if (!open_pair(ends)) return found(-EIO);
    struct ring_finding finding = send_without_copy(ring, ends, text, sizeof text);
    close_pair(ends);
    return finding;
}

struct ring_finding uring_try_socket_options(struct io_uring *ring) {
    int ends[2], type = 0;
    if (!open_pair(ends)) return found(-EIO);
    struct io_uring_cqe cqe;
    io_uring_prep_cmd_sock(io_uring_get_sqe(ring), SOCKET_URING_OP_GETSOCKOPT, ends[0], SOL_SOCKET, SO_TYPE, &type,
                           sizeof type);
    int32_t result = -EOPNOTSUPP;
    if (complete(ring, &cqe)) result = cqe.res < 0 ? cqe.res : type == SOCK_STREAM ? 0 : -EOPNOTSUPP;
    close_pair(ends);
    return found(result);
}
