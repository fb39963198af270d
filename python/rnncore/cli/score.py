"""``rnncore eval``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from rnncore.cli.common import RUN_ARGUMENT, THREADS, load_model, set_threads


def evaluate(
    run: Path = RUN_ARGUMENT,
    text: Path = typer.Option(..., "--text", help="The text to score (UTF-8).", show_default=False),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    threads: int | None = THREADS,
) -> None:
    """Score a text: nats, perplexity, bits per character, tokens.

    Every token but the very first is predicted from all tokens before it.

    Example: rnncore eval runs/book --text other.txt
    """
    from rnncore import metrics
    from rnncore.data import decode_utf8, read_bytes

    set_threads(threads)
    model = load_model(run)
    vocabulary = model.require_vocabulary()
    data = read_bytes(text)
    content = data if vocabulary.level == "byte" else decode_utf8(data, str(text))
    score = metrics.evaluate(model, content)
    unit = "byte" if vocabulary.level == "byte" else "character"
    values = {
        "nats": score.nats,
        "perplexity": score.perplexity,
        f"bits_per_{unit}": score.bits_per_character,
        "tokens": score.tokens,
    }
    unknown = vocabulary.unknown_id
    if unknown is not None:
        values["unknown_tokens"] = int((vocabulary.encode(content) == unknown).sum())
    if as_json:
        typer.echo(json.dumps(values))
        return
    typer.echo(f"nats per token      {score.nats:.4f}")
    typer.echo(f"perplexity          {score.perplexity:.3f}")
    typer.echo(f"{f'bits per {unit}':<19} {score.bits_per_character:.4f}")
    typer.echo(f"tokens              {score.tokens:,}")
    if values.get("unknown_tokens"):
        typer.echo(f"scored as <unk>     {values['unknown_tokens']:,}")
