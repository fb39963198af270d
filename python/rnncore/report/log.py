"""A run's log as columns, read in one pass however long it is, and followed while it is being written."""

from __future__ import annotations

import json
import os
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Record = dict[str, Any]

_BLOCK = 1 << 24  # bytes read at a time
_PREFIX = 16
_STEPS = frozenset((b'{"event": "step"', b'{"event":"step",'))  # how the lines of updates begin
_FEW = 100  # lines among those of updates that are taken out one by one
_KEPT = 50_000  # lines of updates; beyond, every second one is dropped, again and again
_KEPT_OTHERS = 20_000  # of each other kind of line
_LARGEST = 1e300  # beyond, axes overflow
_KINDS = 64  # of lines that are told apart by how they begin


class Log:
    """What is kept of a log: the lines of updates as columns, those of other kinds as they are.

    Attributes:
        lines: how many lines there were.
        bad: how many of those that were parsed are no JSON objects with an "event".
        stride: of the lines of updates every `stride`-th is kept (and the last); 1: all.
        others: records by event ("epoch", "inspect", "sample", ...).
    """

    def __init__(self) -> None:
        self.lines = self.bad = 0
        self.stride = 1
        self.others: dict[str, list[Record]] = {}
        self._columns: dict[str, array[float]] = {}
        self._rows = self._steps = 0
        self._last: bytes | None = None  # the last line of an update, where it was passed over
        self._other_strides: dict[str, int] = {}
        self._other_counts: dict[str, int] = {}

    def feed(self, lines: list[bytes]) -> None:
        """Take in whole lines."""
        self.lines += len(lines)
        other = [index for index, line in enumerate(lines) if line[:_PREFIX] not in _STEPS]
        if len(other) > _FEW:
            steps = [line for line in lines if line[:_PREFIX] in _STEPS]
        else:
            steps = lines.copy()
            for index in reversed(other):
                del steps[index]
        for index in other:
            self._add_other(lines[index])
        at = -self._steps % self.stride
        while at < len(steps):
            self._add_step(self._parsed(steps[at]))
            number = self._steps + at  # of this line among those of updates; kept are the multiples of the stride
            at += self.stride - number % self.stride
        if steps:
            self._steps += len(steps)
            self._last = None if (self._steps - 1) % self.stride == 0 else steps[-1]

    def column(self, name: str) -> NDArray[np.float64]:
        """A number of the lines of updates; NaN where a line has none."""
        values = np.array(self._columns.get(name, ()), dtype=np.float64)
        if len(values) < self._rows:
            values = np.full(self._rows, np.nan)
        if self._last is not None:
            record = self._parsed(self._last) or {}
            values = np.append(values, as_number(record.get(name)))
        return values

    @property
    def names(self) -> list[str]:
        """The columns that there are."""
        return list(self._columns)

    def events(self, kind: str) -> list[Record]:
        """The records of another kind, in their order."""
        return self.others.get(kind, [])

    def _parsed(self, line: bytes) -> Record | None:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and isinstance(record.get("event"), str):
            return record
        self.bad += 1
        return None

    def _add_step(self, record: Record | None) -> None:
        if record is None:
            return
        for name, value in record.items():
            if name != "event" and name not in self._columns and isinstance(value, int | float | None):
                self._columns[name] = array("d", [np.nan]) * self._rows
        for name, column in self._columns.items():
            column.append(as_number(record.get(name)))
        self._rows += 1
        if self._rows >= _KEPT:
            self._columns = {name: column[::2] for name, column in self._columns.items()}
            self._rows = (self._rows + 1) // 2
            self.stride *= 2

    def _add_other(self, line: bytes) -> None:
        kind = line[:40].split(b",", 1)[0].decode("utf-8", "replace")  # '{"event": "epoch"'
        if kind not in self._other_strides and len(self._other_strides) >= _KINDS:
            kind = ""
        stride = self._other_strides.setdefault(kind, 1)
        count = self._other_counts.get(kind, 0)
        self._other_counts[kind] = count + 1
        if count % stride:
            return
        record = self._parsed(line) if line.strip() else None
        if record is None:
            return
        if record["event"] == "step":
            self._steps += 1
            self._add_step(record)
            self._other_strides[kind] = self.stride
            return
        kept = self.others.setdefault(record["event"], [])
        kept.append(record)
        if len(kept) > _KEPT_OTHERS:
            del kept[1::2]
            self._other_strides[kind] *= 2


def as_number(value: Any) -> float:
    """A number that a figure can show, else NaN: whatever stands in a log.

    >>> [as_number(value) for value in (2, 0.5, True, "2", None, [2], 10**400, float("inf"))]
    [2.0, 0.5, nan, nan, nan, nan, nan, nan]
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _LARGEST:
        return float("nan")
    return float(value)


def as_count(value: Any, default: int) -> int:
    """A whole number for people, the default where there is none.

    >>> as_count(3, 0), as_count(None, 7)
    (3, 7)
    """
    number = as_number(value)
    return int(number) if number == number else default


class LogFile:
    """Follows a log: `poll` takes in what is new, from the beginning where the file was cut or replaced.

    A resumed run cuts its log back to the checkpoint, so the bytes before the place reached are compared.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reset()

    def reset(self) -> None:
        """Forget what was read."""
        self.log = Log()
        self.incomplete = False  # whether a line was cut short, or is being written
        self._at = 0
        self._before = b""  # the last bytes taken in
        self._inode = -1

    def poll(self) -> bool:
        """Read what there is; whether anything has changed.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            state = os.fstat(file.fileno())
            file.seek(self._at - len(self._before))
            changed = state.st_ino != self._inode or state.st_size < self._at
            if changed or file.read(len(self._before)) != self._before:
                self.reset()
                file.seek(0)
                changed = True
            self._inode = state.st_ino
            rest = b""
            while block := file.read(_BLOCK):
                lines = (rest + block).split(b"\n")
                rest = lines.pop()
                if lines:
                    self.log.feed(lines)
                    changed = True
                    self._before = lines[-1][-256:] + b"\n"
            self._at = file.tell() - len(rest)
            self.incomplete = bool(rest)
        return changed
