#!/usr/bin/env python3
"""load against arena: what it sends, counts and refuses to call right.

usage: load.py ARENA LOAD TEMPLATES
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Rig:
    def __init__(self, program, load, templates):
        self.program, self.load, self.templates = program, load, Path(templates)
        self.backends = arena.backends(program)

    def run(self, port, template, *flags, io="auto"):
        """(exit code, JSON or None, stderr)"""
        command = [self.load, "--connect", f"127.0.0.1:{port}", "--template", template, "--json", "-", "--io", io, *flags]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else None, done.stderr

    def template(self, folder, text):
        path = Path(folder) / "template.txt"
        path.write_text(text)
        return path


def case_every_template(rig):
    with arena.Arena(rig.program) as server:
        for path in sorted(set(rig.templates.glob("*.txt")) - {rig.templates / "database.txt"}):  # rss-slope has that one
            for io in rig.backends:
                code, result, said = rig.run(server.port, path, "--requests", 500, "--depth", 3, "--reconnect", 7, io=io)
                expect(code == 0 and result["requests"] == 500 and result["errors"]["total"] == 0, (path, io, result, said))
                expect(result["backend"] == io and not result["fallback"], result["backend"])


def case_counts_add_up(rig):
    with arena.Arena(rig.program, "--workers", "1") as server:
        for io in rig.backends:
            before = json.loads(arena.get(server.port, "/stats")[2])["total"]["requests"]
            code, result, _ = rig.run(server.port, rig.templates / "pipeline.txt", "--requests", 1000, "--connections", 10,
                                      "--reconnect", 10, io=io)
            after = json.loads(arena.get(server.port, "/stats")[2])["total"]["requests"]
            expect(code == 0 and result["sent"] == result["requests"] == 1000, result)
            expect(result["statuses"] == {"200": 1000}, result["statuses"])
            expect(after - before == 1001, "the server counts the same, and one /stats")
            # A connection may be opened for requests that others have sent meanwhile.
            expect(100 <= result["connects"] <= 110, result["connects"])
            expect(result["per_connection"]["min"] > 0, result["per_connection"])
            expect(sum(result["calls"].values()) > 0 and result["cpu"]["per_request_us"] > 0, result)


def case_depth_is_kept(rig):
    """A server that never answers gets exactly depth requests per connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        got = []

        def serve():
            connection, _ = listener.accept()
            with connection:
                data = b""
                while piece := connection.recv(65536):
                    data += piece
                got.append(data.count(b"GET /pipeline"))

        thread = threading.Thread(target=serve)
        thread.start()
        code, result, _ = rig.run(listener.getsockname()[1], rig.templates / "pipeline.txt", "--connections", 1, "--depth", 5,
                                  "--duration", "500ms")
        thread.join(60)
        expect(got == [5], got)
        expect(code == 1 and result["errors"]["unanswered"] == 5, result)


WRONG = {
    "status": "=== 201\nGET /pipeline HTTP/1.1\nHost: a\n\n",
    "length": "=== 200 length=3\nGET /pipeline HTTP/1.1\nHost: a\n\n",
    "body": "=== 200 body=no\nGET /pipeline HTTP/1.1\nHost: a\n\n",
}


def case_wrong_responses(rig):
    with arena.Arena(rig.program) as server, tempfile.TemporaryDirectory() as folder:
        for kind, text in WRONG.items():
            code, result, _ = rig.run(server.port, rig.template(folder, text), "--requests", 50, "--connections", 3)
            expect(code == 1 and result["errors"][kind] == 50 == result["errors"]["total"], (kind, result))
            expect(result["sample"].startswith(kind), result["sample"])


def case_open_loop(rig):
    """Requests are sent at their times, and how late they were sent counts."""
    with arena.Arena(rig.program, "--workers", "1") as server, tempfile.TemporaryDirectory() as folder:
        for io in rig.backends:
            template = rig.templates / "pipeline.txt"
            code, result, said = rig.run(server.port, template, "--rate", 400, "--duration", "1s", "--connections", 7, io=io)
            if code == 0 and result["requests"] < 380 and result["latency_us"]["max"] > 30_000:
                raise arena.TooLate(f"{result['latency_us']['max'] / 1000:.0f} ms for an answer of 0.1 ms")
            expect(code == 0 and 380 <= result["requests"] <= 420, (result, said))
            expect(result["latency_us"]["loop"] == "open" and result["rate"] == 400, result)
            expect(result["per_connection"]["max"] - result["per_connection"]["min"] <= 1, result["per_connection"])
            # 20 ms for each answer and one connection: of 100 requests in a second the last one waits for 50 others.
            slow = rig.template(folder, "=== 200\nGET /sleep/20 HTTP/1.1\nHost: a\n\n")
            code, result, said = rig.run(server.port, slow, "--rate", 100, "--duration", "1s", "--connections", 1, io=io)
            expect(code == 0 and result["latency_us"]["max"] > 200_000, (result, said))


def case_closed_early(rig):
    """A bad request ends its connection: what was sent behind it is unanswered, and said to be."""
    with arena.Arena(rig.program) as server, tempfile.TemporaryDirectory() as folder:
        path = rig.template(folder, "=== 400\nNONSENSE\n\n")
        code, result, _ = rig.run(server.port, path, "--requests", 40, "--connections", 2, "--depth", 4)
        expect(code == 1, result)
        expect(result["errors"]["closed"] + result["errors"]["reset"] > 0 and result["errors"]["unanswered"] > 0, result)
        expect(result["requests"] + result["errors"]["unanswered"] == 40, result)


def case_nobody_there(rig):
    port = arena.free_port()
    code, result, said = rig.run(port, rig.templates / "pipeline.txt", "--requests", 10)
    expect(code == 69 and result is None and "cannot connect" in said, (code, said))


def case_usage(rig):
    template = rig.templates / "pipeline.txt"
    for flags, word in ((["--depth", "0"], "--depth"), (["--nonsense", "1"], "--nonsense"), (["--json"], "--json"),
                        (["--duration", "5"], "--duration"), (["--ring", "recv=never"], "recv")):
        done = subprocess.run([rig.load, "--template", template, *flags], capture_output=True, text=True, timeout=60, check=False)
        expect(done.returncode == 2 and word in done.stderr, (flags, done.stderr))
    done = subprocess.run([rig.load, "--template", "/nonexistent"], capture_output=True, text=True, timeout=60, check=False)
    expect(done.returncode == 2 and "/nonexistent" in done.stderr, done.stderr)
    done = subprocess.run([rig.load, "--help"], capture_output=True, text=True, timeout=60, check=False)
    expect(done.returncode == 0 and "--reconnect" in done.stdout, done.stdout)


def main(argv):
    if len(argv) != 4:
        sys.exit(__doc__)
    os.environ.pop("PORT", None)
    rig = Rig(*argv[1:])
    cases = [(name.removeprefix("case_"), lambda function=function: function(rig))
             for name, function in globals().items() if name.startswith("case_")]
    return arena.run_cases(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
