"""``rnncore info`` and ``rnncore plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from rnncore.cli.common import RUN_ARGUMENT, model_path


def info(run: Path = RUN_ARGUMENT) -> None:
    """Say what a run or a model file holds.

    Example: rnncore info runs/book
    """
    from rnncore import models
    from rnncore.train import RunFolder

    path = model_path(run)
    model = models.load(path)
    if run.is_dir():
        _print_progress(RunFolder.open(run))
    _line("model", f"{path} ({_size(path)}): {model.kind.replace('_', ' ')}")
    for name, text in model.describe().items():
        _line(name, text)
    _line("parameters", f"{model.parameter_count():,} ({next(model.parameters()).dtype})")
    facts = model.training_facts or {}
    if facts:
        best = {name[6:]: value for name, value in facts.items() if name.startswith("valid_")}
        score = "".join(f", validation {name} {value:.4f}" for name, value in best.items() if isinstance(value, float))
        _line("trained", f"{facts.get('steps', 0):,} updates, {facts.get('epochs', 0)} epochs{score}")


def plot(
    run: Path = typer.Argument(metavar="RUN", help="A run folder.", show_default=False),
    out: Path | None = typer.Option(None, "--out", help="The picture (png, svg, pdf); default: RUN/loss.png."),
) -> None:
    """Draw the loss curve of a run.

    Example: rnncore plot runs/book --out loss.svg
    """
    from rnncore.plot import loss_curve
    from rnncore.train import RunFolder, read_log

    folder = RunFolder.open(run)
    picture = folder.picture if out is None else out
    loss_curve(read_log(folder.log), picture, title=folder.path.resolve().name)
    typer.echo(f"wrote {picture}")


def _print_progress(run: Any) -> None:
    if not run.checkpoint.exists():
        return
    from rnncore.train import Checkpoint

    saved = Checkpoint.load(run.checkpoint)
    progress = saved.progress
    ended = f"finished ({progress.finished})" if progress.finished else f"go on: rnncore train --resume {run.path}"
    _line("run", f"{progress.step:,} updates, {progress.epoch} epochs, {progress.seconds:.0f} s; {ended}")
    if saved.source is not None:
        _line("data", saved.source.describe())
    train = saved.train
    _line("training", f"{train.optimizer} {train.lr:g}, {train.schedule}, batch {train.batch}")


def _line(name: str, text: str) -> None:
    typer.echo(f"{name:<11} {text}")


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
