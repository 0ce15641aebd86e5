#!/usr/bin/env python3
"""arena with a store in a file, on each backend: what outlives a restart and what must not, and files that others have, that are
no store, that do not fit, or that somebody cuts short.

usage: cache_store.py ARENA [long | CASE]
"""
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
from cache_client import Client, Threads, ask, body_of_cached, expect, same  # noqa: E402

MIB = 1 << 20
SIZES = (1, 300, 1024, 5000, 16384, 20000, 300000)
LOST = ("crash", "in use", "empty", "clean")  # one of these is in what is said when a store is not taken over
EXIT_UNAVAILABLE, EXIT_CONFIG = 69, 78


def serve(program, io, path, *more, megabytes=16):
    return arena.Arena(program, "--io", io, "--workers", "2", "--store", path, "--store-bytes", f"{megabytes}M", *more)


def objects(seed, n=60):
    draws = random.Random(seed)
    return [(draws.randrange(1 << 40), draws.choice(SIZES)) for _ in range(n)]


def check(port, which, caches):
    """Asks for all of them: their bytes must be right, and X-Cache one of `caches`."""
    with Client(port) as client:
        for n, size in which:
            answer = client.ask(f"/cached/{n}?bytes={size}")
            same((answer.status, answer.body == body_of_cached(n, size)), (200, True), f"/cached/{n}?bytes={size}")
            expect(answer.cache in caches, f"/cached/{n}?bytes={size}: {answer.cache}, not {caches}")


def refused(program, io, path, megabytes=16):
    """Starts what must not start: (exit code, what it said)."""
    done = subprocess.run([program, "--io", io, "--listen", "127.0.0.1:0", "--workers", "2", "--store", path, "--store-bytes",
                           f"{megabytes}M"], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def said(server, *words):
    return [line for line in server.lines if any(word in line for word in words)]


# ------------------------------------------------------------------------------------------------------ restarts ----

def warm(program, io, folder):
    """What was kept is there after a clean restart, on whichever backend, with its age."""
    path = f"{folder}/store"
    which = objects(1)
    other = [name for name in arena.backends(program) if name != io] or [io]
    started = time.monotonic()
    with serve(program, io, path) as server:
        check(server.port, which, {"MISS"})
        check(server.port, which, {"HIT"})
        etag = ask(server.port, f"/cached/{which[0][0]}?bytes={which[0][1]}").fields["etag"]
    time.sleep(1)
    for name in (other[0], io):
        with serve(program, name, path) as server:
            check(server.port, which, {"HIT"})
            answer = ask(server.port, f"/cached/{which[0][0]}?bytes={which[0][1]}")
            same(answer.fields["etag"], etag, "ETag")
            expect(1 <= int(answer.fields["age"]) <= time.monotonic() - started, f"Age: {answer}")
    same(os.stat(path).st_size >= 16 * MIB, True, "the file's size")


def closed_for_too_long(program, io, folder):
    """The time to live goes on while nobody serves."""
    which = objects(2, 10)
    with serve(program, io, f"{folder}/store", "--cached-ttl", "2s") as server:
        with arena.within(2, "the time to live"):
            check(server.port, which, {"MISS"})
            check(server.port, which, {"HIT"})
    time.sleep(2.1)
    with serve(program, io, f"{folder}/store") as server:
        check(server.port, which, {"MISS"})


def killed(program, io, folder, times=3):
    """After kill -9, in the middle of everything, nothing is left, and nothing is wrong."""
    path = f"{folder}/store"
    which = objects(3, 200)
    draws = random.Random(3)
    for _ in range(times):
        server = serve(program, io, path)
        try:
            check(server.port, which[:3], {"MISS"})

            def drive(ending, server=server):
                with contextlib.suppress(OSError, EOFError):
                    while not ending.is_set():
                        check(server.port, draws.sample(which, 20), {"HIT", "MISS"})

            with Threads([drive] * 4):
                time.sleep(0.2 + draws.random() / 2)
                server.signal(signal.SIGKILL)
                server.wait()
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
    with serve(program, io, path) as server:
        expect(said(server, *LOST), f"nothing was said of it: {server.lines}")
        check(server.port, which[:30], {"MISS"})
    with serve(program, io, path) as server:
        check(server.port, which[:30], {"HIT"})


# --------------------------------------------------------------------------------------------------------- files ----

def in_use(program, io, folder):
    """A file has one server; who comes second is told so, and the first one goes on."""
    path = f"{folder}/store"
    which = objects(4, 20)
    with serve(program, io, path) as server:
        check(server.port, which, {"MISS"})
        code, text = refused(program, io, path)
        same(code, EXIT_UNAVAILABLE, f"exit code: {text}")
        expect(path in text and "another" in text, text)
        check(server.port, which, {"HIT"})
    with serve(program, io, path) as server:
        check(server.port, which, {"HIT"})


def not_a_store(program, io, folder):
    """Another size, a part of one, somebody's file, and what is no plain file."""
    path = f"{folder}/store"
    which = objects(5, 20)
    with serve(program, io, path) as server:
        check(server.port, which, {"MISS"})
    with serve(program, io, path, megabytes=32) as server:
        check(server.port, which, {"MISS"})
    with serve(program, io, path, megabytes=32) as server:
        check(server.port, which, {"HIT"})
    with open(path, "r+b") as file:
        file.truncate(5 * MIB)
    with serve(program, io, path, megabytes=32) as server:
        check(server.port, which, {"MISS"})
    other = Path(folder, "precious")
    other.write_bytes(b"not to be written over\n" * 1000)
    before = other.read_bytes()
    code, text = refused(program, io, str(other))
    expect(code in (EXIT_UNAVAILABLE, EXIT_CONFIG) and str(other) in text, f"somebody's file: exit code {code}: {text}")
    same(other.read_bytes() == before, True, "somebody's file is as it was")
    os.mkfifo(f"{folder}/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        for name in (folder, f"{folder}/fifo", f"{folder}/socket", "/dev/null", f"{folder}/nowhere/store", "/proc/version"):
            code, text = refused(program, io, name)
            expect(code in (EXIT_UNAVAILABLE, EXIT_CONFIG), f"{name}: exit code {code}: {text}")
            expect(name in text, f"{name}: {text}")


@contextlib.contextmanager
def small_disk(folder, megabytes):
    place = f"{folder}/disk"
    os.mkdir(place)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", place], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise arena.Skipped(f"cannot mount a small disk: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def disk_full(program, io, folder):
    """There is no room for the file: that is said before anything is served, and nothing is left of it."""
    with small_disk(folder, 24) as place:
        code, text = refused(program, io, f"{place}/store", megabytes=64)
        same(code, EXIT_CONFIG, f"exit code: {text}")
        same(os.listdir(place), [], "what is left")
        expect(f"{place}/store" in text and "free" in text, text)
        which = objects(6, 20)
        with serve(program, io, f"{place}/store", megabytes=16) as server:
            Path(place, "rest").touch()
            subprocess.run(["dd", "if=/dev/zero", f"of={place}/rest", "bs=1M"], capture_output=True, check=False)
            check(server.port, which, {"MISS"})  # its blocks are its own already
            check(server.port, which, {"HIT"})


def cut_short(program, io, folder):
    """Somebody truncates the file while it is served: answers are right, or a connection ends early; nothing dies of it."""
    path = f"{folder}/store"
    which = objects(7, 120)
    cut = 0

    def drive(seed, ending):
        nonlocal cut
        draws = random.Random(seed)
        while not ending.is_set():
            try:
                with Client(server.port) as client:
                    for n, size in draws.choices(which, k=50):
                        answer = client.ask(f"/cached/{n}?bytes={size}")
                        same((answer.status, answer.body == body_of_cached(n, size)), (200, True), f"/cached/{n}?bytes={size}")
            except (EOFError, ConnectionError):
                cut += 1

    with serve(program, io, path) as server:
        check(server.port, which, {"MISS"})
        with Threads([lambda ending, seed=seed: drive(seed, ending) for seed in range(6)]):
            time.sleep(0.3)
            os.truncate(path, 3 * MIB)
            time.sleep(0.3)
            os.truncate(path, 0)
            time.sleep(0.5)
        expect(server.process.poll() is None, "it died")
        check(server.port, which[:20], {"MISS", None})
    print(f"  {cut} connections ended early")
    with serve(program, io, path) as server:
        check(server.port, which[:20], {"MISS"})
        check(server.port, which[:20], {"HIT"})


def unlinked(program, io, folder):
    """Somebody removes the file while it is served: that changes nothing until the end."""
    path = f"{folder}/store"
    which = objects(8, 20)
    with serve(program, io, path) as server:
        check(server.port, which, {"MISS"})
        os.unlink(path)
        check(server.port, which, {"HIT"})
        with serve(program, io, path) as other:
            check(other.port, which, {"MISS"})
            check(server.port, which, {"HIT"})


def memory_only(program, io, folder):
    """Without a path nothing is left on the disk, and nothing outlives the process."""
    which = objects(9, 20)
    for _ in range(2):
        with arena.Arena(program, "--io", io, "--workers", "2", "--store-bytes", "16M") as server:
            check(server.port, which, {"MISS"})
            check(server.port, which, {"HIT"})
    same(os.listdir(folder), [], "files")


CASES = [warm, closed_for_too_long, killed, in_use, not_a_store, disk_full, cut_short, unlinked, memory_only]


def main(argv):
    if len(argv) not in (2, 3):
        sys.exit(__doc__)
    program, is_long = argv[1], argv[2:] == ["long"]
    chosen = [case for case in CASES if len(argv) < 3 or is_long or argv[2] in case.__name__]

    def run(case, io):  # anew, when it was too late for something
        with tempfile.TemporaryDirectory(prefix="rm-store-") as folder:
            case(program, io, folder, *([40] if is_long and case is killed else []))

    return arena.run_cases([(f"{io}: {case.__name__}", lambda case=case, io=io: run(case, io))
                            for io in arena.backends(program) for case in chosen])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
