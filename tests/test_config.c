/* The command line: defaults, precedence, refusals with the flag and its neighbour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/config.h"

static const char *color;
static const struct rm_option options[] = { { "color", "NAME", "a color", &color }, { 0 } };
static const struct rm_app app = { .name = "test", .options = options };
static const struct rm_app bare = { .name = "bare" };
static const struct rm_statement statements[] = { { .sql = "SELECT 1" } };
static const struct rm_app client = { .name = "test", .statements = statements, .statement_count = 1 };

static struct config config;
static char why[CONFIG_WHY_BYTES];

enum { WORDS_MAX = 40 };

/* Reads a command line given as words between blanks. */
static int read_line_of(const struct rm_app *who, const char *line) {
    static char copy[512];
    static char *argv[WORDS_MAX];
    int argc = 0;
    snprintf(copy, sizeof copy, "test %s", line);
    char *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    return config_read(&config, argc, argv, who, why);
}

static int read_line(const char *line) {
    return read_line_of(&app, line);
}

static int clean(void **state) {
    (void)state;
    color = "blue";
    unsetenv("PORT");
    unsetenv("RINGMAIN_LISTEN");
    unsetenv("RINGMAIN_WORKERS");
    unsetenv("RINGMAIN_ADMIN");
    unsetenv("RINGMAIN_COLOR");
    unsetenv("RINGMAIN_IDLE_TIMEOUT");
    static const char *const variables[] = { "RINGMAIN_DB", "DATABASE_URL",  "DATABASE_MAX_CONN", "PGHOST",    "PGHOSTADDR",
                                             "PGPORT",      "PGDATABASE",    "PGUSER",            "PGSSLMODE", "PGPASSWORD",
                                             "PGSERVICE",   "PGREQUIREAUTH", "PGPASSFILE" };
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        unsetenv(variables[i]);
    }
    return 0;
}

static const char *address(uint32_t i) {
    static char text[RING_ADDRESS_BYTES];
    return ring_address_text(&config.listen[i], text);
}

static void test_defaults(void **state) {
    (void)state;
    assert_int_equal(read_line(""), EXIT_FINE);
    assert_int_equal(config.action, CONFIG_RUN);
    assert_int_equal(config.listen_count, 1);
    assert_string_equal(address(0), "127.0.0.1:8080");
    assert_int_equal(config.workers, 0);
    assert_int_equal(config.io, RING_AUTO);
    assert_int_equal(config.limits.request_line_bytes, 8192);
    assert_int_equal(config.limits.header_bytes, 16384);
    assert_int_equal(config.limits.fields, 100);
    assert_int_equal(config.limits.pipeline, 64);
    assert_int_equal(config.limits.body_bytes, 1 << 20);
    assert_int_equal(config.body_buffers, 8);
    assert_int_equal(config.output_bytes, 256 * 1024);
    assert_int_equal(config.idle_timeout_ns, 75000000000);
    assert_int_equal(config.drain_timeout_ns, 10000000000);
    assert_int_equal(config.log_level, LOG_INFO);
    assert_int_equal(config.tuning.sq_entries, 512);
    assert_false(config.db_on);
    assert_null(config.db_limits.url);
    assert_int_equal(config.db_limits.connections, 0);
    assert_int_equal(config.db_limits.inflight, 16);
    assert_int_equal(config.db_limits.queue, 1024);
    assert_int_equal(config.db_limits.timeout_ns, 5000000000);
    assert_int_equal(config.db_limits.grace_ns, 500000000);
    assert_int_equal(config.db_limits.ping_ns, 30000000000);
    assert_int_equal(config.db_limits.transaction_ns, 30000000000);
    assert_int_equal(config.db_limits.result_bytes, 1 << 20);
    assert_int_equal(config.db_limits.row_bytes, 256 << 10);
    assert_true(config.db_limits.prepare);
}

static void test_flags(void **state) {
    (void)state;
    assert_int_equal(
        read_line("--workers 3 --io=epoll --header-bytes=4K --idle-timeout 2m --pipeline 7 --log-level debug "
                  "--listen 127.0.0.1:1 --listen unix:/tmp/x --ring recv=single --color red --body-bytes 2M"),
        EXIT_FINE);
    assert_int_equal(config.workers, 3);
    assert_int_equal(config.io, RING_EPOLL);
    assert_int_equal(config.limits.header_bytes, 4096);
    assert_int_equal(config.limits.body_bytes, 2 << 20);
    assert_int_equal(config.idle_timeout_ns, 120000000000);
    assert_int_equal(config.limits.pipeline, 7);
    assert_int_equal(config.log_level, LOG_DEBUG);
    assert_int_equal(config.listen_count, 2);
    assert_string_equal(address(1), "unix:/tmp/x");
    assert_false(config.tuning.receive_multi);
    assert_string_equal(color, "red");
}

static void test_db_flags(void **state) {
    (void)state;
    assert_int_equal(read_line("--db none --db-connections 12 --db-inflight 1 --db-queue 9 --db-timeout 1s --db-grace 20ms "
                               "--db-transaction-timeout 2m --db-connect-timeout 3s --db-result-bytes 4K --db-row-bytes 16K "
                               "--db-prepare off --db-ping 0"),
                     EXIT_FINE);
    assert_string_equal(config.db_limits.url, "none");
    assert_int_equal(config.db_limits.connections, 12);
    assert_int_equal(config.db_limits.inflight, 1);
    assert_int_equal(config.db_limits.queue, 9);
    assert_int_equal(config.db_limits.timeout_ns, 1000000000);
    assert_int_equal(config.db_limits.grace_ns, 20000000);
    assert_int_equal(config.db_limits.ping_ns, 0);
    assert_int_equal(config.db_limits.transaction_ns, 120000000000);
    assert_int_equal(config.db_limits.connect_ns, 3000000000);
    assert_int_equal(config.db_limits.result_bytes, 4096);
    assert_int_equal(config.db_limits.row_bytes, 16384);
    assert_false(config.db_limits.prepare);
}

static void test_db_url(void **state) {
    (void)state;
    assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
    assert_false(config.db_on);
    assert_int_equal(read_line_of(&client, "--db postgres://u:p@h:1/d"), EXIT_FINE);
    assert_true(config.db_on);
    assert_string_equal(config.db.host, "h");
    assert_string_equal(config.db.password, "p");
    assert_int_equal(config.db.connect_timeout_ns, 10000000000);
    assert_int_equal(read_line_of(&client, "--db=host=h --db-connect-timeout 20ms"), EXIT_FINE);
    assert_int_equal(config.db.connect_timeout_ns, 20000000);
    assert_true(config.db.user[0] != '\0'); /* who runs the test */
    assert_string_equal(config.db.name, config.db.user);
    assert_int_equal(read_line_of(&client, "--db none"), EXIT_FINE);
    assert_false(config.db_on);
    assert_int_equal(read_line("--db postgres://h/d?sslmode=require"), EXIT_FINE); /* no statements: nobody connects */
    assert_false(config.db_on);
    assert_int_equal(read_line_of(&client, "--db postgres://h/d?sslmode=require --version"), EXIT_FINE);
}

static void test_db_precedence(void **state) {
    (void)state;
    setenv("DATABASE_URL", "postgres://a/a", 1);
    assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
    assert_true(config.db_on);
    assert_string_equal(config.db.host, "a");
    setenv("PGHOST", "p", 1);
    setenv("PGUSER", "q", 1);
    assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
    assert_string_equal(config.db.host, "a");
    assert_string_equal(config.db.user, "q");
    setenv("RINGMAIN_DB", "postgres://b/b", 1);
    assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
    assert_string_equal(config.db.host, "b");
    assert_int_equal(read_line_of(&client, "--db postgres://c/c"), EXIT_FINE);
    assert_string_equal(config.db.host, "c");
    assert_int_equal(read_line_of(&client, "--db none"), EXIT_FINE);
    assert_false(config.db_on);
    unsetenv("RINGMAIN_DB");
    setenv("DATABASE_URL", "none", 1);
    assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
    assert_false(config.db_on);
    setenv("DATABASE_URL", "", 1);
    assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
    assert_string_equal(config.db.host, "p");
}

/* Each of three variables says that there is a database; the others only who, and how. */
static void test_db_variables(void **state) {
    (void)state;
    static const char *const on[] = { "PGHOST", "PGHOSTADDR", "PGDATABASE" };
    setenv("PGUSER", "u", 1);
    setenv("PGPASSWORD", "secret", 1);
    assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
    assert_false(config.db_on);
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        setenv(on[i], "", 1);
        assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
        assert_false(config.db_on);
        setenv(on[i], "127.0.0.1", 1);
        assert_int_equal(read_line_of(&client, ""), EXIT_FINE);
        assert_true(config.db_on);
        unsetenv(on[i]);
    }
}

static void test_db_refused(void **state) {
    (void)state;
    static const struct {
        const char *variable, *value, *line;
        int code;
        const char *says;
    } rows[] = {
        { "PORT", "1", "--db postgres://u:secret@h/d?sslmode=require", EXIT_CONFIG, "--db: sslmode=require asks for TLS" },
        { "PORT", "1", "--db postgres://u:secret@h:0/d", EXIT_USAGE, "--db: port: must be" },
        { "PORT", "1", "--db secret", EXIT_USAGE, "--db: must be a URL" },
        { "RINGMAIN_DB", "postgres://u:%secret@h/d", "", EXIT_USAGE, "RINGMAIN_DB: password: '%' must" },
        { "DATABASE_URL", "postgres://a,b/d", "", EXIT_USAGE, "DATABASE_URL: host: several hosts" },
        { "PGSSLMODE", "verify-full", "--db host=h", EXIT_CONFIG, "PGSSLMODE=verify-full asks for TLS" },
        { "PGPORT", "secret", "--db host=h", EXIT_USAGE, "PGPORT: must be a number" },
        { "PGREQUIREAUTH", "md5", "--db host=h", EXIT_USAGE, "--db: require_auth: allows only" },
        { "DATABASE_MAX_CONN", "many", "--db host=h", EXIT_USAGE, "DATABASE_MAX_CONN 'many': must be a number" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        clean(NULL);
        setenv(rows[i].variable, rows[i].value, 1);
        assert_int_equal(read_line_of(&client, rows[i].line), rows[i].code);
        if (strncmp(why, rows[i].says, strlen(rows[i].says)) != 0 || strstr(why, "secret") != NULL) {
            fail_msg("'%s' says: %s", rows[i].line, why);
        }
    }
}

/* The variable says how many there may be, at most; the flag, how many. */
static void test_db_max(void **state) {
    (void)state;
    setenv("DATABASE_MAX_CONN", "256", 1);
    assert_int_equal(read_line_of(&client, "--db host=h --workers 2"), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 2, 1 << 20, why), EXIT_FINE);
    assert_int_equal(config.db_limits.connections, 128);
    assert_int_equal(config.db_limits.worker_connections, 64);
    assert_int_equal(read_line_of(&client, "--db host=h --workers 2 --db-connections 4"), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 2, 1 << 20, why), EXIT_FINE);
    assert_int_equal(config.db_limits.worker_connections, 2);
    setenv("DATABASE_MAX_CONN", "1", 1);
    assert_int_equal(read_line_of(&client, "--db host=h --workers 2"), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 2, 1 << 20, why), EXIT_CONFIG);
}

/* One line of test_db_resolve: what is asked for, and what it comes to per worker; 0: refused, and what is said. */
static void resolve_db(const char *line, uint32_t worker_connections, const char *says) {
    assert_int_equal(read_line(line), EXIT_FINE);
    config.db_on = true;
    int code = config_resolve(&config, 2, 1 << 20, why);
    assert_int_equal(code, worker_connections > 0 ? EXIT_FINE : EXIT_CONFIG);
    if (worker_connections > 0) {
        assert_int_equal(config.db_limits.worker_connections, worker_connections);
    } else if (strstr(why, says) == NULL) {
        fail_msg("'%s' says: %s", line, why);
    }
}

static void test_db_resolve(void **state) {
    (void)state;
    resolve_db("--workers 3", 2, NULL);
    assert_int_equal(config.db_limits.connections, 6);
    resolve_db("--workers 3 --db-connections 11", 3, NULL);
    resolve_db("--workers 3 --db-connections 3", 1, NULL);
    resolve_db("--workers 3 --db-connections 2", 0, "raise --db-connections (DATABASE_MAX_CONN) to 3, or lower --workers to 2");
    resolve_db("--workers 2 --db-connections 128", 64, NULL);
    resolve_db("--workers 2 --db-connections 130", 0, "lower --db-connections (DATABASE_MAX_CONN) to 128");
    assert_int_equal(read_line("--workers 3 --db-connections 2"), EXIT_FINE); /* without a database nobody needs them */
    assert_int_equal(config_resolve(&config, 2, 1 << 20, why), EXIT_FINE);
}

/* Each connection needs a descriptor, and another while a query of it is cancelled. */
static void test_db_files(void **state) {
    (void)state;
    assert_int_equal(read_line("--workers 1"), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 1, 1024, why), EXIT_FINE);
    uint32_t without = config.max_connections;
    assert_int_equal(read_line("--workers 1 --db-connections 10"), EXIT_FINE);
    config.db_on = true;
    assert_int_equal(config_resolve(&config, 1, 1024, why), EXIT_FINE);
    assert_int_equal(config.max_connections, without - 20);
}

static void test_precedence(void **state) {
    (void)state;
    setenv("RINGMAIN_WORKERS", "5", 1);
    setenv("RINGMAIN_COLOR", "green", 1);
    setenv("PORT", "9000", 1);
    assert_int_equal(read_line(""), EXIT_FINE);
    assert_int_equal(config.workers, 5);
    assert_string_equal(color, "green");
    assert_string_equal(address(0), "127.0.0.1:9000");
    setenv("RINGMAIN_LISTEN", ":7000", 1);
    assert_int_equal(read_line("--workers 6 --color red"), EXIT_FINE);
    assert_int_equal(config.workers, 6);
    assert_string_equal(color, "red");
    assert_int_equal(config.listen_count, 1);
    assert_string_equal(address(0), "0.0.0.0:7000");
    assert_int_equal(read_line("--listen 127.0.0.1:1 --listen 127.0.0.1:2"), EXIT_FINE);
    assert_int_equal(config.listen_count, 2);
    assert_string_equal(address(0), "127.0.0.1:1");
    setenv("RINGMAIN_ADMIN", "127.0.0.1:9", 1);
    assert_int_equal(read_line(""), EXIT_FINE);
    assert_true(config.admin.len > 0);
    assert_int_equal(read_line("--admin none"), EXIT_FINE);
    assert_int_equal(config.admin.len, 0);
}

static enum rm_step nothing(struct rm_exchange *x) {
    (void)x;
    return RM_DONE;
}

static void test_store(void **state) {
    (void)state;
    static const struct {
        const char *line;
        uint64_t bytes;
        uint32_t objects;
        const char *path;
    } rows[] = {
        { "", 256 << 20, 65536, NULL },
        { "--store /a/b --store-bytes 1M", 1 << 20, 1024, "/a/b" },
        { "--store a --store none --store-bytes 64G", UINT64_C(64) << 30, 16 << 20, NULL },
        { "--store-bytes 4M", 4 << 20, 1024, NULL },
        { "--store-bytes 5M", 5 << 20, 1280, NULL },
        { "--store-objects 64", 256 << 20, 64, NULL },
        { "--store-objects 67108864", 256 << 20, 1 << 26, NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_line(rows[i].line), EXIT_FINE);
        assert_int_equal(config_resolve(&config, 2, 10000, why), EXIT_FINE);
        assert_int_equal(config.store_bytes, rows[i].bytes);
        assert_int_equal(config.store_objects, rows[i].objects);
        assert_int_equal(config.store == NULL, rows[i].path == NULL);
        assert_true(rows[i].path == NULL || strcmp(config.store, rows[i].path) == 0);
        assert_false(config.caches);
    }
    static const struct rm_cache cache = { .name = "c", .ttl_ns = 1 };
    static const struct rm_route routes[] = {
        { .method = "GET", .path = "/a", .handler = nothing },
        { .method = "GET", .path = "/b", .handler = nothing, .cache = &cache },
        { 0 },
    };
    assert_int_equal(read_line_of(&(struct rm_app){ .name = "test", .routes = routes }, ""), EXIT_FINE);
    assert_true(config.caches);
}

static void test_actions(void **state) {
    (void)state;
    assert_int_equal(read_line("--plan"), EXIT_FINE);
    assert_int_equal(config.action, CONFIG_PLAN);
    assert_int_equal(read_line("--version"), EXIT_FINE);
    assert_int_equal(config.action, CONFIG_VERSION);
    assert_int_equal(read_line("--help"), EXIT_FINE);
    assert_int_equal(config.action, CONFIG_HELP);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *line, *says;
    } rows[] = {
        { "--wrokers 2", "unknown flag --wrokers; did you mean --workers?" },
        { "--colour red", "unknown flag --colour; did you mean --color?" },
        { "--idle-timout=3s", "did you mean --idle-timeout?" },
        { "workers", "unexpected argument 'workers'" },
        { "-w 2", "unexpected argument '-w'" },
        { "postgres://u:secret@h/d", "unexpected argument 'postgres...'; see" },
        { "password=secret", "unexpected argument 'password...'; see" },
        { "--", "unknown flag --" },
        { "--workers", "--workers needs a value: N|auto" },
        { "--color", "--color needs a value: NAME" },
        { "--plan=yes", "--plan takes no value" },
        { "--workers 0", "--workers '0': must be auto or a number from 1 to 256" },
        { "--workers 257", "--workers '257': must be auto" },
        { "--io kqueue", "--io 'kqueue': must be auto, uring or epoll" },
        { "--listen localhost:80", "--listen 'localhost:80': must be ADDRESS:PORT" },
        { "--ring recv=twice", "--ring 'recv=twice'" },
        { "--header-bytes 100K", "--header-bytes '100K': must be a size from 256 to 32768 bytes" },
        { "--body-bytes -1", "--body-bytes '-1'" },
        { "--header-fields 101", "--header-fields '101': must be a number from 1 to 100" },
        { "--idle-timeout 0", "--idle-timeout '0': must be a duration" },
        { "--idle-timeout 5", "--idle-timeout '5': must be a duration" },
        { "--store=", "--store '': must be a path, or none" },
        { "--store-bytes 1023K", "--store-bytes '1023K': must be a size from 1048576 to 68719476736 bytes" },
        { "--store-bytes 65G", "--store-bytes '65G': must be a size" },
        { "--store-objects 63", "--store-objects '63': must be a number from 64 to 67108864" },
        { "--store-objects 67108865", "--store-objects '67108865': must be a number" },
        { "--drain-timeout 2000m", "--drain-timeout '2000m'" },
        { "--log-level loud", "--log-level 'loud': must be error, warn, info or debug" },
        { "--max-connections 0", "--max-connections '0'" },
        { "--db=", "--db '': must be a URL" },
        { "--db-connections 0", "--db-connections '0': must be a number from 1 to 16384" },
        { "--db-inflight 0", "--db-inflight '0': must be a number from 1 to 256" },
        { "--db-inflight 257", "--db-inflight '257'" },
        { "--db-queue 0", "--db-queue '0': must be a number from 1" },
        { "--db-timeout 5", "--db-timeout '5': must be a duration" },
        { "--db-grace 0", "--db-grace '0': must be a duration" },
        { "--db-ping never", "--db-ping 'never': must be a duration" },
        { "--db-transaction-timeout x", "--db-transaction-timeout 'x': must be a duration" },
        { "--db-connect-timeout 0", "--db-connect-timeout '0': must be a duration" },
        { "--db-result-bytes 4095", "--db-result-bytes '4095': must be a size" },
        { "--db-row-bytes 16383", "--db-row-bytes '16383': must be a size from 16384" },
        { "--db-prepare maybe", "--db-prepare 'maybe': must be on or off" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_line(rows[i].line), EXIT_USAGE);
        if (strstr(why, rows[i].says) == NULL) {
            fail_msg("'%s' says: %s", rows[i].line, why);
        }
    }
}

static void test_refused_environment(void **state) {
    (void)state;
    setenv("RINGMAIN_IDLE_TIMEOUT", "soon", 1);
    assert_int_equal(read_line(""), EXIT_USAGE);
    assert_non_null(strstr(why, "RINGMAIN_IDLE_TIMEOUT 'soon': must be a duration"));
    unsetenv("RINGMAIN_IDLE_TIMEOUT");
    setenv("PORT", "http", 1);
    assert_int_equal(read_line(""), EXIT_USAGE);
    assert_non_null(strstr(why, "PORT 'http'"));
    assert_int_equal(read_line("--listen :1"), EXIT_FINE); /* then nobody asks for PORT */
}

static void test_too_many_listeners(void **state) {
    (void)state;
    char line[512] = "";
    for (int i = 0; i <= CONFIG_LISTEN_MAX; i++) {
        strncat(line, "--listen :1 ", sizeof line - strlen(line) - 1);
    }
    assert_int_equal(read_line(line), EXIT_USAGE);
    assert_non_null(strstr(why, "more than 16 times"));
}

static void test_resolve(void **state) {
    (void)state;
    assert_int_equal(read_line(""), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 2, 1 << 20, why), EXIT_FINE);
    assert_int_equal(config.workers, 2);
    assert_int_equal(config.max_connections, CONFIG_CONNECTIONS_DEFAULT);
    assert_int_equal(read_line(""), EXIT_FINE);
    assert_int_equal(read_line(""), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 2, 20000, why), EXIT_FINE); /* a burst of the ring fits beside them */
    assert_true(config.max_connections > 10000 && config.max_connections < 20000 - CONFIG_FILES_BURST);
    assert_int_equal(read_line("--workers 4"), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 2, 1024, why), EXIT_FINE);
    assert_int_equal(config.workers, 4);
    assert_true(config.max_connections > 800 && config.max_connections < 1024);
    assert_int_equal(read_line("--max-connections 1024"), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 1, 1024, why), EXIT_CONFIG);
    assert_non_null(strstr(why, "ulimit -n"));
    assert_int_equal(read_line("--max-connections 3 --workers 4"), EXIT_FINE);
    assert_int_equal(config_resolve(&config, 1, 1024, why), EXIT_CONFIG);
    assert_non_null(strstr(why, "one per worker"));
}

static void test_share(void **state) {
    (void)state;
    assert_int_equal(read_line("--max-connections 4096 --workers 1"), EXIT_FINE);
    assert_int_equal(config_connections_per_worker(&config), 4096);
    assert_int_equal(read_line("--max-connections 4096 --workers 64"), EXIT_FINE);
    uint32_t share = config_connections_per_worker(&config);
    assert_true(share >= 64 + 32 && share < 256); /* room for the spread of hashing */
    assert_int_equal(read_line("--max-connections 4 --workers 4"), EXIT_FINE);
    assert_int_equal(config_connections_per_worker(&config), 4);
}

static void test_without_options(void **state) {
    (void)state;
    char *argv[] = { "bare", "--color", "red", NULL };
    assert_int_equal(config_read(&config, 3, argv, &bare, why), EXIT_USAGE);
    assert_non_null(strstr(why, "unknown flag --color"));
    assert_int_equal(config_read(&config, 1, argv, &bare, why), EXIT_FINE);
}

#define TEST(name) cmocka_unit_test_setup(name, clean)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_defaults), TEST(test_flags),           TEST(test_precedence),          TEST(test_actions),
        TEST(test_store),
        TEST(test_refused),  TEST(test_resolve),         TEST(test_refused_environment), TEST(test_too_many_listeners),
        TEST(test_share),    TEST(test_without_options), TEST(test_db_flags),            TEST(test_db_resolve),
        TEST(test_db_files), TEST(test_db_url),          TEST(test_db_precedence),       TEST(test_db_variables),
        TEST(test_db_refused), TEST(test_db_max),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
