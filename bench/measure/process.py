"""What /proc says of a process: CPU of all its threads, context switches, memory, rings, listeners."""
import os
import re
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cpu:
    """CPU time in microseconds. `total` is what the scheduler measured, to the nanosecond; `user` and `system` divide it in
    the proportion of the timer ticks that found the process in either: over a few seconds that is a rough estimate."""
    total: float
    user: float
    system: float

    def since(self, before):
        total = self.total - before.total
        user, system = self.user - before.user, self.system - before.system
        ticks = user + system
        share = user / ticks if ticks > 0 else 0
        return Cpu(total, total * share, total * (1 - share))


def threads(pid):
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def _read(path):
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu(pid):
    """Of all threads that live: workers, helpers and what the kernel started for them (io-wq, SQPOLL)."""
    total_ns = 0
    for tid in threads(pid):
        fields = _read(f"/proc/{pid}/task/{tid}/schedstat").split()
        total_ns += int(fields[0]) if fields else 0
    stat = _read(f"/proc/{pid}/stat")
    fields = stat[stat.rindex(")") + 2:].split() if stat else ["0"] * 13
    user, system = (int(field) * 1e6 / TICKS_PER_SECOND for field in fields[11:13])
    return Cpu(total_ns / 1000, user, system)


def switches(pid):
    """(voluntary, involuntary) context switches of all threads."""
    sums = [0, 0]
    for tid in threads(pid):
        status = _read(f"/proc/{pid}/task/{tid}/status")
        found = re.findall(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)", status, re.M)
        if len(found) == 2:
            sums = [sums[0] + int(found[0]), sums[1] + int(found[1])]
    return tuple(sums)


@dataclass(frozen=True)
class Memory:
    """Resident bytes. `anonymous` belongs to the process alone; `shared` is mapped files and shared memory."""
    resident: int
    anonymous: int
    shared: int


def memory(pid):
    fields = {}
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * 1024
    return Memory(fields.get("Rss", 0), fields.get("Anonymous", 0), fields.get("Rss", 0) - fields.get("Anonymous", 0))


def io_workers(pid):
    """Threads that the kernel started to do blocking work for a ring: there should be none."""
    return sum(1 for tid in threads(pid) if _read(f"/proc/{pid}/task/{tid}/comm").startswith("iou-"))


def rings(pid):
    """Descriptors that are io_uring instances. A ring whose descriptor is registered keeps its own."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{name}") == "anon_inode:[io_uring]"
        except FileNotFoundError:
            pass
    return count


LISTENING = "0A"  # state of a row in /proc/net/tcp


def listeners(port):
    """Listening TCP sockets on an IPv4 port, of any process."""
    rows = [line.split() for line in _read("/proc/net/tcp").splitlines()[1:]]
    return sum(1 for row in rows if row[3] == LISTENING and int(row[1].split(":")[1], 16) == port)


def cpus():
    """The CPUs this process may use."""
    return sorted(os.sched_getaffinity(0))


POLICIES = {"batch": os.SCHED_BATCH, "normal": os.SCHED_OTHER}


def set_policy(name):
    """The scheduling policy of this process and of all that it starts."""
    os.sched_setscheduler(0, POLICIES[name], os.sched_param(0))
