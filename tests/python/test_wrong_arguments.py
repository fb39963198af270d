"""Arguments of another type, shape or size than they should have: one line that names operation, argument and both."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnncore import Generator, Tensor, as_tensor, inspect, nn, ones, tensor
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


def stack(*layers: Any, **options: Any) -> nn.Recurrent:
    return nn.Recurrent(3, list(layers) or [nn.Layer("lstm", 4)], **options)


NAN, INF = float("nan"), float("inf")
ROWS = [[1.0, 2.0], [3.0]]


@pytest.mark.parametrize(
    ("error", "call", "words"),
    [
        (TypeError, lambda: nn.Layer("lstm", 4, delays=(2.5,)), "[layer] delays"),
        (TypeError, lambda: nn.Layer("lstm", 4, delays="ab"), "[layer] delays"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.Layer("lstm", 4, delays=2), "[layer] delays"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.Layer("lstm", 4, group_periods=(1.9, 3.2)), "[layer] group_periods"),
        (TypeError, lambda: nn.Layer("lstm", 4, options="peephole"), "[layer] options"),  # type: ignore[arg-type]
        (TypeError, lambda: stack(nn.Layer("lstm", 4, options={"clip": object()})), "[recurrent] layers"),
        (ValueError, lambda: stack(nn.Layer("lstm", 2.5)), "hidden_size"),  # type: ignore[arg-type]
        (TypeError, lambda: stack("lstm"), "[recurrent] layers"),
        (TypeError, lambda: nn.Recurrent(3, nn.Layer("lstm", 4)), "[recurrent] layers"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.Recurrent(3, {"cell": "gru", "hidden_size": 4}), "layers"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.Recurrent(3, 3), "[recurrent] layers"),  # type: ignore[arg-type]
        (ValueError, lambda: stack(forget_bias=NAN), "forget_bias: expected a finite number, got nan"),
        (ValueError, lambda: stack(forget_bias=INF), "forget_bias"),
        (TypeError, lambda: stack(forget_bias="a"), "forget_bias: expected a number"),
        (ValueError, lambda: nn.LSTM(3, 4, forget_bias=NAN), "[lstm] forget_bias"),
        (TypeError, lambda: nn.LSTM(3, 4, forget_bias="a"), "[lstm] forget_bias"),  # type: ignore[arg-type]
        (ValueError, lambda: nn.LSTMCell(3, 4, forget_bias=INF), "[lstmcell] forget_bias"),
        (ValueError, lambda: lm(forget_bias=NAN), "forget_bias"),
        (ValueError, lambda: stack(chrono=INF), "chrono"),
        (TypeError, lambda: stack(chrono="a"), "chrono"),
        (ValueError, lambda: stack(init="orthogonal", scale=NAN), "scale: expected a finite number"),
        (TypeError, lambda: stack(init="identity", scale="a"), "scale: expected a number"),
        (ValueError, lambda: stack(scale=3), "[init] scale: expected 1 with uniform, got 3"),
        (ValueError, lambda: stack(init="he", scale=2.0), "[init] scale"),
        (TypeError, lambda: nn.LSTM(3, 2.5), "[lstm] hidden_size: expected integers, got 2.5"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.GRU(3, [2.5, 3]), "[gru] hidden_size"),  # type: ignore[list-item]
        (TypeError, lambda: nn.GRU(3, "ab"), "[gru] hidden_size"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.LSTM(3, 4, bias="no"), "[lstm] bias: expected True or False"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.LSTM(3, 4, bidirectional="no"), "bidirectional"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.LSTMCell(3, 4, bias="no"), "[lstmcell] bias"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.LSTM(3, 4, 2, dropout="a"), "[lstm] dropout"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.LSTM(3, 4, generator=3), "generator"),  # type: ignore[arg-type]
        (ValueError, lambda: nn.LSTM(3, 4, zoneout=(0.1, 0.2, 0.3)), "[lstm] zoneout"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.LSTM(3, 4, activations="tanh"), "[lstm] activations"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.LSTM(3, 4, activations={"gate": ("leaky-relu", "x")}), "activations"),  # type: ignore[dict-item]
        (ValueError, lambda: tensor(ROWS), "[tensor] data: expected rows of one length"),
        (ValueError, lambda: as_tensor(ROWS), "[tensor] data"),
        (TypeError, lambda: nn.Sequential(3), "[sequential] modules"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.Sequential([nn.Linear(2, 2)]), "one by one"),  # type: ignore[arg-type]
        (TypeError, lambda: nn.ModuleList([nn.Linear]), "[module list] modules"),  # type: ignore[list-item]
        (TypeError, lambda: nn.ModuleList(3), "[module list] modules"),  # type: ignore[arg-type]
    ],
)
def test_options_are_refused_at_construction(error: type[Exception], call: Callable[[], Any], words: str) -> None:
    refused(error, call, words)


@pytest.mark.parametrize("spectrum", [inspect.spectral_radius, inspect.spectral_radius_by_powers])
def test_only_square_matrices_of_numbers_have_a_spectral_radius(spectrum: Callable[[Any], float]) -> None:
    for matrix in (np.ones((2, 3)), np.ones(3), np.full((2, 2), NAN), np.array([[1.0, INF], [0.0, 1.0]])):
        refused(ValueError, lambda matrix=matrix: spectrum(matrix), "[spectral radius] matrix")
    refused(TypeError, lambda: spectrum("a"), "[spectral radius] matrix")


@pytest.mark.parametrize("values", [inspect.singular_values, inspect.largest_singular_values])
def test_only_matrices_of_numbers_have_singular_values(values: Callable[[Any], Any]) -> None:
    for matrix in (np.ones(3), np.full((2, 2), NAN)):
        refused(ValueError, lambda matrix=matrix: values(matrix), "[singular values] matrix")


def test_numbers_of_numpy_are_options_like_others() -> None:
    layer = nn.Layer("lstm", np.int64(4), delays=np.array([2, 3]))  # type: ignore[arg-type]
    assert stack(layer).extra_repr() == stack(nn.Layer("lstm", 4, delays=(2, 3))).extra_repr()


def test_dropout_of_one_layer_is_warned_of_as_pytorch_does() -> None:
    with pytest.warns(UserWarning, match=r"\[lstm\] dropout: expected 0 with one layer, got 0.5") as seen:
        nn.LSTM(3, 4, dropout=0.5)
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.GRU(3, 4, 2, dropout=0.5)
        lm(dropout=0.5)  # between embedding, stack and softmax


@pytest.mark.parametrize("seed", [-1, 1 << 64, np.int64(-5)])
def test_seeds_have_64_bits(seed: Any) -> None:
    refused(ValueError, lambda: Generator(seed), "[Generator] seed: expected 0 to 2^64 - 1", str(int(seed)))


@pytest.mark.parametrize("seed", [1.0, "1", None, True, [1]])
def test_seeds_are_integers(seed: Any) -> None:
    refused(TypeError, lambda: Generator(seed), "[Generator] seed: expected an integer", repr(seed))
    assert Generator(np.uint64((1 << 64) - 1)).seed == (1 << 64) - 1


@pytest.mark.parametrize("dtype", [3, np.float32, "float16", b"float32"])
def test_dtypes_are_names(dtype: Any) -> None:
    for call in (lambda: tensor([1.0], dtype=dtype), lambda: ones(2, dtype=dtype), lambda: ones(2).to(dtype)):
        refused(TypeError, call, "dtype: expected 'float32', 'float64', 'int64' or 'uint8'", repr(dtype))
