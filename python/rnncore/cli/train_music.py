"""``rnncore train music``."""

from __future__ import annotations

from pathlib import Path

import typer

from rnncore.cli import options
from rnncore.cli.common import THREADS, set_threads
from rnncore.cli.train import start


def music(
    data: Path = typer.Option(..., "--data", "--train", help="A JSON file (.gz too) with train, valid and test."),
    skip_malformed: bool = typer.Option(False, "--skip-malformed", help="Leave out malformed pieces, and count them."),
    transpose: int = typer.Option(
        0, "--transpose", metavar="N", help="Move training pieces by up to so many half-tones, anew in each epoch."
    ),
    cell: str = typer.Option("lstm", "--cell", metavar="CELL", help="lstm, gru, rnn-tanh, ..."),
    hidden: int = typer.Option(200, "--hidden", metavar="N", help="Units of a layer."),
    layers: int = typer.Option(1, "--layers", metavar="N", help="Layers."),
    dropout: float = typer.Option(0.5, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    batch: int = typer.Option(8, "--batch", metavar="N", help="Pieces of an update."),
    epochs: options.Epochs = 200,
    steps: options.Steps = None,
    optimizer: options.Optimizer = "adam",
    lr: options.Rate = 2e-3,
    weight_decay: options.WeightDecay = 0.0,
    clip: options.Clip = 1.0,
    schedule: options.Schedule = "constant",
    decay: options.Decay = 0.5,
    patience: options.Patience = 10,
    seed: options.Seed = 0,
    inspect: options.Inspect = None,
    inspect_norms: options.InspectNorms = None,
    threads: int | None = THREADS,
    tensorboard: options.TensorBoard = False,
    out: Path | None = typer.Option(None, "--out", metavar="RUN", help="The run folder; default: runs/<file's name>."),
    force: options.Force = False,
) -> None:
    """Train a model of polyphonic music: which of 88 keys sound at the next step.

    Example: rnncore train music --data jsb-chorales-quarter.json.gz --cell lstm --hidden 200 --out runs/jsb
    """
    from rnncore import Generator
    from rnncore.models import PolyphonicMusic
    from rnncore.train import TrainConfig
    from rnncore.train.music import MusicSource, MusicTask

    set_threads(threads)
    source = MusicSource(str(data.absolute()), skip_malformed=skip_malformed, transpose=transpose)
    task = MusicTask(*source.load(), source)
    model = PolyphonicMusic(
        hidden_size=hidden, num_layers=layers, cell=cell, dropout=dropout, generator=Generator(seed)
    )
    config = TrainConfig(
        epochs=epochs, steps=steps, batch=batch, optimizer=optimizer, lr=lr, weight_decay=weight_decay,
        clip_norm=clip, schedule=schedule, decay=decay, patience=patience, seed=seed,
        inspect_every=inspect, inspect_norms=inspect_norms,
    )  # fmt: skip
    start(model, task, config, out=out, name=data.name.split(".")[0], force=force, tensorboard=tensorboard)
