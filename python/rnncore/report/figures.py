"""The figures of a report as numbers: what the page, the pictures of ``rnncore plot`` and the CSV all show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message
from rnncore.report.log import as_number
from rnncore.report.run import Run

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One line: x and y (K,), NaN where there is a gap; `faint`: the background of another one."""

    name: str
    x: Array
    y: Array
    faint: bool = False
    points: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over the updates (or another x).

    Attributes:
        key: what ``rnncore plot --what`` calls it.
        log_y: a logarithmic axis.
    """

    key: str
    title: str
    y_label: str
    curves: tuple[Curve, ...]
    log_y: bool = False
    x_label: str = "updates"


@dataclass(frozen=True)
class HeatMap:
    """Values (X, Y) over x (X,) and y (Y,), as colours between `low` and `high`."""

    key: str
    title: str
    x_label: str
    y_label: str
    value_label: str
    x: Array
    y: Array
    values: Array
    low: float
    high: float


@dataclass(frozen=True)
class Bars:
    """A histogram: counts (B,) between edges (B + 1,)."""

    key: str
    title: str
    edges: Array
    counts: Array


Figure = Chart | HeatMap | Bars

KEYS = ("loss", "perplexity", "learning-rate", "gradient-norm", "speed", "updates", "flow", "gates", "spectra", "dead")


def all_figures(runs: Sequence[Run]) -> list[Figure]:
    """All figures that these runs have numbers for; of several runs first what they share, then each one's own."""
    named = len(runs) > 1
    found: list[Figure] = [chart for chart in _shared(runs, named) if chart.curves]
    for run in runs:
        found += of_run(run, f"{run.name}: " if named else "")
    return found


def shared_charts(runs: Sequence[Run]) -> list[Chart]:
    """The charts that show all runs together."""
    return [chart for chart in _shared(runs, len(runs) > 1) if chart.curves]


def of_run(run: Run, prefix: str = "") -> list[Figure]:
    """What only one run can show: flow of gradients, gates, spectra, updates, dead units."""
    looks = [record for record in run.log.events("inspect") if _is_number(record.get("step"))]
    return [*_flow(looks, prefix), *_gates(looks, prefix), *_spectra(looks, prefix), *_health(looks, prefix)]


def chosen(runs: Sequence[Run], key: str) -> list[Figure]:
    """The figures of one key.

    Raises:
        ValueError: an unknown key, or the runs have no such numbers.
    """
    if key not in (*KEYS, "all"):
        raise ValueError(message("plot", "what", " | ".join((*KEYS, "all")), repr(key)))
    found = [figure for figure in all_figures(runs) if key in ("all", figure.key)]
    if not found:
        hint = "train for some steps first" if key in KEYS[:5] else "train with --inspect N"
        raise ValueError(message("plot", key, "numbers in the log", "none", hint))
    return found


def rows(found: Sequence[Figure]) -> Iterator[tuple[str, str, str, float, float]]:
    """The numbers of figures for a CSV: figure, its title, curve (or y), x, value."""
    for figure in found:
        if isinstance(figure, Chart):
            for curve in figure.curves:
                for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
                    yield figure.key, figure.title, curve.name, x, y
        elif isinstance(figure, HeatMap):
            for i, x in enumerate(figure.x.tolist()):
                for j, y in enumerate(figure.y.tolist()):
                    yield figure.key, figure.title, f"{figure.y_label} {y:g}", x, float(figure.values[i, j])
        else:
            for edge, count in zip(figure.edges.tolist(), figure.counts.tolist(), strict=False):
                yield figure.key, figure.title, "count", edge, count


def _shared(runs: Sequence[Run], named: bool) -> Iterator[Chart]:
    def label(run: Run, what: str) -> str:
        return (f"{run.name} {what}" if what != "training" else run.name) if named else what

    def over_updates(run: Run, column: str, what: str, smooth: bool) -> list[Curve]:
        x, y = run.log.column("step"), run.log.column(column)
        if not np.isfinite(y).any():
            return []
        if not smooth or len(y) < 40:
            return [Curve(label(run, what), x, y)]
        slow = Curve(label(run, f"{what}, smoothed" if not named else what), x, smoothed(y))
        return [slow] if named else [Curve(label(run, what), x, y, faint=True), slow]

    def over_epochs(run: Run, name: str, what: str) -> list[Curve]:
        epochs = [r for r in run.log.events("epoch") if _is_number(r.get(name)) and _is_number(r.get("step"))]
        if not epochs:
            return []
        x, y = (np.array([record[key] for record in epochs], dtype=np.float64) for key in ("step", name))
        return [Curve(label(run, what), x, y, points=True)]

    def all_of(column: str, smooth: bool = True, valid: str = "") -> tuple[Curve, ...]:
        curves = []
        for run in runs:
            curves += over_updates(run, column, "training", smooth)
            curves += over_epochs(run, valid, "validation") if valid else []
        return tuple(curves)

    yield Chart("loss", "Loss", "nats", all_of("loss", valid="valid_loss"))
    yield Chart("perplexity", "Perplexity", "perplexity", all_of("perplexity", valid="valid_perplexity"), log_y=True)
    scores = sorted({name for run in runs for record in run.log.events("epoch") for name in record})
    for name in scores:
        if name.startswith("valid_") and name not in ("valid_loss", "valid_perplexity"):
            curves = tuple(curve for run in runs for curve in over_epochs(run, name, "validation"))
            title = name.removeprefix("valid_").replace("_", " ")
            yield Chart("loss", f"Validation: {title}", title, curves)
    yield Chart("learning-rate", "Learning rate", "rate", all_of("lr", smooth=False))
    yield Chart("gradient-norm", "Gradient norm before clipping", "norm", all_of("grad_norm"), log_y=True)
    clipped = all_of("clipped", smooth=False)
    if any(np.nanmax(curve.y) > 0 for curve in clipped):
        yield Chart("gradient-norm", "Share of updates in which clipping acted", "share", clipped)
    yield Chart("speed", "Speed", "items a second", all_of("tokens_per_second", smooth=False))


def smoothed(values: Array) -> Array:
    """A centred mean over about a twentieth of the curve, over a window that shrinks towards both ends."""
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    at = np.arange(len(values))
    reach = np.minimum(np.minimum(max(len(values) // 40, 1), at), len(values) - 1 - at)
    low, high = at - reach, at + reach + 1
    number = counts[high] - counts[low]
    means = np.full(len(values), np.nan)
    np.divide(sums[high] - sums[low], number, out=means, where=number > 0)
    return means


def _flow(looks: list[dict[str, Any]], prefix: str) -> Iterator[HeatMap]:
    for kind, unit, y_label in (("lag", "h_(t-k)", "lag k"), ("lag_c", "c_(t-k)", "lag k"), ("flow", "h_t", "step t")):
        for layer in _keys(looks, kind):
            lines = [(look["step"], look[kind][layer]) for look in looks if layer in _mapping(look.get(kind))]
            lines = [(step, _floats(values)) for step, values in lines if isinstance(values, list) and values]
            if not lines:
                continue
            width = max(len(values) for _, values in lines)
            table = np.full((len(lines), width), np.nan)
            for row, (_, values) in enumerate(lines):
                base = values[0] if kind == "lag" else np.nanmax(values, initial=0.0)
                if base > 0:
                    table[row, : len(values)] = values / base
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.clip(np.log10(table), -8.0, 4.0)
            over = "that at lag 0" if kind == "lag" else "its largest"  # of c at lag 0 nothing flows but through h
            yield HeatMap(
                "flow", f"{prefix}gradient to {unit}, {layer}", "updates", y_label, f"log10 of the norm over {over}",
                np.array([step for step, _ in lines], dtype=np.float64), np.arange(width, dtype=np.float64), logs,
                -6.0, 1.0 if np.nanmax(logs, initial=0.0) > 0.3 else 0.0,
            )  # fmt: skip


def _gates(looks: list[dict[str, Any]], prefix: str) -> Iterator[Figure]:
    for layer in _keys(looks, "gates"):
        those = [look for look in looks if layer in _mapping(look.get("gates"))]
        x = np.array([look["step"] for look in those], dtype=np.float64)
        letters = list(_mapping(those[-1]["gates"][layer]))
        curves = []
        for letter in letters:
            for side, sign in (("left", "low"), ("right", "high")):
                y = _floats([_mapping(_mapping(look["gates"][layer]).get(letter)).get(side) for look in those])
                curves.append(Curve(f"{letter} {sign}", x, y))
        if curves:
            yield Chart("gates", f"{prefix}saturated values of the gates, {layer}", "share", tuple(curves))
        for letter in letters:
            counts = _floats(_mapping(_mapping(those[-1]["gates"][layer])[letter]).get("counts"))
            if len(counts):
                edges = np.linspace(-1.0 if letter in "gnh" else 0.0, 1.0, len(counts) + 1)
                yield Bars("gates", f"{prefix}{layer}, {letter} at update {int(x[-1]):,}", edges, counts)


def _spectra(looks: list[dict[str, Any]], prefix: str) -> Iterator[Chart]:
    for layer in _keys(looks, "spectra"):
        those = [look for look in looks if layer in _mapping(look.get("spectra"))]
        x = np.array([look["step"] for look in those], dtype=np.float64)
        tables = [look["spectra"][layer] for look in those]
        for place, title in ((0, "spectral radius"), (1, "norm")):
            curves = [
                Curve(letter, x, _floats([_pair(_mapping(at).get(letter))[place] for at in tables]))
                for letter in _mapping(tables[-1])
            ]
            if curves:
                yield Chart("spectra", f"{prefix}{title} of W_hh, {layer}", title, tuple(curves))


def _health(looks: list[dict[str, Any]], prefix: str) -> Iterator[Chart]:
    def curve(name: str, kind: str) -> Curve:
        those = [look for look in looks if name in _mapping(look.get(kind))]  # not the lines with norms alone
        x = np.array([look["step"] for look in those], dtype=np.float64)
        values = [look[kind][name] for look in those]
        return Curve(name, x, _floats(values if kind == "updates" else [_pair(value)[0] for value in values]))

    names = _keys(looks, "updates")
    if names:
        curves = [curve(name, "updates") for name in names]
        curves.sort(key=lambda curve: -float(np.nanmedian(curve.y)) if np.isfinite(curve.y).any() else 0.0)
        yield Chart("updates", f"{prefix}update over weight", "ratio", tuple(curves[:8]), log_y=True)
    layers = _keys(looks, "dead")
    if layers:
        curves = [curve(layer, "dead") for layer in layers]
        if any(np.nanmax(curve.y, initial=0.0) > 0 for curve in curves):
            yield Chart("dead", f"{prefix}dead units", "units", tuple(curves))


def _keys(looks: list[dict[str, Any]], kind: str) -> list[str]:
    return list(dict.fromkeys(key for look in looks for key in _mapping(look.get(kind))))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pair(value: Any) -> list[Any]:
    return value if isinstance(value, list) and len(value) == 2 else [None, None]


def _is_number(value: Any) -> bool:
    return not np.isnan(as_number(value))


def _floats(values: Any) -> Array:
    """Numbers, NaN where there is none; empty if it is no list."""
    return np.array([as_number(value) for value in values] if isinstance(values, list) else [], dtype=np.float64)
