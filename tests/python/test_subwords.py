"""Language models of subwords: texts come back, lines end, files hold the tokenizer, numbers compare across levels."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_models import small_model, some_text
from typer.testing import CliRunner

from rnncore import models
from rnncore.cli.app import app
from rnncore.data import Subwords, TextCorpus, TextSource, open_corpus, prepare
from rnncore.data.subwords import _LONGEST
from rnncore.generate import SamplingOptions, beam_search, generate, generate_text
from rnncore.metrics import evaluate
from rnncore.models import LanguageModel
from rnncore.scoring import score_lines
from rnncore.train import TrainConfig, Trainer

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def corpus() -> TextCorpus:
    return TextCorpus.from_text(some_text(), level="subword", max_size=400)


@pytest.fixture(scope="module")
def model(corpus: TextCorpus) -> LanguageModel:
    model = small_model(corpus, hidden_size=24)
    Trainer(model, corpus, TrainConfig(epochs=2, batch=4, bptt=16, lr=1e-2)).fit()
    return model


@pytest.fixture(scope="module")
def given_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that others made: pieces of words, an unknown token, no end of line, cut after 3 pieces."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.decoder = tokenizers.decoders.WordPiece()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    )
    made.train_from_iterator(some_text().split("\n"), trainer)
    made.enable_truncation(3)
    made.enable_padding()
    path = tmp_path_factory.mktemp("given") / "tokenizer.json"
    made.save(str(path))
    return path


def invoke(*arguments: Any, text: str | None = None) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=text)
    assert result.exit_code == 0, result.output
    return result.output


ANY = st.text(st.sampled_from("ab \n\t\u3000\x00\u00e9\u65e5\U0001f600'<eos>"), max_size=30)


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(ANY, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)))
def test_every_text_comes_back(corpus: TextCorpus, text: str) -> None:
    table = corpus.vocabulary
    ids = table.encode(text, end_line=False)
    assert table.decode(ids) == "\n".join(line.removesuffix("\r") for line in text.split("\n"))
    ended = table.encode(text)
    assert ended.tolist() == ids.tolist() + ([table.end_id] if text and not text.endswith("\n") else [])
    assert (ids == table.end_id).sum() == text.count("\n")
    assert table.encode(text.encode()).tolist() == ended.tolist()


def test_learning_gives_the_same_pieces_again(corpus: TextCorpus) -> None:
    again = TextCorpus.from_text(some_text(), level="subword", max_size=400)
    assert again.vocabulary == corpus.vocabulary
    assert again.fingerprint == corpus.fingerprint
    assert len(corpus.vocabulary) == 400
    assert corpus.vocabulary.unknown_id is None
    assert len(corpus.train) < 0.6 * len(some_text())
    assert corpus.train[-1] == corpus.vocabulary.end_id, "validation begins at a line"
    with pytest.raises(ValueError, match="size: expected 257 or more"):
        TextCorpus.from_text("some text", level="subword", max_size=256)


def test_very_long_lines_are_read_in_parts(corpus: TextCorpus) -> None:
    table = corpus.vocabulary
    blanks = "".join(["speak, ", "speak  ", "a\t b "][n % 3] for n in range(12_000))
    assert len(blanks) > _LONGEST
    assert table.decode(table.encode(blanks, end_line=False)) == blanks
    half = blanks[: 7 * 5_000].rstrip() + " "
    joined = [table.encode(part, end_line=False) for part in (half.rstrip(), " " + blanks)]
    assert table.encode(half + blanks, end_line=False).tolist() == np.concatenate(joined).tolist()
    solid = "x" * (2 * _LONGEST + 5)
    assert table.decode(table.encode(solid)) == solid + "\n"


def test_scores_compare_across_levels(model: LanguageModel) -> None:
    text = some_text(900)
    score = evaluate(model, text)
    table = model.require_vocabulary()
    first = table.decode(table.encode(text)[:1])
    assert score.characters == len(text) - len(first)
    assert score.words == len(text.split()) + text.count("\n") + 1
    assert score.bits_per_character == pytest.approx(score.total_nats / math.log(2) / score.characters)
    assert score.word_perplexity == pytest.approx(math.exp(score.total_nats / score.words))
    assert score.bits_per_word == pytest.approx(math.log2(score.word_perplexity))
    words = TextCorpus.from_text(some_text(), level="word")
    score = evaluate(small_model(words), text)
    assert score.words == score.tokens
    assert score.word_perplexity == score.perplexity
    letters = evaluate(small_model(TextCorpus.from_text(some_text())), text)
    assert letters.word_perplexity == pytest.approx(
        2 ** (letters.bits_per_character * letters.characters / letters.words)
    )


def test_lines_are_scored_by_the_chain_rule(model: LanguageModel) -> None:
    for line, score in zip(lines := ["First Citizen:", "", "Speak, speak."], score_lines(model, lines), strict=True):
        assert score.total == pytest.approx(model.log_prob(line + "\n", start="\n"), rel=1e-5)
        assert score.bits_per_character == pytest.approx(-score.total / math.log(2) / (len(line) + 1))


def test_texts_go_on_from_a_prompt(model: LanguageModel) -> None:
    table = model.require_vocabulary()
    [one] = generate(model, "First", length=40, seed=3)
    assert "First" + one.text == table.decode([*table.encode("First", end_line=False), *one.tokens])
    assert "".join(generate_text(model, "First", length=40, seed=3)) == one.text
    free = generate(model, "First", length=60, seed=5)[0].text
    stopped = generate(model, "First", length=60, seed=5, stop=["\n"])[0].text
    assert stopped == free.split("\n")[0]
    [none] = generate(model, "First", length=60, options=SamplingOptions(forbidden=("<eos>", " the")), seed=5)
    assert "\n" not in none.text
    found = beam_search(model, "First", length=8, beams=3, stop=["\n"])
    assert table.end_id not in found.tokens
    with pytest.raises(ValueError, match="one of the 400 pieces"):
        generate(model, "First", options=SamplingOptions(forbidden=("no such piece",)))


def test_a_given_tokenizer_is_taken_as_it_is(given_file: Path) -> None:
    table = Subwords.from_file(given_file)
    theirs = json.loads(given_file.read_text())["model"]["vocab"]
    assert len(table) == len(theirs) + 1, "one more for the end of a line"
    assert table.end_id == len(theirs)
    assert table.unknown_id == theirs["[UNK]"]
    text = "We are accounted poor citizens, the patricians good.\nSpeak \u65e5\n"
    ids = table.encode(text)
    assert (ids == table.end_id).sum() == 2
    assert (ids == table.unknown_id).sum() == 1
    assert len(ids) > 12, "nothing is cut off, nothing filled up"
    assert table.decode(ids).startswith("we are accounted poor citizens")
    assert Subwords(table.to_json()["tokenizer"]) == table
    assert table.pieces([table.end_id, table.unknown_id]) == ["<eos>", "[UNK]"]
    assert table.ids_of(["\n", "[UNK]"]).tolist() == [table.end_id, table.unknown_id]
    with pytest.raises(ValueError, match="ids: expected 0 to"):
        table.decode([len(table)])


def test_what_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "tokenizer.json"
    for content in ("{", "[]", '{"model": 3}', '{"model": {"type": "BPE"}}'):
        bad.write_text(content)
        with pytest.raises(ValueError, match=r"\[subwords\]"):
            Subwords.from_file(bad)
    text = tmp_path / "text"
    text.write_text("a b\n" * 50)
    with pytest.raises(ValueError, match="tokenizer: expected none at other levels"):
        TextSource(str(text), level="word", tokenizer=str(bad)).load()
    with pytest.raises(ValueError, match="tokenizer: expected none at other levels"):
        prepare(tmp_path / "ids", text, level="word", tokenizer=bad)


@pytest.mark.parametrize("learnt", [True, False])
def test_the_commands_train_score_and_write(learnt: bool, given_file: Path, tmp_path: Path) -> None:
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text(some_text(4000))
    how = ["--vocab-size", 300] if learnt else ["--tokenizer", given_file]
    sizes = ["--hidden", 8, "--layers", 1, "--batch", 4, "--bptt", 10, "--epochs", 1]
    output = invoke("train", "lm", "--text", text, "--level", "subword", *how, *sizes, "--out", run)
    assert "subwords to train on" in output
    vocabulary = models.load(run / "model.safetensors").require_vocabulary()  # type: ignore[attr-defined]
    assert f"vocabulary {len(vocabulary)}" in output
    assert f"{len(vocabulary):,} subwords" in invoke("info", run)
    values = json.loads(invoke("eval", run, "--text", text, "--json"))
    assert values["tokens"] == len(vocabulary.encode(text.read_text())) - 1
    assert 0 < values["bits_per_character"] < values["bits_per_word"]
    assert ("unknown_tokens" in values) != learnt
    prompt = "Speak," if learnt else "speak,"
    assert invoke("sample", run, "--prompt", prompt, "--length", 5).startswith(prompt)
    [line] = invoke("score", run, "--tokens", text="Speak, speak.\n").splitlines()
    record = json.loads(line)
    assert [piece for piece, _ in record["token_log_probs"]][-1] == "<eos>"
    assert record["bits_per_character"] == pytest.approx(-record["log_prob"] / math.log(2) / 14)
    if learnt:
        assert invoke("score", run, "--color", text="Speak, speak.\n").startswith("Speak, speak.  -")
    invoke("train", "--resume", run, "--epochs", 2)
    ids = tmp_path / "ids"
    output = invoke("prepare", "--text", text, "--level", "subword", *how, "--out", ids)
    assert f"vocabulary {len(vocabulary):,}" in output
    assert "bytes each" in output
    made = open_corpus(ids)
    assert made.vocabulary == vocabulary or learnt  # learnt here from the part for validation, too
    invoke("train", "lm", "--text", ids, *sizes, "--out", tmp_path / "other")


def test_without_the_library_it_is_named(model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save(tmp_path / "model.safetensors")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'rnncore\[subword\]'"):
        models.load(tmp_path / "model.safetensors")
    text = tmp_path / "text"
    text.write_text("some text\n" * 20)
    result = CliRunner().invoke(app, ["prepare", "--text", str(text), "--level", "subword", "--out", str(tmp_path)])
    assert isinstance(result.exception, ImportError)


def test_a_folder_is_finished_with_the_tokenizer_it_was_begun_with(given_file: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text(some_text(3000))
    options: dict[str, Any] = {"level": "subword", "tokenizer": given_file}
    facts = prepare(tmp_path / "ids", text, **options)
    assert facts["coverage"]["types"] <= 201
    assert 0 < facts["coverage"]["covered"] <= 1
    prepare(tmp_path / "ids", text, **options)  # done: nothing happens
    other = json.loads(given_file.read_text())
    other["normalizer"] = None
    changed = tmp_path / "other.json"
    changed.write_text(json.dumps(other))
    with pytest.raises(ValueError, match="the arguments it was begun with"):
        prepare(tmp_path / "ids", text, level="subword", tokenizer=changed)
