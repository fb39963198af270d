"""Language models with connections and regularisers: training, resuming, files, the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import log_without_times, small_model, some_text, start_run
from test_cli import inside

from rnncore.data import TextCorpus
from rnncore.generate import generate
from rnncore.models import LanguageModel
from rnncore.train import TrainConfig, Trainer

WIRED: dict[str, Any] = {
    "num_layers": 3, "connection": "highway", "variational": True, "dropout": 0.2, "weight_drop": 0.3,
    "embedding_dropout": 0.1, "activation_penalty": 2.0, "temporal_penalty": 1.0, "learn_initial_state": True,
    "init": "orthogonal", "forget_bias": 1.0,
}  # fmt: skip
CONFIG = TrainConfig(epochs=1, batch=8, bptt=20)


@pytest.mark.parametrize("connection", ["none", "residual", "highway", "dense"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn-tanh"])
def test_a_wired_model_is_the_same_read_at_once_or_in_pieces(cell: str, connection: str) -> None:
    model = small_model(
        TextCorpus.from_text(some_text(500)), num_layers=3, cell=cell, connection=connection, learn_initial_state=True
    )
    tokens = np.random.default_rng(0).integers(0, model.config.vocab_size, 101)
    whole = model.score(tokens, chunk=100)
    assert model.score(tokens, chunk=7) == pytest.approx(whole, rel=1e-6)
    assert len(generate(model, "F", length=5)[0].text) == 5


def test_penalties_are_trained_on_but_not_reported() -> None:
    corpus = TextCorpus.from_text(some_text())
    losses = {}
    for penalty in (0.0, 1000.0):
        model = small_model(corpus, activation_penalty=penalty, temporal_penalty=penalty)
        trainer = Trainer(model, corpus, TrainConfig(steps=30, batch=8, bptt=20, log_every=1))
        trainer.fit()
        steps = [record["loss"] for record in trainer.history if record["event"] == "step"]
        ids = np.zeros((20, 4), np.int64)
        with model.evaluating():
            size = float(np.square(model.features(ids)[0].numpy()).mean())
        losses[penalty] = (steps[0], steps[-1], size)
    assert losses[0.0][0] == pytest.approx(losses[1000.0][0])  # the first loss is the cross-entropy alone
    assert losses[1000.0][2] < losses[0.0][2] / 3  # and the outputs shrink
    assert small_model(corpus).take_penalty() is None


def test_a_wired_model_survives_its_file(tmp_path: Path) -> None:
    model = small_model(TextCorpus.from_text(some_text(500)), **WIRED)
    model.save(tmp_path / "model.safetensors")
    again = LanguageModel.load(tmp_path / "model.safetensors")
    for name in ("connection", "variational", "dropout", "weight_drop", "learn_initial_state"):
        assert getattr(again.config, name) == getattr(model.config, name), name
    ids = np.zeros((5, 2), np.int64)
    with model.evaluating(), again.evaluating():
        assert np.array_equal(model(ids)[0].numpy(), again(ids)[0].numpy())
    assert "rnn.weight_highway_l2" in again.state_dict()


def test_a_resumed_wired_run_gives_the_bits_of_one_never_stopped(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(some_text(3000))
    whole = start_run(tmp_path / "whole", tmp_path / "text.txt", CONFIG, **WIRED)
    whole.fit()
    stopped = start_run(tmp_path / "stopped", tmp_path / "text.txt", TrainConfig(steps=7, batch=8, bptt=20), **WIRED)
    stopped.fit()
    resumed = Trainer.resume(tmp_path / "stopped", steps=whole.progress.step)
    resumed.fit()
    a, b = whole.model.state_dict(), resumed.model.state_dict()
    for name, value in a.items():
        assert np.array_equal(value.numpy(), b[name].numpy()), name
    assert log_without_times(tmp_path / "whole")[0]["event"] == "step"


def test_options_that_make_no_sense_are_refused() -> None:
    for options, text in (
        ({"variational": True}, "variational: expected False, as dropout is 0"),
        ({"weight_drop": 1.0}, "weight_drop"),
        ({"temporal_penalty": -1.0}, "temporal_penalty: expected 0 or more"),
        ({"init_scale": 0.5}, "init_scale: expected 1, but with init identity or orthogonal"),
        ({"init": "identity", "init_scale": 0.0}, "init_scale: expected above 0"),
        ({"connection": "skip"}, "connection: expected one of"),
        ({"cell": "gru", "forget_bias": 1.0}, "forget_bias"),
    ):
        with pytest.raises(ValueError, match=text):
            LanguageModel(10, hidden_size=4, num_layers=1, **options)  # type: ignore[arg-type]


def test_the_command_line_trains_a_wired_model(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(some_text(3000))
    inside(
        "train", "lm", "--text", tmp_path / "text.txt", "--out", tmp_path / "run", "--hidden", "12", "--layers", "2",
        "--batch", "8", "--bptt", "20", "--epochs", "1", "--connection", "residual", "--dropout", "0.2",
        "--variational", "--weight-drop", "0.2", "--embedding-dropout", "0.1", "--activation-penalty", "2",
        "--temporal-penalty", "1", "--learn-initial-state", "--init", "orthogonal", "--forget-bias", "1",
    )  # fmt: skip
    model = LanguageModel.load(tmp_path / "run" / "model.safetensors")
    assert model.config.connection == "residual"
    assert model.config.variational
