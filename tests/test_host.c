#include "http/host.h"

#include "guard.h"
#include "rows.h"

/* RFC 9110 §7.2: Host = uri-host [ ":" port ]; RFC 3986 §3.2.2: host, §3.2.3: port */
struct host_row {
    const char *name; /* the host */
    bool valid;
};

static const struct host_row rows[] = {
    /* RFC 9110 §7.2: empty when the target has no authority */
    { "", true },
    /* reg-name */
    { "a", true },
    { "example.com", true },
    { "EXAMPLE.com.", true },
    { "a.b-c_d~e", true },
    { "!$&'()*+;=", true },
    { "%20%Fa", true },
    { "%2", false },
    { "a%", false },
    { "%2g", false },
    { "%zz", false },
    { "a,b", false }, /* two joined */
    { "a, b", false },
    { "a b", false },
    { "a/b", false },
    { "a\\b", false },
    { "a?b", false },
    { "a#b", false },
    { "u@a", false }, /* RFC 9110 §4.2.4: userinfo */
    { "u:p@a", false },
    { "http://a", false },
    { "a\"", false },
    { "<a>", false },
    { "a\x7f", false },
    { "\xc3\xa4", false },
    { "a]", false },
    { "127.0.0.1", true },
    { "999.1.1.1", true }, /* a reg-name: RFC 3986 §3.2.2 */
    /* port */
    { "a:80", true },
    { "a:", true },
    { "a:0", true },
    { "a:65535", true },
    { "a:00080", true },
    { "a:65536", false },
    { "a:99999999999999999999999", false },
    { ":80", false }, /* RFC 9110 §4.2.1: no empty host */
    { ":", false },
    { "a:8o", false },
    { "a:-1", false },
    { "a:+1", false },
    { "a: 80", false },
    { "a:80:81", false },
    { "::1", false },
    /* IPv6address */
    { "[::]", true },
    { "[::1]", true },
    { "[::1]:80", true },
    { "[::1]:", true },
    { "[1::]", true },
    { "[2001:db8::A:1]", true },
    { "[1:2:3:4:5:6:7:8]", true },
    { "[1:2:3:4:5:6:7::]", true },
    { "[::2:3:4:5:6:7:8]", true },
    { "[1::3:4:5:6:7:8]", true },
    { "[::ffff:1.2.3.4]", true },
    { "[::1.2.3.4]", true },
    { "[1:2:3:4:5:6:1.2.3.4]", true },
    { "[1:2:3:4:5::255.255.255.255]", true },
    { "[", false },
    { "[]", false },
    { "[]:80", false },
    { "[:]", false },
    { "[1]", false },
    { "[:1]", false },
    { "[1:]", false },
    { "[::1", false },
    { "[::1]x", false },
    { "[::1]]", false },
    { "[::1]:x", false },
    { "[::1]:65536", false },
    { "[:::]", false },
    { "[1::2::3]", false },
    { "[::2::]", false },
    { "[12345::]", false },
    { "[::g]", false },
    { "[1:2:3:4:5:6:7]", false },
    { "[1:2:3:4:5:6:7:8:9]", false },
    { "[1:2:3:4:5:6:7:8::]", false },
    { "[::1:2:3:4:5:6:7:8]", false },
    { "[1:2:3:4::5:6:7:8]", false },
    { "[1:2:3:4:5:6:7:1.2.3.4]", false },
    { "[1:2:3:4:5:1.2.3.4]", false },
    { "[1:2:3:4:5:6::1.2.3.4]", false },
    { "[1.2.3.4]", false },
    { "[::1.2.3]", false },
    { "[::1.2.3.4.5]", false },
    { "[::1.2.3.]", false },
    { "[::1.2.3.256]", false },
    { "[::1.2.3.04]", false },
    { "[::1.2.3.1000]", false },
    { "[::1.2.3.a]", false },
    { "[::1.2.3.4:5]", false },
    { "[::a.2.3.4]", false },
    { "[fe80::1%eth0]", false }, /* RFC 6874: zones are not sent */
    { "[fe80::1%25eth0]", false },
    { "[::/1]", false },
    { "[a]", false },
    { "[example.com]", false },
    /* IPvFuture */
    { "[v1.a:b]", true },
    { "[VaF.!$&'()*+;=-._~:]:80", true },
    { "[v.a]", false },
    { "[v1]", false },
    { "[v1.]", false },
    { "[v1a]", false },
    { "[vg.a]", false },
    { "[v1.%20]", false },
    { "[v1.a/b]", false },
};

static void test_host(void **state) {
    const struct host_row *row = *state;
    struct guard guard = guard_open(4096);
    size_t len = strlen(row->name);
    assert_int_equal(http_host_valid(span_of(guard_copy(&guard, row->name, len), len)), row->valid);
    guard_close(&guard);
}

/* A NUL ends nothing. */
static void test_nul(void **state) {
    (void)state;
    assert_false(http_host_valid(SPAN("a\0b")));
    assert_false(http_host_valid(SPAN("[::\0]")));
    assert_false(http_host_valid(SPAN("a:8\0")));
}

int main(void) {
    static struct rows all;
    ROWS_ADD(&all, test_host, rows);
    ROWS_TEST(&all, test_nul);
    return rows_run("hosts", &all);
}
