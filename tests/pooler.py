"""pgbouncer between arena and a test's cluster. Standard library only."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import arena

UNPACKED = Path(__file__).resolve().parent.parent / "build/deps/tools/usr"  # by ./check, with the libraries that it needs


def libraries():
    return [path for path in UNPACKED.glob("lib/*/*.so*") if path.is_file()]


def environment(*folders):
    """With the folders of its libraries."""
    given = [os.environ["LD_LIBRARY_PATH"]] if "LD_LIBRARY_PATH" in os.environ else []
    return {**os.environ, "LD_LIBRARY_PATH": ":".join([*map(str, folders), *given])}


def program():
    """(pgbouncer, installed or unpacked; what it says of its version)"""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:{UNPACKED / 'sbin'}")
    if found is None:
        raise arena.Skipped("pgbouncer is missing (package pgbouncer)")
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False,
                          env=environment(*{path.parent for path in libraries()}))
    if done.returncode != 0:
        raise arena.Skipped(f"pgbouncer does not run: {done.stderr.strip()}")
    return found, done.stdout


def keeps_statements():
    """Whether it follows prepared statements from one server connection to the next: 1.21 and later."""
    return tuple(int(n) for n in re.search(r"(\d+)\.(\d+)", program()[1]).groups()) >= (1, 21)


class Pooler:
    """One that may be killed and started again, always at the same port. With fewer connections to the server than clients have."""

    def __init__(self, db, settings):
        self.folder = Path(db.base, "pooler")
        self.folder.mkdir()
        # Copies, because whoever it runs as may not be able to go where this tree is.
        for file in (program()[0], *libraries()):
            shutil.copy(file, self.folder)
        self.config = self.folder / "pgbouncer.ini"
        self.port = arena.free_port()
        self.url = f"postgresql://arena@127.0.0.1:{self.port}/arena"
        lines = [f"{name} = {value}" for name, value in {
            "listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": "", "auth_type": "any",
            "default_pool_size": 2, "server_login_retry": 0.1, "logfile": self.folder / "log", **settings}.items()]
        self.config.write_text("\n".join([
            "[databases]", f"arena = host={db.place['socket']} port={db.place['port']} dbname=arena user=arena",
            "[pgbouncer]", *lines, ""]), encoding="utf-8")
        self.ids = {}
        if os.getuid() == 0:  # it refuses root, as the server does
            owner = os.stat(db.place["data"])
            os.chown(self.folder, owner.st_uid, owner.st_gid)
            self.ids = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        self.process = None

    def start(self):
        self.process = subprocess.Popen([self.folder / "pgbouncer", self.config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(self.folder),
                                        **self.ids)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
