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
    from rnncore.models import LanguageModel
    from rnncore.train import RunFolder

    path = model_path(run)
    model = LanguageModel.load(path)
    if run.is_dir():
        _print_progress(RunFolder.open(run))
    config = model.config
    _line("model", f"{path} ({_size(path)})")
    tied = ", tied" if config.tie_weights else ""
    _line("cell", f"{config.cell}, {config.num_layers} x {config.hidden_size}, dropout {config.dropout:g}")
    _line("embedding", f"{config.vocab_size} x {config.embedding_size}{tied}, {config.dtype}")
    _line("parameters", f"{model.parameter_count():,}")
    if model.vocabulary is not None:
        unknown = "" if model.vocabulary.unknown is None else f", others are {model.vocabulary.unknown}"
        _line("vocabulary", f"{len(model.vocabulary):,} {model.vocabulary.level}s{unknown}")
    facts = model.training_facts or {}
    if facts:
        nats = facts.get("valid_nats")
        score = f", validation {nats:.4f} nats" if isinstance(nats, float) else ""
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
        _line("text", f"{saved.source.train} ({saved.source.level})")
    train = saved.train
    _line("training", f"{train.optimizer} {train.lr:g}, {train.schedule}, batch {train.batch}, bptt {train.bptt}")


def _line(name: str, text: str) -> None:
    typer.echo(f"{name:<11} {text}")


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
