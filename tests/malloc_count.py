#!/usr/bin/env python3
"""No allocation after the seal: arena's allocations and mappings are counted while it serves a mix of all its routes, with
reconnects, bad requests, large bodies and clients that leave; the counts of a warmed-up server must not move.

usage: malloc_count.py ARENA LIBRARY [REQUESTS [TEMPLATE]]
       malloc_count.py ARENA LIBRARY reconnects LOAD PIPELINE
With TEMPLATE, the folder of a cluster that this one begins as a copy of, the mix is that of the database routes. `reconnects`:
100,000 clients of the program LOAD that come, ask for what is in the file PIPELINE, and go.
"""
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import cluster  # noqa: E402

NAMES = "malloc calloc realloc memalign free mmap munmap".split()
CLIENTS = 24
DEPTH = 8


def read_counts(path):
    data = Path(path).read_bytes()
    return dict(zip(NAMES, struct.unpack(f"{len(NAMES)}Q", data[:8 * len(NAMES)])))


def post(target, body, extra=""):
    return f"POST {target} HTTP/1.1\r\nHost: a\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def put(target, body):
    return b"PUT" + post(target, body)[4:]


def chunked(target, pieces):
    body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    return f"POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body


def get_text(target):
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


REQUESTS = [
    (20, get_text("/pipeline"), 200),
    (10, get_text("/baseline11?a=1&b=2"), 200),
    (10, post("/baseline11?a=1&b=2", b"39"), 200),
    (5, chunked("/baseline11?a=1&b=2", [b"3", b"9"]), 200),
    (5, get_text("/json/50?m=3"), 200),
    (5, get_text("/json/1"), 200),
    (3, post("/upload", b"u" * 30000), 200),
    (2, post("/echo", b"e" * 50000), 200),
    (3, post("/echo", b"e" * 100), 200),
    (3, get_text("/sleep/1"), 200),
    (5, get_text("/cached/7"), 200),
    (1, get_text("/cached/8?bytes=100000"), 200),
    (3, get_text("/slow/often?ms=1"), 200),
    (2, get_text("/slow-grace/often?ms=1"), 200),
    (2, get_text("/slow/never?ms=1&status=404"), 404),
    (1, get_text("/stats"), 200),
    (1, get_text("/metrics"), 200),
    (2, get_text("/healthz"), 200),
    (2, get_text("/nowhere"), 404),
    (2, get_text("/json/x"), 400),
    (2, post("/pipeline", b""), 405),
]

NO_ITEM = b'{"from":700000,"to":42,"quantity":1}'
ITEM = b'{"id":%d,"name":"n","category":"tools","price":5,"quantity":9,"active":true,"tags":["a","\\u00e9"],"rating":{"score":1.5,"count":2}}'
DEADLOCK = 503  # of two transfers that cross each other, or of a change that stands in the line between them, now and then

DATABASE_REQUESTS = [
    (20, get_text("/crud/items/42"), 200),
    (5, get_text("/crud/items/999999999"), 404),
    (2, get_text("/crud/items/x"), 400),
    (5, get_text("/async-db?min=10&max=50&limit=50"), 200),
    (2, get_text("/async-db?min=x"), 400),
    (5, get_text("/crud/items?category=electronics&page=2&limit=10"), 200),
    (2, get_text("/crud/items?category=%ff"), 400),  # what the database can't compare: an error of a query
    (2, get_text("/crud/items"), 400),
    (5, get_text("/db/two"), 200),
    (5, post("/crud/items", ITEM % 42), {201, DEADLOCK}),
    (2, post("/crud/items", b'{"id":42}'), 400),
    (2, post("/crud/items", b'[' * 3000), 400),
    (2, post("/crud/items", ITEM.replace(b'["a"', b'["' + b"t" * 3000 + b'"') % 43), {201, DEADLOCK}),
    (5, put("/crud/items/42", b'{"name":"n","price":5,"quantity":9}'), {200, DEADLOCK}),
    (2, put("/crud/items/999999999", b'{"name":"n","price":5,"quantity":9}'), 404),
    (2, put("/crud/items/42", b'nonsense'), 400),
    (3, post("/db/transfer", b'{"from":42,"to":43,"quantity":1}'), {200, 409, DEADLOCK}),
    (1, post("/db/transfer", b'{"from":43,"to":42,"quantity":1}'), {200, 409, DEADLOCK}),
    (1, post("/db/transfer", b'{"from":42,"to":43,"quantity":2000000000}'), {200, 409, DEADLOCK}),
    (1, post("/db/transfer", NO_ITEM), 404),
    (1, post("/db/transfer", b'{"from":42}'), 400),
    (5, get_text("/pipeline"), 200),
    (1, get_text("/stats"), 200),
    (1, get_text("/metrics"), 200),
]


class Client:
    """Sends a pipeline, reads all of it; now and then leaves in the middle or sends nonsense."""

    def __init__(self, port, draws, requests):
        self.port, self.draws, self.requests, self.sock = port, draws, requests, None

    def connect(self):
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.file = self.sock.makefile("rb")

    def close(self):
        if self.sock is not None:
            self.file.close()
            self.sock.close()
            self.sock = None

    def read_one(self):
        status = int(self.file.readline().split()[1])
        length = 0
        for line in iter(self.file.readline, b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if len(self.file.read(length)) != length:
            raise EOFError
        return status

    def turn(self):
        """One pipeline; how many requests it was."""
        if self.sock is None:
            self.connect()
        fate = self.draws.random()
        picks = self.draws.choices(self.requests, [weight for weight, _, _ in self.requests], k=DEPTH)
        data = b"".join(request for _, request, _ in picks)
        if fate < 0.03:  # leaves in the middle
            self.sock.sendall(data[:self.draws.randrange(1, len(data))])
            self.close()
            return 0
        if fate < 0.05:
            self.sock.sendall(b"NONSENSE\r\n\r\n")
            if self.read_one() != 400:
                raise AssertionError("nonsense was answered with something else than 400")
            self.close()
            return 1
        if fate < 0.15:  # in two pieces
            cut = self.draws.randrange(1, len(data))
            self.sock.sendall(data[:cut])
            self.sock.sendall(data[cut:])
        else:
            self.sock.sendall(data)
        for _, request, expected in picks:
            status = self.read_one()
            if status != expected and not (isinstance(expected, set) and status in expected):
                raise AssertionError(f"{status} instead of {expected} for {request[:60]!r}")
        if fate > 0.85:
            self.close()
        return DEPTH


def drive(port, count, seed, requests):
    draws = random.Random(seed)
    clients = [Client(port, draws, requests) for _ in range(CLIENTS)]
    done = 0
    while done < count:
        done += draws.choice(clients).turn()
    for client in clients:
        client.close()
    return done


def check(program, library, flags, count, requests):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "counts")
        env = dict(os.environ, LD_PRELOAD=library, MALLOC_COUNT_FILE=path)
        with arena.Arena(program, *flags, "--workers", "2", env=env) as server:
            if "--db" in flags:
                cluster.until(lambda: cluster.ready(server.port), "the database")
            warm = drive(server.port, 2000, 1, requests)
            before = read_counts(path)
            if before["malloc"] == 0 or before["mmap"] == 0:
                raise AssertionError(f"nothing was counted: {before}")
            done = drive(server.port, count, 2, requests)
            after = read_counts(path)
        moved = {name: after[name] - before[name] for name in NAMES if after[name] != before[name]}
        print(f"  {warm} + {done} requests; at the seal: {before}")
        if moved:
            raise AssertionError(f"allocations after the seal: {moved}")


# How 100,000 come: most of them by a Unix socket, which costs a third of a TCP connection and passes the same pools.
RECONNECTS = {"unix": 96000, "tcp": 4000}


def reconnect(load, template, address, count):
    """Clients that are closed after one response each."""
    done = subprocess.run([load, "--connect", address, "--template", template, "--requests", str(count), "--reconnect", "1",
                           "--connections", "64", "--json", "-"], capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"load: {done.stderr}")


def check_reconnects(program, library, name, load, template):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "counts")
        env = dict(os.environ, LD_PRELOAD=library, MALLOC_COUNT_FILE=path)
        unix = f"unix:{folder}/socket"
        with arena.Arena(program, "--io", name, "--workers", "2", "--listen", unix, env=env) as server:
            by = {"unix": unix, "tcp": f"127.0.0.1:{server.port}"}
            for way, address in by.items():
                reconnect(load, template, address, 1000)
            before = read_counts(path)
            accepted = -json.loads(arena.get(server.port, "/stats")[2])["total"]["connections"]["accepted"]
            for way, address in by.items():
                reconnect(load, template, address, RECONNECTS[way])
            after = read_counts(path)
            accepted += json.loads(arena.get(server.port, "/stats")[2])["total"]["connections"]["accepted"]
        moved = {key: after[key] - before[key] for key in NAMES if after[key] != before[key]}
        print(f"  {accepted} connections; at the seal: {before}")
        if moved:
            raise AssertionError(f"allocations after the seal: {moved}")
        if accepted < sum(RECONNECTS.values()):
            raise AssertionError(f"{accepted} connections only")


def main(argv):
    if len(argv) not in (3, 4, 5, 6):
        sys.exit(__doc__)
    program, library = argv[1], argv[2]
    if arena.is_sanitized(program):
        print("skipped: a sanitizer has an allocator of its own")
        return 77
    if len(argv) == 6:
        return arena.run_cases([(name, lambda name=name: check_reconnects(program, library, name, argv[4], argv[5]))
                                for name in arena.backends(program)])
    count = int(argv[3]) if len(argv) > 3 else 20000
    if len(argv) < 5:
        return arena.run_cases([(name, lambda flags=flags: check(program, library, flags, count, REQUESTS))
                                for name, flags in arena.variants(program)])
    code = cluster.skip_without()
    if code is not None:
        return code
    with cluster.Cluster(argv[4], "deadlock_timeout=20ms") as db:
        return arena.run_cases([(name, lambda name=name: check(program, library, ["--io", name, *cluster.flags_of(db)], count,
                                                               DATABASE_REQUESTS))
                                for name in arena.backends(program)])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
