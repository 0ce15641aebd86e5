/* What the process takes of the machine's memory: page faults, what is resident and of what kind, and the figures of the
 * store. The main thread looks every RESOURCES_LOOK_MS, because counting the store's pages takes a while, and sooner when there
 * were major faults: then pages may be missing. Whoever answers /metrics or /stats gives what it has seen last.
 * Depends on: mem/store.h, server.h, metrics_write.h. */
#ifndef RM_SERVER_RESOURCES_H
#define RM_SERVER_RESOURCES_H

#include <stdint.h>

#include "ringmain.h"

struct server;

enum {
    RESOURCES_LOOK_MS = 5000,
    RESOURCES_COUNT_BYTES = 1 << 28, /* of the store in one call: up to 5 ms, */
    RESOURCES_COUNT_MS = 20,     /* and then the next, until all was looked at */
    RESOURCES_FILE_MS = 1000,    /* with a file: so often while pages are missing or the process had major faults, */
    RESOURCES_REFRESH_MS = 250,  /* and what is hot of it is told so often: the kernel may need a second for all that it has */
    RESOURCES_REFRESH_BYTES = 1 << 29, /* of one store_refresh: a tenth of a second or so, in which signals have to wait */
};

/* Written by the main thread (counter_set), read by all. */
struct resources {
    uint64_t minor_faults;    /* getrusage(2): a page was in RAM, but not in our page table, or it was new */
    uint64_t major_faults;    /* it was read from the disk, and the thread waited */
    uint64_t anonymous_bytes; /* resident, proc_pid_status(5): RssAnon, */
    uint64_t file_bytes;      /* RssFile: mapped files, */
    uint64_t shared_bytes;    /* RssShmem: memfd, tmpfs */
    uint64_t store_bytes;     /* of the store's mapping, in RAM: mapped here or not */
    bool store_broken;        /* it is logged; the main thread's */
    uint64_t pressed;         /* 1: pages of the store are missing */
    uint64_t refreshed_bytes; /* store_refresh */
    uint64_t look_ns, count_ns, refresh_ns; /* when there is to be more of each; the main thread's, */
    uint64_t faults_counted;  /* major_faults when the pages were counted last; likewise, */
    bool counting;            /* not all of them were looked at yet; likewise */
};

/* When a store's file is not all in RAM, tells the kernel what is hot of it (store_refresh). For how many ms it is good: fewer
 * then. Logs once that the file was truncated. Main thread. `now_ns`: of CLOCK_MONOTONIC. */
uint64_t resources_look(struct server *server, uint64_t now_ns);

/* Any worker's thread: into the response of rm_metrics, and two objects into the open one of rm_stats. Of the store only when
 * there is one. */
void resources_metrics(struct rm_exchange *x, const struct server *server);
void resources_json(struct rm_exchange *x, const struct server *server);

#endif
