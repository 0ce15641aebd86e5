/* The flags of the database, and what they come to. */
#include <string.h>

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

int config_db_resolve(struct config *config, char *why) {
    struct config_db *limits = &config->db_limits;
    rm_assert(config->workers > 0);
    if (limits->connections == 0) {
        limits->connections = config->workers * CONFIG_DB_CONNECTIONS_DEFAULT;
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
