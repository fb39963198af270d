"""Reports: one HTML file that shows a run, or several beside each other, from what is in their folders.

>>> from rnncore.report import ticks
>>> ticks(0.0, 1.0, 4)
[0.0, 0.25, 0.5, 0.75, 1.0]
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rnncore import _core
from rnncore._messages import message
from rnncore.report.figures import KEYS, Chart, Curve, Figure, HeatMap, all_figures, chosen, rows
from rnncore.report.log import Log, LogFile
from rnncore.report.page import page
from rnncore.report.run import Run
from rnncore.report.svg import ticks

__all__ = [
    "KEYS",
    "Chart",
    "Curve",
    "Figure",
    "HeatMap",
    "Log",
    "LogFile",
    "Run",
    "all_figures",
    "chosen",
    "page",
    "rows",
    "ticks",
    "write_report",
]


def write_report(
    runs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str] | None = None, *, units: bool = True
) -> Path:
    """Write the report of one run, or of several beside each other.

    Args:
        runs: run folders. Whatever is missing in them is left out and said at the end of the page.
        path: the file. Default: ``report.html`` in the (first) run's folder.
        units: colour a text by what single units do (the model is loaded for it). Default: True.

    Returns:
        The file.

    Raises:
        ValueError: no run.
        OSError: a folder that holds none of a run's files, or the report cannot be written.
    """
    if not runs:
        raise ValueError(message("report", "runs", "at least one run folder", "none"))
    found = [Run.read(run) for run in runs]
    out = found[0].folder.path / "report.html" if path is None else Path(path)
    _core.write_file_atomically(os.fspath(out), page(found, units=units).encode("utf-8"))
    return out
