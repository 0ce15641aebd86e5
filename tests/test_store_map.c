#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "death.h"
#include "store_map_rig.h"

static void test_warm(void **state) {
    (void)state;
    make_closed();
    for (uint64_t generation = 2; generation < 5; generation++) {
        struct stat file;
        assert_int_equal(open_at(path, DATA), 0);
        assert_warm(generation);
        store_map_image_done(&map);
        store_map_image_done(&map);
        assert_int_equal(fstat(map.fd, &file), 0);
        assert_int_equal(file.st_size, TOTAL);
        assert_int_equal(file.st_mode & 0777, 0600);
        assert_true(file.st_blocks * 512 >= TOTAL);
        store_map_close(&map, &closed);
    }
}

static void test_warm_without_objects(void **state) {
    (void)state;
    make_closed();
    assert_int_equal(open_at(path, DATA), 0);
    store_map_close(&map, &(struct store_image){ .now_ms = 5 });
    assert_int_equal(open_at(path, DATA), 0);
    assert_int_equal(report.start, STORE_WARM);
    assert_int_equal(image.count, 0);
    store_map_close(&map, NULL);
}

static void test_not_closed(void **state) {
    (void)state;
    make_closed();
    assert_int_equal(open_at(path, DATA), 0);
    store_map_close(&map, NULL);
    assert_int_equal(open_at(path, DATA), 0);
    assert_int_equal(report.start, STORE_LOST);
    assert_int_equal(image.generation, 3);
    store_map_close(&map, NULL);
}

/* ------------------------------------------------------------------------------------------------- cut under use ---- */

static char buffer[DATA];

static bool copies(void) {
    return store_map_copy(&map, buffer, map.data + 10 * PAGE, 3 * PAGE);
}

static bool writes(void) {
    return store_map_copy(&map, map.data + 10 * PAGE, buffer, 3 * PAGE);
}

static bool compares(void) {
    char same[PAGE];
    for (uint64_t i = 0; i < PAGE; i++) {
        same[i] = right_byte(10 * PAGE + i);
    }
    return store_map_equal(&map, map.data + 10 * PAGE, same, PAGE);
}

static bool populates(void) {
    return store_map_populate(&map, map.data + 10 * PAGE + 1, 3 * PAGE);
}

static bool counts(void) {
    store_map_resident_bytes(&map, 0, DATA);
    return !store_map_broken(&map);
}

static bool looks(void) {
    return store_map_whole(&map);
}

struct use {
    const char *name;
    bool (*use)(void);
};

static const struct use uses[] = {
    { "copy", copies },         { "copy into it", writes }, { "compare", compares },
    { "populate", populates },  { "count", counts },        { "look", looks },
};

static const off_t cut_sizes[][2] = { { 0, -1 }, { 11 * PAGE + 5, -1 }, { TOTAL - 1, TOTAL }, { 0, TOTAL } };

static void test_cut_under_use(void **state) {
    const struct use *row = *state;
    for (size_t i = 0; i < sizeof cut_sizes / sizeof cut_sizes[0]; i++) {
        unlink(path);
        make_closed();
        assert_int_equal(open_at(path, DATA), 0);
        assert_true(row->use());
        assert_false(store_map_broken(&map));
        /* The last page has the witness at its front: a cut behind that is none, for the data. */
        bool notices = cut_sizes[i][0] != TOTAL - 1;
        assert_int_equal(truncate(path, cut_sizes[i][0]), 0);
        if (cut_sizes[i][1] >= 0) {
            assert_int_equal(truncate(path, cut_sizes[i][1]), 0);
        }
        assert_int_equal(row->use(), !notices);
        assert_int_equal(store_map_broken(&map), notices);
        if (notices) {
            for (size_t k = 0; k < sizeof uses / sizeof uses[0]; k++) {
                assert_false(uses[k].use()); /* what was noticed once stays */
            }
            (void)store_map_resident(&map, map.data, DATA);
        }
        store_map_close(&map, &closed);
        assert_int_equal(open_at(path, DATA), cut_sizes[i][0] > 0 || !notices ? 0 : cut_sizes[i][1] < 0 ? 0 : -EEXIST);
        if (map.fd >= 0) {
            assert_int_equal(report.start, !notices ? STORE_WARM : cut_sizes[i][0] == 0 ? STORE_EMPTY : STORE_LOST);
            store_map_close(&map, NULL);
        }
    }
}

/* Nobody has touched it since: the close does not say that all is well. */
static void test_cut_before_close(void **state) {
    (void)state;
    assert_int_equal(open_at(path, DATA), 0);
    fill();
    assert_int_equal(truncate(path, 11 * PAGE), 0);
    store_map_close(&map, &closed);
    assert_int_equal(open_at(path, DATA), 0);
    assert_int_equal(report.start, STORE_LOST);
    store_map_close(&map, NULL);
}

/* -------------------------------------------------------------------------------------------------------- memory ---- */

static void test_memory(void **state) {
    (void)state;
    assert_int_equal(open_at(NULL, DATA), 0);
    assert_int_equal(report.start, STORE_EMPTY);
    assert_int_equal(image.generation, 1);
    assert_int_equal(ftruncate(map.fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(store_map_resident_bytes(&map, 0, DATA), 0);
    fill();
    assert_filled();
    assert_true(compares());
    assert_false(store_map_equal(&map, map.data, "ab", 2));
    assert_true(populates());
    assert_true(looks());
    assert_true(store_map_resident(&map, map.data, DATA));
    assert_int_equal(store_map_resident_bytes(&map, 0, DATA), DATA);
    store_map_close(&map, &closed);
}

/* What is on the disk comes when it is asked for, whole objects at a time. */
static void test_populate(void **state) {
    (void)state;
    make_closed();
    assert_int_equal(open_at(path, DATA), 0);
    assert_int_equal(posix_fadvise(map.fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    if (store_map_resident(&map, map.data + 10 * PAGE, 1)) {
        store_map_close(&map, NULL);
        skip(); /* /tmp is in memory, or its pages are held by somebody */
    }
    assert_true(store_map_populate(&map, map.data + 10 * PAGE - 1, 2 * PAGE));
    assert_true(store_map_resident(&map, map.data + 9 * PAGE, 3 * PAGE));
    uint64_t resident = store_map_resident_bytes(&map, 0, DATA); /* some file systems have larger pages than the machine */
    assert_true(resident >= 3 * PAGE);
    assert_int_equal(store_map_resident(&map, map.data, DATA), resident == DATA);
    assert_filled();
    assert_int_equal(store_map_resident_bytes(&map, 0, DATA), DATA);
    assert_true(store_map_resident(&map, map.data, DATA));
    store_map_close(&map, NULL);
}

static void outside(void *arg) {
    (void)store_map_resident(&map, map.data + DATA - 1, (size_t)(uintptr_t)arg);
}

static void test_mistakes(void **state) {
    (void)state;
    assert_int_equal(open_at(NULL, DATA), 0);
    assert_true(asserts(outside, (void *)2));
    assert_false(asserts(outside, (void *)1));
    store_map_close(&map, NULL);
}

int main(void) {
    static struct rows rows;
    ROWS_TEST(&rows, test_warm);
    ROWS_TEST(&rows, test_warm_without_objects);
    ROWS_TEST(&rows, test_not_closed);
    ROWS_ADD(&rows, test_cut_under_use, uses);
    ROWS_TEST(&rows, test_cut_before_close);
    ROWS_TEST(&rows, test_memory);
    ROWS_TEST(&rows, test_populate);
    ROWS_TEST(&rows, test_mistakes);
    rig_folders(&rows, test_populate);
    return rows_run("store_map", &rows);
}
