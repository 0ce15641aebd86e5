"""What tests/twins.py sends: (name, source, bytes, answer, options). The answer is the statuses, then how the connection
is left: open, or closed by the server. Options: half (the client ends its half when it has sent all), flags of arena."""

H = b"Host: a\r\n"
GET = b"GET /pipeline HTTP/1.1\r\n"
OK = GET + H + b"\r\n"
ECHO = b"POST /echo HTTP/1.1\r\n" + H
UPLOAD = b"POST /upload HTTP/1.1\r\n" + H
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def get(target, version=b"1.1", fields=H, method=b"GET"):
    return method + b" " + target + b" HTTP/" + version + b"\r\n" + fields + b"\r\n"


def echo(body, method=b"POST"):
    return method + b" /echo HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks, start=UPLOAD, trailers=b""):
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return start + CHUNKED + body + b"0\r\n" + trailers + b"\r\n"


# Split at every byte, too.
SPLIT = [
    ("plain", "RFC 9112 §3", OK, "200 open"),
    ("many fields", "RFC 9112 §5", get(b"/json/2?m=3", fields=H + b"A: 1\r\nB:\t2 \r\nC:\r\nConnection: x, y\r\n"), "200 open"),
    ("length", "RFC 9112 §6.2", echo(b"hello"), "200 open"),
    ("chunks", "RFC 9112 §7.1", chunked(b"one", b"four", trailers=b"X: 1\r\n"), "200 open"),
    ("chunk extensions", "RFC 9112 §7.1.1", ECHO + CHUNKED + b'3 ; a="b\\"c" ;d\r\none\r\n00\r\n\r\n', "200 open"),
    ("pipeline", "RFC 9112 §9.3.2", OK + echo(b"x") + OK, "200 200 200 open"),
    ("1.0", "RFC 9112 §9.3", get(b"/pipeline", b"1.0", b""), "200 closed"),
    ("expect", "RFC 9110 §10.1.1", ECHO + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "200 open"),
    ("empty line first", "RFC 9112 §2.2", b"\r\n" + OK, "200 open"),
    ("not found", "RFC 9110 §15.5.5", get(b"/nowhere") + OK, "404 200 open"),
    ("absolute form", "RFC 9112 §3.2.2", get(b"http://h:80/pipeline?x"), "200 open"),
    ("bad behind good", "RFC 9112 §9.6", OK + b"GET /a b HTTP/1.1\r\n" + H + b"\r\n", "200 400 closed"),
    ("bad chunk", "RFC 9112 §7.1", ECHO + CHUNKED + b"3\r\noneX\r\n", "400 closed"),
    ("length and chunked", "RFC 9112 §6.1", ECHO + b"Content-Length: 3\r\n" + CHUNKED, "400 closed"),
]

VALID = [
    ("head", "RFC 9110 §9.3.2", get(b"/json/3", method=b"HEAD") + OK, "200 200 open"),
    ("options of a path", "RFC 9110 §9.3.7", get(b"/echo", method=b"OPTIONS"), "204 open"),
    ("options of the server", "RFC 9110 §9.3.7", get(b"*", method=b"OPTIONS"), "204 open"),
    ("not allowed", "RFC 9110 §15.5.6", get(b"/echo") + OK, "405 200 open"),
    ("unknown method", "RFC 9110 §9.1", get(b"/pipeline", method=b"BREW") + OK, "501 200 open"),
    ("methods have case", "RFC 9110 §9.1", get(b"/pipeline", method=b"get"), "501 open"),
    ("a later minor version", "RFC 9110 §2.5", get(b"/pipeline", b"1.2"), "200 open"),
    ("close", "RFC 9112 §9.6", get(b"/pipeline", fields=H + b"Connection: close\r\n"), "200 closed"),
    ("close in a list", "RFC 9110 §7.6.1", get(b"/pipeline", fields=H + b"Connection: te ,\tCLOSE\r\n"), "200 closed"),
    ("1.0 keep-alive", "RFC 9112 §9.3", get(b"/pipeline", b"1.0", b"Connection: keep-alive\r\n") + OK, "200 200 open"),
    ("1.0 expects nothing", "RFC 9110 §10.1.1",
     b"POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "200 closed"),
    ("host of all kinds", "RFC 9110 §7.2", b"".join(get(b"/pipeline", fields=b"Host: %s\r\n" % host) for host in
                                                   (b"", b"a.b-c:8080", b"[::1]", b"[::1]:80", b"a:")), "200 200 200 200 200 open"),
    ("tabs and blanks around values", "RFC 9110 §5.5", ECHO + b"content-LENGTH:\t 2 \t\r\n\r\nhi", "200 open"),
    ("obs-text", "RFC 9110 §5.5", get(b"/pipeline", fields=H + b"X: \x80\xff\r\n"), "200 open"),
    ("empty body", "RFC 9112 §6.2", echo(b""), "200 open"),
    ("empty chunked body", "RFC 9112 §7.1", chunked(), "200 open"),
    ("leading zeros of a size", "RFC 9112 §7.1", UPLOAD + CHUNKED + b"00000003\r\none\r\n0000\r\n\r\n", "200 open"),
    ("a body that is not wanted", "RFC 9110 §9.3.1", get(b"/pipeline", fields=H + b"Content-Length: 3\r\n") + b"one" + OK,
     "200 200 open"),
    ("a body for nobody", "RFC 9110 §15.5.5", b"POST /nowhere HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\none" + OK, "404 200 open"),
    ("large echo", "RFC 9112 §6.2", echo(bytes(range(256)) * 4096), "200 open"),
    ("large upload", "RFC 9112 §6.2", UPLOAD + b"Content-Length: 3000000\r\n\r\n" + b"u" * 3000000, "200 open"),
    ("large chunked upload", "RFC 9112 §7.1", chunked(*[b"c" * 65536] * 40), "200 open"),
    ("a thousand in a pipeline", "RFC 9112 §9.3.2", OK * 1000, "200 " * 1000 + "open"),
    ("parked in a pipeline", "RFC 9112 §9.3.2", get(b"/sleep/60") + OK + get(b"/sleep/10") + OK, "200 200 200 200 open"),
    ("half-close", "RFC 9112 §9.6", OK + get(b"/sleep/30"), "200 200 closed", {"half": True}),
    ("half-close within a head", "RFC 9112 §8", OK + b"GET /pip", "200 closed", {"half": True}),
    ("half-close within a body", "RFC 9112 §8", ECHO + b"Content-Length: 9\r\n\r\nhalf", "closed", {"half": True}),
    ("half-close at once", "RFC 9112 §9.6", b"", "closed", {"half": True}),
    ("half-close behind many", "RFC 9112 §9.6", OK * 300, "200 " * 300 + "closed", {"half": True}),
]

BAD = [
    # RFC 9112 §3: the request line
    ("two blanks", "RFC 9112 §3", b"GET  /pipeline HTTP/1.1\r\n" + H + b"\r\n", "400 closed"),
    ("a blank first", "RFC 9112 §3", b" " + OK, "400 closed"),
    ("no version", "RFC 9112 §3", b"GET /pipeline\r\n" + H + b"\r\n", "400 closed"),
    ("a blank behind the version", "RFC 9112 §3", b"GET /pipeline HTTP/1.1 \r\n" + H + b"\r\n", "400 closed"),
    ("a tab", "RFC 9112 §3", b"GET\t/pipeline HTTP/1.1\r\n" + H + b"\r\n", "400 closed"),
    ("small letters", "RFC 9112 §2.3", b"GET /pipeline http/1.1\r\n" + H + b"\r\n", "400 closed"),
    ("version 1.x", "RFC 9112 §2.3", b"GET /pipeline HTTP/1.x\r\n" + H + b"\r\n", "400 closed"),
    ("two empty lines first", "RFC 9112 §2.2", b"\r\n\r\n" + OK, "400 closed"),
    ("version 2", "RFC 9110 §15.6.6", get(b"/pipeline", b"2.0"), "505 closed"),
    ("version 0.9", "RFC 9110 §15.6.6", get(b"/pipeline", b"0.9"), "505 closed"),
    # RFC 9112 §3.2: the target
    ("no slash", "RFC 9112 §3.2.1", get(b"pipeline"), "400 closed"),
    ("a fragment", "RFC 9112 §3.2.1", get(b"/pipeline#x"), "400 closed"),
    ("an asterisk", "RFC 9112 §3.2.4", get(b"*"), "400 closed"),
    ("connect", "RFC 9112 §3.2.3", get(b"a:80", method=b"CONNECT"), "501 closed"),
    ("another scheme", "RFC 9112 §3.2.2", get(b"ftp://a/pipeline"), "400 closed"),
    ("a user in the authority", "RFC 9110 §4.2.4", get(b"http://u@a/pipeline"), "400 closed"),
    ("bytes beyond ASCII", "RFC 9112 §3.2", get(b"/\xc3\xa4"), "400 closed"),
    # RFC 9112 §3.2, RFC 9110 §7.2: Host
    ("no host", "RFC 9112 §3.2", get(b"/pipeline", fields=b""), "400 closed"),
    ("two hosts", "RFC 9112 §3.2", get(b"/pipeline", fields=H + H), "400 closed"),
    ("a malformed host", "RFC 9112 §3.2", get(b"/pipeline", fields=b"Host: a b\r\n"), "400 closed"),
    ("a host with a path", "RFC 9112 §3.2", get(b"/pipeline", fields=b"Host: a/b\r\n"), "400 closed"),
    # RFC 9112 §5: fields
    ("a blank before the colon", "RFC 9112 §5.1", get(b"/pipeline", fields=H + b"X : 1\r\n"), "400 closed"),
    ("no colon", "RFC 9112 §5", get(b"/pipeline", fields=H + b"X\r\n"), "400 closed"),
    ("no name", "RFC 9112 §5", get(b"/pipeline", fields=H + b": 1\r\n"), "400 closed"),
    ("a folded line", "RFC 9112 §5.2", get(b"/pipeline", fields=H + b"X: 1\r\n 2\r\n"), "400 closed"),
    ("a blank before the first field", "RFC 9112 §2.2", get(b"/pipeline", fields=b" X: 1\r\n" + H), "400 closed"),
    ("NUL", "RFC 9110 §5.5", get(b"/pipeline", fields=H + b"X: a\0b\r\n"), "400 closed"),
    ("another control", "RFC 9110 §5.5", get(b"/pipeline", fields=H + b"X: a\x7fb\r\n"), "400 closed"),
    ("a bare CR", "RFC 9112 §2.2", get(b"/pipeline", fields=H + b"X: a\rb\r\n"), "400 closed"),
    ("LF alone", "RFC 9112 §2.2", b"GET /pipeline HTTP/1.1\nHost: a\n\n", "400 closed"),
    ("LF alone behind a field", "RFC 9112 §2.2", GET + b"Host: a\n\r\n", "400 closed"),
    # RFC 9112 §6: framing
    ("two lengths, equal", "RFC 9112 §6.3", ECHO + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "400 closed"),
    ("two lengths", "RFC 9112 §6.3", ECHO + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "400 closed"),
    ("a list of lengths", "RFC 9112 §6.3", ECHO + b"Content-Length: 2, 2\r\n\r\nhi", "400 closed"),
    ("a sign", "RFC 9110 §8.6", ECHO + b"Content-Length: +2\r\n\r\nhi", "400 closed"),
    ("a negative length", "RFC 9110 §8.6", ECHO + b"Content-Length: -2\r\n\r\nhi", "400 closed"),
    ("an empty length", "RFC 9110 §8.6", ECHO + b"Content-Length:\r\n\r\nhi", "400 closed"),
    ("a length beyond 64 bits", "RFC 9110 §8.6", ECHO + b"Content-Length: 18446744073709551616\r\n\r\n", "400 closed"),
    ("chunked and length", "RFC 9112 §6.1", ECHO + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", "400 closed"),
    ("chunked twice", "RFC 9112 §6.1", ECHO + b"Transfer-Encoding: chunked\r\n" + CHUNKED, "400 closed"),
    ("chunked not at the end", "RFC 9112 §6.3", ECHO + b"Transfer-Encoding: chunked, gzip\r\n\r\n", "400 closed"),
    ("another coding", "RFC 9112 §6.1", ECHO + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "501 closed"),
    ("chunked in 1.0", "RFC 9112 §6.1", b"POST /echo HTTP/1.0\r\n" + CHUNKED, "400 closed"),
    # RFC 9112 §7.1: chunks
    ("a size that is none", "RFC 9112 §7.1", ECHO + CHUNKED + b"x\r\n", "400 closed"),
    ("an empty size", "RFC 9112 §7.1", ECHO + CHUNKED + b"\r\n", "400 closed"),
    ("0x", "RFC 9112 §7.1", ECHO + CHUNKED + b"0x1\r\na\r\n", "400 closed"),
    ("a size beyond 64 bits", "RFC 9112 §7.1", ECHO + CHUNKED + b"10000000000000000\r\n", "400 closed"),
    ("many zeros", "RFC 9112 §7.1", ECHO + CHUNKED + b"0" * 17 + b"1\r\n", "400 closed"),
    ("LF behind a size", "RFC 9112 §2.2", ECHO + CHUNKED + b"1\na\r\n", "400 closed"),
    ("a chunk without its end", "RFC 9112 §7.1", ECHO + CHUNKED + b"1\r\nab\r\n", "400 closed"),
    ("a malformed trailer", "RFC 9112 §7.1.2", ECHO + CHUNKED + b"0\r\nX : 1\r\n\r\n", "400 closed"),
    ("long extensions", "RFC 9112 §7.1.1", ECHO + CHUNKED + b"1;a=" + b"b" * 20000 + b"\r\n", "400 closed"),
    ("long trailers", "RFC 6585 §5", ECHO + CHUNKED + b"0\r\nX: " + b"b" * 20000 + b"\r\n\r\n", "431 closed"),
    # expectations
    ("an expectation that nobody knows", "RFC 9110 §10.1.1", ECHO + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\nhi", "417 closed"),
    ("expect, and not found", "RFC 9110 §10.1.1",
     b"POST /nowhere HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "404 closed"),
    # limits: RFC 9110 §15.5.14, RFC 9112 §3, RFC 6585 §5
    ("too large", "RFC 9110 §15.5.14", ECHO + b"Content-Length: 1048577\r\n\r\n" + b"x" * 300000, "413 closed"),
    ("too large in chunks", "RFC 9110 §15.5.14", chunked(*[b"x" * 65536] * 20, start=ECHO), "413 closed"),
    ("a long target", "RFC 9112 §3", get(b"/" + b"x" * 9000), "414 closed"),
    ("long fields", "RFC 6585 §5", get(b"/pipeline", fields=H + b"X: " + b"x" * 17000 + b"\r\n"), "431 closed"),
    ("many fields", "RFC 6585 §5", get(b"/pipeline", fields=H + b"X: 1\r\n" * 100), "431 closed"),
    # not HTTP
    ("a TLS hello", "RFC 8446 §5.1", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x55" * 150, "400 closed"),
    ("the preface of HTTP/2", "RFC 9113 §3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", "400 closed"),
    ("a mail client", "RFC 5321 §4.1.1.1", b"EHLO example.org\r\n", "400 closed"),
    ("noise", "RFC 9112 §3", bytes(range(256)) * 8, "400 closed"),
    ("zeros", "RFC 9112 §3", b"\0" * 5000, "400 closed"),
]
