"""A private PostgreSQL for tests: scripts/postgres in a folder of its own, quickly, as a copy of a template. Standard library
only.

    with cluster.Cluster(template) as db: db.url, db.rows("SELECT ...")
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import arena

SCRIPT = Path(__file__).resolve().parent.parent / "scripts/postgres"
ROWS = 5000
START_SECONDS = 120  # the first one of a check makes the template


def need():
    """Skips a whole program where there is no PostgreSQL."""
    return subprocess.run([SCRIPT, "where"], capture_output=True, check=False).returncode == 0


class Cluster:
    """A server that may be killed, paused and started again, always at the same place."""

    def __init__(self, template, *settings):
        self.template, self.settings = template, settings
        self.base = tempfile.mkdtemp(prefix="rm-pg-")
        os.chmod(self.base, 0o755)
        self.folder = os.path.join(self.base, "pg")
        self.keeper = self.place = None

    def start(self):
        command = [SCRIPT, "serve", "--with-parent", "--folder", self.folder, "--template", self.template, "--rows", str(ROWS)]
        for setting in self.settings:
            command += ["--set", setting]
        self.keeper = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True)
        started = time.monotonic()
        if not self.keeper.stdout.readline():
            raise RuntimeError("scripts/postgres serve: " + self.keeper.stderr.read())
        self.place = json.loads(Path(self.folder, "place.json").read_text(encoding="utf-8"))
        if time.monotonic() - started > START_SECONDS:
            raise RuntimeError("PostgreSQL took too long to start")
        return self

    @property
    def url(self):
        return self.place["url"]

    def stop(self):
        if self.keeper is not None:
            self.keeper.terminate()
            self.keeper.wait(60)
            self.keeper.stdout.close()
            self.keeper.stderr.close()
            self.keeper = None

    def pid(self):
        """Of the postmaster."""
        return int(Path(self.place["data"], "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def kill(self):
        """As if it had crashed; its backends notice by themselves. Waits for its keeper, which tidies up."""
        os.kill(self.pid(), signal.SIGKILL)
        self.keeper.wait(60)
        self.stop()

    def psql(self, *statements, check=True):
        """Runs statements, each on its own, as the superuser; what they print, unaligned."""
        command = [f"{self.place['bin']}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.place["admin"]]
        for statement in statements:
            command += ["-c", statement]
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=120, stdin=subprocess.DEVNULL).stdout

    def rows(self, query):
        """The rows of a query, as Postgres itself writes JSON."""
        return json.loads(self.psql(f"SELECT coalesce(json_agg(r), '[]') FROM ({query}) r"))

    def session(self):
        """A psql that is told what to do while others work: hold a lock, for example."""
        return Session([f"{self.place['bin']}/psql", "-XqAt", self.place["admin"]])

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        self.stop()
        shutil.rmtree(self.base, ignore_errors=True)


class Session:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def do(self, statement):
        """Waits until it was done."""
        self.process.stdin.write(statement + ";\n\\echo done\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line == "done\n":
                return
        raise RuntimeError("the session has ended")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Http:
    """One keep-alive connection to arena."""

    def __init__(self, port):
        import http.client
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method, target, body=None):
        """(status, headers, body)."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.connection.request(method, target, body)
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def get(self, target):
        return self.ask("GET", target)

    def json(self, method, target, status, body=None):
        """The body of an answer that must have this status."""
        got, headers, text = self.ask(method, target, body)
        if got != status or headers["Content-Type"] != "application/json":
            raise AssertionError(f"{method} {target}: {got} {headers['Content-Type']}, wanted {status} JSON: {text[:200]!r}")
        return json.loads(text)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.connection.close()


def skip_without():
    """For main(): the exit code when there is no PostgreSQL, else None."""
    if need():
        return None
    print("skipped: PostgreSQL's programs are missing (package postgresql)")
    return 77


def flags_of(db, *more):
    return ["--db", db.url, *more]


until = arena.until


def ready(port):
    return arena.get(port, "/readyz")[0] == 200


def gone(db, role):
    """No connection of this role is left: a server process ends a moment after its client has gone."""
    until(lambda: db.rows(f"SELECT count(*) AS n FROM pg_stat_activity WHERE usename = '{role}'") == [{"n": 0}], f"{role} has left")
