"""What holds for every kind of model: a saved one predicts the same records, and `rnncore info` says what it is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numeric_data import chords, inside, tone, write_wav

from rnncore import Generator
from rnncore.data import Vocabulary
from rnncore.generate import generate
from rnncore.models import (
    Captioner,
    Classifier,
    Forecaster,
    LanguageModel,
    Model,
    PolyphonicMusic,
    Seq2Seq,
    Tagger,
    Transcriber,
    files,
    load,
)
from rnncore.train import task

WORDS = Vocabulary.build("the cat sat on a mat\n", level="word")
LETTERS = Vocabulary.build("thecasonm", unknown=True)
SERIES = "x,y\n" + "".join(f"{n % 7},{n % 5}\n" for n in range(12))


def language_model(generator: Generator) -> Model:
    return LanguageModel(vocabulary=WORDS, hidden_size=6, num_layers=2, generator=generator)


def speech(generator: Generator) -> Model:
    pytest.importorskip("scipy")
    return Transcriber(["yes", "no"], units="word", hidden_size=6, num_layers=1, generator=generator)


MAKERS: dict[str, tuple[Callable[[Generator], Model], str]] = {  # how one is made, and what it predicts from
    "language_model": (language_model, "the cat"),
    "forecaster": (lambda g: Forecaster(["x", "y"], context=8, block=3, hidden_size=6, generator=g), SERIES),
    "multilabel": (lambda g: PolyphonicMusic(hidden_size=6, generator=g), json.dumps(chords(5, 0))),
    "transcriber": (speech, "{folder}/x.wav\n"),
    "classifier": (lambda g: Classifier(WORDS, ["good", "bad"], hidden_size=6, generator=g), "the cat\na mat\n"),
    "tagger": (
        lambda g: Tagger(WORDS, ["O", "B-x", "I-x"], characters=LETTERS, hidden_size=6, crf=True, generator=g),
        "the cat\na new mat\n",
    ),
    "seq2seq": (lambda g: Seq2Seq(WORDS, WORDS, embedding_size=6, hidden_size=6, generator=g), "the cat\na mat\n"),
    "captioner": (
        lambda g: Captioner(WORDS, 2, embedding_size=6, hidden_size=6, max_length=8, generator=g),
        "x,y\n1,-1\n0,1\n",
    ),
}


def predictions(model: Model, text: str) -> list[Any]:
    if isinstance(model, LanguageModel):
        return generate(model, text, length=20, num_samples=2, seed=1, log_probs=True)
    return list(task.task_class(model.kind).predict(model, io.StringIO(text), "given", {}))


def test_no_kind_is_missing_here() -> None:
    assert MAKERS.keys() == files._CLASSES.keys() == task._CLASSES.keys()


@pytest.mark.parametrize("kind", MAKERS)
def test_a_saved_model_predicts_the_same_and_says_what_it_is(tmp_path: Path, kind: str) -> None:
    make, text = MAKERS[kind]
    model = make(Generator(5))
    write_wav(tmp_path / "x.wav", tone([500.0, 900.0], 0))
    given = text.format(folder=tmp_path) if kind == "transcriber" else text
    model.training_facts = {"steps": 7, "epochs": 2}
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = load(path)
    assert type(again) is type(model)
    for name, value in model.state_dict().items():
        assert again.state_dict()[name].numpy().tobytes() == value.numpy().tobytes(), name
    wanted = predictions(model, given)
    assert len(wanted) > 0
    assert repr(predictions(again, given)) == repr(wanted), "to the last digit"
    shown = inside("info", path)
    for part in (kind.replace("_", " "), *model.describe().values(), f"{model.parameter_count():,}", "7 updates"):
        assert part in shown, part
