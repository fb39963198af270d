"""Arguments of another type, shape or size than they should have: one line that names operation, argument and both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnncore import Generator, Tensor, ones
from rnncore.beam import Sampling, beam_search, draw
from rnncore.data import Sentences, Streams
from rnncore.models import LanguageModel
from rnncore.models.classifier import pad_ids
from rnncore.nn.vocabularies import sampled_softmax_loss


def refused(error: type[Exception], call: Callable[[], Any], *parts: str) -> None:
    """It raises `error` itself, in one line of the house's form with these parts."""
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert type(caught.value) is error, repr(caught.value)
    assert text.startswith("["), text
    assert "\n" not in text, text
    for part in (": expected ", ", got ", *parts):
        assert part in text, text


def lm(**options: Any) -> LanguageModel:
    return LanguageModel(5, hidden_size=4, num_layers=1, generator=Generator(1), **options)


NOT_IDS = np.full((3, 2), 1.9)
WHOLE = np.ones((3, 2), dtype=np.int64)


@pytest.mark.parametrize(
    "call",
    [
        lambda: lm()(NOT_IDS),
        lambda: lm()(NOT_IDS.tolist()),
        lambda: lm()(np.full((3, 2), "1")),
        lambda: lm().loss(WHOLE, NOT_IDS),
        lambda: lm().loss(WHOLE, WHOLE, lengths=[2.5, 1.0]),
        lambda: lm(softmax="sampled", samples=2).loss(WHOLE, NOT_IDS),
        lambda: lm().score(NOT_IDS[:, 0]),
        lambda: Streams(np.arange(9.0), batch=2, bptt=2),
        lambda: Sentences(np.arange(9.0), end_id=3, batch=2),
        lambda: pad_ids([np.arange(2), np.array([1.5])]),
        lambda: beam_search(lambda tokens, rows: np.zeros((len(tokens), 3)), [1.9], max_length=1),
        lambda: draw(lambda tokens, rows: np.zeros((len(tokens), 3)), [1.9], Sampling(), max_length=1),
        lambda: sampled_softmax_loss(ones(2, 3), ones(4, 3), ones(4), np.array([1.9, 0.0]), samples=np.array([0])),
    ],
)
def test_ids_are_never_rounded(call: Callable[[], Any]) -> None:
    refused(TypeError, call, "expected integers")


def test_ids_of_any_integer_type_are_read() -> None:
    model = lm()
    expected = model(WHOLE)[0].numpy()
    for ids in (WHOLE.tolist(), WHOLE.astype(np.uint8), WHOLE.astype(bool), Tensor(WHOLE)):
        np.testing.assert_array_equal(model(ids)[0].numpy(), expected)
