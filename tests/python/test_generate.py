"""Sampling: seeds, independence of the number of samples, temperature, top-k, top-p, stop strings, beams."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from language_models import small_model, some_text

from rnncore import _core, no_grad
from rnncore.data import TextCorpus
from rnncore.generate import Prompt, SamplingOptions, beam_search, generate, generate_steps, generate_text
from rnncore.models import LanguageModel
from rnncore.train import TrainConfig, Trainer


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    corpus = TextCorpus.from_text(some_text())
    model = small_model(corpus, hidden_size=24)
    Trainer(model, corpus, TrainConfig(epochs=3, batch=8, bptt=16, lr=1e-2)).fit()
    return model


def test_a_seed_gives_a_text(model: LanguageModel) -> None:
    first, again, other = (generate(model, "The", length=60, seed=seed)[0].text for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 60


def test_a_sample_does_not_depend_on_how_many_are_drawn(model: LanguageModel) -> None:
    many = generate(model, "The", length=40, num_samples=5, seed=7)
    few = generate(model, "The", length=40, num_samples=2, seed=7)
    assert [one.text for one in few] == [one.text for one in many[:2]]
    assert len({one.text for one in many}) == 5


class Counted(_core.ModelStream):
    """Counts the rows that are stepped while prompts are read."""

    rows = 0

    def read(self, ids: Any) -> None:
        Counted.rows += len(ids) * self.batch
        super().read(ids)

    def step(self, ids: Any) -> None:
        Counted.rows += self.batch
        super().step(ids)


def test_a_prompt_is_read_once(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "ModelStream", Counted)
    text = some_text(300)
    Counted.rows = 0
    seven = generate(model, text, length=5, num_samples=7, seed=3)
    assert Counted.rows == 300, "whatever the number of samples"
    prompt = Prompt(model, text)
    assert Counted.rows == 600
    again = generate(model, prompt, length=5, num_samples=7, seed=3)
    few = generate(model, prompt, length=5, num_samples=2, seed=3, log_probs=True)
    pieces = "".join(generate_text(model, prompt, length=5, seed=3))
    assert Counted.rows == 600, "the state is copied"
    assert [one.tokens for one in seven] == [one.tokens for one in again]
    assert [one.tokens for one in few] == [one.tokens for one in seven[:2]]
    assert pieces == seven[0].text
    longer = prompt.then(" and more")
    assert Counted.rows == 609, "what is new alone is read"
    assert generate(model, longer, length=5, seed=1) == generate(model, text + " and more", length=5, seed=1)
    assert generate(model, prompt, length=5, num_samples=7, seed=3) == seven, "it stays what it was"
    assert prompt.then(" and more").state == longer.state != prompt.state
    Counted.rows = 0
    found = beam_search(model, prompt, length=6, beams=4)
    assert Counted.rows == 5 * 4, "the first tokens come from the prompt's own logits"
    assert found == beam_search(model, text, length=6, beams=4)


def test_shared_states_have_the_bits_of_separate_runs(model: LanguageModel) -> None:
    """Against streams that each read the whole prompt beside each other."""
    prompt = Prompt(model, "ROMEO: speak")
    shared = prompt.streams(3)
    alone = _core.ModelStream(model.spec(), dict(model.state_dict()), 3)
    for token in prompt.tokens:
        alone.step(np.full(3, token))
    assert shared.logits.numpy().tobytes() == alone.logits.numpy().tobytes()
    for ids in ([1, 2, 3], [4, 4, 4], [0, 9, 5]):
        shared.step(np.array(ids))
        alone.step(np.array(ids))
        assert shared.logits.numpy().tobytes() == alone.logits.numpy().tobytes()
    text = model.require_vocabulary().decode(prompt.tokens)
    whole = model.log_prob(text + "e") - model.log_prob(text)
    e = int(model.require_vocabulary().ids_of(["e"])[0])
    assert prompt.log_probs[e] == pytest.approx(whole, rel=1e-4)
    assert np.exp(prompt.log_probs).sum() == pytest.approx(1)


def test_a_prompt_belongs_to_its_model(model: LanguageModel) -> None:
    other = small_model(TextCorpus.from_text(some_text()), hidden_size=24)
    with pytest.raises(ValueError, match="prompt: expected one of this model"):
        generate(other, Prompt(model, "The"))
    with pytest.raises(ValueError, match="stream: expected 0 <= stream < 2"):
        Prompt(model, "The").streams(2).state(2)
    bigger = small_model(TextCorpus.from_text(some_text()), hidden_size=25)
    with pytest.raises(ValueError, match=r"state: expected \d+ bytes"):
        Prompt(bigger, "The").streams(1).set_state(0, Prompt(model, "The").state)
    one, other_steps = (generate_steps(model, "The", length=4, seed=seed) for seed in (1, 2))
    mixed = [(next(one)[0][0], next(other_steps)[0][0]) for _ in range(4)]
    for column, seed in enumerate((1, 2)):
        assert tuple(pair[column] for pair in mixed) == generate(model, "The", length=4, seed=seed)[0].tokens


def test_temperature_zero_and_one_beam_are_greedy(model: LanguageModel) -> None:
    greedy = generate(model, "The", length=30, options=SamplingOptions(temperature=0.0))[0].text
    assert greedy == generate(model, "The", length=30, options=SamplingOptions(top_k=1), seed=9)[0].text
    assert greedy == beam_search(model, "The", length=30, beams=1).text
    with no_grad():
        text = "The"
        for _ in range(10):
            logits = model(model.require_vocabulary().encode(text)[:, None])[0].numpy()
            text += model.require_vocabulary().decode([int(logits[-1, 0].argmax())])
    assert "The" + greedy[:10] == text


def test_frequencies_follow_the_model(model: LanguageModel) -> None:
    vocabulary = model.require_vocabulary()
    with no_grad():
        logits = model(vocabulary.encode("th")[:, None])[0].numpy()[-1, 0].astype(float)
    wanted = np.exp(logits - logits.max())
    wanted /= wanted.sum()
    drawn = [one.tokens[0] for one in generate(model, "th", length=1, num_samples=4000, seed=3)]
    counts = np.bincount(drawn, minlength=len(vocabulary)) / 4000
    assert np.abs(counts - wanted).max() < 5 * math.sqrt(0.25 / 4000)
    top = set(np.argsort(-wanted)[:3].tolist())
    few = generate(model, "th", length=1, num_samples=300, options=SamplingOptions(top_k=3), seed=3)
    assert {one.tokens[0] for one in few} == top
    nucleus = generate(model, "th", length=1, num_samples=300, options=SamplingOptions(top_p=1e-6), seed=3)
    assert {one.tokens[0] for one in nucleus} == {int(wanted.argmax())}


def test_stop_strings_end_a_text_and_are_left_out(model: LanguageModel) -> None:
    free = generate(model, "The", length=200, num_samples=3, seed=5)
    stopped = generate(model, "The", length=200, num_samples=3, seed=5, stop=["e ", "\n"])
    for one, other in zip(stopped, free, strict=True):
        assert one.stopped
        assert other.text.startswith(one.text)
        assert "\n" not in one.text
        assert "e " not in one.text
        rest = other.text[len(one.text) :]
        assert rest.startswith(("e ", "\n"))


def test_wider_beams_find_likelier_texts(model: LanguageModel) -> None:
    scores = [model.log_prob("The" + beam_search(model, "The", length=12, beams=beams).text) for beams in (1, 8)]
    assert scores[1] >= scores[0]


def test_beams_end_at_a_stop_token(model: LanguageModel) -> None:
    vocabulary = model.require_vocabulary()
    found = beam_search(model, "The", length=40, beams=4, stop=["e"])
    assert found.stopped
    assert "e" not in found.text
    wanted = model.log_prob("The" + found.text + "e") - model.log_prob("The")
    greedy = beam_search(model, "The", length=40, beams=1, stop=["e"])
    assert wanted >= model.log_prob("The" + greedy.text + "e") - model.log_prob("The") - 1e-6
    longer = beam_search(model, "The", length=40, beams=4, stop=["e"], alpha=20.0)
    assert len(longer.tokens) > len(found.tokens)
    with pytest.raises(ValueError, match="tokens"):
        beam_search(model, "The", stop=["there is no such token" * len(vocabulary)])


def test_forbidden_tokens_never_come(model: LanguageModel) -> None:
    options = SamplingOptions(forbidden=("e", " "))
    for one in generate(model, "The", length=60, num_samples=3, options=options, seed=2):
        assert not set("e ") & set(one.text)
    with pytest.raises(ValueError, match="forbidden: expected at least one token that may come"):
        generate(model, "The", options=SamplingOptions(forbidden=model.require_vocabulary().tokens))


def test_a_repetition_penalty_brings_other_tokens(model: LanguageModel) -> None:
    plain, penalised = (
        generate(model, "The", length=40, options=SamplingOptions(temperature=0.0, repetition_penalty=penalty))[0].text
        for penalty in (1.0, 50.0)
    )
    assert len(set(penalised)) > len(set(plain))


def test_typical_sampling_keeps_the_tokens_nearest_to_the_entropy(model: LanguageModel) -> None:
    with no_grad():
        logits = model(model.require_vocabulary().encode("th")[:, None])[0].numpy()[-1, 0].astype(float)
    p = np.exp(logits - logits.max())
    p /= p.sum()
    order = np.argsort(np.abs(-np.log(p) + (p * np.log(p)).sum()), kind="stable")
    wanted = set(order[: int(np.searchsorted(p[order].cumsum(), 0.5)) + 1].tolist())
    drawn = generate(model, "th", length=1, num_samples=600, options=SamplingOptions(typical_p=0.5), seed=3)
    assert {one.tokens[0] for one in drawn} <= wanted
    assert len(wanted) < len(p)


@pytest.mark.parametrize("options", [SamplingOptions(), SamplingOptions(temperature=0.7, forbidden=("z",))])
def test_log_probabilities_are_the_models(model: LanguageModel, options: SamplingOptions) -> None:
    [one] = generate(model, "The", length=20, options=options, seed=4, log_probs=True)
    assert len(one.log_probs) == len(one.tokens) == 20
    wanted = model.log_prob("The" + one.text) - model.log_prob("The")
    assert sum(one.log_probs) == pytest.approx(wanted, abs=1e-3)  # float32 steps beside a float32 sequence


def test_a_text_comes_piece_by_piece(model: LanguageModel) -> None:
    pieces = list(generate_text(model, "The", length=50, seed=6))
    assert len(pieces) == 50
    assert "".join(pieces) == generate(model, "The", length=50, seed=6)[0].text


def test_an_empty_prompt_starts_a_line(model: LanguageModel) -> None:
    assert generate(model, "", length=20, seed=1)[0].text == generate(model, "\n", length=20, seed=1)[0].text
    one_line = TextCorpus.from_text("abcabc" * 20)
    with pytest.raises(ValueError, match="prompt: expected at least one token"):
        generate(small_model(one_line), "")


def test_words_are_joined_with_blanks() -> None:
    corpus = TextCorpus.from_text("the cat sat on the mat\n" * 20, level="word")
    result = generate(small_model(corpus), "the cat", length=8, seed=1)[0]
    assert len(result.tokens) == 8
    assert set(result.text.split()) <= set(corpus.vocabulary.tokens)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"length": 0}, "length"),
        ({"num_samples": -1}, "num_samples"),
        ({"seed": -1}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"prompt": "日本"}, "U[+]65E5"),
    ],
)
def test_bad_arguments_are_named(model: LanguageModel, arguments: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        generate(model, **arguments)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"typical_p": 0.0},
        {"repetition_penalty": 0.5},
    ],
)
def test_bad_sampling_options(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SamplingOptions(**options)
