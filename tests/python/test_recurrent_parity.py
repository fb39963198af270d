"""Outputs and all gradients of every recurrent case against PyTorch, live. Skipped, visibly, where torch is absent."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, TOLERANCE, RecurrentCase, assert_all_close, assert_close, build, make_arrays, run_rnncore

import rnncore
from rnncore import nn

torch = pytest.importorskip("torch")
from torch_reference import run_torch  # noqa: E402


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_and_gradients(case: RecurrentCase, dtype: str) -> None:
    arrays = make_arrays(case)
    assert_all_close(run_rnncore(case, arrays, dtype), run_torch(case, arrays), TOLERANCE[dtype])


@pytest.mark.parametrize("case", [case for case in CASES if case.in_torch], ids=lambda case: case.name)
def test_composed_reference_agrees_with_torch_nn(case: RecurrentCase) -> None:
    """The reference used for what torch.nn lacks is itself checked on what it has."""
    arrays = make_arrays(case)
    assert_all_close(run_torch(case, arrays, composed=True), run_torch(case, arrays, composed=False), 1e-12)


def test_a_flipped_sign_would_be_noticed() -> None:
    """The comparison itself: one gate's recurrent weights negated must not pass."""
    case = next(case for case in CASES if case.name == "lstm-state")
    arrays = make_arrays(case)
    wanted = run_torch(case, arrays)
    arrays["p.weight_hh_l0"] = arrays["p.weight_hh_l0"].copy()
    arrays["p.weight_hh_l0"][case.H : 2 * case.H] *= -1
    with pytest.raises(AssertionError):
        assert_all_close(run_rnncore(case, arrays, "float64"), wanted, TOLERANCE["float32"])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_torch_state_dict_loads_and_unbatched_input(name: str) -> None:
    theirs = getattr(torch.nn, name)(4, 6, num_layers=2, bidirectional=True, dtype=torch.float64)
    ours = getattr(nn, name)(4, 6, num_layers=2, bidirectional=True, dtype="float64")
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((5, 4))
    wanted, wanted_state = theirs(torch.tensor(x))
    got, got_state = ours(x)
    assert_close(got.numpy(), wanted.detach().numpy(), 1e-10, "output")
    if name == "LSTM":
        assert_close(got_state[1].numpy(), wanted_state[1].detach().numpy(), 1e-10, "c_n")
        got_state, wanted_state = got_state[0], wanted_state[0]
    assert_close(got_state.numpy(), wanted_state.detach().numpy(), 1e-10, "h_n")


@pytest.mark.parametrize("unbatched", [False, True])
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(name: str, unbatched: bool) -> None:
    rng = np.random.default_rng(1)
    theirs = getattr(torch.nn, name)(4, 6, dtype=torch.float64)
    ours = getattr(nn, name)(4, 6, dtype="float64")
    ours.load_state_dict(theirs.state_dict())
    lead = () if unbatched else (3,)
    x, h, c = (rng.standard_normal((*lead, n)) for n in (4, 6, 6))
    both = [(lambda a: torch.tensor(a, requires_grad=True)), (lambda a: rnncore.tensor(a, requires_grad=True))]
    results = []
    for make, cell in zip(both, (theirs, ours), strict=True):
        leaves = [make(x), make(h), make(c)]
        out = cell(leaves[0], (leaves[1], leaves[2]) if name == "LSTMCell" else leaves[1])
        total = out[0].sum() + (out[1] * out[1]).sum() if name == "LSTMCell" else (out * out).sum()
        total.backward()
        used = leaves if name == "LSTMCell" else leaves[:2]
        results.append([total.item(), *(np.asarray(leaf.grad) for leaf in used)])
        results[-1] += [np.asarray(p.grad) for p in cell.parameters()]
    for got, wanted in zip(results[1], results[0], strict=True):
        assert_close(np.asarray(got), np.asarray(wanted), 1e-10, name)


def test_dropout_between_layers_acts_in_training_only() -> None:
    case = next(case for case in CASES if case.name == "lstm-layers2")
    arrays = make_arrays(case)
    plain = build(case, arrays, "float64")
    dropped = nn.LSTM(case.I, case.H, num_layers=2, dropout=0.5, dtype="float64", generator=rnncore.Generator(3))
    dropped.load_state_dict(plain.state_dict())
    wanted = plain(arrays["x"])[0].numpy()
    assert not np.array_equal(dropped(arrays["x"])[0].numpy(), wanted)
    assert np.array_equal(dropped.eval()(arrays["x"])[0].numpy(), wanted)
