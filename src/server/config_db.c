/* The flags of the database, and what they come to. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/config_priv.h"
#include "server/config_values.h"

/* Looked at when all was read: it may hold a password, which no message shows. */
bool config_read_db(struct config *config, const char *text, char *why) {
    config->db_limits.url = text;
    return *text != '\0' || WHY("must be a URL, key=value pairs, or none");
}

bool config_read_db_connections(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, CONFIG_WORKERS_MAX * CONFIG_DB_CONNECTIONS_MAX, &config->db_limits.connections, why);
}

bool config_read_db_inflight(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 256, &config->db_limits.inflight, why);
}

bool config_read_db_queue(struct config *config, const char *text, char *why) {
    return config_number_in(text, 1, 1 << 20, &config->db_limits.queue, why);
}

bool config_read_db_timeout(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->db_limits.timeout_ns, why);
}

bool config_read_db_grace(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->db_limits.grace_ns, why);
}

bool config_read_db_ping(struct config *config, const char *text, char *why) {
    if (config_duration(text, &config->db_limits.ping_ns) && config->db_limits.ping_ns == 0) {
        return true;
    }
    return config_duration_in(text, &config->db_limits.ping_ns, why);
}

bool config_read_db_transaction_timeout(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->db_limits.transaction_ns, why);
}

bool config_read_db_connect_timeout(struct config *config, const char *text, char *why) {
    return config_duration_in(text, &config->db_limits.connect_ns, why);
}

bool config_read_db_result_bytes(struct config *config, const char *text, char *why) {
    return config_size_in(text, 4096, UINT64_C(1) << 30, &config->db_limits.result_bytes, why);
}

bool config_read_db_row_bytes(struct config *config, const char *text, char *why) {
    return config_size32_in(text, 16384, 64 << 20, &config->db_limits.row_bytes, why);
}

bool config_read_db_prepare(struct config *config, const char *text, char *why) {
    config->db_limits.prepare = strcmp(text, "on") == 0;
    return config->db_limits.prepare || strcmp(text, "off") == 0 || WHY("must be on or off");
}

/* ----------------------------------------------------------------------------------------------- where it is ---- */

static bool is_set(const char *variable) {
    const char *text = getenv(variable);
    return text != NULL && *text != '\0';
}

/* What says where the database is, and its name for people; NULL: nothing does. "": variables of libpq. */
static const char *find_url(const struct config_db *limits, const char **source) {
    *source = limits->url == getenv("RINGMAIN_DB") ? "RINGMAIN_DB" : "--db";
    if (limits->url != NULL) {
        return limits->url;
    }
    *source = "DATABASE_URL";
    if (is_set(*source)) {
        return getenv(*source);
    }
    *source = "PGHOST, PGUSER ...";
    return is_set("PGHOST") || is_set("PGHOSTADDR") || is_set("PGDATABASE") ? "" : NULL;
}

static const char *variable(const char *name) {
    return getenv(name);
}

static const char *own_name(void) {
    const struct passwd *entry = getpwuid(geteuid());
    return entry != NULL ? entry->pw_name : NULL;
}

static bool read_settings(struct pg_settings *settings, const char *url, const char *source, char *why) {
    char reason[PG_SETTINGS_WHY_BYTES];
    pg_settings_default(settings);
    bool fine = pg_settings_read(settings, span_text(url), reason);
    if (fine && !pg_settings_environment(settings, variable, reason)) {
        return WHY("%.500s", reason); /* it names the variable */
    }
    fine = fine && pg_settings_finish(settings, own_name(), reason);
    return fine || WHY("%s: %.480s", source, reason);
}

int config_db_read(struct config *config, const struct rm_app *app, char *why) {
    struct config_db *limits = &config->db_limits;
    const char *most = getenv("DATABASE_MAX_CONN"), *source;
    const char *url = find_url(limits, &source);
    config->db_on = false;
    if (app->statement_count == 0 || url == NULL || strcmp(url, "none") == 0) {
        return EXIT_FINE;
    }
    if (!read_settings(&config->db, url, source, why)) {
        return config->db.wants_tls ? EXIT_CONFIG : EXIT_USAGE;
    }
    if (limits->connections == 0 && is_set("DATABASE_MAX_CONN")) {
        limits->at_most = true;
        if (!config_read_db_connections(config, most, why)) {
            return config_bad_value("DATABASE_MAX_CONN", most, why);
        }
    }
    if (limits->connect_ns > 0) {
        config->db.connect_timeout_ns = limits->connect_ns;
    }
    config->db_on = true;
    return EXIT_FINE;
}

/* ------------------------------------------------------------------------------------------- what it comes to ---- */

int config_db_resolve(struct config *config, char *why) {
    struct config_db *limits = &config->db_limits;
    rm_assert(config->workers > 0);
    if (limits->connections == 0) {
        limits->connections = config->workers * CONFIG_DB_CONNECTIONS_DEFAULT;
    }
    if (limits->at_most && limits->connections > config->workers * CONFIG_DB_CONNECTIONS_MAX) {
        limits->connections = config->workers * CONFIG_DB_CONNECTIONS_MAX;
    }
    limits->worker_connections = limits->connections / config->workers;
    if (!config->db_on) {
        return EXIT_FINE;
    }
    if (limits->worker_connections == 0) {
        snprintf(why, CONFIG_WHY_BYTES,
                 "%u connections to the database are fewer than one per worker: raise --db-connections (DATABASE_MAX_CONN) "
                 "to %u, or lower --workers to %u",
                 limits->connections, config->workers, limits->connections);
        return EXIT_CONFIG;
    }
    if (limits->worker_connections > CONFIG_DB_CONNECTIONS_MAX) {
        snprintf(why, CONFIG_WHY_BYTES,
                 "%u connections to the database are more than %d per worker: lower --db-connections (DATABASE_MAX_CONN) "
                 "to %u",
                 limits->connections, CONFIG_DB_CONNECTIONS_MAX, config->workers * CONFIG_DB_CONNECTIONS_MAX);
        return EXIT_CONFIG;
    }
    return EXIT_FINE;
}

uint64_t config_db_files(const struct config *config) {
    return config->db_on ? UINT64_C(2) * config->workers * config->db_limits.worker_connections : 0;
}
