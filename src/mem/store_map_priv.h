/* Between the files of the store's mapping: what is in the file, and a file on its way to be mapped. */
#ifndef RM_MEM_STORE_MAP_PRIV_H
#define RM_MEM_STORE_MAP_PRIV_H

#include <stddef.h>
#include <unistd.h>

#include "mem/store_map.h"

enum { HEAD_IN_USE = 1, HEAD_CLEAN = 2 }; /* struct head.state */

/* The first bytes of the file. What comes first is the same in all versions. */
struct store_map_head {
    char magic[8];
    uint32_t version;
    uint32_t page_bytes;
    uint64_t data_bytes;
    uint64_t image_bytes; /* room */
    uint64_t generation;
    uint64_t state;
    uint64_t key[2]; /* from here on: of the image, when the state is HEAD_CLEAN */
    uint64_t now_ms;
    int64_t wall_ms;
    uint64_t count;
    uint64_t image_checksum;
    uint64_t checksum; /* of all that is before it */
};
_Static_assert(sizeof(struct store_map_head) == 104, "it is written to files");

/* Where things are in the file. */
struct store_map_layout {
    uint64_t data_at, image_at, witness_at, total;
};

/* A file on its way to be mapped. */
struct store_map_opening {
    struct store_map *map;
    const char *path;
    struct store_report *report;
    struct store_map_head head; /* what the file says, when the start is STORE_WARM */
    uint64_t size;    /* of the file, as it was found */
    uint64_t generation_before;
    bool made;
};

static inline uint64_t store_map_page(void) {
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static inline uint64_t store_map_round(uint64_t bytes) {
    return (bytes + store_map_page() - 1) / store_map_page() * store_map_page();
}

static inline struct store_map_layout store_map_layout(const struct store_map *map) {
    struct store_map_layout at = { .data_at = store_map_page() };
    at.image_at = at.data_at + map->bytes;
    at.witness_at = at.image_at + store_map_round(map->image_bytes);
    at.total = at.witness_at + store_map_page();
    return at;
}

/* Of what is in the file, against damage: not a secret. */
uint64_t store_map_checksum(const void *data, size_t bytes, uint64_t generation);

/* What the last page of the file begins with, from an open to the next: never 0. */
uint64_t store_map_witness(uint64_t generation);

/* report->why is "'PATH' WHAT: the error's text"; -error. */
int32_t store_map_fail(const struct store_map_opening *opening, int error, const char *what);

/* All of it, or -errno. */
int32_t store_map_write(int fd, const void *from, size_t bytes, uint64_t at);

/* The state and the image are the caller's, the rest is filled in. On the disk when this returns 0. A kill leaves all or
 * nothing of it: it is one write to one page. */
int32_t store_map_head_write(const struct store_map *map, struct store_map_head *head);

/* From the path to a locked file that says that it is in use, with all its bytes allocated. 0, or an error of store_map_open.
 * */
int32_t store_map_file_open(struct store_map_opening *opening);

#endif
