"""Files of Keras: `.keras` (a zip of JSON and HDF5) and `.h5`, read without Keras and trusted in nothing."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnncore.convert._errors import need, refusal
from rnncore.convert._weights import Array, Weights

_OPERATION = "from_keras"
_JSON_LIMIT = 64 * 2**20
# Groups of the weights in a `.keras` file: the class in snake case, numbered within its kind.
_GROUPS = {
    "Embedding": "embedding",
    "SimpleRNN": "simple_rnn",
    "LSTM": "lstm",
    "GRU": "gru",
    "Bidirectional": "bidirectional",
    "Dense": "dense",
    "TimeDistributed": "time_distributed",
    "LayerNormalization": "layer_normalization",
}


def parse_json(operation: str, place: str, text: str | bytes) -> Any:
    """JSON without duplicate keys and without numbers that JSON does not have."""

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise refusal(operation, place, "JSON", str(error)) from None


class LayerWeights:
    """The weights of one layer in their order: kernel, recurrent_kernel, bias and so on.

    Args:
        weights: Of the whole file.
        names: Of the layer, as far as the file lists them in order; else None and
        group: where they stand in a `.keras` file.
    """

    def __init__(self, weights: Weights, names: Sequence[str] | None, group: str) -> None:
        self._weights = weights
        self._names = None if names is None else list(names)
        self._group = group

    def take(self, part: str, index: int, role: str, shape: Sequence[int | None]) -> Array:
        """A weight: number `index` of the part "cell", "forward_layer/cell", ... or "" of the layer."""
        if self._names is None:
            return self._weights.take("/".join(x for x in (self._group, part, "vars", str(index)) if x), shape)
        name = self._names.pop(0) if self._names else f"{self._group}/{role}"
        if name.rsplit("/", 1)[-1].split(":")[0] != role:
            raise ValueError(f"weights: expected {role}, got {name}")
        return self._weights.take(name, shape)


class KerasFile:
    """A model's configuration and its weights.

    Args:
        origin: The file, for messages.
        config: {"class_name": "Sequential" | "Functional" | ..., "config": {...}}.
        version: Of the Keras that wrote it, e.g. "3.5.0".
        weights: All arrays by name.
        names: Per layer the names of its weights in order, or None for a `.keras` file.
    """

    def __init__(
        self, origin: str, config: Any, version: str, weights: Weights, names: Mapping[str, Sequence[str]] | None
    ) -> None:
        self.origin = origin
        self.config = config
        self.version = version
        self.weights = weights
        self._names = names
        self._seen: dict[str, int] = {}

    def of_layer(self, class_name: str, name: str) -> LayerWeights:
        """The weights of the next layer of that class, in the order of the configuration."""
        if self._names is not None:
            return LayerWeights(self.weights, self._names.get(name, []), name)
        group = _GROUPS.get(class_name, "")
        number = self._seen.get(group, 0)
        self._seen[group] = number + 1
        return LayerWeights(self.weights, None, f"layers/{group}" + (f"_{number}" if number else ""))


def read_keras(path: Path) -> KerasFile:
    """A `.keras` or `.h5` file, told apart by its content.

    Raises:
        ConversionError: it is neither, or damaged.
        ImportError: h5py is not installed (the extra "keras").
    """
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"PK\x03\x04":
        return _read_zip(path)
    if head == b"\x89HDF\r\n\x1a\n":
        return _read_h5(path)
    raise refusal(_OPERATION, str(path), "a .keras, .h5 or .json file", "something else")


def _read_zip(path: Path) -> KerasFile:
    h5py = need(_OPERATION, "h5py", "keras")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            missing = [name for name in ("config.json", "metadata.json", "model.weights.h5") if name not in names]
            if missing or len(set(names)) != len(names):
                raise refusal(_OPERATION, str(path), "config.json, metadata.json, model.weights.h5", ", ".join(names))
            texts = [_small(archive, name, path) for name in ("config.json", "metadata.json")]
            blob = archive.read("model.weights.h5")
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        raise refusal(_OPERATION, str(path), "a .keras file", " ".join(str(error).split())) from None
    config = parse_json(_OPERATION, f"{path}: config.json", texts[0])
    metadata = parse_json(_OPERATION, f"{path}: metadata.json", texts[1])
    version = str(metadata.get("keras_version", "3")) if isinstance(metadata, Mapping) else "3"
    arrays = _datasets(h5py, io.BytesIO(blob), f"{path}: model.weights.h5", "")[0]
    weights = {name: value for name, value in arrays.items() if not _is_training_state(name)}
    return KerasFile(str(path), config, version, Weights(_OPERATION, str(path), weights), None)


def _small(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if archive.getinfo(name).file_size > _JSON_LIMIT:
        raise refusal(_OPERATION, f"{path}: {name}", f"at most {_JSON_LIMIT} bytes", "more")
    return archive.read(name)


def _is_training_state(name: str) -> bool:
    """Of optimiser and of random generators: no weights of the model."""
    return name.startswith("optimizer/") or "seed_generator" in name.split("/")


def _read_h5(path: Path) -> KerasFile:
    h5py = need(_OPERATION, "h5py", "keras")
    arrays, attributes, layers = _datasets(h5py, path, str(path), "model_weights")
    if "model_config" not in attributes:
        hint = "a file of weights alone does not say what the model is"
        raise refusal(_OPERATION, str(path), "an attribute model_config", "none", hint)
    config = parse_json(_OPERATION, f"{path}: model_config", _text(attributes["model_config"]))
    version = _text(attributes.get("keras_version", "2"))
    names = {layer: [f"{layer}/{name}" for name in own] for layer, own in layers.items()}
    return KerasFile(str(path), config, version, Weights(_OPERATION, str(path), arrays), names)


def _datasets(
    h5py: Any, file: Any, place: str, group: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[str]]]:
    """Every dataset below `group` by its path, the file's attributes, and each layer's weight_names.

    Links to other places are not followed: `visititems` leaves them out. Values are copied only when shapes fit.
    """
    try:
        with h5py.File(file, "r") as root:
            attributes = {key: root.attrs[key] for key in ("model_config", "keras_version") if key in root.attrs}
            top = root[group] if group else root
            if group and not isinstance(root.get(group, getlink=True), h5py.HardLink):
                raise refusal(_OPERATION, place, f"a group {group}", "a link")
            arrays: dict[str, Any] = {}
            layers: dict[str, list[str]] = {}

            def visit(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset):
                    arrays[name] = _values(item, f"{place}: {name}")
                elif "weight_names" in item.attrs and "/" not in name:
                    layers[name] = [_text(one) for one in item.attrs["weight_names"]]

            top.visititems(visit)
            return arrays, attributes, layers
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, MemoryError) as error:
        raise refusal(_OPERATION, place, "a readable HDF5 file", " ".join(str(error).split())) from error


def _values(dataset: Any, place: str) -> Array:
    if dataset.external or dataset.is_virtual:
        raise refusal(_OPERATION, place, "values in this file", "values in another file")
    if dataset.size and dataset.nbytes > dataset.id.get_storage_size() * 1100:  # what deflate can do at most
        raise refusal(_OPERATION, place, f"{dataset.nbytes} bytes", f"{dataset.id.get_storage_size()} stored")
    values: Array = dataset[()]
    return values


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
