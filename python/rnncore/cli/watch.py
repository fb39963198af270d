"""``rnncore watch``: a run that is being trained, live in the terminal."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from rnncore.report import LogFile
    from rnncore.train import RunFolder

_BLOCKS = " ▁▂▃▄▅▆▇█"
_STALE = 30.0  # seconds without a line after which a run counts as stopped


def watch(
    run: Path = typer.Argument(metavar="RUN", help="A run folder.", show_default=False),
    interval: float = typer.Option(1.0, "--interval", metavar="S", min=0.05, help="Seconds between two looks."),
    once: bool = typer.Option(False, "--once", help="Show how the run stands, and end."),
) -> None:
    """Watch a run: curves, norms, the last sample. A run that is killed and resumed goes on here too.

    Example: rnncore watch runs/book
    """
    from rich.console import Console
    from rich.live import Live

    from rnncore.report import LogFile
    from rnncore.train import RunFolder

    folder = RunFolder.open(run)
    console, file = Console(), LogFile(folder.log)
    if once or not console.is_terminal:
        _poll(file)
        console.print(_screen(folder, file, console.width))
        return
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            _poll(file)
            live.update(_screen(folder, file, console.width), refresh=True)
            time.sleep(interval)


def _poll(file: LogFile) -> None:
    try:
        file.poll()
    except FileNotFoundError:
        file.reset()  # the run has not begun, or begins anew


def _screen(folder: RunFolder, file: LogFile, width: int) -> Group:
    """Everything that is shown at one moment."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from rnncore.report.log import as_count, as_number

    log = file.log
    parts: list[Any] = [Text(f"{folder.path}  {_state(file)}", style="bold")]
    table = Table.grid(padding=(0, 2))
    room = max(width - 46, 10)
    for name, column in (
        ("loss", "loss"),
        ("perplexity", "perplexity"),
        ("gradient norm", "grad_norm"),
        ("clipped", "clipped"),
        ("learning rate", "lr"),
        ("items a second", "tokens_per_second"),
    ):
        values = log.column(column).tolist()
        if any(value == value for value in values):
            table.add_row(name, _number(values), sparkline(values, room))
    for name in dict.fromkeys(key for record in log.events("epoch") for key in record):
        if name.startswith("valid_"):
            values = [as_number(record.get(name)) for record in log.events("epoch")]
            table.add_row(name.replace("_", " "), _number(values), sparkline(values, room))
    looks = log.events("inspect")
    for name, kind in (("lag", "by lag"), ("flow", "by step")):
        found = looks[-1].get(name) if looks else None
        for layer, norms in found.items() if isinstance(found, dict) else ():
            values = [_log(value) for value in norms] if isinstance(norms, list) else []
            table.add_row(f"gradient {kind}, {layer}", "", sparkline(values, room))
    parts.append(table)
    samples = [record for record in log.events("sample") if isinstance(record.get("text"), str)]
    if samples:
        epoch = as_count(samples[-1].get("epoch"), len(samples))
        parts.append(Text(f"\nsample of epoch {epoch:,}:", style="bold"))
        parts.append(Text(samples[-1]["text"][:400]))
    return Group(*parts)


def _state(file: LogFile) -> str:
    from rnncore.report.log import as_count

    steps = file.log.column("step")
    if not len(steps):
        return "no update is logged yet"
    try:
        age = time.time() - file.path.stat().st_mtime
    except OSError:
        return "the log is gone"
    epochs = file.log.events("epoch")
    where = f"update {as_count(steps[-1], len(steps)):,}"
    where += f", {as_count(epochs[-1].get('epoch'), len(epochs)):,} epochs" if epochs else ""
    return where if age < _STALE else f"{where}; no line for {age:,.0f} s (ended, or stopped)"


def sparkline(values: list[float], width: int) -> str:
    """Numbers as blocks, the means of neighbours where there are more than `width`; a gap where there is none.

    >>> sparkline([1.0, 2.0, 3.0, float("nan"), 1.0], 10)
    '▁▅█ ▁'
    """
    if len(values) > width:
        edges = [len(values) * index // width for index in range(width + 1)]
        values = [_mean(values[low:high]) for low, high in itertools.pairwise(edges)]
    finite = [value for value in values if abs(value) < float("inf")]
    if not finite:
        return ""
    low, span = min(finite), (max(finite) - min(finite)) or 1.0

    def block(value: float) -> str:
        return _BLOCKS[1 + int((value - low) / span * 7 + 0.5)] if abs(value) < float("inf") else " "

    return "".join(block(value) for value in values)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if abs(value) < float("inf")]
    return sum(finite) / len(finite) if finite else float("nan")


def _log(value: Any) -> float:
    from rnncore.report.log import as_number

    number = as_number(value)
    return math.log10(number) if number > 0 else float("nan")


def _number(values: list[float]) -> str:
    finite = [value for value in values if value == value]
    return f"{finite[-1]:,.4g}" if finite else ""
