/* The object store: one mapped region, usually a file, that all workers share, and objects in it that are immutable once they
 * are published. What serves an object points into the mapping; whether its pages are in RAM is the kernel's to decide. All
 * that describes objects (index, records, free space) is in RAM of its own, planned and bounded: looking for room or for
 * victims touches no page of an object.
 *
 * Reading takes no lock and writes nothing that is shared, but the CLOCK bit of an object when that is clear. Memory of an
 * object that was unlinked (replaced, invalidated, evicted, over) is used again when every reader has passed a quiescent state
 * since, and nobody pins it.
 *
 * Time is an argument: nanoseconds of one monotonic clock, the same for all callers; the store keeps milliseconds.
 *
 * Depends on: mem, pthread mutexes, mmap(2) and the file calls of store_map.c. Any thread, but for what says "reader's". */
#ifndef RM_MEM_STORE_H
#define RM_MEM_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/assert.h"
#include "mem/span.h"

struct store;

enum {
    STORE_KEY_BYTES_MAX = 1024,
    STORE_META_BYTES_MAX = 16 * 1024,
    STORE_READERS_MAX = 256,
    STORE_UNIT_BYTES = 64,         /* objects begin on and fill up such */
    STORE_COPY_BYTES_MAX = 16 * 1024, /* bodies up to this are to be copied by who serves them, larger ones pinned */
    STORE_OBJECT_PART = 8,         /* one object is at most this part of the store, */
    STORE_PINNED_PART = 4,         /* and all that are pinned at a time are at most this part of it */
    STORE_WHY_BYTES = 512,
};

/* ------------------------------------------------------------------------------------------------- open, close ---- */

struct store_config {
    const char *path;  /* a plain file that is made, or used again warm; NULL: anonymous memory (memfd_create(2)) */
    uint64_t bytes;    /* for objects: a multiple of 1 MiB is made of it; >= 1 MiB, <= 64 GiB */
    uint32_t objects;  /* at most at a time: 64 .. 2^26 */
    uint32_t readers;  /* threads that will read: 1 .. STORE_READERS_MAX */
    uint64_t now_ns;   /* of the callers' clock */
    int64_t wall_ms;   /* since 1970: for how long a warm store was closed */
};

enum store_start {
    STORE_EMPTY, /* a new file, or none */
    STORE_WARM,  /* what was there at the last clean close is there again */
    STORE_LOST,  /* the file was there, but not to be trusted: it starts empty; report.why says what was wrong */
};

struct store_report {
    enum store_start start;
    uint64_t objects;          /* that a warm start brought */
    char why[STORE_WHY_BYTES]; /* on failure, and with STORE_LOST: what, errno and how to fix it; else empty */
};

/* Maps the store, and keeps others from the file (flock(2)). 0, or -errno with report->why: -ENOSPC (the disk is full: the
 * whole file is allocated here, posix_fallocate(3)), -EWOULDBLOCK (another process has it), -EEXIST (it is not empty and not a
 * store), -EINVAL (not a plain file), -ENOMEM, what else store_map_open says. From then on until store_close the file says that
 * it is in use: after a crash it starts empty. */
[[gnu::warn_unused_result]] int32_t store_open(const struct store_config *config, struct store **out,
                                               struct store_report *report);

/* No reader is online any more, no object pinned, no fill open (asserted). Writes what a warm start needs and syncs the file
 * (which may take as long as the disk does). `now_ns` and `wall_ms` as at store_open. */
void store_close(struct store *store, uint64_t now_ns, int64_t wall_ms);

/* Bytes of RAM that store_open maps beside the objects: index, records. */
uint64_t store_ram_bytes(const struct store_config *config);

/* --------------------------------------------------------------------------------------------------- readers ---- */

/* Reader `reader` (0 .. readers - 1, one thread each) will look at objects: between online and the next quiet or offline
 * what it got stays. Asserted where it matters. */
void store_online(struct store *store, uint32_t reader);

/* Everything that this reader got and did not pin is dead. Once per turn, when no object is in use. */
void store_quiet(struct store *store, uint32_t reader);

/* As quiet, until the next online: a sleeping reader holds up nothing. */
void store_offline(struct store *store, uint32_t reader);

/* --------------------------------------------------------------------------------------------------- looking up ---- */

/* The hash of a key: keyed, so that nobody outside can choose keys that collide. */
uint64_t store_hash(const struct store *store, struct span key);

struct store_object {
    struct span meta;      /* the writer's; in the mapping, as body is: read with store_copy only */
    struct span body;
    uint64_t age_ms;       /* since it was published */
    uint64_t fresh_ms;     /* for so long it is fresh still; 0: only its grace is left */
    uint32_t record;       /* the store's */
    bool cold;             /* nobody has asked for it for some seconds: its pages may be on the disk, and that its key is the
                            * one was not looked at, because it lies there. See store_resident, store_confirm */
};

/* The object of a key, when there is one and its grace is not over. A reader's, while online: it is valid until that is
 * quiet, or until unpinned. */
[[gnu::warn_unused_result]] bool store_get(struct store *store, uint32_t reader, struct span key, uint64_t hash,
                                           uint64_t now_ns, struct store_object *out);

/* Is it the object of this key (another one may have the same hash), whole? Notes that it was asked for. For a cold one, before
 * it is used as any other, when its pages are in RAM or may be waited for. A reader's, as store_get. */
[[gnu::warn_unused_result]] bool store_confirm(struct store *store, const struct store_object *object, struct span key,
                                               uint64_t now_ns);

/* memcpy from an object. False when the mapping has a hole there now, because somebody has truncated the file: the bytes of
 * `to` are undefined then and the store gives and takes nothing any more (store_figures.broken). */
[[gnu::warn_unused_result]] bool store_copy(struct store *store, void *to, const char *from, size_t bytes);

/* Keeps an object beyond the turn, for a send from where it lies. False when STORE_PINNED_PART is reached, or it would be with
 * this one. Ends with store_unpin, on any thread, once for each pin. The kernel reads truncated pages as an error (EFAULT). */
[[gnu::warn_unused_result]] bool store_pin(struct store *store, const struct store_object *object);
void store_unpin(struct store *store, uint32_t record);

/* All of an object as it lies there, its key too: for store_populate. */
struct span store_place(const struct store *store, const struct store_object *object);

/* True when all of the object is in RAM, as far as the kernel tells: mincore(2), one system call for each 16 MiB. */
bool store_resident(struct store *store, const struct store_object *object);

/* Brings bytes [from, from + bytes) of the mapping into RAM, as madvise(2) MADV_POPULATE_READ (kernel 5.14) does; may block:
 * for helper threads. What lies there may be another object by now. False: it could not be. */
bool store_populate(struct store *store, const char *from, size_t bytes);

/* Not all of a file is in RAM, or all of it is again: while it is not, store_object.cold comes after a second without a hit
 * instead of eight, for pages are taken that fast. Any thread. */
void store_press(struct store *store, bool pressed);

/* Tells the kernel which objects in RAM are asked for again and again, so that it takes others when it needs room: it does not
 * look at how a mapping without read-ahead is used (since Linux 6.3). Some times a second while not all is in RAM; any
 * one thread, but no worker's: it reads what is hot (preadv2(2) with RWF_NOWAIT), `bytes_max` of it (whole pages) in one call,
 * and goes on there in the next, be it within an object. Bytes that were there. Nothing without a path. */
uint64_t store_refresh(struct store *store, uint64_t now_ns, uint64_t bytes_max);

/* ------------------------------------------------------------------------------------------------------ writing ---- */

/* What a fill must show when it publishes: taken before the data that goes into it is read. */
struct store_token {
    uint32_t epoch;
};
struct store_token store_token(const struct store *store, uint64_t hash);

/* Room for an object that nobody sees yet. */
struct store_fill {
    uint32_t record;
    char *meta; /* meta_len bytes of the mapping, to be written with store_fill_write or by the kernel */
    char *body; /* body_len bytes, 64-byte aligned */
    uint32_t meta_len;
    uint32_t body_len;
};

enum store_result {
    STORE_OK,
    STORE_TOO_LARGE, /* key, meta or body: it will never fit */
    STORE_FULL,      /* no room now: what could go is in use, or was evicted and its readers are not quiet yet */
    STORE_OUTDATED,  /* its key was invalidated since the token */
    STORE_BROKEN,    /* the file was truncated */
};
const char *store_result_name(enum store_result result);

/* Makes room, by evicting (CLOCK) when there is none: at most a bounded number of steps, so that it may say FULL where more
 * patience would have found room. Copies the key. OK: ends with store_publish or store_abandon. */
[[gnu::warn_unused_result]] enum store_result store_reserve(struct store *store, struct span key, uint64_t hash,
                                                            uint32_t meta_len, uint32_t body_len, struct store_fill *out);

/* memcpy into a fill (meta or body). False: the file was truncated. */
[[gnu::warn_unused_result]] bool store_fill_write(struct store *store, char *to, const void *from, size_t bytes);

/* The object that a fill is, for its writer: fresh, of age 0. */
struct store_object store_fill_object(const struct store *store, const struct store_fill *fill);

/* Makes it the object of its key, in the place of an older one: fresh for ttl_ns, then in its grace for grace_ns (both rounded
 * up to ms). The fill is used up in any case; not OK: nothing was published. Either way store_fill_object of before is
 * valid for the writer, when that is a reader online, as if it were from store_get. */
[[gnu::warn_unused_result]] enum store_result store_publish(struct store *store, struct store_fill *fill,
                                                            struct store_token token, uint64_t ttl_ns, uint64_t grace_ns,
                                                            uint64_t now_ns);
void store_abandon(struct store *store, struct store_fill *fill); /* it is not pinned (asserted) */

/* As if it were published and invalidated at once, but that its key and other fills of it don't mind: nobody else will find
 * it, the writer has it as behind store_publish. */
void store_retire(struct store *store, struct store_fill *fill);

/* Unlinks the object of a key and outdates all fills of it: when this returns, no store_get of any reader finds it. True when
 * there was one. Looks at hashes only, and outdates by bucket: now and then another key's object or fill goes, too. */
bool store_invalidate(struct store *store, struct span key, uint64_t hash);

/* ------------------------------------------------------------------------------------------------------ figures ---- */

struct store_figures {
    uint64_t objects, objects_max;
    uint64_t bytes, bytes_used; /* of objects; what waits for its readers counts as used */
    uint64_t waiting_bytes;     /* unlinked, not free yet */
    uint64_t pinned_bytes;
    uint64_t largest_free;      /* longest run */
    uint64_t published, replaced, invalidated, evicted, expired; /* expired: unlinked because their grace was over */
    uint64_t outdated, full, too_large; /* fills that came to nothing */
    bool broken;                /* truncated: store_copy */
    bool file;                  /* it has a path */
};
/* From any thread; each is right, if a moment old. */
void store_figures(struct store *store, struct store_figures *out);

/* The mapping, for registering it with a ring; borrowed for the life of the store. */
struct span store_mapping(const struct store *store);

/* Counts which bytes of the mapping are in RAM: `bytes_max` of it (whole MiB) in one call, from where the last one has
 * stopped. True when that was the end: *resident is what all calls since the beginning have found. mincore(2), up to 20 ms for
 * each GiB: any one thread, but no worker's. */
[[gnu::warn_unused_result]] bool store_count_resident(struct store *store, uint64_t bytes_max, uint64_t *resident);

#endif
