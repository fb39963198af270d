"""The forecasts that a network has to beat: repeat the last value, repeat the last season, a linear model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message

Windows = NDArray[np.float64]


def repeat_last(windows: Windows, horizon: int) -> Windows:
    """The last value of (N, L, C), for all steps to come: (N, horizon, C)."""
    return np.repeat(windows[:, -1:], horizon, axis=1)


class SeasonalNaive:
    """The value one season ago.

    Args:
        period: steps of a season.
    """

    def __init__(self, period: int) -> None:
        self.period = period
        if period < 1:
            raise ValueError(message("seasonal naive", "period", "at least 1", str(period)))

    def __call__(self, windows: Windows, horizon: int) -> Windows:
        """What follows (N, L, C), L >= period: (N, horizon, C)."""
        if windows.shape[1] < self.period:
            expected = f"windows of at least {self.period} steps"
            raise ValueError(message("seasonal naive", "windows", expected, str(windows.shape[1])))
        at = windows.shape[1] - self.period + np.arange(horizon) % self.period
        return windows[:, at]


class LinearForecast:
    """Each step to come is a linear function of the last `context` values of its own column, by least squares.

    One set of weights for all columns; values are taken relative to the window's last one, so that a level that was
    never seen does no harm (NLinear of Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?").

    Args:
        values: the training part (T, C).
        context: L, values that are read. horizon: steps to come.
        ridge: added to the diagonal of the normal equations, relative to its mean; default 1e-4.
    """

    def __init__(self, values: Windows, context: int, horizon: int, *, ridge: float = 1e-4) -> None:
        if len(values) < context + horizon:
            expected = f"at least {context + horizon} steps for context {context} and horizon {horizon}"
            raise ValueError(message("linear forecast", "values", expected, str(len(values))))
        self.context, self.horizon = context, horizon
        gram = np.zeros((context + 1, context + 1))
        cross = np.zeros((context + 1, horizon))
        for column in values.T:
            windows = np.lib.stride_tricks.sliding_window_view(column, context + horizon)
            inputs = self._inputs(windows[:, :context])
            gram += inputs.T @ inputs
            cross += inputs.T @ (windows[:, context:] - windows[:, context - 1 : context])
        gram[np.diag_indices(context)] += ridge * np.trace(gram) / (context + 1)
        self.weights = np.linalg.solve(gram, cross)

    @staticmethod
    def _inputs(windows: Windows) -> Windows:
        relative = windows - windows[:, -1:]
        relative[:, -1] = 1e-9  # always 0: the ridge alone decides its weight
        return np.concatenate([relative, np.ones((len(windows), 1))], axis=1)

    def __call__(self, windows: Windows, horizon: int) -> Windows:
        """What follows (N, L, C): (N, horizon, C), for at most the horizon it was made for."""
        if horizon > self.horizon or windows.shape[1] < self.context:
            expected = f"at least {self.context} steps and a horizon of at most {self.horizon}"
            raise ValueError(message("linear forecast", "windows, horizon", expected, f"{windows.shape}, {horizon}"))
        recent = windows[:, -self.context :].transpose(0, 2, 1)
        flat = recent.reshape(-1, self.context)
        told = self._inputs(flat) @ self.weights + flat[:, -1:]
        return np.asarray(told.reshape(*recent.shape[:2], -1).transpose(0, 2, 1)[:, :horizon])
