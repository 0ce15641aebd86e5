/* The mapped file below the store: opened, locked, allocated, and touched with care. Whoever truncates the file under us makes
 * holes of its pages, and touching one is SIGBUS; the functions here that touch come back and say so instead.
 *
 * File:   one page of head | data | image: what a warm start needs, written by store_map_save at a clean close
 * The head says "in use" from store_map_open to store_map_save, on disk before anything else is written.
 *
 * Depends on: mem, open(2), mmap(2), flock(2), fallocate(2), mincore(2), madvise(2), sigaction(2). */
#ifndef RM_MEM_STORE_MAP_H
#define RM_MEM_STORE_MAP_H

#include "mem/store.h"

enum { STORE_VERSION = 1 };

struct store_map {
    char *data;           /* the data bytes; page aligned */
    uint64_t bytes;       /* of data */
    uint64_t image_bytes; /* room for an image behind it */
    char *base;           /* of the whole mapping, the head */
    uint64_t mapped;
    int fd;
    bool file;            /* has a path */
    uint32_t broken;      /* atomic: 1 when a hole was met */
    struct store_map *next; /* the list of the SIGBUS handler */
};

/* What a clean close leaves, beside the data: `count` entries, and what makes sense of them. */
struct store_image_entry {
    uint64_t hash;
    uint64_t stored_ms, fresh_until_ms, grace_until_ms; /* the store's milliseconds */
    uint32_t unit, units;               /* where, and how long, in STORE_UNIT_BYTES */
    uint32_t key_len, meta_len, body_len;
    uint32_t flags;                     /* 1: the CLOCK bit was set */
};
_Static_assert(sizeof(struct store_image_entry) == 56, "it is written to files");

struct store_image {
    uint64_t key[2];        /* of the hash */
    uint64_t generation;    /* starts of this file so far: 1 when it is new */
    uint64_t now_ms;        /* the store's clock at the close */
    int64_t wall_ms;        /* at the close */
    uint64_t count;
    const struct store_image_entry *entries; /* at open: in the mapping, valid until store_map_image_done; at save: the caller's */
};

/* Opens or makes the file (NULL: a memfd that can't be truncated: F_SEAL_SHRINK), `data_bytes` of data and room for `entries`
 * entries. 0 with *image set: generation of this start, and when report->start is STORE_WARM all of it. What is read from the file
 * is checked (magic, version, sizes, checksum of head and image, "clean"); entries are not checked for sense: the caller does.
 * Errors: as store_open. */
[[gnu::warn_unused_result]] int32_t store_map_open(struct store_map *map, const char *path, uint64_t data_bytes,
                                                   uint64_t entries, struct store_image *image, struct store_report *report);

/* The entries of a warm start were read. */
void store_map_image_done(struct store_map *map);

/* Writes the image, syncs data and image, then says "clean". Does nothing but unmap for a memfd, and when the map is broken.
 * Unmaps and closes. */
void store_map_close(struct store_map *map, const struct store_image *image);

/* True when a hole was met. */
static inline bool store_map_broken(const struct store_map *map) {
    return __atomic_load_n(&map->broken, __ATOMIC_ACQUIRE) != 0;
}

/* memcpy and comparison where one side is in the mapping: false when there is a hole (the map is broken then); store_map_equal
 * also when they differ. Without the cost of a guard for a memfd. Any thread. */
[[gnu::warn_unused_result]] bool store_map_copy(struct store_map *map, void *to, const void *from, size_t bytes);
[[gnu::warn_unused_result]] bool store_map_equal(struct store_map *map, const void *a, const void *b, size_t bytes);

/* As store_resident, store_populate, store_resident_bytes. */
bool store_map_resident(struct store_map *map, const char *from, size_t bytes);
bool store_map_populate(struct store_map *map, const char *from, size_t bytes);
uint64_t store_map_resident_bytes(struct store_map *map);

#endif
