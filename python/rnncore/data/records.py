"""What the readers of labelled data share: lines with their numbers, and malformed records named or counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal, TypeVar, get_args

from rnncore._messages import message
from rnncore.data.text import PathLike, read_text

OnError = Literal["raise", "skip"]
R = TypeVar("R")
STANDARD_INPUT = "standard input"  # what commands call it
_TOGETHER = 64


class Records:
    """Collects the malformed records of a reading.

    Args:
        on_error: "raise": the first one is an error that names file and line; "skip": it is left out and counted.
    """

    def __init__(self, on_error: OnError = "raise") -> None:
        if on_error not in get_args(OnError):
            raise ValueError(message("read data", "on_error", " | ".join(get_args(OnError)), repr(on_error)))
        self.skips = on_error == "skip"
        self.skipped = 0

    def bad(self, origin: str, line: int, expected: str, got: str) -> None:
        """A malformed record.

        Raises:
            ValueError: unless such records are skipped.
        """
        if not self.skips:
            shown = got if len(got) <= 60 else got[:57] + "..."
            raise ValueError(message("read data", f"{origin} line {line}", expected, repr(shown)))
        self.skipped += 1


def lines_of(path: PathLike) -> Iterator[tuple[int, str]]:
    r"""The lines of a UTF-8 file (``.gz`` too) with their numbers from 1, without their ends (\n or \r\n)."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        yield number, line.removesuffix("\r")


def together(records: Iterable[R], name: str) -> Iterator[list[R]]:
    """Records that a model reads at once: of a file many, of standard input, where somebody may wait, one by one."""
    size = 1 if name == STANDARD_INPUT else _TOGETHER
    source = iter(records)
    while part := list(islice(source, size)):
        yield part
