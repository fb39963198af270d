"""Modules: structure, state_dict, layers, losses, initialisation; against torch where it is there."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from cases import assert_close

import rnncore
from rnncore import nn
from rnncore.nn import functional, init


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.rnn = nn.GRU(4, 4, num_layers=2, dropout=0.2)
        self.head = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5))
        self.blocks = nn.ModuleList([nn.LayerNorm(5)])
        self.register_buffer("scale", rnncore.ones(1))

    def forward(self, ids: Any) -> Any:
        return self.blocks[0](self.head(self.rnn(self.embedding(ids))[0])) * self.scale


def test_structure() -> None:
    net = Net()
    names = [name for name, _ in net.named_parameters()]
    assert names[:3] == ["embedding.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0"]
    assert names[-4:] == ["head.2.weight", "head.2.bias", "blocks.0.weight", "blocks.0.bias"]
    assert list(net.state_dict()) == ["scale", *names]
    assert [type(m).__name__ for m in net.children()] == ["Embedding", "GRU", "Sequential", "ModuleList"]
    assert net([[1, 2], [3, 4]]).shape == (2, 2, 5)
    assert all(not module.training for module in net.eval().modules())
    assert all(module.training for module in net.train().modules())
    assert "(rnn): GRU(4, 4, num_layers=2" in repr(net)


def test_a_tied_parameter_counts_once_and_keeps_both_names() -> None:
    net = Net()
    head: Any = net.head[2]
    head.weight = nn.Parameter(rnncore.zeros(5, 4))
    net.embedding.weight = head.weight
    assert sum(1 for p in net.parameters() if p is head.weight) == 1
    assert {"embedding.weight", "head.2.weight"} <= set(net.state_dict())


def test_zero_grad_and_freezing() -> None:
    layer = nn.Linear(2, 2)
    layer(rnncore.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    layer.zero_grad()
    assert layer.weight.grad is None
    layer.requires_grad_(False)
    assert not layer(rnncore.ones(1, 2)).requires_grad


def test_load_state_dict() -> None:
    net, other = Net(), Net()
    assert net.load_state_dict(other.state_dict()) == ([], [])
    for name, value in other.state_dict().items():
        assert np.array_equal(net.state_dict()[name].numpy(), value.numpy())
    state: dict[str, Any] = {name: value.numpy().astype("float64") for name, value in other.state_dict().items()}
    net.load_state_dict(state)
    del state["head.0.bias"]
    state["more"] = np.zeros(1)
    state["head.2.weight"] = np.zeros((4, 5))
    before = net.embedding.weight.numpy().copy()
    state["embedding.weight"] = before + 1
    with pytest.raises(ValueError, match="load_state_dict") as error:
        net.load_state_dict(state)
    for part in ("missing head.0.bias", "unexpected more", "head.2.weight: expected shape (5, 5), got (4, 5)"):
        assert part in str(error.value)
    assert np.array_equal(net.embedding.weight.numpy(), before), "an error changes nothing"
    state["head.2.weight"] = np.zeros((5, 5))
    assert net.load_state_dict(state, strict=False) == (["head.0.bias"], ["more"])


def test_the_same_generator_makes_the_same_module_and_none_does_not() -> None:
    def weights(generator: rnncore.Generator | None) -> np.ndarray:
        return nn.LSTM(3, 4, generator=generator).weight_hh_l0.numpy()

    assert np.array_equal(weights(rnncore.Generator(5)), weights(rnncore.Generator(5)))
    shared = rnncore.Generator(5)
    assert not np.array_equal(weights(shared), weights(shared))
    assert not np.array_equal(weights(None), weights(None))
    assert np.abs(weights(None)).max() <= 0.5


def test_dropout() -> None:
    x = rnncore.ones(100, 100)
    layer = nn.Dropout(0.25, generator=rnncore.Generator(1))
    y = layer(x).numpy()
    assert set(np.unique(y).tolist()) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert layer.eval()(x) is x
    assert np.array_equal(nn.Dropout(0.25, generator=rnncore.Generator(1))(x).numpy(), y)


def test_embedding_padding() -> None:
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert not layer.weight.numpy()[4].any()
    layer([[4, 1], [1, 1]]).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0, 3, 0, 0, 0]


def both(make: Any, arrays: list[np.ndarray], function: Any) -> list[np.ndarray]:
    """The result and gradients of `function` over leaves made by `make`, the result weighted by fixed numbers."""
    leaves = [make(array) for array in arrays]
    out = function(*leaves)
    weight = np.cos(np.arange(math.prod(out.shape))).reshape(tuple(out.shape))
    (out * (weight if isinstance(out, rnncore.Tensor) else out.new_tensor(weight))).sum().backward()
    value = out.detach()
    return [np.asarray(value.numpy()), *(np.asarray(leaf.grad.numpy()) for leaf in leaves)]


RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((6, 5)), RNG.standard_normal((4, 5)), RNG.standard_normal(4)
G, S = RNG.standard_normal(5), RNG.standard_normal(5)
IDS = np.array([0, 4, 2, -100, 1, 4])
FUNCTIONS: dict[str, tuple[list[np.ndarray], Any, Any]] = {
    "linear": ([X, W, B], lambda f, x, w, b: f.linear(x, w, b), None),
    "layer_norm": (
        [X, G, S],
        lambda f, x, g, s: f.layer_norm(x, g, s),
        lambda f, x, g, s: f.layer_norm(x, (5,), g, s),
    ),
    "softmax": ([X], lambda f, x: f.softmax(x, 0), None),
    "log_softmax": ([X], lambda f, x: f.log_softmax(x, -1), None),
    "tanh": ([X], lambda f, x: f.tanh(x), None),
    "sigmoid": ([X], lambda f, x: f.sigmoid(x), None),
    "relu": ([X], lambda f, x: f.relu(x), None),
}
for _reduction in ("mean", "sum", "none"):
    for _smoothing in (0.0, 0.1):
        FUNCTIONS[f"cross_entropy-{_reduction}-{_smoothing}"] = (
            [X],
            lambda f, x, r=_reduction, e=_smoothing: f.cross_entropy(x, f.ids(IDS), reduction=r, label_smoothing=e),
            None,
        )
    FUNCTIONS[f"nll_loss-{_reduction}"] = (
        [X],
        lambda f, x, r=_reduction: f.nll_loss(f.log_softmax(x, -1), f.ids(IDS), reduction=r),
        None,
    )
FUNCTIONS["cross_entropy-ignore"] = ([X], lambda f, x: f.cross_entropy(x, f.ids(abs(IDS) % 5), ignore_index=4), None)


class _Namespace:
    def __init__(self, module: Any, ids: Any) -> None:
        self.module, self.ids = module, ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_as_torch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    arrays, function, torch_function = FUNCTIONS[name]
    ours, theirs = _Namespace(functional, rnncore.tensor), _Namespace(torch.nn.functional, torch.tensor)
    got = both(lambda a: rnncore.tensor(a, dtype, True), arrays, lambda *a: function(ours, *a))
    wanted = both(
        lambda a: torch.tensor(a, requires_grad=True), arrays, lambda *a: (torch_function or function)(theirs, *a)
    )
    for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
        assert_close(a, b, 1e-12 if dtype == "float64" else 1e-5, f"{name} {i}")


def test_linear_cross_entropy_is_the_composition() -> None:
    results = []
    for fused in (True, False):
        x, w, b = (rnncore.tensor(a, requires_grad=True) for a in (X, W, B))
        ids, options = IDS % 4, {"label_smoothing": 0.1, "reduction": "sum"}
        if fused:
            loss = functional.linear_cross_entropy(x, w, b, ids, **options)  # type: ignore[arg-type]
        else:
            loss = functional.cross_entropy(functional.linear(x, w, b), ids, **options)  # type: ignore[arg-type]
        loss.backward()
        results.append([loss.numpy(), *(t.grad.numpy() for t in (x, w, b))])  # type: ignore[union-attr]
    for a, b_ in zip(*results, strict=True):
        assert_close(a, b_, 1e-12, "linear_cross_entropy")


def test_one_example_without_a_batch() -> None:
    logits = rnncore.tensor([0.0, 0.0])
    assert nn.CrossEntropyLoss()(logits, 1).item() == pytest.approx(math.log(2))
    assert nn.NLLLoss()(logits.log_softmax(), rnncore.tensor(0)).shape == ()


def test_initialisation() -> None:
    g = rnncore.Generator(0)
    w = rnncore.zeros(200, 300)
    assert np.abs(init.xavier_uniform_(w, generator=g).numpy()).max() <= math.sqrt(6 / 500)
    assert w.numpy().std() == pytest.approx(math.sqrt(2 / 500), rel=0.02)
    assert init.kaiming_uniform_(w, generator=g).numpy().std() == pytest.approx(math.sqrt(2 / 300), rel=0.02)
    assert init.normal_(w, 1.0, 2.0, generator=g).numpy().mean() == pytest.approx(1.0, abs=0.05)
    for shape in ((4, 4), (3, 5), (5, 3)):
        q = init.orthogonal_(rnncore.zeros(*shape, dtype="float64"), generator=g).numpy()
        small = q @ q.T if shape[0] <= shape[1] else q.T @ q
        np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-12)
    assert init.eye_(rnncore.zeros(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="matrix"):
        init.xavier_uniform_(rnncore.zeros(3), generator=g)


def test_a_copy_of_a_module_is_independent() -> None:
    net = Net()
    other = copy.deepcopy(net).eval()
    ids = [[1, 2, 3]]
    assert np.array_equal(net.eval()(ids).numpy(), other(ids).numpy())
    other.head[0].weight.data.zero_()
    assert net.head[0].weight.numpy().any()


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "input features": (lambda: nn.LSTM(4, 6)(rnncore.zeros(5, 3, 7)), ValueError, r"4.*\(5, 3, 7\)"),
    "input rank": (lambda: nn.LSTM(4, 6)(rnncore.zeros(4)), ValueError, r"\(T, N, I\).*\(4,\)"),
    "state shape": (
        lambda: nn.GRU(4, 6, num_layers=2)(rnncore.zeros(5, 3, 4), rnncore.zeros(1, 3, 6)),
        ValueError,
        r"h_0.*\(2, 3, 6\).*\(1, 3, 6\)",
    ),
    "state pair": (lambda: nn.LSTM(4, 6)(rnncore.zeros(5, 3, 4), rnncore.zeros(1, 3, 6)), TypeError, r"\(h_0, c_0\)"),
    "dtype": (lambda: nn.LSTM(4, 6)(np.zeros((5, 3, 4))), TypeError, r"float32.*float64"),
    "integer input": (lambda: nn.RNN(4, 6)(np.zeros((5, 3, 4), int)), TypeError, r"float32.*int64"),
    "lengths count": (lambda: nn.RNN(4, 6)(rnncore.zeros(5, 3, 4), lengths=[1, 2]), ValueError, r"\(3,\).*\(2,\)"),
    "lengths range": (lambda: nn.RNN(4, 6)(rnncore.zeros(5, 2, 4), lengths=[1, 6]), ValueError, "6"),
    "reset mask": (
        lambda: nn.RNN(4, 6)(rnncore.zeros(5, 3, 4), reset_mask=np.zeros((3, 5), bool)),
        ValueError,
        r"\(5, 3\).*\(3, 5\)",
    ),
    "hidden size": (lambda: nn.LSTM(4, 0), ValueError, "hidden_size.*at least 1.*0"),
    "negative size": (lambda: nn.Linear(-3, 2), ValueError, "in_features.*-3"),
    "float size": (lambda: nn.Linear(3.0, 2), TypeError, "in_features.*float"),
    "layers": (lambda: nn.LSTM(4, [3, 4], num_layers=3), ValueError, "num_layers.*2.*3"),
    "dropout": (lambda: nn.LSTM(4, 3, dropout=1.5), ValueError, "dropout.*1.5"),
    "projection": (lambda: nn.LSTM(4, 3, proj_size=3), ValueError, "proj_size: expected .*less than hidden_size = 3"),
    "no projection": (lambda: nn.LSTM(4, 3, proj_size=-1), ValueError, "proj_size: expected .*got -1"),
    "nonlinearity": (lambda: nn.RNN(4, 3, nonlinearity="cube"), ValueError, "nonlinearity.*'cube'"),
    "dtype name": (lambda: nn.Linear(2, 2, dtype="float16"), TypeError, "float16"),
    "linear shape": (lambda: nn.Linear(3, 2)(rnncore.zeros(5, 4)), ValueError, r"\(5, 4\)"),
    "matmul": (lambda: rnncore.zeros(2, 3) @ rnncore.zeros(4, 5), ValueError, r"\(2, 3\).*\(4, 5\)"),
    "broadcast": (lambda: rnncore.zeros(2, 3) + rnncore.zeros(4), ValueError, r"\(2, 3\).*\(4,\)"),
    "target range": (lambda: nn.CrossEntropyLoss()(rnncore.zeros(2, 3), [0, 3]), ValueError, "3"),
    "target count": (lambda: nn.CrossEntropyLoss()(rnncore.zeros(2, 3), [0]), ValueError, r"target"),
    "target dtype": (lambda: nn.NLLLoss()(rnncore.zeros(2, 3), [0.5, 1.0]), TypeError, "target.*int64"),
    "reduction": (lambda: nn.NLLLoss(reduction="max")(rnncore.zeros(2, 3), [0, 1]), ValueError, "'max'"),
    "embedding id": (lambda: nn.Embedding(3, 2)([3]), ValueError, "3"),
    "embedding float": (lambda: nn.Embedding(3, 2)(rnncore.zeros(2)), TypeError, "input.*int64"),
    "cell input": (lambda: nn.GRUCell(3, 2)(rnncore.zeros(2, 2, 3)), ValueError, r"\(2, 2, 3\)"),
    "cell state": (
        lambda: nn.GRUCell(3, 2)(rnncore.zeros(4, 3), rnncore.zeros(3, 2)),
        ValueError,
        r"\(4, 2\).*\(3, 2\)",
    ),
    "stream input": (
        lambda: nn.LSTM(3, 2).stream().step(np.zeros((1, 3))),
        ValueError,
        r"\(1, 3\) of float32.*float64",
    ),
    "stream out": (
        lambda: nn.LSTM(3, 2).stream().step(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32)),
        ValueError,
        r"out: expected a writable.*\(1, 2\) of float32.*\(1, 3\)",
    ),
    "stream out list": (
        lambda: nn.LSTM(3, 2).stream().step(np.zeros((1, 3), np.float32), [0.0, 0.0]),  # type: ignore[arg-type]
        TypeError,
        "out.*NumPy array.*list",
    ),
    "stream ids without embedding": (
        lambda: nn.LSTM(3, 2).stream().step(np.zeros(1, np.int64)),
        ValueError,
        "embedding",
    ),
    "stream id": (
        lambda: nn.LSTM(3, 2).stream(embedding=rnncore.zeros(4, 3)).step(np.array([4])),
        ValueError,
        r"input\[0\].*V = 4.*got 4",
    ),
    "stream embedding": (lambda: nn.LSTM(3, 2).stream(embedding=rnncore.zeros(4, 2)), ValueError, r"\(V, 3\)"),
    "bidirectional stream": (lambda: nn.LSTM(3, 2, bidirectional=True).stream(), ValueError, "bidirectional"),
    "threads": (lambda: rnncore.set_num_threads(0), ValueError, "0"),
    "target name": (lambda: rnncore.set_target("ABACUS"), ValueError, "ABACUS"),
    "file": (lambda: rnncore.load_tensors("/nonexistent/x.safetensors"), OSError, "nonexistent"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(name: str) -> None:
    call, kind, pattern = BAD[name]
    with pytest.raises(kind, match=pattern) as error:
        call()
    assert type(error.value) is kind
    assert str(error.value).startswith("[")
    assert "\n" not in str(error.value)


def test_nan_input_is_found_at_the_update() -> None:
    layer = nn.LSTM(3, 4)
    optimizer = rnncore.optim.SGD(layer.named_parameters(), lr=0.1)
    before = {name: value.numpy().copy() for name, value in layer.state_dict().items()}
    layer(np.full((2, 1, 3), np.nan, "float32"))[0].sum().backward()
    with pytest.raises(FloatingPointError, match="weight_ih_l0"):
        optimizer.step()
    for name, value in layer.state_dict().items():
        assert np.array_equal(value.numpy(), before[name])


def test_the_course_character_rnn_runs_as_it_is_written() -> None:
    """The course's class and its manual update, with `torch` replaced by `rnncore`."""

    class RNN(nn.Module):
        def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
            super().__init__()
            self.hidden_size = hidden_size
            self.i2h = nn.Linear(input_size + hidden_size, hidden_size, generator=rnncore.Generator(1))
            self.i2o = nn.Linear(input_size + hidden_size, output_size, generator=rnncore.Generator(2))
            self.softmax = nn.LogSoftmax(dim=1)

        def forward(self, input: Any, hidden: Any) -> Any:
            combined = rnncore.cat((input, hidden), 1)
            hidden = self.i2h(combined)
            output = self.softmax(self.i2o(combined))
            return output, hidden

        def initHidden(self) -> Any:  # noqa: N802
            return rnncore.zeros(1, self.hidden_size)

    rnn, criterion = RNN(6, 16, 2), nn.NLLLoss()
    lines = [rnncore.zeros(4, 1, 6), rnncore.zeros(3, 1, 6)]
    for i, line in enumerate(lines):
        for t in range(line.size()[0]):
            line[t][0][(2 * i + t) % 6] = 1
    losses = []
    for _ in range(30):
        total = 0.0
        for category, line in enumerate(lines):
            hidden = rnn.initHidden()
            rnn.zero_grad()
            for i in range(line.size()[0]):
                output, hidden = rnn(line[i], hidden)
            loss = criterion(output, rnncore.tensor([category], dtype=rnncore.long))
            loss.backward()
            for p in rnn.parameters():
                p.data.add_(p.grad.data, alpha=-0.1)  # type: ignore[union-attr]
            total += loss.item()
            _, top_i = output.topk(1)
            assert top_i[0].item() in (0, 1)
        losses.append(total)
    assert losses[-1] < 0.1 * losses[0]
