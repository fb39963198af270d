"""Figures as small SVG: they take their colours from the page's style sheet, so that they follow light and dark."""

from __future__ import annotations

import base64
import itertools
import struct
import zlib
from html import escape

import numpy as np
from numpy.typing import NDArray

from rnncore.report.figures import Bars, Chart, Curve, Figure, HeatMap

Array = NDArray[np.float64]

_W, _H = 480, 250  # of the view box; the page scales it
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 10, 40
_BUCKETS = 360  # points of a curve; more are reduced to the range of each bucket
_CELLS = (240, 120)  # of a heat map, at most
# Anchors of the colour map of heat maps, from low to high: dark violet, blue-green, yellow.
_MAP = np.array([[48, 18, 80], [62, 73, 137], [38, 130, 142], [53, 183, 121], [170, 220, 50], [253, 231, 37]])


def svg(figure: Figure) -> str:
    """The picture of a figure, without its title."""
    if isinstance(figure, Chart):
        return _chart(figure)
    return _heat_map(figure) if isinstance(figure, HeatMap) else _bars(figure)


def legend(figure: Figure) -> str:
    """What the colours mean, as HTML; empty where there is one curve alone."""
    if isinstance(figure, HeatMap):
        stops = ",".join(f"rgb({r} {g} {b})" for r, g, b in _MAP.tolist())
        bar = f'<i class="bar" style="background:linear-gradient(90deg,{stops})"></i>'
        return f'<span class="scale">{figure.low:g}{bar}{figure.high:g}</span> {escape(figure.value_label)}'
    if isinstance(figure, Bars):
        return ""
    items = []
    for name, colour, last in _named(figure):
        value = "" if last is None else f" <b>{number(last)}</b>"
        items.append(f'<span class="k c{colour}">{escape(name)}{value}</span>')
    return " ".join(items)


def number(value: float) -> str:
    """A number for people: four digits, thousands apart."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        return f"{value:.2e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _named(chart: Chart) -> list[tuple[str, int, float | None]]:
    """Legend entries: name, colour, last value; faint curves share the next one's colour and are not named."""
    return [(curve.name, colour, _last(curve)) for curve, colour in coloured_curves(chart) if not curve.faint]


def coloured_curves(chart: Chart) -> list[tuple[Curve, int]]:
    """Each curve and the number of its colour."""
    colour, result = 0, []
    for curve in chart.curves:
        result.append((curve, colour % 8))
        colour += not curve.faint
    return result


def _last(curve: Curve) -> float | None:
    finite = curve.y[np.isfinite(curve.y)]
    return float(finite[-1]) if len(finite) else None


def _chart(chart: Chart) -> str:
    there = [np.isfinite(curve.x) & np.isfinite(curve.y) for curve in chart.curves]
    xs = np.concatenate([curve.x[keep] for curve, keep in zip(chart.curves, there, strict=True)])
    ys = np.concatenate([curve.y[keep] for curve, keep in zip(chart.curves, there, strict=True)])
    log = chart.log_y and bool((ys > 0).any())
    if log:
        xs, ys = xs[ys > 0], ys[ys > 0]
    if len(ys) == 0:
        return _frame(chart.title, f'<text x="{_W / 2}" y="{_H / 2}" text-anchor="middle">no finite number</text>')
    x_range = _range(xs, pad=0.0)
    y_range = _range(np.log10(ys) if log else ys, pad=0.05)
    parts = [_axes(x_range, y_range, chart.x_label, log)]
    for (curve, colour), finite in zip(coloured_curves(chart), there, strict=True):
        keep = finite & ((curve.y > 0) if log else True)
        x, y = curve.x[keep], curve.y[keep]
        px = _place(x, x_range, _LEFT, _W - _RIGHT)
        py = _place(np.log10(y) if log else y, y_range, _H - _BOTTOM, _TOP)
        px, py = _reduced(px, py)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
        style = f"l s{colour}" + (" f" if curve.faint else "")
        parts.append(f'<polyline class="{style}" points="{points}"/>')
        if len(px) == 1 or (curve.points and len(px) <= 60):
            parts += [
                f'<circle class="s{colour} p" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in zip(px, py, strict=True)
            ]
    return _frame(chart.title, "".join(parts))


def _reduced(x: Array, y: Array) -> tuple[Array, Array]:
    """At most about two points a bucket: its lowest and its highest, in their order, so that no spike is lost."""
    if len(x) <= 2 * _BUCKETS:
        return x, y
    edges = np.linspace(0, len(x), _BUCKETS + 1).astype(np.int64)
    kept: list[int] = [0]
    for low, high in itertools.pairwise(edges):
        part = y[low:high]
        kept += sorted({int(low + part.argmin()), int(low + part.argmax())})
    kept.append(len(x) - 1)
    return x[kept], y[kept]


def _heat_map(heat: HeatMap) -> str:
    values = _pooled(_pooled(heat.values, _CELLS[0], 0), _CELLS[1], 1)
    x_range = _range(heat.x, pad=0.0)
    y_range = (float(heat.y[0]), float(heat.y[-1]) + 1.0)
    width, height = _W - _LEFT - _RIGHT, _H - _TOP - _BOTTOM
    picture = base64.b64encode(_png(_colours(values, heat.low, heat.high).transpose(1, 0, 2)[::-1])).decode()
    image = (
        f'<image x="{_LEFT}" y="{_TOP}" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{picture}"/>'
    )
    return _frame(heat.title, image + _axes(x_range, y_range, heat.x_label, False, heat.y_label))


def _pooled(values: Array, most: int, axis: int) -> Array:
    """Means of neighbours, so that an axis has at most `most` cells."""
    length = values.shape[axis]
    if length <= most:
        return values
    edges = np.linspace(0, length, most + 1).astype(np.int64)
    there = np.isfinite(values)
    sums = np.add.reduceat(np.where(there, values, 0.0), edges[:-1], axis=axis)
    counts = np.add.reduceat(there.astype(np.float64), edges[:-1], axis=axis)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def _colours(values: Array, low: float, high: float) -> NDArray[np.uint8]:
    """(..., 4) red, green, blue, alpha; what is NaN is transparent."""
    place = np.clip((np.nan_to_num(values) - low) / (high - low), 0.0, 1.0) * (len(_MAP) - 1)
    parts = [np.interp(place, np.arange(len(_MAP)), _MAP[:, channel]) for channel in range(3)]
    return np.asarray(np.stack([*parts, np.where(np.isnan(values), 0.0, 255.0)], axis=-1).round(), dtype=np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of (height, width, 4) pixels."""
    height, width, _ = pixels.shape
    raw = b"".join(b"\x00" + pixels[row].tobytes() for row in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def _bars(bars: Bars) -> str:
    x_range = (float(bars.edges[0]), float(bars.edges[-1]))
    most = float(np.nanmax(bars.counts, initial=0.0)) or 1.0
    shares = np.nan_to_num(bars.counts) / most
    parts = []
    for low, high, share in zip(bars.edges[:-1], bars.edges[1:], shares, strict=True):
        left, right = _place(np.array([low, high]), x_range, _LEFT, _W - _RIGHT)
        height = share * (_H - _TOP - _BOTTOM)
        top = _H - _BOTTOM - height
        parts.append(
            f'<rect class="b" x="{left + 0.5:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" height="{height:.1f}"/>'
        )
    total = float(np.nansum(bars.counts)) or 1.0
    return _frame(bars.title, _axes(x_range, (0.0, most / total), "value", False) + "".join(parts))


def _frame(title: str, inside: str) -> str:
    return f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="{escape(title, quote=True)}">{inside}</svg>'


def _range(values: Array, pad: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high == low:
        half = abs(low) * 0.1 or 0.5
        return low - half, high + half
    return low - pad * (high - low), high + pad * (high - low)


def _place(values: Array, span: tuple[float, float], start: float, stop: float) -> Array:
    return np.asarray(start + (values - span[0]) / (span[1] - span[0]) * (stop - start))


def _axes(x: tuple[float, float], y: tuple[float, float], x_label: str, log: bool, y_label: str = "") -> str:
    """Numbers along both sides and, unless the upward axis has a name (a heat map's), a grid."""
    parts = []
    grid = not y_label
    for value in ticks(*x, 6):
        at = float(_place(np.array([value]), x, _LEFT, _W - _RIGHT)[0])
        if grid:
            parts.append(f'<path class="g" d="M{at:.1f} {_TOP}V{_H - _BOTTOM}"/>')
        parts.append(f'<text x="{at:.1f}" y="{_H - _BOTTOM + 16}" text-anchor="middle">{_tick(value)}</text>')
    for value, text in _y_ticks(*y, log):
        at = float(_place(np.array([value]), y, _H - _BOTTOM, _TOP)[0])
        if grid:
            parts.append(f'<path class="g" d="M{_LEFT} {at:.1f}H{_W - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4.5:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<text class="n" x="{_W - _RIGHT}" y="{_H - 6}" text-anchor="end">{escape(x_label)}</text>')
    if y_label:
        parts.append(f'<text class="n" x="4" y="{_H - 6}">{escape(y_label)} upwards</text>')
    return "".join(parts)


def _y_ticks(low: float, high: float, log: bool) -> list[tuple[float, str]]:
    if not log:
        return [(value, _tick(value)) for value in ticks(low, high, 5)]
    if high - low >= 2:
        step = max(int(np.ceil((high - low) / 6)), 1)
        return [(float(p), _tick(10.0**p)) for p in range(int(np.ceil(low)), int(np.floor(high)) + 1, step)]
    if high - low >= 0.7:
        powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        places = [(float(np.log10(m) + p), _tick(m * 10.0**p)) for p in powers for m in (1, 2, 5)]
        return [place for place in places if low <= place[0] <= high]
    return [(float(np.log10(value)), _tick(value)) for value in ticks(10**low, 10**high, 5) if value > 0]


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers within [low, high], about `count` of them.

    >>> ticks(0.0, 10.0, 5)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= rough * 0.999)
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [float(f"{index * step:.10g}") for index in range(first, last + 1)]


def _tick(value: float) -> str:
    size = abs(value)
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            unit = 1e3 if letter == "k" else limit
            return f"{value / unit:g}{letter}"
    return f"{value:g}" if size >= 1e-3 or value == 0 else f"{value:.0e}".replace("e-0", "e-")
