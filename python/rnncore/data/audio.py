"""Recordings: WAV files from a folder or a tar archive, with what is said in them."""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
import tarfile
import wave
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message
from rnncore.data.text import PathLike, read_text

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """A recording.

    Attributes:
        name: of the file, for messages.
        samples: float32 (L,) in [-1, 1), channels averaged.
        rate: samples a second.
        text: what is said.
        speaker: who says it; "" where that is not known.
    """

    name: str
    samples: Samples
    rate: int
    text: str
    speaker: str = ""


@dataclass(frozen=True)
class Speech:
    """Recordings that were read, and how many files were malformed and skipped."""

    utterances: list[Utterance]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def speakers(self) -> list[str]:
        """All that occur, in alphabetical order."""
        return sorted({utterance.speaker for utterance in self.utterances})

    @cached_property
    def fingerprint(self) -> str:
        """A hash of sounds and texts."""
        digest = hashlib.sha256()
        for utterance in self.utterances:
            digest.update(f"{utterance.name}\n{utterance.text}\n{utterance.speaker}\n{utterance.rate}\n".encode())
            digest.update(utterance.samples.tobytes())
        return digest.hexdigest()


def read_wav(source: PathLike | bytes, name: str = "") -> tuple[Samples, int]:
    """Samples (L,) in [-1, 1) and their rate, from an uncompressed WAV file of 8, 16, 24 or 32 bits.

    Args:
        source: a path, or the file's bytes.
        name: for messages, where bytes are given.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or holds no samples.
    """
    name = name if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        with wave.open(io.BytesIO(data)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(message("read wav", name, "an uncompressed WAV file", str(error) or "a cut one")) from None
    frames = frames[: len(frames) // (width * channels) * (width * channels)]
    if not frames:
        raise ValueError(message("read wav", name, "some samples", "none"))
    if width == 1:
        values = (np.frombuffer(frames, dtype=np.uint8).astype(np.float64) - 128) / 128
    else:  # the highest bytes of a 32-bit integer
        wide = np.zeros((len(frames) // width, 4), dtype=np.uint8)
        wide[:, 4 - width :] = np.frombuffer(frames, dtype=np.uint8).reshape(-1, width)
        values = wide.view("<i4")[:, 0].astype(np.float64) / 2**31
    return values.reshape(-1, channels).mean(axis=1).astype(np.float32), rate


def read_speech(path: PathLike, *, transcripts: PathLike | None = None, skip_malformed: bool = False) -> Speech:
    """All WAV files of a folder or of a tar archive, in the order of their names.

    Args:
        path: a folder, an archive, or a folder in an archive (``speech.tar.gz/train``).
        transcripts: a CSV file whose lines are ``file name,text`` or ``file name,text,speaker``. Default: the file
            names say it, ``<text>_<speaker>_<anything>.wav``.
        skip_malformed: leave out files that are no WAV files or have no transcript, and malformed lines of the
            transcripts, and count them; default: refuse.

    Raises:
        OSError: no such folder or archive.
        ValueError: a malformed file (named), or none at all.
    """
    said, skipped = (None, 0) if transcripts is None else _read_transcripts(transcripts, skip_malformed)
    utterances: list[Utterance] = []
    for name, data in _files(Path(path)):
        try:
            text, speaker = _from_name(name) if said is None else _from_list(said, name)
            samples, rate = read_wav(data, f"{path}: {name}")
        except ValueError:
            if not skip_malformed:
                raise
            skipped += 1
            continue
        utterances.append(Utterance(name, samples, rate, text, speaker))
    if not utterances:
        got = f"none ({skipped} malformed)" if skipped else "none"
        raise ValueError(message("read speech", str(path), "WAV files", got))
    return Speech(utterances, skipped)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    archive = path
    while not archive.exists() and archive != archive.parent:
        archive = archive.parent
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if _is_wav(file)):
            yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    if not archive.is_file():
        raise FileNotFoundError(message("read speech", str(path), "a folder or a tar archive", "no such file"))
    inner = path.relative_to(archive).as_posix()
    try:
        with tarfile.open(archive) as tar:
            members = {PurePosixPath(member.name): member for member in tar if member.isfile()}
            while tar.fileobj is not None and tar.fileobj.read(1 << 20):
                pass  # up to the end, where gzip keeps its checksum
            for name in sorted(name for name in members if _is_wav(name)):
                if inner == "." or PurePosixPath(inner) in name.parents:
                    content = tar.extractfile(members[name])
                    assert content is not None  # noqa: S101  # it is a regular file
                    yield name.as_posix(), content.read()
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        got = str(error) or "an archive that ends too soon"
        raise OSError(message("read speech", str(archive), "a whole tar archive", got)) from None


def _is_wav(path: PurePath) -> bool:
    return path.suffix.lower() == ".wav"


def _from_name(name: str) -> tuple[str, str]:
    parts = PurePosixPath(name).stem.split("_")
    if len(parts) < 2 or not parts[0]:
        hint = "or give transcripts: a CSV file of file name and text"
        raise ValueError(message("read speech", name, "a name <text>_<speaker>_<anything>.wav", name, hint))
    return parts[0], parts[1]


def _from_list(said: dict[str, tuple[str, str]], name: str) -> tuple[str, str]:
    found = said.get(name, said.get(PurePosixPath(name).name))
    if found is None:
        raise ValueError(message("read speech", name, "a line with its text in the transcripts", "none"))
    return found


def _read_transcripts(path: PathLike, skip_malformed: bool) -> tuple[dict[str, tuple[str, str]], int]:
    """Text and speaker by file name, and how many malformed lines were left out."""
    said: dict[str, tuple[str, str]] = {}
    skipped = 0
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    while True:
        try:
            row = next(reader)
            if row and (len(row) not in (2, 3) or not row[0] or not row[1]):
                raise csv.Error(f"{len(row)} fields: {','.join(row)[:60]!r}")
        except StopIteration:
            return said, skipped
        except csv.Error as error:  # the reader goes on with the next line
            if not skip_malformed:
                where, expected = f"{path}, line {reader.line_num}", "file,text or file,text,speaker"
                raise ValueError(message("read transcripts", where, expected, str(error))) from None
            skipped += 1
        else:
            if row:
                said[row[0]] = (row[1], row[2] if len(row) == 3 else "")


def labels_of(utterances: Iterable[Utterance], units: str) -> list[str]:
    """What the texts are made of: their characters, or words (`units` "char" or "word"), in alphabetical order."""
    return sorted({unit for utterance in utterances for unit in units_of(utterance.text, units)})


def units_of(text: str, units: str) -> list[str]:
    """A text as characters or as words."""
    if units not in ("char", "word"):
        raise ValueError(message("speech", "units", "char | word", repr(units)))
    return list(text) if units == "char" else text.split()


def join(utterances: Iterable[Utterance], *, units: str = "char", pause: float = 0.0) -> Utterance:
    """Several recordings (of one rate) as one, with `pause` seconds of silence between them."""
    parts: list[Any] = []
    chosen = list(utterances)
    for utterance in chosen:
        if parts:
            parts.append(np.zeros(int(pause * utterance.rate), dtype=np.float32))
        parts.append(utterance.samples)
    text = ("" if units == "char" else " ").join(utterance.text for utterance in chosen)
    return Utterance("+".join(u.name for u in chosen), np.concatenate(parts), chosen[0].rate, text, chosen[0].speaker)
