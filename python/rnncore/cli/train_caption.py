"""``rnncore train caption``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import typer

from rnncore.cli import options
from rnncore.cli.common import THREADS, set_threads
from rnncore.cli.train import start

if TYPE_CHECKING:
    from rnncore.data.records import OnError


def caption(
    train: str = typer.Option(..., "--train", "--text", help="A CSV file, as above.", show_default=False),
    valid: str | None = typer.Option(None, "--valid", help="Validation data; default: a part of --train."),
    test: str | None = typer.Option(None, "--test", help="Test data, scored at the end."),
    on_error: options.OnError = "raise",
    valid_fraction: options.ValidFraction = 0.1,
    test_fraction: options.TestFraction = 0.0,
    level: str = typer.Option("word", "--level", metavar="NAME", help="Of the captions: word, char or subword."),
    vocabulary: int = typer.Option(8000, "--vocabulary", metavar="N", help="Largest size of the vocabulary."),
    cell: str = typer.Option("lstm", "--cell", metavar="CELL", help="lstm, gru, rnn-tanh, ..."),
    hidden: int = typer.Option(128, "--hidden", metavar="N", help="Units of a layer."),
    layers: int = typer.Option(1, "--layers", metavar="N", help="Layers."),
    embedding: int = typer.Option(64, "--embedding", metavar="N", help="Size of an embedding, and of the features'."),
    dropout: float = typer.Option(0.0, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    beams: int = typer.Option(3, "--beams", metavar="N", help="Of the search."),
    batch: int = typer.Option(32, "--batch", metavar="N", help="Captions of an update."),
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
    inspect: options.Inspect = None,
    inspect_norms: options.InspectNorms = None,
    threads: int | None = THREADS,
    checkpoint_steps: options.CheckpointSteps = None,
    tensorboard: options.TensorBoard = False,
    out: options.Out = None,
    force: options.Force = False,
) -> None:
    """Train a captioner: a row of features to a text.

    Data: a CSV file (.gz too) whose header names the features and a column "caption".

    Example: rnncore train caption --train digits.csv --test-fraction 0.2 --out runs/digits
    """
    from rnncore import Generator
    from rnncore.data import CaptionSource, build_vocabulary
    from rnncore.models import Captioner
    from rnncore.train import TrainConfig
    from rnncore.train.caption import CaptionTask

    config = TrainConfig(
        epochs=epochs, steps=steps, batch=batch, optimizer=optimizer, lr=lr, weight_decay=weight_decay,
        clip_norm=clip, schedule=schedule, warmup_steps=warmup, patience=patience, seed=seed,
        inspect_every=inspect, inspect_norms=inspect_norms,
        checkpoint_steps=checkpoint_steps,
    )  # fmt: skip
    set_threads(threads)
    source = CaptionSource(
        train=options.absolute(train), valid=options.absolute(valid), test=options.absolute(test),
        valid_fraction=valid_fraction, test_fraction=test_fraction, on_error=cast("OnError", on_error), seed=seed,
    )  # fmt: skip
    corpus = source.load()
    model = Captioner(
        build_vocabulary(corpus.train.captions, level, size=vocabulary), len(corpus.train.columns),
        embedding_size=embedding, hidden_size=hidden, num_layers=layers, cell=cell, dropout=dropout, beams=beams,
        generator=Generator(seed),
    )  # fmt: skip
    options.say_skipped(corpus.skipped)
    start(
        model, CaptionTask(corpus, source), config, out=out, name=options.name_of(train), force=force,
        tensorboard=tensorboard,
    )  # fmt: skip
