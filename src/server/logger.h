/* The access log's thread, rm-log: writes what the workers have published, and is the only one that may be kept waiting by
 * the file. While there is traffic it looks every 20 ms, or sooner when there is much; after a second without a line it sleeps
 * until a worker nudges it, which is the only system call that a worker ever makes for the log.
 *
 *     logger_open; logger_start (when the workers are open); ... logger_reopen ...; logger_stop (when they have ended)
 *
 * What cannot be written (a full disk, a pipe that nobody reads) stays with the workers until their memory is full; then they
 * drop lines and count them. Lines are never torn: what was written of a line to a file that is then given up is written
 * again, whole, to the next one.
 *
 * Depends on: lines.h, log.h. Main thread, but for logger_nudge: any worker's; figures: any. */
#ifndef RM_SERVER_LOGGER_H
#define RM_SERVER_LOGGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/lines.h"

struct logger {
    const char *path;     /* "-": standard output */
    struct lines **rings; /* of the workers */
    uint32_t count;
    pthread_t thread;
    bool started;
    int event; /* eventfd(2): rings for nudges and orders */

    /* the thread's, once it is started */
    int fd;
    bool plain;     /* a plain file: it takes all in one write */
    uint32_t at;    /* the ring that is written */
    size_t partial; /* bytes of its first line that `fd` has already */
    size_t in_turn; /* bytes of it that were written in a row */
    uint64_t said_ns;     /* when an error was logged last */
    uint64_t errors_said; /* write_errors then */

    /* orders and figures: atomic */
    bool asleep; /* set before it sleeps for long, cleared by who wakes it */
    bool reopen, stop;
    uint64_t written_bytes, write_errors, reopens;
};

/* Opens the file: appends, made with mode 0644 when it is not there. False with errno; nothing is open then. Keeps `path`. */
[[gnu::warn_unused_result]] bool logger_open(struct logger *logger, const char *path);

/* Starts the thread. `rings` are kept until logger_stop. False with errno. */
[[gnu::warn_unused_result]] bool logger_start(struct logger *logger, struct lines **rings, uint32_t count);

/* Opens the path anew, soon: after a rotation. When that fails the log says why and the old file is kept. */
void logger_reopen(struct logger *logger);

/* True until what logger_reopen has asked for is done, or has failed. */
bool logger_reopening(const struct logger *logger);

/* Writes what is left, as far as the file takes it, and closes. Does nothing more the second time. */
void logger_stop(struct logger *logger);

/* After lines_publish. True when the thread had to be woken: one write(2). */
bool logger_nudge(struct logger *logger);

#endif
