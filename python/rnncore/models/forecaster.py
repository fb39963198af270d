"""Forecaster: what comes next in columns of numbers, step by step or a block of steps at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnncore import Tensor
from rnncore._messages import message
from rnncore.models.features import FeatureModel
from rnncore.nn import functional as F

NORMALISATIONS = ("window", "last", "none")
Windows = NDArray[np.float64]


@dataclass(frozen=True)
class WindowBatch:
    """Windows of a series: `values` (N, L, C), of which the first `context` are given and the rest are to be told."""

    values: Windows
    context: int

    @property
    def items(self) -> int:
        """Windows."""
        return len(self.values)


class Forecaster(FeatureModel):
    """The next `block` steps of C columns, at every step of a series: many to many.

    In training the true values are the input (teacher forcing); where more than `block` steps are wanted, the model
    goes on from its own forecasts (free running). Values are standardised by `mean` and `scale`, then each window by
    its own first `context` steps.

    Args:
        columns: C names.
        context: steps that are read before the first forecast; default 96.
        block: steps told at once; default 1.
        quantiles: forecasts are these quantiles of what may come, learnt by the pinball loss; 0.5 is among them.
            Default: none, one forecast by the mean squared error.
        normalise: "window" (default): each window's columns are shifted and scaled by the mean and deviation of its
            context; "last": shifted by its last value; "none".
        separate: each column is a series of its own, all told by the same weights (default); False: the network sees
            all columns together.
        mean, scale: of each column, from the training part; default 0 and 1.
        options: see `FeatureModel`.

    Example:
        >>> model = Forecaster(["x"], context=20, block=5, hidden_size=8)
        >>> model.forecast(np.sin(np.arange(40))[:, None], 12).shape
        (12, 1)
    """

    kind: ClassVar[str] = "forecaster"

    def __init__(
        self,
        columns: Sequence[str],
        *,
        context: int = 96,
        block: int = 1,
        quantiles: Sequence[float] = (),
        normalise: str = "window",
        separate: bool = True,
        mean: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        if not columns or context < 2 or block < 1:
            got = f"{len(columns)}, {context}, {block}"
            raise ValueError(message("forecaster", "columns, context, block", "at least 1, 2 and 1", got))
        if normalise not in NORMALISATIONS:
            raise ValueError(message("forecaster", "normalise", " | ".join(NORMALISATIONS), repr(normalise)))
        if quantiles and (0.5 not in quantiles or list(quantiles) != sorted(set(quantiles))):
            raise ValueError(message("forecaster", "quantiles", "ascending numbers, 0.5 among them", str(quantiles)))
        if options.get("bidirectional"):
            reason = "a backward direction would read what is to be told"
            raise ValueError(message("forecaster", "bidirectional", "False", "True", reason))
        self.columns, self.context, self.block = list(columns), context, block
        self.quantiles, self.normalise, self.separate = list(quantiles), normalise, separate
        self.mean = [float(x) for x in (mean if mean is not None else [0.0] * len(columns))]
        self.scale = [float(x) for x in (scale if scale is not None else [1.0] * len(columns))]
        if len(self.mean) != len(columns) or len(self.scale) != len(columns) or min(self.scale) <= 0:
            got = f"{self.mean}, {self.scale}"
            raise ValueError(message("forecaster", "mean, scale", f"{len(columns)} numbers, scales above 0", got))
        self._told = max(1, len(self.quantiles))  # numbers for each value to come
        series = 1 if separate else len(columns)
        super().__init__(series, block * series * self._told, **options)

    def assets(self) -> dict[str, Any]:
        """What the numbers mean."""
        names = ("columns", "context", "block", "quantiles", "normalise", "separate", "mean", "scale")
        return {name: getattr(self, name) for name in names}

    def standardise(self, values: ArrayLike) -> Windows:
        """Values (..., C) in deviations from the mean."""
        return np.asarray((np.asarray(values, dtype=np.float64) - self.mean) / self.scale)

    def restore(self, values: Windows, *, quantiles: bool = False) -> Windows:
        """What `standardise` was given: (..., C), or with `quantiles` (..., C, Q)."""
        mean, scale = np.array(self.mean), np.array(self.scale)
        if quantiles:
            mean, scale = mean[:, None], scale[:, None]
        return np.asarray(values * scale + mean)

    def _normal(self, windows: Windows) -> tuple[Windows, Windows, Windows]:
        """Windows (N, L, C) as series (L, N', C'), and the shift and spread (N', 1, C', 1) that lead back."""
        first = windows[:, : self.context]
        shift, spread = np.zeros_like(first[:, :1]), np.ones_like(first[:, :1])
        if self.normalise == "window":
            shift, spread = first.mean(axis=1, keepdims=True), first.std(axis=1, keepdims=True) + 1e-2
        elif self.normalise == "last":
            shift = first[:, -1:]
        back = [self._series(each)[0][:, None, :, None] for each in (shift, spread)]
        return self._series((windows - shift) / spread), back[0], back[1]

    def _series(self, windows: Windows) -> Windows:
        """(N, L, C) as (L, N, C), or as (L, N C, 1) where columns are separate."""
        turned = windows.transpose(1, 0, 2)
        return np.asarray(turned.reshape(len(turned), -1, 1) if self.separate else turned)

    def _windows(self, series: Windows) -> Windows:
        """The way back of told values: (N', h, C', Q) as (N, h, C, Q)."""
        if not self.separate:
            return series
        count, steps, _, told = series.shape
        columns = len(self.columns)
        return np.asarray(series.reshape(count // columns, columns, steps, told).transpose(0, 2, 1, 3))

    def _outputs(self, y: Tensor) -> Tensor:
        """(S, N', O) as (S, N', block, C', Q)."""
        series = 1 if self.separate else len(self.columns)
        return y.reshape(y.shape[0], y.shape[1], self.block, series, self._told)

    def loss(self, batch: WindowBatch) -> Tensor:
        """Mean squared error, or mean pinball loss, of all blocks told from the last step of the context on."""
        windows = batch.values
        inputs, shift, spread = self._normal(windows[:, : len(windows[0]) - self.block])
        y, _ = self(inputs)
        told = self._outputs(y[self.context - 1 :]) * self._array(spread[None]) + self._array(shift[None])
        future = self._series(windows[:, self.context :])  # (S + block - 1, N', C')
        steps = told.shape[0]
        wanted = np.stack([future[s : s + self.block] for s in range(steps)]).transpose(0, 2, 1, 3)
        target = self._array(wanted)
        if self.quantiles:
            return F.quantile_loss(told, target, self.quantiles)
        return F.mse_loss(told, target.reshape(told.shape))

    def _array(self, values: NDArray[Any]) -> Tensor:
        return Tensor(np.ascontiguousarray(values, dtype=self.dtype))

    def continue_windows(self, windows: Windows, horizon: int, *, batch: int = 256) -> Windows:
        """What follows standardised windows (N, context, C): (N, horizon, C), with quantiles (N, horizon, C, Q)."""
        parts = [self._continue(windows[at : at + batch], horizon) for at in range(0, len(windows), batch)]
        told = np.concatenate(parts)
        return told if self.quantiles else told[..., 0]

    def _continue(self, windows: Windows, horizon: int) -> Windows:
        inputs, shift, spread = self._normal(windows)
        middle = self.quantiles.index(0.5) if self.quantiles else 0
        blocks: list[Windows] = []
        state = None
        with self.evaluating():
            while len(blocks) * self.block < horizon:
                y, state = self(inputs, state)
                blocks.append(self._outputs(y[-1:]).numpy()[0].astype(np.float64))
                inputs = blocks[-1][..., middle].transpose(1, 0, 2)  # free running: the forecast is the next input
        told = np.concatenate(blocks, axis=1)[:, :horizon]
        return self._windows(told * spread + shift)

    def forecast(self, history: ArrayLike, horizon: int) -> Windows:
        """What follows values (T, C), T >= context: (horizon, C), with quantiles (horizon, C, Q).

        Raises:
            ValueError: too few steps, or other columns.
        """
        values = np.asarray(history, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.columns) or len(values) < self.context or horizon < 1:
            expected = f"shape (T, {len(self.columns)}) with T >= context {self.context}, and a horizon of at least 1"
            raise ValueError(message("forecast", "history, horizon", expected, f"{values.shape}, {horizon}"))
        told = self.continue_windows(self.standardise(values[None, -self.context :]), horizon)[0]
        return self.restore(told, quantiles=bool(self.quantiles))

    def surprise(self, values: ArrayLike, *, batch: int = 256) -> Windows:
        """How far each step from `context` on lies from its forecast one step before: (T - context, C).

        In units of the typical (median) error of its column in these values: an anomaly is what stands out.

        Raises:
            ValueError: no step after the context, or other columns.
        """
        shape = np.shape(values)
        if len(shape) != 2 or shape[1] != len(self.columns) or shape[0] <= self.context:
            expected = f"shape (T, {len(self.columns)}) with T > context {self.context}"
            raise ValueError(message("surprise", "values", expected, str(shape)))
        table = self.standardise(values)
        windows = np.lib.stride_tricks.sliding_window_view(table, self.context, axis=0).transpose(0, 2, 1)[:-1]
        told = self.continue_windows(windows, 1, batch=batch)
        point = told[..., self.quantiles.index(0.5)] if self.quantiles else told
        error = np.abs(table[self.context :] - point[:, 0])
        return np.asarray(error / np.maximum(np.median(error, axis=0), 1e-9))

    def describe(self) -> dict[str, str]:
        """See `Model.describe`."""
        shown = ", ".join(self.columns[:12]) + (", ..." if len(self.columns) > 12 else "")
        loss = f"quantiles {self.quantiles}" if self.quantiles else "the mean"
        how = f"{self.context} steps give {self.block}, {loss}; normalised by {self.normalise}"
        return {
            **super().describe(),
            "columns": shown,
            "forecast": how + (", each column alone" if self.separate else ""),
        }
