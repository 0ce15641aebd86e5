/* Responses on their way into the store and out of it. src/http/cache.c */
#include "http_cache_drive.h"

static void test_hit(void **state) {
    (void)state;
    struct http_exchange *x = capture(GET("/ok"));
    http_response_whole(x, 200, SPAN("text/plain"), SPAN("hello"));
    assert_int_equal(rig.out.bytes, 0);
    assert_true(keep_and_finish(x, &rule_plain));
    expect(OK TEXT "Content-Length: 5\r\nETag: " TAG_OF_HELLO "\r\nCache-Control: no-cache\r\nX-Cache: MISS\r\n\r\nhello");
    hit(GET("/ok"), 1999);
    expect(OK TEXT "Content-Length: 5\r\nETag: " TAG_OF_HELLO
           "\r\nCache-Control: no-cache\r\nX-Cache: HIT\r\nAge: 1\r\n\r\nhello");
    hit(HEAD("/ok"), 0);
    expect(OK TEXT "Content-Length: 5\r\nETag: " TAG_OF_HELLO
           "\r\nCache-Control: no-cache\r\nX-Cache: HIT\r\nAge: 0\r\n\r\n");
    hit(GET_WITH("/ok", "If-None-Match: " TAG_OF_HELLO "\r\n"), 0);
    expect("HTTP/1.1 304 Not Modified\r\n" DATE "ETag: " TAG_OF_HELLO
           "\r\nCache-Control: no-cache\r\nX-Cache: HIT\r\nAge: 0\r\n\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_hit),
    };
    return cmocka_run_group_tests_name("http cache", tests, NULL, NULL);
}
