"""``rnncore info``, ``rnncore plot`` and ``rnncore report``."""

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
    runs: list[Path] = typer.Argument(metavar="RUN...", help="Run folders.", show_default=False),
    out: Path | None = typer.Option(None, "--out", help="The picture (png, svg, pdf); default: RUN/loss.png."),
    what: str = typer.Option(
        "loss", "--what", metavar="NAME",
        help="loss, perplexity, learning-rate, gradient-norm, speed; with --inspect: flow, gates, spectra, "
        "updates, dead; or all.",
    ),
    csv: Path | None = typer.Option(None, "--csv", metavar="FILE", help="Write the same numbers as CSV too."),
) -> None:  # fmt: skip
    """Draw curves of a run, or of several together.

    Example: rnncore plot runs/book --out loss.svg

    Example: rnncore plot runs/a runs/b --what gradient-norm --out norms.png --csv norms.csv
    """
    from rnncore.plot import draw_figures, loss_curve
    from rnncore.report import Run, chosen
    from rnncore.train import RunFolder, read_log

    if len(runs) == 1 and what == "loss" and csv is None:
        folder = RunFolder.open(runs[0])
        picture = folder.picture if out is None else out
        loss_curve(read_log(folder.log), picture, title=folder.path.resolve().name)
        typer.echo(f"wrote {picture}")
        return
    found = [Run.read(run) for run in runs]
    figures = chosen(found, what)
    picture = found[0].folder.path / f"{what}.png" if out is None else out
    if csv is not None:
        _write_csv(csv, figures)
        typer.echo(f"wrote {csv}")
    draw_figures(figures, picture)
    typer.echo(f"wrote {picture}")


def report(
    runs: list[Path] = typer.Argument(metavar="RUN...", help="Run folders.", show_default=False),
    out: Path | None = typer.Option(None, "--out", help="The page; default: report.html in the first run."),
    units: bool = typer.Option(True, "--units/--no-units", help="Colour a text by what single units do."),
) -> None:
    """Show a run, or several beside each other, as one HTML page that needs no network.

    Example: rnncore report runs/book

    Example: rnncore report runs/a runs/b --out compared.html
    """
    from rnncore.report import write_report

    typer.echo(f"wrote {write_report(runs, out, units=units)}")


def _write_csv(path: Path, figures: Any) -> None:
    import csv

    from rnncore.report import rows

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["figure", "title", "curve", "x", "value"])
        writer.writerows(rows(figures))


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
