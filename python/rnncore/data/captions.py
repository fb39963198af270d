"""Vectors of features with captions, from CSV files."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message
from rnncore.data.file_source import FileSource
from rnncore.data.records import OnError, Records
from rnncore.data.splits import stratified_split
from rnncore.data.text import PathLike, open_text

CAPTION = "caption"


@dataclass(frozen=True)
class Captioned:
    """Rows of features (n, I) with a caption each; `columns`: names of the features."""

    columns: list[str]
    features: NDArray[np.float64]
    captions: list[str]
    skipped: int = 0

    def take(self, indices: Iterable[int]) -> Captioned:
        """Some of the rows."""
        chosen = list(indices)
        return Captioned(self.columns, self.features[chosen], [self.captions[n] for n in chosen])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything."""
        digest = hashlib.sha256(json.dumps([self.columns, self.captions]).encode())
        digest.update(self.features.tobytes())
        return digest.hexdigest()


def read_captions(path: PathLike, *, on_error: OnError = "raise") -> Captioned:
    """Read a CSV file (.gz too) whose header names the features and a column "caption".

    Args:
        path: the file.
        on_error: "raise": a malformed record is an error that names file and line; "skip": it is left out and counted.

    Raises:
        OSError: the file cannot be read.
        ValueError: no such header, a row that is not numbers and a caption, or nothing but those.
    """
    records, name = Records(on_error), str(path)
    with open_text(path) as stream:
        columns, rows = parse_rows(stream, name, records)
        items = [(values, caption) for values, caption in rows if caption]
    if not items:
        raise ValueError(message("read data", name, "at least one row", f"none ({records.skipped} skipped)"))
    return Captioned(columns, np.array([values for values, _ in items]), [text for _, text in items], records.skipped)


def parse_rows(
    lines: Iterable[str], name: str, records: Records, *, captions: bool = True
) -> tuple[list[str], Iterator[tuple[list[float], str]]]:
    """The names of the features, and each row's features with its caption ("" where `captions` need not be there)."""
    reader = csv.reader(lines)
    header = [cell.strip() for cell in next(reader, [])]
    if len(header) < 2 - (not captions) or len(set(header)) < len(header) or (captions and CAPTION not in header):
        expected = "different names of features" + (f" and {CAPTION!r}" if captions else "")
        raise ValueError(message("read data", f"{name} line 1", expected, repr(",".join(header)[:60])))
    columns = [cell for cell in header if cell != CAPTION]

    def rows() -> Iterator[tuple[list[float], str]]:
        for cells in reader:
            row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
            values = [_number(row.get(column, "")) for column in columns]
            caption = row.get(CAPTION, "")
            if len(cells) == len(header) and all(map(math.isfinite, values)) and (caption or not captions):
                yield values, caption
            elif cells:
                expected = f"{len(columns)} finite numbers" + (" and a caption" if captions else "")
                records.bad(name, reader.line_num, expected, ",".join(cells))

    return columns, rows()


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


@dataclass
class CaptionCorpus:
    """Captioned rows in three parts; `valid` and `test` may be empty."""

    train: Captioned
    valid: Captioned
    test: Captioned

    @property
    def skipped(self) -> int:
        """Malformed rows that were left out."""
        return sum(part.skipped for part in (self.train, self.valid, self.test))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything."""
        parts = "".join(part.fingerprint for part in (self.train, self.valid, self.test))
        return hashlib.sha256(parts.encode()).hexdigest()


@dataclass(frozen=True)
class CaptionSource(FileSource):
    """Files of captioned rows.

    Attributes:
        train, valid, test: CSV files, as for `read_captions`. Where `valid` or `test` is not given, a share of every
            caption of `train` is held out.
        valid_fraction, test_fraction: these shares; 0: none.
        on_error: "raise" or "skip" malformed records.
        seed: of the split.
    """

    train: str
    valid: str | None = None
    test: str | None = None
    valid_fraction: float = 0.1
    test_fraction: float = 0.0
    on_error: OnError = "raise"
    seed: int = 0

    def load(self) -> CaptionCorpus:
        """Read the files.

        Raises:
            ValueError: malformed data, or files with other features than the training file's.
        """
        train = read_captions(self.train, on_error=self.on_error)
        parts: dict[str, Captioned] = {}
        for offset, (name, path, share) in enumerate(
            (("test", self.test, self.test_fraction), ("valid", self.valid, self.valid_fraction))
        ):
            if path is not None:
                parts[name] = read_captions(path, on_error=self.on_error)
                if parts[name].columns != train.columns:
                    got = ", ".join(parts[name].columns)[:60]
                    raise ValueError(message("captions", path, "the columns of " + self.train, got))
            elif share:
                kept, held = stratified_split(train.captions, share, self.seed + offset)
                parts[name], train = train.take(held.tolist()), _with(train.take(kept.tolist()), train.skipped)
            else:
                parts[name] = train.take([])
        return CaptionCorpus(train, parts["valid"], parts["test"])


def _with(rows: Captioned, skipped: int) -> Captioned:
    return Captioned(rows.columns, rows.features, rows.captions, skipped)
