/* Between the files of pg_settings: one parameter, and sentences without stdio. */
#ifndef RM_PG_SETTINGS_PRIV_H
#define RM_PG_SETTINGS_PRIV_H

#include "pg/pg_settings.h"

/* Puts the texts, up to a NULL, one behind the other into `why`, cut where it is full; false, for the caller to return. */
[[gnu::sentinel]] bool pg_settings_say(char *why, const char *first, ...);

/* Sets a parameter by its name in a connection string; `value` has no NUL. `hide`: an unknown name may be a piece of a
 * password, and is not shown. */
[[gnu::warn_unused_result]] bool pg_settings_set(struct pg_settings *settings, struct span name, struct span value, bool hide,
                                                 char *why);

/* A numeric address: four decimal numbers, or IPv6 as RFC 4291 §2.2 writes it, without a zone. */
bool pg_settings_is_address(struct span text);

#endif
