"""Pictures of a run (matplotlib, imported when a picture is drawn)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnncore._messages import message

if TYPE_CHECKING:
    from rnncore.inspect.flow import LagProfile
    from rnncore.report.figures import Figure

_TRAIN, _VALID, _SMOOTH = "#9db8d9", "#d1495b", "#1f4e8c"
_FLOOR = 1e-8  # what is smaller is not drawn


def loss_curve(
    records: Sequence[dict[str, Any]], path: str | os.PathLike[str], *, title: str = "", dpi: int = 150
) -> None:
    """Draw training and validation loss against the updates.

    Args:
        records: of a run's log (`train.read_log`).
        path: the picture; its ending decides the format (png, svg, pdf).
        title: above the picture.
        dpi: of a png; default 150.

    Raises:
        ImportError: matplotlib is missing: ``pip install 'rnncore[plot]'``.
        ValueError: nothing to draw, or an unknown format.
    """
    steps, epochs = _pairs(records, "step", "loss"), _pairs(records, "epoch", "valid_loss")
    if not steps and not epochs:
        raise ValueError(message("plot", "log", "at least one loss", "none", "train for some steps first"))
    figure_class, canvas_class = matplotlib_classes()
    figure = figure_class(figsize=(7, 4), layout="constrained")
    canvas_class(figure)
    axes = figure.add_subplot()
    if steps:
        x, y = zip(*steps, strict=True)
        axes.plot(x, y, color=_TRAIN, linewidth=0.8, label="training")
        if len(y) >= 20:
            axes.plot(x, _smoothed(y), color=_SMOOTH, linewidth=1.6, label="training, smoothed")
    if epochs:
        x, y = zip(*epochs, strict=True)
        axes.plot(x, y, color=_VALID, marker="o", markersize=4, linewidth=1.2, label="validation")
        best = min(range(len(y)), key=y.__getitem__)
        axes.annotate(
            f"{y[best]:.3f}", (x[best], y[best]), xytext=(0, 8), textcoords="offset points", ha="center", color=_VALID
        )
    axes.set_xlabel("updates")
    axes.set_ylabel("loss")
    axes.set_title(title or "Loss")
    axes.grid(alpha=0.25)
    axes.margins(y=0.12)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False)
    _save(figure, path, dpi)


def _pairs(records: Sequence[dict[str, Any]], event: str, name: str) -> list[tuple[float, float]]:
    """(update, value) of the records of a kind, where both are numbers."""
    from rnncore.report.log import as_number

    found = [(as_number(one.get("step")), as_number(one.get(name))) for one in records if one.get("event") == event]
    return [(x, y) for x, y in found if x == x and y == y]


def lag_curves(
    profiles: Mapping[str, LagProfile], path: str | os.PathLike[str], *, title: str = "", dpi: int = 150
) -> None:
    """Draw mean gradient norms against the lag, each relative to lag 0, on a logarithmic axis.

    Args:
        profiles: of `inspect.gradient_lag`, by the name that the legend shows.
        path: the picture; its ending decides the format (png, svg, pdf).
        title: above the picture.
        dpi: of a png; default 150.

    Raises:
        ImportError: matplotlib is missing: ``pip install 'rnncore[plot]'``.
        ValueError: nothing to draw, or an unknown format.
    """
    curves = {name: profile.mean() for name, profile in profiles.items()}
    curves = {name: mean / mean[0] for name, mean in curves.items() if mean[0] > 0}
    if not curves:
        raise ValueError(message("plot", "profiles", "at least one with a gradient at lag 0", "none"))
    figure_class, canvas_class = matplotlib_classes()
    figure = figure_class(figsize=(7, 4), layout="constrained")
    canvas_class(figure)
    axes = figure.add_subplot()
    for name, mean in curves.items():
        axes.plot(range(len(mean)), mean, linewidth=1.6, label=name)
    axes.set_yscale("log")
    axes.set_ylim(bottom=_FLOOR)
    axes.axhline(0.01, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("lag k (steps)")
    axes.set_ylabel("norm of dL_t/dh_(t-k), over that at lag 0")
    axes.set_title(title or "How far back gradients reach")
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False)
    _save(figure, path, dpi)


def draw_figures(figures: Sequence[Figure], path: str | os.PathLike[str], *, dpi: int = 150) -> None:
    """Draw the figures of a report (`report.chosen`), two beside each other.

    Args:
        figures: at least one.
        path: the picture; its ending decides the format (png, svg, pdf).
        dpi: of a png; default 150.

    Raises:
        ImportError: matplotlib is missing: ``pip install 'rnncore[plot]'``.
        ValueError: nothing to draw, or an unknown format.
    """
    if not figures:
        raise ValueError(message("plot", "figures", "at least one", "none"))
    from rnncore.report.figures import Bars, Chart

    figure_class, canvas_class = matplotlib_classes()
    columns = min(len(figures), 2)
    lines = -(-len(figures) // columns)
    whole = figure_class(figsize=(6.5 * columns, 3.8 * lines), layout="constrained")
    canvas_class(whole)
    for number, figure in enumerate(figures, start=1):
        axes = whole.add_subplot(lines, columns, number)
        axes.set_title(figure.title, fontsize=10)
        if isinstance(figure, Chart):
            _draw_chart(axes, figure)
        elif isinstance(figure, Bars):
            axes.stairs(figure.counts, figure.edges, fill=True, color=_SMOOTH)
            axes.set_xlabel("value")
        else:
            ends = figure.x if figure.x[-1] > figure.x[0] else [figure.x[0] - 0.5, figure.x[0] + 0.5]
            extent = (ends[0], ends[-1], figure.y[0] - 0.5, figure.y[-1] + 0.5)
            image = axes.imshow(
                figure.values.T, origin="lower", aspect="auto", extent=extent, vmin=figure.low, vmax=figure.high
            )
            whole.colorbar(image, ax=axes, label=figure.value_label)
            axes.set_xlabel(figure.x_label)
            axes.set_ylabel(figure.y_label)
    _save(whole, path, dpi)


def _draw_chart(axes: Any, chart: Any) -> None:
    for curve in chart.curves:
        style = {"alpha": 0.3, "linewidth": 0.8} if curve.faint else {"linewidth": 1.5, "label": curve.name}
        axes.plot(curve.x, curve.y, marker="o" if curve.points else None, markersize=3, **style)
    if chart.log_y:
        axes.set_yscale("log")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)


def _save(figure: Any, path: str | os.PathLike[str], dpi: int) -> None:
    try:
        figure.savefig(os.fspath(path), dpi=dpi)
    except ValueError as error:
        raise ValueError(message("plot", str(path), "a name that ends in .png, .svg or .pdf", str(error))) from None


def _smoothed(values: Sequence[float]) -> list[float]:
    """A centred moving average over about a twentieth of the curve."""
    half = max(len(values) // 40, 1)
    result = []
    for index in range(len(values)):
        reach = min(half, index, len(values) - 1 - index)  # symmetric, so that the ends are not bent
        part = values[index - reach : index + reach + 1]
        result.append(sum(part) / len(part))
    return result


def matplotlib_classes() -> tuple[Any, Any]:
    """Figure and a canvas that needs no display."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib; install it with: pip install 'rnncore[plot]'") from None
    return Figure, FigureCanvasAgg
