"""Saliency of predictions and what units do, on small language models."""

from __future__ import annotations

import numpy as np
import pytest
from language_models import some_text

from rnncore import Generator, Tensor, inspect, nn, no_grad
from rnncore.data import Vocabulary
from rnncore.models import LanguageModel

TEXT = "First Citizen:\n"


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    vocabulary = Vocabulary.build(some_text(3000), level="char")
    return LanguageModel(
        vocabulary=vocabulary, hidden_size=12, num_layers=2, dropout=0.3, dtype="float64", generator=Generator(1)
    )


def log_prob(model: LanguageModel, x: np.ndarray, target: int) -> float:
    with no_grad():
        logits = model.head(model.rnn(Tensor(x[:, None]))[0][-1]).numpy()[0]
    return float(logits[target] - np.log(np.exp(logits).sum()))


def test_gradient_times_input_is_the_slope_of_scaling_a_token(model: LanguageModel) -> None:
    found = inspect.gradient_times_input(model, TEXT, "F")
    x = np.array(model.embedding.weight.numpy())[found.tokens]
    model.eval()
    assert found.log_prob == pytest.approx(log_prob(model, x, found.target), abs=1e-12)
    for t in range(len(x)):
        up, down = x.copy(), x.copy()
        up[t] *= 1 + 1e-6
        down[t] *= 1 - 1e-6
        slope = (log_prob(model, up, found.target) - log_prob(model, down, found.target)) / 2e-6
        assert found.scores[t] == pytest.approx(slope, abs=1e-8)
    model.train()


def test_leave_one_out_reads_every_shorter_text(model: LanguageModel) -> None:
    found = inspect.leave_one_out(model, TEXT, batch=4)
    assert found.texts == tuple(TEXT)
    model.eval()
    table = np.array(model.embedding.weight.numpy())
    logits = [log_prob(model, table[found.tokens], v) for v in range(len(table))]
    assert found.target == int(np.argmax(logits))
    for t in range(len(TEXT)):
        without = log_prob(model, table[np.delete(found.tokens, t)], found.target)
        assert found.scores[t] == pytest.approx(found.log_prob - without, abs=1e-12)
    model.train()


def test_units_are_read_as_one_text_whatever_the_chunk(model: LanguageModel) -> None:
    whole = inspect.unit_activations(model, TEXT * 4)
    parts = inspect.unit_activations(model, TEXT * 4, chunk=7)
    assert whole.keys() == parts.keys() == {"rnn.l0.h", "rnn.l0.c", "rnn.l1.h", "rnn.l1.c"}
    assert model.training
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name])
    with model.evaluating():
        features, _ = model.features(model.require_vocabulary().encode(TEXT * 4)[:, None].astype(np.int64))
    np.testing.assert_array_equal(whole["rnn.l1.h"], features.numpy()[:, 0])


def test_ranking_finds_the_unit_that_counts() -> None:
    """A linear unit with recurrent weight 1 that adds 1 a character and loses it at a line's end ranks first."""
    vocabulary = Vocabulary.build("ab\n", level="char")
    model = LanguageModel(vocabulary=vocabulary, hidden_size=3, num_layers=1, cell="rnn-relu", dtype="float64")
    weights = {"weight_ih_l0": np.zeros((3, 3)), "weight_hh_l0": np.zeros((3, 3)), "bias_ih_l0": np.zeros(3)}
    weights["weight_ih_l0"][1] = [1.0, 0.0, 0.0]
    weights["weight_hh_l0"][1, 1] = 1.0
    weights["weight_ih_l0"][2] = [0.3, 0.1, 0.0]
    table = np.zeros((3, 3))
    table[vocabulary.encode("ab")] = [1.0, 0.0, 0.0]
    table[vocabulary.encode("\n")] = [-100.0, 0.0, 0.0]
    with no_grad():
        model.embedding.weight.copy_(Tensor(table))
        model.rnn.bias_hh_l0.copy_(Tensor(np.zeros(3)))
        for name, value in weights.items():
            getattr(model.rnn, name).copy_(Tensor(value))
    text = "abba\nb\nabababa\na" * 3
    activations = inspect.unit_activations(model, text)
    want = (inspect.position_in_line(text) + 1) * (np.array(list(text)) != "\n")
    best = inspect.rank_units(activations, want, top=2)
    assert (best[0].layer, best[0].unit) == ("rnn.l0.h", 1)
    assert best[0].correlation == pytest.approx(1.0)
    assert abs(best[1].correlation) < 0.9


def test_correlation_is_numpys_and_constant_units_explain_nothing() -> None:
    values = np.random.default_rng(1).normal(size=(50, 3))
    values[:, 2] = 0.1
    quotes = inspect.inside_quotes('say "yes" or "no" to it ' * 3)[:50]
    found = inspect.rank_units({"a": values}, quotes, top=None)
    by_unit = {score.unit: score.correlation for score in found}
    for unit in (0, 1):
        assert by_unit[unit] == pytest.approx(np.corrcoef(values[:, unit], quotes)[0, 1])
    assert by_unit[2] == 0.0
    assert abs(found[0].correlation) >= abs(found[1].correlation)


def test_colours_follow_the_sign_and_size() -> None:
    text = inspect.coloured("abc", [0.0, 2.0, -1.0])
    assert text.plain == "abc"
    colours = [span.style.bgcolor.triplet for span in text.spans]  # type: ignore[union-attr]
    assert [tuple(colour) for colour in colours] == [(255, 255, 255), (255, 0, 0), (128, 128, 255)]
    assert inspect.coloured("ab", [0.0, 0.0]).plain == "ab"


def test_lag_of_a_language_model_by_its_own_losses(model: LanguageModel) -> None:
    ids = model.require_vocabulary().encode(TEXT).astype(np.int64)[:, None]

    def losses() -> Tensor:
        logits, _ = model(ids[:-1])
        flat = nn.functional.cross_entropy(logits.reshape(-1, logits.shape[2]), ids[1:].ravel(), reduction="none")
        return flat.reshape(len(ids) - 1, 1)

    profiles = inspect.gradient_lag(model, losses, steps=range(4, 14), max_lag=6)
    assert [profile.name for profile in profiles] == ["rnn.l0", "rnn.l1"]
    assert all(profile.norms.shape == (10, 7, 1) for profile in profiles)
    assert all((profile.mean()[:5] > 0).all() for profile in profiles)


def test_bad_input_is_named(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="at least 1 token"):
        inspect.gradient_times_input(model, "")
    with pytest.raises(ValueError, match="at least 2 tokens, got 1"):
        inspect.leave_one_out(model, "F")
    with pytest.raises(ValueError, match="target: expected one token"):
        inspect.leave_one_out(model, "First", "Ci")
    with pytest.raises(ValueError, match="target: expected an id within"):
        inspect.gradient_times_input(model, "First", 1000)
    with pytest.raises(ValueError, match="values that change"):
        inspect.rank_units({"a": np.zeros((3, 1))}, [1, 1, 1])
    with pytest.raises(ValueError, match="as the property is long"):
        inspect.rank_units({"a": np.zeros((3, 1))}, [1, 2])
    with pytest.raises(ValueError, match="one a token"):
        inspect.coloured("abc", [1.0])
    bare = LanguageModel(5, hidden_size=4, num_layers=1)
    assert inspect.leave_one_out(bare, np.array([1, 2, 3])).texts == ("1 ", "2 ", "3 ")
    with pytest.raises(ValueError, match="vocabulary"):
        inspect.unit_activations(bare, "text")
