#!/usr/bin/env python3
"""Eight layers deep: a character model with residual, highway and dense connections, and without any.

    python examples/gradients/deep_stack.py --out deep.png

Each layer of a plain stack reads the one below alone, and eight of them learn no more than the frequencies of the
letters for hundreds of updates. A connection gives the error a shorter way down (`LanguageModel(connection=...)`): the
same stack then trains from the start, and ends lower.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import rnncore
from rnncore import optim
from rnncore.data import Streams, TextCorpus, tinyshakespeare
from rnncore.models import LanguageModel

CONNECTIONS = ("none", "residual", "highway", "dense")


def train(
    corpus: TextCorpus, connection: str, layers: int, hidden: int, updates: int, every: int, seed: int
) -> list[tuple[int, float]]:
    """(update, validation loss in nats per character) every so often."""
    model = LanguageModel(
        vocabulary=corpus.vocabulary,
        hidden_size=hidden,
        num_layers=layers,
        cell="rnn-tanh",
        connection=connection,
        generator=rnncore.Generator(seed),
    )
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    streams = Streams(corpus.train, batch=50, bptt=50)
    valid = corpus.valid[:20001]
    curve: list[tuple[int, float]] = []
    update, state = 0, None
    while True:
        for piece in streams:
            if update % every == 0:
                total, count = model.score(valid, batch=20, chunk=100)
                curve.append((update, total / count))
            if update == updates:
                return curve
            loss, state = model.loss(piece.inputs, piece.targets, state)
            state = model.detach(state)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(clip_norm=1.0)
            update += 1
        state = None


def draw(curves: dict[str, list[tuple[int, float]]], title: str, path: Path) -> None:
    """Validation loss against updates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    for name, curve in curves.items():
        axes.plot(*np.array(curve).T, label=name)
    axes.set(xlabel="updates", ylabel="nats per character (validation)", title=title)
    axes.legend()
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    """Trains the same stack with each connection and draws the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--connections", nargs="+", choices=CONNECTIONS, default=list(CONNECTIONS))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: 60 updates of small layers")
    arguments = parser.parse_args()
    if arguments.threads:
        rnncore.set_num_threads(arguments.threads)
    hidden, updates, every = (32, 60, 60) if arguments.quick else (arguments.hidden, arguments.updates, 50)
    corpus = TextCorpus.from_text(tinyshakespeare().read_text(encoding="utf-8"), level="char", valid=0.1)
    curves = {}
    for connection in arguments.connections:
        start = time.perf_counter()
        curves[connection] = train(corpus, connection, arguments.layers, hidden, updates, every, arguments.seed)
        nats = curves[connection][-1][1]
        print(
            f"{connection:9} {nats:.3f} nats after {updates} updates, {time.perf_counter() - start:.0f} s", flush=True
        )
    if arguments.out:
        draw(curves, f"{arguments.layers} layers of {hidden} tanh units, tinyshakespeare", arguments.out)


if __name__ == "__main__":
    main()
