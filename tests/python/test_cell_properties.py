"""Random options of random cells: every equality that holds bit for bit, and gradients against central differences.

The options are drawn from one table of what each cell has; whatever the engine refuses must be refused at construction,
in one line that names the argument, and whatever it accepts must keep all the promises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnncore
from rnncore import nn
from rnncore.nn import Layer

# Gates are bounded: a state that is multiplied by what grows with it would be infinite in a few steps.
BOUNDED = (
    {"kind": "sigmoid"},
    {"kind": "tanh"},
    {"kind": "softsign"},
    {"kind": "scaled-tanh", "alpha": 1.2, "beta": 0.6},
)
UNBOUNDED = ({"kind": "softplus"}, {"kind": "affine", "alpha": 0.7, "beta": 0.1})
# Their derivatives jump (softsign's and ELU's second one does): not for central differences.
KINKED = ({"kind": "relu"}, {"kind": "leaky-relu", "alpha": 0.2}, {"kind": "elu"})
CELLS = ("rnn-tanh", "rnn-relu", "rnn-sigmoid", "rnn", "lstm", "gru", "gru-reset-before", "mgu", "indrnn")
GATED = ("lstm", "gru", "gru-reset-before", "mgu")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = rnncore.get_num_threads()
    yield
    rnncore.set_num_threads(before)


def probability() -> st.SearchStrategy[float]:
    return st.sampled_from([0.1, 0.3, 0.6])


@st.composite
def cell_layers(draw: Any, smooth: bool = False) -> Layer:
    """A layer of any cell with options that belong to it. smooth: nothing whose derivative jumps."""
    cell = draw(st.sampled_from([c for c in CELLS if not (smooth and c in ("rnn-relu", "indrnn"))]))
    bounded = tuple(a for a in BOUNDED if not (smooth and a["kind"] == "softsign"))
    for_gates = st.sampled_from(bounded if smooth else (*bounded, {"kind": "hard-sigmoid"}))
    for_others = st.sampled_from((*bounded, *UNBOUNDED, *(() if smooth else KINKED)))
    lstm = cell == "lstm"
    places = {"lstm": ("gate", "candidate", "hidden"), "rnn": ("candidate",), "indrnn": ("candidate",)}
    offered: dict[str, st.SearchStrategy[Any]] = {
        "clip": st.sampled_from([0.8, 2.0]) if not smooth else st.just(50.0),
        "zoneout_h": probability(),
        "layer_norm": st.just(True),
    }
    if cell != "indrnn":
        offered["state_dropout"] = probability()
    chosen = places.get(cell, ("gate", "candidate") if cell in GATED else ())
    if chosen:
        offered["activations"] = st.fixed_dictionaries(
            {}, optional={place: for_gates if place == "gate" else for_others for place in chosen}
        )
    if cell.startswith("rnn"):
        offered["leak"] = st.sampled_from([0.2, 0.7])
    if lstm:
        offered |= {name: st.just(True) for name in ("peephole", "coupled")}
        offered |= {"forget_gate": st.just(False), "zoneout_c": probability()}
        if not smooth:  # its gradient is not that of the loss
            offered["truncate_gates"] = st.just(True)
    options = {name: draw(value) for name, value in offered.items() if draw(st.booleans())}
    if not options.get("activations", True):
        options.pop("activations")
    if "leak" in options:
        options.pop("zoneout_h", None)  # both say how much of the old state stays
    if options.get("coupled"):
        options.pop("forget_gate", None)  # f is either 1 - i or 1
    hidden = draw(st.integers(1, 9) if not smooth else st.integers(2, 4))
    delays: tuple[int, ...] = ()
    if not options.get("layer_norm") and not options.get("truncate_gates"):
        delays = draw(st.sampled_from([(), (), (2,), (2, 3)]))
    projected = draw(st.integers(0, hidden - 1)) if lstm else 0
    keeping = {"layer_norm", "zoneout_h", "zoneout_c", "leak"}  # what groups do not go with
    if projected == 0 and not keeping & options.keys() and draw(st.booleans()):
        count = draw(st.sampled_from([count for count in (1, 2, 3) if hidden % count == 0]))
        options["group_periods"] = draw(st.sampled_from([[1, 2, 4], [2, 3, 7]]))[:count]
    return Layer(cell, hidden, delays=delays, options=options, proj_size=projected)


stacks = st.lists(cell_layers(), min_size=1, max_size=2)
seeds = st.integers(0, 1000)


def build(layers: list[Layer], seed: int, dtype: str, **wiring: Any) -> nn.Recurrent:
    """A stack over 3 features with random parameters."""
    generator = rnncore.Generator(seed)
    stack = nn.Recurrent(3, layers, dtype=dtype, generator=generator, **wiring)
    with rnncore.no_grad():
        for parameter in stack.parameters():
            generator.uniform_(parameter, -0.8, 0.8)
    return stack


def numbers(seed: int, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rnncore.randn(*shape, generator=rnncore.Generator(seed + 1), dtype=dtype).numpy()


def arrays_of(state: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in state.items()}


def assert_same_bits(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.array_equal(got[name], value), name


@given(layers=stacks, seed=seeds, dtype=st.sampled_from(["float32", "float64"]), batch=st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_streams_and_chunks_are_the_sequence(layers: list[Layer], seed: int, dtype: str, batch: int) -> None:
    stack = build(layers, seed, dtype).eval()
    x = numbers(seed, 9, batch, 3, dtype=dtype)
    whole, final = stack(x)
    pieces, state = [], None
    for piece in np.split(x, [1, 4]):
        output, state = stack(piece, state)
        pieces.append(output.detach().numpy())
    assert np.array_equal(np.concatenate(pieces), whole.detach().numpy())
    assert_same_bits(arrays_of(state), arrays_of(final))
    stream = stack.stream(batch)
    assert np.array_equal(np.stack([stream.step(step) for step in x]), whole.detach().numpy())
    assert_same_bits({name: value.numpy() for name, value in stream.state_dict().items()}, arrays_of(final))


@given(layers=stacks, seed=seeds, both=st.booleans(), lengths=st.lists(st.integers(0, 7), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_padded_sequences_are_each_alone(layers: list[Layer], seed: int, both: bool, lengths: list[int]) -> None:
    stack = build(layers, seed, "float32", bidirectional=both).eval()
    x = numbers(seed, 7, 3, 3)
    output, final = stack(x, lengths=lengths)
    for n, length in enumerate(lengths):
        row = output.detach().numpy()[:, n]
        assert not row[length:].any()
        if length == 0:
            continue
        alone, after = stack(x[:length, n : n + 1])
        assert np.array_equal(row[:length], alone.detach().numpy()[:, 0])
        got = {name: v[:, n] if name.startswith("past") else v[n] for name, v in arrays_of(final).items()}
        assert_same_bits(
            got, {name: v[:, 0] if name.startswith("past") else v[0] for name, v in arrays_of(after).items()}
        )


@given(layers=stacks, seed=seeds, both=st.booleans(), cut=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_a_reset_separates_sequences(layers: list[Layer], seed: int, both: bool, cut: int) -> None:
    stack = build(layers, seed, "float32", bidirectional=both).eval()
    x = numbers(seed, 7, 2, 3)
    mask = np.zeros((7, 2), bool)
    mask[cut, 1] = True
    output, _ = stack(x, reset_mask=mask)
    parts = [stack(x[:, :1])[0], stack(x[:cut, 1:])[0], stack(x[cut:, 1:])[0]]
    whole, before, after = (part.detach().numpy()[:, 0] for part in parts)
    assert np.array_equal(output.detach().numpy()[:, 0], whole)
    assert np.array_equal(output.detach().numpy()[:, 1], np.concatenate([before, after]))


def training_results(
    stack: nn.Recurrent, x: np.ndarray, lengths: list[int] | None, mask: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Output, final state and all gradients, with the masks of one seed."""
    stack.zero_grad()
    leaf = rnncore.tensor(x, requires_grad=True)
    output, final = stack(leaf, lengths=lengths, reset_mask=mask, generator=rnncore.Generator(5))
    states = [value for name, value in final.items() if name != "clock"]
    sum(((value * value).sum() for value in states), (output * output).sum()).backward()
    gradients = {name: p.grad.numpy() for name, p in stack.named_parameters()}
    return {"y": output.detach().numpy(), "dx": leaf.grad.numpy(), **arrays_of(final), **gradients}


@given(layers=stacks, seed=seeds, masked=st.booleans(), size=st.sampled_from([(7, 3, 1), (40, 16, 9)]))
@settings(max_examples=30, deadline=None)
def test_threads_do_not_matter_in_training(
    layers: list[Layer], seed: int, masked: bool, size: tuple[int, int, int]
) -> None:
    steps, batch, times = size
    wider = [
        Layer(one.cell, one.hidden_size * times, one.delays, 1, one.options, one.proj_size * times) for one in layers
    ]
    stack = build(wider, seed, "float32")
    x = numbers(seed, steps, batch, 3)
    lengths = [(7 * n + seed) % (steps + 1) for n in range(batch)] if masked else None
    mask = numbers(seed + 1, steps, batch) > 1.2 if masked else None
    results = []
    for threads in (1, 2):
        rnncore.set_num_threads(threads)
        results.append(training_results(stack, x, lengths, mask))
    assert_same_bits(*results)


@given(
    layer=cell_layers(smooth=True),
    seed=seeds,
    both=st.booleans(),
    lengths=st.none() | st.lists(st.integers(0, 4), min_size=2, max_size=2),
    resets=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_gradients_are_central_differences(
    layer: Layer, seed: int, both: bool, lengths: list[int] | None, resets: bool
) -> None:
    """Along one random direction of each leaf, in float64, masks of dropout and zoneout included.

    Layer normalisation bends within sqrt(1e-5) = 3e-3 where values of a row are nearly equal; fourth-order differences
    with a step of 2e-5 leave 1e-8 there, and rounding 1e-10.
    """
    stack = build([layer], seed, "float64", bidirectional=both)
    x = numbers(seed, 4, 2, 3, dtype="float64")
    mask = numbers(seed + 7, 4, 2) > 0.5 if resets else None
    rng = np.random.default_rng(seed)

    _, shape_of_state = stack(x, generator=rnncore.Generator(5))
    clock = {name: shape_of_state.pop(name) for name in ("clock",) if name in shape_of_state}  # groups' steps so far
    values = {"x": x, **{name: rng.uniform(-0.8, 0.8, value.shape) for name, value in shape_of_state.items()}}
    values |= {f"p.{name}": p.detach().numpy().copy() for name, p in stack.named_parameters()}
    weights: dict[str, np.ndarray] = {}

    def loss(changed: dict[str, np.ndarray], grad: bool = False) -> tuple[Any, dict[str, Any]]:
        leaves = {name: rnncore.tensor(value, requires_grad=grad) for name, value in changed.items()}
        with rnncore.no_grad():
            for name, parameter in stack.named_parameters():
                parameter.copy_(leaves[f"p.{name}"])
        state = {name: leaf for name, leaf in leaves.items() if name != "x" and not name.startswith("p.")} | clock
        output, final = stack(leaves["x"], state, lengths=lengths, reset_mask=mask, generator=rnncore.Generator(5))
        total = None
        for name, value in {"y": output, **final}.items():
            if name == "clock":
                continue
            weights.setdefault(name, rng.standard_normal(value.shape))
            term = (value * rnncore.tensor(weights[name])).sum()
            total = term if total is None else total + term
        return total, leaves

    stack.zero_grad()
    total, leaves = loss(values, grad=True)
    total.backward()
    gradients = {name: leaf.grad for name, leaf in leaves.items() if not name.startswith("p.")}
    gradients |= {f"p.{name}": p.grad for name, p in stack.named_parameters()}
    step = 2e-5
    with rnncore.no_grad():
        for name, value in values.items():
            direction = rng.standard_normal(value.shape)
            direction /= np.sqrt((direction**2).sum())
            at = [loss({**values, name: value + k * step * direction})[0].item() for k in (-2, -1, 1, 2)]
            wanted = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)
            found = 0.0 if gradients[name] is None else float((gradients[name].numpy() * direction).sum())
            assert abs(found - wanted) <= 1e-6 * max(1.0, abs(wanted)), (name, found, wanted)


# Anything goes: values in and out of range, options of other cells.
wild = st.fixed_dictionaries(
    {},
    optional={
        "clip": st.sampled_from([-1.0, 0.0, 1.5, float("nan"), float("inf")]),
        "zoneout_h": st.sampled_from([-0.1, 0.0, 0.3, 1.0]),
        "zoneout_c": st.sampled_from([0.0, 0.3, 1.5]),
        "state_dropout": st.sampled_from([0.0, 0.3, 1.0]),
        "layer_norm": st.booleans(),
        "leak": st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
        "peephole": st.booleans(),
        "coupled": st.booleans(),
        "forget_gate": st.booleans(),
        "truncate_gates": st.booleans(),
        "group_periods": st.sampled_from([[1], [1, 2], [2, 1], [0, 3], [1, 2, 3, 4, 5, 6]]),
        "activations": st.dictionaries(
            st.sampled_from(["gate", "candidate", "hidden"]),
            st.sampled_from([{"kind": "relu"}, {"kind": "tanh", "alpha": 1.0}, {"kind": "elu", "alpha": -1.0}]),
            max_size=2,
        ),
    },
)


@given(
    cell=st.sampled_from(CELLS),
    hidden=st.integers(1, 5),
    options=wild,
    delays=st.sampled_from([(), (2,), (1,), (3, 2)]),
    projected=st.integers(-1, 5),
    seed=seeds,
)
@settings(max_examples=300, deadline=None)
def test_what_is_wrong_is_one_clear_error_at_construction_and_the_rest_runs(
    cell: str, hidden: int, options: dict[str, Any], delays: tuple[int, ...], projected: int, seed: int
) -> None:
    try:
        stack = build([Layer(cell, hidden, delays=delays, options=options, proj_size=projected)], seed, "float32")
    except ValueError as error:
        text = str(error)
        assert re.fullmatch(r"\[recurrent\] [\w.\[\]]+: .*expected .+ got .+", text), text
        assert "\n" not in text
        return
    x = rnncore.randn(4, 2, 3, generator=rnncore.Generator(seed))
    output, _ = stack(x)
    assert output.shape == (4, 2, stack.output_size)
    assert np.isfinite(output.detach().numpy()).all()
    (output * output).sum().backward()
    for name, parameter in stack.named_parameters():
        assert parameter.grad is not None, name
        assert np.isfinite(parameter.grad.numpy()).all(), name
