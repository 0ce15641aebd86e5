#!/usr/bin/env python3
"""Runs tests/wire/*.txt against a real arena, on every backend that is compiled in: bytes sent, bytes expected.

usage: wire.py ARENA FILE_OR_FOLDER...

A script is one connection. A line begins with

    #          a comment, or, as `#flags ...`, flags of arena for this script alone
    >          bytes to send; <  bytes to expect. A CRLF is added, unless the line ends with a lone \\ ; \\r \\n \\t \\\\ \\xNN work
    >N x       (a number directly after the sign) the text N times, without a CRLF; the same for <N x
    ~ MS       send what was collected so far, then wait; splits a send in two
    %end       end our half of the stream
    %eof       the server must have ended its half here, and no reset
    %quiet MS  nothing may come for so long
    %stall MS  reads nothing for so long (and asks for a small receive buffer from the start)
    %reset     the connection must have been reset, whatever came before that

Expected bytes are compared when the next thing is to be sent, at %-lines, and at the end of the script. The value of every
Date field is replaced by *.
"""
import re
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402

WAIT_SECONDS = 60


def unescape(text):
    names = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}
    out = b""
    at = 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode("latin-1")
            at += 1
        elif text[at + 1] == "x":
            out += bytes([int(text[at + 2:at + 4], 16)])
            at += 4
        else:
            out += names[text[at + 1]]
            at += 2
    return out


def line_bytes(text):
    """What stands behind > or <."""
    repeated = re.match(r"(\d+) (.*)$", text)
    if repeated:
        return int(repeated.group(1)) * unescape(repeated.group(2))
    text = text[1:] if text.startswith(" ") else text
    if re.search(r"(?<!\\)(\\\\)*\\$", text):
        return unescape(text[:-1])
    return unescape(text) + b"\r\n"


def parse(text):
    """(flags, steps): steps are (verb, argument)."""
    flags, steps = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#flags"):
            flags = line.split()[1:]
        elif line == "" or line.startswith("#"):
            continue
        elif line[0] in "><":
            steps.append(("send" if line[0] == ">" else "expect", line_bytes(line[1:])))
        elif line.startswith("~"):
            steps.append(("pause", int(line[1:])))
        elif line.startswith(("%quiet", "%stall")):
            steps.append((line[1:6], int(line.split()[1])))
        elif line in ("%end", "%eof", "%reset"):
            steps.append((line[1:], None))
        else:
            raise ValueError(f"line {number}: {line}")
    return flags, steps


def normal(data):
    return re.sub(rb"\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n", rb"\r\nDate: *\r\n", data)


class Session:
    def __init__(self, sock):
        self.sock = sock
        self.out = b""
        self.expected = b""
        self.got = b""
        self.sent_at = time.monotonic()

    def flush(self):
        if self.out:
            self.sock.sendall(self.out)
            self.out = b""
            self.sent_at = time.monotonic()

    def receive(self, seconds):
        """More bytes; b"" at the end of the stream; None when none came in time."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            return self.sock.recv(1 << 20)
        except socket.timeout:
            return None

    def settle(self):
        """Waits until as many bytes are there as are expected, and compares."""
        self.flush()
        deadline = time.monotonic() + WAIT_SECONDS
        while len(normal(self.got)) < len(self.expected):
            more = self.receive(deadline - time.monotonic())
            if not more:
                break
            self.got += more
        self.compare()

    def compare(self):
        got = normal(self.got)
        if got != self.expected:
            at = next((i for i, (a, b) in enumerate(zip(got, self.expected)) if a != b), min(len(got), len(self.expected)))
            raise AssertionError(f"byte {at} differs:\n  got      {got[max(0, at - 200):at + 200]!r}\n"
                                 f"  expected {self.expected[max(0, at - 200):at + 200]!r}")

    def expect_reset(self):
        try:
            while more := self.receive(WAIT_SECONDS):
                self.got += more
        except ConnectionResetError:
            self.expected = normal(self.got)
            return
        raise AssertionError("no reset but " + ("silence" if more is None else "the end of the stream"))

    def step(self, verb, argument):
        if verb == "send":
            if self.expected and len(normal(self.got)) < len(self.expected):
                self.settle()
            self.out += argument
        elif verb == "expect":
            self.expected += argument
        elif verb in ("pause", "stall"):
            self.flush()
            time.sleep(argument / 1000)
        elif verb == "reset":
            self.expect_reset()
        elif verb == "end":
            self.flush()
            self.sock.shutdown(socket.SHUT_WR)
        elif verb == "quiet":
            self.settle()
            more = self.receive(argument / 1000)
            if more is not None and time.monotonic() - self.sent_at > 2 * argument / 1000:
                raise arena.TooLate(f"quiet for {argument} ms: {more!r} came later")
            if more is not None:
                raise AssertionError(f"not quiet: {more!r}")
        elif verb == "eof":
            self.settle()
            more = self.receive(WAIT_SECONDS)
            if more != b"":
                raise AssertionError(f"no end of the stream but {more!r}")


def play(port, steps):
    with socket.socket() as sock:
        if any(verb == "stall" for verb, _ in steps):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(WAIT_SECONDS)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(sock)
        for verb, argument in steps:
            session.step(verb, argument)
        session.settle()


def main(argv):
    if len(argv) < 3:
        sys.exit(__doc__)
    program, paths = argv[1], [Path(name) for name in argv[2:]]
    files = [file for path in paths for file in (sorted(path.glob("*.txt")) if path.is_dir() else [path])]
    code = 0
    for name, flags in arena.variants(program):
        with arena.Arena(program, "--workers", "1", *flags) as server:
            cases = []
            for file in files:
                extra, steps = parse(file.read_text(encoding="utf-8"))

                def case(extra=extra, steps=steps, flags=flags):
                    if not extra:
                        return play(server.port, steps)
                    with arena.Arena(program, "--workers", "1", *flags, *extra) as own:
                        return play(own.port, steps)

                cases.append((f"{name}: {file.stem}", case))
            code |= arena.run_cases(cases)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
