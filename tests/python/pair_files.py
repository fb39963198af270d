"""Tiny parallel texts and captioned rows of our own making."""

from __future__ import annotations

import random
from pathlib import Path

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")


def number_pairs(count: int, seed: int = 0, longest: int = 6) -> list[tuple[str, str]]:
    """German digits, and the English ones the other way round: attention must look back to front."""
    draw = random.Random(seed)
    digits = [[draw.randrange(10) for _ in range(draw.randint(2, longest))] for _ in range(count)]
    return [
        (" ".join(GERMAN[digit] for digit in row), " ".join(ENGLISH[digit] for digit in reversed(row)))
        for row in digits
    ]


def pair_files(folder: Path, count: int = 300, seed: int = 0, name: str = "train") -> str:
    """Two files side by side; what `read_pairs` takes."""
    pairs = number_pairs(count, seed)
    for side, ending in enumerate(("de", "en")):
        (folder / f"{name}.{ending}").write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
    return f"{folder}/{name}.{{de,en}}"


def caption_file(path: Path, count: int = 300, seed: int = 0) -> Path:
    """Three numbers, and words that say which are large."""
    draw = random.Random(seed)
    lines = ["x,y,caption,z"]
    for _ in range(count):
        values = [draw.uniform(-1, 1) for _ in range(3)]
        words = " ".join(("high" if value > 0 else "low") for value in values)
        lines.append(f"{values[0]:.4f},{values[1]:.4f},{words},{values[2]:.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path
