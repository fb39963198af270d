#!/usr/bin/env python3
"""How far back must the gradient go? TBPTT(k1, k2) on real text: horizon k2 against perplexity.

    python examples/gradients/truncation.py --out truncation.png                     # characters of tinyshakespeare
    python examples/gradients/truncation.py --level word --text ptb.train.txt --valid ptb.valid.txt --characters 0

Every network is trained several times, each time with another k2. All trainings make the same updates from the same k1
new steps, begin with the same weights and carry their state through the whole text; the one thing that differs is how
many steps the gradient of an update goes back, which are replayed with the current weights. Beside them the usual
chunks, k1 = k2: the text is read once for each pass then, but longer chunks make fewer updates.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np

import rnncore
from rnncore import Generator
from rnncore.data import TextCorpus, read_text, tinyshakespeare
from rnncore.models import LanguageModel
from rnncore.train import TrainConfig, Trainer

NETWORKS = {"LSTM": {"cell": "lstm"}, "tanh RNN": {"cell": "rnn-tanh", "init": "orthogonal"}}


def read(arguments: argparse.Namespace) -> TextCorpus:
    """The beginning of the text and what validates it."""
    text = read_text(arguments.text)
    text = text[: arguments.characters] if arguments.characters else text
    if arguments.valid is None:
        return TextCorpus.from_text(text, level=arguments.level)
    valid = read_text(arguments.valid)
    corpus = TextCorpus.from_text(text, level=arguments.level, valid=0.0)
    return TextCorpus(corpus.vocabulary, corpus.train, corpus.vocabulary.encode(valid))


def train(corpus: TextCorpus, network: str, new: int, back: int, arguments: argparse.Namespace) -> float:
    """The best perplexity on the validation text; one line says it."""
    start = time.perf_counter()
    model = LanguageModel(
        vocabulary=corpus.vocabulary, hidden_size=arguments.hidden, num_layers=1, generator=Generator(arguments.seed),
        **NETWORKS[network],
    )  # fmt: skip
    config = TrainConfig(
        epochs=arguments.epochs, batch=arguments.batch, bptt=new, bptt_back=back, lr=arguments.lr, clip_norm=1.0
    )
    result = Trainer(model, corpus, config).fit()
    nats = float(result.best_valid or math.nan)
    seconds = time.perf_counter() - start
    print(
        f"{network:8}  k1 {new:3}  k2 {back:3}: {nats:.4f} nats, perplexity {math.exp(nats):.3f}, "
        f"{result.steps:,} updates, {seconds:.0f} s",
        flush=True,
    )
    return math.exp(nats)


def main() -> None:
    """Trains every network with every horizon."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=tinyshakespeare())
    parser.add_argument("--valid", type=Path, help="default: the last tenth of what is read")
    parser.add_argument("--level", choices=["char", "byte", "word", "subword"], default="char")
    parser.add_argument("--characters", type=int, default=200_000, help="of the text; 0: all")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--new", type=int, default=5, help="k1")
    parser.add_argument("--horizons", type=int, nargs="+", default=[5, 10, 20, 40, 80], help="k2, at least k1")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: two horizons, 40,000 characters")
    arguments = parser.parse_args()
    if arguments.threads:
        rnncore.set_num_threads(arguments.threads)
    if arguments.quick:
        arguments.characters, arguments.horizons, arguments.hidden, arguments.epochs = 40_000, [5, 20], 32, 1
        arguments.networks, arguments.batch = arguments.networks[:1], 8
    corpus = read(arguments)
    curves = {}
    for network in arguments.networks:
        name = f"{network}, k1 = {arguments.new}"
        curves[name] = [train(corpus, network, arguments.new, back, arguments) for back in arguments.horizons]
        curves[f"{network}, k1 = k2"] = [train(corpus, network, back, back, arguments) for back in arguments.horizons]
    if arguments.out:
        from rnncore.plot import draw_figures
        from rnncore.report import Chart, Curve

        x = np.array(arguments.horizons, float)
        lines = tuple(Curve(name, x, np.array(found), points=True) for name, found in curves.items())
        title = f"Horizon of the gradient, {corpus.vocabulary.level}s"
        chart = Chart("truncation", title, "validation perplexity", lines, x_label="k2 of TBPTT(k1, k2), steps")
        draw_figures([chart], arguments.out)


if __name__ == "__main__":
    main()
