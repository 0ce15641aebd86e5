#!/usr/bin/env python3
"""scripts/postgres as a process: what it starts is private, ends with who asked for it, and leaves nothing behind.

usage: cluster_scripts.py TEMPLATE
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import cluster  # noqa: E402

COUNT = 'psql -XAt "$DATABASE_URL" -c "SELECT count(*) FROM items"'


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Place:
    """A folder for one cluster; afterwards no process of it and no socket may be there."""

    def __init__(self, template, *below):
        self.base = tempfile.mkdtemp(prefix="rm-pg-")
        os.chmod(self.base, 0o755)
        self.folder = os.path.join(self.base, *below, "pg")
        self.common = ["--folder", self.folder, "--template", template, "--rows", str(cluster.ROWS)]

    def command(self, word, *arguments):
        return [str(cluster.SCRIPT), word, *self.common, *arguments]

    def call(self, word, *arguments, env=None):
        return subprocess.run(self.command(word, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                              check=False, env=env)

    def start(self, word, *arguments):
        return subprocess.Popen(self.command(word, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def place(self):
        return json.loads(Path(self.folder, "place.json").read_text(encoding="utf-8"))

    def servers(self):
        found = []
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if f"{self.folder}/data".encode() in line.read_bytes():
                    found.append(line.parent.name)
            except OSError:
                pass
        return found

    def expect_nothing_left(self):
        cluster.until(lambda: not self.servers(), "the server has ended")
        where = self.place()["socket"]
        cluster.until(lambda: not os.path.isdir(where) or os.listdir(where) == [], "no sockets")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.call("stop")
        shutil.rmtree(self.base, ignore_errors=True)


def case_command_and_its_exit_code(template):
    with Place(template) as place:
        done = place.call("run", "--", "sh", "-c", COUNT + "; exit 7")
        expect((done.returncode, done.stdout) == (7, f"{cluster.ROWS}\n"), done)
        place.expect_nothing_left()
        done = place.call("run", "--tcp", "--", "sh", "-c", COUNT + "; kill -9 $$")
        expect((done.returncode, done.stdout) == (137, f"{cluster.ROWS}\n"), done)
        place.expect_nothing_left()


def case_second_start_keeps_the_data(template):
    with Place(template) as place:
        change = 'psql -Xq "$DATABASE_URL" -c "DELETE FROM items WHERE id > 10"'
        expect(place.call("run", "--", "sh", "-c", change).returncode == 0, "DELETE")
        started = time.monotonic()
        expect(place.call("run", "--", "sh", "-c", COUNT).stdout == "10\n", "what was deleted is there")
        print(f"  second start and stop: {time.monotonic() - started:.2f} s")
        place.call("remove")
        expect(place.call("run", "--", "sh", "-c", COUNT).stdout == f"{cluster.ROWS}\n", "anew")


def case_one_at_a_time(template):
    with Place(template) as place:
        expect(place.call("start").returncode == 0, "start")
        expect(place.call("url").stdout == place.place()["url"] + "\n", "url")
        done = place.call("run", "--", "true")
        expect(done.returncode == 69 and "in use" in done.stderr, done)
        done = place.call("run", "--or-without", "--", "sh", "-c", "echo ${DATABASE_URL:-none}", env=os.environ | {"DATABASE_URL": ""})
        expect((done.returncode, done.stdout) == (0, "none\n") and "going on without" in done.stderr, done)
        expect(place.call("stop").returncode == 0, "stop")
        place.expect_nothing_left()
        expect(place.call("url").returncode == 69, "url of none")


def case_signals_end_it(template):
    with Place(template) as place:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            child = place.start("serve")
            expect(child.stdout.readline().startswith("postgresql://"), "a URL")
            child.send_signal(number)
            expect(child.wait(60) == 0, child.returncode)
            place.expect_nothing_left()


def case_signal_reaches_the_command_first(template):
    with Place(template) as place:
        script = f"trap '{COUNT}; exit 5' INT; echo ready; while :; do sleep 0.05; done"
        child = place.start("run", "--", "sh", "-c", script)
        expect(child.stdout.readline() == "ready\n", "the command runs")
        child.send_signal(signal.SIGINT)
        expect((child.stdout.read(), child.wait(60)) == (f"{cluster.ROWS}\n", 5), "the database was there to the end")
        place.expect_nothing_left()


def case_killed_outright(template):
    with Place(template) as place:
        child = place.start("run", "--", "sh", "-c", "echo $$; exec sleep 1000")
        command = int(child.stdout.readline())
        child.kill()
        child.wait()
        cluster.until(lambda: not os.path.exists(f"/proc/{command}"), "the command has ended")
        place.expect_nothing_left()


def case_parent_ends(template):
    with Place(template) as place:
        words = " ".join(place.command("serve", "--with-parent"))
        shell = subprocess.Popen(["sh", "-c", f"{words} & wait"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        expect(shell.stdout.readline().startswith("postgresql://"), "a URL")
        shell.kill()
        shell.wait()
        place.expect_nothing_left()


def case_deep_folder(template):
    """The path of a Unix socket is short."""
    with Place(template, "d" * 60, "e" * 60) as place:
        done = place.call("run", "--", "sh", "-c", COUNT)
        expect((done.returncode, done.stdout) == (0, f"{cluster.ROWS}\n"), done)
        expect(not os.path.exists(place.place()["socket"]), "the folder of the socket")


def case_folder_that_the_server_cannot_reach(template):
    if os.getuid() != 0:
        raise arena.Skipped("not root: the server runs as we do")
    with Place(template, "closed") as place:
        os.mkdir(os.path.dirname(place.folder), 0o700)
        done = place.call("run", "--", "sh", "-c", COUNT)
        expect((done.returncode, done.stdout) == (0, f"{cluster.ROWS}\n") and "can't reach" in done.stderr, done)
        expect(place.call("remove").returncode == 0, "remove")
        expect(not os.listdir(os.path.dirname(place.folder)), "it wrote there all the same")


def case_nobody_becomes_a_superuser_by_the_port(template):
    with Place(template) as place:
        shown = 'psql -XAt "$DATABASE_URL" -c "SHOW is_superuser"; psql -w -XAt "${DATABASE_URL%%arena@*}ringmain@${DATABASE_URL#*@}" -c ""'
        done = place.call("run", "--tcp", "--", "sh", "-c", shown)
        expect(done.stdout == "off\n" and done.returncode != 0 and "no pg_hba.conf entry" in done.stderr, done)


def case_usage(template):
    with Place(template) as place:
        expect(place.call("run").returncode != 0, "no command")
        for arguments in (["nonsense"], ["start", "--set", "x"]):
            expect(subprocess.run([cluster.SCRIPT, *arguments], capture_output=True, check=False).returncode == 2, arguments)
        done = place.call("run", "--", "/nonexistent")
        expect(done.returncode == 69 and "/nonexistent" in done.stderr, done)


def main(argv):
    if len(argv) != 2:
        sys.exit(__doc__)
    code = cluster.skip_without()
    if code is not None:
        return code
    where = subprocess.run([cluster.SCRIPT, "where"], capture_output=True, text=True, check=True).stdout.strip()
    os.environ["PATH"] += ":" + where
    return arena.run_cases([(name.removeprefix("case_"), lambda function=function: function(argv[1]))
                            for name, function in list(globals().items()) if name.startswith("case_")])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
