/* Which objects are told to the kernel as hot. */
#include <stdlib.h>
#include <unistd.h>

#include "store_rig.h"

static struct store_rig rig;
static char body[8000];

/* Asked for every second for a while. */
static void ask_for_seconds(const char *key, unsigned seconds) {
    struct store_object object;
    for (unsigned i = 0; i < seconds; i++) {
        rig.now_ns += SECOND;
        assert_true(store_rig_get(&rig, key, &object));
    }
}

static uint64_t refresh(void) {
    return store_refresh(rig.store, rig.now_ns, UINT64_MAX);
}

static void test_hot(void **state) {
    (void)state;
    char path[] = "/tmp/ringmain-refresh-XXXXXX";
    close(mkstemp(path));
    struct store_config config = store_rig_config(path);
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "hot", span_of(body, sizeof body)), STORE_OK);
    assert_int_equal(store_rig_put(&rig, "once", span_of(body, sizeof body)), STORE_OK);
    assert_true(store_rig_has(&rig, "once"));
    assert_int_equal(refresh(), 0); /* nothing was asked for twice */
    ask_for_seconds("hot", 3);
    uint64_t bytes = refresh();
    assert_in_range(bytes, 8000, 4 * 4096); /* it, and no other */
    rig.now_ns += SECOND;
    assert_int_equal(refresh(), bytes);
    rig.now_ns += 2 * SECOND;
    assert_int_equal(refresh(), 0); /* not any more */
    ask_for_seconds("hot", 3);
    ask_for_seconds("once", 1);
    assert_int_equal(refresh(), bytes);
    assert_true(store_rig_drop(&rig, "hot"));
    assert_int_equal(refresh(), 0); /* gone */
    store_offline(rig.store, 0);
    store_rig_close(&rig);
    unlink(path);
}

/* More is hot than one call is to read: the next ones go on. */
static void test_bounded(void **state) {
    (void)state;
    enum { COUNT = 10 };
    char path[] = "/tmp/ringmain-refresh-XXXXXX", key[COUNT] = "hot0";
    close(mkstemp(path));
    struct store_config config = store_rig_config(path);
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    for (int i = 0; i < COUNT; i++) {
        key[3] = (char)('0' + i);
        assert_int_equal(store_rig_put(&rig, key, span_of(body, sizeof body)), STORE_OK);
    }
    for (int i = 0; i < 3 * COUNT; i++) {
        struct store_object object;
        rig.now_ns += i % COUNT == 0 ? SECOND : 0;
        key[3] = (char)('0' + i % COUNT);
        assert_true(store_rig_get(&rig, key, &object));
    }
    uint64_t all = refresh(), sum = 0, units = store_units(4, 4, sizeof body);
    assert_in_range(all, COUNT * 8000, COUNT * 4 * 4096);
    for (int i = 0; i < COUNT; i++) {
        uint64_t bytes = store_refresh(rig.store, rig.now_ns, units * STORE_UNIT_BYTES);
        assert_in_range(bytes, 8000, 4 * 4096); /* one object */
        sum += bytes;
    }
    assert_int_equal(sum, all); /* each of them once */
    store_offline(rig.store, 0);
    store_rig_close(&rig);
    unlink(path);
}

/* One that is larger than what a call is to read is read in pieces, and then the others. */
static void test_large(void **state) {
    (void)state;
    enum { LARGE = 100000, PIECE = 15000 };
    static char large[LARGE];
    char path[] = "/tmp/ringmain-refresh-XXXXXX";
    close(mkstemp(path));
    struct store_config config = store_rig_config(path);
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "a", span_of(large, sizeof large)), STORE_OK);
    assert_int_equal(store_rig_put(&rig, "b", span_of(body, sizeof body)), STORE_OK);
    for (int i = 0; i < 3; i++) {
        ask_for_seconds("a", 1);
        assert_true(store_rig_has(&rig, "b"));
    }
    uint64_t sum = 0;
    int calls = 0;
    for (; rig.store->refresh_next == 0 && calls < 20; calls++) { /* up to the middle of the second one */
        uint64_t bytes = store_refresh(rig.store, rig.now_ns, PIECE);
        assert_in_range(bytes, 1, PIECE + 2 * 2 * 4096); /* two pieces, in whole pages */
        sum += bytes;
    }
    assert_int_equal(calls, (LARGE + PIECE - 1) / PIECE);
    assert_in_range(sum, LARGE, LARGE + PIECE + 9 * 4096);
    assert_in_range(rig.store->refresh_at, 1, sizeof body);
    assert_int_equal(store_refresh(rig.store, rig.now_ns, 0), 0);
    assert_true(store_rig_drop(&rig, "b")); /* what it was in the middle of has gone */
    assert_in_range(refresh(), LARGE, LARGE + 2 * 4096);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
    unlink(path);
}

/* In memory the kernel sees it itself. */
static void test_memory(void **state) {
    (void)state;
    struct store_config config = store_rig_config(NULL);
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "hot", span_of(body, sizeof body)), STORE_OK);
    ask_for_seconds("hot", 3);
    assert_int_equal(refresh(), 0);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

int main(void) {
    static struct rows rows;
    ROWS_TEST(&rows, test_hot);
    ROWS_TEST(&rows, test_bounded);
    ROWS_TEST(&rows, test_large);
    ROWS_TEST(&rows, test_memory);
    return rows_run("store_refresh", &rows);
}
