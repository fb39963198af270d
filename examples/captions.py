#!/usr/bin/env python3
"""Captions, one to many: features of a picture in, a text out.

    python examples/captions.py        # 1,797 digits of 8 x 8 pixels, the text is the digit's name, letter by letter

There is no set of captioned photographs that can be bundled, so this is the smallest honest stand-in: the pictures are
scikit-learn's handwritten digits, the features are computed by scikit-learn (Nystroem's approximation of a Gaussian
kernel, standardised), and the caption is the digit in words, spelt by the network. The same as
`rnncore train caption --train features.csv --level char`, step by step.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import rnncore
from rnncore.data import CaptionCorpus, Captioned, build_vocabulary, digits8x8, stratified_split
from rnncore.models import Captioner
from rnncore.train import KeepBest, TrainConfig, Trainer
from rnncore.train.caption import CaptionTask

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def features_of(train: NDArray[Any], *others: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """How alike a picture is to `count` of the training part (Gaussian kernel), standardised; fitted to that part."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(Nystroem(gamma=0.03, n_components=count, random_state=0), StandardScaler())
    return [pipeline.fit_transform(train), *(pipeline.transform(other) for other in others)]


def main() -> None:
    """Trains, scores, reads a few digits out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=300, help="how many scikit-learn makes")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and order")
    parser.add_argument("--save", type=Path, help="write features and captions as CSV, for the command line")
    parser.add_argument("--quick", action="store_true", help="a small network, few epochs")
    args = parser.parse_args()
    if args.quick:
        args.hidden, args.epochs = 64, 12

    pixels, digits = digits8x8()
    captions = [NAMES[digit] for digit in digits]
    rest, test = stratified_split(captions, 0.2, args.seed)
    inner, held = stratified_split([captions[n] for n in rest], 0.1, args.seed + 1)
    parts = [rest[inner], rest[held], test]
    made = features_of(*(pixels[part] for part in parts), count=args.features)
    columns = [f"feature {n}" for n in range(args.features)]
    rows = [Captioned(columns, x, [captions[n] for n in part]) for x, part in zip(made, parts, strict=True)]
    corpus = CaptionCorpus(*rows)
    if args.save:
        with args.save.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow([*columns, "caption"])
            for one in rows:
                writer.writerows([*x.tolist(), text] for x, text in zip(one.features, one.captions, strict=True))

    model = Captioner(
        build_vocabulary(corpus.train.captions, "char"),
        args.features,
        embedding_size=64,
        hidden_size=args.hidden,
        dropout=0.3,
        max_length=10,
        generator=rnncore.Generator(args.seed),
    )
    task = CaptionTask(corpus)
    print(task.describe())
    config = TrainConfig(epochs=args.epochs, batch=32, lr=2e-3, schedule="cosine", seed=args.seed)
    start = time.perf_counter()
    Trainer(model, task, config, callbacks=[KeepBest()]).fit()
    print(f"{args.epochs} epochs in {time.perf_counter() - start:.1f} s, {model.parameter_count():,} parameters")
    print(f"test: {task.test(model)}")
    for said, right in zip(model.caption(corpus.test.features[:5]), corpus.test.captions[:5], strict=True):
        print(f"  {said} ({right})")


if __name__ == "__main__":
    main()
