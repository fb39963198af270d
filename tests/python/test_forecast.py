"""Series, forecasters, the forecasts they have to beat, and their commands."""

from __future__ import annotations

import gzip
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_interface import CModel, CStream
from numeric_data import inside, waves, write_series

from rnncore import Generator, data, metrics, models
from rnncore.models import Forecaster, LinearForecast, SeasonalNaive, repeat_last
from rnncore.models.forecaster import WindowBatch
from rnncore.train import TrainConfig, Trainer
from rnncore.train.forecast import ForecastTask, SeriesSource, scale_of


def parse(text: str, **options: Any) -> data.Series:
    return data.parse_series(text, "x.csv", **options)


def test_a_table_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.csv.gz"
    file.write_bytes(gzip.compress(b'day,"a",b\n2020-01-01,1,2.5\n2020-01-02,-3,4e1\n\n'))
    series = data.read_series(file)
    assert series.columns == ["a", "b"], "dates are no numbers"
    assert series.values.tolist() == [[1.0, 2.5], [-3.0, 40.0]]
    assert data.read_series(file, columns=["b"]).values[:, 0].tolist() == [2.5, 40.0]
    assert parse("1;2\n3;4\n", delimiter=";").columns == ["column 1", "column 2"], "no header"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a,b\n1,2\n3\n", r"x.csv, line 3: expected 2 cells, got 1"),
        ("a,b\n1,2\n3,x\n", r"x.csv, line 3, column b: expected a number, got 'x'"),
        ("a,b\n1,2\n3,inf\n", r"x.csv, line 3, column b: expected a finite number"),
        ("a,b\n1,2\n3,\n,4\n", r"x.csv, line 3, column b: expected a number, got none \(2 in all\)"),
        ("a,b\n1,2\n3," + "4" * 200_000 + "\n", r"x.csv, line 3: expected a row of cells, got field larger than"),
        ("", r"rows of numbers, got none"),
        ("a,b\n", r"a header alone"),
        ("a,b\nx,y\n", r"a column of numbers"),
    ],
)
def test_what_is_malformed_is_named(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        parse(text)


def test_malformed_rows_are_skipped_and_counted() -> None:
    series = parse("a,b\n1,2\n3\n3,x\n5,6\n", skip_malformed=True)
    assert (series.values.tolist(), series.skipped) == ([[1, 2], [5, 6]], 2)
    series = parse("a,b\n1,2\n3," + "4" * 200_000 + "\n5,6\n", skip_malformed=True)
    assert (series.values.tolist(), series.skipped) == ([[1, 2], [5, 6]], 1)


def test_gaps_are_filled_as_asked() -> None:
    text = "a,b\n1,NaN\n,4\n?,5\n7,\n"
    assert parse(text, missing="linear").values.tolist() == [[1, 4], [3, 4], [5, 5], [7, 5]]
    assert parse(text, missing="linear").filled == 4
    with pytest.raises(ValueError, match=r"line 2, column b.* none before it"):
        parse(text, missing="previous")
    assert parse("a\n1\nNA\nnull\n4\n", missing="previous").values[:, 0].tolist() == [1, 1, 1, 4]
    with pytest.raises(ValueError, match=r"columns: expected a \| b, got c"):
        parse("a,b\n1,2\n", columns=["c"])


def test_airline_passengers_are_bundled() -> None:
    series = data.airline_passengers()
    assert (series.columns, len(series), series.values[0, 0], series.values[-1, 0]) == (["Passengers"], 144, 112, 432)


def small(**options: Any) -> Forecaster:
    chosen = {"context": 16, "block": 4, "hidden_size": 8, "dtype": "float64", "generator": Generator(1), **options}
    return Forecaster(["c0", "c1"], mean=[0.0, 10.0], scale=[1.0, 2.0], **chosen)


@pytest.mark.parametrize("normalise", ["window", "last", "none"])
@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("quantiles", [(), (0.1, 0.5, 0.9)])
def test_a_longer_forecast_goes_on_from_a_shorter(normalise: str, separate: bool, quantiles: tuple[float, ...]) -> None:
    model = small(normalise=normalise, separate=separate, quantiles=quantiles)
    history = waves(40)
    short, long = model.forecast(history, 3), model.forecast(history, 10)
    assert long.shape == (10, 2, 3)[: 3 if quantiles else 2]
    np.testing.assert_allclose(long[:3], short, rtol=1e-12)
    np.testing.assert_array_equal(model.forecast(history[-16:], 10), long)
    if normalise != "none":  # a shift of the whole window shifts the forecast
        moved = history + np.array([5.0, -3.0])
        by = np.array([5.0, -3.0])[:, None] if quantiles else np.array([5.0, -3.0])
        np.testing.assert_allclose(model.forecast(moved, 10), long + by, rtol=1e-9)
    if separate:  # a column's forecast depends on that column alone
        other = history.copy()
        other[:, 1] += np.arange(40)
        np.testing.assert_array_equal(model.forecast(other, 10)[:, 0], long[:, 0])


def test_free_running_feeds_forecasts_back() -> None:
    model = small(block=1, normalise="none", separate=False)
    window = model.standardise(waves(16))
    told = model.continue_windows(window[None], 5)[0]
    again = list(window)
    for step in told:
        y, _ = model(np.array(again)[:, None])
        np.testing.assert_allclose(y.numpy()[-1, 0], step, rtol=1e-12)
        again.append(y.numpy()[-1, 0])


@pytest.mark.parametrize(
    "options", [{}, {"block": 1}, {"separate": False}, {"quantiles": (0.2, 0.5)}, {"normalise": "last"}]
)
def test_the_loss_is_that_of_the_forecasts(options: dict[str, Any]) -> None:
    """Teacher forcing: each block is what the model would forecast from the true values before it."""
    model = small(**options)
    windows = np.stack([model.standardise(waves(26))[n : n + 22] for n in range(3)])
    loss = model.loss(WindowBatch(windows, 16)).item()
    inputs, shift, spread = model._normal(windows)
    y, _ = model(inputs)
    wanted = []
    for s in range(22 - 16 - model.block + 1):
        told = model._windows(model._outputs(y[15 + s : 16 + s]).numpy()[0] * spread + shift)  # (N, B, C, Q)
        future = windows[:, 16 + s : 16 + s + model.block, :, None]
        if model.quantiles:
            error = future - told
            levels = np.array(model.quantiles)
            wanted.append(np.maximum(levels * error, (levels - 1) * error).mean())
        else:
            wanted.append(((told - future) ** 2).mean())
    np.testing.assert_allclose(loss, np.mean(wanted), rtol=1e-10)


def test_the_gradient_of_the_loss() -> None:
    model = small(hidden_size=3, quantiles=(0.3, 0.5))
    batch = WindowBatch(np.stack([model.standardise(waves(24))[n : n + 22] for n in range(2)]), 16)
    model.loss(batch).backward()
    for name, parameter in model.named_parameters():
        index = (0,) * len(parameter.shape)
        values, losses = parameter.numpy().copy(), []
        for step in (1e-6, -1e-6):
            moved = values.copy()
            moved[index] += step
            parameter.detach().copy_(moved)
            losses.append(model.loss(batch).item())
        parameter.detach().copy_(values)
        assert parameter.grad is not None
        np.testing.assert_allclose(
            parameter.grad.numpy()[index], (losses[0] - losses[1]) / 2e-6, atol=1e-7, err_msg=name
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_save_load_predict_and_cpp_give_the_same_bits(tmp_path: Path, cell: str, dtype: str) -> None:
    path, history = tmp_path / "model.safetensors", waves(40)
    model = small(cell=cell, dtype=dtype, num_layers=2, dropout=0.3, quantiles=(0.1, 0.5, 0.9), normalise="last")
    model.save(path)
    loaded = models.load(path)
    assert isinstance(loaded, Forecaster)
    assert (loaded.to_dict(), loaded.assets()) == (model.to_dict(), model.assets())
    assert loaded.forecast(history, 11).tobytes() == model.forecast(history, 11).tobytes()
    inputs = np.ascontiguousarray(model._normal(model.standardise(history)[None])[0], dtype=dtype)
    with model.evaluating():
        want = model(inputs)[0].numpy()
    native = CModel(path)
    assert native.info.kind == b"forecaster"
    assert native.forward(inputs).tobytes() == want.tobytes()
    stream = CStream(native, inputs.shape[1])
    assert all(stream.step(inputs[t]).tobytes() == want[t].tobytes() for t in range(len(inputs)))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"normalise": "mean"}, r"normalise: expected window \| last \| none"),
        ({"quantiles": (0.1, 0.9)}, "0.5 among them"),
        ({"context": 1}, "context"),
        ({"bidirectional": True}, "would read what is to be told"),
    ],
)
def test_forecasters_that_make_no_sense(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        small(**options)


@pytest.mark.parametrize("shape", [(16, 2), (3, 2), (40, 3), (40,)])
def test_surprise_needs_more_than_a_context(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[surprise\] values: expected shape \(T, 2\) with T > context 16, got \("):
        small().surprise(np.zeros(shape))


def test_quantiles_of_as_many_columns_are_restored_by_their_column() -> None:
    """Three columns, quantiles and steps: what an array's axes are cannot be told from its shape."""
    model = Forecaster(
        ["a", "b", "c"], context=4, block=3, quantiles=(0.1, 0.5, 0.9), mean=[0, 10, 100], scale=[1, 2, 3],
        hidden_size=2, generator=Generator(0),
    )  # fmt: skip
    values = np.arange(27.0).reshape(3, 3, 3)
    want = values * np.array([1, 2, 3])[:, None] + np.array([0, 10, 100])[:, None]
    np.testing.assert_allclose(model.restore(values, quantiles=True), want)
    np.testing.assert_allclose(model.restore(model.standardise(values)), values)
    np.testing.assert_allclose(model.restore(values[0]), values[0] * [1, 2, 3] + [0, 10, 100])


def test_too_short_a_history_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"\[forecast\] history, horizon: expected shape \(T, 2\) with T >= context 16"
    ):
        small().forecast(waves(15), 3)


@pytest.mark.parametrize("rows", [(8640, 0.1, 0.1), (0.7, 0.1, 20), (100.5, 20, 20)])
def test_rows_are_all_counts_or_all_shares(rows: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"rows: expected .* all whole numbers, or all shares below 1"):
        SeriesSource("", rows=rows)


def test_rows_are_refused_before_training_or_not_at_all() -> None:
    """The shortest training part that is accepted is enough for the forecasts that stand beside the model's."""
    series = data.Series(waves(40), ["c0", "c1"])
    config = TrainConfig(steps=1, batch=4)
    for rows, period in (((20, 0, 20), None), ((20, 0, 20), 20)):
        task = ForecastTask(series, SeriesSource("", rows=rows, horizon=4, period=period))
        model = small(dtype="float32")
        Trainer(model, task, config).fit()
        assert "linear (16)" in (task.test(model) or "")
    with pytest.raises(ValueError, match="training part: expected at least 20 rows, got 19"):
        Trainer(small(), ForecastTask(series, SeriesSource("", rows=(19, 0, 20), horizon=4)), config)
    with pytest.raises(ValueError, match=r"period: expected at most 20, .* got 21"):
        Trainer(small(), ForecastTask(series, SeriesSource("", rows=(20, 0, 20), horizon=4, period=21)), config)


def test_naive_forecasts() -> None:
    windows = np.arange(10.0)[None, :, None]
    assert repeat_last(windows, 2)[0, :, 0].tolist() == [9, 9]
    assert SeasonalNaive(4)(windows, 6)[0, :, 0].tolist() == [6, 7, 8, 9, 6, 7]
    with pytest.raises(ValueError, match="at least 11"):
        SeasonalNaive(11)(windows, 2)


def test_the_linear_forecast_finds_a_linear_rule() -> None:
    values = np.random.default_rng(0).normal(size=(400, 2)) * 1e-3
    for t in range(2, 400):
        values[t] += 1.6 * values[t - 1] - 0.9995 * values[t - 2] + 0.3
    linear = LinearForecast(values[:300], 4, 3, ridge=1e-9)
    error = metrics.rolling_origin(
        values, {"linear": linear, "last": repeat_last}, context=4, horizon=3, start=300, stop=400
    )
    assert error["linear"]["mse"] < 0.01 * error["last"]["mse"]
    level = 1000.0  # a level that was never seen does no harm
    np.testing.assert_allclose(
        linear(values[None, 300:304] + level, 3) - level, linear(values[None, 300:304], 3), atol=1e-6
    )


def test_rolling_origins_see_nothing_that_is_to_come() -> None:
    values = np.arange(30.0)[:, None]
    seen: list[float] = []

    def spy(windows: Any, horizon: int) -> Any:
        seen.extend(windows[:, -1, 0])
        assert windows.shape[1] == 5
        return np.repeat(windows[:, -1:], horizon, axis=1)

    found = metrics.rolling_origin(values, {"spy": spy}, context=5, horizon=3, start=10, stop=20, stride=2, batch=2)
    assert seen == [9, 11, 13, 15], "the last forecast ends before row 20"
    assert found["spy"] == {"mse": (1 + 4 + 9) / 3, "mae": 2.0}
    with pytest.raises(ValueError, match="rolling origin"):
        metrics.rolling_origin(values, {"spy": spy}, context=5, horizon=3, start=4, stop=20)


def test_a_spike_stands_out() -> None:
    values = waves(120)
    task = ForecastTask(data.Series(values, ["c0", "c1"]), SeriesSource("", rows=(100, 20, 0), horizon=4))
    model = small(block=1, normalise="none", hidden_size=12, dtype="float32")
    Trainer(model, task, TrainConfig(epochs=12, batch=16, lr=0.02)).fit()
    values = values.copy()
    values[77, 1] += 3.0
    scores = model.surprise(values)
    assert scores.shape == (104, 2)
    assert np.unravel_index(scores.argmax(), scores.shape) == (77 - 16, 1)


def test_standardisation_knows_the_training_part_alone(tmp_path: Path) -> None:
    source = SeriesSource(str(write_series(tmp_path / "x.csv")), rows=(100, 40, 60), horizon=8)
    task = ForecastTask(source.load(), source)
    mean, scale = scale_of(task.series, task.train_end)
    part = task.series.values[:100]
    assert (mean, scale) == (part.mean(axis=0).tolist(), part.std(axis=0).tolist())
    with pytest.raises(ValueError, match="at most 200"):
        ForecastTask(task.series, SeriesSource("", rows=(100, 80, 60)))
    with pytest.raises(ValueError, match="values that vary"):
        scale_of(data.Series(np.ones((5, 1)), ["x"]), 5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecast")
    csv = write_series(folder / "waves.csv")
    output = inside(
        "train", "forecast", "--data", csv, "--rows", "140,30,30", "--horizon", "8", "--context", "16",
        "--hidden", "12", "--epochs", "8", "--batch", "16", "--lr", "0.01", "--seed", "1", "--out", folder / "run",
    )  # fmt: skip
    (folder / "output").write_text(output)
    return folder


def test_the_command_trains_and_compares(run: Path) -> None:
    output = (run / "output").read_text()
    assert "140 rows to train on, 30 to validate on, 30 to test, 2 columns" in output
    for name in ("model", "repeat last", "seasonal naive (8)", "linear (16)"):
        assert f"{name} 0." in output or f"{name} 1." in output, output
    values = json.loads(inside("eval", run / "run", "--data", run / "waves.csv", "--json"))
    assert values["mse, model"] < 0.5 * values["mse, repeat last"]
    assert f"model {values['mse, model']:.4f}" in output
    assert "forecaster" in inside("info", run / "run")
    assert "16 steps give 8" in inside("info", run / "run")


def test_the_command_predicts(run: Path) -> None:
    text = (run / "waves.csv").read_text()
    rows = inside("predict", run / "run", given=text).splitlines()
    assert rows[0] == "c0,c1"
    model = models.load(run / "run" / "model.safetensors")
    assert isinstance(model, Forecaster)
    want = model.forecast(data.read_series(run / "waves.csv").values, 8)
    np.testing.assert_allclose([[float(x) for x in row.split(",")] for row in rows[1:]], want, rtol=1e-5)
    truth = waves(208)[200:]
    assert np.abs(want - truth).mean() < 0.5
    assert "line 201, column c1" in inside("predict", run / "run", given=text.rsplit(",", 1)[0] + ",x\n", fails=True)


@pytest.mark.parametrize("place", ["docs/numeric.md", "python/rnncore/cli/train_forecast.py"])
def test_the_printed_command_predicts(run: Path, place: str) -> None:
    file = Path(__file__).parents[2] / place
    if not file.exists():
        pytest.skip("no source tree")
    [printed] = re.findall(r"\(head .*rnncore predict runs/ett", file.read_text())
    command = printed.replace("ETTh1.csv", str(run / "waves.csv")).replace("runs/ett", str(run / "run"))
    command = command.replace("rnncore predict", f"{sys.executable} -m rnncore predict")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == inside("predict", run / "run", run / "waves.csv")


def test_a_stopped_run_goes_on_bit_for_bit(run: Path, tmp_path: Path) -> None:
    args = ["train", "forecast", "--data", run / "waves.csv", "--rows", "140,30,30", "--horizon", "8",
            "--context", "16", "--hidden", "6", "--batch", "16", "--dropout", "0.2", "--patience", "50"]  # fmt: skip
    inside(*args, "--epochs", "4", "--out", tmp_path / "whole")
    inside(*args, "--steps", "13", "--out", tmp_path / "parts")
    inside("train", "--resume", tmp_path / "parts", "--epochs", "4")
    one, two = (models.load(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes(), name
    assert not math.isnan(float(next(one.parameters()).numpy().flat[0]))
