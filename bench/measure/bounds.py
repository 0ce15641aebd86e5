"""Figures with the bound that they must keep."""
from dataclasses import dataclass

from measure import table

PASS, FAIL, SKIP = "pass", "FAIL", "skipped"


@dataclass(frozen=True)
class Check:
    what: str
    bound: str
    measured: str
    verdict: str
    beside: str = ""  # what a reader should know with the figure


def at_most(what, limit, value, unit="", beside=""):
    measured = f"{table.number(value)}{unit}"
    return Check(what, f"<= {table.number(limit)}{unit}", measured, PASS if value <= limit else FAIL, beside)


def exactly(what, wanted, value, beside=""):
    return Check(what, f"= {wanted}", str(value), PASS if value == wanted else FAIL, beside)


def holds(what, bound, fine, measured, beside=""):
    return Check(what, bound, measured, PASS if fine else FAIL, beside)


def skipped(what, bound, why):
    return Check(what, bound, "-", SKIP, why)


def render(checks):
    return table.render(["what", "bound", "measured", "", ""],
                        [[c.what, c.bound, c.measured, c.verdict, c.beside] for c in checks],
                        words=2)


def exit_code(checks):
    """0 when nothing failed."""
    return 1 if any(check.verdict == FAIL for check in checks) else 0
