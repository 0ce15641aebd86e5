#!/usr/bin/env python3
"""The examples as processes, on every backend: what each one promises in its first lines.

usage: examples.py SSE WATCH OFFLOAD MIDDLEWARE CACHE
"""
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


until = arena.until


def ask(port, target, *fields):
    """One GET on a connection of its own: (status, head, body)."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        lines = [f"GET {target} HTTP/1.1", "Host: a", "Connection: close", *fields]
        sock.sendall("".join(line + "\r\n" for line in lines).encode() + b"\r\n")
        return arena.read_response(sock)


# ----------------------------------------------------------------------------------------------------------- sse ----

class Listener:
    """A client of the event stream, which reads until it is told to stop."""

    def __init__(self, port, *fields):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.sendall("".join(line + "\r\n" for line in ("GET /events HTTP/1.1", "Host: a", *fields)).encode() + b"\r\n")
        self.data = b""
        self.ended = False

    def read_until(self, pattern):
        while not re.search(pattern, self.data):
            more = self.sock.recv(65536)
            expect(more, self.data)
            self.data += more

    def read_to_the_end(self):
        while True:
            more = self.sock.recv(65536)
            if not more:
                self.ended = True
                self.sock.close()
                return
            self.data += more


def counts(port):
    return json.loads(ask(port, "/clients")[2])


def case_sse(program, flags):
    with arena.Arena(program, "--workers", "2", "--interval", "20", *flags) as server:
        listeners = [Listener(server.port) for _ in range(10)]
        for listener in listeners:
            listener.read_until(rb"event: count\nid: 3\ndata: 3 from worker [01]\n\n")
            expect(b"Content-Type: text/event-stream\r\n" in listener.data, listener.data)
            expect(b"Cache-Control: no-store\r\n" in listener.data, listener.data)
        expect(counts(server.port) == {"listening": 10, "left": 0, "sent_home": 0}, counts(server.port))
        back = Listener(server.port, "Last-Event-ID: 41")
        back.read_until(rb"\nid: 42\n")
        expect(ask(server.port, "/events", "Last-Event-ID: x")[0] == 400, "a bad Last-Event-ID")
        for listener in (back, listeners.pop(), listeners.pop()):
            listener.sock.close()
        until(lambda: counts(server.port) == {"listening": 8, "left": 3, "sent_home": 0}, "three have left")
        for listener in listeners:
            listener.sock.close()


def case_sse_drain(program, flags):
    """A hundred streams that would go on for ever: each gets its last event and its last chunk, in no time."""
    server = arena.Arena(program, "--workers", "2", "--interval", "3600000", "--drain-timeout", "60s", *flags)
    listeners = [Listener(server.port) for _ in range(100)]
    for listener in listeners:
        listener.read_until(rb"id: 1\n")
    started = time.monotonic()
    server.signal(signal.SIGTERM)
    readers = [threading.Thread(target=listener.read_to_the_end) for listener in listeners]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    code = server.wait()
    took = time.monotonic() - started
    for listener in listeners:
        expect(listener.ended and listener.data.endswith(b"event: end\ndata: the server goes\n\n\r\n0\r\n\r\n"), listener.data)
    expect(code == 0 and took < 20, (code, took))  # 0.3 s on an idle machine


def case_sse_bad_option(program, flags):
    try:
        arena.Arena(program, "--interval", "0", *flags)
    except RuntimeError as error:
        expect("--interval" in str(error), error)
    else:
        raise AssertionError("--interval 0 must be refused")


# --------------------------------------------------------------------------------------------------------- watch ----

def case_watch(program, flags):
    with arena.Arena(program, "--workers", "1", *flags) as server:
        started = time.monotonic()
        status, _, body = ask(server.port, "/bell")
        expect(status == 200 and body == b"ding\n", (status, body))
        expect(time.monotonic() - started < 20, "a bell every 100 ms")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask(server.port, "/bell")[2])) for _ in range(5)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect(answers == [b"ding\n"] * 5, answers)
        expect(time.monotonic() - started > 0.2, "one ring for each of five")  # 0.4 s, less what the first was late by
        before = json.loads(ask(server.port, "/")[2])
        expect(re.fullmatch(r"[\d.]+ [\d.]+ [\d.]+ \d+/\d+ \d+", before["load"]), before)
        until(lambda: json.loads(ask(server.port, "/")[2])["beats"] >= before["beats"] + 4, "it beats without a client")
        until(lambda: json.loads(ask(server.port, "/")[2])["looks"] >= before["looks"] + 2, "it looks without a client")
    expect(any("every worker has its bell" in line for line in server.lines), server.lines)


def case_watch_cannot_start(program, flags):
    """worker_start says no: the process ends with its code, and nobody could connect."""
    # liburing maps by itself: ThreadSanitizer takes a ring at the address of one that was just closed for the same memory.
    workers = "2" if "epoll" in flags else "1"
    try:
        arena.Arena(program, "--workers", workers, "--watches", "1", *flags)
    except RuntimeError as error:
        expect("cannot watch a timer" in str(error) and "worker_start of worker" in str(error), error)
        expect("listening on" not in str(error) and "has its bell" not in str(error), error)
    else:
        raise AssertionError("it must not start")
    command = [program, "--workers", workers, "--watches", "1", "--listen", "127.0.0.1:0", *flags]
    code = subprocess.run(command, timeout=20, check=False, stderr=subprocess.DEVNULL).returncode
    expect(code == 70, code)


def case_watch_clients_leave(program, flags):
    """Clients that leave while they wait leave the line; a half-closed one gets its ring; a drain sends the others home."""
    with arena.Arena(program, "--workers", "1", *flags) as server:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(b"GET /bell HTTP/1.1\r\nHost: a\r\n\r\n")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with arena.within(3, "the bell"):
            started = time.monotonic()
            expect(ask(server.port, "/bell")[2] == b"ding\n", "the bell")
            expect(time.monotonic() - started < 3, "five seconds, if those who have left were served first")
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as half:
            half.sendall(b"GET /bell HTTP/1.1\r\nHost: a\r\n\r\n")
            half.shutdown(socket.SHUT_WR)
            expect(arena.read_response(half)[2] == b"ding\n", "half-closed")


# ------------------------------------------------------------------------------------------------------- offload ----

def case_offload(program, flags):
    """One worker: while helpers are at it, others are answered at once."""
    with arena.Arena(program, "--workers", "1", *flags) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as slow:
            slow.sendall(b"GET /digest/secret HTTP/1.1\r\nHost: a\r\n\r\nGET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
            quick = 0
            slow.setblocking(False)
            while True:
                expect(ask(server.port, "/quick")[2] == b"quick\n", "quick")
                try:
                    first = slow.recv(65536, socket.MSG_PEEK)
                except BlockingIOError:
                    quick += 1
                    continue
                expect(first, "an answer")
                break
            slow.settimeout(60)
            if quick == 0:
                raise arena.TooLate("nobody was served meanwhile")
            data = b""
            while not data.endswith(b"quick\n"):
                data += slow.recv(65536)
            expect(re.search(rb"\r\n\r\n[0-9a-f]{16}\nHTTP/1.1 200 ", data), data)
        again = ask(server.port, "/digest/secret")[2]
        expect(again in data and ask(server.port, "/digest/other")[2] != again, again)


def case_offload_client_leaves(program, flags):
    """The job is done for nobody; the drain waits for it, and nothing is lost or broken."""
    with arena.Arena(program, "--workers", "2", "--offloads", "1", *flags) as server:
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(b"GET /digest/secret HTTP/1.1\r\nHost: a\r\n\r\n")
                time.sleep(0.01)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        expect(ask(server.port, "/quick")[2] == b"quick\n", "quick")


def case_offload_shed(program, flags):
    with arena.Arena(program, "--workers", "1", "--offloads", "1", *flags) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            sock.sendall(b"GET /digest/one HTTP/1.1\r\nHost: a\r\n\r\nGET /digest/two HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while data.count(b"HTTP/1.1 ") < 2 or not data.endswith(b"\n"):
                data += sock.recv(65536)
            expect(data.count(b"HTTP/1.1 200 ") == 1 and data.count(b"HTTP/1.1 503 ") == 1, data)
            expect(b"Retry-After: 1\r\n" in data, data)


# ---------------------------------------------------------------------------------------------------- middleware ----

def case_middleware(program, flags):
    with arena.Arena(program, "--workers", "1", *flags) as server:
        for field in ("X: y", "Authorization: Bearer wrong!", "Authorization: Bearer ", "Authorization: Bearer sesamE",
                      "Authorization: Bearer sesamesesame", "Authorization: Basic sesame", "Authorization: Bearer s"):
            status, head, _ = ask(server.port, "/hello", field)
            expect(status == 401 and b"WWW-Authenticate: Bearer\r\n" in head, (field, status, head))
        status, _, body = ask(server.port, "/hello", "Authorization: bearer sesame")
        expect(status == 200 and body == b"welcome, ali baba\n", (status, body))
        seen = []
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            request = b"GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sesame\r\n\r\n"
            with arena.within(3, "60 requests, of which 20 may come at once and 10 a second"):
                for _ in range(60):
                    sock.sendall(request)
                    status, head, _ = arena.read_response(sock)
                    seen.append(status)
                    expect(status == 200 or b"Retry-After: 1" in head, head)
                expect(seen[0] == 200 and set(seen) == {200, 429}, seen)
                expect(19 <= seen.count(200) <= 50, seen)
        status, _, body = ask(server.port, "/hello", "Authorization: Bearer grandmother")
        expect(status == 200 and body == b"welcome, the wolf\n", "another one has a bucket of its own")
        time.sleep(0.3)
        expect(ask(server.port, "/hello", "Authorization: Bearer sesame")[0] == 200, "tokens come back")


# --------------------------------------------------------------------------------------------------------- cache ----

def put_price(port, item, cents):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(f"PUT /price/{item}?cents={cents} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                     "Content-Length: 0\r\n\r\n".encode())
        status, _, _ = arena.read_response(sock)
        expect(status == 204, status)


def case_cache(program, flags):
    with arena.Arena(program, "--workers", "2", *flags) as server:
        answers = []

        def get(item):
            answers.append(ask(server.port, f"/price/{item}"))

        crowd = [threading.Thread(target=get, args=(spelling,)) for spelling in ("7", "007") * 10]
        with arena.within(1, "a price is kept for a second"):  # twice as long, if they waited for each other
            begin = time.monotonic()
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join()
            expect(time.monotonic() - begin < 1, "they have waited for one, not for each other")
            expect(all(status == 200 and body == b'{"item":7,"cents":0}' for status, _, body in answers), answers)
            expect(sum(b"X-Cache: MISS" in head for _, head, _ in answers) == 1, answers)
        for price in range(1, 6):
            put_price(server.port, "07", price)
            answers.clear()
            get("7")
            expect(answers[0][2] == f'{{"item":7,"cents":{price}}}'.encode(), (price, answers))
        expect(ask(server.port, "/price/x")[0] == 404, "no key, no item")
        time.sleep(1.1)
        with arena.within(8, "the grace"):
            _, head, _ = ask(server.port, "/price/7")
            expect(b"X-Cache: STALE" in head, head)
        until(lambda: b"X-Cache: HIT" in ask(server.port, "/price/7")[1], "a refresh in the background")


# ---------------------------------------------------------------------------------------------------------- docs ----

def case_docs():
    """Each piece of C in docs/handlers.md is a piece of an example, so it compiles and runs."""
    root = Path(__file__).resolve().parent.parent
    examples = "\n".join(path.read_text() for path in (root / "examples").glob("*.c"))
    pieces = re.findall(r"^```c\n(.*?)^```$", (root / "docs/handlers.md").read_text(), re.M | re.S)
    expect(len(pieces) >= 8, f"{len(pieces)} pieces")
    for piece in pieces:
        for part in piece.strip("\n").split("\n\n"):
            expect(part in examples, f"in no example:\n{part}")


def main(argv):
    if len(argv) != 6:
        sys.exit(__doc__)
    programs = dict(zip(("sse", "watch", "offload", "middleware", "cache"), argv[1:]))
    cases = [("docs", case_docs)]
    for name, function in list(globals().items()):
        if name.startswith("case_") and function is not case_docs:
            program = programs[name.split("_")[1]]
            for backend, flags in arena.variants(program):
                cases.append((f"{name.removeprefix('case_')} {backend}",
                              lambda function=function, program=program, flags=flags: function(program, flags)))
    return arena.run_cases(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
