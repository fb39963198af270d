"""Equalities that must hold whatever the numbers are: chunks, streams, threads, padding, resets. No torch needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cases import CASES, CELLS, RecurrentCase, assert_close, build, make_arrays, run_rnncore

import rnncore
from rnncore import nn

DTYPES = ["float32", "float64"]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = rnncore.get_num_threads()
    yield
    rnncore.set_num_threads(before)


def pair(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def make(cell: str, dtype: str, **changes: Any) -> tuple[RecurrentCase, Any, np.ndarray]:
    case = RecurrentCase(cell, layers=2, **{"T": 11, "N": 3, "H": 21, **changes})
    arrays = make_arrays(case)
    return case, build(case, arrays, dtype), arrays["x"].astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_chunks_are_the_whole_bitwise(cell: str, dtype: str) -> None:
    _, module, x = make(cell, dtype)
    whole, final = module(x)
    state: Any = None
    parts = []
    for start, stop in ((0, 4), (4, 5), (5, 11)):
        output, state = module(x[start:stop], state)
        parts.append(output.numpy())
    assert np.array_equal(np.concatenate(parts), whole.numpy())
    for a, b in zip(pair(state), pair(final), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_stream_is_the_sequence_bitwise(cell: str, dtype: str) -> None:
    case, module, x = make(cell, dtype)
    whole, final = module(x)
    stream = module.stream(case.N)
    steps = [stream.step(x[t]) for t in range(case.T)]
    assert np.array_equal(np.stack(steps), whole.numpy())
    for a, b in zip(stream.state, pair(final), strict=False):
        assert np.array_equal(a.numpy(), b.numpy())
    stream.reset()
    assert np.array_equal(stream.step(x[0]), steps[0])
    stream.reset(1)
    fresh = stream.step(x[0])
    assert np.array_equal(fresh[1], steps[0][1])
    assert not np.array_equal(fresh[0], steps[0][0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_one_stream_writes_the_sequence_into_given_arrays(cell: str, dtype: str) -> None:
    case, module, x = make(cell, dtype)
    whole, _ = module(x[:, :1])
    stream = module.stream()
    out = np.empty((1, whole.shape[2]), dtype)
    for t in range(case.T):
        assert stream.step(x[t, :1], out) is out
        assert np.array_equal(out, whole.numpy()[t])


@pytest.mark.parametrize("batch", [1, 3])
def test_a_stream_of_tokens_is_the_stream_of_their_rows(batch: int) -> None:
    layer = nn.GRU(5, 12, 2, generator=rnncore.Generator(1))
    table = nn.Embedding(9, 5, generator=rnncore.Generator(2)).weight
    tokens, features = layer.stream(batch, embedding=table, threads=True), layer.stream(batch)
    for t in range(20):
        ids = (np.arange(batch) * 4 + t * t) % 9
        assert np.array_equal(tokens.step(ids), features.step(table.numpy()[ids]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [c for c in CASES if c.variant in ("wide", "layers2")], ids=lambda case: case.name)
def test_threads_do_not_change_bits(case: RecurrentCase, dtype: str) -> None:
    arrays = make_arrays(case)
    results = []
    for threads in (1, 2, 3):
        rnncore.set_num_threads(threads)
        results.append(run_rnncore(case, arrays, dtype))
    for name, wanted in results[0].items():
        for other in results[1:]:
            assert np.array_equal(other[name], wanted), name


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_padded_sequence_is_the_sequence_alone(cell: str, bidirectional: bool) -> None:
    _, module, x = make(cell, "float32", bidirectional=bidirectional)
    lengths = [11, 4, 7]
    x = x.copy()
    for n, length in enumerate(lengths):
        x[length:, n] = np.nan  # padding must not be read into anything
    output, final = module(x, lengths=lengths)
    for n, length in enumerate(lengths):
        alone, state = module(x[:length, n : n + 1])
        assert np.array_equal(output.numpy()[:length, n], alone.numpy()[:, 0])
        assert not output.numpy()[length:, n].any()
        for a, b in zip(pair(final), pair(state), strict=True):
            assert np.array_equal(a.numpy()[:, n], b.numpy()[:, 0])


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_resets_are_separate_sequences(cell: str, bidirectional: bool, with_state: bool) -> None:
    """Outputs, and the gradients of input, parameters and initial state, of one stream cut at a reset."""
    case, module, x = make(cell, "float64", bidirectional=bidirectional, N=1)
    slots = 2 * (2 if bidirectional else 1)
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((case.T, 1, case.H * (2 if bidirectional else 1)))
    starts = rng.uniform(-1, 1, (slots, 1, case.H))
    cut = 4
    mask = np.zeros((case.T, 1), dtype=bool)
    mask[cut] = True

    def run(together: bool) -> list[np.ndarray]:
        module.zero_grad()
        leaf = rnncore.tensor(x, requires_grad=True)
        start = rnncore.tensor(starts, requires_grad=True)
        state: Any = ((start, start) if cell == "lstm" else start) if with_state else None
        if together:
            output, _ = module(leaf, state, reset_mask=mask)
        else:
            output = rnncore.cat([module(leaf[:cut], state)[0], module(leaf[cut:], state)[0]])
        (output * weight).sum().backward()
        grads = [leaf.grad, *(p.grad for p in module.parameters())] + ([start.grad] if with_state else [])
        return [output.numpy(), *(g.numpy() for g in grads)]

    for got, wanted in zip(run(True), run(False), strict=True):
        assert_close(got, wanted, 1e-12, cell)


@pytest.mark.parametrize("cell", CELLS)
def test_empty_batch_and_one_step(cell: str) -> None:
    _, module, x = make(cell, "float32")
    output, final = module(x[:, :0])
    assert output.shape == (11, 0, 21)
    assert pair(final)[0].shape == (2, 0, 21)
    assert module(x[:1])[0].shape == (1, 3, 21)


@pytest.mark.parametrize("cell", ["rnn-tanh", "lstm", "gru"])
def test_a_cell_is_one_step_of_the_layer_bitwise(cell: str) -> None:
    case = RecurrentCase(cell, T=1)
    arrays = make_arrays(case)
    layer = build(case, arrays, "float32")
    kind = {"rnn-tanh": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell]
    single = kind(case.I, case.H)
    single.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    out = single(arrays["x"][0].astype("float32"))
    assert np.array_equal(pair(out)[0].numpy(), layer(arrays["x"].astype("float32"))[0].numpy()[0])


def test_two_layers_of_their_own_size_are_two_modules() -> None:
    case = RecurrentCase("gru", hidden=(6, 3), layers=2)
    arrays = make_arrays(case)
    both = build(case, arrays, "float64")
    first, second = (nn.GRU(i, h, dtype="float64") for i, h in ((case.I, 6), (6, 3)))
    for k, module in enumerate((first, second)):
        own = {n.replace(f"_l{k}", "_l0"): v for n, v in both.state_dict().items() if n.endswith(f"_l{k}")}
        module.load_state_dict(own)
    wanted = second(first(arrays["x"])[0])[0].numpy()
    assert np.array_equal(both(arrays["x"])[0].numpy(), wanted)


def test_forget_bias() -> None:
    module = nn.LSTM(3, 5, num_layers=2, bidirectional=True, forget_bias=1.0)
    for name, parameter in module.named_parameters():
        if name.startswith("bias"):
            block = parameter.numpy()[5:10]
            assert (block == (1.0 if "_ih_" in name else 0.0)).all(), name


def test_memory_does_not_grow() -> None:
    import resource

    module = nn.LSTM(8, 16, num_layers=2)
    optimizer = rnncore.optim.Adam(module.parameters())
    x = rnncore.randn(10, 4, 8, generator=rnncore.Generator(0))
    state: Any = None

    def steps(count: int) -> int:
        nonlocal state
        for _ in range(count):
            optimizer.zero_grad()
            output, state = module(x, state)
            state = tuple(s.detach() for s in state)
            (output * output).mean().backward()
            optimizer.step(clip_norm=5.0)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = steps(200)
    assert steps(1800) - before < 2048  # KiB; one leaked state a step would be 1 MiB, one leaked tape 50


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_ids_with_an_embedding_are_the_embedded_input(cell: str, batch_first: bool) -> None:
    case, module, _ = make(cell, "float64", batch_first=batch_first, N=4)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 5, (4, 11) if batch_first else (11, 4))
    table = rnncore.tensor(rng.standard_normal((5, case.I)), requires_grad=True)
    results = []
    for fused in (True, False):
        module.zero_grad()
        table.grad = None
        arguments = {"embedding": table} if fused else {}
        output, _ = module(ids if fused else nn.functional.embedding(ids, table), **arguments)
        (output * output).sum().backward()
        grads = [table.grad, *(p.grad for p in module.parameters())]
        results.append([output.numpy(), *(g.numpy() for g in grads)])
    for got, wanted in zip(*results, strict=True):
        assert_close(got, wanted, 1e-12, cell)
    single = module(ids[0] if batch_first else ids[:, 0], embedding=table)[0]
    wanted = output[0] if batch_first else output[:, 0]
    assert_close(single.numpy(), wanted.numpy(), 1e-12, "one sequence")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_any_nonzero_integer_resets(dtype: str) -> None:
    """256 and -256 too, which a cast to uint8 would make 0."""
    _, module, x = make("lstm", "float64")
    mask = np.zeros((11, 3), dtype=np.int64)
    mask[4, 0] = mask[7, 2] = 1
    want = module(x, reset_mask=mask.astype(bool))[0].numpy()
    assert not np.array_equal(want, module(x)[0].numpy())
    large = mask * (-256 if dtype.startswith("int") else 1)
    large[7, 2] = abs(large[7, 2])
    assert np.array_equal(module(x, reset_mask=large.astype(dtype))[0].numpy(), want)
    assert np.array_equal(module(x, reset_mask=rnncore.Tensor(large.astype(dtype)))[0].numpy(), want)
    with pytest.raises(TypeError, match="reset_mask"):
        module(x, reset_mask=mask.astype("float32"))
