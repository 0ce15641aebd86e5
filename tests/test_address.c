/* Addresses as text: one row is one text; what parses is printed back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ring/ring.h"

static void test_taken(void **state) {
    (void)state;
    static const struct {
        const char *text, *back;
        int family;
    } rows[] = {
        { "127.0.0.1:8080", "127.0.0.1:8080", AF_INET }, { ":80", "0.0.0.0:80", AF_INET },
        { "0.0.0.0:0", "0.0.0.0:0", AF_INET },           { "[::1]:65535", "[::1]:65535", AF_INET6 },
        { "[::]:1", "[::]:1", AF_INET6 },                { "unix:/tmp/x.sock", "unix:/tmp/x.sock", AF_UNIX },
        { "unix:relative", "unix:relative", AF_UNIX },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ring_address address;
        char text[RING_ADDRESS_BYTES];
        if (!ring_address_parse(span_text(rows[i].text), &address)) fail_msg("'%s' was refused", rows[i].text);
        assert_int_equal(address.storage.ss_family, rows[i].family);
        assert_string_equal(ring_address_text(&address, text), rows[i].back);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const rows[] = {
        "", ":", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80 ", "localhost:80",
        "[::1]", "::1:80", "[::1:80", "[1.2.3.4]:80", "unix:", "1.2.3:80", "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19:80",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ring_address address = { .len = 77 };
        if (ring_address_parse(span_text(rows[i]), &address)) fail_msg("'%s' was taken", rows[i]);
        assert_int_equal(address.len, 77);
    }
}

/* unix(7): sun_path holds 107 bytes and a NUL. */
static void test_unix_path_length(void **state) {
    (void)state;
    char text[5 + 109] = "unix:";
    char back[RING_ADDRESS_BYTES];
    struct ring_address address;
    memset(text + 5, 'p', 108);
    assert_true(ring_address_parse(span_of(text, 5 + 107), &address));
    assert_int_equal(strlen(ring_address_text(&address, back)), 5 + 107);
    assert_false(ring_address_parse(span_of(text, 5 + 108), &address));
}

static void test_unknown(void **state) {
    (void)state;
    char text[RING_ADDRESS_BYTES];
    struct ring_address none = { 0 };
    assert_string_equal(ring_address_text(&none, text), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unix_path_length),
        cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
