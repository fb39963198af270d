"""Translating and captioning from files to predictions: they learn, stop and resume bit for bit, the commands work."""

from __future__ import annotations

import json
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import log_without_times
from pair_files import caption_file, number_pairs, pair_files
from typer.testing import CliRunner

from rnncore import Generator
from rnncore.cli.app import app
from rnncore.data import CaptionSource, PairSource, build_vocabulary, read_captions, read_pairs
from rnncore.models import Captioner, Seq2Seq
from rnncore.report import write_report
from rnncore.train import Callback, RunFolder, TrainConfig, Trainer, read_log
from rnncore.train.caption import CaptionTask
from rnncore.train.seq2seq import PairBatches, Seq2SeqTask

pytest.importorskip("sacrebleu")

SMALL = [
    *("--level", "word", "--hidden", "32", "--embedding", "16", "--batch", "32", "--dropout", "0", "--beams", "3"),
    *("--epochs", "14", "--lr", "0.015", "--label-smoothing", "0.05", "--select", "bleu"),
]


def inside(*arguments: str | Path, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that translates."""
    path = tmp_path_factory.mktemp("pairs")
    train, test = pair_files(path, 600), pair_files(path, 60, seed=1, name="test")
    output = inside("train", "seq2seq", "--train", train, "--test", test, "--out", path / "numbers", *SMALL)
    assert "test: BLEU" in output
    assert "tok:13a" in output
    return path


def test_it_translates_and_looks_where_the_word_is(numbers: Path) -> None:
    scores = json.loads(inside("eval", numbers / "numbers", "--data", f"{numbers}/test.{{de,en}}", "--json"))
    assert scores["bleu"] > 90
    assert scores["texts"] == 60
    assert "case:mixed" in scores["signature"]
    model = Seq2Seq.load(numbers / "numbers" / "model.safetensors")
    looked = right = 0
    for found in model.translate([source for source, _ in number_pairs(20, seed=3)]):
        for row in range(len(found.target_pieces) - 1):
            looked += 1
            right += int(found.weights[row].argmax()) == len(found.source_pieces) - 2 - row
    assert right / looked > 0.5, "attention goes back to front"


def test_predict_and_info_and_picture(numbers: Path, tmp_path: Path) -> None:
    assert inside("predict", numbers / "numbers", "-", stdin="eins zwei drei\n\n").splitlines() == ["three two one", ""]
    record = json.loads(inside("predict", numbers / "numbers", "--json", stdin="neun acht\n"))
    assert record["text"] == "eight nine"
    assert record["log_prob"] < 0
    shown = inside("info", numbers / "numbers")
    for part in ("seq2seq", "bidirectional encoder", "bilinear", "words", "3 beams", "validation bleu"):
        assert part in shown, part
    pytest.importorskip("matplotlib")
    picture = tmp_path / "attention.png"
    inside("eval", numbers / "numbers", "--data", f"{numbers}/test.{{de,en}}", "--picture", picture)
    assert picture.stat().st_size > 3000


def test_predict_searches_or_draws(numbers: Path) -> None:
    def told(*options: str, lines: str = "eins zwei drei\n" * 5) -> list[dict[str, Any]]:
        output = inside("predict", numbers / "numbers", "-", "--json", *options, stdin=lines)
        return [json.loads(line) for line in output.splitlines()]

    model = Seq2Seq.load(numbers / "numbers" / "model.safetensors")
    for options, found in (
        (["--beams", "1"], {"beams": 1}),
        (["--beams", "4", "--length-penalty", "0"], {"beams": 4, "alpha": 0.0}),
        (["--length-penalty", "2"], {"alpha": 2.0}),
    ):
        wanted = model.translate(["eins zwei drei"], **found)[0]
        assert {(one["text"], one["score"]) for one in told(*options)} == {(wanted.text, wanted.score)}
    drawn = told("--temperature", "3", "--seed", "1")
    file = numbers / "five.txt"
    file.write_text("eins zwei drei\n" * 5)
    read = inside("predict", numbers / "numbers", file, "--json", "--temperature", "3", "--seed", "1").splitlines()
    assert [json.loads(line) for line in read] == drawn, "a file is read many lines at once"
    assert drawn == told("--temperature", "3", "--seed", "1") != told("--temperature", "3")
    assert len({one["text"] for one in drawn}) > 1, "each line draws for itself"
    assert {one["text"] for one in told("--temperature", "3", "--top-k", "1")} == {"three two one"}
    several = told("--texts", "3", "--prefix", "three", lines="eins zwei drei\nneun\n")
    assert [one["source"] for one in several] == ["eins zwei drei"] * 3 + ["neun"] * 3
    assert all(one["text"].split()[0] == one["pieces"][0] == "three" for one in several)
    assert len({one["text"] for one in several[:3]}) == 3
    assert all(len(one["log_probs"]) == len(one["pieces"]) - 1 for one in several)
    assert {one["text"] for one in told("--stop", " two")} == {"three"}
    for options, error in (
        (["--beams", "2", "--temperature", "1"], "[predict] options: expected --beams and --length-penalty, or"),
        (["--seed", "2"], "[predict] --seed: expected beside --temperature"),
        (["--top-p", "2"], "top_p"),
        (["--beams", "0"], "beams"),
        (["--temperature", "1", "--seed", "-1"], "seed"),
    ):
        with pytest.raises(ValueError, match=re.escape(error)):
            told(*options)


def test_the_log_and_the_report_show_where_it_looked(numbers: Path) -> None:
    run = numbers / "numbers"
    maps = [record for record in read_log(run / "log.jsonl") if record["event"] == "attention"]
    assert [one["epoch"] for one in maps] == [epoch for epoch in range(1, 15) for _ in range(4)]
    assert [one["source"] for one in maps[:4]] == [one["source"] for one in maps[-4:]]
    weights = [np.array(one["weights"]) for one in maps]
    for one, rows in zip(maps, weights, strict=True):
        assert rows.shape == (len(one["target"]), len(one["source"]))
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-3)
    assert not np.array_equal(weights[0], weights[-4])
    page = write_report([run], numbers / "report.html").read_text()
    assert page.count('<table class="attention">') == 4
    for word in maps[-1]["source"]:
        assert f"<th>{escape(word)}</th>" in page


def test_captions_are_learnt_and_used(tmp_path: Path) -> None:
    rows, more = caption_file(tmp_path / "rows.csv", 400), caption_file(tmp_path / "more.csv", 80, 9)
    run = tmp_path / "run"
    options = ["--hidden", "16", "--embedding", "8", "--epochs", "12", "--lr", "0.03"]
    assert "exact" in inside("train", "caption", "--train", rows, "--test-fraction", "0.1", "--out", run, *options)
    assert json.loads(inside("eval", run, "--data", more, "--json"))["exact"] > 0.8
    assert inside("predict", run, "-", stdin="x,y,z\n0.9,-0.9,0.9\n").strip() == "high low high"
    table = "x,y,z\n" + "0.9,-0.9,0.9\n" * 6
    drawn = [
        json.loads(one) for one in inside("predict", run, "--json", "--temperature", "4", stdin=table).splitlines()
    ]
    assert len({one["caption"] for one in drawn}) > 1
    assert all(one["log_prob"] < 0 for one in drawn)
    assert inside("predict", run, "--beams", "1", "--length-penalty", "1", stdin=table).startswith("high low high")
    assert "captioner" in inside("info", run)


class Crash(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
        if trainer.progress.step == self.step:
            raise RuntimeError("crash")


def start(kind: str, data: Path, run: Path, *callbacks: Callback) -> Trainer:
    config = TrainConfig(epochs=3, batch=32, lr=0.01, checkpoint_steps=4, log_every=3)
    options: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "dropout": 0.3, "generator": Generator(2)}
    if kind == "caption":
        rows = CaptionSource(train=str(caption_file(data / "rows.csv")), seed=2)
        corpus = rows.load()
        captioner = Captioner(build_vocabulary(corpus.train.captions, "word"), 3, **options)
        return Trainer(captioner, CaptionTask(corpus, rows), config, run=RunFolder.create(run), callbacks=callbacks)
    source = PairSource(train=pair_files(data), level="word" if kind == "word" else "subword", size=60)
    pairs = source.load()
    model = Seq2Seq(pairs.source, pairs.target, input_feeding=kind == "word", tie_weights=kind == "word", **options)
    return Trainer(model, Seq2SeqTask(pairs, source), config, run=RunFolder.create(run), callbacks=callbacks)


@pytest.mark.parametrize("kind", ["word", "subword", "caption"])
def test_a_crashed_run_resumes_bit_for_bit(tmp_path: Path, kind: str) -> None:
    if kind == "subword":
        pytest.importorskip("tokenizers")
    start(kind, tmp_path, tmp_path / "whole").fit()
    with pytest.raises(RuntimeError, match="crash"):
        start(kind, tmp_path, tmp_path / "broken", Crash(21)).fit()
    Trainer.resume(tmp_path / "broken").fit()
    one, two = (tmp_path / name for name in ("whole", "broken"))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert log_without_times(one) == log_without_times(two)


def test_little_of_a_batch_is_padding(tmp_path: Path) -> None:
    lines = number_pairs(4000, longest=40)
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in lines))
    corpus = PairSource(train=str(tmp_path / "pairs.tsv"), level="word").load()
    model = Seq2Seq(corpus.source, corpus.target, embedding_size=4, hidden_size=4)
    batches = PairBatches(corpus.train, model, TrainConfig(batch=32), max_length=100)
    assert batches.padding < 0.05
    seen = sum(batches.batch(0, index).items for index in range(len(batches)))
    assert seen == sum(len(b.split()) + 1 for _, b in lines[: len(corpus.train)])
    assert (batches.batch(0, 0).targets != batches.batch(1, 0).targets[:0].sum()).any()
    short = PairBatches(corpus.train, model, TrainConfig(batch=32), max_length=10)
    assert max(len(side) for pair in short.pairs for side in pair) == 10


def test_malformed_records_are_named_or_counted(tmp_path: Path) -> None:
    (tmp_path / "x.a").write_text("one\ntwo\n\nfour\n")
    (tmp_path / "x.b").write_text("eins\nzwei\ndrei\nvier\nfünf\n")
    pairs = f"{tmp_path}/x.{{a,b}}"
    with pytest.raises(ValueError, match=r"x\.a line 3: expected a text"):
        read_pairs(pairs)
    found = read_pairs(pairs, on_error="skip")
    assert (len(found.items), found.skipped) == (3, 2)
    (tmp_path / "x.tsv").write_text("one\teins\ntwo zwei\n")
    with pytest.raises(ValueError, match=r"x\.tsv line 2: expected source and target"):
        read_pairs(tmp_path / "x.tsv")
    (tmp_path / "c.csv").write_text("x,caption\n1,one\nnan,two\n3,\n4,four,five\n5,five\n")
    with pytest.raises(ValueError, match=r"c\.csv line 3: expected 1 finite numbers and a caption"):
        read_captions(tmp_path / "c.csv")
    rows = read_captions(tmp_path / "c.csv", on_error="skip")
    assert (rows.captions, rows.skipped) == (["one", "five"], 3)
    captioned = CaptionSource(train=str(tmp_path / "c.csv"), test=str(tmp_path / "c.csv"), on_error="skip")
    assert captioned.load().skipped == 6, "of all files"
    pair_source = PairSource(train=pairs, valid=pairs, level="word", on_error="skip")
    assert pair_source.load().skipped == 4
    (tmp_path / "d.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"d\.csv line 1: expected different names of features and 'caption'"):
        read_captions(tmp_path / "d.csv")


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnncore.text_metrics import bleu

    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"sacrebleu; install it with: pip install 'rnncore\[uses\]'"):
        bleu(["a"], ["a"])
    with pytest.raises(ImportError, match=r"tokenizers; install it with: pip install 'rnncore\[subword\]'"):
        build_vocabulary(["a b"], "subword")


def test_bleu_is_sacrebleus() -> None:
    from rnncore.text_metrics import bleu

    same = bleu(["The cat sat on the mat ."], ["the cat sat on the mat ."], lower=True)
    assert same.score == pytest.approx(100)
    assert "case:lc" in same.signature
    assert bleu(["The cat sat on the mat ."], ["the cat sat on the mat ."]).score < 90
    with pytest.raises(ValueError, match="references: expected 1, got 2"):
        bleu(["a"], ["a", "b"])
