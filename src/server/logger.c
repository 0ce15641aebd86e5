#include "server/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mem/counter.h"
#include "server/log.h"

enum {
    LOOK_MS = 20,         /* between two looks at the workers' lines, at most */
    QUIET_MS = 1000,      /* without a line, before it sleeps until it is nudged */
    RETRY_MS = 1000,      /* after an error */
    BUSY_BYTES = 128 * 1024, /* of one worker's lines at a look: look sooner */
    TURN_BYTES = 1024 * 1024, /* of one worker in a row, if it has so many; then come the others */
    PIPE_BYTES = 4096,    /* what a pipe or socket that is ready takes without blocking: PIPE_BUF */
    FAREWELL_MS = 1000,   /* for a pipe that is full at the end */
};

/* ------------------------------------------------------------------------------------------------------ file ---- */

static int open_path(const char *path) {
    if (strcmp(path, "-") == 0) {
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    }
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
}

static bool is_plain(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

bool logger_open(struct logger *logger, const char *path) {
    *logger = (struct logger){ .path = path, .event = -1, .fd = open_path(path) };
    if (logger->fd < 0) {
        return false;
    }
    logger->plain = is_plain(logger->fd);
    logger->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (logger->event < 0) {
        close(logger->fd);
        return false;
    }
    return true;
}

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void note_error(struct logger *logger, const char *what) {
    uint64_t errors = logger->write_errors + 1, now_ns = clock_ns();
    counter_set(&logger->write_errors, errors);
    if (logger->said_ns != 0 && now_ns - logger->said_ns < UINT64_C(1000000000)) {
        return;
    }
    log_line(LOG_ERROR, "access log: cannot %s %s: %s (%lu failures so far)", what, logger->path, strerror(errno),
             (unsigned long)errors);
    logger->said_ns = now_ns;
}

static bool same_file(int a, int b) {
    struct stat one, other;
    return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* The line that was cut begins anew in another file; in the same one (standard output, a pipe, no rotation) it goes on. */
static void switch_file(struct logger *logger) {
    int fd = open_path(logger->path);
    if (fd < 0) {
        note_error(logger, "reopen");
        return;
    }
    if (!same_file(logger->fd, fd)) {
        logger->partial = 0;
    }
    close(logger->fd);
    logger->fd = fd;
    logger->plain = is_plain(fd);
    counter_set(&logger->reopens, logger->reopens + 1);
}

/* ----------------------------------------------------------------------------------------------------- write ---- */

enum outcome { WRITTEN, STUCK, FAILED };

/* Only whole lines are taken from the ring; `partial` remembers how much of the next one is in the file. */
static void take(struct logger *logger, struct lines *ring, const char *bytes, size_t from, size_t n) {
    counter_set(&logger->written_bytes, logger->written_bytes + n);
    const char *last = memrchr(bytes, '\n', from + n);
    size_t whole = last == NULL ? 0 : (size_t)(last - bytes) + 1;
    lines_take(ring, whole);
    logger->partial = from + n - whole;
}

static bool ready(const struct logger *logger) {
    struct pollfd wish = { .fd = logger->fd, .events = POLLOUT };
    return logger->plain || poll(&wish, 1, 0) > 0;
}

static enum outcome write_ring(struct logger *logger, struct lines *ring) {
    for (struct span bytes; (bytes = lines_peek(ring)).len > 0;) {
        if (!ready(logger)) {
            return STUCK;
        }
        size_t left = bytes.len - logger->partial;
        ssize_t n = write(logger->fd, bytes.data + logger->partial, logger->plain || left < PIPE_BYTES ? left : PIPE_BYTES);
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                return STUCK;
            }
            note_error(logger, "write to");
            return FAILED;
        }
        take(logger, ring, bytes.data, logger->partial, (size_t)n);
        logger->in_turn += (size_t)n;
        if (logger->in_turn >= TURN_BYTES && logger->partial == 0) {
            break; /* a worker that is faster than the file does not keep the others, or an order, waiting */
        }
    }
    logger->in_turn = 0;
    return WRITTEN;
}

/* A ring whose line is half written comes first, the next time. */
static enum outcome write_all(struct logger *logger, size_t *most) {
    for (uint32_t i = 0; i < logger->count; i++) {
        struct lines *ring = logger->rings[logger->at];
        size_t bytes = lines_peek(ring).len;
        *most = bytes > *most ? bytes : *most;
        enum outcome outcome = write_ring(logger, ring);
        if (outcome != WRITTEN) {
            return outcome;
        }
        logger->at = (logger->at + 1) % logger->count;
    }
    return WRITTEN;
}

static bool anything(const struct logger *logger) {
    for (uint32_t i = 0; i < logger->count; i++) {
        if (lines_peek(logger->rings[i]).len > 0) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------------- thread ---- */

static bool flag(const bool *which) {
    return __atomic_load_n(which, __ATOMIC_ACQUIRE);
}

static void nap(struct logger *logger, int ms) {
    struct pollfd wish = { .fd = logger->event, .events = POLLIN };
    if (poll(&wish, 1, ms) > 0) {
        uint64_t nudges;
        (void)!read(logger->event, &nudges, sizeof nudges);
    }
}

/* A worker publishes and then looks at `asleep`; here it is set and then the rings are looked at. All four in one order, so
 * one of both sees the other. */
static void sleep_long(struct logger *logger) {
    __atomic_store_n(&logger->asleep, true, __ATOMIC_SEQ_CST);
    nap(logger, anything(logger) || flag(&logger->stop) || flag(&logger->reopen) ? 0 : -1);
    __atomic_store_n(&logger->asleep, false, __ATOMIC_RELAXED);
}

static enum outcome write_rest(struct logger *logger) {
    size_t most = 0;
    enum outcome outcome = WRITTEN;
    while (outcome == WRITTEN && anything(logger)) {
        outcome = write_all(logger, &most);
    }
    return outcome;
}

static void farewell(struct logger *logger) {
    enum outcome outcome = write_rest(logger);
    for (int ms = 0; outcome == STUCK && ms < FAREWELL_MS; ms += LOOK_MS) {
        nap(logger, LOOK_MS);
        outcome = write_rest(logger);
    }
    if (outcome != WRITTEN) {
        log_line(LOG_ERROR, "access log: %s did not take the last lines", logger->path);
    }
}

/* The fuller the rings were, the sooner it looks again: they must not run over. */
static int next_look_ms(int ms, size_t most) {
    if (most > BUSY_BYTES) {
        return ms > 1 ? ms / 2 : 1;
    }
    return most < BUSY_BYTES / 4 && ms < LOOK_MS ? ms + 1 : ms;
}

static void *run(void *arg) {
    struct logger *logger = arg;
    int look_ms = 1;
    for (int quiet_ms = 0; !flag(&logger->stop);) {
        if (flag(&logger->reopen)) {
            switch_file(logger);
            __atomic_store_n(&logger->reopen, false, __ATOMIC_RELEASE);
        }
        size_t most = 0;
        enum outcome outcome = write_all(logger, &most);
        quiet_ms = most > 0 ? 0 : quiet_ms + look_ms;
        look_ms = next_look_ms(look_ms, most);
        if (quiet_ms > QUIET_MS) {
            sleep_long(logger);
            quiet_ms = 0;
            look_ms = 1;
        } else {
            nap(logger, outcome == FAILED ? RETRY_MS : outcome == STUCK ? LOOK_MS : look_ms);
        }
    }
    farewell(logger);
    return NULL;
}

bool logger_start(struct logger *logger, struct lines **rings, uint32_t count) {
    logger->rings = rings;
    logger->count = count;
    int error = pthread_create(&logger->thread, NULL, run, logger);
    if (error != 0) {
        errno = error;
        return false;
    }
    pthread_setname_np(logger->thread, "rm-log");
    logger->started = true;
    return true;
}

static void ring_bell(struct logger *logger) {
    uint64_t one = 1;
    (void)!write(logger->event, &one, sizeof one); /* fails only when it is full of unread ones */
}

static void order(struct logger *logger, bool *which) {
    __atomic_store_n(which, true, __ATOMIC_RELEASE);
    ring_bell(logger);
}

void logger_reopen(struct logger *logger) {
    order(logger, &logger->reopen);
}

bool logger_reopening(const struct logger *logger) {
    return flag(&logger->reopen);
}

void logger_stop(struct logger *logger) {
    if (logger->event < 0) {
        return;
    }
    if (logger->started) {
        order(logger, &logger->stop);
        pthread_join(logger->thread, NULL);
        logger->started = false;
    }
    close(logger->event);
    close(logger->fd);
    logger->event = -1;
    logger->fd = -1;
}

bool logger_nudge(struct logger *logger) {
    if (!__atomic_load_n(&logger->asleep, __ATOMIC_SEQ_CST) ||
        !__atomic_exchange_n(&logger->asleep, false, __ATOMIC_RELAXED)) {
        return false;
    }
    ring_bell(logger);
    return true;
}
