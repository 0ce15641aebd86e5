#include "server/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem/assert.h"
#include "server/config_priv.h"
#include "server/config_values.h"

static bool read_listen(struct config *config, const char *text, char *why) {
    if (config->listen_count == CONFIG_LISTEN_MAX) {
        return WHY("is given more than %d times", CONFIG_LISTEN_MAX);
    }
    if (!ring_address_parse(span_text(text), &config->listen[config->listen_count])) {
        return WHY("must be ADDRESS:PORT, [V6]:PORT, :PORT or unix:PATH (numbers, no names)");
    }
    config->listen_count++;
    return true;
}

static bool read_workers(struct config *config, const char *text, char *why) {
    if (strcmp(text, "auto") == 0) {
        config->workers = 0;
        return true;
    }
    if (!config_number_in(text, 1, CONFIG_WORKERS_MAX, &config->workers, why)) {
        return WHY("must be auto or a number from 1 to %d", CONFIG_WORKERS_MAX);
    }
    return true;
}

static bool read_io(struct config *config, const char *text, char *why) {
    static const struct {
        const char *name;
        enum ring_choice choice;
    } choices[] = { { "auto", RING_AUTO }, { "uring", RING_URING }, { "epoll", RING_EPOLL } };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (strcmp(text, choices[i].name) == 0) {
            config->io = choices[i].choice;
            return true;
        }
    }
    return WHY("must be auto, uring or epoll");
}

static bool read_ring(struct config *config, const char *text, char *why) {
    return ring_tuning_parse(span_text(text), &config->tuning, why, CONFIG_WHY_BYTES);
}

static bool read_connections(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 1 << 20, &config->max_connections, why);
}

static bool read_request_line(struct config *config, const char *text, char *why) {
    return config_size32_in(text, 64, 16384, &config->limits.request_line_bytes, why);
}

static bool read_header_bytes(struct config *config, const char *text, char *why) {
    return config_size32_in(text, 256, 32768, &config->limits.header_bytes, why);
}

static bool read_header_fields(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, HTTP_FIELDS_MAX, &config->limits.fields, why);
}

static bool read_body_bytes(struct config *config, const char *text, char *why) {
    return config_size_in(text, 0, UINT64_C(1) << 32, &config->limits.body_bytes, why);
}

static bool read_body_buffers(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 65536, &config->body_buffers, why);
}

static bool read_pipeline(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 1024, &config->limits.pipeline, why);
}

static bool read_output_bytes(struct config *config, const char *text, char *why) {
    return config_size_in(text, 4096, UINT64_C(1) << 30, &config->output_bytes, why);
}

static bool read_helpers(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 16, &config->helpers, why);
}

static bool read_offloads(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 65536, &config->offloads, why);
}

static bool read_watches(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 65536, &config->watches, why);
}

static bool read_header_timeout(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->header_timeout_ns, why);
}

static bool read_body_timeout(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->body_timeout_ns, why);
}

static bool read_write_timeout(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->write_timeout_ns, why);
}

static bool read_idle_timeout(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->idle_timeout_ns, why);
}

static bool read_drain_timeout(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->drain_timeout_ns, why);
}

static bool read_log_level(struct config *config, const char *text, char *why) {
    return log_level_parse(text, &config->log_level) || WHY("must be error, warn, info or debug");
}

static bool read_admin(struct config *config, const char *text, char *why) {
    if (strcmp(text, "none") == 0) {
        config->admin.len = 0;
        return true;
    }
    return ring_address_parse(span_text(text), &config->admin) ||
           WHY("must be none, ADDRESS:PORT, [V6]:PORT, :PORT or unix:PATH (numbers, no names)");
}

static bool read_unix_mode(struct config *config, const char *text, char *why) {
    uint32_t mode = 0;
    size_t digits = strspn(text, "01234567");
    for (size_t i = 0; i < digits && digits <= 4; i++) {
        mode = mode * 8 + (uint32_t)(text[i] - '0');
    }
    config->unix_mode = mode;
    return (digits > 0 && digits <= 4 && text[digits] == '\0' && mode <= 0777) || WHY("must be an octal mode from 0 to 0777");
}

static bool read_drain_delay(struct config *config, const char *text, char *why) {
    if (config_duration(text, &config->drain_delay_ns) && config->drain_delay_ns == 0) {
        return true;
    }
    return config_duration_in(text, &config->drain_delay_ns, why);
}

static bool read_log_format(struct config *config, const char *text, char *why) {
    return log_format_parse(text, &config->log_format) || WHY("must be text or json");
}

static bool read_access_log(struct config *config, const char *text, char *why) {
    config->access_log = strcmp(text, "off") == 0 ? NULL : text;
    return *text != '\0' || WHY("must be a path, - for standard output, or off");
}

static bool read_access_format(struct config *config, const char *text, char *why) {
    return access_format_parse(text, &config->access_format) || WHY("must be common, combined or json");
}

static bool read_store(struct config *config, const char *text, char *why) {
    config->store = strcmp(text, "none") == 0 ? NULL : text;
    return *text != '\0' || WHY("must be a path, or none");
}

static bool read_store_bytes(struct config *config, const char *text, char *why) {
    return config_size_in(text, UINT64_C(1) << 20, UINT64_C(1) << 36, &config->store_bytes, why);
}

static bool read_store_objects(struct config *config, const char *text, char *why) {
    return config_number_in(text, 64, UINT64_C(1) << 26, &config->store_objects, why);
}

static bool read_cache_waiters(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 1 << 20, &config->cache_waiters, why);
}

static bool read_cache_wait(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->cache_wait_ns, why);
}

static bool set_plan(struct config *config, const char *text, char *why) {
    (void)text, (void)why;
    config->action = CONFIG_PLAN;
    return true;
}

static bool set_help(struct config *config, const char *text, char *why) {
    (void)text, (void)why;
    config->action = CONFIG_HELP;
    return true;
}

static bool set_version(struct config *config, const char *text, char *why) {
    (void)text, (void)why;
    config->action = CONFIG_VERSION;
    return true;
}

static const struct flag flags[] = {
    { "listen", "ADDR:PORT|unix:PATH", NULL, "127.0.0.1:8080", read_listen, "where to listen; may be repeated (PORT)" },
    { "admin", "ADDR:PORT|unix:PATH|none", "none", NULL, read_admin,
      "answers /healthz, /readyz, /metrics and /stats there, and not at --listen" },
    { "unix-mode", "OCTAL", "0660", NULL, read_unix_mode, "mode of the Unix sockets that are made" },
    { "workers", "N|auto", "auto", NULL, read_workers, "threads, each with a ring of its own; auto: one per CPU" },
    { "io", "auto|uring|epoll", "auto", NULL, read_io, "the backend; auto falls back to epoll and says so" },
    { "ring", "KEY=VALUE,...", NULL, "default", read_ring,
      "switches of the ring: default, naive, kernel=6.1, recv=single ..." },
    { "max-connections", "N", NULL, "from NOFILE", read_connections, "connections of the process; more get 503" },
    { "request-line-bytes", "SIZE", "8K", NULL, read_request_line, "longest request line; longer is 414" },
    { "header-bytes", "SIZE", "16K", NULL, read_header_bytes, "all header fields together; more is 431" },
    { "header-fields", "N", "100", NULL, read_header_fields, "header fields; more is 431" },
    { "body-bytes", "SIZE", "1M", NULL, read_body_bytes, "longest buffered body; longer is 413" },
    { "body-buffers", "N", "8", NULL, read_body_buffers, "bodies over 16K at a time, per worker; more get 503" },
    { "pipeline", "N", "64", NULL, read_pipeline, "unfinished requests of one connection before reading stops" },
    { "output-bytes", "SIZE", "256K", NULL, read_output_bytes, "unsent bytes of one connection before reading stops" },
    { "helpers", "N", "2", NULL, read_helpers, "threads for work that blocks, of the process" },
    { "offloads", "N", "64", NULL, read_offloads, "jobs for them at a time, per worker; more get 503" },
    { "watches", "N", "1024", NULL, read_watches, "descriptors that handlers wait for at a time, per worker; more get 503" },
    { "header-timeout", "TIME", "10s", NULL, read_header_timeout, "from the first byte of a head to its last" },
    { "body-timeout", "TIME", "10s", NULL, read_body_timeout, "from one piece of a body to the next" },
    { "write-timeout", "TIME", "10s", NULL, read_write_timeout, "without the client taking a byte of what it is sent" },
    { "idle-timeout", "TIME", "75s", NULL, read_idle_timeout, "between requests of a connection" },
    { "drain-timeout", "TIME", "10s", NULL, read_drain_timeout, "for requests in flight after TERM or INT" },
    { "drain-delay", "TIME", "0", NULL, read_drain_delay,
      "how long to serve on at TERM while /readyz says 503 already" },
    { "db", "URL|none", NULL, "DATABASE_URL", config_read_db,
      "the database: postgres://USER@HOST/NAME, or key=value pairs (PGHOST, PGUSER ...)" },
    { "db-connections", "N", NULL, "DATABASE_MAX_CONN, else 2 per worker", config_read_db_connections,
      "connections to it, of the process; shared out among the workers" },
    { "db-inflight", "N", "16", NULL, config_read_db_inflight, "queries in flight on one of them" },
    { "db-queue", "N", "1024", NULL, config_read_db_queue, "queries that wait for one, per worker; more get 503" },
    { "db-timeout", "TIME", "5s", NULL, config_read_db_timeout, "from the start of a query to its end; later is 504" },
    { "db-grace", "TIME", "500ms", NULL, config_read_db_grace,
      "after that, until a query that holds others up is cancelled, and as long again until its connection is closed" },
    { "db-transaction-timeout", "TIME", "30s", NULL, config_read_db_transaction_timeout,
      "from the start of a transaction to its end" },
    { "db-ping", "TIME", "30s", NULL, config_read_db_ping,
      "idle for so long, a connection is asked for a sign of life; 0: never" },
    { "db-connect-timeout", "TIME", NULL, "connect_timeout of the URL, else 10s", config_read_db_connect_timeout,
      "for a connection to be made and let in" },
    { "db-result-bytes", "SIZE", "1M", NULL, config_read_db_result_bytes, "longest result that is kept; longer is 500" },
    { "db-row-bytes", "SIZE", "256K", NULL, config_read_db_row_bytes, "longest row that is taken; longer is 500" },
    { "db-prepare", "on|off", "on", NULL, config_read_db_prepare,
      "keep statements prepared; off: for a pooler that changes servers behind a connection" },
    { "store", "PATH|none", "none", NULL, read_store,
      "the file of the responses that routes cache, mapped; none: they are in memory and are lost at the end" },
    { "store-bytes", "SIZE", "256M", NULL, read_store_bytes, "of them, all workers together" },
    { "store-objects", "N", NULL, "one per 4K of --store-bytes, at least 1024", read_store_objects,
      "responses that may be kept at a time: their index takes memory" },
    { "cache-wait", "TIME", "5s", NULL, read_cache_wait,
      "for the response of another request to the same key; then its own handler runs" },
    { "cache-waiters", "N", "1024", NULL, read_cache_waiters, "requests that wait so at a time, per worker; more get 503" },
    { "log-level", "LEVEL", "info", NULL, read_log_level, "error, warn, info or debug" },
    { "log-format", "text|json", "text", NULL, read_log_format, "what the lines on standard error look like" },
    { "access-log", "PATH|-|off", "off", NULL, read_access_log, "a line for each answer, to a file or standard output" },
    { "access-format", "common|combined|json", "combined", NULL, read_access_format, "what its lines look like" },
    { "plan", NULL, NULL, NULL, set_plan, "print the memory plan and exit" },
    { "help", NULL, NULL, NULL, set_help, "print this and exit" },
    { "version", NULL, NULL, NULL, set_version, "print the version and the backends compiled in, and exit" },
};
enum { FLAGS_COUNT = sizeof flags / sizeof flags[0] };

static bool set_default_listen(struct config *config, const char *port, char *why) {
    char text[64];
    uint32_t number;
    if (!config_number_in(port, 0, 65535, &number, why)) {
        return false;
    }
    snprintf(text, sizeof text, "127.0.0.1:%u", number);
    return read_listen(config, text, why);
}

void config_default(struct config *config) {
    char why[CONFIG_WHY_BYTES];
    *config = (struct config){ .action = CONFIG_RUN };
    ring_tuning_default(&config->tuning);
    for (size_t i = 0; i < FLAGS_COUNT; i++) {
        if (flags[i].initial != NULL) {
            bool fine = flags[i].read(config, flags[i].initial, why);
            rm_assert(fine);
        }
    }
}

/* ----------------------------------------------------------------------------------------------- environment ---- */

enum { VARIABLE_BYTES = 96 };

/* "header-bytes" is RINGMAIN_HEADER_BYTES. */
static const char *variable_of(const char *name, char out[static VARIABLE_BYTES]) {
    size_t len = (size_t)snprintf(out, VARIABLE_BYTES, "RINGMAIN_%s", name);
    for (size_t i = 0; i < len && i < VARIABLE_BYTES; i++) {
        if (out[i] >= 'a' && out[i] <= 'z') {
            out[i] = (char)(out[i] - 'a' + 'A');
        } else if (out[i] == '-') {
            out[i] = '_';
        }
    }
    return out;
}

/* The bad value is named with where it came from. */
int config_bad_value(const char *source, const char *text, char *why) {
    char reason[CONFIG_WHY_BYTES];
    memcpy(reason, why, sizeof reason);
    snprintf(why, CONFIG_WHY_BYTES, "%s '%.64s': %.300s", source, text, reason);
    return EXIT_USAGE;
}

static int read_environment(struct config *config, const struct rm_app *app, char *why) {
    char variable[VARIABLE_BYTES];
    for (size_t i = 0; i < FLAGS_COUNT; i++) {
        const char *text = flags[i].argument == NULL ? NULL : getenv(variable_of(flags[i].name, variable));
        if (text != NULL && !flags[i].read(config, text, why)) {
            return config_bad_value(variable, text, why);
        }
    }
    for (const struct rm_option *option = app->options; option != NULL && option->name != NULL; option++) {
        const char *text = getenv(variable_of(option->name, variable));
        if (text != NULL) {
            *option->value = text;
        }
    }
    return EXIT_FINE;
}

/* ---------------------------------------------------------------------------------------------- command line ---- */

static const struct flag *find_flag(const char *name, size_t len) {
    for (size_t i = 0; i < FLAGS_COUNT; i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

static const struct rm_option *find_option(const struct rm_app *app, const char *name, size_t len) {
    for (const struct rm_option *option = app->options; option != NULL && option->name != NULL; option++) {
        if (strlen(option->name) == len && memcmp(option->name, name, len) == 0) {
            return option;
        }
    }
    return NULL;
}

static const char *nearest(const struct rm_app *app, const char *name) {
    const char *best = "help";
    unsigned least = ~0u;
    for (size_t i = 0; i < FLAGS_COUNT; i++) {
        unsigned distance = config_distance(name, flags[i].name);
        if (distance < least) {
            least = distance;
            best = flags[i].name;
        }
    }
    for (const struct rm_option *option = app->options; option != NULL && option->name != NULL; option++) {
        unsigned distance = config_distance(name, option->name);
        if (distance < least) {
            least = distance;
            best = option->name;
        }
    }
    return best;
}

static int unknown(const struct rm_app *app, const char *argument, char *why) {
    if (strncmp(argument, "--", 2) != 0) {
        int shown = (int)strcspn(argument, ":="); /* behind them may be a password: a URL without its --db */
        snprintf(why, CONFIG_WHY_BYTES, "unexpected argument '%.*s%s'; see --help", shown < 64 ? shown : 64, argument,
                 argument[shown] != '\0' ? "..." : "");
        return EXIT_USAGE;
    }
    char name[65];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
    snprintf(why, CONFIG_WHY_BYTES, "unknown flag --%s; did you mean --%s? See --help", name, nearest(app, name));
    return EXIT_USAGE;
}

/* One argument of the command line, taken apart. */
struct argument {
    const struct flag *flag;
    const struct rm_option *option;
    const char *value; /* NULL: the flag stands alone */
    char source[80];   /* "--name" */
};

/* Reads argv[*i], and the value behind it when the flag needs one that is not behind an equals sign. */
static int take_argument(const struct rm_app *app, int argc, char **argv, int *i, struct argument *out, char *why) {
    const char *text = argv[*i];
    const char *name = strncmp(text, "--", 2) == 0 ? text + 2 : "";
    size_t len = strcspn(name, "=");
    out->flag = find_flag(name, len);
    out->option = out->flag != NULL ? NULL : find_option(app, name, len);
    if (out->flag == NULL && out->option == NULL) {
        return unknown(app, text, why);
    }
    snprintf(out->source, sizeof out->source, "--%.*s", (int)len, name);
    out->value = name[len] == '=' ? name + len + 1 : NULL;
    bool needs_value = out->option != NULL || out->flag->argument != NULL;
    if (!needs_value && out->value != NULL) {
        snprintf(why, CONFIG_WHY_BYTES, "%s takes no value", out->source);
        return EXIT_USAGE;
    }
    if (needs_value && out->value == NULL) {
        if (*i + 1 >= argc) {
            const char *argument = out->flag != NULL ? out->flag->argument : out->option->argument;
            snprintf(why, CONFIG_WHY_BYTES, "%s needs a value: %s", out->source, argument);
            return EXIT_USAGE;
        }
        out->value = argv[++*i];
    }
    return EXIT_FINE;
}

static int read_arguments(struct config *config, int argc, char **argv, const struct rm_app *app, char *why) {
    bool listens_given = false;
    for (int i = 1; i < argc; i++) {
        struct argument argument;
        int code = take_argument(app, argc, argv, &i, &argument, why);
        if (code != EXIT_FINE) {
            return code;
        }
        if (argument.option != NULL) {
            *argument.option->value = argument.value;
            continue;
        }
        if (argument.flag->read == read_listen && !listens_given) {
            listens_given = true;
            config->listen_count = 0; /* the flag replaces what the environment said */
        }
        if (!argument.flag->read(config, argument.value, why)) {
            return config_bad_value(argument.source, argument.value, why);
        }
    }
    return EXIT_FINE;
}

static int listen_by_default(struct config *config, char *why) {
    config->listen_default = true;
    const char *port = getenv("PORT");
    if (!set_default_listen(config, port != NULL ? port : "8080", why)) {
        return config_bad_value("PORT", port != NULL ? port : "8080", why);
    }
    return EXIT_FINE;
}

static bool app_caches(const struct rm_app *app) {
    bool caches = false;
    for (const struct rm_route *route = app->routes; route != NULL && route->method != NULL; route++) {
        caches |= route->cache != NULL;
    }
    return caches;
}

int config_read(struct config *config, int argc, char **argv, const struct rm_app *app,
                char why[static CONFIG_WHY_BYTES]) {
    why[0] = '\0';
    config_default(config);
    config->statements = app->statement_count;
    config->caches = app_caches(app);
    int code = read_environment(config, app, why);
    if (code == EXIT_FINE) {
        code = read_arguments(config, argc, argv, app, why);
    }
    if (code == EXIT_FINE && config->listen_count == 0) {
        code = listen_by_default(config, why);
    }
    bool runs = config->action == CONFIG_RUN || config->action == CONFIG_PLAN;
    return code == EXIT_FINE && runs ? config_db_read(config, app, why) : code;
}

/* ------------------------------------------------------------------------------------------ what it comes to ---- */

static uint32_t default_connections(uint64_t room) {
    if (room >= 2 * CONFIG_FILES_BURST) {
        room -= CONFIG_FILES_BURST;
    }
    return room < CONFIG_CONNECTIONS_DEFAULT ? (uint32_t)room : CONFIG_CONNECTIONS_DEFAULT;
}

int config_resolve(struct config *config, uint32_t cpus, uint64_t files, char why[static CONFIG_WHY_BYTES]) {
    rm_assert(cpus > 0);
    if (config->workers == 0) {
        config->workers = cpus < CONFIG_WORKERS_MAX ? cpus : CONFIG_WORKERS_MAX;
    }
    if (config->store_objects == 0) {
        uint64_t objects = config->store_bytes / CONFIG_STORE_OBJECT_BYTES;
        config->store_objects = objects < CONFIG_STORE_OBJECTS_MIN ? CONFIG_STORE_OBJECTS_MIN : (uint32_t)objects;
    }
    int code = config_db_resolve(config, why);
    if (code != EXIT_FINE) {
        return code;
    }
    uint64_t reserve = CONFIG_FILES_RESERVE + config_db_files(config) +
                       (uint64_t)config->workers * (CONFIG_FILES_PER_WORKER + config_listeners(config));
    uint64_t wanted = config->max_connections > 0 ? config->max_connections : config->workers;
    if (files < reserve + wanted) {
        snprintf(
            why, CONFIG_WHY_BYTES,
            "%lu connections and %u workers need %lu descriptors, the limit is %lu: raise it with `ulimit -n %lu`, or "
            "lower --max-connections or --workers",
            (unsigned long)wanted, config->workers, (unsigned long)(reserve + wanted), (unsigned long)files,
            (unsigned long)(reserve + wanted));
        return EXIT_CONFIG;
    }
    if (config->max_connections == 0) {
        config->max_connections = default_connections(files - reserve);
    }
    if (config->max_connections < config->workers) {
        snprintf(why, CONFIG_WHY_BYTES, "--max-connections %u is less than one per worker (%u)",
                 config->max_connections, config->workers);
        return EXIT_CONFIG;
    }
    return EXIT_FINE;
}

uint32_t config_listeners(const struct config *config) {
    return config->listen_count + (config->admin.len > 0) + config->inherited.count;
}

uint32_t config_connections_per_worker(const struct config *config) {
    rm_assert(config->workers > 0);
    uint32_t share = (config->max_connections + config->workers - 1) / config->workers;
    uint32_t roomy = share + share / 2 + 32;
    return roomy < config->max_connections ? roomy : config->max_connections;
}

/* ----------------------------------------------------------------------------------------------------- print ---- */

static void print_row(const char *name, const char *argument, const char *initial, const char *help) {
    char left[80];
    snprintf(left, sizeof left, "--%s%s%s", name, argument != NULL ? " " : "", argument != NULL ? argument : "");
    printf("  %-34s %s", left, help);
    if (initial != NULL) {
        printf(" [%s]", initial);
    }
    putchar('\n');
}

void config_print_help(const struct rm_app *app) {
    printf(
        "usage: %s [flags]\n"
        "       %s doctor [--json] [flags]   says what on this machine helps, slows or stops the server\n\n"
        "flags, with their defaults in brackets; each has an environment variable, RINGMAIN_ and\n"
        "its name (RINGMAIN_HEADER_BYTES), which a flag overrides:\n",
        app->name, app->name);
    for (size_t i = 0; i < FLAGS_COUNT; i++) {
        print_row(flags[i].name, flags[i].argument, flags[i].initial != NULL ? flags[i].initial : flags[i].shown,
                  flags[i].help);
    }
    if (app->options != NULL && app->options->name != NULL) {
        printf("\n%s's own:\n", app->name);
    }
    for (const struct rm_option *option = app->options; option != NULL && option->name != NULL; option++) {
        print_row(option->name, option->argument, *option->value, option->help);
    }
    printf("\ndurations: us ms s m; sizes: K M G. TERM, INT and QUIT drain and exit 0; a second one exits at once;\n"
           "HUP and USR1 reopen the access log.\n"
           "exit codes: 0 fine, 2 usage, 69 backend, address or store unavailable, 70 internal, 78 configuration\n");
}

void config_print_version(void) {
    printf("ringmain %s (%s%s%s)\n", rm_version(), ring_has_backend(RING_URING) ? "uring" : "",
           ring_has_backend(RING_URING) && ring_has_backend(RING_EPOLL) ? " " : "",
           ring_has_backend(RING_EPOLL) ? "epoll" : "");
}
