/* The mapped file below the store: opened, locked, allocated, and touched with care. Whoever truncates the file under us makes
 * holes of its pages, and touching one is SIGBUS; the functions here that touch come back and say so instead.
 *
 * File:   one page of head | data | image: what a warm start needs, written by store_map_close | one page of witness (holes.h)
 * The head says "in use" from store_map_open to store_map_close, on disk before anything else is written.
 *
 * What is not noticed: bytes that somebody else writes into the data, or punches out of it. And of the one page that a
 * truncation cuts, the rest reads as zeros from then on: nobody copies them here, but what the kernel sends from the mapping
 * by itself may have them in it, and on file systems that clear them before they shorten the file (XFS) so may a copy of that
 * moment.
 *
 * Depends on: mem, open(2), mmap(2), flock(2), posix_fallocate(3), mincore(2), madvise(2). */
#ifndef RM_MEM_STORE_MAP_H
#define RM_MEM_STORE_MAP_H

#include <stddef.h>

#include "mem/holes.h"
#include "mem/store.h"

enum { STORE_VERSION = 1 };

/* Read-only between open and close, but for `broken`. */
struct store_map {
    char *data;     /* the data bytes; page aligned */
    uint64_t bytes; /* of data */
    bool file;      /* has a path */
    uint32_t broken; /* atomic: 1 when a hole was met */
    struct holes_witness witness; /* of a file: the last page, mapped */
    int fd;
    uint64_t image_bytes; /* room for an image */
    uint64_t generation;
    struct store_image_entry *image; /* the entries of a warm start until store_map_image_done, or NULL */
    size_t image_mapped;
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
    const struct store_image_entry *entries; /* at open: a copy, valid until store_map_image_done; at save: the caller's */
};

/* Opens or makes the file (NULL: a memfd that can't be truncated: F_SEAL_SHRINK), `data_bytes` of data and room for `entries`
 * entries. 0 with *image set: generation of this start, and when report->start is STORE_WARM all of it. What is read from the
 * file is checked (magic, version, sizes, checksum of head and image, "clean", witness); entries are not checked for sense: the
 * caller does. A file that is not empty and does not begin with our magic is somebody else's: it is left alone.
 * Otherwise -errno and report->why, as store_open:
 *     -ENOSPC, -EDQUOT, -EFBIG   no room (fallocate(2)), or RLIMIT_FSIZE; a file that was made here is removed again
 *     -EWOULDBLOCK               another process has it (flock(2))
 *     -EINVAL                    not a plain file
 *     -EEXIST                    somebody else's
 *     -ENOMEM, and what open(2), memfd_create(2), mmap(2), pread(2), pwrite(2) and fdatasync(2) say */
[[gnu::warn_unused_result]] int32_t store_map_open(struct store_map *map, const char *path, uint64_t data_bytes,
                                                   uint64_t entries, struct store_image *image, struct store_report *report);

/* The entries of a warm start were read. */
void store_map_image_done(struct store_map *map);

/* Writes the image (its generation does not matter), syncs data and image, then says "clean". When that fails, and when the map
 * is broken, the file says "in use" still: it will start empty. Nothing of it for a memfd, or when image is NULL. Unmaps,
 * closes. */
void store_map_close(struct store_map *map, const struct store_image *image);

/* True when a hole was met. */
static inline bool store_map_broken(const struct store_map *map) {
    return __atomic_load_n(&map->broken, __ATOMIC_ACQUIRE) != 0;
}

/* Looks whether the file is whole, as each of the following does: false, and broken, when it was truncated. Any thread. */
[[gnu::warn_unused_result]] bool store_map_whole(struct store_map *map);

/* memcpy and comparison where one side is in the mapping: false when the file is not whole (the map is broken then, and all
 * later ones are false); store_map_equal also when they differ. Without the cost of a guard for a memfd. Any thread. */
[[gnu::warn_unused_result]] static inline bool store_map_copy(struct store_map *map, void *to, const void *from, size_t bytes);
[[gnu::warn_unused_result]] bool store_map_equal(struct store_map *map, const void *a, const void *b, size_t bytes);

/* As store_resident, store_populate, store_count_resident; [from, from + bytes), and `bytes` from the byte number `at` on, lie
 * in data. */
bool store_map_resident(struct store_map *map, const char *from, size_t bytes);
bool store_map_populate(struct store_map *map, const char *from, size_t bytes);
uint64_t store_map_resident_bytes(struct store_map *map, uint64_t at, uint64_t bytes);

/* Reads what is in RAM of [from, from + bytes), so that the kernel knows that it is used: bytes. A file's only. */
uint64_t store_map_refresh(struct store_map *map, const char *from, size_t bytes);

/* ------------------------------------------------------------------------------------------------ inline parts ---- */

/* store_map_copy for a map with a path. */
[[gnu::warn_unused_result]] bool store_map_copy_guarded(struct store_map *map, void *to, const void *from, size_t bytes);

static inline bool store_map_copy(struct store_map *map, void *to, const void *from, size_t bytes) {
    if (map->file) {
        return store_map_copy_guarded(map, to, from, bytes);
    }
    if (bytes > 0) {
        memcpy(to, from, bytes);
    }
    return true;
}

#endif
