#!/usr/bin/env python3
"""Truncated backpropagation: what lies further back than the gradient goes is not learnt.

    python examples/gradients/horizon.py --out horizon.png

An LSTM reads a symbol, then 20 blanks, and must name the symbol. It is trained in chunks of k steps with carried state
(TBPTT(k, k)): at the last step the gradient goes back k steps at most. The state still carries some trace
of the symbol forward, and a readout may find it; but unless k spans the gap, no gradient says that it should be kept.
Five trainings at each k.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from _recall import SYMBOLS, Recaller, batch, share_right

import rnncore
from rnncore import optim
from rnncore.nn import functional as F


def train(horizon: int, gap: int, updates: int, seed: int) -> float:
    """The share that is right after training."""
    rng, model = np.random.default_rng(seed), Recaller("LSTM", seed)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    for update in range(1, updates + 1):
        x, symbols = batch(rng, gap, 32)
        before = x.shape[0] - horizon  # steps that the gradient does not see
        state = None
        if before > 0:
            with rnncore.no_grad():
                _, state = model.rnn(x[:before])
        output, _ = model.rnn(x[max(before, 0) :], state)
        optimizer.zero_grad()
        F.cross_entropy(model.output(output[-1]), symbols).backward()
        optimizer.step(clip_norm=1.0)
        if update % 100 == 0 and share_right(model, gap) > 0.99:
            break
    return share_right(model, gap)


def main() -> None:
    """Trains at each horizon."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gap", type=int, default=20)
    parser.add_argument("--horizons", type=int, nargs="+", default=[5, 10, 15, 19, 20, 21, 30])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: two horizons")
    arguments = parser.parse_args()
    if arguments.threads:
        rnncore.set_num_threads(arguments.threads)
    gap, horizons, updates = arguments.gap, arguments.horizons, arguments.updates
    repeats = 5
    if arguments.quick:
        gap, horizons, updates, repeats = 20, [5, 21], 500, 1
    shares = []
    for horizon in horizons:
        start = time.perf_counter()
        found = [train(horizon, gap, updates, arguments.seed + repeat) for repeat in range(repeats)]
        shares.append(float(np.mean(found)))
        each = " ".join(f"{share:4.0%}" for share in found)
        print(f"horizon {horizon:2}: {shares[-1]:6.1%} right ({each}), {time.perf_counter() - start:.0f} s", flush=True)
    if arguments.out:
        from rnncore.plot import draw_figures
        from rnncore.report import Chart, Curve

        x = np.array(horizons, float)
        chance = Curve("guessing", x, np.full(len(x), 1 / SYMBOLS))
        curve = Curve("LSTM, 64 units", x, np.array(shares), points=True)
        title = f"Recall over a gap of {gap} steps"
        draw_figures([Chart("horizon", title, "right", (curve, chance), x_label="horizon k of TBPTT(k, k)")],
                     arguments.out)  # fmt: skip


if __name__ == "__main__":
    main()
