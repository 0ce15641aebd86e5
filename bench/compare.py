#!/usr/bin/env python3
"""The study: arena on io_uring and on epoll, the same bytes under the same load, measured next to each other.

  bench/compare.py            about 15 minutes: 4 workloads, 64 and 512 connections, presets, switches, wrk, nginx
  bench/compare.py --quick    under 3 minutes: the same questions, fewer rounds and cells

What a figure means and what can be trusted: docs/measuring.md. Writes build/compare/report.txt and result.json.

Exit codes: 0; 1 the run is INVALID (a fallback backend, wrong responses, other bytes, counts that disagree); 2 usage; 69 a
program is missing.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from measure import plot, report  # noqa: E402
from measure.arms import ROOT, Unavailable, program  # noqa: E402
from measure.environment import environment, one_line  # noqa: E402
from measure.process import POLICIES, cpus, set_policy  # noqa: E402
from measure.study import ASKED_ONLY, ONE_CORE, PRESETS, SWITCHES, TWO_CORES, WORKLOADS, Study  # noqa: E402

PHASES = ("backends", "calls", "presets", "switches", "zero-copy", "generators")
LONG_PHASES = ("zero-copy",)  # no part of --quick, unless named


def arguments():
    parser = argparse.ArgumentParser(prog="./run compare", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 3 minutes")
    parser.add_argument("--only", default="", metavar="NAME,...",
                        help=f"phases ({', '.join(PHASES)}) and workloads ({', '.join(WORKLOADS)}); default: all")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per cell (7; quick: 3)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each run (1.0; quick: 0.5)")
    parser.add_argument("--policy", choices=list(POLICIES), default="batch", help="scheduling policy of server and generator (batch)")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build directory")
    parser.add_argument("--out", type=Path, default=ROOT / "build/compare", help="where the report goes")
    options = parser.parse_args()
    options.chosen = [name for name in options.only.split(",") if name]
    unknown = [name for name in options.chosen if name not in (*PHASES, *WORKLOADS)]
    if unknown:
        parser.error(f"--only knows {', '.join((*PHASES, *WORKLOADS))}, not {', '.join(unknown)}")
    if options.rounds is not None and options.rounds < 2:
        parser.error("--rounds starts at 2: one says nothing of the noise")
    return options


def null_call(build, cpu):
    done = subprocess.run([str(program(build, "bench/nullcall")), str(cpu)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def connections_of(quick):
    """The numbers of connections of a workload: quick leaves 512 to the baseline mix."""
    return lambda workload: (64, 512) if not quick or workload.name == "baseline" else (64,)


def run(study, options):
    quick = options.quick
    rounds = options.rounds or (3 if quick else 7)
    seconds = options.seconds or (0.5 if quick else 1.0)
    phases = [p for p in PHASES if p in options.chosen] or [p for p in PHASES if not quick or p not in LONG_PHASES]
    workloads = [WORKLOADS[name] for name in WORKLOADS if name in options.chosen]
    workloads = workloads or [w for w in WORKLOADS.values() if w.name not in ASKED_ONLY]
    connections = connections_of(quick)
    asked = [w for w in workloads if w.name in options.chosen]
    few = asked or [WORKLOADS[name] for name in (("baseline",) if quick else ("baseline", "reconnect"))]
    if "backends" in phases:
        study.phase_backends(workloads, connections, seconds, rounds)
    if "calls" in phases:
        study.phase_calls(workloads, connections, seconds, 1 if quick else 2)
    if "presets" in phases:
        study.phase_variants("presets", list(PRESETS), few, seconds * 0.8, max(2, rounds - 2))
    if "switches" in phases:
        study.phase_variants("switches", list(SWITCHES), few, seconds * 0.8, max(2, rounds - 2))
    if "zero-copy" in phases:
        study.phase_zero_copy(seconds * 0.8, max(2, rounds - 2))
    if "generators" in phases:
        study.phase_generators(max(1, round(seconds)), 1 if quick else 2, (ONE_CORE,) if quick else (ONE_CORE, TWO_CORES))


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    mode = ("quick" if options.quick else "full") + f", policy {options.policy}"
    set_policy(options.policy)
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        study = Study(options.build, folder, cpus())
        env = environment(options.build)
        null = null_call(options.build, study.server_cpu)
        run(study, options)
    text = report.render(study, one_line(env), null, mode)
    (options.out / "report.txt").write_text(text, encoding="utf-8")
    result = {"format": 1, "mode": mode, "policy": options.policy, "environment": env, "null_call": null, "arms": study.arms, "invalid": study.problems,
              "notes": study.notes, "seconds": round(time.monotonic() - started, 1), "runs": study.runs}
    (options.out / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    drawn = plot.draw(study.runs, options.out)
    print(text)
    print(f"{result['seconds']:.0f} s; written: {options.out}/report.txt, result.json{', ' + drawn if drawn else ''}")
    return 1 if study.problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unavailable as why:
        print(f"compare: {why}", file=sys.stderr)
        sys.exit(69)
    except KeyboardInterrupt:
        sys.exit(130)
