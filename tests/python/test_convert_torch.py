"""PyTorch, both ways. State dicts and safetensors need no torch; the rest is skipped, visibly, where it is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnncore
from rnncore import convert, models, nn
from rnncore.convert import ConversionError


def state_of(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.array(value.numpy()) for name, value in module.state_dict().items()}


def same_weights(got: nn.Module, wanted: nn.Module) -> None:
    first, second = state_of(got), state_of(wanted)
    assert list(first) == list(second)
    for name, value in second.items():
        assert first[name].dtype == value.dtype
        assert first[name].tobytes() == value.tobytes(), name


STACKS = [
    nn.RNN(3, 5),
    nn.RNN(3, 5, num_layers=2, bias=False),
    nn.LSTM(3, 5, num_layers=2, bidirectional=True),
    nn.LSTM(3, [5, 4], dtype="float64"),
    nn.LSTM(3, 5, proj_size=2, num_layers=2, bidirectional=True),
    nn.LSTM(3, 5, proj_size=4, bias=False),
    nn.GRU(3, 5, bidirectional=True, bias=False),
    nn.GRU(3, 1),
    nn.LSTMCell(3, 5),
    nn.GRUCell(3, 5, bias=False),
    nn.RNNCell(3, 5),
    nn.Linear(3, 5),
    nn.LayerNorm(5),
    nn.LayerNorm(5, bias=False),
]


@pytest.mark.parametrize("module", STACKS, ids=repr)
def test_a_state_dict_says_what_the_layer_is(module: nn.Module) -> None:
    got = convert.from_torch(state_of(module))
    assert repr(got) == repr(module)
    same_weights(got, module)


def chain(**options: Any) -> convert.Chain:
    return convert.Chain({
        "table": nn.Embedding(11, 4),
        "body.rnn": nn.LSTM(4, 6, num_layers=2, **options),
        "norm": nn.LayerNorm(6),
        "head": nn.Linear(6, 3),
    })  # fmt: skip


def test_a_state_dict_of_several_layers_is_a_chain(tmp_path: Path) -> None:
    wanted = chain()
    rnncore.save_tensors(tmp_path / "model.safetensors", wanted.state_dict())
    got = convert.from_torch(tmp_path / "model.safetensors")
    assert repr(got) == repr(wanted)
    same_weights(got, wanted)
    ids = np.arange(8).reshape(4, 2)
    np.testing.assert_array_equal(got(ids).numpy(), wanted(ids).numpy())
    whole, _ = wanted.forward_with_state(ids)
    state: dict[str, Any] = {}
    for t in range(4):  # the state carries on
        step, state = wanted.forward_with_state(ids[t : t + 1], state)
        np.testing.assert_array_equal(step.numpy()[0], whole.numpy()[t])
    with pytest.raises(ValueError, match=r"\[chain\] state: expected names among \['body.rnn'\], got \['rnn'\]"):
        wanted(ids, {"rnn": None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("body.rnn.bias_hh_l1"), r"layer 'body.rnn': .* missing bias_hh_l1 of shape \(24\)"),
        (lambda s: s.update({"body.rnn.weight_ih_l3": s["head.weight"]}), r"layer 'body.rnn': expected weight_hh_l2"),
        (lambda s: s.update({"norm.running_mean": s["norm.bias"]}), r"layer 'norm': .*unused running_mean"),
        (lambda s: s.update({"conv.weight": np.zeros((2, 3, 4), np.float32)}), r"layer 'conv': .*weight \(2, 3, 4\)"),
        (lambda s: s.update({"head.weight": np.zeros((3, 7), np.float32)}), r"layer 'head': expected 6 .*got 7"),
        (lambda s: s.update({"head.bias": np.zeros(4, np.float32)}), r"bias: expected shape \(3\), got \(4,\)"),
        (lambda s: s.update({"head.bias": np.zeros(3, np.float16)}), r"float32 .*, float16 \(head.bias\)"),
        (lambda s: s.update({"body.rnn.weight_hh_l0": np.zeros((30, 6), np.float32)}), "weights of 1, 3 or 4 gates"),
        (lambda s: s.update({"body.rnn.weight_hh_l0": np.zeros((0, 0), np.float32)}), r"shape \(0, 0\)"),
        (lambda s: s.update({"body.rnn.weight_ih_l999999999999": s["head.weight"]}), r"1000000000000 layers"),
        (lambda s: s.update({"body.rnn.x": s["head.weight"]}), r"layer 'body.rnn': .*got x"),
        (lambda s: s.update({"body.rnn.weight_hr_l1": np.zeros((2, 6), np.float32)}), r"unused weight_hr_l1"),
        (lambda s: s.update({"body.rnn.weight_hr_l0": np.zeros((6, 6), np.float32)}), "less than hidden_size = 6"),
        (lambda s: s.clear(), "no weights"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change: Any, message: str) -> None:
    state = state_of(chain())
    change(state)
    with pytest.raises(ConversionError, match=message):
        convert.from_torch(state)


def test_kinds_say_what_names_do_not() -> None:
    state = state_of(nn.RNN(3, 5, nonlinearity="relu"))
    relu = convert.from_torch(state, kinds={"": "rnn-relu"})
    assert isinstance(relu, nn.RNN)
    assert relu.nonlinearity == "relu"
    square = {"a.weight": np.eye(4, dtype=np.float32), **{f"b.{k}": v for k, v in state_of(nn.GRU(4, 2)).items()}}
    with pytest.raises(ConversionError, match=r"layer 'a': .* may be either; say which with kinds="):
        convert.from_torch(square)
    table = convert.from_torch(square, kinds={"a": "embedding"})
    assert isinstance(table, convert.Chain)
    assert isinstance(table.layers()["a"], nn.Embedding)
    with pytest.raises(ValueError, match="kinds"):
        convert.from_torch(square, kinds={"c": "linear"})


def test_wrong_sources() -> None:
    with pytest.raises(TypeError, match=r"\[from_torch\] source: expected a torch.nn.Module, .*got int"):
        convert.from_torch(3)
    with pytest.raises(ConversionError, match=r"model.txt: expected a file .safetensors, .pt or .pth"):
        convert.from_torch("model.txt")
    with pytest.raises(OSError, match="absent"):
        convert.from_torch("absent.safetensors")
    with pytest.raises(ConversionError, match="expected a tensor"):
        convert.from_torch({"state_dict": {"a": 1}})


# With torch ----------------------------------------------------------------------------------------------


@pytest.fixture(name="torch")
def torch_fixture() -> Any:
    return pytest.importorskip("torch")


RNNS = [
    (name, options)
    for name in ("RNN", "LSTM", "GRU")
    for options in (
        {},
        {"num_layers": 2, "bidirectional": True},
        {"batch_first": True, "bias": False, "num_layers": 2, "dropout": 0.5},
    )
] + [
    ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {"proj_size": 4}),
    ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True, "batch_first": True}),
    ("LSTM", {"proj_size": 6, "num_layers": 2, "bias": False}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), RNNS, ids=str)
def test_recurrent_modules_there_and_back(torch: Any, name: str, options: dict[str, Any], dtype: str) -> None:
    theirs = getattr(torch.nn, name)(3, 7, **options, dtype=getattr(torch, dtype)).eval()
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(dtype)
    ours = convert.from_torch(theirs)
    assert not ours.training
    with torch.no_grad():
        worst = convert.verify(ours, theirs(torch.from_numpy(x)), x)
    assert worst < (1e-6 if dtype == "float32" else 1e-14)
    back = convert.to_torch(ours)
    assert repr(back) == repr(theirs)
    for key, value in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[key], value), key
    same_weights(convert.from_torch(back), ours)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_there_and_back(torch: Any, name: str) -> None:
    theirs = getattr(torch.nn, name)(3, 7)
    ours = convert.from_torch(theirs)
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    convert.verify(ours, theirs(torch.from_numpy(x)), x, tolerance=1e-6)
    assert repr(convert.to_torch(ours)) == repr(theirs)
    same_weights(convert.from_torch(convert.to_torch(ours)), ours)


def test_sequential_there_and_back(torch: Any) -> None:
    tnn = torch.nn
    inner = tnn.Sequential(tnn.LayerNorm(5), tnn.Dropout(0.3), tnn.LayerNorm(5, elementwise_affine=False), tnn.Tanh())
    theirs = tnn.Sequential(
        tnn.Embedding(9, 4, padding_idx=2), tnn.Linear(4, 5), inner, tnn.Identity(), tnn.ReLU(), tnn.Sigmoid(),
        tnn.Linear(5, 3, bias=False), tnn.LogSoftmax(-1), tnn.Softmax(-1),
    ).eval()  # fmt: skip
    theirs[1].weight.requires_grad_(False)
    ours = convert.from_torch(theirs)
    ids = np.arange(6).reshape(2, 3)
    convert.verify(ours, theirs(torch.from_numpy(ids)), ids)
    back = convert.to_torch(ours)
    convert.verify(back(torch.from_numpy(ids)), theirs(torch.from_numpy(ids)), tolerance=0)
    assert not back.get_submodule("1").weight.requires_grad
    assert set(theirs.state_dict()) <= set(back.state_dict())


@pytest.mark.parametrize("tied", [False, True])
def test_language_models_become_torch_modules(torch: Any, tied: bool, tmp_path: Path) -> None:
    model = models.LanguageModel(7, hidden_size=6, num_layers=2, cell="gru", tie_weights=tied).eval()
    theirs = convert.to_torch(model)
    ids = np.arange(6).reshape(3, 2)
    convert.verify(theirs(torch.from_numpy(ids)), model(ids)[0])
    assert (theirs.head.weight is theirs.embedding.weight) == tied
    torch.save(theirs.state_dict(), tmp_path / "model.pt")
    back = convert.from_torch(tmp_path / "model.pt")
    np.testing.assert_array_equal(back(ids).numpy(), model(ids)[0].numpy())


def test_what_torch_has_and_rnncore_has_not(torch: Any, tmp_path: Path) -> None:
    tnn = torch.nn
    for theirs, message in [
        (tnn.Conv1d(2, 2, 1), r"\[from_torch\] Conv1d: expected one of torch.nn.RNN"),
        (tnn.Sequential(tnn.Linear(2, 2), tnn.Sequential(tnn.GELU())), r"layer '1.0' \(GELU\)"),
        (tnn.Embedding(3, 2, max_norm=1.0), "max_norm"),
        (tnn.LayerNorm((3, 2)), "one axis"),
        (tnn.Linear(2, 2, dtype=torch.float16), "float16"),
        (tnn.utils.parametrizations.weight_norm(tnn.Linear(2, 2)), "ParametrizedLinear"),
        (tnn.Softmax(), "dim"),
        (tnn.Dropout(1.0), "probability"),
    ]:
        with pytest.raises(ConversionError, match=message):
            convert.from_torch(theirs)
    torch.save(tnn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(ConversionError, match=r"whole.pt: expected a state dict saved by torch"):
        convert.from_torch(tmp_path / "whole.pt")


def test_what_rnncore_has_and_torch_has_not(torch: Any) -> None:
    for ours, message in [
        (nn.RNN(2, 3, nonlinearity="sigmoid"), r"\[to_torch\] RNN: .*'rnn-sigmoid'; torch.nn has no others"),
        (convert.Chain({"x": nn.GRU(2, 3, reset_after=False)}), r"layer 'x' \(GRU\): .*gru-reset-before"),
        (nn.LSTM(2, [3, 4]), "one size"),
        (nn.LSTM(2, 3, peephole=True), "no options of the cell, got peephole"),
        (nn.LSTMCell(2, 3, coupled=True), "no options of the cell, got coupled"),
        (nn.LSTMCell(2, 3, proj_size=2), "no projection, got proj_size=2; torch.nn has none"),
        (nn.NLLLoss(), "NLLLoss"),
    ]:
        with pytest.raises(ConversionError, match=message):
            convert.to_torch(ours)


# verify -------------------------------------------------------------------------------------------------


def test_verify_says_what_differs() -> None:
    lstm = nn.LSTM(2, 3)
    x = np.ones((4, 1, 2), np.float32)
    output, (h, c) = (lambda y, s: (y.numpy(), (s[0].numpy(), s[1].numpy())))(*lstm(rnncore.tensor(x)))
    assert convert.verify(lstm, (output, (h, c)), x) == 0.0
    with pytest.raises(ConversionError, match=r"\[verify\] outputs: expected equal to 1e-05, got 1.1: differs by"):
        convert.verify(lstm, (output, (h, c + 1)), x)
    with pytest.raises(ConversionError, match=r"0: expected shape \(3, 1, 3\), got \(4, 1, 3\)"):
        convert.verify(lstm, (output[1:], (h, c)), x)
    with pytest.raises(ConversionError, match=r"expected 2: 0, 1, got 3: 0, 1.0, 1.1"):
        convert.verify(lstm, (output, h), x)
    for got, wanted in (([np.nan], [1.0]), ([1.0], [np.nan]), ([-np.inf], [np.inf]), ([1.0, np.inf], [1.0, 2.0])):
        with pytest.raises(ConversionError, match="inf"):
            convert.verify(got, wanted)
    assert convert.verify([np.inf, np.nan, 1.0], [np.inf, np.nan, 1.0]) == 0.0
