"""ONNX Runtime's LSTM, GRU and RNN with the weights of an rnncore layer, for live parity of what PyTorch lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

_ONNX_NAMES = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "affine": "Affine", "leaky-relu": "LeakyRelu",
    "thresholded-relu": "ThresholdedRelu", "scaled-tanh": "ScaledTanh", "hard-sigmoid": "HardSigmoid", "elu": "Elu",
    "softsign": "Softsign", "softplus": "Softplus",
}  # fmt: skip
_ORDER = {"LSTM": "iofg", "GRU": "zrn", "RNN": "h"}


def _stack(value: np.ndarray, letters: str, order: str, hidden: int) -> np.ndarray:
    """Row blocks in ONNX's order; zeros for a gate that the cell lacks."""
    blocks = dict(zip(letters, np.split(value, len(letters)), strict=True))
    return np.concatenate([blocks.get(gate, np.zeros((hidden, *value.shape[1:]), value.dtype)) for gate in order])


def run_onnx(operator: str, letters: str, x: np.ndarray, weights: dict[str, np.ndarray], **attributes: Any) -> Any:
    """Output (T, N, H) of one layer in one direction over x (T, N, I), float32.

    activations: [(name, alpha or None, beta or None), ...] in ONNX's order.
    """
    hidden = weights["weight_hh_l0"].shape[1]
    order = _ORDER[operator]
    w, r, b_ih, b_hh = (
        _stack(weights[f"{name}_l0"], letters, order, hidden)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    tensors = {"W": w[None], "R": r[None], "B": np.concatenate([b_ih, b_hh])[None]}
    inputs = ["X", "W", "R", "B"]
    if "weight_peephole_l0" in weights:
        own = [letter for letter in letters if letter != "g"]
        rows = dict(zip(own, weights["weight_peephole_l0"], strict=True))
        tensors["P"] = np.concatenate([rows.get(gate, np.zeros(hidden, x.dtype)) for gate in "iof"])[None]
        inputs += ["", "", "", "P"]
    if chosen := attributes.pop("activations", None):
        attributes["activations"] = [_ONNX_NAMES[name] for name, _, _ in chosen]
        alphas = [alpha for _, alpha, _ in chosen if alpha is not None]
        betas = [beta for _, _, beta in chosen if beta is not None]
        attributes |= ({"activation_alpha": alphas} if alphas else {}) | ({"activation_beta": betas} if betas else {})
    node = onnx.helper.make_node(operator, inputs, ["Y"], hidden_size=hidden, **attributes)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [info("X", onnx.TensorProto.FLOAT, x.shape)],
        [info("Y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(t, np.float32), name) for name, t in tensors.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": x})[0][:, 0]
