"""The cells of one step with every option: steps that follow one another are the sequence, gradients included.

What breaks it: an option that a cell loses, a state of the wrong width, masks that differ between calls where they must
not, a gradient that ends at a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnncore
from rnncore import nn

CASES: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bias": False}),
    ("RNN", {"nonlinearity": ("scaled-tanh", 1.2, 0.8), "clip": 0.9}),
    ("RNN", {"leak": 0.3}),
    ("RNN", {"layer_norm": True, "zoneout": 0.2}),
    ("LSTM", {}),
    ("LSTM", {"peephole": True, "clip": 1.1}),
    ("LSTM", {"coupled": True, "bias": False}),
    ("LSTM", {"forget_gate": False, "truncate_gates": True, "peephole": True}),
    ("LSTM", {"activations": {"gate": "hard-sigmoid", "candidate": ("elu", 0.7), "hidden": "softsign"}}),
    ("LSTM", {"layer_norm": True, "peephole": True}),
    ("LSTM", {"zoneout": (0.2, 0.3)}),
    ("LSTM", {"proj_size": 4}),
    ("LSTM", {"proj_size": 4, "peephole": True, "zoneout": 0.2}),
    ("GRU", {}),
    ("GRU", {"reset_after": False, "zoneout": 0.2}),
    ("GRU", {"layer_norm": True}),
    ("GRU", {"activations": {"gate": "hard-sigmoid", "candidate": "relu"}, "clip": 1.3}),
    ("MGU", {"zoneout": 0.2, "activations": {"candidate": "softsign"}}),
    ("MGU", {"clip": 1.1}),
    ("MGU", {"layer_norm": True}),
    ("GRU", {"reset_after": False, "layer_norm": True}),
    ("IndRNN", {}),
    ("IndRNN", {"layer_norm": True, "nonlinearity": "tanh"}),
    ("IndRNN", {"nonlinearity": "tanh", "zoneout": 0.2}),
]
IDS = [f"{kind}-{'-'.join(options) or 'plain'}" for kind, options in CASES]
T, N, I, H = 6, 3, 5, 7  # noqa: E741


def pair(kind: str, options: dict[str, Any], dtype: str) -> tuple[Any, Any]:
    """A module over sequences and the cell of one step, with the same parameters, in inference."""
    sequence = getattr(nn, kind)(I, H, dtype=dtype, generator=rnncore.Generator(3), **options).eval()
    cell = getattr(nn, f"{kind}Cell")(I, H, dtype=dtype, **options).eval()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in sequence.state_dict().items()})
    return sequence, cell


def start(kind: str, options: dict[str, Any], dtype: str) -> list[rnncore.Tensor]:
    """Input (T, N, I), h_0 and for the LSTM c_0, as leaves."""
    rng = np.random.default_rng(5)
    shapes = [(T, N, I), (N, options.get("proj_size", H)), *([(N, H)] if kind == "LSTM" else [])]
    return [rnncore.tensor(rng.standard_normal(shape), dtype=dtype, requires_grad=True) for shape in shapes]


def run_sequence(module: Any, leaves: list[rnncore.Tensor]) -> tuple[rnncore.Tensor, list[rnncore.Tensor]]:
    states = [state.unsqueeze(0) for state in leaves[1:]]
    output, final = module(leaves[0], tuple(states) if len(states) == 2 else states[0])
    return output, [one[0] for one in (final if isinstance(final, tuple) else (final,))]


def run_steps(cell: Any, leaves: list[rnncore.Tensor]) -> tuple[rnncore.Tensor, list[rnncore.Tensor]]:
    state: Any = tuple(leaves[1:]) if len(leaves) == 3 else leaves[1]
    outputs = []
    for t in range(T):
        state = cell(leaves[0][t], state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return rnncore.stack(outputs), list(state) if isinstance(state, tuple) else [state]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_steps_are_the_sequence_bitwise(kind: str, options: dict[str, Any], dtype: str) -> None:
    sequence, cell = pair(kind, options, dtype)
    leaves = start(kind, options, dtype)
    (y, final), (steps, state) = run_sequence(sequence, leaves), run_steps(cell, leaves)
    assert steps.dtype == dtype
    assert np.array_equal(steps.numpy(), y.numpy())
    for a, b in zip(state, final, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_gradients_of_steps_are_those_of_the_sequence(kind: str, options: dict[str, Any]) -> None:
    results = []
    for module, run in zip(pair(kind, options, "float64"), (run_sequence, run_steps), strict=True):
        leaves = start(kind, options, "float64")
        y, final = run(module, leaves)
        sum(((one * one * one).sum() for one in final), (y * y).sum()).backward()
        results.append([value.grad.numpy() for value in [*leaves, *module.parameters()]])
    for wanted, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "MGU", "IndRNN"])
def test_one_row_without_a_batch(kind: str) -> None:
    _, cell = pair(kind, {}, "float64")
    x = np.random.default_rng(1).standard_normal((2, I))
    whole, single = cell(x), cell(x[1])
    for a, b in zip(whole if kind == "LSTM" else [whole], single if kind == "LSTM" else [single], strict=True):
        assert np.array_equal(a.numpy()[1], b.numpy())


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "MGU", "IndRNN"])
def test_zoneout_draws_anew_at_each_call_in_training(kind: str) -> None:
    cell = getattr(nn, f"{kind}Cell")(I, 200, zoneout=0.3, generator=rnncore.Generator(1))
    h = rnncore.full((1, 200), 5.0)
    x = rnncore.randn(1, I, generator=rnncore.Generator(2))
    kept = []
    for _ in range(2):
        new = cell(x, (h, h))[0] if kind == "LSTM" else cell(x, h)
        kept.append(new.detach().numpy()[0] == 5.0)  # a unit that keeps its state does so exactly
        assert 0.15 < kept[-1].mean() < 0.45
    assert (kept[0] != kept[1]).any()
    assert not (cell.eval()(x, (h, h) if kind == "LSTM" else h)[0].numpy() == 5.0).any()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.LSTMCell(4, 3, proj_size=3), ValueError, "proj_size: expected .*less than hidden_size = 3"),
        (lambda: nn.LSTMCell(4, 3, coupled=True, forget_gate=False), ValueError, "coupled: expected false"),
        (lambda: nn.LSTMCell(4, 3, coupled=True, forget_bias=1.0), ValueError, "forget_bias.*without a forget gate"),
        (lambda: nn.LSTMCell(4, 3, bias=False, forget_bias=1.0), ValueError, "forget_bias.*bias=False"),
        (lambda: nn.GRUCell(4, 3, activations={"hidden": "relu"}), ValueError, "activations.hidden"),
        (lambda: nn.RNNCell(4, 3, leak=0.0), ValueError, "leak: expected a number in"),
        (lambda: nn.RNNCell(4, 3, nonlinearity="gelu"), ValueError, "nonlinearity: expected one of"),
        (lambda: nn.RNNCell(4, 3, zoneout=1.0), ValueError, "zoneout_h: expected a probability"),
        (lambda: nn.LSTMCell(4, 3, state_dropout=0.1), TypeError, "state_dropout"),
        (lambda: nn.LSTMCell(4, 3, proj_size=2)(np.zeros((1, 4)), (np.zeros((1, 3)), np.zeros((1, 3)))), ValueError,
         r"h: expected shape \(N, P\) = \(1, 2\), got \(1, 3\)"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_clear_error(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_cell_shows_its_options() -> None:
    assert repr(nn.LSTMCell(4, 3, peephole=True, proj_size=2)).endswith("(4, 3, bias=True, peephole=True, proj_size=2)")
