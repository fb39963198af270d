"""Tensor: conversion, views, indexing, operators, in-place updates, the tape's errors."""

from __future__ import annotations

import copy
import ctypes
import pickle

import numpy as np
import pytest

import rnncore
from rnncore import Tensor, nn


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([1, 2], "int64"),
        (True, "uint8"),
        (np.float64(1.0), "float64"),
        (np.zeros((2, 3)), "float64"),
        (np.zeros((2, 3), "float16"), "float32"),
        (np.zeros(3, "int32"), "int64"),
        (np.zeros(3, bool), "uint8"),
        (np.zeros((4, 6))[::2, ::3].T, "float64"),
        (np.zeros((0, 3), "float32"), "float32"),
    ],
)
def test_from_data(data: object, dtype: str) -> None:
    t = Tensor(data)
    assert t.dtype == dtype
    assert t.shape == np.shape(data)
    assert np.array_equal(t.numpy(), np.asarray(data))


@pytest.mark.parametrize("data", ["text", [1, "a"], np.array([1j]), None, object()])
def test_what_is_not_numeric_is_refused(data: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Tensor(data)


def test_a_tensor_is_a_copy_and_numpy_a_read_only_view() -> None:
    source = np.arange(3.0)
    t = Tensor(source)
    source[0] = 9
    view = t.numpy()
    assert view[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    t.fill_(4.0)
    assert view[0] == 4  # the same memory
    del t
    assert view.tolist() == [4, 4, 4]  # which the view keeps alive


def test_dlpack() -> None:
    t = Tensor(np.arange(6.0).reshape(2, 3))
    got = np.from_dlpack(t)
    assert np.array_equal(got, t.numpy())
    assert rnncore.from_dlpack(got).tolist() == t.tolist()
    torch = pytest.importorskip("torch")
    theirs = torch.from_dlpack(t)
    assert theirs.tolist() == t.tolist()
    assert rnncore.from_dlpack(theirs).tolist() == t.tolist()
    assert Tensor(theirs).dtype == "float64"


def test_indexing() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    t = Tensor(a)
    keys: list[object] = [
        0, -1, (1, 2), (1, 2, 3), slice(1, None), (slice(None), 1), (..., 2), (0, ..., slice(1, 3)), None,
        (slice(None), None, 1), slice(5, 9), np.int64(1), (slice(None), slice(None, None, 2)), [1, 0], a[0] > 100,
    ]  # fmt: skip
    for key in keys[:-1]:
        assert np.array_equal(t[key].numpy(), a[key]), key  # type: ignore[index]
    assert [row.tolist() for row in t] == a.tolist()
    for bad in (2, -3, (0, 0, 0, 0), (0, 3)):
        with pytest.raises(IndexError):
            t[bad]
    with pytest.raises(TypeError, match="at least one axis"):
        list(Tensor(1.0))


def test_assignment_reaches_the_whole_through_rows() -> None:
    t = rnncore.zeros(3, 1, 4)
    t[1][0][2] = 1
    assert t.numpy().sum() == 1
    assert t[1, 0, 2].item() == 1
    t[:, 0, 0] = Tensor([5.0, 6.0, 7.0])
    assert t.numpy()[:, 0, 0].tolist() == [5, 6, 7]
    with pytest.raises(ValueError, match="no_grad"):
        nn.Parameter([1.0])[0] = 2.0


def test_an_assignment_is_seen_by_packed_weights() -> None:
    layer = nn.Linear(70, 70, bias=False, generator=rnncore.Generator(0))
    x = rnncore.ones(80, 70)
    layer(x)
    layer.weight.data[:] = 0.0
    assert not layer(x).numpy().any()


def test_gradients_flow_through_indexing() -> None:
    t = rnncore.tensor(np.zeros((2, 3, 4)), requires_grad=True)
    (t[1, :, 2:] * 2.0).sum().backward()
    wanted = np.zeros((2, 3, 4))
    wanted[1, :, 2:] = 2
    assert np.array_equal(t.grad.numpy(), wanted)  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="integers and slices"):
        t[[0, 1]]


def test_operators_on_both_sides() -> None:
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, 2.0])
    t, u = Tensor(a), Tensor(b)
    pairs = [
        (t + u, a + b), (t + 2, a + 2), (2 + t, 2 + a), (t - u, a - b), (t - 2, a - 2), (2 - t, 2 - a),
        (t * u, a * b), (3 * t, 3 * a), (t / u, a / b), (t / 3, a / 3), (3 / t, 3 / a), (t @ t, a @ a),
        (t**2, a**2), (-t, -a), (abs(-t), a), (t + b, a + b), (b + t, b + a), (b - t, b - a), (a @ t, a @ a),
        (np.float64(2) * t, 2 * a), (np.float32(2) * t, 2 * a), (t.T, a.T), (t.sum(0), a.sum(0)),
        (t.mean(), a.mean()), (t.mean(1, keepdim=True), a.mean(1, keepdims=True)),
    ]  # fmt: skip
    for i, (got, wanted) in enumerate(pairs):
        assert isinstance(got, Tensor), i
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-15)
    assert (t == a).all()
    assert (t > 2).tolist() == (a > 2).tolist()
    with pytest.raises(TypeError):
        t + "x"  # type: ignore[operator]


def test_shapes_and_topk() -> None:
    t = Tensor(np.arange(6.0).reshape(2, 1, 3))
    assert t.squeeze().shape == t.squeeze(1).shape == (2, 3)
    assert t.squeeze(0).shape == (2, 1, 3)
    assert t.unsqueeze(-1).shape == (2, 1, 3, 1)
    assert t.view(-1, 2).shape == t.reshape((3, 2)).shape == (3, 2)
    assert t.transpose(0, 2).shape == (3, 1, 2)
    assert (t.size(), t.size(-1), t.numel(), len(t), t.ndim) == ((2, 1, 3), 3, 6, 2, 3)
    values, indices = Tensor([[1.0, 3.0, 3.0, 0.0]]).topk(2)
    assert (values.tolist(), indices.tolist()) == ([[3, 3]], [[1, 2]])
    assert indices[0][0].item() == 1
    assert "abc"[indices[0][0]] == "b"


def test_in_place() -> None:
    p = nn.Parameter([1.0, 2.0])
    (p * p).sum().backward()
    with pytest.raises(ValueError, match="grad"):
        p.add_(p.grad, alpha=-0.5)
    with rnncore.no_grad():
        p.add_(p.grad, alpha=-0.25)
    assert p.tolist() == [0.5, 1.0]
    p.data.add_(p.grad.data, alpha=0.25)  # type: ignore[union-attr]
    assert p.tolist() == [1.0, 2.0]
    t = rnncore.zeros(2)
    assert t.copy_([1, 2]).mul_(3).sub_(1).tolist() == [2, 5]
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)|\(3,\).*\(2,\)"):
        t.copy_(np.zeros(3))


def test_no_grad_nests_decorates_and_survives_errors() -> None:
    p = nn.Parameter([1.0])

    @rnncore.no_grad()
    def double(x: Tensor) -> Tensor:
        return x * 2

    assert not double(p).requires_grad
    with pytest.raises(KeyError), rnncore.no_grad():
        raise KeyError
    assert (p * 2).requires_grad
    with rnncore.no_grad(), rnncore.enable_grad():
        assert (p * 2).requires_grad


def test_the_tapes_errors() -> None:
    p = nn.Parameter([1.0, 2.0])
    with pytest.raises(ValueError, match=r"gradient|seed|element"):
        (p * 2).backward()
    loss = (p * p).sum()
    loss.backward()
    with pytest.raises(ValueError, match="backward"):
        loss.backward()
    with pytest.raises(ValueError, match="grad"):
        rnncore.ones(1).backward()
    (p * 2).backward(np.array([1.0, 10.0], "float32"))
    assert p.grad.tolist() == [4.0, 24.0]  # type: ignore[union-attr]


def test_copies_keep_type_values_and_ties() -> None:
    layer = nn.Linear(2, 3)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert isinstance(other.weight, nn.Parameter)
        assert other.weight.requires_grad
        assert np.array_equal(other.weight.numpy(), layer.weight.numpy())
        other.weight.data.zero_()
    assert layer.weight.numpy().any()
    shared = [layer.weight, layer.weight]
    again = copy.deepcopy(shared)
    assert again[0] is again[1]


def test_numbers_of_one_element() -> None:
    assert float(Tensor([2.5])) == 2.5
    assert Tensor([3]).item() == 3
    assert isinstance(Tensor([3]).item(), int)
    assert Tensor([2**60 + 1]).item() == 2**60 + 1
    assert bool(Tensor(1.0))
    with pytest.raises(ValueError, match="item"):
        rnncore.zeros(2).item()
    with pytest.raises(TypeError, match="integer"):
        [1, 2][Tensor(1.0)]  # type: ignore[call-overload]


def test_repr() -> None:
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.], dtype=float32)"
    assert repr(nn.Parameter([1.0])) == "Parameter([1.], dtype=float32, requires_grad=True)"


def test_generators() -> None:
    a, b = rnncore.Generator(7), rnncore.Generator(7)
    assert np.array_equal(rnncore.randn(3, 4, generator=a).numpy(), rnncore.randn(3, 4, generator=b).numpy())
    state = a.get_state()
    first = rnncore.rand(5, generator=a).tolist()
    a.set_state(state)
    assert rnncore.rand(5, generator=a).tolist() == first
    assert pickle.loads(pickle.dumps(a)).get_state() == a.get_state()
    assert sorted(a.permutation(6).tolist()) == list(range(6))
    draws = rnncore.randint(2, 5, (1000,), a).numpy()
    assert set(draws.tolist()) == {2, 3, 4}
    assert rnncore.randn(4).tolist() != rnncore.randn(4).tolist()  # no seed, no promise


def test_weights_are_packed_anew_after_a_write_through_dlpack() -> None:
    """A consumer may write in spite of the read-only mark (PyTorch does)."""
    x = Tensor(np.ones((2, 3, 8), np.float32))
    for layer in (rnncore.nn.Linear(8, 4), rnncore.nn.LSTM(8, 4)):
        weight = next(iter(layer.parameters()))
        with rnncore.no_grad():
            layer(x)  # packs the weights
            view = np.from_dlpack(weight.detach())
            ctypes.memset(view.ctypes.data, 0, view.nbytes)
            got = layer(x)
            fresh = type(layer)(8, 4)
            fresh.load_state_dict(layer.state_dict())
            want = fresh(x)
        first = [value if isinstance(value, Tensor) else value[0] for value in (got, want)]
        assert np.array_equal(first[0].numpy(), first[1].numpy())


def test_reshape_refuses_sizes_that_overflow() -> None:
    for shape in ((2**62 + 1, 4), (2**32, 2**32), (2**32, 2**32, 0)):
        with pytest.raises(ValueError, match="63 bits"):
            rnncore.zeros(4 if shape[0] > 2**33 else 0).reshape(*shape)
