"""Whether a network is well: saturated gates, dead units, the size of updates, how often clipping acted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore import nn
from rnncore._messages import message, positive
from rnncore.inspect.watch import WatchedLayer

Array = NDArray[Any]

_CANDIDATES = "gnh"  # in (-1, 1) with tanh; the other letters are gates, in (0, 1)


@dataclass(frozen=True)
class GateUse:
    """Where the values of one gate lie, over the steps and rows of a watched call at which the unit runs.

    Attributes:
        layer: as `WatchedLayer.name`.
        gate: its letter.
        edges: (B + 1,), of the histogram's bins: over [0, 1] for gates, [-1, 1] for candidates (g, n, h).
        counts: (B,), values in each bin; what lies outside counts in the outermost bins.
        left: (H,), for each unit the share of values in the lowest tenth of [0, 1], or below -0.9 for candidates.
        right: (H,), the share in the highest tenth, or above 0.9.
    """

    layer: str
    gate: str
    edges: Array
    counts: Array
    left: Array
    right: Array


def gate_use(layer: WatchedLayer, *, bins: int = 20) -> list[GateUse]:
    """Histograms and saturation of every gate of a watched call (Karpathy, Johnson & Fei-Fei 2015, section 4.2).

    Args:
        layer: of `watched`; without layer normalisation.
        bins: B. Default: 20.

    Returns:
        One per gate, in the order of the weights' rows.

    Raises:
        ValueError: a layer that does not keep its gates, or bins below 1.
    """
    positive("gate use", "bins", bins)
    values, running, found = layer.gate_values, layer.running, []
    steps = np.maximum(running.sum(axis=(0, 1)), 1)
    for index, gate in enumerate(layer.gates):
        low = -1.0 if gate in _CANDIDATES else 0.0
        edge = 0.9 if gate in _CANDIDATES else 0.1
        here = values[:, :, index]
        edges = np.linspace(low, 1.0, bins + 1)
        counts, _ = np.histogram(np.clip(here[running], low, 1.0), bins=edges)
        left = (running & (here < (-edge if gate in _CANDIDATES else edge))).sum(axis=(0, 1)) / steps
        right = (running & (here > 0.9)).sum(axis=(0, 1)) / steps
        found.append(GateUse(layer.name, gate, edges, counts, left, right))
    return found


def dead_units(layer: WatchedLayer, *, tolerance: float = 1e-6) -> list[int]:
    """Units whose h did not change by more than `tolerance` over all steps and rows of a watched call."""
    flat = layer.h.reshape(-1, layer.h.shape[2])
    return [int(unit) for unit in np.flatnonzero(np.ptp(flat, axis=0) <= tolerance)]


@contextmanager
def update_ratios(model: nn.Module) -> Iterator[dict[str, float]]:
    """||W_after - W_before|| / ||W_before|| of each parameter over the block (Euclidean norms), by name.

    About 1e-3 an update is healthy; much more is unstable, much less is slow. A parameter that was zero gives inf if
    it changed, else 0.

    >>> import rnncore
    >>> from rnncore import nn
    >>> layer = nn.Linear(1, 1)
    >>> with rnncore.no_grad():
    ...     _ = layer.weight.copy_(rnncore.ones(1, 1))
    >>> with update_ratios(layer) as ratios, rnncore.no_grad():
    ...     _ = layer.weight.copy_(rnncore.full((1, 1), 1.5))
    >>> ratios["weight"], ratios["bias"]
    (0.5, 0.0)
    """
    before = weights_of(model)
    ratios: dict[str, float] = {}
    yield ratios
    ratios.update({name: update_ratio(before[name], after) for name, after in weights_of(model).items()})


def weights_of(model: nn.Module) -> dict[str, Array]:
    """A copy of every parameter, by name."""
    return {name: np.array(parameter.numpy()) for name, parameter in model.named_parameters()}


def update_ratio(before: Array, after: Array) -> float:
    """||after - before|| / ||before||; of zeros inf, or 0 where they stay zeros."""
    change = float(np.linalg.norm(np.subtract(after, before, dtype=np.float64)))
    size = float(np.linalg.norm(before.astype(np.float64)))
    return change / size if size > 0 else (np.inf if change > 0 else 0.0)


@dataclass(frozen=True)
class Clipping:
    """What a run's log says of its gradients.

    Attributes:
        steps: (K,), the updates that the log has a line for.
        norms: (K,), the gradient's norm before clipping at these updates; NaN where it was not finite.
        shares: (K,), the share of the updates since the line before in which clipping by norm acted.
        share: the same over all updates that the lines cover.
    """

    steps: Array
    norms: Array
    shares: Array
    share: float


def clipping(records: Sequence[Mapping[str, Any]]) -> Clipping:
    """The gradient norm before clipping, and how often clipping acted, from a log (`train.read_log`).

    Raises:
        ValueError: no step in the log.
    """
    lines = [record for record in records if record.get("event") == "step"]
    if not lines:
        raise ValueError(message("clipping", "records", "at least one step", "none", "train for some steps first"))
    steps = np.array([line["step"] for line in lines])
    norms = np.array([np.nan if line["grad_norm"] is None else line["grad_norm"] for line in lines], dtype=np.float64)
    shares = np.array([line["clipped"] for line in lines], dtype=np.float64)
    updates = np.diff(steps, prepend=0)
    return Clipping(steps, norms, shares, float((shares * updates).sum() / updates.sum()))
