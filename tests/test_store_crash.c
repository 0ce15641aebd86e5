/* A process with a store is killed, 200 times, at any moment of its life: also while it opens the file and while it closes it. The
 * next one starts empty, or with what was there when the file was closed last, to the byte.
 *
 * Half of the rounds end at a counted step: an operation, or a call that changes the file, before or after it; the linker puts ours
 * in the place of those (--wrap). They are the same each time. The others end whenever the parent's kill(2) comes. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mem/store.h"
#include "random.h"
#include "rows.h"

enum {
    ROUNDS = 200,
    KEYS = 300,
    DISK_EACH = 20, /* each so many rounds the file is on a disk, where a sync takes its time */
    OPERATIONS = 60, /* between an open and its close, at most */
    STEPS_LIFE = 160, /* about as many as an open, its operations and a close have */
    KILL_WITHIN_US = 2500,
    BODY_MAX = 20000,
};

/* What the child did, for whoever comes after it. */
struct told {
    uint32_t versions[KEYS]; /* the newest that is, or may be, published; 0: none, or invalidated */
    uint64_t closes;         /* that have come to their end */
    bool closed;             /* the last thing that happened to the file is a close that has begun, and no open since */
    char problem[200];
};

static struct told *told; /* shared with the children */
static char path[2][96];

/* ------------------------------------------------------------------------------------------------ counted steps ---- */

static uint64_t steps, steps_end = UINT64_MAX; /* of a child */

static void step(void) {
    if (++steps == steps_end) {
        raise(SIGKILL);
    }
}

/* The calls that change a file, or what is said of it. */
#define WRAP(type, name, parameters, arguments) \
    type __real_##name parameters;              \
    type __wrap_##name parameters;              \
    type __wrap_##name parameters {             \
        step();                                 \
        type result = __real_##name arguments;  \
        step();                                 \
        return result;                          \
    }

WRAP(ssize_t, pwrite64, (int fd, const void *from, size_t bytes, off_t at), (fd, from, bytes, at))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, ftruncate64, (int fd, off_t size), (fd, size))
WRAP(int, posix_fallocate64, (int fd, off_t at, off_t bytes), (fd, at, bytes))
WRAP(int, msync, (void *from, size_t bytes, int flags), (from, bytes, flags))
WRAP(int, munmap, (void *from, size_t bytes), (from, bytes))

/* ------------------------------------------------------------------------------------------------------ objects ---- */

static struct span key_of(uint32_t key, char out[static 16]) {
    return span_of(out, (size_t)snprintf(out, 16, "key-%u", key));
}

/* Length and bytes are those of no other key and version. */
static uint32_t body_of(uint32_t key, uint32_t version, char *out) {
    struct random random = { (uint64_t)key << 32 | version };
    uint32_t len = random_below(&random, 8) == 0 ? random_below(&random, BODY_MAX) : random_below(&random, 600);
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t word = random_next(&random);
        memcpy(out + i, &word, 8);
    }
    return len;
}

static struct store *open_store(const char *where, struct store_report *report) {
    struct store_config config = { .path = where, .bytes = 1 << 20, .objects = 256, .readers = 1, .now_ns = 1, .wall_ms = 1 };
    struct store *store;
    if (store_open(&config, &store, report) != 0) {
        snprintf(told->problem, sizeof told->problem, "does not open: %.150s", report->why);
        _exit(1);
    }
    return store;
}

static void complain(uint32_t key, const char *what) {
    if (told->problem[0] == '\0') {
        snprintf(told->problem, sizeof told->problem, "key %u (version %u): %s", key, told->versions[key], what);
    }
}

/* Found, it is what was published last. */
static bool check(struct store *store, uint32_t key) {
    static char expected[BODY_MAX + 8], found[BODY_MAX + 8];
    char text[16];
    struct span name = key_of(key, text);
    struct store_object object;
    if (!store_get(store, 0, name, store_hash(store, name), 1, &object)) {
        return false;
    }
    uint32_t version = 0, len = body_of(key, told->versions[key], expected);
    if (object.meta.len != sizeof version || !store_copy(store, &version, object.meta.data, sizeof version)) {
        complain(key, "its meta is another one");
    } else if (version != told->versions[key]) {
        complain(key, version == 0 ? "it has no version" : "it has another version");
    } else if (object.body.len != len || !store_copy(store, found, object.body.data, len)) {
        complain(key, "its length is another one");
    } else if (memcmp(found, expected, len) != 0) {
        complain(key, "it has a wrong byte");
    }
    return true;
}

static uint32_t check_all(struct store *store) {
    uint32_t count = 0;
    store_online(store, 0);
    for (uint32_t key = 0; key < KEYS; key++) {
        count += check(store, key);
    }
    store_offline(store, 0);
    return count;
}

static void put(struct store *store, uint32_t key, uint32_t version) {
    static char body[BODY_MAX + 8];
    char text[16];
    struct span name = key_of(key, text);
    uint64_t hash = store_hash(store, name);
    uint32_t len = body_of(key, version, body);
    struct store_token token = store_token(store, hash);
    struct store_fill fill;
    if (store_reserve(store, name, hash, sizeof version, len, &fill) != STORE_OK) {
        return;
    }
    if (!store_fill_write(store, fill.meta, &version, sizeof version) || !store_fill_write(store, fill.body, body, len)) {
        complain(key, "the file is broken");
    }
    step();
    told->versions[key] = version; /* who is killed between this and the publish leaves no clean file anyway */
    if (store_publish(store, &fill, token, UINT64_C(1) << 62, 0, 1) != STORE_OK) {
        complain(key, "it is not published");
    }
}

static void operate(struct store *store, struct random *random, uint32_t version) {
    char text[16];
    uint32_t key = random_below(random, KEYS);
    struct span name = key_of(key, text);
    switch (random_below(random, 8)) {
    case 0:
        (void)store_invalidate(store, name, store_hash(store, name));
        told->versions[key] = 0;
        break;
    case 1:
    case 2: (void)check(store, key); break;
    default: put(store, key, version); break;
    }
}

/* Opens, works and closes until it is killed. */
static void live(const char *where, struct random random) {
    for (uint32_t version = random_below(&random, 1u << 30) + 1;; version++) {
        struct store_report report;
        struct store *store = open_store(where, &report);
        told->closed = false;
        if (report.start == STORE_WARM) {
            (void)check_all(store);
        } else {
            memset(told->versions, 0, sizeof told->versions);
        }
        store_online(store, 0);
        for (uint32_t i = random_below(&random, OPERATIONS); i > 0; i--) {
            step();
            operate(store, &random, version);
            store_quiet(store, 0);
        }
        store_offline(store, 0);
        told->closed = true;
        store_close(store, 1, 1);
        told->closes++;
    }
}

/* ------------------------------------------------------------------------------------------------------- rounds ---- */

static uint64_t warm, lost, empty, objects;

static void look(const char *where) {
    struct store_report report;
    bool closed = told->closed; /* this open is not the child's */
    struct store *store = open_store(where, &report);
    uint32_t count = check_all(store);
    if (report.start == STORE_WARM && !closed) {
        snprintf(told->problem, sizeof told->problem, "it is warm without a close");
    }
    if (report.start != STORE_WARM && count > 0) {
        snprintf(told->problem, sizeof told->problem, "it is not warm and has %u objects", count);
    }
    *(report.start == STORE_WARM ? &warm : report.start == STORE_LOST ? &lost : &empty) += 1;
    objects += count;
    if (report.start != STORE_WARM) {
        memset(told->versions, 0, sizeof told->versions);
    }
    store_close(store, 1, 1); /* and the next child finds it warm */
    told->closed = true;
}

static void test_kill(void **state) {
    (void)state;
    struct random random = random_seeded("store_crash");
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const char *where = path[round % DISK_EACH == 0];
        struct random own = { random_next(&random) };
        bool counted = round % 2 == 1;
        uint64_t end = 1 + random_below(&random, STEPS_LIFE);
        long within_us = random_below(&random, KILL_WITHIN_US);
        if (round % DISK_EACH <= 1) { /* the other file */
            memset(told->versions, 0, sizeof told->versions);
            unlink(where);
            told->closed = false;
        }
        pid_t child = fork();
        if (child == 0) {
            steps = 0; /* the parent has some, too */
            steps_end = counted ? end : UINT64_MAX;
            live(where, own);
        }
        if (!counted) {
            nanosleep(&(struct timespec){ .tv_nsec = within_us * 1000 }, NULL);
            kill(child, SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
            fail_msg("round %u: the child ended by itself: %x, %s", round, status, told->problem);
        }
        look(where);
        if (told->problem[0] != '\0') {
            fail_msg("round %u, %s, step %lu: %s", round, counted ? "counted" : "timed", (unsigned long)end, told->problem);
        }
    }
    printf("%d rounds: warm %lu, lost %lu, empty %lu; %lu objects were found, %lu closes\n", ROUNDS, (unsigned long)warm,
           (unsigned long)lost, (unsigned long)empty, (unsigned long)objects, (unsigned long)told->closes);
    assert_true(warm > 0); /* or nothing was tested */
    assert_true(lost > 0);
    assert_true(objects > 0);
}

int main(void) {
    static struct rows rows;
    char folders[2][64];
    const char *const places[2] = { access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", "/tmp" };
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 2; i++) {
        snprintf(folders[i], sizeof folders[i], "%s/ringmain-crash-XXXXXX", places[i]);
        if (told == MAP_FAILED || mkdtemp(folders[i]) == NULL) {
            return 1;
        }
        snprintf(path[i], sizeof path[i], "%s/store", folders[i]);
    }
    ROWS_TEST(&rows, test_kill);
    int failed = rows_run("store_crash", &rows);
    for (int i = 0; i < 2; i++) {
        unlink(path[i]);
        rmdir(folders[i]);
    }
    return failed;
}
