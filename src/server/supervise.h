/* What the main thread does while the workers serve: it heeds signals, tells the service manager how things are, reopens the
 * log, and sees the drain to its end.
 *
 *     TERM, INT, QUIT   drain: with --drain-delay /readyz says 503 for that long first; a second one exits at once
 *     HUP, USR1         reopen the access log
 *     PIPE              ignored
 *
 * Depends on: crew.h, notify.h, logger.h. Main thread. */
#ifndef RM_SERVER_SUPERVISE_H
#define RM_SERVER_SUPERVISE_H

#include "server/crew.h"
#include "server/notify.h"

/* HUP and USR1 kill nobody from here on. At the beginning of the process. */
void supervise_early(void);

/* Takes the signals over: a descriptor that they are read from. Before the first thread starts, so that all have them
 * blocked. -1 on error. */
[[gnu::warn_unused_result]] int supervise_signals(void);

/* From crew_go to the end of the last worker. */
void supervise(struct server *server, struct crew *crew, const struct notify *notify, int signals);

#endif
