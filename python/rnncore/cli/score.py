"""``rnncore eval`` and ``rnncore predict``: what they do is the business of the model's kind."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer

from rnncore._messages import message
from rnncore.cli.common import RUN_ARGUMENT, THREADS, load_model, set_threads

_NAMES = {"nats": "nats per token", "unknown_tokens": "scored as <unk>"}  # others read well as they are


def evaluate(
    run: Path = RUN_ARGUMENT,
    text: Path = typer.Option(..., "--text", "--data", help="What to score (UTF-8; .gz too).", show_default=False),
    format: str | None = typer.Option(None, "--format", metavar="NAME", help="Of the data; default: as in training."),
    picture: Path | None = typer.Option(
        None, "--picture", help="Draw a classifier's confusion matrix, or where a translator looked."
    ),
    transcripts: Path | None = typer.Option(
        None, "--transcripts", help="Of recordings: what is said, a CSV file; default: as in training."
    ),
    dynamic: str | None = typer.Option(
        None, "--dynamic", metavar="RULE", help="Of a language model: its weights follow the text, by sgd or rms."
    ),
    dynamic_lr: float | None = typer.Option(
        None, "--dynamic-lr", metavar="X", help="Learning rate; default: 0.2 (sgd), 0.0001 (rms)."
    ),
    dynamic_decay: float | None = typer.Option(
        None, "--dynamic-decay", metavar="X", help="Back to the trained weights; default: 0 (sgd), 0.002 (rms)."
    ),
    segment: int | None = typer.Option(None, "--segment", metavar="N", help="Tokens between two steps; default: 5."),
    train_text: Path | None = typer.Option(
        None, "--train-text", help="For rms, where the gradients' mean square is taken; default: what it learnt from."
    ),
    cache: int | None = typer.Option(
        None, "--cache", metavar="N", help="Of a language model: a continuous cache of the last N states."
    ),
    cache_theta: float | None = typer.Option(
        None, "--cache-theta", metavar="X", help="How alike states must be; default: 0.3."
    ),
    cache_weight: float | None = typer.Option(
        None, "--cache-weight", metavar="X", help="Share of the cache (lambda); default: 0.1."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    threads: int | None = THREADS,
) -> None:
    """Score a model on a file.

    A language model: nats, perplexity, bits per character, tokens; every token but the very first is predicted
    from all tokens before it. With --dynamic it learns from each segment after having scored it, with --cache words
    that came before become likelier; the model's file is not changed.

    A classifier: accuracy, balanced accuracy, macro F1. A tagger: accuracy,
    and of entities precision, recall and F1.

    Example: rnncore eval runs/book --text other.txt
    """
    from rnncore.train.task import task_class

    set_threads(threads)
    model = load_model(run)
    task = task_class(model.kind)
    given = {
        "format": format, "picture": picture, "transcripts": transcripts, "dynamic": dynamic,
        "dynamic-lr": dynamic_lr, "dynamic-decay": dynamic_decay, "segment": segment, "train-text": train_text,
        "cache": cache, "cache-theta": cache_theta, "cache-weight": cache_weight,
    }  # fmt: skip
    options = _options("eval", model.kind, task.eval_options, given)
    values = task.evaluate(model, text, options)
    if as_json:
        typer.echo(json.dumps({name: _finite(value) for name, value in values.items()}, allow_nan=False))
        return
    for name, value in values.items():
        if not isinstance(value, int | float) or (name == "unknown_tokens" and not value):
            continue
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        typer.echo(f"{_NAMES.get(name, name.replace('_', ' ')):<19} {shown}")


def _finite(value: Any) -> Any:
    """JSON has no word for a perplexity that overflows."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def predict(
    run: Path = RUN_ARGUMENT,
    file: Path = typer.Argument(Path("-"), metavar="[FILE]", help="What to read; -: standard input."),
    beams: int | None = typer.Option(None, "--beams", metavar="N", help="Of a writer: hypotheses; 1: greedy."),
    length_penalty: float | None = typer.Option(
        None, "--length-penalty", metavar="X", help="Of the search: above 0 favours longer texts."
    ),
    temperature: float | None = typer.Option(
        None, "--temperature", metavar="X", help="Draw texts; below 1: safer; 0: always the likeliest."
    ),
    top_k: int | None = typer.Option(None, "--top-k", metavar="N", help="Draw among the k likeliest tokens; 0: all."),
    top_p: float | None = typer.Option(
        None, "--top-p", metavar="X", help="Draw among the likeliest with this probability together."
    ),
    seed: int | None = typer.Option(None, "--seed", metavar="N", help="Of the random numbers; default: 0."),
    texts: int | None = typer.Option(None, "--texts", metavar="N", help="The N best, or N drawn, of each record."),
    prefix: str | None = typer.Option(None, "--prefix", help="What each text begins with."),
    stop: list[str] = typer.Option([], "--stop", help="End where this text appears; may be given several times."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON object a line."),
    threads: int | None = THREADS,
) -> None:
    """Print what a model says about each record of a file or of standard input.

    Models that write (translations, captions) search with --beams and
    --length-penalty, by default as they were trained, or draw with
    --temperature, --top-k, --top-p and --seed. Their JSON has the
    log-probability of each piece.

    Example: rnncore predict runs/names names.txt

    Example: echo Satoshi | rnncore predict runs/names
    """
    from rnncore.data.records import STANDARD_INPUT
    from rnncore.data.text import open_text
    from rnncore.train.task import task_class

    set_threads(threads)
    model = load_model(run)
    task = task_class(model.kind)
    given = {
        "beams": beams, "length-penalty": length_penalty,
        "temperature": temperature, "top-k": top_k, "top-p": top_p, "seed": seed,
        "texts": texts, "prefix": prefix, "stop": stop or None,
    }  # fmt: skip
    options = _options("predict", model.kind, task.predict_options, given)
    standard = str(file) == "-"
    with nullcontext(sys.stdin) if standard else open_text(file) as stream:
        name = STANDARD_INPUT if standard else str(file)
        for line, value in task.predict(model, stream, name, options):
            typer.echo(json.dumps(value, ensure_ascii=False) if as_json else line)


def _options(command: str, kind: str, known: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given; those that a kind of model does not read are refused."""
    options = {name: value for name, value in given.items() if value is not None}
    for name, value in options.items():
        if name not in known:
            names = ", ".join(f"--{one}" for one in known) or "none of these"
            raise ValueError(message(command, f"--{name}", f"an option that a {kind} reads, {names}", str(value)))
    return options
