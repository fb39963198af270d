"""LanguageModel: shapes, the chain rule, scoring, saving and loading."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from language_models import CELLS, small_model, some_text

from rnncore import Generator, no_grad
from rnncore.data import TextCorpus, Vocabulary
from rnncore.metrics import Score, accuracy, bits, evaluate, perplexity
from rnncore.models import LanguageModel


@pytest.fixture(scope="module")
def corpus() -> TextCorpus:
    return TextCorpus.from_text(some_text())


@pytest.mark.parametrize("cell", CELLS)
def test_shapes_and_names(cell: str) -> None:
    model = LanguageModel(7, embedding_size=3, hidden_size=5, num_layers=2, cell=cell)
    ids = np.arange(8).reshape(4, 2) % 7
    logits, state = model(ids)
    assert logits.shape == (4, 2, 7)
    assert [part.shape for part in state] == [(2, 2, 5)] * (2 if cell == "lstm" else 1)
    names = [name for name, _ in model.named_parameters()]
    assert names[0] == "embedding.weight"
    assert names[-2:] == ["head.weight", "head.bias"]
    assert "rnn.weight_hh_l1" in names


@pytest.mark.parametrize("cell", CELLS)
def test_a_text_in_pieces_is_the_text_in_one(cell: str, corpus: TextCorpus) -> None:
    model = small_model(corpus, cell=cell, num_layers=2)
    tokens = corpus.valid[:101]
    whole, count = model.score(tokens, chunk=500)
    pieces, _ = model.score(tokens, chunk=7)
    assert count == 100
    assert pieces == pytest.approx(whole, rel=1e-6)


def test_loss_is_the_log_softmax_of_the_logits(corpus: TextCorpus) -> None:
    model = small_model(corpus, dtype="float64")
    ids, targets = corpus.train[:20].reshape(10, 2), corpus.train[1:21].reshape(10, 2)
    logits = model(ids)[0].numpy()
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(logs, targets.astype(np.int64)[..., None], -1).mean()
    assert model.loss(ids, targets)[0].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_the_distribution_sums_to_one(cell: str) -> None:
    vocabulary = Vocabulary.build("abc")
    model = LanguageModel(
        vocabulary=vocabulary, hidden_size=6, num_layers=2, cell=cell, dtype="float64", generator=Generator(3)
    )
    texts = ["".join(letters) for letters in itertools.product("abc", repeat=4)]
    total = sum(math.exp(model.log_prob(text, start="a")) for text in texts)
    assert total == pytest.approx(1.0, abs=1e-12)


def test_log_prob_follows_the_chain_rule_and_agrees_with_evaluate(corpus: TextCorpus) -> None:
    model = small_model(corpus, dtype="float64")
    text = "First Citizen"
    parts = sum(
        model.log_prob(text[: end + 1]) - (model.log_prob(text[:end]) if end > 1 else 0.0)
        for end in range(1, len(text))
    )
    assert model.log_prob(text) == pytest.approx(parts, rel=1e-12)
    assert model.log_prob(text) == -evaluate(model, text).total_nats
    assert evaluate(model, text).tokens == len(text) - 1
    one = model.log_prob("Fi")
    assert model.log_prob("i", start="F") == pytest.approx(one, rel=1e-12)


def test_parallel_scoring_predicts_the_same_tokens(corpus: TextCorpus) -> None:
    model = small_model(corpus)
    exact, count = model.score(corpus.valid)
    parallel, same_count = model.score(corpus.valid, batch=7)
    assert count == same_count == len(corpus.valid) - 1
    assert parallel == pytest.approx(exact, rel=0.01)
    assert model.score(corpus.valid[:3], batch=50)[1] == 2


def test_an_untrained_model_is_about_as_good_as_a_guess(corpus: TextCorpus) -> None:
    nats = evaluate(small_model(corpus), some_text(500)).nats
    assert nats == pytest.approx(math.log(len(corpus.vocabulary)), abs=0.3)


def test_scoring_leaves_mode_and_gradients_alone(corpus: TextCorpus) -> None:
    model = small_model(corpus, dropout=0.5).train()
    first, second = model.score(corpus.valid)[0], model.score(corpus.valid)[0]
    assert first == second, "dropout must be off while scoring"
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_dropout_acts_in_training_and_follows_the_generator(corpus: TextCorpus) -> None:
    ids, targets = corpus.train[:40].reshape(20, 2), corpus.train[1:41].reshape(20, 2)
    model, same = small_model(corpus, dropout=0.5), small_model(corpus, dropout=0.5)
    first = model.train().loss(ids, targets)[0].item()
    assert first == same.train().loss(ids, targets)[0].item()
    assert first != model.loss(ids, targets)[0].item()


def test_tied_weights_are_one_parameter(corpus: TextCorpus) -> None:
    model = small_model(corpus, tie_weights=True)
    names = [name for name, _ in model.named_parameters()]
    assert "head.weight" not in names
    free = small_model(corpus)
    assert free.parameter_count() - model.parameter_count() == len(corpus.vocabulary) * 12


def test_word_scores_count_characters() -> None:
    corpus = TextCorpus.from_text("the cat sat\n" * 30, level="word")
    model = small_model(corpus)
    score = evaluate(model, "the cat sat\n")
    assert score.tokens == 3
    assert score.characters == len("the cat sat\n") - len("the")
    assert evaluate(model, "the dog sat\n").tokens == 3


def test_byte_scores() -> None:
    corpus = TextCorpus.from_text("né " * 40, level="byte")
    assert evaluate(small_model(corpus), b"\xff\x00n").tokens == 2


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("tied", [False, True])
def test_save_and_load(tmp_path: Path, corpus: TextCorpus, cell: str, tied: bool) -> None:
    model = small_model(corpus, cell=cell, num_layers=2, tie_weights=tied, dropout=0.25)
    model.training_facts = {"steps": 3}
    model.save(tmp_path / "model.safetensors")
    loaded = LanguageModel.load(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    assert loaded.vocabulary == model.vocabulary
    assert loaded.training_facts == {"steps": 3}
    assert loaded.score(corpus.valid) == model.score(corpus.valid)
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_save_and_load_float64_without_vocabulary(tmp_path: Path) -> None:
    model = LanguageModel(5, hidden_size=3, num_layers=1, dtype="float64")
    model.save(tmp_path / "m")
    loaded = LanguageModel.load(tmp_path / "m")
    assert loaded.vocabulary is None
    assert loaded.config.dtype == "float64"
    with no_grad():
        assert np.array_equal(loaded([[1]])[0].numpy(), model([[1]])[0].numpy())
    with pytest.raises(ValueError, match="vocabulary: expected one"):
        loaded.log_prob("text")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tie_weights": True, "dtype": "float64"},
        {"num_layers": 2, "cell": "gru"},
        {"projection_size": 5},
        {"projection_size": 7, "embedding_size": 7, "tie_weights": True},
        {"softmax": "adaptive"},
        {"softmax": "adaptive", "tie_weights": True},
        {"softmax": "class", "tie_weights": True},
    ],
)
def test_c_plus_plus_begins_with_the_same_parameters(corpus: TextCorpus, options: dict[str, object]) -> None:
    model = small_model(corpus, seed=5, **options)
    drawn = model.spec().draw(Generator(5), model.config.dtype)
    assert drawn.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert drawn[name].numpy().tobytes() == parameter.numpy().tobytes(), name


def test_a_bidirectional_language_model_is_refused() -> None:
    with pytest.raises(ValueError, match="may not see the future"):
        LanguageModel(5, bidirectional=True)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"num_layers": -1}, "num_layers"),
        ({"embedding_size": 0}, "embedding_size"),
        (
            {"cell": "lstn"},
            "rnn-tanh | rnn-relu | rnn-sigmoid | lstm | gru | gru-reset-before | mgu | indrnn, got 'lstn'",
        ),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"dtype": "float16"}, "float32 | float64"),
        ({"tie_weights": True, "embedding_size": 3}, "tie_weights: expected embedding_size = hidden_size = 512, got 3"),
        ({"tie_weights": True, "projection_size": 3}, "tie_weights: expected embedding_size = projection_size = 3"),
        ({"projection_size": -1}, "projection_size: expected 0 or more, got -1"),
        ({"vocabulary": Vocabulary.build("abc")}, "vocabulary"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=r"\[language model\]") as caught:
        LanguageModel(**{"vocab_size": 5, **options})
    assert name in str(caught.value)


def test_metrics() -> None:
    assert perplexity(math.log(4)) == pytest.approx(4)
    assert perplexity(1e4) == math.inf
    assert bits(math.log(8)) == pytest.approx(3)
    assert accuracy([[0.1, 0.9], [0.8, 0.2], [0, 1]], [1, 1, -100]) == 0.5
    score = Score(total_nats=10 * math.log(2), tokens=5, characters=20)
    assert (score.nats, score.bits_per_character) == (pytest.approx(2 * math.log(2)), pytest.approx(0.5))
    with pytest.raises(ValueError, match=r"\(R, V\)"):
        accuracy([1.0], [1])
