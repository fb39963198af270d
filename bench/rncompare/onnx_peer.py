"""ONNX Runtime: its LSTM, GRU and RNN operators, stacked, in inference (it does not train)."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rncompare.cases import GATES, Case
from rncompare.peer import Peer, Run, UnsupportedError

OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn-tanh": "RNN"}
OPSET = 17


def stack_model(case: Case, random: np.random.Generator) -> bytes:
    """A stack of recurrent operators with random weights: x (T, N, H) -> y (T, N, H)."""
    gates, bound = GATES[case.cell], 1.0 / math.sqrt(case.H)

    def weight(name: str, *shape: int) -> TensorProto:
        values: NDArray[np.float32] = random.uniform(-bound, bound, shape).astype(np.float32)
        return numpy_helper.from_array(values, name)

    nodes, weights, below = [], [numpy_helper.from_array(np.array([1], np.int64), "direction")], "x"
    for layer in range(case.L):
        rows = gates * case.H
        weights += [weight(f"W{layer}", 1, rows, case.H), weight(f"R{layer}", 1, rows, case.H)]
        weights.append(weight(f"B{layer}", 1, 2 * rows))
        # PyTorch's and rnncore's GRU multiplies by the reset gate after the recurrent product.
        options = {"linear_before_reset": 1} if case.cell == "gru" else {}
        inputs = [below, f"W{layer}", f"R{layer}", f"B{layer}"]
        nodes.append(helper.make_node(OPERATORS[case.cell], inputs, [f"Y{layer}"], hidden_size=case.H, **options))
        below = "y" if layer == case.L - 1 else f"x{layer + 1}"
        nodes.append(helper.make_node("Squeeze", [f"Y{layer}", "direction"], [below]))
    shape = [case.T, case.N, case.H]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "stack", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized


class OnnxPeer(Peer):
    """An InferenceSession with all graph optimisations and bound inputs and outputs."""

    name = "onnxruntime"

    def __init__(self, threads: int) -> None:
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL

    def version(self) -> str:
        """ONNX Runtime's version."""
        return str(onnxruntime.__version__)

    def prepare(self, case: Case) -> Run:
        """See Peer.prepare."""
        if case.work != "infer":
            raise UnsupportedError("ONNX Runtime neither trains nor draws text")
        random = np.random.default_rng(case.seed)
        model = stack_model(case, random)
        session = onnxruntime.InferenceSession(model, self._options, providers=["CPUExecutionProvider"])
        x = random.standard_normal((case.T, case.N, case.H), np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", onnxruntime.OrtValue.ortvalue_from_numpy(np.empty_like(x)))

        def infer() -> None:
            session.run_with_iobinding(binding)

        return infer
