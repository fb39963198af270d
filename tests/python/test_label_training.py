"""Classifying and tagging from files to predictions: they learn, stop and resume bit for bit, and the commands work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from labelled_files import bio_file, conllu_file, names_folder
from language_models import log_without_times
from typer.testing import CliRunner

from rnncore import Generator
from rnncore.cli.app import app
from rnncore.cli.progress import TrainingProgress
from rnncore.data import ClassSource, Sentence, TagCorpus, TagSource, is_bio
from rnncore.models import Classifier, Tagger
from rnncore.train import Callback, Checkpoint, RunFolder, TrainConfig, Trainer
from rnncore.train.classify import ClassifyTask
from rnncore.train.tag import TagTask

pytest.importorskip("seqeval")
pytest.importorskip("sklearn")

SMALL_CLASSIFIER = ["--hidden", "12", "--embedding", "8", "--batch", "16", "--epochs", "8", "--lr", "0.02"]
SMALL_TAGGER = [
    *("--hidden", "12", "--embedding", "8", "--char-hidden", "6", "--char-embedding", "6"),
    *("--batch", "16", "--epochs", "8", "--lr", "0.02", "--min-count", "1"),
]


def inside(*arguments: str | Path, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def failing(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "rnncore", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode in (1, 2), result.stdout
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of each kind."""
    path = tmp_path_factory.mktemp("labels")
    names_folder(path / "names", 100)
    data = ["--train", path / "names", "--test-fraction", "0.2"]
    output = inside("train", "classify", *data, "--out", path / "classes", *SMALL_CLASSIFIER)
    assert "test: accuracy" in output
    bio_file(path / "train.conll", 120)
    bio_file(path / "test.conll", 30, seed=5)
    data = ["--train", path / "train.conll", "--test", path / "test.conll", "--crf"]
    (path / "output").write_text(inside("train", "tag", *data, "--out", path / "entities", *SMALL_TAGGER))
    return path


def test_a_classifier_learns_and_is_scored(folder: Path) -> None:
    picture = folder / "confusion.svg"
    pytest.importorskip("matplotlib")
    scores = json.loads(inside("eval", folder / "classes", "--data", folder / "names", "--picture", picture, "--json"))
    assert scores["accuracy"] > 0.9, "endings tell the classes apart"
    assert scores["texts"] == 250
    assert {"balanced_accuracy", "macro_f1"} <= set(scores)
    assert "<svg" in picture.read_text()
    assert "accuracy" in inside("eval", folder / "classes", "--data", folder / "names")


def test_a_tagger_learns_and_is_scored(folder: Path) -> None:
    output = (folder / "output").read_text()
    assert "f1" in output
    scores = json.loads(inside("eval", folder / "entities", "--data", folder / "test.conll", "--json"))
    assert scores["f1"] > 0.85
    assert scores["sentences"] == 30
    records = [json.loads(line) for line in (folder / "entities" / "log.jsonl").read_text().splitlines()]
    assert "valid_f1" in records[-1]
    assert "perplexity" not in records[-1]


def test_predict_reads_files_and_standard_input(folder: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("McAbe\nabcson\n")
    output = inside("predict", folder / "classes", lines).splitlines()
    assert [line.split("\t")[0] for line in output] == ["Mac", "Son"]
    [record] = map(json.loads, inside("predict", folder / "classes", "--json", stdin="abcov\n").splitlines())
    assert record["label"] == "Ov"
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    output = inside("predict", folder / "entities", "-", stdin="Ada saw Paris\n\n")
    assert [line.split("\t") for line in output.splitlines()[:3]] == [
        ["Ada", "B-person"], ["saw", "O"], ["Paris", "B-place"],
    ]  # fmt: skip
    record = json.loads(inside("predict", folder / "entities", "--json", stdin="went to Rome").splitlines()[0])
    assert is_bio(record["tags"])


def test_the_rate_of_a_resumed_run_counts_from_where_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = names_folder(tmp_path / "names", 60)
    options = ["--hidden", "4", "--batch", "4", "--checkpoint-steps", "5", "--steps", "7"]
    inside("train", "classify", "--train", names, "--out", tmp_path / "run", *options)
    monkeypatch.setattr(TrainingProgress, "_PLAIN_SECONDS", 0.0)
    output = inside("train", "--resume", tmp_path / "run", "--steps", "9")
    rates = [float(rate) for rate in re.findall(r"(-?[\d.]+)k? texts/s", output)]
    assert len(rates) == 2
    assert min(rates) > 0


@pytest.mark.parametrize("run", ["classes", "entities"])
def test_a_file_that_is_read_at_once_gives_what_its_lines_give(folder: Path, tmp_path: Path, run: str) -> None:
    text = "Ada saw Paris\nMcAbe\n\nwent to Rome with Ada and Bob\n" * 20
    (tmp_path / "lines.txt").write_text(text)
    together = inside("predict", folder / run, tmp_path / "lines.txt", "--json")
    assert together == inside("predict", folder / run, "--json", stdin=text)


def test_info_of_a_run_and_of_a_file(folder: Path) -> None:
    output = inside("info", folder / "classes")
    for part in ("classifier", "lstm, 12 in both directions", "3: Mac, Ov, Son", "validation accuracy", "names"):
        assert part in output, part
    output = inside("info", folder / "entities" / "model.safetensors")
    for part in ("tagger", "CRF", "characters", "5: B-person", "validation f1"):
        assert part in output, part


def test_parts_of_speech_from_conllu(tmp_path: Path) -> None:
    file = conllu_file(tmp_path / "a.conllu", 80)
    output = inside("train", "tag", "--train", file, "--out", tmp_path / "run", *SMALL_TAGGER, "--no-characters")
    assert "best validation" in output
    assert "accuracy" in output
    assert "f1" not in output, "no BIO tags: no entities"


def test_what_cannot_be_read_is_one_line(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("label,text\nx,one\ny\n")
    assert f"{broken} line 3" in failing("train", "classify", "--train", broken, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert "no such file" in failing("train", "tag", "--train", tmp_path / "none.conll")
    other = tmp_path / "other.txt"
    other.write_text("Unknown name\n")
    assert "one of Mac, Ov, Son, got 'Unknown'" in failing(
        "eval", folder / "classes", "--data", other, "--format", "lines"
    )
    assert "pooling" in failing("train", "classify", "--train", folder / "names", "--pooling", "sum")
    assert "[predict] RUN" in failing_language_model(tmp_path)


def failing_language_model(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text("some text to read " * 40)
    small = ["--hidden", "4", "--layers", "1", "--batch", "2", "--bptt", "10", "--steps", "1"]
    inside("train", "lm", "--text", tmp_path / "text.txt", "--out", tmp_path / "lm", *small)
    return failing("predict", tmp_path / "lm", tmp_path / "text.txt")


def test_malformed_records_can_be_skipped_with_a_count(folder: Path, tmp_path: Path) -> None:
    text = (folder / "train.conll").read_text()
    (tmp_path / "some.conll").write_text(text + "\nlonely\n\nAda\tB-person\n")
    data = ["--train", tmp_path / "some.conll", "--on-error", "skip", "--steps", "2"]
    output = inside("train", "tag", *data, *SMALL_TAGGER, "--out", tmp_path / "run")
    assert "left out 1 malformed records" in output


class Crash(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
        if trainer.progress.step == self.step:
            raise RuntimeError("crash")


def start(kind: str, folder: Path, run: Path, *callbacks: Callback) -> Trainer:
    config = TrainConfig(epochs=3, batch=16, lr=0.01, checkpoint_steps=4, log_every=3)
    if kind == "classify":
        source = ClassSource(train=str(folder / "names"), seed=2)
        corpus = source.load()
        model = Classifier(corpus.vocabulary, corpus.labels, hidden_size=8, dropout=0.3, generator=Generator(2))
        return Trainer(model, ClassifyTask(corpus, source), config, run=RunFolder.create(run), callbacks=callbacks)
    tags = TagSource(train=str(folder / "train.conll"), seed=2)
    corpora = tags.load()
    tagger = Tagger(
        corpora.vocabulary, corpora.labels, characters=corpora.characters, hidden_size=8, crf=True, dropout=0.3,
        generator=Generator(2),
    )  # fmt: skip
    return Trainer(tagger, TagTask(corpora, tags), config, run=RunFolder.create(run), callbacks=callbacks)


@pytest.mark.parametrize("kind", ["classify", "tag"])
@pytest.mark.parametrize("step", [5, 17])
def test_a_crashed_run_resumes_bit_for_bit(folder: Path, tmp_path: Path, kind: str, step: int) -> None:
    start(kind, folder, tmp_path / "whole").fit()
    with pytest.raises(RuntimeError, match="crash"):
        start(kind, folder, tmp_path / "broken", Crash(step)).fit()
    Trainer.resume(tmp_path / "broken").fit()
    one, two = (tmp_path / name for name in ("whole", "broken"))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert log_without_times(one) == log_without_times(two)
    first, second = (Checkpoint.load(run / "checkpoint.safetensors") for run in (one, two))
    assert first.generator == second.generator
    for name, value in first.parameters.items():
        assert value.numpy().tobytes() == second.parameters[name].numpy().tobytes(), name


def test_changed_data_is_refused(folder: Path, tmp_path: Path) -> None:
    names = names_folder(tmp_path / "names")
    source = ClassSource(train=str(names))
    corpus = source.load()
    model = Classifier(corpus.vocabulary, corpus.labels, hidden_size=4)
    run = RunFolder.create(tmp_path / "run")
    Trainer(model, ClassifyTask(corpus, source), TrainConfig(steps=2, batch=8), run=run).fit()
    with (names / "Ov.txt").open("a") as file:
        file.write("abcov\n")
    with pytest.raises(ValueError, match="the data that the run was started with"):
        Trainer.resume(run, steps=4)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnncore import label_metrics

    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    with pytest.raises(ImportError, match=r"\[class scores\] scikit-learn: .*pip install 'rnncore\[uses\]'"):
        label_metrics.class_scores(["a"], ["a"])
    with pytest.raises(ImportError, match="seqeval"):
        label_metrics.entity_scores([["O"]], [["O"]])


def tag_task(*parts: list[list[str]]) -> TagTask:
    train = [Sentence(["a", "b", "c"], ["B-x", "I-x", "O"]), Sentence(["c"], ["O"])]
    given = [[Sentence(["a"] * len(tags), tags) for tags in part] for part in parts]
    return TagTask(TagCorpus.build([*train, *given[0]], *given[1:], min_count=1))


def tagger_of(task: TagTask, *, crf: bool = False) -> Tagger:
    corpus = task.corpus
    return Tagger(corpus.vocabulary, corpus.labels, hidden_size=2, embedding_size=2, crf=crf, generator=Generator(0))


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_all_parts_of_bio_data_are_bio(part: int, crf: bool) -> None:
    """Decoding gives BIO sequences alone: it could never find the tags of another scheme."""
    parts: list[list[list[str]]] = [[["O"]], [["O"]], [["O"]]]
    parts[part] = [["O", "I-x"]]
    bad, good = tag_task(*parts), tag_task([["O"]], [["B-x", "I-x"]], [["O"]])
    good.check_model(tagger_of(good, crf=crf))
    name = ("training", "validation", "test")[part]
    with pytest.raises(ValueError, match=rf"tags of the {name} part: expected BIO sequences .* got O I-x"):
        bad.check_model(tagger_of(bad, crf=crf))


def test_a_missing_seqeval_is_found_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    unscored = tag_task([["O"]])
    unscored.check_model(tagger_of(unscored))
    scored = tag_task([["O"]], [["O"]])
    with pytest.raises(ImportError, match=r"\[entity scores\] seqeval: .*pip install 'rnncore\[uses\]'"):
        Trainer(tagger_of(scored), scored, TrainConfig(steps=1))


def test_eval_scores_trees_as_the_test_part_is_scored(tmp_path: Path) -> None:
    trees = tmp_path / "trees.txt"
    trees.write_text("(4 (3 good) (3 film))\n(0 (1 bad) (1 film))\n" * 4)
    data = ["--train", trees, "--test", trees, "--format", "sst2-phrases", "--valid-fraction", "0"]
    small = ["--hidden", "4", "--embedding", "4", "--steps", "1"]
    output = inside("train", "classify", *data, *small, "--out", tmp_path / "run")
    assert "8 texts" in output.split("test:")[1]
    scores = json.loads(inside("eval", tmp_path / "run", "--data", trees, "--json"))
    assert scores["texts"] == 8, "sentences, not phrases"
    more = json.loads(inside("eval", tmp_path / "run", "--data", trees, "--format", "sst2-phrases", "--json"))
    assert more["texts"] == 24


def test_options_that_a_kind_does_not_read_are_refused(folder: Path) -> None:
    tags = ["eval", folder / "entities", "--data", folder / "test.conll"]
    error = failing(*tags, "--picture", folder / "x.svg")
    assert "[eval] --picture: expected an option that a tagger reads, --format, got" in error
    assert not (folder / "x.svg").exists()
    assert "--transcripts" in failing(*tags, "--transcripts", folder / "x.csv")
    error = failing("predict", folder / "entities", folder / "test.conll", "--beams", "2")
    assert "[predict] --beams: expected an option that a tagger reads, none of these, got 2" in error


def test_entity_scores_are_of_whole_entities() -> None:
    from rnncore.label_metrics import class_scores, entity_scores

    gold = [["B-a", "I-a", "O", "B-b"], ["O"]]
    scores = entity_scores(gold, [["B-a", "O", "O", "B-b"], ["O"]])
    assert scores == {"precision": 0.5, "recall": 0.5, "f1": 0.5}, "half an entity is none"
    assert class_scores(["a", "a", "a", "b"], ["a", "a", "a", "a"])["balanced_accuracy"] == 0.5
