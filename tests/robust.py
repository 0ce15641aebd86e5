#!/usr/bin/env python3
"""The whole process in bad company: slow clients, floods, too few descriptors, resets, and a drain under load. On each backend.

usage: robust.py ARENA LOAD [CASE...]     without a CASE: all but four_workers, which is for the thread sanitizer
"""
import errno
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import surroundings  # noqa: E402
from crowd import GET, Crowd  # noqa: E402
from drain import drain_under_load  # noqa: E402

MEGABYTE = 1024 * 1024
LATE_SECONDS = 15  # that a busy machine may be
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(200))


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Rig:
    """The programs, and the flags of the backend whose turn it is."""

    def __init__(self, program, load, flags):
        self.program, self.load, self.flags = program, load, flags
        self.templates = Path(__file__).parent.parent / "bench/templates"
        self.sanitized = surroundings.sanitized(program)

    def start(self, *flags, program=None, **options):
        return arena.Arena(program or self.program, *self.flags, *flags, **options)

    def start_load(self, port, template, *flags):
        return subprocess.Popen([self.load, "--connect", f"127.0.0.1:{port}", "--template", str(self.templates / template),
                                 "--json", "-", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def figures(server):
    """/metrics as {name with labels: number}."""
    text = arena.get(server.port, "/metrics")[2].decode()
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def settle(server, name, want, seconds=arena.PATIENCE_SECONDS):
    """Waits until a figure is what it is to be; its last value."""
    deadline = time.monotonic() + seconds
    while (got := figures(server)[name]) != want and time.monotonic() < deadline:
        time.sleep(0.05)
    return got


def resident_bytes(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def cpu_seconds(server):
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def thread_names(server):
    names = []
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended
    return names


def open_descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


class Polite:
    """A well-behaved client in a thread of its own: one request after the other, and how long each answer took."""

    def __init__(self, port):
        self.port, self.took, self.failure, self.stop = port, [], None, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self.stop.is_set():
                started = time.monotonic()
                status, _, body = arena.get(self.port, "/pipeline")
                expect(status == 200 and body == b"ok", (status, body))
                self.took.append(time.monotonic() - started)
                self.stop.wait(0.005)
        except Exception as error:  # told by the thread that asks
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop.set()
        self.thread.join(90)
        if kind is None and self.failure is not None:
            raise AssertionError(f"the polite client: {self.failure!r}")

    def was_served(self):
        """Without waiting for the others. Its typical answer says so: single ones may be late because the machine has no time."""
        typical = statistics.median(self.took)
        expect(len(self.took) > 5 and typical < 0.5, f"{len(self.took)} answers, half of them within {typical:.2f} s")


# -------------------------------------------------------------------------------------------------- slow clients ----

def refused_in_time(clients, started, timeout):
    """Each got 408 and an end, not before its time. How exact timers are is looked at in the simulator."""
    for client in clients:
        answers = client.responses()
        expect([status for status, _, _ in answers] == [408], (client.ended, answers, bytes(client.got)))
        expect(b"Connection: close" in answers[0][1], answers)
        expect(client.ended == "eof", client.ended)
        expect(timeout <= client.ended_at - started <= timeout + LATE_SECONDS, client.ended_at - started)


def case_slow_heads(rig):
    """A byte each 0.2 s, which would go on for 28 s: the deadline is for the whole head, however many pieces it comes in."""
    head = b"GET /pipeline HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"x" * 100
    with rig.start("--workers", "2", "--header-timeout", "1s") as server, Crowd(server.port) as crowd, Polite(server.port) as polite:
        started = time.monotonic()
        clients = crowd.connect_all(200)
        for at in range(len(head)):
            for client in clients:
                client.send(head[at:at + 1])
            if crowd.run(0.2, until=lambda: all(client.ended for client in clients)):
                break
        refused_in_time(clients, started, 1.0)
        expect(settle(server, 'http_server_timeouts_total{waiting_for="head"}', 200) == 200, figures(server))
    polite.was_served()


def case_slow_bodies(rig):
    """Bodies that stop coming, streamed ones and buffered ones; a slow one that keeps coming is taken."""
    flags = ("--workers", "2", "--body-timeout", "1s", "--body-buffers", "200")
    with rig.start(*flags) as server, Crowd(server.port) as crowd, Polite(server.port) as polite:
        steady = crowd.connect()
        steady.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n")
        clients = crowd.connect_all(200)
        started = time.monotonic()
        for i, client in enumerate(clients):
            client.send(b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n123" % (b"upload" if i % 2 else b"echo"))
        sent_at, pause = started, 0
        for _ in range(28):
            crowd.run(0.1)
            steady.send(b"x")
            pause, sent_at = max(pause, time.monotonic() - sent_at), time.monotonic()
        crowd.run(LATE_SECONDS, until=lambda: all(client.ended for client in clients) and steady.got)
        refused_in_time(clients, started, 1.0)
        statuses = [status for status, _, _ in steady.responses()]
        if statuses == [408] and pause > 0.9:
            raise arena.TooLate(f"a pause of {pause:.2f} s between two bytes")
        expect(statuses == [200], f"bytes that come in time are taken: {statuses}")
    polite.was_served()


def case_slow_readers(rig):
    """Clients that ask for much and read nothing: closed by --write-timeout; meanwhile their output is bounded."""
    asks = b"GET /json/50 HTTP/1.1\r\nHost: a\r\n\r\n" * 500
    with rig.start("--workers", "2", "--write-timeout", "1s", "--output-bytes", "64K") as server, Crowd(server.port) as crowd:
        arena.get(server.port, "/json/50")
        before, blocks = resident_bytes(server), figures(server)
        clients = [crowd.connect(receive_buffer=4096) for _ in range(100)]
        for client in clients:
            client.stop_reading()
            client.send(asks)
        with Polite(server.port) as polite:
            most, deadline = 0, time.monotonic() + arena.PATIENCE_SECONDS
            while time.monotonic() < deadline:
                crowd.run(0.1)
                most = max(most, resident_bytes(server) - before)
                if figures(server)['http_server_timeouts_total{waiting_for="send"}'] == 100:
                    break
        now = figures(server)
        expect(now['http_server_timeouts_total{waiting_for="send"}'] == 100, now)
        expect(settle(server, "http_server_open_connections", 1) == 1, "all were closed")
        pools = [name for name in blocks if name.startswith("pool_items_in_use")]

        def given_back():  # the other worker may be at it still
            after = figures(server)
            return all(after[name] <= blocks[name] + 2 for name in pools)

        arena.until(given_back, "what was held for them")
        # A connection holds 64 KiB of output and the answer that went over it, in blocks; and its workspace.
        if not rig.sanitized:
            expect(most < 40 * MEGABYTE, f"{most / MEGABYTE:.1f} MiB for 100 connections")
    polite.was_served()


# ------------------------------------------------------------------------------------------------------- limits ----

def case_descriptors_run_out(rig):
    """Fewer descriptors than clients: they wait their turn, nothing spins, and all are answered when some leave."""
    run_out_of_descriptors(rig)
    if "uring" in rig.flags:  # by default its sockets are in a table of the ring's own, and the limit of the start counts
        run_out_of_descriptors(rig, "--ring", "files=normal")


def run_out_of_descriptors(rig, *flags):
    with rig.start("--workers", "1", "--max-connections", "400", *flags) as server, Crowd(server.port) as crowd:
        arena.get(server.port, "/pipeline")
        limit = open_descriptors(server) + 20
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        clients = crowd.connect_all(200)
        for client in clients:
            client.send(GET)
        crowd.run(0.5)
        used, since = cpu_seconds(server), time.monotonic()
        crowd.run(1.0)
        used, since = cpu_seconds(server) - used, time.monotonic() - since
        expect(used < 0.3 * since, f"{used} s of CPU in {since:.2f} s without work")
        served = 0
        deadline = time.monotonic() + arena.PATIENCE_SECONDS
        while served < 200 and time.monotonic() < deadline:
            crowd.run(0.02)
            for client in clients:
                for status, _, body in client.responses():
                    expect(status == 200 and body == b"ok", (status, body))
                    served += 1
                    client.close()
        expect(served == 200, f"{served} of 200 were answered, the others: {set(c.ended for c in clients)}")
        expect(arena.get(server.port, "/pipeline")[0] == 200, "afterwards")


def case_max_connections(rig):
    """Beyond --max-connections it is 503 and a close; when some leave there is room again."""
    with rig.start("--workers", "2", "--max-connections", "60") as server, Crowd(server.port) as crowd:
        clients = crowd.connect_all(150)
        for client in clients:
            client.send(GET)
        crowd.run(60, until=lambda: all(client.got or client.ended for client in clients))
        crowd.run(60, until=lambda: sum(client.ended is None for client in clients) <= 60)
        answers = [client.responses() for client in clients]
        taken = [client for client, got in zip(clients, answers) if got and got[0][0] == 200]
        shed = [got[0] for got in answers if got and got[0][0] == 503]
        others = [(client.ended, client.connected, got) for client, got in zip(clients, answers) if client not in taken and not got]
        expect(40 <= len(taken) <= 60 and not others, (len(taken), len(shed), others, figures(server)))
        expect(all(b"Connection: close" in head and b"Retry-After" in head for _, head, _ in shed), shed[:1])
        for client in taken:
            client.close()
        arena.until(lambda: arena.get(server.port, "/pipeline")[0] == 200, "there is room again")


def case_nobody(rig):
    """An ordinary user with 8 MiB of locked memory and 4 workers."""
    if not surroundings.is_root():
        raise arena.Skipped("needs root")
    with tempfile.TemporaryDirectory() as folder:
        program = surroundings.copy_program(rig.program, folder)
        shutil.copy(Path(rig.program).parent / "dataset.tsv", folder)
        with rig.start("--workers", "4", program=program, preexec_fn=surroundings.nobody(8 * MEGABYTE)) as server:
            expect(not any("FALLBACK" in line for line in server.lines), server.lines)
            load = rig.start_load(server.port, "mixed.txt", "--duration", "1s")
            out, err = load.communicate(timeout=120)
            expect(load.returncode == 0 and json.loads(out)["requests"] > 100, (load.returncode, err))


# -------------------------------------------------------------------------------------------------------- floods ----

def flood(rig, server, junk, seconds):
    """50 clients that send junk as fast as they can, and come back when they are closed. How many came, what they got."""
    statuses, came = {}, 0
    with Crowd(server.port) as crowd:
        clients = []

        def each(_):
            nonlocal came
            for client in clients[:]:
                for status, _, _ in client.responses():
                    statuses[status] = statuses.get(status, 0) + 1
                if client.ended:
                    clients.remove(client)
                elif client.connected and not client.out:
                    client.send(junk())
            while len(clients) < 50:
                clients.append(crowd.connect())
                came += 1

        each(())
        crowd.run(seconds, each=each)
        crowd.run(arena.PATIENCE_SECONDS, until=lambda: came > 100 and statuses, each=each)
    return came, statuses


def case_floods(rig):
    """Random bytes, TLS hellos and the preface of HTTP/2: 400 and a close, and the polite are served."""
    chance = random.Random(1)
    kinds = {
        "garbage": lambda: chance.randbytes(4096),
        "tls": lambda: TLS_HELLO,
        "http2": lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    }
    with rig.start("--workers", "2") as server:
        for name, junk in kinds.items():
            with Polite(server.port) as polite:
                came, statuses = flood(rig, server, junk, 1.0)
            expect(came > 100 and set(statuses) <= {400, 431, 414, 505} and sum(statuses.values()) > 0, (name, came, statuses))
            polite.was_served()
        expect(settle(server, "http_server_open_connections", 1) == 1, "nothing is left open")


def case_pipeline(rig):
    """1,000 requests at once: answered in order."""
    asks = b"".join(b"GET /baseline11?a=%d&b=7 HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(1000))
    with rig.start("--workers", "2") as server, Crowd(server.port) as crowd:
        clients = crowd.connect_all(4)
        answers = {client: [] for client in clients}
        for client in clients:
            client.send(asks)

        def each(touched):
            for client in touched:
                answers[client] += [int(body) for _, _, body in client.responses()]

        crowd.run(60, until=lambda: all(len(got) >= 1000 for got in answers.values()), each=each)
        for got in answers.values():
            expect(got == [i + 7 for i in range(1000)], (len(got), got[:5]))


def case_resets(rig):
    """1,000 connections made and reset at once, half of them in the middle of a request or an answer."""
    with rig.start("--workers", "2", "--max-connections", "2000") as server, Crowd(server.port) as crowd:
        clients = crowd.connect_all(1000)
        expect(sum(client.connected for client in clients) == 1000, "all came through")
        for i, client in enumerate(clients):
            client.send((b"", b"GET /pipe", GET * 20, b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\nxx")[i % 4])
        for client in clients:
            client.close(reset=True)
        expect(settle(server, "http_server_open_connections", 1) == 1, "all are gone")
        in_use = {name: value for name, value in figures(server).items() if name.startswith("pool_items_in_use")}
        expect(sum(in_use.values()) < 20, in_use)
        expect(arena.get(server.port, "/pipeline")[2] == b"ok", "afterwards")


def mixed_life(crowd, seconds, chance):
    """Connections of every kind of life: keep-alive, half-closes, uploads, resets, ends in the middle."""
    upload = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"u" * 100000
    kinds = (
        lambda client: client.send(GET * 3),
        lambda client: (client.send(GET), client.finish()),
        lambda client: client.send(upload),
        lambda client: (client.send(upload[:5000]), client.close(reset=True)),
        lambda client: (client.send(GET), client.close()),
        lambda client: (client.send(b"NONSENSE\r\n\r\n" + bytes(3000)),),
        lambda client: client.send(b"GET /sleep/30 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    )
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline or count < 200:
        clients = crowd.connect_all(20)
        for client in clients:
            if client.ended is None:
                chance.choice(kinds)(client)
        crowd.run(0.05)
        for client in clients:
            client.close(reset=chance.random() < 0.3)
        count += 20
    return count


def case_no_kernel_threads(rig):
    """Nothing that clients do makes the kernel start io-wq threads for us."""
    with rig.start("--workers", "2") as server, Crowd(server.port) as crowd:
        load = rig.start_load(server.port, "mixed.txt", "--duration", "2s", "--connections", "16", "--reconnect", "5")
        seen = set()
        count = mixed_life(crowd, 2.0, random.Random(2))
        seen |= set(thread_names(server))
        _, err = load.communicate(timeout=120)
        expect(load.returncode == 0 and count > 100, (load.returncode, err, count))
        seen |= set(thread_names(server))
        expect({"rm-0", "rm-1"} <= seen and not any(name.startswith("iou-") for name in seen), seen)


# --------------------------------------------------------------------------------------------- start and the end ----

def case_drain(rig):
    """TERM at 5,000 requests per second: none is lost."""
    outcome = drain_under_load(rig.start("--workers", "2"), rate=5000, connections=250)
    print(f"             {outcome}")
    outcome.check()


def case_drain_of_idlers(rig):
    """Connections that are idle for longer than a drain waits for them: a clean end, so what crosses it can be repeated."""
    outcome = drain_under_load(rig.start("--workers", "2"), rate=1000, connections=1000)
    print(f"             {outcome}")
    outcome.check()


def case_four_workers(rig):
    """Four workers under a mixed load, then a drain in the middle of it: what the thread sanitizer looks at."""
    server = rig.start("--workers", "4")
    try:
        load = rig.start_load(server.port, "mixed.txt", "--duration", "3s", "--connections", "32", "--reconnect", "20")
        with Crowd(server.port) as crowd, Polite(server.port):
            mixed_life(crowd, 3.0, random.Random(3))
            figures(server)
            arena.get(server.port, "/stats")
        _, err = load.communicate(timeout=120)
        expect(load.returncode == 0, err)
    except BaseException:
        server.stop()
        raise
    outcome = drain_under_load(server, rate=1000, connections=100)
    print(f"             {outcome}")
    outcome.check()


def case_uring_denied(rig):
    """A seccomp filter refuses io_uring: auto falls back and says so, uring exits 69."""
    if rig.flags != ["--io", "uring"]:
        raise arena.Skipped("for io_uring only")
    for error in (errno.EPERM, errno.ENOSYS):
        refuse = surroundings.refuse_uring(error)
        done = subprocess.run([rig.program, "--io", "uring", "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=60,
                              check=False, preexec_fn=refuse)
        expect(done.returncode == 69 and errno.errorcode[error] in done.stderr, (done.returncode, done.stderr))
        if "epoll" in arena.backends(rig.program):
            with arena.Arena(rig.program, "--io", "auto", preexec_fn=refuse) as server:
                line = next(text for text in server.lines if "FALLBACK" in text)
                expect(server.backend == "epoll" and errno.errorcode[error] in line, server.lines)
                expect(figures(server)['http_server_open_connections'] == 1, "it serves")
                expect('fallback="true"' in arena.get(server.port, "/metrics")[2].decode(), "/metrics says so")


def main(argv):
    if len(argv) < 3:
        sys.exit(__doc__)
    os.environ.pop("PORT", None)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    chosen = argv[3:] or [name.removeprefix("case_") for name in globals() if name.startswith("case_") and name != "case_four_workers"]
    cases = []
    for name, flags in arena.variants(argv[1])[:]:
        if name in ("uring", "epoll"):
            rig = Rig(argv[1], argv[2], flags)
            cases += [(f"{name}: {case}", lambda case=case, rig=rig: globals()["case_" + case](rig)) for case in chosen]
    return arena.run_cases(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
