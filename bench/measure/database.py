"""Checks of the routes that ask a database: a private PostgreSQL on the other CPU, items by varying ids, /pipeline beside them."""
import json
import subprocess
import time
from pathlib import Path

from measure import process, report, sums
from measure.arms import ROOT, Process, Unavailable, get
from measure.bounds import at_most, holds
from measure.study import ONE_CORE, WORKLOADS, Workload, start_arm

OVER_PIPELINE = 2.2
CALLS = 1.5
RATE_MIN = 2.5 * 22000
CONNECTIONS = 64
IDS = 4096  # as many requests as a template of load may have
ROWS = 100000
START_SECONDS = 60


def is_installed():
    return subprocess.run([ROOT / "scripts/postgres", "where"], capture_output=True, check=False).returncode == 0


class Postgres(Process):
    """scripts/postgres, pinned when a CPU is given; `cpu_us` is what its processes have used."""

    def __init__(self, folder, cpu=None, rows=ROWS, template=ROOT / "build/postgres-bench"):
        self.cluster = Path(folder) / "cluster"
        Path(folder).mkdir(exist_ok=True)
        super().__init__([ROOT / "scripts/postgres", "serve", "--with-parent", "--folder", self.cluster, "--template", template,
                          "--rows", rows], Path(folder) / "postgres.log", cpu)
        self.url = self.wait_for_url()

    def wait_for_url(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.child.poll() is None:
            for line in self.output().splitlines():
                if line.startswith("postgresql://"):
                    return line
            time.sleep(0.02)
        self.kill()
        raise Unavailable(f"PostgreSQL does not start: {self.output().strip()}")

    def place(self):
        """The cluster is elsewhere when the server's user can't reach the folder; what it printed tells where."""
        return self.url.split("host=")[1].split("/socket")[0]

    def pids(self):
        postmaster = int((Path(self.place()) / "data/postmaster.pid").read_text(encoding="ascii").split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii").split()
        return [postmaster, *map(int, children)]

    def cpu_us(self):
        """Of the processes that live; backends stay as long as their connections."""
        return sum(process.cpu(pid).total for pid in self.pids())


def settle(arm):
    """Until every worker has its connections."""
    until = time.monotonic() + 10
    while get(arm.port, "/readyz")[0] != 200:
        if time.monotonic() > until:
            raise Unavailable(f"{arm.name}: the database is not ready: {arm.output()}")
        time.sleep(0.02)


def write_template(folder, port):
    """Items by varying ids, each with the body that it has now: load compares every one of them. The order is a stride through
    the table, so that neighbours in time are none on the pages."""
    path = Path(folder) / "items.txt"
    with open(path, "w", encoding="utf-8") as out:
        out.write("GET /crud/items/{id} for ids all over the table; made by bench/numbers.\n\n")
        for i in range(IDS):
            identity = 1 + (i * 61803) % ROWS
            status, body = get(port, f"/crud/items/{identity}")
            if status != 200 or json.loads(body)["id"] != identity:
                raise Unavailable(f"/crud/items/{identity}: {status} {body[:100]!r}")
            out.write(f"=== 200 body={body.decode()}\nGET /crud/items/{identity} HTTP/1.1\nHost: localhost\n\n")
    return path


def interleaved(study, arms, items, postgres, connections, seconds, rounds, phase, placement=ONE_CORE):
    """/pipeline and items in turn on each arm, and back again; the records of items have Postgres' CPU, too."""
    pipeline = WORKLOADS["single"]
    order = [(arm, workload) for arm in arms for workload in (pipeline, items)]
    study.say(f"{phase}: {', '.join(arm.name for arm in arms)}; {connections} connections, {rounds} rounds")
    for arm, workload in order:
        study.measure(arm, workload, connections, placement, 0.2)
    for number in range(rounds):
        for at, (arm, workload) in enumerate(order + order[::-1]):
            before = postgres.cpu_us()
            record = study.measure(arm, workload, connections, placement, seconds)
            record["postgres_us"] = (postgres.cpu_us() - before) / max(record["requests"], 1)
            record["rate"] = record["requests"] / record.get("seconds", 1)
            study.runs.append(record | {"phase": f"{phase} {workload.name}", "round": number, "order": at})


def figures(study, phase, arm):
    here = [run for run in study.runs if run["phase"] == phase]
    return {name: report.middle(here, arm, name) for name in ("cpu_us", "postgres_us", "rate", "calls_per_request", "utilisation")}


def told(study, phase, arm):
    got = figures(study, phase, arm)
    return (f"{got['cpu_us']:.2f} us of ours and {got['postgres_us']:.2f} us of Postgres' CPU, {got['rate']:,.0f} requests/s, "
            f"{got['calls_per_request']:.3f} calls; our CPU is busy {got['utilisation']:.0%}")


def main_checks(study, arms):
    for arm in arms:
        items = [run for run in study.runs if run["phase"] == "database items"]
        pipeline = [run for run in study.runs if run["phase"] == "database single"]
        ratios = sums.paired_ratios(report.by_round(items, arm.name, "cpu_us"), report.by_round(pipeline, arm.name, "cpu_us"))
        span = sums.interval(ratios)
        yield holds(f"CPU per request, items over /pipeline, {arm.name}", f"<= {OVER_PIPELINE}", span.mid <= OVER_PIPELINE,
                    f"{span.mid:.3f}", f"95 % {span.low:.3f} to {span.high:.3f}; {told(study, 'database items', arm.name)}")
        got = figures(study, "database items", arm.name)
        if arm.name == "uring":  # epoll needs one for each readiness and each transfer: what it takes is told above
            yield at_most(f"system calls per request, items, {arm.name}", CALLS, got["calls_per_request"])
        yield holds(f"requests per second, items, {arm.name}", f">= {RATE_MIN:,.0f}", got["rate"] >= RATE_MIN, f"{got['rate']:,.0f}")


# What is varied: name to arguments of arena, on io_uring.
VARIED = {
    "1 connection": ["--db-connections", 1], "2 connections": ["--db-connections", 2], "4 connections": ["--db-connections", 4],
    **{f"2 connections, depth {n}": ["--db-connections", 2, "--db-inflight", n] for n in (1, 2, 4, 8, 32)},
    "shared Sync": ["--db-connections", 2, "--shared-sync", "on"],
    "shared Sync, 1 connection": ["--db-connections", 1, "--shared-sync", "on"],
}


def start(study, name, io, arguments, postgres):
    arm = start_arm(name, ["--io", io, *map(str, arguments), "--db", postgres.url, "--item-ttl", "0"], study)  # nothing is kept
    settle(arm)
    return arm


def all_checks(study, rounds):
    """Placement: server and generator on one CPU, PostgreSQL on the other."""
    other = study.other_cpu if study.other_cpu is not None else study.server_cpu
    with Postgres(study.folder, other) as postgres:
        arms = [start(study, io, io, [], postgres) for io in ("uring", "epoll")]
        items = Workload("items", str(write_template(study.folder, arms[0].port)), 1, 0, "GET /crud/items/{id}, varying ids")
        interleaved(study, arms, items, postgres, CONNECTIONS, 1.2, rounds, "database")
        yield from main_checks(study, arms)
        for arm in arms:
            arm.stop()
        for io in ("uring", "epoll"):
            for name, arguments in VARIED.items():
                arm = start(study, f"{io}, {name}", io, arguments, postgres)
                interleaved(study, [arm], items, postgres, CONNECTIONS, 0.8, max(2, rounds // 3), f"database {arm.name}")
                yield holds(f"items, {arm.name}", "-", True, f"{figures(study, f'database {arm.name} items', arm.name)['cpu_us']:.2f} us",
                            told(study, f"database {arm.name} items", arm.name))
                arm.stop()
