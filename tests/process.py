#!/usr/bin/env python3
"""arena as a process: exit codes, lines on stderr, signals, threads, sockets.

usage: process.py ARENA HELLO NAMELESS
"""
import datetime
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def run(*command, env=None):
    """(exit code, stdout, stderr) of a command that must end by itself."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    return done.returncode, done.stdout, done.stderr


def case_help(program):
    code, out, _ = run(program, "--help")
    expect(code == 0, code)
    for flag in ("--listen", "--workers", "--io", "--ring", "--max-connections", "--drain-timeout", "--plan", "--dataset"):
        expect(flag in out, f"{flag} is not in the help")


def case_version(program):
    code, out, _ = run(program, "--version")
    expect(code == 0 and re.fullmatch(r"ringmain \d+\.\d+\.\d+ \((uring|epoll|uring epoll)\)\n", out), out)


def case_plan(program):
    code, out, _ = run(program, "--plan", "--workers", "2")
    expect(code == 0, code)
    for part in ("connections", "exchanges", "blocks", "slab", "ring", "process", "2 workers"):
        expect(part in out, f"{part} is not in the plan")


def case_unknown_flag(program):
    code, _, err = run(program, "--wrokers", "2")
    expect(code == 2 and "--wrokers" in err and "--workers" in err, (code, err))


def case_bad_value(program):
    code, _, err = run(program, "--io", "kqueue")
    expect(code == 2 and "--io" in err and "epoll" in err, (code, err))


def case_backend_not_compiled(program):
    missing = {"uring", "epoll"} - set(arena.compiled(program))
    for name in missing:
        code, _, err = run(program, "--io", name, "--listen", "127.0.0.1:0")
        expect(code == 69 and "not compiled in" in err, (code, err))


def case_bad_dataset(program):
    code, _, err = run(program, "--dataset", "/nonexistent/file")
    expect(code == 78 and "/nonexistent/file" in err, (code, err))
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("id\tname\n1\tx\n")
        file.flush()
        code, _, err = run(program, "--dataset", file.name)
        expect(code == 78 and f"{file.name}:1" in err, (code, err))


def case_too_many_connections(program):
    code, _, err = run("sh", "-c", f"ulimit -n 256; exec {program} --max-connections 1000")
    expect(code == 78 and "ulimit -n" in err, (code, err))


def case_port_in_use(program):
    with arena.Arena(program, "--workers", "1") as server:
        code, _, err = run(program, "--listen", f"127.0.0.1:{server.port}")
        expect(code == 69 and f"127.0.0.1:{server.port}" in err and "another process" in err, (code, err))
        expect(arena.get(server.port, "/healthz")[0] == 200, "the first one must go on")


def case_environment(program):
    env = dict(os.environ, RINGMAIN_WORKERS="3")
    with arena.Arena(program, env=env) as server:
        expect(any("3 workers" in line for line in server.lines), server.lines)


def case_start_line(program):
    for name, flags in arena.variants(program):
        with arena.Arena(program, "--workers", "2", *flags) as server:
            line = next(text for text in server.lines if "listening on" in text)
            expect(re.search(r"^ringmain \d+\.\d+\.\d+ arena: listening on http://127\.0\.0\.1:\d+ · backend " + name.split()[0]
                             + r" \(.*\) · 2 workers · pid " + str(server.process.pid) + "\n$", line), line)


def case_quiet(program):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "arena.sock")
        process = subprocess.Popen([program, "--log-level", "error", "--listen", f"unix:{path}"], stderr=subprocess.PIPE)
        arena.until(lambda: os.path.exists(path), "a socket")
        arena.until(lambda: serves(path), "an answer")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    expect(process.returncode == 0 and err == b"", (process.returncode, err))


def serves(path):
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            return False
        return ask_pipeline(sock)[0] == 200


def thread_names(pid):
    names = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            names.append(Path(f"/proc/{pid}/task/{task}/comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended
    return sorted(names)


def case_threads(program):
    with arena.Arena(program, "--workers", "2") as server:
        names = thread_names(server.process.pid)
        expect("rm-0" in names and "rm-1" in names, names)
        expect(not any(name.startswith("iou-wrk") for name in names), names)


def case_many_workers(program):
    for name, flags in arena.variants(program):
        with arena.Arena(program, "--workers", "64", *flags) as server:
            for _ in range(50):
                expect(arena.get(server.port, "/pipeline")[2] == b"ok", name)
            expect(len([n for n in thread_names(server.process.pid) if re.fullmatch(r"rm-\d+", n)]) == 64, "64 threads")


def sleeps(server, ms):
    """A client whose request has begun."""
    sock = server.connect()
    sock.sendall(f"GET /sleep/{ms} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    arena.until(lambda: arena.active_requests(server.port) == 1, "it has begun")
    return sock


def case_drain(program):
    """TERM: what is in flight is answered, idle connections end, the port refuses, exit 0."""
    failures = []

    def run(flags):
        try:
            arena.patiently(lambda: drain(program, flags))
        except Exception as error:
            failures.append((flags, error))

    threads = [threading.Thread(target=run, args=(flags,)) for _, flags in arena.variants(program)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failures, failures)


def drain(program, flags):
    ms = 1500
    server = arena.Arena(program, "--workers", "2", *flags)
    with server.connect() as idle:
        expect(ask_pipeline(idle)[0] == 200, "idle")
        started = time.monotonic()
        with sleeps(server, ms) as busy:
            server.signal(signal.SIGTERM)
            expect(idle.recv(100) == b"", "the idle connection must end")
            ended = time.monotonic()
            status, head, body = arena.read_response(busy)
            expect(status == 200 and body == b"%d" % ms and b"Connection: close" in head, (status, head, body))
            expect(busy.recv(100) == b"", "the busy connection must end after its answer")
    expect(server.wait() == 0, server.process.returncode)
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=60).close()
    except ConnectionRefusedError:
        pass
    else:
        raise AssertionError("the port must refuse")
    expect(any("drained" in line for line in server.lines), server.lines)
    if ended - started >= ms / 1000:
        raise arena.TooLate(f"the idle connection must end before the busy one: after {ended - started:.2f} s")


def case_drain_timeout(program):
    server = arena.Arena(program, "--workers", "1", "--drain-timeout", "300ms")
    with sleeps(server, 60000):
        started = time.monotonic()
        server.signal(signal.SIGINT)
        expect(server.wait() == 0, server.process.returncode)
        expect(time.monotonic() - started < 30, "the drain has a limit")


SAME_SIGNAL_SECONDS = 0.1  # a second one that comes as soon as that is the first one again


def case_second_signal(program):
    server = arena.Arena(program, "--workers", "1")
    with sleeps(server, 60000):
        server.signal(signal.SIGTERM)
        arena.until(lambda: any("draining, at most" in line for line in server.lines), "it drains")
        time.sleep(2 * SAME_SIGNAL_SECONDS)
        server.signal(signal.SIGTERM)
        expect(server.wait() == 128 + signal.SIGTERM, server.process.returncode)


def said_at(server, words):
    """When a line was written, by the server's clock, in seconds."""
    line = next(line for line in server.lines if words in line)
    return datetime.datetime.fromisoformat(line.split()[0].rstrip("Z")).timestamp()


def case_signal_twice_at_once(program):
    """timeout(1) signals a process and then its group: that is one request to end, not two."""
    server = arena.Arena(program, "--workers", "1")
    with sleeps(server, 300):
        server.signal(signal.SIGTERM)
        time.sleep(0.02)
        server.signal(signal.SIGTERM)
        code = server.wait()
        if code == 128 + signal.SIGTERM and said_at(server, "exit at once") - said_at(server, "at most") >= SAME_SIGNAL_SECONDS:
            raise arena.TooLate("the server found the second one too late")
        expect(code == 0, (code, server.lines))


def case_unix_socket(program):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "arena.sock")
        for _, flags in arena.variants(program):
            with arena.Arena(program, "--workers", "2", *flags, listen=f"unix:{path}"):
                for _ in range(10):
                    with socket.socket(socket.AF_UNIX) as sock:
                        sock.connect(path)
                        sock.sendall(b"GET /pipeline HTTP/1.1\r\nHost: a\r\n\r\n")
                        expect(arena.read_response(sock)[2] == b"ok", "over a Unix socket")
            expect(not os.path.exists(path), "the socket is removed at the end")


def case_two_listeners(program):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "arena.sock")
        here, shown = ("[::1]:0", "http://[::1]:") if arena.has_ipv6() else ("127.0.0.2:0", "http://127.0.0.2:")
        with arena.Arena(program, "--workers", "2", "--listen", f"unix:{path}", "--listen", here) as server:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(b"GET /pipeline HTTP/1.1\r\nHost: a\r\n\r\n")
                expect(arena.read_response(sock)[2] == b"ok", "over a Unix socket")
            line = next(text for text in server.lines if "listening on" in text)
            expect(line.count("http://") == 2 and shown in line, line)


def case_all_workers_serve(program):
    """Each worker has a listener of its own; /stats counts them apart and together."""
    import json
    for name, flags in arena.variants(program):
        with arena.Arena(program, "--workers", "2", *flags) as server:
            for _ in range(64):
                arena.get(server.port, "/pipeline")
            stats = json.loads(arena.get(server.port, "/stats")[2])
            each = [worker["requests"] for worker in stats["workers"]]
            expect(all(count > 0 for count in each), (name, each))
            expect(64 <= sum(each) <= 65 and stats["total"]["requests"] == sum(each), (name, each))
            expect(stats["backend"]["name"] == name.split()[0], stats["backend"])
            expect(stats["total"]["connections"]["now"] >= 1, stats["total"]["connections"])


def ask_pipeline(sock):
    sock.sendall(b"GET /pipeline HTTP/1.1\r\nHost: a\r\n\r\n")
    return arena.read_response(sock)


def served_again(server, seconds=arena.PATIENCE_SECONDS):
    """A new connection is served, within a moment: a close has to be noticed first."""
    until = time.monotonic() + seconds
    while True:
        with server.connect() as sock:
            if ask_pipeline(sock)[0] == 200:
                return
        expect(time.monotonic() < until, "a place is free, but nobody is served")
        time.sleep(0.05)


def case_connection_cap(program):
    """--max-connections is exact for the process, however the kernel spreads clients over workers."""
    for name, flags in arena.variants(program):
        with arena.Arena(program, "--workers", "2", "--max-connections", "10", *flags) as server:
            socks = [server.connect() for _ in range(10)]
            for sock in socks:
                expect(ask_pipeline(sock)[0] == 200, f"{name}: ten are served")
            for _ in range(6):
                with server.connect() as extra:
                    status, head, _ = arena.read_response(extra)
                    expect(status == 503 and b"Retry-After: 1" in head and b"\r\nDate: " in head, (name, status, head))
                    expect(b"Connection: close" in head and extra.recv(100) == b"", (name, head))
            socks.pop().close()
            served_again(server)
            socks.append(server.connect())
            for sock in socks[:9]:
                expect(ask_pipeline(sock)[0] == 200, f"{name}: those that were there are served on")
            for sock in socks:
                sock.close()


def case_concurrent(program):
    """Many threads, many requests: nothing lost, nothing mixed up."""
    def client(port, number, failures):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
                for i in range(200):
                    sock.sendall(f"GET /baseline11?a={number}&b={i} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                    body = arena.read_response(sock)[2]
                    if int(body) != number + i:
                        failures.append((number, i, body))
        except Exception as error:
            failures.append(error)

    for _, flags in arena.variants(program):
        with arena.Arena(program, "--workers", "2", *flags) as server:
            failures = []
            threads = [threading.Thread(target=client, args=(server.port, 1000 * n, failures)) for n in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            expect(not failures, failures[:3])


def case_hello(program, hello):
    process = subprocess.Popen([hello, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        while "listening on" not in line and line:
            line = process.stderr.readline()
        port = int(re.search(r"127\.0\.0\.1:(\d+)", line).group(1))
        status, _, body = arena.get(port, "/")
        expect(status == 200 and body == b"hello, ring\n", body)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    expect(process.returncode == 0, process.returncode)


def case_lookup_hangs(program, nameless):
    """Nobody waits for a name server that does not answer: neither who asks the database, nor a helper, nor the end."""
    for _, flags in arena.variants(program):
        with arena.Arena(nameless, "--workers", "2", "--db", "postgres://me@nowhere.example/db", *flags) as server:
            for _ in range(4):
                expect(arena.get(server.port, "/offload")[0] == 200, "helpers are free")
            status, headers, _ = arena.get(server.port, "/ask")
            expect(status == 503 and b"retry-after" in headers.lower(), status)
            expect(arena.get(server.port, "/readyz")[0] == 503, "not ready")
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(timeout=10)
            took = time.monotonic() - began
            expect(code == 0 and took < 3, (code, took))


def main(argv):
    if len(argv) != 4:
        sys.exit(__doc__)
    program, hello, nameless = argv[1:]
    cases = [(name.removeprefix("case_"), lambda function=function: function(program))
             for name, function in globals().items() if name.startswith("case_") and name not in ("case_hello", "case_lookup_hangs")]
    cases.append(("hello", lambda: case_hello(program, hello)))
    cases.append(("lookup_hangs", lambda: case_lookup_hangs(program, nameless)))
    return arena.run_cases(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
