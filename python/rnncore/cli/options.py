"""Options that the training commands of all kinds share; each command gives its own defaults."""

from __future__ import annotations

from typing import Annotated

import typer

Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Passes over the data; default: 10.")]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Stop after so many updates.")]
Optimizer = Annotated[str, typer.Option("--optimizer", metavar="NAME", help="adam, adamw, sgd, rmsprop or asgd.")]
Rate = Annotated[float, typer.Option("--lr", metavar="X", help="Learning rate.")]
Momentum = Annotated[float, typer.Option("--momentum", metavar="X", help="Of sgd and rmsprop.")]
WeightDecay = Annotated[float, typer.Option("--weight-decay", metavar="X", help="Weight decay.")]
Clip = Annotated[float, typer.Option("--clip", metavar="X", help="Largest global gradient norm; 0: off.")]
ClipValue = Annotated[float, typer.Option("--clip-value", metavar="X", help="Largest gradient element; 0: off.")]
Schedule = Annotated[
    str, typer.Option("--schedule", metavar="NAME", help="constant, step, exponential, cosine or plateau.")
]
WarmUp = Annotated[int, typer.Option("--warmup", metavar="N", help="Updates of linear warm-up.")]
Decay = Annotated[float, typer.Option("--decay", metavar="X", help="Factor of step, exponential and plateau.")]
DecayAfter = Annotated[int, typer.Option("--decay-after", metavar="N", help="Epochs at the full rate.")]
Patience = Annotated[
    int | None, typer.Option("--patience", metavar="N", help="Stop after so many epochs without gain.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of all random numbers.")]
CheckpointSteps = Annotated[int | None, typer.Option("--checkpoint-steps", metavar="N", help="Updates between saves.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard files to RUN.")]
Force = Annotated[bool, typer.Option("--force", help="Take the place of a run in --out.")]
