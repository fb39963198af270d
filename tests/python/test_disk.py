"""Corpora on disk: the ids of the corpus in memory whatever the size of a block, resumed anywhere, trained on alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import small_model, some_text
from typer.testing import CliRunner

from rnncore.cli.app import app
from rnncore.data import TextCorpus, TextSource, Vocabulary, open_corpus, prepare
from rnncore.data.mapped import MappedIds
from rnncore.train import RunFolder, TrainConfig, Trainer

ODD = {
    "lines": "the cat sat\n\n  a dog\ton it\nno end",
    "one long line": "word and word " * 300,
    "runs of blanks": "x     y    z\t\t   w   \n" * 6 + "one      two   " * 60,
    "Windows": "one\r\ntwo two\r\n",
    "mark": "\ufeffthe mark goes, \ufeff this one stays\n",
    "NUL": "a\x00b \x00 c\n",
    "not ASCII": "\u65e5\u672c \U0001f600 \u00e9\n" * 7,
}


@pytest.mark.parametrize("block", [2, 7, 1 << 20])
@pytest.mark.parametrize("level", ["char", "byte", "word", "subword"])
@pytest.mark.parametrize("name", ODD)
def test_ids_are_those_of_the_corpus_in_memory(name: str, level: Any, block: int, tmp_path: Path) -> None:
    if level == "subword":
        pytest.importorskip("tokenizers")
    text = tmp_path / "text"
    text.write_bytes(ODD[name].encode())
    wanted = TextCorpus.from_files(text, level=level, valid_fraction=0.0)
    facts = prepare(tmp_path / "ids", text, level=level, valid_fraction=0.0, block=block)
    found = open_corpus(tmp_path / "ids")
    assert found.vocabulary == wanted.vocabulary
    np.testing.assert_array_equal(found.train[:], wanted.train)
    assert found.train.dtype == wanted.train.dtype
    assert facts["coverage"]["tokens"] == len(wanted.train)
    assert facts["coverage"]["covered"] == 1.0


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("level", ["word", "subword"])
def test_preparing_goes_on_where_it_stopped(level: str, tmp_path: Path) -> None:
    if level == "subword":
        pytest.importorskip("tokenizers")
    text = tmp_path / "text"
    text.write_text(some_text() + "no end")
    options: dict[str, Any] = {"level": level, "max_size": 300, "block": 700}
    prepare(tmp_path / "whole", text, **options)
    for after in range(40):
        left = after

        def stop(what: str, done: int, total: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise StopHereError

        try:
            prepare(tmp_path / "parts", text, progress=stop, **options)
            break
        except StopHereError:
            ids = tmp_path / "parts" / "train.ids"
            if ids.exists():  # half a block that the facts do not know of
                ids.write_bytes(ids.read_bytes() + b"\x01\x02\x03")
            with pytest.raises(OSError, match="unfinished"):
                open_corpus(tmp_path / "parts")
    else:
        pytest.fail("it never came to its end")
    assert after > 10
    for name in ("train.ids", "corpus.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    with pytest.raises(ValueError, match="the arguments it was begun with"):
        prepare(tmp_path / "whole", text, level="char")


def test_training_on_disk_is_training_in_memory(tmp_path: Path) -> None:
    train, valid = tmp_path / "train", tmp_path / "valid"
    train.write_text(some_text(4000))
    valid.write_text(some_text(400))
    prepare(tmp_path / "ids", train, valid, block=1000)
    found = []
    for source in (TextSource(str(train), str(valid)), TextSource(str(tmp_path / "ids"))):
        corpus = source.load()
        config = TrainConfig(epochs=1, batch=8, bptt=20)
        run = RunFolder.create(tmp_path / f"run{len(found)}")
        trainer = Trainer(small_model(corpus), corpus, config, run=run, source=source)
        found.append(trainer.fit().best_valid)
    assert found[0] == found[1] is not None
    assert Trainer.resume(tmp_path / "run1", epochs=2).fit().epochs == 2
    with pytest.raises(ValueError, match="one on disk"):
        corpus.sentences(batch=2)
    damaged = tmp_path / "ids" / "train.ids"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(OSError, match=r"train\.ids: expected the size it was written with"):
        open_corpus(tmp_path / "ids")


def test_validation_begins_at_a_line(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("one two three\n" * 50)
    output = CliRunner().invoke(app, ["prepare", "--text", str(text), "--out", str(tmp_path / "ids")])
    assert output.exit_code == 0, output.output
    assert "200 tokens of 4 types; 100.00 % in the vocabulary" in output.output
    corpus = open_corpus(tmp_path / "ids")
    assert isinstance(corpus.train, MappedIds)
    assert (len(corpus.train), len(corpus.valid)) == (180, 20)
    assert corpus.train[-1] == corpus.vocabulary.end_id
    assert corpus.vocabulary.decode(corpus.valid[:3]) == "one two three"
    assert json.loads((tmp_path / "ids" / "corpus.json").read_text())["files"]["train"]["unknown"] == 0


def test_a_vocabulary_of_counts_is_that_of_the_text() -> None:
    assert Vocabulary.from_counts({"a": 2, "b": 1}) == Vocabulary.build("aab")
