#!/usr/bin/env python3
"""The arrows between the static libraries, as the linker sees them (nm).

usage: symbols.py NAME=ARCHIVE...     exit code 1 and one line per symbol that a library must not need

A library may need what the libraries below it define. A protocol library may need, of libc, mem*() and str*() only: so it
has no socket, no clock, no file and no malloc, whatever its sources say.
"""
import re
import subprocess
import sys

BELOW = {
    "mem": set(),
    "ring": {"mem"},
    "ringsim": {"mem", "ring"},
    "http": {"mem"},
    "pg": {"mem"},
    "pgcrypto": {"mem", "pg"},
    "server": {"mem", "ring", "http", "pg", "pgcrypto"},
}
# bcmp and __*_chk are what compilers make of memcmp and of fortified mem*() calls. __cpu_*: the compiler's own table of what
# the CPU has.
PROTOCOL_LIBC = re.compile(r"^(mem\w+|str(?!dup|ndup)\w+|bcmp|__(mem|str)\w*_chk|__stack_chk_fail"
                           r"|__cpu_\w+|_GLOBAL_OFFSET_TABLE_)$")

# Hashing for authentication may take locks and its libraries' memory; it has no socket, clock or file either.
CRYPTO_NEEDS = re.compile(PROTOCOL_LIBC.pattern[:-1] + r"|^(EVP_\w+|HMAC|PKCS5_\w+|OPENSSL_cleanse|CRYPTO_memcmp"
                          r"|stringprep\w*|idn_free|pthread_(mutex|cond)_\w+)$")
NEEDS = {"http": PROTOCOL_LIBC, "pg": PROTOCOL_LIBC, "pgcrypto": CRYPTO_NEEDS}


def parse_nm(text):
    """(defined, undefined) of `nm`'s output. A weak reference (w) may stay without a definition: it is
    no need. Small letters are symbols that other files don't see."""
    defined, undefined = set(), set()
    for line in text.splitlines():
        match = re.match(r"^[0-9a-f ]*\s([A-Za-z?])\s+(\S+)$", line)
        if not match:
            continue
        kind, name = match.groups()
        if kind == "U":
            undefined.add(name)
        elif kind.isupper() or kind == "u":
            defined.add(name)
    return defined, undefined - defined


def findings(tables):
    """Sentences about {name: (defined, undefined)}."""
    owner = {symbol: name for name, (defined, _) in tables.items() for symbol in defined}
    for name, (_, undefined) in sorted(tables.items()):
        for symbol in sorted(undefined):
            other = owner.get(symbol)
            if other is not None and other not in BELOW[name]:
                yield f"lib{name} needs {symbol} of lib{other}: {name} does not depend on {other}"
            elif other is None and name in NEEDS and not NEEDS[name].match(symbol):
                yield f"lib{name} needs {symbol}: a protocol has no socket, clock, file or malloc"


def read_archive(path):
    done = subprocess.run(["nm", path], capture_output=True, text=True, check=True)
    return parse_nm(done.stdout)


def main(arguments):
    archives = dict(argument.split("=", 1) for argument in arguments)
    if not archives or not set(archives) <= set(BELOW):
        sys.exit(__doc__)
    tables = {name: read_archive(path) for name, path in archives.items()}
    empty = [name for name, (defined, _) in tables.items() if not defined]
    found = list(findings(tables)) + [f"lib{name} defines nothing: is this the right archive?" for name in empty]
    print("\n".join(found + [f"{len(tables)} libraries, {len(found)} findings"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
