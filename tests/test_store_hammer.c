/* Many threads on a small store: get, fill, invalidate, pin, while everything is evicted all the time. What is read says itself
 * whose it is: key, version, length, and words that are made of them; so a torn read, memory that was used again too early, or a
 * lost invalidation shows. To know that it would, the store is broken on purpose, one mechanism at a time, and must be caught.
 * usage: test_store_hammer [OPERATIONS]     of each thread; 30,000 without */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "random.h"
#include "store_rig.h"

enum { THREADS = 4, KEYS = 1024, PINS = 4, BODY_WORDS = 5000, BODY_WORDS_MIN = 4, CAUGHT = 3 };

static uint64_t operations = 30 * 1000;

/* Not the store's mistake but one of who fills: it publishes first and writes then. */
static bool break_fill;

struct hammer {
    struct store *store;
    atomic_uint_fast64_t now_ns;
    atomic_uint versions[KEYS]; /* what the source of a key says */
    atomic_uint floors[KEYS];   /* nothing older may be found: store_invalidate has returned */
    atomic_bool caught;
    atomic_uint hits, fills, outdated, pinned, invalidated;
};

struct body_head {
    uint32_t key, version, words;
};

struct pinned {
    bool is;
    uint32_t turns; /* until it is let go */
    struct store_object object;
};

struct thread {
    struct hammer *hammer;
    struct random random;
    uint32_t reader;
    struct pinned pins[PINS];
    uint64_t body[BODY_WORDS], copy[BODY_WORDS];
};

static void caught(struct hammer *hammer, const char *what, uint32_t key, uint32_t version) {
    if (!atomic_exchange(&hammer->caught, true)) {
        printf("caught: %s, key %u, version %u\n", what, key, version);
    }
}

static struct span key_text(uint32_t key, char text[static 16]) {
    return span_of(text, (size_t)snprintf(text, 16, "key-%04u", key));
}

/* Two keys have one hash: only the key itself can tell them apart. */
static uint64_t key_hash(const struct hammer *hammer, uint32_t key) {
    char text[16];
    return store_hash(hammer->store, key_text(key / 2, text));
}

static uint64_t word_of(uint32_t key, uint32_t version, uint32_t index) {
    return ((uint64_t)key << 40 ^ (uint64_t)version << 20 ^ index) * UINT64_C(0x9e3779b97f4a7c15);
}

static void pause_sometimes(struct thread *self, uint32_t one_in) {
    if (random_below(&self->random, one_in) == 0) {
        sched_yield();
    }
}

/* ------------------------------------------------------------------------------------------------------- reading ---- */

/* In pieces, with time between for others to spoil it. */
static bool is_right(struct thread *self, const struct store_object *object, uint32_t key, struct body_head *head) {
    struct store *store = self->hammer->store;
    size_t half = object->body.len / 16 * 8;
    if (object->meta.len != sizeof *head || object->body.len > sizeof self->copy) {
        return false;
    }
    if (!store_copy(store, head, object->meta.data, sizeof *head) || !store_copy(store, self->copy, object->body.data, half)) {
        return false;
    }
    pause_sometimes(self, 4);
    if (!store_copy(store, (char *)self->copy + half, object->body.data + half, object->body.len - half)) {
        return false;
    }
    if (head->key != key || object->body.len != head->words * sizeof(uint64_t)) {
        return false;
    }
    for (uint32_t i = 0; i < head->words; i++) {
        if (self->copy[i] != word_of(key, head->version, i)) return false;
    }
    return true;
}

static void keep_pinned(struct thread *self, const struct store_object *object) {
    struct pinned *slot = &self->pins[random_below(&self->random, PINS)];
    if (!slot->is && store_pin(self->hammer->store, object)) {
        *slot = (struct pinned){ .is = true, .turns = 1 + random_below(&self->random, 20), .object = *object };
        atomic_fetch_add(&self->hammer->pinned, 1);
    }
}

/* What is pinned is what it was: its own words say so. */
static void let_go(struct thread *self, struct pinned *slot) {
    struct body_head head;
    uint32_t key = 0;
    if (store_copy(self->hammer->store, &head, slot->object.meta.data, sizeof head)) {
        key = head.key;
    }
    if (!is_right(self, &slot->object, key, &head)) {
        caught(self->hammer, "pinned bytes changed", key, head.version);
    }
    store_unpin(self->hammer->store, slot->object.record);
    slot->is = false;
}

static bool read_one(struct thread *self, uint32_t key) {
    struct hammer *hammer = self->hammer;
    char text[16];
    struct store_object object;
    struct body_head head = { 0 };
    uint32_t floor = atomic_load(&hammer->floors[key]);
    if (!store_get(hammer->store, self->reader, key_text(key, text), key_hash(hammer, key), atomic_load(&hammer->now_ns),
                   &object)) {
        return false;
    }
    atomic_fetch_add(&hammer->hits, 1);
    if (!is_right(self, &object, key, &head)) {
        caught(hammer, "wrong bytes", key, head.version);
    } else if (head.version < floor) {
        caught(hammer, "invalidated, and found", key, head.version);
    }
    if (random_below(&self->random, 16) == 0) {
        keep_pinned(self, &object);
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------- writing ---- */

static void write_body(struct thread *self, const struct store_fill *fill, const struct body_head *head) {
    struct store *store = self->hammer->store;
    size_t half = head->words / 2 * sizeof(uint64_t), all = head->words * sizeof(uint64_t);
    for (uint32_t i = 0; i < head->words; i++) {
        self->body[i] = word_of(head->key, head->version, i);
    }
    bool written = store_fill_write(store, fill->meta, head, sizeof *head) && store_fill_write(store, fill->body, self->body, half);
    pause_sometimes(self, 4);
    written = written && store_fill_write(store, fill->body + half, (char *)self->body + half, all - half);
    if (!written) {
        caught(self->hammer, "not written", head->key, head->version);
    }
}

static void fill_one(struct thread *self, uint32_t key) {
    struct hammer *hammer = self->hammer;
    char text[16];
    uint64_t hash = key_hash(hammer, key);
    struct store_token token = store_token(hammer->store, hash);
    struct body_head head = { .key = key, .version = atomic_load(&hammer->versions[key]) };
    pause_sometimes(self, 2); /* the row was read, and is stored later */
    head.words = BODY_WORDS_MIN + random_below(&self->random, random_below(&self->random, 8) == 0 ? BODY_WORDS - BODY_WORDS_MIN : 300);
    struct store_fill fill;
    if (store_reserve(hammer->store, key_text(key, text), hash, sizeof head, head.words * (uint32_t)sizeof(uint64_t), &fill) !=
        STORE_OK) {
        return;
    }
    struct store_fill late = fill;
    if (!break_fill) {
        write_body(self, &fill, &head);
    }
    uint64_t ttl = random_below(&self->random, 4) == 0 ? MS : 1000 * SECOND;
    enum store_result result = store_publish(hammer->store, &fill, token, ttl, 0, atomic_load(&hammer->now_ns));
    if (break_fill) {
        pause_sometimes(self, 1);
        write_body(self, &late, &head);
    }
    atomic_fetch_add(&hammer->fills, result == STORE_OK);
    atomic_fetch_add(&hammer->outdated, result == STORE_OUTDATED);
}

/* The source changes, then the store is told; from when that returns nobody may find what was before. */
static void change_one(struct thread *self, uint32_t key) {
    struct hammer *hammer = self->hammer;
    char text[16];
    uint32_t version = atomic_fetch_add(&hammer->versions[key], 1) + 1;
    (void)store_invalidate(hammer->store, key_text(key, text), key_hash(hammer, key));
    atomic_fetch_add(&hammer->invalidated, 1);
    uint32_t floor = atomic_load(&hammer->floors[key]);
    while (floor < version && !atomic_compare_exchange_weak(&hammer->floors[key], &floor, version)) {
    }
}

/* ------------------------------------------------------------------------------------------------------- a thread ---- */

static void one_operation(struct thread *self) {
    uint32_t key = random_below(&self->random, KEYS), what = random_below(&self->random, 100);
    key = what % 2 == 0 ? key % 16 : key;
    if (what < 15) {
        change_one(self, key);
    } else if (what < 20) {
        atomic_fetch_add(&self->hammer->now_ns, MS / 8);
    } else if (!read_one(self, key)) {
        fill_one(self, key);
    }
}

static void end_turn(struct thread *self) {
    for (uint32_t i = 0; i < PINS; i++) {
        struct pinned *slot = &self->pins[i];
        if (slot->is && slot->turns-- == 0) {
            let_go(self, slot);
        }
    }
    if (random_below(&self->random, 8) > 0) {
        store_quiet(self->hammer->store, self->reader);
        return;
    }
    store_offline(self->hammer->store, self->reader);
    pause_sometimes(self, 2);
    store_online(self->hammer->store, self->reader);
}

static void *run_thread(void *arg) {
    struct thread *self = arg;
    store_online(self->hammer->store, self->reader);
    for (uint64_t i = 0; i < operations && !atomic_load_explicit(&self->hammer->caught, memory_order_relaxed); i++) {
        one_operation(self);
        if (random_below(&self->random, 3) == 0) {
            end_turn(self);
        }
    }
    for (uint32_t i = 0; i < PINS; i++) {
        if (self->pins[i].is) {
            let_go(self, &self->pins[i]);
        }
    }
    store_offline(self->hammer->store, self->reader);
    return NULL;
}

/* True when nothing wrong was seen. */
static bool hammer_run(const char *path, struct hammer *hammer, struct store_figures *figures) {
    static struct thread selves[THREADS];
    pthread_t threads[THREADS];
    struct store_rig rig;
    struct store_config config = store_rig_config(path);
    config.readers = THREADS;
    config.objects = 256;
    store_rig_open(&rig, &config);
    *hammer = (struct hammer){ .store = rig.store, .now_ns = rig.now_ns };
    struct random random = random_seeded("store_hammer");
    for (uint32_t i = 0; i < THREADS; i++) {
        selves[i] = (struct thread){ .hammer = hammer, .random = { random_next(&random) }, .reader = i };
        if (pthread_create(&threads[i], NULL, run_thread, &selves[i]) != 0) abort();
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    store_figures(rig.store, figures);
    rig.now_ns = atomic_load(&hammer->now_ns);
    if (!atomic_load(&hammer->caught)) {
        store_rig_close(&rig);
    }
    return !atomic_load(&hammer->caught);
}

static void test_hammer(void **state) {
    (void)state;
    struct hammer hammer;
    struct store_figures figures;
    store_break = STORE_BREAK_NONE;
    assert_true(hammer_run(NULL, &hammer, &figures));
    printf("%u hits, %u fills, %u outdated, %u pins, %u invalidated, %llu evicted, %llu expired, %llu replaced, %llu full\n",
           hammer.hits, hammer.fills, hammer.outdated, hammer.pinned, hammer.invalidated, (unsigned long long)figures.evicted,
           (unsigned long long)figures.expired, (unsigned long long)figures.replaced, (unsigned long long)figures.full);
    assert_int_equal(figures.pinned_bytes, 0);
    assert_true(hammer.hits > operations / 10);
    assert_true(hammer.fills > operations / 10);
    assert_true(hammer.outdated > operations / 1000);
    assert_true(hammer.pinned > operations / 1000);
    assert_true(figures.evicted > operations / 100);
    assert_true(figures.expired > operations / 1000);
    assert_true(figures.replaced > operations / 1000);
}

/* The same with a file, whose bytes are touched with more care. */
static void test_hammer_file(void **state) {
    (void)state;
    struct hammer hammer;
    struct store_figures figures;
    char path[] = "/tmp/rm-store-hammer-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    operations /= 4;
    assert_true(hammer_run(path, &hammer, &figures));
    operations *= 4;
    unlink(path);
}

/* ------------------------------------------------------------------------------------------- what is broken is caught ---- */

struct broken {
    const char *name;
    enum store_break what;
    bool fill;
};

static const struct broken broken[] = {
    { "broken_quiescence", STORE_BREAK_QUIESCENCE, false }, { "broken_epoch", STORE_BREAK_EPOCH, false },
    { "broken_pins", STORE_BREAK_PINS, false },             { "broken_unlink", STORE_BREAK_UNLINK, false },
    { "broken_key", STORE_BREAK_KEY, false },               { "broken_fill", STORE_BREAK_NONE, true },
};

/* In a process of its own, which may as well die of it: of an assertion, or of what a sanitizer finds. */
static void test_broken(void **state) {
    const struct broken *row = *state;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct hammer hammer;
        struct store_figures figures;
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        store_break = row->what;
        break_fill = row->fill;
        bool fine = hammer_run(NULL, &hammer, &figures);
        fflush(stdout);
        _exit(fine ? 0 : CAUGHT);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        fail_msg("nobody noticed");
    }
}

/* What is asked for stays, what is not goes; without CLOCK bits all go alike. */
static uint32_t misses_of_hot_keys(void) {
    struct store_rig rig;
    struct store_config config = store_rig_config(NULL);
    static char body[4000];
    char key[16];
    uint32_t misses = 0;
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "hot%u", i % 20);
        if (!store_rig_has(&rig, key)) {
            misses++;
            assert_int_equal(store_rig_put(&rig, key, span_of(body, sizeof body)), STORE_OK);
        }
        snprintf(key, sizeof key, "cold%u", i);
        assert_int_equal(store_rig_put(&rig, key, span_of(body, sizeof body)), STORE_OK);
        store_quiet(rig.store, 0);
    }
    store_offline(rig.store, 0);
    store_rig_close(&rig);
    return misses;
}

static void test_broken_ref(void **state) {
    (void)state;
    store_break = STORE_BREAK_NONE;
    uint32_t whole = misses_of_hot_keys();
    store_break = STORE_BREAK_REF;
    uint32_t without = misses_of_hot_keys();
    store_break = STORE_BREAK_NONE;
    assert_true(whole < 60);
    assert_true(without > 4 * whole);
}

int main(int argc, char **argv) {
    static struct rows tests;
    if (argc > 1) {
        operations = strtoull(argv[1], NULL, 10);
    }
    ROWS_TEST(&tests, test_hammer);
    ROWS_TEST(&tests, test_hammer_file);
    ROWS_ADD(&tests, test_broken, broken);
    ROWS_TEST(&tests, test_broken_ref);
    return rows_run("store_hammer", &tests);
}
