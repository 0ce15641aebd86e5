/* rm_main: from the command line to the exit code. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/config.h"
#include "server/crew.h"
#include "server/doctor.h"
#include "server/log.h"
#include "server/logger.h"
#include "server/server.h"
#include "server/sockets.h"
#include "server/worker.h"

enum { SAME_SIGNAL_MS = 100 };

static int fail(const struct rm_app *app, int code, const char *why) {
    log_line(LOG_ERROR, "%s: %s", app->name, why);
    return code;
}

/* --------------------------------------------------------------------------------------------- configuration ---- */

static uint32_t count_cpus(void) {
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0) {
        return 1;
    }
    return (uint32_t)CPU_COUNT(&mask);
}

/* The soft limit of descriptors becomes the hard one: the soft one is for programs that use select(2). */
static uint64_t raise_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            return raised.rlim_cur;
        }
    }
    return limit.rlim_cur;
}

/* --------------------------------------------------------------------------------------------------- signals ---- */

/* TERM and INT are read from a descriptor; blocked before the first thread starts, so that all inherit it. -1 on
 * error. */
static int open_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) {
        return -1;
    }
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static int read_signal(int signals) {
    struct signalfd_siginfo info;
    return read(signals, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

/* Sleeps until a signal comes or a worker has ended. The signal, or 0. */
static int wait_for_news(int signals, const struct crew *crew) {
    struct pollfd fds[] = { { .fd = signals, .events = POLLIN }, { .fd = crew->event, .events = POLLIN } };
    if (poll(fds, 2, -1) < 0) {
        return 0;
    }
    if ((fds[1].revents & POLLIN) != 0) {
        uint64_t count;
        (void)!read(crew->event, &count, sizeof count);
    }
    return (fds[0].revents & POLLIN) != 0 ? read_signal(signals) : 0;
}

/* ------------------------------------------------------------------------------------------------ start line ---- */

static void say_addresses(const struct server *server, char *out, size_t room) {
    size_t len = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < server->config->listen_count && len < room; i++) {
        char text[RING_ADDRESS_BYTES];
        ring_address_text(&server->addresses[i], text);
        bool is_unix = strncmp(text, "unix:", 5) == 0;
        int n = snprintf(out + len, room - len, "%s%s%s", i > 0 ? ", " : "", is_unix ? "" : "http://", text);
        len += n > 0 ? (size_t)n : 0;
    }
}

static void say_start(const struct server *server) {
    const struct ring_report *report = &server->workers[0].report;
    char addresses[CONFIG_LISTEN_MAX * RING_ADDRESS_BYTES / 2];
    say_addresses(server, addresses, sizeof addresses);
    if (report->fallback) {
        log_line(LOG_WARN, "FALLBACK: running on %s: %s", report->backend, report->why);
    }
    if (log_enabled(LOG_INFO)) {
        fprintf(stderr, "ringmain %s %s: listening on %s · backend %s (%s) · %u worker%s · pid %d\n", rm_version(),
                server->app->name, addresses, report->backend, report->features, server->config->workers,
                server->config->workers == 1 ? "" : "s", (int)getpid());
    }
}

/* ------------------------------------------------------------------------------------------------------ life ---- */

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec;
}

/* After the first signal: everything that was asked is answered. A second signal ends the process on the spot; but one that
 * comes with the first is the first again: timeout(1) and others signal a process and then its group. */
static void drain(struct server *server, struct crew *crew, int signals, const char *why) {
    log_line(LOG_INFO, "%s: %s: draining, at most %lu ms", server->app->name, why,
             (unsigned long)(server->config->drain_timeout_ns / NS_PER_MS));
    uint64_t heed_from_ns = clock_ns() + SAME_SIGNAL_MS * NS_PER_MS;
    server_drain(server, server->config->workers);
    while (crew_serving(crew) > 0) {
        int second = wait_for_news(signals, crew);
        if (second != 0 && clock_ns() >= heed_from_ns) {
            log_line(LOG_WARN, "%s: %s again: exit at once", server->app->name, sigabbrev_np(second));
            sockets_release(server);
            _exit(128 + second);
        }
    }
}

/* When the workers are open. */
static bool start_logger(struct server *server) {
    static struct lines *rings[CONFIG_WORKERS_MAX];
    if (server->logger == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < server->config->workers; i++) {
        rings[i] = server->workers[i].observer.lines;
    }
    return logger_start(server->logger, rings, server->config->workers);
}

static void stop_logger(struct server *server) {
    if (server->logger != NULL) {
        logger_stop(server->logger);
    }
}

static int serve(struct server *server, int signals) {
    char why[CONFIG_WHY_BYTES];
    struct sockets_held held;
    int code = sockets_prepare(server, &held, why);
    if (code != EXIT_FINE) {
        return fail(server->app, code, why);
    }
    struct crew crew;
    code = crew_start(&crew, server);
    sockets_release_held(&held);
    if (code == EXIT_FINE && !start_logger(server)) {
        code = fail(server->app, EXIT_INTERNAL, "cannot start the access log's thread");
    } else if (code == EXIT_FINE) {
        say_start(server);
        crew_go(&crew);
        if (server->app->ready != NULL) {
            server->app->ready();
        }
        int signal_number = 0;
        while (signal_number == 0 && crew_serving(&crew) == server->config->workers) {
            signal_number = wait_for_news(signals, &crew);
        }
        drain(server, &crew, signals, signal_number != 0 ? sigabbrev_np(signal_number) : "a worker has failed");
        stop_logger(server); /* while the workers hold their lines */
    }
    code = crew_join(&crew);
    sockets_release(server);
    if (code != EXIT_FINE) {
        return fail(server->app, code, crew.why);
    }
    log_line(LOG_INFO, "%s: drained", server->app->name);
    return EXIT_FINE;
}

static int run(const struct config *config, const struct rm_app *app) {
    char why[CONFIG_WHY_BYTES];
    int code = app->start != NULL ? app->start() : EXIT_FINE;
    if (code != EXIT_FINE) {
        return code;
    }
    struct server server;
    code = server_open(&server, config, app, why);
    if (code != EXIT_FINE) {
        return fail(app, code, why);
    }
    struct logger logger;
    if (config->access_log != NULL) {
        if (!logger_open(&logger, config->access_log)) {
            snprintf(why, sizeof why, "--access-log '%.256s' cannot be opened: %m", config->access_log);
            server_release(&server);
            return fail(app, EXIT_CONFIG, why);
        }
        server.logger = &logger;
    }
    int signals = open_signals();
    server.ring.helpers = ring_helpers_start(config->helpers);
    if (signals < 0 || server.ring.helpers == NULL) {
        server_release(&server);
        return fail(app, EXIT_INTERNAL, "cannot start the helper threads");
    }
    code = serve(&server, signals);
    stop_logger(&server);
    ring_helpers_stop(server.ring.helpers);
    server_release(&server);
    close(signals);
    return code;
}

static int print_plan(const struct config *config) {
    struct plan plan;
    plan_make(&plan, config);
    plan_print(&plan, stdout);
    return EXIT_FINE;
}

int rm_main(int argc, char **argv, const struct rm_app *app) {
    if (doctor_asked(argc, argv)) {
        return doctor_main(argc, argv, app, count_cpus(), raise_files());
    }
    struct config config;
    char why[CONFIG_WHY_BYTES];
    int code = config_read(&config, argc, argv, app, why);
    if (code != EXIT_FINE) {
        return fail(app, code, why);
    }
    log_set_level(config.log_level);
    if (config.action == CONFIG_HELP) {
        config_print_help(app);
        return EXIT_FINE;
    }
    if (config.action == CONFIG_VERSION) {
        config_print_version();
        return EXIT_FINE;
    }
    code = config_resolve(&config, count_cpus(), raise_files(), why);
    if (code != EXIT_FINE) {
        return fail(app, code, why);
    }
    return config.action == CONFIG_PLAN ? print_plan(&config) : run(&config, app);
}
