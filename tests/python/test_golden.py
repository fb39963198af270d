"""Outputs and all gradients against the golden files that PyTorch made (tests/golden/generate.py). No torch needed.

A wrong sign, gate order, sum of a bias's gradient or boundary of a ragged batch fails here. Float64 agrees to 1e-10
(both round at 1e-16 and the sums are short); float32 to 1e-5 of the largest element (its own rounding is 6e-8, some
hundred operations deep).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnncore
from rnncore import Tensor, nn, optim

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RECURRENT = sorted(path.stem.removeprefix("recurrent_") for path in GOLDEN.glob("recurrent_*.safetensors"))
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
Arrays = dict[str, NDArray[Any]]


def read(name: str) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the metadata of a golden file."""
    tensors, metadata = rnncore.load_tensors(GOLDEN / f"{name}.safetensors")
    return {key: np.array(tensor.numpy()) for key, tensor in tensors.items()}, dict(metadata)


def make_layer(case: dict[str, Any], dtype: str) -> nn.RNN | nn.LSTM | nn.GRU:
    """The module that a case describes."""
    sizes = (case["I"], case["H"], case["layers"])
    options = {"bias": case["bias"], "bidirectional": case["bidirectional"], "dtype": dtype}
    if case["cell"] == "lstm":
        return nn.LSTM(*sizes, proj_size=case.get("proj", 0), **options)
    if case["cell"].startswith("gru"):
        return nn.GRU(*sizes, reset_after=case["cell"] == "gru", **options)
    return nn.RNN(*sizes, nonlinearity=case["cell"].removeprefix("rnn-"), **options)


def assert_close(name: str, got: Tensor | None, wanted: NDArray[Any], dtype: str) -> None:
    assert got is not None, name
    assert got.dtype == dtype
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(got.numpy(), wanted, rtol=0, atol=TOLERANCE[dtype] * scale, err_msg=name)


def test_all_golden_files_are_there() -> None:
    assert len(RECURRENT) >= 16
    cells = {json.loads(read(f"recurrent_{name}")[1]["case"])["cell"] for name in RECURRENT}
    assert cells == {"rnn-tanh", "rnn-relu", "rnn-sigmoid", "lstm", "gru", "gru-reset-before"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layer_gives_pytorchs_outputs_and_gradients(name: str, dtype: str) -> None:
    golden, metadata = read(f"recurrent_{name}")
    layer = make_layer(json.loads(metadata["case"]), dtype)
    parameters = {key.removeprefix("parameter."): a for key, a in golden.items() if key.startswith("parameter.")}
    layer.load_state_dict({key: array.astype(dtype) for key, array in parameters.items()})
    leaves = {
        key: Tensor(golden[key].astype(dtype), requires_grad=True) for key in ("x", "h_0", "c_0") if key in golden
    }
    state: Any = (leaves["h_0"], leaves["c_0"]) if "c_0" in leaves else leaves["h_0"]
    options = {key: golden[key] for key in ("lengths", "reset_mask") if key in golden}

    y, last = layer(leaves["x"], state, **options)
    results = {"y": y, "h_n": last[0], "c_n": last[1]} if "c_0" in leaves else {"y": y, "h_n": last}
    for key, value in results.items():
        assert_close(key, value, golden[key], dtype)

    terms = [(value * Tensor(golden[f"d{key}"].astype(dtype))).sum() for key, value in results.items()]
    sum(terms[1:], terms[0]).backward()
    for key, leaf in {**leaves, **dict(layer.named_parameters())}.items():
        assert_close(f"grad.{key}", leaf.grad, golden[f"grad.{key}"], dtype)


OPTIMIZERS = ("sgd", "sgd_momentum", "sgd_nesterov", "adam", "adamw", "rmsprop", "rmsprop_centered", "asgd")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_follows_pytorchs(name: str, dtype: str) -> None:
    golden, metadata = read("optimizers")
    settings = json.loads(metadata[name])
    parameter = Tensor(golden[f"{name}.start"].astype(dtype), requires_grad=True)
    optimizer = getattr(optim, settings.pop("kind"))([parameter], **settings)
    steps = sum(key.startswith(f"{name}.gradient.") for key in golden)
    assert steps >= 5
    for step in range(steps):
        parameter.grad = Tensor(golden[f"{name}.gradient.{step}"].astype(dtype))
        optimizer.step()
        assert_close(f"{name} after step {step}", parameter.detach(), golden[f"{name}.after.{step}"], dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["mean", "sum", "smoothed", "ignoring", "ignoring_smoothed"])
def test_cross_entropy_gives_pytorchs_loss_and_gradient(name: str, dtype: str) -> None:
    golden, metadata = read("losses")
    logits = Tensor(golden["logits"].astype(dtype), requires_grad=True)
    loss = nn.CrossEntropyLoss(**json.loads(metadata[name]))(logits, Tensor(golden["targets"]))
    assert_close("loss", loss.reshape(1), golden[f"{name}.loss"], dtype)
    loss.backward()
    assert_close("gradient", logits.grad, golden[f"{name}.grad"], dtype)
