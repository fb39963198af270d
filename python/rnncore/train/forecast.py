"""Forecasting as a task of the trainer: windows of a series, rolling-origin evaluation beside the naive forecasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np
from numpy.typing import NDArray

from rnncore import metrics
from rnncore._messages import message
from rnncore.data.file_source import FileSource
from rnncore.data.series import Series, parse_series, read_series
from rnncore.models.baselines import LinearForecast, SeasonalNaive, repeat_last
from rnncore.models.forecaster import Forecaster, WindowBatch, Windows
from rnncore.train.batch_feed import BatchFeed
from rnncore.train.config import TrainConfig
from rnncore.train.task import Task

_WINDOWS_TO_VALIDATE = 500


@dataclass(frozen=True)
class SeriesSource(FileSource):
    """Where a series comes from, and how it is cut.

    Attributes:
        train: a CSV file, as for `data.read_series`.
        columns, missing, skip_malformed: see there.
        rows: of the training, validation and test parts, from the first row on; numbers below 1 are shares of all.
            Default 0.7, 0.1, 0.2.
        horizon: steps that are to be told; default 24.
        period: of the seasonal-naive forecast beside the model's; default: the horizon.
    """

    train: str
    columns: tuple[str, ...] | None = None
    missing: str = "refuse"
    skip_malformed: bool = False
    rows: tuple[float, float, float] = (0.7, 0.1, 0.2)
    horizon: int = 24
    period: int | None = None

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):  # lists, where they come from JSON
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.rows) != 3 or min(self.rows) < 0 or self.rows[0] <= 0 or not np.isfinite(self.rows).all():
            raise ValueError(message("series", "rows", "three numbers or shares, the first above 0", str(self.rows)))
        if not self._shares and any(each != int(each) for each in self.rows):
            expected = "three numbers, all whole numbers, or all shares below 1"
            raise ValueError(message("series", "rows", expected, str(self.rows)))
        if self.horizon < 1 or (self.period is not None and self.period < 1):
            raise ValueError(message("series", "horizon, period", "at least 1", f"{self.horizon}, {self.period}"))

    @property
    def season(self) -> int:
        """The period."""
        return self.horizon if self.period is None else self.period

    @property
    def _shares(self) -> bool:
        """Whether `rows` are shares."""
        return all(each < 1 for each in self.rows)

    def describe(self) -> str:
        """Path and horizon."""
        return f"{self.train}, {self.horizon} steps ahead"

    def load(self) -> Series:
        """The whole series."""
        return read_series(self.train, columns=self.columns, missing=self.missing, skip_malformed=self.skip_malformed)

    def ends(self, series: Series) -> tuple[int, int, int]:
        """Where the training, validation and test parts end.

        Raises:
            ValueError: more rows than there are.
        """
        sizes = [int(each * len(series)) if self._shares else int(each) for each in self.rows]
        if sum(sizes) > len(series):
            raise ValueError(message("series", "rows", f"at most {len(series)}", " + ".join(map(str, sizes))))
        return sizes[0], sizes[0] + sizes[1], sum(sizes)


def scale_of(series: Series, train_end: int) -> tuple[list[float], list[float]]:
    """Mean and deviation of each column of the training part.

    Raises:
        ValueError: a column is constant there.
    """
    part = series.values[:train_end]
    mean, scale = part.mean(axis=0), part.std(axis=0)
    if (scale <= 1e-12 * np.maximum(1, np.abs(mean))).any():
        name = series.columns[int(scale.argmin())]
        raise ValueError(message("series", f"column {name}", "values that vary in the training part", "one value"))
    return mean.tolist(), scale.tolist()


class WindowBatches:
    """Shuffled windows of the training part; their order depends on (seed, epoch) alone."""

    def __init__(self, values: Windows, model: Forecaster, horizon: int, config: TrainConfig) -> None:
        length = model.context + max(horizon, model.block)
        if len(values) < length:
            raise ValueError(message("forecast", "training part", f"at least {length} rows", str(len(values))))
        self._windows = np.lib.stride_tricks.sliding_window_view(values, length, axis=0).transpose(0, 2, 1)
        self._context, self._config = model.context, config

    def __len__(self) -> int:
        return -(-len(self._windows) // self._config.batch)

    def batch(self, epoch: int, index: int) -> WindowBatch:
        """See `train.Batches`."""
        order = np.random.Generator(np.random.Philox(key=[self._config.seed, epoch])).permutation(len(self._windows))
        size = self._config.batch
        return WindowBatch(self._windows[order[index * size : (index + 1) * size]], self._context)


class ForecastTask(Task):
    """Learning to continue a series.

    Args:
        series: all parts.
        source: how it is cut.
    """

    kind: ClassVar[str] = "forecaster"
    items = "windows"
    loss_unit = "(squared or pinball error)"
    source: SeriesSource

    def __init__(self, series: Series, source: SeriesSource) -> None:
        self.series, self.source = series, source
        self.train_end, self.valid_end, self.end = source.ends(series)
        self._model: Forecaster | None = None

    @property
    def fingerprint(self) -> str:
        """Of the whole series."""
        return self.series.fingerprint

    def check_model(self, model: Any) -> None:
        """See `Task.check_model`."""
        super().check_model(model)
        if model.columns != self.series.columns:
            raise ValueError(message("train", "model", f"columns {self.series.columns}", str(model.columns)))
        self._model = model

    def feed(self, config: TrainConfig) -> BatchFeed:
        """See `Task.feed`."""
        assert self._model is not None  # noqa: S101  # a trainer checks its model first
        if self._tests and self.source.season > self.valid_end:
            expected = f"at most {self.valid_end}, the rows before the test part"
            raise ValueError(message("forecast", "period", expected, str(self.source.season)))
        values = self._model.standardise(self.series.values[: self.train_end])
        return BatchFeed(WindowBatches(values, self._model, self.source.horizon, config))

    @property
    def _tests(self) -> bool:
        """Whether the test part is long enough for a forecast."""
        return self.end - self.valid_end >= self.source.horizon

    def validate(self, model: Forecaster, config: TrainConfig) -> dict[str, float] | None:
        """Mean squared and absolute error, standardised, of forecasts from origins spread over the validation part."""
        origins = self.valid_end - self.train_end - self.source.horizon + 1
        if origins < 1:
            return None
        stride = -(-origins // _WINDOWS_TO_VALIDATE)
        rows = self.compare(model, self.train_end, self.valid_end, stride=stride, alone=True)
        return {"loss": rows["model"]["mse"], "mae": rows["model"]["mae"]}

    def compare(
        self, model: Forecaster, start: int, stop: int, *, stride: int = 1, alone: bool = False
    ) -> dict[str, dict[str, float]]:
        """Errors on rows start..stop-1 of the model and (unless `alone`) of what it has to beat, standardised."""
        horizon = self.source.horizon
        values = model.standardise(self.series.values[:stop])
        forecasts: dict[str, Callable[[Windows, int], Windows]] = {"model": lambda w, h: _points(model, w, h)}
        context = model.context
        if not alone:
            context = max(context, self.source.season)
            forecasts["repeat last"] = repeat_last
            forecasts[f"seasonal naive ({self.source.season})"] = SeasonalNaive(self.source.season)
            forecasts[f"linear ({model.context})"] = LinearForecast(values[: self.train_end], model.context, horizon)
        return metrics.rolling_origin(
            values, forecasts, context=context, horizon=horizon, start=start, stop=stop, stride=stride
        )

    def test(self, model: Forecaster) -> str | None:
        """Errors on the test part, beside those of the naive and the linear forecast."""
        if not self._tests:
            return None
        rows = self.compare(model, self.valid_end, self.end)
        shown = ", ".join(f"{name} {row['mse']:.4f}" for name, row in rows.items())
        return f"mean squared error, {self.source.horizon} steps ahead: {shown}"

    def describe(self) -> str:
        """Rows of each part, columns, what was filled and skipped."""
        series = self.series
        mended = f", {series.filled} missing values filled" if series.filled else ""
        mended += f", {series.skipped} malformed rows skipped" if series.skipped else ""
        rows = f"{self.train_end:,} rows to train on, {self.valid_end - self.train_end:,} to validate on"
        return f"{rows}, {self.end - self.valid_end:,} to test, {len(series.columns)} columns{mended}"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: Any) -> ForecastTask:
        """See `Task.read`."""
        files = cls.source_from_json(source)
        return cls(files.load(), files)

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> SeriesSource:
        """See `Task.source_from_json`."""
        return SeriesSource.from_json(value)

    @classmethod
    def evaluate(cls, model: Forecaster, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Errors on the test part of a file that is cut as the training file was."""
        facts = (model.training_facts or {}).get("source") or SeriesSource(str(path)).to_json()
        wanted = {**facts, "train": str(path), "columns": model.columns}
        task = cls.read(wanted, model)
        rows = task.compare(model, task.valid_end, task.end)
        return {f"{measure}, {name}": value for name, row in rows.items() for measure, value in row.items()}

    @classmethod
    def predict(
        cls, model: Forecaster, file: TextIO, name: str, options: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """From a CSV file of what has been, as many steps as in training of what comes; with quantiles, all of them."""
        facts = (model.training_facts or {}).get("source") or {}
        series = parse_series(file.read(), name, columns=model.columns, missing=facts.get("missing", "refuse"))
        told = model.forecast(series.values, int(facts.get("horizon", model.block)))
        names = [f"{column} {q:g}" for column in model.columns for q in model.quantiles] or model.columns
        yield ",".join(names), {"columns": names}
        for step, values in enumerate(told.reshape(len(told), -1), 1):
            row = dict(zip(names, values.tolist(), strict=True))
            yield ",".join(f"{value:.6g}" for value in values), {"step": step, **row}


def _points(model: Forecaster, windows: Windows, horizon: int) -> NDArray[np.float64]:
    told = model.continue_windows(windows[:, -model.context :], horizon)
    return told[..., model.quantiles.index(0.5)] if model.quantiles else told
