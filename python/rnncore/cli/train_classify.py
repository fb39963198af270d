"""``rnncore train classify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from rnncore.cli import options
from rnncore.cli.common import THREADS, set_threads
from rnncore.cli.train import start

if TYPE_CHECKING:
    from rnncore.data.records import OnError
    from rnncore.data.vocabulary import Level


def classify(
    train: str = typer.Option(
        ..., "--train", "--text", help="A folder of LABEL.txt, name.{pos,neg}.txt, or a file.", show_default=False
    ),
    valid: str | None = typer.Option(None, "--valid", help="Validation data; default: a part of --train."),
    test: str | None = typer.Option(None, "--test", help="Test data, scored at the end."),
    format: options.Format = None,
    text_column: str = typer.Option("text", "--text-column", metavar="NAME", help="Of CSV and TSV."),
    label_column: str = typer.Option("label", "--label-column", metavar="NAME", help="Of CSV and TSV."),
    on_error: options.OnError = "raise",
    level: str = typer.Option("char", "--level", metavar="LEVEL", help="What a token is: char or word."),
    min_count: int = typer.Option(1, "--min-count", metavar="N", help="Rarer tokens become <unk>."),
    vocab_size: int | None = typer.Option(None, "--vocab-size", metavar="N", help="Keep so many tokens."),
    valid_fraction: options.ValidFraction = 0.1,
    test_fraction: options.TestFraction = 0.0,
    vectors: Path | None = typer.Option(None, "--vectors", help="Word vectors (word2vec or GloVe text) to start from."),
    cell: str = typer.Option("lstm", "--cell", metavar="CELL", help="lstm, gru, rnn-tanh, rnn-relu, ..."),
    hidden: int = typer.Option(128, "--hidden", metavar="N", help="Units of a layer and direction."),
    layers: int = typer.Option(1, "--layers", metavar="N", help="Layers."),
    embedding: int = typer.Option(64, "--embedding", metavar="N", help="Size of a token's embedding."),
    one_direction: bool = typer.Option(False, "--one-direction", help="Read forwards alone."),
    pooling: str = typer.Option("max", "--pooling", metavar="NAME", help="Over time: last, mean or max."),
    dropout: float = typer.Option(0.0, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    embedding_dropout: options.EmbeddingDropout = 0.0,
    embedding_scale: options.EmbeddingScale = 1.0,
    batch: int = typer.Option(32, "--batch", metavar="N", help="Texts of an update."),
    epochs: options.EpochsOrSteps = None,
    steps: options.Steps = None,
    optimizer: options.Optimizer = "adam",
    lr: options.Rate = 2e-3,
    weight_decay: options.WeightDecay = 0.0,
    clip: options.Clip = 5.0,
    schedule: options.Schedule = "constant",
    warmup: options.WarmUp = 0,
    patience: options.Patience = None,
    seed: options.Seed = 0,
    threads: int | None = THREADS,
    checkpoint_steps: options.CheckpointSteps = None,
    inspect: options.Inspect = None,
    inspect_norms: options.InspectNorms = None,
    tensorboard: options.TensorBoard = False,
    out: options.Out = None,
    force: options.Force = False,
) -> None:
    """Train a classifier: one label for a whole text.

    Formats: a folder of LABEL.txt or name.{pos,neg}.txt (files), label and text a line (lines), csv, tsv,
    sentiment trees (sst2, sst5, sst2-phrases, sst5-phrases).

    Example: rnncore train classify --train names/ --epochs 10 --out runs/names

    Example: rnncore train classify --train trees.txt --format sst2-phrases --level word --out runs/sst
    """
    from rnncore import Generator
    from rnncore.data import ClassSource, load_vectors
    from rnncore.models import Classifier
    from rnncore.train import TrainConfig
    from rnncore.train.classify import ClassifyTask

    config = TrainConfig(
        epochs=epochs, steps=steps, batch=batch, optimizer=optimizer, lr=lr, weight_decay=weight_decay,
        clip_norm=clip, schedule=schedule, warmup_steps=warmup, patience=patience, seed=seed,
        checkpoint_steps=checkpoint_steps, inspect_every=inspect, inspect_norms=inspect_norms,
    )  # fmt: skip
    set_threads(threads)
    source = ClassSource(
        train=options.absolute(train), valid=options.absolute(valid), test=options.absolute(test), format=format,
        on_error=cast("OnError", on_error), valid_fraction=valid_fraction, test_fraction=test_fraction, seed=seed,
        min_count=min_count, level=cast("Level", level), max_size=vocab_size, text_column=text_column,
        label_column=label_column,
    )  # fmt: skip
    corpus = source.load()
    model = Classifier(
        corpus.vocabulary, corpus.labels, embedding_size=embedding, hidden_size=hidden, num_layers=layers, cell=cell,
        bidirectional=not one_direction, pooling=pooling, dropout=dropout, embedding_dropout=embedding_dropout,
        embedding_scale=embedding_scale,
        generator=Generator(seed),
    )  # fmt: skip
    skipped = corpus.skipped
    if vectors is not None:
        ready = load_vectors(vectors, corpus.vocabulary, embedding, on_error=cast("OnError", on_error))
        model.use_vectors(ready)
        skipped += ready.skipped
    options.say_skipped(skipped)
    start(
        model, ClassifyTask(corpus, source), config, out=out, name=options.name_of(train), force=force,
        tensorboard=tensorboard,
    )  # fmt: skip
