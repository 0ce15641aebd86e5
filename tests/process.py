#!/usr/bin/env python3
"""arena as a process: exit codes, lines on stderr, signals, threads, sockets.

usage: process.py ARENA HELLO NAMELESS
"""
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=env)
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
    missing = {"uring", "epoll"} - set(arena.backends(program))
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
        expect("3 workers" in server.lines[-1], server.lines)


def case_start_line(program):
    for name, flags in arena.variants(program):
        with arena.Arena(program, "--workers", "2", *flags) as server:
            line = next(text for text in server.lines if "listening on" in text)
            expect(re.search(r"^ringmain \d+\.\d+\.\d+ arena: listening on http://127\.0\.0\.1:\d+ · backend " + name.split()[0]
                             + r" \(.*\) · 2 workers · pid " + str(server.process.pid) + "\n$", line), line)


def case_quiet(program):
    process = subprocess.Popen([program, "--log-level", "error", "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    expect(process.returncode == 0 and err == b"", (process.returncode, err))


def thread_names(pid):
    return sorted(Path(f"/proc/{pid}/task/{task}/comm").read_text().strip() for task in os.listdir(f"/proc/{pid}/task"))


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


def case_drain(program):
    """TERM: what is in flight is answered, idle connections end, the port refuses, exit 0."""
    for _, flags in arena.variants(program):
        server = arena.Arena(program, "--workers", "2", *flags)
        idle, busy = server.connect(), server.connect()
        with idle, busy:
            idle.sendall(b"GET /pipeline HTTP/1.1\r\nHost: a\r\n\r\n")
            expect(arena.read_response(idle)[0] == 200, "idle")
            busy.sendall(b"GET /sleep/700 HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.2)
            started = time.monotonic()
            server.signal(signal.SIGTERM)
            expect(idle.recv(100) == b"", "the idle connection must end")
            expect(time.monotonic() - started < 0.4, "the idle connection must end at once")
            status, head, body = arena.read_response(busy)
            expect(status == 200 and body == b"700" and b"Connection: close" in head, (status, head, body))
            expect(busy.recv(100) == b"", "the busy connection must end after its answer")
            expect(server.wait() == 0, server.process.returncode)
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=2).close()
        except ConnectionRefusedError:
            pass
        else:
            raise AssertionError("the port must refuse")
        expect(any("drained" in line for line in server.lines), server.lines)


def case_drain_timeout(program):
    server = arena.Arena(program, "--workers", "1", "--drain-timeout", "300ms")
    with server.connect() as sock:
        sock.sendall(b"GET /sleep/20000 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        started = time.monotonic()
        server.signal(signal.SIGINT)
        expect(server.wait() == 0, server.process.returncode)
        expect(time.monotonic() - started < 3, "the drain has a limit")


def case_second_signal(program):
    server = arena.Arena(program, "--workers", "1")
    with server.connect() as sock:
        sock.sendall(b"GET /sleep/20000 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        expect(server.wait() == 128 + signal.SIGTERM, server.process.returncode)


def case_signal_twice_at_once(program):
    """timeout(1) signals a process and then its group: that is one request to end, not two."""
    server = arena.Arena(program, "--workers", "1")
    with server.connect() as sock:
        sock.sendall(b"GET /sleep/300 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        server.signal(signal.SIGTERM)
        time.sleep(0.02)
        server.signal(signal.SIGTERM)
        expect(server.wait() == 0, server.process.returncode)


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
        with arena.Arena(program, "--workers", "2", "--listen", f"unix:{path}", "--listen", "[::1]:0") as server:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(b"GET /pipeline HTTP/1.1\r\nHost: a\r\n\r\n")
                expect(arena.read_response(sock)[2] == b"ok", "over a Unix socket")
            line = next(text for text in server.lines if "listening on" in text)
            expect(line.count("http://") == 2 and "http://[::1]:" in line, line)


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


def served_again(server, seconds=5):
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
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
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
        process.communicate(timeout=20)
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
