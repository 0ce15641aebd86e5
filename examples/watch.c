/* Descriptors: GET /bell waits until a bell rings (a timerfd; several who wait get one ring each, in order), GET / shows what
 * the worker keeps up to date without a client: the system's load, looked up now and then, and how often a second timer
 * has fired.
 *
 *     build/examples/watch & curl http://127.0.0.1:8080/bell */
#include <fcntl.h>
#include <ringmain.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { BELL_MS = 100, BEAT_MS = 50, LOOK_MS = 250 };

/* What a worker has of its own: only its thread touches it, so nothing is locked. */
struct desk {
    int bell, beat, load;
    uint64_t beats, looks;
    char text[64]; /* of /proc/loadavg */
    size_t text_len;
};

static int open_timer(long ms) {
    struct itimerspec every = { .it_interval = { .tv_nsec = ms * 1000000 }, .it_value = { .tv_nsec = ms * 1000000 } };
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return fd >= 0 && timerfd_settime(fd, 0, &every, NULL) == 0 ? fd : -1;
}

/* ------------------------------------------------------------------------------------------- without a client ---- */

/* A new edge of readiness: read until there is nothing more. */
static void on_beat(struct rm_watch *watch, unsigned what, void *arg) {
    struct desk *desk = arg;
    uint64_t fired;
    if ((what & (RM_HANGUP | RM_ERROR)) != 0) {
        rm_unwatch(watch);
        return;
    }
    while (read(desk->beat, &fired, sizeof fired) == (ssize_t)sizeof fired) {
        desk->beats += fired;
    }
}

/* /proc is no disk: reading it does not block. */
static void look(struct rm_timer *timer, void *arg) {
    (void)timer;
    struct desk *desk = arg;
    ssize_t n = pread(desk->load, desk->text, sizeof desk->text, 0);
    desk->text_len = n > 0 ? (size_t)n - 1 : 0; /* without the line end */
    desk->looks++;
}

static void close_desk(struct rm_worker *worker) {
    struct desk *desk = rm_worker_state(worker);
    close(desk->bell);
    close(desk->beat);
    close(desk->load);
    free(desk);
}

static int open_desk(struct rm_worker *worker) {
    struct desk *desk = calloc(1, sizeof *desk);
    if (desk == NULL) {
        return 70;
    }
    rm_set_worker_state(worker, desk);
    desk->bell = open_timer(BELL_MS);
    desk->beat = open_timer(BEAT_MS);
    desk->load = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    if (rm_watch(worker, desk->beat, RM_READABLE, on_beat, desk) == NULL ||
        rm_every(worker, LOOK_MS * 1000000, look, desk) == NULL) {
        fprintf(stderr, "watch: cannot watch a timer\n");
        close_desk(worker); /* worker_stop is not called for a worker that has not started */
        return 70;
    }
    look(NULL, desk);
    return 0;
}

/* --------------------------------------------------------------------------------------------------- handlers ---- */

static enum rm_step wait_for_bell(struct rm_exchange *x);

static enum rm_step rung(struct rm_exchange *x) {
    struct desk *desk = rm_worker_state(rm_worker(x));
    uint64_t rings;
    if ((rm_ready(x) & RM_READABLE) == 0) {
        return rm_text(x, 503, "the bell is broken\n");
    }
    if (read(desk->bell, &rings, sizeof rings) != (ssize_t)sizeof rings) {
        return wait_for_bell(x); /* readiness is a hint */
    }
    return rm_text(x, 200, "ding\n");
}

/* Who has left must not stand in the line: the ring would be lost on it. */
static enum rm_step cut_short(struct rm_exchange *x) {
    if (rm_gone(x)) {
        return RM_DONE;
    }
    if ((rm_ended(x) & RM_END_DRAIN) != 0) {
        return rm_text(x, 503, "we are closing\n");
    }
    return wait_for_bell(x); /* it has only said that it asks for nothing more */
}

static enum rm_step wait_for_bell(struct rm_exchange *x) {
    struct desk *desk = rm_worker_state(rm_worker(x));
    rm_wait_fd(x, desk->bell, RM_READABLE);
    rm_on_end(x, cut_short);
    rm_then(x, rung);
    return RM_PARK;
}

static enum rm_step show(struct rm_exchange *x) {
    struct desk *desk = rm_worker_state(rm_worker(x));
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "beats", (int64_t)desk->beats);
    rm_json_int(x, "looks", (int64_t)desk->looks);
    rm_json_string(x, "load", (struct span){ desk->text, desk->text_len });
    rm_json_close(x);
    return RM_DONE;
}

static void open_for_business(void) {
    fprintf(stderr, "watch: every worker has its bell\n");
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/", .handler = show },
    { .method = "GET", .path = "/bell", .handler = wait_for_bell },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv,
                   &(struct rm_app){ .name = "watch",
                                     .routes = routes,
                                     .worker_start = open_desk,
                                     .worker_stop = close_desk,
                                     .ready = open_for_business });
}
