"""Random stacks of any wiring against plain NumPy, and the equalities that hold bit for bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wiring_reference import run_stack

import rnncore
from rnncore import Tensor, nn
from rnncore.nn import Layer
from rnncore.nn.stack import recurrent_spec

CELLS = ("rnn-tanh", "rnn-relu", "rnn-sigmoid", "lstm", "gru", "gru-reset-before", "mgu", "indrnn")


@st.composite
def any_layer(draw: Any) -> Layer:
    """Any cell, some LSTMs projected, some in clockwork groups."""
    cell, hidden = draw(st.sampled_from(CELLS)), draw(st.integers(1, 9))
    delays = draw(st.lists(st.integers(2, 6), max_size=2, unique=True).map(lambda d: tuple(sorted(d))))
    periods = draw(st.lists(st.integers(1, 6), max_size=3, unique=True).map(sorted))
    if periods and draw(st.booleans()):
        return Layer(cell, draw(st.integers(1, 3)) * len(periods), delays=delays, group_periods=tuple(periods))
    return Layer(
        cell,
        hidden,
        delays=delays,
        period=draw(st.integers(1, 4)),
        proj_size=draw(st.integers(0, hidden - 1)) if cell == "lstm" else 0,
    )


layers = any_layer()


@st.composite
def stacks(draw: Any, two_ways: bool = True) -> dict[str, Any]:
    """Arguments of nn.Recurrent."""
    options: dict[str, Any] = {
        "input_size": draw(st.integers(1, 5)),
        "layers": draw(st.lists(layers, min_size=1, max_size=3)),
        "bias": draw(st.booleans()),
        "connection": draw(st.sampled_from(["none", "residual", "highway", "dense"])),
        "learn_initial_state": draw(st.booleans()),
    }
    way = draw(st.sampled_from(["forward", "reverse", "both"] if two_ways else ["forward"]))
    options["reverse"] = way == "reverse"
    options["bidirectional"] = way == "both"
    if way == "both":
        options["merge"] = draw(st.sampled_from(["concat", "sum", "mean"]))
    return options


def build(options: dict[str, Any], seed: int, dtype: str = "float64") -> nn.Recurrent:
    """The stack with random parameters, initial states and highway biases too."""
    generator = rnncore.Generator(seed)
    stack = nn.Recurrent(**options, dtype=dtype, generator=generator)
    with rnncore.no_grad():
        for parameter in stack.parameters():
            generator.uniform_(parameter, -0.8, 0.8)
    return stack


def spec_dict(stack: nn.Recurrent) -> dict[str, Any]:
    return json.loads(rnncore._core.recurrent_spec_json(stack.spec))


def values_of(stack: nn.Recurrent) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in stack.named_parameters()}


@given(options=stacks(), seed=st.integers(0, 1000), length=st.integers(1, 9), batch=st.integers(1, 3), data=st.data())
@settings(max_examples=120, deadline=None)
def test_a_stack_is_what_numpy_makes_of_the_definitions(
    options: dict[str, Any], seed: int, length: int, batch: int, data: Any
) -> None:
    stack = build(options, seed)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((length, batch, options["input_size"]))
    lengths = data.draw(st.none() | st.lists(st.integers(0, length), min_size=batch, max_size=batch))
    starts = None
    if data.draw(st.booleans()):
        starts = rng.random((length, batch)) < 0.3
        if lengths is not None:  # a new sequence never begins in the padding
            starts &= np.arange(length)[:, None] < np.array(lengths)
    state = None
    if data.draw(st.booleans()):
        _, before = stack(rng.standard_normal((3, batch, options["input_size"])))
        state = {name: value.detach().numpy() for name, value in before.items()}
    given_state = None if state is None else {name: Tensor(value) for name, value in state.items()}
    y, after = stack(x, given_state, lengths=lengths, reset_mask=starts)
    wanted, final = run_stack(spec_dict(stack), values_of(stack), x, state, lengths, starts)
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-10, atol=1e-12)
    assert after.keys() == final.keys()
    for name, value in final.items():
        np.testing.assert_allclose(after[name].detach().numpy(), value, rtol=1e-10, atol=1e-12, err_msg=name)


@given(options=stacks(two_ways=False), seed=st.integers(0, 1000), cuts=st.sets(st.integers(1, 11), max_size=4))
@settings(max_examples=40, deadline=None)
def test_chunks_and_streams_are_the_whole_bitwise(options: dict[str, Any], seed: int, cuts: set[int]) -> None:
    stack = build(options, seed, "float32")
    x = rnncore.randn(12, 2, options["input_size"], generator=rnncore.Generator(seed)).numpy()
    whole, final = stack(x)
    pieces, state = [], None
    for piece in np.split(x, sorted(cuts)):
        output, state = stack(piece, state)
        pieces.append(output.detach().numpy())
    assert np.array_equal(np.concatenate(pieces), whole.detach().numpy())
    stream = stack.stream(2)
    assert np.array_equal(np.stack([stream.step(step) for step in x]), whole.detach().numpy())
    for name, value in final.items():
        assert np.array_equal(value.detach().numpy(), state[name].detach().numpy())
        assert np.array_equal(value.detach().numpy(), stream.state_dict()[name].numpy())
    stream.load_state_dict(stack(x[:5])[1])
    again = np.stack([stream.step(step) for step in x[5:]])
    assert np.array_equal(again, whole.detach().numpy()[5:])


@given(options=stacks(), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_gradients_of_chunks_are_those_of_the_whole(options: dict[str, Any], seed: int) -> None:
    options = {**options, "bidirectional": False, "reverse": False, "merge": "concat"}
    stack = build(options, seed)
    x = rnncore.randn(9, 2, options["input_size"], generator=rnncore.Generator(seed), dtype="float64").numpy()
    results = []
    for cuts in ([], [2, 3, 7]):
        stack.zero_grad()
        pieces, state = [], None
        for piece in np.split(x, cuts):
            output, state = stack(piece, state)
            pieces.append(output)
        y = rnncore.cat(pieces)
        (y * y * y).sum().backward()
        results.append({name: p.grad.numpy() for name, p in stack.named_parameters() if p.grad is not None})
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-9, atol=1e-11, err_msg=name)


def test_clockwork_groups_as_in_the_paper() -> None:
    """Koutnik et al. 2014, equations 1, 3 and 4, group by group; gradients by central differences of that."""
    periods, size, rng = (1, 2, 4, 8), 3, np.random.default_rng(5)
    hidden, x = size * len(periods), rng.standard_normal((20, 2, 4))
    stack = build({"input_size": 4, "layers": [Layer("rnn-tanh", hidden, group_periods=periods)]}, 7)
    weights = values_of(stack)

    def clockwork(w: dict[str, np.ndarray]) -> np.ndarray:
        y, outputs = np.zeros((2, hidden)), []
        for t in range(len(x)):
            new = y.copy()
            for i, period in enumerate(periods):
                if t % period == 0:
                    rows, slower = slice(i * size, (i + 1) * size), slice(i * size, None)
                    a = y[:, slower] @ w["weight_hh_l0"][rows, slower].T + x[t] @ w["weight_ih_l0"][rows].T
                    new[:, rows] = np.tanh(a + w["bias_ih_l0"][rows] + w["bias_hh_l0"][rows])
            y = new
            outputs.append(y)
        return np.stack(outputs)

    output, _ = stack(x)
    np.testing.assert_allclose(output.detach().numpy(), clockwork(weights), rtol=1e-12, atol=1e-13)
    along = rng.standard_normal(output.shape)
    (output * Tensor(along)).sum().backward()
    for name, value in weights.items():
        direction = rng.standard_normal(value.shape)
        up, down = ((clockwork({**weights, name: value + s * direction}) * along).sum() for s in (1e-6, -1e-6))
        found = (getattr(stack, name).grad.numpy() * direction).sum()
        np.testing.assert_allclose(found, (up - down) / 2e-6, rtol=1e-7, atol=1e-7, err_msg=name)
    (cost,) = rnncore.explain(stack)
    assert cost.kernel == "rnn-tanh with options, clockwork groups"


def test_the_plain_stack_is_the_lstm() -> None:
    lstm = nn.LSTM(3, 5, num_layers=2, generator=rnncore.Generator(1))
    stack = nn.Recurrent(3, [Layer("lstm", 5)] * 2)
    stack.load_state_dict(lstm.state_dict())
    x = rnncore.randn(6, 2, 3, generator=rnncore.Generator(2))
    assert np.array_equal(stack(x)[0].detach().numpy(), lstm(x)[0].detach().numpy())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"connection": "skip"}, "connection: expected one of none, residual, highway, dense"),
        ({"merge": "sum"}, "merge: expected 'concat' with one direction"),
        ({"reverse": True, "bidirectional": True}, "reverse: expected false"),
        ({"same_mask": True}, "same_mask"),
        ({"weight_drop": 1.5}, "weight_drop: expected a probability"),
        (
            {"layers": [Layer("gru", 4, delays=(1,))]},
            r"delays: expected at most 16 .* got \[1\]; h_{t-1} always enters",
        ),
        ({"layers": [Layer("gru", 4, period=0)]}, "period: expected a number of steps"),
        ({"layers": [{"cell": "gru", "hidden_size": 4, "delay": [2]}]}, "unknown key"),
        ({"layers": []}, "num_layers"),
        ({"init": "zero"}, "start: expected uniform"),
        ({"forget_bias": 1.0}, "forget_bias: expected None, since no layer has a forget gate"),
        ({"chrono": 1}, "chrono"),
    ],
)
def test_bad_options_are_one_clear_error(options: dict[str, Any], text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=text):
        nn.Recurrent(**{"input_size": 3, "layers": [Layer("gru", 4)], **options})


def test_streams_refuse_the_future() -> None:
    for options in ({"bidirectional": True}, {"reverse": True}):
        with pytest.raises(ValueError, match="still to come"):
            nn.Recurrent(3, [Layer("gru", 4)], **options).stream()


def test_a_state_of_another_stack_is_refused() -> None:
    stack = nn.Recurrent(3, [Layer("gru", 4, delays=(2,))])
    x = rnncore.zeros(2, 1, 3)
    with pytest.raises(ValueError, match="state: expected names among h_l0, c_l0, past_l0, clock, got h_l1"):
        stack(x, {"h_l1": rnncore.zeros(1, 4)})
    with pytest.raises(ValueError, match=r"past\[0\]: expected shape \(d_max-1, N, H\) = \(1, 1, 4\)"):
        stack(x, {"past_l0": rnncore.zeros(2, 1, 4)})
    with pytest.raises(ValueError, match="clock"):
        stack(x, {"clock": Tensor(np.zeros(1, np.int64))})


def test_batch_first_and_ids() -> None:
    stack = build({"input_size": 4, "layers": [Layer("gru", 5, delays=(2,), period=2), Layer("lstm", 3)],
                   "connection": "dense"}, 0)  # fmt: skip
    table = rnncore.tensor(np.random.default_rng(0).standard_normal((6, 4)))
    ids = np.random.default_rng(1).integers(0, 6, (9, 2))
    fused = stack(ids, embedding=table)[0].detach().numpy()
    assert np.array_equal(fused, stack(nn.functional.embedding(ids, table))[0].detach().numpy())
    stack.batch_first = True
    turned = stack(np.ascontiguousarray(ids.T), embedding=table)[0].detach().numpy()
    assert np.array_equal(turned, fused.transpose(1, 0, 2))


# Initialisers ------------------------------------------------------------------------------------------------


def test_starts_of_a_stack() -> None:
    def made(**options: Any) -> dict[str, np.ndarray]:
        parts = [Layer("lstm", 6, delays=(2,)), Layer("gru", 4)]
        stack = nn.Recurrent(3, parts, connection="highway", learn_initial_state=True,
                             generator=rnncore.Generator(3), **options)  # fmt: skip
        return values_of(stack)

    for start in ("uniform", "xavier", "he", "orthogonal", "identity"):
        p = made(init=start)
        assert not p["h_0_l0"].any()
        assert (p["bias_highway_l1"] == -1).all()
        assert p["bias_ih_l0"].any() == (start == "uniform")
        assert p["weight_delay_l0_d2"].any()
    p = made(init="orthogonal", scale=2.0)
    for block in np.split(p["weight_hh_l0"], 4):
        np.testing.assert_allclose(block @ block.T, 4 * np.eye(6), atol=1e-5)
    assert (made(init="identity", scale=0.5)["weight_hh_l1"] == np.tile(0.5 * np.eye(4), (3, 1))).all()
    bound = np.sqrt(6 / (3 + 6))  # Xavier, a gate at a time
    assert bound * 0.7 < np.abs(made(init="xavier")["weight_ih_l0"]).max() <= bound
    ind = nn.Recurrent(3, [Layer("indrnn", 4)], init="identity", scale=0.9)
    assert (ind.weight_u_l0.detach().numpy() == np.float32(0.9)).all()
    p = made(forget_bias=1.0)
    assert (p["bias_ih_l0"][6:12] == 1).all()
    assert not p["bias_hh_l0"][6:12].any()
    p = made(chrono=50)
    forget = p["bias_ih_l0"][6:12]
    assert (forget >= 0).all()
    assert (np.exp(forget) <= 49.001).all()
    assert np.array_equal(p["bias_ih_l0"][:6], -forget)
    assert (p["bias_ih_l1"][4:8] >= 0).all()
    assert np.array_equal(made(init="he")["weight_ih_l0"], made(init="he")["weight_ih_l0"])


# Regularisers ------------------------------------------------------------------------------------------------


def test_same_mask_dropout_keeps_one_mask() -> None:
    x = rnncore.ones(50, 3, 40)
    y = nn.functional.same_mask_dropout(x, 0.5, generator=rnncore.Generator(1)).numpy()
    assert (y == y[0]).all()
    assert set(np.unique(y)) == {0.0, 2.0}
    assert 0.3 < (y[0] == 0).mean() < 0.7
    assert nn.functional.same_mask_dropout(x, 0.5, training=False) is x


def test_embedding_dropout_takes_whole_rows() -> None:
    table = rnncore.ones(200, 5)
    y = nn.functional.embedding_dropout(table, 0.25, generator=rnncore.Generator(1)).numpy()
    assert (y == y[:, :1]).all()
    assert 0.15 < (y[:, 0] == 0).mean() < 0.35


def test_penalties_are_their_formulas() -> None:
    h = np.random.default_rng(0).standard_normal((4, 2, 3))
    assert nn.functional.activation_penalty(Tensor(h)).item() == pytest.approx((h**2).mean())
    wanted = ((h[1:] - h[:-1]) ** 2).mean()
    assert nn.functional.temporal_activation_penalty(Tensor(h)).item() == pytest.approx(wanted)


def test_dropout_acts_in_training_alone_and_repeats_with_its_generator() -> None:
    options = {"dropout": 0.3, "input_dropout": 0.2, "output_dropout": 0.4, "same_mask": True, "weight_drop": 0.5}
    stack = nn.Recurrent(3, [Layer("lstm", 8), Layer("gru", 7)], **options, generator=rnncore.Generator(0))
    x = rnncore.randn(5, 2, 3, generator=rnncore.Generator(1))
    first = stack(x, generator=rnncore.Generator(5))[0].detach().numpy()
    assert np.array_equal(first, stack(x, generator=rnncore.Generator(5))[0].detach().numpy())
    assert not np.array_equal(first, stack(x, generator=rnncore.Generator(6))[0].detach().numpy())
    assert ((first == 0).all(axis=0) == (first == 0).any(axis=0)).all()
    stack.eval()
    quiet = nn.Recurrent(3, [Layer("lstm", 8), Layer("gru", 7)])
    quiet.load_state_dict(stack.state_dict())
    assert np.array_equal(stack(x)[0].detach().numpy(), quiet(x)[0].detach().numpy())


def test_the_spec_survives_json() -> None:
    spec = recurrent_spec(3, [Layer("gru", 4, (2, 3), 2)], connection="dense", learn_initial_state=True)
    text = rnncore._core.recurrent_spec_json(spec)
    assert rnncore._core.recurrent_spec_json(rnncore._core.recurrent_spec(text)) == text
