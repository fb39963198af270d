"""ONNX graphs read and run. Oracles: the operator cases of the `onnx` package; ONNX Runtime where it is installed."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore
from rnncore import convert, nn
from rnncore.convert import ConversionError

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import _NodeTestCases as ALL_CASES
    from onnx.backend.test.case.node import gru, lstm, rnn  # noqa: F401 (their import collects the cases)

KINDS = ("RNN", "LSTM", "GRU")
CASES = [case for case in ALL_CASES if case.model.graph.node[0].op_type in KINDS]
Array = np.ndarray[Any, Any]


@pytest.fixture(name="runtime")
def runtime_fixture() -> Any:
    return pytest.importorskip("onnxruntime")


def model_of(
    nodes: Any, inputs: dict[str, Array], outputs: list[str], weights: dict[str, Array] | None = None, opset: int = 17
) -> Any:
    """A model whose inputs have the shapes of these arrays."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in inputs.items()}
    ports = [helper.make_tensor_value_info(name, kinds[name], value.shape) for name, value in inputs.items()]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "test", ports, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def by_runtime(runtime: Any, model: Any, inputs: dict[str, Array]) -> list[Array]:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def test_there_are_eighteen_cases() -> None:
    assert len({case.name for case in CASES}) == 18


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_operator_cases_of_onnx(case: Any) -> None:
    graph = convert.from_onnx(case.model)
    for inputs, outputs in case.data_sets:
        for got, wanted in zip(graph.run(*inputs), outputs, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=case.rtol, atol=case.atol)


# Recurrent nodes against ONNX Runtime --------------------------------------------------------------------

T, N, I, H = 5, 3, 4, 6  # noqa: E741
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent_node(
    kind: str, seed: int, *, peepholes: bool = False, without: tuple[str, ...] = (), **attributes: Any
) -> tuple[Any, dict[str, Array], dict[str, Array]]:
    """A node with random weights: the node, its inputs and its weights."""
    rng = np.random.default_rng(seed)

    def values(*shape: int) -> Array:
        return rng.uniform(-0.9, 0.9, shape).astype(np.float32)

    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[kind] * H
    inputs = {
        "X": values(T, N, I),
        "sequence_lens": np.array([5, 2, 3], np.int32),
        "initial_h": values(directions, N, H),
    }
    weights = {"W": values(directions, rows, I), "R": values(directions, rows, H), "B": values(directions, 2 * rows)}
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    if kind == "LSTM":
        inputs["initial_c"] = values(directions, N, H)
        names.append("initial_c")
    if peepholes:
        weights["P"] = values(directions, 3 * H)
        names.append("P")
    for name in without:
        inputs.pop(name, None)
        weights.pop(name, None)
    given = [name if name in inputs or name in weights else "" for name in names]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    return helper.make_node(kind, given, outputs, hidden_size=H, **attributes), inputs, weights


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


# Other nodes against ONNX Runtime ------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 5)).astype(np.float32)
M = RNG.standard_normal((4, 5)).astype(np.float32)
POSITIVE = np.abs(X) + 0.1
INTS = RNG.integers(-5, 6, (3, 4))
BOOLS = INTS > 0


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


OPERATORS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Identity", [X], {}),
    ("Dropout", [X], {}),
    ("Shape", [X], {}),
    ("Shape", [X], {"start": -2, "end": 3}),
    ("ConstantOfShape", [ints(2, 3)], {}),
    ("ConstantOfShape", [ints(2)], {"value": helper.make_tensor("v", onnx.TensorProto.INT64, [1], [7])}),
    ("Cast", [X], {"to": onnx.TensorProto.INT64}),
    ("Cast", [INTS], {"to": onnx.TensorProto.FLOAT}),
    ("Cast", [X], {"to": onnx.TensorProto.DOUBLE}),
    ("Cast", [X], {"to": onnx.TensorProto.BOOL}),
    ("Reshape", [X, ints(0, -1)], {}),
    ("Reshape", [X, ints(2, -1, 0)], {}),
    ("Flatten", [X], {"axis": 2}),
    ("Flatten", [X], {"axis": -1}),
    ("Transpose", [X], {}),
    ("Transpose", [X], {"perm": [1, 2, 0]}),
    ("Transpose", [INTS], {"perm": [1, 0]}),
    ("Squeeze", [X[:, :1], ints(1)], {}),
    ("Squeeze", [X[:1, :1]], {}),
    ("Unsqueeze", [X, ints(-1, 0)], {}),
    ("Concat", [X, X], {"axis": -1}),
    ("Concat", [INTS, INTS], {"axis": 0}),
    ("Split", [X], {"axis": 1}),
    ("Split", [X, ints(1, 3)], {"axis": 1}),
    ("Slice", [X, ints(1, -3), ints(100, -1), ints(0, 2)], {}),
    ("Slice", [X, ints(-1), ints(-100), ints(1), ints(-2)], {}),
    ("Slice", [INTS, ints(0), ints(3)], {}),
    ("Slice", [X, ints(3), ints(1), ints(1)], {}),
    ("Gather", [X, INTS[:2, :2] % 3], {"axis": 0}),
    ("Gather", [M, ints(-1, 0, 3)], {"axis": 0}),
    ("Gather", [X, np.array(-2)], {"axis": 1}),
    ("Gather", [INTS, ints(1, 1)], {"axis": 1}),
    ("Expand", [M, ints(3, 1, 5)], {}),
    ("Tile", [M, ints(2, 3)], {}),
    ("Range", [np.array(2), np.array(9), np.array(3)], {}),
    ("ReverseSequence", [X, ints(3, 1, 0, 2)], {}),
    ("ReverseSequence", [X, ints(4, 1, 0)], {"batch_axis": 0, "time_axis": 1}),
    ("Add", [X, M], {}),
    ("Sub", [X, M[0]], {}),
    ("Mul", [X, np.float32(2.5)], {}),
    ("Div", [X, POSITIVE], {}),
    ("Add", [INTS, INTS[0]], {}),
    ("Div", [INTS, np.where(INTS == 0, -2, INTS)], {}),
    ("Pow", [POSITIVE, np.float32(1.5)], {}),
    ("Pow", [POSITIVE, M], {}),
    ("Neg", [X], {}),
    ("Neg", [INTS], {}),
    ("Abs", [X], {}),
    ("Exp", [X], {}),
    ("Log", [POSITIVE], {}),
    ("Sqrt", [POSITIVE], {}),
    ("Tanh", [X], {}),
    ("Sigmoid", [X], {}),
    ("Relu", [X], {}),
    ("LeakyRelu", [X], {"alpha": 0.3}),
    ("ThresholdedRelu", [X], {"alpha": 0.3}),
    ("Elu", [X], {}),
    ("HardSigmoid", [X], {"alpha": 0.5}),
    ("Softplus", [X], {}),
    ("Softsign", [X], {}),
    ("Clip", [X, np.float32(-0.5), np.float32(0.25)], {}),
    ("Clip", [X, None, np.float32(0.25)], {}),
    ("MatMul", [X, M.T.copy()], {}),
    ("MatMul", [X, X.swapaxes(1, 2).copy()], {}),
    ("MatMul", [X, M[0]], {}),
    ("Gemm", [M, M, RNG.standard_normal(4).astype(np.float32)], {"transB": 1}),
    ("Gemm", [M, M], {"transA": 1, "alpha": 0.5}),
    ("Gemm", [M, M.T.copy(), RNG.standard_normal((4, 1)).astype(np.float32)], {"beta": 2.0}),
    ("Softmax", [X], {}),
    ("Softmax", [X], {"axis": 1}),
    ("LogSoftmax", [X], {"axis": 0}),
    ("LayerNormalization", [X, M[0], M[1]], {"epsilon": 1e-3}),
    ("LayerNormalization", [X, M[0]], {}),
    ("ReduceMean", [X], {"axes": [1]}),
    ("ReduceMean", [X], {}),
    ("ReduceSum", [X, ints(0, -1)], {"keepdims": 0}),
    ("ReduceMax", [X], {"axes": [-1], "keepdims": 0}),
    ("ReduceMin", [INTS], {}),
    ("ReduceProd", [INTS], {"axes": [0]}),
    ("ArgMax", [X], {"axis": -1, "keepdims": 0}),
    ("ArgMax", [X], {"axis": 1}),
    ("Where", [BOOLS, INTS, INTS[0]], {}),
    ("Equal", [INTS, INTS[0]], {}),
    ("Less", [X, M], {}),
    ("Greater", [INTS, INTS[0]], {}),
    ("LessOrEqual", [INTS, INTS[0]], {}),
    ("GreaterOrEqual", [X, M], {}),
    ("Not", [BOOLS], {}),
    ("And", [BOOLS, BOOLS[0]], {}),
    ("Or", [BOOLS, BOOLS[0]], {}),
    ("Min", [X, M], {}),
    ("Max", [X, M, M[0]], {}),
]


@pytest.mark.parametrize("constant", [False, True], ids=["inputs", "weights"])
@pytest.mark.parametrize(
    ("kind", "values", "attributes"), OPERATORS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_operators(runtime: Any, kind: str, values: list[Any], attributes: dict[str, Any], constant: bool) -> None:
    """Against ONNX Runtime, with everything but the first input given at run time or as weights of the model."""
    given = {f"x{i}": np.asarray(value) for i, value in enumerate(values) if value is not None}
    outputs = ["y", "z"] if kind == "Split" else ["y"]
    node = helper.make_node(
        kind, [f"x{i}" if f"x{i}" in given else "" for i in range(len(values))], outputs, **attributes
    )
    late = {name: value for name, value in given.items() if not constant or name == "x0"}
    early = {name: value for name, value in given.items() if name not in late}
    model = model_of([node], late, outputs, early)
    got = convert.from_onnx(model).run(*late.values())
    for mine, theirs in zip(got, by_runtime(runtime, model, late), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=2e-6, atol=2e-6)


def test_every_operator_is_tested() -> None:
    from rnncore.convert.onnx_import import OPERATIONS

    assert set(OPERATIONS) - {"Constant"} == {kind for kind, _, _ in OPERATORS}


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("Squeeze", {"axes": [0]}), ("Unsqueeze", {"axes": [1]}), ("Softmax", {}), ("LogSoftmax", {"axis": 1}),
     ("Slice", {"starts": [1], "ends": [2], "axes": [-1]}), ("Clip", {"min": -0.5, "max": 0.25}),
     ("Dropout", {"ratio": 0.3}), ("ReduceSum", {"axes": [1]}), ("Split", {"split": [1, 3], "axis": 2})],
)  # fmt: skip
def test_operators_of_operator_set_9(runtime: Any, kind: str, attributes: dict[str, Any]) -> None:
    x = RNG.standard_normal((1, 3, 4)).astype(np.float32)
    outputs = ["y", "z"] if kind == "Split" else ["y"]
    model = model_of([helper.make_node(kind, ["x"], outputs, **attributes)], {"x": x}, outputs, opset=9)
    convert.verify(convert.from_onnx(model).run(x), by_runtime(runtime, model, {"x": x}), tolerance=1e-6)


# Whole models of exporters ------------------------------------------------------------------------------


def torch_model(torch: Any, kind: str, options: dict[str, Any]) -> Any:
    class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(11, 5)
            self.rnn = getattr(torch.nn, kind)(5, 7, **options)
            width = 14 if options.get("bidirectional") else 7
            self.norm, self.head = torch.nn.LayerNorm(width), torch.nn.Linear(width, 3)

        def forward(self, ids: Any) -> Any:
            output, _ = self.rnn(self.table(ids))
            return torch.log_softmax(self.head(self.norm(output)), -1), output[:, -1]

    return Model().eval()


@pytest.mark.parametrize(
    ("kind", "options", "dynamo"),
    [("LSTM", {"num_layers": 2, "batch_first": True}, False),
     ("GRU", {"bidirectional": True, "batch_first": True}, False),
     ("LSTM", {"bidirectional": True, "batch_first": True}, True),
     ("RNN", {"batch_first": True, "bias": False, "nonlinearity": "relu"}, False)],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_what_torch_exports(kind: str, options: dict[str, Any], dynamo: bool, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    theirs = torch_model(torch, kind, options)
    path = str(tmp_path / "model.onnx")
    sizes: dict[str, Any] = {"dynamic_shapes": ({0: "n", 1: "t"},)} if dynamo else {}
    if not dynamo:
        sizes = {"input_names": ["ids"], "dynamic_axes": {"ids": {0: "n", 1: "t"}}, "opset_version": 17}
    torch.onnx.export(theirs, (torch.zeros(2, 4, dtype=torch.long),), path, dynamo=dynamo, verbose=False, **sizes)
    graph = convert.from_onnx(path)
    ids = np.random.default_rng(0).integers(0, 11, (3, 6))
    with torch.no_grad():
        convert.verify(graph, theirs(torch.from_numpy(ids)), ids, tolerance=2e-6)
    assert {type(layer).__name__ for layer in graph.layers.children()} == {"Embedding", kind, "LayerNorm", "Linear"}


def test_a_graph_can_be_trained_further() -> None:
    node, inputs, weights = recurrent_node(
        "GRU", 4, direction="reverse", linear_before_reset=1, without=("sequence_lens",)
    )
    head = helper.make_node("MatMul", ["Y_h", "head.weight"], ["z"])
    weights["head.weight"] = RNG.standard_normal((H, 2)).astype(np.float32)
    graph = convert.from_onnx(model_of([node, head], inputs, ["z"], weights))
    names = [name for name, _ in graph.named_parameters()]
    assert names == [*(f"layers.GRU_0.{name}" for name, _ in nn.GRU(I, H).named_parameters()), "layers.head.weight"]
    (z,) = graph(**inputs)
    (z * z).sum().backward()
    for name, parameter in graph.named_parameters():
        numeric = numeric_derivative(graph, inputs, parameter)
        assert parameter.grad is not None, name
        np.testing.assert_allclose(parameter.grad.numpy().flat[0], numeric, rtol=2e-2, atol=2e-3, err_msg=name)


def numeric_derivative(graph: Any, inputs: dict[str, Array], parameter: Any, step: float = 1e-2) -> float:
    """Central difference of the loss in the parameter's first number."""
    losses = []
    for sign in (1, -1):
        values = parameter.numpy().copy()
        values.flat[0] += sign * step
        saved = parameter.numpy().copy()
        with rnncore.no_grad():
            parameter.copy_(values)
        losses.append(float((graph.run(**inputs)[0].astype(np.float64) ** 2).sum()))
        with rnncore.no_grad():
            parameter.copy_(saved)
    return (losses[0] - losses[1]) / (2 * step)


# What is wrong is named ---------------------------------------------------------------------------------


def refused(model: Any, match: str) -> None:
    with pytest.raises(ConversionError, match=match):
        convert.from_onnx(model)


@pytest.mark.parametrize("version", [3, 8])
def test_weights_that_are_listed_as_inputs(version: int) -> None:
    """In old files every weight is; since version 4 it means that the weight may be given anew."""
    node, inputs, weights = recurrent_node("LSTM", 6)
    plain = model_of([node], inputs, list(node.output), weights)
    model = model_of([node], inputs | weights, list(node.output), weights)
    model.ir_version = version
    graph = convert.from_onnx(model)
    assert [port.name for port in graph.inputs] == [*inputs, *(weights if version == 8 else ())]
    wanted = convert.from_onnx(plain).run(**inputs)
    for got, same in zip(graph.run(**inputs), wanted, strict=True):
        np.testing.assert_array_equal(got, same)
    if version == 8:
        other = graph.run(**inputs, B=weights["B"] + 1)
        assert np.abs(other[0] - wanted[0]).max() > 0.01


def test_what_cannot_be_expressed_is_refused_by_name() -> None:
    x = {"x": M}
    node = helper.make_node
    refused(
        model_of([node("Conv", ["x", "x"], ["y"], name="c1")], x, ["y"]),
        r"model: node 'c1' \(Conv\): expected one of RNN",
    )
    refused(model_of([node("Relu", ["x"], ["y"], domain="com.z")], x, ["y"]), r"got com.z.Relu")
    refused(model_of([node("Relu", ["x"], ["y"], evil=1)], x, ["y"]), r"'Relu_0' \(Relu\): .*known ones, got evil")
    refused(model_of([node("Relu", ["w"], ["y"])], x, ["y"]), r"expected input 'w' before this node, got none")
    refused(model_of([node("Relu", ["x"], ["x"])], x, ["x"]), r"expected 'x' once, got twice")
    refused(model_of([node("Relu", ["x"], ["y"])], x, ["z"]), r"got z by no node")
    unused = {"a": M, "b": M}
    refused(model_of([node("Add", ["x", "a"], ["y"])], x, ["y"], unused), r"a use for each weight, got unused b")
    refused(model_of([node("Relu", ["x"], ["y"])], {"x": M.astype(np.float16)}, ["y"]), r"input 'x': .*got float16")
    half = {"h": M.astype(np.float16)}
    refused(model_of([node("Relu", ["h"], ["y"])], x, ["y"], half), r"initialiser 'h': .*got float16")
    refused(model_of([node("Relu", ["x"], ["y"])], x, ["y"], opset=6), r"operator set 7 to")
    refused(
        model_of([node("Slice", ["a", "a", "a"], ["y"])], x, ["y"], unused),
        r"\(Slice\): .*expected integers, got float32",
    )
    refused(onnx.ModelProto(), "got 0")
    refused(b"nonsense", r"bytes: expected an ONNX model")
    with pytest.raises(TypeError, match=r"\[from_onnx\] source: expected a path, bytes or a ModelProto, got int"):
        convert.from_onnx(3)
    with pytest.raises(FileNotFoundError, match=r"absent.onnx"):
        convert.from_onnx("absent.onnx")


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


def test_wrong_inputs_of_run_are_named() -> None:
    graph = convert.from_onnx(model_of([helper.make_node("Add", ["a", "b"], ["y"])], {"a": M, "b": M}, ["y"]))
    np.testing.assert_array_equal(graph.run(M.astype(np.float64), b=M.tolist())[0], M + M)
    with pytest.raises(ValueError, match=r"\[run\] inputs: expected a, b, got a"):
        graph.run(M)
    with pytest.raises(ValueError, match=r"\[run\] inputs: expected 2 \(a, b\), got 3"):
        graph.run(M, M, M)
    with pytest.raises(ValueError, match=r"\[run\] inputs: expected a, b, got a, b, c"):
        graph.run(M, M, c=M)
    with pytest.raises(ValueError, match=r"\[run\] b: expected shape \(4, 5\), got \(5,\)"):
        graph.run(M, M[0])
    with pytest.raises(TypeError, match=r"\[run\] b: expected float32, got complex"):
        graph.run(M, M * 1j)


@pytest.mark.parametrize("kind", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_a_few_bytes_do_not_fill_the_memory(kind: str) -> None:
    many = ints(2**20, 2**20)
    given = {"ConstantOfShape": [many], "Expand": [ints(1), many], "Tile": [ints(1), ints(2**40)]}
    values = given.get(kind, [np.array(0), np.array(2**50), np.array(1)])
    weights = {f"x{i}": value for i, value in enumerate(values)}
    model = model_of([helper.make_node(kind, list(weights), ["y"])], {}, ["y"], weights)
    refused(model, rf"\({kind}\): .*shape: expected at most 268435456 numbers")


def test_a_failing_node_is_named() -> None:
    model = model_of([helper.make_node("Gather", ["x", "i"], ["y"], name="lookup")], {"x": M, "i": ints(1)}, ["y"])
    with pytest.raises(
        ConversionError, match=r"model: expected node 'lookup' \(Gather\) to compute, got .*within \[-4, 4\)"
    ):
        convert.from_onnx(model).run(M, ints(4))


def complete_model() -> bytes:
    node, inputs, weights = recurrent_node("LSTM", 5, direction="bidirectional")
    nodes = [
        node,
        helper.make_node("Squeeze", ["Y_h", "axes"], ["s"]),
        helper.make_node("Softmax", ["s"], ["z"], axis=-1),
    ]
    return model_of(nodes, inputs, ["z"], weights | {"axes": ints()}).SerializeToString()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_files_are_errors_of_their_own_kind(data: st.DataObject) -> None:
    """Whatever bytes change, loading and running end in a ConversionError, or in ValueError and TypeError of `run`."""
    blob = bytearray(complete_model())
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    blob = blob[: data.draw(st.one_of(st.just(len(blob)), st.integers(0, len(blob))))]
    _, inputs, _ = recurrent_node("LSTM", 5, direction="bidirectional")
    with contextlib.suppress(ConversionError, ValueError, TypeError):
        convert.from_onnx(bytes(blob)).run(*inputs.values())
