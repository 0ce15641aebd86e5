#!/usr/bin/env python3
"""Servers as an operator meets them: logs and their rotation, health, metrics, signals, systemd, Unix sockets, environment.

usage: ops.py ARENA HELLO STUCK OPERATING.md
"""
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import exposition  # noqa: E402

COMBINED = re.compile(r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(\S+ \S+ HTTP/1\.1|-)" (\d{3}) \d+ "([^"]*)" '
                      r'"([^"]*)"')


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


eventually = arena.until


def backends(program):
    return [(name, ["--io", name]) for name in arena.backends(program)]


def metric(port, name, **labels):
    text = arena.get(port, "/metrics")[2].decode()
    return exposition.parse(text)[name].samples[name, tuple(sorted(labels.items()))]


def ask_many(port, count, number, failures, pause=0.0):
    """`count` requests on one connection, each with a number of its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            for i in range(count):
                sock.sendall(f"GET /pipeline?n={number + i} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                if arena.read_response(sock)[0] != 200:
                    failures.append(number + i)
                time.sleep(pause)
    except Exception as error:
        failures.append(error)


def load(port, threads, count, pause=0.0):
    failures = []
    running = [threading.Thread(target=ask_many, args=(port, count, i * count, failures, pause)) for i in range(threads)]
    for thread in running:
        thread.start()
    return running, failures


# ---------------------------------------------------------------------------------------------------- access log ----

def case_rotation_loses_nothing(programs):
    """Renamed and reopened under load, again and again: N requests are N lines over all files, and none is torn."""
    for name, flags in backends(programs.arena):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "access.log"
            with arena.Arena(programs.arena, "--workers", "2", "--access-log", str(path), *flags) as server:
                running, failures = load(server.port, 4, 1500, 0.0005)
                turns = 0
                while any(thread.is_alive() for thread in running):
                    os.rename(path, f"{path}.{turns}")
                    server.signal(signal.SIGHUP if turns % 2 else signal.SIGUSR1)
                    eventually(path.exists, "a new file")
                    turns += 1
                    time.sleep(0.1)
                expect(not failures and turns > 3, (name, failures[:3], turns))
            lines = [line for file in sorted(Path(folder).iterdir()) for line in file.read_text().splitlines()]
            asked = sorted(int(re.search(r"n=(\d+) ", line).group(1)) for line in lines)
            expect(asked == list(range(6000)), (name, len(lines)))
            expect(all(COMBINED.fullmatch(line) for line in lines), name)


def case_answered_is_logged(programs):
    """What was answered before a clean exit is in the file."""
    for _, flags in backends(programs.arena):
        with tempfile.NamedTemporaryFile() as file:
            with arena.Arena(programs.arena, "--access-log", file.name, "--access-format", "common", *flags) as server:
                for _ in range(20):
                    arena.get(server.port, "/pipeline")
            expect(len(Path(file.name).read_text().splitlines()) == 20, file.name)


def case_full_pipe_drops_and_counts(programs):
    """Nobody reads: every answer leaves, whole lines are dropped, and all others come out when somebody reads again."""
    for name, flags in backends(programs.arena):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "pipe")
            os.mkfifo(path)
            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            got = []
            with arena.Arena(programs.arena, "--workers", "1", "--access-log", path, *flags) as server:
                with server.connect() as sock:
                    for _ in range(400):
                        sock.sendall(b"GET /pipeline?" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                        expect(arena.read_response(sock)[0] == 200, name)
                dropped = metric(server.port, "access_log_dropped_total")
                expect(dropped > 100, (name, dropped))
                os.set_blocking(reader, True)
                thread = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reader, 65536), b"")))
                thread.start()
            thread.join(60)
            os.close(reader)
            lines = b"".join(got).decode().splitlines()
            expect(len(lines) + dropped == 401, (name, len(lines), dropped)) # and /metrics
            expect(all(COMBINED.fullmatch(line) for line in lines), name)


def case_no_calls_for_the_log(programs):
    """No system call on a worker for a line, or for an address; one wake for each time the log had gone to sleep."""
    for name, flags in backends(programs.arena):
        with arena.Arena(programs.arena, "--workers", "1", "--access-log", "/dev/null", *flags) as server:
            started = time.monotonic()
            for _ in range(30):
                arena.get(server.port, "/pipeline")
            ask_many(server.port, 300, 0, [])
            calls = json.loads(arena.get(server.port, "/stats")[2])["total"]["system_calls_by_name"]
            wakes = metric(server.port, "access_log_wakes_total")
            expect(wakes <= 2 + (time.monotonic() - started), (name, wakes))  # it goes to sleep after a second without a line
            expect(calls.get("getpeername", 0) == 0, (name, calls))
            expect(calls.get("write", 0) <= wakes + 1, (name, calls))


def case_idle_is_quiet(programs):
    """After a second without a line nothing wakes the log's thread."""
    with arena.Arena(programs.arena, "--workers", "1", "--access-log", "/dev/null") as server:
        arena.get(server.port, "/pipeline")
        tasks = Path(f"/proc/{server.process.pid}/task")
        thread = next(task for task in tasks.iterdir() if (task / "comm").read_text() == "rm-log\n")

        def switches():
            return int(re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", (thread / "status").read_text()).group(1))

        time.sleep(1.5)
        deadline, before = time.monotonic() + arena.PATIENCE_SECONDS, -1
        while (now := switches()) != before:
            expect(time.monotonic() < deadline, (before, now))
            before = now
            time.sleep(1)


def case_forged_lines(programs):
    """A client cannot write a line of its own, in any format."""
    evil = 'x" 200 0 "-" "-"\\'
    for form in ("common", "combined", "json"):
        with tempfile.NamedTemporaryFile() as file:
            with arena.Arena(programs.arena, "--workers", "1", "--access-log", file.name, "--access-format", form) as server:
                with server.connect() as sock:
                    sock.sendall(f"GET /pipeline HTTP/1.1\r\nHost: a\r\nUser-Agent: {evil}\xff\t\r\n\r\n".encode("latin-1"))
                    expect(arena.read_response(sock)[0] == 200, form)
            lines = Path(file.name).read_text().splitlines()
            expect(len(lines) == 1, lines)
            if form == "json":
                entry = json.loads(lines[0])
                expect(entry["user_agent"] == evil + "\ufffd", entry)
                expect(entry["remote_addr"] == "127.0.0.1" and entry["route"] == "/pipeline" and entry["status"] == 200, entry)
            if form == "combined":
                expect(COMBINED.fullmatch(lines[0]).group(4) == 'x\\x22 200 0 \\x22-\\x22 \\x22-\\x22\\x5C\\xFF', lines)


def case_log_cannot_be_opened(programs):
    done = subprocess.run([programs.hello, "--listen", "127.0.0.1:0", "--access-log", "/nonexistent/x"], capture_output=True,
                          text=True, timeout=60, check=False)
    expect(done.returncode == 78 and "/nonexistent/x" in done.stderr, done)


def case_log_cannot_be_reopened(programs):
    """The old file goes on, and nobody says that there is a new one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "access.log"
        server = arena.Arena(programs.hello, "--workers", "1", "--access-log", str(path))
        path.rename(f"{path}.1")
        path.mkdir()
        server.signal(signal.SIGHUP)
        eventually(lambda: any("is not reopened" in line for line in server.lines), "a warning")
        arena.get(server.port, "/")
        expect(server.stop() == 0 and not any("reopened the access log" in line for line in server.lines), server.lines)
        expect(len(Path(f"{path}.1").read_text().splitlines()) == 1, "its line")


def case_log_on_standard_output(programs):
    process = subprocess.Popen([programs.hello, "--listen", "127.0.0.1:0", "--access-log", "-"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    port = int(re.search(r"127\.0\.0\.1:(\d+)", process.stderr.readline()).group(1))
    arena.get(port, "/")
    process.send_signal(signal.SIGHUP) # standard output cannot be reopened, and need not be
    arena.get(port, "/")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    expect(process.returncode == 0 and len(out.splitlines()) == 2, out)


# --------------------------------------------------------------------------------------------- standard error, signals ----

def case_json_lines(programs):
    server = arena.Arena(programs.hello, "--workers", "1", "--log-format", "json")
    server.stop()
    entries = [json.loads(line) for line in server.lines]
    expect(len(entries) >= 3, server.lines)
    for entry in entries:
        expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["ts"]), entry)
        expect(entry["level"] == "info" and entry["component"] == "main", entry)
    expect("listening on" in entries[0]["msg"] and "drained" in entries[-1]["msg"], entries)


def case_text_lines(programs):
    server = arena.Arena(programs.hello, "--workers", "1")
    server.stop()
    expect(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info hello: drained\n$", server.lines[-1]), server.lines)


def case_hup_kills_nobody(programs):
    with arena.Arena(programs.hello, "--workers", "1") as server:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
            server.signal(number)
            expect(arena.get(server.port, "/")[0] == 200, number)


def case_quit_drains(programs):
    server = arena.Arena(programs.hello, "--workers", "1")
    server.signal(signal.SIGQUIT)
    expect(server.wait() == 0, server.lines)


# ------------------------------------------------------------------------------------------------- health, admin, drain ----

def admin_port(server):
    line = next(text for text in server.lines if "admin on" in text)
    return int(re.search(r"admin on http://127\.0\.0\.1:(\d+)", line).group(1))


def status_of(port, target):
    return arena.get(port, target)[0]


def case_health(programs):
    for _, flags in backends(programs.hello):
        with arena.Arena(programs.hello, "--workers", "2", *flags) as server:
            expect(arena.get(server.port, "/healthz")[2] == b"ok\n", "healthz")
            expect(arena.get(server.port, "/readyz")[0] == 200, "readyz")
            expect(b"http_server_requests_total" in arena.get(server.port, "/metrics")[2], "metrics")
            expect(status_of(server.port, "/stats") == 404, "stats are for the admin")


def case_admin(programs):
    for _, flags in backends(programs.hello):
        with arena.Arena(programs.hello, "--workers", "2", "--admin", "127.0.0.1:0", *flags) as server:
            port = admin_port(server)
            for target in ("/healthz", "/readyz", "/metrics", "/stats"):
                expect(status_of(port, target) == 200, target)
                expect(status_of(server.port, target) == 404, target)
            expect(status_of(port, "/") == 404 and status_of(server.port, "/") == 200, "apart")


def case_admin_on_a_unix_socket(programs):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "admin.sock")
        with arena.Arena(programs.hello, "--workers", "1", "--admin", f"unix:{path}"):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                expect(arena.read_response(sock)[0] == 200, "admin over a Unix socket")
        expect(not os.path.exists(path), "removed")


def refuses(port):
    try:
        arena.get(port, "/pipeline")
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it was in the backlog
        return True
    return False


def case_drain_delay(programs):
    """Not ready at once, but served and accepted until the delay is over; the admin listener is there to the end."""
    for name, flags in backends(programs.arena):
        server = arena.Arena(programs.arena, "--workers", "2", "--admin", "127.0.0.1:0", "--drain-delay", "700ms", *flags)
        port = admin_port(server)
        with server.connect() as sock:
            sock.sendall(b"GET /sleep/2500 HTTP/1.1\r\nHost: a\r\n\r\n")
            with arena.within(2.5, "what is in flight"):
                eventually(lambda: arena.active_requests(port) == 1, "it has begun")
                started = time.monotonic()
                with arena.within(0.7, "the delay"):
                    server.signal(signal.SIGTERM)
                    eventually(lambda: status_of(port, "/readyz") == 503, "not ready")
                    status, head, _ = arena.get(port, "/readyz")
                    expect(status == 503 and b"Retry-After: 1" in head, head)
                    expect(status_of(server.port, "/pipeline") == 200, (name, "accepted during the delay"))
                eventually(lambda: refuses(server.port), "the port refuses")
                expect(time.monotonic() - started >= 0.7, (name, "the delay was short"))
                expect(status_of(port, "/healthz") == 200, (name, "the admin listener stays"))
                expect(metric(port, "http_server_draining") == 1, name)
            status, head, _ = arena.read_response(sock)
            expect(status == 200 and b"Connection: close" in head, head)
        expect(server.wait() == 0, name)


def case_second_signal_in_the_delay(programs):
    server = arena.Arena(programs.hello, "--workers", "1", "--drain-delay", "60s")
    server.signal(signal.SIGTERM)
    eventually(lambda: any("not ready any more" in line for line in server.lines), "the delay has begun")
    time.sleep(0.2)  # one that comes with the first is the first again
    server.signal(signal.SIGTERM)
    expect(server.wait() == 128 + signal.SIGTERM, server.lines)


# ------------------------------------------------------------------------------------------------------------ metrics ----

def traffic(port):
    """How long its slowest request took, and more."""
    arena.get(port, "/pipeline")
    arena.get(port, "/none")
    started = time.monotonic()
    arena.get(port, "/sleep/120")
    slept = time.monotonic() - started
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(b"HEAD /pipeline HTTP/1.1\r\nHost: a\r\n\r\nBREW / HTTP/1.1\r\nHost: a\r\n\r\n"
                     b"POST /baseline11?a=1&b=2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n20")
        while sock.recv(65536):
            pass
    return slept


def case_exposition_is_strict(programs):
    for text in exposition.BAD:
        try:
            exposition.parse(text)
        except ValueError:
            continue
        raise AssertionError(f"taken: {text!r}")


def case_metrics(programs):
    for name, flags in backends(programs.arena):
        with arena.Arena(programs.arena, "--workers", "2", "--access-log", "/dev/null", *flags) as server:
            slept = traffic(server.port)
            status, head, body = arena.get(server.port, "/metrics")
            expect(status == 200 and b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head, head)
            first = exposition.parse(body.decode())
            traffic(server.port)
            second = exposition.parse(arena.get(server.port, "/metrics")[2].decode())
        for family in first.values():
            if family.kind == "gauge":
                continue
            for key, value in family.samples.items():
                expect(second[family.name].samples[key] >= value, (name, key))
        check_values(name, first, slept)
        documented(programs, second)


def check_values(name, families, slept_seconds):
    def of(family, sample=None, **labels):
        return families[family].samples[sample or family, tuple(sorted(labels.items()))]

    def responses(code):
        return of("http_server_responses_total", http_response_status_code=code)

    duration = "http_server_request_duration_seconds"

    def count(method, route):
        return of(duration, duration + "_count", http_request_method=method, http_route=route)

    expect(responses("200") == 4 and responses("404") == 1 and responses("501") == 1, name)
    expect(count("GET", "/pipeline") == 1 and count("HEAD", "/pipeline") == 1, name)
    expect(count("GET", "_OTHER") == 1 and count("_OTHER", "_OTHER") == 1, name)
    slept = of(duration, duration + "_sum", http_request_method="GET", http_route="/sleep/{ms}")
    expect(0.12 <= slept <= slept_seconds, (slept, slept_seconds))
    total = sum(value for (sample, _), value in families[duration].samples.items() if sample.endswith("_count"))
    expect(total == sum(families["http_server_responses_total"].samples.values()) == 6, total)
    expect(of("http_server_active_requests") == 1, "this one")
    expect(of("http_server_request_body_bytes_total") == 2, name)
    expect(of("access_log_lines_total") == 6, name)
    labels = dict(next(iter(families["ringmain_build_info"].samples))[1])
    expect(labels["backend"] == name and labels["fallback"] == "false", labels)
    expect(of("loop_lag_seconds", "loop_lag_seconds_count") > 0, name)
    expect(sum(families["http_server_listener_connections_total"].samples.values())
           == of("http_server_connections_accepted_total"), name)


def documented(programs, families):
    text = Path(programs.document).read_text(encoding="utf-8")
    missing = [name for name in families if f"`{name}`" not in text]
    expect(not missing, f"not in {programs.document}: {missing}")
    mentioned = set(re.findall(r"^\| `([a-z_]+)` \| (?:counter|gauge|histogram)", text, re.M))
    mentioned = {name for name in mentioned if not name.startswith(("db_client_", "store_"))}  # neither is here
    expect(mentioned <= set(families), f"in {programs.document} only: {mentioned - set(families)}")


def flags_of(program):
    out = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  --([a-z-]+)(?: (\S+))?", out.split("'s own:")[0], re.M)


def case_flags_are_documented(programs):
    text = Path(programs.document).read_text(encoding="utf-8")
    missing = [name for name, _ in flags_of(programs.hello) if f"`--{name}" not in text]
    expect(not missing, f"not in {programs.document}: {missing}")
    known = {name for name, _ in flags_of(programs.hello)}
    mentioned = set(re.findall(r"^\| `--([a-z-]+)", text, re.M))
    expect(mentioned <= known, mentioned - known)


# ------------------------------------------------------------------------------------------------------------ systemd ----

LAUNCH = """import fcntl, os, sys
numbers = [int(word) for word in sys.argv[1].split(",") if word]
spare = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 50) for number in numbers]
for i, number in enumerate(spare):
    os.dup2(number, 3 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(numbers)))
os.execv(sys.argv[2], sys.argv[2:])
"""


def listening():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)
    return sock


def launch(program, sockets, *flags, env=None):
    """Starts as systemd does; the process, and its lines until it listens."""
    numbers = [sock.fileno() for sock in sockets]
    process = subprocess.Popen([sys.executable, "-c", LAUNCH, ",".join(map(str, numbers)), program, *flags],
                               stderr=subprocess.PIPE, pass_fds=numbers, text=True, env=env)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "listening on" in line:
            break
    return process, lines


def finish(process):
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    return process.returncode


def case_sockets_from_systemd(programs):
    """They take the place of the default address; the one called admin is the admin's; systemd's own stay open."""
    for name, flags in backends(programs.hello):
        with listening() as web, listening() as admin:
            web_port, port = web.getsockname()[1], admin.getsockname()[1]
            env = dict(os.environ, LISTEN_FDNAMES="web:admin")
            process, lines = launch(programs.hello, [web, admin], "--workers", "2", *flags, env=env)
            expect(f"http://127.0.0.1:{web_port} " in lines[-1] and f"admin on http://127.0.0.1:{port}" in lines[-1], lines)
            expect(":8080" not in lines[-1], lines)
            for _ in range(20):
                expect(status_of(web_port, "/") == 200, name)
            expect(status_of(port, "/healthz") == 200 and status_of(web_port, "/healthz") == 404, name)
            expect(finish(process) == 0, name)
            socket.create_connection(("127.0.0.1", web_port), timeout=60).close() # it waits for the next process


def case_sockets_beside_a_flag(programs):
    with listening() as web:
        process, lines = launch(programs.hello, [web], "--workers", "1", "--listen", "127.0.0.1:0")
        expect(lines[-1].count("http://127.0.0.1:") == 2, lines)
        expect(finish(process) == 0, lines)


def case_socket_that_does_not_listen(programs):
    with socket.socket() as sock:
        process, lines = launch(programs.hello, [sock])
        process.wait(20)
        expect(process.returncode == 78 and "LISTEN_FDS" in lines[-1], lines)


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)

    def next(self, seconds=60):
        self.sock.settimeout(seconds)
        try:
            return dict(line.split("=", 1) for line in self.sock.recv(4096).decode().splitlines())
        except socket.timeout:
            return None


def case_notify(programs):
    with tempfile.TemporaryDirectory() as folder:
        manager = Manager(folder)
        env = dict(os.environ, NOTIFY_SOCKET=manager.path)
        log = os.path.join(folder, "access.log")
        server = arena.Arena(programs.hello, "--workers", "1", "--access-log", log, env=env)
        ready = manager.next()
        expect(ready["READY"] == "1" and ready["MAINPID"] == str(server.process.pid) and "STATUS" in ready, ready)
        expect(status_of(server.port, "/") == 200, "ready is ready")
        os.unlink(log)
        before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        server.signal(signal.SIGHUP)
        reloading = manager.next()
        expect(reloading["RELOADING"] == "1" and int(reloading["MONOTONIC_USEC"]) >= before, reloading)
        expect(manager.next() == {"READY": "1"} and os.path.exists(log), "reopened before it is ready again")
        server.signal(signal.SIGTERM)
        expect(manager.next()["STOPPING"] == "1", "stopping")
        expect(server.wait() == 0 and manager.next(0.1) is None, server.lines)


def case_watchdog(programs):
    """It is petted twice in its time while all workers turn, and not while one is stuck."""
    with tempfile.TemporaryDirectory() as folder:
        manager = Manager(folder)
        env = dict(os.environ, NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="400000")
        with arena.Arena(programs.stuck, "--workers", "2", env=env) as server:
            expect(manager.next()["READY"] == "1", "ready")
            with arena.within(1.9, "petted in time"):
                started = time.monotonic()
                for _ in range(5):
                    expect(manager.next(20) == {"WATCHDOG": "1"}, "petted")
                expect(time.monotonic() - started < 1.9, "in time")
            with server.connect() as sock:
                with arena.within(2, "it is stuck for two seconds"):
                    sock.sendall(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
                    time.sleep(0.5)
                    while manager.next(0.01):  # what was sent until it was noticed
                        pass
                    expect(manager.next(1) is None, "one worker is stuck")
                expect(arena.read_response(sock)[0] == 200, "free again")
                expect(manager.next(20) == {"WATCHDOG": "1"}, "and all is well")
        manager.sock.close()


# -------------------------------------------------------------------------------------------------------- Unix sockets ----

def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def case_unix_mode(programs):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        for mode in ("0660", "0600", "0666"):
            with arena.Arena(programs.hello, "--workers", "1", "--unix-mode", mode, listen=f"unix:{path}"):
                expect(mode_of(path) == int(mode, 8), oct(mode_of(path)))
            expect(not os.path.exists(path), "removed")
        with arena.Arena(programs.hello, "--workers", "1", listen=f"unix:{path}"):
            expect(mode_of(path) == 0o660, oct(mode_of(path)))


def run_hello(programs, *flags, env=None):
    done = subprocess.run([programs.hello, *flags], capture_output=True, text=True, timeout=60, check=False, env=env)
    return done.returncode, done.stderr


def case_unix_taken_stale_and_foreign(programs):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        server = arena.Arena(programs.hello, "--workers", "1", listen=f"unix:{path}")
        code, err = run_hello(programs, "--listen", f"unix:{path}")
        expect(code == 69 and path in err, (code, err))
        server.process.kill()
        server.wait()
        expect(os.path.exists(path), "left behind")
        with arena.Arena(programs.hello, "--workers", "1", listen=f"unix:{path}"): # stale: replaced
            os.unlink(path)
            Path(path).write_text("mine")
        expect(Path(path).read_text() == "mine", "not ours to remove")
        code, err = run_hello(programs, "--listen", f"unix:{path}")
        expect(code == 69 and Path(path).read_text() == "mine", (code, err))


# --------------------------------------------------------------------------------------------------------- environment ----

ANY_TEXT = {"access-log", "db", "store"}  # take every value: files always, "db" in a program without statements


def case_each_flag_has_a_variable(programs):
    for name, argument in flags_of(programs.hello):
        if not argument or name in ANY_TEXT:
            continue
        variable = "RINGMAIN_" + name.upper().replace("-", "_")
        code, err = run_hello(programs, env=dict(os.environ, **{variable: "\x01"}))
        expect(code == 2 and variable in err, (variable, code, err))
        code, err = run_hello(programs, f"--{name}", "\x01")
        expect(code == 2 and f"--{name}" in err, (name, code, err))


def start_line(programs, *flags, **variables):
    process = subprocess.Popen([programs.hello, *flags], stderr=subprocess.PIPE, text=True, env=dict(os.environ, **variables))
    line = process.stderr.readline()
    finish(process)
    return line


def case_precedence(programs):
    one, two, three = arena.free_port(), arena.free_port(), arena.free_port()
    expect(f":{one} " in start_line(programs, PORT=str(one)), "PORT")
    expect(f":{two} " in start_line(programs, PORT=str(one), RINGMAIN_LISTEN=f"127.0.0.1:{two}"), "variable over PORT")
    line = start_line(programs, "--listen", f"127.0.0.1:{three}", PORT=str(one), RINGMAIN_LISTEN=f"127.0.0.1:{two}")
    expect(f":{three} " in line and f":{two}" not in line, line)
    line = start_line(programs, "--workers=1", "--listen", "127.0.0.1:0", RINGMAIN_WORKERS="3")
    expect("· 1 worker ·" in line, line)
    code, err = run_hello(programs, env=dict(os.environ, PORT="x"))
    expect(code == 2 and "PORT" in err, (code, err))


class Programs:
    def __init__(self, argv):
        self.arena, self.hello, self.stuck, self.document = argv[1:]


def main(argv):
    if len(argv) != 5:
        sys.exit(__doc__)
    programs = Programs(argv)
    if "uring" not in arena.backends(programs.arena):
        os.environ["RINGMAIN_IO"] = "epoll"  # asked for, it is no fallback, of which a line would tell
    cases = [(name.removeprefix("case_"), lambda function=function: function(programs))
             for name, function in globals().items() if name.startswith("case_")]
    return arena.run_cases(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
