#!/usr/bin/env python3
"""Which language is a surname from? A character LSTM over 18 classes, scored on a stratified held-out tenth.

    python examples/names_classifier.py                      # the bundled names, under two minutes on one core
    python examples/names_classifier.py --names FOLDER --picture confusion.png

The same as `rnncore train classify --train FOLDER --test-fraction 0.1`, step by step.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import rnncore
from rnncore.data import ClassSource
from rnncore.label_metrics import class_scores, confusion, draw_confusion
from rnncore.models import Classifier
from rnncore.train import KeepBest, TrainConfig, Trainer
from rnncore.train.classify import ClassifyTask


def main() -> None:
    """Trains, scores, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path, default=Path(__file__).resolve().parent / "data" / "names")
    parser.add_argument("--cell", default="lstm", help="lstm, gru, rnn-tanh, ...")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and order")
    parser.add_argument("--picture", type=Path, help="draw the confusion matrix (png, svg, pdf)")
    parser.add_argument("--quick", action="store_true", help="a small network, four epochs")
    args = parser.parse_args()
    lr = 4e-3
    if args.quick:
        args.hidden, args.epochs, lr = 24, 4, 2e-2

    source = ClassSource(train=str(args.names), test_fraction=0.1, valid_fraction=0.05, seed=args.seed)
    corpus = source.load()
    model = Classifier(
        corpus.vocabulary,
        corpus.labels,
        cell=args.cell,
        hidden_size=args.hidden,
        pooling="max",
        dropout=0.3,
        generator=rnncore.Generator(args.seed),
    )
    config = TrainConfig(epochs=args.epochs, batch=64, lr=lr, schedule="cosine", seed=args.seed)
    start = time.perf_counter()
    result = Trainer(model, ClassifyTask(corpus, source), config, callbacks=[KeepBest()]).fit()
    print(f"{result.epochs} epochs in {time.perf_counter() - start:.1f} s, {model.parameter_count():,} parameters")

    gold = [example.label for example in corpus.test]
    predicted = model.predict([example.text for example in corpus.test])
    scores = class_scores(gold, predicted)
    print(f"{len(gold)} names held out: {', '.join(f'{name} {value:.4f}' for name, value in scores.items())}")
    if args.picture:
        draw_confusion(confusion(gold, predicted, corpus.labels), corpus.labels, args.picture, "names")
    for name in ("Satoshi", "Jackson", "Dostoyevsky"):
        shares = dict(zip(corpus.labels, model.probabilities([name])[0].tolist(), strict=True))
        best = sorted(shares, key=shares.__getitem__, reverse=True)[:3]
        print(f"{name}: {', '.join(f'{label} {shares[label]:.2f}' for label in best)}")


if __name__ == "__main__":
    main()
