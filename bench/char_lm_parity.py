#!/usr/bin/env python3
"""Trains one character model twice, with rnncore's Trainer and with PyTorch alone, from the same weights.

    python bench/char_lm_parity.py                    # 2 x 128 units, 3 epochs of tinyshakespeare
    python bench/char_lm_parity.py --hidden 256 --epochs 8
    python bench/char_lm_parity.py --quick

Prints the validation loss of both after every epoch and exits with 1 if the last ones differ by more than --within
nats. The trainings start equal and drift apart by rounding alone, so the losses agree closely but not bit for bit.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from char_lm_torch import CharacterModel, Settings, add_options, read, split
from char_lm_torch import train as train_torch

import rnncore
from rnncore.data import TextCorpus
from rnncore.models import LanguageModel
from rnncore.train import TrainConfig, Trainer


def train_rnncore(model: LanguageModel, corpus: TextCorpus, settings: Settings) -> list[float]:
    """Trains in place; validation nats after each epoch, by the exact chain rule (one stream)."""
    config = TrainConfig(
        epochs=settings.epochs,
        batch=settings.batch,
        bptt=settings.bptt,
        optimizer="adam",
        lr=settings.lr,
        clip_norm=settings.clip,
        eval_batch=1,
    )
    trainer = Trainer(model, corpus, config)
    start = time.perf_counter()
    trainer.fit()
    nats = [float(record["valid_loss"]) for record in trainer.history if record["event"] == "epoch"]
    for epoch, value in enumerate(nats):
        print(f"rnncore  epoch {epoch + 1}: {value:.4f} nats")
    print(f"rnncore  {time.perf_counter() - start:.1f} s in all, validation included", flush=True)
    return nats


def main() -> int:
    """Trains both; 0 if they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--seed", type=int, default=1, help="of the initial weights")
    parser.add_argument("--within", type=float, default=0.01, help="nats (default 0.01)")
    args = parser.parse_args()
    text, settings = read(args)
    rnncore.set_num_threads(torch.get_num_threads())

    corpus = TextCorpus.from_text(text, valid=settings.valid, test=settings.test)
    ids = np.asarray(corpus.vocabulary.encode(text), dtype=np.int64)
    training, validation = split(ids, settings)
    if not (np.array_equal(training, corpus.train) and np.array_equal(validation, corpus.valid)):
        raise SystemExit("[parity] data: expected the same split from both programs, got different ones")

    ours = LanguageModel(
        vocabulary=corpus.vocabulary,
        hidden_size=settings.hidden,
        num_layers=settings.layers,
        generator=rnncore.Generator(args.seed),
    )
    theirs = CharacterModel(len(corpus.vocabulary), settings.hidden, settings.layers)
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})

    our_nats = train_rnncore(ours, corpus, settings)
    their_nats = train_torch(theirs, ids, settings)
    difference = our_nats[-1] - their_nats[-1]
    verdict = "agree" if abs(difference) <= args.within else "DISAGREE"
    print(f"validation: rnncore {our_nats[-1]:.4f}, torch {their_nats[-1]:.4f}, difference {difference:+.4f} nats")
    print(f"they {verdict} within {args.within:g} nats")
    return 0 if verdict == "agree" else 1


if __name__ == "__main__":
    sys.exit(main())
