/* The worker threads of a process: pinned, opened, let go together, brought home together.
 *
 *     crew_start: every worker opens what it owns in its own thread; when all could, all listen, and wait
 *     crew_go:    all serve; or, when one could not open, crew_stop ends them all
 *     crew_event: a descriptor that becomes readable when a worker has ended
 *     crew_join:  all release what they own, after the last one has ended: /stats looks at all of them
 *
 * Depends on: worker.h. Main thread. */
#ifndef RM_SERVER_CREW_H
#define RM_SERVER_CREW_H

#include <pthread.h>

#include "server/server.h"

enum crew_word { CREW_WAIT, CREW_LISTEN, CREW_GO, CREW_STOP }; /* in this order; STOP may come at any time */

struct crew_member {
    struct crew *crew;
    struct worker *worker;
    pthread_t thread;
    uint32_t index;
    int cpu; /* to be pinned to; -1: none */
};

/* Invariant: ended <= opened <= started; answered <= started. Under `lock` but for what only main touches. */
struct crew {
    struct server *server;
    struct crew_member *members;
    uint32_t started;  /* threads; main's */
    uint32_t answered; /* opened, or failed to; then anew: listen, or failed to */
    uint32_t opened;
    uint32_t ended;
    enum crew_word word;
    int code;                   /* of the first failure */
    char why[CONFIG_WHY_BYTES]; /* likewise */
    int event;                  /* eventfd(2) */
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* Starts the threads and waits until every one has opened its worker and listens, or has failed. EXIT_FINE, or the exit code
 * of the first failure (crew->why). crew_join must follow in both cases. */
[[gnu::warn_unused_result]] int crew_start(struct crew *crew, struct server *server);

void crew_go(struct crew *crew);

/* Waits for all threads; those that were not let go end at once. Returns the exit code of a worker that failed, or
 * EXIT_FINE. */
int crew_join(struct crew *crew);

/* Workers that still serve. */
uint32_t crew_serving(struct crew *crew);

#endif
