#!/usr/bin/env python3
"""The store of a server: its file, from the first start to the next, and what keeps a server from having one.

usage: storage.py CACHED HELLO OPERATING.MD
"""
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import exposition  # noqa: E402

MIB = 1 << 20
CACHED = HELLO = OPERATING = None
FOLDER = None


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def run(program, *flags, preexec_fn=None):
    """(exit code, standard error) of a server that must refuse to start."""
    done = subprocess.run([program, "--listen", "127.0.0.1:0", "--workers", "1", *flags], capture_output=True, text=True,
                          timeout=30, check=False, preexec_fn=preexec_fn)
    return done.returncode, done.stderr


def start(*flags, program=None):
    return arena.Arena(program or CACHED, "--workers", "1", "--store-bytes", "2M", *flags)


def said(server, level, words):
    """One line, with its level."""
    return sum(f" {level} " in line and words in line for line in server.lines) == 1


def families(server):
    return exposition.parse(arena.get(server.port, "/metrics")[2].decode())


def value(found, name, **labels):
    return found[name].samples[name, tuple(sorted(labels.items()))]


def case_file_from_start_to_start():
    path = FOLDER / "life"
    with start("--store", path) as server:
        status = path.stat()
        expect(status.st_mode & 0o777 == 0o600 and 2 * MIB < status.st_size < 3 * MIB, status)
        expect(status.st_blocks * 512 >= status.st_size, "it is not allocated")
        expect(not any("--store" in line for line in server.lines), server.lines)
    with start("--store", path) as server:
        expect(said(server, "info", "brings 0 objects"), server.lines)
        server.signal(signal.SIGKILL)
        server.wait()
        server.process.returncode = 0
    with start("--store", path) as server:
        expect(said(server, "warn", "was not closed"), server.lines)
    with start("--store", path, "--store-bytes", "3M") as server:
        expect(said(server, "warn", "was made for"), server.lines)
        expect(path.stat().st_size > 3 * MIB, path.stat())
    with start("--store", path, "--store-bytes", "3M") as server:
        expect(said(server, "info", "brings 0 objects"), server.lines)


def case_in_use():
    path = FOLDER / "shared"
    with start("--store", path):
        code, lines = run(CACHED, "--store", path, "--store-bytes", "2M")
        expect(code == 69 and "in use by another process" in lines, (code, lines))
    with start("--store", path) as server:
        expect(said(server, "info", "brings"), server.lines)


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))


def case_refused():
    letter = FOLDER / "letter"
    letter.write_text("dear friend")
    for path, words, before in ((letter, "is not a store", None), (FOLDER, "Is a directory", None),
                                ("/dev/null", "not a plain file", None), (FOLDER / "a/b", "No such file", None),
                                (FOLDER / "long", "ulimit -f", limit_files)):
        code, lines = run(CACHED, "--store", path, "--store-bytes", "2M", preexec_fn=before)
        expect(code == 78 and "--store: " in lines and words in lines, (path, code, lines))
    expect(letter.read_text() == "dear friend" and not (FOLDER / "long").exists(), "files were changed")


def case_disk_full():
    script = "mount -t tmpfs -o size=1M none \"$1\" && shift && exec \"$@\""
    place = FOLDER / "small"
    place.mkdir()
    if subprocess.run(["unshare", "-m", "sh", "-c", script, "-", place, "true"], capture_output=True, check=False).returncode:
        raise arena.Skipped("only root may mount a small file system")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "-", place, CACHED, "--listen", "127.0.0.1:0", "--store",
                           place / "store"], capture_output=True, text=True, timeout=30, check=False)
    expect(done.returncode == 78 and re.search(r"needs \d{9} bytes more, and its file system has \d+ free", done.stderr), done)


def case_without_routes_that_cache():
    path = FOLDER / "nobody"
    with start("--store", path, program=HELLO) as server:
        found = families(server)
        expect("store_objects" not in found and "process_paging_faults_total" in found, sorted(found))
    expect(not path.exists(), "it was made for nobody")


def case_figures():
    text = OPERATING.read_text(encoding="utf-8")
    for flags in (["--store", FOLDER / "figures"], []):
        with start(*flags) as server:
            found = families(server)
            stats = arena.get(server.port, "/metrics")[0]
            expect(stats == 200, stats)
            expect(value(found, "store_size_bytes") == 2 * MIB and value(found, "store_objects_max") == 1024, flags)
            expect(value(found, "store_objects") == 0 and value(found, "store_broken") == 0, flags)
            expect(value(found, "process_paging_faults_total", type="minor") > 100, flags)
            expect(value(found, "process_memory_usage_bytes", type="anonymous") > 100000, flags)
            expect(value(found, "process_memory_usage_bytes", type="file") > 100000, flags)
            for name in found:
                expect(not name.startswith(("store_", "process_")) or f"`{name}`" in text, f"{name} is not in the docs")


def case_plan():
    done = subprocess.run([CACHED, "--plan", "--store", "/a/path", "--store-bytes", "3M"], capture_output=True, text=True,
                          timeout=30, check=True)
    expect(re.search(rf"\nstore +{3 * MIB}  3.0 MiB, in /a/path", done.stdout), done.stdout)
    expect(re.search(r"\nstore's index +\d+ ", done.stdout), done.stdout)
    done = subprocess.run([HELLO, "--plan", "--store", "/a/path"], capture_output=True, text=True, timeout=30, check=True)
    expect("/a/path" not in done.stdout and "store's index" not in done.stdout, done.stdout)


def main():
    global CACHED, HELLO, OPERATING, FOLDER
    CACHED, HELLO, OPERATING = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    FOLDER = Path(tempfile.mkdtemp(prefix="ringmain-storage-"))
    try:
        return arena.run_cases([(name[5:], case) for name, case in globals().items() if name.startswith("case_")])
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
