#include "server/supervise.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "server/log.h"
#include "server/logger.h"
#include "server/sockets.h"
#include "server/worker.h"

enum { SAME_SIGNAL_MS = 100, REOPEN_MS = 1000, REOPEN_LOOK_MS = 5 };

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------ signals ---- */

void supervise_early(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    signal(SIGPIPE, SIG_IGN);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int supervise_signals(void) {
    static const int all[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 };
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        sigaddset(&set, all[i]);
    }
    return pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 ? -1 : signalfd(-1, &set, SFD_CLOEXEC);
}

static int read_signal(int signals) {
    struct signalfd_siginfo info;
    return read(signals, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

/* What one call of supervise() knows. */
struct watch {
    struct server *server;
    struct crew *crew;
    const struct notify *notify;
    int signals;
    bool asked;          /* the workers were, since when: */
    uint64_t asked_ns;
    uint64_t turns[CONFIG_WORKERS_MAX]; /* of each worker, then */
    uint64_t look_ns;                   /* when resources_look is to be called again */
};

static int timeout_ms(uint64_t until_ns) {
    uint64_t now_ns = clock_ns();
    if (until_ns == UINT64_MAX) {
        return -1;
    }
    uint64_t ms = until_ns > now_ns ? (until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
    return ms < 1000000 ? (int)ms : 1000000;
}

/* Sleeps until a signal comes, a worker has ended or the time is up. The signal, or 0. */
static int wait_for_news(const struct watch *watch, uint64_t until_ns) {
    struct pollfd fds[] = { { .fd = watch->signals, .events = POLLIN }, { .fd = watch->crew->event, .events = POLLIN } };
    if (poll(fds, 2, timeout_ms(until_ns)) <= 0) {
        return 0;
    }
    if ((fds[1].revents & POLLIN) != 0) {
        uint64_t count;
        (void)!read(watch->crew->event, &count, sizeof count);
    }
    return (fds[0].revents & POLLIN) != 0 ? read_signal(watch->signals) : 0;
}

/* ------------------------------------------------------------------------------------------------- reopen ---- */

/* True when the file is another one. Why it is not is said by the log's thread; or it is kept waiting by the old one. */
static bool reopen_log(struct logger *logger) {
    uint64_t before = counter_read(&logger->reopens);
    logger_reopen(logger);
    for (int ms = 0; logger_reopening(logger) && ms < REOPEN_MS; ms += REOPEN_LOOK_MS) {
        nanosleep(&(struct timespec){ .tv_nsec = REOPEN_LOOK_MS * (long)NS_PER_MS }, NULL);
    }
    return counter_read(&logger->reopens) != before;
}

/* systemd.service(5), Type=notify-reload: the time lets it tell this reload from an earlier one. */
static void reopen(const struct watch *watch) {
    struct logger *logger = watch->server->logger;
    notify_send(watch->notify, "RELOADING=1\nMONOTONIC_USEC=%lu", (unsigned long)(clock_ns() / 1000));
    if (logger != NULL) {
        if (reopen_log(logger)) {
            log_line(LOG_INFO, "%s: reopened the access log", watch->server->app->name);
        } else {
            log_line(LOG_WARN, "%s: the access log is not reopened", watch->server->app->name);
        }
    }
    notify_send(watch->notify, "READY=1");
}

/* True when the signal ends the server. */
static bool heed(const struct watch *watch, int number) {
    if (number == SIGHUP || number == SIGUSR1) {
        reopen(watch);
        return false;
    }
    return number != 0;
}

/* ----------------------------------------------------------------------------------------------- watchdog ---- */

static bool all_have_turned(const struct watch *watch) {
    for (uint32_t i = 0; i < watch->server->config->workers; i++) {
        if (counter_read(&ring_counters(watch->server->workers[i].ring)->turns) == watch->turns[i]) {
            return false;
        }
    }
    return true;
}

/* Says that all is well when every worker has begun a turn since it was asked to, and asks again. A worker that is stuck in a
 * handler does not. */
static void pet(struct watch *watch) {
    if (watch->notify->watchdog_ns == 0 || clock_ns() - watch->asked_ns < watch->notify->watchdog_ns) {
        return;
    }
    if (!watch->asked || all_have_turned(watch)) {
        notify_send(watch->notify, "WATCHDOG=1");
        for (uint32_t i = 0; i < watch->server->config->workers; i++) {
            struct ring *ring = watch->server->workers[i].ring;
            watch->turns[i] = counter_read(&ring_counters(ring)->turns);
            ring_wake(ring);
        }
        watch->asked = true;
    }
    watch->asked_ns = clock_ns();
}

static uint64_t next_pet_ns(const struct watch *watch) {
    return watch->notify->watchdog_ns == 0 ? UINT64_MAX : watch->asked_ns + watch->notify->watchdog_ns;
}

/* ------------------------------------------------------------------------------------------------- resources ---- */

static void look(struct watch *watch) {
    uint64_t now_ns = clock_ns();
    if (now_ns >= watch->look_ns) {
        watch->look_ns = now_ns + resources_look(watch->server, now_ns) * NS_PER_MS;
    }
}

static uint64_t sooner(uint64_t a_ns, uint64_t b_ns) {
    return a_ns < b_ns ? a_ns : b_ns;
}

/* -------------------------------------------------------------------------------------------------- drain ---- */

/* A second signal ends the process on the spot; but one that comes with the first is the first again: timeout(1) and others
 * signal a process and then its group. */
static void heed_second(const struct watch *watch, int number, uint64_t heed_from_ns) {
    if (heed(watch, number) && clock_ns() >= heed_from_ns) {
        log_line(LOG_WARN, "%s: %s again: exit at once", watch->server->app->name, sigabbrev_np(number));
        sockets_release(watch->server);
        _exit(128 + number);
    }
}

static uint32_t ms_of(uint64_t ns) {
    return (uint32_t)(ns / NS_PER_MS);
}

/* Not ready, but serving: whoever sends clients here has time to learn of it. */
static void delay(const struct watch *watch, const char *why, uint64_t heed_from_ns) {
    uint64_t delay_ns = watch->server->config->drain_delay_ns;
    if (delay_ns == 0) {
        return;
    }
    log_line(LOG_INFO, "%s: %s: not ready any more, draining in %u ms", watch->server->app->name, why, ms_of(delay_ns));
    uint64_t until_ns = clock_ns() + delay_ns;
    while (clock_ns() < until_ns && crew_serving(watch->crew) > 0) {
        heed_second(watch, wait_for_news(watch, until_ns), heed_from_ns);
    }
}

/* After the first signal: everything that was asked is answered. */
static void drain(const struct watch *watch, const char *why) {
    struct server *server = watch->server;
    uint64_t heed_from_ns = clock_ns() + SAME_SIGNAL_MS * NS_PER_MS;
    notify_send(watch->notify, "STOPPING=1\nSTATUS=draining");
    server_leave(server);
    delay(watch, why, heed_from_ns);
    log_line(LOG_INFO, "%s: %s: draining, at most %u ms", server->app->name, why, ms_of(server->config->drain_timeout_ns));
    server_drain(server, server->config->workers);
    while (crew_serving(watch->crew) > 0) {
        heed_second(watch, wait_for_news(watch, UINT64_MAX), heed_from_ns);
    }
}

void supervise(struct server *server, struct crew *crew, const struct notify *notify, int signals) {
    static struct watch watch;
    watch = (struct watch){ .server = server, .crew = crew, .notify = notify, .signals = signals };
    int number = 0;
    while (crew_serving(crew) == server->config->workers) {
        pet(&watch);
        look(&watch);
        number = wait_for_news(&watch, sooner(next_pet_ns(&watch), watch.look_ns));
        if (heed(&watch, number)) {
            break;
        }
        number = 0;
    }
    drain(&watch, number != 0 ? sigabbrev_np(number) : "a worker has failed");
}
