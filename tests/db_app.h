/* An application whose handlers use every call of the database, and what the simulated Postgres does with its statements. */
#ifndef TESTS_DB_APP_H
#define TESTS_DB_APP_H

#include "db_rig.h"

enum { DB_APP_SERVER_STATEMENTS = 16, DB_APP_LIST = 7 };

extern const struct rm_app db_app;
extern struct pg_server_statement db_app_server[DB_APP_SERVER_STATEMENTS]; /* the last one: the "shape" that changes */
extern uint32_t db_app_ends;  /* exchanges that were told of their end: /cut */
extern uint32_t db_app_tries; /* queries of /insist, which gives up after 10,000 */

#endif
