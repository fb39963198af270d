"""RNN, LSTM and GRU of ONNX. Oracles: the operator cases of the `onnx` package; ONNX Runtime where it is installed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from rnncore import convert
from rnncore.convert import ConversionError

onnx = pytest.importorskip("onnx")
from onnx_models import by_runtime, model_of, recurrent_node, refused  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import _NodeTestCases as ALL_CASES
    from onnx.backend.test.case.node import gru, lstm, rnn  # noqa: F401 (their import collects the cases)

KINDS = ("RNN", "LSTM", "GRU")
CASES = [case for case in ALL_CASES if case.model.graph.node[0].op_type in KINDS]


@pytest.fixture(name="runtime")
def runtime_fixture() -> Any:
    return pytest.importorskip("onnxruntime")


def test_there_are_eighteen_cases() -> None:
    assert len({case.name for case in CASES}) == 18


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_operator_cases_of_onnx(case: Any) -> None:
    graph = convert.from_onnx(case.model)
    for inputs, outputs in case.data_sets:
        for got, wanted in zip(graph.run(*inputs), outputs, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=case.rtol, atol=case.atol)


PLAIN = [
    (kind, {"direction": direction, "without": without, **extra})
    for kind in KINDS
    for direction in ("forward", "reverse", "bidirectional")
    for without in ((), ("B", "sequence_lens", "initial_h", "initial_c"), ("initial_h",))
    for extra in ([{"linear_before_reset": 1}, {"linear_before_reset": 0}] if kind == "GRU" else [{}])
] + [
    ("RNN", {"activations": ["Relu"]}),
    ("RNN", {"activations": ["Sigmoid", "Relu"], "direction": "bidirectional"}),
]


@pytest.mark.parametrize(("kind", "options"), PLAIN, ids=str)
def test_recurrent_nodes(runtime: Any, kind: str, options: dict[str, Any]) -> None:
    node, inputs, weights = recurrent_node(kind, 1, **options)
    model = model_of([node], inputs, list(node.output), weights)
    graph = convert.from_onnx(model)
    wanted = by_runtime(runtime, model, inputs)
    assert convert.verify(graph.run(**inputs), wanted, tolerance=2e-6) > 0
    # the same with weights that are only known when it runs
    loose = convert.from_onnx(model_of([node], inputs | weights, list(node.output)))
    for got, same in zip(loose.run(**inputs, **weights), graph.run(**inputs), strict=True):
        np.testing.assert_array_equal(got, same)


FUNCTIONS: dict[str, tuple[list[float], list[float]]] = {
    "Affine": ([0.7], [0.1]),
    "Relu": ([], []),
    "LeakyRelu": ([0.2], []),
    "ThresholdedRelu": ([0.3], []),
    "Tanh": ([], []),
    "ScaledTanh": ([1.3], [0.7]),
    "Sigmoid": ([], []),
    "HardSigmoid": ([0.3], [0.4]),
    "Elu": ([0.8], []),
    "Softsign": ([], []),
    "Softplus": ([], []),
    "leakyrelu": ([], []),  # with its default; ONNX Runtime reads such names for LSTM and GRU alone
    "hardsigmoid": ([], []),
}
USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def with_function(kind: str, name: str, place: int, directions: int) -> dict[str, Any]:
    """A function in one place, in the last direction alone."""
    usual = USUAL[kind]
    names = usual * directions
    names[(directions - 1) * len(usual) + place] = name
    alpha, beta = FUNCTIONS[name]
    lists = {"activations": names, "activation_alpha": alpha, "activation_beta": beta}
    return {key: value for key, value in lists.items() if value}


OPTIONS = [
    (kind, {**with_function(kind, name, place, directions), "direction": direction})
    for kind in KINDS
    for name in FUNCTIONS
    for place in range(len(USUAL[kind]))
    if kind != "RNN" or name[0].isupper()
    for direction, directions in (("forward", 1), ("bidirectional", 2))
] + [
    (kind, {"direction": direction, **extra})
    for direction in ("forward", "reverse", "bidirectional")
    for kind, extra in (
        ("RNN", {"clip": 0.4}),
        ("GRU", {"clip": 0.4, "linear_before_reset": 1}),
        ("GRU", {"clip": 0.4, "linear_before_reset": 0}),
        ("LSTM", {"clip": 0.4}),
        ("LSTM", {"clip": 0.4, "peepholes": True}),
        ("LSTM", {"clip": 0.4, "peepholes": True, "input_forget": 1}),
        ("LSTM", {"input_forget": 1}),
        ("LSTM", {"peepholes": True, "without": ("initial_c", "B")}),
        ("LSTM", {"peepholes": True, "activations": ["HardSigmoid", "Softsign", "ScaledTanh"] * 2,
                  "activation_alpha": [0.25, 1.5] * 2, "activation_beta": [0.45, 0.6] * 2,
                  "direction": "bidirectional"}),
    )
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_options_of_recurrent_nodes(runtime: Any, kind: str, options: dict[str, Any]) -> None:
    node, inputs, weights = recurrent_node(kind, 1, **options)
    model = model_of([node], inputs, list(node.output), weights)
    wanted = by_runtime(runtime, model, inputs)
    assert convert.verify(convert.from_onnx(model).run(**inputs), wanted, tolerance=3e-6) > 0


def test_every_function_is_tested_and_options_matter() -> None:
    from rnncore.convert._onnx_cells import ACTIVATIONS

    assert set(ACTIVATIONS) <= set(FUNCTIONS)
    plain, *others = (
        recurrent_node("LSTM", 1, **options)
        for options in ({}, {"clip": 0.4}, {"input_forget": 1}, {"activations": ["Sigmoid", "Relu", "Tanh"]})
    )
    outputs = [
        convert.from_onnx(model_of([node], inputs, list(node.output), weights)).run(**inputs)[0]
        for node, inputs, weights in (plain, *others)
    ]
    assert all(np.abs(outputs[0] - other).max() > 0.01 for other in outputs[1:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_layout_1_is_layout_0_with_the_batch_first(kind: str, direction: str) -> None:
    """ONNX Runtime does not have it; by definition it only moves axes."""
    node, inputs, weights = recurrent_node(kind, 2, direction=direction)
    wanted = convert.from_onnx(model_of([node], inputs, list(node.output), weights)).run(**inputs)
    turned = {name: value if name == "sequence_lens" else value.swapaxes(0, 1) for name, value in inputs.items()}
    node, _, _ = recurrent_node(kind, 2, direction=direction, layout=1)
    got = convert.from_onnx(model_of([node], turned, list(node.output), weights)).run(**turned)
    np.testing.assert_array_equal(got[0], np.transpose(wanted[0], (2, 0, 1, 3)))
    for after, before in zip(got[1:], wanted[1:], strict=True):
        np.testing.assert_array_equal(after, before.swapaxes(0, 1))


def test_lengths_of_zero_and_wrong_lengths() -> None:
    node, inputs, weights = recurrent_node("LSTM", 3, direction="bidirectional")
    graph = convert.from_onnx(model_of([node], inputs, list(node.output), weights))
    inputs["sequence_lens"] = np.array([5, 0, 1], np.int32)
    output, h, c = graph.run(**inputs)
    assert not output[:, :, 1].any()
    np.testing.assert_array_equal(h[:, 1], inputs["initial_h"][:, 1])
    np.testing.assert_array_equal(c[:, 1], inputs["initial_c"][:, 1])
    inputs["sequence_lens"] = np.array([5, 6, 1], np.int32)
    with pytest.raises(ConversionError, match=r"node 'LSTM_0' \(LSTM\) .*sequence_lens: expected within \[0, 5\]"):
        graph.run(**inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ["Tanh", "Tanh"]}, r"activations: expected 1 names"),
        ({"activations": ["Gelu"]}, r"activations: expected some of .*got 'Gelu'"),
        (
            {"activations": ["Affine"], "activation_alpha": [0.5]},
            r"activation_beta: expected a number for Affine, which",
        ),
        ({"activation_alpha": [0.5]}, r"expected no more than are used, got \[0.5\]"),
        ({"direction": "sideways"}, r"direction: expected one of"),
        ({"evil": 1}, r"known ones, got evil"),
    ],
)
def test_wrong_attributes_of_recurrent_nodes(options: dict[str, Any], message: str) -> None:
    node, inputs, weights = recurrent_node("RNN", 0, **options)
    refused(model_of([node], inputs, ["Y"], weights), r"'RNN_0' \(RNN\): .*" + message)


@pytest.mark.parametrize("name", ["W", "R", "B"])
def test_wrong_shapes_of_recurrent_weights(name: str) -> None:
    node, inputs, weights = recurrent_node("GRU", 0)
    weights[name] = weights[name][:, 1:].copy()
    refused(model_of([node], inputs, ["Y"], weights), r"'GRU_0' \(GRU\): .*expected")
