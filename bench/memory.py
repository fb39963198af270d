#!/usr/bin/env python3
"""Memory of a training step beside PyTorch's, and whether it grows (Linux).

    python bench/memory.py                 # a few minutes
    python bench/memory.py --quick         # a smoke run

A process a library and row. Its baseline is taken when the library is loaded and has done one tiny training step; the
number is how far the resident size rose above it in 20 steps: parameters, gradients, activations, packed weights,
workspace. "saved" is what the forward pass must keep for backward, by the equations: floats per unit and step.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

from rncompare.cases import Case, all_cases
from rncompare.measure import Worker

# What backward reads besides the input and the weights. LSTM: four gates, c, h. GRU (reset-after): r, z, n,
# W_hn h + b_hn, h. Elman: h. The gates' gradients take the place of the gates.
SAVED = {
    "lstm": (6, "i f g o, c, h"),
    "gru": (5, "r z n, W_hn h + b_hn, h"),
    "rnn-tanh": (2, "pre-activation's gradient, h"),
}
TINY = {"T": 2, "N": 2, "L": 1, "H": 16}


@dataclass(frozen=True)
class Use:
    """MiB above the baseline."""

    peak: float
    growth: float  # of the resident size, from the middle of the steps to their end


def use_of(library: str, case: Case, threads: int, steps: int) -> Use:
    """Runs `case` `steps` times in a process of its own."""
    worker = Worker(library, threads)
    try:
        worker.ask(do="prepare", case=replace(case, **TINY).as_dict(), warm_up=0.0)
        base = worker.ask(do="memory", restart=True)["now_mib"]
        worker.ask(do="prepare", case=case.as_dict(), warm_up=0.0)
        worker.ask(do="run", repeats=steps // 2)
        middle = worker.ask(do="memory")["now_mib"]
        worker.ask(do="run", repeats=steps - steps // 2)
        end = worker.ask(do="memory")
    finally:
        worker.close()
    return Use(end["peak_mib"] - base, end["now_mib"] - middle)


def main() -> None:
    """Prints the peaks of both libraries, then the growth over many steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one small row: shows that it runs")
    args = parser.parse_args()
    cases = [c for c in all_cases() if c.work == "model" or (c.work == "train" and c.N > 1)]
    steps, many = 20, 10_000
    if args.quick:
        cases, steps, many = [Case("train", "lstm", 50, 32, 1, 128)], 4, 20
    print("peak of a training step above the loaded library, MiB")
    print(f"{'row':46} {'saved':>6} {'rnncore':>8} {'torch':>8}")
    for case in cases:
        ours, theirs = (use_of(library, case, args.threads, steps).peak for library in ("rnncore", "torch"))
        saved = SAVED[case.cell][0] * case.T * case.N * case.H * case.L * 4 / 2**20
        print(f"{case.name:46} {saved:6.0f} {ours:8.0f} {theirs:8.0f}{'' if ours <= theirs else '   more'}", flush=True)
    print(f"\nresident size over {many:,} steps: growth of the second half, MiB")
    for cell in SAVED:
        case = Case("train", cell, 20, 16, 2, 64) if not args.quick else replace(cases[0], cell=cell)
        print(f"{case.name:46} {use_of('rnncore', case, args.threads, many).growth:8.2f}", flush=True)
    print("\nfloats kept per unit and step")
    for cell, (count, what) in SAVED.items():
        print(f"{cell:10} {count}  {what}")


if __name__ == "__main__":
    main()
