"""Starts and stops arena for tests: a free port, the start line, the exit code. Standard library only.

A test waits for what it wants to see (`until`), however slow the machine is. Where a moment is all that there is to see something
in, the test says how long it lasts (`within`): a failure after that is the machine's, and the case runs again."""
import atexit
import contextlib
import ctypes
import errno
import functools
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

# The address sanitizer marks the memory of all connections at each start; by default, at 20,000 descriptors, in 0.24 s.
CONNECTIONS_SANITIZED = "4000"
START_SECONDS = 60
STOP_SECONDS = 60
PATIENCE_SECONDS = 60  # for what must happen at some time
TRIES = 6              # of a case for whose moments the machine was too slow


def raise_soft_limit():
    """As many descriptors as we may have: servers inherit it. Far fewer than some systems allow, where each one costs memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20000 if hard == resource.RLIM_INFINITY else min(20000, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


raise_soft_limit()


class Arena:
    """One running server: `with Arena(program, "--io", "epoll") as arena: arena.port`."""

    def __init__(self, program, *flags, env=None, listen="127.0.0.1:0", preexec_fn=None):
        if "--max-connections" not in flags and is_sanitized(program):
            flags += ("--max-connections", CONNECTIONS_SANITIZED)
        self.command = [program, "--listen", listen, *flags]
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=env,
                                        preexec_fn=preexec_fn)
        atexit.register(self._kill)
        self.lines = []
        self.port = None
        self.backend = None
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.ready.wait(START_SECONDS) or self.backend is None:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            raise RuntimeError(f"{' '.join(self.command)} did not start:\n" + "".join(self.lines))

    def _kill(self):
        """What a failed case has left behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            started = re.search(r"listening on (\S+).* · backend (\w+) ", line)
            if started:
                port = re.search(r":(\d+)$", started.group(1).rstrip(","))
                self.port = int(port.group(1)) if port else None
                self.backend = started.group(2)
                self.ready.set()
        self.ready.set()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        code = self.process.wait(seconds)
        self.reader.join(seconds)
        return code

    def stop(self):
        """TERM, and the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        code = self.stop()
        if kind is None and code != 0:
            raise RuntimeError(f"{' '.join(self.command)} ended with {code}:\n" + "".join(self.lines))


URING_SETUP = 425  # on every architecture


def uring_refused():
    """Whether this machine refuses io_uring to us, as the seccomp filters of containers do and kernel.io_uring_disabled."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(URING_SETUP, 0, None) < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)


if uring_refused():
    os.environ.setdefault("RINGMAIN_IO", "epoll")  # asked for, it is no fallback, of which a line would tell
left_out = []  # backends that are compiled in, but may not be used here


def backends(program):
    """The backends that were compiled in and may be used here."""
    found = compiled(program)
    if "uring" in found and uring_refused():
        found.remove("uring")
        if not left_out:
            print("[  SKIPPED ] uring: this machine refuses io_uring_setup(2), so all cases are for epoll", flush=True)
            left_out.append("uring")
    return found


def compiled(program):
    """The backends that were compiled in: `--version` names them."""
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"\((.*)\)", text).group(1).split()


@functools.cache
def is_sanitized(program):
    """True when a sanitizer is in it, whose runtime has an allocator of its own."""
    text = subprocess.run(["nm", "-D", program], capture_output=True, check=False).stdout
    return b"__asan_init" in text or b"__tsan_init" in text


def variants(program):
    """(name, flags) of every way to run the ring that the tests go through."""
    found = [(name, ["--io", name]) for name in backends(program)]
    if "uring" in backends(program):
        found.append(("uring naive", ["--io", "uring", "--ring", "naive"]))
        found.append(("uring tiny", ["--io", "uring", "--ring", "buffers=2,buffers-max=2,cq=16"]))
    return found


def read_response(sock):
    """One response with a Content-Length: (status, head, body). Raises EOFError at the end of the stream."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise EOFError(data)
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    want = int(length.group(1)) if length else 0
    while len(body) < want:
        more = sock.recv(65536)
        if not more:
            raise EOFError(data)
        body += more
    return int(head.split(b" ", 2)[1]), head, body


def get(port, target):
    """One GET on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return read_response(sock)


def until(condition, what, seconds=PATIENCE_SECONDS):
    """Waits; how long it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - started


def active_requests(port):
    """How many have begun and not ended, without the one that asks."""
    return int(re.search(rb"\nhttp_server_active_requests (\d+)", get(port, "/metrics")[2]).group(1)) - 1


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def free_port():
    """One that a program may be told to listen on. The kernel gives it to nobody else meanwhile: it is none of those that it
    chooses from. Another test may take it only if it begins to look at the same place: where that is depends on the process."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    room = range(10000, low) if low > 12000 else range(10000, 65000)
    for i in range(len(room)):
        port = room[(os.getpid() * 61 + next_port[0] + i) % len(room)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            next_port[0] += i + 1
            return port
    raise RuntimeError("no port is free")


next_port = [0]


class Skipped(Exception):
    """Raised by a case that can't be run here; says why."""


class TooLate(Exception):
    """The machine was too slow to see what there was to see. The case runs again, some times."""


@contextlib.contextmanager
def within(seconds, what):
    """For what holds for a moment only. What fails inside in time has failed; what fails later is TooLate."""
    started = time.monotonic()
    try:
        yield
    except (Skipped, TooLate):
        raise
    except Exception as error:
        took = time.monotonic() - started
        if took > seconds:
            raise TooLate(f"{what}: {took:.2f} s of {seconds} s: {type(error).__name__}: {error}") from error
        raise


def patiently(function):
    """Calls it, and again when it was too late for something. The last time that is a failure."""
    for left in reversed(range(TRIES)):
        try:
            return function()
        except TooLate as why:
            if left == 0:
                raise
            print(f"             again: {why}", flush=True)


def run_cases(cases):
    """Runs (name, function) pairs, prints a line for each, returns the exit code."""
    failed = skipped = 0
    for name, function in cases:
        started = time.monotonic()
        try:
            patiently(function)
        except Skipped as why:
            skipped += 1
            print(f"[  SKIPPED ] {name}: {why}")
        except Exception as error:  # a failed case must not hide the others
            failed += 1
            print(f"[  FAILED  ] {name}: {type(error).__name__}: {error}")
        else:
            print(f"[       OK ] {name} ({time.monotonic() - started:.2f} s)")
        sys.stdout.flush()
    passed, skipped = len(cases) - failed - skipped, skipped + len(left_out)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0
