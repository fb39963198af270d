"""The log of a run: one JSON object a line."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from rnncore._messages import message


class JsonLinesLog:
    """Appends records to a file; each line is complete once `write` returns.

    The file is locked, so that no second process trains in the same folder; a process that dies unlocks it.

    Args:
        path: the file.
        keep_bytes: cut the file back to this length first (what a checkpoint knew of); 0 starts it anew.

    Raises:
        OSError: the file cannot be written, or another process has it.
    """

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        self.path = path
        try:
            self._file: IO[bytes] = path.open("r+b" if path.exists() else "w+b")
            _lock(self._file, path)
            self._file.seek(0, os.SEEK_END)
            self._file.truncate(min(keep_bytes, self._file.tell()))
            self._file.seek(0, os.SEEK_END)
        except LockedError:
            raise
        except OSError as error:
            raise _failure(path, error) from error

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; numbers that are not finite become null."""
        clean = {name: _finite(value) for name, value in record.items()}
        try:
            self._file.write(json.dumps(clean, allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise _failure(self.path, error) from error

    def sync(self) -> int:
        """Force the lines to the disk; returns the file's length in bytes."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._file.tell()
        except OSError as error:
            raise _failure(self.path, error) from error

    def close(self) -> int:
        """Close the file; returns its length in bytes."""
        length = self._file.tell()
        self._file.close()
        return length

    def __enter__(self) -> JsonLinesLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class LockedError(OSError):
    """Another process is training in the folder."""


def _lock(file: IO[bytes], path: Path) -> None:
    """Lock it, or close it and raise LockedError."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        got = "one that another process is training"
        hint = "wait for it, or stop it first"
        raise LockedError(message("log", str(path), "a run of our own", got, hint)) from None


@contextlib.contextmanager
def lock_of(path: Path) -> Iterator[None]:
    """Hold the lock of a log, if there is one, as `JsonLinesLog` does, without changing the file.

    Raises:
        OSError: another process has it.
    """
    if not path.exists():
        yield
        return
    with path.open("rb") as file:
        _lock(file, path)
        yield


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a log; a last line that a kill cut short is left out.

    Raises:
        OSError: no such file.
        ValueError: a line that is no JSON object.
    """
    lines = Path(path).read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise ValueError(message("read log", f"{path} line {number}", "a JSON object", repr(line[:40])))
        records.append(record)
    return records


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _failure(path: Path, error: OSError) -> OSError:
    reason = error.strerror or str(error)
    return OSError(message("log", str(path), "a writable file", reason, "the last checkpoint stays as it is"))
