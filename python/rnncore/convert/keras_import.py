"""From Keras: Sequential and functional models of `.keras` and `.h5` files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnncore.convert._errors import ConversionError, refusal
from rnncore.convert._keras_files import KerasFile, read_keras
from rnncore.convert._keras_layers import KerasLayer, build
from rnncore.convert.graph import FAULTS, Graph, Node, Port

_OPERATION = "from_keras"


def from_keras(path: str | os.PathLike[str]) -> Graph:
    """The model of a Keras file, ready to `run`. Neither Keras nor TensorFlow is needed.

    Layers: Embedding, SimpleRNN, LSTM, GRU, Bidirectional, Dense, TimeDistributed, Dropout, Masking,
    LayerNormalization, Activation, ReLU, Softmax, Concatenate, Add, Multiply, Average.

    Args:
        path: A `.keras` file (Keras 3), an `.h5` file of a whole model (Keras 2 and 3), or a `.json` file of a
            real-time audio engine (see `from_json`).

    Returns:
        A `Graph` over (N, T, ...), as in Keras; masks are computed inside. It computes inference.

    Raises:
        ConversionError: naming file and layer: an unknown layer or option, missing and unused weights.
        ImportError: `h5py` is not installed (the extra "keras").
    """
    place = Path(path)
    if place.suffix.lower() == ".json":
        from rnncore.convert.audio_json import from_json

        return from_json(place)
    file = read_keras(place)
    try:
        return _Import(file).graph
    except ConversionError:
        raise
    except FAULTS as error:  # a field that is not what Keras writes
        raise refusal(_OPERATION, file.origin, "a valid Keras model", " ".join(str(error).split())) from error


class _Import:
    """The building of one graph. A value is called LAYER/CALL/TENSOR as in Keras' own bookkeeping."""

    def __init__(self, file: KerasFile) -> None:
        self.file = file
        config = file.config
        kind = config.get("class_name") if isinstance(config, Mapping) else None
        if kind not in ("Sequential", "Functional", "Model"):
            raise refusal(_OPERATION, file.origin, "a Sequential or functional model", repr(kind))
        self.config = config["config"]
        self.nodes: list[Node] = []
        self.layers: dict[str, KerasLayer] = {}
        self.calls: dict[str, int] = {}
        listed = (
            self.config["layers"] if isinstance(self.config, Mapping) else self.config
        )  # Keras 2.0: the list itself
        if kind == "Sequential":
            inputs, outputs = self._sequential(listed)
        else:
            inputs, outputs = self._functional(listed)
        file.weights.finish()
        self.graph = Graph(file.origin, [self._port(*one) for one in inputs], outputs, {})
        self.graph.nodes = self.nodes
        for name, layer in self.layers.items():
            for part, module in layer.modules.items():
                self.graph.layers.put(f"{name}.{part}" if part else name, module)

    def _place(self, entry: Any) -> str:
        name = entry.get("config", {}).get("name") if isinstance(entry.get("config"), Mapping) else None
        return f"{self.file.origin}: layer {name!r} ({entry.get('class_name')})"

    def _build(self, entry: Any) -> str:
        """Builds the layer of an entry once; its name."""
        name = entry["config"]["name"]
        try:
            layer = build(self.file, entry["class_name"], entry["config"], name)
        except ConversionError:
            raise
        except FAULTS as error:
            reason = " ".join(str(error).split())
            raise refusal(_OPERATION, self._place(entry), "a layer that can be expressed", reason) from None
        if name in self.layers:
            raise refusal(_OPERATION, self._place(entry), "one layer of this name", "two")
        self.layers[name] = layer
        return str(name)

    def _call(self, entry: Any, name: str, inputs: Sequence[str], states: Sequence[str]) -> list[str]:
        """A node for one call of a layer; the names of its outputs."""
        layer = self.layers[name]
        call = self.calls.get(name, 0)
        self.calls[name] = call + 1
        outputs = [f"{name}/{call}/{i}" for i in range(layer.outputs)]
        count, has_states = len(inputs), bool(states)

        def function(values: Sequence[Any]) -> Sequence[Any]:
            given, masks = values[:count], values[count : 2 * count]
            results, mask = layer.function(given, masks, values[2 * count :] if has_states else None)
            return [*results, mask]

        # A mask belongs to the first output; states and the second half of an unmerged pair go without.
        reads = [*inputs, *(f"{one}:mask" for one in inputs), *states]
        node = Node(name, entry["class_name"], reads, [*outputs, f"{outputs[0]}:mask"], function, plain=layer.plain)
        self.nodes.append(node)
        for other in outputs[1:]:
            self.nodes.append(Node(f"{other}:mask", "NoMask", [], [f"{other}:mask"], lambda values: [None]))
        return outputs

    # Sequential --------------------------------------------------------------------------------------------

    def _sequential(self, listed: Any) -> tuple[list[tuple[str, Any, str]], list[str]]:
        entries = [entry for entry in listed if entry["class_name"] != "InputLayer"]
        if not entries:
            raise refusal(_OPERATION, self.file.origin, "at least one layer", "none")
        first = next((entry for entry in listed if entry["class_name"] == "InputLayer"), entries[0])
        value = "input"
        self._unmasked(value)
        for entry in entries:
            outputs = self._call(entry, self._build(entry), [value], [])
            if len(outputs) != 1:
                raise refusal(_OPERATION, self._place(entry), "one output", str(len(outputs)))
            value = outputs[0]
        return [("input", first["config"], entries[0]["class_name"])], [value]

    def _unmasked(self, name: str) -> None:
        self.nodes.append(Node(f"{name}:mask", "NoMask", [], [f"{name}:mask"], lambda values: [None]))

    def _port(self, name: str, config: Any, reader: str) -> Port:
        """An input. What an Embedding reads may be of any integer or float dtype, as in Keras."""
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        dtype = "any" if reader == "Embedding" else self._dtype(config)
        if not isinstance(shape, list) or not all(size is None or isinstance(size, int) for size in shape):
            return Port(name, dtype, None)
        # Batch and time are free, whatever the model was built for; features are not.
        features = shape[-1:] if len(shape) > 2 and reader != "Embedding" else [None] * (len(shape) > 2)
        return Port(name, dtype, (*([None] * min(len(shape), 2)), *shape[2:-1], *features))

    def _dtype(self, config: Any) -> str:
        dtype = config.get("dtype")
        if isinstance(dtype, Mapping):
            dtype = (dtype.get("config") or {}).get("name")
        return dtype if dtype in ("float32", "float64") else "float32"

    # Functional --------------------------------------------------------------------------------------------

    def _functional(self, listed: Any) -> tuple[list[tuple[str, Any, str]], list[str]]:
        entries = {entry["config"]["name"]: entry for entry in listed}
        ready: dict[str, Any] = {}
        for name, entry in entries.items():
            if entry["class_name"] == "InputLayer":
                self.calls[name] = 1
                self._unmasked(f"{name}/0/0")
                ready[f"{name}/0/0"] = entry
            else:
                self._build(entry)
        waiting = [
            (name, *_arguments(call)) for name, entry in entries.items() for call in entry.get("inbound_nodes") or []
        ]
        waiting = [one for one in waiting if entries[one[0]]["class_name"] != "InputLayer"]
        while waiting:  # calls of one layer keep their order, as their numbers name their outputs
            left = []
            blocked: set[str] = set()
            for name, inputs, states in waiting:
                if name in blocked or any(one not in ready for one in (*inputs, *states)):
                    blocked.add(name)
                    left.append((name, inputs, states))
                    continue
                ready.update(dict.fromkeys(self._call(entries[name], name, inputs, states)))
            if len(left) == len(waiting):
                missing = sorted({one for _, inputs, states in left for one in (*inputs, *states)} - set(ready))
                raise refusal(_OPERATION, self.file.origin, "inputs of every layer", f"none for {', '.join(missing)}")
            waiting = left
        inputs = [_history(one) for one in _references(self.config.get("input_layers"))]
        outputs = [_history(one) for one in _references(self.config.get("output_layers"))]
        absent = [one for one in (*inputs, *outputs) if one not in ready]
        if absent or not outputs:
            raise refusal(
                _OPERATION, self.file.origin, "inputs and outputs among the layers", ", ".join(absent) or "none"
            )
        readers = {one: node.kind for node in self.nodes for one in node.inputs}
        return [(one, ready[one]["config"], readers.get(one, "")) for one in inputs], outputs


def _references(value: Any) -> list[Any]:
    """[["name", 0, 0], ...], or one such reference alone, or a mapping of them."""
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [value]
    return list(value or [])


def _history(reference: Any) -> str:
    """LAYER/CALL/TENSOR of ["layer", call, tensor]."""
    if not isinstance(reference, (list, tuple)) or len(reference) < 3 or not isinstance(reference[0], str):
        raise ValueError(f"a reference: expected [layer, call, tensor], got {reference!r}")
    return f"{reference[0]}/{int(reference[1])}/{int(reference[2])}"


def _arguments(call: Any) -> tuple[list[str], list[str]]:
    """Inputs and initial states of one call, from Keras 3 ({"args", "kwargs"}) or Keras 2 ([[name, 0, 0, {}], ...])."""
    if isinstance(call, Mapping):
        arguments = list(call.get("args") or [])
        options = {key: value for key, value in (call.get("kwargs") or {}).items() if value not in (None, False)}
        states = options.pop("initial_state", None)
        if options or not arguments or len(arguments) > 2:
            raise ValueError(f"a call: expected inputs and initial_state, got {len(arguments)} and {list(options)}")
        if len(arguments) == 2:
            states = arguments[1]
        return _tensors(arguments[0]), _tensors(states) if states is not None else []
    references = [call] if call and isinstance(call[0], str) else list(call)
    states = []
    for reference in references:
        options = dict(reference[3]) if len(reference) > 3 else {}
        states += [_history(one) for one in _references(options.pop("initial_state", None))]
        options.pop("training", None)
        if options:
            raise ValueError(f"a call: expected inputs and initial_state, got {list(options)}")
    return [_history(reference) for reference in references], states


def _tensors(value: Any) -> list[str]:
    """The names of one Keras tensor or of a list of them."""
    if isinstance(value, (list, tuple)):
        return [name for one in value for name in _tensors(one)]
    if not isinstance(value, Mapping) or value.get("class_name") != "__keras_tensor__":
        raise ValueError(f"an argument: expected a tensor of the model, got {value!r}")
    return [_history(value["config"]["keras_history"])]
