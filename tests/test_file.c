/* rm_file in a whole server on the simulator: which files are answered how, where they are kept, and what becomes of what was
 * begun when something goes wrong in the middle. The files are real ones. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "mem/store.h"
#include "random.h"
#include "rows.h"
#include "server/file.h"
#include "server_rig.h"

#define MS NS_PER_MS
#define SECOND NS_PER_SECOND

enum { OLD_SECONDS = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT */

static const char *const names[] = { "text", "empty", "other", "fifo", "link", "circle", "device", "socket", "large", "gone", NULL };
static struct rig rig;
static char folder[64];
static char bytes[1 << 20];

/* ------------------------------------------------------------------------------------------------------- files ---- */

static const char *path_of(const char *name) {
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void set_time(const char *name, int64_t seconds, long ns) {
    struct timespec times[2] = { { seconds, ns }, { seconds, ns } };
    assert_int_equal(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

/* Digits, from `first` on. */
static void put_file(const char *name, size_t len, int first) {
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)('0' + ((size_t)first + i) % 10);
    }
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    set_time(name, OLD_SECONDS, 0);
}

static void put_strange_files(void) {
    assert_int_equal(mkdir(path_of("folder"), 0700), 0);
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(symlink("text", path_of("link")), 0);
    assert_int_equal(symlink("circle", path_of("circle")), 0);
    assert_int_equal(symlink("/dev/null", path_of("device")), 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

/* ------------------------------------------------------------------------------------------------- application ---- */

static bool asks(const struct rm_exchange *x, const char *name) {
    struct span value;
    return rm_query_value(x, name, &value);
}

static enum rm_step answer(struct rm_exchange *x) {
    struct span name = rm_param(x, "name"), value = { "text/plain", 10 };
    char path[8192], type[64];
    if (asks(x, "cookie")) {
        rm_set_header(x, "Set-Cookie", SPAN("a=b"));
    }
    if (asks(x, "etag")) {
        rm_set_header(x, "ETag", SPAN("\"own\""));
    }
    if (asks(x, "language")) {
        rm_set_header(x, "Content-Language", SPAN("de"));
    }
    for (int i = 0; asks(x, "many") && i < 40; i++) {
        rm_set_header(x, "X-Many", span_of("0123456789012345678901234567890123456789012345678901234567890123456789"
                                           "0123456789012345678901234567890123456789", 110));
    }
    if (asks(x, "begun")) {
        rm_begin(x, 200, "text/plain");
    }
    if (asks(x, "type")) {
        value = SPAN("a\nb");
    }
    snprintf(type, sizeof type, "%.*s", (int)value.len, value.data);
    if (asks(x, "long")) {
        memset(path, 'x', sizeof path);
        path[5000] = '\0';
    } else {
        snprintf(path, sizeof path, "%s/%.*s", folder, (int)name.len, name.data);
    }
    enum rm_step step = rm_file(x, type, path);
    memset(path, 0, sizeof path); /* it has been copied */
    memset(type, 0, sizeof type);
    if (asks(x, "beside")) {
        rm_begin(x, 200, "text/plain");
    }
    if (asks(x, "twice")) {
        return rm_file(x, "text/plain", folder);
    }
    return asks(x, "done") ? RM_DONE : step;
}

static enum rm_step later(struct rm_exchange *x) {
    rm_sleep(x, MS);
    rm_then(x, answer);
    return RM_PARK;
}

static enum rm_step purge(struct rm_exchange *x);

static const struct rm_cache cache = { .name = "files", .ttl_ns = 60 * SECOND, .max_age_s = 7, .parts = RM_PARTS("{name}") };
static const struct rm_cache graceful = { .name = "grace", .ttl_ns = 100 * MS, .grace_ns = 10 * SECOND };
static const struct rm_route routes[] = {
    { "GET", "/file/{name}", answer, .cache = &cache },
    { "GET", "/later/{name}", later, .cache = &cache },
    { "GET", "/grace/{name}", answer, .cache = &graceful },
    { "GET", "/plain/{name}", answer },
    { "POST", "/purge/{name}", purge },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };
static const struct rm_route bare_routes[] = { { "GET", "/plain/{name}", answer }, { 0 } };
static const struct rm_app bare = { .name = "test", .routes = bare_routes };

static enum rm_step purge(struct rm_exchange *x) {
    struct rm_key key;
    rm_key_begin(&key, &cache);
    rm_key_span(&key, rm_param(x, "name"));
    rm_purge(rm_worker(x), &key);
    return rm_status(x, 204);
}

static int open_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ringmain-file-XXXXXX");
    log_set_level(LOG_ERROR);
    return mkdtemp(folder) == NULL;
}

static int close_folder(void **state) {
    (void)state;
    for (const char *const *name = names; *name != NULL; name++) {
        (void)unlink(path_of(*name));
    }
    (void)rmdir(path_of("folder"));
    return rmdir(folder);
}

static int open_rig(void **state) {
    (void)open_folder(state);
    put_file("text", 10, 0);
    rig_open(&rig, &app, "");
    return 0;
}

static int close_at_once(void) {
    rig_close(&rig);
    return close_folder(NULL);
}

/* Nothing is left open, taken, or in the way of a clean close of the store. */
static int close_rig(void **state) {
    (void)state;
    rig_run(&rig, 100);
    if (!rig.worker_gone) {
        assert_nothing_taken(&rig);
    }
    return close_at_once();
}

static struct store_figures figures(void) {
    struct store_figures out;
    store_figures(rig.server.store, &out);
    return out;
}

static uint64_t reads(void) {
    return ring_counters(rig.worker->ring)->reads;
}

/* Descriptors of files in the folder. */
static unsigned open_files(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 64; fd++) {
        char link[64], target[256] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n += readlink(link, target, sizeof target - 1) > 0 && strncmp(target, folder, strlen(folder)) == 0;
    }
    return n;
}

/* --------------------------------------------------------------------------------------------- one request each ---- */

struct answer_row {
    const char *name;
    const char *request; /* what is before its Host */
    const char *fields;
    int status;
    const char *has, *has_not;
    const char *again; /* X-Cache of the same request behind it, "" when there is none; NULL: not asked */
};

#define TAG "\"a-ae1b981bc490a00\""

static const struct answer_row answer_rows[] = {
    { "kept", "GET /file/text", "", 200, "X-Cache: MISS\r\n", "Age:", "HIT" },
    { "its length", "GET /file/text", "", 200, "Content-Type: text/plain\r\nContent-Length: 10\r\n", "\r\nDate: x", NULL },
    { "its body", "GET /file/text", "", 200, "\r\n\r\n0123456789", "chunked", NULL },
    { "its tag", "GET /file/text", "", 200, "ETag: " TAG "\r\nCache-Control: max-age=7\r\n", "Vary", NULL },
    { "its date", "GET /file/text", "", 200, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "no-cache", NULL },
    { "after a park", "GET /later/text", "", 200, "\r\n\r\n0123456789", "Age:", "HIT" },
    { "empty", "GET /file/empty", "", 200, "Content-Length: 0\r\n", "\r\n\r\n0", "HIT" },
    { "a link", "GET /file/link", "", 200, "\r\n\r\n0123456789", "Age:", "HIT" },
    { "HEAD fills", "HEAD /file/text", "", 200, "Content-Length: 10\r\n", "0123456789", "HIT" },
    { "another tag", "GET /file/text", "If-None-Match: \"x\"\r\n", 200, "\r\n\r\n0123456789", "Age:", "HIT" },
    { "the same tag", "GET /file/text", "If-None-Match: " TAG "\r\n", 304, "X-Cache: MISS\r\n", "Last-Modified", "HIT" },
    { "the same tag, weak", "GET /file/text", "If-None-Match: W/" TAG "\r\n", 304, "ETag: " TAG, "0123456789", "HIT" },
    { "If-Match", "GET /file/text", "If-Match: \"x\"\r\n", 412, "", "0123456789", NULL },
    { "its own tag", "GET /file/text?etag", "", 200, "ETag: \"own\"\r\n", TAG, "HIT" },
    { "a field", "GET /file/text?language", "", 200, "Content-Language: de\r\n", "Age:", "HIT" },
    { "no longer fresh", "GET /grace/text", "", 200, "X-Cache: MISS\r\n", "Age:", "STALE" },
    /* not kept */
    { "a cookie", "GET /file/text?cookie", "", 200, "Set-Cookie: a=b\r\n", "X-Cache", "" },
    { "Authorization", "GET /file/text", "Authorization: x\r\n", 200, "\r\nCache-Control: no-cache\r\n", "X-Cache", "" },
    { "not cached", "GET /plain/text", "", 200, "\r\n\r\n0123456789", "X-Cache", "" },
    { "not cached, its head", "GET /plain/text", "", 200, "ETag: " TAG "\r\nCache-Control: no-cache\r\n", "max-age", "" },
    { "not cached, empty", "GET /plain/empty", "", 200, "Content-Length: 0\r\n", "X-Cache", "" },
    { "not cached, HEAD", "HEAD /plain/text", "", 200, "Content-Length: 10\r\n", "0123456789", "" },
    { "not cached, 304", "GET /plain/text", "If-None-Match: " TAG "\r\n", 304, "ETag: " TAG, "Content-Length", "" },
    { "not cached, 412", "GET /plain/text", "If-Match: \"x\"\r\n", 412, "", "0123456789", "" },
    { "not cached, a cookie", "GET /plain/text?cookie", "", 200, "Set-Cookie: a=b\r\n", "X-Cache", "" },
    /* no file */
    { "missing", "GET /file/none", "", 404, "\r\n\r\nno such file\n", "ETag", "" },
    { "missing, not cached", "GET /plain/none", "", 404, "\r\n\r\nno such file\n", "ETag", "" },
    { "missing, and a field", "GET /file/none?language", "", 404, "text/plain", "Content-Language", "" },
    { "in a file", "GET /file/text%2f", "", 404, "", "X-Cache", "" },
    { "a folder", "GET /file/folder", "", 404, "", "X-Cache", "" },
    { "a FIFO", "GET /file/fifo", "", 404, "", "X-Cache", "" },
    { "a socket", "GET /file/socket", "", 404, "", "X-Cache", "" },
    { "a device", "GET /file/device", "", 404, "", "X-Cache", "" },
    { "a link to itself", "GET /file/circle", "", 404, "", "X-Cache", "" },
    { "too long a path", "GET /plain/text?long", "", 404, "", "X-Cache", "" },
    { "too large", "GET /file/large", "", 500, "", "X-Cache", "" },
    { "too large, not cached", "GET /plain/large", "", 500, "", "X-Cache", "" },
    /* mistakes */
    { "begun", "GET /file/text?begun", "", 500, "", "X-Cache", "" },
    { "begun, not cached", "GET /plain/text?begun", "", 500, "", "X-Cache", "" },
    { "begun beside", "GET /file/text?beside", "", 500, "", "X-Cache", "" },
    { "twice", "GET /file/text?twice", "", 500, "", "X-Cache", "" },
    { "no type", "GET /file/text?type", "", 500, "", "X-Cache", "" },
    { "many fields", "GET /file/text?many", "", 500, "", "X-Cache", "" },
    { "not waited for", "GET /file/text?done", "", 204, "", "0123456789", NULL },
    { "not waited for, not cached", "GET /plain/text?done", "", 204, "", "0123456789", NULL },
};

static void assert_state(const char *got, const char *want) {
    char line[32];
    snprintf(line, sizeof line, "X-Cache: %s\r\n", want);
    if (want[0] != '\0') {
        assert_has(got, line);
    } else {
        assert_null(strstr(got, "X-Cache"));
    }
}

static void test_answer(void **state) {
    const struct answer_row *row = *state;
    char text[1024], status[32];
    (void)open_rig(NULL);
    put_file("empty", 0, 0);
    if (strstr(row->request, "/large") != NULL) {
        put_file("large", (1 << 20) - 100, 0); /* an eighth of the store is 1 MiB, and the head goes beside it */
    }
    put_strange_files();
    snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: a\r\n%s\r\n", row->request, row->fields);
    snprintf(status, sizeof status, "HTTP/1.1 %d ", row->status);
    for (int i = 0; i < 2; i++) {
        const char *got = rig_ask(&rig, text);
        assert_int_equal(open_files(), 0);
        if (i == 0) {
            assert_has(got, status);
            assert_has(got, row->has);
            assert_null(strstr(got, row->has_not));
        } else if (row->again != NULL) {
            assert_has(got, status);
            assert_state(got, row->again);
        }
    }
    (void)close_rig(NULL);
}

/* ---------------------------------------------------------------------------------------------------- its bytes ---- */

struct size_row {
    const char *name;
    size_t bytes;
    bool lent; /* sent from where it lies */
};

static const struct size_row size_rows[] = {
    { "1", 1, false },
    { "16383", STORE_COPY_BYTES_MAX - 1, false },
    { "16384", STORE_COPY_BYTES_MAX, false },
    { "16385", STORE_COPY_BYTES_MAX + 1, true },
    { "300000", 300000, true },
};

static const char *body_of(const char *answer) {
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

/* Cached, and from the store, and for itself. */
static void test_size(void **state) {
    const struct size_row *row = *state;
    (void)open_rig(NULL);
    put_file("other", row->bytes, 3);
    for (int i = 0; i < 3; i++) {
        const char *got = rig_ask(&rig, i < 2 ? GET("/file/other") : GET("/plain/other"));
        assert_state(got, i == 0 ? "MISS" : i == 1 ? "HIT" : "");
        assert_int_equal(strlen(body_of(got)), row->bytes);
        assert_memory_equal(body_of(got), bytes, row->bytes);
    }
    assert_int_equal(rig.worker->figures.cached.pinned, row->lent ? 3 : 0);
    assert_int_equal(rig.worker->figures.cached.copied, row->lent ? 0 : 3);
    assert_int_equal(rig.worker->figures.cached.stored, 1);
    assert_int_equal(reads(), 2);
    assert_int_equal(figures().pinned_bytes, 0);
    (void)close_rig(NULL);
}

/* What is too much to be pinned is copied. */
static void test_pins_used_up(void **state) {
    (void)state;
    put_file("other", 50000, 3);
    rig_exhaust(&rig, PLAN_PINS, 0);
    assert_memory_equal(body_of(rig_ask(&rig, GET("/file/other"))), bytes, 50000);
    rig_replenish(&rig);
    assert_int_equal(rig.worker->figures.cached.copied, 1);
}

/* -------------------------------------------------------------------------------------------------- several at once ---- */

static void test_many_at_once(void **state) {
    (void)state;
    struct rig_client *clients[50];
    put_file("other", 50000, 3);
    for (size_t i = 0; i < 50; i++) {
        clients[i] = rig_connect(&rig);
        rig_send(&rig, clients[i], GET("/file/other"));
    }
    rig_run(&rig, 100);
    unsigned misses = 0;
    for (size_t i = 0; i < 50; i++) {
        misses += strstr(clients[i]->text, "X-Cache: MISS") != NULL;
        assert_memory_equal(body_of(clients[i]->text), bytes, 50000);
    }
    assert_int_equal(misses, 1);
    assert_int_equal(reads(), 1);
}

/* Two in a row, and behind the second one that waits for nothing. */
static void test_pipeline(void **state) {
    (void)state;
    put_file("other", 50000, 3);
    const char *got = rig_ask(&rig, GET("/plain/other") GET("/file/text") GET("/plain/none") GET("/file/other"));
    assert_int_equal(count_of(got, "HTTP/1.1 200 OK"), 3);
    assert_int_equal(count_of(got, "HTTP/1.1 404 Not Found"), 1);
    assert_true(strstr(got, "404") > strstr(got, "\r\n\r\n0123456789"));
}

/* As many files at a time as jobs; one more is 503, and goes on when one has ended. */
static void test_offloads(void **state) {
    (void)state;
    rig_exhaust(&rig, PLAN_OFFLOADS, 1);
    assert_has(rig_ask(&rig, GET("/plain/text") GET("/plain/text")), "HTTP/1.1 503 ");
    assert_has(rig_ask(&rig, GET("/plain/text")), "HTTP/1.1 200 ");
    rig_replenish(&rig);
}

/* All of the store is being filled by others. */
static void test_store_full(void **state) {
    (void)state;
    struct store *store = rig.server.store;
    struct store_fill fills[8];
    uint32_t len = (uint32_t)(store_mapping(store).len / STORE_OBJECT_PART - STORE_UNIT_BYTES);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(store_reserve(store, SPAN("k"), i, 0, len, &fills[i]), STORE_OK);
    }
    put_file("other", 8 * STORE_UNIT_BYTES, 0);
    assert_has(rig_ask(&rig, GET("/file/other")), "HTTP/1.1 503 ");
    assert_has(rig_ask(&rig, GET("/plain/other")), "HTTP/1.1 503 ");
    assert_int_equal(open_files(), 0);
    for (size_t i = 0; i < 8; i++) {
        store_abandon(store, &fills[i]);
    }
    rig_run(&rig, 1000); /* the flight that failed holds nobody off any more */
    assert_has(rig_ask(&rig, GET("/file/other")), "X-Cache: MISS");
}

/* ------------------------------------------------------------------------------------------------------ changes ---- */

/* What happens to the file, at a moment of its way. */
enum moment { BEFORE_READ, BEHIND_READ, BEHIND_SECOND_READ };

/* Lets time pass until so much has been read and the file is open: with a job at a time it is not checked yet. */
static void run_until(enum moment moment) {
    for (uint32_t i = 0; i < 2000 && (reads() < (uint64_t)moment || open_files() == 0); i++) {
        rig_run_ns(&rig, 20000);
    }
    assert_int_equal(reads(), moment);
    assert_int_equal(open_files(), 1);
}

/* A world in which a job takes a while. */
static void open_slow_rig(uint64_t seed) {
    struct sim_options options = { .job_delay_ns_max = 2000000 };
    (void)open_folder(NULL);
    rig_open_world(&rig, &app, "", seed, &options);
    put_file("other", 50000, 0);
}

static void rewrite(void) {
    put_file("other", 50000, 5);
    set_time("other", OLD_SECONDS + 1, 0);
}

static void shorten(void) { assert_int_equal(truncate(path_of("other"), 100), 0); }
static void lengthen(void) { put_file("other", 50001, 0); }
static void remove_it(void) { assert_int_equal(unlink(path_of("other")), 0); }

static void replace(void) {
    put_file("gone", 50000, 7);
    assert_int_equal(rename(path_of("gone"), path_of("other")), 0);
}

struct change_row {
    const char *name;
    void (*change)(void);
    enum moment moment;
    bool again; /* and once more behind the next read */
    int status;
    size_t len;
    int first;
    uint32_t reads;
};

static const struct change_row change_rows[] = {
    { "rewritten before", rewrite, BEFORE_READ, false, 200, 50000, 5, 2 },
    { "rewritten behind", rewrite, BEHIND_READ, false, 200, 50000, 5, 2 },
    { "shortened before", shorten, BEFORE_READ, false, 200, 100, 0, 2 },
    { "shortened behind", shorten, BEHIND_READ, false, 200, 100, 0, 2 },
    { "lengthened before", lengthen, BEFORE_READ, false, 200, 50001, 0, 2 },
    { "lengthened behind", lengthen, BEHIND_READ, false, 200, 50001, 0, 2 },
    { "removed: it is still there for who has it open", remove_it, BEHIND_READ, false, 200, 50000, 0, 1 },
    { "replaced: likewise", replace, BEHIND_READ, false, 200, 50000, 0, 1 },
    { "twice", rewrite, BEHIND_READ, true, 503, 0, 0, 2 },
    { "twice, shortened", shorten, BEHIND_READ, true, 503, 0, 0, 2 },
};

static void test_change(void **state) {
    const struct change_row *row = *state;
    for (int how = 0; how < 2; how++) {
        char want[32];
        open_slow_rig(3);
        struct rig_client *client = rig_connect(&rig);
        rig_send(&rig, client, how == 0 ? GET("/file/other?language") : GET("/plain/other?language"));
        run_until(row->moment);
        row->change();
        if (row->again) {
            run_until(BEHIND_SECOND_READ);
            put_file("other", 77, 1);
        }
        rig_run(&rig, 100);
        snprintf(want, sizeof want, "HTTP/1.1 %d ", row->status);
        assert_has(client->text, want);
        assert_int_equal(reads(), row->reads);
        if (row->status == 200) {
            assert_has(client->text, "Content-Language: de\r\n");
            put_file("text", row->len, row->first); /* for `bytes` */
            assert_int_equal(strlen(body_of(client->text)), row->len);
            assert_memory_equal(body_of(client->text), bytes, row->len);
        }
        assert_int_equal(figures().published, how == 0 && row->status == 200);
        (void)close_rig(NULL);
    }
}

/* Kept until it is no longer fresh, whatever becomes of the file. */
static void test_changed_later(void **state) {
    (void)state;
    assert_has(rig_ask(&rig, GET("/grace/text")), "X-Cache: MISS");
    put_file("text", 10, 5);
    set_time("text", OLD_SECONDS + 1, 0);
    const char *stale = rig_ask(&rig, GET("/grace/text"));
    assert_has(stale, "X-Cache: STALE");
    assert_has(stale, "\r\n\r\n0123456789"); /* and a shadow reads the new one */
    assert_has(rig_ask(&rig, GET("/grace/text")), "\r\n\r\n5678901234");
    (void)unlink(path_of("text"));
    (void)rig_ask(&rig, GET("/grace/text"));
    rig_run(&rig, 12000);
    assert_has(rig_ask(&rig, GET("/grace/text")), "HTTP/1.1 404 ");
}

/* Invalidated while it is read: answered, but not kept. */
static void test_purged_meanwhile(void **state) {
    (void)state;
    open_slow_rig(3);
    struct rig_client *client = rig_connect(&rig);
    rig_send(&rig, client, GET("/file/other"));
    run_until(BEHIND_READ);
    struct rig_client *other = rig_connect(&rig);
    rig_send(&rig, other, "POST /purge/other HTTP/1.1\r\nHost: a\r\n\r\n");
    rig_run(&rig, 100);
    assert_has(other->text, "HTTP/1.1 204 ");
    assert_memory_equal(body_of(client->text), bytes, 50000);
    assert_int_equal(figures().published, 0);
    assert_int_equal(figures().outdated, 1);
    assert_int_equal(figures().pinned_bytes, 0);
    assert_has(rig_ask(&rig, GET("/file/other")), "X-Cache: MISS");
    (void)close_rig(NULL);
}

/* ---------------------------------------------------------------------------------------------------- its end ---- */

enum end { CLIENT_GOES, DRAIN, RELEASE, ENDS };

/* Whatever ends it, at every moment: no room stays taken, no descriptor open, and nobody waits in vain. */
static void test_ends(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 24; i++) {
        enum moment moment = i % 2 == 0 ? BEFORE_READ : BEHIND_READ;
        enum end end = (enum end)(i / 2 % ENDS);
        bool followed = i / 6 % 2 == 0;
        open_slow_rig(i + 1);
        struct rig_client *client = rig_connect(&rig), *other = NULL;
        rig_send(&rig, client, i / 12 == 0 ? GET("/file/other") : GET("/plain/other"));
        run_until(moment);
        if (followed) {
            other = rig_connect(&rig);
            rig_send(&rig, other, GET("/file/other"));
            rig_run_ns(&rig, 3000);
        }
        if (end == CLIENT_GOES) {
            rig_drop(&rig, client, true);
        } else if (end == DRAIN) {
            server_drain(&rig.server, 1);
        } else {
            (void)close_at_once(); /* asserts that nothing of the store is taken */
            assert_int_equal(open_files(), 0);
            continue;
        }
        rig_run(&rig, 100);
        if (other != NULL) {
            assert_memory_equal(body_of(other->text), bytes, 50000);
        }
        if (end == DRAIN) {
            assert_memory_equal(body_of(client->text), bytes, 50000);
        }
        assert_int_equal(open_files(), 0);
        (void)close_rig(NULL);
    }
}

/* ----------------------------------------------------------------------------------------------------- errors ---- */

static void test_read_fails(void **state) {
    (void)state;
    struct sim_options options = { .read_fail_ppm = SIM_PPM };
    (void)open_folder(NULL);
    rig_open_world(&rig, &app, "", 1, &options);
    put_file("text", 10, 0);
    assert_has(rig_ask(&rig, GET("/file/text")), "HTTP/1.1 500 ");
    assert_has(rig_ask(&rig, GET("/plain/text")), "HTTP/1.1 500 ");
    assert_int_equal(open_files(), 0);
    assert_int_equal(figures().bytes_used, 0);
    (void)close_rig(NULL);
}

static void test_no_descriptor(void **state) {
    (void)state;
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){ 0, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const char *got = rig_ask(&rig, GET("/file/text"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_has(got, "HTTP/1.1 503 ");
    rig_run(&rig, 1000);
    assert_has(rig_ask(&rig, GET("/file/text")), "HTTP/1.1 200 ");
}

static void test_no_store(void **state) {
    (void)state;
    (void)open_folder(NULL);
    put_file("text", 10, 0);
    rig_open(&rig, &bare, "");
    assert_has(rig_ask(&rig, GET("/plain/text")), "HTTP/1.1 500 ");
    (void)close_rig(NULL);
}

/* Random worlds, clients that go, purges, files that change: what is answered is a file as it was at some time, and in the end
 * nothing is taken. */
static void test_storm(void **state) {
    (void)state;
    static const char *const requests[] = { GET("/file/other"), GET("/plain/other"), GET("/file/text"), GET("/file/none"),
                                            "POST /purge/other HTTP/1.1\r\nHost: a\r\n\r\n", GET("/later/other") };
    struct random random = random_seeded("file");
    for (uint32_t round = 0; round < 20; round++) {
        struct sim_options options;
        sim_options_rough(&options);
        options.read_fail_ppm = 100000;
        (void)open_folder(NULL);
        rig_open_world(&rig, &app, round % 2 == 0 ? "" : "--offloads 3", random_next(&random), &options);
        put_file("text", 10, 0);
        for (int i = 0; i < 60; i++) {
            struct rig_client *client = rig_connect(&rig);
            rig_send(&rig, client, requests[random_below(&random, sizeof requests / sizeof *requests)]);
            rig_run_ns(&rig, random_below(&random, 300000));
            if (random_below(&random, 4) == 0) {
                put_file("other", random_below(&random, 60000), (int)random_below(&random, 10));
                set_time("other", OLD_SECONDS + i, 0);
            }
            if (random_below(&random, 5) == 0) {
                rig_drop(&rig, &rig.clients[random_below(&random, rig.client_count)], true);
            }
        }
        rig_run(&rig, random_below(&random, 50)); /* or not to its end */
        (void)close_at_once();
    }
}

/* ----------------------------------------------------------------------------------------------------- stamps ---- */

struct stamp_row {
    const char *name;
    int64_t size, seconds;
    long ns;
    int64_t later_ns; /* than that it is looked at */
    const char *tag;
};

static const struct stamp_row stamp_rows[] = {
    { "nothing", 0, 0, 0, SECOND, "\"0-0\"" },
    { "old", 17, 1, 2, SECOND, "\"11-3b9aca02\"" },
    { "just old enough", 17, 1, 2, FILE_RECENT_MS * MS, "\"11-3b9aca02\"" },
    { "recent", 17, 1, 2, FILE_RECENT_MS * MS - 1, "\"11-3b9aca02-3ccbf701\"" },
    { "now", 17, 1, 2, 0, "\"11-3b9aca02-3b9aca02\"" },
    { "to come: no clock is that coarse", 17, 1, 2, -1, "\"11-3b9aca02\"" },
    { "before 1970", 1, -1, 0, SECOND, "\"1-ffffffffc4653600\"" },
    { "longest", INT64_MAX, -1, 1, 0, "\"7fffffffffffffff-ffffffffc4653601-ffffffffc4653601\"" },
};

static void test_stamp(void **state) {
    const struct stamp_row *row = *state;
    char tag[FILE_ETAG_BYTES_MAX + 1];
    struct stat status = { .st_size = row->size, .st_mtim = { row->seconds, row->ns } };
    int64_t changed_ns = row->seconds * (int64_t)SECOND + row->ns;
    struct file_stamp stamp = file_stamp(&status, changed_ns + row->later_ns);
    assert_int_equal(file_etag(&stamp, tag), strlen(row->tag));
    assert_string_equal(tag, row->tag);
    assert_int_equal(stamp.bytes, row->size);
}

int main(void) {
    static struct rows tests;
    ROWS_ADD(&tests, test_stamp, stamp_rows);
    ROWS_ADD(&tests, test_answer, answer_rows);
    ROWS_ADD(&tests, test_size, size_rows);
    ROWS_ADD(&tests, test_change, change_rows);
    ROWS_TEST(&tests, test_purged_meanwhile);
    ROWS_TEST(&tests, test_ends);
    ROWS_TEST(&tests, test_read_fails);
    ROWS_TEST(&tests, test_no_store);
    ROWS_TEST(&tests, test_storm);
    size_t alone = tests.count;
    ROWS_TEST(&tests, test_pins_used_up);
    ROWS_TEST(&tests, test_many_at_once);
    ROWS_TEST(&tests, test_pipeline);
    ROWS_TEST(&tests, test_offloads);
    ROWS_TEST(&tests, test_store_full);
    ROWS_TEST(&tests, test_changed_later);
    ROWS_TEST(&tests, test_no_descriptor);
    for (size_t i = alone; i < tests.count; i++) {
        tests.tests[i].setup_func = open_rig;
        tests.tests[i].teardown_func = close_rig;
    }
    return rows_run("file", &tests);
}
