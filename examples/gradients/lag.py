#!/usr/bin/env python3
"""Gradient norm against the lag, before and after training: tanh RNN, IRNN, GRU, LSTM, and a tanh RNN with a delay.

    python examples/gradients/lag.py --out lag.png

Character models of tinyshakespeare, 128 units. The instrument is `rnncore.inspect.gradient_lag`: ||dL_t/dh_(t-k)|| for
the loss of the last of 100 steps, the mean of 32 texts; "reach" is the largest lag at which it is a hundredth of that
at lag 0.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import rnncore
from rnncore import Tensor, inspect, nn, optim
from rnncore.data import Streams, Vocabulary, tinyshakespeare
from rnncore.nn import Layer
from rnncore.nn import functional as F

NETWORKS = {
    "tanh RNN": {"layer": ("rnn-tanh", ())},
    "tanh RNN, delay 10": {"layer": ("rnn-tanh", (10,))},
    "IRNN": {"layer": ("rnn-relu", ()), "init": "identity"},
    "GRU": {"layer": ("gru", ())},
    "LSTM": {"layer": ("lstm", ()), "forget_bias": 1.0},
}


class Predictor(nn.Module):
    """Embedding, one recurrent layer, logits."""

    def __init__(self, symbols: int, hidden: int, name: str, seed: int) -> None:
        super().__init__()
        options = dict(NETWORKS[name])
        cell, delays = options.pop("layer")
        generator = rnncore.Generator(seed)
        self.embedding = nn.Embedding(symbols, 32, generator=generator)
        self.rnn = nn.Recurrent(32, [Layer(cell, hidden, delays=delays)], generator=generator, **options)  # type: ignore[arg-type]
        self.output = nn.Linear(hidden, symbols, generator=generator)

    def losses(self, ids: np.ndarray, targets: np.ndarray) -> Tensor:
        """(T, N)."""
        logits = self.output(self.rnn(self.embedding(Tensor(ids)))[0])
        flat = F.cross_entropy(logits.reshape(-1, logits.shape[2]), Tensor(targets.ravel()), reduction="none")
        return flat.reshape(*ids.shape)


def main() -> None:
    """Trains the networks and measures each twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: 15 updates of 16 units")
    arguments = parser.parse_args()
    if arguments.threads:
        rnncore.set_num_threads(arguments.threads)
    hidden, updates = (16, 15) if arguments.quick else (128, arguments.updates)
    text = tinyshakespeare().read_text(encoding="utf-8")
    vocabulary = Vocabulary.build(text, level="char")
    streams = Streams(vocabulary.encode(text), batch=32, bptt=100)
    piece = streams.chunk(len(streams) - 1)
    curves: dict[str, list[tuple[str, np.ndarray]]] = {"before training": [], f"after {updates} updates": []}
    for name in arguments.networks:
        start = time.perf_counter()
        model = Predictor(len(vocabulary), hidden, name, arguments.seed)
        optimizer = optim.Adam(model.parameters(), lr=2e-3)
        reaches = []
        for when in curves:
            if when.startswith("after"):
                for update in range(updates):
                    chunk = streams.chunk(update % (len(streams) - 1))
                    optimizer.zero_grad()
                    loss = model.losses(chunk.inputs, chunk.targets).mean()
                    loss.backward()
                    optimizer.step(clip_norm=1.0)
            [profile] = inspect.gradient_lag(model, lambda m=model: m.losses(piece.inputs, piece.targets))
            curves[when].append((name, profile.mean() / profile.mean()[0]))
            reaches.append(profile.reach())
        print(f"{name:18} reach {reaches[0]:3} steps before, {reaches[1]:3} after training (loss {loss.item():.2f}), "
              f"{time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
    if arguments.out:
        from rnncore.plot import draw_figures
        from rnncore.report import Chart, Curve

        charts = [
            Chart(
                "lag", when, "norm over that at lag 0",
                tuple(Curve(name, np.arange(60.0), np.maximum(norms[:60], 1e-8)) for name, norms in found),
                log_y=True, x_label="lag k (steps)",
            )
            for when, found in curves.items()
        ]  # fmt: skip
        draw_figures(charts, arguments.out)


if __name__ == "__main__":
    main()
