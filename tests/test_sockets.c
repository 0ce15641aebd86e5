/* Addresses before the workers listen on them: taken, free, chosen by the kernel, stale, somebody's. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/sockets.h"
#include "server_rig.h"

static struct config config;
static struct server server;
static struct sockets_held held;
static char why[CONFIG_WHY_BYTES];
static char path[64];

static int prepare(const char *address) {
    memset(&server, 0, sizeof server);
    server.config = &config;
    config.unix_mode = 0660;
    server.place_count = 1;
    assert_true(ring_address_parse(span_text(address), &server.places[0].address));
    server.places[0].socket = -1;
    why[0] = '\0';
    return sockets_prepare(&server, &held, why);
}

/* A listening socket on a free port, with or without SO_REUSEPORT; its address in `text`. */
static int listen_somewhere(bool reuse, char *text, size_t room) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = reuse;
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof name;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    snprintf(text, room, "127.0.0.1:%u", ntohs(name.sin_port));
    return fd;
}

/* Also when the other one would share its port: it would take a part of our clients. */
static void test_taken(void **state) {
    (void)state;
    for (int reuse = 0; reuse < 2; reuse++) {
        char text[32];
        int fd = listen_somewhere(reuse == 1, text, sizeof text);
        assert_int_equal(prepare(text), EXIT_UNAVAILABLE);
        assert_has(why, text);
        assert_has(why, "another process listens there");
        close(fd);
        assert_int_equal(prepare(text), EXIT_FINE);
        assert_int_equal(held.count, 0);
    }
}

static void test_any_port(void **state) {
    (void)state;
    assert_int_equal(prepare("127.0.0.1:0"), EXIT_FINE);
    assert_int_equal(held.count, 1);
    const struct sockaddr_in *name = (const struct sockaddr_in *)(const void *)&server.places[0].address.storage;
    assert_int_not_equal(name->sin_port, 0);
    char text[RING_ADDRESS_BYTES];
    ring_address_text(&server.places[0].address, text);
    /* It is kept for the workers: nobody else gets it meanwhile. */
    struct sockets_held first = held;
    assert_int_equal(prepare(text), EXIT_UNAVAILABLE);
    sockets_release_held(&first);
    assert_int_equal(prepare(text), EXIT_FINE);
}

static void test_no_such_address(void **state) {
    (void)state;
    assert_int_equal(prepare("192.0.2.1:8080"), EXIT_UNAVAILABLE); /* TEST-NET-1, RFC 5737 */
    assert_has(why, "this machine has no such address");
}

static const char *unix_address(void) {
    static char text[80];
    snprintf(path, sizeof path, "/tmp/test_sockets.%d", (int)getpid());
    unlink(path);
    snprintf(text, sizeof text, "unix:%s", path);
    return text;
}

static bool exists(void) {
    struct stat status;
    return stat(path, &status) == 0;
}

static void test_unix(void **state) {
    (void)state;
    const char *text = unix_address();
    assert_int_equal(prepare(text), EXIT_FINE);
    assert_true(server.places[0].socket >= 0);
    assert_true(exists());
    struct server first = server;
    assert_int_equal(prepare(text), EXIT_UNAVAILABLE); /* somebody listens */
    assert_true(exists());
    close(first.places[0].socket); /* as if its process had died */
    assert_true(exists());
    assert_int_equal(prepare(text), EXIT_FINE); /* stale: replaced */
    sockets_release(&server);
    assert_false(exists());
    assert_int_equal(server.places[0].socket, -1);
}

/* A file that is no socket is never removed. */
static void test_unix_file(void **state) {
    (void)state;
    const char *text = unix_address();
    FILE *file = fopen(path, "w");
    fclose(file);
    assert_int_equal(prepare(text), EXIT_UNAVAILABLE);
    assert_true(exists());
    unlink(path);
}

static unsigned mode_of(void) {
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

/* Nobody is to change modes by name: in a folder that others may write it may be a link of theirs. */
int chmod(const char *name, mode_t mode) {
    fail_msg("chmod %s %o", name, (unsigned)mode);
    return -1;
}

/* The mode is what was asked for, whatever the umask is, which is as it was. */
static void test_unix_mode(void **state) {
    (void)state;
    static const unsigned umasks[] = { 0, 022, 077, 0777 };
    for (unsigned i = 0; i < 4; i++) {
        mode_t before = umask(umasks[i]);
        const char *text = unix_address();
        assert_int_equal(prepare(text), EXIT_FINE);
        assert_int_equal(mode_of(), 0660);
        sockets_release(&server);
        assert_int_equal(umask(before), umasks[i]);
    }
}

/* Somebody has put a socket of their own at our path: it stays. */
static void test_unix_replaced(void **state) {
    (void)state;
    const char *text = unix_address();
    assert_int_equal(prepare(text), EXIT_FINE);
    struct server first = server;
    unlink(path);
    assert_int_equal(prepare(text), EXIT_FINE);
    sockets_release(&first);
    assert_true(exists());
    sockets_release(&server);
    assert_false(exists());
}

/* A link to a socket is no socket: it is not removed, and nothing behind it. */
static void test_unix_link(void **state) {
    (void)state;
    const char *text = unix_address();
    assert_int_equal(symlink("/nonexistent", path), 0);
    assert_int_equal(prepare(text), EXIT_UNAVAILABLE);
    struct stat status;
    assert_int_equal(lstat(path, &status), 0);
    unlink(path);
}

/* The admin listener is one socket that the workers share, and listens from the beginning. */
static void test_admin_is_shared(void **state) {
    (void)state;
    memset(&server, 0, sizeof server);
    server.config = &config;
    server.place_count = 1;
    server.places[0] = (struct listen_place){ .admin = true, .socket = -1 };
    assert_true(ring_address_parse(SPAN("127.0.0.1:0"), &server.places[0].address));
    assert_int_equal(sockets_prepare(&server, &held, why), EXIT_FINE);
    int listening = 0;
    socklen_t len = sizeof listening;
    assert_int_equal(getsockopt(server.places[0].socket, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len), 0);
    assert_int_equal(listening, 1);
    char text[RING_ADDRESS_BYTES];
    assert_null(strstr(ring_address_text(&server.places[0].address, text), ":0"));
    sockets_release(&server);
    assert_int_equal(server.places[0].socket, -1);
}

/* What was inherited is not touched, and its path is not ours to remove. */
static void test_inherited(void **state) {
    (void)state;
    const char *text = unix_address();
    assert_int_equal(prepare(text), EXIT_FINE);
    int fd = server.places[0].socket;
    server.places[0].made = false;
    assert_int_equal(sockets_prepare(&server, &held, why), EXIT_FINE);
    assert_int_equal(server.places[0].socket, fd);
    sockets_release(&server);
    assert_true(exists());
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken), cmocka_unit_test(test_any_port),  cmocka_unit_test(test_no_such_address),
        cmocka_unit_test(test_unix),  cmocka_unit_test(test_unix_file),
        cmocka_unit_test(test_unix_mode), cmocka_unit_test(test_unix_replaced), cmocka_unit_test(test_unix_link),
        cmocka_unit_test(test_admin_is_shared), cmocka_unit_test(test_inherited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
