#!/usr/bin/env python3
"""The adding problem: which recurrent networks remember two numbers over 150 steps?

    python examples/gradients/adding_problem.py --out adding.png

Each step gives a number from U[0, 1] and a mark; two steps are marked, one in each half, and after the last step the
network must give the sum of the two marked numbers (Hochreiter & Schmidhuber 1997; as in Le, Jaitly & Hinton 2015).
Answering 1 whatever comes has a mean squared error of 0.167: a network that does better remembers. A tanh RNN does not,
an LSTM, a GRU and the same RNN with ReLU and an identity matrix to begin with (IRNN) do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import rnncore
from rnncore import Tensor, nn, optim
from rnncore.nn import Layer

BASELINE = 1 / 6  # the variance of the sum of two numbers from U[0, 1]
HIDDEN = 64
NETWORKS = {
    "tanh RNN": ({"cell": "rnn-tanh"}, {}, 1e-3, 1.0),
    "IRNN": ({"cell": "rnn-relu"}, {"init": "identity"}, 1e-3, 1.0),
    "GRU": ({"cell": "gru"}, {"init": "orthogonal", "chrono": 150}, 3e-3, 1.0),
    "LSTM": ({"cell": "lstm"}, {"init": "orthogonal", "chrono": 150}, 3e-3, 1.0),
}


def batch(rng: np.random.Generator, steps: int, size: int) -> tuple[Tensor, Tensor]:
    """Inputs (T, N, 2) of numbers and marks, and the sums (N, 1)."""
    numbers = rng.random((steps, size), dtype=np.float32)
    marks = np.zeros((steps, size), dtype=np.float32)
    rows = np.arange(size)
    marks[rng.integers(0, steps // 2, size), rows] = 1
    marks[rng.integers(steps // 2, steps, size), rows] = 1
    return Tensor(np.stack([numbers, marks], axis=2)), Tensor((numbers * marks).sum(axis=0)[:, None])


class Adder(nn.Module):
    """A recurrent layer, and a linear unit that reads its last state."""

    def __init__(self, layer: dict[str, str], options: dict[str, object], generator: rnncore.Generator) -> None:
        super().__init__()
        self.rnn = nn.Recurrent(2, [Layer(layer["cell"], HIDDEN)], generator=generator, **options)  # type: ignore[arg-type]
        self.output = nn.Linear(HIDDEN, 1, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """X (T, N, 2) -> (N, 1)."""
        return self.output(self.rnn(x)[1]["h_l0"])


def train(name: str, length: int, updates: int, every: int, seed: int) -> list[tuple[int, float]]:
    """(update, mean squared error on fresh sequences) every so often."""
    layer, options, lr, clip = NETWORKS[name]
    rng = np.random.default_rng(seed)
    model = Adder(layer, options, rnncore.Generator(seed))
    optimizer = optim.Adam(model.parameters(), lr=lr)
    held_out = batch(np.random.default_rng(999), length, 500)
    curve = []
    for update in range(updates + 1):
        if update % every == 0:
            with rnncore.no_grad():
                error = ((model(held_out[0]) - held_out[1]) ** 2).mean().item()
            curve.append((update, error))
            if error < BASELINE / 100:
                break
        x, target = batch(rng, length, 50)
        optimizer.zero_grad()
        ((model(x) - target) ** 2).mean().backward()
        optimizer.step(clip_norm=clip)
    return curve


def draw(curves: dict[str, list[tuple[int, float]]], length: int, path: Path) -> None:
    """Error against updates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    axes.axhline(BASELINE, color="grey", linestyle=":", label="always answering 1")
    for name, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=name)
    axes.set(xlabel="updates", ylabel="mean squared error", title=f"Adding problem, T = {length}", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    """Trains the four networks and draws their curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=150, help="T, steps of a sequence")
    parser.add_argument("--updates", type=int, default=6000)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: T = 20, 300 updates")
    arguments = parser.parse_args()
    if arguments.threads:
        rnncore.set_num_threads(arguments.threads)
    length, updates = (20, 300) if arguments.quick else (arguments.length, arguments.updates)
    curves = {}
    for name in arguments.networks:
        start = time.perf_counter()
        curves[name] = train(name, length, updates, 100, arguments.seed)
        update, error = curves[name][-1]
        verdict = "solved" if error < BASELINE / 10 else "not solved"
        print(
            f"{name:9} {error:.5f} after {update:5} updates, {time.perf_counter() - start:.0f} s: {verdict}", flush=True
        )
    print(f"always answering 1: {BASELINE:.5f}")
    if arguments.out:
        draw(curves, length, arguments.out)


if __name__ == "__main__":
    main()
