"""Gradients on their way back through time: norms by step, and by lag from the loss of one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore import Tensor, nn
from rnncore._messages import message
from rnncore.inspect.watch import watched

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerFlow:
    """The loss's gradient at every step of one layer and direction.

    Attributes:
        name: "rnn.l0", ...; as `WatchedLayer.name`.
        dh: (T, N, R), dL/dh_t, on all paths.
        dc: (T, N, H), dL/dc_t with h_t held; None where the cell has no c. See `WatchedLayer.dc`.
    """

    name: str
    dh: Array
    dc: Array | None

    @property
    def h_norms(self) -> Array:
        """(T, N): Euclidean norms of dL/dh_t over the units."""
        return np.asarray(np.linalg.norm(self.dh, axis=2))

    @property
    def c_norms(self) -> Array | None:
        """(T, N): Euclidean norms of dL/dc_t over the units."""
        return None if self.dc is None else np.asarray(np.linalg.norm(self.dc, axis=2))


def gradient_flow(model: nn.Module, loss: Callable[[], Tensor]) -> list[LayerFlow]:
    """dL/dh_t and dL/dc_t at every step of every recurrent layer, by one forward and one backward pass.

    Where norms fall towards earlier steps the gradient vanishes, where they grow it explodes (Hochreiter 1991;
    Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013).

    Args:
        model: a module with recurrent stacks inside.
        loss: called once; runs the model (each stack once: of several calls the last is seen) and returns a scalar.

    Returns:
        One `LayerFlow` per layer and direction.

    Raises:
        ValueError: `loss` calls no recurrent stack, or returns no scalar that depends on one.
    """
    with watched(model) as watch:
        loss().backward()
        return [LayerFlow(layer.name, layer.dh, layer.dc) for layer in watch.layers]


@dataclass(frozen=True)
class LagProfile:
    """How far back the loss of single steps reaches, in one layer and direction.

    Attributes:
        name: as `WatchedLayer.name`.
        steps: (J,), the steps t whose losses were looked at.
        norms: (J, K + 1, N), ||dL_t/dh_(t-k)|| for the lags k = 0..K (h_(t+k) where the layer reads backwards); NaN
            beyond the sequence.
    """

    name: str
    steps: Array
    norms: Array

    def mean(self) -> Array:
        """(K + 1,): the mean norm at each lag, over steps and rows that have one; NaN where none has."""
        there = ~np.isnan(self.norms)
        counts = there.sum(axis=(0, 2))
        totals = np.where(there, self.norms, 0.0).sum(axis=(0, 2))
        return np.asarray(np.divide(totals, counts, out=np.full(counts.shape, np.nan), where=counts > 0))

    def reach(self, share: float = 0.01) -> int:
        """The largest lag at which the mean norm is at least `share` of that at lag 0."""
        mean = self.mean()
        return int(np.flatnonzero(mean >= share * mean[0]).max(initial=0))


def gradient_lag(
    model: nn.Module,
    losses: Callable[[], Tensor],
    *,
    steps: Sequence[int] | None = None,
    max_lag: int | None = None,
) -> list[LagProfile]:
    """||dL_t/dh_(t-k)|| against the lag k, for every recurrent layer (Pascanu, Mikolov & Bengio 2013, equation 5).

    Args:
        model: a module with recurrent stacks inside.
        losses: called once for each step in `steps` (and must do the same each time): runs the model and returns
            the loss of each step, (T,) or (T, N).
        steps: which t. Default: the last one.
        max_lag: K. Default: T - 1.

    Returns:
        One `LagProfile` per layer and direction.

    Raises:
        ValueError: losses of another shape, or a step outside the sequence.
    """
    profiles: dict[str, list[Array]] = {}
    chosen = [-1] if steps is None else list(steps)
    if max_lag is not None and max_lag < 0:
        raise ValueError(message("gradient lag", "max_lag", "0 or more", str(max_lag)))
    if not chosen:
        raise ValueError(message("gradient lag", "steps", "at least one", "none"))
    places = []
    with watched(model) as watch:
        for step in chosen:
            values = losses()
            if values.ndim not in (1, 2):
                raise ValueError(message("gradient lag", "losses", "shape (T,) or (T, N)", str(values.shape)))
            length = values.shape[0]
            if not -length <= step < length:
                raise ValueError(message("gradient lag", "steps", f"within [-{length}, {length})", str(step)))
            t = step % length
            places.append(t)
            seed = np.zeros(values.shape)
            seed[t] = 1.0
            values.backward(Tensor(seed, False, values.dtype))
            for layer in watch.layers:
                norms = np.linalg.norm(layer.dh, axis=2)
                back = norms[t:] if layer.reverse else norms[t::-1]
                profiles.setdefault(layer.name, []).append(_of_length(back, length if max_lag is None else max_lag + 1))
    return [LagProfile(name, np.array(places), np.stack(parts)) for name, parts in profiles.items()]


def _of_length(rows: Array, length: int) -> Array:
    result = np.full((length, rows.shape[1]), np.nan)
    result[: min(length, len(rows))] = rows[:length]
    return result
