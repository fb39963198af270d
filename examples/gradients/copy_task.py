#!/usr/bin/env python3
"""The copy task: how far do skip connections through time carry?

    python examples/gradients/copy_task.py --out copy.png

The network reads a few symbols, then blanks, and then must write the symbols down again in their order. Each step of
a tanh RNN weakens what it remembers. With a skip connection of delay d, h_(t-d) enters step t with weights of its own
(`Layer(delays=(d,))`): over a gap of g steps the error passes g / d steps, and longer gaps are learnt.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import rnncore
from rnncore import Tensor, nn, optim
from rnncore.nn import Layer
from rnncore.nn import functional as F

SYMBOLS, REMEMBERED, HIDDEN = 8, 5, 64
BLANK, GO = SYMBOLS, SYMBOLS + 1  # inputs beside the symbols


def batch(rng: np.random.Generator, gap: int, size: int) -> tuple[Tensor, Tensor]:
    """One-hot inputs (T, N, 10) with T = 5 + gap + 5, and the symbols to write, (5, N)."""
    symbols = rng.integers(0, SYMBOLS, (REMEMBERED, size))
    ids = np.full((2 * REMEMBERED + gap, size), BLANK)
    ids[:REMEMBERED] = symbols
    ids[REMEMBERED + gap :] = GO
    return Tensor(np.eye(SYMBOLS + 2, dtype=np.float32)[ids]), Tensor(symbols)


class Copier(nn.Module):
    """A tanh RNN, with or without delays, and a linear layer over the symbols."""

    def __init__(self, delays: tuple[int, ...], generator: rnncore.Generator) -> None:
        super().__init__()
        layer = Layer("rnn-tanh", HIDDEN, delays=delays)
        self.rnn = nn.Recurrent(SYMBOLS + 2, [layer], generator=generator)
        self.output = nn.Linear(HIDDEN, SYMBOLS, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """X (T, N, 10) -> logits of the last five steps, (5, N, 8)."""
        return self.output(self.rnn(x)[0][-REMEMBERED:])


def accuracy(delays: tuple[int, ...], gap: int, updates: int, seed: int) -> float:
    """Share of symbols that are right after training."""
    rng = np.random.default_rng(seed)
    model = Copier(delays, rnncore.Generator(seed))
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(updates):
        x, symbols = batch(rng, gap, 50)
        optimizer.zero_grad()
        F.cross_entropy(model(x).reshape(-1, SYMBOLS), symbols.reshape(-1)).backward()
        optimizer.step(clip_norm=1.0)
    x, symbols = batch(np.random.default_rng(999), gap, 500)
    with rnncore.no_grad():
        return float((model(x).numpy().argmax(axis=2) == symbols.numpy()).mean())


def draw(results: dict[str, list[float]], gaps: list[int], path: Path) -> None:
    """Accuracy against the gap."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    axes.axhline(1 / SYMBOLS, color="grey", linestyle=":", label="guessing")
    for name, values in results.items():
        axes.plot(gaps, values, marker="o", label=name)
    axes.set(
        xlabel="blanks between reading and writing", ylabel="symbols right", title="Copy task, tanh RNN of 64 units"
    )
    axes.legend()
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    """Trains one network for each delay and gap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaps", type=int, nargs="+", default=[5, 10, 20, 40, 80, 160])
    parser.add_argument("--delays", type=int, nargs="+", default=[0, 5, 10], help="0: none")
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: one short gap")
    arguments = parser.parse_args()
    if arguments.threads:
        rnncore.set_num_threads(arguments.threads)
    gaps, delays, updates = arguments.gaps, arguments.delays, arguments.updates
    if arguments.quick:
        gaps, delays, updates = [15], [0, 10], 300
    results: dict[str, list[float]] = {}
    for delay in delays:
        name = f"delay {delay}" if delay else "no delay"
        results[name] = []
        for gap in gaps:
            start = time.perf_counter()
            share = accuracy((delay,) if delay else (), gap, updates, arguments.seed)
            results[name].append(share)
            print(f"{name:9} gap {gap:3}: {share:6.1%} right, {time.perf_counter() - start:.0f} s", flush=True)
    if arguments.out:
        draw(results, gaps, arguments.out)


if __name__ == "__main__":
    main()
