#!/usr/bin/env python3
"""Random values of every type go to a real PostgreSQL as $1 and come back: the value is the same (pg_types looks itself), our JSON
is what to_json makes of it, and numbers have the digits that the server prints.

usage: pg_types.py PG_TYPES TEMPLATE [SEED [ROUNDS]]      without a SEED: RM_SEED, or always the same
"""
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent))
import cluster  # noqa: E402

NUMBERS = {"int2", "int4", "int8", "float4", "float8", "numeric"}
NO_NUMBERS = {"NaN", "Infinity", "-Infinity"}  # JSON has none of these: null


def expected(kind, theirs):
    """What ours must be where to_json says `theirs`."""
    if kind in NUMBERS and theirs in NO_NUMBERS:
        return None
    if kind == "timestamptz" and theirs is not None:
        return theirs.replace("+00:00", "Z")
    return theirs


def check(line):
    row = json.loads(line, parse_int=str, parse_float=str)
    kind, ours, theirs, text = row["type"]["name"], row["v"], row["j"], row["t"]
    if ours != expected(kind, theirs):
        raise AssertionError(f"{kind}: ours {str(ours)[:200]!r}, to_json {str(theirs)[:200]!r}")
    if kind in NUMBERS and ours is not None and ours != text:
        raise AssertionError(f"{kind}: ours {ours!r}, the server's text {text!r}")
    return kind


def main(argv):
    if len(argv) not in (3, 4, 5):
        sys.exit(__doc__)
    code = cluster.skip_without()
    if code is not None:
        return code
    seed = argv[3] if len(argv) > 3 else os.environ.get("RM_SEED", "1")
    rounds = argv[4] if len(argv) > 4 else "3000"
    print(f"seed {seed}, {rounds} values")
    with cluster.Cluster(argv[2]) as server:
        parts = urlsplit(server.url)
        at = parse_qs(parts.query)
        done = subprocess.run([argv[1], at["host"][0], at["port"][0], parts.username, parts.path.lstrip("/"), seed, rounds],
                              capture_output=True, text=True, check=False, timeout=300)
    kinds = [check(line) for line in done.stdout.splitlines()]
    if done.returncode != 0:
        raise AssertionError(f"pg_types: {done.returncode}: {done.stderr}")
    print(", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))
    if len(set(kinds)) != 16 or len(kinds) < int(rounds) * 0.9:
        raise AssertionError("too few values came back")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
