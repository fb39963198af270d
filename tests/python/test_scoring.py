"""rnncore score: lines by the chain rule whatever they are batched with, n-best lists, line ends, standard input."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import small_model, some_text
from typer.testing import CliRunner

from rnncore.cli.app import app
from rnncore.data import TextCorpus
from rnncore.models import LanguageModel
from rnncore.scoring import parse_candidate, read_lines, rescore, score_lines

LINES = ["First Citizen:", "", "We are accounted poor citizens, the patricians good.", "a", *(["Speak, speak."] * 9)]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return small_model(TextCorpus.from_text(some_text()), dtype="float64", num_layers=2)


@pytest.fixture(scope="module")
def file(model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("score") / "model.safetensors"
    model.save(path)
    return path


def command(*arguments: Any, text: str | bytes | None = None) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["score", *map(str, arguments)], input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_a_line_is_scored_by_the_chain_rule_whatever_stands_beside_it(model: LanguageModel, batch: int) -> None:
    found = list(score_lines(model, LINES, batch=batch))
    for line, score in zip(LINES, found, strict=True):
        assert score.total == pytest.approx(model.log_prob(line + "\n", start="\n"), rel=1e-10)
        assert len(score.ids) == len(score.log_probs) == len(line) + 1
    first = model.log_prob("Fi", start="\n") - model.log_prob("F", start="\n")
    assert found[0].log_probs[1] == pytest.approx(first, rel=1e-9)


def test_a_long_line_is_read_in_pieces(model: LanguageModel) -> None:
    line = some_text(1800).replace("\n", " ")
    [score] = score_lines(model, [line])
    assert score.total == pytest.approx(model.log_prob(line + "\n", start="\n"), rel=1e-10)


def test_lines_of_words_and_clusters() -> None:
    corpus = TextCorpus.from_text("the cat sat\na dog sat on it\n" * 5, level="word")
    model = LanguageModel(vocabulary=corpus.vocabulary, hidden_size=6, softmax="adaptive", dtype="float64")
    [score] = score_lines(model, ["the zebra sat"])
    assert [corpus.vocabulary.tokens[index] for index in score.ids] == ["the", "<unk>", "sat", "<eos>"]
    assert score.total == pytest.approx(model.log_prob("the zebra sat", start="\n"), rel=1e-10)


def test_the_command_reads_files_and_standard_input(model: LanguageModel, file: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"\xef\xbb\xbfFirst\r\nSpeak\r\n")  # as a Windows editor writes it
    records = command(file, text, "-", text="First\n")
    assert [(record["file"], record["line"]) for record in records] == [
        (str(text), 1), (str(text), 2), ("standard input", 1)
    ]  # fmt: skip
    wanted = model.log_prob("First\n", start="\n")
    assert records[0]["log_prob"] == pytest.approx(wanted, rel=1e-10)
    assert records[2]["log_prob"] == pytest.approx(wanted, rel=1e-10)
    [detailed] = command(file, "--tokens", text="Fi\n")
    assert [token for token, _ in detailed["token_log_probs"]] == ["F", "i", "\n"]
    assert sum(value for _, value in detailed["token_log_probs"]) == pytest.approx(detailed["log_prob"], rel=1e-12)


def test_colour_keeps_the_text(file: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(file), "--color"], input="Speak, speak.\n", catch_exceptions=False)
    assert result.output.startswith("Speak, speak.  -")


def test_rare_choices_have_colours(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = CliRunner().invoke(app, ["score", str(file), "--color"], input="Speak, speak.\n", color=True).output
    assert "\x1b[33mS" in shown, "five to eight bits"
    assert re.sub(r"\x1b\[[\d;]*m", "", shown).startswith("Speak, speak.  -")


def test_nbest_lists_are_sorted_group_by_group(model: LanguageModel, file: Path) -> None:
    given = "0 ||| Speak ||| -1\n0 ||| First ||| -2\n1 ||| a\n"
    records = command(file, "--nbest", "--weight", 0, text=given)
    assert [record["text"] for record in records] == ["Speak", "First", "a"]
    candidates = [parse_candidate(line, 1) for line in given.splitlines()]
    for group in rescore(model, candidates, weight=2.0):
        totals = [total for _, _, total in group]
        assert totals == sorted(totals, reverse=True)
        for candidate, line, total in group:
            assert total == pytest.approx(candidate.score + 2.0 * model.log_prob(candidate.text + "\n", start="\n"))
            assert line.total < 0
    with pytest.raises(ValueError, match=r"\[n-best list\] line 7: expected group \|\|\| text"):
        parse_candidate("no bars", 7)


def test_bad_lines_are_named(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"\[score\] line 2: .*"):
        list(score_lines(model, ["First", "\u4e2d"]))
    with pytest.raises(ValueError, match=r"here, line 2: expected UTF-8"):
        list(read_lines(io.BytesIO(b"one\n\xff\n"), "here"))
    assert list(read_lines(io.BytesIO(b"a\x00b\r\n\xef\xbb\xbfc"), "here")) == ["a\x00b", "\ufeffc"]


def test_a_batch_of_one_answers_each_line_as_it_comes(model: LanguageModel) -> None:
    read = []

    def lines() -> Iterator[str]:
        for line in LINES:
            read.append(line)
            yield line

    for count, score in enumerate(score_lines(model, lines(), batch=1), start=1):
        assert len(read) == count
        assert score.total < 0


def test_lines_that_have_ended_are_not_read_on(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One long line beside short ones costs what it is long, and its batch is no rectangle."""
    line = (some_text(2400).replace("\n", " "))[:2200]
    lines = [line[:3], line, line[:600], ""]
    wanted = [model.log_prob(one + "\n", start="\n") for one in lines]
    rows, plain = 0, LanguageModel.loss

    def counted(self: LanguageModel, ids: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal rows
        rows += np.asarray(ids).size
        return plain(self, ids, *arguments, **options)

    monkeypatch.setattr(LanguageModel, "loss", counted)
    found = [one.total for one in score_lines(model, lines)]
    assert found == pytest.approx(wanted, rel=1e-10)
    assert rows == 4 * 500 + 2 * 500 + 1201


def test_scores_do_not_depend_on_how_many_are_read_ahead(model: LanguageModel) -> None:
    many = LINES * 30
    one, other = (np.array([score.total for score in score_lines(model, many, batch=size)]) for size in (2, 50))
    np.testing.assert_allclose(one, other, rtol=1e-10)
    np.testing.assert_allclose(one, np.tile(one[: len(LINES)], 30), rtol=1e-10)
