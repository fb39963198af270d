"""Small self-made series, music and speech, and the command line in this process."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from rnncore.cli.app import app


def inside(*arguments: str | Path, fails: bool = False, given: str | None = None) -> str:
    """The output of a command run in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=fails, input=given)
    assert fails or result.exit_code == 0, result.output
    return str(result.exception) if fails else result.output


def waves(rows: int = 200, columns: int = 2) -> Any:
    """Sines of period 8 with noise, on different levels: (rows, columns)."""
    t = np.arange(rows)[:, None]
    noise = np.random.default_rng(0).normal(size=(rows, columns)) * 0.05
    return np.sin(2 * np.pi * (t / 8 + np.arange(columns) / 5)) + 10 * np.arange(columns) + noise


def write_series(path: Path, rows: int = 200, columns: int = 2) -> Path:
    lines = ["date," + ",".join(f"c{n}" for n in range(columns))]
    lines += [
        f"2024-01-{1 + n},{','.join(f'{value:.5f}' for value in row)}" for n, row in enumerate(waves(rows, columns))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def chords(steps: int, start: int) -> list[list[int]]:
    """Three chords, one after the other."""
    known = [[60, 64, 67], [62, 65, 69], [59, 62, 67, 71]]
    return [known[(start + t) % 3] for t in range(steps)]


def write_music(path: Path) -> Path:
    parts = {
        part: [chords(12 + n, n) for n in range(count)] for part, count in (("train", 12), ("valid", 3), ("test", 3))
    }
    path.write_text(json.dumps(parts))
    return path


def tone(pitches: list[float], seed: int, rate: int = 8000) -> Any:
    """Tones of 0.15 s, one after the other, with noise."""
    draw = np.random.default_rng(seed)
    t = np.arange(int(0.15 * rate)) / rate
    sound = np.concatenate([np.sin(2 * np.pi * pitch * t) * np.hanning(len(t)) for pitch in pitches])
    return (0.5 * sound + draw.normal(size=sound.shape) * 0.01).astype(np.float32)


def write_wav(path: Path, samples: Any, rate: int = 8000, width: int = 2, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            data = (np.clip(samples, -1, 1) * 127 + 128).astype(np.uint8).tobytes()
        else:
            whole = np.clip(np.round(np.asarray(samples, dtype=np.float64) * 2 ** (8 * width - 1)), *_range(width))
            data = whole.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
        file.writeframes(data)
    return path


def _range(width: int) -> tuple[float, float]:
    return -(2.0 ** (8 * width - 1)), 2.0 ** (8 * width - 1) - 1


def write_speech(folder: Path, count: int = 8) -> Path:
    """Recordings of two "words", a low and a high tone, by two speakers: ``<word>_<speaker>_<index>.wav``."""
    for speaker, factor in (("ann", 1.0), ("bob", 1.1)):
        for word, pitch in (("a", 500.0), ("b", 1500.0)):
            for index in range(count):
                write_wav(folder / f"{word}_{speaker}_{index}.wav", tone([pitch * factor], index + count * ord(word)))
    return folder
