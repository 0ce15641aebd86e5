"""Checks of the cache of responses: what a hit costs beside /pipeline, who runs the handler when many ask at once, and how much
of a popular set is hits. Access log to a file and metrics are on in all of them."""
import socket
import time
from pathlib import Path

from measure import report, sums
from measure.arms import Arena, get
from measure.bounds import at_most, exactly, holds
from measure.generators import run_load, wrong_responses
from measure.study import ONE_CORE, TWO_CORES, WORKLOADS, start_arm

OVER_PIPELINE = 1.1
CONNECTIONS = 64
COLD_CLIENTS = 50
WORKERS = 4
KEYS = 1000
ZIPF_SECONDS = 4
ZIPF_TTL_SECONDS = 1
PAIRS = {"single": "cached", "pipelined": "cached-pipelined"}  # what is compared


def start(study, io, name, *more):
    log = Path(study.folder) / f"access-{io}-{name}.log"
    return start_arm(f"{io} {name}", ["--io", io, "--access-log", log, *more], study)


def cpu_cell(study, arms, rounds):
    """/pipeline, the kept response and /pipeline again, on each arm, back and forth: the second /pipeline is the known null."""
    study.say(f"cache: {', '.join(arm.name for arm in arms)}; {CONNECTIONS} connections, {rounds} rounds")
    for plain, cached in PAIRS.items():
        order = [(arm, name, phase) for arm in arms for name, phase in ((plain, "plain"), (cached, "cached"), (plain, "again"))]
        for arm, name, _ in order:
            study.measure(arm, WORKLOADS[name], CONNECTIONS, ONE_CORE, 0.2)
        for number in range(rounds):
            for at, (arm, name, phase) in enumerate(order + order[::-1]):
                record = study.measure(arm, WORKLOADS[name], CONNECTIONS, ONE_CORE, 1)
                study.runs.append(record | {"phase": f"{phase} {plain}", "round": number, "order": at})


def cpu_ratios(study, phase, plain, arm):
    here = [[run for run in study.runs if run["phase"] == f"{name} {plain}"] for name in (phase, "plain")]
    return sums.paired_ratios(*(report.by_round(runs, arm, "cpu_us") for runs in here))


def cpu_checks(study, arms):
    for plain in PAIRS:
        for arm in arms:
            span = sums.interval(cpu_ratios(study, "cached", plain, arm.name))
            floor = sums.noise_floor(cpu_ratios(study, "again", plain, arm.name))
            us = [report.middle([run for run in study.runs if run["phase"] == f"{phase} {plain}"], arm.name, "cpu_us")
                  for phase in ("cached", "plain")]
            beside = (f"95 % {span.low:.3f} to {span.high:.3f}; {us[0]:.2f} and {us[1]:.2f} us; /pipeline over itself apart by "
                      f"{floor:.1%}")
            what = f"CPU per request, kept 1 KiB over /pipeline, {plain}, {arm.name.split()[0]}"
            if plain == "single":
                yield holds(what, f"<= {OVER_PIPELINE}", span.mid <= OVER_PIPELINE, f"{span.mid:.3f}", beside)
            else:
                yield holds(what, "-", True, f"{span.mid:.3f}", beside)


def call_checks(study, arms, rounds, bounds_of_calls):
    """System calls per hit, beside the bounds that /pipeline has."""
    for plain, cached in PAIRS.items():
        for placement in (TWO_CORES, ONE_CORE):
            study.cell("cache calls", arms, WORKLOADS[cached], CONNECTIONS, placement, 1.2, max(2, rounds // 2))
            limits = bounds_of_calls[plain, placement]
            for arm, limit in zip(arms, limits):
                here = [run for run in study.runs if (run["phase"], run["workload"], run["placement"], run["arm"]) ==
                        ("cache calls", cached, placement, arm.name)]
                if here:
                    yield at_most(f"system calls per hit, {arm.name.split()[0]}, {plain}, {placement}", limit,
                                  report.middle(here, arm.name, "calls_per_request"))


def ask_cold(port, key):
    """50 clients at once for what is not kept yet."""
    request = f"GET /slow/{key}?ms=200 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(COLD_CLIENTS)]
    for client in clients:
        client.sendall(request)
    bodies = set()
    for client in clients:
        with client, client.makefile("rb") as stream:
            bodies.add(stream.read().split(b"\r\n\r\n")[1])
    return bodies


def cold_checks(study, io):
    with Arena(study.build, study.folder, f"cold-{io}", ["--io", io], workers=WORKERS) as arena:
        bodies = ask_cold(arena.port, "bench")
        ran = int(get(arena.port, "/slow-count/bench")[1])
        yield exactly(f"executions for {COLD_CLIENTS} cold clients of one key, {WORKERS} workers, {io}", 1, ran,
                      f"{len(bodies)} different bodies")


def write_zipf(folder):
    """1,000 keys; the i-th is asked for 1/i times as often as the first."""
    path = Path(folder) / "zipf.txt"
    with open(path, "w", encoding="utf-8") as out:
        out.write("GET /cached/{n}, Zipf with exponent 1; made by bench/numbers.\n\n")
        for i in range(KEYS):
            out.write(f"=== 200 length=1024 times={max(1, KEYS // (i + 1))}\nGET /cached/{i} HTTP/1.1\nHost: localhost\n\n")
    return path


def counted(arena):
    """What the server says of its cache: {name: number}."""
    lines = get(arena.port, "/metrics")[1].decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith("cache_"))}


def zipf_checks(study, io):
    with Arena(study.build, study.folder, f"zipf-{io}", ["--io", io, "--cached-ttl", f"{ZIPF_TTL_SECONDS}s"], workers=WORKERS) as arena:
        begun = time.monotonic()
        result = run_load(study.build, arena.port, str(write_zipf(study.folder)), connections=CONNECTIONS, seconds=ZIPF_SECONDS)
        lives = int((time.monotonic() - begun) / ZIPF_TTL_SECONDS) + 1
        figures = arena.stats()["total"]["cache"]
        wrong = wrong_responses(result)
        misses = figures["misses"]
        hits = figures["hits"] / max(figures["hits"] + misses, 1)
        yield holds(f"hit ratio, {KEYS} keys, Zipf, kept for {ZIPF_TTL_SECONDS} s, {WORKERS} workers, {io}", "-", not wrong, f"{hits:.5f}",
                    wrong or f"{result['requests']:,} requests")
        yield at_most(f"executions of a key in its time to live, {io}", 1, misses / (KEYS * lives), beside=f"{misses:,} in all")


def all_checks(study, rounds, bounds_of_calls):
    arms = [start(study, io, "cache") for io in ("uring", "epoll")]
    cpu_cell(study, arms, rounds)
    yield from cpu_checks(study, arms)
    yield from call_checks(study, arms, rounds, bounds_of_calls)
    for arm in arms:
        arm.stop()
    for io in ("uring", "epoll"):
        yield from cold_checks(study, io)
        yield from zipf_checks(study, io)
