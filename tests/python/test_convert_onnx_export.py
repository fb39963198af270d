"""ONNX files written: ONNX Runtime computes what rnncore computes, whole and in pieces; and back again, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_exports import WORDS, Array, I, T, inputs_for, runner

import rnncore
from rnncore import convert, models, nn
from rnncore.convert import ConversionError
from rnncore.data import Vocabulary

onnx = pytest.importorskip("onnx")

STACKS: list[Any] = [
    make(I, 5, **options)
    for make in (
        nn.RNN,
        lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
        lambda *a, **k: nn.RNN(*a, nonlinearity="sigmoid", **k),
        nn.LSTM,
        nn.GRU,
        lambda *a, **k: nn.GRU(*a, reset_after=False, **k),
    )
    for options in (
        {},
        {"num_layers": 2, "bidirectional": True},
        {"num_layers": 3, "bias": False, "dropout": 0.5},
        {"batch_first": True, "bidirectional": True},
    )
] + [
    nn.LSTM(I, [5, 4, 4]),
    nn.GRU(I, [2, 7], bidirectional=True),
    nn.LSTM(I, 5, num_layers=2, peephole=True, bidirectional=True),
    nn.LSTM(I, 5, peephole=True, coupled=True, bias=False, clip=0.5, truncate_gates=True),
    nn.LSTM(I, 5, coupled=True, activations={"gate": ("hard-sigmoid", 0.3), "candidate": "softsign", "hidden": "relu"}),
    nn.GRU(I, 5, clip=0.4, activations={"candidate": ("scaled-tanh", 1.2, 0.7)}, bidirectional=True),
    nn.GRU(I, 5, reset_after=False, activations={"gate": "hard-sigmoid", "candidate": "elu"}, clip=1.5),
    nn.RNN(I, 5, num_layers=2, nonlinearity=("leaky-relu", 0.2), bidirectional=True),
    nn.RNN(I, 5, nonlinearity="affine", clip=0.7),
    nn.LSTM(I, 5, state_dropout=0.3),
]


def arrays_of(value: Any) -> list[Array]:
    """The arrays of an answer, flat."""
    if isinstance(value, dict):
        value = list(value.values())
    return [one for part in value for one in arrays_of(part)] if isinstance(value, (tuple, list)) else [value.numpy()]


def ours(module: Any, inputs: dict[str, Array]) -> list[Array]:
    """Output and final states of a recurrent module, in the order of the exported outputs."""
    lengths = inputs.get("lengths")
    kinds = [[value for name, value in inputs.items() if name.startswith(f"{kind}_0")] for kind in "hc"]
    states = [[rnncore.tensor(value) for value in kind] for kind in kinds if kind]
    ready = [state[0] if len(state) == 1 else state for state in states]
    if (
        any(len(state) > 1 for state in states) and module.bidirectional
    ):  # (2, N, H) per layer: one tensor per direction
        ready = [[part[d] for part in state for d in range(2)] for state in states]
    elif any(len(state) > 1 for state in states):
        ready = [[part[0] for part in state] for state in states]
    hx = tuple(ready) if len(ready) == 2 else ready[0]
    output, final = module.eval()(inputs["input"], hx, lengths=lengths)
    kinds_after = list(final) if len(ready) == 2 else [final]
    if not isinstance(kinds_after[0], tuple):
        return [output.numpy(), *(value.numpy() for value in kinds_after)]
    directions = 2 if module.bidirectional else 1
    layers = len(kinds_after[0]) // directions
    per_layer = [
        np.stack([kind[k * directions + d].numpy() for d in range(directions)])
        for k in range(layers)
        for kind in kinds_after
    ]
    return [output.numpy(), *per_layer]


@pytest.mark.parametrize("lengths", [False, True], ids=["", "lengths"])
@pytest.mark.parametrize("module", STACKS, ids=repr)
def test_stacks(module: Any, lengths: bool) -> None:
    model = convert.to_onnx(module, lengths=lengths)
    inputs = inputs_for(model)
    wanted = ours(module, inputs)
    graph = convert.from_onnx(model)
    for mine, same in zip(graph.run(**inputs), wanted, strict=True):  # and back: the same bits
        np.testing.assert_array_equal(mine, same)
    convert.verify(list(runner(model)(inputs).values()), wanted, tolerance=2e-6)


@pytest.mark.parametrize("module", [m for m in STACKS if not m.bidirectional and not m.batch_first], ids=repr)
def test_states_fed_back_stream_a_sequence(module: Any) -> None:
    model = convert.to_onnx(module)
    run = runner(model)
    inputs = inputs_for(model, 1)
    whole = run(inputs)
    pieces, now = [], dict(inputs)
    for start, stop in ((0, 1), (1, 4), (4, T)):
        after = run({**now, "input": inputs["input"][start:stop]})
        pieces.append(after["output"])
        now.update({name.replace("_n", "_0"): value for name, value in after.items() if name != "output"})
    convert.verify(np.concatenate(pieces), whole["output"], tolerance=1e-6)
    for name, value in whole.items():
        if name != "output":
            convert.verify(now[name.replace("_n", "_0")], value, tolerance=1e-6)


@pytest.mark.parametrize("module", STACKS, ids=repr)
def test_weights_come_back_bit_for_bit(module: Any) -> None:
    graph = convert.from_onnx(convert.to_onnx(module))
    layers = list(graph.layers.children())
    assert len(layers) == module.num_layers
    for name, value in module.state_dict().items():
        k = int(name.split("_l")[1].split("_")[0])
        back = layers[k].state_dict()[name.replace(f"_l{k}", "_l0")]
        assert back.numpy().tobytes() == value.numpy().tobytes(), name


WIRED: list[Any] = [
    nn.MGU(I, 5, num_layers=2),
    nn.MGU(I, 5, bidirectional=True, clip=0.8, activations={"candidate": "softsign"}, bias=False),
    nn.IndRNN(I, 5, num_layers=2, bidirectional=True),
    nn.IndRNN(I, 5, nonlinearity="tanh", bias=False),
    nn.Recurrent(I, [nn.Layer("gru", 4), nn.Layer("lstm", 6), nn.Layer("rnn-relu", 6)]),
    nn.Recurrent(
        I, [nn.Layer("lstm", 4, options={"peephole": True}), nn.Layer("gru", 4)], bidirectional=True, merge="sum"
    ),
    nn.Recurrent(I, [nn.Layer("gru", 4), nn.Layer("mgu", 4)], bidirectional=True, merge="mean", connection="residual"),
    nn.Recurrent(I, [nn.Layer("lstm", 4), nn.Layer("lstm", 5), nn.Layer("lstm", 5)], connection="highway"),
    nn.Recurrent(I, [nn.Layer("gru", 4), nn.Layer("gru", 5)], connection="residual", reverse=True, batch_first=True),
    nn.Recurrent(I, [nn.Layer("gru", 4), nn.Layer("lstm", 3), nn.Layer("gru", 2)], connection="dense", bias=False,
                 input_dropout=0.2, output_dropout=0.1, same_mask=True, weight_drop=0.4, dropout=0.3),
]  # fmt: skip


@pytest.mark.parametrize("lengths", [False, True], ids=["", "lengths"])
@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("module", WIRED, ids=lambda module: module.spec.cell)
def test_other_cells_and_wiring(module: Any, opset: int, lengths: bool) -> None:
    """From a zero state: output alone; MGU and IndRNN are written as the GRU and the RNN that they are."""
    module.eval()
    model = convert.to_onnx(module, opset=opset, lengths=lengths)
    inputs = {name: value * (name in ("input", "lengths")) for name, value in inputs_for(model).items()}
    output, _ = module(rnncore.tensor(inputs["input"]), lengths=inputs.get("lengths"))
    convert.verify(convert.from_onnx(model).run(**inputs)[0], output, tolerance=2e-6)
    convert.verify(runner(model)(inputs)["output"], output, tolerance=2e-6)


def test_states_of_layers_of_different_kinds() -> None:
    stack = nn.Recurrent(I, [nn.Layer("gru", 4), nn.Layer("lstm", 6)])
    model = convert.to_onnx(stack)
    assert [port.name for port in model.graph.input] == ["input", "h_0.l0", "h_0.l1", "c_0.l1"]
    inputs = inputs_for(model)
    state = {name.replace("_0.l", "_l"): rnncore.tensor(value[0]) for name, value in inputs.items() if name != "input"}
    output, final = stack(rnncore.tensor(inputs["input"]), state)
    wanted = [output, *(final[name].unsqueeze(0) for name in ("h_l0", "h_l1", "c_l1"))]
    convert.verify(convert.from_onnx(model).run(**inputs), wanted, tolerance=0)
    convert.verify(list(runner(model)(inputs).values()), wanted, tolerance=2e-6)


CELLS = [
    nn.RNNCell,
    nn.LSTMCell,
    nn.GRUCell,
    lambda i, h: nn.GRUCell(i, h, bias=False),
    lambda i, h: nn.LSTMCell(i, h, peephole=True, coupled=True, clip=0.7),
    lambda i, h: nn.GRUCell(i, h, reset_after=False, activations={"candidate": "relu"}),
    lambda i, h: nn.RNNCell(i, h, nonlinearity=("leaky-relu", 0.2)),
    nn.MGUCell,
    nn.IndRNNCell,
]


@pytest.mark.parametrize("make", CELLS)
def test_cells(make: Any) -> None:
    cell = make(I, 5)
    model = convert.to_onnx(cell)
    inputs = inputs_for(model)
    states = [rnncore.tensor(value) for name, value in inputs.items() if name != "input"]
    after = arrays_of(cell(inputs["input"], tuple(states) if len(states) == 2 else states[0]))
    wanted = [after[0], *after]
    exact = not isinstance(cell, nn.MGUCell | nn.IndRNNCell)  # they come back as the GRU and RNN that ONNX knows
    for got, same in zip(convert.from_onnx(model).run(**inputs), wanted, strict=True):
        convert.verify(got, same, tolerance=0 if exact else 1e-6)
    convert.verify(list(runner(model)(inputs).values()), wanted, tolerance=2e-6)


CHAINS: list[Any] = [
    convert.Chain({"e": nn.Embedding(7, 4), "rnn": nn.LSTM(4, 5, 2), "norm": nn.LayerNorm(5), "out": nn.Linear(5, 3)}),
    convert.Chain({"a": nn.GRU(I, 5, bidirectional=True), "drop": nn.Dropout(), "b.c": nn.RNN(10, 4), "t": nn.Tanh()}),
    convert.Chain({"a": nn.Linear(I, 5, bias=False), "s": nn.Sigmoid(), "l": nn.LSTM(5, [3, 2], batch_first=True)}),
    nn.Sequential(nn.Linear(I, 5), nn.ReLU(), nn.LayerNorm(5, bias=False), nn.LogSoftmax(), nn.Softmax(0)),
    nn.Embedding(7, 4),
    nn.LayerNorm(3),
    nn.Tanh(),
]  # fmt: skip


@pytest.mark.parametrize("module", CHAINS, ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("opset", [17, 21])
def test_chains(module: Any, opset: int) -> None:
    module.eval()
    model = convert.to_onnx(module, opset=opset)
    inputs = inputs_for(model)
    zero = {name: np.zeros_like(value) if "_0" in name else value for name, value in inputs.items()}
    wanted = module(zero["input"] if zero["input"].dtype == np.int64 else rnncore.tensor(zero["input"])).numpy()
    np.testing.assert_array_equal(convert.from_onnx(model).run(**zero)[0], wanted)
    convert.verify(runner(model)(zero)["output"], wanted, tolerance=2e-6)


def test_states_of_several_layers_have_names() -> None:
    model = convert.to_onnx(CHAINS[1])
    assert [port.name for port in model.graph.input] == ["input", "a.h_0", "b.c.h_0"]
    assert [port.name for port in model.graph.output] == ["output", "a.h_n", "b.c.h_n"]
    inputs = inputs_for(model)
    states = {name.removesuffix(".h_0"): rnncore.tensor(inputs[name]) for name in ("a.h_0", "b.c.h_0")}
    output, final = CHAINS[1].eval().forward_with_state(rnncore.tensor(inputs["input"]), states)
    got = convert.from_onnx(model).run(**inputs)
    for mine, same in zip(got, [output, *final.values()], strict=True):
        np.testing.assert_array_equal(mine, same.numpy())


LEARNT: list[Any] = [
    nn.Recurrent(I, [nn.Layer("lstm", 5), nn.Layer("lstm", 5)], bidirectional=True, learn_initial_state=True),
    nn.Recurrent(I, [nn.Layer("gru", 4), nn.Layer("lstm", 6)], learn_initial_state=True),
]


@pytest.mark.parametrize("module", LEARNT, ids=lambda module: module.spec.cell)
def test_learnt_initial_states(module: Any) -> None:
    """The first sequence begins, the second goes on from the states given: as two calls of their own."""
    module.eval()
    rng = np.random.default_rng(4)
    for name, value in module.state_dict().items():
        if name.startswith(("h_0", "c_0")):
            value.copy_(rng.uniform(-1, 1, value.shape).astype(np.float32))
    proto = convert.to_onnx(module)
    assert "begins" in {port.name for port in proto.graph.input}
    inputs = inputs_for(proto, 3)
    x = inputs["input"]
    fresh, fresh_state = module(rnncore.tensor(x[:, :1]))
    parts = {}
    directions = 2 if module.spec.bidirectional else 1
    for name, value in inputs.items():
        kind, _, layer = name.partition("_0")
        if kind in ("h", "c"):  # whole: (L * D, N, H); one by one: (D, N, H)
            for row in range(len(value)):
                k, d = (int(layer[2:]), row) if layer else divmod(row, directions)
                parts[f"{kind}_l{k}" + "_reverse" * d] = rnncore.tensor(value[row, 1:])
    later, _ = module(rnncore.tensor(x[:, 1:]), parts)
    wanted = np.concatenate([fresh.numpy(), later.numpy()], axis=1)
    after = runner(proto)(inputs)
    convert.verify(after["output"], wanted, tolerance=2e-6)
    convert.verify(convert.from_onnx(proto).run(**inputs)[0], wanted, tolerance=2e-6)
    last = after["h_n"] if "h_n" in after else after["h_n.l0"]
    convert.verify(last[0, :1], fresh_state["h_l0"], tolerance=2e-6)


def test_float64_goes_there_and_back() -> None:
    """ONNX Runtime has no float64 LSTM; the file is valid all the same."""
    module = nn.LSTM(I, 5, dtype="float64")
    model = convert.to_onnx(module)
    inputs = inputs_for(model)
    assert inputs["h_0"].dtype == np.float64
    for got, same in zip(convert.from_onnx(model).run(**inputs), ours(module, inputs), strict=True):
        np.testing.assert_array_equal(got, same)


def test_what_onnx_cannot_express() -> None:
    with pytest.raises(
        ConversionError, match=r"\[to_onnx\] NLLLoss: expected a layer that ONNX can express, got NLLLoss"
    ):
        convert.to_onnx(nn.NLLLoss())
    with pytest.raises(ConversionError, match=r"layer 'x' \(NLLLoss\)"):
        convert.to_onnx(convert.Chain({"a": nn.Tanh(), "x": nn.NLLLoss()}))
    with pytest.raises(ConversionError, match=r"layer 'lstm': expected options that ONNX has, got forget_gate"):
        convert.to_onnx(nn.LSTM(2, 3, forget_gate=False))
    with pytest.raises(ConversionError, match=r"layer 'rnn': expected an activation of .*got 'hard-tanh'"):
        convert.to_onnx(nn.RNN(2, 3, nonlinearity="hard-tanh"))
    lines = Vocabulary.build("a b\n", level="word")
    for module, what in [
        (models.Tagger(WORDS, ["O", "B-x"], hidden_size=4, crf=True), r"Tagger: expected no characters and no CRF"),
        (models.Tagger(WORDS, ["O"], hidden_size=4, characters=WORDS), r"Tagger: expected no characters and no CRF"),
        (models.Seq2Seq(lines, lines, hidden_size=4, embedding_size=4), "Seq2Seq: .* a decoder that is fed its own"),
        (models.Captioner(lines, 3, hidden_size=4, embedding_size=4), "Captioner: .* a decoder that is fed its own"),
        (nn.Recurrent(2, [nn.Layer("gru", 3, delays=(2,))]), "got delays"),
        (nn.Recurrent(2, [nn.Layer("gru", 3, period=2)]), "got period"),
        (nn.LSTM(2, 3, proj_size=2), r"layer 'lstm': expected a stack that ONNX can express, got proj_size"),
        (nn.LSTMCell(2, 3, proj_size=2), "expected weights that ONNX has, got weight_hr"),
        (nn.LSTM(2, 3, zoneout=0.1), "got zoneout_h"),
        (nn.RNN(2, 3, leak=0.5), "got leak"),
        (nn.MGU(2, 3, activations={"gate": "hard-sigmoid"}), "expected the gate activation sigmoid"),
    ]:
        with pytest.raises(ConversionError, match=what):
            convert.to_onnx(module)
    with pytest.raises(ConversionError, match="one dtype"):
        convert.to_onnx(convert.Chain({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2, dtype="float64")}))
    with pytest.raises(ValueError, match=r"\[to_onnx\] opset: expected 17 or newer, got 16"):
        convert.to_onnx(nn.Tanh(), opset=16)
    with pytest.raises(ValueError, match="lengths"):
        convert.to_onnx(nn.Tanh(), lengths=True)
    with pytest.raises(OSError, match="nowhere"):
        convert.to_onnx(nn.Tanh(), "nowhere/x.onnx")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"\[to_onnx\] onnx: .*pip install 'rnncore\[onnx\]'"):
        convert.to_onnx(nn.Tanh())
