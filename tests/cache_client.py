"""Clients for the tests of the response cache. Standard library only."""
import itertools
import json
import re
import socket
import threading

import arena

TIMEOUT_SECONDS = 60
counter = itertools.count(1)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def same(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


def new_key():
    """One that no test has used."""
    return f"k{next(counter)}"


class Response:
    def __init__(self, status, head, body):
        self.status, self.body = status, body
        lines = head.decode("latin-1").split("\r\n")[1:]
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}

    @property
    def cache(self):
        """Of X-Cache; None: there is none."""
        return self.fields.get("x-cache")

    @property
    def number(self):
        """Of /slow: which execution this is the answer of."""
        return int(re.match(rb"\d+", self.body).group())

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:80]!r}>"


class Client:
    """One keep-alive connection; what was sent and what comes are two steps, so that one thread can have many."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def send(self, target, method="GET", body=None, **fields):
        lines = [f"{method} {target} HTTP/1.1", "Host: a"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.head_only = method == "HEAD"
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        return self

    def more(self):
        piece = self.sock.recv(262144)
        if not piece:
            raise EOFError(f"the connection ended behind {self.data[:200]!r}")
        self.data += piece

    def receive(self):
        while (end := self.data.find(b"\r\n\r\n")) < 0:
            self.more()
        head, self.data = self.data[:end], self.data[end + 4:]
        status = int(head[9:12])
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        length = 0 if self.head_only or status == 304 or not found else int(found.group(1))
        while len(self.data) < length:
            self.more()
        body, self.data = self.data[:length], self.data[length:]
        return Response(status, head, body)

    def ask(self, target, method="GET", body=None, **fields):
        return self.send(target, method, body, **fields).receive()

    def json(self, method, target, value):
        return self.ask(target, method, json.dumps(value).encode())

    def close(self, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()


class Clients:
    """Many connections: the kernel spreads them over the workers."""

    def __init__(self, port, n):
        self.all = [Client(port) for _ in range(n)]

    def __iter__(self):
        return iter(self.all)

    def __getitem__(self, i):
        return self.all[i]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for client in self.all:
            client.close()


def ask(port, target, method="GET", body=None, **fields):
    """One request on a connection of its own."""
    with Client(port) as client:
        return client.ask(target, method, body, **fields)


def stats(port):
    return json.loads(arena.get(port, "/stats")[2])


def workers_that_served(port):
    return sum(worker["connections"]["accepted"] > 0 for worker in stats(port)["workers"])


def body_of_cached(n, size):
    """What /cached/N?bytes=SIZE answers: examples/arena_cache.h."""
    head = f"{n} ".encode()
    if size < len(head):
        return head[:-1]
    alphabet = bytes(range(97, 123))
    first = (n % 2**64) % 26
    rest = size - len(head)
    return head + (alphabet * (rest // 26 + 2))[first:first + rest]


class Threads:
    """Functions that run beside each other until `with` ends; the first error of any of them is raised there."""

    def __init__(self, functions):
        self.ending = threading.Event()
        self.errors = []
        self.threads = [threading.Thread(target=self.run, args=(function,), daemon=True) for function in functions]

    def run(self, function):
        try:
            function(self.ending)
        except Exception as error:  # a thread that dies silently would be no test
            self.errors.append(error)
            self.ending.set()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.ending.set()
        for thread in self.threads:
            thread.join(TIMEOUT_SECONDS)
        if self.errors and kind is None:
            raise self.errors[0]
