"""Graphs as chains of layers, model files of chains, and `rnncore convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnncore
from rnncore import _core, convert, models, nn
from rnncore.cli.app import run
from rnncore.convert import ConversionError
from rnncore.convert.chain import LastStep
from rnncore.data import Vocabulary

onnx = pytest.importorskip("onnx")
GOLDEN = Path(__file__).parents[1] / "golden" / "keras"

MODULES: list[Any] = [
    nn.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True),
    nn.GRU(3, [5, 4], bias=False),
    nn.RNN(3, 5, num_layers=3, nonlinearity=("leaky-relu", 0.2)),
    nn.LSTM(3, 5, peephole=True, coupled=True, clip=0.7, activations={"candidate": ("scaled-tanh", 1.2, 0.7)}),
    nn.GRU(3, 5, reset_after=False, dtype="float64"),
    convert.Chain({"e": nn.Embedding(7, 4), "r": nn.RNN(4, 5), "last": LastStep(), "h": nn.Linear(5, 3)}),
    convert.Chain(
        {"a": nn.GRU(3, 5, bidirectional=True), "last": LastStep(2), "h": nn.Linear(10, 2), "s": nn.Softmax()}
    ),
    convert.Chain({"a": nn.Linear(3, 4), "t": nn.Tanh(), "b": nn.LSTM(4, 5), "n": nn.LayerNorm(5), "c": nn.GRU(5, 2)}),
]


def weights_of(module: nn.Module) -> list[bytes]:
    return [value.numpy().tobytes() for value in module.state_dict().values()]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_through_onnx_and_back_to_the_same_layers(module: Any) -> None:
    back = convert.from_onnx(convert.to_onnx(module)).chain()
    layers = list(module.children()) if isinstance(module, convert.Chain) else [module]
    assert [repr(layer) for layer in back.children()] == [repr(layer) for layer in layers]
    assert weights_of(back) == weights_of(module)


def test_a_chain_is_checked_against_its_graph() -> None:
    """A graph with the layers of a chain that does something else between them is none."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = [numpy_helper.from_array(np.eye(3, dtype=np.float32)[::-1].copy(), "w"),
               numpy_helper.from_array(np.array([0, 2, 1]), "order")]  # fmt: skip
    x = helper.make_tensor_value_info("x", 1, ["T", "N", 3])
    y = helper.make_empty_tensor_value_info("y")
    nodes = [helper.make_node("Gather", ["x", "order"], ["z"], axis=2), helper.make_node("MatMul", ["z", "w"], ["y"])]
    graph = convert.from_onnx(helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights)))
    with pytest.raises(
        ConversionError, match=r"\[chain\] model: expected a chain of layers, got .*do not compute what"
    ):
        graph.chain()


@pytest.mark.parametrize(
    ("name", "match"),
    [("functional.h5", "LSTM"), ("masked.keras", "Masking"), ("tagger.h5", "Embedding"), ("gru.keras", "GRU")],
)
def test_what_is_no_chain_is_named(name: str, match: str) -> None:
    pytest.importorskip("h5py")
    with pytest.raises(ConversionError, match=rf"\[chain\] .*{name}: node '.*' \({match}\): expected a layer that may"):
        convert.from_keras(GOLDEN / name).chain()


@pytest.mark.parametrize("name", ["simple.keras", "cell_activations.keras"])
def test_chains_of_keras_files(name: str) -> None:
    pytest.importorskip("h5py")
    graph = convert.from_keras(GOLDEN / name)
    chain = graph.chain()
    x = np.random.default_rng(0).standard_normal((2, 9, 3)).astype(np.float32)
    convert.verify(chain, graph.run(x), x, tolerance=1e-6)


# Model files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "kind"),
    [
        ({"e": nn.Embedding(7, 4), "r": nn.LSTM(4, 5, 2), "h": nn.Linear(5, 7)}, "language_model"),
        ({"e": nn.Embedding(7, 4), "r": nn.GRU(4, 5), "h": nn.Linear(5, 3), "s": nn.Softmax()}, "tagger"),
        ({"r": nn.GRU(3, 5, bidirectional=True), "d": nn.Dropout(), "l": LastStep(2), "h": nn.Linear(10, 3)},
         "forecaster"),
        ({"e": nn.Embedding(7, 4), "r": nn.RNN(4, 5), "l": LastStep(), "h": nn.Linear(5, 2), "s": nn.LogSoftmax()},
         "classifier"),
        ({"r": nn.LSTM(3, 5, peephole=True, dtype="float64"), "h": nn.Linear(5, 1, dtype="float64")}, "forecaster"),
        ({"r": nn.LSTM(1, 5), "h": nn.Linear(5, 1, bias=False)}, "forecaster"),
        ({"r": nn.MGU(1, 5, 2, zoneout=0.2), "h": nn.Linear(5, 1)}, "forecaster"),
        ({"r": nn.IndRNN(1, [5, 4], nonlinearity="tanh"), "h": nn.Linear(4, 1)}, "forecaster"),
        ({"r": nn.RNN(1, 5, nonlinearity="softsign", leak=0.5), "h": nn.Linear(5, 1)}, "forecaster"),
        ({"r": nn.GRU(1, 5, activations={"gate": ("hard-sigmoid", 0.3)}), "h": nn.Linear(5, 1)}, "forecaster"),
        ({"r": nn.Recurrent(1, [nn.Layer("gru", 5, period=2), nn.Layer("lstm", 5)], connection="residual"),
          "h": nn.Linear(5, 1)}, "forecaster"),
    ],
)  # fmt: skip
def test_model_files(layers: dict[str, Any], kind: str, tmp_path: Path) -> None:
    chain = convert.Chain(layers).eval()
    path = tmp_path / "model.safetensors"
    convert.save_chain(chain, path)
    assert _core.load_model(path)[0].kind == kind
    back = convert.load_chain(path)
    rng = np.random.default_rng(0)
    tokens = isinstance(layers.get("e"), nn.Embedding)
    x = rng.integers(0, 7, (6, 2)) if tokens else rng.standard_normal((6, 2, layers["r"].spec.input_size))
    value = x if tokens else rnncore.tensor(x, dtype=layers["r"].dtype)
    wanted = value
    for name, layer in layers.items():
        wanted = wanted if name == "s" else (layer(wanted)[0] if name == "r" else layer(wanted))
    np.testing.assert_array_equal(back(value).numpy(), wanted.numpy())


def test_a_chain_that_came_from_a_model_goes_back_into_one(tmp_path: Path) -> None:
    """Of features, where ids and a softmax cannot tell what it is: the same class, labels and numbers."""
    model = models.Classifier(None, ["left", "right"], input_size=3, hidden_size=5, num_layers=2).eval()
    model.save(tmp_path / "model.safetensors")
    convert.save_chain(convert.load_chain(tmp_path / "model.safetensors"), tmp_path / "again.safetensors")
    again = models.Model.load(tmp_path / "again.safetensors").eval()
    assert isinstance(again, models.Classifier)
    assert again.labels == model.labels
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name].numpy(), value.numpy(), err_msg=name)


@pytest.mark.parametrize(
    "chain",
    [
        convert.Chain({"a": nn.Linear(3, 4), "r": nn.GRU(4, 5), "h": nn.Linear(5, 1)}),
        convert.Chain({"r": nn.GRU(4, 5)}),
        convert.Chain({"r": nn.GRU(4, 5), "n": nn.LayerNorm(5), "h": nn.Linear(5, 1)}),
        convert.Chain({"r": nn.GRU(4, 5), "h": nn.Linear(5, 1), "t": nn.Tanh()}),
    ],
)
def test_what_no_model_file_holds(chain: Any, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"\[convert\] model file .*x.safetensors: expected \[Embedding,\] a rec"):
        convert.save_chain(chain, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


# The command line ---------------------------------------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str]:
    """Exit code, and what was printed."""
    with pytest.raises(SystemExit) as stop:
        run(["convert", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return int(stop.value.code or 0), captured.out + captured.err


def language_model(tmp_path: Path, **options: Any) -> models.LanguageModel:
    vocabulary = Vocabulary.build("abcdef!", level="char")
    model = models.LanguageModel(vocabulary=vocabulary, hidden_size=8, num_layers=2, cell="gru", **options).eval()
    model.save(tmp_path / "lm.safetensors")
    return model


def test_language_model_to_onnx_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = language_model(tmp_path)
    code, text = command(capsys, tmp_path / "lm.safetensors", tmp_path / "lm.onnx")
    assert (code, text.split(": ", 1)[1]) == (0, f"Embedding, GRU, Linear; {model.parameter_count():,} parameters\n")
    assert command(capsys, tmp_path / "lm.onnx", tmp_path / "back.safetensors")[0] == 0
    back = models.LanguageModel.load(tmp_path / "back.safetensors")
    assert weights_of(back) == weights_of(model)


def test_audio_model_to_a_model_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)

    def values(*shape: int) -> Any:
        return rng.uniform(-0.5, 0.5, shape).tolist()

    gru = {"type": "gru", "shape": [None, None, 4], "weights": [values(1, 12), values(4, 12), values(2, 12)]}
    dense = {"type": "dense", "shape": [None, None, 1], "activation": "", "weights": [values(4, 1), values(1)]}
    (tmp_path / "amp.json").write_text(json.dumps({"in_shape": [None, None, 1], "layers": [gru, dense]}))
    assert command(capsys, tmp_path / "amp.json", tmp_path / "amp.safetensors")[0] == 0
    x = rng.standard_normal((9, 1, 1)).astype(np.float32)
    wanted = convert.from_json(tmp_path / "amp.json").run(x.swapaxes(0, 1))[0].swapaxes(0, 1)
    convert.verify(convert.load_chain(tmp_path / "amp.safetensors"), wanted, x, tolerance=1e-6)
    assert command(capsys, tmp_path / "amp.safetensors", tmp_path / "amp.onnx")[0] == 0
    state = np.zeros((1, 1, 4), np.float32)
    convert.verify(convert.from_onnx(tmp_path / "amp.onnx").run(x, state)[0], wanted, tolerance=1e-6)


def test_a_state_dict_to_a_model_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = convert.Chain(
        {"table": nn.Embedding(4, 4), "rnn": nn.RNN(4, 4, nonlinearity="relu"), "out": nn.Linear(4, 4)}
    )
    rnncore.save_tensors(tmp_path / "state.safetensors", chain.state_dict())
    code, text = command(capsys, tmp_path / "state.safetensors", tmp_path / "m.safetensors")
    assert code == 1
    assert "layer 'table': expected a linear layer or an embedding" in text
    kinds = ("--kind", "table=embedding", "--kind", "rnn=rnn-relu")
    assert command(capsys, tmp_path / "state.safetensors", tmp_path / "m.safetensors", *kinds)[0] == 0
    ids = np.arange(4).reshape(2, 2)
    np.testing.assert_array_equal(convert.load_chain(tmp_path / "m.safetensors")(ids).numpy(), chain(ids).numpy())


def test_to_pytorch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    model = language_model(tmp_path, tie_weights=True)
    assert command(capsys, tmp_path / "lm.safetensors", tmp_path / "lm.pt")[0] == 0
    assert command(capsys, tmp_path / "lm.pt", tmp_path / "back.safetensors")[0] == 0
    ids = np.arange(6).reshape(3, 2)
    back = models.LanguageModel.load(tmp_path / "back.safetensors")
    np.testing.assert_array_equal(back(ids)[0].numpy(), model(ids)[0].numpy())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("absent.onnx", "x.safetensors"), 1, "absent.onnx"),
        (("lm.safetensors", "x.tflite"), 2, "expected a file .safetensors, .onnx or .pt, got .tflite"),
        (("lm.txt", "x.onnx"), 2, "lm.txt: expected"),
        (("lm.safetensors", "x.onnx", "--opset", "9"), 2, "opset: expected 17 or newer, got 9"),
        (("lm.safetensors", "x.safetensors", "--kind", "rnn"), 2, "--kind: expected LAYER=KIND, got 'rnn'"),
        (("x.onnx", "x.safetensors", "--kind", "a=linear"), 2, "--kind: expected a state dict"),
        (("broken.onnx", "x.safetensors"), 1, "broken.onnx: expected an ONNX model"),
    ],
)
def test_wrong_commands(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    language_model(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    got, text = command(capsys, *arguments)
    assert got == code, text
    assert message in text
    assert len(text.strip().splitlines()) == 1
