#!/usr/bin/env python3
"""Counts test cases in meson's testlog.json: what cmocka, unittest, TAP or tests/arena.py say, not how many programs ran.

usage: results.py TESTLOG     prints the output of what failed, one line per test program, what was skipped and why,
                              and last "PASSED FAILED SKIPPED"

A program that says nothing of cases is one case. One that ended badly although no case failed (a crash, a leak, a timeout,
a wrong exit code) counts as one failed case more.
"""
import json
import re
import sys

# cmocka 1.1.7 puts the group's name before some of the counts.
CMOCKA_PASSED = re.compile(r"^\[  PASSED  \] (?:.*: )?(\d+) test\(s\)", re.M)
CMOCKA_SKIPPED = re.compile(r"^\[  SKIPPED \] (?:.*: )?(\d+) test\(s\), listed", re.M)
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] (?:.*: )?(\d+) test\(s\), listed", re.M)
CMOCKA_RUN = re.compile(r"^\[==========\] (?:.*: )?(\d+) test\(s\) run", re.M)
UNITTEST_RUN = re.compile(r"^Ran (\d+) tests? in ", re.M)
UNITTEST_DETAIL = re.compile(r"^(?:OK|FAILED) \((.*)\)$", re.M)
TAP_PLAN = re.compile(r"^1\.\.\d+", re.M)
TAP_LINE = re.compile(r"^(not )?ok\b[^\n#]*(#\s*skip)?", re.M | re.I)

OWN_CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
SKIPPED_CASE = re.compile(r"^\[  SKIPPED \] (?!.*test\(s\), listed)(.+)$", re.M)

EXIT_SKIPPED = 77
NAMES_MAX = 3


def total(pattern, text):
    return sum(int(n) for n in pattern.findall(text))


def count_unittest(text):
    details = dict(part.split("=") for line in UNITTEST_DETAIL.findall(text) for part in line.split(", "))
    failed = sum(int(details.get(key, 0)) for key in ("failures", "errors", "unexpected successes"))
    skipped = int(details.get("skipped", 0))
    return total(UNITTEST_RUN, text) - failed - skipped, failed, skipped


def count_tap(text):
    lines = TAP_LINE.findall(text)
    failed = sum(1 for bad, _ in lines if bad)
    skipped = sum(1 for bad, skip in lines if skip and not bad)
    return len(lines) - failed - skipped, failed, skipped


def count_cases(text):
    """(passed, failed, skipped) that a program's output speaks of, or None."""
    if CMOCKA_RUN.search(text):
        return total(CMOCKA_PASSED, text), total(CMOCKA_FAILED, text), total(CMOCKA_SKIPPED, text)
    if UNITTEST_RUN.search(text):
        return count_unittest(text)
    if TAP_PLAN.search(text):
        return count_tap(text)
    closing = OWN_CLOSING.findall(text)
    return tuple(int(n or 0) for n in closing[-1]) if closing else None


def count_test(test):
    """(passed, failed, skipped) of one entry of testlog.json."""
    text = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
    cases = count_cases(text)
    if test.get("returncode") == EXIT_SKIPPED and not (cases and cases[1]):
        return (0, 0, 1) if cases is None else cases
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    if cases is None:
        return (1, 0, 0) if good else (0, 1, 0)
    passed, failed, skipped = cases
    return passed, failed if good or failed else 1, skipped


def skipped_cases(test):
    """What was skipped, and the reason where one was given: a few lines."""
    text = test.get("stdout") or ""
    if test.get("returncode") == EXIT_SKIPPED:
        return (text.strip().splitlines() or ["no reason given"])[-1:]
    names = list(dict.fromkeys(SKIPPED_CASE.findall(text))) # cmocka lists them again at the end
    more = len(names) - NAMES_MAX
    return names if more <= 0 else names[:NAMES_MAX] + [f"and {more} more, in the log"]


def short_name(test):
    """Without the project and the suites that meson puts before it."""
    return test["name"].split(" / ")[-1]


def show_failure(test, lines_max=200):
    print(f"---- {short_name(test)}: {test['result']}, exit code {test.get('returncode')}")
    for stream in ("stdout", "stderr"):
        lines = (test.get(stream) or "").splitlines()
        if len(lines) > lines_max:
            print(f"({len(lines) - lines_max} lines of {stream} left out; they are in the log)")
        print("\n".join(lines[-lines_max:]))


def main(path):
    with open(path, encoding="utf-8") as log:
        tests = [json.loads(line) for line in log if line.strip()]
    sums = [0, 0, 0]
    rows = []
    for test in tests:
        counts = count_test(test)
        sums = [a + b for a, b in zip(sums, counts)]
        rows.append(f"  {short_name(test):<28} {counts[0]:5} passed {counts[1]:3} failed {counts[2]:3} skipped"
                    f" {test.get('duration', 0):7.1f} s")
        if counts[1]:
            show_failure(test)
    print("\n".join(rows))
    for test in tests:
        for what in skipped_cases(test):
            print(f"  skipped: {short_name(test)}: {what}")
    print(*sums)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
