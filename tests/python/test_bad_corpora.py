"""Texts that nobody wrote on purpose: a line of 100 MB, NUL bytes, Windows line ends, a byte-order mark.

At every level each is prepared, trained on from memory and from disk and scored as a person expects, or refused in one
line.
"""

from __future__ import annotations

import importlib.util
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import small_model
from typer.testing import CliRunner

from rnncore.cli.app import app
from rnncore.data import TextCorpus, open_corpus, prepare
from rnncore.models import LanguageModel

LEVELS = ["char", "byte", "word", *(["subword"] if importlib.util.find_spec("tokenizers") else [])]
LINE = "the cat sat on the mat and the dog on it"
CLEAN = f"{LINE}\n" * 60
BAD = {
    "windows": CLEAN.replace("\n", "\r\n").encode(),
    "mark": b"\xef\xbb\xbf" + CLEAN.encode(),
    "nul": CLEAN.replace("mat", "m\0t").replace(" dog", "\0 dog").encode(),
    "one line": CLEAN.replace("\n", " ").encode(),
}
SMALL = ["--hidden", 6, "--layers", 1, "--batch", 2, "--bptt", 8, "--epochs", 1]


def invoke(*arguments: Any, status: int = 0, text: bytes | None = None) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=text)
    assert result.exit_code == status, result.output
    return result.output


def options(level: str) -> list[Any]:
    return ["--level", level, *(["--vocab-size", 270] if level == "subword" else [])]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", BAD)
def test_the_commands_read_it(name: str, level: str, tmp_path: Path) -> None:
    text, run, ids = tmp_path / "text.txt", tmp_path / "run", tmp_path / "ids"
    text.write_bytes(BAD[name])
    invoke("train", "lm", "--text", text, *options(level), *SMALL, "--out", run)
    values = json.loads(invoke("eval", run, "--text", text, "--json"))
    assert values["tokens"] > 500
    assert 1 < values["word_perplexity"] < 1e12
    invoke("prepare", "--text", text, *options(level), "--out", ids)
    made = open_corpus(ids)
    tenth = 0.1 * (len(made.train) + len(made.valid))
    assert len(made.valid) == pytest.approx(tenth, rel=0.2), "one line has one, too"
    invoke("train", "lm", "--text", ids, *SMALL, "--out", tmp_path / "other")
    if name == "one line" and level in ("char", "byte"):
        return  # a model that knows no line end scores no lines
    [record] = [json.loads(one) for one in invoke("score", run, text=BAD[name].split(b"\n")[0] + b"\n").splitlines()]
    assert record["log_prob"] < 0
    if level in ("char", "byte"):  # the mark is no part of the line, a carriage return is, as these models know it
        assert record["tokens"] == len(BAD[name].split(b"\n")[0].removeprefix(b"\xef\xbb\xbf")) + 1


@pytest.mark.parametrize("level", LEVELS)
def test_windows_and_marks_are_the_clean_text(level: Any, tmp_path: Path) -> None:
    """A mark at the start is no text; for words and subwords Windows line ends are line ends."""
    size = 270 if level == "subword" else None
    wanted = TextCorpus.from_text(CLEAN, level=level, max_size=size, valid=0.0)
    for name in ("mark", "windows"):
        path = tmp_path / name
        path.write_bytes(BAD[name])
        found = TextCorpus.from_files(path, level=level, max_size=size, valid_fraction=0.0)
        prepare(tmp_path / f"{name}.ids", path, level=level, max_size=size, valid_fraction=0.0, block=1000)
        on_disk = open_corpus(tmp_path / f"{name}.ids")
        np.testing.assert_array_equal(on_disk.train[:], found.train)
        if (name == "mark" and level != "byte") or level in ("word", "subword"):
            assert found.vocabulary == wanted.vocabulary == on_disk.vocabulary
            np.testing.assert_array_equal(found.train, wanted.train)
        else:  # bytes are what the file holds, and characters keep their carriage returns
            assert len(found.train) == len(wanted.train) + (3 if name == "mark" else 60)


def test_a_nul_is_a_character_like_others(tmp_path: Path) -> None:
    path = tmp_path / "nul"
    path.write_bytes(BAD["nul"])
    words = TextCorpus.from_files(path, level="word").vocabulary
    assert words.decode(words.encode("m\0t")) == "m\0t\n"
    letters = TextCorpus.from_files(path)
    model: LanguageModel = small_model(letters)
    assert model.log_prob("the m\0t") < 0
    model.save(tmp_path / "model.safetensors")
    again = LanguageModel.load(tmp_path / "model.safetensors")
    assert again.log_prob("the m\0t") == model.log_prob("the m\0t")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfet\x00h\x00e\x00", r"invalid byte 0xff at byte offset 0; convert the file to UTF-8"),
        (b"", "expected some text, got an empty file"),
        (b"\x1f\x8b\x08\x00", "invalid byte 0x8b at byte offset 1"),
    ],
    ids=["UTF-16", "empty", "packed without the name"],
)
def test_what_is_no_text_is_refused_in_one_line(data: bytes, said: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(data)
    for command in (["train", "lm", "--text", text, *SMALL], ["prepare", "--text", text, "--out", tmp_path / "ids"]):
        result = CliRunner().invoke(app, [str(one) for one in command])
        assert isinstance(result.exception, ValueError | OSError)
        assert said in str(result.exception)
        assert "\n" not in str(result.exception)


@pytest.mark.parametrize("level", ["byte", "char"])
def test_a_line_of_100_megabytes(level: Any, tmp_path: Path) -> None:
    """Memory: blocks of it, not the whole. (Words and subwords: `bench/big_corpus.py --megabytes 100 --shape line`.)"""
    path = tmp_path / "line"
    piece = (LINE + " ").encode() * 1000
    with path.open("wb") as file:
        for _ in range(100_000_000 // len(piece) + 1):
            file.write(piece)
    size = path.stat().st_size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    prepare(tmp_path / "ids", path, level=level)
    corpus = open_corpus(tmp_path / "ids")
    assert len(corpus.train) + len(corpus.valid) == size
    chunk = corpus.streams(batch=4, bptt=20).chunk(3)
    assert corpus.vocabulary.decode(chunk.inputs[:, 0].tolist()) in LINE + " " + LINE + " " + LINE
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < 4 * size
