"""ONNX graphs read and run: what stands around recurrent nodes, models of exporters, what is wrong with files.

Oracle: ONNX Runtime where it is installed.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore
from rnncore import convert, nn
from rnncore.convert import ConversionError

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402
from onnx_models import Array, H, I, by_runtime, model_of, recurrent_node, refused  # noqa: E402


@pytest.fixture(name="runtime")
def runtime_fixture() -> Any:
    return pytest.importorskip("onnxruntime")


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
