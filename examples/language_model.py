#!/usr/bin/env python3
"""A character language model in Python: read, train, score, sample.

    python examples/language_model.py                      # the bundled tinyshakespeare, about a minute
    python examples/language_model.py --text book.txt

The same as `rnncore train lm`, `eval` and `sample` on the command line.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import rnncore
from rnncore.data import TextCorpus, tinyshakespeare
from rnncore.generate import SamplingOptions, generate
from rnncore.metrics import evaluate
from rnncore.models import LanguageModel
from rnncore.train import TrainConfig, Trainer


def main() -> None:
    """Trains, then scores and samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=tinyshakespeare(), help="UTF-8 file")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--prompt", default="First")
    parser.add_argument("--quick", action="store_true", help="a tiny model on the first 30,000 characters")
    args = parser.parse_args()
    text, batch = args.text.read_text(encoding="utf-8"), 50
    if args.quick:
        text, args.hidden, args.epochs, batch = text[:30_000], 32, 2, 10

    corpus = TextCorpus.from_text(text, level="char", valid=0.1)
    model = LanguageModel(
        vocabulary=corpus.vocabulary,
        cell="lstm",
        hidden_size=args.hidden,
        num_layers=args.layers,
        generator=rnncore.Generator(1),
    )
    result = Trainer(model, corpus, TrainConfig(epochs=args.epochs, batch=batch, bptt=50, lr=2e-3, clip_norm=5.0)).fit()
    print(f"{result.steps} updates in {result.seconds:.1f} s, validation {result.best_valid:.3f} nats a character")

    score = evaluate(model, "To be, or not to be: that is the question.")
    print(f"a line it may not know: perplexity {score.perplexity:.2f}, {score.bits_per_character:.2f} bits a character")
    for sample in generate(model, args.prompt, length=200, options=SamplingOptions(temperature=0.8), seed=1):
        print(args.prompt + sample.text)


if __name__ == "__main__":
    main()
