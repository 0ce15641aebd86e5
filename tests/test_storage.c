/* Opening and closing the store of a process, and its figures. */
#include <sys/file.h>
#include <unistd.h>

#include "server/storage.h"
#include "server_rig.h"

static enum rm_step item(struct rm_exchange *x) {
    return rm_text(x, 200, "an item");
}

static const struct rm_cache cache = { .name = "items", .ttl_ns = 1000 };
static const struct rm_route caching[] = {
    { .method = "GET", .path = "/item", .handler = item, .cache = &cache },
    { .method = "GET", .path = "/stats", .handler = rm_stats },
    { .method = "GET", .path = "/metrics", .handler = rm_metrics },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = caching };
static const struct rm_app bare = { .name = "test", .routes = caching + 1 };

static struct config config;
static struct server server;
static char why[CONFIG_WHY_BYTES], path[64];

/* Not opened: the store needs the configuration and nothing else of it. */
static int open_with(const struct rm_app *who, const char *store, const char *bytes) {
    char *argv[] = { "test", "--workers", "2", "--store", (char *)(uintptr_t)store, "--store-bytes", (char *)(uintptr_t)bytes };
    assert_int_equal(config_read(&config, 7, argv, who, why), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 2, 1 << 20, why), EXIT_FINE);
    server = (struct server){ .config = &config, .app = who };
    return storage_open(&server, why);
}

static int setup(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/ringmain-storage-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    log_set_level(LOG_ERROR);
    return fd < 0;
}

static int teardown(void **state) {
    (void)state;
    return unlink(path);
}

static void test_config(void **state) {
    (void)state;
    assert_int_equal(open_with(&app, "none", "1M"), EXIT_FINE);
    struct store_config store = storage_config(&config);
    assert_null(store.path);
    assert_int_equal(store.bytes, 1 << 20);
    assert_int_equal(store.objects, 1024);
    assert_int_equal(store.readers, 2);
    storage_close(&server);
    assert_null(server.store);
    storage_close(&server);
}

static void test_nobody_caches(void **state) {
    (void)state;
    assert_int_equal(open_with(&bare, path, "1M"), EXIT_FINE);
    assert_null(server.store);
    storage_close(&server);
}

/* An object of the last process is there in the next one. */
static void test_warm(void **state) {
    (void)state;
    assert_int_equal(open_with(&app, path, "1M"), EXIT_FINE);
    assert_int_equal(server.store_warm, 0);
    struct store_fill fill;
    uint64_t hash = store_hash(server.store, SPAN("key"));
    struct store_token token = store_token(server.store, hash);
    assert_int_equal(store_reserve(server.store, SPAN("key"), hash, 0, 4, &fill), STORE_OK);
    assert_true(store_fill_write(server.store, fill.body, "body", 4));
    assert_int_equal(store_publish(server.store, &fill, token, UINT64_C(1) << 62, 0, 1), STORE_OK); /* a lifetime */
    storage_close(&server);
    assert_int_equal(open_with(&app, path, "1M"), EXIT_FINE);
    assert_int_equal(server.store_warm, 1);
    storage_close(&server);
}

static void test_refused(void **state) {
    (void)state;
    int fd = open(path, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(open_with(&app, path, "1M"), EXIT_UNAVAILABLE);
    assert_has(why, "--store: '/tmp/ringmain-storage-");
    assert_has(why, "is in use by another process");
    assert_null(server.store);
    storage_close(&server);
    assert_int_equal(write(fd, "not empty", 9), 9);
    close(fd);
    assert_int_equal(open_with(&app, path, "1M"), EXIT_CONFIG);
    assert_has(why, "is not a store");
}

/* ------------------------------------------------------------------------------------------------------- figures ---- */

static struct rig rig;

static uint64_t figure(const char *text, const char *name) {
    char line[80];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text, line);
    if (at == NULL) {
        fail_msg("'%s' is not in:\n%s", name, text);
    }
    return strtoull(at + strlen(line), NULL, 10);
}

static void test_figures(void **state) {
    (void)state;
    rig_open(&rig, &app, "--store-bytes 2M"); /* with a store */
    struct store_fill fill;
    uint64_t hash = store_hash(rig.server.store, SPAN("key"));
    assert_int_equal(store_reserve(rig.server.store, SPAN("key"), hash, 0, 100000, &fill), STORE_OK);
    memset(fill.body, 1, 100000);
    struct store_token token = store_token(rig.server.store, hash);
    assert_int_equal(store_publish(rig.server.store, &fill, token, NS_PER_SECOND, 0, 1), STORE_OK);
    assert_int_equal(store_reserve(rig.server.store, SPAN("key"), hash, 0, 1 << 30, &fill), STORE_TOO_LARGE);
    assert_int_equal(resources_look(&rig.server, 1), RESOURCES_LOOK_MS);

    const char *text = rig_get(&rig, "/metrics", 200);
    assert_int_equal(figure(text, "store_objects"), 1);
    assert_int_equal(figure(text, "store_objects_max"), 1024);
    assert_int_equal(figure(text, "store_size_bytes"), 2 << 20);
    assert_in_range(figure(text, "store_used_bytes"), 100000, 110000);
    assert_in_range(figure(text, "store_resident_bytes"), 100000, 200000);
    assert_int_equal(figure(text, "store_published_total"), 1);
    assert_int_equal(figure(text, "store_unpublished_total{reason=\"too_large\"}"), 1);
    assert_in_range(figure(text, "process_memory_usage_bytes{type=\"shared\"}"), 100000, 1 << 30);
    assert_in_range(figure(text, "process_memory_usage_bytes{type=\"anonymous\"}"), 100000, 1 << 30);
    assert_in_range(figure(text, "process_memory_usage_bytes{type=\"file\"}"), 100000, 1 << 30);
    assert_in_range(figure(text, "process_paging_faults_total{type=\"minor\"}"), 100, 1 << 30);
    (void)figure(text, "process_paging_faults_total{type=\"major\"}");

    text = rig_get(&rig, "/stats", 200);
    assert_has(text, "\"store\":{\"file\":false,\"broken\":false,\"objects\":1,\"objects_max\":1024,\"size_bytes\":2097152,");
    assert_has(text, "\"pressed\":false,\"refreshed_bytes\":0,\"warm_objects\":0,\"published\":1,");
    assert_has(text, "\"too_large\":1}");
    assert_has(text, "\"process\":{\"minor_faults\":");
    rig_close(&rig);
}

/* A store so large that it is looked at in parts, in which nothing is yet. */
static void test_large(void **state) {
    (void)state;
    assert_int_equal(open_with(&app, "none", "640M"), EXIT_FINE);
    uint64_t now_ns = 1;
    for (int part = 0; part < 2; part++, now_ns += RESOURCES_COUNT_MS * NS_PER_MS) {
        assert_int_equal(resources_look(&server, now_ns), RESOURCES_COUNT_MS);
        assert_int_equal(resources_look(&server, now_ns + NS_PER_MS), RESOURCES_COUNT_MS - 1); /* no sooner */
    }
    assert_int_equal(resources_look(&server, now_ns), RESOURCES_LOOK_MS);
    storage_close(&server);
}

/* While bytes of the file are missing, what is hot is told to the kernel, and they are counted more often. */
static void test_pressed(void **state) {
    (void)state;
    assert_int_equal(open_with(&app, path, "2M"), EXIT_FINE);
    assert_int_equal(resources_look(&server, 1), RESOURCES_FILE_MS);
    struct store *store = server.store;
    if (server.resources.store_bytes == store_mapping(store).len) {
        storage_close(&server);
        skip(); /* tmpfs: all of a file is in RAM from the start */
    }
    uint64_t hash = store_hash(store, SPAN("key")), now_ns = RESOURCES_LOOK_MS * NS_PER_MS + 1;
    struct store_fill fill;
    struct store_object object;
    assert_int_equal(store_reserve(store, SPAN("key"), hash, 0, 200000, &fill), STORE_OK); /* and none of it is written */
    struct store_token token = store_token(store, hash);
    assert_int_equal(store_publish(store, &fill, token, 100 * NS_PER_SECOND, 0, now_ns), STORE_OK);
    store_online(store, 0);
    for (int second = 0; second < 3; second++, now_ns += NS_PER_SECOND) {
        assert_true(store_get(store, 0, SPAN("key"), hash, now_ns, &object)); /* its one page in RAM: that of its key */
    }
    store_offline(store, 0);
    now_ns -= NS_PER_SECOND;
    assert_int_equal(resources_look(&server, now_ns), RESOURCES_REFRESH_MS);
    assert_int_equal(server.resources.pressed, 1);
    uint64_t first = server.resources.refreshed_bytes, looked_ns = server.resources.look_ns;
    assert_in_range(first, 4096, 200000 + 2 * 4096);
    assert_int_equal(resources_look(&server, now_ns + NS_PER_MS), RESOURCES_REFRESH_MS - 1); /* no sooner */
    assert_int_equal(server.resources.refreshed_bytes, first);
    assert_int_equal(resources_look(&server, now_ns + RESOURCES_REFRESH_MS * NS_PER_MS), RESOURCES_REFRESH_MS);
    assert_in_range(server.resources.refreshed_bytes, first + 4096, 2 * (200000 + 2 * 4096));
    assert_int_equal(server.resources.look_ns, looked_ns); /* those are counted once a second only */
    memset((char *)(uintptr_t)object.body.data, 1, object.body.len);
    assert_int_equal(resources_look(&server, now_ns + RESOURCES_FILE_MS * NS_PER_MS), RESOURCES_FILE_MS);
    assert_int_equal(server.resources.pressed, 0);
    now_ns += 2 * RESOURCES_FILE_MS * NS_PER_MS;
    server.resources.store_bytes = 7;
    server.resources.faults_counted = UINT64_MAX; /* there were some since */
    (void)resources_look(&server, now_ns);
    assert_true(server.resources.store_bytes > 7);
    server.resources.store_bytes = 7;
    now_ns += RESOURCES_FILE_MS * NS_PER_MS;
    server.resources.major_faults = server.resources.faults_counted;
    (void)resources_look(&server, now_ns); /* nothing is counted without a fault, */
    if (server.resources.major_faults == server.resources.faults_counted) {
        assert_int_equal(server.resources.store_bytes, 7);
    }
    (void)resources_look(&server, now_ns + RESOURCES_LOOK_MS * NS_PER_MS); /* for five seconds */
    assert_true(server.resources.store_bytes > 7);
    storage_close(&server);
}

static void test_truncated(void **state) {
    (void)state;
    assert_int_equal(open_with(&app, path, "2M"), EXIT_FINE);
    (void)resources_look(&server, 1);
    assert_false(server.resources.store_broken);
    assert_int_equal(truncate(path, 4096), 0);
    int before = dup(STDERR_FILENO), lines[2];
    assert_int_equal(pipe(lines), 0);
    dup2(lines[1], STDERR_FILENO);
    uint64_t later_ns = 2 * RESOURCES_LOOK_MS * NS_PER_MS; /* nothing is to be kept in RAM any more: */
    assert_int_equal(resources_look(&server, later_ns), RESOURCES_FILE_MS);
    assert_int_equal(resources_look(&server, 2 * later_ns), RESOURCES_FILE_MS);
    dup2(before, STDERR_FILENO);
    char text[1024];
    ssize_t len = read(lines[0], text, sizeof text - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_non_null(strstr(text, "was truncated"));
    assert_ptr_equal(strchr(text, '\n'), text + len - 1); /* said once */
    assert_true(server.resources.store_broken);
    close(lines[0]), close(lines[1]), close(before);
    storage_close(&server);
}

static void test_figures_without_a_store(void **state) {
    (void)state;
    rig_open(&rig, &bare, "");
    assert_null(strstr(rig_get(&rig, "/metrics", 200), "\nstore_"));
    assert_null(strstr(rig_get(&rig, "/stats", 200), "\"store\""));
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_config, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_caches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warm, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_large),
        cmocka_unit_test_setup_teardown(test_pressed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
        cmocka_unit_test(test_figures_without_a_store),
    };
    return cmocka_run_group_tests_name("storage", tests, NULL, NULL);
}
