"""Keras files and JSON files of audio engines. Oracles: goldens that Keras computed; Keras itself where installed."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore
from rnncore import convert, nn
from rnncore.convert import ConversionError

h5py = pytest.importorskip("h5py")
GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(path for path in (GOLDEN / "keras").iterdir() if path.suffix != ".safetensors")
Array = np.ndarray[Any, Any]


def golden(path: Path) -> tuple[list[Array], list[Array]]:
    """Inputs and what Keras computed."""
    arrays = {
        name: tensor.numpy() for name, tensor in rnncore.load_tensors(path.with_suffix(".safetensors"))[0].items()
    }
    kinds = ("input", "output")
    return tuple([arrays[name] for name in sorted(arrays) if name.startswith(kind)] for kind in kinds)  # type: ignore


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_goldens(path: Path) -> None:
    inputs, outputs = golden(path)
    graph = convert.from_keras(path)
    assert convert.verify(graph, outputs, *inputs, tolerance=2e-6) > 0
    for parameter in graph.parameters():  # the comparison can fail: a weight less and it does
        saved = parameter.numpy().copy()
        with rnncore.no_grad():
            parameter.copy_(saved + 0.5)
        with pytest.raises(ConversionError):
            convert.verify(graph, outputs, *inputs)
        with rnncore.no_grad():
            parameter.copy_(saved)
        break


def make_golden() -> Any:
    spec = importlib.util.spec_from_file_location("make_keras_golden", GOLDEN / "make_keras_golden.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


@pytest.mark.parametrize("name", [path.stem for path in FILES])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore")
def test_live(name: str, ending: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("torch") is None:
        pytest.skip("keras and torch are not installed")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    model, inputs, outputs = make_golden().make(name)
    model.save(tmp_path / f"model{ending}")
    convert.verify(convert.from_keras(tmp_path / f"model{ending}"), outputs, *inputs, tolerance=2e-6)


def test_a_compiled_and_trained_model_has_more_in_its_file(tmp_path: Path) -> None:
    """What belongs to the optimiser and to random generators is not the model's, and is no unused weight."""
    source = GOLDEN / "keras" / "lstm.keras"
    target = tmp_path / "trained.keras"
    with zipfile.ZipFile(source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "w.h5").write_bytes(parts["model.weights.h5"])
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file["optimizer/vars/0"] = np.zeros(3, np.float32)
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    parts["model.weights.h5"] = (tmp_path / "w.h5").read_bytes()
    with zipfile.ZipFile(target, "w") as archive:
        for name, blob in parts.items():
            archive.writestr(name, blob)
    inputs, outputs = golden(source)
    convert.verify(convert.from_keras(target), outputs, *inputs)


def test_layers_are_modules_that_can_be_trained() -> None:
    graph = convert.from_keras(GOLDEN / "keras" / "tagger.h5")
    inputs, _ = golden(GOLDEN / "keras" / "tagger.h5")
    kinds = [type(layer) for layer in graph.layers.children()]
    assert kinds == [nn.Embedding, nn.LSTM, nn.LSTM, nn.LayerNorm, nn.Linear]
    (output,) = graph(*inputs)
    (output * output).sum().backward()
    assert all(parameter.grad is not None for parameter in graph.parameters())


# Keras 2 ------------------------------------------------------------------------------------------------


def write_keras_2(path: Path, *, functional: bool = False, activation: str = "hard_sigmoid") -> list[Array]:
    """An .h5 file as Keras 2 wrote it; the weights of its GRU and dense layer."""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((2, 9), (3, 9), (9,), (3, 2), (2,))]
    gru = {"name": "g", "units": 3, "reset_after": False, "activation": "tanh", "recurrent_activation": activation,
           "implementation": 1, "batch_input_shape": [None, None, 2], "dtype": "float32"}  # fmt: skip
    dense = {"name": "d", "units": 2, "activation": "linear", "use_bias": True}
    layers: list[dict[str, Any]] = [{"class_name": "GRU", "config": gru}, {"class_name": "Dense", "config": dense}]
    config: dict[str, Any] = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    if functional:
        given = {"name": "x", "batch_input_shape": [None, None, 2], "dtype": "float32", "sparse": False}
        layers.insert(0, {"class_name": "InputLayer", "config": given, "inbound_nodes": []})
        layers[1]["inbound_nodes"] = [[["x", 0, 0, {}]]]
        layers[2]["inbound_nodes"] = [[["g", 0, 0, {}]]]
        inner = {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["d", 0, 0]]}
        config = {"class_name": "Model", "config": inner}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.3.1"
        file.attrs["model_config"] = json.dumps(config).encode()
        names = {"g": ["g/kernel:0", "g/recurrent_kernel:0", "g/bias:0"], "d": ["d/kernel:0", "d/bias:0"]}
        left = list(weights)
        for layer, own in names.items():
            group = file.create_group(f"model_weights/{layer}")
            group.attrs["weight_names"] = [name.encode() for name in own]
            for name in own:
                group[name] = left.pop(0)
    return weights


def gru_by_hand(x: Array, weights: list[Array], gate: Any, reset_after: bool) -> Array:
    """Cho et al. 2014 in Keras' order z r h, in float64: outputs (N, T, H)."""
    kernel, recurrent, bias = (np.asarray(weight, np.float64) for weight in weights)
    hidden = recurrent.shape[0]
    given, own = bias if reset_after else (bias, np.zeros_like(bias))
    h = np.zeros((x.shape[0], hidden))
    outputs = []
    for t in range(x.shape[1]):
        from_x = np.split(x[:, t] @ kernel + given, 3, axis=-1)
        from_h = np.split(h @ recurrent + own, 3, axis=-1)
        z, r = gate(from_x[0] + from_h[0]), gate(from_x[1] + from_h[1])
        product = r * from_h[2] if reset_after else (r * h) @ recurrent[:, 2 * hidden :]
        h = z * h + (1 - z) * np.tanh(from_x[2] + product)
        outputs.append(h)
    return np.stack(outputs, 1)


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "hard_sigmoid"])
def test_keras_2(functional: bool, activation: str, tmp_path: Path) -> None:
    weights = write_keras_2(tmp_path / "m.h5", functional=functional, activation=activation)
    x = np.random.default_rng(1).standard_normal((4, 6, 2)).astype(np.float32)
    gate = sigmoid if activation == "sigmoid" else lambda a: np.clip(0.2 * a + 0.5, 0, 1)
    wanted = gru_by_hand(x, weights[:3], gate, reset_after=False)[:, -1] @ weights[3] + weights[4]
    convert.verify(convert.from_keras(tmp_path / "m.h5"), wanted, x, tolerance=1e-6)


# What is wrong is named ---------------------------------------------------------------------------------


def edited(tmp_path: Path, change: Any, source: str = "gru.keras") -> Path:
    """A copy of a golden with another config.json."""
    with zipfile.ZipFile(GOLDEN / "keras" / source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / source, "w") as archive:
        for name, blob in parts.items():
            archive.writestr(name, blob)
    return tmp_path / source


def layer(config: Any, index: int) -> Any:
    return config["config"]["layers"][index]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: layer(c, 1).update(class_name="ConvLSTM1D"), r"layer 'gru\w*' \(ConvLSTM1D\): .*got ConvLSTM1D"),
        (lambda c: layer(c, 1)["config"].update(evil=3), r"known ones, got evil=3"),
        (lambda c: layer(c, 1)["config"].update(units=6), r"expected shape \(any, 18\), got \(3, 15\)"),
        (lambda c: layer(c, 1)["config"].update(units=2**31 - 1), r"expected shape"),
        (lambda c: layer(c, 1)["config"].update(units=-1), r"units: expected a positive integer, got -1"),
        (lambda c: layer(c, 1)["config"].update(use_bias=False), r"unused layers/gru/cell/vars/2 of shape \(2, 15\)"),
        (lambda c: layer(c, 1)["config"].update(stateful=True), r"stateful: expected False"),
        (lambda c: layer(c, 1)["config"].update(activation="gelu"), r"activation: expected one of .*got 'gelu'"),
        (lambda c: layer(c, 1)["config"].update(return_sequences="yes"), r"return_sequences: expected bool, got 'yes'"),
        (lambda c: layer(c, 1)["config"].update(dtype="mixed_float16"), r"dtype: expected float32 or float64"),
        (lambda c: c["config"]["layers"].pop(2), r"unused layers/gru_2/cell/vars/0"),
        (lambda c: c["config"]["layers"].append(layer(c, 1)), r"one layer of this name, got two|missing"),
        (lambda c: c.update(class_name="MyModel"), r"expected a Sequential or functional model, got 'MyModel'"),
        (lambda c: c["config"]["layers"].clear(), r"at least one layer, got none"),
        (lambda c: c.update(config=3), "expected a valid Keras model"),
        (lambda c: c.clear(), "expected a Sequential or functional model, got None"),
    ],
)
def test_what_does_not_fit_is_named(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"gru.keras.*" + message):
        convert.from_keras(edited(tmp_path, change))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    cases = {
        "text.keras": (b"hello", "expected a .keras, .h5 or .json file"),
        "cut.keras": ((GOLDEN / "keras" / "gru.keras").read_bytes()[:900], "cut.keras: expected a .keras file"),
        "cut.h5": ((GOLDEN / "keras" / "tagger.h5").read_bytes()[:900], "cut.h5: expected a readable HDF5 file"),
    }
    for name, (blob, message) in cases.items():
        (tmp_path / name).write_bytes(blob)
        with pytest.raises(ConversionError, match=message):
            convert.from_keras(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="absent"):
        convert.from_keras("absent.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(ConversionError, match=r"expected config.json, metadata.json, model.weights.h5, got x"):
        convert.from_keras(tmp_path / "other.keras")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_group("model_weights")
    with pytest.raises(ConversionError, match="a file of weights alone"):
        convert.from_keras(tmp_path / "weights.h5")


def test_values_outside_the_file_are_not_read(tmp_path: Path) -> None:
    """External links, datasets in other files and sizes that nothing stands behind."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel:0"] = np.ones((2, 9), np.float32)
    target = tmp_path / "m.h5"
    write_keras_2(target, activation="sigmoid")
    with h5py.File(target, "a") as file:
        del file["model_weights/g/g/kernel:0"]
        file["model_weights/g/g/kernel:0"] = h5py.ExternalLink(str(secret), "kernel:0")
    with pytest.raises(ConversionError, match=r"missing g/g/kernel:0"):
        convert.from_keras(target)
    for make in (
        lambda file: file.create_dataset("model_weights/g/g/kernel:0", (2, 9), "f4", external=[(str(secret), 0, 72)]),
        lambda file: file.create_dataset("model_weights/g/g/kernel:0", (2**20, 2**20), "f4", chunks=(256, 256)),
    ):
        with h5py.File(target, "a") as file:
            del file["model_weights/g/g/kernel:0"]
            make(file)
        with pytest.raises(ConversionError, match=r"g/g/kernel:0: expected"):
            convert.from_keras(target)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"\[from_keras\] h5py: .*pip install 'rnncore\[keras\]'"):
        convert.from_keras(FILES[0])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_errors_of_their_own_kind(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = data.draw(st.sampled_from(["gru.keras", "functional.h5"]))
    blob = bytearray((GOLDEN / "keras" / source).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    target = tmp_path_factory.mktemp("damaged") / source
    target.write_bytes(blob)
    inputs, _ = golden(GOLDEN / "keras" / source)
    with contextlib.suppress(ConversionError):
        convert.from_keras(target).run(*inputs)
    shutil.rmtree(target.parent)


# Audio engines ------------------------------------------------------------------------------------------


def audio_model(kind: str, rng: np.random.Generator) -> dict[str, Any]:
    """A recurrent layer of 5 units and a dense one, as nested lists."""
    gates = {"gru": 3, "lstm": 4}[kind]

    def values(*shape: int) -> Any:
        return rng.uniform(-0.9, 0.9, shape).astype(np.float32).tolist()

    bias = values(2, 15) if kind == "gru" else values(20)
    layers = [
        {"type": "dense", "activation": "tanh", "shape": [None, None, 3], "weights": [values(1, 3), values(3)]},
        {"type": kind, "activation": "", "shape": [None, None, 5],
         "weights": [values(3, 5 * gates), values(5, 5 * gates), bias]},
        {"type": "time-distributed-dense", "activation": "", "shape": [None, None, 1],
         "weights": [values(5, 1), values(1)]},
    ]  # fmt: skip
    return {"in_shape": [None, None, 1], "layers": layers}


def lstm_by_hand(x: Array, weights: list[Array]) -> Array:
    """Keras' order i f c o, in float64: outputs (N, T, H)."""
    kernel, recurrent, bias = (np.asarray(weight, np.float64) for weight in weights)
    h = c = np.zeros((x.shape[0], recurrent.shape[0]))
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_audio_models(kind: str, tmp_path: Path) -> None:
    model = audio_model(kind, np.random.default_rng(0))
    (tmp_path / "amp.json").write_text(json.dumps(model))
    x = np.random.default_rng(1).standard_normal((2, 9, 1)).astype(np.float32)
    first, middle, last = ([np.array(w) for w in layer["weights"]] for layer in model["layers"])
    hidden = np.tanh(x @ first[0] + first[1])
    hidden = lstm_by_hand(hidden, middle) if kind == "lstm" else gru_by_hand(hidden, middle, sigmoid, reset_after=True)
    graph = convert.from_keras(tmp_path / "amp.json")
    convert.verify(graph, hidden @ last[0] + last[1], x, tolerance=1e-6)
    assert [type(layer) for layer in graph.layers.children()] == [
        nn.Linear,
        {"lstm": nn.LSTM, "gru": nn.GRU}[kind],
        nn.Linear,
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["layers"][1].update(type="conv1d"), r"layer 1 \(conv1d\): expected a type of"),
        (lambda m: m["layers"][1].update(activation="relu"), r"layer 1 \(gru\): expected activation tanh, got 'relu'"),
        (lambda m: m["layers"][0].update(activation="gelu"), r"layer 0 \(dense\): .*got 'gelu'"),
        (lambda m: m["layers"][1]["weights"].pop(), r"layer 1 \(gru\): .*missing gru_1/bias"),
        (lambda m: m["layers"][1]["weights"].append([1.0]), r"layer 1 \(gru\): expected weights .*, got 4 arrays"),
        (lambda m: m["layers"][1]["weights"][0].pop(), r"kernel: expected shape \(3, any\), got \(2, 15\)"),
        (lambda m: m["layers"][1]["weights"][0][0].pop(), r"layer 1 \(gru\): kernel: expected nested lists of numbers"),
        (lambda m: m["layers"][2]["weights"][1].__setitem__(0, 1e300), r"layer 2 .*: bias: expected finite numbers"),
        (lambda m: m["layers"][2].update(shape=[None, None, 2]), r"expected shape \(any, 2\), got \(5, 1\)"),
        (lambda m: m["layers"][2].update(shape=[]), r"layer 2 .*: shape: expected a shape that ends"),
        (lambda m: m.update(in_shape=[None, None, 2]), r"kernel: expected shape \(2, any\), got \(1, 3\)"),
        (lambda m: m["layers"].clear(), r'an object with "layers"'),
    ],
)  # fmt: skip
def test_wrong_audio_models_are_named(change: Any, message: str, tmp_path: Path) -> None:
    model = audio_model("gru", np.random.default_rng(0))
    change(model)
    (tmp_path / "amp.json").write_text(json.dumps(model))
    with pytest.raises(ConversionError, match=r"\[from_json\] .*amp.json.*" + message):
        convert.from_json(tmp_path / "amp.json")


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"layers": 1, "layers": 2}', '{"layers": NaN}', "3", '"x"'])
def test_text_that_is_no_model(text: str, tmp_path: Path) -> None:
    (tmp_path / "amp.json").write_text(text)
    with pytest.raises(ConversionError, match=r"amp.json"):
        convert.from_json(tmp_path / "amp.json")
