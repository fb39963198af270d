"""``rnncore prepare``: a text of any size tokenised once into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from rnncore.data.subwords import TokenLevel


def prepare(
    text: Path = typer.Option(..., "--text", "--train", help="The training text (UTF-8; .gz too).", show_default=False),
    out: Path = typer.Option(..., "--out", metavar="FOLDER", help="Where the ids go.", show_default=False),
    valid: Path | None = typer.Option(None, "--valid", help="Validation text; default: the end of --text."),
    test: Path | None = typer.Option(None, "--test", help="Test text."),
    level: str = typer.Option("word", "--level", metavar="LEVEL", help="What a token is: char, byte, word or subword."),
    valid_fraction: float = typer.Option(
        0.1, "--valid-fraction", metavar="X", help="Share of --text, where no file is given."
    ),
    vocab_size: int | None = typer.Option(
        None, "--vocab-size", metavar="N", help="Keep so many tokens; others become <unk>. Subwords: 8000."
    ),
    min_count: int = typer.Option(
        1, "--min-count", metavar="N", help="Rarer tokens become <unk>; rarer pairs of subwords are not joined."
    ),
    tokenizer: Path | None = typer.Option(
        None, "--tokenizer", metavar="FILE", help="With --level subword: this tokenizer.json instead of a learnt one."
    ),
) -> None:
    """Tokenise a text that may be larger than memory, once, into a folder to train on.

    Stopped anywhere, the same command goes on. Prints how much of the text the vocabulary covers.

    Example: rnncore prepare --text big.txt --vocab-size 50000 --out big.ids

    Example: rnncore train lm --text big.ids
    """
    from rich.console import Console
    from rich.progress import Progress

    from rnncore.data.disk import prepare as run
    from rnncore.data.subwords import vocabulary_from_json

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        facts = run(
            out, text, valid, test, level=cast("TokenLevel", level), valid_fraction=valid_fraction, max_size=vocab_size,
            min_count=min_count, tokenizer=tokenizer, progress=show,
        )  # fmt: skip
    found = facts["coverage"]
    typer.echo(
        f"{found['tokens']:,} tokens of {found['types']:,} types; {100 * found['covered']:.2f} % in the vocabulary"
    )
    for name, (_, start, stop) in facts["parts"].items():
        typer.echo(f"{name:6} {stop - start:,} tokens")
    for name, state in facts["files"].items():
        tokens = max(state["tokens"], 1)
        typer.echo(
            f"{name}.ids: {100 * state['unknown'] / tokens:.2f} % unknown, {state['bytes'] / tokens:.2f} bytes each"
        )
    shares = ", ".join(f"{int(k):,}: {100 * share:.1f} %" for k, share in found["by_size"].items())
    typer.echo(f"vocabulary {len(vocabulary_from_json(facts['vocabulary'])):,}; the k most frequent cover {shares}")
    typer.echo(f"train on it with: rnncore train lm --text {out}")
