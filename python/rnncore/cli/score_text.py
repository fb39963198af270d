"""``rnncore score``: log-probabilities of lines as JSON lines, n-best lists, surprising tokens in colour."""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from rnncore.cli.common import RUN_ARGUMENT, THREADS, load_language_model, set_threads

if TYPE_CHECKING:
    from rnncore.data import TextVocabulary
    from rnncore.models import LanguageModel
    from rnncore.scoring import LineScore

# Bits of surprise up to which a token has this style.
_STYLES = ((2.0, ""), (5.0, "cyan"), (8.0, "yellow"), (12.0, "magenta"), (math.inf, "bold red"))


def score(
    run: Path = RUN_ARGUMENT,
    files: list[Path] = typer.Argument(
        None, metavar="[FILE]...", help="Texts, a line each (UTF-8; .gz too); -, or none: standard input."
    ),
    tokens: bool = typer.Option(False, "--tokens", help="Each token's log-probability too."),
    color: bool = typer.Option(False, "--color", help="Print the text, surprising tokens coloured, instead of JSON."),
    nbest: bool = typer.Option(
        False, "--nbest", help="Lines are 'group ||| text ||| score': sort each group, the best first."
    ),
    weight: float = typer.Option(1.0, "--weight", metavar="X", help="With --nbest: of the log-probability."),
    batch: int = typer.Option(32, "--batch", metavar="N", help="Lines read together; 1: each as it comes."),
    threads: int | None = THREADS,
) -> None:
    """Print the log-probability of each line (nats), one JSON object a line.

    A line is scored by itself: its first token is predicted after a line end, and its own line end counts. For a whole
    text with carried state: rnncore eval.

    Example: rnncore score runs/book a.txt b.txt

    Example: rnncore score runs/book --tokens < lines.txt
    """
    set_threads(threads)
    model = load_language_model(run)
    for file in files or [Path("-")]:
        name = "standard input" if str(file) == "-" else str(file)
        with _open(file) as stream:
            if nbest:
                _print_nbest(model, stream, name, weight, batch)
            else:
                _print_lines(model, stream, name, batch, tokens=tokens, color=color)


def _open(file: Path) -> Any:
    """The bytes of a file or of standard input; closing leaves the latter open."""
    if str(file) == "-":
        return nullcontext(sys.stdin.buffer)
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")


def _lines(model: LanguageModel, stream: BinaryIO, name: str) -> Iterator[str]:
    from rnncore.scoring import read_lines

    vocabulary = model.require_vocabulary()
    keep = vocabulary.level == "byte" or (vocabulary.level == "char" and "\r" in vocabulary.tokens)
    return read_lines(stream, name, keep_returns=keep)


def _print_lines(model: LanguageModel, stream: BinaryIO, name: str, batch: int, *, tokens: bool, color: bool) -> None:
    from rnncore.scoring import score_lines

    vocabulary = model.require_vocabulary()
    for number, line in enumerate(score_lines(model, _lines(model, stream, name), batch=batch), start=1):
        if color:
            _print_coloured(vocabulary, line)
            continue
        record: dict[str, Any] = {"file": name, "line": number, **_numbers(line)}
        if tokens:
            record["token_log_probs"] = [
                [text, value] for text, value in zip(_texts(vocabulary, line), line.log_probs.tolist(), strict=True)
            ]
        typer.echo(json.dumps(record, ensure_ascii=False))


def _numbers(line: LineScore) -> dict[str, Any]:
    return {
        "log_prob": line.total,
        "tokens": len(line.ids),
        "perplexity": line.perplexity,
        "bits_per_character": line.bits_per_character,
    }


def _texts(vocabulary: TextVocabulary, line: LineScore) -> list[str]:
    pieces = vocabulary.pieces(line.ids)
    return [f"0x{piece}" for piece in pieces] if vocabulary.level == "byte" else pieces


def _print_coloured(vocabulary: TextVocabulary, line: LineScore) -> None:
    from rich.console import Console
    from rich.text import Text

    from rnncore.data import Subwords

    shown = Text()
    parts = (vocabulary.texts(line.ids) if isinstance(vocabulary, Subwords) else _texts(vocabulary, line))[:-1]
    for part, value in zip(parts, line.log_probs.tolist(), strict=False):
        surprise = -value / math.log(2)
        shown.append(part, next(style for limit, style in _STYLES if surprise <= limit))
        if vocabulary.level == "word":
            shown.append(" ")
    shown.append(f"  {line.total:.1f}", "dim")
    Console(soft_wrap=True).print(shown)


def _print_nbest(model: LanguageModel, stream: BinaryIO, name: str, weight: float, batch: int) -> None:
    from rnncore.scoring import parse_candidate, rescore

    candidates = (parse_candidate(text, number) for number, text in enumerate(_lines(model, stream, name), start=1))
    for group in rescore(model, candidates, weight=weight, batch=batch):
        for candidate, line, total in group:
            record = {"group": candidate.group, "text": candidate.text, "score": candidate.score, "total": total}
            typer.echo(json.dumps({**record, **_numbers(line)}, ensure_ascii=False))
