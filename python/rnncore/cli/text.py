"""``rnncore sample``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from rnncore.cli.common import RUN_ARGUMENT, THREADS, joined, load_language_model, set_threads


def sample(
    run: Path = RUN_ARGUMENT,
    prompt: str = typer.Option("", "--prompt", help="What to continue; default: the start of a line."),
    length: int = typer.Option(500, "--length", metavar="N", help="At most so many tokens."),
    temperature: float | None = typer.Option(
        None, "--temperature", metavar="X", help="Below 1: safer; 0: always the likeliest; default: 1."
    ),
    top_k: int | None = typer.Option(None, "--top-k", metavar="N", help="Choose among the k likeliest tokens; 0: all."),
    top_p: float | None = typer.Option(
        None, "--top-p", metavar="X", help="Choose among the likeliest with this probability together."
    ),
    typical_p: float | None = typer.Option(
        None, "--typical-p", metavar="X", help="Choose among the typically surprising."
    ),
    repetition_penalty: float | None = typer.Option(
        None, "--repetition-penalty", metavar="X", help="Above 1: tokens that came already are less likely."
    ),
    forbid: list[str] = typer.Option([], "--forbid", metavar="TOKEN", help="Never draw it; several times."),
    log_probs: bool = typer.Option(False, "--log-probs", help="With --json: each token's log-probability."),
    stream: bool = typer.Option(False, "--stream", help="Print one text as it comes."),
    stop: list[str] = typer.Option([], "--stop", help="End where this text appears; may be given several times."),
    num_samples: int | None = typer.Option(None, "--num-samples", metavar="N", help="How many texts; default: 1."),
    beams: int = typer.Option(
        0, "--beams", metavar="N", help="Beam search for the likeliest text instead of sampling."
    ),
    length_penalty: float | None = typer.Option(
        None, "--length-penalty", metavar="X", help="With --beams and --stop TOKEN: above 0 favours longer texts."
    ),
    seed: int | None = typer.Option(None, "--seed", metavar="N", help="Of the random numbers; default: 0."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    threads: int | None = THREADS,
) -> None:
    """Generate text.

    Example: rnncore sample runs/book --prompt "ROMEO:" --length 500 --temperature 0.8
    """
    from rnncore._messages import message
    from rnncore.generate import SamplingOptions, beam_search, generate, generate_text
    from rnncore.train.searching import refuse_both

    drawing = {
        "temperature": temperature, "top-k": top_k, "top-p": top_p, "typical-p": typical_p,
        "repetition-penalty": repetition_penalty,
    }  # fmt: skip
    more = {"seed": seed, "num-samples": num_samples, "forbid": forbid or None, "log-probs": log_probs or None}
    searching = {"beams": beams or None, "length-penalty": length_penalty}
    given = {name: value for name, value in {**searching, **drawing, **more}.items() if value is not None}
    refuse_both("sample", given, searching, (*drawing, *more))
    if length_penalty is not None and not beams:
        raise ValueError(message("sample", "--length-penalty", "--beams beside it", str(length_penalty)))
    if log_probs and not as_json:
        raise ValueError(message("sample", "--log-probs", "--json beside it", "it alone"))
    named: dict[str, Any] = {name.replace("-", "_"): given[name] for name in drawing if name in given}
    options = SamplingOptions(**named, forbidden=tuple(forbid))
    set_threads(threads)
    model = load_language_model(run)
    level = model.require_vocabulary().level
    if stream:
        if beams or stop or as_json or log_probs or num_samples not in (None, 1):
            raise typer.BadParameter("one text, without --beams, --stop, --json and --log-probs", param_hint="--stream")
        typer.echo(joined(prompt, "", level), nl=False)
        for piece in generate_text(model, prompt, length=length, options=options, seed=seed or 0):
            typer.echo(piece, nl=False)
        typer.echo()
        return
    if beams:
        results = [beam_search(model, prompt, length=length, beams=beams, alpha=length_penalty or 0.0, stop=stop)]
    else:
        results = generate(
            model, prompt, length=length, options=options, stop=stop, seed=seed or 0, log_probs=log_probs,
            num_samples=1 if num_samples is None else num_samples,
        )  # fmt: skip
    if as_json:
        records = [{"prompt": prompt, "text": one.text, "stopped": one.stopped} for one in results]
        if log_probs:
            records = [{**record, "log_probs": one.log_probs} for record, one in zip(records, results, strict=True)]
        typer.echo(json.dumps(records))
        return
    for number, one in enumerate(results, start=1):
        if len(results) > 1:
            typer.echo(f"--- {number} ---")
        typer.echo(joined(prompt, one.text, level))
