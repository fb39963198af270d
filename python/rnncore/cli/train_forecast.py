"""``rnncore train forecast``."""

from __future__ import annotations

from pathlib import Path

import typer

from rnncore.cli import options
from rnncore.cli.common import THREADS, set_threads
from rnncore.cli.train import start


def forecast(
    data: Path = typer.Option(..., "--data", "--train", help="A CSV file (.gz too), oldest row first."),
    columns: str | None = typer.Option(
        None, "--columns", metavar="A,B", help="Which columns, by name; default: all that hold numbers."
    ),
    rows: str = typer.Option(
        "0.7,0.1,0.2", "--rows", metavar="A,B,C", help="Rows (or shares) of the training, validation and test parts."
    ),
    missing: str = typer.Option("refuse", "--missing", metavar="NAME", help="Of gaps: refuse, previous or linear."),
    skip_malformed: bool = typer.Option(False, "--skip-malformed", help="Leave out malformed rows, and count them."),
    horizon: int = typer.Option(24, "--horizon", metavar="N", help="Steps to be told."),
    context: int = typer.Option(96, "--context", metavar="N", help="Steps that are read before."),
    block: int | None = typer.Option(
        None, "--block", metavar="N", help="Steps told at once; default: the horizon. 1: step by step, free running."
    ),
    period: int | None = typer.Option(
        None, "--period", metavar="N", help="Of the seasonal-naive forecast; default: the horizon."
    ),
    quantiles: str = typer.Option(
        "", "--quantiles", metavar="A,B", help="Tell these quantiles, 0.5 among them; default: one forecast."
    ),
    normalise: str = typer.Option(
        "window", "--normalise", metavar="NAME", help="Each window by its own mean and deviation (window), last, none."
    ),
    joint: bool = typer.Option(False, "--joint", help="All columns in one network's view; default: each alone."),
    cell: str = typer.Option("gru", "--cell", metavar="CELL", help="gru, lstm, rnn-tanh, ..."),
    hidden: int = typer.Option(64, "--hidden", metavar="N", help="Units of a layer."),
    layers: int = typer.Option(1, "--layers", metavar="N", help="Layers."),
    dropout: float = typer.Option(0.0, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    batch: int = typer.Option(32, "--batch", metavar="N", help="Windows of an update."),
    epochs: options.EpochsOrSteps = None,
    steps: options.Steps = None,
    optimizer: options.Optimizer = "adam",
    lr: options.Rate = 1e-3,
    weight_decay: options.WeightDecay = 0.0,
    clip: options.Clip = 1.0,
    schedule: options.Schedule = "constant",
    decay: options.Decay = 0.5,
    patience: options.Patience = 3,
    seed: options.Seed = 0,
    inspect: options.Inspect = None,
    inspect_norms: options.InspectNorms = None,
    threads: int | None = THREADS,
    tensorboard: options.TensorBoard = False,
    out: Path | None = typer.Option(None, "--out", metavar="RUN", help="The run folder; default: runs/<file's name>."),
    force: options.Force = False,
) -> None:
    """Train a forecaster on columns of numbers; naive and linear forecasts stand beside it at the end.

    Example: rnncore train forecast --data ETTh1.csv --rows 8640,2880,2880 --horizon 24 --out runs/ett

    Example: rnncore eval runs/ett --data ETTh1.csv

    Example: (head -n 1 ETTh1.csv; tail -n 200 ETTh1.csv) | rnncore predict runs/ett
    """
    from rnncore import Generator
    from rnncore.models import Forecaster
    from rnncore.train import TrainConfig
    from rnncore.train.forecast import ForecastTask, SeriesSource, scale_of

    set_threads(threads)
    parts = _numbers("--rows", rows)
    if len(parts) != 3:
        raise typer.BadParameter("three numbers or shares, e.g. 0.7,0.1,0.2", param_hint="--rows")
    source = SeriesSource(
        str(data.absolute()), columns=None if columns is None else tuple(name.strip() for name in columns.split(",")),
        missing=missing, skip_malformed=skip_malformed, rows=(parts[0], parts[1], parts[2]), horizon=horizon,
        period=period,
    )  # fmt: skip
    task = ForecastTask(source.load(), source)
    mean, scale = scale_of(task.series, task.train_end)
    model = Forecaster(
        task.series.columns, context=context, block=horizon if block is None else block,
        quantiles=_numbers("--quantiles", quantiles), normalise=normalise, separate=not joint, mean=mean, scale=scale,
        hidden_size=hidden, num_layers=layers, cell=cell, dropout=dropout, generator=Generator(seed),
    )  # fmt: skip
    config = TrainConfig(
        epochs=epochs, steps=steps, batch=batch, optimizer=optimizer, lr=lr, weight_decay=weight_decay,
        clip_norm=clip, schedule=schedule, decay=decay, patience=patience, seed=seed,
        inspect_every=inspect, inspect_norms=inspect_norms,
    )  # fmt: skip
    start(model, task, config, out=out, name=data.name.split(".")[0], force=force, tensorboard=tensorboard)


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(f"numbers with commas between them, got {text!r}", param_hint=option) from None
