/* Requests that are refused: what is sent, what it gets, where that is written. Nothing behind one of them is read. */
#include "whole.h"

#define H "Host: a\r\n"
#define GET_JSON "GET /json/1 HTTP/1.1\r\n"
#define POST "POST /echo HTTP/1.1\r\n" H
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static const struct bad {
    const char *text;
    size_t len;
    int status;
    bool body; /* the head is good: the body is not */
} rows[] = {
#define HEAD_ROW(text, status) { text, sizeof(text) - 1, status, false }
#define BODY_ROW(text, status) { text, sizeof(text) - 1, status, true }
    /* RFC 9112 §3: method SP request-target SP HTTP-version */
    HEAD_ROW("GET  /json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW(" GET /json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET /json/1\r\n" H "\r\n", 400),
    HEAD_ROW("GET /js on/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET\t/json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("G(T /json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET /json/1 HTTP/1.1 \r\n" H "\r\n", 400),
    HEAD_ROW("GET /json/1 http/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET /json/1 HTTP/1.x\r\n" H "\r\n", 400),
    HEAD_ROW("GET /json/1 HTTP/11\r\n" H "\r\n", 400),
    HEAD_ROW("\r\n\r\nGET /json/1 HTTP/1.1\r\n" H "\r\n", 400), /* §2.2: one empty line is allowed */
    /* RFC 9110 §15.6.6 */
    HEAD_ROW("GET /json/1 HTTP/2.0\r\n" H "\r\n", 505),
    HEAD_ROW("GET /json/1 HTTP/0.9\r\n" H "\r\n", 505),
    HEAD_ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400), /* §3.2.4: '*' is for OPTIONS */
    /* RFC 9112 §3.2: forms of the target */
    HEAD_ROW("GET json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET * HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET /json/1#x HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET http:/json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET ftp://a/json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET http:///json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET http://a@b/json/1 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET /json/1\x7f HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", 400),
    HEAD_ROW("CONNECT a:80 HTTP/1.1\r\n" H "\r\n", 501),
    HEAD_ROW("CONNECT /json/1 HTTP/1.1\r\n" H "\r\n", 400),
    /* RFC 9112 §3.2: Host */
    HEAD_ROW(GET_JSON "\r\n", 400),
    HEAD_ROW(GET_JSON H H "\r\n", 400),
    HEAD_ROW(GET_JSON "Host: a\r\nHost: b\r\n\r\n", 400),
    HEAD_ROW(GET_JSON "Host: a b\r\n\r\n", 400),
    HEAD_ROW(GET_JSON "Host: a/b\r\n\r\n", 400),
    HEAD_ROW(GET_JSON "Host: a:b\r\n\r\n", 400),
    HEAD_ROW(GET_JSON "Host: [::1\r\n\r\n", 400),
    /* RFC 9112 §5.1, §5.2: fields */
    HEAD_ROW(GET_JSON H "X : 1\r\n\r\n", 400),
    HEAD_ROW(GET_JSON "Host : a\r\n\r\n", 400),
    HEAD_ROW(GET_JSON H ": 1\r\n\r\n", 400),
    HEAD_ROW(GET_JSON H "X\r\n\r\n", 400),
    HEAD_ROW(GET_JSON H "X: 1\r\n 2\r\n\r\n", 400),
    HEAD_ROW(GET_JSON H " X: 1\r\n\r\n", 400),
    HEAD_ROW(GET_JSON H "X(: 1\r\n\r\n", 400),
    /* RFC 9110 §5.5: no NUL, no CR, no LF, no other control; RFC 9112 §2.2: no bare CR, and lines end with CRLF here */
    HEAD_ROW(GET_JSON H "X: a\0b\r\n\r\n", 400),
    HEAD_ROW(GET_JSON H "X: a\rb\r\n\r\n", 400),
    HEAD_ROW(GET_JSON H "X: a\x01" "b\r\n\r\n", 400),
    HEAD_ROW(GET_JSON H "X: a\x7f\r\n\r\n", 400),
    HEAD_ROW("GET /json/1 HTTP/1.1\nHost: a\n\n", 400),
    HEAD_ROW(GET_JSON H "X: 1\n\r\n", 400),
    HEAD_ROW(GET_JSON H "\n", 400),
    HEAD_ROW("\n" GET_JSON H "\r\n", 400),
    /* RFC 9112 §6.2: Content-Length */
    HEAD_ROW(POST "Content-Length:\r\n\r\n", 400),
    HEAD_ROW(POST "Content-Length: +5\r\n\r\nhello", 400),
    HEAD_ROW(POST "Content-Length: -5\r\n\r\nhello", 400),
    HEAD_ROW(POST "Content-Length: 5x\r\n\r\nhello", 400),
    HEAD_ROW(POST "Content-Length: 0x5\r\n\r\nhello", 400),
    HEAD_ROW(POST "Content-Length: 5 5\r\n\r\nhello", 400),
    HEAD_ROW(POST "Content-Length: 5, 5\r\n\r\nhello", 400),
    HEAD_ROW(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    HEAD_ROW(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    HEAD_ROW(POST "Content-Length: 18446744073709551616\r\n\r\nhello", 400),
    /* RFC 9112 §6.1: Transfer-Encoding */
    HEAD_ROW(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    HEAD_ROW(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    HEAD_ROW(POST "Transfer-Encoding: gzip\r\n\r\n", 400), /* §6.3: chunked is not the last */
    HEAD_ROW(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    HEAD_ROW(POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    HEAD_ROW(POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    HEAD_ROW(POST "Transfer-Encoding:\r\n\r\n", 400),
    HEAD_ROW(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    HEAD_ROW("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    /* RFC 9110 §10.1.1: Expect */
    HEAD_ROW(POST "Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 417),
    HEAD_ROW(GET_JSON H "Expect:\r\n\r\n", 417),
    /* not HTTP: a TLS hello, a stray line of SSH, an SMTP client */
    HEAD_ROW("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
    HEAD_ROW("SSH-2.0-OpenSSH_9.2\r\n", 400),
    HEAD_ROW("EHLO example.org\r\n", 400),
    /* RFC 9112 §7.1: chunks */
    BODY_ROW(CHUNKED "x\r\n", 400),
    BODY_ROW(CHUNKED "\r\n", 400),
    BODY_ROW(CHUNKED "-1\r\n", 400),
    BODY_ROW(CHUNKED "0x1\r\na\r\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5\nhello\r\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5\r\nhelloX\r\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5\r\nhello\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "00000000000000005\r\nhello\r\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "10000000000000000\r\n", 400),
    BODY_ROW(CHUNKED "5;\r\nhello\r\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5;a=\x01\r\nhello\r\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5\r\nhello\r\n0\r\nX : 1\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5\r\nhello\r\n0\r\n X: 1\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n", 400),
    BODY_ROW(CHUNKED "5\r\nhello\r\n0\r\n\n", 400),
};

static void put_run(struct whole_client *c, char byte, size_t len) {
    for (size_t i = 0; i < len; i++) {
        whole_put(c, &byte, 1);
    }
}

/* Larger than a limit: RFC 9112 §3 (414), RFC 6585 §5 (431). */
static int put_large(struct whole_client *c) {
    const struct http_limits *limits = &c->w->config.limits;
    size_t beyond = whole_between(&c->random, 3, 3000);
    switch (random_below(&c->random, 5)) {
    case 0: whole_putf(c, "GET /json/1?"); put_run(c, 'q', limits->request_line_bytes + beyond); return 414;
    case 1: put_run(c, 'M', limits->request_line_bytes + beyond); return 501; /* a method that long: §3 */
    case 2: whole_putf(c, GET_JSON H "X: "); put_run(c, 'x', limits->header_bytes + beyond); return 431;
    case 3: whole_putf(c, GET_JSON H); put_run(c, 'x', limits->header_bytes + beyond); return 431;
    default:
        whole_putf(c, GET_JSON H);
        for (uint32_t i = 0; i < limits->fields; i++) {
            whole_putf(c, "X: %u\r\n", i % 10);
        }
        whole_putf(c, "\r\n");
        return 431;
    }
}

/* Extensions and trailers are bounded, too: 400, 431. */
static int put_large_extras(struct whole_client *c) {
    const struct http_limits *limits = &c->w->config.limits;
    size_t bytes = limits->header_bytes + whole_between(&c->random, 3, 3000);
    bool trailer = whole_chance(&c->random, 50);
    whole_putf(c, CHUNKED);
    c->requests[c->count - 1].head = (uint32_t)c->out_len;
    whole_putf(c, trailer ? "0\r\nX: " : "5;a=");
    put_run(c, 'x', bytes);
    return trailer ? 431 : 400;
}

void whole_write_bad(struct whole_client *c, struct whole_request *r) {
    int status;
    r->start = (uint32_t)c->out_len;
    uint32_t which = random_below(&c->random, 10);
    if (which == 0) {
        status = put_large_extras(c);
    } else if (which < 3) {
        status = put_large(c);
    } else {
        const struct bad *row = &rows[random_below(&c->random, sizeof rows / sizeof rows[0])];
        whole_put(c, row->text, row->len);
        r->head = row->body ? r->start + sizeof(CHUNKED) - 1 : 0;
        status = row->status;
        r->kind = row->text;
    }
    r->end = (uint32_t)c->out_len;
    r->head = r->head != 0 ? r->head : r->end;
    whole_expect_error(r, status);
    r->closes = r->fatal = r->early = true;
}
