"""Starts what is measured, reads what it says of itself, and stops it: by the pid it was started with, never by name."""
import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 10
STOP_SECONDS = 15


class Unavailable(Exception):
    """Something that is needed is not here, or did not start: says what and how to get it."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(**more):
    """What we start sees no PORT, DATABASE_URL and the like from outside."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | more


class Process:
    """A child that ends with us."""

    def __init__(self, command, log, cpu=None, env=None, user=None, limits=None):
        self.log = log

        def prepare():
            if limits:
                limits()

        pinned = ["taskset", "-c", str(cpu)] if cpu is not None else []
        with open(log, "wb") as out:
            self.child = subprocess.Popen(pinned + [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=out, env=clean_environment(**(env or {})), preexec_fn=prepare, user=user,
                                          group=user, extra_groups=[] if user is not None else None)
        atexit.register(self.kill)

    @property
    def pid(self):
        return self.child.pid

    def output(self):
        return Path(self.log).read_text(encoding="utf-8", errors="replace")

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def stop(self):
        """TERM, and the exit code; a child that does not go is killed."""
        atexit.unregister(self.kill)
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def get(port, path, timeout=5):
    """(status, body) of one GET on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_until_serving(process, port, path):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.child.poll() is not None:
            break
        try:
            if get(port, path)[0] == 200:
                return
        except OSError:
            time.sleep(0.02)
    said = process.output().strip()
    process.kill()
    raise Unavailable(f"{process.child.args[-1]} did not start serving on port {port}: {said or 'it said nothing'}")


def program(build, name):
    path = Path(build) / name
    if not path.exists():
        raise Unavailable(f"{path} is not there: ./run build")
    return path


class Arena(Process):
    """One arena on a port of its own."""

    def __init__(self, build, folder, name, arguments=(), cpu=None, workers=1, env=None, user=None, limits=None):
        self.name = name
        self.port = free_port()
        command = [program(build, "examples/arena"), "--listen", f"127.0.0.1:{self.port}", "--workers", workers,
                   "--log-level", "info", *arguments]
        super().__init__(command, Path(folder) / f"{name}.log", cpu, env, user, limits)
        self.command = " ".join(str(part) for part in command)
        wait_until_serving(self, self.port, "/healthz")

    def stats(self):
        return json.loads(get(self.port, "/stats")[1])


class Nginx(Process):
    """nginx with one worker and a private configuration, answering /pipeline from `return 200`."""

    def __init__(self, folder, cpu=None):
        binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or unpacked_nginx()
        if binary is None:
            raise Unavailable("nginx is not installed")
        self.name = "nginx"
        self.port = free_port()
        home = Path(tempfile.mkdtemp(prefix="nginx-", dir=folder))
        config = home / "nginx.conf"
        config.write_text(nginx_config(home, self.port), encoding="ascii")
        command = [binary, "-p", home, "-e", home / "error.log", "-c", config]
        super().__init__(command, home / "out.log", cpu)
        self.command = " ".join(str(part) for part in command)
        wait_until_serving(self, self.port, "/pipeline")


def unpacked_nginx():
    found = sorted((ROOT / "build/deps/tools").glob("**/sbin/nginx"))
    return str(found[0]) if found else None


def nginx_config(home, port):
    """One process that is its own worker, so that one pid has all of its CPU."""
    temporary = "".join(f"{name}_temp_path {home}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{ worker_connections 8192; }}
http {{
access_log off;
keepalive_requests 1000000000;
keepalive_timeout 75s;
{temporary}server {{
listen 127.0.0.1:{port};
location = /pipeline {{ default_type text/plain; return 200 "ok"; }}
}}
}}
"""
