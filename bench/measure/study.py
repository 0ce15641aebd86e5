"""The runs of bench/compare.py: which arms, in which order, under which load, and one record per run.

A run is one generator against one server for a second or so. The arms of a cell (a workload, a number of connections, a
placement) stand side by side as processes; only one of them is under load at a time. A round goes through the arms and back
again (A B B A), so that a slow drift of the machine meets all arms alike.
"""
import hashlib
import re
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from measure import process, tracing
from measure.arms import Arena, Nginx, Unavailable
from measure.generators import Broken, run_load, run_wrk, wrong_responses

ONE_CORE, TWO_CORES = "one core shared", "two cores"
WARM_UP_SECONDS = 0.2
SETTLE_SECONDS = 0.05  # the server sees the generator's connections end
COUNT_SLACK = 0.001  # the server's and the generator's count of requests may differ by this much


@dataclass(frozen=True)
class Workload:
    name: str
    template: str
    depth: int
    reconnect: int
    words: str


WORKLOADS = {w.name: w for w in (
    Workload("baseline", "baseline", 1, 0, "GET, POST with Content-Length and POST chunked in equal parts"),
    Workload("single", "pipeline", 1, 0, "GET /pipeline, one at a time per connection"),
    Workload("pipelined", "pipeline", 16, 0, "GET /pipeline, 16 in flight per connection"),
    Workload("reconnect", "pipeline", 1, 10, "GET /pipeline, a new connection every 10 requests"),
    Workload("cached", "cached", 1, 0, "GET /cached/7, 1 KiB that is kept, one at a time per connection"),
    Workload("cached-pipelined", "cached", 16, 0, "GET /cached/7, 1 KiB that is kept, 16 in flight per connection"),
    Workload("bulk", "bulk", 1, 0, "POST /upload with 1,000,000 bytes, streamed to the handler"),
)}
ASKED_ONLY = ("bulk", "cached", "cached-pipelined")  # no part of a study that names no workloads
BODIES = {w.name: w for w in (
    Workload(f"bytes-{size}", f"bytes-{size}", 1, 0, f"GET /bytes/N/copied, {size[:-1]} KiB from output blocks")
    for size in ("2k", "16k", "64k", "200k"))}

# Every arm plans for as many connections: the default, as many as there may be descriptors, leaves none to multishot accept.
COMMON = ["--max-connections", "4096"]
# Arms of arena: name to arguments. "again" is what "uring" is: the known null.
BACKENDS = {"uring": ["--io", "uring"], "epoll": ["--io", "epoll"], "again": ["--io", "uring"]}
PRESETS = {name: ["--io", "uring", "--ring", spec] for name, spec in (
    ("naive", "naive"), ("kernel=6.1", "kernel=6.1"), ("kernel=6.6", "kernel=6.6"), ("kernel=6.12", "kernel=6.12"))}
# Everything but one thing.
SWITCHES = {name: ["--io", "uring", "--ring", name] for name in (
    "taskrun=coop", "taskrun=none", "accept=single", "recv=single", "files=normal", "ring-fd=off", "submit=each", "wait=one")}
# Registered blocks enough for 64 connections with 200 KiB each.
ZERO_COPY = {"send=zc:2K": ["--io", "uring", "--ring", "send=zc:2K,slab=32M"]}
NULL_ARM = "again"
LOGGED = ", log"  # behind the name of a backend
RIVAL = "nginx"


def rival_knows(workload):
    return workload.template == "pipeline"


# ---------------------------------------------------------------------------------------------- the same bytes? ----

REQUESTS = tuple(request.replace(b"\n", b"\r\n") for request in (
    b"GET /pipeline HTTP/1.1\nHost: a\nConnection: close\n\n",
    b"GET /baseline11?a=13&b=42 HTTP/1.1\nHost: a\nConnection: close\n\n",
    b"POST /baseline11?a=13&b=42 HTTP/1.1\nHost: a\nConnection: close\nContent-Length: 2\n\n20",
    b"POST /baseline11?a=13&b=42 HTTP/1.1\nHost: a\nConnection: close\nTransfer-Encoding: chunked\n\n2\n20\n0\n\n",
    b"GET /json/50?m=3 HTTP/1.1\nHost: a\nConnection: close\n\n",
    b"GET /nothing HTTP/1.1\nHost: a\nConnection: close\n\n",
))


def ask(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        parts = []
        while piece := connection.recv(65536):
            parts.append(piece)
    return b"".join(parts)


def fingerprint(port):
    """A hash of what the server answers, the dates left out."""
    whole = hashlib.sha256()
    for request in REQUESTS:
        whole.update(re.sub(rb"\r\nDate: [^\r]*", b"\r\nDate:", ask(port, request)))
    return whole.hexdigest()[:16]


# --------------------------------------------------------------------------------------------------------- arms ----

def start_arm(name, arguments, study):
    """A server pinned to the server's CPU, checked to run on the backend that its name promises."""
    if name == RIVAL:
        return Nginx(study.folder, cpu=study.server_cpu)
    arm = Arena(study.build, study.folder, name.replace("=", "-"), [*COMMON, *arguments], cpu=study.server_cpu)
    arm.name = name
    backend = arm.stats()["backend"]
    wanted = arguments[arguments.index("--io") + 1]
    if backend["name"] != wanted or backend["fallback"]:
        study.invalid(f"{name}: asked for {wanted}, runs on {backend['name']} ({backend['why']})")
    study.note_arm(name, arm.command, backend["features"], fingerprint(arm.port))
    return arm


def differences(after, before):
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


# --------------------------------------------------------------------------------------------------------- runs ----

class Study:
    """Runs, and what became of them. `say` gets progress lines."""

    def __init__(self, build, folder, cpus, say=lambda text: print(text, file=sys.stderr, flush=True)):
        self.build, self.folder, self.say = build, folder, say
        self.server_cpu = cpus[0]
        self.other_cpu = cpus[1] if len(cpus) > 1 else None
        self.runs, self.arms, self.problems, self.notes = [], {}, [], []
        self.no_tracing = tracing.why_not()

    def invalid(self, why):
        if why not in self.problems:
            self.problems.append(why)
            self.say(f"INVALID: {why}")

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def note_arm(self, name, command, features, answers):
        first = next(iter(self.arms.values()), None)
        if first and first["answers"] != answers:
            self.invalid(f"{name} does not answer with the same bytes as {next(iter(self.arms))}")
        self.arms[name] = {"command": command, "features": features, "answers": answers}

    def generator_cpu(self, placement):
        return self.server_cpu if placement == ONE_CORE else self.other_cpu

    def measure(self, arm, workload, connections, placement, seconds, trace=False, io="auto"):
        """One run: a record of what the server spent and did."""
        has_stats = isinstance(arm, Arena)
        before = arm.stats()["total"] if has_stats else None
        switches = process.switches(arm.pid)
        spent = process.cpu(arm.pid)
        load = {"connections": connections, "depth": workload.depth, "reconnect": workload.reconnect, "seconds": seconds,
                "cpu": self.generator_cpu(placement), "io": io}
        counted = None
        if trace:
            with tracing.Counting(arm.pid) as counting:
                result = run_load(self.build, arm.port, workload.template, **load)
                time.sleep(SETTLE_SECONDS)
            counted = counting.by_name
        else:
            result = run_load(self.build, arm.port, workload.template, **load)
        spent = process.cpu(arm.pid).since(spent)
        switched = [b - a for a, b in zip(switches, process.switches(arm.pid))]
        memory = process.memory(arm.pid)
        record = {
            "arm": arm.name, "workload": workload.name, "connections": connections, "placement": placement,
            "traced": trace, "requests": result["requests"], "seconds": result["seconds"],
            "cpu_us": spent.total / result["requests"], "user_us": spent.user / result["requests"],
            "system_us": spent.system / result["requests"], "utilisation": spent.total / 1e6 / max(result["seconds"], 1e-9),
            "switches": sum(switched) / result["requests"], "memory": vars(memory), "kernel_calls": counted,
            "io_workers": process.io_workers(arm.pid),
            "generator": {key: result[key] for key in ("backend", "fallback", "cpu", "calls_per_request", "latency_us",
                                                       "per_connection", "connects")},
        } if result["requests"] else {"arm": arm.name, "workload": workload.name, "requests": 0}
        self.check(record, result)
        if has_stats and result["requests"]:
            self.add_own_counts(record, before, arm.stats()["total"])
        return record

    def check(self, record, result):
        where = f"{record['arm']}, {record['workload']}"
        wrong = wrong_responses(result)
        if wrong:
            self.invalid(f"{where}: {wrong}")
        if result["fallback"]:
            self.invalid(f"{where}: the generator fell back to {result['backend']}")
        if record.get("io_workers"):
            self.note(f"{where}: the kernel started {record['io_workers']} io-wq threads")
        if record.get("placement") == TWO_CORES and result["cpu"]["share"] > 0.9:
            record["generator_bound"] = True

    def add_own_counts(self, record, before, after):
        served = after["requests"] - before["requests"] - 1  # but the /stats before
        if abs(served - record["requests"]) > max(3, COUNT_SLACK * record["requests"]):
            self.invalid(f"{record['arm']}, {record['workload']}: the server counted {served} requests, the generator "
                         f"{record['requests']}")
        ring = differences({k: v for k, v in after["ring"].items() if isinstance(v, int)}, before["ring"])
        turns = ring.get("turns", 0)
        record["own_calls"] = differences(after["system_calls_by_name"], before["system_calls_by_name"])
        record["calls_per_request"] = sum(record["own_calls"].values()) / record["requests"]
        record["completions_per_turn"] = ring.get("completions", 0) / turns if turns else None
        record["ring"] = ring
        record["completions_in_a_turn"] = [b - a for a, b in zip(before["ring"]["completions_in_a_turn"],
                                                                after["ring"]["completions_in_a_turn"])]

    def cell(self, phase, arms, workload, connections, placement, seconds, rounds, trace=False):
        """Rounds of A B C C B A over running arms; of A B C when calls are counted, where drift does not matter."""
        if self.generator_cpu(placement) is None:
            self.note(f"'{TWO_CORES}' was left out: this process may use one CPU only")
            return
        order = arms if trace else arms + arms[::-1]
        self.say(f"{phase}: {workload.name}, {connections} connections, {placement}: "
                 f"{', '.join(arm.name for arm in arms)}; {rounds} rounds of {len(order)} runs")
        for arm in arms:
            self.measure(arm, workload, connections, placement, WARM_UP_SECONDS)
        for number in range(rounds):
            for at, arm in enumerate(order):
                try:
                    record = self.measure(arm, workload, connections, placement, seconds, trace)
                except Broken as why:
                    self.invalid(f"{arm.name}, {workload.name}: {why}")
                    continue
                self.runs.append(record | {"phase": phase, "round": number, "order": at})

    def logged(self):
        """Arms that write an access log to a file."""
        return {f"{io}{LOGGED}": ["--io", io, "--access-log", Path(self.folder) / f"access-{io}.log"] for io in ("uring", "epoll")}

    def start(self, names):
        """Arms by name; a rival that is not installed is a note, not an error."""
        table = BACKENDS | PRESETS | SWITCHES | ZERO_COPY | self.logged() | {RIVAL: []}
        arms = []
        for name in names:
            try:
                arms.append(start_arm(name, table[name], self))
            except Unavailable as why:
                if name != RIVAL:
                    raise
                self.note(f"{RIVAL} was left out: {why}")
        return arms

    def phase_backends(self, workloads, connections, seconds, rounds):
        """CPU per request: uring, epoll, uring again and nginx on one core shared."""
        for workload in workloads:
            arms = self.start([*BACKENDS, *([RIVAL] if rival_knows(workload) else [])])
            for n in connections(workload):
                self.cell("backends", arms, workload, n, ONE_CORE, seconds, rounds)
            for arm in arms:
                arm.stop()

    def phase_calls(self, workloads, connections, seconds, rounds):
        """System calls per request, our own count and the kernel's, on both placements."""
        if self.no_tracing:
            self.note(f"the kernel's count of system calls was left out: {self.no_tracing}")
        for workload in workloads:
            arms = self.start(["uring", "epoll"])
            for n in connections(workload):
                for placement in (TWO_CORES, ONE_CORE):
                    self.cell("calls", arms, workload, n, placement, seconds, rounds, trace=self.no_tracing is None)
            for arm in arms:
                arm.stop()

    def phase_variants(self, phase, names, workloads, seconds, rounds, connections=64):
        """Presets or switches against the default, on one core shared."""
        for workload in workloads:
            arms = self.without_twins(self.start(["uring", NULL_ARM, *names]))
            self.cell(phase, arms, workload, connections, ONE_CORE, seconds, rounds)
            for arm in arms:
                arm.stop()

    def phase_zero_copy(self, seconds, rounds, connections=64):
        """Sends of bodies without a copy against copies, by size, on one core shared."""
        for workload in BODIES.values():
            arms = self.start(["uring", NULL_ARM, *ZERO_COPY])
            self.cell("zero-copy", arms, workload, connections, ONE_CORE, seconds, rounds)
            for arm in arms:
                arm.stop()

    def without_twins(self, arms):
        """Stops the arms whose switch changes nothing here: they would run as the default does."""
        kept = []
        for arm in arms:
            same = self.arms[arm.name]["features"] == self.arms["uring"]["features"]
            if same and arm.name not in ("uring", NULL_ARM):
                self.note(f"{arm.name} was left out: the default runs so here already")
                arm.stop()
            else:
                kept.append(arm)
        return kept

    def phase_generators(self, seconds, rounds, placements):
        """The same servers under load on uring, load on epoll, and wrk, which sends one by one, as it is and made to check each
        response as load does. A cross-check of direction, and what the generators cost themselves."""
        arms = self.start(["uring", "epoll", RIVAL])
        for number in range(rounds):
            for workload in (WORKLOADS["single"], WORKLOADS["pipelined"]):
                for placement in placements:
                    for arm in arms:
                        self.under_generators(arm, workload, placement, seconds, number)
        for arm in arms:
            arm.stop()

    def under_generators(self, arm, workload, placement, seconds, number):
        if self.generator_cpu(placement) is None:
            return
        common = {"phase": "generators", "placement": placement, "round": number}
        for io in ("uring", "epoll"):
            record = self.measure(arm, workload, 64, placement, seconds, io=io)
            self.runs.append(record | common | {"generator_name": f"load on {io}",
                                                "generator_cpu_us": record["generator"]["cpu"]["per_request_us"]})
        try:
            for checking in (False, True):
                self.runs.append(self.under_wrk(arm, workload, placement, seconds, checking) | common)
        except (Broken, Unavailable) as why:
            self.note(f"wrk was left out: {why}")

    def under_wrk(self, arm, workload, placement, seconds, checking):
        before = arm.stats()["total"] if isinstance(arm, Arena) else None
        spent = process.cpu(arm.pid)
        result = run_wrk(self.folder, arm.port, 64, workload.depth, max(1, round(seconds)), self.generator_cpu(placement), checking)
        spent = process.cpu(arm.pid).since(spent)
        if result["errors"]:
            self.invalid(f"{arm.name} under wrk: {'; '.join(result['errors'])}")
        calls = differences(arm.stats()["total"]["system_calls_by_name"], before["system_calls_by_name"]) if before else None
        n = result["requests"]
        return {"arm": arm.name, "workload": workload.name, "generator_name": "wrk, checking" if checking else "wrk", "requests": n, "connections": 64,
                "cpu_us": spent.total / n, "generator_cpu_us": result["cpu_us"] / n,
                "calls_per_request": sum(calls.values()) / n if calls else None}
