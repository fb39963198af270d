#!/usr/bin/env python3
"""Polyphonic music: which of 88 keys sound at the next step, from those that sounded before.

    python examples/music.py --data jsb-chorales-quarter.json.gz

DATA is a JSON file of pieces in three parts (docs/numeric.md); without it, a few made-up chord progressions serve. The
score is the negative log-likelihood of the next step in nats, summed over keys, the mean over all steps of all test
pieces but each piece's first.
"""

from __future__ import annotations

import argparse

import numpy as np

from rnncore import Generator, data
from rnncore.data import Music
from rnncore.models import PolyphonicMusic
from rnncore.train import Callback, TrainConfig, Trainer
from rnncore.train.music import MusicSource, MusicTask

CHORDS = ([60, 64, 67], [57, 60, 64], [65, 69, 72], [55, 59, 62, 67])
NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def made_up(seed: int, count: int) -> Music:
    """Progressions of four chords, begun anywhere, each chord held for one or two steps."""
    draw = np.random.default_rng(seed)
    pieces = []
    for _ in range(count):
        start, steps = int(draw.integers(4)), []
        for n in range(12):
            steps += [CHORDS[(start + n) % 4]] * int(draw.integers(1, 3))
        pieces.append(data.roll_of(steps))
    return Music(pieces)


class Show(Callback):
    """A line now and then."""

    def on_epoch(self, trainer: Trainer, record: dict[str, object]) -> None:  # type: ignore[override]
        """Loss of training and validation."""
        if int(str(record["epoch"])) % 10 == 0:
            print(f"epoch {record['epoch']:>3}  train {record['loss']:.3f}  validation {record['valid_loss']:.3f}")


def main() -> None:
    """Read, train, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a JSON file with train, valid and test")
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a small network and few epochs")
    args = parser.parse_args()
    if args.quick:
        args.hidden, args.epochs, args.dropout, args.lr = 32, 40, 0.1, 0.01
    source = MusicSource(args.data or "made-up chords")
    task = MusicTask(*(source.load() if args.data else (made_up(1, 40), made_up(2, 10), made_up(3, 10))), source)
    print(task.describe())
    model = PolyphonicMusic(
        cell=args.cell, hidden_size=args.hidden, dropout=args.dropout, generator=Generator(args.seed)
    )
    config = TrainConfig(epochs=args.epochs, batch=8, lr=args.lr, clip_norm=1.0, patience=10, seed=args.seed)
    Trainer(model, task, config, callbacks=[Show()]).fit()
    print(f"test: {task.test(model)}")
    share = np.concatenate(task.train.rolls).mean(axis=0).clip(1e-3, 1 - 1e-3)
    steps = np.concatenate([roll[1:] for roll in task.tested.rolls])
    alone = -(steps * np.log(share) + (1 - steps) * np.log(1 - share)).sum(axis=1).mean()
    print(f"each key as often as in training: {alone:.4f} nats a step")
    played = model.play(task.tested.rolls[0][:8], 12, generator=Generator(args.seed))
    print("plays:", " | ".join("-".join(NAMES[pitch % 12] for pitch in step) or "." for step in data.piece_of(played)))


if __name__ == "__main__":
    main()
