"""Small texts, models and runs that the tests of the language-model side share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rnncore import Generator
from rnncore.data import TextCorpus, TextSource, tinyshakespeare
from rnncore.models import LanguageModel
from rnncore.train import Callback, RunFolder, TrainConfig, Trainer

CELLS = ("lstm", "gru", "gru-reset-before", "rnn-tanh", "rnn-relu", "rnn-sigmoid")
TIMES = {"time", "tokens_per_second"}  # what differs between two equal runs


def some_text(characters: int = 6000) -> str:
    """The beginning of the bundled text."""
    return tinyshakespeare().read_text()[:characters]


def small_model(corpus: TextCorpus, seed: int = 1, **options: Any) -> LanguageModel:
    """An LSTM of 12 units."""
    chosen = {"hidden_size": 12, "num_layers": 1, **options}
    return LanguageModel(vocabulary=corpus.vocabulary, generator=Generator(seed), **chosen)


def start_run(
    folder: Path, text: Path, config: TrainConfig, callbacks: tuple[Callback, ...] = (), **options: Any
) -> Trainer:
    """A trainer with a run folder, ready to `fit`."""
    source = TextSource(train=str(text))
    corpus = source.load()
    model = small_model(corpus, **options)
    return Trainer(model, corpus, config, run=RunFolder.create(folder), source=source, callbacks=callbacks)


def log_without_times(folder: Path) -> list[dict[str, Any]]:
    """The records of a run's log but for its times."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in TIMES} for line in lines]
