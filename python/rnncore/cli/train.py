"""``rnncore train``: going on with a run, and what the commands of all kinds share; each kind has a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rnncore.cli.common import THREADS, draw, free_folder, set_threads

if TYPE_CHECKING:
    from rnncore.models import Model
    from rnncore.train import Task, TrainConfig, Trainer, TrainResult

train_app = typer.Typer(invoke_without_command=True, no_args_is_help=True)


@train_app.callback()
def train(
    context: typer.Context,
    resume: Path | None = typer.Option(None, "--resume", metavar="RUN", help="Go on with a stopped run."),
    epochs: int | None = typer.Option(None, "--epochs", metavar="N", help="With --resume: a new limit; others go."),
    steps: int | None = typer.Option(None, "--steps", metavar="N", help="With --resume: a new limit; others go."),
    minutes: float | None = typer.Option(None, "--minutes", metavar="X", help="With --resume: a new limit; others go."),
    threads: int | None = THREADS,
) -> None:
    """Train a model, or go on with a stopped run.

    Example: rnncore train lm --text book.txt --out runs/book

    Example: rnncore train --resume runs/book
    """
    if context.invoked_subcommand is not None:
        if resume is not None:
            raise typer.BadParameter("stands alone: rnncore train --resume RUN", param_hint="--resume")
        return
    if resume is None:
        raise typer.BadParameter("give a kind or --resume RUN; see: rnncore train --help")
    from rnncore.train import Trainer

    set_threads(threads)
    trainer = Trainer.resume(resume, epochs=epochs, steps=steps, minutes=minutes)
    if trainer.progress.finished:
        hint = "train longer with --epochs, --steps or --minutes"
        typer.echo(f"{resume} has finished ({trainer.progress.finished}); {hint}")
        return
    total = "" if trainer.total_steps is None else f" of {trainer.total_steps:,}"
    typer.echo(f"resuming {resume} at update {trainer.progress.step:,}{total}")
    limits = {"epochs": epochs, "steps": steps, "minutes": minutes}
    if given := [f"{name} {limit}" for name, limit in limits.items() if limit is not None]:
        typer.echo(f"new limits: {', '.join(given)}; those before count no more")
    finish(trainer)


def start(
    model: Model,
    task: Task,
    config: TrainConfig,
    *,
    out: Path | None,
    name: str,
    force: bool = False,
    tensorboard: bool = False,
) -> TrainResult:
    """Train in a new run folder: `out`, or a free one under runs/ that is named `name`."""
    from rnncore.train import RunFolder, TensorBoard, Trainer

    trainer = Trainer(model, task, config)
    folder = free_folder(Path("runs") / name) if out is None else out
    trainer.run_in(RunFolder.create(folder, force=force))
    if tensorboard:
        trainer.callbacks.append(TensorBoard(folder / "tensorboard"))
    describe(trainer)
    return finish(trainer)


def describe(trainer: Trainer) -> None:
    """The data, the model and, where sequences are padded, how much of the work is for nothing."""
    typer.echo(trainer.task.describe())
    network = next(iter(trainer.model.describe().values()))
    typer.echo(f"{network}, {trainer.model.parameter_count():,} parameters")
    waste = getattr(trainer.feed, "padding", None)
    if waste is not None:
        typer.echo(f"{len(trainer.feed):,} updates an epoch, {100 * waste:.1f}% of their steps are padding")


def finish(trainer: Trainer) -> TrainResult:
    """Train with a progress bar, draw the picture, say how it ended.

    Raises:
        typer.Exit: with code 130 after Ctrl-C.
    """
    from rich.console import Console

    from rnncore import models
    from rnncore.cli.progress import TrainingProgress
    from rnncore.train.saving import describe_run

    trainer.callbacks.insert(0, TrainingProgress(Console()))
    looks = (trainer.config.inspect_every, trainer.config.inspect_norms)
    if looks != (None, None):
        from rnncore.inspect import Monitor

        trainer.callbacks.append(Monitor(looks[0], norms_every=looks[1]))
    run = trainer.require_run()
    run.write_config(describe_run(trainer))
    result = trainer.fit()
    if result.interrupted:
        typer.echo(f"saved at update {result.steps:,}; go on with: rnncore train --resume {run.path}")
        raise typer.Exit(130)
    picture = draw(run, run.path.resolve().name)
    objective = trainer.task.objective.name
    what = trainer.task.loss_unit if objective == "loss" else objective
    best = "" if result.best_valid is None else f", best validation {result.best_valid:.4f} {what}"
    typer.echo(f"done: {result.steps:,} updates in {result.seconds:.1f} s{best}")
    tested = trainer.task.test(models.load(run.model))  # the best model, not the last
    if tested is not None:
        typer.echo(f"test: {tested}")
    files = [run.model] + ([picture] if picture is not None else [])
    typer.echo(f"wrote {', '.join(map(str, files))}")
    return result
