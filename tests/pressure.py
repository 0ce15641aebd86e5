#!/usr/bin/env python3
"""A store that is larger than its memory: a file store in a memory cgroup, beside the same without a limit.

usage: pressure.py STORE_PRESSURE STORE_MIB LIMIT_MIB SECONDS bytes|p99

Skipped (77) where no cgroup with a memory limit can be made. The one with the limit must answer with the right bytes and not be
killed. With `p99` it must also answer for hot keys with a 99th percentile of at most twice the other's, or of
50 us. That takes seconds, because the kernel is told once a second what is hot.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
ENOUGH_NS = 50_000  # a read from a fast disk: docs/memory.md says how far that is from twice
ROUNDS = 3


def mounts(kind, option=None):
    """Where a file system of this kind is mounted."""
    for line in Path("/proc/self/mounts").read_text(encoding="ascii").splitlines():
        _, place, found, options = line.split()[:4]
        if found == kind and (option is None or option in options.split(",")):
            return Path(place)
    return None


def own_path(controllers):
    match = re.search(rf"^\d+:{controllers}:(.*)$", Path("/proc/self/cgroup").read_text(encoding="ascii"), re.M)
    return match.group(1).lstrip("/") if match else None


class Group:
    """A cgroup below our own, version 1 or 2. Raises OSError where there can be none."""

    def __init__(self, limit_bytes):
        for kind, option, controllers, name in (("cgroup", "memory", r"(?:[^:]*,)?memory(?:,[^:]*)?", "memory.limit_in_bytes"),
                                                ("cgroup2", None, "", "memory.max")):
            place, path = mounts(kind, option), own_path(controllers)
            if place is None or path is None:
                continue
            self.folder = place / path / f"ringmain-pressure-{os.getpid()}"
            try:
                self.folder.mkdir()
                if (self.folder / name).exists():
                    if limit_bytes:
                        (self.folder / name).write_text(str(limit_bytes), encoding="ascii")
                    return
                self.folder.rmdir()
            except OSError as error:
                if self.folder.exists():
                    self.folder.rmdir()
                why = error
                continue
            why = OSError("the memory controller is not ours to use")
        raise OSError("no memory cgroup") if "why" not in locals() else why

    def enter(self):
        (self.folder / "cgroup.procs").write_text("0", encoding="ascii")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.rmdir()


def run(program, store_mib, limit_mib, seconds):
    """What one run has printed; raises when it was killed or gave a wrong byte."""
    with Group(limit_mib << 20) as group, tempfile.TemporaryDirectory(prefix="ringmain-pressure-", dir="/var/tmp") as folder:
        done = subprocess.run([program, f"{folder}/store", str(store_mib), str(seconds)], capture_output=True, text=True,
                              preexec_fn=group.enter, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ended with {done.returncode}: {done.stderr}")
    figures = json.loads(done.stdout)
    print(f"{store_mib} MiB, limit {limit_mib or 'none'}: " + ", ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
    if figures["wrong"] or figures["gets"] == 0 or figures["misses"] > figures["gets"] / 100:
        raise RuntimeError("wrong bytes or too many misses")
    return figures


def main():
    program, store_mib, limit_mib, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    try:
        with Group(limit_mib << 20):
            pass
    except OSError as error:
        print(f"skipped: larger_than_ram: no memory cgroup can be made here: {error}")
        return SKIPPED
    if sys.argv[5] == "bytes":
        tight = run(program, store_mib, limit_mib, seconds)
        if not 0 < tight["resident"] < limit_mib << 20 or tight["worker_major_faults"] == 0:
            raise RuntimeError("the limit was none")
        return 0
    for _ in range(ROUNDS):
        free = run(program, store_mib, 0, seconds)
        tight = run(program, store_mib, limit_mib, seconds)
        if tight["resident"] > limit_mib << 20:
            raise RuntimeError("the limit was none")
        allowed = max(2 * free["hot_p99_ns"], ENOUGH_NS)
        if tight["hot_p99_ns"] <= allowed:
            print(f"ok: p99 of hot keys {tight['hot_p99_ns']} ns, without the limit {free['hot_p99_ns']} ns")
            return 0
        print(f"p99 of hot keys {tight['hot_p99_ns']} ns is more than {allowed} ns; once more")
    return 1


if __name__ == "__main__":
    sys.exit(main())
