"""To ONNX: recurrent stacks and chains, with their states as inputs and outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from rnncore import _core, nn
from rnncore.convert._errors import need, refusal
from rnncore.convert._onnx_pooling import write_last_step, write_pool
from rnncore.convert._onnx_stack import write_cell, write_stack
from rnncore.convert._onnx_writer import Writer
from rnncore.convert.chain import CLUSTERED, RECURRENT, Chain, LastStep, Pool, leaves_of
from rnncore.convert.model_files import chain_of_model
from rnncore.models.base import Model

_OPERATION = "to_onnx"
OLDEST = 17  # LayerNormalization


def to_onnx(
    module: nn.Module, path: str | os.PathLike[str] | None = None, *, opset: int = OLDEST, lengths: bool = False
) -> Any:
    """The ONNX model that computes what `module` computes.

    Args:
        module: A recurrent module or cell, Embedding, Linear, LayerNorm, Dropout, activations, softmaxes with clusters,
            a `Sequential` or `Chain` of them, or a model: a language model, classifier, tagger, forecaster,
            polyphonic music or transcriber. What belongs to it (vocabulary, labels, ...) stands in the metadata, as
            JSON under "rnncore.NAME".
        path: Where to write it (atomically). Default: nowhere.
        opset: The operator set, 17 or newer.
        lengths: Whether there is an input "lengths" (N) int32; pooling then counts no step beyond. Default: no.

    Returns:
        The onnx.ModelProto. Inputs: "input", then "h_0" (layers * directions, N, H) and "c_0" of each recurrent layer;
        outputs: "output", "h_n", "c_n", shaped alike, so that feeding states back streams a sequence in pieces of any
        length. Time is the first axis unless the first recurrent layer has batch_first; a cell takes one step. With
        several recurrent modules the states are called "NAME.h_0". Where the layers of a stack differ in size, there is
        one state per layer: "h_0.l0" (directions, N, H_0). Time and batch are free. Where initial states are learnt,
        there is an input "begins" (N) bool: True takes the learnt states in place of those given.

    Raises:
        ConversionError: naming the layer that ONNX cannot express.
        ImportError: `onnx` is not installed (the extra "onnx").
    """
    onnx = need(_OPERATION, "onnx", "onnx")
    if opset < OLDEST:
        raise ValueError(f"[{_OPERATION}] opset: expected {OLDEST} or newer, got {opset}")
    chain = chain_of_model(module) if isinstance(module, Model) else module
    leaves = leaves_of(chain)
    recurrent = [name for name, leaf in leaves.items() if isinstance(leaf, RECURRENT)]
    if lengths and not recurrent:
        raise ValueError(f"[{_OPERATION}] lengths: expected a recurrent layer, got none")
    writer = Writer(onnx, _dtype(leaves), opset, lengths)
    axes = _declare_input(writer, leaves, [leaves[name] for name in recurrent])
    value = "input"
    for name, leaf in leaves.items():
        value = _layer(writer, name, leaf, value, f"{name}." if len(recurrent) > 1 else "")
    writer.node("Identity", [value], "output", ["output"])
    axes = ["N"] if any(isinstance(leaf, LastStep | Pool) for leaf in leaves.values()) else axes
    writer.outputs.insert(0, writer.port("output", writer.float_kind, [*axes, "O"]))
    model = writer.model()
    if isinstance(chain, Chain) and chain.facts:
        facts = {f"rnncore.{name}": json.dumps(value) for name, value in chain.facts.items() if value is not None}
        onnx.helper.set_model_props(model, facts)
    if path is not None:
        _core.write_file_atomically(os.fspath(path), model.SerializeToString())
    return model


def _dtype(leaves: dict[str, nn.Module]) -> str:
    dtypes = {parameter.dtype for leaf in leaves.values() for parameter in leaf.parameters()}
    if len(dtypes) > 1:
        raise refusal(_OPERATION, "model", "parameters of one dtype", ", ".join(sorted(dtypes)))
    return dtypes.pop() if dtypes else "float32"


def _declare_input(writer: Writer, leaves: dict[str, nn.Module], recurrent: Sequence[Any]) -> list[str]:
    """Declares "input" and "lengths"; the axes before the features."""
    first = next(iter(leaves.values()))
    axes = ["T", "N"]
    if isinstance(first, _CELLS):
        axes = ["N"]
    elif recurrent and recurrent[0].batch_first:
        axes = ["N", "T"]
    if isinstance(first, nn.Embedding):
        writer.inputs.append(writer.port("input", "INT64", axes))
    else:
        known = first.spec if isinstance(first, (*RECURRENT, *_CELLS)) else first
        width = next((getattr(known, name) for name in _WIDTHS if hasattr(known, name)), "I")
        writer.inputs.append(writer.port("input", writer.float_kind, [*axes, width]))
    if writer.lengths:
        writer.inputs.append(writer.port(writer.lengths, "INT32", ["N"]))
    return axes


def _layer(writer: Writer, name: str, leaf: Any, value: str, prefix: str) -> str:
    own = name or type(leaf).__name__.lower()
    if isinstance(leaf, RECURRENT):
        return write_stack(writer, own, leaf, value, prefix)
    if isinstance(leaf, _CELLS):
        return write_cell(writer, own, leaf, value)
    if isinstance(leaf, nn.Embedding):
        return writer.node("Gather", [writer.weight(f"{own}.weight", leaf.weight.numpy()), value], own)
    if isinstance(leaf, nn.Linear):
        return writer.product(own, value, leaf.weight.numpy(), None if leaf.bias is None else leaf.bias.numpy())
    if isinstance(leaf, nn.LayerNorm):
        parameters = [writer.weight(f"{own}.weight", leaf.weight.numpy())]
        if leaf.bias is not None:
            parameters.append(writer.weight(f"{own}.bias", leaf.bias.numpy()))
        return writer.node("LayerNormalization", [value, *parameters], own, axis=-1, epsilon=leaf.eps)
    if isinstance(leaf, nn.Softmax | nn.LogSoftmax):
        return writer.node(type(leaf).__name__, [value], own, axis=leaf.dim)
    if type(leaf) in _FUNCTIONS:
        return writer.node(_FUNCTIONS[type(leaf)], [value], own)
    if isinstance(leaf, LastStep):
        return write_last_step(writer, own, leaf, value)
    if isinstance(leaf, Pool):
        return write_pool(writer, own, leaf, value)
    if isinstance(leaf, CLUSTERED):
        return _clusters(writer, own, leaf, value)
    if isinstance(leaf, nn.Dropout):
        return value
    place = f"layer {name!r} ({type(leaf).__name__})" if name else type(leaf).__name__
    raise refusal(_OPERATION, place, "a layer that ONNX can express", type(leaf).__name__)


def _clusters(writer: Writer, name: str, leaf: Any, value: str) -> str:
    """Log P(w) = log softmax(head)[w], or log softmax(head)[cluster] + log softmax(words of the cluster)[w]."""
    bounds, weight, bias, clusters = leaf._parts()
    head = writer.product(f"{name}.head", value, weight.numpy(), None if bias is None else bias.numpy())
    head = writer.node("LogSoftmax", [head], f"{name}.head.log", axis=-1)
    listed, count = bounds[0], len(clusters)  # the words that the head holds itself, and the clusters after them
    sizes = [listed] * (listed > 0) + [1] * count
    names = [f"{name}.listed"] * (listed > 0) + [f"{name}.{i}.log" for i in range(count)]
    writer.node("Split", [head, writer.integers(f"{name}.sizes", sizes)], f"{name}.split", names, axis=-1)
    parts = names[: len(names) - count]
    for i, (projection, words, word_bias) in enumerate(clusters):
        own = f"{name}.{i}"
        inner = value if projection is None else writer.product(f"{own}.inner", value, projection.numpy())
        scores = writer.product(f"{own}.words", inner, words.numpy(), None if word_bias is None else word_bias.numpy())
        scores = writer.node("LogSoftmax", [scores], f"{own}.softmax", axis=-1)
        parts.append(writer.node("Add", [scores, f"{own}.log"], own))
    return writer.node("Concat", parts, f"{name}.all", axis=-1) if len(parts) > 1 else parts[0]


_WIDTHS = ("input_size", "in_features", "size")  # what layers call the size of their input
_CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.MGUCell, nn.IndRNNCell)
_FUNCTIONS: dict[type[nn.Module], str] = {nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid", nn.ReLU: "Relu"}
