#!/usr/bin/env python3
"""`doctor` as a process: on this machine as it is, and in surroundings where less is allowed.

usage: doctor.py PROGRAM DATABASE      DATABASE: a program that wants one
"""
import errno
import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import surroundings  # noqa: E402

RESULTS = ("PASS", "WARN", "FAIL")


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Report:
    """What `PROGRAM doctor --json` said: report["listen"] is that check, or None."""

    def __init__(self, program, *flags, preexec=None, seconds=120):
        started = time.monotonic()
        done = subprocess.run([program, "doctor", "--json", *flags], capture_output=True, timeout=seconds, check=False,
                              preexec_fn=preexec)
        self.seconds = time.monotonic() - started
        self.code = done.returncode
        self.stderr = done.stderr.decode()
        whole = json.loads(done.stdout)
        self.version, self.checks = whole["version"], whole["checks"]
        self.recommended, self.reason = whole["recommended"], whole["reason"]
        for check in self.checks:
            expect(set(check) == {"name", "result", "finding", "fix"} and check["result"] in RESULTS, check)
            expect(check["finding"] and (check["fix"] == "") == (check["result"] == "PASS"), check)
        failed = [check for check in self.checks if check["result"] == "FAIL"]
        expect(self.code == (1 if failed else 0), (self.code, failed))

    def __getitem__(self, name):
        return next((check for check in self.checks if check["name"] == name), None)

    def says(self, name, result, finding="", fix=""):
        check = self[name]
        expect(check is not None and check["result"] == result and finding in check["finding"] and fix in check["fix"],
               (name, result, finding, fix, check))


def follow(report, preexec=None):
    """Starts what was recommended: the backend must be the one that was named, without a fallback."""
    words = shlex.split(report.recommended)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=preexec)
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if "listening on" in line:
                break
        port = re.search(r"127\.0\.0\.1:(\d+)", lines[-1] if lines else "")
        expect(port is not None, lines)
        expect(f"backend {words[words.index('--io') + 1]} " in lines[-1] and "FALLBACK" not in "".join(lines), lines)
        expect(arena.get(int(port.group(1)), "/")[0] in (200, 404), "an answer")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    expect(process.returncode == 0, process.returncode)


def has_uring(program):
    return "uring" in arena.compiled(program)


def need_uring(program):
    if not has_uring(program):
        raise arena.Skipped("io_uring is not compiled in")
    report = Report(program, "--listen", "127.0.0.1:0")
    if report["io_uring"]["result"] != "PASS":
        raise arena.Skipped("io_uring is not allowed here")


def need_root():
    if not surroundings.is_root():
        raise arena.Skipped("needs root")


def case_plain(program):
    report = Report(program, "--listen", "127.0.0.1:0")
    for name in ("proc", "kernel", "io_uring", "descriptors", "memory", "affinity", "reuse-port", "listen", "clock"):
        expect(report[name] is not None, name)
    expect(report["listen"]["result"] == "PASS" and report["proc"]["result"] == "PASS", report.checks)
    expect(re.fullmatch(r"\d+\.\d+\.\d+", report.version) and report.recommended.startswith(program), report.recommended)
    expect(report.seconds < 60, f"{report.seconds} s")
    for name in arena.backends(program):
        if name == "epoll" or report["io_uring"]["result"] == "PASS":
            report.says("serve-" + name, "PASS", "first request")
    follow(report)


def case_text(program):
    done = subprocess.run([program, "doctor", "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=120, check=False)
    lines = done.stdout.splitlines()
    expect(lines[-1].startswith(f"recommended: {program} --io "), lines[-1])
    expect("\033" not in done.stdout, "no colours but on a terminal")
    column = None
    for line, following in zip(lines[:-1], lines[1:]):
        row = re.fullmatch(r"(PASS|WARN|FAIL)  (\S+ +)(\S.*)", line)
        expect(row or re.fullmatch(r" +fix: \S.*", line), line)
        if row:
            column = column or row.start(3)
            expect(row.start(3) == column, f"not aligned: {line}")
            expect((row.group(1) == "PASS") != following.strip().startswith("fix: "), (line, following))


def on_terminal(program, env):
    """What doctor prints on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([program, "doctor", "--listen", "127.0.0.1:0"], stdout=theirs, stderr=subprocess.DEVNULL, env=env)
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # EIO: the other side is closed
        pass
    process.wait(120)
    os.close(ours)
    return text


def case_colours(program):
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    expect(b"\033[32mPASS\033[0m" in on_terminal(program, env), "colours on a terminal")
    expect(b"\033" not in on_terminal(program, dict(env, NO_COLOR="1")), "NO_COLOR")


def case_usage(program):
    for flags, code, words in ((["--wrokers", "2"], 2, "--workers"), (["--plan"], 2, "--plan"), (["--io", "kqueue"], 2, "--io"),
                               (["--help"], 0, "--json")):
        done = subprocess.run([program, "doctor", *flags], capture_output=True, text=True, timeout=60, check=False)
        expect(done.returncode == code and words in done.stdout + done.stderr, (flags, done))
    text = subprocess.run([program, "doctor", "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    expect("exit codes" in text and "1 a check failed" in text, text)
    expect(" doctor " in subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout, "--help names it")


def case_flags_count(program):
    report = Report(program, "--listen", "127.0.0.1:0", "--workers", "3", "--max-connections", "77")
    expect("3 workers" in report["affinity"]["finding"] and "77 connections" in report["descriptors"]["finding"], report.checks)


def case_leaves_nothing(program):
    """The flags of a server that writes and listens: nothing is written, nobody is listening afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        report = Report(program, "--listen", "unix:" + os.path.join(folder, "a.sock"), "--access-log", os.path.join(folder, "log"),
                        "--admin", "unix:" + os.path.join(folder, "admin.sock"), "--drain-delay", "20s")
        expect(report.seconds < 60, f"{report.seconds} s")
        expect(report.code == 0 and os.listdir(folder) == [], (report.checks, os.listdir(folder)))
        expect("--access-log" in report.recommended, report.recommended)


def case_environment(program):
    done = subprocess.run([program, "doctor", "--json"], capture_output=True, text=True, timeout=120, check=False,
                          env=dict(os.environ, RINGMAIN_WORKERS="3", PORT="0"))
    expect("3 workers" in done.stdout, done.stdout)


def case_address_taken(program):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        report = Report(program, "--listen", address)
        report.says("listen", "FAIL", address, "ss -ltnp")
        expect("once its address is free" in report.reason, report.reason)
        Report(program, "--listen", "127.0.0.1:0", "--admin", address).says("listen", "FAIL", address)


def case_unix_socket(program):
    """A socket that is in use stays; a path that is no UTF-8 makes no bad JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(os.fsencode(folder), b"a \xff.sock")
        report = Report(program, "--listen", b"unix:" + path)
        report.says("listen", "PASS")
        expect("\ufffd" in report.recommended and not os.path.exists(path), report.recommended)
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(path)
            taken.listen()
            Report(program, "--listen", b"unix:" + path).says("listen", "FAIL")
            expect(os.path.exists(path), "somebody else's socket")


def case_seccomp(program):
    """io_uring is refused: auto warns, uring fails, epoll does not care; what is recommended runs there."""
    need_uring(program)
    for error, word in ((errno.EPERM, "EPERM: a seccomp filter forbids it"), (errno.ENOSYS, "ENOSYS: a seccomp filter")):
        refuse = surroundings.refuse_uring(error)
        falls_back = "epoll" in arena.backends(program)
        report = Report(program, "--listen", "127.0.0.1:0", preexec=refuse)
        report.says("io_uring", "WARN" if falls_back else "FAIL", word, "io_uring_setup")
        expect(report["defer-taskrun"] is None, "features are not judged")
        Report(program, "--listen", "127.0.0.1:0", "--io", "uring", preexec=refuse).says("io_uring", "FAIL", word)
        if falls_back:
            Report(program, "--listen", "127.0.0.1:0", "--io", "epoll", preexec=refuse).says("io_uring", "PASS", "--io epoll")
            expect(" --io epoll" in report.recommended and report.reason, report.recommended)
            follow(report, refuse)
        else:
            expect(report.recommended == "", report.recommended)


def case_seccomp_register(program):
    """Only one of the three calls is allowed: the ring can be made, and is good for nothing."""
    need_uring(program)
    refuse = surroundings.refuse_calls([surroundings.IO_URING_REGISTER])
    report = Report(program, "--listen", "127.0.0.1:0", preexec=refuse)
    report.says("buffer-ring", "WARN", "EPERM", "io_uring_register")
    expect(" --io uring" not in report.recommended, report.recommended)


def case_seccomp_kills(program):
    need_uring(program)
    kill = surroundings.kill_uring()
    report = Report(program, "--listen", "127.0.0.1:0", preexec=kill)
    report.says("io_uring", "FAIL", "SIGSYS")
    if "epoll" in arena.backends(program):
        follow(report, kill)


def case_little_locked_memory(program):
    """As nobody with 64 KiB and 4 workers: what is recommended runs there, on what was said."""
    need_root()
    with tempfile.TemporaryDirectory() as folder:
        copy = surroundings.copy_program(program, folder)
        for locked in (64 * 1024, 8 * 1024 * 1024):
            poor = surroundings.nobody(locked)
            report = Report(copy, "--listen", "127.0.0.1:0", "--workers", "4", preexec=poor)
            if "uring" in arena.backends(program):
                expect("locked memory" in json.dumps(report.checks) or "fit" in report["locked-memory"]["finding"], report.checks)
            if "epoll" in arena.backends(program):
                follow(report, poor)


def case_few_descriptors(program):
    report = Report(program, "--listen", "127.0.0.1:0", "--workers", "1", preexec=surroundings.files(64))
    report.says("descriptors", "FAIL", "the limit is 64", "ulimit -n")
    expect(report.recommended == "" and "one for each worker" in report.reason, (report.recommended, report.reason))
    some = surroundings.files(256)
    report = Report(program, "--listen", "127.0.0.1:0", "--workers", "2", "--max-connections", "1000", preexec=some)
    report.says("descriptors", "FAIL", "the limit is 256", "LimitNOFILE")
    expect(re.search(r"--max-connections \d+", report.recommended), report.recommended)
    follow(report, some)


def case_no_proc(program):
    """In a root of its own that holds the program and its libraries."""
    need_root()
    if surroundings.sanitized(program):
        raise arena.Skipped("a sanitizer needs /proc")
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "tmp"))
        name = os.path.basename(surroundings.copy_program(program, folder, with_libraries=True))
        report = Report("/" + name, "--listen", "127.0.0.1:0", preexec=surroundings.inside(folder))
        report.says("proc", "WARN", "not mounted", "mount -t proc")
        expect(report["backlog"] is None, "what can't be read is not judged")
        if has_uring(program):
            refuse = surroundings.both(surroundings.inside(folder), surroundings.refuse_uring())
            report = Report("/" + name, "--listen", "127.0.0.1:0", preexec=refuse)
            expect("without /proc it is not known which" in report["io_uring"]["finding"], report["io_uring"])


def case_not_compiled(program):
    if has_uring(program):
        raise arena.Skipped("io_uring is compiled in")
    report = Report(program, "--listen", "127.0.0.1:0")
    report.says("io_uring", "WARN", "not compiled in", "-During=true")
    expect(" --io epoll" in report.recommended and report["serve-uring"] is None, report.checks)


def case_database(_):
    """It tries out the machine: the database is not asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        flags = ["--listen", "127.0.0.1:0", "--db", f"postgresql://me@127.0.0.1:{server.getsockname()[1]}/mine"]
        report = Report(database_program, *flags)
        expect(all(report[f"serve-{name}"] is not None for name in arena.backends(database_program)), report.checks)
        try:
            server.accept()
            raise AssertionError("somebody has connected")
        except BlockingIOError:
            pass


def main(argv):
    global database_program
    if len(argv) != 3:
        sys.exit(__doc__)
    database_program = os.path.abspath(argv[2])
    for name in ("PORT", "RINGMAIN_IO"):  # doctor is to find out by itself what may be used
        os.environ.pop(name, None)
    program = os.path.abspath(argv[1])
    return arena.run_cases([(name.removeprefix("case_"), lambda function=function: function(program))
                            for name, function in globals().items() if name.startswith("case_")])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
