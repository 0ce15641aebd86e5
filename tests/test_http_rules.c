/* The rules of HTTP/1.1, one row each, through the whole of http: what a client sends, and every answer that it gets. Each row
 * runs whole, cut in two at every position, and byte by byte, with the same answers; each head has a Date, and the last one
 * before a close, and no other, says close (http_rows.h).
 *
 * The name of a row says where its rule is written: 9110 is HTTP Semantics, 9112 is HTTP/1.1, 3986 is URIs. What stands behind a
 * request that cannot be framed must not be answered: there GET("/ok") follows, and no 200. */
#include "http_rows.h"

#define OK GET("/ok")
#define LINE(line) line "\r\n" H "\r\n"
#define FIELDS(fields) "GET /ok HTTP/1.1\r\n" fields "\r\n"
#define WITH(field) FIELDS(H field "\r\n")
#define HOST(value) FIELDS("Host: " value "\r\n")
#define POST(fields, body) "POST /echo HTTP/1.1\r\n" H fields "\r\n" body
#define LENGTH(value, body) POST("Content-Length: " value "\r\n", body)
#define CODING(value, body) POST("Transfer-Encoding: " value "\r\n", body)
#define CHUNKS(body) CODING("chunked", body)
#define LAST "0\r\n\r\n"
#define BAD "400 closed"

/* Limits that fit on a line: 32 bytes of request line, 64 of fields, 4 fields, a body of 16. */
static const struct rig_sizes narrow = { 128, 4, 512, 4, { 32, 64, 4, 64, 16 } };

#define NARROW(name, in, out) HTTP_ROW_SIZED(name, in, out, &narrow)

static const struct http_row line_rows[] = {
    /* the request line: 9112 §3 */
    HTTP_ROW("9112 §3: method SP target SP version", LINE("GET /ok HTTP/1.1"), "200:ok"),
    HTTP_ROW("9112 §3: two blanks before the target", LINE("GET  /ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3: two blanks behind the target", LINE("GET /ok  HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3: a tab is no blank", LINE("GET\t/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3: a blank before the method", LINE(" GET /ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3: a blank behind the version", LINE("GET /ok HTTP/1.1 ") OK, BAD),
    HTTP_ROW("9112 §3: a blank in the target", LINE("GET /o k HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3: no target", LINE("GET HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3.1: a method is a token", LINE("G(T /ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3.1: no method", LINE("/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §9.1: methods have case", LINE("get /ok HTTP/1.1") OK, "501 200:ok"),
    HTTP_ROW("9110 §9.1: an unknown method is 501", LINE("BREW /ok HTTP/1.1") OK, "501 200:ok"),
    HTTP_ROW("9110 §9.1: any token can be one", LINE("!#$%&'*+-.^_`|~ /ok HTTP/1.1") OK, "501 200:ok"),
    NARROW("9112 §3: a method longer than any is 501", LINE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ / HTTP/1.1") OK, "501 closed"),
    NARROW("9112 §3: a target that is too long is 414", LINE("GET /0123456789012345678901234567890 HTTP/1.1") OK, "414 closed"),
    NARROW("9112 §3: 414 before the end is there", OK "GET /012345678901234567890123456789", "200:ok 414 closed"),
    NARROW("9112 §3: as long as the limit", LINE("GET /ok?456789012345678 HTTP/1.1") OK, "200:ok 200:ok"),
    /* line ends: 9112 §2.2 */
    HTTP_ROW("9112 §2.2: an empty line before a request", "\r\n" OK "\r\n" OK, "200:ok 200:ok"),
    HTTP_ROW("9112 §2.2: not any number of them", "\r\n\r\n" OK, BAD),
    HTTP_ROW("9112 §2.2: LF before a request", "\n" OK, BAD),
    HTTP_ROW("9112 §2.2: CR before a request", "\r" OK, BAD),
    HTTP_ROW("9112 §2.2: LF ends no request line", "GET /ok HTTP/1.1\n" H "\r\n" OK, BAD),
    HTTP_ROW("9112 §2.2: LF ends no field", FIELDS("Host: a\n") OK, BAD),
    HTTP_ROW("9112 §2.2: LF ends no head", "GET /ok HTTP/1.1\r\n" H "\n" OK, BAD),
    HTTP_ROW("9112 §2.2: LF LF", "GET /ok HTTP/1.1\nHost: a\n\n" OK, BAD),
    HTTP_ROW("9112 §2.2: CR in the method", LINE("G\rET /ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §2.2: CR in the target", LINE("GET /o\rk HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §2.2: CR in the version", LINE("GET /ok HTTP/1.1\r") OK, BAD),
    HTTP_ROW("9112 §2.2: CR in a value", WITH("X: a\rb\r\n") OK, BAD),
    HTTP_ROW("9112 §2.2: CR before CRLF", WITH("X: a\r\r\n") OK, BAD),
    HTTP_ROW("9112 §2.2: CR CR LF at the end", "GET /ok HTTP/1.1\r\n" H "\r\r\n" OK, BAD),
    HTTP_ROW("9112 §2.2: a blank between request line and fields", "GET /ok HTTP/1.1\r\n " H "\r\n" OK, BAD),
    /* versions: 9112 §2.3, 9110 §2.5 */
    HTTP_ROW("9112 §2.3: 1.2 is served as 1.1", LINE("GET /ok HTTP/1.2") OK, "200:ok 200:ok"),
    HTTP_ROW("9112 §2.3: 1.9 is served as 1.1", LINE("GET /ok HTTP/1.9") OK, "200:ok 200:ok"),
    HTTP_ROW("9110 §15.6.6: 2.0 is 505", LINE("GET /ok HTTP/2.0") OK, "505 closed"),
    HTTP_ROW("9110 §15.6.6: 3.0 is 505", LINE("GET /ok HTTP/3.0") OK, "505 closed"),
    HTTP_ROW("9110 §15.6.6: 0.9 by name is 505", LINE("GET /ok HTTP/0.9") OK, "505 closed"),
    HTTP_ROW("9112 §2.3: HTTP/0.9 has no version", "GET /ok\r\n" OK, BAD),
    HTTP_ROW("9112 §2.3: the name has case", LINE("GET /ok http/1.1") OK, BAD),
    HTTP_ROW("9112 §2.3: one digit each", LINE("GET /ok HTTP/1.10") OK, BAD),
    HTTP_ROW("9112 §2.3: one digit each, major", LINE("GET /ok HTTP/01.1") OK, BAD),
    HTTP_ROW("9112 §2.3: a dot between", LINE("GET /ok HTTP/1 1") OK, BAD),
    HTTP_ROW("9112 §2.3: no minor", LINE("GET /ok HTTP/1.") OK, BAD),
    HTTP_ROW("9112 §2.3: another protocol", LINE("GET /ok HTTPS/1.1") OK, BAD),
    /* what is no HTTP/1.1 */
    HTTP_ROW("a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD),
    HTTP_ROW("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0", BAD),
    HTTP_ROW("bytes", "\xff\xfe\xfd\r\n", BAD),
    HTTP_ROW("SSH", "SSH-2.0-x\r\n", BAD),
    HTTP_ROW("SOCKS", "\x05\x01\x00", BAD),
};

static const struct http_row target_rows[] = {
    /* origin-form: 9112 §3.2.1, 3986 §3.3 */
    HTTP_ROW("9112 §3.2.1: path and query", LINE("GET /ok?a=/?b HTTP/1.1"), "200:ok"),
    HTTP_ROW("9112 §3.2.1: an empty query", LINE("GET /ok? HTTP/1.1"), "200:ok"),
    HTTP_ROW("9112 §3.2.1: paths have case", LINE("GET /OK HTTP/1.1"), "404"),
    HTTP_ROW("9112 §3.2.1: two slashes are a path", LINE("GET //ok HTTP/1.1"), "404"),
    HTTP_ROW("9112 §3.2: no slash", LINE("GET ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3.2: a query alone", LINE("GET ?a HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §4.2.5: a fragment", LINE("GET /ok#a HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §4.2.5: a fragment behind the query", LINE("GET /ok?a#b HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §2: NUL", LINE("GET /ok\0 HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §2: a control", LINE("GET /ok\x01 HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §2: DEL", LINE("GET /ok\x7f HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §2: beyond ASCII", LINE("GET /\xc3\xa4 HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §2: beyond ASCII, in the query", LINE("GET /ok?\xff HTTP/1.1") OK, BAD),
    /* browsers send these as they are, so they are not refused, although 3986 §2 leaves them out */
    HTTP_ROW("not 3986 §2: marks in the query", LINE("GET /ok?\"<>\\^`{|} HTTP/1.1"), "200:ok"),
    /* absolute-form: 9112 §3.2.2 */
    HTTP_ROW("9112 §3.2.2: absolute", LINE("GET http://a/ok?b HTTP/1.1"), "200:ok"),
    HTTP_ROW("9110 §4.2.1: no path is '/'", LINE("GET http://a HTTP/1.1"), "200:hello"),
    HTTP_ROW("9110 §4.2.1: no path, but a query", LINE("GET http://a?b HTTP/1.1"), "200:hello"),
    HTTP_ROW("9110 §4.2.3: schemes have no case", LINE("GET HTTP://A:80/ok HTTP/1.1"), "200:ok"),
    HTTP_ROW("9112 §3.2.2: the target's host wins", LINE("GET http://b:81/host HTTP/1.1") LINE("GET /host HTTP/1.1"),
             "200:b:81 200:a"),
    HTTP_ROW("9112 §3.2.2: Host must be there all the same", FIELDS("") "GET http://a/ok HTTP/1.1\r\n\r\n", BAD),
    HTTP_ROW("9112 §3.2: and be valid", "GET http://a/ok HTTP/1.1\r\nHost: a b\r\n\r\n" OK, BAD),
    HTTP_ROW("9110 §4.2.4: user information", LINE("GET http://u@a/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §4.2.4: and a password", LINE("GET http://u:p@a/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §4.2.1: no host", LINE("GET http:///ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §4.2.1: a port without a host", LINE("GET http://:80/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §3.2.3: a port of letters", LINE("GET http://a:8o/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §3.2.3: a port beyond 65535", LINE("GET http://a:65536/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §3.2.2: an open bracket", LINE("GET http://[::1/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §4.2: another scheme", LINE("GET ftp://a/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("3986 §3: one slash", LINE("GET http:/ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3.2.2: OPTIONS of an absolute target", LINE("OPTIONS http://a/ok HTTP/1.1"), "204"),
    /* authority-form: 9112 §3.2.3, 9110 §9.3.6 */
    HTTP_ROW("9110 §9.3.6: CONNECT is not for us", LINE("CONNECT a:80 HTTP/1.1") OK, "501 closed"),
    HTTP_ROW("9112 §3.2.3: CONNECT without a port", LINE("CONNECT a HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §9.3.6: CONNECT with an empty port", LINE("CONNECT a: HTTP/1.1") OK, BAD),
    HTTP_ROW("9110 §9.3.6: CONNECT with a bad port", LINE("CONNECT a:65536 HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3.2.3: CONNECT with a path", LINE("CONNECT /ok HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3.2.3: CONNECT with an absolute target", LINE("CONNECT http://a:80 HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3.2.3: an authority is for CONNECT", LINE("GET a:80 HTTP/1.1") OK, BAD),
    /* asterisk-form: 9112 §3.2.4, 9110 §9.3.7 */
    HTTP_ROW("9110 §9.3.7: OPTIONS *", LINE("OPTIONS * HTTP/1.1") OK, "204 200:ok"),
    HTTP_ROW("9112 §3.2.4: the asterisk is for OPTIONS", LINE("GET * HTTP/1.1") OK, BAD),
    HTTP_ROW("9112 §3.2.4: and stands alone", LINE("OPTIONS *?a HTTP/1.1") OK, BAD),
};

static const struct http_row host_rows[] = {
    /* 9112 §3.2, 9110 §7.2; more in test_host.c */
    HTTP_ROW("9112 §3.2: none", FIELDS("X: y\r\n") OK, BAD),
    HTTP_ROW("9112 §3.2: none, 1.2", "GET /ok HTTP/1.2\r\n\r\n" OK, BAD),
    HTTP_ROW("9112 §3.2: two", FIELDS(H "Host: b\r\n") OK, BAD),
    HTTP_ROW("9112 §3.2: two, the same", FIELDS(H H) OK, BAD),
    HTTP_ROW("9112 §3.2: two, with different case", FIELDS(H "hOsT: a\r\n") OK, BAD),
    HTTP_ROW("9112 §3.2: two in 1.0", "GET /ok HTTP/1.0\r\n" H H "\r\n" OK, BAD),
    HTTP_ROW("9112 §3.2: invalid in 1.0", "GET /ok HTTP/1.0\r\nHost: a b\r\n\r\n" OK, BAD),
    HTTP_ROW("9110 §7.2: empty", HOST(""), "200:ok"),
    HTTP_ROW("9110 §7.2: with a port", HOST("a.b:8080"), "200:ok"),
    HTTP_ROW("9110 §7.2: a list", HOST("a, b") OK, BAD),
    HTTP_ROW("9110 §7.2: a list without blanks", HOST("a,b") OK, BAD),
    HTTP_ROW("9110 §7.2: user information", HOST("u@a") OK, BAD),
    HTTP_ROW("9110 §7.2: a path", HOST("a/b") OK, BAD),
    HTTP_ROW("9110 §7.2: a whole URI", HOST("http://a") OK, BAD),
    HTTP_ROW("3986 §3.2.3: a port of letters", HOST("a:x") OK, BAD),
    HTTP_ROW("3986 §3.2.3: a port beyond 65535", HOST("a:65536") OK, BAD),
    HTTP_ROW("3986 §3.2.3: two ports", HOST("a:1:2") OK, BAD),
    HTTP_ROW("3986 §3.2.2: IPv6", HOST("[2001:db8::1]:80"), "200:ok"),
    HTTP_ROW("3986 §3.2.2: IPv6 without brackets", HOST("2001:db8::1") OK, BAD),
    HTTP_ROW("3986 §3.2.2: IPv6 with two gaps", HOST("[1::2::3]") OK, BAD),
    HTTP_ROW("3986 §3.2.2: no IPv6 in brackets", HOST("[a]") OK, BAD),
    HTTP_ROW("3986 §2.1: a half escape", HOST("a%2") OK, BAD),
};

static const struct http_row field_rows[] = {
    /* 9112 §5, 9110 §5.5, §5.6 */
    HTTP_ROW("9112 §5: blanks and tabs around a value", HOST("\t a \t ") OK, "200:ok 200:ok"),
    HTTP_ROW("9112 §5: no blank, no value", WITH("X:\r\nY: \t\r\n") OK, "200:ok 200:ok"),
    HTTP_ROW("9110 §5.5: tabs and bytes beyond ASCII in a value", WITH("X: a\tb \x80\xff\r\n"), "200:ok"),
    HTTP_ROW("9112 §5.1: a blank before the colon", WITH("X : y\r\n") OK, BAD),
    HTTP_ROW("9112 §5.1: a tab before the colon", WITH("X\t: y\r\n") OK, BAD),
    HTTP_ROW("9112 §5.1: a blank before Host's colon", FIELDS("Host : a\r\n") OK, BAD),
    HTTP_ROW("9112 §5.2: obs-fold by a blank", WITH("X: y\r\n z\r\n") OK, BAD),
    HTTP_ROW("9112 §5.2: obs-fold by a tab", WITH("X: y\r\n\tz\r\n") OK, BAD),
    HTTP_ROW("9112 §5.2: obs-fold of nothing", WITH("X: y\r\n \r\n") OK, BAD),
    HTTP_ROW("9110 §5.6.2: a name is a token", WITH("X(: y\r\n") OK, BAD),
    HTTP_ROW("9110 §5.6.2: an empty name", WITH(": y\r\n") OK, BAD),
    HTTP_ROW("9110 §5.6.2: a blank in a name", WITH("X Y: z\r\n") OK, BAD),
    HTTP_ROW("9110 §5.6.2: a name beyond ASCII", WITH("\xc3\xa4: y\r\n") OK, BAD),
    HTTP_ROW("9112 §5: no colon", WITH("X\r\n") OK, BAD),
    HTTP_ROW("9110 §5.5: NUL in a value", WITH("X: y\0z\r\n") OK, BAD),
    HTTP_ROW("9110 §5.5: NUL in a name", WITH("X\0: y\r\n") OK, BAD),
    HTTP_ROW("9110 §5.5: a control in a value", WITH("X: \x0b\r\n") OK, BAD),
    HTTP_ROW("9110 §5.5: DEL in a value", WITH("X: \x7f\r\n") OK, BAD),
    NARROW("9110 §5.4: as many fields as the limit", FIELDS(H "X: 1\r\nX: 2\r\nX: 3\r\n") OK, "200:ok 200:ok"),
    NARROW("9110 §5.4: one more is 431", FIELDS(H "X: 1\r\nX: 2\r\nX: 3\r\nX: 4\r\n") OK, "431 closed"),
    NARROW("9110 §5.4: as many bytes as the limit",
           FIELDS(H "X: 23456789012345678901234567890123456789012345678901\r\n") OK, "200:ok 200:ok"),
    NARROW("9110 §5.4: one more is 431",
           FIELDS(H "X: 234567890123456789012345678901234567890123456789012\r\n") OK, "431 closed"),
    NARROW("9110 §5.4: 431 before the end is there",
           OK "GET /ok HTTP/1.1\r\n" H "X: 23456789012345678901234567890123456789012345678901234", "200:ok 431 closed"),
};

static const struct http_row length_rows[] = {
    /* 9110 §8.6, 9112 §6.2 */
    HTTP_ROW("9110 §8.6: digits", LENGTH("5", "hello") OK, "200:hello 200:ok"),
    HTTP_ROW("9110 §8.6: zeros before them", LENGTH("0005", "hello") OK, "200:hello 200:ok"),
    HTTP_ROW("9110 §8.6: many zeros before them", LENGTH("0000000000000000000000005", "hello") OK, "200:hello 200:ok"),
    HTTP_ROW("9110 §8.6: blanks around them", LENGTH(" \t5 \t", "hello") OK, "200:hello 200:ok"),
    HTTP_ROW("9110 §8.6: none", LENGTH("", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: a plus", LENGTH("+5", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: a minus", LENGTH("-5", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: hex", LENGTH("0x5", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: a fraction", LENGTH("5.0", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: an exponent", LENGTH("5e0", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: a blank between", LENGTH("5 5", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: quotes", LENGTH("\"5\"", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: digits of another script", LENGTH("\xd9\xa5", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: 2^64", LENGTH("18446744073709551616", "hello") OK, BAD),
    HTTP_ROW("9110 §8.6: 2^64 and 5", LENGTH("18446744073709551621", "hello") OK, BAD),
    HTTP_ROW("9112 §6.3 (5): a list of equal ones", LENGTH("5, 5", "hello") OK, BAD),
    HTTP_ROW("9112 §6.3 (5): a list of different ones", LENGTH("5, 6", "hello") OK, BAD),
    HTTP_ROW("9112 §6.3 (5): two equal ones", POST("Content-Length: 5\r\nContent-Length: 5\r\n", "hello") OK, BAD),
    HTTP_ROW("9112 §6.3 (5): two different ones", POST("Content-Length: 5\r\nContent-Length: 0\r\n", "hello") OK, BAD),
    HTTP_ROW("9112 §6.3 (5): hidden behind a blank", POST("Content-Length : 5\r\n", "hello") OK, BAD),
    HTTP_ROW("9112 §6.3 (7): none is no body", "POST /echo HTTP/1.1\r\n" H "\r\n" OK, "200 200:ok"),
    HTTP_ROW("9110 §9.3.1: a body for GET is no request", "GET /ok HTTP/1.1\r\n" H "Content-Length: 34\r\n\r\n"
             GET("/nothing") OK, "200:ok 200:ok"),
    NARROW("9110 §15.5.14: as long as the limit", LENGTH("16", "0123456789012345") OK, "200:0123456789012345 200:ok"),
    NARROW("9110 §15.5.14: one more is 413", LENGTH("17", "01234567890123456") OK, "413 closed"),
    NARROW("9110 §15.5.14: before the body is there", OK LENGTH("17", ""), "200:ok 413 closed"),
    NARROW("9110 §15.5.14: chunks beyond the limit", CHUNKS("8\r\n01234567\r\n9\r\n012345678\r\n" LAST) OK, "413 closed"),
    /* a route that takes none reads and drops it, within the limit */
    NARROW("9112 §9.3: a body that nobody wants", "PUT /drop HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc" OK, "200:3/0 200:ok"),
    NARROW("9112 §9.3: a body that nobody wants, 404", "PUT /no HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc" OK, "404 200:ok"),
    NARROW("9112 §9.3: beyond the limit", "PUT /no HTTP/1.1\r\n" H "Content-Length: 17\r\n\r\nabc" OK, "404 closed"),
};

static const struct http_row coding_rows[] = {
    /* 9112 §6.1, §6.3, §7 */
    HTTP_ROW("9112 §6.1: chunked", CHUNKS("5\r\nhello\r\n" LAST) OK, "200:hello 200:ok"),
    HTTP_ROW("9112 §7: codings have no case", CODING("cHuNkEd", "5\r\nhello\r\n" LAST) OK, "200:hello 200:ok"),
    HTTP_ROW("9112 §5: blanks around it", CODING(" \tchunked\t ", "5\r\nhello\r\n" LAST) OK, "200:hello 200:ok"),
    HTTP_ROW("9112 §6.1: one that we don't know, then chunked", CODING("gzip, chunked", LAST) OK, "501 closed"),
    HTTP_ROW("9112 §6.3 (4): another name", CODING("xchunked", LAST) OK, BAD),
    HTTP_ROW("9112 §6.3 (4): identity", CODING("identity", LAST) OK, BAD),
    HTTP_ROW("9112 §6.3 (4): gzip", CODING("gzip", LAST) OK, BAD),
    HTTP_ROW("9112 §6.3 (4): chunked is not the last", CODING("chunked, identity", LAST) OK, BAD),
    HTTP_ROW("9112 §6.1: chunked twice", CODING("chunked, chunked", LAST) OK, BAD),
    HTTP_ROW("9112 §6.3 (4): nothing", CODING("", LAST) OK, BAD),
    HTTP_ROW("9110 §5.6.1: an empty element", CODING(", chunked", LAST) OK, BAD),
    HTTP_ROW("9112 §7: with a parameter", CODING("chunked;q=1", LAST) OK, BAD),
    HTTP_ROW("9112 §7: in quotes", CODING("\"chunked\"", LAST) OK, BAD),
    HTTP_ROW("9112 §7: behind a vertical tab", CODING("\x0b" "chunked", LAST) OK, BAD),
    HTTP_ROW("9112 §6.1: two fields", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", LAST) OK, BAD),
    HTTP_ROW("9112 §6.1: two fields, one unknown", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", LAST) OK, BAD),
    HTTP_ROW("9112 §5.1: hidden behind a blank", POST("Transfer-Encoding : chunked\r\n", LAST) OK, BAD),
    HTTP_ROW("9112 §5.2: hidden behind a fold", POST("Transfer-Encoding:\r\n chunked\r\n", LAST) OK, BAD),
    HTTP_ROW("9112 §2.2: hidden behind LF", POST("X: y\nTransfer-Encoding: chunked\r\n", LAST) OK, BAD),
    HTTP_ROW("9112 §6.1: CL.TE", POST("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", LAST "G") OK, BAD),
    HTTP_ROW("9112 §6.1: TE.CL", POST("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "1\r\nG\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §6.1: TE and an invalid CL", POST("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", LAST) OK, BAD),
    HTTP_ROW("9112 §6.1: in 1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" LAST OK, BAD),
    HTTP_ROW("9112 §6.1: in 1.0 with keep-alive",
             "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" LAST OK, BAD),
};

static const struct http_row chunk_rows[] = {
    /* 9112 §7.1: chunk-size */
    HTTP_ROW("9112 §7.1: hex digits of both cases", CHUNKS("a\r\n0123456789\r\nB\r\n0123456789a\r\n" LAST), "200:01234567890123456789a"),
    HTTP_ROW("9112 §7.1: zeros before them", CHUNKS("0000000000000005\r\nhello\r\n000\r\n\r\n") OK, "200:hello 200:ok"),
    HTTP_ROW("9112 §7.1: not any number of zeros", CHUNKS("00000000000000005\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: 2^64", CHUNKS("10000000000000000\r\n") OK, BAD),
    HTTP_ROW("9112 §7.1: 2^64 and 5", CHUNKS("10000000000000005\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: none", CHUNKS("\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: a plus", CHUNKS("+5\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: a minus", CHUNKS("-5\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: 0x", CHUNKS("0x5\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: a letter behind it", CHUNKS("5g\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: a blank before it", CHUNKS(" 5\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: a blank behind it", CHUNKS("5 \r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: a tab behind it", CHUNKS("5\t\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: NUL behind it", CHUNKS("5\0\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: a word behind it", CHUNKS("5 x\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: underscores", CHUNKS("0_5\r\nhello\r\n" LAST) OK, BAD),
    /* line ends */
    HTTP_ROW("9112 §7.1: LF behind the size", CHUNKS("5\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: CR behind the size", CHUNKS("5\rhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: LF behind the data", CHUNKS("5\r\nhello\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: CR behind the data", CHUNKS("5\r\nhello\r" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: nothing behind the data", CHUNKS("5\r\nhello" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: data longer than its size", CHUNKS("4\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: data shorter than its size", CHUNKS("6\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1: LF behind the last size", CHUNKS("5\r\nhello\r\n0\n\r\n") OK, BAD),
    HTTP_ROW("9112 §7.1: LF at the end", CHUNKS("5\r\nhello\r\n0\r\n\n") OK, BAD),
    HTTP_ROW("9112 §7.1: CR at the end", CHUNKS("5\r\nhello\r\n0\r\n\r") OK, BAD),
    HTTP_ROW("9112 §7.1: a request in the place of the end", CHUNKS("5\r\nhello\r\n0\r\n") OK, BAD),
    /* chunk-ext: 9112 §7.1.1 */
    HTTP_ROW("9112 §7.1.1: extensions mean nothing to us", CHUNKS("5;a;b=c;d=\"e\\\"\"\r\nhello\r\n0;f\r\n\r\n") OK, "200:hello 200:ok"),
    HTTP_ROW("9112 §7.1.1: blanks around ';' and '='", CHUNKS("5 ; a = b\t;c\r\nhello\r\n" LAST) OK, "200:hello 200:ok"),
    HTTP_ROW("9112 §7.1.1: no name", CHUNKS("5;\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1.1: no value", CHUNKS("5;a=\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1.1: LF in one", CHUNKS("5;a\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1.1: LF in quotes", CHUNKS("5;a=\"\n\"\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1.1: CR in one", CHUNKS("5;a\rb\r\nhello\r\n" LAST) OK, BAD),
    HTTP_ROW("9112 §7.1.1: an open quote", CHUNKS("5;a=\"b\r\nhello\r\n" LAST) OK, BAD),
    NARROW("9112 §7.1.1: not any number of bytes",
           CHUNKS("1;01234567890123456789012345678901234567890123456789012345678901234\r\nx\r\n" LAST) OK, BAD),
    NARROW("9112 §7.1.1: not any number of bytes in all",
           CHUNKS("1;0123456789012345\r\nx\r\n1;0123456789012345\r\nx\r\n1;0123456789012345\r\nx\r\n"
                  "1;0123456789012345\r\nx\r\n" LAST) OK, BAD),
    /* trailer-section: 9112 §7.1.2 */
    HTTP_ROW("9112 §7.1.2: trailers are dropped", CHUNKS("5\r\nhello\r\n0\r\nA: b\r\nC:\r\n\r\n") OK, "200:hello 200:ok"),
    HTTP_ROW("9110 §6.5.1: a length in a trailer means nothing", CHUNKS("0\r\nContent-Length: 100\r\n\r\n") OK, "200 200:ok"),
    HTTP_ROW("9110 §6.5.1: nor does a coding", CHUNKS("0\r\nTransfer-Encoding: chunked\r\n\r\n") OK, "200 200:ok"),
    HTTP_ROW("9110 §6.5.1: nor does close", CHUNKS("0\r\nConnection: close\r\n\r\n") OK, "200 200:ok"),
    HTTP_ROW("9112 §7.1.2: no colon", CHUNKS("0\r\nA\r\n\r\n") OK, BAD),
    HTTP_ROW("9112 §7.1.2: no name", CHUNKS("0\r\n: b\r\n\r\n") OK, BAD),
    HTTP_ROW("9112 §7.1.2: a blank before the colon", CHUNKS("0\r\nA : b\r\n\r\n") OK, BAD),
    HTTP_ROW("9112 §7.1.2: obs-fold", CHUNKS("0\r\nA: b\r\n c\r\n\r\n") OK, BAD),
    HTTP_ROW("9112 §7.1.2: LF", CHUNKS("0\r\nA: b\n\r\n") OK, BAD),
    HTTP_ROW("9112 §7.1.2: CR", CHUNKS("0\r\nA: b\rc\r\n\r\n") OK, BAD),
    HTTP_ROW("9112 §7.1.2: NUL", CHUNKS("0\r\nA: \0\r\n\r\n") OK, BAD),
    NARROW("9112 §7.1.2: as many as the limit", CHUNKS("0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n") OK, "200 200:ok"),
    NARROW("9112 §7.1.2: one more is 431", CHUNKS("0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n\r\n") OK, "431 closed"),
    NARROW("9112 §7.1.2: each body counts anew", CHUNKS("0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n") CHUNKS("0\r\nA: 1\r\nB: 2\r\n\r\n"),
           "200 200"),
    NARROW("9112 §7.1.2: not any number of bytes",
           CHUNKS("0\r\nA: 0123456789012345678901234567890123456789012345678901234567890123\r\n\r\n") OK, "431 closed"),
};

#define GET10(fields) "GET /ok HTTP/1.0\r\n" fields "\r\n"
#define CONNECTION(value) WITH("Connection: " value "\r\n")

static const struct http_row connection_rows[] = {
    /* 9112 §9.3, §9.6; 9110 §7.6.1 */
    HTTP_ROW("9112 §9.3: 1.1 goes on", OK OK, "200:ok 200:ok"),
    HTTP_ROW("9112 §9.6: close", CONNECTION("close") OK, "200:ok closed"),
    HTTP_ROW("9110 §7.6.1: options have no case", CONNECTION("CLOSE") OK, "200:ok closed"),
    HTTP_ROW("9110 §7.6.1: a list", CONNECTION("keep-alive, close") OK, "200:ok closed"),
    HTTP_ROW("9110 §7.6.1: a list, the other way", CONNECTION("close,keep-alive") OK, "200:ok closed"),
    HTTP_ROW("9110 §5.6.1: a list with empty elements", CONNECTION(",, x ,\tclose\t,") OK, "200:ok closed"),
    HTTP_ROW("9110 §5.3: two fields are one list", WITH("Connection: x\r\nConnection: close\r\n") OK, "200:ok closed"),
    HTTP_ROW("9110 §7.6.1: whole options only", CONNECTION("closed, x-close, clos") OK, "200:ok 200:ok"),
    HTTP_ROW("9112 §9.3: keep-alive says nothing to 1.1", CONNECTION("keep-alive") OK, "200:ok 200:ok"),
    HTTP_ROW("9112 §9.3: 1.0 ends", GET10("") OK, "200:ok closed"),
    HTTP_ROW("9112 §9.3: 1.0 with keep-alive goes on", GET10("Connection: keep-alive\r\n") OK, "200:ok 200:ok"),
    HTTP_ROW("9112 §9.3: which has no case", GET10("Connection: x, Keep-Alive\r\n") OK, "200:ok 200:ok"),
    HTTP_ROW("9112 §9.3: 1.0 with both ends", GET10("Connection: keep-alive, close\r\n") OK, "200:ok closed"),
    HTTP_ROW("9112 §9.3: another field does not count", GET10("Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\n") OK, "200:ok closed"),
    HTTP_ROW("9112 §9.6: nothing behind close is read", CONNECTION("close") "\x16\x03", "200:ok closed"),
    HTTP_ROW("9112 §9.6: close and 404", "GET /no HTTP/1.1\r\n" H "Connection: close\r\n\r\n" OK, "404 closed"),
    HTTP_ROW("9112 §9.6: close and a body", POST("Connection: close\r\nContent-Length: 2\r\n", "hi") OK, "200:hi closed"),
    HTTP_ROW("9112 §9.6: close behind others", GET("/park/1") CONNECTION("close") OK, "200:parked 1 200:ok closed"),
    /* answered while the body comes, then refused: the head can't know it before */
    HTTP_ROW("9112 §9.6: an answer before the body's end", "POST /early HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello" OK,
             "200:early closed"),
    HTTP_ROW("9112 §9.6: an answer before the body's end, 1.0",
             "POST /early HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello" OK, "200:early closed"),
    HTTP_ROW("9112 §9.6: behind others", GET("/park/1") "POST /early HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello" OK,
             "200:parked 1 200:early closed"),
    HTTP_ROW("9112 §9.3: an answer before the body's end, all read", "POST /answer HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello" OK,
             "200:early 200:ok"),
    HTTP_ROW("9112 §9.3: a response that is streamed while the body comes",
             "POST /mirror HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello" OK, "200:hello 200:ok"),
    HTTP_ROW("9112 §9.3: behind others, in chunks", GET("/park/1")
             "POST /mirror HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n" LAST OK,
             "200:parked 1 200:hello 200:ok"),
    HTTP_ROW("9112 §9.6: streamed, then the framing breaks", "POST /mirror HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
             "5\r\nhello\r\nx" OK, BAD),
    HTTP_ROW("9112 §9.6: answered, then the framing breaks", "POST /answer HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
             "5\r\nhello\r\nx" OK, BAD),
    /* pipelining: 9112 §9.3.2 */
    HTTP_ROW("9112 §9.3.2: in order", GET("/park/1") OK GET("/park/2") OK, "200:parked 1 200:ok 200:parked 2 200:ok"),
    HTTP_ROW("9112 §9.3.2: what is good is answered first", OK GET("/no") OK "x\r\n" OK, "200:ok 404 200:ok 400 closed"),
    HTTP_ROW("9112 §9.3.2: also when it is parked", GET("/park/1") OK "\0" OK, "200:parked 1 200:ok 400 closed"),
    HTTP_ROW("9112 §9.3.2: a bad body behind good requests", OK CHUNKS("x\r\n") OK, "200:ok 400 closed"),
};

static const struct http_row method_rows[] = {
    /* 9110 §9.3, §15.5.6 */
    HTTP_ROW("9110 §9.3.2: HEAD is GET without the content", LINE("HEAD /ok HTTP/1.1") OK, "200(2) 200:ok"),
    HTTP_ROW("9110 §9.3.2: HEAD of a streamed response", LINE("HEAD /stream/9 HTTP/1.1") OK, "200(chunked) 200:ok"),
    HTTP_ROW("9110 §9.3.2: HEAD of what is not there", LINE("HEAD /no HTTP/1.1") OK, "404(10) 200:ok"),
    HTTP_ROW("9110 §9.3.2: HEAD where there is no GET", LINE("HEAD /echo HTTP/1.1") OK, "405(19) 200:ok"),
    HTTP_ROW("9110 §15.5.6: 405", LINE("DELETE /ok HTTP/1.1") OK, "405 200:ok"),
    HTTP_ROW("9110 §9.3.8: TRACE", LINE("TRACE /ok HTTP/1.1") OK, "405 200:ok"),
    HTTP_ROW("9110 §9.3.7: OPTIONS", LINE("OPTIONS /ok HTTP/1.1") OK, "204 200:ok"),
    HTTP_ROW("9110 §9.3.7: OPTIONS of one's own", LINE("OPTIONS /own HTTP/1.1") OK, "200:ok 200:ok"),
    HTTP_ROW("9110 §9.3.7: OPTIONS of what is not there", LINE("OPTIONS /no HTTP/1.1") OK, "404 200:ok"),
    HTTP_ROW("9110 §9.3.7: OPTIONS with a body", "OPTIONS /ok HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi" OK, "204 200:ok"),
    HTTP_ROW("9110 §15.5.5: 404", LINE("GET /no HTTP/1.1") OK, "404 200:ok"),
    /* streamed responses: 9112 §6.1, §7.1 */
    HTTP_ROW("9112 §7.1: a streamed response", GET("/stream/30") GET("/stream/0") OK,
             "200:012345678901234567890123456789 200 200:ok"),
    HTTP_ROW("9112 §8: one that is cut ends the connection", GET("/park/1") GET("/cut/9") OK, "200:parked 1 200:012345678 CUT closed"),
    HTTP_ROW("9112 §6.3 (8): to 1.0 it ends with the connection", "GET /stream/9 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" OK,
             "200:012345678 closed"),
    /* 9110 §10.1.1; whether 100 comes depends on what has arrived: test_body.c */
    HTTP_ROW("9110 §10.1.1: another expectation", WITH("Expect: tea\r\n") OK, "417 closed"),
    HTTP_ROW("9110 §10.1.1: another one beside it", WITH("Expect: 100-continue, tea\r\n") OK, "417 closed"),
    HTTP_ROW("9110 §10.1.1: without a body nothing is owed", WITH("Expect: 100-continue\r\n") OK, "200:ok 200:ok"),
    HTTP_ROW("9110 §10.1.1: 1.0 expects nothing",
             "POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "200:hi closed"),
    HTTP_ROW("9110 §10.1.1: not even tea", GET10("Expect: tea\r\n"), "200:ok closed"),
    HTTP_ROW("9110 §10.1.1: a final answer in the place of 100",
             "POST /no HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", "404 closed"),
};

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, http_row_test, line_rows);
    ROWS_ADD(&rows, http_row_test, target_rows);
    ROWS_ADD(&rows, http_row_test, host_rows);
    ROWS_ADD(&rows, http_row_test, field_rows);
    ROWS_ADD(&rows, http_row_test, length_rows);
    ROWS_ADD(&rows, http_row_test, coding_rows);
    ROWS_ADD(&rows, http_row_test, chunk_rows);
    ROWS_ADD(&rows, http_row_test, connection_rows);
    ROWS_ADD(&rows, http_row_test, method_rows);
    return rows_run("rules", &rows);
}
