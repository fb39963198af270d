"""Output layers for large vocabularies: distributions, PyTorch's numbers and gradients, files, streams, samples."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import some_text

from rnncore import Generator, Tensor, _core, nn, no_grad
from rnncore.data import TextCorpus, Vocabulary
from rnncore.generate import beam_search, generate
from rnncore.metrics import evaluate
from rnncore.models import LanguageModel
from rnncore.models.files import file_parameters
from rnncore.nn import vocabularies
from rnncore.train import TrainConfig, Trainer

R, H, V, CUTOFFS = 23, 12, 50, (5, 11, 30)


def features(dtype: str = "float64") -> Tensor:
    x = np.random.default_rng(1).normal(size=(R, H))
    return Tensor(x, dtype=dtype, requires_grad=True)


def targets() -> np.ndarray[Any, Any]:
    ids = np.random.default_rng(2).integers(0, V, R)
    ids[:8] = [0, 4, 5, 10, 11, 29, 30, 49]  # both ends of the shortlist and of every cluster
    return ids


def layers(dtype: str = "float64") -> list[Any]:
    options: dict[str, Any] = {"dtype": dtype, "generator": Generator(3)}
    return [
        nn.AdaptiveLogSoftmaxWithLoss(H, V, CUTOFFS, div_value=2.0, **options),
        nn.AdaptiveLogSoftmaxWithLoss(H, V, CUTOFFS, div_value=4.0, head_bias=True, **options),
        nn.ClassSoftmax(H, V, **options),
        nn.ClassSoftmax(H, V, [0, 1, 20], **options),
        nn.ClassSoftmax(H, V, CUTOFFS, **options),
    ]


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: layer.extra_repr())
def test_clusters_are_a_distribution_and_the_loss_is_its_chain_rule(layer: Any) -> None:
    x, ids = features(), targets()
    logs = layer.log_prob(x).numpy()
    np.testing.assert_allclose(np.exp(logs).sum(1), 1.0, rtol=1e-12)
    wanted = logs[np.arange(R), ids]
    output, loss = layer(x, ids)
    np.testing.assert_allclose(output.numpy(), wanted, rtol=1e-12)
    assert loss.item() == pytest.approx(-wanted.mean(), rel=1e-12)
    ids[3] = -100
    kept = np.arange(R) != 3
    assert layer.loss(x, ids).item() == pytest.approx(-wanted[kept].mean(), rel=1e-12)
    assert layer.loss(x, ids, reduction="sum").item() == pytest.approx(-wanted[kept].sum(), rel=1e-12)
    np.testing.assert_array_equal(layer.predict(x).numpy(), logs.argmax(1))


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: layer.extra_repr())
def test_gradients_of_the_loss_are_those_of_the_distribution(layer: Any) -> None:
    """Two ways on the tape: the fused blocks of each cluster's rows, and the whole matrix of log-probabilities."""
    ids, found = targets(), []
    for way in ("loss", "log_prob"):
        x = features()
        layer.zero_grad()
        (layer.loss(x, ids) if way == "loss" else nn.functional.nll_loss(layer.log_prob(x), ids)).backward()
        found.append([x.grad.numpy(), *[parameter.grad.numpy() for parameter in layer.parameters()]])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-13)
    values = features().numpy().copy()
    for place in [(0, 0), (7, 3), (22, 11)]:  # and central differences
        moved = []
        for step in (1e-5, -1e-5):
            values[place] += step
            with no_grad():
                moved.append(layer.loss(Tensor(values), ids).item())
            values[place] -= step
        assert found[0][0][place] == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("head_bias", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adaptive_softmax_is_pytorchs(head_bias: bool, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(
        H, V, list(CUTOFFS), div_value=2.0, head_bias=head_bias, dtype=getattr(torch, dtype)
    )
    ours = nn.AdaptiveLogSoftmaxWithLoss(H, V, CUTOFFS, div_value=2.0, head_bias=head_bias, dtype=dtype)
    ours.load_state_dict({name: value.detach().numpy() for name, value in theirs.state_dict().items()})
    x, ids = features(dtype), targets()
    their_x = torch.tensor(x.numpy(), requires_grad=True)
    output, loss = ours(x, ids)
    their_output, their_loss = theirs(their_x, torch.tensor(ids))
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]  # of rounding, in another order
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(output.numpy(), their_output.detach().numpy(), **close)
    np.testing.assert_allclose(ours.log_prob(x).numpy(), theirs.log_prob(their_x).detach().numpy(), **close)
    assert loss.item() == pytest.approx(their_loss.item(), rel=tolerance)
    loss.backward()
    their_loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), their_x.grad.numpy(), **close)
    wanted = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), wanted[name].grad.numpy(), **close, err_msg=name)


def test_with_all_words_as_samples_the_sampled_softmax_is_the_full_one() -> None:
    found = []
    for sampled in (True, False):
        x, ids = features(), targets()
        ids[3] = -100
        head = nn.Linear(H, V, dtype="float64", generator=Generator(3))
        if sampled:
            loss = vocabularies.sampled_softmax_loss(x, head.weight, head.bias, ids, np.arange(V))
        else:
            loss = nn.functional.linear_cross_entropy(x, head.weight, head.bias, ids)
        loss.backward()
        found.append([loss.numpy(), x.grad.numpy(), head.weight.grad.numpy(), head.bias.grad.numpy()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-14)


def test_noise_contrastive_estimation_is_its_equation() -> None:
    x, ids = features(), targets()
    head = nn.Linear(H, V, dtype="float64", generator=Generator(3))
    samples = np.array([1, 7, 7, 40])
    log_q = vocabularies.log_uniform_log_prob(np.arange(V), V) + math.log(len(samples))
    loss = vocabularies.nce_loss(x, head.weight, head.bias, ids, samples, log_q[samples], log_q[ids])
    scores = x.numpy() @ head.weight.numpy().T + head.bias.numpy() - log_q
    sigmoid = 1.0 / (1.0 + np.exp(-scores))
    wanted = -np.log(sigmoid[np.arange(R), ids]) - np.log(1.0 - sigmoid[:, samples]).sum(1)
    assert loss.item() == pytest.approx(wanted.mean(), rel=1e-10)
    loss.backward()
    delta = np.zeros((R, V))
    delta[np.arange(R), ids] = sigmoid[np.arange(R), ids] - 1.0
    for sample in samples:
        delta[:, sample] += sigmoid[:, sample]
    np.testing.assert_allclose(head.weight.grad.numpy(), delta.T @ x.numpy() / R, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(x.grad.numpy(), delta @ head.weight.numpy() / R, rtol=1e-9, atol=1e-14)


def test_noise_follows_its_distribution() -> None:
    ids = vocabularies.log_uniform(Generator(1), 20, 200_000)
    share = np.bincount(ids, minlength=20) / len(ids)
    wanted = np.exp(vocabularies.log_uniform_log_prob(np.arange(20), 20))
    assert wanted.sum() == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(share, wanted, atol=4 * math.sqrt(0.25 / len(ids)))


KINDS: dict[str, dict[str, Any]] = {
    "adaptive": {"softmax": "adaptive", "cutoffs": [2, 4], "div_value": 2.0},
    "adaptive, tied": {"softmax": "adaptive", "cutoffs": [2, 4], "tie_weights": True, "embedding_range": 0.1},
    "class": {"softmax": "class", "cutoffs": [0, 1, 4]},
    "class, tied": {"softmax": "class", "cutoffs": [0, 1, 4], "tie_weights": True, "embedding_range": 0.1},
    "sampled": {"softmax": "sampled", "samples": 8},
    "nce": {"softmax": "nce", "samples": 8},
}


def word_model(kind: str, dtype: str = "float32") -> LanguageModel:
    vocabulary = Vocabulary.build("a b c d\na b c\na b\ne f", level="word")
    options: dict[str, Any] = {"hidden_size": 6, "num_layers": 2, "dtype": dtype, "generator": Generator(3)}
    return LanguageModel(vocabulary=vocabulary, **KINDS[kind], **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_a_distribution_over_texts(kind: str) -> None:
    model = word_model(kind, "float64")
    ids = range(len(model.require_vocabulary()))
    start = model.require_vocabulary().end_id
    total = sum(math.exp(-model.score(np.array([start, *text]))[0]) for text in itertools.product(ids, repeat=3))
    assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_models_are_saved_and_their_streams_have_the_same_bits(kind: str, tmp_path: Path) -> None:
    model = word_model(kind)
    model.save(tmp_path / "model.safetensors")
    loaded = LanguageModel.load(tmp_path / "model.safetensors")
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


@pytest.mark.parametrize("kind", ["adaptive", "class"])
def test_tied_clusters_take_their_words_from_the_embedding(kind: str) -> None:
    """Against the equations, written out: log P(w), and gradients by central differences of the one matrix."""
    model = word_model(f"{kind}, tied", "float64")
    ids, wanted = np.array([[1, 2], [3, 7]]), np.array([[2, 3], [5, 1]])
    assert [name for name, _ in model.named_parameters() if "words" in name] == ["head.words.bias"]
    table, state = model.embedding.weight, model.state_dict()
    bias, head, head_bias = (state[f"head.{name}"].numpy() for name in ("words.bias", "head.weight", "head.bias"))
    cuts, words = [*model.config.cutoffs, len(table)], table.numpy()
    first = cuts[0]

    def log_softmax(x: Any) -> Any:
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    x = model.features(ids)[0].numpy()
    shared = np.concatenate([x @ words[:first].T + bias[:first], x @ head.T + head_bias], -1)
    parts = [log_softmax(shared)[..., :first]]
    for i, (start, stop) in enumerate(itertools.pairwise(cuts)):
        inner = log_softmax(x @ words[start:stop].T + bias[start:stop])
        parts.append(inner + log_softmax(shared)[..., first + i : first + i + 1])
    logs = np.concatenate(parts, -1)
    np.testing.assert_allclose(model(ids)[0].numpy(), logs, rtol=1e-11)
    loss = model.loss(ids, wanted)[0]
    picked = np.take_along_axis(logs, wanted[..., None], -1)
    assert loss.item() == pytest.approx(-picked.mean(), rel=1e-11)
    loss.backward()
    found, values = table.grad.numpy().copy(), words.copy()
    for place in [(2, 2), (3, 5), (5, 1), (7, 0), (0, 3), (6, 4)]:  # read and predicted, one of them, neither
        moved = []
        for step in (1e-5, -1e-5):
            values[place] += step
            with no_grad():
                table.copy_(Tensor(values))
                moved.append(model.loss(ids, wanted)[0].item())
            values[place] -= step
        assert found[place] == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_exact_loss_and_repeats(kind: str) -> None:
    corpus = TextCorpus.from_text(some_text(9000), level="word")
    options = {} if kind in ("sampled", "nce") else {"cutoffs": None}
    epochs = 6 if "tied" in kind else 3  # two roles of one matrix

    def trainer() -> Trainer:
        chosen = {**KINDS[kind], **options, "hidden_size": 12, "num_layers": 1}
        model = LanguageModel(vocabulary=corpus.vocabulary, generator=Generator(1), **chosen)
        return Trainer(model, corpus, TrainConfig(epochs=epochs, batch=8, bptt=10, lr=1e-2))

    first = trainer()
    before = evaluate(first.model, some_text(9000)).nats
    first.fit()
    after = evaluate(first.model, some_text(9000)).nats
    assert after < before - 0.5
    second = trainer()
    second.fit()
    for name, value in first.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), second.model.state_dict()[name].numpy(), err_msg=name)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"softmax": "huge"}, r"softmax: expected full \| adaptive \| class \| sampled \| nce, got 'huge'"),
        ({"softmax": "adaptive", "cutoffs": [4, 4]}, r"cutoffs: expected rising, from 1 on, below 9, got \[4, 4\]"),
        ({"softmax": "adaptive", "cutoffs": [3, 9]}, r"cutoffs: expected rising, from 1 on, below 9"),
        ({"softmax": "class", "cutoffs": [1, 4]}, r"cutoffs: expected rising, the first 0, below 9"),
        ({"softmax": "full", "cutoffs": [4]}, r"cutoffs: expected none without clusters"),
        (
            {"softmax": "adaptive", "tie_weights": True, "embedding_size": 3},
            r"tie_weights: expected embedding_size = hidden_size = 4, got 3",
        ),
        ({"softmax": "nce", "samples": 0}, r"samples: expected at least 1, got 0"),
        ({"softmax": "adaptive", "div_value": 0.5}, r"div_value: expected 1 or more, got 0.5"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        LanguageModel(9, hidden_size=4, **options)


def test_wrong_shapes_are_named() -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(H, V, CUTOFFS, dtype="float64")
    x = features()
    with pytest.raises(ValueError, match=r"head_weight: expected shape \(8, 13\), got \(8, 12\)"):
        layer.log_prob(Tensor(np.zeros((2, H + 1))))
    with pytest.raises(ValueError, match=r"targets\[1\]"):
        layer.loss(x, np.full(R, V)[:R] * (np.arange(R) == 1))
    with pytest.raises(ValueError, match=r"\[clustered_cross_entropy\] reduction: .* got none; use nll_loss"):
        layer.loss(x, targets(), reduction="none")
