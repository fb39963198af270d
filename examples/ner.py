#!/usr/bin/env python3
"""Named entities: a BiLSTM over words and their letters with a CRF, tags in BIO, scored by whole entities (seqeval).

    python examples/ner.py --train wnut17.train.conll --valid wnut17.dev.conll --test wnut17.test.conll
    python examples/ner.py ... --no-crf          # a softmax a word; decoding is kept to BIO sequences all the same

The same as `rnncore train tag --crf`, step by step.
"""

from __future__ import annotations

import argparse
import time

from pos_tagging import PrintEpochs

import rnncore
from rnncore.data import TagSource, is_bio, load_vectors
from rnncore.models import Tagger
from rnncore.train import KeepBest, TrainConfig, Trainer
from rnncore.train.tag import TagTask


def main() -> None:
    """Trains, scores, looks for invalid sequences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part in ("train", "valid", "test"):
        parser.add_argument(f"--{part}", required=True, help="two columns, token and BIO tag")
    parser.add_argument("--no-crf", action="store_true")
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--vectors", help="word2vec or GloVe text, 100 numbers a word")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    parser.add_argument("--quick", action="store_true", help="a small network")
    args = parser.parse_args()
    letters, lr = 50, 3e-3
    if args.quick:
        args.hidden, letters, lr = 16, 8, 2e-2

    source = TagSource(train=args.train, valid=args.valid, test=args.test, min_count=1 if args.quick else 2, lower=True)
    corpus = source.load()
    task = TagTask(corpus)
    print(task.describe())
    model = Tagger(
        corpus.vocabulary,
        corpus.labels,
        characters=corpus.characters,
        hidden_size=args.hidden,
        char_hidden_size=letters,
        dropout=0.5,
        embedding_dropout=0.1,
        embedding_scale=0.3,
        crf=not args.no_crf,
        lower=True,
        generator=rnncore.Generator(args.seed),
    )
    if args.vectors:
        model.use_vectors(load_vectors(args.vectors, corpus.vocabulary, 100))
    config = TrainConfig(epochs=args.epochs, batch=16, lr=lr, schedule="cosine", seed=args.seed)
    start = time.perf_counter()
    Trainer(model, task, config, callbacks=[KeepBest(), PrintEpochs()]).fit()
    print(f"{time.perf_counter() - start:.0f} s, {model.parameter_count():,} parameters")
    print(f"test: {task.test(model)}")
    found = model.predict([sentence.words for sentence in corpus.test])
    print(f"invalid BIO sequences: {sum(not is_bio(tags) for tags in found)} of {len(found)}")


if __name__ == "__main__":
    main()
