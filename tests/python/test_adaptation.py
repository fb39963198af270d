"""Dynamic evaluation and the continuous cache against naive references; the model is given back as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import small_model, some_text
from test_cli import inside

from rnncore import Generator, Tensor
from rnncore.adaptation import CacheOptions, DynamicOptions, adapted_score, gradient_mean_squares
from rnncore.cli.app import run
from rnncore.data import TextCorpus, Vocabulary
from rnncore.models import LanguageModel
from rnncore.train import TrainConfig, Trainer

TOKENS = np.random.default_rng(3).integers(0, 9, 38)


def model_of(**options: Any) -> LanguageModel:
    chosen = {"hidden_size": 6, "num_layers": 2, "dtype": "float64", "dropout": 0.4, **options}
    return LanguageModel(9, generator=Generator(4), **chosen)


def weights(model: LanguageModel) -> dict[str, np.ndarray]:
    return {name: np.array(parameter.numpy()) for name, parameter in model.named_parameters()}


def naive_dynamic(model: LanguageModel, options: DynamicOptions, squares: dict[str, np.ndarray]) -> float:
    """The equations in NumPy, on a copy of the model; only the gradient of a segment is the engine's."""
    copy = LanguageModel(**model.to_dict()).eval()
    copy.load_state_dict(model.state_dict())
    start = weights(copy)
    roots = {name: np.sqrt(value) for name, value in squares.items()}
    mean = np.mean(np.concatenate([root.ravel() for root in roots.values()])) if roots else 1.0
    total, state = 0.0, None
    for first in range(0, len(TOKENS) - 1, options.segment):
        last = min(first + options.segment, len(TOKENS) - 1)
        copy.zero_grad()
        loss, state = copy.loss(TOKENS[first:last, None], TOKENS[first + 1 : last + 1, None], state)
        state = copy.detach(state)
        total += loss.item() * (last - first)
        loss.backward()
        for name, parameter in copy.named_parameters():
            value, gradient = parameter.numpy(), parameter.grad.numpy()
            if options.rule == "sgd":
                value = value - options.lr * gradient + options.decay * (start[name] - value)
            else:
                back = np.minimum(options.decay * roots[name] / mean, 1.0)
                value = value - options.lr * gradient / (roots[name] + options.eps) + back * (start[name] - value)
            parameter.detach().copy_(value)
    return total


@pytest.mark.parametrize(
    "options",
    [
        DynamicOptions("sgd", lr=0.5),
        DynamicOptions("sgd", lr=0.5, decay=0.1, segment=7),
        DynamicOptions("rms", lr=0.02, decay=0.05),
        DynamicOptions("rms", lr=0.02, decay=0.9, segment=1),  # clipped at 1
        DynamicOptions("rms", lr=0.02, decay=0.0, eps=1e-2),
    ],
)
@pytest.mark.parametrize(
    "head", [{}, {"tie_weights": True}, {"tie_weights": True, "softmax": "adaptive", "cutoffs": [2, 5]}], ids=str
)
def test_dynamic_evaluation_is_its_equations(options: DynamicOptions, head: dict[str, Any]) -> None:
    model = model_of(**head).train()
    before = weights(model)
    squares = gradient_mean_squares(model, TOKENS, segment=4, batch=2) if options.rule == "rms" else {}
    total, count = adapted_score(model, TOKENS, dynamic=options, mean_squares=squares)
    wanted = naive_dynamic(model, options, {name: value.numpy() for name, value in squares.items()})
    assert count == len(TOKENS) - 1
    assert total == pytest.approx(wanted, rel=1e-10)
    assert abs(total - model.score(TOKENS)[0]) > 1e-3, "it adapts"
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in weights(model).items():
        assert value.tobytes() == before[name].tobytes(), "its own weights are given back"


def test_without_a_rate_it_is_the_static_score() -> None:
    model = model_of()
    for rule in ("sgd", "rms"):
        squares = gradient_mean_squares(model, TOKENS)
        still = DynamicOptions(rule, lr=0.0, decay=0.3)
        total, _ = adapted_score(model, TOKENS, dynamic=still, mean_squares=squares)
        assert total == pytest.approx(model.score(TOKENS)[0], rel=1e-12)


def test_mean_squares_are_those_of_the_gradient() -> None:
    model = model_of(tie_weights=True)
    found = gradient_mean_squares(model, TOKENS, segment=5, batch=3)
    wanted = {name: np.zeros(parameter.shape) for name, parameter in model.named_parameters()}
    streams = np.stack([TOKENS[n * 12 : n * 12 + 12] for n in range(3)], 1)  # 37 targets, 12 a stream
    targets = np.stack([TOKENS[n * 12 + 1 : n * 12 + 13] for n in range(3)], 1)
    state = None
    model.eval()
    for first in (0, 5):
        model.zero_grad()
        loss, state = model.loss(streams[first : first + 5], targets[first : first + 5], state)
        state = model.detach(state)
        loss.backward()
        for name, parameter in model.named_parameters():
            wanted[name] += parameter.grad.numpy() ** 2 / 2
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value.numpy(), wanted[name], rtol=1e-12, err_msg=name)
    assert gradient_mean_squares(model, TOKENS, limit=1).keys() == wanted.keys()


def naive_cache(model: LanguageModel, options: CacheOptions) -> float:
    with model.evaluating():
        features = model.features(TOKENS[:-1, None])[0]
        states, logits = features.numpy()[:, 0], model.logits(features).numpy()[:, 0]
    total = 0.0
    for t in range(len(TOKENS) - 1):
        p_model = np.exp(logits[t]) / np.exp(logits[t]).sum()
        p_cache = np.zeros(9)
        for i in range(max(0, t - options.window), t):
            p_cache[TOKENS[i + 1]] += math.exp(options.theta * float(states[t] @ states[i]))
        p = p_model if t == 0 else (1 - options.weight) * p_model + options.weight * p_cache / p_cache.sum()
        assert p.sum() == pytest.approx(1.0, rel=1e-12)
        total -= math.log(p[TOKENS[t + 1]])
    return total


@pytest.mark.parametrize("window", [1, 5, 500])
@pytest.mark.parametrize("softmax", ["full", "adaptive", "class", "nce"])
def test_the_cache_is_its_equations(window: int, softmax: str) -> None:
    options = {"cutoffs": [2, 5]} if softmax == "adaptive" else {"cutoffs": [0, 3]} if softmax == "class" else {}
    model = model_of(softmax=softmax, projection_size=3, **options).train()
    cache = CacheOptions(window=window, theta=1.7, weight=0.3)
    wanted = naive_cache(model, cache)
    for chunk in (500, 7, 1):  # the cache lives longer than a chunk
        total, count = adapted_score(model, TOKENS, cache=cache, chunk=chunk)
        assert total == pytest.approx(wanted, rel=1e-10)
        assert count == len(TOKENS) - 1
    assert model.training
    unused = adapted_score(model, TOKENS, cache=CacheOptions(weight=0.0))[0]
    assert unused == pytest.approx(model.score(TOKENS)[0], rel=1e-12)


def test_both_together_are_the_cache_over_the_adapted_model() -> None:
    model = model_of()
    still = DynamicOptions("sgd", lr=0.0, segment=4)
    cache = CacheOptions(window=9, theta=1.0, weight=0.2)
    wanted = adapted_score(model, TOKENS, cache=cache)[0]
    assert adapted_score(model, TOKENS, dynamic=still, cache=cache)[0] == pytest.approx(wanted, rel=1e-12)
    moving = DynamicOptions("sgd", lr=0.5, segment=4)
    both = adapted_score(model, TOKENS, dynamic=moving, cache=cache)[0]
    nothing = CacheOptions(window=9, weight=0.0)
    alone = adapted_score(model, TOKENS, dynamic=moving)[0]
    assert adapted_score(model, TOKENS, dynamic=moving, cache=nothing)[0] == pytest.approx(alone, rel=1e-12)
    assert both != pytest.approx(alone, rel=1e-6)


def test_words_that_come_again_become_likelier() -> None:
    """A model that has learnt nothing of a text in which everything repeats."""
    vocabulary = Vocabulary.build("abcdefgh")
    model = LanguageModel(vocabulary=vocabulary, hidden_size=24, num_layers=1, generator=Generator(1))
    tokens = vocabulary.encode("abcdefgh" * 60)
    static = model.score(tokens)[0]
    squares = gradient_mean_squares(model, tokens)
    assert adapted_score(model, tokens, dynamic=DynamicOptions("sgd", lr=1.0))[0] < 0.7 * static
    rms = DynamicOptions("rms", lr=0.02, decay=1e-3)
    assert adapted_score(model, tokens, dynamic=rms, mean_squares=squares)[0] < 0.7 * static
    assert adapted_score(model, tokens, cache=CacheOptions(100, theta=20.0, weight=0.5))[0] < 0.7 * static


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: DynamicOptions("adam"), r"rule: expected sgd \| rms, got 'adam'"),
        (lambda: DynamicOptions("sgd", lr=-1.0), "lr: expected a finite number of at least 0"),
        (lambda: DynamicOptions("sgd", decay=1.5), r"decay: expected a number in \[0, 1\], got 1.5"),
        (lambda: DynamicOptions("sgd", segment=0), "segment: expected at least 1 token"),
        (lambda: CacheOptions(window=0), "window: expected at least 1"),
        (lambda: CacheOptions(theta=math.nan), "theta: expected a finite number"),
        (lambda: CacheOptions(weight=1.0), r"weight: expected in \[0, 1\)"),
        (lambda: adapted_score(model_of(), TOKENS, dynamic=DynamicOptions("rms")), "mean_squares: .* got none"),
        (
            lambda: adapted_score(model_of(), TOKENS, dynamic=DynamicOptions("rms"), mean_squares={"x": Tensor([1.0])}),
            "mean_squares: .* got of 1 others",
        ),
    ],
)
def test_options_that_cannot_be(make: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make()


def test_weights_that_run_away_are_an_error_and_given_back() -> None:
    model = model_of(cell="rnn-relu")
    before = weights(model)
    with pytest.raises(FloatingPointError, match="a smaller lr may help"):
        adapted_score(model, TOKENS, dynamic=DynamicOptions("sgd", lr=1e200))
    for name, value in weights(model).items():
        assert value.tobytes() == before[name].tobytes(), name


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text(some_text(3000))
    inside("train", "lm", "--text", text, "--out", tmp_path / "run", "--hidden", "12", "--layers", "1", "--epochs", "1",
           "--batch", "8", "--bptt", "20")  # fmt: skip
    file = tmp_path / "run" / "model.safetensors"
    bytes_before = file.read_bytes()

    def nats(*options: str) -> float:
        answer = json.loads(inside("eval", tmp_path / "run", "--text", text, "--json", *options))
        return float(answer["nats"])

    static = nats()
    found = [
        nats("--dynamic", "sgd", "--dynamic-lr", "0.5", "--segment", "10"),
        nats("--dynamic", "rms"),
        nats("--dynamic", "rms", "--train-text", str(text), "--dynamic-decay", "0.5"),
        nats("--cache", "300", "--cache-theta", "2", "--cache-weight", "0.2"),
        nats("--cache", "300", "--dynamic", "sgd"),
    ]
    assert all(value < static for value in found), (static, found)
    assert len(set(found)) == 5
    assert file.read_bytes() == bytes_before
    for wrong, expected in (
        (["--segment", "3"], "--segment: expected --dynamic beside it, got 3"),
        (["--cache-theta", "3"], "--cache-theta: expected --cache beside it"),
        (["--dynamic", "adam"], "rule: expected sgd | rms, got 'adam'"),
        (["--dynamic", "sgd", "--train-text", str(text)], "--train-text: expected --dynamic rms beside it"),
        (["--format", "csv"], "--format: expected an option that a language_model reads, --dynamic,"),
    ):
        with pytest.raises(SystemExit) as caught:
            run(["eval", str(tmp_path / "run"), "--text", str(text), *wrong])
        assert caught.value.code == 2
        assert expected in capsys.readouterr().err


def test_a_model_that_does_not_know_its_text_asks_for_it(tmp_path: Path) -> None:
    from rnncore.train.adaptive import adaptive_scorer

    corpus = TextCorpus.from_text(some_text(900))
    model = small_model(corpus)
    Trainer(model, corpus, TrainConfig(steps=1, batch=4, bptt=10)).fit()
    with pytest.raises(
        ValueError, match=r"expected a model that knows its training text, got rms; .*--train-text FILE"
    ):
        adaptive_scorer(model, {"dynamic": "rms"})
    assert adaptive_scorer(model, {}) is None
