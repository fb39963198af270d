"""Recurrent stacks and cells as nodes of ONNX, with their states as inputs and outputs of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore.convert._errors import refusal
from rnncore.convert._onnx_cells import LayerNode, describe_layer
from rnncore.convert._onnx_writer import Writer
from rnncore.convert._recurrent import facts_of

_OPERATION = "to_onnx"


def write_stack(writer: Writer, name: str, leaf: Any, value: str, prefix: str) -> str:
    """A stack over (T, N, I), or (N, T, I) with batch_first; the name of its output."""
    facts = facts_of(leaf.spec)
    place = f"layer {name!r}"
    _refuse(facts, place)
    if leaf.batch_first:
        value = writer.node("Transpose", [value], f"{name}.time_first", perm=[1, 0, 2])
    layers = [describe_layer(leaf, facts, k, place) for k in range(len(facts["layers"]))]
    states = _States(writer, prefix, layers, 2 if facts["bidirectional"] else 1)
    if facts.get("learn_initial_state"):
        states.begin_learnt(name, leaf)
    below = [value]  # the input, then the output of each layer
    for k, layer in enumerate(layers):
        own = f"{name}.l{k}"
        given = _joined(writer, own, below) if facts.get("connection") == "dense" else below[-1]
        output = _write_layer(writer, own, layer, given, states.before[k], states.after(own, k))
        output = _merged(writer, own, output, facts)
        below.append(_connected(writer, own, leaf, k, output, below[-1], facts))
    states.declare_outputs()
    if leaf.batch_first:
        return writer.node("Transpose", [below[-1]], f"{name}.batch_first", perm=[1, 0, 2])
    return below[-1]


def _refuse(facts: dict[str, Any], place: str) -> None:
    """What ONNX' nodes cannot do."""
    lacking = [key for key in ("delays", "period", "proj_size") if any(key in layer for layer in facts["layers"])]
    if lacking:
        raise refusal(_OPERATION, place, "a stack that ONNX can express", ", ".join(lacking))


def _write_layer(
    writer: Writer, name: str, layer: LayerNode, value: str, before: Sequence[str], after: Sequence[str]
) -> str:
    """One layer: Y (T, D, N, H)."""
    weights = {one: writer.weight(f"{name}.{one}", array) for one, array in layer.weights.items()}
    inputs = [value, weights["W"], weights["R"], weights.get("B", ""), writer.lengths, *before]
    if "P" in weights:
        inputs.append(weights["P"])
    return writer.node(layer.kind, inputs, name, [f"{name}.Y", *after], **layer.attributes)


def _merged(writer: Writer, name: str, value: str, facts: dict[str, Any]) -> str:
    """Y (T, D, N, H) as (T, N, D*H), or (T, N, H) where directions are added."""
    if not facts["bidirectional"]:
        return writer.node("Squeeze", [value, writer.integers("axis_1", [1])], f"{name}.one_direction")
    merge = facts.get("merge", "concat")
    if merge != "concat":
        return writer.reduced({"sum": "ReduceSum", "mean": "ReduceMean"}[merge], value, 1, f"{name}.{merge}")
    turned = writer.node("Transpose", [value], f"{name}.directions_last", perm=[0, 2, 1, 3])
    shape = writer.integers("keep_keep_rest", [0, 0, -1])
    return writer.node("Reshape", [turned, shape], f"{name}.both_directions")


def _joined(writer: Writer, name: str, below: Sequence[str]) -> str:
    """The input and all outputs below, side by side."""
    return below[0] if len(below) == 1 else writer.node("Concat", below, f"{name}.dense", axis=-1)


def _connected(writer: Writer, name: str, leaf: Any, k: int, y: str, below: str, facts: dict[str, Any]) -> str:
    """Y + x, or t y + (1 - t) x = (y - x) t + x, from the second layer on."""
    connection = facts.get("connection", "none")
    if k == 0 or connection in ("none", "dense"):
        return y
    skip = getattr(leaf, f"weight_skip_l{k}", None)
    x = below if skip is None else writer.product(f"{name}.skip", below, skip.numpy())
    if connection == "residual":
        return writer.node("Add", [y, x], f"{name}.residual")
    weight, bias = (getattr(leaf, f"{kind}_highway_l{k}").numpy() for kind in ("weight", "bias"))
    gate = writer.node("Sigmoid", [writer.product(f"{name}.highway", below, weight, bias)], f"{name}.gate")
    difference = writer.node("Sub", [y, x], f"{name}.difference")
    return writer.node("Add", [writer.node("Mul", [difference, gate], f"{name}.carried"), x], f"{name}.joined")


class _States:
    """Initial and final states: stacked as in PyTorch where all layers are alike, else one by one.

    `before` holds, per layer, the names of its initial states; `after(own, k)` names the final ones.
    """

    def __init__(self, writer: Writer, prefix: str, layers: Sequence[LayerNode], directions: int) -> None:
        self._writer = writer
        self._prefix = prefix
        self._layers = layers
        self._directions = directions
        self._after: list[list[str]] = []
        self._alike = len({(layer.hidden_size, layer.kind == "LSTM") for layer in layers}) == 1
        self.before = self._stacked() if self._alike else self._separate()

    def _separate(self) -> list[list[str]]:
        names = [[f"{self._prefix}{kind}_0.l{k}" for kind in layer.states] for k, layer in enumerate(self._layers)]
        for layer, own in zip(self._layers, names, strict=True):
            for name in own:
                shape = [self._directions, "N", layer.hidden_size]
                self._writer.inputs.append(self._writer.port(name, self._writer.float_kind, shape))
        return names

    def _stacked(self) -> list[list[str]]:
        count = len(self._layers)
        names: list[list[str]] = [[] for _ in self._layers]
        for kind in self._layers[0].states:
            whole = f"{self._prefix}{kind}_0"
            self._writer.inputs.append(self._writer.port(whole, self._writer.float_kind, self._whole_shape()))
            parts = [whole]
            if count > 1:
                parts = [f"{whole}.l{k}" for k in range(count)]
                sizes = self._writer.integers(f"{whole}.sizes", [self._directions] * count)
                self._writer.node("Split", [whole, sizes], f"{whole}.split", parts, axis=0)
            for own, part in zip(names, parts, strict=True):
                own.append(part)
        return names

    def _whole_shape(self) -> list[Any]:
        return [len(self._layers) * self._directions, "N", self._layers[0].hidden_size]

    def begin_learnt(self, name: str, leaf: Any) -> None:
        """Where the input "begins" (N) says so, the learnt states stand in the place of those given."""
        writer = self._writer
        if all(port.name != "begins" for port in writer.inputs):
            writer.inputs.append(writer.port("begins", "BOOL", ["N"]))
        mask = writer.node("Unsqueeze", ["begins", writer.integers("axes_0_2", [0, 2])], f"{name}.begins")
        endings = ["", "_reverse"][: self._directions]
        for k, layer in enumerate(self._layers):
            for i, kind in enumerate(layer.states):
                rows = [getattr(leaf, f"{kind}_0_l{k}{end}").numpy() for end in endings]
                learnt = writer.weight(f"{name}.{kind}_0.l{k}", np.stack(rows)[:, None])  # (D, 1, H)
                given = self.before[k][i]
                self.before[k][i] = writer.node("Where", [mask, learnt, given], f"{name}.l{k}.{kind}_first")

    def after(self, own: str, k: int) -> list[str]:
        """Names for the final states of layer k."""
        self._after.append([f"{own}.{kind}_n" for kind in self._layers[k].states])
        return self._after[-1]

    def declare_outputs(self) -> None:
        """Makes the final states outputs of the graph."""
        if self._alike:
            for i, kind in enumerate(self._layers[0].states):
                self._output(f"{self._prefix}{kind}_n", [own[i] for own in self._after], self._whole_shape())
            return
        for k, (layer, own) in enumerate(zip(self._layers, self._after, strict=True)):
            for kind, name in zip(layer.states, own, strict=True):
                shape = [self._directions, "N", layer.hidden_size]
                self._output(f"{self._prefix}{kind}_n.l{k}", [name], shape)

    def _output(self, name: str, parts: Sequence[str], shape: Sequence[Any]) -> None:
        self._writer.node("Concat", parts, f"{name}.stacked", [name], axis=0)
        self._writer.outputs.append(self._writer.port(name, self._writer.float_kind, shape))


def write_cell(writer: Writer, name: str, leaf: Any, value: str) -> str:
    """One step of a cell over (N, I): a sequence of length 1."""
    layer = describe_layer(leaf, facts_of(leaf.spec), 0, f"layer {name!r}")
    axis = writer.integers("axis_0", [0])
    before = []
    for kind in layer.states:
        writer.inputs.append(writer.port(f"{kind}_0", writer.float_kind, ["N", layer.hidden_size]))
        before.append(writer.node("Unsqueeze", [f"{kind}_0", axis], f"{name}.{kind}_0"))
    x = writer.node("Unsqueeze", [value, axis], f"{name}.input")
    after = [f"{name}.{kind}_n" for kind in layer.states]
    _write_layer(writer, name, layer, x, before, after)
    for kind, one in zip(layer.states, after, strict=True):
        writer.node("Squeeze", [one, axis], f"{kind}_n", [f"{kind}_n"])
        writer.outputs.append(writer.port(f"{kind}_n", writer.float_kind, ["N", layer.hidden_size]))
    return "h_n"
