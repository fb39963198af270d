"""Live parity with ONNX Runtime for what PyTorch lacks. Skipped, visibly, where onnx or onnxruntime are absent.

float32; ONNX Runtime's own sigmoid and tanh are rational approximations, good to some 1e-6 of the value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import assert_close

import rnncore
from rnncore import nn

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx_reference import run_onnx

TOLERANCE = 1e-5
SIGMOID, TANH = ("sigmoid", None, None), ("tanh", None, None)
ACTIVATIONS = [
    ("sigmoid", None, None), ("tanh", None, None), ("relu", None, None), ("affine", 0.8, 0.1),
    ("leaky-relu", 0.2, None), ("thresholded-relu", 0.3, None), ("scaled-tanh", 1.2, 0.7),
    ("hard-sigmoid", 0.3, 0.4), ("elu", 0.9, None), ("softsign", None, None), ("softplus", None, None),
]  # fmt: skip


def choice(activation: tuple[str, Any, Any]) -> Any:
    numbers = [number for number in activation[1:] if number is not None]
    return (activation[0], *numbers) if numbers else activation[0]


def compare(module: Any, operator: str, **attributes: Any) -> None:
    rng = np.random.default_rng(5)
    weights = {name: rng.uniform(-0.7, 0.7, p.shape).astype("float32") for name, p in module.named_parameters()}
    module.load_state_dict(weights)
    x = rng.standard_normal((6, 3, module.input_size)).astype("float32")
    letters = rnncore._core.gate_letters(module.spec.cell, module.spec.options)
    got = module(x)[0].numpy()
    assert_close(got, run_onnx(operator, letters, x, weights, **attributes), TOLERANCE, operator)


@pytest.mark.parametrize("clip", [0.0, 0.8])
@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("peephole", [False, True])
def test_lstm_peepholes_coupling_clip(peephole: bool, coupled: bool, clip: float) -> None:
    attributes: dict[str, Any] = {"input_forget": int(coupled)} | ({"clip": clip} if clip else {})
    compare(nn.LSTM(4, 7, peephole=peephole, coupled=coupled, clip=clip), "LSTM", **attributes)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a[0])
def test_lstm_activations(activation: tuple[str, Any, Any]) -> None:
    """Each in the candidate's and in c's place, and a hard sigmoid in the gates'."""
    gate = ("hard-sigmoid", 0.3, 0.4)
    for candidate, hidden in ((activation, TANH), (TANH, activation)):
        chosen = {"gate": choice(gate), "candidate": choice(candidate), "hidden": choice(hidden)}
        compare(nn.LSTM(4, 7, activations=chosen), "LSTM", activations=[gate, candidate, hidden])


@pytest.mark.parametrize("clip", [0.0, 0.8])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a[0])
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_activations_clip_and_both_resets(reset_after: bool, activation: tuple[str, Any, Any], clip: float) -> None:
    module = nn.GRU(4, 7, reset_after=reset_after, clip=clip, activations={"candidate": choice(activation)})
    attributes: dict[str, Any] = {"clip": clip} if clip else {}
    attributes["linear_before_reset"] = int(reset_after)
    compare(module, "GRU", activations=[SIGMOID, activation], **attributes)


@pytest.mark.parametrize("clip", [0.0, 0.8])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a[0])
def test_rnn_activations_and_clip(activation: tuple[str, Any, Any], clip: float) -> None:
    attributes: dict[str, Any] = {"clip": clip} if clip else {}
    compare(nn.RNN(4, 7, nonlinearity=choice(activation), clip=clip), "RNN", activations=[activation], **attributes)


def test_the_comparison_would_notice_a_missing_peephole() -> None:
    module = nn.LSTM(4, 7, peephole=True)
    weights = {name: parameter.numpy() for name, parameter in module.named_parameters()}
    x = np.random.default_rng(0).standard_normal((6, 3, 4)).astype("float32")
    wanted = run_onnx("LSTM", "ifgo", x, {**weights, "weight_peephole_l0": 0 * weights["weight_peephole_l0"]})
    with pytest.raises(AssertionError):
        assert_close(module(x)[0].numpy(), wanted, TOLERANCE, "LSTM")
