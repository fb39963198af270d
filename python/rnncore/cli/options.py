"""Options that the training commands of all kinds share; each command gives its own defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, overload

import typer

Epochs = Annotated[int, typer.Option("--epochs", metavar="N", help="Passes over the data.")]
EpochsOrSteps = Annotated[
    int | None,
    typer.Option("--epochs", metavar="N", help="Passes over the data; default: 10, or what --steps and --minutes say."),
]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Stop after so many updates.")]
Minutes = Annotated[
    float | None, typer.Option("--minutes", metavar="X", help="Stop after so much training time; resumable.")
]
Optimizer = Annotated[
    str, typer.Option("--optimizer", metavar="NAME", help="adam, adamw, sgd, rmsprop, asgd or nt-asgd.")
]
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
Inspect = Annotated[
    int | None, typer.Option("--inspect", metavar="N", help="Look inside every N updates (report, plot, watch).")
]
InspectNorms = Annotated[
    int | None, typer.Option("--inspect-norms", metavar="N", help="Every N updates the gradient norms alone.")
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard files to RUN.")]
Force = Annotated[bool, typer.Option("--force", help="Take the place of a run in --out.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="RUN", help="The run folder; default: runs/<the data's name>.")
]

# Of labelled data.
Format = Annotated[str | None, typer.Option("--format", metavar="NAME", help="See above; default: by the name.")]
OnError = Annotated[
    str, typer.Option("--on-error", metavar="WHAT", help="With malformed records: raise, or skip and count.")
]
ValidFraction = Annotated[
    float, typer.Option("--valid-fraction", metavar="X", help="Share of --train, where no file is given.")
]
TestFraction = Annotated[
    float, typer.Option("--test-fraction", metavar="X", help="Share of --train, where no file is given.")
]
EmbeddingDropout = Annotated[
    float, typer.Option("--embedding-dropout", metavar="X", help="Probability of dropping a whole embedding.")
]

EmbeddingScale = Annotated[
    float, typer.Option("--embedding-scale", metavar="X", help="Deviation of the embedding's start values.")
]


@overload
def absolute(path: str) -> str: ...
@overload
def absolute(path: None) -> None: ...
def absolute(path: str | None) -> str | None:
    """A path (perhaps with braces in it) that holds wherever a run is resumed."""
    return None if path is None else str(Path(path).absolute())


def name_of(path: str) -> str:
    """What a run of this data is called."""
    return re.sub(r"\W*\{.*\}.*", "", Path(path).name).split(".")[0] or "data"


def say_skipped(count: int) -> None:
    """One line, where malformed records were left out."""
    if count:
        typer.echo(f"left out {count:,} malformed records")
