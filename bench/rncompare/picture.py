"""The picture of a comparison: a panel for each cell and kind of work, a bar for each row and peer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rncompare.cases import CELLS
from rncompare.measure import Row
from rncompare.report import WITH_VOCABULARY, Report, machine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL_TITLES = {"lstm": "LSTM", "gru": "GRU", "rnn-tanh": "tanh RNN"}
WORK_TITLES = {"train": "training step", "infer": "inference"}
BAR_INCHES = 0.13


def save_plot(report: Report, path: Path) -> None:
    """Draws rnncore's ratio to every peer on one logarithmic scale; the line at 1 is the peer."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for row in report.rows if any(row.ratio(peer) is not None for peer in report.peers)]
    layers = [[_of(rows, work, cell) for cell in CELLS] for work in WORK_TITLES]
    bands = [(work, band) for work, band in zip(WORK_TITLES, layers, strict=True) if any(band)]
    models = [row for row in rows if row.case.work in WITH_VOCABULARY]
    bars = max(1, len(report.peers))
    heights = [max(len(panel) for panel in band) * bars for _, band in bands] + [len(models) * bars] * bool(models)
    figure = plt.figure(figsize=(12, 1.4 + sum(BAR_INCHES * height + 0.6 for height in heights)))
    grid = figure.add_gridspec(len(heights), len(CELLS), height_ratios=[height + 3 for height in heights])
    limits = _limits(report, rows)
    for index, (work, band) in enumerate(bands):
        for column, (cell, panel) in enumerate(zip(CELLS, band, strict=True)):
            if panel:
                axes = figure.add_subplot(grid[index, column])
                names = [f"{row.case.T}, {row.case.N}, {row.case.L}, {row.case.H}" for row in panel]
                _draw(axes, report, panel, names, limits)
                axes.set_title(f"{CELL_TITLES[cell]}, {WORK_TITLES[work]}  (T, N, L, H)", fontsize=9)
    if models:
        axes = figure.add_subplot(grid[-1, :])
        _draw(axes, report, models, [row.case.name for row in models], limits)
        axes.set_title("language models", fontsize=9)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    title = f"rnncore's speed ÷ the peer's, higher is better. {machine()}, {report.threads} threads, float32"
    figure.suptitle(title, fontsize=10)
    figure.legend(handles, labels, loc="lower center", ncols=bars, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.025, 1, 0.99))
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _of(rows: list[Row], work: str, cell: str) -> list[Row]:
    return [row for row in rows if row.case.work == work and row.case.cell == cell]


def _limits(report: Report, rows: list[Row]) -> tuple[float, float]:
    """Of the scale: all bars, with room for their numbers."""
    ratios: list[Any] = [row.ratio(peer) or 1.0 for row in rows for peer in report.peers]
    return 0.8 * min([1.0, *ratios]), 2.2 * max([1.0, *ratios])


def _draw(axes: Axes, report: Report, rows: list[Row], names: list[str], limits: tuple[float, float]) -> None:
    height = 0.8 / max(1, len(report.peers))
    for index, peer in enumerate(report.peers):
        ratios = [row.ratio(peer) or math.nan for row in rows]
        positions = [position + (index + 0.5) * height - 0.4 for position in range(len(rows))]
        label = f"{peer} {report.versions[peer].split()[0]}"
        bars = axes.barh(positions, ratios, height=height, label=label, color=f"C{index}")
        axes.bar_label(bars, fmt=lambda ratio: "" if math.isnan(ratio) else f"{ratio:.3g}", padding=2, fontsize=7)
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.4, -0.6)
