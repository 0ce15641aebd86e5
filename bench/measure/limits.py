"""Checks of how arena behaves at its edges: many workers, many connections, few rights, nothing to do. Each function gives
Checks (measure/bounds.py)."""
import os
import resource
import re
import shutil
import subprocess
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from measure import process, tracing
from measure.arms import Arena, Unavailable
from measure.bounds import at_most, exactly, holds, skipped
from measure.generators import run_load, wrong_responses

MIB = 1 << 20
WORKERS = (1, 2, 4, 64)
MANY_WORKERS, MANY_CONNECTIONS, MANY_RSS_MIB = 64, 4096, 68
IDLE_CONNECTIONS, IDLE_RSS_BASE, IDLE_RSS_EACH = 10000, 8 * MIB, 600
IDLE_WAKES = 5
MEMLOCK_BYTES = 8 * MIB
NOBODY = 65534
FILES_SPARE = 200  # descriptors that are no connections, of both processes


def said_in_log(arena, words):
    return [line for line in arena.output().splitlines() if words in line]


def ran_right(result):
    return wrong_responses(result) or ("the generator fell back" if result["fallback"] else None)


def rings_and_listeners(build, folder, seconds):
    """As many rings and listeners as workers, and no futex call while they work."""
    no_tracing = tracing.why_not()
    for n in WORKERS:
        with Arena(build, folder, f"workers-{n}", ["--io", "uring"], workers=n) as arena:
            yield exactly(f"rings of {n} workers", n, process.rings(arena.pid))
            yield exactly(f"listeners of {n} workers", n, process.listeners(arena.port))
            if no_tracing:
                yield skipped(f"futex calls under load, {n} workers", "= 0", no_tracing)
                continue
            with tracing.Counting(arena.pid) as counting:
                result = run_load(build, arena.port, "baseline", connections=256, seconds=seconds, reconnect=100)
            wrong = ran_right(result)
            calls = counting.by_name.get("futex", 0)
            yield holds(f"futex calls under load, {n} workers", "= 0", not wrong and calls == 0, str(calls),
                        wrong or f"{result['requests']:,} requests")


class Peak(threading.Thread):
    """Watches a process's resident memory."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.over, self.most = pid, threading.Event(), process.memory(pid)

    def run(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, process.memory(self.pid), key=lambda memory: memory.resident)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def apart(memory):
    return f"{memory.anonymous / MIB:.1f} MiB anonymous, {memory.shared / MIB:.1f} MiB shared"


def many_workers_memory(build, folder, seconds):
    """RSS with 64 workers and 4,096 connections under load."""
    for io in ("uring", "epoll"):
        with Arena(build, folder, f"many-{io}", ["--io", io, "--max-connections", 8192], workers=MANY_WORKERS) as arena:
            with Peak(arena.pid) as peak:
                result = run_load(build, arena.port, "baseline", connections=MANY_CONNECTIONS, seconds=seconds)
            wrong = ran_right(result)
            what = f"RSS, {MANY_WORKERS} workers, {MANY_CONNECTIONS} connections, {io}"
            if wrong:
                yield holds(what, f"<= {MANY_RSS_MIB} MiB", False, "-", wrong)
            else:
                yield at_most(what, MANY_RSS_MIB, peak.most.resident / MIB, " MiB", apart(peak.most))


def own_libraries(program):
    """Paths of those that are no part of the system."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [path for path in re.findall(r"=> (/\S+)", listed) if not path.startswith(("/lib", "/usr/lib"))]


def copy_for_everybody(build, folder):
    """A build folder with nothing but arena, in a place that a user without rights can reach: a checkout may lie below a
    home that is closed to others."""
    copy = Path(folder) / "few-rights-build"
    (copy / "examples").mkdir(parents=True)
    for name in ("arena", "dataset.tsv"):
        shutil.copy(Path(build) / "examples" / name, copy / "examples")
    for library in own_libraries(Path(build) / "examples/arena"):
        shutil.copy(library, copy / "examples")
    for path in (Path(folder), copy, copy / "examples"):
        path.chmod(0o755)
    return copy


def few_rights(build, folder):
    """64 workers on io_uring with 8 MiB of locked memory, as somebody without rights."""
    what, bound = f"{MANY_WORKERS} workers, unprivileged, {MEMLOCK_BYTES // MIB} MiB memlock", "serves on uring"
    user = NOBODY if os.geteuid() == 0 else None

    def limits():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (MEMLOCK_BYTES, MEMLOCK_BYTES))

    try:
        with Arena(copy_for_everybody(build, folder), folder, "few-rights", ["--io", "uring"], workers=MANY_WORKERS, user=user, limits=limits) as arena:
            backend = arena.stats()["backend"]
            rings = process.rings(arena.pid)
            result = run_load(build, arena.port, "baseline", connections=256, seconds=0.5)
            wrong = wrong_responses(result)
            fine = backend["name"] == "uring" and not wrong and rings == MANY_WORKERS
            yield holds(what, bound, fine, f"{backend['name']}, {rings} rings", wrong or "as uid " + str(user or os.geteuid()))
    except (Unavailable, PermissionError) as why:
        yield holds(what, bound, False, "did not start", str(why))


@contextmanager
def held_connections(port, n):
    """`n` connections, each of which has had one answer and is kept open."""
    request = b"GET /pipeline HTTP/1.1\r\nHost: a\r\n\r\n"
    held = []
    try:
        for _ in range(n):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=10))
            held[-1].sendall(request)
            if not held[-1].recv(4096).startswith(b"HTTP/1.1 200"):
                raise Unavailable(f"connection {len(held)} of {n} got no 200")
        yield held
    finally:
        for connection in held:
            connection.close()


def idle_connections_possible():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(IDLE_CONNECTIONS, hard - FILES_SPARE)


def wakes_per_second(servers, seconds):
    before = [process.switches(server.pid)[0] for server in servers]
    time.sleep(seconds)
    return [(process.switches(server.pid)[0] - n) / seconds for server, n in zip(servers, before)]


def idle(build, folder, seconds):
    """Memory of idle keep-alive connections, and how often an idle server wakes. Servers without connections sleep beside those
    that hold some."""
    n = idle_connections_possible()
    limit = (IDLE_RSS_BASE + IDLE_RSS_EACH * n) / MIB
    for io in ("uring", "epoll"):
        with ExitStack() as stack:
            arena = stack.enter_context(Arena(build, folder, f"idle-{io}", ["--io", io, "--max-connections", n + 100]))
            asleep = {workers: stack.enter_context(Arena(build, folder, f"asleep-{io}-{workers}", ["--io", io], workers=workers))
                      for workers in (1, 4)}
            empty = process.memory(arena.pid)
            with held_connections(arena.port, n):
                memory = process.memory(arena.pid)
                wakes, *others = wakes_per_second([arena, *asleep.values()], seconds)
            each = (memory.resident - empty.resident) / n
            yield at_most(f"RSS, {n} idle connections, {io}", limit, memory.resident / MIB, " MiB",
                          f"{each:.0f} bytes each; {apart(memory)}")
            yield at_most(f"wake-ups per second with them, {io}", IDLE_WAKES, wakes)
            for workers, wakes in zip(asleep, others):
                yield at_most(f"idle wake-ups per second and worker, {workers} workers, {io}", IDLE_WAKES, wakes / workers,
                              beside="all threads of the process counted")


def all_checks(build, folder, seconds=1.0):
    yield from rings_and_listeners(build, folder, seconds)
    yield from many_workers_memory(build, folder, 2 * seconds)
    yield from few_rights(build, folder)
    yield from idle(build, folder, 3 * seconds)
