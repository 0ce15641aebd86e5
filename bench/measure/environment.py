"""What a reader needs to know of the machine and of the build."""
import json
import os
import platform
import re
import resource
import subprocess
from pathlib import Path

from measure.arms import ROOT
from measure.process import cpus


def _file(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _command(*words):
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def cpu_model():
    found = re.search(r"^model name\s*:\s*(.*)$", _file("/proc/cpuinfo") or "", re.M)
    return found.group(1) if found else platform.machine()


def mitigations():
    folder = Path("/sys/devices/system/cpu/vulnerabilities")
    if not folder.is_dir():
        return {}
    return {path.name: _file(path) for path in sorted(folder.iterdir()) if _file(path) != "Not affected"}


def build_facts(build):
    """Compiler, flags and liburing of a meson build."""
    facts = {}
    text = _command("meson", "introspect", str(build), "--buildoptions")
    if text:
        options = {option["name"]: option["value"] for option in json.loads(text)}
        facts["options"] = {name: options.get(name) for name in ("buildtype", "b_sanitize", "uring", "epoll", "c_args")}
    log = _file(Path(build) / "meson-logs/meson-log.txt") or ""
    found = re.search(r"^C compiler for the host machine: .*?\((.*)\)$", log, re.M)
    facts["compiler"] = found.group(1) if found else None
    text = _command("meson", "introspect", str(build), "--dependencies")
    if text:
        facts["liburing"] = next((d.get("version") for d in json.loads(text) if d["name"] == "liburing"), None)
    return facts


def limit(which):
    soft, hard = resource.getrlimit(which)
    return ["unlimited" if value == resource.RLIM_INFINITY else value for value in (soft, hard)]


def environment(build):
    return {
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cpus": cpus(),
        "mitigations": mitigations(),
        "governor": _file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clocksource": _file("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "io_uring_disabled": _file("/proc/sys/kernel/io_uring_disabled"),
        "somaxconn": _file("/proc/sys/net/core/somaxconn"),
        "congestion_control": _file("/proc/sys/net/ipv4/tcp_congestion_control"),
        "qdisc": _file("/proc/sys/net/core/default_qdisc"),
        "memlock": limit(resource.RLIMIT_MEMLOCK),
        "nofile": limit(resource.RLIMIT_NOFILE),
        "root": os.geteuid() == 0,
        "load_average": os.getloadavg(),
        "git": _command("git", "rev-parse", "HEAD"),
        "git_dirty": bool(_command("git", "status", "--porcelain")),
        "build": build_facts(build),
    }


def one_line(env):
    compiler = " ".join((env["build"].get("compiler") or "?").split()[:2])
    return (f"Linux {env['kernel']}, {env['cpu']}, {len(env['cpus'])} CPUs; {compiler}; "
            f"git {(env['git'] or '?')[:12]}{' with changes' if env['git_dirty'] else ''}")
