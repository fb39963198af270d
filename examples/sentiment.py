#!/usr/bin/env python3
"""Is a film review good or bad? A word BiLSTM with max pooling, without ready-made vectors.

    python examples/sentiment.py --polarity 'rt-polarity.{pos,neg}.txt'              # 10-fold cross-validation
    python examples/sentiment.py --train trees.train.txt.gz --valid trees.dev.txt.gz --test trees.test.txt.gz
    python examples/sentiment.py ... --format sst5-phrases                           # five classes

Sentiment trees are trained on with all their phrases and scored by sentences. `--vectors glove.6B.100d.txt` starts the
embedding from ready-made vectors.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import rnncore
from rnncore.data import ClassCorpus, ClassSource, Example, load_vectors, read_examples, stratified_folds
from rnncore.models import Classifier
from rnncore.train import KeepBest, TrainConfig, Trainer
from rnncore.train.classify import ClassifyTask


def train(corpus: ClassCorpus, args: argparse.Namespace, seed: int) -> Classifier:
    """A classifier of this corpus, the best by validation where there is a validation part."""
    model = Classifier(
        corpus.vocabulary,
        corpus.labels,
        embedding_size=args.embedding,
        embedding_scale=args.embedding_scale,
        hidden_size=args.hidden,
        pooling=args.pooling,
        dropout=args.dropout,
        embedding_dropout=args.embedding_dropout,
        generator=rnncore.Generator(seed),
    )
    if args.vectors:
        model.use_vectors(load_vectors(args.vectors, corpus.vocabulary, args.embedding))
    config = TrainConfig(
        epochs=args.epochs, batch=args.batch, lr=args.lr, weight_decay=args.weight_decay, optimizer="adamw",
        schedule="cosine", seed=seed,
    )  # fmt: skip
    trainer = Trainer(model, ClassifyTask(corpus), config, callbacks=[KeepBest()])
    trainer.fit()
    for record in trainer.history:
        if record["event"] == "epoch" and "valid_accuracy" in record:
            print(f"  epoch {record['epoch']}: loss {record['loss']:.4f}, valid {record['valid_accuracy']:.4f}")
    return model


def accuracy(model: Classifier, examples: list[Example]) -> float:
    """The share of right labels."""
    predicted = model.predict([example.text for example in examples])
    return float(np.mean([label == one.label for label, one in zip(predicted, examples, strict=True)]))


def cross_validate(args: argparse.Namespace) -> None:
    """Each fold is held out once; within the rest a tenth decides which epoch is best."""
    examples = read_examples(args.polarity, "files").items
    folds = stratified_folds([one.label for one in examples], args.folds, seed=args.seed)
    found = []
    for number, fold in enumerate(folds if not args.quick else folds[:1]):
        held = set(fold.tolist())
        rest = [one for index, one in enumerate(examples) if index not in held]
        cut = stratified_folds([one.label for one in rest], 10, seed=args.seed + 1)[0]
        valid = set(cut.tolist())
        corpus = ClassCorpus.build(
            [one for index, one in enumerate(rest) if index not in valid],
            [rest[index] for index in cut],
            level="word",
            min_count=args.min_count,
        )
        model = train(corpus, args, args.seed + number)
        found.append(accuracy(model, [examples[index] for index in fold]))
        print(f"fold {number + 1}: accuracy {found[-1]:.4f}", flush=True)
    print(f"{len(found)} folds: accuracy {np.mean(found):.4f}, standard deviation {np.std(found):.4f}")


def main() -> None:
    """Cross-validation or trees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polarity", help="name.{pos,neg}.txt: cross-validation")
    for part in ("train", "valid", "test"):
        parser.add_argument(f"--{part}", help="sentiment trees")
    parser.add_argument("--format", default="sst2-phrases", help="sst2, sst5, sst2-phrases, sst5-phrases")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--embedding", type=int, default=100)
    parser.add_argument("--embedding-scale", type=float, default=0.1)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--pooling", default="max")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--embedding-dropout", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--min-count", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--vectors", help="word2vec or GloVe text")
    parser.add_argument("--seed", type=int, default=0, help="of folds, weights and order")
    parser.add_argument("--quick", action="store_true", help="a small network, one fold")
    args = parser.parse_args()
    if args.quick:
        args.hidden, args.embedding, args.epochs, args.lr, args.dropout = 12, 12, 10, 3e-2, 0.2
    start = time.perf_counter()
    if args.polarity:
        cross_validate(args)
    else:
        corpus = ClassSource(
            train=args.train, valid=args.valid, test=args.test, format=args.format, level="word",
            min_count=args.min_count,
        ).load()  # fmt: skip
        print(ClassifyTask(corpus).describe())
        model = train(corpus, args, args.seed)
        print(f"test accuracy {accuracy(model, corpus.test):.4f} over {len(corpus.test)} sentences")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
