/* rm_main: from the command line to the exit code. */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/config.h"
#include "server/crew.h"
#include "server/db.h"
#include "server/doctor.h"
#include "server/log.h"
#include "server/logger.h"
#include "server/server.h"
#include "server/notify.h"
#include "server/resources.h"
#include "server/sockets.h"
#include "server/storage.h"
#include "server/supervise.h"
#include "server/worker.h"

/* Who has mistyped a flag is a person: no date, no JSON. */
static int fail(const struct rm_app *app, int code, const char *why) {
    if (code == EXIT_USAGE) {
        fprintf(stderr, "%s: %s\n", app->name, why);
    } else {
        log_line(LOG_ERROR, "%s: %s", app->name, why);
    }
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

/* Sockets that a service manager has opened take the place of the default address. */
static int take_sockets(struct config *config, char *why) {
    if (!notify_take_sockets(&config->inherited, NOTIFY_FIRST_FD, why, CONFIG_WHY_BYTES)) {
        return EXIT_CONFIG;
    }
    for (uint32_t i = 0; i < config->inherited.count; i++) {
        if (!config->inherited.sockets[i].admin && config->listen_default) {
            config->listen_count = 0;
        }
    }
    return EXIT_FINE;
}

/* ------------------------------------------------------------------------------------------------ start line ---- */

static void say_addresses(const struct server *server, bool admin, char *out, size_t room) {
    size_t len = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < server->place_count && len < room; i++) {
        char text[RING_ADDRESS_BYTES];
        if (server->places[i].admin != admin) {
            continue;
        }
        ring_address_text(&server->places[i].address, text);
        bool is_unix = strncmp(text, "unix:", 5) == 0;
        int n = snprintf(out + len, room - len, "%s%s%s", len > 0 ? ", " : "", is_unix ? "" : "http://", text);
        len += n > 0 ? (size_t)n : 0;
    }
}

/* Memory that could not be locked: the first worker whose ring was refused says so, for all of them. */
static void say_unregistered(const struct server *server) {
    for (uint32_t i = 0; i < server->config->workers; i++) {
        const char *why = server->workers[i].report.unregistered;
        if (*why != '\0') {
            log_line(LOG_WARN, "worker %u: not registered: %s", i, why);
            return;
        }
    }
}

/* In text the line has no date: it is for who has just started the server. */
static void say_start(const struct server *server) {
    const struct ring_report *report = &server->workers[0].report;
    char places[640], admin[160], registered[64], line[LOG_MESSAGE_BYTES];
    snprintf(registered, sizeof registered, "%s%.40s", *report->registered != '\0' ? ", registered: " : "", report->registered);
    say_addresses(server, false, places, sizeof places);
    say_addresses(server, true, admin, sizeof admin);
    if (report->fallback) {
        log_line(LOG_WARN, "FALLBACK: running on %s: %s", report->backend, report->why);
    }
    say_unregistered(server);
    snprintf(line, sizeof line, "ringmain %s %s: listening on %s%s%s · backend %s (%s%s) · %u worker%s · pid %d", rm_version(),
             server->app->name, places, *admin != '\0' ? " · admin on " : "", admin, report->backend, report->features,
             registered, server->config->workers, server->config->workers == 1 ? "" : "s", (int)getpid());
    if (server->config->log_format == LOG_JSON) {
        log_line(LOG_INFO, "%s", line);
    } else if (log_enabled(LOG_INFO)) {
        fprintf(stderr, "%s\n", line);
    }
}

/* ------------------------------------------------------------------------------------------------------ life ---- */

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

/* Every worker is open and listens. */
static void go(struct server *server, struct crew *crew, const struct notify *notify, int signals) {
    say_start(server);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    (void)resources_look(server, (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec); /* for who asks at once */
    crew_go(crew);
    if (server->app->ready != NULL) {
        server->app->ready();
    }
    notify_send(notify, "READY=1\nMAINPID=%d\nSTATUS=serving with %u workers on %s", (int)getpid(), server->config->workers,
                server->workers[0].report.backend);
    supervise(server, crew, notify, signals);
    stop_logger(server); /* while the workers hold their lines */
}

static int serve(struct server *server, const struct notify *notify, int signals) {
    char why[CONFIG_WHY_BYTES];
    struct sockets_held held;
    int code = sockets_prepare(server, &held, why);
    if (code != EXIT_FINE) {
        return fail(server->app, code, why);
    }
    struct crew crew;
    code = crew_start(&crew, server);
    sockets_release_held(&held);
    bool logged = code != EXIT_FINE || start_logger(server);
    if (code == EXIT_FINE && logged) {
        go(server, &crew, notify, signals);
    }
    code = crew_join(&crew);
    sockets_release(server);
    if (code != EXIT_FINE || !logged) {
        return logged ? fail(server->app, code, crew.why)
                      : fail(server->app, EXIT_INTERNAL, "cannot start the access log's thread");
    }
    log_line(LOG_INFO, "%s: drained", server->app->name);
    return EXIT_FINE;
}

static bool start_resolver(struct server *server) {
    const struct config *config = server->config;
    if (!config->db_on || !db_host_is_name(&config->db)) {
        return true;
    }
    server->resolver = resolver_start(&config->db);
    return server->resolver != NULL;
}

static int serve_with_threads(struct server *server) {
    struct notify notify;
    int signals = supervise_signals();
    server->ring.helpers = ring_helpers_start(server->config->helpers);
    if (signals < 0 || server->ring.helpers == NULL || !start_resolver(server)) {
        return fail(server->app, EXIT_INTERNAL, "cannot start the helper threads");
    }
    notify_open(&notify);
    int code = serve(server, &notify, signals);
    notify_close(&notify);
    ring_helpers_stop(server->ring.helpers);
    resolver_stop(server->resolver);
    close(signals);
    return code;
}

static int serve_logged(struct server *server) {
    struct logger logger;
    char why[CONFIG_WHY_BYTES];
    if (server->config->access_log == NULL) {
        return serve_with_threads(server);
    }
    if (!logger_open(&logger, server->config->access_log)) {
        snprintf(why, sizeof why, "--access-log '%.256s' cannot be opened: %m", server->config->access_log);
        return fail(server->app, EXIT_CONFIG, why);
    }
    server->logger = &logger;
    int code = serve_with_threads(server);
    logger_stop(&logger);
    server->logger = NULL;
    return code;
}

static int run(const struct config *config, const struct rm_app *app) {
    char why[CONFIG_WHY_BYTES];
    static struct server server;
    supervise_early();
    int code = app->start != NULL ? app->start() : EXIT_FINE;
    if (code != EXIT_FINE) {
        return code;
    }
    code = server_open(&server, config, app, why);
    if (code != EXIT_FINE) {
        return fail(app, code, why);
    }
    code = storage_open(&server, why);
    code = code == EXIT_FINE ? serve_logged(&server) : fail(app, code, why);
    storage_close(&server);
    server_release(&server);
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
    log_set_format(config.log_format);
    if (config.action == CONFIG_HELP) {
        config_print_help(app);
        return EXIT_FINE;
    }
    if (config.action == CONFIG_VERSION) {
        config_print_version();
        return EXIT_FINE;
    }
    code = take_sockets(&config, why);
    if (code == EXIT_FINE) {
        code = config_resolve(&config, count_cpus(), raise_files(), why);
    }
    if (code != EXIT_FINE) {
        return fail(app, code, why);
    }
    return config.action == CONFIG_PLAN ? print_plan(&config) : run(&config, app);
}
