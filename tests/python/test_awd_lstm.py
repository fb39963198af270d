"""AWD-LSTM (Merity et al. 2018): its dropouts and penalties against PyTorch, its chunks, its averaged descent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import small_model, some_text, start_run
from test_cli import inside

import rnncore
from rnncore import Generator, Tensor, _core, optim
from rnncore.data import TextCorpus
from rnncore.generate import beam_search, generate
from rnncore.models import LanguageModel
from rnncore.models.files import file_parameters
from rnncore.nn import functional as F
from rnncore.train import Callback, Checkpoint, TrainConfig, Trainer, read_log
from rnncore.train.feeds import VaryingFeed
from rnncore.train.recipes import recipe

V, E, H, T, N = 13, 5, 7, 9, 4
AWD: dict[str, Any] = {
    "embedding_size": E, "hidden_size": H, "num_layers": 3, "narrow_last": True, "tie_weights": True,
    "variational": True, "input_dropout": 0.4, "dropout": 0.3, "output_dropout": 0.2, "embedding_dropout": 0.1,
    "weight_drop": 0.5, "activation_penalty": 2.0, "temporal_penalty": 1.0, "embedding_range": 0.1,
}  # fmt: skip


def awd_model(seed: int = 2, **options: Any) -> LanguageModel:
    return LanguageModel(V, generator=Generator(seed), **{**AWD, "dtype": "float64", **options})


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, V, (T, N)), rng.integers(0, V, (T, N))


def test_the_whole_model_is_pytorchs_with_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, penalties and all gradients of an LSTM 7 + 5 whose masks are recorded and given to PyTorch.

    The engine draws masks of its own between the layers and on the recurrent weights (test_wiring has those);
    here they are off, and what the model adds is on: embedding, input, output, AR, TAR, tied and narrow last layer.
    """
    torch = pytest.importorskip("torch")
    model = awd_model(num_layers=2, dropout=0.0, weight_drop=0.0, input_dropout=0.0).train()
    masks: list[np.ndarray] = []
    drawn = F._dropout

    def recording(input: Tensor, *rest: Any) -> Tensor:
        result = drawn(input, *rest)
        masks.append(np.array(result.numpy()))  # of ones: the mask itself
        return result

    monkeypatch.setattr(F, "_dropout", recording)
    ids, targets = batch()
    loss, _ = model.loss(ids, targets)
    penalty = model.take_penalty()
    (loss + penalty).backward()
    assert [mask.shape for mask in masks] == [(V, 1), (1, N, E)]
    for mask, p in zip(masks, (0.1, 0.2), strict=True):
        np.testing.assert_allclose(mask[mask != 0], 1 / (1 - p), rtol=1e-15)

    theirs = {name: torch.tensor(value.numpy()).requires_grad_() for name, value in model.named_parameters()}
    table, locked = (torch.tensor(mask) for mask in masks)
    x = torch.nn.functional.embedding(torch.tensor(ids), theirs["embedding.weight"] * table)
    for layer in range(2):
        names = [f"rnn.{part}_l{layer}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        size = (H, E)[layer]
        zero = torch.zeros(1, N, size, dtype=torch.float64)
        x = torch.lstm(x, (zero, zero), [theirs[name] for name in names], True, 1, 0.0, True, False, False)[0]
    dropped = x * locked
    logits = dropped @ theirs["embedding.weight"].T + theirs["head.bias"]
    wanted = torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(targets).reshape(-1))
    theirs_penalty = 2.0 * dropped.pow(2).mean() + 1.0 * (x[1:] - x[:-1]).pow(2).mean()
    (wanted + theirs_penalty).backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert penalty is not None
    assert penalty.item() == pytest.approx(theirs_penalty.item(), rel=1e-12)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            parameter.grad.numpy(), theirs[name].grad.numpy(), rtol=1e-9, atol=1e-14, err_msg=name
        )


def test_each_dropout_acts_where_it_says() -> None:
    """One at a time, by what it leaves of a stack that copies (an identity network): zeros in the right places."""
    ids, _ = batch()
    off = dict.fromkeys(("input_dropout", "dropout", "output_dropout", "embedding_dropout", "weight_drop"), 0.0)
    plain = awd_model(**{**off, "variational": False}).train()
    wanted = plain.features(ids)[0].numpy()
    for name in off:
        options = {**off, name: 0.5, "variational": name in ("input_dropout", "dropout", "output_dropout")}
        model = awd_model(**options).train()
        one, two = (model.features(ids)[0].numpy() for _ in range(2))
        assert np.abs(one - two).max() > 1e-4, f"{name} draws anew in each call"
        with model.evaluating():
            np.testing.assert_array_equal(model.features(ids)[0].numpy(), wanted)
        if name == "output_dropout":  # one mask for all steps
            zeros = one == 0
            assert 0.2 < zeros.mean() < 0.8
            assert (zeros == zeros[:1]).all()


def test_rates_apart_without_variational_are_drawn_for_each_step() -> None:
    model = awd_model(variational=False, embedding_dropout=0.0, weight_drop=0.0, dropout=0.0, input_dropout=0.0).train()
    zeros = model.features(batch()[0])[0].numpy() == 0
    assert 0.05 < zeros.mean() < 0.4
    assert not (zeros == zeros[:1]).all()


def test_files_streams_and_the_engine_have_the_same_bits(tmp_path: Path) -> None:
    corpus = TextCorpus.from_text(some_text(800))
    model = LanguageModel(vocabulary=corpus.vocabulary, generator=Generator(3), **AWD)
    model.save(tmp_path / "model.safetensors")
    loaded = LanguageModel.load(tmp_path / "model.safetensors")
    for name in ("narrow_last", "input_dropout", "output_dropout", "dropout", "variational", "weight_drop"):
        assert getattr(loaded.config, name) == getattr(model.config, name), name
    assert loaded.describe()["cell"] == "lstm, 2 x 7 + 5, dropout 0.4/0.3/0.2"
    ids = np.array([[1, 2, 0], [3, 3, 5], [4, 7, 6]])
    with model.evaluating(), loaded.evaluating():
        whole, state = model(ids)
        np.testing.assert_array_equal(loaded(ids)[0].numpy(), whole.numpy())
    model.check_state(state, 3)
    assert [part.shape for part in state] == [(1, 3, 7), (1, 3, 7), (1, 3, 5)] * 2
    stream = _core.ModelStream(model.spec(), file_parameters(model), 3)
    for t in range(3):
        stream.step(ids[t])
        np.testing.assert_array_equal(stream.logits.numpy(), whole.numpy()[t])
    engine = _core.Model.load(tmp_path / "model.safetensors")  # as a C++ program reads it
    np.testing.assert_array_equal(engine.forward(ids=ids).numpy(), whole.numpy())
    assert set(engine.spec.draw(Generator(1))) == set(file_parameters(model))
    assert generate(loaded, "F", length=5, seed=1) == generate(model, "F", length=5, seed=1)
    assert beam_search(model, "Fi", length=3, beams=2).tokens
    tokens = corpus.train[:101]
    assert model.score(tokens, chunk=7)[0] == pytest.approx(model.score(tokens)[0], rel=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn-tanh"])
@pytest.mark.parametrize("rates", [{}, {"input_dropout": 0.1}, {"output_dropout": 0.0, "variational": False}])
def test_dropouts_survive_the_file(cell: str, rates: dict[str, Any], tmp_path: Path) -> None:
    options = {**AWD, "cell": cell, "num_layers": 2, "input_dropout": None, "output_dropout": None, **rates}
    model = LanguageModel(V, generator=Generator(3), **options)
    model.save(tmp_path / "m")
    loaded = LanguageModel.load(tmp_path / "m")
    assert loaded.config.dropouts == model.config.dropouts
    assert loaded.config.variational == model.config.variational
    state = loaded.features(np.zeros((2, 1), np.int64))[1]
    assert loaded.features(np.zeros((2, 1), np.int64), state)[0].shape == (2, 1, E)
    with pytest.raises(ValueError, match="state"):
        loaded.check_state(state[:-1], 1)


def test_the_embedding_starts_as_the_paper_says() -> None:
    model = awd_model()
    bound = np.abs(model.embedding.weight.numpy()).max()
    assert 0.08 < bound <= 0.1
    assert not model.head.bias.numpy().any()
    free = awd_model(tie_weights=False)
    assert 0.08 < np.abs(free.head.weight.numpy()).max() <= 0.1
    with pytest.raises(ValueError, match="init_range: expected no other start values"):
        awd_model(init_range=0.1)


def test_chunks_vary_and_cover_every_epoch() -> None:
    corpus = TextCorpus.from_text("ab" * 20_000)
    config = TrainConfig(batch=4, bptt=40, vary_bptt=True, seed=3)
    feed = VaryingFeed(corpus, config)
    lengths = np.concatenate([np.diff(feed.bounds(epoch)) for epoch in range(6)])
    for epoch in range(6):
        bounds = feed.bounds(epoch)
        assert (bounds[0], len(bounds)) == (0, len(feed) + 1)
        assert bounds[-1] == corpus.streams("train", batch=4, bptt=40).length
    assert lengths.min() >= 1
    usual = lengths[lengths > 29]
    assert usual.mean() == pytest.approx(40, abs=1)
    assert usual.std() == pytest.approx(5, abs=1)
    assert 0.02 < (lengths <= 29).mean() < 0.09
    assert feed.bounds(0).tolist() == VaryingFeed(corpus, config).bounds(0).tolist() != feed.bounds(1).tolist()
    assert config.rate_scale(4 * 60) == 1.5
    assert TrainConfig(batch=4, bptt=40).rate_scale(4 * 60) == 1.0
    for options in ({"batching": "sentences"}, {"bptt_back": 60}, {"bptt": 9}):
        with pytest.raises(ValueError, match="vary_bptt"):
            TrainConfig(**{"bptt": 40, "vary_bptt": True, **options})


def test_the_rate_follows_the_length_of_a_chunk() -> None:
    corpus = TextCorpus.from_text(some_text(3000))
    found: list[tuple[float, float]] = []

    class Watch(Callback):
        def on_start(self, trainer: Trainer) -> None:
            self.before = np.array(trainer.model.head.bias.numpy())

        def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
            now = np.array(trainer.model.head.bias.numpy())
            moved = np.abs(now - self.before).max() / np.abs(trainer.model.head.bias.grad.numpy()).max()
            found.append((float(moved), trainer.optimizer.lr))
            self.before = now

    config = TrainConfig(steps=5, batch=4, bptt=20, vary_bptt=True, optimizer="sgd", lr=0.5, clip_norm=0.0)
    trainer = Trainer(small_model(corpus, dtype="float64"), corpus, config, callbacks=[Watch()])
    trainer.fit()
    lengths = np.diff(trainer.feed.bounds(0))[:5]
    assert len(set(lengths.tolist())) > 1
    np.testing.assert_allclose([moved for moved, _ in found], 0.5 * lengths / 20, rtol=1e-9)
    assert {rate for _, rate in found} == {0.5}, "the rate itself stays"


VALID = (5.0, 4.0, 3.0, 3.5, 2.9, 3.2, 3.1, 3.05, 2.0)


def test_the_trigger_is_naive() -> None:
    """Averaging begins once a validation is worse than the best of those more than n before it."""
    for nonmono in (1, 2, 3):
        optimizer = optim.NTASGD([Tensor([1.0], requires_grad=True)], nonmono=nonmono)
        wanted = next((t for t, v in enumerate(VALID) if t > nonmono and v > min(VALID[: t - nonmono])), None)
        found = [t for t, v in enumerate(VALID) if optimizer.observe(v)]
        assert found == ([] if wanted is None else [wanted])
        assert optimizer.history == list(VALID)
    with pytest.raises(ValueError, match="nonmono: expected at least 1, got 0"):
        optim.NTASGD([Tensor([1.0], requires_grad=True)], nonmono=0)


def quadratic(values: np.ndarray, step: int) -> np.ndarray:
    return np.asarray((1.0 + np.arange(values.size).reshape(values.shape)) * values + np.sin(step))


def descend(optimizer: Any, parameters: list[Any], first: int, last: int, make: Any) -> None:
    for step in range(first, last):
        for parameter in parameters:
            value = parameter.numpy() if isinstance(parameter, Tensor) else parameter.detach().numpy()
            parameter.grad = make(quadratic(value, step))
        optimizer.step()


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_averages_are_pytorchs_asgd_and_the_naive_mean(decay: float) -> None:
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)  # or torch.optim.ASGD rounds its step size to float32
    try:
        compare_averages(torch, decay)
    finally:
        torch.set_default_dtype(torch.float32)


def compare_averages(torch: Any, decay: float) -> None:
    start = [np.linspace(-1, 1, 6).reshape(2, 3), np.ones(4)]
    ours = [rnncore.tensor(value, requires_grad=True) for value in start]
    optimizer = optim.NTASGD(ours, lr=0.1, weight_decay=decay, nonmono=1)
    path: list[np.ndarray] = []
    descend(optimizer, ours, 0, 5, rnncore.tensor)
    for value in (1.0, 2.0, 3.0):
        optimizer.observe(value)
    assert optimizer.triggered_at == 5
    before = np.array(ours[0].numpy())
    with optimizer.averaged():  # there is nothing to average yet
        np.testing.assert_array_equal(ours[0].numpy(), before)
    theirs = [torch.tensor(np.array(value.numpy()), requires_grad=True) for value in ours]
    other = torch.optim.ASGD(theirs, lr=0.1, lambd=0.0, t0=0, weight_decay=decay)
    for step in range(5, 25):
        descend(optimizer, ours, step, step + 1, rnncore.tensor)
        descend(other, theirs, step, step + 1, torch.tensor)
        path.append(np.array(ours[0].numpy()))
    now = [np.array(value.numpy()) for value in ours]
    assert optimizer.step_count == 25
    with optimizer.averaged():
        for value, their in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(value.numpy(), other.state[their]["ax"].numpy(), rtol=1e-12)
        # PyTorch's mean leaves out the first of its updates, which has the weight 1 of the second again
        np.testing.assert_allclose(ours[0].numpy(), np.mean(path[1:], axis=0), rtol=1e-12)
    for value, their, own in zip(ours, theirs, now, strict=True):
        np.testing.assert_array_equal(value.numpy(), own)
        np.testing.assert_allclose(own, their.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("stop", [1, 2, 9])
def test_its_state_resumes_bit_for_bit(stop: int) -> None:
    def make(value: Tensor) -> optim.NTASGD:
        return optim.NTASGD([("w", value)], lr=0.05, nonmono=1)

    valid = [5.0, 4.0, 6.0, 7.0] + [1.0] * 12
    whole = rnncore.tensor(np.linspace(-1, 1, 70), requires_grad=True)
    one = make(whole)
    other, two = whole, one
    for step in range(16):
        descend(one, [whole], step, step + 1, rnncore.tensor)
        if other is not whole:
            descend(two, [other], step, step + 1, rnncore.tensor)
            two.observe(valid[step])
        one.observe(valid[step])
        if step == stop:
            other = rnncore.tensor(np.array(whole.numpy()), requires_grad=True)
            two = make(other)
            two.load_state_dict(one.state_dict())
    assert (one.triggered_at, one.history, one.step_count) == (two.triggered_at, two.history, two.step_count)
    assert one.triggered_at is not None
    for average, again in zip(one.averages().values(), two.averages().values(), strict=True):
        assert average.numpy().tobytes() == again.numpy().tobytes()
    assert whole.numpy().tobytes() == other.numpy().tobytes()
    with pytest.raises(ValueError, match="expected kind 'nt-asgd', got 'sgd'"):
        two.load_state_dict(optim.SGD([whole]).state_dict())


NT = {"batch": 8, "bptt": 20, "optimizer": "nt-asgd", "nonmono": 1, "lr": 40.0, "clip_norm": 0.25}


def test_the_trainer_validates_and_saves_the_averages(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(some_text())
    trainer = start_run(tmp_path / "run", tmp_path / "text", TrainConfig(epochs=9, **NT), tie_weights=True)
    trainer.fit()
    optimizer = trainer.optimizer
    assert isinstance(optimizer, optim.NTASGD)
    events = [record for record in read_log(tmp_path / "run" / "log.jsonl") if record["event"] == "averaging"]
    assert [event["step"] for event in events] == [optimizer.triggered_at], "the log says when averaging began"
    valid = [record["valid_loss"] for record in trainer.history if record["event"] == "epoch"]
    assert optimizer.history == valid
    corpus = trainer.task.corpus
    raw = trainer.model.score(corpus.valid, batch=10)
    with optimizer.averaged():
        averaged = trainer.model.score(corpus.valid, batch=10)
    assert averaged[0] / averaged[1] == valid[-1] != raw[0] / raw[1]
    if trainer.progress.best_epoch == 9:
        saved = LanguageModel.load(tmp_path / "run" / "model.safetensors")
        assert saved.score(corpus.valid, batch=10) == averaged
    state = Checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    for name, value in trainer.model.state_dict().items():
        assert state.parameters[name].numpy().tobytes() == value.numpy().tobytes(), "it goes on from the weights"


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer, dict[str, Any]]:
    """190 updates of a small AWD-LSTM."""
    folder = tmp_path_factory.mktemp("awd")
    (folder / "text").write_text(some_text(4000))
    options = {**AWD, "hidden_size": 12, "num_layers": 2, "input_dropout": 0.1, "dropout": 0.1, "output_dropout": 0.1}
    whole = start_run(folder / "whole", folder / "text", TrainConfig(steps=190, vary_bptt=True, **NT), **options)
    whole.fit()
    return folder, whole, options


@pytest.mark.parametrize("steps", [7, 150])
def test_a_run_stopped_before_or_after_the_trigger_is_the_one_never_stopped(
    steps: int, never_stopped: tuple[Path, Trainer, dict[str, Any]], tmp_path: Path
) -> None:
    """Also where the stop is in the middle of an epoch: its validation is none that the trigger hears of."""
    folder, whole, options = never_stopped
    assert isinstance(whole.optimizer, optim.NTASGD)
    assert whole.optimizer.triggered_at is not None
    assert 7 < whole.optimizer.triggered_at < 150, "stops before and after"
    config = TrainConfig(steps=steps, vary_bptt=True, **NT)
    start_run(tmp_path / "stopped", folder / "text", config, **options).fit()
    resumed = Trainer.resume(tmp_path / "stopped", steps=190)
    resumed.fit()
    assert resumed.optimizer.state_dict()["history"] == whole.optimizer.history
    first, second = (
        Checkpoint.load(run / "checkpoint.safetensors") for run in (folder / "whole", tmp_path / "stopped")
    )
    for mine, other in ((first.parameters, second.parameters), (first.slots, second.slots)):
        assert mine.keys() == other.keys()
        for name in mine:
            assert mine[name].numpy().tobytes() == other[name].numpy().tobytes(), name


def test_averaging_needs_validations() -> None:
    corpus = TextCorpus.from_text("ab" * 400, valid=0.0)
    with pytest.raises(ValueError, match="optimizer: expected a validation text for nt-asgd, got none"):
        Trainer(small_model(corpus), corpus, TrainConfig(**NT))


def test_the_recipe_at_a_size_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("the cat sat\nthe dog sat on it\n" * 300)
    inside(
        "train", "lm", "--recipe", "awd-lstm", "--text", tmp_path / "text", "--out", tmp_path / "run", "--hidden", "14",
        "--embedding", "6", "--batch", "5", "--epochs", "2",
    )  # fmt: skip
    model = LanguageModel.load(tmp_path / "run" / "model.safetensors")
    assert model.config.layer_sizes == [14, 14, 6]
    assert model.config.tie_weights
    assert model.config.dropouts == (0.4, 0.3, 0.4)
    train = model.training_facts["train"]
    assert (train["optimizer"], train["vary_bptt"], train["lr"], train["clip_norm"]) == ("nt-asgd", True, 30.0, 0.25)
    options = recipe("awd-lstm").model
    whole = LanguageModel(10_000, **options)
    assert whole.parameter_count() == pytest.approx(24e6, rel=0.02)  # "24M" in the paper's table 1
    assert math.isfinite(model.score(np.arange(5))[0])
