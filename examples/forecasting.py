#!/usr/bin/env python3
"""Forecasting: a network beside the forecasts that it has to beat, ranges by quantiles, and what stands out.

    python examples/forecasting.py                                      # airline passengers, 12 months ahead
    python examples/forecasting.py --data ETTh1.csv --rows 8640,2880,2880 --horizon 24 --context 96 --period 24

Training knows the training rows alone, their mean and deviation included. The test is a rolling origin: from each row
of the test part on, the next steps are told from the rows before. Errors are in deviations of the training part. Beside
the network stand the last value, the value one period ago and a linear model of the last values, whoever wins.
"""

from __future__ import annotations

import argparse

import numpy as np

from rnncore import Generator, data
from rnncore.models import Forecaster
from rnncore.train import TrainConfig, Trainer
from rnncore.train.forecast import ForecastTask, SeriesSource, scale_of


def read(args: argparse.Namespace) -> tuple[data.Series, SeriesSource]:
    """The series (passengers in logarithms, whose yearly swing is even), and how it is cut."""
    if args.data is not None:
        rows = tuple(float(each) for each in args.rows.split(","))
        source = SeriesSource(args.data, rows=rows, horizon=args.horizon, period=args.period)  # type: ignore[arg-type]
        return source.load(), source
    passengers = data.airline_passengers()
    series = data.Series(np.log(passengers.values), ["log passengers"])
    return series, SeriesSource("airline passengers", rows=(96, 24, 24), horizon=args.horizon, period=args.period)


def main() -> None:
    """Read, train, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a CSV file, oldest row first; default: airline passengers")
    parser.add_argument("--rows", default="0.7,0.1,0.2", help="rows or shares of training, validation and test")
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--context", type=int, default=24)
    parser.add_argument("--period", type=int, default=12)
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--hidden", type=int, default=48)
    parser.add_argument("--normalise", default="last", help="window, last or none")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few epochs")
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.hidden = 12, 16
    series, source = read(args)
    task = ForecastTask(series, source)
    mean, scale = scale_of(series, task.train_end)

    def trained(**options: object) -> Forecaster:
        model = Forecaster(
            series.columns, context=args.context, mean=mean, scale=scale, normalise=args.normalise, cell=args.cell,
            hidden_size=args.hidden, generator=Generator(args.seed), **options,  # type: ignore[arg-type]
        )  # fmt: skip
        config = TrainConfig(epochs=args.epochs, batch=16, lr=args.lr, clip_norm=1.0, schedule="cosine", seed=args.seed)
        Trainer(model, task, config).fit()
        return model

    print(task.describe())
    print(f"{'':24} squared  absolute error, {args.horizon} steps ahead")
    model = trained(block=args.horizon)
    for name, row in task.compare(model, task.valid_end, task.end).items():
        print(f"{args.cell if name == 'model' else name:24} {row['mse']:7.4f}  {row['mae']:7.4f}")

    ranges = trained(block=args.horizon, quantiles=(0.1, 0.5, 0.9))
    windows = task.end - task.valid_end - args.horizon + 1
    told = np.stack([ranges.forecast(series.values[: task.valid_end + n], args.horizon) for n in range(windows)][:100])
    truth = np.stack([series.values[task.valid_end + n :][: args.horizon] for n in range(len(told))])
    inside = (told[..., 0] <= truth) & (truth <= told[..., 2])
    print(f"between the 10% and the 90% quantile lie {100 * inside.mean():.0f}% of what came")

    spoilt = series.values[: task.end].copy()
    row = task.valid_end + (task.end - task.valid_end) // 2
    spoilt[row, 0] += 3 * scale[0]
    start = task.valid_end - args.context
    scores = model.surprise(spoilt[start:])[:, 0]
    found = start + args.context + int(scores.argmax())
    usual = f"{scores.max():.0f} times the usual"
    print(f"a value is spoilt in row {row}: the largest surprise is in row {found}, {usual}")


if __name__ == "__main__":
    main()
