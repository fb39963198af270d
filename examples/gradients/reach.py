#!/usr/bin/env python3
"""How many steps does each network carry a symbol? The rule of thumb: an RNN about 7, an LSTM about 100.

    python examples/gradients/reach.py --out reach.png

The network reads a symbol, then blanks, and must name the symbol after the last of them. For each network and each gap
one training from scratch; it ends when 99 % are right, or after the last update.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from _recall import NETWORKS, Recaller, batch, share_right

import rnncore
from rnncore import optim
from rnncore.nn import functional as F


def train(name: str, gap: int, updates: int, seed: int) -> tuple[float, int]:
    """The share that is right at the end, and after how many updates."""
    rng, model = np.random.default_rng(seed), Recaller(name, seed)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    share = 0.0
    for update in range(1, updates + 1):
        x, symbols = batch(rng, gap, 32)
        optimizer.zero_grad()
        F.cross_entropy(model(x), symbols).backward()
        optimizer.step(clip_norm=1.0)
        if update % 50 == 0:
            share = share_right(model, gap)
            if share > 0.99:
                break
    return share, update


def main() -> None:
    """Trains every network at every gap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaps", type=int, nargs="+", default=[5, 10, 20, 50, 100, 200])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: one gap")
    arguments = parser.parse_args()
    if arguments.threads:
        rnncore.set_num_threads(arguments.threads)
    gaps, updates = ([30], 400) if arguments.quick else (arguments.gaps, arguments.updates)
    shares: dict[str, list[float]] = {}
    for name in arguments.networks:
        shares[name] = []
        for gap in gaps:
            start = time.perf_counter()
            share, update = train(name, gap, updates, arguments.seed)
            shares[name].append(share)
            print(f"{name:18} gap {gap:3}: {share:6.1%} right after {update:4} updates, "
                  f"{time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
    reach = {
        name: max((gap for gap, share in zip(gaps, values, strict=True) if share > 0.9), default=0)
        for name, values in shares.items()
    }
    for name, gap in reach.items():
        print(f"{name:18} learns gaps up to {gap}")
    if arguments.out:
        draw(reach, f"Recall of one of 8 symbols, 64 units, at most {updates} updates", arguments.out)


def draw(reach: dict[str, int], title: str, out: Path) -> None:
    """A bar for each network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(list(reach)[::-1], list(reach.values())[::-1], color="#1f4e8c")
    axes.bar_label(bars, padding=3)
    axes.margins(x=0.1)
    axes.set(xlabel="largest gap that is learnt (steps)", title=title)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
