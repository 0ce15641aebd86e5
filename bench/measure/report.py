"""From the records of a study to tables and sentences. Pure: records in, text out.

Figures of an arm are paired by round with those of the arm it is compared with; the noise floor of a cell is what the arm
"again" (the default, started a second time) shows against the default in the same rounds.
"""
from statistics import mean, median

from measure import sums, table
from measure.study import BODIES, NULL_ARM, ONE_CORE, RIVAL, TWO_CORES, WORKLOADS

FLOOR_MIN = 0.01  # no ratio of CPU times is believed to the last percent, whatever one A/A arm says


def cells(runs, phase):
    """[(key, runs)] by workload, connections and placement, in the order of measurement."""
    found = {}
    for run in runs:
        if run["phase"] == phase:
            found.setdefault((run["workload"], run["connections"], run["placement"]), []).append(run)
    return list(found.items())


def arms_of(runs):
    return list(dict.fromkeys(run["arm"] for run in runs))


def by_round(runs, arm, figure):
    """The mean of the arm's runs in each round; None where there is none."""
    rounds = sorted({run["round"] for run in runs})
    values = []
    for number in rounds:
        here = [run[figure] for run in runs if run["arm"] == arm and run["round"] == number and run.get(figure) is not None]
        values.append(mean(here) if here else None)
    return values


def middle(runs, arm, figure):
    values = [run[figure] for run in runs if run["arm"] == arm and run.get(figure) is not None]
    return median(values) if values else None


def ratios(runs, arm, base, figure="cpu_us"):
    return sums.paired_ratios(by_round(runs, arm, figure), by_round(runs, base, figure))


def floor_of(runs, base="uring"):
    null = ratios(runs, NULL_ARM, base)
    return max(FLOOR_MIN, sums.noise_floor(null)) if null else None


def name_of(key):
    workload, connections, placement = key
    return f"{workload}, {connections} connections, {placement}"


def spread(values):
    values = [value for value in values if value is not None]
    return f"{min(values):.3g}..{max(values):.3g}" if values else "-"


# ------------------------------------------------------------------------------------------------------- tables ----

COST_COLUMNS = ["arm", "CPU us/request", "min..max", "user", "system", "ratio to uring", "95 %", "generator's us", "requests/s"]
CONDUCT_COLUMNS = ["arm", "system calls/request", "completions/turn", "switches/1000 requests", "RSS anonymous", "RSS shared"]


def mib(value):
    return None if value is None else f"{value / 2**20:.1f} MiB"


def cost_row(runs, arm, base="uring"):
    span = sums.interval(ratios(runs, arm, base)) if arm != base and ratios(runs, arm, base) else None
    chosen = [run for run in runs if run["arm"] == arm]
    return [arm, middle(runs, arm, "cpu_us"), spread(by_round(runs, arm, "cpu_us")), middle(runs, arm, "user_us"),
            middle(runs, arm, "system_us"), f"{span.mid:.3f}" if span else None,
            f"{span.low:.3f}..{span.high:.3f}" if span else None,
            median(run["generator"]["cpu"]["per_request_us"] for run in chosen),
            f"{median(run['requests'] / run['seconds'] for run in chosen):,.0f}"]


def conduct_row(runs, arm):
    last = [run for run in runs if run["arm"] == arm][-1]
    return [arm, middle(runs, arm, "calls_per_request"), middle(runs, arm, "completions_per_turn"),
            middle(runs, arm, "switches") * 1000, mib(last["memory"]["anonymous"]), mib(last["memory"]["shared"])]


def backend_tables(runs, phase, base="uring"):
    for key, here in cells(runs, phase):
        floor = floor_of(here, base)
        heading = name_of(key) + (f"; noise floor +-{floor * 100:.1f} % (A/A)" if floor is not None else "")
        yield "\n".join((heading, table.render(COST_COLUMNS, [cost_row(here, arm, base) for arm in arms_of(here)]), "",
                         table.render(CONDUCT_COLUMNS, [conduct_row(here, arm) for arm in arms_of(here)])))


def calls_by_name(runs, arm, which):
    """{name: calls per request} over all runs of the arm."""
    chosen = [run for run in runs if run["arm"] == arm and run.get(which)]
    requests = sum(run["requests"] for run in chosen) or 1
    names = dict.fromkeys(name for run in chosen for name in run[which])
    return {name: sum(run[which].get(name, 0) for run in chosen) / requests for name in names}


def call_tables(runs):
    columns = ["arm", "calls/request, own", "kernel's", "worst name, apart by", "completions/turn", "utilisation", "requests/s"]
    for key, here in cells(runs, "calls"):
        rows = []
        for arm in arms_of(here):
            kernel = calls_by_name(here, arm, "kernel_calls")
            worst = worst_difference(here, arm)
            rates = [run["requests"] / run["seconds"] for run in here if run["arm"] == arm]
            bound = any(run.get("generator_bound") for run in here if run["arm"] == arm)
            rows.append([arm, sum(calls_by_name(here, arm, "own_calls").values()), sum(kernel.values()) if kernel else None,
                         f"{worst[0]} {worst[1]:.2%}" if worst else None, middle(here, arm, "completions_per_turn"),
                         f"{middle(here, arm, 'utilisation') * 100:.0f} %",
                         f"{median(rates):,.0f}" + (" (generator-bound)" if bound else "")])
        yield name_of(key) + "\n" + table.render(columns, rows) + "\n" + names_lines(here)


def names_lines(runs):
    lines = []
    for arm in arms_of(runs):
        calls = calls_by_name(runs, arm, "kernel_calls") or calls_by_name(runs, arm, "own_calls")
        whose = "kernel" if calls_by_name(runs, arm, "kernel_calls") else "own count"
        big = sorted(((n, name) for name, n in calls.items() if n >= 0.0005), reverse=True)
        lines.append(f"  {arm} by name ({whose}): " + ", ".join(f"{name} {table.number(n)}" for n, name in big))
    return "\n".join(lines)


def worst_difference(runs, arm):
    """(name, |own - kernel| / all of the kernel's calls) of the name that differs most, or None without a kernel count."""
    kernel, own = calls_by_name(runs, arm, "kernel_calls"), calls_by_name(runs, arm, "own_calls")
    total = sum(kernel.values())
    if not total:
        return None
    apart = {name: abs(kernel.get(name, 0) - own.get(name, 0)) / total for name in kernel | own}
    name = max(apart, key=apart.get)
    return name, apart[name]


GENERATOR_COLUMNS = ["server and generator", "server's CPU us/request", "system calls/request", "generator's CPU us/request"]


def generator_table(runs):
    rows = []
    chosen = [run for run in runs if run["phase"] == "generators"]
    keys = dict.fromkeys((run["workload"], run["placement"], run["arm"], run["generator_name"]) for run in chosen)
    for key in keys:
        here = [run for run in chosen if (run["workload"], run["placement"], run["arm"], run["generator_name"]) == key]
        rows.append([f"{key[0]}, {key[1]}: {key[2]} under {key[3]}",
                     *(middle(here, key[2], figure) for figure in ("cpu_us", "calls_per_request", "generator_cpu_us"))])
    return table.render(GENERATOR_COLUMNS, rows) if rows else None


# ---------------------------------------------------------------------------------------------------- sentences ----

def backend_verdicts(runs):
    for key, here in cells(runs, "backends"):
        floor = floor_of(here)
        if floor is None:
            continue
        yield f"{name_of(key)}: " + sums.verdict("uring", "epoll", ratios(here, "uring", "epoll"), floor)
        for arm in ("uring", "epoll"):
            if RIVAL in arms_of(here):
                yield f"{name_of(key)}: " + sums.verdict(arm, RIVAL, ratios(here, arm, RIVAL), floor)


def predictions(runs, null_call_ns):
    for key, here in cells(runs, "backends"):
        calls = [middle(here, arm, "calls_per_request") for arm in ("epoll", "uring")]
        saved_us = sums.paired_differences(by_round(here, "epoll", "cpu_us"), by_round(here, "uring", "cpu_us"))
        if None not in calls and saved_us:
            yield f"{name_of(key)}: " + sums.prediction(null_call_ns, calls[0] - calls[1], saved_us)


def call_verdicts(runs):
    for key, here in cells(runs, "calls"):
        own = [sum(calls_by_name(here, arm, "own_calls").values()) for arm in ("uring", "epoll")]
        sentence = f"{name_of(key)}: uring makes {table.number(own[0])} system calls per request, epoll {table.number(own[1])}"
        worst = [worst_difference(here, arm) for arm in ("uring", "epoll")]
        if None not in worst:
            sentence += f"; own count and kernel's differ by at most {max(w[1] for w in worst):.2%} per call name"
        yield sentence + "."


def variant_verdicts(runs, phase):
    for key, here in cells(runs, phase):
        floor = floor_of(here)
        if floor is None:
            continue
        for arm in arms_of(here):
            if arm not in ("uring", NULL_ARM):
                calls = middle(here, arm, "calls_per_request")
                base = middle(here, "uring", "calls_per_request")
                yield (f"{name_of(key)}: " + sums.verdict(arm, "the default", ratios(here, arm, "uring"), floor)[:-1] +
                       f"; system calls per request {table.number(calls)} against {table.number(base)}.")


def zero_copy_counts(runs, arm):
    """(zero-copy requests per request, share of them that the kernel copied after all, refused ones)."""
    rings = [run["ring"] for run in runs if run["arm"] == arm and run.get("ring")]
    sends, copied, refused = (sum(ring.get(name, 0) for ring in rings) for name in ("sends_zc", "sends_zc_copied", "sends_zc_fallback"))
    requests = sum(run["requests"] for run in runs if run["arm"] == arm) or 1
    return sends / requests, copied / sends if sends else 0, refused


def zero_copy_verdicts(runs):
    for key, here in cells(runs, "zero-copy"):
        floor = floor_of(here)
        if floor is None:
            continue
        for arm in arms_of(here):
            if arm in ("uring", NULL_ARM):
                continue
            sends, copied, refused = zero_copy_counts(here, arm)
            rates = [median(run["requests"] / run["seconds"] for run in here if run["arm"] == name) for name in (arm, "uring")]
            yield (f"{name_of(key)}: " + sums.verdict(arm, "send=copy", ratios(here, arm, "uring"), floor)[:-1] +
                   f"; {rates[0]:,.0f} requests/s against {rates[1]:,.0f}; {sends:.2f} zero-copy sends per request, of which the "
                   f"kernel copied {copied:.0%} after all" + (f"; {refused} were refused" if refused else "") + ".")


HEAD = """Load: bench/load on its own io_uring, closed loop; do not read its latency as a service's latency. CPU is the server's, all
of its threads; user and system are estimated from timer ticks. Placements: "{one}": server and generator pinned to one CPU
(steady CPU ratios); "{two}": one CPU each (system calls per request; CPU there varies too much to compare). Policy batch: a
wake-up does not interrupt who runs, so every wake handles a full batch; with policy normal the generator interrupts an epoll
server after each of its sends, and a comparison is mostly of that (docs/measuring.md)."""


def render(study, env_line, null_call, mode):
    """The whole report."""
    parts = [f"ringmain compare ({mode}): {env_line}", HEAD.format(one=ONE_CORE, two=TWO_CORES)]
    if study.problems:
        parts.append("INVALID: these figures mean nothing until this is mended:\n" + "\n".join(f"  - {p}" for p in study.problems))
    workloads = list(dict.fromkeys(run["workload"] for run in study.runs if "workload" in run))
    parts.append("\n".join(f"{name}: {(WORKLOADS | BODIES)[name].words}" for name in workloads))
    sections = [
        ("uring against epoll" + f" and {RIVAL}" * (RIVAL in arms_of(study.runs)), list(backend_verdicts(study.runs))),
        ("predicted against measured", list(predictions(study.runs, null_call["ns"]))),
        ("system calls", list(call_verdicts(study.runs))),
        ("presets: what older kernels and a naive port would get", list(variant_verdicts(study.runs, "presets"))),
        ("sends without a copy", list(zero_copy_verdicts(study.runs))),
        ("one switch off at a time", list(variant_verdicts(study.runs, "switches"))),
    ]
    parts += [f"## {title}\n" + "\n".join(f"- {s}" for s in sentences) for title, sentences in sections if sentences]
    for title, phase in (("backends", "backends"), ("presets", "presets"), ("switches", "switches"),
                         ("sends without a copy", "zero-copy")):
        found = list(backend_tables(study.runs, phase))
        parts += [f"## table: {title}"] + found if found else []
    found = list(call_tables(study.runs))
    parts += ["## table: system calls"] + found if found else []
    generators = generator_table(study.runs)
    parts += ["## cross-check: generators (wrk sends one by one and wakes the server for each; load sends all that is due at once)",
              generators] if generators else []
    if study.notes:
        parts.append("notes:\n" + "\n".join(f"  - {note}" for note in study.notes))
    if study.problems:
        parts.append(f"INVALID ({len(study.problems)} reasons above)")
    return "\n\n".join(parts) + "\n"
