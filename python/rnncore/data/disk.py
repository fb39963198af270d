"""Corpora larger than memory: a text tokenised once into a file of ids, which is mapped when it is read.

A prepared corpus is a folder: ``train.ids``, ``valid.ids``, ``test.ids`` (ids of 1, 2 or 4 bytes, little-endian) and
``corpus.json`` (vocabulary, coverage, checksums; while it is made: how far it is). Only a block of text is ever held.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from rnncore import _core
from rnncore._messages import message
from rnncore.data.batches import Ids
from rnncore.data.corpus import TextCorpus
from rnncore.data.mapped import MappedIds
from rnncore.data.subwords import DEFAULT_SIZE, Subwords, TextVocabulary, TokenLevel, vocabulary_from_json
from rnncore.data.text import PathLike, decode_utf8
from rnncore.data.vocabulary import Vocabulary, words_of

BLOCK = 1 << 24  # bytes of text at a time
_FACTS = "corpus.json"
_PARTS = ("train", "valid", "test")
_IN_LINES = ("word", "subword")  # levels whose tokens end lines
Progress = Callable[[str, int, int], None]


def is_prepared(path: PathLike) -> bool:
    """Whether there is a prepared corpus (or one that was begun)."""
    return (Path(path) / _FACTS).is_file()


def open_corpus(path: PathLike) -> TextCorpus:
    """A prepared corpus; its parts are mapped, not read.

    Raises:
        OSError: there is none, it is unfinished or damaged.
    """
    folder = Path(path)
    try:
        facts = json.loads((folder / _FACTS).read_text())
        if facts["stage"] != "done":
            hint = "go on with rnncore prepare and the same arguments"
            raise OSError(message("open corpus", str(folder), "a finished corpus", "an unfinished one", hint))
        vocabulary = vocabulary_from_json(facts["vocabulary"])
        parts = {}
        for name, (file, start, stop) in facts["parts"].items():
            whole = folder / f"{file}.ids"
            if whole.stat().st_size != facts["files"][file]["tokens"] * np.dtype(vocabulary.dtype).itemsize:
                raise OSError(message("open corpus", str(whole), "the size it was written with", "another"))
            parts[name] = MappedIds(whole, np.dtype(vocabulary.dtype).str, start, stop)
    except (KeyError, TypeError, ValueError, AttributeError, FileNotFoundError, NotADirectoryError) as error:
        raise OSError(message("open corpus", str(folder), "a prepared corpus", str(error))) from None
    corpus = TextCorpus(vocabulary, **cast("dict[str, Ids]", parts))
    digest = hashlib.sha256(json.dumps([facts["vocabulary"], facts["files"], facts["parts"]], sort_keys=True).encode())
    corpus.__dict__["fingerprint"] = digest.hexdigest()  # of the files' checksums, not of their content read again
    return corpus


def prepare(
    out: PathLike,
    train: PathLike,
    valid: PathLike | None = None,
    test: PathLike | None = None,
    *,
    level: TokenLevel = "char",
    valid_fraction: float = 0.1,
    max_size: int | None = None,
    min_count: int = 1,
    tokenizer: PathLike | None = None,
    block: int = BLOCK,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Tokenise texts of any size into a folder; stopped anywhere, the same call goes on.

    The vocabulary is that of the training file. Without `valid` the last `valid_fraction` of its tokens is for
    validation (for words and subwords from the start of a line on, where there is more than one).

    Args:
        out: the folder.
        train: the training text.
        valid: a validation text of its own.
        test: a test text of its own.
        level: "char", "byte", "word" or "subword" (needs the extra `subword`).
        valid_fraction: as above; default 0.1.
        max_size: limit of the vocabulary, see `TextCorpus.from_text`.
        min_count: limit of the vocabulary, likewise.
        tokenizer: a ``tokenizer.json`` for the level "subword", instead of pieces that are learnt from the text.
        block: bytes of text at a time.
        progress: called as (what, bytes done, bytes in all).

    Returns:
        The facts of ``corpus.json``, among them "coverage": "types" and "tokens" of the training text, the share of its
        tokens "covered" by the vocabulary, and "by_size": the share that the k most frequent cover (of subwords: of
        the training text's ids).

    Raises:
        OSError: a file cannot be read or written.
        ValueError: an empty text, invalid UTF-8, a folder that was begun with other arguments, a tokenizer for another
            level.
    """
    if not 0 <= valid_fraction < 1:
        raise ValueError(message("prepare", "valid_fraction", "in [0, 1)", str(valid_fraction)))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    given = {name: Path(path).absolute() for name, path in zip(_PARTS, (train, valid, test), strict=True) if path}
    request = {
        "texts": {name: [str(path), path.stat().st_size] for name, path in given.items()},
        "options": [level, valid_fraction, max_size, min_count],
    }
    if tokenizer is not None:
        if level != Subwords.level:
            raise ValueError(message("prepare", "tokenizer", "none at other levels than subword", str(tokenizer)))
        request["tokenizer"] = Subwords.from_file(tokenizer).to_json()
    facts: dict[str, Any] = {"stage": "vocabulary", "request": request, "files": {}}
    if is_prepared(folder):
        facts = json.loads((folder / _FACTS).read_text())
        if facts.get("request") != request:
            hint = "remove the folder, or give another"
            raise ValueError(message("prepare", str(folder), "the arguments it was begun with", "others", hint))
    else:
        _write(folder, facts)
    say = progress or (lambda what, done, total: None)
    if facts["stage"] == "vocabulary":
        if level == "subword":
            facts["vocabulary"] = request.get("tokenizer") or _subwords(given["train"], max_size, min_count, block, say)
        else:
            words, facts["coverage"] = _vocabulary(given["train"], level, max_size, min_count, block, say)
            facts["vocabulary"] = words.to_json()
        facts["stage"] = "ids"
        _write(folder, facts)
    if facts["stage"] == "ids":
        vocabulary = vocabulary_from_json(facts["vocabulary"])
        for name, path in given.items():
            _tokenise(folder, name, path, vocabulary, facts, block, say)
        if isinstance(vocabulary, Subwords):
            facts["coverage"] = _coverage_of_ids(folder, vocabulary, facts["files"]["train"]["tokens"])
        facts["parts"] = _parts(folder, vocabulary, facts["files"], valid_fraction)
        facts["stage"] = "done"
        _write(folder, facts)
    return facts


def _write(folder: Path, facts: Mapping[str, Any]) -> None:
    _core.write_file_atomically(str(folder / _FACTS), json.dumps(facts).encode())


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _blocks(path: Path, level: TokenLevel, size: int, start: int = 0) -> Iterator[tuple[str | bytes, int]]:
    """Pieces of a text, and the byte after each: whole characters, for words and subwords whole lines (or words)."""
    done, kept = start, b""
    with _open(path) as file:
        file.seek(start)
        while True:
            data = file.read(size)
            piece = kept + data
            if not piece:
                return
            cut = len(piece) if not data or level == "byte" else _cut(piece, level)
            piece, kept = piece[:cut], piece[cut:]
            if cut:
                at, done = done, done + cut
                yield (piece if level == "byte" else _decode(piece, path, at)), done
            if not data:
                return


def _cut(piece: bytes, level: TokenLevel) -> int:
    """How much of a piece can be read without what follows."""
    if level == "subword":
        at = piece.rfind(b"\n") + 1 or piece.rfind(b" ")
        while at > 0 and piece[at - 1 : at] != b"\n" and not 0x21 <= piece[at - 1] <= 0x7E:  # as in `subwords`
            at = piece.rfind(b" ", 0, at)
        return max(at, 0)
    if level == "word":
        return 1 + max(piece.rfind(b"\n"), max(piece.rfind(b" "), piece.rfind(b"\t")) if b"\n" not in piece else -1)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(piece[-4:])  # no character has more bytes
    return len(piece) - len(decoder.getstate()[0])


def _decode(piece: bytes, path: Path, at: int) -> str:
    text = decode_utf8(piece, f"{path}, from byte {at} on")
    return "\ufeff" + text if at and piece.startswith(b"\xef\xbb\xbf") else text  # a mark begins files alone


def _size(path: Path) -> int:
    return max(path.stat().st_size, 1)


def _subwords(path: Path, max_size: int | None, min_count: int, block: int, say: Progress) -> dict[str, Any]:
    def lines() -> Iterator[str]:
        for piece, done in _blocks(path, "subword", block):
            assert isinstance(piece, str)  # noqa: S101  # only bytes come as bytes
            yield from piece.removesuffix("\n").split("\n")
            say("vocabulary", done, max(done, _size(path)))

    with _open(path) as file:
        if not file.read(1):
            raise ValueError(message("prepare", str(path), "some text", "an empty file"))
    size = DEFAULT_SIZE if max_size is None else max_size
    return Subwords.build(lines(), size=size, min_count=min_count, byte_level=True).to_json()


def _vocabulary(
    path: Path, level: TokenLevel, max_size: int | None, min_count: int, block: int, say: Progress
) -> tuple[Vocabulary, dict[str, Any]]:
    counts: Counter[str] = Counter()
    ends = True
    for piece, done in _blocks(path, level, block):
        if isinstance(piece, str):
            words = words_of(piece) if level == "word" else piece
            if level == "word" and not piece.endswith("\n"):
                words = words[:-1]  # the line goes on in the next piece
            counts.update(words)
            ends = piece.endswith("\n")
        else:
            counts.update(
                {chr(byte): int(n) for byte, n in enumerate(np.bincount(bytearray(piece), minlength=256)) if n}
            )
        say("vocabulary", done, max(done, _size(path)))
    if not counts:
        raise ValueError(message("prepare", str(path), "some text", "an empty file"))
    if level == "word" and not ends:
        counts.update(["<eos>"])
    assert level != "subword"  # noqa: S101  # these are learnt by `_subwords`
    vocabulary = Vocabulary.from_counts(counts, level=level, max_size=max_size, min_count=min_count)
    return vocabulary, coverage(counts, vocabulary)


def coverage(counts: Mapping[str, int], vocabulary: Vocabulary) -> dict[str, Any]:
    """How much of a text of these counts a vocabulary knows, and how much the k most frequent tokens are.

    >>> report = coverage({"a": 6, "b": 3, "c": 1}, Vocabulary("word", ["<unk>", "a", "b", "<eos>"], "<unk>"))
    >>> report["covered"], report["by_size"]
    (0.9, {'1': 0.6, '2': 0.9, '3': 1.0})
    """
    known = set(vocabulary.tokens) - {vocabulary.unknown}
    total = sum(counts.values())
    covered = total if vocabulary.level == "byte" else sum(count for token, count in counts.items() if token in known)
    return {"types": len(counts), "tokens": total, "covered": covered / total, "by_size": _shares([*counts.values()])}


def _shares(counts: Sequence[int]) -> dict[str, float]:
    """How much of all the k most frequent are."""
    sums = np.cumsum(sorted(counts, reverse=True))
    sizes = [size for power in range(7) for size in (10**power, 2 * 10**power, 5 * 10**power) if size < len(sums)]
    return {str(size): float(sums[size - 1] / sums[-1]) for size in [*sizes, len(sums)]}


def _coverage_of_ids(folder: Path, vocabulary: Subwords, tokens: int) -> dict[str, Any]:
    """The same for a file of ids."""
    ids = MappedIds(folder / "train.ids", np.dtype(vocabulary.dtype).str, 0, tokens)
    counts = np.zeros(len(vocabulary), dtype=np.int64)
    for at in range(0, tokens, BLOCK):
        counts += np.bincount(ids[at : at + BLOCK], minlength=len(counts))
    unknown = 0 if vocabulary.unknown_id is None else int(counts[vocabulary.unknown_id])
    found = counts[counts > 0].tolist()
    return {"types": len(found), "tokens": tokens, "covered": 1 - unknown / tokens, "by_size": _shares(found)}


def _tokenise(
    folder: Path, name: str, path: Path, vocabulary: TextVocabulary, facts: dict[str, Any], block: int, say: Progress
) -> None:
    """Append a text's ids to its file; after each block the facts say how far it is."""
    state = facts["files"].setdefault(
        name, {"bytes": 0, "tokens": 0, "checksum": 0, "unknown": 0, "ends": True, "whole": False}
    )
    if state["whole"]:
        return
    width = np.dtype(vocabulary.dtype).itemsize
    target = folder / f"{name}.ids"
    with target.open("r+b" if target.exists() else "w+b") as file:
        file.truncate(state["tokens"] * width)  # what was written after the facts is written again
        file.seek(0, os.SEEK_END)
        for piece, done in _blocks(path, vocabulary.level, block, state["bytes"]):
            state["ends"] = piece.endswith("\n") if isinstance(piece, str) else True
            _append(file, vocabulary.encode(piece, end_line=False), vocabulary, state)
            file.flush()
            os.fsync(file.fileno())
            state["bytes"] = done
            _write(folder, facts)
            say(name, done, max(done, _size(path)))
        if vocabulary.level in _IN_LINES and not state["ends"]:
            _append(file, np.array([vocabulary.end_id], dtype=vocabulary.dtype), vocabulary, state)
    state["whole"] = True
    _write(folder, facts)


def _append(file: IO[bytes], ids: Ids, vocabulary: TextVocabulary, state: dict[str, Any]) -> None:
    data = np.ascontiguousarray(ids, dtype=vocabulary.dtype).tobytes()
    file.write(data)
    state["tokens"] += len(ids)
    state["checksum"] = zlib.crc32(data, state["checksum"])
    if vocabulary.unknown_id is not None:
        state["unknown"] += int((ids == vocabulary.unknown_id).sum())


def _parts(
    folder: Path, vocabulary: TextVocabulary, files: Mapping[str, Any], valid_fraction: float
) -> dict[str, tuple[str, int, int]]:
    """Which ids of which file each part is."""
    parts = {name: (name, 0, state["tokens"]) for name, state in files.items()}
    if "valid" in files or valid_fraction == 0:
        return parts
    total = files["train"]["tokens"]
    cut = total - round(valid_fraction * total)
    if vocabulary.level in _IN_LINES:
        ids = MappedIds(folder / "train.ids", np.dtype(vocabulary.dtype).str, 0, total)
        cut = _after_line_end(ids, cut, vocabulary.end_id)
    if not 0 < cut < total:
        return parts
    return {**parts, "train": ("train", 0, cut), "valid": ("train", cut, total)}


def _after_line_end(ids: MappedIds, cut: int, end_id: int | None) -> int:
    """The start of the line at `cut`; `cut` itself where that is the start of the text."""
    for stop in range(cut, 0, -BLOCK):
        start = max(stop - BLOCK, 0)
        ends = np.flatnonzero(ids[start:stop] == end_id)
        if len(ends):
            return start + int(ends[-1]) + 1
    return cut
