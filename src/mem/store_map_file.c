/* The file of the store: whose it is, what it says, and room for it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "mem/hash.h"
#include "mem/store_map_priv.h"

enum {
    TAKE_AGAIN = 1, /* no errno */
    LOCK_TRIES = 8, /* of a file that whoever made it removes before we have its lock */
};

static const char magic[8] = "RMSTORE";

uint64_t store_map_checksum(const void *data, size_t bytes, uint64_t generation) {
    const uint64_t key[2] = { UINT64_C(0x52494e474d41494e), generation };
    return hash_keyed(key, span_of(data, bytes));
}

uint64_t store_map_witness(uint64_t generation) {
    return store_map_checksum(magic, sizeof magic, generation) | 1; /* never the zero of a page that is gone */
}

int32_t store_map_fail(const struct store_map_opening *opening, int error, const char *what) {
    snprintf(opening->report->why, STORE_WHY_BYTES, "'%.200s' %s: %s", opening->path, what, strerror(error));
    return -error;
}

static bool lost(const struct store_map_opening *opening, const char *what) {
    opening->report->start = STORE_LOST;
    snprintf(opening->report->why, STORE_WHY_BYTES, "'%.200s' %s: the store starts empty", opening->path, what);
    return false;
}

/* All of it, or -errno; -EIO when the file ends. */
static int32_t read_all(int fd, void *to, size_t bytes, uint64_t at) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(fd, (char *)to + done, bytes - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -EIO;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int32_t store_map_write(int fd, const void *from, size_t bytes, uint64_t at) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pwrite(fd, (const char *)from + done, bytes - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int32_t store_map_head_write(const struct store_map *map, struct store_map_head *head) {
    memcpy(head->magic, magic, sizeof magic);
    head->version = STORE_VERSION;
    head->page_bytes = (uint32_t)store_map_page();
    head->data_bytes = map->bytes;
    head->image_bytes = map->image_bytes;
    head->generation = map->generation;
    head->checksum = store_map_checksum(head, offsetof(struct store_map_head, checksum), 0);
    int32_t result = store_map_write(map->fd, head, sizeof *head, 0);
    return result == 0 && fsync(map->fd) != 0 ? -errno : result;
}

/* ------------------------------------------------------------------------------------------------ what is there ---- */

static int32_t open_any(struct store_map_opening *opening) {
    const int flags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY; /* it may turn out to be a device or a pipe */
    opening->made = false;
    opening->map->fd = open(opening->path, flags);
    if (opening->map->fd < 0 && errno == ENOENT) {
        opening->map->fd = open(opening->path, flags | O_CREAT | O_EXCL, 0600);
        opening->made = opening->map->fd >= 0;
    }
    return opening->map->fd < 0 ? -errno : 0;
}

/* Opens, looks at what it is, locks. TAKE_AGAIN: it was removed meanwhile, or made by somebody else. */
static int32_t take_once(struct store_map_opening *opening) {
    struct stat file;
    int32_t result = open_any(opening);
    if (result != 0) {
        return result == -EEXIST ? TAKE_AGAIN : store_map_fail(opening, -result, "cannot be opened for reading and writing");
    }
    int fd = opening->map->fd;
    if (fstat(fd, &file) != 0) {
        return store_map_fail(opening, errno, "cannot be looked at");
    }
    if (!S_ISREG(file.st_mode)) {
        snprintf(opening->report->why, STORE_WHY_BYTES, "'%.200s' is not a plain file: give a path where one can be made",
                 opening->path);
        return -EINVAL;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            return store_map_fail(opening, errno, "cannot be locked (flock)");
        }
        snprintf(opening->report->why, STORE_WHY_BYTES,
                 "'%.200s' is in use by another process: give each its own file, or end that one first", opening->path);
        return -EWOULDBLOCK;
    }
    if (fstat(fd, &file) != 0 || file.st_nlink == 0) {
        return TAKE_AGAIN;
    }
    opening->size = (uint64_t)file.st_size;
    return 0;
}

static int32_t take_file(struct store_map_opening *opening) {
    int32_t result = TAKE_AGAIN;
    for (unsigned i = 0; i < LOCK_TRIES && result == TAKE_AGAIN; i++) {
        result = take_once(opening);
        if (result != 0 && opening->map->fd >= 0) {
            close(opening->map->fd);
            opening->map->fd = -1;
        }
    }
    return result == TAKE_AGAIN ? store_map_fail(opening, ENOENT, "cannot be made (a symbolic link to nothing?)") : result;
}

/* False: it is not to be trusted. */
static bool check_head(const struct store_map_opening *opening, const struct store_map_head *head, size_t bytes) {
    const struct store_map *map = opening->map;
    char what[256];
    if (bytes < sizeof *head) {
        return lost(opening, "is cut off in its head");
    }
    if (head->version != STORE_VERSION) {
        snprintf(what, sizeof what, "has version %" PRIu32 " and this program writes %d", head->version, STORE_VERSION);
        return lost(opening, what);
    }
    if (head->checksum != store_map_checksum(head, offsetof(struct store_map_head, checksum), 0)) {
        return lost(opening, "has a head whose checksum is wrong");
    }
    if (head->page_bytes != store_map_page() || head->data_bytes != map->bytes || head->image_bytes != map->image_bytes) {
        snprintf(what, sizeof what,
                 "was made for %" PRIu64 " bytes and %" PRIu64 " objects, and is now to hold %" PRIu64 " and %" PRIu64,
                 head->data_bytes, head->image_bytes / sizeof(struct store_image_entry), map->bytes,
                 map->image_bytes / sizeof(struct store_image_entry));
        return lost(opening, what);
    }
    if (head->state != HEAD_CLEAN) {
        return lost(opening, "was not closed: its process or the machine ended too early");
    }
    if (opening->size != store_map_layout(map).total) {
        snprintf(what, sizeof what, "has %" PRIu64 " bytes and should have %" PRIu64, opening->size,
                 store_map_layout(map).total);
        return lost(opening, what);
    }
    return true;
}

/* The witness of the last close, and the entries into memory of their own: what is in the file may change at any time. */
static int32_t read_image(struct store_map_opening *opening) {
    struct store_map *map = opening->map;
    const struct store_map_head *head = &opening->head;
    uint64_t bytes = head->count * sizeof(struct store_image_entry), witness = 0;
    int32_t result = read_all(map->fd, &witness, sizeof witness, store_map_layout(map).witness_at);
    if (result == 0 && witness != store_map_witness(head->generation)) {
        lost(opening, "has lost its end: it was truncated");
        return 0;
    }
    if (result == 0 && (head->count > map->image_bytes / sizeof(struct store_image_entry))) {
        lost(opening, "says that it has more objects than it can hold");
        return 0;
    }
    if (result != 0 || bytes == 0) {
        return result != 0 ? store_map_fail(opening, -result, "cannot be read") : 0;
    }
    void *image = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (image == MAP_FAILED) {
        return store_map_fail(opening, errno, "has a list of objects that finds no memory");
    }
    map->image = image;
    map->image_mapped = bytes;
    result = read_all(map->fd, image, bytes, store_map_layout(map).image_at);
    if (result != 0) {
        return store_map_fail(opening, -result, "cannot be read");
    }
    if (store_map_checksum(image, bytes, head->generation) != head->image_checksum) {
        lost(opening, "has a list of objects whose checksum is wrong");
    }
    return 0;
}

/* Finds out how it starts. */
static int32_t read_file(struct store_map_opening *opening) {
    struct store_map_head *head = &opening->head;
    ssize_t n = pread(opening->map->fd, head, sizeof *head, 0);
    if (n < 0) {
        return store_map_fail(opening, errno, "cannot be read");
    }
    if (opening->size == 0) {
        return 0;
    }
    if ((size_t)n < sizeof magic || memcmp(head->magic, magic, sizeof magic) != 0) {
        snprintf(opening->report->why, STORE_WHY_BYTES,
                 "'%.200s' is not empty and is not a store: it is left alone; give another path, or remove it", opening->path);
        return -EEXIST;
    }
    opening->report->start = STORE_WARM;
    bool trusted = check_head(opening, head, (size_t)n);
    if ((size_t)n == sizeof *head && head->checksum == store_map_checksum(head, offsetof(struct store_map_head, checksum), 0)) {
        opening->generation_before = head->generation;
    }
    return trusted ? read_image(opening) : 0;
}

/* ------------------------------------------------------------------------------------------------------- room ---- */

static int32_t no_room(const struct store_map_opening *opening, int error, uint64_t total) {
    struct statvfs system;
    struct stat file;
    int fd = opening->map->fd;
    if (error != ENOSPC || fstatvfs(fd, &system) != 0 || fstat(fd, &file) != 0) {
        return store_map_fail(opening, error, "cannot be allocated (fallocate)");
    }
    uint64_t has = (uint64_t)file.st_blocks * 512;
    snprintf(opening->report->why, STORE_WHY_BYTES,
             "'%.200s' needs %" PRIu64 " bytes more, and its file system has %" PRIu64
             " free: free some, or make the store smaller",
             opening->path, total > has ? total - has : 0, (uint64_t)system.f_bavail * system.f_frsize);
    return -ENOSPC;
}

/* All of it, so that no write to the mapping can find the disk full. Nothing is changed when there is no room. */
static int32_t allocate(const struct store_map_opening *opening) {
    uint64_t total = store_map_layout(opening->map).total;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < total) {
        snprintf(opening->report->why, STORE_WHY_BYTES,
                 "'%.200s' needs %" PRIu64 " bytes, and this process may write files of %" PRIu64
                 " (ulimit -f): raise that, or make the store smaller",
                 opening->path, total, (uint64_t)limit.rlim_cur);
        return -EFBIG; /* asking for it anyway is SIGXFSZ */
    }
    int error;
    do {
        error = posix_fallocate(opening->map->fd, 0, (off_t)total);
    } while (error == EINTR);
    if (error == 0) {
        return 0;
    }
    uint64_t before = opening->size > store_map_page() ? opening->size : store_map_page();
    int32_t result = no_room(opening, error, total);
    if (before < total) {
        (void)!ftruncate(opening->map->fd, (off_t)before);
    }
    return result;
}

/* A new file says that it is ours before it has a size, so that it is known when we end in between; an old one stays what it
 * was until there is room. */
static int32_t make_room(struct store_map_opening *opening) {
    struct store_map *map = opening->map;
    struct store_map_head in_use = { .state = HEAD_IN_USE };
    int32_t result = 0;
    map->generation = opening->generation_before + 1;
    if (opening->size == 0) {
        result = store_map_head_write(map, &in_use);
    }
    if (result == 0 && (result = allocate(opening)) != 0) {
        return result;
    }
    if (result == 0 && opening->size > 0) {
        result = store_map_head_write(map, &in_use);
    }
    uint64_t witness = store_map_witness(map->generation);
    if (result == 0) {
        result = store_map_write(map->fd, &witness, sizeof witness, store_map_layout(map).witness_at);
    }
    if (result == 0 && ftruncate(map->fd, (off_t)store_map_layout(map).total) != 0) {
        result = -errno;
    }
    return result == -ENOSPC ? no_room(opening, ENOSPC, store_map_layout(map).total)
           : result != 0     ? store_map_fail(opening, -result, "cannot be written")
                             : 0;
}

int32_t store_map_file_open(struct store_map_opening *opening) {
    int32_t result = take_file(opening);
    if (result == 0) {
        result = read_file(opening);
        if (opening->report->start != STORE_WARM) {
            store_map_image_done(opening->map);
        }
    }
    if (result == 0) {
        result = make_room(opening);
    }
    return result;
}

