"""pgbouncer between arena and a test's cluster. Standard library only."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import arena
import cluster

UNPACKED = Path(__file__).resolve().parent.parent / "build/deps/tools/usr/sbin"


def program():
    """pgbouncer, installed or unpacked by ./check."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:{UNPACKED}")
    if found is None:
        raise arena.Skipped("pgbouncer is missing (package pgbouncer)")
    return found


def keeps_statements():
    """Whether it follows prepared statements from one server connection to the next: 1.21 and later."""
    text = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(n) for n in re.search(r"(\d+)\.(\d+)", text).groups()) >= (1, 21)


class Pooler:
    """One that may be killed and started again, always at the same port. With fewer connections to the server than clients have."""

    def __init__(self, db, settings):
        self.program = program()
        self.folder = Path(db.base, "pooler")
        self.folder.mkdir()
        self.config = self.folder / "pgbouncer.ini"
        self.port = cluster.free_port()
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
        self.process = subprocess.Popen([self.program, self.config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, **self.ids)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
