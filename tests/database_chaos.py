#!/usr/bin/env python3
"""arena and a PostgreSQL that has accidents, under load: each answer carries the key that was asked for, statuses are those that
are allowed, the server recovers by itself, and afterwards nothing is held.

usage: database_chaos.py ARENA TEMPLATE [CASE]      TEMPLATE: the folder of a cluster that this one begins as a copy of

Each case has a cluster of its own; without CASE several run at once, each in a process of its own.
"""
import collections
import concurrent.futures
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import cluster  # noqa: E402
import pooler  # noqa: E402
from cluster import Http  # noqa: E402

CLIENTS = 12
PAUSE_SECONDS = 0.003  # of a client between two requests: accidents are to be met, not the limits of the machine
RECOVERY_SECONDS = 60  # far more than it takes when nothing else wants the processors
AT_ONCE = 3
ALLOWED = {200, 503, 504}


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Load:
    """Clients that ask for items, one after another, and check whose answers they get. `with` ends it and raises what they
    found."""

    def __init__(self, port, writes=0.1, allowed=frozenset(ALLOWED)):
        self.port, self.writes, self.allowed = port, writes, allowed
        self.ending = threading.Event()
        self.statuses = collections.Counter()
        self.times = []  # of the good ones
        self.turns = [0] * CLIENTS
        self.wrong = []
        self.threads = [threading.Thread(target=self.client, args=(seed,)) for seed in range(CLIENTS)]

    def client(self, seed):
        draws = random.Random(seed)
        try:
            with Http(self.port) as http:
                while not self.ending.wait(PAUSE_SECONDS):
                    self.one(http, draws)
                    self.turns[seed] += 1
        except Exception as error:  # a thread that dies silently would be no test
            self.wrong.append(f"{type(error).__name__}: {error}")

    def one(self, http, draws):
        identity = draws.randrange(1, cluster.ROWS + 1)
        if draws.random() < self.writes:
            name = f"w{identity}.{draws.randrange(1 << 30)}"
            status, _, body = http.ask("PUT", f"/crud/items/{identity}", {"name": name, "price": 3, "quantity": 4})
        else:
            name = None
            status, _, body = http.get(f"/crud/items/{identity}")
        self.statuses[status] += 1
        if status not in self.allowed:
            self.wrong.append(f"{status} for {identity}: {body[:200]!r}")
        elif status == 200:
            item = json.loads(body)
            if item["id"] != identity or (name is not None and item["name"] != name):
                self.wrong.append(f"asked for {identity} {name}, got {body[:200]!r}")
            self.times.append(time.monotonic())

    def good_after(self, moment):
        return any(t > moment for t in self.times[-50:])

    def recovered(self, moment, seconds=RECOVERY_SECONDS):
        """How long after `moment` answers were good again, and stayed so."""
        cluster.until(lambda: self.good_after(moment), "a good answer", seconds)
        cluster.until(lambda: self.steady(), "no more errors", seconds)
        return min(t for t in self.times if t > moment) - moment

    def all_turned(self):
        """Waits until every client has begun and ended a request."""
        before = list(self.turns)
        cluster.until(lambda: all(now > then + 1 for now, then in zip(self.turns, before)), "an answer for every client")

    def steady(self):
        bad = sum(self.statuses.values()) - self.statuses[200]
        time.sleep(0.3)
        return sum(self.statuses.values()) - self.statuses[200] == bad

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        cluster.until(lambda: self.statuses[200] > 100, "a first load of good answers")
        return self

    def __exit__(self, kind, value, trace):
        self.ending.set()
        for thread in self.threads:
            thread.join(90)
        print(f"  {dict(self.statuses)}")
        if kind is None:
            expect(not self.wrong, f"{len(self.wrong)} wrong: {self.wrong[:3]}")


def figures(port, *names):
    """{name with labels: value} of the metrics whose names begin so."""
    lines = arena.get(port, "/metrics")[2].decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith(names))}


def taken_of(pid):
    """(descriptors, bytes of address space) of a process."""
    space = re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    return len(os.listdir(f"/proc/{pid}/fd")), int(space[1]) << 10


class Rig:
    """A cluster of its own, arena, which may reach it through a pooler, and its state at rest."""

    def __init__(self, program, template, flags, *more, settings=(), bouncer=None):
        self.db = cluster.Cluster(template, *settings)
        self.program, self.bouncer = program, bouncer
        self.flags = ["--workers", "2", "--db-timeout", "1s", *more, *flags]
        self.pooler = self.server = None

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.end()
            raise
        return self

    def begin(self):
        self.db.start()
        url = self.db.url
        if self.bouncer is not None:
            self.pooler = pooler.Pooler(self.db, self.bouncer)
            self.pooler.start()
            url = self.pooler.url
        self.server = arena.Arena(self.program, "--db", url, "--item-ttl", "0", *self.flags) # each request asks the database
        self.port = self.server.port
        cluster.until(self.all_are_up, "all connections are open")
        time.sleep(0.1)  # what asked is closed
        self.taken = taken_of(self.server.process.pid)

    def all_are_up(self):
        got = figures(self.port, "db_client_connection_count", "db_client_connection_max")
        return got['db_client_connection_count{state="up"}'] == got["db_client_connection_max"]

    def held(self):
        """What is not back in its pool. The one who asks has a connection and an exchange."""
        got = figures(self.port, "db_client_in_flight", "db_client_connection_pending_requests", "pool_items_in_use{")
        expect(len(got) > 10, got)
        own = ('pool_items_in_use{pool="connections"}', 'pool_items_in_use{pool="exchanges"}')
        return {name: value for name, value in got.items() if value != (1 if name in own else 0)}

    def at_rest(self):
        """Everything that was lent has come back, nothing is open in the database, and the process has what it had at first."""
        cluster.until(self.all_are_up, "all connections are open again")
        cluster.until(lambda: not self.held(), "what is held at rest")
        cluster.until(lambda: self.db.rows("SELECT count(*) AS n FROM pg_stat_activity WHERE state LIKE 'idle in%'") == [{"n": 0}],
                      "no transaction is left open")
        cluster.until(lambda: taken_of(self.server.process.pid)[0] <= self.taken[0], "no more descriptors than at first")
        if not arena.is_sanitized(self.program):  # a sanitizer maps what it likes
            space = taken_of(self.server.process.pid)[1]
            expect(space == self.taken[1], f"the address space was {self.taken[1]} bytes, and is {space}")

    def end(self):
        if self.server is not None and self.server.process.poll() is None:
            self.server.process.kill()
            self.server.process.wait()
        if self.pooler is not None:
            self.pooler.kill()
        self.db.__exit__(None, None, None)

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.at_rest()
                code = self.server.stop()
                expect(code == 0, f"arena ended with {code}: {''.join(self.server.lines[-20:])}")
                expect(not any("assert" in line or "ERROR: " in line for line in self.server.lines), self.server.lines[-20:])
        finally:
            self.end()


OURS = "FROM pg_stat_activity WHERE usename = 'arena'"


def case_backends_are_terminated(program, template, flags):
    with Rig(program, template, flags) as rig, Load(rig.port) as load:
        for i in range(8):
            rig.db.psql(f"SELECT pg_terminate_backend(pid) {OURS} ORDER BY pid LIMIT 1 OFFSET {i % 2}")
            time.sleep(0.1)
        rig.db.psql(f"SELECT pg_terminate_backend(pid) {OURS}")
        print(f"  good again after {load.recovered(time.monotonic()) * 1000:.0f} ms")


def case_queries_are_cancelled(program, template, flags):
    with Rig(program, template, flags) as rig, Load(rig.port) as load:
        for _ in range(30):
            rig.db.psql(f"SELECT pg_cancel_backend(pid) {OURS}")
        load.recovered(time.monotonic())


def case_postmaster_is_killed(program, template, flags):
    with Rig(program, template, flags) as rig, Load(rig.port) as load:
        for _ in range(2):
            rig.db.kill()
            time.sleep(0.5)
            rig.db.start()
            print(f"  good again after {load.recovered(time.monotonic()) * 1000:.0f} ms")
        expect(load.statuses[503] > 0, "nobody noticed")


def case_postmaster_is_stopped_and_comes_back(program, template, flags):
    with Rig(program, template, flags) as rig, Load(rig.port) as load:
        rig.db.stop()
        cluster.until(lambda: not cluster.ready(rig.port), "not ready")
        expect(arena.get(rig.port, "/healthz")[0] == 200, "alive")
        rig.db.start()
        print(f"  good again after {load.recovered(time.monotonic()) * 1000:.0f} ms")
        cluster.until(lambda: cluster.ready(rig.port), "ready")


def case_a_backend_crashes(program, template, flags):
    """The postmaster then ends all of them and starts anew."""
    with Rig(program, template, flags) as rig, Load(rig.port) as load:
        pids = rig.db.rows(f"SELECT pid {OURS} LIMIT 1")
        os.kill(pids[0]["pid"], signal.SIGKILL)
        moment = time.monotonic()
        load.recovered(moment)


def case_max_connections(program, template, flags):
    """Others have taken all connections: what is open goes on, what is missing is tried again until there is one."""
    settings = ("max_connections=12", "superuser_reserved_connections=3")
    with Rig(program, template, flags, "--db-connections", "4", settings=settings) as rig, Load(rig.port) as load:
        with Hoard(rig.db) as hoard:
            rig.db.psql(f"SELECT pg_terminate_backend(pid) {OURS} AND application_name <> 'psql'")
            hoard.grow()
            time.sleep(0.6)
        load.recovered(time.monotonic())


class Hoard:
    """Sessions that hold connections."""

    def __init__(self, db):
        self.db, self.sessions = db, []

    def grow(self):
        for _ in range(9):
            self.sessions.append(subprocess.Popen([f"{self.db.place['bin']}/psql", "-XqAt", self.db.url, "-c", "SELECT pg_sleep(30)"],
                                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def __enter__(self):
        self.grow()
        time.sleep(0.2)
        return self

    def __exit__(self, kind, value, trace):
        for session in self.sessions:
            session.kill()
        for session in self.sessions:
            session.wait()
        self.db.psql(f"SELECT pg_terminate_backend(pid) {OURS} AND application_name = 'psql'")


def case_statement_timeout(program, template, flags):
    """The server's own limit: 57014, which is 504; the connection stays."""
    with Rig(program, template, flags) as rig:
        rig.db.psql("ALTER ROLE arena SET statement_timeout = '100ms'", f"SELECT pg_terminate_backend(pid) {OURS}")
        time.sleep(0.1)
        with Load(rig.port, writes=0) as load, rig.db.session() as holder, Http(rig.port) as http:
            load.recovered(time.monotonic())
            pids = rig.db.rows(f"SELECT pid {OURS} ORDER BY pid")
            holder.do("BEGIN")
            holder.do("SELECT 1 FROM items WHERE id = 5 FOR UPDATE")
            status = http.ask("PUT", "/crud/items/5", {"name": "n", "price": 1, "quantity": 1})[0]
            expect(status == 504, status)
            holder.do("ROLLBACK")
            expect(rig.db.rows(f"SELECT pid {OURS} ORDER BY pid") == pids, "the connections have changed")


def case_deadlock_victims(program, template, flags):
    """Half a minute is more than any of them waits for a lock: a 504 here is somebody who was forgotten."""
    settings = ("deadlock_timeout=20ms",)
    rig = Rig(program, template, flags, "--db-connections", "8", "--db-timeout", "30s", settings=settings)
    statuses = collections.Counter()

    def transfers(seed):
        draws = random.Random(seed)
        with Http(rig.port) as http:
            for _ in range(30):
                source, target = draws.choice(((1, 2), (2, 1)))
                statuses[http.ask("POST", "/db/transfer", {"from": source, "to": target, "quantity": 1})[0]] += 1

    with rig:
        rig.db.psql("UPDATE items SET quantity = 5000 WHERE id IN (1, 2)")
        with Load(rig.port, writes=0) as load:
            threads = [threading.Thread(target=transfers, args=(seed,)) for seed in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        print(f"  transfers: {dict(statuses)}")
        expect(set(statuses) <= {200, 503} and statuses[200] > 20, statuses)
        expect(set(load.statuses) == {200}, f"others: {load.statuses}")
        total = rig.db.rows("SELECT sum(quantity)::int AS n FROM items WHERE id IN (1, 2)")
        expect(total == [{"n": 10000}], total)


def pause(pids, seconds):
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # its client may have given it up
                os.kill(pid, number)
        if number == signal.SIGSTOP:
            time.sleep(seconds)


def case_backends_are_paused(program, template, flags):
    """One, then all of them: those who wait are told after --db-timeout, and nobody gets the late answers."""
    with Rig(program, template, flags) as rig, Load(rig.port) as load:
        pids = [row["pid"] for row in rig.db.rows(f"SELECT pid {OURS}")]
        pause(pids[:1], 1.5)
        load.recovered(time.monotonic())
        pids = [row["pid"] for row in rig.db.rows(f"SELECT pid {OURS}")]
        pause(pids, 1.5)
        load.recovered(time.monotonic())
        expect(load.statuses[504] > 0, "nobody noticed")


def case_postmaster_is_paused(program, template, flags):
    """Nobody can connect, and those that are connected don't mind."""
    with Rig(program, template, flags) as rig, Load(rig.port) as load:
        postmaster = rig.db.pid()
        os.kill(postmaster, signal.SIGSTOP)
        time.sleep(0.3)
        moment = time.monotonic()
        cluster.until(lambda: load.good_after(moment), "served by what is open")
        os.kill(postmaster, signal.SIGCONT)
        load.recovered(time.monotonic())
        os.kill(postmaster, signal.SIGSTOP)
        for row in rig_backends(rig):
            os.kill(row, signal.SIGTERM)
        time.sleep(1)
        os.kill(postmaster, signal.SIGCONT)
        print(f"  good again after {load.recovered(time.monotonic()) * 1000:.0f} ms")


def rig_backends(rig):
    """Of arena; read from /proc, because a paused postmaster lets nobody in."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            parent = int((folder / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == rig.db.pid() and b"arena arena" in text:
            found.append(int(folder.name))
    expect(found, "no backends were found")
    return found


def case_tables_change(program, template, flags):
    """A prepared statement's result may not change its type: 0A000, healed by preparing it anew. Whoever waits for ALTER waits as
    long as that takes on a machine that has other work, too."""
    with Rig(program, template, flags, "--db-timeout", "10s") as rig, Load(rig.port) as load:
        for i in range(6):
            rig.db.psql(f"ALTER TABLE items ALTER quantity TYPE {'bigint' if i % 2 == 0 else 'integer'}")
            load.all_turned()  # healed once is what is promised
            rig.db.psql("ALTER TABLE items ADD COLUMN more integer", "ALTER TABLE items DROP COLUMN more")
            load.all_turned()
        load.recovered(time.monotonic())
        bad = sum(load.statuses.values()) - load.statuses[200]
        expect(bad == 0, f"{bad} were not healed: {load.statuses} {load.wrong}")


def pooled(program, template, flags, prepare, settings, allowed=frozenset(ALLOWED)):
    """A pooler with fewer connections than we have, which is killed and comes back."""
    with Rig(program, template, flags, "--db-prepare", prepare, "--db-connections", "8", "--db-timeout", "20s", bouncer=settings) as rig:
        with Load(rig.port, allowed=allowed) as load, Http(rig.port) as http:
            load.all_turned()
            for _ in range(10):
                got = http.ask("POST", "/db/transfer", {"from": 1, "to": 2, "quantity": 1})
                expect(got[0] in allowed - {504}, got)
            if 500 not in allowed:
                expect(set(load.statuses) == {200}, load.statuses)
            rig.pooler.kill()
            cluster.until(lambda: not cluster.ready(rig.port), "not ready")
            rig.pooler.start()
            cluster.until(rig.all_are_up, "all connections are open again")
            moment = time.monotonic()
            cluster.until(lambda: load.good_after(moment), "a good answer")


RESETS = {"pool_mode": "transaction", "server_reset_query": "DISCARD ALL", "server_reset_query_always": 1}


def case_transaction_pooler(program, template, flags):
    pooled(program, template, flags, "off", {"pool_mode": "transaction"})


def case_transaction_pooler_that_resets(program, template, flags):
    pooled(program, template, flags, "off", RESETS)


def case_transaction_pooler_that_keeps_statements(program, template, flags):
    if not pooler.keeps_statements():
        raise arena.Skipped("this pgbouncer has no max_prepared_statements (1.21 has)")
    pooled(program, template, flags, "on", {"pool_mode": "transaction", "max_prepared_statements": 100})


def case_statements_are_discarded(program, template, flags):
    """What --db-prepare off is for: after each transaction all prepared statements are gone. Many are healed; those that meet it
    twice fail, and nobody gets another one's answer."""
    pooled(program, template, flags, "on", RESETS, frozenset(ALLOWED | {500}))


def main(argv):
    if len(argv) not in (3, 4):
        sys.exit(__doc__)
    code = cluster.skip_without()
    if code is not None:
        return code
    cases = {f"{name.removeprefix('case_')} {backend}": lambda function=function, backend=backend: function(*argv[1:3], ["--io", backend])
             for backend in arena.backends(argv[1]) for name, function in list(globals().items()) if name.startswith("case_")}
    if len(argv) == 4:
        return arena.run_cases([(name, function) for name, function in cases.items() if argv[3] in name])
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as executor:
        runs = {name: executor.submit(alone, argv, name) for name in cases}
        return arena.run_cases([(name, lambda run=run: told(*run.result())) for name, run in runs.items()])


def alone(argv, name):
    """Its exit code and its lines."""
    done = subprocess.run([sys.executable, *argv[:3], name], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def told(code, lines):
    """Says what the process of a case has said, as if it had been here."""
    for line in lines[:-1]:
        if line.startswith("[  SKIPPED ]"):
            raise arena.Skipped(line.partition(": ")[2])
        if not line.startswith("[       OK ]"):
            print(line)
    if code != 0:
        raise AssertionError(f"exit code {code}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
