"""Counts system calls with the kernel's own tracepoints, by `perf stat`. Needs the right to read them (root, usually).

Counting makes every system call of the machine a little slower, so CPU is never measured in the same run."""
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

# As ring.h names them, and futex, which nobody should call. Others are counted together: each name takes time to switch on.
NAMES = """io_uring_enter io_uring_register epoll_wait epoll_ctl accept4 recvfrom sendto sendmsg close shutdown setsockopt
    getsockname getpeername socket connect bind listen statx read write futex writev""".split()
ALL = "raw_syscalls:sys_enter"
READY_SECONDS = 10


def why_not():
    """Why system calls cannot be counted here, or None."""
    if shutil.which("perf") is None:
        return "perf is not installed"
    done = subprocess.run(["perf", "stat", "-x", ",", "-e", ALL, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0 or not parse(done.stderr).get(ALL):
        return "perf cannot read system call tracepoints (root and a mounted tracefs are needed)"
    return None


def parse(text):
    """{event: count} of `perf stat -x,`; events that were not counted are left out."""
    counts = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            counts[fields[2]] = int(fields[0])
    return counts


def known(names):
    """The names that this kernel has a tracepoint for."""
    done = subprocess.run(["perf", "list", "--raw-dump", "tracepoint"], capture_output=True, text=True, check=False)
    have = set(done.stdout.split())
    return [name for name in names if f"syscalls:sys_enter_{name}" in have]


class Counting:
    """with Counting(pid) as counting: ...; then counting.by_name and counting.total hold the system calls of all of the
    process's threads between begin and end."""
    _known = None

    def __init__(self, pid):
        if Counting._known is None:
            Counting._known = known(NAMES)
        self.folder = tempfile.mkdtemp(prefix="perf-")
        self.control, self.ack, self.out = (Path(self.folder) / name for name in ("control", "ack", "out"))
        os.mkfifo(self.control)
        os.mkfifo(self.ack)
        events = ",".join([ALL] + [f"syscalls:sys_enter_{name}" for name in Counting._known])
        self.child = subprocess.Popen(
            ["perf", "stat", "-x", ",", "-o", str(self.out), "-D", "-1", "--control", f"fifo:{self.control},{self.ack}", "-e",
             events, "-p", str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.by_name, self.total = {}, 0

    def _say(self, word):
        """Opens the control FIFO without blocking, so that a perf that died is noticed."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                writer = os.open(self.control, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:
                if time.monotonic() > deadline or self.child.poll() is not None:
                    self.child.kill()
                    raise
                time.sleep(0.01)
        os.write(writer, word + b"\n")
        if not hasattr(self, "writer"):
            self.writer = writer
        else:
            os.close(writer)
        os.read(self.reader, 16)

    def __enter__(self):
        self.reader = os.open(self.ack, os.O_RDWR)
        self._say(b"enable")
        return self

    def __exit__(self, *_):
        try:
            self._say(b"disable")
            self.child.send_signal(2)
            self.child.wait(READY_SECONDS)
        finally:
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
            os.close(self.reader)
            if hasattr(self, "writer"):
                os.close(self.writer)
            text = self.out.read_text(encoding="ascii") if self.out.exists() else ""
            shutil.rmtree(self.folder, ignore_errors=True)
        counts = parse(text)
        self.total = counts.pop(ALL, 0)
        self.by_name = {event.removeprefix("syscalls:sys_enter_"): n for event, n in counts.items() if n > 0}
        named = sum(self.by_name.values())
        if self.total > named:
            self.by_name["others"] = self.total - named
