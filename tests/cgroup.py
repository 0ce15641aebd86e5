"""A memory cgroup of our own, of version 1 or 2, for tests that need less memory than the machine has.

Version 2: Documentation/admin-guide/cgroup-v2.rst of the kernel. A cgroup has memory.max when its parent has "memory" in
cgroup.subtree_control, which a parent that has processes of its own can't have, the root apart ("No Internal Process
Constraint"). So ours is made below the one that we are in, or beside it. Nothing is enabled, moved or changed for that but
whoever calls enter: where it is not so already, there is none to be had."""
import itertools
import os
import re
from pathlib import Path

numbers = itertools.count()


def _unescape(text):
    """Blanks and the like are \\040 in mountinfo: proc_pid_mountinfo(5)."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def _controllers(fields):
    """Of a line of mountinfo: the file system's kind, and the options of its superblock."""
    after = fields[fields.index("-") + 1:]
    return after[0], after[2].split(",")


def own(mountinfo, cgroup):
    """Where we are in each hierarchy that has, or may have, memory: [(version, mount point, folder)], of the texts of
    /proc/self/mountinfo and /proc/self/cgroup. What is mounted may begin below the root of its hierarchy."""
    paths = {}
    for line in cgroup.splitlines():
        _, names, path = line.split(":", 2)
        version = 1 if "memory" in names.split(",") else 2 if names == "" else None
        paths.setdefault(version, path)
    found = []
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        kind, options = _controllers(fields)
        version = 1 if kind == "cgroup" and "memory" in options else 2 if kind == "cgroup2" else None
        if version is None or version not in paths:
            continue
        root, place = (_unescape(field) for field in fields[3:5])
        path = paths[version]
        inside = ".." if path.startswith("/..") else os.path.relpath(path, root)
        found.append((version, Path(place), Path(place) if inside.startswith("..") else Path(place) / inside))
    return sorted(found)


def parents(version, place, folder):
    """Below which one of ours could be: the nearest first."""
    return [folder] if version == 1 or folder == place else [folder, folder.parent]


def refusal(version, parent):
    """Why there is none below that, or None."""
    if version == 1:
        return None
    enabled = (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
    return None if "memory" in enabled else f"{parent}: memory is not in cgroup.subtree_control"


def limits(version, limit_bytes):
    """[(file, text, whether it must be there)]: no more memory than that, and no swap for the rest."""
    if version == 1:
        return [("memory.limit_in_bytes", f"{limit_bytes}", True), ("memory.memsw.limit_in_bytes", f"{limit_bytes}", False)]
    return [("memory.max", f"{limit_bytes}", True), ("memory.swap.max", "0", False)]


def kills(events):
    """How many the kernel has killed for want of memory: of memory.events, or of version 1's memory.oom_control."""
    match = re.search(r"^oom_kill (\d+)$", events, re.M)
    return int(match.group(1)) if match else 0


class Group:
    """One of ours, below or beside the one that we are in; limit_bytes 0: without a limit. Raises OSError where there can be
    none."""

    def __init__(self, limit_bytes):
        why = "no memory cgroup is mounted"
        for version, place, folder in own(*(Path("/proc/self", name).read_text(encoding="utf-8") for name in ("mountinfo", "cgroup"))):
            for parent in parents(version, place, folder):
                try:
                    why = refusal(version, parent) or self._make(version, parent, limit_bytes)
                except OSError as error:
                    why = str(error)
                if why is None:
                    return
        raise OSError(why)

    def _make(self, version, parent, limit_bytes):
        self.version, self.folder = version, parent / f"ringmain-test-{os.getpid()}-{next(numbers)}"
        self.folder.mkdir()
        try:
            for name, text, needed in limits(version, limit_bytes) if limit_bytes else []:
                if needed or (self.folder / name).exists():
                    (self.folder / name).write_text(text, encoding="ascii")
        except OSError:
            self.folder.rmdir()
            raise

    def enter(self):
        """Who calls it is in it; for preexec_fn."""
        (self.folder / "cgroup.procs").write_text("0", encoding="ascii")

    def kills(self):
        return kills((self.folder / ("memory.events" if self.version == 2 else "memory.oom_control")).read_text(encoding="ascii"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.rmdir()
