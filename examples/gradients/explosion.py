#!/usr/bin/env python3
"""Exploding gradients in training, and their cure: the same tanh RNN with and without clipping.

    python examples/gradients/explosion.py --out explosion.png

A character model of tinyshakespeare trained by plain SGD. The recurrent weights begin orthogonal, times 1.6: their
spectral radius is 1.6, so a gradient can grow on its way back (Pascanu, Mikolov & Bengio 2013).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import rnncore
from rnncore import inspect
from rnncore.data import Streams, Vocabulary, tinyshakespeare
from rnncore.models import LanguageModel
from rnncore.optim import SGD


def train(clip: float, lr: float, hidden: int, updates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Loss and gradient norm before clipping at each update; it ends early where they are not finite."""
    text = tinyshakespeare().read_text(encoding="utf-8")
    vocabulary = Vocabulary.build(text, level="char")
    streams = Streams(vocabulary.encode(text), batch=32, bptt=50)
    model = LanguageModel(
        vocabulary=vocabulary, cell="rnn-tanh", hidden_size=hidden, num_layers=1, init="orthogonal",
        generator=rnncore.Generator(seed),
    )  # fmt: skip
    with rnncore.no_grad():
        model.rnn.weight_hh_l0.mul_(1.6)
    [spectrum] = inspect.recurrent_spectra(model)
    assert abs(spectrum.radius - 1.6) < 0.01
    optimizer = SGD(model.parameters(), lr=lr)
    losses, norms, state = [], [], None
    for update in range(updates):
        piece = streams.chunk(update % len(streams))
        loss, state = model.loss(piece.inputs, piece.targets, state)
        state = model.detach(state)
        optimizer.zero_grad()
        loss.backward()
        norms.append(optimizer.step(clip_norm=clip))
        losses.append(loss.item())
    return np.array(losses), np.array(norms)


def main() -> None:
    """Trains twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--lr", type=float, default=4.0)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: 40 updates")
    arguments = parser.parse_args()
    if arguments.threads:
        rnncore.set_num_threads(arguments.threads)
    hidden, updates = (128, 40) if arguments.quick else (128, arguments.updates)
    runs = {}
    for name, clip in (("without clipping", 0.0), (f"clipped at {arguments.clip:g}", arguments.clip)):
        start = time.perf_counter()
        losses, norms = runs[name] = train(clip, arguments.lr, hidden, updates, arguments.seed)
        last = losses[-max(updates // 10, 1) :].mean()
        print(f"{name:17} loss {last:.3f} over the last tenth, largest {losses.max():.1f}; gradient norm: "
              f"median {np.median(norms):.3g}, largest {norms.max():.3g}; {time.perf_counter() - start:.0f} s",
              flush=True)  # fmt: skip
    if arguments.out:
        from rnncore.plot import draw_figures
        from rnncore.report import Chart, Curve

        x = np.arange(1.0, updates + 1)
        charts = [
            Chart("loss", "Loss", "nats", tuple(Curve(name, x, found[0]) for name, found in runs.items()), log_y=True),
            Chart("gradient-norm", "Gradient norm before clipping", "norm",
                  tuple(Curve(name, x, found[1]) for name, found in runs.items()), log_y=True),
        ]  # fmt: skip
        draw_figures(charts, arguments.out)


if __name__ == "__main__":
    main()
