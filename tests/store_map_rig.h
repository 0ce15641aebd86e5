/* A store's mapping in a folder of its own, with bytes that are known. */
#ifndef RM_TESTS_STORE_MAP_RIG_H
#define RM_TESTS_STORE_MAP_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/store_map.h"
#include "rows.h"

enum {
    PAGE = 4096,
    DATA = 64 * PAGE,
    ENTRIES = 100,
    IMAGE_AT = PAGE + DATA,
    IMAGE_BYTES = ENTRIES * sizeof(struct store_image_entry),
    WITNESS_AT = IMAGE_AT + 2 * PAGE,
    TOTAL = WITNESS_AT + PAGE,
    HEAD = 104,
};

static char folder[64], path[96];
static struct store_map map;
static struct store_image image;
static struct store_report report;

static inline int32_t open_at(const char *where, uint64_t bytes) {
    return store_map_open(&map, where, bytes, ENTRIES, &image, &report);
}

/* Of a store with three objects; byte i of the data is i % 251. */
static struct store_image_entry entries[3] = { { .hash = 1, .units = 3 }, { .hash = 2, .unit = 7 }, { .hash = UINT64_MAX } };
static const struct store_image closed = {
    .key = { 11, 12 }, .now_ms = 13, .wall_ms = -14, .count = 3, .entries = entries,
};

static inline char right_byte(uint64_t i) {
    return (char)(i % 251);
}

static inline void fill(void) {
    char bytes[PAGE];
    for (uint64_t at = 0; at < DATA; at += PAGE) {
        for (uint64_t i = 0; i < PAGE; i++) {
            bytes[i] = right_byte(at + i);
        }
        assert_true(store_map_copy(&map, map.data + at, bytes, PAGE));
    }
}

static inline void assert_filled(void) {
    char bytes[DATA];
    assert_true(store_map_copy(&map, bytes, map.data, DATA));
    for (uint64_t i = 0; i < DATA; i++) {
        if (bytes[i] != right_byte(i)) {
            fail_msg("byte %u is %d", (unsigned)i, bytes[i]);
        }
    }
}

static inline int make_folder(const char *where) {
    snprintf(folder, sizeof folder, "%s/ringmain-map-XXXXXX", where);
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/store", folder);
    return 0;
}

static inline int setup_disk(void **state) {
    (void)state;
    return make_folder("/tmp");
}

/* In memory, where there is a tmpfs: a sync takes no time. */
static inline int setup(void **state) {
    return access("/dev/shm", W_OK) == 0 ? make_folder("/dev/shm") : setup_disk(state);
}

static inline int teardown(void **state) {
    (void)state;
    chmod(folder, 0700);
    unlink(path);
    return rmdir(folder);
}

/* A file that was closed as it should be. */
static inline void make_closed(void) {
    assert_int_equal(open_at(path, DATA), 0);
    assert_int_equal(report.start, STORE_EMPTY);
    assert_int_equal(image.generation, 1);
    fill();
    store_map_close(&map, &closed);
}

static inline void assert_warm(uint64_t generation) {
    assert_int_equal(report.start, STORE_WARM);
    assert_string_equal(report.why, "");
    assert_int_equal(image.generation, generation);
    assert_memory_equal(image.key, closed.key, sizeof image.key);
    assert_int_equal(image.now_ms, 13);
    assert_int_equal(image.wall_ms, -14);
    assert_int_equal(image.count, 3);
    assert_memory_equal(image.entries, entries, sizeof entries);
    assert_filled();
}

static inline void rig_folders(struct rows *rows, CMUnitTestFunction on_disk) {
    for (size_t i = 0; i < rows->count; i++) {
        rows->tests[i].setup_func = rows->tests[i].test_func == on_disk ? setup_disk : setup;
        rows->tests[i].teardown_func = teardown;
    }
}

#endif
