/* The store as a whole: what it plans, what it reports, and what a clean close leaves to the next start. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "death.h"
#include "mem/store_map.h"
#include "store_rig.h"

static char folder[] = "/tmp/rm-store-XXXXXX", path[64];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/rm-store-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/store", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void test_ram_is_planned(void **state) {
    (void)state;
    struct store_config config = store_rig_config(NULL);
    config.objects = 1 << 20;
    uint64_t plain = store_ram_bytes(&config);
    assert_in_range(plain, UINT64_C(150) << 20, UINT64_C(160) << 20); /* 152 bytes for each object */
    config.path = path;
    assert_int_equal(store_ram_bytes(&config), plain + (2 << 20)); /* when each was asked for last */
    config.objects = 1 << 26;
    config.readers = STORE_READERS_MAX;
    assert_in_range(store_ram_bytes(&config), UINT64_C(9) << 30, UINT64_C(10) << 30);
    config = store_rig_config(NULL);
    config.objects = 64;
    config.readers = 1;
    assert_true(store_ram_bytes(&config) < 16 * 1024);
}

/* The plan for the worst case costs nothing until it comes. */
static void test_unused_ram_is_not_touched(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_config config = store_rig_config(NULL);
    config.objects = 1 << 26;
    long before = 0, after = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(statm, "%*d %ld", &before), 1);
    fclose(statm);
    store_rig_open(&rig, &config);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    statm = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(statm, "%*d %ld", &after), 1);
    fclose(statm);
    store_rig_close(&rig);
    assert_true(after - before < 512); /* pages */
}

static void test_empty(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_config config = store_rig_config(NULL);
    config.bytes = 3 * STORE_MIB + 12345;
    store_rig_open(&rig, &config);
    struct store_figures figures = store_rig_figures(&rig);
    assert_int_equal(rig.report.start, STORE_EMPTY);
    assert_int_equal(figures.bytes, 3 * STORE_MIB);
    assert_int_equal(figures.largest_free, 3 * STORE_MIB);
    assert_int_equal(figures.objects_max, 4096);
    assert_int_equal(figures.bytes_used, 0);
    assert_false(figures.file);
    assert_false(figures.broken);
    assert_int_equal(store_mapping(rig.store).len, 3 * STORE_MIB);
    assert_int_equal((uintptr_t)store_mapping(rig.store).data % 4096, 0);
    store_rig_close(&rig);
}

/* Nobody outside knows the key of the hash: two stores differ. */
static void test_hashes_are_keyed(void **state) {
    (void)state;
    struct store_rig a, b;
    struct store_config config = store_rig_config(NULL);
    store_rig_open(&a, &config);
    store_rig_open(&b, &config);
    assert_true(store_hash(a.store, SPAN("k")) != store_hash(b.store, SPAN("k")));
    assert_true(store_hash(a.store, SPAN("k")) == store_hash(a.store, SPAN("k")));
    store_rig_close(&a);
    store_rig_close(&b);
}

static void test_resident(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_object object;
    struct store_config config = store_rig_config(NULL);
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    assert_true(store_rig_get(&rig, "k", &object));
    assert_true(store_resident(rig.store, &object));
    assert_true(store_populate(rig.store, object.body.data, object.body.len));
    assert_in_range(store_rig_resident(&rig), 4096, STORE_MIB);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

/* ---------------------------------------------------------------------------------------------------- warm starts ---- */

static void close_and_open(struct store_rig *rig, struct store_config *config, uint64_t later_ms) {
    store_rig_close(rig);
    config->wall_ms += (int64_t)later_ms;
    config->now_ns = 5 * SECOND; /* another boot's clock */
    store_rig_open(rig, config);
    store_online(rig->store, 0);
}

/* 200 objects: found again with their bytes, their ages gone on, and room is taken only where they lie. */
static void test_warm(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_object object;
    struct store_config config = store_rig_config(path);
    char key[24], body[3000];
    store_rig_open(&rig, &config);
    assert_int_equal(rig.report.start, STORE_EMPTY);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%d", i);
        memset(body, 'a' + i % 26, sizeof body);
        assert_int_equal(store_rig_put_for(&rig, key, span_of(body, (size_t)i * 10), 60 * SECOND, SECOND), STORE_OK);
    }
    for (int i = 0; i < 300; i += 3) {
        snprintf(key, sizeof key, "k%d", i);
        assert_true(store_rig_drop(&rig, key));
    }
    rig.now_ns += 2 * SECOND;
    rig.wall_ms += 2000;
    config.wall_ms += 2000;
    store_online(rig.store, 0);
    assert_true(store_rig_has(&rig, "k1"));
    store_offline(rig.store, 0);
    uint64_t hash = store_hash(rig.store, SPAN("k1"));
    close_and_open(&rig, &config, 3000);
    assert_int_equal(rig.report.start, STORE_WARM);
    assert_int_equal(rig.report.objects, 200);
    assert_string_equal(rig.report.why, "");
    assert_true(store_hash(rig.store, SPAN("k1")) == hash);
    assert_true(*store_index_find(rig.store, hash) & STORE_REF);
    assert_false(*store_index_find(rig.store, store_hash(rig.store, SPAN("k2"))) & STORE_REF);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%d", i);
        memset(body, 'a' + i % 26, sizeof body);
        assert_int_equal(store_rig_get(&rig, key, &object), i % 3 != 0);
        if (i % 3 != 0) {
            assert_true(span_equal(object.body, span_of(body, (size_t)i * 10)));
            assert_true(span_equal(object.meta, SPAN("meta")));
            assert_int_equal(object.age_ms, 5000);
            assert_int_equal(object.fresh_ms, 55000);
            assert_true(object.cold);
            assert_true(store_rig_confirm(&rig, key, &object));
        }
    }
    assert_true(store_rig_get(&rig, "k1", &object));
    assert_false(object.cold); /* it was asked for a moment ago */
    struct store_figures figures = store_rig_figures(&rig);
    assert_int_equal(figures.objects, 200);
    assert_true(figures.file);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%d", i);
        (void)store_rig_drop(&rig, key);
    }
    store_quiet(rig.store, 0);
    figures = store_rig_figures(&rig);
    assert_int_equal(figures.bytes_used, 0);
    assert_int_equal(figures.largest_free, STORE_MIB);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

/* Cold is what nobody has asked for in the last 7 to 8 seconds; when pages are being taken, in this one. */
static void test_cold(void **state) {
    (void)state;
    static const struct {
        uint64_t after_ms;
        bool cold, pressed;
    } gaps[] = { { 0, false, false }, { 4000, false, false }, { 100, false, false }, { 4096, false, false },
                 { 8193, true, false }, { 1, false, false }, { 60000, true, false }, { 1025, true, true },
                 { 1, false, true }, { 2048, true, true }, { 2048, false, false } };
    struct store_rig rig;
    struct store_object object;
    struct store_config config = store_rig_config(path);
    config.now_ns = 4096 * 1000 * MS;
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        rig.now_ns += gaps[i].after_ms * MS;
        store_press(rig.store, gaps[i].pressed);
        assert_true(store_rig_get(&rig, "k", &object));
        assert_int_equal(object.cold, gaps[i].cold);
        if (object.cold) {
            assert_true(store_rig_get(&rig, "k", &object));
            assert_true(object.cold); /* as long as nobody has brought it to RAM */
            assert_false(store_rig_confirm(&rig, "l", &object)); /* as if it had the same hash */
            assert_false(store_rig_confirm(&rig, "kk", &object));
            assert_true(store_rig_confirm(&rig, "k", &object));
        }
    }
    struct span place = store_place(rig.store, &object);
    assert_ptr_equal(place.data, store_mapping(rig.store).data);
    assert_int_equal(place.len, 2 * STORE_UNIT_BYTES); /* "k" and "meta", "v" */
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

/* What is cold is found without a look at its pages: they may be on the disk, and who asks serves others, too. */
static void test_cold_is_not_touched(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_object object;
    struct store_config config = store_rig_config(path);
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    rig.now_ns += 20 * SECOND;
    struct span mapping = store_mapping(rig.store);
    assert_int_equal(mprotect((void *)(uintptr_t)mapping.data, mapping.len, PROT_NONE), 0);
    assert_true(store_rig_get(&rig, "k", &object));
    assert_true(object.cold);
    (void)store_resident(rig.store, &object);
    assert_int_equal(mprotect((void *)(uintptr_t)mapping.data, mapping.len, PROT_READ | PROT_WRITE), 0);
    assert_true(store_rig_confirm(&rig, "k", &object));
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

/* Each call looks at so many bytes; the last one says what all have found. */
static void test_count_in_parts(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_config config = store_rig_config(path);
    uint64_t all = 1, sum = 1;
    config.bytes = 5 * STORE_MIB;
    store_rig_open(&rig, &config);
    char *data = (char *)(uintptr_t)store_mapping(rig.store).data;
    for (size_t i = 0; i < 5; i++) {
        data[i * STORE_MIB + 5000 * i] = 1; /* a page in each, if the file system has small ones */
    }
    assert_true(store_count_resident(rig.store, UINT64_MAX, &all));
    assert_in_range(all, 5 * 4096, config.bytes);
    for (int round = 0; round < 2; round++) {
        assert_false(store_count_resident(rig.store, 1, &sum)); /* 1 MiB */
        assert_false(store_count_resident(rig.store, 2 * STORE_MIB + 1, &sum));
        assert_int_equal(sum, round == 0 ? 1 : all);
        assert_true(store_count_resident(rig.store, 2 * STORE_MIB, &sum));
        assert_int_equal(sum, all);
    }
    store_rig_close(&rig);
}

/* What is over when it opens again is not there, and what would be asked again is the rest of its time. */
static void test_warm_later(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_object object;
    struct store_config config = store_rig_config(path);
    store_rig_open(&rig, &config);
    assert_int_equal(store_rig_put_for(&rig, "short", SPAN("v"), SECOND, 0), STORE_OK);
    assert_int_equal(store_rig_put_for(&rig, "grace", SPAN("v"), SECOND, 3 * SECOND), STORE_OK);
    assert_int_equal(store_rig_put_for(&rig, "long", SPAN("v"), 4 * SECOND, 0), STORE_OK);
    close_and_open(&rig, &config, 1000);
    assert_int_equal(rig.report.objects, 2);
    assert_false(store_rig_has(&rig, "short"));
    assert_true(store_rig_get(&rig, "grace", &object));
    assert_int_equal(object.fresh_ms, 0);
    assert_true(store_rig_get(&rig, "long", &object));
    assert_int_equal(object.fresh_ms, 3000);
    store_offline(rig.store, 0);
    /* a wall clock that was set back takes nothing back */
    config.wall_ms -= 50000;
    rig.wall_ms = config.wall_ms + 60000;
    close_and_open(&rig, &config, 0);
    assert_int_equal(rig.report.objects, 2);
    assert_true(store_rig_get(&rig, "long", &object));
    assert_int_equal(object.age_ms, 1000);
    assert_int_equal(object.fresh_ms, 3000);
    rig.now_ns += 3 * SECOND;
    assert_false(store_rig_has(&rig, "long"));
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

static void test_warm_full(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_config config = store_rig_config(path);
    char key[24], body[3000];
    memset(body, 'x', sizeof body);
    store_rig_open(&rig, &config);
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(store_rig_put(&rig, key, span_of(body, (size_t)(i * 7919 % 3000))), STORE_OK);
    }
    struct store_figures before = store_rig_figures(&rig);
    close_and_open(&rig, &config, 0);
    struct store_figures after = store_rig_figures(&rig);
    assert_int_equal(rig.report.objects, before.objects);
    assert_int_equal(after.bytes_used, before.bytes_used - before.waiting_bytes);
    for (int i = 5000; i < 10000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(store_rig_put(&rig, key, span_of(body, (size_t)(i * 7919 % 3000))), STORE_OK);
        assert_true(store_rig_has(&rig, key));
        store_quiet(rig.store, 0);
    }
    store_offline(rig.store, 0);
    store_rig_close(&rig);
}

/* ------------------------------------------------------------------------------------------------------ bad images ---- */

struct bad {
    const char *name;
    struct store_image_entry entries[2];
    uint64_t count;
    const char *why; /* NULL: it is fine */
};

/* hash, stored, fresh until, grace until, unit, units, key, meta, body, flags */
#define ENTRY(unit) { 1 + (unit), 1, FAR, FAR, (unit), 2, 1, 0, 64, 0 }
#define FAR (1 << 30)

static const struct bad bads[] = {
    { "fine", { ENTRY(0), ENTRY(2) }, 2, NULL },
    { "with_a_gap", { ENTRY(5), ENTRY(STORE_MIB / 64 - 2) }, 2, NULL },
    { "overlap", { ENTRY(0), ENTRY(1) }, 2, "overlaps" },
    { "order", { ENTRY(4), ENTRY(0) }, 2, "overlaps" },
    { "outside", { ENTRY(0), ENTRY(STORE_MIB / 64 - 1) }, 2, "not inside" },
    { "far_outside", { ENTRY(UINT32_MAX) }, 1, "not inside" },
    { "size", { { 1, 1, FAR, FAR, 0, 3, 1, 0, 64, 0 } }, 1, "do not make its size" },
    { "no_units", { { 1, 1, FAR, FAR, 0, 0, 1, 0, 64, 0 } }, 1, "do not make its size" },
    { "body", { { 1, 1, FAR, FAR, 0, 2, 1, 0, UINT32_MAX, 0 } }, 1, "beyond the limits" },
    { "key", { { 1, 1, FAR, FAR, 0, 2, STORE_KEY_BYTES_MAX + 1, 0, 64, 0 } }, 1, "beyond the limits" },
    { "meta", { { 1, 1, FAR, FAR, 0, 2, 1, STORE_META_BYTES_MAX + 1, 64, 0 } }, 1, "beyond the limits" },
    { "fresh_after_grace", { { 1, 1, FAR, 5, 0, 2, 1, 0, 64, 0 } }, 1, "times" },
    { "stored_after_fresh", { { 1, UINT64_MAX, FAR, FAR, 0, 2, 1, 0, 64, 0 } }, 1, "times" },
    { "flags", { { 1, 1, FAR, FAR, 0, 2, 1, 0, 64, 2 } }, 1, "flags" },
};

/* An image that is whole, as far as store_map can tell, with entries that are not. */
static void write_image(const struct bad *bad) {
    struct store_map map;
    struct store_image image;
    struct store_report report;
    assert_int_equal(store_map_open(&map, path, STORE_MIB, 4096, &image, &report), 0);
    image = (struct store_image){
        .generation = image.generation, .now_ms = 1000, .wall_ms = 1700000000000, .count = bad->count, .entries = bad->entries
    };
    store_map_close(&map, &image);
}

static void test_bad_image(void **state) {
    const struct bad *row = *state;
    struct store_rig rig;
    assert_int_equal(setup(NULL), 0);
    write_image(row);
    struct store_config config = store_rig_config(path);
    store_rig_open(&rig, &config);
    assert_int_equal(rig.report.start, row->why == NULL ? STORE_WARM : STORE_LOST);
    assert_int_equal(rig.report.objects, row->why == NULL ? row->count : 0);
    if (row->why != NULL && strstr(rig.report.why, row->why) == NULL) {
        fail_msg("'%s' does not say '%s'", rig.report.why, row->why);
    }
    struct store_figures figures = store_rig_figures(&rig);
    assert_int_equal(figures.objects, rig.report.objects);
    assert_int_equal(figures.bytes_used, rig.report.objects * 128);
    assert_int_equal(store_rig_put(&rig, "k", SPAN("v")), STORE_OK);
    store_rig_close(&rig);
    assert_int_equal(teardown(NULL), 0);
}

/* Two entries of one hash: the first is taken; more of one bucket than it holds: those that fit. */
static void test_image_of_one_bucket(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_image_entry entries[10];
    for (uint32_t i = 0; i < 10; i++) {
        entries[i] = (struct store_image_entry)ENTRY(2 * i);
        entries[i].hash = (uint64_t)(i / 2) << 40;
    }
    struct store_map map;
    struct store_image image;
    struct store_report report;
    struct store_config config = store_rig_config(path);
    for (uint32_t round = 0; round < 2; round++) {
        assert_int_equal(store_map_open(&map, path, STORE_MIB, 4096, &image, &report), 0);
        image = (struct store_image){
            .generation = image.generation, .now_ms = 1000, .wall_ms = 1700000000000, .count = 10, .entries = entries
        };
        store_map_close(&map, &image);
        store_rig_open(&rig, &config);
        assert_int_equal(rig.report.objects, round == 0 ? 5 : 7);
        assert_int_equal(store_rig_figures(&rig).bytes_used, rig.report.objects * 128);
        store_rig_close(&rig);
        for (uint32_t i = 0; i < 10; i++) {
            entries[i].hash = (uint64_t)i << 40;
        }
    }
}

/* --------------------------------------------------------------------------------------------------------- errors ---- */

static void test_no_file(void **state) {
    (void)state;
    struct store *store;
    struct store_report report;
    struct store_config config = store_rig_config("/nowhere/at/all");
    assert_int_equal(store_open(&config, &store, &report), -ENOENT);
    assert_true(strlen(report.why) > 0);
    config.path = folder;
    assert_true(store_open(&config, &store, &report) < 0);
    assert_true(strlen(report.why) > 0);
}

/* Truncated by somebody else: every way in says so, none crashes. */
static void test_truncated(void **state) {
    (void)state;
    struct store_rig rig;
    struct store_object object;
    struct store_fill fill, late;
    char body[20000];
    memset(body, 'x', sizeof body);
    struct store_config config = store_rig_config(path);
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    assert_int_equal(store_rig_put(&rig, "k", span_of(body, sizeof body)), STORE_OK);
    assert_true(store_rig_get(&rig, "k", &object));
    uint64_t hash = store_hash(rig.store, SPAN("late"));
    assert_int_equal(store_rig_fill(&rig, SPAN("late"), SPAN(""), span_of(body, 8000), &late), STORE_OK);
    assert_int_equal(truncate(path, 4096), 0);
    assert_false(store_copy(rig.store, body, object.body.data, object.body.len));
    assert_true(store_rig_figures(&rig).broken);
    assert_false(store_rig_has(&rig, "k"));
    assert_false(store_fill_write(rig.store, late.body, body, 8000));
    assert_int_equal(store_publish(rig.store, &late, store_token(rig.store, hash), SECOND, 0, rig.now_ns), STORE_BROKEN);
    assert_int_equal(store_reserve(rig.store, SPAN("l"), 1, 0, 1, &fill), STORE_BROKEN);
    assert_false(store_rig_figures(&rig).objects > 1);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
    store_rig_open(&rig, &config);
    assert_int_equal(rig.report.start, STORE_LOST);
    store_rig_close(&rig);
}

static void try_config(void *arg) {
    (void)store_ram_bytes(arg);
}

static void test_bad_configs(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct store_config config = store_rig_config(NULL);
        switch (i) {
        case 0: config.bytes = STORE_MIB - 1; break;
        case 1: config.bytes = (UINT64_C(64) << 30) + 1; break;
        case 2: config.objects = 63; break;
        case 3: config.objects = (1 << 26) + 1; break;
        case 4: config.readers = 0; break;
        case 5: config.readers = STORE_READERS_MAX + 1; break;
        case 6: config.bytes = UINT64_C(64) << 30; break;
        default: config.objects = 64; break;
        }
        assert_int_equal(asserts(try_config, &config), i < 6);
    }
}

int main(void) {
    static struct rows tests;
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_ram_is_planned),
        cmocka_unit_test(test_unused_ram_is_not_touched),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_hashes_are_keyed),
        cmocka_unit_test(test_resident),
        cmocka_unit_test_setup_teardown(test_cold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_count_in_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cold_is_not_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warm, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warm_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warm_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_image_of_one_bucket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
        cmocka_unit_test(test_bad_configs),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tests.tests[tests.count++] = cases[i];
    }
    ROWS_ADD(&tests, test_bad_image, bads);
    return rows_run("store", &tests);
}
