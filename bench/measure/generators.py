"""Runs the generators: load, ours, and wrk as a cross-check."""
import json
import re
import resource
import shutil
import subprocess
from pathlib import Path

from measure.arms import ROOT, Unavailable, clean_environment, program

TEMPLATES = ROOT / "bench/templates"


class Broken(Exception):
    """A run whose figures mean nothing: says why."""


def run_load(build, port, template, connections=64, depth=1, reconnect=0, seconds=None, requests=None, cpu=None, io="auto",
             seed=0, rate=0, ahead=()):
    """load's JSON; `template` is a name in bench/templates, or a path. Raises Broken when it could not run; wrong responses are in the JSON, for the caller to judge. `ahead`
    is a command that starts it, as chrt(1)."""
    command = [*ahead, program(build, "bench/load"), "--connect", f"127.0.0.1:{port}", "--template", TEMPLATES / (template if "/" in template else f"{template}.txt"),
               "--connections", connections, "--depth", depth, "--reconnect", reconnect, "--io", io, "--seed", seed,
               "--rate", rate, "--json", "-"]
    command += ["--duration", f"{round(seconds * 1000)}ms"] if seconds else []
    command += ["--requests", requests] if requests else []
    command += ["--cpu", cpu] if cpu is not None else []
    limit = (seconds or 600) + 30
    try:
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=limit, env=clean_environment(), check=False)
    except subprocess.TimeoutExpired as expired:
        raise Broken(f"load did not end within {limit:.0f} s") from expired
    if done.returncode not in (0, 1):
        raise Broken(f"load: {done.stderr.strip()}")
    return json.loads(done.stdout)


def wrong_responses(result):
    """Why a run of load is no good, or None."""
    if result["errors"]["total"] > 0:
        return f"wrong responses: {result['sample']}"
    bad = {status: n for status, n in result["statuses"].items() if not status.startswith("2")}
    if bad:
        return f"responses that are not 2xx: {bad}"
    return None if result["requests"] > 0 else "no response at all"


WRK_PIPELINE = """init = function(args)
  local one = wrk.format("GET", "/pipeline")
  many = string.rep(one, {depth})
end
request = function() return many end
"""
# What load does with every response; wrk by itself looks for statuses above 399 only.
WRK_CHECK = """wrong = 0
response = function(status, headers, body)
  if status ~= 200 or #body ~= 2 then wrong = wrong + 1 end
end
"""


def has_wrk():
    return shutil.which("wrk") is not None


def run_wrk(folder, port, connections=64, depth=1, seconds=2, cpu=None, checking=False):
    """{requests, errors, cpu_us}: wrk with one thread on /pipeline; `checking` looks at each status and length, too."""
    if not has_wrk():
        raise Unavailable("wrk is not installed")
    lua = (WRK_PIPELINE.format(depth=depth) if depth > 1 else "") + (WRK_CHECK if checking else "")
    script = Path(folder) / f"wrk-{depth}-{checking}.lua"
    script.write_text(lua, encoding="ascii")
    command = ["taskset", "-c", str(cpu)] if cpu is not None else []
    command += ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s"]
    command += ["-s", str(script)] if lua else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command, f"http://127.0.0.1:{port}/pipeline"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=seconds + 30, env=clean_environment(), check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"(\d+) requests in ([\d.]+)(m?s|m),", done.stdout)
    if done.returncode != 0 or not found:
        raise Broken(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    errors = re.findall(r"Non-2xx[^\n]*|Socket errors[^\n]*", done.stdout)
    return {"requests": int(found.group(1)), "errors": errors,
            "cpu_us": (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1e6}
