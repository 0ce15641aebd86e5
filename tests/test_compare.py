#!/usr/bin/env python3
"""The statistics, the verdicts, and the readers of bench/measure: what turns figures into claims."""
import random
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

from measure import callgrind, report, sums, table, tracing  # noqa: E402
from measure.generators import wrong_responses  # noqa: E402


class Intervals(unittest.TestCase):
    def test_few_values_give_their_range(self):
        self.assertEqual(sums.interval([3, 1, 2]), sums.Interval(2, 1, 3))

    def test_one_value(self):
        self.assertEqual(sums.interval([5]), sums.Interval(5, 5, 5))

    def test_nothing_measured_is_an_error(self):
        self.assertRaises(ValueError, sums.interval, [])

    def test_bootstrap_lies_within_the_range_and_holds_the_median(self):
        values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 1.02]
        span = sums.interval(values)
        self.assertLessEqual(min(values), span.low)
        self.assertLessEqual(span.low, span.mid)
        self.assertLessEqual(span.mid, span.high)
        self.assertLessEqual(span.high, max(values))
        self.assertEqual(span, sums.interval(values[::-1]), "the order of rounds does not matter, and a run can be repeated")

    def test_95_percent_cover_the_truth_about_as_often(self):
        chance = random.Random(7)
        covered = 0
        for _ in range(200):
            span = sums.interval([chance.gauss(1, 0.05) for _ in range(7)])
            covered += span.low <= 1 <= span.high
        self.assertGreater(covered, 170)

    def test_times_keeps_the_ends_in_order(self):
        self.assertEqual(sums.Interval(2, 1, 4).times(-1), sums.Interval(-2, -4, -1))

    def test_reach(self):
        self.assertEqual(sums.Interval(2, 1, 5).reach, 3)


class Pairs(unittest.TestCase):
    def test_a_missing_round_is_left_out(self):
        self.assertEqual(sums.paired_ratios([2, None, 6, 8], [1, 1, None, 4]), [2, 2])
        self.assertEqual(sums.paired_differences([2, None, 6], [1, 1, None]), [1])

    def test_different_rounds_are_an_error(self):
        self.assertRaises(ValueError, sums.paired_ratios, [1], [1, 2])
        self.assertRaises(ValueError, sums.paired_differences, [1], [1, 2])


class Judgements(unittest.TestCase):
    def test_table(self):
        for ratios, floor, expected in (
                ([0.90, 0.91, 0.92, 0.89, 0.90], 0.02, sums.LESS),
                ([1.10, 1.11, 1.12, 1.09, 1.10], 0.02, sums.MORE),
                ([0.90, 0.91, 0.92, 0.89, 0.90], 0.15, sums.SAME),  # beyond 1, but within the noise
                ([0.80, 1.10, 0.95, 1.20, 0.90], 0.01, sums.SAME),  # the interval holds 1
                ([0.995, 0.996, 0.997, 0.996], 0.01, sums.SAME),
                ([], 0.01, sums.UNKNOWN)):
            with self.subTest(ratios=ratios, floor=floor):
                self.assertEqual(sums.judge(ratios, floor), expected)

    def test_noise_floor_is_the_far_end_of_the_null(self):
        self.assertAlmostEqual(sums.noise_floor([0.97, 1.0, 1.01]), 0.03)
        self.assertAlmostEqual(sums.noise_floor([0.99, 1.0, 1.04]), 0.04)

    def test_sentences(self):
        less = sums.verdict("uring", "epoll", [0.9, 0.9, 0.9], 0.02)
        self.assertIn("range of 3 rounds 0.900 to 0.900", less)
        self.assertIn("95 % interval 0.900", sums.verdict("uring", "epoll", [0.9, 0.9, 0.9, 0.9], 0.02))
        self.assertIn("uring takes 10.0 % less server CPU per request than epoll", less)
        self.assertIn("noise floor +-2.0 %", less)
        self.assertIn("not distinguishable", sums.verdict("uring", "epoll", [0.99, 1.01, 1.0], 0.02))
        self.assertIn("was not measured", sums.verdict("uring", "epoll", [], 0.02))
        self.assertIn("14.0 times the server CPU", sums.verdict("nginx", "uring", [14, 14, 14], 0.02))

    def test_prediction(self):
        agree = sums.prediction(140, 2.0, [0.25, 0.28, 0.31])
        self.assertIn("a null system call costs 140 ns here, 2.00 per request were saved: 0.28 us predicted, 0.28 +- 0.03 us "
                      "measured (they agree)", agree)
        self.assertIn("more than the calls alone explain", sums.prediction(140, 2.0, [0.5, 0.51, 0.52]))
        self.assertIn("not distinguishable from nothing", sums.prediction(140, 2.0, [-0.1, 0.1, 0.5]))
        self.assertIn("less than predicted", sums.prediction(140, 2.0, [0.1, 0.11, 0.12]))


class Slopes(unittest.TestCase):
    def test_a_line(self):
        line = sums.slope([0, 1, 2, 3], [5, 7, 9, 11])
        self.assertAlmostEqual(line.value, 2)
        self.assertAlmostEqual(line.low, 2)
        self.assertAlmostEqual(line.high, 2)

    def test_noise_without_slope_holds_zero(self):
        chance = random.Random(3)
        line = sums.slope(list(range(50)), [100 + chance.gauss(0, 1) for _ in range(50)])
        self.assertLess(line.low, 0)
        self.assertGreater(line.high, 0)

    def test_a_leak_is_seen_through_noise(self):
        chance = random.Random(3)
        line = sums.slope(list(range(50)), [x + chance.gauss(0, 3) for x in range(50)])
        self.assertGreater(line.low, 0.8)

    def test_too_little_is_an_error(self):
        self.assertRaises(ValueError, sums.slope, [1, 2], [1, 2])
        self.assertRaises(ValueError, sums.slope, [1, 1, 1], [1, 2, 3])

    def test_students_t_never_claims_too_much(self):
        self.assertEqual(sums.student_t(1), 12.71)
        self.assertEqual(sums.student_t(12), 2.23)
        self.assertEqual(sums.student_t(1000), 2.00)


def run(arm, number, cpu, calls=1.0, **more):
    memory = {"resident": 3 << 20, "anonymous": 2 << 20, "shared": 1 << 20}
    return {"phase": "backends", "workload": "baseline", "connections": 64, "placement": report.ONE_CORE, "arm": arm,
            "round": number, "order": 0, "requests": 1000, "seconds": 1.0, "cpu_us": cpu, "user_us": cpu / 4,
            "system_us": cpu * 3 / 4, "utilisation": 0.5, "switches": 0.01, "memory": memory, "calls_per_request": calls,
            "completions_per_turn": 20.0, "generator": {"cpu": {"per_request_us": 4.0}}} | more


class Reports(unittest.TestCase):
    def study(self):
        runs = []
        for number, drift in enumerate((1.0, 1.3, 0.9, 1.1)):  # the machine drifts, all arms alike
            runs += [run("uring", number, 5.0 * drift, 0.06), run("epoll", number, 5.5 * drift, 2.06),
                     run("again", number, 5.05 * drift, 0.06), run("nginx", number, 6.5 * drift, None)]
        return runs

    def test_pairing_takes_the_drift_out(self):
        runs = self.study()
        ratios = report.ratios(runs, "uring", "epoll")
        self.assertEqual(len(ratios), 4)
        for ratio in ratios:
            self.assertAlmostEqual(ratio, 5.0 / 5.5)

    def test_two_runs_of_a_round_are_averaged(self):
        runs = [run("uring", 0, 4.0), run("uring", 0, 6.0), run("epoll", 0, 10.0), run("epoll", 1, 10.0)]
        self.assertEqual(report.by_round(runs, "uring", "cpu_us"), [5.0, None])
        self.assertEqual(report.ratios(runs, "uring", "epoll"), [0.5])

    def test_floor_comes_from_the_null_arm_and_is_never_nothing(self):
        self.assertAlmostEqual(report.floor_of(self.study()), 0.01)
        noisy = [run("uring", 0, 5.0), run("again", 0, 5.4)]
        self.assertAlmostEqual(report.floor_of(noisy), 0.08)
        self.assertIsNone(report.floor_of([run("uring", 0, 5.0)]))

    def test_verdicts_name_cell_and_rival(self):
        sentences = list(report.backend_verdicts(self.study()))
        self.assertEqual(len(sentences), 3)
        self.assertIn("baseline, 64 connections, one core shared: uring takes 9.1 % less", sentences[0])
        self.assertIn("than nginx", sentences[1])

    def test_no_null_arm_no_verdict(self):
        runs = [r for r in self.study() if r["arm"] != "again"]
        self.assertEqual(list(report.backend_verdicts(runs)), [])

    def test_predictions(self):
        sentence = next(report.predictions(self.study(), 140))
        self.assertIn("2.00 per request were saved: 0.28 us predicted", sentence)

    def test_table_has_a_row_for_each_arm(self):
        text = next(report.backend_tables(self.study(), "backends"))
        for arm in ("uring", "epoll", "again", "nginx"):
            self.assertRegex(text, rf"(?m)^{arm} ")

    def traced(self, own, kernel):
        return [run("uring", 0, 5.0, phase="calls", own_calls=own, kernel_calls=kernel)]

    def test_own_and_kernels_count_by_name(self):
        same = self.traced({"io_uring_enter": 100}, {"io_uring_enter": 100})
        self.assertEqual(report.worst_difference(same, "uring")[1], 0)
        apart = self.traced({"io_uring_enter": 99}, {"io_uring_enter": 100, "futex": 1})
        name, fraction = report.worst_difference(apart, "uring")
        self.assertIn(name, ("io_uring_enter", "futex"))
        self.assertAlmostEqual(fraction, 1 / 101)
        self.assertIsNone(report.worst_difference(self.traced({"close": 1}, None), "uring"))


class Responses(unittest.TestCase):
    def result(self, **more):
        return {"requests": 10, "errors": {"total": 0}, "statuses": {"200": 10}, "sample": ""} | more

    def test_gate(self):
        self.assertIsNone(wrong_responses(self.result()))
        self.assertIn("wrong", wrong_responses(self.result(errors={"total": 1}, sample="length: 3")))
        self.assertIn("404", wrong_responses(self.result(statuses={"200": 9, "404": 1})))
        self.assertIn("no response", wrong_responses(self.result(requests=0, statuses={})))


class Tables(unittest.TestCase):
    def test_numbers(self):
        for value, text in ((None, "-"), (0, "0"), (0.01234, "0.0123"), (5.6789, "5.68"), (123.4, "123"), (12345, "12,345"),
                            ("as it is", "as it is")):
            self.assertEqual(table.number(value), text)

    def test_columns(self):
        lines = table.render(["a", "b"], [["long name", 1], ["x", 1000]]).split("\n")
        self.assertEqual(lines[2], "long name      1")
        self.assertEqual(lines[3], "x          1,000")


class Perf(unittest.TestCase):
    def test_parse(self):
        text = "# started\n\n29,,raw_syscalls:sys_enter,1,100.00,,\n<not counted>,,syscalls:sys_enter_read,0,0.00,,\n" \
               "7,,syscalls:sys_enter_close,1,100.00,,\n"
        self.assertEqual(tracing.parse(text), {"raw_syscalls:sys_enter": 29, "syscalls:sys_enter_close": 7})


PROFILE = """version: 1
positions: line
events: Ir

ob=(1) /somewhere/target
fl=(1) ../src/http/parse.c
fn=(1) http_parse
0 100
fi=(2) ../src/mem/span.h
0 20
fe=(1)
0 5
cob=(2) /lib/libc.so.6
cfi=(3) ???
cfn=(2) memcpy
calls=10 0
0 60
cfi=(4) ../src/ring/sim.c
cob=(1)
cfn=(3) sim_send
calls=1 0
0 7000
cfn=(4) http_helper
calls=2 0
0 40

fn=(4)
0 40

ob=(2)
fl=(3)
fn=(2)
0 60

ob=(1)
fl=(4)
fn=(3)
0 7000

fl=(5) ../examples/arena.c
fn=(5) pipeline
0 11
"""


class Callgrind(unittest.TestCase):
    def test_costs_by_part(self):
        costs = callgrind.attribute(callgrind.parse(PROFILE))
        self.assertEqual(costs, {("http", "http_parse"): 185, ("http", "http_helper"): 40, ("app", "pipeline"): 11})


if __name__ == "__main__":
    unittest.main()
