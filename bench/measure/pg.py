"""What a query costs, our client beside libpq: bench/pg_client against a private PostgreSQL, interleaved."""
import json
import subprocess

from measure import sums
from measure.arms import Unavailable, clean_environment, program
from measure.bounds import at_most, holds, skipped
from measure.database import Postgres

PLACEMENTS = ("one core", "two cores")
DEPTHS = (8, 32, 128)
# Client CPU of ours over libpq's: (our arm, libpq's, depths): bound.
RATIOS = {("ours", "libpq", (1,)): 1.0, ("ours", "libpq-each", DEPTHS): 0.8, ("ours-shared", "libpq-batch", DEPTHS): 0.5}
CALLS = {"ours": 1.0, "ours-shared": 0.2}
FAIL = 10  # of 1000
QUERIES = 20000
UNAVAILABLE = 69


class Arm:
    """One way to ask: its name in tables, and what pg_client gets."""

    def __init__(self, name, depth, *more):
        self.name, self.arguments = f"{name} {depth}", ["--arm", name, "--depth", depth, *more]


def ask(build, url, arm, cpus):
    command = [program(build, "bench/pg_client"), "--url", url, "--cpu", cpus[0], "--backend-cpu", cpus[1],
               "--queries", QUERIES, "--warm", QUERIES // 10, *arm.arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120,
                          env=clean_environment())
    if done.returncode == UNAVAILABLE:
        raise Unavailable(done.stderr.strip())
    record = json.loads(done.stdout) if done.stdout else {}
    return record | {"exit": done.returncode, "why": done.stderr.strip()}


def interleaved(study, url, arms, cpus, placement, rounds):
    """A B B A. The records go into the study, as those of others do."""
    study.say(f"pg: {', '.join(arm.name for arm in arms)}; {placement}, {rounds} rounds")
    for number in range(rounds):
        for arm in arms if number % 2 == 0 else arms[::-1]:
            record = ask(study.build, url, arm, cpus) | {"phase": "pg", "arm": arm.name, "placement": placement, "round": number}
            if record["exit"] != 0:
                study.problems.append(f"pg, {arm.name}, {placement}: {record['why'] or 'wrong answers'}")
            study.runs.append(record)


def figures(study, arm, placement, key):
    """By round."""
    return [run.get(key) for run in study.runs if run["phase"] == "pg" and (run["arm"], run["placement"]) == (arm.name, placement)]


def middle(study, arm, placement, key):
    found = [value for value in figures(study, arm, placement, key) if value is not None]
    return sums.median(found) if found else float("nan")


def beside(study, arms, placement):
    each = [f"{arm.name}: {middle(study, arm, placement, 'client_us'):.2f} and {middle(study, arm, placement, 'backend_us'):.1f} us, "
            f"{middle(study, arm, placement, 'queries_per_second'):,.0f}/s" for arm in arms]
    return "client and backend: " + "; ".join(each)


def compare(study, url, cpus, placement, rounds):
    for (ours, theirs, depths), limit in RATIOS.items():
        for depth in depths:
            arms = [Arm(ours, depth), Arm(theirs, depth)]
            interleaved(study, url, arms, cpus, placement, rounds)
            ratios = sums.paired_ratios(*(figures(study, arm, placement, "client_us") for arm in arms))
            span = sums.interval(ratios)
            yield holds(f"client CPU per query, {ours} over {theirs}, depth {depth}, {placement}", f"<= {limit}", span.mid <= limit,
                        f"{span.mid:.2f}", f"95 % {span.low:.2f} to {span.high:.2f}; {beside(study, arms, placement)}")
            if depth > 1 or ours == "ours":
                yield at_most(f"system calls per query, {ours}, depth {depth}, {placement}", CALLS[ours],
                              middle(study, arms[0], placement, "calls_per_query"),
                              beside=f"{theirs}: {middle(study, arms[1], placement, 'calls_per_query'):.3g}")


def failures(study, url, cpus, rounds):
    """What an error costs those that share its Sync: they are sent once more."""
    for depth in (8, 32):
        arms = [Arm("ours-shared", depth), Arm("ours-shared", depth, "--fail", FAIL), Arm("ours", depth, "--fail", FAIL)]
        for arm, name in zip(arms[1:], ("failing", "failing, a Sync each")):
            arm.name += f", {name}"
        interleaved(study, url, arms, cpus, "one core", rounds)
        plain, failing, each = (middle(study, arm, "one core", "backend_us") for arm in arms)
        again = middle(study, arms[1], "one core", "again_per_query")
        yield holds(f"backend CPU per query, shared Sync, {FAIL / 10:g} % fail, depth {depth}", "-", True, f"{failing:.1f} us",
                    f"{plain:.1f} us when none fails, {each:.1f} us with a Sync each; {again:.3f} of the queries were sent twice; "
                    f"{beside(study, arms, 'one core')}")


def all_checks(study, cpus, rounds, folder):
    try:
        postgres = Postgres(folder, None)
    except Unavailable as why:
        yield skipped("queries beside libpq", "-", str(why))
        return
    try:
        for placement in PLACEMENTS:
            if placement == "two cores" and len(cpus) < 2:
                continue
            pair = (cpus[0], cpus[0] if placement == "one core" else cpus[1])
            yield from compare(study, postgres.url, pair, placement, rounds)
        yield from failures(study, postgres.url, (cpus[0], cpus[0]), max(2, rounds // 2))
    except Unavailable as why:
        yield skipped("queries beside libpq", "-", str(why))
    finally:
        postgres.stop()
