/* The routes that every server has unless the application has one for the same path: /healthz, /readyz, /metrics, and at
 * --admin /stats, too. Depends on: ringmain.h, worker.h. */
#ifndef RM_SERVER_BUILTIN_H
#define RM_SERVER_BUILTIN_H

#include "ringmain.h"

enum {
    BUILTIN_ADMIN_COUNT = 4, /* routes of the admin listener: all of them */
    BUILTIN_MAIN_COUNT = 3,  /* the first ones, of the others when there is no admin listener */
};

extern const struct rm_route builtin_routes[BUILTIN_ADMIN_COUNT];

#endif
