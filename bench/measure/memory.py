"""Checks of what takes memory on the way of a request: malloc beside our pools (bench/malloc_pools)."""
import re
import subprocess

from measure.arms import program
from measure.bounds import holds, skipped

NO_SLOWER = 1.0
# One thread frees what another took: ours goes home first, which is a hop more; told, not bound.
UNBOUND = ("crossed",)
ROW = re.compile(r"(\w+) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +\(([\d.]+) to ([\d.]+)\)")


def read(text):
    """(pattern, threads, malloc_ns, ours_ns, ratio, low, high) of each row that malloc_pools printed."""
    return [(name, int(threads), *map(float, rest)) for name, threads, *rest in ROW.findall(text)]


def all_checks(build, rounds):
    done = subprocess.run([program(build, "bench/malloc_pools"), "64", str(2 * rounds + 1)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield skipped("pools beside malloc", "-", done.stderr.strip())
        return
    for name, threads, malloc_ns, ours_ns, ratio, low, high in read(done.stdout):
        what = f"pools over malloc, {name}, {threads} thread{'s' * (threads > 1)}"
        beside = f"{low} to {high}; {ours_ns} and {malloc_ns} ns"
        bound = "-" if name in UNBOUND else f"<= {NO_SLOWER}"
        yield holds(what, bound, name in UNBOUND or ratio <= NO_SLOWER, f"{ratio:.3f}", beside)
