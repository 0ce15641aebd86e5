"""A long soak: mixed requests with reconnects, while memory and allocations are watched. Gives Checks."""
import subprocess
import sys
import time
from dataclasses import dataclass

from measure import database, process
from measure.arms import ROOT, Arena, Unavailable, clean_environment, program
from measure.bounds import holds, skipped
from measure.generators import TEMPLATES
from measure.sums import slope

sys.path.insert(0, str(ROOT / "tests"))
from malloc_count import read_counts  # noqa: E402

# Memory is touched when more is in use at a time than ever before, or when an item of a pool meets its largest request: both
# can happen late by chance. So the warm-up asks for more at a time than the soak ever does, and then for as much.
@dataclass(frozen=True)
class Mix:
    """What is asked for, and how much of it at a time: (connections, depth)."""
    name: str
    template: str
    warm_up: tuple
    soak: tuple
    warm_up_min: int  # requests, twice


MIXED = Mix("mixed requests", "mixed.txt", (192, 12), (64, 4), 100_000)
DATABASE = Mix("database requests", "database.txt", (96, 8), (32, 4), 10_000)  # more at a time than --db-queue takes is 503
WARM_UP_SHARE = 0.1  # of the requests
GROWTH_BYTES = 128 << 10  # what the fitted line may rise over the whole soak
SAMPLE_SECONDS = 0.2
SAMPLES_MIN = 20  # of a short run, by the time that its warm-up took
RECONNECT = 37  # shares no factor with the number of requests in a template
WORKERS = 2
ROWS = 5000


def preload(build):
    found = sorted(build.glob("tests/*malloc_count*.so"))
    return found[0] if found else None


def samples(arena, load, pause):
    """[(requests served, anonymous bytes)] until the generator has ended."""
    taken = []
    while load.poll() is None:
        taken.append((arena.stats()["total"]["requests"], process.memory(arena.pid).anonymous))
        time.sleep(pause)
    return taken


def start_load(build, arena, mix, shape, requests, seed):
    connections, depth = shape
    command = [program(build, "bench/load"), "--connect", f"127.0.0.1:{arena.port}", "--template", TEMPLATES / mix.template,
               "--connections", connections, "--depth", depth, "--reconnect", RECONNECT, "--requests", requests, "--seed", seed]
    return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env=clean_environment())


def run_phase(build, arena, mix, shape, requests, seed, pause=SAMPLE_SECONDS):
    """Samples of one run of the generator; Unavailable when a response was wrong."""
    load = start_load(build, arena, mix, shape, requests, seed)
    try:
        taken = samples(arena, load, pause)
    finally:
        if load.poll() is None:
            load.kill()
    said = load.stdout.read()
    load.stdout.close()
    if load.wait() != 0:
        raise Unavailable(f"the soak's load failed: {said.strip()}")
    return taken


def judge_slope(taken, what):
    """The line through anonymous memory must not rise."""
    requests, memory = zip(*taken)
    line = slope(requests, memory)
    growth = line.value * (requests[-1] - requests[0])
    leaks = line.low > 0 and growth > GROWTH_BYTES
    return holds(f"{what}: RSS slope", f"0 (or < {GROWTH_BYTES >> 10} KiB in all)", not leaks,
                 f"{line.value:+.5f} bytes/request",
                 f"95 %: {line.low:+.5f} to {line.high:+.5f}; {memory[0] / 2**20:.2f} MiB at first, {memory[-1] / 2**20:.2f} at last, "
                 f"{len(taken)} samples")


def soak(build, folder, io, requests, preload, mix=MIXED, flags=()):
    """Checks of one backend."""
    counts_file = f"{folder}/counts-{mix.template}-{io}"
    env = {"LD_PRELOAD": str(preload), "MALLOC_COUNT_FILE": counts_file} if preload else {}
    with Arena(build, folder, f"soak-{mix.template}-{io}", ["--io", io, *flags], workers=WORKERS, env=env) as arena:
        if flags:
            database.settle(arena)
        warm_up = max(mix.warm_up_min, int(requests * WARM_UP_SHARE))
        for shape in (mix.warm_up, mix.soak):
            started = time.monotonic()
            run_phase(build, arena, mix, shape, warm_up, seed=1)
        expected = (time.monotonic() - started) * requests / warm_up
        before = read_counts(counts_file) if preload else None
        served = arena.stats()["total"]["requests"]
        taken = run_phase(build, arena, mix, mix.soak, requests, seed=2, pause=min(SAMPLE_SECONDS, expected / SAMPLES_MIN))
        served = arena.stats()["total"]["requests"] - served
        after = read_counts(counts_file) if preload else None
    what = f"{served:,} {mix.name}, {io}"
    yield judge_slope(taken, what)
    if not preload:
        yield skipped(f"{what}: allocations", "= 0", "the counting library was not built")
        return
    moved = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    counted = before.get("malloc", 0) > 0
    yield holds(f"{what}: allocations and mappings", "= 0", counted and not moved,
                ", ".join(f"{name} {n}" for name, n in moved.items()) or "0",
                f"{before['malloc']} mallocs before the seal" if counted else "the library counted nothing at all")


def database_soak(build, folder, backends, requests, preload, template=None):
    """Checks of the routes that ask a database, each backend with a PostgreSQL of its own; all skipped when there is none."""
    if not database.is_installed():
        for io in backends:
            yield skipped(f"{DATABASE.name}, {io}", "= 0", "PostgreSQL's programs are missing (package postgresql)")
        return
    for io in backends:
        with database.Postgres(f"{folder}/{io}", rows=ROWS, template=template or build / "postgres-soak") as postgres:
            yield from soak(build, folder, io, requests, preload, DATABASE, ["--db", postgres.url])
