#!/usr/bin/env python3
"""Parts of speech: a BiLSTM over words and their letters, on a Universal Dependencies treebank.

    python examples/pos_tagging.py --folder ud_english_ewt      # has *-train.conllu, *-dev.conllu, *-test.conllu (.gz)
    python examples/pos_tagging.py --folder ud_english_ewt --format conllu-xpos

The same as `rnncore train tag --train TRAIN --valid DEV --test TEST`, step by step.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import rnncore
from rnncore.data import TagSource
from rnncore.models import Tagger
from rnncore.train import Callback, KeepBest, TrainConfig, Trainer
from rnncore.train.tag import TagTask


class PrintEpochs(Callback):
    """One line an epoch."""

    def on_epoch(self, trainer: Trainer, record: dict[str, float]) -> None:
        """Loss and accuracy so far."""
        shown = {name: value for name, value in record.items() if name.startswith("valid_")}
        scores = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
        print(f"  epoch {record['epoch']}: loss {record['loss']:.4f}, {scores}, {record['time']:.0f} s", flush=True)


def one(folder: Path, ending: str) -> str:
    """The file of a folder whose name ends like this, packed or not."""
    found = sorted(folder.glob(f"*{ending}")) + sorted(folder.glob(f"*{ending}.gz"))
    if not found:
        raise SystemExit(f"[example] {folder}: expected a file *{ending} or *{ending}.gz, got none")
    return str(found[0])


def main() -> None:
    """Trains, scores, tags a sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--format", default="conllu-upos", help="conllu-upos or conllu-xpos")
    parser.add_argument("--hidden", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    parser.add_argument("--quick", action="store_true", help="a small network")
    args = parser.parse_args()
    letters = 50
    if args.quick:
        args.hidden, letters = 16, 8

    parts = {"train": "-train.conllu", "valid": "-dev.conllu", "test": "-test.conllu"}
    files = {name: one(args.folder, ending) for name, ending in parts.items()}
    corpus = TagSource(**files, format=args.format, min_count=2, lower=True).load()
    task = TagTask(corpus)
    print(task.describe())
    model = Tagger(
        corpus.vocabulary,
        corpus.labels,
        characters=corpus.characters,
        hidden_size=args.hidden,
        char_hidden_size=letters,
        dropout=0.4,
        lower=True,
        generator=rnncore.Generator(args.seed),
    )
    config = TrainConfig(epochs=args.epochs, batch=32, lr=4e-3, schedule="cosine", seed=args.seed)
    start = time.perf_counter()
    Trainer(model, task, config, callbacks=[KeepBest(), PrintEpochs()]).fit()
    print(f"{time.perf_counter() - start:.0f} s, {model.parameter_count():,} parameters")
    print(f"test: {task.test(model)}")
    sentence = ["Time", "flies", "like", "an", "arrow", ";", "fruit", "flies", "like", "a", "banana", "."]
    [tags] = model.predict([sentence])
    print(" ".join(f"{word}/{tag}" for word, tag in zip(sentence, tags, strict=True)))


if __name__ == "__main__":
    main()
