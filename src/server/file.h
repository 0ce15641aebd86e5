/* Files as responses: rm_file. A file is opened and looked at by a helper, read by the ring to where the store will serve it
 * from, looked at once more, and then it is an object like those that handlers write: published, or its one client's alone.
 *
 *     rm_file --a helper: open, fstat--> opened: room in the store --ring_read, piece after piece--> a helper: fstat, close
 *                  ^                        \--no such file, no room, ...: 404, 500, 503                |           |
 *                  \-------------------------it has changed meanwhile: once more------------------------/           |
 *                                                 published (or retired), answered from the store <-----------------/
 *
 * It holds one item of PLAN_OFFLOADS from the beginning to its end, so that --offloads bounds the open files, too, and what has
 * begun is not given up for want of one. Depends on: cache.h, waits.h, worker.h, mem. The worker's thread; the helpers' parts
 * touch nothing but the filing. */
#ifndef RM_SERVER_FILE_H
#define RM_SERVER_FILE_H

#include <sys/stat.h>

#include "mem/store.h"
#include "ring/ring.h"

struct offload;
struct rm_exchange;
struct worker;

enum {
    FILE_PIECE_BYTES = 1 << 20, /* of one ring_read */
    FILE_TRIES = 2,             /* so often a file is read that changes while it is */
    FILE_RECENT_MS = 20,        /* two changes that are closer may leave the same time: it has the grain of the kernel's tick */
};

/* What a file is known by. */
struct file_stamp {
    uint64_t bytes;
    int64_t changed_ns; /* st_mtim, since 1970 */
    int64_t seen_ns;    /* when that was asked for, if it was changed just before; else 0 */
};

/* A file on its way; in the workspace of its exchange. */
struct filing {
    struct offload *offload; /* what it waits with */
    struct span type;        /* content type; with a NUL, as `path` */
    const char *path;
    struct span fields;      /* that the handler has set */
    uint32_t tries;
    int fd;                  /* -1: none */
    struct file_stamp stamp;
    int32_t error;           /* -errno of open or fstat; 0 */
    bool plain;
    bool fills;              /* `fill` is there */
    bool storable;           /* as far as its fields tell */
    struct store_fill fill;
    uint32_t done;           /* bytes of it */
    struct ring_read read;
};

/* "\"SIZE-TIME\"" or, for what was changed just before it was looked at, "\"SIZE-TIME-SEEN\"", in hexadecimal digits: the next
 * one who looks gives it another tag, whether it has changed or not. Strong, RFC 9110 §8.8.1. Returns its length. */
enum { FILE_ETAG_BYTES_MAX = 3 * 16 + 4 };
uint32_t file_etag(const struct file_stamp *stamp, char out[static FILE_ETAG_BYTES_MAX + 1]);

/* The stamp of a file that was looked at at `now_ns`. */
struct file_stamp file_stamp(const struct stat *status, int64_t now_ns);

/* The exchange has answered, or never will: gives back all that is still there. */
void file_finish(struct rm_exchange *x);

/* No job is under way and no read: likewise, for all exchanges that are parked. */
void file_leave(struct worker *worker);

#endif
