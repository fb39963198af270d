"""`Monitor`: what training leaves in the log, and that it changes nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import some_text

from rnncore import Generator, inspect, nn
from rnncore.data import Streams, TextCorpus
from rnncore.models import LanguageModel
from rnncore.train import RunFolder, TrainConfig, Trainer, read_log
from rnncore.train.environment import environment, operations_per_item

CORPUS = TextCorpus.from_text(some_text(4000))
CONFIG = TrainConfig(epochs=2, batch=8, bptt=20, lr=5e-3, log_every=5)


def model(**options: Any) -> LanguageModel:
    return LanguageModel(
        vocabulary=CORPUS.vocabulary,
        **{"hidden_size": 12, "num_layers": 2, "dropout": 0.2, "generator": Generator(1), **options},
    )


def trained(network: LanguageModel, *callbacks: Any, run: RunFolder | None = None) -> Trainer:
    trainer = Trainer(network, CORPUS, CONFIG, callbacks=callbacks, run=run)
    trainer.fit()
    return trainer


def test_training_goes_on_bit_for_bit_and_the_log_has_it_all(tmp_path: Path) -> None:
    plain = trained(model())
    watched = trained(model(), inspect.Monitor(7), run=RunFolder.create(tmp_path / "run"))
    for name, value in plain.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), watched.model.state_dict()[name].numpy(), err_msg=name)
    records = read_log(tmp_path / "run" / "log.jsonl")
    looks = [record for record in records if record["event"] == "inspect"]
    assert [record["step"] for record in looks] == list(range(7, watched.progress.step + 1, 7))
    assert len([record for record in records if record["event"] == "sample"]) == 2
    last = looks[-1]
    assert last["lag"].keys() == last["lag_c"].keys() == {"rnn.l0", "rnn.l1"}
    assert len(last["lag"]["rnn.l0"]) == 20
    assert "".join(last["gates"]["rnn.l0"]) == "ifgo"
    assert sum(last["gates"]["rnn.l1"]["f"]["counts"]) == 20 * 8 * 12
    assert last["dead"] == {"rnn.l0": [0, 12], "rnn.l1": [0, 12]}
    assert last["updates"].keys() == dict(watched.model.named_parameters()).keys()
    assert "missing" not in last


def test_the_numbers_are_those_of_the_instruments() -> None:
    monitor = inspect.Monitor(10, rows=4)
    network = model(dtype="float64")
    trainer = Trainer(network, CORPUS, TrainConfig(steps=10, batch=8, bptt=20, lr=5e-3), callbacks=[monitor])
    with inspect.update_ratios(network) as since_start:
        trainer.fit()
    [record] = [record for record in trainer.history if record["event"] == "inspect"]
    piece = Streams(CORPUS.train, batch=4, bptt=20).chunk(1)

    def losses() -> Any:
        logits, _ = network(piece.inputs)
        flat = nn.functional.cross_entropy(logits.reshape(-1, logits.shape[2]), piece.targets.ravel(), reduction="none")
        return flat.reshape(20, 4)

    for profile in inspect.gradient_lag(network, losses):
        np.testing.assert_allclose(record["lag"][profile.name], profile.mean(), rtol=1e-4)
    for spectrum in inspect.recurrent_spectra(network):
        want = [spectrum.radius, spectrum.norm]
        np.testing.assert_allclose(record["spectra"][spectrum.layer][spectrum.gate], want, rtol=1e-4)
    for name, ratio in record["updates"].items():  # of one update of ten
        assert 0 < ratio < since_start[name]


def test_a_model_of_another_kind_has_the_flow_of_its_own_loss(tmp_path: Path) -> None:
    from labelled_files import names_folder
    from typer.testing import CliRunner

    from rnncore.cli.app import app

    names = names_folder(tmp_path / "names", 20)
    run = tmp_path / "run"
    arguments = ["train", "classify", "--train", f"{names}", "--steps", "6", "--inspect", "3", "--out", str(run),
                 "--inspect-norms", "2"]  # fmt: skip
    result = CliRunner().invoke(app, [*arguments, "--hidden", "8", "--batch", "4"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    looks = [record for record in read_log(run / "log.jsonl") if record["event"] == "inspect"]
    assert [record["step"] for record in looks] == [2, 3, 4, 6]
    assert ["spectra" in record for record in looks] == [False, True, False, True]
    assert all(max(next(iter(record["flow"].values()))) > 0 for record in looks), looks


def test_norms_alone_come_more_often_than_whole_looks(tmp_path: Path) -> None:
    plain = trained(model())
    watched = trained(model(), inspect.Monitor(14, norms_every=4), run=RunFolder.create(tmp_path / "run"))
    for name, value in plain.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), watched.model.state_dict()[name].numpy(), err_msg=name)
    last = watched.progress.step
    looks = [record for record in read_log(tmp_path / "run" / "log.jsonl") if record["event"] == "inspect"]
    assert [record["step"] for record in looks] == sorted({*range(4, last + 1, 4), *range(14, last + 1, 14)})
    assert last >= 28
    for record in looks:
        facts = {"event", "step", "epoch", "seconds", "lag", "lag_c"}
        whole = record["step"] % 14 == 0
        assert record.keys() == (facts | {"gates", "dead", "spectra", "updates"} if whole else facts)
    only = trained(model(), inspect.Monitor(None, norms_every=9, sample=0))
    lines = [record for record in only.history if record["event"] == "inspect"]
    assert [record["step"] for record in lines] == list(range(9, last + 1, 9))
    assert all(max(record["lag"]["rnn.l0"]) > 0 and "spectra" not in record for record in lines)


def test_a_text_without_line_ends_is_sampled_too() -> None:
    corpus = TextCorpus.from_text("to be or not to be, that is the question. " * 20)
    network = LanguageModel(vocabulary=corpus.vocabulary, hidden_size=4, num_layers=1)
    trainer = Trainer(network, corpus, TrainConfig(steps=2, batch=2, bptt=8), callbacks=[inspect.Monitor(1, sample=5)])
    trainer.fit()
    assert len(trainer.history[-1]["text"]) == 5


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="every: expected at least 1"):
        inspect.Monitor(0)
    with pytest.raises(ValueError, match="norms_every: expected at least 1"):
        inspect.Monitor(norms_every=0)
    with pytest.raises(ValueError, match="every, norms_every: expected at least one"):
        inspect.Monitor(None)
    with pytest.raises(ValueError, match="sample: expected 0 or more"):
        inspect.Monitor(sample=-1)


def test_a_resumed_run_looks_again_at_the_same_steps(tmp_path: Path) -> None:
    def looks(folder: Path) -> list[Any]:
        records = [record for record in read_log(folder / "log.jsonl") if record["event"] == "inspect"]
        return [{name: value for name, value in record.items() if name != "seconds"} for record in records]

    config = TrainConfig(epochs=2, batch=8, bptt=20, checkpoint_steps=10)
    Trainer(
        model(), CORPUS, config, run=RunFolder.create(tmp_path / "whole"), callbacks=[inspect.Monitor(4, sample=0)]
    ).fit()

    class Stop(inspect.Monitor):
        def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
            super().on_step(trainer, loss, grad_norm)
            if trainer.progress.step == 15:
                raise KeyError("killed")

    with pytest.raises(KeyError):
        Trainer(model(), CORPUS, config, run=RunFolder.create(tmp_path / "cut"), callbacks=[Stop(4, sample=0)]).fit()
    Trainer.resume(tmp_path / "cut", data=CORPUS, callbacks=[inspect.Monitor(4, sample=0)]).fit()
    assert looks(tmp_path / "cut") == looks(tmp_path / "whole")


def test_the_environment_is_in_the_configuration() -> None:
    facts = environment()
    assert facts["gflops"] > 0
    json.dumps(facts)
    assert facts["threads"] >= 1
    trainer = Trainer(model(num_layers=1), CORPUS, CONFIG)
    v, h = len(CORPUS.vocabulary), 12
    assert operations_per_item(trainer) == 6 * (8 * h * h + v * h)
    tied = Trainer(model(num_layers=1, tie_weights=True), CORPUS, CONFIG)
    assert operations_per_item(tied) == operations_per_item(trainer)
    for softmax in ("adaptive", "class", "sampled", "nce"):  # a token meets a part of the output layer
        assert operations_per_item(Trainer(model(num_layers=1, softmax=softmax), CORPUS, CONFIG)) is None
