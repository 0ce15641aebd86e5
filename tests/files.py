#!/usr/bin/env python3
"""Files that are served from the store: arena's /files/{name} and the example, on every backend.

usage: files.py ARENA FILE
"""
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import exposition  # noqa: E402

MIB = 1 << 20
STORE = 16 * MIB
FRESH = 1.1  # seconds, and then a file is looked at again
ARENA = EXAMPLE = FOLDER = None


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def start(flags):
    return arena.Arena(ARENA, "--workers", "2", "--files", str(FOLDER), "--store-bytes", str(STORE), *flags)


def ask(server, name, *fields, method="GET"):
    """(status, fields with small letters, body)."""
    with server.connect() as sock:
        lines = [f"{method} /files/{name} HTTP/1.1", "Host: a", "Connection: close", *fields]
        sock.sendall("".join(line + "\r\n" for line in lines).encode() + b"\r\n")
        data = b""
        while more := sock.recv(1 << 18):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    found = {}
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b": ")
        found[key.decode().lower()] = value.decode()
    if method == "GET" and "content-length" in found:
        expect(len(body) == int(found["content-length"]), f"{name}: {len(body)} of {found['content-length']} bytes")
    return int(head.split(b" ", 2)[1]), found, body


def fresh():
    """What is read inside is fresh until this is over."""
    return arena.within(0.95, "a file is fresh for a second")


def figure(server, name):
    found = exposition.parse(arena.get(server.port, "/metrics")[2].decode())
    return sum(found[name].samples.values())


def put(name, data):
    """A file that comes to be at once, whole."""
    (FOLDER / ".new").write_bytes(data)
    os.rename(FOLDER / ".new", FOLDER / name)


def bytes_of(length, salt=0):
    return bytes((7 * i + salt) % 251 for i in range(251)) * (length // 251 + 1)


def open_files(server):
    """The server's descriptors of what is in the folder."""
    links = []
    for fd in os.listdir(f"/proc/{server.process.pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{server.process.pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return [link for link in links if link.startswith(str(FOLDER))]


def nothing_stays_open(server):
    """For as long as a helper may take to open the next one, or to close the last."""
    quiet, deadline = 0, time.monotonic() + arena.PATIENCE_SECONDS
    while quiet < 10:
        left = open_files(server)
        quiet = 0 if left else quiet + 1
        expect(time.monotonic() < deadline, left)
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------------------------- cases ----

def case_sizes(flags):
    """Each at the first time, from the store, and past the cache."""
    with start(flags) as server:
        for length in (0, 1, 16383, 16384, 16385, MIB, MIB + 1):
            data = bytes_of(length)[:length]
            put(f"size-{length}.txt", data)
            with fresh():
                for fields, state in ((), "MISS"), ((), "HIT"), (("Authorization: x",), None):
                    status, head, body = ask(server, f"size-{length}.txt", *fields)
                    expect(status == 200 and body == data, f"{length}: {status}, {len(body)} bytes")
                    expect(head.get("x-cache") == state, f"{length}: {head}")
                    expect(head["content-type"] == "text/plain; charset=utf-8", head)
        nothing_stays_open(server)


def case_largest(flags):
    """An eighth of the store is the most that an object has, with its head."""
    with start(flags) as server:
        put("largest", bytes_of(STORE // 8 - 1024)[:STORE // 8 - 1024])
        expect(ask(server, "largest")[2] == (FOLDER / "largest").read_bytes(), "the largest")
        for i, length in enumerate((STORE // 8, STORE // 8 + 1)):
            put(f"larger-{i}", bytes(length))
            expect(ask(server, f"larger-{i}")[0] == 500, length)
            expect(ask(server, f"larger-{i}", "Authorization: x")[0] == 500, length)
    expect(any("an eighth of --store-bytes" in line for line in server.lines), server.lines)


def case_conditions(flags):
    with start(flags) as server:
        put("page.html", b"<p>page")
        os.utime(FOLDER / "page.html", (784111777, 784111777))
        status, head, _ = ask(server, "page.html")
        expect((status, head["last-modified"]) == (200, "Sun, 06 Nov 1994 08:49:37 GMT"), head)
        for name in ("page.html", "page.html"):
            status, again, body = ask(server, name, f"If-None-Match: {head['etag']}")
            expect((status, body, again["etag"]) == (304, b"", head["etag"]), again)
        put("other.html", b"<p>other")
        with fresh():
            status, head, _ = ask(server, "other.html", method="HEAD")
            expect((status, head["content-length"], head["x-cache"]) == (200, "8", "MISS"), head)
            expect(ask(server, "other.html")[1]["x-cache"] == "HIT", "HEAD fills")


def case_names(flags):
    with start(flags) as server:
        put("a-b_c.9", b"yes")
        (FOLDER / ".hidden").write_bytes(b"no")
        (FOLDER / "folder").mkdir(exist_ok=True)
        (FOLDER / "to-nowhere").unlink(missing_ok=True)
        (FOLDER / "to-nowhere").symlink_to("nowhere")
        expect(ask(server, "a-b_c.9")[2] == b"yes", "a name")
        for name in (".hidden", "..", ".", "%2e%2e", "..%2fetc", "none", "folder", "to-nowhere", "a b".replace(" ", "%20"),
                     "x" * 300):
            expect(ask(server, name)[0] == 404, name)
    with arena.Arena(ARENA, "--workers", "1", *flags) as server:
        expect(ask(server, "a-b_c.9")[0] == 404, "no folder")


def case_changes(flags):
    """What there was is answered as long as it is fresh; then what there is."""
    with start(flags) as server:
        put("news", b"old")
        with fresh():
            expect(ask(server, "news")[2] == b"old", "old")
            put("news", b"new!")
            expect(ask(server, "news")[2] == b"old", "still old")
        time.sleep(FRESH)
        with fresh():
            status, head, body = ask(server, "news")
            expect((status, head["x-cache"], body) == (200, "MISS", b"new!"), head)
            os.unlink(FOLDER / "news")
            expect(ask(server, "news")[2] == b"new!", "removed, but kept")
        time.sleep(FRESH)
        expect(ask(server, "news")[0] == 404, "removed")


def case_one_read(flags):
    """Many ask for the same file at the same time: it is read once, in two pieces."""
    with start(flags) as server:
        put("popular", bytes_of(MIB + 1)[:MIB + 1])
        data = (FOLDER / "popular").read_bytes()
        wrong, line = [], threading.Barrier(24)

        def client():
            line.wait()
            status, _, body = ask(server, "popular")
            if status != 200 or body != data:
                wrong.append((status, len(body)))

        threads = [threading.Thread(target=client) for _ in range(24)]
        with fresh():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            expect(not wrong, wrong)
            expect(figure(server, "ring_reads_total") == 2, figure(server, "ring_reads_total"))


def case_restless(flags):
    """A file that is written all the time: what is answered is of one piece, or it is 503."""
    length, stop = MIB + 300000, threading.Event()

    def write():
        with open(FOLDER / "restless", "wb", buffering=0) as file:
            for i in range(1000000):
                if stop.is_set():
                    return
                file.truncate(0)
                file.seek(0)
                file.write(bytes([65 + i % 26]) * length)
                time.sleep(0.03 if i % 4 else 0.001)

    with start(flags) as server:
        put("restless", b"A")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            statuses, deadline = [], time.monotonic() + arena.PATIENCE_SECONDS
            while len(statuses) < 30 or (200 not in statuses and time.monotonic() < deadline):
                status, _, body = ask(server, "restless", "Authorization: x")
                statuses.append(status)
                expect(status in (200, 503), status)
                expect(status == 503 or len(set(body)) <= 1, "torn")
        finally:
            stop.set()
            writer.join()
        expect(200 in statuses, statuses)
        nothing_stays_open(server)


def case_ends(flags):
    """Clients that go, and a drain, while files are on their way: nothing stays open, and the exit code is 0."""
    with start(flags) as server:
        put("large", bytes(STORE // 8 - 4096))
        request = b"GET /files/large HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\n\r\n"
        for i in range(40):
            with server.connect() as sock:
                sock.sendall(request)
                if i % 2 == 0:
                    sock.recv(1000)
        nothing_stays_open(server)
        clients = [server.connect() for _ in range(3)]
        for sock in clients:
            sock.sendall(request)
        expect(clients[0].recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200", "the first")
        server.signal(15)
        clients[2].close()
        for sock in clients[:2]:
            data = b""
            while more := sock.recv(1 << 18):
                data += more
            body = data.partition(b"\r\n\r\n")[2]
            expect(len(body) == STORE // 8 - 4096, len(body))
        expect(server.wait() == 0, "the drain")


def case_example(flags):
    """/{name} of the folder, in its grace for ten seconds: an old one once, while it is read again."""
    put("index", b"one")
    with arena.Arena(EXAMPLE, "--workers", "1", "--folder", str(FOLDER), *flags) as server:
        expect(arena.get(server.port, "/index")[2] == b"one", "the file")
        expect(arena.get(server.port, "/.hidden")[0] == 404, "hidden")
        put("index", b"two")
        time.sleep(FRESH)
        _, head, body = arena.get(server.port, "/index")
        expect(b"X-Cache: STALE" in head and body == b"one", head)
        arena.until(lambda: arena.get(server.port, "/index")[2] == b"two", "refreshed")


def variants():
    found = [(name, ["--io", name]) for name in arena.backends(ARENA)]
    if "uring" in arena.backends(ARENA):
        found.append(("uring registered", ["--io", "uring", "--ring", "store=registered"]))
    return found


def main():
    global ARENA, EXAMPLE, FOLDER
    ARENA, EXAMPLE = sys.argv[1:3]
    FOLDER = Path(tempfile.mkdtemp(prefix="ringmain-files-"))
    cases = [(f"{name[5:]}: {variant}", lambda function=function, flags=flags: function(flags))
             for variant, flags in variants() for name, function in sorted(globals().items())
             if re.match(r"case_", name) and (variant != "uring registered" or function in (case_sizes, case_one_read, case_ends))]
    try:
        return arena.run_cases(cases)
    finally:
        shutil.rmtree(FOLDER)


if __name__ == "__main__":
    sys.exit(main())
