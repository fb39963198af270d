#!/usr/bin/env python3
"""Spoken digits: sound to text by a bidirectional LSTM and CTC, without knowing when what was said.

    python examples/spoken_digits.py --data fsdd.tar.gz/train --test fsdd.tar.gz/test
    python examples/spoken_digits.py --data fsdd.tar.gz/train --test fsdd.tar.gz/test --each-speaker

Files are named <text>_<speaker>_<anything>.wav, as in the Free Spoken Digit Dataset. Half of what is trained on are two
recordings after one another. --each-speaker trains once for each speaker, without that speaker's recordings, and tests
on all of them. Without --data, tones of two heights stand for two words. Needs scipy: pip install 'rnncore[speech]'.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from rnncore import Generator
from rnncore.data import AcousticFeatures, Speech, Utterance, labels_of
from rnncore.data.audio import join
from rnncore.models import Transcriber
from rnncore.train import TrainConfig, Trainer
from rnncore.train.speech import SpeechSource, SpeechTask, score


def tones(seed: int, count: int) -> Speech:
    """Words "a" and "b", a low and a high tone, by two speakers."""
    draw = np.random.default_rng(seed)
    t = np.arange(1600) / 8000
    made = []
    for n in range(count):
        word, speaker = "ab"[n % 2], ("ann", "bob")[n // 2 % 2]
        pitch = {"a": 500, "b": 1400}[word] * (1.1 if speaker == "bob" else 1.0) * draw.uniform(0.97, 1.03)
        sound = 0.5 * np.sin(2 * np.pi * pitch * t) * np.hanning(len(t)) + draw.normal(size=len(t)) * 0.01
        made.append(Utterance(f"{word}_{speaker}_{n}", sound.astype(np.float32), 8000, word, speaker))
    return Speech(made)


def train(task: SpeechTask, args: argparse.Namespace) -> Transcriber:
    """A network that was trained on a task."""
    model = Transcriber(
        labels_of(task.train.utterances, "char"), features=AcousticFeatures(window=0.04, step=0.02),
        hidden_size=args.hidden, dropout=0.3, generator=Generator(args.seed),
    )  # fmt: skip
    config = TrainConfig(epochs=args.epochs, batch=args.batch, lr=args.lr, schedule="cosine", seed=args.seed)
    Trainer(model, task, config).fit()
    return model


def main() -> None:
    """Read, train, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="WAV files: a folder, or a folder in a tar archive")
    parser.add_argument("--test", help="the same, to test on")
    parser.add_argument("--each-speaker", action="store_true", help="hold out each speaker in turn")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a small network and few epochs")
    args = parser.parse_args()
    if args.quick:
        args.hidden, args.batch, args.epochs, args.lr = 16, 8, 25, 0.02
    source = SpeechSource(
        args.data or "tones", test=args.test, valid_fraction=0.05, join=2, augment=True, seed=args.seed
    )
    if args.data is None:
        task = SpeechTask(tones(1, 40), tones(2, 8), tones(3, 16), source)
    else:
        task = SpeechTask(*source.load(), source)
    print(task.describe())
    if args.each_speaker:
        for speaker in task.train.speakers:
            held = replace(source, hold_out=speaker)
            left = SpeechTask(*held.load(), held)
            print(f"without {speaker:10} {left.test(train(left, args))}", flush=True)
        return
    model = train(task, args)
    print(f"test: {task.test(model)}")
    if task.tested is not None:
        pairs = task.tested.utterances
        joined = [join([pairs[n], pairs[-1 - n]], pause=0.1) for n in range(len(pairs) // 2)]
        print(f"two recordings after one another: {100 * score(model, joined)['exact']:.1f}% without an error")


if __name__ == "__main__":
    main()
