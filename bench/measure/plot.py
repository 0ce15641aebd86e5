"""One picture, when gnuplot is there: server CPU per request by arm, with its range over the rounds."""
import shutil
import subprocess
from pathlib import Path

from measure import report

SCRIPT = """set terminal svg size 1000,{height} font "sans,11"
set output "{out}"
set title "server CPU per request, one core shared (us; bars: median, lines: range over the rounds)"
set style fill solid 0.4
set yrange [{rows}:-0.7]
set xrange [0:*]
set grid xtics
unset key
set ytics ({labels})
plot "{data}" using ($2/2):0:($2/2):(0.35) with boxxyerrorbars lc rgb "#4477aa", \\
     "{data}" using 2:0:3:4 with xerrorbars pt 7 ps 0.4 lc rgb "#222222"
"""


def rows_of(runs):
    """[(label, median, min, max)]"""
    rows = []
    for phase in ("backends", "presets", "switches"):
        for key, here in report.cells(runs, phase):
            for arm in report.arms_of(here):
                values = [v for v in report.by_round(here, arm, "cpu_us") if v is not None]
                if values:
                    rows.append((f"{key[0]} {key[1]}: {arm}", report.middle(here, arm, "cpu_us"), min(values), max(values)))
    return rows


def draw(runs, folder):
    """The name of the picture, or None when there is no gnuplot, nothing to draw, or gnuplot failed."""
    rows = rows_of(runs)
    if shutil.which("gnuplot") is None or not rows:
        return None
    folder = Path(folder)
    data, out = folder / "cpu.dat", folder / "cpu.svg"
    data.write_text("".join(f'"{label}" {mid} {low} {high}\n' for label, mid, low, high in rows), encoding="ascii")
    labels = ", ".join(f'"{label}" {at}' for at, (label, *_) in enumerate(rows))
    script = SCRIPT.format(height=80 + 18 * len(rows), out=out, rows=len(rows) - 0.3, labels=labels, data=data)
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=False)
    return out.name if done.returncode == 0 else None
