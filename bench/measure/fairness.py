"""Checks of how evenly arena serves: many connections against each other, and a few polite ones against a flood. Each function
gives Checks (measure/bounds.py). Server and generators stand on different CPUs."""
import shutil
import threading
from statistics import median

from measure.arms import Arena
from measure.bounds import at_most, holds, skipped
from measure.generators import run_load, wrong_responses

MANY_CONNECTIONS, MANY_P99_OVER_P50 = 512, 2
MANY_SECONDS = 4  # long enough that the burst of connects at the beginning is less than a hundredth of the requests
POLITE, FLOODERS, FLOOD_DEPTH = 50, 10, 512
POLITE_RATE = 5000  # requests per second, where the polite ones have a rate
FLOOD_FACTOR = 2
# The generator of the polite ones must not wait for its CPU behind the one that floods: what it measures is the server.
AHEAD = ("chrt", "--fifo", "1")


def ends_alike(rounds, values):
    return f"medians of {rounds} rounds, {min(values):.3g} to {max(values):.3g}"


def many(build, folder, io, cpus, seconds, rounds):
    """The slowest hundredth of 512 connections' requests against the median: a closed loop, so this says who is kept waiting."""
    ratios, p50s = [], []
    with Arena(build, folder, f"fair-{io}", ["--io", io, "--max-connections", 4096], cpu=cpus[0]) as arena:
        for _ in range(rounds):
            result = run_load(build, arena.port, "pipeline", MANY_CONNECTIONS, seconds=seconds, cpu=cpus[1])
            wrong = wrong_responses(result)
            if wrong:
                yield holds(f"p99 over p50, {MANY_CONNECTIONS} connections, {io}", f"<= {MANY_P99_OVER_P50}", False, wrong)
                return
            ratios.append(result["latency_us"]["p99_over_p50"])
            p50s.append(result["latency_us"]["p50"])
    yield at_most(f"p99 over p50, {MANY_CONNECTIONS} connections, {io}", MANY_P99_OVER_P50, median(ratios),
                  beside=f"{ends_alike(rounds, ratios)}; p50 {median(p50s):.0f} us")


class Flood:
    """Clients that send as fast as they can, for as long as the block runs."""

    def __init__(self, build, port, cpu, seconds):
        self.result = None
        self.thread = threading.Thread(target=self.run, args=(build, port, cpu, seconds))

    def run(self, build, port, cpu, seconds):
        self.result = run_load(build, port, "pipeline", FLOODERS, depth=FLOOD_DEPTH, seconds=seconds, cpu=cpu)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()


def polite(build, arena, cpu, seconds, rate):
    result = run_load(build, arena.port, "pipeline", POLITE, seconds=seconds, cpu=cpu, rate=rate, ahead=AHEAD)
    return result["latency_us"]["p99"], wrong_responses(result)


def flood(build, folder, io, cpus, seconds, rounds, rate):
    """The p99 of polite clients without and with a flood beside them, in turn."""
    words = f"{rate} requests per second" if rate else "closed loop"
    what = f"p99 of {POLITE} polite clients ({words}) beside {FLOODERS} that flood, over that without, {io}"
    if shutil.which("chrt") is None:
        yield skipped(what, f"<= {FLOOD_FACTOR}", "chrt (util-linux) is not installed")
        return
    alone, beside, flooded = [], [], []
    with Arena(build, folder, f"flood-{io}", ["--io", io, "--max-connections", 4096], cpu=cpus[0]) as arena:
        for _ in range(rounds):
            p99, wrong = polite(build, arena, cpus[1], seconds, rate)
            alone.append(p99)
            with Flood(build, arena.port, cpus[1], seconds + 0.6) as by:
                threading.Event().wait(0.3)
                p99, wrong_beside = polite(build, arena, cpus[1], seconds, rate)
                beside.append(p99)
            wrong = wrong or wrong_beside or wrong_responses(by.result)
            if wrong:
                yield holds(what, f"<= {FLOOD_FACTOR}", False, wrong)
                return
            flooded.append(by.result["requests_per_second"])
    ratios = [b / a for a, b in zip(alone, beside)]
    yield at_most(what, FLOOD_FACTOR, median(ratios),
                  beside=f"{ends_alike(rounds, ratios)}; {median(alone):.0f} us alone, {median(beside):.0f} us beside "
                         f"{median(flooded):,.0f} requests per second")


def all_checks(build, folder, cpus, rounds, seconds=1.5):
    if len(cpus) < 2:
        yield skipped("fairness", "-", "needs two CPUs")
        return
    for io in ("uring", "epoll"):
        yield from many(build, folder, io, cpus, MANY_SECONDS, rounds)
    for rate in (0, POLITE_RATE):
        for io in ("uring", "epoll"):
            yield from flood(build, folder, io, cpus, seconds, rounds, rate)
