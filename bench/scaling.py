#!/usr/bin/env python3
"""Does the cost grow as the arithmetic does? One size at a time is doubled; and one thread beside two.

    python bench/scaling.py --plot docs/images/scaling.png
    python bench/scaling.py --quick        # a smoke run

Time of a training step over the operations that its equations ask for: a flat line is perfect. The second table is the
speed of all threads over one, alternating in one run.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rncompare.cases import CELLS, Case
from rncompare.measure import Plan, Worker, measure

LAYER = Case("train", "lstm", 50, 32, 1, 256)
MODEL = Case("model", "lstm", 20, 16, 1, 128, 1000, "sgd")
SWEEPS = {
    "T": (LAYER, (5, 10, 20, 50, 100, 200, 400, 800)),
    "N": (LAYER, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
    "H": (LAYER, (16, 32, 64, 128, 256, 512, 1024)),
    "L": (LAYER, (1, 2, 3, 4, 6, 8)),
    "V": (MODEL, (100, 300, 1000, 3000, 10_000, 30_000)),
}
THREAD_SHAPES = ((100, 32, 1, 256), (50, 64, 3, 512), (35, 20, 2, 650), (50, 50, 2, 128), (20, 8, 1, 32), (5, 1, 1, 16))
PLAN = Plan(rounds=5, turn_seconds=0.2, pause_seconds=0.02, warm_up_seconds=0.1)
QUICK = Plan(rounds=1, turn_seconds=0.01, pause_seconds=0.01, warm_up_seconds=0.0)


def sweep(worker: Worker, plan: Plan, quick: bool) -> Iterator[tuple[str, int, float, float]]:
    """(letter, size, milliseconds, GFLOP/s) of every point."""
    for letter, (case, sizes) in SWEEPS.items():
        for size in sizes[:2] if quick else sizes:
            point = replace(case, **{letter: size})
            seconds = measure(point, [worker], plan).timings["rnncore"].median
            yield letter, size, 1e3 * seconds, point.flops / seconds / 1e9


def plot(points: list[tuple[str, int, float, float]], path: Path) -> None:
    """A panel a letter: time over size, both logarithmic, beside a line that grows as the arithmetic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, panels = plt.subplots(1, len(SWEEPS), figsize=(15, 3.2), constrained_layout=True)
    for panel, (letter, (case, _)) in zip(panels, SWEEPS.items(), strict=True):
        sizes = [size for name, size, _, _ in points if name == letter]
        times = [time for name, _, time, _ in points if name == letter]
        flops = [replace(case, **{letter: size}).flops for size in sizes]
        panel.loglog(sizes, [times[-1] * f / flops[-1] for f in flops], color="0.6", label="as the arithmetic")
        panel.loglog(sizes, times, "o-", color="tab:blue", label="measured")
        panel.set_xlabel(letter)
        shown = sizes[:: 1 + len(sizes) // 7]
        panel.set_xticks(shown, [f"{size:,}" for size in shown], fontsize=8)
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
        rest = {"T": case.T, "N": case.N, "L": case.L, "H": case.H, **({"V": case.V} if case.V else {})}
        panel.set_title(", ".join(f"{k}={v}" for k, v in rest.items() if k != letter), fontsize=9)
    panels[0].set_ylabel("training step, ms")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def threads_table(plan: Plan, threads: int, quick: bool) -> None:
    """Speed of `threads` threads over one."""
    one, team = Worker("rnncore", 1, "one"), Worker("rnncore", threads, "team")
    print(f"\n{'training step':28} {'1 thread':>10} {f'{threads} threads':>10} {'speed-up':>9}")
    try:
        for cell in CELLS[:1] if quick else CELLS:
            for shape in THREAD_SHAPES[-1:] if quick else THREAD_SHAPES:
                case = Case("train", cell, *shape)
                timings = measure(case, [one, team], plan).timings
                a, b = timings["one"].median, timings["team"].median
                print(f"{case.name:28} {1e3 * a:7.2f} ms {1e3 * b:7.2f} ms {a / b:8.2f}x", flush=True)
    finally:
        one.close()
        team.close()


def main() -> None:
    """Prints both tables and writes the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the curves (PNG, SVG or PDF)")
    parser.add_argument("--quick", action="store_true", help="few small points: shows that it runs")
    args = parser.parse_args()
    plan = QUICK if args.quick else PLAN
    worker, points = Worker("rnncore", args.threads), []
    print(f"{'':>2} {'size':>7} {'ms':>9} {'GFLOP/s':>8}")
    try:
        for point in sweep(worker, plan, args.quick):
            points.append(point)
            print(f"{point[0]:>2} {point[1]:7,} {point[2]:9.3f} {point[3]:8.1f}", flush=True)
    finally:
        worker.close()
    threads_table(plan, args.threads, args.quick)
    if args.plot:
        plot(points, args.plot)


if __name__ == "__main__":
    main()
