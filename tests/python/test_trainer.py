"""The training loop: it learns, TBPTT(k1, k2) is what it claims, clipping, schedules, stopping, the log, NaN."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import CELLS, log_without_times, small_model, some_text, start_run

from rnncore import optim
from rnncore.data import TextCorpus
from rnncore.models import LanguageModel
from rnncore.train import (
    Callback,
    RunFolder,
    TensorBoard,
    TrainConfig,
    Trainer,
    TrainingDivergedError,
    make_schedule,
    read_log,
)
from rnncore.train.feeds import StreamFeed


@pytest.fixture(scope="module")
def corpus() -> TextCorpus:
    return TextCorpus.from_text(some_text())


@pytest.mark.parametrize("cell", CELLS)
def test_it_learns(cell: str) -> None:
    corpus = TextCorpus.from_text("abcdefgh" * 200)
    model = small_model(corpus, cell=cell, hidden_size=16)
    result = Trainer(model, corpus, TrainConfig(epochs=12, batch=4, bptt=16, lr=2e-2)).fit()
    assert result.reason == "epochs"
    assert result.best_valid is not None
    assert result.best_valid < 0.2, "the next letter is certain here; a guess has ln 8 = 2.08"


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "asgd"])
def test_every_optimizer_lowers_the_loss(optimizer: str, corpus: TextCorpus) -> None:
    lr = 0.5 if optimizer in ("sgd", "asgd") else 5e-3
    trainer = Trainer(small_model(corpus), corpus, TrainConfig(epochs=2, batch=8, bptt=20, optimizer=optimizer, lr=lr))
    trainer.fit()
    epochs = [record["valid_loss"] for record in trainer.history if record["event"] == "epoch"]
    assert epochs[-1] < epochs[0] < math.log(len(corpus.vocabulary))


def gradients(model: LanguageModel) -> dict[str, Any]:
    return {name: np.array(parameter.grad.numpy()) for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(("new", "back"), [(5, 5), (1, 4), (2, 5), (3, 7)])
def test_truncated_bptt_is_the_gradient_of_the_window(new: int, back: int, corpus: TextCorpus) -> None:
    """With fixed weights, update i equals: run up to the window without gradient, then go back k2 steps."""
    model = small_model(corpus, dtype="float64").train()
    config = TrainConfig(epochs=1, batch=3, bptt=new, bptt_back=back)
    feed = StreamFeed(corpus, config)
    streams = corpus.streams(batch=3, bptt=new)
    state = None
    for index in range(8):
        model.zero_grad()
        loss, tokens, state = feed.loss(model, 0, index, state)
        loss.backward()
        got = gradients(model)
        stop = (index + 1) * new
        start = max(0, stop - back)
        before = None
        if start > 0:
            before = model.detach(model.features(streams.rows(0, start).inputs)[1])
        model.zero_grad()
        window = streams.rows(start, stop)
        features, _ = model.features(window.inputs, before)
        wanted_loss = model.head_loss(features[-new:], window.targets[-new:])
        wanted_loss.backward()
        assert tokens == new * 3
        assert loss.item() == pytest.approx(wanted_loss.item(), rel=1e-12)
        for name, wanted in gradients(model).items():
            np.testing.assert_allclose(got[name], wanted, rtol=1e-9, atol=1e-12, err_msg=name)


def test_longer_windows_give_other_gradients(corpus: TextCorpus) -> None:
    found = []
    for back in (2, 12):
        model = small_model(corpus, dtype="float64").train()
        feed, state = StreamFeed(corpus, TrainConfig(batch=3, bptt=2, bptt_back=back)), None
        for index in range(8):
            model.zero_grad()
            loss, _, state = feed.loss(model, 0, index, state)
        loss.backward()
        found.append(gradients(model)["rnn.weight_hh_l0"])
    assert np.abs(found[0] - found[1]).max() > 1e-6


def test_state_is_carried_between_chunks(corpus: TextCorpus) -> None:
    model = small_model(corpus)
    feed = StreamFeed(corpus, TrainConfig(batch=2, bptt=5))
    _, _, state = feed.loss(model, 0, 0, None)
    carried, fresh = feed.loss(model, 0, 1, state)[0].item(), feed.loss(model, 0, 1, None)[0].item()
    assert carried != fresh


def test_sentences_are_trained_with_their_lengths() -> None:
    corpus = TextCorpus.from_text("ab\nabcabc\n" * 40)
    model = small_model(corpus, hidden_size=16)
    trainer = Trainer(model, corpus, TrainConfig(epochs=15, batching="sentences", batch=8, bptt=20, lr=2e-2))
    result = trainer.fit()
    assert result.best_valid is not None
    assert trainer.history[-1]["loss"] < 0.5


def test_clipping_limits_the_update_and_is_reported(corpus: TextCorpus) -> None:
    norms: list[float] = []

    class Watch(Callback):
        def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
            norms.append(grad_norm)

    config = TrainConfig(steps=3, batch=8, bptt=20, optimizer="sgd", lr=1.0, clip_norm=1e-3, log_every=1)
    model = small_model(corpus)
    before = {name: np.array(value.numpy()) for name, value in model.state_dict().items()}
    trainer = Trainer(model, corpus, config, callbacks=[Watch()])
    result = trainer.fit()
    moved = math.sqrt(
        sum(float(((value.numpy() - before[name]) ** 2).sum()) for name, value in model.state_dict().items())
    )
    assert min(norms) > 1e-3, "the norm is the one before clipping"
    assert moved <= 3 * 1e-3 * 1.001
    assert result.clipped == 1.0
    assert trainer.history[0]["clipped"] == 1.0


def test_clipping_by_value(corpus: TextCorpus) -> None:
    config = TrainConfig(steps=1, batch=8, bptt=20, optimizer="sgd", lr=1.0, clip_norm=0.0, clip_value=1e-4)
    model = small_model(corpus)
    before = {name: np.array(value.numpy()) for name, value in model.state_dict().items()}
    Trainer(model, corpus, config).fit()
    moved = max(float(np.abs(value.numpy() - before[name]).max()) for name, value in model.state_dict().items())
    assert moved == pytest.approx(1e-4, rel=1e-2)


def rates(schedule: str, steps: int, **options: Any) -> list[float]:
    from rnncore import Tensor

    config = TrainConfig(epochs=4, lr=1.0, schedule=schedule, **options)
    optimizer = optim.SGD([Tensor([1.0], requires_grad=True)], lr=1.0)
    made = make_schedule(config, optimizer, steps_per_epoch=2, total_steps=8)
    found = []
    for _ in range(steps):
        found.append(optimizer.lr)
        made.step(1.0) if schedule == "plateau" else made.step()
    return found


def test_schedules() -> None:
    assert rates("constant", 4) == [1.0] * 4
    assert rates("step", 6) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert rates("step", 8, decay_after=1) == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert rates("exponential", 5) == pytest.approx([1.0, 0.5**0.5, 0.5, 0.5**1.5, 0.25])
    assert rates("cosine", 9) == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(9)])
    assert rates("constant", 5, warmup_steps=4) == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates("plateau", 3) == [1.0, 1.0, 0.5]


def test_early_stopping_keeps_the_best_model(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(some_text(3000))
    config = TrainConfig(epochs=60, batch=8, bptt=20, lr=3e-2, patience=2)
    trainer = start_run(tmp_path / "run", tmp_path / "text", config, hidden_size=48)
    result = trainer.fit()
    assert result.reason == "early stopping"
    assert result.epochs == result.best_epoch + 2 < 60
    valid = [record["valid_loss"] for record in trainer.history if record["event"] == "epoch"]
    assert result.best_valid == min(valid) == valid[result.best_epoch - 1]
    best = LanguageModel.load(tmp_path / "run" / "model.safetensors")
    total, count = best.score(trainer.task.corpus.valid, batch=config.eval_batch)
    assert total / count == result.best_valid


def test_the_log_has_what_it_promises(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(some_text())
    config = TrainConfig(epochs=2, batch=8, bptt=20, log_every=7)
    start_run(tmp_path / "run", tmp_path / "text", config).fit()
    records = read_log(tmp_path / "run" / "log.jsonl")
    steps = [record for record in records if record["event"] == "step"]
    wanted = {"step", "epoch", "loss", "perplexity", "grad_norm", "clipped", "lr", "tokens_per_second", "time"}
    assert all(wanted <= set(record) for record in steps)
    assert [record["step"] for record in steps][:4] == [7, 14, 21, 28]
    assert all(record["perplexity"] == pytest.approx(math.exp(record["loss"])) for record in steps)
    epochs = [record for record in records if record["event"] == "epoch"]
    assert [record["epoch"] for record in epochs] == [1, 2]
    assert all("valid_loss" in record for record in epochs)


def test_equal_runs_write_equal_files(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(some_text())
    config = TrainConfig(epochs=2, batch=8, bptt=20)
    for name in ("one", "two"):
        start_run(tmp_path / name, tmp_path / "text", config, dropout=0.2, num_layers=2).fit()
    one, two = (tmp_path / name / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert log_without_times(tmp_path / "one") == log_without_times(tmp_path / "two")


def test_minutes_are_a_limit_like_others(tmp_path: Path) -> None:
    """They end a run as a matter of course; going on gives the run that never stopped."""
    (tmp_path / "text").write_text(some_text())
    whole = start_run(tmp_path / "whole", tmp_path / "text", TrainConfig(steps=9, batch=8, bptt=20), dropout=0.2)
    whole.fit()
    short = TrainConfig(minutes=1e-9, batch=8, bptt=20)
    assert short.epochs is None
    trainer = start_run(tmp_path / "run", tmp_path / "text", short, dropout=0.2)
    result = trainer.fit()
    assert (result.reason, result.steps, trainer.total_steps) == ("minutes", 1, None)
    assert trainer.history[-1]["event"] == "epoch"
    assert Trainer.resume(tmp_path / "run").progress.finished == "minutes"
    resumed = Trainer.resume(tmp_path / "run", steps=9)
    assert resumed.fit().reason == "steps"
    for name, value in whole.model.state_dict().items():
        assert value.numpy().tobytes() == resumed.model.state_dict()[name].numpy().tobytes(), name
    assert Trainer.resume(tmp_path / "run", minutes=1e9).progress.finished == ""


def test_callbacks_can_stop_a_run(corpus: TextCorpus) -> None:
    class Enough(Callback):
        def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
            if trainer.progress.step == 5:
                trainer.stop("enough")

    result = Trainer(small_model(corpus), corpus, TrainConfig(epochs=5, batch=8, bptt=20), callbacks=[Enough()]).fit()
    assert (result.reason, result.steps) == ("enough", 5)


class Poison(Callback):
    """Puts a NaN into a parameter after an update."""

    def __init__(self, step: int, name: str) -> None:
        self.step, self.name = step, name

    def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
        if trainer.progress.step == self.step:
            parameter = dict(trainer.model.named_parameters())[self.name].detach()
            values = np.array(parameter.numpy())
            values.flat[0] = math.nan
            parameter.copy_(values)


@pytest.mark.parametrize("name", ["rnn.weight_hh_l0", "head.bias"])
def test_nan_is_found_at_the_step_and_the_checkpoint_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / "text").write_text(some_text())
    config = TrainConfig(epochs=2, batch=8, bptt=20, checkpoint_steps=5)
    trainer = start_run(tmp_path / "run", tmp_path / "text", config, callbacks=(Poison(7, name),))
    with pytest.raises(TrainingDivergedError) as caught:
        trainer.fit()
    assert "step 8" in str(caught.value)
    assert name in str(caught.value)
    assert str(tmp_path / "run" / "checkpoint.safetensors") in str(caught.value)
    again = Trainer.resume(tmp_path / "run")
    assert again.progress.step == 5
    assert again.fit().reason == "epochs"


def test_a_nan_that_only_the_checkpoint_sees_is_not_saved(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(some_text())
    config = TrainConfig(epochs=2, batch=8, bptt=20, checkpoint_steps=5)
    trainer = start_run(tmp_path / "run", tmp_path / "text", config, callbacks=(Poison(10, "head.bias"),))
    with pytest.raises(TrainingDivergedError, match=r"head\.bias"):
        trainer.fit()
    assert Trainer.resume(tmp_path / "run").progress.step == 5


@pytest.mark.parametrize("steps", [1, 50])
@pytest.mark.parametrize("cell", ["rnn-relu", "rnn-tanh", "lstm"])  # the last two saturate: huge, but finite
def test_a_learning_rate_that_blows_up(tmp_path: Path, cell: str, steps: int) -> None:
    (tmp_path / "text").write_text(some_text())
    config = TrainConfig(steps=steps, batch=8, bptt=20, optimizer="sgd", lr=1e30, clip_norm=0.0)
    trainer = start_run(tmp_path / "run", tmp_path / "text", config, cell=cell)
    with pytest.raises(TrainingDivergedError, match=r"step \d+, \w+\.\w+: .*learning rate"):
        trainer.fit()
    assert Trainer.resume(tmp_path / "run").progress.step == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"lr": -1.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"lr": math.inf}, "lr"),
        ({"batch": 0}, "batch"),
        ({"bptt": -1}, "bptt"),
        ({"bptt": 10, "bptt_back": 5}, "bptt_back"),
        ({"epochs": 0}, "epochs"),
        ({"steps": 0}, "steps"),
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"optimizer": "sdg"}, "sgd | adam | adamw | rmsprop | asgd | nt-asgd, got 'sdg'"),
        ({"schedule": "cos"}, "constant | step | exponential | cosine | plateau"),
        ({"schedule": "plateau", "warmup_steps": 3}, "schedule"),
        ({"seed": -1}, "seed"),
        ({"minutes": 0.0}, "minutes: expected a positive number"),
        ({"minutes": 5.0, "schedule": "cosine"}, "epochs or steps beside cosine"),
        ({"batching": "x"}, "batching"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=r"\[train\]") as caught:
        TrainConfig(**options)
    assert name in str(caught.value)


def test_tensorboard_is_an_extra(tmp_path: Path, corpus: TextCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'rnncore\[tensorboard\]'"):
        TensorBoard(tmp_path)
    written: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None: ...

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append(("closed", 0.0, 0))

    fake = types.ModuleType("tensorboardX")
    fake.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    config = TrainConfig(steps=4, batch=8, bptt=20, log_every=2)
    Trainer(small_model(corpus), corpus, config, callbacks=[TensorBoard(tmp_path)]).fit()
    names = {name for name, _, _ in written}
    assert {"train/loss", "train/lr", "epoch/valid_loss", "closed"} <= names
    assert {step for name, _, step in written if name == "train/loss"} == {2, 4}


def test_a_second_fit_goes_on_in_the_log(corpus: TextCorpus, tmp_path: Path) -> None:
    class StopOnce(Callback):
        def on_step(self, trainer: Trainer, nats: float, norm: float) -> None:
            trainer._request.requested = trainer.progress.step == 3  # as Ctrl-C does

    config = TrainConfig(epochs=1, batch=8, bptt=20, log_every=1)
    run = RunFolder.create(tmp_path / "run")
    trainer = Trainer(small_model(corpus), corpus, config, run=run, callbacks=[StopOnce()])
    assert trainer.fit().interrupted
    assert not trainer.fit().interrupted
    steps = [record["step"] for record in read_log(run.log) if record["event"] == "step"]
    assert steps == list(range(1, trainer.progress.step + 1))


def test_a_validation_that_is_not_finite_is_divergence(
    corpus: TextCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(small_model(corpus), corpus, TrainConfig(epochs=1, batch=8, bptt=20))
    monkeypatch.setattr(trainer.model, "score", lambda *_, **__: (math.nan, 1))
    with pytest.raises(TrainingDivergedError, match="validation"):
        trainer.fit()
