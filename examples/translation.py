#!/usr/bin/env python3
"""Translation: a GRU encoder-decoder with attention over subwords, beam search, BLEU.

    python examples/translation.py --train 'train.{de,en}.gz' --valid 'val.{de,en}.gz' --test 'test.{de,en}.gz'
    python examples/translation.py --quick                     # numbers in words, made here; no extra needed

The same as `rnncore train seq2seq --train ... --lower --tie`, step by step. Multi30k (for non-commercial use) is read
from where you have it.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import rnncore
from rnncore.data import PairSource
from rnncore.models import Seq2Seq
from rnncore.text_metrics import bleu, draw_attention
from rnncore.train import Callback, KeepBest, TrainConfig, Trainer
from rnncore.train.seq2seq import Seq2SeqTask

GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SMALL = {"vocabulary": 60, "hidden": 32, "embedding": 16, "epochs": 20, "lr": 2e-2, "dropout": 0.0}


class PrintEpochs(Callback):
    """One line an epoch."""

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Loss and BLEU so far."""
        scores = ", ".join(f"{name} {value:.3f}" for name, value in record.items() if name.startswith("valid_"))
        print(f"  epoch {record['epoch']}: loss {record['loss']:.3f}, {scores}, {record['time']:.0f} s", flush=True)


def numbers(folder: Path, name: str, count: int, seed: int) -> str:
    """German digits, and the English ones the other way round."""
    draw = random.Random(seed)
    rows = [[draw.randrange(10) for _ in range(draw.randint(2, 6))] for _ in range(count)]
    lines = (f"{' '.join(GERMAN[n] for n in row)}\t{' '.join(ENGLISH[n] for n in reversed(row))}\n" for row in rows)
    (folder / name).write_text("".join(lines), encoding="utf-8")
    return str(folder / name)


def main() -> None:
    """Trains, scores, translates, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="'name.{de,en}', or a file of source, tab, target")
    parser.add_argument("--valid")
    parser.add_argument("--test")
    parser.add_argument("--vocabulary", type=int, default=5000, help="subwords of each side")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--embedding", type=int, default=256)
    parser.add_argument("--attention", default="bilinear", help="dot, bilinear or additive")
    parser.add_argument("--input-feeding", action="store_true")
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    parser.add_argument("--picture", type=Path, help="draw where attention looked (png, svg, pdf)")
    parser.add_argument("--quick", action="store_true", help="a small network on numbers in words")
    args = parser.parse_args()
    level = "subword"
    if args.quick:
        vars(args).update(SMALL)
        level, folder = "word", Path(tempfile.mkdtemp())
        sizes = {"train": 600, "valid": 60, "test": 60}
        made = {name: numbers(folder, name, size, seed) for seed, (name, size) in enumerate(sizes.items())}
        vars(args).update(made)
    elif args.train is None:
        parser.error("--train is needed, or --quick")

    source = PairSource(args.train, args.valid, args.test, level=level, size=args.vocabulary, lower=True)
    corpus = source.load()
    task = Seq2SeqTask(corpus, select="bleu")
    print(task.describe())
    model = Seq2Seq(
        corpus.source,
        corpus.target,
        embedding_size=args.embedding,
        hidden_size=args.hidden,
        score=args.attention,
        input_feeding=args.input_feeding,
        tie_weights=True,
        dropout=args.dropout,
        label_smoothing=0.1,
        lower=True,
        generator=rnncore.Generator(args.seed),
    )
    config = TrainConfig(
        epochs=args.epochs, batch=64, lr=args.lr, warmup_steps=0 if args.quick else 200, schedule="cosine",
        clip_norm=1.0, seed=args.seed,
    )  # fmt: skip
    start = time.perf_counter()
    Trainer(model, task, config, callbacks=[KeepBest(), PrintEpochs()]).fit()
    print(f"{time.perf_counter() - start:.0f} s, {model.parameter_count():,} parameters")
    if not corpus.test:
        return
    sources, references = [pair.source for pair in corpus.test], [pair.target for pair in corpus.test]
    for beams in (1, 5):
        found = model.translate(sources, beams=beams)
        score = bleu([one.text for one in found], references, lower=True)
        print(f"test, {beams} beams: BLEU {score.score:.2f} ({score.signature})")
    for pair, one in zip(corpus.test[:3], found[:3], strict=True):
        print(f"  {pair.source}\n  = {one.text}\n  ~ {pair.target}")
    if args.picture:
        chosen = found[:3]
        pieces = [one.source_pieces for one in chosen], [one.target_pieces for one in chosen]
        draw_attention([one.weights for one in chosen], *pieces, args.picture)


if __name__ == "__main__":
    main()
