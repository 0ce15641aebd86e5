/* What the two files of io_uring's probes share. Stays inside src/ring: liburing's types.
 * Depends on: ring/probe.h, liburing. */
#ifndef RM_RING_URING_PROBE_H
#define RM_RING_URING_PROBE_H

#include "ring/probe.h"
#include "ring/uring_priv.h"

/* A ring of a few entries: 0 or -errno. The caller ends it with io_uring_queue_exit. */
[[gnu::warn_unused_result]] int32_t uring_probe_open(struct io_uring *ring, unsigned flags);

/* Each tries its feature on a fresh ring. */
struct ring_finding uring_try_accept(struct io_uring *ring);
struct ring_finding uring_try_receive(struct io_uring *ring);
struct ring_finding uring_try_bundles(struct io_uring *ring);
struct ring_finding uring_try_direct(struct io_uring *ring);
struct ring_finding uring_try_send_zc(struct io_uring *ring);
struct ring_finding uring_try_socket_options(struct io_uring *ring);

#endif
