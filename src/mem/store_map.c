#include "mem/store_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mem/assert.h"
#include "mem/store_map_priv.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3: who names neither this nor MFD_EXEC gets a line in the kernel's log */
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

enum {
    VECTOR_PAGES = 4096,       /* of one mincore(2) */
    REFRESH_BYTES = 16 * 1024, /* of one preadv2(2) */
};

/* A memfd has a size and nobody can change it; pages come when they are touched. */
static int32_t make_memory(struct store_map_opening *opening) {
    struct store_map *map = opening->map;
    opening->path = "memory";
    map->generation = 1;
    map->fd = memfd_create("ringmain-store", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (map->fd < 0 && errno == EINVAL) {
        map->fd = memfd_create("ringmain-store", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (map->fd < 0 || ftruncate(map->fd, (off_t)store_map_layout(map).total) != 0 ||
        fcntl(map->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return store_map_fail(opening, errno, "cannot be had (memfd_create)");
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------- open, close ---- */

/* Not in a core dump: it may be larger than the disk, and is on it already. No read-ahead for a file: objects that are asked
 * for one after the other don't lie behind each other, and what is read along pushes out what is asked for; who wants a whole
 * object says so: store_map_populate. */
static int32_t map_data(const struct store_map_opening *opening) {
    struct store_map *map = opening->map;
    struct store_map_layout at = store_map_layout(map);
    void *data = mmap(NULL, map->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, (off_t)at.data_at);
    if (data == MAP_FAILED) {
        return store_map_fail(opening, errno, "cannot be mapped");
    }
    map->data = data;
    (void)madvise(data, map->bytes, MADV_DONTDUMP);
    if (map->file) {
        (void)madvise(data, map->bytes, MADV_RANDOM);
        (void)posix_fadvise(map->fd, 0, 0, POSIX_FADV_RANDOM); /* the same for store_map_refresh */
        void *witness = mmap(NULL, store_map_page(), PROT_READ, MAP_SHARED, map->fd, (off_t)at.witness_at);
        if (witness == MAP_FAILED) {
            return store_map_fail(opening, errno, "cannot be mapped");
        }
        map->witness = (struct holes_witness){ witness, store_map_witness(map->generation) };
    }
    return 0;
}

static void release(struct store_map *map) {
    store_map_image_done(map);
    if (map->data != NULL) {
        munmap(map->data, map->bytes);
    }
    if (map->witness.word != NULL) {
        munmap((void *)(uintptr_t)map->witness.word, store_map_page());
    }
    if (map->fd >= 0) {
        close(map->fd); /* and the lock is gone */
    }
    if (map->file) {
        holes_end();
    }
    *map = (struct store_map){ .fd = -1 };
}

int32_t store_map_open(struct store_map *map, const char *path, uint64_t data_bytes, uint64_t entries,
                       struct store_image *image, struct store_report *report) {
    rm_assert(data_bytes > 0);
    rm_assert(data_bytes % store_map_page() == 0);
    rm_assert(entries <= SIZE_MAX / 2 / sizeof(struct store_image_entry));
    struct store_map_opening opening = { .map = map, .path = path, .report = report };
    *report = (struct store_report){ .start = STORE_EMPTY };
    *map = (struct store_map){
        .fd = -1, .bytes = data_bytes, .file = path != NULL, .image_bytes = entries * sizeof(struct store_image_entry)
    };
    if (map->file) {
        holes_begin();
    }
    int32_t result = map->file ? store_map_file_open(&opening) : make_memory(&opening);
    if (result == 0) {
        result = map_data(&opening);
    }
    if (result != 0) {
        if (opening.made && map->fd >= 0) {
            unlink(path); /* while it is locked: nobody else has it */
        }
        report->start = STORE_EMPTY;
        release(map);
        return result;
    }
    *image = (struct store_image){ .generation = map->generation };
    if (report->start == STORE_WARM) {
        memcpy(image->key, opening.head.key, sizeof image->key);
        image->now_ms = opening.head.now_ms;
        image->wall_ms = opening.head.wall_ms;
        image->count = opening.head.count;
        image->entries = map->image;
    }
    return 0;
}

void store_map_image_done(struct store_map *map) {
    if (map->image != NULL) {
        munmap(map->image, map->image_mapped);
        map->image = NULL;
    }
}

/* Data and image are on the disk before the head says so. A file that is not whole is left as it is: in use. */
static void save(struct store_map *map, const struct store_image *image) {
    size_t bytes = image->count * sizeof *image->entries;
    rm_assert(bytes <= map->image_bytes);
    struct store_map_head clean = {
        .state = HEAD_CLEAN,
        .key = { image->key[0], image->key[1] },
        .now_ms = image->now_ms,
        .wall_ms = image->wall_ms,
        .count = image->count,
        .image_checksum = store_map_checksum(image->entries, bytes, map->generation),
    };
    if (msync(map->data, map->bytes, MS_SYNC) != 0 ||
        store_map_write(map->fd, image->entries, bytes, store_map_layout(map).image_at) != 0 || fdatasync(map->fd) != 0 ||
        !store_map_whole(map)) {
        return;
    }
    (void)!store_map_head_write(map, &clean);
}

void store_map_close(struct store_map *map, const struct store_image *image) {
    if (map->file && image != NULL && !store_map_broken(map)) {
        save(map, image);
    }
    release(map);
}

/* ---------------------------------------------------------------------------------------------------- touching ---- */

static bool is_broken(struct store_map *map) {
    __atomic_store_n(&map->broken, 1, __ATOMIC_RELEASE);
    return false;
}

bool store_map_copy_guarded(struct store_map *map, void *to, const void *from, size_t bytes) {
    return !store_map_broken(map) && (holes_copy(&map->witness, to, from, bytes) || is_broken(map));
}

bool store_map_equal(struct store_map *map, const void *a, const void *b, size_t bytes) {
    bool equal = false;
    if (!map->file) {
        return bytes == 0 || memcmp(a, b, bytes) == 0;
    }
    if (store_map_broken(map)) {
        return false;
    }
    return holes_compare(&map->witness, a, b, bytes, &equal) ? equal : is_broken(map);
}

bool store_map_whole(struct store_map *map) {
    return store_map_copy(map, NULL, NULL, 0);
}

/* --------------------------------------------------------------------------------------------------- residency ---- */

/* Whole pages around bytes of the mapping. */
struct pages {
    char *from;
    size_t bytes;
};

static struct pages pages_around(const struct store_map *map, const char *from, size_t bytes) {
    rm_assert(from >= map->data);
    rm_assert(bytes <= map->bytes);
    rm_assert((uint64_t)(from - map->data) <= map->bytes - bytes);
    uint64_t first = (uint64_t)(from - map->data) / store_map_page() * store_map_page();
    return (struct pages){ map->data + first, store_map_round((uint64_t)(from - map->data) + bytes) - first };
}

/* Pages of [from, from + bytes) that are in RAM; UINT64_MAX when the kernel does not tell. */
static uint64_t count_resident(const struct pages *pages) {
    unsigned char vector[VECTOR_PAGES];
    uint64_t resident = 0, step = VECTOR_PAGES * store_map_page();
    for (uint64_t at = 0; at < pages->bytes; at += step) {
        uint64_t bytes = pages->bytes - at < step ? pages->bytes - at : step;
        if (mincore(pages->from + at, bytes, vector) != 0) {
            return UINT64_MAX;
        }
        for (uint64_t i = 0; i < bytes / store_map_page(); i++) {
            resident += vector[i] & 1;
        }
    }
    return resident;
}

bool store_map_resident(struct store_map *map, const char *from, size_t bytes) {
    struct pages pages = pages_around(map, from, bytes);
    return count_resident(&pages) == pages.bytes / store_map_page();
}

uint64_t store_map_resident_bytes(struct store_map *map, uint64_t at, uint64_t bytes) {
    struct pages pages = pages_around(map, map->data + at, bytes);
    uint64_t resident = count_resident(&pages);
    (void)!store_map_whole(map); /* whoever asks does so now and then: a truncated file is noticed without any traffic */
    return resident == UINT64_MAX ? 0 : resident * store_map_page();
}

uint64_t store_map_refresh(struct store_map *map, const char *from, size_t bytes) {
    char scratch[REFRESH_BYTES];
    struct pages pages = pages_around(map, from, bytes);
    uint64_t at = store_map_layout(map).data_at + (uint64_t)(pages.from - map->data), done = 0;
    for (uint64_t i = 0; i < pages.bytes; i += sizeof scratch) {
        struct iovec piece = { scratch, pages.bytes - i < sizeof scratch ? pages.bytes - i : sizeof scratch };
        ssize_t n = preadv2(map->fd, &piece, 1, (off_t)(at + i), RWF_NOWAIT);
        done += n > 0 ? (uint64_t)n : 0;
    }
    return done;
}

/* Kernels before 5.14 have no way to ask for it but to touch each page. */
static bool touch_pages(struct store_map *map, const struct pages *pages) {
    char byte;
    for (size_t at = 0; at < pages->bytes; at += store_map_page()) {
        if (!store_map_copy(map, &byte, pages->from + at, 1)) {
            return false;
        }
    }
    return true;
}

/* WILLNEED first: it asks the disk for all that is missing at a time, where a fault asks for its own page (MADV_RANDOM). */
bool store_map_populate(struct store_map *map, const char *from, size_t bytes) {
    struct pages pages = pages_around(map, from, bytes);
    (void)madvise(pages.from, pages.bytes, MADV_WILLNEED);
    if (madvise(pages.from, pages.bytes, MADV_POPULATE_READ) == 0) {
        return store_map_whole(map);
    }
    if (errno == EINVAL || errno == EAGAIN || errno == EINTR) {
        return touch_pages(map, &pages);
    }
    return errno == EFAULT && map->file ? is_broken(map) : false;
}
