"""Polyphonic music: which keys sound at each step, from the JSON files that JSB chorales are kept in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message
from rnncore.data.text import PathLike, read_text

LOWEST, KEYS = 21, 88  # of a piano: MIDI pitches 21 (A0) to 108 (C8)
Roll = NDArray[np.uint8]
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Music:
    """Pieces as piano rolls (T_i, 88), 1 where a key sounds, and how many malformed pieces were left out."""

    rolls: list[Roll]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.rolls)

    @property
    def steps(self) -> int:
        """Of all pieces together."""
        return sum(len(roll) for roll in self.rolls)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all keys."""
        digest = hashlib.sha256()
        for roll in self.rolls:
            digest.update(len(roll).to_bytes(8, "little") + roll.tobytes())
        return digest.hexdigest()


def read_music(path: PathLike, part: str = "train", *, skip_malformed: bool = False) -> Music:
    """One part of a JSON file (``.gz`` too), ``{"train": [piece, ...], "valid": [...], "test": [...]}``.

    A piece is a list of steps, a step a list of MIDI pitches, 21 to 108; a silent step is an empty list (or holds -1
    alone). A file that is a list of pieces is one part.

    Args:
        path: the file.
        part: "train", "valid" or "test"; not looked at where the file is a list.
        skip_malformed: leave out pieces that hold something else, and count them; default: refuse.

    Raises:
        OSError: it cannot be read.
        ValueError: not such a file, or a malformed piece (its place is named).
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}"
        raise ValueError(message("read music", where, "JSON", f"{error.msg} at column {error.colno}")) from None
    if isinstance(content, dict):
        if part not in content:
            known = " | ".join(content) or "none"
            raise ValueError(message("read music", f"{path}, part", known, repr(part)))
        content = content[part]
    if not isinstance(content, list) or not content:
        raise ValueError(message("read music", f"{path}, {part}", "a list of pieces", type(content).__name__))
    rolls: list[Roll] = []
    skipped = 0
    for number, piece in enumerate(content):
        try:
            rolls.append(roll_of(piece, f"{path}, {part}, piece {number}"))
        except ValueError:
            if not skip_malformed:
                raise
            skipped += 1
    if not rolls:
        raise ValueError(message("read music", f"{path}, {part}", "pieces", f"none ({skipped} malformed)"))
    return Music(rolls, skipped)


def roll_of(piece: Any, name: str = "piece") -> Roll:
    """A piece, a list of steps that are lists of pitches, as a piano roll (T, 88).

    >>> roll_of([[60, 64], []]).sum(axis=1).tolist()
    [2, 0]

    Raises:
        ValueError: something else, or fewer than two steps.
    """
    if not isinstance(piece, list) or len(piece) < 2:
        got = f"{len(piece)} steps" if isinstance(piece, list) else type(piece).__name__
        raise ValueError(message("read music", name, "a list of at least two steps", got))
    roll = np.zeros((len(piece), KEYS), dtype=np.uint8)
    for t, step in enumerate(piece):
        if not isinstance(step, list):
            raise ValueError(message("read music", f"{name}, step {t}", "a list of pitches", type(step).__name__))
        for pitch in step:
            if pitch == -1 and not isinstance(pitch, bool):
                continue
            whole = (isinstance(pitch, int) and not isinstance(pitch, bool)) or (
                isinstance(pitch, float) and pitch.is_integer()
            )
            if not whole or not LOWEST <= pitch < LOWEST + KEYS:
                expected = f"pitches of {LOWEST} to {LOWEST + KEYS - 1}"
                raise ValueError(message("read music", f"{name}, step {t}", expected, repr(pitch)[:40]))
            roll[t, int(pitch) - LOWEST] = 1
    return roll


def piece_of(roll: NDArray[Any]) -> list[list[int]]:
    """The way back: the pitches of each step."""
    return [[LOWEST + int(key) for key in np.flatnonzero(step)] for step in np.asarray(roll)]


def transposed(roll: Roll, by: int) -> Roll:
    """All keys `by` half-tones higher (lower where negative); a piece that would leave the keyboard stays as it is."""
    used = np.flatnonzero(roll.any(axis=0))
    if len(used) == 0 or used[0] + by < 0 or used[-1] + by >= KEYS:
        return roll
    return np.roll(roll, by, axis=1)


def pad(rolls: Sequence[Roll]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pieces as one array (T, N, 88) with zeros at the ends, and their lengths (N,)."""
    lengths = np.array([len(roll) for roll in rolls], dtype=np.int64)
    padded = np.zeros((int(lengths.max()), len(rolls), KEYS), dtype=np.float32)
    for n, roll in enumerate(rolls):
        padded[: len(roll), n] = roll
    return padded, lengths
