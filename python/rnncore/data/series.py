"""Time series: tables of numbers, one row a time step, from CSV files."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message
from rnncore.data.text import PathLike, read_text

Values = NDArray[np.float64]
MISSING = ("refuse", "previous", "linear")
_MISSING_CELLS = {"", "na", "nan", "null", "none", "?"}


@dataclass(frozen=True)
class Series:
    """Columns of numbers over time.

    Attributes:
        values: float64 (T, C).
        columns: C names.
        filled: how many missing values were filled in.
        skipped: how many malformed rows were left out.
    """

    values: Values
    columns: list[str]
    filled: int = 0
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def fingerprint(self) -> str:
        """A hash of names and numbers."""
        return hashlib.sha256("\n".join(self.columns).encode() + self.values.tobytes()).hexdigest()


def read_series(
    path: PathLike,
    *,
    columns: Sequence[str] | None = None,
    missing: str = "refuse",
    skip_malformed: bool = False,
    delimiter: str = ",",
) -> Series:
    """A CSV file (``.gz`` too), one row a time step, oldest first.

    The first line may hold the names of the columns. A column whose first cell is no number (a date) is left out
    unless `columns` names it.

    Args:
        path: the file.
        columns: which columns, by name; default: all that hold numbers.
        missing: what becomes of empty cells (also NA, NaN, null, None and ?): "refuse" (default), "previous" (the last
            value before) or "linear" (a line between the neighbours).
        skip_malformed: leave out rows with a wrong number of cells or with text where a number belongs, and count
            them; default: refuse. The steps around a row that is left out move together.
        delimiter: default a comma.

    Raises:
        OSError: it cannot be read.
        ValueError: malformed rows or missing values (file, line and column are named), unknown columns, no rows.
    """
    return parse_series(
        read_text(path), str(path), columns=columns, missing=missing, skip_malformed=skip_malformed, delimiter=delimiter
    )


def parse_series(
    text: str,
    name: str,
    *,
    columns: Sequence[str] | None = None,
    missing: str = "refuse",
    skip_malformed: bool = False,
    delimiter: str = ",",
) -> Series:
    """The same from a text; `name` stands in messages."""
    if missing not in MISSING:
        raise ValueError(message("read series", "missing", " | ".join(MISSING), repr(missing)))
    numbered, skipped = _numbered(text, delimiter, name, skip_malformed)
    rows = [row for row in numbered if row[1]]
    if not rows:
        raise ValueError(message("read series", name, "rows of numbers", "none"))
    header, body = _split_header(rows)
    if not body:
        raise ValueError(message("read series", name, "rows of numbers", "a header alone"))
    chosen = _choose(header, body[0][1], columns, name)
    values: list[list[float]] = []
    lines: list[int] = []
    for number, cells in body:
        try:
            values.append(_numbers(cells, header, chosen, f"{name}, line {number}"))
            lines.append(number)
        except ValueError:
            if not skip_malformed:
                raise
            skipped += 1
    if not values:
        raise ValueError(message("read series", name, "rows of numbers", f"none ({skipped} malformed)"))
    table = np.array(values, dtype=np.float64)
    names = [header[at] for at in chosen]
    filled = _fill(table, missing, lambda row, at: f"{name}, line {lines[row]}, column {names[at]}")
    return Series(table, names, filled, skipped)


def _numbered(text: str, delimiter: str, name: str, skip_malformed: bool) -> tuple[list[tuple[int, list[str]]], int]:
    """The rows with their lines, and how many were left out since they are none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    skipped = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return rows, skipped
        except csv.Error as error:  # the reader goes on with the next line
            if not skip_malformed:
                where = f"{name}, line {reader.line_num}"
                raise ValueError(message("read series", where, "a row of cells", str(error))) from None
            skipped += 1
        else:
            rows.append((reader.line_num, [cell.strip() for cell in row]))


def _is_number(cell: str) -> bool:
    if cell.lower() in _MISSING_CELLS:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _split_header(rows: list[tuple[int, list[str]]]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    first = rows[0][1]
    if any(_is_number(cell) and cell for cell in first):  # names are no numbers
        return [f"column {at + 1}" for at in range(len(first))], rows
    return first, rows[1:]


def _choose(header: list[str], first: list[str], columns: Sequence[str] | None, name: str) -> list[int]:
    if columns is None:
        chosen = [at for at, cell in enumerate(first[: len(header)]) if _is_number(cell)]
        if not chosen:
            raise ValueError(message("read series", name, "a column of numbers", ", ".join(first)[:60]))
        return chosen
    unknown = [column for column in columns if column not in header]
    if unknown or not columns:
        raise ValueError(message("read series", f"{name}, columns", " | ".join(header), ", ".join(unknown) or "none"))
    return [header.index(column) for column in columns]


def _numbers(cells: list[str], header: list[str], chosen: list[int], where: str) -> list[float]:
    if len(cells) != len(header):
        raise ValueError(message("read series", where, f"{len(header)} cells", str(len(cells))))
    result = []
    for at in chosen:
        cell = cells[at]
        if not _is_number(cell):
            raise ValueError(message("read series", f"{where}, column {header[at]}", "a number", repr(cell[:40])))
        value = math.nan if cell.lower() in _MISSING_CELLS else float(cell)
        if math.isinf(value):
            raise ValueError(message("read series", f"{where}, column {header[at]}", "a finite number", cell))
        result.append(value)
    return result


def _fill(table: Values, missing: str, where: Any) -> int:
    """Fill the gaps of each column in place; how many there were."""
    holes = np.isnan(table)
    count = int(holes.sum())
    if count == 0:
        return 0
    row, at = (int(each[0]) for each in np.nonzero(holes))
    if missing == "refuse":
        hint = "missing='previous' or 'linear' (--missing) fills gaps"
        raise ValueError(message("read series", where(row, at), "a number", f"none ({count} in all)", hint))
    for at in range(table.shape[1]):
        column, gaps = table[:, at], np.isnan(table[:, at])
        known = np.flatnonzero(~gaps)
        if len(known) == 0 or (missing == "previous" and gaps[0]):
            raise ValueError(message("read series", where(0, at), "a value to fill gaps with", "none before it"))
        if missing == "linear":
            column[gaps] = np.interp(np.flatnonzero(gaps), known, column[known])
        else:
            last = np.maximum.accumulate(np.where(gaps, 0, np.arange(len(column))))
            column[gaps] = column[last[gaps]]
    return count


def airline_passengers() -> Series:
    """Monthly totals of international airline passengers, in thousands, 1949 to 1960: 144 months.

    Box & Jenkins 1976, "Time Series Analysis: Forecasting and Control", series G; in logarithms, as usual, its yearly
    swing is even.
    """
    from importlib.resources import files

    text = files("rnncore.data").joinpath("airline_passengers.csv").read_text(encoding="utf-8")
    return parse_series(text, "airline_passengers.csv")
