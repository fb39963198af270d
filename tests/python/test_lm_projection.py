"""The linear layer between the stack and the softmax: PyTorch's numbers and gradients, files, streams, samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import small_model, some_text
from test_cli import inside

from rnncore import Generator, _core
from rnncore.data import TextCorpus, Vocabulary
from rnncore.generate import beam_search, generate
from rnncore.models import LanguageModel
from rnncore.models.files import file_parameters
from rnncore.train import TrainConfig, Trainer

WORDS = Vocabulary.build("a b c d\na b c\na b\ne f", level="word")
SOFTMAXES: dict[str, dict[str, Any]] = {
    "full": {},
    "tied": {"softmax": "full", "tie_weights": True, "embedding_size": 4},
    "adaptive": {"cutoffs": [2, 4], "div_value": 2.0},
    "class": {"cutoffs": [0, 1, 4]},
    "nce": {"samples": 8},
}


def model_of(kind: str, dtype: str = "float32") -> LanguageModel:
    options = {"softmax": kind, "hidden_size": 6, "num_layers": 2, "projection_size": 4, **SOFTMAXES[kind]}
    return LanguageModel(vocabulary=WORDS, dtype=dtype, generator=Generator(3), **options)


@pytest.mark.parametrize("tied", [False, True])
def test_loss_and_gradients_are_pytorchs(tied: bool) -> None:
    torch = pytest.importorskip("torch")
    sizes: dict[str, Any] = {"embedding_size": 5 if tied else 3, "hidden_size": 7, "projection_size": 5}
    model = LanguageModel(11, num_layers=2, tie_weights=tied, dtype="float64", generator=Generator(2), **sizes)
    values = {name: torch.tensor(value.numpy()) for name, value in model.state_dict().items()}
    rnn = torch.nn.LSTM(sizes["embedding_size"], 7, 2, dtype=torch.float64)
    rnn.load_state_dict({name.removeprefix("rnn."): v for name, v in values.items() if name.startswith("rnn.")})
    rest = {name: v.requires_grad_() for name, v in values.items() if not name.startswith("rnn.")}
    if tied:
        rest["head.weight"] = rest["embedding.weight"]
    rng = np.random.default_rng(1)
    ids, targets = rng.integers(0, 11, (6, 3)), rng.integers(0, 11, (6, 3))
    hidden = rnn(torch.nn.functional.embedding(torch.tensor(ids), rest["embedding.weight"]))[0]
    logits = hidden @ rest["projection.weight"].T @ rest["head.weight"].T + rest["head.bias"]
    wanted = torch.nn.functional.cross_entropy(logits.reshape(-1, 11), torch.tensor(targets).reshape(-1))
    wanted.backward()
    loss, _ = model.loss(ids, targets)
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    np.testing.assert_allclose(model(ids)[0].numpy(), logits.detach().numpy(), rtol=1e-10, atol=1e-13)
    theirs = {**{f"rnn.{name}": p for name, p in rnn.named_parameters()}, **rest}
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            parameter.grad.numpy(), theirs[name].grad.numpy(), rtol=1e-9, atol=1e-13, err_msg=name
        )


@pytest.mark.parametrize("kind", SOFTMAXES)
def test_files_streams_and_the_engine_have_the_same_bits(kind: str, tmp_path: Path) -> None:
    model = model_of(kind)
    model.save(tmp_path / "model.safetensors")
    loaded = LanguageModel.load(tmp_path / "model.safetensors")
    assert loaded.config.projection_size == 4
    assert loaded.describe()["projection"] == "4"
    ids = np.array([[1, 2, 0], [3, 3, 5], [4, 7, 6]])
    with model.evaluating(), loaded.evaluating():
        whole = model(ids)[0].numpy()
        np.testing.assert_array_equal(loaded(ids)[0].numpy(), whole)
    stream = _core.ModelStream(model.spec(), file_parameters(model), 3)
    for t in range(3):
        stream.step(ids[t])
        np.testing.assert_array_equal(stream.logits.numpy(), whole[t])
    engine = _core.Model.load(tmp_path / "model.safetensors")  # as a C++ program reads it
    np.testing.assert_array_equal(engine.forward(ids=ids).numpy(), whole)
    assert set(engine.spec.draw(Generator(1))) == set(file_parameters(model))
    assert generate(loaded, "a", length=5, seed=1) == generate(model, "a", length=5, seed=1)
    assert beam_search(model, "a", length=3, beams=2).tokens
    assert model.score(np.arange(8))[0] == pytest.approx(model.score(np.arange(8), chunk=3)[0], rel=1e-6)


@pytest.mark.parametrize("kind", SOFTMAXES)
def test_training_moves_the_projection_and_lowers_the_loss(kind: str) -> None:
    corpus = TextCorpus.from_text("a b c d\na b c\na b\ne f\n" * 40, level="word")
    options = {"softmax": kind, "hidden_size": 12, "num_layers": 1, "projection_size": 4, **SOFTMAXES[kind]}
    model = LanguageModel(vocabulary=corpus.vocabulary, generator=Generator(1), **options)
    before = np.array(model.state_dict()["projection.weight"].numpy())
    trainer = Trainer(model, corpus, TrainConfig(epochs=4, batch=4, bptt=10, lr=2e-2))
    trainer.fit()
    valid = [record["valid_loss"] for record in trainer.history if record["event"] == "epoch"]
    assert valid[-1] < valid[0] - 0.1
    assert np.abs(model.state_dict()["projection.weight"].numpy() - before).max() > 0.01


def test_another_framework_gets_the_projection_too() -> None:
    torch = pytest.importorskip("torch")
    from rnncore import convert

    model = small_model(TextCorpus.from_text(some_text(300)), projection_size=5).eval()
    ids = np.arange(6).reshape(3, 2)
    convert.verify(convert.to_torch(model)(torch.from_numpy(ids)), model(ids)[0])


def test_the_command_line_has_it(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(some_text(2000))
    inside(
        "train", "lm", "--text", tmp_path / "text.txt", "--out", tmp_path / "run", "--hidden", "12", "--layers", "1",
        "--batch", "8", "--bptt", "20", "--projection", "5", "--minutes", "0.0001",
    )  # fmt: skip
    assert LanguageModel.load(tmp_path / "run" / "model.safetensors").config.projection_size == 5
    inside("eval", tmp_path / "run", "--text", tmp_path / "text.txt")
    inside("sample", tmp_path / "run", "--length", "5")
