/* What the kernel lets a ring do on this machine, found out by trying: each probe makes a small ring of its own, does the
 * thing once on it, and takes it down again. For `doctor`; a server that starts asks ring_open, which probes what it uses.
 *
 * Depends on: ring/ring.h. Any thread, before or beside rings that serve; a probe blocks for at most RING_PROBE_MS. */
#ifndef RM_RING_PROBE_H
#define RM_RING_PROBE_H

#include "ring/ring.h"

/* X(NAME, "as it is shown", "the kernel that brought it"). */
#define RING_FEATURES(X)                                                                                               \
    X(SETUP, "setup", "5.1")               /* a ring without any flag */                                               \
    X(OPCODES, "opcodes", "5.19")          /* every operation that the backend submits; value: how many there are */   \
    X(CQSIZE, "cqsize", "5.5")             /* io_uring_setup(2): IORING_SETUP_CQSIZE, and so on */                     \
    X(SUBMIT_ALL, "submit-all", "5.18")                                                                                \
    X(COOP_TASKRUN, "coop-taskrun", "5.19")                                                                            \
    X(SINGLE_ISSUER, "single-issuer", "6.0")                                                                           \
    X(DEFER_TASKRUN, "defer-taskrun", "6.1")                                                                           \
    X(NO_IOWAIT, "no-iowait", "6.15")      /* io_uring_enter(2): IORING_ENTER_NO_IOWAIT */                             \
    X(RING_FD, "ring-fd", "5.18")          /* io_uring_register_ring_fd(3) */                                          \
    X(BUFFER_RING, "buffer-ring", "5.19")  /* io_uring_setup_buf_ring(3) */                                            \
    X(INCREMENTAL, "incremental", "6.12")  /* the same with IOU_PBUF_RING_INC */                                       \
    X(ACCEPT_MULTI, "accept-multi", "5.19") /* two clients from one submission, on loopback */                         \
    X(RECEIVE_MULTI, "receive-multi", "6.0") /* two pieces from one submission, on loopback */                         \
    X(BUNDLES, "bundles", "6.10")          /* one completion for several buffers */                                    \
    X(DIRECT, "direct", "6.8")             /* direct descriptors and IORING_OP_FIXED_FD_INSTALL */                     \
    X(SEND_ZC, "send-zc", "6.0")           /* on loopback; value: 1 when the kernel copied after all */                \
    X(MIN_WAIT, "min-wait", "6.12")        /* and a late event ends the wait (it did not up to 6.18.0) */              \
    X(NAPI, "napi", "6.9")                 /* io_uring_register_napi(3) */                                             \
    X(SOCKET_OPTIONS, "socket-options", "6.7") /* io_uring_prep_cmd_sock(3), GETSOCKOPT */

enum ring_feature {
#define RING_FEATURE_ENUM(name, shown, kernel) RING_FEATURE_##name,
    RING_FEATURES(RING_FEATURE_ENUM)
#undef RING_FEATURE_ENUM
    RING_FEATURES_COUNT
};

enum { RING_PROBE_MS = 1000 };

/* result: 0, or -errno: what the kernel said; -EOPNOTSUPP when it took the request and did something else; -EIO when the
 * sockets for the trial could not be made. value: see the feature. */
struct ring_finding {
    int32_t result;
    uint32_t value;
};

/* Tries one thing. -EOPNOTSUPP for every feature when `choice` is a backend that has none of them or was not compiled in. */
[[gnu::warn_unused_result]] struct ring_finding ring_probe(enum ring_choice choice, enum ring_feature feature);

/* Static texts: "defer-taskrun", "6.1". */
const char *ring_feature_name(enum ring_feature feature);
const char *ring_feature_kernel(enum ring_feature feature);

#endif
