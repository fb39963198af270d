#!/usr/bin/env python3
"""Measures rnncore and its peers alternately in one run: same machine, threads, shapes and dtype (float32).

    python bench/compare.py --quick                        # a smoke run
    python bench/compare.py --json compare.json --plot compare.png
    python bench/compare.py --rows train --cells lstm,gru --threads 1
    python bench/compare.py --rows "(35,20,2,200)"         # any part of a row's name

Each library lives in its own process; the parent asks one, pauses, asks the other, and reverses the order every round.
A number is the median over the rounds of a turn's median repetition, ± half the distance between the quartiles; the
ratio is the median over the rounds of the two libraries' turns beside each other.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rncompare.cases import CELLS, select
from rncompare.measure import Plan, WorkerError, measure, workers
from rncompare.peak import PeakProbe
from rncompare.picture import save_plot
from rncompare.report import Report, save_json, show

QUICK = Plan(rounds=2, turn_seconds=0.02, pause_seconds=0.02, warm_up_seconds=0.0)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="train, infer, model, sample or parts of names, separated by ';'")
    parser.add_argument("--cells", default=",".join(CELLS), help="separated by ',' (default: all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for every library")
    parser.add_argument("--rounds", type=int, help=f"turns of each library (default: {Plan.rounds})")
    parser.add_argument("--peers", default="torch", help="torch, onnxruntime, separated by ',' (default: torch)")
    parser.add_argument("--quick", action="store_true", help="few short turns: shows that it runs, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a bar chart (PNG, SVG or PDF)")
    args = parser.parse_args(argv)
    if args.threads < 1 or (args.rounds is not None and args.rounds < 1):
        parser.error("[compare] --threads, --rounds: expected at least 1")
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the comparison; 1 if any row failed."""
    args = parse(argv)
    console = Console(width=100) if not sys.stdout.isatty() else Console()
    try:
        cases = select([row for row in args.rows.split(";") if row], args.cells.split(","))
    except ValueError as error:
        console.print(str(error), markup=False)
        return 2
    plan = QUICK if args.quick else Plan()
    if args.rounds is not None:
        plan = Plan(args.rounds, plan.turn_seconds, plan.pause_seconds, plan.warm_up_seconds)
    probe = PeakProbe.build(args.threads)
    libraries = ["rnncore", *(peer for peer in args.peers.split(",") if peer)]
    try:
        with workers(libraries, args.threads) as processes:
            versions = {worker.library: worker.version for worker in processes}
            report = Report(args.threads, plan.rounds, versions, probe.label)
            for index, case in enumerate(cases):
                with console.status(f"{index + 1}/{len(cases)} {case.name}"):
                    row = measure(case, processes, plan)
                    row.peak_gflops = probe.measure(0.02 if args.quick else 0.2)
                report.rows.append(row)
    except WorkerError as error:
        console.print(str(error), markup=False)
        return 1
    show(report, console)
    if args.json:
        save_json(report, args.json)
    if args.plot:
        save_plot(report, args.plot)
    return 1 if any(row.errors for row in report.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
