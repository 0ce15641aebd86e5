"""Statistics and verdicts: numbers in, words out. Nothing here measures.

A comparison is a list of ratios, one per round, each of two figures measured next to each other in time. Its interval is the
bootstrap 95 % interval of the median. The noise floor comes from an arm that is compared with itself: what lies within it is
called "not distinguishable", however many rounds say so.
"""
import math
import random
from dataclasses import dataclass
from statistics import median

BOOTSTRAP_DRAWS = 2000
FEW_ROUNDS = 4  # with fewer, resampling says nothing: the whole range is the interval


@dataclass(frozen=True)
class Interval:
    """A median and how far it can be trusted. low <= mid <= high."""
    mid: float
    low: float
    high: float

    def times(self, factor):
        ends = sorted((self.low * factor, self.high * factor))
        return Interval(self.mid * factor, *ends)

    @property
    def reach(self):
        """The larger distance from the middle to an end."""
        return max(self.high - self.mid, self.mid - self.low)


def interval(values, seed=1):
    """The median of `values` with its bootstrap 95 % interval (of few values: their range)."""
    values = sorted(values)
    if not values:
        raise ValueError("nothing was measured")
    mid = median(values)
    if len(values) < FEW_ROUNDS:
        return Interval(mid, values[0], values[-1])
    chance = random.Random(seed)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(BOOTSTRAP_DRAWS))
    return Interval(mid, medians[int(0.025 * BOOTSTRAP_DRAWS)], medians[int(0.975 * BOOTSTRAP_DRAWS) - 1])


def paired_ratios(numerators, denominators):
    """One ratio per round; rounds in which either is missing (None) are left out."""
    if len(numerators) != len(denominators):
        raise ValueError("paired figures must have the same rounds")
    return [a / b for a, b in zip(numerators, denominators) if a is not None and b]


def paired_differences(left, right):
    if len(left) != len(right):
        raise ValueError("paired figures must have the same rounds")
    return [a - b for a, b in zip(left, right) if a is not None and b is not None]


def noise_floor(null_ratios):
    """How far from 1 the ratio of an arm to itself reaches, as a fraction: its interval's farther end."""
    span = interval(null_ratios)
    return max(abs(span.low - 1), abs(span.high - 1))


LESS, MORE, SAME, UNKNOWN = "less", "more", "not distinguishable", "not measured"


def judge(ratios, floor):
    """LESS, MORE or SAME for ratios against 1: the interval must leave out 1 and the median must lie beyond the floor."""
    if not ratios:
        return UNKNOWN
    span = interval(ratios)
    if span.low <= 1 <= span.high or abs(span.mid - 1) <= floor:
        return SAME
    return LESS if span.mid < 1 else MORE


def percent(ratio):
    """0.93 -> '7 % less', 1.08 -> '8 % more', 14.2 -> '14.2 times'."""
    if ratio >= 2:
        return f"{ratio:.1f} times"
    return f"{abs(ratio - 1) * 100:.1f} % {'less' if ratio < 1 else 'more'}"


def verdict(subject, than, ratios, floor, what="server CPU per request"):
    """One sentence on `subject` against `than`."""
    judged = judge(ratios, floor)
    if judged == UNKNOWN:
        return f"{subject} against {than}: {what} was not measured."
    span = interval(ratios)
    kind = "95 % interval" if len(ratios) >= FEW_ROUNDS else f"range of {len(ratios)} rounds"
    figures = f"ratio {span.mid:.3f}, {kind} {span.low:.3f} to {span.high:.3f}, noise floor +-{floor * 100:.1f} %"
    if judged == SAME:
        return f"{subject} and {than} are not distinguishable in {what} ({figures})."
    return f"{subject} takes {percent(span.mid)} {what} than {than} ({figures}).".replace("times server", "times the server")


def prediction(null_call_ns, saved_calls, saved_us):
    """The sentence that puts what saved system calls should be worth beside what was measured. `saved_us` is a list of
    differences in microseconds per request, one per round."""
    predicted = null_call_ns * saved_calls / 1000
    span = interval(saved_us)
    sentence = (f"a null system call costs {null_call_ns:.0f} ns here, {saved_calls:.2f} per request were saved: "
                f"{predicted:.2f} us predicted, {span.mid:.2f} +- {span.reach:.2f} us measured")
    if span.low <= 0 <= span.high:
        return sentence + " (what was measured is not distinguishable from nothing)"
    if span.low <= predicted <= span.high:
        return sentence + " (they agree)"
    return sentence + (" (more than the calls alone explain)" if span.mid > predicted else " (less than predicted)")


# ------------------------------------------------------------------------------------------------------- slopes ----

@dataclass(frozen=True)
class Slope:
    """A straight line through samples: `value` per unit of x, with its 95 % interval."""
    value: float
    low: float
    high: float


# Student's t, two-sided 95 %, by degrees of freedom.
STUDENT_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 15: 2.13, 20: 2.09,
             30: 2.04, 60: 2.00}


def student_t(freedom):
    return next((t for n, t in sorted(STUDENT_T.items(), reverse=True) if n <= freedom), STUDENT_T[1])


def slope(xs, ys):
    """Least squares. At least three samples with different xs."""
    n = len(xs)
    if n < 3 or len(ys) != n:
        raise ValueError("a slope needs three samples")
    mean_x, mean_y = sum(xs) / n, sum(ys) / n
    spread = sum((x - mean_x) ** 2 for x in xs)
    if spread == 0:
        raise ValueError("a slope needs different xs")
    value = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / spread
    rest = sum((y - mean_y - value * (x - mean_x)) ** 2 for x, y in zip(xs, ys))
    half = student_t(n - 2) * math.sqrt(rest / (n - 2) / spread)
    return Slope(value, value - half, value + half)
