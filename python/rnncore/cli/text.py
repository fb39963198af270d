"""``rnncore sample``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from rnncore.cli.common import RUN_ARGUMENT, THREADS, joined, load_model, set_threads


def sample(
    run: Path = RUN_ARGUMENT,
    prompt: str = typer.Option("", "--prompt", help="What to continue; default: the start of a line."),
    length: int = typer.Option(500, "--length", help="At most so many tokens.", min=1),
    temperature: float = typer.Option(1.0, "--temperature", help="Below 1: safer; 0: always the likeliest.", min=0.0),
    top_k: int = typer.Option(0, "--top-k", help="Choose among the k likeliest tokens; 0: all.", min=0),
    top_p: float = typer.Option(1.0, "--top-p", help="Choose among the likeliest with this probability together."),
    stop: list[str] = typer.Option([], "--stop", help="End where this text appears; may be given several times."),
    num_samples: int = typer.Option(1, "--num-samples", help="How many texts.", min=1),
    beams: int = typer.Option(0, "--beams", help="Beam search for the likeliest text instead of sampling.", min=0),
    seed: int = typer.Option(0, "--seed", help="Of the random numbers.", min=0),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    threads: int | None = THREADS,
) -> None:
    """Generate text.

    Example: rnncore sample runs/book --prompt "ROMEO:" --length 500 --temperature 0.8
    """
    from rnncore.generate import SamplingOptions, beam_search, generate

    options = SamplingOptions(temperature, top_k, top_p)
    set_threads(threads)
    model = load_model(run)
    level = model.require_vocabulary().level
    if beams:
        results = [beam_search(model, prompt, length=length, beams=beams)]
    else:
        results = generate(
            model, prompt, length=length, options=options, stop=stop, num_samples=num_samples, seed=seed
        )
    if as_json:
        typer.echo(json.dumps([{"prompt": prompt, "text": one.text, "stopped": one.stopped} for one in results]))
        return
    for number, one in enumerate(results, start=1):
        if len(results) > 1:
            typer.echo(f"--- {number} ---")
        typer.echo(joined(prompt, one.text, level))
