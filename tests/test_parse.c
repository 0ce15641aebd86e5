#include "guard.h"
#include "http/parse.h"
#include "random.h"
#include "rows.h"

static const struct http_limits usual = { 8192, 16384, 100, 64, 1 << 20 };
static const struct http_limits small = { 32, 48, 3, 64, 1 << 20 };

#define HOST "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n"

/* ------------------------------------------------------------------------------------------------- good heads ---- */

struct good_row {
    const char *name;
    const char *head; /* and what follows it, behind "|" */
    const char *facts;
};

/* method, HTTP/1.minor, path, ?query, the properties that framing depends on, then the fields */
static const struct good_row good_rows[] = {
    { "plain", GET HOST "\r\n", "GET 1 / keep [Host=a]" },
    { "next request behind it", GET HOST "\r\n|GET / HTTP/1.1\r\n", "GET 1 / keep [Host=a]" },
    { "body behind it", "POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n|hi",
      "POST 1 / keep length=2 [Host=a][Content-Length=2]" },
    /* RFC 9110 §9.1: methods */
    { "HEAD", "HEAD / HTTP/1.1\r\n" HOST "\r\n", "HEAD 1 / keep [Host=a]" },
    { "PUT", "PUT /x HTTP/1.1\r\n" HOST "\r\n", "PUT 1 /x keep [Host=a]" },
    { "DELETE", "DELETE /x HTTP/1.1\r\n" HOST "\r\n", "DELETE 1 /x keep [Host=a]" },
    { "PATCH", "PATCH /x HTTP/1.1\r\n" HOST "\r\n", "PATCH 1 /x keep [Host=a]" },
    { "TRACE", "TRACE /x HTTP/1.1\r\n" HOST "\r\n", "TRACE 1 /x keep [Host=a]" },
    { "unknown method", "BREW /pot HTTP/1.1\r\n" HOST "\r\n", "BREW? 1 /pot keep [Host=a]" },
    { "methods have case", "get / HTTP/1.1\r\n" HOST "\r\n", "get? 1 / keep [Host=a]" },
    { "method of odd tokens", "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\n" HOST "\r\n",
      "!#$%&'*+-.^_`|~09azAZ? 1 / keep [Host=a]" },
    { "method of one letter", "G / HTTP/1.1\r\n" HOST "\r\n", "G? 1 / keep [Host=a]" },
    /* RFC 9112 §3.2.1: origin-form */
    { "path and query", "GET /a/b?c=d&e HTTP/1.1\r\n" HOST "\r\n", "GET 1 /a/b ?c=d&e keep [Host=a]" },
    { "empty query", "GET /a? HTTP/1.1\r\n" HOST "\r\n", "GET 1 /a keep [Host=a]" },
    { "'?' in the query", "GET /a?b?c?? HTTP/1.1\r\n" HOST "\r\n", "GET 1 /a ?b?c?? keep [Host=a]" },
    { "long path", "GET /0123456789012345678901234567890123456789012345678901234567890123456789?x HTTP/1.1\r\n"
      HOST "\r\n",
      "GET 1 /0123456789012345678901234567890123456789012345678901234567890123456789 ?x keep [Host=a]" },
    { "all of a target", "GET /!$%&'()*+,-./:;<=>@[]^_`{|}~\"\\ HTTP/1.1\r\n" HOST "\r\n",
      "GET 1 /!$%&'()*+,-./:;<=>@[]^_`{|}~\"\\ keep [Host=a]" },
    { "two slashes", "GET //a HTTP/1.1\r\n" HOST "\r\n", "GET 1 //a keep [Host=a]" },
    /* RFC 9112 §3.2.2: absolute-form must be accepted */
    { "absolute", "GET http://h/p?q HTTP/1.1\r\n" HOST "\r\n", "GET 1 /p ?q keep [Host=h]" },
    { "absolute, no path", "GET http://h:80 HTTP/1.1\r\n" HOST "\r\n", "GET 1 / keep [Host=h:80]" },
    { "absolute, query only", "GET HTTPS://h?q HTTP/1.1\r\n" HOST "\r\n", "GET 1 / ?q keep [Host=h]" },
    { "absolute, IPv6", "GET http://[::1]:80/ HTTP/1.1\r\n" HOST "\r\n", "GET 1 / keep [Host=[::1]:80]" },
    /* RFC 9112 §3.2.4: asterisk-form */
    { "asterisk", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS 1 * keep [Host=a]" },
    { "OPTIONS of a path", "OPTIONS /x HTTP/1.1\r\n" HOST "\r\n", "OPTIONS 1 /x keep [Host=a]" },
    /* RFC 9112 §2.3, RFC 9110 §2.5: versions */
    { "1.0", "GET / HTTP/1.0\r\n\r\n", "GET 0 / close" },
    { "1.0 with Host", "GET / HTTP/1.0\r\n" HOST "\r\n", "GET 0 / close [Host=a]" },
    { "a later minor version", "GET / HTTP/1.9\r\n" HOST "\r\n", "GET 9 / keep [Host=a]" },
    /* RFC 9112 §2.2: one empty line before the request line */
    { "empty line first", "\r\n" GET HOST "\r\n", "GET 1 / keep [Host=a]" },
    /* RFC 9112 §9.3, RFC 9110 §7.6.1: persistence */
    { "close", GET HOST "Connection: close\r\n\r\n", "GET 1 / close [Host=a][Connection=close]" },
    { "keep-alive", GET HOST "Connection: keep-alive\r\n\r\n", "GET 1 / keep [Host=a][Connection=keep-alive]" },
    { "close has no case", GET HOST "cOnNeCtIoN: cLoSe\r\n\r\n", "GET 1 / close [Host=a][cOnNeCtIoN=cLoSe]" },
    { "1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET 0 / keep [Connection=Keep-Alive]" },
    { "1.0 both", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
      "GET 0 / close [Connection=keep-alive, close]" },
    { "close wins in a list", GET HOST "Connection: keep-alive, close\r\n\r\n",
      "GET 1 / close [Host=a][Connection=keep-alive, close]" },
    { "close wins over a later field", GET HOST "Connection: close\r\nConnection: keep-alive\r\n\r\n",
      "GET 1 / close [Host=a][Connection=close][Connection=keep-alive]" },
    { "close among others", GET HOST "Connection: x-y ,\tclose\t,, upgrade\r\n\r\n",
      "GET 1 / close [Host=a][Connection=x-y ,\tclose\t,, upgrade]" },
    { "no close", GET HOST "Connection: closed, x-close, close x\r\n\r\n",
      "GET 1 / keep [Host=a][Connection=closed, x-close, close x]" },
    { "empty Connection", GET HOST "Connection:\r\n\r\n", "GET 1 / keep [Host=a][Connection=]" },
    /* RFC 9112 §5: fields */
    { "no blank", GET "Host:a\r\n\r\n", "GET 1 / keep [Host=a]" },
    { "many blanks", GET "Host: \t  a \t \r\n\r\n", "GET 1 / keep [Host=a]" },
    { "empty value", GET HOST "X:\r\nY: \t\r\n\r\n", "GET 1 / keep [Host=a][X=][Y=]" },
    { "obs-text", GET HOST "X: \x80\xff\r\n\r\n", "GET 1 / keep [Host=a][X=\x80\xff]" },
    { "colons, quotes, tabs", GET HOST "X: a:b \"c\"\t,d\r\n\r\n", "GET 1 / keep [Host=a][X=a:b \"c\"\t,d]" },
    { "name of odd tokens", GET HOST "!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n",
      "GET 1 / keep [Host=a][!#$%&'*+-.^_`|~09azAZ=x]" },
    { "long value", GET HOST "X: 0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n\r\n",
      "GET 1 / keep [Host=a][X=0123456789012345678901234567890123456789012345678901234567890123456789012345]" },
    { "names that are nearly known",
      GET HOST "Hos: 1\r\nHost-: 1\r\nExpecx: 1\r\nExpxct: 1\r\nConnectiox: close\r\nContent-Lengtx: 1\r\n"
      "Transfer-Encodinx: 1\r\nXost: 1\r\nXontent-Length: z\r\nXransfer-Encoding: z\r\nTransfer-Xncoding: z\r\n"
      "Xonnection: close\r\n\r\n",
      "GET 1 / keep [Host=a][Hos=1][Host-=1][Expecx=1][Expxct=1][Connectiox=close][Content-Lengtx=1][Transfer-Encodinx=1]"
      "[Xost=1][Xontent-Length=z][Xransfer-Encoding=z][Transfer-Xncoding=z][Xonnection=close]" },
    { "a method that begins like another", "POSTS / HTTP/1.1\r\n" HOST "\r\n", "POSTS? 1 / keep [Host=a]" },
    /* RFC 9110 §7.2, RFC 3986 §3.2: Host */
    { "empty Host", GET "Host:\r\n\r\n", "GET 1 / keep [Host=]" },
    { "Host with port", GET "Host: a.b-c_~%20:8080\r\n\r\n", "GET 1 / keep [Host=a.b-c_~%20:8080]" },
    { "Host with an empty port", GET "Host: a:\r\n\r\n", "GET 1 / keep [Host=a:]" },
    { "Host IPv6", GET "Host: [2001:db8::1]:80\r\n\r\n", "GET 1 / keep [Host=[2001:db8::1]:80]" },
    { "Host IPv6 without port", GET "Host: [::1]\r\n\r\n", "GET 1 / keep [Host=[::1]]" },
    { "long Host", GET "Host: 0123456789.0123456789.0123456789.0123456789.0123456789.0123456789\r\n\r\n",
      "GET 1 / keep [Host=0123456789.0123456789.0123456789.0123456789.0123456789.0123456789]" },
    { "Host is not that of the target", "GET http://b/ HTTP/1.1\r\n" HOST "\r\n", "GET 1 / keep [Host=b]" },
    { "and stands first", "GET http://b:1?q HTTP/1.1\r\nX: y\r\nhOST: a\r\n\r\n", "GET 1 / ?q keep [X=y][hOST=b:1]" },
    { "1.0 needs no Host", "GET http://b/ HTTP/1.0\r\n\r\n", "GET 0 / close" },
    /* RFC 9112 §6: framing */
    { "length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n",
      "POST 1 / keep length=10 [Host=a][Content-Length=10]" },
    { "length 0", "POST / HTTP/1.1\r\n" HOST "CONTENT-LENGTH:0\r\n\r\n",
      "POST 1 / keep length=0 [Host=a][CONTENT-LENGTH=0]" },
    { "length with zeros", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0010\r\n\r\n",
      "POST 1 / keep length=10 [Host=a][Content-Length=0010]" },
    { "greatest length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n",
      "POST 1 / keep length=18446744073709551615 [Host=a][Content-Length=18446744073709551615]" },
    { "chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
      "POST 1 / keep chunked [Host=a][Transfer-Encoding=chunked]" },
    { "chunked has no case", "POST / HTTP/1.1\r\n" HOST "TRANSFER-encoding: CHUNKED\r\n\r\n",
      "POST 1 / keep chunked [Host=a][TRANSFER-encoding=CHUNKED]" },
    /* RFC 9110 §10.1.1 */
    { "expect", "POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
      "POST 1 / keep length=1 expect [Host=a][Expect=100-Continue][Content-Length=1]" },
    { "1.0 expects nothing", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
      "POST 0 / close length=1 [Expect=100-continue][Content-Length=1]" },
};

static size_t add(char *out, size_t len, struct span text) {
    memcpy(out + len, text.data, text.len);
    return len + text.len;
}

static void facts_of(const struct http_request *r, char *out) {
    size_t len = add(out, 0, http_span(r, r->method_text));
    len += (size_t)sprintf(out + len, "%s %d ", r->method == HTTP_METHOD_UNKNOWN ? "?" : "", r->version_minor);
    len = add(out, len, http_span(r, r->path));
    if (r->query.len > 0) {
        len = add(out, len, SPAN(" ?"));
        len = add(out, len, http_span(r, r->query));
    }
    len = add(out, len, r->keep_alive ? SPAN(" keep") : SPAN(" close"));
    if (r->has_length) {
        len += (size_t)sprintf(out + len, " length=%" PRIu64, r->content_length);
    }
    len = add(out, len, r->chunked ? SPAN(" chunked") : SPAN(""));
    len = add(out, len, r->expect_continue ? SPAN(" expect") : SPAN(""));
    len = add(out, len, r->field_count > 0 ? SPAN(" ") : SPAN(""));
    for (uint32_t i = 0; i < r->field_count; i++) {
        len = add(out, len, SPAN("["));
        len = add(out, len, http_span(r, r->fields[i].name));
        len = add(out, len, SPAN("="));
        len = add(out, len, http_span(r, r->fields[i].value));
        len = add(out, len, SPAN("]"));
    }
    out[len] = '\0';
}

static struct guard guard;
static struct http_request request;
static struct http_known_host known_host; /* kept from test to test: it must not matter */

/* Parses what came in pieces of `steps` bytes; each call sees the head at another address. Returns the result; *seen is how
 * many bytes it took to know it. */
static int parse_pieces(const struct http_limits *limits, struct span all, size_t first, size_t step, size_t *seen) {
    struct parse_at at = { 0 };
    memset(&request, 0xee, sizeof request);
    int result = PARSE_MORE;
    for (size_t len = first; result == PARSE_MORE; len += step) {
        len = len < all.len ? len : all.len;
        result = http_parse(&request, limits, &known_host, guard_copy(&guard, all.data, len), (uint32_t)len, &at);
        *seen = len;
        if (len == all.len) {
            break;
        }
    }
    return result;
}

static void check_good(const struct good_row *row, struct span all, size_t head_bytes, size_t first, size_t step) {
    char facts[4096];
    size_t seen;
    int result = parse_pieces(&usual, all, first, step, &seen);
    if (result != PARSE_OK) {
        fail_msg("%d after %zu bytes, cut at %zu, then by %zu", result, seen, first, step);
    }
    assert_int_equal(request.head_bytes, head_bytes);
    assert_true(seen >= head_bytes);
    facts_of(&request, facts);
    assert_string_equal(facts, row->facts);
}

/* Whole, at every cut, byte by byte. */
static void test_good(void **state) {
    const struct good_row *row = *state;
    char text[2048];
    const char *bar = strrchr(row->head, '|');
    bool marked = bar != NULL && bar > row->head && bar[-1] == '\n';
    size_t head_bytes = marked ? (size_t)(bar - row->head) : strlen(row->head);
    size_t len = head_bytes;
    memcpy(text, row->head, head_bytes);
    if (marked) {
        strcpy(text + head_bytes, bar + 1);
        len += strlen(bar + 1);
    }
    struct span all = span_of(text, len);
    check_good(row, all, head_bytes, len, 1);
    for (size_t cut = 0; cut < head_bytes; cut++) {
        check_good(row, all, head_bytes, cut, len);
    }
    check_good(row, all, head_bytes, 0, 1);
}

/* --------------------------------------------------------------------------------------------------- bad heads ---- */

struct bad_row {
    const char *name;
    struct span head;
    int status;
    const struct http_limits *limits;
};

#define BAD(name, head, status) { name, { head, sizeof(head) - 1 }, status, &usual }
#define TIGHT(name, head, status) { name, { head, sizeof(head) - 1 }, status, &small }
#define POST "POST / HTTP/1.1\r\n" HOST

static const struct bad_row bad_rows[] = {
    /* RFC 9112 §3: request-line = method SP request-target SP HTTP-version */
    BAD("no method", " / HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("two blanks before the target", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("two blanks behind the target", "GET /  HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("tab before the target", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("tab behind the target", "GET /\tHTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("blank before the line", " GET / HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("blank behind the line", "GET / HTTP/1.1 \r\n" HOST "\r\n", 400),
    BAD("blank in the target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("no target", "GET HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("empty target", "GET  HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("method of no token", "G@T / HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("method with colon", "GET: / HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("a single word", "GET\r\n\r\n", 400),
    BAD("one letter", "G\r\n\r\n", 400),
    BAD("two empty lines first", "\r\n\r\n" GET HOST "\r\n", 400),
    BAD("HTTP/0.9", "GET /\r\n\r\n", 400),
    /* §3.2: targets */
    BAD("target without slash", "GET a HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("asterisk is for OPTIONS", "GET * HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("asterisk and more", "OPTIONS *x HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("fragment", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("fragment in the query", "GET /a?b#c HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("target beyond ASCII", "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("query beyond ASCII", "GET /?\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("DEL in the target", "GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("absolute with user", "GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("absolute without host", "GET http:/// HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("absolute of another scheme", "GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("absolute with one slash", "GET http:/h HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("absolute cut short", "GET http: HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("absolute without slashes", "GET http:xxxx HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("absolute with a bad slash", "GET http:/xhost HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("absolute with a bad port", "GET http://h:8x/ HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("authority for GET", "GET h:80 HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("CONNECT", "CONNECT h:80 HTTP/1.1\r\n" HOST "\r\n", 501), /* RFC 9110 §9.3.6 */
    BAD("CONNECT without port", "CONNECT h HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("CONNECT with user", "CONNECT u@h:80 HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("CONNECT a path", "CONNECT /x HTTP/1.1\r\n" HOST "\r\n", 400),
    /* §2.3: versions */
    BAD("version 2", "GET / HTTP/2.0\r\n" HOST "\r\n", 505),
    BAD("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    BAD("version 0.9", "GET / HTTP/0.9\r\n" HOST "\r\n", 505),
    BAD("version in small letters", "GET / http/1.1\r\n" HOST "\r\n", 400),
    BAD("version of two digits", "GET / HTTP/1.10\r\n" HOST "\r\n", 400),
    BAD("version of one digit", "GET / HTTP/1\r\n" HOST "\r\n", 400),
    BAD("version without dot", "GET / HTTP/1,1\r\n" HOST "\r\n", 400),
    BAD("version with a letter", "GET / HTTP/1.x\r\n" HOST "\r\n", 400),
    BAD("version with another letter", "GET / HTTP/x.1\r\n" HOST "\r\n", 400),
    BAD("another protocol", "GET / HTPP/1.1\r\n" HOST "\r\n", 400),
    BAD("protocol run together", "GET /HTTP/1.1\r\n" HOST "\r\n", 400),
    /* §2.2: line ends are CRLF */
    BAD("LF only, request line", "GET / HTTP/1.1\n" HOST "\r\n", 400),
    BAD("LF only, field", GET "Host: a\n\r\n", 400),
    BAD("LF only, end", GET HOST "\n", 400),
    BAD("LF LF", "GET / HTTP/1.1\nHost: a\n\n", 400),
    BAD("CR in the request line", "GET /\r HTTP/1.1\r\n" HOST "\r\n", 400),
    BAD("CR in a value", GET HOST "X: a\rb\r\n\r\n", 400),
    BAD("CR CR LF", GET HOST "X: a\r\r\n\r\n", 400),
    BAD("CR in a name", GET HOST "X\r: a\r\n\r\n", 400),
    BAD("CR and more at the end", GET HOST "\rX", 400),
    BAD("CR first", "\rGET / HTTP/1.1\r\n", 400),
    BAD("LF first", "\nGET / HTTP/1.1\r\n", 400),
    BAD("NUL in the method", "G\0T / HTTP/1.1\r\n", 400),
    BAD("NUL in the target", "GET /\0 HTTP/1.1\r\n", 400),
    BAD("NUL in a name", GET HOST "X\0: a\r\n\r\n", 400),
    BAD("NUL in a value", GET HOST "X: a\0b\r\n\r\n", 400),
    BAD("DEL in a value", GET HOST "X: a\x7f\r\n\r\n", 400),
    BAD("control in a value", GET HOST "X: a\x01\r\n\r\n", 400),
    BAD("a TLS client", "\x16\x03\x01\x02\x00\x01\x00", 400),
    /* §5.1: no blank between name and colon */
    BAD("blank before the colon", GET "Host : a\r\n\r\n", 400),
    BAD("tab before the colon", GET HOST "X\t: a\r\n\r\n", 400),
    BAD("no colon", GET HOST "X\r\n\r\n", 400),
    BAD("no name", GET HOST ": a\r\n\r\n", 400),
    BAD("blank in a name", GET HOST "X Y: a\r\n\r\n", 400),
    BAD("name of no token", GET HOST "X(: a\r\n\r\n", 400),
    BAD("name beyond ASCII", GET HOST "X\xe4: a\r\n\r\n", 400),
    BAD("blank line with a blank", GET HOST " \r\n\r\n", 400),
    /* §5.2: obs-fold */
    BAD("folded value", GET HOST "X: a\r\n b\r\n\r\n", 400),
    BAD("folded by tab", GET HOST "X: a\r\n\tb\r\n\r\n", 400),
    BAD("folded before any field", GET " X: a\r\n" HOST "\r\n", 400),
    BAD("folded length", POST "Content-Length:\r\n 5\r\n\r\n", 400),
    /* §3.2: Host */
    BAD("no Host", GET "\r\n", 400),
    BAD("no Host, other fields", GET "X: a\r\n\r\n", 400),
    BAD("two Hosts", GET HOST "Host: b\r\n\r\n", 400),
    BAD("two Hosts, the same", GET HOST HOST "\r\n", 400),
    BAD("two Hosts in 1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400),
    BAD("list in Host", GET "Host: a, b\r\n\r\n", 400),
    BAD("Host with a path", GET "Host: a/b\r\n\r\n", 400),
    BAD("Host with user", GET "Host: u@a\r\n\r\n", 400),
    BAD("Host with a bad port", GET "Host: a:8o\r\n\r\n", 400),
    BAD("Host with two ports", GET "Host: a:1:2\r\n\r\n", 400),
    BAD("Host with an open bracket", GET "Host: [::1\r\n\r\n", 400),
    BAD("Host with empty brackets", GET "Host: []\r\n\r\n", 400),
    BAD("Host with words behind brackets", GET "Host: [::1]x\r\n\r\n", 400),
    BAD("Host with percent in brackets", GET "Host: [fe80::1%25eth0]\r\n\r\n", 400),
    BAD("Host with a slash in brackets", GET "Host: [::/1]\r\n\r\n", 400),
    BAD("Host beyond ASCII", GET "Host: \xe4\r\n\r\n", 400),
    /* §6.2: Content-Length = 1*DIGIT */
    BAD("empty length", POST "Content-Length:\r\n\r\n", 400),
    BAD("length with sign", POST "Content-Length: +5\r\n\r\n", 400),
    BAD("negative length", POST "Content-Length: -5\r\n\r\n", 400),
    BAD("length in hex", POST "Content-Length: 0x5\r\n\r\n", 400),
    BAD("length with a unit", POST "Content-Length: 5b\r\n\r\n", 400),
    BAD("length with a blank", POST "Content-Length: 5 5\r\n\r\n", 400),
    BAD("length with a fraction", POST "Content-Length: 5.0\r\n\r\n", 400),
    BAD("length with an exponent", POST "Content-Length: 1e1\r\n\r\n", 400),
    BAD("length in quotes", POST "Content-Length: \"5\"\r\n\r\n", 400),
    BAD("length too great", POST "Content-Length: 18446744073709551616\r\n\r\n", 400),
    BAD("length far too great", POST "Content-Length: 99999999999999999999999999\r\n\r\n", 400),
    /* §6.3: more than one length */
    BAD("two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    BAD("two lengths, the same", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
    BAD("list of lengths", POST "Content-Length: 5, 5\r\n\r\n", 400),
    /* §6.1, §6.3: Transfer-Encoding */
    BAD("length, then chunked", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    BAD("chunked, then length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
    BAD("chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    BAD("chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    BAD("two fields of chunked", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    BAD("chunked and another field", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    BAD("chunked not last", POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    BAD("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    BAD("gzip", POST "Transfer-Encoding: gzip\r\n\r\n", 400),
    BAD("identity", POST "Transfer-Encoding: identity\r\n\r\n", 400),
    BAD("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", 400),
    BAD("chunkedx", POST "Transfer-Encoding: chunkedx\r\n\r\n", 400),
    BAD("empty coding", POST "Transfer-Encoding:\r\n\r\n", 400),
    BAD("chunked and a comma", POST "Transfer-Encoding: chunked,\r\n\r\n", 400),
    BAD("comma and chunked", POST "Transfer-Encoding: ,chunked\r\n\r\n", 400),
    BAD("chunked with a parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n", 400),
    BAD("chunked in quotes", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400),
    BAD("chunked behind a vertical tab", POST "Transfer-Encoding: \vchunked\r\n\r\n", 400),
    BAD("blank before that colon", POST "Transfer-Encoding : chunked\r\n\r\n", 400),
    /* RFC 9110 §10.1.1 */
    BAD("unknown expectation", POST "Expect: 200-ok\r\n\r\n", 417),
    BAD("empty expectation", POST "Expect:\r\n\r\n", 417),
    /* limits, RFC 9112 §3 (414), RFC 6585 §5 (431) */
    TIGHT("request line too long", "GET /0123456789012345678 HTTP/1.1\r\n" HOST "\r\n", 414),
    TIGHT("request line too long, no end", "GET /01234567890123456789012345678", 414),
    TIGHT("request line too long, unusual", "BREW http://a/012345678 HTTP/1.1 \r\n" HOST "\r\n", 414),
    TIGHT("fields too long together", GET HOST "X: 0123456789\r\nY: 012345678901\r\nZ: 0\r\n\r\n", 431),
    TIGHT("field too long", GET HOST "X: 01234567890123456789012345678901234567\r\n\r\n", 431),
    TIGHT("field too long, no end", GET HOST "X: 0123456789012345678901234567890123456", 431),
    TIGHT("name too long", GET HOST "X0123456789012345678901234567890123456789", 431),
    TIGHT("the end beyond the limit", GET "Host: 0123456789012345678901234567890123456789a\r\n\r\n", 431),
    TIGHT("too many fields", GET HOST "X: 1\r\nY: 1\r\nZ: 1\r\n\r\n", 431),
};

static void check_bad(const struct bad_row *row, struct span all, size_t first, size_t step) {
    size_t seen;
    int result = parse_pieces(row->limits, all, first, step, &seen);
    if (result != row->status) {
        fail_msg("%d after %zu bytes, cut at %zu, then by %zu", result, seen, first, step);
    }
}

static void test_bad(void **state) {
    const struct bad_row *row = *state;
    struct span all = row->head;
    check_bad(row, all, all.len, 1);
    for (size_t cut = 0; cut < all.len; cut++) {
        check_bad(row, all, cut, all.len);
    }
    check_bad(row, all, 0, 1);
}

/* ------------------------------------------------------------------------------------------------------- limits ---- */

/* Exactly at each limit is good. */
static void test_at_the_limits(void **state) {
    (void)state;
    struct good_row row = { "", NULL, "GET 1 /012345678901234567 keep [Host=0123456789][X=0123456789012345][Y=]" };
    const char *head = "GET /012345678901234567 HTTP/1.1\r\nHost: 0123456789\r\nX: 0123456789012345\r\nY: \r\n\r\n";
    struct http_limits limits = { 32, 18 + 21 + 5, 3, 64, 1 };
    struct span all = span_text(head);
    size_t seen;
    char facts[256];
    assert_int_equal(parse_pieces(&limits, all, all.len, 1, &seen), PARSE_OK);
    facts_of(&request, facts);
    assert_string_equal(facts, row.facts);
    assert_int_equal(parse_pieces(&limits, all, 0, 1, &seen), PARSE_OK);
    assert_true(all.len <= http_parse_bytes_max(&limits));
    limits.header_bytes--;
    assert_int_equal(parse_pieces(&limits, all, 0, 1, &seen), 431);
    limits.header_bytes++;
    limits.fields--;
    assert_int_equal(parse_pieces(&limits, all, 0, 1, &seen), 431);
    limits.fields++;
    limits.request_line_bytes--;
    assert_int_equal(parse_pieces(&limits, all, 0, 1, &seen), 414);
}

/* A hundred fields, the compiled-in ceiling. */
static void test_many_fields(void **state) {
    (void)state;
    static char text[4096];
    size_t len = (size_t)sprintf(text, "%s", GET HOST), seen;
    for (int i = 1; i < HTTP_FIELDS_MAX; i++) {
        len += (size_t)sprintf(text + len, "N%d: v%d\r\n", i, i);
    }
    len += (size_t)sprintf(text + len, "\r\n");
    struct span all = span_of(text, len);
    assert_int_equal(parse_pieces(&usual, all, 0, 7, &seen), PARSE_OK);
    assert_int_equal(request.field_count, HTTP_FIELDS_MAX);
    struct span value;
    assert_true(http_request_field(&request, SPAN("n99"), &value));
    assert_true(span_equal(value, SPAN("v99")));
    assert_true(http_request_field(&request, SPAN("HOST"), &value));
    assert_false(http_request_field(&request, SPAN("n100"), &value));
    memcpy(text + len - 2, "N: v\r\n\r\n", 8);
    assert_int_equal(parse_pieces(&usual, span_of(text, len + 6), 0, 7, &seen), 431);
}

/* Work is linear in the bytes, however they arrive: a line of the full limit, byte by byte, is done at once. */
static void test_slow_line(void **state) {
    (void)state;
    static const struct http_limits large = { 30 * 1024, 30 * 1024, 100, 64, 1 };
    static char text[60 * 1024];
    size_t len = (size_t)sprintf(text, "GET /");
    memset(text + len, 'a', 30 * 1024 - 14);
    len += 30 * 1024 - 14;
    len += (size_t)sprintf(text + len, " HTTP/1.1\r\n" HOST "X: ");
    memset(text + len, 'b', 29 * 1024);
    len += 29 * 1024;
    len += (size_t)sprintf(text + len, "\r\n\r\n");
    struct parse_at at = { 0 };
    int result = PARSE_MORE;
    for (size_t n = 1; n <= len && result == PARSE_MORE; n++) {
        uint32_t before = at.scanned;
        result = http_parse(&request, &large, &known_host, text, (uint32_t)n, &at);
        if (result == PARSE_MORE) {
            assert_true(at.scanned + 1 >= n); /* all but a CR at the end */
            assert_true(at.scanned >= before);
        }
    }
    assert_int_equal(result, PARSE_OK);
    assert_int_equal(request.head_bytes, len);
}

/* Random heads from pieces that matter, good or bad: each way to cut gives the same answer and the same facts. */
static void test_random_cuts(void **state) {
    (void)state;
    static const char *const pieces[] = {
        "GET ", "HEAD ", "POST ", "/", "/a?b", " HTTP/1.1\r\n", " HTTP/1.0\r\n", " HTTP/2.0\r\n", "Host: a\r\n",
            "X: y\r\n",
        "\r\n", "\r", "\n", " ", "\t", ":", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
        "Expect: x\r\n", "\x01", "\x80", "aaaaaaaaaaaaaaaaaaaa", "http://h", "*", "GET / HTTP/1.1\r\nHost: h\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n", "A-Name-That-Is-Long: and a value that is longer than that\r\n",
    };
    struct random random = random_seeded("parse");
    for (int round = 0; round < 30000; round++) {
        char text[1024], facts[4096], cut_facts[4096];
        size_t len = 0, seen;
        for (uint32_t n = random_below(&random, 8) + 1; n > 0; n--) {
            len += (size_t)sprintf(text + len, "%s", pieces[random_below(&random, sizeof pieces / sizeof *pieces)]);
        }
        const struct http_limits *limits = random_below(&random, 3) == 0 ? &small : &usual;
        struct span all = span_of(text, len);
        int whole = parse_pieces(limits, all, len, 1, &seen);
        facts[0] = '\0';
        if (whole == PARSE_OK) {
            facts_of(&request, facts);
        }
        uint8_t method = request.method;
        for (int i = 0; i < 6; i++) {
            size_t first = random_below(&random, (uint32_t)len + 1);
            int cut = parse_pieces(limits, all, first, i == 0 ? len : random_below(&random, 9) + 1, &seen);
            if (cut != whole) {
                fail_msg("%d whole, %d cut at %zu: %s", whole, cut, first, text);
            }
            cut_facts[0] = '\0';
            if (cut == PARSE_OK) {
                facts_of(&request, cut_facts);
            }
            assert_string_equal(facts, cut_facts);
            assert_true(whole == PARSE_MORE || request.method == method);
        }
    }
}

static int open_guard(void) {
    guard = guard_open(64 * 1024);
    return 0;
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_good, good_rows);
    ROWS_ADD(&rows, test_bad, bad_rows);
    ROWS_TEST(&rows, test_at_the_limits);
    ROWS_TEST(&rows, test_many_fields);
    ROWS_TEST(&rows, test_slow_line);
    ROWS_TEST(&rows, test_random_cuts);
    return open_guard() + rows_run("parse", &rows);
}
