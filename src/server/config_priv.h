/* Between the files of config: one flag, and the readers of the database's flags. */
#ifndef RM_SERVER_CONFIG_PRIV_H
#define RM_SERVER_CONFIG_PRIV_H

#include <stdio.h>

#include "server/config.h"

/* One flag. `read` puts the value where it belongs; false: `why` says what it may be. */
struct flag {
    const char *name;     /* without the dashes */
    const char *argument; /* NULL: the flag stands alone */
    const char *initial;  /* read first; NULL: config_default or config_resolve knows */
    const char *shown;    /* what --help says of the default when `initial` is NULL */
    bool (*read)(struct config *config, const char *text, char *why);
    const char *help;
};

#define WHY(...) (snprintf(why, CONFIG_WHY_BYTES, __VA_ARGS__), false)

/* config_db.c: readers of flags. */
bool config_read_db(struct config *config, const char *text, char *why);
bool config_read_db_connections(struct config *config, const char *text, char *why);
bool config_read_db_inflight(struct config *config, const char *text, char *why);
bool config_read_db_queue(struct config *config, const char *text, char *why);
bool config_read_db_timeout(struct config *config, const char *text, char *why);
bool config_read_db_grace(struct config *config, const char *text, char *why);
bool config_read_db_ping(struct config *config, const char *text, char *why);
bool config_read_db_transaction_timeout(struct config *config, const char *text, char *why);
bool config_read_db_connect_timeout(struct config *config, const char *text, char *why);
bool config_read_db_result_bytes(struct config *config, const char *text, char *why);
bool config_read_db_row_bytes(struct config *config, const char *text, char *why);
bool config_read_db_prepare(struct config *config, const char *text, char *why);

/* Where the database is: from --db, DATABASE_URL, or the variables of libpq. Nothing is looked at when the application has
 * no statements. EXIT_FINE; EXIT_USAGE or, when TLS is asked for, EXIT_CONFIG with `why`, which shows no password. */
int config_db_read(struct config *config, const struct rm_app *app, char *why);

/* config.c: puts where a bad value comes from, and the value, in front of `why`; EXIT_USAGE. */
int config_bad_value(const char *source, const char *text, char *why);

/* What connections to the database come to, with config->workers known: EXIT_FINE, or EXIT_CONFIG with `why`. */
int config_db_resolve(struct config *config, char *why);

/* Descriptors that the database may need, afterwards: each connection's, and one to cancel a query of it. */
uint64_t config_db_files(const struct config *config);

#endif
