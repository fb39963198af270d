"""rnncore.explain: every layer's kernel and cost. What breaks it: a layer that runs elsewhere than it says."""

from __future__ import annotations

import pytest

import rnncore
from rnncore import nn


def test_plain_layers_run_on_the_plain_kernel_and_options_on_theirs() -> None:
    kernels = {
        "lstm": nn.LSTM(8, 64),
        "lstm with options": nn.LSTM(8, 64, peephole=True),
        "lstm with options, normalised rows": nn.LSTM(8, 64, layer_norm=True),
        "gru with options": nn.GRU(8, 64, zoneout=0.1),
        "rnn-tanh": nn.RNN(8, 64),
        "rnn with options": nn.RNN(8, 64, nonlinearity="softsign"),
        "mgu": nn.MGU(8, 64),
        "indrnn": nn.IndRNN(8, 64),
    }
    for kernel, module in kernels.items():
        assert [cost.kernel for cost in rnncore.explain(module)] == [kernel]


def test_counts_are_those_of_the_equations() -> None:
    """H a multiple of every block, so that no padding is counted."""
    (first, second) = rnncore.explain(nn.LSTM(8, 64, num_layers=2, bidirectional=True))
    assert first.multiply_adds == 2 * 4 * 64 * (8 + 64)
    assert second.multiply_adds == 2 * 4 * 64 * (128 + 64)
    assert first.weight_bytes == 2 * 4 * 64 * 64 * 4
    assert first.saved_bytes == 2 * 5 * 64 * 4
    (coupled,) = rnncore.explain(nn.LSTM(8, 64, coupled=True, dtype="float64"))
    assert coupled.multiply_adds == 3 * 64 * (8 + 64)
    assert coupled.state_bytes == 2 * 64 * 8
    (independent,) = rnncore.explain(nn.IndRNN(8, 64))
    assert independent.multiply_adds == 64 * 8
    assert independent.weight_bytes == 0


def test_layers_inside_a_model_and_the_table() -> None:
    costs = rnncore.explain(nn.Sequential(nn.Linear(4, 8), nn.ReLU()))
    assert costs == []
    model = nn.Module()
    model.encoder = nn.GRU(4, 16, num_layers=2)
    model.head = nn.Linear(16, 2)
    costs = rnncore.explain(model)
    assert [(c.module, c.layer) for c in costs] == [("encoder", 0), ("encoder", 1)]
    assert "encoder[1]" in str(costs)
    assert rnncore.target_name() in str(costs)


def test_only_modules() -> None:
    with pytest.raises(TypeError, match=r"\[explain\] model: expected a module, got int"):
        rnncore.explain(3)
