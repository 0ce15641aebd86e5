"""Reads callgrind's profile format and divides its costs among parts of the program by source folder.

https://valgrind.org/docs/manual/cl-format.html: names are compressed as "(7) name" and later "(7)"; a cost line is
"position cost"; `calls=` is followed by one line with the inclusive cost of these calls.
"""
import re
from collections import defaultdict
from dataclasses import dataclass, field

# A function's part, by the source file it is defined in. The first match counts; None is foreign: libraries.
FOLDERS = (("http", r"(^|/)src/http/"), ("server", r"(^|/)src/server/"), ("mem", r"(^|/)src/mem/"),
           ("ring", r"(^|/)src/ring/"), ("app", r"(^|/)examples/"), ("bench", r"(^|/)bench/"),
           ("server", r"(^|/)include/"))
COUNTED = ("http", "server", "mem", "app")


@dataclass
class Function:
    name: str
    file: str
    own: int = 0
    calls: dict = field(default_factory=lambda: defaultdict(int))  # (file, name) of the called: inclusive cost


def parse(text):
    """{(file, name): Function}"""
    names = {"fl": {}, "fn": {}, "ob": {}}
    functions = {}
    here = called_file = called_name = None
    file = ""
    pending_call = False

    def full(kind, value):
        found = re.fullmatch(r"\((\d+)\)(?: (.*))?", value)
        if not found:
            return value
        if found.group(2) is not None:
            names[kind][found.group(1)] = found.group(2)
        return names[kind][found.group(1)]

    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in ("fl", "fn", "fi", "fe", "ob", "cfi", "cfl", "cfn", "cob", "calls"):
            if key == "fl":
                file = full("fl", value)
            elif key == "fn":
                identity = (file, full("fn", value))
                here = functions.setdefault(identity, Function(identity[1], file))
                called_file = None
            elif key in ("cfi", "cfl"):
                called_file = full("fl", value)
            elif key == "cfn":
                called_name = full("fn", value)
            elif key == "calls":
                pending_call = True
            else:
                full("ob" if key in ("ob", "cob") else "fl", value)
        elif here is not None and re.match(r"[+\-*\d]", line):
            cost = int(line.split()[1]) if len(line.split()) > 1 else 0
            if pending_call:
                # Without cfi/cfl the called function is in the caller's file.
                here.calls[(called_file if called_file is not None else here.file, called_name)] += cost
                pending_call, called_file = False, None
            else:
                here.own += cost
    return functions


def part_of(file):
    return next((part for part, pattern in FOLDERS if re.search(pattern, file)), None)


def attribute(functions):
    """{(part, function): cost}: own costs of our functions, and what they call in libraries."""
    costs = defaultdict(int)
    for function in functions.values():
        part = part_of(function.file)
        if part not in COUNTED:
            continue
        costs[(part, function.name)] += function.own
        for (file, _), cost in function.calls.items():
            if part_of(file) is None:
                costs[(part, function.name)] += cost
    return dict(costs)
